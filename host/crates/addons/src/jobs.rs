//! The jobs of an addon: one task beside the one that collects. It asks for a lease when a job is due, waits for it, and runs the job under it on
//! an instance of its own; one at a time.
//!
//! What it knows of jobs survives neither it nor the daemon, and need not: the scheduler remembers when each was last done and what still
//! waits.

mod board;
mod due;
mod run;
#[cfg(test)]
mod tests;

pub(crate) use board::{JobBoard, NoOrder};
pub(crate) use due::unfit;

use crate::addon::Addon;
use crate::answers::JobDescription;
use crate::caps::leases::{Held, JOB_KEY, LeaseDesk, LeaseError, is_of_job, seen};
use crate::guest::Abilities;
use crate::inspect::Export;
use crate::instance::Template;
use crate::limits;
use crate::status::{AddonState, JobState, Problem};
use crate::task::Load;
use lowtide_clock as clock;
use lowtide_core::lease::{Lease, Request, Text};
use lowtide_core::limits::{FREEZE_DEFAULT, LEASE_DURATION_MAX};
use lowtide_core::units::{MonoTime, Now, WallTime};
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Why the jobs end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    /// The addon comes back: what waits in the queue keeps its place.
    ComesBack,
    ForGood,
}

/// The task. Dropping this cuts it off, with the job that it runs.
pub(crate) struct Runner {
    addon: Arc<Addon>,
    stop: watch::Sender<Option<Ending>>,
    task: JoinHandle<()>,
}

impl Runner {
    /// Starts it, where there are jobs, a grant for their leases, and a scheduler.
    pub(crate) fn start(addon: &Arc<Addon>, load: &Load) -> Option<Self> {
        let desk = load.abilities.leases.clone()?;
        if load.by_hand || !load.template.exports(Export::Job) || desk.scheduler().is_err() {
            return None;
        }
        let (stop, stopped) = watch::channel(None);
        addon.jobs.set_active(true);
        let jobs = Jobs {
            addon: Arc::clone(addon),
            template: load.template.clone(),
            abilities: Arc::clone(&load.abilities),
            desk,
            stop: stopped,
            tracks: BTreeMap::new(),
            left: None,
        };
        Some(Self { addon: Arc::clone(addon), stop, task: tokio::spawn(jobs.live()) })
    }

    /// Ends it: a job that runs is told, and cut off if it does not stop at once. The addon may come back, and then its request in the queue
    /// is still there.
    pub(crate) async fn end(mut self, comes_back: bool) {
        self.stop.send_replace(Some(if comes_back { Ending::ComesBack } else { Ending::ForGood }));
        let _ = (&mut self.task).await;
    }
}

impl Drop for Runner {
    fn drop(&mut self) {
        self.task.abort();
        self.addon.jobs.set_active(false);
    }
}

/// The words of problems that are over once the scheduler has taken a request.
const NO_PLACE: [&str; 4] = ["leases_unavailable", "not_granted", "lease_refused", "request_ended"];

/// What is known of one job.
#[derive(Clone, Debug, Default)]
struct Track {
    last_run: Option<WallTime>,
    /// Runs that failed, in a row.
    failures: u32,
    not_before: Option<MonoTime>,
    /// The scheduler had no place for it, or did not answer: not even an order helps before this.
    no_place_before: Option<MonoTime>,
    /// It stopped because it was told to, and goes on with its next run.
    unfinished: bool,
}

struct Jobs {
    addon: Arc<Addon>,
    template: Template,
    abilities: Arc<Abilities>,
    desk: Arc<LeaseDesk>,
    stop: watch::Receiver<Option<Ending>>,
    tracks: BTreeMap<String, Track>,
    /// A request that was found in the queue, made by an earlier task.
    left: Option<Held>,
}

/// What to do next.
enum Next {
    Rest(Duration),
    Run(JobDescription),
}

/// Resolves when the jobs are to end.
async fn ending(stop: &mut watch::Receiver<Option<Ending>>) -> Ending {
    match stop.wait_for(Option::is_some).await {
        Ok(ending) => (*ending).unwrap_or(Ending::ForGood),
        Err(_) => Ending::ForGood,
    }
}

