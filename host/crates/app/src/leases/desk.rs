//! What the lock guards: the scheduler, what it did that is not on disk yet, and who waits for that.

use super::{LeaseError, LeaseFacts, WAITING_MAX};
use lowtide_clock as clock;
use lowtide_collectors::LeasedWork;
use lowtide_core::lease::invariants::{self, Watch};
use lowtide_core::lease::{
    Conditions, Edge, Ending, Event, Input, Job, Lease, LeaseId, Moment, Record, Reply, Scheduler,
};
use lowtide_core::units::{Now, WallTime};
use lowtide_store::Batch;
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use tokio::sync::oneshot;

/// Ticks between two looks at everything: it costs in proportion to all leases.
const TICKS_A_CHECK: u64 = 30;

/// Leases beyond which everything is not looked at any more, only each step.
const CHECKED_MAX: usize = 10_000;

/// Events that may wait for a disk that does not work. Beyond, running work is no longer paused and resumed; what ends still ends.
const BACKLOG_MAX: usize = 50_000;

/// Someone who waits for something to happen to a lease.
pub(super) struct Poll(pub(super) oneshot::Sender<()>);

/// Since when, and why, events cannot be made durable.
pub(super) struct Trouble {
    pub(super) error: LeaseError,
    pub(super) since: Moment,
}

pub(super) struct Desk {
    /// None until what was stored could be read.
    pub(super) scheduler: Option<Scheduler>,
    watch: Option<Watch>,
    /// Events that are not on disk, oldest first.
    pub(super) unwritten: VecDeque<Arc<Record>>,
    /// Who waits for which event to be on disk.
    pub(super) waiting: Vec<(u64, oneshot::Sender<Result<(), LeaseError>>)>,
    pub(super) polls: HashMap<LeaseId, Vec<Poll>>,
    /// The newest event that is on disk.
    pub(super) durable: u64,
    pub(super) commits: u64,
    /// Ended leases that are no longer kept here and still are on disk.
    forgotten: Vec<LeaseId>,
    pub(super) trouble: Option<Trouble>,
    pub(super) stopping: bool,
    violations: u64,
    pub(super) violation: Option<String>,
    ticks: u64,
}

impl Desk {
    pub(super) fn new() -> Self {
        Self {
            scheduler: None,
            watch: None,
            unwritten: VecDeque::new(),
            waiting: Vec::new(),
            polls: HashMap::new(),
            durable: 0,
            commits: 0,
            forgotten: Vec::new(),
            trouble: None,
            stopping: false,
            violations: 0,
            violation: None,
            ticks: 0,
        }
    }

    /// Begins with what was stored; the first event is already on disk.
    pub(super) fn begin(&mut self, scheduler: Scheduler) {
        self.durable = scheduler.ledger().sequence();
        self.watch = Some(Watch::new(&scheduler));
        self.scheduler = Some(scheduler);
        self.trouble = None;
    }

    fn not_there(&self) -> LeaseError {
        match &self.trouble {
            Some(trouble) => trouble.error.clone(),
            None if self.stopping => LeaseError::Stopping,
            None => LeaseError::Unavailable("it is being read".to_owned()),
        }
    }

    /// Why this cannot be asked now: while the disk does not work nothing new begins.
    pub(super) fn cannot(&self, input: &Input) -> Option<LeaseError> {
        if self.stopping {
            return Some(LeaseError::Stopping);
        }
        if self.scheduler.is_none() {
            return Some(self.not_there());
        }
        let begins = matches!(input, Input::Request { .. } | Input::Override(_) | Input::Windows(_));
        match &self.trouble {
            Some(trouble) if begins => Some(trouble.error.clone()),
            _ if begins && self.waiting.len() >= WAITING_MAX => Some(LeaseError::Busy),
            _ => None,
        }
    }

    /// Makes one step and keeps what it did.
    pub(super) fn step(&mut self, input: Input) -> Result<Reply, LeaseError> {
        if self.scheduler.is_none() {
            return Err(self.not_there());
        }
        let Some(scheduler) = &mut self.scheduler else { return Err(LeaseError::Stopping) };
        // Within the lock, so that time never runs backwards from one step to the next.
        let now = clock::now();
        let effects = scheduler.step(now, input);
        if let Some(watch) = &mut self.watch
            && let Err(violation) = watch.step(scheduler, now.mono.into(), &effects.records)
        {
            self.note_violation(&violation);
        }
        for record in &effects.records {
            self.tell_at_once(&record.event);
        }
        self.unwritten.extend(effects.records.into_iter().map(Arc::new));
        Ok(effects.reply)
    }

