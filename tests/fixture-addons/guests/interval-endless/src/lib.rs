//! Wishes for an interval that is longer than the age of the world.

use fixture_common::Answer;
use fixture_common::sdk::{Collector, Description};

/// Comes when it is called.
#[derive(Default)]
struct Fixture;

impl Collector for Fixture {
    fn describe() -> Description {
        Description { interval: 1e300, ..fixture_common::describe() }
    }

    fn collect(&mut self) -> Answer {
        fixture_common::value(1.0)
    }
}

fixture_common::sdk::addon!(Fixture: Collector);
