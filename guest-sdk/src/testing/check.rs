//! The host's checks of what an addon returns and records, with the limits of the contract.

use super::json;
use super::report::Problem;
use super::state::{Declared, Source, State};
use crate::metrics::MetricError;
use crate::{Description, JobDescription, Kind, Metric, Sample, Signal};
use std::collections::HashSet;

const SERIES_MAX: usize = 500;
const METRICS_MAX: usize = 200;
const NAME_BYTES_MAX: usize = 128;
const HELP_BYTES_MAX: usize = 512;
const LABELS_MAX: usize = 16;
const LABEL_KEY_BYTES_MAX: usize = 64;
const BUCKETS_MAX: usize = 32;
const SIGNALS_MAX: usize = 16;
const SIGNAL_TEXT_BYTES_MAX: usize = 128;
const SIGNAL_LASTS_MAX: f64 = 3_600.0;
const DOCUMENT_BYTES_MAX: usize = 64 << 10;
const JOBS_MAX: usize = 32;
const INTERVAL: std::ops::RangeInclusive<f64> = 1.0..=3_600.0;

pub(super) fn description(state: &mut State, description: &Description) {
    if description.help.trim().is_empty() {
        state.problem(Problem::Definition("the collector's help is empty".into()));
    }
    if !INTERVAL.contains(&description.interval) {
        let text = format!("an interval of {} s: it must be 1 to 3600 s", description.interval);
        state.problem(Problem::Definition(text));
    }
    for metric in &description.metrics {
        if let Err(error) = declare(state, metric) {
            state.problem(Problem::Definition(error.to_string()));
        }
    }
}

pub(super) fn declare(state: &mut State, metric: &Metric) -> Result<(), MetricError> {
    if let Some(broken) = broken_rule(&state.id, metric) {
        return Err(MetricError::Invalid(format!("{:?}: {broken}", metric.name)));
    }
    if let Some(known) = state.declared.get(&metric.name) {
        return if known.metric == *metric {
            Ok(())
        } else {
            Err(MetricError::Conflict(format!("{:?} is declared twice, differently", metric.name)))
        };
    }
    if state.declared.len() >= METRICS_MAX {
        return Err(MetricError::LimitExceeded(format!("an addon may declare {METRICS_MAX} metrics")));
    }
    state.declared.insert(metric.name.clone(), Declared { metric: metric.clone(), source: None });
    Ok(())
}

fn broken_rule(id: &str, metric: &Metric) -> Option<String> {
    let name = metric.name.as_str();
    let full_bytes = "addon_".len() + id.len() + "_".len() + name.len();
    let stem = name.strip_suffix("_total").unwrap_or(name);
    let suffix = metric.unit.suffix().unwrap_or_default();
    if full_bytes > NAME_BYTES_MAX {
        return Some(format!(
            "the name with its prefix has {full_bytes} bytes; {NAME_BYTES_MAX} are allowed"
        ));
    }
    if !is_snake_case(name) {
        return Some(
            "a name is lower-case words joined by single underscores, starting with a letter".into(),
        );
    }
    match (metric.kind, name.ends_with("_total")) {
        (Kind::Counter, false) => return Some("a counter's name ends in _total".into()),
        (Kind::Gauge | Kind::Histogram, true) => return Some("only a counter's name ends in _total".into()),
        _ => {}
    }
    if !stem.ends_with(suffix) {
        return Some(format!("the unit {:?} asks for the suffix {suffix}", metric.unit));
    }
    if let Some(kept) = ["_count", "_sum", "_bucket"].iter().find(|kept| stem.ends_with(**kept)) {
        return Some(format!("the suffix {kept} is kept for histograms"));
    }
    if metric.help.trim().is_empty() {
        return Some("the help is empty".into());
    }
    if metric.help.len() > HELP_BYTES_MAX {
        return Some(format!("the help is longer than {HELP_BYTES_MAX} bytes"));
    }
    broken_label(&metric.labels).or_else(|| broken_buckets(metric))
}

