//! Held against programs that others wrote: promtool and Prometheus read the exposition, psutil measures the same machine.
//! Where a machine cannot have one of them, `LOWTIDE_TEST_SKIP` says so and the test says it loudly; otherwise a missing one
//! is a failure.

use crate::daemon::{Daemon, Guard, Launch, eventually, lines};
use crate::http;
use crate::load::{self, Writer};
use lowtide_core::history::SeriesInfo;
use lowtide_core::metric::Kind;
use lowtide_core::units::Unit;
use lowtide_store::history::{Frame, HistoryStore, SeriesId};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{BufReader, Write as _};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// The program of a peer, or nothing where this machine cannot have it.
pub(crate) fn peer(name: &str) -> Option<PathBuf> {
    if let Some(file) = std::env::var_os(format!("LOWTIDE_TEST_{}", name.to_uppercase())) {
        return Some(file.into());
    }
    let skipped = std::env::var("LOWTIDE_TEST_SKIP").unwrap_or_default();
    if skipped.split(',').any(|skipped| skipped == name) {
        println!("SKIPPED: there is no {name} on this machine");
        return None;
    }
    panic!("there is no {name} to compare with: run `cargo xtask test`, which installs it");
}

/// A daemon that has been asked for everything, so that every series of the API is there.
fn busy_daemon() -> Daemon {
    let daemon = Launch::with(
        "[collectors]\ntick_seconds = 1\napi_seconds = 1\nprocess_seconds = 1\nsensors_seconds = 1\n",
    )
    .start();
    for path in lowtide_api::ROUTES.iter().filter(|path| path.starts_with('/') && **path != "/api/events") {
        daemon.get(path);
    }
    daemon.get("/nothing");
    daemon.wait_for_tick(4);
    daemon
}

#[test]
fn promtool_finds_nothing_to_say_about_the_exposition() {
    let Some(promtool) = peer("promtool") else { return };
    let daemon = busy_daemon();
    let answer = daemon.get("/metrics");
    assert!(answer.body.len() > 10_000, "a full scrape");
    let mut command = Command::new(promtool);
    command.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(&answer.body).unwrap();
    let output = child.wait_with_output().unwrap();
    let said =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && said.trim().is_empty(), "{}: {said}", output.status);
}

