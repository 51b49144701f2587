//! `addons`: what a call of an addon costs from end to end, what a thousand of them cost, how fast a daemon starts with a hundred, and how
//! late a runaway is stopped. The guests are in `benches/guests/`; `cargo xtask bench` builds them.

use super::Options;
use super::measure::{median, micros, pause};
use super::report::{Goal, Report, Row};
use super::server::{Memory, Server};
use anyhow::{Context as _, Result, bail, ensure};
use lowtide_addons::caps::kv::{Kv, KvError, KvUsage};
use lowtide_addons::compile::{self, CompileCommand};
use lowtide_addons::{AddonHost, AddonState, Happening, HostConfig, Outside, limits};
use lowtide_clock as clock;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;
use tokio::sync::watch;

/// Where the built guests are; set by `cargo xtask bench`.
const GUESTS: &str = "LOWTIDE_BENCH_ADDONS";

const COLLECT_GOAL: Goal = Goal::FigureAtMost(15.0);
const PYTHON_GOAL: Goal = Goal::FigureAtMost(200.0);
const THOUSAND_CPU_GOAL: Goal = Goal::FigureAtMost(1.0);
const THOUSAND_MEMORY_GOAL: Goal = Goal::FigureAtMost(100.0);
const TEN_MEMORY_GOAL: Goal = Goal::FigureAtMost(20.0);
const START_GOAL: Goal = Goal::FigureAtMost(300.0);
const OVERSHOOT_GOAL: Goal = Goal::FigureAtMost(2.0);

/// No addon here waits longer for its state.
const PATIENCE: Duration = Duration::from_secs(300);

/// How long a thousand addons are watched.
const WATCH: Duration = Duration::from_secs(30);

const RUNAWAYS: usize = 20;

pub(crate) fn run(report: &mut Report, _: Options) -> Result<()> {
    let guests = std::env::var_os(GUESTS).map(PathBuf::from);
    let guests = guests.with_context(|| format!("{GUESTS} is not set: run this by cargo xtask bench"))?;
    let cache = tempfile::tempdir()?;
    collect(report, &guests, cache.path(), "ten", 20_000, COLLECT_GOAL)?;
    if guests.join("ten-python").exists() {
        collect(report, &guests, cache.path(), "ten-python", 2_000, PYTHON_GOAL)?;
    }
    runaway(report, &guests, cache.path())?;
    hundred(report, &guests, cache.path())?;
    thousand(report, &guests, cache.path())?;
    ten_in_a_daemon(report, &guests)
}

/// The store of addons that keep nothing.
struct Nothing;

impl Kv for Nothing {
    fn get(&self, _: &str, _: &str) -> Result<Option<Vec<u8>>, KvError> {
        Ok(None)
    }

    fn set(&self, _: &str, _: &str, _: &[u8], _: KvUsage) -> Result<(), KvError> {
        Ok(())
    }

    fn delete(&self, _: &str, _: &str) -> Result<(), KvError> {
        Ok(())
    }

    fn list_keys(&self, _: &str, _: &str, _: usize) -> Result<Vec<String>, KvError> {
        Ok(Vec::new())
    }

    fn usage(&self, _: &str) -> Result<KvUsage, KvError> {
        Ok(KvUsage::default())
    }
}

/// A host for a folder of addons, and what happens in it.
struct Host {
    host: AddonHost,
    happenings: Receiver<Happening>,
    // Keeps the receiver in the host open.
    _state: watch::Sender<Option<Arc<lowtide_core::state::HostState>>>,
}

/// Happenings that wait to be read; a thousand addons have two each.
const HAPPENINGS_MAX: usize = 8_192;

impl Host {
    fn start(folder: &Path, cache: &Path, by_hand: bool) -> Result<Self> {
        let (told, happenings) = sync_channel(HAPPENINGS_MAX);
        let (state, newest) = watch::channel(None);
        let outside = Outside {
            state: newest,
            kv: Arc::new(Nothing),
            leases: None,
            tell: Arc::new(move |happening| drop(told.try_send(happening))),
        };
        let config = HostConfig {
            folder: folder.to_owned(),
            cache_dir: cache.join("cache"),
            disabled_file: cache.join("disabled"),
            proc_dir: "/proc".into(),
            sys_dir: "/sys".into(),
            // This program is the compile child too: see `suite::main`.
            compile: CompileCommand::default(),
            addons: BTreeMap::new(),
        };
        let host = if by_hand {
            AddonHost::start_by_hand(config, outside, None)?
        } else {
            AddonHost::start(config, outside)?
        };
        Ok(Self { host, happenings, _state: state })
    }

