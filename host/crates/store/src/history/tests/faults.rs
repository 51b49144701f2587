//! Disks that are full, broken or read-only for a while, through the same VFS: it is said, nothing is half done, and when the disk is well
//! again so is the store.

use super::crash::*;
use super::*;
use crate::shim::{Call, Cut, Disk, Fault, Random, Recording, replace};
use rusqlite::ffi;

/// What is done to a file, and what may be done to the answers.
struct Act {
    name: &'static str,
    before: fn(&Path, &mut Expected),
    call: fn(&mut HistoryStore) -> Result<(), StoreError>,
    after: fn(&mut Expected),
}

fn late_ticks() -> Vec<Tick> {
    morning(3, 5)
}

const ACTS: [Act; 6] = [
    Act {
        name: "append",
        before: |path, expected| drop(mornings(path, expected, 3, 20)),
        call: |store| store.append(&frames(&morning(2, 30)[20..])),
        after: |expected| expected.ticks.extend_from_slice(&morning(2, 30)[20..]),
    },
    Act {
        name: "append across midnight",
        before: |path, expected| drop(mornings(path, expected, 3, 20)),
        call: |store| store.append(&frames(&late_ticks())),
        after: |expected| expected.ticks.extend(late_ticks()),
    },
    Act {
        name: "compact",
        before: |path, expected| drop(mornings(path, expected, 1, 300)),
        call: |store| store.compact(START + DAY_MS),
        after: |_| {},
    },
    Act {
        name: "roll up",
        before: |path, expected| drop(mornings(path, expected, 2, 60)),
        call: |store| store.roll_up(START + DAY_MS).map(|rolled| assert!(rolled)),
        after: |expected| expected.rolled.push(DAY),
    },
    Act {
        name: "forget samples",
        before: |path, expected| rolled_mornings(path, expected, 2, 60),
        call: |store| {
            let kept = store.forget(&Keep { raw_days: 0, rollup_days: 365, bytes_max: 1 << 30 })?;
            assert_eq!(kept.raw_days, 1);
            Ok(())
        },
        after: |expected| expected.raw_gone.push(DAY),
    },
    Act {
        name: "forget roll-ups",
        before: |path, expected| rolled_mornings(path, expected, 2, 60),
        call: |store| {
            let kept = store.forget(&Keep { raw_days: 365, rollup_days: 1, bytes_max: 1 << 30 })?;
            assert_eq!(kept.rollup_days, 1);
            Ok(())
        },
        after: |expected| expected.rolled.retain(|day| *day != DAY),
    },
];

/// Plays an act with each of its calls failing in turn, once or until the disk is mended, then with what comes after on a sound disk.
/// Returns how many failed.
fn every_call_fails(call: Call, code: i32, told: impl Fn(&StoreError) -> bool) -> usize {
    let mut failed = 0;
    for act in &ACTS {
        for (times, syncs) in [(usize::MAX, false), (1, false), (usize::MAX, true), (1, true)] {
            for after in 0.. {
                let what = format!("{}, {call:?} {after} fails {times} times", act.name);
                let mut scene = Scene::begin(act.before);
                let before = scene.content();
                let step: fn(&mut HistoryStore) -> Result<(), StoreError> = if syncs {
                    // The act goes well, and the sync after it does not.
                    (act.call)(scene.store()).unwrap();
                    |store| store.sync().map(drop)
                } else {
                    act.call
                };
                let should = if syncs { scene.content() } else { before };
                scene.disk.fail(Fault { call, after, times, code });
                let result = step(scene.store());
                let error = match result {
                    Ok(()) => {
                        assert_eq!(scene.disk.mend(), 0, "{what}: what failed was not said");
                        break;
                    }
                    Err(error) => error,
                };
                assert!(told(&error), "{what}: {error:?}");
                if times > 1 {
                    let again = step(scene.store()).expect_err(&what);
                    assert!(told(&again), "{what}: {again:?}");
                }
                assert!(scene.disk.mend() > 0, "{what}: {error}");
                failed += 1;
                assert_eq!(scene.content(), should, "{what}: something was half done");
                sound(scene.store(), &what);

                step(scene.store()).unwrap();
                (act.after)(&mut scene.expected);
                let expected = scene.expected.clone();
                sound(scene.store(), &what);
                agrees(scene.store(), &expected, &what);
                let synced = scene.store().sync().unwrap();
                assert_eq!(synced.moved_pages, synced.logged_pages, "{what}");
                let content = scene.content();
                scene.store.take();
                let recording = scene.disk.take();
                // The power goes now: what was synced at last is there, whatever failed before.
                shows(&recording, &content, &what);
            }
        }
    }
    failed
}

