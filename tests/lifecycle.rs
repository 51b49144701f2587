//! From start to end of one daemon: signals, reload, and what systemd is told.

use crate::daemon::{Daemon, Launch, PATIENCE, eventually};
use crate::events::Stream;
use crate::http::Connection;
use lowtide_clock as clock;
use rustix::process::Signal;
use serde_json::Value;
use std::fs;
use std::os::unix::net::UnixDatagram;

#[test]
fn a_signal_ends_it_in_good_order_while_clients_are_there() {
    for signal in [Signal::TERM, Signal::INT] {
        let mut daemon = Daemon::start();
        let mut stream = Stream::open(daemon.address, "", None);
        let mut idle = Connection::open(daemon.address).unwrap();
        assert_eq!(idle.request("GET", "/livez", &[], b"").unwrap().status, 200);
        // Nothing was asked for on this one yet.
        let silent = Connection::open(daemon.address).unwrap();
        stream.event();
        daemon.signal(signal);
        stream.drain();
        let status = daemon.wait_for_end();
        assert_eq!(status.code(), Some(0), "{signal:?}: {}", daemon.log());
        assert!(daemon.log().contains("stopped"), "{}", daemon.log());
        assert!(idle.request("GET", "/livez", &[], b"").is_err(), "nobody is there any more");
        drop(silent);
    }
}

#[test]
fn a_client_that_never_finishes_its_request_does_not_keep_it_alive() {
    let mut daemon = Daemon::start();
    let mut half = Connection::open(daemon.address).unwrap();
    half.send(b"GET /livez HTTP/1.1\r\nhost:").unwrap();
    daemon.signal(Signal::TERM);
    assert_eq!(daemon.wait_for_end().code(), Some(0), "{}", daemon.log());
}

#[test]
fn the_first_line_means_that_signals_are_obeyed() {
    // Whoever starts it goes by that line: a signal from then on must not kill it the hard way.
    for signal in [Signal::HUP, Signal::TERM] {
        for _ in 0..3 {
            let mut daemon = Launch::new().start_unready();
            daemon.signal(signal);
            if signal == Signal::HUP {
                eventually("ready after a signal", || {
                    assert_eq!(daemon.ended(), None, "ended by the reload signal");
                    crate::http::try_get(daemon.address, "/readyz").filter(|answer| answer.status == 200)
                });
            } else {
                let status = daemon.wait_for_end();
                assert_eq!(status.code(), Some(0), "{status}");
            }
        }
    }
}

#[test]
fn the_same_folder_and_port_can_be_used_again_at_once() {
    let mut daemon = Daemon::start();
    let address = daemon.address.to_string();
    let first = daemon.current()["run_id"].as_str().unwrap().to_owned();
    daemon.signal(Signal::TERM);
    daemon.wait_for_end();
    let mut command = crate::daemon::command(daemon.folder());
    command.args(["serve", "--listen", &address, "--data-dir"]).arg(daemon.folder().join("data"));
    command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
    let _again = crate::daemon::Guard(command.spawn().unwrap());
    let current = eventually("the second daemon", || {
        crate::http::try_get(daemon.address, "/api/system-stats/current")
            .filter(|answer| answer.status == 200)
    });
    assert_ne!(current.json()["run_id"], first.as_str(), "event ids of two runs must differ");
}

fn write(daemon: &Daemon, text: &str) {
    fs::write(daemon.config_file(), text).unwrap();
}

fn reload(daemon: &Daemon, stream: &mut Stream) -> Value {
    daemon.signal(Signal::HUP);
    stream.until("reload", |event| event.name == "reload").data
}

