//! This process itself: memory, processor time, threads, open files, from /proc/self (proc_pid_stat(5), proc_pid_limits(5)).
//! A good file to read before writing a collector of your own. The table in `lib.rs` makes it, the runner runs it every 5 s.

use crate::collector::{CollectError, Collector};
use crate::config::CollectConfig;
use crate::define::{self, NONE, metrics};
use crate::linux::procfile::{ProcFile, Records};
use crate::linux::system::parse_boot_time;
use crate::linux::text::{self, Fields};
use crate::linux::usage::parse_stat;
use crate::rate::Elapsed;
use lowtide_core::metric::SampleBuffer;
use lowtide_core::report::CollectorInfo;
use lowtide_core::units::MonoTime;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

metrics! {
    RESIDENT = gauge("process_resident_memory_bytes", Bytes, NONE, "Memory of this process that is in RAM (proc_pid_stat(5), rss).");
    VIRTUAL = gauge("process_virtual_memory_bytes", Bytes, NONE, "Address space of this process (proc_pid_stat(5), vsize).");
    CPU_SECONDS = counter("process_cpu_seconds_total", Seconds, NONE, "Processor time of this process, user and system (CLOCK_PROCESS_CPUTIME_ID).");
    THREADS = gauge("process_threads", Count, NONE, "Threads of this process (proc_pid_stat(5), num_threads).");
    OPEN_FILES = gauge("process_open_file_descriptors", Count, NONE, "File descriptors that this process has open.");
    OPEN_FILES_MAX = gauge("process_max_file_descriptors", Count, NONE, "File descriptors that this process may have open; absent when there is no limit.");
    START_TIME = gauge("process_start_time_seconds", Seconds, NONE, "When this process started, in Unix time.");
    CPU_USAGE = gauge("process_cpu_usage_ratio", Ratio, NONE, "Processor time in the last interval as share of one logical processor; above one with several.");
}

/// Who the collector is.
pub(crate) fn info() -> CollectorInfo {
    let help = "What this daemon itself uses: memory, processor time, threads, open files.";
    define::info(("process", "process"), "process_", help, Duration::from_secs(5), &METRICS)
}

/// Parses the soft limit of open files out of /proc/self/limits; `None` when it is unlimited.
///
/// # Errors
/// In words, what is not as documented.
pub(crate) fn parse_limits(bytes: &[u8]) -> Result<Option<u64>, &'static str> {
    let soft = text::lines(bytes)?.find_map(|line| line.strip_prefix(b"Max open files"));
    let mut soft = Fields(soft.ok_or("the line Max open files")?);
    let mut words = soft;
    if words.word() == Some(b"unlimited") { Ok(None) } else { soft.number().map(Some).ok_or("a soft limit") }
}

/// Reads the process's own processor time. A function, so that the golden tests can put a number in its place.
pub(crate) type ReadCpuTime = fn() -> Duration;

/// The collector.
#[derive(Debug)]
pub(crate) struct Process {
    stat: ProcFile,
    limits: ProcFile,
    host_stat: ProcFile,
    descriptors: PathBuf,
    page_bytes: f64,
    ticks_per_second: f64,
    /// Seconds since the Unix epoch; read once.
    boot_time: Option<u64>,
    read_cpu_time: ReadCpuTime,
    cpu_before: Option<Duration>,
    elapsed: Elapsed,
}

impl Process {
    /// Reads nothing yet.
    pub(crate) fn new(config: &CollectConfig, read_cpu_time: ReadCpuTime) -> Self {
        let file = |name| ProcFile::new(&config.proc_dir, name, Records::One);
        Self {
            stat: file("self/stat"),
            limits: file("self/limits"),
            host_stat: file("stat"),
            descriptors: config.proc_dir.join("self/fd"),
            page_bytes: rustix::param::page_size() as f64,
            ticks_per_second: rustix::param::clock_ticks_per_second() as f64,
            boot_time: None,
            read_cpu_time,
            cpu_before: None,
            elapsed: Elapsed::default(),
        }
    }
}

impl Collector for Process {
    fn collect(&mut self, at: MonoTime, out: &mut SampleBuffer) -> Result<(), CollectError> {
        let (threads, started_ticks, virtual_bytes, resident_pages) = self.stat.parse(|bytes| {
            let stat = parse_stat(bytes)?;
            Ok((stat.threads, stat.started_ticks, stat.virtual_bytes, stat.resident_pages))
        })?;
        let open_files_max = self.limits.parse(parse_limits)?;
        let entries =
            fs::read_dir(&self.descriptors).map_err(|error| CollectError::io(&self.descriptors, error))?;
        // The descriptor of this very folder is among them.
        let open_files = entries.count().saturating_sub(1);
        let boot_time = match self.boot_time {
            Some(seconds) => seconds,
            None => *self.boot_time.insert(self.host_stat.parse(parse_boot_time)?),
        };
        let cpu = (self.read_cpu_time)();
        let cpu_before = self.cpu_before.replace(cpu);
        let elapsed = self.elapsed.step(at);

        out.push(RESIDENT, &[], resident_pages as f64 * self.page_bytes);
        out.push(VIRTUAL, &[], virtual_bytes as f64);
        out.push(CPU_SECONDS, &[], cpu.as_secs_f64());
        out.push(THREADS, &[], threads as f64);
        out.push(OPEN_FILES, &[], open_files as f64);
        if let Some(limit) = open_files_max {
            out.push(OPEN_FILES_MAX, &[], limit as f64);
        }
        out.push(START_TIME, &[], boot_time as f64 + started_ticks as f64 / self.ticks_per_second);
        if let (Some(before), Some(elapsed)) = (cpu_before, elapsed) {
            out.push(CPU_USAGE, &[], cpu.saturating_sub(before).as_secs_f64() / elapsed);
        }
        Ok(())
    }

    fn forget(&mut self) {
        self.elapsed.forget();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_soft_limit_is_found() {
        let head = "Limit                     Soft Limit           Hard Limit           Units     \n";
        let with = |limit: &str| format!("{head}Max open files            {limit}   4096   files     \n");
        assert_eq!(parse_limits(with("1024").as_bytes()), Ok(Some(1024)));
        assert_eq!(parse_limits(with("unlimited").as_bytes()), Ok(None));
        assert!(parse_limits(with("many").as_bytes()).is_err());
        assert!(parse_limits(head.as_bytes()).is_err());
    }
}
