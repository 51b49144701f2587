//! Leases in the daemon: the core's scheduler behind a lock, and the thread that makes its events durable before they are answered.
//!
//! A step is made at once, under the lock; its answer waits until the events before it are on disk. While the thread waits for the disk,
//! further steps gather, and share the next fsync. Nothing that only lets go waits for a disk: heartbeats, expiry and what PANIC asks for
//! go on while it is slow or full.

mod desk;
mod writer;

use crate::events::EventLog;
use desk::{Desk, Poll};
use lowtide_collectors::{LeasedWork, Work};
use lowtide_core::lease::Edge;
use lowtide_core::lease::{
    Conditions, Input, LeaseId, Moment, Phase, Policy, Record, Refusal, Reply, Scheduler, Totals,
};
use lowtide_core::state::HostState;
use lowtide_store::{LeaseStore, StoreError};
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::oneshot;

/// Answers that wait for the disk at once. More means that the disk does not keep up; the rest is told to come again.
const WAITING_MAX: usize = 16_384;

/// Leases that are waited for by long polls at once.
const POLLS_MAX: usize = 4_096;

/// Long polls of one lease at once: its holder needs one.
const POLLS_OF_ONE_MAX: usize = 16;

/// What leases run with.
#[derive(Clone, Debug)]
pub struct LeaseSettings {
    /// Folder of the file of leases and of the mark of tokens.
    pub data_dir: PathBuf,
    /// The operator's numbers.
    pub policy: Policy,
    /// Events of the audit log that are kept.
    pub events_kept: u64,
    /// Time between two looks at the host while work runs that can be stopped at once; `None`: the tick alone decides.
    pub look_every: Option<Duration>,
}

/// Why there is no answer of the scheduler.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LeaseError {
    /// The disk is full: what was asked could not be written down, and does not hold.
    #[error("what was asked cannot be written down: {0}")]
    Full(String),
    /// The file of leases cannot be read or written.
    #[error("the file of leases cannot be used: {0}")]
    Unavailable(String),
    /// The lease has ended, which could not be written down.
    #[error("the lease has ended, but that cannot be written down: {0}")]
    EndedUnwritten(String),
    /// More requests wait for the disk than may.
    #[error("too many requests wait for the disk")]
    Busy,
    /// The daemon is stopping.
    #[error("the daemon is stopping")]
    Stopping,
}

/// Numbers of the moment, for the daemon's own series and its health.
#[derive(Clone, Copy, Debug, Default)]
pub struct LeaseFacts {
    /// Leases that are held.
    pub held: usize,
    /// Of these, how many stand still.
    pub paused: usize,
    /// Requests that wait.
    pub queued: usize,
    /// Units that are held.
    pub used: u32,
    /// Units that may be held now.
    pub capacity: u32,
    /// How often what was answered.
    pub totals: Totals,
    /// Events of the audit log, ever.
    pub events: u64,
    /// Commits to disk since the start.
    pub commits: u64,
    /// Events that are not on disk yet.
    pub unwritten: usize,
    /// Invariants that were found not to hold since the start.
    pub violations: u64,
    /// Whether events can be made durable.
    pub storage_works: bool,
}

/// What the lock guards and the threads share.
struct Inner {
    desk: Mutex<Desk>,
    /// Wakes the writing thread.
    work: Condvar,
    /// Wakes the thread of fast looks: there is work that can be stopped at once.
    reached: Condvar,
    /// Where the work of leases runs, as their holders say.
    places: Arc<LeasedWork>,
    events: Arc<EventLog>,
}

/// The handle. Cheap to clone.
#[derive(Clone)]
pub struct Leases {
    inner: Arc<Inner>,
    /// For reading the log; `None` until the file could be opened.
    store: Arc<Mutex<Option<Arc<LeaseStore>>>>,
    thread: Arc<Mutex<Option<JoinHandle<()>>>>,
}

impl fmt::Debug for Leases {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Leases").finish_non_exhaustive()
    }
}

