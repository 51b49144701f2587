//! What is recorded of made-up ticks.

use super::*;
use lowtide_core::metric::{MetricDef, SampleBuffer};
use lowtide_core::quiet::{QuietConfig, QuietMemory, assess};
use lowtide_core::report::{CollectorInfo, CollectorReport, CollectorStatus, Samples};
use lowtide_core::snapshot::Snapshot;
use lowtide_core::units::{Now, Unit, WallTime};
use std::borrow::Cow;

static BUSY: MetricDef =
    MetricDef::gauge("host_disk_busy_ratio", Unit::Ratio, &[Cow::Borrowed("device")], "Busy.");

const TICK: Duration = Duration::from_secs(2);

struct Feed {
    recorder: Recorder,
    buffer: SampleBuffer,
}

impl Feed {
    fn new(interval_s: u64) -> Self {
        Self { recorder: Recorder::new(Duration::from_secs(interval_s)), buffer: SampleBuffer::new() }
    }

    fn tick(&mut self, second: u64, level: Level, score: u8, devices: &[(&str, f64)]) -> Taken {
        self.buffer.begin();
        devices.iter().for_each(|(device, busy)| self.buffer.push(&BUSY, &[device], *busy));
        let info = CollectorInfo {
            name: "disk".into(),
            group: "host".into(),
            metric_prefix: "host_disk_".into(),
            help: "Disks.".into(),
            interval: TICK,
            metrics: Cow::Borrowed(&[]),
        };
        let samples = Samples {
            series: self.buffer.layout(),
            values: self.buffer.values().into(),
            dropped: 0,
            settled: true,
        };
        let report = CollectorReport {
            info: Arc::new(info),
            status: CollectorStatus::Ok,
            samples: Some(Arc::new(samples)),
            collected_at: None,
            fresh: true,
            stale: false,
            duration: TICK,
            interval: TICK,
            error: None,
            status_since: WallTime(0),
            runs: 1,
            failures: 0,
            overruns: 0,
        };
        let mono = MonoTime(Duration::from_secs(second));
        let now = Now { mono, wall: WallTime(i64::try_from(second).unwrap() * 1_000) };
        let snapshot = Snapshot::build(second, now, TICK, vec![report]);
        let mut quiet = assess(&snapshot, &[], &mut QuietMemory::default(), &QuietConfig::default());
        (quiet.state, quiet.score) = (level, score);
        self.recorder.take(&HostState { snapshot, quiet, derived: Vec::new() }, 1)
    }
}

#[test]
fn the_newest_sample_of_an_interval_is_recorded_to_its_resolution() {
    let mut feed = Feed::new(5);
    let first = feed.tick(0, Level::Normal, 50, &[("sda", 0.123_456)]).record.unwrap();
    assert_eq!((first.at_ms, first.samples), (0, vec![(0, 0.1235)]));
    assert!(feed.tick(2, Level::Normal, 50, &[("sda", 0.2), ("sdb", 0.7)]).record.is_none());
    assert!(feed.tick(4, Level::Normal, 50, &[("sda", 0.3)]).record.is_none());
    // Five seconds are three ticks.
    let second = feed.tick(6, Level::Normal, 50, &[("sda", f64::NAN)]).record.unwrap();
    assert_eq!((second.at_ms, second.samples), (6_000, vec![(0, 0.3), (1, 0.7)]));
    assert!(feed.tick(8, Level::Normal, 50, &[("sda", f64::NAN)]).record.is_none());
    assert_eq!(feed.tick(12, Level::Normal, 50, &[]).record.unwrap().samples, []);
    assert_eq!(feed.recorder.series().len(), 2);
}

#[test]
fn a_quiet_time_has_its_average_and_least_score_and_ends_at_a_gap() {
    let mut feed = Feed::new(5);
    let quiet = |from_ms, to_ms, ticks, score_avg, score_min, open| QuietRow {
        from_ms,
        to_ms,
        ticks,
        score_avg,
        score_min,
        open,
    };
    feed.tick(0, Level::Normal, 60, &[]);
    assert_eq!(feed.recorder.quiet_now(), None);
    for (second, score) in [(2, 90), (4, 80), (6, 100)] {
        assert_eq!(feed.tick(second, Level::Quiet, score, &[]).quiet_ended, None);
    }
    assert_eq!(feed.recorder.quiet_now(), Some(quiet(2_000, 6_000, 3, 90.0, 80, true)));
    let ended = feed.tick(8, Level::Busy, 10, &[]).quiet_ended;
    assert_eq!(ended, Some(quiet(2_000, 6_000, 3, 90.0, 80, false)));
    feed.tick(10, Level::Quiet, 95, &[]);
    // The machine slept for an hour: what was quiet before is another time.
    let ended = feed.tick(3_610, Level::Quiet, 99, &[]).quiet_ended;
    assert_eq!(ended, Some(quiet(10_000, 10_000, 1, 95.0, 95, false)));
    assert_eq!(feed.recorder.quiet_now(), Some(quiet(3_610_000, 3_610_000, 1, 99.0, 99, true)));
}
