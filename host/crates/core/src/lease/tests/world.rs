//! A random life of the scheduler: clients, an operator, a host, clocks and a disk, all of which misbehave. After every step everything is
//! checked: the invariants as the daemon checks them, the naive model, and that only what an event names has changed.

mod inputs;

use super::naive::{Naive, broken};
use super::random::Random;
use super::{asks, cause, clocks, moment, secs, text};
use crate::lease::invariants::{self, Violation, Watch};
use crate::lease::*;
use crate::quiet::Level;
use crate::units::{Now, WallTime};
use std::collections::BTreeMap;
use std::fmt;

/// Ends that are remembered; the daemon keeps thousands, but it is the same code.
const ENDED_KEPT: usize = 6;

/// The quiet time at the end of a life, in ticks: enough for all who wait, one after the other, each until it expires.
const QUIET_TICKS: usize = 400;

/// Where a sabotage sets in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum When {
    Before,
    After,
}

/// Simulates a bug: told of each step before and after it.
pub(super) type Sabotage = Box<dyn FnMut(When, &mut Scheduler, Now, &Input)>;

/// What must not be, and where.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) seed: u64,
    pub(super) step: u64,
    pub(super) violation: Violation,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seed, step, violation } = self;
        let (invariant, text) = (violation.invariant, &violation.text);
        write!(f, "seed {seed}, step {step}: invariant {invariant}: {text}\nagain: LOWTIDE_LEASE_SEED={seed}")
    }
}

