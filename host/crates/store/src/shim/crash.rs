//! What a crash could leave of the files: pictures of the disk, made from what was noted.
//!
//! Two crashes. The process dies and the system lives: everything that it did is there. Or the power goes: a file has what was done before
//! its last sync, and of what came after it any part, in any order; a name that was given or taken away without a sync of the folder,
//! too. One write may be torn: of its sectors of 512 bytes some are there.

use super::{Inode, Op};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// Files by name.
pub(crate) type Files = BTreeMap<String, Vec<u8>>;

/// The least that a disk writes as a whole.
const SECTOR: usize = 512;

/// Numbers that are the same in each run (the constants of Knuth's MMIX).
#[derive(Clone, Debug)]
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % bound
    }
}

/// What the power cut left of what was done after the last sync.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cut {
    Nothing,
    AllButOne,
    /// All, but one write is torn.
    Torn,
    /// Any part, perhaps with a torn write.
    Some,
}

/// What was done to the files of a folder.
#[derive(Clone, Debug)]
pub(crate) struct Recording {
    pub(super) base: Files,
    pub(super) ops: Vec<Op>,
}

/// A disk: names of files, and what is in them.
#[derive(Clone, Debug, Default)]
struct Image {
    names: BTreeMap<String, Inode>,
    files: BTreeMap<Inode, Vec<u8>>,
}

impl Recording {
    /// How many operations there are; a crash can come before each and after the last.
    pub(crate) fn len(&self) -> usize {
        self.ops.len()
    }

    /// The first of the operations.
    pub(crate) fn until(&self, point: usize) -> Self {
        Self { base: self.base.clone(), ops: self.ops[..point].to_vec() }
    }

    /// How many of them are writes, truncations and syncs.
    pub(crate) fn kinds(&self) -> [usize; 3] {
        let count = |is: fn(&&Op) -> bool| self.ops.iter().filter(is).count();
        [
            count(|op| matches!(op, Op::Write { .. })),
            count(|op| matches!(op, Op::Truncate { .. })),
            count(|op| matches!(op, Op::Sync { .. })),
        ]
    }

    /// The files when the process dies before operation `point`.
    pub(crate) fn killed(&self, point: usize) -> Files {
        let mut image = self.image();
        self.ops.iter().take(point).for_each(|op| image.apply(op));
        image.shown()
    }

    /// The files when the power goes before operation `point`.
    pub(crate) fn cut(&self, point: usize, cut: Cut, random: &mut Random) -> Files {
        let (mut image, mut open): (Image, Vec<&Op>) = (self.image(), Vec::new());
        for op in self.ops.iter().take(point) {
            open.push(op);
            let (file, folder) = match op {
                Op::Sync { file, folder } => (Some(*file), *folder),
                Op::Delete { synced, .. } => (None, *synced),
                _ => continue,
            };
            open.retain(|op| {
                let settled = match op {
                    Op::Create { .. } | Op::Delete { .. } => folder,
                    Op::Write { file: of, .. } | Op::Truncate { file: of, .. } => Some(*of) == file,
                    Op::Sync { .. } => true,
                };
                if settled {
                    image.apply(op);
                }
                !settled
            });
        }
        let kept: Vec<bool> = match cut {
            Cut::Nothing => vec![false; open.len()],
            Cut::Torn => vec![true; open.len()],
            Cut::AllButOne => {
                let without = random.below(open.len().max(1));
                (0..open.len()).map(|number| number != without).collect()
            }
            Cut::Some => {
                let of_four = 1 + random.below(3);
                open.iter().map(|_| random.below(4) < of_four).collect()
            }
        };
        let torn = match cut {
            Cut::Torn => true,
            Cut::Some => random.below(2) == 0,
            Cut::Nothing | Cut::AllButOne => false,
        };
        let long = |number: &usize| {
            kept[*number] && matches!(open[*number], Op::Write { bytes, .. } if bytes.len() > SECTOR)
        };
        let candidates: Vec<usize> = (0..open.len()).filter(long).collect();
        let torn = (torn && !candidates.is_empty()).then(|| candidates[random.below(candidates.len())]);
        for (number, op) in open.iter().enumerate().filter(|(number, _)| kept[*number]) {
            match op {
                Op::Write { file, at, bytes } if torn == Some(number) => {
                    image.tear(*file, *at, bytes, random)
                }
                op => image.apply(op),
            }
        }
        image.shown()
    }

    fn image(&self) -> Image {
        let names = self.base.keys().cloned().zip(1..).collect();
        let files = (1..).zip(self.base.values().cloned()).collect();
        Image { names, files }
    }
}

