//! A machine of four cores that is idle most of the time: how hard it works is drawn, and all that is recorded follows from that, in
//! the steps that the kernel counts in (clock ticks, pages, sectors). Called by the generator, once a tick.

use super::random::Random;
use super::{Record, TICK_MS};
use lowtide_core::units::Unit::{self, Bytes, BytesPerSecond, Celsius, Count, Ratio, Seconds};

mod devices;
mod memory;

use devices::{Disk, Interface};
use memory::Memory;

const NONE: &[(&str, &str)] = &[];

/// Clock ticks of a core between two ticks of the daemon (USER_HZ is 100).
const JIFFIES: f64 = 500.0;
const PAGE: f64 = 4_096.0;

const CORES: [&str; 4] = ["0", "1", "2", "3"];
/// The scheduler likes the first ones better.
const CORE_SHARES: [f64; 4] = [1.3, 1.1, 0.9, 0.7];

const MODES: [&str; 8] = ["user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal"];
const USER: usize = 0;
const IDLE: usize = 3;
const IOWAIT: usize = 4;

const TICKS_PER_MINUTE: u64 = 12;
const TICKS_PER_HOUR: u64 = 720;
const DAY_MS: i64 = 86_400_000;

/// Sensors are looked at every 15 s, file systems every 30 s; in between the last values stand.
const SENSORS_EVERY: u64 = 3;
const FILESYSTEMS_EVERY: u64 = 6;

/// Four digits, as ratios are kept.
fn ratio(value: f64) -> f64 {
    (value.clamp(0.0, 1.0) * 1e4).round() / 1e4
}

