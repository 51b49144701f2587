//! What the front and its guards say to each other: lines of text, in both directions. Both are the same program, so there is one version.

use std::fmt;

/// How the inner guard starts the stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// As its child, and nothing else.
    Plain,
    /// Through `systemd-run --user`; true: with the weight `idle`, which older versions do not know.
    UserScope(bool),
    /// Through the system's manager.
    SystemScope(bool),
}

/// What the front says to a guard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ToGuard {
    /// Start the stage; the text names a unit.
    Spawn(Way, String),
    /// This process is the work: its id, and its start in ticks since boot.
    Work(i32, u64),
    /// The work is in this directory of the tree of control groups.
    Group(String),
    /// What the keeper needs to keep the lease when the front is gone.
    Keep(String),
    /// The command begins: from now on it outlives the front.
    Go,
    /// The tree is about to be stopped; these stood still before and are left alone.
    Freeze(Vec<i32>),
    /// The tree goes on.
    Thaw,
    /// All is done, also the lease.
    Bye,
}

impl fmt::Display for ToGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Spawn(way, unit) => {
                let (way, idle) = match way {
                    Way::Plain => ("plain", false),
                    Way::UserScope(idle) => ("user", *idle),
                    Way::SystemScope(idle) => ("system", *idle),
                };
                write!(f, "spawn {way} {idle} {unit}")
            }
            Self::Work(pid, start) => write!(f, "work {pid} {start}"),
            Self::Group(directory) => write!(f, "group {directory}"),
            Self::Keep(text) => write!(f, "keep {text}"),
            Self::Go => f.write_str("go"),
            Self::Freeze(left) => {
                f.write_str("freeze")?;
                left.iter().try_for_each(|pid| write!(f, " {pid}"))
            }
            Self::Thaw => f.write_str("thaw"),
            Self::Bye => f.write_str("bye"),
        }
    }
}

impl ToGuard {
    pub(crate) fn parse(line: &str) -> Option<Self> {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        Some(match word {
            "spawn" => {
                let mut words = rest.splitn(3, ' ');
                let (way, idle, unit) = (words.next()?, words.next()? == "true", words.next()?);
                let way = match way {
                    "plain" => Way::Plain,
                    "user" => Way::UserScope(idle),
                    "system" => Way::SystemScope(idle),
                    _ => return None,
                };
                Self::Spawn(way, unit.to_owned())
            }
            "work" => {
                let (pid, start) = rest.split_once(' ')?;
                Self::Work(pid.parse().ok()?, start.parse().ok()?)
            }
            "group" => Self::Group(rest.to_owned()),
            "keep" => Self::Keep(rest.to_owned()),
            "go" => Self::Go,
            "freeze" => {
                let left = rest.split_whitespace().map(str::parse).collect::<Result<_, _>>();
                Self::Freeze(left.ok()?)
            }
            "thaw" => Self::Thaw,
            "bye" => Self::Bye,
            _ => return None,
        })
    }
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// By itself, with this code.
    Code(i32),
    /// By this signal.
    Signal(i32),
}

impl How {
    /// The exit code by which a shell would tell it: 128 and the number of the signal.
    #[must_use]
    pub fn exit_code(self) -> u8 {
        let code = match self {
            Self::Code(code) => code,
            Self::Signal(signal) => 128_i32.saturating_add(signal),
        };
        u8::try_from(code).unwrap_or(u8::MAX)
    }
}

/// What work used, as far as it is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Used {
    /// Processor time, in milliseconds.
    pub cpu_ms: Option<u64>,
    /// Bytes read from disks.
    pub read_bytes: Option<u64>,
    /// Bytes written to disks.
    pub written_bytes: Option<u64>,
}

/// The end of the command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    /// How.
    pub how: How,
    /// What it and all that it waited for used.
    pub used: Used,
}

/// What a guard says to the front.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ToFront {
    /// The stage was started, as this process.
    Spawned(i32),
    /// It could not be started.
    Failed(String),
    /// A child was stopped by this signal.
    Stopped(i32, i32),
    /// A child ended.
    Ended(i32, Ended),
}

impl fmt::Display for ToFront {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Spawned(pid) => write!(f, "spawned {pid}"),
            Self::Failed(why) => write!(f, "failed {}", why.replace(char::is_control, " ")),
            Self::Stopped(pid, signal) => write!(f, "stopped {pid} {signal}"),
            Self::Ended(pid, ended) => {
                match ended.how {
                    How::Code(code) => write!(f, "ended {pid} code {code}")?,
                    How::Signal(signal) => write!(f, "ended {pid} signal {signal}")?,
                }
                for number in [ended.used.cpu_ms, ended.used.read_bytes, ended.used.written_bytes] {
                    match number {
                        Some(number) => write!(f, " {number}")?,
                        None => f.write_str(" -")?,
                    }
                }
                Ok(())
            }
        }
    }
}

impl ToFront {
    pub(crate) fn parse(line: &str) -> Option<Self> {
        let (word, rest) = line.split_once(' ')?;
        let mut words = rest.split(' ');
        Some(match word {
            "spawned" => Self::Spawned(rest.parse().ok()?),
            "failed" => Self::Failed(rest.to_owned()),
            "stopped" => Self::Stopped(words.next()?.parse().ok()?, words.next()?.parse().ok()?),
            "ended" => {
                let pid = words.next()?.parse().ok()?;
                let how = match (words.next()?, words.next()?.parse().ok()?) {
                    ("code", code) => How::Code(code),
                    ("signal", signal) => How::Signal(signal),
                    _ => return None,
                };
                let mut number = || words.next().and_then(|word| word.parse().ok());
                let used = Used { cpu_ms: number(), read_bytes: number(), written_bytes: number() };
                Self::Ended(pid, Ended { how, used })
            }
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_is_understood() {
        let to_guard = [
            ToGuard::Spawn(Way::UserScope(true), "lowtide-run-17-9f".to_owned()),
            ToGuard::Spawn(Way::SystemScope(false), "u".to_owned()),
            ToGuard::Spawn(Way::Plain, String::new()),
            ToGuard::Work(12, 3_456),
            ToGuard::Group("/sys/fs/cgroup/a b".to_owned()),
            ToGuard::Keep("{\"a\": 1}".to_owned()),
            ToGuard::Go,
            ToGuard::Freeze(Vec::new()),
            ToGuard::Freeze(vec![1, 22]),
            ToGuard::Thaw,
            ToGuard::Bye,
        ];
        for said in to_guard {
            assert_eq!(ToGuard::parse(&said.to_string()), Some(said));
        }
        let used = Used { cpu_ms: Some(12), read_bytes: None, written_bytes: Some(0) };
        let to_front = [
            ToFront::Spawned(7),
            ToFront::Failed("no such file".to_owned()),
            ToFront::Stopped(7, 20),
            ToFront::Ended(7, Ended { how: How::Code(3), used }),
            ToFront::Ended(7, Ended { how: How::Signal(9), used: Used::default() }),
        ];
        for said in to_front {
            assert_eq!(ToFront::parse(&said.to_string()), Some(said));
        }
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        for line in ["", "spawn", "spawn plain", "work 1", "work a b", "freeze x", "hello"] {
            assert_eq!(ToGuard::parse(line), None, "{line}");
        }
        for line in ["", "spawned", "spawned x", "stopped 1", "ended 1 gone 2", "ended 1 code"] {
            assert_eq!(ToFront::parse(line), None, "{line}");
        }
    }
}
