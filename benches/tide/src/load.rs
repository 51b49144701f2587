//! The generator. Requests are sent at the times of the plan, whether earlier ones were answered or not, and a latency counts from
//! the planned time: a service that stands still for a second has a second of slow answers, not one. With `--closed` it asks as
//! fast as it is answered instead, which gives the capacity.

use crate::machine;
use crate::options::Options;
use crate::plan::{self, Arrival, Asked, Random};
use anyhow::{Context as _, Result, bail};
use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// The first argument of this part.
pub(crate) const PART: &str = "load";

/// Connections, each with a thread. More requests than that wait for one that is free; that time counts.
const CONNECTIONS: usize = 64;

/// Those that ask for the capacity: enough to keep all processors and the disk busy.
const CLOSED_CONNECTIONS: usize = 8;

/// How long one answer may take; longer is an error.
const ANSWER_MAX: Duration = Duration::from_secs(30);

/// Above the work that is measured, where that is allowed.
const NICE: i32 = -5;

/// What came out of a run. Latencies are in microseconds from the planned arrival.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub(crate) struct Latencies {
    pub(crate) requests: u64,
    pub(crate) errors: u64,
    pub(crate) p50_us: u64,
    pub(crate) p99_us: u64,
    pub(crate) p999_us: u64,
    pub(crate) max_us: u64,
    /// The 99th percentile of each second.
    pub(crate) windows_p99_us: Vec<u64>,
    /// How late requests were sent, 99th percentile: the generator's own part.
    pub(crate) late_p99_us: u64,
    /// False when it was not allowed to be more important than the rest.
    pub(crate) raised: bool,
}

/// Answers a second when asked as fast as possible.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub(crate) struct Capacity {
    pub(crate) per_second: f64,
}

struct Done {
    second: usize,
    latency_us: u64,
    late_us: u64,
    failed: bool,
}

/// Runs the plan, or asks for the capacity, and writes one line of JSON.
pub(crate) fn main(arguments: &[String]) -> Result<()> {
    let mut options = Options::parse(arguments, &["closed"])?;
    let (port, seed) = (options.needed("port")?, options.needed("seed")?);
    let seconds: f64 = options.needed("seconds")?;
    let closed = options.switch("closed");
    let rate = if closed { 0.0 } else { options.needed("rate")? };
    options.done()?;
    let raised = machine::set_priority(NICE);
    let line = if closed {
        serde_json::to_string(&capacity(port, seed, seconds)?)?
    } else {
        let mut latencies = open_loop(port, &plan::arrivals(seed, rate, seconds))?;
        latencies.raised = raised;
        serde_json::to_string(&latencies)?
    };
    println!("{line}");
    Ok(())
}

fn open_loop(port: u16, plan: &[Arrival]) -> Result<Latencies> {
    // Room for all: sending must never wait for an answer.
    let (sender, receiver) = sync_channel::<Arrival>(plan.len().max(1));
    let receiver = Mutex::new(receiver);
    let connections = (0..CONNECTIONS).map(|_| Connection::open(port)).collect::<Result<Vec<_>>>()?;
    // All threads are there before the first request is due.
    let begin = machine::mono_ns() + 100_000_000;
    let done: Vec<Done> = std::thread::scope(|scope| {
        let workers: Vec<_> = connections
            .into_iter()
            .map(|connection| scope.spawn(|| work(connection, &receiver, begin)))
            .collect();
        for arrival in plan {
            machine::wait_until(begin + arrival.at_ns);
            if sender.send(*arrival).is_err() {
                break;
            }
        }
        drop(sender);
        let finished = workers.into_iter().map(|worker| worker.join().unwrap_or_default());
        finished.flatten().collect()
    });
    if done.len() != plan.len() {
        bail!("{} of {} requests were sent", done.len(), plan.len());
    }
    summary(&done)
}

fn work(mut connection: Connection, arrivals: &Mutex<Receiver<Arrival>>, begin: u64) -> Vec<Done> {
    let mut all = Vec::new();
    loop {
        // Only who waits next holds the lock; the others wait for it.
        let next = arrivals.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(arrival) = next else { return all };
        let planned = begin + arrival.at_ns;
        let late_us = machine::mono_ns().saturating_sub(planned) / 1000;
        let failed = connection.ask(arrival.asked, arrival.key).is_err();
        let latency_us = machine::mono_ns().saturating_sub(planned) / 1000;
        all.push(Done { second: (arrival.at_ns / 1_000_000_000) as usize, latency_us, late_us, failed });
    }
}

