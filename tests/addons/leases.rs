//! Leases of addons, on daemons whose host is always quiet: what a guest does with them, what becomes of them when it goes, and the jobs
//! that run under them.

use super::frozen::frozen;
use super::live::install_into;
use super::stage::built_fixture;
use crate::daemon::{Daemon, Launch, eventually};
use crate::http;
use crate::leases::{calm, send};
use rustix::process::Signal;
use serde_json::{Value, json};
use std::fs;
use std::time::Duration;
use tempfile::TempDir;

/// The guests that need a scheduler; the table of hostile ones has none.
pub(crate) const GUESTS: [&str; 3] = ["lease-holder", "lease-hog", "job-runner"];

/// A host that lends, with this addon granted what it asks for, and these settings of it.
fn config(leases: &str, addon: &str, settings: &str) -> String {
    let (units, priority) = if addon == "lease-hog" { (100, "high") } else { (20, "normal") };
    format!(
        "{}\n[addon.{addon}.grants.leases]\nmax_units = {units}\nmax_priority = \"{priority}\"\n[addon.{addon}.settings]\n{settings}\n",
        calm(leases)
    )
}

/// A data folder with one addon in it, for daemons that come one after the other.
struct Home {
    data: TempDir,
    config: String,
}

impl Home {
    fn new(leases: &str, addon: &str, settings: &str) -> Self {
        Self { data: tempfile::tempdir().unwrap(), config: config(leases, addon, settings) }
    }

    /// Starts a daemon here.
    fn open(&self) -> Daemon {
        let daemon = Launch::with(self.config.clone()).data(self.data.path()).start();
        eventually("QUIET", || (daemon.quiet()["state"] == "QUIET").then_some(()));
        daemon
    }

    fn install(&self, addon: &str) {
        install_into(&self.data.path().join("addons"), &built_fixture(addon), addon);
    }
}

/// Ends a daemon as a service manager does.
fn stop(mut daemon: Daemon) {
    daemon.signal(Signal::TERM);
    daemon.wait_for_end();
}

/// A daemon that lends, with this addon.
fn start(leases: &str, addon: &str, settings: &str) -> (Home, Daemon) {
    let home = Home::new(leases, addon, settings);
    let daemon = home.open();
    home.install(addon);
    (home, daemon)
}

/// The same, and nothing starts before [`lift`].
fn start_blocked(addon: &str, settings: &str) -> (Home, Daemon) {
    let home = Home::new("", addon, settings);
    let daemon = home.open();
    switch(&daemon, "block");
    home.install(addon);
    (home, daemon)
}

fn switch(daemon: &Daemon, mode: &str) {
    let switch = json!({ "mode": mode, "owner": "test", "reason": "the test wants it" });
    assert_eq!(send(daemon.address, "PUT", "override", &switch).status, 200);
}

fn lift(daemon: &Daemon) {
    assert_eq!(http::request(daemon.address, "DELETE", "/api/scheduler/override", &[], b"").status, 200);
}

/// Its configuration with signals by which the host is in PANIC.
fn in_panic(home: &Home) -> String {
    let signal = |panic: &str| {
        format!("[quiet.signals.cpu]\nquiet = \"none\"\nleave = \"none\"\nbusy = \"none\"\npanic = {panic}\n")
    };
    home.config.replace(&signal("\"none\""), &signal("0.0"))
}

fn reread(daemon: &Daemon, config: &str) {
    fs::write(daemon.config_file(), config).unwrap();
    daemon.signal(Signal::HUP);
}

fn post(daemon: &Daemon, path: &str) -> http::Answer {
    http::request(daemon.address, "POST", path, &[], b"")
}

fn addon(daemon: &Daemon, id: &str) -> Value {
    eventually("the addon is there", || {
        let answer = daemon.get(&format!("/api/addons/{id}"));
        (answer.status == 200).then(|| answer.json())
    })
}

/// The only job of the addon that has one; null as long as it has not said so.
fn job(daemon: &Daemon) -> Value {
    let list = daemon.get("/api/addons/job-runner");
    if list.status == 200 { list.json()["jobs"][0].clone() } else { Value::Null }
}

fn lease(daemon: &Daemon, id: &Value) -> Value {
    daemon.json(&format!("/api/scheduler/lease/{}", id.as_str().unwrap()))
}

