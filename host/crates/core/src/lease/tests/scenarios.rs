//! Scenes: one each for what the contract promises. The invariants are checked after every step of every scene.

mod edge;
mod granting;
mod ladder;
mod life;
mod queue;
mod storage;

use super::{asks, cause, clocks, hours, moment, secs, text};
use crate::lease::invariants::{self, Watch};
use crate::lease::*;
use crate::quiet::Level;
use std::collections::BTreeMap;

/// Wednesday, noon.
const NOON: u16 = (2 * 24 + 12) * 60;

/// A host whose state can be set, with its scheduler and its clocks.
struct Host {
    scheduler: Scheduler,
    watch: Watch,
    /// Both clocks, in milliseconds.
    mono: i64,
    wall: i64,
    level: Level,
    causes: Vec<(Level, Cause)>,
    load_ratio: f64,
    quiet_in: Option<Duration>,
    week_minute: Option<u16>,
    sequence: u64,
    secret: u64,
    /// All events since the start.
    log: Vec<Record>,
}

impl Host {
    fn quiet() -> Self {
        Self::with(Policy::default())
    }

    /// A quiet host that has ticked once.
    fn with(policy: Policy) -> Self {
        let now = clocks(1_000_000, 1_800_000_000_000);
        let ledger = Ledger::restored([], Meta::default(), BTreeMap::new(), now, policy.ttl, policy.hold_max);
        let (scheduler, record) = Scheduler::start(now, ledger, policy, Token(0), 1);
        let mut host = Self {
            watch: Watch::new(&scheduler),
            scheduler,
            mono: 1_000_000,
            wall: 1_800_000_000_000,
            level: Level::Quiet,
            causes: Vec::new(),
            load_ratio: 0.05,
            quiet_in: None,
            week_minute: Some(NOON),
            sequence: 0,
            secret: 0,
            log: vec![record],
        };
        host.tick();
        host
    }

    fn now(&self) -> Now {
        clocks(self.mono, self.wall)
    }

    fn step(&mut self, input: Input) -> Reply {
        let now = self.now();
        let effects = self.scheduler.step(now, input);
        self.watch.step(&self.scheduler, moment(now), &effects.records).unwrap();
        invariants::check(&self.scheduler, moment(now)).unwrap();
        self.log.extend(effects.records);
        effects.reply
    }

    /// The host is like this from the next tick on.
    fn becomes(&mut self, level: Level, causes: &[(Level, Cause)]) {
        self.level = level;
        self.causes = causes.to_vec();
    }

    /// The host is like this now, because of its processor.
    fn is(&mut self, level: Level) {
        let causes = if level == Level::Quiet { vec![] } else { vec![(level, cause("cpu", 0.9, 0.5))] };
        self.becomes(level, &causes);
        self.tick();
    }

    fn conditions(&mut self) -> Conditions {
        self.sequence += 1;
        Conditions {
            sequence: self.sequence,
            at: Moment(self.mono),
            score: if self.level == Level::Quiet { 5 } else { 70 },
            level: self.level,
            causes: self.causes.clone(),
            load_ratio: self.load_ratio,
            quiet_in: self.quiet_in,
            week_minute: self.week_minute,
        }
    }

    fn tick(&mut self) {
        let conditions = self.conditions();
        self.step(Input::Tick(Some(Box::new(conditions))));
    }

    /// Lets time pass without a step.
    fn later(&mut self, time: Duration) {
        let millis = i64::try_from(time.as_millis()).unwrap();
        (self.mono, self.wall) = (self.mono + millis, self.wall + millis);
    }

    /// Lets time pass with a tick every two seconds, and one at its end.
    fn pass(&mut self, time: Duration) {
        self.pass_while(time, |_| {});
    }

    /// The same while these are heard at every tick.
    fn pass_heard(&mut self, time: Duration, heard: &[&Arc<Lease>]) {
        self.pass_while(time, |host| {
            for lease in heard {
                host.beat(lease);
            }
        });
    }

