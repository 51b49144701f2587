//! The contract in this crate is the repository's, byte for byte.
//!
//! It is a copy, because a package on crates.io has only what lies in its folder, and not every checkout of git has symbolic
//! links. Outside the repository there is nothing to compare with.

use std::collections::BTreeMap;
use std::path::Path;

fn texts(folder: &Path) -> BTreeMap<String, String> {
    let entries = std::fs::read_dir(folder).unwrap().map(Result::unwrap);
    entries
        .map(|entry| {
            let name = entry.file_name().into_string().unwrap();
            (name, std::fs::read_to_string(entry.path()).unwrap())
        })
        .collect()
}

#[test]
fn the_copy_of_the_contract_is_the_contract() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let original = here.join("../wit/v0.1");
    if !original.is_dir() {
        return;
    }
    let (copy, original) = (texts(&here.join("wit/v0.1")), texts(&original));
    let names: Vec<_> =
        original.keys().chain(copy.keys()).filter(|name| copy.get(*name) != original.get(*name)).collect();
    assert!(names.is_empty(), "{names:?} differ: run `cp ../wit/v0.1/*.wit wit/v0.1/` in guest-sdk");
}
