//! The addons folder: what lies in it, without reading it (`scan`), and the files of one addon (`read`).
//!
//! It decides nothing about when to load: `watch` does. It never follows a link below the folder, and never gives out a file that
//! changed while it was read. Called by whoever loads addons and by `lowtide addon check`.

use crate::id::{AddonId, IdError};
use crate::limits::{ADDONS_MAX, COMPONENT_BYTES_MAX, MANIFEST_BYTES_MAX};
use crate::manifest::{Manifest, ManifestError, printable};
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

mod read;
#[cfg(test)]
mod tests;

pub use read::read;

/// Entries of the folder that are looked at: an addon can be two, and some may be rejected. With more, something else fills the folder.
const ENTRIES_MAX: usize = 4 * ADDONS_MAX;

/// The manifest's name within an addon's folder.
const MANIFEST: &str = "addon.toml";

/// Permission of everyone to write.
const WORLD_WRITABLE: u32 = 0o002;

/// One look at the folder.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scan {
    /// What could be loaded, by id.
    pub candidates: Vec<Candidate>,
    /// What can not, by name.
    pub rejected: Vec<Rejected>,
    /// The folders of addons, sound or not: changes happen in them.
    pub folders: Vec<PathBuf>,
}

/// An addon as it lies there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Its id.
    pub id: AddonId,
    /// Where it is.
    pub place: Place,
    /// Which state of its files this is.
    pub stamp: Stamp,
}

/// Where an addon's files are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// `<root>/<id>.wasm` alone.
    Bare {
        /// The addons folder.
        root: PathBuf,
    },
    /// `<root>/<id>/addon.toml` and `<root>/<id>/<id>.wasm`.
    Folder {
        /// The addons folder.
        root: PathBuf,
    },
}

/// Tells one state of an addon's files from any other without reading them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// The component's.
    pub wasm: FileStamp,
    /// The manifest's, if there is one.
    pub manifest: Option<FileStamp>,
}

/// The same for one file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileStamp {
    /// Device and inode: another file under the same name differs here.
    pub file: (u64, u64),
    /// Bytes.
    pub size: u64,
    /// Last change of the content, in seconds and nanoseconds.
    pub modified: (i64, i64),
    /// Last change of anything; nobody can set it back.
    pub changed: (i64, i64),
}

/// Something in the folder that can not be loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejected {
    /// What it is called there, without control characters.
    pub name: String,
    /// The addon that it would be, where its name is an id.
    pub id: Option<AddonId>,
    /// Why.
    pub error: AddonFileError,
}

/// What was read of an addon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddonFiles {
    /// Its manifest; that of a bare component asks for nothing.
    pub manifest: Manifest,
    /// The component.
    pub wasm: Vec<u8>,
}

/// Why the folder could not be looked at. What was loaded before stays.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScanError {
    /// It, or something in it, can not be listed.
    #[error("the addons folder {path:?} can not be read ({reason}): let the daemon's user read it")]
    Unreadable {
        /// The folder.
        path: PathBuf,
        /// The system's words.
        reason: String,
    },
    /// Something else has this name.
    #[error("{0:?} is not a folder: set the addons folder to one")]
    NotAFolder(PathBuf),
    /// Everyone may put addons there.
    #[error(
        "everyone may write into the addons folder {0:?} and so decide what runs: take that away with chmod o-w"
    )]
    WorldWritable(PathBuf),
    /// More entries than could be addons.
    #[error("the addons folder {0:?} has more than {ENTRIES_MAX} entries: keep only addons in it")]
    TooManyEntries(PathBuf),
}

impl ScanError {
    /// The stable name of this error in the log and the API.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Unreadable { .. } => "addons_folder_unreadable",
            Self::NotAFolder(_) => "addons_folder_not_a_folder",
            Self::WorldWritable(_) => "addons_folder_world_writable",
            Self::TooManyEntries(_) => "addons_folder_too_many_entries",
        }
    }
}

