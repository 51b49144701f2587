//! The processes below a guard: finding them, stopping and continuing them. For machines on which no control group can be made. A process
//! is only ever signalled after its start time was looked at again, so that one that got a used id is never hit.

use rustix::io::Errno;
use rustix::process::{self, Pid, PidfdFlags, Signal};
use std::collections::HashSet;
use std::fs;
use std::io;

/// How often the tree is gone through, at most, until nothing new is found. One that starts processes faster than that is stopped in part;
/// the next order finds more of it.
const PASSES_MAX: u32 = 64;

/// Passes in a row that must find nothing: the kernel may leave one out of its list of children while that changes (proc(5)).
const CLEAN_PASSES: u32 = 2;

/// Processes below one root that are looked at.
const PROCESSES_MAX: usize = 32_768;

/// One process, as the kernel tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Process {
    pub(crate) pid: i32,
    pub(crate) parent: i32,
    pub(crate) group: i32,
    /// When it started, in ticks since boot: with the id, its name for all time.
    pub(crate) start: u64,
    state: char,
    threads: u64,
}

impl Process {
    pub(crate) fn stopped(&self) -> bool {
        self.state == 'T'
    }

    /// It ended and waits to be reaped. A leader that ended before its other threads does not count.
    pub(crate) fn over(&self) -> bool {
        matches!(self.state, 'Z' | 'X') && self.threads <= 1
    }
}

/// Reads a process; `None` when there is none.
pub(crate) fn look(pid: i32) -> Option<Process> {
    parse(pid, &fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

fn parse(pid: i32, stat: &str) -> Option<Process> {
    // The name stands in parentheses and may hold anything, also parentheses.
    let (_, rest) = stat.rsplit_once(')')?;
    let words: Vec<&str> = rest.split_ascii_whitespace().collect();
    let number = |field: usize| words.get(field - 3)?.parse::<u64>().ok();
    let signed = |field: usize| words.get(field - 3)?.parse::<i32>().ok();
    Some(Process {
        pid,
        parent: signed(4)?,
        group: signed(5)?,
        start: number(22)?,
        state: words.first()?.chars().next()?,
        threads: number(20)?,
    })
}

/// Processor ticks of all children that a process has waited for.
pub(crate) fn ticks_of_children(pid: i32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, rest) = stat.rsplit_once(')')?;
    let words: Vec<&str> = rest.split_ascii_whitespace().collect();
    let number = |field: usize| words.get(field - 3)?.parse::<u64>().ok();
    Some(number(16)? + number(17)?)
}

/// The children of a process.
pub(crate) fn children(pid: i32) -> Vec<i32> {
    let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else { return Vec::new() };
    let mut found = Vec::new();
    for task in tasks.flatten() {
        match fs::read_to_string(task.path().join("children")) {
            Ok(line) => found.extend(line.split_ascii_whitespace().filter_map(|pid| pid.parse::<i32>().ok())),
            // A kernel without these lists, or a thread that has just ended: the slower way knows both.
            Err(_) => return by_parent(pid),
        }
    }
    found
}

fn by_parent(parent: i32) -> Vec<i32> {
    all().into_iter().filter(|process| process.parent == parent).map(|process| process.pid).collect()
}

fn all() -> Vec<Process> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter_map(look).collect()
}

/// Whether anybody else is in a group of processes.
pub(crate) fn shares_group(pid: i32, group: i32) -> bool {
    all().iter().any(|process| process.group == group && process.pid != pid && !process.over())
}

/// All processes below these, without them.
pub(crate) fn below(roots: &[i32]) -> Vec<Process> {
    let mut seen: HashSet<i32> = roots.iter().copied().collect();
    let mut found = Vec::new();
    let mut open: Vec<i32> = roots.to_vec();
    while let Some(parent) = open.pop() {
        for child in children(parent) {
            if found.len() < PROCESSES_MAX && seen.insert(child) {
                found.extend(look(child));
                open.push(child);
            }
        }
    }
    found
}

/// A process by its id and start.
pub(crate) type Known = (i32, u64);

