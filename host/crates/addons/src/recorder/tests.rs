//! That what a guest sends is checked against what it declared, and that what it may not is counted and left out.

use super::*;
use lowtide_core::metric::Part;

struct Bench {
    recorder: Recorder,
    meter: Arc<Meter>,
}

fn bench() -> Bench {
    let meter = Arc::new(Meter::default());
    let id = AddonId::new("my-app").unwrap();
    Bench { recorder: Recorder::new(id, Arc::default(), Arc::clone(&meter)), meter }
}

fn gauge(name: &str, labels: &[&str]) -> Definition {
    Definition {
        name: name.to_owned(),
        kind: Kind::Gauge,
        unit: Unit::Count,
        help: "A number.".to_owned(),
        labels: labels.iter().map(|label| (*label).to_owned()).collect(),
        buckets: Vec::new(),
    }
}

fn kind(name: &str, kind: Kind) -> Definition {
    Definition { kind, ..gauge(name, &[]) }
}

impl Bench {
    fn collect(&mut self, samples: &[(&str, &[&str], f64)]) -> Vec<(String, Vec<String>, f64)> {
        let labels: Vec<Vec<String>> = samples
            .iter()
            .map(|(_, labels, _)| labels.iter().map(|label| (*label).to_owned()).collect())
            .collect();
        let given: Vec<Given<'_>> = samples
            .iter()
            .zip(&labels)
            .map(|((name, _, value), labels)| Given { name, labels, value: *value })
            .collect();
        self.recorder.collect(given.into_iter());
        self.values()
    }

    fn values(&mut self) -> Vec<(String, Vec<String>, f64)> {
        let samples = self.recorder.samples(true);
        samples
            .series
            .iter()
            .zip(&samples.values)
            .map(|(series, value)| {
                let name = series.metric.name.strip_prefix("addon_my_app_").unwrap();
                let part = match &series.part {
                    Part::Bucket(bound) => format!("{name}_bucket{{{bound}}}"),
                    part => format!("{name}{}", part.suffix()),
                };
                (part, series.labels.iter().map(|label| label.to_string()).collect(), *value)
            })
            .collect()
    }
}

fn row(name: &str, labels: &[&str], value: f64) -> (String, Vec<String>, f64) {
    (name.to_owned(), labels.iter().map(|label| (*label).to_owned()).collect(), value)
}

#[test]
fn samples_of_one_metric_stand_together_whatever_their_order() {
    let mut bench = bench();
    bench.recorder.declare(&gauge("a", &["x"])).unwrap();
    bench.recorder.declare(&gauge("b", &[])).unwrap();
    let mixed: [(&str, &[&str], f64); 3] = [("a", &["1"], 1.0), ("b", &[], 2.0), ("a", &["2"], 3.0)];
    let ordered = [row("a", &["1"], 1.0), row("a", &["2"], 3.0), row("b", &[], 2.0)];
    assert_eq!(bench.collect(&mixed), ordered);
    // The second time goes the quick way, and the layout is the same object.
    let first = bench.recorder.samples(true).series;
    assert_eq!(bench.collect(&mixed), ordered);
    assert!(Arc::ptr_eq(&first, &bench.recorder.samples(true).series));
}

#[test]
fn what_breaks_the_contract_is_left_out_counted_and_named() {
    let mut bench = bench();
    bench.recorder.declare(&gauge("a", &["x"])).unwrap();
    let bad: [(&str, &[&str], f64); 5] = [
        ("a", &["1"], 1.0),
        ("a", &["1"], 2.0),
        ("nothing", &[], 1.0),
        ("a", &[], 1.0),
        ("a", &["2"], f64::NAN),
    ];
    let kept = bench.collect(&bad);
    assert_eq!(kept.len(), 2);
    assert!(kept[1].2.is_nan(), "not a number is no sample, and its series stays");
    let read = bench.meter.read();
    assert_eq!((read.dropped_duplicate, read.dropped_undeclared, read.dropped_invalid), (1, 1, 1));
    let complaint = bench.recorder.complaint().unwrap().to_owned();
    assert!(complaint.contains("given twice") && complaint.contains("2 more"), "{complaint}");
    // It is counted each time, and forgotten when the addon mends it.
    bench.collect(&bad);
    assert_eq!(bench.meter.read().dropped_duplicate, 2);
    bench.collect(&[("a", &["1"], 1.0)]);
    assert_eq!(bench.recorder.complaint(), None);
}

