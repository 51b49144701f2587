//! Guests whose values, names and texts break the contract: what is wrong is left out and told, the rest is taken.

use super::expect::{Case, Expect, Seen, guest, so};
use lowtide_core::report::CollectorStatus;
use std::time::Duration;

pub(super) fn cases() -> Vec<Case> {
    vec![
        guest(
            "not-a-number",
            Expect::Runs(|seen| {
                let quiet = seen.values("outcome").is_empty() && seen.view.problem.is_none();
                so(seen.value("value") == Some(7.0) && quiet, || format!("{:?}", seen.values("outcome")))
            }),
        ),
        guest(
            "duplicate-series",
            Expect::Runs(|seen| {
                let first = seen.value("value") == Some(1.0) && seen.value("outcome") == Some(3.0);
                seen.left_out(&["value", "given twice"])
                    .and(so(first && seen.view.metered.dropped_duplicate > 0, || {
                        format!("{:?}", seen.view.metered)
                    }))
            }),
        ),
        guest(
            "undeclared",
            Expect::Runs(|seen| {
                let counted = seen.view.metered.dropped_undeclared >= 2;
                seen.left_out(&["never_declared", "not declared"])
                    .and(seen.outcomes(1))
                    .and(so(counted, || format!("{:?}", seen.view.metered)))
            }),
        ),
        guest(
            "wrong-labels",
            Expect::Runs(|seen| {
                let right = seen.values("outcome") == [("right".to_owned(), 1.0)];
                let counted = seen.view.metered.dropped_invalid >= 4;
                seen.left_out(&["value", "0 labels, but 1 values"])
                    .and(so(right && counted, || format!("{:?}", seen.values("outcome"))))
            }),
        ),
        guest("control-characters", Expect::Runs(says_it_everywhere)),
        guest(
            "bad-definitions",
            Expect::Runs(|seen| {
                seen.outcomes(19).and(so(seen.view.metrics.len() == 2, || format!("{:?}", seen.view.metrics)))
            }),
        ),
        guest(
            "bad-histograms",
            Expect::Runs(|seen| seen.outcomes(8).and(seen.left_out(&["good_seconds", "is a histogram"]))),
        ),
        guest(
            "bad-amounts",
            Expect::Runs(|seen| {
                let total = seen.value("steps_total");
                seen.outcomes(5).and(so(total >= Some(2.0), || format!("{total:?}")))
            }),
        ),
        guest("redeclared", Expect::Runs(|seen| seen.outcomes(4))),
        guest(
            "health-long",
            Expect::Runs(|seen| {
                let health = seen.view.health.as_ref();
                so(health.is_some_and(|health| health.status == "warn" && health.text.len() <= 512), || {
                    format!("{health:?}")
                })
            }),
        ),
        guest("odd-presence", Expect::Runs(is_bounded)),
        guest("interval-nan", Expect::Runs(|seen| interval(seen, 1, 3_600))),
        guest("interval-negative", Expect::Runs(|seen| interval(seen, 1, 1))),
        guest("interval-endless", Expect::Runs(|seen| interval(seen, 3_600, 3_600))),
        guest("odd-jobs", Expect::Runs(has_sound_jobs)),
    ]
}

/// What it says came through, made harmless; `unfit_texts` looks at every letter of it.
fn says_it_everywhere(seen: &Seen) -> Result<(), String> {
    let failing = seen
        .report
        .as_ref()
        .is_some_and(|report| report.status == CollectorStatus::Failing && report.runs >= 3);
    let health = seen
        .view
        .health
        .as_ref()
        .is_some_and(|health| health.status == "error" && health.text.contains("evil"));
    let told = seen.presence.iter().any(|presence| presence.kind.contains("evil"));
    let described = seen.view.metrics.len() == 1 && seen.view.jobs.len() <= 1;
    let all = [
        failing,
        health,
        told,
        described,
        !seen.log.is_empty(),
        seen.stats.is_err(),
        seen.view.metered.events > 0,
    ];
    so(all == [true; 7], || format!("{all:?}"))
}

fn is_bounded(seen: &Seen) -> Result<(), String> {
    let weights: Vec<f64> = seen.presence.iter().map(|presence| presence.weight).collect();
    let sound = weights.iter().all(|weight| (0.0..=1.0).contains(weight));
    // What was said of the heaviest is taken for the heaviest, and what is no number for no less.
    let strong = weights.iter().filter(|weight| **weight == 1.0).count() >= 3;
    let short = seen.presence.iter().all(|presence| presence.kind.len() <= 128);
    so(sound && strong && short && (10..=16).contains(&weights.len()), || format!("{weights:?}"))
}

/// The interval is in these bounds, in seconds.
fn interval(seen: &Seen, least: u64, most: u64) -> Result<(), String> {
    let interval = seen.view.interval;
    let fits = interval
        .is_some_and(|interval| (Duration::from_secs(least)..=Duration::from_secs(most)).contains(&interval));
    so(fits, || format!("{interval:?}"))
}

fn has_sound_jobs(seen: &Seen) -> Result<(), String> {
    let jobs = &seen.view.jobs;
    let sound = jobs
        .iter()
        .map(|job| &job.description)
        .all(|job| (1..=100).contains(&job.cost_units) && job.help.len() <= 512 && job.name.len() <= 64);
    so(!jobs.is_empty() && jobs.len() <= 32 && sound, || {
        format!(
            "{} jobs, units {:?}",
            jobs.len(),
            jobs.iter()
                .take(3)
                .map(|job| &job.description)
                .map(|job| (job.cost_units, job.name.len(), job.help.len()))
                .collect::<Vec<_>>()
        )
    })
}
