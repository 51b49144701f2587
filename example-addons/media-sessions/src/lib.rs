//! Tells who watches on a media server: presence, so that heavy work waits, metrics, and a document with the devices.
//!
//! The server is asked when presence is assessed; `collect` and `stats` use that answer as long as it is fresh. Names of users and
//! titles are never kept.

mod server;

use lowtide_sdk::http::{HttpErrorKind, Response};
use lowtide_sdk::json::{Object, Value};
use lowtide_sdk::{Collector, CustomStats, Description, Failure, Metric, Presence, Sample, Signal, Unit};
use lowtide_sdk::{config, kv, metrics, sample, time, warn};
use server::{Server, Stream};
use std::time::Duration;

/// A server in the same house answers within this time, or is in trouble.
const TIMEOUT: Duration = Duration::from_secs(3);

/// Presence is assessed every 5 s unless configured otherwise: an answer that is younger is used again.
const FRESH: Duration = Duration::from_secs(4);

const WEIGHT_DEFAULT: f64 = 1.0;

/// Key of the time when the last stream was seen, in milliseconds since 1970.
const LAST_STREAM: &str = "last_stream";

/// Seeing a stream is written down at most this often: every write wears the disk.
const WRITE_EVERY: Duration = Duration::from_secs(60);

/// The addon.
#[derive(Debug, Default)]
struct MediaSessions {
    settings: Option<Settings>,
    /// The last good answer, and when it came.
    answer: Option<(Duration, Vec<Stream>)>,
    /// What went wrong since.
    failure: Option<Failure>,
    /// When the last stream was written down.
    written: Option<Duration>,
}

#[derive(Clone, Debug)]
struct Settings {
    server: Server,
    url: String,
    token: String,
    weight: f64,
    count_paused: bool,
}

impl Settings {
    fn read() -> Result<Self, Failure> {
        let kind: String = config::optional("kind")?.unwrap_or_else(|| "jellyfin".to_owned());
        let server = Server::by_name(&kind)
            .ok_or_else(|| Failure::config(format!("kind: {kind:?} is none of jellyfin, emby and plex")))?;
        let weight = config::optional("weight")?.unwrap_or(WEIGHT_DEFAULT);
        if !(0.0..=1.0).contains(&weight) {
            return Err(Failure::config(format!("weight: {weight} is not between 0 and 1")));
        }
        Ok(Self {
            server,
            url: config::required("url")?,
            token: config::required("token")?,
            weight,
            count_paused: config::optional("count_paused")?.unwrap_or(false),
        })
    }
}

impl MediaSessions {
    fn settings(&mut self) -> Result<Settings, Failure> {
        if self.settings.is_none() {
            self.settings = Some(Settings::read()?);
        }
        self.settings.clone().ok_or_else(|| Failure::other("no settings"))
    }

    /// What is played now: from the server, or from an answer that is fresh.
    fn streams(&mut self, settings: &Settings) -> Result<&[Stream], Failure> {
        let fresh = |at: &Duration| time::monotonic().saturating_sub(*at) < FRESH;
        if !self.answer.as_ref().is_some_and(|(at, _)| fresh(at)) {
            let asked = Self::ask(settings);
            self.failure = asked.as_ref().err().cloned();
            self.answer = Some((time::monotonic(), asked?));
            self.remember();
        }
        Ok(self.answer.as_ref().map(|(_, streams)| streams.as_slice()).unwrap_or_default())
    }

    fn ask(settings: &Settings) -> Result<Vec<Stream>, Failure> {
        let timer = metrics::timer("request_seconds", &[]);
        let answer = settings.server.request(&settings.url, &settings.token).timeout(TIMEOUT).send();
        let (reason, failure) = match answer {
            Ok(answer) => {
                timer.stop()?;
                match read(settings, &answer) {
                    Ok(streams) => return Ok(streams),
                    Err(failure) => ("answer", failure),
                }
            }
            Err(error) => {
                timer.cancel();
                let reason = match error.kind {
                    HttpErrorKind::Timeout => "timeout",
                    HttpErrorKind::NotGranted(_) => "not_granted",
                    HttpErrorKind::Unreachable(_) => "unreachable",
                    HttpErrorKind::Invalid(_) | HttpErrorKind::TooLarge | HttpErrorKind::LimitExceeded => {
                        "other"
                    }
                };
                (reason, error.into())
            }
        };
        metrics::counter("failures_total", &[reason], 1.0)?;
        Err(failure)
    }

    /// Writes down that there are streams. It is only for show, so a store that does not work is not a failure.
    fn remember(&mut self) {
        let playing = self.answer.as_ref().is_some_and(|(_, streams)| !streams.is_empty());
        let now = time::monotonic();
        if playing && self.written.is_none_or(|at| now.saturating_sub(at) >= WRITE_EVERY) {
            match kv::set(LAST_STREAM, time::now().to_string()) {
                Ok(()) => self.written = Some(now),
                Err(error) => warn!("the last stream is not remembered: {error}"),
            }
        }
    }
}

