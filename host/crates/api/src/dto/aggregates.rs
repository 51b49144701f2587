//! Aggregates over a part of the last hour.

use super::{number, rfc3339};
use lowtide_core::history::SeriesInfo;
use lowtide_core::metric::Kind;
use lowtide_core::window::{Aggregate, SeriesView, TimeRange};
use serde::Serialize;
use serde_json::Number;
use std::collections::BTreeMap;
use utoipa::ToSchema;

/// Aggregates of series over a range of the in-memory window.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Aggregates {
    /// Start of the range, RFC 3339 UTC.
    #[schema(format = "date-time")]
    pub(crate) from: String,
    /// End of the range, RFC 3339 UTC.
    #[schema(format = "date-time")]
    pub(crate) to: String,
    /// The series, in the order of the collectors. A series without a sample in the range is left out.
    pub(crate) series: Vec<SeriesAggregate>,
}

/// Who a series is.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SeriesName {
    /// Group, such as `host`.
    group: String,
    /// Full metric name.
    #[schema(example = "host_cpu_usage_ratio")]
    metric: String,
    /// Label keys and values; `le` on the buckets of a histogram.
    labels: BTreeMap<String, String>,
    /// `gauge`, `counter` or `histogram`.
    #[schema(value_type = String, example = "gauge")]
    kind: Kind,
    /// Unit of the metric: `count`, `ratio`, `seconds`, `bytes`, `bytes_per_second`, `per_second`, `celsius`, `hertz`.
    #[schema(example = "ratio")]
    unit: &'static str,
    /// What the numbers are: `value`, or `rate_per_second` for what only grows.
    #[schema(example = "value")]
    of: &'static str,
}

/// One series.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SeriesAggregate {
    #[serde(flatten)]
    series: SeriesName,
    /// Newest sample in the window, raw also for a counter.
    #[schema(value_type = Option<f64>)]
    current: Option<Number>,
    /// When the newest sample was taken, RFC 3339 UTC.
    #[schema(format = "date-time")]
    current_at: Option<String>,
    /// Samples in the range.
    count: usize,
    /// Mean.
    #[schema(value_type = Option<f64>)]
    avg: Option<Number>,
    /// Smallest.
    #[schema(value_type = Option<f64>)]
    min: Option<Number>,
    /// Largest.
    #[schema(value_type = Option<f64>)]
    max: Option<Number>,
    /// 95th percentile by nearest rank.
    #[schema(value_type = Option<f64>)]
    p95: Option<Number>,
    /// Newest in the range, raw also for a counter.
    #[schema(value_type = Option<f64>)]
    last: Option<Number>,
}

impl SeriesName {
    pub(crate) fn new(view: &SeriesView<'_>) -> Self {
        Self::of_info(&SeriesInfo::new(view.group(), view.series()))
    }

    /// The name of a series that may be one of the past.
    pub(crate) fn of_info(info: &SeriesInfo) -> Self {
        Self {
            group: info.group.to_string(),
            metric: info.name(),
            labels: info.labels.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect(),
            kind: info.kind,
            unit: info.unit.name(),
            of: if info.is_cumulative() { "rate_per_second" } else { "value" },
        }
    }
}

impl SeriesAggregate {
    pub(crate) fn new(view: &SeriesView<'_>, aggregate: &Aggregate, range: TimeRange) -> Self {
        let latest = view.latest();
        Self {
            series: SeriesName::new(view),
            current: latest.and_then(|(_, value)| number(value)),
            current_at: latest.map(|(at, _)| rfc3339(at)),
            count: aggregate.count,
            avg: number(aggregate.avg),
            min: number(aggregate.min),
            max: number(aggregate.max),
            p95: number(aggregate.p95),
            last: view.last(range).and_then(number),
        }
    }
}

impl Aggregates {
    pub(crate) fn new(range: TimeRange, series: Vec<SeriesAggregate>) -> Self {
        Self { from: rfc3339(range.from), to: rfc3339(range.to), series }
    }
}
