//! One instance of an addon: a store, its exports, and calls into them that are bounded, measured and explained when they fail. After a
//! fault the instance is done for: whoever holds it drops it.

use crate::answers::{Description, Failure, Health, JobDescription, Outcome, PresenceSignal};
use crate::brake::Brake;
use crate::cache::LoadedComponent;
use crate::caps::leases::Seat;
use crate::caps::log::clean;
use crate::engine::{self, Ticker};
use crate::fault::Fault;
use crate::gate::{Budget, CallClock, Measured};
use crate::guest::{Abilities, Guest, Refused, Shared};
use crate::inspect::Export;
use crate::limits;
use crate::wit::v0_1::{self, Exports, Indices, Samples};
use lowtide_clock as clock;
use lowtide_core::limits::ERROR_TEXT_BYTES_MAX;
use lowtide_core::units::MonoTime;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use wasmtime::component::{InstancePre, Linker};
use wasmtime::{Engine, Store, Trap, WasmBacktrace};

/// What all instances share.
pub(crate) struct Machine {
    pub(crate) engine: Engine,
    linker: Linker<Guest>,
    ticker: Arc<Ticker>,
}

/// Why the machinery cannot be made: a defect of this program or of the system, not of an addon.
#[derive(Debug, thiserror::Error)]
pub enum MachineError {
    /// wasmtime refuses its configuration or bindings.
    #[error("cannot set up wasmtime")]
    Engine(#[source] wasmtime::Error),
    /// No thread for the ticker.
    #[error("cannot start the thread that interrupts guests")]
    Thread(#[source] std::io::Error),
}

impl Machine {
    pub(crate) fn new() -> Result<Self, MachineError> {
        let engine = engine::running().map_err(MachineError::Engine)?;
        let mut linker = Linker::new(&engine);
        wasmtime_wasi::p2::add_to_linker_async(&mut linker).map_err(MachineError::Engine)?;
        v0_1::add_to_linker(&mut linker).map_err(MachineError::Engine)?;
        let ticker = Arc::new(Ticker::start(engine.clone()).map_err(MachineError::Thread)?);
        Ok(Self { engine, linker, ticker })
    }
}

/// A component, ready to be instantiated.
#[derive(Clone)]
pub(crate) struct Template {
    pre: InstancePre<Guest>,
    indices: Indices,
    /// Kept so that others with the same bytes share it.
    component: LoadedComponent,
    ticker: Arc<Ticker>,
}

impl Template {
    /// Resolves every import and export.
    ///
    /// # Errors
    /// In words, when something does not fit the contract: a function that is missing or has another type.
    pub(crate) fn new(machine: &Machine, component: LoadedComponent) -> Result<Self, wasmtime::Error> {
        let pre = machine.linker.instantiate_pre(component.component())?;
        let indices = Indices::new(&pre, |export| component.inspection().exports.contains(&export))?;
        Ok(Self { pre, indices, ticker: Arc::clone(&machine.ticker), component })
    }

    pub(crate) fn exports(&self, export: Export) -> bool {
        self.component.inspection().exports.contains(&export)
    }
}

/// What can be asked of an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Call {
    Describe,
    Collect,
    Presence,
    Stats,
    Health,
    Jobs,
}

impl Call {
    /// The export's name, for people.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Describe => "describe",
            Self::Collect => "collect",
            Self::Presence => "presence",
            Self::Stats => "custom-stats",
            Self::Health => "health",
            Self::Jobs => "job.describe",
        }
    }
}

/// What an instance answered.
pub(crate) enum Answer {
    Described(Description),
    Collected(Result<Samples, Failure>),
    Present(Result<Vec<PresenceSignal>, Failure>),
    Stats(Result<String, Failure>),
    Health(Health),
    Jobs(Vec<JobDescription>),
}

/// See the file's head.
pub(crate) struct Instance {
    store: Store<Guest>,
    exports: Exports,
    ticker: Arc<Ticker>,
    wall: Duration,
    /// Calls answered.
    answered: u32,
    /// What is left of the time for starting: interpreters use it up in their first calls.
    start_cpu: Duration,
    /// The same of running time.
    start_running: Duration,
}

