//! Series over time, from the window of the last hour and the file of history as one; and the rows of what happened.

mod answer;
mod rows;

pub(super) use rows::{
    __path_get_events, __path_get_intervals, __path_get_streaks, get_events, get_intervals, get_streaks,
};

use super::current::query_tag;
use super::select;
use crate::dto::history::{About, History, HistoryHead, HistorySeries};
use crate::error::{Code, Problem};
use crate::params::{Params, RANGE, SELECTOR, Step};
use crate::shared::Shared;
use answer::Out;
use axum::extract::{Request, State};
use axum::response::Response;
use lowtide_app::{Asked, HistoryError, Laying, TooFine};
use lowtide_core::history::Axis;
use lowtide_core::limits;
use lowtide_core::state::HostState;
use lowtide_core::units::WallTime;
use lowtide_core::window::TimeRange;
use std::time::Duration;

/// Points that an automatic step aims at: what a chart can show.
const POINTS_WANTED: u64 = 300;

/// Steps that an automatic one is chosen from, in seconds: those that people read on an axis.
const NICE_STEPS: [u64; 14] = [1, 2, 5, 10, 15, 30, 60, 300, 900, 1_800, 3_600, 10_800, 21_600, 86_400];

/// Length of a bucket of a roll-up in seconds. Longer steps are multiples of it.
const ROLLUP_SECONDS: u64 = 900;

