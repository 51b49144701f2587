//! Rows of the past: quiet intervals, what they add up to, and events.

use super::super::addons::hashed;
use super::failed;
use crate::dto::streaks::{HistoryEvents, QuietIntervals, QuietStreaks};
use crate::error::{Code, Problem};
use crate::params::{Params, RANGE, duration};
use crate::shared::Shared;
use axum::extract::{Request, State};
use axum::response::Response;
use lowtide_app::{EventKind, EventsAsked, History, HistoryError, QuietRow};
use lowtide_core::limits;
use lowtide_core::units::WallTime;
use lowtide_core::window::TimeRange;
use std::time::Duration;

/// Quiet times that one answer about streaks looks at: a year of them.
const STREAK_ROWS_MAX: usize = 20_000;

fn history(shared: &Shared) -> Result<History, Box<Problem>> {
    let off = || Problem::new(Code::HistoryOff, "this daemon keeps no history on disk");
    shared.app.history().cloned().ok_or_else(off)
}

/// Reads on a thread that may block.
async fn read<T: Send + 'static>(
    read: impl FnOnce() -> Result<T, HistoryError> + Send + 'static,
) -> Result<T, Box<Problem>> {
    let result = tokio::task::spawn_blocking(read).await;
    let result = result.map_err(|_| Problem::new(Code::InternalError, "reading history failed"))?;
    result.map_err(|error| failed(error, TimeRange { from: WallTime(0), to: WallTime(0) }))
}

/// The rows that touch a range, with the one that goes on in its newest form: it is written once a minute.
fn quiet_rows(
    history: &History,
    range: TimeRange,
    after_ms: Option<i64>,
    limit: usize,
) -> Result<Vec<QuietRow>, HistoryError> {
    let (from_ms, to_ms) = (range.from.unix_ms(), range.to.unix_ms());
    let mut rows = history.read(|reader| reader.quiet((from_ms, to_ms), after_ms, limit))?;
    if let Some(now) = history.quiet_now() {
        rows.retain(|row| row.from_ms != now.from_ms);
        let inside = now.to_ms >= from_ms && now.from_ms <= to_ms;
        if inside && rows.len() < limit && after_ms.is_none_or(|after| now.from_ms > after) {
            rows.push(now);
        }
    }
    Ok(rows)
}

