//! `lowtide history export`: series of the file as text, one after the other. Never more than the columns of one series are in memory (with
//! OpenMetrics, those of one histogram).

use super::openmetrics::{self, OpenMetrics};
use super::table::{Shape, Table};
use super::{DAY_MS, Failure, PlaceArgs, info, parse, rfc3339};
use crate::commands::output::complain;
use crate::exit::Exit;
use clap::{Args, ValueEnum};
use lowtide_clock as clock;
use lowtide_core::history::{Axis, Cells, SeriesInfo};
use lowtide_core::units::WallTime;
use lowtide_core::window::{Agg, Selector, TimeRange};
use lowtide_store::StoreError;
use lowtide_store::history::{Contents, HistoryReader, Plan, Reading, SeriesId, TooFine};
use std::fs::{self, OpenOptions};
use std::io::{self, BufWriter, ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::Duration;

/// Below the long help.
pub(super) const MORE_HELP: &str = "\
Rows are ordered by series, then by time (UTC). Where a series has no sample there is no row.

Without --step every recorded tick is written as it was measured; of a counter that is its count. With --step there is a number for each \
aggregate; of a counter they are its increase per second, but for `last`, which is its newest count. An aggregate that a cell does not \
have is empty in CSV and null in JSON.

What is older than the days of which every tick is kept is there in steps of 15 min: ask with --step 15m or a multiple of it.

Examples:
  lowtide history export --metric host_cpu_usage_ratio --range 7d > cpu.csv
  lowtide history export --group host --range 30d --step 1h --agg avg,p95 --format jsonl
  lowtide history export --format openmetrics --range 7d --output history.om
  promtool tsdb create-blocks-from openmetrics history.om /var/lib/prometheus";

/// Time that is written when none is asked for.
const RANGE_DEFAULT: Duration = Duration::from_secs(86_400);

/// Cells of one series: more than a year has minutes, or a week seconds. Each takes 8 bytes for each aggregate while a series is written.
const CELLS_MAX: i64 = 1_000_000;

/// Series that are read from the tail together: it is gone through once for all of them, and has two hours of each as a rule.
const SERIES_AT_ONCE: usize = 64;

/// Names that are told to who asked for one that there is not.
const NAMES_SHOWN: usize = 4;

/// Bytes that are written at once.
const BUFFER_BYTES: usize = 1 << 16;

/// `lowtide history export`.
#[derive(Debug, Args)]
pub(crate) struct ExportArgs {
    #[command(flatten)]
    pub(super) place: PlaceArgs,
    /// What is written
    #[arg(long, value_enum, default_value_t = Format::Csv)]
    format: Format,
    /// Only series of this group, such as host
    #[arg(long, value_name = "GROUP")]
    group: Option<String>,
    /// Only metrics of this name, with or without `lowtide_`; may be given several times, or several joined by commas
    #[arg(long = "metric", value_name = "NAME", value_delimiter = ',', value_parser = parse::metric)]
    metrics: Vec<String>,
    /// Only series that have all of these labels
    #[arg(long, value_name = "KEY=VALUE,...", value_delimiter = ',', value_parser = parse::label)]
    labels: Vec<(String, String)>,
    /// How far back from now, or from --to [default: 24h]
    #[arg(long, value_name = "DURATION", value_parser = parse::duration, conflicts_with = "from")]
    range: Option<Duration>,
    /// First moment: RFC 3339, or seconds since 1970
    #[arg(long, value_name = "TIME", value_parser = parse::time)]
    from: Option<WallTime>,
    /// Last moment [default: now]
    #[arg(long, value_name = "TIME", value_parser = parse::time)]
    to: Option<WallTime>,
    /// Length of a cell, such as 5m; without it every tick is written
    #[arg(long, value_name = "DURATION", value_parser = parse::step)]
    step: Option<Duration>,
    /// Aggregates of a cell: avg, min, max, p95, last [default: all of them]
    #[arg(long = "agg", value_name = "NAME,...", value_delimiter = ',', value_parser = parse::aggregate, requires = "step")]
    aggs: Vec<Agg>,
    /// Where it goes instead of stdout; nothing is overwritten
    #[arg(long, short, value_name = "FILE")]
    output: Option<std::path::PathBuf>,
}

/// What is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// A header and a row for each sample or cell (RFC 4180, lines end in a line feed)
    Csv,
    /// A JSON object for each sample or cell, one a line
    Jsonl,
    /// OpenMetrics 1.0, as Prometheus takes it in; only without --step
    Openmetrics,
}