fn hundredths(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

fn pages(bytes: f64) -> f64 {
    (bytes / PAGE).round() * PAGE
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Regime {
    Idle,
    Light,
    Busy,
}

/// How hard the machine works.
#[derive(Debug)]
struct Work {
    regime: Regime,
    /// Moves towards what the regime asks for.
    level: f64,
    /// The level with what runs by the clock: 0 to 1.
    now: f64,
    /// Share of the work that the disk has to do.
    disk: f64,
}

impl Work {
    fn step(&mut self, at_ms: i64, tick: u64, random: &mut Random) {
        #[expect(clippy::cast_precision_loss, reason = "milliseconds of a day")]
        let hour = at_ms.rem_euclid(DAY_MS) as f64 / 3.6e6;
        // People work from eight to six, most at two.
        let daylight = (1.0 - ((hour - 14.0) / 7.0).powi(2)).max(0.0);
        // Some twenty minutes of one thing.
        if random.happens(1.0 / 240.0) {
            let drawn = random.unit();
            self.regime = match drawn {
                _ if drawn < 0.07 + 0.2 * daylight => Regime::Busy,
                _ if drawn < 0.25 + 0.4 * daylight => Regime::Light,
                _ => Regime::Idle,
            };
        }
        let asked = match self.regime {
            Regime::Idle => 0.015,
            Regime::Light => 0.06 + 0.1 * daylight,
            Regime::Busy => 0.75,
        };
        self.level += 0.25 * (asked - self.level) + 0.02 * asked.sqrt() * random.normal();
        self.level = self.level.clamp(0.002, 0.98);
        let mut blip = 0.0;
        if tick.is_multiple_of(TICKS_PER_MINUTE) {
            blip += random.between(0.01, 0.03);
        }
        if tick % TICKS_PER_HOUR < 3 {
            blip += 0.08;
        }
        // A copy of everything, at half past two.
        let backup = (2.5..2.75).contains(&hour);
        self.disk = if backup { 0.9 } else { self.level * random.between(0.2, 1.0) };
        self.now = (self.level + blip + if backup { 0.15 } else { 0.0 }).min(1.0);
    }
}

/// Clock ticks by mode, as counted since the start and as of the last step.
#[derive(Clone, Copy, Debug, Default)]
struct Times {
    total: [f64; 8],
    grown: [f64; 8],
}

impl Times {
    fn add(&mut self, grown: [f64; 8]) {
        self.grown = grown;
        for (total, grown) in self.total.iter_mut().zip(grown) {
            *total += grown;
        }
    }

    /// Share of all time since the step before.
    fn share(&self, of: impl Fn(usize) -> bool) -> f64 {
        let all: f64 = self.grown.iter().sum();
        let part: f64 =
            self.grown.iter().enumerate().filter(|(mode, _)| of(*mode)).map(|(_, grown)| grown).sum();
        ratio(part / all)
    }

    fn usage(&self) -> f64 {
        self.share(|mode| !matches!(mode, IDLE | IOWAIT) && mode + 1 < MODES.len())
    }

    fn seconds(&self, mode: usize) -> f64 {
        self.total.get(mode).map_or(0.0, |ticks| ticks / 100.0)
    }
}

#[derive(Debug, Default)]
struct Cpu {
    all: Times,
    cores: [Times; 4],
    context_switches: f64,
    interrupts: f64,
    forks: f64,
    running: f64,
    blocked: f64,
}

impl Cpu {
    fn step(&mut self, work: &Work, random: &mut Random) {
        let mut sum = [0.0; 8];
        for (core, share) in self.cores.iter_mut().zip(CORE_SHARES) {
            let level = (work.now * share).min(1.0);
            let all = JIFFIES + (random.below(3.0).floor() - 1.0);
            let mut left = all;
            let mut take = |count: f64| {
                let taken = count.min(left);
                left -= taken;
                taken
            };
            let user = take(random.count(level * 390.0));
            let nice = take(if random.happens(0.02) { random.count(2.0) } else { 0.0 });
            let system = take(random.count(level * 80.0 + 1.5));
            let softirq = take(random.count(level * 4.0));
            let iowait = take(random.count(work.disk * 12.0 + 0.2));
            let steal = take(random.count(level * 0.4));
            let grown = [user, nice, system, left, iowait, 0.0, softirq, steal];
            core.add(grown);
            for (sum, grown) in sum.iter_mut().zip(grown) {
                *sum += grown;
            }
        }
        self.all.add(sum);
        self.context_switches += random.count(4_500.0 + work.now * 90_000.0);
        self.interrupts += random.count(2_500.0 + work.now * 45_000.0);
        self.forks += random.count(1.0 + work.now * 60.0);
        self.running = 1.0 + random.count(work.now * 4.0);
        self.blocked = random.count(work.disk * 0.6);
    }

    fn record(&self, out: &mut Record<'_>) {
        out.gauge("host_cpu_logical_processors", NONE, Count, 4.0);
        for (mode, name) in MODES.into_iter().enumerate() {
            out.counter("host_cpu_seconds_total", &[("mode", name)], Seconds, self.all.seconds(mode));
        }
        out.counter("host_cpu_context_switches_total", NONE, Count, self.context_switches);
        out.counter("host_cpu_interrupts_total", NONE, Count, self.interrupts);
        out.counter("host_cpu_forks_total", NONE, Count, self.forks);
        out.gauge("host_cpu_processes_running", NONE, Count, self.running);
        out.gauge("host_cpu_processes_blocked", NONE, Count, self.blocked);
        out.gauge("host_cpu_usage_ratio", NONE, Ratio, self.all.usage());
        out.gauge("host_cpu_nice_ratio", NONE, Ratio, self.all.share(|mode| mode == 1));
        out.gauge("host_cpu_iowait_ratio", NONE, Ratio, self.all.share(|mode| mode == IOWAIT));
        out.gauge("host_cpu_steal_ratio", NONE, Ratio, self.all.share(|mode| mode == 7));
        for (core, name) in self.cores.iter().zip(CORES) {
            for mode in [USER, IDLE] {
                let labels = [("core", name), ("mode", MODES.get(mode).copied().unwrap_or_default())];
                out.counter("host_cpu_core_seconds_total", &labels, Seconds, core.seconds(mode));
            }
        }
        for (core, name) in self.cores.iter().zip(CORES) {
            out.gauge("host_cpu_core_usage_ratio", &[("core", name)], Ratio, core.usage());
        }
    }
}

/// Pressure stall information of one kind: microseconds in all, and of the last step.
#[derive(Clone, Copy, Debug, Default)]
struct Stall {
    total: f64,
    grown: f64,
}

impl Stall {
    fn add(&mut self, share: f64) {
        self.grown = (share.clamp(0.0, 1.0) * 5e6).round();
        self.total += self.grown;
    }
}

const STALLS: [(&str, &str); 5] = [
    ("host_pressure_cpu_waiting_seconds_total", "host_pressure_cpu_waiting_ratio"),
    ("host_pressure_memory_waiting_seconds_total", "host_pressure_memory_waiting_ratio"),
    ("host_pressure_memory_stalled_seconds_total", "host_pressure_memory_stalled_ratio"),
    ("host_pressure_io_waiting_seconds_total", "host_pressure_io_waiting_ratio"),
    ("host_pressure_io_stalled_seconds_total", "host_pressure_io_stalled_ratio"),
];

#[derive(Debug, Default)]
struct Pressure([Stall; 5]);

impl Pressure {
    fn step(&mut self, work: &Work, random: &mut Random) {
        let cpu = work.now * work.now * 0.5 * random.between(0.7, 1.3) + random.below(0.002);
        let memory = if work.now > 0.6 && random.happens(0.1) { random.below(0.02) } else { 0.0 };
        let io = if random.happens(0.2 + work.disk) { work.disk * random.below(0.3) } else { 0.0 };
        let [cpu_waiting, memory_waiting, memory_stalled, io_waiting, io_stalled] = &mut self.0;
        cpu_waiting.add(cpu);
        memory_waiting.add(memory);
        memory_stalled.add(memory * random.between(0.2, 0.9));
        io_waiting.add(io);
        io_stalled.add(io * random.between(0.5, 0.95));
    }

    fn record(&self, out: &mut Record<'_>, elapsed: f64) {
        for ((total, _), stall) in STALLS.into_iter().zip(self.0) {
            out.counter(total, NONE, Seconds, stall.total / 1e6);
        }
        for ((_, share), stall) in STALLS.into_iter().zip(self.0) {
            out.gauge(share, NONE, Ratio, ratio(stall.grown / 1e6 / elapsed));
        }
    }
}

/// Load, processes and temperatures: what follows the work slowly.
#[derive(Debug)]
struct Slow {
    loads: [f64; 3],
    processes: f64,
    temperatures: [f64; 4],
    shown: [f64; 4],
    uptime: f64,
}

/// The package of the processor is called critical at this.
const CRITICAL: f64 = 100.0;

impl Slow {
    fn step(&mut self, work: &Work, running: f64, elapsed: f64, tick: u64, random: &mut Random) {
        // What a load average keeps of itself over 5 s: e^(-5/60), e^(-5/300), e^(-5/900).
        for (load, kept) in self.loads.iter_mut().zip([0.92, 0.983_5, 0.994_5]) {
            *load = *load * kept + (running - 1.0) * (1.0 - kept);
        }
        let drift = random.count(work.now * 6.0) - random.count(work.now * 6.0);
        self.processes = (self.processes + drift + 0.02 * (420.0 - self.processes).trunc()).round();
        let rest = [38.0, 36.0, 34.0, 28.0];
        for ((heat, rest), reach) in self.temperatures.iter_mut().zip(rest).zip([35.0, 33.0, 12.0, 10.0]) {
            *heat += 0.05 * (rest + work.now * reach - *heat) + 0.15 * random.normal();
        }
        if tick.is_multiple_of(SENSORS_EVERY) {
            let [package, core, drive, board] = self.temperatures;
            // Processors tell whole degrees, drives whole kelvins, boards tenths.
            let drive = ((drive.round() + 0.85) * 10.0).round() / 10.0;
            self.shown = [package.round(), core.round(), drive, (board * 10.0).round() / 10.0];
        }
        self.uptime += elapsed;
    }

    fn record(&self, out: &mut Record<'_>) {
        let [load1, load5, load15] = self.loads;
        out.gauge("host_system_load_average1", NONE, Count, hundredths(load1));
        out.gauge("host_system_load_average5", NONE, Count, hundredths(load5));
        out.gauge("host_system_load_average15", NONE, Count, hundredths(load15));
        out.gauge("host_system_processes", NONE, Count, self.processes);
        out.gauge("host_system_uptime_seconds", NONE, Seconds, hundredths(self.uptime));
        let places = [
            ("coretemp", "Package id 0"),
            ("coretemp", "Core 0"),
            ("nvme", "Composite"),
            ("acpitz", "temp1"),
        ];
        for ((chip, sensor), shown) in places.into_iter().zip(self.shown) {
            let labels = [("chip", chip), ("sensor", sensor)];
            out.gauge("host_sensors_temperature_celsius", &labels, Celsius, shown);
        }
        let [package, ..] = self.shown;
        let labels = [("chip", "coretemp"), ("sensor", "Package id 0")];
        out.gauge("host_sensors_headroom_celsius", &labels, Celsius, CRITICAL - package);
    }
}

#[derive(Debug)]
struct Filesystem {
    used: f64,
    shown: f64,
}

impl Filesystem {
    const SIZE: f64 = 269_490_393_088.0;
    /// What only root can fill.
    const RESERVED: f64 = 13_474_521_088.0;

    fn step(&mut self, written: f64, tick: u64, random: &mut Random) {
        // A tenth of what is written stays, until somebody tidies up.
        self.used += written * 0.1;
        if random.happens(0.000_5) {
            self.used -= (self.used - 4e10).max(0.0) * random.unit();
        }
        if tick.is_multiple_of(FILESYSTEMS_EVERY) {
            self.shown = pages(self.used);
        }
    }

    fn record(&self, out: &mut Record<'_>) {
        let labels = [("mountpoint", "/"), ("device", "/dev/nvme0n1p2"), ("fstype", "ext4")];
        let usable = Self::SIZE - Self::RESERVED;
        let available = (usable - self.shown).max(0.0);
        out.gauge("host_filesystem_size_bytes", &labels, Bytes, Self::SIZE);
        out.gauge("host_filesystem_available_bytes", &labels, Bytes, available);
        out.gauge("host_filesystem_used_ratio", &labels, Ratio, ratio(self.shown / usable));
        out.gauge("host_filesystem_available_ratio", &labels, Ratio, ratio(available / Self::SIZE));
    }
}

/// All of it.
#[derive(Debug)]
pub(super) struct Machine {
    tick: u64,
    elapsed: f64,
    work: Work,
    cpu: Cpu,
    memory: Memory,
    pressure: Pressure,
    disks: [Disk; 2],
    interfaces: [Interface; 2],
    filesystem: Filesystem,
    slow: Slow,
}

impl Machine {
    /// One that has been up for some days.
    pub(super) fn new(random: &mut Random) -> Self {
        let mut cpu = Cpu::default();
        for core in &mut cpu.cores {
            core.add([3.1e6, 4e4, 9.2e5, 4.2e7, 6e4, 0.0, 5e4, 3e3].map(|mean| random.count(mean)));
        }
        for core in cpu.cores {
            for (sum, total) in cpu.all.total.iter_mut().zip(core.total) {
                *sum += total;
            }
        }
        cpu.context_switches = random.count(9e8);
        cpu.interrupts = random.count(5e8);
        cpu.forks = random.count(1.4e6);
        let slow = Slow {
            loads: [0.1; 3],
            processes: 420.0,
            temperatures: [38.0, 36.0, 34.0, 28.0],
            shown: [0.0; 4],
            uptime: 470_000.0 + random.below(1e4),
        };
        Self {
            tick: 0,
            elapsed: 5.0,
            work: Work { regime: Regime::Idle, level: 0.02, now: 0.02, disk: 0.0 },
            cpu,
            memory: Memory::new(),
            pressure: Pressure::default(),
            disks: [Disk::new("nvme0n1", 1.0, random), Disk::new("sda", 0.01, random)],
            interfaces: [Interface::new("eth0", random), Interface::new("lo", random)],
            filesystem: Filesystem { used: 9e10, shown: 0.0 },
            slow,
        }
    }

    pub(super) fn step(&mut self, at_ms: i64, random: &mut Random) {
        #[expect(clippy::cast_precision_loss, reason = "five seconds")]
        let due = TICK_MS as f64 / 1e3;
        // In whole nanoseconds, as the monotonic clock has it.
        self.elapsed = ((due + random.between(-0.002, 0.002)) * 1e9).round() / 1e9;
        self.work.step(at_ms, self.tick, random);
        self.cpu.step(&self.work, random);
        self.memory.step(&self.work, random);
        self.pressure.step(&self.work, random);
        let mut written = 0.0;
        for disk in &mut self.disks {
            written += disk.step(&self.work, random);
        }
        for interface in &mut self.interfaces {
            interface.step(&self.work, random);
        }
        self.filesystem.step(written, self.tick, random);
        self.slow.step(&self.work, self.cpu.running, self.elapsed, self.tick, random);
        self.tick += 1;
    }

    pub(super) fn record(&self, out: &mut Record<'_>) {
        self.cpu.record(out);
        self.memory.record(out, self.elapsed);
        self.pressure.record(out, self.elapsed);
        for disk in &self.disks {
            disk.record(out, self.elapsed);
        }
        for interface in &self.interfaces {
            interface.record(out, self.elapsed);
        }
        self.filesystem.record(out);
        self.slow.record(out);
    }
}

/// A counter with what the last step added to it.
#[derive(Clone, Copy, Debug, Default)]
struct Grown {
    total: f64,
    by: f64,
}

impl Grown {
    fn add(&mut self, by: f64) {
        self.by = by;
        self.total += by;
    }

    fn record(self, out: &mut Record<'_>, metric: &'static str, labels: &[(&str, &str)], unit: Unit) {
        out.counter(metric, labels, unit, self.total);
    }

    /// As it comes out of the division: this is what is not rounded.
    fn record_rate(self, out: &mut Record<'_>, metric: &'static str, labels: &[(&str, &str)], elapsed: f64) {
        out.gauge(metric, labels, BytesPerSecond, self.by / elapsed);
    }
}
