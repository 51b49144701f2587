//! Query parameters, read strictly: an unknown or repeated one is an error that says what would be right.

use crate::error::Problem;
use jiff::Timestamp;
use lowtide_core::spans;
use lowtide_core::units::WallTime;
use lowtide_core::window::{Agg, Selector, TimeRange};
use std::ops::RangeInclusive;
use std::time::Duration;

/// The decoded query string of one request.
#[derive(Debug)]
pub(crate) struct Params(Vec<(String, String)>);

/// What a query may select.
pub(crate) const SELECTOR: [&str; 3] = ["group", "metric", "labels"];

/// How a query may say when.
pub(crate) const RANGE: [&str; 3] = ["range", "from", "to"];

impl Params {
    /// Decodes a query string; every key must be one of `known`, and only `metric` may be repeated.
    pub(crate) fn parse(query: Option<&str>, known: &[&str]) -> Result<Self, Box<Problem>> {
        let pairs: Vec<(String, String)> =
            form_urlencoded::parse(query.unwrap_or_default().as_bytes()).into_owned().collect();
        for (number, (key, _)) in pairs.iter().enumerate() {
            if !known.contains(&key.as_str()) {
                return Err(unknown(key, known));
            }
            if key != "metric" && pairs.iter().take(number).any(|(earlier, _)| earlier == key) {
                let first = pairs.iter().find(|(earlier, _)| earlier == key).map_or("", |(_, value)| value);
                return Err(Problem::parameter(key, "is given twice", lowtide_core::metric::clip(first, 64)));
            }
        }
        Ok(Self(pairs))
    }

    pub(crate) fn get(&self, key: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == key).map(|(_, value)| value.as_str())
    }

    /// A yes-or-no parameter: present without a value, or `true`, `false`, `1`, `0`.
    pub(crate) fn flag(&self, key: &str) -> Result<bool, Box<Problem>> {
        match self.get(key) {
            None | Some("false" | "0") => Ok(false),
            Some("" | "true" | "1") => Ok(true),
            Some(_) => Err(Problem::parameter(key, "must be true or false", "true")),
        }
    }

    /// A whole number within these bounds.
    pub(crate) fn whole(&self, key: &str, bounds: RangeInclusive<u64>) -> Result<Option<u64>, Box<Problem>> {
        let Some(text) = self.get(key) else { return Ok(None) };
        let number = text.parse().ok().filter(|number| bounds.contains(number));
        number.map(Some).ok_or_else(|| {
            let (least, most) = bounds.into_inner();
            let reason = match most {
                u64::MAX => format!("must be a whole number from {least} on"),
                _ => format!("must be a whole number from {least} to {most}"),
            };
            Problem::parameter(key, reason, &most.min(100).to_string())
        })
    }

    /// `group`, `metric` (repeated or comma-separated, with or without the `lowtide_` of the exposition) and `labels`
    /// (`key=value`, comma-separated).
    pub(crate) fn selector(&self) -> Result<Selector, Box<Problem>> {
        let metrics = self.0.iter().filter(|(key, _)| key == "metric");
        let metrics: Vec<String> = metrics
            .flat_map(|(_, value)| value.split(','))
            .map(|name| name.trim().strip_prefix("lowtide_").unwrap_or(name.trim()).to_owned())
            .collect();
        if metrics.iter().any(String::is_empty) {
            return Err(Problem::parameter("metric", "has an empty name", "host_cpu_usage_ratio"));
        }
        let mut labels = Vec::new();
        for pair in self.get("labels").into_iter().flat_map(|value| value.split(',')) {
            match pair.split_once('=') {
                Some((key, value)) if !key.trim().is_empty() => {
                    labels.push((key.trim().to_owned(), value.trim().trim_matches('"').to_owned()));
                }
                _ => {
                    return Err(Problem::parameter(
                        "labels",
                        "must be key=value pairs joined by commas",
                        "device=sda",
                    ));
                }
            }
        }
        let group = match self.get("group") {
            Some("") => return Err(Problem::parameter("group", "is empty", "host")),
            group => group.map(str::to_owned),
        };
        Ok(Selector { group, metrics, labels })
    }

    /// The asked range: `from` and `to`, or the last `range` (default the last hour) up to `now`.
    pub(crate) fn range(&self, now: WallTime) -> Result<TimeRange, Box<Problem>> {
        self.range_of(now, Duration::from_secs(3_600))
    }

    /// The same where it is so long unless it is given.
    pub(crate) fn range_of(&self, now: WallTime, default: Duration) -> Result<TimeRange, Box<Problem>> {
        let to = self.time("to")?.unwrap_or(now);
        let from = match (self.time("from")?, self.get("range")) {
            (Some(_), Some(_)) => {
                return Err(Problem::parameter("range", "cannot go together with from", "15m"));
            }
            (Some(from), None) => from,
            (None, range) => to.minus(range.map_or(Ok(default), |text| duration("range", text, "15m"))?),
        };
        if from > to {
            return Err(Problem::parameter(
                "from",
                "lies after the end of the range",
                "2026-01-01T00:00:00Z",
            ));
        }
        Ok(TimeRange { from, to })
    }

    /// `step`: a duration of at least one second, `raw` for every tick, or nothing for a step chosen by the server.
    pub(crate) fn step(&self) -> Result<Step, Box<Problem>> {
        match self.get("step") {
            None => Ok(Step::Automatic),
            Some("raw") => Ok(Step::Raw),
            Some(text) => {
                let step = duration("step", text, "5m")?;
                if step < Duration::from_secs(1) {
                    return Err(Problem::parameter(
                        "step",
                        "must be at least 1s, or raw for every tick",
                        "30s",
                    ));
                }
                Ok(Step::Fixed(step))
            }
        }
    }

    /// `agg`: names joined by commas; all of them unless given.
    pub(crate) fn aggs(&self) -> Result<Vec<Agg>, Box<Problem>> {
        let Some(text) = self.get("agg") else { return Ok(Agg::ALL.to_vec()) };
        let mut aggs: Vec<Agg> = Vec::new();
        for name in text.split(',').map(str::trim) {
            let found = Agg::ALL.into_iter().find(|agg| agg.name() == name);
            let agg = found.ok_or_else(|| {
                Problem::parameter(
                    "agg",
                    "must be one or more of avg, min, max, p95, last, joined by commas",
                    "avg,p95",
                )
            })?;
            if !aggs.contains(&agg) {
                aggs.push(agg);
            }
        }
        Ok(aggs)
    }

    /// A moment: RFC 3339 or Unix seconds.
    pub(crate) fn time(&self, key: &str) -> Result<Option<WallTime>, Box<Problem>> {
        let Some(text) = self.get(key) else { return Ok(None) };
        let seconds = text.parse::<f64>().ok().filter(|seconds| (0.0..=253_402_300_799.0).contains(seconds));
        #[expect(clippy::cast_possible_truncation, reason = "bounded by the year 9999 just above")]
        let parsed = match seconds {
            Some(seconds) => Some((seconds * 1_000.0).round() as i64),
            None => text.parse::<Timestamp>().ok().map(|time| time.as_millisecond()),
        };
        parsed.map(|ms| Some(WallTime(ms))).ok_or_else(|| {
            Problem::parameter(key, "must be an RFC 3339 time or Unix seconds", "2026-01-01T00:00:00Z")
        })
    }
}

