//! Laying a series on a time axis: samples and roll-ups go in, in the order of time, and for each cell of the axis the asked aggregates come
//! out. Exact as long as a cell sees samples; where a roll-up takes part, its percentile is the sketch's.

use super::Before;
use super::rollup::Rollup;
use super::sketch::{self, Bin, key_of};
use crate::units::WallTime;
use crate::window::statistics::select_p95;
use crate::window::{Agg, TimeRange};
use std::time::Duration;

/// The cells of an answer: where each begins, and where the last one ends.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Axis {
    starts_ms: Vec<i64>,
    end_ms: i64,
    /// Each cell is the time of one tick.
    ticks: bool,
}

impl Axis {
    /// Cells of one length, aligned to the Unix epoch, that cover a range.
    #[must_use]
    pub fn steps(range: TimeRange, step: Duration) -> Self {
        let step_ms = i64::try_from(step.as_millis()).unwrap_or(i64::MAX).max(1);
        let first = range.from.unix_ms().div_euclid(step_ms);
        let last = range.to.unix_ms().div_euclid(step_ms);
        Self {
            starts_ms: (first..=last).map(|number| number * step_ms).collect(),
            end_ms: range.to.unix_ms().saturating_add(1),
            ticks: false,
        }
    }

    /// A cell for each of these times, which are sorted and all different, up to the end of the range.
    #[must_use]
    pub fn ticks(times_ms: Vec<i64>, range: TimeRange) -> Self {
        Self { starts_ms: times_ms, end_ms: range.to.unix_ms().saturating_add(1), ticks: true }
    }

    /// Number of cells.
    #[must_use]
    pub fn len(&self) -> usize {
        self.starts_ms.len()
    }

    /// True without a cell.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.starts_ms.is_empty()
    }

    /// Where each cell begins.
    pub fn starts(&self) -> impl ExactSizeIterator<Item = WallTime> {
        self.starts_ms.iter().map(|ms| WallTime(*ms))
    }

    /// Where a cell ends.
    fn end_of(&self, cell: usize) -> i64 {
        self.starts_ms.get(cell + 1).copied().unwrap_or(self.end_ms)
    }
}

/// One series on an axis. Used again for the next series after [`Cells::take`].
#[derive(Debug)]
pub struct Cells<'a> {
    axis: &'a Axis,
    from_ms: i64,
    aggs: &'a [Agg],
    /// For each aggregate a number a cell; NaN where there is none.
    laid: Vec<Vec<f64>>,
    open: Open,
    before: Before,
    rates: Vec<f64>,
}

/// The cell that is being filled.
#[derive(Debug, Default)]
struct Open {
    cell: usize,
    count: u64,
    sum: f64,
    min: f64,
    max: f64,
    last: f64,
    percentile: bool,
    /// Numbers that a percentile is taken of.
    values: Vec<u64>,
    /// Sketches that take part in it.
    bins: Vec<Bin>,
}

impl<'a> Cells<'a> {
    /// Nothing laid yet. What is before the range leaves no trace but the sample that a counter's first increase is taken from.
    #[must_use]
    pub fn new(axis: &'a Axis, range: TimeRange, aggs: &'a [Agg]) -> Self {
        let mut open = Open { percentile: aggs.contains(&Agg::P95), ..Open::default() };
        open.begin(0);
        let laid = vec![Vec::with_capacity(axis.len()); aggs.len()];
        Self {
            axis,
            from_ms: range.from.unix_ms(),
            aggs,
            laid,
            open,
            before: Before::default(),
            rates: Vec::new(),
        }
    }

    /// Lays samples, sorted by time; NaN is no sample. Those of a counter become increases per second.
    pub fn samples(&mut self, times_ms: &[i64], values: &[f64], counter: bool) {
        let count = times_ms.len().min(values.len());
        let (times_ms, values) =
            (times_ms.get(..count).unwrap_or_default(), values.get(..count).unwrap_or_default());
        if !counter {
            self.lay(times_ms, values, values);
            return;
        }
        let mut rates = std::mem::take(&mut self.rates);
        rates.clear();
        let before = &mut self.before;
        rates.extend(times_ms.iter().zip(values).map(|(time, value)| {
            if value.is_finite() { before.rate(*time, *value).unwrap_or(f64::NAN) } else { f64::NAN }
        }));
        self.lay(times_ms, &rates, values);
        self.rates = rates;
    }

