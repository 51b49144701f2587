//! The `[leases]` section: the scheduler's numbers as an operator writes them.

use lowtide_core::lease::Policy;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// The `[leases]` section.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Leases {
    /// Units that may be held at once on an idle machine. A request asks for 1 to 100 of them.
    #[schemars(range(min = 1, max = 10_000_000))]
    pub capacity_units: u32,
    /// Share of CPU or disk that may be in use before capacity shrinks; at 1 above it nothing is left.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub headroom_ratio: f64,
    /// Leases at once.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub leases_max: u32,
    /// Leases of one holder at once.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub leases_per_holder_max: u32,
    /// Requests that wait, in all.
    #[schemars(range(min = 0, max = 1_000_000))]
    pub queue_max: u32,
    /// Requests of one holder that wait.
    #[schemars(range(min = 0, max = 1_000_000))]
    pub queue_per_holder_max: u32,
    /// How long a lease lives without a heartbeat. Holders are told to heartbeat three times in it.
    #[schemars(range(min = 1, max = 3600))]
    pub ttl_seconds: u32,
    /// How long nothing starts after PANIC.
    #[schemars(range(min = 0, max = 86400))]
    pub cool_down_seconds: u32,
    /// Requests of one holder per second, on average; more are refused with 429.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub requests_per_second: u32,
    /// Requests of one holder in a burst.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub requests_burst: u32,
    /// How long a request that finds no room is overtaken by smaller ones. Then what becomes free is kept for it.
    #[schemars(range(min = 0, max = 86400))]
    pub reserve_after_seconds: u32,
    /// By when a request that waits without a deadline of its own has ended, quiet or not.
    #[schemars(range(min = 1, max = 720))]
    pub deadline_default_hours: u32,
    /// How long the host must be BUSY before work that runs is asked to stand still or to shrink. PANIC acts at once, and work that can be
    /// reached at once and may stand still (`lowtide run`, jobs of addons) gives way at once.
    #[schemars(range(min = 0, max = 86400))]
    pub busy_after_seconds: u32,
    /// How long a lease is left alone after it was granted, PANIC excepted.
    #[schemars(range(min = 0, max = 86400))]
    pub settle_seconds: u32,
    /// Fast looks at the machine a second while work runs that can be stopped at once, as under `lowtide run`; 0: only the tick decides. Each
    /// costs some 0.1 ms. Needs a restart.
    #[schemars(range(min = 0, max = 20), extend("x-reload" = false))]
    pub looks_per_second: u32,
    /// How long the machine must have been left alone before work that gave way on a look goes on. Doubles, up to a minute, while it has to
    /// give way again and again.
    #[schemars(range(min = 1, max = 3600))]
    pub resume_after_seconds: u32,
    /// How long a holder has to let go of what is revoked.
    #[schemars(range(min = 0, max = 3600))]
    pub revoke_grace_seconds: u32,
    /// Longest time that a lease is held; then it is revoked.
    #[schemars(range(min = 1, max = 720))]
    pub hold_max_hours: u32,
    /// Events of the audit log that are kept. A lease makes two or three, each takes half a kilobyte. Needs a restart.
    #[schemars(range(min = 1000, max = 100_000_000), extend("x-reload" = false))]
    pub events_kept: u32,
}

impl Default for Leases {
    fn default() -> Self {
        Self {
            capacity_units: 100,
            headroom_ratio: 0.25,
            leases_max: 16,
            leases_per_holder_max: 4,
            queue_max: 1_000,
            queue_per_holder_max: 100,
            ttl_seconds: 30,
            cool_down_seconds: 60,
            requests_per_second: 5,
            requests_burst: 20,
            reserve_after_seconds: 600,
            deadline_default_hours: 7 * 24,
            busy_after_seconds: 120,
            settle_seconds: 90,
            looks_per_second: 10,
            resume_after_seconds: 5,
            revoke_grace_seconds: 60,
            hold_max_hours: 24,
            events_kept: 100_000,
        }
    }
}

impl Leases {
    /// Time between two fast looks, if there are any.
    #[must_use]
    pub fn look_every(&self) -> Option<Duration> {
        (self.looks_per_second > 0).then(|| Duration::from_secs(1) / self.looks_per_second)
    }

    /// As the scheduler takes them, with a tick of this length: what it knows counts for three ticks.
    #[must_use]
    pub fn to_core(&self, tick: Duration) -> Policy {
        let seconds = |seconds: u32| Duration::from_secs(seconds.into());
        let hours = |hours: u32| Duration::from_secs(3_600 * u64::from(hours));
        let size = |size: u32| usize::try_from(size).unwrap_or(usize::MAX);
        let three_ticks = tick * lowtide_core::limits::STALE_AFTER_INTERVALS;
        Policy {
            capacity_units: self.capacity_units,
            headroom_ratio: self.headroom_ratio,
            leases_max: size(self.leases_max),
            leases_per_holder_max: size(self.leases_per_holder_max),
            queue_max: size(self.queue_max),
            queue_per_holder_max: size(self.queue_per_holder_max),
            ttl: seconds(self.ttl_seconds),
            cool_down: seconds(self.cool_down_seconds),
            requests_per_second: self.requests_per_second,
            requests_burst: self.requests_burst,
            reserve_after: seconds(self.reserve_after_seconds),
            deadline_default: hours(self.deadline_default_hours),
            busy_after: seconds(self.busy_after_seconds),
            settle: seconds(self.settle_seconds),
            resume_after: seconds(self.resume_after_seconds),
            revoke_grace: seconds(self.revoke_grace_seconds),
            hold_max: hours(self.hold_max_hours),
            conditions_last: three_ticks,
            stall: three_ticks,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_those_of_the_scheduler() {
        let policy = Leases::default().to_core(Duration::from_secs(2));
        assert_eq!(policy, Policy::default());
    }
}
