//! A fixture machine, copied so that a test can change it, with all collectors of the table on it. Numbers that would come from the
//! machine that runs the tests (sizes of file systems, our own processor time) are replaced.

use crate::collector::{CollectError, Entry};
use crate::config::CollectConfig;
use crate::linux::filesystem::{Filesystem, Space};
use crate::process::Process;
use crate::{ApiMeter, Sources, Work, table};
use lowtide_core::metric::{SampleBuffer, Series};
use lowtide_core::units::MonoTime;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// Every folder below `fixtures/`.
pub(super) fn names() -> Vec<String> {
    let entries = fs::read_dir(fixtures()).unwrap().map(|entry| entry.unwrap());
    let mut names: Vec<String> = entries.map(|entry| entry.file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

pub(super) fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures")
}

/// All regular files below a folder.
pub(super) fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![dir.to_owned()];
    while let Some(dir) = open.pop() {
        for entry in fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap()) {
            match entry.file_type().unwrap() {
                kind if kind.is_dir() => open.push(entry.path()),
                kind if kind.is_file() => found.push(entry.path()),
                _ => {}
            }
        }
    }
    found.sort();
    found
}

/// A machine whose /proc may be changed.
pub(super) struct Machine {
    name: String,
    temp: tempfile::TempDir,
    pub(super) entries: Vec<Entry>,
    buffer: SampleBuffer,
}

/// What one run of one collector gave.
pub(super) type Run = Result<Vec<(Series, f64)>, CollectError>;

impl Machine {
    pub(super) fn new(name: &str) -> Self {
        let temp = tempfile::tempdir().unwrap();
        let config = CollectConfig {
            proc_dir: temp.path().join("proc"),
            sys_dir: fixtures().join(name).join("sys"),
            data_dir: Some("/".into()),
            ..CollectConfig::default()
        };
        let meter = Arc::new(ApiMeter::new(&["/metrics", "other"]));
        meter.record(0, 200, Duration::from_micros(300));
        let sources = Sources::new(meter);
        // Leased work, on the machines that have such a process.
        sources.work.set(1, Work { pid: 4_242, cgroup: None });
        let mut entries = table(&config, &sources);
        let fixed = |_: &Path| {
            let (size_bytes, free_bytes, available_bytes) = (500 << 30, 120 << 30, 100 << 30);
            Ok(Space { size_bytes, free_bytes, available_bytes, files: 32_000_000, files_free: 31_000_000 })
        };
        for entry in &mut entries {
            match entry.info.name.as_ref() {
                "filesystem" => entry.collector = Box::new(Filesystem::new(&config, fixed)),
                "process" => {
                    entry.collector = Box::new(Process::new(&config, || Duration::from_millis(5_310)))
                }
                _ => {}
            }
        }
        let mut machine = Self { name: name.to_owned(), temp, entries, buffer: SampleBuffer::new() };
        machine.overlay("proc");
        machine
    }

    /// Where its /proc is.
    pub(super) fn proc_dir(&self) -> PathBuf {
        self.temp.path().join("proc")
    }

    /// Writes a folder of the fixture over /proc. Files that are open stay the same files, as in the real /proc.
    fn overlay(&mut self, from: &str) {
        let from = fixtures().join(&self.name).join(from);
        for file in files(&from) {
            let to = self.proc_dir().join(file.strip_prefix(&from).unwrap());
            fs::create_dir_all(to.parent().unwrap()).unwrap();
            fs::write(to, fs::read(file).unwrap()).unwrap();
        }
    }

    /// Lets two seconds pass: what the fixture has in `next/proc`.
    pub(super) fn advance(&mut self) {
        self.overlay("next/proc");
    }

    /// Runs one collector.
    pub(super) fn run(&mut self, index: usize, seconds: u64) -> Run {
        self.buffer = SampleBuffer::new();
        self.entries[index].collector.collect(MonoTime(Duration::from_secs(seconds)), &mut self.buffer)?;
        let series = self.buffer.layout();
        Ok(series.iter().cloned().zip(self.buffer.values().iter().copied()).collect())
    }
}
