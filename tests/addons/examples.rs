//! The example addons, as built: each passes its own cases by the command that any author uses, and the copies of the contract in them are
//! the contract.

use super::stage::{built, cache};
use crate::daemon;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// The folders of `example-addons/` that are addons.
fn examples() -> Vec<PathBuf> {
    let entries = fs::read_dir(root().join("example-addons")).unwrap();
    let mut folders: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    folders.retain(|folder| folder.join("addon.toml").is_file());
    folders.sort();
    folders
}

fn case_count(folder: &Path) -> usize {
    let entries = fs::read_dir(folder.join("tests")).map(|entries| entries.flatten().collect::<Vec<_>>());
    let is_case =
        |entry: &&fs::DirEntry| entry.path().extension().is_some_and(|extension| extension == "toml");
    entries.unwrap_or_default().iter().filter(is_case).count()
}

#[test]
fn every_example_passes_its_cases_as_a_component() {
    let examples = examples();
    assert!(examples.len() >= 9, "{examples:?}");
    for folder in examples {
        let id = folder.file_name().unwrap();
        assert!(case_count(&folder) >= 2, "{} has too few cases", folder.display());
        let output = Command::new(daemon::program())
            .args(["addon", "test", "--only-cases", "--built"])
            .arg(built().join("examples").join(id))
            .arg(&folder)
            // What was compiled once in this run is not compiled again.
            .env("XDG_CACHE_HOME", cache().parent().unwrap())
            .output()
            .unwrap();
        let (said, complained) =
            (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{}: {said}{complained}", folder.display());
        assert!(said.contains("cases passed"), "{said}");
    }
}

#[test]
fn copies_of_the_contract_are_the_contract() {
    let original = root().join("wit/v0.1");
    let copies = ["python-http-json", "js-calendar", "c-entropy"]
        .map(|example| root().join("example-addons").join(example).join("wit/deps/lowtide-addon"));
    for copy in copies.into_iter().chain([root().join("guest-sdk/wit/v0.1")]) {
        for entry in fs::read_dir(&original).unwrap() {
            let file = entry.unwrap().path();
            let other = copy.join(file.file_name().unwrap());
            assert_eq!(
                fs::read_to_string(&other).unwrap(),
                fs::read_to_string(&file).unwrap(),
                "{} differs: cp wit/v0.1/*.wit there",
                other.display()
            );
        }
    }
}
