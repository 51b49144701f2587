//! Addons over HTTP. Here: a daemon whose folder is empty, or holds only what cannot be an addon; that needs no component.

mod bytes;
mod examples;
mod folder;
mod frozen;
mod guests;
mod leases;
mod live;
mod orders;
mod stage;

use crate::daemon::{Daemon, Launch, eventually};
use crate::http::{self, Answer};
use crate::schema;
use serde_json::{Value, json};
use std::fs;

const UNKNOWN: [&str; 8] = ["demo", "Not-An-Id", "-x", "a%2Fb", "..%2f", "%ff", "%00", "a%20b"];

fn post(daemon: &Daemon, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
    http::request(daemon.address, "POST", path, headers, body)
}

/// Holds a document against its schema.
fn fits(name: &str, document: &Value) {
    let openapi = schema::openapi();
    assert_eq!(schema::problems(&openapi, schema::component(&openapi, name), document), Vec::<String>::new());
}

#[test]
fn an_empty_folder_is_an_empty_list() {
    let daemon = Daemon::start();
    let list = daemon.json("/api/addons");
    assert_eq!((&list["addons"], &list["next"]), (&json!([]), &Value::Null));
    let overview = daemon.json("/api/system-stats/addons");
    assert_eq!((&overview["addons"], &overview["left_out"]), (&json!({}), &json!(0)));
    for summary in [&list["summary"], &overview["summary"]] {
        for (field, value) in summary.as_object().unwrap() {
            assert_eq!(field == "uptime_seconds", value.as_f64().unwrap() > 0.0, "{summary}");
        }
    }
    assert_eq!(daemon.current()["addons"], json!({}));
    // A chart for many hosts asks for the same on each.
    let costs = daemon.json("/api/system-stats/aggregates?metric=addons_cpu_usage_ratio&group=addons");
    assert_eq!(costs["series"], json!([]));
    let gone = daemon.json("/api/system-stats/history?group=addon.demo");
    assert_eq!(gone["series"], json!([]));
}

#[test]
fn what_is_not_there_is_no_such_addon() {
    let daemon = Daemon::start();
    for name in UNKNOWN {
        for path in ["", "/stats", "/metrics", "/logs"] {
            let answer = daemon.get(&format!("/api/addons/{name}{path}"));
            assert_eq!(
                (answer.status, &answer.problem()["code"]),
                (404, &json!("no_such_addon")),
                "{name}{path}"
            );
        }
        for action in ["enable", "disable", "reload"] {
            let answer = post(&daemon, &format!("/api/addons/{name}/{action}"), &[], b"");
            assert_eq!(
                (answer.status, &answer.problem()["code"]),
                (404, &json!("no_such_addon")),
                "{name} {action}"
            );
        }
    }
    for path in ["/api/addons/", "/api/addons/demo/", "/api/addons/demo/nothing", "/api/addons/a/b/stats"] {
        assert_eq!(daemon.get(path).problem()["code"], "not_found", "{path}");
    }
}

#[test]
fn what_acts_takes_no_body_no_parameters_and_no_strangers() {
    let daemon = Daemon::start();
    let host = daemon.address.to_string();
    for action in ["enable", "disable", "reload"] {
        let path = format!("/api/addons/demo/{action}");
        let ask = |headers: &[(&str, &str)], body: &[u8]| {
            let answer = post(&daemon, &path, headers, body);
            (answer.status, answer.problem()["code"].as_str().unwrap().to_owned())
        };
        assert_eq!(ask(&[], b"{}"), (400, "unexpected_body".into()));
        for headers in [
            [("origin", "http://evil.example")],
            [("origin", "null")],
            [("sec-fetch-site", "cross-site")],
            [("sec-fetch-site", "same-site")],
        ] {
            assert_eq!(ask(&headers, b""), (403, "cross_site_request".into()), "{headers:?}");
        }
        // Our own page, which the client of these tests calls by this name, gets as far as the addon that is not there.
        let own = [("origin", "http://localhost"), ("sec-fetch-site", "same-origin")];
        assert_eq!(ask(&own, b""), (404, "no_such_addon".into()));
        let other_port = format!("http://{host}");
        assert_eq!(ask(&[("origin", &other_port)], b""), (403, "cross_site_request".into()));
    }
}

