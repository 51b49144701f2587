//! A sketch of a distribution: how many samples fell into each of bins whose bounds grow by a constant factor, so that any percentile of
//! any union of sketches is known to a relative error. DDSketch: Masson, Rim, Lee, "DDSketch: a fast and fully-mergeable quantile sketch
//! with relative-error guarantees", VLDB 2019, <https://www.vldb.org/pvldb/vol12/p2195-masson.pdf>.
//!
//! Here a sketch is a list of bins in the order of their values; it is never larger than the number of samples in it.

/// The largest relative error of a percentile that a sketch gives.
pub const RELATIVE_ERROR: f64 = 0.01;

/// A little less than promised: rounding of logarithms must not break the promise.
const ALPHA: f64 = RELATIVE_ERROR * 0.999;

/// Each bin is this much wider than the one before: (1 + a) / (1 - a).
const GAMMA: f64 = (1.0 + ALPHA) / (1.0 - ALPHA);

/// Keys of positive numbers begin above this, those of negative ones below its negative; zero is 0. No exponent of a double reaches it.
const OFFSET: i32 = 40_000;

/// A bin and how many samples it has. Bins of greater values have greater keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bin {
    /// Which bin.
    pub key: i32,
    /// Samples in it.
    pub count: u32,
}

/// The bin of a finite number.
pub(super) fn key_of(value: f64) -> i32 {
    let size = value.abs();
    // What is smaller than any normal double is zero.
    if size < f64::MIN_POSITIVE {
        return 0;
    }
    #[expect(
        clippy::cast_possible_truncation,
        reason = "a logarithm of a double to this base is within 36 000"
    )]
    let exponent = (size.ln() * inverse_log()).ceil() as i32;
    let key = exponent + OFFSET;
    if value < 0.0 { -key } else { key }
}

/// The number that stands for a bin: off by [`RELATIVE_ERROR`] at most from any in it.
pub(super) fn value_of(key: i32) -> f64 {
    if key == 0 {
        return 0.0;
    }
    let size = (f64::from(key.abs() - OFFSET) / inverse_log()).exp() * 2.0 / (GAMMA + 1.0);
    if key < 0 { -size } else { size }
}

/// 1 / ln(gamma). The logarithm is no constant expression, and this one is exact to the last bit but one.
fn inverse_log() -> f64 {
    // ln((1 + a) / (1 - a)) = 2 (a + a^3 / 3 + a^5 / 5 + ...); the next term is below 1e-15 of the sum.
    const A: f64 = ALPHA;
    const LOG: f64 = 2.0 * (A + A * A * A / 3.0 + A * A * A * A * A / 5.0 + A * A * A * A * A * A * A / 7.0);
    1.0 / LOG
}

/// Sorts these keys and adds them to `bins` as bins.
pub(super) fn count_keys(keys: &mut [i32], bins: &mut Vec<Bin>) {
    keys.sort_unstable();
    for same in keys.chunk_by(|a, b| a == b) {
        if let Some(key) = same.first() {
            bins.push(Bin { key: *key, count: u32::try_from(same.len()).unwrap_or(u32::MAX) });
        }
    }
}

/// The 95th percentile by nearest rank of all samples in these bins, which are sorted here. `None` without samples.
pub(super) fn p95(bins: &mut [Bin]) -> Option<f64> {
    bins.sort_unstable_by_key(|bin| bin.key);
    let total: u64 = bins.iter().map(|bin| u64::from(bin.count)).sum();
    let rank = (total * 95).div_ceil(100);
    let mut seen = 0;
    let found = bins.iter().find(|bin| {
        seen += u64::from(bin.count);
        seen >= rank
    });
    found.map(|bin| value_of(bin.key))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_logarithm_is_right() {
        assert!((inverse_log() * GAMMA.ln() - 1.0).abs() < 1e-12);
    }

    proptest! {
        #[test]
        fn a_bin_is_as_near_as_promised(mantissa in -1.0..1.0f64, exponent in -300..300i32) {
            let value = mantissa * 10f64.powi(exponent);
            let near = value_of(key_of(value));
            prop_assert!((near - value).abs() <= value.abs() * RELATIVE_ERROR, "{value} became {near}");
        }

        #[test]
        fn bins_keep_the_order_of_numbers(a in -1e12..1e12f64, b in -1e12..1e12f64) {
            prop_assert_eq!(key_of(a) <= key_of(b), a <= b || key_of(a) == key_of(b));
        }

        #[test]
        fn a_percentile_of_merged_sketches_is_within_the_error(
            parts in prop::collection::vec(prop::collection::vec(0.0..1e7f64, 1..80), 1..8),
        ) {
            let mut bins = Vec::new();
            for part in &parts {
                let mut keys: Vec<i32> = part.iter().map(|value| key_of(*value)).collect();
                count_keys(&mut keys, &mut bins);
            }
            let mut all: Vec<f64> = parts.concat();
            all.sort_by(f64::total_cmp);
            let exact = all[(all.len() * 95).div_ceil(100) - 1];
            let near = p95(&mut bins).unwrap();
            prop_assert!((near - exact).abs() <= exact * RELATIVE_ERROR, "{exact} became {near}");
        }
    }
}
