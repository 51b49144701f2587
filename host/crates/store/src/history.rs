//! Samples over months in one SQLite file, and rows of what happened.
//!
//! A tick is written to the tail as one row. When the tail is long enough, or the day (UTC) is over, it becomes a segment: one compressed
//! chunk for each series. When a day is over, each of its series is rolled up into buckets with sketches. Segments go when they are old,
//! roll-ups a year later. Every one of these steps is one transaction. The sizes come from measurements: docs/adr/012-history.md.
//!
//! One thread writes ([`HistoryStore`]); whoever reads has a [`HistoryReader`] of its own, which never waits for it.

mod catalogue;
mod codec;
mod plan;
mod reader;
mod retention;
mod rollups;
mod rows;
mod seal;
mod segments;
mod tail;

pub use plan::{Plan, TooFine};
pub use reader::{HistoryReader, Reading};
pub use retention::{Keep, Kept};
pub use rows::{EventRow, EventsAsked, QuietRow};
pub use tail::Frame;

use crate::file::{Failure, File};
use crate::open::{self, Durability, Schema};
use crate::{Quarantine, StoreError, limits};
use catalogue::Catalogue;
use codec::Coder;
use lowtide_core::history::SeriesInfo;
use rusqlite::{Connection, TransactionBehavior};
use seal::{Damages, Table};
use segments::Span;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

pub(crate) const SCHEMA: Schema =
    &[include_str!("../schema/history_001.sql"), include_str!("../schema/history_002.sql")];

/// Number of a series in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SeriesId(pub u32);

/// Bits of a key below the segment or day: series in a file, ever.
const SERIES_BITS: u32 = 24;

/// Milliseconds of a day.
pub(crate) const DAY_MS: i64 = 86_400_000;

/// Length of a bucket of a roll-up: 1 % of a day, and short enough for a chart of a week.
pub const ROLLUP_STEP_MS: i64 = 900_000;

/// What the file consists of, for health and metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HistorySize {
    /// Bytes that are in use.
    pub used_bytes: u64,
    /// Bytes of the file; what is free in it is used again.
    pub file_bytes: u64,
    /// Series in the catalogue.
    pub series: u64,
    /// Segments of raw samples.
    pub segments: u64,
    /// Oldest moment with raw samples, milliseconds since 1970; `None` without any.
    pub raw_since_ms: Option<i64>,
    /// Oldest day with roll-ups, days since 1970; `None` without any.
    pub rolled_since_day: Option<i64>,
}

/// What a look into the file finds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Contents {
    /// As the writer tells it.
    pub size: HistorySize,
    /// Its schema.
    pub schema: i64,
    /// Newest moment with raw samples, milliseconds since 1970; `None` without any.
    pub raw_until_ms: Option<i64>,
    /// Ticks that are kept one by one.
    pub ticks: u64,
    /// Newest day with roll-ups, days since 1970; `None` without any.
    pub rolled_until_day: Option<i64>,
    /// Days with roll-ups.
    pub rolled_days: u64,
    /// Events.
    pub events: u64,
    /// Quiet intervals.
    pub quiet_intervals: u64,
}

/// Pages that a checkpoint found and moved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Synced {
    /// Pages in the write-ahead log.
    pub logged_pages: u64,
    /// Of these, pages that are in the file itself now.
    pub moved_pages: u64,
}

/// A row that could not be used because it is not what was written.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Damage {
    /// Its table.
    pub table: &'static str,
    /// Its key.
    pub key: i64,
}

/// What the writer and its readers share.
#[derive(Debug, Default)]
struct Shared {
    /// Grows when the file is another one than before.
    generation: AtomicU64,
    /// What a reader found wrong with the file as a whole: the writer puts it aside.
    condemned: Mutex<Option<String>>,
    damages: Mutex<std::collections::BTreeSet<Damage>>,
}

impl Shared {
    fn note(&self, damages: &Damages) {
        let found = damages.take();
        if found.is_empty() {
            return;
        }
        let mut known = self.damages.lock().unwrap_or_else(PoisonError::into_inner);
        for (table, key) in found {
            if known.len() < limits::DAMAGES_COUNTED_MAX {
                known.insert(Damage { table: table.name(), key });
            }
        }
    }
}

/// The file of history, for its one writer.
#[derive(Debug)]
pub struct HistoryStore {
    file: File,
    shared: Arc<Shared>,
    /// What is known of the file; read anew after any failure.
    known: Option<Known>,
    coder: Coder,
    damages: Damages,
    /// How often the file had been opened when `known` was read.
    seen: u64,
}

/// What the writer remembers of the file.
#[derive(Debug)]
struct Known {
    catalogue: Catalogue,
    /// Ticks in the tail.
    tail: tail::State,
    /// Segments, in the order of their numbers.
    segments: Vec<Span>,
    /// Days that are rolled up, sorted.
    rolled: Vec<i64>,
}

