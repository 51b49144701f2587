//! Asking for leases. The scheduler does not exist yet: every request is answered with "unavailable", and says so.

/// What an addon is told that asks for a lease.
pub const UNAVAILABLE: &str = "this version of lowtide has no scheduler yet; ask again with a later one";

/// A lease that an addon holds. There is none yet, so this has no values.
#[derive(Debug)]
pub enum Lease {}
