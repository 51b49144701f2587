//! `cargo xtask ci`: every check, cheap ones first, ended by the first failure. CI runs this and nothing else, so a green run
//! here is a green run there.

use crate::project::{self, Project};
use crate::{generate, test, tidy, tools};
use anyhow::{Context as _, Result};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

type Step = (&'static str, fn(&Project) -> Result<()>);

/// In this order. Simulation seeds and mutation tests are part of `test`, which CI runs with more of both.
const STEPS: [Step; 7] = [
    ("fmt", format),
    ("tidy", tidy::run),
    ("clippy", clippy),
    ("gen", generate::check),
    ("doc", documents),
    ("deny", deny),
    ("test", |project| test::all(project, &[])),
];

/// Runs the steps and prints a table of them at the end, also after a failure.
pub(crate) fn run(project: &Project) -> Result<()> {
    let mut done: Vec<(&str, Duration)> = Vec::new();
    let mut failure = None;
    for (name, step) in STEPS {
        println!("== {name}");
        let begin = Instant::now();
        let result = step(project);
        done.push((name, begin.elapsed()));
        if let Err(error) = result {
            failure = Some(error.context(format!("step {name} failed")));
            break;
        }
    }
    println!();
    for (at, (name, _)) in STEPS.iter().enumerate() {
        match done.get(at) {
            None => println!("{name:<8} not run"),
            Some((_, took)) => {
                let failed = failure.is_some() && at + 1 == done.len();
                println!(
                    "{name:<8} {:<6} {:>7.1} s",
                    if failed { "FAILED" } else { "ok" },
                    took.as_secs_f64()
                );
            }
        }
    }
    failure.map_or(Ok(()), Err)
}

fn format(project: &Project) -> Result<()> {
    project::run(&mut project.cargo(["fmt", "--all", "--check"]))
}

fn clippy(project: &Project) -> Result<()> {
    let arguments = ["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"];
    project::run(&mut project.cargo(arguments))
}

fn documents(project: &Project) -> Result<()> {
    let mut command = project.cargo(["doc", "--workspace", "--no-deps", "--locked"]);
    project::run(command.env("RUSTDOCFLAGS", "-D warnings"))
}

/// The folder in which cargo-deny looks for RustSec's database: its own name with the hash of the address it would be fetched from.
const ADVISORIES: &str = "advisory-db-3157b0e258782691";

/// A snapshot of the database (a tar.gz of its files) as cargo-deny takes it: a repository that looks as if it had been fetched.
fn unpacked(project: &Project, snapshot: &Path) -> Result<PathBuf> {
    let place = project.target.join("advisories");
    tools::clear(&place)?;
    let folder = place.join(ADVISORIES);
    std::fs::create_dir_all(&folder)?;
    project::run_quietly(
        Command::new("tar").arg("xzf").arg(std::path::absolute(snapshot)?).arg("-C").arg(&folder),
    )?;
    for arguments in [
        &["init", "--quiet"][..],
        &["add", "--all"],
        &[
            "-c",
            "user.name=xtask",
            "-c",
            "user.email=xtask@localhost",
            "commit",
            "--quiet",
            "--message",
            "a snapshot",
        ],
    ] {
        project::run_quietly(Command::new("git").arg("-C").arg(&folder).args(arguments))?;
    }
    std::fs::write(folder.join(".git/FETCH_HEAD"), "")?;
    Ok(place)
}

/// The bill of materials of the daemon (CycloneDX 1.5, JSON): every crate that is built into it, with version, licence and hash. For whoever ships it.
pub(crate) fn sbom(project: &Project) -> Result<()> {
    const NAME: &str = "lowtide.cdx";
    let tool = tools::cargo_cyclonedx(project)?;
    let mut command = project.command(&tool);
    command.args(["cyclonedx", "--format", "json", "--spec-version", "1.5", "--override-filename", NAME]);
    command.args(["--manifest-path"]).arg(project.root.join("host/Cargo.toml"));
    project::run(&mut command)?;
    // It is written beside the manifest, and belongs to no commit.
    let folder = project.target.join("sbom");
    std::fs::create_dir_all(&folder)?;
    for member in ["host", "xtask", "tests", "benches", "benches/tide"] {
        let made = project.root.join(member).join(format!("{NAME}.json"));
        if member == "host" {
            std::fs::copy(&made, folder.join(format!("{NAME}.json")))?;
        }
        tools::clear(&made)?;
    }
    for entry in std::fs::read_dir(project.root.join("host/crates"))? {
        tools::clear(&entry?.path().join(format!("{NAME}.json")))?;
    }
    println!("{}", folder.join(format!("{NAME}.json")).display());
    Ok(())
}

/// Licences, sources and bans. Advisories only against a database that is already here: nothing is fetched for them.
pub(crate) fn deny(project: &Project) -> Result<()> {
    let tool = tools::cargo_deny(project)?;
    let mut command = project.command(&tool);
    command.args(["--locked", "check", "--hide-inclusion-graph", "bans", "licenses", "sources"]);
    project::run(&mut command)?;
    let Some(database) = std::env::var_os("LOWTIDE_ADVISORY_DB").map(PathBuf::from) else {
        println!("advisories not checked: LOWTIDE_ADVISORY_DB names no database");
        return Ok(());
    };
    let place =
        if database.is_file() { unpacked(project, &database)? } else { std::path::absolute(&database)? };
    // The place of the database can only be set in a configuration file: ours, whose last section it belongs to, with one line more.
    let ours = std::fs::read_to_string(project.root.join("deny.toml"))?;
    let file = project.target.join("deny-advisories.toml");
    let place = place.to_str().context("LOWTIDE_ADVISORY_DB is not UTF-8")?;
    std::fs::write(&file, format!("{ours}\ndb-path = {place:?}\n"))?;
    let mut command = project.command(&tool);
    project::run(command.args(["--frozen", "--config"]).arg(&file).args(["check", "advisories"]))
}
