//! Addons: the list, one of them, its log and its figures over time, and all of them for dashboards.

use super::aggregates::SeriesAggregate;
use super::current::{Values, of_addons};
use super::{number, rfc3339, seconds};
use lowtide_addons::caps::log::LogLine;
use lowtide_addons::{AddonState, AddonView, HealthView, JobEnd, JobView, Metered, Problem};
use lowtide_core::metric::{Kind, MetricDef};
use lowtide_core::state::HostState;
use lowtide_core::units::WallTime;
use lowtide_core::window::TimeRange;
use serde::Serialize;
use serde_json::Number;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;
use utoipa::ToSchema;

/// All addons, by id.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AddonList {
    /// All of them in a few figures, also those that this page does not show.
    summary: AddonSummary,
    /// Why the addons folder as a whole is not read; null when it is. Addons that run go on.
    folder_problem: Option<AddonProblem>,
    /// The addons of this page.
    addons: Vec<AddonRow>,
    /// Give it as `after` for the page that follows; null on the last.
    next: Option<String>,
}

/// All addons in a few figures.
#[derive(Debug, Default, Serialize, ToSchema)]
pub(crate) struct AddonSummary {
    /// Addons, and files that cannot be one.
    total: usize,
    /// Those that are read, checked and compiled now.
    loading: usize,
    /// Those that run.
    running: usize,
    /// Those that crashed and wait for their next try: backing off or in quarantine.
    crashed: usize,
    /// Those that cannot be loaded.
    refused: usize,
    /// Those that the operator switched off.
    disabled: usize,
    /// Events that all of them reported.
    events: u64,
    /// Crashes of all of them.
    crashes: u64,
    /// Linear memory of all present instances, in bytes.
    memory_bytes: u64,
    /// Seconds since the daemon started.
    uptime_seconds: f64,
}

/// Something wrong with an addon.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AddonProblem {
    /// Stable word to branch on.
    #[schema(example = "trap")]
    code: &'static str,
    /// What is wrong and what to do.
    text: String,
    /// When it was noticed, RFC 3339 UTC.
    #[schema(format = "date-time")]
    at: String,
}

/// One addon in short.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AddonRow {
    /// Its id, or the name of the file or folder that cannot be one.
    id: String,
    /// `loading`, `running`, `backing_off`, `quarantined`, `disabled` or `refused`.
    #[schema(example = "running")]
    state: &'static str,
    /// When the state began, RFC 3339 UTC.
    #[schema(format = "date-time")]
    since: String,
    /// What is wrong; null when nothing is.
    problem: Option<AddonProblem>,
    /// Why a newer file in the folder does not run, while the older one still does.
    pending: Option<AddonProblem>,
    /// Version in its manifest.
    version: Option<String>,
    /// What it is for, in its own words.
    description: Option<String>,
    /// Seconds that its present instance has been running; 0 when it has none.
    uptime_seconds: f64,
    /// Linear memory of its present instance, in bytes.
    memory_bytes: u64,
    /// Series that it has.
    series: usize,
    /// Calls of it that came to an end since the daemon started.
    calls: u64,
    /// Calls that ended in a crash.
    crashes: u64,
    /// Events that it reported.
    events: u64,
}

