//! Tests of the hot folder: made-up scans and times for the decisions, a real folder for the notifier.

use super::*;
use crate::discover::{FileStamp, Place};
use proptest::prelude::*;
use std::path::PathBuf;

fn at(ms: u64) -> MonoTime {
    MonoTime(Duration::from_secs(1_000) + Duration::from_millis(ms))
}

fn id(text: &str) -> AddonId {
    AddonId::new(text).unwrap()
}

/// An addon in a state that `version` stands for.
fn addon(name: &str, version: u64) -> Candidate {
    let file = FileStamp { file: (1, version), size: 10, modified: (0, 0), changed: (0, 0) };
    let place = Place::Bare { root: PathBuf::from("/addons") };
    Candidate { id: id(name), place, stamp: Stamp { wasm: file, manifest: None } }
}

fn scan(candidates: &[Candidate]) -> Scan {
    Scan { candidates: candidates.to_vec(), ..Scan::default() }
}

fn bad(name: &str, error: AddonFileError) -> Rejected {
    Rejected { name: name.to_owned(), id: AddonId::new(name).ok(), error }
}

fn with(candidates: &[Candidate], rejected: &[Rejected]) -> Scan {
    Scan { rejected: rejected.to_vec(), ..scan(candidates) }
}

fn symlink() -> AddonFileError {
    AddonFileError::Symlink("nas.wasm".to_owned())
}

/// A folder that was scanned and was empty.
fn running() -> Folder {
    let mut folder = Folder::default();
    assert_eq!(folder.observe(at(0), Scan::default()), []);
    folder
}

#[test]
fn at_the_start_everything_is_taken_at_once() {
    let mut folder = Folder::default();
    let changes = folder.observe(at(0), with(&[addon("a", 1), addon("b", 1)], &[bad("c", symlink())]));
    assert_eq!(
        changes,
        [Change::Load(addon("a", 1)), Change::Load(addon("b", 1)), Change::Reject(bad("c", symlink()))]
    );
    assert_eq!(folder.due(), None);
    assert_eq!(folder.observe(at(10_000), with(&[addon("a", 1), addon("b", 1)], &[bad("c", symlink())])), []);
}

#[test]
fn a_new_file_is_loaded_once_it_was_left_alone() {
    let mut folder = running();
    assert_eq!(folder.observe(at(100), scan(&[addon("a", 1)])), []);
    assert_eq!(folder.due(), Some(at(350)));
    assert_eq!(folder.observe(at(349), scan(&[addon("a", 1)])), []);
    assert_eq!(folder.observe(at(350), scan(&[addon("a", 1)])), [Change::Load(addon("a", 1))]);
    assert_eq!(folder.due(), None);
    assert_eq!(folder.observe(at(1_000), scan(&[addon("a", 1)])), []);
}

#[test]
fn a_file_that_still_grows_is_not_loaded() {
    let mut folder = running();
    for step in 0..50 {
        assert_eq!(folder.observe(at(step * 200), scan(&[addon("a", step)])), []);
    }
    assert_eq!(folder.observe(at(49 * 200 + 250), scan(&[addon("a", 49)])), [Change::Load(addon("a", 49))]);
}

#[test]
fn a_changed_file_is_loaded_and_the_others_are_left_alone() {
    let mut folder = Folder::default();
    folder.observe(at(0), scan(&[addon("a", 1), addon("b", 1)]));
    assert_eq!(folder.observe(at(5_000), scan(&[addon("a", 2), addon("b", 1)])), []);
    assert_eq!(
        folder.observe(at(5_250), scan(&[addon("a", 2), addon("b", 1)])),
        [Change::Load(addon("a", 2))]
    );
}

