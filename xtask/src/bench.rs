//! `cargo xtask bench`: builds the guests that benchmarks call, and hands over to the benchmark program of the package
//! `lowtide-benches`, or, for `tide`, to the live experiment of the package `lowtide-tide`.

use crate::project::{self, Project};
use crate::{addons, guests, tools};
use anyhow::Result;

/// The experiment that is not among the benchmarks: it takes most of an hour.
const TIDE: &str = "tide";

/// Runs the benchmarks whose names are given, or all.
pub(crate) fn run(project: &Project, names: &[String]) -> Result<()> {
    if let Some((first, rest)) = names.split_first()
        && first == TIDE
    {
        return tide(project, crate::after_dashes(rest));
    }
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

/// Builds the daemon and the experiment, and becomes the experiment.
fn tide(project: &Project, flags: &[String]) -> Result<()> {
    // Tables alone need no daemon, and no minutes to build one.
    let tables = flags.iter().any(|flag| ["--from", "--help"].iter().any(|name| flag.starts_with(name)));
    let mut packages = vec!["build", "--release", "--locked", "-p", "lowtide-tide"];
    if !tables {
        packages.extend(["-p", "lowtide"]);
    }
    project::run(&mut project.cargo(packages))?;
    let mut command = project.command(project.built("release", "lowtide-tide"));
    if std::env::var_os("LOWTIDE_BENCH_BIN").is_none() {
        command.env("LOWTIDE_BENCH_BIN", project.built("release", "lowtide"));
    }
    // On the disk of the checkout: a temporary folder may be memory.
    command.arg("--folder").arg(project.target.join(TIDE));
    project::become_command(command.args(flags))
}
