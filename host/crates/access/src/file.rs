//! The file of tokens: JSON with one entry a token, hashes only. Written by `lowtide token`, read by the daemon. It is replaced whole,
//! so that who reads it sees the old or the new one, and readable by its owner only.

use crate::scope::{Scope, Scopes};
use crate::token::{Token, TokenHash, TokenId, check_name};
use lowtide_core::units::WallTime;
use serde::{Deserialize, Serialize};
use std::collections::HashSet;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

/// Its name in the data folder, and that of a file with more tokens among systemd's credentials.
pub const TOKENS_FILE: &str = "tokens.json";

/// The form of the file that this version writes; others are refused.
const VERSION: u32 = 1;

/// Bytes of a file of tokens: a token takes some 300.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Tokens in one file.
pub const TOKENS_MAX: usize = 1_000;

/// Why a file of tokens cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It cannot be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Others could write it, and with it give themselves any right.
    #[error("{} belongs to another user, or others may write it; it must be 0600 and belong to the daemon's user or root", path.display())]
    Exposed {
        /// The file.
        path: PathBuf,
    },
    /// It is not a file of tokens.
    #[error("{} is not a file of tokens: {why}", path.display())]
    Garbled {
        /// The file.
        path: PathBuf,
        /// What is wrong in it.
        why: String,
    },
}

impl FileError {
    fn io(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { path, source }
    }

    fn garbled(path: &Path, why: impl Into<String>) -> Self {
        Self::Garbled { path: path.to_owned(), why: why.into() }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    version: u32,
    tokens: Vec<Entry>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    id: String,
    name: String,
    /// Of the text of the token.
    blake3: String,
    scopes: Vec<String>,
    created: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    units_max: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    requests_per_second: Option<u32>,
}

impl Entry {
    fn of(token: &Token) -> Self {
        Self {
            id: token.id.to_string(),
            name: token.name.clone(),
            blake3: token.hash.to_string(),
            scopes: token.scopes.iter().map(|scope| scope.word().to_owned()).collect(),
            created: rfc3339(token.created),
            expires: token.expires.map(rfc3339),
            units_max: token.units_max,
            requests_per_second: token.requests_per_second,
        }
    }

    fn token(&self) -> Result<Token, String> {
        check_name(&self.name).map_err(|error| error.to_string())?;
        let scopes: Result<Scopes, _> = self.scopes.iter().map(|word| word.parse::<Scope>()).collect();
        Ok(Token {
            id: TokenId::parse(&self.id).ok_or_else(|| format!("the id of {:?}", self.name))?,
            name: self.name.clone(),
            hash: TokenHash::parse(&self.blake3).ok_or_else(|| format!("the hash of {:?}", self.name))?,
            scopes: scopes.map_err(|error| error.to_string())?,
            created: time(&self.created)?,
            expires: self.expires.as_deref().map(time).transpose()?,
            units_max: self.units_max,
            requests_per_second: self.requests_per_second,
        })
    }
}

/// A time as RFC 3339 in UTC, to the second.
#[must_use]
pub fn rfc3339(time: WallTime) -> String {
    let time = jiff::Timestamp::from_second(time.unix_ms().div_euclid(1_000));
    time.unwrap_or(jiff::Timestamp::UNIX_EPOCH).to_string()
}

fn time(text: &str) -> Result<WallTime, String> {
    let time: jiff::Timestamp = text.parse().map_err(|_| format!("a time {text:?}"))?;
    Ok(WallTime(time.as_millisecond()))
}

/// What tells one state of a file from another without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    inode: u64,
    bytes: u64,
    changed: (i64, i64),
}

/// The stamp of a file; `None` when it is not there.
pub(crate) fn stamp(path: &Path) -> Option<Stamp> {
    let meta = fs::metadata(path).ok()?;
    Some(Stamp { inode: meta.ino(), bytes: meta.len(), changed: (meta.ctime(), meta.ctime_nsec()) })
}

/// Reads a file of tokens; `None` when it is not there.
///
/// # Errors
/// [`FileError`]: nothing of a file that is wrong in one place counts.
pub fn read(path: &Path) -> Result<Option<Vec<Token>>, FileError> {
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened.map_err(FileError::io(path))?,
    };
    let meta = file.metadata().map_err(FileError::io(path))?;
    let own = rustix::process::geteuid().as_raw();
    // systemd's credentials belong to root and can only be read.
    if !meta.is_file() || meta.mode() & 0o022 != 0 || (meta.uid() != own && meta.uid() != 0) {
        return Err(FileError::Exposed { path: path.to_owned() });
    }
    let mut text = String::new();
    let count = file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text).map_err(FileError::io(path))?;
    if count as u64 > FILE_BYTES_MAX {
        return Err(FileError::garbled(path, format!("it has more than {FILE_BYTES_MAX} bytes")));
    }
    parse(&text).map(Some).map_err(|why| FileError::garbled(path, why))
}

/// Reads the text of a file of tokens.
///
/// # Errors
/// In words, what is wrong.
pub fn parse(text: &str) -> Result<Vec<Token>, String> {
    let document: Document = serde_json::from_str(text).map_err(|error| error.to_string())?;
    if document.version != VERSION {
        return Err(format!("its version is {}, this daemon knows {VERSION}", document.version));
    }
    if document.tokens.len() > TOKENS_MAX {
        return Err(format!("it has more than {TOKENS_MAX} tokens"));
    }
    let tokens: Vec<Token> = document.tokens.iter().map(Entry::token).collect::<Result<_, _>>()?;
    let mut seen = HashSet::new();
    match tokens.iter().find(|token| !seen.insert(token.id)) {
        Some(token) => Err(format!("the id {} stands in it twice", token.id)),
        None => Ok(tokens),
    }
}

