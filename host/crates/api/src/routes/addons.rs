//! Addons: how they are, what they cost, their logs and documents, and the switches that act on them.

use super::aggregates::aggregate;
use super::current::{json, live, query_tag};
use crate::acting::may_act;
use crate::document::{Document, JSON};
use crate::dto::addons::{AddonDetail, AddonList, AddonLog, AddonMetrics, AddonSummary, AddonsOverview};
use crate::error::{Code, Problem};
use crate::params::{Params, RANGE};
use crate::shared::{Live, Shared};
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::http::header::{LAST_MODIFIED, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderMap, HeaderValue};
use axum::response::Response;
use lowtide_addons::caps::log::{Level, LogLine};
use lowtide_addons::limits::{ADDONS_MAX, LOG_LINES_KEPT};
use lowtide_addons::{AddonHost, AddonState, AddonView, AskError};
use lowtide_clock as clock;
use lowtide_core::report::ADDON_GROUP;
use lowtide_core::window::Selector;
use serde::Serialize;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;
use std::time::Duration;

/// Log lines in one answer unless more are asked for: two screens.
const LOG_LINES_DEFAULT: usize = 100;

/// What a client waits for a document that an addon has not made yet: it is asked right after its start.
const NO_STATS_YET_SECONDS: u64 = 2;

/// The path's name of an addon.
type Name = Result<Path<String>, PathRejection>;

/// What was asked for cannot be done, and why.
fn refused(error: AskError) -> Box<Problem> {
    let text = error.to_string();
    match error {
        AskError::Unknown(_) => Problem::new(Code::NoSuchAddon, text),
        AskError::UnknownJob { .. } => Problem::new(Code::NoSuchJob, text),
        AskError::JobCannotRun(_) => Problem::new(Code::JobCannotRun, text),
        AskError::Configured(_) => Problem::new(Code::AddonConfiguredOff, text),
        AskError::Disk(_) => Problem::new(Code::CannotRemember, text),
        AskError::Stopping => Problem::new(Code::Stopping, text).retry_after(5),
    }
}

/// The decoded name. What is not text names no addon.
fn named(name: Name) -> Result<String, Box<Problem>> {
    name.map(|Path(name)| name)
        .map_err(|_| Problem::new(Code::NoSuchAddon, "the name in the path is not percent-encoded UTF-8"))
}

/// A document whose tag follows from its bytes: it says how things are now, not at a tick.
pub(super) fn hashed(document: &impl Serialize) -> Document {
    // Plain structs always serialise.
    let bytes = serde_json::to_vec(document).unwrap_or_default();
    let tag = tag(&bytes);
    Document::new(JSON, &tag, bytes)
}

fn tag(bytes: &[u8]) -> String {
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}

fn uptime(shared: &Shared) -> Duration {
    clock::mono().since(shared.app.about().started.mono)
}

/// Every addon, and what is wrong with its own document.
pub(super) fn with_complaints(host: &AddonHost) -> Vec<(AddonView, Option<String>)> {
    let complaint = |view: &AddonView| {
        let problem = makes_stats(view).then(|| host.stats(&view.name).ok()?.err()).flatten();
        problem.map(|problem| problem.text)
    };
    let views = host.list().into_iter();
    views.map(|view| (complaint(&view), view)).map(|(complaint, view)| (view, complaint)).collect()
}

fn makes_stats(view: &AddonView) -> bool {
    view.exports.contains(&"custom-stats")
}

