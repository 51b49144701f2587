//! The programs that tests and checks need besides Rust. They are put into `target/tools` and need no root: a Debian
//! package is downloaded and unpacked, not installed, so nothing on the machine changes and no service starts.

use crate::debian;
use crate::project::{self, Project, run_quietly};
use anyhow::{Context as _, Result, bail};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Pinned, so that a test that compares with psutil compares with the same one everywhere.
const PSUTIL: &str = "psutil==7.2.2";

/// Pinned, so that a fixed slice of its cases stays the same.
const SCHEMATHESIS: &str = "schemathesis==4.32.5";

/// Pinned, so that a new release cannot turn CI red by itself.
const CARGO_DENY: &str = "0.20.2";

/// Pinned, as that.
const CARGO_CYCLONEDX: &str = "0.5.9";

/// Where tools are kept. The variable lets many clones of one machine share them.
pub(crate) fn folder(project: &Project) -> Result<PathBuf> {
    let folder = match std::env::var_os("LOWTIDE_TOOLS_DIR") {
        Some(folder) => std::path::absolute(folder)?,
        None => project.target.join("tools"),
    };
    std::fs::create_dir_all(&folder).with_context(|| format!("create {}", folder.display()))?;
    Ok(folder)
}

/// A program of Debian's package `prometheus` (`promtool`, `prometheus`): from the search path, or unpacked here.
pub(crate) fn from_prometheus(project: &Project, program: &str) -> Result<PathBuf> {
    if let Some(found) = project::on_path(program) {
        return Ok(found);
    }
    let place = folder(project)?.join("prometheus");
    let file = place.join(program);
    if !file.is_file() {
        // A half-unpacked folder must not look like a whole one: unpack beside it and rename.
        let part = place.with_extension("part");
        clear(&part)?;
        debian::unpack(&["prometheus"], false, &part)?;
        clear(&place)?;
        std::fs::rename(part.join("unpacked/usr/bin"), &place)?;
        clear(&part)?;
    }
    run_quietly(Command::new(&file).arg("--version"))?;
    Ok(file)
}

/// The stores that leases are compared with, from Debian's packages: the folder that holds `usr`, with the libraries that they need.
pub(crate) fn lease_peers(project: &Project) -> Result<PathBuf> {
    // redis-server is a link to a program of redis-tools.
    unpacked(project, "lease-peers", "etcd", &["etcd-server", "redis-server", "redis-tools"])
}

/// The store that history is compared with, from Debian's package: the folder that holds `usr`, with the libraries that it needs.
pub(crate) fn history_peers(project: &Project) -> Result<PathBuf> {
    unpacked(project, "history-peers", "victoria-metrics", &["victoria-metrics"])
}

/// Debian's restic: a backup that is frozen again and again.
pub(crate) fn restic(project: &Project) -> Result<PathBuf> {
    match project::on_path("restic") {
        Some(found) => Ok(found),
        None => Ok(unpacked(project, "restic", "restic", &["restic"])?.join("usr/bin/restic")),
    }
}

/// `systemd-analyze`, which rates a unit file without a systemd that runs. Unpacked, it needs to be told where its libraries are.
pub(crate) fn systemd_analyze(project: &Project) -> Result<PathBuf> {
    if let Some(found) = project::on_path("systemd-analyze") {
        return Ok(found);
    }
    let place = unpacked(project, "systemd", "systemd-analyze", &["systemd"])?;
    let file = place.join("systemd-analyze");
    let libraries =
        run_quietly(Command::new("find").arg(&place).args(["-name", "*.so*", "-printf", "%h\n"]))?;
    let mut folders: Vec<&str> = libraries.lines().collect();
    folders.sort_unstable();
    folders.dedup();
    let program = place.join("usr/bin/systemd-analyze");
    write_script(
        &file,
        &format!("LD_LIBRARY_PATH='{}' exec '{}' \"$@\"", folders.join(":"), program.display()),
    )?;
    run_quietly(Command::new(&file).arg("--version"))?;
    Ok(file)
}

/// A folder of packages, unpacked once, with the libraries that they need: it holds `usr`, with this program among others.
fn unpacked(project: &Project, name: &str, program: &str, packages: &[&str]) -> Result<PathBuf> {
    let place = folder(project)?.join(name);
    if !place.join("usr/bin").join(program).is_file() {
        // A half-unpacked folder must not look like a whole one: unpack beside it and rename.
        let part = place.with_extension("part");
        clear(&part)?;
        debian::unpack(packages, true, &part)?;
        clear(&place)?;
        std::fs::rename(part.join("unpacked"), &place)?;
        clear(&part)?;
    }
    Ok(place)
}

