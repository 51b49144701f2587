//! Bytes that no client should send: whatever comes, the daemon lives, answers others, and never answers with a 5xx.

use crate::daemon::Daemon;
use crate::http::Connection;
use crate::random::Random;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

/// Sends bytes and gives what comes back until the daemon hangs up or has waited this long for more.
fn exchange(daemon: &Daemon, bytes: &[u8], patience_ms: u64) -> Vec<u8> {
    let mut socket = TcpStream::connect(daemon.address).unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(patience_ms))).unwrap();
    // It may hang up in the middle of what we send: that is its right.
    let _ = socket.write_all(bytes);
    let mut answer = Vec::new();
    let _ = socket.read_to_end(&mut answer);
    answer
}

fn statuses(answer: &[u8]) -> Vec<u16> {
    let text = String::from_utf8_lossy(answer);
    let lines = text.split("HTTP/1.").skip(1);
    lines.filter_map(|rest| rest.get(2..5)?.parse().ok()).collect()
}

fn check(daemon: &Daemon, bytes: &[u8]) -> Vec<u16> {
    // Half a request is never answered, so this must not wait for long; nothing is asserted about the time.
    let statuses = statuses(&exchange(daemon, bytes, 40));
    let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(200)]).into_owned();
    assert!(statuses.iter().all(|status| *status < 500), "{statuses:?} for {shown:?}");
    statuses
}

fn alive(daemon: &Daemon) {
    assert_eq!(daemon.get("/livez").text(), "ok\n");
}

#[test]
fn garbled_heads_are_refused_and_nothing_else_happens() {
    let daemon = Daemon::start();
    let get = "GET /livez HTTP/1.1\r\nhost: localhost\r\n";
    let table: Vec<(String, &[u16])> = vec![
        ("GET\r\n\r\n".into(), &[400]),
        ("GET /livez\r\n\r\n".into(), &[400]),
        ("GET /livez HTTP/9.9\r\n\r\n".into(), &[400]),
        ("G\u{e4}T /livez HTTP/1.1\r\n\r\n".into(), &[400]),
        (format!("{get}no colon here\r\n\r\n"), &[400]),
        (format!("{get}: empty name\r\n\r\n"), &[400]),
        (format!("{get}a\u{0}b: c\r\n\r\n"), &[400]),
        (format!("{get}x: \u{1}\u{7f}\r\n\r\n"), &[400]),
        (format!("{get}content-length: -1\r\n\r\n"), &[400]),
        (format!("{get}content-length: 99999999999999999999999\r\n\r\n"), &[400, 413]),
        (format!("{get}content-length: 3\r\ncontent-length: 4\r\n\r\nabcd"), &[400]),
        (format!("{get}transfer-encoding: chunked\r\ncontent-length: 4\r\n\r\nabcd"), &[400, 200]),
        (format!("{get}transfer-encoding: chunked\r\n\r\nzz\r\n"), &[400, 200]),
        (format!("{get}transfer-encoding: chunked\r\n\r\nffffffffffffffffff\r\n"), &[400, 200]),
        (format!("{get}x: {}\r\n\r\n", "a".repeat(600_000)), &[400, 431]),
        (format!("{get}{}\r\n", "x: y\r\n".repeat(500)), &[400, 431]),
        (format!("GET /{} HTTP/1.1\r\nhost: localhost\r\n\r\n", "a".repeat(100_000)), &[400, 404, 414, 431]),
        (format!("{get}if-none-match: {}\r\n\r\n", ",".repeat(5_000)), &[200]),
        (format!("{get}accept-encoding: gzip;q=1e400,*;q=NaN, ,;;q\r\n\r\n"), &[200]),
        (format!("{get}accept: ;;q=;,,application/openmetrics-text;q=inf\r\n\r\n"), &[200]),
        (format!("{get}expect: 200-maybe\r\n\r\n"), &[200, 417]),
        (
            format!("{get}upgrade: h2c\r\nconnection: upgrade\r\nhttp2-settings: AAMAAABkAAQAAP__\r\n\r\n"),
            &[200],
        ),
    ];
    for (bytes, expected) in &table {
        let statuses = check(&daemon, bytes.as_bytes());
        let shown: String = bytes.chars().take(120).collect();
        assert!(
            statuses.first().is_none_or(|status| expected.contains(status)),
            "{statuses:?} for {shown:?}"
        );
    }
    alive(&daemon);
}

#[test]
fn forms_of_the_target_that_are_rare_are_answered_or_refused() {
    let daemon = Daemon::start();
    let table = [
        ("GET http://elsewhere.example/livez HTTP/1.1\r\nhost: elsewhere.example\r\n\r\n", 421),
        ("GET /livez HTTP/1.0\r\n\r\n", 200),
        ("GET /livez? HTTP/1.1\r\nhost: localhost\r\n\r\n", 200),
        ("GET //livez HTTP/1.1\r\nhost: localhost\r\n\r\n", 404),
        ("GET /../../etc/passwd HTTP/1.1\r\nhost: localhost\r\n\r\n", 404),
        ("GET /docs/%2e%2e/%2e%2e/etc/passwd HTTP/1.1\r\nhost: localhost\r\n\r\n", 404),
        ("GET /docs%00.html HTTP/1.1\r\nhost: localhost\r\n\r\n", 404),
        ("GET /livez%0d%0aset-cookie:%20a=b HTTP/1.1\r\nhost: localhost\r\n\r\n", 404),
        ("GET /%ff%fe HTTP/1.1\r\nhost: localhost\r\n\r\n", 404),
        ("GET /api/system-stats/history?metric=%ff%00%0d%0ax HTTP/1.1\r\nhost: localhost\r\n\r\n", 400),
        ("GET /api/system-stats/history?group=host&labels=%ff=%00 HTTP/1.1\r\nhost: localhost\r\n\r\n", 400),
        ("OPTIONS * HTTP/1.1\r\nhost: localhost\r\n\r\n", 404),
        ("CONNECT 127.0.0.1:22 HTTP/1.1\r\nhost: localhost\r\n\r\n", 404),
    ];
    for (bytes, expected) in table {
        // The last header makes the daemon hang up, so that the end is seen.
        let bytes = format!("{}\r\nconnection: close\r\n\r\n", bytes.trim_end());
        let answer = exchange(&daemon, bytes.as_bytes(), 10_000);
        let statuses = statuses(&answer);
        assert!(statuses.iter().all(|status| *status < 500), "{bytes:?}: {statuses:?}");
        // A refusal by the parser itself is as good as one by us; what matters is that nothing was served.
        let fine =
            statuses.first().is_some_and(|status| *status == expected || (expected >= 400 && *status >= 400));
        assert!(fine, "{bytes:?}: {statuses:?}");
        let text = String::from_utf8_lossy(&answer).to_ascii_lowercase();
        assert!(!text.contains("\r\nset-cookie") && !text.contains("root:"), "{text}");
    }
    alive(&daemon);
}

