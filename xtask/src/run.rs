//! `cargo xtask run`: builds the daemon as it is released and becomes it. Data stays in `.lowtide/` of the checkout, which
//! git ignores.

use crate::project::{self, Project};
use anyhow::{Context as _, Result};

const LISTEN: &str = "127.0.0.1:4270";

/// Builds and starts the daemon; `extra` goes to `lowtide serve` and wins over the defaults here.
pub(crate) fn run(project: &Project, extra: &[String]) -> Result<()> {
    project::run(&mut project.cargo(["build", "--release", "--locked", "-p", "lowtide"]))?;
    let folders = [("--data-dir", ".lowtide/data"), ("--addons-dir", ".lowtide/addons")];
    let mut daemon = project.command(project.built("release", "lowtide"));
    daemon.arg("serve");
    let listen = match value_of(extra, "--listen") {
        Some(address) => address.to_owned(),
        None => {
            let address = std::env::var("LOWTIDE_LISTEN").unwrap_or_else(|_| LISTEN.to_owned());
            daemon.args(["--listen", &address]);
            address
        }
    };
    for (flag, folder) in folders {
        if value_of(extra, flag).is_none() {
            std::fs::create_dir_all(project.root.join(folder)).with_context(|| format!("create {folder}"))?;
            // Absolute, because the daemon takes no path that depends on where it was started.
            daemon.arg(flag).arg(project.root.join(folder));
        }
    }
    daemon.args(extra);
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
