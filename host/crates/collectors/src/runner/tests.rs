//! That collectors which hang, panic, fail, are slow or absent cost the others nothing and read right in their reports. Time is
//! given as arguments; a test waits for a run by ticking until the runner has its result, never for a while.

use super::*;
use crate::collector::{CollectError, Collector, Entry};
use crate::{ApiMeter, CollectConfig, Sources, table};
use lowtide_core::metric::{MetricDef, SampleBuffer};
use lowtide_core::report::{CollectorInfo, CollectorStatus};
use lowtide_core::units::{MonoTime, Unit, WallTime};
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender};

static METRICS: [MetricDef; 1] = [MetricDef::gauge("test_value", Unit::Count, &[], "A number.")];
const TICK: Duration = Duration::from_secs(2);
/// Long enough for any run that does come back, on a busy machine too.
const PATIENT: Duration = Duration::from_secs(20);
/// Short, for runs that are known not to come back.
const SHORT: Duration = Duration::from_millis(20);

/// A collector that does as it is told, run by run.
enum Act {
    Push(f64),
    Fail,
    Panic,
    Absent,
    /// Says that it runs, then waits until the test lets it go on.
    Hang(SyncSender<()>, Receiver<()>),
}

struct Scripted(std::vec::IntoIter<Act>);

impl Collector for Scripted {
    fn collect(&mut self, _at: MonoTime, out: &mut SampleBuffer) -> Result<(), CollectError> {
        match self.0.next().unwrap_or(Act::Push(0.0)) {
            Act::Push(value) => out.push(&METRICS[0], &[], value),
            Act::Fail => return Err(CollectError::Failed("no ".repeat(1_000))),
            Act::Panic => panic!("lost my head"),
            Act::Absent => return Err(CollectError::Absent("nothing here".into())),
            Act::Hang(running, go_on) => {
                running.send(()).unwrap();
                let _ = go_on.recv();
                out.push(&METRICS[0], &[], -1.0);
            }
        }
        Ok(())
    }
}

fn entry(name: &'static str, interval: Duration, acts: Vec<Act>) -> Entry {
    let info = CollectorInfo {
        name: name.into(),
        group: "test".into(),
        metric_prefix: "test_".into(),
        help: "Does as it is told.".into(),
        interval,
        metrics: (&METRICS[..]).into(),
    };
    Entry { info, interval, collector: Box::new(Scripted(acts.into_iter())) }
}

fn at(seconds: f64) -> Now {
    let since_boot = Duration::from_secs_f64(seconds);
    Now { mono: MonoTime(since_boot), wall: WallTime(1_700_000_000_000 + since_boot.as_millis() as i64) }
}

fn wall(seconds: f64) -> WallTime {
    at(seconds).wall
}

fn value(report: &CollectorReport) -> Option<f64> {
    report.samples.as_ref().map(|samples| samples.values[0])
}

/// A hanging act, what tells that it runs, and what lets it go on.
fn hang() -> (Act, Receiver<()>, SyncSender<()>) {
    let (running, runs) = sync_channel(1);
    let (release, go_on) = sync_channel(1);
    (Act::Hang(running, go_on), runs, release)
}

/// Ticks at one moment until the collector has finished this many runs. A run that an earlier tick has given up on is not waited
/// for, so this never blocks on it.
fn tick_until(runner: &mut Runner, now: Now, index: usize, runs: u64) -> Vec<CollectorReport> {
    let end = clock::mono().plus(PATIENT);
    loop {
        let reports = runner.tick(now, PATIENT);
        if reports[index].runs >= runs {
            return reports;
        }
        assert!(clock::mono() < end, "{:?}", reports[index]);
    }
}

