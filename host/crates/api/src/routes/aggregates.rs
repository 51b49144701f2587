//! Aggregates over the last hour or a part of it.

use super::current::{json, query_tag};
use super::select;
use crate::dto::aggregates::{Aggregates, SeriesAggregate};
use crate::error::{Code, Problem};
use crate::params::{Params, RANGE, SELECTOR};
use crate::shared::Shared;
use axum::extract::{Request, State};
use axum::response::Response;
use lowtide_core::limits;
use lowtide_core::window::{Scratch, Selector, TimeRange};

/// Current value, average, minimum, maximum and 95th percentile of series over a part of the last hour
///
/// For counters and histograms the aggregates are of the increase per second between samples.
#[utoipa::path(get, path = "/api/system-stats/aggregates", tag = "stats", params(
    ("group" = Option<String>, Query, description = "Only series of this group: host, process, api, quiet, collectors, tick, addons (what they cost), addon.<id> (an addon's own)", example = "host"),
    ("metric" = Option<String>, Query, description = "Only these metrics: full names, comma-separated or repeated", example = "host_cpu_usage_ratio"),
    ("labels" = Option<String>, Query, description = "Only series with these labels: key=value, comma-separated", example = "device=sda"),
    ("range" = Option<String>, Query, description = "How far back from `to`: 90s, 15m, 1h. Default 1h", example = "15m"),
    ("from" = Option<String>, Query, description = "Start, RFC 3339 or Unix seconds, instead of `range`"),
    ("to" = Option<String>, Query, description = "End, RFC 3339 or Unix seconds. Default now"),
), responses(
    (status = 200, description = "The aggregates", body = Aggregates),
    (status = 304, description = "The client has it already"),
    (status = "4XX", description = "See `code`", body = Problem, content_type = "application/problem+json"),
    (status = "5XX", description = "See `code`", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn get_aggregates(
    State(shared): State<Shared>,
    request: Request,
) -> Result<Response, Box<Problem>> {
    let known = [SELECTOR.as_slice(), RANGE.as_slice()].concat();
    let params = Params::parse(request.uri().query(), &known)?;
    let selector = params.selector()?;
    let state = shared.app.state().ok_or_else(Problem::not_ready)?;
    // Up to the newest tick: within one tick the answer stays the same, and so does its entity tag.
    let range = params.range(shared.app.shown_at(&state))?;
    select::check(&selector, &state)?;
    let series = aggregate(&shared, &selector, range)?;
    let etag = query_tag(&shared, &state, &request);
    Ok(json(&etag, &Aggregates::new(range, series)).respond(request.headers()))
}

/// The aggregates of what a selector matches.
pub(super) fn aggregate(
    shared: &Shared,
    selector: &Selector,
    range: TimeRange,
) -> Result<Vec<SeriesAggregate>, Box<Problem>> {
    shared.app.with_window(|window| {
        let views = window.select(selector);
        if views.len() > limits::QUERY_SERIES_MAX {
            let detail = format!("{} series match, at most {} fit", views.len(), limits::QUERY_SERIES_MAX);
            return Err(Problem::new(Code::TooManyValues, detail));
        }
        let mut scratch = Scratch::default();
        Ok(views
            .iter()
            .filter_map(|view| Some(SeriesAggregate::new(view, &view.aggregate(range, &mut scratch)?, range)))
            .collect())
    })
}
