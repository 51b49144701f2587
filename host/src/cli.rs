//! The command line: what can be typed, and which command it starts.

use crate::client::Daemon;
use crate::commands::{
    self, addon::AddonCommand, history::HistoryCommand, lease::LeaseCommand, run::RunArgs,
    token::TokenCommand,
};
use crate::exit::Exit;
use clap::{Args, CommandFactory as _, Parser, Subcommand, ValueEnum};
use lowtide_addons::compile;
use std::path::PathBuf;
use std::process::ExitCode;

#[derive(Debug, Parser)]
#[command(
    name = "lowtide",
    version,
    about = "Measures this machine and says whether now is a quiet time",
    after_help = "Exit codes: 0 ok, 1 doctor found an error, an addon does not run, a lease is over or history has damaged rows, \
                  64 usage or no such addon or lease, 69 daemon unreachable, address taken or no history, 70 failed, \
                  73 a folder or file cannot be made, 75 not quiet or not granted now, 76 not a lowtide daemon, 77 a token is needed, 78 configuration wrong. \
                  `run` exits with the code of its command."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the daemon
    Serve(ServeArgs),
    /// Show the verdict, its reasons and the daemon's health
    Status(ClientArgs),
    /// Exit 0 when it is quiet and 75 when it is not: for scripts and systemd's `ExecCondition=`
    Check(CheckArgs),
    /// Look for what makes the answers worse on this machine, with a fix for each
    Doctor(DoctorArgs),
    /// Write addons, list them, switch them on and off, read their logs
    Addon {
        #[command(subcommand)]
        command: AddonCommand,
    },
    /// Ask for a quiet time for heavy work, give it back, and see who has it
    Lease {
        #[command(subcommand)]
        command: LeaseCommand,
    },
    /// Run a command while it is quiet: waits for a lease, holds it, and lets the command stand still when the machine is needed
    Run(RunArgs),
    /// Look into the history file, copy it, and take numbers out of it; the daemon may run meanwhile or not
    History {
        #[command(subcommand)]
        command: HistoryCommand,
    },
    /// Say who may ask the daemon: make tokens, list, rotate and revoke them
    Token {
        #[command(subcommand)]
        command: TokenCommand,
    },
    /// Check the configuration, or print one with all defaults
    Config {
        #[command(subcommand)]
        command: ConfigCommand,
    },
    /// Print completions for a shell
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
}

/// `lowtide serve`.
#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    #[command(flatten)]
    pub(crate) config: ConfigArgs,
    /// Address with port to listen on; port 0 takes a free one
    #[arg(long, value_name = "ADDR")]
    pub(crate) listen: Option<String>,
    /// Folder for everything that Lowtide keeps
    #[arg(long, value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,
    /// Folder with the addons
    #[arg(long, value_name = "DIR")]
    pub(crate) addons_dir: Option<PathBuf>,
}

/// Which configuration.
#[derive(Debug, Args)]
pub(crate) struct ConfigArgs {
    /// Configuration file; `conf.d/*.toml` beside it is read too
    #[arg(long = "config", value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
}

/// Which daemon, and how to answer.
#[derive(Debug, Args)]
pub(crate) struct ClientArgs {
    #[command(flatten)]
    daemon: Daemon,
    /// Answer in JSON
    #[arg(long)]
    pub(crate) json: bool,
}

impl ClientArgs {
    /// The daemon.
    pub(crate) fn daemon(&self) -> &Daemon {
        &self.daemon
    }
}

/// `lowtide check`.
#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    #[command(flatten)]
    pub(crate) client: ClientArgs,
    /// The busiest state that still passes
    #[arg(long, value_enum, default_value_t = AtMost::Quiet)]
    pub(crate) at_most: AtMost,
    /// What to answer when the daemon cannot be reached: `fail` exits 69, `pass` exits 0
    #[arg(long, value_enum, default_value_t = Unreachable::Fail)]
    pub(crate) on_unreachable: Unreachable,
    /// Print nothing, only exit
    #[arg(long, short, conflicts_with = "json")]
    pub(crate) quiet: bool,
}

/// The busiest state that passes a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum AtMost {
    /// Only QUIET.
    Quiet,
    /// QUIET and NORMAL.
    Normal,
}

/// Fail-closed or fail-open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Unreachable {
    /// Not knowing is a no.
    Fail,
    /// Not knowing is a yes.
    Pass,
}

/// `lowtide doctor`.
#[derive(Debug, Args)]
pub(crate) struct DoctorArgs {
    #[command(flatten)]
    pub(crate) config: ConfigArgs,
    #[command(flatten)]
    pub(crate) client: ClientArgs,
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// Report every mistake with its place, or say that there is none
    Check {
        #[command(flatten)]
        config: ConfigArgs,
        /// Answer in JSON
        #[arg(long)]
        json: bool,
    },
    /// Print a configuration file with every key at its default
    Default {
        /// Print the values in JSON
        #[arg(long)]
        json: bool,
    },
}

/// Reads the command line and runs the command.
#[must_use]
pub fn main() -> ExitCode {
    // The daemon starts itself with this word for each addon that it compiles: before all else, so that it costs little and no
    // help speaks of it.
    if std::env::args_os().nth(1).is_some_and(|word| word == compile::CHILD_ARGUMENT) {
        return compile::child_main();
    }
    // So does `lowtide run`, for the processes that it puts around its command.
    #[cfg(target_os = "linux")]
    if let Some(exit) = commands::run::hidden() {
        return exit;
    }
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version come as errors too; only those that go to stderr are mistakes.
            let exit = if error.use_stderr() { Exit::Usage } else { Exit::Ok };
            let _ = error.print();
            return exit.into();
        }
    };
    match cli.command {
        Command::Serve(args) => commands::serve::run(&args),
        Command::Status(args) => commands::status::run(&args),
        Command::Check(args) => commands::check::run(&args),
        Command::Doctor(args) => commands::doctor::run(&args),
        Command::Addon { command } => commands::addon::run(&command),
        Command::Lease { command } => commands::lease::run(&command),
        // Its codes are those of the command.
        Command::Run(args) => return commands::run::run(&args),
        Command::History { command } => commands::history::run(&command),
        Command::Token { command } => commands::token::run(&command),
        Command::Config { command: ConfigCommand::Check { config, json } } => {
            commands::config::check(&config, json)
        }
        Command::Config { command: ConfigCommand::Default { json } } => commands::config::default(json),
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut Cli::command(), "lowtide", &mut std::io::stdout());
            Exit::Ok
        }
    }
    .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }
}
