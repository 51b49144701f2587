//! The JSON documents of the API, as types: what OpenAPI describes and what the handlers send. Twins of the core's types,
//! so that those can change without breaking a client.

pub(crate) mod addons;
pub(crate) mod aggregates;
pub(crate) mod collectors;
pub(crate) mod current;
pub(crate) mod events;
pub(crate) mod health;
pub(crate) mod history;
pub(crate) mod leases;
pub(crate) mod quiet;
pub(crate) mod streaks;

use lowtide_core::units::WallTime;
use std::time::Duration;

/// RFC 3339 in UTC with milliseconds, for example `2026-01-01T00:00:00.000Z`.
pub(crate) fn rfc3339(time: WallTime) -> String {
    let time = jiff::Timestamp::from_millisecond(time.unix_ms()).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    format!("{time:.3}")
}

/// Seconds with microseconds: what a person reads and a script compares.
pub(crate) fn seconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e6
}

/// A number for JSON: whole values without a fraction, so that bytes read as bytes. `None` when it is not finite.
pub(crate) fn number(value: f64) -> Option<serde_json::Number> {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    #[expect(clippy::cast_possible_truncation, reason = "exact below 2^53, checked here")]
    if value.fract() == 0.0 && value.abs() <= EXACT {
        return Some((value as i64).into());
    }
    serde_json::Number::from_f64(value)
}
