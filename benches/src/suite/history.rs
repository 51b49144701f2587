//! `history`: seven days of a hundred series, stored and asked for: bytes a sample, what writing costs, and how long the questions of a
//! page of charts take. Every store is given the same numbers and asked over HTTP.

mod ask;
mod client;
mod data;
mod ours;
mod victoria;

use super::Options;
use super::report::{Goal, Report, Row};
use anyhow::{Context as _, Result};
use ask::{Ask, Timed};
use data::{Data, TICK_MS, WEEK_TICKS};
use lowtide_clock as clock;
use ours::{Ours, Taken};
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

/// What storing came to in a peer.
#[derive(Clone, Copy, Debug)]
struct Figures {
    stored: Stored,
    /// The same from blocks of its own format, where it has such a way.
    copied: Option<Stored>,
}

/// The group of the series in Lowtide's file.
const GROUP: &str = "bench";

pub(crate) fn run(report: &mut Report, options: Options) -> Result<()> {
    let data = made_up()?;
    let ours = Ours::start(&data)?;
    let peer = if options.peers {
        match victoria(&data) {
            Ok(peer) => Some(peer),
            Err(error) => {
                report.row(Row::new("VictoriaMetrics", f64::NAN, "").note(format!("left out: {error:#}")));
                None
            }
        }
    } else {
        None
    };
    tell_stored(report, &data, &ours.taken, peer.as_ref().map(|(_, figures)| figures));
    for ask in Ask::ALL {
        // One right after the other: the machine is shared.
        let Some(timed) = ours.ask(ask, &data)? else { continue };
        let beside = peer.as_ref().map(|(victoria, _)| victoria.ask(ask, &data)).transpose()?.flatten();
        tell(report, ask, &timed, beside.as_ref());
    }
    tell_wear(report, &data)
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

fn victoria(data: &Data) -> Result<(Victoria, Figures)> {
    let victoria = Victoria::start()?;
    let stored = victoria.store(data)?;
    let copied = Victoria::start()?.store_copy_of(&victoria)?;
    Ok((victoria, Figures { stored, copied: Some(copied) }))
}

#[expect(clippy::cast_precision_loss, reason = "counts far below 2^52")]
fn tell_stored(report: &mut Report, data: &Data, taken: &Taken, peer: Option<&Figures>) {
    let samples = data.samples() as f64;
    let each = |bytes: u64| bytes as f64 / samples;
    let rate = |time: Duration| samples / time.as_secs_f64() / 1e6;
    let with_peer = |row: Row, ours: f64, theirs: Option<f64>| match theirs {
        Some(theirs) => row.beside("VictoriaMetrics", theirs, ours / theirs),
        None => row,
    };
    let stored = taken.stored;
    let raw = Row::new("bytes a sample, ticks", each(taken.raw_bytes), "B").goal(Goal::FigureAtMost(1.25));
    let theirs = peer.map(|figures| each(figures.stored.bytes));
    report.row(with_peer(raw, each(taken.raw_bytes), theirs).note(format!("{samples} samples")));
    let all =
        Row::new("bytes a sample, with roll-ups", each(stored.bytes), "B").goal(Goal::FigureAtMost(1.6));
    report
        .row(with_peer(all, each(stored.bytes), theirs).note(format!("{:.1} MB", stored.bytes as f64 / 1e6)));
    let wall = rate(taken.raw_wall);
    let row = Row::new("taken over, by the clock", wall, "M/s").goal(Goal::FigureAtLeast(3.0));
    let theirs = peer.map(|figures| rate(figures.stored.wall));
    let row = with_peer(row, wall, theirs).note(format!("{:.2} M/s with roll-ups", rate(stored.wall)));
    report.row(match peer.and_then(|figures| figures.copied) {
        Some(copied) => row.note(format!("from its own format {:.2} M/s", rate(copied.wall))),
        None => row,
    });
    let row = Row::new("taken over, a second of cpu", rate(stored.cpu), "M/s");
    let theirs = peer.map(|figures| rate(figures.stored.cpu));
    let row = with_peer(row, rate(stored.cpu), theirs);
    report.row(row.note(format!("{:.2} M/s with roll-ups", rate(stored.cpu_whole))));
}

fn tell(report: &mut Report, ask: Ask, timed: &Timed, peer: Option<&Timed>) {
    let goal = match ask {
        Ask::Week | Ask::WeekHalfHours => 0.25,
        Ask::AllHour => 0.1,
        Ask::RawHour | Ask::Day => 1.0,
    };
    let row = Row::new(ask.name(), timed.median_s * 1e3, "ms").goal(Goal::RatioAtMost(goal));
    let row = match peer {
        Some(peer) => row
            .beside("VictoriaMetrics", peer.median_s * 1e3, timed.median_s / peer.median_s)
            .note(format!("p95 {:.2}, its {:.2} ms", timed.p95_s * 1e3, peer.p95_s * 1e3))
            .note(format!("cpu {:.2}, its {:.2} ms", timed.cpu_s * 1e3, peer.cpu_s * 1e3))
            .note(format!("{:.0} bytes, its {:.0}", timed.bytes, peer.bytes)),
        None => row.note(format!("p95 {:.2} ms, cpu {:.2} ms", timed.p95_s * 1e3, timed.cpu_s * 1e3)),
    };
    report.row(row.note(format!("{} values", timed.values)));
}

#[expect(clippy::cast_precision_loss, reason = "counts far below 2^52")]
fn tell_wear(report: &mut Report, data: &Data) -> Result<()> {
    for (name, spared) in [("a day tick by tick", false), ("a day, disk spared", true)] {
        let wear = ours::wear(data, spared)?;
        let each = wear.bytes as f64 / wear.ticks as f64;
        report.row(
            Row::new(format!("{name}: written"), wear.bytes as f64 / 1e6, "MB")
                .note(format!("{each:.0} bytes a tick, {} ticks", wear.ticks))
                .note(format!("cpu {:.0} us a tick", wear.cpu.as_secs_f64() * 1e6 / wear.ticks as f64)),
        );
    }
    Ok(())
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
