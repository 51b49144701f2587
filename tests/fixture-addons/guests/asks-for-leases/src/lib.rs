//! Asks for leases; there is no scheduler yet, and it is told so.

use fixture_common::outcome;
use fixture_common::sdk::leases::{self, LeaseError, Request};
use std::time::Duration;

fixture_common::collects!(|_| {
    let unavailable = |request: Request| matches!(leases::request(&request), Err(LeaseError::Unavailable(_)));
    let good = Request::new("reindex", Duration::from_secs(60));
    let mut odd = Request::new("Not A Name", Duration::ZERO).cost_units(u32::MAX).wait(Duration::MAX);
    odd.expected_duration = f64::NAN;
    Ok(vec![outcome("good", unavailable(good)), outcome("odd", unavailable(odd))])
});
