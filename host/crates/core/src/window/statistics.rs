//! Count, average, minimum, maximum and 95th percentile of a run of numbers, exactly. Called by the window's
//! queries; knows nothing of series or time.

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
    /// Statistics of f32 samples given in parts, in time order; NaN is "no sample". `None` when there is none.
    pub(super) fn narrow<'a>(&mut self, parts: impl Iterator<Item = &'a [f32]>) -> Option<Aggregate> {
        aggregate(&mut self.narrow, parts)
    }

    /// The same for f64 samples.
    pub(super) fn wide<'a>(&mut self, parts: impl Iterator<Item = &'a [f64]>) -> Option<Aggregate> {
        aggregate(&mut self.wide, parts)
    }

    /// Statistics of the increases per second of a counter, given in parts as times in milliseconds with values, in time order.
    /// `before` is the sample before the first part. Rates are made and sorted in one pass: most series are counters.
    pub(super) fn rates<'a>(
        &mut self,
        before: Option<(i64, f64)>,
        parts: impl Iterator<Item = (&'a [i64], &'a [f64])>,
    ) -> Option<Aggregate> {
        let mut previous = before;
        let mut sum = 0.0;
        self.wide.clear();
        for (times, values) in parts {
            for (time, value) in times.iter().zip(values) {
                if let Some(rate) = rate(&mut previous, *time, *value) {
                    sum += rate;
                    self.wide.push(rate.key());
                }
            }
        }
        finish::<f64>(&mut self.wide, sum)
    }
}

/// The increase per second from the previous sample to this one, which becomes the previous one. A counter that fell was reset
/// and has counted up from zero since. `None` for NaN, for the first sample, and when no time has passed.
#[inline]
pub(super) fn rate(previous: &mut Option<(i64, f64)>, time_ms: i64, value: f64) -> Option<f64> {
    if value.is_nan() {
        return None;
    }
    let (before_ms, before) = previous.replace((time_ms, value))?;
    let increase = if value >= before { value - before } else { value };
    #[expect(clippy::cast_precision_loss, reason = "a window is an hour")]
    let ms = (time_ms - before_ms) as f64;
    (ms > 0.0).then(|| increase * 1_000.0 / ms)
}

/// A float whose order is that of an integer key: selecting among integers is what makes the percentile cheap.
trait Number: Copy + 'static {
    type Key: Ord + Copy;
    fn value(self) -> f64;
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

fn aggregate<'a, N: Number>(
    keys: &mut Vec<N::Key>,
    parts: impl Iterator<Item = &'a [N]>,
) -> Option<Aggregate> {
    keys.clear();
    let mut sum = 0.0;
    for part in parts {
        for number in part {
            let value = number.value();
            if !value.is_nan() {
                sum += value;
                keys.push(number.key());
            }
        }
    }
    finish::<N>(keys, sum)
}

/// Statistics of the collected keys, in time order, whose values have this sum.
fn finish<N: Number>(keys: &mut [N::Key], sum: f64) -> Option<Aggregate> {
    let min = N::from_key(*keys.iter().min()?).value();
    let max = N::from_key(*keys.iter().max()?).value();
    let count = keys.len();
    let (_, p95, _) = keys.select_nth_unstable((count * 95).div_ceil(100) - 1);
    let p95 = N::from_key(*p95).value();
    #[expect(clippy::cast_precision_loss, reason = "a window holds a few thousand samples")]
    let avg = (sum / count as f64).clamp(min, max);
    Some(Aggregate { count, avg, min, max, p95 })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn slow(values: &[f64]) -> Option<Aggregate> {
        let mut sorted: Vec<f64> = values.iter().copied().filter(|value| !value.is_nan()).collect();
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
        fn agrees_with_sorting(values in prop::collection::vec(prop_oneof![9 => -1e9..1e9f64, 1 => Just(f64::NAN)], 0..200), cut in 0..200usize) {
            let cut = cut.min(values.len());
            let got = Scratch::default().wide([&values[..cut], &values[cut..]].into_iter());
            prop_assert_eq!(got, slow(&values));
        }

        #[test]
        fn narrow_agrees_with_wide(values in prop::collection::vec(-1e6..1e6f32, 1..100)) {
            let wide: Vec<f64> = values.iter().map(|value| f64::from(*value)).collect();
            let got = Scratch::default().narrow(std::iter::once(values.as_slice()));
            prop_assert_eq!(got, slow(&wide));
        }
    }
}
