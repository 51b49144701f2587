//! One addon as the rest of the host sees it: what its task last said, in one place under one short lock, and how that reads as a
//! collector's report, as presence and as a view. It survives instances, crashes and replacements.

use crate::answers::{Failure, Health, PresenceSignal};
use crate::capabilities::Capabilities;
use crate::caps::log::clean;
use crate::grants;
use crate::guest::Shared;
use crate::inspect::{Export, Inspection};
use crate::jobs::JobBoard;
use crate::limits;
use crate::manifest::Manifest;
use crate::status::{AddonState, AddonView, Happening, HealthView, Problem, StatsView};
use lowtide_core::limits::{ERROR_TEXT_BYTES_MAX, STALE_AFTER_INTERVALS};
use lowtide_core::quiet::Presence;
use lowtide_core::report::{ADDON_GROUP, CollectorInfo, CollectorReport, CollectorStatus, Samples};
use lowtide_core::units::{MonoTime, Now, WallTime};
use std::borrow::Cow;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How much it weighs when an addon that knows who is present cannot say so: enough that the host is not QUIET, not enough to make it
/// BUSY. Unknown is never taken for quiet.
const UNKNOWN_PRESENCE_WEIGHT: f64 = 0.5;

/// What is loaded for an addon.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    pub(crate) manifest: Arc<Manifest>,
    pub(crate) inspection: Arc<Inspection>,
    pub(crate) component_bytes: u64,
    pub(crate) digest: blake3::Hash,
    pub(crate) memory_bytes: u64,
}

/// What its presence export said.
#[derive(Clone, Debug, Default)]
struct Told {
    /// What, how much, and until when.
    signals: Vec<(String, f64, MonoTime)>,
    /// Why it could not say the last time, and since when.
    failed: Option<String>,
    asked: bool,
}

#[derive(Debug)]
struct Collecting {
    /// Made for a collector, and not for what is recorded between calls.
    collects: bool,
    info: Arc<CollectorInfo>,
    status: CollectorStatus,
    status_since: WallTime,
    interval: Duration,
    samples: Option<(Arc<Samples>, Now)>,
    fresh: bool,
    error: Option<Arc<str>>,
    duration: Duration,
    runs: u64,
    failures: u64,
}

/// See the file's head.
#[derive(Debug)]
struct Board {
    state: AddonState,
    state_since: WallTime,
    leaving: bool,
    problem: Option<Problem>,
    pending: Option<Problem>,
    retry_at: Option<WallTime>,
    identity: Option<Identity>,
    loaded_at: Option<WallTime>,
    started: Option<Now>,
    collecting: Option<Collecting>,
    presence: Option<Told>,
    stats: Option<StatsView>,
    stats_failed: Option<Problem>,
    health: Option<HealthView>,
}

/// Why an addon was started again when its new file did not start.
pub(crate) const ROLLED_BACK: &str = "rolled_back";

/// Where state changes are told.
pub(crate) type Tell = Arc<dyn Fn(Happening) + Send + Sync>;

pub(crate) struct Addon {
    pub(crate) shared: Arc<Shared>,
    // Held for a copy or an assignment, never across an await or a call.
    board: Mutex<Board>,
    pub(crate) jobs: JobBoard,
    tell: Tell,
}

impl Addon {
    pub(crate) fn new(shared: Arc<Shared>, tell: Tell, now: Now) -> Self {
        let board = Board {
            state: AddonState::Loading,
            state_since: now.wall,
            leaving: false,
            problem: None,
            pending: None,
            retry_at: None,
            identity: None,
            loaded_at: None,
            started: None,
            collecting: None,
            presence: None,
            stats: None,
            stats_failed: None,
            health: None,
        };
        let addon = shared.id.to_string();
        let state = AddonState::Loading;
        tell(Happening::State { addon, from: None, to: Some(state), version: None, problem: None });
        Self { shared, board: Mutex::new(board), jobs: JobBoard::default(), tell }
    }

    fn board(&self) -> MutexGuard<'_, Board> {
        self.board.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn state(&self) -> AddonState {
        self.board().state
    }

