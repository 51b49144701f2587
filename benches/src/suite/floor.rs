//! The floor under a tick: reading the same ten files through descriptors that stay open, into one buffer, and nothing else.

use std::fs::File;
use std::hint::black_box;
use std::os::unix::fs::FileExt as _;

/// The files of a tick, and whether the kernel hands one out a line at a time: such a file has ended only when a read is empty,
/// while for the others a read shorter than the buffer says so.
const FILES: [(&str, bool); 10] = [
    ("stat", false),
    ("loadavg", false),
    ("uptime", false),
    ("meminfo", false),
    ("vmstat", true),
    ("pressure/cpu", false),
    ("pressure/memory", false),
    ("pressure/io", false),
    ("diskstats", true),
    ("net/dev", true),
];

/// Reads the files of one tick.
#[derive(Debug)]
pub(crate) struct Floor {
    files: Vec<(File, bool)>,
    buffer: Vec<u8>,
}

impl Floor {
    /// Opens what this machine has: a kernel without PSI has seven of the ten.
    pub(crate) fn new() -> Self {
        let open = |(name, by_line)| Some((File::open(format!("/proc/{name}")).ok()?, by_line));
        Self { files: FILES.into_iter().filter_map(open).collect(), buffer: vec![0; 64 << 10] }
    }

    pub(crate) fn count(&self) -> usize {
        self.files.len()
    }

    pub(crate) fn read(&mut self) {
        for (file, by_line) in &self.files {
            let mut length = 0;
            while let Some(room) = self.buffer.get_mut(length..) {
                let count = file.read_at(room, length as u64).unwrap_or(0);
                length += count;
                if count == 0 || !by_line {
                    break;
                }
            }
            black_box(&self.buffer);
        }
    }
}
