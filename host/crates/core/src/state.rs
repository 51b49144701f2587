//! What a tick publishes: the snapshot, the verdict, and what the daemon says of itself. Readers get it whole, so all parts
//! of one answer come from the same tick.

use crate::quiet::QuietAssessment;
use crate::report::CollectorReport;
use crate::snapshot::Snapshot;

/// The state of the host as of one tick.
#[derive(Clone, Debug)]
pub struct HostState {
    /// What was measured.
    pub snapshot: Snapshot,
    /// What follows from it.
    pub quiet: QuietAssessment,
    /// The daemon's own series, made by the tick itself: `quiet` and `collectors`.
    pub derived: Vec<CollectorReport>,
}

impl HostState {
    /// Every report, measured and derived, in the order of the exposition.
    pub fn reports(&self) -> impl Iterator<Item = &CollectorReport> {
        self.snapshot.collectors.iter().chain(&self.derived)
    }
}
