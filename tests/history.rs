//! History as its users meet it: the past after a restart, long answers, what is refused, and rows of what happened.

mod storage;

use crate::daemon::{Daemon, Launch, eventually};
use crate::http::{self, Connection};
use crate::leases::{calm, grant, request};
use lowtide_core::history::SeriesInfo;
use lowtide_core::metric::Kind;
use lowtide_core::units::Unit;
use lowtide_store::history::{HistoryStore, Keep, SeriesId};
use rustix::process::Signal;
use serde_json::Value;
use std::path::Path;

const DAY_MS: i64 = 86_400_000;

/// Every tick is recorded.
const EVERY_TICK: &str = "[collectors]\ntick_seconds = 1\n[history]\ninterval_seconds = 1\n";

/// Times and newest values of one series, tick by tick.
fn ticks(daemon: &Daemon, query: &str) -> Vec<(String, f64)> {
    let answer = daemon.json(&format!("/api/system-stats/history?step=raw&agg=last&{query}"));
    let times = answer["timestamps"].as_array().unwrap();
    let Some(series) = answer["series"].as_array().unwrap().first() else { return Vec::new() };
    let values = series["values"]["last"].as_array().unwrap();
    let both = times.iter().zip(values);
    both.filter_map(|(time, value)| Some((time.as_str()?.to_owned(), value.as_f64()?))).collect()
}

/// Whether one list of ticks begins with another. The window shows the times of an hour by one clock, the file each by the clock of its
/// moment: a millisecond may be between them.
fn begins_with(all: &[(String, f64)], first: &[(String, f64)]) -> bool {
    let ms = |time: &str| time.parse::<jiff::Timestamp>().unwrap().as_millisecond();
    let near = |(a, b): (&(String, f64), &(String, f64))| {
        (ms(&a.0) - ms(&b.0)).abs() <= 5 && (a.1 - b.1).abs() < 1e-3
    };
    all.len() >= first.len() && all.iter().zip(first).all(near)
}

fn metric(daemon: &Daemon, name: &str) -> f64 {
    let text = daemon.get("/metrics").text();
    let line = text.lines().find(|line| line.starts_with(&format!("{name} ")));
    line.and_then(|line| line.rsplit(' ').next()?.parse().ok()).unwrap_or_else(|| panic!("no {name}"))
}

fn check(daemon: &Daemon) -> (String, String) {
    let health = daemon.json("/api/system-stats/health");
    let check = health["checks"].as_array().unwrap().iter().find(|check| check["name"] == "history").unwrap();
    (check["status"].as_str().unwrap().to_owned(), check["detail"].as_str().unwrap().to_owned())
}

#[test]
fn what_was_recorded_survives_a_kill_and_a_stop_and_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let series = "metric=quiet_score&range=1h";
    let mut daemon = Launch::with(EVERY_TICK).data(&data).start();
    daemon.wait_for_tick(5);
    let first = eventually("some ticks are in the file", || {
        let seen = ticks(&daemon, series);
        let recorded = metric(&daemon, "lowtide_history_recorded_ticks_total");
        (metric(&daemon, "lowtide_history_waiting_ticks") == 0.0 && recorded >= 4.0)
            .then(|| seen.into_iter().take(4).collect::<Vec<_>>())
    });
    assert_eq!(first.len(), 4);
    daemon.signal(Signal::KILL);
    daemon.wait_for_end();
    let mut daemon = Launch::with(EVERY_TICK).data(&data).start();
    daemon.wait_for_tick(2);
    let second = ticks(&daemon, series);
    assert!(begins_with(&second, &first), "{first:?} {second:?}");
    assert!(second.len() > first.len());
    daemon.signal(Signal::TERM);
    daemon.wait_for_end();
    let daemon = Launch::with(EVERY_TICK).data(&data).start();
    let third = ticks(&daemon, series);
    assert!(begins_with(&third, &second), "a stop loses nothing: {second:?} {third:?}");
    // The same in cells, and as one number over all.
    let all = daemon.json(&format!("/api/system-stats/history?{series}&step=1h&agg=min,max,last"));
    let values = &all["series"][0]["values"];
    let known: Vec<f64> = third.iter().map(|(_, value)| *value).collect();
    let least = known.iter().copied().fold(f64::INFINITY, f64::min);
    let found =
        values["min"].as_array().unwrap().iter().filter_map(Value::as_f64).fold(f64::INFINITY, f64::min);
    assert!(found <= least, "{values} {known:?}");
    assert_eq!(check(&daemon).0, "ok");
}

