//! The window against a plain list of everything that was pushed.

use super::*;
use crate::history::{Axis, Cells};
use crate::metric::{MetricDef, SampleBuffer};
use crate::report::{CollectorInfo, CollectorStatus, Samples};
use crate::units::MonoTime;
use proptest::prelude::*;
use std::borrow::Cow;

static BUSY: MetricDef =
    MetricDef::gauge("host_disk_busy_ratio", Unit::Ratio, &[Cow::Borrowed("device")], "Busy.");
static READ: MetricDef =
    MetricDef::counter("host_disk_read_bytes_total", Unit::Bytes, &[Cow::Borrowed("device")], "Read.");

fn report(buffer: &mut SampleBuffer) -> CollectorReport {
    let info = CollectorInfo {
        name: "disk".into(),
        group: "host".into(),
        metric_prefix: "host_disk_".into(),
        help: "Disks.".into(),
        interval: Duration::from_secs(2),
        metrics: Cow::Borrowed(&[]),
    };
    CollectorReport {
        info: Arc::new(info),
        status: CollectorStatus::Ok,
        samples: Some(Arc::new(Samples {
            series: buffer.layout(),
            values: buffer.values().into(),
            dropped: 0,
            settled: true,
        })),
        collected_at: None,
        fresh: true,
        stale: false,
        duration: Duration::ZERO,
        interval: Duration::from_secs(2),
        error: None,
        status_since: WallTime(0),
        runs: 1,
        failures: 0,
        overruns: 0,
    }
}

fn at(seconds: u64) -> Now {
    let mono = MonoTime(Duration::from_secs(seconds));
    Now { mono, wall: WallTime(1_000_000_000 + i64::try_from(seconds).unwrap() * 1_000) }
}

#[test]
fn the_newest_tick_is_within_the_moment_that_is_shown_for_it() {
    let mut window = Window::new(Duration::from_secs(2));
    let mut buffer = SampleBuffer::new();
    buffer.push(&BUSY, &["sda"], 0.5);
    let now = |micros: u64, wall| Now { mono: MonoTime(Duration::from_micros(micros)), wall: WallTime(wall) };
    assert_eq!(window.shown(now(0, 77)), WallTime(77));
    // The second reading of the monotonic clock is rounded down by less: a millisecond more went by than by the wall clock.
    window.push(now(1_999, 5_000), [report(&mut buffer)].iter());
    let newest = now(2_000_000, 6_998);
    window.push(newest, [report(&mut buffer)].iter());
    let until = |to| window.ticks_in(TimeRange { from: WallTime(0), to });
    assert_eq!((until(newest.wall), until(window.shown(newest))), (1, 2));
}

fn all() -> TimeRange {
    TimeRange { from: WallTime(0), to: WallTime(i64::MAX) }
}

struct Chart {
    starts: Vec<i64>,
    columns: Vec<Vec<Option<f64>>>,
}

struct Feed {
    window: Window,
    buffer: SampleBuffer,
}

impl Feed {
    fn new(capacity: usize) -> Self {
        Self { window: Window::with_capacity(capacity), buffer: SampleBuffer::new() }
    }

    fn push(&mut self, now: Now, devices: &[(&str, f64, f64)]) {
        self.buffer.begin();
        for (device, busy, read) in devices {
            self.buffer.push(&BUSY, &[device], *busy);
            self.buffer.push(&READ, &[device], *read);
        }
        self.window.push(now, std::iter::once(&report(&mut self.buffer)));
    }

    fn find(&self, metric: &str) -> Option<SeriesView<'_>> {
        let selector = Selector { metrics: vec![metric.to_owned()], ..Selector::default() };
        self.window.select(&selector).first().copied()
    }

    /// What a chart shows of the first series that matches: where its cells begin and a column for each aggregate.
    fn chart(&self, metric: &str, labels: &[(&str, &str)], step: Option<u64>, aggs: &[Agg]) -> Chart {
        let labels = labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let selector = Selector { metrics: vec![metric.to_owned()], labels, ..Selector::default() };
        let view = self.window.select(&selector)[0];
        let info = SeriesInfo::new(view.group(), view.series());
        assert!(selector.matches(&info));
        let range = self.window.span().unwrap();
        let axis = match step {
            Some(step) => Axis::steps(range, Duration::from_secs(step)),
            None => Axis::ticks(self.window.times_in(range), range),
        };
        let (mut times, mut values) = (Vec::new(), Vec::new());
        self.window.samples_of(&info, range, &mut times, &mut values);
        let mut cells = Cells::new(&axis, range, aggs);
        cells.samples(&times, &values, info.is_cumulative());
        let mut columns = Vec::new();
        let some = |value: &f64| value.is_finite().then_some(*value);
        cells.take(|laid| columns = laid.iter().map(|column| column.iter().map(some).collect()).collect());
        Chart { starts: axis.starts().map(|time| time.0 - 1_000_000_000).collect(), columns }
    }

    fn view(&self, metric: &str) -> SeriesView<'_> {
        self.find(metric).unwrap()
    }
}

