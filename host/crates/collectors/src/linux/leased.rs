//! What leased work uses, so that the verdict can leave it out: processor time, memory, I/O, and how long the *others* waited. The table in
//! `lib.rs` makes the collector, the runner runs it at every tick; [`Meter`] is shared with the fast look.

mod group;
mod neighbours;
pub(crate) mod tree;

use super::cpu;
use super::pressure;
use super::procfile::{ProcFile, Records};
use super::usage::Devices;
use crate::collector::{CollectError, Collector};
use crate::config::{CollectConfig, TICK_DEFAULT};
use crate::define::{self, NONE, metrics};
use crate::rate::Elapsed;
use crate::work::{LeasedWork, Work};
use group::Group;
use lowtide_core::metric::SampleBuffer;
use lowtide_core::report::CollectorInfo;
use lowtide_core::units::MonoTime;
use neighbours::Neighbours;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tree::Tree;

metrics! {
    WORKS = gauge("host_leased_works", Count, NONE, "Leases whose work is told apart from that of others.");
    CPU = gauge("host_leased_cpu_usage_ratio", Ratio, NONE, "Processor time of leased work in the last interval, as share of all processors.");
    CPU_NICE = gauge("host_leased_cpu_nice_ratio", Ratio, NONE, "The part of it that is niced.");
    MEMORY = gauge("host_leased_memory_bytes", Bytes, NONE, "Memory of leased work; absent where it cannot be read.");
    DISK = gauge("host_leased_disk_bytes_per_second", BytesPerSecond, NONE, "Bytes that leased work read from and wrote to disks; absent where that cannot be read.");
    RUNNABLE = gauge("host_leased_runnable_processes", Count, NONE, "Leased processes that run or wait for a processor or a disk, mean over a minute.");
    OTHERS_CPU = gauge("host_others_cpu_waiting_ratio", Ratio, NONE, "Share of the last interval in which work that is not leased waited for a processor; only while there is leased work.");
    OTHERS_MEMORY = gauge("host_others_memory_stalled_ratio", Ratio, NONE, "Share of the last interval in which all work that is not leased waited for memory; only while there is leased work.");
    OTHERS_IO = gauge("host_others_io_stalled_ratio", Ratio, NONE, "Share of the last interval in which all work that is not leased waited for a disk; only while there is leased work.");
}

/// Who the collector is.
pub(crate) fn info() -> CollectorInfo {
    let help = "What leased work uses; the verdict leaves it out.";
    define::info(("leased", "host"), "host_", help, TICK_DEFAULT, &METRICS)
}

/// What the work of one lease has used since it began, and uses now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Used {
    /// Processor time.
    cpu_micros: u64,
    /// The part of it that is niced, as /proc/stat counts it: user time.
    nice_micros: u64,
    /// How long it waited: for a processor (some), for memory and for a disk (full). Absent without a control group or without PSI.
    stalls: [Option<u64>; 3],
    /// Bytes read and written.
    io_bytes: Option<u64>,
    memory_bytes: Option<u64>,
    /// Processes that run or wait for a disk.
    runnable: u64,
}

/// How leased work is measured.
#[derive(Debug)]
enum Source {
    Group(Box<Group>, Option<Tree>),
    Tree(Tree),
    /// It cannot be found: it counts as load of others.
    Nothing,
}

#[derive(Debug)]
struct Measured {
    work: Arc<Work>,
    source: Source,
    before: Option<Used>,
}

/// What all leased work together used between two looks, and what the others suffered.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Shares {
    /// Of all processors.
    pub(crate) cpu: f64,
    pub(crate) nice: f64,
    /// Others' time of waiting for a processor (some), memory (full) and a disk (full); absent while there is no leased work, and without PSI.
    pub(crate) others: [Option<f64>; 3],
    /// Bytes read and written per second.
    disk: Option<f64>,
    memory: Option<u64>,
    runnable: u64,
    /// Leases whose work was found.
    works: usize,
    /// Whether there was an earlier look to compare with.
    compared: bool,
}

