//! What a guest's store holds: its limits, its clock, its sandboxed WASI, and the way to everything that it may import. The adapters in
//! `wit/` call it; it knows no version of the contract.

use crate::caps::blocking::Blocking;
use crate::caps::host_data::DataDesk;
use crate::caps::http::HttpDesk;
use crate::caps::kv::KvDesk;
use crate::caps::leases::{LeaseDesk, Seat, Tally};
use crate::caps::log::{Level, LogBuffer, Output, clean};
use crate::fault::Fault;
use crate::gate::{Budget, CallClock};
use crate::id::AddonId;
use crate::limits;
use crate::meter::Meter;
use crate::recorder::{MetricError, Recorder};
use bytes::Bytes;
use lowtide_clock as clock;
use lowtide_core::limits::{LABEL_KEY_BYTES_MAX, LABEL_VALUE_BYTES_MAX};
use lowtide_core::rate::TokenBucket;
use lowtide_core::state::HostState;
use std::collections::BTreeMap;
use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use tokio::io::AsyncWrite;
use tokio::sync::watch;
use wasmtime::component::ResourceTable;
use wasmtime::{ResourceLimiter, UpdateDeadline};
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamResult};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView, async_trait};

/// A value of an addon's settings.
#[derive(Clone, Debug, PartialEq)]
pub enum Setting {
    /// Text.
    Text(String),
    /// A whole number.
    Integer(i64),
    /// A number with a fraction.
    Float(f64),
    /// True or false.
    Boolean(bool),
    /// A list of texts.
    Texts(Vec<String>),
}

/// Something that an addon reports by `metrics.event`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GuestEvent {
    /// Who.
    pub addon: AddonId,
    /// What.
    pub name: String,
    /// Details.
    pub attributes: Vec<(String, String)>,
}

/// What belongs to an addon, and not to one of its instances.
pub(crate) struct Shared {
    pub(crate) id: AddonId,
    pub(crate) meter: Arc<Meter>,
    // Held for the length of one call's samples or one record, by the addon's own task and by the tick.
    pub(crate) recorder: Mutex<Recorder>,
    // Held for one line, or for a copy of the newest.
    pub(crate) log: Mutex<LogBuffer>,
    pub(crate) events: Mutex<TokenBucket>,
    /// See [`limits::BLOCKING_PER_ADDON`].
    pub(crate) blocking: Blocking,
    /// What it waits for at the scheduler.
    pub(crate) leases: Tally,
    /// Where events go.
    pub(crate) publish: Arc<dyn Fn(GuestEvent) + Send + Sync>,
    /// What the host knows.
    pub(crate) state: watch::Receiver<Option<Arc<HostState>>>,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("id", &self.id).finish_non_exhaustive()
    }
}

