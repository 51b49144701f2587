//! The current snapshot and the collectors behind it.

use crate::document::{Document, JSON};
use crate::dto::collectors::Collectors;
use crate::dto::current::Current;
use crate::error::{Code, Problem};
use crate::params::Params;
use crate::shared::{Live, Shared};
use axum::extract::{Request, State};
use axum::http::HeaderMap;
use axum::response::Response;
use lowtide_core::state::HostState;
use serde::Serialize;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

/// A live document as JSON.
pub(super) fn json(etag: &str, document: &impl Serialize) -> Document {
    // Plain structs always serialise.
    Document::new(JSON, etag, serde_json::to_vec(document).unwrap_or_default())
}

/// The entity tag of an answer that depends on tick and query. The query goes in as a hash: a tag must not hold all that a query
/// may hold.
pub(super) fn query_tag(shared: &Shared, state: &HostState, request: &Request) -> String {
    let mut hasher = DefaultHasher::new();
    request.uri().query().hash(&mut hasher);
    format!("{}-{}-{:016x}", shared.app.about().run_id, state.snapshot.sequence, hasher.finish())
}

/// Serves a document that is made once a tick.
pub(super) fn live(
    shared: &Shared,
    headers: &HeaderMap,
    which: Live,
    make: impl FnOnce(&HostState, &str) -> Document,
) -> Result<Response, Box<Problem>> {
    let tick = shared.fresh_tick()?;
    let document = tick.document(which, make);
    let missing = || Problem::new(Code::InternalError, "the document has no place");
    document.map(|document| document.respond(headers)).ok_or_else(missing)
}

/// Everything measured, as of the newest tick
///
/// Made once a tick and cached; a GET never triggers a collection. With `If-None-Match` a client that already has this
/// tick's gets 304.
#[utoipa::path(get, path = "/api/system-stats/current", tag = "stats", responses(
    (status = 200, description = "The snapshot", body = Current),
    (status = 304, description = "The client has it already"),
    (status = "4XX", description = "See `code`", body = Problem, content_type = "application/problem+json"),
    (status = "5XX", description = "See `code`", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn get_current(
    State(shared): State<Shared>,
    request: Request,
) -> Result<Response, Box<Problem>> {
    Params::parse(request.uri().query(), &[])?;
    live(&shared, request.headers(), Live::Current, |state, etag| {
        json(etag, &Current::new(state, shared.app.about()))
    })
}

/// The health of every collector
#[utoipa::path(get, path = "/api/system-stats/debug/collectors", tag = "operation", responses(
    (status = 200, description = "All collectors", body = Collectors),
    (status = 304, description = "The client has it already"),
    (status = "4XX", description = "See `code`", body = Problem, content_type = "application/problem+json"),
    (status = "5XX", description = "See `code`", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn get_collectors(
    State(shared): State<Shared>,
    request: Request,
) -> Result<Response, Box<Problem>> {
    Params::parse(request.uri().query(), &[])?;
    live(&shared, request.headers(), Live::Collectors, |state, etag| {
        json(etag, &Collectors::new(&state.snapshot))
    })
}
