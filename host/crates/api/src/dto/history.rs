//! Series over time.

use super::aggregates::SeriesName;
use super::{number, rfc3339};
use lowtide_core::window::{Agg, Grid, GridSeries, TimeRange};
use serde::Serialize;
use serde_json::Number;
use std::collections::BTreeMap;
use std::time::Duration;
use utoipa::ToSchema;

/// Series on a common time axis.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct History {
    /// Start of the range as asked, RFC 3339 UTC.
    #[schema(format = "date-time")]
    from: String,
    /// End of the range as asked, RFC 3339 UTC.
    #[schema(format = "date-time")]
    to: String,
    /// Length of a bucket in seconds; null when every tick is shown.
    step_seconds: Option<f64>,
    /// The oldest moment that the daemon still holds, RFC 3339 UTC. Where the range
    /// begins before it there are no buckets.
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

/// What was read from the window, before it is made into JSON.
pub(crate) struct Laid {
    /// The asked range.
    pub(crate) range: TimeRange,
    /// What the window holds.
    pub(crate) held: Option<TimeRange>,
    /// Length of a bucket.
    pub(crate) step: Option<Duration>,
    /// Who the series are, in the order of the grid.
    pub(crate) names: Vec<SeriesName>,
    /// Their values.
    pub(crate) grid: Grid,
}

impl History {
    pub(crate) fn new(laid: Laid, aggs: &[Agg]) -> Self {
        let Laid { range, held, step, names, mut grid } = laid;
        // Where nothing of the range is held there is a series all the same, with no points.
        grid.series
            .resize_with(names.len(), || GridSeries { number: 0, values: vec![Vec::new(); aggs.len()] });
        let series = names.into_iter().zip(&grid.series).map(|(series, laid)| HistorySeries {
            series,
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
