//! `cargo xtask run`: builds the daemon as it is released and the example addons, and becomes the daemon. Data and addons stay in
//! `.lowtide/` of the checkout, which git ignores, and so does the configuration, which is made at the first run.

use crate::project::{self, Project};
use crate::{addons, guests};
use anyhow::{Context as _, Result};
use std::path::Path;

const LISTEN: &str = "127.0.0.1:4270";

const CONFIG: &str = ".lowtide/config.toml";

/// What the configuration has at first: grants for the examples that need no server and no folder of one's own.
const CONFIG_AT_FIRST: &str = r#"# The configuration of `cargo xtask run`, made by its first run and never touched again. After a change: kill -HUP the daemon.
# The other examples ask for servers and folders that are yours to choose: `lowtide addon list` says what to put here.

[addon.c-entropy.grants]
host_data = ["/proc/sys/kernel/random/entropy_avail", "/proc/loadavg", "/proc/sys/fs/file-nr"]

[addon.sensors.grants]
host_data = ["/sys/class/hwmon", "/sys/class/power_supply"]

[addon.tide-table.grants]
kv = true
"#;

/// Builds and starts the daemon; `extra` goes to `lowtide serve` and wins over the defaults here.
pub(crate) fn run(project: &Project, extra: &[String]) -> Result<()> {
    project::run(&mut project.cargo(["build", "--release", "--locked", "-p", "lowtide"]))?;
    let folders = [("--data-dir", ".lowtide/data", "data"), ("--addons-dir", ".lowtide/addons", "addons")];
    let program = project.built("release", "lowtide");
    if value_of(extra, "--addons-dir").is_none()
        && let Err(error) = place_examples(project, &program)
    {
        // The daemon is of use without them, and who only wants to look should not need their compilers.
        eprintln!("warning: the daemon starts without the example addons: {error:#}");
    }
    let mut daemon = project.command(program);
    daemon.arg("serve");
    let listen = match value_of(extra, "--listen") {
        Some(address) => address.to_owned(),
        None => {
            let address = std::env::var("LOWTIDE_LISTEN").unwrap_or_else(|_| LISTEN.to_owned());
            daemon.args(["--listen", &address]);
            address
        }
    };
    println!("program target/release/lowtide");
    for (flag, folder, what) in folders {
        if value_of(extra, flag).is_none() {
            std::fs::create_dir_all(project.root.join(folder)).with_context(|| format!("create {folder}"))?;
            // Absolute, because the daemon takes no path that depends on where it was started.
            daemon.arg(flag).arg(project.root.join(folder));
            println!("{what} {folder}");
        }
    }
    if value_of(extra, "--config").is_none() {
        let config = project.root.join(CONFIG);
        if !config.exists() {
            std::fs::write(&config, CONFIG_AT_FIRST).with_context(|| format!("write {CONFIG}"))?;
        }
        daemon.arg("--config").arg(config);
        println!("configuration {CONFIG}");
    }
    daemon.args(extra);
    // The daemon takes over this very process.
    println!("after a change of the configuration: kill -HUP {}", std::process::id());
    if listen.ends_with(":0") {
        println!("the port is in the daemon's first line");
    } else {
        println!("in another terminal, try:");
        println!("  curl -s http://{listen}/api/system-stats/quiet");
        println!("  curl -s http://{listen}/api/system-stats/current");
        println!("  curl -s http://{listen}/metrics");
    }
    project::become_command(&mut daemon)
}

/// Builds the example addons and puts those that are new or were built anew into the folder that the daemon watches. What lies there
/// besides is left alone.
fn place_examples(project: &Project, program: &Path) -> Result<()> {
    let tools = guests::toolchain(project)?;
    let built = addons::examples(project, &tools, program)?;
    let folder = project.root.join(".lowtide/addons");
    for entry in std::fs::read_dir(&built)?.flatten() {
        let name = entry.file_name();
        let place = folder.join(&name);
        std::fs::create_dir_all(&place).with_context(|| format!("create {}", place.display()))?;
        for file in std::fs::read_dir(entry.path())?.flatten() {
            let (from, to) = (file.path(), place.join(file.file_name()));
            if std::fs::read(&from).ok() != std::fs::read(&to).ok() {
                // Beside it and renamed, so that a running daemon never sees half of it.
                let part = to.with_extension("part");
                std::fs::copy(&from, &part).with_context(|| format!("copy {}", from.display()))?;
                std::fs::rename(&part, &to)?;
            }
        }
    }
    Ok(())
}

/// The value of `--flag value` or `--flag=value`, if it is there.
fn value_of<'a>(arguments: &'a [String], flag: &str) -> Option<&'a str> {
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        if argument == flag {
            return rest.next().map(String::as_str);
        }
        if let Some(value) = argument.strip_prefix(flag).and_then(|tail| tail.strip_prefix('=')) {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::value_of;

    #[test]
    fn a_flag_is_found_in_both_spellings() {
        let words = ["--listen=[::1]:1", "--data-dir", "x"].map(str::to_owned);
        assert_eq!(value_of(&words, "--listen"), Some("[::1]:1"));
        assert_eq!(value_of(&words, "--data-dir"), Some("x"));
        assert_eq!(value_of(&words, "--addons-dir"), None);
    }
}
