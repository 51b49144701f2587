//! Tables from records: medians of the runs beside the goals. A figure of an arm is its ratio to the run without heavy work of the
//! same block, so that what else the machine did in an hour is in both. It measures nothing.

use crate::arm::Arm;
use crate::heavy::Kind;
use crate::record::{Block, Machine, Record, Run, Step};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

/// A second is bad when its 99th percentile is above this much of the 99th percentile without heavy work.
const BAD_WINDOW: f64 = 1.2;

/// Share of the excess under SCHED_IDLE that must be gone, for kinds that have that goal.
const EXCESS_GONE: f64 = 0.3;

/// An excess below this is noise: less of it cannot be shown.
const EXCESS_SEEN: f64 = 0.05;

/// The highest ratio that `lowtide run` may have.
fn ratio_goal(kind: Kind) -> f64 {
    match kind {
        Kind::Spin | Kind::Forks => 1.10,
        Kind::Stream | Kind::Fsync | Kind::Cache => 1.20,
    }
}

/// Kinds that SCHED_IDLE alone does not hold back.
fn has_excess_goal(kind: Kind) -> bool {
    matches!(kind, Kind::Stream | Kind::Fsync | Kind::Cache)
}

/// All that the tables say.
#[derive(Debug, Default, PartialEq, Serialize)]
pub(crate) struct Summary {
    machine: Option<Machine>,
    cells: Vec<Cell>,
    steps: Option<Steps>,
}

/// One kind of heavy work under one arm at one load: medians.
#[derive(Clone, Debug, PartialEq, Serialize)]
struct Cell {
    load: u32,
    heavy: Kind,
    arm: Arm,
    runs: usize,
    /// Against the same block without heavy work.
    p50_ratio: f64,
    p99_ratio: f64,
    p999_ratio: f64,
    /// Share of seconds that were bad.
    bad_windows: f64,
    p99_ms: f64,
    /// In units of the work.
    work_per_second: f64,
    /// Work done, as a share of what is done without control.
    work_of_free: Option<f64>,
    stopped: f64,
    stops: f64,
    errors: u64,
}

