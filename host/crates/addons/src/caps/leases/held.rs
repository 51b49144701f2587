//! A lease in somebody's hand: a guest's own, which is given back when it is dropped, and the seat of a job, whose lease belongs to the
//! one who runs it.

use super::{LeaseError, Permit, Scheduler, how_it_ended, seen};
use crate::brake::Brake;
use crate::caps::log::clean;
use lowtide_clock as clock;
use lowtide_core::lease::{
    self as core, Directive, Input, Instruction, LeaseName, Progress, Refusal, Reply, Text, Usage,
};
use lowtide_core::limits::LEASE_NOTE_BYTES_MAX;
use lowtide_core::units::MonoTime;
use std::fmt;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// A wait for news of a lease is looked after so often, should the news have been lost with a disk that failed.
const LOOK_AGAIN: Duration = Duration::from_secs(30);

/// A lease of an addon, as the resource of a guest.
#[derive(Debug)]
pub struct Lease(pub(crate) Kind);

/// See [`Lease`].
#[derive(Debug)]
pub(crate) enum Kind {
    /// The guest asked for it.
    Own(Held),
    /// The job that the guest runs has it.
    Job {
        seat: Arc<Seat>,
        /// The guest is done with it. The lease itself is given back when the run is over.
        over: bool,
    },
}

impl Lease {
    fn link(&self) -> &Link {
        match &self.0 {
            Kind::Own(held) => &held.link,
            Kind::Job { seat, .. } => &seat.link,
        }
    }

    pub(crate) fn name(&self) -> LeaseName {
        self.link().name
    }

    pub(crate) fn token(&self) -> u64 {
        match &self.0 {
            Kind::Own(held) => held.token(),
            Kind::Job { seat, .. } => seat.token,
        }
    }

    pub(crate) async fn heartbeat(&self) -> Result<Directive, LeaseError> {
        self.check()?;
        if let Kind::Job { seat, .. } = &self.0
            && let Some(within) = seat.ends_in()
        {
            return Ok(Directive::Revoke { within });
        }
        self.link().heartbeat(false).await.map(|instruction| instruction.directive)
    }

    pub(crate) async fn report(&self, done_ratio: Option<f64>, note: &str) -> Result<(), LeaseError> {
        self.check()?;
        if done_ratio.is_some_and(|ratio| !(0.0..=1.0).contains(&ratio)) {
            return Err(LeaseError::Invalid("done-ratio must be 0 to 1".to_owned()));
        }
        let note = words(note);
        self.link().report(Progress { done_ratio, note, usage: Usage::default() }).await
    }

    pub(crate) async fn release(&mut self) -> Result<(), LeaseError> {
        match &mut self.0 {
            Kind::Own(held) => held.release(true, "", Usage::default()).await,
            Kind::Job { over, .. } => {
                let before = std::mem::replace(over, true);
                if before { Err(given_back()) } else { Ok(()) }
            }
        }
    }

    fn check(&self) -> Result<(), LeaseError> {
        if matches!(&self.0, Kind::Job { over: true, .. }) { Err(given_back()) } else { Ok(()) }
    }

    /// The guest no longer wants it.
    pub(crate) fn let_go(self) {
        if let Kind::Own(mut held) = self.0 {
            held.tell(true, "");
        }
    }
}

fn given_back() -> LeaseError {
    LeaseError::Gone("the lease was given back".to_owned())
}

/// A text of a guest as notes of leases have it.
fn words(text: &str) -> Text {
    clean(text, LEASE_NOTE_BYTES_MAX).as_ref().into()
}

/// The way to one lease.
#[derive(Clone)]
pub(crate) struct Link {
    pub(super) scheduler: Arc<dyn Scheduler>,
    pub(super) holder: Text,
    pub(super) name: LeaseName,
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "lease {}", self.name)
    }
}

impl Link {
    fn holder(&self) -> Option<Text> {
        Some(Text::clone(&self.holder))
    }

    async fn instruction(&self, input: Input) -> Result<Instruction, LeaseError> {
        match self.scheduler.ask(input).await.map_err(LeaseError::Unavailable)? {
            Reply::Directive(instruction) => Ok(*instruction),
            Reply::Refused(refusal) => Err(gone(&refusal)),
            _ => Err(LeaseError::Unavailable("the scheduler gave no answer to a heartbeat".to_owned())),
        }
    }

    /// `reached`: whether the work is stopped at once when it is to stand still.
    async fn heartbeat(&self, reached: bool) -> Result<Instruction, LeaseError> {
        self.instruction(Input::Heartbeat { name: self.name, holder: self.holder(), reached }).await
    }

    async fn report(&self, progress: Progress) -> Result<(), LeaseError> {
        let input = Input::Report { name: self.name, holder: self.holder(), progress };
        self.instruction(input).await.map(|_| ())
    }

    fn release(&self, done: bool, note: &str, usage: Usage) -> Input {
        Input::Release { name: self.name, holder: self.holder(), done, note: words(note), usage }
    }
}

fn gone(refusal: &Refusal) -> LeaseError {
    LeaseError::Gone(match refusal {
        Refusal::Over(lease) => how_it_ended(lease),
        Refusal::StillQueued(_) => "the lease still waits".to_owned(),
        _ => "the lease is not known any more".to_owned(),
    })
}

