//! A guard: the parent of the work, or that parent's parent. It starts the stage, tells the front how the command fares, and waits. When
//! the front is gone it lets the work go on at once; the innermost guard that lives then keeps the lease until the command ends.
//! It never freezes anything.

use crate::lines::{Ended, How, ToFront, ToGuard, Used, Way};
use crate::{GUARD_ARGUMENT, STAGE_ARGUMENT, cgroup, passing, tree};
use lowtide_clock as clock;
use lowtide_core::units::MonoTime;
use rustix::io::Errno;
use rustix::process::{self, Pid, Signal, WaitOptions, WaitStatus};
use std::ffi::OsString;
use std::fs::OpenOptions;
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

/// Things that happened and were not looked at yet. Who has more to tell waits.
const HAPPENINGS_MAX: usize = 64;

/// How long it waits for anything when there is nothing to keep.
const LONG: Duration = Duration::from_secs(3_600);

/// How long it tries to remove the control group when all is done, and how often: what is left in it ends when it gets the processor, and at
/// this class that can take long.
const LEAVE_PATIENCE: Duration = Duration::from_secs(60);
const LEAVE_AGAIN: Duration = Duration::from_millis(20);

/// What the work is to do, as the lease says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Go on; say again that it lives after this time.
    GoOn(Duration),
    /// End within this time.
    End(Duration),
}

/// Keeps a lease when the front is gone. `lease` is the text that the front gave for this.
pub trait Keeper {
    /// Says that the work lives. Called at once and then as often as the last answer said.
    fn beat(&mut self, lease: &str) -> Order;
    /// Gives the lease back: the command ended.
    fn give_back(&mut self, lease: &str, ended: &Ended);
}

enum Happened {
    /// A line of the front.
    Line(String),
    /// The front is gone.
    FrontGone,
    /// A child stopped or ended.
    Child(Pid, WaitStatus),
    /// There is no child left to wait for.
    NoChildren,
}

/// Runs as a guard until the work is done. `arguments` are those behind the hidden word.
pub fn main(arguments: impl Iterator<Item = OsString>, keeper: &mut dyn Keeper) -> ExitCode {
    match Guard::begin(arguments) {
        Ok((mut guard, happenings)) => {
            guard.run(&happenings, keeper);
            guard.leave();
            ExitCode::SUCCESS
        }
        Err(error) => {
            let _ = writeln!(io::stderr().lock(), "lowtide: the guard cannot begin: {error}");
            ExitCode::FAILURE
        }
    }
}

struct Guard {
    front: UnixStream,
    events: SyncSender<Happened>,
    /// The command's stdin, until it is started; only the inner guard has it.
    stdin: Option<OwnedFd>,
    /// Arguments of the stage.
    stage: Vec<OsString>,
    /// The inner guard, as long as it lives; only the outer guard has one.
    inner: Option<i32>,
    /// It ended by itself: it has seen to everything.
    inner_done: bool,
    child: Option<Pid>,
    /// There may be children that were not waited for.
    waiting: bool,
    work: Option<tree::Known>,
    group: Option<PathBuf>,
    lease: Option<String>,
    begun: bool,
    /// The tree stands still but for these.
    frozen: Option<Vec<i32>>,
    front_gone: bool,
    done: bool,
    ended: Option<Ended>,
    beat_at: MonoTime,
    kill_at: Option<MonoTime>,
}

impl Guard {
    fn begin(mut arguments: impl Iterator<Item = OsString>) -> io::Result<(Self, Receiver<Happened>)> {
        let outer = arguments.next().is_some_and(|word| word == "outer");
        let stage: Vec<OsString> = arguments.collect();
        process::set_child_subreaper(Some(process::getpid()))?;
        let front = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
        rustix::stdio::dup2_stdin(std::fs::File::open("/dev/null")?)?;
        let file = passing::receive(&front)?;
        let (events, happenings) = sync_channel(HAPPENINGS_MAX);
        let mut guard = Self {
            front,
            events,
            stdin: None,
            stage,
            inner: None,
            inner_done: false,
            child: None,
            waiting: false,
            work: None,
            group: None,
            lease: None,
            begun: false,
            frozen: None,
            front_gone: false,
            done: false,
            ended: None,
            beat_at: MonoTime::default(),
            kill_at: None,
        };
        if outer {
            let inner = Command::new("/proc/self/exe")
                .arg0("lowtide")
                .arg(GUARD_ARGUMENT)
                .arg("inner")
                .args(&guard.stage)
                .stdin(file)
                .process_group(0)
                .spawn()?;
            guard.inner = i32::try_from(inner.id()).ok();
            guard.wait_for_children()?;
        } else {
            guard.stdin = Some(file);
        }
        let (lines, events) = (guard.front.try_clone()?, guard.events.clone());
        thread("lt-front", move || {
            for line in BufReader::new(lines).lines().map_while(Result::ok) {
                if events.send(Happened::Line(line)).is_err() {
                    return;
                }
            }
            let _ = events.send(Happened::FrontGone);
        })?;
        Ok((guard, happenings))
    }

