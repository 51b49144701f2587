//! The daemon's series about itself, made by the tick in the same form as any collector's: the verdict, the health of the
//! collectors, the tick's own timing, the scheduler, and history. So they are in the window, in history and in the exposition like the rest.

mod history;
mod leases;

use crate::history::HistoryFacts;
use crate::leases::LeaseFacts;
use lowtide_core::metric::{MetricDef, SampleBuffer, Text};
use lowtide_core::quiet::{InputStatus, Level, QuietAssessment};
use lowtide_core::report::{CollectorInfo, CollectorReport, CollectorStatus, Samples};
use lowtide_core::snapshot::Snapshot;
use lowtide_core::units::{Unit, WallTime};
use lowtide_core::window::Window;
use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

const BY_STATE: &[Text] = &[Cow::Borrowed("state")];
const BY_SIGNAL: &[Text] = &[Cow::Borrowed("signal")];
const BY_COLLECTOR: &[Text] = &[Cow::Borrowed("collector")];

static SCORE: MetricDef = MetricDef::gauge(
    "quiet_score",
    Unit::Count,
    &[],
    "Quiet score: 0 is panic, 100 is a host where nothing stirs.",
);
static STATE: MetricDef =
    MetricDef::gauge("quiet_state", Unit::Count, BY_STATE, "1 for the state that holds, 0 for the others.");
static CONFIDENCE: MetricDef = MetricDef::gauge(
    "quiet_confidence_ratio",
    Unit::Ratio,
    &[],
    "How much of what the verdict should know is known.",
);
static SIGNAL_SCORE: MetricDef = MetricDef::gauge(
    "quiet_signal_score",
    Unit::Count,
    BY_SIGNAL,
    "Score of each signal that takes part in the verdict.",
);

static SUCCESS: MetricDef = MetricDef::gauge(
    "collector_success",
    Unit::Count,
    BY_COLLECTOR,
    "1 when the collector's last run succeeded in time, 0 when it failed or hangs; no sample when the host has nothing for it.",
);
static DURATION: MetricDef = MetricDef::gauge(
    "collector_duration_seconds",
    Unit::Seconds,
    BY_COLLECTOR,
    "Duration of the collector's last finished run.",
);
static AGE: MetricDef = MetricDef::gauge(
    "collector_age_seconds",
    Unit::Seconds,
    BY_COLLECTOR,
    "Age of the collector's newest samples at the tick.",
);
static RUNS: MetricDef =
    MetricDef::counter("collector_runs_total", Unit::Count, BY_COLLECTOR, "Finished runs of the collector.");
static FAILURES: MetricDef = MetricDef::counter(
    "collector_failures_total",
    Unit::Count,
    BY_COLLECTOR,
    "Failed runs of the collector.",
);
static OVERRUNS: MetricDef = MetricDef::counter(
    "collector_overruns_total",
    Unit::Count,
    BY_COLLECTOR,
    "Runs of the collector that missed their deadline.",
);
static DROPPED: MetricDef = MetricDef::gauge(
    "collector_dropped_samples",
    Unit::Count,
    BY_COLLECTOR,
    "Samples of the collector's newest run that were left out because it has too many series.",
);

static LATENESS: MetricDef =
    MetricDef::gauge("tick_lateness_seconds", Unit::Seconds, &[], "How late this tick began.");
static TICK_DURATION: MetricDef = MetricDef::gauge(
    "tick_duration_seconds",
    Unit::Seconds,
    &[],
    "Duration of the tick before this one, from starting the collectors to publishing.",
);
static MISSED: MetricDef = MetricDef::counter(
    "tick_missed_total",
    Unit::Count,
    &[],
    "Ticks left out because the daemon did not run (overload, suspend).",
);
static WINDOW_SERIES: MetricDef = MetricDef::gauge(
    "tick_window_series",
    Unit::Count,
    &[],
    "Series held in the in-memory window of the last hour.",
);
static WINDOW_DROPPED: MetricDef = MetricDef::counter(
    "tick_window_dropped_samples_total",
    Unit::Count,
    &[],
    "Samples not kept because the window already held its maximum of series.",
);

/// What the metronome knows of a tick.
#[derive(Clone, Copy, Debug, Default)]
pub struct TickFacts {
    /// How late this tick began.
    pub lateness: Duration,
    /// How long the tick before took.
    pub previous_duration: Duration,
    /// Ticks left out since the start.
    pub missed: u64,
    /// Leases, as of the tick before; `None` when the daemon runs without them.
    pub leases: Option<LeaseFacts>,
    /// History, as of the tick before; `None` when the daemon runs without it.
    pub history: Option<HistoryFacts>,
}

/// The buffers of the derived reports.
#[derive(Debug)]
pub(crate) struct Derived {
    quiet: (Arc<CollectorInfo>, SampleBuffer),
    collectors: (Arc<CollectorInfo>, SampleBuffer),
    tick: (Arc<CollectorInfo>, SampleBuffer),
    leases: (Arc<CollectorInfo>, SampleBuffer),
    history: (Arc<CollectorInfo>, SampleBuffer),
    since: Option<WallTime>,
}

impl Derived {
    pub(crate) fn new() -> Self {
        let [quiet, collectors, tick, leases, history] =
            infos().map(|info| (Arc::new(info), SampleBuffer::new()));
        Self { quiet, collectors, tick, leases, history, since: None }
    }

