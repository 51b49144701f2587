//! How far fencing tokens have been given out, beside the database: so that none is given out twice although the database was lost, or put
//! back from a backup.
//!
//! The file is ahead of the database by at most a block, and is written once a block. Who puts back both from one backup gets tokens again
//! that were given out since: that cannot be seen from here.

use crate::{StoreError, open::lower};
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

/// Tokens reserved at once: one more file write for so many grants.
const BLOCK: u64 = 1_000;

/// How far tokens jump when the database turns out to be older than what was given out from it.
const JUMP: u64 = 1 << 32;

/// The mark in its file.
#[derive(Debug)]
pub struct TokenMark {
    path: PathBuf,
    reserved: u64,
    epoch: u32,
}

/// Where tokens go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenStart {
    /// The next token is above this one.
    pub after: u64,
    /// Number of the life of the store: one more each time that it was found to be older than what was given out from it.
    pub epoch: u32,
}

impl TokenMark {
    /// Reads the mark, and says where tokens go on after a start with a database that has come to `token` in `epoch`.
    ///
    /// # Errors
    /// When the file cannot be read, or is no mark: then nobody knows what was given out.
    pub fn open(path: &Path, token: u64, epoch: u32) -> Result<(Self, TokenStart), StoreError> {
        let mark = match fs::read_to_string(path) {
            Ok(text) => Some(parse(&text).ok_or_else(|| {
                let text = format!(
                    "{} holds no token mark: write \"<a number above every fencing token given out> <epoch>\" into it",
                    path.display()
                );
                StoreError::Unavailable(text)
            })?),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(unavailable(path, &error)),
        };
        let (reserved, marked) = mark.unwrap_or((token, epoch.max(1)));
        let older = token.saturating_add(BLOCK) < reserved;
        let start = if older {
            TokenStart { after: reserved.saturating_add(JUMP), epoch: marked.max(epoch) + 1 }
        } else {
            // The rest of the block is skipped: part of it may have been given out.
            TokenStart { after: reserved.max(token), epoch: marked.max(epoch) }
        };
        Ok((Self { path: path.to_owned(), reserved, epoch: start.epoch }, start))
    }

    /// Makes sure that a token may be given out. Costs a write once a block.
    ///
    /// # Errors
    /// When the file cannot be written: the token must not be given out then.
    pub fn reserve(&mut self, token: u64) -> Result<(), StoreError> {
        if token <= self.reserved {
            return Ok(());
        }
        let reserved = token.saturating_add(BLOCK);
        write(&self.path, &format!("{reserved} {}\n", self.epoch))
            .map_err(|error| unavailable(&self.path, &error))?;
        self.reserved = reserved;
        Ok(())
    }
}

fn parse(text: &str) -> Option<(u64, u32)> {
    let (reserved, epoch) = text.trim_end().split_once(' ')?;
    Some((reserved.parse().ok()?, epoch.parse().ok()?))
}

/// Beside it, then renamed: there is always a whole one.
fn write(path: &Path, text: &str) -> io::Result<()> {
    let part = path.with_extension("part");
    let mut file = File::create(&part)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&part, path)?;
    match path.parent() {
        Some(folder) => File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}

fn unavailable(path: &Path, error: &io::Error) -> StoreError {
    let text = format!("{}: {}", path.display(), lower(&error.to_string()));
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => StoreError::Full(text),
        _ => StoreError::Unavailable(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_go_on_above_all_that_may_have_been_given_out() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("leases.tokens");
        let (mut mark, start) = TokenMark::open(&path, 0, 0).unwrap();
        assert_eq!(start, TokenStart { after: 0, epoch: 1 });
        mark.reserve(1).unwrap();
        mark.reserve(1_001).unwrap();
        let (mut mark, start) = TokenMark::open(&path, 700, 1).unwrap();
        assert_eq!(start, TokenStart { after: 1_001, epoch: 1 }, "a crash within the block");
        mark.reserve(start.after + 1).unwrap();
        let (_, start) = TokenMark::open(&path, 2_000, 1).unwrap();
        assert_eq!(start, TokenStart { after: 2_002, epoch: 1 });
    }

    #[test]
    fn a_database_put_back_from_a_backup_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("leases.tokens");
        let (mut mark, _) = TokenMark::open(&path, 0, 0).unwrap();
        mark.reserve(9_000).unwrap();
        let (mut mark, start) = TokenMark::open(&path, 0, 0).unwrap();
        assert_eq!(start, TokenStart { after: 10_000 + (1 << 32), epoch: 2 });
        mark.reserve(start.after + 1).unwrap();
        let (_, start) = TokenMark::open(&path, start.after + 5, 2).unwrap();
        assert_eq!(start.epoch, 2, "once");
    }

    #[test]
    fn a_garbled_mark_stops_rather_than_begins_anew() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("leases.tokens");
        for text in ["", "12", "x 1", "-1 1", "1 2 3"] {
            fs::write(&path, text).unwrap();
            assert!(TokenMark::open(&path, 0, 0).is_err(), "{text:?}");
        }
    }
}
