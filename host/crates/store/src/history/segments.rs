//! Segments: runs of ticks within one day, one compressed chunk for each series in them.

use super::codec::Coder;
use super::seal::{self, Damages, Table};
use super::tail::{self, Frame};
use super::{DAY_MS, Known, SeriesId, key};
use crate::file::Failure;
use crate::limits;
use lowtide_core::limits::RATE_GAP_MAX_MS;
use rusqlite::{Connection, OptionalExtension, params};
use std::sync::Arc;

/// What is known of a segment without reading its times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) id: i64,
    pub(super) from_ms: i64,
    pub(super) to_ms: i64,
    pub(super) ticks: usize,
}

impl Span {
    /// Days since 1970.
    pub(super) fn day(&self) -> i64 {
        self.from_ms.div_euclid(DAY_MS)
    }
}

/// A segment with the times of its ticks.
#[derive(Clone, Debug)]
pub(super) struct Timed {
    pub(super) span: Span,
    pub(super) times: Arc<[i64]>,
    /// How many of them, from the first on, are asked for.
    pub(super) wanted: usize,
}

impl Timed {
    /// The times that are asked for.
    pub(super) fn wanted(&self) -> &[i64] {
        self.times.get(..self.wanted).unwrap_or_default()
    }
}

/// All segments, in the order of their numbers.
pub(super) fn load(connection: &Connection, damages: &Damages) -> Result<Vec<Span>, Failure> {
    load_after(connection, damages, 0)
}

/// Those with a greater number than this.
pub(super) fn load_after(
    connection: &Connection,
    damages: &Damages,
    after: i64,
) -> Result<Vec<Span>, Failure> {
    let mut query = connection.prepare_cached("SELECT id, sealed FROM segment WHERE id > ?1 ORDER BY id")?;
    let mut rows = query.query([after])?;
    let mut spans = Vec::new();
    while let Some(row) = rows.next()? {
        let id = row.get(0)?;
        let content = seal::open(Table::Segment, id, row.get_ref(1)?.as_blob().unwrap_or_default());
        match content.and_then(|content| read_span(id, content)) {
            Some((span, _)) => spans.push(span),
            None => damages.add(Table::Segment, id),
        }
    }
    Ok(spans)
}

/// First and last time and number of ticks, and the column of times.
fn read_span(id: i64, content: &[u8]) -> Option<(Span, &[u8])> {
    let (from, rest) = content.split_first_chunk::<8>()?;
    let (to, rest) = rest.split_first_chunk::<8>()?;
    let (ticks, times) = rest.split_first_chunk::<4>()?;
    let ticks = usize::try_from(u32::from_le_bytes(*ticks)).ok()?;
    let span = Span { id, from_ms: i64::from_le_bytes(*from), to_ms: i64::from_le_bytes(*to), ticks };
    (ticks <= limits::SEGMENT_TICKS_MAX).then_some((span, times))
}

/// The times of the ticks of a segment; `None` when it is damaged or gone.
#[expect(clippy::cast_possible_truncation, reason = "whole milliseconds were stored")]
pub(super) fn times(
    connection: &Connection,
    coder: &mut Coder,
    damages: &Damages,
    span: &Span,
) -> Result<Option<Arc<[i64]>>, Failure> {
    let mut query = connection.prepare_cached("SELECT sealed FROM segment WHERE id = ?1")?;
    let mut rows = query.query([span.id])?;
    let Some(row) = rows.next()? else { return Ok(None) };
    let content = seal::open(Table::Segment, span.id, row.get_ref(0)?.as_blob().unwrap_or_default());
    let mut numbers = Vec::new();
    let read = content
        .and_then(|content| read_span(span.id, content))
        .and_then(|(_, column)| coder.decode(column, span.ticks, &mut numbers).ok());
    if read.is_none() {
        damages.add(Table::Segment, span.id);
        return Ok(None);
    }
    Ok(Some(numbers.iter().map(|ms| *ms as i64).collect()))
}

/// Puts the samples of a series in a segment at the end of `values`: those of the ticks that are wanted, or more. Returns false when it has
/// none there.
pub(super) fn chunk(
    connection: &Connection,
    coder: &mut Coder,
    damages: &Damages,
    timed: &Timed,
    series: SeriesId,
    values: &mut Vec<f64>,
) -> Result<bool, Failure> {
    let mut query = connection.prepare_cached("SELECT sealed FROM chunk WHERE id = ?1")?;
    let Timed { span, wanted, .. } = timed;
    let key = key(span.id, series);
    let mut rows = query.query([key])?;
    let Some(row) = rows.next()? else { return Ok(false) };
    let content = seal::open(Table::Chunk, key, row.get_ref(0)?.as_blob().unwrap_or_default());
    let start = values.len();
    if content.and_then(|content| coder.decode_first(content, span.ticks, *wanted, values).ok()).is_none() {
        values.truncate(start);
        damages.add(Table::Chunk, key);
        return Ok(false);
    }
    Ok(true)
}

