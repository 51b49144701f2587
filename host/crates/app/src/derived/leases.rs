//! The scheduler's own series: what is held and waits, what there is room for, and what became of requests.

use super::count;
use crate::leases::LeaseFacts;
use lowtide_core::lease::{Ending, Rule};
use lowtide_core::metric::{MetricDef, SampleBuffer, Text};
use lowtide_core::units::Unit;
use std::borrow::Cow;

const BY_RULE: &[Text] = &[Cow::Borrowed("rule")];
const BY_HOW: &[Text] = &[Cow::Borrowed("how")];

static HELD: MetricDef = MetricDef::gauge("lease_held", Unit::Count, &[], "Leases that are held.");
static PAUSED: MetricDef =
    MetricDef::gauge("lease_paused", Unit::Count, &[], "Held leases whose work was asked to stand still.");
static QUEUED: MetricDef = MetricDef::gauge("lease_queued", Unit::Count, &[], "Requests that wait.");
static USED: MetricDef = MetricDef::gauge("lease_used_units", Unit::Count, &[], "Units that are held.");
static CAPACITY: MetricDef = MetricDef::gauge(
    "lease_capacity_units",
    Unit::Count,
    &[],
    "Units that may be held now: fewer while others use the machine.",
);
static UNWRITTEN: MetricDef = MetricDef::gauge(
    "lease_unwritten_events",
    Unit::Count,
    &[],
    "Events of leases that are not on disk yet.",
);
static STORAGE: MetricDef = MetricDef::gauge(
    "lease_storage_works",
    Unit::Count,
    &[],
    "1 while events of leases can be written down, 0 while they cannot and nothing is granted.",
);
static GRANTED: MetricDef =
    MetricDef::counter("lease_granted_total", Unit::Count, &[], "Leases granted at once or from the queue.");
static ENQUEUED: MetricDef =
    MetricDef::counter("lease_enqueued_total", Unit::Count, &[], "Requests that were queued.");
static DENIED: MetricDef = MetricDef::counter(
    "lease_denied_total",
    Unit::Count,
    BY_RULE,
    "Requests that were denied, by the rule that denied them.",
);
static ENDED: MetricDef = MetricDef::counter(
    "lease_ended_total",
    Unit::Count,
    BY_HOW,
    "Leases and waiting requests that ended, by how they did.",
);
static HEARTBEATS: MetricDef =
    MetricDef::counter("lease_heartbeats_total", Unit::Count, &[], "Heartbeats and reports of holders.");
static GAVE_WAY: MetricDef = MetricDef::counter(
    "lease_gave_way_total",
    Unit::Count,
    &[],
    "Looks at the host between two ticks on which work had to give way at once.",
);
static EVENTS: MetricDef = MetricDef::counter(
    "lease_events_total",
    Unit::Count,
    &[],
    "Number of the newest event of the audit log; goes on over restarts.",
);
static COMMITS: MetricDef = MetricDef::counter(
    "lease_commits_total",
    Unit::Count,
    &[],
    "Commits of events to disk, each with one fsync.",
);
static VIOLATIONS: MetricDef = MetricDef::counter(
    "lease_invariant_violations_total",
    Unit::Count,
    &[],
    "Invariants of leases that were found not to hold. Not 0: a defect to report.",
);

pub(super) static METRICS: [&MetricDef; 16] = [
    &HELD,
    &PAUSED,
    &QUEUED,
    &USED,
    &CAPACITY,
    &UNWRITTEN,
    &STORAGE,
    &GRANTED,
    &ENQUEUED,
    &DENIED,
    &ENDED,
    &HEARTBEATS,
    &GAVE_WAY,
    &EVENTS,
    &COMMITS,
    &VIOLATIONS,
];

pub(super) fn write(out: &mut SampleBuffer, facts: &LeaseFacts) {
    out.begin();
    let size = |number: usize| count(number as u64);
    out.push(&HELD, &[], size(facts.held));
    out.push(&PAUSED, &[], size(facts.paused));
    out.push(&QUEUED, &[], size(facts.queued));
    out.push(&USED, &[], f64::from(facts.used));
    out.push(&CAPACITY, &[], f64::from(facts.capacity));
    out.push(&UNWRITTEN, &[], size(facts.unwritten));
    out.push(&STORAGE, &[], f64::from(u8::from(facts.storage_works)));
    let totals = &facts.totals;
    out.push(&GRANTED, &[], count(totals.granted));
    out.push(&ENQUEUED, &[], count(totals.queued));
    for (rule, denied) in Rule::ALL.iter().zip(totals.denied) {
        if !rule.grants() {
            out.push(&DENIED, &[rule.word()], count(denied));
        }
    }
    for (how, ended) in Ending::WORDS.iter().zip(totals.ended) {
        out.push(&ENDED, &[how], count(ended));
    }
    out.push(&HEARTBEATS, &[], count(totals.heartbeats));
    out.push(&GAVE_WAY, &[], count(totals.gave_way));
    out.push(&EVENTS, &[], count(facts.events));
    out.push(&COMMITS, &[], count(facts.commits));
    out.push(&VIOLATIONS, &[], count(facts.violations));
}
