//! What a collector describes and returns: definitions of metrics, and samples. The types are the contract's own, so nothing is
//! converted on the way to the host.

pub use crate::bindings::collector::exports::lowtide::addon::collector::Description;
pub use crate::bindings::imports::lowtide::addon::types::{Definition as Metric, Kind, Sample, Unit};
use std::time::Duration;

impl Metric {
    /// A metric that goes up and down.
    pub fn gauge(name: impl Into<String>, unit: Unit, help: impl Into<String>) -> Self {
        Self::new(name.into(), Kind::Gauge, unit, help.into())
    }

    /// A metric that only grows. Its name ends in `_total`.
    pub fn counter(name: impl Into<String>, unit: Unit, help: impl Into<String>) -> Self {
        Self::new(name.into(), Kind::Counter, unit, help.into())
    }

    /// Observations, counted in buckets: recorded by [`metrics::histogram`](crate::metrics::histogram) and
    /// [`metrics::timer`](crate::metrics::timer), never returned by a collector.
    pub fn histogram(name: impl Into<String>, unit: Unit, help: impl Into<String>) -> Self {
        Self::new(name.into(), Kind::Histogram, unit, help.into())
    }

    fn new(name: String, kind: Kind, unit: Unit, help: String) -> Self {
        Self { name, kind, unit, help, labels: Vec::new(), buckets: Vec::new() }
    }

    /// The keys of its labels, at most 16. A sample gives their values in this order.
    #[must_use]
    pub fn labels(mut self, keys: impl Labels) -> Self {
        self.labels = keys.into_texts();
        self
    }

    /// Upper bounds of a histogram's buckets, growing, without infinity, at most 32.
    #[must_use]
    pub fn buckets(mut self, bounds: impl Into<Vec<f64>>) -> Self {
        self.buckets = bounds.into();
        self
    }
}

impl Unit {
    /// What the name of a metric of this unit ends in (before `_total`), if anything.
    pub fn suffix(self) -> Option<&'static str> {
        match self {
            Self::Count => None,
            Self::Ratio => Some("_ratio"),
            Self::Seconds => Some("_seconds"),
            Self::Bytes => Some("_bytes"),
            Self::BytesPerSecond => Some("_bytes_per_second"),
            Self::PerSecond => Some("_per_second"),
            Self::Celsius => Some("_celsius"),
            Self::Hertz => Some("_hertz"),
        }
    }
}

impl Description {
    /// The time between two collections unless [`Description::every`] wishes for another.
    pub const INTERVAL_DEFAULT: Duration = Duration::from_secs(15);

    /// A collector that measures what `help` says, in one sentence for people.
    pub fn new(help: impl Into<String>) -> Self {
        Self { help: help.into(), interval: Self::INTERVAL_DEFAULT.as_secs_f64(), metrics: Vec::new() }
    }

    /// Wished time between two collections, 1 s to 1 h. The operator may set another.
    #[must_use]
    pub fn every(mut self, interval: Duration) -> Self {
        self.interval = interval.as_secs_f64();
        self
    }

    /// One more metric that `collect` may return.
    #[must_use]
    pub fn metric(mut self, metric: Metric) -> Self {
        self.metrics.push(metric);
        self
    }

    /// More metrics that `collect` may return.
    #[must_use]
    pub fn metrics(mut self, metrics: impl IntoIterator<Item = Metric>) -> Self {
        self.metrics.extend(metrics);
        self
    }
}

/// One value of one series: the name of a declared metric, the values of its labels in the declared order, and the value in
/// the metric's unit. Without labels write `()`.
///
/// Not a number and infinity mean "no sample this time".
///
/// ```
/// use lowtide_sdk::sample;
///
/// let queue = String::from("photos");
/// let samples = vec![sample("queue_wait_seconds", [queue], 1.5), sample("workers", (), 4.0)];
/// # assert_eq!(samples[0].labels, ["photos"]);
/// ```
pub fn sample(name: impl Into<String>, labels: impl Labels, value: f64) -> Sample {
    Sample { name: name.into(), labels: labels.into_texts(), value }
}

/// Keys or values of labels: an array, slice or vector of texts, or `()` for none. A `String` is moved, a `&str` copied.
pub trait Labels {
    /// The texts in order.
    fn into_texts(self) -> Vec<String>;
}

impl Labels for () {
    fn into_texts(self) -> Vec<String> {
        Vec::new()
    }
}

impl<T: Into<String>, const N: usize> Labels for [T; N] {
    fn into_texts(self) -> Vec<String> {
        self.into_iter().map(Into::into).collect()
    }
}

impl<T: Into<String>> Labels for Vec<T> {
    fn into_texts(self) -> Vec<String> {
        self.into_iter().map(Into::into).collect()
    }
}

impl<T: Clone + Into<String>> Labels for &[T] {
    fn into_texts(self) -> Vec<String> {
        self.iter().cloned().map(Into::into).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_take_what_is_at_hand() {
        assert_eq!(sample("a", ["b"], 1.0).labels, ["b"]);
        assert_eq!(sample("a", [String::from("b")], 1.0).labels, ["b"]);
        assert_eq!(sample("a", vec!["b", "c"], 1.0).labels, ["b", "c"]);
        assert_eq!(sample("a", &["b"][..], 1.0).labels, ["b"]);
        assert!(sample("a", (), 1.0).labels.is_empty());
    }

    #[test]
    fn names_and_labels_that_are_owned_are_moved() {
        let (name, label) = (String::from("a_total"), String::from("b"));
        let (name_at, label_at) = (name.as_ptr(), label.as_ptr());
        let moved = sample(name, [label], 1.0);
        assert_eq!((moved.name.as_ptr(), moved.labels[0].as_ptr()), (name_at, label_at));
    }
}
