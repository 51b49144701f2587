//! Opening the file: its mode, its settings, its schema, and what happens to one that is corrupt.
//!
//! It never deletes what it cannot read. Only `lib.rs` calls it.

use crate::{Quarantine, StoreError, is_corrupt, limits, unavailable};
use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags, TransactionBehavior};
use std::ffi::OsString;
use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// A schema, step by step: the file is at `PRAGMA user_version` n when the first n were run. A released step never changes.
pub(crate) type Schema = &'static [&'static str];

/// When what was committed survives a power cut. It survives the end of the daemon always.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Durability {
    /// When the commit returns.
    EachCommit,
    /// When a checkpoint has returned, which the user of the file asks for.
    AtCheckpoints,
}

pub(crate) struct Opened {
    pub(crate) connection: Connection,
    pub(crate) quarantine: Option<Quarantine>,
}

/// Why a file could not be opened.
enum Trouble {
    Corrupt(String),
    Other(StoreError),
}

/// Opens the file; with `corrupt`, what was found wrong with it already, it is put aside unseen.
pub(crate) fn open(
    path: &Path,
    schema: Schema,
    durability: Durability,
    corrupt: Option<String>,
) -> Result<Opened, StoreError> {
    let first = match corrupt {
        Some(reason) => Err(Trouble::Corrupt(reason)),
        None => try_open(path, schema, durability),
    };
    let reason = match first {
        Ok(connection) => return Ok(Opened { connection, quarantine: None }),
        Err(Trouble::Other(error)) => return Err(error),
        Err(Trouble::Corrupt(reason)) => reason,
    };
    let moved_to = put_aside(path).map_err(|error| {
        let text =
            format!("{} is corrupt ({reason}) and cannot be renamed: {error}: move it away", path.display());
        StoreError::Unavailable(text)
    })?;
    match try_open(path, schema, durability) {
        Ok(connection) => Ok(Opened { connection, quarantine: Some(Quarantine { moved_to, reason }) }),
        Err(Trouble::Other(error)) => Err(error),
        Err(Trouble::Corrupt(reason)) => {
            let text =
                format!("{}: a fresh file is corrupt at once ({reason}): check the disk", path.display());
            Err(StoreError::Unavailable(text))
        }
    }
}

fn try_open(path: &Path, schema: Schema, durability: Durability) -> Result<Connection, Trouble> {
    let sqlite = |error| trouble(path, &error);
    prepare_file(path).map_err(|error| {
        let advice = "check that its folder is there and that the daemon may write to it";
        Trouble::Other(StoreError::Unavailable(format!(
            "{}: {}: {advice}",
            path.display(),
            lower(&error.to_string())
        )))
    })?;
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = connect(path, flags).map_err(sqlite)?;
    configure(&connection, durability).map_err(sqlite)?;
    // It could be opened for writing: then only its own header can forbid it.
    if connection.is_readonly("main").map_err(sqlite)? {
        return Err(Trouble::Corrupt("its header forbids writing".to_owned()));
    }
    if let Some(damage) = damage(&connection, path).map_err(sqlite)? {
        return Err(Trouble::Corrupt(damage));
    }
    migrate(&mut connection, path, schema)?;
    Ok(connection)
}

#[cfg(test)]
use crate::shim::connect;

#[cfg(not(test))]
fn connect(path: &Path, flags: OpenFlags) -> Result<Connection, rusqlite::Error> {
    Connection::open_with_flags(path, flags)
}

fn trouble(path: &Path, error: &rusqlite::Error) -> Trouble {
    if is_corrupt(error) {
        Trouble::Corrupt(lower(&error.to_string()))
    } else {
        Trouble::Other(unavailable(path, error))
    }
}

/// Makes the file if there is none, and lets nobody else read it. The files that SQLite puts beside it take its mode.
fn prepare_file(path: &Path) -> io::Result<()> {
    let file =
        OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
    if file.metadata()?.permissions().mode() & 0o077 != 0 {
        file.set_permissions(fs::Permissions::from_mode(0o600))?;
    }
    Ok(())
}

fn configure(connection: &Connection, durability: Durability) -> Result<(), rusqlite::Error> {
    connection.busy_timeout(limits::BUSY_WAIT)?;
    // A file that was tampered with can run nothing through its schema, and nothing can write to it behind SQLite's back.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
    // What another file system answers instead of "wal" is as safe, only slower.
    connection.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(()))?;
    let synchronous = match durability {
        Durability::EachCommit => "FULL",
        Durability::AtCheckpoints => "NORMAL",
    };
    connection.pragma_update(None, "synchronous", synchronous)?;
    connection.pragma_update(None, "cell_size_check", true)?;
    connection.pragma_update(None, "cache_size", -limits::PAGE_CACHE_KIB)?;
    connection.query_row(&format!("PRAGMA journal_size_limit = {}", limits::LOG_BYTES_KEPT), [], |_| Ok(()))
}