    /// Changes the state, and tells it when it is another.
    pub(crate) fn set_state(
        &self,
        now: Now,
        state: AddonState,
        problem: Option<Problem>,
        retry_at: Option<MonoTime>,
    ) {
        let told = {
            let mut board = self.board();
            let from = board.state;
            if from != state {
                (board.state, board.state_since) = (state, now.wall);
            }
            if state != AddonState::Running {
                board.started = None;
            }
            let again = board.problem != problem;
            board.problem.clone_from(&problem);
            board.retry_at = retry_at.map(|at| {
                let wait = i64::try_from(at.since(now.mono).as_millis()).unwrap_or(i64::MAX);
                WallTime(now.wall.unix_ms().saturating_add(wait))
            });
            let version = board.identity.as_ref().and_then(|identity| identity.manifest.version.clone());
            // A further crash is news too, even if the state has the same name.
            (from != state || (again && problem.is_some())).then_some((from, version))
        };
        if let Some((from, version)) = told {
            let addon = self.shared.id.to_string();
            log_change(&addon, state, problem.as_ref());
            (self.tell)(Happening::State { addon, from: Some(from), to: Some(state), version, problem });
        }
    }

    /// It was removed from the folder.
    pub(crate) fn removed(&self) {
        let (from, version) = {
            let board = self.board();
            (board.state, board.identity.as_ref().and_then(|identity| identity.manifest.version.clone()))
        };
        let addon = self.shared.id.to_string();
        tracing::info!(addon, "addon removed");
        (self.tell)(Happening::State { addon, from: Some(from), to: None, version, problem: None });
    }

    /// A newer file cannot be loaded, while the older one runs; or that is over.
    pub(crate) fn set_pending(&self, problem: Option<Problem>) {
        if let Some(problem) = &problem {
            let addon = self.shared.id.as_str();
            tracing::warn!(
                addon,
                code = problem.code,
                problem = problem.text,
                "the new file is not loaded, the old one goes on"
            );
        }
        self.board().pending = problem;
    }

    /// An instance of this component is running from now on. `replaced` says why, when another one ran before.
    pub(crate) fn started(&self, now: Now, identity: Identity, replaced: Option<&'static str>) {
        let version = identity.manifest.version.clone();
        {
            let mut board = self.board();
            board.loaded_at.get_or_insert(now.wall);
            board.started = Some(now);
            // The one that goes on because the new file does not start keeps saying so.
            if replaced != Some(ROLLED_BACK) {
                board.pending = None;
            }
            board.identity = Some(identity);
        }
        if let Some(why) = replaced {
            tracing::info!(addon = self.shared.id.as_str(), why, version, "addon replaced");
            (self.tell)(Happening::Replaced { addon: self.shared.id.clone(), why, version });
        }
        self.task_state(now, AddonState::Running, None, None);
        self.jobs.wake();
    }

    /// The same as [`set_state`](Self::set_state), by its task.
    pub(crate) fn task_state(
        &self,
        now: Now,
        state: AddonState,
        problem: Option<Problem>,
        retry_at: Option<MonoTime>,
    ) {
        if !self.board().leaving {
            self.set_state(now, state, problem, retry_at);
        }
    }

    /// What is known of a component before it runs. One that tells who is present and has not been asked counts as unknown from here on.
    pub(crate) fn identify(&self, identity: Identity) {
        let mut board = self.board();
        if identity.inspection.exports.contains(&Export::Presence) {
            board.presence.get_or_insert_default();
        }
        board.identity = Some(identity);
    }

    /// True when what it is made of asks for more than these grants.
    pub(crate) fn is_beyond(&self, grants: &Capabilities) -> bool {
        let board = self.board();
        board.identity.as_ref().is_some_and(|identity| {
            let id = &self.shared.id;
            grants::ungranted(id, &identity.inspection, &identity.manifest.asks, grants).is_err()
        })
    }

    /// Its task has been told to end, or that is over. Until it is, what the task says of its state is no longer news.
    pub(crate) fn set_leaving(&self, leaving: bool) {
        self.board().leaving = leaving;
    }

    /// Its task has been told to end and has not yet.
    pub(crate) fn is_leaving(&self) -> bool {
        self.board().leaving
    }

