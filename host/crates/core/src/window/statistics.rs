//! Count, average, minimum, maximum and 95th percentile of a run of numbers, exactly. Called by the window's
//! queries; knows nothing of series or time.

use crate::history::Before;

/// Exact statistics of the samples in a range.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Aggregate {
    /// Samples counted; never 0.
    pub count: usize,
    /// Arithmetic mean.
    pub avg: f64,
    /// Smallest.
    pub min: f64,
    /// Largest.
    pub max: f64,
    /// 95th percentile by nearest rank: the smallest sample that at least 95 % of all samples do not exceed.
    pub p95: f64,
}

/// Memory that is reused from one calculation to the next.
#[derive(Debug, Default)]
pub struct Scratch {
    narrow: Vec<u32>,
    wide: Vec<u64>,
}

impl Scratch {
    /// Statistics of the f32 samples that `feed` adds. `None` when there is none.
    pub(super) fn narrow(&mut self, feed: impl FnOnce(&mut Samples<'_, f32>)) -> Option<Aggregate> {
        aggregate(&mut self.narrow, feed)
    }

    /// The same for f64 samples.
    pub(super) fn wide(&mut self, feed: impl FnOnce(&mut Samples<'_, f64>)) -> Option<Aggregate> {
        aggregate(&mut self.wide, feed)
    }

    /// Statistics of the increases per second of a counter, whose samples `feed` adds in time order. Rates are made and sorted in one pass: most series are counters.
    pub(super) fn rates(
        &mut self,
        before: Before,
        feed: impl FnOnce(&mut Rates<'_, '_>),
    ) -> Option<Aggregate> {
        aggregate(&mut self.wide, |samples| feed(&mut Rates { before, samples }))
    }
}

/// The samples of one calculation.
pub(super) struct Samples<'a, N: Number> {
    keys: &'a mut Vec<N::Key>,
    sum: f64,
}

impl<N: Number> Samples<'_, N> {
    #[inline]
    pub(super) fn add(&mut self, sample: N) {
        self.sum += sample.value();
        self.keys.push(sample.key());
    }
}

/// The samples of a counter, of which the rates are taken.
pub(super) struct Rates<'a, 'b> {
    before: Before,
    samples: &'a mut Samples<'b, f64>,
}

impl Rates<'_, '_> {
    #[inline]
    pub(super) fn add(&mut self, time_ms: i64, value: f64) {
        if let Some(rate) = self.before.rate(time_ms, value) {
            self.samples.add(rate);
        }
    }
}

/// A float whose order is that of an integer key: selecting among integers is what makes the percentile cheap.
pub(super) trait Number: Copy {
    type Key: Ord + Copy;
    fn value(self) -> f64;
    /// Two numbers have the same key when they have the same bits.
    fn key(self) -> Self::Key;
    fn from_key(key: Self::Key) -> Self;
}

impl Number for f32 {
    type Key = u32;

    fn value(self) -> f64 {
        f64::from(self)
    }

    fn key(self) -> u32 {
        let bits = self.to_bits();
        // All bits of a negative number are flipped, only the sign of a positive one: the order of IEEE 754 totalOrder.
        if bits >> 31 == 1 { !bits } else { bits | 1 << 31 }
    }

    fn from_key(key: u32) -> Self {
        Self::from_bits(if key >> 31 == 1 { key & !(1 << 31) } else { !key })
    }
}

impl Number for f64 {
    type Key = u64;

    fn value(self) -> f64 {
        self
    }

    fn key(self) -> u64 {
        let bits = self.to_bits();
        if bits >> 63 == 1 { !bits } else { bits | 1 << 63 }
    }

    fn from_key(key: u64) -> Self {
        Self::from_bits(if key >> 63 == 1 { key & !(1 << 63) } else { !key })
    }
}

fn aggregate<N: Number>(keys: &mut Vec<N::Key>, feed: impl FnOnce(&mut Samples<'_, N>)) -> Option<Aggregate> {
    keys.clear();
    let mut samples = Samples { keys, sum: 0.0 };
    feed(&mut samples);
    let sum = samples.sum;
    finish::<N>(keys, sum)
}

/// Statistics of the collected keys, in time order, whose values have this sum.
fn finish<N: Number>(keys: &mut [N::Key], sum: f64) -> Option<Aggregate> {
    let min = N::from_key(*keys.iter().min()?).value();
    let max = N::from_key(*keys.iter().max()?).value();
    let count = keys.len();
    let p95 = N::from_key(select_p95::nearest_rank(keys)?).value();
    #[expect(clippy::cast_precision_loss, reason = "a window holds a few thousand samples")]
    let avg = sum / count as f64;
    // Rounding may carry it past them, and a sum of huge numbers past all.
    let avg = if avg.is_nan() { min } else { avg.clamp(min, max) };
    Some(Aggregate { count, avg, min, max, p95 })
}

/// The 95th percentile of 64-bit floats as integer keys.
pub(crate) mod select_p95 {
    use super::Number;

    /// The key of a number.
    #[inline]
    pub(crate) fn key(value: f64) -> u64 {
        Number::key(value)
    }

    /// The number of a key.
    pub(crate) fn value(key: u64) -> f64 {
        <f64 as Number>::from_key(key)
    }

    /// The percentile by nearest rank; `None` without numbers.
    pub(crate) fn of(keys: &mut [u64]) -> Option<f64> {
        nearest_rank(keys).map(value)
    }

    /// The key at the rank; `None` without keys.
    pub(super) fn nearest_rank<K: Ord + Copy>(keys: &mut [K]) -> Option<K> {
        let rank = (keys.len() * 95).div_ceil(100).checked_sub(1)?;
        Some(*keys.select_nth_unstable(rank).1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn slow(values: &[f64]) -> Option<Aggregate> {
        let mut sorted = values.to_vec();
        if sorted.is_empty() {
            return None;
        }
        let avg = sorted.iter().sum::<f64>() / sorted.len() as f64;
        sorted.sort_by(f64::total_cmp);
        let rank = (0.95 * sorted.len() as f64).ceil() as usize;
        let (min, max) = (sorted[0], sorted[sorted.len() - 1]);
        Some(Aggregate { count: sorted.len(), avg: avg.clamp(min, max), min, max, p95: sorted[rank - 1] })
    }

    proptest! {
        #[test]
        fn agrees_with_sorting(values in prop::collection::vec(-1e9..1e9f64, 0..200)) {
            let got = Scratch::default().wide(|samples| values.iter().for_each(|value| samples.add(*value)));
            prop_assert_eq!(got, slow(&values));
        }

        #[test]
        fn narrow_agrees_with_wide(values in prop::collection::vec(-1e6..1e6f32, 1..100)) {
            let wide: Vec<f64> = values.iter().map(|value| f64::from(*value)).collect();
            let got = Scratch::default().narrow(|samples| values.iter().for_each(|value| samples.add(*value)));
            prop_assert_eq!(got, slow(&wide));
        }
    }
}
