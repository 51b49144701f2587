//! Starting the work: two guards, the stage, its place, its terminal, and go. It decides where the work lives.

use crate::GUARD_ARGUMENT;
use crate::cgroup::Group;
use crate::lines::{How, ToFront, ToGuard, Way};
use crate::signals::Signals;
use crate::stage::{self, Grouping};
use crate::terminal::Terminal;
use crate::work::{Link, Work, own};
use crate::{passing, tree};
use rustix::process::{self, Pid, Signal};
use std::ffi::OsString;
use std::io;
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

/// How long the stage may take to stand ready. A manager of systemd that does not answer would hold it for half a minute.
const STAGE_PATIENCE: Duration = Duration::from_secs(5);

/// The first systemd that knows `CPUWeight=idle`.
const SYSTEMD_WITH_IDLE: u32 = 252;

/// Where the work lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Where {
    /// In the first of these that can be had.
    Any,
    /// In a control group made below our own.
    Group,
    /// In a scope of systemd.
    Scope,
    /// In nothing: it is found as the tree of processes below the guard.
    Tree,
}

/// What is to run, and how.
#[derive(Clone, Debug)]
pub struct Options {
    /// The command and its arguments, as typed.
    pub command: Vec<OsString>,
    /// Variables for the command's environment besides our own.
    pub environment: Vec<(String, String)>,
    /// Name of the control group or unit; letters, digits and `-`.
    pub name: String,
    /// Where it may live.
    pub place: Where,
    /// Tell on stderr which settings of the lowest class could not be made.
    pub verbose: bool,
    /// What a guard's keeper gets when the front is gone; one line.
    pub lease: String,
}

/// Why the work could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// No command was given.
    #[error("there is no command")]
    NoCommand,
    /// A guard could not be started, or ended at once.
    #[error("the guard could not be started")]
    Guard(#[source] io::Error),
    /// The stage could not be started.
    #[error("the command's stage could not be started: {0}")]
    Stage(String),
}

/// Starts the command. The calling thread is the one that later calls [`Work::next`].
///
/// # Errors
/// When a process cannot be made. That there is no such command is none: it then ends with 127.
pub async fn start(options: &Options, signals: Signals) -> Result<Work, StartError> {
    if options.command.is_empty() {
        return Err(StartError::NoCommand);
    }
    process::set_child_subreaper(Some(process::getpid())).map_err(|error| StartError::Guard(error.into()))?;
    let before = tree::children(own());
    let terminal = Terminal::open();
    let group = process::getpgrp().as_raw_nonzero().get();
    let grouping = match &terminal {
        None => Grouping::Session,
        Some(_) if tree::shares_group(own(), group) => Grouping::Shared,
        Some(_) => Grouping::Own,
    };
    let guards = Guards::start(options, grouping, group).map_err(StartError::Guard)?;
    let staged = guards.stage(options).await?;
    Ok(Work::begin(staged, options.lease.clone(), grouping, terminal, signals, before))
}

/// Both guards, before there is work.
struct Guards {
    outer_pid: i32,
    outer: Link,
    inner: Link,
}

/// The stage stands ready in its place.
pub(crate) struct Staged {
    pub(crate) outer_pid: i32,
    pub(crate) inner_pid: i32,
    pub(crate) outer: Link,
    pub(crate) inner: Link,
    pub(crate) command: tree::Known,
    pub(crate) group: Option<Group>,
}

impl Guards {
    fn start(options: &Options, grouping: Grouping, group: i32) -> io::Result<Self> {
        let (outer, outer_end) = UnixStream::pair()?;
        let (inner, inner_end) = UnixStream::pair()?;
        let child = Command::new("/proc/self/exe")
            .arg0("lowtide")
            .args([GUARD_ARGUMENT, "outer"])
            .args(stage::arguments(grouping, options.verbose, group))
            .args(&options.command)
            .envs(options.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::from(std::os::fd::OwnedFd::from(outer_end)))
            // What ends the user's job in one stroke must not end its guards.
            .process_group(0)
            .spawn()?;
        passing::send(&outer, inner_end.as_fd())?;
        passing::send(&inner, io::stdin().as_fd())?;
        let outer_pid = i32::try_from(child.id()).map_err(io::Error::other)?;
        Ok(Self { outer_pid, outer: Link::new(outer)?, inner: Link::new(inner)? })
    }

