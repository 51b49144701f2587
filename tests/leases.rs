//! Leases over REST, as a script meets them: asking, waiting, holding, giving back, and every way to get it wrong.

mod command;
mod crash;
mod storage;

use crate::daemon::{Daemon, Launch, eventually};
use crate::events::Stream;
use crate::faults::easy;
use crate::http::{self, Answer};
use rustix::process::Signal;
use serde_json::{Value, json};
use std::fs;
use std::net::SocketAddr;
use std::time::Duration;

/// A host that is QUIET whatever the machine does, and whose capacity does not shrink.
pub(crate) fn calm(leases: &str) -> String {
    format!(
        "{}[leases]\nheadroom_ratio = 1.0\nrequests_per_second = 100000\nrequests_burst = 100000\n{leases}\n",
        easy()
    )
}

pub(crate) fn start(leases: &str) -> Daemon {
    let daemon = Launch::with(calm(leases)).start();
    eventually("QUIET", || (daemon.quiet()["state"] == "QUIET").then_some(()));
    daemon
}

pub(crate) fn send(address: SocketAddr, method: &str, path: &str, body: &Value) -> Answer {
    let text = body.to_string();
    let json = [("content-type", "application/json")];
    http::request(address, method, &format!("/api/scheduler/{path}"), &json, text.as_bytes())
}

fn post(daemon: &Daemon, path: &str, body: &Value) -> Answer {
    send(daemon.address, "POST", path, body)
}

/// An answer that must be a success.
fn ok(answer: &Answer) -> Value {
    assert!(answer.status == 200 || answer.status == 202, "{}: {}", answer.status, answer.text());
    answer.json()
}

pub(crate) fn request(holder: &str, units: u32) -> Value {
    json!({ "addon_id": holder, "job_type": "backup", "cost_units": units })
}

fn with(mut body: Value, more: &Value) -> Value {
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    body
}

fn ask(daemon: &Daemon, body: &Value) -> Value {
    ok(&post(daemon, "lease/request", body))
}

fn id(decision: &Value) -> String {
    decision["lease_id"].as_str().unwrap_or_else(|| panic!("no lease in {decision}")).to_owned()
}

pub(crate) fn grant(daemon: &Daemon, body: &Value) -> String {
    let decision = ask(daemon, body);
    assert_eq!(
        (&decision["decision"], &decision["approved"]),
        (&"granted".into(), &true.into()),
        "{decision}"
    );
    id(&decision)
}

fn lease(daemon: &Daemon, id: &str) -> Value {
    daemon.json(&format!("/api/scheduler/lease/{id}"))
}

fn status(daemon: &Daemon) -> Value {
    daemon.json("/api/scheduler/status")
}

fn refused(answer: &Answer, status: u16, code: &str) -> Value {
    let problem = answer.problem();
    assert_eq!((answer.status, problem["code"].as_str()), (status, Some(code)), "{problem}");
    problem
}

/// Replaces the configuration and has it read.
pub(crate) fn reconfigure(daemon: &Daemon, text: &str) {
    let mut stream = Stream::open(daemon.address, "?kinds=reload", None);
    fs::write(daemon.config_file(), text).unwrap();
    daemon.signal(Signal::HUP);
    let event = stream.event().data;
    assert_eq!(event["errors"], json!([]), "{event}");
}

/// The same daemon on a host that is in this state.
pub(crate) fn disturbed(daemon: &Daemon, threshold: &str, leases: &str, state: &str) {
    let easy = "[quiet.signals.cpu]\nquiet = \"none\"\nleave = \"none\"\nbusy = \"none\"\npanic = \"none\"\n";
    let strict = easy.replace(&format!("{threshold} = \"none\""), &format!("{threshold} = 0.0"));
    let text = calm(leases).replace(easy, &strict);
    reconfigure(daemon, &text);
    eventually(state, || (daemon.quiet()["state"] == state).then_some(()));
    // The scheduler hears of a tick right after it was published.
    eventually("the scheduler knows", || (status(daemon)["quiet"]["state"] == state).then_some(()));
}

