//! The folder of compiled components on disk: who may write there, and how a file proves that we wrote it.
//!
//! A file is a magic word, a BLAKE3 hash keyed with the folder's key over its name and all that follows, the length of a note, the note, and
//! the code. What the note says is up to the caller. It hands out code only with that hash verified on the bytes in memory that it hands out, and it follows no symbolic link. It must not know what
//! the code is for. Called by `cache`.

use crate::limits;
use rustix::fs::{AtFlags, Dir, FlockOperation, Mode, OFlags, Timespec, Timestamps, UTIME_NOW, UTIME_OMIT};
use rustix::rand::GetRandomFlags;
use std::fs::{DirBuilder, File, Metadata};
use std::io::{self, Read, Write};
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

const KEY: &str = "key";
const KEY_BYTES: usize = blake3::KEY_LEN;

/// The beginning of every file. Another layout gets another number.
const MAGIC: &[u8; 8] = b"LOWTIDE2";
const HEADER_BYTES: usize = MAGIC.len() + blake3::OUT_LEN + NOTE_LENGTH_BYTES;

/// The length of the note, in little endian.
const NOTE_LENGTH_BYTES: usize = size_of::<u32>();

/// Bytes of a note: an inspection has bounded names and is a few hundred.
const NOTE_BYTES_MAX: usize = 64 << 10;

/// The beginning of the name of a file that is not finished.
const UNFINISHED: &str = "unfinished-";

/// Letters of a finished file's name: a hash in hexadecimal.
const NAME_LETTERS: usize = 2 * blake3::OUT_LEN;

/// Bits of the mode that let others write, and that let others do anything.
const WRITABLE_BY_OTHERS: u32 = 0o022;
const OPEN_TO_OTHERS: u32 = 0o077;

/// Why the folder is not used.
#[derive(Debug, thiserror::Error)]
pub enum CacheError {
    /// The folder is a symbolic link, or a file.
    #[error("{} is not a folder but a link or a file; remove it, or name another cache folder", .0.display())]
    NotAFolder(PathBuf),
    /// The folder belongs to another user.
    #[error("{} belongs to user {owner}, not to the user of the daemon; run chown on it or remove it", folder.display())]
    FolderOwner {
        /// The folder.
        folder: PathBuf,
        /// Whose it is.
        owner: u32,
    },
    /// The folder is open to other users.
    #[error("{0} is open to other users (mode {mode:o}); run chmod 700 {0}", folder.display())]
    FolderMode {
        /// The folder.
        folder: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// The key is a symbolic link, or something else that is no file.
    #[error("{} is not a file; remove it, then a new key is made", .0.display())]
    KeyKind(PathBuf),
    /// The key belongs to another user.
    #[error("{} belongs to user {owner}, not to the user of the daemon; remove it, then a new key is made", key.display())]
    KeyOwner {
        /// The key.
        key: PathBuf,
        /// Whose it is.
        owner: u32,
    },
    /// The key is open to other users, who may know it.
    #[error("{} is open to other users (mode {mode:o}), who may have read it; remove it, then a new key is made", key.display())]
    KeyMode {
        /// The key.
        key: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// The disk, or the system.
    #[error("could not {what} in {}: {error}; see that the folder can be written and the disk has space", folder.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// The folder.
        folder: PathBuf,
        /// What the system said.
        error: io::Error,
    },
}

impl CacheError {
    /// Stable word for programs.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotAFolder(_) => "cache_not_a_folder",
            Self::FolderOwner { .. } => "cache_folder_owner",
            Self::FolderMode { .. } => "cache_folder_mode",
            Self::KeyKind(_) => "cache_key_kind",
            Self::KeyOwner { .. } => "cache_key_owner",
            Self::KeyMode { .. } => "cache_key_mode",
            Self::Io { .. } => "cache_io",
        }
    }
}

/// Code that the compiler of this program made. Having one is the proof: it comes from the compile child, or from
/// [`Folder::read`].
pub(super) struct Trusted {
    bytes: Vec<u8>,
    note: Range<usize>,
}

impl Trusted {
    /// The answer of the compile child, and a note to be kept with it.
    pub(super) fn from_compiler(mut code: Vec<u8>, note: &[u8]) -> Self {
        code.splice(..0, note.iter().copied());
        Self { bytes: code, note: 0..note.len() }
    }

    /// The note.
    pub(super) fn note(&self) -> &[u8] {
        self.bytes.get(self.note.clone()).unwrap_or_default()
    }

    /// The code.
    pub(super) fn bytes(&self) -> &[u8] {
        self.bytes.get(self.note.end..).unwrap_or_default()
    }
}

