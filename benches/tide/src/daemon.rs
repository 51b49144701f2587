//! The daemon beside the experiment: started on a free port with folders of its own, for all arms alike, so that its own cost is in
//! every figure. Its configuration makes QUIET come soon; nothing else of it differs from a user's.

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

/// What is not as a user has it: the runs are seconds apart, and nothing would be granted within minutes of the last one.
pub(crate) const CONFIG: &str = "\
[quiet]
dwell_seconds = 2
mean_window_seconds = 2
busy_hold_seconds = 2
panic_hold_seconds = 2

[leases]
cool_down_seconds = 2
settle_seconds = 0
";

/// What comes behind it for the steps of load: work goes on soon after a step.
pub(crate) const MORE_FOR_STEPS: &str = "resume_after_seconds = 1\n";

/// The running daemon.
#[derive(Debug)]
pub(crate) struct Daemon {
    process: std::process::Child,
    address: String,
}

/// An event of the audit log, as far as it is looked at.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Event {
    pub(crate) sequence: u64,
    at: String,
    pub(crate) event: String,
}

impl Event {
    /// When, in nanoseconds since 1970; it is told to the millisecond.
    pub(crate) fn wall_ns(&self) -> Result<i128> {
        let at: jiff::Timestamp = self.at.parse().with_context(|| format!("a time {:?}", self.at))?;
        Ok(at.as_nanosecond())
    }
}

#[derive(Deserialize)]
struct Events {
    events: Vec<Event>,
}

impl Daemon {
    /// Starts it with its files in `folder`.
    pub(crate) fn start(program: &Path, folder: &Path, config: &str) -> Result<Self> {
        fs::create_dir_all(folder).with_context(|| format!("make {}", folder.display()))?;
        // Requests of a run that was broken off would stand before those of this one.
        match fs::remove_dir_all(folder.join("data")) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
        let file = folder.join("config.toml");
        fs::write(&file, config)?;
        let log = fs::File::create(folder.join("daemon.log"))?;
        let mut command = with_end_of_starter(program);
        command.args(["serve", "--listen", "127.0.0.1:0", "--config"]).arg(&file);
        command.arg("--data-dir").arg(folder.join("data")).arg("--addons-dir").arg(folder.join("addons"));
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("LOWTIDE_") {
                command.env_remove(name);
            }
        }
        let mut process = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .with_context(|| format!("start {}", program.display()))?;
        let mut line = String::new();
        BufReader::new(process.stdout.take().context("no output")?).read_line(&mut line)?;
        let address = line.trim().rsplit_once("http://").map(|(_, address)| address.to_owned());
        let daemon = Self { process, address: address.unwrap_or_default() };
        if daemon.address.is_empty() {
            // What it says about itself is a line or two.
            let said = fs::read_to_string(folder.join("daemon.log")).unwrap_or_default();
            bail!("the daemon did not tell its address: {}", said.trim());
        }
        let ready = crate::machine::wait_for(Duration::from_secs(30), || daemon.get("/readyz").ok());
        ready.context("the daemon is not ready after 30 s")?;
        Ok(daemon)
    }

    /// Where it answers.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The events after a number, oldest first, at most a thousand.
    pub(crate) fn events(&self, after: u64) -> Result<Vec<Event>> {
        let body = self.get(&format!("/api/scheduler/events?after={after}&limit=1000"))?;
        Ok(serde_json::from_str::<Events>(&body)?.events)
    }

    /// The number of the newest event, 0 before the first.
    pub(crate) fn newest_event(&self) -> Result<u64> {
        let body = self.get("/api/scheduler/events?limit=1")?;
        Ok(serde_json::from_str::<Events>(&body)?.events.last().map_or(0, |event| event.sequence))
    }

    fn get(&self, path: &str) -> Result<String> {
        let mut stream = TcpStream::connect(&self.address)?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        write!(stream, "GET {path} HTTP/1.0\r\nhost: {}\r\n\r\n", self.address)?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let (head, body) = answer.split_once("\r\n\r\n").context("not an answer")?;
        let status = head.split_whitespace().nth(1).unwrap_or_default();
        if status != "200" {
            bail!("the daemon answers {path} with {status}");
        }
        Ok(body.to_owned())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A command that is told to end when this process is gone, where there is the tool for it: the daemon is not this program, and
/// cannot ask for it itself.
fn with_end_of_starter(program: &Path) -> Command {
    let mut probe = Command::new("setpriv");
    probe.args(["--pdeathsig", "TERM", "true"]).stdout(Stdio::null()).stderr(Stdio::null());
    if probe.status().is_ok_and(|status| status.success()) {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "TERM"]).arg(program);
        command
    } else {
        Command::new(program)
    }
}
