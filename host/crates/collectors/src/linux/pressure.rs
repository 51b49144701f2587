//! Pressure stall information from /proc/pressure (kernel Documentation/accounting/psi.rst): how long work waited for a
//! processor, memory or a disk. Own rates from the totals, because the kernel's averages lag. Where there is no PSI it says
//! so, and never gives a zero. The table in `lib.rs` makes it, the runner runs it at every tick.

use super::procfile::{ProcFile, Records};
use super::text::{self, Fields};
use crate::collector::{CollectError, Collector};
use crate::config::{CollectConfig, TICK_DEFAULT};
use crate::define::{self, NONE, metrics};
use crate::rate::{self, Elapsed};
use lowtide_core::metric::SampleBuffer;
use lowtide_core::report::CollectorInfo;
use lowtide_core::units::MonoTime;
use rustix::io::Errno;

metrics! {
    CPU_WAITING_SECONDS = counter("host_pressure_cpu_waiting_seconds_total", Seconds, NONE, "Time in which some thread waited for a processor (PSI cpu, some).");
    MEMORY_WAITING_SECONDS = counter("host_pressure_memory_waiting_seconds_total", Seconds, NONE, "Time in which some thread waited for memory (PSI memory, some).");
    MEMORY_STALLED_SECONDS = counter("host_pressure_memory_stalled_seconds_total", Seconds, NONE, "Time in which all threads that had work waited for memory (PSI memory, full).");
    IO_WAITING_SECONDS = counter("host_pressure_io_waiting_seconds_total", Seconds, NONE, "Time in which some thread waited for a disk (PSI io, some).");
    IO_STALLED_SECONDS = counter("host_pressure_io_stalled_seconds_total", Seconds, NONE, "Time in which all threads that had work waited for a disk (PSI io, full).");
    CPU_WAITING = gauge("host_pressure_cpu_waiting_ratio", Ratio, NONE, "Share of the last interval in which some thread waited for a processor.");
    MEMORY_WAITING = gauge("host_pressure_memory_waiting_ratio", Ratio, NONE, "Share of the last interval in which some thread waited for memory.");
    MEMORY_STALLED = gauge("host_pressure_memory_stalled_ratio", Ratio, NONE, "Share of the last interval in which all threads that had work waited for memory.");
    IO_WAITING = gauge("host_pressure_io_waiting_ratio", Ratio, NONE, "Share of the last interval in which some thread waited for a disk.");
    IO_STALLED = gauge("host_pressure_io_stalled_ratio", Ratio, NONE, "Share of the last interval in which all threads that had work waited for a disk.");
}

/// What to tell an operator whose kernel has no PSI.
const ABSENT: &str = "no pressure stall information: the kernel has it switched off or was built without it (CONFIG_PSI); \
                      add psi=1 to the kernel command line and restart the host";

/// Who the collector is.
pub(crate) fn info() -> CollectorInfo {
    let help = "Pressure stall information: how long work waited for processors, memory and disks.";
    define::info(("pressure", "host"), "host_pressure_", help, TICK_DEFAULT, &METRICS)
}

/// Totals of one file, in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Totals {
    /// Time in which some waited.
    pub(crate) some: u64,
    /// Time in which all waited. Not there for the cpu before Linux 5.13.
    pub(crate) full: Option<u64>,
}

/// Parses one file of /proc/pressure, such as `some avg10=0.22 avg60=0.41 avg300=0.36 total=7311885`.
///
/// # Errors
/// In words, what is not as documented.
pub(crate) fn parse(bytes: &[u8]) -> Result<Totals, &'static str> {
    let (mut some, mut full) = (None, None);
    for line in text::lines(bytes)? {
        let mut fields = Fields(line);
        let place = match fields.word() {
            Some(b"some") => &mut some,
            Some(b"full") => &mut full,
            _ => continue,
        };
        let total = std::iter::from_fn(|| fields.word()).find_map(|word| word.strip_prefix(b"total="));
        *place = Some(total.and_then(|total| Fields(total).number()).ok_or("a total")?);
    }
    Ok(Totals { some: some.ok_or("the line some")?, full })
}

