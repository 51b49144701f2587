//! What guests of this version can call: each function counts itself, converts, and calls what does the work.

use super::bindings::lowtide::addon::{config, host_data, http, kv, log, metrics, system, types};
use crate::capabilities::HttpMethod;
use crate::caps::blocking::Hanging;
use crate::caps::host_data::{DataError, EntryKind};
use crate::caps::http::{HttpError, HttpRequest};
use crate::caps::kv::KvError;
use crate::caps::log::Level;
use crate::caps::system::{self as host, SystemError};
use crate::guest::{Guest, Setting, Shared};
use crate::recorder::{Definition, MetricError};
use lowtide_clock as clock;
use lowtide_core::metric::Kind;
use lowtide_core::quiet::Level as State;
use lowtide_core::units::{Unit, WallTime};
use std::sync::Arc;
use std::time::Duration;
use wasmtime::Result;

fn unix_ms(at: WallTime) -> u64 {
    u64::try_from(at.unix_ms()).unwrap_or(0)
}

/// A span that a guest gave: absent when it gave none or nonsense.
fn span(seconds: Option<f64>) -> Option<Duration> {
    seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
}

impl types::Host for Guest {}

pub(super) fn definition(given: &types::Definition) -> Definition {
    Definition {
        name: given.name.clone(),
        kind: match given.kind {
            types::Kind::Gauge => Kind::Gauge,
            types::Kind::Counter => Kind::Counter,
            types::Kind::Histogram => Kind::Histogram,
        },
        unit: match given.unit {
            types::Unit::Count => Unit::Count,
            types::Unit::Ratio => Unit::Ratio,
            types::Unit::Seconds => Unit::Seconds,
            types::Unit::Bytes => Unit::Bytes,
            types::Unit::BytesPerSecond => Unit::BytesPerSecond,
            types::Unit::PerSecond => Unit::PerSecond,
            types::Unit::Celsius => Unit::Celsius,
            types::Unit::Hertz => Unit::Hertz,
        },
        help: given.help.clone(),
        labels: given.labels.clone(),
        buckets: given.buckets.clone(),
    }
}

impl From<MetricError> for metrics::MetricError {
    fn from(error: MetricError) -> Self {
        match error {
            MetricError::Invalid(text) => Self::Invalid(text),
            MetricError::Undeclared(text) => Self::Undeclared(text),
            MetricError::Conflict(text) => Self::Conflict(text),
            MetricError::LimitExceeded(text) => Self::LimitExceeded(text),
        }
    }
}

type Recorded = Result<std::result::Result<(), metrics::MetricError>>;

impl Guest {
    fn record(&mut self, kind: Kind, name: &str, labels: &[String], value: f64) -> Recorded {
        self.host_call()?;
        Ok(self.shared.recorder().record(kind, name, labels, value).map_err(Into::into))
    }
}

impl metrics::Host for Guest {
    fn declare(&mut self, given: types::Definition) -> Recorded {
        self.host_call()?;
        Ok(self.shared.recorder().declare(&definition(&given)).map_err(Into::into))
    }

    fn gauge(&mut self, name: String, labels: Vec<String>, value: f64) -> Recorded {
        self.record(Kind::Gauge, &name, &labels, value)
    }

    fn counter(&mut self, name: String, labels: Vec<String>, amount: f64) -> Recorded {
        self.record(Kind::Counter, &name, &labels, amount)
    }

    fn histogram(&mut self, name: String, labels: Vec<String>, observation: f64) -> Recorded {
        self.record(Kind::Histogram, &name, &labels, observation)
    }

    fn timer(&mut self, name: String, labels: Vec<String>, duration: f64) -> Recorded {
        self.record(Kind::Histogram, &name, &labels, duration)
    }

    fn event(&mut self, name: String, attributes: Vec<types::Label>) -> Recorded {
        self.host_call()?;
        Ok(self.report_event(&name, &attributes).map_err(Into::into))
    }
}

impl log::Host for Guest {
    fn write(&mut self, level: log::Level, message: String) -> Result<()> {
        self.host_call()?;
        let level = match level {
            log::Level::Debug => Level::Debug,
            log::Level::Info => Level::Info,
            log::Level::Warn => Level::Warn,
            log::Level::Error => Level::Error,
        };
        self.log(level, &message);
        Ok(())
    }
}

