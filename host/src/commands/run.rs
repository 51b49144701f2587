//! `lowtide run`: holds a lease around any command. It waits until the lease is granted, runs the command at the lowest class, and obeys what
//! the daemon says meanwhile. The processes are the crate `lowtide-run`'s affair; here is what is said to the daemon and to the user.

#[cfg(target_os = "linux")]
mod ask;
#[cfg(target_os = "linux")]
mod hold;
#[cfg(target_os = "linux")]
mod keeper;
#[cfg(target_os = "linux")]
mod link;
#[cfg(target_os = "linux")]
mod speaker;

use super::lease::Urgency;
use crate::client::Daemon;
use clap::{Args, ValueEnum};
use std::ffi::OsString;
use std::process::ExitCode;
use std::time::Duration;

/// `lowtide run`.
#[derive(Debug, Args)]
#[command(
    after_help = "Exits with the command's code, or 128 and the number of the signal that ended it. 64: usage, 69: no daemon, \
                        75: not granted, or taken back; 126: the command cannot be started, 127: there is no such command."
)]
pub(crate) struct RunArgs {
    /// Units of the machine's capacity, 1 to 100
    #[arg(long, default_value_t = 25, value_parser = clap::value_parser!(u32).range(1..=100))]
    cost: u32,
    /// How urgent; `high` need not wait until it is quiet
    #[arg(long, value_enum, default_value_t = Urgency::Low)]
    priority: Urgency,
    /// How long the command is expected to take: seconds, or a duration such as 2h
    #[arg(long, value_name = "DURATION", default_value = "10m", value_parser = lowtide_core::spans::parse)]
    duration: Duration,
    /// Run anyway by: a duration such as 6h, or a time
    #[arg(long, value_name = "WHEN")]
    deadline: Option<String>,
    /// Exit 75 if it is not granted at once
    #[arg(long)]
    no_wait: bool,
    /// What to do when no daemon answers at the start: `fail` exits 69, `run` runs the command at the lowest class
    #[arg(long, value_enum, default_value_t = OnUnreachable::Fail)]
    on_unreachable: OnUnreachable,
    /// How long the command may stand still at most, up to 20m; after that the lease is taken back
    #[arg(long, value_name = "DURATION", default_value = "10m", value_parser = freeze_time)]
    max_freeze: Duration,
    /// It must not stand still in the middle: when the machine is needed it is ended instead
    #[arg(long)]
    not_pausable: bool,
    /// It computes: only what matters to such work denies it
    #[arg(long)]
    cpu_heavy: bool,
    /// It writes to disks
    #[arg(long)]
    disk_write_heavy: bool,
    /// It sends or receives much
    #[arg(long)]
    network_heavy: bool,
    /// What the work is; without it, the command's file name
    #[arg(long, value_name = "NAME")]
    job: Option<String>,
    /// Who asks
    #[arg(long, value_name = "NAME")]
    holder: Option<String>,
    /// Names this request: asked again with the same key, it gets the same lease
    #[arg(long, value_name = "KEY")]
    key: Option<String>,
    /// Put LOWTIDE_LEASE_ID, LOWTIDE_FENCING_TOKEN and LOWTIDE_URL into the command's environment
    #[arg(long)]
    env: bool,
    /// Print nothing but errors
    #[arg(long, short, conflicts_with = "verbose")]
    quiet: bool,
    /// Tell also what the command is made to do, and what of the lowest class could not be set
    #[arg(long, short)]
    verbose: bool,
    #[command(flatten)]
    daemon: Daemon,
    /// The command with its arguments
    #[arg(value_name = "COMMAND", required = true, trailing_var_arg = true)]
    command: Vec<OsString>,
}

/// Fail-closed or fail-open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum OnUnreachable {
    /// Without a daemon nothing runs
    Fail,
    /// Without a daemon it runs, without a lease
    Run,
}

