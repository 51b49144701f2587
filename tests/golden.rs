//! The exposition of a fixed machine, byte for byte, in both formats. `UPDATE_GOLDEN=1` writes the files anew.

use lowtide_api::prometheus::{Format, render};
use lowtide_app::Ticker;
use lowtide_collectors::{ApiMeter, CollectConfig, table};
use lowtide_core::metric::SampleBuffer;
use lowtide_core::quiet::QuietConfig;
use lowtide_core::report::{CollectorReport, CollectorStatus, Samples};
use lowtide_core::state::HostState;
use lowtide_core::units::{MonoTime, Now, WallTime};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

const FILES: [(&str, Format); 2] =
    [("desktop.prometheus.txt", Format::Text), ("desktop.openmetrics.txt", Format::OpenMetrics)];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("golden")
}

fn fixture() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../host/crates/collectors/fixtures/desktop")
}

/// Copies a folder over another; files that are open stay the same files, as in the real /proc.
fn overlay(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        match entry.file_type().unwrap() {
            kind if kind.is_dir() => overlay(&entry.path(), &target),
            kind if kind.is_file() => fs::write(target, fs::read(entry.path()).unwrap()).unwrap(),
            _ => {}
        }
    }
}

/// The second tick of the fixture machine, two seconds after the first. What would come from the machine that runs the test
/// (space of its file systems, this process) is left out.
fn state() -> Arc<HostState> {
    let temp = tempfile::tempdir().unwrap();
    let proc_dir = temp.path().join("proc");
    overlay(&fixture().join("proc"), &proc_dir);
    let config = CollectConfig {
        proc_dir: proc_dir.clone(),
        sys_dir: fixture().join("sys"),
        disabled: vec!["filesystem".into(), "process".into()],
        ..CollectConfig::default()
    };
    let meter = Arc::new(ApiMeter::new(&["/metrics", "unmatched"]));
    meter.record(0, 200, Duration::from_micros(300));
    meter.record(1, 404, Duration::from_millis(40));
    let mut entries = table(&config, &lowtide_collectors::Sources::new(meter));
    let mut ticker = Ticker::new(config.tick, QuietConfig::default());
    let mut buffers: Vec<SampleBuffer> = entries.iter().map(|_| SampleBuffer::new()).collect();
    let mut newest = None;
    for (number, seconds) in [(1, 1_000), (2, 1_002)] {
        let wall = WallTime(1_800_000_000_000 + (seconds - 1_000) * 1_000);
        let now = Now { mono: MonoTime(Duration::from_secs(seconds.unsigned_abs())), wall };
        let reports = entries.iter_mut().zip(&mut buffers).map(|(entry, buffer)| {
            buffer.begin();
            let run = entry.collector.collect(now.mono, buffer);
            let samples = run.is_ok().then(|| {
                Arc::new(Samples {
                    series: buffer.layout(),
                    values: buffer.values().into(),
                    dropped: 0,
                    settled: true,
                })
            });
            CollectorReport {
                info: Arc::new(entry.info.clone()),
                status: if run.is_ok() { CollectorStatus::Ok } else { CollectorStatus::Absent },
                collected_at: samples.is_some().then_some((now.mono, now.wall)),
                samples,
                fresh: true,
                stale: false,
                duration: Duration::from_micros(100),
                interval: entry.interval,
                error: run.err().map(|error| error.to_string().into()),
                status_since: now.wall,
                runs: number,
                failures: 0,
                overruns: 0,
            }
        });
        let reports = reports.collect();
        newest = Some(ticker.tick(now, reports, &[], Default::default()));
        overlay(&fixture().join("next/proc"), &proc_dir);
    }
    newest.unwrap()
}

#[test]
fn the_exposition_of_a_fixed_machine_is_what_is_written_down() {
    let state = state();
    let mut wrong = Vec::new();
    for (name, format) in FILES {
        let file = folder().join(name);
        let have = render(&state, "0.0.0-golden", format);
        assert!(have.lines().count() > 200, "{name} is nearly empty");
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            fs::create_dir_all(folder()).unwrap();
            fs::write(&file, &have).unwrap();
        }
        let want = fs::read_to_string(&file).unwrap_or_default();
        let lines = have.lines().zip(want.lines()).enumerate().filter(|(_, (have, want))| have != want);
        wrong
            .extend(lines.map(|(number, (have, want))| {
                format!("{name}:{}: have {have:?}, want {want:?}", number + 1)
            }));
        if have.len() != want.len() {
            wrong.push(format!("{name}: {} bytes, want {}", have.len(), want.len()));
        }
    }
    wrong.truncate(20);
    assert!(wrong.is_empty(), "{}\nUPDATE_GOLDEN=1 writes the files anew", wrong.join("\n"));
}

#[test]
fn every_golden_file_belongs_to_a_test() {
    let there: BTreeSet<String> = fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(there, FILES.map(|(name, _)| name.to_owned()).into());
}
