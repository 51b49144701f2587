//! `cargo xtask test` and its parts (`sim`, `fuzz`, `soak`): gets the tools, builds the daemon once, runs the tests with
//! cargo-nextest if it is there and with `cargo test` if not.
//!
//! What tests are told, all through the environment: `LOWTIDE_TEST_BIN` (the daemon to start), `LOWTIDE_TEST_PROMTOOL`,
//! `LOWTIDE_TEST_PROMETHEUS`, `LOWTIDE_TEST_PYTHON` (a Python with psutil), `LOWTIDE_TEST_SCHEMATHESIS` (one with that),
//! `LOWTIDE_TEST_SYSTEMD_ANALYZE`, `LOWTIDE_TEST_RESTIC` (in the slow suite), `LOWTIDE_TEST_ADDONS` (a folder with built guests), and
//! `LOWTIDE_TEST_SKIP` (names of those that this machine cannot have). `LOWTIDE_SIM_SEEDS` and `LOWTIDE_FUZZ_ITERATIONS` say how much, `LOWTIDE_SOAK=1` how long.

use crate::project::{self, Project, in_ci};
use crate::{addons, guests, tools};
use anyhow::{Result, bail};
use std::path::PathBuf;
use std::process::Command;

/// The fixed seeds of the simulations: the same in CI and on every laptop. Random seeds are for long runs by hand.
const SIM_SEEDS: &str = "1,2,3,5,8,13,21,34,55,89";

/// Inputs for each seeded mutation test in CI and in `cargo xtask fuzz`; a plain test run takes the tests' own number.
const FUZZ_ITERATIONS: u64 = 20_000;

/// Everything: doc tests, then all other tests. The runner's own closing line comes last.
pub(crate) fn all(project: &Project, arguments: &[String]) -> Result<()> {
    let mut peers = Peers::get(project)?;
    build(project)?;
    peers.add_addons(project)?;
    if arguments.is_empty() {
        let mut documents = project.cargo(["test", "--workspace", "--locked", "--doc", "--quiet"]);
        project::run(&mut documents)?;
    }
    let mut runner = Runner::workspace(project);
    runner.command.args(arguments);
    if in_ci() {
        // Deeper than on a laptop, in the same run: nothing is tested twice.
        runner.command.env("LOWTIDE_FUZZ_ITERATIONS", FUZZ_ITERATIONS.to_string());
    }
    runner.command.env("LOWTIDE_SIM_SEEDS", SIM_SEEDS);
    runner.run(project, &peers)
}

/// The simulations, with one seed or the fixed list.
pub(crate) fn sim(project: &Project, seed: Option<u64>) -> Result<()> {
    let mut runner = Runner::integration(project, &["sim::"]);
    let seeds = seed.map_or_else(|| SIM_SEEDS.to_owned(), |seed| seed.to_string());
    println!("LOWTIDE_SIM_SEEDS={seeds}");
    runner.command.env("LOWTIDE_SIM_SEEDS", seeds);
    runner.run(project, &Peers::default())
}

/// The seeded mutation tests: every test with `fuzz` in its name.
pub(crate) fn fuzz(project: &Project, iterations: Option<u64>) -> Result<()> {
    build(project)?;
    let mut runner = Runner::workspace(project);
    runner
        .command
        .arg("fuzz")
        .env("LOWTIDE_FUZZ_ITERATIONS", iterations.unwrap_or(FUZZ_ITERATIONS).to_string());
    runner.run(project, &Peers::default())
}

/// Tests that are slow, or strict with times, when they are called from [`soak`].
const SOAK: [&str; 6] =
    ["soak::", "addons::folder::", "addons::guests::", "leases::crash::", "run::", "access::"];

/// Random steps of the scheduler in the slow suite; a plain test run makes a million.
const SOAK_LEASE_STEPS: u64 = 10_000_000;

/// How often the slow suite kills a daemon that gives out leases; a plain test run does it a hundred times.
const SOAK_KILL_CYCLES: u64 = 1_000;

/// Random images of each crash of the file of history in the slow suite; a plain test run draws two.
const SOAK_CRASH_DRAWS: u64 = 40;

/// The slow suite. Most of its tests return at once unless they are called from here.
pub(crate) fn soak(project: &Project, arguments: &[String]) -> Result<()> {
    let mut peers = Peers::get(project)?;
    build(project)?;
    peers.add_addons(project)?;
    peers.found.push(("restic", tools::restic(project)?));
    // A part of it can be named.
    let modules = if arguments.is_empty() { &SOAK[..] } else { &[] };
    let mut runner = Runner::integration(project, modules);
    runner.command.args(arguments).env("LOWTIDE_SOAK", "1");
    runner.command.env("LOWTIDE_KILL_CYCLES", SOAK_KILL_CYCLES.to_string());
    if runner.nextest {
        runner.command.args(["--profile", "soak", "--no-capture"]);
    }
    runner.run(project, &peers)?;
    if !arguments.is_empty() {
        return Ok(());
    }
    let more = [
        ("lowtide-core", "a_million_random_steps", "LOWTIDE_LEASE_STEPS", SOAK_LEASE_STEPS),
        ("lowtide-store", "history::tests::crash", "LOWTIDE_CRASH_DRAWS", SOAK_CRASH_DRAWS),
    ];
    for (package, tests, variable, number) in more {
        let mut runner = Runner::new(project);
        runner.command.args(["--package", package, "--lib", tests]).env(variable, number.to_string());
        if runner.nextest {
            runner.command.args(["--profile", "soak", "--no-capture"]);
        }
        runner.run(project, &peers)?;
    }
    Ok(())
}

