//! The frozen set of `lowtide:addon@0.1.0`: one good guest for each export, which together use every import, as sources and as the
//! components that were committed when 0.1 was released. Both must run on every later host. See `tests/frozen/v0.1/README.md`.

use super::stage::{PATIENCE, Stage, built_fixture, granting, id};
use crate::daemon::eventually_within;
use lowtide_addons::id::AddonId;
use lowtide_addons::{AddonConfig, AddonView, Happening, Setting};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

const SET: [&str; 5] = ["v01-collector", "v01-presence", "v01-stats", "v01-health", "v01-job"];

/// The committed components must stay small: a repository keeps them for ever.
const BYTES_MAX: u64 = 100_000;

pub(super) fn frozen() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("frozen/v0.1")
}

/// The lines of the list of sums: file name and BLAKE3.
fn sums() -> BTreeMap<String, String> {
    let text = fs::read_to_string(frozen().join("B3SUMS")).unwrap();
    text.lines()
        .map(|line| line.split_once("  ").map(|(sum, name)| (name.to_owned(), sum.to_owned())).unwrap())
        .collect()
}

#[test]
fn the_committed_components_are_the_ones_that_were_frozen() {
    let sums = sums();
    let files: BTreeSet<String> = fs::read_dir(frozen())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with(".wasm") || name.ends_with(".toml"))
        .collect();
    assert_eq!(files, sums.keys().cloned().collect::<BTreeSet<_>>());
    for (name, sum) in &sums {
        let bytes = fs::read(frozen().join(name)).unwrap();
        assert_eq!(blake3::hash(&bytes).to_hex().as_str(), sum, "{name} was changed; a frozen file never is");
        assert!(bytes.len() as u64 <= BYTES_MAX, "{name} has {} bytes", bytes.len());
    }
    let components: BTreeSet<&str> = sums.keys().filter_map(|name| name.strip_suffix(".wasm")).collect();
    assert_eq!(components, BTreeSet::from(SET));
}

#[test]
fn the_committed_components_run() {
    let stage = Stage::new(config());
    for name in SET {
        let part = stage.aside(&format!("{name}.making"));
        fs::create_dir(&part).unwrap();
        fs::copy(frozen().join(format!("{name}.wasm")), part.join(format!("{name}.wasm"))).unwrap();
        fs::copy(frozen().join(format!("{name}.toml")), part.join("addon.toml")).unwrap();
        fs::rename(part, stage.folder().join(name)).unwrap();
    }
    assert_all_work(&stage);
    for name in SET {
        let sum = &sums()[&format!("{name}.wasm")];
        assert_eq!(
            stage.host.view(name).unwrap().digest.as_ref(),
            Some(sum),
            "the sum is what the API calls its digest"
        );
    }
}

#[test]
fn the_sources_of_the_frozen_set_run_too() {
    let stage = Stage::new(config());
    for name in SET {
        assert!(built_fixture(name).is_dir());
        stage.put(name);
    }
    assert_all_work(&stage);
}

fn config() -> BTreeMap<AddonId, AddonConfig> {
    let health = r#"{"http": ["GET http://127.0.0.1:1", "POST http://127.0.0.1:1"], "host_data": ["/proc", "tcp://127.0.0.1:1"]}"#;
    let settings = BTreeMap::from([("place".to_owned(), Setting::Text("harbour".to_owned()))]);
    BTreeMap::from([
        (id("v01-collector"), AddonConfig { settings, ..AddonConfig::default() }),
        (id("v01-stats"), granting(r#"{"kv": true}"#)),
        (id("v01-health"), granting(health)),
        (id("v01-job"), granting(r#"{"leases": {"max_units": 20}}"#)),
    ])
}

fn assert_all_work(stage: &Stage) {
    let views: Vec<AddonView> = SET
        .iter()
        .map(|name| {
            stage.until(name, "runs and has been called", |view| {
                let asked = view.exports == ["job"]
                    || view.metered.calls > u64::from(view.exports == ["collector"]) + 1;
                view.state.name() == "running" && asked
            })
        })
        .collect();
    for view in &views {
        // One of the jobs wishes a higher priority than its manifest asks for, and is told so.
        let problem = view.problem.as_ref().map(|problem| problem.code);
        let expected = (view.name == "v01-job").then_some("not_granted");
        assert_eq!(
            (problem, view.metered.crashes, view.wit_version.as_deref()),
            (expected, 0, Some("0.1.0")),
            "{}",
            view.name
        );
    }
    let exports: BTreeSet<&str> = views.iter().flat_map(|view| view.exports.clone()).collect();
    let imports: BTreeSet<&str> = views.iter().flat_map(|view| view.imports.clone()).collect();
    assert_eq!(exports, BTreeSet::from(["collector", "custom-stats", "health", "job", "presence"]));
    assert_eq!(
        imports,
        BTreeSet::from(["config", "host-data", "http", "kv", "leases", "log", "metrics", "system"])
    );

    let value = |metric: &str, label: &[&str]| {
        let report = stage.report("v01-collector")?;
        let samples = report.samples?;
        let name = format!("addon_v01_collector_{metric}");
        let found = samples
            .of(&name)
            .find(|(series, _)| series.labels.iter().map(AsRef::<str>::as_ref).eq(label.iter().copied()));
        found.map(|(_, value)| value)
    };
    eventually_within(PATIENCE, "the collector's samples", || {
        let gauges =
            value("level_bytes", &["harbour"]) == Some(42.0) && value("declared_ratio", &[]) == Some(0.5);
        let counter = value("ticks_total", &[]) >= Some(1.0);
        // The first part of a histogram is its lowest bucket, which one of the two observations fell into.
        let histogram = value("waits_seconds", &[]) >= Some(1.0);
        (gauges && counter && histogram).then_some(())
    });
    let event =
        |happening: &Happening| matches!(happening, Happening::Reported(event) if event.name == "collected");
    assert!(stage.told("v01-collector").iter().any(event));
    assert!(stage.log("v01-collector").iter().any(|line| line.text == "collecting"));
    let presence = stage.presence("v01-presence");
    assert!(presence.iter().any(|one| one.weight == 0.25 && one.kind.starts_with("someone")), "{presence:?}");
    let stats = stage.host.stats("v01-stats").unwrap().unwrap().unwrap();
    assert_eq!(stats.json, r#"{"kept":"yes","keys":"kept"}"#);
    let health = views.iter().find_map(|view| view.health.clone()).unwrap();
    assert_eq!((health.status, health.text.as_str()), ("ok", ""));
    let described = views.iter().flat_map(|view| &view.jobs).map(|job| &job.description);
    let jobs: Vec<(&str, u32)> = described.map(|job| (job.name.as_str(), job.cost_units)).collect();
    assert_eq!(jobs, [("reindex", 20), ("vacuum", 1)]);
}