impl Shared {
    pub(crate) fn recorder(&self) -> MutexGuard<'_, Recorder> {
        self.recorder.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn log(&self) -> MutexGuard<'_, LogBuffer> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What an addon was granted, ready to use.
#[derive(Debug, Default)]
pub(crate) struct Abilities {
    pub(crate) kv: Option<Arc<KvDesk>>,
    pub(crate) http: Option<HttpDesk>,
    pub(crate) data: Option<Arc<DataDesk>>,
    pub(crate) leases: Option<Arc<LeaseDesk>>,
    pub(crate) settings: BTreeMap<String, Setting>,
    pub(crate) memory_bytes: u64,
}

impl Abilities {
    /// Bytes that one call may pass to the host.
    pub(crate) fn hostcall_bytes(&self) -> usize {
        if self.kv.is_some() || self.http.is_some() {
            limits::HOSTCALL_BYTES_DOCUMENTS
        } else {
            limits::HOSTCALL_BYTES
        }
    }
}

/// The data of a guest's store.
pub(crate) struct Guest {
    pub(crate) shared: Arc<Shared>,
    pub(crate) abilities: Arc<Abilities>,
    pub(crate) limiter: Limiter,
    pub(crate) clock: Arc<CallClock>,
    pub(crate) call: &'static str,
    pub(crate) budget: Budget,
    /// The job that this instance is for, if it is for one.
    pub(crate) job: Option<Arc<Seat>>,
    /// Why the host stopped the guest, if it did.
    pub(crate) stopped: Option<Fault>,
    host_calls: TokenBucket,
    wasi: WasiCtx,
    pub(crate) table: ResourceTable,
}

impl Guest {
    pub(crate) fn new(shared: Arc<Shared>, abilities: Arc<Abilities>, budget: Budget) -> Self {
        let mut table = ResourceTable::new();
        table.set_max_capacity(limits::HOST_RESOURCES_MAX);
        // Nothing behind it: no files, no environment, no arguments, no input, no network. Output becomes log lines.
        let wasi = WasiCtx::builder()
            .stdout(Lines { shared: Arc::clone(&shared), output: Output::Stdout })
            .stderr(Lines { shared: Arc::clone(&shared), output: Output::Stderr })
            .max_random_size(limits::RANDOM_BYTES_MAX)
            .allow_tcp(false)
            .allow_udp(false)
            .allow_ip_name_lookup(false)
            .build();
        Self {
            limiter: Limiter {
                limit: abilities.memory_bytes,
                meter: Arc::clone(&shared.meter),
                ..Limiter::default()
            },
            shared,
            abilities,
            clock: Arc::default(),
            call: "start",
            budget,
            job: None,
            stopped: None,
            host_calls: TokenBucket::new(limits::HOST_CALLS_PER_SECOND, limits::HOST_CALLS_BURST),
            wasi,
            table,
        }
    }

    /// Makes this the guest that runs a job.
    pub(crate) fn take_seat(&mut self, seat: Arc<Seat>) {
        self.limiter.of_job = true;
        self.job = Some(seat);
    }

    /// Counts a call from the guest to the host.
    ///
    /// # Errors
    /// A trap when there are too many of them.
    pub(crate) fn host_call(&mut self) -> wasmtime::Result<()> {
        Meter::add(&self.shared.meter.host_calls, 1);
        if self.host_calls.take(clock::mono()) {
            return Ok(());
        }
        self.stopped = Some(Fault::HostCallStorm { call: self.call });
        Err(wasmtime::Error::msg("too many host calls"))
    }

    /// Writes a line of the guest's own into its log; what matters to the operator also goes to the daemon's.
    pub(crate) fn log(&self, level: Level, message: &str) {
        let kept = self.shared.log().push(clock::now(), level, message);
        if let Some(line) = kept {
            let addon = self.shared.id.as_str();
            match level {
                Level::Error => tracing::error!(addon, line = line.text, "addon says"),
                Level::Warn => tracing::warn!(addon, line = line.text, "addon says"),
                Level::Info | Level::Debug => tracing::debug!(addon, line = line.text, "addon says"),
            }
        }
    }

    /// Takes in an event.
    pub(crate) fn report_event(
        &self,
        name: &str,
        attributes: &[(String, String)],
    ) -> Result<(), MetricError> {
        let word = |text: &str| {
            text.starts_with(|c: char| c.is_ascii_lowercase())
                && text.len() <= LABEL_KEY_BYTES_MAX
                && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
        };
        let meter = &self.shared.meter;
        if let Some(bad) =
            [name].into_iter().chain(attributes.iter().map(|(key, _)| key.as_str())).find(|text| !word(text))
        {
            Meter::add(&meter.dropped_events, 1);
            let bad = clean(bad, LABEL_KEY_BYTES_MAX);
            return Err(MetricError::Invalid(format!(
                "{bad:?} is not a lower-case word of at most {LABEL_KEY_BYTES_MAX} bytes"
            )));
        }
        let fits = attributes.len() <= limits::EVENT_ATTRIBUTES_MAX;
        if !fits || !self.shared.events.lock().unwrap_or_else(PoisonError::into_inner).take(clock::mono()) {
            Meter::add(&meter.dropped_events, 1);
            return Err(MetricError::LimitExceeded(if fits {
                format!("more than {} events at once", limits::EVENTS_BURST)
            } else {
                format!("an event has at most {} attributes", limits::EVENT_ATTRIBUTES_MAX)
            }));
        }
        Meter::add(&meter.events, 1);
        let attribute =
            |(key, value): &(String, String)| (key.clone(), clean(value, LABEL_VALUE_BYTES_MAX).into_owned());
        (self.shared.publish)(GuestEvent {
            addon: self.shared.id.clone(),
            name: name.to_owned(),
            attributes: attributes.iter().map(attribute).collect(),
        });
        Ok(())
    }

