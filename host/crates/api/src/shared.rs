//! What the handlers share: the app, the documents of the present tick, and the places for event streams.

use crate::document::Document;
use crate::error::{Code, Problem};
use crate::gate::Gate;
use lowtide_access::TokenId;
use lowtide_addons::AddonHost;
use lowtide_app::App;
use lowtide_clock as clock;
use lowtide_core::limits;
use lowtide_core::state::HostState;
use std::collections::HashMap;
use std::ops::Deref;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};
use tokio::sync::{Semaphore, watch};

/// Shared by all handlers. One reference count, because every request clones it.
#[derive(Clone, Debug)]
pub(crate) struct Shared(Arc<Inner>);

/// What is behind [`Shared`].
#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) app: App,
    pub(crate) gate: Gate,
    // Swapped once a tick; held only to clone the Arc.
    tick: RwLock<Option<Arc<TickDocuments>>>,
    pub(crate) streams: Arc<Semaphore>,
    /// Open event streams of each token.
    pub(crate) token_streams: Arc<TokenStreams>,
    /// Answers from history that are under way: each may take some ten megabytes until its client has it.
    pub(crate) long_answers: Arc<Semaphore>,
    /// Requests so far; with the run id it names a request.
    pub(crate) requests: AtomicU64,
    /// Turns true at shutdown: streams end, so that the server can.
    pub(crate) closing: watch::Receiver<bool>,
}

impl Deref for Shared {
    type Target = Inner;

    fn deref(&self) -> &Inner {
        &self.0
    }
}

/// How many event streams each token has open.
#[derive(Debug, Default)]
pub(crate) struct TokenStreams(Mutex<HashMap<TokenId, usize>>);

impl TokenStreams {
    /// A place for one more stream of this token, held as long as what is returned; `None` when it has as many as it may.
    pub(crate) fn enter(self: &Arc<Self>, token: TokenId) -> Option<TokenStream> {
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = open.entry(token).or_default();
        (*count < limits::EVENT_STREAMS_PER_TOKEN_MAX).then(|| {
            *count += 1;
            TokenStream { token, open: Arc::clone(self) }
        })
    }
}

/// The place of one event stream of a token.
#[derive(Debug)]
pub(crate) struct TokenStream {
    token: TokenId,
    open: Arc<TokenStreams>,
}

impl Drop for TokenStream {
    fn drop(&mut self) {
        let mut open = self.open.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = open.get_mut(&self.token) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.token);
            }
        }
    }
}

/// The documents made from one tick's state, each on first demand.
#[derive(Debug)]
pub(crate) struct TickDocuments {
    pub(crate) state: Arc<HostState>,
    run_id: String,
    made: [OnceLock<Document>; Live::COUNT],
}

/// The documents that are made once a tick.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Live {
    Current,
    Quiet,
    Collectors,
    Prometheus,
    OpenMetrics,
    Addons,
}

impl Live {
    const COUNT: usize = 6;

    fn name(self) -> &'static str {
        match self {
            Self::Current => "current",
            Self::Quiet => "quiet",
            Self::Collectors => "collectors",
            Self::Prometheus => "prometheus",
            Self::OpenMetrics => "openmetrics",
            Self::Addons => "addons",
        }
    }
}

impl Shared {
    pub(crate) fn new(app: App, gate: Gate, closing: watch::Receiver<bool>) -> Self {
        Self(Arc::new(Inner {
            app,
            gate,
            tick: RwLock::new(None),
            streams: Arc::new(Semaphore::new(limits::EVENT_STREAMS_MAX)),
            token_streams: Arc::default(),
            long_answers: Arc::new(Semaphore::new(limits::LONG_ANSWERS_MAX)),
            requests: AtomicU64::new(0),
            closing,
        }))
    }

    /// The addons.
    ///
    /// # Errors
    /// `addons_off` when the daemon runs without them.
    pub(crate) fn addons(&self) -> Result<&AddonHost, Box<Problem>> {
        self.app.addons().ok_or_else(|| Problem::new(Code::AddonsOff, "this daemon runs without addons"))
    }

    /// The documents of the newest tick, if it can pass for now: a tick loop that stands still, or a machine that has just
    /// woken up, must not be answered by the last QUIET there was.
    ///
    /// # Errors
    /// `not_ready` before the first tick, `stale` when it is older than three intervals.
    pub(crate) fn fresh_tick(&self) -> Result<Arc<TickDocuments>, Box<Problem>> {
        let tick = self.tick()?;
        let snapshot = &tick.state.snapshot;
        let age = clock::mono().since(snapshot.at.mono);
        if age > snapshot.interval * limits::STALE_AFTER_INTERVALS {
            return Err(Problem::stale(age.as_secs_f64()));
        }
        Ok(tick)
    }

    /// The documents of the newest tick, however old it is.
    ///
    /// # Errors
    /// `not_ready` before the first tick.
    pub(crate) fn tick(&self) -> Result<Arc<TickDocuments>, Box<Problem>> {
        let state = self.app.state().ok_or_else(Problem::not_ready)?;
        let sequence = state.snapshot.sequence;
        if let Some(tick) = &*self.tick.read().unwrap_or_else(PoisonError::into_inner)
            && tick.state.snapshot.sequence == sequence
        {
            return Ok(Arc::clone(tick));
        }
        let mut place = self.tick.write().unwrap_or_else(PoisonError::into_inner);
        // Another request may have been quicker, even with a later tick.
        if let Some(tick) = &*place
            && tick.state.snapshot.sequence >= sequence
        {
            return Ok(Arc::clone(tick));
        }
        let tick = Arc::new(TickDocuments {
            state,
            run_id: self.app.about().run_id.clone(),
            made: [const { OnceLock::new() }; Live::COUNT],
        });
        *place = Some(Arc::clone(&tick));
        Ok(tick)
    }
}

impl TickDocuments {
    /// One of the documents, made by `make` if this tick has not been asked for it yet. `make` is given the entity tag.
    pub(crate) fn document(
        &self,
        which: Live,
        make: impl FnOnce(&HostState, &str) -> Document,
    ) -> Option<&Document> {
        let etag = || format!("{}-{}-{}", self.run_id, which.name(), self.state.snapshot.sequence);
        self.made.get(which as usize).map(|place| place.get_or_init(|| make(&self.state, &etag())))
    }
}
