//! Leases for heavy work: who may run now, who waits, who must let go. `step(now, input)` is the only way in: the same inputs at the same
//! times give the same answers and the same events, so the simulator, the daemon and a replay of the audit log run the same code.
//!
//! The state is what its events fold to ([`Ledger`]); what this run of the daemon knows besides (the host's conditions, heartbeats, how
//! often someone asked) is in [`Scheduler`]. It decides; `app` makes the events durable before it answers, and takes them back
//! ([`Scheduler::roll_back`]) if the disk refuses them. docs/adr/011-leases.md tells why.

mod conditions;
mod decide;
mod edge;
mod holders;
pub mod invariants;
mod ladder;
mod ledger;
mod look;
mod moment;
mod policy;
mod queue;
#[cfg(test)]
mod tests;
mod types;

pub use conditions::Conditions;
pub use edge::Edge;
pub use holders::{HolderStats, Totals};
pub use ledger::{Entry, Job, Ledger, Meta, Place, Share};
pub use look::{EdgeMemory, Glimpse, edge};
pub use moment::Moment;
pub use policy::Policy;
pub use queue::Forecast;
pub use types::{
    Cause, Constraints, Decision, Ending, Event, Lease, LeaseId, LeaseName, Mode, Override, Phase, Priority,
    Progress, Record, Request, Rule, Text, Token, Usage, Window,
};

use crate::limits;
use crate::units::{Now, WallTime};
use conditions::Outlook;
use edge::Needed;
use holders::Holders;
use std::sync::Arc;
use std::time::Duration;

/// What the scheduler is told.
#[derive(Clone, Debug)]
pub enum Input {
    /// Time has passed; with what is known of the host now, if anything is.
    Tick(Option<Box<Conditions>>),
    /// A fast look at the host between ticks: what is in the way of work that runs, if anything is.
    Edge(Option<Box<Edge>>),
    /// Someone asks for a lease.
    Request {
        /// For what.
        request: Box<Request>,
        /// The part of its name that cannot be guessed: a random number.
        secret: u64,
    },
    /// A holder says that it lives.
    Heartbeat {
        /// Its lease.
        name: LeaseName,
        /// Who says so, if it says.
        holder: Option<Text>,
        /// Whether someone waits for what the work is to do and does it at once: only such work is stopped on the first look.
        reached: bool,
    },
    /// A holder tells how far it is. Counts as a heartbeat.
    Report {
        /// Its lease.
        name: LeaseName,
        /// Who says so, if it says.
        holder: Option<Text>,
        /// How far.
        progress: Progress,
    },
    /// A holder gives its lease back, or no longer wants to wait.
    Release {
        /// Its lease.
        name: LeaseName,
        /// Who says so, if it says.
        holder: Option<Text>,
        /// Whether the work was done.
        done: bool,
        /// The holder's words.
        note: Text,
        /// What was used.
        usage: Usage,
    },
    /// The operator wants it back.
    Revoke {
        /// Which.
        name: LeaseName,
        /// Why.
        why: Text,
        /// How much time its holder has; absent: as usual.
        grace: Option<Duration>,
    },
    /// The operator sets the switch, or takes it away.
    Override(Option<Override>),
    /// The operator replaces the windows.
    Windows(Vec<Window>),
    /// The operator's numbers have changed.
    Policy(Box<Policy>),
    /// Whether events can be made durable. While they cannot, nothing that waits is granted; new requests are the caller's to turn away.
    Storage {
        /// True when they can.
        works: bool,
    },
}

/// The answer to one input.
#[derive(Clone, Debug, PartialEq)]
pub enum Reply {
    /// Nothing is to be said.
    Done,
    /// The lease, granted or queued; or the one that an earlier request with the same key got, whatever became of it.
    Lease {
        /// It.
        lease: Arc<Lease>,
        /// True when an earlier request got it.
        repeated: bool,
    },
    /// Not now.
    Denied(Box<Decision>),
    /// What the holder is to do.
    Directive(Box<Instruction>),
    /// It is over, or to be given back.
    Ended(Arc<Lease>),
    /// It cannot be done.
    Refused(Refusal),
}

