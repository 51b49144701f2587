//! The signals that the verdict looks at: where each value comes from, which side is harmful, its default thresholds, and
//! the short history behind its means. Adding a signal is one entry in [`SIGNALS`] and the
//! arms that the compiler then asks for.

use super::level::Level;
use super::{InputStatus, QuietConfig, Thresholds};
use crate::limits;
use crate::metric::Series;
use crate::snapshot::{Missing, Snapshot};
use crate::units::MonoTime;
use serde::Serialize;
use std::time::Duration;

/// Which signal. The order is that of [`SIGNALS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(usize)]
pub enum SignalId {
    /// Share of all CPU time used by others than niced work.
    Cpu,
    /// Load average per core: the fallback where CPU pressure cannot be read.
    LoadPerCore,
    /// PSI cpu some, counted only while CPU use is high.
    CpuPressure,
    /// PSI memory full.
    MemoryPressure,
    /// PSI io full.
    IoPressure,
    /// Busy time of the busiest disk.
    DiskBusy,
    /// Bytes swapped in and out per second.
    SwapRate,
    /// Share of memory that is available.
    MemoryAvailable,
    /// Share of swap in use while memory is short.
    SwapUsed,
    /// Free share of the fullest of the root and data file systems.
    DiskSpace,
    /// Requests per second to this daemon's API.
    ApiRate,
    /// 95th percentile latency of this daemon's API.
    ApiLatency,
    /// Degrees between the hottest sensor and its critical temperature.
    ThermalHeadroom,
    /// Whether the machine runs on battery.
    OnBattery,
}

impl SignalId {
    /// How many there are.
    pub const COUNT: usize = 14;

    /// The collector whose samples it is made of, which tells when there is a new one.
    #[must_use]
    pub fn collector(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::LoadPerCore => "system",
            Self::CpuPressure | Self::MemoryPressure | Self::IoPressure => "pressure",
            Self::DiskBusy => "disk",
            Self::SwapRate | Self::MemoryAvailable | Self::SwapUsed => "memory",
            Self::DiskSpace => "filesystem",
            Self::ApiRate | Self::ApiLatency => "api",
            Self::ThermalHeadroom => "sensors",
            Self::OnBattery => "power",
        }
    }

    /// The definition.
    #[must_use]
    pub fn def(self) -> &'static SignalDef {
        // The table has one entry for each variant; the test `signals_are_in_the_order_of_their_ids` holds it to that.
        SIGNALS.get(self as usize).unwrap_or(&FIRST)
    }
}

/// On which side of a threshold harm lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// High values are harmful.
    Above,
    /// Low values are harmful.
    Below,
}

impl Direction {
    /// True when `value` is at `threshold` or beyond it.
    #[must_use]
    pub fn meets(self, value: f64, threshold: f64) -> bool {
        match self {
            Self::Above => value >= threshold,
            Self::Below => value <= threshold,
        }
    }

    /// The comparison as a sign.
    #[must_use]
    pub fn sign(self) -> &'static str {
        match self {
            Self::Above => "≥",
            Self::Below => "≤",
        }
    }
}

/// How a signal's value is shown to people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Show {
    Percent,
    Number,
    BytesPerSecond,
    PerSecond,
    Seconds,
    Celsius,
    YesNo,
}

/// What is fixed about a signal.
#[derive(Debug)]
pub struct SignalDef {
    /// Which.
    pub id: SignalId,
    /// Name in configuration and JSON.
    pub name: &'static str,
    /// Name in sentences.
    pub label: &'static str,
    /// Which side is harmful.
    pub direction: Direction,
    /// Thresholds unless configured otherwise.
    pub default: Thresholds,
    /// Share of the confidence that this signal carries.
    pub weight: f64,
    /// Whether the host must have it for QUIET: absence blocks as much as not knowing.
    pub required: bool,
    /// Whether it tells about disks.
    pub tells_io: bool,
    /// The value at which the signal's score reaches 100.
    pub ideal: f64,
    show: Show,
}

