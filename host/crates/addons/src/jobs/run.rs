//! One run of a job under its lease: the guest on an instance of its own, and beside it who heartbeats for it, hears what it is to do, and
//! cuts it off when its time is over.

use super::{Ending, Jobs, due, ending};
use crate::answers::{Failure, JobDescription, Outcome};
use crate::caps::leases::{Held, LeaseError, Seat, seen, usage};
use crate::caps::log::{Level, clean};
use crate::fault::Fault;
use crate::gate::CallClock;
use crate::inspect::Export;
use crate::instance::{Call, Instance};
use crate::limits;
use crate::meter::Meter;
use crate::status::{JobEnd, JobState, Problem};
use lowtide_clock as clock;
use lowtide_core::lease::{Directive, Instruction, Phase};
use lowtide_core::limits::ERROR_TEXT_BYTES_MAX;
use lowtide_core::units::MonoTime;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::sync::watch;

/// Time between two heartbeats, if the scheduler does not say it.
const HEARTBEAT: Duration = Duration::from_secs(10);

/// How a run ended.
enum End {
    ByItself(Result<Result<Outcome, Failure>, Fault>),
    Cut(Cut),
}

/// Why a run is cut off.
#[derive(Clone, Debug)]
enum Cut {
    /// It was revoked for this reason, and did not stop in time.
    Revoked(String),
    /// Its lease is no longer there, for this reason.
    Gone(String),
    /// Its addon ends.
    AddonEnds,
}

/// What is told of a run.
struct Told {
    outcome: &'static str,
    text: String,
    /// A word for the problem that it is, if it is one.
    problem: Option<&'static str>,
}

impl Jobs {
    /// Runs a job under its lease, which is given back in the end however it ends.
    pub(super) async fn perform(&mut self, job: &JobDescription, mut held: Held) {
        let addon = Arc::clone(&self.addon);
        let meter = Arc::clone(&addon.shared.meter);
        addon.jobs.take_order(&job.name);
        addon.jobs.set_state(&job.name, JobState::Running, Some(held.lease().name().to_string()));
        let begun = clock::mono();
        let seat = held.seat(&job.name);
        let used = OnceLock::new();
        let mut was_told = false;
        let every = self.heartbeat_interval().await;
        let mut stop = self.stop.clone();
        let end = tokio::select! {
            biased;
            result = self.guest(job, &held, Arc::clone(&seat), &used) => End::ByItself(result),
            cut = self.watch_over(job, &held, &seat, every, &mut stop, &mut was_told) => End::Cut(cut),
        };
        meter.job_memory(0);
        meter.paused(seat.brake().take_paused());
        let cpu = used.get().map_or(Duration::ZERO, |clock: &Arc<CallClock>| clock.taken().0);
        let told = tell(&end);
        match &end {
            End::Cut(Cut::Revoked(why)) => held.take_back(why).await,
            _ => {
                let given_back = held.release(told.outcome == "done", &told.text, usage(cpu)).await;
                if let Err(LeaseError::Unavailable(error)) = given_back {
                    tracing::warn!(
                        addon = addon.shared.id.as_str(),
                        job = job.name,
                        error,
                        "a lease is not given back"
                    );
                }
            }
        }
        match &end {
            End::ByItself(Ok(Err(_))) => Meter::add(&meter.failures, 1),
            End::ByItself(Err(_)) => Meter::add(&meter.crashes, 1),
            End::Cut(cut) => {
                meter.call(Duration::ZERO, clock::mono().since(begun));
                if !matches!(cut, Cut::AddonEnds) {
                    Meter::add(&meter.crashes, 1);
                }
            }
            End::ByItself(Ok(Ok(_))) => {}
        }
        self.publish();
        self.note(job, told, was_told);
    }

    /// The guest, on an instance that lives as long as this.
    async fn guest(
        &self,
        job: &JobDescription,
        held: &Held,
        seat: Arc<Seat>,
        used: &OnceLock<Arc<CallClock>>,
    ) -> Result<Result<Outcome, Failure>, Fault> {
        let (shared, abilities) = (Arc::clone(&self.addon.shared), Arc::clone(&self.abilities));
        let mut instance = Instance::start(&self.template, shared, abilities, Some(seat)).await?;
        // As of every new instance.
        instance.call(Call::Jobs).await?;
        let clock = instance.clock();
        if let Ok(scheduler) = self.desk.scheduler() {
            let clock = Arc::clone(&clock);
            scheduler.meter(held.lease().id, Arc::new(move || clock.all()));
        }
        let _ = used.set(clock);
        instance.run(&job.name).await
    }

    async fn heartbeat_interval(&self) -> Duration {
        let Ok(scheduler) = self.desk.scheduler() else { return HEARTBEAT };
        let interval = seen(&**scheduler, |scheduler| scheduler.policy().heartbeat_interval()).await;
        interval.unwrap_or(HEARTBEAT).max(Duration::from_millis(100))
    }