impl Leases {
    /// Reads what was stored and starts the writing thread. A file that cannot be used now is tried again: until then every question is
    /// answered by an error that says why.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(
        settings: LeaseSettings,
        events: Arc<EventLog>,
        places: Arc<LeasedWork>,
    ) -> std::io::Result<Self> {
        let (work, reached) = (Condvar::new(), Condvar::new());
        let inner = Arc::new(Inner { desk: Mutex::new(Desk::new()), work, reached, places, events });
        let store = Arc::new(Mutex::new(None));
        let thread = writer::start(Arc::clone(&inner), Arc::clone(&store), settings)?;
        Ok(Self { inner, store, thread: Arc::new(Mutex::new(Some(thread))) })
    }

    fn desk(&self) -> MutexGuard<'_, Desk> {
        self.inner.desk()
    }

    /// Asks the scheduler for something; the answer comes when it is durable.
    ///
    /// # Errors
    /// When it cannot be made durable, or the daemon stops.
    pub async fn ask(&self, input: Input) -> Result<Reply, LeaseError> {
        let (reply, durable) = {
            let mut desk = self.desk();
            if let Some(error) = desk.cannot(&input) {
                return Err(error);
            }
            let lets_go = matches!(input, Input::Release { .. } | Input::Revoke { .. });
            let reached = matches!(input, Input::Heartbeat { reached: true, .. });
            let reply = desk.step(input)?;
            let durable = match reply {
                // While the disk does not work a holder is told all the same that it is heard.
                Reply::Directive(_) if desk.trouble.is_some() => None,
                _ => desk.durable(depends_on(&reply))?,
            };
            if desk.has_work() {
                self.inner.work.notify_one();
            }
            if reached {
                self.inner.reached.notify_one();
            }
            (reply, durable.map(|durable| (durable, lets_go)))
        };
        let Some((durable, lets_go)) = durable else { return Ok(reply) };
        match durable.await {
            Ok(Ok(())) => Ok(reply),
            Ok(Err(LeaseError::Full(text) | LeaseError::Unavailable(text))) if lets_go => {
                Err(LeaseError::EndedUnwritten(text))
            }
            Ok(Err(error)) => Err(error),
            Err(_) => Err(LeaseError::Stopping),
        }
    }

    /// Takes in what a tick found out. Never waits for the disk.
    pub fn tick(&self, state: &HostState, week_minute: Option<u16>) -> LeaseFacts {
        let conditions = Box::new(Conditions::of(state, week_minute));
        let mut desk = self.desk();
        let facts = desk.tick(conditions);
        desk.keep_places(&self.inner.places);
        if desk.has_work() {
            self.inner.work.notify_one();
        }
        facts
    }

    /// The work of a lease runs there: what it uses is told apart from the load of others while it is held.
    pub fn place(&self, id: LeaseId, work: Work) {
        self.inner.places.set(id.0, work);
    }

    /// Where the work of leases runs.
    pub(crate) fn places(&self) -> &LeasedWork {
        &self.inner.places
    }

    /// Takes in what a fast look showed; `None` when nothing is in the way. Never waits for the disk.
    pub(crate) fn edge(&self, edge: Option<Edge>) {
        let mut desk = self.desk();
        desk.edge(edge);
        if desk.has_work() {
            self.inner.work.notify_one();
        }
    }

    /// Whether there is work that can be stopped at once.
    pub(crate) fn has_reached(&self) -> bool {
        self.desk().has_reached()
    }

    /// Waits until there is work that can be stopped at once; false when the daemon stops.
    pub(crate) fn wait_for_reached(&self) -> bool {
        let idle = |desk: &mut Desk| !desk.stopping && !desk.has_reached();
        let waited = self.inner.reached.wait_while(self.desk(), idle);
        !waited.unwrap_or_else(PoisonError::into_inner).stopping
    }

    /// Numbers of this moment.
    #[must_use]
    pub fn facts(&self) -> LeaseFacts {
        self.desk().facts()
    }

    /// Looks at the scheduler. What is seen is on disk before this returns, except while the disk does not work. `look` must be short.
    ///
    /// # Errors
    /// When there is no scheduler yet because its file cannot be read.
    pub async fn look<T>(
        &self,
        look: impl FnOnce(&mut Scheduler, lowtide_core::units::Now) -> T,
    ) -> Result<T, LeaseError> {
        let (seen, durable) = {
            let mut desk = self.desk();
            let seen = desk.look(look)?;
            let sequence = desk.sequence();
            (seen, desk.durable(sequence))
        };
        if let Ok(Some(durable)) = durable {
            let _ = durable.await;
        }
        Ok(seen)
    }

    /// Looks at the scheduler without waiting for the disk: for what adds to an answer that is durable already. `look` must be short.
    ///
    /// # Errors
    /// As [`look`](Self::look).
    pub fn glance<T>(
        &self,
        look: impl FnOnce(&mut Scheduler, lowtide_core::units::Now) -> T,
    ) -> Result<T, LeaseError> {
        self.desk().look(look)
    }

    /// Resolves when something happens to a lease; `None` when too many wait for that, or there is no such lease.
    #[must_use]
    pub fn next_event(&self, id: LeaseId) -> Option<oneshot::Receiver<()>> {
        let mut desk = self.desk();
        if desk.polls.len() >= POLLS_MAX && !desk.polls.contains_key(&id) {
            return None;
        }
        let polls = desk.polls.entry(id).or_default();
        // Those that gave up, of a lease to which nothing happens.
        polls.retain(|poll| !poll.0.is_closed());
        if polls.len() >= POLLS_OF_ONE_MAX {
            return None;
        }
        let (told, hears) = oneshot::channel();
        polls.push(Poll(told));
        Some(hears)
    }

    /// Events of the audit log after a number, oldest first; of one lease if one is named. Blocks.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn log(&self, after: u64, limit: usize, lease: Option<LeaseId>) -> Result<Vec<Record>, LeaseError> {
        self.read(|store| store.events(after, limit, lease))
    }

    /// The newest events up to a number, newest first. Blocks.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn newest_log(&self, up_to: u64, limit: usize) -> Result<Vec<Record>, LeaseError> {
        self.read(|store| store.newest_events(up_to, limit))
    }

    fn read<T>(&self, read: impl FnOnce(&LeaseStore) -> Result<T, StoreError>) -> Result<T, LeaseError> {
        let store = self.store.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let Some(store) = store else {
            return Err(LeaseError::Unavailable("it could not be opened yet".to_owned()));
        };
        read(&store).map_err(trouble)
    }

    /// Whether events can be made durable; if not, why, since when.
    #[must_use]
    pub fn trouble(&self) -> Option<(String, Moment)> {
        self.desk().trouble.as_ref().map(|trouble| (trouble.error.to_string(), trouble.since))
    }

    /// What the last violation of an invariant was, if there was one.
    #[must_use]
    pub fn violation(&self) -> Option<String> {
        self.desk().violation.clone()
    }

    /// Decides by these numbers from now on.
    pub fn set_policy(&self, policy: Policy) {
        let _ = self.desk().step(Input::Policy(Box::new(policy)));
        self.inner.work.notify_one();
    }

    /// Writes what is left and ends the thread. Blocks.
    pub fn stop(&self) {
        self.desk().stopping = true;
        self.inner.work.notify_one();
        self.inner.reached.notify_all();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread
            && thread.join().is_err()
        {
            tracing::error!("the thread that writes leases panicked");
        }
    }
}

impl Inner {
    fn desk(&self) -> MutexGuard<'_, Desk> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn trouble(error: StoreError) -> LeaseError {
    match error {
        StoreError::Full(text) => LeaseError::Full(text),
        other => LeaseError::Unavailable(other.to_string()),
    }
}

/// The event that must be on disk before this may be told.
fn depends_on(reply: &Reply) -> u64 {
    match reply {
        Reply::Lease { lease, .. } | Reply::Ended(lease) => lease.last_event,
        Reply::Refused(Refusal::Over(lease) | Refusal::StillQueued(lease)) => lease.last_event,
        // That it is to stand still or to be given back is worth knowing at once; that it was granted is not to be relied on before.
        Reply::Directive(instruction) => match instruction.lease.phase {
            Phase::Active { paused: None, .. } => instruction.lease.last_event,
            _ => 0,
        },
        Reply::Done => u64::MAX,
        Reply::Denied(_) | Reply::Refused(_) => 0,
    }
}
