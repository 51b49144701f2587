//! Returns a sample of a metric that it did not declare, and records another such one.

use fixture_common::outcome;
use fixture_common::sdk::metrics::{self, MetricError};
use fixture_common::sdk::sample;

fixture_common::collects!(|_| {
    let recorded = metrics::gauge("unheard_of", &[], 1.0);
    Ok(vec![
        sample("never_declared", (), 1.0),
        outcome("recorded", matches!(recorded, Err(MetricError::Undeclared(_)))),
    ])
});