    fn pass_while(&mut self, time: Duration, mut meanwhile: impl FnMut(&mut Self)) {
        let mut left = time;
        while !left.is_zero() {
            let step = left.min(secs(2));
            left -= step;
            self.later(step);
            self.tick();
            meanwhile(self);
        }
    }

    fn ask(&mut self, request: Request) -> Reply {
        self.secret += 1;
        let secret = self.secret;
        self.step(Input::Request { request: Box::new(request), secret })
    }

    /// Asks for what must be granted at once.
    fn hold(&mut self, request: Request) -> Arc<Lease> {
        match self.ask(request) {
            Reply::Lease { lease, repeated: false } if lease.is_held() => lease,
            other => panic!("not granted: {other:?}"),
        }
    }

    /// Asks for what cannot be granted at once, and waits.
    fn wait(&mut self, request: Request) -> Arc<Lease> {
        match self.ask(Request { wait: true, ..request }) {
            Reply::Lease { lease, repeated: false } if lease.is_queued() => lease,
            other => panic!("not queued: {other:?}"),
        }
    }

    /// Asks for what must be denied.
    fn denied(&mut self, request: Request) -> Decision {
        match self.ask(request) {
            Reply::Denied(decision) => {
                assert!(!decision.rule.grants() && !decision.reasons.is_empty(), "{decision:?}");
                *decision
            }
            other => panic!("not denied: {other:?}"),
        }
    }

    fn beat(&mut self, lease: &Lease) -> Reply {
        let holder = Some(Text::clone(&lease.request.holder));
        self.step(Input::Heartbeat { name: lease.name(), holder, reached: false })
    }

    /// What the holder is told at its heartbeat.
    fn told(&mut self, lease: &Lease) -> Directive {
        match self.beat(lease) {
            Reply::Directive(instruction) => instruction.directive,
            other => panic!("not told what to do: {other:?}"),
        }
    }

    fn release(&mut self, lease: &Lease) -> Reply {
        self.step(Input::Release {
            name: lease.name(),
            holder: None,
            done: true,
            note: text("done"),
            usage: Usage::default(),
        })
    }

    fn revoke(&mut self, lease: &Lease, grace: Option<Duration>) -> Reply {
        self.step(Input::Revoke { name: lease.name(), why: text("the operator needs it"), grace })
    }

    fn switch(&mut self, mode: Mode, lasts: Option<Duration>) {
        let set = self.now().wall;
        let expires = lasts.map(|time| WallTime(self.wall + i64::try_from(time.as_millis()).unwrap()));
        let switch = Override { mode, owner: text("ada"), reason: text("a demonstration"), set, expires };
        self.step(Input::Override(Some(switch)));
    }

    fn policy(&mut self, policy: Policy) {
        self.step(Input::Policy(Box::new(policy)));
    }

    /// The lease as it is now.
    fn see(&self, lease: &Lease) -> Arc<Lease> {
        Arc::clone(&self.scheduler.ledger().get(lease.id).unwrap().lease)
    }

    fn state(&self, lease: &Lease) -> &'static str {
        self.see(lease).state()
    }

    fn used(&self) -> u32 {
        self.scheduler.ledger().used()
    }

    fn capacity(&self) -> u32 {
        self.scheduler.capacity(Moment(self.mono))
    }

    fn ending(&self, lease: &Lease) -> Ending {
        match &self.see(lease).phase {
            Phase::Ended { ending, .. } => ending.clone(),
            other => panic!("not over: {other:?}"),
        }
    }
}

fn low(request: Request) -> Request {
    Request { priority: Priority::Low, ..request }
}

fn high(request: Request) -> Request {
    Request { priority: Priority::High, ..request }
}

fn pausable(request: Request) -> Request {
    Request { pausable: true, ..request }
}

use crate::units::{Now, WallTime};
