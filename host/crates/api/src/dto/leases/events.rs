//! The audit log as clients see it.

use super::input::UsageDto;
use super::{LeaseBasis, LeaseOverride, LeaseReason, LeaseWindows, basis, reasons, usage};
use crate::dto::{rfc3339, seconds};
use lowtide_core::lease::{Decision, Ending, Event, Record, Request};
use serde::Serialize;
use utoipa::ToSchema;

/// A page of the audit log.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LeaseEvents {
    /// The events, oldest first.
    events: Vec<LeaseEvent>,
    /// For the next page: `after` of the request; null at the end.
    next: Option<u64>,
}

impl LeaseEvents {
    pub(crate) fn new(records: &[Record], limit: usize) -> Self {
        let events: Vec<LeaseEvent> = records.iter().take(limit).map(LeaseEvent::new).collect();
        let next = events.last().filter(|_| records.len() > limit).map(|last| last.sequence);
        Self { events, next }
    }
}

/// One thing that happened. Fields that an event does not have are left out.
#[derive(Debug, Default, Serialize, ToSchema)]
pub(crate) struct LeaseEvent {
    /// Its number, from 1, without gaps.
    sequence: u64,
    /// When, RFC 3339 UTC.
    #[schema(format = "date-time")]
    at: String,
    /// `queued`, `granted`, `paused`, `resumed`, `resized`, `revoking`, `ended`, `overridden`, `windows` or `restarted`.
    #[schema(example = "granted")]
    event: &'static str,
    /// The number of the lease: the part of its id before the dash.
    #[serde(skip_serializing_if = "Option::is_none")]
    lease_number: Option<u64>,
    /// Its holder, where it first appears.
    #[serde(skip_serializing_if = "Option::is_none")]
    addon_id: Option<String>,
    /// Its work, where it first appears.
    #[serde(skip_serializing_if = "Option::is_none")]
    job_type: Option<String>,
    /// Its units: asked for, or from now on.
    #[serde(skip_serializing_if = "Option::is_none")]
    units: Option<u32>,
    /// Its token.
    #[serde(skip_serializing_if = "Option::is_none")]
    fencing_token: Option<u64>,
    /// The rule that decided.
    #[serde(skip_serializing_if = "Option::is_none")]
    rule: Option<&'static str>,
    /// Why.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    reasons: Vec<LeaseReason>,
    /// What was decided on.
    #[serde(skip_serializing_if = "Option::is_none")]
    basis: Option<LeaseBasis>,
    /// How it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    how: Option<&'static str>,
    /// Why, in words; the holder's words.
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<String>,
    /// Seconds that its holder has.
    #[serde(skip_serializing_if = "Option::is_none")]
    grace_sec: Option<f64>,
    /// False when its time ran out before its holder gave it back.
    #[serde(skip_serializing_if = "Option::is_none")]
    obeyed: Option<bool>,
    /// What it used.
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<UsageDto>,
    /// The operator's switch from now on; left out when it was taken away.
    #[serde(skip_serializing_if = "Option::is_none")]
    r#override: Option<LeaseOverride>,
    /// The operator's windows from now on.
    #[serde(skip_serializing_if = "Option::is_none")]
    windows: Option<LeaseWindows>,
    /// The life of the file of leases.
    #[serde(skip_serializing_if = "Option::is_none")]
    epoch: Option<u32>,
}

impl LeaseEvent {
    pub(crate) fn new(record: &Record) -> Self {
        let mut event = Self {
            sequence: record.sequence,
            at: rfc3339(record.at),
            event: record.event.word(),
            lease_number: record.event.lease().map(|id| id.0),
            ..Self::default()
        };
        match &record.event {
            Event::Queued { request, decision, .. } => {
                event.asked(request);
                event.decided(decision);
            }
            Event::Granted { token, asked, decision, .. } => {
                if let Some((_, request)) = asked {
                    event.asked(request);
                }
                event.fencing_token = Some(token.0);
                event.decided(decision);
            }
            Event::Paused { why, .. } => event.note = Some(why.to_string()),
            Event::Resumed { .. } => {}
            Event::Resized { units, why, .. } => {
                (event.units, event.note) = (Some(*units), Some(why.to_string()));
            }
            Event::Revoking { why, grace, .. } => {
                (event.note, event.grace_sec) = (Some(why.to_string()), Some(seconds(*grace)));
            }
            Event::Ended { ending, .. } => event.ended(ending),
            Event::Overridden { switch } => event.r#override = switch.as_ref().map(LeaseOverride::new),
            Event::Windows { windows } => event.windows = Some(LeaseWindows::new(windows)),
            Event::Restarted { token, epoch } => {
                (event.fencing_token, event.epoch) = (Some(token.0), Some(*epoch));
            }
        }
        event
    }

    fn asked(&mut self, request: &Request) {
        self.addon_id = Some(request.holder.to_string());
        self.job_type = Some(request.job_type.to_string());
        self.units = Some(request.units);
    }

    fn decided(&mut self, decision: &Decision) {
        self.rule = Some(decision.rule.word());
        self.reasons = reasons(&decision.reasons);
        self.basis = Some(basis(decision));
    }

    fn ended(&mut self, ending: &Ending) {
        self.how = Some(ending.word());
        match ending {
            Ending::Released { note, usage: used } | Ending::Failed { note, usage: used } => {
                self.note = Some(note.to_string()).filter(|note| !note.is_empty());
                self.usage = Some(usage(used));
            }
            Ending::Revoked { why, obeyed } => {
                (self.note, self.obeyed) = (Some(why.to_string()), Some(*obeyed));
            }
            Ending::Cancelled { why } => self.note = Some(why.to_string()),
            Ending::Expired | Ending::TimedOut => {}
        }
    }
}
