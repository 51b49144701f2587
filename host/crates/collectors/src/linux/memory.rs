//! Memory and swap from /proc/meminfo (proc_meminfo(5)) and three lines of /proc/vmstat. The table in `lib.rs` makes it, the
//! runner runs it at every tick.

use super::procfile::{ProcFile, Records};
use super::text::{self, Fields};
use crate::collector::{CollectError, Collector};
use crate::config::CollectConfig;
pub(crate) use crate::host::memory::info;
use crate::host::memory::{
    AVAILABLE, AVAILABLE_RATIO, BUFFERS, CACHED, DIRTY, FREE, OOM_KILLS, SIZE, SWAP_IN, SWAP_IN_RATE,
    SWAP_OUT, SWAP_OUT_RATE, SWAP_SIZE, SWAP_USED, SWAP_USED_RATIO, USED,
};
use crate::rate::{self, Elapsed};
use lowtide_core::metric::SampleBuffer;
use lowtide_core::units::MonoTime;

/// What is read from /proc/meminfo, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Meminfo {
    size: u64,
    free: u64,
    available: u64,
    buffers: u64,
    cached: u64,
    dirty: u64,
    swap_size: u64,
    swap_free: u64,
}

/// Parses /proc/meminfo. Kernels before 3.14 have no MemAvailable; free memory, buffers and cache together then stand for
/// it. That is too much by the cached pages that cannot be dropped (tmpfs), and the best that these kernels say.
///
/// # Errors
/// In words, which line is missing or not plausible.
pub(crate) fn parse_meminfo(bytes: &[u8]) -> Result<Meminfo, &'static str> {
    let (mut size, mut free, mut available, mut buffers, mut cached) = (None, None, None, None, None);
    let (mut dirty, mut swap_size, mut swap_free) = (None, None, None);
    for line in text::lines(bytes)? {
        let mut fields = Fields(line);
        let Some(key) = fields.word() else { continue };
        let place = match key {
            b"MemTotal:" => &mut size,
            b"MemFree:" => &mut free,
            b"MemAvailable:" => &mut available,
            b"Buffers:" => &mut buffers,
            b"Cached:" => &mut cached,
            b"SwapTotal:" => &mut swap_size,
            b"SwapFree:" => &mut swap_free,
            b"Dirty:" => {
                dirty = Some(kibibytes(fields).ok_or("a number of kB")?);
                // It stands behind all others that are needed.
                break;
            }
            _ => continue,
        };
        *place = Some(kibibytes(fields).ok_or("a number of kB")?);
    }
    let size = size.filter(|size| *size > 0).ok_or("MemTotal")?;
    let free = free.filter(|free| *free <= size).ok_or("MemFree, at most MemTotal")?;
    let buffers = buffers.ok_or("Buffers")?;
    let cached = cached.ok_or("Cached")?;
    let available = available.unwrap_or_else(|| free.saturating_add(buffers).saturating_add(cached));
    let swap_size = swap_size.ok_or("SwapTotal")?;
    // In a container lxcfs may report the host's cache and swap next to the container's sizes.
    let (available, swap_free) = (available.min(size), swap_free.ok_or("SwapFree")?.min(swap_size));
    Ok(Meminfo { size, free, available, buffers, cached, dirty: dirty.ok_or("Dirty")?, swap_size, swap_free })
}

fn kibibytes(mut fields: Fields<'_>) -> Option<u64> {
    let bytes = fields.number()?.checked_mul(1024)?;
    (fields.word() == Some(b"kB")).then_some(bytes)
}

/// What is read from /proc/vmstat. Swap traffic in pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Vmstat {
    swap_in: u64,
    swap_out: u64,
    /// Since Linux 4.13.
    oom_kills: Option<u64>,
}

/// Parses /proc/vmstat (proc_vmstat(5)).
///
/// # Errors
/// In words, which line is missing.
pub(crate) fn parse_vmstat(bytes: &[u8]) -> Result<Vmstat, &'static str> {
    let (mut swap_in, mut swap_out, mut oom_kills) = (None, None, None);
    for line in text::lines(bytes)? {
        // Nearly all of the 170 lines are told apart by their first letter.
        let (place, value) = match line.first() {
            Some(b'p') => match (line.strip_prefix(b"pswpin "), line.strip_prefix(b"pswpout ")) {
                (Some(value), _) => (&mut swap_in, value),
                (None, Some(value)) => (&mut swap_out, value),
                (None, None) => continue,
            },
            Some(b'o') => match line.strip_prefix(b"oom_kill ") {
                Some(value) => (&mut oom_kills, value),
                None => continue,
            },
            _ => continue,
        };
        *place = Some(Fields(value).number().ok_or("a number")?);
        // It stands behind the other two.
        if oom_kills.is_some() {
            break;
        }
    }
    let (swap_in, swap_out) = (swap_in.ok_or("pswpin")?, swap_out.ok_or("pswpout")?);
    Ok(Vmstat { swap_in, swap_out, oom_kills })
}

/// The collector.
#[derive(Debug)]
pub(crate) struct Memory {
    meminfo: ProcFile,
    vmstat: ProcFile,
    page_bytes: f64,
    elapsed: Elapsed,
    before: Option<Vmstat>,
}

