//! What the operator orders while addons run: grants taken away, replacements that do less, switches that cannot be read.

use super::stage::{PATIENCE, Stage, granting, id, wrapped};
use crate::daemon::eventually_within;
use lowtide_addons::AddonView;
use lowtide_clock as clock;
use std::collections::BTreeMap;
use std::fs;

fn is_running(view: &AddonView) -> bool {
    view.state.name() == "running"
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

/// An addon whose document is empty.
fn plain() -> Vec<u8> {
    let fields = r#"(memory (export "memory") 1) (data (i32.const 16) "{}")
        (data (i32.const 4) "\10\00\00\00\02\00\00\00") (func (export "stats") (result i32) i32.const 0)"#;
    wat::parse_str(wrapped(fields)).unwrap()
}

#[test]
fn a_grant_that_is_taken_away_ends_what_used_it() {
    let granted = BTreeMap::from([(id("kv-flood"), granting(r#"{"kv":true}"#))]);
    let stage = Stage::new(granted.clone());
    stage.put("kv-flood");
    stage.until("kv-flood", "runs", is_running);
    block_on(stage.host.configure(BTreeMap::new())).unwrap();
    let view = stage.until("kv-flood", "is refused", |view| view.state.name() == "refused");
    assert_eq!(view.problem.unwrap().code, "not_granted");
    block_on(stage.host.configure(granted)).unwrap();
    stage.until("kv-flood", "runs again", is_running);
}

#[test]
fn what_a_replacement_no_longer_exports_no_longer_holds() {
    let stage = Stage::new(BTreeMap::new());
    stage.put_as("swap", "companion");
    let reported =
        || stage.host.reports(clock::now()).into_iter().find(|report| *report.info.name == *"addon.swap");
    eventually_within(PATIENCE, "it has collected", || reported()?.samples.map(drop));
    let part = stage.aside("swap.wasm");
    fs::write(&part, plain()).unwrap();
    fs::rename(part, stage.folder().join("swap/swap.wasm")).unwrap();
    eventually_within(PATIENCE, "the new one has a document", || {
        stage.host.stats("swap").ok()?.ok()?.map(drop)
    });
    assert!(reported().is_none(), "{:?}", reported());
    assert!(stage.host.view("swap").unwrap().health.is_none());
}

#[test]
fn switches_that_cannot_be_read_switch_nothing_on() {
    let mut file = None;
    let stage = Stage::with(|config| {
        fs::write(&config.disabled_file, b"quiet\xff\n").unwrap();
        file = Some(config.disabled_file.clone());
    });
    stage.put_bytes("quiet", &plain());
    let problem = eventually_within(PATIENCE, "it is told", || stage.host.folder_problem());
    assert_eq!(problem.code, "addons_disabled_unreadable");
    assert!(problem.text.contains("mend or remove the file"), "{problem:?}");
    assert!(stage.host.list().is_empty());
    fs::write(file.unwrap(), "quiet\n").unwrap();
    stage.until("quiet", "stays off", |view| view.state.name() == "disabled");
    assert!(stage.host.folder_problem().is_none());
    block_on(stage.host.set_enabled("quiet", true)).unwrap();
    stage.until("quiet", "runs", is_running);
}

#[test]
fn who_is_switched_off_has_ended_when_the_answer_comes() {
    let stage = Stage::new(BTreeMap::new());
    stage.put("naps");
    stage.until("naps", "runs", is_running);
    let view = block_on(stage.host.set_enabled("naps", false)).unwrap();
    assert_eq!(view.state.name(), "disabled");
    let told = stage.told("naps").len();
    assert!(stage.host.reports(clock::now()).iter().all(|report| *report.info.name != *"addon.naps"));
    let view = block_on(stage.host.set_enabled("naps", true)).unwrap();
    assert_eq!(view.state.name(), "loading");
    stage.until("naps", "runs again", is_running);
    assert_eq!(stage.told("naps").len(), told + 2, "{:?}", stage.told("naps"));
}