impl SignalDef {
    /// A value with its unit, for people.
    #[must_use]
    pub fn format(&self, value: f64) -> String {
        match self.show {
            Show::Percent if value < 0.0995 => format!("{:.1} %", value * 100.0),
            Show::Percent => format!("{:.0} %", value * 100.0),
            Show::Number => format!("{value:.2}"),
            Show::BytesPerSecond if value >= 1_048_576.0 => format!("{:.1} MiB/s", value / 1_048_576.0),
            Show::BytesPerSecond => format!("{:.0} KiB/s", value / 1_024.0),
            Show::PerSecond => format!("{value:.0}/s"),
            Show::Seconds => format!("{:.0} ms", value * 1_000.0),
            Show::Celsius => format!("{value:.0} °C"),
            Show::YesNo => if value >= 0.5 { "yes" } else { "no" }.to_owned(),
        }
    }
}

pub(super) const OFF: Thresholds =
    Thresholds { enabled: false, quiet: None, leave: None, busy: None, panic: None };

const fn steps(quiet: f64, leave: f64, busy: f64) -> Thresholds {
    Thresholds { enabled: true, quiet: Some(quiet), leave: Some(leave), busy: Some(busy), panic: None }
}

const fn with_panic(quiet: f64, leave: f64, busy: f64, panic: f64) -> Thresholds {
    Thresholds { enabled: true, quiet: Some(quiet), leave: Some(leave), busy: Some(busy), panic: Some(panic) }
}

const FIRST: SignalDef = SignalDef {
    id: SignalId::Cpu,
    name: "cpu",
    label: "CPU use",
    direction: Direction::Above,
    default: steps(0.25, 0.35, 0.50),
    weight: 0.30,
    required: true,
    tells_io: false,
    ideal: 0.0,
    show: Show::Percent,
};

#[expect(clippy::too_many_arguments, reason = "one row of the table below, in the order of its columns")]
const fn signal(
    id: SignalId,
    name: &'static str,
    label: &'static str,
    direction: Direction,
    ideal: f64,
    show: Show,
    default: Thresholds,
    weight: f64,
) -> SignalDef {
    let required = matches!(id, SignalId::MemoryAvailable);
    let tells_io = matches!(id, SignalId::IoPressure | SignalId::DiskBusy);
    SignalDef { id, name, label, direction, default, weight, required, tells_io, ideal, show }
}

