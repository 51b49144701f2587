//! The import `leases` for guests of this version: each function counts itself, converts, and calls what does the work.

use super::bindings::lowtide::addon::{leases, types};
use super::imports::granted;
use crate::capabilities::LeasePriority;
use crate::caps::leases::{Kind, Lease, LeaseError, Wish};
use crate::guest::Guest;
use lowtide_core::lease::{Constraints, Directive};
use std::sync::Arc;
use wasmtime::Result;
use wasmtime::component::Resource;

pub(super) fn priority(priority: types::Priority) -> LeasePriority {
    match priority {
        types::Priority::Low => LeasePriority::Low,
        types::Priority::Normal => LeasePriority::Normal,
        types::Priority::High => LeasePriority::High,
    }
}

pub(super) fn constraints(given: types::Constraints) -> Constraints {
    Constraints {
        cpu_heavy: given.contains(types::Constraints::CPU_HEAVY),
        disk_write_heavy: given.contains(types::Constraints::DISK_HEAVY),
        network_heavy: given.contains(types::Constraints::NETWORK_HEAVY),
    }
}

impl From<LeaseError> for leases::LeaseError {
    fn from(error: LeaseError) -> Self {
        match error {
            LeaseError::Denied { retry_after, reasons } => {
                Self::Denied(leases::Denial { retry_after: retry_after.as_secs_f64(), reasons })
            }
            LeaseError::Invalid(text) => Self::Invalid(text),
            LeaseError::Gone(text) => Self::Gone(text),
            LeaseError::NotGranted(text) => Self::NotGranted(text),
            LeaseError::Unavailable(text) => Self::Unavailable(text),
        }
    }
}

impl From<Directive> for leases::Directive {
    fn from(directive: Directive) -> Self {
        match directive {
            Directive::Continue => Self::Proceed,
            Directive::Shrink { units } => Self::Shrink(units),
            Directive::Pause => Self::Pause,
            Directive::Revoke { within } => Self::Revoke(within.as_secs_f64()),
        }
    }
}

type Answer<T> = Result<std::result::Result<T, leases::LeaseError>>;

impl leases::Host for Guest {
    async fn request(&mut self, request: leases::LeaseRequest) -> Answer<Resource<Lease>> {
        self.host_call()?;
        // The job's own lease, which it runs under already.
        if let Some(seat) = self.job.as_ref().filter(|seat| seat.job() == request.job_type) {
            let lease = Lease(Kind::Job { seat: Arc::clone(seat), over: false });
            return Ok(Ok(self.table.push(lease)?));
        }
        let desk = Arc::clone(granted(self.abilities.leases.as_ref())?);
        let wish = Wish {
            job_type: request.job_type,
            units: request.cost_units,
            priority: priority(request.priority),
            expected_seconds: request.expected_duration,
            constraints: constraints(request.constraints),
            wait_seconds: request.wait,
        };
        match desk.request(wish).await {
            Ok(held) => Ok(Ok(self.table.push(Lease(Kind::Own(held)))?)),
            Err(error) => Ok(Err(error.into())),
        }
    }
}

impl leases::HostLease for Guest {
    async fn id(&mut self, lease: Resource<Lease>) -> Result<String> {
        self.host_call()?;
        Ok(self.table.get(&lease)?.name().to_string())
    }

    async fn fencing_token(&mut self, lease: Resource<Lease>) -> Result<u64> {
        self.host_call()?;
        Ok(self.table.get(&lease)?.token())
    }

    async fn heartbeat(&mut self, lease: Resource<Lease>) -> Answer<leases::Directive> {
        self.host_call()?;
        Ok(self.table.get(&lease)?.heartbeat().await.map(Into::into).map_err(Into::into))
    }

    async fn report(&mut self, lease: Resource<Lease>, progress: leases::Progress) -> Answer<()> {
        self.host_call()?;
        let lease = self.table.get(&lease)?;
        Ok(lease.report(progress.done_ratio, &progress.note).await.map_err(Into::into))
    }

    async fn release(&mut self, lease: Resource<Lease>) -> Answer<()> {
        self.host_call()?;
        Ok(self.table.get_mut(&lease)?.release().await.map_err(Into::into))
    }

    async fn drop(&mut self, lease: Resource<Lease>) -> Result<()> {
        self.table.delete(lease)?.let_go();
        Ok(())
    }
}
