//! What addons cost and do, as series of the daemon's own: one for each addon and figure. Made by the tick from counters, like every
//! other report, so it is in the window, in history and in the exposition.

use crate::addon::Addon;
use crate::status::AddonState;
use lowtide_core::metric::{MetricDef, SampleBuffer, Text};
use lowtide_core::report::{CollectorInfo, CollectorReport, CollectorStatus, Samples};
use lowtide_core::units::{Now, Unit, WallTime};
use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

const BY_ADDON: &[Text] = &[Cow::Borrowed("addon")];
const BY_ADDON_STATE: &[Text] = &[Cow::Borrowed("addon"), Cow::Borrowed("state")];
const BY_ADDON_REASON: &[Text] = &[Cow::Borrowed("addon"), Cow::Borrowed("reason")];
const BY_ADDON_VERSION: &[Text] = &[Cow::Borrowed("addon"), Cow::Borrowed("version")];

/// One addon as the metering sees it at a tick.
struct Row {
    addon: Arc<Addon>,
    metered: crate::meter::Metered,
    cpu_ratio: f64,
    uptime: Duration,
    series: usize,
    log_lines: u64,
    log_dropped: u64,
}

type Column = (MetricDef, fn(&Row) -> f64);

/// Figures with the one label `addon`, in the order of the exposition.
static COLUMNS: [Column; 19] = [
    (
        MetricDef::gauge(
            "addons_cpu_usage_ratio",
            Unit::Ratio,
            BY_ADDON,
            "CPU time of the addon's calls as a share of one core, since the tick before.",
        ),
        |row| row.cpu_ratio,
    ),
    (
        MetricDef::counter(
            "addons_cpu_seconds_total",
            Unit::Seconds,
            BY_ADDON,
            "CPU time of the addon's calls.",
        ),
        |row| seconds(row.metered.cpu_ns),
    ),
    (
        MetricDef::counter(
            "addons_paused_seconds_total",
            Unit::Seconds,
            BY_ADDON,
            "Time in which a job of the addon stood still because its lease was paused.",
        ),
        |row| seconds(row.metered.paused_ns),
    ),
    (
        MetricDef::gauge(
            "addons_memory_bytes",
            Unit::Bytes,
            BY_ADDON,
            "Linear memory of the addon's present instances, with the one that runs a job; 0 when it has none.",
        ),
        |row| count(row.metered.memory_bytes.saturating_add(row.metered.job_memory_bytes)),
    ),
    (
        MetricDef::gauge(
            "addons_memory_peak_bytes",
            Unit::Bytes,
            BY_ADDON,
            "The most linear memory that any instance of the addon had.",
        ),
        |row| count(row.metered.memory_peak_bytes),
    ),
    (
        MetricDef::gauge(
            "addons_uptime_seconds",
            Unit::Seconds,
            BY_ADDON,
            "How long the addon's present instance has been running; 0 when it has none.",
        ),
        |row| row.uptime.as_secs_f64(),
    ),
    (
        MetricDef::gauge("addons_series", Unit::Count, BY_ADDON, "Series that the addon has at present."),
        |row| count(row.series as u64),
    ),
    (
        MetricDef::counter(
            "addons_calls_total",
            Unit::Count,
            BY_ADDON,
            "Calls of the addon that came to an end, good or bad.",
        ),
        |row| count(row.metered.calls),
    ),
    (
        MetricDef::counter(
            "addons_call_seconds_total",
            Unit::Seconds,
            BY_ADDON,
            "Time from begin to end of the addon's calls, waits included.",
        ),
        |row| seconds(row.metered.call_ns),
    ),
    (
        MetricDef::counter(
            "addons_failures_total",
            Unit::Count,
            BY_ADDON,
            "Calls that the addon answered with a failure of its own.",
        ),
        |row| count(row.metered.failures),
    ),
    (
        MetricDef::counter(
            "addons_crashes_total",
            Unit::Count,
            BY_ADDON,
            "Calls that ended in a trap or were stopped: the instance was dropped.",
        ),
        |row| count(row.metered.crashes),
    ),
    (
        MetricDef::counter(
            "addons_restarts_total",
            Unit::Count,
            BY_ADDON,
            "Instances of the addon that were started after its first one.",
        ),
        |row| count(row.metered.restarts),
    ),
    (
        MetricDef::counter(
            "addons_recycles_total",
            Unit::Count,
            BY_ADDON,
            "Instances replaced because they held too much memory.",
        ),
        |row| count(row.metered.recycles),
    ),
    (
        MetricDef::counter(
            "addons_memory_refusals_total",
            Unit::Count,
            BY_ADDON,
            "Times that the addon was refused more memory.",
        ),
        |row| count(row.metered.memory_refusals),
    ),
    (
        MetricDef::counter(
            "addons_host_calls_total",
            Unit::Count,
            BY_ADDON,
            "Calls from the addon to the host.",
        ),
        |row| count(row.metered.host_calls),
    ),
    (
        MetricDef::counter("addons_events_total", Unit::Count, BY_ADDON, "Events that the addon reported."),
        |row| count(row.metered.events),
    ),
    (
        MetricDef::counter(
            "addons_dropped_events_total",
            Unit::Count,
            BY_ADDON,
            "Events of the addon that were refused or too many.",
        ),
        |row| count(row.metered.dropped_events),
    ),
    (
        MetricDef::counter(
            "addons_log_lines_total",
            Unit::Count,
            BY_ADDON,
            "Lines that the addon wrote to its log.",
        ),
        |row| count(row.log_lines),
    ),
    (
        MetricDef::counter(
            "addons_dropped_log_lines_total",
            Unit::Count,
            BY_ADDON,
            "Lines of the addon that were too many.",
        ),
        |row| count(row.log_dropped),
    ),
];

