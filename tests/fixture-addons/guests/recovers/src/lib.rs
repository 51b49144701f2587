//! Traps twice over its life and is well from then on.

use fixture_common::sdk::kv;

fixture_common::collects!(|call| {
    let starts = kv::get_text("starts")?.and_then(|text| text.parse().ok()).unwrap_or(0_u32);
    if call == 1 {
        kv::set("starts", (starts + 1).to_string())?;
        assert!(starts >= 2, "start {starts} is one too early");
    }
    fixture_common::value(call as f64)
});
