//! A fake host for unit tests: `cargo test` on the author's machine, without the daemon and without WebAssembly.
//!
//! A [`FakeHost`] answers every function of the host from what the test gave it. Its [`collect`](FakeHost::collect) and the
//! like call the addon as the daemon does, apply the daemon's own checks to what comes back, and return a [`Report`]. The addon's
//! value lives as long as the fake host, so state between two collections is tested too. Nothing is shared between threads: tests
//! run side by side.
//!
//! ```
//! use lowtide_sdk::testing::FakeHost;
//! use lowtide_sdk::{Collector, Description, Failure, Metric, Sample, Unit, host_data, sample};
//!
//! #[derive(Default)]
//! struct Thermal;
//!
//! impl Collector for Thermal {
//!     fn describe() -> Description {
//!         Description::new("Temperature of the first sensor.")
//!             .metric(Metric::gauge("sensor_celsius", Unit::Celsius, "What the sensor says."))
//!     }
//!
//!     fn collect(&mut self) -> Result<Vec<Sample>, Failure> {
//!         let text = host_data::read_to_string("/sys/class/hwmon/hwmon0/temp1_input")?;
//!         Ok(vec![sample("sensor_celsius", (), text.trim().parse::<f64>()? / 1_000.0)])
//!     }
//! }
//!
//! let mut host = FakeHost::new().file("/sys/class/hwmon/hwmon0/temp1_input", "42000\n");
//! let report = host.collect::<Thermal>();
//! report.assert_ok();
//! assert_eq!(report.value("sensor_celsius", &[]), Some(42.0));
//!
//! let mut host = host.deny("/sys");
//! assert!(matches!(host.collect::<Thermal>().answer, Err(Failure::Denied(_))));
//! ```

mod check;
pub(crate) mod imports;
mod json;
mod report;
mod state;

pub use report::{Event, LeaseCall, LogLine, Problem, Recorded, Recording, Report, SentRequest};

use crate::config::Value;
use crate::host_data::DataErrorKind;
use crate::http::{HttpErrorKind, Response};
use crate::leases::{Denial, Directive};
use crate::system;
use crate::{
    Addon, Collector, CustomStats, Description, Failure, Health, Job, JobDescription, Outcome, Presence,
};
use crate::{Sample, Signal, Status};
use state::{File, Leases, State};
use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::fmt;
use std::time::Duration;

/// A host made of what a test says; see the [module](self).
///
/// What is not set is answered as on a machine where it is not there: no settings, no files, nobody listening, nothing measured yet,
/// leases unavailable. Everything is granted unless [`deny`](FakeHost::deny) says otherwise. Each method that sets something takes the host
/// and gives it back, so a later change reads `host = host.file(...)`.
#[derive(Default)]
pub struct FakeHost {
    state: State,
    instances: HashMap<TypeId, Box<dyn Any>>,
}

impl fmt::Debug for FakeHost {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("FakeHost").finish_non_exhaustive()
    }
}

/// What the host has.
impl FakeHost {
    /// A host on which there is nothing. Its clock stands at 2026-01-01T00:00:00Z.
    pub fn new() -> Self {
        Self::default()
    }

    /// The addon's id, which is part of its metrics' full names; otherwise `test`.
    #[must_use]
    pub fn id(mut self, id: &str) -> Self {
        id.clone_into(&mut self.state.id);
        self
    }

    /// A setting of the operator: a text, an `i64`, an `f64`, a `bool` or a list of texts.
    #[must_use]
    pub fn config(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.state.config.insert(key.to_owned(), value.into());
        self
    }

    /// A file, and with it the directories that it lies in. It was changed just now.
    #[must_use]
    pub fn file(mut self, path: &str, content: impl AsRef<[u8]>) -> Self {
        let file = File { content: Ok(content.as_ref().to_vec()), modified: self.state.now() };
        self.state.files.insert(path.to_owned(), file);
        self
    }

    /// A file that is there and cannot be read; the text is the system's.
    #[must_use]
    pub fn unreadable_file(mut self, path: &str, error: &str) -> Self {
        let content = Err(DataErrorKind::Unreadable(error.to_owned()));
        self.state.files.insert(path.to_owned(), File { content, modified: self.state.now() });
        self
    }