/// Why something cannot be done.
#[derive(Clone, Debug, PartialEq)]
pub enum Refusal {
    /// There is no lease of this name.
    Unknown,
    /// It belongs to another holder.
    NotYours,
    /// It is over.
    Over(Arc<Lease>),
    /// It still waits, and is not held yet.
    StillQueued(Arc<Lease>),
    /// The key was used for another request, which got this lease.
    KeyReused(LeaseName),
    /// More units are asked for than there ever are.
    TooLarge {
        /// As many as there are.
        capacity: u32,
    },
}

/// What the holder of a lease is to do.
#[derive(Clone, Debug, PartialEq)]
pub struct Instruction {
    /// The lease.
    pub lease: Arc<Lease>,
    /// What.
    pub directive: Directive,
    /// How long the lease lives unless its holder is heard before; `None` while it stands still.
    pub expires_in: Option<Duration>,
    /// Why it is not to go on as it was granted.
    pub why: Option<Text>,
}

/// See [`Instruction`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Directive {
    /// Go on.
    Continue,
    /// Use only these units.
    Shrink {
        /// So many.
        units: u32,
    },
    /// Stand still until told otherwise.
    Pause,
    /// Give it back within this time.
    Revoke {
        /// Time that is left.
        within: Duration,
    },
}

impl Directive {
    /// Stable word for programs.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Continue => "continue",
            Self::Shrink { .. } => "shrink",
            Self::Pause => "pause",
            Self::Revoke { .. } => "revoke",
        }
    }
}

/// What a step leads to.
#[derive(Clone, Debug)]
pub struct Effects {
    /// The answer, to be given once the events are durable.
    pub reply: Reply,
    /// What happened, in order.
    pub records: Vec<Record>,
}

/// See the file's head.
#[derive(Clone, Debug)]
pub struct Scheduler {
    ledger: Ledger,
    policy: Policy,
    outlook: Outlook,
    holders: Holders,
    /// The request that nobody may overtake any more.
    reserved: Option<LeaseId>,
    /// When the machine was needed while work ran.
    needed: Needed,
    /// When the newest step was.
    stepped: Option<Moment>,
    /// After the daemon itself stood still nothing expires before this.
    spared_until: Option<Moment>,
    /// Something may have become free.
    look_again: bool,
    /// When the newest look at the queue was.
    looked_at: Option<Moment>,
    /// The capacity may have become smaller than what is waited for.
    outgrown: bool,
    storage_works: bool,
    totals: Totals,
}

impl Scheduler {
    /// A scheduler that begins with what was stored. Its first event says so: tokens go on after `token`.
    pub fn start(now: Now, ledger: Ledger, policy: Policy, token: Token, epoch: u32) -> (Self, Record) {
        let mut scheduler = Self {
            ledger,
            policy,
            outlook: Outlook::default(),
            holders: Holders::default(),
            reserved: None,
            needed: Needed::default(),
            stepped: Some(now.mono.into()),
            spared_until: None,
            look_again: true,
            looked_at: None,
            outgrown: true,
            storage_works: true,
            totals: Totals::default(),
        };
        scheduler.ledger.hold_at_most(scheduler.policy.hold_max);
        let mut out = Vec::new();
        scheduler.emit(now, Event::Restarted { token, epoch }, &mut out);
        let record = out.pop().unwrap_or(Record {
            sequence: 0,
            at: now.wall,
            event: Event::Restarted { token, epoch },
        });
        (scheduler, record)
    }