/// What is asked for.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) format: Format,
    pub(super) selector: Selector,
    pub(super) range: TimeRange,
    pub(super) step: Option<Duration>,
    pub(super) aggs: Vec<Agg>,
}

/// Why it was not written, or not all of it.
#[derive(Debug)]
pub(super) enum Trouble {
    /// What was asked for cannot be answered; in words.
    Asked(String),
    TooFine(TooFine),
    Store(StoreError),
    /// The place where it goes to could not be made.
    Place(String),
    /// Writing to it failed.
    Write(io::Error),
}

impl From<StoreError> for Trouble {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        Self::Write(error)
    }
}

/// A format. It is given the parts of a family one after the other.
pub(super) trait Writer {
    fn begin(&mut self, out: &mut dyn Write) -> io::Result<()>;

    /// One series: for each aggregate a column with a number for each time, NaN where there is none. Returns how many rows it has.
    fn series(
        &mut self,
        info: &SeriesInfo,
        times_ms: &[i64],
        columns: &[Vec<f64>],
        out: &mut dyn Write,
    ) -> io::Result<u64>;

    /// The series that were given since the last call belong together, and there are no others.
    fn together(&mut self, times_ms: &[i64], out: &mut dyn Write) -> io::Result<u64>;

    fn end(&mut self, out: &mut dyn Write) -> io::Result<()>;
}

/// Series that are written together, in the order of writing.
pub(super) type Unit = Vec<(SeriesId, SeriesInfo)>;

pub(super) fn run(args: &ExportArgs) -> Exit {
    let told = |failure: Failure| failure.tell(false);
    let asked = match asked(args, clock::now().wall) {
        Ok(asked) => asked,
        Err(why) => return told(Failure::new(Exit::Usage, "usage", why)),
    };
    let (_, mut reader) = match args.place.open() {
        Ok(opened) => opened,
        Err(failure) => return told(failure),
    };
    let exported = reader.contents().map_err(Trouble::Store).and_then(|contents| {
        let rows = match &args.output {
            None => {
                let stdout = io::stdout().lock();
                export(&mut reader, &asked, &contents, || Ok(stdout))
            }
            Some(path) => to_file(&mut reader, &asked, &contents, path),
        };
        rows.map(|rows| (rows, contents))
    });
    match exported {
        Ok((0, contents)) => complain(&nothing(&contents)),
        Ok(_) => {}
        // Whoever closed the pipe does not want to hear about it.
        Err(Trouble::Write(error)) if error.kind() == ErrorKind::BrokenPipe => return Exit::Ok,
        Err(trouble) => return told(failure(trouble, &asked, args.output.as_deref())),
    }
    let damaged = reader.damages().len();
    if damaged == 0 {
        return Exit::Ok;
    }
    complain(&format!("{}: what they held is left out", info::damaged(damaged)));
    Exit::Findings
}

/// What the command line asks for.
pub(super) fn asked(args: &ExportArgs, now: WallTime) -> Result<Asked, String> {
    if args.format == Format::Openmetrics && args.step.is_some() {
        return Err("openmetrics has samples only, no aggregates: leave --step away, or choose csv or jsonl"
            .to_owned());
    }
    let to = args.to.unwrap_or(now);
    let from = args.from.unwrap_or_else(|| to.minus(args.range.unwrap_or(RANGE_DEFAULT)));
    if from > to {
        return Err("--from lies after the end of the range".to_owned());
    }
    let mut aggs: Vec<Agg> = Vec::new();
    let given = if args.aggs.is_empty() { &Agg::ALL[..] } else { &args.aggs };
    for agg in given {
        if !aggs.contains(agg) {
            aggs.push(*agg);
        }
    }
    Ok(Asked {
        format: args.format,
        selector: Selector {
            group: args.group.clone(),
            metrics: args.metrics.clone(),
            labels: args.labels.clone(),
        },
        range: TimeRange { from, to },
        step: args.step,
        aggs: if args.step.is_some() { aggs } else { vec![Agg::Last] },
    })
}

/// Writes to a file that is made now, and taken away again when that fails.
fn to_file(
    reader: &mut HistoryReader,
    asked: &Asked,
    contents: &Contents,
    path: &Path,
) -> Result<u64, Trouble> {
    let mut made = false;
    let make = || {
        // As closed as what it comes from.
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
        let file = file.map_err(|error| match error.kind() {
            ErrorKind::AlreadyExists => Trouble::Place(format!(
                "{} is there already: choose a place where no file is",
                path.display()
            )),
            _ => Trouble::Place(format!("{} cannot be made: {error}", path.display())),
        })?;
        made = true;
        Ok(file)
    };
    let written = export(reader, asked, contents, make);
    if made && written.is_err() {
        // What is there is no whole export; a failure to take it away changes nothing about the first one.
        let _ = fs::remove_file(path);
    }
    written
}

