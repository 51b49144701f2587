//! How a collector writes down its metrics: one table, and a name for each line of it. Only definitions; every collector
//! file uses it.

use lowtide_core::metric::{MetricDef, Text};
use lowtide_core::report::CollectorInfo;
use std::borrow::Cow;
use std::time::Duration;

/// Writes the static table `METRICS` and one constant for each of its lines. A macro, because the samples point into the table:
/// with constants and an array written apart, the two could differ.
macro_rules! metrics {
    ($($id:ident = $kind:ident($name:literal, $unit:ident, $labels:expr, $help:literal);)+) => {
        #[allow(clippy::upper_case_acronyms, non_camel_case_types, reason = "places in the table, named like the constants")]
        enum Place { $($id),+ }
        /// Every metric of this collector.
        pub(crate) static METRICS: [lowtide_core::metric::MetricDef; [$(Place::$id),+].len()] = [
            $(lowtide_core::metric::MetricDef::$kind($name, lowtide_core::units::Unit::$unit, $labels, $help)),+
        ];
        $(
            #[allow(clippy::indexing_slicing, reason = "the compiler checks it: a constant place in a constant table")]
            #[cfg_attr(not(target_os = "linux"), allow(dead_code, reason = "elsewhere not all can be measured"))]
            pub(crate) const $id: &lowtide_core::metric::MetricDef = &METRICS[Place::$id as usize];
        )+
    };
}
pub(crate) use metrics;

/// A metric without labels.
pub(crate) const NONE: &[Text] = &[];

/// What is known of a built-in collector before it runs.
pub(crate) fn info(
    (name, group): (&'static str, &'static str),
    metric_prefix: &'static str,
    help: &'static str,
    interval: Duration,
    metrics: &'static [MetricDef],
) -> CollectorInfo {
    CollectorInfo {
        name: name.into(),
        group: group.into(),
        metric_prefix: metric_prefix.into(),
        help: help.into(),
        interval,
        metrics: Cow::Borrowed(metrics),
    }
}
