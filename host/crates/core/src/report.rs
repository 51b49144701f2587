//! What any collector run hands back, built-in or addon: samples or an error, and how long it took. After this point there
//! is one path for both.

use crate::metric::{MetricDef, MetricRef, Series, Text};
use crate::units::{MonoTime, WallTime};
use serde::Serialize;
use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

/// What the group of an addon's own series begins with; its id follows.
pub const ADDON_GROUP: &str = "addon.";

/// What is known of a collector before it ever ran.
#[derive(Clone, Debug)]
pub struct CollectorInfo {
    /// Unique name, for example `cpu`.
    pub name: Text,
    /// Group of its series: `host`, `process`, `api`, `quiet`, `collectors`, `tick`, or `addon.<id>`.
    pub group: Text,
    /// What every metric name of this collector begins with, for example `host_cpu_`.
    pub metric_prefix: Text,
    /// What it measures, in one sentence.
    pub help: Text,
    /// Time between two runs unless configured otherwise.
    pub interval: Duration,
    /// Every metric it may emit.
    pub metrics: Cow<'static, [MetricDef]>,
}

impl CollectorInfo {
    /// The definition of a metric by its full name, if this collector declares it.
    #[must_use]
    pub fn metric(&self, name: &str) -> Option<&MetricDef> {
        self.metrics.iter().find(|def| def.name == name)
    }
}

/// The samples of one successful run. Immutable.
#[derive(Clone, Debug)]
pub struct Samples {
    /// Which series, shared from run to run while they stay the same.
    pub series: Arc<[Series]>,
    /// One value a series; NaN means "no sample this time".
    pub values: Box<[f64]>,
    /// Samples of this run that had no room.
    pub dropped: usize,
    /// True from the second success in a row on: rates need two readings, so before that a missing value says nothing.
    pub settled: bool,
}

impl Samples {
    /// Series with their finite values.
    pub fn iter(&self) -> impl Iterator<Item = (&Series, f64)> {
        self.series.iter().zip(self.values.iter().copied()).filter(|(_, value)| value.is_finite())
    }

    /// Values of one metric with its series, in layout order.
    pub fn of<'a>(&'a self, metric: &'a str) -> impl Iterator<Item = (&'a Series, f64)> + 'a {
        self.iter().filter(move |(series, _)| series.metric.name == metric)
    }
}

/// How a collector is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CollectorStatus {
    /// Has not finished its first run yet.
    Pending,
    /// Its last run succeeded and is fresh.
    Ok,
    /// Its last run failed; older values may still be fresh.
    Failing,
    /// It was started and has not come back by its deadline.
    Overdue,
    /// It has nothing to measure on this machine (no PSI, no sensors): not a failure, and not a zero.
    Absent,
}

/// One collector in one snapshot: its newest samples and its own health.
#[derive(Clone, Debug)]
pub struct CollectorReport {
    /// Who it is.
    pub info: Arc<CollectorInfo>,
    /// How it is doing.
    pub status: CollectorStatus,
    /// Newest samples of a successful run; `None` before the first, when absent, and once they are stale.
    pub samples: Option<Arc<Samples>>,
    /// When those samples were taken.
    pub collected_at: Option<(MonoTime, WallTime)>,
    /// True when the samples are new in this snapshot.
    pub fresh: bool,
    /// True when samples existed but are too old to be used.
    pub stale: bool,
    /// How long the last finished run took.
    pub duration: Duration,
    /// Time between two runs as configured.
    pub interval: Duration,
    /// Why it is failing, overdue or absent.
    pub error: Option<Arc<str>>,
    /// When the present status began.
    pub status_since: WallTime,
    /// Finished runs since the start.
    pub runs: u64,
    /// Failed runs since the start.
    pub failures: u64,
    /// Runs that missed their deadline since the start.
    pub overruns: u64,
}

impl CollectorReport {
    /// Age of the samples at `now`.
    #[must_use]
    pub fn age(&self, now: MonoTime) -> Option<Duration> {
        self.collected_at.map(|(at, _)| now.since(at))
    }
}

/// Makes the static reference that built-in series carry.
impl From<&'static MetricDef> for MetricRef {
    fn from(def: &'static MetricDef) -> Self {
        Self::Builtin(def)
    }
}
