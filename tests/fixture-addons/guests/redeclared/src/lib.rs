//! Declares a metric again, differently.

use fixture_common::outcome;
use fixture_common::sdk::metrics::{self, MetricError};
use fixture_common::sdk::{Metric, Unit};

fixture_common::collects!(|_| {
    let conflict = |metric: &Metric| matches!(metrics::declare(metric), Err(MetricError::Conflict(_)));
    let same = Metric::gauge("value", Unit::Count, "One number.");
    Ok(vec![
        outcome("the same", metrics::declare(&same).is_ok()),
        outcome("other help", conflict(&Metric::gauge("value", Unit::Count, "Another."))),
        outcome("other labels", conflict(&same.clone().labels(["place"]))),
        outcome(
            "other kind",
            metrics::declare(&Metric::histogram("value", Unit::Count, "One number.")).is_err(),
        ),
    ])
});