/// Every signal, in the order of [`SignalId`]. Where each number comes from: docs/adr/004-quiet.md.
pub const SIGNALS: [SignalDef; SignalId::COUNT] = {
    use Direction::{Above, Below};
    use SignalId as S;
    [
        FIRST,
        signal(
            S::LoadPerCore,
            "load_per_core",
            "load per core",
            Above,
            0.0,
            Show::Number,
            steps(0.5, 0.8, 2.0),
            0.05,
        ),
        signal(
            S::CpuPressure,
            "cpu_pressure",
            "CPU pressure",
            Above,
            0.0,
            Show::Percent,
            steps(0.05, 0.10, 0.10),
            0.10,
        ),
        signal(
            S::MemoryPressure,
            "memory_pressure",
            "memory full pressure",
            Above,
            0.0,
            Show::Percent,
            with_panic(0.01, 0.02, 0.05, 0.15),
            0.15,
        ),
        signal(
            S::IoPressure,
            "io_pressure",
            "I/O full pressure",
            Above,
            0.0,
            Show::Percent,
            steps(0.03, 0.05, 0.10),
            0.15,
        ),
        signal(
            S::DiskBusy,
            "disk_busy",
            "disk busy time",
            Above,
            0.0,
            Show::Percent,
            steps(0.20, 0.40, 0.70),
            0.10,
        ),
        signal(
            S::SwapRate,
            "swap_rate",
            "swapping",
            Above,
            0.0,
            Show::BytesPerSecond,
            steps(65_536.0, 262_144.0, 4_194_304.0),
            0.05,
        ),
        signal(
            S::MemoryAvailable,
            "memory_available",
            "available memory",
            Below,
            0.5,
            Show::Percent,
            with_panic(0.15, 0.10, 0.07, 0.05),
            0.15,
        ),
        signal(
            S::SwapUsed,
            "swap_used",
            "swap use with little memory left",
            Above,
            0.0,
            Show::Percent,
            Thresholds { enabled: true, quiet: None, leave: None, busy: None, panic: Some(0.90) },
            0.0,
        ),
        signal(
            S::DiskSpace,
            "disk_space",
            "free disk space",
            Below,
            0.2,
            Show::Percent,
            steps(0.05, 0.03, 0.01),
            0.0,
        ),
        signal(
            S::ApiRate,
            "api_rate",
            "API requests",
            Above,
            0.0,
            Show::PerSecond,
            steps(20.0, 50.0, 200.0),
            0.0,
        ),
        signal(
            S::ApiLatency,
            "api_latency",
            "API p95 latency",
            Above,
            0.0,
            Show::Seconds,
            steps(0.1, 0.25, 1.0),
            0.0,
        ),
        signal(
            S::ThermalHeadroom,
            "thermal_headroom",
            "thermal headroom",
            Below,
            40.0,
            Show::Celsius,
            with_panic(20.0, 15.0, 10.0, 3.0),
            0.0,
        ),
        signal(
            S::OnBattery,
            "on_battery",
            "running on battery",
            Above,
            0.0,
            Show::YesNo,
            Thresholds { enabled: true, quiet: Some(0.5), leave: Some(0.5), busy: None, panic: None },
            0.0,
        ),
    ]
};

/// A value with the thing it belongs to.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Known {
    pub(super) raw: f64,
    pub(super) subject: Option<String>,
    /// False when the value is a danger only together with something that is not the case now.
    may_panic: bool,
}

/// One signal in one snapshot.
#[derive(Debug)]
pub(super) struct Reading {
    pub(super) signal: SignalId,
    pub(super) value: Result<Known, Missing>,
    /// Mean over the configured window.
    pub(super) mean: Option<f64>,
    /// Mean over the last ten seconds, what PANIC is judged by.
    recent: Option<f64>,
    /// Not judged: switched off, or another signal says more.
    idle: Option<InputStatus>,
}

/// The CPU use above which CPU pressure means something: below it a single CPU-limited container can show 58 % pressure.
pub(crate) const CPU_PRESSURE_GATE_RATIO: f64 = 0.70;

/// The available share of memory below which a full swap is harmful (systemd-oomd asks for both as well).
const SWAP_USED_GATE_RATIO: f64 = 0.10;

/// The available share of memory below which it does not matter whose work takes the rest: the threshold of BUSY.
const MEMORY_DANGER_RATIO: f64 = 0.07;

/// What PANIC is averaged over.
const PANIC_WINDOW: Duration = Duration::from_secs(10);

/// How much of it must have been observed: all but a tick's worth of slack.
const PANIC_COVERAGE: Duration = Duration::from_secs(8);