#[test]
fn series_beyond_the_limit_are_left_out() {
    let mut bench = bench();
    bench.recorder.declare(&gauge("a", &["x"])).unwrap();
    let names: Vec<String> = (0..limits::SERIES_MAX + 3).map(|n| n.to_string()).collect();
    let labels: Vec<[&str; 1]> = names.iter().map(|name| [name.as_str()]).collect();
    let samples: Vec<(&str, &[&str], f64)> = labels.iter().map(|label| ("a", &label[..], 1.0)).collect();
    assert_eq!(bench.collect(&samples).len(), limits::SERIES_MAX);
    assert_eq!(bench.meter.read().dropped_overflow, 3);
    assert_eq!(bench.recorder.samples(true).dropped, 3);
}

#[test]
fn recorded_metrics_add_up_and_outlive_an_instance() {
    let mut bench = bench();
    let recorder = &mut bench.recorder;
    recorder.declare(&kind("done_total", Kind::Counter)).unwrap();
    recorder.declare(&Definition { buckets: vec![1.0, 2.0], ..kind("waits", Kind::Histogram) }).unwrap();
    recorder.record(Kind::Counter, "done_total", &[], 2.0).unwrap();
    for value in [0.5, 1.0, 1.5, 9.0] {
        recorder.record(Kind::Histogram, "waits", &[], value).unwrap();
    }
    recorder.begin_instance();
    recorder.declare(&kind("done_total", Kind::Counter)).unwrap();
    recorder.record(Kind::Counter, "done_total", &[], 3.0).unwrap();
    let expected = [
        row("done_total", &[], 5.0),
        row("waits_bucket{1.0}", &[], 2.0),
        row("waits_bucket{2.0}", &[], 3.0),
        row("waits_bucket{+Inf}", &[], 4.0),
        row("waits_sum", &[], 12.0),
        row("waits_count", &[], 4.0),
    ];
    assert_eq!(bench.values(), expected);
}

#[test]
fn wrong_records_are_refused_with_a_reason() {
    let mut bench = bench();
    let recorder = &mut bench.recorder;
    recorder.declare(&kind("done_total", Kind::Counter)).unwrap();
    recorder.declare(&gauge("level", &["of"])).unwrap();
    let refused = |recorder: &mut Recorder, kind, name: &str, labels: &[String], value| {
        recorder.record(kind, name, labels, value).unwrap_err()
    };
    assert!(matches!(refused(recorder, Kind::Counter, "done_total", &[], -1.0), MetricError::Invalid(_)));
    assert!(matches!(
        refused(recorder, Kind::Counter, "done_total", &[], f64::INFINITY),
        MetricError::Invalid(_)
    ));
    assert!(matches!(refused(recorder, Kind::Gauge, "done_total", &[], 1.0), MetricError::Undeclared(_)));
    assert!(matches!(refused(recorder, Kind::Gauge, "nothing", &[], 1.0), MetricError::Undeclared(_)));
    assert!(matches!(refused(recorder, Kind::Gauge, "level", &[], 1.0), MetricError::Invalid(_)));
    assert_eq!(bench.meter.read().dropped_invalid, 3);
    assert_eq!(bench.meter.read().dropped_undeclared, 2);
}

#[test]
fn one_metric_has_one_source() {
    let mut bench = bench();
    bench.recorder.declare(&gauge("a", &[])).unwrap();
    bench.collect(&[("a", &[], 1.0)]);
    assert!(matches!(bench.recorder.record(Kind::Gauge, "a", &[], 2.0), Err(MetricError::Conflict(_))));
    bench.recorder.declare(&gauge("b", &[])).unwrap();
    bench.recorder.record(Kind::Gauge, "b", &[], 2.0).unwrap();
    assert_eq!(bench.collect(&[("a", &[], 1.0), ("b", &[], 3.0)]), [row("a", &[], 1.0), row("b", &[], 2.0)]);
}

#[test]
fn definitions_are_checked() {
    let mut bench = bench();
    let mut refused = |definition: Definition| bench.recorder.declare(&definition).unwrap_err().to_string();
    for (definition, word) in [
        (gauge("", &[]), "lower-case"),
        (gauge("Upper", &[]), "lower-case"),
        (gauge("a\u{1b}[31m", &[]), "lower-case"),
        (gauge("1a", &[]), "letter"),
        (kind("done", Kind::Counter), "_total"),
        (gauge("done_total", &[]), "_total"),
        (gauge("x", &["le"]), "le"),
        (gauge("x", &["a", "a"]), "twice"),
        (Definition { unit: Unit::Seconds, ..gauge("wait", &[]) }, "_seconds"),
        (Definition { help: " ".to_owned(), ..gauge("x", &[]) }, "help"),
        (Definition { buckets: vec![1.0], ..gauge("x", &[]) }, "buckets"),
        (Definition { buckets: vec![2.0, 1.0], ..kind("x", Kind::Histogram) }, "growing"),
        (Definition { buckets: vec![f64::NAN], ..kind("x", Kind::Histogram) }, "finite"),
        (gauge(&"a".repeat(200), &[]), "longer"),
    ] {
        let text = refused(definition);
        assert!(text.contains(word) && !text.contains('\u{1b}'), "{text}");
    }
}

