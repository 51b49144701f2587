//! What becomes of work that already runs when the host is needed: it shrinks, stands still, or is revoked; and goes on afterwards.
//!
//! PANIC acts at once on all; BUSY only when it lasts, on work that has had the time to settle, and never on work that was granted in spite of
//! a busy host.

use super::Scheduler;
use super::moment::Moment;
use super::types::{Event, LeaseId, Phase, Record, Rule, Text};
use crate::limits;
use crate::quiet::Level;
use crate::units::Now;

impl Scheduler {
    /// One step up or down the ladder for every lease that is held.
    pub(super) fn climb(&mut self, now: Now, out: &mut Vec<Record>) {
        let mono: Moment = now.mono.into();
        let Some(conditions) = self.outlook.fresh(mono, self.policy.conditions_last) else { return };
        let (level, capacity) = (conditions.level, self.capacity(mono));
        let reason = conditions.causes.first().map_or_else(
            || Text::from(level.name()),
            |(_, cause)| format!("the host is {}: {}", level.name(), cause.text).into(),
        );
        let lasting = level == Level::Busy
            && self.outlook.busy_for(mono).is_some_and(|busy| busy >= self.policy.busy_after);
        let calm = level < Level::Busy && self.outlook.cooling(mono, self.policy.cool_down).is_none();
        if level != Level::Panic && !lasting && !calm {
            return;
        }
        let mut free = capacity.saturating_sub(self.ledger.used());
        let mut events = Vec::new();
        for entry in self.ledger.held() {
            let lease = &entry.lease;
            let Phase::Active { by, units, paused, .. } = &lease.phase else { continue };
            let request = &lease.request;
            let event = if calm {
                free_again(lease.id, paused.is_some(), *units, request.units, &mut free)
            } else if paused.is_some() {
                None
            } else if level == Level::Panic {
                Some(self.stop(lease.id, request.pausable, &reason))
            } else if exempt(*by)
                || mono.since(entry.granted) < self.policy.settle
                || !self.outlook.affects(conditions, request.constraints)
            {
                None
            } else if request.pausable {
                Some(Event::Paused { id: lease.id, why: Text::clone(&reason) })
            } else if *units == request.units && *units > 1 {
                Some(Event::Resized { id: lease.id, units: units.div_ceil(2), why: Text::clone(&reason) })
            } else {
                None
            };
            events.extend(event);
            if events.len() >= limits::LEASE_SWEEP_MAX {
                break;
            }
        }
        for event in events {
            self.emit(now, event, out);
        }
    }

    fn stop(&self, id: LeaseId, pausable: bool, why: &Text) -> Event {
        let why = Text::clone(why);
        if pausable {
            Event::Paused { id, why }
        } else {
            Event::Revoking { id, why, grace: self.policy.revoke_grace }
        }
    }
}

/// Work that was granted although the host was busy: business is no news to it.
fn exempt(by: Rule) -> bool {
    matches!(by, Rule::HighPriority | Rule::Deadline | Rule::Allowed)
}

/// Back to what was granted: first it may go on, then it gets its units back as far as they are free.
fn free_again(id: LeaseId, paused: bool, units: u32, granted: u32, free: &mut u32) -> Option<Event> {
    if paused {
        return Some(Event::Resumed { id });
    }
    let lacking = granted.saturating_sub(units);
    (lacking > 0 && lacking <= *free).then(|| {
        *free -= lacking;
        Event::Resized { id, units: granted, why: "the host is no longer busy".into() }
    })
}
