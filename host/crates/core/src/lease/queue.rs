//! Who waits, and who is next: a look at the queue whenever something may have become free.
//!
//! First those who must start now to meet their deadline, then by place. Who finds no room is overtaken by smaller ones for a while; then
//! what becomes free is kept for it. Every look has a bound, however long the queue is.

use super::Scheduler;
use super::decide::No;
use super::ledger::{Class, Place, place};
use super::moment::Moment;
use super::types::{Event, LeaseId, Request, Rule, Text};
use crate::limits;
use crate::units::Now;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::ops::Bound;
use std::time::Duration;

/// When a waiting request is expected to start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forecast {
    /// Which.
    pub id: LeaseId,
    /// How long it still waits, as far as can be told.
    pub starts_in: Option<Duration>,
}

/// What a look at one request came to.
enum Look {
    Granted,
    /// There is no room for it.
    Blocked,
    /// The host leaves less than it needs, even if nobody held anything: to keep something free for it would only hold up the others.
    TooLarge,
    /// Its holder holds as many as it may, or its class may not run.
    PassedOver,
    /// Nothing more can be granted at all.
    Full,
}

impl Scheduler {
    /// Whether a new request may be granted at once.
    pub(super) fn decide(&mut self, now: Now, request: &Request) -> Result<Rule, No> {
        let mono: Moment = now.mono.into();
        let permitted = self.permitted(now, request.priority, request.constraints);
        let start_by =
            request.deadline.map(|deadline| mono.plus(deadline.saturating_sub(request.expected_duration)));
        let rule = self.admit(mono, request, start_by, &permitted)?;
        let (next, _) = self.ledger.next();
        let own = place(mono, request.priority, next);
        match self.reserved.and_then(|id| self.ledger.get(id)) {
            // What is kept for one that would miss its deadline is kept from all.
            Some(entry) if entry.place() < own || entry.start_by().is_some_and(|at| at <= mono) => {
                let (holder, units) = (&entry.lease.request.holder, entry.lease.request.units);
                let text = format!("{holder} has waited long for {units} units, and comes first");
                let capacity = f64::from(self.capacity(mono));
                Err(No::own(Rule::Reserved, f64::from(units), capacity, Duration::from_secs(60), text))
            }
            _ => Ok(rule),
        }
    }

    /// Why no further request may wait, if so.
    pub(super) fn queue_is_full(&self, request: &Request) -> Option<No> {
        let (all, own) = (self.ledger.queued_count(), self.ledger.share(&request.holder).queued);
        let (number, most, text) = if all >= self.policy.queue_max {
            (all, self.policy.queue_max, format!("{all} requests wait, as many as may"))
        } else if own >= self.policy.queue_per_holder_max {
            let most = self.policy.queue_per_holder_max;
            (own, most, format!("{own} requests of {} wait, as many as it may have", request.holder))
        } else {
            return None;
        };
        #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
        let (number, most) = (number as f64, most as f64);
        Some(No::own(Rule::QueueFull, number, most, Duration::from_secs(60), text))
    }

    /// Grants what can be granted of what waits.
    pub(super) fn dispatch(&mut self, now: Now, out: &mut Vec<crate::lease::Record>) {
        self.reserved = None;
        if self.ledger.queued_count() == 0 {
            return;
        }
        let mut permitted = BTreeMap::new();
        if self.dispatch_due(now, &mut permitted, out) {
            self.dispatch_in_order(now, &mut permitted, out);
        }
    }

    /// Those that would miss their deadline. False when what is free is kept for one of them.
    fn dispatch_due(
        &mut self,
        now: Now,
        permitted: &mut Permitted,
        out: &mut Vec<crate::lease::Record>,
    ) -> bool {
        let mono: Moment = now.mono.into();
        let due = self.ledger.starts.range(..=(mono, LeaseId(u64::MAX)));
        let due: Vec<LeaseId> = due.take(limits::LEASE_SCAN_MAX).map(|(_, id)| *id).collect();
        for id in due {
            match self.look_at(now, id, permitted, out) {
                Look::Granted | Look::PassedOver | Look::TooLarge => {}
                Look::Blocked | Look::Full => {
                    self.reserved = Some(id);
                    return false;
                }
            }
        }
        true
    }