    /// When a file was last changed, in milliseconds since 1970.
    #[must_use]
    pub fn modified(mut self, path: &str, unix_ms: u64) -> Self {
        if let Some(file) = self.state.files.get_mut(path) {
            file.modified = unix_ms;
        }
        self
    }

    /// A directory, which may be empty.
    #[must_use]
    pub fn directory(mut self, path: &str) -> Self {
        self.state.directories.insert(path.trim_end_matches('/').to_owned());
        self
    }

    /// Takes a file, or a directory with all in it, away.
    #[must_use]
    pub fn without(mut self, path: &str) -> Self {
        let below = format!("{}/", path.trim_end_matches('/'));
        self.state.files.retain(|name, _| name != path && !name.starts_with(&below));
        self.state.directories.retain(|name| name != path && !name.starts_with(&below));
        self
    }

    /// Something listens on this `host:port`.
    #[must_use]
    pub fn listens(mut self, address: &str) -> Self {
        self.state.listening.insert(address.to_owned());
        self
    }

    /// The answer to a request, written as `GET http://127.0.0.1:8096/Sessions`.
    #[must_use]
    pub fn http(mut self, request: &str, status: u16, body: impl AsRef<[u8]>) -> Self {
        let response = Response { status, headers: Vec::new(), body: body.as_ref().to_vec() };
        self.state.answers.insert(request.to_owned(), Ok(response));
        self
    }

    /// One more header field of an answer that was set by [`http`](FakeHost::http).
    #[must_use]
    pub fn http_header(mut self, request: &str, name: &str, value: &str) -> Self {
        if let Some(Ok(response)) = self.state.answers.get_mut(request) {
            response.headers.push((name.to_ascii_lowercase(), value.to_owned()));
        }
        self
    }

    /// A request that is not answered in time.
    #[must_use]
    pub fn http_timeout(self, request: &str) -> Self {
        self.http_error(request, HttpErrorKind::Timeout)
    }

    /// A request that ends with this error.
    #[must_use]
    pub fn http_error(mut self, request: &str, error: HttpErrorKind) -> Self {
        self.state.answers.insert(request.to_owned(), Err(error));
        self
    }

    /// A value in the addon's store.
    #[must_use]
    pub fn kv(mut self, key: &str, value: impl AsRef<[u8]>) -> Self {
        self.state.store.insert(key.to_owned(), value.as_ref().to_vec());
        self
    }

    /// The store cannot be read or written.
    #[must_use]
    pub fn kv_unavailable(mut self) -> Self {
        self.state.store_broken = true;
        self
    }

    /// The host's verdict.
    #[must_use]
    pub fn quiet(mut self, score: u32, state: system::State) -> Self {
        let since = self.state.now();
        self.state.assessment =
            Some(system::Assessment { score, state, since, confidence: 1.0, reasons: Vec::new() });
        self
    }

    /// One more reading in the host's snapshot.
    #[must_use]
    pub fn reading(mut self, name: &str, labels: &[(&str, &str)], value: f64) -> Self {
        let labels = labels.iter().map(|&(key, value)| (key.to_owned(), value.to_owned())).collect();
        self.state.readings.push(system::Reading { name: name.to_owned(), labels, value });
        self
    }

    /// Every request for a lease is granted, and its heartbeats answer this, one after the other; the last answer stays.
    #[must_use]
    pub fn leases_granted(mut self, heartbeats: impl IntoIterator<Item = Directive>) -> Self {
        self.state.leases = Leases::Granted(heartbeats.into_iter().collect());
        self
    }

    /// Every request for a lease is denied.
    #[must_use]
    pub fn leases_denied(mut self, retry_after: Duration, reason: &str) -> Self {
        let denial = Denial { retry_after: retry_after.as_secs_f64(), reasons: vec![reason.to_owned()] };
        self.state.leases = Leases::Denied(denial);
        self
    }

    /// Whatever begins so is not granted: a path, a `host:port`, a URL, or a request (`POST http://127.0.0.1`).
    #[must_use]
    pub fn deny(mut self, beginning: &str) -> Self {
        self.state.denied.push(beginning.to_owned());
        self
    }

