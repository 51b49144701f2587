//! Who uses processor, memory and disks: services, scopes, containers, leases, and process groups where there is no such unit
//! (Raspberry Pi OS without cgroups, hybrid and version 1 systems, a shell's jobs). It looks at each process, puts it to its unit
//! (`units/name.rs`) and takes the unit's own counters where it has a version 2 cgroup, which also count what ended in between.
//! Command lines are never read: they hold secrets. The table in `lib.rs` makes it, the runner runs it every 15 s.

mod name;
mod top;

pub(crate) use name::parse as parse_cgroup;

use super::procfile::{ProcFile, Records};
use super::system::parse_uptime;
use super::text;
use super::usage::{self, Buffer, Bytes, Devices, Folder, parse_io, parse_stat};
use crate::collector::{CollectError, Collector};
use crate::config::CollectConfig;
use crate::define::{self, metrics};
use crate::rate::Elapsed;
use lowtide_core::metric::{MetricDef, SampleBuffer, Text};
use lowtide_core::report::CollectorInfo;
use lowtide_core::units::MonoTime;
use name::{Kind, Unit};
use rustix::io::Errno;
use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::ops::Bound;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use top::{Names, Usage};

const UNIT: &[Text] = &[Text::Borrowed("unit"), Text::Borrowed("kind")];

metrics! {
    CPU = gauge("host_units_cpu_usage_ratio", Ratio, UNIT, "Processor time of the unit in the last interval as share of that of all logical processors; the units with the most, at most ten for each of processor, memory and I/O.");
    MEMORY = gauge("host_units_memory_bytes", Bytes, UNIT, "Memory that the unit holds: its cgroup's memory.current without inactive_file, or where it has none the resident memory of its processes, which counts shared pages several times.");
    READ = gauge("host_units_read_bytes_per_second", BytesPerSecond, UNIT, "Bytes a second that the unit read from disks in the last interval, from its cgroup's io.stat or /proc/PID/io; absent where this daemon may see neither.");
    WRITTEN = gauge("host_units_written_bytes_per_second", BytesPerSecond, UNIT, "Bytes a second that the unit wrote to disks in the last interval, from its cgroup's io.stat or /proc/PID/io; absent where this daemon may see neither.");
}

/// Processes looked at in one run. Desktops have some 500, busy servers 2 000; at 20 µs each (measured) this many take a third of the
/// deadline of a collector.
const PROCESSES_MAX: usize = 4_096;

/// Runs after which the place of every process was asked anew, a part of them in each: systemd moves a process only when it
/// begins, but anyone with the right to may do it later.
const PLACES_ASKED_ANEW: u64 = 8;

/// Runs after its first in which a process's place is asked again: one that was caught between its start and its move to its
/// unit is then found there.
const MOVES_WITHIN: u64 = 1;

/// Who the collector is.
pub(crate) fn info() -> CollectorInfo {
    let help = "Processor, memory and disk use of the services, containers and process groups that use most.";
    define::info(("units", "host"), "host_units_", help, Duration::from_secs(15), &METRICS)
}

/// How many logical processors /proc/stat shows.
///
/// # Errors
/// In words, what is not as documented.
pub(crate) fn parse_processors(bytes: &[u8]) -> Result<usize, &'static str> {
    let numbered =
        |line: &&[u8]| line.strip_prefix(b"cpu").and_then(<[u8]>::first).is_some_and(u8::is_ascii_digit);
    match text::lines(bytes)?.filter(numbered).count() {
        0 => Err("a line for each processor"),
        count => Ok(count),
    }
}

/// Whether the bytes that a process moved can be known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Moved {
    /// Not asked: its unit has counters of its own, or it is a thread of the kernel.
    Unasked,
    /// Only its owner and root may read it.
    Denied,
    /// Since its start.
    Known(Bytes),
}

/// What is remembered of a process. With the same id and start it is the same one.
#[derive(Debug)]
struct Process {
    started_ticks: u64,
    cpu_ticks: u64,
    moved: Moved,
    /// The key of its place; `None` for one that only has its process group.
    place: Option<Arc<str>>,
    first_run: u64,
    run: u64,
}

/// What the processes of a unit used, added up.
#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    cpu_ticks: u64,
    resident_pages: u64,
    io: Option<Bytes>,
}

impl Tally {
    fn add(&mut self, other: Self) {
        self.cpu_ticks = self.cpu_ticks.saturating_add(other.cpu_ticks);
        self.resident_pages = self.resident_pages.saturating_add(other.resident_pages);
        self.io = match (self.io, other.io) {
            (Some(one), Some(more)) => Some(one.plus(more)),
            (one, more) => one.or(more),
        };
    }
}

