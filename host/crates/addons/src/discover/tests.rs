//! Tests of the folder: each way to be wrong, and that nothing is followed or half read.

use super::read::drain;
use super::*;
use std::fs::{File, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use tempfile::TempDir;

fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

fn write(root: &TempDir, path: &str, content: &[u8]) {
    let path = root.path().join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, content).unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
}

fn addon(root: &TempDir, id: &str) {
    write(root, &format!("{id}/addon.toml"), format!("id = \"{id}\"").as_bytes());
    write(root, &format!("{id}/{id}.wasm"), b"wasm");
}

fn mode(root: &TempDir, path: &str, mode: u32) {
    fs::set_permissions(root.path().join(path), Permissions::from_mode(mode)).unwrap();
}

fn look(root: &TempDir) -> Scan {
    scan(root.path()).unwrap()
}

/// The only candidate.
fn one(root: &TempDir) -> Candidate {
    let scan = look(root);
    assert_eq!((scan.candidates.len(), scan.rejected.len()), (1, 0), "{scan:?}");
    scan.candidates.into_iter().next().unwrap()
}

/// Names and codes of what is rejected.
fn rejected(root: &TempDir) -> Vec<(String, &'static str)> {
    let scan = look(root);
    for rejected in &scan.rejected {
        let text = rejected.error.to_string();
        assert!(!text.chars().any(char::is_control) && !text.ends_with('.'), "{text:?}");
    }
    scan.rejected.into_iter().map(|rejected| (rejected.name, rejected.error.code())).collect()
}

#[test]
fn a_folder_that_does_not_exist_has_no_addons() {
    assert_eq!(scan(&folder().path().join("none")), Ok(Scan::default()));
}

#[test]
fn folders_and_bare_files_are_found_and_read() {
    let root = folder();
    addon(&root, "nas");
    write(&root, "bare.wasm", b"bytes");
    let scan = look(&root);
    let ids: Vec<&str> = scan.candidates.iter().map(|candidate| candidate.id.as_str()).collect();
    assert_eq!((ids, scan.rejected.len()), (vec!["bare", "nas"], 0));
    assert_eq!(scan.folders, [root.path().join("nas")]);

    let [bare, nas] = &scan.candidates[..] else { panic!() };
    assert_eq!((bare.wasm_path(), bare.manifest_path()), (root.path().join("bare.wasm"), None));
    assert_eq!(nas.wasm_path(), root.path().join("nas/nas.wasm"));
    assert_eq!(nas.manifest_path(), Some(root.path().join("nas/addon.toml")));
    let bare_files = read(bare).unwrap();
    assert_eq!(
        (bare_files.wasm.as_slice(), bare_files.manifest),
        (&b"bytes"[..], Manifest::bare(bare.id.clone()))
    );
    assert_eq!(read(nas).unwrap().wasm, b"wasm");
}

#[test]
fn what_is_not_ready_yet_is_not_there() {
    let root = folder();
    for name in [".hidden.wasm", "a.wasm.part", "b.wasm.tmp", "c.wasm~", ".git/config", "d.part/d.wasm", "e~"]
    {
        write(&root, name, b"x");
    }
    assert_eq!(look(&root), Scan::default());
}

#[test]
fn names_that_are_no_ids_are_rejected() {
    let root = folder();
    write(&root, "A.wasm", b"x");
    write(&root, ".. .wasm", b"x");
    write(&root, "a_b.wasm", b"x");
    write(&root, "My Addon/addon.toml", b"x");
    write(&root, "x\u{1b}[31m.wasm", b"x");
    assert_eq!(
        rejected(&root),
        [
            ("A.wasm", "bad_id"),
            ("My Addon", "bad_id"),
            ("a_b.wasm", "bad_id"),
            ("x\\u{1b}[31m.wasm", "bad_id")
        ]
        .map(|(name, code)| (name.to_owned(), code))
    );
}

