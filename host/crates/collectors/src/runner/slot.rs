//! What the runner knows of one collector: when it is due, whether it runs, what it said last, and how that reads in a report.
//! It reads no clock and waits for nothing. The runner calls it.

use super::worker::{self, Finished, Outcome, Start};
use crate::collector::Entry;
use lowtide_core::limits::{ERROR_TEXT_BYTES_MAX, STALE_AFTER_INTERVALS};
use lowtide_core::metric;
use lowtide_core::report::{CollectorInfo, CollectorReport, CollectorStatus, Samples};
use lowtide_core::units::{MonoTime, Now, WallTime};
use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::time::Duration;

/// A collector with nothing to measure is asked again after this time, or after [`ABSENT_INTERVALS`], whichever is longer:
/// a sensor's driver may be loaded later, but that is rare.
const ABSENT_RETRY_MIN: Duration = Duration::from_secs(60);

/// See [`ABSENT_RETRY_MIN`].
const ABSENT_INTERVALS: u32 = 10;

/// A run that has been started and is not over.
#[derive(Debug)]
struct Run {
    started: MonoTime,
    /// The tick that started it waits for it.
    awaited: bool,
    /// It has missed its deadline, and that was counted.
    overdue: bool,
}

/// See the file's head.
#[derive(Debug)]
pub(crate) struct Slot {
    info: Arc<CollectorInfo>,
    interval: Duration,
    every_tick: bool,
    /// How long after the first run the second one comes, for collectors that are slower than the tick.
    phase: Duration,
    /// The way to the thread; the error when there is none.
    thread: Result<SyncSender<Start>, Arc<str>>,
    run: Option<Run>,
    /// None until the first run.
    due: Option<MonoTime>,
    status: CollectorStatus,
    status_since: Option<WallTime>,
    /// How the last finished run ended: its status, and why it has no samples.
    last: CollectorStatus,
    error: Option<Arc<str>>,
    samples: Option<(Arc<Samples>, Now)>,
    fresh: bool,
    duration: Duration,
    runs: u64,
    failures: u64,
    overruns: u64,
}

impl Slot {
    /// Starts the collector's thread.
    pub(crate) fn new(
        index: usize,
        entry: Entry,
        every_tick: bool,
        seed: u64,
        done: SyncSender<Finished>,
    ) -> Self {
        let Entry { info, interval, collector } = entry;
        let thread = worker::spawn(index, &info.name, collector, done)
            .map_err(|error| Arc::from(format!("cannot start its thread: {error}")));
        Self {
            phase: phase(&info.name, interval, seed),
            interval,
            every_tick,
            error: thread.as_ref().err().cloned(),
            last: if thread.is_ok() { CollectorStatus::Pending } else { CollectorStatus::Failing },
            thread,
            run: None,
            due: None,
            status: CollectorStatus::Pending,
            status_since: None,
            samples: None,
            fresh: false,
            duration: Duration::ZERO,
            runs: 0,
            failures: 0,
            overruns: 0,
            info: Arc::new(info),
        }
    }

    /// Starts a run if one is due and none is going on.
    pub(crate) fn start_if_due(&mut self, now: Now, deadline: Duration) {
        let absent = self.last == CollectorStatus::Absent;
        let due = match self.due {
            // Those with the tick's interval have no time of their own: a tick that comes a little early would skip them.
            _ if self.every_tick && !absent => true,
            Some(due) => now.mono >= due,
            None => true,
        };
        let (Ok(thread), None, true) = (&self.thread, &self.run, due) else { return };
        // Above this, the moment of reading and the moment of the tick are too far apart for rates.
        let trusted_for = deadline.max(self.interval / 4);
        if thread.try_send(Start { now, trusted_for }).is_err() {
            self.error = Some("its thread has ended".into());
            self.last = CollectorStatus::Failing;
            return;
        }
        self.due = Some(self.next_due(now.mono));
        let usable = self.samples.as_ref().is_some_and(|(_, at)| !self.is_stale(now.mono, at.mono));
        let awaited = self.every_tick || (!usable && !absent);
        self.run = Some(Run { started: now.mono, awaited, overdue: false });
    }

    /// True when a tick at `now` starts it, for those that are slower than the tick.
    #[cfg(test)]
    pub(crate) fn is_due(&self, now: Now) -> bool {
        !self.every_tick && self.due.is_some_and(|due| now.mono >= due)
    }