    fn lay(&mut self, times_ms: &[i64], shown: &[f64], raw: &[f64]) {
        let mut at = times_ms.partition_point(|time| *time < self.from_ms);
        let end = times_ms.partition_point(|time| *time < self.axis.end_ms);
        if self.axis.ticks {
            let part = at..end.max(at);
            let (times, shown) = (times_ms.get(part.clone()), shown.get(part.clone()));
            let (times, shown) = (times.unwrap_or_default(), shown.unwrap_or_default());
            self.lay_ticks(times, shown, raw.get(part).unwrap_or_default());
            return;
        }
        while at < end {
            let Some(time) = times_ms.get(at) else { return };
            self.go_to(*time);
            let cell_end = self.axis.end_of(self.open.cell);
            let rest = times_ms.get(at..end).unwrap_or_default();
            // Most cells of a chart are short: looking ahead beats dividing.
            let length = rest.iter().position(|time| *time >= cell_end).unwrap_or(rest.len()).max(1);
            let part = at..at + length;
            self.open.add(shown.get(part.clone()).unwrap_or_default(), raw.get(part).unwrap_or_default());
            at += length;
        }
    }

    /// Every sample has a cell of its own, and is all that there is in it.
    fn lay_ticks(&mut self, times_ms: &[i64], shown: &[f64], raw: &[f64]) {
        let rest = self.axis.starts_ms.get(self.open.cell..).unwrap_or_default();
        let first = times_ms.first().map_or(0, |first| rest.partition_point(|start| start < first));
        self.leave_out(first);
        let rest = self.axis.starts_ms.get(self.open.cell..).unwrap_or_default();
        if rest.get(..times_ms.len()) == Some(times_ms) {
            // The series has the ticks of the axis: whole columns.
            for (agg, column) in self.aggs.iter().zip(&mut self.laid) {
                column.extend_from_slice(if *agg == Agg::Last { raw } else { shown });
            }
            self.open.cell += times_ms.len();
            return;
        }
        for ((time, shown), raw) in times_ms.iter().zip(shown).zip(raw) {
            let rest = self.axis.starts_ms.get(self.open.cell..).unwrap_or_default();
            let Some(ahead) = rest.iter().position(|start| start >= time) else { return };
            self.leave_out(ahead);
            if self.axis.starts_ms.get(self.open.cell) == Some(time) {
                for (agg, column) in self.aggs.iter().zip(&mut self.laid) {
                    column.push(if *agg == Agg::Last { *raw } else { *shown });
                }
                self.open.cell += 1;
            }
        }
    }

    /// Leaves so many cells empty.
    fn leave_out(&mut self, cells: usize) {
        self.open.cell += cells;
        for column in &mut self.laid {
            column.resize(self.open.cell, f64::NAN);
        }
    }

    /// Lays the buckets of a roll-up. Each belongs where it begins: the steps of the axis should be multiples of its step.
    pub fn rollup(&mut self, rollup: &Rollup) {
        for bucket in &rollup.buckets {
            if bucket.start_ms < self.from_ms.div_euclid(rollup.step_ms) * rollup.step_ms
                || bucket.start_ms >= self.axis.end_ms
            {
                continue;
            }
            self.go_to(bucket.start_ms);
            let open = &mut self.open;
            open.last = bucket.last;
            if bucket.count == 0 {
                continue;
            }
            open.count += u64::from(bucket.count);
            open.sum += bucket.sum;
            open.min = bucket.min.min(open.min);
            open.max = bucket.max.max(open.max);
            if open.percentile {
                match rollup.bins.get(bucket.bins.clone()) {
                    Some(bins) if !bins.is_empty() => open.bins.extend_from_slice(bins),
                    _ => open.bins.push(Bin { key: key_of(bucket.min), count: bucket.count }),
                }
            }
        }
        // Of a bucket only the newest sample is known, not when it was.
        self.before = Before::default();
    }

    /// Takes in samples of a counter that are not laid: the first increase after them is taken from the newest.
    pub fn prime(&mut self, times_ms: &[i64], values: &[f64]) {
        let newest = times_ms.iter().zip(values).rev().find(|(_, value)| value.is_finite());
        if let Some((time, value)) = newest {
            self.before = Before::sample(*time, *value);
        }
    }