/// The name of a file: it stands for the component, and for everything that its compiled form depends on.
pub(super) struct EntryName(String);

impl EntryName {
    /// For the component with this hash, as this version of the program compiles it. wasmtime refuses code of another version of itself,
    /// for another processor or of other settings; then it is compiled again.
    pub(super) fn new(wasm: blake3::Hash) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.update(wasm.as_bytes()).update(env!("CARGO_PKG_VERSION").as_bytes());
        Self(hasher.finalize().to_hex().to_string())
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

/// What is in a file.
pub(super) enum Found {
    /// There is none.
    Nothing,
    /// It could not be read now.
    Unreadable(io::Error),
    /// It is not what we wrote there.
    Wrong(String),
    /// It is.
    Code(Trusted),
}

/// The folder, open, with its key. All files are named relative to it, so nothing that happens to the path matters.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    folder: OwnedFd,
    key: Key,
    bytes_max: u64,
}

struct Key([u8; KEY_BYTES]);

impl std::fmt::Debug for Key {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Key(..)")
    }
}

impl Folder {
    pub(super) fn open(path: &Path) -> Result<Self, CacheError> {
        Self::open_with(path, limits::CACHE_BYTES_MAX)
    }

    pub(super) fn open_with(path: &Path, bytes_max: u64) -> Result<Self, CacheError> {
        let folder = open_folder(path)?;
        let locked = |error: rustix::io::Errno| CacheError::Io {
            what: "lock the folder",
            folder: path.to_owned(),
            error: error.into(),
        };
        // Two that start at once would make two keys. Closing the folder unlocks it too.
        rustix::fs::flock(&folder, FlockOperation::LockExclusive).map_err(locked)?;
        let key = read_key(path, &folder)?;
        rustix::fs::flock(&folder, FlockOperation::Unlock).map_err(locked)?;
        let folder = Self { path: path.to_owned(), folder, key, bytes_max };
        // What a killed daemon left.
        for entry in folder.list()? {
            if entry.name.starts_with(UNFINISHED) {
                folder.unlink(&entry.name);
            }
        }
        Ok(folder)
    }

    /// Reads a file and verifies it; says that it was used.
    pub(super) fn read(&self, name: &EntryName) -> Found {
        let opened = open_file(&self.folder, name.as_str(), OFlags::RDONLY, Mode::empty());
        let file = match opened {
            Ok(file) => file,
            Err(rustix::io::Errno::NOENT) => return Found::Nothing,
            Err(rustix::io::Errno::LOOP) => return Found::Wrong("it is a symbolic link".to_owned()),
            Err(error) => return Found::Unreadable(error.into()),
        };
        let bytes = match read_whole(&file) {
            Ok(bytes) => bytes,
            Err(Whole::Unreadable(error)) => return Found::Unreadable(error),
            Err(Whole::Wrong(why)) => return Found::Wrong(why),
        };
        let Some((magic, rest)) = bytes.split_first_chunk::<{ MAGIC.len() }>() else {
            return Found::Wrong("it has no header".to_owned());
        };
        let Some((hash, code)) = rest.split_first_chunk::<{ blake3::OUT_LEN }>() else {
            return Found::Wrong("it has no header".to_owned());
        };
        if magic != MAGIC {
            return Found::Wrong("it begins with another word".to_owned());
        }
        // Compared in constant time: it is blake3's own comparison.
        if self.hash(name, &[code]) != blake3::Hash::from_bytes(*hash) {
            return Found::Wrong("its hash is not ours".to_owned());
        }
        let length = code.first_chunk::<NOTE_LENGTH_BYTES>().map(|bytes| u32::from_le_bytes(*bytes) as usize);
        let Some(note) =
            length.map(|length| HEADER_BYTES..HEADER_BYTES + length).filter(|note| note.end <= bytes.len())
        else {
            return Found::Wrong("its note has no end".to_owned());
        };
        let times = Timestamps {
            last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
            last_modification: Timespec { tv_sec: 0, tv_nsec: UTIME_NOW },
        };
        // Only the order of removal depends on it.
        let _ = rustix::fs::futimens(&file, &times);
        Found::Code(Trusted { bytes, note })
    }

