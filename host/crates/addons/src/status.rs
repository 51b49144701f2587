//! What the outside may know of an addon: plain values, copied out, without locks or wasmtime behind them.

use crate::answers::JobDescription;
use crate::fault::Fault;
use crate::guest::GuestEvent;
use crate::id::AddonId;
use crate::meter::Metered;
use lowtide_core::metric::MetricDef;
use lowtide_core::units::WallTime;
use std::time::Duration;

/// How an addon is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum AddonState {
    /// It is read, checked and compiled.
    Loading,
    /// It has an instance, which is called when it is due.
    Running,
    /// It crashed and will be tried again soon.
    BackingOff,
    /// It crashed too often and is only tried from time to time.
    Quarantined,
    /// The operator switched it off.
    Disabled,
    /// It cannot be loaded; the problem says why.
    Refused,
}

impl AddonState {
    /// All states, in the order of the exposition.
    pub const ALL: [Self; 6] =
        [Self::Loading, Self::Running, Self::BackingOff, Self::Quarantined, Self::Disabled, Self::Refused];

    /// The word in answers and metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Loading => "loading",
            Self::Running => "running",
            Self::BackingOff => "backing_off",
            Self::Quarantined => "quarantined",
            Self::Disabled => "disabled",
            Self::Refused => "refused",
        }
    }
}

/// Something wrong with an addon: a stable word for programs, and a sentence for people that says what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Stable, lower case, joined by underscores.
    pub code: &'static str,
    /// What is wrong and what to do.
    pub text: String,
    /// When it was noticed.
    pub at: WallTime,
}

impl Problem {
    pub(crate) fn of(fault: &Fault, at: WallTime) -> Self {
        Self { code: fault.code(), text: fault.to_string(), at }
    }
}

/// What an addon said of its health.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthView {
    /// `ok`, `warn` or `error`.
    pub status: &'static str,
    /// What it says; empty when all is well.
    pub text: String,
    /// When it was asked last.
    pub checked_at: WallTime,
    /// When it was last well.
    pub ok_at: Option<WallTime>,
}

/// The document of an addon's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatsView {
    /// A JSON object, as the addon wrote it.
    pub json: String,
    /// When it was asked for.
    pub at: WallTime,
}

/// What a job is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum JobState {
    /// Nothing.
    #[default]
    Idle,
    /// Its request waits at the scheduler.
    Waiting,
    /// It runs.
    Running,
    /// It is held still in the middle of its run, since its lease is paused.
    Paused,
}

impl JobState {
    /// The word in answers.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Waiting => "waiting",
            Self::Running => "running",
            Self::Paused => "paused",
        }
    }
}

/// How the last run of a job ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobEnd {
    /// `done`, `stopped`, `failed` or `cut_off`.
    pub outcome: &'static str,
    /// What was done, or why not.
    pub text: String,
    /// When.
    pub at: WallTime,
}

/// One job of an addon.
#[derive(Clone, Debug, PartialEq)]
pub struct JobView {
    /// What the addon says of it.
    pub description: JobDescription,
    /// What it is doing.
    pub state: JobState,
    /// The lease that it waits for or runs under.
    pub lease: Option<String>,
    /// When it is due, or tried again.
    pub due_at: Option<WallTime>,
    /// How its last run ended, since the daemon's start.
    pub last: Option<JobEnd>,
    /// Why it does not run, or did not run well.
    pub problem: Option<Problem>,
}

impl JobView {
    pub(crate) fn new(description: JobDescription) -> Self {
        Self { description, state: JobState::Idle, lease: None, due_at: None, last: None, problem: None }
    }
}

/// One addon, or one file in the folder that cannot be one.
#[derive(Clone, Debug)]
pub struct AddonView {
    /// Its id, or the name of the file or folder that has none.
    pub name: String,
    /// How it is.
    pub state: AddonState,
    /// Since when.
    pub state_since: WallTime,
    /// What is wrong, if anything: why it does not run, or what is wrong with what it sends.
    pub problem: Option<Problem>,
    /// Why a newer file in the folder is not running, while an older one still does.
    pub pending: Option<Problem>,
    /// When it is tried again.
    pub retry_at: Option<WallTime>,
    /// The version in its manifest.
    pub version: Option<String>,
    /// The sentence in its manifest, or what its collector says.
    pub description: Option<String>,
    /// The version of `lowtide:addon` that it was built for.
    pub wit_version: Option<String>,
    /// What it exports.
    pub exports: Vec<&'static str>,
    /// What it imports of ours.
    pub imports: Vec<&'static str>,
    /// What it was made with, if it says so.
    pub made_with: Option<String>,
    /// Size of the component in bytes.
    pub component_bytes: u64,
    /// BLAKE3 of the component, hexadecimal.
    pub digest: Option<String>,
    /// When this daemon first loaded it.
    pub loaded_at: Option<WallTime>,
    /// When the present instance was started.
    pub started_at: Option<WallTime>,
    /// How long the present instance has been running.
    pub uptime: Duration,
    /// Time between two collections.
    pub interval: Option<Duration>,
    /// Limit of its linear memory in bytes.
    pub memory_limit_bytes: u64,
    /// What it has used.
    pub metered: Metered,
    /// Series held.
    pub series: usize,
    /// Lines of its log that were dropped.
    pub log_lines_dropped: u64,
    /// Lines of its log so far.
    pub log_lines: u64,
    /// What it says of its health.
    pub health: Option<HealthView>,
    /// Metrics that it declared.
    pub metrics: Vec<MetricDef>,
    /// Jobs that it described.
    pub jobs: Vec<JobView>,
}

impl AddonView {
    /// A file or folder that cannot be an addon.
    pub(crate) fn refused(name: String, problem: Problem) -> Self {
        Self {
            name,
            state: AddonState::Refused,
            state_since: problem.at,
            problem: Some(problem),
            pending: None,
            retry_at: None,
            version: None,
            description: None,
            wit_version: None,
            exports: Vec::new(),
            imports: Vec::new(),
            made_with: None,
            component_bytes: 0,
            digest: None,
            loaded_at: None,
            started_at: None,
            uptime: Duration::ZERO,
            interval: None,
            memory_limit_bytes: 0,
            metered: Metered::default(),
            series: 0,
            log_lines_dropped: 0,
            log_lines: 0,
            health: None,
            metrics: Vec::new(),
            jobs: Vec::new(),
        }
    }
}

/// What happens to an addon.
#[derive(Clone, Debug, PartialEq)]
pub enum Happening {
    /// Its state changed.
    State {
        /// Which addon.
        addon: String,
        /// Before; `None` when it is new.
        from: Option<AddonState>,
        /// Now; `None` when it was removed.
        to: Option<AddonState>,
        /// Its version.
        version: Option<String>,
        /// Why, if there is a reason.
        problem: Option<Problem>,
    },
    /// It was replaced by another file, or restarted, without a crash.
    Replaced {
        /// Which addon.
        addon: AddonId,
        /// Why: `new_file`, `memory`, `settings`, `reload`, or `rolled_back` when a newer file did not start.
        why: &'static str,
        /// The version now.
        version: Option<String>,
    },
    /// It reported something itself.
    Reported(GuestEvent),
}