/// What happened to leases since the start, as far as this word says it.
fn events(daemon: &Daemon, word: &str) -> Vec<Value> {
    let log = daemon.json("/api/scheduler/events?limit=1000");
    let events = log["events"].as_array().unwrap().iter();
    events.filter(|event| event["event"] == word).cloned().collect()
}

fn ends(daemon: &Daemon) -> Vec<String> {
    events(daemon, "ended").iter().map(|event| event["how"].as_str().unwrap_or_default().to_owned()).collect()
}

/// The values that the addon collected last, by label.
fn outcomes(daemon: &Daemon, id: &str) -> Value {
    eventually("it has collected", || {
        let own = daemon.current()["addons"][id].clone();
        own.is_object().then_some(own)
    })
}

fn all_good(daemon: &Daemon, id: &str, number: usize) {
    let own = eventually("it has collected", || {
        let own = outcomes(daemon, id).to_string();
        own.contains("outcome").then_some(own)
    });
    let exposition = daemon.get("/metrics").text();
    let name = format!("lowtide_addon_{}_outcome{{", id.replace('-', "_"));
    let lines: Vec<&str> = exposition.lines().filter(|line| line.starts_with(&name)).collect();
    assert_eq!(lines.len(), number, "{own}");
    assert!(lines.iter().all(|line| line.ends_with(" 1")), "{lines:?}");
}

fn used(daemon: &Daemon) -> u64 {
    daemon.json("/api/scheduler/status")["used_units"].as_u64().unwrap()
}

#[test]
fn a_guest_asks_reports_and_gives_back() {
    let (_home, daemon) = start("", "lease-holder", "does = \"whole-life\"");
    all_good(&daemon, "lease-holder", 6);
    let over = daemon.json("/api/scheduler/status")["recent"][0].clone();
    assert_eq!(
        (&over["state"], &over["addon_id"]),
        (&"released".into(), &"addon:lease-holder".into()),
        "{over}"
    );
    assert_eq!(addon(&daemon, "lease-holder")["problem"], Value::Null);
}

#[test]
fn what_is_not_granted_or_denied_is_told_as_such() {
    let (_home, daemon) = start("", "lease-holder", "does = \"beyond\"");
    all_good(&daemon, "lease-holder", 5);
    drop(daemon);
    let (_home, daemon) = start_blocked("lease-holder", "does = \"denied\"");
    all_good(&daemon, "lease-holder", 2);
    assert_eq!(events(&daemon, "granted"), Vec::<Value>::new());
}

#[test]
fn a_lease_ends_with_the_hand_that_holds_it() {
    let (_home, daemon) = start("", "lease-holder", "does = \"drops\"");
    eventually("dropped twice", || (ends(&daemon).len() >= 2).then_some(()));
    assert!(ends(&daemon).iter().all(|how| how == "released"), "{:?}", ends(&daemon));
    drop(daemon);

    let (_home, daemon) = start("", "lease-holder", "does = \"panics\"");
    let ended = eventually("given back after the trap", || events(&daemon, "ended").first().cloned());
    assert_eq!(ended["how"], "failed", "{ended}");
    let view = eventually("it backs off", || {
        let view = addon(&daemon, "lease-holder");
        (view["metered"]["crashes"].as_u64() >= Some(1)).then_some(view)
    });
    assert!(view.to_string().contains("with a lease in its hand"), "{view}");
    drop(daemon);

    // A wait that the deadline of the call cuts off leaves the queue.
    let (_home, daemon) = start_blocked("lease-holder", "does = \"waits\"");
    eventually("it waits", || (!events(&daemon, "queued").is_empty()).then_some(()));
    let ended = eventually("it has left the queue", || events(&daemon, "ended").first().cloned());
    assert_eq!(ended["how"], "cancelled", "{ended}");
    assert!(addon(&daemon, "lease-holder").to_string().contains("wall_time"));
}

#[test]
fn a_lease_ends_with_the_addon_and_with_the_daemon() {
    let (home, daemon) = start("", "lease-holder", "does = \"holds\"");
    eventually("it holds", || (used(&daemon) == 20).then_some(()));
    assert_eq!(post(&daemon, "/api/addons/lease-holder/disable").status, 200);
    assert_eq!(used(&daemon), 0);
    eventually("that is on disk", || (ends(&daemon) == ["failed"]).then_some(()));
    assert_eq!(post(&daemon, "/api/addons/lease-holder/enable").status, 200);
    eventually("it holds again", || (used(&daemon) == 20).then_some(()));
    // Killed, the daemon gives nothing back; the next one finds that nobody holds it.
    let held = daemon.json("/api/scheduler/status")["active"][0]["lease_id"].clone();
    drop(daemon);
    let daemon = home.open();
    eventually("the old one is over", || {
        let state = lease(&daemon, &held)["state"].clone();
        (state == "failed").then_some(())
    });
    eventually("and there is a new one", || (used(&daemon) == 20).then_some(()));
}

