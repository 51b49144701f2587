//! The command line: what is printed, and the exit codes that scripts and systemd go by.

use crate::daemon::{Daemon, Guard, Launch, command, eventually, lines};
use serde_json::Value;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Output, Stdio};
use tempfile::TempDir;

/// What a command printed and how it ended.
pub(crate) struct Ended {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ended {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.out)
            .unwrap_or_else(|error| panic!("{error} in {:?} {:?}", self.out, self.err))
    }
}

pub(crate) fn run_in(folder: &Path, env: &[(&str, &str)], arguments: &[&str]) -> Ended {
    let output = command(folder).args(arguments).envs(env.iter().copied()).output().unwrap();
    let Output { status, stdout, stderr } = output;
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    let code = status.code().unwrap_or_else(|| panic!("{arguments:?} was ended by a signal: {status}"));
    Ended { code, out: text(stdout), err: text(stderr) }
}

fn run(arguments: &[&str]) -> Ended {
    let folder = tempfile::tempdir().unwrap();
    run_in(folder.path(), &[], arguments)
}

/// Nobody listens here: bound, then closed.
fn nobody() -> String {
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    format!("http://{address}")
}

fn configured(text: &str) -> (TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("my.toml");
    fs::write(&file, text).unwrap();
    let name = file.display().to_string();
    (folder, name)
}

#[test]
fn version_help_and_completions_are_printed() {
    let version = run(&["--version"]);
    assert_eq!(
        (version.code, version.out.as_str()),
        (0, concat!("lowtide ", env!("CARGO_PKG_VERSION"), "\n"))
    );
    let help = run(&["--help"]);
    assert_eq!(help.code, 0);
    for word in
        ["serve", "status", "check", "doctor", "addon", "lease", "history", "config", "completions", "75 not"]
    {
        assert!(help.out.contains(word), "{word} in {}", help.out);
    }
    for shell in ["bash", "zsh", "fish"] {
        let completions = run(&["completions", shell]);
        assert_eq!((completions.code, completions.err.as_str()), (0, ""));
        assert!(completions.out.contains("on-unreachable"), "{shell}");
    }
}

#[test]
fn what_cannot_be_understood_is_a_usage_error() {
    for arguments in [
        &[][..],
        &["sevre"],
        &["serve", "--prot", "1"],
        &["serve", "extra"],
        &["check", "--at-most", "panic"],
        &["check", "--quiet", "--json"],
        &["config"],
        &["completions", "tcsh9"],
        &["addon"],
        &["addon", "show"],
        &["addon", "logs", "a", "-n", "501"],
        &["addon", "list", "--url", "ftp://x"],
        &["history"],
        &["history", "backup"],
        &["history", "export", "--format", "openmetrics", "--step", "5m"],
        &["history", "export", "--range", "1h", "--from", "0"],
        // The word by which the daemon starts its compiler is not one for people: it is no command of the help.
        &["addon", "compile-addon"],
        &["status", "--url"],
        &["status", "--url", "ftp://x"],
        &["status", "--url", "127.0.0.1:4270"],
        &["status", "--url", "unix:relative.sock"],
        &["check", "--url", "not a url", "--on-unreachable", "pass"],
    ] {
        let ended = run(arguments);
        assert_eq!(ended.code, 64, "{arguments:?}: {} {}", ended.out, ended.err);
        assert!(!ended.err.is_empty() && ended.out.is_empty(), "{arguments:?}");
    }
    let folder = tempfile::tempdir().unwrap();
    let ended = run_in(folder.path(), &[("LOWTIDE_URL", "gopher://x")], &["status"]);
    assert_eq!(ended.code, 64, "{}", ended.err);
}

#[test]
fn a_daemon_that_is_down_fails_closed_unless_told_otherwise() {
    let url = nobody();
    for arguments in
        [&["status", "--url", &url][..], &["check", "--url", &url], &["check", "--json", "--url", &url]]
    {
        let ended = run(arguments);
        assert_eq!(ended.code, 69, "{arguments:?}: {}", ended.err);
        assert!(ended.err.contains(&url) && ended.err.contains("lowtide serve"), "{}", ended.err);
        if arguments.contains(&"--json") {
            let answer: serde_json::Value = serde_json::from_str(&ended.out).unwrap();
            assert_eq!(answer["error"]["code"], "unreachable");
        } else {
            assert_eq!(ended.out, "");
        }
    }
    // Who answers something else is not unreachable: that is no reason to pass.
    let daemon = Daemon::start();
    let elsewhere = format!("{}/elsewhere", daemon.url());
    let refused = run(&["check", "--url", &elsewhere, "--on-unreachable", "pass"]);
    assert_eq!(refused.code, 69, "{}", refused.err);
    let passed = run(&["check", "--url", &url, "--on-unreachable", "pass"]);
    assert_eq!((passed.code, passed.out.as_str()), (0, ""));
    assert!(passed.err.contains("pass"), "it must say that it does not know: {}", passed.err);
}