/// After a power cut at the end of it, which takes all that was not synced, the file is this one.
fn shows(recording: &Recording, content: &Content, what: &str) {
    let folder = tempfile::tempdir().unwrap();
    let _disk = Disk::hasty();
    replace(folder.path(), &recording.cut(recording.len(), Cut::Nothing, &mut Random(1)));
    let mut store = HistoryStore::open(&folder.path().join("history.db")).unwrap();
    assert_eq!(store.quarantine(), None, "{what}");
    assert_eq!(crash::content(&mut store), *content, "{what}");
    sound(&mut store, what);
}

#[test]
fn a_full_disk_is_said_and_leaves_nothing_half_done() {
    let full = |error: &StoreError| matches!(error, StoreError::Full(text) if text.ends_with("make room on the disk"));
    let failed = every_call_fails(Call::Write, ffi::SQLITE_FULL, full);
    println!("{failed} writes to a full disk");
    assert!(failed > 50, "{failed}");
}

#[test]
fn a_sync_that_fails_is_said_and_what_it_was_for_is_not_taken_as_done() {
    let broken = |error: &StoreError| matches!(error, StoreError::Unavailable(text) if text.ends_with("check the disk"));
    let failed = every_call_fails(Call::Sync, ffi::SQLITE_IOERR_FSYNC, broken);
    println!("{failed} syncs of a broken disk");
    assert!(failed > 20, "{failed}");
}

#[test]
fn a_write_that_fails_is_said_and_leaves_nothing_half_done() {
    let broken = |error: &StoreError| matches!(error, StoreError::Unavailable(text) if text.ends_with("check the disk"));
    let failed = every_call_fails(Call::Write, ffi::SQLITE_IOERR_WRITE, broken);
    println!("{failed} writes to a broken disk");
    assert!(failed > 50, "{failed}");
}

#[test]
fn a_disk_that_has_become_read_only_is_said_and_nothing_is_put_aside() {
    let mut scene = Scene::begin(|path, expected| drop(mornings(path, expected, 2, 20)));
    let before = scene.content();
    scene.disk.fail(Fault { call: Call::Write, after: 0, times: usize::MAX, code: ffi::SQLITE_READONLY });
    for _ in 0..3 {
        let error = scene.store().append(&frames(&late_ticks())).unwrap_err();
        let text = "check that its folder is there and that the daemon may write to it";
        assert!(matches!(&error, StoreError::Unavailable(told) if told.ends_with(text)), "{error:?}");
        let expected = scene.expected.clone();
        let range = TimeRange { from: WallTime(START), to: WallTime(START + 3 * DAY_MS) };
        compare(&mut scene.store().reader(), &IDS, &expected.ticks, range, None, false).unwrap();
    }
    scene.disk.mend();
    assert_eq!(scene.content(), before);
    assert_eq!(scene.store().quarantine(), None);
    let mut expected = scene.expected.clone();
    use_on(scene.store(), &mut expected);
    agrees(scene.store(), &expected, "writable again");
}

#[test]
fn a_file_that_cannot_be_made_or_brought_up_to_date_for_want_of_room_is_so_when_there_is_room() {
    for older in [false, true] {
        let mut failed = 0;
        for after in 0.. {
            let (folder, path) = folder();
            let mut expected = Expected::default();
            if older {
                first_schema(&path, &mut expected, 30);
            }
            let disk = Disk::recording(folder.path());
            disk.fail(Fault { call: Call::Write, after, times: usize::MAX, code: ffi::SQLITE_FULL });
            match HistoryStore::open(&path) {
                Ok(_) => break,
                Err(error) => assert!(matches!(error, StoreError::Full(_)), "{after}: {error:?}"),
            }
            failed += disk.mend();
            let mut store = HistoryStore::open(&path).unwrap();
            assert_eq!(store.quarantine(), None, "{after}");
            if older {
                agrees(&mut store, &expected, "with room");
            }
            use_on(&mut store, &mut expected);
            sound(&mut store, "with room");
            agrees(&mut store, &expected, "with room");
        }
        assert!(failed > 5, "{failed}");
    }
}

#[test]
fn a_sync_beside_a_reader_keeps_its_promise() {
    let mut scene = Scene::begin(|path, expected| drop(mornings(path, expected, 1, 20)));
    let range = TimeRange { from: WallTime(START), to: WallTime(START + DAY_MS) };
    let plan = Plan { range, until_ms: i64::MAX, step_ms: None, percentiles: false };
    let mut reader = scene.store().reader();
    let Scene { store, expected, .. } = &mut scene;
    let store = store.as_mut().unwrap();
    let synced = reader.read(plan, |_| {
        store.append(&frames(&morning(1, 5)))?;
        store.sync()
    });
    let synced = synced.unwrap();
    assert!(synced.moved_pages < synced.logged_pages, "the reader keeps them in the log: {synced:?}");
    expected.ticks.extend(morning(1, 5));
    let content = scene.content();
    // Before its store is closed, which would be a checkpoint.
    let point = scene.disk.operations();
    let store = scene.store.take();
    let recording = scene.disk.take();
    shows(&recording.until(point), &content, "beside a reader");
    drop(store);
}
