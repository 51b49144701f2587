//! The thread that writes history. It takes ticks off the queue, writes what is recorded of them, and tidies up between: segments,
//! roll-ups, what is old. When the file cannot be used it keeps what it has, up to a bound, and tries again.

use super::recorder::{Record, Recorder};
use super::{HistorySettings, Message, Status};
use crate::events::{Event, EventKind, EventLog};
use lowtide_clock as clock;
use lowtide_core::lease::Lease;
use lowtide_core::limits;
use lowtide_core::units::{MonoTime, WallTime};
use lowtide_store::history::{EventRow, Frame, HistoryStore, QuietRow, SeriesId};
use lowtide_store::{CHECKED_BYTES_MAX, StoreError};
use std::collections::VecDeque;
use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// Time between two times that what was written is made to survive a power cut, and that the file is tidied.
const SYNC_INTERVAL: Duration = Duration::from_secs(60);

/// Time between two tries to use a file that cannot be used.
const TRY_AGAIN: Duration = Duration::from_secs(2);

/// Records that are kept in memory while the file cannot be used: an hour at one each 5 s.
const WAITING_MAX: usize = 720;

/// Events that are kept so.
const EVENTS_WAITING_MAX: usize = 4_096;

/// Of so many ticks one is recorded at least, however few bytes may be written.
const THINNING_MAX: u32 = 64;

/// Bytes of a page, and of it in the write-ahead log (<https://www.sqlite.org/fileformat.html>).
const PAGE_BYTES: u64 = 4_096;
const LOGGED_PAGE_BYTES: u64 = PAGE_BYTES + 24;

/// The quiet time that goes on, as of the newest tick.
pub type QuietNow = QuietRow;

struct Writer {
    settings: HistorySettings,
    status: Arc<Mutex<Status>>,
    /// Told when the file was opened, or could not be.
    opened: Arc<Condvar>,
    events: Arc<EventLog>,
    recorder: Recorder,
    store: Option<HistoryStore>,
    /// When the file is tried next, while it cannot be used.
    next_try: Option<MonoTime>,
    next_sync: MonoTime,
    /// When the waiting records are written, in the mode that spares the disk.
    next_flush: MonoTime,
    /// Numbers in the file of the recorder's series; `None` where there is no room for one.
    ids: Vec<Option<SeriesId>>,
    generation: u64,
    waiting: VecDeque<Record>,
    waiting_events: VecDeque<EventRow>,
    waiting_quiet: Vec<QuietRow>,
    /// The newest event that was taken.
    newest_event: u64,
    thinning: u32,
    /// Set when a step failed since the last round.
    trouble: Option<StoreError>,
    lost_ticks: u64,
    lost_events: u64,
    recorded: u64,
    written_bytes: u64,
    /// Of these, up to the last flush.
    flushed_bytes: u64,
    verified: bool,
}

pub(super) fn start(
    settings: HistorySettings,
    inbox: Receiver<Message>,
    status: Arc<Mutex<Status>>,
    opened: Arc<Condvar>,
    events: Arc<EventLog>,
) -> io::Result<JoinHandle<()>> {
    let now = clock::mono();
    let writer = Writer {
        recorder: Recorder::new(settings.interval),
        next_flush: now.plus(settings.low_wear.map_or(Duration::ZERO, |low_wear| low_wear.flush)),
        settings,
        status,
        opened,
        events,
        store: None,
        next_try: None,
        next_sync: now.plus(SYNC_INTERVAL),
        ids: Vec::new(),
        generation: 0,
        waiting: VecDeque::new(),
        waiting_events: VecDeque::new(),
        waiting_quiet: Vec::new(),
        newest_event: 0,
        thinning: 1,
        trouble: None,
        lost_ticks: 0,
        lost_events: 0,
        recorded: 0,
        written_bytes: 0,
        flushed_bytes: 0,
        verified: false,
    };
    std::thread::Builder::new().name("lt-history".into()).spawn(move || writer.run(&inbox))
}

impl Writer {
    fn run(mut self, inbox: &Receiver<Message>) {
        self.work();
        loop {
            match inbox.recv_timeout(TRY_AGAIN) {
                Ok(Message::Tick(state)) => self.take(&state),
                Ok(Message::Stop) | Err(RecvTimeoutError::Disconnected) => {
                    self.end();
                    return;
                }
                Err(RecvTimeoutError::Timeout) => {}
            }
            self.take_events();
            self.work();
        }
    }

