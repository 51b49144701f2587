//! Files of /proc that are missing, garbled, or never answer: only the collector that needs them suffers, it says so, what is
//! unknown is never quiet, and all is well again when the file is.

use crate::daemon::{Daemon, Launch, eventually};
use crate::events::Stream;
use crate::http;
use crate::verdict::{Watch, proc_without};
use lowtide_clock as clock;
use rustix::fs::{CWD, FileType, mknodat};
use rustix::process::Signal;
use serde_json::Value;
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

/// Every threshold out of the way: without a fault such a daemon is QUIET at its first chance, whatever the machine does.
pub(crate) fn easy() -> String {
    let mut text = "[collectors]\ntick_seconds = 1\n[quiet]\ndwell_seconds = 0\nbusy_hold_seconds = 0\n\
                    panic_hold_seconds = 0\nmean_window_seconds = 1\n"
        .to_owned();
    for def in &lowtide_core::quiet::SIGNALS {
        let name = def.name;
        text.push_str(&format!(
            "[quiet.signals.{name}]\nquiet = \"none\"\nleave = \"none\"\nbusy = \"none\"\npanic = \"none\"\n"
        ));
    }
    text
}

fn start(proc_dir: &Path) -> Daemon {
    Launch::with(easy()).env("LOWTIDE_COLLECTORS__PROC_DIR", proc_dir).start()
}

fn make_fifo(path: &Path) {
    mknodat(CWD, path, FileType::Fifo, 0o600.into(), 0).unwrap();
}

fn status(daemon: &Daemon, collector: &str) -> String {
    daemon.collector(collector)["status"].as_str().unwrap().to_owned()
}

fn errors(daemon: &Daemon) -> Vec<(String, String)> {
    let current = daemon.current();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let errors = current["errors"].as_array().unwrap().iter();
    errors.map(|error| (text(&error["collector"]), text(&error["message"]))).collect()
}

#[test]
fn without_a_fault_the_same_daemon_is_quiet() {
    let folder = tempfile::tempdir().unwrap();
    proc_without(&[], folder.path());
    let daemon = start(folder.path());
    eventually("QUIET", || (daemon.quiet()["state"] == "QUIET").then_some(()));
    assert_eq!(errors(&daemon), []);
}

#[test]
fn broken_files_fail_their_collectors_and_no_others() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name);
    proc_without(&["diskstats", "meminfo", "loadavg"], folder.path());
    fs::write(file("meminfo"), "MemTotal: many kB\n\u{0}\u{1}garbage").unwrap();
    make_fifo(&file("loadavg"));
    let daemon = start(folder.path());
    let mut watch = Watch::new(&daemon);
    let mut numbers = Vec::new();
    for _ in 0..4 {
        let quiet = watch.next();
        numbers.push(quiet["sequence"].as_u64().unwrap());
        assert_ne!(quiet["state"], "QUIET", "available memory and the disks are unknown: {quiet}");
        assert_eq!(quiet["inputs"]["memory_available"]["status"], "unknown");
        assert_eq!(quiet["inputs"]["memory_available"]["value"], Value::Null);
        let reasons = quiet["reasons"].as_array().unwrap().iter();
        assert!(reasons.clone().any(|reason| reason["signal"] == "memory_available"), "{quiet}");
    }
    // The ticks go on: none is left out, and the healthy collectors run at each.
    assert!(numbers.windows(2).all(|pair| pair[1] == pair[0] + 1), "{numbers:?}");
    let (cpu, sequence) = (daemon.collector("cpu"), daemon.sequence());
    assert!(cpu["runs"].as_u64().unwrap() + 2 >= sequence, "{cpu} at tick {sequence}");

    let hung = daemon.collector("system");
    assert_eq!((hung["status"].as_str(), hung["overruns"].as_u64()), (Some("overdue"), Some(1)), "{hung}");
    assert!(hung["error"].as_str().unwrap().contains("has been running for"), "{hung}");
    for (name, words) in [("disk", "diskstats is missing"), ("memory", "unexpected content in")] {
        let failing = daemon.collector(name);
        assert_eq!(failing["status"], "failing", "{failing}");
        assert!(failing["error"].as_str().unwrap().contains(words), "{failing}");
        assert!(failing["failures"].as_u64() >= Some(3), "{failing}");
    }
    let others = daemon.json("/api/system-stats/debug/collectors");
    for other in others["collectors"].as_array().unwrap() {
        let name = other["name"].as_str().unwrap();
        let expected = !["system", "disk", "memory"].contains(&name);
        assert_eq!(other["status"] == "ok" || other["status"] == "absent", expected, "{other}");
    }
    let told: Vec<String> = errors(&daemon).into_iter().map(|(name, _)| name).collect();
    assert_eq!(told, ["system", "memory", "disk"]);
    let current = daemon.current();
    assert!(current["host"].get("memory").is_none() && current["host"]["cpu"].is_object());
    let health = daemon.json("/api/system-stats/health");
    assert_eq!(health["status"], "warn", "{health}");
    let reasons = health["reasons"].to_string();
    for words in ["collector.disk: fails", "collector.memory: fails", "collector.system: hangs"] {
        assert!(reasons.contains(words), "{words} in {reasons}");
    }
    assert_eq!(daemon.get("/readyz").status, 200, "it measures what it can");
    let metrics = daemon.get("/metrics").text();
    assert!(metrics.contains("lowtide_collector_success{collector=\"disk\"} 0"), "{metrics}");
    assert!(!metrics.contains("lowtide_host_memory_"), "no sample says more than an old or a wrong one");

    // Mended: all three come back by themselves.
    fs::write(file("meminfo"), fs::read("/proc/meminfo").unwrap()).unwrap();
    std::os::unix::fs::symlink("/proc/diskstats", file("diskstats")).unwrap();
    fs::rename(file("loadavg"), file("old-fifo")).unwrap();
    std::os::unix::fs::symlink("/proc/loadavg", file("loadavg")).unwrap();
    // Whoever waits for the fifo's writer gets one.
    drop(OpenOptions::new().write(true).open(file("old-fifo")).unwrap());
    eventually("all collectors are well again", || {
        let well = ["system", "memory", "disk"].iter().all(|name| status(&daemon, name) == "ok");
        (well && daemon.json("/api/system-stats/health")["status"] == "ok").then_some(())
    });
    eventually("QUIET", || (daemon.quiet()["state"] == "QUIET").then_some(()));
    assert_eq!(errors(&daemon), []);
}

