//! The frozen contract 0.1: `presence`, with `system`.

use fixture_common::sdk::{Failure, Presence, Signal, system};
use std::time::Duration;

/// There as long as the host answers.
#[derive(Default)]
struct Fixture;

impl Presence for Fixture {
    fn assess(&mut self) -> Result<Vec<Signal>, Failure> {
        let known = system::quiet().is_ok() && system::snapshot(&["host_"]).is_ok();
        let what = if known { "someone, and the host is known" } else { "someone" };
        Ok(vec![Signal::new(what, 0.25).lasting(Duration::from_secs(30))])
    }
}

fixture_common::sdk::addon!(Fixture: Presence);
