//! Small files, written by the store, and every text that is made of them.

use super::export::{Asked, ExportArgs, Format, Trouble, export};
use super::*;
use clap::Parser;
use lowtide_core::history::SeriesInfo;
use lowtide_core::metric::Kind;
use lowtide_core::units::{Unit, WallTime};
use lowtide_core::window::{Agg, Selector, TimeRange};
use lowtide_store::history::{Frame, HistoryStore, SeriesId};
use std::fs;
use std::time::Duration;
use tempfile::TempDir;

/// 2026-12-13T00:00:00Z.
const START: i64 = 1_797_120_000_000;

#[derive(Debug, Parser)]
struct Typed {
    #[command(subcommand)]
    command: HistoryCommand,
}

fn typed(arguments: &[&str]) -> Result<HistoryCommand, String> {
    let arguments = ["history"].iter().chain(arguments);
    Typed::try_parse_from(arguments).map(|typed| typed.command).map_err(|error| error.to_string())
}

fn info(group: &str, metric: &str, labels: &[(&str, &str)], kind: Kind, unit: Unit) -> SeriesInfo {
    let labels = labels.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect();
    SeriesInfo { group: group.into(), metric: metric.into(), suffix: "".into(), labels, kind, unit }
}

fn part(metric: &str, suffix: &str, bound: Option<&str>) -> SeriesInfo {
    let labels: Vec<(&str, &str)> = bound.map(|bound| ("le", bound)).into_iter().collect();
    let info = info("addon.demo", metric, &labels, Kind::Histogram, Unit::Seconds);
    SeriesInfo { suffix: suffix.into(), ..info }
}

/// A file of these series. Each row is a tick: its seconds after the start, and the samples that it has.
fn file(series: &[SeriesInfo], rows: &[(i64, &[Option<f64>])]) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(HISTORY_FILE);
    let mut store = HistoryStore::open(&path).unwrap();
    let ids: Vec<SeriesId> = store.ids(series).unwrap().into_iter().map(Option::unwrap).collect();
    let frame = |(seconds, values): &(i64, &[Option<f64>])| {
        let samples = ids.iter().zip(*values).filter_map(|(id, value)| Some((*id, (*value)?))).collect();
        Frame { at_ms: START + seconds * 1_000, samples }
    };
    store.append(&rows.iter().map(frame).collect::<Vec<_>>()).unwrap();
    (folder, path)
}

/// A share, a counter that is reset, and a label with everything that needs quotes. The share is missing in one tick.
fn small() -> (TempDir, PathBuf) {
    let series = [
        info("host", "host_disk_read_bytes_total", &[("device", "sda")], Kind::Counter, Unit::Bytes),
        info("host", "host_cpu_usage_ratio", &[], Kind::Gauge, Unit::Ratio),
        info(
            "addon.demo",
            "addon_demo_jobs",
            &[("queue", "a\"b,c\nd\\e"), ("b", "ä")],
            Kind::Gauge,
            Unit::Count,
        ),
    ];
    let rows: [(i64, &[Option<f64>]); 4] = [
        (0, &[Some(1_000.0), Some(0.25), Some(-1.5)]),
        (5, &[Some(6_000.0), None, None]),
        (10, &[Some(500.0), Some(0.5), None]),
        (605, &[Some(500.0), Some(0.0), None]),
    ];
    file(&series, &rows)
}

fn everything(format: Format, step: Option<u64>, aggs: &[Agg]) -> Asked {
    Asked {
        format,
        selector: Selector::default(),
        range: TimeRange { from: WallTime(0), to: WallTime(START + 1_000_000_000) },
        step: step.map(Duration::from_secs),
        aggs: aggs.to_vec(),
    }
}

fn tried(path: &Path, asked: &Asked) -> Result<(u64, String), Trouble> {
    let mut reader = HistoryReader::open_file(path).unwrap();
    let contents = reader.contents().unwrap();
    let mut out = Vec::new();
    let rows = export(&mut reader, asked, &contents, || Ok(&mut out))?;
    Ok((rows, String::from_utf8(out).unwrap()))
}