/// The counters of a cgroup, each only where the kernel keeps it there.
#[derive(Clone, Copy, Debug, Default)]
struct Counters {
    cpu_us: Option<u64>,
    memory_bytes: Option<u64>,
    io: Option<Bytes>,
}

/// One cgroup that is a unit's own. A unit may have several: the same service of two users.
#[derive(Debug)]
struct Cgroup {
    unit: Unit,
    in_v2: bool,
    before: Counters,
    tally: Tally,
    run: u64,
}

/// A process group in one run.
#[derive(Debug)]
struct Group {
    unit: Unit,
    tally: Tally,
}

/// The collector.
#[derive(Debug)]
pub(crate) struct Units {
    proc_dir: PathBuf,
    cgroup_dir: PathBuf,
    devices: Devices,
    uptime: ProcFile,
    host_stat: ProcFile,
    page_bytes: f64,
    ticks_per_second: f64,
    run: u64,
    /// Uptime in clock ticks at the run before: who started later is new, and all it used is of this interval.
    ticks_before: Option<u64>,
    processes: HashMap<u32, Process>,
    /// In the order of their paths, so that a unit within another is found behind it.
    places: BTreeMap<Arc<str>, Cgroup>,
    groups: BTreeMap<u64, Group>,
    names: Names,
    elapsed: Elapsed,
    buffer: Buffer,
    second_buffer: Buffer,
    path: String,
}

impl Units {
    /// Reads nothing yet.
    pub(crate) fn new(config: &CollectConfig) -> Self {
        let file = |name| ProcFile::new(&config.proc_dir, name, Records::One);
        Self {
            proc_dir: config.proc_dir.clone(),
            cgroup_dir: config.sys_dir.join("fs/cgroup"),
            devices: Devices::new(&config.sys_dir),
            uptime: file("uptime"),
            host_stat: file("stat"),
            page_bytes: rustix::param::page_size() as f64,
            ticks_per_second: rustix::param::clock_ticks_per_second() as f64,
            run: 0,
            ticks_before: None,
            processes: HashMap::new(),
            places: BTreeMap::new(),
            groups: BTreeMap::new(),
            names: Names::default(),
            elapsed: Elapsed::default(),
            buffer: Buffer::default(),
            second_buffer: Buffer::default(),
            path: String::new(),
        }
    }

    /// Looks at every process and adds what it used to its place or group.
    fn scan(&mut self) -> Result<(), CollectError> {
        let unreadable = |error: Errno| CollectError::io(&self.proc_dir, error.into());
        let folder = Folder::open(&self.proc_dir).map_err(unreadable)?;
        if !folder.has("1") {
            let why = "processes of others are hidden here (hidepid, or not the host's /proc)";
            return Err(CollectError::Absent(why.to_owned()));
        }
        let processes = folder.numbers(PROCESSES_MAX).map_err(unreadable)?;
        self.run += 1;
        self.groups.clear();
        for place in self.places.values_mut() {
            place.tally = Tally::default();
        }
        // Apart while the text in it is looked at.
        let mut buffer = std::mem::take(&mut self.buffer);
        for pid in processes {
            set(&mut self.path, format_args!("{pid}/stat"));
            let bytes = folder.read(&self.path, &mut buffer).ok();
            // One that ends meanwhile, or whose file cannot be understood, is passed over.
            if let Some(stat) = bytes.and_then(|bytes| parse_stat(bytes).ok()) {
                self.count(&folder, pid, &stat);
            }
        }
        self.buffer = buffer;
        let run = self.run;
        self.processes.retain(|_, process| process.run == run);
        self.places.retain(|_, place| place.run == run);
        Ok(())
    }

