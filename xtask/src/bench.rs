//! `cargo xtask bench`: builds the guests that benchmarks call, and hands over to the benchmark program of the package
//! `lowtide-benches`.

use crate::project::{self, Project};
use crate::{addons, guests};
use anyhow::Result;

/// Runs the benchmarks whose names are given, or all.
pub(crate) fn run(project: &Project, names: &[String]) -> Result<()> {
    let mut command = project.cargo(["run", "--release", "--locked", "-p", "lowtide-benches", "--"]);
    if names.is_empty() || names.iter().any(|name| name == "addons") {
        project::run(&mut project.cargo(["build", "--release", "--locked", "-p", "lowtide"]))?;
        let tools = guests::toolchain(project)?;
        let daemon = project.built("release", "lowtide");
        command.env("LOWTIDE_BENCH_ADDONS", addons::benchmarks(project, &tools, &daemon)?);
    }
    project::become_command(command.args(names))
}
