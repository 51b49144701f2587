//! The score 0 to 100: each signal's own score along its thresholds, the worst of them, presence caps, and the confidence.

use super::level::Level;
use super::signals::{Direction, SignalId};
use super::{InputStatus, Presence, SignalInput, Thresholds};

/// Scores at the thresholds. The bands of the states lie between them: QUIET from 70, BUSY below 30, PANIC below 10.
const AT_QUIET: f64 = 85.0;
const AT_LEAVE: f64 = 70.0;
const AT_BUSY: f64 = 30.0;
const AT_PANIC: f64 = 10.0;

/// The lowest score that presence can cause: BUSY, never PANIC.
const PRESENCE_FLOOR: f64 = 20.0;

/// One signal's score: 100 at its ideal, falling in straight lines through its thresholds.
pub(super) fn of(signal: SignalId, value: f64, thresholds: &Thresholds) -> u8 {
    let def = signal.def();
    // Turned so that more is worse, then walked from the ideal outwards.
    let turn = |number: f64| if def.direction == Direction::Above { number } else { -number };
    let value = turn(value);
    let steps = [
        (thresholds.quiet, AT_QUIET),
        (thresholds.leave, AT_LEAVE),
        (thresholds.busy, AT_BUSY),
        (thresholds.panic, AT_PANIC),
    ];
    let (mut from, mut from_score) = (turn(def.ideal), 100.0);
    if value <= from {
        return 100;
    }
    for (threshold, score) in steps {
        let Some(to) = threshold.map(turn) else { continue };
        if value < to {
            let share = if to > from { (value - from) / (to - from) } else { 1.0 };
            return whole(from_score + (score - from_score) * share.clamp(0.0, 1.0));
        }
        (from, from_score) = (to, score);
    }
    // Beyond the last threshold: inside the band of the state that it stands for.
    whole(if thresholds.panic.is_some() { from_score / 2.0 } else { (from_score - 5.0).max(AT_PANIC) })
}

/// The score of this sample: the worst signal, capped by what is unknown and by presence.
pub(super) fn instant(inputs: &[SignalInput], presence: &[Presence], level: Level) -> u8 {
    let worst = inputs.iter().filter_map(|input| input.score).min().unwrap_or(100);
    let capped = presence.iter().map(presence_cap).fold(f64::from(worst), f64::min);
    within(level, whole(capped))
}

/// A score held inside the band of a state, so that score and state never contradict each other.
pub(super) fn within(state: Level, score: u8) -> u8 {
    match state {
        Level::Quiet => score.clamp(70, 100),
        Level::Normal => score.clamp(30, 69),
        Level::Busy => score.clamp(10, 29),
        Level::Panic => score.min(9),
    }
}

/// The most that the score may be while this presence lasts.
fn presence_cap(presence: &Presence) -> f64 {
    100.0 - (100.0 - PRESENCE_FLOOR) * presence.weight.clamp(0.0, 1.0)
}

/// The state that a presence asks for: bounded by BUSY.
pub(super) fn presence_level(presence: &Presence) -> Level {
    // A weight that is not a number is a broken addon; it must not make the host look quieter.
    if presence.weight.is_nan() {
        return Level::Normal;
    }
    match presence_cap(presence) {
        cap if cap >= AT_LEAVE => Level::Quiet,
        cap if cap >= AT_BUSY => Level::Normal,
        _ => Level::Busy,
    }
}

/// The known share of the weight of all signals, scaled by how much of the mean window has been seen. Load per core stands
/// in for CPU pressure at half its weight, so a host without PSI ends at 0.65.
pub(super) fn confidence(inputs: &[SignalInput], coverage: f64) -> f64 {
    let (mut known, mut total) = (0.0, 0.0);
    for input in inputs.iter().filter(|input| input.status != InputStatus::Disabled) {
        let weight = input.signal.def().weight;
        if input.status == InputStatus::Known {
            known += weight;
        }
        // The stand-in adds to what is known, not to what there is to know.
        if input.signal != SignalId::LoadPerCore {
            total += weight;
        }
    }
    if total <= 0.0 { 0.0 } else { ((known / total).min(1.0) * coverage * 100.0).round() / 100.0 }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to 0..=100 first")]
fn whole(score: f64) -> u8 {
    if score.is_nan() { 0 } else { score.clamp(0.0, 100.0).round() as u8 }
}