#[test]
fn promtool_takes_in_an_export_of_history() {
    let Some(promtool) = peer("promtool") else { return };
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("history.db");
    let info = |metric: &str, suffix: &str, label: (&str, &str), kind, unit| SeriesInfo {
        group: "addon.demo".into(),
        metric: metric.into(),
        suffix: suffix.into(),
        labels: [(label.0.into(), label.1.into())].into(),
        kind,
        unit,
    };
    let odd = ("queue", "a\"b,c\nd\\e");
    let series = [
        info("addon_demo_jobs", "", odd, Kind::Gauge, Unit::Count),
        info("addon_demo_read_bytes_total", "", odd, Kind::Counter, Unit::Bytes),
        info("addon_demo_wait_seconds", "_bucket", ("le", "0.5"), Kind::Histogram, Unit::Seconds),
        info("addon_demo_wait_seconds", "_bucket", ("le", "+Inf"), Kind::Histogram, Unit::Seconds),
    ];
    let mut store = HistoryStore::open(&file).unwrap();
    let ids: Vec<_> = store.ids(&series).unwrap().into_iter().map(Option::unwrap).collect();
    // Three hours of ticks over a midnight, with a gap in the second series.
    let start = 20_000 * 86_400_000 - 3_600_000;
    let frame = |tick: i64| {
        let samples = ids.iter().enumerate().filter(|(series, _)| *series != 1 || tick % 700 > 20);
        let sample = |(series, id): (usize, &SeriesId)| (*id, (tick * 3 + series as i64) as f64 / 8.0);
        Frame { at_ms: start + tick * 5_000 + tick % 2, samples: samples.map(sample).collect() }
    };
    let frames: Vec<Frame> = (0..2_160).map(frame).collect();
    store.append(&frames).unwrap();
    let text = folder.path().join("history.om");
    let ended = crate::cli::run_in(
        folder.path(),
        &[],
        &[
            "history",
            "export",
            "--format=openmetrics",
            "--from=0",
            "--file=history.db",
            "--output=history.om",
        ],
    );
    assert_eq!((ended.code, ended.out.as_str(), ended.err.as_str()), (0, "", ""));

    let run = |arguments: &[&str]| {
        let mut command = Command::new(&promtool);
        let output = command.current_dir(folder.path()).args(arguments).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{arguments:?}: {said}");
        String::from_utf8(output.stdout).unwrap()
    };
    run(&["tsdb", "create-blocks-from", "openmetrics", "history.om", "blocks"]);
    // It opens nothing that has no log, as a server would leave it.
    fs::create_dir(folder.path().join("blocks/wal")).unwrap();
    let dumped = run(&["tsdb", "dump", "blocks"]);
    let sample = |line: &str| -> (String, u64, i64) {
        let mut words = line.rsplitn(3, ' ');
        let time = words.next().unwrap().parse().unwrap();
        let value: f64 = words.next().unwrap().parse().unwrap();
        let name = words.next().unwrap().split('"').nth(1).unwrap().to_owned();
        (name, value.to_bits(), time)
    };
    let mut found: Vec<(String, u64, i64)> = dumped.lines().map(sample).collect();
    let mut written: Vec<(String, u64, i64)> = Vec::new();
    for frame in &frames {
        for (id, value) in &frame.samples {
            let series = &series[ids.iter().position(|known| known == id).unwrap()];
            written.push((format!("lowtide_{}", series.name()), value.to_bits(), frame.at_ms));
        }
    }
    found.sort_unstable();
    written.sort_unstable();
    assert!(found == written, "{} samples of {}; {}", found.len(), written.len(), text.display());
    assert!(dumped.contains(r#"queue="a\"b,c\nd\\e""#), "{:?}", dumped.lines().next());
}

/// One family of an exposition.
#[derive(Default)]
struct Family {
    kind: String,
    help: bool,
    /// Series name with labels, and value.
    samples: Vec<(String, f64)>,
}

/// The families of an exposition in their order. Checks what both formats ask for: heads before samples, each family in one
/// place, no series twice, values that can be read.
fn families(text: &str) -> BTreeMap<String, Family> {
    let mut families: BTreeMap<String, Family> = BTreeMap::new();
    let mut open = String::new();
    let mut seen = BTreeSet::new();
    for line in text.lines().filter(|line| *line != "# EOF") {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let name = rest.split(' ').next().unwrap();
            assert!(
                families.insert(name.to_owned(), Family { help: true, ..Family::default() }).is_none(),
                "{name} twice"
            );
            open = name.to_owned();
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            assert_eq!(name, open, "TYPE without HELP");
            families.get_mut(name).unwrap().kind = kind.to_owned();
        } else {
            let (series, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("{line:?}"));
            let value: f64 = value.parse().unwrap_or_else(|_| panic!("{line:?}"));
            assert!(value.is_finite(), "{line:?}");
            assert!(seen.insert(series.to_owned()), "{series} twice");
            let name = series.split('{').next().unwrap();
            let suffix =
                name.strip_prefix(open.as_str()).unwrap_or_else(|| panic!("{name} stands below {open}"));
            assert!(["", "_total", "_bucket", "_sum", "_count"].contains(&suffix), "{name} below {open}");
            families.get_mut(&open).unwrap().samples.push((series.to_owned(), value));
        }
    }
    families
}

#[test]
fn both_formats_have_the_same_series_in_sound_families() {
    let daemon = busy_daemon();
    let accept = [("accept", "application/openmetrics-text; version=1.0.0")];
    let (text, open) = eventually("both formats of one tick", || {
        let before = daemon.sequence();
        let text = daemon.get("/metrics").text();
        let open = http::get_with(daemon.address, "/metrics", &accept).text();
        (daemon.sequence() == before).then_some((text, open))
    });
    assert!(open.ends_with("# EOF\n") && open.matches("# EOF").count() == 1);
    let (text, open) = (families(&text), families(&open));
    let samples = |families: &BTreeMap<String, Family>| -> BTreeMap<String, u64> {
        let samples = families.values().flat_map(|family| &family.samples);
        samples.map(|(series, value)| (series.clone(), value.to_bits())).collect()
    };
    assert_eq!(samples(&text), samples(&open));
    assert!(samples(&open).len() > 100);
    for (name, family) in &open {
        assert!(family.help && !family.samples.is_empty(), "{name}");
        let counter = family.kind == "counter";
        assert!(!name.ends_with("_total"), "OpenMetrics names the family without it: {name}");
        for (series, value) in &family.samples {
            let total = series.split('{').next().unwrap().ends_with("_total");
            assert_eq!(total, counter, "{series} of a {}", family.kind);
            assert!(!counter || *value >= 0.0, "{series} {value}");
        }
        if family.kind == "histogram" {
            let of = |suffix: &str| -> Vec<&(String, f64)> {
                family
                    .samples
                    .iter()
                    .filter(|(series, _)| series.starts_with(&format!("{name}{suffix}")))
                    .collect()
            };
            let buckets: Vec<f64> = of("_bucket").into_iter().map(|(_, value)| *value).collect();
            assert!(buckets.windows(2).all(|pair| pair[0] <= pair[1]), "{name} {buckets:?}");
            let last = &of("_bucket").last().unwrap().0;
            assert!(last.contains("le=\"+Inf\""), "{last}");
            assert_eq!(of("_count").first().map(|(_, value)| *value), buckets.last().copied(), "{name}");
        }
    }
}

#[test]
fn prometheus_scrapes_and_answers_from_what_it_scraped() {
    let Some(prometheus) = peer("prometheus") else { return };
    let daemon = busy_daemon();
    let folder = tempfile::tempdir().unwrap();
    let config = format!(
        "global: {{scrape_interval: 1s, scrape_timeout: 1s}}\nscrape_configs:\n- job_name: lowtide\n  static_configs:\n  - targets: ['{}']\n",
        daemon.address
    );
    fs::write(folder.path().join("prometheus.yml"), config).unwrap();
    // Free a moment ago; Prometheus has no way to say which port it took.
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let log = File::create(folder.path().join("log")).unwrap();
    let mut command = Command::new(prometheus);
    command.arg(format!("--config.file={}", folder.path().join("prometheus.yml").display()));
    command.arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()));
    command
        .arg(format!("--web.listen-address={address}"))
        .stdout(Stdio::null())
        .stderr(log)
        .stdin(Stdio::null());
    let _prometheus = Guard(command.spawn().unwrap());
    let query = |expression: &str| -> Option<Vec<Value>> {
        let answer = http::try_get(address, &format!("/api/v1/query?query={expression}"))?;
        // 503 while it starts.
        let result = (answer.status == 200).then(|| answer.json())?["data"]["result"].as_array()?.clone();
        (!result.is_empty()).then_some(result)
    };
    let value = |series: &Value| series["value"][1].as_str().unwrap().parse::<f64>().unwrap();
    let up = eventually("Prometheus has scraped", || query("up").filter(|up| value(&up[0]) == 1.0));
    assert_eq!(up.len(), 1);
    let cpu = eventually("a metric of ours", || query("lowtide_host_cpu_seconds_total"));
    let modes: BTreeSet<&str> = cpu.iter().filter_map(|series| series["metric"]["mode"].as_str()).collect();
    assert!(modes.contains("user") && modes.contains("idle"), "{modes:?}");
    assert!(cpu.iter().all(|series| value(series) >= 0.0));
    let scraped = query("scrape_samples_scraped").map(|one| value(&one[0])).unwrap();
    let accept = [("accept", "application/openmetrics-text")];
    let open = http::get_with(daemon.address, "/metrics", &accept).text();
    let ours = open.lines().filter(|line| !line.starts_with('#')).count() as f64;
    assert!((scraped - ours).abs() <= 20.0, "it took {scraped} samples of {ours}");
}