fn failure(trouble: Trouble, asked: &Asked, output: Option<&Path>) -> Failure {
    match trouble {
        Trouble::Asked(text) => Failure::new(Exit::Usage, "usage", text),
        Trouble::TooFine(too_fine) => Failure::new(Exit::Usage, "too_fine", describe(too_fine, asked)),
        Trouble::Store(error) => error.into(),
        Trouble::Place(text) => Failure::new(Exit::CannotCreate, "cannot_create", text),
        Trouble::Write(error) => match output {
            Some(path) => {
                let text = format!("{} cannot be written, and was taken away again: {error}", path.display());
                Failure::new(Exit::CannotCreate, "cannot_create", text)
            }
            None => Failure::new(Exit::Failed, "cannot_write", format!("stdout cannot be written: {error}")),
        },
    }
}

/// From when on every tick is kept, and what to ask instead.
pub(super) fn describe(too_fine: TooFine, asked: &Asked) -> String {
    let minutes = too_fine.step_ms / 60_000;
    let mut ways = Vec::new();
    if let Some(since) = too_fine.raw_since_ms.filter(|since| *since <= asked.range.to.unix_ms()) {
        ways.push(format!("--from {}", rfc3339(since)));
    }
    if asked.format != Format::Openmetrics {
        ways.push(format!("--step {minutes}m or a multiple of it"));
    }
    let kept = match too_fine.raw_since_ms {
        Some(since) => format!("every tick is kept from {} on, what is before only", rfc3339(since)),
        None => "what is asked for is kept only".to_owned(),
    };
    let ask = if ways.is_empty() { String::new() } else { format!(": ask with {}", ways.join(", or with ")) };
    format!("{kept} in steps of {minutes} min{ask}")
}

/// There is no row, and where there would be.
fn nothing(contents: &Contents) -> String {
    match held(contents) {
        Some((from_ms, to_ms)) => format!(
            "there is no sample of these series in this range; the file has samples from {} to {}",
            rfc3339(from_ms),
            rfc3339(to_ms)
        ),
        None => "the file has no sample yet".to_owned(),
    }
}

/// The first moment that anything is kept of, and the last.
fn held(contents: &Contents) -> Option<(i64, i64)> {
    let rolled_from = contents.size.rolled_since_day.map(|day| day.saturating_mul(DAY_MS));
    let rolled_to = contents.rolled_until_day.map(|day| (day + 1).saturating_mul(DAY_MS) - 1);
    let from = contents.size.raw_since_ms.into_iter().chain(rolled_from).min();
    // A day with roll-ups is over: its last samples may be gone, and then nobody knows when they were.
    let to = contents.raw_until_ms.or(rolled_to);
    from.zip(to)
}

/// The range without what is before the first day that anything is kept of, and after the last.
fn narrowed(range: TimeRange, contents: &Contents) -> Option<TimeRange> {
    let days = [
        contents.size.raw_since_ms.map(|ms| ms.div_euclid(DAY_MS)),
        contents.raw_until_ms.map(|ms| ms.div_euclid(DAY_MS)),
        contents.size.rolled_since_day,
        contents.rolled_until_day,
    ];
    let first = days.iter().flatten().min()?.saturating_mul(DAY_MS);
    let last = (days.iter().flatten().max()? + 1).saturating_mul(DAY_MS) - 1;
    let (from, to) = (range.from.unix_ms().max(first), range.to.unix_ms().min(last));
    (from <= to).then_some(TimeRange { from: WallTime(from), to: WallTime(to) })
}

