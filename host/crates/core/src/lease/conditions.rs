//! What the scheduler knows of the host: the newest verdict, boiled down, and what it must remember of those before.

use super::moment::Moment;
use super::types::{Cause, Constraints, Rule, Text};
use crate::quiet::{InputStatus, Level, SignalId};
use crate::state::HostState;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

/// One verdict, as far as leases depend on it.
#[derive(Clone, Debug, PartialEq)]
pub struct Conditions {
    /// Number of the snapshot.
    pub sequence: u64,
    /// When it was taken.
    pub at: Moment,
    /// The verdict's score.
    pub score: u8,
    /// The verdict's state, after dwell and holds.
    pub level: Level,
    /// Why, most severe first, each with the state that it alone would ask for.
    pub causes: Vec<(Level, Cause)>,
    /// Use of the busiest resource, 0 to 1.
    pub load_ratio: f64,
    /// How long the host still takes to become QUIET, if that is foreseeable.
    pub quiet_in: Option<Duration>,
    /// Local time as minutes since Monday 00:00, for the operator's windows; absent where it is not known.
    pub week_minute: Option<u16>,
}

impl Conditions {
    /// What a tick's state says.
    #[must_use]
    pub fn of(state: &HostState, week_minute: Option<u16>) -> Self {
        let quiet = &state.quiet;
        let cause = |reason: &crate::quiet::Reason| {
            let cause = Cause {
                signal: reason.signal.as_str().into(),
                value: reason.value,
                threshold: reason.threshold,
                text: reason.text.as_str().into(),
            };
            (reason.level, cause)
        };
        let busiest = |signals: &[SignalId]| {
            let known = quiet.inputs.iter().filter(|input| input.status == InputStatus::Known);
            let values =
                known.filter(|input| signals.contains(&input.signal)).filter_map(|input| input.value);
            values.fold(0.0, f64::max)
        };
        Self {
            sequence: state.snapshot.sequence,
            at: state.snapshot.at.mono.into(),
            score: quiet.score,
            level: quiet.state,
            causes: quiet.reasons.iter().map(cause).collect(),
            load_ratio: busiest(&[SignalId::Cpu, SignalId::DiskBusy]).clamp(0.0, 1.0),
            quiet_in: quiet.quiet_in,
            week_minute,
        }
    }
}

/// Signals that matter only to work that computes, writes or sends; all others (memory, heat, battery, people) matter to any.
const CPU_SIGNALS: [&str; 3] = ["cpu", "load_per_core", "cpu_pressure"];
const DISK_SIGNALS: [&str; 3] = ["io_pressure", "disk_busy", "disk_space"];
const SERVICE_SIGNALS: [&str; 2] = ["api_rate", "api_latency"];

/// Reasons of the verdict that stand for what went before: they are about the signals that are remembered.
const ECHOES: [&str; 3] = ["dwell", "hold", "calm"];

/// Reasons of the verdict that one decision repeats.
const CAUSES_MAX: usize = 4;

impl Constraints {
    /// Whether what this signal says matters to work of this kind. Work that says nothing of itself minds everything.
    #[must_use]
    pub fn minds(self, signal: &str) -> bool {
        if self == Self::default() {
            return true;
        }
        let cpu = CPU_SIGNALS.contains(&signal);
        let disk = DISK_SIGNALS.contains(&signal);
        // Serving takes processor time and network alike.
        let service = SERVICE_SIGNALS.contains(&signal);
        (!cpu || self.cpu_heavy)
            && (!disk || self.disk_write_heavy)
            && (!service || self.network_heavy || self.cpu_heavy)
    }
}

/// The newest conditions with what is remembered.
#[derive(Clone, Debug, Default)]
pub(super) struct Outlook {
    pub(super) newest: Option<Conditions>,
    /// Signals that were in the way since the host was last QUIET: while it is on its way back, these are the reason.
    disturbed: BTreeSet<Text>,
    /// Since when the host is BUSY or worse.
    busy_since: Option<Moment>,
    /// When it was last seen in PANIC.
    pub(super) panicked: Option<Moment>,
    /// Reasons already worded for the newest conditions: thousands of decisions share them.
    said: HashMap<(Rule, Constraints), Arc<[Cause]>>,
}