#[test]
fn a_move_from_a_bare_file_into_a_folder_is_a_change() {
    let mut folder = Folder::default();
    folder.observe(at(0), scan(&[addon("a", 1)]));
    let mut moved = addon("a", 1);
    moved.place = Place::Folder { root: PathBuf::from("/addons") };
    moved.stamp.manifest = Some(moved.stamp.wasm);
    folder.observe(at(5_000), scan(&[moved.clone()]));
    assert_eq!(folder.observe(at(5_250), scan(&[moved.clone()])), [Change::Load(moved)]);
}

#[test]
fn loads_of_one_addon_keep_their_distance() {
    let mut folder = Folder::default();
    folder.observe(at(0), scan(&[addon("a", 1)]));
    folder.observe(at(10), scan(&[addon("a", 2)]));
    assert_eq!(folder.due(), Some(at(500)));
    assert_eq!(folder.observe(at(499), scan(&[addon("a", 2)])), []);
    assert_eq!(folder.observe(at(500), scan(&[addon("a", 2)])), [Change::Load(addon("a", 2))]);
}

#[test]
fn removing_and_putting_back_is_no_way_around_the_distance() {
    let mut folder = Folder::default();
    folder.observe(at(0), scan(&[addon("a", 1)]));
    folder.observe(at(1), scan(&[]));
    assert_eq!(folder.observe(at(251), scan(&[])), [Change::Remove(id("a"))]);
    folder.observe(at(252), scan(&[addon("a", 1)]));
    assert_eq!(folder.due(), Some(at(502)));
    assert_eq!(folder.observe(at(499), scan(&[addon("a", 1)])), []);
    assert_eq!(folder.observe(at(502), scan(&[addon("a", 1)])), [Change::Load(addon("a", 1))]);
}

#[test]
fn an_editor_that_removes_and_writes_again_restarts_it_only_once() {
    let mut folder = Folder::default();
    folder.observe(at(0), scan(&[addon("a", 1)]));
    assert_eq!(folder.observe(at(5_000), scan(&[])), []);
    assert_eq!(folder.due(), Some(at(5_250)));
    assert_eq!(folder.observe(at(5_100), scan(&[addon("a", 2)])), []);
    assert_eq!(folder.observe(at(5_350), scan(&[addon("a", 2)])), [Change::Load(addon("a", 2))]);
}

#[test]
fn the_same_file_taken_away_and_put_back_at_once_changes_nothing() {
    let mut folder = Folder::default();
    folder.observe(at(0), scan(&[addon("a", 1)]));
    folder.observe(at(5_000), scan(&[]));
    assert_eq!(folder.observe(at(5_100), scan(&[addon("a", 1)])), []);
    assert_eq!(folder.due(), None);
    assert_eq!(folder.observe(at(9_000), scan(&[addon("a", 1)])), []);
}

#[test]
fn a_removed_file_removes_its_addon_once_and_is_forgotten() {
    let mut folder = Folder::default();
    folder.observe(at(0), scan(&[addon("a", 1), addon("b", 1)]));
    folder.observe(at(5_000), scan(&[addon("b", 1)]));
    assert_eq!(folder.observe(at(5_250), scan(&[addon("b", 1)])), [Change::Remove(id("a"))]);
    assert_eq!(folder.observe(at(9_000), scan(&[addon("b", 1)])), []);
    assert_eq!(folder.addons.len(), 1);
}

#[test]
fn a_file_that_went_before_it_was_loaded_was_never_there() {
    let mut folder = running();
    folder.observe(at(100), scan(&[addon("a", 1)]));
    assert_eq!(folder.observe(at(200), scan(&[])), []);
    assert!(folder.addons.is_empty());
    assert_eq!(folder.observe(at(900), scan(&[])), []);
}