    /// What to do with a guest that has been running for a tick.
    pub(crate) fn at_epoch(&mut self) -> UpdateDeadline {
        let (cpu, running) = self.clock.taken_now();
        let call = self.call;
        if cpu >= self.budget.cpu {
            self.stopped = Some(Fault::CpuTime { call, used: cpu, allowed: self.budget.cpu });
        } else if running >= self.budget.running {
            self.stopped = Some(Fault::RunningTime { call, used: running, allowed: self.budget.running });
        } else if let Some(wait) = self.job.as_ref().and_then(|seat| seat.brake().obeyed(&self.clock)) {
            return UpdateDeadline::YieldCustom(1, Box::pin(wait));
        } else {
            // Others get their turn in between.
            return UpdateDeadline::Yield(1);
        }
        UpdateDeadline::Interrupt
    }
}

impl WasiView for Guest {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

/// What a guest wanted more of than it may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    Memory,
    Table,
}

/// Counts a guest's memory, and refuses what is over its limit: `memory.grow` then answers -1.
#[derive(Debug, Default)]
pub(crate) struct Limiter {
    limit: u64,
    used: u64,
    /// What the last granted growth added, in case it cannot be had.
    grown: u64,
    /// Of an instance that runs a job.
    of_job: bool,
    /// What was refused last in the present call.
    pub(crate) refused: Option<Refused>,
    meter: Arc<Meter>,
}

impl Limiter {
    /// The most linear memory that it may have, in bytes.
    pub(crate) fn limit(&self) -> u64 {
        self.limit
    }

    /// Linear memory in all, in bytes.
    pub(crate) fn used(&self) -> u64 {
        self.used
    }

    fn bytes(number: usize) -> u64 {
        u64::try_from(number).unwrap_or(u64::MAX)
    }
}

impl ResourceLimiter for Limiter {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        _max: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let grown = Self::bytes(desired.saturating_sub(current));
        let after = self.used.saturating_add(grown);
        if after > self.limit {
            self.refused = Some(Refused::Memory);
            Meter::add(&self.meter.memory_refusals, 1);
            return Ok(false);
        }
        (self.used, self.grown) = (after, grown);
        if self.of_job {
            // Its call lasts long; the others tell their size at the end of theirs.
            self.meter.job_memory(after);
        }
        Ok(true)
    }

    fn memory_grow_failed(&mut self, _error: wasmtime::Error) -> wasmtime::Result<()> {
        self.used = self.used.saturating_sub(std::mem::take(&mut self.grown));
        Ok(())
    }

    fn table_growing(
        &mut self,
        _current: usize,
        desired: usize,
        _max: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let fits = desired <= limits::TABLE_ELEMENTS_MAX;
        if !fits {
            self.refused = Some(Refused::Table);
        }
        Ok(fits)
    }

    fn instances(&self) -> usize {
        limits::INSTANCES_MAX
    }

    fn tables(&self) -> usize {
        limits::TABLES_MAX
    }

    fn memories(&self) -> usize {
        limits::MEMORIES_MAX
    }
}

/// Standard output or error of a guest, as lines of its log.
#[derive(Clone)]
struct Lines {
    shared: Arc<Shared>,
    output: Output,
}

impl IsTerminal for Lines {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Lines {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(self.clone())
    }

    /// The ready-made stream over the one above writes from a task of its own, and what a guest says before it panics comes too late.
    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

impl OutputStream for Lines {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.shared.log().push_output(clock::now(), self.output, &bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(limits::LOG_LINE_BYTES_MAX)
    }
}

#[async_trait]
impl Pollable for Lines {
    async fn ready(&mut self) {}
}

impl AsyncWrite for Lines {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        self.shared.log().push_output(clock::now(), self.output, bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
