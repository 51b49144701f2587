//! Tests of keys and values: what survives, what the quota holds, and who sees what.

use super::*;
use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};
use std::thread;

const ROOMY: KvQuota = KvQuota { bytes: 1 << 20, keys: 1_000 };

fn store() -> (tempfile::TempDir, Store) {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join("lowtide.db")).unwrap();
    (folder, store)
}

#[test]
fn what_was_set_is_there_after_opening_again() {
    let (folder, store) = store();
    store.kv_set("one", "cursor", b"1", ROOMY).unwrap();
    store.kv_set("one", "cursor", b"", ROOMY).unwrap();
    store.kv_set("one", "nul\0 and ü", &[0, 255], ROOMY).unwrap();
    store.kv_set("one", "gone", b"x", ROOMY).unwrap();
    store.kv_delete("one", "gone").unwrap();
    store.kv_delete("one", "never there").unwrap();
    drop(store);
    let store = Store::open(&folder.path().join("lowtide.db")).unwrap();
    assert_eq!(store.kv_get("one", "cursor").unwrap().unwrap(), b"");
    assert_eq!(store.kv_get("one", "nul\0 and ü").unwrap().unwrap(), [0, 255]);
    assert_eq!(store.kv_get("one", "gone").unwrap(), None);
    assert_eq!(store.kv_usage("one").unwrap(), KvQuota { bytes: 6 + 11 + 2, keys: 2 });
    assert_eq!(store.quarantine(), None);
}

#[test]
fn no_addon_sees_what_another_has() {
    let (_folder, store) = store();
    store.kv_set("a", "key", b"of a", ROOMY).unwrap();
    store.kv_set("a-b", "key", b"of a-b", ROOMY).unwrap();
    assert_eq!(store.kv_get("a", "key").unwrap().unwrap(), b"of a");
    assert_eq!(store.kv_get("b", "key").unwrap(), None);
    assert!(store.kv_list("b", "", 10).unwrap().is_empty());
    store.kv_delete("b", "key").unwrap();
    assert_eq!(store.kv_clear("a").unwrap(), 1);
    assert_eq!(store.kv_list("a", "", 10).unwrap(), Vec::<String>::new());
    assert_eq!(store.kv_list("a-b", "", 10).unwrap(), ["key"]);
    assert_eq!(store.kv_usage("a").unwrap(), KvQuota::default());
}

#[test]
fn a_prefix_is_taken_by_the_letter() {
    let (_folder, store) = store();
    let all =
        ["%", "%a", "A", "a", "a%", "a*", "a_", "a_b", "aa", "ab", "b", "z\u{10ffff}", "ü", "\u{10ffff}"];
    for key in all {
        store.kv_set("one", key, b"", ROOMY).unwrap();
    }
    for prefix in ["", "a", "a_", "a%", "a*", "%", "_", "ü", "z", "\u{10ffff}", "aaa", "c", "A"] {
        let mut expected: Vec<_> = all.into_iter().filter(|key| key.starts_with(prefix)).collect();
        expected.sort_unstable();
        assert_eq!(store.kv_list("one", prefix, 100).unwrap(), expected, "{prefix}");
    }
    assert_eq!(store.kv_list("one", "a", 2).unwrap(), ["a", "a%"]);
}

#[test]
fn the_quota_is_exact_and_a_refused_write_changes_nothing() {
    let (_folder, store) = store();
    let quota = KvQuota { bytes: 100, keys: 3 };
    store.kv_set("one", "a", &[1; 48], quota).unwrap();
    store.kv_set("one", "b", &[1; 50], quota).unwrap();
    assert_eq!(store.kv_usage("one").unwrap(), KvQuota { bytes: 100, keys: 2 });
    let full = |key: &str, length: usize| {
        matches!(store.kv_set("one", key, &vec![2; length], quota), Err(StoreError::Quota(_)))
    };
    assert!(full("c", 0), "its name is one byte too many");
    assert!(full("b", 51));
    assert_eq!(store.kv_get("one", "b").unwrap().unwrap(), [1; 50]);
    // What another has does not count.
    store.kv_set("other", "a", &[0; 99], quota).unwrap();
    // Replacing by as much is not growing.
    store.kv_set("one", "b", &[3; 50], quota).unwrap();
    store.kv_set("one", "b", b"", quota).unwrap();
    store.kv_set("one", "c", b"", quota).unwrap();
    assert!(full("d", 0), "a fourth key");
    store.kv_delete("one", "c").unwrap();
    store.kv_set("one", "d", &[2; 49], quota).unwrap();
    assert_eq!(store.kv_usage("one").unwrap(), KvQuota { bytes: 100, keys: 3 });
    // A quota that was lowered lets the addon shrink, and not grow.
    let lowered = KvQuota { bytes: 10, keys: 1 };
    store.kv_set("one", "d", &[2; 40], lowered).unwrap();
    assert!(matches!(store.kv_set("one", "d", &[2; 41], lowered), Err(StoreError::Quota(_))));
}