/// Makes segments of the whole tail.
pub(super) fn compact(
    connection: &Connection,
    known: &mut Known,
    coder: &mut Coder,
    damages: &Damages,
) -> Result<(), Failure> {
    if known.tail.ticks == 0 {
        return Ok(());
    }
    let (mut times, mut series) = (Vec::with_capacity(known.tail.ticks), Vec::new());
    tail::each(connection, damages, |_, at_ms, samples| {
        times.push(at_ms);
        // Most ticks have the series of the tick before.
        let known = series.len();
        samples.each(|id, _| {
            if series.get(..known).unwrap_or_default().binary_search(&id).is_err() {
                series.push(id);
            }
        });
        if series.len() > known {
            series.sort_unstable();
            series.dedup();
        }
        Ok(())
    })?;
    for (from, until) in runs(&times) {
        let part = times.get(from..until).unwrap_or_default();
        add(connection, known, coder, part, &series, |wanted, columns| {
            let mut tick = 0;
            tail::each(connection, damages, |_, _, samples| {
                if (from..until).contains(&tick) {
                    samples.each(|id, value| fill(wanted, columns, part.len(), tick - from, id, value));
                }
                tick += 1;
                Ok(())
            })
        })?;
    }
    connection.prepare_cached("DELETE FROM tail")?.execute([])?;
    known.tail.emptied();
    Ok(())
}

/// Makes segments of ticks that are in memory.
pub(super) fn add_frames(
    connection: &Connection,
    known: &mut Known,
    coder: &mut Coder,
    frames: &[Frame],
) -> Result<(), Failure> {
    let times: Vec<i64> = frames.iter().map(|frame| frame.at_ms).collect();
    let mut series: Vec<SeriesId> =
        frames.iter().flat_map(|frame| frame.samples.iter().map(|(id, _)| *id)).collect();
    series.sort_unstable();
    series.dedup();
    for (from, until) in runs(&times) {
        let part = frames.get(from..until).unwrap_or_default();
        let times = times.get(from..until).unwrap_or_default();
        add(connection, known, coder, times, &series, |wanted, columns| {
            for (tick, frame) in part.iter().enumerate() {
                for (id, value) in &frame.samples {
                    fill(wanted, columns, part.len(), tick, *id, *value);
                }
            }
            Ok(())
        })?;
    }
    Ok(())
}

/// Makes segments of whole columns.
pub(super) fn add_columns(
    connection: &Connection,
    known: &mut Known,
    coder: &mut Coder,
    times: &[i64],
    series: &[SeriesId],
    columns: &[Vec<f64>],
) -> Result<(), Failure> {
    for (from, until) in runs(times) {
        let id = begin(connection, known, coder, times.get(from..until).unwrap_or_default())?;
        for (series, column) in series.iter().zip(columns) {
            write_chunk(connection, coder, id, *series, column.get(from..until).unwrap_or_default())?;
        }
    }
    Ok(())
}

/// Puts a sample into its place of the columns of `wanted`, which are one behind the other.
fn fill(wanted: &[SeriesId], columns: &mut [f64], ticks: usize, tick: usize, series: SeriesId, value: f64) {
    if let Ok(column) = wanted.binary_search(&series)
        && let Some(place) = columns.get_mut(column * ticks + tick)
    {
        *place = value;
    }
}

/// Where a run of ticks within one day, with growing times, begins and ends; none is longer than a segment may be.
fn runs(times: &[i64]) -> Vec<(usize, usize)> {
    let mut runs = Vec::new();
    let mut from = 0;
    for at in 1..=times.len() {
        let (before, now) = (times.get(at - 1).copied().unwrap_or_default(), times.get(at).copied());
        let goes_on = now.is_some_and(|now| {
            now > before
                && now.div_euclid(DAY_MS) == before.div_euclid(DAY_MS)
                && at - from < limits::SEGMENT_TICKS_MAX
        });
        if !goes_on {
            runs.push((from, at));
            from = at;
        }
    }
    runs
}

