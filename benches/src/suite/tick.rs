//! `tick`: what measuring costs, against only reading the files, and against the sysinfo crate for the same data.

use super::Options;
use super::every_tick::EveryTick;
use super::floor::Floor;
use super::measure::{Plan, in_turns};
use super::report::{Goal, Report, Row};
use anyhow::{Result, ensure};
use lowtide_clock as clock;
use std::hint::black_box;
use std::time::Duration;
use sysinfo::{DiskRefreshKind, Disks, MINIMUM_CPU_UPDATE_INTERVAL, Networks, System};

/// Parsing and layout may cost half of what the kernel costs.
const GOAL: Goal = Goal::RatioAtMost(1.5);

const BACK_TO_BACK: Plan = Plan { rounds: 200, batch: 20, spacing: Duration::ZERO };

/// Three works take turns, so each comes every 225 ms: sysinfo does not refresh processor usage more often than every 200 ms, and
/// leaves it out when asked earlier.
const SPACED: Plan = Plan { rounds: 100, batch: 1, spacing: Duration::from_millis(75) };

pub(crate) fn run(report: &mut Report, _: Options) -> Result<()> {
    let (mut floor, mut ours, mut sysinfo) = (Floor::new(), EveryTick::new(), Sysinfo::new()?);
    ensure!(SPACED.spacing * 3 > MINIMUM_CPU_UPDATE_INTERVAL, "sysinfo would leave processor usage out");
    let pread = format!("pread of {} files", floor.count());
    let mut both = |plan| {
        let works: [&mut dyn FnMut(); 3] =
            [&mut || floor.read(), &mut || ours.collect(), &mut || sysinfo.refresh()];
        in_turns(plan, clock::thread_cpu, works)
    };

    let hot = both(BACK_TO_BACK);
    report
        .row(Row::new("back to back", hot.of(1), "us").beside(&pread, hot.of(0), hot.ratio(1, 0)).goal(GOAL));
    report.row(
        Row::new("back to back, against sysinfo", hot.of(1), "us")
            .beside("sysinfo", hot.of(2), hot.ratio(1, 2))
            .note("without processor usage, which it leaves out when asked so often"),
    );
    let spaced = both(SPACED);
    report.row(
        Row::new("75 ms apart", spaced.of(1), "us")
            .beside(&pread, spaced.of(0), spaced.ratio(1, 0))
            .goal(GOAL),
    );
    report.row(Row::new("75 ms apart, against sysinfo", spaced.of(1), "us").beside(
        "sysinfo",
        spaced.of(2),
        spaced.ratio(1, 2),
    ));
    for (name, mut one) in ours.each() {
        let alone = in_turns(BACK_TO_BACK, clock::thread_cpu, [&mut || one.collect()]);
        report.row(Row::new(format!("  {name} alone, back to back"), alone.of(0), "us"));
    }
    Ok(())
}

/// The same data through sysinfo, refreshing no more than is needed.
struct Sysinfo {
    system: System,
    networks: Networks,
    disks: Disks,
}

impl Sysinfo {
    fn new() -> Result<Self> {
        Ok(Self { system: System::new()?, networks: Networks::new()?, disks: Disks::new()? })
    }

    fn refresh(&mut self) {
        self.system.refresh_cpu_usage();
        self.system.refresh_memory();
        self.networks.refresh(true);
        self.disks.refresh_specifics(true, DiskRefreshKind::nothing().with_io_usage());
        black_box((System::load_average().ok(), System::uptime().ok()));
    }
}
