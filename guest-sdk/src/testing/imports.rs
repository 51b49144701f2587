//! The functions of the host, with the signatures that wit-bindgen gives them, answered by the fake host of this thread.

use super::check;
use super::report::{Event, LeaseCall, LogLine, Problem, Recorded, Recording, SentRequest};
use super::state::{self, Leases};
use crate::bindings::imports::lowtide::addon::http::Request as HttpRequest;
use crate::bindings::imports::lowtide::addon::leases::Progress;
use crate::config::Value;
use crate::host_data::{DataErrorKind, Entry, EntryKind, Metadata};
use crate::http::{HttpErrorKind, Response};
use crate::kv::KvError;
use crate::leases::{Directive, LeaseError, Request};
use crate::log::Level;
use crate::metrics::MetricError;
use crate::system::{Assessment, Snapshot, SystemError};
use crate::{Kind, Metric};
use std::collections::BTreeMap;
use std::time::Duration;

pub(crate) mod log {
    use super::*;

    const LINE_BYTES_MAX: usize = 4 << 10;

    pub(crate) fn write(level: Level, message: &str) {
        let visible = |c: char| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c };
        let mut message: String = message.chars().map(visible).collect();
        while message.len() > LINE_BYTES_MAX {
            message.pop();
        }
        state::with(|host| host.told.logs.push(LogLine { level, message }));
    }
}

pub(crate) mod config {
    use super::*;

    pub(crate) fn get(key: &str) -> Option<Value> {
        state::with(|host| host.config.get(key).cloned())
    }

    pub(crate) fn keys() -> Vec<String> {
        state::with(|host| host.config.keys().cloned().collect())
    }
}

pub(crate) mod time {
    use super::*;

    pub(crate) fn now() -> u64 {
        state::with(|host| host.now())
    }

    pub(crate) fn monotonic() -> Duration {
        state::with(|host| host.monotonic)
    }
}

pub(crate) mod kv {
    use super::*;

    const KEY_BYTES_MAX: usize = 256;
    const VALUE_BYTES_MAX: usize = 64 << 10;
    const BYTES_MAX: usize = 1 << 20;
    const KEYS_MAX: usize = 1_000;

    fn store<R>(key: &str, look: impl FnOnce(&mut state::State) -> Result<R, KvError>) -> Result<R, KvError> {
        if key.is_empty() || key.len() > KEY_BYTES_MAX {
            return Err(KvError::Invalid(format!("a key has 1 to {KEY_BYTES_MAX} bytes")));
        }
        state::with(|host| match host.store_broken {
            true => Err(KvError::Unavailable("the test says so".into())),
            false => look(host),
        })
    }

    fn writes(host: &mut state::State) -> Result<(), KvError> {
        let now = host.monotonic;
        if host.store_rate.take(now) {
            Ok(())
        } else {
            Err(KvError::LimitExceeded("100 writes a second".into()))
        }
    }

    pub(crate) fn get(key: &str) -> Result<Option<Vec<u8>>, KvError> {
        store(key, |host| Ok(host.store.get(key).cloned()))
    }

    pub(crate) fn set(key: &str, value: &[u8]) -> Result<(), KvError> {
        if value.len() > VALUE_BYTES_MAX {
            return Err(KvError::Invalid(format!("a value has at most {VALUE_BYTES_MAX} bytes")));
        }
        store(key, |host| {
            writes(host)?;
            let others = host.store.iter().filter(|(name, _)| *name != key);
            let (keys, bytes) = others
                .fold((0, 0), |(keys, bytes), (name, value)| (keys + 1, bytes + name.len() + value.len()));
            if keys >= KEYS_MAX {
                return Err(KvError::LimitExceeded(format!("{KEYS_MAX} keys")));
            }
            if bytes + key.len() + value.len() > BYTES_MAX {
                return Err(KvError::LimitExceeded(format!("{BYTES_MAX} bytes")));
            }
            host.store.insert(key.to_owned(), value.to_vec());
            Ok(())
        })
    }

    pub(crate) fn delete(key: &str) -> Result<(), KvError> {
        store(key, |host| {
            writes(host)?;
            host.store.remove(key);
            Ok(())
        })
    }

