//! The `[quiet]` section: when the machine counts as quiet, with one sub-section for each signal.
//!
//! These are twins of the types in `lowtide_core::quiet`, which know nothing of files, documents or schemas. Deciding
//! happens there, and so do the defaults; here are only names, texts and ranges. `wire` hands [`QuietConfig::to_core`] on.

use lowtide_core::quiet::{self as core, Direction, SignalDef, SignalId};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Upper end of the range of seconds-long holds: one day.
const HOLD_SECONDS_MAX: u32 = 86_400;

/// The `[quiet]` section.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct QuietConfig {
    /// How long every signal must have been calm before QUIET begins.
    #[schemars(range(max = HOLD_SECONDS_MAX))]
    pub dwell_seconds: u32,
    /// How long BUSY lasts after the last busy sample.
    #[schemars(range(max = HOLD_SECONDS_MAX))]
    pub busy_hold_seconds: u32,
    /// How long PANIC lasts after all its signals fell to half of their entry values.
    #[schemars(range(max = HOLD_SECONDS_MAX))]
    pub panic_hold_seconds: u32,
    /// Length of the sliding mean that the `quiet` thresholds judge.
    #[schemars(range(min = 1, max = 60))]
    pub mean_window_seconds: u32,
    /// Thresholds of each signal, in its unit. A value is at a threshold when it is equal or on the harmful side of it,
    /// which is above for most signals and below for `memory_available`, `disk_space` and `thermal_headroom`.
    pub signals: Signals,
}

impl Default for QuietConfig {
    fn default() -> Self {
        let core = core::QuietConfig::default();
        // The defaults are whole seconds far below 2^32; the test `defaults_are_those_of_the_decision_core` holds them to it.
        let seconds = |duration: Duration| u32::try_from(duration.as_secs()).unwrap_or(u32::MAX);
        Self {
            dwell_seconds: seconds(core.dwell),
            busy_hold_seconds: seconds(core.busy_hold),
            panic_hold_seconds: seconds(core.panic_hold),
            mean_window_seconds: seconds(core.mean_window),
            signals: Signals::default(),
        }
    }
}

impl QuietConfig {
    /// The same for the decision core.
    #[must_use]
    pub fn to_core(&self) -> core::QuietConfig {
        let seconds = |seconds: u32| Duration::from_secs(seconds.into());
        core::QuietConfig {
            dwell: seconds(self.dwell_seconds),
            busy_hold: seconds(self.busy_hold_seconds),
            panic_hold: seconds(self.panic_hold_seconds),
            mean_window: seconds(self.mean_window_seconds),
            signals: self.signals.all().map(|(_, signal)| core::Thresholds {
                enabled: signal.enabled,
                quiet: signal.quiet,
                leave: signal.leave,
                busy: signal.busy,
                panic: signal.panic,
            }),
        }
    }
}

/// The `[quiet.signals.<name>]` sections.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Signals {
    /// Share of CPU time in use by work that is not niced.
    #[schemars(schema_with = "ratio")]
    pub cpu: Signal,
    /// Load average per core. Counts only where CPU pressure cannot be read.
    #[schemars(schema_with = "load")]
    pub load_per_core: Signal,
    /// Share of time in which some task waited for a CPU (PSI some). Counts only when CPU use is high, too.
    #[schemars(schema_with = "ratio")]
    pub cpu_pressure: Signal,
    /// Share of time in which all tasks waited for memory (PSI full).
    #[schemars(schema_with = "ratio")]
    pub memory_pressure: Signal,
    /// Share of time in which all tasks waited for storage (PSI full).
    #[schemars(schema_with = "ratio")]
    pub io_pressure: Signal,
    /// Share of time in which the busiest block device had work.
    #[schemars(schema_with = "ratio")]
    pub disk_busy: Signal,
    /// Bytes a second moved to and from swap.
    #[schemars(schema_with = "bytes_per_second")]
    pub swap_rate: Signal,
    /// Share of memory that is available without swapping.
    #[schemars(schema_with = "ratio")]
    pub memory_available: Signal,
    /// Share of swap in use. Full swap alone is common and harmless: PANIC also takes that little memory is available.
    #[schemars(schema_with = "ratio")]
    pub swap_used: Signal,
    /// Free share of the fullest of the root and data file systems.
    #[schemars(schema_with = "ratio")]
    pub disk_space: Signal,
    /// Requests per second to Lowtide's API.
    #[schemars(schema_with = "per_second")]
    pub api_rate: Signal,
    /// 95th percentile of the API's answer time.
    #[schemars(schema_with = "seconds")]
    pub api_latency: Signal,
    /// Degrees between the hottest sensor and its critical temperature.
    #[schemars(schema_with = "celsius")]
    pub thermal_headroom: Signal,
    /// 1 on battery, 0 on mains.
    #[schemars(schema_with = "ratio")]
    pub on_battery: Signal,
}

