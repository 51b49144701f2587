//! Gives a hundred thousand presence signals.

use fixture_common::sdk::{Failure, Presence, Signal};

/// Everybody is there.
#[derive(Default)]
struct Fixture;

impl Presence for Fixture {
    fn assess(&mut self) -> Result<Vec<Signal>, Failure> {
        Ok((0..100_000).map(|_| Signal::new("one more", 0.1)).collect())
    }
}

fixture_common::sdk::addon!(Fixture: Presence);
