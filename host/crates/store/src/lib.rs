//! What Lowtide keeps on disk, in SQLite files: opening one, bringing its schema up to date, and putting a corrupt one aside. Leases
//! have a file of their own: their commits must not wait for anything else's.
//!
//! It knows nothing of addons but their names, decides nothing about leases, reads no clock and logs nothing: `app` calls it, off the tick's thread, and shows what
//! it reports. Every call blocks.

mod file;
pub mod history;
mod kv;
mod leases;
pub mod limits;
mod open;
#[cfg(test)]
mod shim;
mod token_mark;

use file::{Failure, File};
pub use kv::KvQuota;
pub use leases::{Batch, LeaseStore, Stored};
pub use limits::CHECKED_BYTES_MAX;
use open::Durability;
use rusqlite::ErrorCode;
use std::path::{Path, PathBuf};
pub use token_mark::{TokenMark, TokenStart};

/// Why the store did not do what was asked. The texts are for people.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The quota given with the write would be exceeded; nothing was written.
    #[error("{0}")]
    Quota(String),
    /// The file cannot be read or written now.
    #[error("{0}")]
    Unavailable(String),
    /// There is no room on the disk.
    #[error("{0}")]
    Full(String),
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

/// The store of addons.
#[derive(Debug)]
pub struct Store {
    file: File,
}

impl Store {
    /// Opens the file, makes it if there is none, and brings its schema up to date. A corrupt file is renamed to
    /// `<name>.corrupt-<n>` and a fresh one made: see [`Store::quarantine`].
    ///
    /// # Errors
    /// When the file cannot be opened or written, or belongs to a newer version.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        Ok(Self { file: File::open(path, kv::SCHEMA, Durability::EachCommit)? })
    }

    /// The corrupt file that was last put aside since the start, if there was one: what it held is gone until someone repairs it.
    #[must_use]
    pub fn quarantine(&self) -> Option<Quarantine> {
        self.file.quarantine()
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
    let text = format!("{}: {}: {advice}", path.display(), open::lower(&error.to_string()));
    if error.sqlite_error_code() == Some(ErrorCode::DiskFull) {
        StoreError::Full(text)
    } else {
        StoreError::Unavailable(text)
    }
}
