//! One run of the small program, and looking at its processes from outside. Ends all of it when dropped.

use lowtide_clock as clock;
use lowtide_run::cgroup::Group;
use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// Long, because only a failure ever reaches it: the command runs only when nobody else wants the processor.
const PATIENCE: Duration = Duration::from_secs(120);

/// How long anything may stay frozen when somebody was killed. The promise is two seconds; these machines are busy.
const THAW_PATIENCE: Duration = Duration::from_secs(10);

/// Waits for a condition.
pub(crate) fn eventually<T>(what: &str, look: impl FnMut() -> Option<T>) -> T {
    eventually_within(PATIENCE, what, look)
}

fn eventually_within<T>(patience: Duration, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let begin = clock::mono();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(clock::mono().since(begin) < patience, "not within {} s: {what}", patience.as_secs());
        std::thread::park_timeout(Duration::from_millis(5));
    }
}

/// Where work can live on this machine.
pub(crate) fn places() -> Vec<&'static str> {
    let probe =
        Group::make(&format!("lowtide-run-probe-{}-{:?}", std::process::id(), std::thread::current().id()));
    match probe {
        Ok(group) => {
            assert!(group.leave());
            vec!["group", "tree"]
        }
        Err(error) => {
            println!("no control group can be made here: {error}");
            vec!["tree"]
        }
    }
}

/// How often what depends on chance is tried.
pub(crate) fn rounds() -> u32 {
    std::env::var("LOWTIDE_RUN_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(1)
}

/// The fields of `/proc/PID/stat` behind the name.
fn stat(pid: &str) -> Option<Vec<String>> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    Some(text.rsplit_once(')')?.1.split_whitespace().map(str::to_owned).collect())
}

/// The letter by which the kernel tells what a process does.
pub(crate) fn state(pid: &str) -> Option<char> {
    stat(pid)?.first()?.chars().next()
}

fn parent(pid: &str) -> Option<String> {
    stat(pid)?.get(1).cloned()
}

/// Sends a signal by name.
pub(crate) fn signal(pid: &str, name: &str) {
    let sent = Command::new("kill").args([&format!("-{name}"), pid]).status().unwrap();
    assert!(sent.success(), "kill -{name} {pid}");
}

/// One run.
pub(crate) struct Run {
    folder: tempfile::TempDir,
    front: Child,
    socket: UnixStream,
    answers: BufReader<UnixStream>,
    inner: String,
    outer: String,
    group: Option<PathBuf>,
    /// The processes when it was last looked.
    known: Vec<String>,
}

impl Run {
    pub(crate) fn start(place: &str, command: &[&str]) -> Self {
        Self::start_with(place, "", command)
    }

    /// `$DIR` in the command is the folder of this run.
    pub(crate) fn start_with(place: &str, stdin: &str, command: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(folder.path().join("socket")).unwrap();
        let mut front = Command::new(env!("CARGO_BIN_EXE_lowtide-run-try"))
            .args(arguments(place, folder.path(), command))
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        front.stdin.take().unwrap().write_all(stdin.as_bytes()).unwrap();
        let (socket, _) = listener.accept().unwrap();
        Self::begin(folder, front, socket)
    }

    /// With a program that was started already and has connected.
    pub(crate) fn begin(folder: tempfile::TempDir, front: Child, socket: UnixStream) -> Self {
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut answers = BufReader::new(socket.try_clone().unwrap());
        let mut line = String::new();
        answers.read_line(&mut line).unwrap();
        let words: Vec<&str> = line.split_whitespace().collect();
        let ["runs", inner, group] = words[..] else { panic!("{line:?}") };
        let inner = inner.to_owned();
        // A command that ended at once may have taken them along.
        let outer = parent(&inner).unwrap_or_default();
        let group = group.strip_prefix('/').map(|path| tree().join(path));
        Self { folder, front, socket, answers, inner, outer, group, known: Vec::new() }
    }

    /// Says a word to the program and waits for its answer.
    pub(crate) fn say(&mut self, word: &str, answer: &str) {
        writeln!(self.socket, "{word}").unwrap();
        self.hear(answer);
    }

    /// Waits for a line of the program.
    pub(crate) fn hear(&mut self, wanted: &str) {
        let mut line = String::new();
        while line.trim_end() != wanted {
            line.clear();
            assert!(self.answers.read_line(&mut line).unwrap() > 0, "it ended without saying {wanted:?}");
        }
    }

    /// The exit code of the program.
    pub(crate) fn code(&mut self) -> i32 {
        eventually("the program ended", || self.front.try_wait().unwrap()).code().unwrap()
    }

    pub(crate) fn has(&self, file: &str) -> bool {
        self.folder.path().join(file).exists()
    }

    pub(crate) fn read(&self, file: &str) -> String {
        fs::read_to_string(self.folder.path().join(file)).unwrap_or_default()
    }

