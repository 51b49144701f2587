//! The addon host: watches the folder, loads what it finds, and keeps one task for each addon. What the rest of the daemon asks of addons
//! it asks here, and gets copies.

mod load;
mod supervise;

use crate::addon::Addon;
use crate::capabilities::Capabilities;
use crate::caps::kv::Kv;
use crate::caps::leases::Scheduler;
use crate::caps::log::LogLine;
use crate::compile::CompileCommand;
use crate::fakes::Fakes;
use crate::guest::Setting;
use crate::id::AddonId;
use crate::instance::MachineError;
use crate::jobs::NoOrder;
use crate::metering;
use crate::recorder::Names;
use crate::status::{AddonState, AddonView, Happening, Problem, StatsView};
use crate::task::Message;
use lowtide_core::quiet::Presence;
use lowtide_core::report::CollectorReport;
use lowtide_core::state::HostState;
use lowtide_core::units::Now;
use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::task::{AbortHandle, JoinHandle};

/// What the operator says about one addon.
#[derive(Clone, Debug, PartialEq)]
pub struct AddonConfig {
    /// False: it is never loaded.
    pub enabled: bool,
    /// Time between two collections; absent: what the addon wishes.
    pub interval: Option<Duration>,
    /// Limit of its memory in bytes; absent: what its manifest asks for.
    pub memory_bytes: Option<u64>,
    /// What it may do.
    pub grants: Capabilities,
    /// Its settings.
    pub settings: BTreeMap<String, Setting>,
}

impl Default for AddonConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            interval: None,
            memory_bytes: None,
            grants: Capabilities::default(),
            settings: BTreeMap::new(),
        }
    }
}

/// What the host runs with.
#[derive(Clone, Debug)]
pub struct HostConfig {
    /// The folder with the addons. It need not exist.
    pub folder: PathBuf,
    /// Where compiled components are kept; made when the first addon is loaded.
    pub cache_dir: PathBuf,
    /// The file that remembers which addons were switched off while the daemon ran.
    pub disabled_file: PathBuf,
    /// What `/proc` means.
    pub proc_dir: PathBuf,
    /// What `/sys` means.
    pub sys_dir: PathBuf,
    /// How the compiler is started.
    pub compile: CompileCommand,
    /// What the operator says, by addon.
    pub addons: BTreeMap<AddonId, AddonConfig>,
}

/// What addons need from the rest of the daemon.
#[derive(Clone)]
pub struct Outside {
    /// The newest state of the host.
    pub state: watch::Receiver<Option<Arc<HostState>>>,
    /// The store of the grant `kv`.
    pub kv: Arc<dyn Kv>,
    /// The scheduler of the grant `leases`; `None` without one.
    pub leases: Option<Arc<dyn Scheduler>>,
    /// Where happenings are told. Must not block.
    pub tell: Arc<dyn Fn(Happening) + Send + Sync>,
}

impl fmt::Debug for Outside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outside").finish_non_exhaustive()
    }
}

/// Why the host could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// No threads for it.
    #[error("cannot start the threads that run addons")]
    Runtime(#[source] std::io::Error),
    /// wasmtime cannot be set up.
    #[error("cannot set up the addon host")]
    Machine(#[from] MachineError),
}

/// Why an addon cannot be asked for something.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AskError {
    /// There is no such addon.
    #[error("there is no addon {0:?}")]
    Unknown(String),
    /// What was asked cannot be written down.
    #[error("cannot remember which addons are switched off: {0}")]
    Disk(String),
    /// The configuration switches it off, so it cannot be switched on here.
    #[error(
        "the addon {0:?} is switched off in the configuration: set enabled = true under [addon.{0}], then reload"
    )]
    Configured(String),
    /// The addon has no such job.
    #[error("the addon {addon:?} has no job {job:?}")]
    UnknownJob {
        /// Which addon.
        addon: String,
        /// What was asked for.
        job: String,
    },
    /// The job cannot run as things are.
    #[error("{0}")]
    JobCannotRun(String),
    /// The host is stopping.
    #[error("the daemon is stopping")]
    Stopping,
}

