//! Debian's packages without root: they are downloaded and unpacked into a folder, not installed, so nothing on the machine
//! changes and no service starts.

use crate::project::{self, run_quietly};
use anyhow::{Context as _, Result, bail};
use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Downloads packages and unpacks them all into `place/unpacked`; `place` is for this only. With `libraries`, those shared
/// libraries come along that the packages need and the machine does not have.
pub(crate) fn unpack(packages: &[&str], libraries: bool, place: &Path) -> Result<()> {
    for tool in ["apt-get", "apt-cache", "dpkg-query", "dpkg-deb"] {
        if project::on_path(tool).is_none() {
            bail!("no {tool} to fetch {}; install what they hold by hand", packages.join(", "));
        }
    }
    println!("unpacking Debian's {}", packages.join(" "));
    std::fs::create_dir_all(place.join("lists/partial"))?;
    std::fs::create_dir_all(place.join("cache/archives/partial"))?;
    // apt-get's own lists may be missing or too old to name a file that still exists; then lists of our own are fetched.
    if let Err(stale) = fetch(packages, libraries, place, false) {
        run_quietly(apt("apt-get", place, true).arg("update")).with_context(|| format!("after {stale:#}"))?;
        fetch(packages, libraries, place, true)?;
    }
    let unpacked = place.join("unpacked");
    for file in files_of(place)? {
        run_quietly(Command::new("dpkg-deb").arg("-x").arg(&file).arg(&unpacked))?;
        std::fs::remove_file(&file)?;
    }
    Ok(())
}

fn fetch(packages: &[&str], libraries: bool, place: &Path, own_lists: bool) -> Result<()> {
    let mut names: Vec<String> = packages.iter().map(|&name| name.to_owned()).collect();
    let mut seen = 0;
    // Each round asks for what the packages of the round before need; every name is asked for once.
    while libraries && seen < names.len() {
        let has =
            run_quietly(Command::new("dpkg-query").args(["-W", "-f", "${db:Status-Status} ${Package}\n"]))?;
        let has: HashSet<&str> = has.lines().filter_map(|line| line.strip_prefix("installed ")).collect();
        let asked = names.split_off(seen);
        let needs =
            run_quietly(apt("apt-cache", place, own_lists).args(["depends", "--important"]).args(&asked))?;
        names.extend(asked);
        seen = names.len();
        for library in libraries_of(&needs) {
            if !has.contains(library) && !names.iter().any(|name| name == library) {
                names.push(library.to_owned());
            }
        }
    }
    run_quietly(apt("apt-get", place, own_lists).arg("download").args(&names))?;
    Ok(())
}

/// The shared libraries that `apt-cache depends` names. Of alternatives all are taken: one library too many does no harm.
fn libraries_of(needs: &str) -> impl Iterator<Item = &str> {
    needs
        .lines()
        .filter_map(|line| line.trim_start_matches([' ', '|']).strip_prefix("Depends: "))
        .filter(|name| name.starts_with("lib") && !name.ends_with("-dev"))
}

fn files_of(place: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(place)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "deb") {
            files.push(path);
        }
    }
    Ok(files)
}

/// One of apt's programs, with its cache in `place`, so that the machine's stays as it is.
fn apt(program: &str, place: &Path, own_lists: bool) -> Command {
    let mut command = Command::new(program);
    command.current_dir(place).env("DEBIAN_FRONTEND", "noninteractive");
    command.args(["-qq", "-o", "Debug::NoLocking=1", "-o"]);
    command.arg(format!("Dir::Cache={}", place.join("cache").display()));
    if own_lists {
        command.arg("-o").arg(format!("Dir::State::Lists={}", place.join("lists").display()));
    }
    // As root, apt-get would download as another user, who cannot write here.
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

#[cfg(test)]
mod tests {
    use super::libraries_of;

    #[test]
    fn only_shared_libraries_are_followed() {
        let text = "clang-22\n  Depends: libc6\n  PreDepends: dpkg\n |Depends: libx1\n  Depends: <libx>\n  Depends: libc6-dev\n  Depends: gcc\n";
        assert_eq!(libraries_of(text).collect::<Vec<_>>(), ["libc6", "libx1"]);
    }
}
