//! The one task of an addon: it owns the instance, calls it when something is due, and starts another one after a crash, for a new
//! file, or when it has grown too large. Nobody else ever touches the instance.

use crate::addon::{Addon, Identity, ROLLED_BACK};
use crate::answers::{Failure, Health};
use crate::caps::log::{Level, clean};
use crate::fault::Fault;
use crate::guest::Abilities;
use crate::inspect::Export;
use crate::instance::{Answer, Call, Instance, Template};
use crate::jobs::{self, Runner};
use crate::lifecycle::Lifecycle;
use crate::limits;
use crate::meter::Meter;
use crate::schedule::Schedule;
use crate::status::{AddonState, Problem};
use lowtide_clock as clock;
use lowtide_core::limits::ERROR_TEXT_BYTES_MAX;
use lowtide_core::units::{MonoTime, Now};
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// Everything that an instance is made from.
pub(crate) struct Load {
    pub(crate) template: Template,
    pub(crate) identity: Identity,
    pub(crate) abilities: Arc<Abilities>,
    /// Time between two collections, if the operator or the manifest says one.
    pub(crate) interval: Option<Duration>,
    /// Calls are made only when they are asked for.
    pub(crate) by_hand: bool,
}

/// What the task can be told.
pub(crate) enum Message {
    /// Run this from now on. If it does not start, the old one goes on, and the addon's view says why.
    Replace { load: Box<Load>, why: &'static str },
    /// Make each call that comes again and again so many times, now; dropped when the instance ends in it or there is none.
    CallAll { times: u32, done: oneshot::Sender<()> },
    /// End after the present call. Whether it comes back: then what its jobs wait for keeps its place in the queue.
    Stop { comes_back: bool },
}

/// Messages waiting for a task. More replacements than that during one call are made after it.
pub(crate) const INBOX_MAX: usize = 8;

/// A running instance and when it is called.
struct Live {
    instance: Instance,
    schedule: Schedule,
    collects: bool,
    interval: Duration,
}

/// What ended a wait.
enum Woken {
    Due,
    Message(Option<Message>),
}

pub(crate) struct Task {
    pub(crate) addon: Arc<Addon>,
    pub(crate) load: Load,
    pub(crate) inbox: mpsc::Receiver<Message>,
    life: Lifecycle,
    /// True once an instance was started: further ones are restarts.
    started_before: bool,
    /// What runs its jobs, if it has any. It lives through crashes, and ends with what was loaded.
    jobs: Option<Runner>,
}

impl Task {
    pub(crate) fn new(addon: Arc<Addon>, load: Load, inbox: mpsc::Receiver<Message>) -> Self {
        Self { addon, load, inbox, life: Lifecycle::default(), started_before: false, jobs: None }
    }

    /// Runs until it is told to stop.
    pub(crate) async fn run(mut self) {
        if let Some(desk) = &self.load.abilities.leases {
            desk.clear(self.load.template.exports(Export::Job)).await;
        }
        let comes_back = self.live().await;
        self.end_jobs(comes_back).await;
    }

    /// The same; returns whether it comes back.
    async fn live(&mut self) -> bool {
        let mut why = None;
        let mut kept = None;
        loop {
            let started = self.start(&self.load).await;
            let schedule = kept.take();
            let crashed = match started {
                Ok(mut live) => {
                    if let Some(schedule) = schedule {
                        live.schedule = schedule;
                    }
                    self.note_start(why.take());
                    match self.serve(live).await {
                        End::Stop { comes_back } => return comes_back,
                        End::Again(reason, schedule) => {
                            (why, kept) = (reason, schedule);
                            continue;
                        }
                        End::Crashed(fault) => fault,
                    }
                }
                Err(fault) => fault,
            };
            let until = self.crashed(&crashed);
            match self.pause(until).await {
                Ok(reason) => why = reason,
                Err(comes_back) => return comes_back,
            }
        }
    }

    fn note_start(&mut self, why: Option<&'static str>) {
        if std::mem::replace(&mut self.started_before, true) {
            Meter::add(&self.addon.shared.meter.restarts, 1);
        }
        self.addon.started(clock::now(), self.load.identity.clone(), why);
        if self.jobs.is_none() {
            self.jobs = Runner::start(&self.addon, &self.load);
        }
    }

    async fn end_jobs(&mut self, comes_back: bool) {
        if let Some(runner) = self.jobs.take() {
            runner.end(comes_back).await;
        }
    }

