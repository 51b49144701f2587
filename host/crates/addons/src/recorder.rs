//! The series of one addon: what it declared, what its last collection returned, and what it recorded in between. Everything that
//! comes in is checked here against the declarations and the limits; what is refused is counted, and the rest is kept.
//!
//! It lives longer than any instance, so counters and histograms go on when the addon is restarted or replaced. It reads no clock and
//! knows nothing of wasmtime; the adapters of the WIT versions call it.

mod collected;
mod recorded;

#[cfg(test)]
mod tests;

use crate::caps::log::clean;
use crate::id::AddonId;
use crate::limits;
use crate::meter::Meter;
use collected::Collected;
use lowtide_core::limits as core_limits;
use lowtide_core::metric::{Kind, MetricDef, Series};
use lowtide_core::report::Samples;
use lowtide_core::units::Unit;
use recorded::Recorded;
use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// A metric as the addon declares it: a name without the host's prefix.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Definition {
    /// Name without the prefix `addon_<id>_`.
    pub(crate) name: String,
    /// How its values behave.
    pub(crate) kind: Kind,
    /// Unit of its values.
    pub(crate) unit: Unit,
    /// One sentence.
    pub(crate) help: String,
    /// Label keys.
    pub(crate) labels: Vec<String>,
    /// Upper bounds of a histogram's buckets; empty for the default.
    pub(crate) buckets: Vec<f64>,
}

/// One sample of a collection, borrowed from the guest's answer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Given<'a> {
    /// Name of a declared metric.
    pub(crate) name: &'a str,
    /// Label values in the declared order.
    pub(crate) labels: &'a [String],
    /// The value.
    pub(crate) value: f64,
}

/// Why something was refused. The text names the metric and the rule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum MetricError {
    /// A rule is broken.
    #[error("{0}")]
    Invalid(String),
    /// No such metric, or one of another kind.
    #[error("{0}")]
    Undeclared(String),
    /// Declared before with another definition.
    #[error("{0}")]
    Conflict(String),
    /// No room.
    #[error("{0}")]
    LimitExceeded(String),
}

/// Which addon owns which full metric name: `a-b` with metric `c` and `a` with metric `b_c` would have the same one.
#[derive(Debug, Default)]
pub(crate) struct Names(Mutex<HashMap<String, AddonId>>);

impl Names {
    fn claim(&self, name: &str, id: &AddonId) -> Result<(), MetricError> {
        let mut owners = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match owners.get(name) {
            Some(owner) if owner != id => Err(MetricError::Conflict(format!(
                "the addon {owner} already has a metric of the full name {name}"
            ))),
            Some(_) => Ok(()),
            None => {
                owners.insert(name.to_owned(), id.clone());
                Ok(())
            }
        }
    }

    /// Gives a name free that its addon no longer declares.
    fn free(&self, name: &str, id: &AddonId) {
        let mut owners = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if owners.get(name) == Some(id) {
            owners.remove(name);
        }
    }

    /// Gives the names of a removed addon free.
    pub(crate) fn release(&self, id: &AddonId) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).retain(|_, owner| owner != id);
    }
}

/// How a metric's values come in. Decided by the first value: one series cannot be both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    Collected,
    Recorded,
}

#[derive(Debug)]
struct Declared {
    def: Arc<MetricDef>,
    /// Place in the order of declaration, which is the order of the exposition.
    place: usize,
    bounds: Arc<[f64]>,
    source: Option<Source>,
    /// The instance that declared it: a later one may declare it otherwise.
    generation: u64,
}

/// See the file's head.
#[derive(Debug)]
pub(crate) struct Recorder {
    id: AddonId,
    prefix: String,
    names: Arc<Names>,
    meter: Arc<Meter>,
    generation: u64,
    declared: HashMap<String, Declared>,
    next_place: usize,
    collected: Collected,
    recorded: Recorded,
    layout: Option<Arc<[Series]>>,
    /// Samples of the last collection that were not taken, and what was wrong with the first of them.
    refused: usize,
    complaint: Option<String>,
}

/// Bounds of a histogram that declares none: 5 ms to 10 s, the Prometheus client libraries' own.
const BOUNDS_DEFAULT: [f64; 11] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

impl Recorder {
    /// A recorder without metrics.
    #[must_use]
    pub(crate) fn new(id: AddonId, names: Arc<Names>, meter: Arc<Meter>) -> Self {
        Self {
            prefix: id.metric_prefix(),
            id,
            names,
            meter,
            generation: 0,
            declared: HashMap::new(),
            next_place: 0,
            collected: Collected::default(),
            recorded: Recorded::default(),
            layout: None,
            refused: 0,
            complaint: None,
        }
    }

