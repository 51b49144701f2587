//! Tests of the file of leases: what is committed is there, whole batches or nothing, and the log reads in pages.

use super::*;
use lowtide_core::lease::{
    Constraints, Decision, Ending, Event, Ledger, Phase, Policy, Priority, Request, Rule, Usage,
};
use lowtide_core::units::{MonoTime, Now};
use std::time::Duration;

fn request(holder: &str) -> Request {
    Request {
        holder: holder.into(),
        job_type: "backup".into(),
        units: 10,
        priority: Priority::Low,
        expected_duration: Duration::from_secs(60),
        constraints: Constraints { disk_write_heavy: true, ..Constraints::default() },
        pausable: true,
        max_freeze: Duration::from_secs(600),
        deadline: Some(Duration::from_secs(3_600)),
        wait: true,
        wait_max: None,
        owner_units_max: None,
        key: Some("monday".into()),
    }
}

fn decision(rule: Rule) -> Decision {
    Decision {
        rule,
        sequence: Some(7),
        score: Some(90),
        level: Some(lowtide_core::quiet::Level::Quiet),
        used: 0,
        capacity: 100,
        reasons: Arc::default(),
        retry_after: Some(Duration::from_secs(2)),
    }
}

/// The ledger after these events, and the batch that they make.
fn grown(ledger: &mut Ledger, events: Vec<Event>) -> Batch {
    let now = Now { mono: MonoTime(Duration::from_secs(5)), wall: WallTime(1_000) };
    let mut batch = Batch::default();
    for event in events {
        let record = Record { sequence: ledger.sequence() + 1, at: now.wall, event };
        ledger.apply(now.mono.into(), &record, Policy::default().ttl);
        let touched = record.event.lease().and_then(|id| ledger.get(id));
        batch.leases.extend(touched.map(|entry| Arc::clone(&entry.lease)));
        batch.records.push(Arc::new(record));
    }
    batch.meta = ledger.meta().clone();
    batch
}

fn life() -> Vec<Event> {
    let id = LeaseId(1);
    let window = Window {
        name: "nights".into(),
        mode: lowtide_core::lease::Mode::Allow,
        days: [true; 7],
        from: 60,
        to: 300,
    };
    let ending = Ending::Released {
        note: "all well".into(),
        usage: Usage { cpu_seconds: Some(1.5), ..Usage::default() },
    };
    vec![
        Event::Restarted { token: Token(41), epoch: 1 },
        Event::Queued {
            id,
            secret: u64::MAX,
            request: request("restic"),
            decision: decision(Rule::NotQuiet),
        },
        Event::Granted { id, token: Token(42), asked: None, decision: decision(Rule::Quiet) },
        Event::Paused { id, why: "BUSY".into() },
        Event::Resumed { id },
        Event::Resized { id, units: 5, why: "BUSY".into() },
        Event::Ended { id, ending },
        Event::Granted {
            id: LeaseId(2),
            token: Token(43),
            asked: Some((3, request("borg"))),
            decision: decision(Rule::Deadline),
        },
        Event::Revoking { id: LeaseId(2), why: "maintenance".into(), grace: Duration::from_millis(1_500) },
        Event::Windows { windows: vec![window] },
        Event::Overridden { switch: None },
    ]
}

#[test]
fn what_was_committed_is_loaded_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("leases.db");
    let store = LeaseStore::open(&path).unwrap();
    assert_eq!(store.load().unwrap(), Stored::default());
    let mut ledger = Ledger::default();
    let mut batch = grown(&mut ledger, life());
    batch.runs = vec![(("restic".into(), "backup".into()), WallTime(1_000))];
    store.commit(&batch).unwrap();
    drop(store);
    let store = LeaseStore::open(&path).unwrap();
    let stored = store.load().unwrap();
    let (leases, meta, runs) = ledger.stored();
    assert_eq!((stored.meta, stored.runs), (meta, runs));
    assert_eq!(stored.leases.into_iter().map(Arc::new).collect::<Vec<_>>(), leases);
    assert!(
        matches!(leases[0].phase, Phase::Ended { .. }) && matches!(leases[1].phase, Phase::Revoking { .. })
    );
    let log: Vec<Arc<Record>> = store.events(0, 100, None).unwrap().into_iter().map(Arc::new).collect();
    assert_eq!(log, batch.records);
}