impl config::Host for Guest {
    fn get(&mut self, key: String) -> Result<Option<config::Value>> {
        self.host_call()?;
        Ok(self.abilities.settings.get(&key).cloned().map(|setting| match setting {
            Setting::Text(text) => config::Value::Text(text),
            Setting::Integer(number) => config::Value::Integer(number),
            Setting::Float(number) => config::Value::Float(number),
            Setting::Boolean(truth) => config::Value::Boolean(truth),
            Setting::Texts(texts) => config::Value::Texts(texts),
        }))
    }

    fn keys(&mut self) -> Result<Vec<String>> {
        self.host_call()?;
        Ok(self.abilities.settings.keys().cloned().collect())
    }
}

impl From<SystemError> for system::SystemError {
    fn from(error: SystemError) -> Self {
        match error {
            SystemError::NotYet => Self::NotYet,
            SystemError::LimitExceeded => Self::LimitExceeded,
        }
    }
}

impl system::Host for Guest {
    fn quiet(&mut self) -> Result<std::result::Result<system::Assessment, system::SystemError>> {
        self.host_call()?;
        let state = match host::newest(&self.shared.state) {
            Ok(state) => state,
            Err(error) => return Ok(Err(error.into())),
        };
        let verdict = &state.quiet;
        Ok(Ok(system::Assessment {
            score: verdict.score.into(),
            state: match verdict.state {
                State::Quiet => system::State::Quiet,
                State::Normal => system::State::Normal,
                State::Busy => system::State::Busy,
                State::Panic => system::State::Panic,
            },
            since: unix_ms(verdict.since),
            confidence: verdict.confidence,
            reasons: verdict.reasons.iter().map(|reason| reason.text.clone()).collect(),
        }))
    }

    fn snapshot(
        &mut self,
        prefixes: Vec<String>,
    ) -> Result<std::result::Result<system::SystemSnapshot, system::SystemError>> {
        self.host_call()?;
        let read = host::newest(&self.shared.state)
            .and_then(|state| host::readings(&state, &prefixes).map(|readings| (state, readings)));
        Ok(read.map_err(Into::into).map(|(state, readings)| system::SystemSnapshot {
            sequence: state.snapshot.sequence,
            collected_at: unix_ms(state.snapshot.at.wall),
            readings: readings
                .into_iter()
                .map(|host::Reading { name, labels, value }| system::Reading { name, labels, value })
                .collect(),
        }))
    }
}

impl From<KvError> for kv::KvError {
    fn from(error: KvError) -> Self {
        match error {
            KvError::Invalid(text) => Self::Invalid(text),
            KvError::LimitExceeded(text) => Self::LimitExceeded(text),
            KvError::Unavailable(text) => Self::Unavailable(text),
        }
    }
}

/// A capability that the component imports is there: it was checked before it was instantiated.
pub(super) fn granted<T>(ability: Option<&T>) -> Result<&T> {
    ability.ok_or_else(|| wasmtime::Error::msg("this capability was not granted"))
}

/// Files and the store may take their time; the guest waits on its fiber, and no thread of the others does.
async fn blocking<
    D: Send + Sync + 'static,
    T: Send + 'static,
    E: From<Hanging> + Send + 'static,
    W: From<E>,
>(
    shared: &Shared,
    desk: Option<&Arc<D>>,
    work: impl FnOnce(&D) -> std::result::Result<T, E> + Send + 'static,
) -> Result<std::result::Result<T, W>> {
    let desk = Arc::clone(granted(desk)?);
    let done = shared.blocking.run(move || work(&desk)).await;
    Ok(done.unwrap_or_else(|hanging| Err(hanging.into())).map_err(Into::into))
}

type Kv<T> = Result<std::result::Result<T, kv::KvError>>;

impl kv::Host for Guest {
    async fn get(&mut self, key: String) -> Kv<Option<Vec<u8>>> {
        self.host_call()?;
        blocking(&self.shared, self.abilities.kv.as_ref(), move |desk| desk.get(&key)).await
    }

    async fn set(&mut self, key: String, value: Vec<u8>) -> Kv<()> {
        self.host_call()?;
        blocking(&self.shared, self.abilities.kv.as_ref(), move |desk| desk.set(clock::mono(), &key, &value))
            .await
    }

