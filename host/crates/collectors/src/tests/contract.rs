//! The contract that every collector in the table keeps, checked by walking it: sound definitions, declared metrics only, no series
//! twice, values that can be, and an error that names what is wrong.

use super::machine::{self, Machine, Run};
use crate::collector::CollectError;
use crate::{CollectConfig, infos, table};
use lowtide_core::metric::{Kind, MetricRef};
use lowtide_core::report::CollectorInfo;
use lowtide_core::units::Unit;
use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

/// Everything that is wrong with the samples of one run.
pub(super) fn problems(info: &CollectorInfo, run: &Run) -> Vec<String> {
    let Ok(samples) = run else { return Vec::new() };
    let mut found = Vec::new();
    let mut seen = BTreeSet::new();
    let mut metrics: Vec<&str> = Vec::new();
    for (series, value) in samples {
        let name = series.metric.name.as_ref();
        let mut problem = |text: &str| found.push(format!("{name} {:?} = {value}: {text}", series.labels));
        let declared =
            info.metrics.iter().any(|def| matches!(series.metric, MetricRef::Builtin(have) if have == def));
        if !declared {
            problem("is not in the collector's table");
        }
        if !seen.insert((name, series.part.clone(), series.labels.clone())) {
            problem("is there twice");
        }
        if series.labels.iter().any(|label| label.is_empty()) {
            problem("has an empty label");
        }
        match metrics.last() {
            Some(last) if *last == name => {}
            _ if metrics.contains(&name) => problem("stands apart from others of its metric"),
            _ => metrics.push(name),
        }
        if !value.is_finite() {
            problem("is not a number");
        }
        if *value < 0.0 && series.metric.unit != Unit::Celsius {
            problem("is negative");
        }
        if series.metric.unit == Unit::Ratio && *value > 1.0 {
            problem("is more than the whole");
        }
    }
    found
}

#[test]
fn every_definition_is_sound_and_no_name_is_given_twice() {
    let mut names = BTreeSet::new();
    for info in infos() {
        assert!(names.insert(info.name.to_string()), "{}", info.name);
        assert!(!info.help.is_empty() && info.interval >= Duration::from_secs(1), "{}", info.name);
        for def in info.metrics.iter() {
            assert!(names.insert(def.name.to_string()), "{}", def.name);
            assert!(def.name.starts_with(info.metric_prefix.as_ref()), "{}", def.name);
            assert_eq!(def.problems(), Vec::<String>::new());
            assert!(def.help.ends_with('.'), "help of {} is a sentence", def.name);
        }
    }
}

#[test]
fn every_run_on_every_machine_keeps_the_contract() {
    for name in machine::names() {
        let mut machine = Machine::new(&name);
        for seconds in [100, 102] {
            for index in 0..machine.entries.len() {
                let run = machine.run(index, seconds);
                let info = &machine.entries[index].info;
                assert_eq!(problems(info, &run), Vec::<String>::new(), "{name} {}", info.name);
                assert!(
                    matches!(&run, Ok(_) | Err(CollectError::Absent(_))),
                    "{name} {}: {:?}",
                    info.name,
                    run.err()
                );
            }
            machine.advance();
        }
    }
}

#[test]
fn every_declared_metric_is_seen_on_some_machine() {
    let mut unseen: BTreeSet<String> =
        infos().iter().flat_map(|info| info.metrics.iter().map(|def| def.name.to_string())).collect();
    for name in machine::names() {
        let mut machine = Machine::new(&name);
        for seconds in [100, 102] {
            for index in 0..machine.entries.len() {
                for (series, _) in machine.run(index, seconds).unwrap_or_default() {
                    unseen.remove(series.metric.name.as_ref());
                }
            }
            machine.advance();
        }
    }
    assert_eq!(unseen, BTreeSet::new());
}

#[test]
fn the_first_run_has_no_rates_and_counters_are_cumulative() {
    let mut machine = Machine::new("desktop");
    for index in 0..machine.entries.len() {
        for (series, _) in machine.run(index, 100).unwrap_or_default() {
            let rate = matches!(series.metric.unit, Unit::BytesPerSecond | Unit::PerSecond);
            assert!(!rate, "{}", series.metric.name);
            assert_eq!(series.is_cumulative(), series.metric.kind != Kind::Gauge);
        }
    }
}

#[test]
fn a_missing_file_fails_the_collectors_that_need_it_and_no_others() {
    for (file, expected) in [
        ("stat", vec!["cpu", "system", "units", "process"]),
        ("loadavg", vec!["system"]),
        ("uptime", vec!["system", "units"]),
        ("meminfo", vec!["memory"]),
        ("vmstat", vec!["memory"]),
        ("pressure/io", vec!["pressure"]),
        ("diskstats", vec!["disk"]),
        ("net/dev", vec!["network"]),
        ("self/mountinfo", vec!["filesystem"]),
        ("self/limits", vec!["process"]),
    ] {
        let mut machine = Machine::new("desktop");
        fs::remove_file(machine.proc_dir().join(file)).unwrap();
        let mut failed = Vec::new();
        for index in 0..machine.entries.len() {
            match machine.run(index, 100) {
                Ok(_) | Err(CollectError::Absent(_)) => {}
                Err(error) => {
                    assert!(matches!(error, CollectError::Missing { .. }), "{error:?}");
                    assert!(error.chain().contains(file), "{}", error.chain());
                    failed.push(machine.entries[index].info.name.to_string());
                }
            }
        }
        assert_eq!(failed, expected, "{file}");
    }
}

#[test]
fn a_collector_forgets_and_then_gives_no_rate() {
    let mut machine = Machine::new("desktop");
    for index in 0..machine.entries.len() {
        let _ = machine.run(index, 100);
        machine.entries[index].collector.forget();
    }
    machine.advance();
    for index in 0..machine.entries.len() {
        for (series, _) in machine.run(index, 102).unwrap_or_default() {
            let rate = matches!(series.metric.unit, Unit::BytesPerSecond | Unit::PerSecond);
            let usage =
                series.metric.name.ends_with("usage_ratio") || series.metric.name.ends_with("waiting_ratio");
            assert!(!rate && !usage, "{}", series.metric.name);
        }
    }
}

#[test]
fn the_configuration_switches_off_and_sets_intervals() {
    let config = CollectConfig {
        tick: Duration::from_secs(1),
        disabled: vec!["sensors".into(), "power".into()],
        intervals: [("disk".to_owned(), Duration::from_secs(7))].into(),
        ..CollectConfig::default()
    };
    let entries = table(&config, &crate::Sources::new(std::sync::Arc::new(crate::ApiMeter::new(&["other"]))));
    let interval =
        |name: &str| entries.iter().find(|entry| entry.info.name == name).map(|entry| entry.interval);
    assert_eq!(interval("sensors"), None);
    assert_eq!(interval("disk"), Some(Duration::from_secs(7)));
    assert_eq!(interval("cpu"), Some(Duration::from_secs(1)));
    assert_eq!(interval("filesystem"), Some(Duration::from_secs(30)));
}
