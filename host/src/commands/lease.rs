//! `lowtide lease`: asking for a quiet time by hand or from a script, and the operator's view of who has it. A file for each subcommand
//! that is more than one question.

mod explain;
mod list;
mod request;
mod waiting;

pub(crate) use request::{Urgency, refusal};
pub(crate) use waiting::waiting;

use crate::cli::ClientArgs;
use crate::client::{self, ClientError, Method};
use crate::commands::output::{complain, out, pretty};
use crate::commands::status::fail;
use crate::exit::Exit;
use clap::{Args, Subcommand, ValueEnum};
use lowtide_addons::caps::log::clean;
use serde_json::{Value, json};

/// Bytes of one text of the answer that are printed.
const TEXT_BYTES_MAX: usize = 1 << 10;

/// What can be done with leases.
#[derive(Debug, Subcommand)]
pub(crate) enum LeaseCommand {
    /// Ask for a lease; prints its id. Exits 75 when it is denied, and says why and when to come back
    Request(request::RequestArgs),
    /// Say that the work lives, and print what it is to do: continue, shrink, pause or revoke
    Heartbeat(OneArgs),
    /// List the leases that are held, who waits, and what ended lately
    List(list::ListArgs),
    /// Give a lease back
    Release(ReleaseArgs),
    /// Take a lease back from its holder
    Revoke(RevokeArgs),
    /// Tell why a lease was granted, queued or ended, or why a holder was last denied
    Explain(explain::ExplainArgs),
    /// Show or set the operator's switch: block or allow heavy work whatever the machine does
    Override(OverrideArgs),
}

/// Which lease.
#[derive(Debug, Args)]
pub(crate) struct OneArgs {
    /// Id of the lease, as `lowtide lease request` printed it
    id: String,
    #[command(flatten)]
    client: ClientArgs,
}

/// `lowtide lease release`.
#[derive(Debug, Args)]
pub(crate) struct ReleaseArgs {
    #[command(flatten)]
    one: OneArgs,
    /// The work failed
    #[arg(long)]
    failed: bool,
    /// What was done, or why it failed
    #[arg(long, value_name = "TEXT")]
    note: Option<String>,
}

/// `lowtide lease revoke`.
#[derive(Debug, Args)]
pub(crate) struct RevokeArgs {
    #[command(flatten)]
    one: OneArgs,
    /// Why, for its holder and the log
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// Seconds that its holder has to let go; 0 ends it at once
    #[arg(long, value_name = "SECONDS")]
    grace: Option<u32>,
}

/// `lowtide lease override`.
#[derive(Debug, Args)]
pub(crate) struct OverrideArgs {
    /// What to set; without it, the switch is shown
    #[arg(value_enum)]
    mode: Option<OverrideMode>,
    /// Why
    #[arg(long, value_name = "TEXT", default_value = "set by hand")]
    reason: String,
    /// How long it holds, such as 2h; without it, until it is cleared
    #[arg(long = "for", value_name = "DURATION")]
    lasts: Option<String>,
    #[command(flatten)]
    client: ClientArgs,
}

/// What the operator's switch can say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum OverrideMode {
    /// Nothing starts
    Block,
    /// What would wait for QUIET need not; PANIC still denies
    Allow,
    /// The machine decides again
    Clear,
}

pub(crate) fn run(command: &LeaseCommand) -> Exit {
    match command {
        LeaseCommand::Request(args) => request::run(args),
        LeaseCommand::Heartbeat(args) => heartbeat(args),
        LeaseCommand::List(args) => list::run(args),
        LeaseCommand::Release(args) => release(args),
        LeaseCommand::Revoke(args) => revoke(args),
        LeaseCommand::Explain(args) => explain::run(args),
        LeaseCommand::Override(args) => switch(args),
    }
}

/// Who asks, unless told otherwise: the person's name.
pub(crate) fn user() -> String {
    let name = std::env::var("USER").or_else(|_| std::env::var("LOGNAME")).unwrap_or_default();
    let fits = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    let good = !name.is_empty() && name.len() <= 64 && name.chars().all(fits);
    if good && name.starts_with(|c: char| c.is_ascii_alphanumeric()) { name } else { "operator".to_owned() }
}

