//! `lowtide addon logs`: the newest lines, and with `--follow` those that come, by asking again from where it stopped.

use super::{LogsArgs, path_of, text};
use crate::client::{self, ClientError};
use crate::commands::output::{complain, out, pretty, still_out};
use crate::commands::status::fail;
use crate::exit::Exit;
use serde_json::Value;
use std::fmt::Write as _;
use std::time::Duration;

/// Time between two questions.
const POLL: Duration = Duration::from_secs(1);

/// Lines of one question: as many as the daemon keeps.
const LINES_MAX: u16 = 500;

pub(super) fn run(args: &LogsArgs) -> Exit {
    let client = &args.one.client;
    let first = client::get(client.daemon(), &path_of(&args.one.id, &format!("/logs?limit={}", args.lines)));
    let ended = first.and_then(|log| {
        if args.follow {
            return follow(args, log);
        }
        out(&if client.json { pretty(&log) } else { describe(&log) });
        Ok(())
    });
    match ended {
        Ok(()) => Exit::Ok,
        Err(error) => fail(&error, client.json),
    }
}

/// Prints what comes until nobody reads it any more or the daemon is gone.
fn follow(args: &LogsArgs, mut log: Value) -> Result<(), ClientError> {
    let client = &args.one.client;
    loop {
        let missed = log.get("missed").and_then(Value::as_u64).unwrap_or_default();
        if missed > 0 {
            complain(&format!("{missed} lines came and went between two looks"));
        }
        let printed = if client.json { lines_of_json(&log) } else { describe(&log) };
        if !printed.is_empty() && !still_out(&printed) {
            return Ok(());
        }
        std::thread::park_timeout(POLL);
        let since = log.get("next").and_then(Value::as_u64).unwrap_or_default();
        let path = path_of(&args.one.id, &format!("/logs?since={since}&limit={LINES_MAX}"));
        log = client::get(client.daemon(), &path)?;
    }
}

/// Each line as a JSON object on a line of its own.
fn lines_of_json(log: &Value) -> String {
    lines(log).iter().map(|line| format!("{line}\n")).collect()
}

fn lines(log: &Value) -> &[Value] {
    log.get("lines").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

fn describe(log: &Value) -> String {
    let mut printed = String::new();
    for line in lines(log) {
        let word = |pointer: &str| text(line, pointer).unwrap_or_default();
        // Writing to a String cannot fail.
        let _ = writeln!(printed, "{} {:<5} {}", word("/at"), word("/level"), word("/text"));
    }
    printed
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_line_cannot_make_two_or_steer_the_terminal() {
        let line = json!({ "at": "2026-01-01T00:00:00.000Z", "level": "warn", "text": "a\u{1b}[2J\nb", "number": 3 });
        let log = json!({ "lines": [line], "missed": 0, "next": 3 });
        assert_eq!(describe(&log), "2026-01-01T00:00:00.000Z warn  a\u{fffd}[2J⏎b\n");
        assert_eq!(lines_of_json(&log).lines().count(), 1);
    }
}