/// The steps of the second experiment.
#[derive(Clone, Debug, PartialEq, Serialize)]
struct Steps {
    steps: usize,
    yielded: usize,
    yield_ms: Spread,
    yield_but_1_ms: Spread,
    decision_ms: Spread,
    after_decision_cpu_ms: Spread,
    after_freeze_cpu_ms: Spread,
    look_ms: f64,
    look_max_ms: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
struct Spread {
    /// How many there are.
    known: usize,
    p50: Option<f64>,
    p99: Option<f64>,
    max: Option<f64>,
}

/// Makes medians of records.
pub(crate) fn summary(records: &[Record]) -> Summary {
    let mut machine = None;
    let mut blocks: BTreeMap<Block, BTreeMap<Arm, &Run>> = BTreeMap::new();
    let mut steps = Vec::new();
    for record in records {
        match record {
            Record::Machine(known) => machine = Some(known.clone()),
            Record::Run(run) => {
                blocks.entry(run.block).or_default().insert(run.arm, run);
            }
            Record::Step(step) => steps.push(*step),
        }
    }
    Summary { machine, cells: cells(&blocks), steps: (!steps.is_empty()).then(|| spread_steps(&steps)) }
}

fn cells(blocks: &BTreeMap<Block, BTreeMap<Arm, &Run>>) -> Vec<Cell> {
    let kinds: BTreeSet<(u32, Kind)> = blocks.keys().map(|block| (block.load, block.heavy)).collect();
    let mut cells = Vec::new();
    for (load, heavy) in kinds {
        let of_kind: Vec<_> = blocks
            .iter()
            .filter(|(block, _)| (block.load, block.heavy) == (load, heavy))
            .map(|(_, arms)| arms)
            .collect();
        for arm in Arm::ALL {
            // Each run beside the one without heavy work, and the one without control where there is one.
            let runs: Vec<(&Run, &Run, Option<&Run>)> = of_kind
                .iter()
                .filter_map(|arms| {
                    Some((*arms.get(&arm)?, *arms.get(&Arm::None)?, arms.get(&Arm::Free).copied()))
                })
                .collect();
            if !runs.is_empty() {
                cells.push(cell(load, heavy, arm, &runs));
            }
        }
    }
    cells
}

fn cell(load: u32, heavy: Kind, arm: Arm, runs: &[(&Run, &Run, Option<&Run>)]) -> Cell {
    let ratio = |of: fn(&Run) -> u64| {
        median(runs.iter().map(|(run, none, _)| of(run) as f64 / of(none).max(1) as f64)).unwrap_or(f64::NAN)
    };
    let mid = |of: fn(&Run) -> f64| median(runs.iter().map(|(run, _, _)| of(run))).unwrap_or(f64::NAN);
    let bad = runs.iter().map(|(run, none, _)| {
        let limit = none.latencies.p99_us as f64 * BAD_WINDOW;
        let windows = &run.latencies.windows_p99_us;
        windows.iter().filter(|p99| **p99 as f64 > limit).count() as f64 / windows.len().max(1) as f64
    });
    let of_free = runs.iter().filter_map(|(run, _, free)| {
        let free = (*free)?;
        (free.work > 0).then(|| rate(run) / rate(free))
    });
    Cell {
        load,
        heavy,
        arm,
        runs: runs.len(),
        p50_ratio: ratio(|run| run.latencies.p50_us),
        p99_ratio: ratio(|run| run.latencies.p99_us),
        p999_ratio: ratio(|run| run.latencies.p999_us),
        bad_windows: median(bad).unwrap_or(f64::NAN),
        p99_ms: mid(|run| run.latencies.p99_us as f64 / 1000.0),
        work_per_second: mid(rate),
        work_of_free: median(of_free),
        stopped: mid(|run| run.stopped),
        stops: mid(|run| f64::from(run.stops)),
        errors: runs.iter().map(|(run, _, _)| run.latencies.errors).sum(),
    }
}

fn rate(run: &Run) -> f64 {
    run.work as f64 / run.seconds
}

/// The middle of the values, or the mean of the middle two.
fn median(values: impl IntoIterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    let upper = values.get(values.len() / 2)?;
    let lower = values.get(values.len().saturating_sub(1) / 2)?;
    Some(f64::midpoint(*lower, *upper))
}

fn spread_steps(steps: &[Step]) -> Steps {
    let spread = |of: fn(&Step) -> Option<f64>| {
        let mut known: Vec<f64> = steps.iter().filter_map(of).collect();
        known.sort_by(f64::total_cmp);
        let rank =
            |share: f64| known.get(((known.len() as f64 * share).ceil() as usize).saturating_sub(1)).copied();
        Spread { known: known.len(), p50: rank(0.5), p99: rank(0.99), max: known.last().copied() }
    };
    Steps {
        steps: steps.len(),
        yielded: steps.iter().filter(|step| step.yield_ms.is_some()).count(),
        yield_ms: spread(|step| step.yield_ms),
        yield_but_1_ms: spread(|step| step.yield_but_1_ms),
        decision_ms: spread(|step| step.decision_ms),
        after_decision_cpu_ms: spread(|step| step.after_decision_cpu_ms),
        after_freeze_cpu_ms: spread(|step| step.after_freeze_cpu_ms),
        look_ms: median(steps.iter().map(|step| step.look_ms)).unwrap_or(f64::NAN),
        look_max_ms: steps.iter().map(|step| step.look_max_ms).fold(0.0, f64::max),
    }
}

impl Summary {
    /// The tables as Markdown.
    pub(crate) fn markdown(&self) -> String {
        let mut out = String::new();
        if let Some(machine) = &self.machine {
            machine_lines(&mut out, machine);
        }
        let loads: BTreeSet<u32> = self.cells.iter().map(|cell| cell.load).collect();
        for load in loads {
            let _ = writeln!(out, "\n### Service at {load} % of its capacity\n");
            self.latency_table(&mut out, load);
            out.push('\n');
            self.work_table(&mut out, load);
        }
        if let Some(steps) = &self.steps {
            steps_table(&mut out, steps);
        }
        out
    }

    fn find(&self, load: u32, heavy: Kind, arm: Arm) -> Option<&Cell> {
        self.cells.iter().find(|cell| (cell.load, cell.heavy, cell.arm) == (load, heavy, arm))
    }

    fn kinds(&self, load: u32) -> BTreeSet<Kind> {
        self.cells.iter().filter(|cell| cell.load == load).map(|cell| cell.heavy).collect()
    }

