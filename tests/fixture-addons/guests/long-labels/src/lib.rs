//! Returns label values of 100 KB, which are cut, and the same again with another end.

use fixture_common::sdk::sample;

fixture_common::collects!(|_| {
    let long = "x".repeat(100_000);
    Ok(vec![sample("outcome", [format!("{long}a")], 1.0), sample("outcome", [format!("{long}b")], 2.0)])
});