#[test]
fn a_guest_that_asks_for_a_million_leases_is_contained() {
    let (_home, daemon) = start("", "lease-hog", "");
    let view = eventually("it is stopped", || {
        let view = addon(&daemon, "lease-hog");
        (view["metered"]["crashes"].as_u64() >= Some(1)).then_some(view)
    });
    let code = view["problem"]["code"].as_str().unwrap_or_default();
    assert!(["host_call_storm", "wall_time", "cpu_time"].contains(&code), "{view}");
    let held = daemon.json("/api/scheduler/status")["active"].as_array().unwrap().len();
    assert!(held <= 4, "{held} are held");
    eventually("all is given back", || (used(&daemon) == 0).then_some(()));
    assert!(ends(&daemon).iter().all(|how| how == "failed"));
}

#[test]
fn a_job_runs_under_its_lease_and_tells_how_far_it_is() {
    let (_home, daemon) = start("", "job-runner", "job = \"obeys\"\nseconds = 3\nevery = 3600.0");
    let running = eventually("it runs", || {
        let job = job(&daemon);
        (job["state"] == "running").then_some(job)
    });
    let own = eventually("it tells how far it is", || {
        let own = lease(&daemon, &running["lease_id"]);
        own["progress"]["done_ratio"].is_number().then_some(own)
    });
    assert_eq!((&own["addon_id"], &own["job_type"]), (&"addon:job-runner".into(), &"obeys".into()));
    assert!(own["progress"]["note"].as_str().unwrap().ends_with("of 3 s"), "{own}");
    let calls = |daemon: &Daemon| {
        let text = daemon.get("/metrics").text();
        let line = text.lines().find_map(|line| line.strip_prefix("lowtide_addon_job_runner_value "));
        line.and_then(|value| value.parse::<f64>().ok()).unwrap_or(0.0)
    };
    let before = calls(&daemon);
    eventually("collections go on", || (calls(&daemon) > before).then_some(()));
    let done = eventually("it is done", || {
        let job = job(&daemon);
        job["last"].is_object().then_some(job)
    });
    assert_eq!((&done["last"]["outcome"], &done["state"]), (&"done".into(), &"idle".into()), "{done}");
    let over = lease(&daemon, &running["lease_id"]);
    assert_eq!((&over["state"], &over["note"]), (&"released".into(), &"all 3 s".into()), "{over}");
    assert!(over["usage"]["cpu_seconds"].is_number(), "{over}");
    eventually("it is due in an hour", || job(&daemon)["due_at"].is_string().then_some(()));
    assert_eq!(events(&daemon, "granted").len(), 1);

    // Ordered, it runs again at once.
    assert_eq!(post(&daemon, "/api/addons/job-runner/jobs/obeys/run").status, 200);
    eventually("it runs again", || (events(&daemon, "granted").len() == 2).then_some(()));
    for (path, code) in [("job-runner/jobs/other", "no_such_job"), ("other/jobs/obeys", "no_such_addon")] {
        assert_eq!(post(&daemon, &format!("/api/addons/{path}/run")).problem()["code"], code);
    }
}

#[test]
fn a_job_that_ignores_a_revoke_is_cut_off_and_the_collector_goes_on() {
    let (_home, daemon) = start("", "job-runner", "job = \"deaf\"\nevery = 3600.0");
    let running = eventually("it runs", || {
        let job = job(&daemon);
        (job["state"] == "running").then_some(job)
    });
    let id = running["lease_id"].as_str().unwrap();
    eventually("it computes", || {
        (addon(&daemon, "job-runner")["metered"]["cpu_seconds"].as_f64() > Some(1.0)).then_some(())
    });
    let order = json!({ "reason": "the test is over", "grace_sec": 1.0 });
    assert_eq!(send(daemon.address, "POST", &format!("lease/{id}/revoke"), &order).status, 200);
    let cut = eventually("it is cut off", || {
        let job = job(&daemon);
        job["last"].is_object().then_some(job)
    });
    assert_eq!(
        (&cut["last"]["outcome"], &cut["problem"]["code"]),
        (&"cut_off".into(), &"job_cut_off".into())
    );
    let over = lease(&daemon, &running["lease_id"]);
    assert_eq!((&over["state"], &over["note"]), (&"revoked".into(), &"the test is over".into()), "{over}");
    let view = addon(&daemon, "job-runner");
    assert_eq!((&view["state"], &view["metered"]["restarts"]), (&"running".into(), &0.into()));
    assert_eq!(view["problem"]["code"], "job_cut_off", "{view}");
    let log = daemon.json("/api/addons/job-runner/logs").to_string();
    assert!(log.contains("job deaf: it did not stop in time"), "{log}");
    // It is tried again, but not at once.
    assert_eq!((events(&daemon, "granted").len(), &job(&daemon)["state"]), (1, &"idle".into()));
}

