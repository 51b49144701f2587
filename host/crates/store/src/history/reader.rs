//! Reading the file beside its writer. A reading sees the file as it was when it began, whatever is written meanwhile.

use super::catalogue::Catalogue;
use super::codec::Coder;
use super::plan::{self, Piece, Plan, TooFine};
use super::rows::{self, EventRow, EventsAsked, QuietRow};
use super::seal::Damages;
use super::segments::{self, Span, Timed};
use super::{Contents, Damage, HistorySize, SeriesId, Shared, key, retention, rollups, tail};
use crate::file::Failure;
use crate::{StoreError, is_corrupt, limits, open, unavailable};
use lowtide_core::history::{Cells, SeriesInfo};
use lowtide_core::limits::RATE_GAP_MAX_MS;
use lowtide_core::window::Selector;
use rusqlite::{Connection, OpenFlags, Transaction};
use std::collections::HashMap;
use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

/// A connection for reading, with what was read before and cannot change.
#[derive(Debug)]
pub struct HistoryReader {
    path: PathBuf,
    shared: Arc<Shared>,
    open: Option<Opened>,
    damages: Damages,
}

#[derive(Debug)]
struct Opened {
    connection: Connection,
    generation: u64,
    catalogue: Catalogue,
    spans: Vec<Span>,
    coder: Coder,
    buffer: Vec<f64>,
    /// Times of the ticks of segments that were asked for lately, by number: they never change.
    times: HashMap<i64, Arc<[i64]>>,
}

/// The file at one moment.
pub struct Reading<'a> {
    transaction: Transaction<'a>,
    damages: &'a Damages,
    catalogue: &'a Catalogue,
    coder: &'a mut Coder,
    buffer: &'a mut Vec<f64>,
    plan: Plan,
    pieces: Vec<Loaded>,
    tail: Tail,
}

enum Loaded {
    Rollups(Vec<i64>),
    Raw { primes: Vec<Timed>, segments: Vec<Timed> },
}

/// The samples of the tail that a question needs.
#[derive(Default)]
struct Tail {
    times: Vec<i64>,
    /// The series that were asked for, sorted, and a column for each.
    series: Vec<SeriesId>,
    columns: Vec<Vec<f64>>,
}

impl HistoryReader {
    pub(super) fn new(path: &Path, shared: Arc<Shared>) -> Self {
        Self { path: path.to_owned(), shared, open: None, damages: Damages::default() }
    }

