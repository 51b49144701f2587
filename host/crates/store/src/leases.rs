//! Leases and their audit log. One commit takes over what many requests did: they share its fsync.
//!
//! What a lease or an event is, is the core's business: here they are documents under their numbers. Written by one caller at a time;
//! whoever reads the log does so beside it.

use crate::file::{Failure, File};
use crate::open::{Durability, Schema};
use crate::{Quarantine, StoreError, limits, unavailable};
use lowtide_core::lease::{Job, Lease, LeaseId, Meta, Override, Record, Token, Window};
use lowtide_core::limits::LEASE_RUNS_KEPT;
use lowtide_core::units::WallTime;
use rusqlite::{Connection, OpenFlags, OptionalExtension, Transaction, TransactionBehavior, params};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

const SCHEMA: Schema = &[include_str!("../schema/leases_001.sql")];

/// What is on disk.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Stored {
    /// Leases that are held, wait, or ended lately.
    pub leases: Vec<Lease>,
    /// The newest numbers, and the operator's switch and windows.
    pub meta: Meta,
    /// When each job was last done.
    pub runs: BTreeMap<Job, WallTime>,
}

/// What one commit takes over: all of it or nothing.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// Events, numbered on from those that are there.
    pub records: Vec<Arc<Record>>,
    /// Every lease that they changed, as it is after them.
    pub leases: Vec<Arc<Lease>>,
    /// Ended leases that are no longer kept.
    pub forgotten: Vec<LeaseId>,
    /// Jobs that were done.
    pub runs: Vec<(Job, WallTime)>,
    /// The numbers after the events.
    pub meta: Meta,
    /// Events up to this number are no longer kept.
    pub drop_events_to: u64,
}

/// The file of leases.
#[derive(Debug)]
pub struct LeaseStore {
    file: File,
    // Reading the log must not wait for a commit.
    reader: Mutex<Option<Connection>>,
}

impl LeaseStore {
    /// Opens the file, makes it if there is none, and brings its schema up to date. A corrupt file is put aside as
    /// `<name>.corrupt-<n>`, and a fresh one made.
    ///
    /// # Errors
    /// When the file cannot be opened or written, or belongs to a newer version.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        Ok(Self { file: File::open(path, SCHEMA, Durability::EachCommit)?, reader: Mutex::new(None) })
    }

    /// The corrupt file that was last put aside since the start, if there was one.
    #[must_use]
    pub fn quarantine(&self) -> Option<Quarantine> {
        self.file.quarantine()
    }

    /// Reads the log from the file that is there now: the one before may have been put aside.
    pub fn read_anew(&self) {
        *self.reader.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Reads everything but the log.
    ///
    /// # Errors
    /// When the file cannot be read, or a document in it is no lease.
    pub fn load(&self) -> Result<Stored, StoreError> {
        self.file.with(|connection| {
            let transaction = connection.transaction()?;
            let stored = Stored {
                leases: load_leases(&transaction)?,
                meta: load_meta(&transaction)?,
                runs: load_runs(&transaction)?,
            };
            transaction.finish()?;
            Ok(stored)
        })
    }

    /// Takes over a batch. When it returns, the batch survives a crash.
    ///
    /// # Errors
    /// [`StoreError::Full`] when there is no room, or when the file cannot be written. Nothing of the batch is there then.
    pub fn commit(&self, batch: &Batch) -> Result<(), StoreError> {
        self.file.with(|connection| {
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            write(&transaction, batch)?;
            Ok(transaction.commit()?)
        })
    }

    /// Events after a number, oldest first, at most `limit`; of one lease if one is named.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn events(
        &self,
        after: u64,
        limit: usize,
        lease: Option<LeaseId>,
    ) -> Result<Vec<Record>, StoreError> {
        let sql = "SELECT document FROM event WHERE sequence > ?1 AND (?2 IS NULL OR lease = ?2) ORDER BY sequence LIMIT ?3";
        self.read(sql, params![as_i64(after), lease.map(|id| as_i64(id.0)), limit])
    }

    /// The newest events up to and with a number, newest first, at most `limit`.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn newest_events(&self, up_to: u64, limit: usize) -> Result<Vec<Record>, StoreError> {
        let sql = "SELECT document FROM event WHERE sequence <= ?1 ORDER BY sequence DESC LIMIT ?2";
        self.read(sql, params![as_i64(up_to), limit])
    }

    fn read(&self, sql: &str, params: impl rusqlite::Params) -> Result<Vec<Record>, StoreError> {
        let mut place = self.reader.lock().unwrap_or_else(PoisonError::into_inner);
        let connection = match place.take() {
            Some(connection) => connection,
            None => open_reader(self.file.path()).map_err(|error| unavailable(self.file.path(), &error))?,
        };
        let documents = (|| {
            let mut query = connection.prepare_cached(sql)?;
            query.query_map(params, |row| row.get(0))?.collect::<Result<Vec<String>, _>>()
        })();
        let documents = documents.map_err(|error| unavailable(self.file.path(), &error))?;
        *place = Some(connection);
        let parse = |document: &String| serde_json::from_str(document);
        documents.iter().map(parse).collect::<Result<_, _>>().map_err(|error| {
            StoreError::Unavailable(format!(
                "{}: an event cannot be read: {error}",
                self.file.path().display()
            ))
        })
    }
}