    /// Heartbeats for a run, and returns when it is to be cut off.
    async fn watch_over(
        &self,
        job: &JobDescription,
        held: &Held,
        seat: &Seat,
        every: Duration,
        stop: &mut watch::Receiver<Option<Ending>>,
        was_told: &mut bool,
    ) -> Cut {
        let mut end: Option<(MonoTime, Cut)> = None;
        let mut leaving = false;
        loop {
            if let Some((at, cut)) = &end
                && *at <= clock::mono()
            {
                return cut.clone();
            }
            // First the wait, then the question: what happens in between ends the wait at once.
            let changed = held.changed();
            match held.heartbeat().await {
                Ok(_) if leaving => {}
                Ok(instruction) => {
                    self.steer(job, seat, &instruction);
                    if let Directive::Revoke { within } = instruction.directive {
                        let why = match &instruction.lease.phase {
                            Phase::Revoking { why, .. } => why.to_string(),
                            _ => String::new(),
                        };
                        *was_told = true;
                        end = Some((clock::mono().plus(within), Cut::Revoked(why)));
                    }
                }
                // The scheduler may have ended what is over a moment earlier.
                Err(LeaseError::Gone(why)) => return end.map_or(Cut::Gone(why), |(_, cut)| cut),
                // It runs on: whether its lease still holds is known when the scheduler answers again.
                Err(_) => {}
            }
            self.publish();
            let pause = end.as_ref().map_or(every, |(at, _)| at.since(clock::mono()).min(every));
            tokio::select! {
                _ = tokio::time::timeout(pause, changed) => {}
                _ = ending(stop), if !leaving => {
                    (leaving, *was_told) = (true, true);
                    let at = clock::mono().plus(limits::JOB_DRAIN);
                    seat.brake().release();
                    seat.end_at(at);
                    end = Some((at, Cut::AddonEnds));
                }
            }
        }
    }

    /// Makes the guest do what its lease says, whether it asks for that or not.
    fn steer(&self, job: &JobDescription, seat: &Seat, instruction: &Instruction) {
        let (brake, lease) = (seat.brake(), &instruction.lease);
        brake.limit(lease.held_units(), lease.request.units);
        // Who is to let go must be able to hear it.
        let paused = instruction.directive == Directive::Pause;
        if paused != brake.is_paused() {
            brake.pause(paused);
            let state = if paused { JobState::Paused } else { JobState::Running };
            self.addon.jobs.set_state(&job.name, state, Some(lease.name().to_string()));
        }
    }

    /// What it records is seen while it runs, also where nothing else is called that would show it.
    fn publish(&self) {
        if !self.template.exports(Export::Collector) {
            self.addon.publish(clock::now());
        }
    }

    /// Notes how a run ended, and when the next may begin.
    fn note(&mut self, job: &JobDescription, told: Told, was_told: bool) {
        let now = clock::now();
        let id = self.addon.shared.id.as_str();
        let Told { outcome, text, problem } = told;
        let track = self.tracks.entry(job.name.clone()).or_default();
        track.unfinished = outcome == "stopped";
        match outcome {
            "done" => {
                (track.last_run, track.failures, track.not_before) = (Some(now.wall), 0, None);
                tracing::info!(addon = id, job = job.name, text, "job done");
            }
            // It did what it was told: no failure, and the queue decides when it goes on.
            "stopped" if was_told => track.not_before = Some(now.mono.plus(due::pause(1))),
            _ => {
                track.failures = track.failures.saturating_add(1);
                track.not_before = Some(now.mono.plus(due::pause(track.failures)));
            }
        }
        let problem = problem.map(|code| {
            let text = clean(&format!("job {}: {text}", job.name), ERROR_TEXT_BYTES_MAX).into_owned();
            self.addon.shared.log().push(now, Level::Error, &text);
            tracing::warn!(addon = id, job = job.name, code, problem = text, "job did not end well");
            Problem { code, text, at: now.wall }
        });
        self.addon.jobs.ended(&job.name, JobEnd { outcome, text, at: now.wall }, problem);
    }
}

/// How the end of a run is told.
fn tell(end: &End) -> Told {
    let (outcome, text, problem) = match end {
        End::ByItself(Ok(Ok(Outcome::Done(text)))) => ("done", text.clone(), None),
        End::ByItself(Ok(Ok(Outcome::Stopped))) => ("stopped", "it stopped early".to_owned(), None),
        End::ByItself(Ok(Err(failure))) => ("failed", failure.to_string(), Some("job_failed")),
        End::ByItself(Err(fault)) => ("failed", fault.to_string(), Some(fault.code())),
        End::Cut(Cut::Revoked(why)) => {
            ("cut_off", format!("it did not stop in time when it was told to: {why}"), Some("job_cut_off"))
        }
        End::Cut(Cut::Gone(why)) => {
            ("cut_off", format!("it ran without its lease: {why}"), Some("job_cut_off"))
        }
        End::Cut(Cut::AddonEnds) => ("cut_off", "its addon ended while it ran".to_owned(), None),
    };
    Told { outcome, text: clean(&text, ERROR_TEXT_BYTES_MAX).into_owned(), problem }
}
