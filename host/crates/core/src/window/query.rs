//! Reading the window: choosing series, aggregates over a range, and a time grid for charts. Read-only; called by the API
//! under the window's read lock, so nothing here waits.

use super::statistics::rate;
use super::{Aggregate, Column, Scratch, Values, Window};
use crate::metric::{Part, Series};
use crate::units::WallTime;
use std::time::Duration;

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
    fn matches(&self, column: &Column) -> bool {
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

/// One number for each bucket of a [`Grid`]. For a counter, all but `Last` are about its increase per second.
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

    fn of(self, aggregate: Option<&Aggregate>, last: Option<f64>) -> Option<f64> {
        match self {
            Self::Avg => aggregate.map(|aggregate| aggregate.avg),
            Self::Min => aggregate.map(|aggregate| aggregate.min),
            Self::Max => aggregate.map(|aggregate| aggregate.max),
            Self::P95 => aggregate.map(|aggregate| aggregate.p95),
            Self::Last => last,
        }
    }
}

/// Series over a common time axis.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Grid {
    /// Start of each bucket, or the time of each tick when no step was given.
    pub times: Vec<WallTime>,
    /// The series, in the order of the window.
    pub series: Vec<GridSeries>,
}

/// One series of a [`Grid`].
#[derive(Clone, Debug, PartialEq)]
pub struct GridSeries {
    /// Position among the series that the selector matched.
    pub number: usize,
    /// For each asked aggregate, one value a bucket; `None` where there is no sample.
    pub values: Vec<Vec<Option<f64>>>,
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
        let matching = self.columns.iter().filter(|column| selector.matches(column));
        matching.map(|column| SeriesView { window: self, column }).collect()
    }

    /// Number of ticks inside a range.
    #[must_use]
    pub fn ticks_in(&self, range: TimeRange) -> usize {
        let (first, end) = self.ages_in(range);
        end - first
    }

    /// Lays series on a common axis: buckets of `step` aligned to the Unix epoch, or every tick when `step` is `None`.
    #[must_use]
    pub fn grid(
        &self,
        series: &[SeriesView<'_>],
        range: TimeRange,
        step: Option<Duration>,
        aggs: &[Agg],
    ) -> Grid {
        let buckets = self.buckets(range, step);
        let mut scratch = Scratch::default();
        let mut samples = Vec::new();
        let lay = |(number, view): (usize, &SeriesView<'_>)| {
            let mut values = vec![Vec::with_capacity(buckets.len()); aggs.len()];
            for (_, first, end) in &buckets {
                view.read(*first, *end, &mut samples);
                let aggregate = scratch.wide(std::iter::once(samples.as_slice()));
                let raw_last = view.raw_last(*first, *end);
                for (agg, column) in aggs.iter().zip(&mut values) {
                    column.push(agg.of(aggregate.as_ref(), raw_last));
                }
            }
            GridSeries { number, values }
        };
        let series = series.iter().enumerate().map(lay).collect();
        Grid { times: buckets.into_iter().map(|(time, _, _)| time).collect(), series }
    }

    /// Time and tick ages (first, end) of each bucket. Buckets without a tick are there too: a gap is part of the answer.
    fn buckets(&self, range: TimeRange, step: Option<Duration>) -> Vec<(WallTime, usize, usize)> {
        let (first, end) = self.ages_in(range);
        let Some(step_ms) = step.map(|step| i64::try_from(step.as_millis()).unwrap_or(i64::MAX).max(1))
        else {
            return (first..end).map(|age| (self.wall_of(age), age, age + 1)).collect();
        };
        let mut buckets = Vec::new();
        let mut start = range.from.unix_ms().div_euclid(step_ms) * step_ms;
        let mut age = first;
        while start <= range.to.unix_ms() {
            let mut stop = age;
            while stop < end && self.wall_of(stop).unix_ms() < start + step_ms {
                stop += 1;
            }
            buckets.push((WallTime(start), age, stop));
            age = stop;
            start += step_ms;
        }
        buckets
    }

    /// Ages (first, one past the last) of the ticks in a range; times are sorted because the monotonic clock is.
    fn ages_in(&self, range: TimeRange) -> (usize, usize) {
        let first = self.partition(|time| time < range.from);
        let end = self.partition(|time| time <= range.to);
        (first, end.max(first))
    }

    fn partition(&self, before: impl Fn(WallTime) -> bool) -> usize {
        let (mut low, mut high) = (0, self.len);
        while low < high {
            let middle = usize::midpoint(low, high);
            if before(self.wall_of(middle)) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
    }

    fn wall_of(&self, age: usize) -> WallTime {
        WallTime(self.times_ms.get(self.slot(age)).copied().unwrap_or_default() + self.anchor_ms)
    }

    fn mono_ms(&self, age: usize) -> i64 {
        self.times_ms.get(self.slot(age)).copied().unwrap_or_default()
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
        let (first, end) = self.window.ages_in(range);
        let (older, newer) = self.parts(first, end);
        match &self.column.values {
            Values::Wide(ring) if self.column.series.is_cumulative() => {
                let before = (0..first).rev().find(|age| !self.value(*age).is_nan());
                let before = before.map(|age| (self.window.mono_ms(age), self.value(age)));
                let times = &self.window.times_ms;
                let runs = [older, newer]
                    .into_iter()
                    .filter_map(|part| Some((times.get(part.clone())?, ring.get(part)?)));
                scratch.rates(before, runs)
            }
            Values::Narrow(ring) => {
                scratch.narrow([older, newer].into_iter().filter_map(|part| ring.get(part)))
            }
            Values::Wide(ring) => scratch.wide([older, newer].into_iter().filter_map(|part| ring.get(part))),
        }
    }

    /// The newest sample in the window with its time.
    #[must_use]
    pub fn latest(&self) -> Option<(WallTime, f64)> {
        let age = (0..self.window.len).rev().find(|age| !self.value(*age).is_nan())?;
        Some((self.window.wall_of(age), self.value(age)))
    }

    /// The newest sample in a range, raw also for a counter.
    #[must_use]
    pub fn last(&self, range: TimeRange) -> Option<f64> {
        let (first, end) = self.window.ages_in(range);
        self.raw_last(first, end)
    }

    fn raw_last(&self, first: usize, end: usize) -> Option<f64> {
        (first..end).rev().map(|age| self.value(age)).find(|value| !value.is_nan())
    }

    /// The samples of these ticks into `samples`: values of a gauge, increases per second of a counter.
    fn read(&self, first: usize, end: usize, samples: &mut Vec<f64>) {
        samples.clear();
        if self.column.series.is_cumulative() {
            self.rates(first, end, samples);
        } else {
            samples.extend((first..end).map(|age| self.value(age)));
        }
    }

    /// Increases per second between each sample and the one before it, which may lie before the range.
    fn rates(&self, first: usize, end: usize, rates: &mut Vec<f64>) {
        let before = (0..first).rev().find(|age| !self.value(*age).is_nan());
        let mut previous = before.map(|age| (self.window.mono_ms(age), self.value(age)));
        for age in first..end {
            rates.extend(rate(&mut previous, self.window.mono_ms(age), self.value(age)));
        }
    }

    fn value(&self, age: usize) -> f64 {
        self.column.values.get(self.window.slot(age))
    }

    /// The ticks `first..end` as one or two runs of ring slots, older first.
    fn parts(&self, first: usize, end: usize) -> (std::ops::Range<usize>, std::ops::Range<usize>) {
        let (window, empty) = (self.window, 0..0);
        if first >= end {
            return (empty.clone(), empty);
        }
        let start = window.slot(first);
        let length = end - first;
        if start + length <= window.capacity {
            (start..start + length, empty)
        } else {
            (start..window.capacity, 0..start + length - window.capacity)
        }
    }
}
