//! The last hour of every series, in memory, in columnar rings: one shared ring of tick times and one ring of values for each
//! series.
//!
//! The tick writes one slot; the API reads ranges and aggregates. Times are kept on the monotonic clock and shown by the
//! wall clock's present offset, so a clock that is set does not tear a hole into the hour. A series without a sample in a
//! tick holds NaN there: gaps stay gaps. A series whose collector restarts continues in the same column.

mod query;
mod statistics;

pub use query::{Agg, Grid, GridSeries, Selector, SeriesView, TimeRange};
pub use statistics::{Aggregate, Scratch};

use crate::limits;
use crate::metric::{Kind, Series, Text};
use crate::report::CollectorReport;
use crate::units::{Now, Unit, WallTime};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

/// Rounding of two clocks to milliseconds. More than this between them is a clock that was set: slewing moves both alike.
const ANCHOR_TOLERANCE_MS: i64 = 1;

/// One hour of all series.
#[derive(Debug)]
pub struct Window {
    /// Slots in each ring.
    capacity: usize,
    /// The slot that the next tick writes.
    next: usize,
    /// Slots written so far, at most `capacity`.
    len: usize,
    /// Ticks written since the start.
    ticks: u64,
    /// Monotonic milliseconds of each slot.
    times_ms: Box<[i64]>,
    /// What to add to monotonic milliseconds to get the wall clock's.
    anchor_ms: i64,
    columns: Vec<Column>,
    index: HashMap<SeriesKey, usize>,
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
    /// The tick of the newest sample.
    newest: u64,
}

/// The ring of one series. Ratios and the like fit 24 bits of mantissa; counters and bytes do not (f32 is inexact above 16.7
/// million).
#[derive(Debug)]
enum Values {
    Narrow(Box<[f32]>),
    Wide(Box<[f64]>),
}

#[derive(Debug)]
struct Layout {
    series: Arc<[Series]>,
    /// Column of each series; `None` where the window had no room.
    columns: Vec<Option<usize>>,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct SeriesKey(String);

impl SeriesKey {
    fn of(group: &str, series: &Series) -> Self {
        let mut key = String::with_capacity(64);
        key.push_str(group);
        key.push('\0');
        key.push_str(&series.metric.name);
        key.push_str(series.part.suffix());
        if let crate::metric::Part::Bucket(bound) = &series.part {
            key.push('\0');
            key.push_str(bound);
        }
        for (label, value) in series.label_pairs() {
            for text in [label, value] {
                key.push('\0');
                key.push_str(text);
            }
        }
        Self(key)
    }
}

impl Window {
    /// A window of one hour of ticks at this interval.
    #[must_use]
    pub fn new(tick: Duration) -> Self {
        let ticks = limits::WINDOW.as_millis() / tick.as_millis().max(1);
        Self::with_capacity(usize::try_from(ticks).unwrap_or(1).clamp(2, 3_600))
    }

    /// A window of this many slots.
    #[must_use]
    pub fn with_capacity(capacity: usize) -> Self {
        Self {
            capacity,
            next: 0,
            len: 0,
            ticks: 0,
            times_ms: vec![0; capacity].into_boxed_slice(),
            anchor_ms: 0,
            columns: Vec::new(),
            index: HashMap::new(),
            layouts: HashMap::new(),
            dropped: 0,
        }
    }

    /// Series held at present.
    #[must_use]
    pub fn series_count(&self) -> usize {
        self.columns.len()
    }

    /// Samples dropped since the start because the window already held [`limits::SERIES_MAX`] series.
    #[must_use]
    pub fn dropped_samples(&self) -> u64 {
        self.dropped
    }

    /// Wall times of the oldest and the newest tick held; `None` before the first tick.
    #[must_use]
    pub fn span(&self) -> Option<TimeRange> {
        let oldest = self.times_ms.get(self.slot(0))?;
        let newest = self.times_ms.get(self.slot(self.len.checked_sub(1)?))?;
        Some(TimeRange { from: WallTime(oldest + self.anchor_ms), to: WallTime(newest + self.anchor_ms) })
    }

