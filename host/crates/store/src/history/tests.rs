//! The whole file against a plain list of everything that was written.

use super::*;
use lowtide_core::history::{Axis, Cells, RELATIVE_ERROR};
use lowtide_core::metric::Kind;
use lowtide_core::units::{Unit, WallTime};
use lowtide_core::window::{Agg, TimeRange};
use proptest::prelude::*;
use std::path::PathBuf;
use std::time::Duration;

mod crash;
mod damage;
mod faults;
mod steps;

/// Midnight (UTC) of a day of 2027.
const START: i64 = 20_800 * DAY_MS;

fn folder() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("history.db");
    (folder, path)
}

fn info(metric: &str, kind: Kind, unit: Unit) -> SeriesInfo {
    SeriesInfo {
        group: "host".into(),
        metric: metric.into(),
        suffix: "".into(),
        labels: [("device".into(), "sda".into())].into(),
        kind,
        unit,
    }
}

fn infos() -> [SeriesInfo; 3] {
    [
        info("host_cpu_usage_ratio", Kind::Gauge, Unit::Ratio),
        info("made_up_things", Kind::Gauge, Unit::Count),
        info("host_disk_read_bytes_total", Kind::Counter, Unit::Bytes),
    ]
}

/// One tick of the three series, each with or without a sample.
#[derive(Clone, Debug)]
struct Tick {
    at_ms: i64,
    values: [Option<f64>; 3],
}

fn frame(ids: &[SeriesId], tick: &Tick) -> Frame {
    let samples = ids.iter().zip(tick.values).filter_map(|(id, value)| Some((*id, value?))).collect();
    Frame { at_ms: tick.at_ms, samples }
}

fn given(store: &mut HistoryStore) -> Vec<SeriesId> {
    store.ids(&infos()).unwrap().into_iter().map(Option::unwrap).collect()
}

/// A regular day's load: a tick each minute from the start on.
fn minutes(count: i64) -> Vec<Tick> {
    let tick = |minute: i64| Tick {
        at_ms: START + minute * 60_000,
        values: [
            Some((minute * 37 % 1_000) as f64 / 10_000.0),
            (minute % 3 == 0).then_some((minute as f64).sqrt() / 3.0),
            Some((minute % 700 * 4_096) as f64),
        ],
    };
    (0..count).map(tick).collect()
}

/// What the file says of one series: for each aggregate a column.
fn ask(
    reader: &mut HistoryReader,
    range: TimeRange,
    step: Option<i64>,
    series: SeriesId,
) -> (Vec<i64>, Vec<Vec<f64>>) {
    let plan = Plan { range, until_ms: i64::MAX, step_ms: step, percentiles: true };
    let answer = reader.read(plan, |reading| {
        let mut reading = reading.unwrap();
        let axis = match step {
            Some(step) => Axis::steps(range, Duration::from_millis(step.unsigned_abs())),
            None => Axis::ticks(reading.times()?, range),
        };
        let mut cells = Cells::new(&axis, range, &Agg::ALL);
        reading.prepare(&[series])?;
        reading.lay(series, &mut cells)?;
        let mut columns = Vec::new();
        cells.take(|laid| columns = laid.to_vec());
        Ok((axis.starts().map(WallTime::unix_ms).collect(), columns))
    });
    answer.unwrap()
}

/// The same by sorting. Times are those of the samples, which are sorted.
fn naive(samples: &[(i64, f64)], counter: bool, cell: std::ops::Range<i64>) -> [f64; 5] {
    let rates: Vec<(i64, f64)> = samples
        .windows(2)
        .filter(|pair| pair[1].0 > pair[0].0 && pair[1].0 - pair[0].0 <= 3_600_000)
        .map(|pair| {
            let increase = if pair[1].1 >= pair[0].1 { pair[1].1 - pair[0].1 } else { pair[1].1 };
            (pair[1].0, increase * 1_000.0 / (pair[1].0 - pair[0].0) as f64)
        })
        .collect();
    let shown = if counter { &rates } else { samples };
    let inside = |samples: &[(i64, f64)]| -> Vec<f64> {
        samples.iter().filter(|(time, _)| cell.contains(time)).map(|(_, value)| *value).collect()
    };
    let mut sorted = inside(shown);
    sorted.sort_by(f64::total_cmp);
    let last = inside(samples).last().copied().unwrap_or(f64::NAN);
    if sorted.is_empty() {
        return [f64::NAN, f64::NAN, f64::NAN, f64::NAN, last];
    }
    let avg = sorted.iter().sum::<f64>() / sorted.len() as f64;
    let p95 = sorted[(sorted.len() * 95).div_ceil(100) - 1];
    [avg, sorted[0], sorted[sorted.len() - 1], p95, last]
}

fn near(a: f64, b: f64, error: f64) -> bool {
    a.is_nan() && b.is_nan() || (a - b).abs() <= error * b.abs() + 1e-9
}