    fn latency_table(&self, out: &mut String, load: u32) {
        out.push_str("99th percentile of latency, as a multiple of the same run without heavy work (in brackets: share of seconds above 1.2 times it).\n\n");
        out.push_str("| heavy work | runs | none | free | nice 19, ionice idle | SCHED_IDLE, ionice idle | `lowtide run` | goal | less excess than SCHED_IDLE |\n");
        out.push_str("| --- | --- | --- | --- | --- | --- | --- | --- | --- |\n");
        for heavy in self.kinds(load) {
            let cell = |arm| self.find(load, heavy, arm);
            let shown = |arm| {
                cell(arm).map_or("–".to_owned(), |cell| {
                    format!("{:.2} ({:.0} %)", cell.p99_ratio, cell.bad_windows * 100.0)
                })
            };
            let none = cell(Arm::None).map_or("–".to_owned(), |cell| {
                format!("{:.1} ms ({:.0} %)", cell.p99_ms, cell.bad_windows * 100.0)
            });
            let ours = cell(Arm::Ours).map(|cell| cell.p99_ratio);
            let goal = ratio_goal(heavy);
            let met = ours.map_or("", |ours| if ours <= goal { ": met" } else { ": missed" });
            let excess = excess(heavy, cell(Arm::Idle).map(|cell| cell.p99_ratio), ours);
            let runs = cell(Arm::None).map_or(0, |cell| cell.runs);
            let [free, nice, idle, ours] = [Arm::Free, Arm::Nice, Arm::Idle, Arm::Ours].map(shown);
            let word = heavy.word();
            let _ = writeln!(
                out,
                "| {word} | {runs} | {none} | {free} | {nice} | {idle} | {ours} | ≤ {goal:.2}{met} | {excess} |"
            );
        }
    }

    fn work_table(&self, out: &mut String, load: u32) {
        out.push_str(
            "Work done, as a share of what is done without control, and 99.9th percentile as a multiple.\n\n",
        );
        out.push_str("| heavy work | free, a second | nice | SCHED_IDLE | `lowtide run` | of that stopped | stops a run | p99.9 free | nice | SCHED_IDLE | `lowtide run` |\n");
        out.push_str("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |\n");
        for heavy in self.kinds(load) {
            let cell = |arm| self.find(load, heavy, arm);
            let share = |arm| {
                let share = cell(arm).and_then(|cell| cell.work_of_free);
                share.map_or("–".to_owned(), |share| format!("{:.0} %", share * 100.0))
            };
            let tail = |arm| cell(arm).map_or("–".to_owned(), |cell| format!("{:.2}", cell.p999_ratio));
            let free = cell(Arm::Free)
                .map_or("–".to_owned(), |cell| format!("{:.0} {}", cell.work_per_second, unit(heavy)));
            let (stopped, stops) = cell(Arm::Ours).map_or(("–".to_owned(), "–".to_owned()), |cell| {
                (format!("{:.0} %", cell.stopped * 100.0), format!("{:.0}", cell.stops))
            });
            let [nice, idle, ours] = [Arm::Nice, Arm::Idle, Arm::Ours].map(share);
            let tails = [Arm::Free, Arm::Nice, Arm::Idle, Arm::Ours].map(tail).join(" | ");
            let word = heavy.word();
            let _ = writeln!(
                out,
                "| {word} | {free} | {nice} | {idle} | {ours} | {stopped} | {stops} | {tails} |"
            );
        }
    }
}

fn unit(kind: Kind) -> &'static str {
    match kind {
        Kind::Spin => "rounds",
        Kind::Forks => "processes",
        Kind::Stream | Kind::Fsync | Kind::Cache => "MiB",
    }
}

/// How much smaller the excess over 1 is than under SCHED_IDLE, and whether that is enough.
fn excess(heavy: Kind, idle: Option<f64>, ours: Option<f64>) -> String {
    let (Some(idle), Some(ours)) = (idle, ours) else { return "–".to_owned() };
    let (idle, ours) = (idle - 1.0, (ours - 1.0).max(0.0));
    if idle < EXCESS_SEEN {
        return "none to take away".to_owned();
    }
    let gone = 1.0 - ours / idle;
    let met = match (has_excess_goal(heavy), gone >= EXCESS_GONE) {
        (false, _) => "",
        (true, true) => " (goal 30 %: met)",
        (true, false) => " (goal 30 %: missed)",
    };
    format!("{:.0} %{met}", gone * 100.0)
}

fn machine_lines(out: &mut String, machine: &Machine) {
    let autogroup = if machine.autogroup { "on" } else { "off" };
    let session = if machine.own_session { "a session of its own" } else { "the session of the heavy work" };
    let group = if machine.own_group { "in a cgroup of its own" } else { "in the cgroup of the heavy work" };
    let _ = writeln!(
        out,
        "{} processors, {} MiB of memory ({} free), Linux {}, autogroup {autogroup}. The service, {group} and {session}, answers {:.0} requests a second at most; runs of {} s; file of the service {} MiB, of `cache` {} MiB; seed {}.",
        machine.processors,
        machine.memory_mib,
        machine.available_mib,
        machine.kernel,
        machine.capacity,
        machine.seconds,
        machine.large_mib,
        machine.cache_mib,
        machine.seed
    );
}