#[test]
fn a_garbled_file_that_is_replaced_by_another_is_found() {
    // As when what is mounted over /proc in a container is mounted anew: another file under the same name.
    let folder = tempfile::tempdir().unwrap();
    proc_without(&["meminfo"], folder.path());
    fs::write(folder.path().join("meminfo"), "garbage\n").unwrap();
    let daemon = start(folder.path());
    assert_eq!(status(&daemon, "memory"), "failing");
    fs::write(folder.path().join("new"), fs::read("/proc/meminfo").unwrap()).unwrap();
    fs::rename(folder.path().join("new"), folder.path().join("meminfo")).unwrap();
    let tick = daemon.sequence();
    daemon.wait_for_tick(tick + 4);
    assert_eq!(status(&daemon, "memory"), "ok", "four ticks after a good file took the place of the bad one");
}

#[test]
fn a_file_that_turns_bad_is_an_event_then_stale_and_then_forgotten() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("meminfo");
    proc_without(&["meminfo"], folder.path());
    let good = fs::read("/proc/meminfo").unwrap();
    fs::write(&file, &good).unwrap();
    let daemon = start(folder.path());
    eventually("QUIET", || (daemon.quiet()["state"] == "QUIET").then_some(()));
    let mut stream = Stream::open(daemon.address, "?kinds=collector,state", None);

    // In place, as the kernel's files are: the same file says something else.
    fs::write(&file, "nothing of use\n").unwrap();
    let event = stream.until("the failure", |event| event.name == "collector");
    assert_eq!((event.data["name"].as_str(), event.data["from"].as_str()), (Some("memory"), Some("ok")));
    assert_eq!(event.data["to"], "failing");
    assert!(event.data["error"].as_str().unwrap().contains("meminfo"), "{event:?}");
    // Its last values are good for three intervals, then they are too old to be used.
    let state = stream.until("the end of QUIET", |event| event.name == "state");
    assert_eq!((state.data["from"].as_str(), state.data["to"].as_str()), (Some("QUIET"), Some("NORMAL")));
    assert!(state.data["reasons"].to_string().contains("unknown is never quiet"), "{state:?}");
    let memory = daemon.collector("memory");
    assert_eq!(memory["stale"], true, "{memory}");
    assert!(daemon.current()["host"].get("memory").is_none());
    assert!(!daemon.get("/metrics").text().contains("lowtide_host_memory_"));
    let history =
        daemon.json("/api/system-stats/history?metric=host_memory_available_ratio&step=raw&agg=last");
    let values = history["series"][0]["values"]["last"].as_array().unwrap();
    assert!(
        values.iter().any(Value::is_number) && values.last().unwrap().is_null(),
        "a gap is a gap: {values:?}"
    );

    fs::write(&file, &good).unwrap();
    // Both are of one tick or of two; which is told first does not matter.
    let (mut recovered, mut quiet) = (false, false);
    while !(recovered && quiet) {
        let event = stream.event();
        recovered |= event.name == "collector" && event.data["from"] == "failing" && event.data["to"] == "ok";
        quiet |= event.name == "state" && event.data["to"] == "QUIET";
    }
}

#[test]
fn a_collector_that_hangs_does_not_keep_the_daemon_from_ending() {
    let folder = tempfile::tempdir().unwrap();
    proc_without(&["stat", "loadavg"], folder.path());
    make_fifo(&folder.path().join("stat"));
    make_fifo(&folder.path().join("loadavg"));
    let mut daemon = start(folder.path());
    assert_eq!(status(&daemon, "cpu"), "overdue");
    assert_ne!(daemon.quiet()["state"], "QUIET");
    daemon.signal(Signal::TERM);
    assert_eq!(daemon.wait_for_end().code(), Some(0), "{}", daemon.log());
}