fn broken_label(labels: &[String]) -> Option<String> {
    if labels.len() > LABELS_MAX {
        return Some(format!("it has {} labels; {LABELS_MAX} are allowed", labels.len()));
    }
    let mut seen = HashSet::new();
    labels.iter().find_map(|label| {
        if !is_snake_case(label) || label.len() > LABEL_KEY_BYTES_MAX || label == "le" {
            return Some(format!("the label {label:?} is not a short lower-case word, or is reserved"));
        }
        (!seen.insert(label)).then(|| format!("the label {label:?} stands twice"))
    })
}

fn broken_buckets(metric: &Metric) -> Option<String> {
    let bounds = &metric.buckets;
    if metric.kind != Kind::Histogram {
        return (!bounds.is_empty()).then(|| "only a histogram has buckets".into());
    }
    let sound = bounds.len() <= BUCKETS_MAX
        && bounds.iter().all(|bound| bound.is_finite())
        && bounds.is_sorted_by(|low, high| low < high);
    (!sound).then(|| format!("buckets are at most {BUCKETS_MAX} growing, finite bounds"))
}

fn is_snake_case(word: &str) -> bool {
    word.starts_with(|c: char| c.is_ascii_lowercase())
        && word.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
        && !word.contains("__")
        && !word.ends_with('_')
}

/// The samples that are kept. What is wrong with the others is told.
pub(super) fn samples(state: &mut State, samples: Vec<Sample>) -> Vec<Sample> {
    let room = SERIES_MAX.saturating_sub(state.recorded_series.len());
    let mut seen = HashSet::new();
    let mut kept = Vec::with_capacity(samples.len());
    for sample in samples {
        let problem = match sample_problem(state, &sample) {
            Some(problem) => problem,
            None if !seen.insert((sample.name.clone(), sample.labels.clone())) => {
                Problem::Duplicate(format!("{} {:?}", sample.name, sample.labels))
            }
            None if seen.len() > room => {
                Problem::LimitExceeded(format!("an addon may have {SERIES_MAX} series"))
            }
            None => {
                kept.push(sample);
                continue;
            }
        };
        state.problem(problem);
    }
    state.collected_series = kept.len();
    kept.retain(|sample| sample.value.is_finite());
    kept
}

fn sample_problem(state: &mut State, sample: &Sample) -> Option<Problem> {
    let Some(declared) = state.declared.get_mut(&sample.name) else {
        return Some(Problem::Undeclared(sample.name.clone()));
    };
    let (name, labels) = (&sample.name, declared.metric.labels.len());
    if declared.metric.kind == Kind::Histogram {
        return Some(Problem::Invalid(format!("{name:?} is a histogram: record it with metrics::histogram")));
    }
    if declared.source == Some(Source::Recorded) {
        return Some(Problem::Invalid(format!("{name:?} is recorded already; one metric has one source")));
    }
    if sample.labels.len() != labels {
        let given = sample.labels.len();
        return Some(Problem::Invalid(format!(
            "{name:?} has {labels} labels, but {given} values were given"
        )));
    }
    declared.source = Some(Source::Collected);
    None
}

