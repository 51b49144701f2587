//! The signals that the front listens to, as one stream. Those that were ignored when the program began stay so (nohup(1), `cmd &` of a
//! shell without job control): the command inherits that.

use rustix::process::{self, Signal};
use std::future::poll_fn;
use std::io;
use std::task::Poll;
use tokio::signal::unix::{self, SignalKind};

/// What is listened to. SIGCHLD, SIGCONT and SIGTSTP concern the front itself, the others are the command's.
const HEARD: [Signal; 10] = [
    Signal::TERM,
    Signal::INT,
    Signal::QUIT,
    Signal::HUP,
    Signal::USR1,
    Signal::USR2,
    Signal::WINCH,
    Signal::TSTP,
    Signal::CONT,
    Signal::CHILD,
];

/// A signal that came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Passed(pub(crate) Signal);

impl Passed {
    /// Whether it asks to end: TERM, INT, QUIT or HUP.
    #[must_use]
    pub fn ends(self) -> bool {
        [Signal::TERM, Signal::INT, Signal::QUIT, Signal::HUP].contains(&self.0)
    }

    /// Its number.
    #[must_use]
    pub fn number(self) -> i32 {
        self.0.as_raw()
    }

    /// Stops this process if that is what the signal asks for (Ctrl-Z): for a time in which there is no command yet.
    pub fn stop_if_asked(self) {
        if self.0 == Signal::TSTP {
            // SIGSTOP to ourselves cannot fail.
            let _ = process::kill_process(process::getpid(), Signal::STOP);
        }
    }

    /// Whether a terminal sends it to all of the group in the foreground.
    pub(crate) fn of_terminal(self) -> bool {
        [Signal::INT, Signal::QUIT, Signal::TSTP, Signal::WINCH].contains(&self.0)
    }
}

/// Listens to signals. Make it early: what comes before it acts as usual.
#[derive(Debug)]
pub struct Signals {
    heard: Vec<(Signal, unix::Signal)>,
}

impl Signals {
    /// Begins to listen. Needs a tokio runtime.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn new() -> io::Result<Self> {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let heard = HEARD.into_iter().filter(|signal| !is_ignored(&status, signal.as_raw()));
        let heard = heard.map(|signal| Ok((signal, unix::signal(SignalKind::from_raw(signal.as_raw()))?)));
        Ok(Self { heard: heard.collect::<io::Result<_>>()? })
    }

    /// The next one. Nothing is lost when this future is dropped.
    pub async fn next(&mut self) -> Passed {
        poll_fn(|context| {
            for (signal, stream) in &mut self.heard {
                if matches!(stream.poll_recv(context), Poll::Ready(Some(()))) {
                    return Poll::Ready(Passed(*signal));
                }
            }
            Poll::Pending
        })
        .await
    }
}

/// Reads the mask of ignored signals of `/proc/PID/status`.
fn is_ignored(status: &str, signal: i32) -> bool {
    let mask =
        status.lines().find_map(|line| u64::from_str_radix(line.strip_prefix("SigIgn:")?.trim(), 16).ok());
    mask.is_some_and(|mask| mask >> (signal - 1) & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ignored_signals_are_known() {
        let status = "Name:\tx\nSigIgn:\t0000000000001003\nSigCgt:\tffff\n";
        assert!(is_ignored(status, 1) && is_ignored(status, 2) && is_ignored(status, 13));
        assert!(!is_ignored(status, 15) && !is_ignored("", 1));
    }
}