    /// Makes an instance and asks it what it is.
    async fn start(&self, load: &Load) -> Result<Live, Fault> {
        let (addon, template) = (&self.addon, &load.template);
        addon.shared.recorder().begin_instance();
        let abilities = Arc::clone(&load.abilities);
        let mut instance = Instance::start(template, Arc::clone(&addon.shared), abilities, None).await?;
        let mut schedule = Schedule::by_hand(load.by_hand);
        let (mut help, mut interval) = (None, limits::HEALTH_INTERVAL);
        let id = &addon.shared.id;
        let collects = template.exports(Export::Collector);
        if collects && let Answer::Described(described) = instance.call(Call::Describe).await? {
            let wished = load.interval.or(described.interval).unwrap_or(limits::PRESENCE_INTERVAL);
            interval = wished.clamp(limits::INTERVAL_MIN, limits::INTERVAL_MAX);
            for definition in &described.metrics {
                // One bad definition does not take the others with it; the author sees it in the log.
                if let Err(error) = addon.shared.recorder().declare(definition) {
                    addon.shared.log().push(clock::now(), Level::Error, &error.to_string());
                }
            }
            help = Some(described.help);
            schedule.every(Call::Collect, interval, id, clock::mono());
        }
        let mut jobs = Vec::new();
        if template.exports(Export::Job)
            && let Answer::Jobs(described) = instance.call(Call::Jobs).await?
        {
            jobs = described;
            jobs.truncate(limits::JOBS_MAX);
        }
        let desk = load.abilities.leases.as_deref();
        addon.jobs.describe(jobs, clock::now().wall, |job| jobs::unfit(id, job, desk));
        let others = [
            (Export::Presence, Call::Presence, limits::PRESENCE_INTERVAL),
            (Export::CustomStats, Call::Stats, limits::STATS_INTERVAL),
            (Export::Health, Call::Health, limits::HEALTH_INTERVAL),
        ];
        for (export, call, every) in others {
            if template.exports(export) {
                schedule.every(call, every, id, clock::mono());
                if !collects {
                    interval = interval.min(every);
                }
            }
        }
        addon.set_up(clock::now(), help, interval, |export| template.exports(export));
        Ok(Live { instance, schedule, collects, interval })
    }

    /// Calls the instance when something is due, until something ends it.
    async fn serve(&mut self, mut live: Live) -> End {
        loop {
            match wait(&mut self.inbox, live.schedule.next()).await {
                Woken::Due => {
                    let Some(call) = live.schedule.take(clock::mono()) else { continue };
                    if let Err(fault) = self.make(&mut live, call).await {
                        return End::Crashed(fault);
                    }
                    if live.instance.is_bloated() {
                        Meter::add(&self.addon.shared.meter.recycles, 1);
                        // The next call is due when it would have been: else one that is always too large would run for ever.
                        return End::Again(None, Some(live.schedule));
                    }
                }
                Woken::Message(Some(Message::Replace { load, why })) => {
                    // The new one is started beside the old one: if it does not start, nothing was lost.
                    match self.start(&load).await {
                        Ok(new) => {
                            self.end_jobs(load.template.exports(Export::Job)).await;
                            (live, self.load, self.life) = (new, *load, Lifecycle::default());
                            self.note_start(Some(why));
                        }
                        Err(fault) => {
                            self.addon.set_pending(Some(Problem::of(&fault, clock::now().wall)));
                            // What the failed start declared goes with it.
                            self.addon.shared.recorder().begin_instance();
                            return End::Again(Some(ROLLED_BACK), None);
                        }
                    }
                }
                Woken::Message(Some(Message::CallAll { times, done })) => {
                    let calls = live.schedule.calls();
                    for call in calls.iter().cycle().take(calls.len() * times as usize).copied() {
                        if let Err(fault) = self.make(&mut live, call).await {
                            return End::Crashed(fault);
                        }
                    }
                    let _ = done.send(());
                }
                Woken::Message(Some(Message::Stop { comes_back })) => return End::Stop { comes_back },
                Woken::Message(None) => return End::Stop { comes_back: false },
            }
        }
    }

    /// Makes one call and hands on what it answered.
    async fn make(&mut self, live: &mut Live, call: Call) -> Result<(), Fault> {
        let begun = clock::mono();
        let answer = live.instance.call(call).await?;
        let now = clock::now();
        self.take(live, answer, begun, now);
        if self.life.good_call() {
            tracing::info!(addon = self.addon.shared.id.as_str(), "addon has recovered");
        }
        Ok(())
    }

