//! `lowtide lease explain`: a lease with its decision and its whole story; or a holder with its last denial.

use super::{path_of, reasons, text};
use crate::cli::ClientArgs;
use crate::client::{self, ClientError};
use crate::commands::output::{out, pretty};
use crate::commands::status::fail;
use crate::exit::Exit;
use clap::Args;
use serde_json::{Value, json};
use std::fmt::Write as _;

/// `lowtide lease explain`.
#[derive(Debug, Args)]
pub(crate) struct ExplainArgs {
    /// Id of a lease, or name of a holder
    what: String,
    #[command(flatten)]
    client: ClientArgs,
}

pub(super) fn run(args: &ExplainArgs) -> Exit {
    match fetch(args) {
        Ok(story) if args.client.json => out(&pretty(&story)),
        Ok(story) => out(&describe(&story)),
        Err(error) => return fail(&error, args.client.json),
    }
    Exit::Ok
}

fn fetch(args: &ExplainArgs) -> Result<Value, ClientError> {
    let daemon = args.client.daemon();
    match client::get(daemon, &path_of(&args.what, "")) {
        Ok(lease) => {
            let log = client::get(daemon, &format!("/api/scheduler/events?limit=1000&lease={}", args.what))?;
            Ok(json!({ "lease": lease, "events": log.get("events") }))
        }
        // No id of a lease: perhaps a holder.
        Err(error @ ClientError::Refused { status: 404, .. }) => {
            let holders = client::get(daemon, "/api/scheduler/holders")?;
            let mut holders = holders.get("holders").and_then(Value::as_array).into_iter().flatten();
            let named =
                |holder: &&Value| holder.get("addon_id").and_then(Value::as_str) == Some(args.what.as_str());
            holders.find(named).map(|holder| json!({ "holder": holder })).ok_or(error)
        }
        Err(error) => Err(error),
    }
}

fn describe(story: &Value) -> String {
    let mut all = String::new();
    if let Some(holder) = story.get("holder") {
        describe_holder(&mut all, holder);
        return all;
    }
    let lease = story.get("lease").unwrap_or(&Value::Null);
    let word = |pointer: &str| text(lease, pointer).unwrap_or_default();
    // Writing to a String cannot fail.
    let _ = writeln!(all, "{}", super::list::line(lease));
    let _ = writeln!(all, "decided by {} on {}", word("/rule"), basis(lease));
    all.push_str(&reasons(lease));
    let _ = writeln!(all, "\nstory");
    for event in story.get("events").and_then(Value::as_array).into_iter().flatten() {
        let word = |pointer: &str| text(event, pointer);
        let what = word("/how").or_else(|| word("/event")).unwrap_or_default();
        let why = word("/note")
            .or_else(|| word("/reasons/0/text"))
            .map(|why| format!(": {why}"))
            .unwrap_or_default();
        let _ = writeln!(all, "  {}  {what}{why}", word("/at").unwrap_or_default());
    }
    all
}

fn basis(lease: &Value) -> String {
    let number = |pointer: &str| lease.pointer(pointer).and_then(Value::as_u64);
    let state = text(lease, "/basis/state").unwrap_or_else(|| "nothing known".to_owned());
    let (score, sequence) = (number("/basis/score"), number("/basis/snapshot_sequence"));
    let (used, capacity) = (number("/basis/used_units"), number("/basis/capacity_units"));
    format!(
        "snapshot {}: {state} {}, {} of {} units in use",
        sequence.map_or("none".to_owned(), |sequence| sequence.to_string()),
        score.map_or(String::new(), |score| score.to_string()),
        used.unwrap_or_default(),
        capacity.unwrap_or_default()
    )
}

fn describe_holder(all: &mut String, holder: &Value) {
    let number = |name: &str| holder.get(name).and_then(Value::as_u64).unwrap_or_default();
    let _ = writeln!(
        all,
        "{}: holds {} ({} units), {} waiting; granted {}, denied {} since the daemon's start",
        text(holder, "/addon_id").unwrap_or_default(),
        number("active"),
        number("held_units"),
        number("queued"),
        number("grants"),
        number("denials")
    );
    if let (Some(at), Some(rule)) = (text(holder, "/last_denied_at"), text(holder, "/last_rule")) {
        let _ = writeln!(all, "last denied {at} by {rule}");
        let reasons = holder.get("last_reasons").cloned().unwrap_or_default();
        all.push_str(&super::reasons(&json!({ "reasons": reasons })));
    }
}
