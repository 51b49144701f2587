//! The one configuration of wasmtime, and the thread that lets running guests be looked at.
//!
//! The compile child and the daemon both take their engine from here: what one compiles the other can load, and the daemon's own cannot
//! compile at all. It starts no guest and
//! decides nothing about one; it must not tick while no guest runs. Called by `compile`, `cache` and whoever runs guests.

use crate::limits;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use wasmtime::{Config, Engine, OptLevel, WasmFeatures};

/// Address space kept for a guest's linear memory, so that it grows without moving. Larger ones move.
const MEMORY_RESERVATION_BYTES: u64 = 16 << 20;

/// Address space kept behind a linear memory that has moved.
const MEMORY_GROWTH_BYTES: u64 = 4 << 20;

/// Unmapped bytes behind a linear memory: one bounds check serves neighbouring accesses.
const MEMORY_GUARD_BYTES: u64 = 64 << 10;

/// What no guest of ours needs, and what therefore no guest may use. Kept are tail calls, SIMD and several memories: toolchains of
/// languages other than Rust produce them.
const FEATURES_OFF: [WasmFeatures; 20] = [
    WasmFeatures::GC,
    WasmFeatures::GC_TYPES,
    WasmFeatures::FUNCTION_REFERENCES,
    WasmFeatures::EXCEPTIONS,
    WasmFeatures::LEGACY_EXCEPTIONS,
    WasmFeatures::THREADS,
    WasmFeatures::SHARED_EVERYTHING_THREADS,
    WasmFeatures::MEMORY64,
    WasmFeatures::STACK_SWITCHING,
    WasmFeatures::CUSTOM_PAGE_SIZES,
    WasmFeatures::RELAXED_SIMD,
    WasmFeatures::WIDE_ARITHMETIC,
    WasmFeatures::CM_ASYNC,
    WasmFeatures::CM_ASYNC_STACKFUL,
    WasmFeatures::CM_MORE_ASYNC_BUILTINS,
    WasmFeatures::CM_THREADING,
    WasmFeatures::CM_ERROR_CONTEXT,
    WasmFeatures::CM_GC,
    WasmFeatures::CM64,
    WasmFeatures::CM_MAP,
];

/// What the engines that compile and those that run have in common. Guests are stopped by epochs, so code compiled without them must never
/// be loaded.
fn config() -> Config {
    let mut config = Config::new();
    for feature in FEATURES_OFF {
        config.wasm_features(feature, false);
    }
    config
        .epoch_interruption(true)
        .consume_fuel(false)
        .concurrency_support(false)
        .memory_reservation(MEMORY_RESERVATION_BYTES)
        .memory_reservation_for_growth(MEMORY_GROWTH_BYTES)
        .memory_guard_size(MEMORY_GUARD_BYTES)
        .memory_init_cow(true)
        .max_wasm_stack(limits::STACK_BYTES)
        .async_stack_size(limits::FIBER_STACK_BYTES)
        // A trap names the guest's functions without either, and a small Rust guest compiles to 330 KB instead of 388 KB.
        .generate_address_map(false)
        .native_unwind_info(false);
    config
}

/// The daemon's engine: it runs what was compiled and has no compiler.
///
/// # Errors
///
/// If this machine cannot run what the configuration asks for.
pub fn running() -> Result<Engine, wasmtime::Error> {
    Engine::new(config().enable_compiler(false))
}

/// The compile child's configuration.
#[must_use]
pub fn compiling_config() -> Config {
    let mut config = config();
    config.cranelift_opt_level(OptLevel::Speed);
    config
}

/// The compile child's engine.
///
/// # Errors
///
/// If there is no compiler for this machine.
pub fn compiling() -> Result<Engine, wasmtime::Error> {
    Engine::new(&compiling_config())
}

/// What the thread does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// A guest runs: move the epoch on, look again after [`limits::EPOCH_TICK`].
    Tick,
    /// None runs, but one did since the last look: look again after [`limits::EPOCH_LOOK`].
    Look,
    /// None has run since the last look: wait for one.
    Park,
}