/// Writes one segment; `columns_of` fills the columns of some series, a part of all at a time.
fn add(
    connection: &Connection,
    known: &mut Known,
    coder: &mut Coder,
    times: &[i64],
    series: &[SeriesId],
    mut columns_of: impl FnMut(&[SeriesId], &mut [f64]) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let id = begin(connection, known, coder, times)?;
    let mut columns = Vec::new();
    for wanted in series.chunks(limits::COLUMNS_AT_ONCE) {
        columns.clear();
        columns.resize(wanted.len() * times.len(), f64::NAN);
        columns_of(wanted, &mut columns)?;
        for (series, column) in wanted.iter().zip(columns.chunks(times.len().max(1))) {
            write_chunk(connection, coder, id, *series, column)?;
        }
    }
    Ok(())
}

/// Writes the times of a segment and returns its number. Its day has to be rolled up again if it was already.
#[expect(clippy::cast_precision_loss, reason = "milliseconds of any year fit 53 bits")]
fn begin(
    connection: &Connection,
    known: &mut Known,
    coder: &mut Coder,
    times: &[i64],
) -> Result<i64, Failure> {
    let id = known.segments.last().map_or(0, |span| span.id) + 1;
    let id = connection
        .query_row("SELECT max(id) FROM segment", [], |row| row.get::<_, Option<i64>>(0))
        .optional()?
        .flatten()
        .map_or(id, |highest| id.max(highest + 1));
    let span = Span {
        id,
        from_ms: times.first().copied().unwrap_or_default(),
        to_ms: times.last().copied().unwrap_or_default(),
        ticks: times.len(),
    };
    let mut sealed = Vec::new();
    sealed.extend_from_slice(&span.from_ms.to_le_bytes());
    sealed.extend_from_slice(&span.to_ms.to_le_bytes());
    sealed.extend_from_slice(&u32::try_from(span.ticks).unwrap_or(u32::MAX).to_le_bytes());
    let numbers: Vec<f64> = times.iter().map(|ms| *ms as f64).collect();
    coder.encode(&numbers, false, &mut sealed);
    seal::seal(Table::Segment, id, &mut sealed);
    connection
        .prepare_cached("INSERT INTO segment (id, sealed) VALUES (?1, ?2)")?
        .execute(params![id, sealed])?;
    if let Ok(at) = known.rolled.binary_search(&span.day()) {
        connection.prepare_cached("DELETE FROM rolled WHERE id = ?1")?.execute([span.day()])?;
        known.rolled.remove(at);
    }
    known.segments.push(span);
    Ok(id)
}

fn write_chunk(
    connection: &Connection,
    coder: &mut Coder,
    segment: i64,
    series: SeriesId,
    values: &[f64],
) -> Result<(), Failure> {
    if values.iter().all(|value| value.is_nan()) {
        return Ok(());
    }
    let key = key(segment, series);
    let mut sealed = Vec::with_capacity(values.len() * 2);
    coder.encode(values, false, &mut sealed);
    seal::seal(Table::Chunk, key, &mut sealed);
    connection
        .prepare_cached("INSERT INTO chunk (id, sealed) VALUES (?1, ?2)")?
        .execute(params![key, sealed])?;
    Ok(())
}

/// Hands the samples of a series in these segments to `take`, sorted by time, as few pieces as there are segments. The times beside them are
/// those of the ticks that are wanted: the first of each segment, or all.
pub(super) fn samples(
    connection: &Connection,
    coder: &mut Coder,
    damages: &Damages,
    segments: &[Timed],
    series: SeriesId,
    buffer: &mut Vec<f64>,
    mut take: impl FnMut(&[i64], &[f64]),
) -> Result<(), Failure> {
    let sorted = segments.is_sorted_by(|one, next| one.span.to_ms < next.span.from_ms);
    if sorted {
        for timed in segments {
            buffer.clear();
            if chunk(connection, coder, damages, timed, series, buffer)? {
                take(timed.wanted(), buffer);
            }
        }
        return Ok(());
    }
    // The clock was set back: ticks of two runs lie between each other.
    let mut all = Vec::new();
    for timed in segments {
        buffer.clear();
        if chunk(connection, coder, damages, timed, series, buffer)? {
            all.extend(timed.wanted().iter().copied().zip(buffer.iter().copied()));
        }
    }
    all.sort_by_key(|(time, _)| *time);
    let (times, values): (Vec<i64>, Vec<f64>) = all.into_iter().unzip();
    take(&times, &values);
    Ok(())
}

/// The segments that hold samples of a range of time, and those before it that a counter's first increase may be taken from.
pub(super) fn within(segments: &[Span], from_ms: i64, to_ms: i64) -> Vec<Span> {
    let from_ms = from_ms.saturating_sub(RATE_GAP_MAX_MS);
    let mut found: Vec<Span> =
        segments.iter().filter(|span| span.to_ms >= from_ms && span.from_ms <= to_ms).copied().collect();
    found.sort_by_key(|span| (span.from_ms, span.id));
    found
}
