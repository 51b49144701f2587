//! What one addon has used and done since the daemon started, over all its instances. Written by the calls, read by the tick, without
//! locks.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Declares the counters once: the fields, a plain copy of them, and how to read it.
macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// The counters themselves.
        #[derive(Debug, Default)]
        pub(crate) struct Meter {
            $($(#[$doc])* pub(crate) $name: AtomicU64,)*
        }

        /// The counters at one moment.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct Metered {
            $($(#[$doc])* pub $name: u64,)*
        }

        impl Meter {
            /// Reads all counters.
            #[must_use]
            pub(crate) fn read(&self) -> Metered {
                Metered { $($name: self.$name.load(Ordering::Relaxed),)* }
            }
        }
    };
}

counters! {
    /// Processor time in all calls, in nanoseconds.
    cpu_ns,
    /// Time in which a running job was paused, in nanoseconds.
    paused_ns,
    /// Calls of exports that came to an end, good or bad.
    calls,
    /// Time from the begin to the end of those calls, in nanoseconds.
    call_ns,
    /// Calls that answered with a failure of their own.
    failures,
    /// Calls that ended in a fault: the instance was dropped.
    crashes,
    /// Instances started after the first one, for any reason.
    restarts,
    /// Instances replaced because they held too much memory.
    recycles,
    /// Calls from the guest to the host.
    host_calls,
    /// Linear memory of the present instance, in bytes.
    memory_bytes,
    /// Linear memory of the instance that runs a job, in bytes; 0 while none does.
    job_memory_bytes,
    /// The most linear memory that any instance had, in bytes.
    memory_peak_bytes,
    /// Times that more memory was refused.
    memory_refusals,
    /// Events reported.
    events,
    /// Samples of metrics that were not declared.
    dropped_undeclared,
    /// Samples of a series that was given twice in one collection.
    dropped_duplicate,
    /// Samples with the wrong number of labels, a bad name or a bad value.
    dropped_invalid,
    /// Samples beyond the number of series that an addon may have.
    dropped_overflow,
    /// Events beyond the rate.
    dropped_events,
}

impl Meter {
    pub(crate) fn add(counter: &AtomicU64, amount: u64) {
        counter.fetch_add(amount, Ordering::Relaxed);
    }

    /// Counts one call that is over.
    pub(crate) fn call(&self, cpu: Duration, took: Duration) {
        Self::add(&self.calls, 1);
        Self::add(&self.cpu_ns, u64::try_from(cpu.as_nanos()).unwrap_or(u64::MAX));
        Self::add(&self.call_ns, u64::try_from(took.as_nanos()).unwrap_or(u64::MAX));
    }

    /// Adds processor time of a call that goes on.
    pub(crate) fn cpu(&self, cpu: Duration) {
        Self::add(&self.cpu_ns, u64::try_from(cpu.as_nanos()).unwrap_or(u64::MAX));
    }

    /// Adds time in which the running job was paused.
    pub(crate) fn paused(&self, time: Duration) {
        Self::add(&self.paused_ns, u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
    }

    /// Notes how much linear memory the instance that runs a job has.
    pub(crate) fn job_memory(&self, bytes: u64) {
        self.job_memory_bytes.store(bytes, Ordering::Relaxed);
        self.memory_peak_bytes.fetch_max(bytes, Ordering::Relaxed);
    }

    /// Notes how much linear memory the present instance has.
    pub(crate) fn memory(&self, bytes: u64) {
        self.memory_bytes.store(bytes, Ordering::Relaxed);
        self.memory_peak_bytes.fetch_max(bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_add_up_and_the_peak_stays() {
        let meter = Meter::default();
        meter.call(Duration::from_nanos(5), Duration::from_nanos(7));
        meter.call(Duration::from_nanos(5), Duration::from_nanos(7));
        meter.memory(100);
        meter.memory(50);
        let read = meter.read();
        assert_eq!((read.calls, read.cpu_ns, read.call_ns), (2, 10, 14));
        assert_eq!((read.memory_bytes, read.memory_peak_bytes), (50, 100));
    }
}
