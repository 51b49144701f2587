//! Blobs with a checksum: CRC-32 (IEEE 802.3) over table, key and content, in the last four bytes. A row that was changed, or that stands
//! under another's key, is found out when it is read.

use std::cell::RefCell;

/// The tables whose rows are sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Table {
    Series,
    Tail,
    Segment,
    Chunk,
    Rolled,
    Rollup,
    Sketch,
    Quiet,
    Event,
}

impl Table {
    pub(crate) const ALL: [Self; 9] = [
        Self::Series,
        Self::Tail,
        Self::Segment,
        Self::Chunk,
        Self::Rolled,
        Self::Rollup,
        Self::Sketch,
        Self::Quiet,
        Self::Event,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Series => "series",
            Self::Tail => "tail",
            Self::Segment => "segment",
            Self::Chunk => "chunk",
            Self::Rolled => "rolled",
            Self::Rollup => "rollup",
            Self::Sketch => "sketch",
            Self::Quiet => "quiet",
            Self::Event => "event",
        }
    }
}

fn checksum(table: Table, key: i64, content: &[u8]) -> [u8; 4] {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(table.name().as_bytes());
    hasher.update(&key.to_le_bytes());
    hasher.update(content);
    hasher.finalize().to_le_bytes()
}

/// Puts the checksum behind the content.
pub(crate) fn seal(table: Table, key: i64, content: &mut Vec<u8>) {
    let checksum = checksum(table, key, content);
    content.extend_from_slice(&checksum);
}

/// The content of a sealed blob; `None` when it is not what was sealed.
pub(crate) fn open(table: Table, key: i64, sealed: &[u8]) -> Option<&[u8]> {
    let (content, sum) = sealed.split_last_chunk::<4>()?;
    (*sum == checksum(table, key, content)).then_some(content)
}

/// Rows that were found damaged: each once, up to a bound.
#[derive(Debug, Default)]
pub(crate) struct Damages(RefCell<std::collections::BTreeSet<(Table, i64)>>);

impl Damages {
    pub(crate) fn add(&self, table: Table, key: i64) {
        let mut rows = self.0.borrow_mut();
        if rows.len() < crate::limits::DAMAGES_COUNTED_MAX {
            rows.insert((table, key));
        }
    }

    /// All of them; then there are none.
    pub(crate) fn take(&self) -> Vec<(Table, i64)> {
        std::mem::take(&mut *self.0.borrow_mut()).into_iter().collect()
    }
}