/// What happened how often: a test in which nothing happens proves nothing.
#[derive(Clone, Debug, Default)]
pub(super) struct Tally(pub(super) BTreeMap<&'static str, u64>);

impl Tally {
    pub(super) fn count(&mut self, what: &'static str) {
        *self.0.entry(what).or_default() += 1;
    }

    pub(super) fn add(&mut self, other: &Self) {
        for (what, times) in &other.0 {
            *self.0.entry(what).or_default() += times;
        }
    }
}

pub(super) struct World {
    random: Random,
    /// Both clocks, in milliseconds.
    mono: i64,
    wall: i64,
    /// The wall clock was set since the last step.
    jumped: bool,
    scheduler: Scheduler,
    watch: Watch,
    naive: Naive,
    /// The events that are on disk, folded, and nothing else.
    disk: Ledger,
    /// What is stored beside them.
    meta: Meta,
    /// Events that are not on disk.
    pending: Vec<Record>,
    /// The disk refuses everything.
    trouble: bool,
    /// All leases as they were after the last step.
    last: Vec<Arc<Lease>>,
    level: Level,
    causes: Vec<(Level, Cause)>,
    load_ratio: f64,
    /// Nothing is measured before this.
    blind_until: i64,
    snapshots: u64,
    /// Requests that were made, to be made again.
    asked: Vec<Request>,
    settled: u64,
    steps: u64,
    sabotage: Option<Sabotage>,
    tally: Tally,
}

/// Small numbers, so that all limits are met within minutes.
fn policy() -> Policy {
    Policy {
        leases_max: 8,
        leases_per_holder_max: 3,
        queue_max: 10,
        queue_per_holder_max: 4,
        ttl: secs(10),
        cool_down: secs(10),
        reserve_after: secs(30),
        deadline_default: secs(600),
        busy_after: secs(6),
        settle: secs(5),
        revoke_grace: secs(5),
        hold_max: secs(120),
        ..Policy::default()
    }
}

impl World {
    /// Lives for so many steps, then sees to it that all who wait get their turn.
    ///
    /// # Errors
    /// The first thing that must not be.
    pub(super) fn live(seed: u64, steps: u64, sabotage: Option<Sabotage>) -> Result<Tally, Failure> {
        let mut world = Self::new(seed, sabotage);
        let mut life = || {
            while world.steps < steps {
                world.act()?;
            }
            world.calm_down()
        };
        let result = life();
        let step = world.steps;
        result.map(|()| world.tally).map_err(|violation| Failure { seed, step, violation })
    }

    fn new(seed: u64, sabotage: Option<Sabotage>) -> Self {
        let (mono, wall) = (20_000_000, 1_800_000_000_000);
        let now = clocks(mono, wall);
        let policy = policy();
        let empty =
            || Ledger::restored([], Meta::default(), BTreeMap::new(), now, policy.ttl, policy.hold_max);
        let (scheduler, record) = Scheduler::start(now, empty(), policy.clone(), Token(0), 1);
        let mut disk = empty();
        disk.apply(moment(now), &record, policy.ttl);
        let mut world = Self {
            random: Random::new(seed),
            mono,
            wall,
            jumped: false,
            watch: Watch::new(&scheduler),
            naive: Naive::new(now, policy.clone()),
            meta: scheduler.ledger().meta().clone(),
            scheduler,
            disk,
            pending: Vec::new(),
            trouble: false,
            last: Vec::new(),
            level: Level::Quiet,
            causes: Vec::new(),
            load_ratio: 0.1,
            blind_until: 0,
            snapshots: 0,
            asked: Vec::new(),
            settled: 0,
            steps: 0,
            sabotage,
            tally: Tally::default(),
        };
        world.scheduler.settle(1);
        world
    }

    fn now(&self) -> Now {
        clocks(self.mono, self.wall)
    }

    /// One thing happens, and then perhaps something to the disk.
    fn act(&mut self) -> Result<(), Violation> {
        self.let_time_pass();
        let input = self.input();
        self.step(input)?;
        let chance = self.random.below(1_000);
        if chance < 5 {
            self.crash()
        } else if self.trouble {
            if chance < 200 { self.recover() } else { Ok(()) }
        } else if self.pending.is_empty() {
            Ok(())
        } else if chance < 25 {
            self.refuse()
        } else if chance < 850 {
            self.settle()
        } else {
            Ok(())
        }
    }

    /// One step of the scheduler, and every check.
    fn step(&mut self, input: Input) -> Result<(), Violation> {
        self.steps += 1;
        let now = self.now();
        if let Some(sabotage) = &mut self.sabotage {
            sabotage(When::Before, &mut self.scheduler, now, &input);
        }
        let effects = self.scheduler.step(now, input.clone());
        if let Some(sabotage) = &mut self.sabotage {
            sabotage(When::After, &mut self.scheduler, now, &input);
        }
        self.naive.step(now, &input, &effects)?;
        self.naive.balance(&self.scheduler)?;
        self.untouched(&effects.records)?;
        self.naive.compare(&self.scheduler, std::mem::take(&mut self.jumped))?;
        self.watch.step(&self.scheduler, moment(now), &effects.records)?;
        invariants::check(&self.scheduler, moment(now))?;
        self.tally(&effects);
        self.pending.extend(effects.records);
        Ok(())
    }

    /// Only what an event names has changed.
    fn untouched(&mut self, records: &[Record]) -> Result<(), Violation> {
        let named = |lease: &Lease| records.iter().any(|record| record.event.lease() == Some(lease.id));
        let mut last = self.last.iter();
        let mut expected = last.next();
        let mut seen = Vec::with_capacity(self.last.len() + 1);
        for entry in self.scheduler.ledger().entries() {
            let lease = &entry.lease;
            seen.push(Arc::clone(lease));
            if expected.is_some_and(|before| before.id == lease.id) {
                let before = expected.take();
                expected = last.next();
                let Some(before) = before.filter(|before| !Arc::ptr_eq(before, lease)) else { continue };
                if before != lease && !named(lease) {
                    let over = matches!(before.phase, Phase::Ended { .. });
                    let text = format!("{before:?} became {lease:?} by no event");
                    return Err(broken(if over { 3 } else { 10 }, text));
                }
            } else if !named(lease) {
                return Err(broken(10, format!("{lease:?} came or another went by no event")));
            }
        }
        let gone = expected.map(|gone| broken(10, format!("{gone:?} is gone")));
        self.last = seen;
        gone.map_or(Ok(()), Err)
    }

    fn tally(&mut self, effects: &Effects) {
        for record in &effects.records {
            let what = match &record.event {
                Event::Ended { ending, .. } => ending.word(),
                Event::Granted { asked: None, .. } => "granted from the queue",
                Event::Granted { decision, .. } => decision.rule.word(),
                other => other.word(),
            };
            self.tally.count(what);
        }
        match &effects.reply {
            Reply::Lease { repeated: true, .. } => self.tally.count("repeated"),
            Reply::Denied(decision) => self.tally.count(decision.rule.word()),
            Reply::Directive(told) => self.tally.count(told.directive.word()),
            Reply::Refused(refusal) => self.tally.count(match refusal {
                Refusal::Unknown => "refused: unknown",
                Refusal::NotYours => "refused: not yours",
                Refusal::Over(_) => "refused: over",
                Refusal::StillQueued(_) => "refused: still queued",
                Refusal::KeyReused(_) => "refused: key reused",
                Refusal::TooLarge { .. } => "refused: too large",
            }),
            _ => {}
        }
        self.tally.count("steps");
        if self.naive.is_spared() {
            self.tally.count("spared");
        }
    }

    /// Everything is on disk.
    fn settle(&mut self) -> Result<(), Violation> {
        let at = Moment(self.mono);
        for record in self.pending.drain(..) {
            self.disk.apply(at, &record, secs(1));
        }
        let durable = self.scheduler.ledger().sequence();
        self.meta.clone_from(self.scheduler.ledger().meta());
        self.scheduler.settle(durable);
        self.disk.settle(durable);
        self.naive.settle();
        let forgotten = self.scheduler.ledger.forget(ENDED_KEPT, durable);
        if self.disk.forget(ENDED_KEPT, durable) != forgotten {
            return Err(broken(4, "other ends are forgotten than those on disk"));
        }
        for id in &forgotten {
            self.naive.forget(*id);
        }
        self.last.retain(|lease| !forgotten.contains(&lease.id));
        let (journal, ends) = (self.scheduler.ledger.journal_len(), self.scheduler.ledger().ended().count());
        if journal > 0 || ends > ENDED_KEPT {
            return Err(broken(18, format!("{journal} changes and {ends} ends are remembered")));
        }
        self.settled += 1;
        if self.settled.is_multiple_of(16) { self.same_as_on_disk() } else { Ok(()) }
    }

    /// The state is what the events on disk fold to. Numbers that were used up by what the disk refused stay so.
    fn same_as_on_disk(&self) -> Result<(), Violation> {
        let (leases, meta, runs) = self.scheduler.ledger().stored();
        let (folded, stored, folded_runs) = self.disk.stored();
        let used_up = (meta.last_id >= stored.last_id) && (meta.last_token >= stored.last_token);
        let stored = Meta { last_id: meta.last_id, last_token: meta.last_token, ..stored };
        if (&leases, &meta, &runs) != (&folded, &stored, &folded_runs) || !used_up {
            return Err(broken(4, "the events do not fold to the state"));
        }
        Ok(())
    }

    /// The disk refuses what is pending, as the daemon's desk handles it.
    fn refuse(&mut self) -> Result<(), Violation> {
        self.tally.count("refused by the disk");
        self.step(Input::Storage { works: false })?;
        self.trouble = true;
        let now = self.now();
        let durable = self.disk.sequence();
        self.scheduler.roll_back(durable);
        self.naive.roll_back(durable);
        self.same_as_on_disk()?;
        let events: Vec<Event> = self.pending.drain(..).map(|record| record.event).collect();
        self.pending = self.scheduler.shed(now, events);
        self.naive.shed(now, &self.pending)?;
        self.begin_to_watch()
    }

    fn recover(&mut self) -> Result<(), Violation> {
        self.trouble = false;
        self.step(Input::Storage { works: true })?;
        self.settle()
    }

    /// After something that is no step.
    fn begin_to_watch(&mut self) -> Result<(), Violation> {
        self.watch = Watch::new(&self.scheduler);
        self.last = self.scheduler.ledger().entries().map(|entry| Arc::clone(&entry.lease)).collect();
        self.naive.balance(&self.scheduler)?;
        self.naive.compare(&self.scheduler, false)
    }

    /// The daemon dies and starts again, some time later and perhaps with other numbers; now and then from a backup, with tokens that go on
    /// far away.
    fn crash(&mut self) -> Result<(), Violation> {
        self.tally.count("crashes");
        let away = self.random.pick(&[0, 100, 3_000, 60_000]);
        (self.mono, self.wall) = (self.mono + away, self.wall + away);
        let now = self.now();
        let policy = if self.random.percent(20) { self.other_policy() } else { self.naive.policy.clone() };
        let (leases, stored, runs) = self.disk.stored();
        let meta = Meta { last_id: self.meta.last_id, last_token: self.meta.last_token, ..stored };
        let (mut token, mut epoch) = (meta.last_token, meta.epoch);
        match self.random.below(10) {
            0 => (token, epoch) = (Token(token.0 + (1 << 32)), epoch + 1),
            1 => token = Token(0),
            _ => {}
        }
        let leases = leases.iter().map(|lease| Lease::clone(lease));
        let ledger = Ledger::restored(leases, meta, runs, now, policy.ttl, policy.hold_max);
        let (scheduler, record) = Scheduler::start(now, ledger, policy.clone(), token, epoch);
        self.scheduler = scheduler;
        let highest = token.max(self.meta.last_token);
        self.naive.restart(now, policy, self.disk.sequence(), highest.0);
        (self.trouble, self.pending) = (false, vec![record]);
        self.begin_to_watch()?;
        self.settle()?;
        self.same_as_on_disk()?;
        self.step(Input::Tick(None))
    }

    /// It stays quiet, nobody asks, nobody is heard: all who wait get their turn.
    fn calm_down(&mut self) -> Result<(), Violation> {
        if self.trouble {
            self.recover()?;
        }
        self.step(Input::Override(None))?;
        self.step(Input::Windows(Vec::new()))?;
        self.step(Input::Policy(Box::new(policy())))?;
        (self.level, self.load_ratio, self.blind_until) = (Level::Quiet, 0.1, 0);
        self.causes.clear();
        for _ in 0..QUIET_TICKS {
            (self.mono, self.wall) = (self.mono + 2_000, self.wall + 2_000);
            let conditions = self.conditions(self.mono);
            self.step(Input::Tick(Some(conditions)))?;
            self.settle()?;
            if self.scheduler.ledger().queued_count() == 0 {
                return self.same_as_on_disk();
            }
        }
        let waiting = self.scheduler.ledger().queued_count();
        Err(broken(15, format!("{waiting} still wait after a long quiet time")))
    }
}