    /// Who waits for what held work is to do hears of it before the disk does: it matters within milliseconds. What it then asks for is
    /// answered when it may be told.
    fn tell_at_once(&mut self, event: &Event) {
        if let Event::Paused { id, .. }
        | Event::Resumed { id }
        | Event::Resized { id, .. }
        | Event::Revoking { id, .. }
        | Event::Ended { id, .. } = event
        {
            for poll in self.polls.remove(id).into_iter().flatten() {
                let _ = poll.0.send(());
            }
        }
    }

    /// Makes one step of a fast look.
    pub(super) fn edge(&mut self, edge: Option<Edge>) {
        if self.unwritten.len() < BACKLOG_MAX {
            let _ = self.step(Input::Edge(edge.map(Box::new)));
        }
    }

    /// Whether there is work that can be stopped at once.
    pub(super) fn has_reached(&self) -> bool {
        !self.stopping
            && self.scheduler.as_ref().is_some_and(|scheduler| scheduler.ledger().reached().next().is_some())
    }

    /// Forgets where the work of leases runs that are no longer held.
    pub(super) fn keep_places(&self, places: &LeasedWork) {
        let Some(scheduler) = &self.scheduler else { return };
        let ledger = scheduler.ledger();
        places.retain(|id| ledger.get(LeaseId(id)).is_some_and(|entry| entry.lease.is_held()));
    }

    fn note_violation(&mut self, violation: &invariants::Violation) {
        self.violations += 1;
        let text = format!("invariant {}: {}", violation.invariant, violation.text);
        tracing::error!(
            invariant = violation.invariant,
            found = violation.text,
            "an invariant of leases does not hold; please report this"
        );
        self.violation = Some(text);
    }

    pub(super) fn tick(&mut self, conditions: Box<Conditions>) -> LeaseFacts {
        let news = (self.unwritten.len() < BACKLOG_MAX).then_some(conditions);
        let _ = self.step(Input::Tick(news));
        self.ticks += 1;
        if self.ticks.is_multiple_of(TICKS_A_CHECK) {
            self.check();
        }
        self.facts()
    }

    /// Looks at everything, if there is not too much of it.
    fn check(&mut self) {
        let Some(scheduler) = &self.scheduler else { return };
        let ledger = scheduler.ledger();
        if ledger.held_count() + ledger.queued_count() > CHECKED_MAX {
            return;
        }
        if let Err(violation) = invariants::check(scheduler, clock::mono().into()) {
            self.note_violation(&violation);
        }
    }

    /// Numbers of this moment.
    pub(super) fn facts(&self) -> LeaseFacts {
        let own = LeaseFacts {
            commits: self.commits,
            unwritten: self.unwritten.len(),
            violations: self.violations,
            storage_works: self.trouble.is_none(),
            ..LeaseFacts::default()
        };
        let Some(scheduler) = &self.scheduler else { return own };
        let ledger = scheduler.ledger();
        LeaseFacts {
            held: ledger.held_count(),
            paused: ledger.paused_count(),
            queued: ledger.queued_count(),
            used: ledger.used(),
            capacity: scheduler.capacity(clock::mono().into()),
            totals: *scheduler.totals(),
            events: ledger.sequence(),
            ..own
        }
    }

    pub(super) fn look<T>(&mut self, look: impl FnOnce(&mut Scheduler, Now) -> T) -> Result<T, LeaseError> {
        if self.scheduler.is_none() {
            return Err(self.not_there());
        }
        let Some(scheduler) = &mut self.scheduler else { return Err(LeaseError::Stopping) };
        Ok(look(scheduler, clock::now()))
    }

    pub(super) fn sequence(&self) -> u64 {
        self.scheduler.as_ref().map_or(0, |scheduler| scheduler.ledger().sequence())
    }

    /// A wait for an event to be on disk; `None` when it is, and for what only lets go while the disk does not work.
    pub(super) fn durable(
        &mut self,
        sequence: u64,
    ) -> Result<Option<oneshot::Receiver<Result<(), LeaseError>>>, LeaseError> {
        let sequence = sequence.min(self.sequence());
        if sequence <= self.durable {
            return Ok(None);
        }
        if let Some(trouble) = &self.trouble {
            return Err(match &trouble.error {
                LeaseError::Full(text) | LeaseError::Unavailable(text) => {
                    LeaseError::EndedUnwritten(text.clone())
                }
                other => other.clone(),
            });
        }
        let (told, hears) = oneshot::channel();
        self.waiting.push((sequence, told));
        Ok(Some(hears))
    }

