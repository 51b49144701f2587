//! Asks for a million leases and keeps all that it gets.

use fixture_common::sdk::leases::{self, Request};
use std::time::Duration;

fixture_common::collects!(|_| {
    let wanted = Request::new("more", Duration::from_secs(60));
    let kept: Vec<_> = (0..1_000_000).filter_map(|_| leases::request(&wanted).ok()).collect();
    fixture_common::value(kept.len() as f64)
});
