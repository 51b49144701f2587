//! The crate without a lease, for its own tests: runs a command, and freezes and thaws it by words that come over a socket.
//! `lowtide-run-try any|group|scope|tree SOCKET COMMAND...`; the words are `freeze`, `thaw`, `end` and `kill`.

fn main() -> std::process::ExitCode {
    #[cfg(target_os = "linux")]
    return linux::main();
    #[cfg(not(target_os = "linux"))]
    return std::process::ExitCode::FAILURE;
}

#[cfg(target_os = "linux")]
mod linux {
    use lowtide_run::{
        Ended, GUARD_ARGUMENT, Happening, Keeper, Options, Order, STAGE_ARGUMENT, Signals, Where, guard_main,
        stage_main, start,
    };
    use std::ffi::OsString;
    use std::io::Write as _;
    use std::process::ExitCode;
    use std::time::Duration;
    use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};

    /// Writes into a file what a keeper of a lease would tell the daemon.
    struct Notes;

    impl Keeper for Notes {
        fn beat(&mut self, lease: &str) -> Order {
            note(lease, "beat");
            Order::GoOn(Duration::from_millis(100))
        }

        fn give_back(&mut self, lease: &str, ended: &Ended) {
            note(lease, &format!("ended {}", ended.how.exit_code()));
        }
    }

    fn note(file: &str, what: &str) {
        if let Ok(mut file) = std::fs::OpenOptions::new().create(true).append(true).open(file) {
            let _ = writeln!(file, "{what}");
        }
    }

    pub(super) fn main() -> ExitCode {
        let mut arguments = std::env::args_os().skip(1);
        let first = arguments.next().unwrap_or_default();
        if first == GUARD_ARGUMENT {
            return guard_main(arguments, &mut Notes);
        }
        if first == STAGE_ARGUMENT {
            return stage_main(arguments);
        }
        let place = match first.to_str() {
            Some("any") => Where::Any,
            Some("group") => Where::Group,
            Some("scope") => Where::Scope,
            Some("tree") => Where::Tree,
            _ => return ExitCode::from(64),
        };
        let Some(socket) = arguments.next() else { return ExitCode::from(64) };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let Ok(runtime) = runtime else { return ExitCode::from(70) };
        runtime.block_on(run(place, socket, arguments.collect())).unwrap_or(ExitCode::from(70))
    }

    async fn run(place: Where, socket: OsString, command: Vec<OsString>) -> Option<ExitCode> {
        let signals = Signals::new().ok()?;
        let stream = tokio::net::UnixStream::connect(&socket).await.ok()?;
        let (words, mut answers) = stream.into_split();
        let mut words = BufReader::new(words).lines();
        let options = Options {
            command,
            environment: Vec::new(),
            name: format!("lowtide-run-try-{}", std::process::id()),
            place,
            verbose: false,
            lease: format!("{}.notes", socket.to_string_lossy()),
        };
        let mut work = start(&options, signals).await.ok()?;
        let told = format!("runs {} {}\n", work.root_pid(), work.group_path().unwrap_or("-"));
        answers.write_all(told.as_bytes()).await.ok()?;
        let mut hears = true;
        let ended = loop {
            tokio::select! {
                happening = work.next() => match happening {
                    Happening::Ended(ended) => break ended,
                    Happening::GuardLost => answers.write_all(b"lost\n").await.ok()?,
                    Happening::Ending(signal) => {
                        let _ = answers.write_all(format!("signal {}\n", signal.number()).as_bytes()).await;
                    }
                },
                word = words.next_line(), if hears => {
                    let answer = match word.ok().flatten().as_deref() {
                        Some("freeze") => work.freeze(true).map_or("refused\n", |()| "frozen\n"),
                        Some("thaw") => { work.thaw(); "thawed\n" }
                        Some("end") => { work.ask_to_end(); "ending\n" }
                        Some("kill") => { work.kill(); "killed\n" }
                        Some(_) => "what\n",
                        None => { hears = false; continue }
                    };
                    let _ = answers.write_all(answer.as_bytes()).await;
                }
            }
        };
        let used = format!("used {:?}\n", ended.used);
        let _ = answers.write_all(used.as_bytes()).await;
        work.close().await;
        Some(ExitCode::from(ended.how.exit_code()))
    }
}
