//! VictoriaMetrics as a store of history: given the same numbers, asked the same questions, each in the quickest of the ways that it
//! documents. Runs on a loopback address, in a folder beside this program, and ends with its handle.
//!
//! It keeps some twelve digits of a number: what is rounded comes back as it was, an unrounded rate does not quite.

use super::ask::{Ask, Question, Timed};
use super::client::Client;
use super::data::{Data, SeriesSpec};
use super::{Stored, bytes_below};
use crate::suite::measure::pause;
use crate::suite::peers::{free_address, unpacked};
use crate::suite::server::{Server, folder_on_disk};
use anyhow::{Context as _, Result, anyhow, bail, ensure};
use lowtide_clock as clock;
use std::fmt::Write as _;
use std::time::Duration;
use tempfile::TempDir;

/// Names the folder that holds it.
const PLACE: &str = "LOWTIDE_BENCH_HISTORY_PEERS";

/// Values in one line of an import: of 200 to 200 000 it takes these the quickest.
const LINE_SAMPLES: usize = 1_000;

/// Connections of an import: one leaves a core idle for a part of the time.
const CONNECTIONS: usize = 2;

/// Every series.
const ALL: &str = "{__name__!=\"\"}";

/// How long it may take to merge its files.
const MERGE_MAX: Duration = Duration::from_secs(120);

/// One that runs, with its data.
#[derive(Debug)]
pub(super) struct Victoria {
    server: Server,
    // Removed after the program has ended: fields are dropped in this order.
    folder: TempDir,
}

impl Victoria {
    pub(super) fn start() -> Result<Self> {
        let folder = folder_on_disk()?;
        let address = free_address()?;
        let mut command = unpacked(PLACE, "victoria-metrics")?;
        command.arg(format!("-httpListenAddr={address}"));
        command.arg(format!("-storageDataPath={}", folder.path().display()));
        // Nothing expires meanwhile, what was written is seen at once, and no answer is kept for the next one who asks: ours are not.
        command.args(["-retentionPeriod=100y", "-search.latencyOffset=0s", "-search.disableCache"]);
        command.args(["-loggerLevel=ERROR"]);
        let server = Server::told(command, address)?;
        server.wait_until_ready("/health")?;
        Ok(Self { server, folder })
    }

    /// Writes everything, makes it visible, and has the files merged, which else would happen in the hours after.
    pub(super) fn store(&self, data: &Data) -> Result<Stored> {
        // Made before the clock starts: what this program does is not its time.
        let columns = data.series.iter().zip(&data.columns);
        let bodies: Vec<String> = columns.map(|(spec, column)| lines(spec, &data.times_ms, column)).collect();
        self.import("/api/v1/import", &bodies)
    }

    /// The same from its own format, as another one of it gives it: blocks that are packed already.
    pub(super) fn store_copy_of(&self, other: &Self) -> Result<Stored> {
        let mut native = Vec::new();
        let path = format!("/api/v1/export/native?match[]={}&start=0", escaped(ALL));
        Client::connect(other.server.address())?.get(&path, &mut native)?;
        self.import("/api/v1/import/native", &[native])
    }

    fn import(&self, path: &str, bodies: &[impl AsRef<[u8]> + Sync]) -> Result<Stored> {
        let (begun, before) = (clock::mono(), self.server.cpu()?);
        let send = |first: usize| {
            let mut client = Client::connect(self.server.address())?;
            let mut mine = bodies.iter().skip(first).step_by(CONNECTIONS);
            mine.try_for_each(|body| client.post(path, body.as_ref()))
        };
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..CONNECTIONS).map(|first| scope.spawn(move || send(first))).collect();
            let ends =
                threads.into_iter().map(|thread| thread.join().map_err(|_| anyhow!("a sender panicked"))?);
            ends.collect::<Result<()>>()
        })?;
        let mut client = Client::connect(self.server.address())?;
        client.get("/internal/force_flush", &mut Vec::new())?;
        let wall = clock::mono().since(begun);
        let cpu = self.server.cpu()?.saturating_sub(before);
        client.get("/internal/force_merge", &mut Vec::new())?;
        self.wait_until_merged(&mut client)?;
        let cpu_whole = self.server.cpu()?.saturating_sub(before);
        Ok(Stored { wall, cpu, cpu_whole, bytes: bytes_below(self.folder.path())? })
    }

    fn wait_until_merged(&self, client: &mut Client) -> Result<()> {
        let end = clock::mono().plus(MERGE_MAX);
        let mut calm = 0;
        // A moment without merges may lie between two of them.
        while calm < 10 {
            let mut metrics = Vec::new();
            client.get("/metrics", &mut metrics)?;
            let busy = active_merges(&String::from_utf8_lossy(&metrics)).context("no count of merges")?;
            calm = if busy > 0.0 { 0 } else { calm + 1 };
            ensure!(clock::mono() < end, "its files are still being merged");
            pause(Duration::from_millis(200));
        }
        Ok(())
    }

    pub(super) fn ask(&self, ask: Ask, data: &Data) -> Result<Option<Timed>> {
        ask.time(data, &self.server, |question| paths(question, data), count)
    }
}

