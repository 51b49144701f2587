//! The health of every collector.

use super::{rfc3339, seconds};
use lowtide_core::report::{CollectorReport, CollectorStatus};
use lowtide_core::snapshot::Snapshot;
use serde::Serialize;
use utoipa::ToSchema;

/// All collectors, in the order of the table.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Collectors {
    /// Number of the tick.
    sequence: u64,
    /// When, RFC 3339 UTC.
    #[schema(format = "date-time")]
    collected_at: String,
    /// The collectors.
    collectors: Vec<Collector>,
}

/// One collector.
#[derive(Debug, Serialize, ToSchema)]
struct Collector {
    /// Its name.
    name: String,
    /// Group of its series.
    group: String,
    /// What it measures.
    help: String,
    /// `ok`, `failing`, `overdue` (started and not come back), `absent` (nothing to measure here) or `pending`.
    #[schema(value_type = String, example = "ok")]
    status: CollectorStatus,
    /// When the status began, RFC 3339 UTC.
    #[schema(format = "date-time")]
    status_since: String,
    /// Why it is failing, overdue or absent.
    error: Option<String>,
    /// Seconds between two runs.
    interval_seconds: f64,
    /// Age of its newest samples in seconds; null before the first.
    age_seconds: Option<f64>,
    /// True when its samples were too old to be used and have been left out.
    stale: bool,
    /// Duration of its last finished run.
    duration_seconds: f64,
    /// Finished runs.
    runs: u64,
    /// Failed runs.
    failures: u64,
    /// Runs that missed their deadline.
    overruns: u64,
    /// Series of its newest samples.
    series: usize,
}

impl Collectors {
    pub(crate) fn new(snapshot: &Snapshot) -> Self {
        let collector = |report: &CollectorReport| Collector {
            name: report.info.name.to_string(),
            group: report.info.group.to_string(),
            help: report.info.help.to_string(),
            status: report.status,
            status_since: rfc3339(report.status_since),
            error: report.error.as_deref().map(str::to_owned),
            interval_seconds: seconds(report.interval),
            age_seconds: report.age(snapshot.at.mono).map(seconds),
            stale: report.stale,
            duration_seconds: seconds(report.duration),
            runs: report.runs,
            failures: report.failures,
            overruns: report.overruns,
            series: report.samples.as_ref().map_or(0, |samples| samples.series.len()),
        };
        Self {
            sequence: snapshot.sequence,
            collected_at: rfc3339(snapshot.at.wall),
            collectors: snapshot.collectors.iter().map(collector).collect(),
        }
    }
}
