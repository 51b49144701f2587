//! `lowtide status`: the verdict for people.

use super::output::{complain, out, pretty};
use crate::cli::ClientArgs;
use crate::client::{self, ClientError};
use crate::exit::Exit;
use serde_json::{Value, json};
use std::fmt::Write as _;

pub(crate) fn run(args: &ClientArgs) -> Exit {
    match fetch(args) {
        Ok(status) if args.json => {
            out(&pretty(&status));
            Exit::Ok
        }
        Ok(status) => {
            out(&describe(&status));
            Exit::Ok
        }
        Err(error) => fail(&error, args.json),
    }
}

/// Says why there was no answer, for a program as JSON on stdout too, and ends accordingly.
pub(crate) fn fail(error: &ClientError, as_json: bool) -> Exit {
    let (exit, code) = match error {
        ClientError::Address { .. } => (Exit::Usage, "wrong_address"),
        ClientError::Token { .. } => (Exit::NoPermission, "token_unreadable"),
        ClientError::Certificates { .. } => (Exit::Usage, "certificates_unreadable"),
        ClientError::Unreachable { .. } => (Exit::Unavailable, "unreachable"),
        ClientError::Refused { code, .. } if code == "no_such_addon" => (Exit::Usage, "no_such_addon"),
        ClientError::Refused { code, .. } if code == "addon_configured_off" => {
            (Exit::Config, "addon_configured_off")
        }
        ClientError::Refused { status: 401, .. } => (Exit::NoPermission, "token_refused"),
        ClientError::Refused { code, .. } if code == "forbidden" => (Exit::NoPermission, "forbidden"),
        ClientError::Refused { code, .. } => of_lease(code).unwrap_or((Exit::Unavailable, "refused")),
        ClientError::NotLowtide { .. } => (Exit::Protocol, "not_lowtide"),
    };
    if as_json {
        out(&pretty(&json!({ "error": { "code": code, "message": error.to_string() } })));
    }
    complain(&error.to_string());
    exit
}

/// What became of a question about leases.
fn of_lease(code: &str) -> Option<(Exit, &'static str)> {
    Some(match code {
        "no_such_lease" => (Exit::Usage, "no_such_lease"),
        "invalid_body" => (Exit::Usage, "invalid_body"),
        "too_many_units" => (Exit::Usage, "too_many_units"),
        "idempotency_key_reused" => (Exit::Usage, "idempotency_key_reused"),
        "lease_expired" => (Exit::Findings, "lease_expired"),
        "lease_released" => (Exit::Findings, "lease_released"),
        "lease_revoked" => (Exit::Findings, "lease_revoked"),
        "lease_cancelled" => (Exit::Findings, "lease_cancelled"),
        "lease_queued" => (Exit::NotNow, "lease_queued"),
        "rate_limited" => (Exit::NotNow, "rate_limited"),
        "queue_full" => (Exit::NotNow, "queue_full"),
        _ => return None,
    })
}

fn fetch(args: &ClientArgs) -> Result<Value, ClientError> {
    let quiet = client::get(args.daemon(), "/api/system-stats/quiet")?;
    let health = client::get(args.daemon(), "/api/system-stats/health")?;
    let current = client::get(args.daemon(), "/api/system-stats/current")?;
    let host = current.get("host").cloned().unwrap_or_default();
    Ok(json!({ "url": args.daemon().url(), "quiet": quiet, "health": health, "host": host }))
}

fn describe(status: &Value) -> String {
    let mut text = String::new();
    let word = |pointer: &str| status.pointer(pointer).and_then(Value::as_str).unwrap_or("?").to_owned();
    let number = |pointer: &str| status.pointer(pointer).and_then(Value::as_f64);
    // Writing to a String cannot fail.
    let _ = writeln!(
        text,
        "{} {}/100 since {}, confidence {:.2}",
        word("/quiet/state"),
        number("/quiet/score").unwrap_or_default(),
        word("/quiet/since"),
        number("/quiet/confidence").unwrap_or_default()
    );
    for reason in status.pointer("/quiet/reasons").and_then(Value::as_array).into_iter().flatten() {
        let _ = writeln!(text, "  {}", reason.get("text").and_then(Value::as_str).unwrap_or("?"));
    }
    let percent = |pointer: &str| number(pointer).map(|share| format!("{:.0} %", share * 100.0));
    let facts = [
        ("cpu", percent("/host/cpu/usage_ratio")),
        ("load", number("/host/system/load_average1").map(|load| format!("{load:.2}"))),
        ("memory available", percent("/host/memory/available_ratio")),
        ("io stalled", percent("/host/pressure/io_stalled_ratio")),
    ];
    let known: Vec<String> =
        facts.into_iter().filter_map(|(name, value)| Some(format!("{name} {}", value?))).collect();
    let _ = writeln!(text, "{}", known.join(", "));
    let _ =
        writeln!(text, "daemon {} at {}: {}", word("/health/version"), word("/url"), word("/health/status"));
    for reason in status.pointer("/health/reasons").and_then(Value::as_array).into_iter().flatten() {
        let _ = writeln!(text, "  {}", reason.as_str().unwrap_or("?"));
    }
    text
}