    pub(super) fn has_work(&self) -> bool {
        !self.unwritten.is_empty()
    }

    /// All that is not on disk, as one batch; with `whole`, all leases, for a file that has just been made anew. It stays here until it is
    /// written.
    pub(super) fn batch(&mut self, events_kept: u64, whole: bool) -> Option<Batch> {
        let scheduler = self.scheduler.as_mut()?;
        self.forgotten.extend(scheduler.forget(self.durable));
        let forgotten = self.forgotten.clone();
        let ledger = scheduler.ledger();
        let records: Vec<Arc<Record>> = self.unwritten.iter().map(Arc::clone).collect();
        let touched: BTreeSet<LeaseId> = records.iter().filter_map(|record| record.event.lease()).collect();
        let leases = if whole {
            ledger.entries().map(|entry| Arc::clone(&entry.lease)).collect()
        } else {
            touched.iter().filter_map(|id| ledger.get(*id)).map(|entry| Arc::clone(&entry.lease)).collect()
        };
        let runs = records.iter().filter_map(|record| done(scheduler, record)).collect();
        let meta = ledger.meta().clone();
        // Seldom, because it looks at the index each time.
        let drop_events_to = match meta.sequence.checked_sub(events_kept) {
            Some(old) if self.commits.is_multiple_of(64) => old,
            _ => 0,
        };
        Some(Batch { records, leases, forgotten, runs, meta, drop_events_to })
    }

    /// A batch up to this event is on disk: tell those who waited for it. Returns its events.
    pub(super) fn written(&mut self, up_to: u64, forgotten: usize) -> Vec<(Arc<Record>, Option<Arc<Lease>>)> {
        self.commits += 1;
        self.forgotten.drain(..forgotten);
        self.durable = self.durable.max(up_to);
        let Some(scheduler) = &mut self.scheduler else { return Vec::new() };
        scheduler.settle(up_to);
        let mut told = Vec::new();
        while let Some(record) = self.unwritten.pop_front_if(|record| record.sequence <= up_to) {
            let id = record.event.lease();
            let lease = id.and_then(|id| scheduler.ledger().get(id));
            let lease = lease.map(|entry| Arc::clone(&entry.lease));
            for poll in id.and_then(|id| self.polls.remove(&id)).into_iter().flatten() {
                let _ = poll.0.send(());
            }
            told.push((record, lease));
        }
        // Not in order: who waits for a lease's newest event may have come after one who waits for the newest of all.
        for (_, waiter) in self.waiting.extract_if(.., |(sequence, _)| *sequence <= up_to) {
            let _ = waiter.send(Ok(()));
        }
        self.polls.retain(|_, polls| {
            polls.retain(|poll| !poll.0.is_closed());
            !polls.is_empty()
        });
        told
    }

    /// The disk refused the batch. What is not on disk is taken back, and what only lets go is done again, to be written later.
    pub(super) fn refused(&mut self, error: &LeaseError) {
        let now = clock::now();
        let first = self.trouble.is_none();
        let since = self.trouble.as_ref().map_or(now.mono.into(), |trouble| trouble.since);
        self.trouble = Some(Trouble { error: error.clone(), since });
        for (_, waiter) in self.waiting.drain(..) {
            let _ = waiter.send(Err(error.clone()));
        }
        let Some(scheduler) = &mut self.scheduler else { return };
        if first {
            scheduler.step(now, Input::Storage { works: false });
            scheduler.roll_back(self.durable);
            let events: Vec<Event> = self.unwritten.drain(..).map(|record| record.event.clone()).collect();
            self.unwritten = scheduler.shed(now, events).into_iter().map(Arc::new).collect();
            self.watch = Some(Watch::new(scheduler));
        }
    }

    /// The disk works again.
    pub(super) fn recovered(&mut self) {
        if self.trouble.take().is_some() {
            let _ = self.step(Input::Storage { works: true });
        }
    }
}

/// The job that an event says was done.
fn done(scheduler: &Scheduler, record: &Record) -> Option<(Job, WallTime)> {
    let Event::Ended { id, ending: Ending::Released { .. } } = &record.event else { return None };
    let request = &scheduler.ledger().get(*id)?.lease.request;
    Some(((Arc::clone(&request.holder), Arc::clone(&request.job_type)), record.at))
}
