//! Asks for leases where there is no scheduler, and is told so.

use fixture_common::outcome;
use fixture_common::sdk::leases::{self, LeaseError, Request};
use std::time::Duration;

fixture_common::collects!(|_| {
    let good = Request::new("reindex", Duration::from_secs(60));
    let mut odd = Request::new("Not A Name", Duration::ZERO).cost_units(u32::MAX).wait(Duration::MAX);
    odd.expected_duration = f64::NAN;
    Ok(vec![
        outcome("good", matches!(leases::request(&good), Err(LeaseError::Unavailable(_)))),
        outcome("odd", matches!(leases::request(&odd), Err(LeaseError::Invalid(_)))),
    ])
});