    fn dispatch_in_order(
        &mut self,
        now: Now,
        permitted: &mut Permitted,
        out: &mut Vec<crate::lease::Record>,
    ) {
        let mono: Moment = now.mono.into();
        let classes: Vec<Class> = self.ledger.queues.keys().copied().collect();
        let classes: Vec<Class> =
            classes.into_iter().filter(|class| self.class_may_run(now, *class, permitted)).collect();
        let mut heads = Heads::new(classes);
        let mut without_room = 0;
        let mut granted = 0;
        while let Some((class, head, holder, behind)) = heads.next(self) {
            let look = self.look_at(now, head.1, permitted, out);
            match look {
                Look::Granted => {
                    if behind {
                        heads.behind(self, class, head, &holder);
                    }
                    granted += 1;
                    if granted >= limits::LEASE_SWEEP_MAX {
                        self.look_again = true;
                        return;
                    }
                }
                Look::PassedOver => {}
                Look::Full => return,
                Look::Blocked | Look::TooLarge => {
                    let waited =
                        self.ledger.get(head.1).map_or(Duration::ZERO, |entry| mono.since(entry.requested));
                    if matches!(look, Look::Blocked) && waited >= self.policy.reserve_after {
                        self.reserved = Some(head.1);
                        return;
                    }
                    without_room += 1;
                    if without_room >= limits::LEASE_SCAN_MAX {
                        return;
                    }
                    heads.behind(self, class, head, &holder);
                }
            }
        }
    }

    fn class_may_run(&mut self, now: Now, class: Class, permitted: &mut Permitted) -> bool {
        permitted.entry(class).or_insert_with(|| self.permitted(now, class.0, class.1)).is_ok()
    }

    fn look_at(
        &mut self,
        now: Now,
        id: LeaseId,
        permitted: &mut Permitted,
        out: &mut Vec<crate::lease::Record>,
    ) -> Look {
        let mono: Moment = now.mono.into();
        let Some(entry) = self.ledger.get(id) else { return Look::PassedOver };
        let (request, start_by) = (entry.lease.request.clone(), entry.start_by());
        let class = (request.priority, request.constraints);
        let allowed = permitted.entry(class).or_insert_with(|| self.permitted(now, class.0, class.1));
        let answer = self.admit(mono, &request, start_by, allowed);
        match &answer {
            Ok(_) => {
                let decision = self.record(mono, &answer);
                let (_, token) = self.ledger.next();
                let event = Event::Granted { id, token, asked: None, decision };
                self.totals.answered(&event);
                self.holders.answered(now, &request.holder, &event);
                self.emit(now, event, out);
                Look::Granted
            }
            Err(no) if no.rule == Rule::Capacity => {
                let capacity = self.room(mono, start_by);
                if self.over_quota(&request).is_some() {
                    // What is free is free for others; and a smaller one of the same owner may fit.
                    Look::TooLarge
                } else if self.ledger.used() >= capacity {
                    Look::Full
                } else if request.units > capacity {
                    Look::TooLarge
                } else {
                    Look::Blocked
                }
            }
            Err(no) if no.rule == Rule::Concurrency && self.ledger.held_count() >= self.policy.leases_max => {
                Look::Full
            }
            Err(_) => Look::PassedOver,
        }
    }