#[test]
fn an_unplugged_disk_leaves_a_gap_and_is_forgotten_after_a_window() {
    let mut feed = Feed::new(4);
    feed.push(at(2), &[("sda", 0.1, 1.0), ("sdb", 0.2, 1.0)]);
    (2..=3).for_each(|tick| feed.push(at(tick * 2), &[("sda", 0.1, 1.0)]));
    assert_eq!(feed.window.series_count(), 4);
    let chart = feed.chart("host_disk_busy_ratio", &[("device", "sdb")], None, &[Agg::Last]);
    assert_eq!(chart.columns[0], [Some(f64::from(0.2f32)), None, None]);
    (4..=8).for_each(|tick| feed.push(at(tick * 2), &[("sda", 0.1, 1.0)]));
    assert_eq!(feed.window.series_count(), 2);
    assert_eq!(feed.view("host_disk_busy_ratio").aggregate(all(), &mut Scratch::default()).unwrap().count, 4);
}

#[test]
fn a_counter_has_rates_and_survives_a_reset() {
    let mut feed = Feed::new(8);
    for (tick, read) in [(0, 100.0), (1, 300.0), (2, 50.0)] {
        feed.push(at(tick * 2), &[("sda", 0.1, read)]);
    }
    let aggregate =
        feed.view("host_disk_read_bytes_total").aggregate(all(), &mut Scratch::default()).unwrap();
    assert_eq!((aggregate.min, aggregate.max, aggregate.count), (25.0, 100.0, 2));
    let chart = feed.chart("host_disk_read_bytes_total", &[], None, &[Agg::Avg, Agg::Last]);
    assert_eq!(chart.columns[0], [None, Some(100.0), Some(25.0)]);
    assert_eq!(chart.columns[1], [Some(100.0), Some(300.0), Some(50.0)]);
}

#[test]
fn a_clock_that_is_set_moves_the_whole_hour() {
    let mut feed = Feed::new(8);
    feed.push(at(2), &[("sda", 0.1, 1.0)]);
    let mut jumped = at(4);
    jumped.wall = WallTime(jumped.wall.0 - 3_600_000);
    feed.push(jumped, &[("sda", 0.2, 1.0)]);
    let span = feed.window.span().unwrap();
    assert_eq!((span.from.0, span.to.0), (jumped.wall.0 - 2_000, jumped.wall.0));
    assert_eq!(feed.window.ticks_in(span), 2);
}

#[test]
fn buckets_are_aligned_and_empty_ones_are_kept() {
    let mut feed = Feed::new(16);
    for second in [0, 2, 4, 30] {
        feed.push(at(second), &[("sda", second as f64, 0.0)]);
    }
    let chart = feed.chart("host_disk_busy_ratio", &[], Some(10), &[Agg::Avg, Agg::Max]);
    assert_eq!(chart.starts, [0, 10_000, 20_000, 30_000]);
    assert_eq!(chart.columns[0], [Some(2.0), None, None, Some(30.0)]);
    assert_eq!(chart.columns[1], [Some(4.0), None, None, Some(30.0)]);
}

