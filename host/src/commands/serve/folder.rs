//! The data folder: made if missing, closed to others, and held by one daemon at a time.

use crate::exit::Exit;
use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

/// Why the folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum FolderError {
    /// It is not there and cannot be made, or not written to.
    #[error("cannot use the data folder {}: {source}; choose another with --data-dir", path.display())]
    Unusable {
        /// The folder or the file in it.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Another daemon has it.
    #[error("the data folder {} is used by another lowtide daemon (process {holder}); stop it, or choose another with --data-dir", path.display())]
    Taken {
        /// The folder.
        path: PathBuf,
        /// Process id as that daemon wrote it down.
        holder: String,
    },
}

impl FolderError {
    pub(super) fn exit(&self) -> Exit {
        match self {
            Self::Unusable { .. } => Exit::CannotCreate,
            Self::Taken { .. } => Exit::Unavailable,
        }
    }
}

/// Makes the folder if need be and takes its lock, which is held as long as the returned file is open.
pub(super) fn claim(folder: &Path) -> Result<File, FolderError> {
    let unusable = |path: &Path| {
        let path = path.to_owned();
        move |source| FolderError::Unusable { path, source }
    };
    // Nobody else has business in it.
    DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(unusable(folder))?;
    let path = folder.join("lowtide.lock");
    let open = OpenOptions::new().create(true).truncate(false).read(true).write(true).mode(0o600).open(&path);
    let mut file = open.map_err(unusable(&path))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut holder = String::new();
            // Only for the message; an unreadable one is not worth another error.
            let _ = file.take(32).read_to_string(&mut holder);
            let holder = if holder.trim().is_empty() { "unknown" } else { holder.trim() }.to_owned();
            return Err(FolderError::Taken { path: folder.to_owned(), holder });
        }
        Err(TryLockError::Error(source)) => return Err(FolderError::Unusable { path, source }),
    }
    file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id())).map_err(unusable(&path))?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn a_folder_is_made_private_and_held_once() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("a/b");
        let lock = claim(&folder).unwrap();
        assert_eq!(fs::metadata(&folder).unwrap().permissions().mode() & 0o777, 0o700);
        let taken = claim(&folder).unwrap_err().to_string();
        assert!(taken.contains(&format!("process {}", std::process::id())), "{taken}");
        drop(lock);
        claim(&folder).unwrap();
    }

    #[test]
    fn a_file_in_the_way_is_named() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("a");
        fs::write(&folder, "").unwrap();
        assert!(claim(&folder).unwrap_err().to_string().contains(&folder.display().to_string()));
    }
}