/// Reads all signals and remembers them.
pub(super) fn read(
    snapshot: &Snapshot,
    now: MonoTime,
    config: &QuietConfig,
    memory: &mut SignalMemory,
) -> Vec<Reading> {
    memory.started.get_or_insert(now);
    // Load stands in where there is no pressure, not while pressure is only not known yet.
    let pressure = config.of(SignalId::CpuPressure).enabled.then(|| raw(SignalId::CpuPressure, snapshot));
    let load_unused = pressure.is_some_and(|pressure| !matches!(pressure, Err(Missing::Absent(_))));
    let one = |def: &SignalDef| {
        let value = raw(def.id, snapshot);
        let source = snapshot.collector(def.id.collector());
        let interval = source.map_or(snapshot.interval, |source| source.interval.max(snapshot.interval));
        let (mean, recent) = match (&value, memory.histories.get_mut(def.id as usize)) {
            (Ok(known), Some(history)) => {
                // A slow collector's value stands in many snapshots, but it was measured once.
                if source.is_some_and(|source| source.fresh) {
                    history.push(now, known.raw);
                }
                let mean = history.mean(now, config.mean_window, interval);
                // One bad reading has not lasted for ten seconds, however long it stands.
                let recent = history.mean(now, PANIC_WINDOW.max(interval * 2), interval);
                let lasted = recent.filter(|recent| recent.covered >= PANIC_COVERAGE && recent.samples >= 2);
                (mean.map(|mean| mean.value), lasted.map(|recent| recent.value))
            }
            (Err(_), Some(history)) => {
                history.clear();
                (None, None)
            }
            (_, None) => (None, None),
        };
        let idle = if !config.of(def.id).enabled {
            Some(InputStatus::Disabled)
        } else if def.id == SignalId::LoadPerCore && load_unused {
            Some(InputStatus::Unused)
        } else {
            None
        };
        Reading { signal: def.id, value, mean, recent, idle }
    };
    SIGNALS.iter().map(one).collect()
}

impl Reading {
    /// True when the signal takes part in the verdict.
    pub(super) fn counts(&self) -> bool {
        self.idle.is_none()
    }

    pub(super) fn status(&self) -> InputStatus {
        self.idle.unwrap_or(match &self.value {
            Ok(_) => InputStatus::Known,
            Err(Missing::Absent(_)) => InputStatus::Absent,
            Err(Missing::Unknown(_)) => InputStatus::Unknown,
        })
    }

    pub(super) fn note(&self) -> Option<String> {
        match (&self.value, self.idle) {
            (_, Some(InputStatus::Unused)) => Some("CPU pressure says more".to_owned()),
            (Err(Missing::Absent(why) | Missing::Unknown(why)), _) => Some(why.clone()),
            _ => None,
        }
    }

    /// The state that this sample of this signal asks for.
    pub(super) fn level(&self, config: &QuietConfig) -> Level {
        if !self.counts() {
            return Level::Quiet;
        }
        let known = match &self.value {
            Ok(known) => known,
            Err(Missing::Unknown(_)) => return Level::Normal,
            Err(Missing::Absent(_)) if self.signal.def().required => return Level::Normal,
            Err(Missing::Absent(_)) => return Level::Quiet,
        };
        let (direction, thresholds) = (self.signal.def().direction, config.of(self.signal));
        let met =
            |value: f64, threshold: Option<f64>| threshold.is_some_and(|limit| direction.meets(value, limit));
        if known.may_panic && self.recent.is_some_and(|recent| met(recent, thresholds.panic)) {
            Level::Panic
        } else if met(known.raw, thresholds.busy) {
            Level::Busy
        } else if met(known.raw, thresholds.leave) {
            Level::Normal
        } else {
            Level::Quiet
        }
    }

    /// Whether the mean lets QUIET begin.
    pub(super) fn mean_is_calm(&self, config: &QuietConfig) -> bool {
        let (Some(mean), Some(quiet)) = (self.mean, config.of(self.signal).quiet) else { return true };
        !self.counts() || !self.signal.def().direction.meets(mean, quiet)
    }

    /// Whether the signal keeps a BUSY host busy: beyond half-way from `leave` to `busy`.
    pub(super) fn holds_busy(&self, config: &QuietConfig) -> bool {
        let thresholds = config.of(self.signal);
        let Some(busy) = thresholds.busy else { return false };
        let clear = f64::midpoint(thresholds.leave.unwrap_or(busy), busy);
        self.beyond(clear)
    }

    /// Whether the signal keeps a PANIC host in panic: beyond half of the entry value (twice, where low is harmful).
    pub(super) fn holds_panic(&self, config: &QuietConfig) -> bool {
        let Some(panic) = config.of(self.signal).panic else { return false };
        let clear = match self.signal.def().direction {
            Direction::Above => panic / 2.0,
            Direction::Below => panic * 2.0,
        };
        self.beyond(clear)
    }