fn open_reader(path: &Path) -> Result<Connection, rusqlite::Error> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(limits::BUSY_WAIT)?;
    Ok(connection)
}

fn write(transaction: &Transaction<'_>, batch: &Batch) -> Result<(), Failure> {
    let mut insert =
        transaction.prepare_cached("INSERT INTO event (sequence, lease, document) VALUES (?1, ?2, ?3)")?;
    for record in &batch.records {
        let lease = record.event.lease().map(|id| as_i64(id.0));
        insert.execute(params![as_i64(record.sequence), lease, json(record.as_ref())?])?;
    }
    let mut replace =
        transaction.prepare_cached("INSERT OR REPLACE INTO lease (id, document) VALUES (?1, ?2)")?;
    for lease in &batch.leases {
        replace.execute(params![as_i64(lease.id.0), json(lease.as_ref())?])?;
    }
    let mut delete = transaction.prepare_cached("DELETE FROM lease WHERE id = ?1")?;
    for id in &batch.forgotten {
        delete.execute([as_i64(id.0)])?;
    }
    let mut run = transaction
        .prepare_cached("INSERT OR REPLACE INTO run (holder, job_type, at_ms) VALUES (?1, ?2, ?3)")?;
    for ((holder, job_type), at) in &batch.runs {
        run.execute(params![&**holder, &**job_type, at.unix_ms()])?;
    }
    if batch.drop_events_to > 0 {
        transaction
            .prepare_cached("DELETE FROM event WHERE sequence <= ?1")?
            .execute([as_i64(batch.drop_events_to)])?;
    }
    let meta = &batch.meta;
    transaction
        .prepare_cached(
            "INSERT OR REPLACE INTO meta (one, sequence, last_id, last_token, epoch, switches) VALUES (1, ?1, ?2, ?3, ?4, ?5)",
        )?
        .execute(params![
            as_i64(meta.sequence),
            as_i64(meta.last_id.0),
            as_i64(meta.last_token.0),
            meta.epoch,
            json(&(&meta.switch, &meta.windows))?
        ])?;
    Ok(())
}

fn load_leases(transaction: &Transaction<'_>) -> Result<Vec<Lease>, Failure> {
    let mut query = transaction.prepare("SELECT id, document FROM lease ORDER BY id")?;
    let mut rows = query.query([])?;
    let mut leases = Vec::new();
    while let Some(row) = rows.next()? {
        let lease: Lease = parse(row.get_ref(1)?.as_str().unwrap_or_default())?;
        if row.get::<_, i64>(0)? != as_i64(lease.id.0) {
            return Err(Failure::Garbled(format!("lease {} stands under another number", lease.id.0)));
        }
        leases.push(lease);
    }
    Ok(leases)
}

fn load_meta(transaction: &Transaction<'_>) -> Result<Meta, Failure> {
    let row = transaction
        .query_row("SELECT sequence, last_id, last_token, epoch, switches FROM meta", [], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get::<_, String>(4)?))
        })
        .optional()?;
    let Some((sequence, last_id, last_token, epoch, switches)) = row else { return Ok(Meta::default()) };
    let (switch, windows): (Option<Override>, Vec<Window>) = parse(&switches)?;
    Ok(Meta { sequence, last_id: LeaseId(last_id), last_token: Token(last_token), epoch, switch, windows })
}

fn load_runs(transaction: &Transaction<'_>) -> Result<BTreeMap<Job, WallTime>, Failure> {
    let mut query =
        transaction.prepare("SELECT holder, job_type, at_ms FROM run ORDER BY at_ms DESC LIMIT ?1")?;
    let runs = query.query_map([LEASE_RUNS_KEPT], |row| {
        let (holder, job_type): (String, String) = (row.get(0)?, row.get(1)?);
        Ok(((holder.into(), job_type.into()), WallTime(row.get(2)?)))
    })?;
    Ok(runs.collect::<Result<_, _>>()?)
}

fn json(value: &impl serde::Serialize) -> Result<String, Failure> {
    serde_json::to_string(value).map_err(|error| Failure::Garbled(error.to_string()))
}

fn parse<T: serde::de::DeserializeOwned>(document: &str) -> Result<T, Failure> {
    serde_json::from_str(document)
        .map_err(|error| Failure::Garbled(format!("a document cannot be read: {error}")))
}

/// Numbers count up from 1 and never come near the bound.
fn as_i64(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
