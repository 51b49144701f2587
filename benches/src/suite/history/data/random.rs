//! Numbers that look like chance and are the same for the same seed. Arithmetic only; called by the generator.

/// SplitMix64 (Steele, Lea and Flood, 2014): a counter of which each step is stirred well.
#[derive(Clone, Debug)]
pub(super) struct Random {
    state: u64,
}

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut stirred = self.state;
        stirred = (stirred ^ (stirred >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        stirred = (stirred ^ (stirred >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        stirred ^ (stirred >> 31)
    }

    /// From zero up to one, one left out.
    #[expect(clippy::cast_precision_loss, reason = "53 bits are what a float holds")]
    pub(super) fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    pub(super) fn below(&mut self, bound: f64) -> f64 {
        self.unit() * bound
    }

    pub(super) fn between(&mut self, low: f64, high: f64) -> f64 {
        low + self.below(high - low)
    }

    /// True with this probability.
    pub(super) fn happens(&mut self, probability: f64) -> bool {
        self.unit() < probability
    }

    /// Around zero with a deviation of one: near enough to the normal distribution, and needs no function that differs from one
    /// library to the next.
    pub(super) fn normal(&mut self) -> f64 {
        (0..12).map(|_| self.unit()).sum::<f64>() - 6.0
    }

    /// How many things happen of which `mean` do so on average: whole, never negative.
    pub(super) fn count(&mut self, mean: f64) -> f64 {
        /// Above it the bell curve will do.
        const FEW: f64 = 20.0;
        if mean > FEW {
            return mean.sqrt().mul_add(self.normal(), mean).round().max(0.0);
        }
        // Gaps between events are exponential: as many as fit into one interval.
        let (mut events, limit) = (0.0, (-mean).exp());
        let mut product = self.unit();
        while product > limit {
            events += 1.0;
            product *= self.unit();
        }
        events
    }
}

#[cfg(test)]
mod tests {
    use super::Random;

    #[test]
    fn means_are_what_was_asked_for() {
        let mut random = Random::new(3);
        for mean in [0.0, 0.2, 5.0, 80.0] {
            let sum: f64 = (0..20_000).map(|_| random.count(mean)).sum();
            let error = (sum / 20_000.0 - mean).abs();
            assert!(error <= mean * 0.03, "{mean}: off by {error}");
        }
        let sum: f64 = (0..20_000).map(|_| random.normal()).sum();
        assert!((sum / 20_000.0).abs() < 0.03);
    }
}
