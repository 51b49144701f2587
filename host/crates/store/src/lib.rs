//! What Lowtide keeps on disk, in one SQLite file: opening it, bringing its schema up to date, and putting a corrupt one aside.
//!
//! It knows nothing of addons but their names, reads no clock and logs nothing: `app` calls it, off the tick's thread, and shows what
//! it reports. Every call blocks.

mod kv;
pub mod limits;
mod open;

pub use kv::KvQuota;
use rusqlite::{Connection, ErrorCode};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// Why the store did not do what was asked. The texts are for people.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The quota given with the write would be exceeded; nothing was written.
    #[error("{0}")]
    Quota(String),
    /// The file cannot be read or written now.
    #[error("{0}")]
    Unavailable(String),
    /// The file belongs to a newer version of the program, and was left alone.
    #[error(
        "{} has schema {found}, this version knows up to {known}: start the newer version again, or move the file away",
        path.display()
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its schema.
        found: i64,
        /// The newest schema known here.
        known: i64,
    },
}

/// A corrupt file that was put aside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quarantine {
    /// Where it is now.
    pub moved_to: PathBuf,
    /// What SQLite said of it.
    pub reason: String,
}

/// An open store.
pub struct Store {
    path: PathBuf,
    state: Mutex<State>,
}

struct State {
    /// None after a failure that leaves doubt about the file: the next call opens it anew.
    connection: Option<Connection>,
    quarantine: Option<Quarantine>,
    /// What SQLite said when it found the file corrupt in the last call: the next one puts it aside.
    corrupt: Option<String>,
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Store {
    /// Opens the file, makes it if there is none, and brings its schema up to date. A corrupt file is renamed to
    /// `<name>.corrupt-<n>` and a fresh one made: see [`Store::quarantine`].
    ///
    /// # Errors
    /// When the file cannot be opened or written, or belongs to a newer version.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let opened = open::open(path, None)?;
        let state =
            State { connection: Some(opened.connection), quarantine: opened.quarantine, corrupt: None };
        Ok(Self { path: path.to_owned(), state: Mutex::new(state) })
    }

    /// The corrupt file that was last put aside since the start, if there was one: what it held is gone until someone repairs it.
    #[must_use]
    pub fn quarantine(&self) -> Option<Quarantine> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).quarantine.clone()
    }

    /// Runs `work` on the connection, opened anew if the last call left doubt about it.
    fn with<T>(&self, work: impl FnOnce(&mut Connection) -> Result<T, Failure>) -> Result<T, StoreError> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let mut connection = match state.connection.take() {
            Some(connection) => connection,
            None => {
                let opened = open::open(&self.path, state.corrupt.clone())?;
                state.corrupt = None;
                state.quarantine = opened.quarantine.or(state.quarantine.take());
                opened.connection
            }
        };
        let result = work(&mut connection);
        // After a failed write to the disk nobody knows what is there: only a fresh look at the file tells.
        match &result {
            Err(Failure::Sqlite(error)) if is_corrupt(error) => {
                state.corrupt = Some(open::lower(&error.to_string()))
            }
            Err(Failure::Sqlite(error)) if leaves_doubt(error) => {}
            _ => state.connection = Some(connection),
        }
        result.map_err(|failure| match failure {
            Failure::Quota(text) => StoreError::Quota(text),
            Failure::Sqlite(error) => unavailable(&self.path, &error),
        })
    }
}

/// Why work on the connection failed.
enum Failure {
    Quota(String),
    Sqlite(rusqlite::Error),
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

/// True when the connection or the file may not be what it was.
fn leaves_doubt(error: &rusqlite::Error) -> bool {
    !matches!(
        error.sqlite_error_code(),
        Some(
            ErrorCode::DatabaseBusy
                | ErrorCode::DatabaseLocked
                | ErrorCode::ConstraintViolation
                | ErrorCode::TooBig
        )
    )
}

/// True when the file is not a sound database, or not the one that it says it is: our own statements are right, so the general
/// error (`Unknown`: no such table, unknown file format) is the file's too.
fn is_corrupt(error: &rusqlite::Error) -> bool {
    let code = error.sqlite_error_code();
    matches!(code, Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase | ErrorCode::Unknown))
}

fn unavailable(path: &Path, error: &rusqlite::Error) -> StoreError {
    let advice = match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            "another program holds it, end that or try again later"
        }
        Some(ErrorCode::DiskFull) => "make room on the disk",
        Some(ErrorCode::ReadOnly | ErrorCode::CannotOpen | ErrorCode::PermissionDenied) => {
            "check that its folder is there and that the daemon may write to it"
        }
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
            "it is corrupt, and put aside at the next call"
        }
        _ => "check the disk",
    };
    StoreError::Unavailable(format!("{}: {}: {advice}", path.display(), open::lower(&error.to_string())))
}