/// psutil in a process of its own, asked by a line.
struct Psutil {
    child: Guard,
    readings: std::sync::mpsc::Receiver<String>,
}

impl Psutil {
    fn start(python: PathBuf) -> Self {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/peers/psutil_reading.py");
        let mut command = Command::new(python);
        let mut child = command.arg(script).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let readings = lines(BufReader::new(child.stdout.take().unwrap()));
        Self { child: Guard(child), readings }
    }

    fn read(&mut self) -> Value {
        let stdin = self.child.0.stdin.as_mut().unwrap();
        stdin.write_all(b"\n").and_then(|()| stdin.flush()).unwrap();
        let line = self.readings.recv_timeout(crate::daemon::PATIENCE).expect("psutil's answer");
        serde_json::from_str(&line).unwrap()
    }
}

/// What is compared, with every disagreement collected.
struct Bracket {
    before: Value,
    after: Value,
    wrong: Vec<String>,
    compared: usize,
}

impl Bracket {
    /// Our value must lie between psutil's before and after; `slack` is for rounding on both sides.
    fn between(&mut self, what: &str, pointer: &str, scale: f64, ours: &Value, slack: f64) {
        let at =
            |reading: &Value| reading.pointer(pointer).and_then(Value::as_f64).map(|value| value * scale);
        let (Some(low), Some(high), Some(ours)) = (at(&self.before), at(&self.after), ours.as_f64()) else {
            self.wrong.push(format!("{what}: {:?} {:?} {ours}", at(&self.before), at(&self.after)));
            return;
        };
        self.compared += 1;
        if ours < low.min(high) - slack || ours > low.max(high) + slack {
            self.wrong.push(format!("{what}: {ours} is not between {low} and {high} (slack {slack})"));
        }
    }
}