    /// Writes a file, all or nothing.
    pub(super) fn write(&self, name: &EntryName, code: &Trusted) -> Result<(), CacheError> {
        let length = u32::try_from(code.note().len()).unwrap_or(u32::MAX).to_le_bytes();
        let parts = [&length[..], code.note(), code.bytes()];
        let hash = self.hash(name, &parts);
        let random = random::<8>().map_err(|error| self.error("get randomness", error))?;
        let unfinished = format!("{UNFINISHED}{:016x}", u64::from_le_bytes(random));
        let result = self
            .write_as(&unfinished, &[&[&MAGIC[..], hash.as_bytes()], &parts[..]].concat())
            .and_then(|()| {
                rustix::fs::renameat(&self.folder, unfinished.as_str(), &self.folder, name.as_str())
                    .map_err(io::Error::from)
            });
        result.map_err(|error| {
            self.unlink(&unfinished);
            self.error("write a compiled addon", error)
        })
    }

    fn write_as(&self, name: &str, parts: &[&[u8]]) -> io::Result<()> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL;
        let mut file = open_file(&self.folder, name, flags, Mode::RUSR | Mode::WUSR)?;
        for part in parts {
            file.write_all(part)?;
        }
        file.sync_all()
    }

    /// Removes the longest unused files until the rest fits, but not `keep`; says how many.
    pub(super) fn evict(&self, keep: &EntryName) -> Result<u64, CacheError> {
        let mut entries = self.list()?;
        entries.retain(|entry| is_entry_name(&entry.name));
        let mut bytes = entries.iter().fold(0_u64, |sum, entry| sum.saturating_add(entry.bytes));
        entries.sort_by_key(|entry| entry.used);
        let mut removed = 0;
        for entry in entries.iter().filter(|entry| entry.name != keep.as_str()) {
            if bytes <= self.bytes_max {
                break;
            }
            self.unlink(&entry.name);
            bytes = bytes.saturating_sub(entry.bytes);
            removed += 1;
        }
        Ok(removed)
    }

    /// Removes a file.
    pub(super) fn remove(&self, name: &EntryName) {
        self.unlink(name.as_str());
    }

    fn unlink(&self, name: &str) {
        if let Err(error) = rustix::fs::unlinkat(&self.folder, name, AtFlags::empty())
            && error != rustix::io::Errno::NOENT
        {
            tracing::warn!(file = name, %error, "could not remove a file from the cache of compiled addons; remove it by hand");
        }
    }

    fn list(&self) -> Result<Vec<Entry>, CacheError> {
        let error = |error: rustix::io::Errno| self.error("list files", error.into());
        let mut entries = Vec::new();
        for entry in Dir::read_from(&self.folder).map_err(error)? {
            let entry = entry.map_err(error)?;
            let Ok(name) = entry.file_name().to_str() else { continue };
            // Gone since, or no file: not ours to judge.
            let Ok(file) = open_file(&self.folder, name, OFlags::PATH, Mode::empty()) else { continue };
            let Ok(metadata) = file.metadata() else { continue };
            if metadata.is_file() {
                let used = (metadata.mtime(), metadata.mtime_nsec());
                entries.push(Entry { name: name.to_owned(), bytes: metadata.len(), used });
            }
        }
        Ok(entries)
    }

    fn hash(&self, name: &EntryName, parts: &[&[u8]]) -> blake3::Hash {
        // The name has a fixed length, so the two cannot be cut in another place.
        let mut hasher = blake3::Hasher::new_keyed(&self.key.0);
        hasher.update(name.as_str().as_bytes());
        for part in parts {
            hasher.update(part);
        }
        hasher.finalize()
    }

    fn error(&self, what: &'static str, error: io::Error) -> CacheError {
        CacheError::Io { what, folder: self.path.clone(), error }
    }
}

/// A file as the folder lists it.
struct Entry {
    name: String,
    bytes: u64,
    used: (i64, i64),
}

fn is_entry_name(name: &str) -> bool {
    name.len() == NAME_LETTERS && name.bytes().all(|letter| letter.is_ascii_hexdigit())
}

/// A file of the folder, never through a link, and without waiting if it is a pipe.
fn open_file(folder: &OwnedFd, name: &str, flags: OFlags, mode: Mode) -> rustix::io::Result<File> {
    let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    rustix::fs::openat(folder, name, flags, mode).map(File::from)
}

/// Why a file was not read.
enum Whole {
    Unreadable(io::Error),
    Wrong(String),
}