fn steps_table(out: &mut String, steps: &Steps) {
    let _ = writeln!(
        out,
        "\n### Time to yield\n\nIn {} of {} steps the leased work stood still before the step was over. Looked at every {:.1} ms (longest gap {:.1} ms).\n",
        steps.yielded, steps.steps, steps.look_ms, steps.look_max_ms
    );
    out.push_str("| from the step's begin, or used after | known | p50 | p99 | max |\n| --- | --- | --- | --- | --- |\n");
    let rows = [
        ("last CPU use of the leased work, ms", steps.yield_ms),
        ("last but 1 ms of it, ms", steps.yield_but_1_ms),
        ("pause in the daemon's log, ms", steps.decision_ms),
        ("CPU used after the pause in the log, ms", steps.after_decision_cpu_ms),
        ("CPU used after the order to freeze was written, ms", steps.after_freeze_cpu_ms),
    ];
    for (name, spread) in rows {
        let shown = |value: Option<f64>| value.map_or("–".to_owned(), |value| format!("{value:.2}"));
        let [p50, p99, max] = [spread.p50, spread.p99, spread.max].map(shown);
        let _ = writeln!(out, "| {name} | {} | {p50} | {p99} | {max} |", spread.known);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::Latencies;

    fn run(heavy: Kind, arm: Arm, repeat: u32, p99_us: u64, work: u64) -> Record {
        let latencies = Latencies {
            requests: 1000,
            p50_us: 100,
            p99_us,
            p999_us: p99_us * 2,
            windows_p99_us: vec![p99_us, p99_us, 1, 1],
            ..Latencies::default()
        };
        let block = Block { load: 30, heavy, repeat };
        Record::Run(Run { block, arm, seconds: 10.0, latencies, work, stopped: 0.25, stops: 2 })
    }

    fn lines() -> Vec<Record> {
        let mut all = Vec::new();
        // The second repeat is on a machine that is twice as slow; ratios must not feel it.
        for (repeat, slow) in [(1, 1), (2, 2), (3, 1)] {
            all.push(run(Kind::Fsync, Arm::None, repeat, 1000 * slow, 0));
            all.push(run(Kind::Fsync, Arm::Free, repeat, 4000 * slow, 1000));
            all.push(run(Kind::Fsync, Arm::Idle, repeat, 2000 * slow, 900));
            all.push(run(Kind::Fsync, Arm::Ours, repeat, 1150 * slow, 500));
        }
        all
    }

    #[test]
    fn the_table_is_made_from_the_lines_of_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("runs.jsonl");
        let mut log = crate::record::Log::open(&path).unwrap();
        lines().iter().for_each(|record| log.append(record).unwrap());
        let text = summary(&crate::record::read(&path).unwrap()).markdown();
        let row = "| fsync | 3 | 1.0 ms (0 %) | 4.00 (50 %) | – | 2.00 (50 %) | 1.15 (0 %) | ≤ 1.20: met | 85 % (goal 30 %: met) |";
        assert!(text.contains(row), "{text}");
        assert!(
            text.contains("| fsync | 100 MiB | – | 90 % | 50 % | 25 % | 2 | 4.00 | – | 2.00 | 1.15 |"),
            "{text}"
        );
    }

    #[test]
    fn a_run_without_its_partner_is_left_out() {
        let summary = summary(&[run(Kind::Spin, Arm::Free, 1, 5, 1)]);
        assert_eq!(summary, Summary::default());
        assert_eq!(summary.markdown(), "");
    }

    #[test]
    fn a_goal_that_is_missed_is_told_and_noise_is_no_excess() {
        assert_eq!(excess(Kind::Cache, Some(2.0), Some(1.9)), "10 % (goal 30 %: missed)");
        assert_eq!(excess(Kind::Spin, Some(2.0), Some(0.9)), "100 %");
        assert_eq!(excess(Kind::Cache, Some(1.01), Some(1.0)), "none to take away");
        assert_eq!(excess(Kind::Cache, None, Some(1.0)), "–");
    }

    #[test]
    fn medians_and_percentiles_are_of_what_is_known() {
        assert_eq!(median([3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median([4.0, 1.0, 2.0, 3.0]), Some(2.5));
        assert_eq!(median([]), None);
        let step = |ms: Option<f64>| {
            Record::Step(Step {
                yield_ms: ms,
                yield_but_1_ms: ms,
                decision_ms: None,
                after_decision_cpu_ms: None,
                after_freeze_cpu_ms: None,
                look_ms: 0.5,
                look_max_ms: 0.7,
            })
        };
        let mut records: Vec<Record> = (1..=100).map(|ms| step(Some(f64::from(ms)))).collect();
        records.push(step(None));
        let text = summary(&records).markdown();
        assert!(text.contains("In 100 of 101 steps"), "{text}");
        assert!(
            text.contains("| last CPU use of the leased work, ms | 100 | 50.00 | 99.00 | 100.00 |"),
            "{text}"
        );
    }
}
