//! The nouns of the scheduler: who asks for what, what a lease is, and how it ends. Plain data; what is serialised here is what the audit
//! log and the file of leases hold.

use crate::quiet::Level;
use crate::units::WallTime;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// A shared text.
pub type Text = Arc<str>;

/// Which lease, from the request on and for ever. Grows by one with each request that is queued or granted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LeaseId(pub u64);

/// A number that grows with every grant, for ever: a store that remembers the highest it has seen can refuse an old holder
/// (Kleppmann, "How to do distributed locking", 2016).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Token(pub u64);

/// What clients call a lease: its number and a secret part, so that it cannot be guessed. Written `<number>-<16 hex digits>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LeaseName {
    /// The number.
    pub id: LeaseId,
    /// The part that cannot be guessed.
    pub secret: u64,
}

impl fmt::Display for LeaseName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{:016x}", self.id.0, self.secret)
    }
}

impl LeaseName {
    /// Reads what [`Display`](fmt::Display) writes, and nothing else; `None` for any other text.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (number, secret) = text.split_once('-')?;
        let digits = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
        let hex = secret.len() == 16 && secret.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        (digits && hex).then_some(())?;
        Some(Self { id: LeaseId(number.parse().ok()?), secret: u64::from_str_radix(secret, 16).ok()? })
    }
}

/// How urgent the work is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Priority {
    /// Runs when nothing else wants to.
    Low,
    /// As usual.
    #[default]
    Normal,
    /// Need not wait until it is quiet; never starts in PANIC.
    High,
}

impl Priority {
    /// All, from low to high.
    pub const ALL: [Self; 3] = [Self::Low, Self::Normal, Self::High];

    /// The word in JSON and on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Low => "LOW",
            Self::Normal => "NORMAL",
            Self::High => "HIGH",
        }
    }
}

/// Which resources the work weighs on. None of them: all signals of the host matter to it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(default)]
pub struct Constraints {
    /// It computes.
    pub cpu_heavy: bool,
    /// It writes to disks.
    pub disk_write_heavy: bool,
    /// It sends or receives much.
    pub network_heavy: bool,
}

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// Who.
    pub holder: Text,
    /// What the work is.
    pub job_type: Text,
    /// Units of the host's capacity, 1 to [`COST_UNITS_MAX`](crate::limits::COST_UNITS_MAX).
    pub units: u32,
    /// How urgent.
    pub priority: Priority,
    /// How long it is expected to take.
    #[serde(with = "millis")]
    pub expected_duration: Duration,
    /// What it weighs on.
    pub constraints: Constraints,
    /// Whether it can stand still in the middle.
    pub pausable: bool,
    /// How long it may stand still at most.
    #[serde(with = "millis")]
    pub max_freeze: Duration,
    /// "Run anyway by": so long after the request the work must have ended, quiet or not.
    #[serde(with = "maybe_millis", default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Duration>,
    /// Whether it waits in the queue when it cannot be granted at once.
    pub wait: bool,
    /// How long it waits at most; absent: for as long as it takes.
    #[serde(with = "maybe_millis", default, skip_serializing_if = "Option::is_none")]
    pub wait_max: Option<Duration>,
    /// Names this request among the holder's: the same key with the same request is the same lease.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<Text>,
    /// The most units that the leases of its owner may take together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner_units_max: Option<u32>,
}

impl Request {
    /// Who stands behind the holder: what its name has before the first `/`. The holders of one token begin with its name.
    #[must_use]
    pub fn owner(&self) -> &str {
        self.holder.split('/').next().unwrap_or_default()
    }
}

/// Why a request is answered as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rule {
    /// It is quiet, and there is room.
    Quiet,
    /// Its priority is HIGH.
    HighPriority,
    /// What disturbs the host does not matter to this kind of work.
    NotAffected,
    /// It must end by its deadline and would not if it waited longer.
    Deadline,
    /// The operator allows it now, by an override or a window.
    Allowed,
    /// The operator forbids it now, by an override or a window.
    Blocked,
    /// The host is in PANIC.
    Panic,
    /// The host was in PANIC a short while ago.
    CoolDown,
    /// The host is not quiet.
    NotQuiet,
    /// Nothing fresh is known of the host.
    Unknown,
    /// Others hold too many units.
    Capacity,
    /// More leases than may be at once, in all or of this holder.
    Concurrency,
    /// An earlier one waits for the units that are free.
    Reserved,
    /// This holder asks too often.
    Rate,
    /// The queue is full.
    QueueFull,
}