/// One addon, or one file in the folder that cannot be one.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Addon)]
pub(crate) struct AddonDetail {
    /// Its id, or the name of the file or folder that cannot be one.
    id: String,
    /// `loading`, `running`, `backing_off`, `quarantined`, `disabled` or `refused`.
    #[schema(example = "running")]
    state: &'static str,
    /// When the state began, RFC 3339 UTC.
    #[schema(format = "date-time")]
    since: String,
    /// Why it does not run, or what is wrong with what it sends; null when nothing is.
    problem: Option<AddonProblem>,
    /// Why a newer file in the folder does not run, while the older one still does.
    pending: Option<AddonProblem>,
    /// When it is tried again, RFC 3339 UTC; null when it need not be.
    #[schema(format = "date-time")]
    retry_at: Option<String>,
    /// Version in its manifest.
    version: Option<String>,
    /// What it is for, in its own words.
    description: Option<String>,
    /// Version of the contract `lowtide:addon` that it was built for.
    #[schema(example = "0.1.0")]
    wit_version: Option<String>,
    /// What it exports: `collector`, `presence`, `custom-stats`, `health`, `job`.
    exports: Vec<&'static str>,
    /// What it imports of the daemon.
    imports: Vec<&'static str>,
    /// What it was made with, if it says so.
    made_with: Option<String>,
    /// Size of the component; null when none was read.
    component_bytes: Option<u64>,
    /// BLAKE3 of the component, hexadecimal.
    digest: Option<String>,
    /// When this daemon first started it, RFC 3339 UTC.
    #[schema(format = "date-time")]
    loaded_at: Option<String>,
    /// When its present instance was started, RFC 3339 UTC.
    #[schema(format = "date-time")]
    started_at: Option<String>,
    /// Seconds that its present instance has been running; 0 when it has none.
    uptime_seconds: f64,
    /// Seconds between two collections; null before the first, and without a collector.
    interval_seconds: Option<f64>,
    /// Limit of its linear memory; null for a file that cannot be an addon.
    memory_limit_bytes: Option<u64>,
    /// What it has used and done since the daemon started, over all its instances.
    metered: AddonMetered,
    /// Series that it has.
    series: usize,
    /// Lines of its log so far; /api/addons/{id}/logs has the newest.
    log_lines: u64,
    /// Lines of its log that were too many and were dropped.
    log_lines_dropped: u64,
    /// What it says of its health; null when it exports none, or has not been asked.
    health: Option<AddonHealth>,
    /// Metrics that it declared.
    metrics: Vec<AddonMetric>,
    /// Jobs that it described.
    jobs: Vec<AddonJob>,
}

/// What an addon has used and done since the daemon started, over all its instances.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AddonMetered {
    /// CPU time of all calls.
    cpu_seconds: f64,
    /// Calls that came to an end, good or bad.
    calls: u64,
    /// Time from begin to end of those calls, waits included.
    call_seconds: f64,
    /// Calls that it answered with a failure of its own.
    failures: u64,
    /// Calls that ended in a trap or were stopped: the instance was dropped.
    crashes: u64,
    /// Instances started after the first one.
    restarts: u64,
    /// Instances replaced because they held too much memory.
    recycles: u64,
    /// Calls from the addon to the daemon.
    host_calls: u64,
    /// Linear memory of the present instance.
    memory_bytes: u64,
    /// The most linear memory that any instance had.
    memory_peak_bytes: u64,
    /// Times that more memory was refused.
    memory_refusals: u64,
    /// Events reported.
    events: u64,
    /// What it sent and was not taken.
    dropped: AddonDropped,
}

/// What an addon sent and was not taken.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AddonDropped {
    /// Samples of metrics that it did not declare.
    undeclared: u64,
    /// Samples of a series that was given twice in one collection.
    duplicate: u64,
    /// Samples with the wrong number of labels, a bad name or a bad value.
    invalid: u64,
    /// Samples beyond the number of series that an addon may have.
    overflow: u64,
    /// Events that were refused or too many.
    events: u64,
}

/// What an addon says of its health.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AddonHealth {
    /// `ok`, `warn` or `error`.
    #[schema(example = "ok")]
    status: &'static str,
    /// What it says; empty when all is well.
    text: String,
    /// When it was asked last, RFC 3339 UTC.
    #[schema(format = "date-time")]
    checked_at: String,
    /// When it was last well, RFC 3339 UTC; null when it never was.
    #[schema(format = "date-time")]
    ok_at: Option<String>,
}

/// A metric that an addon declared.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AddonMetric {
    /// Full name, as history and aggregates take it.
    #[schema(example = "addon_demo_queue_depth")]
    name: String,
    /// `gauge`, `counter` or `histogram`.
    #[schema(value_type = String, example = "gauge")]
    kind: Kind,
    /// Unit: `count`, `ratio`, `seconds`, `bytes`, `bytes_per_second`, `per_second`, `celsius`, `hertz`.
    #[schema(example = "count")]
    unit: &'static str,
    /// What it is, in the addon's words.
    help: String,
    /// Label keys.
    labels: Vec<String>,
}

