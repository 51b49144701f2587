//! The frozen contract 0.1: `job`, with `leases`.

use fixture_common::sdk::leases::{self, LeaseError, Request};
use fixture_common::sdk::{Constraints, Failure, Job, JobDescription, Outcome, Priority};
use std::time::Duration;

/// Two jobs.
#[derive(Default)]
struct Fixture;

impl Job for Fixture {
    fn describe() -> Vec<JobDescription> {
        let every = JobDescription::new("reindex", "Reads everything again.", Duration::from_secs(600))
            .cost_units(20)
            .priority(Priority::Low)
            .constraints(Constraints::CPU_HEAVY | Constraints::DISK_HEAVY)
            .every(Duration::from_secs(86_400))
            .pausable();
        vec![every, JobDescription::new("vacuum", "Makes room.", Duration::from_secs(60))]
    }

    fn run(&mut self, name: &str) -> Result<Outcome, Failure> {
        match leases::request(&Request::new(name, Duration::from_secs(60)).cost_units(5)) {
            Err(LeaseError::Unavailable(_)) => Ok(Outcome::Done(format!("{name} without a lease"))),
            Err(error) => Err(error.into()),
            Ok(lease) => {
                let _ = lease.heartbeat()?;
                lease.report(Some(1.0), "all of it")?;
                let done = format!("{name} under {} ({})", lease.id(), lease.fencing_token());
                lease.release()?;
                Ok(Outcome::Done(done))
            }
        }
    }
}

fixture_common::sdk::addon!(Fixture: Job);