impl Rule {
    /// All.
    pub const ALL: [Self; 15] = [
        Self::Quiet,
        Self::HighPriority,
        Self::NotAffected,
        Self::Deadline,
        Self::Allowed,
        Self::Blocked,
        Self::Panic,
        Self::CoolDown,
        Self::NotQuiet,
        Self::Unknown,
        Self::Capacity,
        Self::Concurrency,
        Self::Reserved,
        Self::Rate,
        Self::QueueFull,
    ];

    /// True for the rules by which a lease is granted.
    #[must_use]
    pub fn grants(self) -> bool {
        matches!(self, Self::Quiet | Self::HighPriority | Self::NotAffected | Self::Deadline | Self::Allowed)
    }

    /// Stable word for programs.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Quiet => "quiet",
            Self::HighPriority => "high_priority",
            Self::NotAffected => "not_affected",
            Self::Deadline => "deadline",
            Self::Allowed => "allowed",
            Self::Blocked => "blocked",
            Self::Panic => "panic",
            Self::CoolDown => "cool_down",
            Self::NotQuiet => "not_quiet",
            Self::Unknown => "unknown",
            Self::Capacity => "capacity",
            Self::Concurrency => "concurrency",
            Self::Reserved => "reserved",
            Self::Rate => "rate",
            Self::QueueFull => "queue_full",
        }
    }
}

/// One reason of a decision: as in the verdict, or of the scheduler itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Cause {
    /// The signal's name; or the rule's word, when the scheduler itself is the reason.
    pub signal: Text,
    /// The signal's value, in its unit; or what is in use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<f64>,
    /// The threshold that was met; or how much there is in all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub threshold: Option<f64>,
    /// The same in words.
    pub text: Text,
}

/// What a decision was made on: enough to judge it afterwards.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Decision {
    /// By which rule.
    pub rule: Rule,
    /// Number of the snapshot; absent when there was none.
    pub sequence: Option<u64>,
    /// The host's score at that snapshot.
    pub score: Option<u8>,
    /// The host's state at that snapshot.
    pub level: Option<Level>,
    /// Units held when it was made.
    pub used: u32,
    /// Units that could be held when it was made.
    pub capacity: u32,
    /// Why, most important first. Never empty.
    pub reasons: Arc<[Cause]>,
    /// When it is worth asking again; absent for a grant.
    #[serde(with = "maybe_millis", default, skip_serializing_if = "Option::is_none")]
    pub retry_after: Option<Duration>,
}

/// What the work used, as its holder tells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Usage {
    /// Processor time in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_seconds: Option<f64>,
    /// Bytes read from disks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub read_bytes: Option<u64>,
    /// Bytes written to disks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub written_bytes: Option<u64>,
}

/// How far the work is, as its holder tells.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Progress {
    /// Share that is done, 0 to 1.
    pub done_ratio: Option<f64>,
    /// What is being done.
    pub note: Text,
    /// What it used so far.
    pub usage: Usage,
}

/// How a lease ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "how")]
pub enum Ending {
    /// Its holder gave it back and says that the work is done.
    Released {
        /// The holder's words.
        #[serde(default, skip_serializing_if = "str::is_empty")]
        note: Text,
        /// What it used.
        #[serde(default)]
        usage: Usage,
    },
    /// Its holder gave it back and says that the work failed.
    Failed {
        /// The holder's words.
        #[serde(default)]
        note: Text,
        /// What it used.
        #[serde(default)]
        usage: Usage,
    },
    /// Its holder was silent for too long.
    Expired,
    /// It was taken back, and its holder gave it back or had the time to.
    Revoked {
        /// Why it was taken back.
        why: Text,
        /// False when its time ran out before its holder gave it back.
        obeyed: bool,
    },
    /// It was still waiting, and is no longer wanted.
    Cancelled {
        /// Why.
        why: Text,
    },
    /// It was still waiting, and its time to wait was over.
    TimedOut,
}

impl Ending {
    /// Stable word for programs.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Released { .. } => "released",
            Self::Failed { .. } => "failed",
            Self::Expired => "expired",
            Self::Revoked { .. } => "revoked",
            Self::Cancelled { .. } => "cancelled",
            Self::TimedOut => "timed_out",
        }
    }

    /// All words.
    pub const WORDS: [&'static str; 6] =
        ["released", "failed", "expired", "revoked", "cancelled", "timed_out"];
}