/// A file with a past: `days` days of two hundred series up to now, a tick a minute, rolled up; of the first `gone` days only roll-ups are
/// left.
fn past(data: &Path, days: i64, raw_days: u32) -> i64 {
    std::fs::create_dir_all(data).unwrap();
    let mut store = HistoryStore::open(&data.join("history.db")).unwrap();
    let series: Vec<SeriesInfo> = (0..200)
        .map(|number| SeriesInfo {
            group: "addon.gone".into(),
            metric: "gone_level_ratio".into(),
            suffix: "".into(),
            labels: [("number".into(), format!("{number}").into())].into(),
            kind: Kind::Gauge,
            unit: Unit::Ratio,
        })
        .collect();
    let ids: Vec<SeriesId> = store.ids(&series).unwrap().into_iter().map(Option::unwrap).collect();
    let now_ms = lowtide_clock::now().wall.unix_ms();
    let start_ms = now_ms.div_euclid(DAY_MS) * DAY_MS - days * DAY_MS;
    let times: Vec<i64> = (0..days * 1_440).map(|minute| start_ms + minute * 60_000).collect();
    let columns: Vec<Vec<f64>> = (0..200)
        .map(|series| (0..times.len()).map(|tick| ((tick * 7 + series) % 100) as f64 / 100.0).collect())
        .collect();
    store.append_columns(&times, &ids, &columns).unwrap();
    while store.roll_up(now_ms).unwrap() {}
    let keep = Keep { raw_days, rollup_days: 365, bytes_max: 1 << 30 };
    while store.forget(&keep).unwrap().more {}
    start_ms
}

#[test]
fn series_of_the_past_are_answered_in_cells_of_any_size_and_streamed_when_long() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let start_ms = past(&data, 4, 365);
    let daemon = Launch::with("[collectors]\ntick_seconds = 1\n").data(&data).start();
    let from = start_ms / 1_000;
    let one = "metric=gone_level_ratio&labels=number=3";
    let raw = daemon
        .json(&format!("/api/system-stats/history?{one}&from={from}&to={}&step=raw&agg=last", from + 3_540));
    let values = raw["series"][0]["values"]["last"].as_array().unwrap();
    assert_eq!(values.len(), 60);
    for (tick, value) in values.iter().enumerate() {
        assert_eq!(value.as_f64().unwrap(), ((tick * 7 + 3) % 100) as f64 / 100.0);
    }
    assert_eq!(raw["p95_error_ratio"], 0.0);
    // Days in one cell each, from roll-ups: every hundred minutes all hundred values occur.
    let days = daemon
        .json(&format!("/api/system-stats/history?{one}&from={from}&to={}&step=1d", from + 4 * 86_400 - 1));
    assert_eq!(days["p95_error_ratio"], 0.01);
    let values = &days["series"][0]["values"];
    for day in 0..4 {
        let get = |agg: &str| values[agg][day].as_f64().unwrap();
        assert_eq!((get("min"), get("max")), (0.0, 0.99));
        assert!((get("avg") - 0.495).abs() < 0.005, "{}", get("avg"));
        assert!((get("p95") - 0.94).abs() <= 0.015, "{}", get("p95"));
    }
    // Without a step about as many cells as a chart shows; the group is known although no addon has it any more.
    let chart = daemon.json("/api/system-stats/history?group=addon.gone&labels=number=7&range=5d");
    let cells = chart["timestamps"].as_array().unwrap().len();
    assert!((100..=400).contains(&cells), "{cells}");
    // Two hundred series of half a day: long, so it comes in pieces.
    let path = format!(
        "/api/system-stats/history?metric=gone_level_ratio&from={from}&to={}&step=raw&agg=last",
        from + 43_199
    );
    let long = daemon.get(&path);
    assert_eq!(long.header("transfer-encoding"), Some("chunked"));
    let long = long.json();
    assert_eq!(long["series"].as_array().unwrap().len(), 200);
    assert!(
        long["series"]
            .as_array()
            .unwrap()
            .iter()
            .all(|one| one["values"]["last"].as_array().unwrap().len() == 720)
    );
    // Too much is refused before anything is sent.
    let much = daemon.get(&format!("/api/system-stats/history?metric=gone_level_ratio&from={from}&step=raw"));
    assert_eq!(
        (much.status, much.problem()["code"].as_str()),
        (400, Some("too_many_values")),
        "{}",
        much.text()
    );
}

