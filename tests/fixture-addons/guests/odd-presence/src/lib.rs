//! Gives presence signals with odd weights and times, and two thousand of them.

use fixture_common::sdk::{Failure, Presence, Signal};

/// There and not there.
#[derive(Default)]
struct Fixture;

impl Presence for Fixture {
    fn assess(&mut self) -> Result<Vec<Signal>, Failure> {
        let signal = |what: &str, weight, lasts| Signal { what: what.to_owned(), weight, lasts };
        let mut signals = vec![
            signal("nan", f64::NAN, None),
            signal("heavy", 1e9, Some(1e300)),
            signal("light", -1e9, Some(f64::NAN)),
            signal("infinite", f64::INFINITY, Some(f64::INFINITY)),
            signal("past", 0.5, Some(-1.0)),
        ];
        signals.push(signal(&"long ".repeat(1_000), 0.5, Some(1e300)));
        signals.extend((0..2_000).map(|_| signal("more", 0.1, None)));
        Ok(signals)
    }
}

fixture_common::sdk::addon!(Fixture: Presence);
