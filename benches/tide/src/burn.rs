//! The CPU work of the service and of heavy work: steps through a table of 1 MiB, so that it feels a cache that others use, as
//! real programs do. How many steps a millisecond takes is measured once by the harness and given to the service, so that a slow
//! moment makes the work slow and not small.

use crate::machine;
use crate::plan::Random;

/// Words of the table: 1 MiB.
const WORDS: usize = 128 * 1024;

/// The table.
#[derive(Debug)]
pub(crate) struct Burner(Vec<u64>);

impl Burner {
    pub(crate) fn new() -> Self {
        let mut random = Random::new(1);
        Self((0..WORDS).map(|_| random.next()).collect())
    }

    /// Takes `steps` steps from a beginning. The answer must be used, or the compiler takes the work away.
    pub(crate) fn burn(&self, mut word: u64, steps: u64) -> u64 {
        for _ in 0..steps {
            let entry = self.0.get(word as usize % WORDS).copied().unwrap_or_default();
            word = (word ^ entry).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(23);
        }
        word
    }

    /// Steps that take a millisecond of CPU when nobody is in the way: the quickest of many tries.
    pub(crate) fn steps_per_ms(&self) -> u64 {
        const STEPS: u64 = 50_000;
        let mut best = u64::MAX;
        for word in 0..200 {
            let begun = machine::thread_cpu_ns();
            std::hint::black_box(self.burn(word, STEPS));
            best = best.min(machine::thread_cpu_ns().saturating_sub(begun));
        }
        STEPS * 1_000_000 / best.max(1)
    }
}
