//! Who is behind a signal: the service, container or process group that uses most of what the signal is about, from the samples of
//! the collector `units`. Pure. It names, and decides nothing: no state and no threshold depends on it. `quiet.rs` calls it for
//! the reasons that it gives.

use super::SignalId;
use crate::metric::Series;
use crate::report::CollectorStatus;
use crate::snapshot::Snapshot;
use std::collections::BTreeMap;

/// The collector that tells what each unit uses.
const COLLECTOR: &str = "units";

/// Share of what all listed units use that one must carry to be named: below it, it is one of several.
const SHARE_LEAST: f64 = 0.5;

/// Share of all processors below which a unit is not named. The signal may be of this second and the units of fifteen seconds ago:
/// who used next to nothing then, though more than others, is not behind it.
const CPU_LEAST: f64 = 0.10;

/// Bytes a second below which a unit is not named, for the same reason. A hundred small reads a second keep a hard disk busy.
const IO_LEAST: f64 = 256.0 * 1_024.0;

/// The word of the label `kind` for a lease's own work.
const LEASE: &str = "lease";

/// The word of the label `kind` for a process group, whose name any program may choose for itself.
const GROUP: &str = "group";

/// What a signal is about.
enum Resource {
    Cpu,
    Memory,
    Io,
}

impl Resource {
    fn of(signal: SignalId) -> Option<Self> {
        match signal {
            SignalId::Cpu | SignalId::LoadPerCore | SignalId::CpuPressure => Some(Self::Cpu),
            SignalId::IoPressure | SignalId::DiskBusy => Some(Self::Io),
            SignalId::MemoryPressure
            | SignalId::MemoryAvailable
            | SignalId::SwapRate
            | SignalId::SwapUsed => Some(Self::Memory),
            SignalId::DiskSpace
            | SignalId::ApiRate
            | SignalId::ApiLatency
            | SignalId::ThermalHeadroom
            | SignalId::OnBattery => None,
        }
    }

    /// The metrics whose sum tells how much a unit uses, and the least of it that counts.
    fn measure(&self) -> (&'static [&'static str], f64) {
        match self {
            Self::Cpu => (&["host_units_cpu_usage_ratio"], CPU_LEAST),
            Self::Memory => (&["host_units_memory_bytes"], 0.0),
            Self::Io => {
                (&["host_units_read_bytes_per_second", "host_units_written_bytes_per_second"], IO_LEAST)
            }
        }
    }
}

/// Who is behind a signal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Culprit {
    /// The unit's name, cleaned by the collector.
    pub(super) name: String,
    /// Whether it is only a process group.
    is_group: bool,
}

impl Culprit {
    /// As the end of a reason's text. A program can call itself like a service; it is then still called a process.
    pub(super) fn words(&self) -> String {
        format!(", mostly {}{}", if self.is_group { "process " } else { "" }, self.name)
    }
}

/// The unit that carries at least half of what all listed units carry of the resource behind `signal`; those of leases are left out, as
/// they are of the signals. `None` when there is no such one, when the units are not freshly known, and for signals that no unit is behind.
pub(super) fn find(snapshot: &Snapshot, signal: SignalId) -> Option<Culprit> {
    let (metrics, least) = Resource::of(signal)?.measure();
    let report = snapshot.collector(COLLECTOR)?;
    if report.status != CollectorStatus::Ok || report.stale {
        return None;
    }
    let samples = report.samples.as_ref()?;
    let mut units: BTreeMap<&[Box<str>], (&Series, f64)> = BTreeMap::new();
    for metric in metrics {
        for (series, value) in samples.of(metric).filter(|(series, _)| !is_leased(series)) {
            units.entry(&series.labels).or_insert((series, 0.0)).1 += value.max(0.0);
        }
    }
    let total: f64 = units.values().map(|(_, value)| value).sum();
    // Of equals the first by name, so that the same samples always name the same one.
    let (series, most) = units.values().rev().max_by(|(_, one), (_, other)| one.total_cmp(other))?;
    let label = |key: &str| series.label_pairs().find(|(have, _)| *have == key).map(|(_, value)| value);
    let (name, kind) = (label("unit")?, label("kind")?);
    let behind = *most > 0.0 && *most >= least && *most >= total * SHARE_LEAST;
    behind.then(|| Culprit { name: name.to_owned(), is_group: kind == GROUP })
}

fn is_leased(series: &Series) -> bool {
    series.label_pairs().any(|pair| pair == ("kind", LEASE))
}

#[cfg(test)]
mod tests;