/// Measures leased work from one look to the next.
#[derive(Debug)]
pub(crate) struct Meter {
    board: Arc<LeasedWork>,
    proc_dir: PathBuf,
    root: Option<PathBuf>,
    processors: f64,
    /// The version of the board that `measured` and `folders` show.
    seen: Option<u64>,
    measured: Vec<Measured>,
    /// The control groups among them.
    folders: BTreeSet<PathBuf>,
    devices: Devices,
    neighbours: Neighbours,
    system: [ProcFile; 3],
    before: Option<[u64; 3]>,
    guests_before: u64,
    elapsed: Elapsed,
}

impl Meter {
    /// Reads nothing yet.
    pub(crate) fn new(config: &CollectConfig, board: Arc<LeasedWork>) -> Self {
        let system = ["pressure/cpu", "pressure/memory", "pressure/io"]
            .map(|name| ProcFile::small(config.proc_dir.join(name), Records::One));
        Self {
            board,
            proc_dir: config.proc_dir.clone(),
            root: group::root(&config.sys_dir),
            processors: 1.0,
            seen: None,
            measured: Vec::new(),
            folders: BTreeSet::new(),
            devices: Devices::new(&config.sys_dir),
            neighbours: Neighbours::default(),
            system,
            before: None,
            guests_before: 0,
            elapsed: Elapsed::default(),
        }
    }

    /// Makes the next look the first.
    pub(crate) fn forget(&mut self) {
        self.elapsed.forget();
    }

    /// Looks; `whole` also at what costs more to read. What begins now is measured from the next look on.
    pub(crate) fn look(&mut self, at: MonoTime, whole: bool) -> Shares {
        let elapsed = self.elapsed.step(at);
        self.find();
        let mut shares = Shares::default();
        let guests = self.board.guest_cpu_micros();
        let mut cpu = guests.saturating_sub(std::mem::replace(&mut self.guests_before, guests));
        let (mut nice, mut io, mut memory) = (0_u64, Some(0_u64), Some(0_u64));
        let mut stalls = [0_u64; 3];
        for one in &mut self.measured {
            let used = one.source.used(&self.proc_dir, whole.then_some(&mut self.devices));
            let before = std::mem::replace(&mut one.before, used);
            let Some(used) = used else { continue };
            shares.works += 1;
            shares.runnable += used.runnable;
            memory = memory.zip(used.memory_bytes).map(|(sum, bytes)| sum.saturating_add(bytes));
            let Some(before) = before else { continue };
            cpu = cpu.saturating_add(used.cpu_micros.saturating_sub(before.cpu_micros));
            nice = nice.saturating_add(used.nice_micros.saturating_sub(before.nice_micros));
            let grown = used.io_bytes.zip(before.io_bytes).map(|(now, before)| now.saturating_sub(before));
            io = io.zip(grown).map(|(sum, bytes)| sum.saturating_add(bytes));
            for ((sum, now), before) in stalls.iter_mut().zip(used.stalls).zip(before.stalls) {
                let waited = now.zip(before).map_or(0, |(now, before)| now.saturating_sub(before));
                *sum = sum.saturating_add(waited);
            }
        }
        let waited = if shares.works == 0 { self.nobody() } else { self.others(stalls) };
        let Some(seconds) = elapsed else { return shares };
        shares.compared = true;
        let share = |micros: u64| micros as f64 / 1e6 / seconds;
        // The clocks of a process and of the tick are not read at the same moment.
        shares.cpu = (share(cpu) / self.processors).min(1.0);
        shares.nice = (share(nice) / self.processors).min(shares.cpu);
        shares.others = waited.map(|waited| waited.map(|micros| share(micros).clamp(0.0, 1.0)));
        shares.disk = io.filter(|_| whole && shares.works > 0).map(|bytes| bytes as f64 / seconds);
        shares.memory = memory.filter(|_| whole && shares.works > 0);
        shares
    }