/// Compares what the file says with the list, for a range and step. `rolled` allows for the error of sketches.
fn compare(
    reader: &mut HistoryReader,
    ids: &[SeriesId],
    ticks: &[Tick],
    range: TimeRange,
    step: Option<i64>,
    rolled: bool,
) -> Result<(), TestCaseError> {
    let mut sorted = ticks.to_vec();
    sorted.sort_by_key(|tick| tick.at_ms);
    for (number, id) in ids.iter().enumerate() {
        let samples: Vec<(i64, f64)> =
            sorted.iter().filter_map(|tick| Some((tick.at_ms, tick.values[number]?))).collect();
        let (starts, columns) = ask(reader, range, step, *id);
        for (cell, start) in starts.iter().enumerate() {
            let end = step.map_or_else(
                || starts.get(cell + 1).copied().unwrap_or(range.to.0 + 1),
                |step| (start + step).min(range.to.0 + 1),
            );
            let want = naive(&samples, number == 2, (*start).max(range.from.0)..end);
            // An average of numbers of both signs is as exact as the largest of them.
            let largest = want[1].abs().max(want[2].abs());
            for (agg, want) in want.into_iter().enumerate() {
                let got = columns[agg][cell];
                let error = match (rolled, Agg::ALL[agg]) {
                    (false, _) => 1e-9,
                    (true, Agg::P95) => RELATIVE_ERROR * 1.0001,
                    // Roll-ups keep numbers with many decimals as floats.
                    (true, _) => 2e-7,
                };
                prop_assert!(
                    near(got, want, error)
                        || Agg::ALL[agg] == Agg::Avg && (got - want).abs() <= error * largest,
                    "{:?} of series {number}, cell {cell} from {start}, step {step:?}: {got}, not {want}",
                    Agg::ALL[agg]
                );
            }
        }
    }
    Ok(())
}

/// What is done with the file between two ticks.
#[derive(Clone, Copy, Debug)]
enum Step {
    Nothing,
    Compact,
    RollUp,
    Sync,
    OpenAnew,
    /// The ticks since the last step go into segments at once.
    Direct,
}

fn ticks() -> impl Strategy<Value = Vec<(Tick, Step)>> {
    let gap = prop_oneof![
        12 => 1_000..9_000i64,
        4 => 60_000..1_200_000i64,
        2 => 3_600_000..30_000_000i64,
        1 => Just(86_400_000i64),
    ];
    let ratio = prop::option::weighted(0.9, (0..10_000i64).prop_map(|steps| steps as f64 / 10_000.0));
    let any = prop::option::weighted(0.5, prop_oneof![-1e9..1e9f64, Just(0.0), Just(1.5)]);
    let counter = prop::option::weighted(0.9, (0..1_000_000_000i64).prop_map(|bytes| bytes as f64));
    let step = prop_oneof![
        20 => Just(Step::Nothing),
        2 => Just(Step::Compact),
        2 => Just(Step::RollUp),
        1 => Just(Step::Sync),
        1 => Just(Step::OpenAnew),
        2 => Just(Step::Direct),
    ];
    prop::collection::vec((gap, ratio, any, counter, step), 1..120).prop_map(|rows| {
        let mut at_ms = START;
        rows.into_iter()
            .map(|(gap, ratio, any, counter, step)| {
                at_ms += gap;
                (Tick { at_ms, values: [ratio, any, counter] }, step)
            })
            .collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]
    #[test]
    fn every_way_to_an_answer_agrees_with_a_plain_list(
        rows in ticks(), cut in 0..20_000_000i64, step in 1..7_200i64, multiple in 1..9i64,
    ) {
        let (_folder, path) = folder();
        let mut store = HistoryStore::open(&path).unwrap();
        let mut reader = store.reader();
        let ids = given(&mut store);
        let mut pending = Vec::new();
        for (tick, step) in &rows {
            pending.push(frame(&ids, tick));
            if !matches!(step, Step::Direct) {
                store.append(&std::mem::take(&mut pending)).unwrap();
            }
            match step {
                Step::Nothing => {}
                Step::Compact => store.compact(tick.at_ms + DAY_MS).unwrap(),
                Step::RollUp => while store.roll_up(tick.at_ms).unwrap() {},
                Step::Sync => drop(store.sync().unwrap()),
                Step::OpenAnew => {
                    store = HistoryStore::open(&path).unwrap();
                    reader = store.reader();
                }
                Step::Direct => store.append_segments(&std::mem::take(&mut pending)).unwrap(),
            }
        }
        store.append(&pending).unwrap();
        let ticks: Vec<Tick> = rows.iter().map(|(tick, _)| tick.clone()).collect();
        let last = ticks.last().unwrap().at_ms;
        let some = TimeRange { from: WallTime(START + cut), to: WallTime((last - cut / 3).max(START + cut)) };
        // A range whose cells would be more than an answer holds is left out.
        if (some.to.0 - some.from.0) / (step * 1_000) < 20_000 {
            compare(&mut reader, &ids, &ticks, some, Some(step * 1_000), step % 900 == 0)?;
        }
        compare(&mut reader, &ids, &ticks, some, None, false)?;
        let all = TimeRange { from: WallTime(START), to: WallTime(last) };
        compare(&mut reader, &ids, &ticks, all, Some(multiple * 900_000), true)?;
        compare(&mut reader, &ids, &ticks, some, Some(multiple * 900_000), true)?;
        prop_assert_eq!(store.damages(), []);
    }
}
