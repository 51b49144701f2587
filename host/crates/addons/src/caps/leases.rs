//! The behaviour behind the import `leases`, and behind the leases that jobs run under: what an addon may ask the scheduler for, and that
//! nothing of it outlives the one who asked.
//!
//! It decides nothing itself: whatever implements [`Scheduler`] does, by the same way that REST takes. docs/adr/011-leases.md tells why.

mod held;

pub use held::Lease;
pub(crate) use held::{Held, Kind, Seat};

use crate::capabilities::{LeaseBounds, LeasePriority};
use crate::id::AddonId;
use crate::limits;
use held::Link;
use lowtide_core::lease::{
    self as core, Constraints, Decision, Input, LeaseId, Phase, Refusal, Reply, Request, Share, Text, Usage,
};
use lowtide_core::limits::{
    COST_UNITS_MAX, FREEZE_DEFAULT, LEASE_ADDON_PREFIX, LEASE_DURATION_MAX, LEASE_NAME_BYTES_MAX,
};
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::oneshot;

/// An answer of the scheduler that may take its time; the text says why there is none.
pub type Asked<'a, T> = Pin<Box<dyn Future<Output = Result<T, String>> + Send + 'a>>;

/// A look at the scheduler. It must be short.
pub type Look<'a> = Box<dyn FnOnce(&core::Scheduler) + Send + 'a>;

/// Tells the processor time that a leased job has used so far.
pub type GuestCpu = Arc<dyn Fn() -> Duration + Send + Sync>;

/// The scheduler, as far as addons need it.
pub trait Scheduler: Send + Sync {
    /// Asks for something; the answer comes when it is durable.
    fn ask(&self, input: Input) -> Asked<'_, Reply>;

    /// Lets go of something at once, without waiting for anything: a destructor calls it.
    fn tell(&self, input: Input);

    /// Resolves when something happens to a lease; `None` when too many wait for that.
    fn changed(&self, id: LeaseId) -> Option<oneshot::Receiver<()>>;

    /// The work of a lease runs in the sandbox, and this tells how much processor time it has used: it is no load of others.
    fn meter(&self, _lease: LeaseId, _cpu: GuestCpu) {}

    /// Looks at the scheduler.
    fn look<'a>(&'a self, look: Look<'a>) -> Asked<'a, ()>;
}

/// What a look found.
pub(crate) async fn seen<T: Send>(
    scheduler: &dyn Scheduler,
    look: impl FnOnce(&core::Scheduler) -> T + Send,
) -> Result<T, LeaseError> {
    let mut found = None;
    let asked = scheduler.look(Box::new(|scheduler| found = Some(look(scheduler)))).await;
    asked.map_err(LeaseError::Unavailable)?;
    found.ok_or_else(|| LeaseError::Unavailable("the scheduler could not be looked at".to_owned()))
}

/// Why there is no lease. The texts are for the addon and for its operator.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LeaseError {
    /// Not now.
    #[error("denied: {}", reasons.first().map(String::as_str).unwrap_or_default())]
    Denied {
        /// When to ask again.
        retry_after: Duration,
        /// Why, most important first.
        reasons: Vec<String>,
    },
    /// The request breaks a rule.
    #[error("{0}")]
    Invalid(String),
    /// The lease has ended.
    #[error("{0}")]
    Gone(String),
    /// More than the operator granted.
    #[error("{0}")]
    NotGranted(String),
    /// The scheduler does not answer, or there is none.
    #[error("{0}")]
    Unavailable(String),
}

/// What a guest asks for, as it says it.
#[derive(Clone, Debug)]
pub(crate) struct Wish {
    pub(crate) job_type: String,
    pub(crate) units: u32,
    pub(crate) priority: LeasePriority,
    pub(crate) expected_seconds: f64,
    pub(crate) constraints: Constraints,
    pub(crate) wait_seconds: Option<f64>,
}

/// When to ask again, if nobody knows better.
const RETRY_USUAL: Duration = Duration::from_secs(60);

/// What of an addon is being asked for or waits; what it holds, the scheduler knows. Cheap to clone; all clones count together.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally(Arc<Mutex<Waiting>>);

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Waiting {
    units: u32,
    requests: usize,
}

impl Tally {
    /// Counts a request; returns what is asked for besides it.
    fn enter(&self, units: u32) -> (Permit, Waiting) {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let others = *waiting;
        *waiting = Waiting {
            units: others.units.saturating_add(units),
            requests: others.requests.saturating_add(1),
        };
        (Permit { tally: self.clone(), units }, others)
    }
}