    fn status(&self) -> MutexGuard<'_, Status> {
        self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&mut self, state: &lowtide_core::state::HostState) {
        let taken = self.recorder.take(state, self.thinning);
        if let Some(record) = taken.record {
            self.recorded += 1;
            self.waiting.push_back(record);
            // The mode that spares the disk keeps as many as fall due between two of its writes.
            let most = self.settings.low_wear.map_or(WAITING_MAX, |low_wear| {
                let due = low_wear.flush.as_millis() / self.settings.interval.as_millis().max(1);
                WAITING_MAX + usize::try_from(due).unwrap_or(WAITING_MAX)
            });
            while self.waiting.len() > most {
                self.waiting.pop_front();
                self.lost_ticks += 1;
            }
        }
        self.waiting_quiet.extend(taken.quiet_ended);
        let mut status = self.status.lock().unwrap_or_else(PoisonError::into_inner);
        status.queued_ticks = status.queued_ticks.saturating_sub(1);
        status.quiet_now = self.recorder.quiet_now();
    }

    /// Takes what happened since the last look. Ticks are no news.
    fn take_events(&mut self) {
        loop {
            let since = self.events.since(self.newest_event, limits::EVENTS_KEPT);
            self.lost_events += since.missed;
            let Some(newest) = since.events.last() else { return };
            self.newest_event = newest.id;
            for event in since.events.iter().filter(|event| !matches!(event.kind, EventKind::Tick { .. })) {
                self.waiting_events.push_back(row(event, self.settings.document));
                if self.waiting_events.len() > EVENTS_WAITING_MAX {
                    self.waiting_events.pop_front();
                    self.lost_events += 1;
                }
            }
        }
    }

    /// Writes what is due, tidies, and says how it went.
    fn work(&mut self) {
        let now = clock::now();
        if self.next_try.is_some_and(|next| now.mono < next) {
            self.tell();
            return;
        }
        match self.try_work(now.mono, now.wall) {
            Ok(()) => {
                if self.trouble.take().is_some() {
                    tracing::info!("history can be written again");
                }
                self.next_try = None;
            }
            Err(error) => {
                if self.trouble.as_ref().is_none_or(|told| told != &error) {
                    tracing::error!(%error, "history cannot be written; it is tried again, and what does not fit meanwhile is lost");
                }
                self.trouble = Some(error);
                // After a slow failure too: from now, not from when it began.
                self.next_try = Some(clock::mono().plus(TRY_AGAIN));
            }
        }
        self.tell();
    }

    fn try_work(&mut self, now: MonoTime, wall: WallTime) -> Result<(), StoreError> {
        self.open()?;
        let spared = self.settings.low_wear.is_some();
        let flush_due = !spared || now >= self.next_flush;
        if flush_due {
            self.write()?;
        }
        let sync_due = if spared { flush_due } else { now >= self.next_sync };
        if sync_due {
            self.next_sync = now.plus(SYNC_INTERVAL);
            self.tidy(wall)?;
        }
        if spared && flush_due {
            self.thin(now);
        }
        Ok(())
    }

    fn open(&mut self) -> Result<(), StoreError> {
        if self.store.is_some() {
            return Ok(());
        }
        let mut store = HistoryStore::open(&self.settings.file)?;
        if let Some(quarantine) = store.quarantine() {
            let moved_to = quarantine.moved_to.display();
            tracing::error!(%moved_to, reason = quarantine.reason, "the file of history was broken and was put aside; history begins anew");
        }
        // What was going on when the daemon was killed has ended.
        let mut reader = store.reader();
        if let Some(row) = reader.newest_quiet()?
            && row.open
        {
            store.put_quiet(&QuietRow { open: false, ..row })?;
        }
        let size = store.size()?;
        self.generation = store.generation();
        self.ids.clear();
        let mut status = self.status();
        status.health.facts.size = size;
        status.health.quarantine = store.quarantine();
        status.readers.clear();
        status.make_reader = Some(reader);
        drop(status);
        self.store = Some(store);
        Ok(())
    }

    /// Writes everything that waits.
    fn write(&mut self) -> Result<(), StoreError> {
        self.give_ids()?;
        if let Err(error) = self.write_ticks() {
            // Was it another file than that which gave out the numbers? Then there are others now.
            if self.store.as_ref().is_none_or(|store| store.generation() == self.generation) {
                return Err(error);
            }
            self.give_ids()?;
            self.write_ticks()?;
        }
        let Some(store) = &mut self.store else { return Ok(()) };
        if !self.waiting_events.is_empty() {
            store.add_events(self.waiting_events.make_contiguous())?;
            self.waiting_events.clear();
        }
        for row in std::mem::take(&mut self.waiting_quiet) {
            if let Err(error) = store.put_quiet(&row) {
                self.waiting_quiet.push(row);
                return Err(error);
            }
        }
        if self.recorder.is_full() {
            self.recorder.forget();
            self.ids.clear();
        }
        Ok(())
    }

    fn write_ticks(&mut self) -> Result<(), StoreError> {
        let Some(store) = &mut self.store else { return Ok(()) };
        if !self.waiting.is_empty() {
            let frames: Vec<Frame> = self.waiting.iter().map(|record| frame(record, &self.ids)).collect();
            if self.settings.low_wear.is_some() {
                store.append_segments(&frames)?;
            } else {
                store.append(&frames)?;
            }
            self.waiting.clear();
        }
        Ok(())
    }

    /// Numbers of the file for the series that have none yet. In another file than before all have others.
    fn give_ids(&mut self) -> Result<(), StoreError> {
        let Some(store) = &mut self.store else { return Ok(()) };
        loop {
            if store.generation() != self.generation {
                self.generation = store.generation();
                self.ids.clear();
            }
            let new = self.recorder.series().get(self.ids.len()..).unwrap_or_default();
            if new.is_empty() {
                return Ok(());
            }
            let given = store.ids(new)?;
            // The call itself may have found out that the file is another one.
            if store.generation() == self.generation {
                self.ids.extend(given);
            }
        }
    }

    /// Makes what was written durable, and does one piece of each kind of tidying.
    fn tidy(&mut self, wall: WallTime) -> Result<(), StoreError> {
        let quiet_now = self.recorder.quiet_now();
        let keep = self.settings.keep;
        let Some(store) = &mut self.store else { return Ok(()) };
        if let Some(row) = quiet_now {
            store.put_quiet(&row)?;
        }
        store.compact(wall.unix_ms())?;
        store.roll_up(wall.unix_ms())?;
        let forgot = store.forget(&keep)?;
        if forgot.for_room && forgot.more {
            tracing::info!(
                raw_days = forgot.raw_days,
                rollup_days = forgot.rollup_days,
                "the file of history is as large as it may be: the oldest was deleted"
            );
        }
        let synced = store.sync()?;
        self.written_bytes += synced.logged_pages * LOGGED_PAGE_BYTES + synced.moved_pages * PAGE_BYTES;
        let size = store.size()?;
        if !self.verified && size.file_bytes <= CHECKED_BYTES_MAX {
            store.verify()?;
        }
        self.verified = true;
        let (quarantine, damages) = (store.quarantine(), store.damages());
        let mut status = self.status();
        status.health.facts.size = size;
        status.health.quarantine = quarantine;
        status.health.damages = damages;
        Ok(())
    }

    /// Records fewer ticks when more bytes would be written a day than may, and more again when there is room.
    fn thin(&mut self, now: MonoTime) {
        let Some(low_wear) = self.settings.low_wear else { return };
        let passed = now.since(self.next_flush) + low_wear.flush;
        self.next_flush = now.plus(low_wear.flush);
        let bytes = self.written_bytes - self.flushed_bytes;
        self.flushed_bytes = self.written_bytes;
        self.thinning = thinned(self.thinning, bytes, passed, low_wear.bytes_per_day);
    }

    fn tell(&self) {
        let at_risk = match self.settings.low_wear {
            Some(low_wear) => format!(
                "up to {} minutes, at a power cut or when the daemon is killed: the disk is spared",
                low_wear.flush.as_secs().div_ceil(60)
            ),
            None => "up to a minute, at a power cut".to_owned(),
        };
        let mut status = self.status();
        let health = &mut status.health;
        health.at_risk = at_risk;
        health.trouble = self.trouble.as_ref().map(ToString::to_string);
        let facts = &mut health.facts;
        facts.recorded_ticks = self.recorded;
        facts.lost_ticks = self.lost_ticks;
        facts.waiting_ticks = self.waiting.len() as u64;
        facts.lost_events = self.lost_events;
        facts.left_out_series = self.ids.iter().filter(|id| id.is_none()).count() as u64;
        facts.written_bytes = self.written_bytes;
        facts.thinning = self.thinning;
        facts.damaged_rows = health.damages.len() as u64;
        facts.storage_works = self.store.is_some() && self.trouble.is_none();
        drop(status);
        self.opened.notify_all();
    }

    /// The last words: what waits, and that the quiet time has ended as far as anyone knows.
    fn end(&mut self) {
        self.take_events();
        self.waiting_quiet.extend(self.recorder.quiet_now().map(|row| QuietRow { open: false, ..row }));
        let synced = self.open().and_then(|()| self.write()).and_then(|()| match &mut self.store {
            Some(store) => store.sync().map(drop),
            None => Ok(()),
        });
        // Who closes the file last takes its log away, which a reader cannot.
        let mut status = self.status();
        status.make_reader = None;
        status.health.trouble = Some("the daemon is stopping".to_owned());
        status.readers.clear();
        drop(status);
        self.opened.notify_all();
        self.store = None;
        if let Err(error) = synced {
            let ticks = self.waiting.len();
            tracing::error!(%error, ticks, "the newest part of history could not be written and is lost");
        }
    }
}

