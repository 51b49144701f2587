//! What the descendants of one process use, where leased work has no control group of its own (proc_pid_stat(5), proc_pid_io(5)).

use super::Used;
use crate::linux::text::{self, Fields};
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

/// What is read from /proc/PID/stat.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Stat {
    /// User, system, and the same of children that were waited for, in clock ticks.
    ticks: [u64; 4],
    niced: bool,
    runs: bool,
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

    fn stat(&self, pid: u32) -> Option<Stat> {
        parse_stat(&fs::read(self.proc_dir.join(format!("{pid}/stat"))).ok()?).ok()
    }

    /// Processor time; `None` when the guard is gone.
    pub(super) fn quick(&self) -> Option<Used> {
        self.stat(self.guard)?;
        Some(self.sum(&self.pids()))
    }

    /// The same with memory and I/O as far as they may be read.
    pub(super) fn whole(&self) -> Option<Used> {
        self.stat(self.guard)?;
        let pids = self.pids();
        let work = pids.get(1..).unwrap_or_default();
        let (io_bytes, memory_bytes) = (io_of(&self.proc_dir, work), memory_of(&self.proc_dir, work));
        Some(Used { io_bytes, memory_bytes, ..self.sum(&pids) })
    }

    fn sum(&self, pids: &[u32]) -> Used {
        let mut used = Used::default();
        for pid in pids {
            let Some(stat) = self.stat(*pid) else { continue };
            let [user, system, of_children_user, of_children_system] = stat.ticks;
            // The guard's own time is not the work's; that of the children it has waited for is.
            let (own_user, own_system) = if *pid == self.guard { (0, 0) } else { (user, system) };
            let all = [own_system, of_children_user, of_children_system]
                .into_iter()
                .fold(own_user, u64::saturating_add);
            used.cpu_micros = used.cpu_micros.saturating_add(all.saturating_mul(self.micros_per_tick));
            let niced =
                if stat.niced || *pid == self.guard { own_user.saturating_add(of_children_user) } else { 0 };
            used.nice_micros = used.nice_micros.saturating_add(niced.saturating_mul(self.micros_per_tick));
            used.runnable += u64::from(stat.runs && *pid != self.guard);
        }
        used
    }
}

/// Bytes that these processes read and wrote on disks; `None` when that may not be read of any.
pub(super) fn io_of(proc_dir: &Path, pids: &[u32]) -> Option<u64> {
    let one = |pid: &u32| {
        let bytes = fs::read(proc_dir.join(format!("{pid}/io"))).ok()?;
        let number = |line: &[u8]| {
            let number = line.strip_prefix(b"read_bytes: ").or_else(|| line.strip_prefix(b"write_bytes: "));
            number.and_then(|number| Fields(number).number())
        };
        Some(bytes.split(|byte| *byte == b'\n').filter_map(number).fold(0, u64::saturating_add))
    };
    let known: Vec<u64> = pids.iter().filter_map(one).collect();
    (!known.is_empty() || pids.is_empty()).then(|| known.into_iter().fold(0, u64::saturating_add))
}

/// Memory of these processes that is in RAM, in bytes.
pub(super) fn memory_of(proc_dir: &Path, pids: &[u32]) -> Option<u64> {
    let page = rustix::param::page_size() as u64;
    let one = |pid: &u32| {
        let bytes = fs::read(proc_dir.join(format!("{pid}/statm"))).ok()?;
        let mut fields = Fields(&bytes);
        fields.number()?;
        // What they share with each other counts once for each: an upper bound.
        fields.number().map(|pages| pages.saturating_mul(page))
    };
    let known: Vec<u64> = pids.iter().filter_map(one).collect();
    (!known.is_empty() || pids.is_empty()).then(|| known.into_iter().fold(0, u64::saturating_add))
}

/// Parses /proc/PID/stat. The name in parentheses may hold anything: the last one counts.
pub(crate) fn parse_stat(bytes: &[u8]) -> Result<Stat, &'static str> {
    let line = text::lines(bytes)?.next().unwrap_or_default();
    let name_end = line.iter().rposition(|byte| *byte == b')').ok_or("a name in parentheses")?;
    let mut fields = Fields(line.get(name_end + 1..).unwrap_or_default());
    let runs = matches!(fields.word(), Some(b"R" | b"D"));
    // Fields 4 to 13 of proc_pid_stat(5).
    if !(0..10).all(|_| fields.word().is_some()) {
        return Err("fields before utime");
    }
    let mut ticks = [0; 4];
    for ticks in &mut ticks {
        // The times of children are signed in the kernel's format, and never negative.
        *ticks = fields.number().ok_or("processor times")?;
    }
    fields.word().ok_or("priority")?;
    let nice = fields.word().ok_or("nice")?;
    Ok(Stat { ticks, niced: !nice.starts_with(b"-") && nice != b"0", runs })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_hold_anything() {
        let text = b"7 (a ) R (b) D 1 7 7 0 -1 4194304 9 0 0 0 11 22 33 44 39 19 3 0 100 0 0\n";
        assert_eq!(parse_stat(text), Ok(Stat { ticks: [11, 22, 33, 44], niced: true, runs: true }));
        let text = b"7 (a) S 1 7 7 0 -1 4194304 9 0 0 0 11 22 33 44 20 -5 3 0 100 0 0\n";
        assert_eq!(parse_stat(text), Ok(Stat { ticks: [11, 22, 33, 44], niced: false, runs: false }));
        assert!(parse_stat(b"7 (a) S 1 7\n").is_err());
        assert!(parse_stat(b"").is_err());
    }

    /// A made-up process: its state, times, and children.
    fn process(proc_dir: &Path, pid: u32, ticks: [u64; 4], children: &str) {
        let folder = proc_dir.join(pid.to_string());
        fs::create_dir_all(folder.join(format!("task/{pid}"))).unwrap();
        let [a, b, c, d] = ticks;
        let stat = format!("{pid} (work) R 1 {pid} 1 0 -1 0 0 0 0 0 {a} {b} {c} {d} 39 19 1 0 5 0 0\n");
        fs::write(folder.join("stat"), stat).unwrap();
        fs::write(folder.join(format!("task/{pid}/children")), children).unwrap();
        fs::write(folder.join("io"), "rchar: 9\nread_bytes: 100\nwrite_bytes: 11\n").unwrap();
        fs::write(folder.join("statm"), "900 2 1 1 0 1 0\n").unwrap();
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
    fn a_process_that_is_no_guard_is_not_taken_for_one() {
        let dir = tempfile::tempdir().unwrap();
        process(dir.path(), 10, [0; 4], "");
        fs::write(dir.path().join("10/cmdline"), b"vim\0xrun-guard\0").unwrap();
        assert!(Tree::new(dir.path(), 10).is_none());
        assert!(Tree::new(dir.path(), 99).is_none());
    }
}
