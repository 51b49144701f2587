//! Throughput, busy time and queue of each whole block device from /proc/diskstats (kernel
//! Documentation/admin-guide/iostats.rst). Partitions, loop, ram and zram devices are left out. It never touches a device, so
//! sleeping disks stay asleep. The table in `lib.rs` makes it, the runner runs it at every tick.

use super::procfile::{ProcFile, Records};
use super::roster::Roster;
use super::text::{self, Fields};
use crate::collector::{CollectError, Collector};
use crate::config::{CollectConfig, TICK_DEFAULT};
use crate::define::{self, metrics};
use crate::glob;
use crate::rate::{self, Elapsed};
use lowtide_core::metric::{MetricDef, SampleBuffer, Text};
use lowtide_core::report::CollectorInfo;
use lowtide_core::units::MonoTime;
use std::path::{Path, PathBuf};

const DEVICE: &[Text] = &[Text::Borrowed("device")];

metrics! {
    READS = counter("host_disk_reads_total", Count, DEVICE, "Reads that the device has finished.");
    WRITES = counter("host_disk_writes_total", Count, DEVICE, "Writes that the device has finished.");
    READ_BYTES = counter("host_disk_read_bytes_total", Bytes, DEVICE, "Bytes read from the device.");
    WRITTEN_BYTES = counter("host_disk_written_bytes_total", Bytes, DEVICE, "Bytes written to the device.");
    BUSY_SECONDS = counter("host_disk_busy_seconds_total", Seconds, DEVICE, "Time in which the device had at least one request (io_ticks); wraps after 49 days of it.");
    READ_RATE = gauge("host_disk_read_bytes_per_second", BytesPerSecond, DEVICE, "Bytes a second read in the last interval.");
    WRITE_RATE = gauge("host_disk_written_bytes_per_second", BytesPerSecond, DEVICE, "Bytes a second written in the last interval.");
    BUSY = gauge("host_disk_busy_ratio", Ratio, DEVICE, "Share of the last interval in which the device had at least one request; physical disks only, not dm and md devices, which would count the same work again.");
    QUEUE = gauge("host_disk_queue_depth", Count, DEVICE, "Requests that were with the device on average over the last interval.");
}

/// The unit of the sector counts, whatever the device's own sectors are (kernel Documentation/block/stat.rst).
const SECTOR_BYTES: u64 = 512;

/// Who the collector is.
pub(crate) fn info() -> CollectorInfo {
    let help = "Reads, writes, busy time and queue of each block device.";
    define::info(("disk", "host"), "host_disk_", help, TICK_DEFAULT, &METRICS)
}

/// Counters of one device since boot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counters {
    reads: u64,
    writes: u64,
    read_bytes: u64,
    written_bytes: u64,
    busy_ms: u64,
    /// Milliseconds, times the requests that were open meanwhile.
    weighted_ms: u64,
}

/// Parses a line of /proc/diskstats: major, minor, name, then at least eleven numbers. Later kernels append more.
///
/// # Errors
/// In words, what is not as documented.
pub(crate) fn parse_line(line: &[u8]) -> Result<(&[u8], Counters), &'static str> {
    let mut fields = Fields(line);
    fields.number().and_then(|_| fields.number()).ok_or("major and minor numbers")?;
    let name = fields.word().ok_or("a device name")?;
    let mut numbers = [0; 11];
    for number in &mut numbers {
        *number = fields.number().ok_or("eleven numbers for each device")?;
    }
    let [reads, _, sectors_read, _, writes, _, sectors_written, _, _, busy_ms, weighted_ms] = numbers;
    let bytes = |sectors: u64| sectors.checked_mul(SECTOR_BYTES).ok_or("a plausible number of sectors");
    let (read_bytes, written_bytes) = (bytes(sectors_read)?, bytes(sectors_written)?);
    Ok((name, Counters { reads, writes, read_bytes, written_bytes, busy_ms, weighted_ms }))
}

/// What is remembered of a device.
#[derive(Debug, Default)]
struct Device {
    /// Whole, and not excluded. Decided once, when it appears.
    wanted: bool,
    /// Not built upon other block devices.
    physical: bool,
    /// The newest counters; none until the line that brought the device in was read.
    now: Option<Counters>,
    /// The counters of the run before, none at the first.
    before: Option<Counters>,
}

impl Device {
    /// Growth of one counter a second.
    fn rate(&self, elapsed: Option<f64>, counter: impl Fn(&Counters) -> u64) -> Option<f64> {
        rate::per_second(counter(self.before.as_ref()?), counter(self.now.as_ref()?), elapsed)
    }
}

/// Which devices are reported.
#[derive(Debug)]
struct Choice {
    block_dir: PathBuf,
    exclude: Vec<String>,
}

impl Choice {
    fn device(&self, name: &str) -> Device {
        let memory = ["loop", "ram", "zram"].iter().any(|kind| is_numbered(name, kind));
        let wanted = !memory && is_whole(&self.block_dir, name) && !glob::matches_any(&self.exclude, name);
        // md with a number or, as /dev/md_name, with a name.
        let physical = !is_numbered(name, "dm-") && !is_numbered(name, "md") && !name.starts_with("md_");
        Device { wanted, physical, ..Device::default() }
    }
}

fn is_numbered(name: &str, kind: &str) -> bool {
    name.strip_prefix(kind).is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
}

/// A whole device has a folder in /sys/block (a `/` in its name is a `!` there). Without /sys its name has to do.
fn is_whole(block_dir: &Path, name: &str) -> bool {
    if block_dir.join(name.replace('/', "!")).exists() {
        return true;
    }
    !block_dir.exists() && !looks_like_partition(name)
}

