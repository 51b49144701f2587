//! The series of history itself: what was recorded, what was lost, and what it costs the disk.

use super::count;
use crate::history::HistoryFacts;
use lowtide_core::metric::{MetricDef, SampleBuffer};
use lowtide_core::units::Unit;

static RECORDED: MetricDef =
    MetricDef::counter("history_recorded_ticks_total", Unit::Count, &[], "Ticks recorded since the start.");
static LOST: MetricDef = MetricDef::counter(
    "history_lost_ticks_total",
    Unit::Count,
    &[],
    "Ticks that are not in history because the disk did not take them in time.",
);
static LOST_EVENTS: MetricDef = MetricDef::counter(
    "history_lost_events_total",
    Unit::Count,
    &[],
    "Events that are not in history because the disk did not take them in time.",
);
static WAITING: MetricDef = MetricDef::gauge(
    "history_waiting_ticks",
    Unit::Count,
    &[],
    "Recorded ticks that are not in the file yet.",
);
static QUEUED: MetricDef = MetricDef::gauge(
    "history_queued_ticks",
    Unit::Count,
    &[],
    "Ticks that were not looked at yet: more than a few when the disk is slow.",
);
static WORKS: MetricDef = MetricDef::gauge(
    "history_storage_works",
    Unit::Count,
    &[],
    "1 while the file of history can be written, 0 while it cannot.",
);
static USED: MetricDef =
    MetricDef::gauge("history_used_bytes", Unit::Bytes, &[], "Bytes in use in the file.");
static FILE: MetricDef = MetricDef::gauge(
    "history_file_bytes",
    Unit::Bytes,
    &[],
    "Bytes of the file: what is not in use is used again.",
);
static WRITTEN: MetricDef = MetricDef::counter(
    "history_written_bytes_total",
    Unit::Bytes,
    &[],
    "Bytes written to the disk since the start, at most: pages in the log and pages in the file.",
);
static SERIES: MetricDef =
    MetricDef::gauge("history_series", Unit::Count, &[], "Series in the catalogue of the file.");
static LEFT_OUT: MetricDef = MetricDef::gauge(
    "history_left_out_series",
    Unit::Count,
    &[],
    "Series that are not kept because the catalogue is full.",
);
static SEGMENTS: MetricDef =
    MetricDef::gauge("history_segments", Unit::Count, &[], "Segments of raw samples in the file.");
static DAMAGED: MetricDef = MetricDef::gauge(
    "history_damaged_rows",
    Unit::Count,
    &[],
    "Rows of the file that were found damaged since the start; what was in them is missing.",
);
static THINNING: MetricDef = MetricDef::gauge(
    "history_thinning_factor",
    Unit::Count,
    &[],
    "Of so many ticks that are due one is recorded; above 1 when fewer bytes may be written than would be.",
);

pub(super) static METRICS: [&MetricDef; 14] = [
    &RECORDED,
    &LOST,
    &LOST_EVENTS,
    &WAITING,
    &QUEUED,
    &WORKS,
    &USED,
    &FILE,
    &WRITTEN,
    &SERIES,
    &LEFT_OUT,
    &SEGMENTS,
    &DAMAGED,
    &THINNING,
];

pub(super) fn write(out: &mut SampleBuffer, facts: &HistoryFacts) {
    out.begin();
    let size = &facts.size;
    let values = [
        count(facts.recorded_ticks),
        count(facts.lost_ticks),
        count(facts.lost_events),
        count(facts.waiting_ticks),
        count(facts.queued_ticks),
        f64::from(u8::from(facts.storage_works)),
        count(size.used_bytes),
        count(size.file_bytes),
        count(facts.written_bytes),
        count(size.series),
        count(facts.left_out_series),
        count(size.segments),
        count(facts.damaged_rows),
        f64::from(facts.thinning),
    ];
    for (metric, value) in METRICS.into_iter().zip(values) {
        out.push(metric, &[], value);
    }
}