/// A kind of job that an addon described.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AddonJob {
    /// Name of the kind.
    name: String,
    /// What it does, in the addon's words.
    help: String,
    /// Units that it takes while it runs.
    cost_units: u32,
    /// `low`, `normal` or `high`.
    #[schema(example = "normal")]
    priority: &'static str,
    /// How long it usually takes; null when it does not say.
    expected_duration_seconds: Option<f64>,
    /// Wished time between two runs; null when it has no wish.
    every_seconds: Option<f64>,
    /// True when it can be held still.
    pausable: bool,
    /// `idle`, `waiting` (in the queue for its lease), `running`, or `paused`: held still in the middle of its run.
    #[schema(example = "waiting")]
    state: &'static str,
    /// The lease that it waits for or runs under: GET /api/scheduler/lease/{id} tells more.
    lease_id: Option<String>,
    /// When it is due, or tried again, RFC 3339 UTC; null when it runs only when it is asked for.
    #[schema(format = "date-time")]
    due_at: Option<String>,
    /// How its last run ended, since the daemon's start; null before.
    last: Option<AddonJobEnd>,
    /// Why it does not run, or did not run well; null when nothing is wrong.
    problem: Option<AddonProblem>,
}

/// How a run of a job ended.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AddonJobEnd {
    /// `done`, `stopped`, `failed` or `cut_off`.
    #[schema(example = "done")]
    outcome: &'static str,
    /// What was done, or why not.
    text: String,
    /// When, RFC 3339 UTC.
    #[schema(format = "date-time")]
    at: String,
}

/// Lines of an addon's log.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AddonLog {
    /// Lines, oldest first.
    lines: Vec<AddonLogLine>,
    /// Lines after `since` that are no longer kept.
    missed: u64,
    /// Give it as `since` to get what comes next.
    next: u64,
}

/// One line of an addon's log.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AddonLogLine {
    /// Number since the addon was found, from 1, without gaps.
    number: u64,
    /// When, RFC 3339 UTC.
    #[schema(format = "date-time")]
    at: String,
    /// `debug`, `info`, `warn` or `error`.
    #[schema(example = "info")]
    level: &'static str,
    /// The text. Control characters and what hides or turns text are replaced.
    text: String,
}

/// One addon over a part of the last hour.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AddonMetrics {
    /// Its id, or the name of the file or folder that cannot be one.
    id: String,
    /// Its state now, as in /api/addons.
    #[schema(example = "running")]
    state: &'static str,
    /// Version in its manifest.
    version: Option<String>,
    /// Start of the range, RFC 3339 UTC.
    #[schema(format = "date-time")]
    from: String,
    /// End of the range, RFC 3339 UTC.
    #[schema(format = "date-time")]
    to: String,
    /// What it cost and did, as the daemon counted it: series of the group `addons`.
    usage: Vec<SeriesAggregate>,
    /// Its own metrics: series of the group `addon.<id>`.
    own: Vec<SeriesAggregate>,
}

/// All addons for dashboards.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AddonsOverview {
    /// Number of the tick that `values` and `cpu_usage_ratio` are of.
    sequence: u64,
    /// When that tick was made, RFC 3339 UTC.
    #[schema(format = "date-time")]
    collected_at: String,
    /// All of them in a few figures.
    summary: AddonSummary,
    /// The addons by id.
    addons: BTreeMap<String, AddonOverview>,
    /// Addons beyond what one answer holds; GET /api/addons has them.
    left_out: usize,
}

/// One addon for dashboards.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AddonOverview {
    /// Its state, as in /api/addons.
    #[schema(example = "running")]
    state: &'static str,
    /// CPU time of its calls as a share of one core, since the tick before; null before the second tick.
    #[schema(value_type = Option<f64>)]
    cpu_usage_ratio: Option<Number>,
    /// Linear memory of its present instance.
    memory_bytes: u64,
    /// Seconds that its present instance has been running; 0 when it has none.
    uptime_seconds: f64,
    /// Calls of it that came to an end since the daemon started.
    calls: u64,
    /// Calls that ended in a crash.
    crashes: u64,
    /// Events that it reported.
    events: u64,
    /// Series that it has.
    series: usize,
    /// Its own metrics as in `addons` of /api/system-stats/current; null when it has nothing fresh to say.
    values: Option<Values>,
}