    /// Writes one tick: the fresh samples of all reports.
    pub fn push<'a>(&mut self, now: Now, reports: impl Iterator<Item = &'a CollectorReport>) {
        let offset = now.wall.unix_ms() - now.mono.as_millis();
        if self.len == 0 || (offset - self.anchor_ms).abs() > ANCHOR_TOLERANCE_MS {
            self.anchor_ms = offset;
        }
        let slot = self.next;
        if let Some(time) = self.times_ms.get_mut(slot) {
            *time = now.mono.as_millis();
        }
        for column in &mut self.columns {
            column.values.set(slot, f64::NAN);
        }
        self.ticks += 1;
        for report in reports.filter(|report| report.fresh) {
            let Some(samples) = &report.samples else { continue };
            self.lay_out(report, &samples.series);
            let Some(layout) = self.layouts.get(&report.info.name) else { continue };
            for (column, value) in layout.columns.iter().zip(&samples.values) {
                match column.and_then(|column| self.columns.get_mut(column)) {
                    Some(column) => {
                        column.values.set(slot, *value);
                        column.newest = self.ticks;
                    }
                    None => self.dropped += 1,
                }
            }
        }
        self.next = (slot + 1) % self.capacity;
        self.len = (self.len + 1).min(self.capacity);
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
        let key = SeriesKey::of(group, series);
        if let Some(column) = self.index.get(&key) {
            return Some(*column);
        }
        if self.columns.len() >= limits::SERIES_MAX {
            return None;
        }
        self.columns.push(Column {
            group: group.clone(),
            series: series.clone(),
            values: Values::new(series, self.capacity),
            newest: self.ticks,
        });
        self.index.insert(key, self.columns.len() - 1);
        Some(self.columns.len() - 1)
    }

    /// Drops the columns that hold no sample any more (an unplugged disk), once in a window's length.
    fn forget_silent_series(&mut self) {
        let oldest = self.ticks.saturating_sub(self.capacity as u64);
        if self.columns.iter().all(|column| column.newest > oldest) {
            return;
        }
        self.columns.retain(|column| column.newest > oldest);
        // Column numbers moved: every layout is mapped anew at its next push.
        self.layouts.clear();
        self.index = self
            .columns
            .iter()
            .enumerate()
            .map(|(number, column)| (SeriesKey::of(&column.group, &column.series), number))
            .collect();
    }

    /// The ring slot of the `age`-th held tick, 0 being the oldest.
    fn slot(&self, age: usize) -> usize {
        (self.next + self.capacity - self.len + age) % self.capacity
    }
}

impl Values {
    fn new(series: &Series, capacity: usize) -> Self {
        let exact =
            series.metric.kind != Kind::Gauge || matches!(series.metric.unit, Unit::Bytes | Unit::Seconds);
        if exact {
            Self::Wide(vec![f64::NAN; capacity].into_boxed_slice())
        } else {
            Self::Narrow(vec![f32::NAN; capacity].into_boxed_slice())
        }
    }

    fn set(&mut self, slot: usize, value: f64) {
        match self {
            Self::Narrow(ring) => {
                if let Some(place) = ring.get_mut(slot) {
                    #[expect(
                        clippy::cast_possible_truncation,
                        reason = "narrow columns hold what fits 24 bits of mantissa"
                    )]
                    {
                        *place = value as f32;
                    }
                }
            }
            Self::Wide(ring) => {
                if let Some(place) = ring.get_mut(slot) {
                    *place = value;
                }
            }
        }
    }

    fn get(&self, slot: usize) -> f64 {
        match self {
            Self::Narrow(ring) => ring.get(slot).copied().map_or(f64::NAN, f64::from),
            Self::Wide(ring) => ring.get(slot).copied().unwrap_or(f64::NAN),
        }
    }
}

#[cfg(test)]
mod tests;
