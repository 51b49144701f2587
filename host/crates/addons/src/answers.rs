//! What guests answer, in the host's own types: the same for every version of the contract.

use crate::capabilities::LeasePriority;
use crate::recorder::Definition;
use lowtide_core::lease::Constraints;
use std::time::Duration;

/// A failure that a guest reports itself. Not a trap: the instance goes on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// There is nothing to measure on this machine.
    #[error("{0}")]
    Absent(String),
    /// Its settings are missing or wrong.
    #[error("settings: {0}")]
    Config(String),
    /// Something outside did not answer.
    #[error("unavailable: {0}")]
    Unavailable(String),
    /// The host refused something.
    #[error("denied: {0}")]
    Denied(String),
    /// Anything else.
    #[error("{0}")]
    Other(String),
}

/// What a collector says of itself.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Description {
    /// One sentence.
    pub(crate) help: String,
    /// Wished time between two collections; `None` when it is not a span.
    pub(crate) interval: Option<Duration>,
    /// Metrics that it may return.
    pub(crate) metrics: Vec<Definition>,
}

/// Something that is present now.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct PresenceSignal {
    /// What, in a few words.
    pub(crate) what: String,
    /// How much it weighs, as the guest said it.
    pub(crate) weight: f64,
    /// How long it counts.
    pub(crate) lasts: Option<Duration>,
}

/// What a guest says of its health.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Health {
    /// All is well.
    Ok,
    /// Someone should look.
    Warn(String),
    /// It cannot do its work.
    Error(String),
}

/// One kind of job.
#[derive(Clone, Debug, PartialEq)]
pub struct JobDescription {
    /// Name of the kind.
    pub name: String,
    /// One sentence.
    pub help: String,
    /// Units that it takes.
    pub cost_units: u32,
    /// How urgent it is.
    pub priority: LeasePriority,
    /// How long it usually takes; `None` when what it said is not a span.
    pub expected_duration: Option<Duration>,
    /// Which resources it weighs on.
    pub constraints: Constraints,
    /// Wished time between two runs.
    pub every: Option<Duration>,
    /// True when it can be held still.
    pub pausable: bool,
}

/// How a run of a job ended by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It is done; in its own words.
    Done(String),
    /// It stopped early.
    Stopped,
}