    /// Answers questions about samples: `use_it` is given the file at this moment, or why it cannot answer as finely as asked.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn read<T>(
        &mut self,
        plan: Plan,
        use_it: impl FnOnce(Result<Reading<'_>, TooFine>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        self.with(|opened, damages| {
            let transaction = opened.connection.unchecked_transaction()?;
            refresh(&transaction, &mut opened.catalogue, &mut opened.spans, damages)?;
            let rolled = rollups::days(&transaction, damages)?;
            let tail_day = tail::newest_day(&transaction, damages)?;
            let pieces = match plan::pieces(&plan, &opened.spans, &rolled, tail_day) {
                Ok(pieces) => pieces,
                Err(too_fine) => return Ok(use_it(Err(too_fine))),
            };
            if opened.times.len() > limits::SEGMENT_TIMES_KEPT {
                opened.times.clear();
            }
            let end_ms = plan.range.to.unix_ms().saturating_add(1).min(plan.until_ms);
            let (coder, known) = (&mut opened.coder, &mut opened.times);
            let pieces = pieces
                .into_iter()
                .map(|piece| load(&transaction, coder, damages, known, end_ms, piece))
                .collect::<Result<_, Failure>>()?;
            let reading = Reading {
                transaction,
                damages,
                catalogue: &opened.catalogue,
                coder,
                buffer: &mut opened.buffer,
                plan,
                pieces,
                tail: Tail::default(),
            };
            Ok(use_it(Ok(reading)))
        })?
    }

    /// Another reader of the same file.
    #[must_use]
    pub fn another(&self) -> Self {
        Self::new(&self.path, Arc::clone(&self.shared))
    }

    /// The series of the file that a selector matches.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn matching(&mut self, selector: &Selector) -> Result<Vec<(SeriesId, SeriesInfo)>, StoreError> {
        self.with(|opened, damages| {
            opened.catalogue.load_new(&opened.connection, damages)?;
            let all = opened.catalogue.iter();
            Ok(all.filter(|(_, info)| selector.matches(info)).map(|(id, info)| (id, info.clone())).collect())
        })
    }

    /// The newest quiet interval.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn newest_quiet(&mut self) -> Result<Option<QuietRow>, StoreError> {
        self.with(|opened, damages| rows::newest_quiet(&opened.connection, damages))
    }

    /// Quiet intervals that touch a range of time, oldest first, after the one that began at `after_ms`.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn quiet(
        &mut self,
        range_ms: (i64, i64),
        after_ms: Option<i64>,
        limit: usize,
    ) -> Result<Vec<QuietRow>, StoreError> {
        self.with(|opened, damages| rows::quiet(&opened.connection, damages, range_ms, after_ms, limit))
    }

    /// Events, a page at a time.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn events(&mut self, asked: &EventsAsked) -> Result<Vec<EventRow>, StoreError> {
        self.with(|opened, damages| rows::events(&opened.connection, damages, asked))
    }

    /// What is in the file at this moment.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn contents(&mut self) -> Result<Contents, StoreError> {
        self.with(|opened, damages| {
            let transaction = opened.connection.unchecked_transaction()?;
            refresh(&transaction, &mut opened.catalogue, &mut opened.spans, damages)?;
            let rolled = rollups::days(&transaction, damages)?;
            let (spans, mut tail) = (&opened.spans, Vec::new());
            tail::each(&transaction, damages, |_, at_ms, _| {
                tail.push(at_ms);
                Ok(())
            })?;
            let (used_bytes, file_bytes) = retention::bytes(&transaction)?;
            let first = spans.iter().map(|span| span.from_ms).chain(tail.iter().copied()).min();
            let last = spans.iter().map(|span| span.to_ms).chain(tail.iter().copied()).max();
            let rows = |table: &str| {
                transaction.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0))
            };
            Ok(Contents {
                size: HistorySize {
                    used_bytes,
                    file_bytes,
                    series: opened.catalogue.len() as u64,
                    segments: spans.len() as u64,
                    raw_since_ms: first,
                    rolled_since_day: rolled.first().copied(),
                },
                schema: transaction.pragma_query_value(None, "user_version", |row| row.get(0))?,
                raw_until_ms: last,
                ticks: spans.iter().map(|span| span.ticks as u64).sum::<u64>() + tail.len() as u64,
                rolled_until_day: rolled.last().copied(),
                rolled_days: rolled.len() as u64,
                events: rows("event")?,
                quiet_intervals: rows("quiet")?,
            })
        })
    }

    /// Rows that were found damaged so far, by whoever uses the file in this process.
    #[must_use]
    pub fn damages(&self) -> Vec<Damage> {
        let known = self.shared.damages.lock().unwrap_or_else(PoisonError::into_inner);
        known.iter().cloned().collect()
    }

    fn with<T>(
        &mut self,
        work: impl FnOnce(&mut Opened, &Damages) -> Result<T, Failure>,
    ) -> Result<T, StoreError> {
        let generation = self.shared.generation.load(Ordering::Acquire);
        let known = self.open.take().filter(|opened| opened.generation == generation);
        let opened = match known {
            Some(opened) => Ok(opened),
            None => connect(&self.path).map(|connection| Opened {
                connection,
                generation,
                catalogue: Catalogue::default(),
                spans: Vec::new(),
                coder: Coder::default(),
                buffer: Vec::new(),
                times: HashMap::new(),
            }),
        };
        let result = opened.map_err(Failure::Sqlite).and_then(|mut opened| {
            let result = work(&mut opened, &self.damages)?;
            self.open = Some(opened);
            Ok(result)
        });
        self.shared.note(&self.damages);
        match result {
            Ok(result) => Ok(result),
            Err(Failure::Sqlite(error)) => {
                if is_corrupt(&error) {
                    let mut condemned = self.shared.condemned.lock().unwrap_or_else(PoisonError::into_inner);
                    *condemned = Some(open::lower(&error.to_string()));
                }
                Err(unavailable(&self.path, &error))
            }
            Err(Failure::Garbled(text) | Failure::Quota(text)) => {
                Err(StoreError::Unavailable(format!("{}: {text}", self.path.display())))
            }
        }
    }

    /// Opens a file that no daemon of this process writes, to export or to look at it.
    ///
    /// # Errors
    /// When it cannot be opened, or is not of this version.
    pub fn open_file(path: &Path) -> Result<Self, StoreError> {
        let connection = connect(path).map_err(|error| unavailable(path, &error))?;
        let known = i64::try_from(super::SCHEMA.len()).unwrap_or(i64::MAX);
        let found: i64 = connection
            .pragma_query_value(None, "user_version", |row| row.get(0))
            .map_err(|error| unavailable(path, &error))?;
        if found > known {
            return Err(StoreError::Newer { path: path.to_owned(), found, known });
        }
        if found < known {
            let text = format!(
                "{} has schema {found}, this version needs {known}: start the daemon once, it brings the file up to date",
                path.display()
            );
            return Err(StoreError::Unavailable(text));
        }
        Ok(Self::new(path, Arc::default()))
    }
}

