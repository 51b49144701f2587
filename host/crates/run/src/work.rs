//! The running work, as the front sees it: freezing and thawing, signals, the terminal, and its end. Whoever owns it decides when it
//! stands still. What holds at every moment: if the work is frozen, both guards live or learn at once that they must thaw it.

use crate::cgroup::Group;
use crate::guard::used;
use crate::lines::{Ended, How, ToFront, ToGuard, Used};
use crate::signals::{Passed, Signals};
use crate::stage::Grouping;
use crate::start::Staged;
use crate::terminal::Terminal;
use crate::tree;
use rustix::process::{self, Pid, Signal, WaitOptions};
use std::fmt::Display;
use std::io::{self, Write as _};
use std::os::unix::net::UnixStream;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::time::Instant;

/// How soon a tree that was not all still is looked at again: at first, and at most. It is only ever long when a process waits for a disk
/// or for one that it started with vfork(2).
const SETTLE_FIRST: Duration = Duration::from_millis(2);
const SETTLE_MOST: Duration = Duration::from_millis(250);

/// How long the news of the command's end may take when its guard died at the same moment.
const NEWS_PATIENCE: Duration = Duration::from_secs(2);

/// How long guards may take to end when all is done.
const BYE_PATIENCE: Duration = Duration::from_secs(1);

/// The code when the command ended and nobody is left who knows how (`EX_SOFTWARE`).
const UNKNOWN_END: i32 = 70;

/// The socket to a guard.
#[derive(Debug)]
pub(crate) struct Link {
    lines: Lines<BufReader<tokio::net::UnixStream>>,
    out: UnixStream,
    open: bool,
}

impl Link {
    pub(crate) fn new(socket: UnixStream) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        let out = socket.try_clone()?;
        let lines = BufReader::new(tokio::net::UnixStream::from_std(socket)?).lines();
        Ok(Self { lines, out, open: true })
    }

    /// The next word of the guard; `None` when it is gone. Nothing is lost when this future is dropped.
    pub(crate) async fn next(&mut self) -> Option<ToFront> {
        loop {
            match self.lines.next_line().await {
                Ok(Some(line)) => {
                    if let Some(said) = ToFront::parse(&line) {
                        return Some(said);
                    }
                }
                Ok(None) | Err(_) => {
                    self.open = false;
                    return None;
                }
            }
        }
    }

    /// Tells the guard something. At once: an order to freeze must be known there before anything is frozen.
    pub(crate) fn tell(&mut self, what: &ToGuard) {
        // A guard that is gone, or does not read any more, is noticed as a closed socket.
        let _ = self.out.write_all(format!("{what}\n").as_bytes());
    }
}

/// What the owner of the work must know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Happening {
    /// The command ended.
    Ended(Ended),
    /// A guard is gone: the work was thawed, and is not frozen any more.
    GuardLost,
    /// A signal that asks to end was passed on; for that the work was thawed.
    Ending(Passed),
}

/// A command that runs, or stands still.
#[derive(Debug)]
pub struct Work {
    outer_pid: i32,
    inner_pid: i32,
    outer: Link,
    inner: Link,
    command: tree::Known,
    group: Option<Group>,
    grouping: Grouping,
    terminal: Option<Terminal>,
    signals: Signals,
    /// Children that this process had before: none of our work.
    before: Vec<i32>,
    frozen: bool,
    /// What we stopped, where there is no group to freeze.
    stopped: Vec<tree::Known>,
    /// When to look again for what of the tree escaped, and how long after that.
    settle: Option<(Instant, Duration)>,
    /// The terminal was taken from the command while it stands still, so that Ctrl-C reaches somebody.
    terminal_taken: bool,
    /// The user stopped it.
    stopped_by_user: bool,
    lost_told: bool,
    /// The command is gone; if nobody tells how by then, nobody will.
    news_until: Option<Instant>,
}

pub(crate) fn own() -> i32 {
    process::getpid().as_raw_nonzero().get()
}