    /// Takes in one input. `now` must not run backwards from one step to the next.
    pub fn step(&mut self, now: Now, input: Input) -> Effects {
        let mut records = Vec::new();
        let out = &mut records;
        let mono = now.mono.into();
        self.notice_a_stall(mono);
        self.sweep(now, out);
        let reply = match input {
            Input::Tick(conditions) => self.tick(now, conditions.map(|conditions| *conditions), out),
            Input::Request { request, secret } => {
                // What has just become free is for those who wait already.
                self.look(now, out);
                self.request(now, *request, secret, out)
            }
            Input::Edge(edge) => {
                self.edge(now, edge.as_deref(), out);
                Reply::Done
            }
            Input::Heartbeat { name, holder, reached } => {
                let reply = self.heartbeat(now, name, holder.as_deref(), None, out);
                if matches!(reply, Reply::Directive(_)) {
                    self.ledger.reach(name.id, reached);
                }
                reply
            }
            Input::Report { name, holder, progress } => {
                self.heartbeat(now, name, holder.as_deref(), Some(progress), out)
            }
            Input::Release { name, holder, done, note, usage } => {
                self.release(now, name, holder.as_deref(), done, note, usage, out)
            }
            Input::Revoke { name, why, grace } => self.revoke(now, name, why, grace, out),
            Input::Override(switch) => self.look_after(now, Event::Overridden { switch }, out),
            Input::Windows(windows) => self.look_after(now, Event::Windows { windows }, out),
            Input::Policy(policy) => {
                let old = std::mem::replace(&mut self.policy, *policy);
                let rate = |policy: &Policy| (policy.requests_per_second, policy.requests_burst);
                if rate(&old) != rate(&self.policy) {
                    self.holders.retune(&self.policy);
                }
                self.ledger.hold_at_most(self.policy.hold_max);
                (self.look_again, self.outgrown) = (true, true);
                Reply::Done
            }
            Input::Storage { works } => {
                self.storage_works = works;
                self.look_again = works;
                Reply::Done
            }
        };
        if self.outgrown {
            self.turn_away(now, out);
        }
        self.look(now, out);
        Effects { reply, records }
    }

    /// The state that the events fold to.
    #[must_use]
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// The operator's numbers.
    #[must_use]
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// How often what was answered, since the daemon's start.
    #[must_use]
    pub fn totals(&self) -> &Totals {
        &self.totals
    }

    /// Those who asked since the daemon's start.
    pub fn holders(&self) -> impl Iterator<Item = (&Text, &HolderStats)> {
        self.holders.iter()
    }

    /// What is left of the cool-down after PANIC.
    #[must_use]
    pub fn cooling(&self, now: Moment) -> Option<Duration> {
        self.outlook.cooling(now, self.policy.cool_down)
    }

    /// Events up to this one are on disk.
    pub fn settle(&mut self, sequence: u64) {
        self.ledger.settle(sequence);
    }

    /// Forgets the oldest ends that are on disk up to `settled`; returns what was forgotten.
    pub fn forget(&mut self, settled: u64) -> Vec<LeaseId> {
        self.ledger.forget(limits::LEASES_ENDED_KEPT, settled)
    }

    /// Takes back all events after this one: the disk refused them.
    pub fn roll_back(&mut self, sequence: u64) {
        self.ledger.roll_back(sequence);
        self.reserved = None;
        (self.look_again, self.outgrown) = (true, true);
    }

    /// Does again what was taken back and only lets go: ends, revocations, pauses. Grants and new requests are gone, and their callers were
    /// told so.
    pub fn shed(&mut self, now: Now, events: impl IntoIterator<Item = Event>) -> Vec<Record> {
        let mut out = Vec::new();
        for event in events {
            let phase = event.lease().and_then(|id| self.ledger.get(id)).map(|entry| &entry.lease.phase);
            let fits = match (&event, phase) {
                (Event::Ended { .. }, Some(phase)) => !matches!(phase, Phase::Ended { .. }),
                (Event::Revoking { .. }, Some(Phase::Active { .. })) => true,
                (Event::Paused { .. }, Some(Phase::Active { paused, .. })) => paused.is_none(),
                _ => false,
            };
            if fits {
                self.emit(now, event, &mut out);
            }
        }
        out
    }

    fn emit(&mut self, now: Now, event: Event, out: &mut Vec<Record>) {
        let record = Record { sequence: self.ledger.sequence() + 1, at: now.wall, event };
        self.ledger.apply(now.mono.into(), &record, self.policy.ttl);
        out.push(record);
    }

    fn look_after(&mut self, now: Now, event: Event, out: &mut Vec<Record>) -> Reply {
        self.emit(now, event, out);
        self.look_again = true;
        Reply::Done
    }