#[test]
fn something_else_that_answers_is_no_daemon() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let server = std::thread::spawn(move || {
        use std::io::{Read as _, Write as _};
        for body in ["hello", "hello"] {
            let (mut socket, _) = listener.accept().unwrap();
            let _ = socket.read(&mut [0; 4_096]);
            let head = format!(
                "HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
                body.len()
            );
            socket.write_all(head.as_bytes()).unwrap();
        }
    });
    let ended = run(&["status", "--url", &url]);
    assert_eq!(ended.code, 76, "{}", ended.err);
    assert!(ended.err.contains("not a lowtide daemon"), "{}", ended.err);
    // Whoever asks for fail-open means a daemon that is away, not a wrong address; either way it must not hang.
    let checked = run(&["check", "--url", &url]);
    assert_eq!(checked.code, 76, "{}", checked.err);
    server.join().unwrap();
}

#[test]
fn status_and_check_say_what_the_daemon_says() {
    let daemon = Daemon::start();
    let url = daemon.url();
    let status = run(&["status", "--url", &url]);
    assert_eq!(status.code, 0, "{}", status.err);
    assert!(status.out.contains("/100 since ") && status.out.contains("memory available"), "{}", status.out);
    assert!(status.out.contains(&url) && status.out.contains(env!("CARGO_PKG_VERSION")), "{}", status.out);
    let json = run(&["status", "--json", "--url", &format!("{url}/")]).json();
    assert!(
        json["quiet"]["score"].is_u64()
            && json["health"]["status"].is_string()
            && json["host"]["cpu"].is_object()
    );

    // It has just started, so its dwell of three minutes is not over: it is NORMAL or worse.
    let folder = tempfile::tempdir().unwrap();
    let checked = run_in(folder.path(), &[("LOWTIDE_URL", &url)], &["check"]);
    assert_eq!(checked.code, 75, "{}{}", checked.out, checked.err);
    let state = daemon.quiet()["state"].as_str().unwrap().to_owned();
    assert_ne!(state, "QUIET");
    let quiet = run(&["check", "-q", "--url", &url]);
    assert_eq!((quiet.code, quiet.out.as_str(), quiet.err.as_str()), (75, "", ""));
    let checked = run(&["check", "--json", "--url", &url]);
    let json = checked.json();
    assert_eq!((checked.code, &json["passes"]), (75, &Value::Bool(false)));
    assert!(json["reasons"].as_array().is_some_and(|reasons| !reasons.is_empty()), "{json}");
    let at_most = run(&["check", "--at-most", "normal", "--json", "--url", &url]);
    let passes = at_most.json()["state"] == "NORMAL";
    assert_eq!(at_most.code, if passes { 0 } else { 75 }, "{}", at_most.out);
}

#[test]
fn check_passes_when_it_is_quiet() {
    // Without dwell and without signals there is nothing against it but what the host must have.
    let off: String = lowtide_core::quiet::SIGNALS
        .iter()
        .map(|def| format!("[quiet.signals.{}]\nenabled = false\n", def.name))
        .collect();
    let config = format!(
        "[collectors]\ntick_seconds = 1\n[quiet]\ndwell_seconds = 0\nbusy_hold_seconds = 0\nmean_window_seconds = 1\n{off}"
    );
    let daemon = Launch::with(config).start();
    let ended = eventually("a check that passes", || {
        let ended = run(&["check", "--url", &daemon.url()]);
        (ended.code == 0).then_some(ended)
    });
    assert!(ended.out.starts_with("QUIET "), "{}", ended.out);
    let json = run(&["check", "--json", "--url", &daemon.url()]).json();
    assert_eq!((&json["passes"], &json["state"]), (&Value::Bool(true), &Value::from("QUIET")));
}

