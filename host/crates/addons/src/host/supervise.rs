//! The supervisor: one task that turns changes of the folder and orders of the operator into loads, replacements and ends of addon
//! tasks. It waits for no addon: loads and ends run beside it and come back to it.

use super::load::{Refusal, Workshop};
use super::{AddonConfig, AskError, Inner, Slot};
use crate::addon::Addon;
use crate::caps::blocking::Blocking;
use crate::caps::leases::Tally;
use crate::caps::log::LogBuffer;
use crate::discover::{self, Candidate, Rejected};
use crate::guest::Shared;
use crate::id::AddonId;
use crate::limits;
use crate::meter::Meter;
use crate::recorder::Recorder;
use crate::status::{AddonState, AddonView, Happening, Problem};
use crate::task::{INBOX_MAX, Load, Message, Task};
use crate::watch::{Change, Folder, Notifier, SCAN_SPACING};
use lowtide_clock as clock;
use lowtide_core::rate::TokenBucket;
use lowtide_core::units::MonoTime;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, Mutex};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::{JoinError, JoinHandle, JoinSet};

/// What the supervisor can be told.
pub(crate) enum Order {
    /// Switch an addon on or off.
    Enable { id: AddonId, enabled: bool, done: oneshot::Sender<Result<(), AskError>> },
    /// Load it again.
    Reload { id: AddonId, done: oneshot::Sender<()> },
    /// Take over what the operator says.
    Configure { addons: BTreeMap<AddonId, AddonConfig>, done: oneshot::Sender<()> },
    /// End everything.
    Stop { done: oneshot::Sender<()> },
}

/// A load that is over.
struct Loaded {
    id: AddonId,
    generation: u64,
    why: &'static str,
    result: Result<Box<Load>, Refusal>,
}

/// Loads at once, those that wait for the compiler not counted.
const LOADS_AT_ONCE: usize = 4;

type Scanned = Result<discover::Scan, discover::ScanError>;

/// When to look at the folder. Looks take time, and what changes during one may have been missed by it.
struct Looks {
    next: MonoTime,
    /// When the newest one was over.
    last: Option<MonoTime>,
    goes_on: bool,
}

impl Looks {
    fn new(now: MonoTime) -> Self {
        Self { next: now, last: None, goes_on: false }
    }

    /// One begins. The next is at this time unless something calls for an earlier one.
    fn begin(&mut self, next: MonoTime) {
        self.goes_on = true;
        self.next = next;
    }

    /// It is over, and the next is at this time at the latest.
    fn end(&mut self, now: MonoTime, next: MonoTime) {
        self.goes_on = false;
        self.last = Some(now);
        self.next = self.next.min(next);
    }

    /// Something has changed: look soon, but not each time while the folder is in uproar.
    fn heard(&mut self, now: MonoTime) {
        let soon = if self.goes_on {
            now.plus(SCAN_SPACING)
        } else {
            self.last.map_or(now, |at| at.plus(SCAN_SPACING))
        };
        self.next = self.next.min(soon);
    }
}

struct Supervisor {
    inner: Arc<Inner>,
    folder: Folder,
    /// Made when the first addon is loaded; what went wrong with making it otherwise.
    workshop: Arc<tokio::sync::OnceCell<Workshop>>,
    /// What is in the folder for each addon, to load it again.
    candidates: BTreeMap<AddonId, Candidate>,
    /// Which addons were switched off while the daemon ran; `None` as long as that cannot be read: then nothing is loaded.
    disabled: Option<BTreeSet<AddonId>>,
    /// A look at the folder that is going on. A hung one must hold up no order.
    scan: Option<JoinHandle<Scanned>>,
    /// Who waits for an addon to have ended.
    waiting: Vec<(AddonId, oneshot::Sender<Result<(), AskError>>)>,
    turns: Arc<Semaphore>,
    finished: mpsc::Sender<Loaded>,
    /// The number of the newest load; see [`Slot::generation`].
    generation: u64,
    /// Addons that finish the call they are in; none of them is loaded before that is over.
    ending: JoinSet<AddonId>,
    notifier: Notifier,
    looks: Looks,
}

