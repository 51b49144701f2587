//! Where leased work runs, so that what it uses can be told apart from what others use. Holders say where; `app` writes it here, the
//! collector of leased work and the fast look read it. It measures nothing itself.

use std::collections::BTreeMap;
use std::fmt;
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
#[derive(Default)]
pub struct LeasedWork {
    works: Mutex<Works>,
    /// What tells the processor time of leased jobs in the sandbox.
    guests: Mutex<BTreeMap<u64, GuestCpu>>,
}

/// The works by the numbers of their leases, and how often they changed.
#[derive(Debug, Default)]
struct Works {
    of: BTreeMap<u64, Arc<Work>>,
    version: u64,
}

/// Tells the processor time that a job in the sandbox has used so far.
pub type GuestCpu = Arc<dyn Fn() -> Duration + Send + Sync>;

impl fmt::Debug for LeasedWork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LeasedWork").field("works", &self.works()).finish_non_exhaustive()
    }
}

impl LeasedWork {
    /// No work yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn works(&self) -> MutexGuard<'_, Works> {
        self.works.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The work of the lease with this number runs there. Beyond some dozens of leases the later ones are not told apart.
    pub fn set(&self, lease: u64, work: Work) {
        let mut works = self.works();
        let known = works.of.get(&lease).map(Arc::as_ref);
        if known != Some(&work) && (known.is_some() || works.of.len() < WORKS_MAX) {
            works.of.insert(lease, Arc::new(work));
            works.version += 1;
        }
    }

    /// Keeps the work of these leases only.
    pub fn retain(&self, mut held: impl FnMut(u64) -> bool) {
        let mut works = self.works();
        let before = works.of.len();
        works.of.retain(|lease, _| held(*lease));
        works.version += u64::from(works.of.len() != before);
        drop(works);
        self.guests().retain(|lease, _| held(*lease));
    }

    /// The work of each lease, by number.
    #[must_use]
    pub fn list(&self) -> Vec<Arc<Work>> {
        self.works().of.values().map(Arc::clone).collect()
    }

    /// The same with its version, unless that is the one `seen`: ten looks a second should not copy what hardly ever changes.
    pub(crate) fn newer(&self, seen: Option<u64>) -> Option<(u64, Vec<Arc<Work>>)> {
        let works = self.works();
        let all = || works.of.values().map(Arc::clone).collect();
        (seen != Some(works.version)).then(|| (works.version, all()))
    }

    fn guests(&self) -> MutexGuard<'_, BTreeMap<u64, GuestCpu>> {
        self.guests.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The work of the lease with this number runs in the sandbox. As for [`set`](Self::set), there is a bound.
    pub fn meter(&self, lease: u64, cpu: GuestCpu) {
        let mut guests = self.guests();
        if guests.len() < WORKS_MAX || guests.contains_key(&lease) {
            guests.insert(lease, cpu);
        }
    }

    /// Processor time of the jobs that run in the sandbox now, in microseconds. Falls when one ends.
    pub(crate) fn guest_cpu_micros(&self) -> u64 {
        let all: Duration = self.guests().values().map(|cpu| cpu()).sum();
        u64::try_from(all.as_micros()).unwrap_or(u64::MAX)
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

    #[test]
    fn a_list_is_made_only_when_it_changed() {
        let board = LeasedWork::new();
        let (first, empty) = board.newer(None).unwrap();
        assert!(empty.is_empty() && board.newer(Some(first)).is_none());
        board.set(1, Work { pid: 7, cgroup: None });
        let (second, works) = board.newer(Some(first)).unwrap();
        assert_eq!(works.len(), 1);
        board.set(1, Work { pid: 7, cgroup: None });
        board.retain(|_| true);
        assert!(board.newer(Some(second)).is_none());
        board.retain(|_| false);
        assert!(board.newer(Some(second)).is_some_and(|(_, works)| works.is_empty()));
    }

    #[test]
    fn jobs_in_the_sandbox_tell_their_time_while_they_hold_a_lease() {
        let board = LeasedWork::new();
        board.meter(1, Arc::new(|| Duration::from_millis(5)));
        board.meter(2, Arc::new(|| Duration::from_millis(7)));
        assert_eq!(board.guest_cpu_micros(), 12_000);
        board.retain(|lease| lease == 2);
        assert_eq!(board.guest_cpu_micros(), 7_000);
    }
}
