//! `idle`: what the daemon costs when nobody asks it anything, and how its memory stands before and after requests of every kind.
//! Peers run through the same minute.

use super::Options;
use super::every_tick;
use super::measure::pause;
use super::peers;
use super::report::{Goal, Report, Row};
use super::server::{Memory, Server, Usage};
use anyhow::{Result, ensure};
use lowtide_app::Ticker;
use lowtide_clock as clock;
use lowtide_collectors::{Runner, TICK_DEFAULT};
use lowtide_core::limits;
use lowtide_core::quiet::QuietConfig;
use std::time::Duration;

const LENGTH: Duration = Duration::from_secs(60);

/// The first ticks open files and fill tables; they are not what a day is made of.
const SETTLE: Duration = Duration::from_secs(5);

const CPU_GOAL: Goal = Goal::FigureAtMost(0.1);
const MEMORY_GOAL: Goal = Goal::FigureAtMost(12.0);
const REQUESTS: usize = 1_000;

/// What is asked for memory: a request of every kind.
const KINDS: [(&str, &str); 10] = [
    ("/metrics", ""),
    ("/metrics", "accept-encoding: gzip\r\n"),
    ("/metrics", "accept: application/openmetrics-text\r\n"),
    ("/api/system-stats/current", ""),
    ("/api/system-stats/current", "accept-encoding: zstd\r\n"),
    ("/api/system-stats/quiet", ""),
    ("/api/system-stats/health", ""),
    ("/api/system-stats/debug/collectors", ""),
    ("/api/system-stats/history?metric=host_cpu_usage_ratio", ""),
    ("/api/system-stats/aggregates?group=host", ""),
];

pub(crate) fn run(report: &mut Report, options: Options) -> Result<()> {
    let daemon = Server::daemon()?;
    let others = if options.peers { peers::start(report) } else { Vec::new() };
    pause(SETTLE);
    let before = daemon.usage()?;
    let others_before = others.iter().map(|(_, peer)| peer.usage()).collect::<Result<Vec<_>>>()?;
    pause(LENGTH);
    let after = daemon.usage()?;
    idle_rows(report, "daemon", before, after, true);
    let memory = daemon.memory()?;
    report.row(memory_row("memory before any request but one", memory).goal(MEMORY_GOAL));
    for ((name, peer), before) in others.iter().zip(others_before) {
        idle_rows(report, name, before, peer.usage()?, false);
        report.row(memory_row(&format!("memory of {name}"), peer.memory()?));
    }
    report.row(window_row());
    for (path, headers) in KINDS {
        for _ in 0..REQUESTS {
            let status = daemon.get(path, headers)?.status;
            ensure!(status == 200, "{path} gives status {status}");
        }
    }
    let name = format!("memory after {REQUESTS} requests of {} kinds", KINDS.len());
    report.row(memory_row(&name, daemon.memory()?).goal(MEMORY_GOAL));
    peers::scrapes(report, &others)
}

fn idle_rows(report: &mut Report, name: &str, before: Usage, after: Usage, ours: bool) {
    let share = after.cpu.saturating_sub(before.cpu).as_secs_f64() / LENGTH.as_secs_f64() * 100.0;
    let waits = (after.waits - before.waits) as f64 / LENGTH.as_secs_f64();
    let row = Row::new(format!("{name}: share of a core"), share, "%")
        .note(format!("{:.1} ms a minute", share * 600.0))
        .note(format!("{waits:.1} wake-ups/s"))
        .note(format!("{} threads", after.threads));
    report.row(if ours { row.note("collectd 0.2, netdata 1.7").goal(CPU_GOAL) } else { row });
}

fn memory_row(name: &str, memory: Memory) -> Row {
    let mega = |bytes: f64| bytes / 1e6;
    Row::new(name, mega(memory.resident), "MB")
        .note(format!("anonymous {:.1}", mega(memory.anonymous)))
        .note(format!("proportional {:.1} MB", mega(memory.proportional)))
}

/// What the daemon has above the figures of this suite once it has run for an hour. Its ticks are made faster here, so fewer values differ
/// from the ones before; every value of every tick differing is the bound.
fn window_row() -> Row {
    let mut runner = Runner::new(every_tick::all(), lowtide_collectors::TICK_DEFAULT, 1);
    let mut ticker = Ticker::new(TICK_DEFAULT, QuietConfig::default());
    let ticks = limits::WINDOW.as_secs() / TICK_DEFAULT.as_secs();
    for _ in 0..ticks {
        pause(Duration::from_millis(20));
        ticker.collect_and_tick(&mut runner, None, clock::now(), Default::default());
    }
    let window = ticker.window();
    let window = window.read().unwrap_or_else(std::sync::PoisonError::into_inner);
    let series = window.series_count();
    let bound = series as u64 * 8 * ticks;
    Row::new("the last hour, when it is full", window.sample_bytes() as f64 / 1e6, "MB")
        .note(format!("{ticks} ticks of {series} series, 20 ms apart; at most {:.1} MB", bound as f64 / 1e6))
}
