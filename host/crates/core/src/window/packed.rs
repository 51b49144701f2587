//! The samples of one series, packed: chunks of 64 ticks, each with a bit for every tick that has a sample and with the samples, or with
//! one value if all of them are the same. Counters that rest, states, and series that are sampled less often than the tick take a tenth
//! of a ring with a place for every tick. Called by the window, which numbers the ticks; knows nothing of time.

use super::statistics::Number;
use std::collections::VecDeque;
use std::ops::Range;

/// Ticks of a chunk: the bits of a word.
const CHUNK_TICKS: u64 = 64;

/// Samples by tick, oldest first.
#[derive(Debug)]
pub(super) struct Packed<N> {
    // Chunks without a sample are left out.
    chunks: VecDeque<Chunk<N>>,
}

#[derive(Debug)]
struct Chunk<N> {
    /// Its first tick, a multiple of [`CHUNK_TICKS`].
    start: u64,
    /// Which of its ticks have a sample, the first in the lowest bit. Never 0.
    present: u64,
    values: Values<N>,
}

#[derive(Debug)]
enum Values<N> {
    /// All samples are this one, bit for bit.
    Same(N),
    /// One for each bit, in order.
    Each(Vec<N>),
}

impl<N> Default for Packed<N> {
    fn default() -> Self {
        Self { chunks: VecDeque::new() }
    }
}

impl<N: Number> Packed<N> {
    /// Adds the sample of a tick, the newest so far, and forgets what is older than `oldest`. A second sample of the same tick is left
    /// out.
    pub(super) fn push(&mut self, tick: u64, value: N, oldest: u64) {
        while self.chunks.front().is_some_and(|chunk| chunk.start + CHUNK_TICKS <= oldest) {
            self.chunks.pop_front();
        }
        let start = tick - tick % CHUNK_TICKS;
        let bit = 1 << (tick - start);
        match self.chunks.back_mut() {
            Some(chunk) if chunk.start == start => chunk.add(bit, value),
            full => {
                if let Some(Chunk { values: Values::Each(values), .. }) = full {
                    values.shrink_to_fit();
                }
                self.chunks.push_back(Chunk { start, present: bit, values: Values::Same(value) });
            }
        }
    }

    /// Bytes of memory that the samples take, at least.
    pub(super) fn bytes(&self) -> usize {
        let values = |chunk: &Chunk<N>| match &chunk.values {
            Values::Same(_) => 0,
            Values::Each(values) => values.capacity() * size_of::<N>(),
        };
        self.chunks.capacity() * size_of::<Chunk<N>>() + self.chunks.iter().map(values).sum::<usize>()
    }

    /// Hands the samples of a range of ticks with their ticks to `take`, oldest first.
    pub(super) fn each(&self, ticks: Range<u64>, mut take: impl FnMut(u64, N)) {
        let first = self.chunks.partition_point(|chunk| chunk.start + CHUNK_TICKS <= ticks.start);
        let end = self.chunks.partition_point(|chunk| chunk.start < ticks.end).max(first);
        for chunk in self.chunks.range(first..end) {
            chunk.each(&ticks, &mut take);
        }
    }

    /// The newest sample of a range of ticks, with its tick.
    pub(super) fn newest(&self, ticks: Range<u64>) -> Option<(u64, N)> {
        let end = self.chunks.partition_point(|chunk| chunk.start < ticks.end);
        self.chunks.range(..end).rev().find_map(|chunk| chunk.newest(&ticks))
    }
}

impl<N: Number> Chunk<N> {
    fn add(&mut self, bit: u64, value: N) {
        if self.present >= bit {
            return;
        }
        let before = bits_set(self.present);
        self.present |= bit;
        match &mut self.values {
            Values::Same(same) if same.key() == value.key() => {}
            Values::Same(same) => {
                let mut values = vec![*same; before];
                values.push(value);
                self.values = Values::Each(values);
            }
            Values::Each(values) => values.push(value),
        }
    }