    /// On a grid from the first run and the phase on, so that late ticks do not shift it; after a long pause, from now on.
    fn next_due(&self, now: MonoTime) -> MonoTime {
        let Some(due) = self.due else { return now.plus(self.phase) };
        let next = due.plus(self.interval);
        if next > now { next } else { now.plus(self.interval) }
    }

    /// True while the tick should wait for it.
    pub(crate) fn is_awaited(&self) -> bool {
        self.run.as_ref().is_some_and(|run| run.awaited)
    }

    /// Takes in a run that is over.
    pub(crate) fn take(&mut self, finished: Finished) {
        let Finished { started, duration, outcome, .. } = finished;
        self.run = None;
        self.duration = duration;
        self.runs += 1;
        let (status, error) = match outcome {
            Outcome::Sampled(samples) => {
                self.samples = Some((samples, started));
                self.fresh = true;
                (CollectorStatus::Ok, None)
            }
            Outcome::Absent(why) => {
                self.samples = None;
                let pause = ABSENT_RETRY_MIN.max(self.interval.saturating_mul(ABSENT_INTERVALS));
                self.due = Some(started.mono.plus(pause));
                (CollectorStatus::Absent, Some(why))
            }
            Outcome::Failed(why) => {
                self.failures += 1;
                (CollectorStatus::Failing, Some(why))
            }
        };
        self.last = status;
        self.error = error.map(|text| metric::clip(&text, ERROR_TEXT_BYTES_MAX).into());
    }

    fn is_stale(&self, now: MonoTime, collected: MonoTime) -> bool {
        now.since(collected) > self.interval.saturating_mul(STALE_AFTER_INTERVALS)
    }

    /// Reports at the end of a tick.
    pub(crate) fn report(&mut self, now: Now, deadline: Duration) -> CollectorReport {
        let (mut status, mut error) = (self.last, self.error.clone());
        let mut stale = self.samples.as_ref().is_some_and(|(_, at)| self.is_stale(now.mono, at.mono));
        if let Some(run) = &mut self.run {
            let running_for = now.mono.since(run.started);
            // One that was waited for has used up its deadline; another one has it until a later tick.
            if run.awaited || running_for >= deadline {
                (run.awaited, self.overruns) = (false, self.overruns + u64::from(!run.overdue));
                run.overdue = true;
            }
            if run.overdue {
                status = CollectorStatus::Overdue;
                let seconds = running_for.max(deadline).as_secs_f64();
                error = Some(format!("has been running for {seconds:.1} s").into());
            }
        } else if stale && status == CollectorStatus::Ok {
            status = CollectorStatus::Overdue;
            error = Some("its last run is too long ago".into());
        }
        if self.status_since.is_none() || self.status != status {
            (self.status, self.status_since) = (status, Some(now.wall));
        }
        let samples = self.samples.as_ref().filter(|_| !stale).map(|(samples, _)| Arc::clone(samples));
        stale &= status != CollectorStatus::Absent;
        CollectorReport {
            info: Arc::clone(&self.info),
            status,
            fresh: std::mem::take(&mut self.fresh) && samples.is_some(),
            samples,
            collected_at: self.samples.as_ref().map(|(_, at)| (at.mono, at.wall)),
            stale,
            duration: self.duration,
            interval: self.interval,
            error,
            status_since: self.status_since.unwrap_or(now.wall),
            runs: self.runs,
            failures: self.failures,
            overruns: self.overruns,
        }
    }
}

/// A part of the interval that depends on name and seed only (FNV-1a, whose high bits are mixed well enough for this).
fn phase(name: &str, interval: Duration, seed: u64) -> Duration {
    let mut hash = 0xcbf2_9ce4_8422_2325 ^ seed;
    for byte in name.bytes().chain(*b"phase") {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    // Never zero: the first run has just been.
    interval.mul_f64(((hash >> 32) as f64 + 1.0) / (f64::from(u32::MAX) + 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_phase_lies_within_the_interval_and_differs() {
        let interval = Duration::from_secs(15);
        let phases: Vec<Duration> =
            ["sensors", "power", "process", "api"].iter().map(|name| phase(name, interval, 1)).collect();
        assert!(phases.iter().all(|phase| *phase > Duration::ZERO && *phase <= interval), "{phases:?}");
        assert!(
            phases.windows(2).all(|pair| pair[0].abs_diff(pair[1]) > Duration::from_millis(200)),
            "{phases:?}"
        );
        assert_eq!(phase("power", interval, 1), phase("power", interval, 1));
        assert_ne!(phase("power", interval, 1), phase("power", interval, 2));
    }
}
