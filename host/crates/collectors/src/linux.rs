//! The Linux collectors, which read /proc and /sys directly: measured nine times cheaper than the same through a library.
//! Reading ([`procfile`], [`sysfs`]) is kept apart from parsing (pure functions over bytes). Only the table in `lib.rs` calls
//! it.

pub(crate) mod cpu;
pub(crate) mod disk;
pub(crate) mod filesystem;
pub(crate) mod leased;
pub(crate) mod look;
pub(crate) mod memory;
pub(crate) mod network;
pub(crate) mod power;
pub(crate) mod pressure;
pub(crate) mod procfile;
pub(crate) mod roster;
pub(crate) mod sensors;
pub(crate) mod sysfs;
pub(crate) mod system;
pub(crate) mod text;
pub(crate) mod units;
pub(crate) mod usage;
