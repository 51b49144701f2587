//! Tests of opening: modes, newer and older schemas, corrupt files, folders that cannot be written.

use super::*;
use crate::{KvQuota, Store};
use std::os::unix::fs::symlink;

const ROOMY: KvQuota = KvQuota { bytes: 1 << 20, keys: 1_000 };

fn folder() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("lowtide.db");
    (folder, path)
}

fn filled(path: &Path) {
    let store = Store::open(path).unwrap();
    for number in 0..40 {
        store.kv_set("one", &format!("key {number}"), &[7; 500], ROOMY).unwrap();
    }
}

#[test]
fn nobody_else_reads_the_files() {
    let (folder, path) = folder();
    fs::write(&path, b"").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    let store = Store::open(&path).unwrap();
    store.kv_set("one", "key", b"", ROOMY).unwrap();
    let files: Vec<_> = fs::read_dir(folder.path()).unwrap().map(Result::unwrap).collect();
    assert!(files.len() > 1, "the log is there");
    for file in files {
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{:?}", file.file_name());
    }
}

#[test]
fn commits_reach_the_disk() {
    let (_folder, path) = folder();
    let connection = open(&path, crate::kv::SCHEMA, Durability::EachCommit, None).unwrap().connection;
    let pragma = |name: &str| {
        connection.pragma_query_value(None, name, |row| row.get::<_, rusqlite::types::Value>(0)).unwrap()
    };
    assert_eq!(pragma("journal_mode"), "wal".to_owned().into());
    assert_eq!(pragma("synchronous"), 2.into());
    assert_eq!(pragma("user_version"), 1.into());
}

#[test]
fn a_file_of_a_newer_version_is_left_alone() {
    let (folder, path) = folder();
    filled(&path);
    Connection::open(&path).unwrap().pragma_update(None, "user_version", 7).unwrap();
    let before = fs::read(&path).unwrap();
    let error = Store::open(&path).unwrap_err();
    assert_eq!(error, StoreError::Newer { path: path.clone(), found: 7, known: 1 });
    assert!(error.to_string().contains("schema 7, this version knows up to 1"), "{error}");
    assert_eq!(fs::read(&path).unwrap(), before);
    assert_eq!(
        fs::read_dir(folder.path()).unwrap().filter(|file| file.as_ref().unwrap().path() != path).count(),
        0
    );
}

#[test]
fn steps_run_once_in_order_and_a_failed_one_leaves_the_last_whole() {
    let (_folder, path) = folder();
    let mut connection = Connection::open(&path).unwrap();
    let version = |connection: &Connection| {
        connection.pragma_query_value(None, "user_version", |row| row.get::<_, i64>(0)).unwrap()
    };
    let steps = ["CREATE TABLE a (x) STRICT", "CREATE TABLE a (x INT) STRICT"];
    let steps =
        [steps[1], "INSERT INTO a VALUES (1)", "INSERT INTO a VALUES (2); INSERT INTO missing VALUES (3)"];
    assert!(migrate(&mut connection, &path, &steps).is_err());
    assert_eq!(version(&connection), 2);
    let rows = |connection: &Connection| {
        connection.query_row("SELECT count(*) FROM a", [], |row| row.get::<_, i64>(0)).unwrap()
    };
    assert_eq!(rows(&connection), 1, "what the failed step did is undone");
    let steps = [steps[0], steps[1], "INSERT INTO a VALUES (2)"];
    for _ in 0..2 {
        assert!(migrate(&mut connection, &path, &steps).is_ok());
        assert_eq!((version(&connection), rows(&connection)), (3, 2));
    }
}

#[test]
fn a_corrupt_file_is_put_aside_and_said() {
    let (folder, path) = folder();
    for number in 1..=limits::QUARANTINES_MAX + 2 {
        let junk = format!("this was never a database {number} ").repeat(400);
        fs::write(&path, &junk).unwrap();
        fs::write(beside(&path, "-wal"), b"log").unwrap();
        let store = Store::open(&path).unwrap();
        let quarantine = store.quarantine().unwrap();
        let expected = number.min(limits::QUARANTINES_MAX);
        assert_eq!(quarantine.moved_to, folder.path().join(format!("lowtide.db.corrupt-{expected}")));
        assert_eq!(fs::read_to_string(&quarantine.moved_to).unwrap(), junk);
        assert!(quarantine.reason.contains("not a database"), "{}", quarantine.reason);
        store.kv_set("one", "key", b"works", ROOMY).unwrap();
        drop(store);
        assert_eq!(Store::open(&path).unwrap().quarantine(), None);
    }
}

