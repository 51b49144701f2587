//! Says of its health what fills 200 KB, which is cut.

use fixture_common::sdk::{Health, Status};

/// Talks much.
#[derive(Default)]
struct Fixture;

impl Health for Fixture {
    fn check(&mut self) -> Status {
        Status::warn("x".repeat(200_000))
    }
}

fixture_common::sdk::addon!(Fixture: Health);
