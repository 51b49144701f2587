//! Read-only looks at the machine that a sandbox has not by itself: files of `/proc`, `/sys` and folders that the operator allowed,
//! and whether something listens on a port. Needs the grant `host-data` with each path or address.
//!
//! ```
//! # use lowtide_sdk::{Failure, host_data, testing::FakeHost};
//! # FakeHost::new().file("/sys/class/hwmon/hwmon0/temp1_input", "42000\n").run(|| {
//! let text = host_data::read_to_string("/sys/class/hwmon/hwmon0/temp1_input")?;
//! let celsius = text.trim().parse::<f64>()? / 1_000.0;
//! # assert_eq!(celsius, 42.0);
//! # Ok::<(), Failure>(())
//! # }).unwrap();
//! ```

pub use crate::bindings::imports::lowtide::addon::host_data::{Entry, EntryKind, Metadata};
use crate::host::host_data as host;
use std::fmt;
use std::time::Duration;

/// A look that was not possible: at what, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DataError {
    /// The path or address.
    pub place: String,
    /// Why.
    pub kind: DataErrorKind,
}

/// Why a look was not possible.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DataErrorKind {
    /// The path or address is not within what was granted; the text says what to ask the operator for.
    NotGranted(String),
    /// There is no such file or directory.
    NotFound,
    /// The path is not absolute, has `..` in it, or is not what the call needs (a file, a directory); the text says which.
    Invalid(String),
    /// The file is larger than 256 KiB, or the directory has more than 1 000 entries.
    TooLarge,
    /// The host may not, or cannot, read it; the text is the system's.
    Unreadable(String),
}

impl DataError {
    /// True when there is no such file or directory.
    pub fn is_not_found(&self) -> bool {
        self.kind == DataErrorKind::NotFound
    }

    fn new(place: &str, kind: DataErrorKind) -> Self {
        Self { place: place.to_owned(), kind }
    }
}

impl fmt::Display for DataErrorKind {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotGranted(text) => write!(out, "not granted: {text}"),
            Self::NotFound => out.write_str("no such file or directory"),
            Self::Invalid(text) => out.write_str(text),
            Self::TooLarge => out.write_str("larger than may be read"),
            Self::Unreadable(text) => write!(out, "cannot be read: {text}"),
        }
    }
}

impl fmt::Display for DataError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}: {}", self.place, self.kind)
    }
}

impl std::error::Error for DataErrorKind {}

impl std::error::Error for DataError {}

/// The content of a file, at most 256 KiB.
pub fn read(path: &str) -> Result<Vec<u8>, DataError> {
    host::read(path).map_err(|kind| DataError::new(path, kind))
}

/// The content of a file as text. A file that is not UTF-8 is [`DataErrorKind::Invalid`].
pub fn read_to_string(path: &str) -> Result<String, DataError> {
    let not_text = |_| DataError::new(path, DataErrorKind::Invalid("the file is not UTF-8".into()));
    String::from_utf8(read(path)?).map_err(not_text)
}

/// The entries of a directory, sorted by name, at most 1 000.
pub fn list_directory(path: &str) -> Result<Vec<Entry>, DataError> {
    host::list_directory(path).map_err(|kind| DataError::new(path, kind))
}

/// What is known of a file or directory without reading it.
pub fn stat(path: &str) -> Result<Metadata, DataError> {
    host::stat(path).map_err(|kind| DataError::new(path, kind))
}

/// Whether something accepts a TCP connection on `host:port` within the time, at most 5 s; none: 1 s. Nothing is sent.
pub fn tcp_accepts(address: &str, timeout: Option<Duration>) -> Result<bool, DataError> {
    let timeout = timeout.map(|timeout| timeout.as_secs_f64());
    host::tcp_accepts(address, timeout).map_err(|kind| DataError::new(address, kind))
}