#[test]
fn a_good_collector_is_reported_fresh_at_every_tick() {
    let mut runner = Runner::new(vec![entry("good", TICK, vec![Act::Push(1.0), Act::Push(2.0)])], TICK, 1);
    for (tick, seconds) in [(1, 10.0), (2, 11.9)] {
        let report = &runner.tick(at(seconds), PATIENT)[0];
        assert_eq!((report.status, value(report)), (CollectorStatus::Ok, Some(f64::from(tick))));
        assert!(report.fresh && !report.stale && report.error.is_none());
        assert_eq!(report.collected_at, Some((at(seconds).mono, wall(seconds))));
        assert_eq!((report.runs, report.failures, report.status_since), (tick as u64, 0, wall(10.0)));
    }
}

#[test]
fn a_collector_that_is_faster_than_the_tick_does_not_make_the_others_late() {
    let entries = vec![entry("good", TICK, vec![]), entry("fast", TICK / 2, vec![])];
    let mut runner = Runner::new(entries, TICK, 1);
    for tick in 0..20 {
        let reports = runner.tick(at(10.0 + f64::from(tick) * 1.99), PATIENT);
        assert!(reports.iter().all(|report| report.fresh), "{tick}");
    }
}

#[test]
fn a_hung_collector_is_counted_once_goes_stale_and_recovers() {
    let (act, runs, release) = hang();
    let acts = vec![Act::Push(1.0), act, Act::Push(3.0)];
    let mut runner = Runner::new(vec![entry("hung", TICK, acts), entry("good", TICK, vec![])], TICK, 1);
    runner.tick(at(10.0), PATIENT);
    for (seconds, stale) in [(12.0, false), (14.0, false), (16.0, false), (18.0, true), (20.0, true)] {
        // Only the first of these ticks waits for the hung one.
        let deadline = if seconds == 12.0 { Duration::from_millis(500) } else { PATIENT };
        let reports = runner.tick(at(seconds), deadline);
        if seconds == 12.0 {
            runs.recv().unwrap();
        }
        let hung = &reports[0];
        assert_eq!((hung.status, hung.overruns, hung.runs), (CollectorStatus::Overdue, 1, 1), "{seconds}");
        assert_eq!((hung.stale, value(hung)), (stale, (!stale).then_some(1.0)), "{seconds}");
        assert_eq!((hung.fresh, hung.status_since), (false, wall(12.0)));
        assert!(hung.error.is_some());
        assert_eq!(hung.collected_at, Some((at(10.0).mono, wall(10.0))));
        assert_eq!(reports[1].overruns, 0);
    }
    release.send(()).unwrap();
    let reports = tick_until(&mut runner, at(22.0), 0, 3);
    assert_eq!((reports[0].status, value(&reports[0])), (CollectorStatus::Ok, Some(3.0)));
    assert_eq!((reports[0].overruns, reports[0].status_since), (1, wall(22.0)));
}

#[test]
fn panics_and_errors_are_captured_and_the_last_samples_kept_while_they_are_fresh() {
    let acts = vec![Act::Push(1.0), Act::Panic, Act::Fail, Act::Fail, Act::Fail, Act::Push(6.0)];
    let mut runner = Runner::new(vec![entry("shaky", TICK, acts), entry("good", TICK, vec![])], TICK, 1);
    runner.tick(at(10.0), PATIENT);
    let reports = runner.tick(at(12.0), PATIENT);
    assert_eq!(reports[0].error.as_deref(), Some("panicked: lost my head"));
    assert_eq!(
        (reports[0].status, value(&reports[0]), reports[0].fresh),
        (CollectorStatus::Failing, Some(1.0), false)
    );
    assert_eq!(reports[1].status, CollectorStatus::Ok);
    let reports = runner.tick(at(14.0), PATIENT);
    assert_eq!(reports[0].error.as_ref().unwrap().len(), lowtide_core::limits::ERROR_TEXT_BYTES_MAX);
    runner.tick(at(16.0), PATIENT);
    let reports = runner.tick(at(18.0), PATIENT);
    assert_eq!((value(&reports[0]), reports[0].stale, reports[0].failures), (None, true, 4));
    assert_eq!(reports[0].status_since, wall(12.0));
    let reports = runner.tick(at(20.0), PATIENT);
    assert_eq!((value(&reports[0]), reports[0].stale, reports[0].failures), (Some(6.0), false, 4));
    assert_eq!((reports[0].status, reports[0].status_since), (CollectorStatus::Ok, wall(20.0)));
}