/// The five totals that are reported, in the order of the metrics.
type Five = [u64; 5];

/// The collector.
#[derive(Debug)]
pub(crate) struct Pressure {
    cpu: ProcFile,
    memory: ProcFile,
    io: ProcFile,
    elapsed: Elapsed,
    before: Option<Five>,
}

impl Pressure {
    /// Reads nothing yet.
    pub(crate) fn new(config: &CollectConfig) -> Self {
        let file = |name| ProcFile::new(&config.proc_dir, name, Records::One);
        Self {
            cpu: file("pressure/cpu"),
            memory: file("pressure/memory"),
            io: file("pressure/io"),
            elapsed: Elapsed::default(),
            before: None,
        }
    }

    fn read(&mut self) -> Result<Five, CollectError> {
        let cpu = self.cpu.parse(parse).map_err(absent)?;
        let full = |bytes: &[u8]| {
            let totals = parse(bytes)?;
            Ok((totals.some, totals.full.ok_or("the line full")?))
        };
        let (memory_some, memory_full) = self.memory.parse(full)?;
        let (io_some, io_full) = self.io.parse(full)?;
        Ok([cpu.some, memory_some, memory_full, io_some, io_full])
    }
}

/// With PSI switched off the files are missing, or reading them is refused with one of these (kernel/sched/psi.c).
fn absent(error: CollectError) -> CollectError {
    let refused = |source: &std::io::Error| {
        matches!(Errno::from_io_error(source), Some(Errno::OPNOTSUPP | Errno::INVAL | Errno::NOSYS))
    };
    match error {
        CollectError::Missing { .. } => CollectError::Absent(ABSENT.to_owned()),
        CollectError::Unreadable { source, .. } if refused(&source) => {
            CollectError::Absent(ABSENT.to_owned())
        }
        other => other,
    }
}

impl Collector for Pressure {
    fn collect(&mut self, at: MonoTime, out: &mut SampleBuffer) -> Result<(), CollectError> {
        let now = self.read()?;
        let elapsed = self.elapsed.step(at);
        let before = self.before.replace(now);
        let seconds = [
            CPU_WAITING_SECONDS,
            MEMORY_WAITING_SECONDS,
            MEMORY_STALLED_SECONDS,
            IO_WAITING_SECONDS,
            IO_STALLED_SECONDS,
        ];
        for (metric, total) in seconds.into_iter().zip(now) {
            out.push(metric, &[], total as f64 / 1e6);
        }
        let Some(before) = before else { return Ok(()) };
        let ratios = [CPU_WAITING, MEMORY_WAITING, MEMORY_STALLED, IO_WAITING, IO_STALLED];
        for (metric, (before, now)) in ratios.into_iter().zip(before.into_iter().zip(now)) {
            if let Some(microseconds) = rate::per_second(before, now, elapsed) {
                out.push(metric, &[], (microseconds / 1e6).clamp(0.0, 1.0));
            }
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
    fn totals_are_found_whatever_the_averages_say() {
        let text = b"some avg10=0.22 avg60=0.41 avg300=0.36 total=7311885\nfull avg10=0.00 total=5\n";
        assert_eq!(parse(text), Ok(Totals { some: 7_311_885, full: Some(5) }));
        assert_eq!(parse(b"some avg10=0.22 total=9\n"), Ok(Totals { some: 9, full: None }));
        assert_eq!(parse(b"some avg10=0.22\n"), Err("a total"));
        assert_eq!(parse(b"full avg10=0.22 total=1\n"), Err("the line some"));
    }

    #[test]
    fn a_kernel_that_refuses_is_one_without_psi() {
        for (errno, is_absent) in [(Errno::OPNOTSUPP, true), (Errno::INVAL, true), (Errno::ACCESS, false)] {
            let error = absent(CollectError::io("/proc/pressure/cpu".as_ref(), errno.into()));
            assert_eq!(matches!(error, CollectError::Absent(_)), is_absent, "{errno}");
        }
    }
}
