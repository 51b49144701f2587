//! The link to the daemon while the command runs: one heartbeat is always on its way, so that an order arrives at once and a daemon that
//! dies is noticed at once. It runs as a task; what it learns goes to `hold`. It touches no process.

use super::ask::{AGAIN, Granted, Standing, Wish};
use crate::client::{ClientError, Method};
use crate::commands::lease::{path_of, text};
use serde_json::{Value, json};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::mpsc::Sender;
use tokio::time::Instant;

/// How long the daemon may hold a heartbeat back. While the command stands still less: a daemon that hangs must not keep it so.
const WAIT: Duration = Duration::from_secs(10);
const WAIT_PAUSED: Duration = Duration::from_secs(2);

/// What an answer may take beyond that.
const PATIENCE: Duration = Duration::from_secs(2);

/// The grace of a lease that was taken back without a word: the daemon told it, but we did not hear.
const GRACE_UNHEARD: Duration = Duration::from_secs(10);

/// Between two requests that were denied, unless the daemon says when.
const ASK_AGAIN: Duration = Duration::from_secs(30);

/// Orders that wait for being obeyed. They are few; the newest counts.
pub(super) const ORDERS_MAX: usize = 16;

/// What the command is to do.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Order {
    /// Go on.
    GoOn,
    /// Use only this share of the time, 0 to 1.
    Shrink(f64),
    /// Stand still, and why.
    Pause(String),
    /// End within this time, and why.
    End(Duration, String),
    /// There is nobody to obey, and why: go on.
    Alone(String),
    /// Another lease was granted in place of one that is gone.
    Leased(Granted),
}

/// What the task and the holder both know.
#[derive(Debug, Default)]
pub(super) struct Shared {
    /// The lease that is held, or waited for.
    pub(super) lease: Option<String>,
    /// How the daemon finds the processes.
    pub(super) work: Value,
    /// Whether the command cannot be paused any more. The daemon must not count on it then.
    pub(super) cannot_pause: bool,
}

/// The task.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) wish: Wish,
    pub(super) cost: u32,
    pub(super) shared: Arc<Mutex<Shared>>,
    pub(super) orders: Sender<Order>,
    told: Option<Order>,
}

impl Link {
    pub(super) fn new(wish: Wish, cost: u32, shared: Arc<Mutex<Shared>>, orders: Sender<Order>) -> Self {
        Self { wish, cost, shared, orders, told: None }
    }

    /// Runs until nobody hears it any more.
    pub(super) async fn run(mut self, mut lease: Option<Granted>) {
        loop {
            let held = match lease.take() {
                Some(held) => held,
                None => self.ask_anew().await,
            };
            self.beat(&held.id).await;
            if self.orders.is_closed() {
                return;
            }
        }
    }

    async fn tell(&mut self, order: Order) {
        if self.told.as_ref() != Some(&order) {
            self.told = Some(order.clone());
            // Closed: the command ended.
            let _ = self.orders.send(order).await;
        }
    }

    /// Heartbeats until the lease is over.
    async fn beat(&mut self, id: &str) {
        let mut after: Option<u64> = None;
        while !self.orders.is_closed() {
            let wait = if matches!(self.told, Some(Order::Pause(_))) { WAIT_PAUSED } else { WAIT };
            let after_last = after.map(|event| format!("&after={event}")).unwrap_or_default();
            let (work, cannot_pause) = {
                let shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
                (shared.work.clone(), shared.cannot_pause)
            };
            // Who waits for orders says that they are obeyed at once.
            let waits = format!("?wait={}s{after_last}", wait.as_secs());
            let path = path_of(id, &format!("/heartbeat{}", if cannot_pause { "" } else { &waits }));
            let body = json!({ "addon_id": self.wish.holder, "work": work });
            let asked_at = Instant::now();
            match self.wish.daemon.send(wait + PATIENCE, Method::POST, &path, Some(&body)).await {
                Ok(answer) => {
                    let event = answer.get("event").and_then(Value::as_u64);
                    // An answer that was not held back and says nothing new must not make us ask without end.
                    let idle = event.is_none() || (event == after && asked_at.elapsed() < AGAIN);
                    after = event;
                    let order = order(&answer, self.cost);
                    self.tell(order).await;
                    if idle {
                        tokio::time::sleep_until(asked_at + AGAIN).await;
                    }
                }
                Err(ClientError::Refused { code, detail, .. }) if is_over(&code) => {
                    if code == "lease_revoked" {
                        self.tell(Order::End(GRACE_UNHEARD, detail)).await;
                        // It ends; what is left is to hear that.
                        return self.orders.closed().await;
                    }
                    return self.tell(Order::Alone(detail)).await;
                }
                Err(error) => {
                    // Nothing is known: an order to stand still does not outlive who gave it.
                    after = None;
                    let why = match error {
                        ClientError::Unreachable { why, .. } => format!("the daemon does not answer: {why}"),
                        error => error.to_string(),
                    };
                    self.tell(Order::Alone(why)).await;
                    tokio::time::sleep_until(asked_at + AGAIN).await;
                }
            }
        }
    }

