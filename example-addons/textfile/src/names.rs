//! From the names of other people's files to names that the host takes.

use lowtide_sdk::{Kind, Unit};

/// What the host keeps for other things. A name that ends so gets [`VALUE`] behind it.
const KEPT: [&str; 3] = ["_count", "_sum", "_bucket"];
const TOTAL: &str = "_total";
const VALUE: &str = "_value";

/// A metric's name for the host: lower-case words, a counter's with `_total`. Nothing is left of a text without letters.
pub(crate) fn metric(raw: &str, kind: Kind) -> Option<String> {
    let mut name = words(raw)?;
    if kind == Kind::Counter {
        let stem = name.strip_suffix(TOTAL).unwrap_or(&name);
        let value = if is_kept(stem) { VALUE } else { "" };
        return Some(format!("{stem}{value}{TOTAL}"));
    }
    if is_kept(&name) || name.ends_with(TOTAL) {
        name.push_str(VALUE);
    }
    Some(name)
}

/// A label's key for the host. `le` is kept for histograms, so it becomes `upper_bound`.
pub(crate) fn label(raw: &str) -> Option<String> {
    if raw == "le" { Some("upper_bound".to_owned()) } else { words(raw) }
}

/// The unit that a name tells by its last word.
pub(crate) fn unit(name: &str) -> Unit {
    let stem = name.strip_suffix(TOTAL).unwrap_or(name);
    // The longer of two that fit comes first.
    let units = [
        Unit::BytesPerSecond,
        Unit::PerSecond,
        Unit::Bytes,
        Unit::Seconds,
        Unit::Ratio,
        Unit::Celsius,
        Unit::Hertz,
    ];
    let named = |unit: &Unit| unit.suffix().is_some_and(|suffix| stem.ends_with(suffix));
    units.into_iter().find(named).unwrap_or(Unit::Count)
}

fn is_kept(name: &str) -> bool {
    KEPT.iter().any(|kept| name.ends_with(kept))
}

/// Lower-case words joined by single underscores, beginning with a letter.
fn words(raw: &str) -> Option<String> {
    let parts: Vec<String> = raw
        .split(|c: char| !c.is_ascii_alphanumeric())
        .filter(|part| !part.is_empty())
        .map(str::to_ascii_lowercase)
        .collect();
    let name = parts.join("_");
    if name.starts_with(|c: char| c.is_ascii_digit()) {
        return Some(format!("n{name}"));
    }
    (!name.is_empty()).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_as_they_are_where_the_host_takes_them() {
        for (raw, kind, wanted) in [
            ("node_md_disks", Kind::Gauge, "node_md_disks"),
            ("apt_upgrades_pending", Kind::Gauge, "apt_upgrades_pending"),
            ("jobs_total", Kind::Counter, "jobs_total"),
            ("jobs", Kind::Counter, "jobs_total"),
            ("jobs_total", Kind::Gauge, "jobs_total_value"),
            ("users_count", Kind::Gauge, "users_count_value"),
            ("users_count", Kind::Counter, "users_count_value_total"),
            ("job:Rate:5m", Kind::Gauge, "job_rate_5m"),
            ("__a__B_", Kind::Gauge, "a_b"),
            ("5min_load", Kind::Gauge, "n5min_load"),
        ] {
            assert_eq!(metric(raw, kind).as_deref(), Some(wanted), "{raw}");
        }
        assert_eq!(metric("::", Kind::Gauge), None);
    }

    #[test]
    fn labels_are_words_too() {
        assert_eq!(label("deviceName").as_deref(), Some("devicename"));
        assert_eq!(label("le").as_deref(), Some("upper_bound"));
        assert_eq!(label("_"), None);
    }

    #[test]
    fn the_unit_is_the_last_word() {
        for (name, wanted) in [
            ("a_seconds", Unit::Seconds),
            ("a_seconds_total", Unit::Seconds),
            ("a_bytes_per_second", Unit::BytesPerSecond),
            ("a_per_second", Unit::PerSecond),
            ("a_celsius", Unit::Celsius),
            ("seconds", Unit::Count),
            ("a_total_value", Unit::Count),
        ] {
            assert_eq!(unit(name), wanted, "{name}");
        }
    }
}
