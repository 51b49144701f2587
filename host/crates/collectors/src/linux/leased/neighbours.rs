//! How long work that is not leased waited: the pressure of the control groups beside those of leases. The system's own figure cannot be
//! taken apart afterwards, because several wait at the same moment.

use crate::linux::pressure;
use crate::linux::procfile::{ProcFile, Records};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Groups that are looked at. On a host with more the leases' pressure is subtracted instead, which is less exact.
const GROUPS_MAX: usize = 64;

/// Looks after which the list of groups is made anew: groups come and go with services.
const LOOKS_A_LIST: u32 = 20;

/// Files of one group: memory and I/O.
#[derive(Debug)]
struct Neighbour {
    files: [ProcFile; 2],
    before: Option<[u64; 2]>,
}

/// The groups beside leased ones.
#[derive(Debug, Default)]
pub(super) struct Neighbours {
    groups: Vec<Neighbour>,
    /// Of which leased groups these are the neighbours.
    of: BTreeSet<PathBuf>,
    looks: u32,
}

impl Neighbours {
    /// By how many microseconds the worst of them waited since the look before for memory, and for a disk (PSI full); `None` when there are
    /// none, or nothing is known yet.
    pub(super) fn waited(&mut self, root: &Path, leased: &BTreeSet<PathBuf>) -> Option<[u64; 2]> {
        self.looks += 1;
        if *leased != self.of || self.looks >= LOOKS_A_LIST {
            self.list(root, leased);
        }
        let mut worst: Option<[u64; 2]> = None;
        for group in &mut self.groups {
            let total = |file: &mut ProcFile| file.parse(pressure::parse).ok()?.full;
            let [memory, io] = &mut group.files;
            let now = total(memory).zip(total(io)).map(|(memory, io)| [memory, io]);
            let before = std::mem::replace(&mut group.before, now);
            let Some((now, before)) = now.zip(before) else { continue };
            let worst = worst.get_or_insert([0; 2]);
            for ((worst, now), before) in worst.iter_mut().zip(now).zip(before) {
                *worst = (*worst).max(now.saturating_sub(before));
            }
        }
        worst
    }

    /// All groups beside a leased one or beside one that holds it, other leased ones excepted.
    fn list(&mut self, root: &Path, leased: &BTreeSet<PathBuf>) {
        (self.of, self.looks) = (leased.clone(), 0);
        let mut found = BTreeSet::new();
        let mut holding = BTreeSet::new();
        for group in leased {
            holding.extend(group.ancestors().skip(1).take_while(|folder| folder.starts_with(root)));
        }
        for folder in &holding {
            let Ok(entries) = fs::read_dir(folder) else { continue };
            for entry in entries.flatten() {
                let path = entry.path();
                let other = !leased.contains(&path) && !holding.contains(path.as_path());
                if other && entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                    found.insert(path);
                }
                if found.len() > GROUPS_MAX {
                    self.groups.clear();
                    return;
                }
            }
        }
        let group = |folder: PathBuf| Neighbour {
            files: ["memory.pressure", "io.pressure"]
                .map(|name| ProcFile::small(folder.join(name), Records::One)),
            before: None,
        };
        self.groups = found.into_iter().map(group).collect();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(root: &Path, path: &str, memory: u64, io: u64) {
        let folder = root.join(path);
        fs::create_dir_all(&folder).unwrap();
        let text = |total| format!("some avg10=0.00 total=9999\nfull avg10=0.00 avg60=0.00 total={total}\n");
        fs::write(folder.join("memory.pressure"), text(memory)).unwrap();
        fs::write(folder.join("io.pressure"), text(io)).unwrap();
    }

    #[test]
    fn the_worst_group_that_is_not_leased_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        let all = ["system.slice", "user.slice", "user.slice/mine", "user.slice/lowtide-run-1"];
        for path in all.iter().chain(&["user.slice/lowtide-run-2", "system.slice/deep"]) {
            group(root, path, 100, 100);
        }
        let leased = BTreeSet::from(
            ["user.slice/lowtide-run-1", "user.slice/lowtide-run-2"].map(|path| root.join(path)),
        );
        let mut neighbours = Neighbours::default();
        assert_eq!(neighbours.waited(root, &leased), None, "nothing to compare with");
        assert_eq!(neighbours.groups.len(), 2, "what holds a lease is no neighbour, nor what lies deeper");
        group(root, "user.slice/lowtide-run-1", 90_000, 90_000);
        group(root, "user.slice", 90_000, 90_000);
        group(root, "user.slice/mine", 150, 100);
        group(root, "system.slice", 110, 170);
        assert_eq!(neighbours.waited(root, &leased), Some([50, 70]));
        assert_eq!(neighbours.waited(root, &leased), Some([0, 0]));
        fs::remove_dir_all(root.join("system.slice")).unwrap();
        fs::remove_dir_all(root.join("user.slice/mine")).unwrap();
        for _ in 0..LOOKS_A_LIST {
            neighbours.waited(root, &leased);
        }
        assert!(neighbours.groups.is_empty());
    }

    #[test]
    fn too_many_groups_are_not_looked_at() {
        let dir = tempfile::tempdir().unwrap();
        for number in 0..=GROUPS_MAX {
            group(dir.path(), &format!("service-{number}"), 0, 0);
        }
        let leased = BTreeSet::from([dir.path().join("lowtide-run-1")]);
        let mut neighbours = Neighbours::default();
        neighbours.waited(dir.path(), &leased);
        assert!(neighbours.groups.is_empty());
    }
}
