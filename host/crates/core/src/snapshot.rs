//! One immutable snapshot a tick: what every collector last said, at one moment, under one sequence number.

use crate::metric::Series;
use crate::report::{CollectorReport, CollectorStatus};
use crate::units::Now;
use std::time::Duration;

/// Everything measured, as of one tick. Never changes after it is built; the sequence number only grows.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// Number of the tick, from 1.
    pub sequence: u64,
    /// When the tick was taken.
    pub at: Now,
    /// The tick interval in force.
    pub interval: Duration,
    /// All collectors, in the order of the table.
    pub collectors: Vec<CollectorReport>,
}

/// Why a signal has no value. The difference matters: what a host does not have is not held against it, what it should
/// have and does not answer is never taken for quiet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Missing {
    /// The host has no such thing.
    Absent(String),
    /// It should be there, but failed, hangs, is stale, or has not been measured yet.
    Unknown(String),
}

impl Snapshot {
    /// Builds the snapshot of a tick from the collectors' reports.
    #[must_use]
    pub fn build(sequence: u64, at: Now, interval: Duration, collectors: Vec<CollectorReport>) -> Self {
        Self { sequence, at, interval, collectors }
    }

    /// The report of one collector.
    #[must_use]
    pub fn collector(&self, name: &str) -> Option<&CollectorReport> {
        self.collectors.iter().find(|report| report.info.name == name)
    }

    /// The report of one collector, which probably stands at this place: from one snapshot to the next most do.
    #[must_use]
    pub fn collector_near(&self, at: usize, name: &str) -> Option<&CollectorReport> {
        let there = self.collectors.get(at).filter(|report| report.info.name == name);
        there.or_else(|| self.collector(name))
    }

    /// All current values of a metric, or why there are none.
    ///
    /// # Errors
    /// [`Missing::Absent`] when the host has no such thing, [`Missing::Unknown`] when it should but there is no fresh value.
    pub fn values<'a>(&'a self, collector: &str, metric: &'a str) -> Result<Vec<(&'a Series, f64)>, Missing> {
        let Some(report) = self.collector(collector) else {
            return Err(Missing::Absent(format!("collector {collector} is switched off")));
        };
        if let Some(samples) = &report.samples {
            let values: Vec<_> = samples.of(metric).collect();
            if !values.is_empty() {
                return Ok(values);
            }
            return Err(if samples.settled {
                Missing::Absent(format!("no {metric} on this host"))
            } else {
                Missing::Unknown(format!("collector {collector} has just started"))
            });
        }
        let why = report.error.as_deref().unwrap_or("not measured yet");
        Err(match report.status {
            CollectorStatus::Absent => Missing::Absent(why.to_owned()),
            CollectorStatus::Pending => Missing::Unknown(format!("collector {collector} has not run yet")),
            CollectorStatus::Ok | CollectorStatus::Failing | CollectorStatus::Overdue => {
                Missing::Unknown(format!("collector {collector}: {why}"))
            }
        })
    }
}
