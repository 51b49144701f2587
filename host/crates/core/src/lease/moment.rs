//! Time within the ledger: milliseconds on the monotonic clock, which may lie before the machine's start. What waits for a week has
//! waited longer than a machine that was started an hour ago has run.

use crate::units::MonoTime;
use std::time::Duration;

/// A moment on the monotonic clock, in milliseconds since boot; negative before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment(pub i64);

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

impl Moment {
    /// Later than any.
    pub const NEVER: Self = Self(i64::MAX);

    /// So much later.
    #[must_use]
    pub fn plus(self, later: Duration) -> Self {
        Self(self.0.saturating_add(millis(later)))
    }

    /// So much earlier.
    #[must_use]
    pub fn minus(self, earlier: Duration) -> Self {
        Self(self.0.saturating_sub(millis(earlier)))
    }

    /// Time since `earlier`; zero if that is in the future.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

impl From<MonoTime> for Moment {
    fn from(time: MonoTime) -> Self {
        Self(time.as_millis())
    }
}
