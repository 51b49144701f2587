//! `lowtide lease list`: what is held, who waits, and what ended lately.

use super::text;
use crate::cli::ClientArgs;
use crate::client;
use crate::commands::output::{out, pretty};
use crate::commands::status::fail;
use crate::exit::Exit;
use clap::Args;
use serde_json::Value;
use std::fmt::Write as _;

/// `lowtide lease list`.
#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// Leases of each kind, at most
    #[arg(long, short = 'n', value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=1000))]
    limit: u16,
    #[command(flatten)]
    client: ClientArgs,
}

pub(super) fn run(args: &ListArgs) -> Exit {
    match client::get(args.client.daemon(), &format!("/api/scheduler/status?limit={}", args.limit)) {
        Ok(status) if args.client.json => out(&pretty(&status)),
        Ok(status) => out(&describe(&status)),
        Err(error) => return fail(&error, args.client.json),
    }
    Exit::Ok
}

fn describe(status: &Value) -> String {
    let mut all = String::new();
    let number = |name: &str| status.get(name).and_then(Value::as_u64).unwrap_or_default();
    let state = text(status, "/quiet/state").unwrap_or_else(|| "unknown".to_owned());
    // Writing to a String cannot fail.
    let _ = writeln!(
        all,
        "{state}; {} of {} units held by {}, {} waiting",
        number("used_units"),
        number("capacity_units"),
        count(number("active_count"), "lease"),
        number("queued_count")
    );
    if let Some(problem) = text(status, "/storage_problem") {
        let _ = writeln!(all, "nothing new is granted: {problem}");
    }
    if let Some(mode) = text(status, "/override/mode") {
        let word = |pointer: &str| text(status, pointer).unwrap_or_default();
        let _ =
            writeln!(all, "override: {mode}, by {}: {}", word("/override/owner"), word("/override/reason"));
    }
    for (name, title) in [("active", "held"), ("queue", "waiting"), ("recent", "ended lately")] {
        let leases = status.get(name).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        if !leases.is_empty() {
            let _ = writeln!(all, "\n{title}");
        }
        for lease in leases {
            let _ = writeln!(all, "  {}", line(lease));
        }
    }
    all
}

fn count(number: u64, noun: &str) -> String {
    if number == 1 { format!("1 {noun}") } else { format!("{number} {noun}s") }
}

/// A lease in one line.
pub(super) fn line(lease: &Value) -> String {
    let word = |pointer: &str| text(lease, pointer).unwrap_or_default();
    let number = |pointer: &str| lease.pointer(pointer).and_then(Value::as_f64);
    let mut line = format!(
        "{}  {:<9} {} {} ({} units, {})",
        word("/lease_id"),
        word("/state"),
        word("/addon_id"),
        word("/job_type"),
        number("/cost_units").unwrap_or_default(),
        word("/priority").to_lowercase()
    );
    if let Some(done) = number("/progress/done_ratio") {
        let _ = write!(line, ", {:.0} % done", done * 100.0);
    }
    if let Some(note) = text(lease, "/progress/note").or_else(|| text(lease, "/note")) {
        let _ = write!(line, ": {note}");
    }
    if let Some(position) = number("/queue/position") {
        let why = text(lease, "/reasons/0/text").unwrap_or_default();
        let _ = write!(line, ", place {position}: {why}");
    }
    line
}
