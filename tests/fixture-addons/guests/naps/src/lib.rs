//! Waits for an hour in `collect`.

use std::thread::sleep as nap;

fixture_common::collects!(|_| {
    nap(std::time::Duration::from_secs(3_600));
    fixture_common::value(1.0)
});
