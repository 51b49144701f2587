//! The functions of the host: the imports in a component, the fake host of this thread in a native build.

#[cfg(target_family = "wasm")]
pub(crate) use crate::bindings::borrowed::lowtide::addon::{metrics, system};
#[cfg(target_family = "wasm")]
pub(crate) use crate::bindings::imports::lowtide::addon::{config, host_data, http, kv, leases, log};
#[cfg(not(target_family = "wasm"))]
pub(crate) use crate::testing::imports::{config, host_data, http, kv, leases, log, metrics, system, time};

/// The clocks of WASI, by way of std.
#[cfg(target_family = "wasm")]
pub(crate) mod time {
    use std::cell::OnceCell;
    use std::time::{Duration, Instant, SystemTime};

    std::thread_local! {
        static FIRST: OnceCell<Instant> = const { OnceCell::new() };
    }

    pub(crate) fn now() -> u64 {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }

    pub(crate) fn monotonic() -> Duration {
        FIRST.with(|first| first.get_or_init(Instant::now).elapsed())
    }
}