impl Reading<'_> {
    /// All series that the file knows.
    pub fn series(&self) -> impl Iterator<Item = (SeriesId, &SeriesInfo)> {
        self.catalogue.iter()
    }

    /// The times of all ticks in the range that are kept one by one, sorted: milliseconds since 1970.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn times(&self) -> Result<Vec<i64>, StoreError> {
        let (from_ms, until_ms) = self.bounds();
        let raw = self.pieces.iter().flat_map(|piece| match piece {
            Loaded::Raw { segments, .. } => segments.as_slice(),
            Loaded::Rollups(_) => &[],
        });
        let mut times: Vec<i64> = raw.flat_map(|timed| timed.wanted().iter().copied()).collect();
        let of_tail = tail::each(&self.transaction, self.damages, |_, at_ms, _| {
            times.push(at_ms);
            Ok(())
        });
        of_tail.map_err(failed)?;
        times.retain(|time| (from_ms..until_ms).contains(time));
        times.sort_unstable();
        times.dedup();
        Ok(times)
    }

    /// First moment of the range, and the first that is not read any more.
    fn bounds(&self) -> (i64, i64) {
        let end = self.plan.range.to.unix_ms().saturating_add(1);
        (self.plan.range.from.unix_ms(), end.min(self.plan.until_ms))
    }

    /// Reads the tail for these series: those that are laid next.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn prepare(&mut self, series: &[SeriesId]) -> Result<(), StoreError> {
        self.load_tail(series).map_err(failed)
    }

    fn load_tail(&mut self, series: &[SeriesId]) -> Result<(), Failure> {
        let (from_ms, until_ms) = self.bounds();
        let mut wanted = series.to_vec();
        wanted.sort_unstable();
        let mut tail = Tail { columns: vec![Vec::new(); wanted.len()], series: wanted, times: Vec::new() };
        tail::each(&self.transaction, self.damages, |_, at_ms, samples| {
            if at_ms < from_ms - RATE_GAP_MAX_MS || at_ms >= until_ms {
                return Ok(());
            }
            tail.times.push(at_ms);
            tail.columns.iter_mut().for_each(|column| column.push(f64::NAN));
            if let [only] = tail.series.as_slice() {
                let only = *only;
                samples.each(|id, value| {
                    if id == only {
                        set_last(&mut tail.columns, 0, value);
                    }
                });
            } else if !tail.series.is_empty() {
                samples.each(|id, value| {
                    if let Ok(column) = tail.series.binary_search(&id) {
                        set_last(&mut tail.columns, column, value);
                    }
                });
            }
            Ok(())
        })?;
        self.tail = tail;
        Ok(())
    }

    /// Lays a series that was prepared: everything that the file has of it in the range.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn lay(&mut self, series: SeriesId, cells: &mut Cells<'_>) -> Result<(), StoreError> {
        let counter = self.catalogue.get(series).is_some_and(SeriesInfo::is_cumulative);
        self.lay_all(series, counter, cells).map_err(failed)
    }

    fn lay_all(&mut self, series: SeriesId, counter: bool, cells: &mut Cells<'_>) -> Result<(), Failure> {
        let Self { transaction, damages, coder, buffer, plan, pieces, tail, .. } = self;
        let column = tail.series.binary_search(&series).ok().and_then(|column| tail.columns.get(column));
        let column = column.map_or(&[][..], Vec::as_slice);
        // After the clock was set back the tail lies among the segments before it.
        let among = |piece: &Loaded| match piece {
            Loaded::Raw { segments, .. } => tail
                .times
                .first()
                .is_some_and(|first| segments.iter().any(|timed| timed.span.to_ms >= *first)),
            Loaded::Rollups(_) => false,
        };
        let home = pieces.iter().position(among);
        for (number, piece) in pieces.iter().enumerate() {
            match piece {
                Loaded::Rollups(days) => {
                    for day in days {
                        let key = key(*day, series);
                        let rollup = rollups::read(transaction, coder, damages, key, plan.percentiles)?;
                        rollup.iter().for_each(|rollup| cells.rollup(rollup));
                    }
                }
                Loaded::Raw { primes, segments } => {
                    let mut read = |segments: &[Timed], take: &mut dyn FnMut(&[i64], &[f64])| {
                        segments::samples(transaction, coder, damages, segments, series, buffer, take)
                    };
                    if counter {
                        read(primes, &mut |times, values| cells.prime(times, values))?;
                    }
                    if home != Some(number) {
                        read(segments, &mut |times, values| cells.samples(times, values, counter))?;
                        continue;
                    }
                    let mut mixed: Vec<(i64, f64)> =
                        tail.times.iter().copied().zip(column.iter().copied()).collect();
                    read(segments, &mut |times, values| {
                        mixed.extend(times.iter().copied().zip(values.iter().copied()));
                    })?;
                    mixed.sort_by_key(|(time, _)| *time);
                    let (times, values): (Vec<i64>, Vec<f64>) = mixed.into_iter().unzip();
                    cells.samples(&times, &values, counter);
                }
            }
        }
        if home.is_none() {
            cells.samples(&tail.times, column, counter);
        }
        Ok(())
    }
}

