//! Takes from counters, adds what is no number, and mixes the sources and kinds of a metric.

use fixture_common::outcome;
use fixture_common::sdk::metrics::{self, MetricError};
use fixture_common::sdk::{Metric, Unit};

fixture_common::collects!(|_| {
    metrics::declare(&Metric::counter("steps_total", Unit::Count, "Steps."))?;
    let invalid = |result: Result<(), MetricError>| matches!(result, Err(MetricError::Invalid(_)));
    metrics::counter("steps_total", &[], 2.0)?;
    Ok(vec![
        outcome("negative", invalid(metrics::counter("steps_total", &[], -1.0))),
        outcome("nan", invalid(metrics::counter("steps_total", &[], f64::NAN))),
        outcome("infinity", invalid(metrics::counter("steps_total", &[], f64::INFINITY))),
        outcome("labels", invalid(metrics::counter("steps_total", &["x"], 1.0))),
        outcome("kind", matches!(metrics::gauge("steps_total", &[], 1.0), Err(MetricError::Undeclared(_)))),
    ])
});