#[test]
fn doctor_looks_at_the_machine_with_or_without_a_daemon() {
    let daemon = Daemon::start();
    let with = run(&["doctor", "--json", "--url", &daemon.url()]);
    let json = with.json();
    let findings = json["findings"].as_array().unwrap();
    assert!(findings.len() > 4, "{json}");
    for finding in findings {
        let level = finding["level"].as_str().unwrap();
        assert!(["ok", "warn", "error"].contains(&level), "{finding}");
        assert!(level == "ok" || finding["fix"].is_string(), "a finding without a fix: {finding}");
    }
    let expected = i32::from(json["status"] == "error");
    assert_eq!(with.code, expected);
    let about = |json: &Value| {
        json["findings"].as_array().unwrap().iter().find(|one| one["check"] == "daemon").cloned()
    };
    assert_ne!(about(&json).unwrap()["level"], "error");
    let without = run(&["doctor", "--json", "--url", &nobody()]).json();
    assert_eq!(about(&without).unwrap()["level"], "warn");
    let text = run(&["doctor", "--url", &daemon.url()]);
    assert!(text.out.lines().count() >= findings.len(), "{}", text.out);
    let (_folder, file) = configured("[server]\nlisten = 5\n");
    let broken = run(&["doctor", "--config", &file, "--json", "--url", &daemon.url()]);
    assert_eq!(broken.code, 1, "a broken configuration is an error: {}", broken.out);
}

#[test]
fn the_default_configuration_is_valid_and_changes_nothing() {
    let printed = run(&["config", "default"]);
    assert_eq!(printed.code, 0);
    let (folder, file) = configured(&printed.out);
    let checked = run_in(folder.path(), &[], &["config", "check", "--config", &file, "--json"]);
    assert_eq!(checked.code, 0, "{}", checked.err);
    assert_eq!(checked.json(), serde_json::json!({ "valid": true, "files": [file], "errors": [] }));
    // Every line that is commented out is a setting, too: with all of them in, it must still be valid.
    let all: String = printed
        .out
        .lines()
        .map(|line| match line.strip_prefix("# ") {
            Some(rest)
                if rest
                    .split_once(" = ")
                    .is_some_and(|(key, _)| key.chars().all(|c| c.is_ascii_lowercase() || c == '_')) =>
            {
                format!("{rest}\n")
            }
            _ => format!("{line}\n"),
        })
        .collect();
    let (folder, file) = configured(&all);
    let checked = run_in(folder.path(), &[], &["config", "check", "--config", &file]);
    assert_eq!(checked.code, 0, "{}", checked.err);
    let none = run(&["config", "check"]);
    assert_eq!((none.code, none.out.as_str()), (0, "the configuration is valid (no file, defaults only)\n"));
}

