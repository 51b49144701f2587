//! Never comes back from `describe`.

use fixture_common::Answer;
use fixture_common::sdk::{Collector, Description};

/// Never described.
#[derive(Default)]
struct Fixture;

impl Collector for Fixture {
    fn describe() -> Description {
        loop {
            std::hint::black_box(());
        }
    }

    fn collect(&mut self) -> Answer {
        fixture_common::value(1.0)
    }
}

fixture_common::sdk::addon!(Fixture: Collector);