/// Writes what is asked for to what `make` makes, which is only called when there is an answer. Returns the number of rows.
pub(super) fn export<W: Write>(
    reader: &mut HistoryReader,
    asked: &Asked,
    contents: &Contents,
    make: impl FnOnce() -> Result<W, Trouble>,
) -> Result<u64, Trouble> {
    let range = narrowed(asked.range, contents);
    let range = range.unwrap_or(TimeRange { from: asked.range.to, to: asked.range.to });
    let step_ms = asked.step.map(|step| i64::try_from(step.as_millis()).unwrap_or(i64::MAX));
    let cells = step_ms.map_or(0, |step| (range.to.unix_ms() - range.from.unix_ms()) / step + 2);
    if cells > CELLS_MAX {
        let text = format!(
            "{cells} cells a series are more than {CELLS_MAX}: choose a longer --step or a shorter range"
        );
        return Err(Trouble::Asked(text));
    }
    let percentiles = asked.aggs.contains(&Agg::P95);
    let plan = Plan { range, until_ms: i64::MAX, step_ms, percentiles };
    reader.read(plan, |reading| {
        Ok(match reading {
            Ok(reading) => write_all(reading, range, asked, make),
            Err(too_fine) => Err(Trouble::TooFine(too_fine)),
        })
    })?
}

fn write_all<W: Write>(
    mut reading: Reading<'_>,
    range: TimeRange,
    asked: &Asked,
    make: impl FnOnce() -> Result<W, Trouble>,
) -> Result<u64, Trouble> {
    let all = reading.series().filter(|(_, info)| asked.selector.matches(info));
    let all: Vec<(SeriesId, SeriesInfo)> = all.map(|(id, info)| (id, info.clone())).collect();
    if all.is_empty() && reading.series().next().is_some() {
        return Err(Trouble::Asked(no_such_series(&reading, &asked.selector)));
    }
    let axis = match asked.step {
        Some(step) => Axis::steps(range, step),
        None => Axis::ticks(reading.times()?, range),
    };
    let times_ms: Vec<i64> = axis.starts().map(WallTime::unix_ms).collect();
    let mut cells = Cells::new(&axis, range, &asked.aggs);
    let columns: Option<&[Agg]> = asked.step.is_some().then_some(&asked.aggs);
    let (units, mut writer): (Vec<Unit>, Box<dyn Writer>) = match asked.format {
        Format::Csv => (one_by_one(all), Box::new(Table::new(Shape::Csv, columns))),
        Format::Jsonl => (one_by_one(all), Box::new(Table::new(Shape::JsonLines, columns))),
        Format::Openmetrics => {
            let writer = OpenMetrics::new(all.iter().map(|(_, info)| info));
            (openmetrics::units(&writer, all), Box::new(writer))
        }
    };

    let mut out = BufWriter::with_capacity(BUFFER_BYTES, make()?);
    writer.begin(&mut out)?;
    let (mut rows, mut ready) = (0, 0);
    for (number, unit) in units.iter().enumerate() {
        if number >= ready {
            let mut next = Vec::new();
            for unit in units.iter().skip(number) {
                next.extend(unit.iter().map(|(id, _)| *id));
                ready += 1;
                if next.len() >= SERIES_AT_ONCE {
                    break;
                }
            }
            reading.prepare(&next)?;
        }
        for (id, info) in unit {
            reading.lay(*id, &mut cells)?;
            let mut written = Ok(0);
            cells.take(|laid| written = writer.series(info, &times_ms, laid, &mut out));
            rows += written?;
        }
        rows += writer.together(&times_ms, &mut out)?;
    }
    writer.end(&mut out)?;
    out.flush()?;
    Ok(rows)
}

/// No series is called so, and what some are called that come nearest.
fn no_such_series(reading: &Reading<'_>, selector: &Selector) -> String {
    let (what, meant) = match (selector.metrics.first(), &selector.group) {
        (Some(metric), _) => ("metrics", metric.as_str()),
        (None, Some(group)) => ("groups", group.as_str()),
        (None, None) => return "no series of the file has these labels".to_owned(),
    };
    let name = |info: &SeriesInfo| if what == "metrics" { info.metric.clone() } else { info.group.clone() };
    let mut names: Vec<Box<str>> = reading.series().map(|(_, info)| name(info)).collect();
    names.sort_unstable();
    names.dedup();
    let alike = |name: &str| name.bytes().zip(meant.bytes()).take_while(|(a, b)| a == b).count();
    names.sort_by_key(|name| std::cmp::Reverse(alike(name)));
    names.truncate(NAMES_SHOWN);
    format!(
        "no series of the file goes by this group, metric and labels; it has {what} such as {}",
        names.join(", ")
    )
}

/// Each series by itself: by group, then by name, then by labels.
fn one_by_one(mut all: Vec<(SeriesId, SeriesInfo)>) -> Vec<Unit> {
    all.sort_by_cached_key(|(id, info)| (info.key(), *id));
    all.into_iter().map(|series| vec![series]).collect()
}
