//! Whether now is a quiet time: `assess(snapshot, memory, config) -> QuietAssessment`, a pure function of what was measured
//! and what was remembered.
//!
//! Off at once, on slowly: one raw sample ends QUIET, only a dwell of calm brings it back (symmetric smoothing ran heavy
//! work in 11 to 100 % of a foreground's busy seconds on 1 Hz traces). What is unknown or stale is never quiet; what the
//! host does not have lowers the confidence. docs/adr/004-quiet.md tells where each default comes from.

mod culprit;
mod level;
mod score;
mod signals;

pub use level::Level;
pub(crate) use signals::CPU_PRESSURE_GATE_RATIO;
pub use signals::{Direction, SIGNALS, SignalDef, SignalId};

use crate::limits;
use crate::snapshot::Snapshot;
use crate::units::{MonoTime, WallTime};
use level::{Evidence, LevelMemory};
use serde::Serialize;
use signals::{Reading, SignalMemory};
use std::borrow::Cow;
use std::time::Duration;

/// Thresholds of one signal, in the signal's own unit. Each is met when the value is at it or beyond it in the signal's
/// direction; `None` switches that step off.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Thresholds {
    /// Whether the signal is looked at.
    pub enabled: bool,
    /// The mean over [`QuietConfig::mean_window`] must be short of this for QUIET to begin.
    pub quiet: Option<f64>,
    /// One raw sample at this ends QUIET and starts the dwell anew.
    pub leave: Option<f64>,
    /// One raw sample at this makes the host BUSY.
    pub busy: Option<f64>,
    /// The mean over ten seconds at this makes the host PANIC.
    pub panic: Option<f64>,
}

/// What the verdict depends on besides the measurements.
#[derive(Clone, Debug, PartialEq)]
pub struct QuietConfig {
    /// How long every signal must have been calm before QUIET begins.
    pub dwell: Duration,
    /// How long BUSY lasts after the last busy sample.
    pub busy_hold: Duration,
    /// How long PANIC lasts after all its signals fell to half of their entry values.
    pub panic_hold: Duration,
    /// Length of the mean that the `quiet` thresholds judge, at most 60 s.
    pub mean_window: Duration,
    /// Thresholds by signal.
    pub signals: [Thresholds; SignalId::COUNT],
}

impl Default for QuietConfig {
    fn default() -> Self {
        Self {
            dwell: Duration::from_secs(180),
            busy_hold: Duration::from_secs(60),
            panic_hold: Duration::from_secs(60),
            mean_window: Duration::from_secs(60),
            signals: SIGNALS.each_ref().map(|def| def.default),
        }
    }
}

impl QuietConfig {
    /// Thresholds of one signal.
    #[must_use]
    pub fn of(&self, signal: SignalId) -> &Thresholds {
        // The array has one entry for each signal by its type.
        self.signals.get(signal as usize).unwrap_or(&signals::OFF)
    }
}

/// Something that an addon sees and the numbers do not: someone watches a film, a user is logged in. It can make the host
/// look busier, never quieter.
#[derive(Clone, Debug, PartialEq)]
pub struct Presence {
    /// Who says so.
    pub source: String,
    /// What is present, in a few words.
    pub kind: String,
    /// How much it should weigh, 0 to 1. 1 makes the host BUSY; no presence makes it PANIC.
    pub weight: f64,
}

/// What the assessment must remember from one snapshot to the next. Starts empty.
#[derive(Clone, Debug, Default)]
pub struct QuietMemory {
    signals: SignalMemory,
    level: LevelMemory,
    newest: Option<MonoTime>,
}

/// The verdict of one tick.
#[derive(Clone, Debug, PartialEq)]
pub struct QuietAssessment {
    /// 0 (panic) to 100 (nothing stirs), by the worst signal. QUIET is 70 and above, BUSY 10 to 29, PANIC below 10.
    pub score: u8,
    /// The score of this sample alone, before the state's dwell and holds are applied to it.
    pub instant_score: u8,
    /// The state, after dwell and holds.
    pub state: Level,
    /// When the state began.
    pub since: WallTime,
    /// 0 to 1: how much of what should be known is known.
    pub confidence: f64,
    /// Why, most severe first. Never empty.
    pub reasons: Vec<Reason>,
    /// Every signal with its value or why it has none.
    pub inputs: Vec<SignalInput>,
    /// While the host is on its way to QUIET and nothing else is in the way: how long the dwell still takes.
    pub quiet_in: Option<Duration>,
}