    /// The bits of its samples in a range of ticks, and how many samples it has before the range.
    fn within(&self, ticks: &Range<u64>) -> (u64, usize) {
        let from = mask_from(ticks.start.saturating_sub(self.start));
        let until = !mask_from(ticks.end.saturating_sub(self.start));
        (self.present & from & until, (self.present & !from).count_ones() as usize)
    }

    fn each(&self, ticks: &Range<u64>, take: &mut impl FnMut(u64, N)) {
        let (bits, skipped) = self.within(ticks);
        let mut left = bits;
        // The lowest bit that is left.
        let mut next = || {
            let bit = left.trailing_zeros();
            left &= left.wrapping_sub(1);
            self.start + u64::from(bit)
        };
        let count = bits_set(bits);
        match &self.values {
            Values::Same(value) => (0..count).for_each(|_| take(next(), *value)),
            Values::Each(values) => {
                values.iter().skip(skipped).take(count).for_each(|value| take(next(), *value));
            }
        }
    }

    fn newest(&self, ticks: &Range<u64>) -> Option<(u64, N)> {
        let (bits, skipped) = self.within(ticks);
        let value = match &self.values {
            Values::Same(value) => *value,
            Values::Each(values) => *values.get((skipped + bits_set(bits)).checked_sub(1)?)?,
        };
        Some((self.start + u64::from(bits.checked_ilog2()?), value))
    }
}

fn bits_set(bits: u64) -> usize {
    bits.count_ones() as usize
}

/// The bits from this one on.
fn mask_from(bit: u64) -> u64 {
    if bit < CHUNK_TICKS { u64::MAX << bit } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn bits(samples: &[(u64, f64)]) -> Vec<(u64, u64)> {
        samples.iter().map(|(tick, value)| (*tick, value.to_bits())).collect()
    }

    proptest! {
        #[test]
        fn agrees_with_a_list(
            steps in prop::collection::vec((prop_oneof![8 => Just(1_u64), 2 => 1..200_u64], prop_oneof![4 => Just(7.0), 1 => -1e9..1e9, 1 => Just(-0.0), 1 => Just(0.0)]), 0..400),
            held in 1..300_u64,
            ranges in prop::collection::vec((0..2_000_u64, 0..400_u64), 20),
        ) {
            let (mut packed, mut list, mut tick) = (Packed::default(), Vec::new(), 0);
            for (step, value) in steps {
                tick += step;
                packed.push(tick, value, tick.saturating_sub(held));
                list.push((tick, value));
            }
            let oldest = tick.saturating_sub(held);
            for (start, length) in ranges {
                let range = start.max(oldest)..start.max(oldest) + length;
                let expected: Vec<_> = list.iter().filter(|(tick, _)| range.contains(tick)).copied().collect();
                let mut got = Vec::new();
                packed.each(range.clone(), |tick, value| got.push((tick, value)));
                prop_assert_eq!(bits(&got), bits(&expected));
                prop_assert_eq!(bits(packed.newest(range).as_slice()), bits(expected.last().copied().as_slice()));
            }
        }
    }

    #[test]
    fn what_is_old_or_the_same_takes_no_room() {
        let mut packed = Packed::default();
        for tick in 0..10_000 {
            packed.push(tick, 5.0, u64::saturating_sub(tick, 1_800));
        }
        assert!(packed.chunks.len() <= 30, "{}", packed.chunks.len());
        assert!(packed.chunks.iter().all(|chunk| matches!(chunk.values, Values::Same(_))));
        packed.push(10_000, 6.0, 8_200);
        assert_eq!(packed.newest(0..u64::MAX), Some((10_000, 6.0)));
        packed.push(10_000, 7.0, 8_200);
        assert_eq!(packed.newest(0..u64::MAX), Some((10_000, 6.0)), "one sample a tick");
    }
}
