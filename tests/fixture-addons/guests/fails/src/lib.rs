//! Fails without a trap, with a text of 100 KB.

use fixture_common::sdk::Failure;

fixture_common::collects!(|_| Err(Failure::unavailable("long ".repeat(20_000))));