/// A series as lines of the JSON that it imports.
fn lines(spec: &SeriesSpec, times_ms: &[i64], column: &[f64]) -> String {
    let mut text = String::new();
    for (times, values) in times_ms.chunks(LINE_SAMPLES).zip(column.chunks(LINE_SAMPLES)) {
        let _ = write!(text, "{{\"metric\":{{\"__name__\":\"{}\"", spec.metric);
        for (key, value) in &spec.labels {
            let _ = write!(text, ",\"{key}\":\"{value}\"");
        }
        text.push_str("},\"values\":[");
        join(&mut text, values);
        text.push_str("],\"timestamps\":[");
        join(&mut text, times);
        text.push_str("]}\n");
    }
    text
}

/// A float is written as the shortest text that reads back as the same one.
fn join(text: &mut String, numbers: &[impl std::fmt::Display]) {
    for (at, number) in numbers.iter().enumerate() {
        let comma = if at == 0 { "" } else { "," };
        let _ = write!(text, "{comma}{number}");
    }
}

/// Merges under way, those that were asked for and those that it does by itself.
fn active_merges(metrics: &str) -> Option<f64> {
    let counts = metrics
        .lines()
        .filter(|line| line.starts_with("vm_active_force_merges") || line.starts_with("vm_active_merges"));
    let counts: Vec<f64> = counts.filter_map(|line| line.rsplit(' ').next()?.parse().ok()).collect();
    (!counts.is_empty()).then(|| counts.iter().sum())
}

fn selector(spec: &SeriesSpec) -> String {
    let labels: Vec<String> = spec.labels.iter().map(|(key, value)| format!("{key}=\"{value}\"")).collect();
    format!("{}{{{}}}", spec.metric, labels.join(","))
}

/// The requests that a question is.
fn paths(question: &Question, data: &Data) -> Vec<String> {
    let series = question.series.and_then(|at| data.series.get(at)).map_or_else(|| ALL.to_owned(), selector);
    let (from, to) = (question.from_ms, question.to_ms);
    let Some(step) = question.step_ms else {
        // Quicker than a query for `series[1h]`; blocks as they come rather than joined, as whoever asks wants the values only.
        return vec![format!(
            "/api/v1/export?match[]={}&start={}&end={}&reduce_mem_usage=1",
            escaped(&series),
            seconds(from + 1),
            seconds(to)
        )];
    };
    // One request is quicker than four; a function that gives all four at once there is not.
    let window = format!("{series}[{step}ms]");
    let query = format!(
        "union(aggr_over_time((\"avg_over_time\",\"min_over_time\",\"max_over_time\"),{window}),\
         label_set(quantile_over_time(0.95,{window}),\"rollup\",\"p95\"))"
    );
    // A step is named by its end.
    vec![format!(
        "/api/v1/query_range?query={}&start={}&end={}&step={step}ms&nocache=1",
        escaped(&query),
        seconds(from + step),
        seconds(to)
    )]
}

fn seconds(ms: i64) -> String {
    format!("{}.{:03}", ms / 1_000, ms % 1_000)
}

fn escaped(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || byte == b'_' {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

/// Values in an answer: of an export, a line of JSON for each block of a series, or of a query.
fn count(body: &[u8]) -> Result<usize> {
    let mut values = 0;
    for line in body.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        let document: serde_json::Value = serde_json::from_slice(line)?;
        if let Some(block) = document.get("values").and_then(|values| values.as_array()) {
            values += block.len();
            continue;
        }
        let Some(series) = document.pointer("/data/result").and_then(|result| result.as_array()) else {
            bail!("an answer of another kind: {}", String::from_utf8_lossy(line));
        };
        let lengths = series.iter().filter_map(|series| Some(series.get("values")?.as_array()?.len()));
        values += lengths.sum::<usize>();
    }
    Ok(values)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_counted() {
        let export =
            b"{\"metric\":{},\"values\":[1,2],\"timestamps\":[1,2]}\n{\"values\":[3],\"timestamps\":[3]}\n";
        assert_eq!(count(export).unwrap(), 3);
        let query = b"{\"status\":\"success\",\"data\":{\"result\":[{\"values\":[[1,\"2\"],[2,\"3\"]]},{\"values\":[[1,\"2\"]]}]}}";
        assert_eq!(count(query).unwrap(), 3);
        assert!(count(b"{}").is_err());
    }

    #[test]
    fn merges_are_counted() {
        assert_eq!(active_merges("vm_rows 3\n"), None);
        let text = "vm_active_force_merges 1\nvm_active_merges{type=\"storage/big\"} 2\nvm_rows 3\n";
        assert_eq!(active_merges(text), Some(3.0));
    }
}
