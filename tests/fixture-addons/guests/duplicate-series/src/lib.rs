//! Returns one series twice.

use fixture_common::sdk::sample;

fixture_common::collects!(|_| Ok(vec![
    sample("value", (), 1.0),
    sample("value", (), 2.0),
    sample("outcome", ["a"], 3.0)
]));
