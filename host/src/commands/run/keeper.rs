//! What a guard says to the daemon when `lowtide run` itself is gone: plain heartbeats, and giving the lease back at the end.

use super::hold::release_body;
use super::link::is_over;
use crate::client::{self, ClientError, Daemon, Method};
use crate::commands::lease::path_of;
use lowtide_run::{Ended, How, Keeper, Order};
use serde_json::{Value, json};
use std::time::Duration;

/// How soon a daemon that did not answer is asked again.
const AGAIN: Duration = Duration::from_secs(1);

/// The longest time between two heartbeats, whatever an answer says.
const INTERVAL_MAX: Duration = Duration::from_secs(60);

/// When there is nothing more to say to the daemon.
const NEVER: Duration = Duration::from_secs(365 * 86_400);

/// The grace of a lease that was taken back without our having heard it.
const GRACE_UNHEARD: Duration = Duration::from_secs(10);

/// Keeps a lease at a daemon; each call carries all that it needs.
#[derive(Debug)]
pub(super) struct DaemonKeeper;

impl Keeper for DaemonKeeper {
    fn beat(&mut self, lease: &str) -> Order {
        let Some(held) = Held::read(lease) else { return Order::GoOn(NEVER) };
        let work = held.document.get("work").cloned().unwrap_or_default();
        let body = json!({ "addon_id": held.word("addon_id"), "work": work });
        let path = path_of(held.word("lease_id"), "/heartbeat");
        match client::send(Method::POST, &held.daemon(), &path, Some(&body)) {
            Ok(answer) => {
                let seconds = |name: &str| {
                    let number = answer.get(name).and_then(Value::as_f64).unwrap_or_default();
                    Duration::try_from_secs_f64(number).unwrap_or_default()
                };
                match answer.get("directive").and_then(Value::as_str) {
                    Some("revoke") => Order::End(seconds("deadline_sec")),
                    _ => Order::GoOn(seconds("heartbeat_interval_sec").clamp(AGAIN, INTERVAL_MAX)),
                }
            }
            Err(ClientError::Refused { code, .. }) if code == "lease_revoked" => Order::End(GRACE_UNHEARD),
            Err(ClientError::Refused { code, .. }) if is_over(&code) => Order::GoOn(NEVER),
            Err(_) => Order::GoOn(AGAIN),
        }
    }

    fn give_back(&mut self, lease: &str, ended: &Ended) {
        let Some(held) = Held::read(lease) else { return };
        let note = match ended.how {
            How::Code(code) => format!("exit code {code}, without its wrapper"),
            How::Signal(signal) => format!("ended by signal {signal}, without its wrapper"),
        };
        let body = release_body(held.word("addon_id"), ended, &note);
        // If that does not arrive the lease lapses by itself.
        let _ = client::send(
            Method::POST,
            &held.daemon(),
            &path_of(held.word("lease_id"), "/release"),
            Some(&body),
        );
    }
}

/// What `hold` wrote down for this.
struct Held {
    document: Value,
}

impl Held {
    /// `None` when no lease was held.
    fn read(text: &str) -> Option<Self> {
        let held = Self { document: serde_json::from_str(text).ok()? };
        (!held.word("lease_id").is_empty()).then_some(held)
    }

    fn daemon(&self) -> Daemon {
        Daemon::from_json(self.document.get("daemon").unwrap_or(&Value::Null))
    }

    fn word(&self, name: &str) -> &str {
        self.document.get(name).and_then(Value::as_str).unwrap_or_default()
    }
}