/// Calls that may use the time for starting: one of each export.
const STARTING_CALLS: u32 = 6;

/// An instance is not replaced for its size before so many calls: one that is large from its first call on would be started for each.
const CALLS_BEFORE_RECYCLING: u32 = 3;

impl Instance {
    /// Makes an instance.
    ///
    /// # Errors
    /// When its start function traps or takes too long, or it is too large.
    pub(crate) async fn start(
        template: &Template,
        shared: Arc<Shared>,
        abilities: Arc<Abilities>,
        seat: Option<Arc<Seat>>,
    ) -> Result<Self, Fault> {
        let wall = if abilities.http.is_some() || abilities.data.is_some() {
            limits::CALL_WALL_NETWORK
        } else {
            limits::CALL_WALL
        };
        let budget = Budget {
            cpu: limits::START_CPU,
            running: limits::START_RUNNING,
            wall: wall + limits::START_RUNNING,
        };
        let hostcall_bytes = abilities.hostcall_bytes();
        let mut store = Store::new(template.pre.engine(), Guest::new(shared, abilities, budget));
        if let Some(seat) = seat {
            store.data_mut().take_seat(seat);
        }
        store.limiter(|guest| &mut guest.limiter);
        store.set_hostcall_fuel(hostcall_bytes);
        store.set_max_component_handles(limits::HANDLES_MAX);
        store.epoch_deadline_callback(|mut store| Ok(store.data_mut().at_epoch()));
        let call = Begun::new(&mut store, "start", budget);
        let begin = async {
            let instance = template.pre.instantiate_async(&mut store).await?;
            let exports = template.indices.load(&mut store, &instance);
            exports.map_err(|error| wasmtime::Error::new(Misfit(format!("{error:#}"))))
        };
        let result = call.finish(begin, &template.ticker).await;
        let exports = call.conclude(&mut store, result)?;
        let (cpu, running) = call.clock.taken();
        Ok(Self {
            store,
            exports,
            ticker: Arc::clone(&template.ticker),
            wall,
            answered: 0,
            start_cpu: limits::START_CPU.saturating_sub(cpu),
            start_running: limits::START_RUNNING.saturating_sub(running),
        })
    }

    /// Calls an export. After an error the instance must not be used again.
    ///
    /// # Errors
    /// When the guest traps, is stopped, or breaks the contract.
    pub(crate) async fn call(&mut self, call: Call) -> Result<Answer, Fault> {
        // While it starts it may wait for its turn besides.
        let turn = if self.start_running.is_zero() { Duration::ZERO } else { limits::START_RUNNING };
        let budget = Budget {
            cpu: self.start_cpu.max(limits::CALL_CPU),
            running: self.start_running.max(limits::CALL_RUNNING),
            wall: self.wall + turn,
        };
        let begun = Begun::new(&mut self.store, call.name(), budget);
        let asked = ask(&self.exports, &mut self.store, call);
        let result = begun.finish(asked, &self.ticker).await;
        let (cpu, running) = begun.clock.taken();
        let answer = begun.conclude(&mut self.store, result)?;
        self.answered = self.answered.saturating_add(1);
        self.start_cpu = self.start_cpu.saturating_sub(cpu);
        self.start_running = self.start_running.saturating_sub(running);
        if self.answered >= STARTING_CALLS {
            (self.start_cpu, self.start_running) = (Duration::ZERO, Duration::ZERO);
        }
        Ok(answer)
    }

    /// Runs a job to its end. It may take as long as its lease lasts: whoever holds that cuts it off by dropping this, and the instance. What
    /// it has used is counted while it goes on.
    ///
    /// # Errors
    /// When the guest traps, is stopped, or breaks the contract.
    pub(crate) async fn run(&mut self, name: &str) -> Result<Result<Outcome, Failure>, Fault> {
        let all = limits::JOB_RUN;
        let budget = Budget { cpu: all, running: all, wall: all };
        let mut begun = Begun::new(&mut self.store, "job.run", budget);
        let meter = Arc::clone(&self.store.data().shared.meter);
        let brake = begun.brake.clone();
        let mut counted = Duration::ZERO;
        let result = {
            let mut run = pin!(begun.finish(self.exports.run(&mut self.store, name), &self.ticker));
            loop {
                let over = tokio::time::timeout(limits::JOB_METER, run.as_mut()).await;
                let (cpu, _) = begun.clock.taken();
                meter.cpu(cpu.saturating_sub(counted));
                counted = cpu;
                if let Some(brake) = &brake {
                    meter.paused(brake.take_paused());
                }
                if let Ok(result) = over {
                    break result;
                }
            }
        };
        begun.counted = counted;
        begun.conclude(&mut self.store, result)
    }