    /// Takes over who has a lease now.
    fn find(&mut self) {
        let Some((version, works)) = self.board.newer(self.seen) else { return };
        self.seen = Some(version);
        self.devices.forget();
        // All of the machine: those that this process may use can be fewer. They hardly ever change.
        let mut stat = cpu::Stat::default();
        let mut file = ProcFile::new(&self.proc_dir, "stat", Records::One);
        let read = file.parse(|bytes| cpu::parse(bytes, &mut stat)).is_ok();
        self.processors = if read { stat.cores().max(1) as f64 } else { 1.0 };
        let mut before = std::mem::take(&mut self.measured);
        let found = self.once_each(works);
        self.folders = found.iter().filter_map(|(_, folder)| folder.clone()).collect();
        for (work, folder) in found {
            let known = before.iter().position(|one| one.work == work && one.folder() == folder.as_deref());
            let one = known.map(|at| before.swap_remove(at));
            self.measured.push(one.unwrap_or_else(|| Measured {
                source: Source::of(&work, folder, &self.proc_dir),
                work,
                before: None,
            }));
        }
    }

    /// The works with their control groups, without those that are a part of another: `lowtide run` below `lowtide run`, or two leases
    /// that name the same work. What is subtracted twice would hide load of others.
    fn once_each(&self, works: Vec<Arc<Work>>) -> Vec<(Arc<Work>, Option<PathBuf>)> {
        let folder = |work: &Work| {
            let folder = group::folder(self.root.as_deref()?, work.cgroup.as_deref()?)?;
            folder.is_dir().then_some(folder)
        };
        let all: Vec<_> = works.into_iter().map(|work| (folder(&work), work)).collect();
        let folders: BTreeSet<PathBuf> = all.iter().filter_map(|(folder, _)| folder.clone()).collect();
        let guards: BTreeSet<u32> = all.iter().map(|(_, work)| work.pid).collect();
        let within = |folder: &PathBuf| folder.ancestors().skip(1).any(|ancestor| folders.contains(ancestor));
        let mut seen_folders = BTreeSet::new();
        let mut seen_guards = BTreeSet::new();
        let once = all.into_iter().filter_map(|(folder, work)| {
            let is_part =
                folder.as_ref().is_some_and(within) || tree::descends(&self.proc_dir, work.pid, &guards);
            let once = !is_part
                && folder.iter().all(|folder| seen_folders.insert(folder.clone()))
                && seen_guards.insert(work.pid);
            once.then_some((work, folder))
        });
        once.collect()
    }

    /// Without leased work nobody is another.
    fn nobody(&mut self) -> [Option<u64>; 3] {
        self.before = None;
        [None; 3]
    }

    /// How long the others waited, in microseconds. Of what the system waited, what leased work waited by itself is not theirs; but who
    /// waits in a group of its own is known to wait, also while leased work does.
    fn others(&mut self, leased: [u64; 3]) -> [Option<u64>; 3] {
        let worst = match &self.root {
            Some(root) if !self.folders.is_empty() => self.neighbours.waited(root, &self.folders),
            _ => None,
        };
        let [cpu, memory, io] = &mut self.system;
        let some = |file: &mut ProcFile| Some(file.parse(pressure::parse).ok()?.some);
        let full = |file: &mut ProcFile| file.parse(pressure::parse).ok()?.full;
        let now = some(cpu).zip(full(memory)).zip(full(io)).map(|((cpu, memory), io)| [cpu, memory, io]);
        let before = std::mem::replace(&mut self.before, now);
        let Some((now, before)) = now.zip(before) else { return [None; 3] };
        let mut others = [None; 3];
        let worst = [None, worst.map(|[memory, _]| memory), worst.map(|[_, io]| io)];
        for (place, other) in others.iter_mut().enumerate() {
            let of = |list: &[u64; 3]| list.get(place).copied().unwrap_or_default();
            let system = of(&now).saturating_sub(of(&before));
            let rest = system.saturating_sub(of(&leased));
            let theirs = worst.get(place).copied().flatten().map_or(0, |waited| waited.min(system));
            *other = Some(rest.max(theirs));
        }
        others
    }
}