#[test]
fn an_empty_proc_leaves_a_daemon_that_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let daemon = start(folder.path());
    daemon.wait_for_tick(3);
    let quiet = daemon.quiet();
    assert_ne!(quiet["state"], "QUIET");
    assert!(quiet["confidence"].as_f64().unwrap() < 0.3, "{quiet}");
    for name in ["cpu", "system", "memory", "disk", "network", "filesystem"] {
        assert_eq!(status(&daemon, name), "failing", "{name}");
    }
    assert_eq!(daemon.json("/api/system-stats/health")["status"], "warn");
    for path in
        ["/api/system-stats/current", "/metrics", "/api/system-stats/history", "/api/system-stats/aggregates"]
    {
        assert_eq!(daemon.get(path).status, 200, "{path}");
    }
}

#[test]
fn a_flood_of_devices_is_bounded_and_counted() {
    let folder = tempfile::tempdir().unwrap();
    proc_without(&["diskstats"], folder.path());
    let mut lines = String::new();
    for number in 0..3_000 {
        lines.push_str(&format!(" 253 {number} dm-{number} 1 2 3 4 5 6 7 8 0 9 10\n"));
    }
    OpenOptions::new()
        .create(true)
        .truncate(true)
        .write(true)
        .open(folder.path().join("diskstats"))
        .unwrap()
        .write_all(lines.as_bytes())
        .unwrap();
    let sys = tempfile::tempdir().unwrap();
    let launch = Launch::with(easy()).env("LOWTIDE_COLLECTORS__PROC_DIR", folder.path());
    let daemon = launch.env("LOWTIDE_COLLECTORS__SYS_DIR", sys.path()).start();
    daemon.wait_for_tick(3);
    let metrics = daemon.get("/metrics").text();
    let held = metrics.lines().find_map(|line| line.strip_prefix("lowtide_tick_window_series ")).unwrap();
    assert!(held.parse::<usize>().unwrap() <= lowtide_core::limits::SERIES_MAX, "{held}");
    assert_eq!(status(&daemon, "cpu"), "ok");
    assert!(held.parse::<usize>().unwrap() > 2_000, "{held}: the flood is there");
    let too_many = daemon.get("/api/system-stats/aggregates?group=host");
    assert_eq!((too_many.status, too_many.problem()["code"].as_str()), (400, Some("too_many_values")));
    let too_many = daemon.get("/api/system-stats/history?group=host&step=raw");
    assert_eq!((too_many.status, too_many.problem()["code"].as_str()), (400, Some("too_many_values")));
}

#[test]
fn a_flood_of_one_collector_takes_no_place_from_the_others() {
    let folder = tempfile::tempdir().unwrap();
    proc_without(&["diskstats"], folder.path());
    let lines: String =
        (0..3_000).map(|number| format!(" 253 {number} dm-{number} 1 2 3 4 5 6 7 8 0 9 10\n")).collect();
    fs::write(folder.path().join("diskstats"), lines).unwrap();
    let sys = tempfile::tempdir().unwrap();
    let launch = Launch::with(easy()).env("LOWTIDE_COLLECTORS__PROC_DIR", folder.path());
    let daemon = launch.env("LOWTIDE_COLLECTORS__SYS_DIR", sys.path()).start();
    daemon.wait_for_tick(3);
    for metric in
        ["host_cpu_usage_ratio", "host_network_receive_bytes_total", "quiet_score", "collector_success"]
    {
        let history = daemon.json(&format!("/api/system-stats/history?metric={metric}"));
        let series = history["series"].as_array().unwrap();
        assert!(!series.is_empty(), "{metric} is not in the window: the flood has taken its place");
    }
}

#[test]
fn a_daemon_that_stood_still_never_answers_with_what_it_knew_before() {
    let folder = tempfile::tempdir().unwrap();
    proc_without(&[], folder.path());
    let daemon = start(folder.path());
    eventually("QUIET", || (daemon.quiet()["state"] == "QUIET").then_some(()));
    for round in 0..3 {
        let mut connection = http::Connection::open(daemon.address).unwrap();
        let before = daemon.sequence();
        daemon.signal(Signal::STOP);
        let end = clock::mono().plus(Duration::from_millis(3_500));
        eventually("more than three ticks have passed", || (clock::mono() > end).then_some(()));
        connection.send(b"GET /api/system-stats/quiet HTTP/1.1\r\nhost: localhost\r\n\r\n").unwrap();
        daemon.signal(Signal::CONT);
        let answer = connection.answer(false).unwrap();
        if answer.status == 200 {
            let quiet: Value = serde_json::from_str(&answer.text()).unwrap();
            assert!(quiet["sequence"].as_u64() > Some(before), "round {round}: {quiet}");
        } else {
            assert_eq!(
                (answer.status, answer.problem()["code"].as_str()),
                (503, Some("stale")),
                "round {round}"
            );
            assert!(answer.header("retry-after").is_some());
        }
    }
}