    async fn stage(mut self, options: &Options) -> Result<Staged, StartError> {
        let mut group = match options.place {
            Where::Any | Where::Group => Group::make(&options.name).ok(),
            Where::Scope | Where::Tree => None,
        };
        let scope = match options.place {
            Where::Any if group.is_none() => manager(),
            Where::Scope => manager(),
            _ => None,
        };
        for way in scope.into_iter().chain([Way::Plain]) {
            match self.one(way, &options.name).await? {
                Ok(pid) => {
                    group = match group.take() {
                        Some(made) => match made.join(pid) {
                            Ok(()) => Some(made),
                            Err(_) => {
                                // Nothing ever was in it.
                                let _ = made.leave();
                                None
                            }
                        },
                        None if way != Way::Plain => Group::of(pid, &format!("{}.scope", options.name)).ok(),
                        None => None,
                    };
                    let process = tree::look(pid).filter(|process| !process.over());
                    let process = process.ok_or_else(|| StartError::Stage("it is gone".to_owned()))?;
                    return Ok(Staged {
                        outer_pid: self.outer_pid,
                        inner_pid: process.parent,
                        outer: self.outer,
                        inner: self.inner,
                        command: (pid, process.start),
                        group,
                    });
                }
                Err(why) if way == Way::Plain => {
                    if let Some(made) = group.take() {
                        let _ = made.leave();
                    }
                    return Err(StartError::Stage(why));
                }
                Err(_) => {}
            }
        }
        Err(StartError::Stage("there is no way left".to_owned()))
    }

    /// One try; the inner error says why the stage did not get ready.
    async fn one(&mut self, way: Way, name: &str) -> Result<Result<i32, String>, StartError> {
        let gone = || StartError::Guard(io::Error::from(io::ErrorKind::UnexpectedEof));
        self.inner.tell(&ToGuard::Spawn(way, name.to_owned()));
        let pid = loop {
            match self.inner.next().await.ok_or_else(gone)? {
                ToFront::Spawned(pid) => break pid,
                ToFront::Failed(why) => return Ok(Err(why)),
                // Of an earlier try.
                ToFront::Stopped(..) | ToFront::Ended(..) => {}
            }
        };
        let ready = async {
            loop {
                match self.inner.next().await.ok_or_else(gone)? {
                    ToFront::Stopped(stopped, signal)
                        if stopped == pid && signal == Signal::STOP.as_raw() =>
                    {
                        return Ok(Ok(pid));
                    }
                    ToFront::Ended(ended, how) if ended == pid => {
                        return Ok(Err(match how.how {
                            How::Code(code) => format!("it ended with {code}"),
                            How::Signal(signal) => format!("it was ended by signal {signal}"),
                        }));
                    }
                    _ => {}
                }
            }
        };
        match tokio::time::timeout(STAGE_PATIENCE, ready).await {
            Ok(ready) => ready,
            Err(_) => {
                if let Some(pid) = Pid::from_raw(pid) {
                    // The guard's child and not reaped yet, else it would have been told.
                    let _ = process::kill_process(pid, Signal::KILL);
                }
                Ok(Err("it does not get ready".to_owned()))
            }
        }
    }
}

/// The manager of systemd that makes scopes for this user, if one answers.
fn manager() -> Option<Way> {
    let own =
        std::env::var_os("XDG_RUNTIME_DIR").filter(|dir| Path::new(dir).join("systemd/private").exists());
    let system = process::geteuid().is_root() && Path::new("/run/systemd/private").exists();
    if own.is_none() && !system {
        return None;
    }
    let version = Command::new("systemd-run").arg("--version").stdin(Stdio::null()).output().ok()?;
    let version = String::from_utf8_lossy(&version.stdout).split_whitespace().nth(1)?.parse::<u32>().ok()?;
    let idle = version >= SYSTEMD_WITH_IDLE;
    Some(if own.is_some() { Way::UserScope(idle) } else { Way::SystemScope(idle) })
}
