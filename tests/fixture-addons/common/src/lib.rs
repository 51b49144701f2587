//! What the fixtures share: a description with two metrics, samples of them, and a macro for those that only collect.

pub use lowtide_sdk as sdk;
use lowtide_sdk::{Description, Failure, Metric, Sample, Unit, sample};
use std::time::Duration;

/// What `collect` returns.
pub type Answer = Result<Vec<Sample>, Failure>;

/// A collector that is called each second, with the metrics `value` and `outcome`.
pub fn describe() -> Description {
    Description::new("A fixture.")
        .every(Duration::from_secs(1))
        .metric(Metric::gauge("value", Unit::Count, "One number."))
        .metric(Metric::gauge("outcome", Unit::Count, "What came of a case.").labels(["case"]))
}

/// An answer with one sample of `value`.
pub fn value(value: f64) -> Answer {
    Ok(vec![sample("value", (), value)])
}

/// A sample of `outcome`: 1 when it is as it should be.
pub fn outcome(case: &str, good: bool) -> Sample {
    sample("outcome", [case], f64::from(u8::from(good)))
}

/// A component that exports `collector` and does `$call` in each collection, which is given the number of the call.
#[macro_export]
macro_rules! collects {
    ($call:expr) => {
        /// See the head of the file.
        #[derive(Default)]
        struct Fixture {
            calls: u64,
        }

        impl $crate::sdk::Collector for Fixture {
            fn describe() -> $crate::sdk::Description {
                $crate::describe()
            }

            fn collect(&mut self) -> $crate::Answer {
                self.calls += 1;
                let call: fn(u64) -> $crate::Answer = $call;
                call(self.calls)
            }
        }

        $crate::sdk::addon!(Fixture: Collector);
    };
}