impl Image {
    fn apply(&mut self, op: &Op) {
        match op {
            Op::Create { name, file } => {
                self.names.insert(name.clone(), *file);
            }
            Op::Delete { name, .. } => {
                self.names.remove(name);
            }
            Op::Write { file, at, bytes } => self.write(*file, *at, bytes),
            Op::Truncate { file, size } => self.files.entry(*file).or_default().resize(*size, 0),
            Op::Sync { .. } => {}
        }
    }

    /// What lies between the end of the file and the place is zeros.
    fn write(&mut self, file: Inode, at: usize, bytes: &[u8]) {
        let content = self.files.entry(file).or_default();
        let end = at + bytes.len();
        content.resize(content.len().max(end), 0);
        content[at..end].copy_from_slice(bytes);
    }

    /// Writes some sectors: the first of them, the last of them, or any.
    fn tear(&mut self, file: Inode, at: usize, bytes: &[u8], random: &mut Random) {
        let (kind, mut from) = (random.below(3), 0);
        let split = (at / SECTOR + 1 + random.below(bytes.len() / SECTOR)) * SECTOR;
        while from < bytes.len() {
            let place = at + from;
            let end = ((place / SECTOR + 1) * SECTOR - at).min(bytes.len());
            let kept = match kind {
                0 => place < split,
                1 => place >= split,
                _ => random.below(2) == 0,
            };
            if kept {
                self.write(file, place, &bytes[from..end]);
            }
            from = end;
        }
    }

    fn shown(self) -> Files {
        let Self { names, files } = self;
        names.into_iter().map(|(name, file)| (name, files.get(&file).cloned().unwrap_or_default())).collect()
    }
}

/// The files of a folder, without those in shared memory: a crash leaves none.
pub(crate) fn read(folder: &Path) -> Files {
    let entries = fs::read_dir(folder).unwrap().map(Result::unwrap);
    let named = entries.map(|entry| (entry.file_name().to_string_lossy().into_owned(), entry.path()));
    named
        .filter(|(name, _)| !name.ends_with("-shm"))
        .map(|(name, path)| (name, fs::read(path).unwrap()))
        .collect()
}

/// Puts files into a folder, in place of all that is in it.
pub(crate) fn replace(folder: &Path, files: &Files) {
    for entry in fs::read_dir(folder).unwrap() {
        fs::remove_file(entry.unwrap().path()).unwrap();
    }
    for (name, bytes) in files {
        fs::write(folder.join(name), bytes).unwrap();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file with one synced page, then two pages, then a log that was made and written.
    fn recording() -> Recording {
        let page = |at: usize, byte: u8| Op::Write { file: 1, at, bytes: vec![byte; 4_096] };
        let ops = vec![
            page(0, 1),
            Op::Sync { file: 1, folder: false },
            page(0, 2),
            page(4_096, 3),
            Op::Create { name: "log".into(), file: 2 },
            Op::Write { file: 2, at: 0, bytes: vec![4; 100] },
        ];
        Recording { base: [("db".to_owned(), Vec::new())].into(), ops }
    }

    #[test]
    fn what_was_synced_is_there_and_of_the_rest_any_part() {
        let (noted, mut random) = (recording(), Random(1));
        let all = noted.killed(6);
        assert_eq!((all["db"].len(), all["log"].len(), all["db"][0]), (8_192, 100, 2));
        assert_eq!(noted.killed(1)["db"], [1; 4_096]);
        assert!(noted.cut(1, Cut::Nothing, &mut random)["db"].is_empty());
        assert_eq!(noted.cut(6, Cut::Nothing, &mut random), [("db".to_owned(), vec![1; 4_096])].into());
        let mut seen = std::collections::BTreeSet::new();
        for _ in 0..200 {
            seen.insert(noted.cut(6, Cut::Some, &mut random));
        }
        assert!(seen.iter().any(|files| files["db"].len() == 8_192 && files["db"][0] == 1), "out of order");
        assert!(
            seen.iter().any(|files| files.get("log").is_some_and(Vec::is_empty)),
            "a name, and nothing in it"
        );
        for files in seen {
            assert!(
                files["db"][..4_096].chunks(SECTOR).all(|sector| sector == [1; 512] || sector == [2; 512])
            );
        }
    }

    #[test]
    fn a_torn_write_ends_between_two_sectors() {
        let (noted, mut random) = (recording(), Random(1));
        let mut partly = 0;
        for _ in 0..100 {
            let files = noted.cut(4, Cut::Torn, &mut random);
            let of_first = files["db"][..4_096].chunks(SECTOR).filter(|sector| *sector == [2; 512]).count();
            assert!(files["db"].chunks(SECTOR).all(|sector| sector.iter().all(|byte| *byte == sector[0])));
            partly += usize::from((1..8).contains(&of_first));
        }
        assert!(partly > 20, "{partly}");
    }
}
