//! Who a series is, in words alone: as the catalogue of the file and the window both know it.

use crate::metric::{Kind, MetricRef, Part, Series};
use crate::units::Unit;
use serde::{Deserialize, Serialize};

/// A series without the definition that it was made from: that may be gone with the addon that declared it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct SeriesInfo {
    /// Group, such as `host`.
    pub group: Box<str>,
    /// Name of the metric as it was declared.
    pub metric: Box<str>,
    /// Suffix of one number of a histogram: `_bucket`, `_sum` or `_count`; empty otherwise.
    pub suffix: Box<str>,
    /// Label keys with their values; `le` among them for a bucket.
    pub labels: Box<[(Box<str>, Box<str>)]>,
    /// How it behaves.
    pub kind: Kind,
    /// Its unit.
    pub unit: Unit,
}

impl SeriesInfo {
    /// The description of a series of this group.
    #[must_use]
    pub fn new(group: &str, series: &Series) -> Self {
        let mut labels: Vec<(Box<str>, Box<str>)> =
            series.label_pairs().map(|(key, value)| (key.into(), value.into())).collect();
        if let Part::Bucket(bound) = &series.part {
            labels.push(("le".into(), (&**bound).into()));
        }
        Self {
            group: group.into(),
            metric: (&*series.metric.name).into(),
            suffix: series.part.suffix().into(),
            labels: labels.into(),
            kind: series.metric.kind,
            unit: series.metric.unit,
        }
    }

    /// What tells it from all others of its window or file; kind and unit are not part of it.
    #[must_use]
    pub fn key(&self) -> String {
        let labels = self.labels.iter().map(|(key, value)| (&**key, &**value));
        key(&self.group, &self.metric, &self.suffix, labels)
    }

    /// The same of a series that has not been described yet.
    #[must_use]
    pub fn key_of(group: &str, series: &Series) -> String {
        let bound = match &series.part {
            Part::Bucket(bound) => Some(("le", &**bound)),
            _ => None,
        };
        key(group, &series.metric.name, series.part.suffix(), series.label_pairs().chain(bound))
    }

    /// The name in queries and answers.
    #[must_use]
    pub fn name(&self) -> String {
        format!("{}{}", self.metric, self.suffix)
    }

    /// True for numbers that only grow: counters, and every part of a histogram.
    #[must_use]
    pub fn is_cumulative(&self) -> bool {
        self.kind != Kind::Gauge
    }
}

fn key<'a>(
    group: &str,
    metric: &str,
    suffix: &str,
    labels: impl Iterator<Item = (&'a str, &'a str)>,
) -> String {
    let mut key = String::with_capacity(64);
    key.push_str(group);
    key.push('\0');
    key.push_str(metric);
    key.push_str(suffix);
    for (label, value) in labels {
        for text in [label, value] {
            key.push('\0');
            key.push_str(text);
        }
    }
    key
}

/// A value to the resolution of its metric. What is built in declares it by its unit, and nobody reads more than that: digits beyond are
/// noise that takes half of the disk. An addon's numbers are kept as they are.
#[must_use]
pub fn resolved(series: &Series, value: f64) -> f64 {
    match (&series.metric, series.metric.unit.steps_per_unit()) {
        (MetricRef::Builtin(_), Some(steps)) => {
            let whole = (value * steps).round();
            // Beyond that a number has no digits behind the point to lose.
            if whole.abs() < 4_503_599_627_370_496.0 { whole / steps } else { value }
        }
        _ => value,
    }
}

/// Selecting series of the window and of the file by the same rule.
impl crate::window::Selector {
    /// Whether a series of the file is asked for.
    #[must_use]
    pub fn matches(&self, info: &SeriesInfo) -> bool {
        let called = |name: &String| {
            name.strip_prefix(&*info.metric).is_some_and(|rest| rest.is_empty() || *rest == *info.suffix)
        };
        let labelled = |(key, value): &(String, String)| {
            info.labels.iter().any(|(have, text)| **have == **key && **text == **value)
        };
        self.group.as_ref().is_none_or(|group| **group == *info.group)
            && (self.metrics.is_empty() || self.metrics.iter().any(called))
            && self.labels.iter().all(labelled)
    }
}

impl Unit {
    /// How many steps of the resolution that is kept make one unit; `None` where any number may be exact.
    #[must_use]
    pub fn steps_per_unit(self) -> Option<f64> {
        match self {
            Self::Count => None,
            Self::Ratio => Some(1e4),
            Self::Seconds => Some(1e6),
            Self::Bytes | Self::BytesPerSecond | Self::Hertz => Some(1.0),
            Self::PerSecond | Self::Celsius => Some(100.0),
        }
    }
}
