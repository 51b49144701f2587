//! A collector that never returns.

use lowtide_sdk::{Collector, Description, Failure, Sample};

#[derive(Default)]
struct Spin;

impl Collector for Spin {
    fn describe() -> Description {
        Description::new("Never returns.")
    }

    fn collect(&mut self) -> Result<Vec<Sample>, Failure> {
        let mut number = 0_u64;
        loop {
            number = std::hint::black_box(number.wrapping_mul(3) + 1);
        }
    }
}

lowtide_sdk::addon!(Spin: Collector);