fn freeze_time(text: &str) -> Result<Duration, String> {
    let time = lowtide_core::spans::parse(text).map_err(|error| error.to_string())?;
    let most = lowtide_core::limits::FREEZE_MAX;
    if time > most { Err(format!("must be at most {} s", most.as_secs())) } else { Ok(time) }
}

/// The processes around the command are this program too, started with words that no help speaks of.
#[cfg(target_os = "linux")]
pub(crate) fn hidden() -> Option<ExitCode> {
    let mut arguments = std::env::args_os().skip(1);
    let word = arguments.next()?;
    if word == lowtide_run::STAGE_ARGUMENT {
        Some(lowtide_run::stage_main(arguments))
    } else if word == lowtide_run::GUARD_ARGUMENT {
        Some(lowtide_run::guard_main(arguments, &mut keeper::DaemonKeeper))
    } else {
        None
    }
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn run(_: &RunArgs) -> ExitCode {
    super::output::complain(
        "`lowtide run` needs Linux; elsewhere use `lowtide lease request` and `release` in a script",
    );
    crate::exit::Exit::Unavailable.into()
}

#[cfg(target_os = "linux")]
pub(crate) fn run(args: &RunArgs) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    match runtime {
        Ok(runtime) => {
            let exit = runtime.block_on(foreground(args));
            // A heartbeat may still be held back by the daemon.
            runtime.shutdown_background();
            exit
        }
        Err(error) => {
            super::output::complain(&format!("cannot begin: {error}"));
            crate::exit::Exit::Failed.into()
        }
    }
}

#[cfg(target_os = "linux")]
async fn foreground(args: &RunArgs) -> ExitCode {
    let mut speaker = speaker::Speaker::new(args.quiet, args.verbose);
    let mut signals = match lowtide_run::Signals::new() {
        Ok(signals) => signals,
        Err(error) => {
            super::output::complain(&format!("cannot listen to signals: {error}"));
            return crate::exit::Exit::Failed.into();
        }
    };
    let wish = match ask::Wish::of(args) {
        Ok(wish) => wish,
        Err(error) => return super::status::fail(&error, false).into(),
    };
    let granted = match ask::ask(args, &wish, &mut signals, &mut speaker).await {
        Ok(granted) => granted,
        Err(exit) => return exit,
    };
    hold::hold(args, wish, granted, signals, speaker).await
}

/// The job's name: the file name of the command, made fit for the daemon's rule. Never its arguments, which may hold secrets.
#[cfg(target_os = "linux")]
fn job_of(command: &std::ffi::OsStr) -> String {
    let name = std::path::Path::new(command).file_name().unwrap_or_default().to_string_lossy();
    let fits = |c: char| if c.is_ascii_alphanumeric() || "._:@-".contains(c) { c } else { '-' };
    let name: String = name.chars().map(fits).take(lowtide_core::limits::LEASE_NAME_BYTES_MAX).collect();
    let name = name.trim_start_matches(|c: char| !c.is_ascii_alphanumeric());
    if name.is_empty() { "command".to_owned() } else { name.to_owned() }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn the_job_is_named_after_the_file_alone() {
        let table = [
            ("/usr/bin/restic", "restic"),
            ("./-x y", "x-y"),
            ("..", "command"),
            ("déjà", "d-j-"),
            ("[", "command"),
            ("g++", "g--"),
        ];
        for (command, job) in table {
            assert_eq!(job_of(command.as_ref()), job, "{command}");
        }
        assert_eq!(job_of("a".repeat(99).as_ref()).len(), 64);
    }

    #[test]
    fn it_may_stand_still_for_so_long_only() {
        assert_eq!(freeze_time("20m"), Ok(Duration::from_secs(1_200)));
        assert_eq!(freeze_time("90"), Ok(Duration::from_secs(90)));
        assert!(freeze_time("21m").is_err() && freeze_time("x").is_err());
    }
}
