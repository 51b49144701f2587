//! `lowtide addon test`: the cases of a project, each against the built component in a private host on a made-up machine. What the addon
//! may do is as in the daemon; only files, servers, the store and the host's readings are what the case says. The clock is the real one.

use crate::bench::{Setup, Stage, Store};
use crate::case::Case;
use crate::error::read;
use crate::project::{Language, Project};
use crate::run::{Outcome, play};
use crate::{AuthorError, Say, tools};
use lowtide_addons::discover;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

/// How one case went.
#[derive(Clone, Debug)]
pub struct Verdict {
    /// The case's file, without its ending.
    pub name: String,
    /// What was not as expected, each with what was there instead; empty when it passed.
    pub problems: Vec<String>,
    /// How long it took.
    pub took: Duration,
}

/// Runs the language's own tests, where they are known (Rust: `cargo test`).
///
/// # Errors
/// When they fail.
pub fn native(project: &Project, say: Say<'_>) -> Result<(), AuthorError> {
    if project.language != Language::Rust {
        return Ok(());
    }
    // The toolchain for components may have no std for this machine, so the ordinary one goes first.
    let cargo = tools::on_path("cargo").or_else(|| tools::find("cargo"));
    let cargo = cargo.ok_or_else(|| AuthorError::Missing("cargo is not there: install Rust".to_owned()))?;
    say("running cargo test");
    tools::run(Command::new(cargo).args(["test", "--quiet"]).current_dir(&project.folder))
}

/// The cases of a project, in the order of their names.
///
/// # Errors
/// When the folder cannot be read.
pub fn cases(project: &Project) -> Result<Vec<PathBuf>, AuthorError> {
    let folder = project.folder.join("tests");
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    let entries = std::fs::read_dir(&folder).map_err(AuthorError::file("list", &folder))?;
    let mut files: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "toml"));
    files.sort();
    Ok(files)
}

/// Runs one case against the built component of a project: the one in `dist/`, or the addon at `built`.
///
/// # Errors
/// When the project is not built, or no addon host can be made. A case that cannot be read is a failed one.
pub fn run(project: &Project, built: Option<&Path>, case: &Path) -> Result<Verdict, AuthorError> {
    let begun = lowtide_clock::mono();
    let name = case.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let problems = match toml::from_str::<Case>(&read(case)?) {
        Ok(case) => judge(built.unwrap_or(&project.folder), &case)?,
        Err(error) => vec![format!("the case cannot be read: {error}")],
    };
    Ok(Verdict { name, problems, took: lowtide_clock::mono().since(begun) })
}

fn judge(place: &Path, case: &Case) -> Result<Vec<String>, AuthorError> {
    let stage = Stage::new(place)?;
    let files = stage.candidate().and_then(|candidate| discover::read(&candidate));
    let manifest = files.map_err(|error| AuthorError::Input(error.to_string()))?.manifest;
    let machine =
        tempfile::tempdir().map_err(AuthorError::file("make a folder in", &std::env::temp_dir()))?;
    let kv: BTreeMap<String, Vec<u8>> =
        case.kv.iter().map(|(key, value)| (key.clone(), value.clone().into_bytes())).collect();
    let store = Arc::new(Store::new(kv, case.kv_unavailable));
    let setup = Setup {
        grants: case.grants.clone().unwrap_or_else(|| manifest.asks.clone()),
        settings: case.settings()?,
        store: Arc::clone(&store),
        fakes: Some(case.machine(machine.path())?),
        state: case.state(),
    };
    let outcome = play(stage, &manifest.id, setup, case.calls)?;
    Ok(differences(case, &outcome, &store))
}