    /// A new instance begins: it may declare its metrics anew, and otherwise than the one before.
    pub(crate) fn begin_instance(&mut self) {
        self.generation += 1;
    }

    /// Declares a metric.
    ///
    /// # Errors
    /// When the definition breaks a rule, contradicts an earlier one of this instance or of another addon, or there is no room.
    pub(crate) fn declare(&mut self, definition: &Definition) -> Result<(), MetricError> {
        let bounds = self.bounds(definition)?;
        let def = self.definition(definition)?;
        if let Some(known) = self.declared.get_mut(&definition.name) {
            if *known.def == def && known.bounds == bounds {
                known.generation = self.generation;
                return Ok(());
            }
            if known.generation == self.generation {
                return Err(MetricError::Conflict(format!(
                    "the metric {:?} is declared twice, differently",
                    definition.name
                )));
            }
            // The new version's word counts; what was recorded under the old definition means something else.
            let place = known.place;
            self.forget(&definition.name);
            self.insert(definition, def, bounds, place);
            return Ok(());
        }
        if self.declared.len() >= limits::METRICS_MAX {
            self.forget_older();
        }
        if self.declared.len() >= limits::METRICS_MAX {
            return Err(MetricError::LimitExceeded(format!(
                "an addon may declare {} metrics",
                limits::METRICS_MAX
            )));
        }
        self.names.claim(&def.name, &self.id)?;
        let place = self.next_place;
        self.next_place += 1;
        self.insert(definition, def, bounds, place);
        Ok(())
    }

    fn insert(&mut self, definition: &Definition, def: MetricDef, bounds: Arc<[f64]>, place: usize) {
        let generation = self.generation;
        let declared = Declared { def: Arc::new(def), place, bounds, source: None, generation };
        self.declared.insert(definition.name.clone(), declared);
        self.collected.forget_layout();
    }

    fn forget(&mut self, name: &str) {
        if let Some(declared) = self.declared.remove(name) {
            self.recorded.forget(&declared.def);
        }
        self.collected.forget_layout();
        self.layout = None;
    }

    /// Makes room by dropping what earlier instances declared and this one did not.
    fn forget_older(&mut self) {
        let older = |declared: &&Declared| declared.generation < self.generation;
        let names: Vec<String> = self
            .declared
            .iter()
            .filter(|(_, declared)| older(declared))
            .map(|(name, _)| name.clone())
            .collect();
        for name in &names {
            self.names.free(&format!("{}{name}", self.prefix), &self.id);
            self.forget(name);
        }
    }

    fn definition(&self, definition: &Definition) -> Result<MetricDef, MetricError> {
        let def = MetricDef {
            name: Cow::Owned(format!("{}{}", self.prefix, definition.name)),
            kind: definition.kind,
            unit: definition.unit,
            help: Cow::Owned(clean(&definition.help, limits::HELP_BYTES_MAX).into_owned()),
            labels: definition.labels.iter().map(|label| Cow::Owned(label.clone())).collect(),
        };
        let mut problems = def.problems();
        if !definition.name.starts_with(|c: char| c.is_ascii_lowercase()) {
            problems.push(format!(
                "metric {:?}: name must start with a lower-case letter",
                clip(&definition.name)
            ));
        }
        let twice = definition
            .labels
            .iter()
            .enumerate()
            .find(|(at, label)| definition.labels.iter().take(*at).any(|other| other == *label));
        if let Some((_, label)) = twice {
            problems.push(format!("metric {:?}: label {label:?} stands twice", clip(&definition.name)));
        }
        match problems.into_iter().next() {
            Some(problem) => {
                Err(MetricError::Invalid(clean(&problem, core_limits::ERROR_TEXT_BYTES_MAX).into_owned()))
            }
            None => Ok(def),
        }
    }

    fn bounds(&self, definition: &Definition) -> Result<Arc<[f64]>, MetricError> {
        let bounds = &definition.buckets;
        if definition.kind != Kind::Histogram {
            return if bounds.is_empty() {
                Ok([].into())
            } else {
                Err(MetricError::Invalid(format!(
                    "metric {:?}: only a histogram has buckets",
                    clip(&definition.name)
                )))
            };
        }
        if bounds.is_empty() {
            return Ok(BOUNDS_DEFAULT.into());
        }
        let growing = bounds.windows(2).all(|pair| pair.first() < pair.last());
        if bounds.len() > limits::BUCKETS_MAX || !growing || bounds.iter().any(|bound| !bound.is_finite()) {
            let most = limits::BUCKETS_MAX;
            let text = format!(
                "metric {:?}: buckets must be at most {most} growing, finite bounds",
                clip(&definition.name)
            );
            return Err(MetricError::Invalid(text));
        }
        Ok(bounds.as_slice().into())
    }

