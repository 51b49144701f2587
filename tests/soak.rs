//! What takes long or needs strict times: only `cargo xtask soak` runs it. Every test here returns at once otherwise, and says
//! so. The machine should have nothing else to do.

use crate::daemon::{Daemon, Launch, eventually_within};
use crate::events::Stream;
use crate::load::{self, Writer};
use crate::random::Random;
use crate::verdict::reason;
use lowtide_clock as clock;
use rustix::process::Signal;
use serde_json::Value;
use std::fs;
use std::time::Duration;

/// Whether the long tests are wanted.
fn wanted() -> bool {
    let wanted = std::env::var("LOWTIDE_SOAK").is_ok_and(|value| value == "1");
    if !wanted {
        println!("SKIPPED: cargo xtask soak runs it");
    }
    wanted
}

/// Lets this much time pass, looking at the daemon now and then.
fn pass(daemon: &mut Daemon, time: Duration) {
    let end = clock::mono().plus(time);
    while clock::mono() < end {
        assert_eq!(daemon.ended(), None, "the daemon has ended");
        std::thread::park_timeout(Duration::from_millis(100).min(end.since(clock::mono())));
    }
}

fn state(daemon: &Daemon) -> Value {
    daemon.quiet()["state"].clone()
}

/// Seconds until the verdict is BUSY with one of these signals among its reasons.
fn until_busy(daemon: &Daemon, signals: &[&str]) -> f64 {
    let start = clock::mono();
    eventually_within(Duration::from_secs(20), "BUSY with the right reason", || {
        let quiet = daemon.quiet();
        let right = reason(&quiet, signals).is_some_and(|reason| reason["level"] == "BUSY");
        (quiet["state"] == "BUSY" && right).then_some(())
    });
    clock::mono().since(start).as_secs_f64()
}

#[test]
fn busy_comes_within_three_seconds_at_every_phase_of_the_tick() {
    if !wanted() {
        return;
    }
    // The default tick of two seconds, and thresholds as they are; only the way back is made short.
    let config = "[quiet]\ndwell_seconds = 5\nbusy_hold_seconds = 1\nmean_window_seconds = 2\n\
                  [quiet.signals.api_rate]\nenabled = false\n";
    let mut daemon = Launch::with(config).start();
    let mut random = Random::new(u64::from(daemon.pid()));
    for (name, signals) in [("cpu", &["cpu"][..]), ("disk", &["io_pressure", "disk_busy"])] {
        let mut seconds = Vec::new();
        for _ in 0..8 {
            eventually_within(Duration::from_secs(120), "calm", || (state(&daemon) == "QUIET").then_some(()));
            pass(&mut daemon, Duration::from_millis(random.below(2_000)));
            seconds.push(if name == "cpu" {
                let _load = load::spinners();
                until_busy(&daemon, signals)
            } else {
                let _load = Writer::start();
                until_busy(&daemon, signals)
            });
        }
        seconds.sort_by(f64::total_cmp);
        println!("{name}: BUSY after {seconds:.2?} s");
        assert!(seconds.last().is_some_and(|worst| *worst <= 3.0), "{name}: {seconds:.2?}");
    }
}

#[test]
fn quiet_comes_after_the_dwell_of_the_defaults() {
    if !wanted() {
        return;
    }
    let mut daemon = Launch::with("").start();
    drop(load::spinners());
    let start = clock::mono();
    eventually_within(Duration::from_secs(600), "QUIET", || {
        assert_eq!(daemon.ended(), None);
        let quiet = state(&daemon) == "QUIET";
        // Not so often that the questions themselves are a load.
        std::thread::park_timeout(Duration::from_millis(500));
        quiet.then_some(())
    });
    let seconds = clock::mono().since(start).as_secs_f64();
    println!("QUIET after {seconds:.1} s");
    assert!(seconds >= 179.0, "{seconds}");
    pass(&mut daemon, Duration::from_secs(1));
    let _load = load::spinners();
    let seconds = until_busy(&daemon, &["cpu"]);
    println!("BUSY after {seconds:.2} s");
    assert!(seconds <= 3.0, "{seconds}");
}

fn resident_bytes(daemon: &Daemon) -> f64 {
    let status = fs::read_to_string(format!("/proc/{}/status", daemon.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<f64>().unwrap() * 1_024.0
}

fn descriptors(daemon: &Daemon) -> usize {
    fs::read_dir(format!("/proc/{}/fd", daemon.pid())).unwrap().count()
}

fn threads(daemon: &Daemon) -> usize {
    fs::read_dir(format!("/proc/{}/task", daemon.pid())).unwrap().count()
}

#[test]
fn ten_minutes_of_clients_and_reloads_leave_nothing_behind() {
    if !wanted() {
        return;
    }
    let mut daemon = Launch::new().start();
    let configs = [
        "[collectors]\ntick_seconds = 1\n",
        "[collectors]\ntick_seconds = 1\n[quiet]\ndwell_seconds = 9\n",
        "broken",
    ];
    // The first minutes fill buffers that stay.
    let work = |daemon: &Daemon, number: usize| {
        let mut stream = Stream::open(daemon.address, "?kinds=tick", None);
        if number.is_multiple_of(5) {
            stream.event();
        }
        drop(stream);
        for path in
            ["/metrics", "/api/system-stats/current", "/api/system-stats/aggregates?group=host", "/docs"]
        {
            assert_eq!(daemon.get(path).status, 200);
        }
        if number.is_multiple_of(10) {
            fs::write(daemon.config_file(), configs[number / 10 % 3]).unwrap();
            daemon.signal(Signal::HUP);
        }
    };
    let start = clock::mono();
    let mut samples: Vec<(f64, f64)> = Vec::new();
    let mut base = None;
    for number in 0..600_usize {
        work(&daemon, number);
        let left = Duration::from_secs(number as u64 + 1).saturating_sub(clock::mono().since(start));
        pass(&mut daemon, left);
        if number == 100 {
            base = Some((descriptors(&daemon), threads(&daemon)));
        }
        if number >= 100 && number % 20 == 0 {
            samples.push((clock::mono().since(start).as_secs_f64(), resident_bytes(&daemon)));
        }
    }
    // The window itself grows for an hour: eight bytes a series and tick at most.
    let series = daemon.json("/api/system-stats/aggregates?range=1m")["series"].as_array().unwrap().len();
    let count = samples.len() as f64;
    let (x, y) = samples.iter().fold((0.0, 0.0), |sum, one| (sum.0 + one.0 / count, sum.1 + one.1 / count));
    let slope = samples.iter().map(|one| (one.0 - x) * (one.1 - y)).sum::<f64>()
        / samples.iter().map(|one| (one.0 - x).powi(2)).sum::<f64>();
    println!("RSS {:.1} MB, slope {slope:.0} bytes/s, {series} series", y / 1e6);
    assert!(slope < 8.0 * series as f64 + 2_000.0, "{slope} bytes a second");
    let (files, tasks) = base.unwrap();
    let now = eventually_within(Duration::from_secs(30), "no descriptor left behind", || {
        let now = descriptors(&daemon);
        (now <= files + 2).then_some(now)
    });
    println!("descriptors {files} and {now}, threads {tasks} and {}", threads(&daemon));
    assert_eq!(threads(&daemon), tasks);
    assert_eq!(daemon.json("/api/system-stats/health")["status"], "ok");
    let sequence = daemon.sequence();
    println!("tick {sequence} after {:.0} s", clock::mono().since(start).as_secs_f64());
    assert!(sequence >= 590, "ticks were left out");
}