pub(super) async fn run(inner: Arc<Inner>, mut orders: mpsc::Receiver<Order>) {
    let path = inner.config().folder.clone();
    // A load sends once and then ends, so this bounds nothing but the memory of those that wait.
    let (finished, mut loads) = mpsc::channel(limits::ADDONS_MAX);
    let mut supervisor = Supervisor {
        inner,
        folder: Folder::default(),
        workshop: Arc::default(),
        candidates: BTreeMap::new(),
        disabled: None,
        scan: None,
        waiting: Vec::new(),
        turns: Arc::new(Semaphore::new(LOADS_AT_ONCE)),
        finished,
        generation: 0,
        ending: JoinSet::new(),
        notifier: Notifier::new(&path),
        looks: Looks::new(clock::mono()),
    };
    loop {
        let due = tokio::time::Instant::now() + supervisor.looks.next.since(clock::mono());
        tokio::select! {
            order = orders.recv() => match order {
                Some(Order::Enable { id, enabled, done }) => supervisor.enable(&id, enabled, done),
                Some(Order::Reload { id, done }) => {
                    supervisor.load(&id, "reload");
                    let _ = done.send(());
                }
                Some(Order::Configure { addons, done }) => {
                    supervisor.configure(addons);
                    let _ = done.send(());
                }
                Some(Order::Stop { done }) => {
                    supervisor.stop_all().await;
                    let _ = done.send(());
                    return;
                }
                None => return supervisor.stop_all().await,
            },
            Some(loaded) = loads.recv() => supervisor.loaded(loaded),
            Some(ended) = supervisor.ending.join_next() => supervisor.ended(ended),
            () = supervisor.notifier.changed() => supervisor.looks.heard(clock::mono()),
            looked = looked(&mut supervisor.scan) => {
                let next = supervisor.looked(looked);
                supervisor.looks.end(clock::mono(), next);
            }
            () = tokio::time::sleep_until(due), if supervisor.scan.is_none() => supervisor.look(&path),
        }
    }
}

impl Supervisor {
    /// A file was still being written when it was read.
    fn look_again(&mut self, id: &AddonId) {
        self.folder.retry(id);
        self.looks.heard(clock::mono());
    }

    /// Begins to look at the folder.
    fn look(&mut self, path: &Path) {
        if self.disabled.is_none() {
            let file = self.inner.config().disabled_file.clone();
            match read_disabled(&file) {
                Ok(disabled) => self.disabled = Some(disabled),
                Err(error) => {
                    let text = format!(
                        "which addons are switched off cannot be read from {} ({error}), so none is loaded: mend or remove the file",
                        file.display()
                    );
                    let next = self.unread("addons_disabled_unreadable", text);
                    self.looks.begin(next);
                    self.looks.end(clock::mono(), next);
                    return;
                }
            }
        }
        self.looks.begin(clock::mono().plus(self.notifier.poll_interval()));
        let folder = path.to_owned();
        self.scan = Some(tokio::task::spawn_blocking(move || discover::scan(&folder)));
    }

    /// The folder cannot be acted on: said once, and shown for as long as it is so. Returns when to look again.
    fn unread(&self, code: &'static str, text: String) -> MonoTime {
        let mut told = self.inner.folder_problem();
        if told.as_ref().is_none_or(|told| told.text != text) {
            tracing::warn!(code, problem = text, "the folder of addons is not read");
            *told = Some(Problem { code, text, at: clock::now().wall });
        }
        clock::mono().plus(self.notifier.poll_interval())
    }

    /// Acts on what has changed in the folder; returns when to look again although nothing is heard.
    fn looked(&mut self, looked: Result<Scanned, JoinError>) -> MonoTime {
        let scan = match looked {
            Ok(Ok(scan)) => scan,
            Ok(Err(error)) => return self.unread(error.code(), error.to_string()),
            Err(error) => {
                tracing::error!(%error, "reading the folder of addons failed");
                return clock::mono().plus(self.notifier.poll_interval());
            }
        };
        if self.inner.folder_problem().take().is_some() {
            tracing::info!("the folder of addons is read again");
        }
        self.notifier.follow(&scan);
        let changes = self.folder.observe(clock::mono(), scan);
        for change in changes {
            match change {
                Change::Load(candidate) => {
                    let id = candidate.id.clone();
                    self.inner.rejected().remove(id.as_str());
                    self.candidates.insert(id.clone(), candidate);
                    self.load(&id, "new_file");
                }
                Change::Remove(id) => self.remove(&id),
                Change::Reject(rejected) => self.reject(rejected),
                Change::Cleared { name } => self.cleared(&name),
            }
        }
        let unheard = clock::mono().plus(self.notifier.poll_interval());
        self.folder.due().map_or(unheard, |due| due.min(unheard))
    }

