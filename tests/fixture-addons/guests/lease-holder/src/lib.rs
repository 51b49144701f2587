//! Does with leases what its setting `does` says, once a second.

use fixture_common::sdk::leases::{self, Lease, LeaseError, Request};
use fixture_common::sdk::{Collector, Description, Failure, Priority, Sample, config};
use fixture_common::{outcome, value};
use std::time::Duration;

/// See the head of the file.
#[derive(Default)]
struct Fixture {
    held: Option<Lease>,
}

fn wanted() -> Request {
    Request::new("reindex", Duration::from_secs(60)).cost_units(20)
}

/// Everything that can be done with a lease, in one call.
fn whole_life() -> Result<Vec<Sample>, Failure> {
    let lease = leases::request(&wanted())?;
    let named = lease.id().contains('-') && lease.fencing_token() > 0;
    let beats = matches!(lease.heartbeat(), Ok(leases::Directive::Proceed));
    let odd = matches!(lease.report(Some(2.0), "too much"), Err(LeaseError::Invalid(_)));
    let reported = lease.report(Some(0.5), "half of it").is_ok();
    let second = matches!(leases::request(&wanted()), Err(LeaseError::NotGranted(_)));
    let released = lease.release().is_ok();
    Ok(vec![
        outcome("named", named),
        outcome("beats", beats),
        outcome("odd report", odd),
        outcome("reported", reported),
        outcome("second", second),
        outcome("released", released),
    ])
}

/// More than is granted, and what nobody can be granted.
fn beyond() -> Vec<Sample> {
    let names = |request: &Request, word: &str| match leases::request(request) {
        Err(LeaseError::NotGranted(text)) => {
            text.contains(word) && text.contains("[addon.lease-holder.grants]")
        }
        _ => false,
    };
    let invalid = |request: &Request| matches!(leases::request(request), Err(LeaseError::Invalid(_)));
    vec![
        outcome("units", names(&wanted().cost_units(21), "max_units = 21")),
        outcome("priority", names(&wanted().priority(Priority::High), "max_priority = \"high\"")),
        outcome("no units", invalid(&wanted().cost_units(0))),
        outcome("no name", invalid(&Request::new("No Name", Duration::from_secs(1)))),
        outcome("no time", invalid(&Request::new("reindex", Duration::ZERO))),
    ]
}

fn denied(request: &Request) -> bool {
    match leases::request(request) {
        Err(LeaseError::Denied(denial)) => denial.retry_after > 0.0 && !denial.reasons.is_empty(),
        _ => false,
    }
}

impl Collector for Fixture {
    fn describe() -> Description {
        fixture_common::describe()
    }

    fn collect(&mut self) -> Result<Vec<Sample>, Failure> {
        match config::required::<String>("does")?.as_str() {
            "whole-life" => whole_life(),
            "beyond" => Ok(beyond()),
            "denied" => Ok(vec![
                outcome("at once", denied(&wanted())),
                outcome("after a wait", denied(&wanted().wait(Duration::from_millis(200)))),
            ]),
            "drops" => {
                let lease = leases::request(&wanted())?;
                let token = lease.fencing_token();
                drop(lease);
                value(token as f64)
            }
            "panics" => {
                let _lease = leases::request(&wanted())?;
                panic!("with a lease in its hand")
            }
            "waits" => {
                let waits = wanted().wait(Duration::from_secs(3_600));
                value(leases::request(&waits)?.fencing_token() as f64)
            }
            _ => {
                if self.held.as_ref().is_none_or(|lease| lease.heartbeat().is_err()) {
                    self.held = None;
                    self.held = Some(leases::request(&wanted())?);
                }
                value(1.0)
            }
        }
    }
}

fixture_common::sdk::addon!(Fixture: Collector);