    fn beyond(&self, limit: f64) -> bool {
        self.counts()
            && matches!(&self.value, Ok(known) if self.signal.def().direction.meets(known.raw, limit))
    }
}

/// Where each signal's raw value comes from.
fn raw(signal: SignalId, snapshot: &Snapshot) -> Result<Known, Missing> {
    let host = |collector, metric| single(snapshot, collector, metric);
    match signal {
        SignalId::Cpu => cpu_use(snapshot),
        SignalId::LoadPerCore => {
            let cores = host("cpu", "host_cpu_logical_processors")?.raw.max(1.0);
            // Leased work that wants to run is in the load too.
            let leased = leased(snapshot, "host_leased_runnable_processes").unwrap_or(0.0);
            host("system", "host_system_load_average1")
                .map(|load| Known { raw: (load.raw - leased).max(0.0) / cores, ..load })
        }
        SignalId::CpuPressure => {
            let waiting =
                pressure(snapshot, "host_pressure_cpu_waiting_ratio", "host_others_cpu_waiting_ratio")?;
            let gated = cpu_use(snapshot)?.raw < CPU_PRESSURE_GATE_RATIO;
            Ok(if gated { Known { raw: 0.0, ..waiting } } else { waiting })
        }
        SignalId::MemoryPressure => {
            pressure(snapshot, "host_pressure_memory_stalled_ratio", "host_others_memory_stalled_ratio")
        }
        SignalId::IoPressure => {
            pressure(snapshot, "host_pressure_io_stalled_ratio", "host_others_io_stalled_ratio")
        }
        SignalId::DiskBusy => disk_busy(snapshot),
        SignalId::SwapRate => {
            let swapped_in = host("memory", "host_memory_swap_in_bytes_per_second")?;
            let swapped_out = host("memory", "host_memory_swap_out_bytes_per_second")?;
            Ok(Known { raw: swapped_in.raw + swapped_out.raw, ..swapped_in })
        }
        SignalId::MemoryAvailable => memory_available(snapshot),
        SignalId::SwapUsed => {
            let used = host("memory", "host_memory_swap_used_ratio")?;
            let short = host("memory", "host_memory_available_ratio")?.raw < SWAP_USED_GATE_RATIO;
            Ok(if short { used } else { Known { raw: 0.0, ..used } })
        }
        SignalId::DiskSpace => disk_space(snapshot),
        SignalId::ApiRate => host("api", "api_requests_per_second"),
        SignalId::ApiLatency => match host("api", "api_latency_p95_seconds") {
            // No requests, no latency: that is an idle API, not an unknown one.
            Err(Missing::Absent(_)) => Err(Missing::Absent("no requests in the last minute".to_owned())),
            known => known,
        },
        SignalId::ThermalHeadroom => worst(snapshot, "sensors", "host_sensors_headroom_celsius", f64::lt),
        SignalId::OnBattery => host("power", "host_power_on_battery"),
    }
}

/// What leased work uses, by the collector that tells it apart; `None` where it does not, and then nothing is left out.
fn leased(snapshot: &Snapshot, metric: &'static str) -> Option<f64> {
    single(snapshot, "leased", metric).ok().map(|known| known.raw)
}

/// Pressure on the whole host, or on all but leased work while there is some: what a lease's own work waits for disturbs nobody.
fn pressure(snapshot: &Snapshot, all: &'static str, others: &'static str) -> Result<Known, Missing> {
    let known = single(snapshot, "pressure", all)?;
    let others = leased(snapshot, others);
    Ok(Known { raw: others.map_or(known.raw, |others| others.min(known.raw)), ..known })
}

