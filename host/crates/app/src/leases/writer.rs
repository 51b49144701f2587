//! The thread that makes events durable: it takes all that has gathered, commits it, and tells who waits. It never holds the lock while
//! it waits for the disk.

use super::desk::Desk;
use super::{Inner, LeaseError, LeaseSettings, trouble};
use crate::events::EventKind;
use lowtide_clock as clock;
use lowtide_core::lease::{Ledger, Scheduler, Token};
use lowtide_store::{Batch, LeaseStore, Quarantine, TokenMark};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// Time between two tries to use a disk that does not work.
const TRY_AGAIN: Duration = Duration::from_secs(1);

/// The file of leases, in the data folder.
const FILE: &str = "leases.db";

/// The mark of the tokens given out, beside it.
const MARK: &str = "leases.tokens";

struct Writer {
    inner: Arc<Inner>,
    settings: LeaseSettings,
    store: Arc<LeaseStore>,
    mark: TokenMark,
    /// The broken file that was put aside last.
    put_aside: Option<Quarantine>,
    /// The file was made anew: it lacks what was written before.
    whole: bool,
}

/// Where the handle finds the open file.
type Place = Arc<Mutex<Option<Arc<LeaseStore>>>>;

pub(super) fn start(inner: Arc<Inner>, place: Place, settings: LeaseSettings) -> io::Result<JoinHandle<()>> {
    let first = open(&inner, &place, &settings);
    let builder = std::thread::Builder::new().name("lt-leases".into());
    builder.spawn(move || {
        let writer = match first {
            Some((store, mark)) => Some((store, mark)),
            None => keep_trying(&inner, &place, &settings),
        };
        if let Some((store, mark)) = writer {
            let put_aside = store.quarantine();
            Writer { inner, settings, store, mark, put_aside, whole: false }.run();
        }
    })
}

/// Tries until the file can be used; `None` when the daemon stops before that.
fn keep_trying(
    inner: &Inner,
    place: &Place,
    settings: &LeaseSettings,
) -> Option<(Arc<LeaseStore>, TokenMark)> {
    loop {
        let desk = inner.desk();
        if desk.stopping {
            return None;
        }
        let (desk, _) = inner.work.wait_timeout(desk, TRY_AGAIN).unwrap_or_else(PoisonError::into_inner);
        if desk.stopping {
            return None;
        }
        drop(desk);
        if let Some(opened) = open(inner, place, settings) {
            tracing::info!("the file of leases can be used again");
            return Some(opened);
        }
    }
}

/// Opens the file and begins with what is in it. If that fails it is said once, and shown until it works.
fn open(inner: &Inner, place: &Place, settings: &LeaseSettings) -> Option<(Arc<LeaseStore>, TokenMark)> {
    match try_open(inner, settings) {
        Ok((store, mark)) => {
            *place.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&store));
            Some((store, mark))
        }
        Err(error) => {
            let mut desk = inner.desk();
            if desk.trouble.as_ref().is_none_or(|told| told.error != error) {
                tracing::error!(%error, "leases are not given out");
            }
            let since = desk.trouble.as_ref().map_or_else(|| clock::mono().into(), |told| told.since);
            desk.trouble = Some(super::desk::Trouble { error, since });
            None
        }
    }
}

fn try_open(inner: &Inner, settings: &LeaseSettings) -> Result<(Arc<LeaseStore>, TokenMark), LeaseError> {
    let store = LeaseStore::open(&settings.data_dir.join(FILE)).map_err(trouble)?;
    if let Some(quarantine) = store.quarantine() {
        let (moved_to, reason) = (quarantine.moved_to.display(), &quarantine.reason);
        tracing::error!(%moved_to, reason, "the file of leases was broken and was put aside; leases begin anew, and no token is given out twice");
    }
    let stored = store.load().map_err(trouble)?;
    let token = stored.meta.last_token;
    let (mut mark, start) =
        TokenMark::open(&settings.data_dir.join(MARK), token.0, stored.meta.epoch).map_err(trouble)?;
    // Before anything is given out: else a database that is lost before the first grant of this run would not be noticed.
    mark.reserve(start.after + 1).map_err(trouble)?;
    let now = clock::now();
    let policy = settings.policy.clone();
    let ledger = Ledger::restored(stored.leases, stored.meta, stored.runs, now, policy.ttl, policy.hold_max);
    let (scheduler, record) = Scheduler::start(now, ledger, policy, Token(start.after), start.epoch);
    let first = Batch {
        records: vec![Arc::new(record)],
        meta: scheduler.ledger().meta().clone(),
        ..Batch::default()
    };
    store.commit(&first).map_err(trouble)?;
    inner.desk().begin(scheduler);
    Ok((Arc::new(store), mark))
}

impl Writer {
    fn run(mut self) {
        loop {
            let Some(batch) = self.wait_for_work() else { return };
            let (sequence, forgotten) = (batch.meta.sequence, batch.forgotten.len());
            let result = self.mark.reserve(batch.meta.last_token.0).and_then(|()| self.store.commit(&batch));
            let desk = self.inner.desk();
            match result {
                Ok(()) => {
                    self.tell(desk, sequence, forgotten);
                    self.notice_a_new_file();
                }
                Err(error) => {
                    let (mut desk, error) = (desk, trouble(error));
                    if desk.trouble.is_none() {
                        tracing::error!(%error, "leases cannot be written down: nothing new is granted until that works again");
                    }
                    desk.refused(&error);
                }
            }
        }
    }

    /// All that has gathered, as soon as there is something; in trouble after a while. `None` at the end.
    fn wait_for_work(&self) -> Option<Batch> {
        let mut desk = self.inner.desk();
        if desk.trouble.is_some() && !desk.stopping {
            desk = self.inner.work.wait_timeout(desk, TRY_AGAIN).unwrap_or_else(PoisonError::into_inner).0;
        } else {
            while !desk.has_work() && !desk.stopping && !self.whole {
                desk = self.inner.work.wait(desk).unwrap_or_else(PoisonError::into_inner);
            }
        }
        if self.whole {
            return desk.batch(self.settings.events_kept, true);
        }
        if desk.stopping && (!desk.has_work() || desk.trouble.is_some()) {
            return None;
        }
        desk.batch(self.settings.events_kept, false)
    }

    /// A file that turned out to be broken was put aside, and this batch went to a fresh one: all that holds must follow.
    fn notice_a_new_file(&mut self) {
        let put_aside = self.store.quarantine();
        self.whole = put_aside != self.put_aside;
        if self.whole
            && let Some(Quarantine { moved_to, reason }) = &put_aside
        {
            let moved_to = moved_to.display();
            self.store.read_anew();
            tracing::error!(%moved_to, reason, "the file of leases was broken and was put aside; what holds is written anew, the log before is in the old file");
        }
        self.put_aside = put_aside;
    }

    fn tell(&self, mut desk: MutexGuard<'_, Desk>, sequence: u64, forgotten: usize) {
        if desk.trouble.is_some() {
            tracing::info!("leases can be written down again");
        }
        let told = desk.written(sequence, forgotten);
        desk.recovered();
        drop(desk);
        let kinds = told.into_iter().map(|(record, lease)| EventKind::Lease { record, lease }).collect();
        self.inner.events.publish(clock::now().wall, kinds);
    }
}