    /// Nobody could be heard while the daemon or the whole machine stood still: before anything expires, holders get the time for one
    /// heartbeat (etcd's mass expiry after a leader's stall, etcd#15247).
    fn notice_a_stall(&mut self, now: Moment) {
        let stood = self.stepped.replace(now).map_or(Duration::ZERO, |before| now.since(before));
        if stood > self.policy.stall {
            self.spared_until = Some(now.plus(limits::STALL_GRACE));
        }
        self.spared_until = self.spared_until.filter(|until| now <= *until);
    }

    /// Ends what is due. At most a bound of it: the rest follows in the next step, and counts as ended when it is asked about.
    fn sweep(&mut self, now: Now, out: &mut Vec<Record>) {
        if self.spared_until.is_some() {
            return;
        }
        for _ in 0..limits::LEASE_SWEEP_MAX {
            let Some(id) = self.ledger.first_due(now.mono.into()) else { return };
            self.end_of_time(now, id, out);
        }
    }

    /// Looks at the queue if something may have become free.
    fn look(&mut self, now: Now, out: &mut Vec<Record>) {
        if self.look_again && self.storage_works {
            self.look_again = false;
            self.looked_at = Some(now.mono.into());
            self.dispatch(now, out);
        }
    }

    /// Who waits for more units than there ever are would wait for ever.
    fn turn_away(&mut self, now: Now, out: &mut Vec<Record>) {
        let capacity = self.policy.capacity_units;
        let waiting = self.ledger.waiting().filter(|entry| entry.lease.request.units > capacity);
        let ids: Vec<LeaseId> = waiting.take(limits::LEASE_SWEEP_MAX).map(|entry| entry.lease.id).collect();
        self.outgrown = ids.len() >= limits::LEASE_SWEEP_MAX;
        for id in ids {
            let why = format!("it asks for more units than the {capacity} that there are now").into();
            self.finish(now, Event::Ended { id, ending: Ending::Cancelled { why } }, out);
        }
    }

    /// The time of this lease is over: what follows depends on what it was doing.
    fn end_of_time(&mut self, now: Now, id: LeaseId, out: &mut Vec<Record>) {
        let mono: Moment = now.mono.into();
        let Some(entry) = self.ledger.get(id) else { return };
        let event = match &entry.lease.phase {
            Phase::Queued => Event::Ended { id, ending: Ending::TimedOut },
            Phase::Active { paused, .. } => {
                let frozen = paused.is_some() && entry.changed.plus(entry.lease.request.max_freeze) < mono;
                if paused.is_none() && entry.expires < mono {
                    Event::Ended { id, ending: Ending::Expired }
                } else {
                    let why = if frozen {
                        "it stood still for as long as it may"
                    } else {
                        "it was held for as long as a lease may be"
                    };
                    Event::Revoking { id, why: why.into(), grace: self.policy.revoke_grace }
                }
            }
            Phase::Revoking { why, .. } => {
                let why = Text::clone(why);
                Event::Ended { id, ending: Ending::Revoked { why, obeyed: false } }
            }
            Phase::Ended { .. } => return,
        };
        self.finish(now, event, out);
    }

    fn finish(&mut self, now: Now, event: Event, out: &mut Vec<Record>) {
        if let Event::Ended { ending, .. } = &event {
            self.totals.ended(ending);
            self.look_again = true;
        }
        self.emit(now, event, out);
    }

    fn tick(&mut self, now: Now, conditions: Option<Conditions>, out: &mut Vec<Record>) -> Reply {
        if let Some(conditions) = conditions {
            self.outlook.take(conditions);
        }
        let over = |switch: &Override| switch.expires.is_some_and(|expires| expires <= now.wall);
        if self.ledger.meta().switch.as_ref().is_some_and(over) {
            self.emit(now, Event::Overridden { switch: None }, out);
        }
        self.climb(now, out);
        self.look_again = true;
        Reply::Done
    }

