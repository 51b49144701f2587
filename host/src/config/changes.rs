//! What differs between two configurations, and whether the running daemon can take it over. The SIGHUP handler asks; what
//! it then does is its own matter.

use super::Config;
use super::keys::{keys, leaves};
use serde::Serialize;
use std::collections::BTreeSet;

/// A key whose value changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Change {
    /// Dotted key.
    pub key: String,
    /// True when SIGHUP applies it, false when it takes a restart.
    pub reloadable: bool,
}

/// Every key that differs, in the order of the reference; then those of single addons, by name, which SIGHUP always applies.
#[must_use]
pub fn changes(old: &Config, new: &Config) -> Vec<Change> {
    let ids: BTreeSet<&String> = old.addon.keys().chain(new.addon.keys()).collect();
    let (old, new) = (leaves(&with_all(old, &ids)), leaves(&with_all(new, &ids)));
    let changed = keys().iter().filter(|key| old.get(&key.name) != new.get(&key.name));
    let changed = changed.map(|key| Change { key: key.name.clone(), reloadable: key.reloadable });
    let names: BTreeSet<&String> =
        old.keys().chain(new.keys()).filter(|name| name.starts_with("addon.")).collect();
    let addons = names.into_iter().filter(|name| old.get(*name) != new.get(*name));
    changed.chain(addons.map(|name| Change { key: name.clone(), reloadable: true })).collect()
}

/// The same configuration with a section for each of these addons: no section means the defaults.
fn with_all(config: &Config, ids: &BTreeSet<&String>) -> Config {
    let mut config = config.clone();
    for id in ids {
        config.addon.entry((*id).clone()).or_default();
    }
    config
}
