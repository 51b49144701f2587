//! Load averages, processes, uptime and boot time from /proc/loadavg, /proc/uptime and one line of /proc/stat. The table in
//! `lib.rs` makes it, the runner runs it at every tick.

use super::procfile::{ProcFile, Records};
use super::text::{self, Fields};
use crate::collector::{CollectError, Collector};
use crate::config::CollectConfig;
pub(crate) use crate::host::system::info;
use crate::host::system::{BOOT_TIME, LOAD1, LOAD5, LOAD15, PROCESSES, UPTIME};
use lowtide_core::metric::SampleBuffer;
use lowtide_core::units::MonoTime;
use std::time::Duration;

/// How long the boot time is believed: it moves only when the wall clock is set, and /proc/stat is the dearest file of all.
const BOOT_TIME_KEPT: Duration = Duration::from_secs(600);

/// What is read from /proc/loadavg.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Load {
    averages: [f64; 3],
    processes: u64,
}

/// Parses /proc/loadavg (proc_loadavg(5)), such as `0.20 0.18 0.12 1/80 11206`.
///
/// # Errors
/// In words, what is not as documented.
pub(crate) fn parse_load(bytes: &[u8]) -> Result<Load, &'static str> {
    let mut fields = Fields(text::lines(bytes)?.next().unwrap_or_default());
    let mut averages = [0.0; 3];
    for average in &mut averages {
        *average = fields.decimal().ok_or("three load averages")?;
    }
    let entities = fields.word().unwrap_or_default();
    let total = text::leading_number(entities).and_then(|(_, rest)| rest.strip_prefix(b"/"));
    let processes = total.and_then(|total| Fields(total).number()).ok_or("runnable/total")?;
    Ok(Load { averages, processes })
}

/// Parses /proc/uptime (proc_uptime(5)): seconds since boot, then idle seconds.
///
/// # Errors
/// In words, what is not as documented.
pub(crate) fn parse_uptime(bytes: &[u8]) -> Result<f64, &'static str> {
    Fields(text::lines(bytes)?.next().unwrap_or_default()).decimal().ok_or("seconds since boot")
}

/// Finds `btime` in /proc/stat (proc_stat(5)): seconds since the Unix epoch.
///
/// # Errors
/// In words, when it is not there.
pub(crate) fn parse_boot_time(bytes: &[u8]) -> Result<u64, &'static str> {
    let value = text::lines(bytes)?.find_map(|line| line.strip_prefix(b"btime "));
    value.and_then(|value| Fields(value).number()).ok_or("the line btime")
}

/// The collector.
#[derive(Debug)]
pub(crate) struct System {
    load: ProcFile,
    uptime: ProcFile,
    stat: ProcFile,
    /// The boot time, and when it was read.
    boot_time: Option<(u64, MonoTime)>,
}

impl System {
    /// Reads nothing yet.
    pub(crate) fn new(config: &CollectConfig) -> Self {
        let file = |name| ProcFile::new(&config.proc_dir, name, Records::One);
        Self { load: file("loadavg"), uptime: file("uptime"), stat: file("stat"), boot_time: None }
    }

    fn boot_time(&mut self, at: MonoTime) -> Result<u64, CollectError> {
        match self.boot_time {
            Some((seconds, read_at)) if at.since(read_at) < BOOT_TIME_KEPT => Ok(seconds),
            _ => {
                let seconds = self.stat.parse(parse_boot_time)?;
                self.boot_time = Some((seconds, at));
                Ok(seconds)
            }
        }
    }
}

impl Collector for System {
    fn collect(&mut self, at: MonoTime, out: &mut SampleBuffer) -> Result<(), CollectError> {
        let Load { averages: [load1, load5, load15], processes } = self.load.parse(parse_load)?;
        let uptime = self.uptime.parse(parse_uptime)?;
        let boot_time = self.boot_time(at)?;
        out.push(LOAD1, &[], load1);
        out.push(LOAD5, &[], load5);
        out.push(LOAD15, &[], load15);
        out.push(PROCESSES, &[], processes as f64);
        out.push(UPTIME, &[], uptime);
        out.push(BOOT_TIME, &[], boot_time as f64);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loadavg_is_read_as_documented_or_refused() {
        let load = parse_load(b"0.20 1.18 12.12 1/80 11206\n").unwrap();
        assert_eq!(load, Load { averages: [0.20, 1.18, 12.12], processes: 80 });
        for (text, expected) in [
            ("0.20 0.18\n", "three load averages"),
            ("0.20 0.18 x 1/80 1\n", "three load averages"),
            ("0.20 0.18 0.12 80 11206\n", "runnable/total"),
            ("0.20 0.18 0.12 1/ 11206\n", "runnable/total"),
            ("0.20 0.18 0.12 1/8", text::CUT_SHORT),
        ] {
            assert_eq!(parse_load(text.as_bytes()), Err(expected), "{text}");
        }
    }

    #[test]
    fn uptime_and_boot_time_are_found() {
        assert_eq!(parse_uptime(b"350735.47 234388.90\n"), Ok(350_735.47));
        assert!(parse_uptime(b"\n").is_err());
        assert_eq!(parse_boot_time(b"cpu 1\nbtime 1700000000\nx 1\n"), Ok(1_700_000_000));
        assert!(parse_boot_time(b"cpu 1\n").is_err());
    }
}
