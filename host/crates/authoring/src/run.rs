//! `lowtide addon run --once`: every call of a built addon once, on this machine, and everything that came of it.

use crate::bench::{Bench, Setup, Stage};
use crate::check::Finding;
use crate::{AuthorError, lint};
use lowtide_addons::capabilities::Capabilities;
use lowtide_addons::discover;
use lowtide_addons::id::AddonId;
use lowtide_addons::{AddonView, Setting, limits};
use lowtide_core::metric::{Kind, Part, Series};
use lowtide_core::report::CollectorStatus;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

/// What the operator would say.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Settings by key.
    pub settings: BTreeMap<String, Setting>,
    /// What is granted; none: all that the manifest asks for.
    pub grants: Option<Capabilities>,
}

/// One value of one series.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Value {
    /// Name without the addon's prefix, and labels in the order of the definition: `tasks{state="all"}`.
    pub series: String,
    /// The value.
    pub value: f64,
    #[serde(skip)]
    full: String,
    #[serde(skip)]
    heading: String,
}

/// A presence signal.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Present {
    /// What is present.
    pub what: String,
    /// How much it weighs.
    pub weight: f64,
}

/// What the addon said of its health.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Healthy {
    /// `ok`, `warn` or `error`.
    pub status: &'static str,
    /// Why.
    pub text: String,
}

/// A line of its log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Line {
    /// `debug` to `error`.
    pub level: &'static str,
    /// What it says.
    pub text: String,
}

/// What the calls took.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Cost {
    /// Processor time in seconds, of start and all calls.
    pub cpu_seconds: f64,
    /// Calls of exports, the start included.
    pub calls: u64,
    /// Calls from the addon to the host.
    pub host_calls: u64,
    /// Linear memory at its largest, in bytes.
    pub memory_bytes: u64,
    /// The most that it may have.
    pub memory_limit_bytes: u64,
}

/// Everything that came of the calls.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Outcome {
    /// The addon's id.
    pub name: String,
    /// `running`, or what became of it.
    pub state: &'static str,
    /// What failed, each with the export; empty when all went well.
    pub failures: Vec<String>,
    /// Why the collector has nothing to measure here, if it says so.
    pub absent: Option<String>,
    /// The series.
    pub samples: Vec<Value>,
    /// Who is present.
    pub presence: Vec<Present>,
    /// The document.
    pub stats: Option<serde_json::Value>,
    /// Its health, if it tells.
    pub health: Option<Healthy>,
    /// Names of the events that it reported.
    pub events: Vec<String>,
    /// Its log.
    pub log: Vec<Line>,
    /// What it cost.
    pub cost: Cost,
    /// What could be better.
    pub findings: Vec<Finding>,
}

/// Calls each export of a built addon once.
///
/// # Errors
/// When there is no addon to run, or no addon host can be made.
pub fn once(place: &Path, options: Options) -> Result<Outcome, AuthorError> {
    let stage = Stage::new(place)?;
    let files = stage.candidate().and_then(|candidate| discover::read(&candidate));
    let manifest = files.map_err(|error| AuthorError::Input(error.to_string()))?.manifest;
    let mut setup = Setup::granting(options.grants.unwrap_or_else(|| manifest.asks.clone()));
    setup.settings = options.settings;
    play(stage, &manifest.id, setup, 1)
}

/// Starts an addon, makes each of its calls so many times, and reads what came of it.
pub(crate) fn play(stage: Stage, id: &AddonId, setup: Setup, calls: u32) -> Result<Outcome, AuthorError> {
    let (bench, started) = Bench::start(stage, id, setup)?;
    let mut outcome = Outcome { name: id.to_string(), ..Outcome::default() };
    let mut view = started;
    for _ in 0..calls {
        if !bench.call_all() {
            break;
        }
    }
    if calls > 0 {
        view = bench.view()?;
    }
    outcome.state = view.state.name();
    if let Some(problem) = &view.problem {
        outcome.failures.push(problem.text.clone());
    }
    collected(&bench, id, &mut outcome);
    outcome.events = bench.events();
    let lines = bench.host.newest_log(id.as_str(), limits::LOG_LINES_KEPT).unwrap_or_default();
    outcome.log =
        lines.iter().map(|line| Line { level: line.level.name(), text: line.text.clone() }).collect();
    told(&view, &mut outcome);
    outcome.findings = view.metrics.iter().flat_map(|def| lint::metric(def, id)).collect();
    Ok(outcome)
}