#[test]
fn an_error_is_told_once_and_again_when_it_is_another() {
    let mut folder = running();
    let other = AddonFileError::NotRegular("nas.wasm".to_owned());
    assert_eq!(folder.observe(at(100), with(&[], &[bad("nas", symlink())])), []);
    assert_eq!(folder.due(), Some(at(350)));
    assert_eq!(
        folder.observe(at(350), with(&[], &[bad("nas", symlink())])),
        [Change::Reject(bad("nas", symlink()))]
    );
    assert_eq!(folder.observe(at(1_000), with(&[], &[bad("nas", symlink())])), []);
    assert_eq!(folder.observe(at(2_000), with(&[], &[bad("nas", other.clone())])), []);
    assert_eq!(
        folder.observe(at(2_250), with(&[], &[bad("nas", other.clone())])),
        [Change::Reject(bad("nas", other))]
    );
    assert_eq!(folder.observe(at(3_000), scan(&[])), []);
    assert_eq!(folder.observe(at(3_250), scan(&[])), [Change::Cleared { name: "nas".to_owned() }]);
    assert_eq!((folder.rejected.len(), folder.due()), (0, None));
}

#[test]
fn a_folder_that_is_still_being_filled_is_not_told_as_an_error() {
    let mut folder = running();
    folder.observe(at(100), with(&[], &[bad("nas", AddonFileError::NoWasm(id("nas")))]));
    folder.observe(at(200), with(&[], &[bad("nas", AddonFileError::NoManifest(id("nas")))]));
    folder.observe(at(300), scan(&[addon("nas", 1)]));
    assert_eq!(folder.observe(at(550), scan(&[addon("nas", 1)])), [Change::Load(addon("nas", 1))]);
    assert_eq!(folder.observe(at(900), scan(&[addon("nas", 1)])), []);
}

#[test]
fn what_went_wrong_leaves_the_loaded_one_running() {
    let mut folder = Folder::default();
    folder.observe(at(0), scan(&[addon("nas", 1)]));
    let wrong = with(&[], &[bad("nas", symlink())]);
    folder.observe(at(5_000), wrong.clone());
    assert_eq!(folder.observe(at(5_250), wrong.clone()), [Change::Reject(bad("nas", symlink()))]);
    assert_eq!(folder.observe(at(60_000), wrong), []);
    // Mended as it was: nothing to load. Mended otherwise: loaded.
    assert_eq!(folder.observe(at(61_000), scan(&[addon("nas", 1)])), []);
    assert_eq!(
        folder.observe(at(61_250), scan(&[addon("nas", 1)])),
        [Change::Cleared { name: "nas".to_owned() }]
    );
    folder.observe(at(62_000), scan(&[addon("nas", 2)]));
    assert_eq!(folder.observe(at(62_250), scan(&[addon("nas", 2)])), [Change::Load(addon("nas", 2))]);
}

#[test]
fn what_was_wrong_for_a_moment_must_be_left_alone_anew() {
    let mut folder = running();
    folder.observe(at(100), scan(&[addon("nas", 1)]));
    folder.observe(at(200), with(&[], &[bad("nas", symlink())]));
    folder.observe(at(300), scan(&[addon("nas", 1)]));
    assert_eq!(folder.observe(at(350), scan(&[addon("nas", 1)])), []);
    assert_eq!(folder.observe(at(550), scan(&[addon("nas", 1)])), [Change::Load(addon("nas", 1))]);
}

#[test]
fn a_folder_that_lost_its_component_removes_the_addon_and_says_why() {
    let mut folder = Folder::default();
    folder.observe(at(0), scan(&[addon("nas", 1)]));
    let empty = bad("nas", AddonFileError::NoWasm(id("nas")));
    folder.observe(at(5_000), with(&[], std::slice::from_ref(&empty)));
    assert_eq!(
        folder.observe(at(5_250), with(&[], std::slice::from_ref(&empty))),
        [Change::Remove(id("nas")), Change::Reject(empty)]
    );
}

