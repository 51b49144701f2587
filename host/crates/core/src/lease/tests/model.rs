//! A complete search of a small world with stateright: three clients, two units of capacity, leases that live for two ticks, and a disk, a
//! daemon and a clock that fail at any point. Each state holds the real scheduler; two states are the same when nothing that can still
//! happen tells them apart: times count from now, and numbers of leases, tokens and events not at all.
//!
//! Nothing cuts the depth. What makes the world finite: a client has one lease or request at a time and waits for the answer to what it
//! asked, at most [`PENDING_MAX`] events wait for the disk before it takes or refuses them, no ends are remembered once they are on disk, and
//! the clock is wrong by an hour at most, while the daemon starts or for one tick. The first two clients are alike, so worlds in which they
//! have changed places are one.

use super::{asks, clocks, moment, secs, text};
use crate::lease::invariants::{self, Watch};
use crate::lease::*;
use crate::quiet::Level;
use crate::units::{Now, WallTime};
use stateright::{Checker, HasDiscoveries, Model, Property};
use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};
use std::mem;

/// What each client asks for. The last one asks for all, so that something is kept for it.
const UNITS: [u32; 3] = [1, 1, 2];

const HOLDERS: [&str; 3] = ["a", "b", "c"];

const TICK_MS: i64 = 2_000;

const HOUR_MS: i64 = 3_600_000;

const TTL_MS: i64 = 2 * TICK_MS;

/// Waiting longer than this changes nothing more: it is when something is kept for who waits.
const AGE_MAX: i64 = TICK_MS;

/// As many events as wait for the disk before it must say something.
const PENDING_MAX: usize = 2;

fn policy() -> Policy {
    Policy {
        capacity_units: 2,
        ttl: secs(4),
        reserve_after: secs(2),
        revoke_grace: secs(2),
        requests_per_second: 1_000_000,
        requests_burst: 1_000_000,
        ..Policy::default()
    }
}

#[derive(Clone, Debug, PartialEq)]
enum Action {
    Ask(usize),
    Heartbeat(usize),
    Release(usize),
    Revoke(usize),
    /// Time passes by one tick.
    Tick,
    /// The disk takes all events.
    Commit,
    /// The disk refuses all events.
    Refuse,
    /// The daemon dies and starts again after so many ticks, when the clock is wrong by so many hours.
    Restart(i64, i64),
}

#[derive(Clone, Debug)]
struct World {
    scheduler: Scheduler,
    /// The events that are on disk, folded.
    disk: Ledger,
    meta: Meta,
    pending: Vec<Record>,
    /// The lease that each client has or waits for.
    leases: [Option<LeaseName>; 3],
    /// Clients that wait for the answer that it is over.
    leaving: [bool; 3],
    mono: i64,
    /// By how much the wall clock is wrong.
    wrong: i64,
    /// The highest token that is on disk, and so may have been told.
    highest: Token,
    secret: u64,
    /// What must not be, and is.
    broken: Option<String>,
}

#[derive(Clone)]
struct State {
    world: Arc<World>,
    /// All of the world that matters.
    key: Arc<[i64]>,
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let World { broken, leases, pending, .. } = &*self.world;
        write!(f, "{broken:?} {leases:?} {pending:?}")
    }
}

impl PartialEq for State {
    fn eq(&self, other: &Self) -> bool {
        self.key == other.key
    }
}

impl Hash for State {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.key.hash(state);
    }
}

impl From<World> for State {
    fn from(world: World) -> Self {
        let undone = world.undone();
        let key = |order| world.key(order, undone.as_ref());
        let key = key([0, 1, 2]).min(key([1, 0, 2]));
        Self { world: Arc::new(world), key: key.into() }
    }
}

fn client_of(entry: &Entry) -> usize {
    HOLDERS.iter().position(|holder| *holder == &*entry.lease.request.holder).unwrap()
}

impl World {
    fn new() -> Self {
        let (mono, policy) = (20_000_000, policy());
        let now = clocks(mono, mono);
        let empty =
            || Ledger::restored([], Meta::default(), BTreeMap::new(), now, policy.ttl, policy.hold_max);
        let (scheduler, record) = Scheduler::start(now, empty(), policy.clone(), Token(0), 1);
        let mut world = Self {
            scheduler,
            disk: empty(),
            meta: Meta::default(),
            pending: vec![record],
            leases: [None; 3],
            leaving: [false; 3],
            mono,
            wrong: 0,
            highest: Token(0),
            secret: 0,
            broken: None,
        };
        world.commit();
        world.tick();
        world
    }

