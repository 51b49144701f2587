//! The event stream: what comes, in which order, resuming, filters, and the bound on streams.

use crate::daemon::{Daemon, Launch, PATIENCE, eventually};
use crate::http::{self, Answer, Connection};
use crate::schema;
use lowtide_clock as clock;
use serde_json::Value;
use std::io;
use std::net::SocketAddr;

/// One event as it came.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Event {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) data: Value,
}

impl Event {
    /// Its number without the run.
    pub(crate) fn number(&self) -> u64 {
        self.id
            .rsplit('-')
            .next()
            .and_then(|number| number.parse().ok())
            .unwrap_or_else(|| panic!("{self:?}"))
    }
}

/// An open stream.
pub(crate) struct Stream {
    connection: Connection,
    pub(crate) head: Answer,
    text: String,
}

impl Stream {
    pub(crate) fn open(address: SocketAddr, query: &str, last: Option<&str>) -> Self {
        let mut connection = Connection::open(address).unwrap();
        let last = last.map(|last| format!("last-event-id: {last}\r\n")).unwrap_or_default();
        let head = format!(
            "GET /api/events{query} HTTP/1.1\r\nhost: localhost\r\naccept: text/event-stream\r\n{last}\r\n"
        );
        connection.send(head.as_bytes()).unwrap();
        let head = connection.head().unwrap();
        Self { connection, head, text: String::new() }
    }

    /// The next event; `None` when the stream was ended in good order.
    pub(crate) fn next(&mut self) -> io::Result<Option<Event>> {
        let end = clock::mono().plus(PATIENCE);
        // Comments keep the stream alive for ever, so the socket's own deadline is not enough.
        while clock::mono() < end {
            while let Some((block, rest)) = self.text.split_once("\n\n") {
                let field = |name: &str| {
                    block
                        .lines()
                        .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
                        .map(str::to_owned)
                };
                let (id, name, data) = (field("id"), field("event"), field("data"));
                self.text = rest.to_owned();
                // Comments and the retry time are blocks without data.
                if let Some(data) = data {
                    let data = serde_json::from_str(&data).map_err(io::Error::other)?;
                    return Ok(Some(Event {
                        id: id.unwrap_or_default(),
                        name: name.unwrap_or_default(),
                        data,
                    }));
                }
            }
            match self.connection.chunk()? {
                Some(chunk) => self.text.push_str(&String::from_utf8_lossy(&chunk)),
                None => return Ok(None),
            }
        }
        Err(io::ErrorKind::TimedOut.into())
    }

    /// The next event, which must come.
    pub(crate) fn event(&mut self) -> Event {
        self.next().unwrap().unwrap_or_else(|| panic!("the stream has ended"))
    }

    /// Reads until an event fits.
    pub(crate) fn until(&mut self, what: &str, mut fits: impl FnMut(&Event) -> bool) -> Event {
        let end = clock::mono().plus(PATIENCE);
        loop {
            let event = self.event();
            if fits(&event) {
                return event;
            }
            assert!(clock::mono() < end, "no {what} on the stream");
        }
    }

    /// Reads to the end, which must be a good one.
    pub(crate) fn drain(&mut self) {
        while self.next().unwrap().is_some() {}
    }
}

#[test]
fn ticks_come_as_they_are_made_and_fit_their_schema() {
    let daemon = Daemon::start();
    let mut stream = Stream::open(daemon.address, "", None);
    assert_eq!(stream.head.status, 200);
    assert_eq!(stream.head.header("content-type"), Some("text/event-stream"));
    assert_eq!(stream.head.header("cache-control"), Some("no-cache"));
    let openapi = schema::openapi();
    let mut before: Option<Event> = None;
    let mut ticks = Vec::new();
    while ticks.len() < 3 {
        let event = stream.event();
        let found = schema::problems(&openapi, schema::component(&openapi, "StreamEvent"), &event.data);
        assert!(found.is_empty(), "{found:?}");
        assert_eq!(event.data["kind"], event.name.as_str());
        if let Some(before) = &before {
            assert_eq!(event.number(), before.number() + 1, "ids are without gaps");
        }
        if event.name == "tick" {
            ticks.push(event.data["sequence"].as_u64().unwrap());
        }
        before = Some(event);
    }
    assert!(ticks.windows(2).all(|pair| pair[1] == pair[0] + 1), "{ticks:?}");
}

