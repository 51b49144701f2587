//! The series that an addon records between collections. They stay until the metric is declared otherwise or the addon is removed.

use super::collected::series;
use super::{Declared, MetricError};
use crate::caps::log::clean;
use crate::limits;
use lowtide_core::limits::LABEL_VALUE_BYTES_MAX;
use lowtide_core::metric::{Kind, MetricDef, MetricRef, Part, Series};
use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

/// One recorded series of the addon: a number, or a histogram, which is several series outside.
#[derive(Debug)]
struct Entry {
    def: Arc<MetricDef>,
    place: usize,
    labels: Box<[String]>,
    value: Value,
    /// Its series outside.
    series: Vec<Series>,
}

#[derive(Debug)]
enum Value {
    Number(f64),
    Histogram {
        bounds: Arc<[f64]>,
        /// Observations up to each bound, not cumulative, and above all bounds.
        counts: Box<[u64]>,
        sum: f64,
    },
}

#[derive(Debug, Default)]
pub(super) struct Recorded {
    /// Ordered by metric, so that the samples of one stand together.
    entries: Vec<Entry>,
    index: HashMap<(String, Box<[String]>), usize>,
    series: usize,
}

impl Recorded {
    pub(super) fn len(&self) -> usize {
        self.series
    }

    pub(super) fn series(&self) -> impl Iterator<Item = &Series> {
        self.entries.iter().flat_map(|entry| &entry.series)
    }

    /// Records a value. True when that made a new series.
    pub(super) fn put(
        &mut self,
        declared: &Declared,
        labels: &[String],
        value: f64,
        room: usize,
    ) -> Result<bool, MetricError> {
        // The key is built for each call: a guest that records often pays for it, and 100 ns are less than its call cost.
        // Labels that differ only in what is cut or cleaned away are one series to everybody else.
        let labels: Box<[String]> =
            labels.iter().map(|label| clean(label, LABEL_VALUE_BYTES_MAX).into_owned()).collect();
        let key = (declared.def.name.to_string(), labels);
        if let Some(entry) = self.index.get(&key).and_then(|at| self.entries.get_mut(*at)) {
            entry.value.put(declared.def.kind, value);
            return Ok(false);
        }
        let parts = parts(declared);
        if self.series + parts.len() > room {
            return Err(MetricError::LimitExceeded(format!(
                "an addon may have {} series",
                limits::SERIES_MAX
            )));
        }
        self.series += parts.len();
        let mut entry = Entry {
            def: Arc::clone(&declared.def),
            place: declared.place,
            series: parts.into_iter().map(|part| series(declared, part, &key.1)).collect(),
            labels: key.1,
            value: Value::new(declared),
        };
        entry.value.put(declared.def.kind, value);
        let at = self.entries.partition_point(|other| other.place <= entry.place);
        self.entries.insert(at, entry);
        self.reindex(at..self.entries.len());
        Ok(true)
    }

    fn reindex(&mut self, changed: Range<usize>) {
        for at in changed {
            if let Some(entry) = self.entries.get(at) {
                self.index.insert((entry.def.name.to_string(), entry.labels.clone()), at);
            }
        }
    }

    /// Drops all series of a metric.
    pub(super) fn forget(&mut self, def: &Arc<MetricDef>) {
        let of = |entry: &Entry| {
            entry
                .series
                .iter()
                .any(|one| matches!(&one.metric, MetricRef::Declared(own) if own.name == def.name))
        };
        self.entries.retain(|entry| !of(entry));
        self.index.clear();
        self.reindex(0..self.entries.len());
        self.series = self.entries.iter().map(|entry| entry.series.len()).sum();
    }

    /// Appends the values of all series, in their order.
    pub(super) fn write(&self, out: &mut Vec<f64>) {
        for entry in &self.entries {
            entry.value.write(out);
        }
    }
}

/// The numbers that a metric exposes: one, or those of a histogram in the order of the exposition.
fn parts(declared: &Declared) -> Vec<Part> {
    if declared.def.kind != Kind::Histogram {
        return vec![Part::Value];
    }
    let mut parts: Vec<Part> =
        declared.bounds.iter().map(|bound| Part::Bucket(bound_text(*bound).into())).collect();
    parts.extend([Part::Bucket("+Inf".into()), Part::Sum, Part::Count]);
    parts
}

/// OpenMetrics wants bounds as floats: `1.0`, not `1`.
fn bound_text(bound: f64) -> String {
    let text = bound.to_string();
    if text.contains('.') { text } else { format!("{text}.0") }
}

/// Adds, unless the sum would be no number any more: a counter that is infinite has no rate.
fn add(sum: &mut f64, value: f64) {
    let after = *sum + value;
    if after.is_finite() {
        *sum = after;
    }
}

impl Value {
    fn new(declared: &Declared) -> Self {
        if declared.def.kind != Kind::Histogram {
            return Self::Number(0.0);
        }
        let counts = vec![0; declared.bounds.len() + 1].into_boxed_slice();
        Self::Histogram { bounds: Arc::clone(&declared.bounds), counts, sum: 0.0 }
    }

    fn put(&mut self, kind: Kind, value: f64) {
        match self {
            Self::Number(number) if kind == Kind::Counter => add(number, value),
            Self::Number(number) => *number = if value.is_finite() { value } else { f64::NAN },
            Self::Histogram { bounds, counts, sum } => {
                let at = bounds.partition_point(|bound| *bound < value);
                if let Some(count) = counts.get_mut(at) {
                    *count += 1;
                }
                add(sum, value);
            }
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "counts far below 2^52")]
    fn write(&self, out: &mut Vec<f64>) {
        match self {
            Self::Number(number) => out.push(*number),
            Self::Histogram { counts, sum, .. } => {
                let mut seen = 0;
                for count in counts {
                    seen += count;
                    out.push(seen as f64);
                }
                out.extend([*sum, seen as f64]);
            }
        }
    }
}