fn summary(done: &[Done]) -> Result<Latencies> {
    let (mut all, mut late) = (histogram()?, histogram()?);
    let mut windows: Vec<Histogram<u64>> = Vec::new();
    for one in done {
        all.saturating_record(one.latency_us);
        late.saturating_record(one.late_us);
        while windows.len() <= one.second {
            windows.push(histogram()?);
        }
        if let Some(window) = windows.get_mut(one.second) {
            window.saturating_record(one.latency_us);
        }
    }
    let filled = windows.iter().filter(|window| !window.is_empty());
    Ok(Latencies {
        requests: all.len(),
        errors: done.iter().filter(|one| one.failed).count() as u64,
        p50_us: all.value_at_quantile(0.5),
        p99_us: all.value_at_quantile(0.99),
        p999_us: all.value_at_quantile(0.999),
        max_us: all.max(),
        windows_p99_us: filled.map(|window| window.value_at_quantile(0.99)).collect(),
        late_p99_us: late.value_at_quantile(0.99),
        raised: false,
    })
}

/// From a microsecond to a minute, to three digits.
fn histogram() -> Result<Histogram<u64>> {
    Ok(Histogram::new_with_bounds(1, 60_000_000, 3)?)
}

fn capacity(port: u16, seed: u64, seconds: f64) -> Result<Capacity> {
    let connections = (0..CLOSED_CONNECTIONS).map(|_| Connection::open(port)).collect::<Result<Vec<_>>>()?;
    let begin = machine::mono_ns();
    let end = begin + (seconds * 1e9) as u64;
    let answers = AtomicU64::new(0);
    let ask = |number: usize, mut connection: Connection| {
        let mut random = Random::new(plan::seed(&[seed, number as u64]));
        while machine::mono_ns() < end {
            let (asked, key) = plan::draw(&mut random);
            connection.ask(asked, key)?;
            answers.fetch_add(1, Ordering::Relaxed);
        }
        anyhow::Ok(())
    };
    let results: Vec<Result<()>> = std::thread::scope(|scope| {
        let ask = &ask;
        let workers: Vec<_> = connections
            .into_iter()
            .enumerate()
            .map(|(number, connection)| scope.spawn(move || ask(number, connection)))
            .collect();
        workers
            .into_iter()
            .map(|worker| worker.join().unwrap_or_else(|_| bail!("a thread broke off")))
            .collect()
    });
    results.into_iter().collect::<Result<()>>()?;
    let took = (machine::mono_ns() - begin) as f64 / 1e9;
    Ok(Capacity { per_second: answers.into_inner() as f64 / took })
}

/// One kept connection, with one request on it at a time.
struct Connection {
    port: u16,
    stream: TcpStream,
    answer: Vec<u8>,
}

impl Connection {
    fn open(port: u16) -> Result<Self> {
        Ok(Self { port, stream: connect(port)?, answer: Vec::new() })
    }

    /// Asks and reads the whole answer. After an error the connection is a new one.
    fn ask(&mut self, asked: Asked, key: u64) -> Result<()> {
        let done = self.ask_once(asked, key);
        if done.is_err() {
            self.stream = connect(self.port)?;
        }
        done
    }

    fn ask_once(&mut self, asked: Asked, key: u64) -> Result<()> {
        let request = format!("GET /{}/{key} HTTP/1.1\r\nhost: tide\r\n\r\n", asked.path());
        self.stream.write_all(request.as_bytes())?;
        self.answer.clear();
        let mut buffer = [0; 2048];
        loop {
            let read = self.stream.read(&mut buffer)?;
            if read == 0 {
                bail!("the service closed the connection");
            }
            self.answer.extend_from_slice(buffer.get(..read).unwrap_or_default());
            if let Some(good) = whole(&self.answer)? {
                return if good { Ok(()) } else { bail!("the service answered with an error") };
            }
        }
    }
}

fn connect(port: u16) -> Result<TcpStream> {
    let stream = TcpStream::connect(("127.0.0.1", port)).context("connect to the service")?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(ANSWER_MAX))?;
    Ok(stream)
}

/// Whether an answer is there to its last byte, and then whether its status is 200.
fn whole(answer: &[u8]) -> Result<Option<bool>> {
    let text = std::str::from_utf8(answer).context("an answer that is no text")?;
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return Ok(None) };
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
    });
    let length = length.context("an answer without a length")?;
    Ok((body.len() >= length).then(|| head.starts_with("HTTP/1.1 200 ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_whole_with_its_last_byte_only() {
        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc";
        for end in 0..answer.len() {
            assert_eq!(whole(&answer[..end]).unwrap(), None, "{end}");
        }
        assert_eq!(whole(answer).unwrap(), Some(true));
        assert_eq!(whole(b"HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n").unwrap(), Some(false));
        assert!(whole(b"HTTP/1.1 200 OK\r\n\r\n").is_err());
    }

    #[test]
    fn percentiles_are_of_all_and_of_each_second() {
        let one = |second, latency_us| Done { second, latency_us, late_us: 1, failed: latency_us == 99 };
        let done: Vec<Done> = (0..100).map(|at| one(0, at)).chain((0..100).map(|_| one(2, 500))).collect();
        let summary = summary(&done).unwrap();
        assert_eq!((summary.requests, summary.errors, summary.max_us), (200, 1, 500));
        assert_eq!(summary.windows_p99_us, [98, 500]);
        assert_eq!((summary.p50_us, summary.p99_us), (99, 500));
    }
}
