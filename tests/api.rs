//! Every path of the API as a client sees it: documents against their schemas, against each other and against the exposition;
//! caching, encodings, and every way of being refused. The event stream has a module of its own.

use crate::daemon::{Daemon, eventually};
use crate::http::{self, Answer};
use crate::schema;
use serde_json::Value;
use std::io::Read as _;

/// Every path with a query that it answers, its media type, and the schema of its body. The event stream is held against its
/// schema in `events`.
const COVERED: [(&str, &str, &str, Option<&str>); 21] = [
    ("/api/system-stats/current", "", "application/json", Some("Current")),
    ("/api/system-stats/history", "?range=1m&step=raw", "application/json", Some("History")),
    ("/api/system-stats/aggregates", "?group=host", "application/json", Some("Aggregates")),
    ("/api/system-stats/health", "", "application/json", Some("Health")),
    ("/api/system-stats/quiet", "", "application/json", Some("Quiet")),
    ("/api/system-stats/quiet/streaks", "?range=7d", "application/json", Some("QuietStreaks")),
    ("/api/system-stats/quiet/intervals", "?limit=10", "application/json", Some("QuietIntervals")),
    ("/api/system-stats/history/events", "?limit=10", "application/json", Some("HistoryEvents")),
    ("/api/system-stats/debug/collectors", "", "application/json", Some("Collectors")),
    ("/api/system-stats/addons", "", "application/json", Some("AddonsOverview")),
    ("/api/addons", "?limit=10", "application/json", Some("AddonList")),
    ("/api/scheduler/status", "?limit=10", "application/json", Some("LeaseStatus")),
    ("/api/scheduler/queue", "?limit=10", "application/json", Some("LeaseQueue")),
    ("/api/scheduler/holders", "", "application/json", Some("LeaseHolders")),
    ("/api/scheduler/events", "?after=0", "application/json", Some("LeaseEvents")),
    ("/api/events", "", "text/event-stream", None),
    ("/metrics", "", "text/plain", None),
    ("/livez", "", "text/plain", None),
    ("/readyz", "?verbose", "text/plain", None),
    ("/openapi.json", "", "application/json", None),
    ("/docs", "", "text/html", None),
];

/// Every path below one addon, and the method that it takes. What they answer is asked for in `addons`.
const OF_AN_ADDON: [(&str, &str); 8] = [
    ("GET", "/api/addons/{id}"),
    ("GET", "/api/addons/{id}/stats"),
    ("GET", "/api/addons/{id}/metrics"),
    ("GET", "/api/addons/{id}/logs"),
    ("POST", "/api/addons/{id}/enable"),
    ("POST", "/api/addons/{id}/disable"),
    ("POST", "/api/addons/{id}/reload"),
    ("POST", "/api/addons/{id}/jobs/{name}/run"),
];

/// Every path that acts on leases or is about one, and the methods that it takes. What they answer is asked for in `leases`.
const OF_LEASES: [(&str, &str); 8] = [
    ("POST", "/api/scheduler/lease/request"),
    ("GET", "/api/scheduler/lease/{id}"),
    ("POST", "/api/scheduler/lease/{id}/heartbeat"),
    ("POST", "/api/scheduler/lease/{id}/report"),
    ("POST", "/api/scheduler/lease/{id}/release"),
    ("POST", "/api/scheduler/lease/{id}/revoke"),
    ("GET PUT DELETE", "/api/scheduler/override"),
    ("GET PUT", "/api/scheduler/windows"),
];

/// All paths, each with the methods that it takes.
fn all_paths() -> impl Iterator<Item = (&'static str, &'static str)> {
    COVERED.into_iter().map(|(path, ..)| ("GET", path)).chain(OF_AN_ADDON).chain(OF_LEASES)
}

/// Those whose answer ends.
fn documents() -> impl Iterator<Item = (&'static str, &'static str, &'static str, Option<&'static str>)> {
    COVERED.into_iter().filter(|(path, ..)| *path != "/api/events")
}

fn live(path: &str) -> bool {
    matches!(
        path,
        "/api/system-stats/current" | "/api/system-stats/quiet" | "/api/system-stats/debug/collectors"
    )
}

