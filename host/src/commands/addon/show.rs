//! `lowtide addon show`.

use super::{OneArgs, bytes, duration, number, path_of, text};
use crate::client;
use crate::commands::output::{out, pretty};
use crate::commands::status::fail;
use crate::exit::Exit;
use serde_json::Value;
use std::fmt::Write as _;

pub(super) fn run(args: &OneArgs) -> Exit {
    match client::get(args.client.daemon(), &path_of(&args.id, "")) {
        Ok(addon) if args.client.json => {
            out(&pretty(&addon));
            Exit::Ok
        }
        Ok(addon) => {
            out(&describe(&addon));
            Exit::Ok
        }
        Err(error) => fail(&error, args.client.json),
    }
}

/// The head line of an addon and what is wrong with it.
pub(super) fn headline(addon: &Value) -> String {
    let word = |pointer: &str| text(addon, pointer);
    let version = word("/version").map(|version| format!(" {version}")).unwrap_or_default();
    let mut printed = format!(
        "{}{version}: {} since {}\n",
        word("/id").unwrap_or_default(),
        word("/state").unwrap_or_else(|| "?".to_owned()),
        word("/since").unwrap_or_else(|| "?".to_owned())
    );
    let wrong = [
        super::paragraph(addon, "/problem/text"),
        super::paragraph(addon, "/pending/text").map(|why| format!("the newer file does not run: {why}")),
        word("/retry_at").map(|at| format!("is tried again at {at}")),
    ];
    for line in wrong.into_iter().flatten() {
        // Writing to a String cannot fail.
        let _ = writeln!(printed, "  {line}");
    }
    printed
}

fn describe(addon: &Value) -> String {
    let word = |pointer: &str| text(addon, pointer);
    let figure = |pointer: &str| number(addon, pointer);
    let count = |pointer: &str| figure(pointer).map(|count| format!("{count:.0}"));
    let names = |pointer: &str| {
        let names = addon.pointer(pointer)?.as_array()?.iter().enumerate();
        let names: Vec<String> =
            names.filter_map(|(at, _)| text(addon, &format!("{pointer}/{at}"))).collect();
        (!names.is_empty()).then(|| names.join(", "))
    };
    let memory = || {
        let (now, peak) = (figure("/metered/memory_bytes")?, figure("/metered/memory_peak_bytes")?);
        let limit = figure("/memory_limit_bytes").map(|limit| format!(", at most {}", bytes(limit)));
        Some(format!("{} now, {} at its highest{}", bytes(now), bytes(peak), limit.unwrap_or_default()))
    };
    let calls = || {
        let figures = [("", "calls"), (" failed", "failures"), (" crashed", "crashes")];
        let figures = figures.map(|(word, name)| {
            format!("{:.0}{word}", figure(&format!("/metered/{name}")).unwrap_or_default())
        });
        let cpu = figure("/metered/cpu_seconds")?;
        Some(format!("{}, {cpu:.3} s of CPU time in all", figures.join(", ")))
    };
    let dropped = || {
        let kinds = addon.pointer("/metered/dropped")?.as_object()?;
        let told = kinds.iter().filter_map(|(kind, count)| {
            let count = count.as_u64().filter(|count| *count > 0)?;
            Some(format!("{count} {kind}"))
        });
        let told: Vec<String> = told.collect();
        (!told.is_empty()).then(|| super::clean(&told.join(", "), super::TEXT_BYTES_MAX).into_owned())
    };
    let health = || {
        let said = word("/health/text").map(|said| format!(": {said}")).unwrap_or_default();
        Some(format!("{}{said}", word("/health/status")?))
    };
    let facts = [
        ("description", word("/description")),
        ("health", health()),
        ("running for", figure("/uptime_seconds").filter(|seconds| *seconds > 0.0).map(duration)),
        ("collects every", figure("/interval_seconds").map(|seconds| format!("{seconds} s"))),
        ("memory", memory()),
        ("calls", calls()),
        ("restarts", count("/metered/restarts")),
        ("series", count("/series")),
        ("events", count("/metered/events")),
        ("not taken", dropped()),
        ("log lines", count("/log_lines")),
        ("exports", names("/exports")),
        ("imports", names("/imports")),
        ("contract", word("/wit_version")),
        ("made with", word("/made_with")),
        ("size", figure("/component_bytes").map(bytes)),
        ("digest", word("/digest")),
    ];
    let mut printed = headline(addon);
    for (name, fact) in facts {
        if let Some(fact) = fact {
            let _ = writeln!(printed, "{name:<15} {fact}");
        }
    }
    for (list, title) in [("metrics", "metric"), ("jobs", "job")] {
        for at in 0..addon.get(list).and_then(Value::as_array).map_or(0, Vec::len) {
            let name = word(&format!("/{list}/{at}/name")).unwrap_or_default();
            let help = word(&format!("/{list}/{at}/help")).unwrap_or_default();
            let _ = writeln!(printed, "{title:<15} {name}: {help}");
        }
    }
    printed
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_known_is_told_and_the_rest_left_out() {
        let addon = json!({
            "id": "demo", "state": "backing_off", "since": "2026-01-01T00:00:00.000Z", "version": "1.0.0",
            "problem": { "text": "it divided by zero" }, "retry_at": "2026-01-01T00:00:02.000Z",
            "uptime_seconds": 0.0, "interval_seconds": 5.0, "memory_limit_bytes": 67_108_864, "series": 3,
            "exports": ["collector", "health"], "health": null, "log_lines": 4,
            "metered": { "cpu_seconds": 0.25, "calls": 10, "failures": 1, "crashes": 2, "restarts": 2, "events": 0,
                         "memory_bytes": 0, "memory_peak_bytes": 2_097_152, "dropped": { "undeclared": 2, "events": 0 } },
            "metrics": [{ "name": "addon_demo_x", "help": "X." }],
        });
        let printed = describe(&addon);
        for line in [
            "demo 1.0.0: backing_off since 2026-01-01T00:00:00.000Z\n  it divided by zero\n  is tried again at ",
            "collects every  5 s\n",
            "memory          0 KiB now, 2.0 MiB at its highest, at most 64.0 MiB\n",
            "calls           10, 1 failed, 2 crashed, 0.250 s of CPU time in all\n",
            "not taken       2 undeclared\n",
            "exports         collector, health\n",
            "metric          addon_demo_x: X.\n",
        ] {
            assert!(printed.contains(line), "{line} in {printed}");
        }
        assert!(!printed.contains("running for") && !printed.contains("\nhealth"), "{printed}");
    }
}
