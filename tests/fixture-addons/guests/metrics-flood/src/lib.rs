//! Describes ten thousand metrics.

use fixture_common::Answer;
use fixture_common::sdk::{Collector, Description, Metric, Unit};

/// Too much to say.
#[derive(Default)]
struct Fixture;

impl Collector for Fixture {
    fn describe() -> Description {
        let metrics = (0..10_000).map(|number| Metric::gauge(format!("m{number}"), Unit::Count, "Help."));
        Description::new("Too many metrics.").metrics(metrics)
    }

    fn collect(&mut self) -> Answer {
        Ok(Vec::new())
    }
}

fixture_common::sdk::addon!(Fixture: Collector);