/// Why files are not an addon that can be loaded. Paths are relative to the addons folder.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddonFileError {
    /// The name of the file or folder is not an id.
    #[error("{0}: rename the file or folder")]
    BadId(IdError),
    /// Two places for one addon.
    #[error("both {0}.wasm and the folder {0} are there: remove one of them; neither is taken until then")]
    DuplicateId(AddonId),
    /// A symbolic link.
    #[error("{0} is a symbolic link: put the file or folder itself there")]
    Symlink(String),
    /// A device, pipe, socket, or a folder where a file should be.
    #[error("{0} is not a regular file: replace it with one")]
    NotRegular(String),
    /// A file that is no component.
    #[error(
        "{0} is neither a folder nor a .wasm file: name it <id>.wasm if it is an addon, else keep it elsewhere"
    )]
    NotAnAddon(String),
    /// A folder without its component.
    #[error("the folder {0} has no {0}.wasm: copy the component there under this name, or remove the folder")]
    NoWasm(AddonId),
    /// A folder without its manifest.
    #[error(
        "the folder {0} has no addon.toml: write one (at least: id = \"{0}\"), or put {0}.wasm beside the folder instead"
    )]
    NoManifest(AddonId),
    /// Everyone may change it.
    #[error("everyone may write to {0} and so decide what runs: take that away with chmod o-w")]
    WorldWritable(String),
    /// Larger than any sensible one.
    #[error("{path} has {bytes} bytes, and may have {most}: make it smaller")]
    TooLarge {
        /// The file.
        path: String,
        /// How large it is.
        bytes: u64,
        /// How large it may be.
        most: usize,
    },
    /// The system does not let it be read.
    #[error("{path} can not be read ({reason}): let the daemon's user read it")]
    Unreadable {
        /// The file or folder.
        path: String,
        /// The system's words.
        reason: String,
    },
    /// One more than can be loaded.
    #[error("{ADDONS_MAX} addons come before it by name, and no more can be loaded: remove some")]
    TooMany,
    /// The manifest is not text.
    #[error("{0} is not UTF-8 text: save it as such")]
    ManifestNotText(String),
    /// The manifest is wrong.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// It changed since it was seen. Nobody's mistake: the next look finds what it became.
    #[error("{0} is still changing: it is read again when it has been left alone")]
    StillChanging(String),
}

impl AddonFileError {
    /// The stable name of this error in the log and the API.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::BadId(_) => "bad_id",
            Self::DuplicateId(_) => "duplicate_id",
            Self::Symlink(_) => "symlink",
            Self::NotRegular(_) => "not_a_regular_file",
            Self::NotAnAddon(_) => "not_an_addon",
            Self::NoWasm(_) => "no_wasm",
            Self::NoManifest(_) => "no_manifest",
            Self::WorldWritable(_) => "world_writable",
            Self::TooLarge { .. } => "file_too_large",
            Self::Unreadable { .. } => "unreadable",
            Self::TooMany => "too_many_addons",
            Self::ManifestNotText(_) => "manifest_not_text",
            Self::Manifest(error) => error.code(),
            Self::StillChanging(_) => "still_changing",
        }
    }
}

impl Candidate {
    /// The path of its component.
    #[must_use]
    pub fn wasm_path(&self) -> PathBuf {
        let file = format!("{}.wasm", self.id);
        match &self.place {
            Place::Bare { root } => root.join(file),
            Place::Folder { root } => root.join(self.id.as_str()).join(file),
        }
    }

    /// The path of its manifest, if it has one.
    #[must_use]
    pub fn manifest_path(&self) -> Option<PathBuf> {
        match &self.place {
            Place::Bare { .. } => None,
            Place::Folder { root } => Some(root.join(self.id.as_str()).join(MANIFEST)),
        }
    }
}

impl FileStamp {
    fn of(meta: &Metadata) -> Self {
        Self {
            file: (meta.dev(), meta.ino()),
            size: meta.size(),
            modified: (meta.mtime(), meta.mtime_nsec()),
            changed: (meta.ctime(), meta.ctime_nsec()),
        }
    }
}

/// Looks at the folder once. A folder that does not exist is an empty one.
///
/// Hidden files and those that end with `.part`, `.tmp` or `~` are not there: they are how files are written before they are renamed.
///
/// # Errors
/// When the folder as a whole can not, or must not, be used.
pub fn scan(root: &Path) -> Result<Scan, ScanError> {
    let unreadable =
        |error: io::Error| ScanError::Unreadable { path: root.to_owned(), reason: error.to_string() };
    // The folder itself may be a link: its path is the operator's word.
    let meta = match fs::metadata(root) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Scan::default()),
        other => other.map_err(unreadable)?,
    };
    if !meta.is_dir() {
        return Err(ScanError::NotAFolder(root.to_owned()));
    }
    if meta.mode() & WORLD_WRITABLE != 0 {
        return Err(ScanError::WorldWritable(root.to_owned()));
    }

    let mut scan = Scan::default();
    let mut found: Vec<(AddonId, Result<Candidate, AddonFileError>)> = Vec::new();
    for (count, entry) in fs::read_dir(root).map_err(unreadable)?.enumerate() {
        if count >= ENTRIES_MAX {
            return Err(ScanError::TooManyEntries(root.to_owned()));
        }
        let entry = entry.map_err(unreadable)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if is_ignored(&name) {
            continue;
        }
        let meta = match entry.metadata() {
            Ok(meta) => meta,
            // It went away since it was listed.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => {
                scan.reject(&name, unreadable_file(&name, &error));
                continue;
            }
        };
        match id_of(&name, &meta) {
            Ok(id) => {
                if meta.is_dir() {
                    scan.folders.push(root.join(id.as_str()));
                }
                let seen = if meta.is_symlink() {
                    Err(AddonFileError::Symlink(name))
                } else {
                    look(root, &id, &meta)
                };
                found.push((id, seen));
            }
            Err(error) => scan.reject(&name, error),
        }
    }
    scan.sort_out(found);
    Ok(scan)
}