/// CPU use without niced work, which gives way by itself (Windows and netdata leave it out as well), and without leased work. Of that the
/// niced part is already left out.
fn cpu_use(snapshot: &Snapshot) -> Result<Known, Missing> {
    let usage = single(snapshot, "cpu", "host_cpu_usage_ratio")?;
    let nice = single(snapshot, "cpu", "host_cpu_nice_ratio").map_or(0.0, |nice| nice.raw);
    let of_leased = |metric| leased(snapshot, metric).unwrap_or(0.0);
    let leased =
        (of_leased("host_leased_cpu_usage_ratio") - of_leased("host_leased_cpu_nice_ratio")).max(0.0);
    Ok(Known { raw: (usage.raw - nice - leased).clamp(0.0, 1.0), ..usage })
}

/// Busy time of the busiest disk, without the share that leased work has in what all disks moved. A disk does not tell for whom it was
/// busy; bytes are the nearest to it that is counted for each.
fn disk_busy(snapshot: &Snapshot) -> Result<Known, Missing> {
    let busy = worst(snapshot, "disk", "host_disk_busy_ratio", f64::gt)?;
    let Some(leased) = leased(snapshot, "host_leased_disk_bytes_per_second") else { return Ok(busy) };
    let moved = |metric| {
        let devices = snapshot.values("disk", metric).unwrap_or_default();
        devices.iter().map(|(_, bytes)| bytes).sum::<f64>()
    };
    let all = moved("host_disk_read_bytes_per_second") + moved("host_disk_written_bytes_per_second");
    let others = if all > 0.0 { (1.0 - leased / all).clamp(0.0, 1.0) } else { 1.0 };
    Ok(Known { raw: busy.raw * others, ..busy })
}

/// Little available memory is a danger when the kernel already swaps pages back in, or has nowhere to swap to.
fn memory_available(snapshot: &Snapshot) -> Result<Known, Missing> {
    let mut available = single(snapshot, "memory", "host_memory_available_ratio")?;
    // What leased work takes is there again when it must be; but a host that is about to run out is in danger whoever it is.
    if available.raw > MEMORY_DANGER_RATIO
        && let Ok(size) = single(snapshot, "memory", "host_memory_size_bytes")
        && let Some(leased) = leased(snapshot, "host_leased_memory_bytes")
        && size.raw > 0.0
    {
        available.raw = (available.raw + leased / size.raw).min(1.0);
    }
    let swap = single(snapshot, "memory", "host_memory_swap_size_bytes").map_or(0.0, |swap| swap.raw);
    let swaps_in =
        single(snapshot, "memory", "host_memory_swap_in_bytes_per_second").is_ok_and(|rate| rate.raw > 0.0);
    Ok(Known { may_panic: swap == 0.0 || swaps_in, ..available })
}

/// The fuller of the root file system and that of the data folder.
fn disk_space(snapshot: &Snapshot) -> Result<Known, Missing> {
    let root = snapshot.values("filesystem", "host_filesystem_available_ratio").and_then(|all| {
        let root =
            all.iter().find(|(series, _)| series.label_pairs().any(|pair| pair == ("mountpoint", "/")));
        root.map(|(series, free)| Known { raw: *free, subject: subject(series), may_panic: true })
            .ok_or_else(|| Missing::Absent("no file system is mounted on /".to_owned()))
    });
    let data = single(snapshot, "filesystem", "host_filesystem_data_available_ratio")
        .map(|known| Known { subject: Some("data folder".to_owned()), ..known });
    match (root, data) {
        (Ok(root), Ok(data)) => Ok(if data.raw < root.raw { data } else { root }),
        (known, Err(_)) => known,
        (Err(_), known) => known,
    }
}

fn single(snapshot: &Snapshot, collector: &str, metric: &'static str) -> Result<Known, Missing> {
    worst(snapshot, collector, metric, f64::gt)
}