#[test]
fn a_tick_that_is_told_can_be_asked_for() {
    let daemon = Daemon::start();
    let mut stream = Stream::open(daemon.address, "?kinds=tick", None);
    let mut connection = Connection::open(daemon.address).unwrap();
    for _ in 0..6 {
        let told = stream.event().data["sequence"].as_u64().unwrap();
        let answer = connection.request("GET", "/api/system-stats/quiet", &[], b"").unwrap().json();
        let have = answer["sequence"].as_u64().unwrap();
        assert!(have >= told, "tick {told} was told of, and whoever asks at once gets tick {have}");
    }
}

#[test]
fn a_client_that_comes_back_gets_exactly_what_came_since() {
    let daemon = Daemon::start();
    let mut whole = Stream::open(daemon.address, "", None);
    let events: Vec<Event> = (0..4).map(|_| whole.event()).collect();
    for (place, event) in events.iter().enumerate() {
        let mut resumed = Stream::open(daemon.address, "", Some(&event.id));
        for expected in &events[place + 1..] {
            assert_eq!(resumed.event(), *expected);
        }
        assert_eq!(resumed.event().number(), events[3].number() + 1);
    }
    // An id that has not been given yet is taken for the newest.
    let run = events[0].id.rsplit_once('-').unwrap().0.to_owned();
    let future = Stream::open(daemon.address, "", Some(&format!("{run}-18446744073709551615"))).event();
    assert!(future.number() > events[3].number() && future.name != "missed", "{future:?}");
}

#[test]
fn an_id_of_another_run_is_told_that_something_was_missed() {
    let daemon = Daemon::start();
    for last in ["0-5", "nonsense", "12", "-", "ffffffffffff-3"] {
        let mut stream = Stream::open(daemon.address, "", Some(last));
        let first = stream.event();
        assert_eq!((first.name.as_str(), &first.data["count"]), ("missed", &Value::Null), "{last}");
        // The id of that event must itself be one to come back with.
        let next = stream.event();
        let again = Stream::open(daemon.address, "", Some(&first.id)).event();
        assert_eq!(again, next, "{last}");
    }
}

#[test]
fn kinds_choose_and_an_unknown_one_is_refused() {
    let daemon = Daemon::start();
    let mut ticks = Stream::open(daemon.address, "?kinds=tick", None);
    let mut others = Stream::open(daemon.address, "?kinds=state,%20reload", None);
    assert_eq!((ticks.event().name.as_str(), ticks.event().name.as_str()), ("tick", "tick"));
    daemon.signal(rustix::process::Signal::HUP);
    let event = others.event();
    assert!(event.name == "reload" || event.name == "state", "{event:?}");
    let refused = Stream::open(daemon.address, "?kinds=ticks", None).head;
    assert_eq!(refused.status, 400);
}

#[test]
fn the_65th_stream_is_refused_until_a_place_is_free() {
    let daemon = Daemon::start();
    let mut streams: Vec<Stream> =
        (0..64).map(|_| Stream::open(daemon.address, "?kinds=state", None)).collect();
    assert!(streams.iter().all(|stream| stream.head.status == 200));
    let refused = http::get(daemon.address, "/api/events");
    assert_eq!((refused.status, refused.problem()["code"].as_str()), (503, Some("too_many_streams")));
    assert!(refused.header("retry-after").is_some_and(|seconds| seconds.parse::<u32>().is_ok_and(|s| s > 0)));
    assert_eq!(daemon.get("/livez").status, 200, "other paths go on");
    assert_eq!(http::request(daemon.address, "HEAD", "/api/events", &[], b"").status, 503);
    streams.pop();
    eventually("a place becomes free", || {
        let stream = Stream::open(daemon.address, "", None);
        (stream.head.status == 200).then_some(())
    });
}

#[test]
fn a_head_request_for_the_stream_takes_no_place_for_ever() {
    let daemon = Daemon::start();
    let mut open = Connection::open(daemon.address).unwrap();
    for _ in 0..70 {
        let answer = open.request("HEAD", "/api/events", &[], b"").unwrap();
        assert_eq!(answer.status, 200);
    }
}

#[test]
fn a_reader_that_never_reads_holds_nobody_up() {
    let daemon = Launch::new().start();
    let lazy: Vec<Stream> = (0..20).map(|_| Stream::open(daemon.address, "", None)).collect();
    let mut keen = Stream::open(daemon.address, "?kinds=tick", None);
    let first = keen.event().data["sequence"].as_u64().unwrap();
    let last = (0..4).map(|_| keen.event()).last().unwrap();
    assert_eq!(last.data["sequence"].as_u64(), Some(first + 4));
    drop(lazy);
}
