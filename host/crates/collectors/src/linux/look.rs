//! The fast look: the few numbers that tell whether the machine is needed now, ten times a second while leased work runs. A few reads of
//! files that stay open; what is slow to read is left to the tick.

use super::cpu;
use super::leased::Meter;
use super::procfile::{ProcFile, Records};
use crate::config::CollectConfig;
use crate::work::LeasedWork;
use lowtide_core::lease::Glimpse;
use lowtide_core::units::MonoTime;
use rustix::event::{PollFd, PollFlags, poll};
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// What the kernel is asked to wake us for (kernel Documentation/accounting/psi.rst): all that had work waited for a fifth of half a
/// second. Shorter windows than this do not exist; without privileges only multiples of two seconds do, which say nothing that the looks do
/// not say earlier.
const TRIGGER: &[u8] = b"full 100000 500000\0";

/// See the file's head.
#[derive(Debug)]
pub struct FastLook {
    stat: ProcFile,
    now: cpu::Stat,
    before: Option<cpu::Times>,
    meter: Meter,
    triggers: Vec<File>,
}

impl FastLook {
    /// Reads nothing yet, and asks the kernel for nothing.
    #[must_use]
    pub fn new(config: &CollectConfig, board: Arc<LeasedWork>) -> Self {
        Self {
            stat: ProcFile::new(&config.proc_dir, "stat", Records::One),
            now: cpu::Stat::default(),
            before: None,
            meter: Meter::new(config, board),
            triggers: Vec::new(),
        }
    }

    /// Begins: asks the kernel to tell of pressure, where it does. What was seen before a break says nothing.
    pub fn begin(&mut self, config: &CollectConfig) {
        self.before = None;
        self.meter.forget();
        let files = ["pressure/memory", "pressure/io"].map(|name| config.proc_dir.join(name));
        self.triggers = files.iter().filter_map(|path| trigger(path)).collect();
    }

    /// Ends: the kernel need not tell any more.
    pub fn end(&mut self) {
        self.triggers.clear();
    }

    /// Whether the kernel tells of pressure.
    #[must_use]
    pub fn is_told(&self) -> bool {
        !self.triggers.is_empty()
    }

    /// Waits until the time is over or the kernel tells of pressure.
    pub fn wait(&mut self, time: Duration) {
        let mut fds: Vec<PollFd<'_>> =
            self.triggers.iter().map(|file| PollFd::new(file, PollFlags::PRI)).collect();
        let time = rustix::event::Timespec::try_from(time).unwrap_or_default();
        // An error is an early look.
        let _ = poll(&mut fds, Some(&time));
        // A trigger that is broken (its file is gone) would return at once for ever.
        let broken = fds.iter().any(|fd| fd.revents().contains(PollFlags::ERR));
        if broken {
            self.triggers.clear();
        }
    }

    /// Looks. The first look after a break has nothing to compare with and sees nothing.
    pub fn look(&mut self, at: MonoTime) -> Glimpse {
        let read = self.stat.parse(|bytes| cpu::parse(bytes, &mut self.now)).is_ok();
        let shares = read.then(|| {
            self.before.replace(self.now.total()).and_then(|before| self.now.total().shares(before))
        });
        let leased = self.meter.look(at, false);
        let cpu = shares.flatten().map(|shares| {
            let niced = (leased.cpu - leased.nice).max(0.0);
            (shares.used - shares.nice - niced).clamp(0.0, 1.0)
        });
        let [cpu_pressure, memory_pressure, io_pressure] = leased.others;
        Glimpse { cpu, cpu_pressure, memory_pressure, io_pressure }
    }
}

/// A trigger on one file; `None` where the kernel has none, or refuses.
fn trigger(path: &Path) -> Option<File> {
    let mut file = OpenOptions::new().read(true).write(true).open(path).ok()?;
    file.write_all(TRIGGER).ok()?;
    Some(file)
}