/// All addons, with a summary
///
/// By id, in pages. Files in the addons folder that cannot be an addon are among them, with the reason.
#[utoipa::path(get, path = "/api/addons", tag = "addons", params(
    ("limit" = Option<usize>, Query, description = "Addons in the answer, at most and by default 2000"),
    ("after" = Option<String>, Query, description = "Only addons after this one: `next` of the page before"),
), responses(
    (status = 200, description = "The addons", body = AddonList),
    (status = 304, description = "The client has it already"),
    (status = "4XX", description = "See `code`", body = Problem, content_type = "application/problem+json"),
    (status = "5XX", description = "See `code`", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn get_addons(
    State(shared): State<Shared>,
    request: Request,
) -> Result<Response, Box<Problem>> {
    let params = Params::parse(request.uri().query(), &["limit", "after"])?;
    let limit = params.whole("limit", 1..=ADDONS_MAX as u64)?.unwrap_or(ADDONS_MAX as u64);
    let after = params.get("after");
    let host = shared.addons()?;
    let (views, folder) = (host.list(), host.folder_problem());
    let summary = AddonSummary::new(&views, uptime(&shared));
    let mut following = views.iter().filter(|view| after.is_none_or(|after| view.name.as_str() > after));
    let page: Vec<&AddonView> =
        following.by_ref().take(usize::try_from(limit).unwrap_or(ADDONS_MAX)).collect();
    let next = page.last().filter(|_| following.next().is_some()).map(|last| last.name.clone());
    Ok(hashed(&AddonList::new(summary, folder.as_ref(), &page, next)).respond(request.headers()))
}

/// Everything about one addon
///
/// Also about a file in the addons folder that cannot be one, by its name.
#[utoipa::path(get, path = "/api/addons/{id}", tag = "addons", params(
    ("id" = String, Path, description = "Id of the addon, or name of the file"),
), responses(
    (status = 200, description = "The addon", body = AddonDetail),
    (status = 304, description = "The client has it already"),
    (status = "4XX", description = "See `code`", body = Problem, content_type = "application/problem+json"),
    (status = "5XX", description = "See `code`", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn get_addon(
    State(shared): State<Shared>,
    name: Name,
    request: Request,
) -> Result<Response, Box<Problem>> {
    Params::parse(request.uri().query(), &[])?;
    let view = shared.addons()?.view(&named(name)?).map_err(refused)?;
    Ok(hashed(&AddonDetail::new(view)).respond(request.headers()))
}

/// An addon's own document, as the addon wrote it
///
/// The addon is asked from time to time, not by this request; `Last-Modified` says when it made this one.
#[utoipa::path(get, path = "/api/addons/{id}/stats", tag = "addons", params(
    ("id" = String, Path, description = "Id of the addon"),
), responses(
    (status = 200, description = "The document; its fields are the addon's", body = HashMap<String, Object>, content_type = "application/json"),
    (status = 304, description = "The client has it already"),
    (status = "4XX", description = "See `code`", body = Problem, content_type = "application/problem+json"),
    (status = "5XX", description = "See `code`", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn get_stats(
    State(shared): State<Shared>,
    name: Name,
    request: Request,
) -> Result<Response, Box<Problem>> {
    Params::parse(request.uri().query(), &[])?;
    let host = shared.addons()?;
    let view = host.view(&named(name)?).map_err(refused)?;
    if !makes_stats(&view) {
        return Err(Problem::new(Code::NoStats, "this addon does not export `custom-stats`"));
    }
    let stats = match host.stats(&view.name).map_err(refused)? {
        Ok(Some(stats)) => stats,
        Ok(None) if matches!(view.state, AddonState::Disabled | AddonState::Refused) => {
            return Err(Problem::new(Code::NoStats, format!("this addon is {}", view.state.name())));
        }
        Ok(None) => {
            let problem = Problem::new(Code::NoStats, "this addon has not made its document yet");
            return Err(problem.retry_after(NO_STATS_YET_SECONDS));
        }
        Err(failed) => {
            let problem = Problem::new(Code::StatsFailed, failed.text);
            return Err(problem.retry_after(lowtide_addons::limits::STATS_INTERVAL.as_secs()));
        }
    };
    let tag = tag(stats.json.as_bytes());
    let mut response = Document::new(JSON, &tag, stats.json).respond(request.headers());
    let headers = response.headers_mut();
    // What a stranger wrote must never be taken for a page.
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if let Some(at) = http_date(stats.at.unix_ms()) {
        headers.insert(LAST_MODIFIED, at);
    }
    Ok(response)
}

/// A time as HTTP headers have it (RFC 9110, 5.6.7).
fn http_date(unix_ms: i64) -> Option<HeaderValue> {
    let at = jiff::Timestamp::from_millisecond(unix_ms).ok()?;
    let text = jiff::fmt::rfc2822::DateTimePrinter::new().timestamp_to_rfc9110_string(&at).ok()?;
    HeaderValue::try_from(text).ok()
}

/// What an addon cost and did, and its own metrics, over the last hour or a part of it
///
/// Current value, average, minimum, maximum and 95th percentile, as /api/system-stats/aggregates has them.
#[utoipa::path(get, path = "/api/addons/{id}/metrics", operation_id = "get_addon_metrics", tag = "addons", params(
    ("id" = String, Path, description = "Id of the addon"),
    ("range" = Option<String>, Query, description = "How far back from `to`: 90s, 15m, 1h. Default 1h", example = "15m"),
    ("from" = Option<String>, Query, description = "Start, RFC 3339 or Unix seconds, instead of `range`"),
    ("to" = Option<String>, Query, description = "End, RFC 3339 or Unix seconds. Default now"),
), responses(
    (status = 200, description = "The aggregates", body = AddonMetrics),
    (status = 304, description = "The client has it already"),
    (status = "4XX", description = "See `code`", body = Problem, content_type = "application/problem+json"),
    (status = "5XX", description = "See `code`", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn get_metrics(
    State(shared): State<Shared>,
    name: Name,
    request: Request,
) -> Result<Response, Box<Problem>> {
    let params = Params::parse(request.uri().query(), &RANGE)?;
    let view = shared.addons()?.view(&named(name)?).map_err(refused)?;
    let state = shared.app.state().ok_or_else(Problem::not_ready)?;
    // Up to the newest tick: within one tick the answer stays the same, and so does its entity tag.
    let range = params.range(shared.app.shown_at(&state))?;
    let usage = Selector {
        group: Some("addons".to_owned()),
        labels: vec![("addon".to_owned(), view.name.clone())],
        ..Selector::default()
    };
    let own = Selector { group: Some(format!("{ADDON_GROUP}{}", view.name)), ..Selector::default() };
    let (usage, own) = (aggregate(&shared, &usage, range)?, aggregate(&shared, &own, range)?);
    // State and version are those of now, so they are part of the tag.
    let now = tag(format!("{} {} {:?}", view.name, view.state.name(), view.version).as_bytes());
    let etag = format!("{}-{now}", query_tag(&shared, &state, &request));
    Ok(json(&etag, &AddonMetrics::new(view, range, usage, own)).respond(request.headers()))
}

/// Lines of an addon's log
///
/// Without `since` the newest; with it those that follow, so that a reader can go on with `next`.
#[utoipa::path(get, path = "/api/addons/{id}/logs", tag = "addons", params(
    ("id" = String, Path, description = "Id of the addon"),
    ("since" = Option<u64>, Query, description = "Only lines after this number: `next` of the answer before; 0 for the oldest that are kept"),
    ("limit" = Option<usize>, Query, description = "Lines in the answer, 1 to 500. Default 100"),
    ("level" = Option<String>, Query, description = "Only lines that matter at least so much: debug, info, warn, error. Default debug", example = "warn"),
), responses(
    (status = 200, description = "The lines", body = AddonLog),
    (status = 304, description = "The client has it already"),
    (status = "4XX", description = "See `code`", body = Problem, content_type = "application/problem+json"),
    (status = "5XX", description = "See `code`", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn get_logs(
    State(shared): State<Shared>,
    name: Name,
    request: Request,
) -> Result<Response, Box<Problem>> {
    let params = Params::parse(request.uri().query(), &["since", "limit", "level"])?;
    let since = params.whole("since", 0..=u64::MAX)?;
    let limit = params.whole("limit", 1..=LOG_LINES_KEPT as u64)?;
    let limit = limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(LOG_LINES_DEFAULT);
    let level = level(&params)?;
    let host = shared.addons()?;
    let view = host.view(&named(name)?).map_err(refused)?;
    // A reader may stand behind the newest line: the addon was removed and came again, or the daemon did. It begins anew.
    let since = since.map(|since| if since > view.log_lines { 0 } else { since });
    // A file that cannot be an addon has no log.
    let (missed, lines) = match since {
        Some(since) => host.log(&view.name, since, LOG_LINES_KEPT).unwrap_or_default(),
        None => (0, host.newest_log(&view.name, LOG_LINES_KEPT).unwrap_or_default()),
    };
    let (lines, next) = choose(&lines, since, limit, level);
    Ok(hashed(&AddonLog::new(&lines, missed, next)).respond(request.headers()))
}

/// The lines of this level or above, at most `limit`: the first ones of a reader that goes on, the last ones otherwise; and where it
/// goes on.
fn choose(
    lines: &[Arc<LogLine>],
    since: Option<u64>,
    limit: usize,
    level: Level,
) -> (Vec<Arc<LogLine>>, u64) {
    let mut wanted: Vec<Arc<LogLine>> = lines.iter().filter(|line| line.level >= level).cloned().collect();
    let looked_at = lines.last().map_or(since.unwrap_or(0), |line| line.number);
    if since.is_none() {
        wanted.drain(..wanted.len().saturating_sub(limit));
        return (wanted, looked_at);
    }
    let more = wanted.len() > limit;
    wanted.truncate(limit);
    let next = wanted.last().filter(|_| more).map_or(looked_at, |line| line.number);
    (wanted, next)
}

fn level(params: &Params) -> Result<Level, Box<Problem>> {
    let levels = [Level::Debug, Level::Info, Level::Warn, Level::Error];
    let Some(text) = params.get("level") else { return Ok(Level::Debug) };
    let found = levels.into_iter().find(|level| level.name() == text);
    found.ok_or_else(|| Problem::parameter("level", "must be debug, info, warn or error", "warn"))
}

/// Stats of all addons in one document, for dashboards
///
/// Made once a tick and cached.
#[utoipa::path(get, path = "/api/system-stats/addons", tag = "stats", responses(
    (status = 200, description = "All addons", body = AddonsOverview),
    (status = 304, description = "The client has it already"),
    (status = "4XX", description = "See `code`", body = Problem, content_type = "application/problem+json"),
    (status = "5XX", description = "See `code`", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn get_overview(
    State(shared): State<Shared>,
    request: Request,
) -> Result<Response, Box<Problem>> {
    Params::parse(request.uri().query(), &[])?;
    let host = shared.addons()?;
    live(&shared, request.headers(), Live::Addons, |state, etag| {
        json(etag, &AddonsOverview::new(state, &host.list(), uptime(&shared), ADDONS_MAX))
    })
}

/// Switches an addon on, also across restarts of the daemon
///
/// Answers when it was taken over; the addon is loaded after that, which `state` tells. Switching on what is on starts it anew.
#[utoipa::path(post, path = "/api/addons/{id}/enable", tag = "addons", params(
    ("id" = String, Path, description = "Id of the addon"),
), responses(
    (status = 200, description = "The addon as it is now", body = AddonDetail),
    (status = "4XX", description = "See `code`", body = Problem, content_type = "application/problem+json"),
    (status = "5XX", description = "See `code`", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn post_enable(
    State(shared): State<Shared>,
    name: Name,
    request: Request,
) -> Result<Response, Box<Problem>> {
    may_act(&request)?;
    let view = shared.addons()?.set_enabled(&named(name)?, true).await.map_err(refused)?;
    Ok(hashed(&AddonDetail::new(view)).respond(&HeaderMap::new()))
}

/// Switches an addon off, also across restarts of the daemon
///
/// Answers when the addon has ended: it may finish the call that it is in.
#[utoipa::path(post, path = "/api/addons/{id}/disable", tag = "addons", params(
    ("id" = String, Path, description = "Id of the addon"),
), responses(
    (status = 200, description = "The addon as it is now", body = AddonDetail),
    (status = "4XX", description = "See `code`", body = Problem, content_type = "application/problem+json"),
    (status = "5XX", description = "See `code`", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn post_disable(
    State(shared): State<Shared>,
    name: Name,
    request: Request,
) -> Result<Response, Box<Problem>> {
    may_act(&request)?;
    let view = shared.addons()?.set_enabled(&named(name)?, false).await.map_err(refused)?;
    Ok(hashed(&AddonDetail::new(view)).respond(&HeaderMap::new()))
}

/// Reads an addon's files again and starts it anew, also out of quarantine
///
/// Answers when it was taken over; the addon is loaded after that, which `state` tells.
#[utoipa::path(post, path = "/api/addons/{id}/reload", tag = "addons", params(
    ("id" = String, Path, description = "Id of the addon"),
), responses(
    (status = 200, description = "The addon as it is now", body = AddonDetail),
    (status = "4XX", description = "See `code`", body = Problem, content_type = "application/problem+json"),
    (status = "5XX", description = "See `code`", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn post_reload(
    State(shared): State<Shared>,
    name: Name,
    request: Request,
) -> Result<Response, Box<Problem>> {
    may_act(&request)?;
    let view = shared.addons()?.reload(&named(name)?).await.map_err(refused)?;
    Ok(hashed(&AddonDetail::new(view)).respond(&HeaderMap::new()))
}

/// Wants a job of an addon to run now
///
/// Its lease is asked for at once, whenever the job would be due; it runs when the lease is granted, which `jobs` tells. A job that waits or
/// runs already goes on.
#[utoipa::path(post, path = "/api/addons/{id}/jobs/{name}/run", tag = "addons", params(
    ("id" = String, Path, description = "Id of the addon"),
    ("name" = String, Path, description = "Name of the job"),
), responses(
    (status = 200, description = "The addon as it is now", body = AddonDetail),
    (status = "4XX", description = "See `code`", body = Problem, content_type = "application/problem+json"),
    (status = "5XX", description = "See `code`", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn post_run_job(
    State(shared): State<Shared>,
    names: Result<Path<(String, String)>, PathRejection>,
    request: Request,
) -> Result<Response, Box<Problem>> {
    may_act(&request)?;
    let Ok(Path((addon, job))) = names else {
        return Err(Problem::new(Code::NoSuchAddon, "a name in the path is not percent-encoded UTF-8"));
    };
    let view = shared.addons()?.run_job(&addon, &job).map_err(refused)?;
    Ok(hashed(&AddonDetail::new(view)).respond(&HeaderMap::new()))
}

#[cfg(test)]
mod tests;
