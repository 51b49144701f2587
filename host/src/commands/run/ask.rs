//! Asking for the lease, and waiting until it is granted. Who gives up leaves the queue.

use super::speaker::Speaker;
use super::{OnUnreachable, RunArgs, job_of};
use crate::client::{ClientError, Kept, Method};
use crate::commands::lease::{path_of, refusal, user};
use crate::commands::status::fail;
use crate::exit::Exit;
use lowtide_run::{Passed, Signals};
use serde_json::{Value, json};
use std::process::ExitCode;
use std::time::Duration;
use tokio::time::Instant;

/// How long one question may be held back by the daemon.
pub(super) const POLL: &str = "30s";

/// What such a question may take.
pub(super) const POLL_DEADLINE: Duration = Duration::from_secs(35);

/// What any other question may take.
pub(super) const DEADLINE: Duration = Duration::from_secs(10);

/// How long until a daemon that did not answer is asked again.
pub(super) const AGAIN: Duration = Duration::from_secs(1);

/// What is asked for, and whom.
#[derive(Clone, Debug)]
pub(super) struct Wish {
    pub(super) daemon: Kept,
    pub(super) holder: String,
    /// The body of the request.
    pub(super) body: Value,
}

impl Wish {
    pub(super) fn of(args: &RunArgs) -> Result<Self, ClientError> {
        let holder = args.holder.clone().unwrap_or_else(user);
        let job = args.command.first().map(|command| job_of(command)).unwrap_or_default();
        let body = json!({
            "addon_id": holder,
            "job_type": args.job.clone().unwrap_or(job),
            "cost_units": args.cost,
            "priority": args.priority.word(),
            "expected_duration_sec": args.duration.as_secs_f64(),
            "constraints": {
                "cpu_heavy": args.cpu_heavy,
                "disk_write_heavy": args.disk_write_heavy,
                "network_heavy": args.network_heavy,
            },
            "pausable": !args.not_pausable,
            "max_freeze_sec": (!args.not_pausable).then_some(args.max_freeze.as_secs_f64()),
            "deadline": args.deadline,
            "wait": !args.no_wait,
            "idempotency_key": args.key,
        });
        Ok(Self { daemon: Kept::new(&args.daemon)?, holder, body })
    }

    pub(super) async fn request(&self) -> Result<Value, ClientError> {
        self.daemon.send(DEADLINE, Method::POST, "/api/scheduler/lease/request", Some(&self.body)).await
    }

    /// Answers when the request no longer waits, or after a while.
    pub(super) async fn look(&self, id: &str) -> Result<Value, ClientError> {
        let path = path_of(id, &format!("?wait={POLL}"));
        self.daemon.send(POLL_DEADLINE, Method::GET, &path, None).await
    }

    /// Gives a lease back, or leaves the queue.
    pub(super) async fn release(&self, id: &str, body: &Value) -> Result<Value, ClientError> {
        self.daemon.send(DEADLINE, Method::POST, &path_of(id, "/release"), Some(body)).await
    }
}

/// A lease that was granted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Granted {
    pub(super) id: String,
    pub(super) token: Option<u64>,
}

/// What an answer says about a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    Granted(Granted),
    Queued(String),
    No,
}

impl Standing {
    /// Reads a decision or a lease.
    pub(super) fn of(answer: &Value) -> Self {
        let word = |name: &str| answer.get(name).and_then(Value::as_str).unwrap_or_default();
        let id = word("lease_id").to_owned();
        if id.is_empty() {
            return Self::No;
        }
        match (word("decision"), word("state")) {
            ("queued", _) | (_, "queued") => Self::Queued(id),
            ("granted", _) | (_, "active" | "paused" | "revoking") => {
                let token = answer.get("fencing_token").and_then(Value::as_u64);
                Self::Granted(Granted { id, token })
            }
            _ => Self::No,
        }
    }
}

/// Asks and waits. `None`: there is no daemon, and the command is to run without.
pub(super) async fn ask(
    args: &RunArgs,
    wish: &Wish,
    signals: &mut Signals,
    speaker: &mut Speaker,
) -> Result<Option<Granted>, ExitCode> {
    let answer = tokio::select! {
        answer = wish.request() => answer,
        signal = ending(signals) => return Err(ended_by(signal)),
    };
    let mut lease = match answer {
        Ok(lease) => lease,
        Err(ClientError::Unreachable { .. }) if args.on_unreachable == OnUnreachable::Run => {
            speaker.note("no daemon answers: the command runs at the lowest class, without a lease");
            return Ok(None);
        }
        Err(error) => return Err(fail(&error, false).into()),
    };
    loop {
        let id = match Standing::of(&lease) {
            Standing::Granted(granted) => {
                speaker.clear();
                return Ok(Some(granted));
            }
            Standing::No => {
                speaker.error(&refusal(&lease));
                return Err(Exit::NotNow.into());
            }
            Standing::Queued(id) => id,
        };
        speaker.waiting(&lease);
        lease = tokio::select! {
            now = turn(wish, &id, speaker) => now.map_err(|error| -> ExitCode { fail(&error, false).into() })?,
            signal = ending(signals) => {
                speaker.clear();
                let body = json!({ "addon_id": wish.holder, "outcome": "failed", "note": "given up while waiting" });
                // If that does not arrive, the daemon lets it go when its turn comes and nobody is heard.
                let _ = wish.release(&id, &body).await;
                return Err(ended_by(signal));
            }
        };
    }
}

/// The request, when something about it changed. A daemon that is away is waited for: the queue survives that.
async fn turn(wish: &Wish, id: &str, speaker: &mut Speaker) -> Result<Value, ClientError> {
    loop {
        match wish.look(id).await {
            Err(ClientError::Unreachable { .. }) => speaker.waiting_alone(),
            Err(ClientError::Refused { status, .. }) if status >= 500 || status == 429 => {}
            answer => return answer,
        }
        tokio::time::sleep_until(Instant::now() + AGAIN).await;
    }
}

/// The next signal that asks to end. Ctrl-Z stops us as usual meanwhile.
async fn ending(signals: &mut Signals) -> Passed {
    loop {
        let signal = signals.next().await;
        if signal.ends() {
            return signal;
        }
        signal.stop_if_asked();
    }
}

fn ended_by(signal: Passed) -> ExitCode {
    lowtide_run::How::Signal(signal.number()).exit_code().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_understood() {
        let granted = Granted { id: "1-a".to_owned(), token: Some(7) };
        let table = [
            (
                json!({"decision": "granted", "lease_id": "1-a", "fencing_token": 7}),
                Standing::Granted(granted.clone()),
            ),
            (json!({"state": "active", "lease_id": "1-a", "fencing_token": 7}), Standing::Granted(granted)),
            (json!({"decision": "queued", "lease_id": "1-a"}), Standing::Queued("1-a".to_owned())),
            (json!({"state": "queued", "lease_id": "1-a"}), Standing::Queued("1-a".to_owned())),
            (json!({"state": "timed_out", "lease_id": "1-a"}), Standing::No),
            (json!({"decision": "denied", "approved": false}), Standing::No),
            (json!({}), Standing::No),
        ];
        for (answer, standing) in table {
            assert_eq!(Standing::of(&answer), standing, "{answer}");
        }
    }
}
