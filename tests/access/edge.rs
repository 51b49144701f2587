//! Clients that are slow, many, or both. What is measured here is who is still answered, not how fast: that is `cargo xtask bench`'s.

use crate::daemon::{Daemon, Launch, eventually, eventually_within};
use crate::http::{self, Connection};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

const CONFIG: &str = "[collectors]\ntick_seconds = 1\n";

fn resident_bytes(daemon: &Daemon) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", daemon.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").trim().parse::<u64>().unwrap() * 1024
}

/// Slowloris (CVE-2007-6750): connections that begin a request and never end it. Many more than there may be keep nobody out.
#[test]
fn slow_sockets_keep_nobody_out() {
    let many = if std::env::var_os("LOWTIDE_SOAK").is_some() { 5_000 } else { 1_000 };
    let daemon = Launch::with(CONFIG).start();
    let before = resident_bytes(&daemon);
    let mut kept = Connection::open(daemon.address).unwrap();
    assert_eq!(kept.request("GET", "/livez", &[], b"").unwrap().status, 200);
    let mut slow = Vec::new();
    for number in 0..many {
        let mut socket = TcpStream::connect(daemon.address).unwrap();
        let _ = socket.write_all(b"GET /livez HTTP/1.1\r\nhost: localhost\r\nx-slow: ");
        slow.push(socket);
        if number % 100 == 0 {
            assert_eq!(daemon.get("/livez").status, 200, "a new client beside {number} slow ones");
            assert_eq!(
                kept.request("GET", "/livez", &[], b"").unwrap().status,
                200,
                "an old one beside {number}"
            );
        }
    }
    let open = eventually("no more than there may be", || {
        let open = std::fs::read_dir(format!("/proc/{}/fd", daemon.pid())).unwrap().count();
        (open < 700).then_some(open)
    });
    let grown = resident_bytes(&daemon).saturating_sub(before);
    assert!(grown < 64 << 20, "{grown} bytes more with {open} descriptors");
    assert!(daemon.log().contains("too many connections"), "{}", daemon.log());
    // Those that are left end when their time for a head is over.
    drop(slow);
    assert_eq!(daemon.get("/livez").status, 200);
}

#[test]
fn a_head_that_dribbles_in_is_cut_off() {
    let daemon = Daemon::start();
    let mut socket = TcpStream::connect(daemon.address).unwrap();
    socket.write_all(b"GET /livez HTTP/1.1\r\n").unwrap();
    socket.set_nonblocking(true).unwrap();
    eventually_within(Duration::from_secs(25), "the daemon hangs up", || {
        let _ = socket.write_all(b"x: y\r\n");
        let mut byte = [0; 256];
        match socket.read(&mut byte) {
            Ok(0) => Some(()),
            Ok(_) => None,
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => None,
            Err(_) => Some(()),
        }
    });
}

#[test]
fn bodies_that_are_too_large_or_packed_are_not_taken() {
    let daemon = Daemon::start();
    let before = resident_bytes(&daemon);
    let path = "/api/scheduler/lease/request";
    let large = vec![b' '; 2 << 20];
    let answer = http::request(daemon.address, "POST", path, &[("content-type", "application/json")], &large);
    assert_eq!(answer.status, 413, "{}", answer.text());
    // Without a length, until the daemon has had enough.
    let mut socket = TcpStream::connect(daemon.address).unwrap();
    socket.write_all(format!("POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n").as_bytes()).unwrap();
    let chunk = [format!("{:x}\r\n", 1 << 16).into_bytes(), vec![b' '; 1 << 16], b"\r\n".to_vec()].concat();
    let sent = (0..1_000).take_while(|_| socket.write_all(&chunk).is_ok()).count();
    assert!(sent < 1_000, "64 MB of a body were taken");
    // A bomb: a megabyte of nothing packs to a thousandth. It is not unpacked.
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    packed.write_all(&vec![b' '; 64 << 20]).unwrap();
    let packed = packed.finish().unwrap();
    let headers = [("content-type", "application/json"), ("content-encoding", "gzip")];
    let answer = http::request(daemon.address, "POST", path, &headers, &packed[..packed.len().min(60_000)]);
    assert_eq!((answer.status, answer.problem()["code"].as_str()), (415, Some("unsupported_media_type")));
    let grown = resident_bytes(&daemon).saturating_sub(before);
    assert!(grown < 32 << 20, "{grown} bytes more");
}

#[test]
fn readers_of_events_that_never_read_cost_their_places_and_no_memory() {
    let daemon = Daemon::start();
    let before = resident_bytes(&daemon);
    let streams: Vec<Option<Connection>> = (0..500)
        .map(|_| {
            let mut connection = Connection::open(daemon.address).ok()?;
            connection.send(b"GET /api/events HTTP/1.1\r\nhost: localhost\r\n\r\n").ok()?;
            (connection.head().ok()?.status == 200).then_some(connection)
        })
        .collect();
    let open = streams.iter().flatten().count();
    assert_eq!(open, 64);
    let first = daemon.sequence();
    eventually("some ticks are sent to nobody", || (daemon.sequence() > first + 3).then_some(()));
    let grown = resident_bytes(&daemon).saturating_sub(before);
    assert!(grown < 32 << 20, "{grown} bytes more");
    drop(streams);
    eventually("their places are free again", || {
        let mut connection = Connection::open(daemon.address).ok()?;
        connection.send(b"GET /api/events HTTP/1.1\r\nhost: localhost\r\n\r\n").ok()?;
        (connection.head().ok()?.status == 200).then_some(())
    });
}

/// Two readers of one stream of bytes that disagree about where a request ends (CVE-2022-24801 in Twisted, CVE-2021-32715 in hyper): what
/// could be read in two ways is read in none.
#[test]
fn requests_that_could_be_read_in_two_ways_are_not_answered_twice() {
    let daemon = Daemon::start();
    let inner = "GET /api/system-stats/quiet HTTP/1.1\r\nhost: localhost\r\n\r\n";
    let post =
        "POST /api/scheduler/lease/request HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n";
    let chunked = format!("0\r\n\r\n{inner}");
    let both = [
        format!("content-length: {}\r\ntransfer-encoding: chunked\r\n", chunked.len()),
        format!("transfer-encoding: chunked\r\ncontent-length: {}\r\n", chunked.len()),
        format!("content-length: {}\r\ntransfer-encoding: xchunked\r\n", chunked.len()),
        format!("content-length: {}\r\ntransfer-encoding : chunked\r\n", chunked.len()),
        format!("content-length: {}\r\ntransfer-encoding: chunked, identity\r\n", chunked.len()),
        format!("content-length: {0}\r\ncontent-length: 0\r\n", chunked.len()),
        format!("content-length: +{}\r\n", chunked.len()),
        format!("content-length: 0x{:x}\r\n", chunked.len()),
        "content-length: 0, 5\r\n".to_owned(),
        format!("x: y\r\n\tz\r\ncontent-length: {}\r\n", chunked.len()),
    ];
    for framing in both {
        let mut socket = TcpStream::connect(daemon.address).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
        let _ = socket.write_all(format!("{post}{framing}\r\n{chunked}").as_bytes());
        let mut answer = Vec::new();
        let _ = socket.read_to_end(&mut answer);
        let text = String::from_utf8_lossy(&answer);
        assert!(!text.contains("\"score\""), "{framing:?} let the inner request through: {text}");
        assert!(text.matches("HTTP/1.1 ").count() <= 1, "{framing:?}: {text}");
    }
}
