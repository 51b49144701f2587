//! What a metric and a series are: definitions, labels, and the buffer that collectors write samples into.
//!
//! One definition has many uses: validation, the reference page, HELP and TYPE lines, JSON. A series is a definition plus
//! label values; it is built once and shared, so that a tick only writes numbers.

use crate::limits;
use crate::units::Unit;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::ops::Deref;
use std::sync::Arc;

/// Text that is static for built-in metrics and owned for those of addons.
pub type Text = Cow<'static, str>;

/// How a metric's values behave over time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Goes up and down.
    Gauge,
    /// Only grows, from zero at the start of what it counts. Name ends in `_total`.
    Counter,
    /// Cumulative buckets with `le` bounds, sum and count, as in the Prometheus exposition format.
    Histogram,
}

/// The definition of a metric. Emitting what is not defined is a contract error.
#[derive(Clone, Debug, PartialEq)]
pub struct MetricDef {
    /// Full name without the `lowtide_` prefix of the exposition, for example `host_cpu_usage_ratio`.
    pub name: Text,
    /// Gauge, counter or histogram.
    pub kind: Kind,
    /// Unit of the value.
    pub unit: Unit,
    /// One sentence for people: what is measured and where it comes from.
    pub help: Text,
    /// Label keys, in the order of the label values of its series.
    pub labels: Cow<'static, [Text]>,
}

impl MetricDef {
    /// A gauge with these label keys.
    #[must_use]
    pub const fn gauge(name: &'static str, unit: Unit, labels: &'static [Text], help: &'static str) -> Self {
        Self::new(name, Kind::Gauge, unit, labels, help)
    }

    /// A counter with these label keys; the name must end in `_total`.
    #[must_use]
    pub const fn counter(
        name: &'static str,
        unit: Unit,
        labels: &'static [Text],
        help: &'static str,
    ) -> Self {
        Self::new(name, Kind::Counter, unit, labels, help)
    }

    /// A histogram with these label keys (`le` is added by its buckets).
    #[must_use]
    pub const fn histogram(
        name: &'static str,
        unit: Unit,
        labels: &'static [Text],
        help: &'static str,
    ) -> Self {
        Self::new(name, Kind::Histogram, unit, labels, help)
    }

    const fn new(
        name: &'static str,
        kind: Kind,
        unit: Unit,
        labels: &'static [Text],
        help: &'static str,
    ) -> Self {
        Self {
            name: Cow::Borrowed(name),
            kind,
            unit,
            help: Cow::Borrowed(help),
            labels: Cow::Borrowed(labels),
        }
    }

    /// Every rule that this definition breaks, in words; empty when it is sound. The rules are those that `promtool check
    /// metrics` applies, plus this project's limits.
    #[must_use]
    pub fn problems(&self) -> Vec<String> {
        let mut found = Vec::new();
        let name = self.name.as_ref();
        let mut problem = |text: String| found.push(format!("metric {name:?}: {text}"));
        if name.len() > limits::METRIC_NAME_BYTES_MAX {
            problem(format!("name is longer than {} bytes", limits::METRIC_NAME_BYTES_MAX));
        }
        if !is_snake_case(name) {
            problem(
                "name must be lower-case words joined by single underscores, starting with a letter".into(),
            );
        }
        if self.help.trim().is_empty() {
            problem("help is empty".into());
        }
        match (self.kind, name.ends_with("_total")) {
            (Kind::Counter, false) => problem("a counter's name ends in _total".into()),
            (Kind::Gauge | Kind::Histogram, true) => problem("only a counter's name ends in _total".into()),
            _ => {}
        }
        let stem = name.strip_suffix("_total").unwrap_or(name);
        if !stem.ends_with(self.unit.suffix()) {
            problem(format!("unit {} asks for the suffix {}", self.unit.name(), self.unit.suffix()));
        }
        if let Some(part) = ["_count", "_sum", "_bucket"].iter().find(|part| stem.ends_with(**part)) {
            problem(format!("the suffix {part} is kept for histograms"));
        }
        if self.labels.len() > limits::LABELS_MAX {
            problem(format!("more than {} labels", limits::LABELS_MAX));
        }
        for label in self.labels.iter() {
            if !is_snake_case(label) || label.len() > limits::LABEL_KEY_BYTES_MAX || label == "le" {
                problem(format!("label {label:?} is not a short lower-case word, or is reserved"));
            }
        }
        found
    }
}