    /// What the new instance has: a collector with this help or none, and its other exports. What an earlier one said by an export that this
    /// one does not have no longer holds. `interval` is that of its collections, or of its most frequent calls.
    pub(crate) fn set_up(
        &self,
        now: Now,
        collector: Option<String>,
        interval: Duration,
        has: impl Fn(Export) -> bool,
    ) {
        let collects = collector.is_some();
        let metrics = {
            let mut recorder = self.shared.recorder();
            if !collects {
                recorder.clear_collected();
            }
            recorder.metrics()
        };
        let mut board = self.board();
        board.presence = has(Export::Presence).then(|| board.presence.take().unwrap_or_default());
        if !has(Export::CustomStats) {
            (board.stats, board.stats_failed) = (None, None);
        }
        if !has(Export::Health) {
            board.health = None;
        }
        if board.collecting.as_ref().is_some_and(|collecting| collecting.collects != collects) {
            board.collecting = None;
        }
        let help = collector.unwrap_or_else(|| "What this addon records.".to_owned());
        let name = format!("{ADDON_GROUP}{}", self.shared.id);
        let info = Arc::new(CollectorInfo {
            name: name.clone().into(),
            group: name.into(),
            metric_prefix: self.shared.id.metric_prefix().into(),
            help: clean(&help, limits::HELP_BYTES_MAX).into_owned().into(),
            interval,
            metrics: Cow::Owned(metrics),
        });
        match &mut board.collecting {
            Some(collecting) => (collecting.info, collecting.interval) = (info, interval),
            None if collects => board.collecting = Some(Collecting::new(info, interval, now.wall)),
            // Without a collector there is a report only once something was recorded; see `publish`.
            None => {
                board.collecting = Some(Collecting {
                    collects: false,
                    status: CollectorStatus::Absent,
                    ..Collecting::new(info, interval, now.wall)
                })
            }
        }
    }

    /// A collection is over.
    pub(crate) fn collected(&self, now: Now, took: Duration, result: Result<(), Failure>) {
        let samples = result.is_ok().then(|| {
            let mut recorder = self.shared.recorder();
            let complaint = recorder.complaint().map(|text| clean(text, ERROR_TEXT_BYTES_MAX).into_owned());
            (Arc::new(recorder.samples(true)), complaint)
        });
        let mut board = self.board();
        let mut complaint = None;
        if let Some(collecting) = &mut board.collecting {
            collecting.runs += 1;
            collecting.duration = took;
            let (status, error) = match result {
                Ok(()) => (CollectorStatus::Ok, None),
                Err(Failure::Absent(why)) => (CollectorStatus::Absent, Some(why)),
                Err(failure) => {
                    collecting.failures += 1;
                    (CollectorStatus::Failing, Some(failure.to_string()))
                }
            };
            if let Some((samples, wrong)) = samples {
                collecting.samples = Some((samples, now));
                collecting.fresh = true;
                complaint = wrong;
            }
            if status == CollectorStatus::Absent {
                collecting.samples = None;
            }
            collecting.set(
                now.wall,
                status,
                error.map(|text| clean(&text, ERROR_TEXT_BYTES_MAX).as_ref().into()),
            );
        }
        // Samples that were left out are a problem of an addon that runs otherwise.
        if board.state == AddonState::Running {
            let same = board.problem.as_ref().map(|problem| &problem.text) == complaint.as_ref();
            if !same {
                let problem = complaint.map(|text| Problem { code: "samples_refused", text, at: now.wall });
                if let Some(problem) = &problem {
                    tracing::warn!(
                        addon = self.shared.id.as_str(),
                        problem = problem.text,
                        "samples are left out"
                    );
                }
                board.problem = problem;
            }
        }
    }

    /// Publishes what was recorded between collections by an addon that has no collector.
    pub(crate) fn publish(&self, now: Now) {
        let mut recorder = self.shared.recorder();
        if recorder.series() == 0 {
            return;
        }
        let samples = Arc::new(recorder.samples(true));
        drop(recorder);
        if let Some(collecting) = &mut self.board().collecting {
            collecting.samples = Some((samples, now));
            collecting.fresh = true;
            collecting.set(now.wall, CollectorStatus::Ok, None);
        }
    }

    /// It crashed: its collector fails until it is back.
    pub(crate) fn collector_failed(&self, now: Now, why: &str) {
        let mut board = self.board();
        if let Some(collecting) = &mut board.collecting
            && collecting.status != CollectorStatus::Absent
        {
            collecting.failures += 1;
            collecting.set(
                now.wall,
                CollectorStatus::Failing,
                Some(clean(why, ERROR_TEXT_BYTES_MAX).as_ref().into()),
            );
        }
        if let Some(told) = &mut board.presence {
            told.failed = Some(clean(why, ERROR_TEXT_BYTES_MAX).into_owned());
        }
    }

