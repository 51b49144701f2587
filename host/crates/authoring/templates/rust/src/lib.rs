//! Counts the tasks of this machine, as the kernel tells them in /proc/loadavg.

use lowtide_sdk::{Collector, Description, Failure, Metric, Sample, Unit, config, host_data, sample, warn};
use std::time::Duration;

/// What lives as long as an instance: counters, the last answer. This addon needs nothing.
#[derive(Default)]
struct Tasks;

impl Collector for Tasks {
    /// What this addon measures, and how often. Called once, before the first collection.
    fn describe() -> Description {
        Description::new("Tasks that the kernel knows, from /proc/loadavg.")
            .every(Duration::from_secs(10))
            .metric(Metric::gauge("tasks", Unit::Count, "Tasks of the scheduler, by state.").labels(["state"]))
    }

    /// Measures now. A `Failure` costs this collection only: the next one comes all the same.
    fn collect(&mut self) -> Result<Vec<Sample>, Failure> {
        // Readable because addon.toml asks for it and the operator grants it.
        let text = host_data::read_to_string("/proc/loadavg")?;
        let (runnable, all) = parse(&text)
            .ok_or_else(|| Failure::Unavailable(format!("/proc/loadavg has another form than expected: {text}")))?;
        // A setting of the operator: [addon.{{id}}.settings] warn_above = 50
        if let Some(limit) = config::optional::<i64>("warn_above")?
            && runnable > limit as f64
        {
            warn!("{runnable} tasks want to run, more than {limit}");
        }
        Ok(vec![sample("tasks", ["runnable"], runnable), sample("tasks", ["all"], all)])
    }
}

/// Runnable and all tasks: `0.52 0.58 0.59 2/941 12345` says 2 and 941.
fn parse(text: &str) -> Option<(f64, f64)> {
    let (runnable, all) = text.split_whitespace().nth(3)?.split_once('/')?;
    Some((runnable.parse().ok()?, all.parse().ok()?))
}

// What the component exports: any of Collector, Presence, CustomStats, Health and Job.
lowtide_sdk::addon!(Tasks: Collector);

#[cfg(test)]
mod tests {
    use super::*;
    use lowtide_sdk::testing::FakeHost;

    #[test]
    fn counts_tasks_and_warns() {
        let mut host = FakeHost::new().config("warn_above", 1).file("/proc/loadavg", "0.52 0.58 0.59 2/941 12345\n");
        let report = host.collect::<Tasks>();
        report.assert_ok();
        assert_eq!(report.value("tasks", &["runnable"]), Some(2.0));
        assert_eq!(report.value("tasks", &["all"]), Some(941.0));
        assert!(report.logged("more than 1"));
    }

    #[test]
    fn another_form_is_a_failure() {
        let mut host = FakeHost::new().file("/proc/loadavg", "hello");
        assert!(matches!(host.collect::<Tasks>().answer, Err(Failure::Unavailable(_))));
    }
}