    /// The reports of one tick, from the window as it was before it.
    pub(crate) fn reports(
        &mut self,
        snapshot: &Snapshot,
        verdict: &QuietAssessment,
        facts: TickFacts,
        window: &Window,
    ) -> Vec<CollectorReport> {
        let since = *self.since.get_or_insert(snapshot.at.wall);
        write_quiet(&mut self.quiet.1, verdict);
        write_collectors(&mut self.collectors.1, snapshot);
        write_tick(&mut self.tick.1, facts, window);
        let leases = facts.leases.map(|facts| {
            leases::write(&mut self.leases.1, &facts);
            &mut self.leases
        });
        let history = facts.history.map(|facts| {
            history::write(&mut self.history.1, &facts);
            &mut self.history
        });
        [&mut self.quiet, &mut self.collectors, &mut self.tick]
            .into_iter()
            .chain(leases)
            .chain(history)
            .map(|(info, buffer)| report(Arc::clone(info), buffer, snapshot, since))
            .collect()
    }
}

fn write_quiet(out: &mut SampleBuffer, verdict: &QuietAssessment) {
    out.begin();
    out.push(&SCORE, &[], f64::from(verdict.score));
    for level in Level::ALL {
        out.push(&STATE, &[level.name()], f64::from(u8::from(level == verdict.state)));
    }
    out.push(&CONFIDENCE, &[], verdict.confidence);
    for input in &verdict.inputs {
        // No score means no sample, not zero; pushing it all the same keeps the layout stable.
        let score = input.score.filter(|_| input.status == InputStatus::Known);
        out.push(&SIGNAL_SCORE, &[input.signal.def().name], score.map_or(f64::NAN, f64::from));
    }
}

/// Metric by metric rather than collector by collector: the exposition wants the samples of a metric together.
fn write_collectors(out: &mut SampleBuffer, snapshot: &Snapshot) {
    type Column = (&'static MetricDef, fn(&CollectorReport, &Snapshot) -> f64);
    const COLUMNS: [Column; 7] = [
        (&SUCCESS, |report, _| match report.status {
            CollectorStatus::Ok => 1.0,
            CollectorStatus::Failing | CollectorStatus::Overdue => 0.0,
            CollectorStatus::Pending | CollectorStatus::Absent => f64::NAN,
        }),
        (&DURATION, |report, _| report.duration.as_secs_f64()),
        (&AGE, |report, snapshot| report.age(snapshot.at.mono).map_or(f64::NAN, |age| age.as_secs_f64())),
        (&RUNS, |report, _| count(report.runs)),
        (&FAILURES, |report, _| count(report.failures)),
        (&OVERRUNS, |report, _| count(report.overruns)),
        (&DROPPED, |report, _| {
            report.samples.as_ref().map_or(f64::NAN, |samples| count(samples.dropped as u64))
        }),
    ];
    out.begin();
    for (metric, value) in COLUMNS {
        for report in &snapshot.collectors {
            out.push(metric, &[&report.info.name], value(report, snapshot));
        }
    }
}

fn write_tick(out: &mut SampleBuffer, facts: TickFacts, window: &Window) {
    out.begin();
    out.push(&LATENESS, &[], facts.lateness.as_secs_f64());
    out.push(&TICK_DURATION, &[], facts.previous_duration.as_secs_f64());
    out.push(&MISSED, &[], count(facts.missed));
    out.push(&WINDOW_SERIES, &[], count(window.series_count() as u64));
    out.push(&WINDOW_DROPPED, &[], count(window.dropped_samples()));
}

#[expect(clippy::cast_precision_loss, reason = "counts far below 2^52")]
fn count(number: u64) -> f64 {
    number as f64
}

fn report(
    info: Arc<CollectorInfo>,
    buffer: &mut SampleBuffer,
    snapshot: &Snapshot,
    since: WallTime,
) -> CollectorReport {
    let samples = Samples {
        series: buffer.layout(),
        values: buffer.values().into(),
        dropped: buffer.dropped(),
        settled: true,
    };
    CollectorReport {
        info,
        status: CollectorStatus::Ok,
        samples: Some(Arc::new(samples)),
        collected_at: Some((snapshot.at.mono, snapshot.at.wall)),
        fresh: true,
        stale: false,
        duration: Duration::ZERO,
        interval: snapshot.interval,
        error: None,
        status_since: since,
        runs: snapshot.sequence,
        failures: 0,
        overruns: 0,
    }
}

/// Who the derived reports are, for documents: `quiet`, `collectors`, `tick`, `leases` and `history`.
#[must_use]
pub fn infos() -> [CollectorInfo; 5] {
    let info = |name: &'static str, prefix: &'static str, help: &'static str, metrics: &[&MetricDef]| {
        CollectorInfo {
            name: name.into(),
            group: name.into(),
            metric_prefix: prefix.into(),
            help: help.into(),
            interval: Duration::ZERO,
            metrics: Cow::Owned(metrics.iter().map(|def| (*def).clone()).collect()),
        }
    };
    [
        info("quiet", "quiet_", "The verdict, at every tick.", &[&SCORE, &STATE, &CONFIDENCE, &SIGNAL_SCORE]),
        info(
            "collectors",
            "collector_",
            "The health of every collector, at every tick.",
            &[&SUCCESS, &DURATION, &AGE, &RUNS, &FAILURES, &OVERRUNS, &DROPPED],
        ),
        info(
            "tick",
            "tick_",
            "The tick's own timing and memory.",
            &[&LATENESS, &TICK_DURATION, &MISSED, &WINDOW_SERIES, &WINDOW_DROPPED],
        ),
        info("leases", "lease_", "The scheduler, as of the tick before.", &leases::METRICS),
        info("history", "history_", "History on disk, as of the tick before.", &history::METRICS),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn definitions_are_sound_and_carry_their_prefix() {
        for info in infos() {
            for def in info.metrics.iter() {
                assert_eq!(def.problems(), Vec::<String>::new());
                assert!(def.name.starts_with(info.metric_prefix.as_ref()), "{}", def.name);
            }
        }
    }
}