impl Outlook {
    pub(super) fn take(&mut self, conditions: Conditions) {
        self.said.clear();
        let at = conditions.at;
        match conditions.level {
            Level::Quiet => self.disturbed.clear(),
            _ => {
                let signals = conditions.causes.iter().filter(|(level, _)| *level > Level::Quiet);
                let signals = signals.map(|(_, cause)| &cause.signal);
                self.disturbed
                    .extend(signals.filter(|signal| !ECHOES.contains(&signal.as_ref())).map(Text::clone));
            }
        }
        if conditions.level < Level::Busy {
            self.busy_since = None;
        } else {
            self.busy_since.get_or_insert(at);
        }
        if conditions.level == Level::Panic {
            self.panicked = Some(at);
        }
        self.newest = Some(conditions);
    }

    /// The newest conditions, if they are not older than this.
    pub(super) fn fresh(&self, now: Moment, last: Duration) -> Option<&Conditions> {
        self.newest.as_ref().filter(|conditions| now.since(conditions.at) <= last)
    }

    pub(super) fn busy_for(&self, now: Moment) -> Option<Duration> {
        self.busy_since.map(|since| now.since(since))
    }

    /// How much is left of a cool-down of this length.
    pub(super) fn cooling(&self, now: Moment, cool_down: Duration) -> Option<Duration> {
        let left = self.panicked?.plus(cool_down).since(now);
        (!left.is_zero()).then_some(left)
    }

    /// Whether anything that is in the way of QUIET matters to work of this kind.
    pub(super) fn affects(&self, conditions: &Conditions, constraints: Constraints) -> bool {
        let mut in_the_way = conditions.causes.iter().filter(|(level, _)| *level > Level::Quiet).peekable();
        // A host that is not QUIET and does not say why is in the way of all.
        in_the_way.peek().is_none() || in_the_way.any(|(_, cause)| self.minds(constraints, &cause.signal))
    }

    fn minds(&self, constraints: Constraints, signal: &str) -> bool {
        if ECHOES.contains(&signal) {
            return self.disturbed.is_empty()
                || self.disturbed.iter().any(|signal| constraints.minds(signal));
        }
        constraints.minds(signal)
    }

    /// Why the host is not quiet enough for work of this kind.
    pub(super) fn disturbance(&mut self, rule: Rule, constraints: Constraints) -> Arc<[Cause]> {
        self.say(rule, constraints, |outlook, conditions| {
            let all = rule == Rule::Panic;
            let minded = |(level, cause): &&(Level, Cause)| {
                *level > Level::Quiet && (all || outlook.minds(constraints, &cause.signal))
            };
            let mut causes: Vec<Cause> = conditions
                .causes
                .iter()
                .filter(minded)
                .take(CAUSES_MAX)
                .map(|(_, cause)| cause.clone())
                .collect();
            causes.push(summary(conditions, rule, ""));
            causes
        })
    }

    /// Why a lease is granted.
    pub(super) fn permission(&mut self, rule: Rule) -> Arc<[Cause]> {
        self.say(rule, Constraints::default(), |_, conditions| {
            let why = match rule {
                Rule::HighPriority => ", and its priority is HIGH",
                Rule::NotAffected => ", but not in a way that this work minds",
                Rule::Deadline => ", and the work would miss its deadline if it waited longer",
                Rule::Allowed => ", and the operator allows heavy work now",
                _ => "",
            };
            vec![summary(conditions, rule, why)]
        })
    }

    fn say(
        &mut self,
        rule: Rule,
        constraints: Constraints,
        words: impl FnOnce(&Self, &Conditions) -> Vec<Cause>,
    ) -> Arc<[Cause]> {
        if let Some(said) = self.said.get(&(rule, constraints)) {
            return Arc::clone(said);
        }
        let Some(conditions) = &self.newest else { return Arc::default() };
        let causes: Arc<[Cause]> = words(self, conditions).into();
        self.said.insert((rule, constraints), Arc::clone(&causes));
        causes
    }
}

fn summary(conditions: &Conditions, rule: Rule, why: &str) -> Cause {
    let (level, score) = (conditions.level.name(), conditions.score);
    Cause {
        signal: rule.word().into(),
        value: Some(f64::from(score)),
        threshold: None,
        text: format!("the host is {level} (score {score}){why}").into(),
    }
}