fn exported(path: &Path, asked: &Asked) -> String {
    let (rows, text) = tried(path, asked).unwrap();
    let heads = match asked.format {
        Format::Csv => text.lines().take(1).count(),
        Format::Jsonl => 0,
        Format::Openmetrics => text.lines().filter(|line| line.starts_with('#')).count(),
    };
    assert_eq!(usize::try_from(rows).unwrap(), text.lines().count() - heads, "{text}");
    text
}

#[test]
fn csv_of_samples() {
    let (_folder, path) = small();
    assert_eq!(
        exported(&path, &everything(Format::Csv, None, &[Agg::Last])),
        "time,group,metric,labels,unit,kind,value\n\
         2026-12-13T00:00:00.000Z,addon.demo,addon_demo_jobs,\"{\"\"queue\"\":\"\"a\\\"\"b,c\\nd\\\\e\"\",\"\"b\"\":\"\"ä\"\"}\",count,gauge,-1.5\n\
         2026-12-13T00:00:00.000Z,host,host_cpu_usage_ratio,{},ratio,gauge,0.25\n\
         2026-12-13T00:00:10.000Z,host,host_cpu_usage_ratio,{},ratio,gauge,0.5\n\
         2026-12-13T00:10:05.000Z,host,host_cpu_usage_ratio,{},ratio,gauge,0\n\
         2026-12-13T00:00:00.000Z,host,host_disk_read_bytes_total,\"{\"\"device\"\":\"\"sda\"\"}\",bytes,counter,1000\n\
         2026-12-13T00:00:05.000Z,host,host_disk_read_bytes_total,\"{\"\"device\"\":\"\"sda\"\"}\",bytes,counter,6000\n\
         2026-12-13T00:00:10.000Z,host,host_disk_read_bytes_total,\"{\"\"device\"\":\"\"sda\"\"}\",bytes,counter,500\n\
         2026-12-13T00:10:05.000Z,host,host_disk_read_bytes_total,\"{\"\"device\"\":\"\"sda\"\"}\",bytes,counter,500\n"
    );
}

#[test]
fn csv_of_aggregates() {
    let (_folder, path) = small();
    let mut asked = everything(Format::Csv, Some(300), &Agg::ALL);
    asked.selector.group = Some("host".to_owned());
    // Of the counter: 1000 and 100 a second, after the reset nothing more.
    assert_eq!(
        exported(&path, &asked),
        "time,group,metric,labels,unit,kind,avg,min,max,p95,last\n\
         2026-12-13T00:00:00.000Z,host,host_cpu_usage_ratio,{},ratio,gauge,0.375,0.25,0.5,0.5,0.5\n\
         2026-12-13T00:10:00.000Z,host,host_cpu_usage_ratio,{},ratio,gauge,0,0,0,0,0\n\
         2026-12-13T00:00:00.000Z,host,host_disk_read_bytes_total,\"{\"\"device\"\":\"\"sda\"\"}\",bytes,counter,550,100,1000,1000,500\n\
         2026-12-13T00:10:00.000Z,host,host_disk_read_bytes_total,\"{\"\"device\"\":\"\"sda\"\"}\",bytes,counter,0,0,0,0,500\n"
    );
    // The first sample of a counter has no increase yet.
    asked.step = Some(Duration::from_secs(1));
    asked.selector.metrics = vec!["host_disk_read_bytes_total".to_owned()];
    asked.range.to = WallTime(START);
    asked.aggs = vec![Agg::Last, Agg::Avg];
    assert!(exported(&path, &asked).ends_with("bytes,counter,1000,\n"));
}

