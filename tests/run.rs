//! `lowtide run` against a real daemon: what it holds, obeys and gives back, and that nothing stays frozen whoever is killed. The mechanics of
//! freezing are tested beside them, in `host/crates/run`.

mod restic;

use crate::cli::run_in;
use crate::daemon::{Daemon, Guard, Launch, command, eventually, eventually_within};
use crate::http;
use crate::leases::{calm, disturbed, grant, reconfigure, request, send, start};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use std::fs;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;
use tempfile::TempDir;

/// Settings with which work gives way and goes on within a second or two.
const QUICK: &str = "resume_after_seconds = 1\ncool_down_seconds = 0";

/// Counts in a file until it is told to stop, or its folder is gone.
const COUNTS: &str = "echo $$ > $0/pid; n=0; while [ -d $0 ] && [ ! -e $0/stop ]; do n=$((n+1)); echo $n > $0/count; done; echo 7 > $0/code; exit 7";

/// A command under `lowtide run`.
struct Held {
    folder: TempDir,
    wrapper: Guard,
}

impl Held {
    fn start(daemon: &Daemon, more: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut run = command(folder.path());
        run.args(["run", "--url", &daemon.url(), "--job", "count"]).args(more);
        run.args(["--", "sh", "-c", COUNTS]).arg(folder.path());
        run.stdin(Stdio::null()).stdout(Stdio::null());
        run.stderr(fs::File::create(folder.path().join("err")).unwrap());
        let held = Self { wrapper: Guard(run.spawn().unwrap()), folder };
        eventually("it counts", || held.count().filter(|count| *count > 0));
        held
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn count(&self) -> Option<u64> {
        fs::read_to_string(self.path("count")).ok()?.trim().parse().ok()
    }

    fn goes_on(&self, within: Duration, what: &str) {
        let before = self.count();
        eventually_within(within, what, || (self.count() > before).then_some(()));
    }

    /// Is not frozen any more, which the kernel tells: on a machine that others use, work of the lowest class may have to wait for the processor
    /// for longer than that.
    fn is_thawed(&self, within: Duration) {
        let pid = fs::read_to_string(self.path("pid")).unwrap().trim().to_owned();
        let groups = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
        let own = groups.lines().find_map(|line| line.strip_prefix("0::")).unwrap_or_default();
        let roots = ["/sys/fs/cgroup/unified", "/sys/fs/cgroup"];
        let events = roots.map(|root| format!("{root}{own}/cgroup.events"));
        eventually_within(within, "it is thawed", || {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
            let is_stopped = stat.rsplit(')').next().is_some_and(|rest| rest.starts_with(" T"));
            let is_frozen = events
                .iter()
                .any(|file| fs::read_to_string(file).is_ok_and(|text| text.contains("frozen 1")));
            (!is_stopped && !is_frozen).then_some(())
        });
    }

    /// Counts no more: the same number at many looks.
    fn stands_still(&self) {
        eventually("it stands still", || {
            let before = self.count();
            for _ in 0..5 {
                crate::daemon::pause();
            }
            (self.count() == before).then_some(())
        });
    }

    fn stop(&self) {
        fs::write(self.path("stop"), "").unwrap();
    }

    fn said(&self) -> String {
        fs::read_to_string(self.path("err")).unwrap()
    }

    fn wait(&mut self) -> ExitStatus {
        self.wrapper.0.wait().unwrap()
    }

    fn kill(&self) {
        kill_process(Pid::from_raw(i32::try_from(self.wrapper.0.id()).unwrap()).unwrap(), Signal::KILL)
            .unwrap();
    }
}

fn held_leases(daemon: &Daemon) -> Vec<Value> {
    daemon.json("/api/scheduler/status")["active"].as_array().cloned().unwrap_or_default()
}

fn state(daemon: &Daemon) -> String {
    let held = held_leases(daemon);
    held.first().and_then(|lease| lease["state"].as_str()).unwrap_or("none").to_owned()
}

fn newest_end(daemon: &Daemon) -> Value {
    let events = daemon.json("/api/scheduler/events?limit=50");
    let ends = events["events"].as_array().unwrap().iter().filter(|event| event["event"] == "ended");
    ends.max_by_key(|event| event["sequence"].as_u64()).cloned().unwrap_or_default()
}

#[test]
fn a_heartbeat_is_held_back_until_something_happens() {
    let daemon = start("");
    let id = grant(&daemon, &request("nas", 10));
    let first = send(daemon.address, "POST", &format!("lease/{id}/heartbeat"), &json!({})).json();
    assert_eq!(first["directive"], "continue");
    let event = first["event"].as_u64().unwrap();
    // What has happened already is told at once, and so is everything without `after`.
    for query in [format!("?wait=10s&after={}", event - 1), "?wait=10s".to_owned(), format!("?after={event}")]
    {
        let told = send(daemon.address, "POST", &format!("lease/{id}/heartbeat{query}"), &json!({})).json();
        assert_eq!(told["event"], event, "{query}");
    }
    let (address, path) = (daemon.address, format!("lease/{id}/heartbeat?wait=10s&after={event}"));
    let waits = std::thread::spawn(move || send(address, "POST", &path, &json!({})).json());
    // Whether it waits already or comes a moment later: the answer is the same.
    let revoked = send(daemon.address, "POST", &format!("lease/{id}/revoke"), &json!({"reason":"enough"}));
    assert_eq!(revoked.status, 200);
    let told = waits.join().unwrap();
    assert_eq!((told["directive"].as_str(), told["reason"].as_str()), (Some("revoke"), Some("enough")));
    assert!(told["event"].as_u64() > Some(event));
    for (query, field) in [("?wait=soon", "wait"), ("?after=-1", "after")] {
        let refused = send(daemon.address, "POST", &format!("lease/{id}/heartbeat{query}"), &json!({}));
        assert_eq!((refused.status, refused.problem()["parameter"].as_str()), (400, Some(field)));
    }
    for work in [json!({"pid": 0}), json!({"pid": 7, "cgroup": "relative"}), json!({"cgroup": "/a"})] {
        let body = json!({ "work": work });
        assert_eq!(
            send(daemon.address, "POST", &format!("lease/{id}/heartbeat"), &body).status,
            400,
            "{body}"
        );
    }
}

#[test]
fn a_long_poll_is_no_slow_answer() {
    let daemon = start("");
    let id = grant(&daemon, &request("nas", 10));
    let first = send(daemon.address, "POST", &format!("lease/{id}/heartbeat"), &json!({})).json();
    let path = format!("lease/{id}/heartbeat?wait=3s&after={}", first["event"]);
    send(daemon.address, "POST", &path, &json!({})).json();
    let slowest = eventually("a figure of it", || {
        let api = &daemon.current()["api"];
        let held = api["request_duration_seconds_count"].as_f64().filter(|count| *count >= 3.0);
        api["latency_p95_seconds"].as_f64().filter(|_| held.is_some())
    });
    assert!(slowest < 2.0, "{slowest} s");
}

#[test]
fn it_pauses_at_once_goes_on_and_gives_back_the_code_and_what_was_used() {
    let daemon = start(QUICK);
    let mut held = Held::start(&daemon, &["--cost", "30", "--verbose"]);
    assert_eq!(state(&daemon), "active");
    disturbed(&daemon, "busy", QUICK, "BUSY");
    eventually("paused", || (state(&daemon) == "paused").then_some(()));
    held.stands_still();
    reconfigure(&daemon, &calm(QUICK));
    eventually("active", || (state(&daemon) == "active").then_some(()));
    held.goes_on(Duration::from_secs(60), "it counts again");
    held.stop();
    assert_eq!(held.wait().code(), Some(7), "{}", held.said());
    assert!(held.said().contains("paused: the machine is needed: CPU use"), "{}", held.said());
    let end = eventually("the end", || Some(newest_end(&daemon)).filter(|end| end["how"] == "failed"));
    assert_eq!(end["note"], "exit code 7");
    assert!(end["usage"]["cpu_seconds"].as_f64().unwrap() > 0.0, "{end}");
    assert!(held_leases(&daemon).is_empty());
}

#[test]
fn work_that_must_not_pause_is_left_alone_by_a_look() {
    let daemon = start(QUICK);
    let mut held = Held::start(&daemon, &["--not-pausable"]);
    disturbed(&daemon, "busy", QUICK, "BUSY");
    daemon.wait_for_tick(daemon.sequence() + 2);
    assert_eq!(state(&daemon), "active");
    held.goes_on(Duration::from_secs(60), "it counts on");
    held.stop();
    assert_eq!(held.wait().code(), Some(7));
}

#[test]
fn a_daemon_that_is_killed_leaves_nothing_frozen_and_the_code_is_right() {
    for _ in 0..rounds() {
        let mut daemon = start(QUICK);
        let mut held = Held::start(&daemon, &[]);
        disturbed(&daemon, "busy", QUICK, "BUSY");
        eventually("paused", || (state(&daemon) == "paused").then_some(()));
        held.stands_still();
        daemon.signal(Signal::KILL);
        daemon.wait_for_end();
        held.is_thawed(thaw_limit());
        held.goes_on(Duration::from_secs(60), "it counts again");
        held.stop();
        assert_eq!(held.wait().code(), Some(7), "{}", held.said());
    }
}

#[test]
fn a_wrapper_that_is_killed_leaves_nothing_frozen_and_the_lease_is_given_back() {
    for both in [false, true] {
        for _ in 0..rounds() {
            let mut daemon = start(QUICK);
            let held = Held::start(&daemon, &[]);
            disturbed(&daemon, "busy", QUICK, "BUSY");
            eventually("paused", || (state(&daemon) == "paused").then_some(()));
            held.stands_still();
            held.kill();
            if both {
                daemon.signal(Signal::KILL);
                daemon.wait_for_end();
            }
            held.is_thawed(thaw_limit());
            held.goes_on(Duration::from_secs(60), "it counts again");
            held.stop();
            eventually("it ended", || {
                fs::read_to_string(held.path("code")).ok().filter(|code| code == "7\n")
            });
            if !both {
                let end = eventually("it is given back", || {
                    Some(newest_end(&daemon)).filter(|end| end["how"] == "failed")
                });
                assert_eq!(end["note"], "exit code 7, without its wrapper");
            }
        }
    }
}

#[test]
fn a_revoked_command_is_asked_to_end_and_the_wrapper_says_so_by_its_code() {
    let daemon = start(QUICK);
    let mut held = Held::start(&daemon, &[]);
    let id = held_leases(&daemon)[0]["lease_id"].as_str().unwrap().to_owned();
    send(
        daemon.address,
        "POST",
        &format!("lease/{id}/revoke"),
        &json!({ "reason": "the UPS is on battery" }),
    );
    assert_eq!(held.wait().code(), Some(75), "{}", held.said());
    assert!(held.said().contains("the UPS is on battery"), "{}", held.said());
    let end = eventually("the end", || Some(newest_end(&daemon)).filter(|end| end["how"] == "revoked"));
    assert_eq!(end["lease_number"].as_u64().map(|number| id.starts_with(&format!("{number}-"))), Some(true));
}

#[test]
fn without_a_daemon_or_without_room_it_says_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let nobody = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        format!("http://{}", listener.local_addr().unwrap())
    };
    let refused = run_in(folder.path(), &[], &["run", "--url", &nobody, "--", "true"]);
    assert_eq!(refused.code, 69);
    assert!(
        refused.err.contains("no daemon answers") && refused.err.contains("lowtide serve"),
        "{}",
        refused.err
    );
    let ran = run_in(
        folder.path(),
        &[],
        &["run", "--url", &nobody, "--on-unreachable", "run", "--", "sh", "-c", "exit 3"],
    );
    assert_eq!(ran.code, 3, "{}", ran.err);
    let daemon = start("");
    send(daemon.address, "PUT", "override", &json!({"mode":"block","owner":"ada","reason":"moving disks"}));
    let denied =
        run_in(folder.path(), &[], &["run", "--url", &daemon.url(), "--no-wait", "--", "touch", "ran"]);
    assert_eq!(denied.code, 75);
    assert!(denied.err.contains("moving disks"), "{}", denied.err);
    assert!(!folder.path().join("ran").exists());
    let missing = run_in(
        folder.path(),
        &[],
        &["run", "--url", &nobody, "--on-unreachable", "run", "--", "/no/such/program"],
    );
    assert_eq!(missing.code, 127, "{}", missing.err);
    let unknown = run_in(folder.path(), &[], &["run", "--cost", "0", "--", "true"]);
    assert_eq!(unknown.code, 64);
}

