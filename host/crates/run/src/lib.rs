//! Runs a command at the lowest class so that it can be frozen within a moment and never stays frozen. Linux only; it knows no HTTP and
//! no leases: who calls it decides when the work stands still. The command `lowtide run` calls it.
//!
//! ```text
//! front (the user's process) ─ outer guard ─ inner guard ─ stage, which becomes the command
//! ```
//!
//! All but the command adopt orphans, so whatever the command starts stays below a process that is ours. Each guard holds a socket to the
//! front. When that closes, the front is gone and the guard thaws; two guards, so that the front and either of them can be killed at once.

#[cfg(target_os = "linux")]
pub mod cgroup;
#[cfg(target_os = "linux")]
mod class;
#[cfg(target_os = "linux")]
mod guard;
#[cfg(target_os = "linux")]
mod lines;
#[cfg(target_os = "linux")]
mod passing;
#[cfg(target_os = "linux")]
mod signals;
#[cfg(target_os = "linux")]
mod stage;
#[cfg(target_os = "linux")]
mod start;
#[cfg(target_os = "linux")]
mod terminal;
#[cfg(target_os = "linux")]
mod tree;
#[cfg(target_os = "linux")]
mod work;

#[cfg(target_os = "linux")]
pub use self::{
    guard::{Keeper, Order, main as guard_main},
    lines::{Ended, How, Used},
    signals::{Passed, Signals},
    stage::main as stage_main,
    start::{Options, StartError, Where, start},
    work::{Happening, Work},
};

/// The word by which the program is started as a guard.
pub const GUARD_ARGUMENT: &str = "run-guard";

/// The word by which the program is started as the stage, which becomes the command.
pub const STAGE_ARGUMENT: &str = "run-stage";

/// Exit code when the command is there but cannot be started, as of env(1).
pub const CANNOT_START: u8 = 126;

/// Exit code when there is no such command, as of env(1).
pub const NOT_FOUND: u8 = 127;
