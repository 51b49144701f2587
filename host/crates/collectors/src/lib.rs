//! The built-in collectors, one file each, the one table of them ([`table`]), and the runner that keeps each on a thread of its
//! own ([`Runner`]).
//!
//! It knows nothing of addons, storage, HTTP or of what is quiet: it measures and reports. `app` calls it.
//!
//! To add a collector: one file with a `metrics!` table, `info` and an implementation of [`Collector`] (see `process.rs`), and one
//! line in the table below. The contract suite then walks it.

mod api;
mod collector;
mod config;
mod define;
mod glob;
mod host;
#[cfg(target_os = "linux")]
mod linux;
#[cfg(any(not(target_os = "linux"), feature = "portable", test))]
mod portable;
#[cfg(target_os = "linux")]
mod process;
mod rate;
mod runner;
mod work;

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests;

pub use api::{ApiMeter, InFlight};
pub use collector::{CollectError, Collector, Entry};
pub use config::{CollectConfig, TICK_DEFAULT};
#[cfg(target_os = "linux")]
pub use linux::look::FastLook;
pub use runner::Runner;
pub use work::{GuestCpu, LeasedWork, Work};

use lowtide_core::report::CollectorInfo;
use std::sync::Arc;

/// What collectors measure besides the machine: what other parts of the daemon count or know.
#[derive(Clone, Debug)]
pub struct Sources {
    /// Requests to the daemon's own API.
    pub api: Arc<ApiMeter>,
    /// Where leased work runs.
    pub work: Arc<LeasedWork>,
}

impl Sources {
    /// Of a daemon with this API, and no leased work yet.
    #[must_use]
    pub fn new(api: Arc<ApiMeter>) -> Self {
        Self { api, work: Arc::default() }
    }
}

/// One line of the table: who the collector is, and how to make it.
struct Builtin {
    info: fn() -> CollectorInfo,
    make: fn(&CollectConfig, &Sources) -> Box<dyn Collector>,
}

/// Every built-in collector on Linux, in the order of the exposition. A collector is added here.
#[cfg(target_os = "linux")]
static LINUX: &[Builtin] = &[
    Builtin { info: linux::cpu::info, make: |config, _| Box::new(linux::cpu::Cpu::new(config)) },
    Builtin { info: linux::system::info, make: |config, _| Box::new(linux::system::System::new(config)) },
    Builtin { info: linux::memory::info, make: |config, _| Box::new(linux::memory::Memory::new(config)) },
    Builtin {
        info: linux::pressure::info,
        make: |config, _| Box::new(linux::pressure::Pressure::new(config)),
    },
    Builtin {
        info: linux::leased::info,
        make: |config, sources| Box::new(linux::leased::Leased::new(config, Arc::clone(&sources.work))),
    },
    Builtin { info: linux::disk::info, make: |config, _| Box::new(linux::disk::Disk::new(config)) },
    Builtin { info: linux::network::info, make: |config, _| Box::new(linux::network::Network::new(config)) },
    Builtin {
        info: linux::filesystem::info,
        make: |config, _| Box::new(linux::filesystem::Filesystem::new(config, linux::filesystem::ask_space)),
    },
    Builtin { info: linux::sensors::info, make: |config, _| Box::new(linux::sensors::Sensors::new(config)) },
    Builtin { info: linux::power::info, make: |config, _| Box::new(linux::power::Power::new(config)) },
    Builtin { info: linux::units::info, make: |config, _| Box::new(linux::units::Units::new(config)) },
    Builtin {
        info: process::info,
        make: |config, _| Box::new(process::Process::new(config, lowtide_clock::process_cpu)),
    },
    Builtin { info: api::info, make: |_, sources| Box::new(api::Api::new(Arc::clone(&sources.api))) },
];

/// Every built-in collector of other systems.
#[cfg(any(not(target_os = "linux"), feature = "portable"))]
static PORTABLE: &[Builtin] = &[
    Builtin { info: host::cpu::info, make: |_, _| Box::new(portable::Cpu::new()) },
    Builtin { info: host::system::info, make: |_, _| Box::new(portable::System) },
    Builtin { info: host::memory::info, make: |_, _| Box::new(portable::Memory::new()) },
    Builtin { info: host::network::info, make: |config, _| Box::new(portable::Network::new(config)) },
    Builtin { info: host::filesystem::info, make: |config, _| Box::new(portable::Filesystem::new(config)) },
    Builtin { info: api::info, make: |_, sources| Box::new(api::Api::new(Arc::clone(&sources.api))) },
];

/// The table of this system.
#[cfg(target_os = "linux")]
use LINUX as BUILTIN;
/// The table of this system.
#[cfg(not(target_os = "linux"))]
use PORTABLE as BUILTIN;

/// All built-in collectors that the configuration leaves on, ready to run. Nothing is read before their first run.
#[must_use]
pub fn table(config: &CollectConfig, sources: &Sources) -> Vec<Entry> {
    entries(BUILTIN, config, sources)
}

/// As [`table`], with the collectors that other systems have: to compare the two on one machine.
#[cfg(feature = "portable")]
#[must_use]
pub fn portable_table(config: &CollectConfig, sources: &Sources) -> Vec<Entry> {
    entries(PORTABLE, config, sources)
}

fn entries(table: &[Builtin], config: &CollectConfig, sources: &Sources) -> Vec<Entry> {
    let mut entries = Vec::new();
    for Builtin { info, make } in table {
        let info = info();
        if config.disabled.iter().any(|name| *name == info.name) {
            continue;
        }
        let usual = if info.interval == TICK_DEFAULT { config.tick } else { info.interval };
        let interval = config.intervals.get(info.name.as_ref()).copied().unwrap_or(usual);
        entries.push(Entry { info, interval, collector: make(config, sources) });
    }
    entries
}

/// Every built-in collector of this system with its metrics, for the reference pages and for checking names in a
/// configuration.
#[must_use]
pub fn infos() -> Vec<CollectorInfo> {
    BUILTIN.iter().map(|builtin| (builtin.info)()).collect()
}