    fn now(&self) -> Now {
        clocks(self.mono, self.mono + self.wrong)
    }

    fn ensure(&mut self, holds: bool, text: impl FnOnce() -> String) {
        if !holds && self.broken.is_none() {
            self.broken = Some(text());
        }
    }

    fn get(&self, id: LeaseId) -> Option<&Entry> {
        self.scheduler.ledger().get(id)
    }

    /// A step of the real scheduler, with every check.
    fn step(&mut self, input: Input) -> Reply {
        let now = self.now();
        let mut watch = Watch::new(&self.scheduler);
        let before: Vec<Entry> = self.scheduler.ledger().entries().cloned().collect();
        let effects = self.scheduler.step(now, input);
        let checked = watch
            .step(&self.scheduler, moment(now), &effects.records)
            .and_then(|()| invariants::check(&self.scheduler, moment(now)));
        self.ensure(checked.is_ok(), || format!("{checked:?}"));
        let used: u32 = self.scheduler.ledger().held().map(|entry| entry.lease.held_units()).sum();
        self.ensure(used <= 2, || format!("{used} of 2 units are held"));
        let highest = self.highest;
        for record in &effects.records {
            if let Event::Granted { token, .. } = record.event {
                self.ensure(token > highest, || format!("{token:?} after {highest:?}"));
            }
        }
        for entry in before {
            let is = self.get(entry.lease.id).map(|entry| entry.lease.state());
            let was = entry.lease.state();
            let alive = entry.lease.is_held() && entry.expires >= Moment(self.mono);
            let right = match is {
                None => false,
                Some("expired") if was == "active" => !alive,
                Some(is) if matches!(entry.lease.phase, Phase::Ended { .. }) => is == was,
                Some(_) => true,
            };
            self.ensure(right, || format!("what was {was} until {:?} is {is:?}", entry.expires));
        }
        self.pending.extend(effects.records);
        effects.reply
    }

    fn tick(&mut self) {
        let conditions = Conditions {
            sequence: 1,
            at: Moment(self.mono),
            score: 5,
            level: Level::Quiet,
            causes: Vec::new(),
            load_ratio: 0.0,
            quiet_in: None,
            week_minute: None,
        };
        self.step(Input::Tick(Some(Box::new(conditions))));
    }

    /// A tick passes. If a clock is set in it, that makes no difference.
    fn pass(&mut self) {
        self.mono += TICK_MS;
        let mut others: Vec<Self> = [-HOUR_MS, HOUR_MS].map(|wrong| Self { wrong, ..self.clone() }).into();
        self.tick();
        for other in &mut others {
            other.tick();
            other.wrong = 0;
            let same = other.times() == self.times() && other.broken == self.broken;
            self.ensure(same, || "a clock that was set makes a difference".to_owned());
        }
    }

    /// What every lease is doing, and until when.
    fn times(&self) -> Vec<(LeaseId, &'static str, Moment, Moment, Moment)> {
        let entries = self.scheduler.ledger().entries();
        let times = |entry: &Entry| (entry.requested, entry.expires, entry.changed);
        let times = entries.map(|entry| (entry.lease.id, entry.lease.state(), times(entry)));
        times.map(|(id, state, (asked, expires, changed))| (id, state, asked, expires, changed)).collect()
    }

    fn ask(&mut self, client: usize) {
        self.secret += 1;
        let request = Request { wait: true, ..asks(HOLDERS[client], UNITS[client]) };
        match self.step(Input::Request { request: Box::new(request), secret: self.secret }) {
            Reply::Lease { lease, repeated: false } => self.leases[client] = Some(lease.name()),
            other => self.ensure(false, || format!("{other:?}")),
        }
    }

    fn heartbeat(&mut self, client: usize) {
        let Some(name) = self.leases[client] else { return };
        match self.step(Input::Heartbeat { name, holder: Some(text(HOLDERS[client])), reached: false }) {
            Reply::Directive(_) => {
                let until = self.get(name.id).map(|entry| entry.expires);
                self.ensure(until == Some(Moment(self.mono + TTL_MS)), || format!("heard until {until:?}"));
            }
            Reply::Refused(Refusal::StillQueued(_)) => {}
            // The answer comes when it is on disk.
            Reply::Refused(Refusal::Over(_)) => self.leaving[client] = true,
            // Its end is on disk, and forgotten.
            Reply::Refused(Refusal::Unknown) => self.leases[client] = None,
            other => self.ensure(false, || format!("{other:?}")),
        }
    }