#[test]
fn json_lines() {
    let (_folder, path) = small();
    let mut asked = everything(Format::Jsonl, None, &[Agg::Last]);
    asked.range.to = WallTime(START);
    let text = exported(&path, &asked);
    assert_eq!(
        text,
        "{\"time\":\"2026-12-13T00:00:00.000Z\",\"group\":\"addon.demo\",\"metric\":\"addon_demo_jobs\",\"labels\":{\"queue\":\"a\\\"b,c\\nd\\\\e\",\"b\":\"ä\"},\"unit\":\"count\",\"kind\":\"gauge\",\"value\":-1.5}\n\
         {\"time\":\"2026-12-13T00:00:00.000Z\",\"group\":\"host\",\"metric\":\"host_cpu_usage_ratio\",\"labels\":{},\"unit\":\"ratio\",\"kind\":\"gauge\",\"value\":0.25}\n\
         {\"time\":\"2026-12-13T00:00:00.000Z\",\"group\":\"host\",\"metric\":\"host_disk_read_bytes_total\",\"labels\":{\"device\":\"sda\"},\"unit\":\"bytes\",\"kind\":\"counter\",\"value\":1000}\n"
    );
    asked.step = Some(Duration::from_secs(10));
    asked.aggs = vec![Agg::P95, Agg::Last];
    asked.selector.labels = vec![("device".to_owned(), "sda".to_owned())];
    let text = exported(&path, &asked);
    assert!(text.ends_with("\"kind\":\"counter\",\"p95\":null,\"last\":1000}\n"), "{text}");
    let row: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!((&row["labels"]["device"], &row["last"]), (&"sda".into(), &1_000.into()));
}

#[test]
fn openmetrics() {
    let (_folder, path) = small();
    assert_eq!(
        exported(&path, &everything(Format::Openmetrics, None, &[Agg::Last])),
        "# TYPE lowtide_addon_demo_jobs gauge\n\
         lowtide_addon_demo_jobs{queue=\"a\\\"b,c\\nd\\\\e\",b=\"ä\"} -1.5 1797120000\n\
         # TYPE lowtide_host_cpu_usage_ratio gauge\n\
         # UNIT lowtide_host_cpu_usage_ratio ratio\n\
         lowtide_host_cpu_usage_ratio 0.25 1797120000\n\
         lowtide_host_cpu_usage_ratio 0.5 1797120010\n\
         lowtide_host_cpu_usage_ratio 0 1797120605\n\
         # TYPE lowtide_host_disk_read_bytes counter\n\
         # UNIT lowtide_host_disk_read_bytes bytes\n\
         lowtide_host_disk_read_bytes_total{device=\"sda\"} 1000 1797120000\n\
         lowtide_host_disk_read_bytes_total{device=\"sda\"} 6000 1797120005\n\
         lowtide_host_disk_read_bytes_total{device=\"sda\"} 500 1797120010\n\
         lowtide_host_disk_read_bytes_total{device=\"sda\"} 500 1797120605\n\
         # EOF\n"
    );
}

#[test]
fn openmetrics_of_histograms_stands_together_by_time() {
    let series = [
        part("addon_demo_wait_seconds", "_count", None),
        part("addon_demo_wait_seconds", "_bucket", Some("+Inf")),
        part("addon_demo_wait_seconds", "_bucket", Some("10.0")),
        part("addon_demo_wait_seconds", "_bucket", Some("2.5")),
        part("addon_demo_wait_seconds", "_sum", None),
        part("addon_demo_drift_seconds", "_bucket", Some("-1.0")),
        part("addon_demo_drift_seconds", "_bucket", Some("+Inf")),
        part("addon_demo_drift_seconds", "_sum", None),
        part("addon_demo_drift_seconds", "_count", None),
    ];
    let first = [3.0, 3.0, 2.0, 1.0, 20.25, 1.0, 2.0, 0.5, 2.0].map(Some);
    let (_folder, path) = file(&series, &[(0, &first), (2, &first)]);
    let of = |seconds: i64| {
        format!(
            "lowtide_addon_demo_wait_seconds_bucket{{le=\"2.5\"}} 1 {seconds}\n\
             lowtide_addon_demo_wait_seconds_bucket{{le=\"10.0\"}} 2 {seconds}\n\
             lowtide_addon_demo_wait_seconds_bucket{{le=\"+Inf\"}} 3 {seconds}\n\
             lowtide_addon_demo_wait_seconds_sum 20.25 {seconds}\n\
             lowtide_addon_demo_wait_seconds_count 3 {seconds}\n"
        )
    };
    let text = exported(&path, &everything(Format::Openmetrics, None, &[Agg::Last]));
    let (drift, wait) = text.split_once("# TYPE lowtide_addon_demo_wait_seconds histogram\n").unwrap();
    let expected = format!(
        "# UNIT lowtide_addon_demo_wait_seconds seconds\n{}{}# EOF\n",
        of(1_797_120_000),
        of(1_797_120_002)
    );
    assert_eq!(wait, expected);
    // OpenMetrics has neither sum nor count beside buckets below zero.
    assert!(drift.contains("drift_seconds_bucket{le=\"-1.0\"} 1 "), "{drift}");
    assert!(!drift.contains("_sum") && !drift.contains("_count"), "{drift}");
}

