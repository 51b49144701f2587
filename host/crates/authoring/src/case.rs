//! A test case of an addon: what the machine is like, and what the addon should make of it. Read from `tests/*.toml` of a project.

use crate::AuthorError;
use crate::bench::fake_files;
use crate::run::setting_of;
use lowtide_addons::Setting;
use lowtide_addons::capabilities::Capabilities;
use lowtide_addons::caps::http::{HttpError, HttpResponse};
use lowtide_addons::fakes::Fakes;
use lowtide_core::metric::{Kind, MetricDef, MetricRef, Part, Series};
use lowtide_core::quiet::{Level, QuietAssessment};
use lowtide_core::report::{CollectorInfo, CollectorReport, CollectorStatus, Samples};
use lowtide_core::snapshot::Snapshot;
use lowtide_core::state::HostState;
use lowtide_core::units::{Now, Unit, WallTime};
use serde::Deserialize;
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// The file.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Case {
    /// How often each export is called.
    pub calls: u32,
    /// What is granted; absent: all that the manifest asks for.
    pub grants: Option<Capabilities>,
    /// The operator's settings.
    pub settings: toml::Table,
    /// Files of the machine with their texts, by absolute path.
    pub files: BTreeMap<String, String>,
    /// Folders that are there although they are empty.
    pub folders: Vec<String>,
    /// What accepts connections, as `host:port`.
    pub listening: BTreeSet<String>,
    /// Answers of servers, by `GET http://127.0.0.1:8096/Sessions`.
    pub http: BTreeMap<String, Answer>,
    /// What is in the addon's store.
    pub kv: BTreeMap<String, String>,
    /// True: the store cannot be used.
    pub kv_unavailable: bool,
    /// What the host measured, by full name.
    pub readings: BTreeMap<String, f64>,
    /// The host's verdict; absent: nothing was measured yet, unless there are readings.
    pub verdict: Option<Verdict>,
    /// What should come of it.
    pub expect: Expect,
}

impl Default for Case {
    fn default() -> Self {
        Self {
            calls: 1,
            grants: None,
            settings: toml::Table::new(),
            files: BTreeMap::new(),
            folders: Vec::new(),
            listening: BTreeSet::new(),
            http: BTreeMap::new(),
            kv: BTreeMap::new(),
            kv_unavailable: false,
            readings: BTreeMap::new(),
            verdict: None,
            expect: Expect::default(),
        }
    }
}

/// An answer of a server, or why there is none.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Answer {
    /// The status; absent: 200.
    pub status: Option<u16>,
    /// Header fields.
    pub headers: BTreeMap<String, String>,
    /// The body.
    pub body: String,
    /// No answer: `timeout`, `unreachable` or `too-large`.
    pub fault: Option<Fault>,
}

/// Why a server does not answer.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fault {
    /// Not in time; the case does not wait for it.
    Timeout,
    /// Nobody listens.
    Unreachable,
    /// More than an addon may have.
    TooLarge,
}

/// The host's verdict.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Verdict {
    /// 0 to 100.
    pub score: u8,
    /// `quiet`, `normal`, `busy` or `panic`.
    pub state: State,
}

/// The states of the host.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Low tide.
    Quiet,
    /// Neither.
    Normal,
    /// Somebody needs the machine.
    Busy,
    /// Trouble.
    Panic,
}

/// What should come of it. What is not stated is not looked at, but a failure that is not stated fails the case.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Expect {
    /// Values by series, without the addon's prefix: `tasks{state="all"}`.
    pub samples: BTreeMap<String, f64>,
    /// True: there are no other samples.
    pub no_others: bool,
    /// All that is present, by text, with its weight.
    pub presence: Option<BTreeMap<String, f64>>,
    /// Parts of the document: each key that stands here has this value there.
    pub stats: Option<toml::Table>,
    /// `ok`, `warn` or `error`.
    pub health: Option<String>,
    /// Texts in the log, each in some line.
    pub log: Vec<String>,
    /// Names of events that were reported.
    pub events: Vec<String>,
    /// What is in the store afterwards.
    pub kv: BTreeMap<String, String>,
    /// A part of what a failure, a crash or an absence says.
    pub failure: Option<String>,
}