/// What a lease is doing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "phase")]
pub enum Phase {
    /// Waiting.
    Queued,
    /// Held.
    Active {
        /// Its token.
        token: Token,
        /// When it was granted.
        granted: WallTime,
        /// By which rule: work that may run in spite of a busy host is not disturbed by it either.
        by: Rule,
        /// Units that it counts for.
        units: u32,
        /// Since when it stands still, if the scheduler asked for that.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        paused: Option<WallTime>,
    },
    /// Held, and to be given back.
    Revoking {
        /// Its token.
        token: Token,
        /// When it was granted.
        granted: WallTime,
        /// Units that it counts for.
        units: u32,
        /// Since when.
        since: WallTime,
        /// How much time its holder has.
        #[serde(with = "millis")]
        grace: Duration,
        /// Why it is to be given back.
        why: Text,
    },
    /// Over. Nothing follows it.
    Ended {
        /// When.
        at: WallTime,
        /// When it was granted, if it was.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        granted: Option<WallTime>,
        /// Its token, if it was granted.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        token: Option<Token>,
        /// How.
        ending: Ending,
    },
}

/// A lease, a request that waits, or one that is over.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Lease {
    /// Its number.
    pub id: LeaseId,
    /// The part of its name that cannot be guessed.
    pub secret: u64,
    /// What was asked for.
    pub request: Request,
    /// When it was asked for.
    pub requested: WallTime,
    /// Number of its first event.
    pub first_event: u64,
    /// Number of its newest event.
    pub last_event: u64,
    /// What it was granted or queued on.
    pub decision: Decision,
    /// What it is doing.
    #[serde(flatten)]
    pub phase: Phase,
}

impl Lease {
    /// What clients call it.
    #[must_use]
    pub fn name(&self) -> LeaseName {
        LeaseName { id: self.id, secret: self.secret }
    }

    /// Units that count against the capacity: 0 while it waits and after it ended.
    #[must_use]
    pub fn held_units(&self) -> u32 {
        match self.phase {
            Phase::Active { units, .. } | Phase::Revoking { units, .. } => units,
            Phase::Queued | Phase::Ended { .. } => 0,
        }
    }

    /// True while its units count.
    #[must_use]
    pub fn is_held(&self) -> bool {
        matches!(self.phase, Phase::Active { .. } | Phase::Revoking { .. })
    }

    /// True while it waits.
    #[must_use]
    pub fn is_queued(&self) -> bool {
        matches!(self.phase, Phase::Queued)
    }

    /// Its token, once it was granted.
    #[must_use]
    pub fn token(&self) -> Option<Token> {
        match &self.phase {
            Phase::Active { token, .. } | Phase::Revoking { token, .. } => Some(*token),
            Phase::Ended { token, .. } => *token,
            Phase::Queued => None,
        }
    }

    /// When it was granted, if it was.
    #[must_use]
    pub fn granted(&self) -> Option<WallTime> {
        match &self.phase {
            Phase::Active { granted, .. } | Phase::Revoking { granted, .. } => Some(*granted),
            Phase::Ended { granted, .. } => *granted,
            Phase::Queued => None,
        }
    }

    /// Stable word for what it is doing: `queued`, `active`, `paused`, `revoking`, or how it ended.
    #[must_use]
    pub fn state(&self) -> &'static str {
        match &self.phase {
            Phase::Queued => "queued",
            Phase::Active { paused: Some(_), .. } => "paused",
            Phase::Active { .. } => "active",
            Phase::Revoking { .. } => "revoking",
            Phase::Ended { ending, .. } => ending.word(),
        }
    }
}