#[test]
fn the_log_is_read_in_pages_by_lease_and_from_its_end() {
    let folder = tempfile::tempdir().unwrap();
    let store = LeaseStore::open(&folder.path().join("leases.db")).unwrap();
    store.commit(&grown(&mut Ledger::default(), life())).unwrap();
    let numbers = |records: Vec<Record>| records.iter().map(|record| record.sequence).collect::<Vec<_>>();
    assert_eq!(numbers(store.events(3, 2, None).unwrap()), [4, 5]);
    assert_eq!(numbers(store.events(0, 100, Some(LeaseId(2))).unwrap()), [8, 9]);
    assert_eq!(numbers(store.newest_events(10, 3).unwrap()), [10, 9, 8]);
    assert_eq!(numbers(store.events(99, 10, None).unwrap()), Vec::<u64>::new());
}

#[test]
fn a_batch_is_there_as_a_whole_or_not_at_all() {
    let folder = tempfile::tempdir().unwrap();
    let store = LeaseStore::open(&folder.path().join("leases.db")).unwrap();
    let mut ledger = Ledger::default();
    let batch = grown(&mut ledger, life());
    store.commit(&batch).unwrap();
    let before = store.load().unwrap();
    let mut again = batch.clone();
    again.meta.last_token = Token(1_000);
    again.forgotten = vec![LeaseId(1)];
    // The numbers of its events are taken: the last of what it writes would have been the new numbers.
    assert!(store.commit(&again).is_err());
    assert_eq!(store.load().unwrap(), before);
    let forget = Batch {
        forgotten: vec![LeaseId(1)],
        drop_events_to: 5,
        meta: before.meta.clone(),
        ..Batch::default()
    };
    store.commit(&forget).unwrap();
    assert_eq!(store.load().unwrap().leases.len(), 1);
    assert_eq!(store.events(0, 1, None).unwrap()[0].sequence, 6);
}

#[test]
fn what_is_not_a_lease_is_told_and_not_guessed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("leases.db");
    let store = LeaseStore::open(&path).unwrap();
    store.commit(&grown(&mut Ledger::default(), life())).unwrap();
    let other = Connection::open(&path).unwrap();
    other.execute("UPDATE lease SET document = '{}' WHERE id = 1", []).unwrap();
    let error = store.load().unwrap_err().to_string();
    assert!(error.contains("leases.db") && error.contains("cannot be read"), "{error}");
}

#[test]
fn a_full_disk_is_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("leases.db");
    let store = LeaseStore::open(&path).unwrap();
    store
        .file
        .with(|connection| {
            let pages: i64 = connection.query_row("PRAGMA page_count", [], |row| row.get(0))?;
            connection.query_row(&format!("PRAGMA max_page_count = {pages}"), [], |_| Ok(()))?;
            Ok(())
        })
        .unwrap();
    let mut ledger = Ledger::default();
    let mut batch = grown(&mut ledger, life());
    let long = request(&"x".repeat(20_000));
    let asked = Some((1, long));
    let event = Event::Granted { id: LeaseId(9), token: Token(99), asked, decision: decision(Rule::Quiet) };
    batch.records.push(Arc::new(Record { sequence: ledger.sequence() + 1, at: WallTime(1), event }));
    assert!(matches!(store.commit(&batch), Err(StoreError::Full(_))), "{:?}", store.commit(&batch));
}

/// The log and the leases as the first version with leases wrote them: a file of it must be read for ever.
#[test]
fn what_the_first_version_wrote_is_still_read() {
    let mut ledger = Ledger::default();
    let batch = grown(&mut ledger, life());
    let (events, leases) = (include_str!("events_0_1.jsonl"), include_str!("leases_0_1.jsonl"));
    let old: Vec<Arc<Record>> =
        events.lines().map(|line| Arc::new(serde_json::from_str(line).unwrap())).collect();
    assert_eq!(old, batch.records);
    let old: Vec<Arc<Lease>> =
        leases.lines().map(|line| Arc::new(serde_json::from_str(line).unwrap())).collect();
    assert_eq!(old, ledger.stored().0);
}
