//! The state machine QUIET, NORMAL, BUSY, PANIC: up at once, down slowly. It sees only what each sample asks for and the
//! time; signals and scores are elsewhere.

use super::{QuietConfig, Reason};
use crate::units::{MonoTime, WallTime};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// How busy the host is. Ordered by severity.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Level {
    /// Nobody is hurt by heavy work.
    Quiet,
    /// In use, or not yet known to be quiet.
    #[default]
    Normal,
    /// Heavy work would hurt now.
    Busy,
    /// The host itself is in danger; nothing new may start.
    Panic,
}

impl Level {
    /// All, from quiet to panic.
    pub const ALL: [Self; 4] = [Self::Quiet, Self::Normal, Self::Busy, Self::Panic];

    /// The word that people see.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Quiet => "QUIET",
            Self::Normal => "NORMAL",
            Self::Busy => "BUSY",
            Self::Panic => "PANIC",
        }
    }
}

/// What one sample says, before any memory.
#[derive(Clone, Copy, Debug)]
pub(super) struct Evidence {
    /// The most severe state that any signal asks for.
    pub(super) instant: Level,
    /// All means are short of their `quiet` thresholds.
    pub(super) mean_calm: bool,
    /// Some signal is still high enough to keep BUSY.
    pub(super) busy_held: bool,
    /// Some signal is still high enough to keep PANIC.
    pub(super) panic_held: bool,
}

/// What the machine remembers.
#[derive(Clone, Debug, Default)]
pub(super) struct LevelMemory {
    state: Level,
    since: Option<WallTime>,
    since_mono: MonoTime,
    calm_since: Option<MonoTime>,
    busy_last: Option<MonoTime>,
    panic_last: Option<MonoTime>,
}

impl LevelMemory {
    /// Starts the dwell anew: what was calm before a hole in the samples says nothing about the time in it.
    pub(super) fn forget_calm(&mut self) {
        self.calm_since = None;
        if self.state == Level::Quiet {
            self.state = Level::Normal;
            self.since = None;
        }
    }
}

/// The state after a step, with what there is to say about how it came.
#[derive(Clone, Copy, Debug)]
pub(super) struct Verdict {
    pub(super) state: Level,
    pub(super) since: WallTime,
    pub(super) quiet_in: Option<Duration>,
    since_mono: MonoTime,
    instant: Level,
    mean_calm: bool,
    hold_left: Duration,
}

pub(super) fn step(
    now: MonoTime,
    wall: WallTime,
    evidence: &Evidence,
    memory: &mut LevelMemory,
    config: &QuietConfig,
) -> Verdict {
    let calm = evidence.instant == Level::Quiet;
    memory.calm_since = if calm { memory.calm_since.or(Some(now)) } else { None };
    if evidence.instant == Level::Panic || evidence.panic_held {
        memory.panic_last = Some(now);
    }
    if evidence.instant >= Level::Busy || evidence.busy_held {
        memory.busy_last = Some(now);
    }
    let left = |last: Option<MonoTime>, hold: Duration| {
        last.map_or(Duration::ZERO, |last| hold.saturating_sub(now.since(last)))
    };
    let panic_left = left(memory.panic_last, config.panic_hold);
    let busy_left = left(memory.busy_last, config.busy_hold);
    let calm_for = memory.calm_since.map_or(Duration::ZERO, |since| now.since(since));

    let panic_stays = memory.state == Level::Panic && (evidence.panic_held || panic_left > Duration::ZERO);
    let busy_stays = memory.state >= Level::Busy && (evidence.busy_held || busy_left > Duration::ZERO);
    let state = if evidence.instant == Level::Panic || panic_stays {
        Level::Panic
    } else if evidence.instant == Level::Busy || busy_stays {
        Level::Busy
    } else if calm && (memory.state == Level::Quiet || calm_for >= config.dwell && evidence.mean_calm) {
        Level::Quiet
    } else {
        Level::Normal
    };
    if state != memory.state || memory.since.is_none() {
        (memory.state, memory.since, memory.since_mono) = (state, Some(wall), now);
    }
    let on_its_way = calm && matches!(state, Level::Normal | Level::Busy);
    Verdict {
        state,
        since: memory.since.unwrap_or(wall),
        since_mono: memory.since_mono,
        quiet_in: on_its_way
            .then(|| config.dwell.saturating_sub(calm_for).max(busy_left_if(state, busy_left))),
        instant: evidence.instant,
        mean_calm: evidence.mean_calm,
        hold_left: if state == Level::Panic { panic_left } else { busy_left },
    }
}

fn busy_left_if(state: Level, busy_left: Duration) -> Duration {
    if state == Level::Busy { busy_left } else { Duration::ZERO }
}

impl Verdict {
    /// The reasons that lie in the state's memory rather than in this sample.
    pub(super) fn reasons(&self, now: MonoTime, config: &QuietConfig) -> Vec<Reason> {
        let mut reasons = Vec::new();
        let mut say = |signal: &str, level: Level, value: f64, text: String| {
            reasons.push(Reason {
                signal: signal.to_owned(),
                level,
                value: Some(value),
                threshold: None,
                direction: None,
                subject: None,
                culprit: None,
                text,
            });
        };
        if self.state >= Level::Busy && self.instant < self.state {
            let seconds = self.hold_left.as_secs_f64().ceil();
            let text = if self.hold_left.is_zero() {
                format!("{} is held until the signal behind it has fallen further", self.state.name())
            } else {
                format!("{} is held for another {seconds:.0} s to see that it stays calm", self.state.name())
            };
            say("hold", self.state, seconds, text);
        }
        if let Some(quiet_in) = self.quiet_in {
            let seconds = quiet_in.as_secs_f64().ceil();
            let text = if quiet_in.is_zero() && !self.mean_calm {
                "calm now, but the average of the last minute is still too high".to_owned()
            } else {
                format!(
                    "calm now; QUIET in {seconds:.0} s if it stays so (dwell {} s)",
                    config.dwell.as_secs()
                )
            };
            say("dwell", Level::Normal, seconds, text);
        }
        if self.state == Level::Quiet {
            let lasted = now.since(self.since_mono);
            say("calm", Level::Quiet, lasted.as_secs_f64(), "every signal is calm".to_owned());
        }
        reasons
    }
}
