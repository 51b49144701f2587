//! Every bound of an addon, each with its reason. The proposals and what others chose are compared in docs/adr/010-containment.md.

use std::time::Duration;

// Files.

/// Length of an addon's id: fits a file name, a label and a line.
pub const ID_BYTES_MAX: usize = 64;

/// Addons loaded at once. A thousand idle ones take 100 MB; more is a mistake in the folder.
pub const ADDONS_MAX: usize = 2_000;

/// Bytes of a component. One in Python with its interpreter has 18 MB.
pub const COMPONENT_BYTES_MAX: usize = 32 << 20;

/// Bytes of `addon.toml`: the longest sensible one has 4 KB.
pub const MANIFEST_BYTES_MAX: usize = 64 << 10;

/// How long a file must have been left alone before it is loaded: what still grows is never read.
pub const SETTLE: Duration = Duration::from_millis(250);

/// At most one load of one addon in this time, however often its file is replaced.
pub const LOAD_SPACING: Duration = Duration::from_millis(500);

// Shape of a component, read before anything is compiled.

/// Functions in one component. The largest known guest (Python) has 14 000.
pub const FUNCTIONS_MAX: usize = 60_000;

/// Bytes of one function's body: compile time and memory grow faster than the body does (wasmtime issues 3523, 4923, 11682).
pub const FUNCTION_BYTES_MAX: usize = 1 << 20;

/// Imports and exports of one component.
pub const IMPORTS_MAX: usize = 200;

/// Core modules nested in one component. Those of Python have 20.
pub const MODULES_MAX: usize = 64;

// Compiling, in a process of its own.

/// Address space of the compiler: a component in Python takes 340 MB.
pub const COMPILE_ADDRESS_SPACE_BYTES: u64 = 3 << 30;

/// CPU time of the compiler. A component in Python takes 30 s on a fast core, and some machines are four times slower.
pub const COMPILE_CPU: Duration = Duration::from_secs(180);

/// Time on the wall for the compiler: it runs at the lowest priority, so on a busy machine it waits.
pub const COMPILE_WALL: Duration = Duration::from_secs(600);

/// Files that the compiler may have open.
pub const COMPILE_FILES: u64 = 16;

/// Bytes of a compiled component that are taken back from the compiler.
pub const COMPILED_BYTES_MAX: usize = 256 << 20;

/// Bytes of all compiled components kept on disk; the ones not used for longest go first.
pub const CACHE_BYTES_MAX: u64 = 1 << 30;

// Memory and tables of an instance.

/// Linear memory of an instance unless the manifest asks for another (Fastly 128 MB, Shopify 10 MB, wasmCloud 256 MiB).
pub const MEMORY_BYTES_DEFAULT: u64 = 64 << 20;

/// The most that a manifest may ask for.
pub const MEMORY_BYTES_MAX: u64 = 256 << 20;

/// An instance that holds more than this share of its limit after a call is replaced: linear memory never shrinks.
pub const MEMORY_HIGH_WATER_RATIO: f64 = 0.75;

/// Elements of one table (Spin: 100 000).
pub const TABLE_ELEMENTS_MAX: usize = 20_000;

/// Tables, memories and core instances of one store. Guests with an interpreter have up to 20 core instances.
pub const TABLES_MAX: usize = 64;
/// See [`TABLES_MAX`].
pub const MEMORIES_MAX: usize = 32;
/// See [`TABLES_MAX`].
pub const INSTANCES_MAX: usize = 64;

/// Handles of resources that a guest may hold (wasmtime's own bound is 100 000).
pub const HANDLES_MAX: usize = 1_000;

/// Host resources behind those handles.
pub const HOST_RESOURCES_MAX: usize = 256;

/// Stack of a guest.
pub const STACK_BYTES: usize = 512 << 10;

/// Stack of the fiber that a guest runs on: its own, and room for a host call.
pub const FIBER_STACK_BYTES: usize = 1 << 20;

/// Bytes that one call may copy from guest to host: 500 samples with their labels take 100 KB.
pub const HOSTCALL_BYTES: usize = 256 << 10;

/// The same for addons that move documents (grants `kv` and `http`).
pub const HOSTCALL_BYTES_DOCUMENTS: usize = 1 << 20;

/// Bytes of randomness in one call.
pub const RANDOM_BYTES_MAX: u64 = 64 << 10;

// Time.

/// CPU time of one call (Fastly: 50 ms; a collection in Python takes 0.2 ms).
pub const CALL_CPU: Duration = Duration::from_millis(100);

/// Running time of one call; time spent waiting in a host call does not count.
pub const CALL_RUNNING: Duration = Duration::from_millis(500);

/// CPU time of instantiating an addon and of its first calls together: interpreters start here.
pub const START_CPU: Duration = Duration::from_secs(1);

/// Running time of the same: on a busy machine the guest waits for its turn.
pub const START_RUNNING: Duration = Duration::from_secs(5);

