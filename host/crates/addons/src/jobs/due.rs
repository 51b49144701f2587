//! When a job is due, how long it is left alone after a failure, and whether it may be asked for at all. Pure: the time is given.

use crate::answers::JobDescription;
use crate::caps::leases::{LeaseDesk, beyond_priority, beyond_units, is_job_type};
use crate::id::AddonId;
use crate::limits;
use lowtide_core::units::WallTime;
use std::time::Duration;

/// When a job is due that was last done then: at once if never. What was missed meanwhile is made up for by one run.
pub(super) fn due(last: Option<WallTime>, every: Duration, now: WallTime) -> WallTime {
    let Some(last) = last else { return now };
    // A clock that was set back by more than that would make it wait for as long as it was wrong.
    if last > after(now, every) { now } else { after(last, every) }
}

/// The moment so much later.
pub(super) fn after(moment: WallTime, later: Duration) -> WallTime {
    WallTime(moment.unix_ms().saturating_add(i64::try_from(later.as_millis()).unwrap_or(i64::MAX)))
}

/// How long it is until then; zero when it is over.
pub(super) fn until(now: WallTime, then: WallTime) -> Duration {
    Duration::from_millis(u64::try_from(then.unix_ms().saturating_sub(now.unix_ms())).unwrap_or(0))
}

/// How long a job is left alone after so many failures in a row.
pub(super) fn pause(failures: u32) -> Duration {
    let doublings = failures.saturating_sub(1).min(16);
    limits::JOB_RETRY_FIRST.saturating_mul(1 << doublings).min(limits::JOB_RETRY_MAX)
}

/// Why a job can never run as it is, if so: a word and a sentence.
pub(crate) fn unfit(
    addon: &AddonId,
    job: &JobDescription,
    desk: Option<&LeaseDesk>,
) -> Option<(&'static str, String)> {
    let text = |why: String| format!("job {}: {why}", job.name);
    if !is_job_type(&job.name) {
        let why = "its name must be [a-z][a-z0-9-]*, and no other job may have it";
        return Some(("invalid_job", text(why.to_owned())));
    }
    let Some(desk) = desk else {
        let (units, priority) = (job.cost_units, job.priority.name());
        let why = format!(
            "it needs leases: write leases = {{ max_units = {units}, max_priority = \"{priority}\" }} under [asks] in addon.toml and under [addon.{addon}.grants] in the configuration"
        );
        return Some(("not_granted", text(why)));
    };
    let bounds = desk.bounds();
    let beyond = beyond_priority(addon, bounds, job.priority.into())
        .or_else(|| beyond_units(addon, bounds, job.cost_units, 0));
    beyond.map(|why| ("not_granted", text(why)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capabilities::{LeaseBounds, LeasePriority};
    use crate::caps::leases::Tally;
    use lowtide_core::lease::Constraints;

    const HOUR: Duration = Duration::from_secs(3_600);

    fn at(hours: i64) -> WallTime {
        WallTime(hours * 3_600_000)
    }

    #[test]
    fn a_job_is_due_one_interval_after_it_was_done() {
        assert_eq!(due(None, HOUR, at(7)), at(7), "never done: now");
        assert_eq!(due(Some(at(7)), HOUR * 24, at(8)), at(31));
        // Three were missed; the first that is made up for is the only one.
        assert_eq!(due(Some(at(7)), HOUR, at(10)), at(8));
        assert_eq!(until(at(10), at(8)), Duration::ZERO);
        assert_eq!(due(Some(at(10)), HOUR, at(10)), at(11));
    }

    #[test]
    fn a_clock_that_was_set_back_holds_a_job_up_for_two_intervals_at_most() {
        assert_eq!(due(Some(at(1_000)), HOUR, at(10)), at(10));
        assert_eq!(due(Some(at(11)), HOUR, at(10)), at(12));
    }

    #[test]
    fn pauses_after_failures_double_up_to_an_hour() {
        let minutes: Vec<u64> = (1..9).map(|failures| pause(failures).as_secs() / 60).collect();
        assert_eq!(minutes, [1, 2, 4, 8, 16, 32, 60, 60]);
        assert_eq!(pause(u32::MAX), limits::JOB_RETRY_MAX);
    }

    #[test]
    fn what_was_not_granted_is_told_with_what_to_write() {
        let addon = AddonId::new("one").unwrap();
        let bounds = LeaseBounds { max_units: 20, max_priority: LeasePriority::Normal };
        let desk = LeaseDesk::new(addon.clone(), None, bounds, Tally::default());
        let job = |name: &str, cost_units, priority| JobDescription {
            name: name.to_owned(),
            help: String::new(),
            cost_units,
            priority,
            expected_duration: None,
            constraints: Constraints::default(),
            every: None,
            pausable: false,
        };
        let told = |job: &JobDescription, desk| unfit(&addon, job, desk);
        assert_eq!(told(&job("scrub", 20, LeasePriority::Normal), Some(&desk)), None);
        let (code, text) = told(&job("scrub", 21, LeasePriority::Low), Some(&desk)).unwrap();
        assert!(
            code == "not_granted" && text.contains("max_units = 21, max_priority = \"normal\""),
            "{text}"
        );
        let (code, text) = told(&job("scrub", 1, LeasePriority::High), Some(&desk)).unwrap();
        assert!(code == "not_granted" && text.contains("max_units = 20, max_priority = \"high\""), "{text}");
        let (code, text) = told(&job("scrub", 1, LeasePriority::Low), None).unwrap();
        assert!(code == "not_granted" && text.contains("under [addon.one.grants]"), "{text}");
        assert_eq!(told(&job("Not A Name", 1, LeasePriority::Low), Some(&desk)).unwrap().0, "invalid_job");
    }
}
