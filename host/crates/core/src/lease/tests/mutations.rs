//! Sabotage: bugs that are simulated by breaking the scheduler's own state around a step. For each invariant there is at least one, and the
//! same lives that otherwise go well must end with the number of just this invariant. A check that finds nothing is thereby found.

use super::world::{Sabotage, When, World};
use super::{moment, secs};
use crate::lease::*;
use crate::quiet::Level;
use crate::units::Now;
use std::mem;

/// The lives that are tried until the sabotage has had its occasion.
const LIVES: u64 = 30;

const STEPS: u64 = 2_000;

struct Row {
    invariant: u8,
    bug: &'static str,
    make: fn() -> Sabotage,
}

/// The first lease for which this holds.
fn one(scheduler: &Scheduler, wanted: impl Fn(&Entry) -> bool) -> Option<LeaseId> {
    scheduler.ledger().entries().find(|entry| wanted(entry)).map(|entry| entry.lease.id)
}

fn runs(entry: &Entry) -> bool {
    matches!(entry.lease.phase, Phase::Active { paused: None, .. })
}

fn stands(entry: &Entry) -> bool {
    matches!(entry.lease.phase, Phase::Active { paused: Some(_), .. })
}

/// The daemon did not stand still before this step, so that the step ends what is due.
fn sweeps(scheduler: &Scheduler, now: Now) -> bool {
    let stood = scheduler.stepped.map_or(Duration::ZERO, |before| moment(now).since(before));
    let spared = scheduler.spared_until.is_some_and(|until| moment(now) <= until);
    stood <= scheduler.policy.stall && !spared
}

/// A request of which alone the step decides: nothing has ended, and nobody else is looked at.
fn alone<'a>(scheduler: &Scheduler, now: Now, input: &'a Input) -> Option<&'a Request> {
    match input {
        Input::Request { request, .. }
            if !scheduler.look_again && scheduler.ledger().first_due(moment(now)).is_none() =>
        {
            Some(&**request)
        }
        _ => None,
    }
}

/// A sabotage of requests: something is put in another's place while one is decided.
fn while_deciding<T: 'static>(
    occasion: fn(&Scheduler, Now, &Request) -> bool,
    part: fn(&mut Scheduler) -> &mut T,
    bad: fn(&Scheduler, Now) -> T,
) -> Sabotage {
    let mut good: Option<T> = None;
    Box::new(move |when, scheduler, now, input| match when {
        When::Before => {
            if alone(scheduler, now, input).is_some_and(|request| occasion(scheduler, now, request)) {
                let bad = bad(scheduler, now);
                good = Some(mem::replace(part(scheduler), bad));
            }
        }
        When::After => {
            if let Some(good) = good.take() {
                *part(scheduler) = good;
            }
        }
    })
}

/// A sabotage by a change after a step.
fn afterwards(change: fn(&mut Scheduler, Now, &Input)) -> Sabotage {
    Box::new(move |when, scheduler, now, input| {
        if when == When::After {
            change(scheduler, now, input);
        }
    })
}

/// A sabotage by a change before a step.
fn before(change: fn(&mut Scheduler, Now, &Input)) -> Sabotage {
    Box::new(move |when, scheduler, now, input| {
        if when == When::Before {
            change(scheduler, now, input);
        }
    })
}

fn level(scheduler: &Scheduler, now: Now) -> Option<Level> {
    let newest = scheduler.outlook.fresh(moment(now), scheduler.policy.conditions_last)?;
    Some(newest.level)
}