    pub(crate) fn list_keys(prefix: &str) -> Result<Vec<String>, KvError> {
        // Any prefix will do, also an empty one.
        store("any", |host| Ok(host.store.keys().filter(|key| key.starts_with(prefix)).cloned().collect()))
    }
}

pub(crate) mod http {
    use super::*;

    const URL_BYTES_MAX: usize = 8 << 10;
    const HEADERS_MAX: usize = 64;
    const HEADER_BYTES_MAX: usize = 16 << 10;
    const BODY_BYTES_MAX: usize = 512 << 10;
    const HOSTS_OWN: [&str; 4] = ["host", "connection", "content-length", "transfer-encoding"];

    fn broken_rule(request: &HttpRequest) -> Option<String> {
        let url = request.url.as_str();
        let rest = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://"));
        let bytes: usize = request.headers.iter().map(|(name, value)| name.len() + value.len()).sum();
        if rest.is_none_or(|rest| rest.is_empty() || rest.starts_with('/')) {
            return Some("the URL is not an absolute one of http or https".into());
        }
        if url.len() > URL_BYTES_MAX || url.chars().any(|c| c.is_whitespace() || c.is_control()) {
            return Some("the URL is too long, or has a space in it".into());
        }
        if request.headers.len() > HEADERS_MAX || bytes > HEADER_BYTES_MAX {
            return Some("the header is too large".into());
        }
        let own = |name: &str| HOSTS_OWN.iter().any(|own| own.eq_ignore_ascii_case(name));
        let field = request.headers.iter().find(|(name, _)| own(name));
        field.map(|(name, _)| format!("the header field {name} is the host's own"))
    }

    fn send(method: &str, request: &HttpRequest, body: &[u8]) -> Result<Response, HttpErrorKind> {
        if let Some(broken) = broken_rule(request) {
            return Err(HttpErrorKind::Invalid(broken));
        }
        if body.len() > BODY_BYTES_MAX {
            return Err(HttpErrorKind::TooLarge);
        }
        let line = format!("{method} {}", request.url);
        state::with(|host| {
            if let Some(ask) = host.denies(&[&line, &request.url]) {
                return Err(HttpErrorKind::NotGranted(ask));
            }
            let now = host.monotonic;
            if !host.http_rate.take(now) {
                return Err(HttpErrorKind::LimitExceeded);
            }
            let answer = host.answers.get(&line).cloned();
            let (headers, body) = (request.headers.clone(), body.to_vec());
            host.told.requests.push(SentRequest { request: line, headers, body });
            match answer {
                Some(Ok(response)) if response.body.len() > BODY_BYTES_MAX => Err(HttpErrorKind::TooLarge),
                Some(answer) => answer,
                None => Err(HttpErrorKind::Unreachable("the test set no answer with FakeHost::http".into())),
            }
        })
    }

    pub(crate) fn get(request: &HttpRequest) -> Result<Response, HttpErrorKind> {
        send("GET", request, &[])
    }

    pub(crate) fn post(request: &HttpRequest, body: &[u8]) -> Result<Response, HttpErrorKind> {
        send("POST", request, body)
    }
}

pub(crate) mod host_data {
    use super::*;

    const FILE_BYTES_MAX: usize = 256 << 10;
    const ENTRIES_MAX: usize = 1_000;

    fn look<R>(
        path: &str,
        look: impl FnOnce(&mut state::State, &str) -> Result<R, DataErrorKind>,
    ) -> Result<R, DataErrorKind> {
        if !path.starts_with('/') || path.split('/').any(|part| part == "..") {
            return Err(DataErrorKind::Invalid("a path is absolute and has no `..` in it".into()));
        }
        let path = path.trim_end_matches('/');
        state::with(|host| match host.denies(&[path]) {
            Some(ask) => Err(DataErrorKind::NotGranted(ask)),
            None => look(host, path),
        })
    }

