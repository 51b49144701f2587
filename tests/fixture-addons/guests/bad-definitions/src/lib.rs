//! Declares metrics that break every rule there is.

use fixture_common::outcome;
use fixture_common::sdk::metrics::{self, MetricError};
use fixture_common::sdk::{Metric, Unit};

fixture_common::collects!(|_| {
    let gauge = |name: &str| Metric::gauge(name, Unit::Count, "Help.");
    let invalid = |case: &str, metric: Metric| {
        outcome(case, matches!(metrics::declare(&metric), Err(MetricError::Invalid(_))))
    };
    let many: Vec<String> = (0..17).map(|number| format!("l{number}")).collect();
    Ok(vec![
        invalid("empty name", gauge("")),
        invalid("upper case", gauge("Upper")),
        invalid("digit first", gauge("1st")),
        invalid("dash", gauge("a-b")),
        invalid("dots", gauge("a.b")),
        invalid("two underscores", gauge("a__b")),
        invalid("200 bytes", gauge(&"x".repeat(200))),
        invalid("100 KB", gauge(&"x".repeat(100_000))),
        invalid("counter without total", Metric::counter("steps", Unit::Count, "Help.")),
        invalid("gauge with total", gauge("steps_total")),
        invalid("wrong suffix", Metric::gauge("size", Unit::Bytes, "Help.")),
        invalid("suffix of a histogram", gauge("a_bucket")),
        invalid("no help", Metric::gauge("helpless", Unit::Count, "")),
        invalid("17 labels", gauge("many").labels(many)),
        invalid("label le", gauge("less").labels(["le"])),
        invalid("label twice", gauge("twice").labels(["a", "a"])),
        invalid("empty label", gauge("nameless").labels([""])),
        invalid("label of 65 bytes", gauge("long").labels(["x".repeat(65)])),
        invalid("gauge with buckets", gauge("buckets").buckets([1.0])),
    ])
});
