//! Writes a million lines.

use fixture_common::sdk::log;

fixture_common::collects!(|_| {
    for _ in 0..1_000_000 {
        log::warn("the sky is falling");
    }
    fixture_common::value(1.0)
});