    /// Begins to load an addon from what is in the folder.
    fn load(&mut self, id: &AddonId, why: &'static str) {
        let Some(candidate) = self.candidates.get(id).cloned() else { return };
        let now = clock::now();
        self.generation += 1;
        let generation = self.generation;
        let (addon, leaving, runs) = {
            let mut slots = self.inner.slots();
            let slot = slots.entry(id.clone()).or_insert_with(|| Slot {
                addon: Arc::new(Addon::new(self.shared(id), Arc::clone(&self.inner.outside.tell), now)),
                task: None,
                loading: None,
                generation,
            });
            slot.generation = generation;
            slot.stop_loading();
            (Arc::clone(&slot.addon), slot.addon.is_leaving(), slot.task.is_some())
        };
        if !self.is_switched_on(id) {
            addon.set_state(now, AddonState::Disabled, None, None);
            return;
        }
        if !runs {
            addon.set_state(now, AddonState::Loading, None, None);
        }
        if leaving {
            // `ended` loads it.
            return;
        }
        let (inner, workshop, turns) =
            (Arc::clone(&self.inner), Arc::clone(&self.workshop), Arc::clone(&self.turns));
        let (finished, addon) = (self.finished.clone(), id.clone());
        let loading = tokio::spawn(async move {
            let make = || async { Workshop::new(&inner.config()) };
            let result = match workshop.get_or_try_init(make).await {
                Ok(workshop) => workshop.load(&inner, candidate, &addon, &turns).await.map(Box::new),
                Err(refusal) => Err(refusal),
            };
            let _ = finished.send(Loaded { id: addon, generation, why, result }).await;
        });
        if let Some(slot) = self.inner.slots().get_mut(id) {
            slot.loading = Some(loading.abort_handle());
        }
    }

    fn is_switched_on(&self, id: &AddonId) -> bool {
        let configured = self.inner.config().addons.get(id).is_none_or(|own| own.enabled);
        configured && self.disabled.as_ref().is_some_and(|disabled| !disabled.contains(id))
    }

    fn shared(&self, id: &AddonId) -> Arc<Shared> {
        let meter = Arc::new(Meter::default());
        let tell = Arc::clone(&self.inner.outside.tell);
        Arc::new(Shared {
            recorder: Mutex::new(Recorder::new(
                id.clone(),
                Arc::clone(&self.inner.names),
                Arc::clone(&meter),
            )),
            meter,
            id: id.clone(),
            log: Mutex::new(LogBuffer::new()),
            blocking: Blocking::default(),
            leases: Tally::default(),
            events: Mutex::new(TokenBucket::new(limits::EVENTS_PER_SECOND, limits::EVENTS_BURST)),
            publish: Arc::new(move |event| tell(Happening::Reported(event))),
            state: self.inner.outside.state.clone(),
        })
    }

    fn addon(&self, id: &AddonId) -> Option<Arc<Addon>> {
        self.inner.slots().get(id).map(|slot| Arc::clone(&slot.addon))
    }

    fn is_running(&self, id: &AddonId) -> bool {
        self.inner.slots().get(id).is_some_and(|slot| slot.task.is_some())
    }

    /// It has been told to end and has not yet.
    fn is_leaving(&self, id: &AddonId) -> bool {
        self.addon(id).is_some_and(|addon| addon.is_leaving())
    }

    /// A load is over: run it, or say why not.
    fn loaded(&mut self, loaded: Loaded) {
        let Loaded { id, generation, why, result } = loaded;
        let current = self.inner.slots().get(&id).map(|slot| slot.generation);
        if current != Some(generation) {
            // A newer load has begun meanwhile, or the addon is gone.
            return;
        }
        let Some(addon) = self.addon(&id) else { return };
        match result {
            Ok(load) => self.run_load(&id, addon, load, why),
            Err(refusal) if refusal.is_passing() => self.look_again(&id),
            Err(refusal) => self.refuse(&id, &addon, refusal.problem()),
        }
    }

    /// An older file that runs goes on running; the problem is shown beside it.
    fn refuse(&self, id: &AddonId, addon: &Addon, problem: Problem) {
        if self.is_running(id) {
            addon.set_pending(Some(problem));
        } else {
            addon.set_state(clock::now(), AddonState::Refused, Some(problem), None);
        }
    }

    fn run_load(&mut self, id: &AddonId, addon: Arc<Addon>, mut load: Box<Load>, why: &'static str) {
        let inbox =
            self.inner.slots().get(id).and_then(|slot| slot.task.as_ref().map(|(inbox, _)| inbox.clone()));
        if let Some(inbox) = inbox {
            match inbox.try_send(Message::Replace { load, why }) {
                Ok(()) => return,
                // It is in a long call, and the file was replaced again and again meanwhile.
                Err(TrySendError::Full(_)) => return self.look_again(id),
                // Its task has broken, which only a defect of this program does: begin anew.
                Err(TrySendError::Closed(Message::Replace { load: unsent, .. })) => {
                    tracing::error!(addon = id.as_str(), "the task of an addon had ended by itself");
                    load = unsent;
                }
                Err(TrySendError::Closed(_)) => return,
            }
        }
        let (inbox, messages) = mpsc::channel(INBOX_MAX);
        addon.identify(load.identity.clone());
        let task = tokio::spawn(Task::new(Arc::clone(&addon), *load, messages).run());
        if let Some(slot) = self.inner.slots().get_mut(id) {
            slot.task = Some((inbox, task));
        }
    }

