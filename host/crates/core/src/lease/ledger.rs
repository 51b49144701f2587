//! Who holds and who waits: the state that the events fold to, with the indexes that make decisions cheap. It changes by
//! [`Ledger::apply`] and by heartbeats only, and decides nothing. What is not yet on disk can be taken back.

use super::moment::Moment;
use super::types::{
    Constraints, Ending, Event, Lease, LeaseId, Override, Phase, Priority, Progress, Record, Text, Token,
    Window,
};
use crate::limits;
use crate::units::{Now, WallTime};
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::ops::Bound;
use std::sync::Arc;
use std::time::Duration;

/// A lease with what only this run of the daemon knows of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// What is on disk.
    pub lease: Arc<Lease>,
    /// When it was asked for.
    pub requested: Moment,
    /// When it was granted; when it was asked for, before that.
    pub granted: Moment,
    /// When its holder was last heard.
    pub heard: Moment,
    /// When it ends unless its holder is heard before; it does not while it stands still.
    pub expires: Moment,
    /// When it began to stand still or to be given back.
    pub changed: Moment,
    /// How far the work is.
    pub progress: Option<Box<Progress>>,
    /// Why it stands still or has fewer units than it was granted, while it does.
    pub eased_by: Option<Text>,
    /// Whether it can be stopped within a fraction of a second: someone waits for what it is to do, and does it.
    pub reached: bool,
}

impl Entry {
    /// When something is to be done about it although nobody asks. `hold_max` as in the policy.
    fn due(&self, hold_max: Duration) -> Option<Moment> {
        let request = &self.lease.request;
        match &self.lease.phase {
            Phase::Queued => request.wait_max.map(|wait| self.requested.plus(wait)),
            Phase::Active { paused, .. } => {
                let end = match paused {
                    Some(_) => self.changed.plus(request.max_freeze),
                    None => self.expires,
                };
                Some(end.min(self.granted.plus(hold_max)))
            }
            Phase::Revoking { grace, .. } => Some(self.changed.plus(*grace)),
            Phase::Ended { .. } => None,
        }
    }

    /// When it must start at the latest to end by its deadline.
    #[must_use]
    pub fn start_by(&self) -> Option<Moment> {
        let request = &self.lease.request;
        let deadline = request.deadline.filter(|_| self.lease.is_queued())?;
        Some(self.requested.plus(deadline.saturating_sub(request.expected_duration)))
    }

    /// Its place in the queue: the time at which it counts as asked for. Earlier for a higher priority, so that all grow older alike and the
    /// order never changes while they wait.
    #[must_use]
    pub fn place(&self) -> Place {
        place(self.requested, self.lease.request.priority, self.lease.id)
    }
}

/// A place in the queue: lower is served first.
pub type Place = (Moment, LeaseId);

pub(super) fn place(requested: Moment, priority: Priority, id: LeaseId) -> Place {
    let steps = match priority {
        Priority::Low => 0,
        Priority::Normal => 1,
        Priority::High => 2,
    };
    (requested.minus(limits::LEASE_PRIORITY_STEP * steps), id)
}

/// Requests for which the state of the host means the same.
pub(super) type Class = (Priority, Constraints);

/// Who waits in one class.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct ClassQueue {
    /// The first request of each holder, in order: a holder that may hold no more is passed over at once.
    pub(super) heads: BTreeSet<(Place, Text)>,
    pub(super) holders: HashMap<Text, BTreeSet<Place>>,
}

impl ClassQueue {
    fn insert(&mut self, place: Place, holder: &Text) {
        let own = self.holders.entry(Text::clone(holder)).or_default();
        let head = own.first().copied();
        own.insert(place);
        if head.is_none_or(|head| place < head) {
            if let Some(head) = head {
                self.heads.remove(&(head, Text::clone(holder)));
            }
            self.heads.insert((place, Text::clone(holder)));
        }
    }

    fn remove(&mut self, place: Place, holder: &Text) {
        let Some(own) = self.holders.get_mut(holder) else { return };
        own.remove(&place);
        if self.heads.remove(&(place, Text::clone(holder)))
            && let Some(next) = own.first()
        {
            self.heads.insert((*next, Text::clone(holder)));
        }
        if own.is_empty() {
            self.holders.remove(holder);
        }
    }
}

/// How much a holder has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Share {
    /// Leases that it holds.
    pub held: usize,
    /// Units that it holds.
    pub units: u32,
    /// Requests of it that wait.
    pub queued: usize,
}