/// Whether this is how editors and copying tools name what is not ready.
fn is_ignored(name: &str) -> bool {
    name.starts_with('.') || [".part", ".tmp", "~"].iter().any(|end| name.ends_with(end))
}

/// The id that a name in the folder stands for.
fn id_of(name: &str, meta: &Metadata) -> Result<AddonId, AddonFileError> {
    let stem = name.strip_suffix(".wasm");
    if meta.is_symlink() {
        // With an id it can be told beside another addon of the same id.
        return AddonId::new(stem.unwrap_or(name)).map_err(|_| AddonFileError::Symlink(printable(name)));
    }
    match stem {
        None if meta.is_file() => Err(AddonFileError::NotAnAddon(printable(name))),
        None if !meta.is_dir() => Err(AddonFileError::NotRegular(printable(name))),
        Some(stem) if !meta.is_dir() => AddonId::new(stem).map_err(AddonFileError::BadId),
        _ => AddonId::new(name).map_err(AddonFileError::BadId),
    }
}

/// Looks at one addon, of which `meta` is the folder or the bare file.
fn look(root: &Path, id: &AddonId, meta: &Metadata) -> Result<Candidate, AddonFileError> {
    let wasm_name = format!("{id}.wasm");
    if !meta.is_dir() {
        let wasm = check_file(meta, &wasm_name, COMPONENT_BYTES_MAX)?;
        let place = Place::Bare { root: root.to_owned() };
        return Ok(Candidate { id: id.clone(), place, stamp: Stamp { wasm, manifest: None } });
    }
    if meta.mode() & WORLD_WRITABLE != 0 {
        return Err(AddonFileError::WorldWritable(id.to_string()));
    }
    let folder = root.join(id.as_str());
    let look_at = |name: &str, most, missing| {
        let path = format!("{id}/{name}");
        match fs::symlink_metadata(folder.join(name)) {
            Ok(meta) => check_file(&meta, &path, most),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(missing),
            Err(error) => Err(unreadable_file(&path, &error)),
        }
    };
    let wasm = look_at(&wasm_name, COMPONENT_BYTES_MAX, AddonFileError::NoWasm(id.clone()))?;
    let manifest = look_at(MANIFEST, MANIFEST_BYTES_MAX, AddonFileError::NoManifest(id.clone()))?;
    let place = Place::Folder { root: root.to_owned() };
    Ok(Candidate { id: id.clone(), place, stamp: Stamp { wasm, manifest: Some(manifest) } })
}

/// What must hold of a file, whether it was opened or only looked at.
fn check_file(meta: &Metadata, path: &str, most: usize) -> Result<FileStamp, AddonFileError> {
    if meta.is_symlink() {
        return Err(AddonFileError::Symlink(path.to_owned()));
    }
    if !meta.is_file() {
        return Err(AddonFileError::NotRegular(path.to_owned()));
    }
    if meta.mode() & WORLD_WRITABLE != 0 {
        return Err(AddonFileError::WorldWritable(path.to_owned()));
    }
    if meta.size() > most as u64 {
        return Err(AddonFileError::TooLarge { path: path.to_owned(), bytes: meta.size(), most });
    }
    Ok(FileStamp::of(meta))
}

fn unreadable_file(path: &str, error: &io::Error) -> AddonFileError {
    AddonFileError::Unreadable { path: printable(path), reason: error.to_string() }
}

impl Scan {
    fn reject(&mut self, name: &str, error: AddonFileError) {
        self.rejected.push(Rejected { name: printable(name), id: None, error });
    }

    /// Parts what was found into candidates and rejected ones, in an order that does not depend on the file system.
    fn sort_out(&mut self, mut found: Vec<(AddonId, Result<Candidate, AddonFileError>)>) {
        found.sort_by(|(one, _), (other, _)| one.cmp(other));
        let mut found = found.into_iter().peekable();
        while let Some((id, mut seen)) = found.next() {
            while found.next_if(|(next, _)| *next == id).is_some() {
                seen = Err(AddonFileError::DuplicateId(id.clone()));
            }
            if seen.is_ok() && self.candidates.len() >= ADDONS_MAX {
                seen = Err(AddonFileError::TooMany);
            }
            match seen {
                Ok(candidate) => self.candidates.push(candidate),
                Err(error) => self.rejected.push(Rejected { name: id.to_string(), id: Some(id), error }),
            }
        }
        self.rejected.sort_by(|one, other| one.name.cmp(&other.name));
        self.folders.sort();
    }
}
