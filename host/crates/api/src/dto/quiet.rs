//! The verdict, whole.

use super::{rfc3339, seconds};
use lowtide_core::quiet::{Direction, InputStatus, Level, QuietAssessment, Reason, SignalInput};
use lowtide_core::state::HostState;
use serde::Serialize;
use std::collections::BTreeMap;
use utoipa::ToSchema;

/// Whether now is a quiet time, and why.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Quiet {
    /// Number of the tick that was judged.
    sequence: u64,
    /// When, RFC 3339 UTC.
    #[schema(format = "date-time")]
    assessed_at: String,
    /// 0 (panic) to 100 (nothing stirs), by the worst signal. QUIET is 70 and above, BUSY 10 to 29, PANIC below 10.
    #[schema(maximum = 100)]
    score: u8,
    /// The score of this sample alone, before dwell and holds.
    #[schema(maximum = 100)]
    instant_score: u8,
    /// QUIET, NORMAL, BUSY or PANIC.
    #[schema(value_type = String, example = "NORMAL")]
    state: Level,
    /// When the state began, RFC 3339 UTC.
    #[schema(format = "date-time")]
    since: String,
    /// 0 to 1: how much of what should be known is known. A host without PSI reaches 0.65.
    confidence: f64,
    /// The first reason's text, for people in a hurry.
    summary: String,
    /// Why, most severe first; never empty.
    reasons: Vec<ReasonDto>,
    /// Every signal by name, with its value or why it has none.
    inputs: BTreeMap<&'static str, InputDto>,
    /// While only the dwell is in the way: seconds until QUIET if nothing stirs. Null otherwise.
    quiet_in_seconds: Option<f64>,
}

/// One reason.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Reason)]
struct ReasonDto {
    /// The signal's name; `dwell`, `hold`, `calm` or `presence` for what is not a signal.
    #[schema(example = "io_pressure")]
    signal: String,
    /// The state that this reason alone would ask for.
    #[schema(value_type = String, example = "BUSY")]
    level: Level,
    /// The value, in the signal's unit (ratios are 0 to 1).
    value: Option<f64>,
    /// The threshold that it met.
    threshold: Option<f64>,
    /// `above` when high values are harmful, `below` when low ones are.
    #[schema(value_type = Option<String>, example = "above")]
    direction: Option<Direction>,
    /// The device, mount point, sensor or addon behind it.
    subject: Option<String>,
    /// The service, container or process group that uses at least half of what the signal is about; null where none stands out.
    #[schema(example = "immich-ml.service")]
    culprit: Option<String>,
    /// The same in plain words.
    #[schema(example = "I/O full pressure 12 % ≥ 10 %, mostly immich-ml.service")]
    text: String,
}

/// One signal.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = SignalInput)]
struct InputDto {
    /// `known`, `absent` (this host has none), `unknown` (should be there and is not; never quiet), `unused` or `disabled`.
    #[schema(value_type = String, example = "known")]
    status: InputStatus,
    /// The value of this sample; null unless known.
    value: Option<f64>,
    /// Its mean over the mean window (60 s unless configured).
    mean: Option<f64>,
    /// The device, mount point or sensor that it comes from.
    subject: Option<String>,
    /// This signal's own score, 0 to 100.
    score: Option<u8>,
    /// The state that this signal alone asks for.
    #[schema(value_type = String, example = "QUIET")]
    level: Level,
    /// Why there is no value.
    note: Option<String>,
    /// On which side of the thresholds harm lies.
    #[schema(value_type = String, example = "above")]
    direction: Direction,
    /// The thresholds in force.
    thresholds: ThresholdsDto,
}

/// Thresholds of a signal, in its unit; null where there is none.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Thresholds)]
struct ThresholdsDto {
    /// The mean must be short of this for QUIET to begin.
    quiet: Option<f64>,
    /// One sample at this ends QUIET.
    leave: Option<f64>,
    /// One sample at this is BUSY.
    busy: Option<f64>,
    /// The mean of ten seconds at this is PANIC.
    panic: Option<f64>,
}

impl Quiet {
    pub(crate) fn new(state: &HostState) -> Self {
        let QuietAssessment {
            score,
            instant_score,
            since,
            confidence,
            reasons,
            inputs,
            quiet_in,
            state: level,
        } = &state.quiet;
        Self {
            sequence: state.snapshot.sequence,
            assessed_at: rfc3339(state.snapshot.at.wall),
            score: *score,
            instant_score: *instant_score,
            state: *level,
            since: rfc3339(*since),
            confidence: *confidence,
            summary: reasons.first().map(|reason| reason.text.clone()).unwrap_or_default(),
            reasons: reasons.iter().map(ReasonDto::new).collect(),
            inputs: inputs.iter().map(|input| (input.signal.def().name, InputDto::new(input))).collect(),
            quiet_in_seconds: quiet_in.map(seconds),
        }
    }
}

impl ReasonDto {
    fn new(reason: &Reason) -> Self {
        Self {
            signal: reason.signal.clone(),
            level: reason.level,
            value: reason.value,
            threshold: reason.threshold,
            direction: reason.direction,
            subject: reason.subject.clone(),
            culprit: reason.culprit.clone(),
            text: reason.text.clone(),
        }
    }
}

impl InputDto {
    fn new(input: &SignalInput) -> Self {
        let thresholds = &input.thresholds;
        Self {
            status: input.status,
            value: input.value,
            mean: input.mean,
            subject: input.subject.clone(),
            score: input.score,
            level: input.level,
            note: input.note.clone(),
            direction: input.signal.def().direction,
            thresholds: ThresholdsDto {
                quiet: thresholds.quiet,
                leave: thresholds.leave,
                busy: thresholds.busy,
                panic: thresholds.panic,
            },
        }
    }
}
