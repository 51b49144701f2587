//! A disk that is full, a file that another program holds, that is broken or cannot be opened: ticks go on, what is lost is told, and it
//! heals.

use super::{EVERY_TICK, begins_with, check, metric, ticks};
use crate::daemon::{Daemon, Launch, eventually};
use std::fs;
use std::path::Path;

fn begin(data: &Path) -> Daemon {
    let daemon = Launch::with(EVERY_TICK).data(data).start();
    eventually("something is recorded", || {
        (metric(&daemon, "lowtide_history_recorded_ticks_total") >= 2.0).then_some(())
    });
    daemon
}

fn in_trouble(daemon: &Daemon) -> String {
    eventually("history is in trouble", || {
        let (status, detail) = check(daemon);
        (status == "warn" && detail.contains("nothing is kept")).then_some(detail)
    })
}

fn works_again(daemon: &Daemon) {
    eventually("history works", || (metric(daemon, "lowtide_history_storage_works") == 1.0).then_some(()));
    eventually("nothing waits", || (metric(daemon, "lowtide_history_waiting_ticks") == 0.0).then_some(()));
}

#[test]
fn a_full_disk_stops_nothing_and_nothing_is_lost_when_there_is_room_again() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let mut daemon = begin(&data);
    daemon.may_write_files(false);
    in_trouble(&daemon);
    let before = daemon.sequence();
    daemon.wait_for_tick(before + 3);
    assert!(metric(&daemon, "lowtide_history_waiting_ticks") >= 2.0);
    daemon.may_write_files(true);
    works_again(&daemon);
    assert_eq!(metric(&daemon, "lowtide_history_lost_ticks_total"), 0.0);
    let seen = ticks(&daemon, "metric=quiet_score&range=1h");
    daemon.signal(rustix::process::Signal::KILL);
    daemon.wait_for_end();
    let daemon = begin(&data);
    let after = ticks(&daemon, "metric=quiet_score&range=1h");
    // All but the very last ticks were written before the kill.
    let written = seen.get(..seen.len().saturating_sub(2)).unwrap();
    assert!(begins_with(&after, written), "{seen:?} {after:?}");
}

#[test]
fn a_file_that_another_program_holds_delays_neither_ticks_nor_answers() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let daemon = begin(&data);
    let other = rusqlite::Connection::open(data.join("history.db")).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let detail = in_trouble(&daemon);
    assert!(detail.contains("another program"), "{detail}");
    let before = daemon.sequence();
    daemon.wait_for_tick(before + 3);
    assert!(!ticks(&daemon, "metric=quiet_score&range=1d").is_empty(), "what is there can be read");
    other.execute_batch("ROLLBACK").unwrap();
    works_again(&daemon);
    assert_eq!(metric(&daemon, "lowtide_history_lost_ticks_total"), 0.0);
}

#[test]
fn a_broken_file_is_put_aside_and_the_daemon_is_up_and_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let mut daemon = begin(&data);
    daemon.signal(rustix::process::Signal::TERM);
    daemon.wait_for_end();
    let file = data.join("history.db");
    let mut bytes = fs::read(&file).unwrap();
    bytes.iter_mut().skip(20).step_by(7).for_each(|byte| *byte ^= 0x55);
    fs::write(&file, bytes).unwrap();
    let _ = fs::remove_file(data.join("history.db-wal"));
    let daemon = begin(&data);
    assert!(data.join("history.db.corrupt-1").exists(), "the old file is kept");
    assert!(daemon.log().contains("put aside"), "{}", daemon.log());
    let (status, detail) = check(&daemon);
    assert!(status == "warn" && detail.contains("history.db.corrupt-1"), "{status} {detail}");
    assert_eq!(metric(&daemon, "lowtide_history_storage_works"), 1.0);
}

#[test]
fn a_file_that_breaks_while_it_is_used_is_put_aside() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let mut daemon = begin(&data);
    daemon.signal(rustix::process::Signal::TERM);
    daemon.wait_for_end();
    let daemon = begin(&data);
    let file = data.join("history.db");
    let length = fs::metadata(&file).unwrap().len();
    fs::write(&file, vec![0x5A; usize::try_from(length).unwrap()]).unwrap();
    eventually("it is put aside", || {
        // Someone looks at the past meanwhile.
        let _ = daemon.get("/api/system-stats/history?metric=quiet_score&range=1d");
        data.join("history.db.corrupt-1").exists().then_some(())
    });
    works_again(&daemon);
    let before = daemon.sequence();
    daemon.wait_for_tick(before + 2);
    assert!(metric(&daemon, "lowtide_history_series") > 100.0);
}

#[test]
fn a_file_that_cannot_be_opened_leaves_a_daemon_that_says_so_and_tries_again() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    fs::create_dir_all(data.join("history.db")).unwrap();
    let daemon = Launch::with(EVERY_TICK).data(&data).start();
    in_trouble(&daemon);
    let refused = daemon.get("/api/system-stats/history?metric=quiet_score&range=1d");
    assert_eq!((refused.status, refused.problem()["code"].as_str()), (503, Some("history_unavailable")));
    assert!(refused.header("retry-after").is_some());
    fs::remove_dir(data.join("history.db")).unwrap();
    works_again(&daemon);
    assert!(ticks(&daemon, "metric=quiet_score&range=1d").len() >= 2, "what was measured meanwhile is there");
    assert_eq!(metric(&daemon, "lowtide_history_lost_ticks_total"), 0.0);
}