fn is_snake_case(word: &str) -> bool {
    word.starts_with(|c: char| c.is_ascii_lowercase())
        && word.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
        && !word.contains("__")
        && !word.ends_with('_')
}

/// A shared definition: static for built-in metrics, reference-counted for those of addons.
#[derive(Clone, Debug)]
pub enum MetricRef {
    /// From the table of a built-in collector.
    Builtin(&'static MetricDef),
    /// Declared by an addon at run time.
    Declared(Arc<MetricDef>),
}

impl Deref for MetricRef {
    type Target = MetricDef;

    fn deref(&self) -> &MetricDef {
        match self {
            Self::Builtin(def) => def,
            Self::Declared(def) => def,
        }
    }
}

/// Which of a metric's exposed numbers a series is. Gauges and counters have only [`Part::Value`].
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Part {
    /// The value itself.
    Value,
    /// A histogram's cumulative count of observations up to this bound (`le`, as text; `+Inf` for the last).
    Bucket(Text),
    /// A histogram's sum of observations.
    Sum,
    /// A histogram's number of observations.
    Count,
}

impl Part {
    /// The suffix that the exposition formats put behind the metric's name.
    #[must_use]
    pub fn suffix(&self) -> &'static str {
        match self {
            Self::Value => "",
            Self::Bucket(_) => "_bucket",
            Self::Sum => "_sum",
            Self::Count => "_count",
        }
    }
}

/// One time series: a metric with its label values.
#[derive(Clone, Debug)]
pub struct Series {
    /// The metric's definition.
    pub metric: MetricRef,
    /// Which number of a histogram; [`Part::Value`] otherwise.
    pub part: Part,
    /// Label values, in the order of the definition's keys.
    pub labels: Box<[Box<str>]>,
}

impl Series {
    /// Label keys with their values.
    pub fn label_pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        self.metric.labels.iter().map(AsRef::as_ref).zip(self.labels.iter().map(AsRef::as_ref))
    }

    /// True for numbers that only grow: counters, and every part of a histogram.
    #[must_use]
    pub fn is_cumulative(&self) -> bool {
        self.metric.kind != Kind::Gauge
    }

    fn matches(&self, metric: &'static MetricDef, part: &Part, labels: &[&str]) -> bool {
        matches!(self.metric, MetricRef::Builtin(def) if std::ptr::eq(def, metric))
            && self.labels.len() == labels.len()
            && self
                .labels
                .iter()
                .zip(labels)
                .all(|(have, want)| have.as_ref() == clip(want, limits::LABEL_VALUE_BYTES_MAX))
            && self.part == *part
    }
}

/// Where a collector writes its samples, tick after tick.
///
/// The layout (which series, in which order) is remembered: as long as a collector pushes the same series in the same order,
/// a push is a comparison and a store, and nothing is allocated. When the order changes (a disk appears), the layout is
/// rebuilt from that place on.
#[derive(Debug, Default)]
pub struct SampleBuffer {
    series: Vec<Series>,
    values: Vec<f64>,
    layout: Option<Arc<[Series]>>,
    dropped: usize,
}

impl SampleBuffer {
    /// An empty buffer.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Starts a new run: forgets the values, keeps the layout.
    pub fn begin(&mut self) {
        self.values.clear();
        self.dropped = 0;
    }

    /// Samples of the run just written that had no room ([`limits::COLLECTOR_SERIES_MAX`]).
    #[must_use]
    pub fn dropped(&self) -> usize {
        self.dropped
    }

