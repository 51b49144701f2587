//! The list of benchmarks and the command line that chooses among them. It measures nothing itself.

mod addons;
mod aggregates;
mod edge;
mod every_tick;
mod floor;
mod history;
mod http;
mod idle;
mod leases;
mod measure;
mod peers;
mod report;
mod server;
mod tick;
mod verdict;
mod whole_tick;

pub(crate) use addons::compile_child;
use anyhow::{Result, bail};
use report::Report;

/// What the command line asks for besides names.
#[derive(Clone, Copy, Debug, Default)]
struct Options {
    json: bool,
    /// Fetch and run other programs to compare with.
    peers: bool,
}

/// One benchmark: its name, what it is about, and how it runs.
struct Benchmark {
    name: &'static str,
    about: &'static str,
    run: fn(&mut Report, Options) -> Result<()>,
}

/// All of them, in the order in which they run.
const ALL: [Benchmark; 10] = [
    Benchmark {
        name: "tick",
        about: "the six collectors of a tick against only reading their files, and against sysinfo",
        run: tick::run,
    },
    Benchmark {
        name: "whole-tick",
        about: "a tick with its threads, verdict and window against the collectors in sequence",
        run: whole_tick::run,
    },
    Benchmark {
        name: "aggregates",
        about: "exact aggregates of 20 series of 720 samples against a plain scan",
        run: aggregates::run,
    },
    Benchmark {
        name: "quiet",
        about: "the verdict of one tick, and the documents that its first request makes",
        run: verdict::run,
    },
    Benchmark {
        name: "http",
        about: "the daemon against a server of fixed bodies, 32 connections",
        run: http::run,
    },
    Benchmark {
        name: "edge",
        about: "what a good client feels beside thousands of slow sockets and readers that never read",
        run: edge::run,
    },
    Benchmark {
        name: "idle",
        about: "a daemon that nobody asks: processor time, memory, wake-ups; with --peers beside others",
        run: idle::run,
    },
    Benchmark {
        name: "addons",
        about: "a call of an addon, a thousand of them, a start with a hundred, and a runaway",
        run: addons::run,
    },
    Benchmark {
        name: "leases",
        about: "durable grants and heartbeats over HTTP, and with 100 000 held and as many waiting; with --peers beside etcd and redis",
        run: leases::run,
    },
    Benchmark {
        name: "history",
        about: "seven days of 100 series: bytes a sample, writing, and what is asked of them; with --peers beside VictoriaMetrics",
        run: history::run,
    },
];

pub(crate) fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    // The bench starts itself again as the server that it compares the daemon with.
    if let [command, folder] = arguments.as_slice()
        && command == server::fixed::ARGUMENT
    {
        return server::fixed::serve(folder.as_ref());
    }
    let mut options = Options::default();
    let mut names = Vec::new();
    for argument in &arguments {
        match argument.as_str() {
            "--json" => options.json = true,
            "--peers" => options.peers = true,
            "--help" | "-h" | "help" => {
                help();
                return Ok(());
            }
            name if ALL.iter().any(|benchmark| benchmark.name == name) => names.push(name),
            other => bail!("no benchmark or option {other:?}; see --help"),
        }
    }
    let mut report = Report::new(options.json);
    for benchmark in ALL.iter().filter(|benchmark| names.is_empty() || names.contains(&benchmark.name)) {
        report.begin(benchmark.name);
        (benchmark.run)(&mut report, options)?;
    }
    report.end();
    Ok(())
}

fn help() {
    println!("cargo xtask bench [NAMES] [-- --json --peers]\n");
    for benchmark in &ALL {
        println!("  {:12}{}", benchmark.name, benchmark.about);
    }
    println!(
        "\n  --json      one JSON object a row\n  --peers     idle, leases, history: fetch and run other programs to compare with"
    );
    println!("  LOWTIDE_BENCH_BIN   the daemon to measure, instead of the release build");
    println!("  LOWTIDE_BENCH_TICKS history: so many ticks of 5 s instead of seven days");
}