/// One reason for the verdict.
#[derive(Clone, Debug, PartialEq)]
pub struct Reason {
    /// Name of the signal, or `dwell`, `hold`, `calm`, `presence`.
    pub signal: String,
    /// The state that this reason alone would ask for.
    pub level: Level,
    /// The signal's value, in its unit.
    pub value: Option<f64>,
    /// The threshold that was met.
    pub threshold: Option<f64>,
    /// On which side of the threshold harm lies.
    pub direction: Option<Direction>,
    /// The device, mount point, sensor or addon behind it.
    pub subject: Option<String>,
    /// The service, container or process group that uses most of what the signal is about, where one stands out.
    pub culprit: Option<String>,
    /// The same in plain words.
    pub text: String,
}

/// Whether a signal has a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum InputStatus {
    /// Fresh.
    Known,
    /// The host has no such thing; lowers the confidence.
    Absent,
    /// It should be there and is not; never quiet.
    Unknown,
    /// Another signal that says more is there, so this one is only shown.
    Unused,
    /// Switched off by configuration.
    Disabled,
}

/// One signal as the assessment saw it.
#[derive(Clone, Debug, PartialEq)]
pub struct SignalInput {
    /// Which.
    pub signal: SignalId,
    /// Whether it has a value.
    pub status: InputStatus,
    /// The raw value of this sample, in the signal's unit.
    pub value: Option<f64>,
    /// Its mean over the mean window.
    pub mean: Option<f64>,
    /// The device, mount point or sensor that the value comes from.
    pub subject: Option<String>,
    /// This signal's own score, 0 to 100.
    pub score: Option<u8>,
    /// The state that this signal alone asks for.
    pub level: Level,
    /// Why there is no value.
    pub note: Option<String>,
    /// The thresholds in force.
    pub thresholds: Thresholds,
}

/// Judges a snapshot. `memory` carries means, dwell and state from one call to the next; calls must be in the order of the
/// snapshots' monotonic times.
#[must_use]
pub fn assess(
    snapshot: &Snapshot,
    presence: &[Presence],
    memory: &mut QuietMemory,
    config: &QuietConfig,
) -> QuietAssessment {
    let now = snapshot.at.mono;
    forget_after_a_gap(snapshot, memory);
    let readings = signals::read(snapshot, now, config, &mut memory.signals);
    let inputs: Vec<SignalInput> = readings.iter().map(|reading| input(reading, config)).collect();
    let presence = &heaviest(presence);

    let mut reasons: Vec<Reason> = inputs.iter().filter_map(|input| reason(input, snapshot)).collect();
    reasons.extend(no_io_signal(&inputs));
    reasons.extend(presence.iter().filter_map(presence_reason));
    let evidence = Evidence {
        instant: reasons.iter().map(|reason| reason.level).max().unwrap_or(Level::Quiet),
        mean_calm: readings.iter().all(|reading| reading.mean_is_calm(config)),
        busy_held: readings.iter().any(|reading| reading.holds_busy(config)) || presence_is_busy(presence),
        panic_held: readings.iter().any(|reading| reading.holds_panic(config)),
    };
    let verdict = level::step(now, snapshot.at.wall, &evidence, &mut memory.level, config);
    reasons.extend(verdict.reasons(now, config));
    reasons.sort_by_key(|reason| std::cmp::Reverse(reason.level));

    let instant_score = score::instant(&inputs, presence, evidence.instant);
    QuietAssessment {
        score: score::within(verdict.state, instant_score),
        instant_score,
        state: verdict.state,
        since: verdict.since,
        confidence: score::confidence(&inputs, memory.signals.coverage(now, config)),
        reasons,
        inputs,
        quiet_in: verdict.quiet_in,
    }
}

/// At most [`limits::PRESENCE_MAX`] of them, the heaviest first: many who say nothing must not hide one who says much.
fn heaviest(presence: &[Presence]) -> Cow<'_, [Presence]> {
    if presence.len() <= limits::PRESENCE_MAX {
        return Cow::Borrowed(presence);
    }
    let mut sorted = presence.to_vec();
    // NaN counts as the heaviest: unknown is never quiet.
    let weight = |one: &Presence| if one.weight.is_nan() { f64::INFINITY } else { one.weight };
    sorted.sort_by(|one, other| weight(other).total_cmp(&weight(one)));
    sorted.truncate(limits::PRESENCE_MAX);
    Cow::Owned(sorted)
}

