//! Whether the daemon itself is well.

use super::current::addon_of;
use super::{rfc3339, seconds};
use lowtide_addons::{AddonState, AddonView, Problem};
use lowtide_app::{App, HistoryHealth, Leases};
use lowtide_core::report::{CollectorReport, CollectorStatus};
use lowtide_core::state::HostState;
use lowtide_core::units::Now;
use lowtide_core::window::Window;
use serde::Serialize;
use std::collections::HashMap;
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

    /// `addons` are all addons, each with what was wrong with its own document; `folder` is why their folder is not read.
    pub(crate) fn new(
        app: &App,
        state: &HostState,
        now: Now,
        addons: &[(AddonView, Option<String>)],
        folder: Option<&Problem>,
    ) -> Self {
        let about = app.about();
        let dropped = app.with_window(Window::dropped_samples);
        let snapshot = &state.snapshot;
        let mut checks = vec![tick(state, now), window(dropped)];
        let built_in = snapshot.collectors.iter().filter(|report| addon_of(report).is_none());
        checks.extend(built_in.map(|report| {
            let (status, detail) = collector(report);
            Check { name: format!("collector.{}", report.info.name), status, detail }
        }));
        checks.extend(folder.map(|problem| Check {
            name: "addons_folder".into(),
            status: Status::Warn,
            detail: problem.text.clone(),
        }));
        checks.extend(of_addons(state, addons));
        checks.extend(app.leases().map(of_leases));
        checks.extend(app.history().map(|history| of_history(&history.health())));
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

/// Leases that cannot be written down are no reason to start the daemon anew, so never an error: it measures, and lets go of what is held.
fn of_leases(leases: &Leases) -> Check {
    let (status, detail) = match (leases.trouble(), leases.violation()) {
        (Some((text, _)), _) => (Status::Warn, format!("nothing new is granted: {text}")),
        (None, Some(text)) => (Status::Warn, format!("a defect to report: {text}")),
        (None, None) => (Status::Ok, "work".to_owned()),
    };
    Check { name: "leases".into(), status, detail }
}

/// Ticks in the queue of history that show a disk that does not keep up: half a minute at 2 s.
const SLOW_DISK_TICKS: u64 = 16;

/// History that cannot be written costs the past and nothing else: never an error.
fn of_history(history: &HistoryHealth) -> Check {
    let facts = &history.facts;
    let lost = match (facts.lost_ticks, facts.lost_events) {
        (0, 0) => String::new(),
        (ticks, events) => format!("; lost since the start: {ticks} ticks, {events} events"),
    };
    let (status, detail) = if let Some(trouble) = &history.trouble {
        (Status::Warn, format!("nothing is kept, {} ticks wait: {trouble}{lost}", facts.waiting_ticks))
    } else if let Some(quarantine) = &history.quarantine {
        let moved_to = quarantine.moved_to.display();
        (
            Status::Warn,
            format!(
                "the file was broken ({}) and is now {moved_to}; a fresh one was begun{lost}",
                quarantine.reason
            ),
        )
    } else if let Some(damage) = history.damages.first() {
        let count = history.damages.len();
        let first = format!("the first is {} of table {}", damage.key, damage.table);
        (
            Status::Warn,
            format!("{count} rows of the file are damaged and left out, {first}: check the disk{lost}"),
        )
    } else if !lost.is_empty() {
        (Status::Warn, format!("kept, but the disk was too slow{lost}"))
    } else if facts.queued_ticks > SLOW_DISK_TICKS {
        (
            Status::Warn,
            format!("the disk is slow: {} ticks wait for it, none is lost yet", facts.queued_ticks),
        )
    } else if facts.left_out_series > 0 {
        (Status::Warn, format!("{} series are not kept: the catalogue is full", facts.left_out_series))
    } else if facts.thinning > 1 {
        (
            Status::Warn,
            format!("one tick of {} is kept: more would be written a day than may", facts.thinning),
        )
    } else {
        (Status::Ok, format!("kept; may be lost: {}", history.at_risk))
    };
    Check { name: "history".into(), status, detail }
}

fn collector(report: &CollectorReport) -> (Status, String) {
    let error = report.error.as_deref().unwrap_or("no detail");
    match report.status {
        CollectorStatus::Ok if report.stale => (Status::Warn, "its values are too old".to_owned()),
        CollectorStatus::Ok if dropped_by(report) > 0 => {
            (Status::Warn, format!("it has too many series: {} were left out", dropped_by(report)))
        }
        CollectorStatus::Ok => (Status::Ok, "works".to_owned()),
        CollectorStatus::Pending => (Status::Ok, "has not run yet".to_owned()),
        CollectorStatus::Absent => (Status::Ok, format!("nothing to measure here: {error}")),
        CollectorStatus::Failing => (Status::Warn, format!("fails: {error}")),
        CollectorStatus::Overdue => (Status::Warn, format!("hangs: {error}")),
    }
}

/// One check for all addons, and one for each that is not well. An addon's trouble is its own, so it is never an error of the daemon.
fn of_addons(state: &HostState, addons: &[(AddonView, Option<String>)]) -> Vec<Check> {
    if addons.is_empty() {
        return Vec::new();
    }
    let reports: HashMap<&str, &CollectorReport> =
        state.snapshot.collectors.iter().filter_map(|report| Some((addon_of(report)?, report))).collect();
    let complaint = |(view, stats): &(AddonView, Option<String>)| {
        let text = complaint(view, stats.as_deref(), reports.get(view.name.as_str()).copied())?;
        Some(Check { name: format!("addon.{}", view.name), status: Status::Warn, detail: text })
    };
    let mut unwell: Vec<Check> = addons.iter().filter_map(complaint).collect();
    let running = addons.iter().filter(|(view, _)| view.state == AddonState::Running).count();
    let (total, troubled) = (addons.len(), unwell.len());
    let detail = format!("{total} in all, {running} running, {troubled} not well; see /api/addons");
    unwell.truncate(ADDON_CHECKS_MAX);
    let all = Check {
        name: "addons".into(),
        status: unwell.iter().map(|check| check.status).max().unwrap_or(Status::Ok),
        detail,
    };
    std::iter::once(all).chain(unwell).collect()
}

/// Why an addon is not well, and what to do; `None` when it is, or when the operator switched it off.
fn complaint(view: &AddonView, stats: Option<&str>, report: Option<&CollectorReport>) -> Option<String> {
    let name = &view.name;
    let why = view.problem.as_ref().map_or("no reason is known", |problem| &problem.text);
    let again = view.retry_at.map(|at| format!(", is tried again at {}", rfc3339(at))).unwrap_or_default();
    match view.state {
        AddonState::Refused => return Some(format!("is refused: {why}")),
        AddonState::BackingOff => return Some(format!("crashed{again}: {why}; see /api/addons/{name}/logs")),
        AddonState::Quarantined => {
            return Some(format!(
                "crashed too often{again}: {why}; see /api/addons/{name}/logs, and mend, replace, reload or disable it"
            ));
        }
        AddonState::Disabled => return None,
        AddonState::Loading | AddonState::Running => {}
    }
    let mut found: Vec<String> = Vec::new();
    found.extend(view.problem.as_ref().map(|problem| problem.text.clone()));
    found.extend(
        view.pending
            .as_ref()
            .map(|problem| format!("its newer file does not run, the older goes on: {}", problem.text)),
    );
    if let Some(health) = view.health.as_ref().filter(|health| health.status != "ok") {
        found.push(format!("says {}: {}", health.status, health.text));
    }
    found.extend(stats.map(|text| format!("cannot make its document: {text}")));
    let collecting = report.map(collector).filter(|(status, _)| *status > Status::Ok);
    // What was left out is a problem of its own already, with the reason.
    found.extend(
        collecting.filter(|_| view.problem.is_none()).map(|(_, detail)| format!("its collector: {detail}")),
    );
    (!found.is_empty()).then(|| format!("{}; see /api/addons/{name}/logs", found.join("; ")))
}

/// Addons that get a check of their own: as many as a person reads. The check of them all counts the others.
const ADDON_CHECKS_MAX: usize = 100;

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dto::addons::tests::view;
    use lowtide_addons::{HealthView, Problem};
    use lowtide_core::units::WallTime;

    fn problem(text: &str) -> Option<Problem> {
        Some(Problem { code: "trap", text: text.to_owned(), at: WallTime(0) })
    }

    #[test]
    fn an_addon_that_is_well_or_switched_off_is_no_complaint() {
        for state in [AddonState::Running, AddonState::Loading, AddonState::Disabled] {
            assert_eq!(complaint(&view("demo", state), None, None), None, "{state:?}");
        }
    }

    #[test]
    fn a_complaint_says_why_and_where_to_look() {
        let told = |state, change: &dyn Fn(&mut AddonView), stats| {
            let mut view = view("demo", state);
            change(&mut view);
            complaint(&view, stats, None).unwrap()
        };
        let crashed = told(
            AddonState::BackingOff,
            &|view| (view.problem, view.retry_at) = (problem("it divided by zero"), Some(WallTime(0))),
            None,
        );
        assert_eq!(
            crashed,
            "crashed, is tried again at 1970-01-01T00:00:00.000Z: it divided by zero; see /api/addons/demo/logs"
        );
        let quarantined = told(AddonState::Quarantined, &|view| view.problem = problem("it loops"), None);
        assert!(
            quarantined.contains("it loops") && quarantined.contains("reload or disable"),
            "{quarantined}"
        );
        let refused = told(AddonState::Refused, &|view| view.problem = problem("rename it"), None);
        assert_eq!(refused, "is refused: rename it");
        let unwell = |view: &mut AddonView| {
            let (checked_at, text) = (WallTime(0), "disk is full".to_owned());
            view.health = Some(HealthView { status: "error", text, checked_at, ok_at: None });
            view.pending = problem("not granted");
        };
        let several = told(AddonState::Running, &unwell, Some("no data"));
        for part in
            ["says error: disk is full", "cannot make its document: no data", "older goes on: not granted"]
        {
            assert!(several.contains(part), "{several}");
        }
    }
}
