//! `edge`: what good clients feel while others hold thousands of connections and ask nothing, or never read. Calm and crowded rounds
//! alternate on one daemon, and what counts is their ratio: the crowd itself uses the same two processors only while it comes.

use super::Options;
use super::measure::{median, micros, pause};
use super::report::{Goal, Report, Row};
use super::server::Server;
use anyhow::{Context as _, Result, ensure};
use lowtide_clock as clock;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

const ROUNDS: usize = 6;

/// Requests of a good client in a round: enough for a 99th percentile.
const REQUESTS: usize = 3_000;

/// Every so many requests it comes anew, as clients without keep-alive do.
const ANEW_EVERY: usize = 10;

/// The crowd: heads that never end, and readers of events that never read.
const SLOW: usize = 5_000;
const DEAF: usize = 500;

/// After a crowd came or went, for the daemon to have taken or closed its connections.
const SETTLE: Duration = Duration::from_millis(1_500);

const WAITS_MAX: Duration = Duration::from_secs(10);

/// The 99th percentile, worsened by a fifth at most.
const GOAL: Goal = Goal::RatioAtMost(1.2);

const ASK: &[u8] = b"GET /api/system-stats/quiet HTTP/1.1\r\nhost: localhost\r\n\r\n";

pub(crate) fn run(report: &mut Report, _: Options) -> Result<()> {
    let daemon = Server::daemon()?;
    let (mut calm, mut crowded, mut memory) = (Vec::new(), Vec::new(), Vec::new());
    let alone = daemon.memory()?.resident;
    for round in 0..=ROUNDS {
        let without = good(daemon.address())?;
        let crowd = crowd(daemon.address())?;
        pause(SETTLE);
        let with = good(daemon.address())?;
        memory.push(daemon.memory()?.resident);
        drop(crowd);
        pause(SETTLE);
        // The first round warms.
        if round > 0 {
            calm.push(without);
            crowded.push(with);
        }
    }
    for (name, of) in [("p50", 50_usize), ("p99", 99)] {
        let at =
            |latencies: &Vec<f64>| latencies.get(latencies.len() * of / 100).copied().unwrap_or_default();
        let ratio = median(crowded.iter().zip(&calm).map(|(crowded, calm)| at(crowded) / at(calm)));
        let row = Row::new(
            format!("{name} beside {SLOW} slow sockets and {DEAF} deaf readers"),
            median(crowded.iter().map(at)),
            "us",
        )
        .beside("alone", median(calm.iter().map(at)), ratio);
        report.row(if of == 99 { row.goal(GOAL) } else { row });
    }
    let most = memory.into_iter().fold(alone, f64::max);
    report.row(Row::new("memory beside them", most / 1e6, "MB").note(format!("alone {:.1}", alone / 1e6)));
    Ok(())
}

/// One client after the other's answer; how long each took, in order of length.
fn good(address: SocketAddr) -> Result<Vec<f64>> {
    let mut latencies = Vec::with_capacity(REQUESTS);
    let mut stream = connect(address)?;
    for number in 0..REQUESTS {
        let begun = clock::mono();
        if number % ANEW_EVERY == 0 {
            stream = connect(address)?;
        }
        stream.write_all(ASK)?;
        answer(&mut stream)?;
        latencies.push(micros(clock::mono().since(begun)));
    }
    latencies.sort_by(f64::total_cmp);
    Ok(latencies)
}

fn connect(address: SocketAddr) -> Result<TcpStream> {
    let stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(WAITS_MAX))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Reads one answer with a length, which must be a good one.
fn answer(stream: &mut TcpStream) -> Result<()> {
    let mut bytes = Vec::new();
    let mut buffer = [0; 8 << 10];
    loop {
        let count = stream.read(&mut buffer)?;
        ensure!(count > 0, "the connection of a good client was closed");
        bytes.extend_from_slice(buffer.get(..count).unwrap_or_default());
        let text = String::from_utf8_lossy(&bytes);
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        ensure!(head.starts_with("HTTP/1.1 200"), "a good client was answered {head}");
        let length =
            head.lines().find_map(|line| line.strip_prefix("content-length: ")).context("no length")?;
        if body.len() >= length.parse::<usize>()? {
            return Ok(());
        }
    }
}

fn crowd(address: SocketAddr) -> Result<Vec<TcpStream>> {
    let mut crowd = Vec::with_capacity(SLOW + DEAF);
    for number in 0..SLOW + DEAF {
        let mut stream = TcpStream::connect(address)?;
        let words: &[u8] = if number < DEAF {
            b"GET /api/events HTTP/1.1\r\nhost: localhost\r\n\r\n"
        } else {
            b"GET /livez HTTP/1.1\r\nhost: localhost\r\nx-slow: "
        };
        // It may be closed already: that is the daemon's right.
        let _ = stream.write_all(words);
        crowd.push(stream);
    }
    Ok(crowd)
}
