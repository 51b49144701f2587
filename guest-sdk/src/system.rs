//! What the host knows of the machine, as of its newest tick. Reading it measures nothing and costs little.
//!
//! ```
//! # use lowtide_sdk::{system, testing::FakeHost};
//! # FakeHost::new().quiet(80, system::State::Quiet).reading("host_memory_available_bytes", &[], 1e9).run(|| {
//! if system::quiet()?.state == system::State::Quiet {
//!     let memory = system::snapshot(&["host_memory_"])?;
//! #   assert_eq!(memory.value("host_memory_available_bytes"), Some(1e9));
//! }
//! # Ok::<(), system::SystemError>(())
//! # }).unwrap();
//! ```

pub use crate::bindings::borrowed::lowtide::addon::system::{
    Assessment, Reading, State, SystemSnapshot as Snapshot,
};
use crate::host::system as host;
use std::fmt;

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SystemError {
    /// Nothing has been measured yet: the daemon has just started.
    NotYet,
    /// More than 500 readings match; ask for a longer prefix.
    LimitExceeded,
}

impl fmt::Display for SystemError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::NotYet => "the host has not measured anything yet",
            Self::LimitExceeded => "more than 500 readings match; ask for a longer prefix",
        })
    }
}

impl std::error::Error for SystemError {}

/// The newest verdict: how quiet the machine is, and why.
pub fn quiet() -> Result<Assessment, SystemError> {
    host::quiet()
}

/// The newest readings of the metrics whose name begins with one of these prefixes, of the host and of the daemon, at most 500. An
/// empty list asks for nothing.
pub fn snapshot(prefixes: &[&str]) -> Result<Snapshot, SystemError> {
    host::snapshot(prefixes)
}

impl Snapshot {
    /// The value of the first reading of this name.
    pub fn value(&self, name: &str) -> Option<f64> {
        self.readings.iter().find(|reading| reading.name == name).map(|reading| reading.value)
    }
}

impl Reading {
    /// The value of a label.
    pub fn label(&self, key: &str) -> Option<&str> {
        self.labels.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str())
    }
}
