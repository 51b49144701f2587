//! The last hour of every series, in memory, in columns: one shared ring of tick times and the packed samples of each series.
//!
//! The tick writes its samples; the API reads ranges and aggregates. Times are kept on the monotonic clock and shown by the
//! wall clock's present offset, so a clock that is set does not tear a hole into the hour. A series without a sample in a
//! tick has none there: gaps stay gaps. A series whose collector restarts continues in the same column.

mod packed;
mod query;
pub(crate) mod statistics;

pub use query::{Agg, Selector, SeriesView, TimeRange};
pub use statistics::{Aggregate, Scratch};

use crate::history::SeriesInfo;
use crate::limits;
use crate::metric::{Kind, Series, Text};
use crate::report::{ADDON_GROUP, CollectorReport};
use crate::units::{Now, Unit, WallTime};
use packed::Packed;
use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

/// Rounding of two clocks to milliseconds. More than this between them is a clock that was set: slewing moves both alike.
const ANCHOR_TOLERANCE_MS: i64 = 1;

/// One hour of all series.
#[derive(Debug)]
pub struct Window {
    /// Ticks that are held.
    capacity: usize,
    /// Ticks written since the start; the number of the next one.
    ticks: u64,
    /// Monotonic milliseconds of each held tick, at its number modulo the length, which is a power of two: a division would be half of
    /// what a query costs.
    times_ms: Box<[i64]>,
    /// What to add to monotonic milliseconds to get the wall clock's.
    anchor_ms: i64,
    columns: Vec<Column>,
    index: HashMap<String, usize>,
    /// Columns of each group.
    groups: HashMap<Text, usize>,
    /// For each collector, which columns its present layout writes to.
    layouts: HashMap<Text, Layout>,
    /// Samples dropped because there were too many series.
    dropped: u64,
}

#[derive(Debug)]
struct Column {
    group: Text,
    series: Series,
    values: Values,
}

/// The samples of one series. Ratios and the like fit 24 bits of mantissa; counters and bytes do not (f32 is inexact above 16.7
/// million).
#[derive(Debug)]
enum Values {
    Narrow(Packed<f32>),
    Wide(Packed<f64>),
}

#[derive(Debug)]
struct Layout {
    series: Arc<[Series]>,
    /// Column of each series; `None` where the window had no room.
    columns: Vec<Option<usize>>,
}

impl Window {
    /// A window of one hour of ticks at this interval.
    #[must_use]
    pub fn new(tick: Duration) -> Self {
        let ticks = limits::WINDOW.as_millis() / tick.as_millis().max(1);
        Self::with_capacity(usize::try_from(ticks).unwrap_or(1).clamp(2, 3_600))
    }

    /// A window of this many ticks.
    #[must_use]
    pub fn with_capacity(capacity: usize) -> Self {
        Self {
            capacity,
            ticks: 0,
            times_ms: vec![0; capacity.next_power_of_two()].into_boxed_slice(),
            anchor_ms: 0,
            columns: Vec::new(),
            index: HashMap::new(),
            groups: HashMap::new(),
            layouts: HashMap::new(),
            dropped: 0,
        }
    }

    /// Series held at present.
    #[must_use]
    pub fn series_count(&self) -> usize {
        self.columns.len()
    }

    /// Bytes of memory that the samples of all series take, at least: names and labels come on top.
    #[must_use]
    pub fn sample_bytes(&self) -> usize {
        let bytes = |column: &Column| match &column.values {
            Values::Narrow(packed) => packed.bytes(),
            Values::Wide(packed) => packed.bytes(),
        };
        self.columns.iter().map(bytes).sum()
    }

    /// Samples dropped since the start because the window already held [`limits::SERIES_MAX`] series.
    #[must_use]
    pub fn dropped_samples(&self) -> u64 {
        self.dropped
    }

    /// Wall times of the oldest and the newest tick held; `None` before the first tick.
    #[must_use]
    pub fn span(&self) -> Option<TimeRange> {
        let newest = self.ticks.checked_sub(1)?;
        Some(TimeRange { from: self.wall_of(self.oldest()), to: self.wall_of(newest) })
    }

    /// The wall time that the window shows for a moment. Both clocks are read in whole milliseconds, so it may be one away from the
    /// wall time that was read at that moment.
    #[must_use]
    pub fn shown(&self, at: Now) -> WallTime {
        if self.ticks == 0 { at.wall } else { WallTime(at.mono.as_millis() + self.anchor_ms) }
    }

