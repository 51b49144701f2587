//! What goes, and when. Ages are counted in days that were recorded, not by the clock: a clock that jumps a year ahead must not delete a year.

use super::catalogue::Catalogue;
use super::segments::Span;
use super::{DAY_MS, Known, SERIES_BITS, SeriesId, key};
use crate::file::Failure;
use crate::limits;
use rusqlite::{Connection, OptionalExtension};

/// What is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keep {
    /// Recorded days of raw samples.
    pub raw_days: u32,
    /// Recorded days of roll-ups.
    pub rollup_days: u32,
    /// Bytes in use; above it the oldest goes first, raw samples before roll-ups.
    pub bytes_max: u64,
}

/// What one call deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    /// Days of raw samples that went.
    pub raw_days: u32,
    /// Days of roll-ups that went.
    pub rollup_days: u32,
    /// Rows of events and quiet intervals that went.
    pub rows: u64,
    /// True when there may be more to delete.
    pub more: bool,
    /// True when size, not age, was the reason.
    pub for_room: bool,
}

/// Bytes in use, and bytes of the file.
pub(super) fn bytes(connection: &Connection) -> Result<(u64, u64), Failure> {
    let pragma = |name: &str| connection.pragma_query_value(None, name, |row| row.get::<_, u64>(0));
    let (page, pages, free) = (pragma("page_size")?, pragma("page_count")?, pragma("freelist_count")?);
    Ok((page * pages.saturating_sub(free), page * pages))
}

/// Deletes one day of what is too old, or of the oldest there is when the file is too large.
pub(super) fn forget(connection: &Connection, known: &mut Known, keep: &Keep) -> Result<Kept, Failure> {
    let mut kept = Kept { rows: forget_rows(connection)?, ..Kept::default() };
    let (used, _) = bytes(connection)?;
    kept.for_room = used > keep.bytes_max;
    let newest_day = known.segments.iter().map(Span::day).max();
    if let Some(day) = oldest_raw_day(known, keep, kept.for_room)
        && Some(day) != newest_day
    {
        forget_raw(connection, known, day)?;
        kept.raw_days = 1;
    } else if (known.rolled.len() > usize::try_from(keep.rollup_days).unwrap_or(usize::MAX)
        || kept.for_room && known.rolled.len() > 1)
        && let Some(day) = known.rolled.first().copied()
    {
        forget_rollup(connection, known, day)?;
        kept.rollup_days = 1;
    }
    kept.more = kept.raw_days + kept.rollup_days > 0;
    Ok(kept)
}

/// The oldest day of raw samples, if what is newer covers what is to be kept, or room is needed. It goes only when it is rolled up.
fn oldest_raw_day(known: &Known, keep: &Keep, for_room: bool) -> Option<i64> {
    // By their numbers, which grow as they are recorded: what was recorded first goes first, whatever the clock said.
    let oldest = known.segments.first()?.day();
    let newer = known.segments.iter().filter(|span| span.day() != oldest);
    let covered_ms: i64 = newer.map(|span| span.to_ms - span.from_ms).sum();
    let enough = covered_ms >= i64::from(keep.raw_days) * DAY_MS;
    ((enough || for_room) && known.rolled.binary_search(&oldest).is_ok()).then_some(oldest)
}

fn forget_raw(connection: &Connection, known: &mut Known, day: i64) -> Result<(), Failure> {
    for span in known.segments.iter().filter(|span| span.day() == day) {
        connection
            .prepare_cached("DELETE FROM chunk WHERE id >= ?1 AND id < ?2")?
            .execute([span.id << SERIES_BITS, (span.id + 1) << SERIES_BITS])?;
        connection.prepare_cached("DELETE FROM segment WHERE id = ?1")?.execute([span.id])?;
    }
    known.segments.retain(|span| span.day() != day);
    Ok(())
}

fn forget_rollup(connection: &Connection, known: &mut Known, day: i64) -> Result<(), Failure> {
    let bounds = [day << SERIES_BITS, (day + 1) << SERIES_BITS];
    let mut query = connection.prepare_cached("SELECT id FROM rollup WHERE id >= ?1 AND id < ?2")?;
    let gone: Vec<i64> = query.query_map(bounds, |row| row.get(0))?.collect::<Result<_, _>>()?;
    for table in ["rollup", "sketch"] {
        connection
            .prepare_cached(&format!("DELETE FROM {table} WHERE id >= ?1 AND id < ?2"))?
            .execute(bounds)?;
    }
    connection.prepare_cached("DELETE FROM rolled WHERE id = ?1")?.execute([day])?;
    known.rolled.retain(|rolled| *rolled != day);
    for key in gone {
        let series = SeriesId(u32::try_from(key & ((1 << SERIES_BITS) - 1)).unwrap_or(u32::MAX));
        if !is_anywhere(connection, known, series)? {
            let catalogue: &mut Catalogue = &mut known.catalogue;
            catalogue.remove(connection, series)?;
        }
    }
    Ok(())
}

/// Whether anything of a series is left. The newest is asked first: most series are still there.
fn is_anywhere(connection: &Connection, known: &Known, series: SeriesId) -> Result<bool, Failure> {
    let mut chunk = connection.prepare_cached("SELECT 1 FROM chunk WHERE id = ?1")?;
    for span in known.segments.iter().rev() {
        if chunk.query_row([key(span.id, series)], |_| Ok(())).optional()?.is_some() {
            return Ok(true);
        }
    }
    let mut rollup = connection.prepare_cached("SELECT 1 FROM rollup WHERE id = ?1")?;
    for day in known.rolled.iter().rev() {
        if rollup.query_row([key(*day, series)], |_| Ok(())).optional()?.is_some() {
            return Ok(true);
        }
    }
    // The tail is short, and what is only there is new.
    Ok(known.tail.ticks > 0 && known.segments.is_empty())
}

/// Deletes the oldest rows above their bounds.
fn forget_rows(connection: &Connection) -> Result<u64, Failure> {
    let mut gone = 0;
    for (table, most) in [("event", limits::EVENT_ROWS_MAX), ("quiet", limits::QUIET_ROWS_MAX)] {
        let sql = format!("DELETE FROM {table} WHERE id <= (SELECT max(id) FROM {table}) - ?1");
        gone += connection.prepare_cached(&sql)?.execute([most])?;
    }
    Ok(gone as u64)
}
