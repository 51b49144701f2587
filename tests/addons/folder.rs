//! The hot folder with real files: what is copied, replaced, broken, removed and put back while the host runs, and what lies there and
//! must not be loaded.

use super::stage::{COMPANION, PATIENCE, Stage, built_fixture, granting, id, is_strict, wrapped};
use crate::daemon::{eventually, eventually_within, pause};
use crate::random::Random;
use lowtide_addons::{AddonView, Happening};
use lowtide_clock as clock;
use std::collections::BTreeMap;
use std::fs::{self, File, Permissions};
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::time::Duration;

/// The addon that is replaced here.
const TIDE: &str = "tide";

/// An addon whose document is this number.
fn tide(number: usize) -> Vec<u8> {
    let fields = format!(
        r#"(memory (export "memory") 1)
        (data (i32.const 16) "{{\"v\":\"{number:04}\"}}")
        (data (i32.const 4) "\10\00\00\00\0c\00\00\00")
        (func (export "stats") (result i32) i32.const 0)"#
    );
    wat::parse_str(wrapped(&fields)).unwrap()
}

/// The same with a start function that traps.
fn trapping() -> Vec<u8> {
    let fields = r#"(memory (export "memory") 1) (func $no unreachable) (start $no)
        (func (export "stats") (result i32) i32.const 0)"#;
    wat::parse_str(wrapped(fields)).unwrap()
}

fn is_running(view: &AddonView) -> bool {
    view.state.name() == "running"
}

fn until_document(stage: &Stage, number: usize) {
    let expected = format!("{{\"v\":\"{number:04}\"}}");
    eventually_within(PATIENCE, &format!("the document is {expected}"), || {
        let stats = stage.host.stats(TIDE).ok()?.ok()??;
        (stats.json == expected).then_some(())
    });
}

/// How often an addon was replaced, and why.
fn replacements(stage: &Stage, addon: &str) -> Vec<&'static str> {
    let why = |happening: Happening| match happening {
        Happening::Replaced { why, .. } => Some(why),
        _ => None,
    };
    stage.told(addon).into_iter().filter_map(why).collect()
}

#[test]
fn a_file_that_still_grows_is_never_run() {
    let stage = Stage::new(BTreeMap::new());
    stage.bring_companion();
    let since = clock::mono();
    let whole = fs::read(built_fixture(COMPANION).join("companion.wasm")).unwrap();
    let path = stage.folder().join("growing.wasm");
    let mut file = File::create(&path).unwrap();
    for piece in whole.chunks(whole.len() / 40 + 1) {
        let view = stage.host.view("growing");
        // A machine that holds this test up for longer than a file has to be left alone may have had a look.
        let unseen = view.as_ref().map_or(true, |view| {
            view.metered.calls == 0 && view.problem.as_ref().is_none_or(|problem| problem.code == "truncated")
        });
        assert!(unseen, "{view:?}");
        file.write_all(piece).unwrap();
        file.sync_data().unwrap();
        pause();
    }
    drop(file);
    // It is the companion's component under another name.
    let view =
        stage.until("growing", "runs when it is whole", |view| is_running(view) && view.metered.calls > 1);
    assert_eq!(view.problem, None);
    stage.assert_companion_is_well(since);
}

#[test]
fn a_file_is_replaced_by_renaming_and_what_was_counted_goes_on() {
    let stage = Stage::new(BTreeMap::new());
    stage.bring_companion();
    let since = clock::mono();
    stage.put_bytes(TIDE, &tide(1));
    until_document(&stage, 1);
    let before = stage.host.view(TIDE).unwrap();
    stage.put_bytes(TIDE, &tide(2));
    until_document(&stage, 2);
    let after = stage.host.view(TIDE).unwrap();
    assert_ne!(before.digest, after.digest);
    assert_eq!(before.loaded_at, after.loaded_at, "it is the same addon");
    assert!(
        after.metered.calls > before.metered.calls && after.metered.restarts == before.metered.restarts + 1
    );
    assert_eq!((after.metered.crashes, replacements(&stage, TIDE)), (0, vec!["new_file"]));
    // The same bytes again are another file, and loading them hurts nobody.
    stage.put_bytes(TIDE, &tide(2));
    stage.until(TIDE, "loaded again", |view| view.metered.restarts == after.metered.restarts + 1);
    assert_eq!(replacements(&stage, COMPANION), Vec::<&str>::new());
    stage.assert_companion_is_well(since);
}

