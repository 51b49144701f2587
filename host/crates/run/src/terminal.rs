//! The terminal of the front: which group of processes has it, and handing it over, as shells do.

use crate::class;
use rustix::process::{self, Pid};
use rustix::termios::{tcgetpgrp, tcsetpgrp};
use std::fs::{File, OpenOptions};

/// The terminal that this process belongs to.
#[derive(Debug)]
pub(crate) struct Terminal {
    file: File,
}

impl Terminal {
    /// Opens it; `None` when there is none, or it could not be taken back later.
    pub(crate) fn open() -> Option<Self> {
        let file = OpenOptions::new().read(true).write(true).open("/dev/tty").ok()?;
        class::hold_back_terminal_stop().ok()?;
        Some(Self { file })
    }

    /// Whether this group has it.
    pub(crate) fn is_with(&self, group: Pid) -> bool {
        tcgetpgrp(&self.file).is_ok_and(|front| front == group)
    }

    /// Whether the group of this process has it.
    pub(crate) fn is_ours(&self) -> bool {
        self.is_with(process::getpgrp())
    }

    /// Gives it to a group; says whether that worked.
    pub(crate) fn give(&self, group: Pid) -> bool {
        tcsetpgrp(&self.file, group).is_ok()
    }

    /// Takes it back, if that group has it: from nobody else.
    pub(crate) fn take_from(&self, group: Pid) -> bool {
        self.is_with(group) && tcsetpgrp(&self.file, process::getpgrp()).is_ok()
    }
}