/// A lease that is held or waits. Dropping it gives it back.
#[derive(Debug)]
pub(crate) struct Held {
    link: Link,
    lease: Arc<core::Lease>,
    /// Its place among what the addon waits for.
    permit: Option<Permit>,
    over: bool,
}

impl Held {
    pub(super) fn new(link: Link, lease: Arc<core::Lease>, permit: Permit) -> Self {
        let permit = lease.is_queued().then_some(permit);
        Self { link, lease, permit, over: false }
    }

    /// The lease as it was when it was granted, or when it was asked for.
    pub(crate) fn lease(&self) -> &core::Lease {
        &self.lease
    }

    fn token(&self) -> u64 {
        self.lease.token().map_or(0, |token| token.0)
    }

    /// Waits until it is granted.
    ///
    /// # Errors
    /// When it is taken out of the queue, or the scheduler does not answer.
    pub(crate) async fn granted(&mut self) -> Result<(), LeaseError> {
        let (id, scheduler) = (self.link.name.id, Arc::clone(&self.link.scheduler));
        while self.lease.is_queued() {
            // First the wait, then the look: what happens in between ends the wait at once.
            let changed = scheduler.changed(id);
            let find = |scheduler: &core::Scheduler| Some(Arc::clone(&scheduler.ledger().get(id)?.lease));
            let Some(lease) = seen(&*scheduler, find).await? else {
                self.over = true;
                return Err(LeaseError::Gone("the request is not known any more".to_owned()));
            };
            if !lease.is_queued() {
                self.lease = lease;
                break;
            }
            let _ = tokio::time::timeout(LOOK_AGAIN, news(changed)).await;
        }
        self.permit = None;
        if self.lease.is_held() {
            return Ok(());
        }
        self.over = true;
        Err(LeaseError::Gone(how_it_ended(&self.lease)))
    }

    /// Says that its holder lives, and asks what to do.
    ///
    /// # Errors
    /// When it is over, or the scheduler does not answer.
    pub(crate) async fn heartbeat(&self) -> Result<Instruction, LeaseError> {
        // Jobs are stopped in the sandbox.
        self.link.heartbeat(true).await
    }

    /// Resolves when something happens to it. That may be missed: look after it from time to time.
    pub(crate) fn changed(&self) -> impl Future<Output = ()> + Send + use<> {
        news(self.link.scheduler.changed(self.link.name.id))
    }

    /// Gives it back.
    ///
    /// # Errors
    /// When it is over already, or the scheduler does not answer.
    pub(crate) async fn release(&mut self, done: bool, note: &str, usage: Usage) -> Result<(), LeaseError> {
        if self.over {
            return Err(LeaseError::Gone(how_it_ended(&self.lease)));
        }
        let input = self.link.release(done, note, usage);
        match self.link.scheduler.ask(input).await.map_err(LeaseError::Unavailable)? {
            Reply::Refused(refusal) => {
                self.over = true;
                Err(gone(&refusal))
            }
            reply => {
                self.over = true;
                if let Reply::Ended(lease) = reply {
                    self.lease = lease;
                }
                Ok(())
            }
        }
    }

    /// Takes it back by force, since its holder did not let go in time.
    pub(crate) async fn take_back(&mut self, why: &str) {
        let input = Input::Revoke { name: self.link.name, why: words(why), grace: Some(Duration::ZERO) };
        self.over = self.link.scheduler.ask(input).await.is_ok();
    }

    /// Gives it back without waiting for the answer.
    fn tell(&mut self, done: bool, note: &str) {
        if !std::mem::replace(&mut self.over, true) {
            self.link.scheduler.tell(self.link.release(done, note, Usage::default()));
        }
    }

    /// Leaves it in the queue, for whoever comes after.
    pub(crate) fn leave_in_queue(mut self) {
        self.over = true;
    }

    /// The seat of a job that runs under this lease.
    pub(crate) fn seat(&self, job: &str) -> Arc<Seat> {
        Arc::new(Seat {
            job: job.to_owned(),
            link: self.link.clone(),
            token: self.token(),
            brake: Arc::default(),
            end: Mutex::new(None),
        })
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.tell(false, "its holder ended without giving it back");
    }
}

async fn news(changed: Option<tokio::sync::oneshot::Receiver<()>>) {
    match changed {
        Some(changed) => drop(changed.await),
        // Too many wait: who looks again after a while sees it all the same.
        None => std::future::pending().await,
    }
}

/// Where a job sits while it runs: what its guest may do with the lease, and what the host does with the guest.
#[derive(Debug)]
pub(crate) struct Seat {
    job: String,
    link: Link,
    token: u64,
    /// What holds the guest still or slows it down, whether it obeys or not.
    brake: Arc<Brake>,
    /// When the run is cut off, if the host ends it for reasons that the scheduler does not know.
    end: Mutex<Option<MonoTime>>,
}

impl Seat {
    /// Which job.
    pub(crate) fn job(&self) -> &str {
        &self.job
    }

    /// See [`Brake`].
    pub(crate) fn brake(&self) -> &Arc<Brake> {
        &self.brake
    }

    /// Tells the guest, at its next heartbeat, that it must stop until then.
    pub(crate) fn end_at(&self, end: MonoTime) {
        *self.end.lock().unwrap_or_else(PoisonError::into_inner) = Some(end);
    }

    fn ends_in(&self) -> Option<Duration> {
        let end = *self.end.lock().unwrap_or_else(PoisonError::into_inner);
        end.map(|end| end.since(clock::mono()))
    }
}
