//! What `lowtide run` says on stderr. On a terminal: one line that is rewritten while it waits, and nothing over the command's own output.
//! Elsewhere plain lines, each change once, for logs.

use crate::commands::lease::waiting;
use crate::commands::output::{complain, rewrite};
use rustix::termios::tcgetwinsize;
use serde_json::Value;
use std::io::{IsTerminal as _, stderr};

/// Columns of a terminal that does not tell its width.
const COLUMNS_USUAL: usize = 80;

/// Says things, if they are to be said.
#[derive(Debug)]
pub(super) struct Speaker {
    quiet: bool,
    verbose: bool,
    terminal: bool,
    /// A line that is to be removed stands on the terminal.
    line: bool,
    told: String,
}

impl Speaker {
    pub(super) fn new(quiet: bool, verbose: bool) -> Self {
        Self { quiet, verbose, terminal: stderr().is_terminal(), line: false, told: String::new() }
    }

    /// How the request stands in the queue.
    pub(super) fn waiting(&mut self, lease: &Value) {
        let waiting = waiting(lease);
        // In a log, an estimate that moves is no news.
        let key = format!("{}: {}", waiting.place, waiting.why);
        self.status(&format!("waiting, {}", waiting.line()), key);
    }

    /// The daemon is away while the request waits.
    pub(super) fn waiting_alone(&mut self) {
        let text = "waiting, but the daemon does not answer: trying again each second";
        self.status(text, text.to_owned());
    }

    fn status(&mut self, text: &str, key: String) {
        if self.quiet {
            return;
        }
        if self.terminal {
            let columns = tcgetwinsize(stderr()).map_or(COLUMNS_USUAL, |size| size.ws_col.into());
            // The last column is left free: some terminals wrap there.
            let most = if columns > 1 { columns - 1 } else { COLUMNS_USUAL };
            rewrite(&format!("lowtide: {text}").chars().take(most).collect::<String>());
            self.line = true;
        } else if self.told != key {
            complain(text);
            self.told = key;
        }
    }

    /// The waiting is over.
    pub(super) fn clear(&mut self) {
        if std::mem::take(&mut self.line) {
            rewrite("");
        }
    }

    /// Something that an operator likes to know, but not in the middle of the command's output.
    pub(super) fn note(&mut self, text: &str) {
        if !self.quiet && (self.verbose || !self.terminal) {
            complain(text);
        }
    }

    /// Only for who asked for details.
    pub(super) fn detail(&mut self, text: &str) {
        if self.verbose {
            complain(text);
        }
    }

    /// Something that went wrong.
    pub(super) fn error(&mut self, text: &str) {
        self.clear();
        complain(text);
    }
}