impl HistoryStore {
    /// Opens the file, makes it if there is none, and brings its schema up to date. A corrupt file is put aside as
    /// `<name>.corrupt-<n>`, and a fresh one made.
    ///
    /// # Errors
    /// When the file cannot be opened or written, or belongs to a newer version.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let file = File::open(path, SCHEMA, Durability::AtCheckpoints)?;
        Ok(Self {
            file,
            shared: Arc::default(),
            known: None,
            coder: Coder::default(),
            damages: Damages::default(),
            seen: 0,
        })
    }

    /// The corrupt file that was last put aside since the start, if there was one.
    #[must_use]
    pub fn quarantine(&self) -> Option<Quarantine> {
        self.file.quarantine()
    }

    /// A reader of the same file.
    #[must_use]
    pub fn reader(&self) -> HistoryReader {
        HistoryReader::new(self.file.path(), Arc::clone(&self.shared))
    }

    /// Changes when the file is not the one that it was: numbers of series that were given out hold no more.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.shared.generation.load(Ordering::Acquire)
    }

    /// Rows that were found damaged so far, by the writer or a reader.
    #[must_use]
    pub fn damages(&self) -> Vec<Damage> {
        let known = self.shared.damages.lock().unwrap_or_else(PoisonError::into_inner);
        known.iter().cloned().collect()
    }

    /// The numbers of these series, given out now if they have none; `None` where the catalogue is full.
    ///
    /// # Errors
    /// When the file cannot be read or written.
    pub fn ids(&mut self, series: &[SeriesInfo]) -> Result<Vec<Option<SeriesId>>, StoreError> {
        self.write(|transaction, known, _, _| known.catalogue.ids(transaction, series))
    }

    /// Writes ticks, in the order of recording. They survive the end of the daemon when this returns, and a power cut from the next
    /// [`sync`](Self::sync) on.
    ///
    /// # Errors
    /// When the file cannot be written, or is another one than that which gave out the numbers of the series ([`generation`](Self::generation)
    /// has changed then): none of them is there then.
    pub fn append(&mut self, frames: &[Frame]) -> Result<(), StoreError> {
        self.write_numbered(|transaction, known, coder, damages| {
            for frame in frames {
                if known.tail.must_end_before(frame.at_ms) {
                    segments::compact(transaction, known, coder, damages)?;
                }
                tail::append(transaction, &mut known.tail, frame)?;
            }
            Ok(())
        })
    }

    /// Writes ticks as segments at once, without the tail: fewer bytes are written so.
    ///
    /// # Errors
    /// As [`append`](Self::append).
    pub fn append_segments(&mut self, frames: &[Frame]) -> Result<(), StoreError> {
        self.write_numbered(|transaction, known, coder, damages| {
            segments::compact(transaction, known, coder, damages)?;
            segments::add_frames(transaction, known, coder, frames)
        })
    }

    /// Writes whole columns as segments: for taking over much at once. `columns` has one for each of `series`, each with a number for each
    /// of the sorted `times_ms`, NaN where there is none.
    ///
    /// # Errors
    /// As [`append`](Self::append).
    pub fn append_columns(
        &mut self,
        times_ms: &[i64],
        series: &[SeriesId],
        columns: &[Vec<f64>],
    ) -> Result<(), StoreError> {
        self.write_numbered(|transaction, known, coder, damages| {
            segments::compact(transaction, known, coder, damages)?;
            segments::add_columns(transaction, known, coder, times_ms, series, columns)
        })
    }

    /// Makes a segment of a tail that is long enough, or whose day is over.
    ///
    /// # Errors
    /// When the file cannot be written: then nothing has changed.
    pub fn compact(&mut self, now_ms: i64) -> Result<(), StoreError> {
        self.write(|transaction, known, coder, damages| {
            if known.tail.is_due(now_ms) {
                segments::compact(transaction, known, coder, damages)
            } else {
                Ok(())
            }
        })
    }

    /// Rolls up the oldest day before that of `now_ms` that is not rolled up yet. Returns whether there was one.
    ///
    /// # Errors
    /// When the file cannot be read or written: then nothing has changed.
    pub fn roll_up(&mut self, now_ms: i64) -> Result<bool, StoreError> {
        self.write(|transaction, known, coder, damages| {
            let today = now_ms.div_euclid(DAY_MS);
            let open = |span: &&Span| span.day() < today && known.rolled.binary_search(&span.day()).is_err();
            let Some(day) = known.segments.iter().filter(open).map(Span::day).min() else { return Ok(false) };
            rollups::roll(transaction, known, coder, damages, day)?;
            Ok(true)
        })
    }

    /// Deletes what is older than is to be kept, one segment or day at a time. Returns what went.
    ///
    /// # Errors
    /// When the file cannot be read or written: then nothing has changed.
    pub fn forget(&mut self, keep: &Keep) -> Result<Kept, StoreError> {
        self.write(|transaction, known, _, _| retention::forget(transaction, known, keep))
    }

    /// Moves what was written into the file itself and makes it survive a power cut. What a reader needs stays in the log for now, and
    /// survives there.
    ///
    /// # Errors
    /// When that fails.
    pub fn sync(&mut self) -> Result<Synced, StoreError> {
        self.file.with(|connection| {
            let (busy, logged, moved): (bool, i64, i64) =
                connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |row| {
                    Ok((row.get(0)?, row.get(1)?, row.get(2)?))
                })?;
            // A checkpoint that is held up at its begin, by a reader or by another one, syncs nothing.
            if busy || moved < logged {
                open::sync_log(connection)?;
            }
            let pages = |pages: i64| u64::try_from(pages).unwrap_or(0);
            Ok(Synced { logged_pages: pages(logged), moved_pages: pages(moved) })
        })
    }

    /// What the file consists of.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn size(&mut self) -> Result<HistorySize, StoreError> {
        self.write(|transaction, known, _, _| {
            let (used_bytes, file_bytes) = retention::bytes(transaction)?;
            let raw_since = known.segments.iter().map(|span| span.from_ms).chain(known.tail.first_ms).min();
            Ok(HistorySize {
                used_bytes,
                file_bytes,
                series: known.catalogue.len() as u64,
                segments: known.segments.len() as u64,
                raw_since_ms: raw_since,
                rolled_since_day: known.rolled.first().copied(),
            })
        })
    }

    /// Reads every row and compares its checksum. What is damaged is in [`damages`](Self::damages) after it.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn verify(&mut self) -> Result<(), StoreError> {
        let damages = &self.damages;
        let result = self.file.with(|connection| verify(connection, damages));
        self.shared.note(damages);
        result
    }

    /// Puts the newest quiet interval in place of the row that has its start, or adds it.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn put_quiet(&mut self, row: &QuietRow) -> Result<(), StoreError> {
        self.write(|transaction, _, _, _| rows::put_quiet(transaction, row))
    }

    /// Adds events, oldest first; each gets the next number.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn add_events(&mut self, events: &[EventRow]) -> Result<(), StoreError> {
        self.write(|transaction, _, _, _| rows::add_events(transaction, events))
    }

    /// Writes a copy of the file to a place where no file is. The copy is whole, checked and as small as can be.
    ///
    /// # Errors
    /// When there is one already, or the copy cannot be written.
    pub fn backup(from: &Path, to: &Path) -> Result<(), StoreError> {
        reader::backup(from, to)
    }

    /// Runs `work` in a transaction with what is known of the file, read anew where that is in doubt.
    fn write<T>(
        &mut self,
        work: impl FnOnce(&Connection, &mut Known, &mut Coder, &Damages) -> Result<T, Failure>,
    ) -> Result<T, StoreError> {
        self.write_if(false, work)
    }

    /// The same for what names series by their numbers: it is refused when the file turns out to be another one than that which gave them
    /// out. In that the same numbers are other series.
    fn write_numbered<T>(
        &mut self,
        work: impl FnOnce(&Connection, &mut Known, &mut Coder, &Damages) -> Result<T, Failure>,
    ) -> Result<T, StoreError> {
        self.write_if(true, work)
    }

    fn write_if<T>(
        &mut self,
        by_numbers: bool,
        work: impl FnOnce(&Connection, &mut Known, &mut Coder, &Damages) -> Result<T, Failure>,
    ) -> Result<T, StoreError> {
        let condemned = self.shared.condemned.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(reason) = condemned {
            self.file.condemn(reason);
            self.known = None;
        }
        let Self { file, shared, known, coder, damages, seen } = self;
        let remembered = known.take();
        let result = file.with(|connection| {
            if by_numbers && shared.generation.load(Ordering::Acquire) != file.replaced() {
                let text = "it is another file than before, in which series have other numbers".to_owned();
                return Err(Failure::Garbled(text));
            }
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let mut now = match remembered.filter(|_| *seen == file.opened()) {
                Some(known) => known,
                None => load(&transaction, damages)?,
            };
            let result = work(&transaction, &mut now, coder, damages)?;
            transaction.commit()?;
            Ok((result, now))
        });
        shared.note(damages);
        *seen = file.opened();
        shared.generation.store(file.replaced(), Ordering::Release);
        let (result, now) = result?;
        *known = Some(now);
        Ok(result)
    }
}

fn load(connection: &Connection, damages: &Damages) -> Result<Known, Failure> {
    Ok(Known {
        catalogue: Catalogue::load(connection, damages)?,
        tail: tail::State::load(connection, damages)?,
        segments: segments::load(connection, damages)?,
        rolled: rollups::days(connection, damages)?,
    })
}

fn verify(connection: &Connection, damages: &Damages) -> Result<(), Failure> {
    for table in Table::ALL {
        let columns = rows::columns(table);
        let mut query = connection.prepare(&format!("SELECT id, sealed{columns} FROM {}", table.name()))?;
        let mut rows = query.query([])?;
        while let Some(row) = rows.next()? {
            let (key, sealed) = (row.get(0)?, row.get_ref(1)?.as_blob().unwrap_or_default());
            let sound = match seal::open(table, key, sealed) {
                Some(content) => rows::columns_agree(table, row, content),
                None => false,
            };
            if !sound {
                damages.add(table, key);
            }
        }
    }
    Ok(())
}

/// The key of a chunk, roll-up or sketch: its segment or day, and its series.
fn key(group: i64, series: SeriesId) -> i64 {
    group << SERIES_BITS | i64::from(series.0)
}

#[cfg(test)]
mod tests;