/// What it answered.
fn collected(bench: &Bench, id: &AddonId, outcome: &mut Outcome) {
    let now = lowtide_clock::now();
    let name = format!("addon.{id}");
    let report = bench.host.reports(now).into_iter().find(|report| report.info.name == name);
    if let Some(report) = report {
        let error = report.error.as_deref().unwrap_or_default();
        match report.status {
            CollectorStatus::Absent if !error.is_empty() => outcome.absent = Some(error.to_owned()),
            // A crash was told already, as the addon's problem.
            CollectorStatus::Failing if outcome.state == "running" => {
                outcome.failures.push(format!("collect: {error}"));
            }
            _ => {}
        }
        let samples = report.samples.iter().flat_map(|samples| samples.iter());
        let prefix = id.metric_prefix();
        outcome.samples = samples.map(|(series, value)| Value::new(series, &prefix, value)).collect();
    }
    for presence in bench.host.presence(now) {
        match presence.kind.strip_prefix("unknown: ") {
            Some(why) if outcome.state == "running" => outcome.failures.push(format!("presence: {why}")),
            Some(_) => {}
            None => outcome.presence.push(Present { what: presence.kind, weight: presence.weight }),
        }
    }
    match bench.host.stats(id.as_str()) {
        Ok(Ok(Some(stats))) => outcome.stats = serde_json::from_str(&stats.json).ok(),
        Ok(Err(problem)) => outcome.failures.push(format!("custom-stats: {}", problem.text)),
        _ => {}
    }
}

/// What is known of it otherwise.
fn told(view: &AddonView, outcome: &mut Outcome) {
    if let Some(health) = &view.health {
        if health.status == "error" {
            outcome.failures.push(format!("health: {}", health.text));
        }
        outcome.health = Some(Healthy { status: health.status, text: health.text.clone() });
    }
    let metered = &view.metered;
    outcome.cost = Cost {
        cpu_seconds: metered.cpu_ns as f64 / 1e9,
        calls: metered.calls,
        host_calls: metered.host_calls,
        memory_bytes: metered.memory_peak_bytes,
        memory_limit_bytes: view.memory_limit_bytes,
    };
}

impl Value {
    fn new(series: &Series, prefix: &str, value: f64) -> Self {
        let def = &series.metric;
        let mut pairs: Vec<(&str, &str)> = series.label_pairs().collect();
        if let Part::Bucket(bound) = &series.part {
            pairs.push(("le", bound));
        }
        let quoted: Vec<String> = pairs.iter().map(|(key, value)| format!("{key}={value:?}")).collect();
        let labels = if quoted.is_empty() { String::new() } else { format!("{{{}}}", quoted.join(",")) };
        let suffix = series.part.suffix();
        let kind = match def.kind {
            Kind::Gauge => "gauge",
            Kind::Counter => "counter",
            Kind::Histogram => "histogram",
        };
        let full = format!("lowtide_{}", def.name);
        Self {
            series: format!("{}{suffix}{labels}", def.name.strip_prefix(prefix).unwrap_or(&def.name)),
            value,
            heading: format!("# HELP {full} {}\n# TYPE {full} {kind}\n", def.help),
            full: format!("{full}{suffix}{labels}"),
        }
    }
}

impl Outcome {
    /// True when it ran and nothing failed.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.state == "running" && self.failures.is_empty()
    }

    /// The series as the exposition would have them.
    #[must_use]
    pub fn exposition(&self) -> String {
        let mut text = String::new();
        let mut heading = "";
        for sample in &self.samples {
            if sample.heading != heading {
                text.push_str(&sample.heading);
                heading = &sample.heading;
            }
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{} {}", sample.full, sample.value);
        }
        text
    }
}

/// Reads `key=value` as the configuration would: `7`, `0.5`, `true`, `["a", "b"]` and `"7"` are what they are in TOML, anything else is
/// a text.
///
/// # Errors
/// In words, when there is no `=`.
pub fn setting(text: &str) -> Result<(String, Setting), String> {
    let (key, value) = text.split_once('=').ok_or_else(|| format!("{text:?} is not key=value"))?;
    let parsed = format!("v = {value}").parse::<toml::Table>().ok().and_then(|mut table| table.remove("v"));
    let setting = parsed.and_then(setting_of).unwrap_or_else(|| Setting::Text(value.to_owned()));
    Ok((key.trim().to_owned(), setting))
}

/// A value of a configuration as a setting, if addons can have such.
pub(crate) fn setting_of(value: toml::Value) -> Option<Setting> {
    Some(match value {
        toml::Value::String(text) => Setting::Text(text),
        toml::Value::Integer(number) => Setting::Integer(number),
        toml::Value::Float(number) => Setting::Float(number),
        toml::Value::Boolean(is) => Setting::Boolean(is),
        toml::Value::Array(values) => {
            let texts = values.into_iter().map(|value| match value {
                toml::Value::String(text) => Some(text),
                _ => None,
            });
            Setting::Texts(texts.collect::<Option<_>>()?)
        }
        toml::Value::Datetime(_) | toml::Value::Table(_) => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_read_as_in_the_configuration() {
        let value = |text: &str| setting(text).map(|(_, value)| value);
        assert_eq!(value("a=7"), Ok(Setting::Integer(7)));
        assert_eq!(value("a=0.5"), Ok(Setting::Float(0.5)));
        assert_eq!(value("a=true"), Ok(Setting::Boolean(true)));
        assert_eq!(value("a=\"7\""), Ok(Setting::Text("7".into())));
        assert_eq!(value("a=http://x/?b=c"), Ok(Setting::Text("http://x/?b=c".into())));
        assert_eq!(value("a=[\"b\"]"), Ok(Setting::Texts(vec!["b".into()])));
        assert!(value("a").is_err());
    }
}
