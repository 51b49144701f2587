//! Builds the guests of this repository with the daemon's own `lowtide addon build`, as any author would: the example addons, and the
//! fixtures that the tests load.

use crate::guests::GuestTools;
use crate::project::{self, Project};
use anyhow::{Context as _, Result};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Where `cargo xtask run` finds the examples and the tests find everything: below the target folder.
const BUILT: &str = "addons";

/// Builds `example-addons/`; returns the folder with one folder for each.
pub(crate) fn examples(project: &Project, tools: &GuestTools, daemon: &Path) -> Result<PathBuf> {
    build(project, tools, daemon, "example-addons", "examples")
}

/// Builds `tests/fixture-addons/`; returns the folder above examples and fixtures.
pub(crate) fn fixtures(project: &Project, tools: &GuestTools, daemon: &Path) -> Result<PathBuf> {
    build(project, tools, daemon, "tests/fixture-addons", "fixtures")?;
    Ok(project.target.join(BUILT))
}

/// Builds `benches/guests/`; returns the folder with one folder for each.
pub(crate) fn benchmarks(project: &Project, tools: &GuestTools, daemon: &Path) -> Result<PathBuf> {
    build(project, tools, daemon, "benches/guests", "benchmarks")
}

/// Builds the Cargo workspace in `sources` and every folder in it that is written in another language.
fn build(project: &Project, tools: &GuestTools, daemon: &Path, sources: &str, name: &str) -> Result<PathBuf> {
    let folder = project.root.join(sources);
    let out = project.target.join(BUILT).join(name);
    std::fs::create_dir_all(&out).with_context(|| format!("create {}", out.display()))?;
    let guest_target = project.target.join("guests");
    let mut places = vec![folder.clone()];
    let mut others: Vec<PathBuf> = std::fs::read_dir(&folder)?
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .filter(|place| place.join("addon.toml").is_file() && !place.join("Cargo.toml").is_file())
        .collect();
    others.sort();
    // Those have no build tool that knows what is up to date, and one in Python takes ten seconds.
    places.extend(others.into_iter().filter(|place| is_older(&out, place)));
    for place in places {
        let mut command = project.command(daemon);
        // Many fixtures are made to fail a check, and the tests compile all of them anyway.
        command
            .args(["addon", "build", "--no-check"])
            .arg(&place)
            .arg("--out")
            .arg(&out)
            .env("CARGO_TARGET_DIR", &guest_target);
        project::run(tools.tell(&mut command))?;
    }
    Ok(out)
}

/// True when the component of an addon is missing or older than a file of its sources.
fn is_older(out: &Path, source: &Path) -> bool {
    let Some(id) = source.file_name() else { return true };
    let mut component = out.join(id).join(id);
    component.set_extension("wasm");
    let Ok(built) = component.metadata().and_then(|metadata| metadata.modified()) else { return true };
    newest(source).is_none_or(|newest| newest > built)
}

fn newest(folder: &Path) -> Option<SystemTime> {
    let entries = std::fs::read_dir(folder).ok()?.flatten();
    let time =
        |path: PathBuf| if path.is_dir() { newest(&path) } else { path.metadata().ok()?.modified().ok() };
    entries.filter_map(|entry| time(entry.path())).max()
}
