//! Recording metrics from anywhere in an addon. A collector returns its samples instead; this is for what happens between two
//! collections: a counter of retries, the time that a request took, the progress of a job.
//!
//! A metric is declared once, in [`Collector::describe`](crate::Collector::describe) or by [`declare`]. The host keeps the values
//! under the addon's name, so counters and histograms go on when the addon is restarted or replaced.
//!
//! ```
//! # use lowtide_sdk::{Metric, Unit, metrics, testing::FakeHost};
//! # FakeHost::new().run(|| {
//! metrics::declare(&Metric::counter("retries_total", Unit::Count, "Requests that were tried again.").labels(["server"]))?;
//! metrics::declare(&Metric::histogram("request_seconds", Unit::Seconds, "How long requests took."))?;
//!
//! metrics::counter("retries_total", &["a"], 1.0)?;
//! {
//!     let _timer = metrics::timer("request_seconds", &[]);
//!     // The request; its time is recorded at the end of the block.
//! }
//! # Ok::<(), metrics::MetricError>(())
//! # }).unwrap();
//! ```

use crate::Metric;
use crate::host::metrics as host;
use crate::time;
use std::fmt;
use std::time::Duration;

/// Why a value or a definition was not taken. Nothing else is lost, and the host counts and shows the refusal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MetricError {
    /// The name, a label or the definition breaks a rule; the text says which.
    Invalid(String),
    /// No metric of this name was declared, or it is of another kind.
    Undeclared(String),
    /// The metric was declared before with another definition, by this addon or by another.
    Conflict(String),
    /// The addon has as many series or metrics as it may have (500 series, 200 metrics).
    LimitExceeded(String),
}

impl fmt::Display for MetricError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Invalid(text) => write!(out, "metric: {text}"),
            Self::Undeclared(text) => write!(out, "metric not declared: {text}"),
            Self::Conflict(text) => write!(out, "metric declared otherwise before: {text}"),
            Self::LimitExceeded(text) => write!(out, "metric: limit exceeded: {text}"),
        }
    }
}

impl std::error::Error for MetricError {}

/// Declares a metric. Declaring the same again is not an error.
pub fn declare(metric: &Metric) -> Result<(), MetricError> {
    host::declare(metric)
}

/// Sets a gauge. The labels' values are in the declared order.
pub fn gauge(name: &str, labels: &[&str], value: f64) -> Result<(), MetricError> {
    host::gauge(name, labels, value)
}

/// Adds to a counter. A negative or non-finite amount is [`MetricError::Invalid`].
pub fn counter(name: &str, labels: &[&str], amount: f64) -> Result<(), MetricError> {
    host::counter(name, labels, amount)
}

/// Records one observation of a histogram. A non-finite one is [`MetricError::Invalid`].
pub fn histogram(name: &str, labels: &[&str], observation: f64) -> Result<(), MetricError> {
    host::histogram(name, labels, observation)
}

/// Records a duration in a histogram whose unit is seconds.
pub fn duration(name: &str, labels: &[&str], duration: Duration) -> Result<(), MetricError> {
    host::timer(name, labels, duration.as_secs_f64())
}

/// Reports that something happened: it is counted and shown in the addon's events and in the event stream. The name is
/// `[a-z][a-z0-9_]*`; there are at most 16 attributes. More than 20 at once or one a second for longer is
/// [`MetricError::LimitExceeded`].
pub fn event(name: &str, attributes: &[(&str, &str)]) -> Result<(), MetricError> {
    let owned: Vec<(String, String)> =
        attributes.iter().map(|&(key, value)| (key.to_owned(), value.to_owned())).collect();
    host::event(name, &owned.iter().collect::<Vec<_>>())
}

/// Starts to measure; the time is recorded in a histogram whose unit is seconds when the guard is dropped.
#[must_use = "the time is recorded when the guard is dropped: give it a name"]
pub fn timer<'a>(name: &'a str, labels: &'a [&'a str]) -> Timer<'a> {
    Timer { name, labels, started: time::monotonic() }
}

/// A measurement that goes on; see [`timer`].
#[derive(Debug)]
pub struct Timer<'a> {
    name: &'a str,
    labels: &'a [&'a str],
    started: Duration,
}

impl Timer<'_> {
    /// The time so far.
    pub fn elapsed(&self) -> Duration {
        time::monotonic().saturating_sub(self.started)
    }

    /// Records the time now, and says whether that worked.
    pub fn stop(self) -> Result<(), MetricError> {
        let recorded = duration(self.name, self.labels, self.elapsed());
        self.cancel();
        recorded
    }

    /// Ends the measurement without recording it.
    pub fn cancel(self) {
        std::mem::forget(self);
    }
}

impl Drop for Timer<'_> {
    fn drop(&mut self) {
        // A refusal is counted and shown by the host; a guard has nobody to tell.
        let _ = duration(self.name, self.labels, self.elapsed());
    }
}
