//! The stage: takes the lowest class for itself, stands still until its place is made, and becomes the command. It runs once, in one thread;
//! the inner guard starts it, by itself or through systemd-run.

use crate::{CANNOT_START, NOT_FOUND, class};
use rustix::process::{self, Signal};
use std::ffi::OsString;
use std::io::{self, Write as _};
use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitCode};

/// How much sooner than others the work is ended when memory is out.
const OOM_ADJUSTMENT: i32 = 500;

/// In which group of processes the command runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Grouping {
    /// A session of its own: there is no terminal.
    Session,
    /// A group of its own, to which the terminal can be given.
    Own,
    /// The front's group: it stands in a pipeline, whose other members need the terminal too.
    Shared,
}

impl Grouping {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Session => "session",
            Self::Own => "own",
            Self::Shared => "shared",
        }
    }

    fn of(word: &str) -> Option<Self> {
        [Self::Session, Self::Own, Self::Shared].into_iter().find(|grouping| grouping.word() == word)
    }
}

/// The hidden arguments of the stage: the grouping, whether to tell what fails, the front's group, and the command.
pub(crate) fn arguments(grouping: Grouping, verbose: bool, group: i32) -> [String; 3] {
    [grouping.word().to_owned(), if verbose { "verbose" } else { "silent" }.to_owned(), group.to_string()]
}

/// Becomes the command; comes back only when that does not work. `arguments` are those behind the hidden word.
pub fn main(mut arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let word = arguments.next().and_then(|word| Grouping::of(&word.to_string_lossy()));
    let verbose = arguments.next().is_some_and(|word| word == "verbose");
    let group = arguments.next().and_then(|group| group.to_string_lossy().parse().ok());
    let group = group.and_then(process::Pid::from_raw);
    let (Some(grouping), Some(group), Some(command)) = (word, group, arguments.next()) else {
        say("the stage is started by `lowtide run` only");
        return CANNOT_START.into();
    };
    let grouped = match grouping {
        Grouping::Session => process::setsid().map(drop),
        Grouping::Own => process::setpgid(None, None),
        Grouping::Shared => process::setpgid(None, Some(group)),
    };
    let autogroup = match (grouping, grouped) {
        // The autogroup belongs to the session: only a session of its own may be made to give way.
        (Grouping::Session, Ok(())) => std::fs::write("/proc/self/autogroup", "19"),
        _ => Ok(()),
    };
    let lowered = [
        ("process group", grouped.map_err(io::Error::from)),
        ("nice 19", process::setpriority_process(None, 19).map_err(io::Error::from)),
        ("idle processor class", class::processor_idle()),
        ("idle disk class", class::disk_idle()),
        ("memory preference", first_when_memory_is_out()),
        ("autogroup", autogroup),
    ];
    for (what, result) in lowered {
        match result {
            Err(error) if verbose => say(&format!("{what} could not be set: {error}")),
            _ => {}
        }
    }
    // The inner guard sees it stand still; the front then makes its place, gives it the terminal, and continues it.
    if let Err(error) = process::kill_process(process::getpid(), Signal::STOP) {
        say(&format!("the stage cannot stop itself: {error}"));
        return CANNOT_START.into();
    }
    let error = Command::new(&command).args(arguments).exec();
    say(&format!("{}: {error}", command.to_string_lossy()));
    if error.kind() == io::ErrorKind::NotFound { NOT_FOUND.into() } else { CANNOT_START.into() }
}

fn first_when_memory_is_out() -> io::Result<()> {
    const FILE: &str = "/proc/self/oom_score_adj";
    let now: i32 = std::fs::read_to_string(FILE)?.trim().parse().unwrap_or(0);
    if now < OOM_ADJUSTMENT { std::fs::write(FILE, OOM_ADJUSTMENT.to_string()) } else { Ok(()) }
}

fn say(text: &str) {
    let _ = writeln!(io::stderr().lock(), "lowtide: {text}");
}