    /// Processor time of the present call, or of the last one.
    pub(crate) fn clock(&self) -> Arc<CallClock> {
        Arc::clone(&self.store.data().clock)
    }

    /// True when it holds so much memory that it should be replaced: linear memory never shrinks.
    pub(crate) fn is_bloated(&self) -> bool {
        if self.answered < CALLS_BEFORE_RECYCLING {
            return false;
        }
        let guest = self.store.data();
        #[expect(clippy::cast_precision_loss, reason = "a share of at most 256 MiB")]
        let share = guest.limiter.used() as f64 / guest.abilities.memory_bytes.max(1) as f64;
        share > limits::MEMORY_HIGH_WATER_RATIO
    }
}

/// An export has another type than the contract's.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Misfit(String);

async fn ask(exports: &Exports, store: &mut Store<Guest>, call: Call) -> wasmtime::Result<Answer> {
    Ok(match call {
        Call::Describe => Answer::Described(exports.describe(store).await?),
        Call::Collect => Answer::Collected(exports.collect(store).await?),
        Call::Presence => Answer::Present(exports.presence(store).await?),
        Call::Stats => Answer::Stats(exports.custom_stats(store).await?),
        Call::Health => Answer::Health(exports.health(store).await?),
        Call::Jobs => Answer::Jobs(exports.jobs(store).await?),
    })
}

/// A call that has begun.
struct Begun {
    name: &'static str,
    budget: Budget,
    at: MonoTime,
    /// Processor time that was counted while it went on.
    counted: Duration,
    log_before: u64,
    clock: Arc<CallClock>,
    /// Of the job, and how long the guest had waited there before.
    brake: Option<Arc<Brake>>,
    parked_before: Duration,
}

impl Begun {
    fn new(store: &mut Store<Guest>, name: &'static str, budget: Budget) -> Self {
        store.set_epoch_deadline(1);
        let guest = store.data_mut();
        (guest.call, guest.budget, guest.stopped, guest.limiter.refused) = (name, budget, None, None);
        guest.clock.reset();
        let log_before = guest.shared.log().newest();
        let clock = Arc::clone(&guest.clock);
        let brake = guest.job.as_ref().map(|seat| Arc::clone(seat.brake()));
        let parked_before = brake.as_ref().map_or(Duration::ZERO, |brake| brake.parked());
        let at = clock::mono();
        Self { name, budget, at, counted: Duration::ZERO, log_before, clock, brake, parked_before }
    }

    /// Runs the call to its end; `None` when it did not come to one in time. Only a call that waits is cut off like that: one that runs
    /// is stopped by the epoch before. Its store is dropped afterwards, since a call cut off midway cannot be taken up again.
    async fn finish<T>(
        &self,
        call: impl Future<Output = wasmtime::Result<T>>,
        ticker: &Arc<Ticker>,
    ) -> Option<wasmtime::Result<T>> {
        let (clock, ticker, brake) = (Arc::clone(&self.clock), Arc::clone(ticker), self.brake.clone());
        let mut measured = pin!(Measured::new(call, clock, ticker, brake));
        let mut left = self.budget.wall;
        loop {
            if let Ok(result) = tokio::time::timeout(left, measured.as_mut()).await {
                return Some(result);
            }
            left = self.wall_left()?;
        }
    }

    /// What is left of its time on the wall, if anything is. Time in which the brake held the guest is none of its own.
    fn wall_left(&self) -> Option<Duration> {
        let parked = self.brake.as_ref()?.parked().saturating_sub(self.parked_before);
        let taken = clock::mono().since(self.at).saturating_sub(parked);
        let left = self.budget.wall.checked_sub(taken).filter(|left| !left.is_zero())?;
        // While it is held what is left stays as it is, however little.
        Some(left.max(limits::CALL_SLOT))
    }

