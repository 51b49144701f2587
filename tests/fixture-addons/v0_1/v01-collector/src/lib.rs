//! The frozen contract 0.1: `collector`, with `log`, `config` and `metrics`.

use fixture_common::sdk::{
    Collector, Description, Failure, Metric, Sample, Unit, config, log, metrics, sample,
};
use std::time::Duration;

/// Uses every function of three imports.
#[derive(Default)]
struct Fixture;

impl Collector for Fixture {
    fn describe() -> Description {
        Description::new("A collector of 0.1.")
            .every(Duration::from_secs(1))
            .metric(Metric::gauge("level_bytes", Unit::Bytes, "A gauge.").labels(["place"]))
            .metric(Metric::counter("ticks_total", Unit::Count, "A counter."))
            .metric(Metric::histogram("waits_seconds", Unit::Seconds, "A histogram.").buckets([0.5, 1.0]))
    }

    fn collect(&mut self) -> Result<Vec<Sample>, Failure> {
        log::info("collecting");
        metrics::declare(&Metric::gauge("declared_ratio", Unit::Ratio, "Declared later."))?;
        metrics::gauge("declared_ratio", &[], 0.5)?;
        metrics::counter("ticks_total", &[], 1.0)?;
        metrics::histogram("waits_seconds", &[], 0.75)?;
        metrics::duration("waits_seconds", &[], Duration::from_millis(250))?;
        // More than one a second are refused.
        let _ = metrics::event("collected", &[("by", "v01")]);
        let place = config::text("place").unwrap_or_else(|| format!("{} keys", config::keys().len()));
        Ok(vec![sample("level_bytes", [place], 42.0)])
    }
}

fixture_common::sdk::addon!(Fixture: Collector);
