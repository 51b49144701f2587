//! What addons need from the rest of the daemon: the store behind the grant `kv`, the scheduler behind the grant `leases`, and a place in
//! the event log.

use crate::events::EventKind;
use crate::leases::Leases;
use lowtide_addons::Happening;
use lowtide_addons::caps::kv::{Kv, KvError, KvUsage};
use lowtide_addons::caps::leases::{Asked, GuestCpu, Look, Scheduler};
use lowtide_core::lease::{Input, LeaseId, Reply};
use lowtide_store::{KvQuota, Store, StoreError};
use std::future::Future as _;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Waker};
use tokio::sync::oneshot;

/// The store, opened when the first addon uses it: a daemon whose addons keep nothing has no file for it.
pub(crate) struct LazyStore {
    file: PathBuf,
    // Held while the file is opened, so that it is opened once.
    store: Mutex<Option<Arc<Store>>>,
}

impl LazyStore {
    pub(crate) fn new(file: PathBuf) -> Self {
        Self { file, store: Mutex::new(None) }
    }

    /// The open store. A file that cannot be opened is tried again at the next call.
    fn open(&self) -> Result<Arc<Store>, KvError> {
        let mut place = self.store.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(store) = &*place {
            return Ok(Arc::clone(store));
        }
        let store = Store::open(&self.file).map_err(unavailable)?;
        if let Some(quarantine) = store.quarantine() {
            let (moved_to, reason) = (quarantine.moved_to.display(), &quarantine.reason);
            tracing::error!(%moved_to, reason, "the store of addons was broken and was put aside; addons begin with an empty one");
        }
        Ok(Arc::clone(place.insert(Arc::new(store))))
    }
}

fn unavailable(error: StoreError) -> KvError {
    match error {
        StoreError::Quota(text) => KvError::LimitExceeded(text),
        other => KvError::Unavailable(other.to_string()),
    }
}

impl Kv for LazyStore {
    fn get(&self, addon: &str, key: &str) -> Result<Option<Vec<u8>>, KvError> {
        self.open()?.kv_get(addon, key).map_err(unavailable)
    }

    fn set(&self, addon: &str, key: &str, value: &[u8], quota: KvUsage) -> Result<(), KvError> {
        let quota = KvQuota { bytes: quota.bytes, keys: quota.keys };
        self.open()?.kv_set(addon, key, value, quota).map_err(unavailable)
    }

    fn delete(&self, addon: &str, key: &str) -> Result<(), KvError> {
        self.open()?.kv_delete(addon, key).map_err(unavailable)
    }

    fn list_keys(&self, addon: &str, prefix: &str, limit: usize) -> Result<Vec<String>, KvError> {
        self.open()?.kv_list(addon, prefix, limit).map_err(unavailable)
    }

    fn usage(&self, addon: &str) -> Result<KvUsage, KvError> {
        let KvQuota { bytes, keys } = self.open()?.kv_usage(addon).map_err(unavailable)?;
        Ok(KvUsage { bytes, keys })
    }
}

impl Scheduler for Leases {
    fn ask(&self, input: Input) -> Asked<'_, Reply> {
        Box::pin(async { Leases::ask(self, input).await.map_err(|error| error.to_string()) })
    }

    fn tell(&self, input: Input) {
        // The step is made when it is first polled; what it would wait for then is the disk.
        let told = pin!(Leases::ask(self, input));
        let _ = told.poll(&mut Context::from_waker(Waker::noop()));
    }

    fn meter(&self, lease: LeaseId, cpu: GuestCpu) {
        self.places().meter(lease.0, cpu);
    }

    fn changed(&self, id: LeaseId) -> Option<oneshot::Receiver<()>> {
        self.next_event(id)
    }

    fn look<'a>(&'a self, look: Look<'a>) -> Asked<'a, ()> {
        Box::pin(async {
            Leases::look(self, |scheduler, _| look(scheduler)).await.map_err(|error| error.to_string())
        })
    }
}

/// How a happening reads in the event log.
pub(crate) fn event(happening: Happening) -> EventKind {
    match happening {
        Happening::State { addon, from, to, version, problem } => EventKind::Addon {
            name: addon,
            change: if to.is_some() { "state" } else { "removed" },
            from,
            to,
            version,
            problem: problem.map(|problem| (problem.code, problem.text)),
        },
        Happening::Replaced { addon, why, version } => EventKind::Addon {
            name: addon.to_string(),
            change: "replaced",
            from: None,
            to: None,
            version,
            problem: Some((why, String::new())),
        },
        Happening::Reported(event) => EventKind::Reported {
            addon: event.addon.to_string(),
            name: event.name,
            attributes: event.attributes,
        },
    }
}