/// What is not as expected.
fn differences(case: &Case, outcome: &Outcome, store: &Store) -> Vec<String> {
    let mut found = Vec::new();
    let expect = &case.expect;
    match &expect.failure {
        None => found.extend(outcome.failures.iter().map(|failure| format!("it failed: {failure}"))),
        Some(words) => {
            let said: Vec<&String> = outcome.failures.iter().chain(&outcome.absent).collect();
            if !said.iter().any(|text| text.contains(words.as_str())) {
                found.push(format!("expected a failure that says {words:?}; {}", list("it said", said)));
            }
        }
    }
    let there: BTreeMap<&str, f64> =
        outcome.samples.iter().map(|sample| (sample.series.as_str(), sample.value)).collect();
    for (series, expected) in &expect.samples {
        match there.get(series.as_str()) {
            Some(value) if same(*value, *expected) => {}
            Some(value) => found.push(format!("{series}: expected {expected}, is {value}")),
            None => found.push(format!(
                "{series}: expected {expected}, is not there; {}",
                list("there are", there.keys())
            )),
        }
    }
    if expect.no_others {
        let others = there.iter().filter(|(series, _)| !expect.samples.contains_key(**series));
        found.extend(others.map(|(series, value)| format!("{series}: expected no such sample, is {value}")));
    }
    if let Some(expected) = &expect.presence {
        let present: BTreeMap<String, f64> =
            outcome.presence.iter().map(|signal| (signal.what.clone(), signal.weight)).collect();
        let equal = present.len() == expected.len()
            && expected.iter().all(|(what, weight)| present.get(what).is_some_and(|is| same(*is, *weight)));
        if !equal {
            found.push(format!("presence: expected {expected:?}, is {present:?}"));
        }
    }
    if let Some(expected) = &expect.stats {
        let expected = serde_json::to_value(expected).unwrap_or_default();
        let stats = outcome.stats.clone().unwrap_or_default();
        for (key, value) in expected.as_object().into_iter().flatten() {
            let is = stats.get(key).unwrap_or(&serde_json::Value::Null);
            if !alike(is, value) {
                found.push(format!("stats.{key}: expected {value}, is {is}"));
            }
        }
    }
    if let Some(expected) = &expect.health {
        let (status, text) =
            outcome.health.as_ref().map_or(("not told", ""), |health| (health.status, &health.text));
        if status != expected {
            found.push(format!("health: expected {expected}, is {status} {text}").trim_end().to_owned());
        }
    }
    for words in &expect.log {
        if !outcome.log.iter().any(|line| line.text.contains(words.as_str())) {
            let lines = outcome.log.iter().map(|line| &line.text);
            found.push(format!("log: no line says {words:?}; {}", list("the log is", lines)));
        }
    }
    for name in &expect.events {
        if !outcome.events.contains(name) {
            found.push(format!("events: {name} was not reported; {}", list("there were", &outcome.events)));
        }
    }
    let values = store.values();
    for (key, expected) in &expect.kv {
        let is = values.get(key).map(|value| String::from_utf8_lossy(value));
        if is.as_deref() != Some(expected.as_str()) {
            found.push(format!(
                "kv.{key}: expected {expected:?}, is {}",
                is.map_or("not there".to_owned(), |is| format!("{is:?}"))
            ));
        }
    }
    found
}

/// Equal but for what computing with floating point leaves.
fn same(is: f64, expected: f64) -> bool {
    (is - expected).abs() <= 1e-9 * expected.abs().max(1.0)
}

/// The same for JSON: TOML tells 1 from 1.0, and an author need not.
fn alike(is: &serde_json::Value, expected: &serde_json::Value) -> bool {
    match (is.as_f64(), expected.as_f64()) {
        (Some(is), Some(expected)) => same(is, expected),
        _ => is == expected,
    }
}

fn list<T: std::fmt::Display>(before: &str, items: impl IntoIterator<Item = T>) -> String {
    let items: Vec<String> = items.into_iter().map(|item| item.to_string()).collect();
    if items.is_empty() { format!("{before}: nothing") } else { format!("{before}: {}", items.join(" | ")) }
}