fn rows<'a>(object: &'a Value, key: &str) -> Vec<&'a Value> {
    object[key].as_array().map(|rows| rows.iter().collect()).unwrap_or_default()
}

/// Reads psutil, waits for two ticks (the first may have begun before that reading), takes ours, and reads psutil again.
///
/// Tolerances: counters none but rounding (0.02 s of CPU time, which both sides print in hundredths; idle and iowait 0.1 s,
/// because the kernel lets them step back; 2 ms of disk time); available memory 5 % of all memory; swap 1 % of it; load 0.05;
/// boot time 2 s; space of the root file system 1 % of it.
fn compare(daemon: &Daemon, psutil: &mut Psutil) {
    let before = psutil.read();
    daemon.wait_for_tick(daemon.sequence() + 2);
    let ours = daemon.current()["host"].clone();
    let mut bracket = Bracket { before, after: psutil.read(), wrong: Vec::new(), compared: 0 };

    for row in rows(&ours["cpu"], "by_mode") {
        let mode = row["mode"].as_str().unwrap();
        let slack = if matches!(mode, "idle" | "iowait") { 0.1 } else { 0.02 };
        // psutil gives the kernel's numbers, where the time of guests is in user as well; here are none, or both agree.
        if !matches!(mode, "user" | "nice") || bracket.before["cpu_times"]["guest"].as_f64() == Some(0.0) {
            bracket.between(mode, &format!("/cpu_times/{mode}"), 1.0, &row["seconds_total"], slack);
        }
    }
    bracket.between("cores", "/cpu_count", 1.0, &ours["cpu"]["logical_processors"], 0.0);
    let memory = bracket.before["memory"]["total"].as_f64().unwrap();
    bracket.between("memory", "/memory/total", 1.0, &ours["memory"]["size_bytes"], 0.0);
    bracket.between("available", "/memory/available", 1.0, &ours["memory"]["available_bytes"], memory * 0.05);
    let swap = bracket.before["swap"]["total"].as_f64().unwrap();
    bracket.between("swap", "/swap/total", 1.0, &ours["memory"]["swap_size_bytes"], 0.0);
    bracket.between("swap used", "/swap/used", 1.0, &ours["memory"]["swap_used_bytes"], swap * 0.01);
    bracket.between("swap in", "/swap/sin", 1.0, &ours["memory"]["swap_in_bytes_total"], 0.0);
    bracket.between("swap out", "/swap/sout", 1.0, &ours["memory"]["swap_out_bytes_total"], 0.0);
    for (number, minutes) in ["1", "5", "15"].into_iter().enumerate() {
        let ours = &ours["system"][format!("load_average{minutes}")];
        bracket.between(&format!("load {minutes}"), &format!("/load/{number}"), 1.0, ours, 0.05);
    }
    bracket.between("boot time", "/boot_time", 1.0, &ours["system"]["boot_time_seconds"], 2.0);
    for row in rows(&ours["disk"], "by_device") {
        let device = row["device"].as_str().unwrap();
        for (theirs, field, scale, slack) in [
            ("read_count", "reads_total", 1.0, 0.0),
            ("write_count", "writes_total", 1.0, 0.0),
            ("read_bytes", "read_bytes_total", 1.0, 0.0),
            ("write_bytes", "written_bytes_total", 1.0, 0.0),
            ("busy_time", "busy_seconds_total", 1e-3, 0.002),
        ] {
            bracket.between(
                &format!("{device} {field}"),
                &format!("/disks/{device}/{theirs}"),
                scale,
                &row[field],
                slack,
            );
        }
    }
    for row in rows(&ours["network"], "by_interface") {
        let interface = row["interface"].as_str().unwrap();
        for (theirs, field) in [
            ("bytes_recv", "receive_bytes_total"),
            ("bytes_sent", "transmit_bytes_total"),
            ("packets_recv", "receive_packets_total"),
            ("packets_sent", "transmit_packets_total"),
            ("errin", "receive_errors_total"),
            ("dropin", "receive_drops_total"),
        ] {
            let pointer = format!("/interfaces/{interface}/{theirs}");
            bracket.between(&format!("{interface} {field}"), &pointer, 1.0, &row[field], 0.0);
        }
    }
    let root = rows(&ours["filesystem"], "by_mountpoint_device_fstype");
    if let Some(root) = root.into_iter().find(|row| row["mountpoint"] == "/") {
        let size = root["size_bytes"].as_f64().unwrap();
        bracket.between("size of /", "/root/total", 1.0, &root["size_bytes"], 0.0);
        bracket.between("free on /", "/root/free", 1.0, &root["available_bytes"], size * 0.01);
    }
    println!("{} values compared", bracket.compared);
    assert!(bracket.compared > 20 && bracket.wrong.is_empty(), "{:#?}", bracket.wrong);
}

