//! The hot folder: when what lies in the addons folder is loaded, replaced or removed.
//!
//! [`Folder`] only decides: it takes scans and the time, and reads no clock and no file. [`Notifier`] says when another scan is worth
//! it. Both are called by the task that loads addons.

use crate::discover::{AddonFileError, Candidate, Rejected, Scan, Stamp};
use crate::id::AddonId;
use crate::limits::{LOAD_SPACING, SETTLE};
use lowtide_core::units::MonoTime;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

mod notify;
#[cfg(test)]
mod tests;

pub(crate) use notify::Notifier;

/// Least time between two scans while the folder is in uproar: a scan of a thousand addons takes some 3 ms.
pub(crate) const SCAN_SPACING: Duration = Duration::from_millis(100);

/// What the daemon should do now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// Read and load this, in the place of what is loaded under its id.
    Load(Candidate),
    /// Drain and drop this.
    Remove(AddonId),
    /// Tell that this can not be loaded. What is loaded under its id stays until a [`Change::Remove`].
    Reject(Rejected),
    /// What was rejected under this name is gone or mended.
    Cleared {
        /// The name that it was rejected under.
        name: String,
    },
}

/// What the folder has shown so far.
#[derive(Debug, Default)]
pub(crate) struct Folder {
    addons: BTreeMap<AddonId, Addon>,
    rejected: BTreeMap<String, Complaint>,
    has_scanned: bool,
}

#[derive(Debug)]
struct Addon {
    /// What lies there, and since when.
    seen: Sight,
    since: MonoTime,
    /// The state that was last given out to be loaded, and when.
    offered: Option<Stamp>,
    offered_at: Option<MonoTime>,
    /// Given out, and not removed since.
    is_out: bool,
}

#[derive(Debug, PartialEq, Eq)]
enum Sight {
    /// Nothing to load.
    Gone,
    /// Something wrong; it leaves alone what was loaded before it went wrong.
    Wrong,
    /// Something to load.
    There(Stamp),
}

#[derive(Debug)]
struct Complaint {
    /// What is wrong now, and since when; nothing when it no longer is.
    seen: Option<Rejected>,
    since: MonoTime,
    told: Option<AddonFileError>,
}

impl Folder {
    /// Takes a scan and says what follows from it.
    ///
    /// The first one is taken as it is. Later ones must show the same for a while: a file that still grows, a file that is removed and
    /// put back by an editor, and a folder that is still being filled change nothing. Removals come first, then loads by id, then
    /// what is rejected by name.
    pub(crate) fn observe(&mut self, now: MonoTime, scan: Scan) -> Vec<Change> {
        let settle = if self.has_scanned { SETTLE } else { Duration::ZERO };
        self.has_scanned = true;
        let mut changes = Vec::new();

        let mut candidates: BTreeMap<AddonId, Candidate> =
            scan.candidates.into_iter().map(|candidate| (candidate.id.clone(), candidate)).collect();
        for (id, candidate) in &candidates {
            let addon = self.addons.entry(id.clone()).or_insert_with(|| Addon::new(now));
            addon.show(now, Sight::There(candidate.stamp.clone()));
        }
        let wrong: BTreeSet<&AddonId> = scan
            .rejected
            .iter()
            .filter(|rejected| !means_gone(&rejected.error))
            .filter_map(|rejected| rejected.id.as_ref())
            .collect();
        for (id, addon) in &mut self.addons {
            if !candidates.contains_key(id) {
                addon.show(now, if wrong.contains(id) { Sight::Wrong } else { Sight::Gone });
            }
        }

        self.addons.retain(|id, addon| {
            if addon.wants_removal() && addon.is_ripe(now, settle) {
                addon.is_out = false;
                addon.offered = None;
                changes.push(Change::Remove(id.clone()));
            }
            // The time of the last load is remembered as long as it matters.
            addon.seen != Sight::Gone || addon.is_out || !addon.is_spaced(now)
        });
        for (id, addon) in &mut self.addons {
            if addon.wants_load()
                && addon.is_ripe(now, settle)
                && addon.is_spaced(now)
                && let Some(candidate) = candidates.remove(id)
            {
                addon.offered = Some(candidate.stamp.clone());
                addon.offered_at = Some(now);
                addon.is_out = true;
                changes.push(Change::Load(candidate));
            }
        }
        self.complain(now, settle, scan.rejected, &mut changes);
        changes
    }

