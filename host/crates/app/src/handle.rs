//! Starting the daemon's heart, and the handle by which API and host read it and ask it to act.

use crate::addons::{LazyStore, event};
use crate::events::{EventKind, EventLog};
use crate::history::{Asked, History, HistoryError, HistorySettings, Laying};
use crate::leases::{LeaseSettings, Leases};
#[cfg(target_os = "linux")]
use crate::looks;
use crate::metronome::{self, Command, Parts};
use crate::tick::Ticker;
use lowtide_addons::caps::leases::Scheduler;
use lowtide_addons::{AddonHost, HostConfig, Outside};
use lowtide_clock as clock;
use lowtide_collectors::{ApiMeter, CollectConfig, Runner, Sources};
use lowtide_core::quiet::QuietConfig;
use lowtide_core::state::HostState;
use lowtide_core::units::{Now, WallTime};
use lowtide_core::window::Window;
use std::fmt;
use std::path::PathBuf;
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::watch;

/// Commands waiting for the tick loop: it takes them within microseconds, and nobody sends more than a few.
const COMMANDS_MAX: usize = 16;

/// What the daemon runs with.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What the collectors read, and how often.
    pub collect: CollectConfig,
    /// How the verdict is made.
    pub quiet: QuietConfig,
    /// Leases; `None` runs without them.
    pub leases: Option<LeaseSettings>,
    /// Addons; `None` runs without them.
    pub addons: Option<AddonSettings>,
    /// History on disk; `None` keeps the last hour alone.
    pub history: Option<HistorySettings>,
}

/// What addons run with.
#[derive(Clone, Debug)]
pub struct AddonSettings {
    /// Folder, cache, grants.
    pub host: HostConfig,
    /// The file of the store that addons keep keys and values in. Made when the first addon uses it.
    pub store_file: PathBuf,
}

/// What the host wants to be told from inside the tick loop.
pub struct Hooks {
    /// Called after every tick with its state, from the loop itself: a watchdog fed here means that ticks happen.
    pub after_tick: Box<dyn FnMut(&HostState) + Send>,
}

impl fmt::Debug for Hooks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hooks").finish_non_exhaustive()
    }
}

