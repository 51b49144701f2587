//! Starts the real program in a folder of its own and ends it again. It knows its own child only: what another test started is
//! never touched. Every wait is for a condition and has a deadline that only a failure reaches.

use crate::http::{self, Answer};
use lowtide_clock as clock;
use serde_json::Value;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::BufReader;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;
use tempfile::TempDir;

/// What any wait may take on a machine in trouble.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// The program under test.
pub(crate) fn program() -> PathBuf {
    if let Some(file) = std::env::var_os("LOWTIDE_TEST_BIN") {
        return file.into();
    }
    // Beside `deps/`, where cargo puts it when it is built together with this test.
    let own = std::env::current_exe().unwrap();
    let beside = own.parent().and_then(Path::parent).map(|folder| folder.join("lowtide"));
    match beside.filter(|file| file.is_file()) {
        Some(file) => file,
        None => {
            panic!("there is no program to test: run `cargo xtask test`, or name one in LOWTIDE_TEST_BIN")
        }
    }
}

/// The program with nothing of this user's environment, at home in `folder`.
pub(crate) fn command(folder: &Path) -> Command {
    let mut command = Command::new(program());
    command.env_clear().current_dir(folder).env("HOME", folder);
    command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command.env("XDG_CONFIG_HOME", folder.join("config")).env("XDG_STATE_HOME", folder.join("state"));
    // Comes before /etc/lowtide, which a machine may have.
    command.env("CONFIGURATION_DIRECTORY", folder.join("etc")).stdin(Stdio::null());
    command
}

/// Looks until there is something to see.
pub(crate) fn eventually<T>(what: &str, look: impl FnMut() -> Option<T>) -> T {
    eventually_within(PATIENCE, what, look)
}

/// As [`eventually`], with a deadline of its own.
pub(crate) fn eventually_within<T>(deadline: Duration, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let end = clock::mono().plus(deadline);
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(clock::mono() < end, "waited {} s in vain: {what}", deadline.as_secs());
        pause();
    }
}

/// Lets others run between two looks at a condition.
pub(crate) fn pause() {
    std::thread::park_timeout(Duration::from_millis(20));
}

/// How a daemon is to be started.
pub(crate) struct Launch {
    folder: TempDir,
    config: String,
    env: Vec<(&'static str, OsString)>,
    data: Option<PathBuf>,
}

impl Launch {
    /// With a tick of one second, so that tests need not wait for two.
    pub(crate) fn new() -> Self {
        Self::with("[collectors]\ntick_seconds = 1\n")
    }

    /// With this configuration file.
    pub(crate) fn with(config: impl Into<String>) -> Self {
        Self { folder: tempfile::tempdir().unwrap(), config: config.into(), env: Vec::new(), data: None }
    }

    pub(crate) fn env(mut self, name: &'static str, value: impl Into<OsString>) -> Self {
        self.env.push((name, value.into()));
        self
    }

    /// With a data folder that outlives it.
    pub(crate) fn data(mut self, folder: &Path) -> Self {
        self.data = Some(folder.to_owned());
        self
    }

    /// The folder that this daemon will live in.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn start(self) -> Daemon {
        let daemon = self.start_unready();
        eventually("the daemon is ready", || {
            (http::try_get(daemon.address, "/readyz")?.status == 200).then_some(())
        });
        daemon
    }

    /// Starts and waits for the first line only.
    pub(crate) fn start_unready(self) -> Daemon {
        let folder = self.folder;
        fs::create_dir_all(folder.path().join("etc")).unwrap();
        let config = folder.path().join("etc/config.toml");
        fs::write(&config, &self.config).unwrap();
        let mut command = command(folder.path());
        command.args(["serve", "--listen", "127.0.0.1:0", "--config"]).arg(&config);
        let data = self.data.unwrap_or_else(|| folder.path().join("data"));
        command.arg("--data-dir").arg(data).envs(self.env);
        let log = File::create(folder.path().join("stderr")).unwrap();
        let mut child = command.stdout(Stdio::piped()).stderr(log).spawn().unwrap();
        let lines = lines(BufReader::new(child.stdout.take().unwrap()));
        let first = lines.recv_timeout(PATIENCE).unwrap_or_default();
        let address = first.strip_prefix("listening on http://").and_then(|text| text.parse().ok());
        let Some(address) = address else {
            let _ = child.kill();
            let _ = child.wait();
            panic!("first line {first:?}; stderr:\n{}", log_of(&folder));
        };
        Daemon { child, address, folder, _lines: lines }
    }
}