#[test]
fn a_bare_file_and_a_folder_of_one_id_are_both_rejected_with_both_names() {
    let root = folder();
    addon(&root, "nas");
    write(&root, "nas.wasm", b"x");
    addon(&root, "other");
    assert_eq!(rejected(&root), [("nas".to_owned(), "duplicate_id")]);
    let scan = look(&root);
    assert_eq!(scan.candidates.len(), 1);
    let text = scan.rejected[0].error.to_string();
    assert!(text.contains("nas.wasm") && text.contains("the folder nas"), "{text}");
}

#[test]
fn a_duplicate_is_told_even_if_one_of_the_two_is_broken() {
    let root = folder();
    fs::create_dir(root.path().join("nas")).unwrap();
    write(&root, "nas.wasm", b"x");
    assert_eq!(rejected(&root), [("nas".to_owned(), "duplicate_id")]);
}

#[test]
fn links_are_refused_wherever_they_are() {
    let elsewhere = folder();
    addon(&elsewhere, "real");
    let target = |path: &str| elsewhere.path().join(path);
    let root = folder();
    symlink(target("real"), root.path().join("folder")).unwrap();
    symlink(target("real/real.wasm"), root.path().join("file.wasm")).unwrap();
    symlink(target("none"), root.path().join("dangling.wasm")).unwrap();
    symlink(target("none"), root.path().join("No Id")).unwrap();
    addon(&root, "wasm");
    fs::remove_file(root.path().join("wasm/wasm.wasm")).unwrap();
    symlink(target("real/real.wasm"), root.path().join("wasm/wasm.wasm")).unwrap();
    addon(&root, "manifest");
    fs::remove_file(root.path().join("manifest/addon.toml")).unwrap();
    symlink(target("real/addon.toml"), root.path().join("manifest/addon.toml")).unwrap();
    let names = ["No Id", "dangling", "file", "folder", "manifest", "wasm"];
    assert_eq!(rejected(&root), names.map(|name| (name.to_owned(), "symlink")));
}

#[test]
fn a_link_put_there_after_the_scan_is_not_followed() {
    let elsewhere = folder();
    addon(&elsewhere, "nas");
    for file in ["nas/nas.wasm", "nas/addon.toml"] {
        let root = folder();
        addon(&root, "nas");
        let candidate = one(&root);
        fs::remove_file(root.path().join(file)).unwrap();
        symlink(elsewhere.path().join(file), root.path().join(file)).unwrap();
        assert_eq!(read(&candidate).unwrap_err(), AddonFileError::Symlink(file.to_owned()));
    }
    let root = folder();
    addon(&root, "nas");
    let candidate = one(&root);
    fs::remove_dir_all(root.path().join("nas")).unwrap();
    symlink(elsewhere.path().join("nas"), root.path().join("nas")).unwrap();
    assert!(matches!(read(&candidate), Err(AddonFileError::Symlink(_) | AddonFileError::StillChanging(_))));
}

#[test]
fn the_addons_folder_itself_may_be_a_link() {
    let root = folder();
    addon(&root, "nas");
    let link = folder();
    symlink(root.path(), link.path().join("addons")).unwrap();
    let scan = scan(&link.path().join("addons")).unwrap();
    assert_eq!(read(&scan.candidates[0]).unwrap().wasm, b"wasm");
}

#[test]
fn pipes_and_folders_in_the_place_of_files_are_refused() {
    let root = folder();
    let pipe = |path: &str| {
        let path = root.path().join(path);
        rustix::fs::mknodat(rustix::fs::CWD, path, rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR, 0)
            .unwrap();
    };
    pipe("pipe.wasm");
    pipe("pipe");
    write(&root, "folder/addon.toml", b"x");
    fs::create_dir(root.path().join("folder/folder.wasm")).unwrap();
    write(&root, "in-folder/in-folder.wasm", b"x");
    pipe("in-folder/addon.toml");
    assert_eq!(
        rejected(&root),
        ["folder", "in-folder", "pipe", "pipe"].map(|name| (name.to_owned(), "not_a_regular_file"))
    );
}

