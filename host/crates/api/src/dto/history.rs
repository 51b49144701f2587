//! Series over time.

use super::aggregates::SeriesName;
use super::rfc3339;
use lowtide_core::history::SeriesInfo;
use lowtide_core::units::WallTime;
use lowtide_core::window::{Agg, TimeRange};
use serde::ser::{SerializeMap as _, SerializeSeq as _};
use serde::{Serialize, Serializer};
use utoipa::ToSchema;

/// Series on a common time axis.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct History<'a> {
    #[serde(flatten)]
    pub(crate) head: HistoryHead,
    /// The series: those of now in the order of the collectors, then those that are only in the past.
    pub(crate) series: Vec<HistorySeries<'a>>,
}

/// What comes before the series.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct HistoryHead {
    /// Start of the range as asked, RFC 3339 UTC.
    #[schema(format = "date-time")]
    from: String,
    /// End of the range as asked, RFC 3339 UTC.
    #[schema(format = "date-time")]
    to: String,
    /// Length of a cell in seconds; null when every tick is shown.
    step_seconds: Option<f64>,
    /// The oldest moment that something is kept of, RFC 3339 UTC; null before the first tick. Where the range begins before it there
    /// are no cells.
    #[schema(format = "date-time")]
    held_since: Option<String>,
    /// The oldest moment from which on every tick is kept, RFC 3339 UTC. Before it there are only roll-ups of 15 minutes.
    #[schema(format = "date-time")]
    ticks_since: Option<String>,
    /// Largest relative error of `p95`: 0 where it is taken of all samples, 0.01 where roll-ups may take part.
    p95_error_ratio: f64,
    /// Start of each cell (aligned to the Unix epoch), or the time of each tick, RFC 3339 UTC.
    timestamps: Vec<String>,
}

/// What is known before the series are read.
pub(crate) struct About {
    /// The asked range.
    pub(crate) range: TimeRange,
    /// Length of a cell in seconds.
    pub(crate) step_seconds: Option<f64>,
    /// Oldest moment of which something is kept.
    pub(crate) held_since: Option<WallTime>,
    /// Oldest moment from which on every tick is kept.
    pub(crate) ticks_since: Option<WallTime>,
    /// Whether roll-ups may take part.
    pub(crate) rolled_up: bool,
}

impl HistoryHead {
    pub(crate) fn new(about: &About, times: impl Iterator<Item = WallTime>) -> Self {
        Self {
            from: rfc3339(about.range.from),
            to: rfc3339(about.range.to),
            step_seconds: about.step_seconds,
            held_since: about.held_since.map(rfc3339),
            ticks_since: about.ticks_since.map(rfc3339),
            p95_error_ratio: if about.rolled_up { lowtide_core::history::RELATIVE_ERROR } else { 0.0 },
            timestamps: times.map(rfc3339).collect(),
        }
    }
}

/// One series.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct HistorySeries<'a> {
    #[serde(flatten)]
    series: SeriesName,
    /// For each asked aggregate one value a timestamp; null where there is no sample. For what only grows `avg`, `min`, `max`
    /// and `p95` are increases per second, `last` is the raw value.
    #[schema(value_type = HashMap<String, Vec<Option<f64>>>)]
    values: Columns<'a>,
}

impl<'a> HistorySeries<'a> {
    pub(crate) fn new(info: &SeriesInfo, aggs: &'a [Agg], columns: &'a [Vec<f64>]) -> Self {
        Self { series: SeriesName::of_info(info), values: Columns { aggs, columns } }
    }
}

/// Numbers by aggregate. Written as they are: an answer has up to half a million.
#[derive(Debug)]
struct Columns<'a> {
    aggs: &'a [Agg],
    columns: &'a [Vec<f64>],
}

struct Column<'a>(&'a [f64]);

impl Serialize for Columns<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.aggs.len()))?;
        for (agg, column) in self.aggs.iter().zip(self.columns) {
            map.serialize_entry(agg.name(), &Column(column))?;
        }
        map.end()
    }
}

impl Serialize for Column<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        const EXACT: u64 = 9_007_199_254_740_992;
        let mut numbers = serializer.serialize_seq(Some(self.0.len()))?;
        for value in self.0 {
            // Whole values without a fraction, so that bytes read as bytes; what is not finite becomes null.
            #[expect(clippy::cast_possible_truncation, reason = "what does not come back is no whole number")]
            let whole = *value as i64;
            #[expect(clippy::cast_precision_loss, reason = "exact below 2^53, checked here")]
            if whole as f64 == *value && whole.unsigned_abs() <= EXACT {
                numbers.serialize_element(&whole)?;
            } else {
                numbers.serialize_element(value)?;
            }
        }
        numbers.end()
    }
}