#[test]
fn every_mistake_of_every_source_is_told_with_its_place() {
    let text = "[collectors]\ntick_seconds = 0\nproc_dir = \"relative\"\n\n[quiet]\ndwel_seconds = 5\nbusy_hold_seconds = \"long\"\n\n\
                [quiet.signals.cpu]\nleave = 0.9\nbusy = 0.5\n\n[server]\nlisten = [\"127.0.0.1:4270\", \"somewhere:80\"]\n";
    let (folder, file) = configured(text);
    fs::create_dir(folder.path().join("conf.d")).unwrap();
    let drop_in = folder.path().join("conf.d/20-more.toml");
    fs::write(&drop_in, "[log]\nlevel = \"loud\"\n").unwrap();
    fs::write(folder.path().join("conf.d/10-broken.toml"), "[log\nlevel = 1\n").unwrap();
    let env = [("LOWTIDE_COLLECTORS__API_SECONDS", "0"), ("LOWTIDE_QUIET__SIGNALS__CPU__QIUET", "0.1")];
    let expected = [
        format!("{file}:2:16: collectors.tick_seconds: 0 is out of range, allowed 1 to 60"),
        format!("{file}:3:12: collectors.proc_dir: \"relative\" is not an absolute path"),
        format!("{file}:6:1: quiet.dwel_seconds: unknown key (did you mean dwell_seconds), allowed in [quiet]:"),
        format!("{file}:7:21: quiet.busy_hold_seconds: expected a whole number, found a text"),
        format!("{file}:11:8: quiet.signals.cpu.busy: leave 0.9 and busy 0.5 are in the wrong order"),
        format!("{file}:14:29: server.listen[1]: \"somewhere:80\" is not an address with a port"),
        format!("{}:1:", folder.path().join("conf.d/10-broken.toml").display()),
        format!("{}:2:9: log.level: there is no \"loud\", allowed error, warn, info, debug, trace", drop_in.display()),
        "LOWTIDE_COLLECTORS__API_SECONDS: collectors.api_seconds: 0 is out of range, allowed 1 to 3600".to_owned(),
        "LOWTIDE_QUIET__SIGNALS__CPU__QIUET: unknown variable (did you mean LOWTIDE_QUIET__SIGNALS__CPU__QUIET)".to_owned(),
    ];
    let data = folder.path().join("data");
    let data = data.to_str().unwrap();
    for arguments in [
        &["config", "check", "--config", &file][..],
        &["serve", "--config", &file, "--listen", "127.0.0.1:0", "--data-dir", data],
    ] {
        let ended = run_in(folder.path(), &env, arguments);
        assert_eq!((ended.code, ended.out.as_str()), (78, ""), "{}", ended.err);
        let missing: Vec<&String> =
            expected.iter().filter(|line| !ended.err.contains(line.as_str())).collect();
        // The flag of `serve` stands over the wrong addresses of the file, but they are wrong all the same.
        assert!(missing.is_empty(), "{missing:#?} not in\n{}", ended.err);
        assert!(ended.err.contains("mistakes in the configuration; nothing was started"), "{}", ended.err);
    }
    assert!(!Path::new(data).exists(), "nothing was made");
    let json = run_in(folder.path(), &env, &["config", "check", "--json", "--config", &file]);
    let errors = json.json()["errors"].clone();
    assert_eq!(errors.as_array().unwrap().len(), expected.len(), "{errors:#}");
    assert_eq!(errors[0]["line"], 2);
    assert_eq!(errors[0]["key"], "collectors.tick_seconds");
}

#[test]
fn wrong_flags_and_missing_files_are_configuration_errors() {
    let folder = tempfile::tempdir().unwrap();
    let fifo = folder.path().join("fifo");
    rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    let fifo = fifo.to_str().unwrap();
    for (arguments, words) in [
        (&["serve", "--listen", "0.0.0.0:0"][..], "--listen: server.listen: 0.0.0.0:0 can be reached"),
        (&["serve", "--listen", "localhost"], "--listen: server.listen[0]: \"localhost\" is not an address"),
        (&["serve", "--listen", ""], "--listen: server.listen"),
        (&["serve", "--config", "/nonexistent/x.toml"], "/nonexistent/x.toml: does not exist"),
        (&["serve", "--config", "/"], "/: is a directory"),
        (&["serve", "--config", fifo], "is not a regular file"),
        (&["config", "check", "--config", "/dev/zero"], "/dev/zero: is larger than"),
    ] {
        let ended = run_in(folder.path(), &[], arguments);
        assert_eq!(ended.code, 78, "{arguments:?}: {}", ended.err);
        assert!(ended.err.contains(words), "{arguments:?}: {}", ended.err);
    }
}

#[test]
fn a_port_in_use_names_its_holder() {
    let daemon = Daemon::start();
    let folder = tempfile::tempdir().unwrap();
    let address = daemon.address.to_string();
    let ended = run_in(folder.path(), &[], &["serve", "--listen", &address, "--data-dir", "data"]);
    assert_eq!((ended.code, ended.out.as_str()), (69, ""), "{}", ended.err);
    let holder = format!("{address} is in use by process {} (lowtide)", daemon.pid());
    assert!(ended.err.contains(&holder) && ended.err.contains("--listen"), "{}", ended.err);
    // One of two that is taken is enough, and then nothing is served on the other either.
    let both = format!("127.0.0.1:0,{address}");
    let ended = run_in(folder.path(), &[("LOWTIDE_SERVER__LISTEN", &both)], &["serve", "--data-dir", "data"]);
    assert_eq!((ended.code, ended.out.as_str()), (69, ""), "{}", ended.err);
}

