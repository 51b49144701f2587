//! What happened: a bounded log of recent events, numbered without gaps, from which every stream reads at its own pace.
//!
//! A slow reader costs nothing: it holds a number, not a buffer. What it missed is told to it as a count.

use lowtide_addons::AddonState;
use lowtide_core::lease::{Lease, Record};
use lowtide_core::limits;
use lowtide_core::quiet::Level;
use lowtide_core::report::CollectorStatus;
use lowtide_core::state::HostState;
use lowtide_core::units::WallTime;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::watch;

/// Something that happened.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// Number since the start of the daemon, from 1, without gaps.
    pub id: u64,
    /// When.
    pub at: WallTime,
    /// What.
    pub kind: EventKind,
}

/// The kinds of events.
#[derive(Clone, Debug, PartialEq)]
pub enum EventKind {
    /// A new snapshot is there.
    Tick {
        /// Its sequence number.
        sequence: u64,
        /// Its score.
        score: u8,
        /// Its state.
        state: Level,
    },
    /// The state changed.
    State {
        /// Before.
        from: Level,
        /// Now.
        to: Level,
        /// The score now.
        score: u8,
        /// Why, in plain words, most severe first.
        reasons: Vec<String>,
    },
    /// A collector's health changed.
    Collector {
        /// Which.
        name: String,
        /// Before; `None` at its first report.
        from: Option<CollectorStatus>,
        /// Now.
        to: CollectorStatus,
        /// What it says about it.
        error: Option<Arc<str>>,
    },
    /// The configuration was read again.
    Reload {
        /// Keys that took effect.
        applied: Vec<String>,
        /// Keys that changed but need a restart.
        restart_needed: Vec<String>,
        /// Why nothing took effect, if so.
        errors: Vec<String>,
    },
    /// Something happened to an addon.
    Addon {
        /// Which.
        name: String,
        /// `state`, `replaced` or `removed`.
        change: &'static str,
        /// State before; `None` when it is new.
        from: Option<AddonState>,
        /// State now; `None` when it was removed.
        to: Option<AddonState>,
        /// Its version.
        version: Option<String>,
        /// Code and text of the reason, if there is one.
        problem: Option<(&'static str, String)>,
    },
    /// An addon reported something itself.
    Reported {
        /// Which addon.
        addon: String,
        /// What it says happened.
        name: String,
        /// Details.
        attributes: Vec<(String, String)>,
    },
    /// Something happened to a lease, or to what all leases depend on. It is on disk.
    Lease {
        /// What.
        record: Arc<Record>,
        /// The lease as it was when this was told.
        lease: Option<Arc<Lease>>,
    },
}

impl EventKind {
    /// Name of the kind in streams and queries.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Tick { .. } => "tick",
            Self::State { .. } => "state",
            Self::Collector { .. } => "collector",
            Self::Reload { .. } => "reload",
            Self::Addon { .. } => "addon",
            Self::Reported { .. } => "addon_event",
            Self::Lease { .. } => "lease",
        }
    }

    /// All names.
    pub const NAMES: [&'static str; 7] =
        ["tick", "state", "collector", "reload", "addon", "addon_event", "lease"];
}

/// The events that follow from going from one state to the next.
pub(crate) fn between(previous: Option<&HostState>, state: &HostState) -> Vec<EventKind> {
    let quiet = &state.quiet;
    let mut events =
        vec![EventKind::Tick { sequence: state.snapshot.sequence, score: quiet.score, state: quiet.state }];
    if let Some(previous) = previous
        && previous.quiet.state != quiet.state
    {
        let reasons = quiet.reasons.iter().map(|reason| reason.text.clone()).collect();
        events.push(EventKind::State {
            from: previous.quiet.state,
            to: quiet.state,
            score: quiet.score,
            reasons,
        });
    }
    for (at, report) in state.snapshot.collectors.iter().enumerate() {
        let before = previous.and_then(|previous| previous.snapshot.collector_near(at, &report.info.name));
        let before = before.map(|report| report.status);
        let unwell = matches!(report.status, CollectorStatus::Failing | CollectorStatus::Overdue);
        // At the start only trouble is news; every collector comes from "pending" then.
        let started = matches!(before, None | Some(CollectorStatus::Pending));
        if before != Some(report.status) && (unwell || !started) {
            events.push(EventKind::Collector {
                name: report.info.name.to_string(),
                from: before,
                to: report.status,
                error: report.error.clone(),
            });
        }
    }
    events
}

/// Recent events.
#[derive(Debug)]
pub struct EventLog {
    // A plain mutex: held for a push or a short copy, never across an await.
    recent: Mutex<VecDeque<Arc<Event>>>,
    newest: watch::Sender<u64>,
}

/// Events after a given one.
#[derive(Clone, Debug, PartialEq)]
pub struct Since {
    /// How many events in between are no longer kept.
    pub missed: u64,
    /// The events, oldest first.
    pub events: Vec<Arc<Event>>,
}

impl Default for EventLog {
    fn default() -> Self {
        Self::new()
    }
}

impl EventLog {
    /// An empty log.
    #[must_use]
    pub fn new() -> Self {
        Self {
            recent: Mutex::new(VecDeque::with_capacity(limits::EVENTS_KEPT)),
            newest: watch::Sender::new(0),
        }
    }

    /// Adds events and wakes the readers.
    pub fn publish(&self, at: WallTime, kinds: Vec<EventKind>) {
        if kinds.is_empty() {
            return;
        }
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        let mut id = *self.newest.borrow();
        for kind in kinds {
            id += 1;
            if recent.len() >= limits::EVENTS_KEPT {
                recent.pop_front();
            }
            recent.push_back(Arc::new(Event { id, at, kind }));
        }
        // Under the lock: tick and reload both publish, and each number is given once.
        self.newest.send_replace(id);
    }

    /// Number of the newest event, and a wake-up at each new one.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.newest.subscribe()
    }

    /// The kept events after number `id`, at most `limit`.
    #[must_use]
    pub fn since(&self, id: u64, limit: usize) -> Since {
        let recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        let oldest = recent.front().map_or(id + 1, |event| event.id);
        let missed = oldest.saturating_sub(id + 1);
        let skip = usize::try_from((id + 1).saturating_sub(oldest)).unwrap_or(usize::MAX);
        Since { missed, events: recent.iter().skip(skip).take(limit).cloned().collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reload() -> Vec<EventKind> {
        vec![EventKind::Reload { applied: Vec::new(), restart_needed: Vec::new(), errors: Vec::new() }]
    }

    #[test]
    fn a_reader_gets_what_came_after_its_number() {
        let log = EventLog::new();
        (0..5).for_each(|_| log.publish(WallTime(0), reload()));
        let ids = |since: Since| since.events.iter().map(|event| event.id).collect::<Vec<_>>();
        assert_eq!(ids(log.since(3, 10)), [4, 5]);
        assert_eq!(ids(log.since(0, 2)), [1, 2]);
        assert_eq!(ids(log.since(9, 10)), Vec::<u64>::new());
    }

    #[test]
    fn old_events_are_dropped_and_counted() {
        let log = EventLog::new();
        (0..limits::EVENTS_KEPT + 10).for_each(|_| log.publish(WallTime(0), reload()));
        let since = log.since(4, 1);
        assert_eq!((since.missed, since.events[0].id), (6, 11));
    }
}
