//! `lowtide lease request`: one question; with `--wait`, until it is granted.

use super::{path_of, reasons, text, user, waiting};
use crate::cli::ClientArgs;
use crate::client::{self, ClientError, Method};
use crate::commands::output::{complain, out, pretty};
use crate::commands::status::fail;
use crate::exit::Exit;
use clap::{Args, ValueEnum};
use serde_json::{Value, json};
use std::time::Duration;

/// How long one question may be held back by the daemon.
const POLL: &str = "30s";

/// What such a question may take.
const POLL_DEADLINE: Duration = Duration::from_secs(45);

/// `lowtide lease request`.
#[derive(Debug, Args)]
pub(crate) struct RequestArgs {
    /// What the work is
    #[arg(value_name = "JOB")]
    job: String,
    /// Units of the machine's capacity, 1 to 100
    #[arg(long, default_value_t = 25, value_parser = clap::value_parser!(u32).range(1..=100))]
    cost: u32,
    /// How urgent; `high` need not wait until it is quiet
    #[arg(long, value_enum, default_value_t = Urgency::Normal)]
    priority: Urgency,
    /// How long the work is expected to take, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 600)]
    duration: u32,
    /// It computes: only what matters to such work denies it
    #[arg(long)]
    cpu_heavy: bool,
    /// It writes to disks
    #[arg(long)]
    disk_write_heavy: bool,
    /// It sends or receives much
    #[arg(long)]
    network_heavy: bool,
    /// It can stand still in the middle
    #[arg(long)]
    pausable: bool,
    /// Run anyway by: a duration such as 6h, or a time
    #[arg(long, value_name = "WHEN")]
    deadline: Option<String>,
    /// Wait until it is granted; with a number, so many seconds at most
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "0")]
    wait: Option<u32>,
    /// Who asks
    #[arg(long, value_name = "NAME")]
    holder: Option<String>,
    /// Names this request: asked again with the same key, it gets the same lease
    #[arg(long, value_name = "KEY")]
    key: Option<String>,
    #[command(flatten)]
    client: ClientArgs,
}

/// How urgent work is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Urgency {
    /// Runs when nothing else wants to
    Low,
    /// As usual
    Normal,
    /// Need not wait until it is quiet
    High,
}

impl Urgency {
    /// As the daemon calls it.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Low => "LOW",
            Self::Normal => "NORMAL",
            Self::High => "HIGH",
        }
    }
}

pub(super) fn run(args: &RequestArgs) -> Exit {
    match ask(args) {
        Ok(decision) => report(args, &decision),
        Err(error) => fail(&error, args.client.json),
    }
}

fn ask(args: &RequestArgs) -> Result<Value, ClientError> {
    let body = json!({
        "addon_id": args.holder.clone().unwrap_or_else(user),
        "job_type": args.job,
        "cost_units": args.cost,
        "priority": args.priority.word(),
        "expected_duration_sec": args.duration,
        "constraints": {
            "cpu_heavy": args.cpu_heavy,
            "disk_write_heavy": args.disk_write_heavy,
            "network_heavy": args.network_heavy,
        },
        "pausable": args.pausable,
        "deadline": args.deadline,
        "wait": args.wait.is_some(),
        "wait_max_sec": args.wait.filter(|seconds| *seconds > 0),
        "idempotency_key": args.key,
    });
    let daemon = args.client.daemon();
    let decision = client::send(Method::POST, daemon, "/api/scheduler/lease/request", Some(&body))?;
    match decision.get("lease_id").and_then(Value::as_str) {
        Some(id) if decision.get("decision").and_then(Value::as_str) == Some("queued") => {
            wait_for(args, id, &decision)
        }
        _ => Ok(decision),
    }
}

/// Asks again and again until the lease no longer waits. Why it waits is said when that changes.
fn wait_for(args: &RequestArgs, id: &str, decision: &Value) -> Result<Value, ClientError> {
    let mut told = String::new();
    let mut lease = decision.clone();
    loop {
        // Who gives up can leave the queue by this id.
        let own = text(&lease, "/lease_id").unwrap_or_default();
        let why = format!("waiting as {own}, {}", waiting(&lease).line());
        if why != told && !args.client.json {
            complain(&why);
            told = why;
        }
        let path = path_of(id, &format!("?wait={POLL}"));
        lease = client::send_within(POLL_DEADLINE, Method::GET, args.client.daemon(), &path, None)?;
        if lease.get("state").and_then(Value::as_str) != Some("queued") {
            return Ok(lease);
        }
    }
}

fn report(args: &RequestArgs, decision: &Value) -> Exit {
    let approved = decision.get("approved").and_then(Value::as_bool);
    // After a wait this is the lease itself.
    let granted = approved.unwrap_or_else(|| {
        matches!(decision.get("state").and_then(Value::as_str), Some("active" | "paused" | "revoking"))
    });
    if args.client.json {
        out(&pretty(decision));
    } else if granted {
        // Alone on stdout, so that a script can take it.
        out(&format!("{}\n", text(decision, "/lease_id").unwrap_or_default()));
    } else {
        complain(&refusal(decision));
    }
    if granted { Exit::Ok } else { Exit::NotNow }
}

/// Why it was not granted.
pub(crate) fn refusal(decision: &Value) -> String {
    if let Some(state) = text(decision, "/state") {
        return format!("not granted: the request ended as {state}");
    }
    let after = decision.get("retry_after_sec").and_then(Value::as_u64);
    let after = after.map_or(String::new(), |seconds| {
        format!("; ask again in {}", super::waiting::human_seconds(seconds))
    });
    let rule = text(decision, "/rule").unwrap_or_default();
    format!("denied ({rule}){after}\n{}", reasons(decision).trim_end())
}
