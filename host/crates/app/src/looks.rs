//! The thread that looks at the host several times a second while work runs that can be stopped at once, so that such work gives way on the
//! raw edge and not at the next tick. It measures by `collectors`, judges by `core`, and sleeps for good while there is no such work.

use crate::leases::Leases;
use lowtide_clock as clock;
use lowtide_collectors::{CollectConfig, FastLook, LeasedWork};
use lowtide_core::lease::{EdgeMemory, edge};
use lowtide_core::quiet::QuietConfig;
use std::io;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

/// Stack of the thread: shallow code on small values.
const STACK_BYTES: usize = 256 << 10;

/// How much sooner than others the thread is run, where that is allowed: the busier the machine is, the more it matters that it runs. In
/// steps of nice(2).
const PRIORITY: i32 = -10;

/// Thresholds that may change while the daemon runs.
pub(crate) type SharedQuiet = Arc<RwLock<QuietConfig>>;

/// Starts the thread. It ends when the daemon stops.
///
/// # Errors
/// When the system gives no thread.
pub(crate) fn start(
    leases: Leases,
    every: Duration,
    config: CollectConfig,
    places: Arc<LeasedWork>,
    quiet: SharedQuiet,
) -> io::Result<()> {
    let builder = std::thread::Builder::new().name("lt-look".into()).stack_size(STACK_BYTES);
    builder.spawn(move || run(&leases, every, &config, places, &quiet)).map(drop)
}

fn run(
    leases: &Leases,
    every: Duration,
    config: &CollectConfig,
    places: Arc<LeasedWork>,
    quiet: &RwLock<QuietConfig>,
) {
    // Of this thread alone, as Linux has it. Without the privilege it runs like any other.
    let raised = rustix::process::setpriority_process(Some(rustix::thread::gettid()), PRIORITY).is_ok();
    let mut look = FastLook::new(config, places);
    while leases.wait_for_reached() {
        look.begin(config);
        tracing::debug!(raised, told = look.is_told(), "work runs that gives way at once");
        let mut memory = EdgeMemory::default();
        while leases.has_reached() {
            look.wait(every);
            let now = clock::mono();
            let glimpse = look.look(now);
            let quiet = quiet.read().unwrap_or_else(PoisonError::into_inner);
            let found = edge(now, glimpse, &mut memory, &quiet);
            drop(quiet);
            leases.edge(found);
        }
        look.end();
    }
}
