//! Series over time, from the in-memory window.

use super::current::{json, query_tag};
use super::select;
use crate::dto::aggregates::SeriesName;
use crate::dto::history::{History, Laid};
use crate::error::{Code, Problem};
use crate::params::{Params, RANGE, SELECTOR, Step};
use crate::shared::Shared;
use axum::extract::{Request, State};
use axum::response::Response;
use lowtide_core::limits;
use lowtide_core::window::{Grid, TimeRange, Window};
use std::time::Duration;

/// Points that an automatic step aims at: what a chart can show.
const POINTS_WANTED: u64 = 300;

/// Steps that an automatic one is chosen from, in seconds: those that people read on an axis.
const NICE_STEPS: [u64; 14] = [1, 2, 5, 10, 15, 30, 60, 300, 900, 1_800, 3_600, 10_800, 21_600, 86_400];

/// Series over time on a common axis
///
/// The daemon holds the last hour at full resolution; `held_since` says where it begins. Buckets are aligned to the Unix epoch;
/// gaps are nulls. For counters `avg`, `min`, `max` and `p95` are increases per second and survive resets.
#[utoipa::path(get, path = "/api/system-stats/history", tag = "stats", params(
    ("group" = Option<String>, Query, description = "Only series of this group: host, process, api, quiet, collectors, tick, addons (what they cost), addon.<id> (an addon's own)", example = "host"),
    ("metric" = Option<String>, Query, description = "Only these metrics: full names, comma-separated or repeated", example = "host_cpu_usage_ratio"),
    ("labels" = Option<String>, Query, description = "Only series with these labels: key=value, comma-separated", example = "device=sda"),
    ("range" = Option<String>, Query, description = "How far back from `to`: 90s, 15m, 1h. Default 1h", example = "15m"),
    ("from" = Option<String>, Query, description = "Start, RFC 3339 or Unix seconds, instead of `range`"),
    ("to" = Option<String>, Query, description = "End, RFC 3339 or Unix seconds. Default now"),
    ("step" = Option<String>, Query, description = "Length of a bucket: 30s, 5m; `raw` for every tick. Default: about 300 points", example = "30s"),
    ("agg" = Option<String>, Query, description = "Which of avg, min, max, p95, last, comma-separated. Default all", example = "avg,p95"),
), responses(
    (status = 200, description = "The series", body = History),
    (status = 304, description = "The client has it already"),
    (status = "4XX", description = "See `code`", body = Problem, content_type = "application/problem+json"),
    (status = "5XX", description = "See `code`", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn get_history(
    State(shared): State<Shared>,
    request: Request,
) -> Result<Response, Box<Problem>> {
    let known = [SELECTOR.as_slice(), RANGE.as_slice(), ["step", "agg"].as_slice()].concat();
    let params = Params::parse(request.uri().query(), &known)?;
    let selector = params.selector()?;
    let (step, aggs) = (params.step()?, params.aggs()?);
    let state = shared.app.state().ok_or_else(Problem::not_ready)?;
    // Up to the newest tick: within one tick the answer stays the same, and so does its entity tag.
    let range = params.range(state.snapshot.at.wall)?;
    select::check(&selector, &state)?;
    let history = shared.app.with_window(|window| {
        let views = window.select(&selector);
        let held = window.span();
        let covered = held.and_then(|held| overlap(range, held));
        let step = match step {
            Step::Raw => None,
            Step::Fixed(step) => Some(step),
            Step::Automatic => Some(automatic(covered, shared.app.about().tick, views.len() * aggs.len())),
        };
        let grid = match covered {
            Some(covered) => {
                check_size(window, covered, step, views.len(), aggs.len())?;
                window.grid(&views, covered, step, &aggs)
            }
            None => Grid::default(),
        };
        let names = views.iter().map(SeriesName::new).collect();
        Ok::<_, Box<Problem>>(Laid { range, held, step, names, grid })
    })?;
    // The JSON is made after the window is let go: the tick waits for nobody's formatting.
    let history = History::new(history, &aggs);
    let etag = query_tag(&shared, &state, &request);
    Ok(json(&etag, &history).respond(request.headers()))
}

/// The part of the range that can hold samples; `None` when it lies before or after everything that is held.
fn overlap(range: TimeRange, held: TimeRange) -> Option<TimeRange> {
    let part = TimeRange { from: range.from.max(held.from), to: range.to.min(held.to) };
    (part.from <= part.to).then_some(part)
}

/// A step that makes about [`POINTS_WANTED`] points, or fewer where `columns` of values would not fit; never shorter than a tick.
fn automatic(range: Option<TimeRange>, tick: Duration, columns: usize) -> Duration {
    let length =
        range.map_or(0, |range| u64::try_from(range.to.0.saturating_sub(range.from.0)).unwrap_or(0) / 1_000);
    // One point more than the length holds: buckets are aligned, so both ends may be cut.
    let fitting = (limits::HISTORY_VALUES_MAX / columns.max(1)).saturating_sub(2) as u64;
    let wanted = length.div_ceil(POINTS_WANTED.min(fitting).max(1)).max(tick.as_secs()).max(1);
    let nice = NICE_STEPS.into_iter().find(|step| *step >= wanted);
    Duration::from_secs(nice.unwrap_or_else(|| wanted.div_ceil(86_400) * 86_400))
}

fn check_size(
    window: &Window,
    range: TimeRange,
    step: Option<Duration>,
    series: usize,
    aggs: usize,
) -> Result<(), Box<Problem>> {
    let points = match step {
        None => window.ticks_in(range),
        Some(step) => {
            let length = u128::try_from(range.to.0.saturating_sub(range.from.0)).unwrap_or(0);
            usize::try_from(length / step.as_millis().max(1) + 1).unwrap_or(usize::MAX)
        }
    };
    let refuse = |detail: String| Err(Problem::new(Code::TooManyValues, detail));
    if series > limits::QUERY_SERIES_MAX {
        return refuse(format!(
            "{series} series match, at most {} fit; ask by metric or labels",
            limits::QUERY_SERIES_MAX
        ));
    }
    if points > limits::HISTORY_POINTS_MAX {
        return refuse(format!(
            "{points} points a series, at most {} fit; use a longer step",
            limits::HISTORY_POINTS_MAX
        ));
    }
    let values = points.saturating_mul(series).saturating_mul(aggs);
    if values > limits::HISTORY_VALUES_MAX {
        return refuse(format!(
            "{series} series of {points} points in {aggs} aggregates are {values} values, at most {} fit",
            limits::HISTORY_VALUES_MAX
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use lowtide_core::units::WallTime;

    fn range(from: i64, to: i64) -> TimeRange {
        TimeRange { from: WallTime(from), to: WallTime(to) }
    }

    #[test]
    fn the_automatic_step_is_one_that_people_read() {
        let step = |seconds: i64, tick| {
            automatic(Some(range(0, seconds * 1_000)), Duration::from_secs(tick), 5).as_secs()
        };
        assert_eq!([step(60, 2), step(3_600, 2), step(86_400, 2), step(0, 60)], [2, 15, 300, 60]);
    }

    #[test]
    fn the_automatic_step_always_fits() {
        for series in [1, 266, 1_000, limits::QUERY_SERIES_MAX] {
            let columns = series * 5;
            let step = automatic(Some(range(0, 3_600_000)), Duration::from_secs(2), columns).as_secs();
            let points = 3_600 / step as usize + 2;
            assert!(points * columns <= limits::HISTORY_VALUES_MAX, "{series} series, {step} s");
        }
    }

    #[test]
    fn a_range_is_cut_to_what_is_held() {
        assert_eq!(overlap(range(0, 100), range(40, 60)), Some(range(40, 60)));
        assert_eq!(overlap(range(45, 50), range(40, 60)), Some(range(45, 50)));
        assert_eq!(overlap(range(0, 10), range(40, 60)), None);
        assert_eq!(overlap(range(100, 110), range(40, 60)), None);
    }
}