/// A parameter that is not among those of the path; the example is the one that begins most alike.
fn unknown(key: &str, known: &[&str]) -> Box<Problem> {
    let key = lowtide_core::metric::clip(key, 64);
    let reason = match known {
        [] => "is not known; this path takes no parameters".to_owned(),
        _ => format!("is not known; this path takes {}", known.join(", ")),
    };
    let alike = |name: &&&str| name.bytes().zip(key.bytes()).take_while(|(a, b)| a == b).count();
    let example = known.iter().max_by_key(alike).map_or("none", |name| *name);
    Problem::unknown_parameter(key, reason, example)
}

/// How finely history is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// About 300 points.
    Automatic,
    /// Every tick.
    Raw,
    /// Buckets of this length.
    Fixed(Duration),
}

/// A duration such as `90s`, `15m`, `1h30m`, `7d`, or plain seconds; at most 100 years.
pub(crate) fn duration(key: &str, text: &str, example: &str) -> Result<Duration, Box<Problem>> {
    spans::parse(text).map_err(|error| Problem::parameter(key, error.to_string(), example))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_and_repeated_parameters_are_refused() {
        assert!(Params::parse(Some("rnage=5m"), &RANGE).is_err());
        assert!(Params::parse(Some("range=5m&range=6m"), &RANGE).is_err());
        let params = Params::parse(Some("metric=a,lowtide_b&metric=c&labels=x=1,y=2%20"), &SELECTOR).unwrap();
        let selector = params.selector().unwrap();
        assert_eq!(selector.metrics, ["a", "b", "c"]);
        assert_eq!(selector.labels, [("x".to_owned(), "1".to_owned()), ("y".to_owned(), "2".to_owned())]);
    }

    #[test]
    fn ranges_are_relative_or_absolute() {
        let now = WallTime(1_800_000_000_000);
        let range = |query: &str| Params::parse(Some(query), &RANGE).unwrap().range(now);
        assert_eq!(range("").unwrap().from, WallTime(now.0 - 3_600_000));
        assert_eq!(range("range=5m").unwrap(), TimeRange { from: WallTime(now.0 - 300_000), to: now });
        assert_eq!(range("from=1799999000&to=1799999500.5").unwrap().to, WallTime(1_799_999_500_500));
        assert_eq!(range("from=2026-01-01T00:00:00Z").unwrap().from, WallTime(1_767_225_600_000));
        for query in ["from=yesterday", "from=1799999500&to=1799999000", "range=5m&from=1799999000", "to=-1"]
        {
            assert!(range(query).is_err(), "{query}");
        }
    }
}