fn read(settings: &Settings, answer: &Response) -> Result<Vec<Stream>, Failure> {
    let server = settings.server.name();
    match answer.status {
        200..=299 => settings
            .server
            .streams(answer.text()?)
            .map_err(|problem| Failure::unavailable(format!("{server} answered something else: {problem}"))),
        401 | 403 => Err(Failure::config(format!("token: {server} does not take it"))),
        300..=399 => {
            let to = answer.header("location").unwrap_or("elsewhere");
            Err(Failure::config(format!("url: {server} sends on to {to}; put that there")))
        }
        404 => Err(Failure::config("url: there is no such page; is kind right, and is a path missing?")),
        status => Err(Failure::unavailable(format!("{server} answered with status {status}"))),
    }
}

impl Collector for MediaSessions {
    fn describe() -> Description {
        Description::new("Streams of a Jellyfin, Emby or Plex server.")
            .metric(Metric::gauge("streams", Unit::Count, "Streams by state.").labels(["state"]))
            .metric(Metric::gauge("transcodes", Unit::Count, "Streams that the server converts."))
            .metric(
                Metric::histogram("request_seconds", Unit::Seconds, "How long the server took to answer.")
                    .buckets([0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5]),
            )
            .metric(
                Metric::counter("failures_total", Unit::Count, "Requests without a good answer.")
                    .labels(["reason"]),
            )
    }

    fn collect(&mut self) -> Result<Vec<Sample>, Failure> {
        let settings = self.settings()?;
        let streams = self.streams(&settings)?;
        let count = |is: fn(&Stream) -> bool| streams.iter().filter(|stream| is(stream)).count() as f64;
        Ok(vec![
            sample("streams", ["playing"], count(|stream| !stream.paused)),
            sample("streams", ["paused"], count(|stream| stream.paused)),
            sample("transcodes", (), count(|stream| stream.transcoding)),
        ])
    }
}

impl Presence for MediaSessions {
    fn assess(&mut self) -> Result<Vec<Signal>, Failure> {
        let settings = self.settings()?;
        let counts = |stream: &&Stream| settings.count_paused || !stream.paused;
        let count = self.streams(&settings)?.iter().filter(counts).count();
        let server = settings.server.name();
        Ok(match count {
            0 => Vec::new(),
            1 => vec![Signal::new(format!("1 stream in {server}"), settings.weight)],
            _ => vec![Signal::new(format!("{count} streams in {server}"), settings.weight)],
        })
    }
}

impl CustomStats for MediaSessions {
    fn stats(&mut self) -> Result<String, Failure> {
        let settings = self.settings()?;
        let object = |stream: &Stream| {
            Object::new()
                .put("client", stream.client.as_str())
                .put("device", stream.device.as_str())
                .put("paused", stream.paused)
                .put("transcoding", stream.transcoding)
        };
        let streams = self.answer.as_ref().map(|(_, streams)| streams.as_slice()).unwrap_or_default();
        let last = kv::get_text(LAST_STREAM)?.and_then(|text| text.parse::<i64>().ok());
        Ok(Object::new()
            .put("server", settings.server.name())
            .put("reachable", self.answer.is_some() && self.failure.is_none())
            .put("problem", self.failure.as_ref().map(Failure::to_string))
            .put("last_stream_at_ms", last)
            .put("streams", Value::from_iter(streams.iter().map(object)))
            .finish())
    }
}

lowtide_sdk::addon!(MediaSessions: Collector, Presence, CustomStats);

#[cfg(test)]
mod tests {
    use super::*;
    use lowtide_sdk::testing::FakeHost;

