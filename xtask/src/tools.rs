//! The programs that tests and checks need besides Rust. They are put into `target/tools` and need no root: a Debian
//! package is downloaded and unpacked, not installed, so nothing on the machine changes and no service starts.

use crate::project::{self, Project, run_quietly};
use anyhow::{Context as _, Result, bail};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Pinned, so that a test that compares with psutil compares with the same one everywhere.
const PSUTIL: &str = "psutil==7.2.2";

/// Pinned, so that a new release cannot turn CI red by itself.
const CARGO_DENY: &str = "0.20.2";

/// Where tools are kept. The variable lets many clones of one machine share them.
fn folder(project: &Project) -> Result<PathBuf> {
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
        unpack_debian_package("prometheus", &part)?;
        clear(&place)?;
        std::fs::rename(part.join("unpacked/usr/bin"), &place)?;
        clear(&part)?;
    }
    run_quietly(Command::new(&file).arg("--version"))?;
    Ok(file)
}

/// A Python that has psutil.
pub(crate) fn python(project: &Project) -> Result<PathBuf> {
    let place = folder(project)?.join("venv");
    let file = place.join("bin/python");
    if has_psutil(&file) {
        return Ok(file);
    }
    println!("installing {PSUTIL} into {}", place.display());
    clear(&place)?;
    let pip = ["-m", "pip", "install", "--quiet", "--no-input", "--disable-pip-version-check", PSUTIL];
    if run_quietly(Command::new("python3").args(["-m", "venv"]).arg(&place)).is_ok() {
        run_quietly(Command::new(&file).args(pip))?;
    } else {
        // Debian splits ensurepip off: without it, a plain folder of packages and a two-line starter do.
        clear(&place)?;
        let packages = place.join("packages");
        run_quietly(Command::new("python3").args(pip).arg("--target").arg(&packages))?;
        write_starter(&file, &packages)?;
    }
    if !has_psutil(&file) {
        bail!("{} cannot import psutil", file.display());
    }
    Ok(file)
}

/// The cargo-deny of the pinned version, built once.
pub(crate) fn cargo_deny(project: &Project) -> Result<PathBuf> {
    let place = folder(project)?.join(format!("cargo-deny-{CARGO_DENY}"));
    let file = place.join("bin").join(format!("cargo-deny{}", std::env::consts::EXE_SUFFIX));
    if file.is_file() {
        return Ok(file);
    }
    // It runs for seconds and is built on two cores: an unoptimised build is ready in a good half of the time.
    let mut install =
        project.cargo(["install", "cargo-deny", "--version", CARGO_DENY, "--locked", "--debug"]);
    install.args(["--no-default-features", "--root"]).arg(&place);
    // Its dependencies have nothing in common with ours, so they get a folder that can go again.
    let build = place.join("build");
    install.env("CARGO_TARGET_DIR", &build).env("CARGO_PROFILE_DEV_DEBUG", "0").env("CARGO_INCREMENTAL", "0");
    project::run(&mut install)?;
    clear(&build)?;
    Ok(file)
}

fn has_psutil(python: &Path) -> bool {
    let version = PSUTIL.rsplit('=').next().unwrap_or_default();
    let line = format!("import psutil; assert psutil.__version__ == '{version}'");
    python.is_file() && run_quietly(Command::new(python).args(["-c", &line])).is_ok()
}

/// Downloads a package with apt-get and unpacks it into `place/unpacked`.
fn unpack_debian_package(package: &str, place: &Path) -> Result<()> {
    if project::on_path("apt-get").is_none() || project::on_path("dpkg-deb").is_none() {
        bail!("no {package} on the search path, and no apt-get to fetch it; install {package} by hand");
    }
    println!("unpacking Debian's package {package}");
    std::fs::create_dir_all(place.join("lists/partial"))?;
    std::fs::create_dir_all(place.join("cache/archives/partial"))?;
    // apt-get's own lists may be missing or too old to name a file that still exists; then lists of our own are fetched.
    if let Err(stale) = run_quietly(apt_get(place).args(["download", package])) {
        let own = [
            "-o".to_owned(),
            format!("Dir::State::Lists={}", place.join("lists").display()),
            "-o".to_owned(),
            format!("Dir::Cache={}", place.join("cache").display()),
            "-o".to_owned(),
            "Debug::NoLocking=1".to_owned(),
        ];
        run_quietly(apt_get(place).args(&own).arg("update")).with_context(|| format!("after {stale:#}"))?;
        run_quietly(apt_get(place).args(&own).args(["download", package]))?;
    }
    let file = std::fs::read_dir(place)?
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .find(|path| path.extension().is_some_and(|extension| extension == "deb"))
        .with_context(|| format!("apt-get left no {package} package"))?;
    run_quietly(Command::new("dpkg-deb").arg("-x").arg(file).arg(place.join("unpacked")))?;
    Ok(())
}

fn apt_get(place: &Path) -> Command {
    let mut command = Command::new("apt-get");
    // As root, apt-get would download as another user, who cannot write here.
    command.current_dir(place).env("DEBIAN_FRONTEND", "noninteractive").arg("-qq");
    if owner_is_root(place) {
        command.args(["-o", "APT::Sandbox::User=root"]);
    }
    command
}

#[cfg(unix)]
fn owner_is_root(folder: &Path) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    folder.metadata().is_ok_and(|metadata| metadata.uid() == 0)
}

#[cfg(not(unix))]
fn owner_is_root(_folder: &Path) -> bool {
    false
}

#[cfg(unix)]
fn write_starter(file: &Path, packages: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::create_dir_all(file.parent().context("starter without a folder")?)?;
    let text = format!("#!/bin/sh\nPYTHONPATH='{}' exec python3 \"$@\"\n", packages.display());
    std::fs::write(file, text)?;
    std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o755))?;
    Ok(())
}

#[cfg(not(unix))]
fn write_starter(_file: &Path, _packages: &Path) -> Result<()> {
    bail!("python3 -m venv does not work here")
}

fn clear(folder: &Path) -> Result<()> {
    if folder.exists() {
        std::fs::remove_dir_all(folder).with_context(|| format!("clear {}", folder.display()))?;
    }
    Ok(())
}
