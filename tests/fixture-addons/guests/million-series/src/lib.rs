//! Returns a million series.

use fixture_common::sdk::sample;

fixture_common::collects!(|_| Ok((0..1_000_000)
    .map(|number| sample("outcome", [number.to_string()], 1.0))
    .collect()));
