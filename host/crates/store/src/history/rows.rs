//! Rows of what happened: quiet intervals and events. The columns choose, the sealed document tells.

use super::seal::{self, Damages, Table};
use crate::file::Failure;
use crate::limits;
use rusqlite::{Connection, Row, params};
use serde::{Deserialize, Serialize};

/// A time during which the host was QUIET.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct QuietRow {
    /// First tick of it: milliseconds since 1970.
    pub from_ms: i64,
    /// Last tick of it so far.
    pub to_ms: i64,
    /// Ticks.
    pub ticks: u64,
    /// Mean score, 0 to 100.
    pub score_avg: f64,
    /// Least score.
    pub score_min: u8,
    /// True while it goes on. After the daemon was killed, the newest one may say so though it does not.
    pub open: bool,
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EventRow {
    /// Its number in the file; given when it is added.
    #[serde(skip)]
    pub id: i64,
    /// When: milliseconds since 1970.
    pub at_ms: i64,
    /// Kind: `state`, `collector`, `addon`, `lease` and the like.
    pub kind: String,
    /// Whom it is about: a collector, an addon, a holder.
    pub subject: Option<String>,
    /// All of it as JSON.
    pub document: serde_json::Value,
}

/// Which events are asked for.
#[derive(Clone, Debug, Default)]
pub struct EventsAsked {
    /// Only events after this number, oldest first.
    pub after: Option<i64>,
    /// Only events before this number, newest first; the default when neither is given.
    pub before: Option<i64>,
    /// From this time on.
    pub from_ms: Option<i64>,
    /// Up to this time.
    pub to_ms: Option<i64>,
    /// Only of this kind.
    pub kind: Option<String>,
    /// Only about this one.
    pub subject: Option<String>,
    /// At most so many.
    pub limit: usize,
}

pub(super) fn put_quiet(connection: &Connection, row: &QuietRow) -> Result<(), Failure> {
    // It is the newest, or a new one: an older interval never changes.
    let newest: Option<(i64, i64)> = connection
        .prepare_cached("SELECT id, from_ms FROM quiet ORDER BY id DESC LIMIT 1")?
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
        .next()
        .transpose()?;
    let id = match newest {
        Some((id, from_ms)) if from_ms == row.from_ms => id,
        newest => newest.map_or(0, |(id, _)| id) + 1,
    };
    let mut sealed = json(row)?;
    seal::seal(Table::Quiet, id, &mut sealed);
    connection
        .prepare_cached("INSERT OR REPLACE INTO quiet (id, from_ms, to_ms, sealed) VALUES (?1, ?2, ?3, ?4)")?
        .execute(params![id, row.from_ms, row.to_ms, sealed])?;
    Ok(())
}

pub(super) fn add_events(connection: &Connection, events: &[EventRow]) -> Result<(), Failure> {
    let newest: Option<i64> = connection.query_row("SELECT max(id) FROM event", [], |row| row.get(0))?;
    let mut insert = connection
        .prepare_cached("INSERT INTO event (id, at_ms, kind, subject, sealed) VALUES (?1, ?2, ?3, ?4, ?5)")?;
    for (id, event) in (newest.unwrap_or(0) + 1..).zip(events) {
        let mut sealed = json(event)?;
        if sealed.len() > limits::EVENT_BYTES_MAX {
            let document = serde_json::json!({ "left_out": "the event was too long to be kept" });
            sealed = json(&EventRow { document, ..event.clone() })?;
        }
        seal::seal(Table::Event, id, &mut sealed);
        insert.execute(params![id, event.at_ms, event.kind, event.subject, sealed])?;
    }
    Ok(())
}