    /// What its presence export said.
    pub(crate) fn told(&self, now: Now, result: Result<Vec<PresenceSignal>, Failure>) {
        let mut board = self.board();
        let Some(told) = &mut board.presence else { return };
        told.asked = true;
        match result {
            Ok(signals) => {
                let usual = limits::PRESENCE_INTERVAL * STALE_AFTER_INTERVALS;
                let signal = |signal: PresenceSignal| {
                    let lasts = signal.lasts.unwrap_or(usual).min(limits::PRESENCE_LASTS_MAX);
                    let weight = if signal.weight.is_nan() { 1.0 } else { signal.weight.clamp(0.0, 1.0) };
                    (
                        clean(&signal.what, limits::PRESENCE_TEXT_BYTES_MAX).into_owned(),
                        weight,
                        now.mono.plus(lasts),
                    )
                };
                told.signals = signals.into_iter().map(signal).collect();
                told.signals.sort_by(|(_, one, _), (_, other, _)| other.total_cmp(one));
                told.signals.truncate(limits::PRESENCE_MAX);
                told.failed = None;
            }
            Err(Failure::Absent(_)) => (told.signals, told.failed) = (Vec::new(), None),
            Err(failure) => {
                told.failed = Some(clean(&failure.to_string(), ERROR_TEXT_BYTES_MAX).into_owned())
            }
        }
    }

    /// Its document.
    pub(crate) fn stats(&self, now: Now, result: Result<String, Problem>) {
        let mut board = self.board();
        match result {
            Ok(json) => (board.stats, board.stats_failed) = (Some(StatsView { json, at: now.wall }), None),
            Err(problem) => board.stats_failed = Some(problem),
        }
    }

    /// What it says of its health.
    pub(crate) fn health(&self, now: Now, health: &Health) {
        let mut board = self.board();
        let before = board.health.take();
        let (status, text) = match health {
            Health::Ok => ("ok", ""),
            Health::Warn(text) => ("warn", text.as_str()),
            Health::Error(text) => ("error", text.as_str()),
        };
        let text = clean(text, ERROR_TEXT_BYTES_MAX).into_owned();
        if before.as_ref().map(|before| before.status) != Some(status) && status != "ok" {
            tracing::warn!(addon = self.shared.id.as_str(), status, text, "addon is not well");
        }
        let ok_at = if status == "ok" { Some(now.wall) } else { before.and_then(|before| before.ok_at) };
        board.health = Some(HealthView { status, text, checked_at: now.wall, ok_at });
    }

    /// It is switched off or gone: nothing of what it said counts any more.
    pub(crate) fn silence(&self) {
        self.shared.recorder().clear_collected();
        let mut board = self.board();
        (board.presence, board.stats, board.stats_failed, board.health) = (None, None, None, None);
        board.collecting = None;
        self.shared.meter.memory(0);
    }

    /// Its report at a tick; `None` when it has nothing to report.
    pub(crate) fn report(&self, now: Now) -> Option<CollectorReport> {
        let mut board = self.board();
        let collecting = board.collecting.as_mut()?;
        if collecting.status == CollectorStatus::Absent
            && collecting.runs == 0
            && collecting.samples.is_none()
        {
            return None;
        }
        Some(collecting.report(now))
    }

    /// Who is present at a tick, according to it.
    pub(crate) fn presence(&self, now: MonoTime) -> Vec<Presence> {
        let board = self.board();
        let Some(told) = &board.presence else { return Vec::new() };
        let source = self.shared.id.as_str();
        let current = told.signals.iter().filter(|(_, _, until)| *until > now);
        let mut present: Vec<Presence> = current
            .map(|(what, weight, _)| Presence {
                source: source.to_owned(),
                kind: what.clone(),
                weight: *weight,
            })
            .collect();
        let unknown = match &told.failed {
            // What it said before it failed still counts, while it lasts.
            Some(why) if present.is_empty() => Some(format!("unknown: {why}")),
            None if !told.asked => Some("unknown: it was not asked yet".to_owned()),
            _ => None,
        };
        present.extend(unknown.map(|kind| Presence {
            source: source.to_owned(),
            kind,
            weight: UNKNOWN_PRESENCE_WEIGHT,
        }));
        present
    }

