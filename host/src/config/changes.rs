//! What differs between two configurations, and whether the running daemon can take it over. The SIGHUP handler asks; what
//! it then does is its own matter.

use super::Config;
use super::keys::{keys, leaves};
use serde::Serialize;

/// A key whose value changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Change {
    /// Dotted key.
    pub key: String,
    /// True when SIGHUP applies it, false when it takes a restart.
    pub reloadable: bool,
}

/// Every key that differs, in the order of the reference.
#[must_use]
pub fn changes(old: &Config, new: &Config) -> Vec<Change> {
    let (old, new) = (leaves(old), leaves(new));
    let changed = keys().iter().filter(|key| old.get(&key.name) != new.get(&key.name));
    changed.map(|key| Change { key: key.name.clone(), reloadable: key.reloadable }).collect()
}
