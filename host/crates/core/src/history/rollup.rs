//! What is left of a stretch of samples when they are gone: for each bucket of time its count, sum, least, greatest and newest number, and
//! a sketch of how they were distributed.

use super::Before;
use super::sketch::{Bin, count_keys, key_of};
use std::ops::Range;

/// The roll-up of one series over a stretch of time. Its buckets are in order; one without any sample is left out.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rollup {
    /// Length of a bucket in milliseconds.
    pub step_ms: i64,
    /// The buckets.
    pub buckets: Vec<Bucket>,
    /// The bins of all sketches, each bucket's together.
    pub bins: Vec<Bin>,
}

/// One bucket. For a counter all but `last` are about its increases per second.
#[derive(Clone, Debug, PartialEq)]
pub struct Bucket {
    /// When it begins: milliseconds since 1970, a multiple of the step.
    pub start_ms: i64,
    /// Numbers that were counted; 0 when a counter has no increase yet.
    pub count: u32,
    /// Their sum; 0 when there is none.
    pub sum: f64,
    /// The least of them; NaN when there is none.
    pub min: f64,
    /// The greatest of them; NaN when there is none.
    pub max: f64,
    /// The newest sample, raw.
    pub last: f64,
    /// Which bins of the roll-up are its sketch. None where all numbers are the same.
    pub bins: Range<usize>,
}

impl Rollup {
    /// An empty one.
    #[must_use]
    pub fn new(step_ms: i64) -> Self {
        Self { step_ms, ..Self::default() }
    }

    /// Rolls up samples in the order of their times, which begin in this bucket or a later one. NaN is no sample. With `before`, they are
    /// of a counter.
    pub fn samples(&mut self, times_ms: &[i64], values: &[f64], mut before: Option<&mut Before>) {
        let mut keys = Vec::new();
        let mut at = 0;
        while let Some(first) = times_ms.get(at) {
            let start_ms = first.div_euclid(self.step_ms) * self.step_ms;
            let rest = times_ms.get(at..).unwrap_or_default();
            let end = at + rest.partition_point(|time| *time < start_ms + self.step_ms);
            let part =
                times_ms.get(at..end).unwrap_or_default().iter().zip(values.get(at..end).unwrap_or_default());
            self.bucket(
                start_ms,
                part.map(|(time, value)| (*time, *value)),
                before.as_deref_mut(),
                &mut keys,
            );
            at = end;
        }
    }

    fn bucket(
        &mut self,
        start_ms: i64,
        samples: impl Iterator<Item = (i64, f64)>,
        mut before: Option<&mut Before>,
        keys: &mut Vec<i32>,
    ) {
        keys.clear();
        let (mut count, mut sum, mut min, mut max, mut last) = (0u32, 0.0, f64::NAN, f64::NAN, f64::NAN);
        let mut newest = (f64::NAN, 0);
        for (time, raw) in samples.filter(|(_, value)| value.is_finite()) {
            last = raw;
            let Some(value) = before.as_mut().map_or(Some(raw), |before| before.rate(time, raw)) else {
                continue;
            };
            count += 1;
            sum += value;
            min = value.min(min);
            max = value.max(max);
            // What rests has one logarithm.
            if value.to_bits() != newest.0.to_bits() {
                newest = (value, key_of(value));
            }
            keys.push(newest.1);
        }
        if last.is_nan() {
            return;
        }
        let first_bin = self.bins.len();
        if min < max {
            count_keys(keys, &mut self.bins);
        }
        self.buckets.push(Bucket { start_ms, count, sum, min, max, last, bins: first_bin..self.bins.len() });
    }
}

impl Bucket {
    /// Adds the rest of the bucket: samples after those that are in it, with their own sketch. Only the newest bucket of a roll-up, whose
    /// bins come last among `all`.
    pub fn merge(&mut self, rest: &Self, rest_bins: &[Bin], all: &mut Vec<Bin>) {
        self.last = rest.last;
        if rest.count == 0 {
            return;
        }
        let (mine, theirs) = (self.single(), rest.single());
        let (count, was_empty) = (self.count + rest.count, self.count == 0);
        let mut bins: Vec<Bin> = all.drain(self.bins.start.min(all.len())..).collect();
        if !was_empty && bins.is_empty() {
            bins.push(mine);
        }
        if rest_bins.is_empty() {
            bins.push(theirs);
        } else {
            bins.extend_from_slice(rest_bins);
        }
        self.count = count;
        self.sum += rest.sum;
        self.min = rest.min.min(self.min);
        self.max = rest.max.max(self.max);
        let first = all.len();
        if self.min < self.max {
            bins.sort_unstable();
            for bin in bins {
                let newest = if all.len() > first { all.last_mut() } else { None };
                match newest {
                    Some(newest) if newest.key == bin.key => newest.count += bin.count,
                    _ => all.push(bin),
                }
            }
        }
        self.bins = first..all.len();
    }

    /// The one bin of a bucket whose numbers are all the same.
    fn single(&self) -> Bin {
        Bin { key: key_of(self.min), count: self.count }
    }
}