impl Case {
    /// The settings as an addon sees them.
    pub(crate) fn settings(&self) -> Result<BTreeMap<String, Setting>, AuthorError> {
        let read = |(key, value): (&String, &toml::Value)| match setting_of(value.clone()) {
            Some(setting) => Ok((key.clone(), setting)),
            None => Err(AuthorError::Input(format!("settings.{key} is a value that settings cannot have"))),
        };
        self.settings.iter().map(read).collect()
    }

    /// The machine, whose files are written below a folder.
    pub(crate) fn machine(&self, root: &Path) -> Result<Fakes, AuthorError> {
        fake_files(root, &self.files, &self.folders)?;
        let http = self.http.iter().map(|(request, answer)| (request.clone(), answer.get())).collect();
        Ok(Fakes { root: root.to_owned(), listening: self.listening.clone(), http })
    }

    /// What the host measured, if anything.
    pub(crate) fn state(&self) -> Option<Arc<HostState>> {
        if self.verdict.is_none() && self.readings.is_empty() {
            return None;
        }
        let verdict = self.verdict.unwrap_or(Verdict { score: 50, state: State::Normal });
        let at = lowtide_clock::now();
        let quiet = QuietAssessment {
            score: verdict.score,
            instant_score: verdict.score,
            state: match verdict.state {
                State::Quiet => Level::Quiet,
                State::Normal => Level::Normal,
                State::Busy => Level::Busy,
                State::Panic => Level::Panic,
            },
            since: at.wall,
            confidence: 1.0,
            reasons: Vec::new(),
            inputs: Vec::new(),
            quiet_in: None,
        };
        let interval = Duration::from_secs(2);
        let snapshot = Snapshot::build(1, at, interval, vec![self.measured(at, interval)]);
        Some(Arc::new(HostState { snapshot, quiet, derived: Vec::new() }))
    }

    fn measured(&self, at: Now, interval: Duration) -> CollectorReport {
        let series = self.readings.keys().map(|name| Series {
            metric: MetricRef::Declared(Arc::new(MetricDef {
                name: name.clone().into(),
                kind: Kind::Gauge,
                unit: Unit::Count,
                help: "Made up.".into(),
                labels: Cow::Borrowed(&[]),
            })),
            part: Part::Value,
            labels: Box::default(),
        });
        let samples = Samples {
            series: series.collect(),
            values: self.readings.values().copied().collect(),
            dropped: 0,
            settled: true,
        };
        let info = CollectorInfo {
            name: "case".into(),
            group: "host".into(),
            metric_prefix: "host_".into(),
            help: "Made up.".into(),
            interval,
            metrics: Cow::Borrowed(&[]),
        };
        CollectorReport {
            info: Arc::new(info),
            status: CollectorStatus::Ok,
            samples: Some(Arc::new(samples)),
            collected_at: Some((at.mono, at.wall)),
            fresh: true,
            stale: false,
            duration: Duration::ZERO,
            interval,
            error: None,
            status_since: WallTime::default(),
            runs: 1,
            failures: 0,
            overruns: 0,
        }
    }
}

impl Answer {
    fn get(&self) -> Result<HttpResponse, HttpError> {
        match self.fault {
            Some(Fault::Timeout) => Err(HttpError::Timeout),
            Some(Fault::Unreachable) => {
                Err(HttpError::Unreachable("nobody listens: the case says so".to_owned()))
            }
            Some(Fault::TooLarge) => Err(HttpError::TooLarge),
            None => Ok(HttpResponse {
                status: self.status.unwrap_or(200),
                headers: self
                    .headers
                    .iter()
                    .map(|(name, value)| (name.to_lowercase(), value.clone()))
                    .collect(),
                body: self.body.clone().into_bytes(),
            }),
        }
    }
}
