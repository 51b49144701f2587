//! Series over time.

use super::aggregates::SeriesName;
use super::{number, rfc3339};
use lowtide_core::window::{Agg, Grid, SeriesView, TimeRange};
use serde::Serialize;
use serde_json::Number;
use std::collections::BTreeMap;
use std::time::Duration;
use utoipa::ToSchema;

/// Series on a common time axis.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct History {
    /// Start of the range, RFC 3339 UTC.
    #[schema(format = "date-time")]
    from: String,
    /// End of the range, RFC 3339 UTC.
    #[schema(format = "date-time")]
    to: String,
    /// Length of a bucket in seconds; null when every tick is shown.
    step_seconds: Option<f64>,
    /// The oldest moment that the daemon still holds, RFC 3339 UTC: the range may begin before it.
    #[schema(format = "date-time")]
    held_since: Option<String>,
    /// Start of each bucket (aligned to the Unix epoch), or the time of each tick, RFC 3339 UTC.
    timestamps: Vec<String>,
    /// The series, in the order of the collectors.
    series: Vec<HistorySeries>,
}

/// One series.
#[derive(Debug, Serialize, ToSchema)]
struct HistorySeries {
    #[serde(flatten)]
    series: SeriesName,
    /// For each asked aggregate one value a timestamp; null where there is no sample. For what only grows `avg`, `min`, `max`
    /// and `p95` are increases per second, `last` is the raw value.
    #[schema(value_type = HashMap<String, Vec<Option<f64>>>)]
    values: BTreeMap<&'static str, Vec<Option<Number>>>,
}

impl History {
    pub(crate) fn new(
        range: TimeRange,
        held: Option<TimeRange>,
        step: Option<Duration>,
        aggs: &[Agg],
        views: &[SeriesView<'_>],
        grid: &Grid,
    ) -> Self {
        let series = views.iter().zip(&grid.series).map(|(view, laid)| HistorySeries {
            series: SeriesName::new(view),
            values: aggs
                .iter()
                .zip(&laid.values)
                .map(|(agg, values)| {
                    (agg.name(), values.iter().map(|value| value.and_then(number)).collect())
                })
                .collect(),
        });
        Self {
            from: rfc3339(range.from),
            to: rfc3339(range.to),
            step_seconds: step.map(super::seconds),
            held_since: held.map(|held| rfc3339(held.from)),
            timestamps: grid.times.iter().map(|time| rfc3339(*time)).collect(),
            series: series.collect(),
        }
    }
}
