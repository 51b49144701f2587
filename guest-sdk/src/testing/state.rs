//! What a fake host holds, and how the functions of the host find it: it is put into the thread while an addon is called.

use super::report::{Event, LeaseCall, LogLine, Problem, Recorded, SentRequest};
use crate::Metric;
use crate::config::Value;
use crate::host_data::DataErrorKind;
use crate::http::{HttpErrorKind, Response};
use crate::leases::{Denial, Directive};
use crate::system::{Assessment, Reading};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::time::Duration;

/// 2026-01-01T00:00:00Z.
const CLOCK_START_MS: u64 = 1_767_225_600_000;

pub(super) struct File {
    pub(super) content: Result<Vec<u8>, DataErrorKind>,
    pub(super) modified: u64,
}

pub(super) enum Leases {
    Unavailable,
    Denied(Denial),
    Granted(VecDeque<Directive>),
}

/// How the values of a metric come in. One metric has one source.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    Collected,
    Recorded,
}

pub(super) struct Declared {
    pub(super) metric: Metric,
    pub(super) source: Option<Source>,
}

/// What the addon told since the last report.
#[derive(Default)]
pub(super) struct Told {
    pub(super) problems: Vec<Problem>,
    pub(super) logs: Vec<LogLine>,
    pub(super) recorded: Vec<Recorded>,
    pub(super) events: Vec<Event>,
    pub(super) requests: Vec<SentRequest>,
    pub(super) leases: Vec<LeaseCall>,
}

/// How often something may be done: `burst` at once, then `per_second`.
pub(super) struct Bucket {
    per_second: f64,
    burst: f64,
    available: f64,
    counted: Duration,
}

impl Bucket {
    fn new(per_second: f64, burst: f64) -> Self {
        Self { per_second, burst, available: burst, counted: Duration::ZERO }
    }

    pub(super) fn take(&mut self, now: Duration) -> bool {
        let earned = now.saturating_sub(self.counted).as_secs_f64() * self.per_second;
        self.available = (self.available + earned).min(self.burst);
        self.counted = now;
        let there = self.available >= 1.0;
        if there {
            self.available -= 1.0;
        }
        there
    }
}

pub(crate) struct State {
    pub(super) id: String,
    pub(super) config: BTreeMap<String, Value>,
    pub(super) files: BTreeMap<String, File>,
    pub(super) directories: BTreeSet<String>,
    pub(super) listening: HashSet<String>,
    pub(super) answers: HashMap<String, Result<Response, HttpErrorKind>>,
    pub(super) http_rate: Bucket,
    pub(super) store: BTreeMap<String, Vec<u8>>,
    pub(super) store_broken: bool,
    pub(super) store_rate: Bucket,
    pub(super) assessment: Option<Assessment>,
    pub(super) readings: Vec<Reading>,
    pub(super) leases: Leases,
    pub(super) leases_granted: u64,
    pub(super) denied: Vec<String>,
    /// Wall clock when the monotonic one stood at zero, which may be before 1970.
    clock_zero_ms: i128,
    pub(super) monotonic: Duration,
    pub(super) declared: HashMap<String, Declared>,
    pub(super) recorded_series: HashSet<(String, Vec<String>)>,
    pub(super) collected_series: usize,
    pub(super) event_rate: Bucket,
    pub(super) told: Told,
}

impl Default for State {
    fn default() -> Self {
        Self {
            id: "test".to_owned(),
            config: BTreeMap::new(),
            files: BTreeMap::new(),
            directories: BTreeSet::new(),
            listening: HashSet::new(),
            answers: HashMap::new(),
            http_rate: Bucket::new(10.0, 20.0),
            store: BTreeMap::new(),
            store_broken: false,
            store_rate: Bucket::new(100.0, 100.0),
            assessment: None,
            readings: Vec::new(),
            leases: Leases::Unavailable,
            leases_granted: 0,
            denied: Vec::new(),
            clock_zero_ms: i128::from(CLOCK_START_MS),
            monotonic: Duration::ZERO,
            declared: HashMap::new(),
            recorded_series: HashSet::new(),
            collected_series: 0,
            event_rate: Bucket::new(1.0, 20.0),
            told: Told::default(),
        }
    }
}

impl State {
    pub(super) fn now(&self) -> u64 {
        u64::try_from(self.clock_zero_ms + self.since_zero_ms()).unwrap_or_default()
    }

    pub(super) fn set_clock(&mut self, unix_ms: u64) {
        self.clock_zero_ms = i128::from(unix_ms) - self.since_zero_ms();
    }

    fn since_zero_ms(&self) -> i128 {
        i128::try_from(self.monotonic.as_millis()).unwrap_or(i128::MAX)
    }

    /// What to ask the operator for, if one of these begins as something that is denied.
    pub(super) fn denies(&self, names: &[&str]) -> Option<String> {
        let denied = |name: &&&str| self.denied.iter().any(|beginning| name.starts_with(beginning.as_str()));
        names.iter().find(denied).map(|name| format!("ask the operator to grant {name}"))
    }

    pub(super) fn problem(&mut self, problem: Problem) {
        self.told.problems.push(problem);
    }
}

thread_local! {
    static CURRENT: RefCell<Option<State>> = const { RefCell::new(None) };
}

/// Calls with the state in the thread; it comes back also after a panic.
pub(super) fn enter<R>(state: &mut State, call: impl FnOnce() -> R) -> R {
    struct Entered<'a> {
        home: &'a mut State,
        outer: Option<State>,
    }

    impl Drop for Entered<'_> {
        fn drop(&mut self) {
            if let Some(state) = CURRENT.replace(self.outer.take()) {
                *self.home = state;
            }
        }
    }

    let outer = CURRENT.replace(Some(std::mem::take(state)));
    let _entered = Entered { home: state, outer };
    call()
}

/// Looks into the fake host that is being asked.
///
/// # Panics
/// When there is none.
pub(super) fn with<R>(look: impl FnOnce(&mut State) -> R) -> R {
    let Some(answer) = try_with(look) else {
        panic!(
            "a function of the host was called outside of a fake host: call it within `FakeHost::run` or through `FakeHost::collect` and the like"
        )
    };
    answer
}

/// The same; none when there is no fake host.
pub(super) fn try_with<R>(look: impl FnOnce(&mut State) -> R) -> Option<R> {
    CURRENT.with_borrow_mut(|state| state.as_mut().map(look))
}
