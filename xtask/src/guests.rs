//! `cargo xtask guest-tools`: what is needed to build addons from source, in the folder `guests` of the tools folder.
//! Nothing is installed on the machine and no root is needed. Another program learns of it all by one variable,
//! `LOWTIDE_GUEST_TOOLS`, the folder, whose layout is fixed:
//!
//! | place | what |
//! | --- | --- |
//! | `bin/cargo`, `bin/rustc` | build for `wasm32-wasip2` (`cargo build --release --target wasm32-wasip2`) |
//! | `bin/clang`, `bin/wasm-ld`, `bin/wasm-component-ld` | C for WASI, with its libc; `--target=wasm32-wasip2` links a component |
//! | `bin/componentize-py` | Python |
//! | `bin/componentize-qjs`, `js/node_modules` | JavaScript, as a program and as a module |
//!
//! Everything in `bin` is a script that sets its own environment and drops what an outer cargo or rustup left there. A
//! language that this machine cannot have has no script.

mod native;

use crate::project::{self, Project, in_ci, run_quietly};
use crate::tools;
use anyhow::{Context as _, Result, bail};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

/// Pinned, like every tool that has a hand in what an addon is made of.
const COMPONENTIZE_PY: &str = "componentize-py==0.25.1";

/// The JavaScript tool is pinned by its lock file.
const JS_PACKAGE: &str = include_str!("../guests-js/package.json");
const JS_LOCK: &str = include_str!("../guests-js/package-lock.json");

/// Which scripts each language has.
const LANGUAGES: [(&str, &[&str]); 4] = [
    ("rust", &["cargo", "rustc"]),
    ("c", &["clang", "wasm-ld", "wasm-component-ld"]),
    ("python", &["componentize-py"]),
    ("javascript", &["componentize-qjs"]),
];

/// The folder with everything that builds addons.
pub(crate) struct GuestTools {
    pub(crate) folder: PathBuf,
    /// Languages that this machine cannot have: some of `rust`, `c`, `python`, `javascript`.
    pub(crate) missing: Vec<&'static str>,
}

impl GuestTools {
    /// Tells a command where the tools are.
    pub(crate) fn tell<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        command.env("LOWTIDE_GUEST_TOOLS", &self.folder)
    }
}

/// `cargo xtask guest-tools [-- COMMAND]`: installs everything and says where it is, then becomes the command, if there is
/// one.
pub(crate) fn run(project: &Project, arguments: &[String]) -> Result<()> {
    let begin = Instant::now();
    let tools = toolchain(project)?;
    for (language, scripts) in LANGUAGES {
        if tools.missing.contains(&language) {
            println!("{language:<12} missing");
            continue;
        }
        for script in scripts {
            println!("{language:<12} {}", tools.folder.join("bin").join(script).display());
        }
    }
    println!("# after {:.1} s; `lowtide addon build` finds them by:", begin.elapsed().as_secs_f64());
    println!("export LOWTIDE_GUEST_TOOLS={}", tools.folder.display());
    match arguments.split_first() {
        None => Ok(()),
        Some((program, rest)) => {
            project::become_command(tools.tell(&mut project.command(program)).args(rest))
        }
    }
}

