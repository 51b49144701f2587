//! What guests of this version can be asked: each export that a component has, typed.

use super::bindings::exports::lowtide::addon::{collector, custom_stats, health, job, presence};
use super::bindings::lowtide::addon::types;
use super::imports::definition;
use super::leases::{constraints, priority};
use crate::answers::{Description, Failure, Health, JobDescription, Outcome, PresenceSignal};
use crate::caps::log::clean;
use crate::guest::Guest;
use crate::inspect::Export;
use crate::limits;
use crate::recorder::{Given, Recorder};
use std::time::Duration;
use wasmtime::component::{Instance, InstancePre};
use wasmtime::{Result, Store};

/// The exports of an instance; `None` for those that it does not have.
pub(crate) struct Exports {
    collector: Option<collector::Guest>,
    presence: Option<presence::Guest>,
    custom_stats: Option<custom_stats::Guest>,
    health: Option<health::Guest>,
    job: Option<job::Guest>,
}

/// The indices of those exports in a component, looked up once.
#[derive(Clone)]
pub(crate) struct Indices {
    collector: Option<collector::GuestIndices>,
    presence: Option<presence::GuestIndices>,
    custom_stats: Option<custom_stats::GuestIndices>,
    health: Option<health::GuestIndices>,
    job: Option<job::GuestIndices>,
}

type Answer<T> = Result<std::result::Result<T, Failure>>;

impl From<types::Failure> for Failure {
    fn from(failure: types::Failure) -> Self {
        match failure {
            types::Failure::Absent(text) => Self::Absent(text),
            types::Failure::Config(text) => Self::Config(text),
            types::Failure::Unavailable(text) => Self::Unavailable(text),
            types::Failure::Denied(text) => Self::Denied(text),
            types::Failure::Other(text) => Self::Other(text),
        }
    }
}

impl Indices {
    /// Looks up what the component exports. An export that is there but is not of the contract's shape is an error.
    pub(crate) fn new(component: &InstancePre<Guest>, has: impl Fn(Export) -> bool) -> Result<Self> {
        let wanted = |export| has(export).then_some(component);
        Ok(Self {
            collector: wanted(Export::Collector).map(collector::GuestIndices::new).transpose()?,
            presence: wanted(Export::Presence).map(presence::GuestIndices::new).transpose()?,
            custom_stats: wanted(Export::CustomStats).map(custom_stats::GuestIndices::new).transpose()?,
            health: wanted(Export::Health).map(health::GuestIndices::new).transpose()?,
            job: wanted(Export::Job).map(job::GuestIndices::new).transpose()?,
        })
    }

    /// The exports of an instance.
    pub(crate) fn load(&self, store: &mut Store<Guest>, instance: &Instance) -> Result<Exports> {
        Ok(Exports {
            collector: self.collector.as_ref().map(|at| at.load(&mut *store, instance)).transpose()?,
            presence: self.presence.as_ref().map(|at| at.load(&mut *store, instance)).transpose()?,
            custom_stats: self.custom_stats.as_ref().map(|at| at.load(&mut *store, instance)).transpose()?,
            health: self.health.as_ref().map(|at| at.load(&mut *store, instance)).transpose()?,
            job: self.job.as_ref().map(|at| at.load(&mut *store, instance)).transpose()?,
        })
    }
}

/// A span that a guest gave, moved to the nearest bound; absent for what is no number.
fn within(seconds: f64, least: Duration, most: Duration) -> Option<Duration> {
    let seconds = (!seconds.is_nan()).then(|| seconds.clamp(least.as_secs_f64(), most.as_secs_f64()))?;
    Duration::try_from_secs_f64(seconds).ok()
}

fn missing<T>() -> Result<T> {
    Err(wasmtime::Error::msg("the addon does not export this"))
}

impl Exports {
    pub(crate) async fn describe(&self, store: &mut Store<Guest>) -> Result<Description> {
        let Some(guest) = &self.collector else { return missing() };
        let described = guest.call_describe(store).await?;
        Ok(Description {
            help: described.help,
            interval: within(described.interval, limits::INTERVAL_MIN, limits::INTERVAL_MAX),
            metrics: described.metrics.iter().map(definition).collect(),
        })
    }

    /// Collects, and hands the samples to the recorder without copying them.
    pub(crate) async fn collect(&self, store: &mut Store<Guest>) -> Answer<Samples> {
        let Some(guest) = &self.collector else { return missing() };
        Ok(guest.call_collect(store).await?.map(Samples).map_err(Into::into))
    }

    pub(crate) async fn presence(&self, store: &mut Store<Guest>) -> Answer<Vec<PresenceSignal>> {
        let Some(guest) = &self.presence else { return missing() };
        let signal = |signal: presence::Signal| PresenceSignal {
            what: signal.what,
            weight: signal.weight,
            lasts: signal
                .lasts
                .and_then(|seconds| within(seconds, Duration::ZERO, limits::PRESENCE_LASTS_MAX)),
        };
        let answer = guest.call_assess(store).await?;
        Ok(answer.map(|signals| signals.into_iter().map(signal).collect()).map_err(Into::into))
    }

    pub(crate) async fn custom_stats(&self, store: &mut Store<Guest>) -> Answer<String> {
        let Some(guest) = &self.custom_stats else { return missing() };
        Ok(guest.call_stats(store).await?.map_err(Into::into))
    }

    pub(crate) async fn health(&self, store: &mut Store<Guest>) -> Result<Health> {
        let Some(guest) = &self.health else { return missing() };
        Ok(match guest.call_check(store).await? {
            health::Status::Ok => Health::Ok,
            health::Status::Warn(text) => Health::Warn(text),
            health::Status::Error(text) => Health::Error(text),
        })
    }

    pub(crate) async fn jobs(&self, store: &mut Store<Guest>) -> Result<Vec<JobDescription>> {
        let Some(guest) = &self.job else { return missing() };
        let job = |job: job::Description| JobDescription {
            name: clean(&job.name, limits::JOB_NAME_BYTES_MAX).into_owned(),
            help: clean(&job.help, limits::HELP_BYTES_MAX).into_owned(),
            cost_units: job.cost_units.clamp(1, limits::JOB_UNITS_MAX),
            priority: priority(job.priority),
            expected_duration: Duration::try_from_secs_f64(job.expected_duration).ok(),
            constraints: constraints(job.constraints),
            every: job.every.and_then(|every| within(every, limits::JOB_EVERY_MIN, limits::JOB_EVERY_MAX)),
            pausable: job.pausable,
        };
        Ok(guest.call_describe(store).await?.into_iter().map(job).collect())
    }

    pub(crate) async fn run(&self, store: &mut Store<Guest>, name: &str) -> Answer<Outcome> {
        let Some(guest) = &self.job else { return missing() };
        let outcome = |outcome| match outcome {
            job::Outcome::Done(text) => Outcome::Done(text),
            job::Outcome::Stopped => Outcome::Stopped,
        };
        Ok(guest.call_run(store, name).await?.map(outcome).map_err(Into::into))
    }
}

/// The samples of a collection, as the guest gave them.
pub(crate) struct Samples(Vec<types::Sample>);

impl Samples {
    pub(crate) fn record(&self, recorder: &mut Recorder) {
        recorder.collect(self.0.iter().map(|sample| Given {
            name: &sample.name,
            labels: &sample.labels,
            value: sample.value,
        }));
    }
}
