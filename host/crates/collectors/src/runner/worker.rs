//! The thread of one collector: waits for a start, runs, catches a panic, sends back what came of it. It knows nothing of
//! intervals and of the other collectors. The runner's slots start it.

use crate::collector::{CollectError, Collector};
use lowtide_clock as clock;
use lowtide_core::metric::SampleBuffer;
use lowtide_core::report::Samples;
use lowtide_core::units::Now;
use std::any::Any;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

/// Stack of a collector's thread: they nest little and keep their buffers on the heap.
const STACK_BYTES: usize = 256 << 10;

/// The order to run once.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Start {
    /// The time of the tick.
    pub(crate) now: Now,
    /// A run that took longer cannot say at which moment its counters were read, and is not used.
    pub(crate) trusted_for: Duration,
}

/// How a run ended.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// With samples.
    Sampled(Arc<Samples>),
    /// The host has no such thing.
    Absent(String),
    /// With an error, a panic, or too late.
    Failed(String),
}

/// A run that is over.
#[derive(Debug)]
pub(crate) struct Finished {
    /// Place of the collector in the table.
    pub(crate) index: usize,
    /// The time of the tick that started it.
    pub(crate) started: Now,
    /// How long it took.
    pub(crate) duration: Duration,
    /// How it ended.
    pub(crate) outcome: Outcome,
}

/// Starts the thread and gives the way to its inbox. The inbox holds one order: there is never more than one run at a time.
///
/// # Errors
/// When the system gives no more threads.
pub(crate) fn spawn(
    index: usize,
    name: &str,
    collector: Box<dyn Collector>,
    done: SyncSender<Finished>,
) -> io::Result<SyncSender<Start>> {
    let (starter, inbox) = sync_channel(1);
    let builder = thread::Builder::new().name(format!("lt-{name}")).stack_size(STACK_BYTES);
    // Nobody joins it: a hung one could never be joined, and the others end by themselves when the runner is dropped.
    builder.spawn(move || work(index, collector, &inbox, &done))?;
    Ok(starter)
}

fn work(
    index: usize,
    mut collector: Box<dyn Collector>,
    inbox: &Receiver<Start>,
    done: &SyncSender<Finished>,
) {
    let mut buffer = SampleBuffer::new();
    let mut successes = 0_u32;
    // Ends when the runner is gone.
    while let Ok(Start { now: started, trusted_for }) = inbox.recv() {
        let begun = clock::mono();
        buffer.begin();
        // A collector that panicked is run again: its state is counters and open files, which the next run reads afresh.
        let run = catch_unwind(AssertUnwindSafe(|| collector.collect(started.mono, &mut buffer)));
        let duration = clock::mono().since(begun);
        // A failure may have made the collector forget what its rates are over.
        let sampled = matches!(run, Ok(Ok(()))) && duration <= trusted_for;
        successes = if sampled { successes.saturating_add(1) } else { 0 };
        let outcome = match run {
            Err(panic) => Outcome::Failed(format!("panicked: {}", panic_text(&*panic))),
            Ok(Err(CollectError::Absent(why))) => Outcome::Absent(why),
            Ok(Err(error)) => Outcome::Failed(error.chain()),
            Ok(Ok(())) if duration > trusted_for => {
                let seconds = duration.as_secs_f64();
                Outcome::Failed(format!(
                    "took {seconds:.1} s, so nobody knows which moment its values are of"
                ))
            }
            Ok(Ok(())) => {
                let (series, values) = (buffer.layout(), buffer.values().into());
                Outcome::Sampled(Arc::new(Samples {
                    series,
                    values,
                    dropped: buffer.dropped(),
                    settled: successes >= 2,
                }))
            }
        };
        if duration > trusted_for {
            // A panic here is as good as one above: the run has failed already.
            let _ = catch_unwind(AssertUnwindSafe(|| collector.forget()));
        }
        if done.send(Finished { index, started, duration, outcome }).is_err() {
            return;
        }
    }
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("without a message")
}
