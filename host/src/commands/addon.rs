//! `lowtide addon`: the operator's side of addons, by asking the daemon. A file for each subcommand.
//!
//! Texts of addons were cleaned by the daemon; they are cleaned once more here, because what answers may be another program.

mod act;
mod author;
mod build;
mod check;
mod list;
mod logs;
mod new;
mod run;
mod show;
mod test;

use crate::cli::ClientArgs;
use crate::exit::Exit;
use clap::{Args, Subcommand};
use lowtide_addons::caps::log::clean;
use serde_json::Value;

/// Bytes of one text of an addon that are printed.
const TEXT_BYTES_MAX: usize = 4 << 10;

/// What can be done with addons.
#[derive(Debug, Subcommand)]
pub(crate) enum AddonCommand {
    /// Write a small, complete project to begin with
    New(new::NewArgs),
    /// Make an addon of a project, ready to be copied into the addons folder
    Build(build::BuildArgs),
    /// Say what is wrong with an addon, or could be better, before it is installed
    Check(check::CheckArgs),
    /// Call an addon once on this machine, without the daemon, and print all that it gives
    Run(run::RunArgs),
    /// Run an addon's cases on machines that are made up
    Test(test::TestArgs),
    /// List all addons, and what is wrong with those that are not well
    List(ClientArgs),
    /// Show everything about one addon
    Show(OneArgs),
    /// Switch an addon on, also across restarts of the daemon
    Enable(OneArgs),
    /// Switch an addon off, also across restarts of the daemon
    Disable(OneArgs),
    /// Read an addon's files again and start it anew, also out of quarantine
    Reload(OneArgs),
    /// Print the newest lines of an addon's log
    Logs(LogsArgs),
}

/// Which addon.
#[derive(Debug, Args)]
pub(crate) struct OneArgs {
    /// Id of the addon, as `lowtide addon list` shows it
    id: String,
    #[command(flatten)]
    client: ClientArgs,
}

/// `lowtide addon logs`.
#[derive(Debug, Args)]
pub(crate) struct LogsArgs {
    #[command(flatten)]
    one: OneArgs,
    /// How many of the newest lines
    #[arg(long, short = 'n', value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..=500))]
    lines: u16,
    /// Go on printing lines as they come, until interrupted
    #[arg(long, short)]
    follow: bool,
}

pub(crate) fn run(command: &AddonCommand) -> Exit {
    match command {
        AddonCommand::New(args) => new::run(args),
        AddonCommand::Build(args) => build::run(args),
        AddonCommand::Check(args) => check::run(args),
        AddonCommand::Run(args) => run::run(args),
        AddonCommand::Test(args) => test::run(args),
        AddonCommand::List(args) => list::run(args),
        AddonCommand::Show(args) => show::run(args),
        AddonCommand::Enable(args) => act::run(args, "enable"),
        AddonCommand::Disable(args) => act::run(args, "disable"),
        AddonCommand::Reload(args) => act::run(args, "reload"),
        AddonCommand::Logs(args) => logs::run(args),
    }
}

/// The path of one addon, or of something below it.
fn path_of(id: &str, below: &str) -> String {
    format!("/api/addons/{}{below}", encoded(id))
}

/// A name as one part of a path or a query (RFC 3986): the names of files that are no addons may have any character.
pub(crate) fn encoded(name: &str) -> String {
    let byte = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'~' => char::from(byte).to_string(),
        // A name of dots alone would lead to another path.
        b'.' if name.bytes().any(|other| other != b'.') => ".".to_owned(),
        other => format!("%{other:02X}"),
    };
    name.bytes().map(byte).collect()
}

/// A text of the answer, safe to print; `None` when it is not there or empty.
pub(super) fn text(document: &Value, pointer: &str) -> Option<String> {
    let text = document.pointer(pointer)?.as_str()?;
    (!text.is_empty()).then(|| clean(text, TEXT_BYTES_MAX).into_owned())
}

/// A text of the answer that may have lines to paste: each cleaned, all but the first indented below it.
pub(super) fn paragraph(document: &Value, pointer: &str) -> Option<String> {
    let text = document.pointer(pointer)?.as_str()?;
    let lines: Vec<_> = text.lines().map(|line| clean(line, TEXT_BYTES_MAX)).collect();
    (!text.is_empty()).then(|| lines.join("\n    "))
}

/// A number of the answer.
fn number(document: &Value, pointer: &str) -> Option<f64> {
    document.pointer(pointer)?.as_f64()
}

/// Bytes for people.
fn bytes(count: f64) -> String {
    if count < 1024.0 * 1024.0 {
        format!("{:.0} KiB", count / 1024.0)
    } else {
        format!("{:.1} MiB", count / 1024.0 / 1024.0)
    }
}

/// Seconds for people.
fn duration(seconds: f64) -> String {
    let minutes = (seconds / 60.0).floor();
    match seconds {
        ..60.0 => format!("{seconds:.0} s"),
        60.0..3_600.0 => format!("{minutes:.0} min"),
        3_600.0..86_400.0 => format!("{:.0} h {:.0} min", (minutes / 60.0).floor(), minutes % 60.0),
        _ => format!("{:.0} d {:.0} h", (minutes / 1_440.0).floor(), (minutes / 60.0).floor() % 24.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_one_part_of_the_path() {
        assert_eq!(path_of("my-app", "/logs"), "/api/addons/my-app/logs");
        assert_eq!(path_of("a b/ä?.wasm", ""), "/api/addons/a%20b%2F%C3%A4%3F.wasm");
        assert_eq!(path_of("..", ""), "/api/addons/%2E%2E");
    }

    #[test]
    fn figures_are_for_people() {
        assert_eq!((bytes(2048.0), bytes(1_572_864.0)), ("2 KiB".to_owned(), "1.5 MiB".to_owned()));
        assert_eq!([5.0, 61.0, 7_260.0, 90_000.0].map(duration), ["5 s", "1 min", "2 h 1 min", "1 d 1 h"]);
    }
}
