//! A file of /proc or /sys that is read again and again: kept open, read with pread(2) into a buffer that is reused. A warm
//! read allocates nothing. It knows no formats; the tick collectors call it.

use crate::collector::CollectError;
use lowtide_core::limits;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// How the kernel hands a file out (fs/seq_file.c).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Records {
    /// The whole file is one record (stat, meminfo, loadavg, uptime, pressure/*, sysfs attributes): a read returns all of it
    /// or fills the buffer, so one shorter than the buffer is the end, and the second read that would only say so is saved.
    One,
    /// One record a line (vmstat, diskstats, net/dev, mountinfo): a read returns whole lines up to about a page, so only an
    /// empty read is the end.
    Many,
}

/// Room at the start for files that grow with the machine, enough for most.
const BUFFER_BYTES: usize = 16 << 10;

/// Room for a few lines, such as a control group's pressure.
const SMALL_BYTES: usize = 512;

/// Room for an attribute of sysfs that is one number.
const NUMBER_BYTES: usize = 64;

/// See the file's head.
#[derive(Debug)]
pub(crate) struct ProcFile {
    path: PathBuf,
    records: Records,
    file: Option<File>,
    /// All of it is initialised, so that a read needs no unsafe code; only the front part is content.
    buffer: Vec<u8>,
}

impl ProcFile {
    /// A file below `dir`; it is opened by the first read.
    pub(crate) fn new(dir: &Path, name: &str, records: Records) -> Self {
        Self { path: dir.join(name), records, file: None, buffer: vec![0; BUFFER_BYTES] }
    }

    /// An attribute of sysfs that holds one number.
    pub(crate) fn number(path: PathBuf) -> Self {
        Self { path, records: Records::One, file: None, buffer: vec![0; NUMBER_BYTES] }
    }

    /// A file of a few short lines.
    pub(crate) fn small(path: PathBuf, records: Records) -> Self {
        Self { path, records, file: None, buffer: vec![0; SMALL_BYTES] }
    }

    /// Reads the whole file and parses it; a parser says in a few words what it did not find.
    ///
    /// # Errors
    /// [`CollectError::Missing`], [`CollectError::Unreadable`] or [`CollectError::Garbled`].
    pub(crate) fn parse<T>(
        &mut self,
        parse: impl FnOnce(&[u8]) -> Result<T, &'static str>,
    ) -> Result<T, CollectError> {
        let outcome = match self.read() {
            Ok(bytes) => parse(bytes),
            Err(error) => return Err(CollectError::io(&self.path, error)),
        };
        outcome.map_err(|what| {
            // What is behind the descriptor may not be what is at the path any more: the next run opens it anew.
            self.file = None;
            CollectError::Garbled { path: self.path.clone(), what }
        })
    }

    /// Reads the whole file.
    ///
    /// # Errors
    /// What open(2) or pread(2) said, and `FileTooLarge` above [`limits::PROC_FILE_BYTES_MAX`].
    pub(crate) fn read(&mut self) -> io::Result<&[u8]> {
        let length = match self.file.take() {
            // The file behind an open descriptor can go away (ENODEV, a restarted lxcfs): then its successor is opened, once.
            Some(file) => self.fill(file).or_else(|_| self.open_and_fill()),
            None => self.open_and_fill(),
        }?;
        Ok(self.buffer.get(..length).unwrap_or_default())
    }

    fn open_and_fill(&mut self) -> io::Result<usize> {
        let file = File::open(&self.path)?;
        self.fill(file)
    }

    /// Reads to the end and keeps the file open; after an error it stays closed.
    fn fill(&mut self, file: File) -> io::Result<usize> {
        let mut length = 0;
        loop {
            let Some(room) = self.buffer.get_mut(length..).filter(|room| !room.is_empty()) else {
                if self.buffer.len() >= limits::PROC_FILE_BYTES_MAX {
                    return Err(io::ErrorKind::FileTooLarge.into());
                }
                self.buffer.resize(self.buffer.len() * 2, 0);
                continue;
            };
            let room_bytes = room.len();
            let count = match file.read_at(room, length as u64) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                other => other?,
            };
            length += count;
            if count == 0 || (self.records == Records::One && count < room_bytes) {
                self.file = Some(file);
                return Ok(length);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn a_file_that_outgrows_the_buffer_is_read_whole_and_one_that_shrinks_too() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("stat");
        let mut file = ProcFile::new(dir.path(), "stat", Records::One);
        for length in [10, BUFFER_BYTES, BUFFER_BYTES * 5 + 3, 0, 7] {
            let content: Vec<u8> = (0..length).map(|at| at as u8).collect();
            fs::write(&path, &content).unwrap();
            assert_eq!(file.read().unwrap(), content, "{length}");
        }
    }

    #[test]
    fn a_file_without_end_is_refused() {
        let mut file = ProcFile::new(Path::new("/dev"), "zero", Records::Many);
        assert_eq!(file.read().unwrap_err().kind(), io::ErrorKind::FileTooLarge);
    }

    #[test]
    fn a_missing_file_is_named_and_found_once_it_is_there() {
        let dir = tempfile::tempdir().unwrap();
        let mut file = ProcFile::new(dir.path(), "uptime", Records::One);
        let error = file.parse(|_| Ok(())).unwrap_err();
        assert!(matches!(error, CollectError::Missing { .. }), "{error:?}");
        fs::write(dir.path().join("uptime"), "1.00 1.00\n").unwrap();
        assert_eq!(file.read().unwrap(), b"1.00 1.00\n");
    }
}
