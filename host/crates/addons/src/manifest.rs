//! `addon.toml`: what an addon says of itself and what it asks for.
//!
//! A pure function from text to [`Manifest`]; it reads no file and grants nothing. `discover::read` calls it, and so does
//! `lowtide addon check`.

use crate::capabilities::Capabilities;
use crate::id::AddonId;
use crate::limits::{INTERVAL_MAX, INTERVAL_MIN, MANIFEST_BYTES_MAX, MEMORY_BYTES_MAX};
use serde::Deserialize;
use std::fmt;
use std::ops::Range;
use std::time::Duration;
use toml::Spanned;

#[cfg(test)]
mod tests;

/// Bytes of the addon's own version: a semantic version with a build note fits.
const VERSION_BYTES_MAX: usize = 64;

/// Bytes of the description: a line or two in a list.
const DESCRIPTION_BYTES_MAX: usize = 512;

const MIB: u64 = 1 << 20;

/// What an addon says of itself and asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// Its id, the same as the folder's name.
    pub id: AddonId,
    /// Its own version.
    pub version: Option<String>,
    /// What it does, for people.
    pub description: Option<String>,
    /// What it asks for.
    pub asks: Capabilities,
    /// The linear memory that it asks for.
    pub memory_bytes: Option<u64>,
    /// The time between two collections that it asks for.
    pub interval: Option<Duration>,
}

/// Why the text is not a manifest, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("addon.toml, line {line}, column {column}: {problem}")]
pub struct ManifestError {
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// What is wrong there.
    pub problem: ManifestProblem,
}

/// What is wrong with a manifest. Texts come from the file and have no control characters.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ManifestProblem {
    /// Longer than any sensible one.
    #[error("the file is larger than {MANIFEST_BYTES_MAX} bytes: shorten it")]
    TooLarge,
    /// Not TOML.
    #[error("this is not TOML ({0}): correct the line")]
    Syntax(String),
    /// A key that no manifest has.
    #[error("{0}: correct its spelling or remove it")]
    UnknownKey(String),
    /// A key that every manifest has is not there.
    #[error("{0}: add it")]
    MissingKey(String),
    /// A value of another kind.
    #[error("{0}: write a value of that kind")]
    WrongType(String),
    /// A number outside its bounds.
    #[error("{0}: choose a value within the bounds")]
    OutOfRange(String),
    /// A text that breaks the rules of its key.
    #[error("{0}: correct it")]
    WrongValue(String),
    /// The id is another one than the folder's name.
    #[error(
        "id is {found:?}, but the addon is called {expected:?} by its file or folder: make both the same"
    )]
    WrongId {
        /// What the manifest says.
        found: String,
        /// What the folder says.
        expected: AddonId,
    },
}

impl ManifestError {
    /// The stable name of this error in the log and the API.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self.problem {
            ManifestProblem::TooLarge => "manifest_too_large",
            ManifestProblem::Syntax(_) => "manifest_syntax",
            ManifestProblem::UnknownKey(_) => "manifest_unknown_key",
            ManifestProblem::MissingKey(_) => "manifest_missing_key",
            ManifestProblem::WrongType(_) => "manifest_wrong_type",
            ManifestProblem::OutOfRange(_) => "manifest_out_of_range",
            ManifestProblem::WrongValue(_) => "manifest_wrong_value",
            ManifestProblem::WrongId { .. } => "manifest_wrong_id",
        }
    }
}

/// The file as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    id: Spanned<String>,
    version: Option<Spanned<String>>,
    description: Option<Spanned<String>>,
    asks: Option<Spanned<Capabilities>>,
    #[serde(default)]
    limits: Limits,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Limits {
    memory_mib: Option<Spanned<i64>>,
    interval_seconds: Option<Spanned<i64>>,
}

impl Manifest {
    /// The manifest of an addon that has none: it asks for nothing.
    #[must_use]
    pub fn bare(id: AddonId) -> Self {
        Self {
            id,
            version: None,
            description: None,
            asks: Capabilities::default(),
            memory_bytes: None,
            interval: None,
        }
    }