/// What is stored of the ledger besides leases.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Meta {
    /// Number of the newest event.
    pub sequence: u64,
    /// The highest number of a lease.
    pub last_id: LeaseId,
    /// The highest token.
    pub last_token: Token,
    /// Number of the life of the store.
    pub epoch: u32,
    /// The operator's switch.
    pub switch: Option<Override>,
    /// The operator's windows.
    pub windows: Vec<Window>,
}

fn is_paused(lease: &Lease) -> bool {
    matches!(lease.phase, Phase::Active { paused: Some(_), .. })
}

fn is_eased(lease: &Lease) -> bool {
    is_paused(lease) || lease.held_units() < lease.request.units
}

/// A job of a holder.
pub type Job = (Text, Text);

/// How to take one change back.
#[derive(Clone, Debug)]
enum Undo {
    Entry(LeaseId, Option<Entry>),
    Switches(Option<Override>, Vec<Window>, u32),
    Run(Job, Option<WallTime>),
}

/// See the file's head.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    entries: BTreeMap<LeaseId, Entry>,
    meta: Meta,
    /// When each job was last done.
    runs: BTreeMap<Job, WallTime>,
    hold_max: Duration,
    // All that follows can be made from what is above.
    due: BTreeSet<(Moment, LeaseId)>,
    pub(super) queues: BTreeMap<Class, ClassQueue>,
    pub(super) starts: BTreeSet<(Moment, LeaseId)>,
    /// All who wait, in order.
    order: BTreeSet<Place>,
    held: BTreeSet<LeaseId>,
    /// Those that stand still or have fewer units than they were granted: few, and the only ones that can go back up.
    eased: BTreeSet<LeaseId>,
    paused: usize,
    /// Held leases whose work can be stopped at once.
    reached: BTreeSet<LeaseId>,
    ended: BTreeSet<(u64, LeaseId)>,
    keys: HashMap<(Text, Text), LeaseId>,
    shares: BTreeMap<Text, Share>,
    used: u32,
    /// What was changed by each event that may still be taken back, oldest first.
    journal: VecDeque<(u64, Undo)>,
}

impl Ledger {
    /// The ledger as it was stored, at the daemon's start. What was held has `ttl` to be heard again, as if it had just been heard; what
    /// waits keeps its place by the time that has passed on the wall clock.
    #[must_use]
    pub fn restored(
        leases: impl IntoIterator<Item = Lease>,
        meta: Meta,
        runs: BTreeMap<Job, WallTime>,
        now: Now,
        ttl: Duration,
        hold_max: Duration,
    ) -> Self {
        let mut ledger = Self { meta, runs, hold_max, ..Self::default() };
        let mono = Moment::from(now.mono);
        let ago = |wall: WallTime| {
            // A clock that was set back must not make anything wait longer than from now on.
            let age = now.wall.unix_ms().saturating_sub(wall.unix_ms()).max(0);
            Moment(mono.0.saturating_sub(age))
        };
        for lease in leases {
            let requested = ago(lease.requested);
            let changed = match &lease.phase {
                Phase::Active { paused: Some(at), .. } | Phase::Revoking { since: at, .. } => ago(*at),
                _ => mono,
            };
            let granted = lease.granted().map_or(requested, ago);
            let expires = mono.plus(ttl);
            let id = lease.id;
            let entry = Entry {
                lease: Arc::new(lease),
                requested,
                granted,
                heard: mono,
                expires,
                changed,
                progress: None,
                eased_by: None,
                reached: false,
            };
            ledger.entries.insert(id, entry);
        }
        let mut latest = Moment(i64::MIN);
        for entry in ledger.entries.values_mut().filter(|entry| entry.lease.is_queued()) {
            // Nor must a clock that was set let a later request overtake an earlier one.
            latest = latest.max(entry.requested);
            (entry.requested, entry.granted) = (latest, latest);
        }
        for entry in std::mem::take(&mut ledger.entries).into_values() {
            ledger.put(entry.lease.id, Some(entry));
        }
        ledger
    }

    /// The lease, waiting request or remembered end of this number.
    #[must_use]
    pub fn get(&self, id: LeaseId) -> Option<&Entry> {
        self.entries.get(&id)
    }

