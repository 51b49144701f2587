//! Describes jobs with numbers that make no sense, long texts, and a thousand of them.

use fixture_common::sdk::{Failure, Job, JobDescription, Outcome};
use std::time::Duration;

/// Does not do them.
#[derive(Default)]
struct Fixture;

impl Job for Fixture {
    fn describe() -> Vec<JobDescription> {
        let mut odd = JobDescription::new("Not A Name", "long ".repeat(10_000), Duration::ZERO);
        odd.cost_units = u32::MAX;
        odd.expected_duration = f64::NAN;
        odd.every = Some(1e300);
        let mut jobs = vec![odd; 2];
        jobs.extend((0..1_000).map(|_| JobDescription::new("many", "Many.", Duration::from_secs(1))));
        jobs
    }

    fn run(&mut self, _name: &str) -> Result<Outcome, Failure> {
        panic!("nobody asked for it")
    }
}

fixture_common::sdk::addon!(Fixture: Job);