    /// Counts the call, and says what went wrong if something did.
    fn conclude<T>(&self, store: &mut Store<Guest>, result: Option<wasmtime::Result<T>>) -> Result<T, Fault> {
        let guest = store.data_mut();
        let (cpu, ran) = self.clock.taken();
        guest.shared.meter.call(cpu.saturating_sub(self.counted), clock::mono().since(self.at));
        // The figure is that of the instance which collects; what runs a job has one of its own.
        if guest.job.is_none() {
            guest.shared.meter.memory(guest.limiter.used());
        }
        match result {
            Some(Ok(answer)) => Ok(answer),
            Some(Err(error)) => Err(self.fault(guest, &error)),
            None => Err(Fault::WallTime { call: self.name, allowed: self.budget.wall, ran }),
        }
    }

    fn fault(&self, guest: &mut Guest, error: &wasmtime::Error) -> Fault {
        let call = self.name;
        if let Some(fault) = guest.stopped.take() {
            return fault;
        }
        let limit_bytes = guest.limiter.limit();
        match guest.limiter.refused {
            Some(Refused::Memory) => return Fault::Memory { call, limit_bytes },
            Some(Refused::Table) => return Fault::Table { call },
            None => {}
        }
        let trap = error.downcast_ref::<Trap>();
        if trap == Some(&Trap::StackOverflow) {
            return Fault::Stack { call };
        }
        let cause = error.root_cause().to_string();
        if let Some(Misfit(what)) = error.downcast_ref() {
            let what = format!(
                "its exports do not fit lowtide:addon ({what}); build it against the WIT of this version (lowtide addon new shows it)"
            );
            return Fault::Contract { call, what: clean(&what, ERROR_TEXT_BYTES_MAX).into_owned() };
        }
        // These have no type of their own in wasmtime 48; a test would notice a change of words.
        if cause.contains("fuel allocated for hostcalls") {
            return Fault::HostCallBytes { call, limit_bytes: guest.abilities.hostcall_bytes() };
        }
        if (cause.contains("handle") || cause.contains("no free keys")) && trap.is_none() {
            return Fault::Handles { call };
        }
        Fault::Trap { call, trap: self.describe(guest, &cause, error) }
    }

    /// What happened, in which of the guest's own functions, and what it said last.
    fn describe(&self, guest: &Guest, cause: &str, error: &wasmtime::Error) -> String {
        let mut text = cause.to_owned();
        let frames = error.downcast_ref::<WasmBacktrace>().map(WasmBacktrace::frames).unwrap_or_default();
        let named: Vec<&str> =
            frames.iter().filter_map(|frame| frame.func_name()).filter(|name| is_own(name)).take(3).collect();
        if !named.is_empty() {
            text = format!("{text}, in {}", named.join(" < "));
        }
        let mut log = guest.shared.log();
        log.flush_output(clock::now());
        let (_, lines) = log.lines(self.log_before, limits::LOG_LINES_KEPT);
        // The panic message of Rust is two lines and a hint that helps nobody here.
        let told =
            |line: &&str| !line.trim().is_empty() && !line.starts_with("note: run with `RUST_BACKTRACE");
        let mut last: Vec<&str> =
            lines.iter().rev().map(|line| line.text.as_ref()).filter(told).take(2).collect();
        last.reverse();
        if !last.is_empty() {
            text = format!("{text}; it said: {}", last.join(" "));
        }
        clean(&text, ERROR_TEXT_BYTES_MAX).into_owned()
    }
}

/// False for the functions through which every panic goes.
fn is_own(name: &str) -> bool {
    const MACHINERY: [&str; 9] =
        ["std::", "core::", "alloc::", "rust_", "__rust", "abort", "__wasi", "wasi:", "panic"];
    !MACHINERY
        .iter()
        .any(|start| name.trim_start_matches(['<', '_']).starts_with(start.trim_start_matches('_')))
}
