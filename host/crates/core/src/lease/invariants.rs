//! What must always hold of the scheduler (reliability: the lease contract). The daemon checks each step, and everything from time to
//! time; the tests check everything after every step.

use super::Scheduler;
use super::ledger::Entry;
use super::moment::Moment;
use super::types::{Decision, Ending, Event, LeaseId, Phase, Record, Rule, Token};
use crate::limits;
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
#[derive(Clone, Debug)]
pub struct Watch {
    before: Before,
    /// The leases that were asked to stand still and have not been let go.
    frozen: BTreeSet<LeaseId>,
}

impl Watch {
    /// Begins to watch.
    #[must_use]
    pub fn new(scheduler: &Scheduler) -> Self {
        let frozen = scheduler.ledger.eased().map(|entry| &entry.lease);
        let frozen = frozen.filter(|lease| matches!(lease.phase, Phase::Active { paused: Some(_), .. }));
        Self { before: brief(scheduler), frozen: frozen.map(|lease| lease.id).collect() }
    }

    /// Looks at what one step did. Costs in proportion to its events.
    ///
    /// # Errors
    /// The first invariant that does not hold.
    pub fn step(&mut self, scheduler: &Scheduler, now: Moment, records: &[Record]) -> Result<(), Violation> {
        let before = std::mem::replace(&mut self.before, brief(scheduler));
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
            self.freezes(&record.event)?;
            has_its_key(scheduler, &record.event)?;
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
                    fits(scheduler, now, *id, decision)?;
                    let fresh = scheduler.outlook.fresh(now, scheduler.policy.conditions_last);
                    if fresh.map(|conditions| conditions.sequence) != decision.sequence {
                        return Err(violated(17, format!("lease {} granted on what is not fresh", id.0)));
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
        if used > capacity && used > before.used && !granted {
            return Err(violated(1, format!("{used} units are held of {capacity}")));
        }
        let (queued, most) = (scheduler.ledger.queued_count(), scheduler.policy.queue_max);
        if queued > most && queued > before.queued {
            return Err(violated(18, format!("{queued} requests wait of at most {most}")));
        }
        let (frozen, told) = (scheduler.ledger.paused_count(), self.frozen.len());
        if frozen != told {
            return Err(violated(12, format!("{frozen} leases stand still, {told} were asked to")));
        }
        Ok(())
    }

    fn freezes(&mut self, event: &Event) -> Result<(), Violation> {
        match event {
            Event::Paused { id, .. } => {
                self.frozen.insert(*id);
            }
            Event::Ended { id, ending: Ending::Expired } if self.frozen.contains(id) => {
                return Err(violated(13, format!("lease {} expired while it stood still", id.0)));
            }
            Event::Resumed { id } | Event::Revoking { id, .. } | Event::Ended { id, .. } => {
                self.frozen.remove(id);
            }
            _ => {}
        }
        Ok(())
    }
}

/// There was room for it; one that must start to meet its deadline may take what others' load leaves no room for.
fn fits(scheduler: &Scheduler, now: Moment, id: LeaseId, decision: &Decision) -> Result<(), Violation> {
    let Some(entry) = scheduler.ledger.get(id) else { return Ok(()) };
    let request = &entry.lease.request;
    let start_by = request
        .deadline
        .map(|deadline| entry.requested.plus(deadline.saturating_sub(request.expected_duration)));
    let (used, room) = (decision.used + request.units, scheduler.room(now, start_by));
    if used > room {
        return Err(violated(1, format!("{used} units are held of {room}")));
    }
    Ok(())
}

/// A request with a key is the only one of that key that is known.
fn has_its_key(scheduler: &Scheduler, event: &Event) -> Result<(), Violation> {
    let (id, request) = match event {
        Event::Queued { id, request, .. } | Event::Granted { id, asked: Some((_, request)), .. } => {
            (id, request)
        }
        _ => return Ok(()),
    };
    let Some(key) = &request.key else { return Ok(()) };
    match scheduler.ledger.keyed(&request.holder, key) {
        Some(entry) if entry.lease.id == *id => Ok(()),
        _ => Err(violated(11, format!("lease {} is not the one of its key", id.0))),
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
        if lease.is_held() && entry.expires > now.plus(limits::LEASE_TTL_MAX) {
            return Err(violated(14, format!("lease {} lives longer than any heartbeat gives", lease.id.0)));
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
    if scheduler.holders().count() > limits::LEASE_HOLDERS_MAX {
        return Err(violated(18, "more is remembered than may be".to_owned()));
    }
    let mut last = None;
    for entry in ledger.waiting() {
        if last.is_some_and(|last| last >= entry.place()) {
            return Err(violated(6, format!("lease {} stands in the wrong place", entry.lease.id.0)));
        }
        last = Some(entry.place());
    }
    nobody_waits_in_vain(scheduler)
}

/// On a quiet host with nothing in the way, the first who wait do so for want of room: as of the newest look at the queue, for time may
/// have made room since.
fn nobody_waits_in_vain(scheduler: &Scheduler) -> Result<(), Violation> {
    const LOOKED_AT_MAX: usize = 16;
    let Some(now) = scheduler.looked_at else { return Ok(()) };
    let fresh = scheduler.outlook.fresh(now, scheduler.policy.conditions_last);
    let quiet = fresh.is_some_and(|conditions| conditions.level == Level::Quiet);
    let meta = scheduler.ledger.meta();
    let ordered = meta.switch.is_some() || !meta.windows.is_empty();
    let settled = !scheduler.look_again && scheduler.storage_works && scheduler.reserved.is_none();
    if !quiet || ordered || !settled || scheduler.cooling(now).is_some() {
        return Ok(());
    }
    let since = |entry: &&Entry| entry.requested <= now;
    for entry in scheduler.ledger.waiting().take(LOOKED_AT_MAX).filter(since) {
        let request = &entry.lease.request;
        if scheduler.admit(now, request, entry.start_by(), &Ok(Rule::Quiet)).is_ok() {
            return Err(violated(15, format!("lease {} waits although there is room", entry.lease.id.0)));
        }
    }
    Ok(())
}

/// How long a lease has been past its end without being ended, if that is longer than the sweep of a step allows.
fn overdue(scheduler: &Scheduler, entry: &Entry, now: Moment) -> Option<Duration> {
    if scheduler.spared_until.is_some() || scheduler.ledger.held_count() > limits::LEASE_SWEEP_MAX {
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