    fn take(&self, live: &mut Live, answer: Answer, begun: MonoTime, now: Now) {
        let addon = &self.addon;
        let failed = |count: bool| {
            if count {
                Meter::add(&addon.shared.meter.failures, 1);
            }
        };
        match answer {
            Answer::Collected(result) => {
                let absent = matches!(result, Err(Failure::Absent(_)));
                failed(result.is_err() && !absent);
                if absent {
                    // It may come later (a driver, a server), but that is rare.
                    let pause = live.interval.saturating_mul(ABSENT_INTERVALS).max(ABSENT_RETRY_MIN);
                    live.schedule.put_off(Call::Collect, now.mono.plus(pause));
                }
                let result = result.map(|samples| samples.record(&mut addon.shared.recorder()));
                addon.collected(now, now.mono.since(begun), result);
            }
            Answer::Present(result) => {
                failed(result.is_err());
                addon.told(now, result);
            }
            Answer::Stats(result) => {
                let result = result
                    .map_err(|failure| clean(&failure.to_string(), ERROR_TEXT_BYTES_MAX).into_owned())
                    .and_then(|json| checked(&json).map(|()| json));
                failed(result.is_err());
                addon.stats(now, result.map_err(|text| Problem { code: "stats_failed", text, at: now.wall }));
            }
            Answer::Health(health) => {
                failed(matches!(health, Health::Error(_)));
                addon.health(now, &health);
            }
            Answer::Described(_) | Answer::Jobs(_) => {}
        }
        if !live.collects {
            addon.publish(now);
        }
    }

    /// Notes a crash; returns when to try again.
    fn crashed(&mut self, fault: &Fault) -> MonoTime {
        let now = clock::now();
        let addon = &self.addon;
        Meter::add(&addon.shared.meter.crashes, 1);
        addon.shared.meter.memory(0);
        addon.shared.log().push(now, Level::Error, &fault.to_string());
        let pause = self.life.crashed(now.mono);
        let state = if pause.quarantined { AddonState::Quarantined } else { AddonState::BackingOff };
        addon.collector_failed(now, &fault.to_string());
        addon.identify(self.load.identity.clone());
        addon.task_state(now, state, Some(Problem::of(fault, now.wall)), Some(pause.until));
        pause.until
    }

    /// Waits until the addon may be tried again: `Ok(why)` when it should be started, an error when it should end: whether it comes back.
    async fn pause(&mut self, until: MonoTime) -> Result<Option<&'static str>, bool> {
        loop {
            return match wait(&mut self.inbox, Some(until)).await {
                Woken::Due => Ok(None),
                Woken::Message(Some(Message::Replace { load, why })) => {
                    self.end_jobs(load.template.exports(Export::Job)).await;
                    (self.load, self.life) = (*load, Lifecycle::default());
                    Ok(Some(why))
                }
                // There is nothing to call; dropping the sender says so.
                Woken::Message(Some(Message::CallAll { .. })) => continue,
                Woken::Message(Some(Message::Stop { comes_back })) => Err(comes_back),
                Woken::Message(None) => Err(false),
            };
        }
    }
}

/// Why an instance is no longer used.
enum End {
    Stop {
        comes_back: bool,
    },
    /// Start another: why, if somebody wants to know, and when it is called, if not at once.
    Again(Option<&'static str>, Option<Schedule>),
    Crashed(Fault),
}

/// A collector with nothing to measure is asked again after this time, or after [`ABSENT_INTERVALS`], whichever is longer.
const ABSENT_RETRY_MIN: Duration = Duration::from_secs(60);

/// See [`ABSENT_RETRY_MIN`].
const ABSENT_INTERVALS: u32 = 10;

/// Waits for a message or for a moment. A message goes first: who is told to stop makes no further call.
async fn wait(inbox: &mut mpsc::Receiver<Message>, until: Option<MonoTime>) -> Woken {
    let due = async {
        match until {
            Some(until) => {
                tokio::time::sleep_until(tokio::time::Instant::now() + until.since(clock::mono())).await
            }
            None => pending().await,
        }
    };
    tokio::select! {
        biased;
        message = inbox.recv() => Woken::Message(message),
        () = due => Woken::Due,
    }
}

/// Whether a text is a document that can be served.
fn checked(json: &str) -> Result<(), String> {
    if json.len() > limits::STATS_BYTES_MAX {
        return Err(format!(
            "the document has {} bytes, more than the {} allowed",
            json.len(),
            limits::STATS_BYTES_MAX
        ));
    }
    match serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(json) {
        Ok(_) => Ok(()),
        Err(error) => {
            Err(clean(&format!("the document is not a JSON object: {error}"), ERROR_TEXT_BYTES_MAX)
                .into_owned())
        }
    }
}
