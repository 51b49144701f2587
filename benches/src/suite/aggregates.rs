//! `aggregates`: average, minimum, maximum and exact 95th percentile of 20 series over an hour of 5 s ticks, as a query does it,
//! against a scan that finds sum, minimum and maximum only, and against sorting.

use super::Options;
use super::measure::{Plan, in_turns};
use super::report::{Goal, Report, Row};
use anyhow::{Result, ensure};
use lowtide_clock as clock;
use lowtide_core::metric::{MetricDef, SampleBuffer, Text};
use lowtide_core::report::{CollectorInfo, CollectorReport, CollectorStatus, Samples};
use lowtide_core::units::{MonoTime, Now, Unit, WallTime};
use lowtide_core::window::{Scratch, Selector, TimeRange, Window};
use std::borrow::Cow;
use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

const SERIES: usize = 20;
const SAMPLES: usize = 720;
const TICK: Duration = Duration::from_secs(5);
const PLAN: Plan = Plan { rounds: 200, batch: 5, spacing: Duration::ZERO };
const GOAL: Goal = Goal::FigureAtMost(150.0);

const BY_NUMBER: &[Text] = &[Cow::Borrowed("number")];
static NARROW: MetricDef = MetricDef::gauge("bench_narrow_ratio", Unit::Ratio, BY_NUMBER, "Kept as f32.");
static WIDE: MetricDef = MetricDef::gauge("bench_wide_bytes", Unit::Bytes, BY_NUMBER, "Kept as f64.");
static COUNTER: MetricDef = MetricDef::counter("bench_count_total", Unit::Count, BY_NUMBER, "Rates of it.");

pub(crate) fn run(report: &mut Report, _: Options) -> Result<()> {
    // Half an hour more than the window holds: the ring has wrapped, as it has after the daemon's first hour.
    let (window, plain) = fill(SAMPLES + SAMPLES / 2);
    let range = window.span().map_or(TimeRange { from: WallTime(0), to: WallTime(0) }, |span| span);
    for (name, metric) in [("f32 gauges", &NARROW), ("f64 gauges", &WIDE), ("counters", &COUNTER)] {
        let selector = Selector { metrics: vec![metric.name.to_string()], ..Selector::default() };
        ensure!(window.select(&selector).len() == SERIES, "the window does not hold {name}");
        let mut query = || {
            let mut scratch = Scratch::default();
            for view in window.select(&selector) {
                black_box(view.aggregate(range, &mut scratch));
            }
        };
        let mut scan = || {
            for column in &plain {
                black_box(scan(column));
            }
        };
        let mut sort = || {
            for column in &plain {
                black_box(by_sorting(column));
            }
        };
        let turns = in_turns(PLAN, clock::thread_cpu, [&mut query, &mut scan, &mut sort]);
        report.row(
            Row::new(format!("{SERIES} series of {SAMPLES} {name}"), turns.of(0), "us")
                .beside("scan", turns.of(1), turns.ratio(0, 1))
                .note(format!("sorting {:.0} us, {:.2}x", turns.of(2), turns.ratio(0, 2)))
                .goal(GOAL),
        );
    }
    Ok(())
}

/// Sum, least and greatest in one pass.
fn scan(column: &[f32]) -> (f64, f32, f32) {
    column.iter().fold((0.0, f32::INFINITY, f32::NEG_INFINITY), |(sum, least, greatest), value| {
        (sum + f64::from(*value), least.min(*value), greatest.max(*value))
    })
}

/// The obvious way to all of it.
fn by_sorting(column: &[f32]) -> Option<(f64, f32, f32, f32)> {
    let mut sorted = column.to_vec();
    sorted.sort_unstable_by(f32::total_cmp);
    let rank = (sorted.len() * 95).div_ceil(100) - 1;
    Some((sorted.iter().copied().map(f64::from).sum(), *sorted.first()?, *sorted.last()?, *sorted.get(rank)?))
}

/// A window with all three kinds of series, and the newest hour of the narrow ones as plain columns.
fn fill(ticks: usize) -> (Window, Vec<Vec<f32>>) {
    let mut window = Window::with_capacity(SAMPLES);
    let mut plain = vec![Vec::new(); SERIES];
    let mut buffer = SampleBuffer::new();
    let info = Arc::new(CollectorInfo {
        name: "bench".into(),
        group: "bench".into(),
        metric_prefix: "bench_".into(),
        help: "Made up.".into(),
        interval: TICK,
        metrics: Cow::Owned(vec![NARROW.clone(), WIDE.clone(), COUNTER.clone()]),
    });
    let mut random = 1_u64;
    for tick in 0..ticks {
        buffer.begin();
        let mut values = Vec::with_capacity(SERIES);
        for number in 0..SERIES {
            // Knuth's 64-bit generator: a load that never repeats, so that no branch is learnt.
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let value = (random >> 40) as f32 / (1 << 24) as f32;
            values.push(value);
            buffer.push(&NARROW, &[&number.to_string()], value.into());
        }
        for (number, value) in values.iter().enumerate() {
            buffer.push(&WIDE, &[&number.to_string()], f64::from(*value) * 1e9);
        }
        for (number, value) in values.iter().enumerate() {
            buffer.push(&COUNTER, &[&number.to_string()], (tick as f64 + f64::from(*value)) * 1e6);
        }
        plain.iter_mut().zip(values).for_each(|(column, value)| column.push(value));
        let at = MonoTime(TICK * u32::try_from(tick).unwrap_or(u32::MAX));
        let now = Now { mono: at, wall: WallTime(1_700_000_000_000 + at.as_millis()) };
        let samples =
            Samples { series: buffer.layout(), values: buffer.values().into(), dropped: 0, settled: true };
        window.push(now, std::iter::once(&made_up(&info, now, samples)));
    }
    plain.iter_mut().for_each(|column| drop(column.drain(..ticks - SAMPLES)));
    (window, plain)
}

fn made_up(info: &Arc<CollectorInfo>, now: Now, samples: Samples) -> CollectorReport {
    CollectorReport {
        info: Arc::clone(info),
        status: CollectorStatus::Ok,
        samples: Some(Arc::new(samples)),
        collected_at: Some((now.mono, now.wall)),
        fresh: true,
        stale: false,
        duration: Duration::ZERO,
        interval: TICK,
        error: None,
        status_since: now.wall,
        runs: 2,
        failures: 0,
        overruns: 0,
    }
}