/// Quiet streaks: the longest, the total, and each day's
///
/// From the stored quiet intervals. Days are those of the daemon's time zone; an interval over midnight counts for both.
#[utoipa::path(get, path = "/api/system-stats/quiet/streaks", tag = "quiet", params(
    ("range" = Option<String>, Query, description = "How far back: 24h, 7d, up to 400d. Default 24h", example = "7d"),
), responses(
    (status = 200, description = "The streaks", body = QuietStreaks),
    (status = 304, description = "The client has it already"),
    (status = "4XX", description = "See `code`", body = Problem, content_type = "application/problem+json"),
    (status = "5XX", description = "See `code`", body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn get_streaks(
    State(shared): State<Shared>,
    request: Request,
) -> Result<Response, Box<Problem>> {
    const LONGEST: Duration = Duration::from_secs(400 * 86_400);
    let history = history(&shared)?;
    let params = Params::parse(request.uri().query(), &["range"])?;
    let length =
        params.get("range").map_or(Ok(Duration::from_secs(86_400)), |text| duration("range", text, "24h"))?;
    if length > LONGEST {
        return Err(Problem::parameter("range", "must be at most 400d", "7d"));
    }
    let state = shared.app.state().ok_or_else(Problem::not_ready)?;
    let to = state.snapshot.at.wall;
    let range = TimeRange { from: to.minus(length), to };
    let rows = read(move || quiet_rows(&history, range, None, STREAK_ROWS_MAX)).await?;
    Ok(hashed(&QuietStreaks::new(range, &rows)).respond(request.headers()))
}

/// Quiet intervals, oldest first
#[utoipa::path(get, path = "/api/system-stats/quiet/intervals", tag = "quiet", params(
    ("range" = Option<String>, Query, description = "How far back from `to`. Default 24h", example = "7d"),
    ("from" = Option<String>, Query, description = "Start, RFC 3339 or Unix seconds, instead of `range`"),
    ("to" = Option<String>, Query, description = "End, RFC 3339 or Unix seconds. Default now"),
    ("after" = Option<i64>, Query, description = "`next` of the page before"),
    ("limit" = Option<usize>, Query, description = "Intervals in the answer, 1 to 1000. Default 100"),
), responses(
    (status = 200, description = "The intervals that touch the range", body = QuietIntervals),
    (status = 304, description = "The client has it already"),
    (status = "4XX", description = "See `code`", body = Problem, content_type = "application/problem+json"),
    (status = "5XX", description = "See `code`", body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn get_intervals(
    State(shared): State<Shared>,
    request: Request,
) -> Result<Response, Box<Problem>> {
    let history = history(&shared)?;
    let known = [RANGE.as_slice(), ["after", "limit"].as_slice()].concat();
    let params = Params::parse(request.uri().query(), &known)?;
    let state = shared.app.state().ok_or_else(Problem::not_ready)?;
    let range = params.range_of(state.snapshot.at.wall, Duration::from_secs(86_400))?;
    let after = number(&params, "after")?;
    let limit = limit(&params)?;
    let rows = read(move || quiet_rows(&history, range, after, limit + 1)).await?;
    Ok(hashed(&QuietIntervals::new(&rows, limit)).respond(request.headers()))
}

/// What happened: changes of state, of collectors and addons, leases, reports of addons
///
/// The data of each are those of the event stream. Newest first; with `after`, oldest first from there.
#[utoipa::path(get, path = "/api/system-stats/history/events", operation_id = "get_history_events", tag = "events", params(
    ("kind" = Option<String>, Query, description = "Only this kind: state, collector, reload, addon, addon_event, lease", example = "state"),
    ("subject" = Option<String>, Query, description = "Only about this collector, addon, or holder of a lease", example = "cpu"),
    ("from" = Option<String>, Query, description = "Start, RFC 3339 or Unix seconds"),
    ("to" = Option<String>, Query, description = "End, RFC 3339 or Unix seconds"),
    ("before" = Option<i64>, Query, description = "Only events before this number: `next` of the page before"),
    ("after" = Option<i64>, Query, description = "Only events after this number, oldest first: `next` of the page before"),
    ("limit" = Option<usize>, Query, description = "Events in the answer, 1 to 1000. Default 100"),
), responses(
    (status = 200, description = "The events", body = HistoryEvents),
    (status = 304, description = "The client has it already"),
    (status = "4XX", description = "See `code`", body = Problem, content_type = "application/problem+json"),
    (status = "5XX", description = "See `code`", body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn get_events(
    State(shared): State<Shared>,
    request: Request,
) -> Result<Response, Box<Problem>> {
    let history = history(&shared)?;
    let known = ["kind", "subject", "from", "to", "before", "after", "limit"];
    let params = Params::parse(request.uri().query(), &known)?;
    let kinds: Vec<&str> = EventKind::NAMES.into_iter().filter(|name| *name != "tick").collect();
    if let Some(kind) = params.get("kind")
        && !kinds.contains(&kind)
    {
        return Err(Problem::parameter("kind", format!("must be one of {}", kinds.join(", ")), "state"));
    }
    let (before, after) = (number(&params, "before")?, number(&params, "after")?);
    if before.is_some() && after.is_some() {
        return Err(Problem::parameter("before", "cannot go together with after", "100"));
    }
    let limit = limit(&params)?;
    let asked = EventsAsked {
        after,
        before,
        from_ms: params.time("from")?.map(WallTime::unix_ms),
        to_ms: params.time("to")?.map(WallTime::unix_ms),
        kind: params.get("kind").map(str::to_owned),
        subject: params.get("subject").map(str::to_owned),
        limit: limit + 1,
    };
    let rows = read(move || history.read(|reader| reader.events(&asked))).await?;
    Ok(hashed(&HistoryEvents::new(rows, limit)).respond(request.headers()))
}

fn limit(params: &Params) -> Result<usize, Box<Problem>> {
    let limit = params.whole("limit", 1..=limits::HISTORY_ROWS_MAX as u64)?.unwrap_or(100);
    Ok(usize::try_from(limit).unwrap_or(limits::HISTORY_ROWS_MAX))
}

fn number(params: &Params, key: &str) -> Result<Option<i64>, Box<Problem>> {
    let number = params.whole(key, 0..=i64::MAX.unsigned_abs())?;
    Ok(number.map(|number| i64::try_from(number).unwrap_or(i64::MAX)))
}
