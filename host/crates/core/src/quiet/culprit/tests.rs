//! Who is named, as a table.

use super::*;
use crate::metric::{MetricDef, MetricRef, Part, Text};
use crate::quiet::SIGNALS;
use crate::report::{CollectorInfo, CollectorReport, Samples};
use crate::units::{Now, Unit, WallTime};
use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

/// Name, kind, share of the processors, memory, bytes read, bytes written.
type Line = (&'static str, &'static str, f64, f64, f64, f64);

const LABELS: &[Text] = &[Cow::Borrowed("unit"), Cow::Borrowed("kind")];

fn report(lines: &[Line]) -> CollectorReport {
    let (mut series, mut values) = (Vec::new(), Vec::new());
    for (name, kind, cpu, memory, read, written) in lines {
        for (metric, value) in [
            ("host_units_cpu_usage_ratio", cpu),
            ("host_units_memory_bytes", memory),
            ("host_units_read_bytes_per_second", read),
            ("host_units_written_bytes_per_second", written),
        ] {
            let metric =
                MetricRef::Declared(Arc::new(MetricDef::gauge(metric, Unit::Ratio, LABELS, "Test.")));
            series.push(Series {
                metric,
                part: Part::Value,
                labels: [(*name).into(), (*kind).into()].into(),
            });
            values.push(*value);
        }
    }
    let interval = Duration::from_secs(15);
    let info = CollectorInfo {
        name: COLLECTOR.into(),
        group: "host".into(),
        metric_prefix: "host_units_".into(),
        help: "Test.".into(),
        interval,
        metrics: Cow::Borrowed(&[]),
    };
    let samples = Samples { series: series.into(), values: values.into(), dropped: 0, settled: true };
    CollectorReport {
        info: Arc::new(info),
        status: CollectorStatus::Ok,
        samples: Some(Arc::new(samples)),
        collected_at: None,
        fresh: false,
        stale: false,
        duration: Duration::ZERO,
        interval,
        error: None,
        status_since: WallTime(0),
        runs: 5,
        failures: 0,
        overruns: 0,
    }
}

fn named(report: CollectorReport, signal: SignalId) -> Option<String> {
    let now = Now { mono: crate::units::MonoTime(Duration::from_secs(9)), wall: WallTime(0) };
    let snapshot = Snapshot::build(1, now, Duration::from_secs(2), vec![report]);
    find(&snapshot, signal).map(|culprit| culprit.words())
}

const MIB: f64 = 1_048_576.0;

/// Each resource has another unit in front.
const MIXED: &[Line] = &[
    ("jellyfin.service", "service", 0.40, 1e9, 0.0, 0.0),
    ("docker:4f66ad9a0b2e", "container", 0.10, 9e9, MIB, MIB),
    ("restic", "group", 0.05, 1e8, 30.0 * MIB, 30.0 * MIB),
    ("idle.service", "service", 0.0, 1e7, f64::NAN, f64::NAN),
];

#[test]
fn each_signal_names_who_uses_most_of_what_it_is_about() {
    for def in &SIGNALS {
        let expected = match def.name {
            "cpu" | "load_per_core" | "cpu_pressure" => Some(", mostly jellyfin.service"),
            "io_pressure" | "disk_busy" => Some(", mostly process restic"),
            "memory_pressure" | "memory_available" | "swap_rate" | "swap_used" => {
                Some(", mostly docker:4f66ad9a0b2e")
            }
            _ => None,
        };
        assert_eq!(named(report(MIXED), def.id).as_deref(), expected, "{}", def.name);
    }
}

#[test]
fn one_of_several_a_lease_or_next_to_nothing_is_not_named() {
    let cases: &[(&[Line], Option<&str>)] = &[
        (&[], None),
        (&[("a", "service", 0.50, 0.0, 0.0, 0.0)], Some("a")),
        (&[("a", "service", 0.30, 0.0, 0.0, 0.0), ("b", "service", 0.30, 0.0, 0.0, 0.0)], Some("a")),
        (&[("b", "service", 0.29, 0.0, 0.0, 0.0), ("a", "service", 0.30, 0.0, 0.0, 0.0)], Some("a")),
        (
            &[
                ("a", "service", 0.30, 0.0, 0.0, 0.0),
                ("b", "service", 0.29, 0.0, 0.0, 0.0),
                ("c", "service", 0.02, 0.0, 0.0, 0.0),
            ],
            None,
        ),
        (
            &[("lowtide-run-1.scope", "lease", 0.90, 0.0, 0.0, 0.0), ("a", "service", 0.05, 0.0, 0.0, 0.0)],
            None,
        ),
        (&[("a", "service", 0.09, 0.0, 0.0, 0.0)], None),
        (&[("a", "service", f64::NAN, 0.0, 0.0, 0.0)], None),
    ];
    for (lines, expected) in cases {
        let expected = expected.map(|name| format!(", mostly {name}"));
        assert_eq!(named(report(lines), SignalId::Cpu), expected, "{lines:?}");
    }
    let small = &[("a", "service", 0.0, 0.0, 1e5, 1e5)];
    assert_eq!(named(report(small), SignalId::DiskBusy), None);
    let nothing = &[("a", "service", 0.0, 0.0, 0.0, 0.0)];
    assert_eq!(named(report(nothing), SignalId::SwapRate), None);
}

#[test]
fn units_that_are_not_freshly_known_name_nobody() {
    for status in [
        CollectorStatus::Pending,
        CollectorStatus::Failing,
        CollectorStatus::Overdue,
        CollectorStatus::Absent,
    ] {
        assert_eq!(named(CollectorReport { status, ..report(MIXED) }, SignalId::Cpu), None, "{status:?}");
    }
    assert_eq!(named(CollectorReport { stale: true, ..report(MIXED) }, SignalId::Cpu), None);
    assert_eq!(named(CollectorReport { samples: None, ..report(MIXED) }, SignalId::Cpu), None);
}
