//! Writes 500 lines in each call, which is more than are kept and less than is forbidden.

use fixture_common::sdk::log;

fixture_common::collects!(|call| {
    for line in 0..500 {
        log::info(format!("line {line} of call {call}"));
    }
    fixture_common::value(call as f64)
});
