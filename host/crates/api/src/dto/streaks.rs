//! Quiet intervals and events of the past.

use super::{rfc3339, seconds};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan as _, Zoned};
use lowtide_app::{EventRow, QuietRow};
use lowtide_core::units::WallTime;
use lowtide_core::window::TimeRange;
use serde::Serialize;
use std::collections::BTreeMap;
use std::time::Duration;
use utoipa::ToSchema;

/// A time during which the host was QUIET.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct QuietInterval {
    /// Its first tick, RFC 3339 UTC.
    #[schema(format = "date-time")]
    from: String,
    /// Its last tick so far, RFC 3339 UTC.
    #[schema(format = "date-time")]
    to: String,
    /// How long it was.
    duration_seconds: f64,
    /// Mean score, 0 to 100.
    score_avg: f64,
    /// Least score.
    score_min: u8,
    /// True while it goes on.
    open: bool,
}

impl QuietInterval {
    fn new(row: &QuietRow) -> Self {
        Self {
            from: rfc3339(WallTime(row.from_ms)),
            to: rfc3339(WallTime(row.to_ms)),
            duration_seconds: length(row.from_ms, row.to_ms),
            score_avg: row.score_avg,
            score_min: row.score_min,
            open: row.open,
        }
    }
}

/// A page of quiet intervals.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct QuietIntervals {
    /// The intervals, oldest first, whole also where they reach out of the range.
    intervals: Vec<QuietInterval>,
    /// For the next page: `after` of the request; null at the end.
    next: Option<i64>,
}

impl QuietIntervals {
    /// Of `rows` there is one more than fits when there are further ones.
    pub(crate) fn new(rows: &[QuietRow], limit: usize) -> Self {
        let shown = rows.get(..limit).unwrap_or(rows);
        let next = shown.last().filter(|_| rows.len() > limit).map(|row| row.from_ms);
        Self { intervals: shown.iter().map(QuietInterval::new).collect(), next }
    }
}

/// What the quiet intervals of a range add up to.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct QuietStreaks {
    /// Start of the range, RFC 3339 UTC.
    #[schema(format = "date-time")]
    from: String,
    /// End of the range, RFC 3339 UTC.
    #[schema(format = "date-time")]
    to: String,
    /// Quiet time within the range.
    total_seconds: f64,
    /// Intervals that touch the range.
    count: usize,
    /// The longest, whole also where it reaches out of the range; null without any.
    longest: Option<QuietInterval>,
    /// The one that goes on; null when the host is not QUIET.
    current: Option<QuietInterval>,
    /// Each day with a quiet time, oldest first.
    days: Vec<QuietDay>,
}

/// The quiet times of one day.
#[derive(Debug, Serialize, ToSchema)]
struct QuietDay {
    /// The day in the daemon's time zone.
    #[schema(example = "2026-11-22", format = "date")]
    day: String,
    /// Quiet time within the day and the range.
    total_seconds: f64,
    /// Longest quiet time within the day.
    longest_seconds: f64,
    /// Intervals that touch the day.
    count: usize,
}

impl QuietStreaks {
    pub(crate) fn new(range: TimeRange, rows: &[QuietRow]) -> Self {
        Self::in_zone(range, rows, &TimeZone::system())
    }

    fn in_zone(range: TimeRange, rows: &[QuietRow], zone: &TimeZone) -> Self {
        let mut days: BTreeMap<String, QuietDay> = BTreeMap::new();
        let mut total_seconds = 0.0;
        for row in rows {
            let (from, to) = (row.from_ms.max(range.from.unix_ms()), row.to_ms.min(range.to.unix_ms()));
            total_seconds += length(from, to);
            for (day, seconds) in by_day(from, to, zone) {
                let place = days.entry(day.clone()).or_insert(QuietDay {
                    day,
                    total_seconds: 0.0,
                    longest_seconds: 0.0,
                    count: 0,
                });
                place.total_seconds = rounded(place.total_seconds + seconds);
                place.longest_seconds = place.longest_seconds.max(seconds);
                place.count += 1;
            }
        }
        let longest = rows.iter().max_by_key(|row| row.to_ms - row.from_ms);
        Self {
            from: rfc3339(range.from),
            to: rfc3339(range.to),
            total_seconds: rounded(total_seconds),
            count: rows.len(),
            longest: longest.map(QuietInterval::new),
            current: rows.iter().rev().find(|row| row.open).map(QuietInterval::new),
            days: days.into_values().collect(),
        }
    }
}