#[test]
fn bad_parameters_are_told_before_the_addon_is_looked_for() {
    let daemon = Daemon::start();
    for (query, parameter) in [
        ("?limit=0", "limit"),
        ("?limit=2001", "limit"),
        ("?limit=-1", "limit"),
        ("/demo/logs?limit=501", "limit"),
        ("/demo/logs?limit=x", "limit"),
        ("/demo/logs?since=-1", "since"),
        ("/demo/logs?level=loud", "level"),
        ("/demo/logs?since=1&since=2", "since"),
    ] {
        let answer = daemon.get(&format!("/api/addons{query}"));
        assert_eq!(answer.status, 400, "{query}: {}", answer.text());
        let problem = answer.problem();
        assert_eq!(
            (&problem["code"], &problem["parameter"]),
            (&json!("invalid_parameter"), &json!(parameter)),
            "{query}"
        );
    }
}

#[test]
fn files_that_cannot_be_addons_are_listed_with_what_to_do() {
    let launch = Launch::new();
    let folder = launch.folder().join("data/addons");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("READ ME.txt"), "not an addon").unwrap();
    fs::write(folder.join("Upper.wasm"), "neither").unwrap();
    let daemon = launch.start();
    let list = eventually("both files are refused", || {
        let list = daemon.json("/api/addons");
        (list["summary"]["refused"] == 2).then_some(list)
    });
    fits("AddonList", &list);
    assert_eq!(list["summary"]["total"], 2);
    for row in list["addons"].as_array().unwrap() {
        assert_eq!(row["state"], "refused");
        assert!(row["problem"]["text"].as_str().unwrap().contains("name"), "{row}");
    }
    let one = daemon.json("/api/addons/READ%20ME.txt");
    fits("Addon", &one);
    assert_eq!(
        (&one["id"], &one["digest"], &one["component_bytes"]),
        (&json!("READ ME.txt"), &Value::Null, &Value::Null)
    );
    let metrics = daemon.json("/api/addons/READ%20ME.txt/metrics");
    fits("AddonMetrics", &metrics);
    assert_eq!((&metrics["usage"], &metrics["own"]), (&json!([]), &json!([])));
    let log = daemon.json("/api/addons/READ%20ME.txt/logs");
    assert_eq!(log, json!({ "lines": [], "missed": 0, "next": 0 }));
    assert_eq!(daemon.get("/api/addons/READ%20ME.txt/stats").problem()["code"], "no_stats");
    assert_eq!(
        post(&daemon, "/api/addons/READ%20ME.txt/reload", &[], b"").problem()["code"],
        "no_such_addon"
    );

    let first = daemon.json("/api/addons?limit=1");
    assert_eq!((first["addons"].as_array().unwrap().len(), &first["next"]), (1, &first["addons"][0]["id"]));
    let second = daemon.json("/api/addons?limit=1&after=READ%20ME.txt");
    assert_eq!((&second["addons"][0]["id"], &second["next"]), (&json!("Upper.wasm"), &Value::Null));
    assert_eq!(second["summary"]["total"], 2, "of all, also those of other pages");

    let health = daemon.json("/api/system-stats/health");
    assert_eq!(health["status"], "warn");
    let check = health["checks"]
        .as_array()
        .unwrap()
        .iter()
        .find(|check| check["name"] == "addon.READ ME.txt")
        .cloned();
    assert!(check.unwrap()["detail"].as_str().unwrap().starts_with("is refused: "), "{health}");
    assert_eq!(daemon.get("/readyz").status, 200, "an addon's trouble is not the daemon's");

    for name in ["READ ME.txt", "Upper.wasm"] {
        fs::remove_file(folder.join(name)).unwrap();
    }
    eventually("they are gone", || (daemon.json("/api/addons")["summary"]["total"] == 0).then_some(()));
    assert_eq!(daemon.get("/api/addons/READ%20ME.txt").problem()["code"], "no_such_addon");
}

// Tests with addons that run: their state, document, log, figures, events and switches.