    fn request(&mut self, now: Now, mut request: Request, secret: u64, out: &mut Vec<Record>) -> Reply {
        if request.wait {
            request.deadline.get_or_insert(self.policy.deadline_default);
        }
        let earlier = request.key.as_ref().and_then(|key| self.ledger.keyed(&request.holder, key));
        if let Some(entry) = earlier {
            return if is_the_same(now, &entry.lease, &request) {
                Reply::Lease { lease: Arc::clone(&entry.lease), repeated: true }
            } else {
                Reply::Refused(Refusal::KeyReused(entry.lease.name()))
            };
        }
        let most = request.owner_units_max.unwrap_or(u32::MAX).min(self.policy.capacity_units);
        if request.units > most {
            return Reply::Refused(Refusal::TooLarge { capacity: most });
        }
        let mono: Moment = now.mono.into();
        let answer = match self.holders.may_ask(now, &request.holder, &self.policy) {
            Ok(()) => self.decide(now, &request),
            Err(no) => Err(no),
        };
        let decision = self.record(mono, &answer);
        let (id, token) = self.ledger.next();
        let event = match &answer {
            Ok(_) => {
                let asked = Some((secret, request.clone()));
                Event::Granted { id, token, asked, decision }
            }
            Err(no) if request.wait && no.rule != Rule::Rate => match self.queue_is_full(&request) {
                Some(no) => {
                    let decision = self.record(mono, &Err(no));
                    return self.deny(now, &request, decision);
                }
                None => Event::Queued { id, secret, request: request.clone(), decision },
            },
            Err(_) => return self.deny(now, &request, decision),
        };
        self.totals.answered(&event);
        self.holders.answered(now, &request.holder, &event);
        self.emit(now, event, out);
        self.held(id)
            .map_or(Reply::Refused(Refusal::Unknown), |lease| Reply::Lease { lease, repeated: false })
    }

    fn deny(&mut self, now: Now, request: &Request, decision: Decision) -> Reply {
        self.totals.denied(decision.rule);
        self.holders.denied(now, &request.holder, &decision);
        Reply::Denied(Box::new(decision))
    }

    fn held(&self, id: LeaseId) -> Option<Arc<Lease>> {
        self.ledger.get(id).map(|entry| Arc::clone(&entry.lease))
    }

    /// The lease of this name, if it is the caller's and not over.
    fn find(&self, name: LeaseName, holder: Option<&str>) -> Result<&Entry, Refusal> {
        let entry = self.ledger.get(name.id).filter(|entry| entry.lease.secret == name.secret);
        let entry = entry.ok_or(Refusal::Unknown)?;
        if holder.is_some_and(|holder| *holder != *entry.lease.request.holder) {
            return Err(Refusal::NotYours);
        }
        match entry.lease.phase {
            Phase::Ended { .. } => Err(Refusal::Over(Arc::clone(&entry.lease))),
            _ => Ok(entry),
        }
    }

    fn heartbeat(
        &mut self,
        now: Now,
        name: LeaseName,
        holder: Option<&str>,
        progress: Option<Progress>,
        out: &mut Vec<Record>,
    ) -> Reply {
        let mono: Moment = now.mono.into();
        let late = match self.find(name, holder) {
            Err(refusal) => return Reply::Refused(refusal),
            Ok(entry) if entry.lease.is_queued() => {
                return Reply::Refused(Refusal::StillQueued(Arc::clone(&entry.lease)));
            }
            // The sweep has a bound, so one that is over may still stand here.
            Ok(entry) => {
                matches!(entry.lease.phase, Phase::Active { paused: None, .. })
                    && self.spared_until.is_none()
                    && entry.expires < mono
            }
        };
        if late {
            self.end_of_time(now, name.id, out);
            return match self.held(name.id) {
                Some(lease) => Reply::Refused(Refusal::Over(lease)),
                None => Reply::Refused(Refusal::Unknown),
            };
        }
        self.totals.heartbeats += 1;
        self.ledger.hear(name.id, mono, mono.plus(self.policy.ttl));
        if let Some(progress) = progress {
            self.ledger.note(name.id, progress);
        }
        self.instruction(mono, name.id)
            .map_or(Reply::Refused(Refusal::Unknown), |instruction| Reply::Directive(Box::new(instruction)))
    }

