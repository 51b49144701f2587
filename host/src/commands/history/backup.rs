//! `lowtide history backup`: a copy of the file, made beside whoever writes it.

use super::info::bytes;
use super::{Failure, PlaceArgs, date, rfc3339};
use crate::commands::output::{out, pretty};
use crate::exit::Exit;
use clap::Args;
use lowtide_store::StoreError;
use lowtide_store::history::{Contents, HistoryReader, HistoryStore};
use serde_json::{Value, json};
use std::fs::File;
use std::path::{Path, PathBuf};

/// `lowtide history backup`.
#[derive(Debug, Args)]
pub(crate) struct BackupArgs {
    /// Where the copy goes; nothing is overwritten
    #[arg(value_name = "FILE")]
    to: PathBuf,
    #[command(flatten)]
    place: PlaceArgs,
    /// Print nothing, only exit
    #[arg(long, short, conflicts_with = "json")]
    quiet: bool,
    /// Answer in JSON
    #[arg(long)]
    json: bool,
}

/// The copy that was made.
#[derive(Debug)]
pub(super) struct Made {
    path: PathBuf,
    bytes: u64,
    contents: Contents,
}

pub(super) fn run(args: &BackupArgs) -> Exit {
    match make(args) {
        Ok(made) => {
            if args.json {
                out(&pretty(&made.document()));
            } else if !args.quiet {
                out(&made.describe());
            }
            Exit::Ok
        }
        Err(failure) => failure.tell(args.json),
    }
}

pub(super) fn make(args: &BackupArgs) -> Result<Made, Failure> {
    let refused = |text: String| Failure::new(Exit::CannotCreate, "cannot_create", text);
    // The whole path: SQLite would take some names for something else than a file in this folder.
    let path =
        std::path::absolute(&args.to).map_err(|error| refused(format!("{}: {error}", args.to.display())))?;
    if path.to_str().is_none() {
        let text = format!("{} is not utf-8: choose another name", path.display());
        return Err(Failure::new(Exit::Usage, "wrong_name", text));
    }
    let (from, _) = args.place.open()?;
    HistoryStore::backup(&from, &path).map_err(|error| refused(error.to_string()))?;
    match checked(&path) {
        Ok(made) => Ok(made),
        Err(why) => {
            let text =
                format!("{} was written and cannot be read again: {why}: check the disk", path.display());
            Err(Failure::new(Exit::Failed, "copy_unreadable", text))
        }
    }
}

/// Has the disk keep the copy, and reads what is in it.
fn checked(path: &Path) -> Result<Made, String> {
    let keep = |path: &Path| File::open(path).and_then(|file| file.sync_all().map(|()| file));
    let file = keep(path).map_err(|error| error.to_string())?;
    let bytes = file.metadata().map_err(|error| error.to_string())?.len();
    drop(file);
    // Some file systems know no such thing as a folder that is synced.
    let _ = path.parent().map(keep);
    let told = |error: StoreError| error.to_string();
    let contents = HistoryReader::open_file(path).and_then(|mut reader| reader.contents()).map_err(told)?;
    Ok(Made { path: path.to_owned(), bytes, contents })
}

impl Made {
    pub(super) fn document(&self) -> Value {
        let Contents { size, .. } = self.contents;
        json!({
            "file": self.path,
            "bytes": self.bytes,
            "schema": self.contents.schema,
            "raw_since": size.raw_since_ms.map(rfc3339),
            "raw_until": self.contents.raw_until_ms.map(rfc3339),
            "rollups_since": size.rolled_since_day.map(|day| rfc3339(day.saturating_mul(super::DAY_MS))),
        })
    }

    pub(super) fn describe(&self) -> String {
        let Contents { size, .. } = self.contents;
        let samples = match size.raw_since_ms.zip(self.contents.raw_until_ms) {
            Some((since, until)) => format!("samples from {} to {}", rfc3339(since), rfc3339(until)),
            None => "no samples yet".to_owned(),
        };
        let rollups = size.rolled_since_day.map(|day| format!(", roll-ups since {}", date(day)));
        format!("{}: {}, {samples}{}\n", self.path.display(), bytes(self.bytes), rollups.unwrap_or_default())
    }
}
