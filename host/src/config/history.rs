//! The `[history]` section: what is kept on disk of the past.

use lowtide_app::{Keep, LowWear};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// The `[history]` section.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct History {
    /// Whether the past is kept on disk. Without it there is only the last hour, in memory.
    pub enabled: bool,
    /// Time between two ticks that are recorded, rounded up to whole ticks. Of each series the newest sample is kept.
    #[schemars(range(min = 1, max = 3600))]
    pub interval_seconds: u32,
    /// Days that every recorded tick is kept. Days during which nothing was recorded do not count.
    #[schemars(range(min = 1, max = 366))]
    pub raw_days: u32,
    /// Days that roll-ups of 15 minutes are kept. Days during which nothing was recorded do not count.
    #[schemars(range(min = 1, max = 3660))]
    pub rollup_days: u32,
    /// Size that the file may have, in MiB. Above it the oldest goes first: ticks, then roll-ups.
    #[schemars(range(min = 16, max = 1_048_576))]
    pub size_max_mib: u32,
    /// Spares a disk that does not bear many writes, such as an SD card: what is recorded is gathered in memory and written now and then.
    /// What was gathered is lost at a power cut, and when the daemon is killed.
    pub low_wear: bool,
    /// Time between two writes when the disk is spared.
    #[schemars(range(min = 1, max = 50))]
    pub low_wear_flush_minutes: u32,
    /// MiB that may be written a day when the disk is spared. When more would be, fewer ticks are recorded, and health says so.
    #[schemars(range(min = 1, max = 1_048_576))]
    pub low_wear_mib_per_day: u32,
}

impl Default for History {
    fn default() -> Self {
        Self {
            enabled: true,
            interval_seconds: 5,
            raw_days: 7,
            rollup_days: 365,
            size_max_mib: 512,
            low_wear: false,
            low_wear_flush_minutes: 30,
            low_wear_mib_per_day: 32,
        }
    }
}

impl History {
    /// What is kept.
    #[must_use]
    pub fn keep(&self) -> Keep {
        Keep {
            raw_days: self.raw_days,
            rollup_days: self.rollup_days,
            bytes_max: u64::from(self.size_max_mib) << 20,
        }
    }

    /// How the disk is spared, if it is.
    #[must_use]
    pub fn low_wear(&self) -> Option<LowWear> {
        self.low_wear.then(|| LowWear {
            flush: Duration::from_secs(60 * u64::from(self.low_wear_flush_minutes)),
            bytes_per_day: u64::from(self.low_wear_mib_per_day) << 20,
        })
    }
}