    /// Waits until so many addons have come to run.
    fn running(&self, count: usize) -> Result<()> {
        let end = clock::mono().plus(PATIENCE);
        let mut running = 0;
        while running < count {
            match self.happenings.recv_timeout(end.since(clock::mono())) {
                Ok(Happening::State { to: Some(AddonState::Running), .. }) => running += 1,
                Ok(Happening::State { addon, problem: Some(problem), .. }) => {
                    bail!("{addon}: {}", problem.text)
                }
                Ok(_) => {}
                Err(error) => bail!("{running} of {count} addons run: {error}"),
            }
        }
        Ok(())
    }
}

/// Copies a built guest under another name into a folder. `mark` makes its bytes differ from those of others: a custom section.
fn place(guests: &Path, guest: &str, folder: &Path, name: &str, mark: Option<u32>) -> Result<()> {
    std::fs::create_dir_all(folder)?;
    let mut bytes = std::fs::read(guests.join(guest).join(format!("{guest}.wasm")))
        .with_context(|| format!("read {guest}"))?;
    if let Some(mark) = mark {
        // Section 0, seven bytes: a name of two bytes and a number (component model, Binary.md).
        bytes.extend([0, 7, 2, b'i', b'd']);
        bytes.extend(mark.to_le_bytes());
    }
    std::fs::write(folder.join(format!("{name}.wasm")), bytes)?;
    Ok(())
}

/// One call from the task's decision to make it to the report that the tick takes: deadlines, metering and ingest included. In processor
/// time of the process, in which nothing else runs.
fn collect(
    report: &mut Report,
    guests: &Path,
    cache: &Path,
    guest: &str,
    calls: u32,
    goal: Goal,
) -> Result<()> {
    let folder = tempfile::tempdir()?;
    place(guests, guest, folder.path(), guest, None)?;
    let host = Host::start(folder.path(), cache, true)?;
    host.running(1)?;
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    let turn = |calls: u32| -> Result<f64> {
        let begun = clock::process_cpu();
        ensure!(runtime.block_on(host.host.call_all(guest, calls)), "{guest} crashed");
        Ok(micros(clock::process_cpu().saturating_sub(begun)) / f64::from(calls))
    };
    turn(calls / 10)?;
    let turns = (0..11).map(|_| turn(calls / 11)).collect::<Result<Vec<_>>>()?;
    let view = host.host.view(guest)?;
    let guest_cpu = view.metered.cpu_ns as f64 / 1e3 / view.metered.calls.max(1) as f64;
    report.row(
        Row::new(format!("collect of 10 samples, {guest}"), median(turns), "us")
            .note(format!("{guest_cpu:.1} us of it between entering and leaving the guest"))
            .goal(goal),
    );
    host.host.stop();
    Ok(())
}

/// How long after its deadline of CPU time a guest that never returns is stopped.
fn runaway(report: &mut Report, guests: &Path, cache: &Path) -> Result<()> {
    let mut late = Vec::new();
    for _ in 0..RUNAWAYS {
        let folder = tempfile::tempdir()?;
        place(guests, "spin", folder.path(), "spin", None)?;
        let host = Host::start(folder.path(), cache, false)?;
        let end = clock::mono().plus(PATIENCE);
        loop {
            let happening = host.happenings.recv_timeout(end.since(clock::mono()))?;
            if let Happening::State { problem: Some(problem), .. } = happening {
                ensure!(problem.code == "cpu_time", "{}", problem.text);
                break;
            }
        }
        // The first calls of an instance have this much; what its start and `describe` took is counted as overshoot too.
        let used = Duration::from_nanos(host.host.view("spin")?.metered.cpu_ns);
        late.push(used.saturating_sub(limits::START_CPU).as_secs_f64() * 1e3);
        host.host.stop();
    }
    let worst = late.iter().copied().fold(0.0, f64::max);
    report.row(
        Row::new("a runaway is stopped after its deadline by", median(late), "ms")
            .note(format!("median of {RUNAWAYS}; worst {worst:.1} ms"))
            .goal(OVERSHOOT_GOAL),
    );
    Ok(())
}

