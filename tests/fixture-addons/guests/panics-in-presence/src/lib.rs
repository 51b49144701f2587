//! Panics when it is asked who is there.

use fixture_common::sdk::{Failure, Presence, Signal};

/// Never says.
#[derive(Default)]
struct Fixture;

impl Presence for Fixture {
    fn assess(&mut self) -> Result<Vec<Signal>, Failure> {
        panic!("nobody knows")
    }
}

fixture_common::sdk::addon!(Fixture: Presence);
