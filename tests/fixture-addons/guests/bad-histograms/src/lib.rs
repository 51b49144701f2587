//! Declares histograms with buckets that are none, and observes what is no number.

use fixture_common::outcome;
use fixture_common::sdk::metrics::{self, MetricError};
use fixture_common::sdk::{Metric, Unit, sample};

fixture_common::collects!(|_| {
    let buckets = |case: &str, bounds: Vec<f64>| {
        let metric = Metric::histogram("waits_seconds", Unit::Seconds, "Waits.").buckets(bounds);
        outcome(case, matches!(metrics::declare(&metric), Err(MetricError::Invalid(_))))
    };
    metrics::declare(&Metric::histogram("good_seconds", Unit::Seconds, "Good.").buckets([1.0, 2.0]))?;
    let observe = |case: &str, value: f64| {
        outcome(case, matches!(metrics::histogram("good_seconds", &[], value), Err(MetricError::Invalid(_))))
    };
    metrics::histogram("good_seconds", &[], 1.5)?;
    Ok(vec![
        buckets("not growing", vec![2.0, 1.0]),
        buckets("equal", vec![1.0, 1.0]),
        buckets("not a number", vec![1.0, f64::NAN]),
        buckets("infinity", vec![1.0, f64::INFINITY]),
        buckets("33 buckets", (0..33).map(f64::from).collect()),
        buckets("10 000 buckets", (0..10_000).map(f64::from).collect()),
        observe("observed nan", f64::NAN),
        observe("observed infinity", f64::INFINITY),
        sample("good_seconds", (), 1.0),
    ])
});
