//! Whether the daemon itself is well.

use super::{rfc3339, seconds};
use lowtide_app::About;
use lowtide_core::report::{CollectorReport, CollectorStatus};
use lowtide_core::state::HostState;
use lowtide_core::units::Now;
use serde::Serialize;
use utoipa::ToSchema;

/// How well. Ordered by severity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = HealthStatus)]
pub(crate) enum Status {
    /// All is well.
    Ok,
    /// Something is missing, the rest goes on.
    Warn,
    /// The daemon does not do what it is for.
    Error,
}

/// The health of the daemon.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Health {
    /// The worst of all checks.
    pub(crate) status: Status,
    /// Why it is not ok; empty when it is.
    reasons: Vec<String>,
    /// Every check.
    checks: Vec<Check>,
    /// Version of the daemon.
    version: String,
    /// Seconds since the daemon started.
    uptime_seconds: f64,
    /// When the answer was made, RFC 3339 UTC.
    #[schema(format = "date-time")]
    checked_at: String,
}

/// One check.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = HealthCheck)]
struct Check {
    /// Stable name.
    #[schema(example = "tick")]
    name: String,
    /// Its result.
    status: Status,
    /// What was found.
    detail: String,
}

impl Health {
    /// One line a check, for terminals.
    pub(crate) fn lines(&self) -> String {
        let sign = |status| match status {
            Status::Ok => "[+]",
            Status::Warn => "[!]",
            Status::Error => "[-]",
        };
        self.checks
            .iter()
            .map(|check| format!("{}{} {}\n", sign(check.status), check.name, check.detail))
            .collect()
    }

    /// `dropped` is the window's count of samples without room.
    pub(crate) fn new(state: &HostState, about: &About, now: Now, dropped: u64) -> Self {
        let snapshot = &state.snapshot;
        let mut checks = vec![tick(state, now), window(dropped)];
        checks.extend(snapshot.collectors.iter().map(|report| {
            let error = report.error.as_deref().unwrap_or("no detail");
            let (status, detail) = match report.status {
                CollectorStatus::Ok if report.stale => (Status::Warn, "its values are too old".to_owned()),
                CollectorStatus::Ok if dropped_by(report) > 0 => {
                    (Status::Warn, format!("it has too many series: {} were left out", dropped_by(report)))
                }
                CollectorStatus::Ok => (Status::Ok, "works".to_owned()),
                CollectorStatus::Pending => (Status::Ok, "has not run yet".to_owned()),
                CollectorStatus::Absent => (Status::Ok, format!("nothing to measure here: {error}")),
                CollectorStatus::Failing => (Status::Warn, format!("fails: {error}")),
                CollectorStatus::Overdue => (Status::Warn, format!("hangs: {error}")),
            };
            Check { name: format!("collector.{}", report.info.name), status, detail }
        }));
        let unwell = checks.iter().filter(|check| check.status > Status::Ok);
        Self {
            status: checks.iter().map(|check| check.status).max().unwrap_or(Status::Ok),
            reasons: unwell.map(|check| format!("{}: {}", check.name, check.detail)).collect(),
            checks,
            version: about.version.to_owned(),
            uptime_seconds: seconds(now.mono.since(about.started.mono)),
            checked_at: rfc3339(now.wall),
        }
    }
}

/// Samples of the newest run that had no room.
fn dropped_by(report: &CollectorReport) -> usize {
    report.samples.as_ref().map_or(0, |samples| samples.dropped)
}

fn tick(state: &HostState, now: Now) -> Check {
    let age = now.mono.since(state.snapshot.at.mono);
    let late = age > state.snapshot.interval * 3;
    let detail = if late {
        format!("the last tick is {:.1} s old: the tick loop does not get to run", age.as_secs_f64())
    } else {
        format!("tick {} is {:.1} s old", state.snapshot.sequence, age.as_secs_f64())
    };
    Check { name: "tick".into(), status: if late { Status::Error } else { Status::Ok }, detail }
}

fn window(dropped: u64) -> Check {
    let status = if dropped > 0 { Status::Warn } else { Status::Ok };
    Check { name: "window".into(), status, detail: format!("{dropped} samples dropped for want of room") }
}
