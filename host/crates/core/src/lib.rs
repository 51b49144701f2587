//! Pure data and decisions: what a measurement is, the snapshot of a tick, the window of the last hour, the verdict
//! whether now is quiet, and the leases for heavy work.
//!
//! Nothing in this crate reads a clock, does I/O, is async or random: the same inputs give the same outputs, so the
//! simulator and the daemon run the same code. Time always arrives as an argument. `app` calls it, everything reads
//! its types.

pub mod history;
pub mod lease;
pub mod limits;
pub mod metric;
pub mod quiet;
pub mod rate;
pub mod report;
pub mod snapshot;
pub mod spans;
pub mod state;
pub mod units;
pub mod window;
