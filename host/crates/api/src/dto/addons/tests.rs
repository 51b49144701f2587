//! That the documents about addons say what the views say, and that nothing of an addon reaches them uncleaned. Tests only.

use super::*;
use serde_json::json;

pub(crate) fn view(name: &str, state: AddonState) -> AddonView {
    AddonView {
        name: name.to_owned(),
        state,
        state_since: WallTime(1_000),
        problem: None,
        pending: None,
        retry_at: None,
        version: Some("1.2.0".to_owned()),
        description: None,
        wit_version: Some("0.1.0".to_owned()),
        exports: vec!["collector"],
        imports: vec!["log"],
        made_with: None,
        component_bytes: 10,
        digest: Some("ab".to_owned()),
        loaded_at: Some(WallTime(0)),
        started_at: None,
        uptime: Duration::from_millis(1_500),
        interval: Some(Duration::from_secs(5)),
        memory_limit_bytes: 64 << 20,
        metered: Metered {
            cpu_ns: 2_000_000,
            calls: 3,
            crashes: 1,
            events: 2,
            memory_bytes: 100,
            ..Metered::default()
        },
        series: 4,
        log_lines_dropped: 0,
        log_lines: 7,
        health: None,
        metrics: vec![MetricDef::gauge("addon_demo_level", lowtide_core::units::Unit::Count, &[], "Level.")],
        jobs: Vec::new(),
    }
}

#[test]
fn the_summary_counts_every_state_once() {
    let views: Vec<AddonView> =
        AddonState::ALL.into_iter().map(|state| view(&format!("a-{}", state.name()), state)).collect();
    let summary = serde_json::to_value(AddonSummary::new(&views, Duration::from_secs(9))).unwrap();
    let expected = json!({
        "total": 6, "loading": 1, "running": 1, "crashed": 2, "refused": 1, "disabled": 1,
        "events": 12, "crashes": 6, "memory_bytes": 600, "uptime_seconds": 9.0
    });
    assert_eq!(summary, expected);
}

#[test]
fn one_addon_is_told_whole() {
    let mut full = view("demo", AddonState::BackingOff);
    full.problem = Some(Problem { code: "trap", text: "it stopped".into(), at: WallTime(0) });
    full.retry_at = Some(WallTime(2_000));
    let detail = serde_json::to_value(AddonDetail::new(full)).unwrap();
    assert_eq!(detail["id"], "demo");
    assert_eq!(detail["state"], "backing_off");
    assert_eq!(
        detail["problem"],
        json!({ "code": "trap", "text": "it stopped", "at": "1970-01-01T00:00:00.000Z" })
    );
    assert_eq!(detail["retry_at"], "1970-01-01T00:00:02.000Z");
    assert_eq!((&detail["uptime_seconds"], &detail["interval_seconds"]), (&json!(1.5), &json!(5.0)));
    assert_eq!(detail["metered"]["cpu_seconds"], json!(0.002));
    assert_eq!(detail["metered"]["dropped"]["overflow"], 0);
    assert_eq!(
        detail["metrics"],
        json!([{ "name": "addon_demo_level", "kind": "gauge", "unit": "count", "help": "Level.", "labels": [] }])
    );
}

#[test]
fn what_was_never_read_is_null_and_not_zero() {
    let mut refused = view("READ ME.txt", AddonState::Refused);
    (refused.digest, refused.component_bytes, refused.memory_limit_bytes) = (None, 0, 0);
    let detail = serde_json::to_value(AddonDetail::new(refused)).unwrap();
    assert!(detail["component_bytes"].is_null() && detail["memory_limit_bytes"].is_null());
}
