//! Write addons for Lowtide in Rust.
//!
//! An addon is a WebAssembly component that the daemon loads from a folder. It implements one or more traits and names them once:
//!
//! | trait | what it does |
//! | --- | --- |
//! | [`Collector`] | measures something at regular intervals |
//! | [`Presence`] | tells who or what is there, so that the host does not look quieter than it is |
//! | [`CustomStats`] | gives a JSON document of its own |
//! | [`Health`] | says whether it can do its work |
//! | [`Job`] | does heavy work when the host is quiet |
//!
//! What the host offers is in the modules: [`config`], [`host_data`], [`http`], [`kv`], [`leases`], [`log`], [`metrics`], [`system`]
//! and [`time`]. A component imports only what it calls, and only that must be granted. [`testing`] has a fake host for unit
//! tests.
//!
//! # Example
//!
//! A collector with a setting, and its test. `Cargo.toml` has `crate-type = ["cdylib"]` in `[lib]` and this crate in
//! `[dependencies]`.
//!
//! ```
//! use lowtide_sdk::{Collector, Description, Failure, Metric, Sample, Unit, config, host_data, info, sample};
//! use std::time::Duration;
//!
//! /// Counts the files that wait in folders.
//! #[derive(Default)]
//! struct Spool {
//!     /// What was counted last, to see when a folder runs empty.
//!     last: usize,
//! }
//!
//! impl Collector for Spool {
//!     fn describe() -> Description {
//!         Description::new("Files that wait in spool folders.")
//!             .every(Duration::from_secs(30))
//!             .metric(Metric::gauge("waiting_files", Unit::Count, "Files that wait.").labels(["folder"]))
//!     }
//!
//!     fn collect(&mut self) -> Result<Vec<Sample>, Failure> {
//!         let folders: Vec<String> = config::required("folders")?;
//!         let mut samples = Vec::with_capacity(folders.len());
//!         let mut waiting = 0;
//!         for folder in folders {
//!             let files = host_data::list_directory(&folder)?.len();
//!             waiting += files;
//!             samples.push(sample("waiting_files", [folder], files as f64));
//!         }
//!         if waiting == 0 && self.last > 0 {
//!             info!("all of {} files are done", self.last);
//!         }
//!         self.last = waiting;
//!         Ok(samples)
//!     }
//! }
//!
//! lowtide_sdk::addon!(Spool: Collector);
//!
//! # fn main() {
//! # counts_what_waits();
//! # }
//! // In `mod tests`, with `#[test]`:
//! fn counts_what_waits() {
//!     use lowtide_sdk::testing::FakeHost;
//!
//!     let mut host = FakeHost::new()
//!         .config("folders", ["/var/spool/cups"])
//!         .file("/var/spool/cups/d00001", "%PDF");
//!     let report = host.collect::<Spool>();
//!     report.assert_ok();
//!     assert_eq!(report.value("waiting_files", &["/var/spool/cups"]), Some(1.0));
//!
//!     let mut host = host.without("/var/spool/cups/d00001").directory("/var/spool/cups");
//!     assert!(host.collect::<Spool>().logged("all of 1 files are done"));
//!
//!     let mut host = host.without("/var/spool/cups");
//!     assert!(matches!(host.collect::<Spool>().answer, Err(Failure::Absent(_))));
//! }
//! ```
//!
//! `cargo build --release --target wasm32-wasip2` makes the component; `cargo test` runs the tests natively.
//!
//! # What to know
//!
//! - A call has 100 ms of CPU time and 500 ms of running time; waiting in a function of the host does not count.
//! - A panic costs the instance and its state; a [`Failure`] costs one call. Errors of this crate become one with `?`.
//! - The value that holds the addon's state lives as long as its instance. What must outlive it belongs into [`kv`].
//! - Names of metrics have no prefix of the addon's, and end in their unit; [`testing`] checks them as the host does.

mod addon;
#[allow(
    missing_docs,
    unreachable_pub,
    reason = "generated, and reached only through names that are documented"
)]
mod bindings;
pub mod config;
mod failure;
mod host;
pub mod host_data;
pub mod http;
pub mod json;
pub mod kv;
pub mod leases;
pub mod log;
mod metric;
pub mod metrics;
pub mod system;
#[cfg(not(target_family = "wasm"))]
pub mod testing;
pub mod time;

pub use addon::{Addon, Collector, Constraints, CustomStats, Health, Job, JobDescription, Outcome, Presence};
pub use addon::{Priority, Signal, Status};
pub use failure::Failure;
pub use metric::{Description, Kind, Labels, Metric, Sample, Unit, sample};

/// What the macros need. Not for users: it changes without notice.
#[doc(hidden)]
pub mod __private {
    pub use crate::addon::Component;
    pub use crate::bindings::{collector, custom_stats, health, job, presence};
}

/// The example of the README is compiled too.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
