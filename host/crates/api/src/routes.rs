//! The table of routes, the router made from it, and the OpenAPI document made from the same handlers.

mod aggregates;
mod current;
mod documents;
mod events;
mod health;
mod history;
mod metrics;
mod quiet;
mod select;

use crate::error::{Code, Problem};
use crate::observe;
use crate::shared::Shared;
use axum::Router;
use axum::middleware::from_fn_with_state;
use utoipa::OpenApi as _;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// Every path that is counted apart in the api collector; the first stands for all that match none.
pub const ROUTES: &[&str] = &[
    "unmatched",
    "/api/system-stats/current",
    "/api/system-stats/history",
    "/api/system-stats/aggregates",
    "/api/system-stats/health",
    "/api/system-stats/quiet",
    "/api/system-stats/debug/collectors",
    "/api/events",
    "/metrics",
    "/livez",
    "/readyz",
    "/openapi.json",
    "/docs",
];

#[derive(utoipa::OpenApi)]
#[openapi(
    info(
        title = "Lowtide",
        description = "Measures a machine and says whether now is a quiet time. Times are RFC 3339 in UTC, units are in the \
                       names, errors are problem details (RFC 9457) with a stable `code`.",
        license(name = "MIT OR Apache-2.0")
    ),
    tags(
        (name = "stats", description = "What was measured"),
        (name = "quiet", description = "Whether now is a quiet time"),
        (name = "events", description = "What happens, as it happens"),
        (name = "operation", description = "Probes, expositions and documents")
    ),
    components(schemas(crate::error::Problem, crate::dto::events::EventData<'static>))
)]
struct Description;

fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::with_openapi(Description::openapi())
        .routes(routes!(current::get_current))
        .routes(routes!(history::get_history))
        .routes(routes!(aggregates::get_aggregates))
        .routes(routes!(health::get_health))
        .routes(routes!(quiet::get_quiet))
        .routes(routes!(current::get_collectors))
        .routes(routes!(events::get_events))
        .routes(routes!(metrics::get_metrics))
        .routes(routes!(health::get_livez))
        .routes(routes!(health::get_readyz))
        .routes(routes!(documents::get_openapi))
        .routes(routes!(documents::get_docs))
}

/// The router with everything around it.
pub(crate) fn router(shared: Shared) -> Router {
    let (router, _) = routes().split_for_parts();
    router
        .fallback(|| async { Problem::new(Code::NotFound, "no such path; /docs lists those that there are") })
        .method_not_allowed_fallback(|| async {
            Problem::new(Code::MethodNotAllowed, "this path takes the methods of the Allow header")
        })
        .layer(from_fn_with_state(shared.clone(), observe::observe))
        .with_state(shared)
}

/// The OpenAPI 3.1 document, as pretty JSON with a final newline: what is checked in and served.
#[must_use]
pub fn openapi() -> String {
    let (_, document) = routes().split_for_parts();
    // A document built from literals always serialises.
    document.to_pretty_json().unwrap_or_default() + "\n"
}
