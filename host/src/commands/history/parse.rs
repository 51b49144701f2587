//! What is typed behind the flags of `lowtide history`, read as the API reads its parameters.

use jiff::Timestamp;
use lowtide_core::units::WallTime;
use lowtide_core::window::Agg;
use std::time::Duration;

/// A duration such as `90s`, `15m`, `1h30m`, `7d`, or plain seconds; at most 100 years.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    const LONGEST_MS: f64 = 100.0 * 366.0 * 86_400_000.0;
    let wrong = || "must be a duration: numbers with ms, s, m, h, d or w, such as 15m or 1h30m".to_owned();
    let mut total_ms = 0.0;
    let mut rest = text.trim();
    if rest.is_empty() {
        return Err(wrong());
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (number, tail) = rest.split_at_checked(digits).ok_or_else(wrong)?;
        let letters = tail.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(tail.len());
        let (unit, tail) = tail.split_at_checked(letters).ok_or_else(wrong)?;
        let unit_ms = match unit {
            "ms" => 1.0,
            "s" => 1_000.0,
            "m" => 60_000.0,
            "h" => 3_600_000.0,
            "d" => 86_400_000.0,
            "w" => 7.0 * 86_400_000.0,
            // Plain seconds, only when they are all there is.
            "" if rest.len() == text.trim().len() && tail.is_empty() => 1_000.0,
            _ => return Err(wrong()),
        };
        total_ms += number.parse::<f64>().map_err(|_| wrong())? * unit_ms;
        rest = tail;
    }
    if !(total_ms > 0.0 && total_ms <= LONGEST_MS) {
        return Err("must be longer than zero and at most 100 years".to_owned());
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "bounded just above")]
    Ok(Duration::from_millis(total_ms.round() as u64).max(Duration::from_millis(1)))
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
    fn durations_are_read_or_refused() {
        let table = [
            ("90s", 90_000),
            ("15m", 900_000),
            ("1h30m", 5_400_000),
            ("7d", 604_800_000),
            ("250ms", 250),
            ("60", 60_000),
            ("1.5h", 5_400_000),
        ];
        for (text, ms) in table {
            assert_eq!(duration(text).unwrap().as_millis(), ms, "{text}");
        }
        for text in ["", " ", "0s", "-5m", "5x", "m", "1h30", "30 m", "1..5h", "999999w", "ä", "1e9h", "5m5"]
        {
            assert!(duration(text).is_err(), "{text}");
        }
        assert!(step("999ms").unwrap_err().contains("every tick"));
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