/// Threads that one addon may occupy with what blocks: files, the store, names to resolve. It makes two calls at a time, one of them for a
/// job; a further one is an earlier call that was given up and hangs still, on a dead server or a broken name service.
pub const BLOCKING_PER_ADDON: usize = 3;

/// How long a connection to a server of a granted origin is kept while nobody uses it: collections of half a minute share one.
pub const HTTP_IDLE: Duration = Duration::from_secs(30);

/// Such connections for each server: an addon makes one request at a time.
pub const HTTP_IDLE_CONNECTIONS: usize = 1;

/// Time on the wall of one call of an addon that may wait for the network.
pub const CALL_WALL_NETWORK: Duration = Duration::from_secs(30);

/// Time on the wall of one call of any other addon: only timers and the store can hold it up.
pub const CALL_WALL: Duration = Duration::from_secs(5);

/// Calls are made at multiples of this time: waking a thread costs more than a call, and a thousand addons then wake it four times a
/// second and not two hundred times (systemd's `AccuracySec=` for the same reason). A call is at most this much later than its interval says.
pub const CALL_SLOT: Duration = Duration::from_millis(250);

/// Between two looks at a running guest: how late a deadline can be noticed.
pub const EPOCH_TICK: Duration = Duration::from_millis(1);

/// Between two looks for running guests; a call that is shorter is never interrupted.
pub const EPOCH_LOOK: Duration = Duration::from_millis(4);

/// Time that an instance has to end its call when it is replaced or removed.
pub const DRAIN: Duration = Duration::from_secs(2);

/// Host calls of one addon: this many at once.
pub const HOST_CALLS_BURST: u32 = 2_000;
/// Host calls of one addon a second in the long run; more is a storm, and traps.
pub const HOST_CALLS_PER_SECOND: u32 = 1_000;

// Intervals.

/// Shortest and longest time between two collections.
pub const INTERVAL_MIN: Duration = Duration::from_secs(1);
/// See [`INTERVAL_MIN`].
pub const INTERVAL_MAX: Duration = Duration::from_secs(3_600);

/// Time between two looks at an addon's presence signals.
pub const PRESENCE_INTERVAL: Duration = Duration::from_secs(5);

/// Time between two calls of `custom-stats`.
pub const STATS_INTERVAL: Duration = Duration::from_secs(15);

/// Time between two calls of `health`.
pub const HEALTH_INTERVAL: Duration = Duration::from_secs(30);

// After failures.

/// Pause after the first trap; it doubles with each further one.
pub const BACKOFF_FIRST: Duration = Duration::from_secs(1);

/// Longest pause, and the time that a quarantined addon waits for its next trial (reliability.md, fault 20).
pub const BACKOFF_MAX: Duration = Duration::from_secs(600);

/// Traps within [`BREAKER_WINDOW`] that put an addon into quarantine.
pub const BREAKER_TRAPS: usize = 5;
/// See [`BREAKER_TRAPS`].
pub const BREAKER_WINDOW: Duration = Duration::from_secs(60);

/// Good calls in a row after which earlier traps are forgotten.
pub const RECOVERED_CALLS: u32 = 10;

// Metrics.

/// Series of one addon. What is over is dropped and counted.
pub const SERIES_MAX: usize = 500;

/// Metrics that one addon may declare.
pub const METRICS_MAX: usize = 200;

/// Buckets of one histogram.
pub const BUCKETS_MAX: usize = 32;

/// Bytes of a metric's help.
pub const HELP_BYTES_MAX: usize = 512;

/// Events of one addon at once, and in the long run a second: they share the daemon's event log with everything else.
pub const EVENTS_BURST: u32 = 20;
/// See [`EVENTS_BURST`].
pub const EVENTS_PER_SECOND: u32 = 1;

/// Attributes of one event.
pub const EVENT_ATTRIBUTES_MAX: usize = 16;

/// Presence signals of one addon.
pub const PRESENCE_MAX: usize = 16;

/// Bytes of one presence signal's text.
pub const PRESENCE_TEXT_BYTES_MAX: usize = 128;

/// Longest time that a presence signal lasts without being told again.
pub const PRESENCE_LASTS_MAX: Duration = Duration::from_secs(3_600);

/// Bytes of the custom document.
pub const STATS_BYTES_MAX: usize = 64 << 10;

/// Jobs that one addon may describe.
pub const JOBS_MAX: usize = 32;

/// Bytes of the name of a job, as of an addon's id.
pub const JOB_NAME_BYTES_MAX: usize = ID_BYTES_MAX;

/// Units that a job may say it takes: all that a host has.
pub const JOB_UNITS_MAX: u32 = 100;

/// Readings in one `system.snapshot`.
pub const READINGS_MAX: usize = 500;

/// Prefixes in one `system.snapshot`.
pub const PREFIXES_MAX: usize = 32;

// Logs.

/// Bytes of one line.
pub const LOG_LINE_BYTES_MAX: usize = 4 << 10;

