//! The data of the event stream.

use super::rfc3339;
use lowtide_app::{Event, EventKind};
use lowtide_core::quiet::Level;
use lowtide_core::report::CollectorStatus;
use serde::Serialize;
use utoipa::ToSchema;

/// The `data` of one event, by its `event` name.
#[derive(Debug, Serialize, ToSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[schema(as = StreamEvent)]
pub(crate) enum EventData<'a> {
    /// A new snapshot is there.
    Tick {
        /// When, RFC 3339 UTC.
        #[schema(format = "date-time")]
        at: String,
        /// Its sequence number.
        sequence: u64,
        /// Its score.
        score: u8,
        /// Its state.
        #[schema(value_type = String, example = "QUIET")]
        state: Level,
    },
    /// The state changed.
    State {
        /// When, RFC 3339 UTC.
        #[schema(format = "date-time")]
        at: String,
        /// Before.
        #[schema(value_type = String, example = "QUIET")]
        from: Level,
        /// Now.
        #[schema(value_type = String, example = "BUSY")]
        to: Level,
        /// The score now.
        score: u8,
        /// Why, most severe first.
        reasons: &'a [String],
    },
    /// A collector's health changed.
    Collector {
        /// When, RFC 3339 UTC.
        #[schema(format = "date-time")]
        at: String,
        /// Which.
        name: &'a str,
        /// Before; null at its first report.
        #[schema(value_type = Option<String>)]
        from: Option<CollectorStatus>,
        /// Now.
        #[schema(value_type = String, example = "failing")]
        to: CollectorStatus,
        /// What it says about it.
        error: Option<&'a str>,
    },
    /// The configuration was read again.
    Reload {
        /// When, RFC 3339 UTC.
        #[schema(format = "date-time")]
        at: String,
        /// Keys that took effect.
        applied: &'a [String],
        /// Keys that changed but need a restart.
        restart_needed: &'a [String],
        /// Why nothing took effect, if so.
        errors: &'a [String],
    },
    /// Events were lost to this reader: it was away too long, or the daemon restarted.
    Missed {
        /// How many; null when the daemon restarted and nobody knows.
        count: Option<u64>,
    },
}

impl<'a> EventData<'a> {
    pub(crate) fn new(event: &'a Event) -> Self {
        let at = rfc3339(event.at);
        match &event.kind {
            EventKind::Tick { sequence, score, state } => {
                Self::Tick { at, sequence: *sequence, score: *score, state: *state }
            }
            EventKind::State { from, to, score, reasons } => {
                Self::State { at, from: *from, to: *to, score: *score, reasons }
            }
            EventKind::Collector { name, from, to, error } => {
                Self::Collector { at, name, from: *from, to: *to, error: error.as_deref() }
            }
            EventKind::Reload { applied, restart_needed, errors } => {
                Self::Reload { at, applied, restart_needed, errors }
            }
        }
    }
}