    fn wait_for_children(&mut self) -> io::Result<()> {
        if self.waiting {
            return Ok(());
        }
        self.waiting = true;
        let events = self.events.clone();
        thread("lt-children", move || {
            loop {
                let happened = match process::wait(WaitOptions::UNTRACED) {
                    Ok(Some((pid, status))) => Happened::Child(pid, status),
                    Ok(None) | Err(Errno::INTR) => continue,
                    Err(_) => Happened::NoChildren,
                };
                let last = matches!(happened, Happened::NoChildren);
                if events.send(happened).is_err() || last {
                    return;
                }
            }
        })
    }

    fn run(&mut self, happenings: &Receiver<Happened>, keeper: &mut dyn Keeper) {
        while !self.finished(keeper) {
            let patience = self.keep(keeper);
            match happenings.recv_timeout(patience) {
                Ok(Happened::Line(line)) => self.obey(ToGuard::parse(&line)),
                Ok(Happened::FrontGone) => {
                    self.front_gone = true;
                    self.thaw();
                    if !self.begun {
                        self.kill();
                    }
                }
                Ok(Happened::Child(pid, status)) => self.of_child(pid, status),
                Ok(Happened::NoChildren) => {
                    self.waiting = false;
                    if self.child.is_some() {
                        let _ = self.wait_for_children();
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn obey(&mut self, said: Option<ToGuard>) {
        match said {
            Some(ToGuard::Spawn(way, unit)) => {
                let answer = match self.spawn(way, &unit) {
                    Ok(pid) => ToFront::Spawned(pid),
                    Err(error) => ToFront::Failed(error.to_string()),
                };
                self.tell(&answer);
                // After the answer, so that the front knows which child is meant.
                let _ = self.wait_for_children();
            }
            Some(ToGuard::Work(pid, start)) => self.work = Some((pid, start)),
            Some(ToGuard::Group(directory)) => self.group = Some(PathBuf::from(directory)),
            Some(ToGuard::Keep(text)) => self.lease = Some(text),
            Some(ToGuard::Go) => self.begun = true,
            Some(ToGuard::Freeze(left)) => self.frozen = Some(left),
            Some(ToGuard::Thaw) => self.frozen = None,
            Some(ToGuard::Bye) => self.done = true,
            None => {}
        }
    }

    fn spawn(&mut self, way: Way, unit: &str) -> io::Result<i32> {
        let stdin = match &self.stdin {
            Some(file) => Stdio::from(file.try_clone()?),
            None => Stdio::null(),
        };
        let mut command = match way {
            Way::Plain => Command::new("/proc/self/exe"),
            Way::UserScope(idle) | Way::SystemScope(idle) => {
                let mut command = Command::new("systemd-run");
                if matches!(way, Way::UserScope(_)) {
                    command.arg("--user");
                }
                command.args(["--scope", "--quiet", "--collect", "--no-ask-password"]);
                command.arg(format!("--unit={unit}"));
                command.arg(if idle { "--property=CPUWeight=idle" } else { "--property=CPUWeight=1" });
                command.args(["--property=IOWeight=1", "--property=Delegate=yes", "--"]);
                // Its words about a manager that does not answer concern nobody: there is another way.
                command.arg(std::env::current_exe()?);
                command
            }
        };
        if way == Way::Plain {
            command.arg0("lowtide");
        }
        let child = command.arg(STAGE_ARGUMENT).args(&self.stage).stdin(stdin).spawn()?;
        self.begun = false;
        let pid = i32::try_from(child.id()).map_err(io::Error::other)?;
        self.child = Pid::from_raw(pid);
        Ok(pid)
    }

    fn of_child(&mut self, pid: Pid, status: WaitStatus) {
        let number = pid.as_raw_nonzero().get();
        if let Some(signal) = status.stopping_signal() {
            return self.tell(&ToFront::Stopped(number, signal));
        }
        let how = match (status.exit_status(), status.terminating_signal()) {
            (Some(code), _) => How::Code(code),
            (None, Some(signal)) => How::Signal(signal),
            (None, None) => return,
        };
        if self.child == Some(pid) {
            self.child = None;
        }
        if self.inner == Some(number) {
            self.inner = None;
            self.inner_done = how == How::Code(0);
            if self.front_gone {
                self.thaw();
            }
        }
        let ended = Ended { how, used: used() };
        if self.work.is_some_and(|(work, _)| work == number) {
            self.ended = Some(ended);
        }
        self.tell(&ToFront::Ended(number, ended));
    }

    fn tell(&mut self, what: &ToFront) {
        // A front that is gone is noticed by the reading side.
        let _ = self.front.write_all(format!("{what}\n").as_bytes());
    }

    fn thaw(&mut self) {
        if let Some(directory) = &self.group {
            let _ = cgroup::thaw(directory);
        }
        if let Some(left) = self.frozen.take() {
            tree::go_on_below(&[own()], &left);
        }
    }

    fn kill(&mut self) {
        // The inner guard ends by itself; what is below it does not.
        let skip: Vec<i32> = self.inner.into_iter().collect();
        tree::kill_below(&[own()], &skip);
    }

    /// Removes the control group, if this is the guard to do so.
    fn leave(&self) {
        // A scope is systemd's to remove.
        let own = |directory: &&PathBuf| directory.extension().is_none_or(|extension| extension != "scope");
        let Some(directory) = self.group.as_ref().filter(own).filter(|_| self.inner.is_none()) else {
            return;
        };
        // Whoever waits for the front or for the end of its output is not to wait for this.
        let _ = self.front.shutdown(std::net::Shutdown::Both);
        if let Ok(nothing) = OpenOptions::new().write(true).open("/dev/null") {
            let _ = rustix::stdio::dup2_stdout(&nothing).and_then(|()| rustix::stdio::dup2_stderr(&nothing));
        }
        let begin = clock::mono();
        while !cgroup::leave(directory, true) && clock::mono().since(begin) < LEAVE_PATIENCE {
            std::thread::park_timeout(LEAVE_AGAIN);
        }
    }

    /// Whether there is nothing left to do. Called after each happening.
    fn finished(&mut self, keeper: &mut dyn Keeper) -> bool {
        if self.done {
            return true;
        }
        // As long as the inner guard lives it sees to everything.
        if !self.front_gone || self.inner.is_some() {
            return false;
        }
        if let Some(ended) = &self.ended {
            if let Some(lease) = &self.lease {
                keeper.give_back(lease, ended);
            }
            return true;
        }
        // Not "the command is gone": the news that it ended may still be on its way here. With no child left all news has come.
        !self.begun || self.inner_done || !self.waiting
    }

    /// Keeps the lease, if that is this guard's task now; answers how long there is nothing to do.
    fn keep(&mut self, keeper: &mut dyn Keeper) -> Duration {
        if !self.front_gone || self.inner.is_some() {
            return LONG;
        }
        let now = clock::mono();
        if self.kill_at.is_some_and(|at| at <= now) {
            self.kill_at = None;
            self.kill();
        }
        let left = |at: MonoTime, now: MonoTime| at.0.saturating_sub(now.0);
        if let Some(lease) = self.lease.as_deref().filter(|_| self.beat_at <= now) {
            let next = match keeper.beat(lease) {
                Order::GoOn(next) => next,
                Order::End(within) => {
                    if self.kill_at.is_none() {
                        tree::signal_below(&[own()], &[], Signal::TERM);
                        self.kill_at = Some(MonoTime(clock::mono().0 + within));
                    }
                    within.min(Duration::from_secs(10))
                }
            };
            self.beat_at = MonoTime(clock::mono().0 + next.max(Duration::from_millis(100)));
        }
        let now = clock::mono();
        let beat = if self.lease.is_some() { left(self.beat_at, now) } else { LONG };
        self.kill_at.map_or(beat, |at| left(at, now).min(beat))
    }
}

/// What all children that this process has waited for used.
pub(crate) fn used() -> Used {
    let ticks = tree::ticks_of_children(own());
    let io = std::fs::read_to_string("/proc/self/io").unwrap_or_default();
    let bytes = |key: &str| io.lines().find_map(|line| line.strip_prefix(key)?.trim().parse().ok());
    let per_second = rustix::param::clock_ticks_per_second().max(1);
    Used {
        cpu_ms: ticks.map(|ticks| ticks.saturating_mul(1_000) / per_second),
        read_bytes: bytes("read_bytes:"),
        written_bytes: bytes("write_bytes:"),
    }
}

fn own() -> i32 {
    process::getpid().as_raw_nonzero().get()
}

fn thread(name: &str, work: impl FnOnce() + Send + 'static) -> io::Result<()> {
    // They need little, and there are guards for each command that runs.
    std::thread::Builder::new().name(name.to_owned()).stack_size(64 << 10).spawn(work).map(drop)
}
