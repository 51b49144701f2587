//! How often something may be done: a token bucket, counted in whole billionths so that nothing is lost to rounding.
//!
//! Whoever counts host calls, lines, writes or requests holds one of its own.

use crate::units::MonoTime;

/// Billionths of a token in a token: a nanosecond at one token a second earns one.
const SCALE: u64 = 1_000_000_000;

/// Tokens that come back at a steady rate up to a bound. It begins full.
#[derive(Clone, Debug)]
pub struct TokenBucket {
    per_second: u64,
    full: u64,
    /// Billionths of a token.
    available: u64,
    /// When `available` was true. None before the first use.
    counted: Option<MonoTime>,
}

impl TokenBucket {
    /// A full bucket: `burst` at once, `per_second` in the long run.
    #[must_use]
    pub fn new(per_second: u32, burst: u32) -> Self {
        let full = u64::from(burst) * SCALE;
        Self { per_second: u64::from(per_second), full, available: full, counted: None }
    }

    /// Takes one; false when there is none.
    pub fn take(&mut self, now: MonoTime) -> bool {
        self.take_n(now, 1)
    }

    /// Takes `count` or, when there are fewer, nothing.
    pub fn take_n(&mut self, now: MonoTime, count: u32) -> bool {
        self.refill(now);
        let wanted = u64::from(count) * SCALE;
        if wanted > self.available {
            return false;
        }
        self.available -= wanted;
        true
    }

    fn refill(&mut self, now: MonoTime) {
        // A moment before the last one earns nothing, and must not make the next one earn twice.
        let counted = self.counted.map_or(now, |counted| counted.max(now));
        let passed = now.since(self.counted.unwrap_or(now));
        let nanos = u64::try_from(passed.as_nanos()).unwrap_or(u64::MAX);
        let earned = nanos.saturating_mul(self.per_second);
        self.available = self.available.saturating_add(earned).min(self.full);
        self.counted = Some(counted);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn at(ms: u64) -> MonoTime {
        MonoTime(Duration::from_millis(ms))
    }

    #[test]
    fn a_burst_and_then_the_rate() {
        let mut bucket = TokenBucket::new(10, 20);
        let start = at(5_000_000);
        assert_eq!((0..100).filter(|_| bucket.take(start)).count(), 20);
        assert!(!bucket.take(at(5_000_099)));
        assert!(bucket.take(at(5_000_100)));
        assert!(!bucket.take(at(5_000_100)));
        // A long pause fills it, and no further.
        assert_eq!((0..100).filter(|_| bucket.take(at(9_000_000))).count(), 20);
    }

    #[test]
    fn asking_often_earns_what_asking_seldom_does() {
        // Three a second, asked every millisecond: nothing is lost to rounding.
        let mut bucket = TokenBucket::new(3, 2);
        assert!(bucket.take_n(at(0), 2));
        assert_eq!((1..=10_000).filter(|ms| bucket.take(at(*ms))).count(), 30);
    }

    #[test]
    fn many_at_once_are_all_or_nothing() {
        let mut bucket = TokenBucket::new(1, 10);
        assert!(!bucket.take_n(at(0), 11));
        assert!(bucket.take_n(at(0), 10));
        assert!(bucket.take_n(at(0), 0));
        assert!(!bucket.take_n(at(1_999), 2));
        assert!(bucket.take_n(at(2_000), 2));
    }

    #[test]
    fn extremes_do_not_overflow_and_time_going_back_earns_nothing() {
        let mut bucket = TokenBucket::new(u32::MAX, u32::MAX);
        assert!(bucket.take_n(MonoTime(Duration::ZERO), u32::MAX));
        assert!(bucket.take_n(MonoTime(Duration::MAX), u32::MAX));
        assert!(!bucket.take(at(0)));
        assert!(!bucket.take(MonoTime(Duration::MAX)), "the same hour is not earned twice");
        let mut never = TokenBucket::new(0, 0);
        assert!(!never.take(at(0)));
    }
}
