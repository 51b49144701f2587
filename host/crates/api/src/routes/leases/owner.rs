//! Whose a lease is: who asks with a token, or as a user of the unix socket, has its leases under its own name, and no others.

use super::{failed, refused};
use crate::error::{Code, Problem};
use axum::extract::Request;
use lowtide_access::{Caller, Scope};
use lowtide_app::Leases;
use lowtide_core::lease::{LeaseName, Refusal, Text};

/// Who asks about leases.
#[derive(Clone, Debug)]
pub(super) struct Owner {
    /// What stands before the holders of its leases; `None` for one that is not told from others.
    name: Option<Text>,
    /// Whether it may act for others.
    is_admin: bool,
    /// The most units that its leases may take together.
    units_max: Option<u32>,
}

impl Owner {
    /// The owner behind a request.
    pub(super) fn of(request: &Request) -> Self {
        let caller = request.extensions().get::<Caller>().unwrap_or(&Caller::Anyone);
        let is_admin = caller.may(Scope::Admin);
        let (name, units_max) = match caller {
            Caller::Anyone => (None, None),
            Caller::User { .. } if is_admin => (None, None),
            Caller::User { uid, .. } => (Some(format!("uid-{uid}").into()), None),
            Caller::Token(token) => (Some(token.name.as_str().into()), token.units_max),
        };
        Self { name, is_admin, units_max }
    }

    /// Makes what is asked for its own.
    ///
    /// # Errors
    /// `too_many_units` for more than it may ever have.
    pub(super) fn sign(&self, asked: &mut lowtide_core::lease::Request) -> Result<(), Box<Problem>> {
        if let Some(name) = &self.name {
            asked.holder = format!("{name}/{}", asked.holder).into();
        }
        asked.owner_units_max = self.units_max;
        match self.units_max {
            Some(most) if asked.units > most => {
                let text = format!("{} may have {most} units in all", asked.owner());
                Err(Problem::new(Code::TooManyUnits, text))
            }
            _ => Ok(()),
        }
    }

    /// Checks that a lease is its own, with the `addon_id` that it says; returns the holder that the scheduler is to check still.
    ///
    /// # Errors
    /// `no_such_lease`, `not_your_lease`.
    pub(super) fn claim(
        &self,
        leases: &Leases,
        name: LeaseName,
        said: Option<Text>,
    ) -> Result<Option<Text>, Box<Problem>> {
        let Some(own) = &self.name else { return Ok(said) };
        let holder = leases.glance(|scheduler, _| {
            let entry = scheduler.ledger().get(name.id).filter(|entry| entry.lease.secret == name.secret)?;
            Some(Text::clone(&entry.lease.request.holder))
        });
        let holder = holder.map_err(failed)?.ok_or_else(|| refused(&Refusal::Unknown))?;
        let rest = holder.strip_prefix(&**own).and_then(|rest| rest.strip_prefix('/'));
        let is_said = said.is_none_or(|said| *said == *holder || Some(&*said) == rest);
        if is_said && (rest.is_some() || self.is_admin) {
            Ok(None)
        } else {
            let text = if rest.is_some() {
                "the lease was asked for by another addon_id"
            } else {
                "the lease is another caller's"
            };
            Err(Problem::new(Code::NotYourLease, text))
        }
    }
}
