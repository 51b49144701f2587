//! Asks the host for everything, by a thousand prefixes and by those that match all.

use fixture_common::outcome;
use fixture_common::sdk::system;

fixture_common::collects!(|_| {
    let all = vec![""; 1_000];
    let long = "x".repeat(10_000);
    Ok(vec![
        outcome("all", system::snapshot(&all).is_err()),
        outcome("long", system::snapshot(&[&long]).is_err()),
    ])
});
