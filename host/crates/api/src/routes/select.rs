//! Whether what a query names exists at all: a misspelt metric is a mistake to be told, not an empty answer. What is declared
//! but not there on this host stays an empty answer.

use crate::error::Problem;
use lowtide_core::state::HostState;
use lowtide_core::window::Selector;

/// Refuses groups and metrics that no collector declares.
pub(super) fn check(selector: &Selector, state: &HostState) -> Result<(), Box<Problem>> {
    if let Some(group) = &selector.group {
        let mut groups: Vec<&str> = state.reports().map(|report| &*report.info.group).collect();
        groups.dedup();
        if !groups.contains(&group.as_str()) {
            let reason = format!("there is no such group; there are {}", groups.join(", "));
            return Err(Problem::parameter("group", reason, "host"));
        }
    }
    let declared =
        || state.reports().flat_map(|report| report.info.metrics.iter()).map(|metric| &*metric.name);
    for name in &selector.metrics {
        if !declared().any(|known| known == name) {
            let nearest = declared().max_by_key(|known| alike(known, name)).unwrap_or("host_cpu_usage_ratio");
            return Err(Problem::parameter(
                "metric",
                "there is no such metric; /metrics lists those of this host",
                nearest,
            ));
        }
    }
    Ok(())
}

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
