//! Looking at leased work: whether it is stopped, and, many times a millisecond, how much CPU it has used. Looking costs CPU, so the
//! quick way runs only during a step.

use crate::machine;
use anyhow::{Context as _, Result};
use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// Cgroups that `lowtide run` makes begin with this.
const GROUP_PREFIX: &str = "lowtide-run-";

/// The folder of the cgroup that `lowtide run` made for a process, if it did.
fn lease_group(pid: u32) -> Option<PathBuf> {
    let path = machine::cgroup_of(pid)?;
    let last = path.rsplit('/').next()?;
    last.starts_with(GROUP_PREFIX)
        .then(|| machine::cgroup_root().map(|root| root.join(path.trim_start_matches('/'))))?
}

/// Whether a process is stopped: by its cgroup, or by a signal.
fn is_stopped(pid: u32, group: Option<&Path>) -> bool {
    if let Some(group) = group
        && let Ok(events) = fs::read_to_string(group.join("cgroup.events"))
        && events.lines().any(|line| line == "frozen 1")
    {
        return true;
    }
    // The state stands after the name, which may hold anything.
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('T'))
}

/// How long and how often a process was stopped.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Stopped {
    pub(crate) looks: u32,
    pub(crate) stopped: u32,
    pub(crate) stops: u32,
}

impl Stopped {
    /// Share of the time, 0 to 1.
    pub(crate) fn share(self) -> f64 {
        f64::from(self.stopped) / f64::from(self.looks.max(1))
    }
}

/// Something that looks in a thread of its own until it is asked for what it saw.
#[derive(Debug)]
pub(crate) struct Watch<T> {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<T>,
}

impl<T: Send + 'static> Watch<T> {
    fn start(look: impl FnOnce(&AtomicBool) -> T + Send + 'static) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&stop);
        Self { stop, thread: std::thread::spawn(move || look(&seen)) }
    }

    /// Ends it.
    pub(crate) fn end(self) -> Result<T> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| anyhow::anyhow!("a watching thread broke off"))
    }
}

/// Looks fifty times a second whether a process is stopped.
pub(crate) fn stops(pid: u32) -> Watch<Stopped> {
    Watch::start(move |stop| {
        let (mut all, mut before) = (Stopped::default(), false);
        let group = lease_group(pid);
        while !stop.load(Ordering::Relaxed) {
            let now = is_stopped(pid, group.as_deref());
            all.looks += 1;
            all.stopped += u32::from(now);
            all.stops += u32::from(now && !before);
            before = now;
            machine::pause(Duration::from_millis(20));
        }
        all
    })
}

/// One quick look.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Look {
    /// `CLOCK_MONOTONIC`.
    pub(crate) at_ns: u64,
    /// CPU used so far.
    pub(crate) cpu_ns: u64,
    /// The order to freeze is written.
    pub(crate) freeze: bool,
}

/// Where the CPU use of leased work is read.
#[derive(Debug)]
enum Source {
    /// Its cgroup: `cpu.stat` and `cgroup.freeze`.
    Group { usage: File, freeze: File },
    /// Its threads: `schedstat`, in nanoseconds. There is no order to see.
    Threads(Vec<File>),
}

impl Source {
    fn open(pid: u32) -> Result<Self> {
        let open = |path: PathBuf| File::open(&path).with_context(|| format!("open {}", path.display()));
        if let Some(group) = lease_group(pid) {
            return Ok(Self::Group {
                usage: open(group.join("cpu.stat"))?,
                freeze: open(group.join("cgroup.freeze"))?,
            });
        }
        let tasks = PathBuf::from(format!("/proc/{pid}/task"));
        let threads = fs::read_dir(&tasks).with_context(|| format!("read {}", tasks.display()))?;
        Ok(Self::Threads(
            threads.flatten().map(|task| open(task.path().join("schedstat"))).collect::<Result<_>>()?,
        ))
    }

    fn look(&self) -> Option<Look> {
        let mut buffer = [0; 512];
        let (cpu_ns, freeze) = match self {
            Self::Group { usage, freeze } => {
                // The order first: what is used after it is then never taken for used before.
                let freeze = text(freeze, &mut [0; 8])?.starts_with('1');
                let usage = text(usage, &mut buffer)?.split_whitespace().nth(1)?.parse::<u64>().ok()?;
                (usage * 1000, freeze)
            }
            Self::Threads(threads) => {
                let used =
                    |file: &File| text(file, &mut [0; 64])?.split_whitespace().next()?.parse::<u64>().ok();
                (threads.iter().map(used).sum::<Option<u64>>()?, false)
            }
        };
        Some(Look { at_ns: machine::mono_ns(), cpu_ns, freeze })
    }
}

fn text(file: &File, buffer: &mut [u8]) -> Option<String> {
    let read = file.read_at(buffer, 0).ok()?;
    Some(String::from_utf8_lossy(buffer.get(..read)?).into_owned())
}

/// Looks twice a millisecond, above all other work, until it is ended or saw `most` looks.
pub(crate) fn quick(pid: u32, most: usize) -> Result<Watch<Vec<Look>>> {
    const EVERY_NS: u64 = 500_000;
    let source = Source::open(pid)?;
    Ok(Watch::start(move |stop| {
        raise_this_thread();
        let mut looks = Vec::with_capacity(most);
        let mut next = machine::mono_ns();
        while !stop.load(Ordering::Relaxed) && looks.len() < most {
            let Some(look) = source.look() else { break };
            looks.push(look);
            // From now on, when the last look was late: no burst of looks makes up for those that were missed.
            next = (next + EVERY_NS).max(look.at_ns);
            machine::wait_until(next);
        }
        looks
    }))
}

/// Real-time priority where that is allowed: a look must not wait behind the load that it looks at.
fn raise_this_thread() {
    let thread = rustix::thread::gettid().as_raw_nonzero().to_string();
    let mut command = Command::new("chrt");
    command.args(["--fifo", "--pid", "20", &thread]).stdout(Stdio::null()).stderr(Stdio::null());
    if !command.status().is_ok_and(|status| status.success()) {
        // The kernel takes a thread for a process here, as it does everywhere.
        let _ = rustix::process::setpriority_process(Some(rustix::thread::gettid()), -20);
    }
    let _ = rustix::thread::set_current_timer_slack(std::num::NonZeroU64::new(1));
}

/// CPU that a process has used, in nanoseconds; nothing when it is gone.
pub(crate) fn cpu_ns(pid: u32) -> Option<u64> {
    Source::open(pid).ok()?.look().map(|look| look.cpu_ns)
}
