//! What the scheduler should be doing, written down a second time and as simply as can be: no indexes, no order that is kept, every
//! question answered by looking at all. It judges each step by its inputs and events, and never looks into the scheduler for an answer.

mod grants;
mod judge;

use super::{moment, secs};
use crate::lease::invariants::Violation;
use crate::lease::*;
use crate::quiet::Level;
use crate::units::{Now, WallTime};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// What a lease is doing.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Doing {
    Waits,
    Runs,
    /// Stands still since then.
    Stands(Moment),
    /// Is to be given back by then.
    LetsGo(Moment),
    Over,
}

/// One lease, as far as it matters.
#[derive(Clone, Debug)]
pub(super) struct Mine {
    pub(super) id: u64,
    pub(super) secret: u64,
    pub(super) request: Request,
    pub(super) doing: Doing,
    pub(super) units: u32,
    pub(super) token: u64,
    pub(super) asked: Moment,
    pub(super) granted: Moment,
    reached: bool,
    pub(super) lives_until: Moment,
    by: Rule,
    grace: Duration,
    // What a restart knows of the times.
    asked_wall: WallTime,
    granted_wall: WallTime,
    changed_wall: WallTime,
}

impl Mine {
    pub(super) fn held(&self) -> bool {
        !matches!(self.doing, Doing::Waits | Doing::Over)
    }

    pub(super) fn waits(&self) -> bool {
        self.doing == Doing::Waits
    }

    pub(super) fn name(&self) -> LeaseName {
        LeaseName { id: LeaseId(self.id), secret: self.secret }
    }

    fn start_by(&self) -> Option<Moment> {
        let request = &self.request;
        request.deadline.map(|by| self.asked.plus(by.saturating_sub(request.expected_duration)))
    }

    /// Lower is served first: two hours of waiting weigh as much as one step of priority.
    fn place(&self) -> (Moment, u64) {
        (place(self.asked, self.request.priority), self.id)
    }
}

fn place(asked: Moment, priority: Priority) -> Moment {
    match priority {
        Priority::Low => asked,
        Priority::Normal => asked.minus(secs(7_200)),
        Priority::High => asked.minus(secs(14_400)),
    }
}

/// How to take one change back.
enum Undo {
    Lease(u64, Option<Mine>),
    Orders(Option<Override>, Vec<Window>),
}

pub(super) struct Naive {
    pub(super) leases: BTreeMap<u64, Mine>,
    pub(super) policy: Policy,
    pub(super) switch: Option<Override>,
    pub(super) windows: Vec<Window>,
    pub(super) storage_works: bool,
    /// The newest true conditions.
    conditions: Option<Conditions>,
    /// Signals that were in the way since the host was QUIET.
    disturbed: BTreeSet<Text>,
    busy_since: Option<Moment>,
    panicked: Option<Moment>,
    /// When a look last showed that the machine is needed; when work last went on; how often that was too early.
    needed: Option<Moment>,
    resumed: Option<Moment>,
    relapses: u32,
    stepped: Moment,
    spared_until: Option<Moment>,
    /// Thousandths of a question that each holder has left, and when that was so.
    patience: HashMap<Text, (u64, Moment)>,
    /// Who must not be overtaken any more.
    kept: Option<u64>,
    look_due: bool,
    highest_token: u64,
    sequence: u64,
    freezes: u64,
    thaws: u64,
    /// Freezes and thaws that are on disk.
    balance_settled: (u64, u64),
    undo: Vec<Undo>,
}

pub(super) fn broken(invariant: u8, text: impl Into<String>) -> Violation {
    Violation { invariant, text: text.into() }
}

/// A finding with its number unless this holds.
fn ensure(holds: bool, invariant: u8, text: impl FnOnce() -> String) -> Result<(), Violation> {
    if holds { Ok(()) } else { Err(broken(invariant, text())) }
}

impl Naive {
    /// After the first event, the start of the daemon.
    pub(super) fn new(now: Now, policy: Policy) -> Self {
        Self {
            leases: BTreeMap::new(),
            policy,
            switch: None,
            windows: Vec::new(),
            storage_works: true,
            conditions: None,
            disturbed: BTreeSet::new(),
            busy_since: None,
            panicked: None,
            needed: None,
            resumed: None,
            relapses: 0,
            stepped: moment(now),
            spared_until: None,
            patience: HashMap::new(),
            kept: None,
            look_due: true,
            highest_token: 0,
            sequence: 1,
            freezes: 0,
            thaws: 0,
            balance_settled: (0, 0),
            undo: Vec::new(),
        }
    }

    fn lease(&self, id: LeaseId) -> Option<&Mine> {
        self.leases.get(&id.0)
    }

    pub(super) fn held(&self) -> impl Iterator<Item = &Mine> {
        self.leases.values().filter(|mine| mine.held())
    }

    pub(super) fn waiting(&self) -> impl Iterator<Item = &Mine> {
        self.leases.values().filter(|mine| mine.waits())
    }

    fn used(&self) -> u32 {
        self.held().map(|mine| mine.units).sum()
    }

