//! `lowtide history`: the file that history is kept in, for whoever looks after it. It is read as it is, beside a daemon that writes it or
//! without one; nothing here changes it. A file for each subcommand.

mod backup;
mod export;
mod info;
mod openmetrics;
mod parse;
mod table;

use crate::cli::ConfigArgs;
use crate::commands::output::{complain, out, pretty};
use crate::config::{self, FlagOverride, HISTORY_FILE, Sources};
use crate::exit::Exit;
use clap::{Args, Subcommand};
use lowtide_store::StoreError;
use lowtide_store::history::HistoryReader;
use serde_json::json;
use std::fs::File;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

/// What can be done with the file.
#[derive(Debug, Subcommand)]
pub(crate) enum HistoryCommand {
    /// Write a copy of the file to a place where no file is. The copy is whole, whatever the daemon writes meanwhile
    Backup(backup::BackupArgs),
    /// Tell what is in the file: from when, how much, how many
    Info(info::InfoArgs),
    /// Write series out as CSV, JSON lines or OpenMetrics, to stdout or a file
    #[command(after_long_help = export::MORE_HELP)]
    Export(export::ExportArgs),
}

/// Which file.
#[derive(Debug, Args)]
pub(crate) struct PlaceArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// Folder for everything that Lowtide keeps, where it is not the configured one
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// A history file anywhere, such as a backup
    #[arg(long = "file", value_name = "FILE", conflicts_with_all = ["file", "data_dir"])]
    elsewhere: Option<PathBuf>,
}

pub(crate) fn run(command: &HistoryCommand) -> Exit {
    match command {
        HistoryCommand::Backup(args) => backup::run(args),
        HistoryCommand::Info(args) => info::run(args),
        HistoryCommand::Export(args) => export::run(args),
    }
}

/// Why a command did not do what it was asked for.
#[derive(Debug, PartialEq, Eq)]
struct Failure {
    exit: Exit,
    /// For programs.
    code: &'static str,
    /// For people.
    text: String,
}

impl Failure {
    fn new(exit: Exit, code: &'static str, text: String) -> Self {
        Self { exit, code, text }
    }

    /// Says why, for a program as JSON on stdout too.
    fn tell(&self, as_json: bool) -> Exit {
        if as_json {
            out(&pretty(&json!({ "error": { "code": self.code, "message": self.text } })));
        }
        complain(&self.text);
        self.exit
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        let code = match error {
            StoreError::Newer { .. } => "newer_schema",
            _ => "history_unavailable",
        };
        Self::new(Exit::Unavailable, code, error.to_string())
    }
}

impl PlaceArgs {
    /// The file, and a reader of it.
    fn open(&self) -> Result<(PathBuf, HistoryReader), Failure> {
        let (path, is_kept) = self.path()?;
        match File::open(&path).and_then(|file| file.metadata()) {
            Ok(file) if file.is_file() => {}
            Ok(_) => {
                let text = format!("{} is not a file", path.display());
                return Err(Failure::new(Exit::Unavailable, "no_history", text));
            }
            Err(error) => return Err(self.unreadable(&path, is_kept, &error)),
        }
        let reader = HistoryReader::open_file(&path)?;
        Ok((path, reader))
    }

    /// The file, and whether the configuration has the daemon write it.
    fn path(&self) -> Result<(PathBuf, bool), Failure> {
        if let Some(path) = &self.elsewhere {
            return Ok((path.clone(), true));
        }
        let flag = self.data_dir.as_deref().map(|folder| FlagOverride {
            key: "storage.data_dir".to_owned(),
            value: std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned()).display().to_string(),
            flag: "--data-dir".to_owned(),
        });
        let sources = Sources::from_process(self.config.file.clone(), flag.into_iter().collect());
        let loaded = config::load(&sources).map_err(|errors| {
            let first = errors.first().map(ToString::to_string).unwrap_or_default();
            let text = match errors.len() {
                0 | 1 => first,
                mistakes => format!("{first}; `lowtide config check` tells all {mistakes} mistakes"),
            };
            Failure::new(Exit::Config, "configuration_wrong", text)
        })?;
        Ok((loaded.data_dir.join(HISTORY_FILE), loaded.config.history.enabled))
    }

    fn unreadable(&self, path: &Path, is_kept: bool, error: &io::Error) -> Failure {
        let shown = path.display();
        let text = match error.kind() {
            ErrorKind::NotFound if self.elsewhere.is_some() => format!("{shown} does not exist"),
            ErrorKind::NotFound => {
                let folder = path.parent().unwrap_or(path);
                let there = if folder.is_dir() { "holds no" } else { "is not there, so there is no" };
                let why = if is_kept { "has the daemon run?" } else { "history.enabled is false." };
                format!(
                    "the data folder {} {there} {HISTORY_FILE}: {why} Another folder is named with --data-dir or --config",
                    folder.display()
                )
            }
            ErrorKind::PermissionDenied => {
                format!("{shown} may not be read: run this as the user of the daemon")
            }
            _ => format!("{shown} cannot be read: {error}"),
        };
        let code = if error.kind() == ErrorKind::NotFound { "no_history" } else { "history_unavailable" };
        Failure::new(Exit::Unavailable, code, text)
    }
}

/// A moment as RFC 3339 in UTC, with milliseconds.
fn rfc3339(unix_ms: i64) -> String {
    let time = jiff::Timestamp::from_millisecond(unix_ms).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    format!("{time:.3}")
}

/// A day (UTC) that is counted from 1970 on.
fn date(day: i64) -> String {
    rfc3339(day.saturating_mul(DAY_MS)).chars().take(10).collect()
}

/// Milliseconds of a day.
const DAY_MS: i64 = 86_400_000;

#[cfg(test)]
mod tests;