#[test]
fn the_quota_holds_among_many_writers() {
    let (folder, store) = store();
    let other = Store::open(&folder.path().join("lowtide.db")).unwrap();
    let quota = KvQuota { bytes: 1_000, keys: 20 };
    thread::scope(|scope| {
        for writer in 0..4 {
            let store = if writer % 2 == 0 { &store } else { &other };
            scope.spawn(move || {
                for key in 0..10 {
                    match store.kv_set("one", &format!("{writer}-{key}"), b"x", quota) {
                        Ok(()) | Err(StoreError::Quota(_)) => {}
                        Err(error) => panic!("{error}"),
                    }
                }
            });
        }
    });
    assert_eq!(store.kv_usage("one").unwrap(), KvQuota { bytes: 80, keys: 20 });
}

/// Not a test of its own: the process that the next one kills.
#[test]
fn writer_to_be_killed() {
    let Some(path) = std::env::var_os("LOWTIDE_TEST_STORE") else { return };
    let start: usize = std::env::var("LOWTIDE_TEST_START").unwrap().parse().unwrap();
    let store = Store::open(path.as_ref()).unwrap();
    for number in start.. {
        let key = format!("{number:06}");
        store
            .kv_set("one", &key, key.repeat(50).as_bytes(), KvQuota { bytes: usize::MAX, keys: usize::MAX })
            .unwrap();
        println!("\nset {number}");
    }
}

#[test]
fn what_was_acknowledged_survives_kill_9() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("lowtide.db");
    let mut acknowledged = BTreeSet::new();
    for cycle in 1..=12 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "kv::tests::writer_to_be_killed", "--nocapture"])
            .env("LOWTIDE_TEST_STORE", &path)
            .env("LOWTIDE_TEST_START", (cycle * 10_000).to_string())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap());
        let number =
            |line: &str| line.strip_prefix("set ").and_then(|number| number.trim().parse::<usize>().ok());
        let mut seen = 0;
        let mut line = String::new();
        // A different place each time.
        while seen < cycle * 7 {
            line.clear();
            assert!(lines.read_line(&mut line).unwrap() > 0, "the writer ended by itself");
            if let Some(number) = number(&line) {
                acknowledged.insert(number);
                seen += 1;
            }
        }
        child.kill().unwrap();
        child.wait().unwrap();
        let mut rest = String::new();
        lines.read_to_string(&mut rest).unwrap();
        // The last line may be half of one.
        acknowledged
            .extend(rest.split_inclusive('\n').filter(|line| line.ends_with('\n')).filter_map(number));

        let store = Store::open(&path).unwrap();
        assert_eq!(store.quarantine(), None);
        let kept = store.kv_list("one", "", usize::MAX).unwrap();
        for number in &acknowledged {
            let key = format!("{number:06}");
            assert!(kept.contains(&key), "{key} was acknowledged and is gone");
            assert_eq!(store.kv_get("one", &key).unwrap().unwrap(), key.repeat(50).as_bytes());
        }
        // At most the one that was being written when it was killed is there besides, each time.
        assert!(kept.len() <= acknowledged.len() + cycle);
    }
}

#[test]
fn counting_the_quota_is_cheap_beside_the_write() {
    let (_folder, store) = store();
    for number in 0..1_000 {
        store.kv_set("one", &format!("{number}"), &[0; 1_000], ROOMY).unwrap();
    }
    let plan: String = store
        .file
        .with(|connection| {
            Ok(connection.query_row(&format!("EXPLAIN QUERY PLAN {USAGE}"), ["one"], |row| row.get(3))?)
        })
        .unwrap();
    assert!(plan.contains("COVERING INDEX addon_kv_bytes"), "{plan}");
}
