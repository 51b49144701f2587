//! One SQLite file that is opened anew after whatever leaves doubt about it. What is in it is its users' business.

use crate::open::{self, Durability, Schema};
use crate::{Quarantine, StoreError, is_corrupt, leaves_doubt, unavailable};
use rusqlite::Connection;
use std::fmt;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// An open file.
pub(crate) struct File {
    path: PathBuf,
    schema: Schema,
    durability: Durability,
    state: Mutex<State>,
    /// How often it was opened.
    opened: AtomicU64,
    /// How often another file was there than before.
    replaced: AtomicU64,
}

struct State {
    /// None after a failure that leaves doubt about the file: the next call opens it anew.
    connection: Option<Connection>,
    quarantine: Option<Quarantine>,
    /// Device and number of the file that is open: they tell it from one that took its place.
    identity: Option<(u64, u64)>,
    /// What SQLite said when it found the file corrupt in the last call: the next one puts it aside.
    corrupt: Option<String>,
}

impl fmt::Debug for File {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("File").field("path", &self.path).finish_non_exhaustive()
    }
}

impl File {
    pub(crate) fn open(path: &Path, schema: Schema, durability: Durability) -> Result<Self, StoreError> {
        let opened = open::open(path, schema, durability, None)?;
        let state = State {
            connection: Some(opened.connection),
            quarantine: opened.quarantine,
            identity: identity(path),
            corrupt: None,
        };
        let (path, state) = (path.to_owned(), Mutex::new(state));
        let (opened, replaced) = (AtomicU64::new(1), AtomicU64::new(0));
        Ok(Self { path, schema, durability, state, opened, replaced })
    }

    /// How often it was opened so far: after another number than before, what is known of it may no longer hold.
    pub(crate) fn opened(&self) -> u64 {
        self.opened.load(Ordering::Acquire)
    }

    /// How often so far it was another file than before: the one before was put aside, or somebody took it away.
    pub(crate) fn replaced(&self) -> u64 {
        self.replaced.load(Ordering::Acquire)
    }

    /// Takes the file for corrupt, for this reason: the next call puts it aside.
    pub(crate) fn condemn(&self, reason: String) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.connection = None;
        state.corrupt = Some(reason);
    }

    pub(crate) fn quarantine(&self) -> Option<Quarantine> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).quarantine.clone()
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Runs `work` on the connection, opened anew if the last call left doubt about it.
    pub(crate) fn with<T>(
        &self,
        work: impl FnOnce(&mut Connection) -> Result<T, Failure>,
    ) -> Result<T, StoreError> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let mut connection = match state.connection.take() {
            Some(connection) => connection,
            None => {
                let opened = open::open(&self.path, self.schema, self.durability, state.corrupt.clone())?;
                self.opened.fetch_add(1, Ordering::AcqRel);
                let identity = identity(&self.path);
                if opened.quarantine.is_some() || identity != state.identity {
                    self.replaced.fetch_add(1, Ordering::AcqRel);
                }
                state.identity = identity;
                state.corrupt = None;
                state.quarantine = opened.quarantine.or(state.quarantine.take());
                opened.connection
            }
        };
        let result = work(&mut connection);
        // After a failed write to the disk nobody knows what is there: only a fresh look at the file tells.
        match &result {
            Err(Failure::Sqlite(error)) if is_corrupt(error) => {
                state.corrupt = Some(open::lower(&error.to_string()));
            }
            Err(Failure::Sqlite(error)) if leaves_doubt(error) => {}
            _ => state.connection = Some(connection),
        }
        result.map_err(|failure| match failure {
            Failure::Quota(text) => StoreError::Quota(text),
            Failure::Garbled(text) => StoreError::Unavailable(format!("{}: {text}", self.path.display())),
            Failure::Sqlite(error) => unavailable(&self.path, &error),
        })
    }
}

fn identity(path: &Path) -> Option<(u64, u64)> {
    std::fs::metadata(path).ok().map(|file| (file.dev(), file.ino()))
}

/// Why work on the connection failed.
pub(crate) enum Failure {
    Quota(String),
    /// A row cannot be read.
    Garbled(String),
    Sqlite(rusqlite::Error),
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}
