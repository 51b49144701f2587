//! Bounds of the store, each with its reason. What an addon may keep is not here: the caller says it with each write.

use std::time::Duration;

/// How long a call waits for another program that holds the file, such as a backup or the `sqlite3` shell.
pub const BUSY_WAIT: Duration = Duration::from_secs(2);

/// Pages of the file held in memory, in KiB: the hot ones of some hundred addons.
pub const PAGE_CACHE_KIB: i64 = 512;

/// Bytes that the write-ahead log keeps after a checkpoint; more is given back to the disk.
pub const LOG_BYTES_KEPT: i64 = 4 << 20;

/// Files up to this size are checked as a whole when they are opened, which takes 0.1 s. A larger one is found out where it is read.
pub const CHECKED_BYTES_MAX: u64 = 64 << 20;

/// Corrupt files that are kept; a further one replaces the last of them.
pub const QUARANTINES_MAX: u32 = 9;