fn set_last(columns: &mut [Vec<f64>], column: usize, value: f64) {
    if let Some(place) = columns.get_mut(column).and_then(|column| column.last_mut()) {
        *place = value;
    }
}

fn failed(failure: Failure) -> StoreError {
    StoreError::Unavailable(match failure {
        Failure::Sqlite(error) => open::lower(&error.to_string()),
        Failure::Garbled(text) | Failure::Quota(text) => text,
    })
}

/// Reads what is new in the catalogue and among the segments, and forgets the segments that are gone.
fn refresh(
    connection: &Connection,
    catalogue: &mut Catalogue,
    spans: &mut Vec<Span>,
    damages: &Damages,
) -> Result<(), Failure> {
    catalogue.load_new(connection, damages)?;
    let newest = spans.last().map_or(0, |span| span.id);
    spans.extend(segments::load_after(connection, damages, newest)?);
    let mut query = connection.prepare_cached("SELECT id FROM segment ORDER BY id")?;
    let there: Vec<i64> = query.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
    if there.len() != spans.len() {
        spans.retain(|span| there.binary_search(&span.id).is_ok());
    }
    Ok(())
}

/// Reads the times of the segments of a piece, up to the end of the range.
fn load(
    connection: &Connection,
    coder: &mut Coder,
    damages: &Damages,
    known: &mut HashMap<i64, Arc<[i64]>>,
    end_ms: i64,
    piece: Piece,
) -> Result<Loaded, Failure> {
    let mut timed = |spans: Vec<Span>| -> Result<Vec<Timed>, Failure> {
        let mut found = Vec::with_capacity(spans.len());
        for span in spans {
            let times = match known.get(&span.id) {
                Some(times) => Some(Arc::clone(times)),
                None => segments::times(connection, coder, damages, &span)?,
            };
            let Some(times) = times else { continue };
            known.insert(span.id, Arc::clone(&times));
            let wanted = times.partition_point(|time| *time < end_ms);
            found.push(Timed { span, times, wanted });
        }
        Ok(found)
    };
    Ok(match piece {
        Piece::Rollups(days) => Loaded::Rollups(days),
        Piece::Raw { primes, segments } => Loaded::Raw { primes: timed(primes)?, segments: timed(segments)? },
    })
}

fn connect(path: &Path) -> Result<Connection, rusqlite::Error> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(limits::BUSY_WAIT)?;
    connection.pragma_update(None, "cache_size", -limits::READ_CACHE_KIB)?;
    connection.pragma_update(None, "cell_size_check", true)?;
    Ok(connection)
}

/// Copies the file as it is at this moment (`VACUUM INTO`), beside whoever writes it.
pub(super) fn backup(from: &Path, to: &Path) -> Result<(), StoreError> {
    let connection = connect(from).map_err(|error| unavailable(from, &error))?;
    let refused = |error: std::io::Error| {
        StoreError::Unavailable(format!(
            "{}: {}: choose a place where no file is",
            to.display(),
            open::lower(&error.to_string())
        ))
    };
    // Made here, so that nobody else can read it; SQLite takes an empty file for none.
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(to).map_err(refused)?;
    let copied = connection.execute("VACUUM INTO ?1", [to.to_string_lossy()]);
    copied.map_err(|error| {
        let _ = std::fs::remove_file(to);
        unavailable(to, &error)
    })?;
    Ok(())
}
