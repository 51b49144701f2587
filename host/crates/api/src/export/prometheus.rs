//! The Prometheus text format 0.0.4 and OpenMetrics 1.0.0 (prometheus/docs `content/docs/instrumenting/
//! exposition_formats.md`, prometheus/OpenMetrics `specification/OpenMetrics.md`). A pure function of the state; the route
//! calls it once a tick.

use lowtide_core::metric::{Kind, Part, Series};
use lowtide_core::state::HostState;
use std::collections::HashSet;
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
    let taken = if format == Format::OpenMetrics { taken(state) } else { HashSet::new() };
    head(&mut out, "build_info", Kind::Gauge, "Version of the daemon; always 1.", format, &taken);
    let _ = writeln!(out, "{PREFIX}build_info{{version=\"{}\"}} 1", Escaped(version));
    for report in state.reports() {
        let Some(samples) = &report.samples else { continue };
        let mut open: Option<&str> = None;
        let mut negative = false;
        for (series, value) in samples.iter() {
            // A collector pushes the samples of a metric together, so the heads come once each.
            if open != Some(&*series.metric.name) {
                head(&mut out, &series.metric.name, series.metric.kind, &series.metric.help, format, &taken);
                open = Some(&series.metric.name);
            }
            // OpenMetrics has neither sum nor count beside buckets below zero. The lowest bucket stands first.
            match &series.part {
                Part::Bucket(bound) => negative |= bound.starts_with('-'),
                Part::Sum if negative && format == Format::OpenMetrics => continue,
                Part::Count if std::mem::take(&mut negative) && format == Format::OpenMetrics => continue,
                Part::Value | Part::Sum | Part::Count => {}
            }
            sample(&mut out, series, value);
        }
    }
    if format == Format::OpenMetrics {
        out.push_str("# EOF\n");
    }
    out
}

/// Names that a counter's family must not have in OpenMetrics, because another metric has it: an addon may have `jobs` and
/// `jobs_total`, or two addons whose ids begin alike.
fn taken(state: &HostState) -> HashSet<&str> {
    let series = state
        .reports()
        .filter_map(|report| report.samples.as_ref())
        .flat_map(|samples| samples.series.iter());
    series.filter(|series| series.metric.kind != Kind::Counter).map(|series| &*series.metric.name).collect()
}

fn head(out: &mut String, name: &str, kind: Kind, help: &str, format: Format, taken: &HashSet<&str>) {
    let kind_name = match kind {
        Kind::Gauge => "gauge",
        Kind::Counter => "counter",
        Kind::Histogram => "histogram",
    };
    let (family, kind) = match (format, name.strip_suffix("_total")) {
        (Format::OpenMetrics, Some(stem))
            if taken.contains(stem) || taken.contains(&*format!("{stem}_created")) =>
        {
            (name, "unknown")
        }
        // OpenMetrics names a counter's family without the suffix of its samples.
        (Format::OpenMetrics, Some(stem)) => (stem, kind_name),
        _ => (name, kind_name),
    };
    // Writing to a String cannot fail.
    let _ = match format {
        Format::OpenMetrics => writeln!(out, "# HELP {PREFIX}{family} {}", Escaped(help)),
        Format::Text => writeln!(out, "# HELP {PREFIX}{family} {}", EscapedHelp(help)),
    };
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

/// Text with backslash and newline escaped, as HELP lines of the text format want it: an escaped quote there is an error for
/// those that read it strictly.
struct EscapedHelp<'a>(&'a str);

impl std::fmt::Display for EscapedHelp<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for character in self.0.chars() {
            match character {
                '\\' => f.write_str("\\\\")?,
                '\n' => f.write_str("\\n")?,
                other => f.write_char(other)?,
            }
        }
        Ok(())
    }
}