impl Jobs {
    async fn live(mut self) {
        while let Err(error) = self.take_over().await {
            tracing::debug!(addon = self.addon.shared.id.as_str(), %error, "jobs wait for the scheduler");
            self.rest(limits::JOB_ASK_AGAIN).await;
            if self.stop.borrow().is_some() {
                return;
            }
        }
        while self.stop.borrow().is_none() {
            let next = match self.learn().await {
                Ok(()) => self.next(clock::now()),
                Err(_) => Next::Rest(limits::JOB_ASK_AGAIN),
            };
            match next {
                Next::Rest(pause) => self.rest(pause).await,
                Next::Run(job) => {
                    if let Some(held) = self.obtain(&job).await {
                        self.perform(&job, held).await;
                    }
                }
            }
        }
        if *self.stop.borrow() == Some(Ending::ComesBack)
            && let Some(left) = self.left.take()
        {
            left.leave_in_queue();
        }
    }

    /// Waits, until something may have changed.
    async fn rest(&mut self, pause: Duration) {
        tokio::select! {
            _ = ending(&mut self.stop) => {}
            _ = tokio::time::timeout(pause, self.addon.jobs.news()) => {}
        }
    }

    /// Looks for what an earlier task left at the scheduler: a request that waits goes on waiting; what was held is given back, since nobody
    /// runs it any more.
    async fn take_over(&mut self) -> Result<(), LeaseError> {
        for lease in self.desk.leases().await? {
            if !is_of_job(&lease) {
                continue;
            }
            let queued = lease.is_queued();
            let held = self.desk.adopt(lease)?;
            // Any other is given back by being dropped.
            if queued && self.left.is_none() {
                self.left = Some(held);
            }
        }
        Ok(())
    }

    /// Asks the scheduler when the jobs that are new here were last done.
    async fn learn(&mut self) -> Result<(), LeaseError> {
        let names = self.addon.jobs.fit().into_iter().map(|(job, _)| job.name);
        let unknown: Vec<String> = names.filter(|name| !self.tracks.contains_key(name)).collect();
        if unknown.is_empty() {
            return Ok(());
        }
        let holder = Text::clone(self.desk.holder());
        let found = seen(&**self.desk.scheduler()?, |scheduler| {
            let last = |name: String| {
                let job = (Text::clone(&holder), Text::from(name.as_str()));
                let track = Track { last_run: scheduler.ledger().last_run(&job), ..Track::default() };
                (name, track)
            };
            unknown.into_iter().map(last).collect::<Vec<_>>()
        });
        self.tracks.extend(found.await?);
        Ok(())
    }

    /// The job to run now, or how long there is none. Those that somebody ordered go first, then what waits already, then by priority.
    fn next(&self, now: Now) -> Next {
        let mut pause = limits::JOB_LOOK;
        let mut due_now = Vec::new();
        let runs = self.addon.state() == AddonState::Running;
        for (job, ordered) in self.addon.jobs.fit() {
            let Some(track) = self.tracks.get(&job.name) else { continue };
            let at = job.every.map(|every| due::due(track.last_run, every, now.wall));
            let at = if track.unfinished { Some(now.wall) } else { at };
            let left = |until: Option<MonoTime>| until.map_or(Duration::ZERO, |until| until.since(now.mono));
            let wait = if ordered {
                Some(left(track.no_place_before))
            } else {
                at.map(|at| due::until(now.wall, at).max(left(track.not_before)))
            };
            self.addon.jobs.set_due(&job.name, wait.map(|wait| due::after(now.wall, wait)));
            match wait {
                Some(wait) if wait.is_zero() => due_now.push((ordered, at, job)),
                Some(wait) => pause = pause.min(wait),
                None => {}
            }
        }
        let waits = |job: &JobDescription| {
            self.left.as_ref().is_some_and(|left| *left.lease().request.job_type == *job.name)
        };
        let first = due_now.into_iter().min_by_key(|(ordered, at, job)| {
            (Reverse(*ordered), Reverse(waits(job)), Reverse(job.priority), *at)
        });
        match first.filter(|_| runs) {
            Some((_, _, job)) => Next::Run(job),
            None => Next::Rest(pause),
        }
    }

