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

/// Damaged rows of history that are counted one by one: more than that is a broken disk.
pub const DAMAGES_COUNTED_MAX: usize = 1_000;

/// Ticks of a segment: at one each 5 s, two hours. Shorter ones compress worse, longer ones cost a chart of an hour more.
pub const SEGMENT_TICKS_MAX: usize = 1_440;

/// Series whose samples are in memory at once while a segment is made: 3 MB.
pub const COLUMNS_AT_ONCE: usize = 256;

/// Series in the catalogue of history: four times what can be there at once. More are not kept until old ones are gone.
pub const CATALOGUE_SERIES_MAX: usize = 20_000;

/// Bytes of an event's document.
pub const EVENT_BYTES_MAX: usize = 16 << 10;

/// Events in the file; the oldest go first.
pub const EVENT_ROWS_MAX: i64 = 200_000;

/// Quiet intervals in the file: fifty a day for a year.
pub const QUIET_ROWS_MAX: i64 = 20_000;

/// Pages of history held in memory by one reader, in KiB: a chart of a week reads about as much.
pub const READ_CACHE_KIB: i64 = 2_048;

/// Segments whose times one reader remembers: those of a week, 11 KB each.
pub const SEGMENT_TIMES_KEPT: usize = 128;
