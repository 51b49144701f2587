//! Reads the files of one addon through open directories, so that nothing can be swapped for a link on the way.

use super::{
    AddonFileError, AddonFiles, Candidate, FileStamp, MANIFEST, Place, WORLD_WRITABLE, check_file,
    unreadable_file,
};
use crate::limits::{COMPONENT_BYTES_MAX, MANIFEST_BYTES_MAX};
use crate::manifest::{Manifest, printable};
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Reads an addon exactly as it was seen by a scan.
///
/// # Errors
/// `StillChanging` when any of it is not as it was; else the first thing that is wrong.
pub fn read(candidate: &Candidate) -> Result<AddonFiles, AddonFileError> {
    let id = &candidate.id;
    let wasm_name = format!("{id}.wasm");
    match &candidate.place {
        Place::Bare { root } => {
            let root = open_root(root)?;
            let wasm = read_file(&root, &wasm_name, &wasm_name, COMPONENT_BYTES_MAX, &candidate.stamp.wasm)?;
            Ok(AddonFiles { manifest: Manifest::bare(id.clone()), wasm })
        }
        Place::Folder { root } => {
            let Some(stamp) = &candidate.stamp.manifest else {
                return Err(AddonFileError::NoManifest(id.clone()));
            };
            let root = open_root(root)?;
            let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW;
            let folder = File::from(open(&root, Path::new(id.as_str()), flags, id.as_str())?);
            let meta = folder.metadata().map_err(|error| unreadable_file(id.as_str(), &error))?;
            if meta.mode() & WORLD_WRITABLE != 0 {
                return Err(AddonFileError::WorldWritable(id.to_string()));
            }
            let path = format!("{id}/{MANIFEST}");
            let manifest = read_file(&folder, MANIFEST, &path, MANIFEST_BYTES_MAX, stamp)?;
            let manifest = String::from_utf8(manifest).map_err(|_| AddonFileError::ManifestNotText(path))?;
            let manifest = Manifest::parse(&manifest, id)?;
            let path = format!("{id}/{wasm_name}");
            let wasm = read_file(&folder, &wasm_name, &path, COMPONENT_BYTES_MAX, &candidate.stamp.wasm)?;
            Ok(AddonFiles { manifest, wasm })
        }
    }
}

fn open_root(root: &Path) -> Result<OwnedFd, AddonFileError> {
    open(&CWD, root, OFlags::DIRECTORY, &root.to_string_lossy())
}

fn open(within: &impl AsFd, name: &Path, flags: OFlags, path: &str) -> Result<OwnedFd, AddonFileError> {
    // Without NONBLOCK a pipe would hold up whoever opens it.
    let flags = flags | OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    rustix::fs::openat(within, name, flags, Mode::empty()).map_err(|error| match error {
        Errno::LOOP | Errno::MLINK => AddonFileError::Symlink(printable(path)),
        // It was there, and a folder, when it was seen.
        Errno::NOENT | Errno::NOTDIR => AddonFileError::StillChanging(printable(path)),
        other => unreadable_file(path, &other.into()),
    })
}

/// Reads `name` in an open folder; `path` is what errors call it.
fn read_file(
    folder: &impl AsFd,
    name: &str,
    path: &str,
    most: usize,
    expected: &FileStamp,
) -> Result<Vec<u8>, AddonFileError> {
    let file = File::from(open(folder, Path::new(name), OFlags::NOFOLLOW, path)?);
    expect(&file, path, most, expected)?;
    drain(&file, path, most, expected)
}

/// Reads all of an open file, which must be as expected when that is done.
pub(super) fn drain(
    mut file: &File,
    path: &str,
    most: usize,
    expected: &FileStamp,
) -> Result<Vec<u8>, AddonFileError> {
    let mut bytes = Vec::new();
    // One more than may be: what grows while it is read is not read to its end.
    file.by_ref()
        .take(most as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| unreadable_file(path, &error))?;
    expect(file, path, most, expected)?;
    if bytes.len() as u64 != expected.size {
        return Err(AddonFileError::StillChanging(path.to_owned()));
    }
    Ok(bytes)
}

fn expect(file: &File, path: &str, most: usize, expected: &FileStamp) -> Result<(), AddonFileError> {
    let meta = file.metadata().map_err(|error| unreadable_file(path, &error))?;
    if check_file(&meta, path, most)? == *expected {
        Ok(())
    } else {
        Err(AddonFileError::StillChanging(path.to_owned()))
    }
}
