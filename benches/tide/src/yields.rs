//! The second experiment: how soon leased work gets out of the way. Two leased spinners run; at a drawn moment a process begins to
//! use 1.6 processors; what is looked for is the last moment at which the spinners used CPU.

use crate::arm::{Arm, Site};
use crate::child::Child;
use crate::daemon::Daemon;
use crate::heavy::Kind;
use crate::machine;
use crate::plan::{self, Random};
use crate::record::{Log, Record, Step};
use crate::watch::{self, Look};
use anyhow::{Context as _, Result, bail};
use std::process::Command;
use std::time::Duration;

/// How long a step lasts, and the processors that it uses.
const STEP_SECONDS: f64 = 3.0;
const STEP_CORES: f64 = 1.6;

/// Time at the end of a step in which the spinners must not have run, if they are to count as stopped.
const STILL_NS: u64 = 300_000_000;

/// How long leased work may take to be started, and to run again after a step.
const START_MAX: Duration = Duration::from_secs(120);

/// Steps with one daemon. It waits longer each time before work goes on that has to give way again and again, which is not what is
/// measured here, so the next steps get a new one.
const STEPS_A_DAEMON: u32 = 5;

/// Makes `steps` steps, with daemons that `start` starts, and appends a record of each.
pub(crate) fn run(
    site: &Site,
    start: impl Fn() -> Result<Daemon>,
    seed: u64,
    steps: u32,
    log: &mut Log,
) -> Result<()> {
    let mut random = Random::new(plan::seed(&[seed, 0x7969_656c_6473]));
    let mut made = 0;
    while made < steps {
        let daemon = start()?;
        let site = Site { url: daemon.url(), ..site.clone() };
        // Longer than all steps can take; it is ended before.
        let mut work = Child::start(&mut site.heavy(Arm::Ours, Kind::Spin, 3600.0))?;
        let pid = u32::try_from(work.wait_for("ready", START_MAX)?)?;
        for _ in 0..STEPS_A_DAEMON.min(steps - made) {
            wait_until_running(pid)?;
            // At any phase of the daemon's clock.
            machine::pause(Duration::from_millis(1000 + random.below(2000)));
            let step = one(&site, &daemon, pid)?;
            made += 1;
            let told = step.yield_ms.map_or("did not stop".to_owned(), |ms| format!("{ms:.1} ms"));
            eprintln!("step {made} of {steps}: {told}");
            log.append(&Record::Step(step))?;
        }
        work.end()?;
    }
    Ok(())
}

fn wait_until_running(pid: u32) -> Result<()> {
    let begun = watch::cpu_ns(pid).context("the leased work is gone")?;
    let running =
        machine::wait_for(START_MAX, || watch::cpu_ns(pid).filter(|used| *used > begun + 50_000_000));
    if running.is_none() {
        bail!("the leased work did not run again within {} s", START_MAX.as_secs());
    }
    Ok(())
}

fn one(site: &Site, daemon: &Daemon, pid: u32) -> Result<Step> {
    let newest = daemon.newest_event()?;
    let looks = watch::quick(pid, 40_000)?;
    let mut command = Command::new(&site.program);
    let cores = STEP_CORES * machine::processors() as f64 / 2.0;
    command.args(["step", "--seconds", &STEP_SECONDS.to_string(), "--cores", &cores.to_string()]);
    let mut load = Child::start(&mut command)?;
    let start = load.wait_for("start", Duration::from_secs(10))?;
    load.wait(Duration::from_secs(30))?;
    let looks = looks.end()?;
    // Both clocks now: what the wall clock was at the step follows from the time since.
    let wall_at_start = machine::wall_ns().saturating_sub(machine::mono_ns().saturating_sub(start));
    let events = daemon.events(newest)?;
    let decision = match events.iter().find(|event| event.event == "paused") {
        Some(event) => {
            let after = event.wall_ns()? - i128::from(wall_at_start);
            Some(start.saturating_add_signed(after.try_into()?))
        }
        None => None,
    };
    outcome(&looks, start, (STEP_SECONDS * 1e9) as u64, decision)
}

