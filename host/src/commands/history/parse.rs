//! What is typed behind the flags of `lowtide history`, read as the API reads its parameters.

use jiff::Timestamp;
use lowtide_core::spans;
use lowtide_core::units::WallTime;
use lowtide_core::window::Agg;
use std::time::Duration;

/// A duration such as `90s`, `15m`, `1h30m`, `7d`, or plain seconds; at most 100 years.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    spans::parse(text).map_err(|error| format!("{error}, such as 15m or 1h30m"))
}

/// Length of a cell: a duration of at least one second.
pub(super) fn step(text: &str) -> Result<Duration, String> {
    let step = duration(text)?;
    if step < Duration::from_secs(1) {
        return Err("must be at least 1s; without --step every tick is written".to_owned());
    }
    Ok(step)
}

/// A moment: RFC 3339, or seconds since 1970.
pub(super) fn time(text: &str) -> Result<WallTime, String> {
    let seconds = text.parse::<f64>().ok().filter(|seconds| (0.0..=253_402_300_799.0).contains(seconds));
    #[expect(clippy::cast_possible_truncation, reason = "bounded by the year 9999 just above")]
    let parsed = match seconds {
        Some(seconds) => Some((seconds * 1_000.0).round() as i64),
        None => text.parse::<Timestamp>().ok().map(Timestamp::as_millisecond),
    };
    parsed.map(WallTime).ok_or_else(|| {
        "must be an RFC 3339 time such as 2026-11-22T08:00:00Z, or seconds since 1970".to_owned()
    })
}

/// The name of a metric, with or without the `lowtide_` of the exposition.
pub(super) fn metric(text: &str) -> Result<String, String> {
    let name = text.trim();
    let name = name.strip_prefix(super::openmetrics::PREFIX).unwrap_or(name);
    if name.is_empty() {
        return Err("is an empty name".to_owned());
    }
    Ok(name.to_owned())
}

/// A label and its value.
pub(super) fn label(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.trim().is_empty() => {
            Ok((key.trim().to_owned(), value.trim().trim_matches('"').to_owned()))
        }
        _ => Err("must be key=value, several joined by commas, such as device=sda".to_owned()),
    }
}

/// The name of an aggregate.
pub(super) fn aggregate(text: &str) -> Result<Agg, String> {
    let found = Agg::ALL.into_iter().find(|agg| agg.name() == text.trim());
    found.ok_or_else(|| "must be one or more of avg, min, max, p95, last, joined by commas".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_a_second_or_longer() {
        assert_eq!(step("5m").unwrap().as_secs(), 300);
        assert!(step("999ms").unwrap_err().contains("every tick"));
        assert!(step("often").unwrap_err().contains("such as 15m"));
    }

    #[test]
    fn times_are_read_or_refused() {
        assert_eq!(time("1799999500.5").unwrap(), WallTime(1_799_999_500_500));
        assert_eq!(time("2026-01-01T00:00:00Z").unwrap(), WallTime(1_767_225_600_000));
        assert_eq!(time("2026-01-01T01:00:00+01:00").unwrap(), WallTime(1_767_225_600_000));
        for text in ["", "yesterday", "-1", "2026-01-01", "NaN"] {
            assert!(time(text).is_err(), "{text}");
        }
    }

    #[test]
    fn names_labels_and_aggregates_are_read_or_refused() {
        assert_eq!(metric(" lowtide_host_cpu_usage_ratio").unwrap(), "host_cpu_usage_ratio");
        assert!(metric("lowtide_").is_err());
        assert_eq!(label("device = \"sda\"").unwrap(), ("device".to_owned(), "sda".to_owned()));
        assert!(label("device").is_err() && label("=sda").is_err());
        assert_eq!(aggregate(" p95").unwrap(), Agg::P95);
        assert!(aggregate("p99").unwrap_err().contains("avg, min"));
    }
}