#[test]
fn a_lease_lives_from_request_to_release() {
    let daemon = start("");
    let mut stream = Stream::open(daemon.address, "?kinds=lease", None);
    let decision = ask(&daemon, &request("nas", 40));
    assert_eq!(decision["rule"], "quiet");
    assert_eq!(decision["limits"]["heartbeat_ttl_sec"], 30.0);
    assert!(decision["fencing_token"].as_u64() >= Some(1) && decision["retry_after_sec"].is_null());
    let id = id(&decision);
    let directive = ok(&post(&daemon, &format!("lease/{id}/heartbeat"), &json!({ "addon_id": "nas" })));
    assert_eq!((&directive["directive"], &directive["units"]), (&"continue".into(), &40.into()));
    let report = json!({ "done_ratio": 0.25, "note": "pack 3 of 12", "usage": { "cpu_seconds": 1.5 } });
    ok(&post(&daemon, &format!("lease/{id}/report"), &report));
    let seen = lease(&daemon, &id);
    assert_eq!((&seen["state"], &seen["progress"]["done_ratio"]), (&"active".into(), &0.25.into()));
    assert_eq!(seen["progress"]["note"], "pack 3 of 12");
    let status = status(&daemon);
    assert_eq!((&status["used_units"], &status["active"][0]["lease_id"]), (&40.into(), &id.as_str().into()));
    let usage = json!({ "usage": { "cpu_seconds": 9.5, "written_bytes": 1_000_000 }, "note": "all well" });
    let over = ok(&post(&daemon, &format!("lease/{id}/release"), &usage));
    assert_eq!((&over["state"], &over["note"]), (&"released".into(), &"all well".into()));
    assert_eq!(over["usage"]["written_bytes"], 1_000_000);
    let status = daemon.json("/api/scheduler/status");
    assert_eq!((&status["used_units"], &status["recent"][0]["lease_id"]), (&0.into(), &id.as_str().into()));
    let log = daemon.json(&format!("/api/scheduler/events?lease={id}"));
    let words: Vec<&str> =
        log["events"].as_array().unwrap().iter().map(|event| event["event"].as_str().unwrap()).collect();
    assert_eq!(words, ["granted", "ended"]);
    assert_eq!(log["events"][1]["usage"]["cpu_seconds"], 9.5);
    for change in ["granted", "ended"] {
        let event = stream.event().data;
        assert_eq!((&event["change"], &event["lease_id"]), (&change.into(), &id.as_str().into()));
    }
    let metrics = daemon.get("/metrics").text();
    assert!(metrics.contains("lowtide_lease_granted_total"), "the scheduler's series are there");
}

#[test]
fn every_answer_about_leases_is_what_its_schema_says() {
    let daemon = start("");
    let openapi = crate::schema::openapi();
    let check = |name: &str, value: &Value| {
        let found = crate::schema::problems(&openapi, crate::schema::component(&openapi, name), value);
        assert_eq!(found, Vec::<String>::new(), "{name}: {value}");
    };
    let first = ask(&daemon, &request("one", 60));
    check("LeaseDecision", &first);
    let second = ask(&daemon, &with(request("two", 60), &json!({ "wait": true, "deadline": "6h" })));
    assert_eq!(second["decision"], "queued");
    check("LeaseDecision", &second);
    check("LeaseDecision", &ask(&daemon, &request("three", 60)));
    let (first, second) = (id(&first), id(&second));
    check("LeaseDirective", &ok(&post(&daemon, &format!("lease/{first}/heartbeat"), &json!({}))));
    check("Lease", &lease(&daemon, &second));
    check("LeaseStatus", &status(&daemon));
    check("LeaseQueue", &daemon.json("/api/scheduler/queue"));
    check("LeaseHolders", &daemon.json("/api/scheduler/holders"));
    let window =
        json!({ "windows": [{ "name": "nights", "mode": "allow", "from": "22:00", "to": "06:00" }] });
    check("LeaseWindows", &ok(&send(daemon.address, "PUT", "windows", &window)));
    let switch = json!({ "mode": "block", "owner": "anna", "reason": "moving disks", "expires": "2h" });
    check("LeaseOverrideState", &ok(&send(daemon.address, "PUT", "override", &switch)));
    check("Lease", &ok(&post(&daemon, &format!("lease/{first}/revoke"), &json!({ "reason": "a test" }))));
    check("LeaseDirective", &ok(&post(&daemon, &format!("lease/{first}/heartbeat"), &json!({}))));
    check("Lease", &ok(&post(&daemon, &format!("lease/{first}/release"), &json!({}))));
    check("LeaseEvents", &daemon.json("/api/scheduler/events?after=0"));
}

