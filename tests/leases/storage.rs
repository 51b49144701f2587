//! A disk that is full, a file that another program holds, a file that is broken: what is told, what still works, and that it heals.

use super::{ask, calm, grant, ok, post, refused, request, status};
use crate::daemon::{Daemon, Launch, eventually};
use serde_json::json;
use std::fs;
use std::path::Path;

/// A daemon whose leases can be kept from being written by whoever holds the file.
fn begin(data: &Path, leases: &str) -> Daemon {
    let daemon = Launch::with(calm(leases)).data(data).start();
    eventually("QUIET", || (daemon.quiet()["state"] == "QUIET").then_some(()));
    daemon
}

#[test]
fn a_full_disk_grants_nothing_new_and_lets_go_of_what_is_held() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let daemon = begin(&data, "ttl_seconds = 2\n");
    let kept = grant(&daemon, &request("kept", 10));
    let silent = grant(&daemon, &request("silent", 10));
    daemon.may_write_files(false);
    let full = post(&daemon, "lease/request", &request("late", 10));
    let problem = full.problem();
    assert!(
        matches!(problem["code"].as_str(), Some("lease_storage_full" | "leases_unavailable")),
        "{problem}"
    );
    assert!(full.header("retry-after").is_some());
    // Heartbeats are answered, the silent one expires, and what was refused holds nothing.
    eventually("the silent one is gone", || {
        ok(&post(&daemon, &format!("lease/{kept}/heartbeat"), &json!({})));
        let gone = daemon.get(&format!("/api/scheduler/lease/{silent}")).json();
        (gone["state"] == "expired").then_some(())
    });
    let state = status(&daemon);
    assert!(state["storage_problem"].is_string(), "{state}");
    assert_eq!(state["active_count"], 1, "{state}");
    let health = daemon.json("/api/system-stats/health");
    assert_ne!(health["status"], "ok", "{health}");
    assert!(health.to_string().contains("lease"), "{health}");
    // It lets go, although that cannot be written down, and says so.
    refused(&post(&daemon, &format!("lease/{kept}/release"), &json!({})), 507, "lease_ended_unwritten");
    assert_eq!(status(&daemon)["used_units"], 0);
    // Room again.
    daemon.may_write_files(true);
    eventually("it grants again", || {
        let answer = post(&daemon, "lease/request", &request("after", 10));
        (answer.status == 200 && answer.json()["approved"] == true).then_some(())
    });
    let metrics = daemon.get("/metrics").text();
    assert!(metrics.contains("lowtide_lease_invariant_violations_total 0"), "no invariant was broken");
    let log = daemon.json("/api/scheduler/events?after=0&limit=1000");
    let numbers: Vec<u64> =
        log["events"].as_array().unwrap().iter().map(|event| event["sequence"].as_u64().unwrap()).collect();
    assert!(numbers.len() > 4 && numbers.iter().copied().eq(1..=numbers.len() as u64), "{numbers:?}");
}

#[test]
fn a_file_that_another_program_holds_delays_grants_and_not_heartbeats() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let daemon = begin(&data, "");
    let held = grant(&daemon, &request("nas", 10));
    let other = rusqlite::Connection::open(data.join("leases.db")).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let answer = post(&daemon, "lease/request", &request("late", 10));
    refused(&answer, 503, "leases_unavailable");
    assert!(answer.problem()["detail"].as_str().unwrap().contains("another program"), "{}", answer.text());
    ok(&post(&daemon, &format!("lease/{held}/heartbeat"), &json!({})));
    let before = daemon.sequence();
    daemon.wait_for_tick(before + 2);
    assert_eq!(status(&daemon)["active_count"], 1, "what was refused holds nothing");
    other.execute_batch("ROLLBACK").unwrap();
    eventually("it grants again", || {
        let answer = post(&daemon, "lease/request", &request("late", 10));
        (answer.status == 200).then_some(())
    });
}

#[test]
fn a_broken_file_is_put_aside_and_no_token_is_given_out_twice() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let daemon = begin(&data, "");
    let token = ask(&daemon, &request("nas", 10))["fencing_token"].as_u64().unwrap();
    drop(daemon);
    let file = data.join("leases.db");
    let mut bytes = fs::read(&file).unwrap();
    bytes.iter_mut().skip(20).step_by(7).for_each(|byte| *byte ^= 0x55);
    fs::write(&file, bytes).unwrap();
    let _ = fs::remove_file(data.join("leases.db-wal"));
    let daemon = begin(&data, "");
    assert!(daemon.log().contains("put aside"), "{}", daemon.log());
    assert!(data.join("leases.db.corrupt-1").exists(), "the old file is kept");
    let state = status(&daemon);
    assert_eq!((&state["active_count"], &state["epoch"]), (&0.into(), &2.into()), "{state}");
    let after = ask(&daemon, &request("nas", 10))["fencing_token"].as_u64().unwrap();
    assert!(after > token + (1 << 32), "{after} after {token}");
}

#[test]
fn a_file_that_cannot_be_opened_leaves_a_daemon_that_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    fs::create_dir_all(data.join("leases.db")).unwrap();
    let daemon = Launch::with(calm("")).data(&data).start();
    refused(&post(&daemon, "lease/request", &request("nas", 10)), 503, "leases_unavailable");
    refused(&daemon.get("/api/scheduler/status"), 503, "leases_unavailable");
    let health = daemon.json("/api/system-stats/health");
    assert!(health.to_string().contains("lease"), "{health}");
    fs::remove_dir(data.join("leases.db")).unwrap();
    eventually("it works", || (daemon.get("/api/scheduler/status").status == 200).then_some(()));
}

#[test]
fn a_garbled_lease_stops_grants_rather_than_forgets_it() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let daemon = begin(&data, "");
    grant(&daemon, &request("nas", 10));
    drop(daemon);
    let file = rusqlite::Connection::open(data.join("leases.db")).unwrap();
    file.execute("UPDATE lease SET document = '{}'", []).unwrap();
    drop(file);
    let daemon = Launch::with(calm("")).data(&data).start();
    let problem = refused(&post(&daemon, "lease/request", &request("nas", 10)), 503, "leases_unavailable");
    assert!(problem["detail"].as_str().unwrap().contains("cannot be read"), "{problem}");
}
