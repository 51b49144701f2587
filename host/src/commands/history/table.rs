//! Rows of an export: CSV (RFC 4180) and JSON lines. What is the same in all rows of a series is put together once.

use super::export::Writer;
use super::rfc3339;
use lowtide_core::history::SeriesInfo;
use lowtide_core::metric::Kind;
use lowtide_core::window::Agg;
use std::io::{self, Write};

/// How a row looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    Csv,
    JsonLines,
}

/// One row for each sample or cell.
#[derive(Debug)]
pub(super) struct Table {
    shape: Shape,
    /// Names of the columns with numbers.
    names: Vec<&'static str>,
}

impl Table {
    /// A table of samples, or of these aggregates.
    pub(super) fn new(shape: Shape, aggs: Option<&[Agg]>) -> Self {
        let names = aggs.map_or_else(|| vec!["value"], |aggs| aggs.iter().map(|agg| agg.name()).collect());
        Self { shape, names }
    }
}

impl Writer for Table {
    fn begin(&mut self, out: &mut dyn Write) -> io::Result<()> {
        match self.shape {
            Shape::Csv => writeln!(out, "time,group,metric,labels,unit,kind,{}", self.names.join(",")),
            Shape::JsonLines => Ok(()),
        }
    }

    fn series(
        &mut self,
        info: &SeriesInfo,
        times_ms: &[i64],
        columns: &[Vec<f64>],
        out: &mut dyn Write,
    ) -> io::Result<u64> {
        let who = match self.shape {
            Shape::Csv => csv(info),
            Shape::JsonLines => json(info),
        };
        let mut rows = 0;
        for (row, time_ms) in times_ms.iter().enumerate() {
            let values = || columns.iter().map(|column| column.get(row).copied().unwrap_or(f64::NAN));
            if !values().any(f64::is_finite) {
                continue;
            }
            rows += 1;
            let time = rfc3339(*time_ms);
            match self.shape {
                Shape::Csv => {
                    write!(out, "{time},{who}")?;
                    for value in values() {
                        if value.is_finite() { write!(out, ",{value}")? } else { out.write_all(b",")? }
                    }
                    out.write_all(b"\n")?;
                }
                Shape::JsonLines => {
                    write!(out, "{{\"time\":\"{time}\",{who}")?;
                    for (name, value) in self.names.iter().zip(values()) {
                        if value.is_finite() {
                            write!(out, ",\"{name}\":{value}")?;
                        } else {
                            write!(out, ",\"{name}\":null")?;
                        }
                    }
                    out.write_all(b"}\n")?;
                }
            }
        }
        Ok(rows)
    }

    fn together(&mut self, _: &[i64], _: &mut dyn Write) -> io::Result<u64> {
        Ok(0)
    }

    fn end(&mut self, _: &mut dyn Write) -> io::Result<()> {
        Ok(())
    }
}

fn kind(kind: Kind) -> &'static str {
    match kind {
        Kind::Gauge => "gauge",
        Kind::Counter => "counter",
        Kind::Histogram => "histogram",
    }
}

/// A text of JSON.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// The labels as a JSON object, in the order in which they were declared.
fn labels(info: &SeriesInfo) -> String {
    let pairs: Vec<String> =
        info.labels.iter().map(|(key, value)| format!("{}:{}", quoted(key), quoted(value))).collect();
    format!("{{{}}}", pairs.join(","))
}

/// Group, name, labels, unit and kind.
fn csv(info: &SeriesInfo) -> String {
    let (name, labels) = (info.name(), labels(info));
    [&*info.group, &name, &labels, info.unit.name(), kind(info.kind)].map(field).join(",")
}

/// A field of CSV, in quotes where it needs them.
fn field(text: &str) -> String {
    if text.contains(['"', ',', '\n', '\r']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}

/// The same as members of a JSON object.
fn json(info: &SeriesInfo) -> String {
    format!(
        "\"group\":{},\"metric\":{},\"labels\":{},\"unit\":\"{}\",\"kind\":\"{}\"",
        quoted(&info.group),
        quoted(&info.name()),
        labels(info),
        info.unit.name(),
        kind(info.kind)
    )
}