#[test]
fn openmetrics_of_names_that_meet_stays_sound() {
    let gauge = |metric, unit| info("addon.demo", metric, &[], Kind::Gauge, unit);
    let series = [
        // Once a plain count, then bytes; a gauge first, then a histogram; a counter whose own name is another's.
        gauge("addon_demo_bytes", Unit::Count),
        gauge("addon_demo_bytes", Unit::Bytes),
        gauge("addon_demo_wait_seconds", Unit::Seconds),
        part("addon_demo_wait_seconds", "_count", None),
        gauge("addon_demo_jobs", Unit::Count),
        info("addon.demo", "addon_demo_jobs_total", &[], Kind::Counter, Unit::Count),
        // Two groups that come to the same name.
        info("addon.demo-bytes", "addon_demo_bytes", &[], Kind::Gauge, Unit::Bytes),
    ];
    let (_folder, path) = file(
        &series,
        &[
            (0, &[Some(1.0), None, Some(2.0), None, Some(3.0), Some(4.0), None]),
            (1, &[None, Some(5.0), None, Some(6.0), None, None, None]),
            (2, &[None, Some(7.0), None, None, None, None, Some(8.0)]),
        ],
    );
    assert_eq!(
        tried(&path, &everything(Format::Openmetrics, None, &[Agg::Last])).unwrap().1,
        "# TYPE lowtide_addon_demo_bytes gauge\n\
         # UNIT lowtide_addon_demo_bytes bytes\n\
         lowtide_addon_demo_bytes 1 1797120000\n\
         lowtide_addon_demo_bytes 5 1797120001\n\
         lowtide_addon_demo_bytes 8 1797120002\n\
         # TYPE lowtide_addon_demo_jobs gauge\n\
         lowtide_addon_demo_jobs 3 1797120000\n\
         # TYPE lowtide_addon_demo_jobs_total unknown\n\
         lowtide_addon_demo_jobs_total 4 1797120000\n\
         # TYPE lowtide_addon_demo_wait_seconds unknown\n\
         # UNIT lowtide_addon_demo_wait_seconds seconds\n\
         lowtide_addon_demo_wait_seconds 2 1797120000\n\
         # TYPE lowtide_addon_demo_wait_seconds_count unknown\n\
         lowtide_addon_demo_wait_seconds_count 6 1797120001\n\
         # EOF\n"
    );
}

#[test]
fn more_series_than_are_read_at_once_are_all_there() {
    let labels: Vec<String> = (0..150).map(|number| format!("{number:03}")).collect();
    let series: Vec<SeriesInfo> = labels
        .iter()
        .map(|label| info("host", "made_up", &[("number", label)], Kind::Gauge, Unit::Count))
        .collect();
    let values: Vec<Option<f64>> = (0..150).map(|number| Some(f64::from(number))).collect();
    let (_folder, path) = file(&series, &[(0, &values), (5, &values)]);
    for (format, head) in [(Format::Csv, 1), (Format::Openmetrics, 1)] {
        let text = exported(&path, &everything(format, None, &[Agg::Last]));
        for (number, lines) in
            text.lines().skip(head).collect::<Vec<_>>().chunks_exact(2).take(150).enumerate()
        {
            assert!(lines.iter().all(|line| line.contains(&format!("\"{number:03}\""))), "{lines:?}");
        }
    }
}