    fn release(&mut self, client: usize) {
        let Some(name) = self.leases[client] else { return };
        self.leaving[client] = true;
        let (note, usage) = (text(""), Usage::default());
        self.step(Input::Release { name, holder: None, done: true, note, usage });
    }

    fn revoke(&mut self, client: usize) {
        let Some(name) = self.leases[client] else { return };
        self.step(Input::Revoke { name, why: text(""), grace: None });
    }

    fn commit(&mut self) {
        let at = Moment(self.mono);
        for record in self.pending.drain(..) {
            self.disk.apply(at, &record, secs(4));
            if let Event::Granted { token, .. } = record.event {
                self.highest = self.highest.max(token);
            }
        }
        let durable = self.scheduler.ledger().sequence();
        self.meta = self.scheduler.ledger().meta().clone();
        self.scheduler.settle(durable);
        self.disk.settle(durable);
        self.scheduler.ledger.forget(0, durable);
        self.disk.forget(0, durable);
        self.same_as_on_disk();
        for client in 0..3 {
            if mem::take(&mut self.leaving[client]) {
                self.leases[client] = None;
            }
        }
    }

    /// What is on disk folds to the state.
    fn same_as_on_disk(&mut self) {
        let (leases, meta, runs) = self.scheduler.ledger().stored();
        let (folded, stored, folded_runs) = self.disk.stored();
        let same = leases == folded && runs == folded_runs && meta.sequence == stored.sequence;
        self.ensure(same, || format!("{leases:?} is not {folded:?}"));
    }

    /// Whoever waits for an answer is told that it failed.
    fn fail_requests(&mut self) {
        self.leaving = [false; 3];
        for lease in &mut self.leases {
            *lease = lease.filter(|name| self.disk.get(name.id).is_some());
        }
    }

    fn refuse(&mut self) {
        self.step(Input::Storage { works: false });
        let lives: Vec<(LeaseId, Moment)> =
            self.scheduler.ledger().held().map(|entry| (entry.lease.id, entry.expires)).collect();
        self.scheduler.roll_back(self.disk.sequence());
        self.same_as_on_disk();
        for (id, until) in lives {
            let shorter = self.get(id).is_some_and(|entry| entry.lease.is_held() && entry.expires < until);
            self.ensure(!shorter, || format!("{id:?} lives shorter"));
        }
        let events: Vec<Event> = self.pending.drain(..).map(|record| record.event).collect();
        self.pending = self.scheduler.shed(self.now(), events);
        let lets_go = |event: &Event| matches!(event, Event::Ended { .. } | Event::Revoking { .. });
        let only = self.pending.iter().all(|record| lets_go(&record.event));
        self.ensure(only, || "something was granted again".to_owned());
        self.fail_requests();
        self.step(Input::Storage { works: true });
    }

    fn restart(&mut self) {
        let (now, policy) = (self.now(), policy());
        let (leases, stored, runs) = self.disk.stored();
        let meta = Meta { last_id: self.meta.last_id, last_token: self.meta.last_token, ..stored };
        let (token, epoch) = (meta.last_token, meta.epoch);
        let leases = leases.iter().map(|lease| Lease::clone(lease));
        let ledger = Ledger::restored(leases, meta, runs, now, policy.ttl, policy.hold_max);
        let (scheduler, record) = Scheduler::start(now, ledger, policy, token, epoch);
        (self.scheduler, self.pending) = (scheduler, vec![record]);
        self.fail_requests();
        // All that was told is there, with a full life before it.
        self.commit();
        let until = Moment(self.mono + TTL_MS);
        let full = self.scheduler.ledger().held().all(|entry| entry.expires == until);
        self.ensure(full, || "a restart makes a life shorter".to_owned());
        self.tick();
    }

    /// What the scheduler goes back to if the disk refuses what waits for it.
    fn undone(&self) -> Option<Ledger> {
        (!self.pending.is_empty()).then(|| {
            let mut undone = self.scheduler.ledger().clone();
            undone.roll_back(self.disk.sequence());
            undone
        })
    }