#[test]
fn a_series_that_changed_its_kind_is_two_and_each_has_its_own_past() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    std::fs::create_dir_all(&data).unwrap();
    let mut store = HistoryStore::open(&data.join("history.db")).unwrap();
    let info = |kind| SeriesInfo {
        group: "addon.gone".into(),
        metric: "gone_things".into(),
        suffix: "".into(),
        labels: [].into(),
        kind,
        unit: Unit::Count,
    };
    let now_ms = lowtide_clock::now().wall.unix_ms();
    let times: Vec<i64> = (0..10).map(|tick| now_ms - 600_000 + tick * 10_000).collect();
    let ids = store.ids(&[info(Kind::Gauge), info(Kind::Counter)]).unwrap();
    let ids: Vec<SeriesId> = ids.into_iter().map(Option::unwrap).collect();
    store.append_columns(&times, &ids, &[vec![3.5; 10], (0..10).map(f64::from).collect()]).unwrap();
    drop(store);
    let daemon = Launch::with("[collectors]\ntick_seconds = 1\n").data(&data).start();
    let answer = daemon.json("/api/system-stats/history?metric=gone_things&step=raw&agg=avg,last");
    let series = answer["series"].as_array().unwrap();
    let shown: Vec<_> = series
        .iter()
        .map(|one| (one["kind"].as_str().unwrap(), &one["values"]["avg"][3], &one["values"]["last"][3]))
        .collect();
    assert_eq!(shown, [("gauge", &3.5.into(), &3.5.into()), ("counter", &0.1.into(), &3.into())], "{answer}");
}

#[test]
fn a_client_that_goes_in_the_middle_of_an_answer_frees_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let start_ms = past(&data, 2, 365);
    let daemon = Launch::with("[collectors]\ntick_seconds = 1\n").data(&data).start();
    let path = format!(
        "/api/system-stats/history?metric=gone_level_ratio&from={}&to={}&step=raw&agg=last",
        start_ms / 1_000,
        start_ms / 1_000 + 86_400
    );
    // More of them than there are places, and none reads its answer.
    for _ in 0..24 {
        let mut connection = Connection::open(daemon.address).unwrap();
        connection.send(format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n").as_bytes()).unwrap();
        let head = connection.head().unwrap();
        assert_eq!(head.status, 200);
    }
    eventually("there is a place", || (http::get(daemon.address, &path).status == 200).then_some(()));
}

#[test]
fn beyond_the_ticks_a_fine_step_is_refused_with_what_works() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let start_ms = past(&data, 5, 1);
    let daemon = Launch::with("[collectors]\ntick_seconds = 1\n").data(&data).start();
    let ask = |step: &str| {
        daemon.get(&format!(
            "/api/system-stats/history?metric=gone_level_ratio&labels=number=1&from={}&step={step}",
            start_ms / 1_000
        ))
    };
    for step in ["1m", "raw", "20m"] {
        let refused = ask(step);
        let problem = refused.problem();
        assert_eq!((refused.status, problem["code"].as_str()), (400, Some("step_too_fine")), "{step}");
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains("step=15m"), "{detail}");
        // What it names works.
        let from = detail.rsplit("from=").next().unwrap();
        let path = format!(
            "/api/system-stats/history?metric=gone_level_ratio&labels=number=1&from={from}&step=1m&agg=avg"
        );
        assert_eq!(daemon.get(&path).status, 200, "{path}");
    }
    let works = ask("15m").json();
    assert_eq!(
        works["timestamps"].as_array().unwrap().len(),
        works["series"][0]["values"]["avg"].as_array().unwrap().len()
    );
    assert!(works["ticks_since"].as_str() > works["held_since"].as_str());
    assert_eq!(works["series"][0]["values"]["max"][0], 0.99);
}