    /// Lets the command come to its end.
    pub(crate) fn end(&self) {
        fs::write(self.folder.path().join("stop"), "").unwrap();
    }

    pub(crate) fn signal_front(&self, name: &str) {
        signal(&self.front.id().to_string(), name);
    }

    /// Kills the front (`w`), the inner guard (`i`), the outer guard (`o`).
    pub(crate) fn kill(&mut self, which: &str) {
        self.known = self.below();
        for letter in which.chars() {
            match letter {
                'w' => self.front.kill().unwrap(),
                'i' => signal(&self.inner, "KILL"),
                _ => signal(&self.outer, "KILL"),
            }
        }
    }

    /// All processes of the command, also those whose parents are gone.
    pub(crate) fn below(&self) -> Vec<String> {
        if let Some(group) = &self.group {
            let pids = fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
            return pids.lines().map(str::to_owned).collect();
        }
        let all: Vec<(String, String)> = fs::read_dir("/proc")
            .unwrap()
            .flatten()
            .filter_map(|entry| {
                let pid = entry.file_name().into_string().ok()?;
                pid.parse::<u32>().ok()?;
                Some((parent(&pid)?, pid))
            })
            .collect();
        let mut found = vec![self.inner.clone()];
        let mut at = 0;
        while let Some(one) = found.get(at).cloned() {
            found.extend(all.iter().filter(|(parent, _)| *parent == one).map(|(_, pid)| pid.clone()));
            at += 1;
        }
        found.remove(0);
        found
    }

    fn is_still(&self) -> bool {
        match &self.group {
            Some(group) => {
                fs::read_to_string(group.join("cgroup.events")).is_ok_and(|text| text.contains("frozen 1"))
            }
            // D: it started a program (vfork(2)), which was stopped before it could begin, and waits for that.
            None => self.below().iter().all(|pid| matches!(state(pid), None | Some('T' | 'Z' | 'D'))),
        }
    }

    /// Stop signals and freezing act when a process is next on its way to itself.
    pub(crate) fn wait_until_still(&self) {
        eventually("all of it stands still", || self.is_still().then_some(()));
    }

    /// Waits until nothing of it stands still any more; answers how long that took.
    pub(crate) fn wait_until_thawed(&self) -> Duration {
        let begin = clock::mono();
        eventually_within(THAW_PATIENCE, "it was thawed", || {
            let thawed = match &self.group {
                Some(_) => !self.is_still(),
                None => self.known.iter().all(|pid| state(pid) != Some('T')),
            };
            thawed.then_some(())
        });
        clock::mono().since(begin)
    }

    /// Processor ticks of each process of the command.
    pub(crate) fn ticks(&self) -> BTreeMap<String, u64> {
        let ticks = |pid: &String| {
            let stat = stat(pid)?;
            Some((pid.clone(), stat.get(11)?.parse::<u64>().ok()? + stat.get(12)?.parse::<u64>().ok()?))
        };
        self.below().iter().filter_map(ticks).collect()
    }

    pub(crate) fn nothing_left(&self) -> bool {
        match &self.group {
            Some(_) => self.below().is_empty(),
            None => self.known.iter().all(|pid| matches!(state(pid), None | Some('Z'))),
        }
    }

    /// Waits until the guards ended and the control group was removed.
    pub(crate) fn wait_until_gone(&mut self) {
        // Nobody else reaps it.
        let _ = self.front.wait();
        let over = |pid: &str| matches!(state(pid), None | Some('Z'));
        eventually("the guards ended", || (over(&self.inner) && over(&self.outer)).then_some(()));
        if let Some(group) = &self.group {
            eventually("the control group is gone", || (!group.exists()).then_some(()));
        }
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        let _ = fs::write(self.folder.path().join("stop"), "");
        let left = self.below();
        if let Some(group) = &self.group {
            let _ = fs::write(group.join("cgroup.freeze"), "0");
        }
        for pid in left {
            // One that ended meanwhile is as good.
            let _ = Command::new("kill").args(["-KILL", &pid]).stderr(Stdio::null()).status();
        }
        let _ = self.front.kill();
        let _ = self.front.wait();
    }
}

/// Arguments of the small program.
pub(crate) fn arguments(place: &str, folder: &Path, command: &[&str]) -> Vec<String> {
    let folder = folder.to_str().unwrap();
    let mut arguments = vec![place.to_owned(), format!("{folder}/socket")];
    arguments.extend(command.iter().map(|word| word.replace("$DIR", folder)));
    arguments
}

/// Where the tree of control groups is mounted.
fn tree() -> PathBuf {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    let line = mounts.lines().find(|line| line.split(' ').nth(2) == Some("cgroup2")).expect("a cgroup2 tree");
    PathBuf::from(line.split(' ').nth(1).unwrap())
}