/// `sda1` is a partition of `sda`; where the device's own name ends in a digit, a `p` stands between: `nvme0n1p2`.
fn looks_like_partition(name: &str) -> bool {
    let device = name.trim_end_matches(|c: char| c.is_ascii_digit());
    if device.len() == name.len() {
        return false;
    }
    let lettered = ["sd", "hd", "vd", "xvd"].iter().any(|kind| device.starts_with(kind));
    let numbered = device.strip_suffix('p').is_some_and(|disk| disk.ends_with(|c: char| c.is_ascii_digit()));
    lettered || numbered
}

/// The collector.
#[derive(Debug)]
pub(crate) struct Disk {
    file: ProcFile,
    choice: Choice,
    devices: Roster<Device>,
    elapsed: Elapsed,
}

impl Disk {
    /// Reads nothing yet.
    pub(crate) fn new(config: &CollectConfig) -> Self {
        Self {
            file: ProcFile::new(&config.proc_dir, "diskstats", Records::Many),
            choice: Choice { block_dir: config.sys_dir.join("block"), exclude: config.disk_exclude.clone() },
            devices: Roster::new(),
            elapsed: Elapsed::default(),
        }
    }

    fn read(&mut self) -> Result<(), CollectError> {
        let (devices, choice) = (&mut self.devices, &self.choice);
        devices.begin();
        let outcome = self.file.parse(|bytes| {
            // No device at all is an empty file, and no error.
            let lines = if bytes.is_empty() { None } else { Some(text::lines(bytes)?) };
            for line in lines.into_iter().flatten() {
                let (name, counters) = parse_line(line)?;
                let device = devices.seat(name, |name| choice.device(name))?;
                device.before = device.now.replace(counters);
            }
            devices.end();
            Ok(())
        });
        if outcome.is_err() {
            // Some devices have stepped, others not: there is no common interval any more.
            devices.clear();
        }
        outcome
    }
}

impl Collector for Disk {
    fn collect(&mut self, at: MonoTime, out: &mut SampleBuffer) -> Result<(), CollectError> {
        self.read()?;
        let elapsed = self.elapsed.step(at);
        let wanted = || self.devices.iter().filter(|seat| seat.state.wanted);
        if wanted().next().is_none() {
            return Err(CollectError::Absent("this host shows no block device".to_owned()));
        }
        let mut all = |metric: &'static MetricDef, value: &dyn Fn(&Device) -> Option<f64>| {
            for seat in wanted() {
                if let Some(value) = value(&seat.state) {
                    out.push(metric, &[&seat.name], value);
                }
            }
        };
        all(READS, &|device| Some(device.now?.reads as f64));
        all(WRITES, &|device| Some(device.now?.writes as f64));
        all(READ_BYTES, &|device| Some(device.now?.read_bytes as f64));
        all(WRITTEN_BYTES, &|device| Some(device.now?.written_bytes as f64));
        all(BUSY_SECONDS, &|device| Some(device.now?.busy_ms as f64 / 1e3));
        all(READ_RATE, &|device| device.rate(elapsed, |counters| counters.read_bytes));
        all(WRITE_RATE, &|device| device.rate(elapsed, |counters| counters.written_bytes));
        all(BUSY, &|device| {
            let busy = device.rate(elapsed, |counters| counters.busy_ms).filter(|_| device.physical);
            // The kernel rounds up to its own ticks, so a busy disk comes out a little above one.
            busy.map(|ms| (ms / 1e3).min(1.0))
        });
        all(QUEUE, &|device| device.rate(elapsed, |counters| counters.weighted_ms).map(|ms| ms / 1e3));
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
    fn lines_of_old_and_new_kernels_are_read() {
        let old = b"   8       0 sda 100 5 2000 30 40 6 800 70 0 90 110";
        let (name, counters) = parse_line(old).unwrap();
        assert_eq!((name, counters.reads, counters.writes), (&b"sda"[..], 100, 40));
        assert_eq!((counters.read_bytes, counters.written_bytes), (1_024_000, 409_600));
        assert_eq!((counters.busy_ms, counters.weighted_ms), (90, 110));
        let new = [&old[..], b" 1 2 3 4 5 6"].concat();
        assert_eq!(parse_line(&new).unwrap(), (name, counters));
        assert!(parse_line(b"   8       0 sda 100 5 2000 30").is_err());
        assert!(parse_line(b"   8 sda 1 2 3").is_err());
        assert!(parse_line(b"8 0 sda 1 5 18446744073709551615 3 4 6 8 7 0 9 1").is_err());
    }

    #[test]
    fn partitions_are_told_by_their_names_where_there_is_no_sys() {
        for (name, expected) in [
            ("sda", false),
            ("sda1", true),
            ("sdaa", false),
            ("sdaa12", true),
            ("nvme0n1", false),
            ("nvme0n1p2", true),
            ("mmcblk0", false),
            ("mmcblk0p1", true),
            ("md0", false),
            ("md127p1", true),
            ("dm-3", false),
            ("sr0", false),
            ("vda1", true),
        ] {
            assert_eq!(looks_like_partition(name), expected, "{name}");
        }
    }

    #[test]
    fn layered_and_memory_devices_are_told_apart() {
        let choice = Choice { block_dir: "/nowhere".into(), exclude: vec!["sdb".into()] };
        for (name, wanted, physical) in [
            ("sda", true, true),
            ("sdb", false, true),
            ("dm-0", true, false),
            ("md127", true, false),
            ("loop3", false, true),
            ("zram0", false, true),
            ("ram0", false, true),
        ] {
            let device = choice.device(name);
            assert_eq!((device.wanted, device.physical), (wanted, physical), "{name}");
        }
    }
}
