//! Asking for a quiet time for heavy work. Needs the grant `leases`. A lease that is dropped is released.
//!
//! Work that comes again and again, or takes longer than a call may, is a [`Job`](crate::Job): the host asks for its lease, and
//! [`of_job`] gives it to the run.
//!
//! ```
//! # use lowtide_sdk::{leases, testing::FakeHost};
//! # use std::time::Duration;
//! # FakeHost::new().leases_granted([leases::Directive::Proceed]).run(|| {
//! let wanted = leases::Request::new("reindex", Duration::from_secs(600)).cost_units(20);
//! let lease = leases::request(&wanted)?;
//! match lease.heartbeat()? {
//!     leases::Directive::Proceed => lease.report(Some(0.5), "half of the photos")?,
//!     leases::Directive::Shrink(_) | leases::Directive::Pause | leases::Directive::Revoke(_) => {}
//! }
//! # Ok::<(), leases::LeaseError>(())
//! # }).unwrap();
//! ```

use crate::bindings::imports::lowtide::addon::leases::Progress;
pub use crate::bindings::imports::lowtide::addon::leases::{Denial, Directive, LeaseRequest as Request};
use crate::host::leases as host;
use crate::{Constraints, Priority};
use std::fmt;
use std::time::Duration;

/// Why there is no lease. A denial is an answer, not a defect.
#[derive(Clone, Debug, PartialEq)]
pub enum LeaseError {
    /// Not now: try again after this time.
    Denied(Denial),
    /// The request breaks a rule; the text says which.
    Invalid(String),
    /// The lease has ended: released, expired or revoked.
    Gone(String),
    /// More units or a higher priority than the operator granted.
    NotGranted(String),
    /// The scheduler does not answer, or there is none.
    Unavailable(String),
}

impl fmt::Display for LeaseError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Denied(denial) => {
                write!(out, "lease denied for {} s", denial.retry_after)?;
                denial.reasons.iter().try_for_each(|reason| write!(out, "; {reason}"))
            }
            Self::Invalid(text) => write!(out, "lease: {text}"),
            Self::Gone(text) => write!(out, "lease gone: {text}"),
            Self::NotGranted(text) => write!(out, "lease not granted: {text}"),
            Self::Unavailable(text) => write!(out, "leases unavailable: {text}"),
        }
    }
}

impl std::error::Error for LeaseError {}

impl Request {
    /// Work of this kind (`[a-z][a-z0-9-]*`), expected to take this long: one unit, of normal priority, answered at once.
    pub fn new(job_type: impl Into<String>, expected_duration: Duration) -> Self {
        Self {
            job_type: job_type.into(),
            cost_units: 1,
            priority: Priority::Normal,
            expected_duration: expected_duration.as_secs_f64(),
            constraints: Constraints::empty(),
            wait: None,
        }
    }

    /// Units of the host's capacity, 1 to 100.
    #[must_use]
    pub fn cost_units(mut self, units: u32) -> Self {
        self.cost_units = units;
        self
    }

    /// How urgent it is.
    #[must_use]
    pub fn priority(mut self, priority: Priority) -> Self {
        self.priority = priority;
        self
    }

    /// Which resources it weighs on.
    #[must_use]
    pub fn constraints(mut self, constraints: Constraints) -> Self {
        self.constraints = constraints;
        self
    }

    /// Wait in the queue for at most this long.
    #[must_use]
    pub fn wait(mut self, at_most: Duration) -> Self {
        self.wait = Some(at_most.as_secs_f64());
        self
    }
}

/// Asks for a lease.
pub fn request(request: &Request) -> Result<Lease, LeaseError> {
    host::request(request).map(Lease)
}

/// The lease that the job of this name runs under, while it runs: by it the run tells how far it is and hears what to do. It is given back
/// when the run is over, and not before.
///
/// ```
/// # use lowtide_sdk::{leases, testing::FakeHost};
/// # FakeHost::new().leases_granted([leases::Directive::Proceed]).run(|| {
/// let lease = leases::of_job("reindex")?;
/// lease.report(Some(0.25), "the first shelf")?;
/// # Ok::<(), leases::LeaseError>(())
/// # }).unwrap();
/// ```
pub fn of_job(name: &str) -> Result<Lease, LeaseError> {
    request(&Request::new(name, Duration::from_secs(1)))
}

/// A lease that is held. Dropping it releases it; so does a trap.
#[derive(Debug)]
#[must_use = "a lease that is dropped is released"]
pub struct Lease(host::Lease);

impl Lease {
    /// Its id, as in the REST API.
    pub fn id(&self) -> String {
        self.0.id()
    }

    /// A number that grows with every grant: a store that remembers the highest it has seen can refuse an old holder.
    pub fn fencing_token(&self) -> u64 {
        self.0.fencing_token()
    }

    /// Says that the holder lives and asks what to do. At least every 10 s.
    pub fn heartbeat(&self) -> Result<Directive, LeaseError> {
        self.0.heartbeat()
    }

    /// Tells how far the work is: the share that is done, 0 to 1, where it is known, and what is being done, in a few words.
    pub fn report(&self, done_ratio: Option<f64>, note: impl Into<String>) -> Result<(), LeaseError> {
        self.0.report(&Progress { done_ratio, note: note.into() })
    }

    /// Gives the lease back, and says whether that worked.
    pub fn release(self) -> Result<(), LeaseError> {
        self.0.release()
    }
}