#[test]
fn a_data_folder_that_cannot_be_had_is_named() {
    let daemon = Daemon::start();
    let folder = tempfile::tempdir().unwrap();
    let taken = daemon.folder().join("data").display().to_string();
    let ended = run_in(folder.path(), &[], &["serve", "--listen", "127.0.0.1:0", "--data-dir", &taken]);
    assert_eq!((ended.code, ended.out.as_str()), (69, ""), "{}", ended.err);
    assert!(
        ended.err.contains(&taken) && ended.err.contains(&format!("process {}", daemon.pid())),
        "{}",
        ended.err
    );
    fs::write(folder.path().join("file"), "").unwrap();
    let under = folder.path().join("file/below").display().to_string();
    let ended = run_in(folder.path(), &[], &["serve", "--listen", "127.0.0.1:0", "--data-dir", &under]);
    assert_eq!((ended.code, ended.out.as_str()), (73, ""), "{}", ended.err);
    assert!(ended.err.contains(&under) && ended.err.contains("--data-dir"), "{}", ended.err);
}

#[test]
fn every_address_has_a_line_and_answers() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = command(folder.path());
    command.args(["serve", "--data-dir", "data"]).env("LOWTIDE_SERVER__LISTEN", "127.0.0.1:0,localhost:0");
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let lines = lines(BufReader::new(child.stdout.take().unwrap()));
    let _child = Guard(child);
    let mut addresses: Vec<std::net::SocketAddr> = Vec::new();
    for _ in 0..2 {
        let line = lines.recv_timeout(crate::daemon::PATIENCE).unwrap();
        let address = line.strip_prefix("listening on http://").unwrap_or_else(|| panic!("{line}"));
        addresses.push(address.parse().unwrap());
    }
    assert_ne!(addresses[0], addresses[1]);
    for address in addresses {
        assert!(address.ip().is_loopback() && address.port() != 0);
        eventually("an answer", || {
            crate::http::try_get(address, "/livez").filter(|answer| answer.status == 200)
        });
    }
    assert!(
        folder.path().join("data/lowtide.lock").is_file(),
        "a relative folder is that of whoever typed it"
    );
}

#[test]
fn addons_are_listed_and_an_unknown_one_is_named() {
    let daemon = Daemon::start();
    let url = daemon.url();
    let list = run(&["addon", "list", "--url", &url]);
    assert_eq!((list.code, list.err.as_str()), (0, ""));
    assert!(list.out.starts_with("no addons; put one into the addons folder"), "{}", list.out);
    let json = run(&["addon", "list", "--json", "--url", &url]).json();
    assert_eq!((&json["addons"], &json["summary"]["total"]), (&serde_json::json!([]), &Value::from(0)));
    for arguments in [
        &["addon", "show", "nope", "--url", &url][..],
        &["addon", "enable", "nope", "--url", &url],
        &["addon", "disable", "nope", "--json", "--url", &url],
        &["addon", "reload", "../x?y", "--url", &url],
        &["addon", "logs", "nope", "--follow", "--url", &url],
    ] {
        let ended = run(arguments);
        assert_eq!(ended.code, 64, "{arguments:?}: {} {}", ended.out, ended.err);
        assert!(ended.err.contains(&format!("there is no addon {:?}", arguments[2])), "{}", ended.err);
        if arguments.contains(&"--json") {
            assert_eq!(ended.json()["error"]["code"], "no_such_addon");
        }
    }
    let url = nobody();
    for arguments in [&["addon", "list", "--url", &url][..], &["addon", "enable", "x", "--url", &url]] {
        let ended = run(arguments);
        assert_eq!((ended.code, ended.out.as_str()), (69, ""), "{arguments:?}: {}", ended.err);
        assert!(ended.err.contains("lowtide serve"), "{}", ended.err);
    }
}