    /// Adds what a process used since the run before to its place or group.
    fn count(&mut self, folder: &Folder, pid: u32, stat: &usage::Stat<'_>) {
        let known = self.processes.remove(&pid).filter(|known| known.started_ticks == stat.started_ticks);
        let is_new = self.ticks_before.is_some_and(|before| stat.started_ticks >= before);
        let first_run = known.as_ref().map_or(self.run, |known| known.first_run);
        let look_again = self.run - first_run <= MOVES_WITHIN
            || (u64::from(pid) + self.run).is_multiple_of(PLACES_ASKED_ANEW);
        let place = match &known {
            Some(known) if !look_again => known.place.clone(),
            // Threads of the kernel stay in the root cgroup, and what they write is counted with who gave it to them.
            _ if stat.is_kernel => None,
            _ => self.find_place(folder, pid),
        };
        let has_io =
            place.as_ref().and_then(|key| self.places.get(key)).is_some_and(|at| at.before.io.is_some());
        let moved = match &known {
            _ if has_io || stat.is_kernel => Moved::Unasked,
            Some(Process { moved: Moved::Denied, .. }) if !look_again => Moved::Denied,
            _ => self.read_moved(folder, pid),
        };
        let nothing = if is_new { Some(Bytes::default()) } else { None };
        let (cpu_before, moved_before) = match &known {
            Some(known) => match known.moved {
                Moved::Known(bytes) => (Some(known.cpu_ticks), Some(bytes)),
                Moved::Unasked | Moved::Denied => (Some(known.cpu_ticks), nothing),
            },
            None => (is_new.then_some(0), nothing),
        };
        let used = Tally {
            cpu_ticks: cpu_before.map_or(0, |before| stat.cpu_ticks().saturating_sub(before)),
            resident_pages: stat.resident_pages,
            io: match moved {
                Moved::Known(bytes) => moved_before.map(|before| bytes.since(before)),
                Moved::Unasked | Moved::Denied => None,
            },
        };
        match place.as_ref().and_then(|key| self.places.get_mut(key)) {
            Some(place) => {
                place.run = self.run;
                place.tally.add(used);
            }
            None => self.count_in_group(pid, stat, used),
        }
        let process = Process {
            started_ticks: stat.started_ticks,
            cpu_ticks: stat.cpu_ticks(),
            moved,
            place,
            first_run,
            run: self.run,
        };
        self.processes.insert(pid, process);
    }

    /// A group is named by its leader; one whose leader has ended, by its first process.
    fn count_in_group(&mut self, pid: u32, stat: &usage::Stat<'_>, used: Tally) {
        let name = || match stat.is_kernel {
            true => Unit::new(Kind::Group, "kernel"),
            false => Unit::new(Kind::Group, &String::from_utf8_lossy(stat.comm)),
        };
        let group =
            self.groups.entry(stat.group).or_insert_with(|| Group { unit: name(), tally: Tally::default() });
        if stat.group == u64::from(pid) {
            group.unit = name();
        }
        group.tally.add(used);
    }

    /// Where a process belongs, and that this place is known.
    fn find_place(&mut self, folder: &Folder, pid: u32) -> Option<Arc<str>> {
        set(&mut self.path, format_args!("{pid}/cgroup"));
        let bytes = folder.read(&self.path, &mut self.second_buffer).ok()?;
        let home = parse_cgroup(bytes).ok()??;
        // A path of another hierarchy is a place of its own.
        let key: Arc<str> = if home.in_v2 { home.path.into() } else { format!("v1:{}", home.path).into() };
        if let Some((key, _)) = self.places.get_key_value(&key) {
            return Some(Arc::clone(key));
        }
        let place = Cgroup {
            unit: home.unit,
            in_v2: home.in_v2,
            before: Counters::default(),
            tally: Tally::default(),
            run: self.run,
        };
        self.places.insert(Arc::clone(&key), place);
        Some(key)
    }

    fn read_moved(&mut self, folder: &Folder, pid: u32) -> Moved {
        set(&mut self.path, format_args!("{pid}/io"));
        let bytes = folder.read(&self.path, &mut self.second_buffer).ok();
        bytes.and_then(|bytes| parse_io(bytes).ok()).map_or(Moved::Denied, Moved::Known)
    }

    /// Adds up the units of this run: of each place its own counters where it has them, else what its processes used.
    fn usage(&mut self) -> BTreeMap<Unit, Usage> {
        let mut units: BTreeMap<Unit, Usage> = BTreeMap::new();
        let unified = if self.cgroup_dir.join("cgroup.controllers").exists() { "" } else { "unified" };
        let root = Folder::open(&self.cgroup_dir.join(unified)).ok();
        let nested = self.places_with_others_inside();
        self.devices.forget();
        let mut cgroups = CgroupReader {
            devices: &mut self.devices,
            buffer: &mut self.second_buffer,
            path: &mut self.path,
        };
        let (page_bytes, ticks_per_second) = (self.page_bytes, self.ticks_per_second);
        let summed = |tally: &Tally| Usage {
            cpu_seconds: tally.cpu_ticks as f64 / ticks_per_second,
            memory_bytes: tally.resident_pages as f64 * page_bytes,
            io: tally.io,
        };
        for (number, (key, place)) in self.places.iter_mut().enumerate() {
            let own = place.in_v2 && nested.binary_search(&number).is_err();
            let now = match &root {
                Some(root) if own => cgroups.read(root, key),
                _ => Counters::default(),
            };
            let mut usage = summed(&place.tally);
            // A counter that fell is that of a new cgroup with the name of the old one.
            let cpu_us =
                now.cpu_us.zip(place.before.cpu_us).and_then(|(now, before)| now.checked_sub(before));
            if let Some(cpu_us) = cpu_us {
                usage.cpu_seconds = cpu_us as f64 / 1e6;
            }
            if let Some(bytes) = now.memory_bytes {
                usage.memory_bytes = bytes as f64;
            }
            if let (Some(now), Some(before)) = (now.io, place.before.io) {
                usage.io = Some(now.since(before));
            }
            place.before = now;
            units.entry(place.unit.clone()).or_default().add(&usage);
        }
        for group in self.groups.values() {
            units.entry(group.unit.clone()).or_default().add(&summed(&group.tally));
        }
        units
    }

