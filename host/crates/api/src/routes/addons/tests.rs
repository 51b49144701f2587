//! That the routes of addons answer and refuse as described, without a daemon around them. Tests only.

use super::*;
use crate::routes::{ROUTES, router};
use axum::body::Body;
use axum::http::Method;
use lowtide_app::{App, Hooks, Settings};
use lowtide_collectors::{ApiMeter, CollectConfig};
use lowtide_core::quiet::QuietConfig;
use lowtide_core::units::WallTime;
use tower::Service as _;

fn line(number: u64, level: Level) -> Arc<LogLine> {
    Arc::new(LogLine { number, at: WallTime(0), level, text: number.to_string() })
}

#[test]
fn a_reader_of_a_log_goes_on_where_it_stopped() {
    let lines: Vec<_> =
        (1..=6).map(|number| line(number, if number % 2 == 0 { Level::Warn } else { Level::Info })).collect();
    let numbers = |since, limit, level| {
        let (chosen, next) = choose(&lines, since, limit, level);
        (chosen.iter().map(|line| line.number).collect::<Vec<_>>(), next)
    };
    assert_eq!(numbers(None, 2, Level::Debug), (vec![5, 6], 6));
    assert_eq!(numbers(None, 10, Level::Error), (vec![], 6));
    assert_eq!(numbers(Some(0), 2, Level::Debug), (vec![1, 2], 2));
    assert_eq!(numbers(Some(0), 2, Level::Warn), (vec![2, 4], 4));
    assert_eq!(numbers(Some(0), 3, Level::Warn), (vec![2, 4, 6], 6), "all were looked at");
    assert_eq!(choose(&[], Some(6), 2, Level::Debug), (vec![], 6));
    assert_eq!(choose(&[], None, 2, Level::Debug), (vec![], 0));
}

#[test]
fn times_in_headers_are_those_of_http() {
    assert_eq!(http_date(784_111_777_000).unwrap(), "Sun, 06 Nov 1994 08:49:37 GMT");
}

#[test]
fn every_refusal_has_its_code() {
    let status = |error| axum::response::IntoResponse::into_response(refused(error)).status().as_u16();
    assert_eq!(status(AskError::Unknown("x".into())), 404);
    assert_eq!(status(AskError::Configured("x".into())), 409);
    assert_eq!(status(AskError::Disk("full".into())), 507);
    assert_eq!(status(AskError::Stopping), 503);
    assert_eq!(status(AskError::UnknownJob { addon: "x".into(), job: "y".into() }), 404);
    assert_eq!(status(AskError::JobCannotRun("no grant".into())), 409);
}

#[test]
fn only_programs_and_pages_of_this_daemon_may_act() {
    let may = |headers: &[(&str, &str)]| {
        let mut request = Request::post("/api/addons/demo/reload");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        may_act(&request.body(Body::empty()).unwrap()).is_ok()
    };
    let here = ("host", "127.0.0.1:7777");
    assert!(may(&[here]));
    assert!(may(&[here, ("origin", "http://127.0.0.1:7777")]));
    assert!(may(&[("host", "localhost"), ("origin", "http://LOCALHOST"), ("sec-fetch-site", "same-origin")]));
    assert!(may(&[("host", "[::1]:7777"), ("origin", "http://[::1]:7777")]));
    assert!(may(&[here, ("sec-fetch-site", "none")]));
    for wrong in [
        ("origin", "http://evil.example"),
        ("origin", "http://127.0.0.1:8080"),
        ("origin", "null"),
        ("origin", ""),
        ("origin", "file://127.0.0.1:7777"),
        ("origin", "http://127.0.0.1:7777.evil.example"),
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-site", "same-site"),
        ("sec-fetch-site", ""),
    ] {
        assert!(!may(&[here, wrong]), "{wrong:?}");
    }
    // A name that was made to mean this machine.
    assert!(!may(&[("host", "evil.example:7777"), ("origin", "http://evil.example:7777")]));
    assert!(!may(&[("host", "127.evil.example"), ("origin", "http://127.evil.example")]));
}

#[test]
fn without_addons_every_path_below_them_says_so() {
    let settings = Settings {
        collect: CollectConfig::default(),
        quiet: QuietConfig::default(),
        leases: None,
        addons: None,
        history: None,
    };
    let hooks = Hooks { after_tick: Box::new(|_| {}) };
    let app = App::start(settings, Arc::new(ApiMeter::new(ROUTES)), hooks).unwrap();
    let mut router =
        router(Shared::new(app.clone(), crate::gate::Gate::open(), tokio::sync::watch::channel(false).1));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let paths = ROUTES.iter().filter(|path| path.contains("addons"));
    for path in paths {
        let acts = ["/enable", "/disable", "/reload", "/run"].iter().any(|end| path.ends_with(end));
        let method = if acts { Method::POST } else { Method::GET };
        let request = Request::builder()
            .header("host", "localhost")
            .method(method)
            .uri(path.replace("{id}", "demo").replace("{name}", "scrub"))
            .body(Body::empty())
            .unwrap();
        let body = runtime.block_on(async {
            let response = router.call(request).await.unwrap();
            assert_eq!(response.status(), 404, "{path}");
            axum::body::to_bytes(response.into_body(), 10_000).await.unwrap()
        });
        let problem: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(problem["code"], "addons_off", "{path}");
    }
    app.stop();
}
