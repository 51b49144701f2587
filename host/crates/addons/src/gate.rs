//! How long a call into a guest may take, measured where it matters: processor time and running time around every poll of the call,
//! compared in the epoch callback. Ticks are not counted, they drift; clocks are compared.

use crate::brake::Brake;
use crate::engine::Ticker;
use lowtide_clock as clock;
use pin_project_lite::pin_project;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

/// What one call may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Budget {
    /// Processor time.
    pub(crate) cpu: Duration,
    /// Time between entering and leaving the guest, without the waits in between.
    pub(crate) running: Duration,
    /// Time in all.
    pub(crate) wall: Duration,
}

/// What the present call has taken so far. Shared between the future that polls the guest and the epoch callback within it, which run
/// on the same thread, one inside the other: plain relaxed atomics do.
#[derive(Debug, Default)]
pub(crate) struct CallClock {
    cpu_ns: AtomicU64,
    running_ns: AtomicU64,
    /// Processor time of the calls before.
    earlier_ns: AtomicU64,
    /// The clocks at the beginning of the poll that is going on.
    poll_cpu_ns: AtomicU64,
    poll_mono_ns: AtomicU64,
}

impl CallClock {
    /// Begins a call.
    pub(crate) fn reset(&self) {
        let before = self.cpu_ns.swap(0, Ordering::Relaxed);
        self.earlier_ns.fetch_add(before, Ordering::Relaxed);
        self.running_ns.store(0, Ordering::Relaxed);
    }

    /// Processor and running time of the polls that are over.
    pub(crate) fn taken(&self) -> (Duration, Duration) {
        (nanos(self.cpu_ns.load(Ordering::Relaxed)), nanos(self.running_ns.load(Ordering::Relaxed)))
    }

    /// Processor time of all calls, without the poll that is going on: polls are short, as a guest yields at each epoch tick.
    pub(crate) fn all(&self) -> Duration {
        nanos(self.earlier_ns.load(Ordering::Relaxed)) + self.taken().0
    }

    /// The same, with the poll that is going on. Only right inside of it.
    pub(crate) fn taken_now(&self) -> (Duration, Duration) {
        let (cpu, running) = self.taken();
        let (now_cpu, now_mono) = (clock::thread_cpu(), clock::mono().0);
        (
            cpu + now_cpu.saturating_sub(nanos(self.poll_cpu_ns.load(Ordering::Relaxed))),
            running + now_mono.saturating_sub(nanos(self.poll_mono_ns.load(Ordering::Relaxed))),
        )
    }

    /// Processor time of all calls, with the poll that is going on. Only right inside of it.
    pub(crate) fn all_now(&self) -> Duration {
        nanos(self.earlier_ns.load(Ordering::Relaxed)) + self.taken_now().0
    }

    fn begin_poll(&self) -> (Duration, Duration) {
        let (cpu, mono) = (clock::thread_cpu(), clock::mono().0);
        self.poll_cpu_ns.store(as_nanos(cpu), Ordering::Relaxed);
        self.poll_mono_ns.store(as_nanos(mono), Ordering::Relaxed);
        (cpu, mono)
    }

    fn end_poll(&self, (cpu, mono): (Duration, Duration)) {
        let used = clock::thread_cpu().saturating_sub(cpu);
        let ran = clock::mono().0.saturating_sub(mono);
        self.cpu_ns.fetch_add(as_nanos(used), Ordering::Relaxed);
        self.running_ns.fetch_add(as_nanos(ran), Ordering::Relaxed);
    }
}

fn nanos(number: u64) -> Duration {
    Duration::from_nanos(number)
}

fn as_nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

pin_project! {
    /// A call into a guest, measured around every poll: around an await it would be wrong, since a task moves between threads.
    pub(crate) struct Measured<F> {
        #[pin]
        inner: F,
        clock: Arc<CallClock>,
        // Told of every poll and not of every call: a guest that waits needs no ticks.
        ticker: Arc<Ticker>,
        brake: Option<Arc<Brake>>,
    }
}

impl<F> Measured<F> {
    /// `brake` is that of the job, if the call is one of a job's instance.
    pub(crate) fn new(
        inner: F,
        clock: Arc<CallClock>,
        ticker: Arc<Ticker>,
        brake: Option<Arc<Brake>>,
    ) -> Self {
        Self { inner, clock, ticker, brake }
    }
}

impl<F: Future> Future for Measured<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let _running = this.ticker.enter();
        let begun = this.clock.begin_poll();
        // One that comes back from a call to the host for a moment, again and again, would never be looked at by the ticker.
        if this.brake.as_ref().is_some_and(|brake| brake.is_due(this.clock)) {
            this.ticker.tick();
        }
        let result = this.inner.poll(context);
        this.clock.end_poll(begun);
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_polls_count_and_they_add_up() {
        let clock = CallClock::default();
        for _ in 0..3 {
            let begun = clock.begin_poll();
            let end = lowtide_clock::thread_cpu() + Duration::from_millis(2);
            while lowtide_clock::thread_cpu() < end {}
            let (cpu, running) = clock.taken_now();
            assert!(cpu >= Duration::from_millis(2) && running >= cpu / 2);
            clock.end_poll(begun);
        }
        let (cpu, running) = clock.taken();
        assert!(
            cpu >= Duration::from_millis(6) && running >= Duration::from_millis(5),
            "{cpu:?} {running:?}"
        );
        let begun = clock.begin_poll();
        assert!(clock.all_now() >= cpu);
        clock.end_poll(begun);
        clock.reset();
        assert_eq!(clock.taken(), (Duration::ZERO, Duration::ZERO));
        let begun = clock.begin_poll();
        assert!(clock.all_now() >= cpu, "what was taken before stays taken");
        clock.end_poll(begun);
    }
}