impl Default for Signals {
    fn default() -> Self {
        let of = |id: SignalId| Signal::from(&id.def().default);
        Self {
            cpu: of(SignalId::Cpu),
            load_per_core: of(SignalId::LoadPerCore),
            cpu_pressure: of(SignalId::CpuPressure),
            memory_pressure: of(SignalId::MemoryPressure),
            io_pressure: of(SignalId::IoPressure),
            disk_busy: of(SignalId::DiskBusy),
            swap_rate: of(SignalId::SwapRate),
            memory_available: of(SignalId::MemoryAvailable),
            swap_used: of(SignalId::SwapUsed),
            disk_space: of(SignalId::DiskSpace),
            api_rate: of(SignalId::ApiRate),
            api_latency: of(SignalId::ApiLatency),
            thermal_headroom: of(SignalId::ThermalHeadroom),
            on_battery: of(SignalId::OnBattery),
        }
    }
}

impl Signals {
    /// All signals with their definitions, in the order of [`SignalId`].
    #[must_use]
    pub fn all(&self) -> [(&'static SignalDef, &Signal); SignalId::COUNT] {
        [
            (SignalId::Cpu.def(), &self.cpu),
            (SignalId::LoadPerCore.def(), &self.load_per_core),
            (SignalId::CpuPressure.def(), &self.cpu_pressure),
            (SignalId::MemoryPressure.def(), &self.memory_pressure),
            (SignalId::IoPressure.def(), &self.io_pressure),
            (SignalId::DiskBusy.def(), &self.disk_busy),
            (SignalId::SwapRate.def(), &self.swap_rate),
            (SignalId::MemoryAvailable.def(), &self.memory_available),
            (SignalId::SwapUsed.def(), &self.swap_used),
            (SignalId::DiskSpace.def(), &self.disk_space),
            (SignalId::ApiRate.def(), &self.api_rate),
            (SignalId::ApiLatency.def(), &self.api_latency),
            (SignalId::ThermalHeadroom.def(), &self.thermal_headroom),
            (SignalId::OnBattery.def(), &self.on_battery),
        ]
    }
}

/// One `[quiet.signals.<name>]` section. A threshold that is `None` never triggers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Signal {
    /// Whether the signal is looked at.
    pub enabled: bool,
    /// The mean over `mean_window_seconds` must be short of this for QUIET to begin.
    pub quiet: Option<f64>,
    /// One sample at this ends QUIET.
    pub leave: Option<f64>,
    /// One sample at this makes the host BUSY.
    pub busy: Option<f64>,
    /// A mean over ten seconds at this makes the host PANIC.
    pub panic: Option<f64>,
}

impl Default for Signal {
    fn default() -> Self {
        Self { enabled: true, quiet: None, leave: None, busy: None, panic: None }
    }
}

impl From<&core::Thresholds> for Signal {
    fn from(core: &core::Thresholds) -> Self {
        Self {
            enabled: core.enabled,
            quiet: core.quiet,
            leave: core.leave,
            busy: core.busy,
            panic: core.panic,
        }
    }
}

impl Signal {
    /// The thresholds with their names, from calm to bad.
    #[must_use]
    pub fn thresholds(&self) -> [(&'static str, Option<f64>); 4] {
        [("quiet", self.quiet), ("leave", self.leave), ("busy", self.busy), ("panic", self.panic)]
    }
}

fn ratio(generator: &mut SchemaGenerator) -> Schema {
    signal_schema(generator, "ratio", 1.0)
}

fn load(generator: &mut SchemaGenerator) -> Schema {
    signal_schema(generator, "load per core", 1e3)
}

fn bytes_per_second(generator: &mut SchemaGenerator) -> Schema {
    signal_schema(generator, "bytes per second", 1e12)
}

fn per_second(generator: &mut SchemaGenerator) -> Schema {
    signal_schema(generator, "requests per second", 1e6)
}

fn seconds(generator: &mut SchemaGenerator) -> Schema {
    signal_schema(generator, "seconds", 3_600.0)
}

fn celsius(generator: &mut SchemaGenerator) -> Schema {
    signal_schema(generator, "degrees celsius", 200.0)
}

/// The schema of [`Signal`] with the unit and range of one signal. All signals share one Rust type, because code treats
/// them alike; only what a person may write differs.
fn signal_schema(generator: &mut SchemaGenerator, unit: &str, max: f64) -> Schema {
    let mut schema = <Signal as JsonSchema>::json_schema(generator);
    let thresholds = Signal::default().thresholds().map(|(name, _)| name);
    for name in thresholds {
        let Some(property) =
            schema.pointer_mut(&format!("/properties/{name}")).and_then(|at| at.as_object_mut())
        else {
            continue;
        };
        property.insert("minimum".to_owned(), 0.0.into());
        property.insert("maximum".to_owned(), max.into());
        property.insert("x-unit".to_owned(), unit.into());
    }
    schema
}

/// Whether two neighbouring thresholds, the calmer one first, are in the order that the signal's direction asks for.
pub(super) fn in_order(direction: Direction, calmer: f64, worse: f64) -> bool {
    match direction {
        Direction::Above => calmer <= worse,
        Direction::Below => calmer >= worse,
    }
}