/// A Python that has psutil.
pub(crate) fn python(project: &Project) -> Result<PathBuf> {
    python_with(&folder(project)?.join("venv"), PSUTIL, "psutil")
}

/// A Python in `place` that has one package of a pinned version, and can import its module.
pub(crate) fn python_with(place: &Path, package: &str, module: &str) -> Result<PathBuf> {
    let file = place.join("bin/python");
    if can_import(&file, package, module) {
        return Ok(file);
    }
    println!("installing {package} into {}", place.display());
    clear(place)?;
    let pip = ["-m", "pip", "install", "--quiet", "--no-input", "--disable-pip-version-check", package];
    if run_quietly(Command::new("python3").args(["-m", "venv"]).arg(place)).is_ok() {
        run_quietly(Command::new(&file).args(pip))?;
    } else {
        // Debian splits ensurepip off: without it, a plain folder of packages and a two-line starter do.
        clear(place)?;
        let packages = place.join("packages");
        run_quietly(Command::new("python3").args(pip).arg("--target").arg(&packages))?;
        write_script(&file, &format!("PYTHONPATH='{}' exec python3 \"$@\"", packages.display()))?;
    }
    if !can_import(&file, package, module) {
        bail!("{} cannot import {module}", file.display());
    }
    Ok(file)
}

/// A Python that has Schemathesis, which asks an API what its description allows and what it does not.
pub(crate) fn schemathesis(project: &Project) -> Result<PathBuf> {
    python_with(&folder(project)?.join("schemathesis"), SCHEMATHESIS, "schemathesis")
}

/// The cargo-deny of the pinned version, built once.
pub(crate) fn cargo_deny(project: &Project) -> Result<PathBuf> {
    cargo_tool(project, "cargo-deny", CARGO_DENY, &["--no-default-features"])
}

/// The cargo-cyclonedx of the pinned version, built once.
pub(crate) fn cargo_cyclonedx(project: &Project) -> Result<PathBuf> {
    cargo_tool(project, "cargo-cyclonedx", CARGO_CYCLONEDX, &[])
}

fn cargo_tool(project: &Project, name: &str, version: &str, more: &[&str]) -> Result<PathBuf> {
    let place = folder(project)?.join(format!("{name}-{version}"));
    let file = place.join("bin").join(format!("{name}{}", std::env::consts::EXE_SUFFIX));
    if file.is_file() {
        return Ok(file);
    }
    // It runs for seconds and is built on two cores: an unoptimised build is ready in a good half of the time.
    let mut install = project.cargo(["install", name, "--version", version, "--locked", "--debug"]);
    install.args(more).arg("--root").arg(&place);
    // Its dependencies have nothing in common with ours, so they get a folder that can go again.
    let build = place.join("build");
    install.env("CARGO_TARGET_DIR", &build).env("CARGO_PROFILE_DEV_DEBUG", "0").env("CARGO_INCREMENTAL", "0");
    project::run(&mut install)?;
    clear(&build)?;
    Ok(file)
}

fn can_import(python: &Path, package: &str, module: &str) -> bool {
    let Some((name, version)) = package.split_once("==") else { return false };
    let line = format!(
        "import {module}; from importlib.metadata import version; assert version('{name}') == '{version}'"
    );
    python.is_file() && run_quietly(Command::new(python).args(["-c", &line])).is_ok()
}

#[cfg(unix)]
fn write_script(file: &Path, line: &str) -> Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::create_dir_all(file.parent().context("a script without a folder")?)?;
    std::fs::write(file, format!("#!/bin/sh\n{line}\n"))?;
    std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o755))?;
    Ok(())
}

#[cfg(not(unix))]
fn write_script(file: &Path, _line: &str) -> Result<()> {
    bail!("{} cannot be a script here", file.display())
}

/// Removes a file, or a folder with all that is in it, if it is there.
pub(crate) fn clear(place: &Path) -> Result<()> {
    let removed = if place.is_dir() { std::fs::remove_dir_all(place) } else { std::fs::remove_file(place) };
    match removed {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("clear {}", place.display()))
        }
        _ => Ok(()),
    }
}
