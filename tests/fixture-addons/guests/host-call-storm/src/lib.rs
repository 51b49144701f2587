//! Asks the host for the verdict a hundred thousand times.

use fixture_common::sdk::system;

fixture_common::collects!(|_| {
    let answers = (0..100_000).filter(|_| system::quiet().is_ok()).count();
    fixture_common::value(answers as f64)
});