#[test]
fn a_job_that_can_stand_still_does_so_in_panic_and_goes_on_after_it() {
    let settings = "job = \"deaf\"\nevery = 3600.0\npausable = true";
    let (home, daemon) = start("cool_down_seconds = 0", "job-runner", settings);
    let cpu = || addon(&daemon, "job-runner")["metered"]["cpu_seconds"].as_f64().unwrap_or(0.0);
    eventually("it computes", || (cpu() > 1.0).then_some(()));
    reread(&daemon, &in_panic(&home));
    let id = job(&daemon)["lease_id"].clone();
    eventually("it is to stand still", || (lease(&daemon, &id)["state"] == "paused").then_some(()));
    daemon.wait_for_tick(daemon.sequence() + 2);
    let before = cpu();
    daemon.wait_for_tick(daemon.sequence() + 3);
    let used = cpu() - before;
    assert!(used < 0.5, "it computed for {used} s while it was to stand still");
    let state = job(&daemon)["state"].clone();
    assert_eq!(state, "paused");
    reread(&daemon, &home.config);
    eventually("it may go on", || (lease(&daemon, &id)["state"] == "active").then_some(()));
    let before = cpu();
    eventually("it goes on", || (cpu() > before + 0.5).then_some(()));
    let counted = || {
        let name = "lowtide_addons_paused_seconds_total{addon=\"job-runner\"} ";
        let exposition = daemon.get("/metrics").text();
        exposition.lines().find_map(|line| line.strip_prefix(name)?.parse::<f64>().ok())
    };
    eventually("the time is counted", || (counted() > Some(0.0)).then_some(()));
}

#[test]
fn a_job_that_is_held_hears_that_it_is_revoked_and_ends_with_its_addon() {
    let settings = "job = \"obeys\"\nseconds = 600\nevery = 3600.0\npausable = true";
    let (home, daemon) = start("cool_down_seconds = 0", "job-runner", settings);
    let held = || {
        let running = eventually("it runs and tells so", || {
            let id = job(&daemon)["lease_id"].clone();
            let tells = id.is_string() && lease(&daemon, &id)["progress"]["done_ratio"].is_number();
            tells.then_some(id)
        });
        reread(&daemon, &in_panic(&home));
        eventually("it is held", || (job(&daemon)["state"] == "paused").then_some(()));
        // It looks at its lease twenty times a second and computes for microseconds: held it does not even that.
        let said = || lease(&daemon, &running)["progress"]["done_ratio"].clone();
        eventually("nothing comes any more", || {
            let before = said();
            daemon.wait_for_tick(daemon.sequence() + 1);
            (before == said()).then_some(())
        });
        running
    };
    let id = held();
    let order = json!({ "reason": "later", "grace_sec": 60.0 });
    let path = format!("lease/{}/revoke", id.as_str().unwrap());
    assert_eq!(send(daemon.address, "POST", &path, &order).status, 200);
    let stopped = eventually("it stops by itself", || {
        let job = job(&daemon);
        job["last"].is_object().then_some(job)
    });
    assert_eq!((&stopped["last"]["outcome"], &stopped["problem"]), (&"stopped".into(), &Value::Null));

    reread(&daemon, &home.config);
    eventually("QUIET", || (daemon.quiet()["state"] == "QUIET").then_some(()));
    assert_eq!(post(&daemon, "/api/addons/job-runner/jobs/obeys/run").status, 200);
    held();
    assert_eq!(post(&daemon, "/api/addons/job-runner/disable").status, 200);
    assert_eq!((used(&daemon), ends(&daemon).len()), (0, 2));
}

