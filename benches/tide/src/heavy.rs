//! Heavy work of five kinds, each what a kind of real work does to a machine. It says `ready PID` when it begins, counts what it
//! does on lines `work N`, and ends after its time or at SIGTERM with `done N`.

use crate::burn::Burner;
use crate::machine;
use crate::options::Options;
use crate::plan::Random;
use anyhow::{Context as _, Result, bail};
use serde::{Deserialize, Serialize};
use std::fs::{File, OpenOptions};
use std::io::{Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::str::FromStr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// The first argument of this part, and of a child of the fork storm.
pub(crate) const PART: &str = "heavy";
pub(crate) const FORK_PART: &str = "fork-child";

/// The file that `cache` reads, in the folder of the experiment; the harness makes it.
pub(crate) const CACHE_FILE: &str = "cache.dat";

/// Files that heavy work leaves half written; the harness has them written before the next run.
pub(crate) const DIRTY_FILES: [&str; 2] = ["fsync.dat", "dirty.dat"];

const MIB: usize = 1024 * 1024;

/// Bytes of one write before each fsync, and of one read of `cache`.
const BLOCK: usize = 4 * MIB;

/// Where writing begins again at the file's start.
const WRITTEN_MAX: u64 = 256 * MIB as u64;

/// How often the count is told.
const TELL: Duration = Duration::from_millis(100);

/// A kind of heavy work.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    /// CPU alone, two threads: an encoder. Counts rounds of 100 000 steps.
    Spin,
    /// Copies in memory, two threads: memory bandwidth. Counts MiB.
    Stream,
    /// Blocks of 4 MiB, each with an fsync: a database load, a download. Counts MiB.
    Fsync,
    /// Processes that live for 5 to 20 ms of CPU: a compilation. Counts processes.
    Forks,
    /// Reads a large file in order and dirties a quarter as much: a backup. Counts MiB read.
    Cache,
}

impl Kind {
    pub(crate) const ALL: [Self; 5] = [Self::Spin, Self::Stream, Self::Fsync, Self::Forks, Self::Cache];

    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Spin => "spin",
            Self::Stream => "stream",
            Self::Fsync => "fsync",
            Self::Forks => "forks",
            Self::Cache => "cache",
        }
    }
}

impl FromStr for Kind {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        Self::ALL.into_iter().find(|kind| kind.word() == text).ok_or(())
    }
}

/// Shared by the threads of one work.
struct Shared {
    stop: AtomicBool,
    count: AtomicU64,
    folder: PathBuf,
}

impl Shared {
    fn goes_on(&self) -> bool {
        !self.stop.load(Ordering::Relaxed)
    }

    fn add(&self, count: u64) {
        self.count.fetch_add(count, Ordering::Relaxed);
    }
}

/// A thread's work, prepared: what it allocates and opens is there before the first line is told.
type Work = Box<dyn FnOnce(&Shared) -> Result<()> + Send>;

/// Does the work.
pub(crate) fn main(arguments: &[String]) -> Result<()> {
    let mut options = Options::parse(arguments, &[])?;
    let word = options.word().context("which kind of work?")?;
    let Ok(kind) = word.parse::<Kind>() else { bail!("no work {word:?}") };
    let seconds: f64 = options.needed("seconds")?;
    let threads = options.value("threads")?.unwrap_or(2);
    let stream_mib = options.value("stream-mib")?.unwrap_or(512);
    let folder: PathBuf = options.needed("folder")?;
    options.done()?;
    let works: Vec<Work> = match kind {
        Kind::Spin => (0..threads).map(|number| spin(number as u64)).collect(),
        Kind::Stream => (0..threads).map(|_| stream(stream_mib * MIB / threads)).collect(),
        Kind::Fsync => vec![fsync(&folder)?],
        Kind::Forks => (0..threads).map(|number| forks(number as u64)).collect(),
        Kind::Cache => vec![cache(&folder)?],
    };
    let shared = Shared { stop: AtomicBool::new(false), count: AtomicU64::new(0), folder };
    std::thread::scope(|scope| {
        let threads: Vec<_> = works.into_iter().map(|work| scope.spawn(|| work(&shared))).collect();
        let told = tell(&shared, seconds);
        shared.stop.store(true, Ordering::Relaxed);
        for thread in threads {
            thread.join().unwrap_or_else(|_| bail!("a thread broke off"))?;
        }
        told
    })?;
    say(&format!("done {}", shared.count.into_inner()))
}

/// Tells the count until the time is over or SIGTERM comes.
fn tell(shared: &Shared, seconds: f64) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        use tokio::signal::unix::{SignalKind, signal};
        let mut end = signal(SignalKind::terminate())?;
        say(&format!("ready {}", std::process::id()))?;
        let mut ticks = tokio::time::interval(TELL);
        // After a freeze one line is enough, not all that were missed.
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let over = machine::mono_ns() + (seconds * 1e9) as u64;
        while machine::mono_ns() < over {
            tokio::select! {
                _ = end.recv() => break,
                _ = ticks.tick() => say(&format!("work {}", shared.count.load(Ordering::Relaxed)))?,
            }
        }
        Ok(())
    })
}

