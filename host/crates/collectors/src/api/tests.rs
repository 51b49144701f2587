//! What the HTTP meter counts, and how exact its percentiles are.

use super::*;

static ROUTES: [&str; 3] = ["other", "/api/v1/state", "/metrics"];

fn at(seconds: u64) -> MonoTime {
    MonoTime(Duration::from_secs(seconds))
}

/// One run, as `name{labels} value` or `name le value`.
fn run(api: &mut Api, seconds: u64) -> Vec<(String, f64)> {
    let mut out = SampleBuffer::new();
    api.collect(at(seconds), &mut out).unwrap();
    let series = out.layout();
    let name = |series: &lowtide_core::metric::Series| match &series.part {
        Part::Bucket(le) => format!("{} {le}", series.metric.name),
        part => format!("{}{} {}", series.metric.name, part.suffix(), series.labels.join(" "))
            .trim_end()
            .to_owned(),
    };
    series.iter().map(name).zip(out.values().iter().copied()).collect()
}

fn value(samples: &[(String, f64)], name: &str) -> Option<f64> {
    samples.iter().find(|(have, _)| have == name).map(|(_, value)| *value)
}

#[test]
fn every_cell_holds_what_its_middle_says_to_three_percent() {
    let mut last = None;
    for micros in (0..5_000).chain((5_000..200_000_000).step_by(9_973)) {
        let cell = cell_of(micros);
        assert!(last.is_none_or(|last| cell >= last && cell - last <= 1 || micros > 5_000), "{micros}");
        last = Some(cell);
        let off = (middle_of(cell) - micros as f64).abs();
        assert!(off <= (micros as f64 / 32.0).max(0.5) + 1e-9, "{micros} is in cell {cell}, off by {off}");
    }
    assert_eq!(cell_of(u64::MAX), CELLS - 1);
}

#[test]
fn requests_are_counted_by_route_and_class() {
    let meter = Arc::new(ApiMeter::new(&ROUTES));
    let mut api = Api::new(Arc::clone(&meter));
    meter.record(1, 200, Duration::from_micros(80));
    meter.record(1, 204, Duration::from_micros(100));
    meter.record(2, 503, Duration::from_millis(3));
    meter.record(99, 404, Duration::from_secs(20));
    meter.record(0, 0, Duration::from_micros(101));
    let guard = meter.begin();
    let samples = run(&mut api, 10);
    for (name, expected) in [
        ("api_requests_total /api/v1/state 2xx", Some(2.0)),
        ("api_requests_total /api/v1/state 4xx", None),
        ("api_requests_total /metrics 5xx", Some(1.0)),
        ("api_requests_total other 4xx", Some(1.0)),
        ("api_errors_total", Some(2.0)),
        ("api_request_duration_seconds 0.0001", Some(2.0)),
        ("api_request_duration_seconds 0.00025", Some(3.0)),
        ("api_request_duration_seconds 10", Some(4.0)),
        ("api_request_duration_seconds +Inf", Some(5.0)),
        ("api_request_duration_seconds_count", Some(5.0)),
        ("api_request_duration_seconds_sum", Some(20.003_281)),
        ("api_requests_in_flight", Some(1.0)),
        ("api_requests_per_second", None),
    ] {
        assert_eq!(value(&samples, name), expected, "{name}");
    }
    drop(guard);
    meter.record(1, 200, Duration::from_micros(80));
    let samples = run(&mut api, 15);
    assert_eq!(value(&samples, "api_requests_in_flight"), Some(0.0));
    assert_eq!(value(&samples, "api_requests_per_second"), Some(0.2));
}

#[test]
fn percentiles_roll_over_the_last_minute() {
    let meter = Arc::new(ApiMeter::new(&ROUTES));
    let mut api = Api::new(Arc::clone(&meter));
    assert_eq!(value(&run(&mut api, 0), "api_latency_p50_seconds"), None);
    for micros in 1..=1_000 {
        meter.record(1, 200, Duration::from_micros(micros * 100));
    }
    for seconds in (5..=60).step_by(5) {
        let samples = run(&mut api, seconds);
        for (name, exact) in [("p50", 0.05), ("p95", 0.095), ("p99", 0.099)] {
            let found = value(&samples, &format!("api_latency_{name}_seconds")).unwrap();
            assert!((found / exact - 1.0).abs() < 0.035, "{name} {found} at {seconds}");
        }
    }
    // Nothing since: after a minute there is nothing to say, which is not a latency of zero.
    assert_eq!(value(&run(&mut api, 65), "api_latency_p50_seconds"), None);
    meter.record(1, 200, Duration::from_millis(2));
    let found = value(&run(&mut api, 70), "api_latency_p99_seconds").unwrap();
    assert!((found / 0.002 - 1.0).abs() < 0.035, "{found}");
}

#[test]
fn threads_lose_no_count() {
    let meter = Arc::new(ApiMeter::new(&ROUTES));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| (0..10_000).for_each(|_| meter.record(2, 200, Duration::from_micros(5))));
        }
    });
    let samples = run(&mut Api::new(meter), 1);
    assert_eq!(value(&samples, "api_requests_total /metrics 2xx"), Some(40_000.0));
    assert_eq!(value(&samples, "api_request_duration_seconds_count"), Some(40_000.0));
}