/// A place in the tally, given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Permit {
    tally: Tally,
    units: u32,
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut waiting = self.tally.0.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.units = waiting.units.saturating_sub(self.units);
        waiting.requests = waiting.requests.saturating_sub(1);
    }
}

/// One addon's way to the scheduler.
pub(crate) struct LeaseDesk {
    scheduler: Option<Arc<dyn Scheduler>>,
    addon: AddonId,
    holder: Text,
    bounds: LeaseBounds,
    tally: Tally,
}

impl fmt::Debug for LeaseDesk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LeaseDesk").field("holder", &self.holder).finish_non_exhaustive()
    }
}

impl LeaseDesk {
    pub(crate) fn new(
        addon: AddonId,
        scheduler: Option<Arc<dyn Scheduler>>,
        bounds: LeaseBounds,
        tally: Tally,
    ) -> Self {
        let holder = holder(&addon);
        Self { scheduler, addon, holder, bounds, tally }
    }

    /// Whom the scheduler knows the addon as.
    pub(crate) fn holder(&self) -> &Text {
        &self.holder
    }

    pub(crate) fn scheduler(&self) -> Result<&Arc<dyn Scheduler>, LeaseError> {
        self.scheduler
            .as_ref()
            .ok_or_else(|| LeaseError::Unavailable("this daemon has no scheduler".to_owned()))
    }

    /// Asks for a lease as a guest does, and waits in the queue as long as it says. Whoever gives up waiting by dropping this leaves the
    /// queue.
    ///
    /// # Errors
    /// When it breaks a rule or a grant, is denied, or there is no scheduler.
    pub(crate) async fn request(&self, wish: Wish) -> Result<Held, LeaseError> {
        let request = self.checked(wish)?;
        let wait = request.wait_max;
        let mut held = self.ask(request).await?;
        let Some(wait) = wait else { return Ok(held) };
        match tokio::time::timeout(wait, held.granted()).await {
            Ok(granted) => granted.map(|()| held),
            Err(_) => Err(denied(&held.lease().decision)),
        }
    }

    /// What a guest asks for, if it keeps the rules.
    fn checked(&self, wish: Wish) -> Result<Request, LeaseError> {
        if !is_job_type(&wish.job_type) {
            return Err(LeaseError::Invalid(format!(
                "job-type must be a name such as reindex: [a-z][a-z0-9-]*, at most {LEASE_NAME_BYTES_MAX} bytes"
            )));
        }
        if !(1..=COST_UNITS_MAX).contains(&wish.units) {
            return Err(LeaseError::Invalid(format!("cost-units must be 1 to {COST_UNITS_MAX}")));
        }
        let expected_duration = span(wish.expected_seconds).filter(|span| !span.is_zero());
        let expected_duration = expected_duration.ok_or_else(|| {
            let most = LEASE_DURATION_MAX.as_secs();
            LeaseError::Invalid(format!("expected-duration must be above 0 and at most {most} s"))
        })?;
        let wait = wish.wait_seconds.map(|seconds| {
            let most = LEASE_DURATION_MAX.as_secs();
            span(seconds).ok_or_else(|| LeaseError::Invalid(format!("wait must be 0 to {most} s")))
        });
        let wait_max = wait.transpose()?.filter(|wait| !wait.is_zero());
        Ok(Request {
            holder: Text::clone(&self.holder),
            job_type: wish.job_type.into(),
            units: wish.units,
            priority: wish.priority.into(),
            expected_duration,
            constraints: wish.constraints,
            pausable: false,
            max_freeze: FREEZE_DEFAULT,
            deadline: None,
            wait: wait_max.is_some(),
            wait_max,
            key: None,
            owner_units_max: None,
        })
    }