fn say(line: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}")?;
    Ok(out.flush()?)
}

fn spin(seed: u64) -> Work {
    let burner = Burner::new();
    Box::new(move |shared| {
        let mut word = seed;
        while shared.goes_on() {
            word = std::hint::black_box(burner.burn(word, 100_000));
            shared.add(1);
        }
        Ok(())
    })
}

fn stream(bytes: usize) -> Work {
    // Half of it is copied to the other half, in pieces, so that the end is noticed soon.
    const PIECE: usize = 8 * MIB;
    let half = (bytes / 2).max(PIECE);
    let mut from = vec![1u8; half];
    let mut to = vec![2u8; half];
    Box::new(move |shared| {
        while shared.goes_on() {
            for (from, to) in from.chunks(PIECE).zip(to.chunks_mut(PIECE)) {
                to.copy_from_slice(from);
                shared.add((from.len() / MIB) as u64);
                if !shared.goes_on() {
                    break;
                }
            }
            std::mem::swap(&mut from, &mut to);
            std::hint::black_box(&to);
        }
        Ok(())
    })
}

fn fsync(folder: &Path) -> Result<Work> {
    let mut file = create(&folder.join("fsync.dat"))?;
    let block = random_block();
    Ok(Box::new(move |shared| {
        while shared.goes_on() {
            append(&mut file, &block)?;
            file.sync_all()?;
            shared.add((BLOCK / MIB) as u64);
        }
        Ok(())
    }))
}

fn forks(seed: u64) -> Work {
    use std::os::unix::process::ExitStatusExt as _;
    const TERM: i32 = rustix::process::Signal::TERM.as_raw();
    Box::new(move |shared| {
        let program = std::env::current_exe()?;
        let mut random = Random::new(seed);
        while shared.goes_on() {
            let cpu_ms = 5 + random.below(16);
            let mut child = Command::new(&program);
            child.args([FORK_PART, "--cpu-ms", &cpu_ms.to_string(), "--out"]);
            child.arg(shared.folder.join(format!("object-{seed}.dat"))).stdin(Stdio::null());
            let status = child.status()?;
            match status.signal() {
                // Who ends the whole group ends the children before this process knows of it.
                Some(TERM) => return Ok(()),
                _ if !status.success() => bail!("a child ended with {status}"),
                _ => {}
            }
            shared.add(1);
        }
        Ok(())
    })
}

/// A child of the fork storm: so much CPU, and a file as a compiler writes one.
pub(crate) fn fork_main(arguments: &[String]) -> Result<()> {
    let mut options = Options::parse(arguments, &[])?;
    let cpu_ns = options.needed::<u64>("cpu-ms")? * 1_000_000;
    let out: PathBuf = options.needed("out")?;
    options.done()?;
    let burner = Burner::new();
    let mut word = 0;
    while machine::thread_cpu_ns() < cpu_ns {
        word = burner.burn(word, 10_000);
    }
    std::fs::write(&out, word.to_le_bytes().repeat(8 * 1024))?;
    Ok(())
}

fn cache(folder: &Path) -> Result<Work> {
    let path = folder.join(CACHE_FILE);
    let mut file = File::open(&path).with_context(|| format!("open {}", path.display()))?;
    machine::forget(&file);
    let mut dirty = create(&folder.join("dirty.dat"))?;
    let (mut buffer, block) = (vec![0; BLOCK], random_block());
    Ok(Box::new(move |shared| {
        let mut blocks = 0u64;
        while shared.goes_on() {
            let read = file.read(&mut buffer)?;
            if read == 0 {
                // From the disk again, not from memory.
                machine::forget(&file);
                file.rewind()?;
                continue;
            }
            blocks += 1;
            if blocks.is_multiple_of(4) {
                append(&mut dirty, &block)?;
            }
            shared.add((read / MIB) as u64);
        }
        Ok(())
    }))
}

/// Opens a file for writing and keeps what it has: making it anew each time would measure the file system.
fn create(path: &Path) -> Result<File> {
    let mut options = OpenOptions::new();
    let opened = options.write(true).create(true).truncate(false).open(path);
    opened.with_context(|| format!("open {}", path.display()))
}

fn append(file: &mut File, block: &[u8]) -> Result<()> {
    file.write_all(block)?;
    if file.stream_position()? >= WRITTEN_MAX {
        file.rewind()?;
    }
    Ok(())
}

fn random_block() -> Vec<u8> {
    let mut random = Random::new(2);
    (0..BLOCK / 8).flat_map(|_| random.next().to_le_bytes()).collect()
}
