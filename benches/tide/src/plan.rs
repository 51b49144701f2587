//! When requests arrive and what they ask for, drawn from a seed before the run begins: the same seed gives every arm the same
//! requests at the same times, and no slow answer delays the next one.

use std::str::FromStr;

/// Share of a cycle that is a burst, and how much faster requests arrive in it.
const BURST_SHARE: f64 = 0.25;
const BURST_FACTOR: f64 = 2.0;
/// Between bursts, so that the mean over a cycle is 1.
const CALM_FACTOR: f64 = (1.0 - BURST_SHARE * BURST_FACTOR) / (1.0 - BURST_SHARE);

/// Lengths of a cycle in seconds. The longest one only where it fits into the run twice.
const CYCLES: [f64; 3] = [1.0, 10.0, 60.0];

/// Random numbers from a seed (splitmix64): small, fast, and the same everywhere.
#[derive(Clone, Debug)]
pub(crate) struct Random(u64);

impl Random {
    /// One stream for each seed.
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Any number.
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }

    /// From 0 up to, but not, 1.
    pub(crate) fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// From 0 up to, but not, `end`; 0 when that is 0.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        // 128 bits, so that no remainder prefers small numbers.
        ((u128::from(self.next()) * u128::from(end)) >> 64) as u64
    }

    /// The order of `items` by chance.
    pub(crate) fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last as u64 + 1) as usize);
        }
    }
}

/// One seed of several numbers.
pub(crate) fn seed(parts: &[u64]) -> u64 {
    parts.iter().fold(0, |seed, part| Random::new(seed ^ part).next())
}

/// What a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    /// 0.2 ms of CPU.
    Cpu,
    /// 2 ms of CPU and 256 KiB of a large file.
    Read,
    /// 16 blocks of 4 KiB of a smaller file.
    Look,
}

impl Asked {
    /// The path of its address.
    pub(crate) fn path(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Read => "read",
            Self::Look => "look",
        }
    }
}

impl FromStr for Asked {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        [Self::Cpu, Self::Read, Self::Look].into_iter().find(|asked| asked.path() == text).ok_or(())
    }
}

/// One request of the plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Arrival {
    /// Nanoseconds after the beginning.
    pub(crate) at_ns: u64,
    pub(crate) asked: Asked,
    /// Where in the file it reads.
    pub(crate) key: u64,
}

/// The next request's kind and place: one in three of each kind.
pub(crate) fn draw(random: &mut Random) -> (Asked, u64) {
    let asked = match random.below(3) {
        0 => Asked::Cpu,
        1 => Asked::Read,
        _ => Asked::Look,
    };
    (asked, random.next())
}

/// The requests of `seconds`, on average `rate` a second, as a Poisson process whose rate goes up and down in cycles.
pub(crate) fn arrivals(seed: u64, rate: f64, seconds: f64) -> Vec<Arrival> {
    let mut random = Random::new(seed);
    let phases = phases(&mut random, seconds);
    let mut arrivals = Vec::new();
    let mut due = exponential(&mut random);
    let mut begin = 0.0;
    for phase in phases {
        // Within a phase the rate is constant: `due` is what is left until the next arrival, in expected arrivals.
        let speed = rate * phase.factor;
        let mut at = begin;
        while speed > 0.0 && at + due / speed < phase.end {
            at += due / speed;
            let (asked, key) = draw(&mut random);
            arrivals.push(Arrival { at_ns: (at * 1e9) as u64, asked, key });
            due = exponential(&mut random);
        }
        due -= (phase.end - at) * speed;
        begin = phase.end;
    }
    arrivals
}

struct Phase {
    /// Seconds after the beginning.
    end: f64,
    factor: f64,
}

/// Calm, burst, calm: where in its cycle the burst stands is drawn. The last cycle is as short as what is left, so that the mean
/// over the whole is 1 too.
fn phases(random: &mut Random, seconds: f64) -> Vec<Phase> {
    let lengths: Vec<f64> =
        CYCLES.into_iter().filter(|length| *length <= 10.0 || length * 2.0 <= seconds).collect();
    let mut phases = Vec::new();
    let mut begin = 0.0;
    while begin < seconds {
        let drawn = lengths.get(random.below(lengths.len() as u64) as usize).copied().unwrap_or(1.0);
        let length = drawn.min(seconds - begin);
        let burst = begin + random.unit() * (1.0 - BURST_SHARE) * length;
        phases.push(Phase { end: burst, factor: CALM_FACTOR });
        phases.push(Phase { end: burst + BURST_SHARE * length, factor: BURST_FACTOR });
        begin += length;
        // What rounding would leave of a length is no cycle.
        if seconds - begin < 1e-6 {
            begin = seconds;
        }
        phases.push(Phase { end: begin, factor: CALM_FACTOR });
    }
    phases
}

/// The distance of two arrivals, with mean 1.
fn exponential(random: &mut Random) -> f64 {
    -(1.0 - random.unit()).ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_plan_and_another_one_another() {
        assert_eq!(arrivals(7, 100.0, 5.0), arrivals(7, 100.0, 5.0));
        assert_ne!(arrivals(7, 100.0, 5.0), arrivals(8, 100.0, 5.0));
    }

    #[test]
    fn the_mean_rate_is_the_asked_one_however_long_the_run_is() {
        for seconds in [0.5, 3.0, 8.0, 45.0, 130.0] {
            let counts = (0..200).map(|seed| arrivals(seed, 50.0, seconds).len() as f64);
            let mean = counts.sum::<f64>() / 200.0;
            let asked = 50.0 * seconds;
            // Five deviations of a mean of 200 Poisson counts.
            assert!((mean - asked).abs() < 5.0 * (asked / 200.0).sqrt(), "{seconds} s: {mean} of {asked}");
        }
    }

    #[test]
    fn arrivals_are_in_order_and_within_the_run() {
        let plan = arrivals(3, 500.0, 20.0);
        assert!(plan.windows(2).all(|pair| pair[0].at_ns <= pair[1].at_ns));
        assert!(plan.last().unwrap().at_ns < 20_000_000_000);
    }

    #[test]
    fn there_are_bursts_of_twice_the_mean() {
        let mut random = Random::new(1);
        let phases = phases(&mut random, 30.0);
        let mut begin = 0.0;
        let mut burst = 0.0;
        let mut weighted = 0.0;
        for phase in &phases {
            let length = phase.end - begin;
            burst += if phase.factor > 1.0 { length } else { 0.0 };
            weighted += length * phase.factor;
            begin = phase.end;
        }
        assert!((begin - 30.0).abs() < 1e-9);
        assert!((burst - 7.5).abs() < 1e-6 && (weighted - 30.0).abs() < 1e-6);
    }

    #[test]
    fn each_kind_is_a_third() {
        let plan = arrivals(5, 1000.0, 30.0);
        for asked in [Asked::Cpu, Asked::Read, Asked::Look] {
            let count = plan.iter().filter(|arrival| arrival.asked == asked).count() as f64;
            assert!((count / plan.len() as f64 - 1.0 / 3.0).abs() < 0.02);
        }
    }

    #[test]
    fn shuffling_keeps_all_and_depends_on_the_seed() {
        let shuffled = |seed| {
            let mut items: Vec<u32> = (0..20).collect();
            Random::new(seed).shuffle(&mut items);
            items
        };
        let mut sorted = shuffled(1);
        sorted.sort_unstable();
        assert_eq!(sorted, (0..20).collect::<Vec<_>>());
        assert_eq!(shuffled(1), shuffled(1));
        assert_ne!(shuffled(1), shuffled(2));
    }
}