/// One thing that happened to a lease, or to what all leases depend on. Applying the events in order gives the ledger.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "event")]
pub enum Event {
    /// A request waits.
    Queued {
        /// Its number.
        id: LeaseId,
        /// The part of its name that cannot be guessed.
        secret: u64,
        /// What is asked for.
        request: Request,
        /// Why it waits.
        decision: Decision,
    },
    /// A lease is granted.
    Granted {
        /// Its number.
        id: LeaseId,
        /// Its token.
        token: Token,
        /// What was asked for and the part of its name that cannot be guessed; absent when it was queued before.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        asked: Option<(u64, Request)>,
        /// Why it is granted.
        decision: Decision,
    },
    /// A lease is asked to stand still.
    Paused {
        /// Its number.
        id: LeaseId,
        /// Why.
        why: Text,
    },
    /// A lease may go on.
    Resumed {
        /// Its number.
        id: LeaseId,
    },
    /// A lease counts for this many units from now on.
    Resized {
        /// Its number.
        id: LeaseId,
        /// Its units now.
        units: u32,
        /// Why.
        why: Text,
    },
    /// A lease is to be given back within a time; until then it counts.
    Revoking {
        /// Its number.
        id: LeaseId,
        /// Why.
        why: Text,
        /// How much time its holder has.
        #[serde(with = "millis")]
        grace: Duration,
    },
    /// A lease, or a request that waits, is over.
    Ended {
        /// Its number.
        id: LeaseId,
        /// How.
        ending: Ending,
    },
    /// The operator's switch was set or taken away.
    Overridden {
        /// What holds now.
        switch: Option<Override>,
    },
    /// The operator's windows were replaced.
    Windows {
        /// What holds now.
        windows: Vec<Window>,
    },
    /// The daemon has started with what was stored: every holder has a time of grace to be heard again.
    Restarted {
        /// Tokens go on after this one.
        token: Token,
        /// Number of the life of the store: one more each time it was found to be older than what was given out from it.
        epoch: u32,
    },
}

impl Event {
    /// The lease that it is about.
    #[must_use]
    pub fn lease(&self) -> Option<LeaseId> {
        match self {
            Self::Queued { id, .. }
            | Self::Granted { id, .. }
            | Self::Paused { id, .. }
            | Self::Resumed { id }
            | Self::Resized { id, .. }
            | Self::Revoking { id, .. }
            | Self::Ended { id, .. } => Some(*id),
            Self::Overridden { .. } | Self::Windows { .. } | Self::Restarted { .. } => None,
        }
    }

    /// Stable word for programs.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Queued { .. } => "queued",
            Self::Granted { .. } => "granted",
            Self::Paused { .. } => "paused",
            Self::Resumed { .. } => "resumed",
            Self::Resized { .. } => "resized",
            Self::Revoking { .. } => "revoking",
            Self::Ended { .. } => "ended",
            Self::Overridden { .. } => "overridden",
            Self::Windows { .. } => "windows",
            Self::Restarted { .. } => "restarted",
        }
    }
}

/// An event with its place in the audit log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// Its number, from 1, without gaps.
    pub sequence: u64,
    /// When, for display.
    pub at: WallTime,
    /// What.
    #[serde(flatten)]
    pub event: Event,
}

/// What the operator's switch says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Nothing starts.
    Block,
    /// What would wait for QUIET need not. PANIC still denies.
    Allow,
}

/// The operator's switch. The daemon never takes away one that has no end of its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Override {
    /// What it says.
    pub mode: Mode,
    /// Who set it.
    pub owner: Text,
    /// Why.
    pub reason: Text,
    /// When it was set.
    pub set: WallTime,
    /// When it ends by itself; absent: when it is taken away.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<WallTime>,
}

/// A time of the week in which heavy work always or never starts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    /// What people call it.
    pub name: Text,
    /// `Allow`: always, PANIC excepted. `Block`: never.
    pub mode: Mode,
    /// Days on which it begins, Monday first.
    pub days: [bool; 7],
    /// Minute of the day, local time, at which it begins.
    pub from: u16,
    /// Minute of the day at which it ends; at or before `from`: on the next day.
    pub to: u16,
}

/// Durations as whole milliseconds.
mod millis {
    use serde::{Deserialize as _, Deserializer, Serializer};
    use std::time::Duration;

    pub(super) fn serialize<S: Serializer>(duration: &Duration, out: S) -> Result<S::Ok, S::Error> {
        out.serialize_u64(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(input: D) -> Result<Duration, D::Error> {
        u64::deserialize(input).map(Duration::from_millis)
    }
}

/// The same for those that may be absent.
mod maybe_millis {
    use serde::{Deserialize as _, Deserializer, Serializer};
    use std::time::Duration;

    #[expect(clippy::ref_option, reason = "serde's signature")]
    pub(super) fn serialize<S: Serializer>(duration: &Option<Duration>, out: S) -> Result<S::Ok, S::Error> {
        match duration {
            Some(duration) => super::millis::serialize(duration, out),
            None => out.serialize_none(),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(input: D) -> Result<Option<Duration>, D::Error> {
        Option::<u64>::deserialize(input).map(|millis| millis.map(Duration::from_millis))
    }
}
