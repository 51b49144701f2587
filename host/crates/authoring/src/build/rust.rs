//! Rust: cargo for wasm32-wasip2. Every member of a workspace that has an `addon.toml` is an addon.

use super::{Built, made, place};
use crate::project::Project;
use crate::{AuthorError, Say, tools};
use serde::Deserialize;
use std::path::{Path, PathBuf};
use std::process::Command;

const TARGET: &str = "wasm32-wasip2";

/// What `cargo metadata` says, as far as it matters here.
#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    target_directory: PathBuf,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    manifest_path: PathBuf,
    targets: Vec<Target>,
}

#[derive(Deserialize)]
struct Target {
    name: String,
    crate_types: Vec<String>,
}

pub(super) fn build(folder: &Path, out: &Path, say: Say<'_>) -> Result<Vec<Built>, AuthorError> {
    let cargo = tools::find("cargo").ok_or_else(|| {
        AuthorError::Missing("cargo is not there: install Rust from https://rustup.rs".to_owned())
    })?;
    check_target(&cargo)?;
    let addons = addons(&cargo, folder)?;
    let mut command = Command::new(&cargo);
    command.current_dir(folder).args(["build", "--release", "--target", TARGET]);
    for (_, package, _) in &addons {
        command.args(["--package", package]);
    }
    say(&format!("building with cargo for {TARGET}"));
    tools::run(&mut command)?;
    addons.iter().map(|(project, _, wasm)| place(project, &made(wasm)?, out)).collect()
}

/// The addons among the packages: project, name of the package, and where cargo puts the component.
fn addons(cargo: &Path, folder: &Path) -> Result<Vec<(Project, String, PathBuf)>, AuthorError> {
    let text = tools::output(Command::new(cargo).current_dir(folder).args([
        "metadata",
        "--no-deps",
        "--format-version",
        "1",
    ]))?;
    let metadata: Metadata = serde_json::from_str(&text)
        .map_err(|error| AuthorError::Input(format!("cargo metadata says something unexpected: {error}")))?;
    let built = metadata.target_directory.join(TARGET).join("release");
    let mut addons = Vec::new();
    for package in metadata.packages {
        // Cargo names all members of the workspace, also to who stands in one of them.
        let place = package.manifest_path.parent().filter(|place| place.starts_with(folder));
        let Some(place) = place.filter(|place| place.join("addon.toml").is_file()) else { continue };
        let library =
            package.targets.iter().find(|target| target.crate_types.iter().any(|kind| kind == "cdylib"));
        let library = library.ok_or_else(|| {
            AuthorError::Input(format!(
                "{} makes no component: put crate-type = [\"cdylib\"] under [lib] in its Cargo.toml",
                package.name
            ))
        })?;
        let wasm = built.join(format!("{}.wasm", library.name.replace('-', "_")));
        addons.push((Project::open(place)?, package.name, wasm));
    }
    if addons.is_empty() {
        return Err(AuthorError::Input(format!(
            "no package of {} has an addon.toml beside its Cargo.toml: write one, or make a project with lowtide addon new",
            folder.display()
        )));
    }
    Ok(addons)
}

/// Says what to install when there is no standard library for the target.
fn check_target(cargo: &Path) -> Result<(), AuthorError> {
    // The compiler that lies beside cargo is the one that it uses.
    let rustc = cargo.with_file_name("rustc");
    let libraries = tools::output(Command::new(rustc).args(["--print", "target-libdir", "--target", TARGET]));
    let there = libraries.is_ok_and(|folder| {
        let entries = std::fs::read_dir(folder.trim()).into_iter().flatten().flatten();
        entries.into_iter().any(|entry| entry.file_name().to_string_lossy().starts_with("libstd"))
    });
    if there {
        return Ok(());
    }
    Err(AuthorError::Missing(format!(
        "Rust cannot build for {TARGET} here yet; run this once:\n\n    rustup target add {TARGET}\n\nwithout rustup: Debian has \
         rustc-web, cargo-web, rust-web-src, libstd-rust-web-dev and wasi-libc, which `cargo xtask guest-tools` of the Lowtide \
         sources sets up; set LOWTIDE_GUEST_TOOLS to the folder that it prints"
    )))
}
