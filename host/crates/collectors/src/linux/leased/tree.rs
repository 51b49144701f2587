//! What the descendants of one process use, where leased work has no control group of its own (proc_pid_stat(5), proc_pid_io(5)).

use super::Used;
use crate::linux::text::Fields;
use crate::linux::usage::{self, Bytes};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Processes of one lease that are looked at. More are a storm, and count as load of others in part.
const PROCESSES_MAX: usize = 512;

/// The word in a process's command line by which it says that its descendants are leased work.
const GUARD: &[u8] = b"run-guard";

/// Bytes of a command line that are read: the word stands at its front.
const COMMAND_BYTES: usize = 512;

/// The descendants of one guard.
#[derive(Debug)]
pub(super) struct Tree {
    proc_dir: PathBuf,
    guard: u32,
    micros_per_tick: u64,
}

impl Tree {
    /// `None` when the process says nothing of leased work: a recycled number, or a mistake.
    pub(super) fn new(proc_dir: &Path, guard: u32) -> Option<Self> {
        let mut command = fs::read(proc_dir.join(format!("{guard}/cmdline"))).ok()?;
        command.truncate(COMMAND_BYTES);
        let says = command.split(|byte| *byte == 0).any(|word| word == GUARD);
        let micros_per_tick = 1_000_000 / rustix::param::clock_ticks_per_second().max(1);
        says.then(|| Self { proc_dir: proc_dir.to_owned(), guard, micros_per_tick })
    }

    /// Every descendant of the guard, by way of /proc/PID/task/TID/children; the guard is the first.
    pub(super) fn pids(&self) -> Vec<u32> {
        let mut pids = vec![self.guard];
        let mut at = 0;
        while let Some(pid) = pids.get(at).copied() {
            at += 1;
            let Ok(tasks) = fs::read_dir(self.proc_dir.join(format!("{pid}/task"))) else { continue };
            for task in tasks.flatten() {
                let children = fs::read(task.path().join("children")).unwrap_or_default();
                let mut fields = Fields(&children);
                while let Some(child) = fields.number().and_then(|child| u32::try_from(child).ok()) {
                    if pids.len() >= PROCESSES_MAX {
                        return pids;
                    }
                    pids.push(child);
                }
            }
        }
        pids
    }

    /// Processor time; `None` when the guard is gone.
    pub(super) fn quick(&self) -> Option<Used> {
        self.sum(&self.pids())
    }

    /// The same with memory and I/O as far as they may be read.
    pub(super) fn whole(&self) -> Option<Used> {
        let pids = self.pids();
        let work = pids.get(1..).unwrap_or_default();
        let (io_bytes, memory_bytes) = (io_of(&self.proc_dir, work), memory_of(&self.proc_dir, work));
        Some(Used { io_bytes, memory_bytes, ..self.sum(&pids)? })
    }

    fn sum(&self, pids: &[u32]) -> Option<Used> {
        let micros = |ticks: u64| ticks.saturating_mul(self.micros_per_tick);
        let mut used = Used::default();
        for pid in pids {
            let is_guard = *pid == self.guard;
            let Some(bytes) = read(&self.proc_dir, *pid, "stat") else {
                // Work that ended counts with who waited for it. Without the guard nothing is known any more.
                if is_guard {
                    return None;
                }
                continue;
            };
            let Ok(stat) = usage::parse_stat(&bytes) else { continue };
            // The guard's own time is not the work's; that of the children it has waited for is.
            let (user, all) = if is_guard { (0, 0) } else { (stat.user_ticks, stat.cpu_ticks()) };
            let user = user.saturating_add(stat.children_user_ticks);
            let all = all.saturating_add(stat.children_user_ticks).saturating_add(stat.children_system_ticks);
            used.cpu_micros = used.cpu_micros.saturating_add(micros(all));
            if stat.is_niced || is_guard {
                used.nice_micros = used.nice_micros.saturating_add(micros(user));
            }
            used.runnable += u64::from(stat.runs && !is_guard);
        }
        Some(used)
    }
}

fn read(proc_dir: &Path, pid: u32, name: &str) -> Option<Vec<u8>> {
    fs::read(proc_dir.join(format!("{pid}/{name}"))).ok()
}

/// Whether a process descends from one of these.
pub(super) fn descends(proc_dir: &Path, pid: u32, from: &BTreeSet<u32>) -> bool {
    let parent = |pid: u32| {
        let bytes = read(proc_dir, pid, "stat")?;
        u32::try_from(usage::parse_stat(&bytes).ok()?.parent).ok().filter(|parent| *parent != 0)
    };
    let mut ancestors = std::iter::successors(parent(pid), |pid| parent(*pid));
    // A circle cannot be, but a number may pass to another process while we look.
    ancestors.by_ref().take(PROCESSES_MAX).any(|ancestor| from.contains(&ancestor))
}