#[test]
fn what_went_wrong_and_then_away_is_removed() {
    let mut folder = Folder::default();
    folder.observe(at(0), scan(&[addon("nas", 1)]));
    folder.observe(at(5_000), with(&[], &[bad("nas", symlink())]));
    folder.observe(at(5_300), with(&[], &[bad("nas", symlink())]));
    folder.observe(at(6_000), scan(&[]));
    assert_eq!(
        folder.observe(at(6_250), scan(&[])),
        [Change::Remove(id("nas")), Change::Cleared { name: "nas".to_owned() }]
    );
}

#[test]
fn an_addon_whose_reading_failed_is_given_out_again_on_request() {
    let mut folder = Folder::default();
    folder.observe(at(0), scan(&[addon("a", 1)]));
    folder.retry(&id("a"));
    folder.retry(&id("unknown"));
    assert_eq!(folder.due(), Some(at(500)));
    assert_eq!(folder.observe(at(500), scan(&[addon("a", 1)])), [Change::Load(addon("a", 1))]);
    // It still counts as loaded: what ran before it does.
    folder.retry(&id("a"));
    folder.observe(at(600), scan(&[]));
    assert_eq!(folder.observe(at(850), scan(&[])), [Change::Remove(id("a"))]);
}

#[test]
fn a_thousand_replacements_a_second_are_loaded_at_most_every_half_second() {
    let mut folder = running();
    let (mut loads, mut last) = (Vec::new(), 0);
    // A storm with pauses of 300 ms, looked at every 100 ms, and then quiet.
    for step in 0..600_u64 {
        let now = step * 100;
        if step < 550 && step % 6 < 3 {
            last = now;
        }
        for change in folder.observe(at(now), scan(&[addon("a", last)])) {
            let Change::Load(candidate) = change else { panic!("{change:?}") };
            loads.push((now, candidate));
        }
    }
    assert!(loads.windows(2).all(|pair| pair[1].0 - pair[0].0 >= 500), "{loads:?}");
    assert!(loads.len() > 50, "{}", loads.len());
    assert_eq!(loads.last().unwrap().1, addon("a", last));
}

proptest! {
    /// Whatever happens: loads keep their distance and were left alone, removals follow loads, and in the end what is loaded is what
    /// lies there.
    #[test]
    fn what_is_loaded_is_in_the_end_what_lies_there(
        steps in proptest::collection::vec((1..400_u64, proptest::option::of(0..4_u64), any::<bool>()), 1..60)
    ) {
        let mut folder = Folder::default();
        let (mut now, mut loaded, mut loaded_at, mut complaint) = (0, None, None::<u64>, None);
        let mut history = Vec::new();
        let last = *steps.last().unwrap();
        let quiet = std::iter::repeat_n((100, last.1, last.2), 10);
        for (number, (pause, version, is_wrong)) in steps.into_iter().chain(quiet).enumerate() {
            now += pause;
            let scan = match version {
                Some(version) => scan(&[addon("a", version)]),
                None if is_wrong => with(&[], &[bad("a", symlink())]),
                None => scan(&[]),
            };
            history.push((now, version));
            for change in folder.observe(at(now), scan) {
                match change {
                    Change::Load(candidate) => {
                        prop_assert!(loaded_at.is_none_or(|at| now - at >= 500));
                        let version = candidate.stamp.wasm.file.1;
                        let still = history.iter().rev().take_while(|(_, seen)| *seen == Some(version)).last().unwrap().0;
                        prop_assert!(number == 0 || now - still >= 250);
                        (loaded, loaded_at) = (Some(version), Some(now));
                    }
                    Change::Remove(_) => prop_assert!(loaded.take().is_some()),
                    Change::Reject(rejected) => {
                        prop_assert!(complaint != Some(rejected.error.clone()));
                        complaint = Some(rejected.error);
                    }
                    Change::Cleared { .. } => prop_assert!(complaint.take().is_some()),
                }
            }
        }
        if last.1.is_some() || !last.2 {
            prop_assert_eq!(loaded, last.1);
        }
        prop_assert_eq!(complaint.is_some(), last.1.is_none() && last.2);
        prop_assert_eq!(folder.due(), None);
    }
}

