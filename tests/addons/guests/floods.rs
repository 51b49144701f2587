//! Guests that send more than anybody can take: series, names, lines, events, calls, metrics.

use super::expect::{Case, Expect, Seen, crash, guest, so};

const SHORTER: &str = "send fewer or shorter values";

pub(super) fn cases() -> Vec<Case> {
    vec![
        guest(
            "million-series",
            crash(&["host_call_bytes", "memory", "cpu_time", "running_time"], &["collect"]),
        ),
        guest(
            "thousand-series",
            Expect::Runs(|seen| {
                seen.left_out(&["500 series", "499 more samples"])
                    .and(so(seen.view.series == 500, || format!("{} series", seen.view.series)))
            }),
        ),
        guest("huge-name", crash(&["host_call_bytes"], &["collect", "256 KiB", SHORTER])),
        guest("huge-line", crash(&["host_call_bytes"], &["collect", "256 KiB", SHORTER])),
        guest("log-flood", crash(&["host_call_storm"], &["collect", "call the host less often"])),
        guest(
            "line-storm",
            Expect::Runs(|seen| {
                // 200 at once and 50 a second are kept, of 500 a second.
                let (kept, dropped) = (seen.view.log_lines, seen.view.log_lines_dropped);
                so(dropped >= 600 && kept >= 200 && dropped > kept && seen.log.len() <= 500, || {
                    format!("{kept} lines, {dropped} dropped")
                })
            }),
        ),
        guest(
            "output-flood",
            Expect::Settles(|seen| {
                let crashed = seen
                    .view
                    .problem
                    .as_ref()
                    .is_some_and(|problem| ["cpu_time", "running_time"].contains(&problem.code));
                so(crashed && seen.view.log_lines_dropped > 0 && seen.log.len() <= 500, || {
                    format!("{:?}", seen.view.log_lines_dropped)
                })
            }),
        ),
        guest(
            "endless-line",
            Expect::Runs(|seen| so(seen.value("value") >= Some(2.0), || format!("{:?}", seen.view.metered))),
        ),
        guest(
            "event-flood",
            Expect::Runs(|seen| {
                let metered = &seen.view.metered;
                seen.outcomes(6)
                    .and(so(metered.events >= 20 && metered.dropped_events >= 175, || format!("{metered:?}")))
            }),
        ),
        guest(
            "host-call-storm",
            crash(&["host_call_storm"], &["collect", "1000 host calls a second", "call the host less often"]),
        ),
        guest("metrics-flood", crash(&["host_call_bytes"], &["describe", "256 KiB", SHORTER])),
        guest(
            "many-metrics",
            Expect::Runs(|seen| {
                // Two of the two hundred are those of every fixture.
                let refused = seen.value("value");
                so(refused == Some(102.0) && seen.view.metrics.len() == 200, || {
                    format!("{refused:?}, {} metrics", seen.view.metrics.len())
                })
            }),
        ),
        guest("health-flood", crash(&["host_call_bytes"], &["health", SHORTER])),
        guest("presence-flood", crash(&["host_call_bytes"], &["presence", SHORTER])),
        guest(
            "label-bomb",
            Expect::Runs(|seen| {
                let enough = seen.view.metered.calls >= 5 && seen.view.metered.dropped_overflow > 0;
                so(enough && seen.view.series <= 500, || {
                    format!("{} series, {:?}", seen.view.series, seen.view.metered)
                })
            }),
        ),
        guest("long-labels", Expect::Runs(has_short_labels)),
    ]
}

/// The labels were cut. Cut, two of them are the same, and one series has one value.
fn has_short_labels(seen: &Seen) -> Result<(), String> {
    let labels: Vec<String> = seen.values("outcome").into_iter().map(|(label, _)| label).collect();
    so(labels.len() == 1 && labels.iter().all(|label| label.len() <= 256), || {
        format!(
            "{} labels of {:?} bytes, {:?}",
            labels.len(),
            labels.iter().map(String::len).collect::<Vec<_>>(),
            seen.view.problem
        )
    })
}
