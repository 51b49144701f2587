//! Declares three hundred metrics: more than it may have.

use fixture_common::sdk::metrics::{self, MetricError};
use fixture_common::sdk::{Metric, Unit};

fixture_common::collects!(|_| {
    let declared =
        (0..300).map(|number| metrics::declare(&Metric::gauge(format!("m{number}"), Unit::Count, "Help.")));
    let refused = declared.filter(|result| matches!(result, Err(MetricError::LimitExceeded(_)))).count();
    fixture_common::value(refused as f64)
});
