//! The data of the event stream.

use super::rfc3339;
use lowtide_addons::AddonState;
use lowtide_app::{Event, EventKind};
use lowtide_core::quiet::Level;
use lowtide_core::report::CollectorStatus;
use serde::Serialize;
use std::collections::BTreeMap;
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
    /// Something happened to an addon.
    Addon {
        /// When, RFC 3339 UTC.
        #[schema(format = "date-time")]
        at: String,
        /// Which: its id, or the name of a file that cannot be one.
        name: &'a str,
        /// `state`, `replaced` (by another file or a new instance, without a crash) or `removed`.
        #[schema(example = "state")]
        change: &'static str,
        /// State before, as in /api/addons; null when it is new, or when it was replaced.
        #[schema(example = "running")]
        from: Option<&'static str>,
        /// State now; null when it was removed or replaced.
        #[schema(example = "backing_off")]
        to: Option<&'static str>,
        /// Version in its manifest.
        version: Option<&'a str>,
        /// Why: the code of the problem, or `new_file`, `settings`, `reload` or `rolled_back` when it was replaced; null
        /// when nothing is wrong.
        #[schema(example = "trap")]
        code: Option<&'static str>,
        /// The same for people; null where the code says it all.
        text: Option<&'a str>,
    },
    /// An addon reported something itself.
    AddonEvent {
        /// When, RFC 3339 UTC.
        #[schema(format = "date-time")]
        at: String,
        /// Which addon.
        addon: &'a str,
        /// What it says happened.
        name: &'a str,
        /// Details, as the addon gave them.
        attributes: BTreeMap<&'a str, &'a str>,
    },
    /// Something happened to a lease, or to what all leases depend on.
    Lease {
        /// When, RFC 3339 UTC.
        #[schema(format = "date-time")]
        at: String,
        /// Its number in the audit log, which has the details: /api/scheduler/events.
        sequence: u64,
        /// `queued`, `granted`, `paused`, `resumed`, `resized`, `revoking`, `ended`, `overridden`, `windows` or `restarted`.
        #[schema(example = "granted")]
        change: &'static str,
        /// The lease's id; null for what is about all.
        lease_id: Option<String>,
        /// What it is doing now, as in /api/scheduler/lease/{id}.
        #[schema(example = "active")]
        state: Option<&'static str>,
        /// Its holder.
        addon_id: Option<&'a str>,
        /// Its work.
        job_type: Option<&'a str>,
        /// Units that it counts for now.
        units: Option<u32>,
    },
    /// Events were lost to this reader: it was away too long, or the daemon restarted.
    Missed {
        /// How many; null when the daemon restarted and nobody knows.
        count: Option<u64>,
    },
}

/// An event as the stream shows it, for whoever keeps it.
#[must_use]
pub fn document(event: &Event) -> serde_json::Value {
    // An enum of plain structs always serialises.
    serde_json::to_value(EventData::new(event)).unwrap_or_default()
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
            EventKind::Addon { name, change, from, to, version, problem } => Self::Addon {
                at,
                name,
                change,
                from: from.map(AddonState::name),
                to: to.map(AddonState::name),
                version: version.as_deref(),
                code: problem.as_ref().map(|(code, _)| *code),
                text: problem.as_ref().map(|(_, text)| text.as_str()).filter(|text| !text.is_empty()),
            },
            EventKind::Lease { record, lease } => Self::Lease {
                at: rfc3339(record.at),
                sequence: record.sequence,
                change: record.event.word(),
                lease_id: lease.as_ref().map(|lease| lease.name().to_string()),
                state: lease.as_ref().map(|lease| lease.state()),
                addon_id: lease.as_ref().map(|lease| &*lease.request.holder),
                job_type: lease.as_ref().map(|lease| &*lease.request.job_type),
                units: lease.as_ref().map(|lease| lease.held_units()),
            },
            EventKind::Reported { addon, name, attributes } => Self::AddonEvent {
                at,
                addon,
                name,
                attributes: attributes.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect(),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lowtide_core::units::WallTime;

    fn data(kind: EventKind) -> serde_json::Value {
        let event = Event { id: 1, at: WallTime(0), kind };
        let value = serde_json::to_value(EventData::new(&event)).unwrap();
        assert_eq!(value["kind"], event.kind.name(), "the name of the event and the tag of its data");
        value
    }

    #[test]
    fn what_happens_to_addons_is_told() {
        let crashed = data(EventKind::Addon {
            name: "demo".into(),
            change: "state",
            from: Some(AddonState::Running),
            to: Some(AddonState::BackingOff),
            version: Some("1.2.0".into()),
            problem: Some(("trap", "it divided by zero".into())),
        });
        assert_eq!((&crashed["from"], &crashed["to"]), (&"running".into(), &"backing_off".into()));
        assert_eq!((&crashed["code"], &crashed["text"]), (&"trap".into(), &"it divided by zero".into()));
        let replaced = data(EventKind::Addon {
            name: "demo".into(),
            change: "replaced",
            from: None,
            to: None,
            version: None,
            problem: Some(("new_file", String::new())),
        });
        assert_eq!((&replaced["code"], replaced["text"].is_null()), (&"new_file".into(), true));
    }

    #[test]
    fn what_addons_report_is_passed_on() {
        let attributes = vec![("file".to_owned(), "a \"b\"".to_owned())];
        let event = data(EventKind::Reported { addon: "demo".into(), name: "saved".into(), attributes });
        assert_eq!(event["attributes"], serde_json::json!({ "file": "a \"b\"" }));
        assert_eq!((&event["addon"], &event["name"]), (&"demo".into(), &"saved".into()));
    }
}