/// What the thread remembers between two looks.
#[derive(Debug, Default)]
struct Looks {
    started: u64,
}

impl Looks {
    /// The next step, when `running` guests run now and `started` calls have begun in all.
    fn next(&mut self, running: usize, started: u64) -> Step {
        let before = std::mem::replace(&mut self.started, started);
        match running {
            0 if before == started => Step::Park,
            0 => Step::Look,
            _ => Step::Tick,
        }
    }
}

/// What the thread and the calls share.
#[derive(Debug, Default)]
struct Shared {
    running: AtomicUsize,
    started: AtomicU64,
    parked: AtomicBool,
    stop: AtomicBool,
}

/// Moves the epoch on while a guest runs, so that the guest's epoch callback is called and can look at its limits.
///
/// A call that is over before the next look is seldom interrupted, and many short calls cost a look each [`limits::EPOCH_LOOK`]
/// at most. Without guests the thread waits and costs nothing. Dropping it ends the thread.
pub struct Ticker {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
    /// Moves the epoch on.
    tick: Arc<dyn Fn() + Send + Sync>,
}

impl fmt::Debug for Ticker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ticker").field("shared", &self.shared).finish_non_exhaustive()
    }
}

/// Says that a guest runs, until it is dropped.
#[derive(Debug)]
#[must_use = "the guest counts as running only while this is kept"]
pub struct Running {
    shared: Arc<Shared>,
}

impl Ticker {
    /// Starts the thread.
    ///
    /// # Errors
    ///
    /// If the system gives no thread.
    pub fn start(engine: Engine) -> std::io::Result<Self> {
        Self::start_with(move || engine.increment_epoch())
    }

    /// Starts the thread; `tick` moves the epoch on.
    fn start_with(tick: impl Fn() + Send + Sync + 'static) -> std::io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let tick: Arc<dyn Fn() + Send + Sync> = Arc::new(tick);
        let thread = {
            let (shared, tick) = (Arc::clone(&shared), Arc::clone(&tick));
            thread::Builder::new().name("addon-epoch".to_owned()).spawn(move || run(&shared, &*tick))?
        };
        Ok(Self { shared, thread: Some(thread), tick })
    }

    /// Says that guest code may run from now on. Take it around each poll of a call's future: then a guest that waits in a host
    /// call does not count.
    pub fn enter(&self) -> Running {
        self.shared.running.fetch_add(1, Ordering::SeqCst);
        self.shared.started.fetch_add(1, Ordering::SeqCst);
        // The thread says that it parks before it counts for the last time: either it sees this call or this sees it parked.
        if self.shared.parked.swap(false, Ordering::SeqCst) {
            self.wake();
        }
        Running { shared: Arc::clone(&self.shared) }
    }

    /// Moves the epoch on out of turn: every guest that runs, or is polled next, is looked at when it comes to its next check.
    pub fn tick(&self) {
        (self.tick)();
    }

    fn wake(&self) {
        if let Some(thread) = &self.thread {
            thread.thread().unpark();
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.shared.running.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        self.wake();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the epoch thread had panicked; guests could not be stopped");
        }
    }
}

/// The thread.
fn run(shared: &Shared, tick: &dyn Fn()) {
    let mut looks = Looks::default();
    while !shared.stop.load(Ordering::SeqCst) {
        let running = shared.running.load(Ordering::SeqCst);
        match looks.next(running, shared.started.load(Ordering::SeqCst)) {
            Step::Tick => {
                tick();
                thread::park_timeout(limits::EPOCH_TICK);
            }
            Step::Look => thread::park_timeout(limits::EPOCH_LOOK),
            Step::Park => {
                park(shared, looks.started);
                // The call that woke this up has just begun: give it the time of one look, which is then the first after it.
                looks.started = shared.started.load(Ordering::SeqCst);
                if !shared.stop.load(Ordering::SeqCst) {
                    thread::park_timeout(limits::EPOCH_LOOK);
                }
            }
        }
    }
}

