//! The clocks: the host's in a component, the fake host's in a native test.

use std::time::Duration;

/// Now: milliseconds since 1970-01-01T00:00:00Z on the wall clock. It can jump; measure spans with [`monotonic`].
pub fn now() -> u64 {
    crate::host::time::now()
}

/// Time since a moment that stays the same while an instance lives. It never goes back.
pub fn monotonic() -> Duration {
    crate::host::time::monotonic()
}