/// Why the daemon's heart could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The system gave no thread.
    #[error("cannot start a thread")]
    Thread(#[source] std::io::Error),
    /// The addon host could not start.
    #[error("cannot start the addon host")]
    Addons(#[source] lowtide_addons::StartError),
}

/// What is fixed while the daemon runs.
#[derive(Clone, Debug)]
pub struct About {
    /// Version of the program.
    pub version: &'static str,
    /// When this daemon started.
    pub started: Now,
    /// Distinguishes this run of the daemon from any other on this machine: event numbers start anew with it.
    pub run_id: String,
    /// Time between two ticks.
    pub tick: Duration,
}

/// The handle. Cheap to clone; everything behind it is shared.
#[derive(Clone, Debug)]
pub struct App {
    about: Arc<About>,
    meter: Arc<ApiMeter>,
    window: Arc<RwLock<Window>>,
    events: Arc<EventLog>,
    state: watch::Receiver<Option<Arc<HostState>>>,
    commands: SyncSender<Command>,
    leases: Option<Leases>,
    addons: Option<AddonHost>,
    history: Option<History>,
    quiet: Arc<RwLock<QuietConfig>>,
    // Joined once, by whoever stops the daemon.
    ticking: Arc<Mutex<Option<JoinHandle<()>>>>,
}

impl App {
    /// Starts collectors and tick loop.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(settings: Settings, meter: Arc<ApiMeter>, hooks: Hooks) -> Result<Self, StartError> {
        let started = clock::now();
        let tick = settings.collect.tick;
        let quiet = Arc::new(RwLock::new(settings.quiet.clone()));
        let ticker = Ticker::new(tick, settings.quiet);
        let (window, events, state) = (ticker.window(), ticker.events(), ticker.subscribe());
        let sources = Sources::new(Arc::clone(&meter));
        let runner = Runner::new(lowtide_collectors::table(&settings.collect, &sources), tick, seed(started));
        let look_every = settings.leases.as_ref().and_then(|leases| leases.look_every);
        let leases = settings
            .leases
            .map(|leases| Leases::start(leases, Arc::clone(&events), Arc::clone(&sources.work)))
            .transpose()
            .map_err(StartError::Thread)?;
        #[cfg(target_os = "linux")]
        if let (Some(leases), Some(every)) = (&leases, look_every) {
            let (config, work) = (settings.collect.clone(), Arc::clone(&sources.work));
            looks::start(leases.clone(), every, config, work, Arc::clone(&quiet))
                .map_err(StartError::Thread)?;
        }
        let addons = settings
            .addons
            .map(|addons| start_addons(addons, state.clone(), Arc::clone(&events), leases.clone()))
            .transpose()
            .map_err(StartError::Addons)?;
        let history = settings
            .history
            .map(|history| History::start(history, Arc::clone(&events)))
            .transpose()
            .map_err(StartError::Thread)?;
        let (commands, inbox) = std::sync::mpsc::sync_channel(COMMANDS_MAX);
        let parts = Parts { leases: leases.clone(), addons: addons.clone(), history: history.clone() };
        let ticking = metronome::start(ticker, runner, parts, inbox, hooks).map_err(StartError::Thread)?;
        let about = About {
            version: env!("CARGO_PKG_VERSION"),
            started,
            run_id: format!("{:x}", started.wall.unix_ms()),
            tick,
        };
        let ticking = Arc::new(Mutex::new(Some(ticking)));
        let about = Arc::new(about);
        Ok(Self { about, meter, window, events, state, commands, leases, addons, history, quiet, ticking })
    }

    /// What is fixed while the daemon runs.
    #[must_use]
    pub fn about(&self) -> &About {
        &self.about
    }

    /// The state of the newest tick; `None` before the first.
    #[must_use]
    pub fn state(&self) -> Option<Arc<HostState>> {
        self.state.borrow().clone()
    }

    /// The newest state, and a wake-up at each new one.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<Option<Arc<HostState>>> {
        self.state.clone()
    }

    /// Resolves when the tick loop has ended, by a stop or by a defect.
    pub async fn ticking_ended(&self) {
        // The sender lives in the loop; no state satisfies this, so only its end does.
        let _ = self.state.clone().wait_for(|_| false).await;
    }

    /// Reads the window of the last hour. The tick waits while `read` runs: it must be short and must not block.
    pub fn with_window<T>(&self, read: impl FnOnce(&Window) -> T) -> T {
        read(&self.window.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The end of a question up to now: the tick of this state, as the window shows it. The wall time of its snapshot may be a millisecond
    /// too early to hold it.
    #[must_use]
    pub fn shown_at(&self, state: &HostState) -> WallTime {
        self.with_window(|window| window.shown(state.snapshot.at))
    }

    /// Finds the series that answer a question about the past. Blocks, if it is about more than the last hour.
    ///
    /// # Errors
    /// When the file of history is needed and cannot be read.
    pub fn ask<'a>(&'a self, asked: &'a Asked) -> Result<Laying<'a>, HistoryError> {
        Laying::new(&self.window, self.history.as_ref(), asked)
    }

    /// History on disk; `None` when the daemon keeps the last hour alone.
    #[must_use]
    pub fn history(&self) -> Option<&History> {
        self.history.as_ref()
    }

    /// The leases; `None` when the daemon runs without them.
    #[must_use]
    pub fn leases(&self) -> Option<&Leases> {
        self.leases.as_ref()
    }

    /// The addons; `None` when the daemon runs without them.
    #[must_use]
    pub fn addons(&self) -> Option<&AddonHost> {
        self.addons.as_ref()
    }

    /// What happened lately.
    #[must_use]
    pub fn events(&self) -> &EventLog {
        &self.events
    }

    /// Where the HTTP layer counts its requests.
    #[must_use]
    pub fn meter(&self) -> &Arc<ApiMeter> {
        &self.meter
    }

    /// Judges by these thresholds from the next tick on. Returns false when the daemon is stopping.
    pub fn set_quiet(&self, quiet: QuietConfig) -> bool {
        self.quiet.write().unwrap_or_else(PoisonError::into_inner).clone_from(&quiet);
        self.commands.send(Command::SetQuiet(Box::new(quiet))).is_ok()
    }

    /// Tells that the configuration was read again.
    pub fn note_reload(&self, applied: Vec<String>, restart_needed: Vec<String>, errors: Vec<String>) {
        self.events.publish(clock::now().wall, vec![EventKind::Reload { applied, restart_needed, errors }]);
    }

    /// Stops addons and the tick loop and waits for them. Hung collectors are left behind. Blocks; not for async tasks.
    pub fn stop(&self) {
        if let Some(addons) = &self.addons {
            addons.stop();
        }
        let _ = self.commands.send(Command::Stop);
        let ticking = self.ticking.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(ticking) = ticking
            && ticking.join().is_err()
        {
            tracing::error!("the tick loop panicked");
        }
        // After them: addons give their leases back while they end.
        if let Some(leases) = &self.leases {
            leases.stop();
        }
        // Last: it keeps what happened meanwhile.
        if let Some(history) = &self.history {
            history.stop();
        }
    }
}

fn start_addons(
    settings: AddonSettings,
    state: watch::Receiver<Option<Arc<HostState>>>,
    events: Arc<EventLog>,
    leases: Option<Leases>,
) -> Result<AddonHost, lowtide_addons::StartError> {
    let tell = move |happening| events.publish(clock::now().wall, vec![event(happening)]);
    let outside = Outside {
        state,
        kv: Arc::new(LazyStore::new(settings.store_file)),
        leases: leases.map(|leases| Arc::new(leases) as Arc<dyn Scheduler>),
        tell: Arc::new(tell),
    };
    AddonHost::start(settings.host, outside)
}

/// Spreads the slow collectors of many hosts that started together over their intervals.
fn seed(started: Now) -> u64 {
    started.wall.unix_ms().unsigned_abs() ^ u64::from(std::process::id()).rotate_left(32)
}