fn log_of(folder: &TempDir) -> String {
    fs::read_to_string(folder.path().join("stderr")).unwrap_or_default()
}

/// Lines as they come; the reading thread ends with the stream.
pub(crate) fn lines(stream: impl std::io::BufRead + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = sync_channel(1_024);
    std::thread::spawn(move || {
        for line in stream.lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    receiver
}

/// A running daemon; ended when dropped.
pub(crate) struct Daemon {
    child: Child,
    pub(crate) address: SocketAddr,
    folder: TempDir,
    // Keeps the other end of its stdout open.
    _lines: Receiver<String>,
}

impl Daemon {
    pub(crate) fn start() -> Self {
        Launch::new().start()
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn config_file(&self) -> PathBuf {
        self.folder().join("etc/config.toml")
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Lets it write no file any more, or again: what a full disk is, to one process. Only the soft limit, so that it can be lifted.
    pub(crate) fn may_write_files(&self, may: bool) {
        use rustix::process::{Pid, Resource, Rlimit, prlimit};
        let pid = i32::try_from(self.pid()).ok().and_then(Pid::from_raw);
        let current = if may { None } else { Some(0) };
        prlimit(pid, Resource::Fsize, Rlimit { current, maximum: None }).unwrap();
    }

    /// What it has logged so far.
    pub(crate) fn log(&self) -> String {
        log_of(&self.folder)
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        http::get(self.address, path)
    }

    /// A document that must be there. A machine that held the daemon up for three ticks is answered by `stale`, as it should be: then it
    /// is asked again.
    pub(crate) fn json(&self, path: &str) -> Value {
        let answer = eventually("an answer that is not stale", || {
            let answer = self.get(path);
            let stale = answer.status == 503 && answer.problem()["code"] == "stale";
            (!stale).then_some(answer)
        });
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        answer.json()
    }

    pub(crate) fn quiet(&self) -> Value {
        self.json("/api/system-stats/quiet")
    }

    pub(crate) fn current(&self) -> Value {
        self.json("/api/system-stats/current")
    }

    pub(crate) fn sequence(&self) -> u64 {
        self.quiet()["sequence"].as_u64().unwrap()
    }

    /// Waits until this many ticks were made since the start.
    pub(crate) fn wait_for_tick(&self, number: u64) {
        eventually("enough ticks", || (self.sequence() >= number).then_some(()));
    }

    /// What `/debug/collectors` says of one collector.
    pub(crate) fn collector(&self, name: &str) -> Value {
        let all = self.json("/api/system-stats/debug/collectors");
        let found = all["collectors"].as_array().unwrap().iter().find(|one| one["name"] == name);
        found.cloned().unwrap_or_else(|| panic!("no collector {name}"))
    }

    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        let pid = i32::try_from(self.pid()).ok().and_then(rustix::process::Pid::from_raw).unwrap();
        rustix::process::kill_process(pid, signal).unwrap();
    }

    /// How it ended, when it has.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    /// Waits for its end.
    pub(crate) fn wait_for_end(&mut self) -> ExitStatus {
        eventually("the daemon ends", || self.child.try_wait().unwrap())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- log of the daemon at {}\n{}---", self.address, self.log());
        }
    }
}

/// Any other child, ended and waited for when dropped.
pub(crate) struct Guard(pub(crate) Child);

impl Drop for Guard {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
