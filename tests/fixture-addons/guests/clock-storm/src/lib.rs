//! Reads the clocks of WASI for ever, which no bound of our own counts.

use fixture_common::sdk::time;

fixture_common::collects!(|_| loop {
    std::hint::black_box(time::now());
});
