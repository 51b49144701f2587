//! When an addon that crashed is tried again: a pause that doubles, quarantine after a series of crashes, and recovery. Pure: the time
//! is given.

use crate::limits;
use lowtide_core::units::MonoTime;
use std::collections::VecDeque;
use std::time::Duration;

/// The crashes of one addon, as far as they still count.
#[derive(Clone, Debug, Default)]
pub(crate) struct Lifecycle {
    /// Crashes within the breaker's window, oldest first.
    recent: VecDeque<MonoTime>,
    /// Crashes in a row, without a recovery between them.
    in_a_row: u32,
    /// Good calls since the last crash.
    good: u32,
    quarantined: bool,
}

/// What follows from a crash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pause {
    /// When the next instance may be started.
    pub(crate) until: MonoTime,
    /// True when the addon is in quarantine: it crashed too often, and is only tried from time to time.
    pub(crate) quarantined: bool,
}

impl Lifecycle {
    /// The addon crashed at `now`.
    pub(crate) fn crashed(&mut self, now: MonoTime) -> Pause {
        self.good = 0;
        self.in_a_row = self.in_a_row.saturating_add(1);
        self.recent.push_back(now);
        while self.recent.front().is_some_and(|first| now.since(*first) > limits::BREAKER_WINDOW) {
            self.recent.pop_front();
        }
        // Once in quarantine, one crash of a trial is enough to stay there.
        self.quarantined |= self.recent.len() >= limits::BREAKER_TRAPS;
        let pause = if self.quarantined { limits::BACKOFF_MAX } else { self.backoff() };
        Pause { until: now.plus(pause), quarantined: self.quarantined }
    }

    fn backoff(&self) -> Duration {
        let doublings = self.in_a_row.saturating_sub(1).min(16);
        limits::BACKOFF_FIRST.saturating_mul(1 << doublings).min(limits::BACKOFF_MAX)
    }

    /// A call came to a good end. True when that makes an addon that was in quarantine well again.
    pub(crate) fn good_call(&mut self) -> bool {
        if self.in_a_row == 0 {
            return false;
        }
        self.good = self.good.saturating_add(1);
        if self.good < limits::RECOVERED_CALLS {
            return false;
        }
        let was = self.quarantined;
        *self = Self::default();
        was
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> MonoTime {
        MonoTime(Duration::from_secs(seconds))
    }

    #[test]
    fn pauses_double_up_to_ten_minutes() {
        let mut life = Lifecycle::default();
        let mut now = 0;
        let pauses: Vec<u64> = (0..12)
            .map(|_| {
                // Far enough apart that the breaker does not open.
                now += 1_000;
                life.crashed(at(now)).until.since(at(now)).as_secs()
            })
            .collect();
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 600, 600]);
    }

    #[test]
    fn five_crashes_in_a_minute_are_a_quarantine_and_ten_good_calls_end_it() {
        let mut life = Lifecycle::default();
        let pauses: Vec<Pause> = [0, 2, 5, 10, 19].map(|now| life.crashed(at(now))).into();
        assert_eq!(pauses.iter().filter(|pause| pause.quarantined).count(), 1);
        assert_eq!(pauses[4], Pause { until: at(619), quarantined: true });
        // The trial crashes too: it stays.
        assert_eq!(life.crashed(at(619)), Pause { until: at(1_219), quarantined: true });
        assert_eq!((0..10).map(|_| life.good_call()).filter(|recovered| *recovered).count(), 1);
        assert_eq!(life.crashed(at(2_000)), Pause { until: at(2_001), quarantined: false });
    }

    #[test]
    fn crashes_with_good_calls_between_them_still_add_up_until_it_recovers() {
        let mut life = Lifecycle::default();
        life.crashed(at(0));
        (0..9).for_each(|_| assert!(!life.good_call()));
        assert_eq!(life.crashed(at(100)).until, at(102));
        for _ in 0..10 {
            life.good_call();
        }
        assert_eq!(life.in_a_row, 0);
        assert_eq!(life.crashed(at(200)).until, at(201));
    }
}
