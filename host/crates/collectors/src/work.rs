//! Where leased work runs, so that what it uses can be told apart from what others use. Holders say where; `app` writes it here, the
//! collector of leased work and the fast look read it. It measures nothing itself.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Leases whose work is told apart. Each costs a few reads at every look; that many never run at once on one machine, and those beyond
/// count as load of others, which errs on the safe side.
const WORKS_MAX: usize = 64;

/// Where the work of one lease runs.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Work {
    /// The process whose descendants do the work: the guard of `lowtide run`. It does none itself.
    pub pid: u32,
    /// The control group that holds the work and nothing else: a path within the version 2 tree, as in /proc/PID/cgroup.
    pub cgroup: Option<String>,
}

/// All leased work. Shared by who is told of it and who measures it.
#[derive(Debug, Default)]
pub struct LeasedWork {
    works: Mutex<BTreeMap<u64, Arc<Work>>>,
    /// Processor time that leased jobs in the sandbox have used, in nanoseconds; it only grows.
    guest_cpu_nanos: AtomicU64,
}

impl LeasedWork {
    /// No work yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn works(&self) -> MutexGuard<'_, BTreeMap<u64, Arc<Work>>> {
        self.works.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The work of the lease with this number runs there. Of more than [`WORKS_MAX`] leases the later ones are not told apart.
    pub fn set(&self, lease: u64, work: Work) {
        let mut works = self.works();
        let known = works.get(&lease).map(Arc::as_ref);
        if known != Some(&work) && (known.is_some() || works.len() < WORKS_MAX) {
            works.insert(lease, Arc::new(work));
        }
    }

    /// Keeps the work of these leases only.
    pub fn retain(&self, mut held: impl FnMut(u64) -> bool) {
        self.works().retain(|lease, _| held(*lease));
    }

    /// The work of each lease, by number.
    #[must_use]
    pub fn list(&self) -> Vec<Arc<Work>> {
        self.works().values().map(Arc::clone).collect()
    }

    /// Notes the processor time that leased jobs in the sandbox have used since the daemon's start.
    pub fn note_guest_cpu(&self, used: Duration) {
        let nanos = u64::try_from(used.as_nanos()).unwrap_or(u64::MAX);
        self.guest_cpu_nanos.fetch_max(nanos, Ordering::Relaxed);
    }

    /// What [`note_guest_cpu`](Self::note_guest_cpu) was told last, in microseconds.
    pub(crate) fn guest_cpu_micros(&self) -> u64 {
        self.guest_cpu_nanos.load(Ordering::Relaxed) / 1_000
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_so_many_are_kept_and_those_that_are_over_make_room() {
        let board = LeasedWork::new();
        let work = |pid| Work { pid, cgroup: None };
        for lease in 0..100 {
            board.set(lease, work(7));
        }
        assert_eq!(board.list().len(), WORKS_MAX);
        board.set(3, work(8));
        assert_eq!(board.list().iter().filter(|work| work.pid == 8).count(), 1);
        board.retain(|lease| lease == 3);
        board.set(99, work(9));
        let pids: Vec<u32> = board.list().iter().map(|work| work.pid).collect();
        assert_eq!(pids, [8, 9]);
    }
}
