//! History in the daemon: what every tick measured goes to a file, off the tick's thread, and is read back together with the window of the
//! last hour as one series.
//!
//! The tick hands its state over and goes on: a queue with a bound lies between it and the thread that writes. A disk that is slow, full,
//! locked or broken costs history, which is counted and shown, and nothing else.

mod query;
mod recorder;
mod writer;

pub use query::{Asked, HistoryError, Laying};
pub use writer::QuietNow;

use crate::events::{Event, EventLog};
use lowtide_core::state::HostState;
use lowtide_core::units::WallTime;
use lowtide_store::Quarantine;
use lowtide_store::history::{Damage, HistoryReader, HistorySize, Keep};
use std::fmt;
use std::path::PathBuf;
use std::sync::mpsc::{SyncSender, TrySendError};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// Ticks that wait for the thread that writes: eight minutes at 2 s, longer than any disk stalls that still works.
const QUEUE_MAX: usize = 256;

/// How long a question about the past waits for the file to be opened, at the start of the daemon.
const OPENING_MAX: Duration = Duration::from_secs(3);

/// Readers of the file that are kept open: more at once are opened anew.
const READERS_KEPT: usize = 2;

/// What history runs with.
#[derive(Clone)]
pub struct HistorySettings {
    /// The file.
    pub file: PathBuf,
    /// Time between two ticks that are recorded; at least that of a tick.
    pub interval: Duration,
    /// What is kept.
    pub keep: Keep,
    /// How a disk is spared that does not bear many writes; `None` records every interval at once.
    pub low_wear: Option<LowWear>,
    /// The JSON document of an event, as the event stream shows it.
    pub document: fn(&Event) -> serde_json::Value,
}

/// How a disk is spared.
#[derive(Clone, Copy, Debug)]
pub struct LowWear {
    /// Time between two writes. What was measured since the last is lost at a power cut or when the daemon is killed.
    pub flush: Duration,
    /// Bytes written a day at most. When more would be, fewer ticks are recorded.
    pub bytes_per_day: u64,
}

impl fmt::Debug for HistorySettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HistorySettings").field("file", &self.file).finish_non_exhaustive()
    }
}

/// Numbers of the moment, for the daemon's own series.
#[derive(Clone, Copy, Debug, Default)]
pub struct HistoryFacts {
    /// Ticks that were recorded since the start.
    pub recorded_ticks: u64,
    /// Ticks that were to be recorded and are lost, since the start.
    pub lost_ticks: u64,
    /// Recorded ticks that are not in the file yet.
    pub waiting_ticks: u64,
    /// Ticks that the thread that writes has not looked at yet: more than a few when the disk is slow.
    pub queued_ticks: u64,
    /// Events that are lost since the start.
    pub lost_events: u64,
    /// Series that are not kept because the catalogue is full.
    pub left_out_series: u64,
    /// Bytes written to the disk since the start, at most.
    pub written_bytes: u64,
    /// Of so many ticks that are due one is recorded; above 1 when fewer bytes may be written than would be.
    pub thinning: u32,
    /// The file.
    pub size: HistorySize,
    /// Rows that were found damaged since the start.
    pub damaged_rows: u64,
    /// Whether the file can be written.
    pub storage_works: bool,
}

/// What a person is told of history.
#[derive(Clone, Debug, Default)]
pub struct HistoryHealth {
    /// Numbers of the moment.
    pub facts: HistoryFacts,
    /// Why the file cannot be used now, if it cannot.
    pub trouble: Option<String>,
    /// The broken file that was put aside since the start, if there was one.
    pub quarantine: Option<Quarantine>,
    /// The first of the damaged rows.
    pub damages: Vec<Damage>,
    /// What would be lost now if the power went, in words.
    pub at_risk: String,
}

/// What the threads share.
#[derive(Debug, Default)]
struct Status {
    health: HistoryHealth,
    /// Ticks that found no place in the queue.
    refused_ticks: u64,
    /// Ticks in the queue.
    queued_ticks: u64,
    /// The quiet interval that goes on.
    quiet_now: Option<QuietNow>,
    /// Readers that nobody uses, and one to copy; empty until the file could be opened.
    readers: Vec<HistoryReader>,
    make_reader: Option<HistoryReader>,
}

pub(crate) enum Message {
    Tick(Arc<HostState>),
    Stop,
}

/// The handle. Cheap to clone.
#[derive(Clone)]
pub struct History {
    status: Arc<Mutex<Status>>,
    /// Told when the file was opened, or could not be.
    opened: Arc<Condvar>,
    queue: SyncSender<Message>,
    thread: Arc<Mutex<Option<JoinHandle<()>>>>,
}

