//! Ten samples: one without labels and nine with one label, as a small real collector has.

use lowtide_sdk::{Collector, Description, Failure, Metric, Sample, Unit, sample};
use std::time::Duration;

#[derive(Default)]
struct Ten {
    calls: u32,
}

const PARTS: [&str; 9] = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine"];

impl Collector for Ten {
    fn describe() -> Description {
        Description::new("Ten samples.")
            .every(Duration::from_secs(5))
            .metric(Metric::gauge("calls", Unit::Count, "Calls of this instance."))
            .metric(Metric::gauge("part_ratio", Unit::Ratio, "A part.").labels(["part"]))
    }

    fn collect(&mut self) -> Result<Vec<Sample>, Failure> {
        self.calls += 1;
        let mut samples = Vec::with_capacity(10);
        samples.push(sample("calls", (), f64::from(self.calls)));
        samples.extend(PARTS.iter().map(|part| sample("part_ratio", [*part], 0.5)));
        Ok(samples)
    }
}

lowtide_sdk::addon!(Ten: Collector);