impl AddonList {
    /// `views` is the page.
    pub(crate) fn new(
        summary: AddonSummary,
        folder: Option<&Problem>,
        views: &[&AddonView],
        next: Option<String>,
    ) -> Self {
        let addons = views.iter().map(|view| AddonRow::new(view)).collect();
        Self { summary, folder_problem: folder.map(AddonProblem::new), addons, next }
    }
}

impl AddonSummary {
    /// Of all addons; `uptime` is the daemon's.
    pub(crate) fn new(views: &[AddonView], uptime: Duration) -> Self {
        let mut summary = Self { total: views.len(), uptime_seconds: seconds(uptime), ..Self::default() };
        for view in views {
            let place = match view.state {
                AddonState::Loading => &mut summary.loading,
                AddonState::Running => &mut summary.running,
                AddonState::BackingOff | AddonState::Quarantined => &mut summary.crashed,
                AddonState::Disabled => &mut summary.disabled,
                AddonState::Refused => &mut summary.refused,
            };
            *place += 1;
            summary.events = summary.events.saturating_add(view.metered.events);
            summary.crashes = summary.crashes.saturating_add(view.metered.crashes);
            summary.memory_bytes = summary.memory_bytes.saturating_add(view.metered.memory_bytes);
        }
        summary
    }
}

impl AddonProblem {
    fn new(problem: &Problem) -> Self {
        Self { code: problem.code, text: problem.text.clone(), at: rfc3339(problem.at) }
    }
}

impl AddonRow {
    fn new(view: &AddonView) -> Self {
        Self {
            id: view.name.clone(),
            state: view.state.name(),
            since: rfc3339(view.state_since),
            problem: view.problem.as_ref().map(AddonProblem::new),
            pending: view.pending.as_ref().map(AddonProblem::new),
            version: view.version.clone(),
            description: view.description.clone(),
            uptime_seconds: seconds(view.uptime),
            memory_bytes: view.metered.memory_bytes,
            series: view.series,
            calls: view.metered.calls,
            crashes: view.metered.crashes,
            events: view.metered.events,
        }
    }
}

impl AddonDetail {
    pub(crate) fn new(view: AddonView) -> Self {
        let time = |time: Option<WallTime>| time.map(rfc3339);
        Self {
            state: view.state.name(),
            since: rfc3339(view.state_since),
            problem: view.problem.as_ref().map(AddonProblem::new),
            pending: view.pending.as_ref().map(AddonProblem::new),
            retry_at: time(view.retry_at),
            version: view.version,
            description: view.description,
            wit_version: view.wit_version,
            exports: view.exports,
            imports: view.imports,
            made_with: view.made_with,
            component_bytes: view.digest.is_some().then_some(view.component_bytes),
            digest: view.digest,
            loaded_at: time(view.loaded_at),
            started_at: time(view.started_at),
            uptime_seconds: seconds(view.uptime),
            interval_seconds: view.interval.map(seconds),
            memory_limit_bytes: (view.memory_limit_bytes > 0).then_some(view.memory_limit_bytes),
            metered: AddonMetered::new(&view.metered),
            series: view.series,
            log_lines: view.log_lines,
            log_lines_dropped: view.log_lines_dropped,
            health: view.health.map(AddonHealth::new),
            metrics: view.metrics.iter().map(AddonMetric::new).collect(),
            jobs: view.jobs.into_iter().map(AddonJob::new).collect(),
            id: view.name,
        }
    }
}