    /// Numbers of the places that have another below them, in order: their cgroups' counters count both, so their processes are
    /// added up instead.
    fn places_with_others_inside(&self) -> Vec<usize> {
        let mut found = Vec::new();
        let mut below = String::new();
        for (number, key) in self.places.keys().enumerate() {
            set(&mut below, format_args!("{key}/"));
            let mut behind = self.places.range::<str, _>((Bound::Included(below.as_str()), Bound::Unbounded));
            if behind.next().is_some_and(|(next, _)| next.starts_with(below.as_str())) {
                found.push(number);
            }
        }
        found
    }
}

/// Writes into a text whose memory is kept.
fn set(text: &mut String, content: std::fmt::Arguments<'_>) {
    text.clear();
    // Writing into a String does not fail.
    let _ = text.write_fmt(content);
}

/// Reads the counters of cgroups.
struct CgroupReader<'a> {
    devices: &'a mut Devices,
    buffer: &'a mut Buffer,
    path: &'a mut String,
}

impl CgroupReader<'_> {
    /// The counters of the cgroup at `path`. What the kernel does not keep there (a controller that is off) is `None`.
    fn read(&mut self, root: &Folder, path: &str) -> Counters {
        let dir = path.trim_start_matches('/');
        let cpu_us = self.file(root, dir, "cpu.stat", |bytes| usage::parse_key(bytes, b"usage_usec"));
        let memory = self.file(root, dir, "memory.current", usage::parse_number);
        // Pages of files that nobody has used lately are given up first, and are not what makes memory short.
        let idle = memory.and_then(|_| {
            self.file(root, dir, "memory.stat", |bytes| usage::parse_key(bytes, b"inactive_file"))
        });
        set(self.path, format_args!("{dir}/io.stat"));
        let io = root.read(self.path, self.buffer).ok();
        let io = io.and_then(|bytes| usage::parse_io_stat(bytes, |device| self.devices.counts(device)));
        Counters { cpu_us, memory_bytes: memory.map(|bytes| bytes.saturating_sub(idle.unwrap_or(0))), io }
    }

    fn file<T>(
        &mut self,
        root: &Folder,
        dir: &str,
        name: &str,
        parse: impl FnOnce(&[u8]) -> Option<T>,
    ) -> Option<T> {
        set(self.path, format_args!("{dir}/{name}"));
        root.read(self.path, self.buffer).ok().and_then(parse)
    }
}

impl Collector for Units {
    fn collect(&mut self, at: MonoTime, out: &mut SampleBuffer) -> Result<(), CollectError> {
        let processors = self.host_stat.parse(parse_processors)? as f64;
        let uptime = self.uptime.parse(parse_uptime)?;
        self.scan()?;
        let units = self.usage();
        self.ticks_before = Some((uptime * self.ticks_per_second) as u64);
        let elapsed = self.elapsed.step(at);

        let mut chosen = top::choose(&units, elapsed, processors);
        self.names.admit(&mut chosen, at);
        let listed: Vec<(&Unit, Usage)> =
            chosen.into_iter().filter_map(|unit| Some((unit, *units.get(unit)?))).collect();
        let mut all = |metric: &'static MetricDef, value: &dyn Fn(&Usage) -> Option<f64>| {
            for (unit, usage) in &listed {
                if let Some(value) = value(usage) {
                    out.push(metric, &[&unit.name, unit.kind.word()], value);
                }
            }
        };
        // Times of the processes are rounded to clock ticks, so that a busy unit may come out a little above the whole.
        all(CPU, &|usage| Some((usage.cpu_seconds / elapsed? / processors).min(1.0)));
        all(MEMORY, &|usage| Some(usage.memory_bytes));
        all(READ, &|usage| Some(usage.io?.read as f64 / elapsed?));
        all(WRITTEN, &|usage| Some(usage.io?.written as f64 / elapsed?));
        Ok(())
    }

    fn forget(&mut self) {
        self.elapsed.forget();
    }
}

#[cfg(test)]
mod tests;
