//! The verdict of the real daemon on the real machine: load makes it BUSY for the right reason, calm makes it QUIET by the
//! state machine's own account. The machine is shared, so nothing here assumes that it is idle, and ticks are counted, not
//! seconds; strict times are in `soak`.

use crate::daemon::{Daemon, Launch};
use crate::events::Stream;
use crate::load::{self, Writer};
use serde_json::Value;
use std::os::unix::fs::symlink;
use std::path::Path;

const DWELL_SECONDS: f64 = 2.0;
const HOLD_SECONDS: f64 = 1.0;

const CONFIG: &str = "[collectors]\ntick_seconds = 1\n[quiet]\ndwell_seconds = 2\nbusy_hold_seconds = 1\n\
                      panic_hold_seconds = 2\nmean_window_seconds = 2\n";

/// The verdicts of a daemon, tick by tick.
pub(crate) struct Watch<'a> {
    daemon: &'a Daemon,
    stream: Stream,
    newest: u64,
}

impl<'a> Watch<'a> {
    pub(crate) fn new(daemon: &'a Daemon) -> Self {
        Self { daemon, stream: Stream::open(daemon.address, "?kinds=tick", None), newest: daemon.sequence() }
    }

    /// The verdict of the next tick.
    pub(crate) fn next(&mut self) -> Value {
        loop {
            self.stream.event();
            let told = self.newest;
            // The document may be of the tick before or after the one that was told.
            let quiet = self.daemon.quiet();
            self.newest = quiet["sequence"].as_u64().unwrap();
            if self.newest > told {
                return quiet;
            }
        }
    }
}

/// The reason of one of these signals, at this level or above.
pub(crate) fn reason<'a>(quiet: &'a Value, signals: &[&str]) -> Option<&'a Value> {
    quiet["reasons"]
        .as_array()
        .unwrap()
        .iter()
        .find(|reason| signals.iter().any(|signal| reason["signal"] == *signal))
}

/// What holds for every verdict, whatever the machine does.
fn check(quiet: &Value) {
    let (state, score) = (quiet["state"].as_str().unwrap(), quiet["score"].as_u64().unwrap());
    let band = match state {
        "QUIET" => 70..=100,
        "NORMAL" => 30..=69,
        "BUSY" => 10..=29,
        "PANIC" => 0..=9,
        other => panic!("{other}"),
    };
    assert!(band.contains(&score), "{state} {score}");
    let inputs = quiet["inputs"].as_object().unwrap();
    for (name, input) in inputs {
        let known = input["status"] == "known";
        assert!(known || input["score"].is_null(), "{name}: {input}");
        assert!(!known || input["value"].is_number(), "{name}: {input}");
        if input["status"] == "unknown" {
            assert_ne!(state, "QUIET", "{name} is unknown: {input}");
        }
    }
    let worst = inputs.values().filter_map(|input| input["level"].as_str()).map(severity).max().unwrap();
    assert!(severity(state) >= worst, "{state}, but a signal asks for {worst}: {quiet}");
}

fn severity(level: &str) -> usize {
    ["QUIET", "NORMAL", "BUSY", "PANIC"].iter().position(|known| *known == level).unwrap()
}

/// Loads the processors and expects BUSY for that within three ticks.
fn spin(watch: &mut Watch<'_>) {
    if rustix::process::getpriority_process(None).is_ok_and(|nice| nice > 0) {
        println!("SKIPPED: this test runs under nice, and niced work is not counted as use of the processor");
        return;
    }
    let spinners = load::spinners();
    let seen: Vec<Value> = (0..3).map(|_| watch.next()).collect();
    let busy = seen.iter().find(|quiet| {
        let cpu = reason(quiet, &["cpu"]).is_some_and(|cpu| {
            cpu["level"] == "BUSY" && cpu["value"].as_f64().is_some_and(|value| value >= 0.5)
        });
        cpu && severity(quiet["state"].as_str().unwrap()) >= 2
    });
    assert!(busy.is_some(), "no BUSY for cpu within three ticks: {:?}", states(&seen));
    seen.iter().for_each(check);
    drop(spinners);
}

fn states(seen: &[Value]) -> Vec<String> {
    seen.iter().map(|quiet| format!("{} {}: {}", quiet["state"], quiet["score"], quiet["summary"])).collect()
}

fn calm(quiet: &Value) -> bool {
    let inputs = quiet["inputs"].as_object().unwrap();
    inputs.values().all(|input| {
        let (mean, limit) = (input["mean"].as_f64(), input["thresholds"]["quiet"].as_f64());
        let counts = input["status"] == "known";
        let calm_mean = match (mean, limit) {
            (Some(mean), Some(limit)) if counts => {
                if input["direction"] == "above" {
                    mean < limit
                } else {
                    mean > limit
                }
            }
            _ => true,
        };
        input["level"] == "QUIET" && calm_mean
    })
}