/// The moment, if there is one.
async fn until(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

impl Work {
    pub(crate) fn begin(
        staged: Staged,
        lease: String,
        grouping: Grouping,
        terminal: Option<Terminal>,
        signals: Signals,
        before: Vec<i32>,
    ) -> Self {
        let Staged { outer_pid, inner_pid, outer, inner, command, group } = staged;
        let mut work = Self {
            outer_pid,
            inner_pid,
            outer,
            inner,
            command,
            group,
            grouping,
            terminal,
            signals,
            before,
            frozen: false,
            stopped: Vec::new(),
            settle: None,
            terminal_taken: false,
            stopped_by_user: false,
            lost_told: false,
            news_until: None,
        };
        if let Some(group) = &work.group {
            let directory = group.directory().to_string_lossy().into_owned();
            work.tell(&ToGuard::Group(directory));
        }
        work.tell(&ToGuard::Work(command.0, command.1));
        work.keep(&lease);
        work.give_terminal();
        work.tell(&ToGuard::Go);
        // The stage stopped itself alone, before it became the command.
        let _ = tree::signal(command, Signal::CONT);
        work
    }

    fn tell(&mut self, what: &ToGuard) {
        self.outer.tell(what);
        self.inner.tell(what);
    }

    /// The text that a keeper gets when this process is gone; replaces the one before.
    pub fn keep(&mut self, lease: &str) {
        self.tell(&ToGuard::Keep(lease.replace('\n', " ")));
    }

    /// The process below which all of the work is: the inner guard, or who took its place.
    #[must_use]
    pub fn root_pid(&self) -> i32 {
        match (self.inner.open, self.outer.open) {
            (true, _) => self.inner_pid,
            (false, true) => self.outer_pid,
            (false, false) => own(),
        }
    }

    /// The path of the work's control group, if it has one.
    #[must_use]
    pub fn group_path(&self) -> Option<&str> {
        self.group.as_ref().map(Group::path)
    }

    /// Where the work lives, for people.
    pub fn place(&self) -> impl Display {
        match &self.group {
            Some(group) => format!("control group {}", group.path()),
            None => "a tree of processes, without a control group".to_owned(),
        }
    }

    /// Whether it stands still by our order.
    #[must_use]
    pub fn is_frozen(&self) -> bool {
        self.frozen
    }

    /// Lets all of it stand still. `long`: for more than a moment, so that the terminal is taken meanwhile and Ctrl-C reaches us.
    ///
    /// # Errors
    /// When a guard is gone, without whom it could stay so; or the kernel refuses.
    pub fn freeze(&mut self, long: bool) -> io::Result<()> {
        if !self.outer.open || !self.inner.open {
            return Err(io::Error::other("a guard is gone"));
        }
        if !self.frozen {
            match &self.group {
                Some(group) => group.freeze(true)?,
                None => {
                    let (roots, skip) = self.roots();
                    let still = tree::below(&roots).into_iter().filter(tree::Process::stopped);
                    let still = still.map(|process| process.pid).collect();
                    self.tell(&ToGuard::Freeze(still));
                    let still = tree::stop(&roots, &skip, &mut self.stopped);
                    self.settle = (!still).then(|| (Instant::now() + SETTLE_FIRST, SETTLE_FIRST));
                }
            }
            self.frozen = true;
        }
        if long && let (Some(terminal), Some(group)) = (&self.terminal, self.own_group()) {
            self.terminal_taken |= terminal.take_from(group);
        }
        Ok(())
    }

    /// Lets it go on.
    pub fn thaw(&mut self) {
        if std::mem::take(&mut self.terminal_taken) {
            // Before it runs: it must not find itself in the background.
            self.give_terminal();
        }
        if !std::mem::take(&mut self.frozen) {
            return;
        }
        self.settle = None;
        match &self.group {
            Some(group) => {
                // Refused only when the group is gone, and with it all that was frozen.
                let _ = group.freeze(false);
            }
            None => {
                tree::go_on(&mut self.stopped);
                self.tell(&ToGuard::Thaw);
            }
        }
    }

    /// Asks all of it to end (SIGTERM), and lets it go on for that.
    pub fn ask_to_end(&mut self) {
        self.thaw();
        let (roots, skip) = self.roots();
        tree::signal_below(&roots, &skip, Signal::TERM);
        // What the user stopped could not even hear it.
        tree::go_on_below(&roots, &skip);
    }

    /// Ends all of it at once (SIGKILL).
    pub fn kill(&mut self) {
        let by_group = self.group.as_ref().is_some_and(|group| group.kill().is_ok());
        if !by_group {
            let (roots, skip) = self.roots();
            tree::kill_below(&roots, &skip);
        }
        self.thaw();
    }

    /// Waits for what its owner must know. Signals are passed on meanwhile, and the terminal is handed over. Nothing is lost when
    /// this future is dropped.
    pub async fn next(&mut self) -> Happening {
        loop {
            let (late, settle) = (self.news_until, self.settle.map(|(at, _)| at));
            let happening = tokio::select! {
                said = self.inner.next(), if self.inner.open => self.of_guard(said),
                said = self.outer.next(), if self.outer.open => self.of_guard(said),
                signal = self.signals.next() => self.of_signal(signal),
                () = until(settle) => { self.settle(); None }
                () = until(late) => Some(self.over(Ended { how: How::Code(UNKNOWN_END), used: Used::default() })),
            };
            if let Some(happening) = happening {
                return happening;
            }
        }
    }

    /// Stops what of the tree was born while the rest was stopped.
    fn settle(&mut self) {
        let Some((_, pause)) = self.settle else { return };
        let (roots, skip) = self.roots();
        let still = tree::stop(&roots, &skip, &mut self.stopped);
        let pause = (pause * 2).min(SETTLE_MOST);
        self.settle = (!still).then(|| (Instant::now() + pause, pause));
    }

    fn of_guard(&mut self, said: Option<ToFront>) -> Option<Happening> {
        match said {
            Some(ToFront::Ended(pid, ended)) if pid == self.command.0 => Some(self.over(ended)),
            Some(ToFront::Stopped(pid, signal)) if pid == self.command.0 => {
                self.stopped(signal);
                None
            }
            Some(_) => None,
            None => {
                self.thaw();
                if !self.lives() {
                    self.news_until = Some(Instant::now() + NEWS_PATIENCE);
                }
                // With both gone the command is our own child, and may have ended in between.
                let ended = self.reap();
                let first = !std::mem::replace(&mut self.lost_told, true);
                ended.or(first.then_some(Happening::GuardLost))
            }
        }
    }

    fn lives(&self) -> bool {
        tree::look(self.command.0).is_some_and(|process| process.start == self.command.1)
    }

    /// Looks for children that ended: a guard, or the command when both guards are gone.
    fn reap(&mut self) -> Option<Happening> {
        let mut found = None;
        while let Ok(Some((pid, status))) = process::wait(WaitOptions::NOHANG | WaitOptions::UNTRACED) {
            if pid.as_raw_nonzero().get() != self.command.0 {
                continue;
            }
            let how = match (status.exit_status(), status.terminating_signal(), status.stopping_signal()) {
                (Some(code), ..) => How::Code(code),
                (None, Some(signal), _) => How::Signal(signal),
                (None, None, Some(signal)) => {
                    self.stopped(signal);
                    continue;
                }
                (None, None, None) => continue,
            };
            found = Some(self.over(Ended { how, used: used() }));
        }
        found
    }

    fn over(&mut self, ended: Ended) -> Happening {
        self.thaw();
        if let (Some(terminal), Some(group)) = (&self.terminal, self.own_group()) {
            terminal.take_from(group);
        }
        let group = self.group.as_ref().map(Group::used).unwrap_or_default();
        let used = Used {
            // The group knows also of what was not waited for.
            cpu_ms: group.cpu_ms.or(ended.used.cpu_ms),
            read_bytes: group.read_bytes.or(ended.used.read_bytes),
            written_bytes: group.written_bytes.or(ended.used.written_bytes),
        };
        Happening::Ended(Ended { used, ..ended })
    }

    fn of_signal(&mut self, signal: Passed) -> Option<Happening> {
        match signal.0 {
            Signal::CHILD => self.reap(),
            Signal::CONT => {
                self.resumed();
                None
            }
            other => {
                if signal.ends() || other == Signal::TSTP {
                    // Frozen, it could not act on it.
                    self.thaw();
                }
                match self.own_group() {
                    Some(group) => {
                        let _ = process::kill_process_group(group, other);
                    }
                    // In a group with us it has heard of the terminal's signals by itself.
                    None if signal.of_terminal() => {}
                    None => {
                        let (roots, skip) = self.roots();
                        tree::signal_below(&roots, &skip, other);
                    }
                }
                signal.ends().then_some(Happening::Ending(signal))
            }
        }
    }

    /// The command was stopped, by Ctrl-Z or for touching the terminal: so are we, as the shell expects.
    fn stopped(&mut self, signal: i32) {
        let of_terminal = [Signal::TTIN, Signal::TTOU].map(Signal::as_raw).contains(&signal);
        if signal != Signal::TSTP.as_raw() && !of_terminal {
            // By SIGSTOP: ourselves, or somebody who means the command alone.
            return;
        }
        let Some(terminal) = &self.terminal else { return };
        if of_terminal && terminal.is_ours() && self.own_group().is_some() && !self.frozen {
            // `fg` brought us to the front without a word.
            self.stopped_by_user = true;
            return self.resumed();
        }
        if let Some(group) = self.own_group() {
            terminal.take_from(group);
        }
        self.stopped_by_user = true;
        let _ = process::kill_process(process::getpid(), Signal::STOP);
        // Here we were continued.
        self.resumed();
    }

    fn resumed(&mut self) {
        if !self.frozen {
            self.give_terminal();
        }
        if std::mem::take(&mut self.stopped_by_user) {
            match self.own_group() {
                Some(group) => {
                    let _ = process::kill_process_group(group, Signal::CONT);
                }
                None => {
                    let _ = tree::signal(self.command, Signal::CONT);
                }
            }
        }
    }

    /// Gives the terminal to the command's group, if it is ours to give.
    fn give_terminal(&self) {
        if let (Some(terminal), Some(group)) = (&self.terminal, self.own_group())
            && terminal.is_ours()
        {
            terminal.give(group);
        }
    }

    /// The group of the command; `None` when it shares ours.
    fn own_group(&self) -> Option<Pid> {
        match self.grouping {
            Grouping::Own | Grouping::Session => Pid::from_raw(self.command.0),
            Grouping::Shared => None,
        }
    }

    /// Below which processes the work is, and which of those there are not the work.
    fn roots(&self) -> (Vec<i32>, Vec<i32>) {
        match (self.outer.open, self.inner.open) {
            (true, _) => (vec![self.outer_pid], vec![self.inner_pid]),
            (false, true) => (vec![self.inner_pid], Vec::new()),
            (false, false) => {
                let older = tree::below(&self.before).into_iter().map(|process| process.pid);
                (vec![own()], older.chain(self.before.iter().copied()).collect())
            }
        }
    }

    /// Ends the guards, when the lease is given back too. What the command left behind lives on.
    pub async fn close(mut self) {
        if let Some(group) = self.group.take() {
            // If something in it takes its time to end, a guard sees to it: nobody is to wait for that here.
            let _ = group.leave();
        }
        self.tell(&ToGuard::Bye);
        let gone = async {
            while self.inner.next().await.is_some() {}
            while self.outer.next().await.is_some() {}
        };
        let _ = tokio::time::timeout(BYE_PATIENCE, gone).await;
    }
}