const ROWS: [Row; 24] = [
    Row {
        invariant: 1,
        bug: "units in use are not counted",
        make: || {
            let mut broke = false;
            Box::new(move |when, scheduler, now, input| {
                let free = scheduler.capacity(moment(now)).saturating_sub(scheduler.ledger().used());
                if when == When::Before {
                    // Nor is it denied for the sake of one that has waited long.
                    broke = scheduler.reserved.is_none()
                        && alone(scheduler, now, input).is_some_and(|request| request.units > free);
                    if broke {
                        *scheduler.ledger.parts().used = 0;
                    }
                } else if mem::take(&mut broke) {
                    let used = scheduler.ledger().held().map(|entry| entry.lease.held_units()).sum();
                    *scheduler.ledger.parts().used = used;
                }
            })
        },
    },
    Row {
        invariant: 1,
        bug: "the load of others is not seen",
        make: || {
            while_deciding(
                |scheduler, now, request| {
                    let free = scheduler.capacity(moment(now)).saturating_sub(scheduler.ledger().used());
                    request.units > free
                        && scheduler.outlook.newest.as_ref().is_some_and(|newest| newest.load_ratio > 0.6)
                },
                |scheduler| &mut scheduler.policy.headroom_ratio,
                |_, _| 1.0,
            )
        },
    },
    Row {
        invariant: 2,
        bug: "the index of ends is lost",
        make: || {
            before(|scheduler, _, _| {
                scheduler.ledger.parts().due.clear();
            })
        },
    },
    Row {
        invariant: 2,
        bug: "a late heartbeat revives",
        make: || {
            before(|scheduler, now, input| {
                if let Input::Heartbeat { name, .. } = input
                    && let Some(id) = one(scheduler, |entry| entry.lease.id == name.id && runs(entry))
                {
                    let until = moment(now).plus(secs(1));
                    scheduler.ledger.tamper(id, |entry, _| entry.expires = entry.expires.max(until));
                }
            })
        },
    },
    Row {
        invariant: 3,
        bug: "an ended lease comes back",
        make: || {
            afterwards(|scheduler, now, _| {
                let granted_once =
                    |entry: &Entry| matches!(entry.lease.phase, Phase::Ended { token: Some(_), .. });
                if let Some(id) = one(scheduler, granted_once) {
                    scheduler.ledger.tamper(id, |entry, lease| {
                        let token = lease.token().unwrap();
                        entry.expires = moment(now).plus(secs(10));
                        let (granted, by, units) = (now.wall, Rule::Quiet, lease.request.units);
                        lease.phase = Phase::Active { token, granted, by, units, paused: None };
                    });
                }
            })
        },
    },
    Row {
        invariant: 3,
        bug: "a number of the log is skipped",
        make: || {
            before(|scheduler, _, input| {
                // One that ends something.
                if let Input::Release { name, holder, .. } = input
                    && scheduler.find(*name, holder.as_deref()).is_ok()
                {
                    scheduler.ledger.parts().meta.sequence += 1;
                }
            })
        },
    },
    Row {
        invariant: 4,
        bug: "when a job was done is lost",
        make: || {
            afterwards(|scheduler, _, _| {
                scheduler.ledger.parts().runs.pop_first();
            })
        },
    },
    Row {
        invariant: 4,
        bug: "the sum of units drifts",
        make: || {
            afterwards(|scheduler, _, _| {
                if scheduler.ledger().used() > 50 {
                    *scheduler.ledger.parts().used -= 1;
                }
            })
        },
    },
    Row {
        invariant: 5,
        bug: "tokens begin anew",
        make: || {
            before(|scheduler, _, _| {
                scheduler.ledger.parts().meta.last_token = Token(0);
            })
        },
    },
    Row {
        invariant: 6,
        bug: "the last of the queue is taken for the first",
        make: || {
            let mut moved = None;
            Box::new(move |when, scheduler, now, input| {
                let quiet =
                    level(scheduler, now) == Some(Level::Quiet) && matches!(input, Input::Release { .. });
                if when == When::Before && quiet {
                    let first = scheduler.ledger().waiting().next().map(|entry| entry.place().0);
                    let patient = |entry: &&Entry| entry.lease.request.wait_max.is_none();
                    let last = scheduler.ledger().waiting().filter(patient).last();
                    moved = last.map(|entry| (entry.lease.id, entry.requested, entry.place().0));
                    if let (Some(first), Some((id, asked, place))) = (first, moved) {
                        let by = place.since(first).saturating_add(Duration::from_millis(1));
                        scheduler.ledger.tamper(id, |entry, _| entry.requested = asked.minus(by));
                    }
                } else if let Some((id, asked, _)) = moved.take() {
                    scheduler.ledger.tamper(id, |entry, _| entry.requested = asked);
                }
            })
        },
    },
    Row {
        invariant: 7,
        bug: "nothing is kept for who has waited long",
        make: || {
            let mut kept = secs(0);
            Box::new(move |when, scheduler, _, input| match (when, input) {
                (_, Input::Policy(_)) => {}
                (When::Before, _) => kept = mem::replace(&mut scheduler.policy.reserve_after, secs(1 << 30)),
                (When::After, _) => scheduler.policy.reserve_after = kept,
            })
        },
    },
    Row {
        invariant: 7,
        bug: "more may wait than there ever is",
        make: || {
            while_deciding(
                |scheduler, _, request| request.units > scheduler.policy.capacity_units && request.wait,
                |scheduler| &mut scheduler.policy.capacity_units,
                |_, _| 1_000,
            )
        },
    },
    Row {
        invariant: 8,
        bug: "a busy host is taken for a quiet one",
        make: || {
            while_deciding(
                |scheduler, now, _| matches!(level(scheduler, now), Some(Level::Normal | Level::Busy)),
                |scheduler| &mut scheduler.outlook.newest,
                |scheduler, _| {
                    scheduler
                        .outlook
                        .newest
                        .clone()
                        .map(|newest| Conditions { level: Level::Quiet, ..newest })
                },
            )
        },
    },
    Row {
        invariant: 8,
        bug: "the operator's windows are not known",
        make: || {
            let mut kept = Vec::new();
            Box::new(move |when, scheduler, now, input| {
                let windows = &mut scheduler.ledger.parts().meta.windows;
                if when == When::After {
                    windows.append(&mut kept);
                } else if alone(scheduler, now, input).is_some() {
                    kept = mem::take(&mut scheduler.ledger.parts().meta.windows);
                }
            })
        },
    },
    Row {
        invariant: 9,
        bug: "there is no cool-down",
        make: || while_deciding(|_, _, _| true, |scheduler| &mut scheduler.outlook.panicked, |_, _| None),
    },
    Row {
        invariant: 9,
        bug: "panic does not reach who runs",
        make: || {
            Box::new(|when, scheduler, _, input| {
                let panic = matches!(input, Input::Tick(Some(news)) if news.level == Level::Panic);
                if panic {
                    let held = scheduler.ledger().entries().filter(|entry| entry.lease.is_held());
                    let held = held.map(|entry| entry.lease.id).filter(|_| when == When::After).collect();
                    *scheduler.ledger.parts().held = held;
                }
            })
        },
    },
    Row {
        invariant: 10,
        bug: "a release takes from another",
        make: || {
            afterwards(|scheduler, _, input| {
                if let Input::Release { name, .. } = input
                    && let Some(id) = one(scheduler, |entry| runs(entry) && entry.lease.id != name.id)
                {
                    scheduler.ledger.tamper(id, |_, lease| {
                        if let Phase::Active { units, .. } = &mut lease.phase {
                            *units -= 1;
                        }
                    });
                }
            })
        },
    },
    Row {
        invariant: 11,
        bug: "keys are forgotten",
        make: || {
            before(|scheduler, _, input| {
                if matches!(input, Input::Request { .. }) {
                    scheduler.ledger.parts().keys.clear();
                }
            })
        },
    },
    Row {
        invariant: 12,
        bug: "a pause ends and nobody says so",
        make: || {
            afterwards(|scheduler, _, _| {
                if let Some(id) = one(scheduler, stands) {
                    scheduler.ledger.tamper(id, |_, lease| {
                        if let Phase::Active { paused, .. } = &mut lease.phase {
                            *paused = None;
                        }
                    });
                }
            })
        },
    },
    Row {
        invariant: 13,
        bug: "what stands still is taken for silent",
        make: || {
            before(|scheduler, now, _| {
                if sweeps(scheduler, now)
                    && let Some(id) = one(scheduler, stands)
                {
                    scheduler.ledger.tamper(id, |entry, lease| {
                        entry.expires = moment(now).minus(secs(1));
                        if let Phase::Active { paused, .. } = &mut lease.phase {
                            *paused = None;
                        }
                    });
                }
            })
        },
    },
    Row {
        invariant: 14,
        bug: "the wall clock decides when a lease expires",
        make: || {
            let mut last = None;
            Box::new(move |when, scheduler, now, _| {
                if when == When::Before {
                    return;
                }
                let ahead = now.wall.0 - moment(now).0;
                let jump = last.replace(ahead).map_or(0, |before| ahead - before);
                let alive = scheduler.ledger().held().filter(|entry| runs(entry)).map(|entry| entry.lease.id);
                for id in alive.collect::<Vec<_>>() {
                    scheduler.ledger.tamper(id, |entry, _| entry.expires.0 += jump);
                }
            })
        },
    },
    Row {
        invariant: 15,
        bug: "nobody looks at who waits",
        make: || {
            let mut works = true;
            Box::new(move |when, scheduler, _, input| match (when, input) {
                (_, Input::Storage { .. }) => {}
                (When::Before, _) => works = mem::replace(&mut scheduler.storage_works, false),
                (When::After, _) => scheduler.storage_works = works,
            })
        },
    },
    Row {
        invariant: 17,
        bug: "what is old counts as fresh",
        make: || {
            while_deciding(
                |scheduler, now, _| level(scheduler, now).is_none(),
                |scheduler| &mut scheduler.outlook.newest,
                |scheduler, now| {
                    scheduler.outlook.newest.clone().map(|newest| Conditions { at: moment(now), ..newest })
                },
            )
        },
    },
    Row {
        invariant: 18,
        bug: "the queue has no end",
        make: || {
            while_deciding(
                |_, _, request| request.wait,
                |scheduler| &mut scheduler.policy.queue_max,
                |_, _| usize::MAX,
            )
        },
    },
];

#[test]
fn every_sabotage_is_noticed_by_the_invariant_that_it_breaks() {
    for Row { invariant, bug, make } in ROWS {
        let failure = (1..=LIVES).find_map(|seed| World::live(seed, STEPS, Some(make())).err());
        let Some(failure) = failure else { panic!("nobody notices that {bug}") };
        assert_eq!(failure.violation.invariant, invariant, "{bug}: {failure}");
    }
}

#[test]
fn there_is_a_sabotage_of_every_invariant_of_the_scheduler() {
    // Number 16 is about the store of addons.
    for invariant in (1..=18).filter(|invariant| *invariant != 16) {
        assert!(ROWS.iter().any(|row| row.invariant == invariant), "{invariant}");
    }
}