/// Signals one process, if it is still the one that was meant.
///
/// # Errors
/// When the signal is refused; that it is gone is none.
pub(crate) fn signal((pid, start): Known, signal: Signal) -> io::Result<()> {
    let Some(id) = Pid::from_raw(pid) else { return Ok(()) };
    let is_the_one = || look(pid).is_some_and(|process| process.start == start);
    let sent = match process::pidfd_open(id, PidfdFlags::empty()) {
        // From here on the file stands for one process; what is left is whether that is the right one.
        Ok(file) if is_the_one() => process::pidfd_send_signal(&file, signal),
        Err(Errno::NOSYS) if is_the_one() => process::kill_process(id, signal),
        Ok(_) | Err(Errno::NOSYS | Errno::SRCH) => return Ok(()),
        Err(error) => Err(error),
    };
    match sent {
        Ok(()) | Err(Errno::SRCH) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Stops all that runs below the roots, and adds what it stopped to `stopped`. What stood still before is left alone. `skip` are not
/// touched, but what is below them is. False when it must be called again a little later: a process stops when it next gets the processor,
/// and one that was in the middle of fork(2) then leaves a child behind that nobody has signalled.
pub(crate) fn stop(roots: &[i32], skip: &[i32], stopped: &mut Vec<Known>) -> bool {
    let mut known: HashSet<Known> = stopped.iter().copied().collect();
    let mut clean = 0;
    let mut still = false;
    for _ in 0..PASSES_MAX {
        let mut new = false;
        still = true;
        for process in below(roots) {
            let name = (process.pid, process.start);
            if process.stopped() || process.over() || skip.contains(&process.pid) {
                continue;
            }
            still = false;
            if known.insert(name) {
                // Before the signal: whoever continues them must not miss one.
                stopped.push(name);
                new |= signal(name, Signal::STOP).is_ok();
            }
        }
        clean = if new { 0 } else { clean + 1 };
        if clean == CLEAN_PASSES {
            break;
        }
    }
    still
}

/// Continues those.
pub(crate) fn go_on(stopped: &mut Vec<Known>) {
    for name in stopped.drain(..) {
        // One that may not be signalled (it changed its user) could not be stopped either.
        let _ = signal(name, Signal::CONT);
    }
}

/// Continues whatever stands still below the roots, without those in `left`.
pub(crate) fn go_on_below(roots: &[i32], left: &[i32]) {
    for process in below(roots) {
        // Also those that do not stand still yet: a stop may be on its way to them, and this takes it back.
        if !left.contains(&process.pid) && !process.over() {
            let _ = signal((process.pid, process.start), Signal::CONT);
        }
    }
}

/// Sends a signal to all below the roots, without `skip`.
pub(crate) fn signal_below(roots: &[i32], skip: &[i32], what: Signal) {
    for process in below(roots) {
        if !skip.contains(&process.pid) {
            let _ = signal((process.pid, process.start), what);
        }
    }
}

/// Ends all below the roots, also what is started meanwhile.
pub(crate) fn kill_below(roots: &[i32], skip: &[i32]) {
    for _ in 0..PASSES_MAX {
        let found = below(roots);
        let mut live =
            found.iter().filter(|process| !skip.contains(&process.pid) && !process.over()).peekable();
        if live.peek().is_none() {
            break;
        }
        for process in live {
            let _ = signal((process.pid, process.start), Signal::KILL);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_parentheses_confuses_nobody() {
        let stat = "12 (a) R (b)) T 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 1 20 2200 22";
        let process = parse(12, stat).unwrap();
        assert_eq!((process.parent, process.group, process.start), (3, 4, 2_200));
        assert!(process.stopped() && !process.over());
        assert_eq!(parse(12, "12 (a) R 3"), None);
        assert_eq!(parse(12, ""), None);
    }

    #[test]
    fn this_process_is_found_among_the_children_of_its_parent() {
        let own = look(i32::try_from(std::process::id()).unwrap()).unwrap();
        assert!(children(own.parent).contains(&own.pid));
        assert!(by_parent(own.parent).contains(&own.pid));
    }

    #[test]
    fn a_signal_for_another_start_is_not_sent() {
        let own = look(i32::try_from(std::process::id()).unwrap()).unwrap();
        // It would end this test.
        signal((own.pid, own.start + 1), Signal::KILL).unwrap();
        signal((i32::MAX, 1), Signal::KILL).unwrap();
    }
}