    /// Asks for another lease, while the command runs on.
    async fn ask_anew(&mut self) -> Granted {
        // The key stands for the first one; and nobody waits at the terminal any more.
        if let Some(fields) = self.wish.body.as_object_mut() {
            fields.remove("idempotency_key");
            fields.insert("wait".to_owned(), Value::Bool(true));
        }
        self.shared.lock().unwrap_or_else(PoisonError::into_inner).lease = None;
        let mut queued: Option<String> = None;
        loop {
            let asked_at = Instant::now();
            let answer = match &queued {
                Some(id) => self.wish.look(id).await,
                None => self.wish.request().await,
            };
            let pause = match answer.as_ref().map(Standing::of) {
                Ok(Standing::Granted(granted)) => {
                    self.shared.lock().unwrap_or_else(PoisonError::into_inner).lease =
                        Some(granted.id.clone());
                    let _ = self.orders.send(Order::Leased(granted.clone())).await;
                    return granted;
                }
                Ok(Standing::Queued(id)) => {
                    self.shared.lock().unwrap_or_else(PoisonError::into_inner).lease = Some(id.clone());
                    let first = queued.replace(id).is_none();
                    if first { Duration::ZERO } else { Duration::from_millis(100) }
                }
                Ok(Standing::No) => {
                    queued = None;
                    let after =
                        answer.ok().and_then(|answer| answer.get("retry_after_sec").and_then(Value::as_u64));
                    after.map_or(ASK_AGAIN, Duration::from_secs).max(AGAIN)
                }
                Err(ClientError::Refused { status, .. }) if *status < 500 && *status != 429 => {
                    queued = None;
                    ASK_AGAIN
                }
                Err(_) => AGAIN,
            };
            tokio::time::sleep_until(asked_at + pause).await;
        }
    }
}

/// Whether this refusal of a heartbeat says that the lease is gone.
pub(super) fn is_over(code: &str) -> bool {
    matches!(
        code,
        "lease_expired"
            | "lease_released"
            | "lease_revoked"
            | "lease_cancelled"
            | "no_such_lease"
            | "not_your_lease"
    )
}

fn order(answer: &Value, cost: u32) -> Order {
    let why = || text(answer, "/reason").unwrap_or_else(|| "the machine is needed".to_owned());
    match answer.get("directive").and_then(Value::as_str) {
        Some("shrink") => {
            let units = answer.get("units").and_then(Value::as_f64).unwrap_or_default();
            Order::Shrink((units / f64::from(cost.max(1))).clamp(0.0, 1.0))
        }
        Some("pause") => Order::Pause(why()),
        Some("revoke") => {
            let seconds = answer.get("deadline_sec").and_then(Value::as_f64).unwrap_or_default();
            Order::End(Duration::try_from_secs_f64(seconds).unwrap_or_default(), why())
        }
        _ => Order::GoOn,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directives_become_orders() {
        let table = [
            (json!({"directive": "continue", "units": 40}), Order::GoOn),
            (json!({"directive": "shrink", "units": 20}), Order::Shrink(0.5)),
            (json!({"directive": "shrink", "units": 80}), Order::Shrink(1.0)),
            (
                json!({"directive": "pause", "reason": "the host is BUSY"}),
                Order::Pause("the host is BUSY".to_owned()),
            ),
            (
                json!({"directive": "revoke", "deadline_sec": 1.5, "reason": "x"}),
                Order::End(Duration::from_millis(1_500), "x".to_owned()),
            ),
            (json!({"directive": "something newer"}), Order::GoOn),
        ];
        for (answer, expected) in table {
            assert_eq!(order(&answer, 40), expected, "{answer}");
        }
    }
}