#[test]
fn a_definition_changes_only_with_an_instance() {
    let mut bench = bench();
    bench.recorder.declare(&gauge("a", &[])).unwrap();
    bench.recorder.declare(&gauge("a", &[])).unwrap();
    assert!(matches!(bench.recorder.declare(&gauge("a", &["x"])), Err(MetricError::Conflict(_))));
    bench.collect(&[("a", &[], 1.0)]);
    bench.recorder.begin_instance();
    bench.recorder.declare(&gauge("a", &["x"])).unwrap();
    assert_eq!(bench.collect(&[("a", &["1"], 1.0)]), [row("a", &["1"], 1.0)]);
}

#[test]
fn full_names_belong_to_one_addon() {
    let names: Arc<Names> = Arc::default();
    let recorder = |id: &str| Recorder::new(AddonId::new(id).unwrap(), Arc::clone(&names), Arc::default());
    let (mut short, mut long) = (recorder("a"), recorder("a-b"));
    long.declare(&gauge("c", &[])).unwrap();
    let error = short.declare(&gauge("b_c", &[])).unwrap_err();
    assert!(matches!(&error, MetricError::Conflict(text) if text.contains("a-b")), "{error}");
    names.release(&AddonId::new("a-b").unwrap());
    short.declare(&gauge("b_c", &[])).unwrap();
}

#[test]
fn names_that_newer_instances_no_longer_declare_are_free_again() {
    let names: Arc<Names> = Arc::default();
    let recorder = |id: &str| Recorder::new(AddonId::new(id).unwrap(), Arc::clone(&names), Arc::default());
    let (mut short, mut long) = (recorder("a"), recorder("a-b"));
    long.declare(&gauge("c", &[])).unwrap();
    for instance in 0..3 {
        long.begin_instance();
        for n in 0..limits::METRICS_MAX {
            long.declare(&gauge(&format!("m{instance}_{n}"), &[])).unwrap();
        }
    }
    short.declare(&gauge("b_c", &[])).unwrap();
    // Those of the last instance, and this one.
    assert_eq!(names.0.lock().unwrap().len(), limits::METRICS_MAX + 1);
}

#[test]
fn metrics_have_a_limit_and_what_a_new_version_no_longer_declares_makes_room() {
    let mut bench = bench();
    for n in 0..limits::METRICS_MAX {
        bench.recorder.declare(&gauge(&format!("a{n}"), &[])).unwrap();
    }
    assert!(matches!(bench.recorder.declare(&gauge("b", &[])), Err(MetricError::LimitExceeded(_))));
    bench.recorder.begin_instance();
    bench.recorder.declare(&gauge("b", &[])).unwrap();
    assert_eq!(bench.recorder.metrics().len(), 1);
}

#[test]
fn label_values_are_cleaned() {
    let mut bench = bench();
    bench.recorder.declare(&gauge("a", &["x"])).unwrap();
    let kept = bench.collect(&[("a", &["\u{1b}[31mred\u{202e}"], 1.0)]);
    assert!(!kept[0].1[0].contains('\u{1b}') && !kept[0].1[0].contains('\u{202e}'), "{kept:?}");
}

#[test]
fn labels_that_are_the_same_when_cleaned_are_one_series() {
    let mut bench = bench();
    bench.recorder.declare(&gauge("a", &["x"])).unwrap();
    bench
        .recorder
        .declare(&Definition { name: "n_total".to_owned(), kind: Kind::Counter, ..gauge("", &["x"]) })
        .unwrap();
    let kept = bench.collect(&[("a", &["\u{1b}"], 1.0), ("a", &["\u{7}"], 2.0)]);
    assert_eq!(kept.len(), 1, "{kept:?}");
    assert_eq!(bench.meter.read().dropped_duplicate, 1);
    for label in ["\u{1b}", "\u{7}"] {
        bench.recorder.record(Kind::Counter, "n_total", &[label.to_owned()], 1.0).unwrap();
    }
    assert_eq!(
        bench.values().iter().filter(|(name, _, value)| name == "n_total" && *value == 2.0).count(),
        1
    );
}
