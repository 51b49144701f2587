//! What must always hold of the scheduler (reliability: the lease contract). The daemon checks each step, and everything from time to
//! time; the tests check everything after every step.

use super::Scheduler;
use super::ledger::Entry;
use super::moment::Moment;
use super::types::{Event, Phase, Record, Token};
use crate::quiet::Level;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Something that must not be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which invariant, by its number in docs/adr/011-leases.md.
    pub invariant: u8,
    /// What was found.
    pub text: String,
}

fn violated(invariant: u8, text: String) -> Violation {
    Violation { invariant, text }
}

/// What a check must remember from the step before.
#[derive(Clone, Copy, Debug)]
pub struct Before {
    sequence: u64,
    token: Token,
    used: u32,
    queued: usize,
}

/// Follows the steps of a scheduler.
#[derive(Clone, Copy, Debug)]
pub struct Watch(Before);

impl Watch {
    /// Begins to watch.
    #[must_use]
    pub fn new(scheduler: &Scheduler) -> Self {
        Self(brief(scheduler))
    }

    /// Looks at what one step did. Costs in proportion to its events.
    ///
    /// # Errors
    /// The first invariant that does not hold.
    pub fn step(&mut self, scheduler: &Scheduler, now: Moment, records: &[Record]) -> Result<(), Violation> {
        let before = std::mem::replace(&mut self.0, brief(scheduler));
        let mut sequence = before.sequence;
        let mut token = before.token;
        let mut granted = false;
        let mut over = BTreeSet::new();
        for record in records {
            sequence += 1;
            if record.sequence != sequence {
                return Err(violated(3, format!("event {} follows on {}", record.sequence, sequence - 1)));
            }
            if let Some(id) = record.event.lease()
                && over.contains(&id)
            {
                return Err(violated(3, format!("lease {} goes on after its end", id.0)));
            }
            match &record.event {
                Event::Granted { id, token: new, decision, .. } => {
                    granted = true;
                    if *new <= token {
                        return Err(violated(5, format!("token {} after {}", new.0, token.0)));
                    }
                    token = *new;
                    if !decision.rule.grants() {
                        let text = format!("lease {} granted by {}", id.0, decision.rule.word());
                        return Err(violated(8, text));
                    }
                    if matches!(decision.level, None | Some(Level::Panic)) {
                        return Err(violated(9, format!("lease {} granted in {:?}", id.0, decision.level)));
                    }
                }
                Event::Ended { id, .. } => {
                    over.insert(*id);
                }
                Event::Restarted { token: from, .. } => token = token.max(*from),
                _ => {}
            }
        }
        if scheduler.ledger.sequence() != sequence {
            return Err(violated(
                4,
                format!("{} events applied, {sequence} told", scheduler.ledger.sequence()),
            ));
        }
        let used = scheduler.ledger.used();
        let capacity = scheduler.capacity(now);
        if used > capacity && (granted || used > before.used) {
            return Err(violated(1, format!("{used} units are held of {capacity}")));
        }
        let (queued, most) = (scheduler.ledger.queued_count(), scheduler.policy.queue_max);
        if queued > most && queued > before.queued {
            return Err(violated(18, format!("{queued} requests wait of at most {most}")));
        }
        Ok(())
    }
}

fn brief(scheduler: &Scheduler) -> Before {
    let (meta, ledger) = (scheduler.ledger.meta(), &scheduler.ledger);
    Before {
        sequence: meta.sequence,
        token: meta.last_token,
        used: ledger.used(),
        queued: ledger.queued_count(),
    }
}

/// Looks at everything. Costs in proportion to all leases.
///
/// # Errors
/// The first invariant that does not hold.
pub fn check(scheduler: &Scheduler, now: Moment) -> Result<(), Violation> {
    let ledger = &scheduler.ledger;
    let policy = &scheduler.policy;
    let mut used = 0;
    let mut held = 0;
    let mut queued = 0;
    let mut tokens = BTreeMap::new();
    for entry in ledger.entries() {
        let lease = &entry.lease;
        used += lease.held_units();
        held += usize::from(lease.is_held());
        queued += usize::from(lease.is_queued());
        if lease.held_units() > lease.request.units {
            return Err(violated(10, format!("lease {} has more than was granted", lease.id.0)));
        }
        if let Some(token) = lease.token() {
            if token > ledger.meta().last_token {
                return Err(violated(
                    5,
                    format!("token {} of lease {} is from the future", token.0, lease.id.0),
                ));
            }
            if let Some(other) = tokens.insert(token, lease.id) {
                return Err(violated(5, format!("leases {} and {} have one token", other.0, lease.id.0)));
            }
        }
        if lease.is_queued() && lease.request.units > policy.capacity_units {
            return Err(violated(7, format!("lease {} waits for what there never is", lease.id.0)));
        }
        if lease.last_event > ledger.sequence() {
            return Err(violated(4, format!("lease {} was changed by no event", lease.id.0)));
        }
        if let Some(late) = overdue(scheduler, entry, now) {
            return Err(violated(2, format!("lease {} is {late:?} past its end", lease.id.0)));
        }
    }
    if (used, held, queued) != (ledger.used(), ledger.held_count(), ledger.queued_count()) {
        let text = format!(
            "{used} units, {held} held, {queued} queued; the books say {}, {}, {}",
            ledger.used(),
            ledger.held_count(),
            ledger.queued_count()
        );
        return Err(violated(4, text));
    }
    if scheduler.holders().count() > crate::limits::LEASE_HOLDERS_MAX {
        return Err(violated(18, "more is remembered than may be".to_owned()));
    }
    let mut last = None;
    for entry in ledger.waiting() {
        if last.is_some_and(|last| last >= entry.place()) {
            return Err(violated(6, format!("lease {} stands in the wrong place", entry.lease.id.0)));
        }
        last = Some(entry.place());
    }
    Ok(())
}

/// How long a lease has been past its end without being ended, if that is longer than the sweep of a step allows.
fn overdue(scheduler: &Scheduler, entry: &Entry, now: Moment) -> Option<Duration> {
    if scheduler.spared_until.is_some() || scheduler.ledger.held_count() > crate::limits::LEASE_SWEEP_MAX {
        return None;
    }
    let end = match &entry.lease.phase {
        Phase::Active { paused: None, .. } => entry.expires,
        Phase::Active { .. } => entry.changed.plus(entry.lease.request.max_freeze),
        Phase::Revoking { grace, .. } => entry.changed.plus(*grace),
        Phase::Queued => {
            entry.lease.request.wait_max.map_or(Moment::NEVER, |wait| entry.requested.plus(wait))
        }
        Phase::Ended { .. } => return None,
    };
    (end < now).then(|| now.since(end))
}