#[test]
fn a_pipe_put_there_after_the_scan_holds_nobody_up() {
    let root = folder();
    addon(&root, "nas");
    let candidate = one(&root);
    let path = candidate.wasm_path();
    fs::remove_file(&path).unwrap();
    rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR, 0)
        .unwrap();
    assert_eq!(read(&candidate).unwrap_err().code(), "not_a_regular_file");
}

#[test]
fn folders_without_their_files_are_rejected() {
    let root = folder();
    write(&root, "a/addon.toml", b"x");
    write(&root, "b/b.wasm", b"x");
    fs::create_dir(root.path().join("c")).unwrap();
    assert_eq!(
        rejected(&root),
        [("a", "no_wasm"), ("b", "no_manifest"), ("c", "no_wasm")]
            .map(|(name, code)| (name.to_owned(), code))
    );
}

#[test]
fn other_files_are_told_rather_than_silently_ignored() {
    let root = folder();
    write(&root, "README.md", b"x");
    write(&root, "nas.WASM", b"x");
    assert_eq!(rejected(&root), ["README.md", "nas.WASM"].map(|name| (name.to_owned(), "not_an_addon")));
}

#[test]
fn what_everyone_may_write_is_refused() {
    let root = folder();
    for (id, path) in [("a", "a"), ("b", "b/b.wasm"), ("c", "c/addon.toml")] {
        addon(&root, id);
        mode(&root, path, 0o777);
    }
    write(&root, "d.wasm", b"x");
    mode(&root, "d.wasm", 0o666);
    assert_eq!(rejected(&root), ["a", "b", "c", "d"].map(|name| (name.to_owned(), "world_writable")));

    let root = folder();
    addon(&root, "nas");
    mode(&root, "nas/nas.wasm", 0o664);
    let candidate = one(&root);
    mode(&root, "nas", 0o777);
    assert_eq!(read(&candidate).unwrap_err().code(), "world_writable");
    mode(&root, "", 0o777);
    assert_eq!(scan(root.path()).unwrap_err().code(), "addons_folder_world_writable");
}

#[test]
fn files_that_are_too_large_are_refused_without_being_read() {
    let root = folder();
    write(&root, "a.wasm", b"");
    File::options()
        .write(true)
        .open(root.path().join("a.wasm"))
        .unwrap()
        .set_len(COMPONENT_BYTES_MAX as u64 + 1)
        .unwrap();
    addon(&root, "b");
    write(&root, "b/addon.toml", &vec![b'#'; MANIFEST_BYTES_MAX + 1]);
    assert_eq!(rejected(&root), ["a", "b"].map(|name| (name.to_owned(), "file_too_large")));
}

#[test]
fn more_addons_than_may_be_are_rejected_from_the_end_of_the_names() {
    let root = folder();
    for number in 0..=ADDONS_MAX {
        write(&root, &format!("a{number:05}.wasm"), b"");
    }
    assert_eq!(rejected(&root), [(format!("a{ADDONS_MAX:05}"), "too_many_addons")]);
    assert_eq!(look(&root).candidates.len(), ADDONS_MAX);
}

#[test]
fn a_folder_full_of_other_things_is_not_scanned() {
    let root = folder();
    for number in 0..=ENTRIES_MAX {
        write(&root, &format!("{number}.txt"), b"");
    }
    assert_eq!(scan(root.path()).unwrap_err().code(), "addons_folder_too_many_entries");
}

#[test]
fn a_file_in_the_place_of_the_addons_folder_is_an_error() {
    let root = folder();
    write(&root, "file", b"");
    assert_eq!(scan(&root.path().join("file")).unwrap_err().code(), "addons_folder_not_a_folder");
}

