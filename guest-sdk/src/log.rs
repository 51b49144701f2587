//! Lines for the operator. They appear in `lowtide addon logs` and `GET /api/addons/{id}/logs`, and from `warn` on in the daemon's
//! log. What an addon prints to standard output and error arrives there too, as `info` and `warn`.
//!
//! A line is cut at 4 KiB. Above 50 lines a second (burst 200) lines are dropped and counted.
//!
//! ```
//! # lowtide_sdk::testing::FakeHost::new().run(|| {
//! use lowtide_sdk::{log, warn};
//!
//! log::info("ready");
//! warn!("{} of {} disks did not answer", 1, 4);
//! # });
//! ```

pub use crate::bindings::imports::lowtide::addon::log::Level;
use crate::host::log as host;
pub use crate::{debug, error, info, warn};
use std::fmt;

/// Writes a line.
pub fn write(level: Level, message: &str) {
    host::write(level, message);
}

/// Writes a line of level `debug`: for the author.
pub fn debug(message: impl AsRef<str>) {
    write(Level::Debug, message.as_ref());
}

/// Writes a line of level `info`: for the curious operator.
pub fn info(message: impl AsRef<str>) {
    write(Level::Info, message.as_ref());
}

/// Writes a line of level `warn`: carried on, but someone should look.
pub fn warn(message: impl AsRef<str>) {
    write(Level::Warn, message.as_ref());
}

/// Writes a line of level `error`: could not do its work.
pub fn error(message: impl AsRef<str>) {
    write(Level::Error, message.as_ref());
}

/// Writes a formatted line; the macros [`debug!`](crate::debug!), [`info!`](crate::info!), [`warn!`](crate::warn!) and
/// [`error!`](crate::error!) call it.
pub fn write_format(level: Level, message: fmt::Arguments<'_>) {
    match message.as_str() {
        Some(text) => write(level, text),
        None => write(level, &message.to_string()),
    }
}

/// Writes a line of level `debug`, with the arguments of [`format!`].
#[macro_export]
macro_rules! debug {
    ($($argument:tt)+) => {
        $crate::log::write_format($crate::log::Level::Debug, ::core::format_args!($($argument)+))
    };
}

/// Writes a line of level `info`, with the arguments of [`format!`].
#[macro_export]
macro_rules! info {
    ($($argument:tt)+) => {
        $crate::log::write_format($crate::log::Level::Info, ::core::format_args!($($argument)+))
    };
}

/// Writes a line of level `warn`, with the arguments of [`format!`].
#[macro_export]
macro_rules! warn {
    ($($argument:tt)+) => {
        $crate::log::write_format($crate::log::Level::Warn, ::core::format_args!($($argument)+))
    };
}

/// Writes a line of level `error`, with the arguments of [`format!`].
#[macro_export]
macro_rules! error {
    ($($argument:tt)+) => {
        $crate::log::write_format($crate::log::Level::Error, ::core::format_args!($($argument)+))
    };
}