/// What the looks say about a step that began at `start`; the daemon decided at `decision`.
fn outcome(looks: &[Look], start: u64, length: u64, decision: Option<u64>) -> Result<Step> {
    let end = start + length;
    let during: Vec<Look> =
        looks.iter().copied().filter(|look| look.at_ns >= start && look.at_ns < end).collect();
    let last = *during.last().context("no look during a step")?;
    let mut gaps: Vec<u64> = during
        .windows(2)
        .map(|pair| match pair {
            [one, other] => other.at_ns - one.at_ns,
            _ => 0,
        })
        .collect();
    gaps.sort_unstable();
    let ms = |ns: u64| ns as f64 / 1e6;
    // The first look that saw the final count: the last use of CPU was before it, and after the look before it.
    let stopped = during.iter().find(|look| look.cpu_ns == last.cpu_ns).copied().unwrap_or(last);
    let nearly = during.iter().find(|look| look.cpu_ns + 1_000_000 > last.cpu_ns).copied().unwrap_or(last);
    let yielded = stopped.at_ns + STILL_NS <= last.at_ns;
    let used_at = |moment: u64| during.iter().rev().find(|look| look.at_ns <= moment).map(|look| look.cpu_ns);
    let used_since = |cpu_ns: Option<u64>| cpu_ns.filter(|_| yielded).map(|used| ms(last.cpu_ns - used));
    let unfrozen = during.iter().rev().find(|look| !look.freeze).filter(|_| last.freeze);
    Ok(Step {
        yield_ms: yielded.then(|| ms(stopped.at_ns - start)),
        yield_but_1_ms: yielded.then(|| ms(nearly.at_ns - start)),
        decision_ms: decision.map(|at| (at as f64 - start as f64) / 1e6),
        after_decision_cpu_ms: used_since(decision.and_then(used_at)),
        after_freeze_cpu_ms: used_since(unfrozen.map(|look| look.cpu_ns)),
        look_ms: ms(gaps.get(gaps.len() / 2).copied().unwrap_or_default()),
        look_max_ms: ms(gaps.last().copied().unwrap_or_default()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A look each ms; the work runs on two processors until `until_ms`, the order is written at `freeze_ms`.
    fn looks(until_ms: u64, freeze_ms: u64) -> Vec<Look> {
        let at = |ms: u64| ms * 1_000_000;
        (0..1000)
            .map(|ms| Look { at_ns: at(ms), cpu_ns: 2 * at(ms.min(until_ms)), freeze: ms >= freeze_ms })
            .collect()
    }

    #[test]
    fn the_last_use_of_cpu_is_found_with_what_was_used_after_decision_and_order() {
        let step = outcome(&looks(350, 345), 100_000_000, 900_000_000, Some(340_000_000)).unwrap();
        assert_eq!(step.yield_ms, Some(250.0));
        // At 349 two milliseconds are left, which is not less than one.
        assert_eq!(step.yield_but_1_ms, Some(250.0));
        assert_eq!(step.decision_ms, Some(240.0));
        assert_eq!(step.after_decision_cpu_ms, Some(20.0));
        // The last look without the order was at 344.
        assert_eq!(step.after_freeze_cpu_ms, Some(12.0));
        assert_eq!((step.look_ms, step.look_max_ms), (1.0, 1.0));
    }

    #[test]
    fn work_that_still_runs_at_the_end_has_not_yielded() {
        let step = outcome(&looks(900, 2000), 100_000_000, 900_000_000, None).unwrap();
        assert_eq!((step.yield_ms, step.after_decision_cpu_ms, step.after_freeze_cpu_ms), (None, None, None));
    }

    #[test]
    fn what_happens_after_the_step_does_not_count() {
        let step = outcome(&looks(900, 2000), 0, 500_000_000, None).unwrap();
        assert_eq!(step.yield_ms, None);
        assert!(outcome(&[], 0, 1, None).is_err());
    }
}