#[test]
fn a_broken_replacement_leaves_the_old_one_running_and_says_why() {
    let stage = Stage::new(BTreeMap::new());
    stage.put_bytes(TIDE, &tide(1));
    until_document(&stage, 1);
    let digest = stage.host.view(TIDE).unwrap().digest;
    let pending = |view: &AddonView| view.pending.as_ref().map(|problem| problem.code);
    let whole = tide(3);
    for (bytes, code) in [
        (&whole[..whole.len() / 2], "truncated"),
        (b"<html>", "not_wasm"),
        (&trapping(), "trap"),
        (&wat::parse_str("(module)").unwrap(), "core_module"),
    ] {
        stage.put_bytes(TIDE, bytes);
        let view = stage.until(TIDE, code, |view| pending(view) == Some(code));
        eventually("the old one goes on", || {
            stage.host.view(TIDE).is_ok_and(|view| is_running(&view)).then_some(())
        });
        assert_eq!(view.digest, digest, "{code}");
        until_document(&stage, 1);
    }
    stage.put_bytes(TIDE, &tide(2));
    until_document(&stage, 2);
    let view = stage.until(TIDE, "nothing is pending", |view| view.pending.is_none() && is_running(view));
    assert_ne!(view.digest, digest);
    assert_eq!(view.metered.crashes, 0, "a new file that does not start is not a crash of the old one");
}

#[test]
fn removed_is_gone_and_put_back_is_there_again() {
    let stage = Stage::new(BTreeMap::new());
    stage.put(COMPANION);
    let runs = |view: &AddonView| is_running(view) && view.metered.calls > 1;
    stage.until(COMPANION, "runs", runs);
    for _ in 0..3 {
        stage.take_away(COMPANION);
        eventually("it is gone", || stage.host.view(COMPANION).is_err().then_some(()));
        assert!(stage.host.list().is_empty());
        stage.put(COMPANION);
        stage.until(COMPANION, "runs again", runs);
    }
    // Gone and back before anybody looked is a replacement, or nothing.
    let before = stage.host.view(COMPANION).unwrap().metered.calls;
    stage.take_away(COMPANION);
    stage.put(COMPANION);
    stage.until(COMPANION, "goes on", |view| runs(view) && view.metered.calls > before);
}

#[test]
fn two_places_for_one_addon_are_told_until_one_is_removed() {
    let stage = Stage::new(BTreeMap::new());
    stage.put_bytes(TIDE, &tide(1));
    until_document(&stage, 1);
    // The running one goes on while it is not clear which is meant.
    stage.put_as(TIDE, COMPANION);
    let view = stage.until(TIDE, "both are there", |view| {
        view.pending.as_ref().is_some_and(|problem| problem.code == "duplicate_id")
    });
    assert!(is_running(&view) && view.pending.unwrap().text.contains("remove one of them"));
    fs::remove_dir_all(stage.folder().join(TIDE)).unwrap();
    stage.until(TIDE, "nothing is wrong any more", |view| view.pending.is_none() && is_running(view));
    until_document(&stage, 1);
    // Both at once, from the start: neither is taken.
    stage.put_bytes("pair", &tide(1));
    stage.put_as("pair", COMPANION);
    stage.until("pair", "both are there", |view| {
        let told = view.pending.as_ref().or(view.problem.as_ref());
        told.is_some_and(|problem| problem.code == "duplicate_id")
    });
    fs::remove_file(stage.folder().join("pair.wasm")).unwrap();
    stage.until("pair", "the folder is taken", |view| is_running(view) && view.exports == ["collector"]);
}

