//! Lowtide's own history: what the store makes of the data, and a daemon whose folder holds the file.

use super::ask::{Ask, Question, Timed};
use super::data::{Data, SeriesSpec};
use super::{GROUP, Stored, bytes_below};
use crate::suite::server::{Server, folder_on_disk};
use anyhow::{Context as _, Result};
use lowtide_clock as clock;
use lowtide_core::history::SeriesInfo;
use lowtide_core::metric::Kind;
use lowtide_store::history::{Frame, HistoryStore, Keep, SeriesId};
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::time::Duration;
use tempfile::TempDir;

/// A day of ticks.
const DAY_TICKS: usize = 17_280;

/// What storing came to, with the sizes on the way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Taken {
    pub(super) stored: Stored,
    /// Bytes of samples alone.
    pub(super) raw_bytes: u64,
    /// Until the samples were written, without roll-ups.
    pub(super) raw_wall: Duration,
}

/// What a day of ticks costs the disk.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wear {
    pub(super) ticks: usize,
    /// Bytes that the process made the kernel write (`write_bytes` of proc_pid_io(5)), segments and roll-ups included.
    pub(super) bytes: u64,
    pub(super) cpu: Duration,
}

/// A daemon that has the data.
pub(super) struct Ours {
    daemon: Server,
    pub(super) taken: Taken,
}

impl Ours {
    /// Stores everything, and starts a daemon on it.
    pub(super) fn start(data: &Data) -> Result<Self> {
        let folder = folder_on_disk()?;
        fs::create_dir(folder.path().join("data"))?;
        let taken = store(data, &folder)?;
        let daemon = Server::daemon_in(folder, Path::new("/nonexistent"), "")?;
        Ok(Self { daemon, taken })
    }

    pub(super) fn ask(&self, ask: Ask, data: &Data) -> Result<Option<Timed>> {
        ask.time(data, &self.daemon, |question| vec![path(question, data)], count)
    }
}

fn store(data: &Data, folder: &TempDir) -> Result<Taken> {
    let file = folder.path().join("data/history.db");
    let (begun, cpu) = (clock::mono(), clock::process_cpu());
    let mut store = HistoryStore::open(&file)?;
    let ids = ids(&mut store, data)?;
    store.append_columns(&data.times_ms, &ids, &data.columns)?;
    store.sync()?;
    let raw_wall = clock::mono().since(begun);
    let raw_cpu = clock::process_cpu() - cpu;
    let raw_bytes = store.size()?.used_bytes;
    let end_ms = data.times_ms.last().copied().unwrap_or_default();
    while store.roll_up(end_ms + 86_400_000)? {}
    store.sync()?;
    let wall = clock::mono().since(begun);
    let cpu_whole = clock::process_cpu() - cpu;
    drop(store);
    let bytes = bytes_below(&folder.path().join("data"))?;
    Ok(Taken { stored: Stored { wall, cpu: raw_cpu, cpu_whole, bytes }, raw_bytes, raw_wall })
}

/// Records a day tick by tick, as the daemon does: a commit each, a checkpoint each minute; or in pieces of half an hour.
pub(super) fn wear(data: &Data, spared: bool) -> Result<Wear> {
    let folder = folder_on_disk()?;
    let mut store = HistoryStore::open(&folder.path().join("history.db"))?;
    let ids = ids(&mut store, data)?;
    store.sync()?;
    let keep = Keep { raw_days: 7, rollup_days: 365, bytes_max: 1 << 30 };
    let ticks = DAY_TICKS.min(data.times_ms.len());
    let frame = |tick: usize| Frame {
        at_ms: data.times_ms.get(tick).copied().unwrap_or_default(),
        samples: ids
            .iter()
            .zip(&data.columns)
            .map(|(id, column)| (*id, column.get(tick).copied().unwrap_or_default()))
            .collect(),
    };
    let (before, cpu) = (written()?, clock::process_cpu());
    let mut waiting = Vec::new();
    for tick in 0..ticks {
        waiting.push(frame(tick));
        let at_ms = data.times_ms.get(tick).copied().unwrap_or_default();
        if !spared {
            store.append(&std::mem::take(&mut waiting))?;
        }
        let due = if spared { 360 } else { 12 };
        if tick % due == due - 1 {
            if spared {
                store.append_segments(&std::mem::take(&mut waiting))?;
            }
            store.compact(at_ms)?;
            store.roll_up(at_ms)?;
            store.forget(&keep)?;
            store.sync()?;
        }
    }
    store.append_segments(&waiting)?;
    let end_ms = data.times_ms.get(ticks.saturating_sub(1)).copied().unwrap_or_default();
    while store.roll_up(end_ms + 86_400_000)? {}
    store.sync()?;
    Ok(Wear { ticks, bytes: written()? - before, cpu: clock::process_cpu() - cpu })
}

/// Bytes that this process made the kernel write so far.
fn written() -> Result<u64> {
    let text = fs::read_to_string("/proc/self/io")?;
    let line = text.lines().find_map(|line| line.strip_prefix("write_bytes: "));
    Ok(line.context("no write_bytes in /proc/self/io")?.parse()?)
}

fn ids(store: &mut HistoryStore, data: &Data) -> Result<Vec<SeriesId>> {
    let infos: Vec<SeriesInfo> = data.series.iter().map(info).collect();
    store.ids(&infos)?.into_iter().collect::<Option<_>>().context("the catalogue is full")
}

/// In a group of its own: the daemon records the same metrics of this machine.
fn info(spec: &SeriesSpec) -> SeriesInfo {
    SeriesInfo {
        group: GROUP.into(),
        metric: spec.metric.as_str().into(),
        suffix: "".into(),
        labels: spec.labels.iter().map(|(key, value)| (key.as_str().into(), value.as_str().into())).collect(),
        kind: if spec.counter { Kind::Counter } else { Kind::Gauge },
        unit: spec.unit,
    }
}

fn path(question: &Question, data: &Data) -> String {
    // Both ends belong to a range here, and no tick lies on either.
    let (from, to) = (question.from_ms as f64 / 1e3, (question.to_ms - 1) as f64 / 1e3);
    let mut path = format!("/api/system-stats/history?group={GROUP}&from={from}&to={to}");
    if let Some(spec) = question.series.and_then(|series| data.series.get(series)) {
        let _ = write!(path, "&metric={}", spec.metric);
        let labels: Vec<String> = spec.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
        if !labels.is_empty() {
            let _ = write!(path, "&labels={}", escaped(&labels.join(",")));
        }
    }
    path += &match question.step_ms {
        Some(step) => format!("&step={}s&agg=avg,min,max,p95", step / 1_000),
        None => "&step=raw&agg=last".to_owned(),
    };
    path
}

/// A text as part of a query (RFC 3986, 2.1).
fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'=' | b',' | b'_' | b'-' | b'.' => {
                escaped.push(char::from(byte));
            }
            other => {
                let _ = write!(escaped, "%{other:02X}");
            }
        }
    }
    escaped
}

/// Numbers in the columns of an answer.
fn count(body: &[u8]) -> Result<usize> {
    let answer: serde_json::Value = serde_json::from_slice(body)?;
    let series = answer.get("series").and_then(|series| series.as_array()).context("no series")?;
    let columns = series.iter().filter_map(|series| series.get("values")?.as_object());
    let numbers = columns.flat_map(|columns| columns.values()).filter_map(|column| column.as_array());
    Ok(numbers.flatten().filter(|value| value.is_number()).count())
}