/// Syncs the log, by a commit that changes nothing: what was committed before survives a power cut with it.
pub(crate) fn sync_log(connection: &mut Connection) -> Result<(), rusqlite::Error> {
    let before: i64 = connection.pragma_query_value(None, "synchronous", |row| row.get(0))?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    let committed = write_anew(connection);
    connection.pragma_update(None, "synchronous", before)?;
    committed
}

/// Writes a page as it is.
fn write_anew(connection: &mut Connection) -> Result<(), rusqlite::Error> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let schema: i64 = transaction.pragma_query_value(None, "user_version", |row| row.get(0))?;
    transaction.pragma_update(None, "user_version", schema)?;
    transaction.commit()
}

/// What is wrong with the file, if anything.
fn damage(connection: &Connection, path: &Path) -> Result<Option<String>, rusqlite::Error> {
    if fs::metadata(path).map_or(0, |file| file.len()) > limits::CHECKED_BYTES_MAX {
        return Ok(None);
    }
    let answer: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    Ok((answer != "ok").then(|| lower(&answer)))
}

/// Runs the steps that the file has not seen, each in a transaction with its number: a crash leaves it at a whole step.
fn migrate(connection: &mut Connection, path: &Path, steps: &[&str]) -> Result<(), Trouble> {
    let sqlite = |error| trouble(path, &error);
    let known = i64::try_from(steps.len()).unwrap_or(i64::MAX);
    loop {
        // The number is read within the transaction: of two processes that do the same, one is told to come again.
        let transaction =
            connection.transaction_with_behavior(TransactionBehavior::Deferred).map_err(sqlite)?;
        let found: i64 =
            transaction.pragma_query_value(None, "user_version", |row| row.get(0)).map_err(sqlite)?;
        if found > known {
            return Err(Trouble::Other(StoreError::Newer { path: path.to_owned(), found, known }));
        }
        let Ok(done) = usize::try_from(found) else {
            return Err(Trouble::Corrupt(format!("its schema number is {found}")));
        };
        let Some(step) = steps.get(done) else { return Ok(()) };
        transaction.execute_batch(step).map_err(|error| step_failed(path, found, &error))?;
        transaction.pragma_update(None, "user_version", found + 1).map_err(sqlite)?;
        transaction.commit().map_err(sqlite)?;
    }
}

/// A step that does not fit what is there is more likely our mistake than damage: nothing is put aside for it.
fn step_failed(path: &Path, found: i64, error: &rusqlite::Error) -> Trouble {
    if !matches!(error.sqlite_error_code(), Some(ErrorCode::Unknown | ErrorCode::ConstraintViolation)) {
        return trouble(path, error);
    }
    let text = format!(
        "{}: cannot go from schema {found} to {}: {}: start the older version again, or move the file away",
        path.display(),
        found + 1,
        lower(&error.to_string())
    );
    Trouble::Other(StoreError::Unavailable(text))
}

/// Renames the file, with the log that belongs to it, to the first free `<name>.corrupt-<n>`.
fn put_aside(path: &Path) -> io::Result<PathBuf> {
    let taken = |number: &u32| beside(path, &format!(".corrupt-{number}")).symlink_metadata().is_ok();
    let number =
        (1..limits::QUARANTINES_MAX).find(|number| !taken(number)).unwrap_or(limits::QUARANTINES_MAX);
    let target = beside(path, &format!(".corrupt-{number}"));
    // The log first: a fresh file must never find the log of the old one.
    let log = beside(path, "-wal");
    if log.symlink_metadata().is_ok() {
        fs::rename(&log, beside(&target, "-wal"))?;
    }
    match fs::remove_file(beside(path, "-shm")) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    fs::rename(path, &target)?;
    Ok(target)
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    PathBuf::from(name)
}

/// A text of the system or of SQLite as a part of ours: it begins in lower case and has no final period.
pub(crate) fn lower(text: &str) -> String {
    let text = text.trim_end_matches('.');
    let mut characters = text.chars();
    characters.next().map_or_else(String::new, |first| first.to_lowercase().chain(characters).collect())
}

#[cfg(test)]
mod tests;