fn seconds(quiet: &Value) -> f64 {
    quiet["assessed_at"].as_str().unwrap().parse::<jiff::Timestamp>().unwrap().as_millisecond() as f64
        / 1_000.0
}

/// Watches the way back: QUIET comes when all was calm for the dwell and the hold is over, and never otherwise.
fn account(watch: &mut Watch<'_>, ticks: usize) {
    let mut calm_since: Option<f64> = None;
    let mut before = severity(watch.next()["state"].as_str().unwrap());
    for _ in 0..ticks {
        let quiet = watch.next();
        check(&quiet);
        let now = seconds(&quiet);
        calm_since = if calm(&quiet) { calm_since.or(Some(now)) } else { None };
        let state = severity(quiet["state"].as_str().unwrap());
        let calm_for = calm_since.map_or(0.0, |since| now - since);
        if calm_for > DWELL_SECONDS + HOLD_SECONDS + 0.1 {
            assert_eq!(state, 0, "calm for {calm_for} s: {quiet}");
            return;
        }
        // One sample too many may be missed between two documents, so a beginning is judged with one tick of slack.
        if state == 0 && before != 0 {
            assert!(
                calm_for >= DWELL_SECONDS - 1.1 || calm_since.is_none_or(|_| calm_for == 0.0),
                "{calm_for}: {quiet}"
            );
        }
        before = state;
    }
    println!("the machine was not calm for long enough to see QUIET; its account was in order");
}

#[test]
fn spinners_make_it_busy_at_once_and_calm_makes_it_quiet_after_the_dwell() {
    let daemon = Launch::with(CONFIG).start();
    let mut watch = Watch::new(&daemon);
    watch.next();
    spin(&mut watch);
    account(&mut watch, 7);
}

#[test]
fn a_disk_writer_is_seen_as_pressure_or_busy_time() {
    let daemon = Launch::with(CONFIG).start();
    let mut watch = Watch::new(&daemon);
    watch.next();
    let writer = Writer::start();
    let mut seen = Vec::new();
    for _ in 0..8 {
        let quiet = watch.next();
        check(&quiet);
        let found = reason(&quiet, &["io_pressure", "disk_busy"]).is_some_and(|one| one["value"].is_number());
        let worse = quiet["state"] != "QUIET";
        seen.push(quiet);
        if found && worse {
            drop(writer);
            return;
        }
    }
    panic!("no reason about the disk within eight ticks: {:?}", states(&seen));
}

/// A folder that looks like /proc but has no PSI.
pub(crate) fn proc_without(names: &[&str], folder: &Path) {
    for entry in std::fs::read_dir("/proc").unwrap().map(Result::unwrap) {
        let name = entry.file_name().into_string().unwrap();
        if !names.contains(&name.as_str()) && !name.starts_with(|c: char| c.is_ascii_digit()) {
            symlink(entry.path(), folder.join(name)).unwrap();
        }
    }
}

#[test]
fn without_psi_the_verdict_is_the_same_with_less_confidence() {
    let folder = tempfile::tempdir().unwrap();
    proc_without(&["pressure"], folder.path());
    let daemon = Launch::with(CONFIG).env("LOWTIDE_COLLECTORS__PROC_DIR", folder.path()).start();
    let mut watch = Watch::new(&daemon);
    watch.next();
    spin(&mut watch);
    let quiet = watch.next();
    for signal in ["cpu_pressure", "memory_pressure", "io_pressure"] {
        let input = &quiet["inputs"][signal];
        assert_eq!(input["status"], "absent", "{signal}: {input}");
        for field in ["value", "mean", "score"] {
            assert_eq!(input[field], Value::Null, "{signal} {field}: what is not there is not zero");
        }
        assert!(input["note"].as_str().is_some_and(|note| note.contains("psi=1")), "{input}");
    }
    assert_eq!(quiet["inputs"]["load_per_core"]["status"], "known", "it stands in for the pressure");
    let confidence = quiet["confidence"].as_f64().unwrap();
    assert!(confidence > 0.3 && confidence <= 0.66, "{confidence}");
    assert!(!daemon.get("/metrics").text().contains("lowtide_host_pressure"));
    assert!(daemon.current()["host"].get("pressure").is_none());
    assert_eq!(daemon.collector("pressure")["status"], "absent");
    assert_eq!(daemon.json("/api/system-stats/health")["status"], "ok", "not a failure of the daemon");
    account(&mut watch, 4);
}
