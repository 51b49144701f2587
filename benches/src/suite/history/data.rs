//! Made-up history of a host: a hundred series as Lowtide records them, one value of each at every tick. The same seed gives the same
//! numbers on every run, and every store that is compared is given the same ones. It measures nothing.

mod machine;
mod random;

use lowtide_core::units::Unit;
use machine::Machine;
use random::Random;

/// Time between two ticks.
pub(super) const TICK_MS: i64 = 5_000;

/// Ticks of seven days.
pub(super) const WEEK_TICKS: usize = 120_960;

/// The group of what the collectors of a host record.
const GROUP: &str = "host";

/// A tick comes up to so much late.
const JITTER_MS: f64 = 2.0;

/// Values of all series at all ticks.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Data {
    pub(super) series: Vec<SeriesSpec>,
    pub(super) times_ms: Vec<i64>,
    /// For each series its values, one a tick.
    pub(super) columns: Vec<Vec<f64>>,
}

/// What a series is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SeriesSpec {
    pub(super) group: &'static str,
    pub(super) metric: String,
    pub(super) labels: Vec<(String, String)>,
    /// It only grows.
    pub(super) counter: bool,
    pub(super) unit: Unit,
}

impl Data {
    /// Values in all columns together.
    pub(super) fn samples(&self) -> usize {
        self.series.len() * self.times_ms.len()
    }
}

/// So many ticks from `start_ms` on.
pub(super) fn generate(seed: u64, start_ms: i64, ticks: usize) -> Data {
    let mut random = Random::new(seed);
    let mut machine = Machine::new(&mut random);
    let mut data = Data::default();
    let mut due_ms = start_ms;
    for _ in 0..ticks {
        let late_ms = random.below(JITTER_MS + 1.0).floor();
        #[expect(clippy::cast_possible_truncation, reason = "a few milliseconds")]
        let at_ms = due_ms + late_ms as i64;
        machine.step(at_ms, &mut random);
        data.times_ms.push(at_ms);
        machine.record(&mut Record { data: &mut data, next: 0, ticks });
        due_ms += TICK_MS;
    }
    data
}

/// Writes one tick: the values come in the same order at each, and the first makes the columns.
struct Record<'a> {
    data: &'a mut Data,
    next: usize,
    ticks: usize,
}

impl Record<'_> {
    fn gauge(&mut self, metric: &'static str, labels: &[(&str, &str)], unit: Unit, value: f64) {
        self.put(metric, labels, false, unit, value);
    }

    fn counter(&mut self, metric: &'static str, labels: &[(&str, &str)], unit: Unit, value: f64) {
        self.put(metric, labels, true, unit, value);
    }

    fn put(&mut self, metric: &'static str, labels: &[(&str, &str)], counter: bool, unit: Unit, value: f64) {
        if self.next == self.data.series.len() {
            let labels = labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
            let metric = metric.to_owned();
            self.data.series.push(SeriesSpec { group: GROUP, metric, labels, counter, unit });
            self.data.columns.push(Vec::with_capacity(self.ticks));
        }
        if let Some(column) = self.data.columns.get_mut(self.next) {
            column.push(value);
        }
        self.next += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    /// A Monday, three days long: every regime comes, and a night.
    const START_MS: i64 = 1_767_571_200_000;
    const TICKS: usize = 51_840;

    #[test]
    fn a_seed_says_it_all() {
        let short = generate(7, START_MS, 500);
        assert_eq!(short, generate(7, START_MS, 500));
        assert_ne!(short, generate(8, START_MS, 500));
        assert!(short.times_ms.iter().zip(0..).all(|(at, tick)| {
            let late = at - (START_MS + tick * TICK_MS);
            (0..=2).contains(&late)
        }));
    }

    #[test]
    fn a_hundred_series_all_different_and_whole() {
        let data = generate(1, START_MS, 50);
        let names: HashSet<_> = data.series.iter().map(|spec| (&spec.metric, &spec.labels)).collect();
        assert_eq!((data.series.len(), names.len(), data.columns.len()), (100, 100, 100));
        assert_eq!(data.samples(), 5_000);
        for (spec, column) in data.series.iter().zip(&data.columns) {
            assert_eq!(column.len(), data.times_ms.len(), "{spec:?}");
            let stem = spec.metric.strip_suffix("_total");
            assert_eq!(stem.is_some(), spec.counter, "{spec:?}");
            assert!(stem.unwrap_or(&spec.metric).ends_with(spec.unit.suffix()), "{spec:?}");
        }
    }

    #[test]
    fn values_are_those_that_a_host_has() {
        let data = generate(1, START_MS, TICKS);
        for (spec, column) in data.series.iter().zip(&data.columns) {
            assert!(column.iter().all(|value| value.is_finite() && *value >= 0.0), "{spec:?}");
            if spec.counter {
                assert!(column.is_sorted(), "{spec:?} falls");
            }
            if spec.unit == Unit::Ratio {
                assert!(column.iter().all(|value| *value <= 1.0), "{spec:?}");
            }
        }
        let usage = data.series.iter().position(|spec| spec.metric == "host_cpu_usage_ratio").unwrap();
        let usage = &data.columns[usage];
        let share = |low: f64, high: f64| {
            let inside = usage.iter().filter(|value| (low..high).contains(*value)).count();
            inside as f64 / usage.len() as f64
        };
        assert!(share(0.0, 0.06) > 0.3, "the host is idle for a good part of the time: {}", share(0.0, 0.06));
        assert!(share(0.5, 1.1) > 0.02, "and busy for a small one: {}", share(0.5, 1.1));
    }

    #[test]
    fn values_are_as_round_as_their_metric_says() {
        let data = generate(1, START_MS, 2_000);
        let mut unrounded = 0;
        for (spec, column) in data.series.iter().zip(&data.columns) {
            let parts = match spec.unit {
                Unit::Ratio => 1e4,
                Unit::Seconds => 1e6,
                Unit::Celsius => 10.0,
                Unit::Bytes => 1.0,
                Unit::Count => 100.0,
                Unit::PerSecond | Unit::BytesPerSecond | Unit::Hertz => {
                    unrounded += 1;
                    continue;
                }
            };
            let round = |value: &f64| (value * parts).round() / parts;
            assert!(column.iter().all(|value| round(value).to_bits() == value.to_bits()), "{spec:?}");
        }
        assert_eq!(unrounded, 10);
    }
}