    /// Tells an addon to end after the call it is in, and cuts it off if that takes too long. [`ended`](Self::ended) hears of it. False when
    /// it does not run. When the addon `comes_back`, what its jobs wait for keeps its place in the queue.
    fn end(&mut self, id: &AddonId, comes_back: bool) -> bool {
        let task = self.inner.slots().get_mut(id).and_then(|slot| {
            // No load that is under way comes back to it.
            slot.generation = 0;
            slot.stop_loading();
            let task = slot.task.take()?;
            slot.addon.set_leaving(true);
            Some(task)
        });
        let Some((inbox, mut task)) = task else { return false };
        let id = id.clone();
        self.ending.spawn(async move {
            let _ = inbox.try_send(Message::Stop { comes_back });
            // A full inbox ends it as well, once it is read.
            drop(inbox);
            if tokio::time::timeout(limits::DRAIN, &mut task).await.is_err() {
                tracing::warn!(addon = id.as_str(), "addon did not end in time and was cut off");
                task.abort();
                let _ = task.await;
            }
            id
        });
        true
    }

    /// An addon has ended. It may have come back or been switched on again meanwhile.
    fn ended(&mut self, ended: Result<AddonId, JoinError>) {
        let Ok(id) = ended else { return };
        if let Some(addon) = self.addon(&id) {
            addon.set_leaving(false);
        }
        if self.candidates.contains_key(&id) {
            self.rest(&id);
            self.load(&id, "reload");
        } else {
            self.forget(&id);
        }
        for (_, done) in self.waiting.extract_if(.., |(waits_for, _)| *waits_for == id) {
            let _ = done.send(Ok(()));
        }
    }

    /// What it said last no longer holds.
    fn rest(&self, id: &AddonId) {
        if let Some(addon) = self.addon(id) {
            addon.silence();
        }
    }

    fn remove(&mut self, id: &AddonId) {
        self.candidates.remove(id);
        if !self.is_leaving(id) && !self.end(id, false) {
            self.forget(id);
        }
    }

    /// Takes an addon that does not run out of the table.
    fn forget(&self, id: &AddonId) {
        let slot = self.inner.slots().remove(id);
        if let Some(slot) = slot {
            slot.addon.removed();
            self.inner.names.release(id);
        }
    }

    /// What was wrong under this name no longer is. An addon that ran on has nothing pending any more; one that could not run is tried.
    fn cleared(&mut self, name: &str) {
        self.inner.rejected().remove(name);
        let Ok(id) = AddonId::new(name) else { return };
        match self.addon(&id) {
            Some(addon) if self.is_running(&id) => addon.set_pending(None),
            Some(_) => self.load(&id, "new_file"),
            None => {}
        }
    }

    /// A file or folder that cannot be an addon. If an addon of that name runs, it goes on.
    fn reject(&self, rejected: Rejected) {
        let Rejected { name, id, error } = rejected;
        let code = error.code();
        let problem = Problem { code, text: error.to_string(), at: clock::now().wall };
        // One that was removed and is still in its last call is gone for this.
        let known = id.filter(|id| self.candidates.contains_key(id) || self.is_running(id));
        let known = known.and_then(|id| self.addon(&id).map(|addon| (id, addon)));
        if let Some((id, addon)) = known {
            return self.refuse(&id, &addon, problem);
        }
        tracing::warn!(addon = name, code, problem = problem.text, "addon refused");
        let told = Happening::State {
            addon: name.clone(),
            from: None,
            to: Some(AddonState::Refused),
            version: None,
            problem: Some(problem.clone()),
        };
        self.inner.rejected().insert(name.clone(), AddonView::refused(name, problem));
        (self.inner.outside.tell)(told);
    }

    /// Switches an addon on or off; `done` is told when that holds.
    fn enable(&mut self, id: &AddonId, enabled: bool, done: oneshot::Sender<Result<(), AskError>>) {
        let result = self.remember(id, enabled);
        let switched = result.is_ok();
        if switched {
            self.apply(id, "reload");
        }
        if switched && !enabled && self.is_leaving(id) {
            self.waiting.push((id.clone(), done));
        } else {
            let _ = done.send(result);
        }
    }

