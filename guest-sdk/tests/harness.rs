//! The fake host, used as an author uses it: an addon with every trait, called and looked at.

use lowtide_sdk::http::HttpErrorKind;
use lowtide_sdk::leases::{Directive, Request};
use lowtide_sdk::log::Level;
use lowtide_sdk::metrics::MetricError;
use lowtide_sdk::testing::{FakeHost, LeaseCall, Problem, Recording};
use lowtide_sdk::{
    Collector, CustomStats, Description, Failure, Health, Job, JobDescription, Metric, Outcome, Presence,
    Sample, Signal, Status, Unit,
};
use lowtide_sdk::{config, host_data, http, json, kv, leases, log, metrics, sample, system, time};
use std::time::Duration;

const SESSIONS: &str = "GET http://127.0.0.1:8096/Sessions";

#[derive(Default)]
struct Media {
    calls: u64,
}

impl Collector for Media {
    fn describe() -> Description {
        Description::new("A media server.")
            .every(Duration::from_secs(10))
            .metric(Metric::gauge("sessions", Unit::Count, "Open sessions.").labels(["user"]))
            .metric(Metric::counter("calls_total", Unit::Count, "Collections."))
            .metric(Metric::histogram("request_seconds", Unit::Seconds, "Requests.").buckets([0.1, 1.0]))
    }

    fn collect(&mut self) -> Result<Vec<Sample>, Failure> {
        self.calls += 1;
        let url: String = config::required("url")?;
        let timer = metrics::timer("request_seconds", &[]);
        let answer = http::get(format!("{url}/Sessions")).header("Accept", "text/plain").send()?.success()?;
        timer.stop()?;
        kv::set("last", time::now().to_string())?;
        let mut samples: Vec<_> =
            answer.text()?.lines().map(|user| sample("sessions", [user], 1.0)).collect();
        samples.push(sample("calls_total", (), self.calls as f64));
        Ok(samples)
    }
}

impl Presence for Media {
    fn assess(&mut self) -> Result<Vec<Signal>, Failure> {
        let watching = host_data::tcp_accepts("127.0.0.1:8096", None)?;
        Ok(Vec::from_iter(watching.then(|| Signal::new("a film", 1.0).lasting(Duration::from_secs(60)))))
    }
}

impl CustomStats for Media {
    fn stats(&mut self) -> Result<String, Failure> {
        Ok(json::Object::new().put("calls", self.calls as i64).finish())
    }
}

impl Health for Media {
    fn check(&mut self) -> Status {
        match kv::get_text("last") {
            Ok(Some(_)) => Status::Ok,
            Ok(None) => Status::warn("never collected"),
            Err(error) => Status::error(error.to_string()),
        }
    }
}

impl Job for Media {
    fn describe() -> Vec<JobDescription> {
        vec![
            JobDescription::new("scan", "Looks for new films.", Duration::from_secs(60))
                .cost_units(10)
                .pausable(),
        ]
    }

    fn run(&mut self, name: &str) -> Result<Outcome, Failure> {
        let lease = leases::request(&Request::new(name, Duration::from_secs(60)))?;
        while lease.heartbeat()? == Directive::Proceed {
            lease.report(Some(0.5), "half")?;
        }
        Ok(Outcome::Stopped)
    }
}

lowtide_sdk::addon!(Media: Collector, Presence, CustomStats, Health, Job);

fn host() -> FakeHost {
    FakeHost::new().config("url", "http://127.0.0.1:8096").http(SESSIONS, 200, "anna\nben\n")
}

#[test]
fn a_collection_gives_samples_and_all_that_happened() {
    let mut host = host().clock(1_800_000_000_000);
    let report = host.collect::<Media>();
    assert_eq!(report.assert_ok().len(), 3);
    assert_eq!(report.value("sessions", &["anna"]), Some(1.0));
    assert_eq!(report.value("sessions", &["carl"]), None);
    assert_eq!(report.requests[0].request, SESSIONS);
    assert_eq!(report.requests[0].headers, [("Accept".to_owned(), "text/plain".to_owned())]);
    assert_eq!(report.recorded[0].recording, Recording::Timer);
    assert_eq!(report.recorded("request_seconds", &[]), Some(0.0));
    assert_eq!(host.stored("last"), Some(&b"1800000000000"[..]));
}