#[test]
fn a_slow_collector_is_waited_for_at_the_first_tick_only() {
    let (act, runs, release) = hang();
    let slow = entry("slow", Duration::from_secs(30), vec![Act::Push(1.0), act]);
    let mut runner = Runner::new(vec![entry("good", TICK, vec![]), slow], TICK, 1);
    let reports = runner.tick(at(0.0), PATIENT);
    assert_eq!((value(&reports[1]), reports[1].fresh), (Some(1.0), true));
    // The phase is at most one interval: by then the second run has begun, and no tick has waited for it.
    let reports = runner.tick(at(30.0), PATIENT);
    runs.recv().unwrap();
    assert_eq!(
        (reports[1].status, reports[1].fresh, value(&reports[1])),
        (CollectorStatus::Ok, false, Some(1.0))
    );
    let reports = runner.tick(at(32.0), Duration::from_secs(1));
    assert_eq!((reports[1].status, reports[1].overruns), (CollectorStatus::Overdue, 1));
    release.send(()).unwrap();
    let reports = tick_until(&mut runner, at(34.0), 1, 2);
    assert_eq!(
        (reports[1].status, reports[1].fresh, value(&reports[1])),
        (CollectorStatus::Ok, true, Some(-1.0))
    );
    assert_eq!(reports[1].collected_at.unwrap().0, at(30.0).mono);
}

#[test]
fn a_run_of_untrusted_length_is_not_used() {
    let (act, runs, release) = hang();
    // A quarter of the interval is a millisecond, and so is the deadline: the run surely takes longer.
    let mut runner =
        Runner::new(vec![entry("late", Duration::from_millis(4), vec![act])], Duration::from_millis(4), 1);
    let reports = runner.tick(at(1.0), Duration::from_millis(1));
    assert_eq!(reports[0].status, CollectorStatus::Overdue);
    runs.recv().unwrap();
    let end = clock::mono().plus(Duration::from_millis(2));
    while clock::mono() <= end {}
    release.send(()).unwrap();
    let reports = tick_until(&mut runner, at(1.001), 0, 1);
    assert!(reports[0].failures == 1, "{:?}", reports[0]);
}

#[test]
fn an_absent_collector_is_no_failure_and_is_asked_again_after_a_minute() {
    let acts = vec![Act::Absent, Act::Push(2.0)];
    let mut runner = Runner::new(vec![entry("psi", TICK, acts), entry("good", TICK, vec![])], TICK, 1);
    let reports = runner.tick(at(10.0), PATIENT);
    assert_eq!((reports[0].status, reports[0].failures), (CollectorStatus::Absent, 0));
    assert_eq!(reports[0].error.as_deref(), Some("nothing here"));
    let reports = runner.tick(at(68.0), PATIENT);
    assert_eq!((reports[0].runs, value(&reports[0]), reports[0].stale), (1, None, false));
    let reports = runner.tick(at(70.0), PATIENT);
    assert_eq!((reports[0].status, value(&reports[0])), (CollectorStatus::Ok, Some(2.0)));
}

#[test]
fn after_a_suspend_slow_values_are_fetched_anew_and_waited_for() {
    let slow = entry("slow", Duration::from_secs(30), vec![Act::Push(1.0), Act::Push(2.0)]);
    let mut runner = Runner::new(vec![entry("good", TICK, vec![]), slow], TICK, 1);
    runner.tick(at(0.0), PATIENT);
    let reports = runner.tick(at(9_000.0), PATIENT);
    assert_eq!((value(&reports[1]), reports[1].fresh), (Some(2.0), true));
}

