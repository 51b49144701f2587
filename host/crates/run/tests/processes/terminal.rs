//! On a terminal: Ctrl-C, Ctrl-Z and `fg`, typing, and who has the terminal while the command stands still.

use crate::stage::{Run, arguments, eventually, places};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use std::fs::{File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixListener;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

/// The near end of a terminal, and all that was written at its far end.
struct Screen {
    near: File,
    text: Arc<Mutex<String>>,
}

impl Screen {
    /// With the far end, for a process.
    fn open() -> (Self, File) {
        let near = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        grantpt(&near).unwrap();
        unlockpt(&near).unwrap();
        let name = ptsname(&near, Vec::new()).unwrap().into_string().unwrap();
        // Not ours: `setsid --ctty` makes it that of the shell.
        let far = OpenOptions::new().read(true).write(true).open(name).unwrap();
        let near = File::from(near);
        let text = Arc::new(Mutex::new(String::new()));
        let (mut reader, heard) = (near.try_clone().unwrap(), Arc::clone(&text));
        std::thread::spawn(move || {
            let mut bytes = [0; 1024];
            while let Ok(read @ 1..) = reader.read(&mut bytes) {
                heard.lock().unwrap().push_str(&String::from_utf8_lossy(&bytes[..read]));
            }
        });
        (Self { near, text }, far)
    }

    fn type_in(&mut self, keys: &str) {
        self.near.write_all(keys.as_bytes()).unwrap();
    }

    fn wait_for(&self, wanted: &str) {
        let seen = || self.text.lock().unwrap().clone();
        let found = std::panic::catch_unwind(|| {
            eventually(wanted, || seen().contains(wanted).then_some(()));
        });
        assert!(found.is_ok(), "{wanted:?} never came; the screen shows {:?}", seen());
    }
}

const ECHOES: &str =
    "trap 'echo heard-int; exit 9' INT; echo ready; while read line; do echo \"line $line\"; done";

/// A shell with job control runs the small program in its foreground, and continues it when it is stopped.
fn on_a_terminal(place: &str) -> (Screen, Run) {
    let folder = tempfile::tempdir().unwrap();
    let listener = UnixListener::bind(folder.path().join("socket")).unwrap();
    let (screen, far) = Screen::open();
    let script = "set -m; \"$@\"; code=$?; while [ $code -gt 140 ]; do echo was-stopped; fg; code=$?; done; echo code=$code";
    let shell = Command::new("setsid")
        .args(["--ctty", "--wait", "bash", "-c", script, "shell"])
        .arg(env!("CARGO_BIN_EXE_lowtide-run-try"))
        .args(arguments(place, folder.path(), &["sh", "-c", ECHOES]))
        .stdin(Stdio::from(far.try_clone().unwrap()))
        .stdout(Stdio::from(far.try_clone().unwrap()))
        .stderr(Stdio::from(far))
        .spawn()
        .unwrap();
    let (socket, _) = listener.accept().unwrap();
    let run = Run::begin(folder, shell, socket);
    screen.wait_for("ready");
    (screen, run)
}

#[test]
fn ctrl_z_stops_both_and_fg_continues_both() {
    for place in places() {
        let (mut screen, mut run) = on_a_terminal(place);
        screen.type_in("one\n");
        screen.wait_for("line one");
        screen.type_in("\x1a");
        screen.wait_for("was-stopped");
        screen.type_in("two\n");
        screen.wait_for("line two");
        screen.type_in("\x03");
        screen.wait_for("heard-int");
        screen.wait_for("code=9");
        assert_eq!(run.code(), 0);
    }
}

#[test]
fn ctrl_c_reaches_a_command_that_stands_still() {
    for place in places() {
        let (mut screen, mut run) = on_a_terminal(place);
        run.say("freeze", "frozen");
        run.wait_until_still();
        screen.type_in("\x03");
        run.hear("signal 2");
        screen.wait_for("code=9");
        assert_eq!(run.code(), 0);
    }
}

#[test]
fn after_a_thaw_the_command_has_the_terminal_again() {
    for place in places() {
        let (mut screen, mut run) = on_a_terminal(place);
        run.say("freeze", "frozen");
        run.wait_until_still();
        screen.type_in("typed before\n");
        run.say("thaw", "thawed");
        screen.wait_for("line typed before");
        screen.type_in("\x03");
        screen.wait_for("code=9");
        assert_eq!(run.code(), 0);
    }
}
