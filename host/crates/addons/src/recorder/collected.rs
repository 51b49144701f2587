//! The series of a collector's last answer. As long as an answer has the same series in the same order as the one before, taking
//! it in is a comparison and a store for each sample; otherwise the layout is made anew.

use super::{Declared, Given, Source, check_labels, clip};
use crate::caps::log::clean;
use crate::meter::Meter;
use lowtide_core::limits::LABEL_VALUE_BYTES_MAX;
use lowtide_core::metric::{Kind, MetricRef, Part, Series};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// What became of the sample at one place of the answer.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Fate {
    /// Its value goes to this place of the layout: samples of one metric stand together there, whatever the guest's order.
    Kept(usize),
    Undeclared,
    Duplicate,
    Invalid,
    Overflow,
}

#[derive(Debug)]
struct Expected {
    name: Box<str>,
    labels: Box<[String]>,
    fate: Fate,
}

#[derive(Debug, Default)]
pub(super) struct Collected {
    expected: Vec<Expected>,
    series: Vec<Series>,
    values: Vec<f64>,
    /// What was wrong with the first refused sample of this layout.
    complaint: Option<String>,
}

impl Collected {
    pub(super) fn len(&self) -> usize {
        self.series.len()
    }

    pub(super) fn series(&self) -> &[Series] {
        &self.series
    }

    pub(super) fn values(&self) -> &[f64] {
        &self.values
    }

    /// Declarations have changed: what was refused may be right now.
    pub(super) fn forget_layout(&mut self) {
        self.expected.clear();
    }

    /// Takes the values of an answer that is laid out like the last one. False when it is not, and then nothing is certain.
    pub(super) fn fill<'a>(&mut self, samples: impl ExactSizeIterator<Item = Given<'a>>) -> bool {
        if samples.len() != self.expected.len() {
            return false;
        }
        for (sample, expected) in samples.zip(&self.expected) {
            if *sample.name != *expected.name || *sample.labels != *expected.labels {
                return false;
            }
            if let Fate::Kept(place) = expected.fate
                && let Some(value) = self.values.get_mut(place)
            {
                *value = finite(sample.value);
            }
        }
        true
    }

    /// Makes the layout of an answer, with room for so many series.
    pub(super) fn arrange<'a>(
        &mut self,
        samples: impl ExactSizeIterator<Item = Given<'a>>,
        declared: &mut HashMap<String, Declared>,
        room: usize,
    ) {
        self.complaint = None;
        let mut expected = Vec::with_capacity(samples.len());
        let mut kept: Vec<(usize, usize, Series, f64)> = Vec::new();
        let mut seen = HashSet::new();
        for (at, sample) in samples.enumerate() {
            let fate = match judge(&sample, declared, &mut seen, kept.len() < room) {
                Ok((place, series)) => {
                    kept.push((place, at, series, finite(sample.value)));
                    Fate::Kept(0)
                }
                Err((fate, complaint)) => {
                    self.complaint.get_or_insert(complaint);
                    fate
                }
            };
            expected.push(Expected { name: sample.name.into(), labels: sample.labels.into(), fate });
        }
        kept.sort_by_key(|(place, at, ..)| (*place, *at));
        (self.series, self.values) = (Vec::with_capacity(kept.len()), Vec::with_capacity(kept.len()));
        for (_, at, series, value) in kept {
            if let Some(expected) = expected.get_mut(at) {
                expected.fate = Fate::Kept(self.series.len());
            }
            self.series.push(series);
            self.values.push(value);
        }
        self.expected = expected;
    }

    /// Counts what this answer had that was not taken; returns how much, and the first complaint.
    pub(super) fn count_refused(&self, meter: &Meter) -> (usize, Option<String>) {
        if self.complaint.is_none() {
            return (0, None);
        }
        let mut refused = 0;
        for expected in &self.expected {
            let counter = match expected.fate {
                Fate::Kept(_) => continue,
                Fate::Undeclared => &meter.dropped_undeclared,
                Fate::Duplicate => &meter.dropped_duplicate,
                Fate::Invalid => &meter.dropped_invalid,
                Fate::Overflow => &meter.dropped_overflow,
            };
            Meter::add(counter, 1);
            refused += 1;
        }
        let complaint = self.complaint.as_ref().map(|first| match refused {
            0 | 1 => first.clone(),
            more => format!("{first} (and {} more samples were left out)", more - 1),
        });
        (refused, complaint)
    }
}

/// The place in the order of metrics and the series of a sample, or why it is left out.
fn judge(
    sample: &Given<'_>,
    declared: &mut HashMap<String, Declared>,
    seen: &mut HashSet<(usize, Box<[Box<str>]>)>,
    room: bool,
) -> Result<(usize, Series), (Fate, String)> {
    let name = sample.name;
    let Some(metric) = declared.get_mut(name) else {
        return Err((
            Fate::Undeclared,
            format!("a sample of {:?}, which was not declared, was left out", clip(name)),
        ));
    };
    if metric.def.kind == Kind::Histogram {
        return Err((Fate::Invalid, format!("{name:?} is a histogram: record it with metrics.histogram")));
    }
    if metric.source == Some(Source::Recorded) {
        return Err((Fate::Invalid, format!("{name:?} is recorded already; one metric has one source")));
    }
    check_labels(metric, sample.labels).map_err(|error| (Fate::Invalid, error.to_string()))?;
    let series = series(metric, Part::Value, sample.labels);
    // Labels that differ only in what was cut or cleaned away are one series to everybody else.
    if !seen.insert((metric.place, series.labels.clone())) {
        return Err((Fate::Duplicate, format!("a series of {name:?} was given twice")));
    }
    if !room {
        let most = crate::limits::SERIES_MAX;
        return Err((Fate::Overflow, format!("an addon may have {most} series")));
    }
    metric.source = Some(Source::Collected);
    Ok((metric.place, series))
}

/// A series with its label values cleaned.
pub(super) fn series(metric: &Declared, part: Part, labels: &[String]) -> Series {
    Series {
        metric: MetricRef::Declared(Arc::clone(&metric.def)),
        part,
        labels: labels.iter().map(|label| clean(label, LABEL_VALUE_BYTES_MAX).into()).collect(),
    }
}

fn finite(value: f64) -> f64 {
    if value.is_finite() { value } else { f64::NAN }
}
