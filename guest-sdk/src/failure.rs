//! Why an export could not do what it was asked. The errors of the host functions turn into it with `?`.

use crate::host_data::{DataError, DataErrorKind};
use crate::http::{HttpError, HttpErrorKind};
use crate::kv::KvError;
use crate::leases::LeaseError;
use crate::metrics::MetricError;
use crate::system::SystemError;
use std::fmt;

/// Why an export could not do what it was asked.
///
/// It is shown to the operator as the addon's error. It is not a trap: the instance goes on, and the next call comes at its
/// usual time. Panicking instead costs the instance and its state.
///
/// Every error of this crate, `std::io::Error` and the errors of parsing turn into a `Failure` with `?`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// What is measured is not there on this machine. Not an error: the collector counts as absent.
    Absent(String),
    /// The addon's configuration is missing or wrong; the text says which key and what it should be.
    Config(String),
    /// Something outside did not answer or answered wrongly, and may be well again at the next call.
    Unavailable(String),
    /// The host refused something that the addon needs.
    Denied(String),
    /// Anything else.
    Other(String),
}

impl Failure {
    /// [`Failure::Absent`] with this text.
    pub fn absent(text: impl Into<String>) -> Self {
        Self::Absent(text.into())
    }

    /// [`Failure::Config`] with this text.
    pub fn config(text: impl Into<String>) -> Self {
        Self::Config(text.into())
    }

    /// [`Failure::Unavailable`] with this text.
    pub fn unavailable(text: impl Into<String>) -> Self {
        Self::Unavailable(text.into())
    }

    /// [`Failure::Denied`] with this text.
    pub fn denied(text: impl Into<String>) -> Self {
        Self::Denied(text.into())
    }

    /// [`Failure::Other`] with this text.
    pub fn other(text: impl Into<String>) -> Self {
        Self::Other(text.into())
    }

    /// The text.
    pub fn text(&self) -> &str {
        match self {
            Self::Absent(text)
            | Self::Config(text)
            | Self::Unavailable(text)
            | Self::Denied(text)
            | Self::Other(text) => text,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self {
            Self::Absent(_) => "absent",
            Self::Config(_) => "configuration",
            Self::Unavailable(_) => "unavailable",
            Self::Denied(_) => "denied",
            Self::Other(_) => "failed",
        };
        write!(out, "{kind}: {}", self.text())
    }
}

impl std::error::Error for Failure {}

impl From<DataError> for Failure {
    fn from(error: DataError) -> Self {
        let text = error.to_string();
        match error.kind {
            DataErrorKind::NotFound => Self::Absent(text),
            DataErrorKind::NotGranted(_) => Self::Denied(text),
            DataErrorKind::Unreadable(_) => Self::Unavailable(text),
            DataErrorKind::Invalid(_) | DataErrorKind::TooLarge => Self::Other(text),
        }
    }
}

impl From<HttpError> for Failure {
    fn from(error: HttpError) -> Self {
        let text = error.to_string();
        match error.kind {
            HttpErrorKind::NotGranted(_) => Self::Denied(text),
            HttpErrorKind::Timeout | HttpErrorKind::Unreachable(_) | HttpErrorKind::LimitExceeded => {
                Self::Unavailable(text)
            }
            HttpErrorKind::Invalid(_) | HttpErrorKind::TooLarge => Self::Other(text),
        }
    }
}

impl From<KvError> for Failure {
    fn from(error: KvError) -> Self {
        let text = error.to_string();
        match error {
            KvError::Unavailable(_) => Self::Unavailable(text),
            KvError::Invalid(_) | KvError::LimitExceeded(_) => Self::Other(text),
        }
    }
}

impl From<MetricError> for Failure {
    fn from(error: MetricError) -> Self {
        Self::Other(error.to_string())
    }
}

impl From<SystemError> for Failure {
    fn from(error: SystemError) -> Self {
        let text = error.to_string();
        match error {
            SystemError::NotYet => Self::Unavailable(text),
            SystemError::LimitExceeded => Self::Other(text),
        }
    }
}

impl From<LeaseError> for Failure {
    fn from(error: LeaseError) -> Self {
        let text = error.to_string();
        match error {
            LeaseError::Denied(_) | LeaseError::Gone(_) | LeaseError::Unavailable(_) => {
                Self::Unavailable(text)
            }
            LeaseError::NotGranted(_) => Self::Denied(text),
            LeaseError::Invalid(_) => Self::Other(text),
        }
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        let text = error.to_string();
        match error.kind() {
            std::io::ErrorKind::NotFound => Self::Absent(text),
            std::io::ErrorKind::PermissionDenied => Self::Denied(text),
            _ => Self::Unavailable(text),
        }
    }
}

/// Errors of parsing what something outside answered.
macro_rules! from_parsing {
    ($($error:ty),+ $(,)?) => {
        $(impl From<$error> for Failure {
            fn from(error: $error) -> Self {
                Self::Unavailable(error.to_string())
            }
        })+
    };
}

from_parsing!(
    std::num::ParseIntError,
    std::num::ParseFloatError,
    std::str::ParseBoolError,
    std::str::Utf8Error,
    std::string::FromUtf8Error,
);

#[cfg(feature = "serde_json")]
from_parsing!(serde_json::Error);

impl From<String> for Failure {
    fn from(text: String) -> Self {
        Self::Other(text)
    }
}

impl From<&str> for Failure {
    fn from(text: &str) -> Self {
        Self::Other(text.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_become_the_failure_that_fits() {
        let parse = || -> Result<f64, Failure> { Ok("x".parse::<f64>()?) };
        assert!(matches!(parse(), Err(Failure::Unavailable(_))));
        let gone = || -> Result<(), Failure> { Err(std::io::Error::from(std::io::ErrorKind::NotFound))? };
        assert!(matches!(gone(), Err(Failure::Absent(_))));
        let timeout = HttpError { request: "GET http://a/".into(), kind: HttpErrorKind::Timeout };
        assert_eq!(
            Failure::from(timeout).to_string(),
            "unavailable: GET http://a/: no answer within the time"
        );
        assert_eq!(Failure::from("out of paper"), Failure::other("out of paper"));
    }
}