    const SESSIONS: &str = "GET http://nas:8096/Sessions";
    const TWO: &str = r#"[
        {"Client": "Web", "DeviceName": "Firefox", "UserName": "anna", "NowPlayingItem": {"Name": "Metropolis"},
         "PlayState": {"IsPaused": false, "PlayMethod": "Transcode"}},
        {"Client": "TV", "DeviceName": "Living room", "UserName": "ben", "NowPlayingItem": {}, "PlayState": {"IsPaused": true}},
        {"Client": "App", "DeviceName": "Phone", "UserName": "carl"}
    ]"#;

    /// A host that has described the addon, as the daemon does before it calls anything else.
    fn host() -> FakeHost {
        let mut host = FakeHost::new()
            .config("url", "http://nas:8096/")
            .config("token", "s3cret")
            .http(SESSIONS, 200, TWO);
        host.describe::<MediaSessions>().assert_ok();
        host
    }

    #[test]
    fn who_plays_is_present_and_counted() {
        let mut host = host();
        let report = host.assess::<MediaSessions>();
        assert_eq!(report.assert_ok()[..], [Signal::new("1 stream in Jellyfin", 1.0)]);
        let token = ("authorization".to_owned(), "MediaBrowser Token=\"s3cret\"".to_owned());
        assert!(report.requests[0].headers.contains(&token));
        assert!(report.recorded("request_seconds", &[]).is_some());

        let report = host.collect::<MediaSessions>();
        report.assert_ok();
        assert!(report.requests.is_empty(), "the answer is fresh");
        assert_eq!(report.value("streams", &["playing"]), Some(1.0));
        assert_eq!(report.value("streams", &["paused"]), Some(1.0));
        assert_eq!(report.value("transcodes", &[]), Some(1.0));
    }

    #[test]
    fn paused_streams_and_the_weight_are_settings() {
        let mut host = host().config("count_paused", true).config("weight", 0.5);
        assert_eq!(
            host.assess::<MediaSessions>().assert_ok()[..],
            [Signal::new("2 streams in Jellyfin", 0.5)]
        );
        let mut host = self::host().http(SESSIONS, 200, "[]");
        assert!(host.assess::<MediaSessions>().assert_ok().is_empty());
    }

    #[test]
    fn the_document_names_devices_and_nobody() {
        let mut host = host().clock(1_800_000_000_000);
        host.assess::<MediaSessions>().assert_ok();
        let report = host.stats::<MediaSessions>();
        let text = report.assert_ok();
        assert!(text.contains(r#""device":"Living room","paused":true"#), "{text}");
        assert!(
            text.contains(r#""reachable":true"#) && text.contains(r#""last_stream_at_ms":1800000000000"#)
        );
        for secret in ["anna", "ben", "Metropolis", "s3cret"] {
            assert!(!text.contains(secret), "{text}");
        }
        // What was last seen outlives the instance.
        let text = host.restart().stats::<MediaSessions>().answer.unwrap();
        assert!(
            text.contains(r#""reachable":false"#) && text.contains(r#""last_stream_at_ms":1800000000000"#)
        );
    }

    #[test]
    fn the_store_is_written_once_a_minute_at_most() {
        let mut host = host().clock(1_000);
        host.assess::<MediaSessions>().assert_ok();
        let mut host = host.advance(Duration::from_secs(30));
        host.assess::<MediaSessions>().assert_ok();
        assert_eq!(host.stored(LAST_STREAM), Some(&b"1000"[..]));
        let mut host = host.advance(Duration::from_secs(30));
        host.assess::<MediaSessions>().assert_ok();
        assert_eq!(host.stored(LAST_STREAM), Some(&b"61000"[..]));
        let mut host = self::host().kv_unavailable();
        assert!(host.assess::<MediaSessions>().logged("the last stream is not remembered"));
    }

    #[test]
    fn faults_are_failures_of_the_kind_that_fits_and_are_counted() {
        let failed = |mut host: FakeHost, reason: &str| {
            let report = host.collect::<MediaSessions>();
            assert_eq!(report.problems, []);
            assert_eq!(report.recorded("failures_total", &[reason]), Some(1.0));
            report.answer.unwrap_err()
        };
        let status = |status| host().http(SESSIONS, status, "");
        assert!(matches!(failed(host().http_timeout(SESSIONS), "timeout"), Failure::Unavailable(_)));
        assert!(matches!(failed(host().deny("GET http://nas"), "not_granted"), Failure::Denied(_)));
        let nobody = HttpErrorKind::Unreachable("nobody listens".into());
        assert!(matches!(
            failed(host().http_error(SESSIONS, nobody), "unreachable"),
            Failure::Unavailable(_)
        ));
        assert!(matches!(
            failed(host().http_error(SESSIONS, HttpErrorKind::TooLarge), "other"),
            Failure::Other(_)
        ));
        assert!(
            matches!(failed(status(401), "answer"), Failure::Config(text) if text.starts_with("token: "))
        );
        assert!(matches!(failed(status(404), "answer"), Failure::Config(text) if text.starts_with("url: ")));
        assert!(matches!(failed(status(503), "answer"), Failure::Unavailable(_)));
        assert!(
            matches!(failed(status(200), "answer"), Failure::Unavailable(text) if text.contains("not JSON"))
        );
        let moved = status(302).http_header(SESSIONS, "Location", "https://nas/");
        assert!(matches!(failed(moved, "answer"), Failure::Config(text) if text.contains("https://nas/")));
    }

    #[test]
    fn settings_are_checked() {
        let failure = |mut host: FakeHost| host.assess::<MediaSessions>().answer.unwrap_err().to_string();
        assert_eq!(failure(FakeHost::new()), "configuration: url: not set; a text is needed");
        assert!(failure(host().config("kind", "kodi")).starts_with("configuration: kind: "));
        assert!(failure(host().config("weight", 2)).starts_with("configuration: weight: "));
    }

    #[test]
    fn a_failure_is_in_the_document_and_goes_when_it_is_over() {
        let mut host = host().http(SESSIONS, 500, "");
        assert!(host.assess::<MediaSessions>().answer.is_err());
        assert!(host.stats::<MediaSessions>().assert_ok().contains(r#""problem":"unavailable: "#));
        let mut host = host.http(SESSIONS, 200, "[]").advance(Duration::from_secs(5));
        assert!(host.assess::<MediaSessions>().assert_ok().is_empty());
        assert!(host.stats::<MediaSessions>().assert_ok().contains(r#""problem":null"#));
    }
}