/// Of how many due ticks one is recorded from now on, after so many bytes in so much time.
fn thinned(before: u32, bytes: u64, passed: Duration, bytes_per_day: u64) -> u32 {
    let per_day = u128::from(bytes) * 86_400_000 / passed.as_millis().max(1);
    let most = u128::from(bytes_per_day);
    if per_day > most {
        (before * 2).min(THINNING_MAX)
    } else if per_day * 3 < most {
        (before / 2).max(1)
    } else {
        before
    }
}

fn frame(record: &Record, ids: &[Option<SeriesId>]) -> Frame {
    let id = |place: u32| ids.get(place as usize).copied().flatten();
    let mut samples: Vec<(SeriesId, f64)> =
        record.samples.iter().filter_map(|(place, value)| Some((id(*place)?, *value))).collect();
    samples.sort_unstable_by_key(|(id, _)| *id);
    Frame { at_ms: record.at_ms, samples }
}

fn row(event: &Event, document: fn(&Event) -> serde_json::Value) -> EventRow {
    let subject = match &event.kind {
        EventKind::Collector { name, .. } | EventKind::Addon { name, .. } => Some(name.clone()),
        EventKind::Reported { addon, .. } => Some(addon.clone()),
        EventKind::Lease { lease, .. } => {
            lease.as_deref().map(|lease: &Lease| lease.request.holder.to_string())
        }
        EventKind::Tick { .. } | EventKind::State { .. } | EventKind::Reload { .. } => None,
    };
    EventRow {
        id: 0,
        at_ms: event.at.unix_ms(),
        kind: event.kind.name().to_owned(),
        subject,
        document: document(event),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fewer_ticks_are_recorded_until_the_bytes_of_a_day_fit_and_more_again_when_there_is_room() {
        let half_hour = Duration::from_secs(1_800);
        // A disk that takes a megabyte every half hour with every tick, and may take twelve a day.
        let bytes = |thinning: u32| 1_000_000 / u64::from(thinning);
        let mut thinning = 1;
        for _ in 0..10 {
            thinning = thinned(thinning, bytes(thinning), half_hour, 12_000_000);
        }
        assert!(bytes(thinning) * 48 <= 12_000_000, "{thinning}");
        assert_eq!(thinning, 4);
        // Half of the series are gone, then most of them: there is room again.
        assert_eq!(thinned(4, 40_000, half_hour, 12_000_000), 2);
        assert_eq!(thinned(1, 0, half_hour, 12_000_000), 1);
        assert_eq!(thinned(THINNING_MAX, u64::MAX / 48, half_hour, 1), THINNING_MAX);
    }
}
