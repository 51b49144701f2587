//! Declares two hundred metrics of new names in each instance, and grows so that there are ever new instances.

use fixture_common::sdk::metrics;
use fixture_common::sdk::time;
use fixture_common::sdk::{Metric, Unit};

fixture_common::collects!(|_| {
    let now = time::now();
    let declared = (0..190).filter(|number| {
        metrics::declare(&Metric::gauge(format!("m{now}_{number}"), Unit::Count, "Help.")).is_ok()
    });
    let declared = declared.count();
    drop(std::hint::black_box(vec![1_u8; 12 << 20]));
    fixture_common::value(declared as f64)
});
