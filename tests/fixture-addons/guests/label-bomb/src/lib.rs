//! Has new label values in every call, returned and recorded.

use fixture_common::sdk::metrics;
use fixture_common::sdk::{Metric, Unit, sample};

fixture_common::collects!(|call| {
    metrics::declare(&Metric::counter("steps_total", Unit::Count, "Steps.").labels(["step"]))?;
    for step in 0..200 {
        // What is over is refused, and that is right.
        let _ = metrics::counter("steps_total", &[&format!("{call} {step}")], 1.0);
    }
    Ok((0..200).map(|number| sample("outcome", [format!("{call} {number}")], 1.0)).collect())
});