/// One place in the table of addons.
pub(crate) struct Slot {
    pub(crate) addon: Arc<Addon>,
    /// The way to its task and the task itself; `None` while it does not run.
    pub(crate) task: Option<(mpsc::Sender<Message>, JoinHandle<()>)>,
    /// The load that is under way: it is cut off when a newer one begins or none is wanted any more.
    pub(crate) loading: Option<AbortHandle>,
    /// The number of the newest load of it, and 0 when none is wanted any more: so a late one is noticed.
    pub(crate) generation: u64,
}

impl Slot {
    /// Cuts off a load that is under way, with the compiler if it has come to that.
    pub(crate) fn stop_loading(&mut self) {
        if let Some(loading) = self.loading.take() {
            loading.abort();
        }
    }
}

/// What the handle and the supervisor share.
pub(crate) struct Inner {
    pub(crate) outside: Outside,
    pub(crate) names: Arc<Names>,
    // Held for a look or a change of the table, never across an await.
    slots: Mutex<BTreeMap<AddonId, Slot>>,
    /// Files that cannot be addons at all, by name.
    rejected: Mutex<BTreeMap<String, AddonView>>,
    /// Why the folder as a whole is not read.
    folder_problem: Mutex<Option<Problem>>,
    config: Mutex<HostConfig>,
    /// Calls are made only by [`AddonHost::call_all`].
    pub(crate) by_hand: bool,
    /// A machine that is made up.
    pub(crate) fakes: Option<Arc<Fakes>>,
}

impl Inner {
    pub(crate) fn slots(&self) -> MutexGuard<'_, BTreeMap<AddonId, Slot>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn rejected(&self) -> MutexGuard<'_, BTreeMap<String, AddonView>> {
        self.rejected.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn folder_problem(&self) -> MutexGuard<'_, Option<Problem>> {
        self.folder_problem.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn config(&self) -> MutexGuard<'_, HostConfig> {
        self.config.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The handle. Cheap to clone.
#[derive(Clone)]
pub struct AddonHost {
    inner: Arc<Inner>,
    orders: mpsc::Sender<supervise::Order>,
    // Taken once, by whoever stops the host.
    runtime: Arc<Mutex<Option<tokio::runtime::Runtime>>>,
    metering: Arc<Mutex<metering::Metering>>,
}

impl fmt::Debug for AddonHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AddonHost").finish_non_exhaustive()
    }
}

/// Threads that run guests. A guest yields every millisecond, so two do for a thousand of them; one would let a guest's burst delay
/// the others.
const WORKERS: usize = 2;

/// Threads for what may block: files, the store, names. An addon may keep [`crate::limits::BLOCKING_PER_ADDON`] of them hanging, so dozens of
/// addons with dead servers leave some for the others. They are made when they are needed.
const BLOCKING_THREADS_MAX: usize = 128;

/// Orders waiting for the supervisor.
const ORDERS_MAX: usize = 64;

impl AddonHost {
    /// Starts watching the folder and loading what is in it. Returns at once; addons appear as they are loaded.
    ///
    /// # Errors
    /// When the system gives no threads.
    pub fn start(config: HostConfig, outside: Outside) -> Result<Self, StartError> {
        Self::launch(config, outside, false, None)
    }

    /// The same for the tools of authors: nothing is called but by [`call_all`](Self::call_all), and what addons see of the machine may
    /// be made up.
    ///
    /// # Errors
    /// When the system gives no threads.
    pub fn start_by_hand(
        config: HostConfig,
        outside: Outside,
        fakes: Option<Fakes>,
    ) -> Result<Self, StartError> {
        Self::launch(config, outside, true, fakes.map(Arc::new))
    }