/// From the start of the host to the moment at which all of a hundred different, cached addons run.
fn hundred(report: &mut Report, guests: &Path, cache: &Path) -> Result<()> {
    let folder = tempfile::tempdir()?;
    for number in 0..100 {
        place(guests, "ten", folder.path(), &format!("ten-{number}"), Some(number))?;
    }
    let first = Host::start(folder.path(), cache, false)?;
    first.running(100)?;
    first.host.stop();
    let mut times = Vec::new();
    for _ in 0..5 {
        let begun = clock::mono();
        let host = Host::start(folder.path(), cache, false)?;
        host.running(100)?;
        times.push(clock::mono().since(begun).as_secs_f64() * 1e3);
        host.host.stop();
    }
    report.row(
        Row::new("start of a host with 100 different cached addons", median(times), "ms")
            .note("until all of them run; wall time, median of 5")
            .goal(START_GOAL),
    );
    Ok(())
}

/// A thousand addons of the same bytes, collected each five seconds, with a tick each two.
fn thousand(report: &mut Report, guests: &Path, cache: &Path) -> Result<()> {
    let folder = tempfile::tempdir()?;
    for number in 0..1_000 {
        place(guests, "ten", folder.path(), &format!("ten-{number}"), None)?;
    }
    let before = resident_kib()?;
    let host = Host::start(folder.path(), cache, false)?;
    host.running(1_000)?;
    // Every one has been called, and its pages are there.
    pause(Duration::from_secs(12));
    let each = (resident_kib()? - before) / 1_000.0;
    let begun = clock::process_cpu();
    pause(WATCH);
    let share = clock::process_cpu().saturating_sub(begun).as_secs_f64() / WATCH.as_secs_f64() * 100.0;
    report.row(
        Row::new("1 000 addons at 5 s: share of a core", share, "%")
            .note(format!("{:.1} us a call, timers and threads included", share * 1e4 / 200.0))
            .goal(THOUSAND_CPU_GOAL),
    );
    report.row(Row::new("1 000 addons: resident memory of each", each, "KiB").goal(THOUSAND_MEMORY_GOAL));
    let ticks = 10;
    let begun = clock::thread_cpu();
    for _ in 0..ticks {
        std::hint::black_box(host.host.reports(clock::now()));
    }
    let each_tick = clock::thread_cpu().saturating_sub(begun).as_secs_f64() * 1e3 / f64::from(ticks);
    report.row(Row::new("1 000 addons: their reports at a tick", each_tick, "ms"));
    host.host.stop();
    Ok(())
}

/// The whole daemon with ten addons of different bytes.
fn ten_in_a_daemon(report: &mut Report, guests: &Path) -> Result<()> {
    let folder = tempfile::tempdir()?;
    for number in 0..10 {
        place(guests, "ten", folder.path(), &format!("ten-{number}"), Some(number))?;
    }
    let first = Server::daemon_with_addons(folder.path())?;
    let memory = with_ten(&first)?;
    report.row(
        Row::new("daemon that has just compiled 10 different addons", memory.resident / 1e6, "MB")
            .note(format!("anonymous {:.1} MB", memory.anonymous / 1e6)),
    );
    let memory = with_ten(&first.restarted(folder.path())?)?;
    report.row(
        Row::new("daemon with 10 different addons, from its next start on", memory.resident / 1e6, "MB")
            .note(format!("anonymous {:.1} MB", memory.anonymous / 1e6))
            .goal(TEN_MEMORY_GOAL),
    );
    Ok(())
}

/// The memory of a daemon once its ten addons run and have been collected.
fn with_ten(daemon: &Server) -> Result<Memory> {
    let end = clock::mono().plus(PATIENCE);
    loop {
        let answer = daemon.get("/api/addons", "")?;
        let list: serde_json::Value = serde_json::from_slice(&answer.body)?;
        if list.pointer("/summary/running").and_then(serde_json::Value::as_u64) == Some(10) {
            break;
        }
        ensure!(clock::mono() < end, "ten addons do not come to run: {list}");
        pause(Duration::from_millis(200));
    }
    pause(Duration::from_secs(12));
    daemon.memory()
}

fn resident_kib() -> Result<f64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    line.split_whitespace().next().context("no number")?.parse().context("not a number")
}

/// Makes this program the compile child, if it was started as one.
pub(crate) fn compile_child() -> Option<std::process::ExitCode> {
    (std::env::args().nth(1).as_deref() == Some(compile::CHILD_ARGUMENT)).then(compile::child_main)
}