/// How much of an interval lies in each day.
fn by_day(from_ms: i64, to_ms: i64, zone: &TimeZone) -> Vec<(String, f64)> {
    let local = |ms| Timestamp::from_millisecond(ms).ok().map(|time| time.to_zoned(zone.clone()));
    let mut parts = Vec::new();
    let mut at_ms = from_ms;
    while let Some(at) = local(at_ms) {
        let end_ms = next_midnight(&at).map_or(to_ms, |midnight| midnight.min(to_ms));
        parts.push((at.date().to_string(), length(at_ms, end_ms)));
        if end_ms >= to_ms {
            break;
        }
        at_ms = end_ms;
    }
    parts
}

fn next_midnight(at: &Zoned) -> Option<i64> {
    let tomorrow = at.date().checked_add(1.day()).ok()?;
    Some(at.time_zone().to_zoned(tomorrow.at(0, 0, 0, 0)).ok()?.timestamp().as_millisecond())
}

fn length(from_ms: i64, to_ms: i64) -> f64 {
    seconds(Duration::from_millis(u64::try_from(to_ms - from_ms).unwrap_or(0)))
}

fn rounded(seconds: f64) -> f64 {
    (seconds * 1e3).round() / 1e3
}

/// A page of what happened.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct HistoryEvents {
    /// The events.
    events: Vec<HistoryEvent>,
    /// For the next page: `before` of the request, or `after` where that was given; null at the end.
    next: Option<i64>,
}

/// Something that happened.
#[derive(Debug, Serialize, ToSchema)]
struct HistoryEvent {
    /// Its number in the file.
    id: i64,
    /// When, RFC 3339 UTC.
    #[schema(format = "date-time")]
    at: String,
    /// `state`, `collector`, `reload`, `addon`, `addon_event` or `lease`.
    #[schema(example = "state")]
    kind: String,
    /// The collector, addon, or holder of a lease that it is about.
    subject: Option<String>,
    /// A StreamEvent, as the event stream sent it.
    #[schema(value_type = Object)]
    data: serde_json::Value,
}

impl HistoryEvents {
    /// Of `rows` there is one more than fits when there are further ones.
    pub(crate) fn new(mut rows: Vec<EventRow>, limit: usize) -> Self {
        let more = rows.len() > limit;
        rows.truncate(limit);
        let next = rows.last().filter(|_| more).map(|row| row.id);
        let event = |row: EventRow| HistoryEvent {
            id: row.id,
            at: rfc3339(WallTime(row.at_ms)),
            kind: row.kind,
            subject: row.subject,
            data: row.document,
        };
        Self { events: rows.into_iter().map(event).collect(), next }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(from_s: i64, to_s: i64, open: bool) -> QuietRow {
        QuietRow {
            from_ms: from_s * 1_000,
            to_ms: to_s * 1_000,
            ticks: 3,
            score_avg: 91.5,
            score_min: 80,
            open,
        }
    }

    #[test]
    fn streaks_are_cut_by_the_range_and_split_at_midnight() {
        let day = 86_400;
        let range = TimeRange { from: WallTime(day * 1_000), to: WallTime(3 * day * 1_000) };
        let rows = [
            row(day - 600, day + 900, false),
            row(day + 2_000, day + 2_500, false),
            row(2 * day - 300, 2 * day + 100, true),
        ];
        let streaks = QuietStreaks::in_zone(range, &rows, &TimeZone::UTC);
        assert_eq!((streaks.total_seconds, streaks.count), (900.0 + 500.0 + 400.0, 3));
        assert_eq!(streaks.longest.unwrap().duration_seconds, 1_500.0);
        assert_eq!(streaks.current.unwrap().duration_seconds, 400.0);
        let days: Vec<_> = streaks
            .days
            .iter()
            .map(|day| (day.day.as_str(), day.total_seconds, day.longest_seconds, day.count))
            .collect();
        assert_eq!(days, [("1970-01-02", 1_700.0, 900.0, 3), ("1970-01-03", 100.0, 100.0, 1)]);
        let none = QuietStreaks::in_zone(range, &[], &TimeZone::UTC);
        assert!(none.longest.is_none() && none.current.is_none() && none.days.is_empty());
    }

    #[test]
    fn a_day_is_that_of_the_zone_also_when_the_clocks_change() {
        // 2026-10-25 has 25 hours in Berlin.
        let Ok(zone) = TimeZone::get("Europe/Berlin") else { return };
        let begin: Timestamp = "2026-10-24T22:00:00Z".parse().unwrap();
        let from = begin.as_millisecond();
        let parts = by_day(from, from + 26 * 3_600_000, &zone);
        assert_eq!(parts, [("2026-10-25".to_owned(), 90_000.0), ("2026-10-26".to_owned(), 3_600.0)]);
    }

    #[test]
    fn a_page_says_how_to_go_on() {
        let rows = [row(1, 2, false), row(3, 4, false), row(5, 6, false)];
        let page = QuietIntervals::new(&rows, 2);
        assert_eq!((page.intervals.len(), page.next), (2, Some(3_000)));
        assert_eq!(QuietIntervals::new(&rows, 3).next, None);
    }
}