#[test]
fn no_damage_brings_it_down() {
    let (_folder, path) = folder();
    filled(&path);
    let sound = fs::read(&path).unwrap();
    let mut put_aside = 0;
    // A fixed sequence (the constants of Knuth's MMIX).
    let mut random = 1_u64;
    let mut next = |below: usize| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(random >> 33).unwrap() % below
    };
    for case in 0..120 {
        let (folder, path) = self::folder();
        let mut damaged = sound.clone();
        if case % 4 == 0 {
            damaged.truncate(next(sound.len()));
        } else {
            for _ in 0..=next(30) {
                damaged[next(sound.len())] = u8::try_from(next(256)).unwrap();
            }
        }
        fs::write(&path, &damaged).unwrap();
        let store = match Store::open(&path) {
            Ok(store) => store,
            // The number of the schema was hit.
            Err(StoreError::Newer { .. }) => continue,
            Err(error) => panic!("case {case}: {error}"),
        };
        put_aside += usize::from(store.quarantine().is_some());
        // A file whose damage shows only here is opened anew, and put aside, at the next call.
        let tries = [(); 3].map(|()| store.kv_set("one", "key", b"again", ROOMY).is_ok());
        assert!(tries.contains(&true), "case {case}: {:?}", store.kv_set("one", "key", b"again", ROOMY));
        drop(folder);
    }
    assert!(put_aside > 60, "{put_aside}");
}

#[test]
fn damage_while_running_is_found_at_the_next_call() {
    let (_folder, path) = folder();
    let store = Store::open(&path).unwrap();
    for number in 0..400 {
        store.kv_set("one", &format!("key {number}"), &[7; 2_000], ROOMY).unwrap();
    }
    // Nothing of it may be left in the log or in memory.
    store
        .file
        .with(|connection| {
            Ok(connection.execute_batch("PRAGMA wal_checkpoint(TRUNCATE); PRAGMA shrink_memory")?)
        })
        .unwrap();
    let length = usize::try_from(fs::metadata(&path).unwrap().len()).unwrap();
    fs::write(&path, vec![0x5a; length]).unwrap();
    assert!(matches!(store.kv_list("one", "", 1_000), Err(StoreError::Unavailable(_))));
    store.kv_set("one", "key", b"fresh", ROOMY).unwrap();
    assert_eq!(store.kv_list("one", "", 1_000).unwrap(), ["key"]);
    assert!(store.quarantine().is_some());
}

#[test]
fn a_place_that_cannot_be_written_is_an_error_in_words() {
    let (folder, path) = folder();
    let words = |path: &Path| match Store::open(path) {
        Err(StoreError::Unavailable(text)) => text,
        other => panic!("{other:?}"),
    };
    let text = words(&folder.path().join("missing/lowtide.db"));
    assert!(
        text.contains("no such file")
            && text.ends_with("check that its folder is there and that the daemon may write to it"),
        "{text}"
    );
    words(folder.path());
    symlink("/proc/lowtide.db", &path).unwrap();
    words(&path);
    // The superuser may write anywhere; the folder of processes refuses even it.
    let read_only = folder.path().join("read-only");
    fs::create_dir(&read_only).unwrap();
    fs::set_permissions(&read_only, fs::Permissions::from_mode(0o500)).unwrap();
    if fs::write(read_only.join("try"), b"").is_err() {
        words(&read_only.join("lowtide.db"));
    }
}

#[test]
fn a_file_that_another_program_holds_is_busy_and_not_lost() {
    let (_folder, path) = folder();
    let store = Store::open(&path).unwrap();
    let other = Connection::open(&path).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let error = store.kv_set("one", "key", b"", ROOMY).unwrap_err();
    assert!(error.to_string().contains("another program holds it"), "{error}");
    assert_eq!(store.kv_get("one", "key").unwrap(), None, "reading goes on");
    other.execute_batch("COMMIT").unwrap();
    store.kv_set("one", "key", b"", ROOMY).unwrap();
}
