//! Why a call into a guest ended badly: the reason as a word for programs and a sentence for people, with what to do next.

use crate::limits;
use std::time::Duration;

/// The reason that an instance was dropped. The instance is gone; the addon may be tried again.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Fault {
    /// Used more processor time than one call may.
    #[error("used {} ms of CPU time in one call of {call}, more than the {} ms allowed; do less in one call", used.as_millis(), allowed.as_millis())]
    CpuTime {
        /// Which export.
        call: &'static str,
        /// What it used.
        used: Duration,
        /// What it may use.
        allowed: Duration,
    },
    /// Ran longer than one call may, not counting waits in host calls.
    #[error("ran for {} ms in one call of {call}, more than the {} ms allowed; do less in one call", used.as_millis(), allowed.as_millis())]
    RunningTime {
        /// Which export.
        call: &'static str,
        /// How long it ran.
        used: Duration,
        /// How long it may run.
        allowed: Duration,
    },
    /// Was not done in time, most of which it waited.
    #[error("{call} was not done after {} s, in which it ran for {} ms; it waits too long (a sleep, a slow server), or the machine is too busy", allowed.as_secs(), ran.as_millis())]
    WallTime {
        /// Which export.
        call: &'static str,
        /// How long a call may take in all.
        allowed: Duration,
        /// How long it ran.
        ran: Duration,
    },
    /// Wanted more memory than it may have, and gave up.
    #[error("wanted more than its {} MiB of memory in {call}; use less, or ask for more with memory_mib in addon.toml", limit_bytes >> 20)]
    Memory {
        /// Which export.
        call: &'static str,
        /// Its limit.
        limit_bytes: u64,
    },
    /// Wanted a larger table than it may have, and gave up.
    #[error(
        "wanted a table of more than {} elements in {call}; keep fewer functions and references in tables",
        limits::TABLE_ELEMENTS_MAX
    )]
    Table {
        /// Which export.
        call: &'static str,
    },
    /// Recursed too deep.
    #[error("used up its stack of {} KiB in {call}; it recurses too deep", limits::STACK_BYTES >> 10)]
    Stack {
        /// Which export.
        call: &'static str,
    },
    /// Passed more data to the host at once than it may: in one host call, or in one result.
    #[error("passed more than {} KiB to the host at once in {call}; send fewer or shorter values", limit_bytes >> 10)]
    HostCallBytes {
        /// Which export.
        call: &'static str,
        /// Its limit.
        limit_bytes: usize,
    },
    /// Called the host too often.
    #[error(
        "made more than {} host calls a second in {call}; call the host less often",
        limits::HOST_CALLS_PER_SECOND
    )]
    HostCallStorm {
        /// Which export.
        call: &'static str,
    },
    /// Holds more handles than it may.
    #[error(
        "holds too many handles in {call} ({} of the host's, {} in all); drop those that are no longer used",
        limits::HOST_RESOURCES_MAX,
        limits::HANDLES_MAX
    )]
    Handles {
        /// Which export.
        call: &'static str,
    },
    /// A trap of its own: a panic, an unreachable instruction, an access out of bounds.
    #[error("trapped in {call}: {trap}")]
    Trap {
        /// Which export.
        call: &'static str,
        /// What happened, where, and its last line on standard error if there was one.
        trap: String,
    },
    /// Broke the contract of the interface.
    #[error("broke the contract in {call}: {what}")]
    Contract {
        /// Which export.
        call: &'static str,
        /// How.
        what: String,
    },
}

impl Fault {
    /// Stable word for programs.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::CpuTime { .. } => "cpu_time",
            Self::RunningTime { .. } => "running_time",
            Self::WallTime { .. } => "wall_time",
            Self::Memory { .. } => "memory",
            Self::Table { .. } => "table",
            Self::Stack { .. } => "stack",
            Self::HostCallBytes { .. } => "host_call_bytes",
            Self::HostCallStorm { .. } => "host_call_storm",
            Self::Handles { .. } => "handles",
            Self::Trap { .. } => "trap",
            Self::Contract { .. } => "contract",
        }
    }
}