    /// The entries of a directory; none if it is not there.
    fn entries(host: &state::State, path: &str) -> Option<BTreeMap<String, EntryKind>> {
        let below = format!("{path}/");
        let mut found = BTreeMap::new();
        let files = host.files.keys().map(|name| (name, EntryKind::File));
        let folders = host.directories.iter().map(|name| (name, EntryKind::Directory));
        let mut there = path.is_empty() || host.directories.contains(path);
        for (name, kind) in files.chain(folders) {
            let Some(rest) = name.strip_prefix(&below) else { continue };
            there = true;
            match rest.split_once('/') {
                Some((folder, _)) => found.insert(folder.to_owned(), EntryKind::Directory),
                None => found.insert(rest.to_owned(), kind),
            };
        }
        there.then_some(found)
    }

    pub(crate) fn read(path: &str) -> Result<Vec<u8>, DataErrorKind> {
        look(path, |host, path| match host.files.get(path) {
            Some(file) => match &file.content {
                Ok(content) if content.len() > FILE_BYTES_MAX => Err(DataErrorKind::TooLarge),
                content => content.clone(),
            },
            None if entries(host, path).is_some() => Err(DataErrorKind::Invalid("it is a directory".into())),
            None => Err(DataErrorKind::NotFound),
        })
    }

    pub(crate) fn list_directory(path: &str) -> Result<Vec<Entry>, DataErrorKind> {
        look(path, |host, path| {
            if host.files.contains_key(path) {
                return Err(DataErrorKind::Invalid("it is a file".into()));
            }
            let found = entries(host, path).ok_or(DataErrorKind::NotFound)?;
            if found.len() > ENTRIES_MAX {
                return Err(DataErrorKind::TooLarge);
            }
            Ok(found.into_iter().map(|(name, kind)| Entry { name, kind }).collect())
        })
    }

    pub(crate) fn stat(path: &str) -> Result<Metadata, DataErrorKind> {
        look(path, |host, path| match host.files.get(path) {
            Some(file) => {
                let size = file.content.as_ref().map_or(0, |content| content.len() as u64);
                Ok(Metadata { kind: EntryKind::File, size, modified: file.modified })
            }
            None if entries(host, path).is_some() => {
                Ok(Metadata { kind: EntryKind::Directory, size: 0, modified: host.now() })
            }
            None => Err(DataErrorKind::NotFound),
        })
    }

    pub(crate) fn tcp_accepts(address: &str, _timeout: Option<f64>) -> Result<bool, DataErrorKind> {
        let port = address.rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok());
        if port.is_none() {
            return Err(DataErrorKind::Invalid("an address is `host:port`".into()));
        }
        state::with(|host| match host.denies(&[address]) {
            Some(ask) => Err(DataErrorKind::NotGranted(ask)),
            None => Ok(host.listening.contains(address)),
        })
    }
}

pub(crate) mod system {
    use super::*;

    const READINGS_MAX: usize = 500;

    pub(crate) fn quiet() -> Result<Assessment, SystemError> {
        state::with(|host| host.assessment.clone().ok_or(SystemError::NotYet))
    }

    pub(crate) fn snapshot(prefixes: &[&str]) -> Result<Snapshot, SystemError> {
        state::with(|host| {
            if host.readings.is_empty() && host.assessment.is_none() {
                return Err(SystemError::NotYet);
            }
            let wanted = |name: &str| prefixes.iter().any(|prefix| name.starts_with(prefix));
            let readings: Vec<_> =
                host.readings.iter().filter(|reading| wanted(&reading.name)).cloned().collect();
            if readings.len() > READINGS_MAX {
                return Err(SystemError::LimitExceeded);
            }
            Ok(Snapshot { sequence: 1 + host.monotonic.as_secs() / 2, collected_at: host.now(), readings })
        })
    }
}

pub(crate) mod metrics {
    use super::*;

    /// A refusal is told to the addon and in the report.
    fn told(host: &mut state::State, answer: Result<(), MetricError>) -> Result<(), MetricError> {
        if let Err(error) = &answer {
            host.problem(match error {
                MetricError::LimitExceeded(text) => Problem::LimitExceeded(text.clone()),
                other => Problem::Invalid(other.to_string()),
            });
        }
        answer
    }

