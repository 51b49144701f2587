//! What a built-in collector is, and the ways in which a run of one can fail. It holds no collector and starts nothing;
//! every collector implements it, the runner calls it.

use lowtide_core::metric::SampleBuffer;
use lowtide_core::report::CollectorInfo;
use lowtide_core::units::MonoTime;
use std::error::Error;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// Something that measures one subject. It is owned by one thread and may block: the runner keeps it away from the others.
pub trait Collector: Send {
    /// Measures once and pushes the samples, all samples of one metric next to each other. `at` is the time of the tick;
    /// rates are over the time since the last successful run.
    ///
    /// # Errors
    /// When there is nothing to report. What was pushed before an error is thrown away: a run counts whole or not at all.
    fn collect(&mut self, at: MonoTime, out: &mut SampleBuffer) -> Result<(), CollectError>;

    /// Forgets earlier counters, so that the next run gives no rates. The runner calls it when a run took so long that
    /// nobody knows at which moment its counters were read.
    fn forget(&mut self) {}
}

/// Why a run has no samples. One variant for each thing that a caller can do about it.
#[derive(Debug, thiserror::Error)]
pub enum CollectError {
    /// This host has no such thing (no PSI, no sensors, no battery). Not a failure; asked again only now and then.
    #[error("{0}")]
    Absent(String),
    /// A file that every such host has is not there: a wrong `proc_dir`, or a sandbox that hides it.
    #[error("{} is missing", path.display())]
    Missing {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file is there but cannot be read: permissions, or the device went away.
    #[error("cannot read {}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file was read but does not have the documented format: a bug here, or a kernel that we do not know.
    #[error("unexpected content in {}: {what}", path.display())]
    Garbled {
        /// The file.
        path: PathBuf,
        /// What was looked for.
        what: &'static str,
    },
    /// The system's answer to a question that is not a file could not be used.
    #[error("{0}")]
    Failed(String),
}

impl CollectError {
    /// The right variant for a failed open or read.
    #[cfg(target_os = "linux")]
    pub(crate) fn io(path: &std::path::Path, source: io::Error) -> Self {
        let path = path.to_owned();
        match source.kind() {
            io::ErrorKind::NotFound => Self::Missing { path, source },
            _ => Self::Unreadable { path, source },
        }
    }

    /// The whole chain of causes in one line.
    pub(crate) fn chain(&self) -> String {
        let mut text = self.to_string();
        let mut cause = self.source();
        while let Some(inner) = cause {
            text.push_str(": ");
            text.push_str(&inner.to_string());
            cause = inner.source();
        }
        text
    }
}

/// One line of the table: a collector, who it is, and how often it runs.
pub struct Entry {
    /// Name, group, metrics.
    pub info: CollectorInfo,
    /// Time between two runs as configured.
    pub interval: Duration,
    /// The collector itself.
    pub collector: Box<dyn Collector>,
}

impl std::fmt::Debug for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Entry").field("name", &self.info.name).field("interval", &self.interval).finish()
    }
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use super::*;

    #[test]
    fn the_chain_names_file_and_cause_once() {
        let error = CollectError::io("/proc/stat".as_ref(), io::Error::other("device gone"));
        assert_eq!(error.to_string(), "cannot read /proc/stat");
        assert_eq!(error.chain(), "cannot read /proc/stat: device gone");
    }
}
