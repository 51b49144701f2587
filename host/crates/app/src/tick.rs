//! One tick, from collector reports to published state: the file to read first. It is given the time, so a test or the
//! simulator can step it; `metronome` calls it in the daemon.

use crate::derived::{Derived, TickFacts};
use crate::events::{self, EventLog};
use lowtide_addons::AddonHost;
use lowtide_collectors::Runner;
use lowtide_core::limits;
use lowtide_core::quiet::{self, Presence, QuietConfig, QuietMemory};
use lowtide_core::report::CollectorReport;
use lowtide_core::snapshot::Snapshot;
use lowtide_core::state::HostState;
use lowtide_core::units::Now;
use lowtide_core::window::Window;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;
use tokio::sync::watch;

/// Everything that lives from one tick to the next.
#[derive(Debug)]
pub struct Ticker {
    interval: Duration,
    quiet: QuietConfig,
    memory: QuietMemory,
    sequence: u64,
    derived: Derived,
    // A reader holds this while it computes one query's numbers (bounded by the limits of a query, at most milliseconds), the tick
    // for the microseconds of one push.
    window: Arc<RwLock<Window>>,
    events: Arc<EventLog>,
    // A watch channel: readers want the newest state whole, and never a queue of old ones.
    published: watch::Sender<Option<Arc<HostState>>>,
}

impl Ticker {
    /// A ticker that has not ticked yet.
    #[must_use]
    pub fn new(interval: Duration, quiet: QuietConfig) -> Self {
        Self {
            interval,
            quiet,
            memory: QuietMemory::default(),
            sequence: 0,
            derived: Derived::new(),
            window: Arc::new(RwLock::new(Window::new(interval))),
            events: Arc::new(EventLog::new()),
            published: watch::Sender::new(None),
        }
    }

    /// Starts the due collectors, waits for the quick ones, takes what addons said last, and makes one tick of it all.
    pub fn collect_and_tick(
        &mut self,
        runner: &mut Runner,
        addons: Option<&AddonHost>,
        now: Now,
        facts: TickFacts,
    ) -> Arc<HostState> {
        let mut reports = runner.tick(now, limits::COLLECTOR_DEADLINE);
        // Addons run on threads of their own and are never waited for.
        reports.extend(addons.map(|addons| addons.reports(now)).unwrap_or_default());
        let presence = addons.map(|addons| addons.presence(now)).unwrap_or_default();
        self.tick(now, reports, &presence, facts)
    }

    /// Makes one tick of these reports: snapshot, verdict, the daemon's own series, window, events, publication.
    pub fn tick(
        &mut self,
        now: Now,
        reports: Vec<CollectorReport>,
        presence: &[Presence],
        facts: TickFacts,
    ) -> Arc<HostState> {
        self.sequence += 1;
        let snapshot = Snapshot::build(self.sequence, now, self.interval, reports);
        let verdict = quiet::assess(&snapshot, presence, &mut self.memory, &self.quiet);
        let derived = self.derive(&snapshot, &verdict, facts);
        let state = Arc::new(HostState { snapshot, quiet: verdict, derived });

        self.window.write().unwrap_or_else(PoisonError::into_inner).push(now, state.reports());
        // The state before the events: who hears of a tick can ask for it.
        let previous = self.published.send_replace(Some(Arc::clone(&state)));
        self.events.publish(now.wall, events::between(previous.as_deref(), &state));
        state
    }

    fn derive(
        &mut self,
        snapshot: &Snapshot,
        verdict: &quiet::QuietAssessment,
        facts: TickFacts,
    ) -> Vec<CollectorReport> {
        let window = self.window.read().unwrap_or_else(PoisonError::into_inner);
        self.derived.reports(snapshot, verdict, facts, &window)
    }

    /// Judges by these thresholds from the next tick on; dwell and state go on.
    pub fn set_quiet(&mut self, quiet: QuietConfig) {
        self.quiet = quiet;
    }

    /// Time between two ticks.
    #[must_use]
    pub fn interval(&self) -> Duration {
        self.interval
    }

    /// The last hour of all series.
    #[must_use]
    pub fn window(&self) -> Arc<RwLock<Window>> {
        Arc::clone(&self.window)
    }

    /// What happened lately.
    #[must_use]
    pub fn events(&self) -> Arc<EventLog> {
        Arc::clone(&self.events)
    }

    /// The newest state, and a wake-up at each new one.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<Option<Arc<HostState>>> {
        self.published.subscribe()
    }
}
