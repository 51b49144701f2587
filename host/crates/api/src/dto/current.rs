//! The current snapshot. Its shape follows from the metric names: `host_cpu_usage_ratio` is at `host.cpu.usage_ratio`, and
//! what has labels is in lists such as `host.disk.by_device`. docs/adr/002-series-first.md says why.

use super::{number, rfc3339, seconds};
use lowtide_app::About;
use lowtide_core::metric::Part;
use lowtide_core::quiet::Level;
use lowtide_core::report::{ADDON_GROUP, CollectorReport, CollectorStatus, Samples};
use lowtide_core::snapshot::Snapshot;
use lowtide_core::state::HostState;
use serde::Serialize;
use serde_json::Number;
use std::collections::{BTreeMap, HashMap};
use utoipa::ToSchema;

/// Everything measured, as of one tick.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Current {
    /// Number of the tick since the daemon started; grows by one each tick.
    sequence: u64,
    /// Which run of the daemon the sequence belongs to.
    run_id: String,
    /// When the tick was made, RFC 3339 UTC.
    #[schema(format = "date-time")]
    collected_at: String,
    /// Seconds between two ticks.
    tick_seconds: f64,
    /// The verdict of this tick, in short; /api/system-stats/quiet has all of it.
    quiet: QuietSummary,
    /// The host, by collector: `cpu`, `system`, `memory`, `pressure`, `disk`, `network`, `filesystem`, `sensors`, `power`.
    /// A collector that has nothing fresh to say is left out; `errors` says why. Each object has `collected_at`, a number for
    /// each metric without labels, and a list `by_<labels>` for each set of labels.
    host: BTreeMap<String, Values>,
    /// The daemon's own process: memory, CPU, descriptors.
    process: Values,
    /// The daemon's API: requests, errors, latency.
    api: Values,
    /// Addons by id, each with its own metrics as for a collector of the host. One that has nothing fresh to say is left out.
    addons: BTreeMap<String, Values>,
    /// What could not be measured. Empty on a healthy host.
    errors: Vec<MeasurementError>,
}

/// The values of one collector by field name.
#[derive(Debug, Default, Serialize, ToSchema)]
#[serde(transparent)]
#[schema(as = CollectorValues)]
pub(crate) struct Values(BTreeMap<String, Field>);

/// A value of a collector.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
enum Field {
    /// A metric without labels.
    #[schema(value_type = f64)]
    Number(Number),
    /// `collected_at`, RFC 3339 UTC.
    Time(String),
    /// The metrics with one set of labels: a row for each combination of label values.
    Rows(Vec<BTreeMap<String, Cell>>),
}

/// A label's value or a metric's.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
enum Cell {
    /// A metric.
    #[schema(value_type = f64)]
    Number(Number),
    /// A label.
    Label(String),
}

/// The verdict in short.
#[derive(Debug, Serialize, ToSchema)]
struct QuietSummary {
    /// 0 (panic) to 100 (nothing stirs).
    score: u8,
    /// QUIET, NORMAL, BUSY or PANIC.
    #[schema(value_type = String, example = "QUIET")]
    state: Level,
    /// Why, most severe first.
    reasons: Vec<String>,
}

/// A collector that failed, hangs, or whose values are too old to be used.
#[derive(Debug, Serialize, ToSchema)]
struct MeasurementError {
    /// Which collector.
    collector: String,
    /// `failing`, `overdue` or `pending`.
    #[schema(value_type = String, example = "failing")]
    status: CollectorStatus,
    /// What it says.
    message: String,
    /// Since when, RFC 3339 UTC.
    #[schema(format = "date-time")]
    since: String,
    /// True when its last values were too old and have been left out.
    stale: bool,
}

impl Current {
    pub(crate) fn new(state: &HostState, about: &About) -> Self {
        let snapshot = &state.snapshot;
        let host = snapshot.collectors.iter().filter(|report| report.info.group == "host");
        let host = host.filter_map(|report| Some((report.info.name.to_string(), values(report)?))).collect();
        let only = |name| snapshot.collector(name).and_then(values).unwrap_or_default();
        Self {
            sequence: snapshot.sequence,
            run_id: about.run_id.clone(),
            collected_at: rfc3339(snapshot.at.wall),
            tick_seconds: seconds(snapshot.interval),
            quiet: QuietSummary {
                score: state.quiet.score,
                state: state.quiet.state,
                reasons: state.quiet.reasons.iter().map(|reason| reason.text.clone()).collect(),
            },
            host,
            process: only("process"),
            api: only("api"),
            addons: of_addons(state),
            errors: errors(snapshot),
        }
    }
}

/// The values of every addon that has fresh ones, by its id.
pub(crate) fn of_addons(state: &HostState) -> BTreeMap<String, Values> {
    let reports = state.snapshot.collectors.iter();
    reports.filter_map(|report| Some((addon_of(report)?.to_owned(), values(report)?))).collect()
}

/// The addon that a report comes from.
pub(crate) fn addon_of(report: &CollectorReport) -> Option<&str> {
    report.info.group.strip_prefix(ADDON_GROUP)
}

fn errors(snapshot: &Snapshot) -> Vec<MeasurementError> {
    let unwell = snapshot.collectors.iter().filter(|report| {
        let failed = matches!(report.status, CollectorStatus::Failing | CollectorStatus::Overdue);
        failed || report.stale
    });
    let error = |report: &CollectorReport| MeasurementError {
        collector: report.info.name.to_string(),
        status: report.status,
        message: report.error.as_deref().unwrap_or("no fresh values").to_owned(),
        since: rfc3339(report.status_since),
        stale: report.stale,
    };
    unwell.map(error).collect()
}

/// One collector's values; `None` when it has nothing fresh.
fn values(report: &CollectorReport) -> Option<Values> {
    let mut fields = fields(report.samples.as_ref()?, &report.info.metric_prefix);
    if let Some((_, at)) = report.collected_at {
        fields.insert("collected_at".into(), Field::Time(rfc3339(at)));
    }
    Some(Values(fields))
}

/// Rows of one set of labels, in the order in which they first appear.
#[derive(Default)]
struct Family<'a> {
    rows: Vec<BTreeMap<String, Cell>>,
    place: HashMap<Vec<&'a str>, usize>,
}

fn fields(samples: &Samples, prefix: &str) -> BTreeMap<String, Field> {
    let mut fields = BTreeMap::new();
    let mut families: BTreeMap<String, Family<'_>> = BTreeMap::new();
    for (series, value) in samples.iter() {
        // The buckets of a histogram are for machines that scrape; here its quantiles, sum and count say the same.
        let (false, Some(value)) = (matches!(series.part, Part::Bucket(_)), number(value)) else { continue };
        let field = series.metric.name.strip_prefix(prefix).unwrap_or(&series.metric.name);
        let field = format!("{field}{}", series.part.suffix());
        if series.labels.is_empty() {
            fields.insert(field, Field::Number(value));
            continue;
        }
        let family = families.entry(format!("by_{}", series.metric.labels.join("_"))).or_default();
        let key: Vec<&str> = series.labels.iter().map(AsRef::as_ref).collect();
        let row = *family.place.entry(key).or_insert_with(|| {
            let labels =
                series.label_pairs().map(|(key, value)| (key.to_owned(), Cell::Label(value.to_owned())));
            family.rows.push(labels.collect());
            family.rows.len() - 1
        });
        if let Some(row) = family.rows.get_mut(row) {
            row.insert(field, Cell::Number(value));
        }
    }
    fields.extend(families.into_iter().map(|(name, family)| (name, Field::Rows(family.rows))));
    fields
}
