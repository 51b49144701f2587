//! From growing counters to averages over an interval. Pure arithmetic; never gives a negative rate. Collectors call it.

use lowtide_core::units::MonoTime;

/// Remembers when the last successful run was.
#[derive(Debug, Default)]
pub(crate) struct Elapsed {
    last: Option<MonoTime>,
}

impl Elapsed {
    /// Seconds since the step before; `None` at the first one, after [`Elapsed::forget`], and when no time has passed.
    pub(crate) fn step(&mut self, at: MonoTime) -> Option<f64> {
        let seconds = self.last.replace(at).map(|last| at.since(last).as_secs_f64());
        seconds.filter(|seconds| *seconds > 0.0)
    }

    /// Makes the next step the first one.
    pub(crate) fn forget(&mut self) {
        self.last = None;
    }
}

/// By how much a counter has grown. A counter that wrapped at 32 bits (byte counters of 32-bit kernels, times in
/// /proc/diskstats) is seen through; one that was reset has no growth.
pub(crate) fn growth(before: u64, now: u64) -> Option<u64> {
    const WRAP: u64 = 1 << 32;
    if now >= before {
        return Some(now - before);
    }
    // A wrap shows as a step from the last quarter of the range to the first. Anything else is a reset: the device or the
    // interface was removed and came back under its name.
    ((WRAP / 4 * 3..WRAP).contains(&before) && now < WRAP / 4).then(|| now + WRAP - before)
}

/// Growth a second; `None` without a time to divide by, or after a reset.
pub(crate) fn per_second(before: u64, now: u64, elapsed_seconds: Option<f64>) -> Option<f64> {
    Some(growth(before, now)? as f64 / elapsed_seconds?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn growth_sees_through_wraps_and_refuses_resets() {
        for (before, now, expected) in [
            (10, 15, Some(5)),
            (10, 10, Some(0)),
            (u64::from(u32::MAX) - 4, 5, Some(10)),
            (u64::from(u32::MAX), 0, Some(1)),
            (1 << 33, 5, None),
            (1_000_000, 5, None),
        ] {
            assert_eq!(growth(before, now), expected, "{before} {now}");
        }
    }

    #[test]
    fn the_first_step_and_a_step_without_time_have_no_length() {
        let at = |seconds| MonoTime(Duration::from_secs(seconds));
        let mut elapsed = Elapsed::default();
        assert_eq!(elapsed.step(at(10)), None);
        assert_eq!(elapsed.step(at(12)), Some(2.0));
        assert_eq!(elapsed.step(at(12)), None);
        assert_eq!(elapsed.step(at(11)), None);
        elapsed.forget();
        assert_eq!(elapsed.step(at(20)), None);
    }
}
