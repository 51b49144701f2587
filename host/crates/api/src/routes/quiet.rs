//! The verdict. It only hands out what the tick has decided; the router calls it.

use super::current::{json, live};
use crate::dto::quiet::Quiet;
use crate::error::Problem;
use crate::params::Params;
use crate::shared::{Live, Shared};
use axum::extract::{Request, State};
use axum::response::Response;

/// Whether now is a quiet time, and why
#[utoipa::path(get, path = "/api/system-stats/quiet", tag = "quiet", responses(
    (status = 200, description = "The verdict of the newest tick", body = Quiet),
    (status = 304, description = "The client has it already"),
    (status = "4XX", description = "See `code`", body = Problem, content_type = "application/problem+json"),
    (status = "5XX", description = "See `code`", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn get_quiet(
    State(shared): State<Shared>,
    request: Request,
) -> Result<Response, Box<Problem>> {
    Params::parse(request.uri().query(), &[])?;
    live(&shared, request.headers(), Live::Quiet, |state, etag| json(etag, &Quiet::new(state)))
}
