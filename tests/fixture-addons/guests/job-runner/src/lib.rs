//! Has one job, whose name is its setting `job` and says what it does; `every` and `seconds` say how often and how long. It collects each
//! second besides.

use fixture_common::sdk::leases::{self, Directive};
use fixture_common::sdk::{Collector, Description, Failure, Job, JobDescription, Outcome, Sample, config};
use std::thread::sleep as nap;
use std::time::{Duration, Instant};

/// See the head of the file.
#[derive(Default)]
struct Fixture {
    calls: u32,
}

/// Tells how far it is, and stops when it is told to.
fn obeys(name: &str) -> Result<Outcome, Failure> {
    let lease = leases::of_job(name)?;
    if lease.fencing_token() == 0 || leases::of_job(name)?.id() != lease.id() {
        return Err(Failure::other("this is not the lease of the job"));
    }
    // Other handles of it are dropped and given back, and it goes on.
    leases::of_job(name)?.release()?;
    let seconds = config::float("seconds").unwrap_or(0.0);
    let begun = Instant::now();
    loop {
        let done = if seconds > 0.0 { begun.elapsed().as_secs_f64() / seconds } else { 1.0 };
        lease.report(Some(done.min(1.0)), format!("{:.0} of {seconds} s", begun.elapsed().as_secs_f64()))?;
        if let Directive::Revoke(_) = lease.heartbeat()? {
            return Ok(Outcome::Stopped);
        }
        if done >= 1.0 {
            return Ok(Outcome::Done(format!("all {seconds} s")));
        }
        nap(Duration::from_millis(50));
    }
}

impl Job for Fixture {
    fn describe() -> Vec<JobDescription> {
        let Some(name) = config::text("job") else { return Vec::new() };
        let units = config::integer("units").unwrap_or(10);
        let mut job = JobDescription::new(name, "A job.", Duration::from_secs(60))
            .cost_units(u32::try_from(units).unwrap_or(0));
        job.pausable = config::boolean("pausable").unwrap_or(false);
        job.every = config::float("every");
        vec![job]
    }

    fn run(&mut self, name: &str) -> Result<Outcome, Failure> {
        match name {
            "obeys" => obeys(name),
            "fails" => Err(Failure::other("it did not work out")),
            "panics" => panic!("in the middle of it"),
            // Computes and hears nothing.
            _ => loop {
                std::hint::black_box(self.calls);
            },
        }
    }
}

impl Collector for Fixture {
    fn describe() -> Description {
        fixture_common::describe()
    }

    fn collect(&mut self) -> Result<Vec<Sample>, Failure> {
        self.calls += 1;
        fixture_common::value(f64::from(self.calls))
    }
}

fixture_common::sdk::addon!(Fixture: Collector, Job);
