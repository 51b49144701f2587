//! What the parts need of the machine: clocks, waiting for a moment, priorities, and cgroups. No measurement is made here.

use anyhow::{Context as _, Result};
use rustix::thread::clock_nanosleep_absolute;
use rustix::time::{ClockId, Timespec, clock_gettime};
use std::fs;
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Nanoseconds of `CLOCK_MONOTONIC`, which all processes share.
pub(crate) fn mono_ns() -> u64 {
    nanoseconds(clock_gettime(ClockId::Monotonic))
}

/// Nanoseconds since 1970.
pub(crate) fn wall_ns() -> u64 {
    nanoseconds(clock_gettime(ClockId::Realtime))
}

/// Nanoseconds of CPU that this thread has used.
pub(crate) fn thread_cpu_ns() -> u64 {
    nanoseconds(clock_gettime(ClockId::ThreadCPUTime))
}

fn nanoseconds(time: Timespec) -> u64 {
    u64::try_from(time.tv_sec).unwrap_or_default() * 1_000_000_000
        + u64::try_from(time.tv_nsec).unwrap_or_default()
}

/// Waits until a moment of `CLOCK_MONOTONIC`.
pub(crate) fn wait_until(mono: u64) {
    let moment = Timespec { tv_sec: (mono / 1_000_000_000) as i64, tv_nsec: (mono % 1_000_000_000) as i64 };
    // A signal that is handled cuts the wait short.
    while clock_nanosleep_absolute(rustix::thread::ClockId::Monotonic, &moment)
        == Err(rustix::io::Errno::INTR)
    {}
}

/// Waits for a time. Spacing is what is asked for, not the end of some work.
pub(crate) fn pause(length: Duration) {
    wait_until(mono_ns() + length.as_nanos() as u64);
}

/// Asks `condition` every 5 ms until it says something, at most for `longest`.
pub(crate) fn wait_for<T>(longest: Duration, mut condition: impl FnMut() -> Option<T>) -> Option<T> {
    let end = mono_ns() + longest.as_nanos() as u64;
    loop {
        if let Some(answer) = condition() {
            return Some(answer);
        }
        if mono_ns() >= end {
            return None;
        }
        pause(Duration::from_millis(5));
    }
}

/// Makes this process more or less important, and its waits exact. Threads started later inherit the priority, so it stands at
/// the beginning. False when the priority is not allowed.
pub(crate) fn set_priority(nice: i32) -> bool {
    // The default of 50 µs would be part of every latency; without permission it stays.
    let _ = rustix::thread::set_current_timer_slack(NonZeroU64::new(1));
    rustix::process::setpriority_process(None, nice).is_ok()
}

/// Processors that this process may use.
pub(crate) fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Bytes of memory in all, and how many could be had now.
pub(crate) fn memory() -> Option<(u64, u64)> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let field = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_whitespace().next()?.parse::<u64>().ok().map(|kib| kib * 1024)
    };
    Some((field("MemTotal:")?, field("MemAvailable:")?))
}

/// Where the tree of cgroups v2 is mounted.
pub(crate) fn cgroup_root() -> Option<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
    let line = mounts.lines().find(|line| line.contains(" - cgroup2 "))?;
    line.split_whitespace().nth(4).map(PathBuf::from)
}

/// The cgroup v2 of a process, as a path in the tree.
pub(crate) fn cgroup_of(pid: u32) -> Option<String> {
    let text = fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
    text.lines().find_map(|line| line.strip_prefix("0::")).map(str::to_owned)
}

/// A cgroup made for a part of the experiment, and removed at its end.
#[derive(Debug)]
pub(crate) struct Group(PathBuf);

impl Group {
    /// Makes it below this process's own one.
    pub(crate) fn make(name: &str) -> Result<Self> {
        let root = cgroup_root().context("no cgroup v2 is mounted")?;
        let own = cgroup_of(std::process::id()).context("in no cgroup v2")?;
        let path = root.join(own.trim_start_matches('/')).join(name);
        match fs::create_dir(&path) {
            // A run that was broken off left it.
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            other => other.with_context(|| format!("make {}", path.display()))?,
        }
        Ok(Self(path))
    }

    /// The file that a process writes `0` to in order to move into it.
    pub(crate) fn processes(&self) -> PathBuf {
        self.0.join("cgroup.procs")
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // A process that is just ending holds it for a moment.
        wait_for(Duration::from_secs(1), || fs::remove_dir(&self.0).ok());
    }
}

/// Makes a file of `size` bytes that no disk can make smaller, unless it is there already.
pub(crate) fn make_file(path: &Path, size: u64) -> Result<()> {
    use std::io::Write as _;
    if fs::metadata(path).is_ok_and(|known| known.len() == size) {
        return Ok(());
    }
    let part = path.with_extension("part");
    let mut file = fs::File::create(&part).with_context(|| format!("make {}", part.display()))?;
    let mut random = crate::plan::Random::new(size);
    let mut block: Vec<u8> = (0..128 * 1024).flat_map(|_| random.next().to_le_bytes()).collect();
    let mut left = size;
    while left > 0 {
        // Another number in each block: a disk that stores equal blocks once would read them from memory.
        let mark = left.to_le_bytes();
        block.iter_mut().zip(mark).for_each(|(byte, mark)| *byte = mark);
        let length = usize::try_from(left).unwrap_or(usize::MAX).min(block.len());
        file.write_all(block.get(..length).unwrap_or_default())?;
        left -= length as u64;
    }
    file.sync_all()?;
    fs::rename(&part, path)?;
    Ok(())
}

/// Asks the kernel to forget what it holds of a file in memory. What is not written yet stays.
pub(crate) fn forget(file: &fs::File) {
    // Advice only: the experiment goes on without it.
    let _ = rustix::fs::fadvise(file, 0, None, rustix::fs::Advice::DontNeed);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_waited_for_and_clocks_go_on() {
        let begun = mono_ns();
        wait_until(begun + 2_000_000);
        assert!(mono_ns() >= begun + 2_000_000);
        assert!(wall_ns() > 1_700_000_000_000_000_000);
    }

    #[test]
    fn a_condition_that_is_never_met_ends_with_its_time() {
        assert_eq!(wait_for(Duration::from_millis(20), || None::<()>), None);
        assert_eq!(wait_for(Duration::ZERO, || Some(3)), Some(3));
    }

    #[test]
    fn a_file_is_made_once_with_the_size_that_was_asked_for() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        make_file(&path, 3_000_001).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().len(), 3_000_001);
        let made = fs::metadata(&path).unwrap().modified().unwrap();
        make_file(&path, 3_000_001).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().modified().unwrap(), made);
    }

    #[test]
    fn memory_and_the_own_cgroup_are_known() {
        let (total, available) = memory().unwrap();
        assert!(total >= available && available > 0);
        assert!(cgroup_of(std::process::id()).is_none_or(|path| path.starts_with('/')));
    }
}