    /// Closes cells until the one that holds this time is open.
    fn go_to(&mut self, time_ms: i64) {
        while time_ms >= self.axis.end_of(self.open.cell) && self.open.cell + 1 < self.axis.len() {
            self.close();
        }
    }

    fn close(&mut self) {
        let results = self.open.results();
        for (agg, column) in self.aggs.iter().zip(&mut self.laid) {
            column.push(match agg {
                Agg::Avg => results.avg,
                Agg::Min => results.min,
                Agg::Max => results.max,
                Agg::P95 => results.p95,
                Agg::Last => results.last,
            });
        }
        self.open.begin(self.open.cell + 1);
    }

    /// For each aggregate a number for each cell, NaN where there is none; then there is nothing laid.
    pub fn take(&mut self, use_them: impl FnOnce(&[Vec<f64>])) {
        while self.open.cell < self.axis.len() {
            self.close();
        }
        use_them(&self.laid);
        self.laid.iter_mut().for_each(Vec::clear);
        self.open.begin(0);
        self.before = Before::default();
    }
}

struct Results {
    avg: f64,
    min: f64,
    max: f64,
    p95: f64,
    last: f64,
}

impl Open {
    fn begin(&mut self, cell: usize) {
        self.cell = cell;
        self.count = 0;
        self.sum = 0.0;
        (self.min, self.max, self.last) = (f64::NAN, f64::NAN, f64::NAN);
        self.values.clear();
        self.bins.clear();
    }

    #[inline]
    fn add(&mut self, shown: &[f64], raw: &[f64]) {
        if shown.iter().all(|value| value.is_finite()) {
            self.add_whole(shown);
        } else {
            for value in shown.iter().filter(|value| value.is_finite()) {
                self.add_whole(std::slice::from_ref(value));
            }
        }
        if let Some(last) = raw.iter().rev().find(|value| value.is_finite()) {
            self.last = *last;
        }
    }

    /// Adds finite numbers, eight at a time: with one sum each addition would wait for the one before.
    fn add_whole(&mut self, shown: &[f64]) {
        self.count += shown.len() as u64;
        let (eights, rest) = shown.as_chunks::<8>();
        if !eights.is_empty() {
            let mut sums = [0.0; 8];
            let (mut least, mut greatest) = ([f64::INFINITY; 8], [f64::NEG_INFINITY; 8]);
            for eight in eights {
                for (lane, value) in eight.iter().enumerate() {
                    if let (Some(sum), Some(least), Some(greatest)) =
                        (sums.get_mut(lane), least.get_mut(lane), greatest.get_mut(lane))
                    {
                        *sum += value;
                        *least = if value < least { *value } else { *least };
                        *greatest = if value > greatest { *value } else { *greatest };
                    }
                }
            }
            self.sum += sums.iter().sum::<f64>();
            self.min = least.iter().fold(self.min, |min, value| value.min(min));
            self.max = greatest.iter().fold(self.max, |max, value| value.max(max));
        }
        for value in rest {
            self.sum += value;
            // The least of a number and NaN is the number.
            self.min = value.min(self.min);
            self.max = value.max(self.max);
        }
        if self.percentile {
            self.values.extend(shown.iter().map(|value| select_p95::key(*value)));
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "far fewer samples than 2^52")]
    fn results(&mut self) -> Results {
        let (min, max, last) = (self.min, self.max, self.last);
        if self.count == 0 {
            return Results { avg: f64::NAN, min, max, p95: f64::NAN, last };
        }
        let avg = self.sum / self.count as f64;
        // Rounding may carry it past them, and a sum of huge numbers past all.
        // Not clamp: a roll-up may have rounded the one up and the other not.
        let avg = if avg.is_nan() { min } else { avg.max(min).min(max) };
        let p95 = if !self.percentile {
            f64::NAN
        } else if self.bins.is_empty() {
            select_p95::of(&mut self.values).unwrap_or(f64::NAN)
        } else {
            let exact = self.values.iter().map(|key| Bin { key: key_of(select_p95::value(*key)), count: 1 });
            self.bins.extend(exact);
            sketch::p95(&mut self.bins).map_or(f64::NAN, |near| near.max(min).min(max))
        };
        Results { avg, min, max, p95, last }
    }
}

#[cfg(test)]
mod tests;