#[test]
fn psutil_measures_the_same_idle_and_loaded() {
    let Some(python) = peer("python") else { return };
    let daemon = Daemon::start();
    daemon.wait_for_tick(2);
    let mut psutil = Psutil::start(python);
    compare(&daemon, &mut psutil);
    let load = (load::spinners(), Writer::start());
    compare(&daemon, &mut psutil);
    compare(&daemon, &mut psutil);
    drop(load);
    compare(&daemon, &mut psutil);
}

#[test]
fn curl_reads_the_stream_and_the_documents() {
    // The most used client: what the README shows must work with it. A machine without it says so.
    let folder = tempfile::tempdir().unwrap();
    if Command::new("curl").arg("--version").stdout(Stdio::null()).status().is_err() {
        println!("SKIPPED: there is no curl on this machine");
        return;
    }
    let daemon = Daemon::start();
    let curl = |arguments: &[&str], path: &str| {
        let mut command = Command::new("curl");
        command.args(["-sS", "--noproxy", "*"]).args(arguments).arg(format!("{}{path}", daemon.url()));
        command.current_dir(folder.path()).output().unwrap()
    };
    let compressed = curl(&["--compressed", "--fail"], "/api/system-stats/current");
    assert!(compressed.status.success(), "{}", String::from_utf8_lossy(&compressed.stderr));
    serde_json::from_slice::<Value>(&compressed.stdout).unwrap();
    // 28: the time was up; the stream itself never ends.
    let stream = curl(&["-N", "--max-time", "2"], "/api/events");
    assert_eq!(stream.status.code(), Some(28));
    assert!(String::from_utf8_lossy(&stream.stdout).contains("event: tick"));
}