impl Memory {
    /// Reads nothing yet.
    pub(crate) fn new(config: &CollectConfig) -> Self {
        Self {
            meminfo: ProcFile::new(&config.proc_dir, "meminfo", Records::One),
            vmstat: ProcFile::new(&config.proc_dir, "vmstat", Records::Many),
            page_bytes: rustix::param::page_size() as f64,
            elapsed: Elapsed::default(),
            before: None,
        }
    }
}

impl Collector for Memory {
    fn collect(&mut self, at: MonoTime, out: &mut SampleBuffer) -> Result<(), CollectError> {
        let memory = self.meminfo.parse(parse_meminfo)?;
        let vmstat = self.vmstat.parse(parse_vmstat)?;
        let elapsed = self.elapsed.step(at);
        let before = self.before.replace(vmstat);

        let swap_used = memory.swap_size - memory.swap_free;
        out.push(SIZE, &[], memory.size as f64);
        out.push(AVAILABLE, &[], memory.available as f64);
        out.push(USED, &[], (memory.size - memory.available) as f64);
        out.push(FREE, &[], memory.free as f64);
        out.push(BUFFERS, &[], memory.buffers as f64);
        out.push(CACHED, &[], memory.cached as f64);
        out.push(DIRTY, &[], memory.dirty as f64);
        out.push(AVAILABLE_RATIO, &[], memory.available as f64 / memory.size as f64);
        out.push(SWAP_SIZE, &[], memory.swap_size as f64);
        out.push(SWAP_USED, &[], swap_used as f64);
        if memory.swap_size > 0 {
            out.push(SWAP_USED_RATIO, &[], swap_used as f64 / memory.swap_size as f64);
        }
        out.push(SWAP_IN, &[], vmstat.swap_in as f64 * self.page_bytes);
        out.push(SWAP_OUT, &[], vmstat.swap_out as f64 * self.page_bytes);
        if let Some(kills) = vmstat.oom_kills {
            out.push(OOM_KILLS, &[], kills as f64);
        }
        let rate = |field: fn(&Vmstat) -> u64| {
            let pages = before.and_then(|before| rate::per_second(field(&before), field(&vmstat), elapsed));
            pages.map(|pages| pages * self.page_bytes)
        };
        if let Some(bytes_per_second) = rate(|vmstat| vmstat.swap_in) {
            out.push(SWAP_IN_RATE, &[], bytes_per_second);
        }
        if let Some(bytes_per_second) = rate(|vmstat| vmstat.swap_out) {
            out.push(SWAP_OUT_RATE, &[], bytes_per_second);
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

    const WHOLE: &str = "MemTotal:  1000 kB\nMemFree:  100 kB\nMemAvailable:  500 kB\nBuffers:  50 kB\nCached:  300 kB\n\
                         SwapCached: 7 kB\nSwapTotal:  200 kB\nSwapFree:  150 kB\nDirty:  3 kB\nWriteback: 0 kB\n";

    #[test]
    fn meminfo_is_read_in_bytes() {
        let memory = parse_meminfo(WHOLE.as_bytes()).unwrap();
        assert_eq!((memory.size, memory.available, memory.dirty), (1_024_000, 512_000, 3_072));
        assert_eq!((memory.cached, memory.swap_free), (307_200, 153_600));
    }

    #[test]
    fn an_old_kernel_without_available_memory_gets_an_estimate() {
        let memory = parse_meminfo(WHOLE.replace("MemAvailable:  500 kB\n", "").as_bytes()).unwrap();
        assert_eq!(memory.available, 450 * 1024);
    }

    #[test]
    fn missing_and_impossible_lines_are_refused() {
        for (from, to, expected) in [
            ("MemTotal:  1000 kB\n", "", "MemTotal"),
            ("MemFree:  100 kB", "MemFree: 2000 kB", "MemFree, at most MemTotal"),
            ("SwapFree:  150 kB\n", "", "SwapFree"),
            ("Dirty:  3 kB\n", "", "Dirty"),
            ("Cached:  300 kB", "Cached:  300", "a number of kB"),
            ("Cached:  300 kB", "Cached:  99999999999999999999 kB", "a number of kB"),
        ] {
            assert_eq!(parse_meminfo(WHOLE.replacen(from, to, 1).as_bytes()), Err(expected), "{to}");
        }
    }

    #[test]
    fn vmstat_needs_swap_traffic_and_takes_kills_where_they_are() {
        let old = parse_vmstat(b"nr_free_pages 5\npswpin 6\npswpout 7\nallocstall 1\n");
        assert_eq!(old, Ok(Vmstat { swap_in: 6, swap_out: 7, oom_kills: None }));
        let new = parse_vmstat(b"pswpin 6\npswpout 7\noom_kill 2\n");
        assert_eq!(new, Ok(Vmstat { swap_in: 6, swap_out: 7, oom_kills: Some(2) }));
        assert_eq!(parse_vmstat(b"pswpin 6\n"), Err("pswpout"));
        assert_eq!(parse_vmstat(b"pswpin x\n"), Err("a number"));
    }
}