#[test]
fn a_denial_names_signal_value_threshold_and_when_to_come_back() {
    let daemon = start("");
    disturbed(&daemon, "busy", "", "BUSY");
    let answer = post(&daemon, "lease/request", &request("nas", 10));
    let denial = ok(&answer);
    assert_eq!((&denial["decision"], &denial["approved"]), (&"denied".into(), &false.into()));
    assert_eq!((&denial["rule"], &denial["basis"]["state"]), (&"not_quiet".into(), &"BUSY".into()));
    let reason = &denial["reasons"][0];
    assert_eq!((&reason["signal"], &reason["threshold"]), (&"cpu".into(), &0.0.into()), "{denial}");
    assert!(reason["value"].is_f64() && reason["text"].as_str().unwrap().contains("CPU use"), "{denial}");
    let after = denial["retry_after_sec"].as_u64().unwrap();
    assert_eq!(answer.header("retry-after"), Some(after.to_string().as_str()));
    let holders = daemon.json("/api/scheduler/holders");
    let holder = &holders["holders"][0];
    assert_eq!((&holder["denials"], &holder["last_rule"]), (&1.into(), &"not_quiet".into()));
    // What is urgent need not wait for QUIET, and what minds other things is not denied because of this one.
    let urgent = grant(&daemon, &with(request("nas", 10), &json!({ "priority": "HIGH" })));
    let writer = json!({ "constraints": { "disk_write_heavy": true } });
    let decision = ask(&daemon, &with(request("nas", 10), &writer));
    assert_eq!(decision["rule"], "not_affected", "{decision}");
    ok(&post(&daemon, &format!("lease/{urgent}/release"), &json!({})));
}

#[test]
fn panic_denies_all_pauses_what_can_stand_still_and_revokes_the_rest() {
    let daemon = start("cool_down_seconds = 0\n");
    let pausable = grant(&daemon, &with(request("a", 10), &json!({ "pausable": true })));
    let other = grant(&daemon, &request("b", 10));
    disturbed(&daemon, "panic", "cool_down_seconds = 0\n", "PANIC");
    let heartbeat = |id: &str| ok(&post(&daemon, &format!("lease/{id}/heartbeat"), &json!({})));
    eventually("it is told to stand still", || (heartbeat(&pausable)["directive"] == "pause").then_some(()));
    let told = heartbeat(&other);
    assert_eq!(told["directive"], "revoke");
    assert!(
        told["deadline_sec"].as_f64() > Some(0.0) && told["reason"].as_str().unwrap().contains("PANIC"),
        "{told}"
    );
    let urgent = ask(&daemon, &with(request("c", 1), &json!({ "priority": "HIGH" })));
    assert_eq!(urgent["rule"], "panic");
    ok(&post(&daemon, &format!("lease/{other}/release"), &json!({})));
    assert_eq!(lease(&daemon, &other)["state"], "revoked");
    reconfigure(&daemon, &calm("cool_down_seconds = 0\n"));
    eventually("it goes on", || (heartbeat(&pausable)["directive"] == "continue").then_some(()));
}

