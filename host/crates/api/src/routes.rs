//! The table of routes, the router made from it, and the OpenAPI document made from the same handlers.

mod addons;
mod aggregates;
mod current;
mod documents;
mod events;
mod health;
mod history;
mod leases;
mod metrics;
mod needs;
mod quiet;
mod scheduler;
mod select;

pub(crate) use needs::{Need, need};

use crate::error::{Code, Problem};
use crate::observe::Observe;
use crate::shared::Shared;
use axum::Router;
use axum::routing::{get, post};
use needs::Tokens;
use utoipa::OpenApi as _;

/// Every path that is counted apart in the api collector; the first stands for all that match none.
pub const ROUTES: &[&str] = &[
    "unmatched",
    "/api/system-stats/current",
    "/api/system-stats/history",
    "/api/system-stats/aggregates",
    "/api/system-stats/health",
    "/api/system-stats/quiet",
    "/api/system-stats/quiet/streaks",
    "/api/system-stats/quiet/intervals",
    "/api/system-stats/history/events",
    "/api/system-stats/debug/collectors",
    "/api/system-stats/addons",
    "/api/addons",
    "/api/addons/{id}",
    "/api/addons/{id}/stats",
    "/api/addons/{id}/metrics",
    "/api/addons/{id}/logs",
    "/api/addons/{id}/enable",
    "/api/addons/{id}/disable",
    "/api/addons/{id}/reload",
    "/api/addons/{id}/jobs/{name}/run",
    "/api/scheduler/lease/request",
    "/api/scheduler/lease/{id}",
    "/api/scheduler/lease/{id}/heartbeat",
    "/api/scheduler/lease/{id}/report",
    "/api/scheduler/lease/{id}/release",
    "/api/scheduler/lease/{id}/revoke",
    "/api/scheduler/status",
    "/api/scheduler/queue",
    "/api/scheduler/holders",
    "/api/scheduler/events",
    "/api/scheduler/override",
    "/api/scheduler/windows",
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
        (name = "addons", description = "Third-party addons: how they are, what they cost, and their switches"),
        (name = "leases", description = "Asking for a quiet time for heavy work, and who has it"),
        (name = "events", description = "What happens, as it happens"),
        (name = "operation", description = "Probes, expositions and documents")
    ),
    paths(
        current::get_current,
        history::get_history,
        aggregates::get_aggregates,
        health::get_health,
        quiet::get_quiet,
        history::get_streaks,
        history::get_intervals,
        history::get_events,
        current::get_collectors,
        addons::get_overview,
        addons::get_addons,
        addons::get_addon,
        addons::get_stats,
        addons::get_metrics,
        addons::get_logs,
        addons::post_enable,
        addons::post_disable,
        addons::post_reload,
        addons::post_run_job,
        leases::post_request,
        leases::get_lease,
        leases::post_heartbeat,
        leases::post_report,
        leases::post_release,
        leases::post_revoke,
        scheduler::get_status,
        scheduler::get_queue,
        scheduler::get_holders,
        scheduler::get_events,
        scheduler::get_override,
        scheduler::put_override,
        scheduler::delete_override,
        scheduler::get_windows,
        scheduler::put_windows,
        events::get_events,
        metrics::get_metrics,
        health::get_livez,
        health::get_readyz,
        documents::get_openapi,
        documents::get_docs,
    ),
    components(schemas(crate::error::Problem, crate::dto::events::EventData<'static>)),
    modifiers(&Tokens)
)]
struct Description;

/// The router with everything around it. Its paths are those of [`ROUTES`] and of the description: one test
/// compares these two, another asks the router for every described path.
pub(crate) fn router(shared: Shared) -> Router {
    Router::new()
        .route("/api/system-stats/current", get(current::get_current))
        .route("/api/system-stats/history", get(history::get_history))
        .route("/api/system-stats/aggregates", get(aggregates::get_aggregates))
        .route("/api/system-stats/health", get(health::get_health))
        .route("/api/system-stats/quiet", get(quiet::get_quiet))
        .route("/api/system-stats/quiet/streaks", get(history::get_streaks))
        .route("/api/system-stats/quiet/intervals", get(history::get_intervals))
        .route("/api/system-stats/history/events", get(history::get_events))
        .route("/api/system-stats/debug/collectors", get(current::get_collectors))
        .route("/api/system-stats/addons", get(addons::get_overview))
        .route("/api/addons", get(addons::get_addons))
        .route("/api/addons/{id}", get(addons::get_addon))
        .route("/api/addons/{id}/stats", get(addons::get_stats))
        .route("/api/addons/{id}/metrics", get(addons::get_metrics))
        .route("/api/addons/{id}/logs", get(addons::get_logs))
        .route("/api/addons/{id}/enable", post(addons::post_enable))
        .route("/api/addons/{id}/disable", post(addons::post_disable))
        .route("/api/addons/{id}/reload", post(addons::post_reload))
        .route("/api/addons/{id}/jobs/{name}/run", post(addons::post_run_job))
        .route("/api/scheduler/lease/request", post(leases::post_request))
        .route("/api/scheduler/lease/{id}", get(leases::get_lease))
        .route("/api/scheduler/lease/{id}/heartbeat", post(leases::post_heartbeat))
        .route("/api/scheduler/lease/{id}/report", post(leases::post_report))
        .route("/api/scheduler/lease/{id}/release", post(leases::post_release))
        .route("/api/scheduler/lease/{id}/revoke", post(leases::post_revoke))
        .route("/api/scheduler/status", get(scheduler::get_status))
        .route("/api/scheduler/queue", get(scheduler::get_queue))
        .route("/api/scheduler/holders", get(scheduler::get_holders))
        .route("/api/scheduler/events", get(scheduler::get_events))
        .route(
            "/api/scheduler/override",
            get(scheduler::get_override).put(scheduler::put_override).delete(scheduler::delete_override),
        )
        .route("/api/scheduler/windows", get(scheduler::get_windows).put(scheduler::put_windows))
        .route("/api/events", get(events::get_events))
        .route("/metrics", get(metrics::get_metrics))
        .route("/livez", get(health::get_livez))
        .route("/readyz", get(health::get_readyz))
        .route("/openapi.json", get(documents::get_openapi))
        .route("/docs", get(documents::get_docs))
        .fallback(|| async { Problem::new(Code::NotFound, "no such path; /docs lists those that there are") })
        .method_not_allowed_fallback(|| async {
            Problem::new(Code::MethodNotAllowed, "this path takes the methods of the Allow header")
        })
        .layer(Observe(shared.clone()))
        .with_state(shared)
}

/// The OpenAPI 3.1 document, as pretty JSON with a final newline: what is checked in and served. Made only by the generator: the
/// daemon serves the file.
#[must_use]
pub fn openapi() -> String {
    // A document built from literals always serialises.
    Description::openapi().to_pretty_json().unwrap_or_default() + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_operation_has_a_name_of_its_own() {
        let document: serde_json::Value = serde_json::from_str(&openapi()).unwrap();
        let mut seen = BTreeSet::new();
        for (path, methods) in document["paths"].as_object().unwrap() {
            for (method, operation) in methods.as_object().unwrap() {
                let name = operation["operationId"].as_str().unwrap().to_owned();
                assert!(seen.insert(name.clone()), "{method} {path}: {name} is taken");
            }
        }
    }

    #[test]
    fn counted_routes_are_the_described_ones() {
        let described: BTreeSet<String> = Description::openapi().paths.paths.into_keys().collect();
        let counted: BTreeSet<String> = ROUTES.iter().skip(1).map(|path| (*path).to_owned()).collect();
        assert_eq!(described, counted);
    }
}
