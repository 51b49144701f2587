//! Every exception from the rules of tidy, each with its reason. An entry that is no longer needed is itself a finding.

use super::rust::{self, Scan};
use super::{File, Finding};

/// Hand-written files that may be longer than 800 lines.
pub(super) const LONG_FILES: &[(&str, &str)] = &[];

/// Rust files that may wait for time to pass instead of for a condition.
pub(super) const SLEEPERS: &[(&str, &str)] = &[];

/// Files that may hold a note about unfinished work.
pub(super) const UNFINISHED: &[(&str, &str)] = &[];

/// Files that may allow unsafe code in them; `Cargo.toml` denies it everywhere else.
pub(super) const UNSAFE: &[(&str, &str)] = &[
    (
        "host/crates/addons/src/cache.rs",
        "the one call that takes compiled code back, whose keyed hash was checked",
    ),
    ("host/crates/addons/src/wit/v0_1.rs", "the bindings that wasmtime generates"),
    ("host/crates/run/src/class.rs", "three system calls that rustix does not have"),
    ("host/crates/store/src/shim.rs", "a disk for tests: SQLite knows it as a table of C functions"),
];

/// Entries of the lists above that nothing needs any more.
pub(super) fn unused(files: &[File]) -> Vec<Finding> {
    let text = |path: &str| files.iter().find(|file| file.path == path).map(|file| file.text.as_str());
    let long = |path: &str| text(path).is_some_and(|text| text.lines().count() > 800);
    let sleeps = |path: &str| text(path).is_some_and(|text| !rust::sleeps(&Scan::new(text)).is_empty());
    let unfinished =
        |path: &str| text(path).is_some_and(|text| text.lines().any(super::documents::is_unfinished));
    let allows =
        |path: &str| text(path).is_some_and(|text| !rust::allows_unsafe(&Scan::new(text)).is_empty());
    let mut found = Vec::new();
    for (list, needed) in [
        (LONG_FILES, &long as &dyn Fn(&str) -> bool),
        (SLEEPERS, &sleeps),
        (UNFINISHED, &unfinished),
        (UNSAFE, &allows),
    ] {
        for (path, reason) in list {
            if !needed(path) || reason.is_empty() {
                let advice = format!("the exception for {path} is not needed, or has no reason: remove it");
                found.push(Finding::new("xtask/src/tidy/exceptions.rs", 1, "exceptions", advice));
            }
        }
    }
    found
}
