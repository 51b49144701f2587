//! `http`: the daemon beside a server of fixed bodies under the same load, in short rounds that alternate. Processor time a request
//! is the figure to trust; requests per second are told as a ratio only, because the load generator shares the cores.

pub(crate) mod load;

use super::Options;
use super::measure::{median, micros, pause};
use super::report::{Goal, Report, Row};
use super::server::{Server, fixed};
use anyhow::{Result, ensure};
use load::Load;
use std::time::Duration;

const METRICS: &str = "/metrics";
const CURRENT: &str = "/api/system-stats/current";

/// Rounds of the comparison and of what is told besides.
const ROUNDS: usize = 8;
const ROUNDS_BESIDES: usize = 4;
/// A round gives each server 1.5 s in slices this short, in turns: what else the machine does then hits both alike.
const SLICES: usize = 6;
const SLICE: Duration = Duration::from_millis(250);
const ROUND_BESIDES: Duration = Duration::from_millis(1_000);

/// Longer than the longest interval of a collector whose series depend on requests, twice.
const SETTLE: Duration = Duration::from_secs(12);

/// Goals: a request may cost 0.1 ms, and the daemon keeps nine tenths of the plain server's throughput.
const CPU_GOAL: Goal = Goal::FigureAtMost(100.0);
const RATE_GOAL: Goal = Goal::RatioAtLeast(0.9);

/// What a scrape of the usual exporter costs, for scale: it collects and renders at every request.
const KNOWN_PEER: &str = "node_exporter: 10 000 us";

/// What is asked besides the comparison: name, path, header lines, expected status.
const BESIDES: [(&str, &str, &str, u16); 7] = [
    ("current, gzip", CURRENT, "accept-encoding: gzip\r\n", 200),
    ("metrics, gzip", METRICS, "accept-encoding: gzip\r\n", 200),
    ("current, 304", CURRENT, "if-none-match: *\r\n", 304),
    ("quiet", "/api/system-stats/quiet", "", 200),
    ("livez", "/livez", "", 200),
    ("history, 1 series 1 h", "/api/system-stats/history?metric=host_cpu_usage_ratio&range=1h", "", 200),
    ("aggregates, group host", "/api/system-stats/aggregates?group=host", "", 200),
];

/// What one load did in one round.
#[derive(Clone, Copy, Debug, Default)]
struct Turn {
    requests: f64,
    wall: Duration,
    /// Processor time of the server and of the load generator.
    server: Duration,
    client: Duration,
}

impl Turn {
    fn rate(&self) -> f64 {
        self.requests / self.wall.as_secs_f64()
    }

    /// Microseconds a request, of the server.
    fn server(&self) -> f64 {
        micros(self.server) / self.requests
    }

    fn client(&self) -> f64 {
        micros(self.client) / self.requests
    }

    /// Requests in a second of processor time of both ends: the throughput of a machine that does nothing else.
    fn capacity(&self) -> f64 {
        self.requests / (self.server + self.client).as_secs_f64()
    }

    fn add(&mut self, load: &mut Load, server: &Server, length: Duration) -> Result<()> {
        let before = server.cpu()?;
        let done = load.run(length)?;
        self.server += server.cpu()?.saturating_sub(before);
        ensure!(done.requests > 0, "no request was answered");
        #[expect(clippy::cast_precision_loss, reason = "counts far below 2^52")]
        {
            self.requests += done.requests as f64;
        }
        self.wall += done.wall;
        self.client += done.cpu;
        Ok(())
    }
}

pub(crate) fn run(report: &mut Report, _: Options) -> Result<()> {
    let daemon = Server::daemon()?;
    // Rates, and the series about requests, come with later ticks: until then documents grow.
    for (_, path, headers, _) in BESIDES {
        daemon.get(path, headers)?;
    }
    pause(SETTLE);
    let (metrics, current) = (daemon.get(METRICS, "")?, daemon.get(CURRENT, "")?);
    let plain = fixed::start(&[(METRICS, &metrics), (CURRENT, &current)])?;
    for (path, answer) in [(METRICS, metrics), (CURRENT, current)] {
        compare(report, &daemon, &plain, path, answer.body.len())?;
    }
    besides(report, &daemon)
}

fn compare(report: &mut Report, daemon: &Server, plain: &Server, path: &str, bytes: usize) -> Result<()> {
    let mut ours = Load::connect(daemon.address(), path, "", 200)?;
    let mut theirs = Load::connect(plain.address(), path, "", 200)?;
    let (mut turns, mut beside) = (Vec::new(), Vec::new());
    for round in 0..=ROUNDS {
        let (mut turn, mut other) = (Turn::default(), Turn::default());
        for slice in 0..SLICES {
            let mut both = [(&mut ours, daemon, &mut turn), (&mut theirs, plain, &mut other)];
            if slice % 2 == 1 {
                both.reverse();
            }
            for (load, server, turn) in both {
                turn.add(load, server, SLICE)?;
            }
        }
        // The first round warms.
        if round > 0 {
            turns.push(turn);
            beside.push(other);
        }
    }
    let of = |turns: &[Turn], what: fn(&Turn) -> f64| median(turns.iter().map(what));
    let ratio = |what: fn(&Turn) -> f64| {
        median(turns.iter().zip(&beside).map(|(ours, theirs)| what(ours) / what(theirs)))
    };
    report.row(
        Row::new(format!("{path}, {bytes} bytes: server cpu"), of(&turns, Turn::server), "us")
            .beside("fixed body", of(&beside, Turn::server), ratio(Turn::server))
            .note(format!("load generator {:.1} us", of(&turns, Turn::client)))
            .note(format!("last body {} bytes", ours.bytes_of_last()))
            .note(KNOWN_PEER)
            .goal(CPU_GOAL),
    );
    report.row(
        Row::new(format!("{path}: requests"), of(&turns, Turn::rate), "/s")
            .beside("fixed body", of(&beside, Turn::rate), ratio(Turn::rate))
            .note(format!("{:.2}x by processor time of both ends", ratio(Turn::capacity)))
            .goal(RATE_GOAL),
    );
    Ok(())
}

fn besides(report: &mut Report, daemon: &Server) -> Result<()> {
    let mut loads = Vec::new();
    for (name, path, headers, status) in BESIDES {
        loads.push((name, Load::connect(daemon.address(), path, headers, status)?, Vec::new()));
    }
    for round in 0..=ROUNDS_BESIDES {
        for (_, load, turns) in &mut loads {
            let mut turn = Turn::default();
            turn.add(load, daemon, ROUND_BESIDES)?;
            if round > 0 {
                turns.push(turn);
            }
        }
    }
    for (name, load, turns) in loads {
        let rate = median(turns.iter().map(Turn::rate));
        report.row(
            Row::new(format!("{name}: server cpu"), median(turns.iter().map(Turn::server)), "us")
                .note(format!("{rate:.0} requests/s, {} bytes", load.bytes_of_last())),
        );
    }
    Ok(())
}
