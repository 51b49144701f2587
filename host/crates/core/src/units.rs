//! Time as plain values, and the units that a metric may have. The one place for units; it never reads a clock.

use serde::{Deserialize, Serialize};
use std::time::Duration;

/// A moment on the wall clock: milliseconds since 1970-01-01T00:00:00Z. For display and for queries, never for deadlines:
/// it can jump.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct WallTime(pub i64);

impl WallTime {
    /// Milliseconds since the Unix epoch.
    #[must_use]
    pub fn unix_ms(self) -> i64 {
        self.0
    }

    /// The moment `earlier` before this one.
    #[must_use]
    pub fn minus(self, earlier: Duration) -> Self {
        Self(self.0.saturating_sub(i64::try_from(earlier.as_millis()).unwrap_or(i64::MAX)))
    }
}

/// A moment on the monotonic clock that counts suspend (`CLOCK_BOOTTIME` on Linux), since boot. For all deadlines,
/// dwells and ages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MonoTime(pub Duration);

impl MonoTime {
    /// Time passed since `earlier`; zero if `earlier` is in the future.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }

    /// The moment `later` after this one.
    #[must_use]
    pub fn plus(self, later: Duration) -> Self {
        Self(self.0.saturating_add(later))
    }

    /// Whole milliseconds since boot.
    #[must_use]
    pub fn as_millis(self) -> i64 {
        i64::try_from(self.0.as_millis()).unwrap_or(i64::MAX)
    }
}

/// Both clocks, read together: what every step of the daemon is given instead of a clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// Monotonic time, for decisions.
    pub mono: MonoTime,
    /// Wall time, for display.
    pub wall: WallTime,
}

/// The unit of a metric. Base units only, as Prometheus asks (prometheus/docs `docs/practices/naming.md`); the unit is the
/// last word of the name, before `_total`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// A plain count of things, without a suffix.
    Count,
    /// A share of one, 0 to 1 (load-like ratios may exceed 1). Suffix `_ratio`.
    Ratio,
    /// Seconds. Suffix `_seconds`.
    Seconds,
    /// Bytes. Suffix `_bytes`.
    Bytes,
    /// Bytes a second, an average over the collector's last interval. Suffix `_bytes_per_second`.
    BytesPerSecond,
    /// Things a second, an average over the collector's last interval. Suffix `_per_second`.
    PerSecond,
    /// Degrees Celsius. Suffix `_celsius`.
    Celsius,
    /// Hertz. Suffix `_hertz`.
    Hertz,
}

impl Unit {
    /// The suffix that a metric name with this unit must carry (before `_total`), empty for [`Unit::Count`].
    #[must_use]
    pub fn suffix(self) -> &'static str {
        match self {
            Self::Count => "",
            Self::Ratio => "_ratio",
            Self::Seconds => "_seconds",
            Self::Bytes => "_bytes",
            Self::BytesPerSecond => "_bytes_per_second",
            Self::PerSecond => "_per_second",
            Self::Celsius => "_celsius",
            Self::Hertz => "_hertz",
        }
    }

    /// The unit's word in documents and JSON, as serialised.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Count => "count",
            Self::Ratio => "ratio",
            Self::Seconds => "seconds",
            Self::Bytes => "bytes",
            Self::BytesPerSecond => "bytes_per_second",
            Self::PerSecond => "per_second",
            Self::Celsius => "celsius",
            Self::Hertz => "hertz",
        }
    }
}
