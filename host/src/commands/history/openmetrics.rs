//! An export as OpenMetrics 1.0 text (prometheus/OpenMetrics `specification/OpenMetrics.md`) with times, as `promtool tsdb
//! create-blocks-from openmetrics` takes it in. Families stand together, within them the samples of one metric, by time.

use super::export::{Unit, Writer};
use lowtide_core::history::SeriesInfo;
use lowtide_core::metric::Kind;
use lowtide_core::units;
use lowtide_store::history::SeriesId;
use std::cmp::Ordering;
use std::collections::{HashMap, HashSet};
use std::io::{self, Write};

/// What every metric name begins with, here and in the exposition.
pub(super) const PREFIX: &str = "lowtide_";

/// The format, with what must be known of all series before the first is written.
#[derive(Debug)]
pub(super) struct OpenMetrics {
    /// The newest kind and unit of each metric, and whether it had another kind before.
    metrics: HashMap<Box<str>, (Kind, units::Unit, bool)>,
    /// Names that are not a counter's.
    taken: HashSet<Box<str>>,
    /// The family whose head was written last.
    open: String,
    /// The series of the metric that is being gathered.
    parts: Vec<Part>,
}

/// One line of a metric: its samples, one for each time, NaN where there is none.
#[derive(Debug)]
struct Part {
    info: SeriesInfo,
    column: Vec<f64>,
}

/// A family: its name without the prefix, its type, and its unit if it has one.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Family {
    name: String,
    kind: &'static str,
    unit: &'static str,
}

impl OpenMetrics {
    /// For these series, older ones first.
    pub(super) fn new<'a>(all: impl Iterator<Item = &'a SeriesInfo>) -> Self {
        let mut metrics: HashMap<Box<str>, (Kind, units::Unit, bool)> = HashMap::new();
        let mut taken = HashSet::new();
        for info in all {
            if info.kind != Kind::Counter {
                taken.insert(info.metric.clone());
            }
            let known = metrics.entry(info.metric.clone()).or_insert((info.kind, info.unit, false));
            *known = (info.kind, info.unit, known.2 || known.0 != info.kind);
        }
        Self { metrics, taken, open: String::new(), parts: Vec::new() }
    }

    fn family(&self, info: &SeriesInfo) -> Family {
        let (kind, unit, mixed) =
            self.metrics.get(&info.metric).copied().unwrap_or((info.kind, info.unit, false));
        // An addon may have `jobs` and `jobs_total`: then the counter cannot have the name that is its own.
        let stem = info.metric.strip_suffix("_total").filter(|stem| {
            !self.taken.contains(*stem) && !self.taken.contains(format!("{stem}_created").as_str())
        });
        let (name, kind) = match (kind, stem) {
            // What was a gauge once and is a histogram now is neither.
            _ if mixed => (info.name(), "unknown"),
            (Kind::Counter, Some(stem)) => (stem.to_owned(), "counter"),
            (Kind::Counter, None) => (info.name(), "unknown"),
            (Kind::Gauge, _) => (info.metric.to_string(), "gauge"),
            (Kind::Histogram, _) => (info.metric.to_string(), "histogram"),
        };
        let said = !unit.suffix().is_empty() && name.ends_with(unit.suffix());
        Family { name, kind, unit: if said { unit.name() } else { "" } }
    }

    /// In which order series are written.
    fn compare(&self, a: &SeriesInfo, b: &SeriesInfo) -> Ordering {
        self.family(a).cmp(&self.family(b)).then_with(|| labels(a).cmp(labels(b))).then_with(|| {
            let place = |info: &SeriesInfo| (rank(info), bound(info));
            let ((a_rank, a_bound), (b_rank, b_bound)) = (place(a), place(b));
            a_rank.cmp(&b_rank).then_with(|| a_bound.total_cmp(&b_bound))
        })
    }
}

/// The series in the order of writing: all that make up one metric, whose samples stand together time by time, are one unit.
pub(super) fn units(writer: &OpenMetrics, mut all: Unit) -> Vec<Unit> {
    // Stable: of two by the same name the newer comes after the older.
    all.sort_by(|(_, a), (_, b)| writer.compare(a, b));
    let mut units: Vec<Unit> = Vec::new();
    for (id, info) in all {
        let same = |(_, before): &(SeriesId, SeriesInfo)| {
            writer.family(before) == writer.family(&info) && labels(before).eq(labels(&info))
        };
        match units.last_mut() {
            Some(unit) if unit.last().is_some_and(same) => unit.push((id, info)),
            _ => units.push(vec![(id, info)]),
        }
    }
    units
}