#[test]
fn a_reload_applies_what_it_can_and_tells_the_rest() {
    let daemon = Daemon::start();
    let mut stream = Stream::open(daemon.address, "", None);
    let before = daemon.quiet();
    assert_eq!(before["inputs"]["cpu"]["thresholds"]["leave"].as_f64(), Some(0.35));

    write(
        &daemon,
        "[collectors]\ntick_seconds = 3\n[quiet]\ndwell_seconds = 7\n[quiet.signals.cpu]\nquiet = 0.1\nleave = 0.2\n",
    );
    let data = reload(&daemon, &mut stream);
    let keys = |field: &str| -> Vec<String> {
        let keys = data[field].as_array().unwrap().iter();
        let mut keys: Vec<String> = keys.map(|key| key.as_str().unwrap().to_owned()).collect();
        keys.sort();
        keys
    };
    assert_eq!(
        keys("applied"),
        ["quiet.dwell_seconds", "quiet.signals.cpu.leave", "quiet.signals.cpu.quiet"]
    );
    assert_eq!(keys("restart_needed"), ["collectors.tick_seconds"]);
    assert_eq!(data["errors"], serde_json::json!([]));
    let start = stream.until("tick", |event| event.name == "tick");
    daemon.wait_for_tick(start.data["sequence"].as_u64().unwrap() + 1);
    let quiet = daemon.quiet();
    assert_eq!(quiet["inputs"]["cpu"]["thresholds"]["leave"].as_f64(), Some(0.2));
    assert!(quiet["sequence"].as_u64() > start.data["sequence"].as_u64(), "the sequence goes on");
    assert_eq!(daemon.current()["tick_seconds"].as_f64(), Some(1.0), "takes a restart");

    // Again without a change: nothing is applied, what needs a restart still does.
    let data = reload(&daemon, &mut stream);
    assert_eq!(
        (&data["applied"], &data["restart_needed"]),
        (&serde_json::json!([]), &serde_json::json!(["collectors.tick_seconds"]))
    );

    // A broken file changes nothing, and every mistake is told.
    write(&daemon, "[quiet]\ndwell_seconds = 9\n[quiet.signals.cpu]\nleave = 5\nleaev = 1\n");
    let data = reload(&daemon, &mut stream);
    let errors = data["errors"].as_array().unwrap();
    assert_eq!(errors.len(), 2, "{data}");
    let place = format!("{}:4:9: quiet.signals.cpu.leave", daemon.config_file().display());
    assert!(errors[0].as_str().unwrap().starts_with(&place), "{data}");
    assert_eq!((&data["applied"], &data["restart_needed"]), (&serde_json::json!([]), &serde_json::json!([])));
    daemon.wait_for_tick(daemon.sequence() + 2);
    assert_eq!(daemon.quiet()["inputs"]["cpu"]["thresholds"]["leave"].as_f64(), Some(0.2));

    // A file that is gone was asked for by name, so that is a mistake as well.
    fs::remove_file(daemon.config_file()).unwrap();
    assert_eq!(reload(&daemon, &mut stream)["errors"].as_array().unwrap().len(), 1);

    // And back: the daemon is as well as before.
    write(&daemon, "[collectors]\ntick_seconds = 1\n");
    let data = reload(&daemon, &mut stream);
    assert_eq!(data["applied"].as_array().unwrap().len(), 3, "{data}");
    assert_eq!((&data["restart_needed"], &data["errors"]), (&serde_json::json!([]), &serde_json::json!([])));
}

#[test]
fn a_reload_applies_what_is_said_of_addons() {
    let launch = Launch::new();
    let folder = launch.folder().join("data/addons");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("demo.wasm"), "this is not wasm").unwrap();
    let daemon = launch.start();
    let mut stream = Stream::open(daemon.address, "", None);
    let state = || daemon.json("/api/addons/demo")["state"].as_str().map(str::to_owned);
    eventually("it is refused", || (state().as_deref() == Some("refused")).then_some(()));
    write(
        &daemon,
        "[collectors]\ntick_seconds = 1\n[addon.demo]\nenabled = false\n[addon.demo.settings]\nx = 1\n",
    );
    let data = reload(&daemon, &mut stream);
    assert_eq!(data["applied"], serde_json::json!(["addon.demo.enabled", "addon.demo.settings.x"]), "{data}");
    assert_eq!((&data["restart_needed"], &data["errors"]), (&serde_json::json!([]), &serde_json::json!([])));
    assert_eq!(state().as_deref(), Some("disabled"));
    write(&daemon, "[collectors]\ntick_seconds = 1\n");
    assert_eq!(reload(&daemon, &mut stream)["applied"].as_array().unwrap().len(), 2);
    eventually("it is tried again", || (state().as_deref() == Some("refused")).then_some(()));
}

