//! Says of its health what fills a megabyte.

use fixture_common::sdk::{Health, Status};

/// Talks a lot.
#[derive(Default)]
struct Fixture;

impl Health for Fixture {
    fn check(&mut self) -> Status {
        Status::warn("x".repeat(1 << 20))
    }
}

fixture_common::sdk::addon!(Fixture: Health);
