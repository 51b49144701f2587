//! `lowtide history info`: what is in the file.

use super::{DAY_MS, Failure, PlaceArgs, date, rfc3339};
use crate::commands::output::{complain, out, pretty};
use crate::exit::Exit;
use clap::Args;
use lowtide_store::history::Contents;
use serde_json::{Value, json};
use std::ffi::OsString;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// `lowtide history info`.
#[derive(Debug, Args)]
pub(crate) struct InfoArgs {
    #[command(flatten)]
    place: PlaceArgs,
    /// Answer in JSON
    #[arg(long)]
    json: bool,
}

/// What was found.
struct Found {
    path: PathBuf,
    contents: Contents,
    /// Bytes of the write-ahead log beside the file.
    log_bytes: u64,
    damaged_rows: usize,
}

pub(super) fn run(args: &InfoArgs) -> Exit {
    let found = match look(&args.place) {
        Ok(found) => found,
        Err(failure) => return failure.tell(args.json),
    };
    out(&if args.json { pretty(&found.document()) } else { found.describe() });
    if found.damaged_rows == 0 {
        return Exit::Ok;
    }
    complain(&format!("{}: what they held is left out of every answer", damaged(found.damaged_rows)));
    Exit::Findings
}

fn look(place: &PlaceArgs) -> Result<Found, Failure> {
    let (path, mut reader) = place.open()?;
    let contents = reader.contents()?;
    let log_bytes = std::fs::metadata(log_of(&path)).map_or(0, |log| log.len());
    Ok(Found { path, contents, log_bytes, damaged_rows: reader.damages().len() })
}

/// SQLite's name for the log of a file.
fn log_of(path: &Path) -> PathBuf {
    let mut name = OsString::from(path);
    name.push("-wal");
    name.into()
}

/// Rows that are not what was written.
pub(super) fn damaged(rows: usize) -> String {
    if rows == 1 {
        "1 row of the file is damaged".to_owned()
    } else {
        format!("{rows} rows of the file are damaged")
    }
}

/// Bytes for people.
pub(super) fn bytes(count: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "one digit behind the point is shown")]
    let count = count as f64;
    match count {
        ..1_048_576.0 => format!("{:.0} KiB", count / 1_024.0),
        1_048_576.0..1_073_741_824.0 => format!("{:.1} MiB", count / 1_048_576.0),
        _ => format!("{:.1} GiB", count / 1_073_741_824.0),
    }
}

impl Found {
    fn document(&self) -> Value {
        let Contents { size, .. } = self.contents;
        let midnight = |day: i64| rfc3339(day.saturating_mul(DAY_MS));
        json!({
            "file": self.path,
            "schema": self.contents.schema,
            "used_bytes": size.used_bytes,
            "file_bytes": size.file_bytes,
            "log_bytes": self.log_bytes,
            "series": size.series,
            "ticks": self.contents.ticks,
            "raw_since": size.raw_since_ms.map(rfc3339),
            "raw_until": self.contents.raw_until_ms.map(rfc3339),
            "segments": size.segments,
            "rollup_days": self.contents.rolled_days,
            "rollups_since": size.rolled_since_day.map(midnight),
            "rollups_until": self.contents.rolled_until_day.map(|day| midnight(day + 1)),
            "events": self.contents.events,
            "quiet_intervals": self.contents.quiet_intervals,
            "damaged_rows": self.damaged_rows,
        })
    }

    fn describe(&self) -> String {
        let Contents { size, .. } = self.contents;
        let samples = match size.raw_since_ms.zip(self.contents.raw_until_ms) {
            Some((since, until)) => format!(
                "{} ticks in {} segments, every one from {} to {}",
                self.contents.ticks,
                size.segments,
                rfc3339(since),
                rfc3339(until)
            ),
            None => "none yet".to_owned(),
        };
        let rollups = match size.rolled_since_day.zip(self.contents.rolled_until_day) {
            Some((since, until)) => format!(
                "15 min each, {} days from {} to {}",
                self.contents.rolled_days,
                date(since),
                date(until)
            ),
            None => "none yet: a day is rolled up when it is over".to_owned(),
        };
        let rows = [
            ("file", format!("{}, schema {}", self.path.display(), self.contents.schema)),
            (
                "size",
                format!(
                    "{} in use of {}, and {} in the log beside it",
                    bytes(size.used_bytes),
                    bytes(size.file_bytes),
                    bytes(self.log_bytes)
                ),
            ),
            ("series", size.series.to_string()),
            ("samples", samples),
            ("roll-ups", rollups),
            ("events", self.contents.events.to_string()),
            ("quiet intervals", self.contents.quiet_intervals.to_string()),
        ];
        let mut text = String::new();
        for (name, value) in rows {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{name:<16}{value}");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lowtide_store::history::HistorySize;

    fn found(contents: Contents) -> Found {
        Found { path: "/data/history.db".into(), contents, log_bytes: 4_096, damaged_rows: 0 }
    }

    #[test]
    fn what_is_in_the_file_is_told() {
        let size = HistorySize {
            used_bytes: 41 << 20,
            file_bytes: 3 << 30,
            series: 412,
            segments: 85,
            raw_since_ms: Some(1_797_120_002_500),
            rolled_since_day: Some(20_400),
        };
        let contents = Contents {
            size,
            schema: 2,
            raw_until_ms: Some(1_797_724_802_500),
            ticks: 120_960,
            rolled_until_day: Some(20_806),
            rolled_days: 365,
            events: 1_234,
            quiet_intervals: 56,
        };
        let found = found(contents);
        assert_eq!(
            found.describe(),
            "file            /data/history.db, schema 2\n\
             size            41.0 MiB in use of 3.0 GiB, and 4 KiB in the log beside it\n\
             series          412\n\
             samples         120960 ticks in 85 segments, every one from 2026-12-13T00:00:02.500Z to 2026-12-20T00:00:02.500Z\n\
             roll-ups        15 min each, 365 days from 2025-11-08 to 2026-12-19\n\
             events          1234\n\
             quiet intervals 56\n"
        );
        let document = found.document();
        assert_eq!(document["raw_since"], "2026-12-13T00:00:02.500Z");
        assert_eq!(document["rollups_until"], "2026-12-20T00:00:00.000Z");
        assert_eq!(document["used_bytes"], 41 << 20);
    }

    #[test]
    fn an_empty_file_says_so() {
        let found = found(Contents::default());
        assert!(found.describe().contains("samples         none yet\n"), "{}", found.describe());
        assert!(found.document()["raw_since"].is_null());
    }
}