    /// What the holder of a held lease is to do now.
    #[must_use]
    pub fn instruction(&self, now: Moment, id: LeaseId) -> Option<Instruction> {
        let entry = self.ledger.get(id)?;
        let lease = Arc::clone(&entry.lease);
        let left = Some(entry.expires.since(now));
        let (directive, expires_in) = match &lease.phase {
            Phase::Revoking { grace, .. } => {
                let within = entry.changed.plus(*grace).since(now);
                (Directive::Revoke { within }, Some(within))
            }
            Phase::Active { paused: Some(_), .. } => (Directive::Pause, None),
            Phase::Active { units, .. } if *units < lease.request.units => {
                (Directive::Shrink { units: *units }, left)
            }
            Phase::Active { .. } => (Directive::Continue, left),
            Phase::Queued | Phase::Ended { .. } => return None,
        };
        let why = match (&lease.phase, directive) {
            (Phase::Revoking { why, .. }, _) => Some(Text::clone(why)),
            (_, Directive::Continue) => None,
            _ => entry.eased_by.clone(),
        };
        Some(Instruction { lease, directive, expires_in, why })
    }

    #[expect(clippy::too_many_arguments, reason = "what a release says, and what every step has")]
    fn release(
        &mut self,
        now: Now,
        name: LeaseName,
        holder: Option<&str>,
        done: bool,
        note: Text,
        usage: Usage,
        out: &mut Vec<Record>,
    ) -> Reply {
        let ending = match self.find(name, holder) {
            Err(refusal) => return Reply::Refused(refusal),
            Ok(entry) => match &entry.lease.phase {
                Phase::Queued => Ending::Cancelled { why: "its holder no longer wants it".into() },
                Phase::Revoking { why, .. } => Ending::Revoked { why: Text::clone(why), obeyed: true },
                _ if done => Ending::Released { note, usage },
                _ => Ending::Failed { note, usage },
            },
        };
        self.end(now, name.id, ending, out)
    }

    fn end(&mut self, now: Now, id: LeaseId, ending: Ending, out: &mut Vec<Record>) -> Reply {
        self.finish(now, Event::Ended { id, ending }, out);
        self.held(id).map_or(Reply::Done, Reply::Ended)
    }

    fn revoke(
        &mut self,
        now: Now,
        name: LeaseName,
        why: Text,
        grace: Option<Duration>,
        out: &mut Vec<Record>,
    ) -> Reply {
        let (id, phase) = match self.find(name, None) {
            Err(refusal) => return Reply::Refused(refusal),
            Ok(entry) => (entry.lease.id, entry.lease.phase.clone()),
        };
        let grace = grace.unwrap_or(self.policy.revoke_grace).min(limits::REVOKE_GRACE_MAX);
        match phase {
            Phase::Queued => return self.end(now, id, Ending::Cancelled { why }, out),
            Phase::Active { .. } if grace.is_zero() => {
                return self.end(now, id, Ending::Revoked { why, obeyed: false }, out);
            }
            Phase::Active { .. } => self.emit(now, Event::Revoking { id, why, grace }, out),
            // It is being given back already; who has no patience left says so by a grace of zero.
            _ if grace.is_zero() => {
                return self.end(now, id, Ending::Revoked { why, obeyed: false }, out);
            }
            _ => {}
        }
        self.held(id).map_or(Reply::Done, Reply::Ended)
    }
}

/// Whether a request is one that was made before. A deadline is the same as a time of day or as a time from each request.
fn is_the_same(now: Now, earlier: &Lease, request: &Request) -> bool {
    let mut again = request.clone();
    if let (Some(first), Some(second)) = (earlier.request.deadline, request.deadline) {
        let end = |asked: WallTime, deadline: Duration| {
            asked.unix_ms().saturating_add(i64::try_from(deadline.as_millis()).unwrap_or(i64::MAX))
        };
        if end(earlier.requested, first).abs_diff(end(now.wall, second)) <= 1 {
            again.deadline = Some(first);
        }
    }
    // What its owner may have is no part of what was asked, and may have changed since.
    again.owner_units_max = earlier.request.owner_units_max;
    earlier.request == again
}
