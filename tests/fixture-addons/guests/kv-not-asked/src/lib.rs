//! Uses the store without asking for it.

use fixture_common::sdk::kv;

fixture_common::collects!(|_| {
    kv::set("key", "value")?;
    fixture_common::value(1.0)
});