#[test]
fn a_file_that_is_no_addon_is_shown_with_what_to_do() {
    let launch = Launch::new();
    let folder = launch.folder().join("data/addons");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("broken.wasm"), "this is not wasm").unwrap();
    fs::write(folder.join("two words.wasm"), "").unwrap();
    let daemon = launch.start();
    let url = daemon.url();
    let listed = eventually("both are refused", || {
        let listed = run(&["addon", "list", "--url", &url]);
        (listed.out.matches("refused").count() == 2).then_some(listed)
    });
    assert!(listed.out.starts_with("ID "), "{}", listed.out);
    let lines: Vec<&str> = listed.out.lines().collect();
    let under = lines.iter().position(|line| line.starts_with("two words")).unwrap() + 1;
    assert!(lines[under].starts_with("  ") && lines[under].contains("rename the file"), "{}", listed.out);

    let shown = run(&["addon", "show", "two words.wasm", "--url", &url]);
    assert_eq!(shown.code, 0, "{}", shown.err);
    assert!(shown.out.starts_with("two words.wasm: refused since "), "{}", shown.out);
    assert_eq!(run(&["addon", "show", "broken", "--json", "--url", &url]).json()["state"], "refused");
    let logs = run(&["addon", "logs", "broken", "-n", "5", "--url", &url]);
    assert_eq!(logs.code, 0, "{}", logs.err);

    // It was done, but it does not run, and a script must notice.
    let reloaded = run(&["addon", "reload", "broken", "--url", &url]);
    assert_eq!(reloaded.code, 1, "{} {}", reloaded.out, reloaded.err);
    assert!(reloaded.out.starts_with("broken: refused since "), "{}", reloaded.out);
    let off = run(&["addon", "disable", "broken", "--url", &url]);
    assert_eq!(off.code, 0, "{} {}", off.out, off.err);
    assert!(off.out.starts_with("broken: disabled since "), "{}", off.out);

    let doctor = run(&["doctor", "--json", "--url", &url]).json();
    let about = doctor["findings"].as_array().unwrap().iter().find(|one| one["check"] == "addons").unwrap();
    assert!(about["message"].as_str().unwrap().contains("two words.wasm (refused: "), "{about}");
}

#[test]
fn history_is_told_copied_and_written_out_with_the_daemon_or_without() {
    let home = tempfile::tempdir().unwrap();
    let data = home.path().join("data");
    let place = ["--data-dir", "data"];
    let history = |arguments: &[&str]| {
        let arguments: Vec<&str> = ["history"].iter().chain(arguments).chain(&place).copied().collect();
        run_in(home.path(), &[], &arguments)
    };
    let missing = history(&["info", "--json"]);
    assert_eq!((missing.code, &missing.json()["error"]["code"]), (69, &"no_history".into()));
    assert!(missing.err.contains("/data is not there") && missing.err.contains("has the daemon run"));

    let config = "[collectors]\ntick_seconds = 1\n[history]\ninterval_seconds = 1\n";
    let daemon = Launch::with(config).data(&data).start();
    let info = eventually("some ticks are kept", || {
        let info = history(&["info", "--json"]);
        (info.code == 0 && info.json()["ticks"].as_u64() >= Some(8)).then(|| info.json())
    });
    assert_eq!((&info["schema"], &info["damaged_rows"]), (&2.into(), &0.into()));
    let made = history(&["backup", "copy.db"]);
    assert_eq!((made.code, made.err.as_str()), (0, ""));
    assert!(made.out.contains("copy.db: ") && made.out.contains("samples from"), "{}", made.out);
    assert_eq!(history(&["backup", "copy.db"]).code, 73);
    assert_eq!(history(&["backup", "other.db", "--quiet"]).out, "");

    // Whoever closed the pipe does not want to hear about it.
    let mut command = command(home.path());
    command.args(["history", "export", "--format", "jsonl"]).args(place);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::with_capacity(512, child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let row: Value = serde_json::from_str(&line).unwrap();
    assert!(row["time"].is_string() && row["value"].is_number(), "{row}");
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(0), &b""[..]));

    let written = history(&["export", "--metric", "host_cpu_usage_ratio", "--output", "cpu.csv"]);
    assert_eq!((written.code, written.out.as_str(), written.err.as_str()), (0, "", ""));
    drop(daemon);
    let cpu = history(&["export", "--metric", "host_cpu_usage_ratio"]);
    let before = fs::read_to_string(home.path().join("cpu.csv")).unwrap();
    assert!(before.lines().count() >= 8 && cpu.out.starts_with(&before), "{before} {}", cpu.out);
    let copied = run_in(home.path(), &[], &["history", "info", "--json", "--file", "copy.db"]);
    assert_eq!((copied.code, &copied.json()["raw_since"]), (0, &info["raw_since"]));
    assert_eq!(history(&["export", "--metric", "host_cpu_usage"]).code, 64);
    let nothing = history(&["export", "--to", "2020-01-01T00:00:00Z"]);
    assert_eq!((nothing.code, nothing.out.lines().count()), (0, 1));
    assert!(nothing.err.contains("the file has samples from"), "{}", nothing.err);
}
