//! The brake of a running job: it holds the guest still in the middle of whatever it computes, or keeps it to a share of one core. Whoever
//! watches over the run sets it, the epoch callback of the guest obeys it.
//!
//! The guest notices nothing but time that has passed: its fiber waits on a future of this file, and goes on where it was. It is never
//! asked, so it cannot refuse; what it does in a call to the host is finished first. It decides nothing about leases.

mod account;

use crate::gate::CallClock;
use account::Account;
use lowtide_clock as clock;
use lowtide_core::units::MonoTime;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;

/// How the guest may run.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Pace {
    /// Not at all for now.
    paused: bool,
    /// Processor time as a share of one core, above 0; 1 is without a bound, since a guest has one thread.
    share: f64,
}

const FREE: Pace = Pace { paused: false, share: 1.0 };

/// Time that something went on, and whether it still does.
#[derive(Clone, Copy, Debug, Default)]
struct Span {
    over: Duration,
    since: Option<MonoTime>,
}

impl Span {
    fn begin(&mut self, now: MonoTime) {
        self.since.get_or_insert(now);
    }

    fn end(&mut self, now: MonoTime) {
        self.over = self.until(now);
        self.since = None;
    }

    fn until(&self, now: MonoTime) -> Duration {
        self.over + self.since.map_or(Duration::ZERO, |since| now.since(since))
    }
}

#[derive(Debug, Default)]
struct Ledger {
    /// What a guest with a bound owes; `None` for one without.
    account: Option<Account>,
    /// The guest waits here, for either reason.
    parked: Span,
    /// It waits because it is paused.
    paused: Span,
    /// Of that, what was counted already.
    counted: Duration,
}

/// See the file's head.
#[derive(Debug)]
pub(crate) struct Brake {
    pace: watch::Sender<Pace>,
    // Held for a few assignments, never across an await.
    ledger: Mutex<Ledger>,
}

impl Default for Brake {
    fn default() -> Self {
        Self { pace: watch::Sender::new(FREE), ledger: Mutex::default() }
    }
}

impl Brake {
    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Pauses the guest, or lets it go on.
    pub(crate) fn pause(&self, paused: bool) {
        self.pace.send_if_modified(|pace| std::mem::replace(&mut pace.paused, paused) != paused);
    }

    /// Keeps the guest to this part of one core: so many units of those that it asked for. All of them are no bound.
    pub(crate) fn limit(&self, units: u32, asked: u32) {
        let share = if units >= asked { 1.0 } else { f64::from(units.max(1)) / f64::from(asked) };
        let changed = self.pace.send_if_modified(|pace| std::mem::replace(&mut pace.share, share) != share);
        if changed && share >= 1.0 {
            self.ledger().account = None;
        }
    }

    /// Lets the guest run as it likes.
    pub(crate) fn release(&self) {
        self.pause(false);
        self.limit(1, 1);
    }

    /// Whether the guest is to be paused.
    pub(crate) fn is_paused(&self) -> bool {
        self.pace.borrow().paused
    }

    /// Whether the guest is to wait at its next look. Only right inside of the poll that `clock` measures.
    pub(crate) fn is_due(&self, clock: &CallClock) -> bool {
        let pace = *self.pace.borrow();
        pace.paused || self.settle(pace, clock).is_some_and(|account| account.is_overdrawn())
    }

    /// What the guest has to wait for now, if it has to. Only right inside of the poll that `clock` measures, as is polling the answer.
    pub(crate) fn obeyed(
        self: &Arc<Self>,
        clock: &Arc<CallClock>,
    ) -> Option<impl Future<Output = ()> + Send + use<>> {
        self.is_due(clock).then(|| Arc::clone(self).park(Arc::clone(clock)))
    }

    /// Waits until the guest may run.
    async fn park(self: Arc<Self>, clock: Arc<CallClock>) {
        let _parked = Parked::begin(&self, |ledger| &mut ledger.parked);
        let mut pace = self.pace.subscribe();
        loop {
            let now = *pace.borrow_and_update();
            if now.paused {
                let _paused = Parked::begin(&self, |ledger| &mut ledger.paused);
                // The other end is in this very brake.
                let _ = pace.wait_for(|pace| !pace.paused).await;
                continue;
            }
            let wait = self.settle(now, &clock).and_then(|account| account.even_in(now.share));
            let Some(wait) = wait else { return };
            let _ = tokio::time::timeout(wait, pace.changed()).await;
        }
    }

    /// Brings the account of a guest with a bound up to date.
    fn settle(&self, pace: Pace, clock: &CallClock) -> Option<Account> {
        if pace.share >= 1.0 {
            return None;
        }
        let (now, cpu) = (clock::mono(), clock.all_now());
        let mut ledger = self.ledger();
        let account = ledger.account.get_or_insert_with(|| Account::open(now, cpu));
        account.settle(now, cpu, pace.share);
        Some(*account)
    }

    /// How long the guest has waited here in all, for whatever reason.
    pub(crate) fn parked(&self) -> Duration {
        self.ledger().parked.until(clock::mono())
    }

    /// For how long it was paused since this was last asked.
    pub(crate) fn take_paused(&self) -> Duration {
        let mut ledger = self.ledger();
        let all = ledger.paused.until(clock::mono());
        let before = std::mem::replace(&mut ledger.counted, all);
        all.saturating_sub(before)
    }
}

/// A span that goes on until this is dropped, also where the guest is cut off.
struct Parked<'a> {
    brake: &'a Brake,
    span: fn(&mut Ledger) -> &mut Span,
}

impl<'a> Parked<'a> {
    fn begin(brake: &'a Brake, span: fn(&mut Ledger) -> &mut Span) -> Self {
        span(&mut brake.ledger()).begin(clock::mono());
        Self { brake, span }
    }
}

impl Drop for Parked<'_> {
    fn drop(&mut self) {
        (self.span)(&mut self.brake.ledger()).end(clock::mono());
    }
}

#[cfg(test)]
pub(crate) mod tests;