/// Whether a value may be recorded.
pub(super) fn recording(
    state: &mut State,
    kind: Kind,
    name: &str,
    labels: &[&str],
    value: f64,
) -> Result<(), MetricError> {
    let Some(declared) = state.declared.get_mut(name) else {
        return Err(MetricError::Undeclared(format!("no metric {name:?} was declared")));
    };
    if declared.metric.kind != kind {
        let text = format!("the metric {name:?} was declared as {:?}", declared.metric.kind);
        return Err(MetricError::Undeclared(text));
    }
    if declared.source == Some(Source::Collected) {
        return Err(MetricError::Conflict(format!("{name:?} comes from collect; one metric has one source")));
    }
    let (wanted, given) = (declared.metric.labels.len(), labels.len());
    if wanted != given {
        let text = format!("{name:?} has {wanted} labels, but {given} values were given");
        return Err(MetricError::Invalid(text));
    }
    if (kind == Kind::Counter && value < 0.0) || (kind != Kind::Gauge && !value.is_finite()) {
        return Err(MetricError::Invalid(format!("{value} is not a value for {name:?}")));
    }
    declared.source = Some(Source::Recorded);
    let series = (name.to_owned(), labels.iter().map(|&label| label.to_owned()).collect());
    let full = state.recorded_series.len() + state.collected_series >= SERIES_MAX;
    if full && !state.recorded_series.contains(&series) {
        return Err(MetricError::LimitExceeded(format!("an addon may have {SERIES_MAX} series")));
    }
    state.recorded_series.insert(series);
    Ok(())
}

/// Whether an event may be reported.
pub(super) fn event(
    state: &mut State,
    name: &str,
    attributes: &[&(String, String)],
) -> Result<(), MetricError> {
    if !is_snake_case(name) {
        return Err(MetricError::Invalid(format!("{name:?} is not a name for an event")));
    }
    let keys: Vec<String> = attributes.iter().map(|(key, _)| key.clone()).collect();
    if let Some(broken) = broken_label(&keys) {
        return Err(MetricError::Invalid(format!("event {name:?}: {broken}")));
    }
    if !state.event_rate.take(state.monotonic) {
        return Err(MetricError::LimitExceeded("20 events at once, one a second for longer".into()));
    }
    Ok(())
}

pub(super) fn signals(state: &mut State, signals: &[Signal]) {
    if signals.len() > SIGNALS_MAX {
        let text = format!("{} presence signals; {SIGNALS_MAX} are allowed", signals.len());
        state.problem(Problem::LimitExceeded(text));
    }
    for signal in signals {
        let what = &signal.what;
        if what.trim().is_empty() || what.len() > SIGNAL_TEXT_BYTES_MAX {
            let text = format!("a presence signal says what in 1 to {SIGNAL_TEXT_BYTES_MAX} bytes: {what:?}");
            state.problem(Problem::Invalid(text));
        }
        if !(0.0..=1.0).contains(&signal.weight) {
            state.problem(Problem::Invalid(format!("{what:?} weighs {}: it must be 0 to 1", signal.weight)));
        }
        if signal.lasts.is_some_and(|lasts| !(0.0..=SIGNAL_LASTS_MAX).contains(&lasts)) {
            state.problem(Problem::Invalid(format!("{what:?} lasts at most {SIGNAL_LASTS_MAX} s")));
        }
    }
}

pub(super) fn document(state: &mut State, text: &str) {
    if text.len() > DOCUMENT_BYTES_MAX {
        let text = format!("the document has {} bytes; {DOCUMENT_BYTES_MAX} are allowed", text.len());
        state.problem(Problem::LimitExceeded(text));
    } else if let Err(at) = json::object(text) {
        state.problem(Problem::Invalid(format!("the document is not a JSON object: wrong at byte {at}")));
    }
}

pub(super) fn jobs(state: &mut State, jobs: &[JobDescription]) {
    if jobs.len() > JOBS_MAX {
        state.problem(Problem::LimitExceeded(format!("{} jobs; {JOBS_MAX} are allowed", jobs.len())));
    }
    let mut seen = HashSet::new();
    for job in jobs {
        let name = &job.name;
        if !is_job_name(name) {
            state.problem(Problem::Definition(format!("{name:?} is not a name for a job")));
        }
        if !seen.insert(name) {
            state.problem(Problem::Definition(format!("the job {name:?} is described twice")));
        }
        if !(1..=100).contains(&job.cost_units) {
            state.problem(Problem::Definition(format!("{name:?} costs {} units: 1 to 100", job.cost_units)));
        }
    }
}

pub(super) fn is_job_name(name: &str) -> bool {
    name.len() <= 64
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
}
