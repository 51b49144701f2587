//! The arms of the experiment: how heavy work is held back, as a command line around it.

use crate::heavy::Kind;
use anyhow::{Result, bail};
use serde::{Deserialize, Serialize};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::str::FromStr;

/// A way to hold heavy work back.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Arm {
    /// No heavy work: what the others are compared with.
    None,
    /// Heavy work without control.
    Free,
    /// `nice -n 19 ionice -c 3`.
    Nice,
    /// SCHED_IDLE and idle I/O: `chrt -i 0 ionice -c 3`.
    Idle,
    /// `lowtide run`.
    Ours,
}

impl Arm {
    pub(crate) const ALL: [Self; 5] = [Self::None, Self::Free, Self::Nice, Self::Idle, Self::Ours];

    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Free => "free",
            Self::Nice => "nice",
            Self::Idle => "idle",
            Self::Ours => "ours",
        }
    }

    fn tools(self) -> &'static [&'static str] {
        match self {
            Self::None | Self::Free | Self::Ours => &[],
            Self::Nice => &["nice", "-n", "19", "ionice", "-c", "3"],
            Self::Idle => &["chrt", "-i", "0", "ionice", "-c", "3"],
        }
    }

    /// An error when something that the arm needs is not on this machine.
    pub(crate) fn check(self, lowtide: &Path) -> Result<()> {
        let mut command = Command::new(lowtide);
        match self.tools().split_first() {
            Some((first, rest)) => {
                command = Command::new(first);
                command.args(rest).arg("true");
            }
            None if self == Self::Ours => {
                command.args(["run", "--help"]);
            }
            None => return Ok(()),
        }
        let status = command.stdout(Stdio::null()).stderr(Stdio::null()).status();
        if !status.is_ok_and(|status| status.success()) {
            bail!("the arm {} cannot be had here: {command:?} fails; leave it out with --arms", self.word());
        }
        Ok(())
    }
}

impl FromStr for Arm {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        Self::ALL.into_iter().find(|arm| arm.word() == text).ok_or(())
    }
}

/// What a command line of heavy work is made of.
#[derive(Clone, Debug)]
pub(crate) struct Site {
    /// This program.
    pub(crate) program: PathBuf,
    /// The program of the daemon.
    pub(crate) lowtide: PathBuf,
    /// Where the daemon answers.
    pub(crate) url: String,
    /// Where heavy work has its files.
    pub(crate) folder: PathBuf,
    /// Memory that `stream` copies in.
    pub(crate) stream_mib: u64,
}

impl Site {
    /// The command for heavy work under an arm. It ends by itself after `seconds`.
    pub(crate) fn heavy(&self, arm: Arm, kind: Kind, seconds: f64) -> Command {
        let mut words: Vec<OsString> = arm.tools().iter().map(OsString::from).collect();
        if arm == Arm::Ours {
            words.push(self.lowtide.clone().into());
            words.extend(["run", "--url", &self.url, "--cost", "100", "--"].map(OsString::from));
        }
        words.push(self.program.clone().into());
        let (seconds, mib) = (seconds.to_string(), self.stream_mib.to_string());
        let rest = ["heavy", kind.word(), "--seconds", &seconds, "--stream-mib", &mib, "--folder"];
        words.extend(rest.map(OsString::from));
        words.push(self.folder.clone().into());
        let mut command = Command::new(words.remove(0));
        command.args(words);
        command
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_arm_is_a_command_line_around_the_same_work() {
        let site = Site {
            program: "tide".into(),
            lowtide: "lowtide".into(),
            url: "http://h:1".to_owned(),
            folder: "/f".into(),
            stream_mib: 64,
        };
        let shown = |arm| {
            let command = site.heavy(arm, Kind::Fsync, 9.5);
            let words = std::iter::once(command.get_program()).chain(command.get_args());
            words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
        };
        let work = "tide heavy fsync --seconds 9.5 --stream-mib 64 --folder /f";
        assert_eq!(shown(Arm::Free), work);
        assert_eq!(shown(Arm::Nice), format!("nice -n 19 ionice -c 3 {work}"));
        assert_eq!(shown(Arm::Idle), format!("chrt -i 0 ionice -c 3 {work}"));
        assert_eq!(shown(Arm::Ours), format!("lowtide run --url http://h:1 --cost 100 -- {work}"));
    }
}