    /// The one that a holder's key stands for.
    fn keyed(&self, request: &Request) -> Option<&Mine> {
        let key = request.key.as_ref()?;
        let same =
            |mine: &&Mine| mine.request.key.as_ref() == Some(key) && mine.request.holder == request.holder;
        self.leases.values().find(same)
    }

    pub(super) fn is_spared(&self) -> bool {
        self.spared_until.is_some()
    }

    /// Everything up to here is on disk.
    pub(super) fn settle(&mut self) {
        self.undo.clear();
        self.balance_settled = (self.freezes, self.thaws);
    }

    pub(super) fn forget(&mut self, id: LeaseId) {
        self.leases.remove(&id.0);
    }

    /// What is not on disk did not happen; but who was heard was heard.
    pub(super) fn roll_back(&mut self, sequence: u64) {
        while let Some(undo) = self.undo.pop() {
            match undo {
                Undo::Orders(switch, windows) => (self.switch, self.windows) = (switch, windows),
                Undo::Lease(id, before) => {
                    let now = self.leases.remove(&id);
                    if let Some(mut before) = before {
                        if let Some(now) = now {
                            before.lives_until = before.lives_until.max(now.lives_until);
                            before.reached = now.reached;
                        }
                        self.leases.insert(id, before);
                    }
                }
            }
        }
        (self.freezes, self.thaws) = self.balance_settled;
        self.sequence = sequence;
        (self.kept, self.look_due) = (None, true);
    }

    /// The daemon is gone and begins anew with what is on disk. Its first event follows.
    pub(super) fn restart(&mut self, now: Now, policy: Policy, sequence: u64, token: u64) {
        self.roll_back(sequence);
        let leases = std::mem::take(&mut self.leases);
        let (switch, windows) = (self.switch.take(), std::mem::take(&mut self.windows));
        let (freezes, thaws) = (self.freezes, self.thaws);
        *self = Self::new(now, policy);
        (self.leases, self.switch, self.windows) = (leases, switch, windows);
        (self.freezes, self.thaws, self.balance_settled) = (freezes, thaws, (freezes, thaws));
        (self.sequence, self.highest_token) = (sequence + 1, token);
        let mono = moment(now);
        let ago = |wall: WallTime| Moment(mono.0 - (now.wall.0 - wall.0).max(0));
        let mut latest = Moment(i64::MIN);
        for mine in self.leases.values_mut() {
            mine.asked = ago(mine.asked_wall);
            mine.granted = ago(mine.granted_wall);
            mine.lives_until = mono.plus(self.policy.ttl);
            mine.reached = false;
            let changed = ago(mine.changed_wall);
            match &mut mine.doing {
                Doing::Stands(since) => *since = changed,
                Doing::LetsGo(until) => *until = changed.plus(mine.grace),
                Doing::Waits => {
                    latest = latest.max(mine.asked);
                    mine.asked = latest;
                }
                _ => {}
            }
        }
    }

    /// Compares with what the scheduler holds. Expiry first: `jumped` tells that a clock was set in this step.
    pub(super) fn compare(&self, scheduler: &Scheduler, jumped: bool) -> Result<(), Violation> {
        let mut mine = self.leases.values();
        for entry in scheduler.ledger().entries() {
            let id = entry.lease.id.0;
            let own = mine.next().filter(|own| own.id == id);
            let Some(own) = own else { return Err(broken(4, format!("lease {id} came by no event"))) };
            let lease = &entry.lease;
            let phase = match (&lease.phase, own.doing) {
                (Phase::Queued, Doing::Waits) => 0,
                (Phase::Active { paused: None, .. }, Doing::Runs) => 1,
                (Phase::Active { paused: Some(_), .. }, Doing::Stands(_)) => 1,
                (Phase::Revoking { .. }, Doing::LetsGo(_)) => 2,
                (Phase::Ended { .. }, Doing::Over) => 0,
                (_, Doing::Over) => return Err(broken(3, format!("lease {id} lives after its end"))),
                (phase, doing) => return Err(broken(4, format!("lease {id} is {phase:?}, not {doing:?}"))),
            };
            if phase == 1 && entry.expires != own.lives_until {
                let (is, not) = (entry.expires.0, own.lives_until.0);
                let number = if jumped { 14 } else { 2 };
                return Err(broken(number, format!("lease {id} would expire at {is}, not at {not}")));
            }
            if phase > 0 && (lease.held_units() != own.units || lease.token() != Some(Token(own.token))) {
                return Err(broken(4, format!("lease {id} has other units or another token: {lease:?}")));
            }
        }
        ensure(mine.next().is_none(), 4, || "a lease is gone without an event".to_owned())
    }

    /// Whoever was asked to stand still and not to go on again does so, and nobody else.
    pub(super) fn balance(&self, scheduler: &Scheduler) -> Result<(), Violation> {
        let paused = |entry: &&Entry| matches!(entry.lease.phase, Phase::Active { paused: Some(_), .. });
        let frozen = scheduler.ledger().held().filter(paused).count() as u64;
        let (freezes, thaws) = (self.freezes, self.thaws);
        ensure(freezes - thaws == frozen, 12, || {
            format!("{freezes} freezes and {thaws} thaws, but {frozen} frozen")
        })
    }
}
