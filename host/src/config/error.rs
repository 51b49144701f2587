//! What can be wrong with a configuration, and where it was written. Only data and its text; every other file of this
//! module makes these, `main` prints them.

use serde::{Serialize, Serializer};
use std::fmt;
use std::path::PathBuf;

/// Where a value, or the mistake in it, was written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "source", rename_all = "snake_case")]
pub enum Origin {
    /// Nowhere: the default.
    Default,
    /// In a file. Line and column count from 1, the column in characters; `None` where the whole file is meant.
    File {
        /// Path as it was given or found.
        #[serde(serialize_with = "path_text")]
        path: PathBuf,
        /// Line and column.
        #[serde(flatten)]
        position: Option<Position>,
    },
    /// In an environment variable.
    Env {
        /// Its name.
        variable: String,
    },
    /// In a command line flag.
    Flag {
        /// The flag with its dashes.
        flag: String,
    },
}

/// A place in a file. Files are bounded far below 2^32 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Position {
    /// Line, from 1.
    pub line: u32,
    /// Column in characters, from 1.
    pub column: u32,
}

fn path_text<S: Serializer>(path: &std::path::Path, serializer: S) -> Result<S::Ok, S::Error> {
    // A path that is not UTF-8 must not make the whole list of errors unprintable.
    serializer.collect_str(&path.display())
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { path, position: Some(at) } => {
                write!(f, "{}:{}:{}", path.display(), at.line, at.column)
            }
            Self::File { path, position: None } => write!(f, "{}", path.display()),
            Self::Env { variable } => f.write_str(variable),
            Self::Flag { flag } => f.write_str(flag),
        }
    }
}

/// The kinds of mistakes, for programs that read `--json`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorKind {
    /// The file is missing, unreadable, not a file, not UTF-8 or too large.
    Unreadable,
    /// The file is not TOML.
    Syntax,
    /// There is no such key.
    UnknownKey,
    /// The value has another type than the key.
    WrongType,
    /// The number, list or text is too small or too large.
    OutOfRange,
    /// The value is none of those that the key takes.
    NotAllowed,
    /// The value is sound alone but not together with another one.
    Conflict,
    /// A value is needed that the environment does not give.
    Missing,
}

/// One mistake: what, where, and what would be right.
#[derive(Clone, Debug, PartialEq, Serialize, thiserror::Error)]
pub struct ConfigError {
    /// Which kind.
    pub kind: ErrorKind,
    /// Where it was written.
    #[serde(flatten)]
    pub origin: Origin,
    /// The dotted key, with an index for an entry of a list; `None` where the whole file is meant.
    pub key: Option<String>,
    /// What is wrong.
    pub message: String,
    /// What would be right, where that is a closed set or a range.
    pub allowed: Option<String>,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.origin)?;
        if let Some(key) = &self.key {
            write!(f, "{key}: ")?;
        }
        f.write_str(&self.message)?;
        match &self.allowed {
            Some(allowed) => write!(f, ", allowed {allowed}"),
            None => Ok(()),
        }
    }
}

/// A mistake in a value, before anyone knows where it stands.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Mistake {
    pub(super) kind: ErrorKind,
    pub(super) message: String,
    pub(super) allowed: Option<String>,
}

impl Mistake {
    pub(super) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), allowed: None }
    }

    pub(super) fn allowed(self, allowed: impl Into<String>) -> Self {
        Self { allowed: Some(allowed.into()), ..self }
    }

    pub(super) fn at(self, origin: Origin, key: impl Into<String>) -> ConfigError {
        ConfigError {
            kind: self.kind,
            origin,
            key: Some(key.into()),
            message: self.message,
            allowed: self.allowed,
        }
    }
}