/// Bytes that these processes read and wrote on disks; `None` when that may not be read of any.
pub(super) fn io_of(proc_dir: &Path, pids: &[u32]) -> Option<u64> {
    let one = |pid: &u32| {
        let bytes = read(proc_dir, *pid, "io")?;
        usage::parse_io(&bytes).ok().map(Bytes::total)
    };
    sum_of(pids.iter().map(one))
}

/// Memory of these processes that is in RAM, in bytes.
pub(super) fn memory_of(proc_dir: &Path, pids: &[u32]) -> Option<u64> {
    let page = rustix::param::page_size() as u64;
    // What they share with each other counts once for each: an upper bound.
    let one = |pid: &u32| {
        let bytes = read(proc_dir, *pid, "stat")?;
        usage::parse_stat(&bytes).ok().map(|stat| stat.resident_pages.saturating_mul(page))
    };
    sum_of(pids.iter().map(one))
}

/// The sum of what is known; `None` when there are some and nothing is known of any.
fn sum_of(mut all: impl Iterator<Item = Option<u64>>) -> Option<u64> {
    let Some(first) = all.next() else { return Some(0) };
    all.fold(first, |sum, one| match (sum, one) {
        (Some(sum), Some(one)) => Some(sum.saturating_add(one)),
        (sum, one) => sum.or(one),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A made-up process: its state, times, and children.
    fn process(proc_dir: &Path, pid: u32, ticks: [u64; 4], children: &str) {
        let folder = proc_dir.join(pid.to_string());
        fs::create_dir_all(folder.join(format!("task/{pid}"))).unwrap();
        let [a, b, c, d] = ticks;
        let stat = format!("{pid} (work) R 1 {pid} 1 0 -1 0 0 0 0 0 {a} {b} {c} {d} 39 19 1 0 5 0 2\n");
        fs::write(folder.join("stat"), stat).unwrap();
        fs::write(folder.join(format!("task/{pid}/children")), children).unwrap();
        fs::write(folder.join("io"), "rchar: 9\nread_bytes: 100\nwrite_bytes: 11\n").unwrap();
        fs::write(folder.join("cmdline"), b"lowtide\0run-guard\0").unwrap();
    }

    #[test]
    fn descendants_count_and_the_guard_does_not() {
        let dir = tempfile::tempdir().unwrap();
        process(dir.path(), 10, [500, 500, 7, 3], "11 12 ");
        process(dir.path(), 11, [20, 10, 0, 0], "13 ");
        process(dir.path(), 12, [1, 0, 0, 0], "");
        process(dir.path(), 13, [100, 0, 40, 0], "");
        let tree = Tree::new(dir.path(), 10).unwrap();
        assert_eq!(tree.pids(), [10, 11, 12, 13]);
        let used = tree.whole().unwrap();
        let tick = tree.micros_per_tick;
        assert_eq!((used.cpu_micros, used.nice_micros), (181 * tick, 168 * tick));
        assert_eq!((used.runnable, used.io_bytes), (3, Some(333)));
        assert_eq!(used.memory_bytes, Some(6 * rustix::param::page_size() as u64));
        fs::remove_dir_all(dir.path().join("12")).unwrap();
        assert_eq!(tree.quick().unwrap().cpu_micros, 180 * tick);
        fs::remove_dir_all(dir.path().join("10")).unwrap();
        assert_eq!(tree.quick(), None);
    }

    #[test]
    fn descendants_are_known_by_their_parents() {
        let dir = tempfile::tempdir().unwrap();
        for (pid, parent) in [(10, 1), (11, 10), (12, 11), (20, 1)] {
            fs::create_dir_all(dir.path().join(pid.to_string())).unwrap();
            let stat = format!("{pid} (x) S {parent} 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 5 0 2\n");
            fs::write(dir.path().join(format!("{pid}/stat")), stat).unwrap();
        }
        let descends = |pid, from: &[u32]| descends(dir.path(), pid, &from.iter().copied().collect());
        assert!(descends(12, &[10]) && descends(12, &[11, 20]) && descends(11, &[10]));
        assert!(!descends(10, &[10]) && !descends(20, &[10]) && !descends(99, &[10]));
    }

    #[test]
    fn a_process_that_is_no_guard_is_not_taken_for_one() {
        let dir = tempfile::tempdir().unwrap();
        process(dir.path(), 10, [0; 4], "");
        fs::write(dir.path().join("10/cmdline"), b"vim\0xrun-guard\0").unwrap();
        assert!(Tree::new(dir.path(), 10).is_none());
        assert!(Tree::new(dir.path(), 99).is_none());
    }
}