/// Text with backslash, newline and quote escaped, as label values want it, and HELP lines of OpenMetrics.
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
    use lowtide_core::metric::{MetricDef, MetricRef, Text};
    use lowtide_core::quiet::QuietConfig;
    use lowtide_core::report::{CollectorInfo, CollectorReport, CollectorStatus, Samples};
    use lowtide_core::units::{MonoTime, Now, Unit, WallTime};
    use std::sync::Arc;
    use std::time::Duration;

    /// A state with what an addon reports.
    fn state(metrics: &[(&Arc<MetricDef>, Part, &[&str], f64)]) -> Arc<HostState> {
        let series = metrics.iter().map(|(metric, part, labels, _)| Series {
            metric: MetricRef::Declared(Arc::clone(metric)),
            part: part.clone(),
            labels: labels.iter().map(|label| (*label).into()).collect(),
        });
        let samples = Samples {
            series: series.collect(),
            values: metrics.iter().map(|(.., value)| *value).collect(),
            dropped: 0,
            settled: true,
        };
        let now = Now { mono: MonoTime(Duration::from_secs(1)), wall: WallTime(0) };
        let report = CollectorReport {
            info: Arc::new(CollectorInfo {
                name: "addon.demo".into(),
                group: "addon.demo".into(),
                metric_prefix: "addon_demo_".into(),
                help: "Demo.".into(),
                interval: Duration::from_secs(1),
                metrics: Vec::new().into(),
            }),
            status: CollectorStatus::Ok,
            samples: Some(Arc::new(samples)),
            collected_at: Some((now.mono, now.wall)),
            fresh: true,
            stale: false,
            duration: Duration::ZERO,
            interval: Duration::from_secs(1),
            error: None,
            status_since: now.wall,
            runs: 1,
            failures: 0,
            overruns: 0,
        };
        let mut ticker = lowtide_app::Ticker::new(Duration::from_secs(1), QuietConfig::default());
        ticker.tick(now, vec![report], &[], lowtide_app::TickFacts::default())
    }

    fn declared(name: &'static str, kind: Kind, help: &'static str) -> Arc<MetricDef> {
        let labels: &[Text] = if name.ends_with("jobs") { &[Text::Borrowed("queue")] } else { &[] };
        let def = MetricDef {
            name: name.into(),
            kind,
            unit: Unit::Count,
            help: help.into(),
            labels: labels.to_vec().into(),
        };
        Arc::new(def)
    }

    fn of_demo(text: &str) -> String {
        text.lines().filter(|line| line.contains("addon_demo_")).map(|line| format!("{line}\n")).collect()
    }

    #[test]
    fn what_strangers_write_stays_an_exposition() {
        let jobs = declared("addon_demo_jobs", Kind::Gauge, "Jobs \"now\".\nC:\\x");
        let done = declared("addon_demo_jobs_total", Kind::Counter, "Jobs.");
        let state = state(&[
            (&jobs, Part::Value, &["a\"b\\c\nd"], 1.0),
            (&jobs, Part::Value, &["ä} 7"], 2.0),
            (&done, Part::Value, &[], 3.0),
        ]);
        assert_eq!(
            of_demo(&render(&state, "1", Format::Text)),
            "# HELP lowtide_addon_demo_jobs Jobs \"now\".\\nC:\\\\x\n\
             # TYPE lowtide_addon_demo_jobs gauge\n\
             lowtide_addon_demo_jobs{queue=\"a\\\"b\\\\c\\nd\"} 1\n\
             lowtide_addon_demo_jobs{queue=\"ä} 7\"} 2\n\
             # HELP lowtide_addon_demo_jobs_total Jobs.\n\
             # TYPE lowtide_addon_demo_jobs_total counter\n\
             lowtide_addon_demo_jobs_total 3\n"
        );
        let open = of_demo(&render(&state, "1", Format::OpenMetrics));
        assert!(open.contains("# HELP lowtide_addon_demo_jobs Jobs \\\"now\\\".\\nC:\\\\x\n"), "{open}");
        // The family of the counter would be that of the gauge.
        assert!(
            open.contains("# TYPE lowtide_addon_demo_jobs_total unknown\nlowtide_addon_demo_jobs_total 3\n"),
            "{open}"
        );
        assert_eq!(open.matches("# TYPE lowtide_addon_demo_jobs ").count(), 1);
    }

    #[test]
    fn histograms_have_what_their_format_asks_for() {
        let size = declared("addon_demo_size", Kind::Histogram, "Sizes.");
        let drift = declared("addon_demo_drift", Kind::Histogram, "Drift.");
        let histogram = |metric, lowest: &'static str| {
            let part = |part, value| (metric, part, &[] as &[&str], value);
            [
                part(Part::Bucket(lowest.into()), 1.0),
                part(Part::Bucket("+Inf".into()), 2.0),
                part(Part::Sum, 0.5),
                part(Part::Count, 2.0),
            ]
        };
        let metrics = [histogram(&drift, "-1.0"), histogram(&size, "1.0")].concat();
        let state = state(&metrics);
        let plain = of_demo(&render(&state, "1", Format::Text));
        let lines = "lowtide_addon_demo_size_bucket{le=\"1.0\"} 1\nlowtide_addon_demo_size_bucket{le=\"+Inf\"} 2\n\
                     lowtide_addon_demo_size_sum 0.5\nlowtide_addon_demo_size_count 2\n";
        assert!(plain.contains(lines), "{plain}");
        assert!(plain.contains("drift_sum 0.5") && plain.contains("drift_count 2"), "{plain}");
        let open = of_demo(&render(&state, "1", Format::OpenMetrics));
        assert!(open.contains(lines), "{open}");
        assert!(!open.contains("drift_sum") && !open.contains("drift_count"), "{open}");
    }

    #[test]
    fn label_values_are_escaped() {
        assert_eq!(Escaped("a\"b\\c\nd").to_string(), "a\\\"b\\\\c\\nd");
    }
}