    /// Writes down whether an addon is switched on.
    fn remember(&mut self, id: &AddonId, enabled: bool) -> Result<(), AskError> {
        let configured = self.inner.config().addons.get(id).is_none_or(|own| own.enabled);
        if enabled && !configured {
            return Err(AskError::Configured(id.to_string()));
        }
        let file = self.inner.config().disabled_file.clone();
        let unread = || AskError::Disk(format!("{} could not be read", file.display()));
        let mut disabled = self.disabled.clone().ok_or_else(unread)?;
        let changed = if enabled { disabled.remove(id) } else { disabled.insert(id.clone()) };
        if changed {
            // Written before it holds: what cannot be remembered is not done either.
            write_disabled(&file, &disabled).map_err(|error| AskError::Disk(error.to_string()))?;
            self.disabled = Some(disabled);
        }
        Ok(())
    }

    /// Ends or loads an addon, as its switches and grants say.
    fn apply(&mut self, id: &AddonId, why: &'static str) {
        if !self.is_switched_on(id) || self.lost_a_grant(id) {
            self.end(id, false);
            self.rest(id);
        }
        self.load(id, why);
    }

    /// True when what runs asks for something that it is no longer granted.
    fn lost_a_grant(&self, id: &AddonId) -> bool {
        let grants = self.inner.config().addons.get(id).cloned().unwrap_or_default().grants;
        self.addon(id).is_some_and(|addon| addon.is_beyond(&grants))
    }

    fn configure(&mut self, addons: BTreeMap<AddonId, AddonConfig>) {
        let before = std::mem::replace(&mut self.inner.config().addons, addons.clone());
        let usual = AddonConfig::default();
        let known: Vec<AddonId> = self.candidates.keys().cloned().collect();
        for id in known {
            if before.get(&id).unwrap_or(&usual) != addons.get(&id).unwrap_or(&usual) {
                self.apply(&id, "settings");
            }
        }
    }

    async fn stop_all(&mut self) {
        let ids: Vec<AddonId> = self.inner.slots().keys().cloned().collect();
        for id in &ids {
            // The daemon ends, and most come back with the next.
            self.end(id, true);
        }
        while self.ending.join_next().await.is_some() {}
    }
}

/// Waits for a look at the folder to be over; for ever when there is none.
async fn looked(scan: &mut Option<JoinHandle<Scanned>>) -> Result<Scanned, JoinError> {
    let Some(running) = scan else { return std::future::pending().await };
    let looked = running.await;
    *scan = None;
    looked
}

/// One id a line; a file that is not there means none.
fn read_disabled(file: &Path) -> std::io::Result<BTreeSet<AddonId>> {
    let text = match std::fs::read_to_string(file) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
        other => other?,
    };
    Ok(text.lines().filter_map(|line| AddonId::new(line.trim()).ok()).collect())
}

fn write_disabled(file: &Path, disabled: &BTreeSet<AddonId>) -> std::io::Result<()> {
    use std::io::Write as _;
    if let Some(folder) = file.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let part = file.with_extension("part");
    let mut out = std::fs::File::create(&part)?;
    for id in disabled {
        writeln!(out, "{id}")?;
    }
    out.sync_all()?;
    std::fs::rename(&part, file)
}

#[cfg(test)]
mod tests {
    use super::{Looks, SCAN_SPACING};
    use lowtide_core::units::MonoTime;
    use std::time::Duration;

    fn at(millis: u64) -> MonoTime {
        MonoTime::default().plus(Duration::from_millis(millis))
    }

    #[test]
    fn what_is_heard_during_a_look_is_looked_at_soon_after_it() {
        let mut looks = Looks::new(at(0));
        looks.begin(at(5_000));
        looks.heard(at(20));
        looks.end(at(40), at(5_040));
        assert_eq!(looks.next, at(20).plus(SCAN_SPACING));
    }

    #[test]
    fn a_folder_in_uproar_is_looked_at_once_in_a_while() {
        let mut looks = Looks::new(at(0));
        looks.heard(at(0));
        assert_eq!(looks.next, at(0), "the first at once");
        looks.begin(at(5_000));
        looks.end(at(1), at(5_001));
        looks.heard(at(2));
        looks.heard(at(3));
        assert_eq!(looks.next, at(1).plus(SCAN_SPACING));
    }

    #[test]
    fn without_news_the_poll_decides() {
        let mut looks = Looks::new(at(0));
        looks.begin(at(5_000));
        looks.end(at(10), at(700));
        assert_eq!(looks.next, at(700), "a file that has not settled");
    }
}