static DROPPED: MetricDef = MetricDef::counter(
    "addons_dropped_samples_total",
    Unit::Count,
    BY_ADDON_REASON,
    "Samples of the addon that were left out: of undeclared metrics, of series given twice, invalid ones, and those beyond its number of series.",
);

static STATE: MetricDef = MetricDef::gauge(
    "addons_state",
    Unit::Count,
    BY_ADDON_STATE,
    "1 for the state that the addon is in, 0 for the others.",
);

static INFO: MetricDef = MetricDef::gauge(
    "addons_info",
    Unit::Count,
    BY_ADDON_VERSION,
    "Version in the addon's manifest; always 1.",
);

/// What the metering remembers from tick to tick.
#[derive(Debug, Default)]
pub(crate) struct Metering {
    info: Option<Arc<CollectorInfo>>,
    buffer: SampleBuffer,
    /// CPU time of each addon at the tick before, and when that was.
    before: HashMap<String, (u64, Duration)>,
    since: Option<WallTime>,
    runs: u64,
}

impl Metering {
    /// The report of a tick.
    pub(crate) fn report(&mut self, now: Now, addons: &[Arc<Addon>]) -> CollectorReport {
        let since = *self.since.get_or_insert(now.wall);
        self.runs += 1;
        let mut before = HashMap::with_capacity(addons.len());
        let rows: Vec<Row> = addons
            .iter()
            .map(|addon| {
                let metered = addon.shared.meter.read();
                let id = addon.shared.id.to_string();
                let cpu_ratio = self.before.get(&id).map_or(f64::NAN, |(cpu_ns, at)| {
                    let passed = now.mono.0.saturating_sub(*at).as_secs_f64();
                    if passed > 0.0 {
                        seconds(metered.cpu_ns.saturating_sub(*cpu_ns)) / passed
                    } else {
                        f64::NAN
                    }
                });
                before.insert(id, (metered.cpu_ns, now.mono.0));
                let (log_lines, log_dropped) = {
                    let log = addon.shared.log();
                    (log.newest(), log.dropped())
                };
                let series = addon.shared.recorder().series();
                let uptime = addon.uptime(now.mono);
                Row { addon: Arc::clone(addon), metered, cpu_ratio, uptime, series, log_lines, log_dropped }
            })
            .collect();
        self.before = before;
        self.write(&rows);
        let samples = Samples {
            series: self.buffer.layout(),
            values: self.buffer.values().into(),
            dropped: self.buffer.dropped(),
            settled: true,
        };
        CollectorReport {
            info: Arc::clone(self.info.get_or_insert_with(|| Arc::new(info()))),
            status: CollectorStatus::Ok,
            samples: Some(Arc::new(samples)),
            collected_at: Some((now.mono, now.wall)),
            fresh: true,
            stale: false,
            duration: Duration::ZERO,
            interval: Duration::ZERO,
            error: None,
            status_since: since,
            runs: self.runs,
            failures: 0,
            overruns: 0,
        }
    }

    fn write(&mut self, rows: &[Row]) {
        let out = &mut self.buffer;
        out.begin();
        for (metric, value) in &COLUMNS {
            for row in rows {
                out.push(metric, &[row.addon.shared.id.as_str()], value(row));
            }
        }
        for row in rows {
            let metered = &row.metered;
            let reasons = [
                ("undeclared", metered.dropped_undeclared),
                ("duplicate", metered.dropped_duplicate),
                ("invalid", metered.dropped_invalid),
                ("overflow", metered.dropped_overflow),
            ];
            for (reason, number) in reasons {
                out.push(&DROPPED, &[row.addon.shared.id.as_str(), reason], count(number));
            }
        }
        for row in rows {
            let current = row.addon.state();
            for state in AddonState::ALL {
                out.push(
                    &STATE,
                    &[row.addon.shared.id.as_str(), state.name()],
                    f64::from(u8::from(state == current)),
                );
            }
        }
        for row in rows {
            let version = row.addon.version().unwrap_or_default();
            out.push(&INFO, &[row.addon.shared.id.as_str(), &version], 1.0);
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts far below 2^52")]
fn count(number: u64) -> f64 {
    number as f64
}

fn seconds(nanos: u64) -> f64 {
    Duration::from_nanos(nanos).as_secs_f64()
}

/// Who this report is, for documents.
#[must_use]
pub fn info() -> CollectorInfo {
    let mut metrics: Vec<MetricDef> = COLUMNS.iter().map(|(metric, _)| metric.clone()).collect();
    metrics.extend([DROPPED.clone(), STATE.clone(), INFO.clone()]);
    CollectorInfo {
        name: "addons".into(),
        group: "addons".into(),
        metric_prefix: "addons_".into(),
        help: "What addons cost and do, at every tick.".into(),
        interval: Duration::ZERO,
        metrics: Cow::Owned(metrics),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn definitions_are_sound_and_carry_their_prefix() {
        let info = info();
        for def in info.metrics.iter() {
            assert_eq!(def.problems(), Vec::<String>::new());
            assert!(def.name.starts_with("addons_"), "{}", def.name);
        }
    }
}
