//! The tail: ticks that are in no segment yet, one row each. What the daemon writes every few seconds, so it is small and goes to the end
//! of one table.

use super::codec::{Garbled, read_number, write_number};
use super::seal::{self, Damages, Table};
use super::{DAY_MS, SeriesId};
use crate::file::Failure;
use crate::limits;
use rusqlite::{Connection, params};

/// One tick as it is recorded: the series that have a sample, by number, with their samples.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Frame {
    /// When: milliseconds since 1970.
    pub at_ms: i64,
    /// Finite samples, sorted by the number of their series.
    pub samples: Vec<(SeriesId, f64)>,
}

/// What is in the tail.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct State {
    /// Number of the newest row ever.
    newest: i64,
    /// Rows that are there.
    pub(super) ticks: usize,
    /// Time of the first of them.
    pub(super) first_ms: Option<i64>,
    /// Time of the last of them.
    pub(super) last_ms: Option<i64>,
}

impl State {
    pub(super) fn load(connection: &Connection, damages: &Damages) -> Result<Self, Failure> {
        let mut state = Self::default();
        each(connection, damages, |id, at_ms, _| {
            state.newest = id;
            state.ticks += 1;
            state.first_ms.get_or_insert(at_ms);
            state.last_ms = Some(at_ms);
            Ok(())
        })?;
        // A damaged row has its number all the same.
        let highest: Option<i64> = connection.query_row("SELECT max(id) FROM tail", [], |row| row.get(0))?;
        state.newest = highest.unwrap_or(0).max(state.newest);
        Ok(state)
    }

    /// Whether a tick of this time cannot follow in the same segment: it is full, the day is another, or the clock was set back.
    pub(super) fn must_end_before(&self, at_ms: i64) -> bool {
        let same_run =
            |last_ms: i64| at_ms > last_ms && at_ms.div_euclid(DAY_MS) == last_ms.div_euclid(DAY_MS);
        self.ticks >= limits::SEGMENT_TICKS_MAX || self.last_ms.is_some_and(|last_ms| !same_run(last_ms))
    }

    /// Whether a segment is to be made of it although no tick comes.
    pub(super) fn is_due(&self, now_ms: i64) -> bool {
        let over = |last_ms: i64| now_ms.div_euclid(DAY_MS) > last_ms.div_euclid(DAY_MS);
        self.ticks >= limits::SEGMENT_TICKS_MAX || self.last_ms.is_some_and(over)
    }

    /// Nothing is in it any more.
    pub(super) fn emptied(&mut self) {
        *self = Self { newest: self.newest, ..Self::default() };
    }
}

/// The day (since 1970) of the ticks of the tail: they are all of one.
pub(super) fn newest_day(connection: &Connection, damages: &Damages) -> Result<Option<i64>, Failure> {
    let mut query = connection.prepare_cached("SELECT id, sealed FROM tail ORDER BY id DESC LIMIT 1")?;
    let mut rows = query.query([])?;
    let Some(row) = rows.next()? else { return Ok(None) };
    let id = row.get(0)?;
    let content = seal::open(Table::Tail, id, row.get_ref(1)?.as_blob().unwrap_or_default());
    let read = content.and_then(|content| Samples::read(content).ok());
    if read.is_none() {
        damages.add(Table::Tail, id);
    }
    Ok(read.map(|(at_ms, _)| at_ms.div_euclid(DAY_MS)))
}

/// Adds one tick.
pub(super) fn append(connection: &Connection, state: &mut State, frame: &Frame) -> Result<(), Failure> {
    let id = state.newest + 1;
    let mut row = Vec::with_capacity(16 + frame.samples.len() * 10);
    row.extend_from_slice(&frame.at_ms.to_le_bytes());
    write_number(frame.samples.len() as u64, &mut row);
    let mut before = 0;
    for (series, _) in &frame.samples {
        write_number(u64::from(series.0.wrapping_sub(before)), &mut row);
        before = series.0;
    }
    for (_, value) in &frame.samples {
        row.extend_from_slice(&value.to_le_bytes());
    }
    seal::seal(Table::Tail, id, &mut row);
    connection.prepare_cached("INSERT INTO tail (id, sealed) VALUES (?1, ?2)")?.execute(params![id, row])?;
    *state = State {
        newest: id,
        ticks: state.ticks + 1,
        first_ms: state.first_ms.or(Some(frame.at_ms)),
        last_ms: Some(frame.at_ms),
    };
    Ok(())
}

/// Hands every sound row to `take`, oldest first: its number, its time, and its samples.
pub(super) fn each(
    connection: &Connection,
    damages: &Damages,
    mut take: impl FnMut(i64, i64, Samples<'_>) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let mut query = connection.prepare_cached("SELECT id, sealed FROM tail ORDER BY id")?;
    let mut rows = query.query([])?;
    while let Some(row) = rows.next()? {
        let id = row.get(0)?;
        let content = seal::open(Table::Tail, id, row.get_ref(1)?.as_blob().unwrap_or_default());
        match content.and_then(|content| Samples::read(content).ok()) {
            Some((at_ms, samples)) => take(id, at_ms, samples)?,
            None => damages.add(Table::Tail, id),
        }
    }
    Ok(())
}

/// The samples of one row, read as they are asked for.
#[derive(Clone, Copy)]
pub(super) struct Samples<'a> {
    count: usize,
    ids: &'a [u8],
    values: &'a [u8],
}

impl<'a> Samples<'a> {
    fn read(content: &'a [u8]) -> Result<(i64, Self), Garbled> {
        let (at_ms, mut rest) = content.split_first_chunk::<8>().ok_or(Garbled)?;
        let count = usize::try_from(read_number(&mut rest)?).map_err(|_| Garbled)?;
        let bytes = count.checked_mul(8).ok_or(Garbled)?;
        let split = rest.len().checked_sub(bytes).ok_or(Garbled)?;
        let (ids, values) = rest.split_at_checked(split).ok_or(Garbled)?;
        Ok((i64::from_le_bytes(*at_ms), Self { count, ids, values }))
    }

    /// Hands each series with its sample to `take`, sorted by the series.
    pub(super) fn each(self, mut take: impl FnMut(SeriesId, f64)) {
        let (mut ids, mut series) = (self.ids, 0u32);
        for bytes in self.values.as_chunks::<8>().0.iter().take(self.count) {
            let Ok(further) = read_number(&mut ids) else { return };
            series = series.wrapping_add(u32::try_from(further).unwrap_or(u32::MAX));
            take(SeriesId(series), f64::from_le_bytes(*bytes));
        }
    }
}