    /// Reads a manifest of the addon that its folder calls `expected`.
    ///
    /// # Errors
    /// At the first thing that is wrong.
    pub fn parse(text: &str, expected: &AddonId) -> Result<Self, ManifestError> {
        let at = |span: Range<usize>, problem| error_at(text, span.start, problem);
        if text.len() > MANIFEST_BYTES_MAX {
            return Err(at(0..0, ManifestProblem::TooLarge));
        }
        let document = toml::de::Deserializer::parse(text)
            .map_err(|error| from_toml(text, &error, ManifestProblem::Syntax(printable(error.message()))))?;
        let file = File::deserialize(document)
            .map_err(|error| from_toml(text, &error, kind_of(printable(error.message()))))?;

        if file.id.get_ref() != expected.as_str() {
            let found = file.id.get_ref().chars().take(80).collect();
            return Err(at(file.id.span(), ManifestProblem::WrongId { found, expected: expected.clone() }));
        }
        if let Some(version) = &file.version
            && !is_version(version.get_ref())
        {
            let problem = format!(
                "version must be 1 to {VERSION_BYTES_MAX} letters, digits and . + - that begin with a digit, such as \"0.1.0\""
            );
            return Err(at(version.span(), ManifestProblem::WrongValue(problem)));
        }
        if let Some(description) = &file.description
            && (description.get_ref().len() > DESCRIPTION_BYTES_MAX
                || description.get_ref().chars().any(char::is_control))
        {
            let problem = format!(
                "description must be one line of at most {DESCRIPTION_BYTES_MAX} bytes without control characters"
            );
            return Err(at(description.span(), ManifestProblem::WrongValue(problem)));
        }
        if let Some(asks) = &file.asks
            && let Some(leases) = &asks.get_ref().leases
            && !(1..=100).contains(&leases.max_units)
        {
            let problem = format!("leases.max_units is {}, and must be 1 to 100", leases.max_units);
            return Err(at(asks.span(), ManifestProblem::OutOfRange(problem)));
        }
        let number = |name: &str, value: Option<Spanned<i64>>, least: u64, most: u64| {
            let Some(value) = value else { return Ok(None) };
            match u64::try_from(*value.get_ref()) {
                Ok(number) if (least..=most).contains(&number) => Ok(Some(number)),
                _ => {
                    let problem = format!("{name} is {}, and must be {least} to {most}", value.get_ref());
                    Err(at(value.span(), ManifestProblem::OutOfRange(problem)))
                }
            }
        };
        let memory = number("memory_mib", file.limits.memory_mib, 1, MEMORY_BYTES_MAX / MIB)?;
        let interval = number(
            "interval_seconds",
            file.limits.interval_seconds,
            INTERVAL_MIN.as_secs(),
            INTERVAL_MAX.as_secs(),
        )?;
        Ok(Self {
            id: expected.clone(),
            version: file.version.map(Spanned::into_inner),
            description: file.description.map(Spanned::into_inner),
            asks: file.asks.map(Spanned::into_inner).unwrap_or_default(),
            memory_bytes: memory.map(|mib| mib * MIB),
            interval: interval.map(Duration::from_secs),
        })
    }
}

fn is_version(text: &str) -> bool {
    text.len() <= VERSION_BYTES_MAX
        && text.starts_with(|c: char| c.is_ascii_digit())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '+' | '-'))
}

/// serde has no kinds of errors, but it words its own in fixed ways; a test holds each of them.
fn kind_of(message: String) -> ManifestProblem {
    if message.starts_with("unknown field") {
        ManifestProblem::UnknownKey(message)
    } else if message.starts_with("missing field") {
        ManifestProblem::MissingKey(message)
    } else if message.starts_with("invalid type") {
        ManifestProblem::WrongType(message)
    } else if message.starts_with("invalid value: integer") {
        ManifestProblem::OutOfRange(message)
    } else {
        ManifestProblem::WrongValue(message)
    }
}

fn from_toml(text: &str, error: &toml::de::Error, problem: ManifestProblem) -> ManifestError {
    error_at(text, error.span().map_or(0, |span| span.start), problem)
}

fn error_at(text: &str, offset: usize, problem: ManifestProblem) -> ManifestError {
    let before = text.get(..offset).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    let column = before.get(line_start..).unwrap_or_default().chars().count() + 1;
    ManifestError { line: before.matches('\n').count() + 1, column, problem }
}

/// The text in one line, with every character that a terminal would act on or not show written out. Quotes stay.
pub(crate) fn printable(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for character in text.chars().take(500) {
        match character {
            '"' | '\'' | '\\' => line.push(character),
            _ => line.extend(character.escape_debug()),
        }
    }
    line
}

impl fmt::Display for Manifest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.id)?;
        self.version.as_ref().map_or(Ok(()), |version| write!(f, " {version}"))
    }
}