#[test]
fn an_addon_keeps_its_state_until_it_is_restarted_and_its_store_for_ever() {
    let mut host = host();
    for calls in [1.0, 2.0] {
        assert_eq!(host.collect::<Media>().value("calls_total", &[]), Some(calls));
    }
    assert_eq!(host.stats::<Media>().assert_ok(), r#"{"calls":2}"#);
    let mut host = host.restart();
    assert_eq!(host.collect::<Media>().value("calls_total", &[]), Some(1.0));
    assert_eq!(*host.check::<Media>().assert_ok(), Status::Ok);
}

#[test]
fn faults_are_failures_of_the_kind_that_fits() {
    let failure = |mut host: FakeHost| host.collect::<Media>().answer.unwrap_err();
    assert!(
        matches!(failure(FakeHost::new()), Failure::Config(text) if text == "url: not set; a text is needed")
    );
    assert!(matches!(failure(host().config("url", 5)), Failure::Config(_)));
    assert!(matches!(failure(host().http_timeout(SESSIONS)), Failure::Unavailable(_)));
    assert!(matches!(failure(host().http_error(SESSIONS, HttpErrorKind::TooLarge)), Failure::Other(_)));
    assert!(matches!(failure(host().http(SESSIONS, 401, "")), Failure::Denied(_)));
    assert!(matches!(failure(host().http(SESSIONS, 500, "")), Failure::Unavailable(_)));
    assert!(matches!(failure(host().deny("GET http://127.0.0.1")), Failure::Denied(_)));
    assert!(matches!(failure(host().kv_unavailable()), Failure::Unavailable(_)));
    assert!(matches!(failure(FakeHost::new().config("url", "ftp://x")), Failure::Other(_)));
}

#[test]
#[should_panic(
    expected = "the addon is not well:\n  unavailable: GET http://127.0.0.1:8096/Sessions: no answer within the time"
)]
fn assert_ok_says_all_that_was_wrong() {
    host().http_timeout(SESSIONS).collect::<Media>().assert_ok();
}

#[test]
fn the_other_interfaces_are_called_too() {
    let mut host = FakeHost::new();
    assert!(host.assess::<Media>().assert_ok().is_empty());
    assert_eq!(*host.check::<Media>().assert_ok(), Status::warn("never collected"));
    assert_eq!(host.describe::<Media>().assert_ok().interval, 10.0);
    assert!(host.jobs::<Media>().assert_ok()[0].pausable);
    let mut host = host.listens("127.0.0.1:8096").kv_unavailable();
    assert_eq!(host.assess::<Media>().assert_ok()[0].lasts, Some(60.0));
    assert!(matches!(host.check::<Media>().assert_ok(), Status::Error(_)));
}

#[test]
fn a_lease_is_reported_on_and_released_when_it_is_dropped() {
    let mut host = FakeHost::new();
    assert!(matches!(host.run_job::<Media>("scan").answer, Err(Failure::Unavailable(_))));
    let mut host = host.leases_denied(Duration::from_secs(30), "somebody plays");
    let failure = host.run_job::<Media>("scan").answer.unwrap_err();
    assert_eq!(failure.to_string(), "unavailable: lease denied for 30 s; somebody plays");
    let mut host = host.leases_granted([Directive::Proceed, Directive::Revoke(5.0)]);
    let report = host.run_job::<Media>("scan");
    assert_eq!(*report.assert_ok(), Outcome::Stopped);
    let calls = [
        LeaseCall::Requested("scan".into()),
        LeaseCall::Reported(Some(0.5), "half".into()),
        LeaseCall::Released,
    ];
    assert_eq!(report.leases, calls);
}

/// A collector that breaks every rule.
#[derive(Default)]
struct Careless;

impl Collector for Careless {
    fn describe() -> Description {
        Description::new("Everything wrong.")
            .every(Duration::ZERO)
            .metric(Metric::gauge("queue", Unit::Seconds, "No suffix."))
            .metric(Metric::counter("jobs", Unit::Count, "No total."))
            .metric(Metric::gauge("Load", Unit::Count, "A capital."))
            .metric(Metric::gauge("users_count", Unit::Count, "Kept for histograms."))
            .metric(Metric::gauge("silent", Unit::Count, " "))
            .metric(Metric::gauge("twice", Unit::Count, "Label twice.").labels(["a", "a"]))
            .metric(Metric::gauge("users", Unit::Count, "Good.").labels(["place"]))
            .metric(Metric::histogram("wait_seconds", Unit::Seconds, "Good."))
    }

    fn collect(&mut self) -> Result<Vec<Sample>, Failure> {
        Ok(vec![
            sample("users", ["here"], 1.0),
            sample("users", ["here"], 2.0),
            sample("users", (), 3.0),
            sample("queue", (), 4.0),
            sample("wait_seconds", (), 5.0),
            sample("users", ["there"], f64::NAN),
        ])
    }
}