#[test]
fn every_kind_of_change_changes_the_stamp() {
    let root = folder();
    addon(&root, "nas");
    let mut before = one(&root).stamp;
    assert_eq!(before, one(&root).stamp);
    let replace = |path: &str, content: &[u8]| {
        write(&root, ".new", content);
        fs::rename(root.path().join(".new"), root.path().join(path)).unwrap();
    };
    let changes: [&dyn Fn(); 4] = [
        &|| write(&root, "nas/nas.wasm", b"longer"),
        &|| replace("nas/nas.wasm", b"longer"),
        &|| replace("nas/addon.toml", b"id = \"nas\""),
        &|| fs::hard_link(root.path().join("nas/nas.wasm"), root.path().join("nas/other")).unwrap(),
    ];
    for change in changes {
        change();
        let after = one(&root).stamp;
        // The last one only touches the time of the last change, which may be the same tick of the kernel's clock.
        if after == before {
            assert_eq!(fs::metadata(root.path().join("nas/nas.wasm")).unwrap().nlink(), 2);
        }
        before = after;
    }
}

#[test]
fn a_file_that_is_not_as_it_was_seen_is_not_given_out() {
    let root = folder();
    addon(&root, "nas");
    for file in ["nas/nas.wasm", "nas/addon.toml"] {
        let candidate = one(&root);
        write(&root, file, b"id = \"nas\" # longer than before");
        assert_eq!(read(&candidate).unwrap_err(), AddonFileError::StillChanging(file.to_owned()));
        fs::remove_file(root.path().join(file)).unwrap();
        assert_eq!(read(&candidate).unwrap_err().code(), "still_changing");
        addon(&root, "nas");
    }
    let candidate = one(&root);
    fs::remove_dir_all(root.path().join("nas")).unwrap();
    assert_eq!(read(&candidate).unwrap_err().code(), "still_changing");
}

#[test]
fn a_file_that_changes_while_it_is_read_is_not_given_out() {
    let root = folder();
    write(&root, "a.wasm", b"first half");
    let path = root.path().join("a.wasm");
    let file = File::open(&path).unwrap();
    let seen = FileStamp::of(&file.metadata().unwrap());
    write(&root, "a.wasm", b"first half, second half");
    assert_eq!(drain(&file, "a.wasm", 100, &seen).unwrap_err().code(), "still_changing");
    let file = File::open(&path).unwrap();
    let seen = FileStamp::of(&file.metadata().unwrap());
    assert_eq!(drain(&file, "a.wasm", 100, &seen).unwrap().len(), 23);
    let file = File::open(&path).unwrap();
    assert_eq!(drain(&file, "a.wasm", 10, &seen).unwrap_err().code(), "file_too_large");
}

#[test]
fn what_is_wrong_with_a_manifest_is_told_when_it_is_read() {
    let root = folder();
    addon(&root, "nas");
    write(&root, "nas/addon.toml", b"id = \"nas\"\nnmae = 1");
    assert_eq!(read(&one(&root)).unwrap_err().code(), "manifest_unknown_key");
    write(&root, "nas/addon.toml", b"id = \"other\"");
    assert_eq!(read(&one(&root)).unwrap_err().code(), "manifest_wrong_id");
    write(&root, "nas/addon.toml", b"id = \"\xff\"");
    assert_eq!(read(&one(&root)).unwrap_err().code(), "manifest_not_text");
}

#[test]
fn what_may_not_be_read_is_told_with_the_systems_words() {
    let error = unreadable_file("nas/nas.wasm", &io::Error::from(io::ErrorKind::PermissionDenied));
    assert_eq!(error.code(), "unreadable");
    assert_eq!(
        error.to_string(),
        "nas/nas.wasm can not be read (permission denied): let the daemon's user read it"
    );
    if rustix::process::geteuid().is_root() {
        return;
    }
    let root = folder();
    addon(&root, "nas");
    mode(&root, "nas/nas.wasm", 0o000);
    assert_eq!(read(&one(&root)).unwrap_err().code(), "unreadable");
    mode(&root, "nas", 0o000);
    assert_eq!(rejected(&root), [("nas".to_owned(), "unreadable")]);
    mode(&root, "nas", 0o700);
}