fn worst(
    snapshot: &Snapshot,
    collector: &str,
    metric: &'static str,
    worse: fn(&f64, &f64) -> bool,
) -> Result<Known, Missing> {
    let values = snapshot.values(collector, metric)?;
    let pick = values.iter().copied().reduce(|one, other| if worse(&other.1, &one.1) { other } else { one });
    pick.map(|(series, raw)| Known { raw, subject: subject(series), may_panic: true })
        .ok_or_else(|| Missing::Absent(format!("no {metric} on this host")))
}

/// What to call a series in a sentence: its last label is the most specific (`sensor` after `chip`), a mount point its first.
fn subject(series: &Series) -> Option<String> {
    let mountpoint = series.label_pairs().find(|(key, _)| *key == "mountpoint");
    mountpoint.or_else(|| series.label_pairs().last()).map(|(_, value)| value.to_owned())
}

/// The recent values of every signal.
#[derive(Clone, Debug, Default)]
pub(super) struct SignalMemory {
    histories: [History; SignalId::COUNT],
    started: Option<MonoTime>,
}

impl SignalMemory {
    /// How much of the mean window has been observed, 0 to 1.
    pub(super) fn coverage(&self, now: MonoTime, config: &QuietConfig) -> f64 {
        let observed = self.started.map_or(Duration::ZERO, |started| now.since(started));
        (observed.as_secs_f64() / config.mean_window.as_secs_f64().max(1.0)).min(1.0)
    }
}

/// The last minute of one signal.
#[derive(Clone, Debug, Default)]
struct History {
    /// Time and value, oldest first.
    samples: std::collections::VecDeque<(MonoTime, f64)>,
}

impl History {
    fn push(&mut self, now: MonoTime, value: f64) {
        while self.samples.len() >= limits::SIGNAL_HISTORY_MAX {
            self.samples.pop_front();
        }
        self.samples.push_back((now, value));
    }

    fn clear(&mut self) {
        self.samples.clear();
    }

    /// Mean over the last `window`, each sample weighing as long as the time since the one before it; the first one as long as
    /// its collector's interval. A sample that is older than the window still counts when it is the newest.
    fn mean(&self, now: MonoTime, window: Duration, interval: Duration) -> Option<Mean> {
        let (mut sum, mut covered, mut samples) = (0.0, Duration::ZERO, 0);
        let mut previous: Option<MonoTime> = None;
        for (time, value) in &self.samples {
            let length = previous.map_or(interval, |previous| time.since(previous));
            previous = Some(*time);
            if now.since(*time) < window {
                sum += value * length.as_secs_f64();
                covered += length;
                samples += 1;
            }
        }
        if covered.is_zero() {
            return self.samples.back().map(|(_, value)| Mean { value: *value, covered, samples });
        }
        Some(Mean { value: sum / covered.as_secs_f64(), covered, samples })
    }
}

/// A mean, how much time it is of, and of how many samples.
struct Mean {
    value: f64,
    covered: Duration,
    samples: usize,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_are_in_the_order_of_their_ids() {
        for (number, def) in SIGNALS.iter().enumerate() {
            assert_eq!(def.id as usize, number, "{}", def.name);
            assert_eq!(def.id.def().name, def.name);
        }
    }

    #[test]
    fn default_thresholds_rise_with_the_harm() {
        for def in &SIGNALS {
            let steps: Vec<f64> = [def.default.quiet, def.default.leave, def.default.busy, def.default.panic]
                .into_iter()
                .flatten()
                .collect();
            let rising = steps.windows(2).all(|pair| def.direction.meets(pair[1], pair[0]));
            assert!(rising, "{}: {steps:?}", def.name);
        }
    }

    #[test]
    fn values_are_shown_with_their_unit() {
        let shown = [
            (SignalId::Cpu, 0.98, "98 %"),
            (SignalId::IoPressure, 0.034, "3.4 %"),
            (SignalId::ApiLatency, 0.25, "250 ms"),
        ];
        for (signal, value, text) in shown {
            assert_eq!(signal.def().format(value), text);
        }
    }
}