    /// When the first requests of the queue are expected to start, if all goes as those who hold and wait said: each takes what it needs
    /// when those before it have what they need.
    pub fn forecast(&mut self, now: Now, most: usize) -> Vec<Forecast> {
        let mono: Moment = now.mono.into();
        let mut free = self.capacity(mono).saturating_sub(self.ledger.used());
        let end = |entry: &super::Entry| {
            entry.granted.plus(entry.lease.request.expected_duration).max(mono.plus(Duration::from_secs(1)))
        };
        let mut ends: BinaryHeap<Reverse<(Moment, u32)>> = self
            .ledger
            .held()
            .take(10 * most)
            .map(|entry| Reverse((end(entry), entry.lease.held_units())))
            .collect();
        let waiting: Vec<(LeaseId, Request, Option<Moment>)> = self
            .ledger
            .waiting()
            .take(most)
            .map(|entry| (entry.lease.id, entry.lease.request.clone(), entry.start_by()))
            .collect();
        let mut permitted: Permitted = BTreeMap::new();
        let mut clock = mono;
        let mut forecasts = Vec::with_capacity(waiting.len());
        for (id, request, start_by) in waiting {
            let class = (request.priority, request.constraints);
            let allowed = permitted.entry(class).or_insert_with(|| self.permitted(now, class.0, class.1));
            let from = match allowed {
                Ok(_) => Some(mono),
                Err(no) => match no.rule {
                    Rule::CoolDown | Rule::Blocked => Some(mono.plus(no.retry_after)),
                    Rule::NotQuiet => {
                        let quiet = self.outlook.fresh(mono, self.policy.conditions_last);
                        let quiet =
                            quiet.and_then(|conditions| conditions.quiet_in).map(|left| mono.plus(left));
                        quiet.into_iter().chain(start_by).min()
                    }
                    _ => None,
                },
            };
            while free < request.units
                && let Some(Reverse((at, units))) = ends.pop()
            {
                clock = clock.max(at);
                free += units;
            }
            let fits = free >= request.units;
            let start = from.filter(|_| fits).map(|from| from.max(clock));
            if let Some(start) = start {
                free -= request.units;
                ends.push(Reverse((start.plus(request.expected_duration), request.units)));
            }
            forecasts.push(Forecast { id, starts_in: start.map(|start| start.since(mono)) });
        }
        forecasts
    }
}

/// What the state of the host says of each class, for one look.
type Permitted = BTreeMap<Class, Result<Rule, No>>;

/// The first requests of all holders in the classes that may run, merged in order. Holders that may hold no more are passed over as a whole,
/// for their later requests stand behind their first.
struct Heads {
    classes: Vec<(Class, Option<(Place, Text)>)>,
    /// Requests behind one for which there was no room.
    behind: BTreeSet<(Place, Text, Class)>,
}

impl Heads {
    fn new(classes: Vec<Class>) -> Self {
        Self { classes: classes.into_iter().map(|class| (class, None)).collect(), behind: BTreeSet::new() }
    }

    /// The next request to look at; true when it stands behind one of its holder for which there was no room.
    fn next(&mut self, scheduler: &Scheduler) -> Option<(Class, Place, Text, bool)> {
        let queues = &scheduler.ledger.queues;
        let mut first: Option<(usize, (Place, Text))> = None;
        for (number, (class, seen)) in self.classes.iter().enumerate() {
            let Some(queue) = queues.get(class) else { continue };
            let from = seen.as_ref().map_or(Bound::Unbounded, Bound::Excluded);
            let head = queue.heads.range::<(Place, Text), _>((from, Bound::Unbounded)).next();
            if let Some(head) = head
                && first.as_ref().is_none_or(|(_, (place, _))| head.0 < *place)
            {
                first = Some((number, head.clone()));
            }
        }
        let behind = self
            .behind
            .first()
            .filter(|(place, _, _)| first.as_ref().is_none_or(|(_, (head, _))| place < head));
        if behind.is_some() {
            let (place, holder, class) = self.behind.pop_first()?;
            return Some((class, place, holder, true));
        }
        let (number, head) = first?;
        let (class, seen) = self.classes.get_mut(number)?;
        *seen = Some(head.clone());
        Some((*class, head.0, head.1, false))
    }

    /// Looks at what this holder has behind this request: one for which there was no room, or that stood behind such a one.
    fn behind(&mut self, scheduler: &Scheduler, class: Class, place: Place, holder: &Text) {
        let own = scheduler.ledger.queues.get(&class).and_then(|queue| queue.holders.get(holder));
        let next = own.and_then(|own| own.range((Bound::Excluded(place), Bound::Unbounded)).next());
        if let Some(next) = next {
            self.behind.insert((*next, Text::clone(holder), class));
        }
    }
}