    /// Everything that is held, waits or is remembered, by number.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.entries.values()
    }

    /// The leases that are held, by number.
    pub fn held(&self) -> impl DoubleEndedIterator<Item = &Entry> {
        self.held.iter().filter_map(|id| self.entries.get(id))
    }

    /// The leases that stand still or have fewer units than they were granted, by number.
    pub fn eased(&self) -> impl Iterator<Item = &Entry> {
        self.eased.iter().filter_map(|id| self.entries.get(id))
    }

    /// How many leases stand still.
    #[must_use]
    pub fn paused_count(&self) -> usize {
        self.paused
    }

    /// What has ended lately, newest first.
    pub fn ended(&self) -> impl Iterator<Item = &Entry> {
        self.ended.iter().rev().filter_map(|(_, id)| self.entries.get(id))
    }

    /// Who waits, in the order in which they are served.
    pub fn waiting(&self) -> impl Iterator<Item = &Entry> {
        self.order.iter().filter_map(|(_, id)| self.entries.get(id))
    }

    /// Who waits behind a place, in order.
    pub fn waiting_after(&self, after: Option<Place>) -> impl Iterator<Item = &Entry> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        self.order.range((from, Bound::Unbounded)).filter_map(|(_, id)| self.entries.get(id))
    }

    /// The newest lease of a holder's key.
    #[must_use]
    pub fn keyed(&self, holder: &Text, key: &Text) -> Option<&Entry> {
        self.get(*self.keys.get(&(Text::clone(holder), Text::clone(key)))?)
    }

    /// What a holder has.
    #[must_use]
    pub fn share(&self, holder: &str) -> Share {
        self.shares.get(holder).copied().unwrap_or_default()
    }

    /// All who hold or wait, by name.
    pub fn shares(&self) -> impl Iterator<Item = (&Text, &Share)> {
        self.shares.iter()
    }

    /// When a job was last done, if it was.
    #[must_use]
    pub fn last_run(&self, job: &Job) -> Option<WallTime> {
        self.runs.get(job).copied()
    }

    /// Units that are held.
    #[must_use]
    pub fn used(&self) -> u32 {
        self.used
    }

    /// How many leases are held.
    #[must_use]
    pub fn held_count(&self) -> usize {
        self.held.len()
    }

    /// How many requests wait.
    #[must_use]
    pub fn queued_count(&self) -> usize {
        self.order.len()
    }

    /// How many wait before this place, counted up to `most`.
    #[must_use]
    pub fn ahead_of(&self, place: Place, most: usize) -> usize {
        self.order.range(..place).take(most).count()
    }

    /// What is stored besides leases.
    #[must_use]
    pub fn meta(&self) -> &Meta {
        &self.meta
    }

    /// Number of the newest event.
    #[must_use]
    pub fn sequence(&self) -> u64 {
        self.meta.sequence
    }

    /// The next lease number and token. They are used up by the event that carries them.
    #[must_use]
    pub fn next(&self) -> (LeaseId, Token) {
        (LeaseId(self.meta.last_id.0 + 1), Token(self.meta.last_token.0 + 1))
    }

    /// The first lease that something is to be done about at `now`.
    #[must_use]
    pub fn first_due(&self, now: Moment) -> Option<LeaseId> {
        // A lease lives up to and including the moment at which it expires.
        self.due.first().filter(|(at, _)| *at < now).map(|(_, id)| *id)
    }

    /// From now on no lease is held for longer than this.
    pub(super) fn hold_at_most(&mut self, hold_max: Duration) {
        if self.hold_max != hold_max {
            self.hold_max = hold_max;
            let due = self.entries.iter().filter_map(|(id, entry)| Some((entry.due(hold_max)?, *id)));
            self.due = due.collect();
        }
    }

    /// A lease that was heard lives at least until then. Heartbeats are not on disk: after a restart all have their full time anew.
    pub(super) fn hear(&mut self, id: LeaseId, now: Moment, until: Moment) {
        let hold_max = self.hold_max;
        let Some(entry) = self.entries.get_mut(&id) else { return };
        let before = entry.due(hold_max);
        entry.heard = now;
        entry.expires = entry.expires.max(until);
        let after = entry.due(hold_max);
        if before != after {
            before.map(|at| self.due.remove(&(at, id)));
            after.map(|at| self.due.insert((at, id)));
        }
    }

    /// Whether a lease can be stopped at once; its holder says so with each heartbeat.
    pub(super) fn reach(&mut self, id: LeaseId, reached: bool) {
        if let Some(entry) = self.entries.get_mut(&id) {
            entry.reached = reached;
            if reached && entry.lease.is_held() {
                self.reached.insert(id);
            } else {
                self.reached.remove(&id);
            }
        }
    }

    /// The held leases that can be stopped at once, by number.
    pub fn reached(&self) -> impl Iterator<Item = &Entry> {
        self.reached.iter().filter_map(|id| self.entries.get(id))
    }

    /// What its holder tells of the work.
    pub(super) fn note(&mut self, id: LeaseId, progress: Progress) {
        if let Some(entry) = self.entries.get_mut(&id) {
            entry.progress = Some(Box::new(progress));
        }
    }

    /// Takes over the next event. The only way in which leases come, change and go. An event that does not fit is without effect, which the
    /// invariants would show.
    pub fn apply(&mut self, now: Moment, record: &Record, ttl: Duration) {
        debug_assert_eq!(record.sequence, self.meta.sequence + 1, "events are applied in their order");
        self.meta.sequence = record.sequence;
        let at = record.at;
        match &record.event {
            Event::Queued { id, secret, request, decision } => {
                self.meta.last_id = self.meta.last_id.max(*id);
                let lease = Lease {
                    id: *id,
                    secret: *secret,
                    request: request.clone(),
                    requested: at,
                    first_event: record.sequence,
                    last_event: record.sequence,
                    decision: decision.clone(),
                    phase: Phase::Queued,
                };
                self.come(now, lease, ttl);
            }
            Event::Granted { id, token, asked, decision } => {
                self.meta.last_id = self.meta.last_id.max(*id);
                self.meta.last_token = self.meta.last_token.max(*token);
                let phase = |units| Phase::Active {
                    token: *token,
                    granted: at,
                    by: decision.rule,
                    units,
                    paused: None,
                };
                match asked {
                    Some((secret, request)) => {
                        let lease = Lease {
                            id: *id,
                            secret: *secret,
                            request: request.clone(),
                            requested: at,
                            first_event: record.sequence,
                            last_event: record.sequence,
                            decision: decision.clone(),
                            phase: phase(request.units),
                        };
                        self.come(now, lease, ttl);
                    }
                    None => self.change(*id, record.sequence, |entry, lease| {
                        if lease.is_queued() {
                            (entry.granted, entry.heard) = (now, now);
                            entry.expires = now.plus(ttl);
                            lease.decision = decision.clone();
                            lease.phase = phase(lease.request.units);
                        }
                    }),
                }
            }
            Event::Paused { id, why } => self.change(*id, record.sequence, |entry, lease| {
                if let Phase::Active { paused, .. } = &mut lease.phase {
                    entry.changed = now;
                    entry.eased_by = Some(Text::clone(why));
                    *paused = Some(at);
                }
            }),
            Event::Resumed { id } => self.change(*id, record.sequence, |entry, lease| {
                if let Phase::Active { paused, .. } = &mut lease.phase {
                    entry.expires = entry.expires.max(now.plus(ttl));
                    *paused = None;
                }
            }),
            Event::Resized { id, units: to, why } => self.change(*id, record.sequence, |entry, lease| {
                if let Phase::Active { units, .. } = &mut lease.phase {
                    entry.eased_by = (*to < lease.request.units).then(|| Text::clone(why));
                    *units = *to;
                }
            }),
            Event::Revoking { id, why, grace } => self.change(*id, record.sequence, |entry, lease| {
                if let Phase::Active { token, granted, units, .. } = lease.phase {
                    entry.changed = now;
                    let (grace, why) = (*grace, Text::clone(why));
                    lease.phase = Phase::Revoking { token, granted, units, since: at, grace, why };
                }
            }),
            Event::Ended { id, ending } => {
                self.change(*id, record.sequence, |_, lease| {
                    let (granted, token) = (lease.granted(), lease.token());
                    if !matches!(lease.phase, Phase::Ended { .. }) {
                        lease.phase = Phase::Ended { at, granted, token, ending: ending.clone() };
                    }
                });
                if matches!(ending, Ending::Released { .. }) {
                    self.ran(*id, record);
                }
            }
            Event::Overridden { switch } => {
                self.remember_switches();
                self.meta.switch.clone_from(switch);
            }
            Event::Windows { windows } => {
                self.remember_switches();
                self.meta.windows.clone_from(windows);
            }
            Event::Restarted { token, epoch } => {
                self.remember_switches();
                self.meta.last_token = self.meta.last_token.max(*token);
                self.meta.epoch = *epoch;
            }
        }
    }

    /// What is on disk up to this event can no longer be taken back.
    pub fn settle(&mut self, sequence: u64) {
        while self.journal.front().is_some_and(|(changed_by, _)| *changed_by <= sequence) {
            self.journal.pop_front();
        }
    }

    /// Takes back all events after this one. Numbers and tokens that they used are not used again: someone may have seen them.
    pub fn roll_back(&mut self, sequence: u64) {
        while self.journal.back().is_some_and(|(changed_by, _)| *changed_by > sequence) {
            let Some((_, undo)) = self.journal.pop_back() else { return };
            match undo {
                Undo::Entry(id, before) => {
                    // What was heard meanwhile was heard.
                    let heard =
                        self.entries.get(&id).map(|entry| (entry.heard, entry.expires, entry.reached));
                    self.put(
                        id,
                        before.map(|mut entry| {
                            if let Some((heard, expires, reached)) = heard {
                                (entry.heard, entry.expires) = (heard, entry.expires.max(expires));
                                entry.reached = reached;
                            }
                            entry
                        }),
                    );
                }
                Undo::Switches(switch, windows, epoch) => {
                    (self.meta.switch, self.meta.windows, self.meta.epoch) = (switch, windows, epoch);
                }
                Undo::Run(job, Some(at)) => {
                    self.runs.insert(job, at);
                }
                Undo::Run(job, None) => {
                    self.runs.remove(&job);
                }
            }
        }
        self.meta.sequence = self.meta.sequence.min(sequence);
    }

    /// Forgets the oldest of what has ended, so that `keep` are left, and no event after `settled`. Returns what was forgotten.
    pub fn forget(&mut self, keep: usize, settled: u64) -> Vec<LeaseId> {
        let mut forgotten = Vec::new();
        while self.ended.len() > keep
            && let Some((ended_by, id)) = self.ended.first().copied()
            && ended_by <= settled
        {
            self.put(id, None);
            forgotten.push(id);
        }
        forgotten
    }

    fn come(&mut self, now: Moment, lease: Lease, ttl: Duration) {
        let id = lease.id;
        let entry = Entry {
            lease: Arc::new(lease),
            requested: now,
            granted: now,
            heard: now,
            expires: now.plus(ttl),
            changed: now,
            progress: None,
            eased_by: None,
            reached: false,
        };
        let before = self.put(id, Some(entry));
        self.journal.push_back((self.meta.sequence, Undo::Entry(id, before)));
    }

    fn change(&mut self, id: LeaseId, sequence: u64, change: impl FnOnce(&mut Entry, &mut Lease)) {
        let Some(mut entry) = self.entries.get(&id).cloned() else { return };
        let mut lease = (*entry.lease).clone();
        change(&mut entry, &mut lease);
        lease.last_event = sequence;
        entry.lease = Arc::new(lease);
        let before = self.put(id, Some(entry));
        self.journal.push_back((sequence, Undo::Entry(id, before)));
    }

    /// Notes that a job was done.
    fn ran(&mut self, id: LeaseId, record: &Record) {
        let Some(entry) = self.entries.get(&id) else { return };
        let request = &entry.lease.request;
        let job = (Text::clone(&request.holder), Text::clone(&request.job_type));
        if self.runs.len() >= limits::LEASE_RUNS_KEPT && !self.runs.contains_key(&job) {
            let oldest = self.runs.iter().min_by_key(|(_, at)| **at).map(|(job, _)| job.clone());
            let oldest = oldest.and_then(|oldest| self.runs.remove_entry(&oldest));
            self.journal.extend(oldest.map(|(job, at)| (record.sequence, Undo::Run(job, Some(at)))));
        }
        let before = self.runs.insert(job.clone(), record.at);
        self.journal.push_back((record.sequence, Undo::Run(job, before)));
    }

    fn remember_switches(&mut self) {
        let meta = &self.meta;
        let undo = Undo::Switches(meta.switch.clone(), meta.windows.clone(), meta.epoch);
        self.journal.push_back((self.meta.sequence, undo));
    }

    /// Replaces an entry and keeps the indexes in step. Returns what was there.
    fn put(&mut self, id: LeaseId, entry: Option<Entry>) -> Option<Entry> {
        let before = self.entries.remove(&id);
        if let Some(before) = &before {
            self.unlink(before);
        }
        if let Some(entry) = entry {
            self.link(&entry);
            self.entries.insert(id, entry);
        }
        before
    }

    fn link(&mut self, entry: &Entry) {
        let lease = &entry.lease;
        let (id, request) = (lease.id, &lease.request);
        if let Some(due) = entry.due(self.hold_max) {
            self.due.insert((due, id));
        }
        if let Some(key) = &request.key {
            self.keys.insert((Text::clone(&request.holder), Text::clone(key)), id);
        }
        match &lease.phase {
            Phase::Queued => {
                self.order.insert(entry.place());
                self.shares.entry(Text::clone(&request.holder)).or_default().queued += 1;
                let class = (request.priority, request.constraints);
                self.queues.entry(class).or_default().insert(entry.place(), &request.holder);
                self.starts.extend(entry.start_by().map(|at| (at, id)));
            }
            Phase::Active { units, .. } | Phase::Revoking { units, .. } => {
                self.held.insert(id);
                if is_eased(lease) {
                    self.eased.insert(id);
                }
                if entry.reached {
                    self.reached.insert(id);
                }
                self.paused += usize::from(is_paused(lease));
                self.used += units;
                let share = self.shares.entry(Text::clone(&request.holder)).or_default();
                (share.held, share.units) = (share.held + 1, share.units + units);
            }
            Phase::Ended { .. } => {
                self.ended.insert((lease.last_event, id));
            }
        }
    }

    fn unlink(&mut self, entry: &Entry) {
        let lease = &entry.lease;
        let (id, request) = (lease.id, &lease.request);
        if let Some(due) = entry.due(self.hold_max) {
            self.due.remove(&(due, id));
        }
        if let Some(key) = &request.key {
            self.keys.remove(&(Text::clone(&request.holder), Text::clone(key)));
        }
        match &lease.phase {
            Phase::Queued => {
                self.order.remove(&entry.place());
                let class = (request.priority, request.constraints);
                if let Some(queue) = self.queues.get_mut(&class) {
                    queue.remove(entry.place(), &request.holder);
                    if queue.heads.is_empty() {
                        self.queues.remove(&class);
                    }
                }
                if let Some(at) = entry.start_by() {
                    self.starts.remove(&(at, id));
                }
                self.unshare(&request.holder, |share| share.queued -= 1);
            }
            Phase::Active { units, .. } | Phase::Revoking { units, .. } => {
                self.held.remove(&id);
                self.eased.remove(&id);
                self.reached.remove(&id);
                self.paused -= usize::from(is_paused(lease));
                self.used -= units;
                let units = *units;
                self.unshare(&request.holder, |share| {
                    (share.held, share.units) = (share.held - 1, share.units - units);
                });
            }
            Phase::Ended { .. } => {
                self.ended.remove(&(lease.last_event, id));
            }
        }
    }

    fn unshare(&mut self, holder: &Text, change: impl FnOnce(&mut Share)) {
        let Some(share) = self.shares.get_mut(holder) else { return };
        change(share);
        if *share == Share::default() {
            self.shares.remove(holder);
        }
    }

    /// All that is stored, as one value: for comparing.
    #[must_use]
    pub fn stored(&self) -> (Vec<Arc<Lease>>, Meta, BTreeMap<Job, WallTime>) {
        let leases = self.entries.values().map(|entry| Arc::clone(&entry.lease)).collect();
        (leases, self.meta.clone(), self.runs.clone())
    }
}

/// What tests look at, and break.
#[cfg(test)]
pub(super) struct Parts<'a> {
    pub(super) meta: &'a mut Meta,
    pub(super) runs: &'a mut BTreeMap<Job, WallTime>,
    pub(super) due: &'a mut BTreeSet<(Moment, LeaseId)>,
    pub(super) held: &'a mut BTreeSet<LeaseId>,
    pub(super) keys: &'a mut HashMap<(Text, Text), LeaseId>,
    pub(super) used: &'a mut u32,
}

#[cfg(test)]
impl Ledger {
    pub(super) fn journal_len(&self) -> usize {
        self.journal.len()
    }

    pub(super) fn parts(&mut self) -> Parts<'_> {
        let Self { meta, runs, due, held, keys, used, .. } = self;
        Parts { meta, runs, due, held, keys, used }
    }

    /// Changes a lease by no event.
    pub(super) fn tamper(&mut self, id: LeaseId, change: impl FnOnce(&mut Entry, &mut Lease)) {
        let Some(mut entry) = self.entries.get(&id).cloned() else { return };
        let mut lease = (*entry.lease).clone();
        change(&mut entry, &mut lease);
        entry.lease = Arc::new(lease);
        self.put(id, Some(entry));
    }
}
