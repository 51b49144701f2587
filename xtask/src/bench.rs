//! `cargo xtask bench`: hands over to the benchmark program of the package `lowtide-benches`.

use crate::project::{self, Project};
use anyhow::Result;

/// Runs the benchmarks whose names are given, or all.
pub(crate) fn run(project: &Project, names: &[String]) -> Result<()> {
    let mut command = project.cargo(["run", "--release", "--locked", "-p", "lowtide-benches", "--"]);
    project::become_command(command.args(names))
}
