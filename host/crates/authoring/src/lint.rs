//! Advice on names, helps and sizes: nothing here stops an addon, but people will read and query what it makes.

use crate::check::Finding;
use lowtide_addons::id::AddonId;
use lowtide_addons::inspect::Inspection;
use lowtide_core::metric::MetricDef;
use lowtide_core::units::Unit;

/// Labels of a metric beyond which the number of its series gets out of hand.
const LABELS_SENSIBLE: usize = 4;

/// Bytes of a component beyond which something is in it that need not be: a small one in Rust or C has 0.1 MB, in JavaScript 1.6 MB.
const SENSIBLE_BYTES: u64 = 2 << 20;

/// The same with an interpreter as large as Python's, which is known by its functions.
const INTERPRETED_BYTES: u64 = 24 << 20;
/// See [`INTERPRETED_BYTES`].
const INTERPRETED_FUNCTIONS: usize = 8_000;

/// Last words of names that are no base units, and what to write instead.
const WRONG_UNITS: [(&str, &str); 14] = [
    ("ms", "_seconds"),
    ("millis", "_seconds"),
    ("milliseconds", "_seconds"),
    ("us", "_seconds"),
    ("minutes", "_seconds"),
    ("hours", "_seconds"),
    ("days", "_seconds"),
    ("percent", "_ratio, 0 to 1"),
    ("pct", "_ratio, 0 to 1"),
    ("kb", "_bytes"),
    ("kib", "_bytes"),
    ("mb", "_bytes"),
    ("mib", "_bytes"),
    ("fahrenheit", "_celsius"),
];

/// What could be better about a metric.
pub(crate) fn metric(def: &MetricDef, id: &AddonId) -> Vec<Finding> {
    let mut found: Vec<Finding> =
        def.problems().into_iter().map(|text| Finding::error("metric", text)).collect();
    let prefix = id.metric_prefix();
    let name = def.name.strip_prefix(&prefix).unwrap_or(&def.name);
    let mut advise =
        |code, text: String| found.push(Finding::warning(code, format!("metric {name:?}: {text}")));
    let help = def.help.trim();
    if !help.ends_with(['.', '?', '!']) {
        advise("help_period", "end the help with a full stop: it is a sentence for people".to_owned());
    }
    if help.trim_end_matches('.').eq_ignore_ascii_case(&name.replace('_', " ")) {
        advise(
            "help_says_nothing",
            "the help only repeats the name: say what is measured and where it comes from".to_owned(),
        );
    }
    if def.labels.len() > LABELS_SENSIBLE {
        advise(
            "many_labels",
            format!(
                "{} labels: each multiplies the series, of which an addon has at most 500",
                def.labels.len()
            ),
        );
    }
    let own = prefix.trim_start_matches("addon_");
    if name.starts_with(own) {
        advise("repeats_id", format!("the host puts {prefix} before it, so leave {own} out"));
    }
    let stem = name.strip_suffix("_total").unwrap_or(name);
    let last = stem.rsplit('_').next().unwrap_or(stem);
    if def.unit == Unit::Count
        && let Some((_, better)) = WRONG_UNITS.iter().find(|(word, _)| *word == last)
    {
        advise("base_unit", format!("use the base unit: a name that ends in {better}, with that unit"));
    }
    found
}

/// Whether the component is larger than its language needs.
pub(crate) fn size(bytes: u64, inspection: &Inspection) -> Option<Finding> {
    let interprets = inspection.functions > INTERPRETED_FUNCTIONS;
    let sensible = if interprets { INTERPRETED_BYTES } else { SENSIBLE_BYTES };
    (bytes > sensible).then(|| {
        let advice = "build for size and strip it (in Rust: opt-level = \"s\", lto = true, strip = true)";
        Finding::warning("size", format!("{:.1} MB is much for an addon: {advice}", bytes as f64 / 1e6))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::borrow::Cow;

    #[test]
    fn advice_is_given_for_each_bad_habit_and_none_for_a_good_name() {
        let id = AddonId::new("my-nas").unwrap();
        let codes = |def: &MetricDef| metric(def, &id).iter().map(|finding| finding.code).collect::<Vec<_>>();
        let good =
            MetricDef::gauge("addon_my_nas_idle_seconds", Unit::Seconds, &[], "Time without a request.");
        assert!(codes(&good).is_empty());
        let bad = MetricDef::gauge("addon_my_nas_my_nas_latency_ms", Unit::Count, &[], "my nas latency ms");
        assert_eq!(codes(&bad), ["help_period", "help_says_nothing", "repeats_id", "base_unit"]);
        let labels: Cow<'static, [Cow<'static, str>]> =
            ["a", "b", "c", "d", "e"].map(Cow::Borrowed).to_vec().into();
        assert_eq!(codes(&MetricDef { labels, ..good.clone() }), ["many_labels"]);
        assert_eq!(codes(&MetricDef { help: "Idle seconds.".into(), ..good }), ["help_says_nothing"]);
    }
}
