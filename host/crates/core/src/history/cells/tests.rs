//! Cells against a plain computation over all samples.

use super::*;
use proptest::prelude::*;

/// The aggregates of one cell, by sorting.
fn naive(shown: &[f64], raw: &[f64], aggs: &[Agg]) -> Vec<f64> {
    let mut sorted = shown.to_vec();
    sorted.sort_by(f64::total_cmp);
    let one = |agg: &Agg| match (agg, sorted.as_slice()) {
        (Agg::Last, _) => raw.last().copied(),
        (_, []) => None,
        (Agg::Avg, all) => Some(all.iter().sum::<f64>() / all.len() as f64),
        (Agg::Min, all) => all.first().copied(),
        (Agg::Max, all) => all.last().copied(),
        (Agg::P95, all) => Some(all[(all.len() * 95).div_ceil(100) - 1]),
    };
    aggs.iter().map(|agg| one(agg).unwrap_or(f64::NAN)).collect()
}

/// Increases per second, each with the time of the sample that ends it.
fn increases(samples: &[(i64, f64)]) -> Vec<(i64, f64)> {
    let rate = |pair: &[(i64, f64)]| {
        let ((before_ms, before), (now_ms, now)) = (pair[0], pair[1]);
        let increase = if now >= before { now - before } else { now };
        (now_ms - before_ms <= 3_600_000).then(|| (now_ms, increase * 1_000.0 / (now_ms - before_ms) as f64))
    };
    samples.windows(2).filter_map(rate).collect()
}

fn near(a: f64, b: f64, error: f64) -> bool {
    a.is_nan() && b.is_nan() || (a - b).abs() <= error * b.abs() + 1e-9
}

/// Samples at growing times: some close together, some after gaps of up to two hours.
fn samples() -> impl Strategy<Value = Vec<(i64, f64)>> {
    let gap = prop_oneof![9 => 500..9_000i64, 1 => 9_000..7_200_000i64];
    let value = prop_oneof![4 => 0.0..1e6f64, 1 => Just(0.0), 2 => Just(17.25)];
    prop::collection::vec((gap, value), 0..300).prop_map(|steps| {
        let mut time = 1_000_000_000_000;
        steps
            .into_iter()
            .map(|(gap, value)| {
                time += gap;
                (time, value)
            })
            .collect()
    })
}

fn check(
    all: &[(i64, f64)],
    range: TimeRange,
    step_s: u64,
    counter: bool,
    lay: impl FnOnce(&mut Cells<'_>),
    p95_error: f64,
) -> Result<(), TestCaseError> {
    let axis = Axis::steps(range, Duration::from_secs(step_s));
    let mut cells = Cells::new(&axis, range, &Agg::ALL);
    lay(&mut cells);
    let mut laid = Vec::new();
    cells.take(|columns| laid = columns.to_vec());
    let shown = if counter { increases(all) } else { all.to_vec() };
    let step_ms = step_s as i64 * 1_000;
    for (cell, start) in axis.starts().enumerate() {
        let within = |samples: &[(i64, f64)]| -> Vec<f64> {
            let inside = |time: i64| {
                time >= start.0.max(range.from.0) && time < start.0 + step_ms && time <= range.to.0
            };
            samples.iter().filter(|(time, _)| inside(*time)).map(|(_, value)| *value).collect()
        };
        let want = naive(&within(&shown), &within(all), &Agg::ALL);
        for (number, want) in want.into_iter().enumerate() {
            let got = laid[number][cell];
            let error = if Agg::ALL[number] == Agg::P95 { p95_error } else { 1e-9 };
            prop_assert!(near(got, want, error), "{:?} of cell {cell}: {got}, not {want}", Agg::ALL[number]);
        }
    }
    Ok(())
}

proptest! {
    #[test]
    fn cells_of_samples_are_exact(
        all in samples(), step_s in 1..4_000u64, counter: bool, cut in 0..50_000i64, pieces in 1..50usize,
    ) {
        let (times, values): (Vec<i64>, Vec<f64>) = all.iter().copied().unzip();
        let from = times.first().copied().unwrap_or(0) + cut;
        let to = times.last().copied().unwrap_or(0).max(from) - 1;
        let range = TimeRange { from: WallTime(from), to: WallTime(to.max(from)) };
        check(&all, range, step_s, counter, |cells| {
            for (times, values) in times.chunks(pieces).zip(values.chunks(pieces)) {
                cells.samples(times, values, counter);
            }
        }, 0.0)?;
    }

    #[test]
    fn roll_ups_followed_by_samples_keep_all_but_the_percentile_exact(
        all in samples(), multiple in 1..5u64, counter: bool, share in 0.0..1.0f64,
    ) {
        let (times, values): (Vec<i64>, Vec<f64>) = all.iter().copied().unzip();
        let seam = times.get((times.len() as f64 * share) as usize).copied().unwrap_or(0) / 900_000 * 900_000;
        let first = times.partition_point(|time| *time < seam);
        let from = times.first().copied().unwrap_or(0) / 900_000 * 900_000;
        let to = times.last().copied().unwrap_or(0);
        let range = TimeRange { from: WallTime(from), to: WallTime(to) };
        let mut rollup = Rollup::new(900_000);
        let mut before = Before::default();
        rollup.samples(&times[..first], &values[..first], counter.then_some(&mut before));
        prop_assert!(rollup.buckets.windows(2).all(|pair| pair[0].start_ms < pair[1].start_ms));
        check(&all, range, multiple * 900, counter, |cells| {
            cells.rollup(&rollup);
            cells.prime(&times[..first], &values[..first]);
            cells.samples(&times[first..], &values[first..], counter);
        }, crate::history::RELATIVE_ERROR)?;
    }
}

#[test]
fn every_tick_is_a_cell_and_a_gap_stays_one() {
    let range = TimeRange { from: WallTime(1_000), to: WallTime(9_000) };
    let axis = Axis::ticks(vec![1_000, 3_000, 5_000, 9_000], range);
    let aggs = [Agg::Last, Agg::P95];
    let mut cells = Cells::new(&axis, range, &aggs);
    cells.samples(&[1_000, 3_000, 5_000, 9_000], &[1.0, f64::NAN, 3.0, 4.0], false);
    cells.take(|laid| {
        let shown: Vec<String> = laid.iter().map(|column| format!("{column:?}")).collect();
        assert_eq!(shown, ["[1.0, NaN, 3.0, 4.0]", "[1.0, NaN, 3.0, 4.0]"]);
    });
}