#[cfg(target_os = "linux")]
mod notifier {
    use super::*;
    use std::fs;
    use tempfile::TempDir;

    fn block_on<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
    }

    async fn is_told(notifier: &mut Notifier) -> bool {
        tokio::time::timeout(Duration::from_secs(10), notifier.changed()).await.is_ok()
    }

    async fn is_silent(notifier: &mut Notifier) -> bool {
        tokio::time::timeout(Duration::from_millis(20), notifier.changed()).await.is_err()
    }

    fn look(root: &TempDir) -> Scan {
        crate::discover::scan(root.path()).unwrap()
    }

    #[test]
    fn every_kind_of_change_is_told() {
        let root = tempfile::tempdir().unwrap();
        let path = |name: &str| root.path().join(name);
        block_on(async {
            let mut notifier = Notifier::new(root.path());
            assert_eq!(notifier.poll_interval(), Duration::from_secs(5));
            assert!(is_silent(&mut notifier).await);
            fs::write(path("a.wasm"), "x").unwrap();
            assert!(is_told(&mut notifier).await);
            fs::rename(path("a.wasm"), path("b.wasm")).unwrap();
            assert!(is_told(&mut notifier).await);
            fs::remove_file(path("b.wasm")).unwrap();
            assert!(is_told(&mut notifier).await);
            fs::create_dir(path("nas")).unwrap();
            assert!(is_told(&mut notifier).await);
            notifier.follow(&look(&root));
            fs::write(path("nas/nas.wasm"), "x").unwrap();
            assert!(is_told(&mut notifier).await);
            notifier.follow(&look(&root));
            assert!(is_silent(&mut notifier).await);
            let _ = fs::read(path("nas/nas.wasm"));
            assert!(is_silent(&mut notifier).await, "reading changes nothing");
        });
    }

    #[test]
    fn a_storm_is_told_in_few_words() {
        let root = tempfile::tempdir().unwrap();
        block_on(async {
            let mut notifier = Notifier::new(root.path());
            for number in 0..1_000 {
                fs::write(root.path().join(".new"), number.to_string()).unwrap();
                fs::rename(root.path().join(".new"), root.path().join("a.wasm")).unwrap();
            }
            assert!(is_told(&mut notifier).await);
            assert!(is_silent(&mut notifier).await);
        });
    }

    #[test]
    fn a_folder_moved_elsewhere_is_no_longer_watched() {
        let root = tempfile::tempdir().unwrap();
        let elsewhere = tempfile::tempdir_in(root.path().parent().unwrap()).unwrap();
        block_on(async {
            fs::create_dir(root.path().join("nas")).unwrap();
            let mut notifier = Notifier::new(root.path());
            notifier.follow(&look(&root));
            fs::rename(root.path().join("nas"), elsewhere.path().join("nas")).unwrap();
            assert!(is_told(&mut notifier).await);
            notifier.follow(&look(&root));
            let _ = tokio::time::timeout(Duration::from_millis(20), notifier.changed()).await;
            fs::write(elsewhere.path().join("nas/x"), "x").unwrap();
            assert!(is_silent(&mut notifier).await);
        });
    }

    #[test]
    fn a_folder_that_does_not_exist_yet_is_polled_until_it_does() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("addons");
        block_on(async {
            let mut notifier = Notifier::new(&path);
            assert_eq!(notifier.poll_interval(), Duration::from_millis(500));
            fs::create_dir(&path).unwrap();
            notifier.follow(&crate::discover::scan(&path).unwrap());
            assert_eq!(notifier.poll_interval(), Duration::from_secs(5));
            fs::write(path.join("a.wasm"), "x").unwrap();
            assert!(is_told(&mut notifier).await);
        });
    }

    #[test]
    fn outside_of_a_runtime_it_polls() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(Notifier::new(root.path()).poll_interval(), Duration::from_millis(500));
    }
}