/// Installs what is not there yet. A language that cannot be had is an error in CI and a warning elsewhere.
pub(crate) fn toolchain(project: &Project) -> Result<GuestTools> {
    let folder = tools::folder(project)?.join("guests");
    std::fs::create_dir_all(folder.join("bin"))?;
    // Clones of one machine may share the folder; one installs, the others wait and find it done.
    let lock = std::fs::File::create(folder.join("lock"))?;
    lock.lock().context("lock the folder of guest tools")?;
    let mut tools = GuestTools { folder, missing: Vec::new() };
    let native = native::Native::find(project, &tools.folder);
    for (language, scripts) in LANGUAGES {
        let begin = Instant::now();
        let done = match language {
            "rust" => native.rust(),
            "c" => native.c(),
            "python" => python(&tools.folder),
            _ => javascript(&tools.folder),
        };
        match done {
            Ok(()) if begin.elapsed().as_secs() > 0 => {
                println!("guest tools for {language}: {:.1} s", begin.elapsed().as_secs_f64());
            }
            Ok(()) => {}
            Err(error) if in_ci() => bail!("guest tools for {language} cannot be had: {error:#}"),
            Err(error) => {
                eprintln!("warning: no guest tools for {language}: {error:#}");
                tools.missing.push(language);
                for script in scripts {
                    tools::clear(&tools.folder.join("bin").join(script))?;
                }
            }
        }
    }
    Ok(tools)
}

fn python(folder: &Path) -> Result<()> {
    let python = tools::python_with(&folder.join("python"), COMPONENTIZE_PY, "componentize_py")?;
    let line =
        "import sys; from componentize_py import script; sys.argv[0] = 'componentize-py'; sys.exit(script())";
    let text = format!("exec {} -c {} \"$@\"\n", quoted(&python), quoted(Path::new(line)));
    write_script(&folder.join("bin/componentize-py"), &text)
}

fn javascript(folder: &Path) -> Result<()> {
    let place = folder.join("js");
    for tool in ["node", "npm"] {
        if project::on_path(tool).is_none() {
            bail!("no {tool} on the search path; install Node.js 18 or newer with npm");
        }
    }
    if std::fs::read_to_string(place.join("package-lock.json")).ok().as_deref() != Some(JS_LOCK) {
        println!("installing componentize-qjs into {}", place.display());
        let part = folder.join("js.part");
        tools::clear(&part)?;
        std::fs::create_dir_all(&part)?;
        std::fs::write(part.join("package.json"), JS_PACKAGE)?;
        std::fs::write(part.join("package-lock.json"), JS_LOCK)?;
        // Its packages bring their binaries along: no script has to run.
        let flags = ["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"];
        run_quietly(Command::new("npm").args(flags).current_dir(&part))?;
        tools::clear(&place)?;
        std::fs::rename(&part, &place)?;
    }
    let program = place.join("node_modules/componentize-qjs/bin/componentize-qjs");
    write_script(&folder.join("bin/componentize-qjs"), &format!("exec node {} \"$@\"\n", quoted(&program)))
}

/// A path as one word of a shell script.
fn quoted(path: &Path) -> String {
    format!("'{}'", path.display().to_string().replace('\'', r"'\''"))
}

/// Writes a shell script, unless it is there as it should be: then another process may be running it.
#[cfg(unix)]
fn write_script(file: &Path, text: &str) -> Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    let text = format!("#!/bin/sh\n# Written by `cargo xtask guest-tools`.\n{text}");
    if std::fs::read_to_string(file).is_ok_and(|old| old == text) {
        return Ok(());
    }
    let part = file.with_extension("part");
    std::fs::write(&part, text)?;
    std::fs::set_permissions(&part, std::fs::Permissions::from_mode(0o755))?;
    std::fs::rename(&part, file).with_context(|| format!("write {}", file.display()))
}

#[cfg(not(unix))]
fn write_script(_file: &Path, _text: &str) -> Result<()> {
    bail!("guest tools are shell scripts, which this system does not have; build addons on Linux or macOS")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quote_in_a_path_stays_in_the_word() {
        assert_eq!(quoted(Path::new("/a b/it's")), r"'/a b/it'\''s'");
    }

    #[test]
    fn the_lock_file_pins_one_version_and_names_no_host() {
        assert!(JS_PACKAGE.contains("\"componentize-qjs\": \"0.4.5\""));
        assert!(JS_LOCK.contains("\"componentize-qjs\": \"0.4.5\""));
        assert!(
            !JS_LOCK.contains("resolved"),
            "a lock file with addresses works only where they are reached"
        );
    }
}