    /// Adds the value of a gauge or counter. `labels` are the values of the definition's label keys, in order. A value that
    /// is not finite is kept as "no sample".
    pub fn push(&mut self, metric: &'static MetricDef, labels: &[&str], value: f64) {
        self.push_part(metric, &Part::Value, labels, value);
    }

    /// Adds one number of a histogram.
    pub fn push_part(&mut self, metric: &'static MetricDef, part: &Part, labels: &[&str], value: f64) {
        debug_assert_eq!(metric.labels.len(), labels.len(), "label values of {}", metric.name);
        let at = self.values.len();
        if at >= limits::COLLECTOR_SERIES_MAX {
            self.dropped += 1;
            return;
        }
        let known = self.series.get(at).is_some_and(|series| series.matches(metric, part, labels));
        if !known {
            self.series.truncate(at);
            self.series.push(Series {
                metric: MetricRef::Builtin(metric),
                part: part.clone(),
                labels: labels.iter().map(|text| clip(text, limits::LABEL_VALUE_BYTES_MAX).into()).collect(),
            });
            self.layout = None;
        }
        self.values.push(if value.is_finite() { value } else { f64::NAN });
    }

    /// The shared layout of the run just written. Allocates only when the layout changed.
    pub fn layout(&mut self) -> Arc<[Series]> {
        if self.series.len() != self.values.len() {
            self.series.truncate(self.values.len());
            self.layout = None;
        }
        let series = &self.series;
        Arc::clone(self.layout.get_or_insert_with(|| series.as_slice().into()))
    }

    /// The values of the run just written, one for each series of the layout; NaN means "no sample".
    #[must_use]
    pub fn values(&self) -> &[f64] {
        &self.values
    }
}

/// Cuts a text to at most `bytes_max` bytes, at a character boundary.
#[must_use]
pub fn clip(text: &str, bytes_max: usize) -> &str {
    if text.len() <= bytes_max {
        return text;
    }
    let mut end = bytes_max;
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    static USAGE: MetricDef =
        MetricDef::gauge("host_disk_busy_ratio", Unit::Ratio, &[Cow::Borrowed("device")], "Share of time.");

    #[test]
    fn a_stable_layout_is_shared_and_a_changed_one_is_rebuilt() {
        let mut buffer = SampleBuffer::new();
        let mut run = |devices: &[&str]| {
            buffer.begin();
            devices.iter().for_each(|device| buffer.push(&USAGE, &[device], 0.5));
            (buffer.layout(), buffer.values().len())
        };
        let (first, _) = run(&["sda", "sdb"]);
        let (second, _) = run(&["sda", "sdb"]);
        assert!(Arc::ptr_eq(&first, &second));
        let (third, values) = run(&["sda", "nvme0n1", "sdb"]);
        assert_eq!((third.len(), values), (3, 3));
        assert_eq!(&*third[1].labels[0], "nvme0n1");
        let (fourth, values) = run(&["sda"]);
        assert_eq!((fourth.len(), values), (1, 1));
    }

    #[test]
    fn what_has_no_room_is_counted() {
        let mut buffer = SampleBuffer::new();
        let names: Vec<String> =
            (0..limits::COLLECTOR_SERIES_MAX + 7).map(|disk| format!("sd{disk}")).collect();
        names.iter().for_each(|name| buffer.push(&USAGE, &[name], 0.5));
        assert_eq!((buffer.layout().len(), buffer.dropped()), (limits::COLLECTOR_SERIES_MAX, 7));
        buffer.begin();
        buffer.push(&USAGE, &["sda"], 0.5);
        assert_eq!((buffer.layout().len(), buffer.dropped()), (1, 0));
    }

    #[test]
    fn unsound_definitions_are_named() {
        let broken = MetricDef::counter("Host__cpu", Unit::Seconds, &[], " ");
        assert_eq!(broken.problems().len(), 4, "{:?}", broken.problems());
        assert!(USAGE.problems().is_empty());
    }

    #[test]
    fn clip_keeps_characters_whole() {
        assert_eq!(clip("aé", 2), "a");
        assert_eq!(clip("abc", 3), "abc");
    }
}
