//! The frozen contract 0.1: `custom-stats`, with `kv`.

use fixture_common::sdk::json::Object;
use fixture_common::sdk::{CustomStats, Failure, kv};

/// A document about its store.
#[derive(Default)]
struct Fixture;

impl CustomStats for Fixture {
    fn stats(&mut self) -> Result<String, Failure> {
        kv::set("kept", "yes")?;
        kv::set("dropped", "no")?;
        kv::delete("dropped")?;
        let keys = kv::list_keys("")?.join(",");
        Ok(Object::new().put("kept", kv::get_text("kept")?.unwrap_or_default()).put("keys", keys).finish())
    }
}

fixture_common::sdk::addon!(Fixture: CustomStats);
