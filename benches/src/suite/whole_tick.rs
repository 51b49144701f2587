//! `whole-tick`: the tick as the daemon does it, with a thread for each collector, the verdict, the window and publication; all
//! threads counted. The difference to `tick` is the price of keeping collectors apart.

use super::Options;
use super::every_tick::{self, EveryTick};
use super::measure::{Plan, in_turns, median, micros};
use super::report::{Report, Row};
use anyhow::Result;
use lowtide_app::Ticker;
use lowtide_clock as clock;
use lowtide_collectors::{Runner, TICK_DEFAULT};
use lowtide_core::quiet::QuietConfig;
use std::time::Duration;

const BACK_TO_BACK: Plan = Plan { rounds: 100, batch: 10, spacing: Duration::ZERO };
const SPACED: Plan = Plan { rounds: 100, batch: 1, spacing: Duration::from_millis(50) };

pub(crate) fn run(report: &mut Report, _: Options) -> Result<()> {
    let mut sequence = EveryTick::new();
    let mut runner = Runner::new(every_tick::all(), lowtide_collectors::TICK_DEFAULT, 1);
    let mut ticker = Ticker::new(TICK_DEFAULT, QuietConfig::default());
    let mut lengths = Vec::new();
    for (name, plan) in [("back to back", BACK_TO_BACK), ("50 ms apart", SPACED)] {
        lengths.clear();
        let mut tick = || {
            let begun = clock::now();
            ticker.collect_and_tick(&mut runner, None, begun, Default::default());
            lengths.push(micros(clock::mono().since(begun.mono)));
        };
        // The process's clock for both: idle threads cost nothing, and the two differ in threads only.
        let turns = in_turns(plan, clock::process_cpu, [&mut || sequence.collect(), &mut tick]);
        report.row(
            Row::new(name, turns.of(1), "us")
                .beside("collectors in sequence", turns.of(0), turns.ratio(1, 0))
                .note(format!("{:.0} us from start to publication", median(lengths.iter().copied()))),
        );
    }
    Ok(())
}