    /// Asks the scheduler. The answer is a lease that is held or waits.
    ///
    /// # Errors
    /// When it is beyond the grant, is denied, or there is no scheduler.
    pub(crate) async fn ask(&self, request: Request) -> Result<Held, LeaseError> {
        let scheduler = Arc::clone(self.scheduler()?);
        // Counted before the look: a request of another instance that is granted in between is then counted twice and never missed.
        let (permit, waiting) = self.tally.enter(request.units);
        let share = seen(&*scheduler, |scheduler| scheduler.ledger().share(&self.holder)).await?;
        self.within_grant(&request, share, waiting)?;
        let secret = secret()?;
        // Beside the one who asks: when that one is cut off, the lease that nobody takes is given back, and not left to expire.
        let asking = tokio::spawn(async move {
            let holder = Text::clone(&request.holder);
            let input = Input::Request { request: Box::new(request), secret };
            match scheduler.ask(input).await.map_err(LeaseError::Unavailable)? {
                Reply::Lease { lease, .. } => {
                    let name = lease.name();
                    Ok(Held::new(Link { scheduler, holder, name }, lease, permit))
                }
                Reply::Denied(decision) => Err(denied(&decision)),
                Reply::Refused(Refusal::TooLarge { capacity }) => {
                    Err(LeaseError::Invalid(format!("this host has {capacity} units in all")))
                }
                _ => Err(LeaseError::Unavailable("the scheduler gave no answer to a request".to_owned())),
            }
        });
        let stopping = |_| Err(LeaseError::Unavailable("the daemon is stopping".to_owned()));
        asking.await.unwrap_or_else(stopping)
    }

    /// The scheduler's own memory of a lease, taken over by this daemon.
    pub(crate) fn adopt(&self, lease: Arc<core::Lease>) -> Result<Held, LeaseError> {
        let (permit, _) = self.tally.enter(lease.request.units);
        let link = Link {
            scheduler: Arc::clone(self.scheduler()?),
            holder: Text::clone(&self.holder),
            name: lease.name(),
        };
        Ok(Held::new(link, lease, permit))
    }

    /// Everything that the scheduler has of this addon, held or waiting.
    ///
    /// # Errors
    /// When the scheduler does not answer.
    pub(crate) async fn leases(&self) -> Result<Vec<Arc<core::Lease>>, LeaseError> {
        let own = |entry: &&core::Entry| entry.lease.request.holder == self.holder;
        seen(&**self.scheduler()?, |scheduler| {
            let ledger = scheduler.ledger();
            let entries = ledger.held().chain(ledger.waiting()).filter(own);
            entries.map(|entry| Arc::clone(&entry.lease)).collect()
        })
        .await
    }

    /// Gives back what nobody of this addon holds any more: from before a crash of the daemon. What jobs asked for is left to who runs them,
    /// if there still is someone.
    pub(crate) async fn clear(&self, has_jobs: bool) {
        // Without a scheduler they expire by themselves.
        for lease in self.leases().await.unwrap_or_default() {
            if !(has_jobs && is_of_job(&lease))
                && let Ok(held) = self.adopt(lease)
            {
                drop(held);
            }
        }
    }

    /// Whether a request stays within the grant, together with what the addon has and asks for already.
    fn within_grant(&self, request: &Request, share: Share, waiting: Waiting) -> Result<(), LeaseError> {
        if let Some(text) = beyond_priority(&self.addon, &self.bounds, request.priority) {
            return Err(LeaseError::NotGranted(text));
        }
        let used = share.units.saturating_add(waiting.units);
        if let Some(text) = beyond_units(&self.addon, &self.bounds, request.units, used) {
            return Err(LeaseError::NotGranted(text));
        }
        let number = share.held.saturating_add(waiting.requests);
        if number >= limits::LEASES_MAX {
            return Err(LeaseError::Denied {
                retry_after: RETRY_USUAL,
                reasons: vec![format!("the addon has {number} leases and requests, as many as it may")],
            });
        }
        Ok(())
    }

    /// The most that the addon's leases may take.
    pub(crate) fn bounds(&self) -> &LeaseBounds {
        &self.bounds
    }
}

/// Whom the scheduler knows an addon as. Names of holders have a bound that an id with a prefix may exceed: then a hash stands for its end.
fn holder(addon: &AddonId) -> Text {
    let name = format!("{LEASE_ADDON_PREFIX}{addon}");
    if name.len() <= LEASE_NAME_BYTES_MAX {
        return name.into();
    }
    let hash = blake3::hash(addon.as_str().as_bytes()).to_hex();
    let (begin, end) = (name.get(..LEASE_NAME_BYTES_MAX - 17), hash.get(..16));
    format!("{}-{}", begin.unwrap_or_default(), end.unwrap_or_default()).into()
}

/// Keys of the requests that jobs wait with begin so: a later instance, or the daemon after a restart, knows them by it.
pub(crate) const JOB_KEY: &str = "job:";