/// After a hole in the samples (suspend, a stopped process) nothing that was remembered says anything about now.
fn forget_after_a_gap(snapshot: &Snapshot, memory: &mut QuietMemory) {
    let now = snapshot.at.mono;
    let longest = snapshot.interval * limits::STALE_AFTER_INTERVALS;
    if memory.newest.is_some_and(|newest| now.since(newest) > longest) {
        memory.signals = SignalMemory::default();
        memory.level.forget_calm();
    }
    memory.newest = Some(now);
}

fn input(reading: &Reading, config: &QuietConfig) -> SignalInput {
    let thresholds = *config.of(reading.signal);
    let (value, subject) = match &reading.value {
        Ok(known) => (Some(known.raw), known.subject.clone()),
        Err(_) => (None, None),
    };
    SignalInput {
        signal: reading.signal,
        status: reading.status(),
        value,
        mean: reading.mean,
        subject,
        score: reading
            .counts()
            .then(|| value.map(|value| score::of(reading.signal, value, &thresholds)))
            .flatten(),
        level: reading.level(config),
        note: reading.note(),
        thresholds,
    }
}

fn reason(input: &SignalInput, snapshot: &Snapshot) -> Option<Reason> {
    if input.level == Level::Quiet {
        return None;
    }
    let def = input.signal.def();
    let threshold = match input.level {
        Level::Panic => input.thresholds.panic,
        Level::Busy => input.thresholds.busy,
        Level::Normal | Level::Quiet => input.thresholds.leave,
    };
    let Some(value) = input.value else {
        let note = input.note.as_deref().unwrap_or("no value");
        return Some(Reason {
            signal: def.name.to_owned(),
            level: input.level,
            value: None,
            threshold: None,
            direction: Some(def.direction),
            subject: None,
            culprit: None,
            text: format!("{} is unknown, and unknown is never quiet: {note}", def.label),
        });
    };
    let subject = input.subject.as_deref().map(|subject| format!(" ({subject})")).unwrap_or_default();
    let limit = threshold.map(|threshold| def.format(threshold)).unwrap_or_default();
    let culprit = culprit::find(snapshot, input.signal);
    let mostly = culprit.as_ref().map(culprit::Culprit::words).unwrap_or_default();
    Some(Reason {
        signal: def.name.to_owned(),
        level: input.level,
        value: Some(value),
        threshold,
        direction: Some(def.direction),
        subject: input.subject.clone(),
        text: format!(
            "{}{subject} {} {} {limit}{mostly}",
            def.label,
            def.format(value),
            def.direction.sign()
        ),
        culprit: culprit.map(|culprit| culprit.name),
    })
}

/// A host whose disks say nothing at all may be thrashing: without any I/O signal it is never quiet.
fn no_io_signal(inputs: &[SignalInput]) -> Option<Reason> {
    let io: Vec<&SignalInput> = inputs.iter().filter(|input| input.signal.def().tells_io).collect();
    let deaf = io.iter().any(|input| input.status == InputStatus::Absent)
        && !io.iter().any(|input| matches!(input.status, InputStatus::Known | InputStatus::Unknown));
    deaf.then(|| Reason {
        signal: SignalId::DiskBusy.def().name.to_owned(),
        level: Level::Normal,
        value: None,
        threshold: None,
        direction: None,
        subject: None,
        culprit: None,
        text: "neither I/O pressure nor disk busy time can be read here, and unknown is never quiet (disable both signals to accept that)".into(),
    })
}

fn presence_reason(presence: &Presence) -> Option<Reason> {
    let level = score::presence_level(presence);
    (level > Level::Quiet).then(|| Reason {
        signal: "presence".into(),
        level,
        value: Some(presence.weight.clamp(0.0, 1.0)),
        threshold: None,
        direction: Some(Direction::Above),
        subject: Some(presence.source.clone()),
        culprit: None,
        text: format!("{} reports {}", presence.source, presence.kind),
    })
}

fn presence_is_busy(presence: &[Presence]) -> bool {
    presence.iter().any(|one| score::presence_level(one) == Level::Busy)
}

#[cfg(test)]
mod tests;