    /// The next moment at which a scan is needed even if nothing else happens in the folder: something is waiting to be left alone
    /// long enough.
    #[must_use]
    pub(crate) fn due(&self) -> Option<MonoTime> {
        let addons = self.addons.values().filter_map(|addon| {
            let ripe = addon.since.plus(SETTLE);
            if addon.wants_load() {
                Some(addon.offered_at.map_or(ripe, |at| ripe.max(at.plus(LOAD_SPACING))))
            } else {
                addon.wants_removal().then_some(ripe)
            }
        });
        let complaints = self
            .rejected
            .values()
            .filter(|complaint| complaint.is_news())
            .map(|complaint| complaint.since.plus(SETTLE));
        addons.chain(complaints).min()
    }

    /// Gives an addon out again although its files have not changed: reading it failed for a reason that may pass.
    pub(crate) fn retry(&mut self, id: &AddonId) {
        if let Some(addon) = self.addons.get_mut(id) {
            addon.offered = None;
        }
    }

    fn complain(
        &mut self,
        now: MonoTime,
        settle: Duration,
        rejected: Vec<Rejected>,
        changes: &mut Vec<Change>,
    ) {
        let mut rejected: BTreeMap<String, Rejected> =
            rejected.into_iter().map(|rejected| (rejected.name.clone(), rejected)).collect();
        for (name, complaint) in &mut self.rejected {
            complaint.show(now, rejected.remove(name));
        }
        for (name, rejected) in rejected {
            self.rejected.insert(name, Complaint { seen: Some(rejected), since: now, told: None });
        }
        self.rejected.retain(|name, complaint| {
            if complaint.is_news() && now.since(complaint.since) >= settle {
                changes.push(match &complaint.seen {
                    Some(rejected) => Change::Reject(rejected.clone()),
                    None => Change::Cleared { name: name.clone() },
                });
                complaint.told = complaint.error().cloned();
            }
            complaint.seen.is_some() || complaint.told.is_some()
        });
    }
}

/// Whether there is nothing left to load, as opposed to something wrong in its place: here a restart would not find the addon either.
fn means_gone(error: &AddonFileError) -> bool {
    matches!(error, AddonFileError::NoWasm(_) | AddonFileError::NoManifest(_) | AddonFileError::TooMany)
}

impl Addon {
    fn new(now: MonoTime) -> Self {
        Self { seen: Sight::Gone, since: now, offered: None, offered_at: None, is_out: false }
    }

    fn show(&mut self, now: MonoTime, seen: Sight) {
        if self.seen != seen {
            self.seen = seen;
            self.since = now;
        }
    }

    fn wants_load(&self) -> bool {
        matches!(&self.seen, Sight::There(stamp) if Some(stamp) != self.offered.as_ref())
    }

    fn wants_removal(&self) -> bool {
        self.seen == Sight::Gone && self.is_out
    }

    fn is_ripe(&self, now: MonoTime, settle: Duration) -> bool {
        now.since(self.since) >= settle
    }

    fn is_spaced(&self, now: MonoTime) -> bool {
        self.offered_at.is_none_or(|at| now.since(at) >= LOAD_SPACING)
    }
}

impl Complaint {
    fn error(&self) -> Option<&AddonFileError> {
        self.seen.as_ref().map(|rejected| &rejected.error)
    }

    fn show(&mut self, now: MonoTime, rejected: Option<Rejected>) {
        if self.error() != rejected.as_ref().map(|rejected| &rejected.error) {
            self.since = now;
        }
        self.seen = rejected;
    }

    fn is_news(&self) -> bool {
        self.error() != self.told.as_ref()
    }
}