    /// Takes in a collection. What breaks the contract is left out and counted.
    pub(crate) fn collect<'a>(&mut self, samples: impl ExactSizeIterator<Item = Given<'a>> + Clone) {
        // Judging them holds up the tick: what is far beyond the bound is only counted.
        let more = samples.len().saturating_sub(2 * limits::SERIES_MAX);
        let samples = samples.take(2 * limits::SERIES_MAX);
        if !self.collected.fill(samples.clone()) {
            let room = limits::SERIES_MAX.saturating_sub(self.recorded.len());
            self.collected.arrange(samples, &mut self.declared, room);
            self.layout = None;
        }
        (self.refused, self.complaint) = self.collected.count_refused(&self.meter);
        if more > 0 {
            Meter::add(&self.meter.dropped_overflow, more as u64);
            self.refused += more;
            self.complaint.get_or_insert_with(|| format!("an addon may have {} series", limits::SERIES_MAX));
        }
    }

    /// The last collection's values are no longer true: the addon is gone, or its collection failed for too long.
    pub(crate) fn clear_collected(&mut self) {
        self.collected = Collected::default();
        self.layout = None;
        (self.refused, self.complaint) = (0, None);
    }

    /// Sets a gauge, adds to a counter or observes a histogram, as `kind` says.
    ///
    /// # Errors
    /// When the metric is not declared so, a label or the value breaks a rule, or there is no room. It has been counted.
    pub(crate) fn record(
        &mut self,
        kind: Kind,
        name: &str,
        labels: &[String],
        value: f64,
    ) -> Result<(), MetricError> {
        let result = self.try_record(kind, name, labels, value);
        if let Err(error) = &result {
            let counter = match error {
                MetricError::Undeclared(_) | MetricError::Conflict(_) => &self.meter.dropped_undeclared,
                MetricError::Invalid(_) => &self.meter.dropped_invalid,
                MetricError::LimitExceeded(_) => &self.meter.dropped_overflow,
            };
            Meter::add(counter, 1);
        }
        result
    }

    fn try_record(
        &mut self,
        kind: Kind,
        name: &str,
        labels: &[String],
        value: f64,
    ) -> Result<(), MetricError> {
        let room = limits::SERIES_MAX.saturating_sub(self.collected.len());
        let Some(declared) = self.declared.get_mut(name) else {
            return Err(MetricError::Undeclared(format!("no metric {:?} was declared", clip(name))));
        };
        if declared.def.kind != kind {
            return Err(MetricError::Undeclared(format!("the metric {name:?} was declared as another kind")));
        }
        if declared.source == Some(Source::Collected) {
            return Err(MetricError::Conflict(format!(
                "the metric {name:?} comes from collect; one metric has one source"
            )));
        }
        check_labels(declared, labels)?;
        let negative = kind == Kind::Counter && value < 0.0;
        if negative || (kind != Kind::Gauge && !value.is_finite()) {
            return Err(MetricError::Invalid(format!("{value} is not a value for {name:?}")));
        }
        if self.recorded.put(declared, labels, value, room)? {
            declared.source = Some(Source::Recorded);
            self.layout = None;
        }
        Ok(())
    }

    /// Number of series held.
    #[must_use]
    pub(crate) fn series(&self) -> usize {
        self.collected.len() + self.recorded.len()
    }

    /// What was wrong with the last collection, if anything.
    #[must_use]
    pub(crate) fn complaint(&self) -> Option<&str> {
        self.complaint.as_deref()
    }

    /// Every declared metric, in the order of declaration.
    #[must_use]
    pub(crate) fn metrics(&self) -> Vec<MetricDef> {
        let mut declared: Vec<_> = self.declared.values().collect();
        declared.sort_by_key(|declared| declared.place);
        declared.into_iter().map(|declared| (*declared.def).clone()).collect()
    }

    /// All series with their values as of now.
    pub(crate) fn samples(&mut self, settled: bool) -> Samples {
        let layout = self.layout.get_or_insert_with(|| {
            self.collected.series().iter().chain(self.recorded.series()).cloned().collect()
        });
        let mut values = Vec::with_capacity(layout.len());
        values.extend_from_slice(self.collected.values());
        self.recorded.write(&mut values);
        Samples {
            series: Arc::clone(layout),
            values: values.into_boxed_slice(),
            dropped: self.refused,
            settled,
        }
    }
}

fn check_labels(declared: &Declared, labels: &[String]) -> Result<(), MetricError> {
    if labels.len() == declared.def.labels.len() {
        return Ok(());
    }
    let (name, want, have) = (&declared.def.name, declared.def.labels.len(), labels.len());
    Err(MetricError::Invalid(format!("{name} has {want} labels, but {have} values were given")))
}

/// A guest's text, short enough for an error.
fn clip(text: &str) -> String {
    clean(text, 80).into_owned()
}