#[test]
fn what_breaks_the_contract_is_left_out_and_told() {
    let mut host = FakeHost::new();
    let problems = host.describe::<Careless>().problems;
    assert_eq!(problems.len(), 7, "{problems:?}");
    assert!(problems.iter().all(|problem| matches!(problem, Problem::Definition(_))));

    let report = FakeHost::new().collect::<Careless>();
    assert_eq!(report.samples(), [sample("users", ["here"], 1.0)]);
    let told: Vec<_> = report.problems[7..].iter().map(Problem::to_string).collect();
    let wanted = [
        r#"users ["here"] was given twice"#,
        r#""users" has 1 labels, but 0 values were given"#,
        r#"the metric "queue" was not declared"#,
        r#""wait_seconds" is a histogram: record it with metrics::histogram"#,
    ];
    assert_eq!(told, wanted);
}

#[test]
fn series_have_a_limit() {
    #[derive(Default)]
    struct Flood;
    impl Collector for Flood {
        fn describe() -> Description {
            Description::new("Too many.")
                .metric(Metric::gauge("value", Unit::Count, "One each.").labels(["n"]))
        }
        fn collect(&mut self) -> Result<Vec<Sample>, Failure> {
            Ok((0..502).map(|n| sample("value", [n.to_string()], 1.0)).collect())
        }
    }
    let report = FakeHost::new().collect::<Flood>();
    assert_eq!((report.samples().len(), report.problems.len()), (500, 2));
}

#[test]
fn recording_follows_the_declaration() {
    let mut host = FakeHost::new();
    host.run(|| {
        metrics::declare(&Metric::counter("retries_total", Unit::Count, "Retries.").labels(["server"]))
            .unwrap();
        metrics::declare(&Metric::counter("retries_total", Unit::Count, "Retries.").labels(["server"]))
            .unwrap();
        let other =
            metrics::declare(&Metric::counter("retries_total", Unit::Count, "Others.").labels(["server"]));
        assert!(matches!(other, Err(MetricError::Conflict(_))));
        metrics::counter("retries_total", &["a"], 2.0).unwrap();
        for (name, labels, amount) in [
            ("retries_total", &["a"][..], -1.0),
            ("retries_total", &[], 1.0),
            ("retries_total", &["a"], f64::NAN),
        ] {
            assert!(matches!(metrics::counter(name, labels, amount), Err(MetricError::Invalid(_))));
        }
        assert!(matches!(metrics::gauge("retries_total", &["a"], 1.0), Err(MetricError::Undeclared(_))));
        assert!(matches!(metrics::counter("other_total", &[], 1.0), Err(MetricError::Undeclared(_))));
        for _ in 0..20 {
            metrics::event("retried", &[("server", "a")]).unwrap();
        }
        assert!(matches!(metrics::event("retried", &[]), Err(MetricError::LimitExceeded(_))));
    });
    let report = host.assess::<Media>();
    assert_eq!(report.recorded("retries_total", &["a"]), Some(2.0));
    assert_eq!((report.recorded.len(), report.events.len(), report.problems.len()), (1, 20, 7));
}

#[test]
fn a_timer_records_when_it_is_dropped_unless_it_is_cancelled() {
    let mut host = FakeHost::new();
    host.run(|| {
        metrics::declare(&Metric::histogram("work_seconds", Unit::Seconds, "Work.")).unwrap();
        drop(metrics::timer("work_seconds", &[]));
        metrics::timer("work_seconds", &[]).cancel();
    });
    assert_eq!(host.check::<Media>().recorded.len(), 1);
}

#[test]
fn files_and_directories_are_as_the_test_says() {
    let mut host = FakeHost::new()
        .file("/srv/a/one", "1")
        .file("/srv/a/b/two", [0xff])
        .modified("/srv/a/one", 7)
        .unreadable_file("/srv/a/secret", "permission denied")
        .deny("/etc");
    host.run(|| {
        let names: Vec<_> =
            host_data::list_directory("/srv/a/").unwrap().into_iter().map(|entry| entry.name).collect();
        assert_eq!(names, ["b", "one", "secret"]);
        assert_eq!(host_data::read_to_string("/srv/a/one").unwrap(), "1");
        let stat = host_data::stat("/srv/a/one").unwrap();
        assert_eq!((stat.kind, stat.size, stat.modified), (host_data::EntryKind::File, 1, 7));
        assert_eq!(host_data::stat("/srv/a").unwrap().kind, host_data::EntryKind::Directory);
        let error = |path: &str| host_data::read_to_string(path).unwrap_err().to_string();
        assert_eq!(error("/srv/a/b/two"), "/srv/a/b/two: the file is not UTF-8");
        assert_eq!(error("/srv/a"), "/srv/a: it is a directory");
        assert_eq!(error("/srv/a/gone"), "/srv/a/gone: no such file or directory");
        assert_eq!(error("/srv/a/secret"), "/srv/a/secret: cannot be read: permission denied");
        assert_eq!(error("/etc/shadow"), "/etc/shadow: not granted: ask the operator to grant /etc/shadow");
        assert!(error("/srv/../etc/shadow").contains("has no `..` in it"));
        assert!(host_data::list_directory("/gone").unwrap_err().is_not_found());
    });
}