#[test]
fn a_job_that_stops_when_it_is_told_to_is_no_failure() {
    let (_home, daemon) = start("", "job-runner", "job = \"obeys\"\nseconds = 600\nevery = 3600.0");
    let running = eventually("it runs", || {
        let job = job(&daemon);
        (job["state"] == "running").then_some(job)
    });
    let id = running["lease_id"].as_str().unwrap();
    let order = json!({ "reason": "later", "grace_sec": 60.0 });
    assert_eq!(send(daemon.address, "POST", &format!("lease/{id}/revoke"), &order).status, 200);
    let stopped = eventually("it stops", || {
        let job = job(&daemon);
        job["last"].is_object().then_some(job)
    });
    assert_eq!((&stopped["last"]["outcome"], &stopped["problem"]), (&"stopped".into(), &Value::Null));
    let due = stopped["due_at"].is_string() || job(&daemon)["due_at"].is_string();
    assert!(due, "{stopped}");
    // An addon that is switched off ends its job, and the lease with it.
    assert_eq!(post(&daemon, "/api/addons/job-runner/jobs/obeys/run").status, 200);
    eventually("it runs again", || (job(&daemon)["state"] == "running").then_some(()));
    assert_eq!(post(&daemon, "/api/addons/job-runner/disable").status, 200);
    assert_eq!(used(&daemon), 0);
    assert_eq!(ends(&daemon), ["revoked", "failed"]);
}

#[test]
fn a_job_that_fails_or_traps_is_left_alone_for_a_while() {
    for (name, code, word) in
        [("fails", "job_failed", "did not work out"), ("panics", "trap", "in the middle of it")]
    {
        let (_home, daemon) = start("", "job-runner", &format!("job = \"{name}\"\nevery = 1.0"));
        let failed = eventually("it fails", || {
            let job = job(&daemon);
            job["last"].is_object().then_some(job)
        });
        assert_eq!(
            (&failed["last"]["outcome"], &failed["problem"]["code"]),
            (&"failed".into(), &code.into())
        );
        assert!(failed["problem"]["text"].as_str().unwrap().contains(word), "{failed}");
        let ended = events(&daemon, "ended");
        assert_eq!(ended[0]["how"], "failed", "{ended:?}");
        daemon.wait_for_tick(daemon.sequence() + 3);
        assert_eq!(events(&daemon, "granted").len(), 1, "it is due each second, and left alone for a minute");
        assert_eq!(addon(&daemon, "job-runner")["state"], "running");
    }
}

#[test]
fn a_job_waits_its_turn_also_over_a_restart_of_the_daemon() {
    let settings = "job = \"obeys\"\nevery = 3600.0";
    let (home, daemon) = start_blocked("job-runner", settings);
    let waiting = eventually("it waits", || {
        let job = job(&daemon);
        (job["state"] == "waiting").then_some(job)
    });
    let queued = lease(&daemon, &waiting["lease_id"]);
    assert_eq!(queued["state"], "queued", "{queued}");
    // Reloaded, or the daemon stopped or killed: it keeps its place.
    assert_eq!(post(&daemon, "/api/addons/job-runner/reload").status, 200);
    eventually("it waits again", || (job(&daemon)["lease_id"] == waiting["lease_id"]).then_some(()));
    stop(daemon);
    let daemon = home.open();
    eventually("it still waits", || (job(&daemon)["lease_id"] == waiting["lease_id"]).then_some(()));
    drop(daemon);
    let daemon = home.open();
    eventually("it still waits", || (job(&daemon)["lease_id"] == waiting["lease_id"]).then_some(()));
    assert_eq!(events(&daemon, "queued").len(), 1);
    lift(&daemon);
    eventually("it is done", || (job(&daemon)["last"]["outcome"] == "done").then_some(()));
    assert_eq!(lease(&daemon, &waiting["lease_id"])["state"], "released");
}

#[test]
fn who_is_switched_off_no_longer_waits() {
    let (_home, daemon) = start_blocked("job-runner", "job = \"obeys\"\nevery = 3600.0");
    eventually("it waits", || (job(&daemon)["state"] == "waiting").then_some(()));
    assert_eq!(post(&daemon, "/api/addons/job-runner/disable").status, 200);
    assert_eq!(daemon.json("/api/scheduler/status")["queue"], json!([]));
    eventually("that is on disk", || (ends(&daemon) == ["cancelled"]).then_some(()));
    assert_eq!(post(&daemon, "/api/addons/job-runner/jobs/obeys/run").problem()["code"], "job_cannot_run");
}