#[test]
fn who_waits_is_told_by_a_long_poll_when_its_turn_comes() {
    let daemon = start("");
    let holds = grant(&daemon, &request("first", 100));
    let waits = ask(&daemon, &with(request("second", 50), &json!({ "wait": true })));
    let small = ask(&daemon, &with(request("third", 60), &json!({ "wait": true })));
    assert_eq!((&waits["queue"]["position"], &small["queue"]["position"]), (&1.into(), &2.into()));
    assert_eq!(small["queue"]["ahead"][0]["addon_id"], "second");
    assert!(waits["queue"]["estimated_start_sec"].as_f64() > Some(500.0), "the first said 600 s: {waits}");
    let (waits, small) = (id(&waits), id(&small));
    let address = daemon.address;
    let poll = std::thread::spawn({
        let path = format!("/api/scheduler/lease/{waits}?wait=30s");
        move || http::get(address, &path)
    });
    // A poll that times out says how it is.
    let still = ok(&http::get(address, &format!("/api/scheduler/lease/{small}?wait=10ms")));
    assert_eq!(still["state"], "queued");
    ok(&post(&daemon, &format!("lease/{holds}/release"), &json!({})));
    let granted = poll.join().unwrap().json();
    assert_eq!((&granted["state"], &granted["queue"]), (&"active".into(), &Value::Null), "{granted}");
    assert_eq!(lease(&daemon, &small)["queue"]["position"], 1, "60 do not fit beside 50");
    let gone = ok(&post(&daemon, &format!("lease/{small}/release"), &json!({})));
    assert_eq!(gone["state"], "cancelled");
    // Also the request itself can be held back until it is granted.
    let late = std::thread::spawn(move || {
        send(
            address,
            "POST",
            "lease/request?wait=30s",
            &with(request("fourth", 80), &json!({ "wait": true })),
        )
    });
    eventually("it waits", || (status(&daemon)["queued_count"] == 1).then_some(()));
    ok(&post(&daemon, &format!("lease/{waits}/release"), &json!({})));
    let granted = late.join().unwrap();
    assert_eq!((granted.status, &granted.json()["decision"]), (200, &"granted".into()));
}

#[test]
fn bad_requests_are_told_what_is_wrong_and_leave_nothing_behind() {
    let daemon = start("");
    let good = request("nas", 10);
    let field = |more: Value, name: &str| {
        let problem =
            refused(&post(&daemon, "lease/request", &with(good.clone(), &more)), 400, "invalid_body");
        assert_eq!(problem["parameter"], name, "{problem}");
    };
    for units in [json!(0), json!(101), json!(-1)] {
        field(json!({ "cost_units": units }), "cost_units");
    }
    field(json!({ "cost_class": "HIGH" }), "cost_units");
    field(json!({ "cost_units": null, "cost_class": "HUGE" }), "cost_class");
    field(json!({ "priority": "URGENT" }), "priority");
    field(json!({ "addon_id": "" }), "addon_id");
    field(json!({ "deadline": "2001-01-01T00:00:00Z" }), "deadline");
    for body in ["", "{", "[]", "null", "{\"addon_id\":5}", "{\"surprise\":1}"] {
        let json = [("content-type", "application/json")];
        let answer =
            http::request(daemon.address, "POST", "/api/scheduler/lease/request", &json, body.as_bytes());
        refused(&answer, 400, "invalid_body");
    }
    let form = [("content-type", "application/x-www-form-urlencoded")];
    let path = "/api/scheduler/lease/request";
    refused(&http::request(daemon.address, "POST", path, &form, b"a=b"), 415, "unsupported_media_type");
    let elsewhere = [("content-type", "application/json"), ("origin", "http://evil.example")];
    let text = good.to_string();
    refused(
        &http::request(daemon.address, "POST", path, &elsewhere, text.as_bytes()),
        403,
        "cross_site_request",
    );
    let long = with(good.clone(), &json!({ "idempotency_key": "x".repeat(20_000) }));
    refused(&post(&daemon, "lease/request", &long), 413, "payload_too_large");
    refused(&send(daemon.address, "POST", "lease/request?wait=2m", &good), 400, "invalid_parameter");
    let status = status(&daemon);
    assert_eq!(
        (&status["active_count"], &status["queued_count"], &status["last_event"]),
        (&0.into(), &0.into(), &1.into())
    );
}