/// Series over time on a common axis
///
/// The last hour is held in memory at full resolution, what is older is on disk: every recorded tick for some days (`ticks_since`), then
/// roll-ups of 15 minutes (`held_since`). Cells are aligned to the Unix epoch; gaps are nulls. For counters `avg`, `min`, `max` and `p95`
/// are increases per second and survive resets. A step that is a multiple of 15 minutes may be answered from roll-ups: then `p95` is
/// within 1 %. Long answers are streamed.
#[utoipa::path(get, path = "/api/system-stats/history", tag = "stats", params(
    ("group" = Option<String>, Query, description = "Only series of this group: host, process, api, quiet, collectors, tick, leases, history, addons (what they cost), addon.<id> (an addon's own)", example = "host"),
    ("metric" = Option<String>, Query, description = "Only these metrics: full names, comma-separated or repeated", example = "host_cpu_usage_ratio"),
    ("labels" = Option<String>, Query, description = "Only series with these labels: key=value, comma-separated", example = "device=sda"),
    ("range" = Option<String>, Query, description = "How far back from `to`: 90s, 15m, 24h, 7d. Default 1h", example = "24h"),
    ("from" = Option<String>, Query, description = "Start, RFC 3339 or Unix seconds, instead of `range`"),
    ("to" = Option<String>, Query, description = "End, RFC 3339 or Unix seconds. Default now"),
    ("step" = Option<String>, Query, description = "Length of a cell: 30s, 5m, 1h; `raw` for every tick. Default: about 300 points", example = "5m"),
    ("agg" = Option<String>, Query, description = "Which of avg, min, max, p95, last, comma-separated. Default all", example = "avg,p95"),
), responses(
    (status = 200, description = "The series", body = History<'static>),
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
    let (selector, step, aggs) = (params.selector()?, params.step()?, params.aggs()?);
    let state = shared.app.state().ok_or_else(Problem::not_ready)?;
    // Up to the newest tick: within one tick the answer stays the same, and so does its entity tag.
    let range = params.range(shared.app.shown_at(&state))?;
    let etag = query_tag(&shared, &state, &request);
    let asked = Asked { selector, range, aggs };
    let place = answer::place(&shared).await?;
    let headers = request.headers().clone();
    answer::make(place, headers, etag, move |out| write(&shared, &state, asked, step, out)).await
}

/// Writes the whole answer. Blocks.
fn write(
    shared: &Shared,
    state: &HostState,
    mut asked: Asked,
    step: Step,
    out: &mut Out,
) -> Result<(), Box<Problem>> {
    let app = &shared.app;
    let window = app.with_window(lowtide_core::window::Window::span);
    let begins = window.map(|window| window.from);
    // What is older may be there: that it cannot be seen must not look like a gap.
    if begins.is_some_and(|begins| asked.range.from < begins)
        && let Some(error) = app.history().and_then(lowtide_app::History::unreadable)
    {
        return Err(failed(error, asked.range));
    }
    let (held_since, ticks_since) = app.history().map(lowtide_app::History::held_since).unwrap_or_default();
    let held_since = held_since.into_iter().chain(begins).min();
    let ticks_since = ticks_since.into_iter().chain(begins).min();
    let range = asked.range;
    let covered =
        held_since.zip(window).and_then(|(from, window)| overlap(range, TimeRange { from, to: window.to }));
    // Nothing of the range is held: the question is checked all the same, and the series of now have no points.
    asked.range = covered.unwrap_or(TimeRange { from: WallTime(i64::MAX - 1), to: WallTime(i64::MAX - 1) });
    let laying = app.ask(&asked).map_err(|error| failed(error, range))?;
    // What only the past knows is no mistake.
    if laying.series_count() == 0 {
        select::check(&asked.selector, state)?;
    }
    let coarse = covered.is_some_and(|covered| ticks_since.is_none_or(|since| covered.from < since));
    let step = match step {
        Step::Raw => None,
        Step::Fixed(step) => Some(step),
        Step::Automatic => {
            let shortest = if coarse { Duration::from_secs(ROLLUP_SECONDS) } else { app.about().tick };
            Some(automatic(covered, shortest, laying.series_count() * asked.aggs.len()))
        }
    };
    if let (Some(covered), Some(step)) = (covered, step) {
        let length = u128::try_from(covered.to.0.saturating_sub(covered.from.0)).unwrap_or(0);
        let points = usize::try_from(length / step.as_millis().max(1) + 1).unwrap_or(usize::MAX);
        check_size(points, laying.series_count(), asked.aggs.len())?;
    }
    let multiple =
        step.is_some_and(|step| step.as_secs().is_multiple_of(ROLLUP_SECONDS) && step.subsec_nanos() == 0);
    let about = About {
        range,
        step_seconds: step.map(crate::dto::seconds),
        held_since,
        ticks_since,
        rolled_up: multiple
            && covered.is_some_and(|covered| begins.is_none_or(|begins| covered.from < begins)),
    };
    lay(laying, &asked, step, covered.is_some(), &about, out)
}

fn lay(
    laying: Laying<'_>,
    asked: &Asked,
    step: Option<Duration>,
    covered: bool,
    about: &About,
    out: &mut Out,
) -> Result<(), Box<Problem>> {
    let series_count = laying.series_count();
    let mut refused = None;
    let mut first = true;
    // Both closures write, one after the other.
    let place = std::cell::RefCell::new(out);
    let laid = laying.lay(
        step,
        |axis: &Axis| {
            if step.is_none()
                && let Err(problem) = check_size(axis.len(), series_count, asked.aggs.len())
            {
                refused = Some(problem);
                return false;
            }
            let none = Axis::default();
            let head = HistoryHead::new(about, if covered { axis } else { &none }.starts());
            place.borrow_mut().begin(&head)
        },
        |info, columns| {
            let comma = if std::mem::take(&mut first) { "" } else { "," };
            let none = vec![Vec::new(); asked.aggs.len()];
            let columns = if covered { columns } else { &none };
            place.borrow_mut().item(comma, &HistorySeries::new(info, &asked.aggs, columns))
        },
    );
    laid.map_err(|error| failed(error, about.range))?;
    if let Some(problem) = refused {
        return Err(problem);
    }
    place.borrow_mut().end();
    Ok(())
}

/// Why there is no answer, and what would have one.
fn failed(error: HistoryError, range: TimeRange) -> Box<Problem> {
    match error {
        HistoryError::Unavailable(detail) => Problem::new(Code::HistoryUnavailable, detail).retry_after(2),
        HistoryError::TooFine(TooFine { raw_since_ms, step_ms }) => {
            let minutes = step_ms / 60_000;
            let since = raw_since_ms.filter(|since| *since <= range.to.unix_ms());
            let detail = match since {
                Some(since) => format!(
                    "before {} only roll-ups of {minutes} minutes are kept: ask with step={minutes}m or a multiple of it, or from={}",
                    crate::dto::rfc3339(WallTime(since)),
                    crate::dto::rfc3339(WallTime(since))
                ),
                None => format!(
                    "of this time only roll-ups of {minutes} minutes are kept: ask with step={minutes}m or a multiple of it"
                ),
            };
            Problem::new(Code::StepTooFine, detail)
        }
    }
}

/// The part of the range that can hold samples; `None` when it lies before or after everything that is held.
fn overlap(range: TimeRange, held: TimeRange) -> Option<TimeRange> {
    let part = TimeRange { from: range.from.max(held.from), to: range.to.min(held.to) };
    (part.from <= part.to).then_some(part)
}

/// A step that makes about [`POINTS_WANTED`] points, or fewer where `columns` of values would not fit; never a shorter one than the
/// shortest that makes sense.
fn automatic(range: Option<TimeRange>, shortest: Duration, columns: usize) -> Duration {
    let length =
        range.map_or(0, |range| u64::try_from(range.to.0.saturating_sub(range.from.0)).unwrap_or(0) / 1_000);
    // One point more than the length holds: cells are aligned, so both ends may be cut.
    let fitting = (limits::HISTORY_VALUES_MAX / columns.max(1)).saturating_sub(2) as u64;
    let wanted = length.div_ceil(POINTS_WANTED.min(fitting).max(1)).max(shortest.as_secs()).max(1);
    let nice = NICE_STEPS.into_iter().find(|step| *step >= wanted);
    Duration::from_secs(nice.unwrap_or_else(|| wanted.div_ceil(86_400) * 86_400))
}

fn check_size(points: usize, series: usize, aggs: usize) -> Result<(), Box<Problem>> {
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

    fn range(from: i64, to: i64) -> TimeRange {
        TimeRange { from: WallTime(from), to: WallTime(to) }
    }

    #[test]
    fn the_automatic_step_is_one_that_people_read() {
        let step = |seconds: i64, shortest| {
            automatic(Some(range(0, seconds * 1_000)), Duration::from_secs(shortest), 5).as_secs()
        };
        assert_eq!([step(60, 2), step(3_600, 2), step(86_400, 2), step(0, 60)], [2, 15, 300, 60]);
        assert_eq!(
            [step(86_400, 900), step(30 * 86_400, 900), step(365 * 86_400, 900)],
            [900, 10_800, 172_800]
        );
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

    #[test]
    fn a_step_that_is_too_fine_is_told_what_works() {
        let fine = |since| HistoryError::TooFine(TooFine { raw_since_ms: since, step_ms: 900_000 });
        let told = failed(fine(Some(50_000)), range(0, 100_000));
        assert!(
            told.detail().contains("step=15m") && told.detail().contains("from=1970-01-01T00:00:50"),
            "{told:?}"
        );
        assert!(!failed(fine(Some(500_000)), range(0, 100_000)).detail().contains("from="));
    }
}
