//! What a guest with a bound has used against what it may use. Pure: clocks are given.
//!
//! It earns its share of the time that passes, and spends the processor time that it takes. Both are read from clocks, so that what a wait takes
//! too long, or a run between two looks, is made good by what follows: waiting a fixed time after each slice gave 7.7 % for 20 %.

use crate::limits;
use lowtide_core::units::MonoTime;
use std::time::Duration;

/// See the file's head.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Account {
    /// Up to when it is settled, and the processor time then.
    at: MonoTime,
    cpu: Duration,
    /// Processor time in seconds that may be used; below 0 it is owed.
    balance: f64,
}

impl Account {
    /// A new one, with nothing in it. `cpu` only grows: the processor time that the guest has taken so far.
    pub(super) fn open(now: MonoTime, cpu: Duration) -> Self {
        Self { at: now, cpu, balance: 0.0 }
    }

    /// Brings it up to date.
    pub(super) fn settle(&mut self, now: MonoTime, cpu: Duration, share: f64) {
        let earned = now.since(self.at).as_secs_f64() * share;
        let spent = cpu.saturating_sub(self.cpu).as_secs_f64();
        // Who waited for something else must not run at full speed for as long afterwards.
        let most = limits::JOB_CREDIT.as_secs_f64() * share;
        self.balance = (self.balance + earned - spent).min(most);
        (self.at, self.cpu) = (now, cpu);
    }

    /// Whether so much is owed that it is worth a wait.
    pub(super) fn is_overdrawn(&self) -> bool {
        self.balance <= -limits::JOB_SLICE.as_secs_f64()
    }

    /// After what time nothing is owed any more; `None` if nothing is.
    pub(super) fn even_in(&self, share: f64) -> Option<Duration> {
        if self.balance >= 0.0 {
            return None;
        }
        Some(Duration::try_from_secs_f64(-self.balance / share).unwrap_or(Duration::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// A guest that computes whenever it may, on clocks that are made up.
    struct Spin {
        now: MonoTime,
        cpu: Duration,
        account: Account,
    }

    impl Spin {
        fn new() -> Self {
            let now = MonoTime(Duration::from_secs(100));
            Self { now, cpu: Duration::ZERO, account: Account::open(now, Duration::ZERO) }
        }

        /// Lets it run for so long; `late` is by how much each wait is too long, `stolen` what others take of each tick.
        fn run(&mut self, time: Duration, share: f64, late: Duration, stolen: Duration) -> f64 {
            let (begun, before) = (self.now, self.cpu);
            while self.now.since(begun) < time {
                (self.now, self.cpu) = (self.now.plus(MS + stolen), self.cpu + MS);
                self.account.settle(self.now, self.cpu, share);
                if !self.account.is_overdrawn() {
                    continue;
                }
                while let Some(wait) = self.account.even_in(share) {
                    // In whole milliseconds, upwards, as timers are.
                    let wait = Duration::from_millis(
                        u64::try_from(wait.as_nanos()).unwrap().div_ceil(1_000_000).max(1),
                    );
                    self.now = self.now.plus(wait + late);
                    self.account.settle(self.now, self.cpu, share);
                }
            }
            self.cpu.saturating_sub(before).as_secs_f64() / self.now.since(begun).as_secs_f64()
        }
    }

    #[test]
    fn the_share_is_kept_however_late_the_waits_end() {
        for late in [Duration::ZERO, MS, 7 * MS, 40 * MS] {
            for stolen in [Duration::ZERO, MS / 2] {
                for share in [0.01, 0.05, 0.2, 0.5] {
                    let got = Spin::new().run(Duration::from_secs(60), share, late, stolen);
                    assert!(
                        (got - share).abs() < 0.02 * share + 0.001,
                        "{got} for {share}, {late:?} late, {stolen:?} stolen"
                    );
                }
            }
        }
        // Who gets no more than that from the machine is not held up besides.
        let got = Spin::new().run(Duration::from_secs(60), 0.5, Duration::ZERO, 2 * MS);
        assert!((got - 1.0 / 3.0).abs() < 0.001, "{got}");
    }

    #[test]
    fn what_was_not_used_is_kept_for_a_moment_only() {
        let mut spin = Spin::new();
        spin.now = spin.now.plus(Duration::from_secs(3_600));
        let second = Duration::from_secs(1);
        let got = spin.run(second, 0.2, Duration::ZERO, Duration::ZERO);
        let most = 0.2 + (limits::JOB_CREDIT.mul_f64(0.2) + limits::JOB_SLICE + MS).as_secs_f64();
        assert!(got > 0.2 && got <= most, "{got}");
    }

    #[test]
    fn another_share_holds_from_then_on() {
        let mut spin = Spin::new();
        for share in [0.1, 0.9, 0.05] {
            let got = spin.run(Duration::from_secs(20), share, Duration::ZERO, Duration::ZERO);
            assert!((got - share).abs() < 0.01, "{got} for {share}");
        }
    }
}