/// The labels that tell one metric of a family from another.
fn labels(info: &SeriesInfo) -> impl Iterator<Item = &(Box<str>, Box<str>)> {
    info.labels.iter().filter(|(key, _)| !(is_bucket(info) && **key == *"le"))
}

fn is_bucket(info: &SeriesInfo) -> bool {
    &*info.suffix == "_bucket"
}

/// The upper bound of a bucket.
fn bound(info: &SeriesInfo) -> f64 {
    let text = info.labels.iter().find(|(key, _)| is_bucket(info) && **key == *"le");
    text.and_then(|(_, text)| text.parse().ok()).unwrap_or(0.0)
}

/// Buckets, then sum, then count.
fn rank(info: &SeriesInfo) -> u8 {
    match &*info.suffix {
        "_bucket" => 1,
        "_sum" => 2,
        "_count" => 3,
        _ => 0,
    }
}

impl Writer for OpenMetrics {
    fn begin(&mut self, _: &mut dyn Write) -> io::Result<()> {
        Ok(())
    }

    fn series(
        &mut self,
        info: &SeriesInfo,
        _: &[i64],
        columns: &[Vec<f64>],
        _: &mut dyn Write,
    ) -> io::Result<u64> {
        let column = columns.first().map(Vec::as_slice).unwrap_or_default();
        match self.parts.last_mut() {
            // The same series by another unit, or of another group: one line, or Prometheus would find its times going back.
            Some(part) if part.info.suffix == info.suffix && part.info.labels == info.labels => {
                for (old, new) in part.column.iter_mut().zip(column) {
                    if new.is_finite() {
                        *old = *new;
                    }
                }
            }
            _ => self.parts.push(Part { info: info.clone(), column: column.to_vec() }),
        }
        Ok(0)
    }

    fn together(&mut self, times_ms: &[i64], out: &mut dyn Write) -> io::Result<u64> {
        let mut parts = std::mem::take(&mut self.parts);
        let Some(first) = parts.first() else { return Ok(0) };
        let family = self.family(&first.info);
        // OpenMetrics has neither sum nor count beside buckets below zero.
        if family.kind == "histogram" && bound(&first.info) < 0.0 {
            parts.retain(|part| is_bucket(&part.info));
        }
        let names: Vec<String> = parts.iter().map(|part| name(&part.info)).collect();
        let mut rows = 0;
        for (row, time_ms) in times_ms.iter().enumerate() {
            for (name, part) in names.iter().zip(&parts) {
                let Some(value) = part.column.get(row).filter(|value| value.is_finite()) else { continue };
                if self.open != family.name {
                    head(&family, out)?;
                    self.open.clone_from(&family.name);
                }
                #[expect(clippy::cast_precision_loss, reason = "exact up to the year 287396")]
                let seconds = *time_ms as f64 / 1_000.0;
                writeln!(out, "{PREFIX}{name} {value} {seconds}")?;
                rows += 1;
            }
        }
        Ok(rows)
    }

    fn end(&mut self, out: &mut dyn Write) -> io::Result<()> {
        out.write_all(b"# EOF\n")
    }
}

fn head(family: &Family, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "# TYPE {PREFIX}{} {}", family.name, family.kind)?;
    if family.unit.is_empty() {
        return Ok(());
    }
    writeln!(out, "# UNIT {PREFIX}{} {}", family.name, family.unit)
}

/// The name of a sample with its labels, without the prefix.
fn name(info: &SeriesInfo) -> String {
    let labels: Vec<String> =
        info.labels.iter().map(|(key, value)| format!("{key}=\"{}\"", escaped(value))).collect();
    if labels.is_empty() { info.name() } else { format!("{}{{{}}}", info.name(), labels.join(",")) }
}

/// Text with backslash, newline and quote escaped, as label values want it.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('\n', "\\n").replace('"', "\\\"")
}
