//! What the scheduler's decisions depend on besides requests and the host: numbers with their reasons, set by the operator.

use std::time::Duration;

/// The operator's numbers. docs/adr/011-leases.md tells where each default comes from.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    /// Units that may be held at once while the host is idle. A request for more is refused for good.
    pub capacity_units: u32,
    /// Share of the busiest resource, 0 to 1, that others may use before capacity shrinks.
    pub headroom_ratio: f64,
    /// Leases at once.
    pub leases_max: usize,
    /// Leases of one holder at once.
    pub leases_per_holder_max: usize,
    /// Requests that wait, in all.
    pub queue_max: usize,
    /// Requests of one holder that wait.
    pub queue_per_holder_max: usize,
    /// How long a lease lives without a heartbeat.
    pub ttl: Duration,
    /// How long nothing is granted after PANIC has ended.
    pub cool_down: Duration,
    /// Requests of one holder per second, on average.
    pub requests_per_second: u32,
    /// Requests of one holder at once.
    pub requests_burst: u32,
    /// How long a request that is too large for what is free is overtaken by smaller ones. After that nothing is granted before it.
    pub reserve_after: Duration,
    /// By when a request that waits without a deadline of its own has ended, quiet or not.
    pub deadline_default: Duration,
    /// How long the host must have been BUSY before held leases are asked to shrink or to stand still.
    pub busy_after: Duration,
    /// How long a lease is left alone after its grant, PANIC excepted.
    pub settle: Duration,
    /// How long the host must have been left alone before work that gave way goes on. Grows while it has to give way again and again.
    pub resume_after: Duration,
    /// How long a holder has to give back what is revoked, unless the one who revokes says otherwise.
    pub revoke_grace: Duration,
    /// Longest time that a lease is held; then it is revoked.
    pub hold_max: Duration,
    /// Age at which what is known of the host no longer counts.
    pub conditions_last: Duration,
    /// Time between two steps after which the daemon itself has stood still.
    pub stall: Duration,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            capacity_units: 100,
            headroom_ratio: 0.25,
            leases_max: 16,
            leases_per_holder_max: 4,
            queue_max: 1_000,
            queue_per_holder_max: 100,
            ttl: Duration::from_secs(30),
            cool_down: Duration::from_secs(60),
            requests_per_second: 5,
            requests_burst: 20,
            reserve_after: Duration::from_secs(10 * 60),
            deadline_default: Duration::from_secs(7 * 86_400),
            busy_after: Duration::from_secs(120),
            settle: Duration::from_secs(90),
            resume_after: Duration::from_secs(5),
            revoke_grace: Duration::from_secs(60),
            hold_max: Duration::from_secs(24 * 3_600),
            conditions_last: Duration::from_secs(6),
            stall: Duration::from_secs(6),
        }
    }
}

impl Policy {
    /// How often a holder should be heard: three heartbeats fit into the time to live, so that two may be lost.
    #[must_use]
    pub fn heartbeat_interval(&self) -> Duration {
        self.ttl / 3
    }
}