    fn record(recording: Recording, name: &str, labels: &[&str], value: f64) -> Result<(), MetricError> {
        let kind = match recording {
            Recording::Gauge => Kind::Gauge,
            Recording::Counter => Kind::Counter,
            Recording::Histogram | Recording::Timer => Kind::Histogram,
        };
        state::with(|host| {
            let answer = check::recording(host, kind, name, labels, value);
            if answer.is_ok() {
                let labels = labels.iter().map(|&label| label.to_owned()).collect();
                host.told.recorded.push(Recorded { name: name.to_owned(), labels, recording, value });
            }
            told(host, answer)
        })
    }

    pub(crate) fn declare(metric: &Metric) -> Result<(), MetricError> {
        state::with(|host| {
            let answer = check::declare(host, metric);
            told(host, answer)
        })
    }

    pub(crate) fn gauge(name: &str, labels: &[&str], value: f64) -> Result<(), MetricError> {
        record(Recording::Gauge, name, labels, value)
    }

    pub(crate) fn counter(name: &str, labels: &[&str], amount: f64) -> Result<(), MetricError> {
        record(Recording::Counter, name, labels, amount)
    }

    pub(crate) fn histogram(name: &str, labels: &[&str], observation: f64) -> Result<(), MetricError> {
        record(Recording::Histogram, name, labels, observation)
    }

    pub(crate) fn timer(name: &str, labels: &[&str], duration: f64) -> Result<(), MetricError> {
        record(Recording::Timer, name, labels, duration)
    }

    pub(crate) fn event(name: &str, attributes: &[&(String, String)]) -> Result<(), MetricError> {
        state::with(|host| {
            let answer = check::event(host, name, attributes);
            if answer.is_ok() {
                let attributes = attributes.iter().map(|&attribute| attribute.clone()).collect();
                host.told.events.push(Event { name: name.to_owned(), attributes });
            }
            told(host, answer)
        })
    }
}

pub(crate) mod leases {
    use super::*;

    /// A lease of the fake host.
    #[derive(Debug)]
    pub(crate) struct Lease {
        number: u64,
        released: std::cell::Cell<bool>,
    }

    pub(crate) fn request(request: &Request) -> Result<Lease, LeaseError> {
        if !check::is_job_name(&request.job_type) || !(1..=100).contains(&request.cost_units) {
            return Err(LeaseError::Invalid(
                "a job type is `[a-z][a-z0-9-]*`, and costs 1 to 100 units".into(),
            ));
        }
        state::with(|host| {
            host.told.leases.push(LeaseCall::Requested(request.job_type.clone()));
            match &host.leases {
                Leases::Unavailable => Err(LeaseError::Unavailable("there is no scheduler".into())),
                Leases::Denied(denial) => Err(LeaseError::Denied(denial.clone())),
                Leases::Granted(_) => {
                    host.leases_granted += 1;
                    Ok(Lease { number: host.leases_granted, released: false.into() })
                }
            }
        })
    }

    impl Lease {
        fn held(&self) -> Result<(), LeaseError> {
            if self.released.get() { Err(LeaseError::Gone("it was released".into())) } else { Ok(()) }
        }

        pub(crate) fn id(&self) -> String {
            format!("lease-{}", self.number)
        }

        pub(crate) fn fencing_token(&self) -> u64 {
            self.number
        }

        pub(crate) fn heartbeat(&self) -> Result<Directive, LeaseError> {
            self.held()?;
            state::with(|host| match &mut host.leases {
                Leases::Granted(answers) if answers.len() > 1 => Ok(answers.pop_front()),
                Leases::Granted(answers) => Ok(answers.front().cloned()),
                Leases::Unavailable | Leases::Denied(_) => Err(LeaseError::Gone("it was revoked".into())),
            })
            .map(|directive| directive.unwrap_or(Directive::Proceed))
        }

        pub(crate) fn report(&self, progress: &Progress) -> Result<(), LeaseError> {
            self.held()?;
            let call = LeaseCall::Reported(progress.done_ratio, progress.note.clone());
            state::with(|host| host.told.leases.push(call));
            Ok(())
        }

        pub(crate) fn release(&self) -> Result<(), LeaseError> {
            self.held()?;
            self.released.set(true);
            // An addon's value may be dropped after its fake host.
            let _ = state::try_with(|host| host.told.leases.push(LeaseCall::Released));
            Ok(())
        }
    }