#[test]
fn the_store_has_the_quotas_of_the_contract() {
    let mut host = FakeHost::new().kv("b", "2");
    host.run(|| {
        kv::set("a", "1").unwrap();
        kv::delete("gone").unwrap();
        assert_eq!(kv::list_keys("").unwrap(), ["a", "b"]);
        assert!(matches!(kv::get(""), Err(kv::KvError::Invalid(_))));
        assert!(matches!(kv::set("big", vec![0; 65_537]), Err(kv::KvError::Invalid(_))));
        let full = (0..98).find_map(|n| kv::set(&format!("{n}"), vec![0; 65_536]).err());
        assert!(matches!(full, Some(kv::KvError::LimitExceeded(text)) if text.contains("bytes")));
        let often = (0..100).find_map(|_| kv::set("a", "1").err());
        assert!(matches!(often, Some(kv::KvError::LimitExceeded(text)) if text.contains("writes")));
    });
    host.advance(Duration::from_secs(1)).run(|| kv::set("a", "2")).unwrap();
}

#[test]
fn requests_have_a_rate_and_rules() {
    let mut host = host();
    host.run(|| {
        let refused = http::get("http://a/").header("Host", "b").send().unwrap_err();
        assert!(matches!(refused.kind, HttpErrorKind::Invalid(_)));
        let nobody = http::post("http://a/").body("x").send().unwrap_err();
        assert!(matches!(nobody.kind, HttpErrorKind::Unreachable(_)));
        let often = (0..20).find_map(|_| http::get("http://127.0.0.1:8096/Sessions").send().err());
        assert_eq!(often.map(|error| error.kind), Some(HttpErrorKind::LimitExceeded));
    });
    let answer = host.advance(Duration::from_secs(1)).http_header(SESSIONS, "Content-Type", "text/plain");
    let mut host = answer;
    let response = host.run(|| http::get("http://127.0.0.1:8096/Sessions").send()).unwrap();
    assert_eq!(response.header("content-TYPE"), Some("text/plain"));
}

#[test]
fn the_system_is_unknown_until_the_test_says_something() {
    let mut host = FakeHost::new();
    assert_eq!(host.run(system::quiet).unwrap_err(), system::SystemError::NotYet);
    let mut host = host.quiet(20, system::State::Busy).reading("host_cpu_busy_ratio", &[("cpu", "0")], 0.9);
    host.run(|| {
        assert_eq!(system::quiet().unwrap().score, 20);
        let snapshot = system::snapshot(&["host_cpu_"]).unwrap();
        assert_eq!(snapshot.readings[0].label("cpu"), Some("0"));
        assert!(system::snapshot(&[]).unwrap().readings.is_empty());
    });
}

#[test]
fn lines_of_the_log_are_cleaned() {
    let mut host = FakeHost::new().config("most", "ten");
    host.run(|| {
        log::info("plain");
        lowtide_sdk::error!("{}\x1b[31m", "red");
        lowtide_sdk::debug!("{}", "x".repeat(5_000));
        assert_eq!(config::integer("most"), None);
        assert_eq!(config::keys(), ["most"]);
    });
    let logs = host.check::<Media>().logs;
    assert_eq!((logs[0].level, logs[0].message.as_str()), (Level::Info, "plain"));
    assert_eq!((logs[1].level, logs[1].message.as_str()), (Level::Error, "red\u{fffd}[31m"));
    assert_eq!(logs[2].message.len(), 4_096);
    assert_eq!(logs[3].message, "setting not used: most: a whole number is needed, a text is set");
}

#[test]
fn the_clocks_go_on_when_they_are_told_to() {
    let mut host = FakeHost::new().clock(1_000).advance(Duration::from_millis(500));
    assert_eq!(host.run(|| (time::now(), time::monotonic())), (1_500, Duration::from_millis(500)));
    let mut host = host.clock(9);
    assert_eq!(host.run(|| (time::now(), time::monotonic())), (9, Duration::from_millis(500)));
}

#[test]
#[should_panic(expected = "outside of a fake host")]
fn without_a_host_there_is_a_word_of_advice() {
    let _ = config::text("url");
}

#[test]
fn a_host_survives_a_panic_of_the_addon() {
    let mut host = FakeHost::new().config("a", "b");
    let panicked =
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| host.run(|| panic!("on purpose"))));
    assert!(panicked.is_err());
    assert_eq!(host.run(|| config::text("a")).as_deref(), Some("b"));
}