proptest! {
    #[test]
    fn any_range_agrees_with_a_plain_list(
        values in prop::collection::vec(prop_oneof![8 => 0.0..1.0f64, 1 => Just(f64::NAN)], 1..60),
        capacity in 2..20usize,
        from in 0..70u64,
        length in 0..70u64,
    ) {
        let mut feed = Feed::new(capacity);
        for (tick, value) in values.iter().enumerate() {
            feed.push(at(tick as u64), &[("sda", *value, 0.0)]);
        }
        let range = TimeRange { from: at(from).wall, to: at(from + length).wall };
        let held = values.len().saturating_sub(capacity)..values.len();
        let expected: Vec<f64> = held
            .filter(|tick| (from..=from + length).contains(&(*tick as u64)))
            .map(|tick| f64::from(values[tick] as f32))
            .filter(|value| !value.is_nan())
            .collect();
        // A column without a sample in the whole window may be forgotten.
        let view = feed.find("host_disk_busy_ratio");
        let got = view.and_then(|view| view.aggregate(range, &mut Scratch::default()));
        prop_assert_eq!(got.map(|aggregate| aggregate.count).unwrap_or(0), expected.len());
        if let Some(aggregate) = got {
            let last = feed.view("host_disk_busy_ratio").last(range);
            prop_assert_eq!(last, expected.last().copied());
            prop_assert_eq!(aggregate.max, expected.iter().copied().fold(f64::MIN, f64::max));
        }
    }

    #[test]
    fn a_counters_aggregates_are_those_of_its_increases(
        values in prop::collection::vec(prop_oneof![8 => 0.0..1e12f64, 1 => Just(f64::NAN)], 1..60),
        capacity in 2..20usize,
        from in 0..70u64,
        length in 0..70u64,
    ) {
        let mut feed = Feed::new(capacity);
        for (tick, value) in values.iter().enumerate() {
            feed.push(at(tick as u64 * 3), &[("sda", 0.0, *value)]);
        }
        let range = TimeRange { from: at(from * 3).wall, to: at((from + length) * 3).wall };
        // The plain way: every pair of neighbouring samples that the window still holds.
        let held: Vec<(u64, f64)> = (0..values.len() as u64)
            .skip(values.len().saturating_sub(capacity))
            .map(|tick| (tick, values[tick as usize]))
            .filter(|(_, value)| !value.is_nan())
            .collect();
        let expected: Vec<f64> = held
            .windows(2)
            .filter(|pair| (from..=from + length).contains(&pair[1].0))
            .map(|pair| {
                let increase = if pair[1].1 >= pair[0].1 { pair[1].1 - pair[0].1 } else { pair[1].1 };
                increase * 1_000.0 / ((pair[1].0 - pair[0].0) * 3_000) as f64
            })
            .collect();
        let view = feed.find("host_disk_read_bytes_total");
        let got = view.and_then(|view| view.aggregate(range, &mut Scratch::default()));
        prop_assert_eq!(got, Scratch::default().wide(|samples| expected.iter().for_each(|value| samples.add(*value))));
    }
}

#[test]
fn one_addon_with_ever_new_labels_leaves_room_for_others() {
    let mut window = Window::with_capacity(10);
    let push = |window: &mut Window, second: u64, group: &str, device: &str| {
        let mut buffer = SampleBuffer::new();
        buffer.begin();
        buffer.push(&BUSY, &[device], 1.0);
        let mut report = report(&mut buffer);
        let info = Arc::make_mut(&mut report.info);
        (info.name, info.group) = (group.to_owned().into(), group.to_owned().into());
        window.push(at(second), std::iter::once(&report));
    };
    for second in 0..2_000 {
        push(&mut window, second, "addon.flood", &format!("d{second}"));
    }
    assert!(window.series_count() <= limits::ADDON_SERIES_KEPT_MAX, "{}", window.series_count());
    push(&mut window, 2_000, "addon.other", "sda");
    let other = Selector { group: Some("addon.other".into()), ..Selector::default() };
    assert_eq!(window.select(&other).len(), 1);
}

#[test]
fn what_is_not_finite_is_no_sample() {
    let mut feed = Feed::new(10);
    for (second, read) in [(0, f64::INFINITY), (1, f64::MAX), (2, f64::INFINITY), (3, f64::MAX)] {
        feed.push(at(second), &[("sda", 0.5, read)]);
    }
    let mut scratch = Scratch::default();
    for view in feed.window.select(&Selector::default()) {
        let _ = view.aggregate(all(), &mut scratch);
    }
    let chart = feed.chart("host_disk_read_bytes_total", &[], None, &Agg::ALL);
    assert_eq!(chart.columns[4], [None, Some(f64::MAX), None, Some(f64::MAX)]);
}
