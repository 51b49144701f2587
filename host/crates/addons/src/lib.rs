//! Addons: third-party WebAssembly components, loaded from a folder, contained and metered. Everything that knows wasmtime is in
//! this crate.
//!
//! It knows nothing of HTTP routes, of the terminal or of the configuration's file format. `app` starts it and takes its reports.

mod addon;
mod answers;
mod brake;
pub mod cache;
pub mod capabilities;
pub mod caps;
pub mod compile;
pub mod discover;
pub mod engine;
pub mod fakes;
mod fault;
#[cfg(test)]
mod fuzz;
mod gate;
pub mod grants;
mod guest;
mod host;
pub mod id;
pub mod inspect;
mod instance;
mod jobs;
mod lifecycle;
pub mod limits;
pub mod manifest;
mod meter;
mod metering;
mod recorder;
mod schedule;
mod status;
mod task;
mod watch;
mod wit;

pub use answers::{Failure, JobDescription};
pub use fault::Fault;
pub use guest::{GuestEvent, Setting};
pub use host::{AddonConfig, AddonHost, AskError, HostConfig, Outside, StartError};
pub use meter::Metered;
pub use metering::info as metering_info;
pub use status::{
    AddonState, AddonView, Happening, HealthView, JobEnd, JobState, JobView, Problem, StatsView,
};