    /// Sets the wall clock, in milliseconds since 1970. The monotonic clock does not jump with it.
    #[must_use]
    pub fn clock(mut self, unix_ms: u64) -> Self {
        self.state.set_clock(unix_ms);
        self
    }

    /// Lets both clocks go on.
    #[must_use]
    pub fn advance(mut self, time: Duration) -> Self {
        self.state.monotonic += time;
        self
    }

    /// Makes a new instance for the next call, as after a trap or a replacement of the file: the addon's value is lost, its
    /// store and its recorded metrics stay.
    #[must_use]
    pub fn restart(mut self) -> Self {
        self.instances.clear();
        self.state.declared.clear();
        self
    }
}

/// Calling the addon.
impl FakeHost {
    /// Asks the collector what it is, and checks its metrics.
    pub fn describe<A: Collector>(&mut self) -> Report<Description> {
        let description = self.enter(A::describe);
        check::description(&mut self.state, &description);
        self.report(Ok(description))
    }

    /// Collects, after describing if this instance was not described yet. The answer holds what the host would keep: what
    /// breaks the contract is left out and told as a [`Problem`], and what is not a finite number is left out.
    pub fn collect<A: Collector>(&mut self) -> Report<Vec<Sample>> {
        if !self.instances.contains_key(&TypeId::of::<A>()) {
            let description = self.enter(A::describe);
            check::description(&mut self.state, &description);
        }
        let answer = self.call(A::collect);
        let answer = answer.map(|samples| check::samples(&mut self.state, samples));
        self.report(answer)
    }

    /// Asks who or what is present.
    pub fn assess<A: Presence>(&mut self) -> Report<Vec<Signal>> {
        let answer = self.call(A::assess);
        if let Ok(signals) = &answer {
            check::signals(&mut self.state, signals);
        }
        self.report(answer)
    }

    /// Asks for the custom document.
    pub fn stats<A: CustomStats>(&mut self) -> Report<String> {
        let answer = self.call(A::stats);
        if let Ok(text) = &answer {
            check::document(&mut self.state, text);
        }
        self.report(answer)
    }

    /// Asks whether the addon can do its work.
    pub fn check<A: Health>(&mut self) -> Report<Status> {
        let answer = self.call(|addon: &mut A| Ok(addon.check()));
        self.report(answer)
    }

    /// Asks for the kinds of job.
    pub fn jobs<A: Job>(&mut self) -> Report<Vec<JobDescription>> {
        let jobs = self.enter(<A as Job>::describe);
        check::jobs(&mut self.state, &jobs);
        self.report(Ok(jobs))
    }

    /// Runs a job.
    pub fn run_job<A: Job>(&mut self, name: &str) -> Report<Outcome> {
        let answer = self.call(|addon: &mut A| addon.run(name));
        self.report(answer)
    }

    /// Calls anything that calls the host, for example a helper function of the addon.
    pub fn run<R>(&mut self, call: impl FnOnce() -> R) -> R {
        self.enter(call)
    }

    /// The value of a key in the addon's store.
    pub fn stored(&self, key: &str) -> Option<&[u8]> {
        self.state.store.get(key).map(Vec::as_slice)
    }

    fn call<A: Addon, T>(&mut self, call: impl FnOnce(&mut A) -> Result<T, Failure>) -> Result<T, Failure> {
        let known = self.instances.remove(&TypeId::of::<A>());
        let (addon, answer) = self.enter(|| {
            let known = known.and_then(|addon| addon.downcast::<A>().ok());
            let mut addon = known.unwrap_or_else(|| Box::new(A::new()));
            let answer = call(&mut addon);
            (addon, answer)
        });
        self.instances.insert(TypeId::of::<A>(), addon);
        answer
    }

    fn enter<R>(&mut self, call: impl FnOnce() -> R) -> R {
        state::enter(&mut self.state, call)
    }

    fn report<T>(&mut self, answer: Result<T, Failure>) -> Report<T> {
        let told = std::mem::take(&mut self.state.told);
        Report {
            answer,
            problems: told.problems,
            logs: told.logs,
            recorded: told.recorded,
            events: told.events,
            requests: told.requests,
            leases: told.leases,
        }
    }
}