/// Quiet intervals that end at or after `from_ms` and begin at or before `to_ms`, and come after the one that began at `after_ms`, oldest
/// first.
pub(super) fn quiet(
    connection: &Connection,
    damages: &Damages,
    (from_ms, to_ms): (i64, i64),
    after_ms: Option<i64>,
    limit: usize,
) -> Result<Vec<QuietRow>, Failure> {
    let mut query = connection.prepare_cached(
        "SELECT id, sealed FROM quiet WHERE to_ms >= ?1 AND from_ms <= ?2 AND from_ms > ?3 ORDER BY from_ms LIMIT ?4",
    )?;
    let mut rows = query.query(params![from_ms, to_ms, after_ms.unwrap_or(i64::MIN), limit])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let id = row.get(0)?;
        match parse(Table::Quiet, id, row.get_ref(1)?.as_blob().unwrap_or_default()) {
            Some(row) => found.push(row),
            None => damages.add(Table::Quiet, id),
        }
    }
    Ok(found)
}

/// The newest quiet interval.
pub(super) fn newest_quiet(connection: &Connection, damages: &Damages) -> Result<Option<QuietRow>, Failure> {
    let mut query = connection.prepare_cached("SELECT id, sealed FROM quiet ORDER BY id DESC LIMIT 1")?;
    let mut rows = query.query([])?;
    let Some(row) = rows.next()? else { return Ok(None) };
    let id = row.get(0)?;
    let found = parse(Table::Quiet, id, row.get_ref(1)?.as_blob().unwrap_or_default());
    if found.is_none() {
        damages.add(Table::Quiet, id);
    }
    Ok(found)
}

pub(super) fn events(
    connection: &Connection,
    damages: &Damages,
    asked: &EventsAsked,
) -> Result<Vec<EventRow>, Failure> {
    let (bound, order) = match asked.after {
        Some(_) => ("id > ?1", "ASC"),
        None => ("id < ?1", "DESC"),
    };
    let sql = format!(
        "SELECT id, sealed FROM event WHERE {bound} AND at_ms BETWEEN ?2 AND ?3 AND (?4 IS NULL OR kind = ?4)
         AND (?5 IS NULL OR subject = ?5) ORDER BY id {order} LIMIT ?6"
    );
    let mut query = connection.prepare_cached(&sql)?;
    let id = asked.after.or(asked.before).unwrap_or(i64::MAX);
    let mut rows = query.query(params![
        id,
        asked.from_ms.unwrap_or(i64::MIN),
        asked.to_ms.unwrap_or(i64::MAX),
        asked.kind,
        asked.subject,
        asked.limit
    ])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let id = row.get(0)?;
        match parse::<EventRow>(Table::Event, id, row.get_ref(1)?.as_blob().unwrap_or_default()) {
            Some(event) => found.push(EventRow { id, ..event }),
            None => damages.add(Table::Event, id),
        }
    }
    Ok(found)
}

/// What a check of every row reads besides key and sealed content.
pub(super) fn columns(table: Table) -> &'static str {
    match table {
        Table::Quiet => ", from_ms, to_ms",
        Table::Event => ", at_ms, kind, subject",
        _ => "",
    }
}

/// Whether the columns that rows are chosen by say what the sealed content says.
pub(super) fn columns_agree(table: Table, row: &Row<'_>, content: &[u8]) -> bool {
    let agree = || -> Option<bool> {
        Some(match table {
            Table::Quiet => {
                let sealed: QuietRow = serde_json::from_slice(content).ok()?;
                row.get::<_, i64>(2).ok()? == sealed.from_ms && row.get::<_, i64>(3).ok()? == sealed.to_ms
            }
            Table::Event => {
                let sealed: EventRow = serde_json::from_slice(content).ok()?;
                row.get::<_, i64>(2).ok()? == sealed.at_ms
                    && row.get::<_, String>(3).ok()? == sealed.kind
                    && row.get::<_, Option<String>>(4).ok()? == sealed.subject
            }
            _ => true,
        })
    };
    agree().unwrap_or(false)
}

fn json(value: &impl Serialize) -> Result<Vec<u8>, Failure> {
    serde_json::to_vec(value).map_err(|error| Failure::Garbled(error.to_string()))
}

fn parse<T: serde::de::DeserializeOwned>(table: Table, id: i64, sealed: &[u8]) -> Option<T> {
    seal::open(table, id, sealed).and_then(|content| serde_json::from_slice(content).ok())
}