/// Builds the daemon, all tests and all examples in one go, so that they share one set of dependencies.
fn build(project: &Project) -> Result<()> {
    let arguments = ["build", "--workspace", "--locked", "--bins", "--tests", "--examples"];
    project::run(&mut project.cargo(arguments))
}

struct Runner {
    command: Command,
    nextest: bool,
}

impl Runner {
    fn workspace(project: &Project) -> Self {
        let mut runner = Self::new(project);
        runner.command.arg("--workspace");
        if !runner.nextest {
            runner.command.args(["--lib", "--bins", "--tests"]);
        }
        runner
    }

    /// The tests of these modules of the integration binary.
    fn integration(project: &Project, modules: &[&str]) -> Self {
        let mut runner = Self::new(project);
        runner.command.args(["--package", "lowtide-tests", "--test", "all"]);
        // libtest, unlike nextest, takes them only behind dashes.
        if !runner.nextest && modules.len() > 1 {
            runner.command.arg("--");
        }
        runner.command.args(modules);
        runner
    }

    fn new(project: &Project) -> Self {
        let nextest = project::on_path("cargo-nextest").is_some();
        let mut command = if nextest {
            let mut command = project.cargo(["nextest", "run", "--locked", "--config-file"]);
            command.arg(project.root.join("xtask/nextest.toml"));
            command
        } else {
            println!("cargo-nextest is not installed; using cargo test");
            project.cargo(["test", "--locked"])
        };
        // On a laptop the first failure is enough; in CI one run should tell all.
        if in_ci() {
            command.arg("--no-fail-fast");
        }
        Self { command, nextest }
    }

    fn run(mut self, project: &Project, peers: &Peers) -> Result<()> {
        for (name, file) in &peers.found {
            self.command.env(format!("LOWTIDE_TEST_{}", name.to_uppercase()), file);
        }
        self.command.env("LOWTIDE_TEST_SKIP", peers.missing.join(","));
        self.command.env("LOWTIDE_TEST_BIN", project.built("debug", "lowtide"));
        project::run(&mut self.command)?;
        peers.remind();
        Ok(())
    }
}

/// The programs that some tests compare with.
#[derive(Default)]
struct Peers {
    found: Vec<(&'static str, PathBuf)>,
    missing: Vec<&'static str>,
}

impl Peers {
    /// Looks for each peer, installs it if need be. One that cannot be had is an error in CI and a loud line elsewhere.
    fn get(project: &Project) -> Result<Self> {
        let mut peers = Self::default();
        for name in ["promtool", "prometheus", "python", "schemathesis", "systemd_analyze"] {
            let variable = format!("LOWTIDE_TEST_{}", name.to_uppercase());
            let got = match std::env::var_os(&variable) {
                Some(file) => Ok(PathBuf::from(file)),
                None if name == "python" => tools::python(project),
                None if name == "schemathesis" => tools::schemathesis(project),
                None if name == "systemd_analyze" => tools::systemd_analyze(project),
                None => tools::from_prometheus(project, name),
            };
            match got {
                Ok(file) => peers.found.push((name, file)),
                Err(error) if in_ci() => bail!("{name}, which the tests need, cannot be had: {error:#}"),
                Err(error) => {
                    eprintln!("warning: no {name}: {error:#}");
                    peers.missing.push(name);
                }
            }
        }
        peers.remind();
        Ok(peers)
    }

    /// Builds the guests of this repository. Where a language cannot be had its addons are missing, and the tests that need them
    /// are skipped, which CI does not allow.
    fn add_addons(&mut self, project: &Project) -> Result<()> {
        let daemon = project.built("debug", "lowtide");
        let built = guests::toolchain(project).and_then(|tools| {
            addons::examples(project, &tools, &daemon)?;
            addons::fixtures(project, &tools, &daemon)
        });
        match built {
            Ok(folder) => self.found.push(("addons", folder)),
            Err(error) if in_ci() => return Err(error),
            Err(error) => {
                eprintln!("warning: no built addons: {error:#}");
                self.missing.push("addons");
                self.remind();
            }
        }
        Ok(())
    }

    fn remind(&self) {
        for name in &self.missing {
            eprintln!("SKIPPED: tests that need {name}, which this machine does not have");
        }
    }
}