/// Waits until a call has begun since `started`, or the end.
fn park(shared: &Shared, started: u64) {
    loop {
        shared.parked.store(true, Ordering::SeqCst);
        if shared.started.load(Ordering::SeqCst) != started || shared.stop.load(Ordering::SeqCst) {
            shared.parked.store(false, Ordering::SeqCst);
            return;
        }
        thread::park();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Condvar, Mutex};
    use std::time::Duration;
    use wasmtime::component::{Component, Linker};
    use wasmtime::{Module, Store, Trap};

    /// Longer than any of these can take on the slowest machine.
    const DEADLINE: Duration = Duration::from_secs(60);

    /// Counts ticks and lets a test wait for them.
    #[derive(Default)]
    struct Ticks {
        count: Mutex<u64>,
        changed: Condvar,
    }

    impl Ticks {
        fn ticker(self: &Arc<Self>) -> Ticker {
            let ticks = Arc::clone(self);
            Ticker::start_with(move || {
                *ticks.count.lock().unwrap() += 1;
                ticks.changed.notify_all();
            })
            .unwrap()
        }

        fn count(&self) -> u64 {
            *self.count.lock().unwrap()
        }

        fn wait_for(&self, count: u64) {
            let guard = self.count.lock().unwrap();
            let (_guard, late) =
                self.changed.wait_timeout_while(guard, DEADLINE, |now| *now < count).unwrap();
            assert!(!late.timed_out(), "no {count} ticks");
        }
    }

    fn wait_until_parked(ticker: &Ticker) {
        for _ in 0..DEADLINE.as_millis() {
            if ticker.shared.parked.load(Ordering::SeqCst) {
                return;
            }
            thread::park_timeout(Duration::from_millis(1));
        }
        panic!("the thread never parked");
    }

    #[test]
    fn steps_follow_what_runs() {
        let mut looks = Looks::default();
        assert_eq!(looks.next(1, 1), Step::Tick);
        assert_eq!(looks.next(1, 1), Step::Tick);
        for started in 2..1_000 {
            assert_eq!(
                looks.next(0, started),
                Step::Look,
                "short calls: looked for, never interrupted, never parked"
            );
        }
        assert_eq!(looks.next(0, 999), Step::Park);
        assert_eq!(looks.next(0, 999), Step::Park);
        assert_eq!(looks.next(2, 1_001), Step::Tick);
    }

    #[test]
    fn ticks_while_a_guest_runs_and_only_then() {
        let ticks = Arc::new(Ticks::default());
        let ticker = ticks.ticker();
        wait_until_parked(&ticker);
        assert_eq!(ticks.count(), 0, "nothing ran");

        let first = ticker.enter();
        let second = ticker.enter();
        ticks.wait_for(3);
        drop(first);
        let so_far = ticks.count();
        ticks.wait_for(so_far + 3);
        drop(second);

        wait_until_parked(&ticker);
        let at_rest = ticks.count();
        wait_until_parked(&ticker);
        assert_eq!(ticks.count(), at_rest, "a parked thread does not tick");

        let third = ticker.enter();
        ticks.wait_for(at_rest + 1);
        drop(third);
    }

    #[test]
    fn calls_from_many_threads_never_leave_it_parked() {
        let ticks = Arc::new(Ticks::default());
        let ticker = ticks.ticker();
        for _ in 0..20 {
            wait_until_parked(&ticker);
            thread::scope(|scope| {
                for _ in 0..4 {
                    scope.spawn(|| {
                        for _ in 0..100 {
                            drop(ticker.enter());
                        }
                    });
                }
            });
            let before = ticks.count();
            let running = ticker.enter();
            ticks.wait_for(before + 1);
            drop(running);
        }
        assert_eq!(ticker.shared.running.load(Ordering::SeqCst), 0);
    }

    #[test]
    fn dropping_it_ends_the_thread_parked_or_not() {
        let ticks = Arc::new(Ticks::default());
        let ticker = ticks.ticker();
        let running = ticker.enter();
        drop(ticker);
        drop(running);

        let ticker = ticks.ticker();
        wait_until_parked(&ticker);
        drop(ticker);
        assert_eq!(Arc::strong_count(&ticks), 1, "the thread is gone");
    }

    #[test]
    fn a_guest_without_end_is_stopped() {
        let engine = compiling().unwrap();
        let ticker = Ticker::start(engine.clone()).unwrap();
        let spin = wat::parse_str("(module (func (export \"spin\") (loop (br 0))))").unwrap();
        let module = Module::new(&engine, spin).unwrap();
        let mut store = Store::new(&engine, ());
        store.set_epoch_deadline(3);
        let instance = wasmtime::Instance::new(&mut store, &module, &[]).unwrap();
        let spin = instance.get_typed_func::<(), ()>(&mut store, "spin").unwrap();
        let running = ticker.enter();
        let error = spin.call(&mut store, ()).unwrap_err();
        drop(running);
        assert_eq!(error.downcast_ref::<Trap>(), Some(&Trap::Interrupt));
    }

    const TRAPPING: &str = r#"(component
        (core module $m
            (func $deep_inside (unreachable))
            (func $on_top (export "f") (call $deep_inside)))
        (core instance $i (instantiate $m))
        (func (export "f") (canon lift (core func $i "f"))))"#;

    #[test]
    fn a_trap_names_the_functions_of_the_guest() {
        let engine = compiling().unwrap();
        let component = Component::new(&engine, wat::parse_str(TRAPPING).unwrap()).unwrap();
        let mut store = Store::new(&engine, ());
        store.set_epoch_deadline(1);
        let instance = Linker::new(&engine).instantiate(&mut store, &component).unwrap();
        let function = instance.get_typed_func::<(), ()>(&mut store, "f").unwrap();
        let error = function.call(&mut store, ()).unwrap_err();
        assert_eq!(error.downcast_ref::<Trap>(), Some(&Trap::UnreachableCodeReached));
        let text = format!("{error:?}");
        assert!(text.contains("deep_inside") && text.contains("on_top"), "{text}");
    }

    #[test]
    fn the_engine_that_runs_guests_compiles_none() {
        let engine = running().unwrap();
        assert!(engine.precompile_module(&wat::parse_str("(module)").unwrap()).is_err());
        assert!(Component::new(&engine, wat::parse_str("(component)").unwrap()).is_err());
    }

    #[test]
    fn what_no_guest_needs_is_refused() {
        let engine = compiling().unwrap();
        for (feature, module) in [
            ("threads", "(module (memory 1 1 shared))"),
            ("memory64", "(module (memory i64 1))"),
            ("gc", "(module (type (struct (field i32))))"),
            ("exceptions", "(module (tag))"),
            ("custom page sizes", "(module (memory 1 (pagesize 1)))"),
            ("function references", "(module (type $f (func)) (func (param (ref $f))))"),
            (
                "relaxed SIMD",
                "(module (func (param v128 v128) (result v128) (i8x16.relaxed_swizzle (local.get 0) (local.get 1))))",
            ),
        ] {
            assert!(
                engine.precompile_module(&wat::parse_str(module).unwrap()).is_err(),
                "{feature} was taken"
            );
        }
        for (feature, component) in [
            ("async functions", "(component (import \"f\" (func async)))"),
            ("error context", "(component (type (func (param \"e\" error-context))))"),
        ] {
            let bytes = wat::parse_str(component).unwrap();
            assert!(engine.precompile_component(&bytes).is_err(), "{feature} was taken");
        }
    }

    #[test]
    fn what_toolchains_produce_is_taken() {
        let engine = compiling().unwrap();
        for (feature, module) in [
            ("SIMD", "(module (func (result v128) (v128.const i64x2 0 0)))"),
            (
                "bulk memory",
                "(module (memory 1) (func (memory.fill (i32.const 0) (i32.const 0) (i32.const 9))))",
            ),
            ("tail calls", "(module (func $f (return_call $f)))"),
            ("several memories", "(module (memory 1) (memory 1))"),
            ("reference types", "(module (table 1 funcref) (table 1 funcref))"),
            ("extended constants", "(module (global i32 (i32.add (i32.const 1) (i32.const 2))))"),
        ] {
            engine
                .precompile_module(&wat::parse_str(module).unwrap())
                .map_err(|error| format!("{feature}: {error}"))
                .unwrap();
        }
    }
}