#[test]
fn ids_that_cannot_be_used_say_why() {
    let daemon = start("ttl_seconds = 1\n");
    let acts = ["heartbeat", "report", "release"];
    let act = |id: &str, what: &str, body: &Value| post(&daemon, &format!("lease/{id}/{what}"), body);
    let lease_id = grant(&daemon, &request("nas", 10));
    let (number, _) = lease_id.split_once('-').unwrap();
    for unknown in ["999-0123456789abcdef", "x", "1", "%ff", &format!("{number}-0000000000000000")] {
        for what in acts {
            refused(&act(unknown, what, &json!({})), 404, "no_such_lease");
        }
    }
    for what in acts {
        refused(&act(&lease_id, what, &json!({ "addon_id": "other" })), 403, "not_your_lease");
    }
    ok(&act(&lease_id, "release", &json!({ "addon_id": "nas", "outcome": "failed", "note": "disk gone" })));
    for what in acts {
        refused(&act(&lease_id, what, &json!({})), 409, "lease_released");
    }
    let expired = grant(&daemon, &request("nas", 10));
    eventually("it expires", || (lease(&daemon, &expired)["state"] == "expired").then_some(()));
    for what in acts {
        refused(&act(&expired, what, &json!({})), 410, "lease_expired");
    }
    let revoked = grant(&daemon, &request("nas", 10));
    ok(&act(&revoked, "revoke", &json!({ "grace_sec": 0, "reason": "maintenance" })));
    let problem = refused(&act(&revoked, "heartbeat", &json!({})), 409, "lease_revoked");
    assert!(problem["detail"].as_str().unwrap().contains("maintenance"));
    let all = grant(&daemon, &request("one", 100));
    let waits = id(&ask(&daemon, &with(request("two", 10), &json!({ "wait": true }))));
    refused(&act(&waits, "heartbeat", &json!({})), 409, "lease_queued");
    ok(&act(&waits, "revoke", &json!({})));
    refused(&act(&waits, "release", &json!({})), 409, "lease_cancelled");
    let _ = act(&all, "release", &json!({}));
}

#[test]
fn a_key_names_one_request() {
    let daemon = start("capacity_units = 50\n");
    let keyed = |more: Value| with(request("nas", 10), &with(json!({ "idempotency_key": "monday" }), &more));
    let first = ask(&daemon, &keyed(json!({})));
    let again = ask(&daemon, &keyed(json!({})));
    assert_eq!((&again["lease_id"], &again["repeated"]), (&first["lease_id"], &true.into()));
    assert_eq!(again["fencing_token"], first["fencing_token"]);
    refused(
        &post(&daemon, "lease/request", &keyed(json!({ "cost_units": 11 }))),
        409,
        "idempotency_key_reused",
    );
    let header = [("content-type", "application/json"), ("idempotency-key", "monday")];
    let text = request("nas", 10).to_string();
    let path = "/api/scheduler/lease/request";
    let by_header = http::request(daemon.address, "POST", path, &header, text.as_bytes());
    assert_eq!(ok(&by_header)["lease_id"], first["lease_id"]);
    let other = [("content-type", "application/json"), ("idempotency-key", "tuesday")];
    let both = http::request(daemon.address, "POST", path, &other, keyed(json!({})).to_string().as_bytes());
    refused(&both, 400, "invalid_body");
    // Another holder's key is another key, and who replays one whose lease is over is told that it is.
    assert_ne!(
        ask(&daemon, &with(keyed(json!({})), &json!({ "addon_id": "pc" })))["lease_id"],
        first["lease_id"]
    );
    ok(&post(&daemon, &format!("lease/{}/release", id(&first)), &json!({})));
    refused(&post(&daemon, "lease/request", &keyed(json!({}))), 409, "lease_released");
    refused(&post(&daemon, "lease/request", &request("nas", 51)), 422, "too_many_units");
}

#[test]
fn caps_and_rates_hold() {
    let text = calm("leases_per_holder_max = 2\nqueue_per_holder_max = 1\nqueue_max = 2\n").replace(
        "requests_per_second = 100000\nrequests_burst = 100000",
        "requests_per_second = 1\nrequests_burst = 6",
    );
    let daemon = Launch::with(text).start();
    eventually("QUIET", || (daemon.quiet()["state"] == "QUIET").then_some(()));
    for _ in 0..2 {
        grant(&daemon, &request("nas", 1));
    }
    assert_eq!(ask(&daemon, &request("nas", 1))["rule"], "concurrency");
    let waits = with(request("nas", 1), &json!({ "wait": true }));
    assert_eq!(ask(&daemon, &waits)["decision"], "queued");
    let full = post(&daemon, "lease/request", &waits);
    refused(&full, 429, "queue_full");
    assert!(full.header("retry-after").is_some());
    grant(&daemon, &request("pc", 1));
    // The sixth was the last of the burst.
    assert!(ask(&daemon, &request("nas", 1))["rule"] == "concurrency");
    let limited = eventually("the rate is met", || {
        let answer = post(&daemon, "lease/request", &request("nas", 1));
        (answer.status == 429).then_some(answer)
    });
    refused(&limited, 429, "rate_limited");
    assert!(limited.header("retry-after").is_some());
}

