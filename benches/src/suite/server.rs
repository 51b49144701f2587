//! Other processes that are measured from outside: the daemon, the server of fixed bodies, peers. What they use is read from
//! /proc; a process ends when its handle is dropped.

pub(crate) mod fixed;

use super::http::load;
use super::measure::pause;
use anyhow::{Context as _, Result, bail};
use lowtide_clock as clock;
use std::ffi::OsString;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tempfile::TempDir;

/// How long a program may take to answer.
const START_MAX: Duration = Duration::from_secs(20);

/// A running program.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    address: SocketAddr,
    // Removed when the handle is dropped.
    folder: Option<TempDir>,
}

/// What a process uses, since its start.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Usage {
    pub(crate) cpu: Duration,
    /// How often one of its threads was woken and waited again.
    pub(crate) waits: u64,
    pub(crate) threads: usize,
}

/// Memory of a process in bytes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Memory {
    pub(crate) resident: f64,
    /// The part of it that is not file pages, which others may share.
    pub(crate) anonymous: f64,
    /// Shared pages counted by their share.
    pub(crate) proportional: f64,
}

impl Server {
    /// The daemon at defaults, on a free port, with folders of its own and no configuration but that.
    pub(crate) fn daemon() -> Result<Self> {
        Self::daemon_with_addons(Path::new("/nonexistent"))
    }

    /// The same with a folder of addons.
    pub(crate) fn daemon_with_addons(addons: &Path) -> Result<Self> {
        Self::daemon_in(tempfile::tempdir()?, addons, "")
    }

    /// The daemon with a configuration, its folders beside this program: on a disk, where a temporary folder may be memory.
    pub(crate) fn daemon_on_disk(config: &str) -> Result<Self> {
        Self::daemon_in(folder_on_disk()?, Path::new("/nonexistent"), config)
    }

    /// Ends a daemon as a crash would, and starts it again on what it left.
    pub(crate) fn crashed(mut self, config: &str) -> Result<Self> {
        let folder = self.folder.take().context("not a daemon")?;
        drop(self);
        Self::daemon_in(folder, Path::new("/nonexistent"), config)
    }

    /// Stops a daemon with a folder of addons and starts it again in the same data folder.
    pub(crate) fn restarted(mut self, addons: &Path) -> Result<Self> {
        let folder = self.folder.take().context("not a daemon")?;
        drop(self);
        Self::daemon_in(folder, addons, "")
    }

    /// The daemon with a configuration, in a folder: its own is `data` in it.
    pub(crate) fn daemon_in(folder: TempDir, addons: &Path, configuration: &str) -> Result<Self> {
        let config = folder.path().join("config.toml");
        fs::write(&config, configuration)?;
        let mut command = Command::new(daemon_program()?);
        command.args(["serve", "--listen", "127.0.0.1:0", "--config"]).arg(&config);
        command.arg("--data-dir").arg(folder.path().join("data"));
        command.arg("--addons-dir").arg(addons);
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("LOWTIDE_") {
                command.env_remove(name);
            }
        }
        let mut daemon = Self::announced(command)?;
        daemon.folder = Some(folder);
        daemon.wait_until_ready("/readyz")?;
        Ok(daemon)
    }

    /// Starts a program whose first line names its address.
    pub(crate) fn announced(mut command: Command) -> Result<Self> {
        let shown = command.get_program().to_string_lossy().into_owned();
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .with_context(|| format!("start {shown}"))?;
        let mut line = String::new();
        BufReader::new(child.stdout.take().context("no output")?).read_line(&mut line)?;
        let address = line.trim().rsplit("http://").next().and_then(|text| text.parse().ok());
        match address {
            Some(address) => Ok(Self { child, address, folder: None }),
            None => {
                let _ = child.kill();
                let status = child.wait()?;
                bail!("{shown} did not tell its address ({status})")
            }
        }
    }

    /// Starts a program that was told its address.
    pub(crate) fn told(mut command: Command, address: SocketAddr) -> Result<Self> {
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let shown = command.get_program().to_string_lossy().into_owned();
        let child = command.spawn().with_context(|| format!("start {shown}"))?;
        Ok(Self { child, address, folder: None })
    }

    pub(crate) fn wait_until_ready(&self, path: &str) -> Result<()> {
        let end = clock::mono().plus(START_MAX);
        while !self.get(path, "").is_ok_and(|answer| answer.status == 200) {
            if clock::mono() >= end {
                bail!("{} does not answer {path}", self.address);
            }
            pause(Duration::from_millis(50));
        }
        Ok(())
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Asks once, on a connection of its own. `headers` are lines with their ends.
    pub(crate) fn get(&self, path: &str, headers: &str) -> Result<load::Answer> {
        load::runtime()?.block_on(load::get(self.address, path, headers))
    }

    /// Sums over the threads: the process's own clock is not readable from outside at this resolution.
    pub(crate) fn usage(&self) -> Result<Usage> {
        let mut usage = Usage::default();
        for task in fs::read_dir(self.proc("task"))? {
            let task = task?.path();
            let spent = fs::read_to_string(task.join("schedstat"))?;
            let nanos = spent.split_whitespace().next().and_then(|word| word.parse().ok());
            usage.cpu += Duration::from_nanos(nanos.context("schedstat without a number")?);
            usage.waits += field(&task.join("status"), "voluntary_ctxt_switches:")? as u64;
            usage.threads += 1;
        }
        Ok(usage)
    }

    pub(crate) fn cpu(&self) -> Result<Duration> {
        Ok(self.usage()?.cpu)
    }

    pub(crate) fn memory(&self) -> Result<Memory> {
        let (status, smaps) = (self.proc("status"), self.proc("smaps_rollup"));
        Ok(Memory {
            resident: field(&status, "VmRSS:")? * 1024.0,
            anonymous: field(&status, "RssAnon:")? * 1024.0,
            proportional: field(&smaps, "Pss:")? * 1024.0,
        })
    }

    fn proc(&self, name: &str) -> PathBuf {
        Path::new("/proc").join(self.child.id().to_string()).join(name)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A folder beside this program.
pub(crate) fn folder_on_disk() -> Result<TempDir> {
    let here = std::env::current_exe()?;
    Ok(tempfile::tempdir_in(here.parent().context("this program lies in no folder")?)?)
}

/// The number behind a word at the start of a line.
fn field(path: &Path, name: &str) -> Result<f64> {
    let text = fs::read_to_string(path)?;
    let value =
        text.lines().find_map(|line| line.strip_prefix(name)?.split_whitespace().next()?.parse().ok());
    value.with_context(|| format!("no {name} in {}", path.display()))
}

/// The daemon to measure: the one named by a variable, else the release build beside this program, brought up to date first so
/// that an old one is never measured.
fn daemon_program() -> Result<PathBuf> {
    if let Some(named) = std::env::var_os("LOWTIDE_BENCH_BIN") {
        return Ok(named.into());
    }
    let here = std::env::current_exe()?;
    let target = here.ancestors().nth(2).context("this program lies in no target folder")?;
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("no workspace")?;
    let status = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo")))
        .args(["build", "--release", "--locked", "--quiet", "-p", "lowtide"])
        .env("CARGO_TARGET_DIR", target)
        .current_dir(root)
        .status()?;
    if !status.success() {
        bail!("the daemon does not build; LOWTIDE_BENCH_BIN names another one");
    }
    Ok(target.join("release/lowtide"))
}