#[test]
fn what_must_not_be_loaded_is_refused_by_name() {
    let stage = Stage::new(BTreeMap::new());
    let folder = stage.folder();
    let place = |name: &str, manifest: Option<&str>| {
        let part = stage.aside(&format!("{name}.making"));
        fs::create_dir(&part).unwrap();
        fs::write(part.join(format!("{name}.wasm")), tide(1)).unwrap();
        if let Some(manifest) = manifest {
            fs::write(part.join("addon.toml"), manifest).unwrap();
        }
        part
    };
    let put =
        |name: &str, manifest: Option<&str>| fs::rename(place(name, manifest), folder.join(name)).unwrap();
    let outside = stage.aside("outside.wasm");
    fs::write(&outside, tide(1)).unwrap();
    symlink(&outside, folder.join("linked.wasm")).unwrap();
    symlink(stage.aside("nowhere"), folder.join("dangling.wasm")).unwrap();
    let linked = place("linked-inside", Some("id = \"linked-inside\""));
    fs::remove_file(linked.join("linked-inside.wasm")).unwrap();
    symlink(&outside, linked.join("linked-inside.wasm")).unwrap();
    fs::rename(linked, folder.join("linked-inside")).unwrap();
    symlink(stage.aside("home"), folder.join("linked-folder")).unwrap();
    let open = stage.aside("open.wasm");
    fs::write(&open, tide(1)).unwrap();
    fs::set_permissions(&open, Permissions::from_mode(0o666)).unwrap();
    fs::rename(open, folder.join("open.wasm")).unwrap();
    let open = place("open-folder", Some("id = \"open-folder\""));
    fs::set_permissions(&open, Permissions::from_mode(0o777)).unwrap();
    fs::rename(open, folder.join("open-folder")).unwrap();
    put("unknown-key", Some("id = \"unknown-key\"\nautor = \"me\"\n"));
    put("unknown-right", Some("id = \"unknown-right\"\n[asks]\nsockets = true\n"));
    put("wrong-id", Some("id = \"other\"\n"));
    put("no-toml", Some("id = \n"));
    put("no-id", Some("version = \"1\"\n"));
    put("greedy", Some("id = \"greedy\"\n[limits]\nmemory_mib = 4096\n"));
    put("lease-hog", Some("id = \"lease-hog\"\n[asks]\nleases = { max_units = 101 }\n"));
    put("escaping", Some("id = \"escaping\"\n[asks]\nhost_data = [\"/proc/../etc\"]\n"));
    put("not-text", None);
    fs::write(folder.join("not-text/addon.toml"), b"id = \"\xff\"").unwrap();
    put("no-manifest", None);
    fs::create_dir(folder.join("empty")).unwrap();
    fs::write(folder.join("Upper.wasm"), tide(1)).unwrap();
    fs::write(folder.join("foreign.cwasm"), b"\x7fELF").unwrap();
    fs::create_dir(folder.join("folder.wasm")).unwrap();
    rustix::fs::mknodat(
        rustix::fs::CWD,
        folder.join("pipe.wasm"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RUSR,
        0,
    )
    .unwrap();
    // Not there yet, as editors and copying tools name it.
    for name in [".hidden.wasm", "later.wasm.part", "later.wasm.tmp", "later.wasm~"] {
        fs::write(folder.join(name), "half").unwrap();
    }
    let expected = [
        ("Upper", "bad_id", "rename"),
        ("dangling", "symlink", "put the file or folder itself there"),
        ("empty", "no_wasm", "copy the component there"),
        ("escaping", "manifest_wrong_value", "without .."),
        ("folder.wasm", "bad_id", "rename"),
        ("foreign.cwasm", "not_an_addon", "keep it elsewhere"),
        ("greedy", "manifest_out_of_range", "1 to 256"),
        ("lease-hog", "manifest_out_of_range", "1 to 100"),
        ("linked", "symlink", "put the file or folder itself there"),
        ("linked-folder", "symlink", "put the file or folder itself there"),
        ("linked-inside", "symlink", "linked-inside/linked-inside.wasm"),
        ("no-id", "manifest_missing_key", "add it"),
        ("no-manifest", "no_manifest", "write one"),
        ("no-toml", "manifest_syntax", "correct the line"),
        ("not-text", "manifest_not_text", "UTF-8"),
        ("open", "world_writable", "chmod o-w"),
        ("open-folder", "world_writable", "chmod o-w"),
        ("pipe", "not_a_regular_file", "replace it"),
        ("unknown-key", "manifest_unknown_key", "autor"),
        ("unknown-right", "manifest_unknown_key", "sockets"),
        ("wrong-id", "manifest_wrong_id", "make both the same"),
    ];
    let upper = |name: &str| if name == "Upper" { "Upper.wasm".to_owned() } else { name.to_owned() };
    let mut wrong = Vec::new();
    for (name, code, word) in expected {
        let view = stage.until(&upper(name), code, |view| view.problem.is_some());
        let problem = view.problem.unwrap();
        if view.state.name() != "refused" || problem.code != code || !problem.text.contains(word) {
            wrong.push(format!("{name}: {} {} {:?}", view.state.name(), problem.code, problem.text));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let names: Vec<String> = stage.host.list().into_iter().map(|view| view.name).collect();
    assert_eq!(names.len(), expected.len(), "{names:?}");
    // Mended, each is taken without a restart of anything.
    fs::remove_file(folder.join("linked.wasm")).unwrap();
    stage.put_bytes("linked", &tide(1));
    fs::set_permissions(folder.join("open.wasm"), Permissions::from_mode(0o644)).unwrap();
    fs::write(folder.join("unknown-key/addon.toml"), "id = \"unknown-key\"\n").unwrap();
    for name in ["linked", "open", "unknown-key"] {
        stage.until(name, "runs when it is mended", is_running);
    }
}

#[test]
fn a_cache_that_others_can_write_is_not_used() {
    let home = tempfile::tempdir().unwrap();
    let cache = home.path().join("cache");
    fs::create_dir(&cache).unwrap();
    fs::set_permissions(&cache, Permissions::from_mode(0o770)).unwrap();
    let stage = Stage::with(|config| config.cache_dir.clone_from(&cache));
    stage.put_bytes(TIDE, &tide(1));
    let view = stage.until(TIDE, "refused", |view| view.state.name() == "refused");
    let problem = view.problem.unwrap();
    assert!(problem.text.contains("run chmod 700"), "{problem:?}");
    assert_eq!(problem.code, "cache_folder_mode", "{problem:?}");
    assert_eq!(fs::read_dir(&cache).unwrap().count(), 0, "nothing was written there");
    fs::set_permissions(&cache, Permissions::from_mode(0o700)).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(stage.host.reload(TIDE)).unwrap();
    stage.until(TIDE, "runs when it is mended", is_running);
    // A compiled file that somebody put there is not taken either: it is compiled again.
    drop(stage);
    let entries: Vec<_> = fs::read_dir(&cache).unwrap().map(|entry| entry.unwrap().path()).collect();
    let compiled = entries.iter().find(|path| path.file_name().unwrap() != "key").unwrap();
    let mut bytes = fs::read(compiled).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    fs::write(compiled, &bytes).unwrap();
    let stage = Stage::with(|config| config.cache_dir.clone_from(&cache));
    stage.put_bytes(TIDE, &tide(1));
    until_document(&stage, 1);
    let again = fs::read(compiled).unwrap();
    assert!(again != bytes, "it was compiled and kept again");
}

#[test]
fn guests_that_wait_are_removed_together() {
    let stage = Stage::new(BTreeMap::new());
    stage.bring_companion();
    let since = clock::mono();
    let names: Vec<String> = (0..6).map(|number| format!("naps-{number}")).collect();
    for name in &names {
        stage.put_as(name, "naps");
    }
    for name in &names {
        stage.until(name, "in its call", |view| is_running(view) && view.metered.calls >= 2);
    }
    let begun = clock::mono();
    for name in &names {
        stage.take_away(name);
    }
    eventually("they are gone", || (stage.host.list().len() == 1).then_some(()));
    let seconds = clock::mono().since(begun).as_secs_f64();
    println!("{} guests that wait were removed in {seconds:.1} s", names.len());
    // Each may take two seconds to end its call; together they take little longer than one.
    assert!(seconds < 4.5, "removing them took {seconds:.1} s");
    stage.assert_companion_is_well(since);
}

/// What this process holds: bytes of memory, open files, threads.
fn held() -> (f64, usize, usize) {
    let text = fs::read_to_string("/proc/self/statm").unwrap();
    let pages: usize = text.split_whitespace().nth(1).unwrap().parse().unwrap();
    let count = |folder: &str| fs::read_dir(folder).unwrap().count();
    (
        (pages * rustix::param::page_size()) as f64 / f64::from(1 << 20),
        count("/proc/self/fd"),
        count("/proc/self/task"),
    )
}

#[test]
fn a_file_that_is_replaced_again_and_again_leaks_nothing_and_disturbs_nobody() {
    let rounds = if is_strict() { 1_000 } else { 60 };
    let stage = Stage::new(BTreeMap::from([(id("kv-flood"), granting(r#"{"kv": true}"#))]));
    stage.bring_companion();
    // Others at work.
    for guest in ["line-storm", "kv-flood", "label-bomb"] {
        stage.put(guest);
        stage.until(guest, "runs", |view| is_running(view) && view.metered.calls > 1);
    }
    let since = clock::mono();
    stage.put_bytes(TIDE, &tide(0));
    until_document(&stage, 0);
    let mut random = Random::new(7);
    let mut settled = None;
    let begun = clock::mono();
    for round in 1..=rounds {
        stage.put_bytes(TIDE, &tide(round));
        if round == rounds / 3 {
            settled = Some(held());
        }
        // Sooner than a file must be left alone, about as soon, or so late that each is loaded.
        let end = clock::mono().plus(Duration::from_millis(random.below(600)));
        while clock::mono() < end {
            pause();
        }
    }
    until_document(&stage, rounds);
    let seconds = clock::mono().since(begun).as_secs_f64();
    let (loads, all) = (replacements(&stage, TIDE).len(), held());
    let (memory, files, threads) = settled.unwrap();
    println!(
        "{rounds} replacements in {seconds:.1} s, {loads} loads; {memory:.1} MiB, {files} files, {threads} threads, and then {all:?}"
    );
    assert!(loads as f64 <= seconds * 2.0 + 2.0, "{loads} loads in {seconds:.1} s");
    assert!(loads >= rounds / 6, "only {loads} loads");
    let view = stage.host.view(TIDE).unwrap();
    assert_eq!((view.metered.crashes, view.pending), (0, None));
    // In a process of its own, which it has with cargo-nextest.
    if std::env::var_os("NEXTEST").is_some() {
        assert!(all.0 <= memory * 1.05 + 6.0, "{memory:.1} MiB and then {:.1} MiB", all.0);
        assert!(all.1 <= files + 2, "{files} open files and then {}", all.1);
        // Threads that wait for blocking work come and go.
        assert!(all.2 <= threads + 16, "{threads} threads and then {}", all.2);
    }
    stage.assert_companion_is_well(since);
}