#[test]
fn the_operators_switch_holds_until_it_is_taken_away_also_over_a_restart() {
    let launch = Launch::with(calm(""));
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let daemon = launch.data(&data).start();
    eventually("QUIET", || (daemon.quiet()["state"] == "QUIET").then_some(()));
    let switch = json!({ "mode": "block", "owner": "anna", "reason": "moving disks" });
    ok(&send(daemon.address, "PUT", "override", &switch));
    let window = json!({ "windows": [
        { "name": "always", "mode": "allow", "from": "00:00", "to": "00:00" },
        { "name": "weekend", "mode": "block", "days": ["sat"], "from": "23:59", "to": "00:01" } ] });
    let windows = ok(&send(daemon.address, "PUT", "windows", &window));
    drop(daemon);
    let daemon = Launch::with(calm("")).data(&data).start();
    eventually("QUIET", || (daemon.quiet()["state"] == "QUIET").then_some(()));
    let denied = ask(&daemon, &with(request("nas", 1), &json!({ "priority": "HIGH" })));
    assert_eq!(denied["rule"], "blocked");
    assert!(denied["reasons"][0]["text"].as_str().unwrap().contains("anna"), "{denied}");
    assert_eq!(daemon.json("/api/scheduler/windows"), windows);
    assert_eq!(daemon.json("/api/scheduler/override")["override"]["owner"], "anna");
    let gone = http::request(daemon.address, "DELETE", "/api/scheduler/override", &[], b"");
    assert_eq!(ok(&gone)["override"], Value::Null);
    grant(&daemon, &request("nas", 1));
    for (body, field) in [
        (json!({ "mode": "maybe", "owner": "a", "reason": "b" }), "mode"),
        (json!({ "mode": "block", "owner": "", "reason": "b" }), "owner"),
        (
            json!({ "mode": "block", "owner": "a", "reason": "b", "expires": "2001-01-01T00:00:00Z" }),
            "expires",
        ),
    ] {
        let problem = refused(&send(daemon.address, "PUT", "override", &body), 400, "invalid_body");
        assert_eq!(problem["parameter"], field);
    }
}

#[test]
fn a_restart_gives_holders_their_time_and_keeps_who_waits() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let begin = || Launch::with(calm("ttl_seconds = 5\n")).data(&data).start();
    let daemon = begin();
    eventually("QUIET", || (daemon.quiet()["state"] == "QUIET").then_some(()));
    let alive = grant(&daemon, &request("alive", 60));
    let silent = grant(&daemon, &request("silent", 40));
    let waits = id(&ask(&daemon, &with(request("waits", 50), &json!({ "wait": true, "deadline": "2h" }))));
    let token = lease(&daemon, &silent)["fencing_token"].as_u64();
    drop(daemon);
    let daemon = begin();
    let seen = eventually("the silent one expires, and the living one is not taken for it", || {
        ok(&post(&daemon, &format!("lease/{alive}/heartbeat"), &json!({})));
        let seen = lease(&daemon, &silent);
        (seen["state"] == "expired").then_some(seen)
    });
    assert_eq!(seen["fencing_token"].as_u64(), token);
    assert_eq!(lease(&daemon, &waits)["state"], "queued", "40 are free and it needs 50");
    ok(&post(&daemon, &format!("lease/{alive}/release"), &json!({})));
    let granted = eventually("QUIET, and its turn", || {
        let granted = lease(&daemon, &waits);
        (granted["state"] == "active").then_some(granted)
    });
    assert!(granted["fencing_token"].as_u64() > token, "tokens go on");
    let log = daemon.json("/api/scheduler/events?after=0&limit=1000");
    let numbers: Vec<u64> =
        log["events"].as_array().unwrap().iter().map(|event| event["sequence"].as_u64().unwrap()).collect();
    assert!(numbers.iter().copied().eq(1..=numbers.len() as u64), "{numbers:?}");
}