/// Whether this lease was asked for to run a job, and not by a guest itself.
pub(crate) fn is_of_job(lease: &core::Lease) -> bool {
    lease.request.key.as_ref().is_some_and(|key| key.starts_with(JOB_KEY))
}

/// Whether a text can be the name of a job.
pub(crate) fn is_job_type(text: &str) -> bool {
    text.len() <= LEASE_NAME_BYTES_MAX
        && text.starts_with(|first: char| first.is_ascii_lowercase())
        && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}

/// Why these units are too many for the grant, if they are: `used` is what the addon has besides.
pub(crate) fn beyond_units(addon: &AddonId, bounds: &LeaseBounds, units: u32, used: u32) -> Option<String> {
    let most = u32::from(bounds.max_units);
    let all = used.saturating_add(units);
    if all <= most {
        return None;
    }
    let besides =
        if used > 0 { format!(" besides the {used} that it has or waits for") } else { String::new() };
    let what = format!(
        "{units} units are asked for{besides}, and the leases of this addon may have {most} together"
    );
    let priority = bounds.max_priority;
    Some(if all <= COST_UNITS_MAX { format!("{what}; {}", advice(addon, all, priority)) } else { what })
}

/// Why this priority is too high for the grant, if it is.
pub(crate) fn beyond_priority(
    addon: &AddonId,
    bounds: &LeaseBounds,
    priority: core::Priority,
) -> Option<String> {
    let most: core::Priority = bounds.max_priority.into();
    let asked = match priority {
        core::Priority::Low => LeasePriority::Low,
        core::Priority::Normal => LeasePriority::Normal,
        core::Priority::High => LeasePriority::High,
    };
    (priority > most).then(|| {
        let (asked_word, most) = (asked.name(), bounds.max_priority.name());
        let advice = advice(addon, u32::from(bounds.max_units), asked);
        format!("the priority {asked_word} is asked for, and the leases of this addon may have at most {most}; {advice}")
    })
}

/// What to write where, so that it is granted.
fn advice(addon: &AddonId, units: u32, priority: LeasePriority) -> String {
    format!(
        "if it is to have more, write leases = {{ max_units = {units}, max_priority = \"{}\" }} under [asks] in addon.toml and under [addon.{addon}.grants] in the configuration",
        priority.name()
    )
}

fn denied(decision: &Decision) -> LeaseError {
    LeaseError::Denied {
        retry_after: decision.retry_after.unwrap_or(RETRY_USUAL),
        reasons: decision.reasons.iter().map(|reason| reason.text.to_string()).collect(),
    }
}

/// How a lease that is over ended, in words.
fn how_it_ended(lease: &core::Lease) -> String {
    use core::Ending;
    let Phase::Ended { ending, .. } = &lease.phase else { return "the lease is not held".to_owned() };
    match ending {
        Ending::Released { .. } | Ending::Failed { .. } => "the lease was given back".to_owned(),
        Ending::Expired => "the lease has expired: its holder was silent for too long".to_owned(),
        Ending::Revoked { why, .. } => format!("the lease was revoked: {why}"),
        Ending::Cancelled { why } => format!("the request was cancelled: {why}"),
        Ending::TimedOut => "the request has waited for as long as it wanted to".to_owned(),
    }
}

/// Seconds that a guest gave, in whole milliseconds, as they are stored.
fn span(seconds: f64) -> Option<Duration> {
    let span = Duration::try_from_secs_f64(seconds).ok().filter(|span| *span <= LEASE_DURATION_MAX)?;
    Some(Duration::from_millis(u64::try_from(span.as_millis()).ok()?))
}

/// A random number.
fn secret() -> Result<u64, LeaseError> {
    let mut bytes = [0; 8];
    match rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty()) {
        Ok(8) => Ok(u64::from_ne_bytes(bytes)),
        _ => Err(LeaseError::Unavailable("the system gave no random number".to_owned())),
    }
}

impl From<LeasePriority> for core::Priority {
    fn from(priority: LeasePriority) -> Self {
        match priority {
            LeasePriority::Low => Self::Low,
            LeasePriority::Normal => Self::Normal,
            LeasePriority::High => Self::High,
        }
    }
}

/// What a holder says that it has used: processor time only, the rest is not known here.
pub(crate) fn usage(cpu: Duration) -> Usage {
    Usage { cpu_seconds: Some(cpu.as_secs_f64()), ..Usage::default() }
}

#[cfg(test)]
pub(crate) mod tests;
