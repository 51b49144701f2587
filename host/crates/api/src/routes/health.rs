//! Health for people, probes for supervisors.

use super::current::json;
use crate::dto::health::{Health, Status};
use crate::error::Problem;
use crate::params::Params;
use crate::shared::Shared;
use axum::extract::{Request, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse as _, Response};
use lowtide_addons::AddonHost;
use lowtide_clock as clock;

/// Whether the daemon is well, with reasons
///
/// Always 200; `status` is `ok`, `warn` or `error`. Probes that want a status code use /livez and /readyz.
#[utoipa::path(get, path = "/api/system-stats/health", tag = "operation", responses(
    (status = 200, description = "The health of the daemon", body = Health),
    (status = "4XX", description = "See `code`", body = Problem, content_type = "application/problem+json"),
    (status = "5XX", description = "See `code`", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn get_health(
    State(shared): State<Shared>,
    request: Request,
) -> Result<Response, Box<Problem>> {
    Params::parse(request.uri().query(), &[])?;
    let health = health(&shared)?;
    // The age of the tick is in it, so it differs every time it is asked for.
    Ok(json(&format!("{:x}", clock::now().mono.0.as_nanos()), &health).respond(request.headers()))
}

fn health(shared: &Shared) -> Result<Health, Box<Problem>> {
    let state = shared.app.state().ok_or_else(Problem::not_ready)?;
    let host = shared.app.addons();
    let addons = host.map(super::addons::with_complaints).unwrap_or_default();
    let folder = host.and_then(AddonHost::folder_problem);
    Ok(Health::new(&shared.app, &state, clock::now(), &addons, folder.as_ref()))
}

/// Whether the process answers
#[utoipa::path(get, path = "/livez", tag = "operation", responses(
    (status = 200, description = "It does", body = String, content_type = "text/plain"),
    (status = "4XX", description = "See `code`", body = Problem, content_type = "application/problem+json"),
    (status = "5XX", description = "See `code`", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn get_livez(request: Request) -> Result<Response, Box<Problem>> {
    Params::parse(request.uri().query(), &[])?;
    Ok(plain(StatusCode::OK, "ok\n".to_owned()))
}

/// Whether the daemon measures: 503 before the first tick and when ticks have stopped
#[utoipa::path(get, path = "/readyz", tag = "operation", params(
    ("verbose" = Option<bool>, Query, description = "List every check"),
), responses(
    (status = 200, description = "It does", body = String, content_type = "text/plain"),
    (status = "4XX", description = "See `code`", body = Problem, content_type = "application/problem+json"),
    (status = 503, description = "Not yet, or not any more", content(
        (String = "text/plain"),
        (Problem = "application/problem+json"),
    )),
))]
pub(super) async fn get_readyz(
    State(shared): State<Shared>,
    request: Request,
) -> Result<Response, Box<Problem>> {
    let verbose = Params::parse(request.uri().query(), &["verbose"])?.flag("verbose")?;
    let health = health(&shared)?;
    let ready = health.status < Status::Error;
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let text = match (verbose, ready) {
        (true, _) => health.lines(),
        (false, true) => "ok\n".to_owned(),
        (false, false) => "not ready\n".to_owned(),
    };
    Ok(plain(status, text))
}

fn plain(status: StatusCode, text: String) -> Response {
    let headers = [
        (CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8")),
        (CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    (status, headers, text).into_response()
}
