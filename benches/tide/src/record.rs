//! What a run leaves: one line of JSON, appended to a file as soon as it is known, so that a series that is broken off is not lost
//! and goes on where it stopped. Tables are made from the file alone.

use crate::arm::Arm;
use crate::heavy::Kind;
use crate::load::Latencies;
use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};
use std::fs::{File, OpenOptions};
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;

/// A line of the file.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(tag = "record", rename_all = "lowercase")]
pub(crate) enum Record {
    Machine(Machine),
    Run(Run),
    Step(Step),
}

/// What the runs were made on and with.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub(crate) struct Machine {
    pub(crate) processors: usize,
    pub(crate) memory_mib: u64,
    pub(crate) available_mib: u64,
    pub(crate) kernel: String,
    pub(crate) autogroup: bool,
    /// Requests a second that the service answers when it is asked without pause; what the loads are shares of.
    pub(crate) capacity: f64,
    pub(crate) steps_per_ms: u64,
    pub(crate) large_mib: u64,
    pub(crate) cache_mib: u64,
    pub(crate) seed: u64,
    pub(crate) seconds: f64,
    /// Whether the service has a cgroup of its own.
    pub(crate) own_group: bool,
    /// And a session: autogroup then shares processors between it and the heavy work as equals.
    pub(crate) own_session: bool,
}

impl Machine {
    /// Whether runs with these settings may stand beside those of the file.
    pub(crate) fn is_of(&self, seed: u64, seconds: f64, own_session: bool) -> bool {
        (self.seed, self.own_session) == (seed, own_session) && (self.seconds - seconds).abs() < 1e-9
    }
}

/// One run of one arm.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub(crate) struct Run {
    pub(crate) block: Block,
    pub(crate) arm: Arm,
    pub(crate) seconds: f64,
    pub(crate) latencies: Latencies,
    /// What the heavy work did during the load, in its own unit; 0 without heavy work.
    pub(crate) work: u64,
    /// Share of the load's time in which the heavy work was stopped.
    pub(crate) stopped: f64,
    /// How often it was stopped.
    pub(crate) stops: u32,
}

/// What is compared within itself: runs with the same requests, one of each arm, one after the other.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
pub(crate) struct Block {
    /// Per cent of the capacity.
    pub(crate) load: u32,
    pub(crate) heavy: Kind,
    /// From 1.
    pub(crate) repeat: u32,
}

/// One step of load while leased work runs.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
pub(crate) struct Step {
    /// From the step's begin to the last CPU use of the leased work; nothing when it had not stopped by the end of the step.
    pub(crate) yield_ms: Option<f64>,
    /// The same to the moment after which it used less than a millisecond: to be frozen takes a thread some microseconds itself, for
    /// which one of the lowest class may wait long.
    pub(crate) yield_but_1_ms: Option<f64>,
    /// From the step's begin to the pause in the daemon's log.
    pub(crate) decision_ms: Option<f64>,
    /// CPU that the leased work used after that moment, of all processors.
    pub(crate) after_decision_cpu_ms: Option<f64>,
    /// CPU that it used after the order to freeze was seen written, of all processors.
    pub(crate) after_freeze_cpu_ms: Option<f64>,
    /// Time between two looks, the middle and the longest: what the figures above are exact to.
    pub(crate) look_ms: f64,
    pub(crate) look_max_ms: f64,
}

/// The file, open to append.
#[derive(Debug)]
pub(crate) struct Log(File);

impl Log {
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let opened = OpenOptions::new().append(true).create(true).open(path);
        Ok(Self(opened.with_context(|| format!("open {}", path.display()))?))
    }

    pub(crate) fn append(&mut self, record: &Record) -> Result<()> {
        let mut line = serde_json::to_vec(record)?;
        line.push(b'\n');
        // One write, so that a line is there or not.
        Ok(self.0.write_all(&line)?)
    }
}

/// All records of a file, which may not be there yet. A last line that was cut off is left out.
pub(crate) fn read(path: &Path) -> Result<Vec<Record>> {
    let file = match File::open(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        opened => opened.with_context(|| format!("open {}", path.display()))?,
    };
    let lines: Vec<String> = BufReader::new(file).lines().collect::<Result<_, _>>()?;
    let mut records = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        match serde_json::from_str(line) {
            Ok(record) => records.push(record),
            Err(_) if at + 1 == lines.len() => {}
            Err(error) => {
                return Err(error).with_context(|| format!("{} line {}", path.display(), at + 1));
            }
        }
    }
    Ok(records)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run() -> Record {
        Record::Run(Run {
            block: Block { load: 30, heavy: Kind::Fsync, repeat: 2 },
            arm: Arm::Ours,
            seconds: 8.0,
            latencies: Latencies { requests: 5, p99_us: 7, ..Latencies::default() },
            work: 9,
            stopped: 0.5,
            stops: 3,
        })
    }

    #[test]
    fn what_was_appended_is_read_and_a_cut_off_end_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("runs.jsonl");
        assert!(read(&path).unwrap().is_empty());
        Log::open(&path).unwrap().append(&run()).unwrap();
        Log::open(&path).unwrap().append(&run()).unwrap();
        assert_eq!(read(&path).unwrap(), [run(), run()]);
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, &text[..text.len() - 9]).unwrap();
        assert_eq!(read(&path).unwrap(), [run()]);
        std::fs::write(&path, format!("x\n{text}")).unwrap();
        assert!(read(&path).unwrap_err().to_string().contains("line 1"));
    }
}