    /// Its document.
    pub(crate) fn stats_view(&self) -> Result<Option<StatsView>, Problem> {
        let board = self.board();
        match (&board.stats, &board.stats_failed) {
            // An old document must not hide that there is no new one.
            (_, Some(problem)) => Err(problem.clone()),
            (stats, None) => Ok(stats.clone()),
        }
    }

    /// How long the present instance has been running.
    pub(crate) fn uptime(&self, now: MonoTime) -> Duration {
        self.board().started.map_or(Duration::ZERO, |started| now.since(started.mono))
    }

    /// Version in the manifest.
    pub(crate) fn version(&self) -> Option<String> {
        self.board().identity.as_ref().and_then(|identity| identity.manifest.version.clone())
    }

    /// Everything, copied.
    pub(crate) fn view(&self, now: Now) -> AddonView {
        let (series, metrics) = {
            let recorder = self.shared.recorder();
            (recorder.series(), recorder.metrics())
        };
        let (log_lines, log_lines_dropped) = {
            let log = self.shared.log();
            (log.newest(), log.dropped())
        };
        let board = self.board();
        let identity = board.identity.as_ref();
        let inspection = identity.map(|identity| &identity.inspection);
        let said = board
            .collecting
            .as_ref()
            .filter(|collecting| collecting.runs > 0)
            .map(|collecting| collecting.info.help.to_string());
        AddonView {
            name: self.shared.id.to_string(),
            state: board.state,
            state_since: board.state_since,
            problem: board.problem.clone().or_else(|| self.jobs.problem()),
            pending: board.pending.clone(),
            retry_at: board.retry_at,
            version: identity.and_then(|identity| identity.manifest.version.clone()),
            description: identity.and_then(|identity| identity.manifest.description.clone()).or(said),
            wit_version: inspection.map(|inspection| inspection.version.clone()),
            exports: inspection
                .map(|inspection| inspection.exports.iter().map(|export| export.name()).collect())
                .unwrap_or_default(),
            imports: inspection
                .map(|inspection| inspection.imports.iter().map(|import| import.name()).collect())
                .unwrap_or_default(),
            made_with: inspection
                .filter(|inspection| !inspection.languages.is_empty())
                .map(|inspection| inspection.languages.join(", ")),
            component_bytes: identity.map_or(0, |identity| identity.component_bytes),
            digest: identity.map(|identity| identity.digest.to_hex().to_string()),
            loaded_at: board.loaded_at,
            started_at: board.started.map(|started| started.wall),
            uptime: board.started.map_or(Duration::ZERO, |started| now.mono.since(started.mono)),
            interval: board
                .collecting
                .as_ref()
                .filter(|collecting| collecting.runs > 0)
                .map(|collecting| collecting.interval),
            memory_limit_bytes: identity
                .map_or(limits::MEMORY_BYTES_DEFAULT, |identity| identity.memory_bytes),
            metered: self.shared.meter.read(),
            series,
            log_lines_dropped,
            log_lines,
            health: board.health.clone(),
            metrics,
            jobs: self.jobs.view(),
        }
    }
}

fn log_change(addon: &str, state: AddonState, problem: Option<&Problem>) {
    let (state, code) = (state.name(), problem.map(|problem| problem.code));
    match problem {
        Some(problem) => tracing::warn!(addon, state, code, problem = problem.text, "addon changed state"),
        None => tracing::info!(addon, state, "addon changed state"),
    }
}

impl Collecting {
    fn new(info: Arc<CollectorInfo>, interval: Duration, since: WallTime) -> Self {
        Self {
            collects: true,
            info,
            status: CollectorStatus::Pending,
            status_since: since,
            interval,
            samples: None,
            fresh: false,
            error: None,
            duration: Duration::ZERO,
            runs: 0,
            failures: 0,
        }
    }

    fn set(&mut self, at: WallTime, status: CollectorStatus, error: Option<Arc<str>>) {
        if self.status != status {
            (self.status, self.status_since) = (status, at);
        }
        self.error = error;
    }

