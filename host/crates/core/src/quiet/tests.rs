//! The verdict as a table of situations, and as properties over random ones.

mod leased;

use super::*;
use crate::metric::{Kind, MetricDef, MetricRef, Part, Series};
use crate::report::{CollectorInfo, CollectorReport, CollectorStatus, Samples};
use crate::units::{Now, Unit};
use proptest::prelude::*;
use std::borrow::Cow;
use std::sync::Arc;

const TICK: Duration = Duration::from_secs(2);

/// Collector, metric, labels, value.
type Value = (&'static str, &'static str, &'static [(&'static str, &'static str)], f64);

/// A host with settable values, stepped tick by tick.
struct Host {
    second: u64,
    sequence: u64,
    runs: u64,
    values: Vec<Value>,
    /// Collectors that are not well, with why.
    unwell: Vec<(&'static str, CollectorStatus)>,
    presence: Vec<Presence>,
    /// A collector that has nothing new to say.
    slow: Option<&'static str>,
    memory: QuietMemory,
    config: QuietConfig,
}

impl Host {
    /// An idle machine with everything that can be measured.
    fn idle() -> Self {
        let values = vec![
            ("cpu", "host_cpu_usage_ratio", &[][..], 0.02),
            ("cpu", "host_cpu_nice_ratio", &[], 0.0),
            ("cpu", "host_cpu_logical_processors", &[], 4.0),
            ("system", "host_system_load_average1", &[], 0.1),
            ("pressure", "host_pressure_cpu_waiting_ratio", &[], 0.0),
            ("pressure", "host_pressure_memory_stalled_ratio", &[], 0.0),
            ("pressure", "host_pressure_io_stalled_ratio", &[], 0.0),
            ("disk", "host_disk_busy_ratio", &[("device", "sda")], 0.01),
            ("disk", "host_disk_busy_ratio", &[("device", "sdb")], 0.0),
            ("memory", "host_memory_available_ratio", &[], 0.6),
            ("memory", "host_memory_swap_size_bytes", &[], 1e9),
            ("memory", "host_memory_swap_used_ratio", &[], 0.0),
            ("memory", "host_memory_swap_in_bytes_per_second", &[], 0.0),
            ("memory", "host_memory_swap_out_bytes_per_second", &[], 0.0),
            ("filesystem", "host_filesystem_available_ratio", &[("mountpoint", "/")], 0.5),
            ("sensors", "host_sensors_headroom_celsius", &[("chip", "k10temp"), ("sensor", "Tctl")], 50.0),
            ("power", "host_power_on_battery", &[], 0.0),
            ("api", "api_requests_per_second", &[], 0.0),
        ];
        Self {
            second: 1_000,
            sequence: 0,
            runs: 5,
            values,
            unwell: Vec::new(),
            presence: Vec::new(),
            slow: None,
            memory: QuietMemory::default(),
            config: QuietConfig::default(),
        }
    }

    fn set(&mut self, metric: &str, value: f64) -> &mut Self {
        let found = self.values.iter_mut().find(|one| one.1 == metric).expect("a known metric");
        found.3 = value;
        self
    }

    fn without(&mut self, collector: &'static str, status: CollectorStatus) -> &mut Self {
        self.unwell.push((collector, status));
        self
    }

    fn snapshot(&mut self) -> Snapshot {
        let mono = MonoTime(Duration::from_secs(self.second));
        let wall = WallTime(i64::try_from(self.second).unwrap() * 1_000);
        let mut names: Vec<&str> = self.values.iter().map(|one| one.0).collect();
        names.dedup();
        let collectors = names.iter().map(|name| self.report(name)).collect();
        self.sequence += 1;
        Snapshot::build(self.sequence, Now { mono, wall }, TICK, collectors)
    }

    fn report(&self, name: &str) -> CollectorReport {
        let status = self.unwell.iter().find(|one| one.0 == name).map_or(CollectorStatus::Ok, |one| one.1);
        let (series, values): (Vec<Series>, Vec<f64>) = self
            .values
            .iter()
            .filter(|one| one.0 == name)
            .map(|(_, metric, labels, value)| {
                let keys: Vec<_> = labels.iter().map(|label| Cow::Borrowed(label.0)).collect();
                let def = MetricDef {
                    name: Cow::Borrowed(metric),
                    kind: Kind::Gauge,
                    unit: Unit::Ratio,
                    help: Cow::Borrowed("Test."),
                    labels: Cow::Owned(keys),
                };
                let labels = labels.iter().map(|label| label.1.into()).collect();
                (Series { metric: MetricRef::Declared(Arc::new(def)), part: Part::Value, labels }, *value)
            })
            .unzip();
        let info = CollectorInfo {
            name: Cow::Owned(name.to_owned()),
            group: "host".into(),
            metric_prefix: "host_".into(),
            help: "Test.".into(),
            interval: TICK,
            metrics: Cow::Borrowed(&[]),
        };
        let samples = Samples { series: series.into(), values: values.into(), dropped: 0, settled: true };
        CollectorReport {
            info: Arc::new(info),
            status,
            samples: (status == CollectorStatus::Ok).then(|| Arc::new(samples)),
            collected_at: None,
            fresh: self.slow != Some(name),
            stale: false,
            duration: Duration::ZERO,
            interval: TICK,
            error: (status != CollectorStatus::Ok).then(|| Arc::from("it is broken")),
            status_since: WallTime(0),
            runs: self.runs,
            failures: 0,
            overruns: 0,
        }
    }

    fn tick(&mut self) -> QuietAssessment {
        self.second += 2;
        let snapshot = self.snapshot();
        assess(&snapshot, &self.presence, &mut self.memory, &self.config)
    }

    fn run(&mut self, seconds: u64) -> QuietAssessment {
        (1..seconds / 2).for_each(|_| drop(self.tick()));
        self.tick()
    }
}

fn quiet_host() -> Host {
    let mut host = Host::idle();
    assert_eq!(host.run(200).state, Level::Quiet);
    host
}

fn texts(assessment: &QuietAssessment) -> Vec<&str> {
    assessment.reasons.iter().map(|reason| reason.text.as_str()).collect()
}

#[test]
fn quiet_begins_after_the_dwell_and_not_before() {
    let mut host = Host::idle();
    let first = host.tick();
    assert_eq!((first.state, first.score), (Level::Normal, 69));
    assert_eq!(first.quiet_in, Some(Duration::from_secs(180)));
    assert_eq!(texts(&first), ["calm now; QUIET in 180 s if it stays so (dwell 180 s)"]);
    let before = host.run(178);
    assert_eq!((before.state, before.quiet_in), (Level::Normal, Some(Duration::from_secs(2))));
    let after = host.tick();
    assert_eq!((after.state, after.confidence, after.quiet_in), (Level::Quiet, 1.0, None));
    assert!(after.score >= 70);
    assert_eq!(after.since, WallTime(i64::try_from(host.second).unwrap() * 1_000));
}

/// One change to a quiet host, and what the very next sample must say.
#[test]
fn each_signal_ends_quiet_at_once_with_its_reason() {
    type Change = (&'static str, f64);
    let table: &[(&[Change], Level, &str)] = &[
        (&[("host_cpu_usage_ratio", 0.40)], Level::Normal, "CPU use 40 % ≥ 35 %"),
        (&[("host_cpu_usage_ratio", 0.98)], Level::Busy, "CPU use 98 % ≥ 50 %"),
        (&[("host_pressure_io_stalled_ratio", 0.12)], Level::Busy, "I/O full pressure 12 % ≥ 10 %"),
        (&[("host_pressure_io_stalled_ratio", 0.06)], Level::Normal, "I/O full pressure 6.0 % ≥ 5.0 %"),
        (&[("host_pressure_memory_stalled_ratio", 0.06)], Level::Busy, "memory full pressure 6.0 % ≥ 5.0 %"),
        (&[("host_disk_busy_ratio", 0.90)], Level::Busy, "disk busy time (sda) 90 % ≥ 70 %"),
        (&[("host_memory_swap_out_bytes_per_second", 8e6)], Level::Busy, "swapping 7.6 MiB/s ≥ 4.0 MiB/s"),
        (&[("host_memory_available_ratio", 0.08)], Level::Normal, "available memory 8.0 % ≤ 10 %"),
        (&[("host_filesystem_available_ratio", 0.005)], Level::Busy, "free disk space (/) 0.5 % ≤ 1.0 %"),
        (&[("host_sensors_headroom_celsius", 9.0)], Level::Busy, "thermal headroom (Tctl) 9 °C ≤ 10 °C"),
        (&[("host_power_on_battery", 1.0)], Level::Normal, "running on battery yes ≥ yes"),
        (&[("api_requests_per_second", 300.0)], Level::Busy, "API requests 300/s ≥ 200/s"),
        (
            &[("host_cpu_usage_ratio", 0.9), ("host_pressure_cpu_waiting_ratio", 0.3)],
            Level::Busy,
            "CPU pressure 30 % ≥ 10 %",
        ),
    ];
    for (changes, state, text) in table {
        let mut host = quiet_host();
        changes.iter().for_each(|(metric, value)| {
            host.set(metric, *value);
        });
        let assessment = host.tick();
        assert_eq!(assessment.state, *state, "{changes:?}: {:?}", texts(&assessment));
        assert!(texts(&assessment).contains(text), "{changes:?}: {:?}", texts(&assessment));
        let reason = assessment.reasons.iter().find(|reason| reason.text == *text).unwrap();
        assert!(reason.value.is_some() && reason.threshold.is_some() && reason.direction.is_some());
    }
}

#[test]
fn niced_work_does_not_make_the_host_busy() {
    let mut host = quiet_host();
    host.set("host_cpu_usage_ratio", 1.0).set("host_cpu_nice_ratio", 0.98);
    assert_eq!(host.tick().state, Level::Quiet);
}

#[test]
fn a_cpu_limited_container_alone_is_not_pressure() {
    let mut host = quiet_host();
    host.set("host_cpu_usage_ratio", 0.10).set("host_pressure_cpu_waiting_ratio", 0.58);
    assert_eq!(host.run(300).state, Level::Quiet);
}

#[test]
fn busy_holds_for_a_minute_and_quiet_returns_after_the_dwell() {
    let mut host = quiet_host();
    host.set("host_cpu_usage_ratio", 1.0);
    assert_eq!(host.tick().state, Level::Busy);
    host.set("host_cpu_usage_ratio", 0.02);
    let held = host.run(58);
    assert_eq!(held.state, Level::Busy);
    assert!(
        texts(&held).contains(&"BUSY is held for another 2 s to see that it stays calm"),
        "{:?}",
        texts(&held)
    );
    assert_eq!(host.run(2).state, Level::Normal);
    // The dwell counts from the first calm sample, which came 2 s after the busy one.
    assert_eq!(host.run(120).state, Level::Normal);
    assert_eq!(host.tick().state, Level::Quiet);
}

#[test]
fn a_single_spike_starts_the_dwell_anew() {
    let mut host = Host::idle();
    host.run(178);
    host.set("host_cpu_usage_ratio", 0.36).tick();
    assert_eq!(host.set("host_cpu_usage_ratio", 0.02).tick().quiet_in, Some(Duration::from_secs(180)));
}

#[test]
fn between_the_two_levels_a_quiet_host_stays_quiet_and_another_does_not_become_so() {
    let mut quiet = quiet_host();
    assert_eq!(quiet.set("host_cpu_usage_ratio", 0.30).run(400).state, Level::Quiet);
    let mut other = Host::idle();
    let assessment = other.set("host_cpu_usage_ratio", 0.30).run(400);
    assert_eq!(assessment.state, Level::Normal);
    assert_eq!(texts(&assessment), ["calm now, but the average of the last minute is still too high"]);
}

#[test]
fn memory_stalls_of_ten_seconds_are_panic_and_shorter_ones_are_not() {
    let mut host = quiet_host();
    host.set("host_pressure_memory_stalled_ratio", 0.30);
    assert_eq!(host.run(4).state, Level::Busy);
    let panic = host.run(6);
    assert_eq!(panic.state, Level::Panic);
    assert!(panic.score < 10);
    host.set("host_pressure_memory_stalled_ratio", 0.10);
    assert_eq!(host.run(300).state, Level::Panic, "above half of the entry value");
    host.set("host_pressure_memory_stalled_ratio", 0.0);
    assert_eq!(host.run(58).state, Level::Panic);
    assert_eq!(host.run(20).state, Level::Normal);
}

#[test]
fn a_bad_sample_right_after_the_start_is_not_panic_yet() {
    let mut host = Host::idle();
    host.set("host_pressure_memory_stalled_ratio", 0.9);
    assert_eq!(host.run(6).state, Level::Busy);
    assert_eq!(host.tick().state, Level::Panic);
}

#[test]
fn one_reading_of_a_slow_collector_is_not_panic_however_long_it_stands() {
    let mut host = quiet_host();
    host.set("host_sensors_headroom_celsius", 1.0);
    assert_eq!(host.tick().state, Level::Busy);
    host.slow = Some("sensors");
    assert_eq!(host.run(14).state, Level::Busy, "the same reading");
    host.slow = None;
    assert_eq!(host.run(10).state, Level::Panic, "measured again and again");
}

#[test]
fn little_memory_is_panic_only_while_it_swaps_in_or_has_no_swap() {
    let mut calm = quiet_host();
    assert_eq!(calm.set("host_memory_available_ratio", 0.03).run(20).state, Level::Busy);
    assert_eq!(calm.set("host_memory_swap_in_bytes_per_second", 1e5).tick().state, Level::Panic);
    let mut bare = quiet_host();
    bare.set("host_memory_swap_size_bytes", 0.0).set("host_memory_available_ratio", 0.03);
    assert_eq!(bare.run(20).state, Level::Panic);
}

#[test]
fn a_full_swap_alone_is_not_panic() {
    let mut host = quiet_host();
    assert_eq!(host.set("host_memory_swap_used_ratio", 0.99).run(60).state, Level::Quiet);
    assert_eq!(host.set("host_memory_available_ratio", 0.09).run(12).state, Level::Panic);
}

#[test]
fn without_psi_the_verdicts_are_the_same_and_the_confidence_is_lower() {
    let mut host = Host::idle();
    host.without("pressure", CollectorStatus::Absent);
    let quiet = host.run(200);
    assert_eq!((quiet.state, quiet.confidence), (Level::Quiet, 0.65));
    let pressure = quiet.inputs.iter().find(|input| input.signal == SignalId::IoPressure).unwrap();
    assert_eq!((pressure.status, pressure.value, pressure.score), (InputStatus::Absent, None, None));
    host.set("host_disk_busy_ratio", 0.9);
    assert_eq!(host.tick().state, Level::Busy);
    host.set("host_disk_busy_ratio", 0.0).set("host_system_load_average1", 9.0);
    assert!(texts(&host.tick()).contains(&"load per core 2.25 ≥ 2.00"));
}

#[test]
fn what_is_unknown_is_never_quiet() {
    for collector in ["cpu", "system", "pressure", "disk", "memory", "filesystem", "sensors", "power", "api"]
    {
        for status in [CollectorStatus::Failing, CollectorStatus::Overdue, CollectorStatus::Pending] {
            let mut host = quiet_host();
            host.without(collector, status);
            // Load per core is only looked at where there is no CPU pressure.
            let expected = if collector == "system" { Level::Quiet } else { Level::Normal };
            let assessment = host.tick();
            assert_eq!(assessment.state, expected, "{collector} {status:?}");
            assert_eq!(host.run(600).state, expected, "{collector} {status:?}");
            if expected == Level::Normal {
                assert!(texts(&assessment).iter().any(|text| text.contains("unknown is never quiet")));
            }
        }
    }
}

#[test]
fn a_host_that_cannot_tell_cpu_memory_or_io_is_never_quiet() {
    for collectors in [&["cpu"][..], &["memory"], &["disk", "pressure"]] {
        let mut host = Host::idle();
        collectors.iter().for_each(|collector| {
            host.without(collector, CollectorStatus::Absent);
        });
        assert_eq!(host.run(600).state, Level::Normal, "{collectors:?}");
    }
    let mut deaf = Host::idle();
    deaf.without("disk", CollectorStatus::Absent).without("pressure", CollectorStatus::Absent);
    for signal in [SignalId::DiskBusy, SignalId::IoPressure] {
        deaf.config.signals[signal as usize].enabled = false;
    }
    assert_eq!(deaf.run(600).state, Level::Quiet, "the operator accepted it");
}

#[test]
fn a_suspend_forgets_the_calm_before_it() {
    let mut host = quiet_host();
    host.second += 600;
    let woken = host.tick();
    assert_eq!((woken.state, woken.quiet_in), (Level::Normal, Some(Duration::from_secs(180))));
    assert!(woken.confidence < 0.1);
}

#[test]
fn presence_caps_the_score_and_never_panics() {
    let table = [
        (0.0, Level::Quiet),
        (0.3, Level::Quiet),
        (0.5, Level::Normal),
        (1.0, Level::Busy),
        (99.0, Level::Busy),
        (-5.0, Level::Quiet),
        (f64::NAN, Level::Normal),
    ];
    for (weight, state) in table {
        let mut host = quiet_host();
        host.presence = vec![Presence { source: "jellyfin".into(), kind: "a stream".into(), weight }];
        let assessment = host.tick();
        assert_eq!(assessment.state, state, "{weight}");
        if state > Level::Quiet {
            assert!(texts(&assessment).contains(&"jellyfin reports a stream"));
        }
    }
}

#[test]
fn many_who_say_nothing_hide_nobody() {
    for idle in [0.0, -5.0] {
        let mut host = quiet_host();
        let quiet = Presence { source: "a".into(), kind: "nothing".into(), weight: idle };
        host.presence = vec![quiet; limits::PRESENCE_MAX];
        host.presence.push(Presence { source: "z".into(), kind: "a stream".into(), weight: 1.0 });
        assert_eq!(host.tick().state, Level::Busy);
    }
}

proptest! {
    // Each case is hundreds of ticks.
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Invariants: score and state agree, reasons are never empty, up is immediate, nothing unknown is quiet, and the same
    /// inputs give the same verdicts.
    #[test]
    fn invariants_hold_on_random_days(steps in prop::collection::vec(
        (0.0..1.0f64, 0.0..0.3f64, 0.0..0.3f64, 0.0..1.0f64, 0.02..1.0f64, 0..40u8, 0.0..1.5f64), 1..60)
    ) {
        let (mut host, mut twin) = (Host::idle(), Host::idle());
        let mut calm_ticks = 0;
        for (cpu, io, memory, disk, available, event, weight) in steps {
            for host in [&mut host, &mut twin] {
                // Mostly calm, or nothing would ever become quiet.
                let scale = if event < 30 { 0.1 } else { 1.0 };
                host.set("host_cpu_usage_ratio", cpu * scale)
                    .set("host_pressure_io_stalled_ratio", io * scale)
                    .set("host_pressure_memory_stalled_ratio", memory * scale * scale)
                    .set("host_disk_busy_ratio", disk * scale)
                    .set("host_memory_available_ratio", if event < 30 { 0.5 } else { available });
                host.unwell.clear();
                match event {
                    30 => { host.without("cpu", CollectorStatus::Failing); }
                    31 => { host.without("pressure", CollectorStatus::Absent); }
                    32 => host.second += 100,
                    33 => host.presence = vec![Presence { source: "a".into(), kind: "b".into(), weight }],
                    34 => host.presence.clear(),
                    _ => {}
                }
            }
            let repeats = if event < 20 { 30 } else { 1 };
            for _ in 0..repeats {
                let got = host.tick();
                prop_assert_eq!(&got, &twin.tick());
                let band = match got.state { Level::Quiet => 70..=100, Level::Normal => 30..=69, Level::Busy => 10..=29, Level::Panic => 0..=9 };
                prop_assert!(band.contains(&got.score), "{:?} {}", got.state, got.score);
                prop_assert!(!got.reasons.is_empty());
                prop_assert!((0.0..=1.0).contains(&got.confidence));
                let worst = got.inputs.iter().map(|input| input.level).max().unwrap();
                prop_assert!(got.state >= worst, "up is immediate");
                let unknown = got.inputs.iter().any(|input| input.status == InputStatus::Unknown);
                prop_assert!(!(unknown && got.state == Level::Quiet));
                calm_ticks = if worst == Level::Quiet { calm_ticks + 1 } else { 0 };
                prop_assert!(got.state != Level::Quiet || calm_ticks >= 2);
            }
        }
    }

    /// More of anything harmful never raises the score.
    #[test]
    fn the_score_is_monotone(number in 0..SignalId::COUNT, low in 0.0..2.0f64, more in 0.0..2.0f64) {
        let def = &SIGNALS[number];
        let unit = def.default.busy.or(def.default.leave).or(def.default.panic).unwrap();
        let (a, b) = match def.direction {
            Direction::Above => (low * unit, (low + more) * unit),
            Direction::Below => ((low + more) * unit, low * unit),
        };
        let (calm, harmful) = (score::of(def.id, a, &def.default), score::of(def.id, b, &def.default));
        prop_assert!(calm >= harmful, "{}: {a} -> {calm}, {b} -> {harmful}", def.name);
    }
}

#[test]
fn a_reason_names_the_unit_that_is_behind_it_and_nothing_else_changes() {
    let mut host = Host::idle();
    host.set("host_pressure_io_stalled_ratio", 0.12);
    let plain = host.tick();
    const UNIT: &[(&str, &str)] = &[("unit", "immich-ml.service"), ("kind", "service")];
    host.values.push(("units", "host_units_read_bytes_per_second", UNIT, 5e7));
    let named = host.tick();
    let reason = |assessment: &QuietAssessment| {
        assessment.reasons.iter().find(|reason| reason.signal == "io_pressure").expect("a reason").clone()
    };
    let (plain_reason, named_reason) = (reason(&plain), reason(&named));
    assert_eq!(plain_reason.culprit, None);
    assert_eq!(named_reason.culprit.as_deref(), Some("immich-ml.service"));
    assert_eq!(named_reason.text, format!("{}, mostly immich-ml.service", plain_reason.text));
    assert_eq!(
        (named.state, named.score, named_reason.level),
        (plain.state, plain.score, plain_reason.level)
    );
}