fn read_whole(file: &File) -> Result<Vec<u8>, Whole> {
    let metadata = file.metadata().map_err(Whole::Unreadable)?;
    if !metadata.is_file() {
        return Err(Whole::Wrong("it is not a file".to_owned()));
    }
    if metadata.uid() != user() {
        return Err(Whole::Wrong(format!("it belongs to user {}", metadata.uid())));
    }
    if metadata.mode() & WRITABLE_BY_OTHERS != 0 {
        return Err(Whole::Wrong(format!("others can write it (mode {:o})", permissions(&metadata))));
    }
    let bytes_max = HEADER_BYTES + NOTE_BYTES_MAX + limits::COMPILED_BYTES_MAX;
    let length = usize::try_from(metadata.len()).unwrap_or(usize::MAX);
    if length < HEADER_BYTES || length > bytes_max {
        return Err(Whole::Wrong(format!("it has {length} bytes")));
    }
    let mut bytes = Vec::with_capacity(length + 1);
    file.take(length as u64 + 1).read_to_end(&mut bytes).map_err(Whole::Unreadable)?;
    if bytes.len() != length {
        return Err(Whole::Wrong("its length changed".to_owned()));
    }
    Ok(bytes)
}

fn open_folder(path: &Path) -> Result<OwnedFd, CacheError> {
    let io = |what, error| CacheError::Io { what, folder: path.to_owned(), error };
    DirBuilder::new()
        .mode(0o700)
        .recursive(true)
        .create(path)
        .or_else(|error| match error.kind() {
            // Opening it says better what it is.
            io::ErrorKind::AlreadyExists => Ok(()),
            _ => Err(error),
        })
        .map_err(|error| io("make the folder", error))?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let folder = rustix::fs::open(path, flags, Mode::empty()).map_err(|error| match error {
        rustix::io::Errno::LOOP | rustix::io::Errno::NOTDIR => CacheError::NotAFolder(path.to_owned()),
        error => io("open the folder", error.into()),
    })?;
    let folder = File::from(folder);
    let metadata = folder.metadata().map_err(|error| io("look at the folder", error))?;
    if metadata.uid() != user() {
        return Err(CacheError::FolderOwner { folder: path.to_owned(), owner: metadata.uid() });
    }
    if metadata.mode() & OPEN_TO_OTHERS != 0 {
        return Err(CacheError::FolderMode { folder: path.to_owned(), mode: permissions(&metadata) });
    }
    Ok(folder.into())
}

/// The key, or a new one if there is none yet.
fn read_key(path: &Path, folder: &OwnedFd) -> Result<Key, CacheError> {
    let io = |what, error| CacheError::Io { what, folder: path.to_owned(), error };
    let key = || path.join(KEY);
    let file = match open_file(folder, KEY, OFlags::RDONLY, Mode::empty()) {
        Ok(file) => file,
        Err(rustix::io::Errno::NOENT) => return new_key(folder).map_err(|error| io("make the key", error)),
        Err(rustix::io::Errno::LOOP) => return Err(CacheError::KeyKind(key())),
        Err(error) => return Err(io("open the key", error.into())),
    };
    let metadata = file.metadata().map_err(|error| io("look at the key", error))?;
    if !metadata.is_file() {
        return Err(CacheError::KeyKind(key()));
    }
    if metadata.uid() != user() {
        return Err(CacheError::KeyOwner { key: key(), owner: metadata.uid() });
    }
    if metadata.mode() & OPEN_TO_OTHERS != 0 {
        return Err(CacheError::KeyMode { key: key(), mode: permissions(&metadata) });
    }
    let mut bytes = Vec::with_capacity(KEY_BYTES + 1);
    file.take(KEY_BYTES as u64 + 1).read_to_end(&mut bytes).map_err(|error| io("read the key", error))?;
    match <[u8; KEY_BYTES]>::try_from(bytes.as_slice()) {
        Ok(bytes) => Ok(Key(bytes)),
        Err(_) => {
            // A power cut while it was made. What was kept under another key is compiled again.
            tracing::warn!("the key of the compiled addons is broken; making a new one");
            rustix::fs::unlinkat(folder, KEY, AtFlags::empty())
                .map_err(|error| io("remove the broken key", error.into()))?;
            new_key(folder).map_err(|error| io("make the key", error))
        }
    }
}

fn new_key(folder: &OwnedFd) -> io::Result<Key> {
    let key = random::<KEY_BYTES>()?;
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL;
    let mut file = open_file(folder, KEY, flags, Mode::RUSR | Mode::WUSR)?;
    file.write_all(&key)?;
    file.sync_all()?;
    Ok(Key(key))
}

fn random<const BYTES: usize>() -> io::Result<[u8; BYTES]> {
    let mut bytes = [0; BYTES];
    let filled = rustix::rand::getrandom(&mut bytes, GetRandomFlags::empty())?;
    if filled < BYTES {
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the system gave too little randomness"));
    }
    Ok(bytes)
}

fn user() -> u32 {
    rustix::process::geteuid().as_raw()
}

fn permissions(metadata: &Metadata) -> u32 {
    metadata.mode() & 0o7777
}
