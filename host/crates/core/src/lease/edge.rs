//! Giving way at once: work that can be reached within a fraction of a second stands still on the first look that shows that the machine
//! is needed, and goes on when nobody needed it for a while. What cannot be reached hears of it at its next heartbeat, too late for that:
//! for it the slow ladder (`ladder`) decides.

use super::Scheduler;
use super::ladder::exempt;
use super::ledger::Entry;
use super::moment::Moment;
use super::types::{Cause, Event, Phase, Record, Text};
use crate::limits;
use crate::quiet::Level;
use crate::units::Now;
use std::time::Duration;

/// What a fast look at the host showed to be in the way of work that runs.
#[derive(Clone, Debug, PartialEq)]
pub struct Edge {
    /// `Normal`: work is to shrink. `Busy` or worse: it is to stand still.
    pub level: Level,
    /// By which signal.
    pub cause: Cause,
}

/// What is remembered of the looks.
#[derive(Clone, Debug, Default)]
pub(super) struct Needed {
    /// When the machine was last needed.
    last: Option<Moment>,
    /// When work that had given way last went on.
    resumed: Option<Moment>,
    /// How often in a row it had to give way again soon after that.
    relapses: u32,
}

impl Needed {
    /// For how long the machine must not be needed before work goes on: twice as long after each relapse, since a foreground that comes
    /// back every few seconds is hurt each time.
    fn calm(&self, first: Duration) -> Duration {
        first.saturating_mul(1 << self.relapses.min(16)).min(limits::RESUME_AFTER_MAX.max(first))
    }

    /// Whether work that gave way may go on.
    pub(super) fn is_over(&self, now: Moment, first: Duration) -> bool {
        self.last.is_none_or(|last| now.since(last) >= self.calm(first))
    }
}

impl Scheduler {
    /// What a fast look showed; `None` when nothing is in the way.
    pub(super) fn edge(&mut self, now: Now, edge: Option<&Edge>, out: &mut Vec<Record>) {
        let mono: Moment = now.mono.into();
        let events = match edge {
            Some(edge) => {
                let events = self.give_way(edge);
                self.needed.last = Some(mono);
                if !events.is_empty() {
                    self.totals.gave_way += 1;
                    let soon = |resumed| mono.since(resumed) < limits::RELAPSE_WITHIN;
                    // Once for each time that it went on.
                    match self.needed.resumed.take() {
                        Some(resumed) if soon(resumed) => self.needed.relapses += 1,
                        Some(_) => self.needed.relapses = 0,
                        None => {}
                    }
                }
                events
            }
            None if self.may_go_on(mono) => self.free_again(mono, |entry| entry.reached),
            None => return,
        };
        // Units may have become free.
        self.look_again |= !events.is_empty();
        for event in events {
            self.emit(now, event, out);
        }
    }

    /// Whether the newest conditions let work that gave way go on.
    fn may_go_on(&self, now: Moment) -> bool {
        let calm = |level| level < Level::Busy;
        self.ledger.eased().next().is_some()
            && self.needed.is_over(now, self.policy.resume_after)
            && self.outlook.cooling(now, self.policy.cool_down).is_none()
            && self.outlook.fresh(now, self.policy.conditions_last).is_some_and(|known| calm(known.level))
    }

    fn give_way(&self, edge: &Edge) -> Vec<Event> {
        let stop = edge.level >= Level::Busy;
        let why: Text = format!("the machine is needed: {}", edge.cause.text).into();
        let event = |entry: &Entry| {
            let lease = &entry.lease;
            let Phase::Active { by, units, paused: None, .. } = &lease.phase else { return None };
            let request = &lease.request;
            let can = request.pausable && !exempt(*by);
            if !can || !request.constraints.minds(&edge.cause.signal) {
                None
            } else if stop {
                Some(Event::Paused { id: lease.id, why: Text::clone(&why) })
            } else {
                let shrinks = *units == request.units && *units > 1;
                let units = units.div_ceil(2);
                shrinks.then(|| Event::Resized { id: lease.id, units, why: Text::clone(&why) })
            }
        };
        self.ledger.reached().filter_map(event).take(limits::LEASE_SWEEP_MAX).collect()
    }

    /// Notes that work which had given way goes on.
    pub(super) fn note_resumed(&mut self, now: Moment) {
        self.needed.resumed = Some(now);
    }
}