/// Changes the file of tokens in a data folder, alone among all who do. What `change` returns with its error is the caller's.
///
/// # Errors
/// [`FileError`], or what `change` said; then nothing changed.
pub fn change<T, E: From<FileError>>(
    data_dir: &Path,
    change: impl FnOnce(&mut Vec<Token>) -> Result<T, E>,
) -> Result<T, E> {
    DirBuilder::new().recursive(true).mode(0o700).create(data_dir).map_err(FileError::io(data_dir))?;
    let lock = data_dir.join("tokens.lock");
    let own = |options: &mut OpenOptions| options.write(true).mode(0o600).custom_flags(NO_FOLLOW).clone();
    let held =
        own(OpenOptions::new().create(true).truncate(false)).open(&lock).map_err(FileError::io(&lock))?;
    held.lock().map_err(FileError::io(&lock))?;
    let path = data_dir.join(TOKENS_FILE);
    let mut tokens = read(&path)?.unwrap_or_default();
    let outcome = change(&mut tokens)?;
    let document = Document { version: VERSION, tokens: tokens.iter().map(Entry::of).collect() };
    let text = serde_json::to_string_pretty(&document)
        .map_err(|error| FileError::garbled(&path, error.to_string()))?;
    let fresh = data_dir.join("tokens.json.new");
    let write = || {
        match fs::remove_file(&fresh) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = own(OpenOptions::new().create_new(true)).open(&fresh)?;
        writeln!(file, "{text}")?;
        file.sync_all()?;
        fs::rename(&fresh, &path)?;
        File::open(data_dir)?.sync_all()
    };
    write().map_err(FileError::io(&path))?;
    Ok(outcome)
}

/// A link in the data folder would lead what is written elsewhere.
const NO_FOLLOW: i32 = rustix::fs::OFlags::NOFOLLOW.bits() as i32;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::token::Secret;
    use std::os::unix::fs::PermissionsExt as _;

    fn token(name: &str) -> Token {
        let secret = Secret::draw().unwrap();
        Token {
            id: secret.id(),
            name: name.to_owned(),
            hash: secret.hash(),
            scopes: Scopes::from_iter([Scope::Read, Scope::Lease]),
            created: WallTime(1_700_000_000_000),
            expires: Some(WallTime(1_800_000_000_000)),
            units_max: Some(50),
            requests_per_second: None,
        }
    }

    fn add(dir: &Path, token: &Token) -> Result<(), FileError> {
        change(dir, |tokens| {
            tokens.push(token.clone());
            Ok(())
        })
    }

    #[test]
    fn what_is_written_is_read_back_and_only_its_owner_may() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(TOKENS_FILE);
        assert!(read(&path).unwrap().is_none());
        let (first, second) = (token("a"), token("b"));
        add(dir.path(), &first).unwrap();
        let before = stamp(&path);
        add(dir.path(), &second).unwrap();
        assert_ne!(stamp(&path), before);
        assert_eq!(read(&path).unwrap().unwrap(), [first, second]);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(!dir.path().join("tokens.json.new").exists());
    }

    #[test]
    fn a_file_that_others_may_write_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(TOKENS_FILE);
        add(dir.path(), &token("a")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o620)).unwrap();
        assert!(matches!(read(&path), Err(FileError::Exposed { .. })));
        // What root may only read, as systemd hands it out, is good.
        fs::set_permissions(&path, fs::Permissions::from_mode(0o440)).unwrap();
        assert!(read(&path).is_ok());
    }

    #[test]
    fn many_at_once_lose_nothing() {
        let dir = tempfile::tempdir().unwrap();
        std::thread::scope(|scope| {
            for writer in 0..8 {
                let dir = dir.path();
                scope.spawn(move || {
                    for number in 0..5 {
                        add(dir, &token(&format!("w{writer}-{number}"))).unwrap();
                    }
                });
            }
        });
        assert_eq!(read(&dir.path().join(TOKENS_FILE)).unwrap().unwrap().len(), 40);
    }

    #[test]
    fn what_is_wrong_in_one_place_is_refused_whole() {
        let good =
            serde_json::to_value(Document { version: 1, tokens: vec![Entry::of(&token("a"))] }).unwrap();
        assert!(parse(&good.to_string()).is_ok());
        let with = |place: &str, value: serde_json::Value| {
            let mut document = good.clone();
            *document.pointer_mut(place).unwrap() = value;
            parse(&document.to_string())
        };
        for (place, value) in [
            ("/version", 2.into()),
            ("/tokens/0/id", "xyz".into()),
            ("/tokens/0/name", "A b".into()),
            ("/tokens/0/blake3", "00".into()),
            ("/tokens/0/scopes/0", "root".into()),
            ("/tokens/0/expires", "soon".into()),
            ("/tokens/0/units_max", (-1).into()),
        ] {
            assert!(with(place, value).is_err(), "{place}");
        }
        assert!(parse(&good.to_string().replace("\"name\"", "\"nam\"")).is_err());
        let twice = format!("{{\"version\":1,\"tokens\":[{0},{0}]}}", good["tokens"][0]);
        assert!(parse(&twice).unwrap_err().contains("twice"));
    }
}