    fn report(&mut self, now: Now) -> CollectorReport {
        let limit = self.interval.saturating_mul(STALE_AFTER_INTERVALS);
        let stale = self.samples.as_ref().is_some_and(|(_, at)| now.mono.since(at.mono) > limit);
        let (mut status, mut error) = (self.status, self.error.clone());
        if stale && status == CollectorStatus::Ok {
            (status, error) = (CollectorStatus::Overdue, Some("its last run is too long ago".into()));
        }
        let samples = self.samples.as_ref().filter(|_| !stale).map(|(samples, _)| Arc::clone(samples));
        CollectorReport {
            info: Arc::clone(&self.info),
            status,
            fresh: std::mem::take(&mut self.fresh) && samples.is_some(),
            samples,
            collected_at: self.samples.as_ref().map(|(_, at)| (at.mono, at.wall)),
            stale: stale && status != CollectorStatus::Absent,
            duration: self.duration,
            interval: self.interval,
            error,
            status_since: self.status_since,
            runs: self.runs,
            failures: self.failures,
            overruns: 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::caps::blocking::Blocking;
    use crate::caps::leases::Tally;
    use crate::caps::log::LogBuffer;
    use crate::id::AddonId;
    use crate::meter::Meter;
    use crate::recorder::{Names, Recorder};
    use lowtide_core::rate::TokenBucket;

    fn addon() -> Addon {
        let (id, meter) = (AddonId::new("one").unwrap(), Arc::new(Meter::default()));
        let shared = Shared {
            recorder: Mutex::new(Recorder::new(id.clone(), Arc::new(Names::default()), Arc::clone(&meter))),
            meter,
            id,
            log: Mutex::new(LogBuffer::new()),
            blocking: Blocking::default(),
            leases: Tally::default(),
            events: Mutex::new(TokenBucket::new(1, 1)),
            publish: Arc::new(|_| {}),
            state: tokio::sync::watch::channel(None).1,
        };
        Addon::new(Arc::new(shared), Arc::new(|_| {}), Now::default())
    }

    fn identity(exports: &[Export]) -> Identity {
        let manifest = Manifest {
            id: AddonId::new("one").unwrap(),
            version: None,
            description: None,
            asks: Capabilities::default(),
            memory_bytes: None,
            interval: None,
        };
        let exports = exports.iter().copied().collect();
        Identity {
            manifest: Arc::new(manifest),
            inspection: Arc::new(Inspection { exports, ..Inspection::default() }),
            component_bytes: 0,
            digest: blake3::hash(b""),
            memory_bytes: 0,
        }
    }

    #[test]
    fn who_would_tell_who_is_there_and_crashes_at_its_start_is_unknown() {
        let addon = addon();
        assert!(addon.presence(MonoTime::default()).is_empty());
        addon.identify(identity(&[Export::Presence]));
        addon.collector_failed(Now::default(), "it trapped");
        let present = addon.presence(MonoTime::default());
        assert!(present.iter().any(|presence| presence.weight > 0.0 && presence.kind.contains("it trapped")));
        addon.silence();
        assert!(addon.presence(MonoTime::default()).is_empty(), "switched off");
        addon.identify(identity(&[Export::Presence]));
        assert!(!addon.presence(MonoTime::default()).is_empty(), "switched on and not asked yet");
    }

    #[test]
    fn what_a_leaving_task_says_of_its_state_is_no_news() {
        let addon = addon();
        addon.set_leaving(true);
        addon.set_state(Now::default(), AddonState::Disabled, None, None);
        addon.started(Now::default(), identity(&[]), None);
        assert_eq!(addon.state(), AddonState::Disabled);
        addon.set_leaving(false);
        addon.started(Now::default(), identity(&[]), None);
        assert_eq!(addon.state(), AddonState::Running);
    }

    #[test]
    fn the_reason_of_a_rollback_outlives_the_restart_of_the_old_one() {
        let addon = addon();
        addon.set_pending(Some(Problem { code: "trap", text: "no".to_owned(), at: WallTime(0) }));
        addon.started(Now::default(), identity(&[]), Some(ROLLED_BACK));
        assert!(addon.view(Now::default()).pending.is_some());
        addon.started(Now::default(), identity(&[]), Some("new_file"));
        assert!(addon.view(Now::default()).pending.is_none());
    }
}