#[test]
fn every_path_of_the_description_is_asked_for_here() {
    let openapi = schema::openapi();
    let described: Vec<&str> = openapi["paths"].as_object().unwrap().keys().map(String::as_str).collect();
    let mut covered: Vec<&str> = all_paths().map(|(_, path)| path).collect();
    covered.sort_unstable();
    assert_eq!(described, covered, "a path without a test, or a test without a path");
    let mut served = lowtide_api::ROUTES[1..].to_vec();
    served.sort_unstable();
    assert_eq!(served, covered, "the table that counts requests");
}

#[test]
fn every_document_is_what_its_schema_says() {
    let daemon = Daemon::start();
    daemon.wait_for_tick(3);
    let openapi = schema::openapi();
    let mut wrong = Vec::new();
    for (path, query, media, name) in documents() {
        let answer = daemon.get(&format!("{path}{query}"));
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        let sent = answer.header("content-type").unwrap_or_default();
        assert_eq!(sent.split(';').next(), Some(media), "{path}");
        let described =
            openapi.pointer(&format!("/paths/{}/get/responses/200/content", path.replace('/', "~1")));
        let described = described.unwrap_or_else(|| panic!("{path} without content"));
        let rule = described.get(media).unwrap_or_else(|| panic!("{path}: {media} is not described"));
        if let Some(name) = name {
            let at = rule["schema"]["$ref"].as_str();
            assert_eq!(at, Some(format!("#/components/schemas/{name}").as_str()), "{path}");
            let found = schema::problems(&openapi, schema::component(&openapi, name), &answer.json());
            wrong.extend(found.into_iter().map(|problem| format!("{path} {problem}")));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_error_is_what_its_schema_says_and_says_all_of_it() {
    let daemon = Daemon::start();
    let openapi = schema::openapi();
    let rule = schema::component(&openapi, "Problem");
    let answer = daemon.get("/api/system-stats/history?range=nonsense");
    let problem = answer.problem();
    assert_eq!(schema::problems(&openapi, rule, &problem), Vec::<String>::new());
    for field in problem.as_object().unwrap().keys() {
        assert!(rule["properties"].get(field).is_some(), "{field} is sent but not described");
    }
    assert!(rule["required"].as_array().unwrap().contains(&"request_id".into()), "always sent, so required");
}

#[test]
fn live_documents_of_one_tick_agree() {
    let daemon = Daemon::start();
    daemon.wait_for_tick(3);
    let (current, quiet, collectors) = eventually("three answers from one tick", || {
        let current = daemon.current();
        let (quiet, collectors) = (daemon.quiet(), daemon.json("/api/system-stats/debug/collectors"));
        let same = current["sequence"] == quiet["sequence"] && quiet["sequence"] == collectors["sequence"];
        same.then_some((current, quiet, collectors))
    });
    assert_eq!(current["quiet"]["score"], quiet["score"]);
    assert_eq!(current["quiet"]["state"], quiet["state"]);
    assert_eq!(current["collected_at"], quiet["assessed_at"]);
    assert_eq!(current["collected_at"], collectors["collected_at"]);
    assert_eq!(quiet["summary"], quiet["reasons"][0]["text"]);
    let texts: Vec<&Value> =
        quiet["reasons"].as_array().unwrap().iter().map(|reason| &reason["text"]).collect();
    let short: Vec<&Value> = current["quiet"]["reasons"].as_array().unwrap().iter().collect();
    assert_eq!(texts, short);
    let cpu = quiet["inputs"]["cpu"]["value"].as_f64().unwrap();
    let (used, nice) =
        (current["host"]["cpu"]["usage_ratio"].as_f64().unwrap(), &current["host"]["cpu"]["nice_ratio"]);
    assert!((cpu - (used - nice.as_f64().unwrap())).abs() < 1e-9, "{cpu} {used} {nice}");
}

#[test]
fn a_client_that_has_it_gets_304_and_a_new_tick_is_a_new_document() {
    let daemon = Daemon::start();
    for (path, query, ..) in documents().filter(|(path, ..)| !path.ends_with('z')) {
        let target = format!("{path}{query}");
        // Another tick may come between the two questions; then they are asked again.
        let known = ![
            "/api/system-stats/health",
            "/api/system-stats/aggregates",
            "/api/addons",
            "/api/scheduler/status",
        ]
        .contains(&path);
        if known {
            let empty = eventually("a 304", || {
                let etag = daemon.get(&target).header("etag")?.to_owned();
                let again = http::get_with(daemon.address, &target, &[("if-none-match", &etag)]);
                (again.status == 304 && again.header("etag") == Some(&etag)).then_some(again)
            });
            assert!(empty.body.is_empty(), "{path}");
            assert!(empty.header("vary").is_some_and(|vary| vary.contains("accept-encoding")), "{path}");
        }
        let other = http::get_with(daemon.address, &target, &[("if-none-match", "W/\"something-else\"")]);
        assert_eq!(other.status, 200, "{path}");
    }
    let first = daemon.get("/api/system-stats/quiet");
    let etag = first.header("etag").unwrap().to_owned();
    let next = eventually("the next tick", || {
        let answer = http::get_with(daemon.address, "/api/system-stats/quiet", &[("if-none-match", &etag)]);
        (answer.status == 200).then_some(answer)
    });
    assert_ne!(next.header("etag"), Some(etag.as_str()));
    assert!(next.json()["sequence"].as_u64() > first.json()["sequence"].as_u64());
}

#[test]
fn every_query_with_fixed_ends_can_be_cached_within_a_tick() {
    let daemon = Daemon::start();
    daemon.wait_for_tick(3);
    let held = daemon.json("/api/system-stats/history?metric=quiet_score&step=raw");
    let (from, to) = (held["timestamps"][0].as_str().unwrap(), held["timestamps"][1].as_str().unwrap());
    for query in [
        format!("history?from={from}&to={to}"),
        format!("history?from={from}&to={to}&agg=avg"),
        format!("history?from={from}&to={to}&agg=avg,p95"),
        format!("history?from={from}&to={to}&metric=quiet_score,quiet_confidence_ratio"),
        format!("aggregates?from={from}&to={to}&metric=quiet_score,quiet_confidence_ratio"),
    ] {
        let target = format!("/api/system-stats/{query}");
        let mut tries = 0;
        let again = eventually("two answers in one tick", || {
            tries += 1;
            let etag = daemon.get(&target).header("etag")?.to_owned();
            let again = http::get_with(daemon.address, &target, &[("if-none-match", &etag)]);
            // A tick between the two makes another tag; four in a row that differ are no accident.
            (again.status == 304 || again.header("etag") == Some(&etag) || tries > 4).then_some(again)
        });
        assert_eq!(again.status, 304, "{target}: the tag that was sent is not known when it comes back");
    }
}

#[test]
fn head_answers_as_get_does_without_a_body() {
    let daemon = Daemon::start();
    for (path, query, media, _) in documents() {
        let target = format!("{path}{query}");
        let head = http::request(daemon.address, "HEAD", &target, &[], b"");
        assert_eq!(head.status, 200, "{path}");
        assert!(head.header("content-type").is_some_and(|sent| sent.starts_with(media)), "{path}");
        let get = daemon.get(&target);
        if !live(path) && media != "application/json" && path != "/metrics" && path != "/readyz" {
            assert_eq!(head.header("content-length"), get.header("content-length"), "{path}");
        }
    }
}

fn unpacked(answer: &Answer) -> Vec<u8> {
    let mut plain = Vec::new();
    match answer.header("content-encoding") {
        None => plain.extend(&answer.body),
        Some("gzip") => drop(flate2::read::GzDecoder::new(&answer.body[..]).read_to_end(&mut plain).unwrap()),
        Some("zstd") => plain = zstd::bulk::decompress(&answer.body, 64 << 20).unwrap(),
        Some(other) => panic!("encoding {other}"),
    }
    plain
}

#[test]
fn packed_bodies_unpack_to_the_plain_one() {
    let daemon = Daemon::start();
    for (path, query, ..) in documents().filter(|(path, ..)| !path.ends_with('z')) {
        let target = format!("{path}{query}");
        for encoding in ["gzip", "zstd"] {
            // Only answers of one tick can be compared; health, aggregates and addons tell their own time and never are.
            let (plain, packed) = eventually("two answers of one tick", || {
                let plain = daemon.get(&target);
                let packed = http::get_with(daemon.address, &target, &[("accept-encoding", encoding)]);
                let told = ["health", "aggregates", "addons"].iter().any(|end| path.ends_with(end));
                (told || plain.header("etag") == packed.header("etag")).then_some((plain, packed))
            });
            if plain.body.len() >= 1_024 {
                assert_eq!(packed.header("content-encoding"), Some(encoding), "{path}");
                assert!(packed.body.len() < plain.body.len(), "{path}");
            }
            let unpacked = unpacked(&packed);
            if plain.header("etag") == packed.header("etag") {
                assert_eq!(unpacked, plain.body, "{path} {encoding}");
            } else {
                serde_json::from_slice::<Value>(&unpacked).unwrap();
            }
        }
    }
}

#[test]
fn openmetrics_is_negotiated_and_ends_with_its_mark() {
    let daemon = Daemon::start();
    let plain = daemon.get("/metrics");
    assert_eq!(plain.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    assert!(!plain.text().contains("# EOF"));
    let prometheus =
        "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
    let open = http::get_with(daemon.address, "/metrics", &[("accept", prometheus)]);
    assert_eq!(
        open.header("content-type"),
        Some("application/openmetrics-text; version=1.0.0; charset=utf-8")
    );
    assert!(open.text().ends_with("\n# EOF\n"));
    assert_eq!(open.header("vary"), Some("accept, accept-encoding"));
    assert_ne!(open.header("etag"), plain.header("etag"), "two bodies, two tags");
}

#[test]
fn the_exposition_says_what_the_document_says() {
    let daemon = Daemon::start();
    daemon.wait_for_tick(2);
    let (metrics, current) = eventually("both of one tick", || {
        let sequence = daemon.sequence();
        let (metrics, current) = (daemon.get("/metrics").text(), daemon.current());
        (current["sequence"] == sequence && daemon.sequence() == sequence).then_some((metrics, current))
    });
    let sample = |line: &str| {
        let found = metrics.lines().find_map(|known| known.strip_prefix(line)?.strip_prefix(' '));
        found.unwrap_or_else(|| panic!("no {line}")).parse::<f64>().unwrap()
    };
    let host = &current["host"];
    assert_eq!(host["cpu"]["usage_ratio"].as_f64(), Some(sample("lowtide_host_cpu_usage_ratio")));
    assert_eq!(
        host["memory"]["available_bytes"].as_f64(),
        Some(sample("lowtide_host_memory_available_bytes"))
    );
    let user = host["cpu"]["by_mode"].as_array().unwrap().iter().find(|row| row["mode"] == "user").unwrap();
    assert_eq!(user["seconds_total"].as_f64(), Some(sample("lowtide_host_cpu_seconds_total{mode=\"user\"}")));
    assert_eq!(current["quiet"]["score"].as_f64(), Some(sample("lowtide_quiet_score")));
}

#[test]
fn the_documents_for_people_need_nothing_from_elsewhere() {
    let daemon = Daemon::start();
    let page = daemon.get("/docs").text();
    assert!(page.trim_start().to_ascii_lowercase().starts_with("<!doctype html"));
    for attribute in ["src=\"", "href=\"", "action=\"", "url("] {
        for target in page.split(attribute).skip(1) {
            let target: String = target.chars().take_while(|c| *c != '"' && *c != ')').collect();
            let elsewhere = target.contains("://") || target.starts_with("//");
            assert!(!elsewhere, "{attribute}{target}");
        }
    }
    assert!(!page.contains("<script"), "it is without scripts");
    for (_, path) in all_paths() {
        assert!(page.contains(path), "{path} is not on the page");
    }
    for code in &lowtide_api::CODES {
        assert!(page.contains(&format!("id=\"error-{}\"", code.code)), "{} has no anchor", code.code);
    }
    let served = daemon.get("/openapi.json").text();
    assert!(served == include_str!("../docs/reference/openapi.json"), "served and checked in differ");
}

#[test]
fn what_is_not_there_or_not_allowed_is_a_problem() {
    let daemon = Daemon::start();
    for path in
        ["/", "/nothing", "/api", "/api/system-stats/", "/api/system-stats/current/", "/metrics/x", "/LIVEZ"]
    {
        let answer = daemon.get(path);
        assert_eq!(answer.status, 404, "{path}");
        assert_eq!(answer.problem()["code"], "not_found", "{path}");
    }
    for (taken, path) in all_paths() {
        for method in ["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "BREW"] {
            if taken.split(' ').any(|taken| method == taken) {
                continue;
            }
            let answer = http::request(daemon.address, method, path, &[], b"");
            assert_eq!(answer.status, 405, "{method} {path}");
            assert_eq!(answer.problem()["code"], "method_not_allowed");
            let allow = answer.header("allow").unwrap_or_default();
            assert!(taken.split(' ').all(|one| allow.contains(one)), "{method} {path}: {allow:?}");
            assert_eq!(allow.contains("HEAD"), taken.contains("GET"), "{method} {path}: {allow:?}");
        }
    }
}

#[test]
fn bodies_that_nobody_wants_do_no_harm() {
    let daemon = Daemon::start();
    let paths =
        COVERED.iter().map(|(path, ..)| *path).filter(|path| *path != "/api/events").chain(["/nothing"]);
    let bodies: [&[u8]; 5] = [b"{", b"[1,", b"\"\\ud800\"", b"\xff\xfe", b"{\"a\":1e999}"];
    for path in paths {
        for body in bodies {
            for method in ["GET", "POST"] {
                let json = [("content-type", "application/json")];
                let answer = http::request(daemon.address, method, path, &json, body);
                assert!(answer.status < 500, "{method} {path}: {}", answer.status);
                if method == "GET" {
                    assert_eq!(answer.problem()["code"], "unexpected_body", "{path}");
                }
                if answer.status >= 400 {
                    answer.problem();
                }
            }
        }
    }
    let mut connection = http::Connection::open(daemon.address).unwrap();
    let head =
        "POST /api/system-stats/current HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1048577\r\n\r\n";
    connection.send(head.as_bytes()).unwrap();
    let answer = connection.answer(false).unwrap();
    assert_eq!((answer.status, answer.problem()["code"].as_str()), (413, Some("payload_too_large")));
    let long = format!("/api/system-stats/history?metric={}", "a".repeat(8 << 10));
    assert_eq!(daemon.get(&long).problem()["code"], "query_too_long");
    assert_eq!(daemon.get(&long).status, 414);
    let start = "metric=host_disk_busy_ratio&labels=device=";
    let just_fits = format!("/api/system-stats/history?{start}{}", "b".repeat((8 << 10) - start.len()));
    assert_eq!(daemon.get(&just_fits).status, 200);
}

#[test]
fn bad_parameters_are_told_with_reason_and_example() {
    let daemon = Daemon::start();
    let table = [
        ("history?range=5x", "range", "duration", "range=15m"),
        ("history?range=", "range", "duration", "range=15m"),
        ("history?range=-5m", "range", "duration", "range=15m"),
        ("history?range=0s", "range", "longer than zero", "range=15m"),
        ("history?range=999999w", "range", "100 years", "range=15m"),
        ("history?range=5m&range=6m", "range", "twice", "range=5m"),
        ("history?from=yesterday", "from", "RFC 3339", "from=2026-01-01T00:00:00Z"),
        ("history?to=NaN", "to", "RFC 3339", "to=2026-01-01T00:00:00Z"),
        ("history?to=inf", "to", "RFC 3339", "to=2026-01-01T00:00:00Z"),
        ("history?to=-1", "to", "RFC 3339", "to=2026-01-01T00:00:00Z"),
        ("history?to=2026-02-30T00:00:00Z", "to", "RFC 3339", "to=2026-01-01T00:00:00Z"),
        ("history?from=2&to=1", "from", "after the end", "from=2026-01-01T00:00:00Z"),
        ("history?from=1&range=5m", "range", "together", "range=15m"),
        ("history?step=0.5s", "step", "at least 1s", "step=30s"),
        ("history?step=often", "step", "duration", "step=5m"),
        ("history?agg=median", "agg", "avg, min, max, p95, last", "agg=avg,p95"),
        ("history?agg=", "agg", "avg, min, max, p95, last", "agg=avg,p95"),
        ("history?labels=device", "labels", "key=value", "labels=device=sda"),
        ("history?labels==sda", "labels", "key=value", "labels=device=sda"),
        ("history?group=", "group", "empty", "group=host"),
        ("history?metric=", "metric", "empty", "metric=host_cpu_usage_ratio"),
        ("history?metric=a,,b", "metric", "empty", "metric=host_cpu_usage_ratio"),
        ("aggregates?range=1h30", "range", "duration", "range=15m"),
        ("aggregates?metric=%2C", "metric", "empty", "metric=host_cpu_usage_ratio"),
    ];
    let mut connection = http::Connection::open(daemon.address).unwrap();
    let mut ask = |target: &str| connection.request("GET", target, &[], b"").unwrap();
    for (query, parameter, reason, example) in table {
        let answer = ask(&format!("/api/system-stats/{query}"));
        assert_eq!(answer.status, 400, "{query}: {}", answer.text());
        let problem = answer.problem();
        assert_eq!(problem["code"], "invalid_parameter", "{query}");
        assert_eq!(problem["parameter"], parameter, "{query}");
        assert_eq!(problem["example"], example, "{query}");
        let told = problem["reason"].as_str().unwrap();
        assert!(told.contains(reason), "{query}: {told}");
        assert!(problem["detail"].as_str().unwrap().contains(told), "{query}: {problem}");
    }
    for target in ["/api/events?kinds=tick,nonsense", "/readyz?verbose=perhaps"] {
        assert_eq!(ask(target).problem()["code"], "invalid_parameter", "{target}");
    }
    let every = all_paths().flat_map(|(methods, path)| methods.split(' ').map(move |method| (method, path)));
    for (method, path) in every {
        let answer = connection.request(method, &format!("{path}?rnage=5m"), &[], b"").unwrap();
        assert_eq!(answer.status, 400, "{path}");
        let problem = answer.problem();
        assert_eq!(problem["code"], "unknown_parameter", "{path}");
        assert_eq!(problem["parameter"], "rnage", "{path}");
        assert!(problem["reason"].is_string() && problem["example"].is_string(), "{path}: {problem}");
    }
}

#[test]
fn every_example_of_the_description_is_accepted() {
    let daemon = Daemon::start();
    let openapi = schema::openapi();
    for (path, methods) in openapi["paths"].as_object().unwrap() {
        for parameter in methods["get"]["parameters"].as_array().into_iter().flatten() {
            let (name, example) = (parameter["name"].as_str().unwrap(), &parameter["example"]);
            if let Some(example) = example.as_str()
                && path != "/api/events"
                // Those below an addon are asked for where there is one.
                && !path.contains('{')
            {
                let answer = daemon.get(&format!("{path}?{name}={example}"));
                assert_eq!(answer.status, 200, "{path} {name}={example}: {}", answer.text());
            }
        }
    }
}

#[test]
fn an_answer_that_would_be_too_large_is_refused_with_what_would_fit() {
    let daemon = Daemon::start();
    daemon.wait_for_tick(2);
    // However long the range that is asked for, only what is held counts.
    let answer = daemon.get("/api/system-stats/history?from=0&to=253402300799&step=1s&metric=quiet_score");
    assert_eq!(answer.status, 200, "{}", answer.text());
    let points = answer.json()["timestamps"].as_array().unwrap().len();
    assert!(points < 600, "{points} points of a daemon that has just started");
    let before = daemon.json("/api/system-stats/history?from=0&to=10&metric=quiet_score");
    assert!(
        before["series"]
            .as_array()
            .unwrap()
            .iter()
            .all(|series| { series["values"]["avg"].as_array().unwrap().iter().all(Value::is_null) })
    );
}

#[test]
fn every_metric_can_be_asked_for_and_a_misspelt_one_is_told() {
    let daemon = Daemon::start();
    let mut connection = http::Connection::open(daemon.address).unwrap();
    let infos = lowtide_collectors::infos().into_iter().chain(lowtide_app::derived_infos());
    for metric in infos.flat_map(|info| info.metrics.into_owned()) {
        // Also those that this machine has no series of: a chart for many hosts must not fail on one.
        let target = format!("/api/system-stats/history?metric={}", metric.name);
        let answer = connection.request("GET", &target, &[], b"").unwrap();
        assert_eq!(answer.status, 200, "{target}: {}", answer.text());
    }
    let answer = daemon.get("/api/system-stats/aggregates?metric=host_cpu_usage_ration");
    assert_eq!(answer.status, 400);
    assert_eq!(answer.problem()["example"], "metric=host_cpu_usage_ratio");
}

fn numbers(values: &Value) -> Vec<f64> {
    values.as_array().unwrap().iter().filter_map(Value::as_f64).collect()
}

fn ms(time: &Value) -> i64 {
    time.as_str().unwrap().parse::<jiff::Timestamp>().unwrap().as_millisecond()
}

fn close(one: f64, other: &Value) -> bool {
    other.as_f64().is_some_and(|other| (one - other).abs() <= 1e-6 * one.abs().max(1e-3))
}

#[test]
fn history_aggregates_and_current_tell_the_same_story() {
    let daemon = Daemon::start();
    daemon.wait_for_tick(7);
    let held = daemon.json("/api/system-stats/history?metric=quiet_score&step=raw");
    let times: Vec<&str> = held["timestamps"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    assert!(times.windows(2).all(|pair| pair[0] < pair[1]), "{times:?}");
    let range = format!("from={}&to={}", times[1], times[5]);
    for metric in ["host_cpu_usage_ratio", "host_memory_available_bytes", "host_cpu_seconds_total"] {
        let raw = daemon.json(&format!("/api/system-stats/history?{range}&step=raw&metric={metric}"));
        let sums = daemon.json(&format!("/api/system-stats/aggregates?{range}&metric=lowtide_{metric}"));
        let one = daemon.json(&format!("/api/system-stats/history?{range}&step=1h&metric={metric}"));
        assert_eq!(raw["timestamps"].as_array().unwrap().len(), 5);
        assert!(one["timestamps"].as_array().unwrap().len() <= 2);
        let series = sums["series"].as_array().unwrap();
        assert!(!series.is_empty(), "{metric}");
        assert_eq!(raw["series"].as_array().unwrap().len(), series.len(), "{metric}");
        for (sum, raw) in series.iter().zip(raw["series"].as_array().unwrap()) {
            for field in ["group", "metric", "labels", "kind", "unit", "of"] {
                assert_eq!(sum[field], raw[field], "{metric} {field}");
            }
            let counter = metric.ends_with("_total");
            assert_eq!(sum["of"], if counter { "rate_per_second" } else { "value" });
            let mut values = numbers(&raw["values"]["avg"]);
            assert_eq!(sum["count"], values.len(), "{sum}");
            let mean = values.iter().sum::<f64>() / values.len() as f64;
            let newest = *numbers(&raw["values"]["last"]).last().unwrap();
            values.sort_by(f64::total_cmp);
            let p95 = values[((values.len() as f64 * 0.95).ceil() as usize).saturating_sub(1)];
            assert!(close(mean, &sum["avg"]), "{mean} {sum}");
            assert!(close(values[0], &sum["min"]) && close(values[values.len() - 1], &sum["max"]), "{sum}");
            assert!(close(p95, &sum["p95"]) && close(newest, &sum["last"]), "{p95} {newest} {sum}");
        }
    }
    let (current, series) = eventually("both of one tick", || {
        let current = daemon.current();
        let sums = daemon.json("/api/system-stats/aggregates?metric=host_memory_available_bytes");
        let series = sums["series"][0].clone();
        // Times in the window follow the monotonic clock, so they may differ from the snapshot's by milliseconds.
        (ms(&series["current_at"]) - ms(&current["collected_at"])).abs().lt(&400).then_some((current, series))
    });
    assert_eq!(current["host"]["memory"]["available_bytes"].as_f64(), series["current"].as_f64());
}

#[test]
fn selectors_steps_and_aggregates_choose_what_is_sent() {
    let daemon = Daemon::start();
    daemon.wait_for_tick(4);
    let ask = |query: &str| daemon.json(&format!("/api/system-stats/history?{query}"));
    let host = ask("group=host&step=raw&agg=last");
    let groups = host["series"].as_array().unwrap();
    assert!(groups.len() > 30 && groups.iter().all(|series| series["group"] == "host"));
    let user = ask("metric=host_cpu_seconds_total&labels=mode=user");
    assert_eq!(user["series"].as_array().unwrap().len(), 1);
    assert_eq!(user["series"][0]["labels"], serde_json::json!({ "mode": "user" }));
    assert_eq!(ask("metric=host_cpu_seconds_total&labels=mode=sleeping")["series"], serde_json::json!([]));
    let bucket = ask("metric=lowtide_api_request_duration_seconds_bucket&labels=le=0.01");
    assert_eq!(bucket["series"][0]["metric"], "api_request_duration_seconds_bucket");
    assert_eq!(bucket["series"].as_array().unwrap().len(), 1);
    let wrong = daemon.get("/api/system-stats/history?metric=quiet_score&labels=nothing=here");
    assert_eq!((wrong.status, wrong.problem()["parameter"].as_str()), (400, Some("labels")));
    let two = ask("metric=quiet_score&metric=quiet_confidence_ratio&agg=min,max&step=2s");
    assert_eq!(two["series"].as_array().unwrap().len(), 2);
    assert_eq!(two["step_seconds"].as_f64(), Some(2.0));
    for series in two["series"].as_array().unwrap() {
        let values = series["values"].as_object().unwrap();
        assert_eq!(values.keys().collect::<Vec<_>>(), ["max", "min"]);
        assert!(values.values().all(|column| {
            column.as_array().unwrap().len() == two["timestamps"].as_array().unwrap().len()
        }));
    }
    for time in two["timestamps"].as_array().unwrap() {
        let ms = time.as_str().unwrap().parse::<jiff::Timestamp>().unwrap().as_millisecond();
        assert_eq!(ms % 2_000, 0, "aligned to the epoch: {time}");
    }
    assert_eq!(ask("metric=quiet_score&step=raw")["step_seconds"], Value::Null);
    // Unix seconds and RFC 3339 mean the same.
    let now = jiff::Timestamp::now();
    let (unix, text) = (now.as_second(), jiff::Timestamp::from_second(now.as_second()).unwrap());
    assert_eq!(ask(&format!("metric=quiet_score&from={}&to={unix}", unix - 2))["to"], {
        ask(&format!("metric=quiet_score&from={}&to={text}", unix - 2))["to"].clone()
    });
}

#[test]
fn probes_say_ready_and_what_they_looked_at() {
    let daemon = Daemon::start();
    assert_eq!(
        (daemon.get("/livez").text().as_str(), daemon.get("/readyz").text().as_str()),
        ("ok\n", "ok\n")
    );
    let verbose = daemon.get("/readyz?verbose").text();
    for check in ["tick ", "window ", "collector.cpu works", "collector.api "] {
        assert!(verbose.contains(check), "{check} in {verbose}");
    }
    let health = daemon.json("/api/system-stats/health");
    assert_eq!(health["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(daemon.get("/livez").header("cache-control"), Some("no-store"));
}

#[test]
fn requests_are_counted_by_route_and_a_wrong_path_makes_no_series() {
    let daemon = crate::daemon::Launch::with("[collectors]\ntick_seconds = 1\napi_seconds = 1\n").start();
    for number in 0..5 {
        daemon.get(&format!("/nothing-{number}"));
        daemon.get("/livez");
    }
    let metrics = eventually("the requests in the exposition", || {
        let metrics = daemon.get("/metrics").text();
        let wanted =
            ["{route=\"unmatched\",status_class=\"4xx\"} 5", "{route=\"/livez\",status_class=\"2xx\"} 5"];
        wanted.iter().all(|line| metrics.contains(line)).then_some(metrics)
    });
    assert!(!metrics.contains("nothing-"), "what a client types must never become a label");
}