    impl Drop for Lease {
        fn drop(&mut self) {
            let _ = self.release();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bindings::{borrowed::lowtide::addon as borrowed, imports::lowtide::addon as owned};

    /// A component is built with the generated functions, and tests with these: both must take and give the same.
    #[test]
    #[expect(clippy::type_complexity, reason = "the types are the point, written out")]
    fn the_signatures_are_those_of_the_generated_functions() {
        type Empty<E> = Result<(), E>;
        type Pair<F> = [F; 2];

        let _: Pair<fn(Level, &str)> = [log::write, owned::log::write];
        let _: Pair<fn(&str) -> Option<Value>> = [config::get, owned::config::get];
        let _: Pair<fn() -> Vec<String>> = [config::keys, owned::config::keys];
        let _: Pair<fn(&str) -> Result<Option<Vec<u8>>, KvError>> = [kv::get, owned::kv::get];
        let _: Pair<fn(&str, &[u8]) -> Empty<KvError>> = [kv::set, owned::kv::set];
        let _: Pair<fn(&str) -> Empty<KvError>> = [kv::delete, owned::kv::delete];
        let _: Pair<fn(&str) -> Result<Vec<String>, KvError>> = [kv::list_keys, owned::kv::list_keys];
        let _: Pair<fn(&HttpRequest) -> Result<Response, HttpErrorKind>> = [http::get, owned::http::get];
        let _: Pair<fn(&HttpRequest, &[u8]) -> Result<Response, HttpErrorKind>> =
            [http::post, owned::http::post];
        let _: Pair<fn(&str) -> Result<Vec<u8>, DataErrorKind>> = [host_data::read, owned::host_data::read];
        let _: Pair<fn(&str) -> Result<Vec<Entry>, DataErrorKind>> =
            [host_data::list_directory, owned::host_data::list_directory];
        let _: Pair<fn(&str) -> Result<Metadata, DataErrorKind>> = [host_data::stat, owned::host_data::stat];
        let _: Pair<fn(&str, Option<f64>) -> Result<bool, DataErrorKind>> =
            [host_data::tcp_accepts, owned::host_data::tcp_accepts];
        let _: Pair<fn() -> Result<Assessment, SystemError>> = [system::quiet, borrowed::system::quiet];
        let _: Pair<fn(&[&str]) -> Result<Snapshot, SystemError>> =
            [system::snapshot, borrowed::system::snapshot];
        let _: Pair<fn(&Metric) -> Empty<MetricError>> = [metrics::declare, borrowed::metrics::declare];
        type Record = fn(&str, &[&str], f64) -> Empty<MetricError>;
        let _: Pair<Record> = [metrics::gauge, borrowed::metrics::gauge];
        let _: Pair<Record> = [metrics::counter, borrowed::metrics::counter];
        let _: Pair<Record> = [metrics::histogram, borrowed::metrics::histogram];
        let _: Pair<Record> = [metrics::timer, borrowed::metrics::timer];
        let _: Pair<fn(&str, &[&(String, String)]) -> Empty<MetricError>> =
            [metrics::event, borrowed::metrics::event];

        use leases::Lease as Fake;
        use owned::leases::Lease as Real;
        let _: fn(&Request) -> Result<Fake, LeaseError> = leases::request;
        let _: fn(&Request) -> Result<Real, LeaseError> = owned::leases::request;
        let _: (fn(&Fake) -> String, fn(&Real) -> String) = (Fake::id, Real::id);
        let _: (fn(&Fake) -> u64, fn(&Real) -> u64) = (Fake::fencing_token, Real::fencing_token);
        type Heartbeat<L> = fn(&L) -> Result<Directive, LeaseError>;
        let _: (Heartbeat<Fake>, Heartbeat<Real>) = (Fake::heartbeat, Real::heartbeat);
        type Report<L> = fn(&L, &Progress) -> Empty<LeaseError>;
        let _: (Report<Fake>, Report<Real>) = (Fake::report, Real::report);
        type Release<L> = fn(&L) -> Empty<LeaseError>;
        let _: (Release<Fake>, Release<Real>) = (Fake::release, Real::release);
    }
}
