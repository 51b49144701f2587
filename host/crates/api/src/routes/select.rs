//! Whether what a query names exists at all: a misspelt metric is a mistake to be told, not an empty answer. What is declared
//! but not there on this host stays an empty answer.

use crate::error::Problem;
use lowtide_addons::id::AddonId;
use lowtide_core::metric::{Kind, MetricDef};
use lowtide_core::report::ADDON_GROUP;
use lowtide_core::report::CollectorInfo;
use lowtide_core::state::HostState;
use lowtide_core::window::Selector;
use std::sync::LazyLock;

/// Refuses groups, metrics and label keys that no collector declares.
pub(super) fn check(selector: &Selector, state: &HostState) -> Result<(), Box<Problem>> {
    if let Some(group) = &selector.group {
        let own = group.strip_prefix(ADDON_GROUP).is_some_and(|id| AddonId::new(id).is_ok());
        let built_in =
            state.reports().map(|report| &*report.info.group).filter(|group| !group.starts_with(ADDON_GROUP));
        let mut groups: Vec<&str> = built_in.chain([&*USAGE.group]).collect();
        groups.dedup();
        // An addon may be gone while its last hour is still held.
        if !own && !groups.contains(&group.as_str()) {
            let reason = format!("there is no such group; there are {}, addon.<id>", groups.join(", "));
            return Err(Problem::parameter("group", reason, "host"));
        }
    }
    let declared =
        || state.reports().flat_map(|report| report.info.metrics.iter()).chain(USAGE.metrics.iter());
    let called = |metric: &MetricDef, name: &str| {
        let part = name.strip_prefix(&*metric.name).filter(|part| !part.is_empty());
        metric.name == name
            || metric.kind == Kind::Histogram && part.is_some_and(|part| PARTS.contains(&part))
    };
    for name in &selector.metrics {
        if !declared().any(|metric| called(metric, name)) {
            let nearest = declared().map(|metric| &*metric.name).max_by_key(|known| alike(known, name));
            let reason = "there is no such metric; /metrics lists those of this host";
            return Err(Problem::parameter("metric", reason, nearest.unwrap_or("host_cpu_usage_ratio")));
        }
    }
    for (key, _) in &selector.labels {
        let asked = |metric: &&MetricDef| {
            selector.metrics.is_empty() || selector.metrics.iter().any(|name| called(metric, name))
        };
        let labels = declared().filter(asked).flat_map(|metric| metric.labels.iter().map(|key| &**key));
        let mut keys: Vec<&str> = labels.collect();
        keys.sort_unstable();
        keys.dedup();
        if key != "le" && !keys.contains(&key.as_str()) {
            let key = lowtide_core::metric::clip(key, 64);
            let reason =
                format!("no metric that is asked for has the label {key:?}; there are: {}", keys.join(", "));
            return Err(Problem::parameter("labels", reason, "device=sda"));
        }
    }
    Ok(())
}

/// What addons cost: declared also on a host that has none, so that a chart for many hosts does not fail on it.
static USAGE: LazyLock<CollectorInfo> = LazyLock::new(lowtide_addons::metering_info);

/// Suffixes of a histogram's numbers.
const PARTS: [&str; 3] = ["_bucket", "_sum", "_count"];

/// Bytes that two names share at their beginning and at their end.
fn alike(one: &str, other: &str) -> usize {
    let same = |(a, b): &(u8, u8)| a == b;
    let begin = one.bytes().zip(other.bytes()).take_while(same).count();
    let end = one.bytes().rev().zip(other.bytes().rev()).take_while(same).count();
    begin + end
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_typo_is_closest_to_what_was_meant() {
        let names = ["host_cpu_usage_ratio", "host_cpu_nice_ratio", "host_memory_used_bytes"];
        let nearest = |typo: &str| names.into_iter().max_by_key(|name| alike(name, typo)).unwrap();
        assert_eq!(nearest("host_cpu_usage_raito"), "host_cpu_usage_ratio");
        assert_eq!(nearest("host_memory_usedbytes"), "host_memory_used_bytes");
    }
}
