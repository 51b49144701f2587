//! Writes a line of 128 MiB.

use fixture_common::sdk::log;

fixture_common::collects!(|_| {
    log::error("x".repeat(128 << 20));
    fixture_common::value(1.0)
});