    /// The request by which a job asks for its lease.
    fn request(&self, job: &JobDescription, now: WallTime) -> Request {
        let expected = job.expected_duration.filter(|span| !span.is_zero());
        let expected = expected.unwrap_or(limits::JOB_DURATION_USUAL).min(LEASE_DURATION_MAX);
        Request {
            holder: Text::clone(self.desk.holder()),
            job_type: job.name.as_str().into(),
            units: job.cost_units,
            priority: job.priority.into(),
            // In whole milliseconds, as it is stored.
            expected_duration: Duration::from_millis(u64::try_from(expected.as_millis()).unwrap_or(1).max(1)),
            constraints: job.constraints,
            pausable: job.pausable,
            max_freeze: FREEZE_DEFAULT,
            deadline: None,
            wait: true,
            wait_max: None,
            owner_units_max: None,
            key: Some(format!("{JOB_KEY}{}:{}", job.name, now.unix_ms()).into()),
        }
    }

    /// Whether a request that waits is the one that this job would make now.
    fn is_for(&self, lease: &Lease, job: &JobDescription) -> bool {
        let earlier = &lease.request;
        let mut now = self.request(job, WallTime(0));
        (now.key, now.deadline) = (earlier.key.clone(), earlier.deadline);
        *earlier == now
    }

    /// Asks for the lease of a job and waits for it.
    async fn obtain(&mut self, job: &JobDescription) -> Option<Held> {
        let left = self.left.take().filter(|left| self.is_for(left.lease(), job));
        let asked = match left {
            Some(left) => Ok(left),
            None => self.desk.ask(self.request(job, clock::now().wall)).await,
        };
        let mut held = match asked {
            Ok(held) => held,
            Err(error) => {
                self.put_off(job, &error);
                return None;
            }
        };
        let addon = Arc::clone(&self.addon);
        addon.jobs.has_a_place(&job.name, &NO_PLACE);
        addon.jobs.set_state(&job.name, JobState::Waiting, Some(held.lease().name().to_string()));
        let granted = loop {
            tokio::select! {
                biased;
                ending = ending(&mut self.stop) => {
                    addon.jobs.set_state(&job.name, JobState::Idle, None);
                    if ending == Ending::ComesBack && held.lease().is_queued() {
                        held.leave_in_queue();
                    }
                    return None;
                }
                granted = held.granted() => break granted,
                () = addon.jobs.news() => {
                    // Another one that somebody ordered, or this one as it is now, goes first.
                    let fit = addon.jobs.fit();
                    let is_as_it_was = fit.iter().any(|(known, _)| known == job);
                    let is_ordered = fit.iter().any(|(known, ordered)| *ordered && known.name != job.name);
                    if is_ordered || !is_as_it_was {
                        addon.jobs.set_state(&job.name, JobState::Idle, None);
                        return None;
                    }
                }
            }
        };
        match granted {
            Ok(()) => Some(held),
            Err(error) => {
                addon.jobs.set_state(&job.name, JobState::Idle, None);
                self.put_off(job, &error);
                None
            }
        }
    }

    /// There was no lease for it: it is asked for again later.
    fn put_off(&mut self, job: &JobDescription, error: &LeaseError) {
        let now = clock::now();
        let track = self.tracks.entry(job.name.clone()).or_default();
        let (pause, code) = match error {
            LeaseError::Denied { retry_after, .. } => {
                ((*retry_after).clamp(limits::JOB_EVERY_MIN, limits::JOB_RETRY_MAX), None)
            }
            LeaseError::Unavailable(_) => (limits::JOB_ASK_AGAIN, Some("leases_unavailable")),
            LeaseError::NotGranted(_) => (limits::JOB_RETRY_FIRST, Some("not_granted")),
            LeaseError::Invalid(_) => (limits::JOB_RETRY_FIRST, Some("lease_refused")),
            LeaseError::Gone(_) => {
                track.failures = track.failures.saturating_add(1);
                (due::pause(track.failures), Some("request_ended"))
            }
        };
        track.not_before = Some(now.mono.plus(pause));
        track.no_place_before = track.not_before;
        if matches!(error, LeaseError::Gone(_)) {
            // Somebody wants it otherwise.
            self.addon.jobs.take_order(&job.name);
        }
        if let Some(code) = code {
            let problem = Problem { code, text: format!("job {}: {error}", job.name), at: now.wall };
            self.addon.jobs.set_problem(&job.name, Some(problem));
        }
    }
}