#[test]
fn quiet_times_and_what_happened_are_kept_as_rows() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let mut daemon = Launch::with(calm("")).data(&data).start();
    eventually("QUIET", || (daemon.quiet()["state"] == "QUIET").then_some(()));
    let lease = grant(&daemon, &request("nas", 10));
    let before = daemon.sequence();
    daemon.wait_for_tick(before + 2);
    let now = eventually("a quiet time goes on", || {
        let streaks = daemon.json("/api/system-stats/quiet/streaks");
        (streaks["current"]["duration_seconds"].as_f64() >= Some(1.0)).then_some(streaks)
    });
    assert_eq!((now["count"].as_u64(), now["longest"]["open"].as_bool()), (Some(1), Some(true)));
    assert!(now["total_seconds"].as_f64() >= Some(1.0), "{now}");
    assert_eq!(now["days"].as_array().unwrap().len(), 1, "{now}");
    let events = eventually("the grant is a row", || {
        let events = daemon.json("/api/system-stats/history/events?kind=lease&subject=nas");
        (!events["events"].as_array().unwrap().is_empty()).then_some(events)
    });
    assert_eq!(events["events"][0]["data"]["lease_id"], lease);
    daemon.signal(Signal::TERM);
    daemon.wait_for_end();

    let daemon = Launch::with(calm("")).data(&data).start();
    let stored = daemon.json("/api/system-stats/quiet/intervals");
    let first = &stored["intervals"][0];
    assert_eq!(
        (first["from"].as_str(), first["open"].as_bool()),
        (now["longest"]["from"].as_str(), Some(false))
    );
    assert!(first["duration_seconds"].as_f64() >= now["longest"]["duration_seconds"].as_f64());
    assert!(first["score_min"].as_f64() <= first["score_avg"].as_f64(), "{first}");
    // The state changed, in both lives of the daemon; pages lead through all rows.
    let mut after = 0;
    let mut kinds = Vec::new();
    loop {
        let page = daemon.json(&format!("/api/system-stats/history/events?after={after}&limit=2"));
        kinds.extend(
            page["events"].as_array().unwrap().iter().map(|event| event["kind"].as_str().unwrap().to_owned()),
        );
        match page["next"].as_i64() {
            Some(next) => after = next,
            None => break,
        }
    }
    assert!(
        kinds.iter().any(|kind| kind == "state") && kinds.iter().any(|kind| kind == "lease"),
        "{kinds:?}"
    );
    assert!(!kinds.iter().any(|kind| kind == "tick"));
    let newest = daemon.json("/api/system-stats/history/events?limit=1");
    assert!(newest["events"][0]["id"].as_i64() >= Some(i64::try_from(kinds.len()).unwrap()));
}

#[test]
fn a_spared_disk_is_written_now_and_then_and_at_a_stop() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let config = format!("{EVERY_TICK}low_wear = true\nlow_wear_flush_minutes = 50\n");
    let mut daemon = Launch::with(&*config).data(&data).start();
    daemon.wait_for_tick(4);
    let (status, detail) = check(&daemon);
    assert!(status == "ok" && detail.contains("50 minutes"), "{status} {detail}");
    eventually("ticks wait in memory", || {
        (metric(&daemon, "lowtide_history_waiting_ticks") >= 3.0).then_some(())
    });
    let seen = ticks(&daemon, "metric=quiet_score");
    daemon.signal(Signal::TERM);
    daemon.wait_for_end();
    let daemon = Launch::with(&*config).data(&data).start();
    let after = ticks(&daemon, "metric=quiet_score");
    assert!(begins_with(&after, &seen), "{seen:?} {after:?}");
}

#[test]
fn without_history_there_is_the_last_hour_and_a_clear_word() {
    let daemon = Launch::with("[collectors]\ntick_seconds = 1\n[history]\nenabled = false\n").start();
    assert!(!daemon.folder().join("data/history.db").exists());
    for path in ["quiet/streaks", "quiet/intervals", "history/events"] {
        let answer = daemon.get(&format!("/api/system-stats/{path}"));
        assert_eq!((answer.status, answer.problem()["code"].as_str()), (404, Some("history_off")), "{path}");
    }
    daemon.wait_for_tick(2);
    let answer = daemon.json("/api/system-stats/history?step=raw&agg=last&metric=quiet_score&range=30d");
    assert!(ticks(&daemon, "metric=quiet_score&range=30d").len() >= 2, "{answer}");
}