impl Measured {
    fn folder(&self) -> Option<&Path> {
        match &self.source {
            Source::Group(group, _) => Some(&group.folder),
            _ => None,
        }
    }
}

impl Source {
    fn of(work: &Work, folder: Option<PathBuf>, proc_dir: &Path) -> Self {
        match (folder, Tree::new(proc_dir, work.pid)) {
            (Some(folder), tree) => Self::Group(Box::new(Group::new(folder)), tree),
            (None, Some(tree)) => Self::Tree(tree),
            (None, None) => Self::Nothing,
        }
    }

    /// What the work used so far; with `devices` also what costs more to read.
    fn used(&mut self, proc_dir: &Path, devices: Option<&mut Devices>) -> Option<Used> {
        match (self, devices) {
            (Self::Group(group, tree), Some(devices)) => {
                let used = group.whole(devices)?;
                // What the group's controllers do not tell, its processes may.
                let pids = tree.as_ref().map(Tree::pids).unwrap_or_default();
                let pids = pids.get(1..).unwrap_or_default();
                let io_bytes = used.io_bytes.or_else(|| tree::io_of(proc_dir, pids));
                let memory_bytes = used.memory_bytes.or_else(|| tree::memory_of(proc_dir, pids));
                let runnable = tree.as_ref().and_then(Tree::quick).map_or(0, |used| used.runnable);
                Some(Used { io_bytes, memory_bytes, runnable, ..used })
            }
            (Self::Group(group, _), None) => group.quick(),
            (Self::Tree(tree), Some(_)) => tree.whole(),
            (Self::Tree(tree), None) => tree.quick(),
            (Self::Nothing, _) => None,
        }
    }
}

/// The collector.
#[derive(Debug)]
pub(crate) struct Leased {
    meter: Meter,
    /// Mean number of leased processes that want to run, as the kernel makes its load average of a minute.
    runnable: f64,
    last: Option<MonoTime>,
}

impl Leased {
    /// Reads nothing yet.
    pub(crate) fn new(config: &CollectConfig, board: Arc<LeasedWork>) -> Self {
        Self { meter: Meter::new(config, board), runnable: 0.0, last: None }
    }
}

impl Collector for Leased {
    fn collect(&mut self, at: MonoTime, out: &mut SampleBuffer) -> Result<(), CollectError> {
        let shares = self.meter.look(at, true);
        let passed = self.last.replace(at).map_or(0.0, |last| at.since(last).as_secs_f64());
        let keeps = (-passed / 60.0).exp();
        // Who computes runs, whatever the moment of the look showed.
        let wants = (shares.runnable as f64).max(shares.cpu * self.meter.processors);
        self.runnable = self.runnable * keeps + wants * (1.0 - keeps);
        out.push(WORKS, &[], shares.works as f64);
        if shares.compared {
            out.push(CPU, &[], shares.cpu);
            out.push(CPU_NICE, &[], shares.nice);
        }
        if let Some(bytes) = shares.memory {
            out.push(MEMORY, &[], bytes as f64);
        }
        if let Some(bytes) = shares.disk {
            out.push(DISK, &[], bytes);
        }
        out.push(RUNNABLE, &[], self.runnable);
        for (metric, share) in [OTHERS_CPU, OTHERS_MEMORY, OTHERS_IO].into_iter().zip(shares.others) {
            if let Some(share) = share {
                out.push(metric, &[], share);
            }
        }
        Ok(())
    }

    fn forget(&mut self) {
        self.meter.forget();
    }
}

#[cfg(test)]
mod tests;
