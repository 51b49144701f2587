//! Every bound of the system, each with its reason. A queue, loop, label set or table without a bound here is a defect.

use std::time::Duration;

/// Series in all (built-in and addons). 5 000 f64 columns of one hour at 2 s are 72 MB, the most that a small machine can
/// give; what is over is dropped and counted.
pub const SERIES_MAX: usize = 5_000;

/// Series of one built-in collector: a machine with 250 cores and a hundred disks fits, and one collector that floods leaves
/// room for the others. What is over is dropped and counted.
pub const COLLECTOR_SERIES_MAX: usize = 3_000;

/// Series of one addon in the hour: what it may have at once, and some that it no longer has. One whose label values change all the time
/// must not take the place of others; what is over is dropped and counted.
pub const ADDON_SERIES_KEPT_MAX: usize = 600;

/// Length of a metric name in bytes (Prometheus has no limit; 128 fits every convention and bounds the exposition).
pub const METRIC_NAME_BYTES_MAX: usize = 128;

/// Length of a label key in bytes.
pub const LABEL_KEY_BYTES_MAX: usize = 64;

/// Length of a label value in bytes; a longer one is cut at a character boundary.
pub const LABEL_VALUE_BYTES_MAX: usize = 256;

/// Labels of one metric.
pub const LABELS_MAX: usize = 16;

/// How far back the in-memory window reaches: product.md asks for the last hour at full resolution.
pub const WINDOW: Duration = Duration::from_secs(3_600);

/// Longest time between two samples of a counter that an increase is taken over, in milliseconds: an hour, the longest interval of a
/// collector. Over a longer gap an average would hide when it was.
pub const RATE_GAP_MAX_MS: i64 = 3_600_000;

/// Points of one series in one history answer: Prometheus' own limit for a range query.
pub const HISTORY_POINTS_MAX: usize = 11_000;

/// Values (series × points × aggregates) in one history answer: about 10 MB of JSON.
pub const HISTORY_VALUES_MAX: usize = 500_000;

/// Series in one history or aggregates answer.
pub const QUERY_SERIES_MAX: usize = 2_000;

/// Answers from history that are made or taken at once; each may hold [`HISTORY_VALUES_MAX`] as text.
pub const LONG_ANSWERS_MAX: usize = 8;

/// How long a request waits for its place among them.
pub const LONG_ANSWER_WAIT: Duration = Duration::from_secs(5);

/// Rows of history in one answer.
pub const HISTORY_ROWS_MAX: usize = 1_000;

/// Time that a tick waits for the collectors it started. They take well under a millisecond; a hung one costs the tick this
/// once, then it is not started again before it returns. reliability.md fault 15 allows 500 ms.
pub const COLLECTOR_DEADLINE: Duration = Duration::from_millis(250);

/// A collector's values count as stale after this many of its intervals without a success (invariant 17: fail closed after
/// three missed ticks).
pub const STALE_AFTER_INTERVALS: u32 = 3;

/// Bytes of a collector's error text that are kept.
pub const ERROR_TEXT_BYTES_MAX: usize = 512;

/// Bytes of one /proc or /sys file. /proc/stat of a 1 000-core machine has about 200 KB; a file that is larger is refused
/// rather than read for ever.
pub const PROC_FILE_BYTES_MAX: usize = 4 << 20;

/// Samples kept for the sliding means of one quiet signal: 60 s at the shortest tick of 1 s, and some room.
pub const SIGNAL_HISTORY_MAX: usize = 64;

/// Presence signals that one assessment takes in: the heaviest.
pub const PRESENCE_MAX: usize = 64;

/// Recent events kept for resuming an event stream: over an hour of ticks at 2 s.
pub const EVENTS_KEPT: usize = 2_048;

/// Event-stream clients at once; each holds one connection and no buffer of its own.
pub const EVENT_STREAMS_MAX: usize = 64;

/// Of these, those of one token.
pub const EVENT_STREAMS_PER_TOKEN_MAX: usize = 8;

/// Bytes of a request body.
pub const REQUEST_BODY_BYTES_MAX: usize = 1 << 20;

/// Open connections to the interface. Above it the one that has been silent for longest goes.
pub const CONNECTIONS_MAX: usize = 512;

/// Open connections from one other machine.
pub const CONNECTIONS_PER_PEER_MAX: usize = 32;

/// From the first byte of a request to the end of its head.
pub const REQUEST_HEAD_MAX: Duration = Duration::from_secs(5);

/// From the head of a request to the end of its body.
pub const REQUEST_BODY_MAX: Duration = Duration::from_secs(15);

