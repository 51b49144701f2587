//! Returns a sample whose name has 100 MB.

use fixture_common::sdk::sample;

fixture_common::collects!(|_| Ok(vec![sample("x".repeat(100_000_000), (), 1.0)]));