/// Three days with a sample each minute, of which the first is only there in roll-ups.
fn rolled() -> (TempDir, PathBuf) {
    let series = [info("host", "host_cpu_usage_ratio", &[], Kind::Gauge, Unit::Ratio)];
    let (folder, path) = file(&series, &[]);
    let mut store = HistoryStore::open(&path).unwrap();
    let id = store.ids(&series).unwrap()[0].unwrap();
    let frame = |minute: i64| Frame { at_ms: START + minute * 60_000, samples: vec![(id, 0.5)] };
    store.append(&(0..3 * 1_440).map(frame).collect::<Vec<_>>()).unwrap();
    store.compact(START + 3 * DAY_MS).unwrap();
    while store.roll_up(START + 3 * DAY_MS).unwrap() {}
    let keep = lowtide_store::history::Keep { raw_days: 1, rollup_days: 365, bytes_max: u64::MAX };
    assert_eq!(store.forget(&keep).unwrap().raw_days, 1);
    (folder, path)
}

#[test]
fn where_only_roll_ups_are_kept_a_fine_export_is_refused() {
    let (_folder, path) = rolled();
    let refused = |asked: &Asked| match tried(&path, asked).unwrap_err() {
        Trouble::TooFine(too_fine) => super::export::describe(too_fine, asked),
        other => panic!("{other:?}"),
    };
    assert_eq!(
        refused(&everything(Format::Csv, Some(60), &Agg::ALL)),
        "every tick is kept from 2026-12-14T00:00:00.000Z on, what is before only in steps of 15 min: ask with --from 2026-12-14T00:00:00.000Z, or with --step 15m or a multiple of it"
    );
    let mut asked = everything(Format::Openmetrics, None, &[Agg::Last]);
    assert!(refused(&asked).ends_with("15 min: ask with --from 2026-12-14T00:00:00.000Z"));
    // Before all that, no other beginning helps.
    asked.range.to = WallTime(START + 60_000);
    assert!(refused(&asked).ends_with("in steps of 15 min"));
    // What is told works.
    asked = everything(Format::Csv, None, &[Agg::Last]);
    asked.range.from = WallTime(START + DAY_MS);
    assert_eq!(tried(&path, &asked).unwrap().0, 2 * 1_440);
    assert_eq!(tried(&path, &everything(Format::Csv, Some(900), &Agg::ALL)).unwrap().0, 3 * 96);
}

#[test]
fn what_cannot_be_answered_is_told_before_anything_is_made() {
    let (_folder, path) = rolled();
    let told = |asked: &Asked| {
        let mut reader = HistoryReader::open_file(&path).unwrap();
        let contents = reader.contents().unwrap();
        let make = || -> Result<Vec<u8>, Trouble> { panic!("nothing is to be written") };
        match export(&mut reader, asked, &contents, make).unwrap_err() {
            Trouble::Asked(text) => text,
            other => panic!("{other:?}"),
        }
    };
    let mut asked = everything(Format::Csv, Some(900), &Agg::ALL);
    asked.selector.metrics = vec!["host_cpu_usage".to_owned()];
    assert!(told(&asked).ends_with("it has metrics such as host_cpu_usage_ratio"), "{}", told(&asked));
    asked.selector.metrics.clear();
    asked.selector.group = Some("hots".to_owned());
    assert!(told(&asked).ends_with("it has groups such as host"));
    asked.selector = Selector { labels: vec![("a".to_owned(), "b".to_owned())], ..Selector::default() };
    assert_eq!(told(&asked), "no series of the file has these labels");
    let mut asked = everything(Format::Csv, Some(1), &Agg::ALL);
    asked.step = Some(Duration::from_millis(100));
    assert!(told(&asked).contains("choose a longer --step"));
}

#[test]
fn a_range_without_samples_has_no_rows() {
    let (_folder, path) = small();
    for (from, to) in
        [(0, START - 1), (START + 606_000, START + 2 * DAY_MS), (START + 5 * DAY_MS, i64::MAX / 2)]
    {
        for step in [None, Some(900)] {
            let mut asked = everything(Format::Csv, step, &[Agg::Last]);
            asked.range = TimeRange { from: WallTime(from), to: WallTime(to) };
            assert_eq!(tried(&path, &asked).unwrap().0, 0, "{from} {to} {step:?}");
        }
    }
    let (_folder, path) = file(&[], &[]);
    assert_eq!(exported(&path, &everything(Format::Openmetrics, None, &[Agg::Last])), "# EOF\n");
}