#[test]
fn the_command_gets_its_lease_by_the_environment_and_its_arguments_are_nobodys_business() {
    let daemon = start("");
    let folder = tempfile::tempdir().unwrap();
    let script = "echo $LOWTIDE_LEASE_ID $LOWTIDE_FENCING_TOKEN";
    let ran = run_in(
        folder.path(),
        &[],
        &["run", "--url", &daemon.url(), "--env", "--", "sh", "-c", script, "s3cret"],
    );
    assert_eq!(ran.code, 0, "{}", ran.err);
    let mut words = ran.out.split_whitespace();
    let (id, token) = (words.next().unwrap(), words.next().unwrap());
    let lease = daemon.json(&format!("/api/scheduler/lease/{id}"));
    assert_eq!(lease["fencing_token"].as_u64().map(|token| token.to_string()).as_deref(), Some(token));
    assert_eq!((lease["state"].as_str(), lease["job_type"].as_str()), (Some("released"), Some("sh")));
    let answer = http::get(daemon.address, "/api/scheduler/events?limit=50");
    assert!(!answer.text().contains("s3cret") && !daemon.log().contains("s3cret"));
}

/// What the daemon finds of work that says where it runs.
#[test]
fn leased_work_is_found_and_told_apart() {
    let daemon = Launch::with(calm(QUICK)).start();
    eventually("QUIET", || (daemon.quiet()["state"] == "QUIET").then_some(()));
    let mut held = Held::start(&daemon, &[]);
    let leased = |name: &str| daemon.current()["host"]["leased"][format!("leased_{name}")].as_f64();
    eventually("its work is found", || leased("works").filter(|works| *works == 1.0));
    eventually("it uses the processor", || leased("cpu_usage_ratio").filter(|share| *share > 0.01));
    held.stop();
    assert_eq!(held.wait().code(), Some(7));
    eventually("it is over", || leased("works").filter(|works| *works == 0.0));
}

/// How often each kill is tried: 200 times in the soak suite.
fn rounds() -> usize {
    if std::env::var("LOWTIDE_SOAK").is_ok_and(|value| value == "1") { 200 } else { 2 }
}

fn thaw_limit() -> Duration {
    if rounds() > 2 { Duration::from_secs(2) } else { Duration::from_secs(60) }
}