/// How long a connection may be without a request.
pub const CONNECTION_IDLE_MAX: Duration = Duration::from_secs(60);

/// How long a client may take nothing of what it is sent.
pub const RESPONSE_WRITE_MAX: Duration = Duration::from_secs(30);

/// Headers of a request, and bytes of its head.
pub const REQUEST_HEADERS_MAX: usize = 100;
/// See [`REQUEST_HEADERS_MAX`].
pub const REQUEST_HEAD_BYTES_MAX: usize = 16 << 10;

/// Requests at once on one connection of HTTP/2.
pub const HTTP2_STREAMS_MAX: u32 = 64;

/// Bytes that wait to be sent on one request of HTTP/2.
pub const HTTP2_SEND_BYTES_MAX: usize = 64 << 10;

/// Bytes of a query string: far above every documented query.
pub const QUERY_STRING_BYTES_MAX: usize = 8 << 10;

/// Time that open requests get to finish at shutdown before they are cut.
pub const SHUTDOWN_GRACE: Duration = Duration::from_secs(5);

/// Bytes of the body of a request about leases: all its texts at their longest, several times.
pub const LEASE_BODY_BYTES_MAX: usize = 16 << 10;

/// Longest wait of one request for its lease: below the minute after which proxies cut what is silent.
pub const LEASE_LONG_POLL_MAX: Duration = Duration::from_secs(55);

/// Leases, requests or events in one answer.
pub const LEASE_PAGE_MAX: usize = 1_000;

/// Units that one request may ask for: a scale that people can think in.
pub const COST_UNITS_MAX: u32 = 100;

/// Units of capacity that may be configured: a hundred thousand of the largest requests.
pub const CAPACITY_UNITS_MAX: u32 = 10_000_000;

/// How much earlier a request counts as made for each step of priority: a LOW one waits four hours for HIGH ones, and not for ever.
pub const LEASE_PRIORITY_STEP: Duration = Duration::from_secs(2 * 3_600);

/// Longest calm that work which had to give way waits for before it goes on. A foreground that returns once a minute is then hurt for a
/// fraction of a second a minute.
pub const RESUME_AFTER_MAX: Duration = Duration::from_secs(60);

/// Work that has to give way again within this time went on too early.
pub const RELAPSE_WITHIN: Duration = Duration::from_secs(120);

/// Leases that have ended and are still known by name: so that a late heartbeat is told how it ended, and a repeated request gets the
/// lease that it had.
pub const LEASES_ENDED_KEPT: usize = 4_096;

/// Jobs of which it is kept when they were last done.
pub const LEASE_RUNS_KEPT: usize = 1_024;

/// Holders of whom it is known how often they asked; the one that was not heard for longest makes room.
pub const LEASE_HOLDERS_MAX: usize = 4_096;

/// Bytes of a holder's name, a job type, a window's name.
pub const LEASE_NAME_BYTES_MAX: usize = 64;

/// Bytes of an idempotency key: a UUID has 36, a hash in hex 64.
pub const LEASE_KEY_BYTES_MAX: usize = 128;

/// Bytes of a note or reason that a client gives.
pub const LEASE_NOTE_BYTES_MAX: usize = 256;

/// Windows of the operator: several for each day.
pub const LEASE_WINDOWS_MAX: usize = 32;

/// Longest duration that a request may name.
pub const LEASE_DURATION_MAX: Duration = Duration::from_secs(30 * 86_400);

/// Longest time to live that may be configured: who is not heard for an hour is gone.
pub const LEASE_TTL_MAX: Duration = Duration::from_secs(3_600);

/// How the names of holders begin that are addons of this daemon: nobody else asks by such a name.
pub const LEASE_ADDON_PREFIX: &str = "addon:";

/// How long work may stand still if it does not say (HTCondor: 10 min).
pub const FREEZE_DEFAULT: Duration = Duration::from_secs(600);

/// Longest time that work stands still: restic's locks go stale after 30 minutes.
pub const FREEZE_MAX: Duration = Duration::from_secs(20 * 60);

/// Longest time that a holder may be given to let go.
pub const REVOKE_GRACE_MAX: Duration = Duration::from_secs(3_600);

/// Leases that one step ends, pauses or grants without being asked: more would hold up the tick (0.1 s for ten thousand).
pub const LEASE_SWEEP_MAX: usize = 10_000;

/// Waiting requests that are passed over in one look at the queue because there is no room for them.
pub const LEASE_SCAN_MAX: usize = 128;

/// Time that holders have to be heard again after the daemon itself stood still: one heartbeat.
pub const STALL_GRACE: Duration = Duration::from_secs(10);
