//! The outermost layer of every request: its id, its bounds, its panics, its place in the api collector's counts. It does not
//! look at what a route does.

use crate::error::{self, Code, Problem};
use crate::routes::ROUTES;
use crate::shared::Shared;
use axum::extract::{MatchedPath, Request, State};
use axum::http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use axum::http::{HeaderName, HeaderValue, Method};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt as _;
use lowtide_collectors::clock;
use lowtide_core::limits;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::Ordering;

static REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Wraps one request.
pub(crate) async fn observe(State(shared): State<Shared>, request: Request, next: Next) -> Response {
    let started = clock::mono();
    let number = shared.requests.fetch_add(1, Ordering::Relaxed) + 1;
    let route = route_of(&request);
    let meter = shared.app.meter();
    let in_flight = meter.begin();
    let response = match refuse(&request) {
        Some(problem) => problem.into_response(),
        None => match AssertUnwindSafe(next.run(request)).catch_unwind().await {
            Ok(response) => response,
            Err(_) => Problem::new(Code::InternalError, "a defect in the daemon stopped this request")
                .into_response(),
        },
    };
    drop(in_flight);
    let status = response.status();
    meter.record(route, status.as_u16(), clock::mono().since(started));
    if status.is_client_error() || status.is_server_error() {
        let request_id = format!("{}-{number}", shared.app.about().run_id);
        if status.as_u16() == 500 {
            tracing::error!(request_id, path = ROUTES.get(route).copied(), "request failed");
        }
        let mut response = error::complete(response, &request_id);
        if let Ok(value) = HeaderValue::try_from(request_id) {
            response.headers_mut().insert(REQUEST_ID.clone(), value);
        }
        return response;
    }
    response
}

/// The bounds that hold on every path. No path takes a body yet, so none is read.
fn refuse(request: &Request) -> Option<Box<Problem>> {
    let length =
        request.headers().get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    if length.is_some_and(|length| length > limits::REQUEST_BODY_BYTES_MAX) {
        let detail = format!("the body is larger than {} bytes", limits::REQUEST_BODY_BYTES_MAX);
        return Some(Problem::new(Code::PayloadTooLarge, detail));
    }
    let body = length.is_some_and(|length| length > 0) || request.headers().contains_key(TRANSFER_ENCODING);
    if body && matches!(*request.method(), Method::GET | Method::HEAD) {
        return Some(Problem::new(Code::UnexpectedBody, "a GET or HEAD request has no body here"));
    }
    if request.uri().query().is_some_and(|query| query.len() > limits::QUERY_STRING_BYTES_MAX) {
        let detail = format!("the query is longer than {} bytes", limits::QUERY_STRING_BYTES_MAX);
        return Some(Problem::new(Code::QueryTooLong, detail));
    }
    None
}

/// The route's place in the table; 0 for what matches none.
fn route_of(request: &Request) -> usize {
    let matched = request.extensions().get::<MatchedPath>().map(MatchedPath::as_str);
    matched.and_then(|path| ROUTES.iter().position(|route| *route == path)).unwrap_or(0)
}