#[test]
fn slow_collectors_are_spread_over_the_ticks() {
    let names = ["a", "b", "c", "d", "e", "f"];
    let mut entries: Vec<Entry> =
        names.iter().map(|name| entry(name, Duration::from_secs(30), vec![])).collect();
    entries.push(entry("good", TICK, vec![]));
    let mut runner = Runner::new(entries, TICK, 7);
    runner.tick(at(0.0), PATIENT);
    let mut seen = Vec::new();
    for tick in 1..=15 {
        let now = at(f64::from(tick) * 2.0);
        seen.push(runner.slots.iter().filter(|slot| slot.is_due(now)).count());
        runner.tick(now, PATIENT);
    }
    assert_eq!(seen.iter().sum::<usize>(), 6, "each has its second run within one interval: {seen:?}");
    assert!(seen.iter().all(|count| *count < 4), "{seen:?}");
}

#[test]
fn dropping_the_runner_ends_idle_threads_and_leaves_hung_ones() {
    struct Flag(SyncSender<()>);
    impl Collector for Flag {
        fn collect(&mut self, _at: MonoTime, _out: &mut SampleBuffer) -> Result<(), CollectError> {
            Ok(())
        }
    }
    impl Drop for Flag {
        fn drop(&mut self) {
            let _ = self.0.send(());
        }
    }
    let (gone, idle_is_gone) = sync_channel(1);
    let idle = Entry { collector: Box::new(Flag(gone)), ..entry("idle", TICK, vec![]) };
    let (act, runs, release) = hang();
    let mut runner = Runner::new(vec![idle, entry("hung", TICK, vec![act])], TICK, 1);
    runner.tick(at(1.0), SHORT);
    runs.recv().unwrap();
    drop(runner);
    idle_is_gone.recv_timeout(PATIENT).unwrap();
    release.send(()).unwrap();
}

#[test]
fn a_fifo_in_place_of_a_proc_file_hangs_one_collector_until_it_is_a_file_again() {
    let temp = tempfile::tempdir().unwrap();
    let machine = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/desktop");
    fs::create_dir_all(temp.path().join("pressure")).unwrap();
    fs::create_dir_all(temp.path().join("net")).unwrap();
    for name in ["stat", "uptime", "meminfo", "vmstat", "diskstats", "net/dev"] {
        fs::copy(machine.join("proc").join(name), temp.path().join(name)).unwrap();
    }
    let fifo = temp.path().join("loadavg");
    let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
    rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, mode, 0).unwrap();

    let config = CollectConfig {
        proc_dir: temp.path().into(),
        sys_dir: machine.join("sys"),
        disabled: ["pressure", "filesystem", "process"].map(String::from).into(),
        ..CollectConfig::default()
    };
    let mut runner =
        Runner::new(table(&config, &Sources::new(Arc::new(ApiMeter::new(&["other"])))), config.tick, 1);
    let index = |name: &str, reports: &[CollectorReport]| {
        reports.iter().position(|report| report.info.name == name).unwrap()
    };
    let reports = runner.tick(at(100.0), Duration::from_secs(1));
    let system = index("system", &reports);
    assert_eq!((reports[system].status, reports[system].overruns), (CollectorStatus::Overdue, 1));
    for report in reports.iter().filter(|report| report.info.name != "system") {
        assert!(matches!(report.status, CollectorStatus::Ok | CollectorStatus::Absent), "{report:?}");
        assert_eq!(report.runs, 1);
    }

    // The file comes back; whoever still waits to open the FIFO is let through, and gets an error.
    let held = temp.path().join("held");
    fs::rename(&fifo, &held).unwrap();
    fs::copy(machine.join("proc/loadavg"), &fifo).unwrap();
    drop(fs::OpenOptions::new().write(true).open(&held).unwrap());
    let reports = tick_until(&mut runner, at(102.0), system, 2);
    assert_eq!(
        (reports[system].status, reports[system].failures),
        (CollectorStatus::Ok, 1),
        "{:?}",
        reports[system]
    );
    assert_eq!(reports[system].overruns, 1);
}
