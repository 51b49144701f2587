//! The Prometheus text format 0.0.4 and OpenMetrics 1.0.0 (prometheus/docs `content/docs/instrumenting/
//! exposition_formats.md`, prometheus/OpenMetrics `specification/OpenMetrics.md`). A pure function of the state; the route
//! calls it once a tick.

use lowtide_core::metric::{Kind, Part, Series};
use lowtide_core::state::HostState;
use std::fmt::Write as _;

/// What every metric name begins with.
pub const PREFIX: &str = "lowtide_";

/// Which of the two formats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// `text/plain; version=0.0.4`.
    Text,
    /// `application/openmetrics-text; version=1.0.0`.
    OpenMetrics,
}

/// Every fresh sample of a state. A collector whose values are stale is not in it: no sample says more than an old one.
#[must_use]
pub fn render(state: &HostState, version: &str, format: Format) -> String {
    let mut out = String::with_capacity(64 << 10);
    head(&mut out, "build_info", Kind::Gauge, "Version of the daemon; always 1.", format);
    let _ = writeln!(out, "{PREFIX}build_info{{version=\"{}\"}} 1", Escaped(version));
    for report in state.reports() {
        let Some(samples) = &report.samples else { continue };
        let mut open: Option<&str> = None;
        for (series, value) in samples.iter() {
            // A collector pushes the samples of a metric together, so the heads come once each.
            if open != Some(&*series.metric.name) {
                head(&mut out, &series.metric.name, series.metric.kind, &series.metric.help, format);
                open = Some(&series.metric.name);
            }
            sample(&mut out, series, value);
        }
    }
    if format == Format::OpenMetrics {
        out.push_str("# EOF\n");
    }
    out
}

fn head(out: &mut String, name: &str, kind: Kind, help: &str, format: Format) {
    // OpenMetrics names a counter's family without the suffix of its samples.
    let family =
        if format == Format::OpenMetrics { name.strip_suffix("_total").unwrap_or(name) } else { name };
    let kind = match kind {
        Kind::Gauge => "gauge",
        Kind::Counter => "counter",
        Kind::Histogram => "histogram",
    };
    // Writing to a String cannot fail.
    let _ = writeln!(out, "# HELP {PREFIX}{family} {}", Escaped(help));
    let _ = writeln!(out, "# TYPE {PREFIX}{family} {kind}");
}

fn sample(out: &mut String, series: &Series, value: f64) {
    out.push_str(PREFIX);
    out.push_str(&series.metric.name);
    out.push_str(series.part.suffix());
    let mut separator = '{';
    let mut label = |out: &mut String, key: &str, text: &str| {
        out.push(separator);
        separator = ',';
        let _ = write!(out, "{key}=\"{}\"", Escaped(text));
    };
    series.label_pairs().for_each(|(key, text)| label(out, key, text));
    if let Part::Bucket(bound) = &series.part {
        label(out, "le", bound);
    }
    if separator == ',' {
        out.push('}');
    }
    let _ = writeln!(out, " {value}");
}

/// Text with backslash, newline and quote escaped, as label values want it. A quote in a HELP line may be escaped in
/// OpenMetrics and does no harm in the older format; ours hold none.
struct Escaped<'a>(&'a str);

impl std::fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for character in self.0.chars() {
            match character {
                '\\' => f.write_str("\\\\")?,
                '\n' => f.write_str("\\n")?,
                '"' => f.write_str("\\\"")?,
                other => f.write_char(other)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn label_values_are_escaped() {
        assert_eq!(Escaped("a\"b\\c\nd").to_string(), "a\\\"b\\\\c\\nd");
    }
}
