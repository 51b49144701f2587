//! What addons may see of the host: the newest verdict and readings. Reading measures nothing.

use crate::limits;
use lowtide_core::metric::Part;
use lowtide_core::report::ADDON_GROUP;
use lowtide_core::state::HostState;
use std::sync::Arc;
use tokio::sync::watch;

/// One value of one series.
#[derive(Clone, Debug, PartialEq)]
pub struct Reading {
    /// Full name without the exposition's prefix.
    pub name: String,
    /// Labels.
    pub labels: Vec<(String, String)>,
    /// The value.
    pub value: f64,
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SystemError {
    /// Nothing has been measured yet.
    NotYet,
    /// Too many readings match.
    LimitExceeded,
}

/// The newest state.
///
/// # Errors
/// [`SystemError::NotYet`] before the first tick.
pub fn newest(state: &watch::Receiver<Option<Arc<HostState>>>) -> Result<Arc<HostState>, SystemError> {
    state.borrow().clone().ok_or(SystemError::NotYet)
}

/// The readings of host and daemon whose names begin with one of the prefixes; never those of addons.
///
/// # Errors
/// [`SystemError::LimitExceeded`] when more than [`limits::READINGS_MAX`] match, or more than [`limits::PREFIXES_MAX`] prefixes are
/// given.
pub fn readings(state: &HostState, prefixes: &[String]) -> Result<Vec<Reading>, SystemError> {
    if prefixes.len() > limits::PREFIXES_MAX {
        return Err(SystemError::LimitExceeded);
    }
    let mut readings = Vec::new();
    let own = state.reports().filter(|report| !report.info.group.starts_with(ADDON_GROUP));
    for report in own {
        let Some(samples) = &report.samples else { continue };
        for (series, value) in samples.iter() {
            let name = &series.metric.name;
            if series.part != Part::Value || !prefixes.iter().any(|prefix| name.starts_with(prefix.as_str()))
            {
                continue;
            }
            if readings.len() >= limits::READINGS_MAX {
                return Err(SystemError::LimitExceeded);
            }
            let labels = series.label_pairs().map(|(key, value)| (key.to_owned(), value.to_owned()));
            readings.push(Reading { name: name.to_string(), labels: labels.collect(), value });
        }
    }
    Ok(readings)
}
