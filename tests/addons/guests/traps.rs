//! Guests that trap, run for ever, or break the rules of the component model.

use super::expect::{Case, Expect, Seen, crash, guest, out_of_time, so, written};

const LESS: &str = "do less in one call";

/// Those in Rust.
pub(super) fn cases() -> Vec<Case> {
    vec![
        guest("spin-collect", out_of_time(&["collect", LESS])),
        guest("spin-describe", out_of_time(&["describe", LESS])),
        guest("clock-storm", out_of_time(&["collect", LESS])),
        guest("recursion", crash(&["stack"], &["collect", "recurses too deep"])),
        // The stack that a language keeps in memory ends where memory ends.
        guest("deep-frames", crash(&["trap"], &["collect", "out of bounds"])),
        guest("memory-bomb", crash(&["memory"], &["64 MiB", "memory_mib in addon.toml"])),
        guest("memory-refused", Expect::Runs(is_refused_memory)),
        guest(
            "slow-leak",
            Expect::Runs(|seen| {
                let metered = &seen.view.metered;
                so(metered.recycles >= 1 && metered.crashes == 0 && metered.memory_refusals == 0, || {
                    format!("{metered:?}")
                })
            }),
        ),
        guest("memory-hog", Expect::Runs(is_replaced)),
        guest(
            "ever-new-names",
            Expect::Runs(|seen| {
                is_replaced(seen).and(so(seen.view.metrics.len() <= 200, || {
                    format!("{} metrics", seen.view.metrics.len())
                }))
            }),
        ),
        guest("naps", crash(&["wall_time"], &["collect", "10 s, in which it ran for", "waits too long"])),
        guest("exits", crash(&["trap"], &["collect", "exit"])),
        guest("panics", crash(&["trap"], &["collect", "no tide table for harbour 42"])),
        guest("panics-in-presence", crash(&["trap"], &["presence", "nobody knows"])),
        guest("evil-panic", crash(&["trap"], &["red", "evil"])),
        guest(
            "fails",
            Expect::Runs(|seen| {
                let error = seen.report.as_ref().and_then(|report| report.error.clone()).unwrap_or_default();
                so(error.starts_with("unavailable: long") && error.len() <= 512, || format!("{error:?}"))
            }),
        ),
    ]
}

fn is_refused_memory(seen: &Seen) -> Result<(), String> {
    let metered = &seen.view.metered;
    so(seen.value("value") == Some(1.0) && metered.memory_refusals > 0 && seen.view.problem.is_none(), || {
        format!("{metered:?}")
    })
}

fn is_replaced(seen: &Seen) -> Result<(), String> {
    so(seen.view.metered.recycles >= 2 && seen.view.metered.crashes == 0, || {
        format!("{:?}", seen.view.metered)
    })
}

/// Those written by hand: each answers to `custom-stats`.
pub(super) fn by_hand() -> Vec<Case> {
    vec![
        written("spin-start", out_of_time(&["start", LESS])),
        written("trap-start", crash(&["trap"], &["start", "unreachable", "harbour_is_closed"])),
        written("table-bomb", crash(&["table"], &["custom-stats"])),
        written("table-refused", Expect::Runs(|seen| document(seen, "{\"refused\":1}"))),
        written("grow-to-the-end", Expect::Runs(is_replaced_once)),
        written("divide-by-zero", crash(&["trap"], &["custom-stats", "divide by zero", "share_of_nothing"])),
        written("out-of-bounds", crash(&["trap"], &["custom-stats", "out of bounds", "read_too_far"])),
        written("unreachable", crash(&["trap"], &["custom-stats", "unreachable", "never"])),
        written("wrong-signature", crash(&["trap"], &["custom-stats", "indirect call"])),
        written("endless-tail-calls", out_of_time(&["custom-stats", LESS])),
        written("fill-storm", out_of_time(&["custom-stats", LESS])),
        written("copy-storm", out_of_time(&["custom-stats", LESS])),
        written("too-large-at-start", crash(&["memory"], &["start", "64 MiB"])),
        written("large-table-at-start", crash(&["table"], &["start"])),
        written("many-tables", crash(&["memory", "trap"], &["start"])),
        written("not-utf8", crash(&["trap", "contract"], &["custom-stats", "utf-8"])),
        written("wild-pointer", crash(&["trap", "contract"], &["custom-stats"])),
        written("string-of-4-gib", crash(&["trap", "contract", "host_call_bytes"], &["custom-stats"])),
        written("odd-address", crash(&["trap", "contract"], &["custom-stats", "align"])),
        written("unknown-case", crash(&["trap", "contract"], &["custom-stats"])),
        written("trap-afterwards", crash(&["trap"], &["custom-stats", "unreachable", "after_all"])),
        written("spin-afterwards", out_of_time(&["custom-stats", LESS])),
        written("stats-not-json", Expect::Runs(|seen| no_document(seen, "not a JSON object"))),
        written("stats-not-object", Expect::Runs(|seen| no_document(seen, "not a JSON object"))),
        written("stats-empty", Expect::Runs(|seen| no_document(seen, "not a JSON object"))),
        written("stats-deep", Expect::Runs(|seen| no_document(seen, "recursion"))),
        written("stats-long", Expect::Runs(|seen| no_document(seen, "70000 bytes, more than the 65536"))),
        written(
            "stats-huge",
            crash(&["host_call_bytes"], &["custom-stats", "256 KiB", "send fewer or shorter values"]),
        ),
        written("gigabyte-of-randomness", crash(&["trap", "host_call_bytes"], &["custom-stats"])),
        written("randomness-storm", out_of_time(&["custom-stats", LESS])),
        written("pollables", crash(&["handles"], &["custom-stats", "drop those that are no longer used"])),
    ]
}

fn is_replaced_once(seen: &Seen) -> Result<(), String> {
    so(seen.view.metered.recycles >= 1 && seen.view.metered.crashes == 0, || {
        format!("{:?}", seen.view.metered)
    })
}

fn document(seen: &Seen, text: &str) -> Result<(), String> {
    let fits = seen.stats.as_ref().is_ok_and(|stats| stats.as_ref().is_some_and(|stats| stats.json == text));
    so(fits, || format!("{:?}", seen.stats))
}

fn no_document(seen: &Seen, why: &str) -> Result<(), String> {
    let fits = seen
        .stats
        .as_ref()
        .is_err_and(|problem| problem.code == "stats_failed" && problem.text.contains(why));
    so(fits, || format!("{:?}", seen.stats))
}