fn export_args(arguments: &[&str]) -> ExportArgs {
    let arguments: Vec<&str> = ["export"].iter().chain(arguments).copied().collect();
    match typed(&arguments).unwrap() {
        HistoryCommand::Export(args) => args,
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_is_typed_is_what_is_asked_for() {
    let now = WallTime(START);
    let asked = |arguments: &[&str]| super::export::asked(&export_args(arguments), now);
    let plain = asked(&[]).unwrap();
    assert_eq!(plain.range, TimeRange { from: WallTime(START - DAY_MS), to: now });
    assert_eq!((plain.format, plain.step, plain.aggs), (Format::Csv, None, vec![Agg::Last]));
    let all = asked(&[
        "--format=jsonl",
        "--group=host",
        "--metric=lowtide_a,b",
        "--metric=c",
        "--labels=x=1,y=2",
        "--to=2026-12-12T00:00:00Z",
        "--range=1h",
        "--step=5m",
        "--agg=p95,avg,p95",
    ]);
    let all = all.unwrap();
    assert_eq!(all.selector.group.as_deref(), Some("host"));
    assert_eq!(all.selector.metrics, ["a", "b", "c"]);
    assert_eq!(all.selector.labels, [("x", "1"), ("y", "2")].map(|(k, v)| (k.to_owned(), v.to_owned())));
    assert_eq!(all.range.from, WallTime(START - DAY_MS - 3_600_000));
    assert_eq!((all.step, all.aggs), (Some(Duration::from_secs(300)), vec![Agg::P95, Agg::Avg]));
    assert_eq!(asked(&["--step=1h"]).unwrap().aggs, Agg::ALL);

    assert!(asked(&["--format=openmetrics", "--step=5m"]).unwrap_err().contains("leave --step away"));
    assert!(asked(&["--from=1999999999"]).unwrap_err().contains("after the end"));
    for wrong in [
        &["export", "--range=1h", "--from=0"][..],
        &["export", "--agg=avg"],
        &["export", "--step=0s"],
        &["export", "--agg=p99", "--step=5m"],
        &["export", "--labels=device"],
        &["export", "--from=yesterday"],
        &["export", "--format=xml"],
        &["export", "--file=a", "--data-dir=b"],
        &["export", "--file=a", "--config=b"],
        &["backup"],
        &["backup", "a", "--quiet", "--json"],
    ] {
        assert!(typed(wrong).is_err(), "{wrong:?}");
    }
}

fn place(arguments: &[&str]) -> PlaceArgs {
    export_args(arguments).place
}

#[test]
fn a_file_that_is_not_there_or_not_readable_is_told_with_its_folder() {
    let folder = tempfile::tempdir().unwrap();
    let name = folder.path().display().to_string();
    let told = |arguments: &[&str]| place(arguments).open().map(drop).unwrap_err();
    let missing = told(&["--data-dir", &name]);
    assert_eq!((missing.exit, missing.code), (Exit::Unavailable, "no_history"));
    assert!(missing.text.contains(&format!("{name} holds no history.db: has the daemon run")), "{missing:?}");
    let no_folder = told(&["--data-dir", &format!("{name}/a")]);
    assert!(no_folder.text.contains("/a is not there"), "{no_folder:?}");
    assert!(told(&["--file", &format!("{name}/b.db")]).text.ends_with("b.db does not exist"));
    assert!(told(&["--file", &name]).text.ends_with("is not a file"));
    assert_eq!(told(&["--config", &format!("{name}/none.toml")]).exit, Exit::Config);
    let off = format!("{name}/off.toml");
    fs::write(&off, "[history]\nenabled = false\n").unwrap();
    let off = told(&["--config", &off, "--data-dir", &name]);
    assert!(off.text.contains("holds no history.db: history.enabled is false"), "{off:?}");

    let path = folder.path().join(HISTORY_FILE);
    fs::write(&path, "no database, by far").unwrap();
    let broken = told(&["--data-dir", &name]);
    assert_eq!((broken.exit, broken.code), (Exit::Unavailable, "history_unavailable"));
}

fn backup_args(to: &Path, from: &Path) -> backup::BackupArgs {
    let (to, from) = (to.display().to_string(), from.display().to_string());
    match typed(&["backup", &to, "--file", &from, "--quiet"]).unwrap() {
        HistoryCommand::Backup(args) => args,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_copy_is_told_and_nothing_is_overwritten() {
    let (folder, path) = rolled();
    let copy = folder.path().join("copy.db");
    let made = backup::make(&backup_args(&copy, &path)).unwrap();
    let bytes = fs::metadata(&copy).unwrap().len();
    assert_eq!(
        made.describe(),
        format!(
            "{}: {} KiB, samples from 2026-12-14T00:00:00.000Z to 2026-12-15T23:59:00.000Z, roll-ups since 2026-12-13\n",
            copy.display(),
            bytes / 1_024
        )
    );
    assert_eq!(made.document()["bytes"], bytes);
    // Nothing beside it: a copy is one file.
    assert!(!folder.path().join("copy.db-wal").exists() && !folder.path().join("copy.db-shm").exists());
    let asked = everything(Format::Csv, Some(900), &Agg::ALL);
    assert_eq!(exported(&copy, &asked), exported(&path, &asked));

    // The number of the schema is in the header of the file.
    let newer = folder.path().join("newer.db");
    let mut bytes_of = fs::read(&copy).unwrap();
    bytes_of[60..64].copy_from_slice(&99u32.to_be_bytes());
    fs::write(&newer, bytes_of).unwrap();
    let refused = place(&["--file", &newer.display().to_string()]).open().map(drop).unwrap_err();
    assert_eq!((refused.exit, refused.code), (Exit::Unavailable, "newer_schema"));
    assert!(refused.text.contains("has schema 99"), "{refused:?}");

    let refused = backup::make(&backup_args(&copy, &path)).map(drop).unwrap_err();
    assert_eq!(refused.exit, Exit::CannotCreate);
    assert!(refused.text.contains("choose a place where no file is"), "{refused:?}");
    assert_eq!(fs::metadata(&copy).unwrap().len(), bytes);
    let nowhere = backup::make(&backup_args(&folder.path().join("a/b.db"), &path)).map(drop).unwrap_err();
    assert_eq!(nowhere.exit, Exit::CannotCreate);
    let nothing = backup::make(&backup_args(&folder.path().join("c.db"), &folder.path().join("none")));
    assert_eq!(nothing.map(drop).unwrap_err().exit, Exit::Unavailable);
    assert!(!folder.path().join("c.db").exists());
}

#[test]
fn damaged_rows_are_left_out_and_told() {
    let (folder, path) = small();
    let copy = folder.path().join("copy.db");
    backup::make(&backup_args(&copy, &path)).unwrap();
    let mut bytes = fs::read(&copy).unwrap();
    // A sample of the second tick, which is still in the tail.
    let sample = 6_000f64.to_le_bytes();
    let at = bytes.windows(8).position(|window| window == sample).unwrap();
    bytes[at] ^= 1;
    fs::write(&copy, bytes).unwrap();
    let to = folder.path().join("out.csv").display().to_string();
    let from = copy.display().to_string();
    let words =
        ["export", "--file", &from, "--from=0", "--to=1999999999", "--metric", "host_disk_read_bytes_total"];
    assert_eq!(run(&typed(&[&words[..], &["--output", &to]].concat()).unwrap()), Exit::Findings);
    let written = fs::read_to_string(&to).unwrap();
    let times: Vec<&str> = written.lines().skip(1).filter_map(|line| line.split(',').next()).collect();
    assert_eq!(times, ["2026-12-13T00:00:00.000Z", "2026-12-13T00:00:10.000Z", "2026-12-13T00:10:05.000Z"]);
    // The same file again: it is there now, and stays as it is.
    assert_eq!(run(&typed(&[&words[..], &["--output", &to]].concat()).unwrap()), Exit::CannotCreate);
    assert_eq!(fs::read_to_string(&to).unwrap(), written);
}
