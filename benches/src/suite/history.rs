//! `history`: seven days of a hundred series, stored and asked for: bytes a sample, what writing costs, and how long the questions of a
//! page of charts take. Every store is given the same numbers and asked over HTTP.

mod ask;
mod client;
mod data;
mod victoria;

use super::Options;
use super::report::{Report, Row};
use anyhow::{Context as _, Result};
use ask::{Ask, Timed};
use data::{Data, TICK_MS, WEEK_TICKS};
use lowtide_clock as clock;
use std::path::Path;
use std::time::Duration;
use victoria::Victoria;

const SEED: u64 = 5;

/// All steps that are asked for divide it: 288 s, 2 016 s and half an hour.
const ALIGNED_MS: i64 = 50_400_000;

/// What storing came to.
#[derive(Clone, Copy, Debug)]
struct Stored {
    /// Until all was written and could be asked for.
    wall: Duration,
    /// Processor time of the store until then, and with the work that it puts off.
    cpu: Duration,
    cpu_whole: Duration,
    /// Of all its files.
    bytes: u64,
}

/// A store, measured.
#[derive(Clone, Debug)]
struct Figures {
    stored: Stored,
    /// The same from blocks of its own format, where it has such a way.
    copied: Option<Stored>,
    answers: Vec<(Ask, Timed)>,
}

pub(crate) fn run(report: &mut Report, options: Options) -> Result<()> {
    let data = made_up()?;
    if options.peers {
        match victoria(&data) {
            Ok(figures) => tell(report, "VictoriaMetrics", &data, &figures),
            Err(error) => {
                report.row(Row::new("VictoriaMetrics", f64::NAN, "").note(format!("left out: {error:#}")));
            }
        }
    }
    Ok(())
}

/// The numbers that all stores are given: they end at the last moment that is a multiple of every step, and each tick lies in the middle
/// of its five seconds, so that no store can count one with the step beside.
fn made_up() -> Result<Data> {
    let ticks = match std::env::var("LOWTIDE_BENCH_TICKS") {
        Ok(text) => text.parse().context("LOWTIDE_BENCH_TICKS is no number")?,
        Err(_) => WEEK_TICKS,
    };
    let now_ms = clock::now().wall.unix_ms();
    let end_ms = now_ms - now_ms.rem_euclid(ALIGNED_MS);
    let length_ms = i64::try_from(ticks)? * TICK_MS;
    Ok(data::generate(SEED, end_ms - length_ms + TICK_MS / 2, ticks))
}

fn victoria(data: &Data) -> Result<Figures> {
    let victoria = Victoria::start()?;
    let stored = victoria.store(data)?;
    let mut answers = Vec::new();
    for ask in Ask::ALL {
        answers.extend(victoria.ask(ask, data)?.map(|timed| (ask, timed)));
    }
    let copied = Victoria::start()?.store_copy_of(&victoria)?;
    Ok(Figures { stored, copied: Some(copied), answers })
}

#[expect(clippy::cast_precision_loss, reason = "counts far below 2^52")]
fn tell(report: &mut Report, name: &str, data: &Data, figures: &Figures) {
    let (samples, stored) = (data.samples() as f64, figures.stored);
    report.row(
        Row::new(format!("{name}: bytes a sample"), stored.bytes as f64 / samples, "B")
            .note(format!("{samples} samples")),
    );
    let rate = |time: Duration| samples / time.as_secs_f64() / 1e6;
    let ways = [("written", Some(stored)), ("copied", figures.copied)];
    for (way, stored) in ways.into_iter().filter_map(|(way, stored)| Some((way, stored?))) {
        report.row(
            Row::new(format!("{name}: {way} a second of cpu"), rate(stored.cpu), "M/s")
                .note(format!("{:.2} M/s with what it puts off", rate(stored.cpu_whole)))
                .note(format!("{:.2} M/s by the clock", rate(stored.wall)))
                .note(format!("{:.1} MB", stored.bytes as f64 / 1e6)),
        );
    }
    for (ask, timed) in &figures.answers {
        report.row(
            Row::new(format!("{name}: {}", ask.name()), timed.median_s * 1e3, "ms")
                .note(format!("p95 {:.2} ms, cpu {:.2} ms", timed.p95_s * 1e3, timed.cpu_s * 1e3))
                .note(format!("{} values, {:.0} bytes", timed.values, timed.bytes)),
        );
    }
}

/// Bytes of all files below a folder.
fn bytes_below(folder: &Path) -> Result<u64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        bytes += if metadata.is_dir() { bytes_below(&entry.path())? } else { metadata.len() };
    }
    Ok(bytes)
}