impl fmt::Debug for History {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("History").finish_non_exhaustive()
    }
}

impl History {
    /// Starts the thread that writes. The file is opened by it: the daemon is up without it.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(settings: HistorySettings, events: Arc<EventLog>) -> std::io::Result<Self> {
        let (queue, inbox) = std::sync::mpsc::sync_channel(QUEUE_MAX);
        let status = Arc::new(Mutex::new(Status::default()));
        let opened = Arc::new(Condvar::new());
        let thread = writer::start(settings, inbox, Arc::clone(&status), Arc::clone(&opened), events)?;
        Ok(Self { status, opened, queue, thread: Arc::new(Mutex::new(Some(thread))) })
    }

    fn status(&self) -> MutexGuard<'_, Status> {
        self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes over the state of a tick. Never waits: when the queue is full the tick is lost, and counted.
    pub fn tick(&self, state: &Arc<HostState>) -> HistoryFacts {
        // Counted before it is sent: it may be taken at once.
        self.status().queued_ticks += 1;
        let sent = self.queue.try_send(Message::Tick(Arc::clone(state)));
        let mut status = self.status();
        if let Err(error) = sent {
            status.queued_ticks -= 1;
            status.refused_ticks += u64::from(matches!(error, TrySendError::Full(_)));
        }
        status.facts()
    }

    /// Numbers of this moment.
    #[must_use]
    pub fn facts(&self) -> HistoryFacts {
        self.status().facts()
    }

    /// How it is, for people.
    #[must_use]
    pub fn health(&self) -> HistoryHealth {
        let status = self.status();
        HistoryHealth { facts: status.facts(), ..status.health.clone() }
    }

    /// The quiet interval that goes on; `None` when the host is not QUIET.
    #[must_use]
    pub fn quiet_now(&self) -> Option<QuietNow> {
        self.status().quiet_now
    }

    /// The oldest moment that something is kept of, and the oldest of which every tick is.
    #[must_use]
    pub fn held_since(&self) -> (Option<WallTime>, Option<WallTime>) {
        let size = self.status().health.facts.size;
        let raw = size.raw_since_ms.map(WallTime);
        let rolled = size.rolled_since_day.map(|day| WallTime(day * 86_400_000));
        (rolled.into_iter().chain(raw).min(), raw)
    }

    /// Why nothing of the file can be read, if that is so. Blocks while the daemon starts: the file is opened beside it.
    #[must_use]
    pub fn unreadable(&self) -> Option<HistoryError> {
        let opening = |status: &mut Status| status.make_reader.is_none() && status.health.trouble.is_none();
        let waited = self.opened.wait_timeout_while(self.status(), OPENING_MAX, opening);
        let status = waited.unwrap_or_else(PoisonError::into_inner).0;
        status.make_reader.is_none().then(|| {
            let why = status.health.trouble.clone();
            HistoryError::Unavailable(why.unwrap_or_else(|| "it has not been opened yet".to_owned()))
        })
    }

    /// Uses a reader of the file. Blocks.
    ///
    /// # Errors
    /// When the file could not be opened yet, or cannot be read.
    pub fn read<T>(
        &self,
        use_it: impl FnOnce(&mut HistoryReader) -> Result<T, lowtide_store::StoreError>,
    ) -> Result<T, HistoryError> {
        if let Some(error) = self.unreadable() {
            return Err(error);
        }
        let mut taken = {
            let mut status = self.status();
            status.readers.pop().or_else(|| status.make_reader.as_ref().map(HistoryReader::another))
        };
        let Some(reader) = &mut taken else {
            return Err(HistoryError::Unavailable("the daemon is stopping".to_owned()));
        };
        let result = use_it(reader).map_err(|error| HistoryError::Unavailable(error.to_string()));
        let mut status = self.status();
        // After the end none is kept.
        if status.readers.len() < READERS_KEPT && status.make_reader.is_some() {
            status.readers.extend(taken.take());
        }
        result
    }

    /// Writes what is left and ends the thread. Blocks.
    pub fn stop(&self) {
        let _ = self.queue.send(Message::Stop);
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread
            && thread.join().is_err()
        {
            tracing::error!("the thread that writes history panicked");
        }
    }
}

impl Status {
    fn facts(&self) -> HistoryFacts {
        let facts = self.health.facts;
        let lost_ticks = facts.lost_ticks + self.refused_ticks;
        HistoryFacts { lost_ticks, queued_ticks: self.queued_ticks, ..facts }
    }
}