/// Lines of one addon at once.
pub const LOG_LINES_BURST: u32 = 200;
/// Lines of one addon a second in the long run.
pub const LOG_LINES_PER_SECOND: u32 = 50;

/// Bytes of one addon's lines a minute.
pub const LOG_BYTES_PER_MINUTE: u32 = 1 << 20;

/// Lines of one addon that are kept for `lowtide addon logs`, and the bytes that they may have together.
pub const LOG_LINES_KEPT: usize = 500;
/// See [`LOG_LINES_KEPT`].
pub const LOG_BYTES_KEPT: usize = 256 << 10;

// The key-value store.

/// Bytes of one key.
pub const KV_KEY_BYTES_MAX: usize = 256;
/// Bytes of one value.
pub const KV_VALUE_BYTES_MAX: usize = 64 << 10;
/// Bytes of one addon's keys and values together.
pub const KV_BYTES_MAX: usize = 1 << 20;
/// Keys of one addon.
pub const KV_KEYS_MAX: usize = 1_000;
/// Writes of one addon a second: each one is a write to disk.
pub const KV_WRITES_PER_SECOND: u32 = 100;

// Requests to other servers.

/// Bytes of a URL.
pub const HTTP_URL_BYTES_MAX: usize = 8 << 10;
/// Header fields of a request or an answer.
pub const HTTP_HEADERS_MAX: usize = 64;
/// Bytes of header fields.
pub const HTTP_HEADER_BYTES_MAX: usize = 16 << 10;
/// Bytes of a body, either way.
pub const HTTP_BODY_BYTES_MAX: usize = 512 << 10;
/// Time for one request unless it asks for another.
pub const HTTP_TIMEOUT_DEFAULT: Duration = Duration::from_secs(5);
/// The longest that it may ask for.
pub const HTTP_TIMEOUT_MAX: Duration = Duration::from_secs(10);
/// Requests at once, and in the long run a second.
pub const HTTP_REQUESTS_BURST: u32 = 20;
/// See [`HTTP_REQUESTS_BURST`].
pub const HTTP_REQUESTS_PER_SECOND: u32 = 10;

// Looks at the machine.

/// Bytes of a file that is read for an addon.
pub const DATA_FILE_BYTES_MAX: usize = 256 << 10;
/// Entries of a directory that is listed for an addon.
pub const DATA_ENTRIES_MAX: usize = 1_000;
/// Time for a TCP connection unless the call asks for another, and the longest that it may ask for.
pub const TCP_TIMEOUT_DEFAULT: Duration = Duration::from_secs(1);
/// See [`TCP_TIMEOUT_DEFAULT`].
pub const TCP_TIMEOUT_MAX: Duration = Duration::from_secs(5);

// Leases and jobs.

/// Leases and waiting requests of one addon. It does one thing at a time, and the operator's own bound for each holder is lower as a rule; this
/// one keeps what is remembered of an addon small whatever that says.
pub const LEASES_MAX: usize = 8;

/// Shortest and longest time between two runs of a job: what comes more often is a collection.
pub const JOB_EVERY_MIN: Duration = INTERVAL_MIN;
/// See [`JOB_EVERY_MIN`].
pub const JOB_EVERY_MAX: Duration = Duration::from_secs(366 * 86_400);

/// How long a job is expected to take, if what it says is no time.
pub const JOB_DURATION_USUAL: Duration = Duration::from_secs(600);

/// What one run of a job may take on any clock: its lease ends it long before.
pub const JOB_RUN: Duration = Duration::from_secs(30 * 86_400);

/// Pause before a job that failed is asked to run again; it doubles with each further failure. Heavy work that fails costs what it did for
/// nothing.
pub const JOB_RETRY_FIRST: Duration = Duration::from_secs(60);
/// See [`JOB_RETRY_FIRST`].
pub const JOB_RETRY_MAX: Duration = Duration::from_secs(3_600);

/// Pause before the scheduler is asked again when it did not answer.
pub const JOB_ASK_AGAIN: Duration = Duration::from_secs(5);

/// Jobs are looked at so often although nothing happened: the wall clock, by which they are due, may have been set, and the machine may
/// have slept.
pub const JOB_LOOK: Duration = Duration::from_secs(60);

/// Time that a running job has to stop when its addon ends: within [`DRAIN`], which the addon has in all.
pub const JOB_DRAIN: Duration = Duration::from_secs(1);

/// Processor time that a job with a bound on its share may use beyond it before it is made to wait: less would wake it hundreds of times a
/// second, more would be felt by whoever shares the core.
pub const JOB_SLICE: Duration = Duration::from_millis(5);

/// For how long such a job keeps what it was entitled to and did not use: longer than a wait is late on a busy machine, or it would get less
/// than its share.
pub const JOB_CREDIT: Duration = Duration::from_millis(100);

/// What a running job has used is added to its addon's figures so often: within the usual tick.
pub const JOB_METER: Duration = Duration::from_secs(1);