/// The path of one lease, or of something below it. What is no id is told by the daemon.
pub(crate) fn path_of(id: &str, below: &str) -> String {
    format!("/api/scheduler/lease/{}{below}", crate::commands::addon::encoded(id))
}

fn heartbeat(args: &OneArgs) -> Exit {
    match client::send(Method::POST, args.client.daemon(), &path_of(&args.id, "/heartbeat"), None) {
        Ok(told) => {
            if args.client.json {
                out(&pretty(&told));
            } else {
                let directive = text(&told, "/directive").unwrap_or_default();
                let seconds =
                    |pointer: &str| told.pointer(pointer).and_then(Value::as_f64).unwrap_or_default();
                let detail = match directive.as_str() {
                    "shrink" => format!(" {}", seconds("/units")),
                    "revoke" => format!(" within {:.0} s", seconds("/deadline_sec")),
                    _ => String::new(),
                };
                let why = text(&told, "/reason").map(|why| format!(": {why}")).unwrap_or_default();
                out(&format!("{directive}{detail}{why}\n"));
            }
            match told.get("directive").and_then(Value::as_str) {
                Some("pause" | "revoke") => Exit::NotNow,
                _ => Exit::Ok,
            }
        }
        Err(error) => fail(&error, args.client.json),
    }
}

fn release(args: &ReleaseArgs) -> Exit {
    let outcome = if args.failed { "failed" } else { "done" };
    let body = json!({ "outcome": outcome, "note": args.note });
    let one = &args.one;
    match client::send(Method::POST, one.client.daemon(), &path_of(&one.id, "/release"), Some(&body)) {
        // Asked for twice is as good as once.
        Err(ClientError::Refused { code, detail, .. }) if code == "lease_released" && !one.client.json => {
            complain(&detail);
            Exit::Ok
        }
        answer => show(answer, &one.client),
    }
}

fn revoke(args: &RevokeArgs) -> Exit {
    let body = json!({ "reason": args.reason, "grace_sec": args.grace });
    let one = &args.one;
    let answer = client::send(Method::POST, one.client.daemon(), &path_of(&one.id, "/revoke"), Some(&body));
    show(answer, &one.client)
}

fn show(answer: Result<Value, ClientError>, client: &ClientArgs) -> Exit {
    match answer {
        Ok(lease) if client.json => out(&pretty(&lease)),
        Ok(lease) => out(&format!("{}\n", list::line(&lease))),
        Err(error) => return fail(&error, client.json),
    }
    Exit::Ok
}

fn switch(args: &OverrideArgs) -> Exit {
    const PATH: &str = "/api/scheduler/override";
    let daemon = args.client.daemon();
    let answer = match args.mode {
        None => client::get(daemon, PATH),
        Some(OverrideMode::Clear) => client::send(Method::DELETE, daemon, PATH, None),
        Some(mode) => {
            let mode = if mode == OverrideMode::Block { "block" } else { "allow" };
            let body = json!({ "mode": mode, "owner": user(), "reason": args.reason, "expires": args.lasts });
            client::send(Method::PUT, daemon, PATH, Some(&body))
        }
    };
    match answer {
        Ok(state) if args.client.json => out(&pretty(&state)),
        Ok(state) => out(&describe_switch(&state)),
        Err(error) => return fail(&error, args.client.json),
    }
    Exit::Ok
}

fn describe_switch(state: &Value) -> String {
    let Some(mode) = text(state, "/override/mode") else {
        return "no override: the machine decides\n".to_owned();
    };
    let word = |pointer: &str| text(state, pointer).unwrap_or_default();
    let until = text(state, "/override/expires_at")
        .map_or("until it is cleared".to_owned(), |at| format!("until {at}"));
    format!("{mode} {until}, by {}: {}\n", word("/override/owner"), word("/override/reason"))
}

/// A text of the answer, safe to print; `None` when it is not there or empty.
pub(crate) fn text(document: &Value, pointer: &str) -> Option<String> {
    let text = document.pointer(pointer)?.as_str()?;
    (!text.is_empty()).then(|| clean(text, TEXT_BYTES_MAX).into_owned())
}

/// The reasons of a decision, one a line.
pub(super) fn reasons(document: &Value) -> String {
    let reasons = document.get("reasons").and_then(Value::as_array).into_iter().flatten();
    reasons.filter_map(|reason| text(reason, "/text")).map(|text| format!("  {text}\n")).collect()
}