    async fn delete(&mut self, key: String) -> Kv<()> {
        self.host_call()?;
        blocking(&self.shared, self.abilities.kv.as_ref(), move |desk| desk.delete(clock::mono(), &key)).await
    }

    async fn list_keys(&mut self, prefix: String) -> Kv<Vec<String>> {
        self.host_call()?;
        blocking(&self.shared, self.abilities.kv.as_ref(), move |desk| desk.list_keys(&prefix)).await
    }
}

impl From<HttpError> for http::HttpError {
    fn from(error: HttpError) -> Self {
        match error {
            HttpError::Invalid(text) => Self::Invalid(text),
            HttpError::NotGranted(text) => Self::NotGranted(text),
            HttpError::Timeout => Self::Timeout,
            HttpError::Unreachable(text) => Self::Unreachable(text),
            HttpError::TooLarge => Self::TooLarge,
            HttpError::LimitExceeded => Self::LimitExceeded,
        }
    }
}

type Answer = Result<std::result::Result<http::Response, http::HttpError>>;

impl Guest {
    async fn send(&mut self, method: HttpMethod, request: http::Request, body: Option<Vec<u8>>) -> Answer {
        self.host_call()?;
        let request =
            HttpRequest { url: request.url, headers: request.headers, timeout: span(request.timeout) };
        let answer = granted(self.abilities.http.as_ref())?.send(clock::mono(), method, request, body).await;
        Ok(answer.map_err(Into::into).map(|answer| http::Response {
            status: answer.status,
            headers: answer.headers,
            body: answer.body,
        }))
    }
}

impl http::Host for Guest {
    async fn get(&mut self, request: http::Request) -> Answer {
        self.send(HttpMethod::Get, request, None).await
    }

    async fn post(&mut self, request: http::Request, body: Vec<u8>) -> Answer {
        self.send(HttpMethod::Post, request, Some(body)).await
    }
}

impl From<DataError> for host_data::DataError {
    fn from(error: DataError) -> Self {
        match error {
            DataError::NotGranted(text) => Self::NotGranted(text),
            DataError::NotFound => Self::NotFound,
            DataError::Invalid(text) => Self::Invalid(text),
            DataError::TooLarge => Self::TooLarge,
            DataError::Unreadable(text) => Self::Unreadable(text),
        }
    }
}

impl From<EntryKind> for host_data::EntryKind {
    fn from(kind: EntryKind) -> Self {
        match kind {
            EntryKind::File => Self::File,
            EntryKind::Directory => Self::Directory,
            EntryKind::Other => Self::Other,
        }
    }
}

type Data<T> = Result<std::result::Result<T, host_data::DataError>>;

impl host_data::Host for Guest {
    async fn read(&mut self, path: String) -> Data<Vec<u8>> {
        self.host_call()?;
        blocking(&self.shared, self.abilities.data.as_ref(), move |desk| desk.read(&path)).await
    }

    async fn list_directory(&mut self, path: String) -> Data<Vec<host_data::Entry>> {
        self.host_call()?;
        let entries: Data<Vec<crate::caps::host_data::Entry>> =
            blocking(&self.shared, self.abilities.data.as_ref(), move |desk| desk.list_directory(&path))
                .await;
        let convert = |entry: crate::caps::host_data::Entry| host_data::Entry {
            name: entry.name,
            kind: entry.kind.into(),
        };
        Ok(entries?.map(|entries| entries.into_iter().map(convert).collect()))
    }

    async fn stat(&mut self, path: String) -> Data<host_data::Metadata> {
        self.host_call()?;
        let found: Data<crate::caps::host_data::Metadata> =
            blocking(&self.shared, self.abilities.data.as_ref(), move |desk| desk.stat(&path)).await;
        Ok(found?.map(|found| host_data::Metadata {
            kind: found.kind.into(),
            size: found.size,
            modified: found.modified_ms,
        }))
    }

    async fn tcp_accepts(&mut self, address: String, timeout: Option<f64>) -> Data<bool> {
        self.host_call()?;
        let accepts = granted(self.abilities.data.as_ref())?
            .tcp_accepts(&self.shared.blocking, &address, span(timeout))
            .await;
        Ok(accepts.map_err(Into::into))
    }
}