impl AddonMetered {
    fn new(metered: &Metered) -> Self {
        Self {
            cpu_seconds: seconds(Duration::from_nanos(metered.cpu_ns)),
            calls: metered.calls,
            call_seconds: seconds(Duration::from_nanos(metered.call_ns)),
            failures: metered.failures,
            crashes: metered.crashes,
            restarts: metered.restarts,
            recycles: metered.recycles,
            host_calls: metered.host_calls,
            memory_bytes: metered.memory_bytes,
            memory_peak_bytes: metered.memory_peak_bytes,
            memory_refusals: metered.memory_refusals,
            events: metered.events,
            dropped: AddonDropped {
                undeclared: metered.dropped_undeclared,
                duplicate: metered.dropped_duplicate,
                invalid: metered.dropped_invalid,
                overflow: metered.dropped_overflow,
                events: metered.dropped_events,
            },
        }
    }
}

impl AddonHealth {
    fn new(health: HealthView) -> Self {
        Self {
            status: health.status,
            text: health.text,
            checked_at: rfc3339(health.checked_at),
            ok_at: health.ok_at.map(rfc3339),
        }
    }
}

impl AddonMetric {
    fn new(metric: &MetricDef) -> Self {
        Self {
            name: metric.name.to_string(),
            kind: metric.kind,
            unit: metric.unit.name(),
            help: metric.help.to_string(),
            labels: metric.labels.iter().map(ToString::to_string).collect(),
        }
    }
}

impl AddonJob {
    fn new(view: JobView) -> Self {
        let job = view.description;
        let end = |end: JobEnd| AddonJobEnd { outcome: end.outcome, text: end.text, at: rfc3339(end.at) };
        Self {
            state: view.state.name(),
            lease_id: view.lease,
            due_at: view.due_at.map(rfc3339),
            last: view.last.map(end),
            problem: view.problem.as_ref().map(AddonProblem::new),
            name: job.name,
            help: job.help,
            cost_units: job.cost_units,
            priority: job.priority.name(),
            expected_duration_seconds: job.expected_duration.map(seconds),
            every_seconds: job.every.map(seconds),
            pausable: job.pausable,
        }
    }
}

impl AddonLog {
    pub(crate) fn new(lines: &[Arc<LogLine>], missed: u64, next: u64) -> Self {
        let line = |line: &Arc<LogLine>| AddonLogLine {
            number: line.number,
            at: rfc3339(line.at),
            level: line.level.name(),
            text: line.text.clone(),
        };
        Self { lines: lines.iter().map(line).collect(), missed, next }
    }
}

impl AddonMetrics {
    pub(crate) fn new(
        view: AddonView,
        range: TimeRange,
        usage: Vec<SeriesAggregate>,
        own: Vec<SeriesAggregate>,
    ) -> Self {
        Self {
            id: view.name,
            state: view.state.name(),
            version: view.version,
            from: rfc3339(range.from),
            to: rfc3339(range.to),
            usage,
            own,
        }
    }
}

impl AddonsOverview {
    /// `most` addons at the most; `uptime` is the daemon's.
    pub(crate) fn new(state: &HostState, views: &[AddonView], uptime: Duration, most: usize) -> Self {
        let usage = state.reports().find(|report| report.info.group == "addons");
        let samples = usage.and_then(|report| report.samples.as_ref());
        let cpu: HashMap<&str, f64> = samples
            .into_iter()
            .flat_map(|samples| samples.of("addons_cpu_usage_ratio"))
            .filter_map(|(series, value)| Some((series.labels.first()?.as_ref(), value)))
            .collect();
        let mut values = of_addons(state);
        let addon = |view: &AddonView| {
            let overview = AddonOverview {
                state: view.state.name(),
                cpu_usage_ratio: cpu.get(view.name.as_str()).and_then(|ratio| number(*ratio)),
                memory_bytes: view.metered.memory_bytes,
                uptime_seconds: seconds(view.uptime),
                calls: view.metered.calls,
                crashes: view.metered.crashes,
                events: view.metered.events,
                series: view.series,
                values: values.remove(&view.name),
            };
            (view.name.clone(), overview)
        };
        Self {
            sequence: state.snapshot.sequence,
            collected_at: rfc3339(state.snapshot.at.wall),
            summary: AddonSummary::new(views, uptime),
            addons: views.iter().take(most).map(addon).collect(),
            left_out: views.len().saturating_sub(most),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