    /// All that can make a difference from now on, with the clients in this order.
    fn key(&self, order: [usize; 3], undone: Option<&Ledger>) -> Vec<i64> {
        let client =
            |entry: &Entry| order.iter().position(|client| *client == client_of(entry)).unwrap() as i64;
        let mut key = vec![
            i64::from(self.broken.is_some()),
            i64::from(self.scheduler.look_again),
            self.scheduler.reserved.and_then(|id| self.get(id)).map_or(-1, client),
        ];
        for client in order {
            let name = self.leases[client];
            let entry = name.and_then(|name| self.get(name.id)).map(|entry| entry.lease.name());
            key.extend([
                i64::from(self.leaving[client]),
                i64::from(name.is_some()),
                i64::from(name == entry),
            ]);
        }
        for record in &self.pending {
            let entry = record.event.lease().and_then(|id| self.get(id));
            key.extend([record.event.word().len() as i64, entry.map_or(-1, client)]);
        }
        for ledger in [Some(self.scheduler.ledger()), undone].into_iter().flatten() {
            key.push(-7);
            for own in order {
                let entries = ledger.entries().filter(|entry| client_of(entry) == own);
                entries.for_each(|entry| self.push_entry(&mut key, entry));
                key.push(-8);
            }
            key.extend(ledger.waiting().map(client));
        }
        key
    }

    fn push_entry(&self, key: &mut Vec<i64>, entry: &Entry) {
        // A restart goes by the wall clock.
        let age = |then: Moment, wall: WallTime| {
            [(self.mono - then.0).min(AGE_MAX), (self.now().wall.0 - wall.0).min(AGE_MAX)]
        };
        key.push(i64::from(entry.lease.last_event > self.disk.sequence()));
        let left = (entry.expires.0 - self.mono).max(-1);
        match &entry.lease.phase {
            Phase::Queued => {
                key.push(0);
                key.extend(age(entry.requested, entry.lease.requested));
            }
            Phase::Active { .. } => key.extend([1, left]),
            Phase::Revoking { since, .. } => {
                key.extend([2, left]);
                key.extend(age(entry.changed, *since));
            }
            Phase::Ended { .. } => key.push(3),
        }
    }
}

struct Leases;

impl Model for Leases {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![World::new().into()]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        let world = &state.world;
        if world.broken.is_some() {
            return;
        }
        for wrong in [-1, 0, 1] {
            actions.extend([Action::Restart(0, wrong), Action::Restart(1, wrong)]);
        }
        if !world.pending.is_empty() {
            actions.extend([Action::Commit, Action::Refuse]);
        }
        if world.pending.len() >= PENDING_MAX {
            return;
        }
        actions.push(Action::Tick);
        for client in (0..3).filter(|client| !world.leaving[*client]) {
            if world.leases[client].is_some() {
                actions.extend([Action::Heartbeat(client), Action::Release(client), Action::Revoke(client)]);
            } else {
                actions.push(Action::Ask(client));
            }
        }
    }

    fn next_state(&self, state: &State, action: Action) -> Option<State> {
        let mut world = World::clone(&state.world);
        match action {
            Action::Ask(client) => world.ask(client),
            Action::Heartbeat(client) => world.heartbeat(client),
            Action::Release(client) => world.release(client),
            Action::Revoke(client) => world.revoke(client),
            Action::Tick => world.pass(),
            Action::Commit => world.commit(),
            Action::Refuse => world.refuse(),
            Action::Restart(ticks, hours) => {
                (world.mono, world.wrong) = (world.mono + ticks * TICK_MS, hours * HOUR_MS);
                world.restart();
                world.wrong = 0;
            }
        }
        Some(world.into())
    }

    fn properties(&self) -> Vec<Property<Self>> {
        fn any(state: &State, wanted: &str) -> bool {
            state.world.scheduler.ledger().entries().any(|entry| entry.lease.state() == wanted)
        }
        vec![
            Property::always("nothing is broken", |_, state: &State| state.world.broken.is_none()),
            Property::sometimes("two wait", |_, state: &State| {
                state.world.scheduler.ledger().queued_count() == 2
            }),
            Property::sometimes("one is kept for", |_, state: &State| {
                state.world.scheduler.reserved.is_some()
            }),
            Property::sometimes("one has expired", |_, state: &State| any(state, "expired")),
            Property::sometimes("one is being revoked", |_, state: &State| any(state, "revoking")),
        ]
    }
}

#[test]
fn nothing_is_broken_in_any_state_of_a_small_world() {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let checker = Leases.checker().threads(threads).finish_when(HasDiscoveries::AnyFailures);
    let checker = checker.spawn_bfs().join();
    let (states, depth) = (checker.unique_state_count(), checker.max_depth());
    println!("{states} states, the furthest {depth} steps away");
    checker.assert_properties();
    assert!(checker.is_done() && states > 1_000, "{states} states");
}
