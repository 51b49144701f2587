//! `lowtide lease`: what is printed, and the exit codes that scripts go by.

use super::{ok, post, start, status};
use crate::cli::{Ended, run_in};
use crate::daemon::{Daemon, eventually};
use serde_json::json;

fn lease(daemon: &Daemon, arguments: &[&str]) -> Ended {
    lease_at(&daemon.url(), arguments)
}

fn lease_at(url: &str, arguments: &[&str]) -> Ended {
    let folder = tempfile::tempdir().unwrap();
    let all: Vec<&str> = ["lease"].iter().chain(arguments).copied().collect();
    run_in(folder.path(), &[("LOWTIDE_URL", url), ("USER", "anna")], &all)
}

#[test]
fn a_script_asks_heartbeats_and_gives_back() {
    let daemon = start("");
    let asked = lease(&daemon, &["request", "backup", "--cost", "40", "--key", "monday"]);
    assert_eq!(asked.code, 0, "{}", asked.err);
    let id = asked.out.trim();
    assert!(id.contains('-') && !id.contains(char::is_whitespace), "the id alone: {:?}", asked.out);
    assert_eq!(lease(&daemon, &["request", "backup", "--cost", "40", "--key", "monday"]).out, asked.out);
    let told = lease(&daemon, &["heartbeat", id]);
    assert_eq!((told.code, told.out.as_str()), (0, "continue\n"));
    let list = lease(&daemon, &["list"]);
    assert!(
        list.out.contains("40 of 100 units held by 1 lease") && list.out.contains("anna backup"),
        "{}",
        list.out
    );
    let released = lease(&daemon, &["release", id, "--note", "all well"]);
    assert_eq!(released.code, 0);
    assert!(released.out.contains("released") && released.out.contains("all well"), "{}", released.out);
    assert_eq!(lease(&daemon, &["release", id]).code, 0, "twice is as good as once");
    let late = lease(&daemon, &["heartbeat", id]);
    assert_eq!(late.code, 1);
    assert!(late.err.contains("released"), "{}", late.err);
    let story = lease(&daemon, &["explain", id]);
    assert!(
        story.out.contains("decided by quiet on snapshot")
            && story.out.contains("granted: the host is QUIET"),
        "{}",
        story.out
    );
    assert_eq!(lease(&daemon, &["heartbeat", "1-0000000000000000"]).code, 64);
    assert_eq!(lease(&daemon, &["request", "back up"]).code, 64);
    let json = lease(&daemon, &["request", "scrub", "--json"]).json();
    assert_eq!(json["approved"], true);
}

#[test]
fn a_denial_says_why_and_ends_with_75() {
    let daemon = start("");
    let set = lease(&daemon, &["override", "block", "--reason", "moving disks", "--for", "2h"]);
    assert!(set.out.starts_with("block until") && set.out.contains("by anna: moving disks"), "{}", set.out);
    let denied = lease(&daemon, &["request", "backup"]);
    assert_eq!((denied.code, denied.out.as_str()), (75, ""));
    assert!(denied.err.contains("denied (blocked)") && denied.err.contains("ask again in"), "{}", denied.err);
    assert!(denied.err.contains("anna blocks heavy work: moving disks"), "{}", denied.err);
    let why = lease(&daemon, &["explain", "anna"]);
    assert!(why.out.contains("denied 1 since") && why.out.contains("moving disks"), "{}", why.out);
    let short = lease(&daemon, &["request", "backup", "--wait", "1"]);
    assert_eq!(short.code, 75);
    assert!(
        short.err.contains("waiting as") && short.err.contains("place 1") && short.err.contains("timed_out"),
        "{}",
        short.err
    );
    assert_eq!(lease(&daemon, &["override", "clear"]).out, "no override: the machine decides\n");
    assert_eq!(lease(&daemon, &["override"]).out, "no override: the machine decides\n");
    assert_eq!(lease(&daemon, &["request", "backup"]).code, 0);
}

#[test]
fn who_waits_gets_it_when_it_is_free_and_who_is_revoked_is_told() {
    let daemon = start("");
    let first = lease(&daemon, &["request", "scrub", "--cost", "100"]).out.trim().to_owned();
    let address = daemon.address;
    let url = daemon.url();
    let waiting = {
        let waits =
            std::thread::spawn(move || lease_at(&url, &["request", "backup", "--wait", "--priority", "low"]));
        eventually("it waits", || (status(&daemon)["queued_count"] == 1).then_some(()));
        let revoked = lease(&daemon, &["revoke", &first, "--reason", "the UPS is on battery"]);
        assert!(revoked.out.contains("revoking"), "{}", revoked.out);
        let told = lease(&daemon, &["heartbeat", &first]);
        assert_eq!(told.code, 75);
        assert!(told.out.starts_with("revoke within") && told.out.contains("UPS"), "{}", told.out);
        ok(&super::send(address, "POST", &format!("lease/{first}/release"), &json!({})));
        waits.join().unwrap()
    };
    assert_eq!(waiting.code, 0, "{}", waiting.err);
    let id = waiting.out.trim();
    ok(&post(&daemon, &format!("lease/{id}/heartbeat"), &json!({})));
}
