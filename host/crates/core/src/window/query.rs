//! Reading the window: choosing series, aggregates over a range, and the samples of a series for charts. Read-only; called by the API
//! under the window's read lock, so nothing here waits.

use super::{Aggregate, Column, Scratch, Values, Window};
use crate::history::{Before, SeriesInfo};
use crate::metric::{Part, Series};
use crate::units::WallTime;
use std::ops::Range;

/// A range of wall time, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeRange {
    /// First moment.
    pub from: WallTime,
    /// Last moment.
    pub to: WallTime,
}

/// Which series are asked for. Empty parts match everything.
#[derive(Clone, Debug, Default)]
pub struct Selector {
    /// Group of the series, such as `host`.
    pub group: Option<String>,
    /// Full metric names; any of them matches.
    pub metrics: Vec<String>,
    /// Label keys and values that a series must all carry.
    pub labels: Vec<(String, String)>,
}

impl Selector {
    fn matches_column(&self, column: &Column) -> bool {
        let series = &column.series;
        let labelled = |key: &str, value: &str| {
            matches!(&series.part, Part::Bucket(bound) if key == "le" && bound == value)
                || series.label_pairs().any(|pair| pair == (key, value))
        };
        self.group.as_ref().is_none_or(|group| column.group == *group)
            && (self.metrics.is_empty() || self.metrics.iter().any(|name| is_called(series, name)))
            && self.labels.iter().all(|(key, value)| labelled(key, value))
    }
}

/// Whether a series goes by this name: its metric's, or for one number of a histogram that with its suffix.
fn is_called(series: &Series, name: &str) -> bool {
    name.strip_prefix(&*series.metric.name)
        .is_some_and(|rest| rest.is_empty() || rest == series.part.suffix())
}

/// One number for each cell of a chart. For a counter, all but `Last` are about its increase per second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Agg {
    /// Arithmetic mean.
    Avg,
    /// Smallest.
    Min,
    /// Largest.
    Max,
    /// 95th percentile, nearest rank.
    P95,
    /// Newest sample; for a counter its raw value.
    Last,
}

impl Agg {
    /// All of them, in the order of documents.
    pub const ALL: [Self; 5] = [Self::Avg, Self::Min, Self::Max, Self::P95, Self::Last];

    /// The word in queries and answers.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Avg => "avg",
            Self::Min => "min",
            Self::Max => "max",
            Self::P95 => "p95",
            Self::Last => "last",
        }
    }
}

/// One series of the window, ready to be read.
#[derive(Clone, Copy, Debug)]
pub struct SeriesView<'a> {
    window: &'a Window,
    column: &'a Column,
}

impl Window {
    /// The series that a selector matches.
    #[must_use]
    pub fn select(&self, selector: &Selector) -> Vec<SeriesView<'_>> {
        let matching = self.columns.iter().filter(|column| selector.matches_column(column));
        matching.map(|column| SeriesView { window: self, column }).collect()
    }

    /// Number of ticks inside a range.
    #[must_use]
    pub fn ticks_in(&self, range: TimeRange) -> usize {
        let ticks = self.ticks_of(range);
        usize::try_from(ticks.end - ticks.start).unwrap_or(usize::MAX)
    }

    /// Times of the ticks in a range, in milliseconds since 1970.
    #[must_use]
    pub fn times_in(&self, range: TimeRange) -> Vec<i64> {
        self.ticks_of(range).map(|tick| self.wall_of(tick).unix_ms()).collect()
    }

    /// Puts the samples of a series in a range at the end of `times_ms` and `values`, sorted by time.
    pub fn samples_of(
        &self,
        series: &SeriesInfo,
        range: TimeRange,
        times_ms: &mut Vec<i64>,
        values: &mut Vec<f64>,
    ) {
        let column = self.index.get(&series.key()).and_then(|column| self.columns.get(*column));
        let Some(column) = column else { return };
        let ticks = self.ticks_of(range);
        let mut take = |tick, value| {
            times_ms.push(self.wall_of(tick).unix_ms());
            values.push(value);
        };
        match &column.values {
            Values::Narrow(packed) => packed.each(ticks, |tick, value| take(tick, f64::from(value))),
            Values::Wide(packed) => packed.each(ticks, take),
        }
    }

    /// The ticks in a range of time; times are sorted because the monotonic clock is.
    fn ticks_of(&self, range: TimeRange) -> Range<u64> {
        let first = self.partition(|time| time < range.from);
        let end = self.partition(|time| time <= range.to);
        first..end.max(first)
    }

    fn partition(&self, before: impl Fn(WallTime) -> bool) -> u64 {
        let (mut low, mut high) = (self.oldest(), self.ticks);
        while low < high {
            let middle = u64::midpoint(low, high);
            if before(self.wall_of(middle)) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
    }

    pub(super) fn wall_of(&self, tick: u64) -> WallTime {
        WallTime(self.mono_ms(tick) + self.anchor_ms)
    }

    fn mono_ms(&self, tick: u64) -> i64 {
        self.times_ms.get(self.place(tick)).copied().unwrap_or_default()
    }
}

impl<'a> SeriesView<'a> {
    /// The series itself.
    #[must_use]
    pub fn series(&self) -> &'a Series {
        &self.column.series
    }

    /// The group it belongs to.
    #[must_use]
    pub fn group(&self) -> &'a str {
        &self.column.group
    }

    /// Exact statistics over a range; for a counter, of its increase per second between samples. `None` without samples.
    #[must_use]
    pub fn aggregate(&self, range: TimeRange, scratch: &mut Scratch) -> Option<Aggregate> {
        self.aggregate_ticks(self.window.ticks_of(range), scratch)
    }

    /// For a counter, the first increase is the one since the sample before the range.
    fn aggregate_ticks(&self, ticks: Range<u64>, scratch: &mut Scratch) -> Option<Aggregate> {
        let window = self.window;
        match &self.column.values {
            Values::Wide(packed) if self.column.series.is_cumulative() => {
                let newest = packed.newest(window.oldest()..ticks.start);
                let before = newest.map(|(tick, value)| Before::sample(window.mono_ms(tick), value));
                scratch.rates(before.unwrap_or_default(), |rates| {
                    packed.each(ticks, |tick, value| rates.add(window.mono_ms(tick), value));
                })
            }
            Values::Narrow(packed) => {
                scratch.narrow(|samples| packed.each(ticks, |_, value| samples.add(value)))
            }
            Values::Wide(packed) => scratch.wide(|samples| packed.each(ticks, |_, value| samples.add(value))),
        }
    }

    /// The newest sample in the window with its time.
    #[must_use]
    pub fn latest(&self) -> Option<(WallTime, f64)> {
        let (tick, value) = self.column.values.newest(self.window.oldest()..self.window.ticks)?;
        Some((self.window.wall_of(tick), value))
    }

    /// The newest sample in a range, raw also for a counter.
    #[must_use]
    pub fn last(&self, range: TimeRange) -> Option<f64> {
        self.column.values.newest(self.window.ticks_of(range)).map(|(_, value)| value)
    }
}
