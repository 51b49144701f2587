//! How it is told that a request waits: the same words for `lowtide lease request --wait` and `lowtide run`.

use super::text;
use serde_json::Value;

/// A request's place in the queue, in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Waiting {
    /// Its place.
    pub(crate) place: String,
    /// When its turn may come; empty when that is not known.
    pub(crate) estimate: String,
    /// Why it waits.
    pub(crate) why: String,
}

impl Waiting {
    /// All of it in one line.
    pub(crate) fn line(&self) -> String {
        let Self { place, estimate, why } = self;
        format!("{place}{estimate}: {why}")
    }
}

/// Reads it from the daemon's answer.
pub(crate) fn waiting(lease: &Value) -> Waiting {
    let position = lease.pointer("/queue/position").and_then(Value::as_u64);
    let start = lease.pointer("/queue/estimated_start_sec").and_then(Value::as_f64);
    Waiting {
        place: position.map_or("far behind".to_owned(), |position| format!("place {position}")),
        estimate: start.map_or(String::new(), |seconds| format!(", perhaps in {}", human(seconds))),
        why: text(lease, "/reasons/0/text").unwrap_or_default(),
    }
}

/// Seconds as people say them.
fn human(seconds: f64) -> String {
    if seconds < 90.0 {
        format!("{seconds:.0} s")
    } else if seconds < 5_400.0 {
        format!("{:.0} min", seconds / 60.0)
    } else {
        format!("{:.1} h", seconds / 3_600.0)
    }
}

/// The same for whole seconds.
pub(super) fn human_seconds(seconds: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "a time that people wait")]
    human(seconds as f64)
}
