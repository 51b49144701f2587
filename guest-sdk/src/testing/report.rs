//! What a call of an addon led to.

use crate::log::Level;
use crate::{Failure, Sample};
use std::fmt;

/// What a call of an addon led to: its answer, and all that the addon told the host since the report before.
#[derive(Debug)]
#[must_use = "a report is there to be looked at; `assert_ok` looks"]
pub struct Report<T> {
    /// What the addon returned. Samples that break the contract are left out.
    pub answer: Result<T, Failure>,
    /// What the host would have refused.
    pub problems: Vec<Problem>,
    /// Lines of the log.
    pub logs: Vec<LogLine>,
    /// What was recorded through [`metrics`](crate::metrics), and accepted.
    pub recorded: Vec<Recorded>,
    /// Events that were reported, and accepted.
    pub events: Vec<Event>,
    /// Requests that were sent.
    pub requests: Vec<SentRequest>,
    /// What was done with leases.
    pub leases: Vec<LeaseCall>,
}

impl<T> Report<T> {
    /// The answer, if the addon succeeded and the host had nothing to refuse.
    ///
    /// # Panics
    /// Otherwise, with all that was wrong.
    #[track_caller]
    pub fn assert_ok(&self) -> &T {
        let mut wrong: Vec<String> = self.problems.iter().map(Problem::to_string).collect();
        let answer = match &self.answer {
            Ok(answer) => Some(answer),
            Err(failure) => {
                wrong.push(failure.to_string());
                None
            }
        };
        match answer {
            Some(answer) if wrong.is_empty() => answer,
            _ => panic!("the addon is not well:\n  {}", wrong.join("\n  ")),
        }
    }

    /// The last value that was recorded for a series through [`metrics`](crate::metrics).
    pub fn recorded(&self, name: &str, labels: &[&str]) -> Option<f64> {
        let found =
            self.recorded.iter().rev().find(|recorded| recorded.name == name && recorded.labels == labels);
        found.map(|recorded| recorded.value)
    }

    /// True when a line of the log has this in it.
    pub fn logged(&self, text: &str) -> bool {
        self.logs.iter().any(|line| line.message.contains(text))
    }
}

impl Report<Vec<Sample>> {
    /// The samples that the host would keep; none after a failure.
    pub fn samples(&self) -> &[Sample] {
        self.answer.as_deref().unwrap_or_default()
    }

    /// The value of a series.
    pub fn value(&self, name: &str, labels: &[&str]) -> Option<f64> {
        let found = self.samples().iter().find(|sample| sample.name == name && sample.labels == labels);
        found.map(|sample| sample.value)
    }
}

/// Something that breaks the contract; the host would have refused it, counted it and shown it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Problem {
    /// A definition or a description breaks a rule; the text says which.
    Definition(String),
    /// No metric of this name was declared.
    Undeclared(String),
    /// A name, label, value or text breaks a rule; the text says which.
    Invalid(String),
    /// A series was given twice in one collection.
    Duplicate(String),
    /// There are more than there may be; the text says of what.
    LimitExceeded(String),
}

impl fmt::Display for Problem {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Definition(text) | Self::Invalid(text) => out.write_str(text),
            Self::Undeclared(name) => write!(out, "the metric {name:?} was not declared"),
            Self::Duplicate(series) => write!(out, "{series} was given twice"),
            Self::LimitExceeded(text) => write!(out, "limit exceeded: {text}"),
        }
    }
}

/// A line of the log.
#[derive(Clone, Debug, PartialEq)]
pub struct LogLine {
    /// How much it matters.
    pub level: Level,
    /// The line.
    pub message: String,
}

/// How a value was recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recording {
    /// A gauge was set.
    Gauge,
    /// A counter was raised by the value.
    Counter,
    /// The value was observed.
    Histogram,
    /// The value is a duration in seconds that was observed.
    Timer,
}

/// A value that was recorded through [`metrics`](crate::metrics).
#[derive(Clone, Debug, PartialEq)]
pub struct Recorded {
    /// The metric.
    pub name: String,
    /// Values of its labels.
    pub labels: Vec<String>,
    /// How.
    pub recording: Recording,
    /// What.
    pub value: f64,
}

/// An event that was reported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Its name.
    pub name: String,
    /// Its attributes.
    pub attributes: Vec<(String, String)>,
}

/// A request that was sent.
#[derive(Clone, Debug, PartialEq)]
pub struct SentRequest {
    /// Method and URL, as in [`FakeHost::http`](super::FakeHost::http).
    pub request: String,
    /// Header fields.
    pub headers: Vec<(String, String)>,
    /// The body; empty for GET.
    pub body: Vec<u8>,
}

/// What was done with a lease.
#[derive(Clone, Debug, PartialEq)]
pub enum LeaseCall {
    /// It was asked for, for this type of job.
    Requested(String),
    /// Progress was told: the share that is done, and the note.
    Reported(Option<f64>, String),
    /// It was released, or dropped.
    Released,
}
