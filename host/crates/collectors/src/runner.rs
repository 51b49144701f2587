//! Runs every collector on a thread of its own, so that one that hangs, panics or is slow costs the others nothing, and makes
//! one report for each at every tick. It measures nothing itself, and decides nothing about the host. `app`'s tick calls it.

mod slot;
mod worker;

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests;

use crate::collector::Entry;
use lowtide_clock as clock;
use lowtide_core::report::CollectorReport;
use lowtide_core::units::Now;
use slot::Slot;
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;
use worker::Finished;

/// All collectors with their threads. Dropping it stops the threads: idle ones end at once, one that hangs ends when its
/// collector comes back.
#[derive(Debug)]
pub struct Runner {
    slots: Vec<Slot>,
    /// What the threads send when a run is over. It has room for one run of each, and none of them has more than one at a
    /// time: so sending never waits, and a thread that comes back late finds its place.
    finished: Receiver<Finished>,
}

impl Runner {
    /// Starts a thread for each collector. Those whose interval is not longer than `tick` run at every tick. `seed` moves the slow ones apart in time, so that they do not all run at the same tick;
    /// with the same seed they run at the same ticks. A thread that cannot be started is a collector that fails.
    #[must_use]
    pub fn new(entries: Vec<Entry>, tick: Duration, seed: u64) -> Self {
        let (sender, finished) = sync_channel(entries.len().max(1));
        let slots = entries.into_iter().enumerate().map(|(index, entry)| {
            let every_tick = entry.interval <= tick;
            Slot::new(index, entry, every_tick, seed, sender.clone())
        });
        Self { slots: slots.collect(), finished }
    }

    /// One tick: starts every collector that is due, waits until those with the tick's own interval are done, at most for
    /// `deadline`, and reports on all of them, in the order of the table. Slower ones are not waited for (their samples come
    /// with a later tick) unless they have no usable samples yet, as at the very first tick or after a suspend.
    pub fn tick(&mut self, now: Now, deadline: Duration) -> Vec<CollectorReport> {
        while let Ok(finished) = self.finished.try_recv() {
            self.take(finished);
        }
        for slot in &mut self.slots {
            slot.start_if_due(now, deadline);
        }
        let end = clock::mono().plus(deadline);
        while self.slots.iter().any(Slot::is_awaited) {
            let left = end.since(clock::mono());
            match self.finished.recv_timeout(left) {
                Ok(finished) => self.take(finished),
                Err(_) => break,
            }
        }
        self.slots.iter_mut().map(|slot| slot.report(now, deadline)).collect()
    }

    fn take(&mut self, finished: Finished) {
        if let Some(slot) = self.slots.get_mut(finished.index) {
            slot.take(finished);
        }
    }
}
