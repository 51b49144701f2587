//! Why a command for authors could not do its work. Each text says what to do.

use std::path::{Path, PathBuf};

/// See the file's head.
#[derive(Debug, thiserror::Error)]
pub enum AuthorError {
    /// What was given is not what the command needs.
    #[error("{0}")]
    Input(String),
    /// A tool is not there.
    #[error("{0}")]
    Missing(String),
    /// A tool ran and failed; it has said why.
    #[error("{program} failed ({status}): its own words are above")]
    Tool {
        /// Which.
        program: String,
        /// How it ended.
        status: String,
    },
    /// A file or folder.
    #[error("cannot {what} {path:?}: {source}")]
    File {
        /// What was tried.
        what: &'static str,
        /// With which.
        path: PathBuf,
        /// The system's words.
        source: std::io::Error,
    },
    /// The private addon host does not work.
    #[error("the addon host cannot be used: {0}")]
    Host(String),
}

impl AuthorError {
    /// For `map_err`: what was tried with which file.
    pub(crate) fn file(what: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::File { what, path, source }
    }
}

/// Writes a file and the folders that it lies in.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result<(), AuthorError> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(AuthorError::file("make the folder", folder))?;
    }
    std::fs::write(path, bytes).map_err(AuthorError::file("write", path))
}

/// Reads a text file.
pub(crate) fn read(path: &Path) -> Result<String, AuthorError> {
    std::fs::read_to_string(path).map_err(AuthorError::file("read", path))
}