#[test]
fn runs_that_were_missed_are_made_up_for_by_one() {
    let (home, daemon) = start("", "job-runner", "job = \"obeys\"\nevery = 4.0");
    eventually("it is done", || (job(&daemon)["last"]["outcome"] == "done").then_some(()));
    // Nothing runs while the daemon is off; two runs and more are missed.
    let before = events(&daemon, "granted").len();
    let off = lowtide_clock::mono();
    stop(daemon);
    eventually("two runs were missed", || {
        (lowtide_clock::mono().since(off) > Duration::from_secs(9)).then_some(())
    });
    let daemon = home.open();
    eventually("it is made up for", || (job(&daemon)["last"]["outcome"] == "done").then_some(()));
    let since = lowtide_clock::mono();
    let made_up = events(&daemon, "granted").len() - before;
    assert_eq!(made_up, 1);
    eventually("and the next comes at its time", || {
        (events(&daemon, "granted").len() == before + 2).then_some(())
    });
    let waited = lowtide_clock::mono().since(since);
    assert!(waited > Duration::from_millis(2_500), "the next came after {waited:?}");
}

#[test]
fn a_job_beyond_its_grant_is_told_and_never_asked_for() {
    let (_home, daemon) = start("", "job-runner", "job = \"obeys\"\nevery = 1.0\nunits = 21");
    let job = eventually("it is described", || Some(job(&daemon)).filter(Value::is_object));
    assert_eq!((&job["state"], &job["problem"]["code"]), (&"idle".into(), &"not_granted".into()), "{job}");
    assert!(job["problem"]["text"].as_str().unwrap().contains("max_units = 21"), "{job}");
    assert_eq!(addon(&daemon, "job-runner")["problem"]["code"], "not_granted");
    let refused = post(&daemon, "/api/addons/job-runner/jobs/obeys/run");
    assert_eq!((refused.status, &refused.problem()["code"]), (409, &json!("job_cannot_run")));
    daemon.wait_for_tick(daemon.sequence() + 2);
    assert_eq!(events(&daemon, "granted"), Vec::<Value>::new());
}

#[test]
fn a_job_that_was_running_when_the_daemon_died_runs_anew() {
    let (home, daemon) = start("", "job-runner", "job = \"obeys\"\nseconds = 600\nevery = 3600.0");
    let running = eventually("it runs", || {
        let job = job(&daemon);
        (job["state"] == "running").then_some(job)
    });
    drop(daemon);
    let daemon = home.open();
    let anew = eventually("it runs anew", || {
        let job = job(&daemon);
        (job["state"] == "running").then_some(job)
    });
    assert_ne!(anew["lease_id"], running["lease_id"]);
    assert_eq!(lease(&daemon, &running["lease_id"])["state"], "failed");
    stop(daemon);
}

#[test]
fn the_frozen_job_runs_under_a_lease() {
    let home = Home::new("", "v01-job", "");
    let daemon = home.open();
    let folder = home.data.path().join("addons");
    let part = folder.join(".v01-job.part");
    fs::create_dir_all(&part).unwrap();
    fs::copy(frozen().join("v01-job.wasm"), part.join("v01-job.wasm")).unwrap();
    fs::copy(frozen().join("v01-job.toml"), part.join("addon.toml")).unwrap();
    fs::rename(part, folder.join("v01-job")).unwrap();
    let done = eventually("it is done", || {
        let answer = daemon.get("/api/addons/v01-job");
        let job = (answer.status == 200).then(|| answer.json()["jobs"][0].clone())?;
        job["last"].is_object().then_some(job)
    });
    let over = daemon.json("/api/scheduler/status")["recent"][0].clone();
    let (outcome, text) = (&done["last"]["outcome"], done["last"]["text"].as_str().unwrap());
    assert_eq!((&done["name"], outcome), (&"reindex".into(), &"done".into()), "{done}");
    let token = over["fencing_token"].as_u64().unwrap();
    assert_eq!(text, format!("reindex under {} ({token})", over["lease_id"].as_str().unwrap()));
    assert_eq!(
        (&over["state"], &over["progress"]["note"]),
        (&"released".into(), &"all of it".into()),
        "{over}"
    );
    assert_eq!(daemon.json("/api/addons/v01-job")["jobs"][1]["problem"]["code"], "not_granted");
}