#[test]
fn requests_in_one_packet_are_answered_in_their_order() {
    let daemon = Daemon::start();
    let mut connection = Connection::open(daemon.address).unwrap();
    let mut packet = String::new();
    for number in 0..50 {
        let path = ["/livez", "/nothing", "/api/system-stats/quiet"][number % 3];
        packet.push_str(&format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n"));
    }
    connection.send(packet.as_bytes()).unwrap();
    for number in 0..50 {
        assert_eq!(connection.answer(false).unwrap().status, [200, 404, 200][number % 3], "answer {number}");
    }
    // A body that nobody reads does not become the next request.
    let smuggled = "GET /nothing HTTP/1.1\r\nhost: localhost\r\n\r\n";
    let head = format!(
        "POST /livez HTTP/1.1\r\nhost: localhost\r\ncontent-length: {}\r\n\r\n{smuggled}",
        smuggled.len()
    );
    let packet = format!("{head}GET /livez HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    let statuses = statuses(&exchange(&daemon, packet.as_bytes(), 10_000));
    assert!(statuses == [405, 200] || statuses == [405], "{statuses:?}");
}

#[test]
fn random_bytes_do_no_harm() {
    let daemon = Daemon::start();
    let mut random = Random::new(1);
    let count =
        std::env::var("LOWTIDE_FUZZ_ITERATIONS").ok().and_then(|text| text.parse().ok()).unwrap_or(200_u64);
    for number in 0..count.min(2_000) {
        let length = random.below(400) as usize;
        let mut bytes = random.bytes(length);
        match number % 4 {
            0 => bytes.splice(0..0, *b"GET /api/system-stats/history?").for_each(drop),
            1 => bytes.splice(0..0, *b"GET /livez HTTP/1.1\r\nhost: ").for_each(drop),
            2 => bytes.splice(0..0, *b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").for_each(drop),
            _ => {}
        }
        if number % 3 == 0 {
            bytes.extend(b" HTTP/1.1\r\n\r\n");
        }
        check(&daemon, &bytes);
    }
    alive(&daemon);
}

#[test]
fn queries_made_of_fuzz_are_answered_or_refused_with_a_problem() {
    let daemon = Daemon::start();
    let mut random = Random::new(7);
    let words = [
        "range",
        "from",
        "to",
        "step",
        "agg",
        "metric",
        "labels",
        "group",
        "=",
        "&",
        "=",
        "&",
        ",",
        "%",
        "%2",
        "+",
        "1h",
        "15m",
        "raw",
        "avg",
        "-",
        "0",
        "1e308",
        "99999999999999999999",
        "2026-01-01T00:00:00Z",
        "host",
        "quiet_score",
        "\u{fc}",
        "device=sda",
        "NaN",
        ".",
        "kinds",
        "1ms",
        "9223372036854775807",
        "253402300799",
    ];
    let mut connection = Connection::open(daemon.address).unwrap();
    for _ in 0..600 {
        let path = random.pick(&["history", "aggregates", "history", "current"]);
        let mut target = format!("/api/system-stats/{path}?");
        for _ in 0..random.below(12) {
            target.push_str(random.pick::<&str>(&words));
        }
        let Ok(answer) = connection.request("GET", &target, &[], b"") else {
            connection = Connection::open(daemon.address).unwrap();
            continue;
        };
        assert!(
            answer.status == 200 || answer.status == 400,
            "{target}: {} {}",
            answer.status,
            answer.text()
        );
        if answer.status == 400 && answer.header("connection") != Some("close") {
            answer.problem();
        }
    }
    alive(&daemon);
}

#[test]
fn half_requests_hold_nobody_up() {
    let daemon = Daemon::start();
    let halves: Vec<TcpStream> = (0..200)
        .map(|number| {
            let mut socket = TcpStream::connect(daemon.address).unwrap();
            let half = &b"GET /livez HTTP/1.1\r\nhost: localhost\r\nx-slow: "[..number % 39];
            socket.write_all(half).unwrap();
            socket
        })
        .collect();
    alive(&daemon);
    assert_eq!(daemon.current()["errors"], serde_json::json!([]));
    drop(halves);
    // Closed without a word in the middle of an answer.
    for _ in 0..50 {
        let mut socket = TcpStream::connect(daemon.address).unwrap();
        socket.write_all(b"GET /metrics HTTP/1.1\r\nhost: localhost\r\n\r\n").unwrap();
    }
    alive(&daemon);
}
