//! Processes that the harness starts: what they say on lines `WORD NUMBER`, and their end, which a handle that is dropped brings
//! about.

use crate::machine;
use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// How long a process may take to end once it is asked to.
const END_MAX: Duration = Duration::from_secs(20);

/// The newest number that was said after each word.
type Said = Arc<Mutex<BTreeMap<String, u64>>>;

/// A running process.
#[derive(Debug)]
pub(crate) struct Child {
    process: std::process::Child,
    name: String,
    said: Said,
}

impl Child {
    /// Starts a command and listens to its lines.
    pub(crate) fn start(command: &mut Command) -> Result<Self> {
        let name = command.get_program().to_string_lossy().into_owned();
        let mut process = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("start {name}"))?;
        let out = process.stdout.take().context("no output")?;
        let said = Said::default();
        let heard = Arc::clone(&said);
        // Ends with the process, whose end closes the pipe.
        std::thread::spawn(move || {
            for line in BufReader::new(out).lines() {
                let Ok(line) = line else { return };
                if let Some((word, number)) = line.split_once(' ')
                    && let Ok(number) = number.trim().parse()
                {
                    let mut heard = heard.lock().unwrap_or_else(PoisonError::into_inner);
                    heard.insert(word.to_owned(), number);
                }
            }
        });
        Ok(Self { process, name, said })
    }

    /// The newest number after a word.
    pub(crate) fn said(&self, word: &str) -> Option<u64> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner).get(word).copied()
    }

    /// Waits until a word is said; an error when the process ends before, or does not say it in time.
    pub(crate) fn wait_for(&mut self, word: &str, longest: Duration) -> Result<u64> {
        let mut ended = None;
        let number = machine::wait_for(longest, || {
            // In this order: what was said before the end is heard.
            let over = ended.is_some();
            ended = self.process.try_wait().ok().flatten();
            self.said(word).map(Some).or_else(|| over.then_some(None))
        });
        match (number.flatten(), ended) {
            (Some(number), _) => Ok(number),
            (None, Some(status)) => bail!("{} ended with {status} and did not say {word:?}", self.name),
            (None, None) => bail!("{} did not say {word:?} in {} s", self.name, longest.as_secs()),
        }
    }

    /// Waits for its own end, at most for `longest`.
    pub(crate) fn wait(&mut self, longest: Duration) -> Result<ExitStatus> {
        let status = machine::wait_for(longest, || self.process.try_wait().ok().flatten());
        status.with_context(|| format!("{} did not end in {} s", self.name, longest.as_secs()))
    }

    /// Asks it to end, and waits.
    pub(crate) fn end(&mut self) -> Result<ExitStatus> {
        if let (Ok(None), Some(pid)) =
            (self.process.try_wait(), Pid::from_raw(self.process.id().try_into().unwrap_or_default()))
        {
            kill_process(pid, Signal::TERM)?;
        }
        self.wait(END_MAX)
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if self.end().is_err() {
            let _ = self.process.kill();
            let _ = self.process.wait();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Child {
        Child::start(Command::new("sh").args(["-c", script])).unwrap()
    }

    #[test]
    fn what_a_process_says_is_heard_and_its_end_is_awaited() {
        let mut child = shell("echo ready 5; echo work 1; echo work 2; echo done 7; exit 3");
        assert_eq!(child.wait_for("done", Duration::from_secs(30)).unwrap(), 7);
        assert_eq!((child.said("ready"), child.said("work"), child.said("none")), (Some(5), Some(2), None));
        assert_eq!(child.wait(Duration::from_secs(30)).unwrap().code(), Some(3));
    }

    #[test]
    fn a_process_that_ends_without_the_word_is_an_error() {
        let text = shell("exit 3").wait_for("ready", Duration::from_secs(30)).unwrap_err().to_string();
        assert!(text.contains("did not say \"ready\""), "{text}");
    }

    #[test]
    fn a_process_is_asked_to_end() {
        let mut child = shell("trap 'echo done 1; exit 0' TERM; echo ready 1; while :; do :; done");
        child.wait_for("ready", Duration::from_secs(30)).unwrap();
        assert!(child.end().unwrap().success());
    }
}