    /// Writes one tick: the fresh samples of all reports.
    pub fn push<'a>(&mut self, now: Now, reports: impl Iterator<Item = &'a CollectorReport>) {
        let offset = now.wall.unix_ms() - now.mono.as_millis();
        if self.ticks == 0 || (offset - self.anchor_ms).abs() > ANCHOR_TOLERANCE_MS {
            self.anchor_ms = offset;
        }
        let tick = self.ticks;
        let place = self.place(tick);
        if let Some(time) = self.times_ms.get_mut(place) {
            *time = now.mono.as_millis();
        }
        self.ticks += 1;
        let oldest = self.oldest();
        for report in reports.filter(|report| report.fresh) {
            let Some(samples) = &report.samples else { continue };
            self.lay_out(report, &samples.series);
            let Some(layout) = self.layouts.get(&report.info.name) else { continue };
            for (column, value) in layout.columns.iter().zip(&samples.values) {
                match column.and_then(|column| self.columns.get_mut(column)) {
                    Some(column) => column.values.push(tick, *value, oldest),
                    None => self.dropped += 1,
                }
            }
        }
        if self.ticks.is_multiple_of(self.capacity as u64) {
            self.forget_silent_series();
        }
    }

    /// Makes the layout of this report's collector, or makes it anew if the series changed.
    fn lay_out(&mut self, report: &CollectorReport, series: &Arc<[Series]>) {
        let known = self.layouts.get(&report.info.name);
        if known.is_some_and(|layout| Arc::ptr_eq(&layout.series, series)) {
            return;
        }
        let columns = series.iter().map(|one| self.column_of(&report.info.group, one)).collect();
        self.layouts.insert(report.info.name.clone(), Layout { series: Arc::clone(series), columns });
    }

    fn column_of(&mut self, group: &Text, series: &Series) -> Option<usize> {
        let key = SeriesInfo::key_of(group, series);
        if let Some(column) = self.index.get(&key) {
            return Some(*column);
        }
        let of_group = self.groups.get(group).copied().unwrap_or(0);
        let addon_is_full = group.starts_with(ADDON_GROUP) && of_group >= limits::ADDON_SERIES_KEPT_MAX;
        if self.columns.len() >= limits::SERIES_MAX || addon_is_full {
            return None;
        }
        self.groups.insert(group.clone(), of_group + 1);
        self.columns.push(Column {
            group: group.clone(),
            series: series.clone(),
            values: Values::new(series),
        });
        self.index.insert(key, self.columns.len() - 1);
        Some(self.columns.len() - 1)
    }

    /// Drops the columns that hold no sample any more (an unplugged disk), once in a window's length.
    fn forget_silent_series(&mut self) {
        let held = self.oldest()..self.ticks;
        let before = self.columns.len();
        self.columns.retain(|column| column.values.newest(held.clone()).is_some());
        if self.columns.len() == before {
            return;
        }
        self.groups.clear();
        for column in &self.columns {
            *self.groups.entry(column.group.clone()).or_default() += 1;
        }
        // Column numbers moved: every layout is mapped anew at its next push.
        self.layouts.clear();
        self.index = self
            .columns
            .iter()
            .enumerate()
            .map(|(number, column)| (SeriesInfo::key_of(&column.group, &column.series), number))
            .collect();
    }

    /// The number of the oldest tick held.
    fn oldest(&self) -> u64 {
        self.ticks.saturating_sub(self.capacity as u64)
    }

    /// Where the time of a tick is.
    fn place(&self, tick: u64) -> usize {
        let mask = self.times_ms.len() as u64 - 1;
        usize::try_from(tick & mask).unwrap_or_default()
    }
}

impl Values {
    fn new(series: &Series) -> Self {
        let exact =
            series.metric.kind != Kind::Gauge || matches!(series.metric.unit, Unit::Bytes | Unit::Seconds);
        if exact { Self::Wide(Packed::default()) } else { Self::Narrow(Packed::default()) }
    }

    /// Adds the sample of a tick; what is not finite is none: a sum or a rate of it would be no number.
    fn push(&mut self, tick: u64, value: f64, oldest: u64) {
        if !value.is_finite() {
            return;
        }
        match self {
            #[expect(
                clippy::cast_possible_truncation,
                reason = "narrow columns hold what fits 24 bits of mantissa"
            )]
            Self::Narrow(packed) => packed.push(tick, value as f32, oldest),
            Self::Wide(packed) => packed.push(tick, value, oldest),
        }
    }

    /// The newest sample in a range of ticks, with its tick.
    fn newest(&self, ticks: Range<u64>) -> Option<(u64, f64)> {
        match self {
            Self::Narrow(packed) => packed.newest(ticks).map(|(tick, value)| (tick, f64::from(value))),
            Self::Wide(packed) => packed.newest(ticks),
        }
    }
}

#[cfg(test)]
mod tests;
