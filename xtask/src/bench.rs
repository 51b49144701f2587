//! `cargo xtask bench`: builds the guests that benchmarks call, and hands over to the benchmark program of the package
//! `lowtide-benches`.

use crate::project::{self, Project};
use crate::{addons, guests, tools};
use anyhow::Result;

/// Runs the benchmarks whose names are given, or all.
pub(crate) fn run(project: &Project, names: &[String]) -> Result<()> {
    // Both at once: apart, they would be built with other features of what they share, wasmtime among it.
    let packages = ["build", "--release", "--locked", "-p", "lowtide", "-p", "lowtide-benches"];
    project::run(&mut project.cargo(packages))?;
    let daemon = project.built("release", "lowtide");
    let mut command = project.command(project.built("release", "lowtide-benches"));
    command.env("LOWTIDE_BENCH_BIN", &daemon);
    if names.is_empty() || names.iter().any(|name| name == "addons") {
        let tools = guests::toolchain(project)?;
        command.env("LOWTIDE_BENCH_ADDONS", addons::benchmarks(project, &tools, &daemon)?);
    }
    let given = |word: &str| names.iter().any(|name| name == word);
    if given("leases") && given("--peers") {
        command.env("LOWTIDE_BENCH_PEERS", tools::lease_peers(project)?);
    }
    if given("history") && given("--peers") {
        command.env("LOWTIDE_BENCH_HISTORY_PEERS", tools::history_peers(project)?);
    }
    project::become_command(command.args(names))
}
