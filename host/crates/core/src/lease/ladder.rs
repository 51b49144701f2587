//! What becomes of work that already runs when the host is needed: it shrinks, stands still, or is revoked; and goes on afterwards.
//!
//! PANIC acts at once on all. BUSY acts on work that minds what disturbs the host and was not granted in spite of a busy host: at once on
//! what can be reached within a fraction of a second, because to stand still costs it little; on the rest only when it lasts and the work
//! has had the time to settle.

use super::Scheduler;
use super::conditions::Conditions;
use super::ledger::Entry;
use super::moment::Moment;
use super::types::{Event, Lease, Phase, Record, Rule, Text};
use crate::limits;
use crate::quiet::Level;
use crate::units::Now;

impl Scheduler {
    /// One step up or down the ladder for every lease that is held.
    pub(super) fn climb(&mut self, now: Now, out: &mut Vec<Record>) {
        let mono: Moment = now.mono.into();
        let Some(conditions) = self.outlook.fresh(mono, self.policy.conditions_last) else { return };
        let busy_for = self.outlook.busy_for(mono).unwrap_or_default();
        let events = match conditions.level {
            Level::Panic => self.ease(conditions, |entry| self.stop(entry)),
            Level::Busy => {
                let lasts = busy_for >= self.policy.busy_after;
                self.ease(conditions, |entry| self.yield_to(conditions, mono, lasts, entry))
            }
            Level::Normal | Level::Quiet if self.outlook.cooling(mono, self.policy.cool_down).is_some() => {
                return;
            }
            Level::Normal | Level::Quiet => {
                let over = self.needed.is_over(mono, self.policy.resume_after);
                self.free_again(mono, |entry| over || !entry.reached)
            }
        };
        for event in events {
            self.emit(now, event, out);
        }
    }

    /// What is done to each held lease, with the reason.
    fn ease(&self, conditions: &Conditions, step: impl Fn(&Entry) -> Option<Step>) -> Vec<Event> {
        let level = conditions.level.name();
        let why: Text = conditions
            .causes
            .first()
            .map_or_else(|| level.into(), |(_, cause)| format!("the host is {level}: {}", cause.text).into());
        let steps = self.ledger.held().filter_map(|entry| Some((entry.lease.id, step(entry)?)));
        let event = |(id, step)| match step {
            Step::Pause => Event::Paused { id, why: Text::clone(&why) },
            Step::Revoke => Event::Revoking { id, why: Text::clone(&why), grace: self.policy.revoke_grace },
            Step::Shrink(units) => Event::Resized { id, units, why: Text::clone(&why) },
        };
        steps.take(limits::LEASE_SWEEP_MAX).map(event).collect()
    }

    /// In PANIC everything stops.
    fn stop(&self, entry: &Entry) -> Option<Step> {
        match &entry.lease.phase {
            Phase::Active { paused: None, .. } if entry.lease.request.pausable => Some(Step::Pause),
            Phase::Active { paused: None, .. } => Some(Step::Revoke),
            _ => None,
        }
    }

    /// A busy host is given room; `lasts` when it has been busy for long.
    fn yield_to(&self, conditions: &Conditions, now: Moment, lasts: bool, entry: &Entry) -> Option<Step> {
        let Phase::Active { by, units, paused: None, .. } = &entry.lease.phase else { return None };
        let request = &entry.lease.request;
        let at_once = entry.reached && request.pausable;
        let due = at_once || lasts && now.since(entry.granted) >= self.policy.settle;
        if !due || exempt(*by) || !self.outlook.affects(conditions, request.constraints) {
            None
        } else if request.pausable {
            Some(Step::Pause)
        } else {
            (*units == request.units && *units > 1).then(|| Step::Shrink(units.div_ceil(2)))
        }
    }

    /// Back to what was granted, for those who may: first it may go on, then it gets its units back as far as they are free.
    pub(super) fn free_again(&mut self, now: Moment, may: impl Fn(&Entry) -> bool) -> Vec<Event> {
        let mut free = self.capacity(now).saturating_sub(self.ledger.used());
        let mut back = |lease: &Lease| match &lease.phase {
            Phase::Active { paused: Some(_), .. } => Some(Event::Resumed { id: lease.id }),
            Phase::Active { units, .. } => {
                let lacking = lease.request.units.checked_sub(*units).filter(|lacking| *lacking <= free)?;
                free -= lacking;
                let why = "the host is no longer busy".into();
                Some(Event::Resized { id: lease.id, units: lease.request.units, why })
            }
            _ => None,
        };
        let eased = self.ledger.eased().filter(|entry| may(entry)).take(limits::LEASE_SWEEP_MAX);
        let events: Vec<Event> = eased.filter_map(|entry| back(&entry.lease)).collect();
        if !events.is_empty() {
            self.note_resumed(now);
        }
        events
    }
}

/// A step up the ladder.
enum Step {
    Shrink(u32),
    Pause,
    Revoke,
}

/// Work that was granted although the host was busy: business is no news to it.
pub(super) fn exempt(by: Rule) -> bool {
    matches!(by, Rule::HighPriority | Rule::Deadline | Rule::Allowed)
}
