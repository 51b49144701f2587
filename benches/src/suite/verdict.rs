//! `quiet`: what the verdict costs at every tick, and what the first request for a tick pays for the documents that later ones
//! only send.

use super::Options;
use super::every_tick;
use super::http::load;
use super::measure::{Plan, in_turns, median, micros, pause};
use super::report::{Report, Row};
use anyhow::{Context as _, Result};
use lowtide_api::prometheus::{Format, render};
use lowtide_app::{App, Hooks, Settings, Ticker};
use lowtide_clock as clock;
use lowtide_collectors::{CollectConfig, Runner, TICK_DEFAULT};
use lowtide_core::quiet::{QuietConfig, QuietMemory, assess};
use lowtide_core::snapshot::Snapshot;
use lowtide_core::state::HostState;
use std::fs;
use std::hint::black_box;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

const PLAN: Plan = Plan { rounds: 100, batch: 20, spacing: Duration::ZERO };

/// Name of the thread that serves, by which its processor time is found.
const THREAD: &str = "bench-http";

/// Ticks are this short only here, so that many first requests can be measured.
const SHORT_TICK: Duration = Duration::from_millis(60);

const FIRST_REQUESTS: usize = 60;

/// What is asked for: name, path, header lines.
const DOCUMENTS: [(&str, &str, &str); 6] = [
    ("current as JSON", "/api/system-stats/current", ""),
    ("current as JSON, gzip", "/api/system-stats/current", "accept-encoding: gzip\r\n"),
    ("current as JSON, zstd", "/api/system-stats/current", "accept-encoding: zstd\r\n"),
    ("verdict as JSON", "/api/system-stats/quiet", ""),
    ("metrics", "/metrics", ""),
    ("metrics, gzip", "/metrics", "accept-encoding: gzip\r\n"),
];

pub(crate) fn run(report: &mut Report, _: Options) -> Result<()> {
    let state = real_state();
    let series: usize =
        state.reports().filter_map(|report| Some(report.samples.as_ref()?.series.len())).sum();
    let snapshots = an_hour_of(&state.snapshot);
    let (mut memory, config) = (QuietMemory::default(), QuietConfig::default());
    let mut next = snapshots.iter().cycle();
    let mut judge = || {
        if let Some(snapshot) = next.next() {
            black_box(assess(snapshot, &[], &mut memory, &config));
        }
    };
    let mut text = || drop(black_box(render(&state, "1.2.3", Format::Text)));
    let mut open_metrics = || drop(black_box(render(&state, "1.2.3", Format::OpenMetrics)));
    let turns = in_turns(PLAN, clock::thread_cpu, [&mut judge, &mut text, &mut open_metrics]);
    let bytes = render(&state, "1.2.3", Format::Text).len();
    let kind = format!("{} series, {bytes} bytes", series);
    report.row(Row::new("verdict of one tick", turns.of(0), "us"));
    report.row(Row::new("Prometheus text of one tick", turns.of(1), "us").note(&kind));
    report.row(Row::new("OpenMetrics of one tick", turns.of(2), "us"));
    first_requests(report)
}

/// A state of this machine, with rates.
fn real_state() -> Arc<HostState> {
    let mut runner = Runner::new(every_tick::all(), lowtide_collectors::TICK_DEFAULT, 1);
    let mut ticker = Ticker::new(TICK_DEFAULT, QuietConfig::default());
    let mut tick = || {
        pause(Duration::from_millis(50));
        ticker.collect_and_tick(&mut runner, None, clock::now(), Default::default())
    };
    (0..5).for_each(|_| drop(tick()));
    tick()
}

/// The same values at the ticks of an hour, so that the verdict's memory is as full as in a daemon.
fn an_hour_of(snapshot: &Snapshot) -> Vec<Snapshot> {
    (0..1_800_u32).map(|tick| shifted(snapshot, tick)).collect()
}

fn shifted(snapshot: &Snapshot, ticks: u32) -> Snapshot {
    let later = TICK_DEFAULT * ticks;
    let mut shifted = snapshot.clone();
    shifted.sequence += u64::from(ticks);
    shifted.at.mono = shifted.at.mono.plus(later);
    shifted.at.wall.0 += i64::from(ticks) * 2_000;
    for report in &mut shifted.collectors {
        report.runs += u64::from(ticks);
        if let Some((mono, wall)) = &mut report.collected_at {
            *mono = mono.plus(later);
            wall.0 += i64::from(ticks) * 2_000;
        }
    }
    shifted
}

/// Asks a daemon within this process twice in a row, right after a tick: the first answer is made, the second only sent.
fn first_requests(report: &mut Report) -> Result<()> {
    let collect = CollectConfig { tick: SHORT_TICK, ..CollectConfig::default() };
    let settings =
        Settings { collect, quiet: QuietConfig::default(), leases: None, addons: None, history: None };
    let app = App::start(settings, every_tick::meter(), Hooks { after_tick: Box::new(|_| ()) })?;
    let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    let served = app.clone();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let thread = std::thread::Builder::new().name(THREAD.into()).spawn(move || -> Result<()> {
        tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
            let listener = tokio::net::TcpListener::from_std(listener)?;
            let access = lowtide_access::Access::open(Vec::new(), 50)?;
            let edge = lowtide_api::Edge::plain(vec![listener], Arc::new(access));
            lowtide_api::serve(edge, served, async { drop(stopped.await) }).await?;
            Ok(())
        })
    })?;
    let mut ticks = app.subscribe();
    let runtime = load::runtime()?;
    for (name, path, headers) in DOCUMENTS {
        let (mut first, mut second) = (Vec::new(), Vec::new());
        for _ in 0..FIRST_REQUESTS {
            runtime.block_on(ticks.changed())?;
            first.push(served_for(&runtime, address, path, headers)?);
            second.push(served_for(&runtime, address, path, headers)?);
        }
        // The server may put a little of a request into the time of the next one; in both cases the same.
        let (first, second) = (median(first), median(second));
        report.row(
            Row::new(format!("first request of a tick: {name}"), first - second, "us")
                .note(format!("{first:.0} us less the {second:.0} us of the second, connecting included")),
        );
    }
    let _ = stop.send(());
    let ended = thread.join();
    app.stop();
    ended.map_err(|_| anyhow::anyhow!("the server panicked"))?
}

/// Processor time of the serving thread for one request.
fn served_for(
    runtime: &tokio::runtime::Runtime,
    address: SocketAddr,
    path: &str,
    headers: &str,
) -> Result<f64> {
    let place = serving_thread()?.join("schedstat");
    let before = nanos(&place)?;
    runtime.block_on(load::get(address, path, headers))?;
    Ok(micros(Duration::from_nanos(nanos(&place)?.saturating_sub(before))))
}

fn serving_thread() -> Result<PathBuf> {
    for task in fs::read_dir("/proc/self/task")? {
        let task = task?.path();
        if fs::read_to_string(task.join("comm")).is_ok_and(|name| name.trim() == THREAD) {
            return Ok(task);
        }
    }
    anyhow::bail!("no thread {THREAD}")
}

fn nanos(schedstat: &std::path::Path) -> Result<u64> {
    let text = fs::read_to_string(schedstat)?;
    let first = text.split_whitespace().next().context("schedstat is empty")?;
    Ok(first.parse()?)
}