#[test]
fn the_level_of_the_log_changes_with_a_reload() {
    let daemon =
        Launch::with("[collectors]\ntick_seconds = 1\n[log]\nlevel = \"error\"\nformat = \"json\"\n").start();
    let mut stream = Stream::open(daemon.address, "?kinds=reload", None);
    reload(&daemon, &mut stream);
    assert!(!daemon.log().contains("configuration reloaded"), "{}", daemon.log());
    write(&daemon, "[collectors]\ntick_seconds = 1\n[log]\nlevel = \"info\"\nformat = \"json\"\n");
    reload(&daemon, &mut stream);
    eventually("the line in the log", || daemon.log().contains("configuration reloaded").then_some(()));
    for line in daemon.log().lines() {
        serde_json::from_str::<Value>(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    }
}

/// What systemd would hear.
struct Notified(UnixDatagram);

impl Notified {
    /// The next message, as its lines.
    fn message(&self) -> Vec<String> {
        let mut buffer = [0; 4_096];
        let length = self.0.recv(&mut buffer).unwrap();
        String::from_utf8_lossy(&buffer[..length]).lines().map(str::to_owned).collect()
    }

    fn until(&self, line: &str) -> Vec<String> {
        let end = clock::mono().plus(PATIENCE);
        loop {
            let message = self.message();
            if message.iter().any(|have| have.starts_with(line)) {
                return message;
            }
            assert!(clock::mono() < end, "{line} never came");
        }
    }
}

#[test]
fn systemd_is_told_what_happens() {
    let launch = Launch::new();
    let path = launch.folder().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let notified = Notified(socket);
    // No WATCHDOG_PID: systemd may leave it out, and its value is not known before the start.
    let mut daemon = launch.env("NOTIFY_SOCKET", path.as_os_str()).env("WATCHDOG_USEC", "10000000").start();
    let mut seen = Vec::new();
    while !["READY=1", "STATUS=", "WATCHDOG=1"]
        .iter()
        .all(|line| seen.iter().any(|have: &String| have.starts_with(line)))
    {
        seen.extend(notified.message());
    }
    let status = seen.iter().find_map(|line| line.strip_prefix("STATUS=")).unwrap();
    let (word, score) = status.split_once(' ').unwrap_or_else(|| panic!("{status}"));
    assert!(["QUIET", "NORMAL", "BUSY", "PANIC"].contains(&word) && score.parse::<u8>().is_ok(), "{status}");

    // One for each tick: from the loop itself, so that a loop that stands still is seen.
    notified.until("WATCHDOG=1");
    let first = daemon.sequence();
    notified.until("WATCHDOG=1");
    notified.until("WATCHDOG=1");
    let last = daemon.sequence();
    assert!((first + 1..=first + 3).contains(&last), "{first} and after two more {last}");

    daemon.signal(Signal::HUP);
    let reloading = notified.until("RELOADING=1");
    // sd_notify(3): a reload counts only when both stand in one message.
    let usec = reloading.iter().find_map(|line| line.strip_prefix("MONOTONIC_USEC="));
    assert!(
        usec.is_some_and(|usec| usec.parse::<u64>().is_ok()),
        "in one message with RELOADING=1: {reloading:?}"
    );
    notified.until("READY=1");
    daemon.signal(Signal::TERM);
    notified.until("STOPPING=1");
    assert_eq!(daemon.wait_for_end().code(), Some(0));
}

#[test]
fn systemd_hears_of_the_end_before_clients_are_waited_for() {
    let launch = Launch::new();
    let path = launch.folder().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let notified = Notified(socket);
    let mut daemon = launch.env("NOTIFY_SOCKET", path.as_os_str()).start();
    let mut half = Connection::open(daemon.address).unwrap();
    half.send(b"GET /livez HTTP/1.1\r\nhost:").unwrap();
    notified.until("READY=1");
    daemon.signal(Signal::TERM);
    notified.until("STOPPING=1");
    assert_eq!(daemon.ended(), None, "the word comes while there is still something to stop");
    daemon.wait_for_end();
}