#[test]
fn pages_of_log_and_queue_go_on_where_the_last_ended() {
    let daemon = start("queue_per_holder_max = 1000\n");
    let all = grant(&daemon, &request("first", 100));
    let waiting: Vec<String> =
        (0..25).map(|_| id(&ask(&daemon, &with(request("nas", 10), &json!({ "wait": true }))))).collect();
    let mut seen = Vec::new();
    let mut path = "/api/scheduler/queue?limit=10".to_owned();
    loop {
        let page = daemon.json(&path);
        let leases = page["queue"].as_array().unwrap();
        seen.extend(leases.iter().map(|lease| lease["lease_id"].as_str().unwrap().to_owned()));
        assert_eq!(leases.last().unwrap()["queue"]["position"], seen.len());
        let Some(next) = page["next"].as_str() else { break };
        path = format!("/api/scheduler/queue?limit=10&after={next}");
    }
    assert_eq!(seen, waiting);
    let newest = daemon.json("/api/scheduler/events?limit=5");
    assert_eq!(newest["events"].as_array().unwrap().len(), 5);
    let last = status(&daemon)["last_event"].as_u64().unwrap();
    assert_eq!(newest["events"][4]["sequence"].as_u64(), Some(last));
    let mut after = 0;
    let mut count = 0;
    loop {
        let page = daemon.json(&format!("/api/scheduler/events?limit=7&after={after}"));
        count += page["events"].as_array().unwrap().len() as u64;
        match page["next"].as_u64() {
            Some(next) => after = next,
            None => break,
        }
    }
    assert_eq!(count, last);
    let _ = post(&daemon, &format!("lease/{all}/release"), &json!({}));
}

#[test]
fn ten_thousand_heartbeats_disturb_nobody() {
    let daemon = start("");
    let lease_id = grant(&daemon, &request("nas", 10));
    let before = daemon.sequence();
    let address = daemon.address;
    let threads = (0..4).map(|_| {
        let path = format!("/api/scheduler/lease/{lease_id}/heartbeat");
        std::thread::spawn(move || {
            let mut connection = http::Connection::open(address).unwrap();
            for _ in 0..2_500 {
                let answer = connection.request("POST", &path, &[], b"").unwrap();
                assert_eq!(answer.status, 200, "{}", answer.text());
            }
        })
    });
    threads.collect::<Vec<_>>().into_iter().for_each(|thread| thread.join().unwrap());
    daemon.wait_for_tick(before + 2);
    let metrics = eventually("all were heard", || {
        let metrics = daemon.get("/metrics").text();
        metrics.contains("lowtide_lease_heartbeats_total 10000").then_some(metrics)
    });
    assert!(metrics.contains("lowtide_lease_invariant_violations_total 0"));
    assert_eq!(status(&daemon)["last_event"], 2, "and none was written to disk");
}

#[test]
fn a_wall_clock_that_jumps_changes_nothing() {
    // The daemon cannot be given another wall clock without its help: the core's simulations jump it. Here: what is stored of a time that
    // lies in the future is no reason to wait for it.
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let daemon = Launch::with(calm("")).data(&data).start();
    eventually("QUIET", || (daemon.quiet()["state"] == "QUIET").then_some(()));
    let first = grant(&daemon, &request("first", 100));
    let waits = id(&ask(&daemon, &with(request("waits", 100), &json!({ "wait": true, "deadline": "1h" }))));
    drop(daemon);
    let file = rusqlite_edit(&data, &waits);
    assert!(file > 0, "a stored lease was changed");
    let daemon = Launch::with(calm("")).data(&data).start();
    eventually("QUIET", || (daemon.quiet()["state"] == "QUIET").then_some(()));
    ok(&post(&daemon, &format!("lease/{first}/release"), &json!({})));
    assert_eq!(lease(&daemon, &waits)["state"], "active");
}

/// Moves the time of a stored request a year into the future, as if the clock had been set back since.
fn rusqlite_edit(data: &std::path::Path, id: &str) -> usize {
    let (number, _) = id.split_once('-').unwrap();
    let file = rusqlite::Connection::open(data.join("leases.db")).unwrap();
    let year = Duration::from_secs(365 * 86_400).as_millis() as u64;
    let sql = format!(
        "UPDATE lease SET document = json_set(document, '$.requested', json_extract(document, '$.requested') + {year}) WHERE id = {number}"
    );
    file.execute(&sql, []).unwrap()
}