    fn launch(
        config: HostConfig,
        outside: Outside,
        by_hand: bool,
        fakes: Option<Arc<Fakes>>,
    ) -> Result<Self, StartError> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(WORKERS)
            .max_blocking_threads(BLOCKING_THREADS_MAX)
            .thread_name("lt-addons")
            .enable_all()
            .build()
            .map_err(StartError::Runtime)?;
        let (orders, inbox) = mpsc::channel(ORDERS_MAX);
        let inner = Arc::new(Inner {
            outside,
            names: Arc::default(),
            slots: Mutex::default(),
            rejected: Mutex::default(),
            folder_problem: Mutex::default(),
            config: Mutex::new(config),
            by_hand,
            fakes,
        });
        runtime.spawn(supervise::run(Arc::clone(&inner), inbox));
        Ok(Self { inner, orders, runtime: Arc::new(Mutex::new(Some(runtime))), metering: Arc::default() })
    }

    fn addons(&self) -> Vec<Arc<Addon>> {
        self.inner.slots().values().map(|slot| Arc::clone(&slot.addon)).collect()
    }

    fn addon(&self, id: &str) -> Result<Arc<Addon>, AskError> {
        let unknown = || AskError::Unknown(id.chars().take(80).collect());
        let id = AddonId::new(id).map_err(|_| unknown())?;
        self.inner.slots().get(&id).map(|slot| Arc::clone(&slot.addon)).ok_or_else(unknown)
    }

    /// The reports of all addons at a tick, and the one about them.
    #[must_use]
    pub fn reports(&self, now: Now) -> Vec<CollectorReport> {
        let addons = self.addons();
        let mut reports: Vec<CollectorReport> = addons.iter().filter_map(|addon| addon.report(now)).collect();
        if !addons.is_empty() {
            let mut metering = self.metering.lock().unwrap_or_else(PoisonError::into_inner);
            reports.push(metering.report(now, &addons));
        }
        reports
    }

    /// Who is present at a tick, according to all addons.
    #[must_use]
    pub fn presence(&self, now: Now) -> Vec<Presence> {
        self.addons().iter().flat_map(|addon| addon.presence(now.mono)).collect()
    }

    /// Every addon, and every file that cannot be one, by name.
    #[must_use]
    pub fn list(&self) -> Vec<AddonView> {
        let now = lowtide_clock::now();
        let mut views: Vec<AddonView> = self.addons().iter().map(|addon| addon.view(now)).collect();
        views.extend(self.inner.rejected().values().cloned());
        views.sort_by(|a, b| a.name.cmp(&b.name));
        views
    }

    /// Why the folder as a whole cannot be read, if it cannot: addons that run go on, and no change of the folder is noticed.
    #[must_use]
    pub fn folder_problem(&self) -> Option<Problem> {
        self.inner.folder_problem().clone()
    }

    /// One addon, or one file that cannot be one.
    ///
    /// # Errors
    /// When there is none of this name.
    pub fn view(&self, name: &str) -> Result<AddonView, AskError> {
        match self.addon(name) {
            Ok(addon) => Ok(addon.view(lowtide_clock::now())),
            Err(error) => self.inner.rejected().get(name).cloned().ok_or(error),
        }
    }

    /// The newest lines of an addon's log after number `since`, at most `limit`, and how many in between are no longer kept.
    ///
    /// # Errors
    /// When there is no such addon.
    pub fn log(&self, id: &str, since: u64, limit: usize) -> Result<(u64, Vec<Arc<LogLine>>), AskError> {
        Ok(self.addon(id)?.shared.log().lines(since, limit))
    }

    /// The newest `limit` lines of an addon's log.
    ///
    /// # Errors
    /// When there is no such addon.
    pub fn newest_log(&self, id: &str, limit: usize) -> Result<Vec<Arc<LogLine>>, AskError> {
        Ok(self.addon(id)?.shared.log().newest_lines(limit))
    }

    /// The document of an addon; `Ok(Ok(None))` when it has none yet, the problem when it could not make one.
    ///
    /// # Errors
    /// When there is no such addon.
    pub fn stats(&self, id: &str) -> Result<Result<Option<StatsView>, Problem>, AskError> {
        Ok(self.addon(id)?.stats_view())
    }

    /// Switches an addon off or on, also across restarts of the daemon.
    ///
    /// # Errors
    /// When there is no such addon, the configuration says otherwise, or it cannot be written down.
    pub async fn set_enabled(&self, id: &str, enabled: bool) -> Result<AddonView, AskError> {
        let addon = self.addon(id)?;
        self.order(|done| supervise::Order::Enable { id: addon.shared.id.clone(), enabled, done }).await??;
        self.view(id)
    }

    /// Reads an addon's files again and starts it anew, whatever it was in.
    ///
    /// # Errors
    /// When there is no such addon.
    pub async fn reload(&self, id: &str) -> Result<AddonView, AskError> {
        let addon = self.addon(id)?;
        self.order(|done| supervise::Order::Reload { id: addon.shared.id.clone(), done }).await?;
        self.view(id)
    }

    /// Wants a job of an addon to run now: its lease is asked for at once, whenever it would be due. One that waits or runs already goes on.
    ///
    /// # Errors
    /// When there is no such addon or job, or it cannot run.
    pub fn run_job(&self, id: &str, job: &str) -> Result<AddonView, AskError> {
        let addon = self.addon(id)?;
        addon.jobs.order(job).map_err(|error| match error {
            NoOrder::Unknown => {
                let (addon, job) = (id.to_owned(), job.chars().take(80).collect());
                AskError::UnknownJob { addon, job }
            }
            NoOrder::CannotRun(why) => AskError::JobCannotRun(why),
        })?;
        self.view(id)
    }

    /// Makes each call of an addon that comes again and again `times` times, now, and waits until they are over: collections,
    /// presence, stats, health. What came of them is in its view and reports. False when there is no such addon, it does not run, or it crashed.
    pub async fn call_all(&self, id: &str, times: u32) -> bool {
        let Ok(addon) = self.addon(id) else { return false };
        let inbox = {
            let slots = self.inner.slots();
            slots.get(&addon.shared.id).and_then(|slot| slot.task.as_ref().map(|(inbox, _)| inbox.clone()))
        };
        let Some(inbox) = inbox else { return false };
        let (done, answer) = tokio::sync::oneshot::channel();
        inbox.send(Message::CallAll { times, done }).await.is_ok() && answer.await.is_ok()
    }

    /// Takes over what the operator says about addons; those that it changes anything for are started anew.
    pub async fn configure(&self, addons: BTreeMap<AddonId, AddonConfig>) -> Result<(), AskError> {
        self.order(|done| supervise::Order::Configure { addons, done }).await
    }

    async fn order<T>(
        &self,
        order: impl FnOnce(tokio::sync::oneshot::Sender<T>) -> supervise::Order,
    ) -> Result<T, AskError> {
        let (done, answer) = tokio::sync::oneshot::channel();
        self.orders.send(order(done)).await.map_err(|_| AskError::Stopping)?;
        answer.await.map_err(|_| AskError::Stopping)
    }

    /// Ends all addons: each finishes the call it is in, within [`crate::limits::DRAIN`]. Blocks; not to be called from an async task.
    pub fn stop(&self) {
        let Some(runtime) = self.runtime.lock().unwrap_or_else(PoisonError::into_inner).take() else {
            return;
        };
        runtime.block_on(async {
            let (done, answer) = tokio::sync::oneshot::channel();
            let stopped = async {
                if self.orders.send(supervise::Order::Stop { done }).await.is_ok() {
                    let _ = answer.await;
                }
            };
            // Each is cut off in time, and so is whoever waits for them.
            if tokio::time::timeout(crate::limits::DRAIN * 2, stopped).await.is_err() {
                tracing::error!("the addons did not end in time");
            }
        });
        runtime.shutdown_timeout(Duration::from_millis(200));
    }

    /// True when no addon is being loaded: for tests and for who waits until all are there.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.addons().iter().all(|addon| addon.state() != AddonState::Loading)
    }
}
