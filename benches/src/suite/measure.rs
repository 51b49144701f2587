//! How things are timed on a shared machine: what is compared runs in turns, in short batches, each turn in processor time of its
//! own thread, and medians of many turns are told. Wall time is never a figure here.

use lowtide_clock as clock;
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

/// The middle of the values; the mean of the middle two would say nothing more for the numbers of turns taken here.
pub(crate) fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

pub(crate) fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

/// Waits. A condition that nobody ever meets, with a deadline: spacing is what is asked for, not the end of some work.
pub(crate) fn pause(length: Duration) {
    let (never, wake) = (Mutex::new(()), Condvar::new());
    let end = clock::mono().plus(length);
    let mut held = never.lock().unwrap_or_else(PoisonError::into_inner);
    loop {
        let left = end.since(clock::mono());
        if left.is_zero() {
            return;
        }
        held = wake.wait_timeout(held, left).unwrap_or_else(PoisonError::into_inner).0;
    }
}

/// How turns are taken.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) rounds: usize,
    /// Calls in one turn.
    pub(crate) batch: usize,
    /// Time before each turn: what a daemon's caches go through between two ticks.
    pub(crate) spacing: Duration,
}

/// Microseconds of processor time a call, for each work and round.
#[derive(Debug)]
pub(crate) struct Turns<const N: usize>([Vec<f64>; N]);

impl<const N: usize> Turns<N> {
    /// The median of one work.
    pub(crate) fn of(&self, work: usize) -> f64 {
        median(self.0.get(work).into_iter().flatten().copied())
    }

    /// The median of the ratio of two works within a round.
    pub(crate) fn ratio(&self, work: usize, to: usize) -> f64 {
        let turns = |work: usize| self.0.get(work).into_iter().flatten();
        median(turns(work).zip(turns(to)).map(|(one, other)| one / other))
    }
}

/// Runs works in turns on this thread. `cpu` is the clock: the thread's, or the process's for work that has threads.
pub(crate) fn in_turns<const N: usize>(
    plan: Plan,
    cpu: fn() -> Duration,
    mut works: [&mut dyn FnMut(); N],
) -> Turns<N> {
    // Opens files, fills buffers, loads code.
    for work in &mut works {
        (0..3).for_each(|_| work());
    }
    let mut turns = Turns([const { Vec::new() }; N]);
    for _ in 0..plan.rounds {
        // Always in the same order, so that each has the same time between two of its own turns.
        for (work, times) in works.iter_mut().zip(&mut turns.0) {
            if !plan.spacing.is_zero() {
                pause(plan.spacing);
            }
            let begun = cpu();
            (0..plan.batch).for_each(|_| work());
            #[expect(clippy::cast_precision_loss, reason = "a batch is a few hundred calls")]
            times.push(micros(cpu().saturating_sub(begun)) / plan.batch as f64);
        }
    }
    turns
}
