//! The scheduler as a whole: what is held and waits, who asked, the audit log, and the operator's switch and windows.

use super::addons::hashed;
use super::leases::{failed, leases};
use crate::acting::{body, may_act};
use crate::dto::leases::events::LeaseEvents;
use crate::dto::leases::input::{LeaseOverrideInput, LeaseWindowsInput};
use crate::dto::leases::{
    LeaseHolders, LeaseOverride, LeaseOverrideState, LeaseQueue, LeaseQuiet, LeaseStatus, LeaseWindows,
};
use crate::error::{Code, Problem};
use crate::params::Params;
use crate::shared::Shared;
use axum::extract::{Request, State};
use axum::http::HeaderMap;
use axum::response::Response;
use lowtide_clock as clock;
use lowtide_core::lease::{Input, LeaseId, LeaseName};
use lowtide_core::limits::LEASE_PAGE_MAX;

/// Leases in one answer unless more are asked for.
const LEASES_DEFAULT: usize = 100;

fn limit(params: &Params) -> Result<usize, Box<Problem>> {
    let limit = params.whole("limit", 1..=LEASE_PAGE_MAX as u64)?;
    Ok(limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(LEASES_DEFAULT))
}

/// Everything about leases at a glance
#[utoipa::path(get, path = "/api/scheduler/status", tag = "leases", params(
    ("limit" = Option<usize>, Query, description = "Leases and waiting requests in the answer, 1 to 1000. Default 100"),
), responses(
    (status = 200, description = "The status", body = LeaseStatus),
    (status = 304, description = "The client has it already"),
    (status = "4XX", description = "See `code`", body = Problem, content_type = "application/problem+json"),
    (status = "5XX", description = "See `code`", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn get_status(
    State(shared): State<Shared>,
    request: Request,
) -> Result<Response, Box<Problem>> {
    let leases = leases(&shared)?;
    let params = Params::parse(request.uri().query(), &["limit"])?;
    let limit = limit(&params)?;
    let quiet = shared.fresh_tick().ok();
    let quiet = quiet.map(|tick| LeaseQuiet::new(tick.state.snapshot.sequence, &tick.state.quiet));
    let problem = leases.trouble().map(|(text, _)| text);
    let status = leases.look(|scheduler, now| LeaseStatus::new(scheduler, now, quiet, problem, limit));
    Ok(hashed(&status.await.map_err(failed)?).respond(request.headers()))
}

/// Who waits, in the order in which they are served
#[utoipa::path(get, path = "/api/scheduler/queue", tag = "leases", params(
    ("limit" = Option<usize>, Query, description = "Requests in the answer, 1 to 1000. Default 100"),
    ("after" = Option<String>, Query, description = "Only requests after this one: `next` of the page before"),
), responses(
    (status = 200, description = "The queue", body = LeaseQueue),
    (status = 304, description = "The client has it already"),
    (status = "4XX", description = "See `code`", body = Problem, content_type = "application/problem+json"),
    (status = "5XX", description = "See `code`", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn get_queue(
    State(shared): State<Shared>,
    request: Request,
) -> Result<Response, Box<Problem>> {
    let leases = leases(&shared)?;
    let params = Params::parse(request.uri().query(), &["limit", "after"])?;
    let limit = limit(&params)?;
    let after = params.get("after").map(|text| {
        LeaseName::parse(text)
            .ok_or_else(|| Problem::parameter("after", "must be the id of a lease", "17-9f86d081884c7d65"))
    });
    let after = after.transpose()?;
    let queue = leases.look(|scheduler, now| {
        // One that was granted meanwhile no longer has a place: its page begins anew.
        let place =
            after.and_then(|name| scheduler.ledger().get(name.id)).filter(|entry| entry.lease.is_queued());
        let place = place.map(lowtide_core::lease::Entry::place);
        LeaseQueue::new(scheduler, now, limit, place)
    });
    Ok(hashed(&queue.await.map_err(failed)?).respond(request.headers()))
}

/// Who asked since the daemon's start, or holds or waits
#[utoipa::path(get, path = "/api/scheduler/holders", tag = "leases", responses(
    (status = 200, description = "The holders", body = LeaseHolders),
    (status = 304, description = "The client has it already"),
    (status = "4XX", description = "See `code`", body = Problem, content_type = "application/problem+json"),
    (status = "5XX", description = "See `code`", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn get_holders(
    State(shared): State<Shared>,
    request: Request,
) -> Result<Response, Box<Problem>> {
    let leases = leases(&shared)?;
    Params::parse(request.uri().query(), &[])?;
    let holders = leases.look(|scheduler, now| LeaseHolders::new(scheduler, now));
    Ok(hashed(&holders.await.map_err(failed)?).respond(request.headers()))
}

/// The audit log: every change of every lease, numbered without gaps
///
/// Oldest first from `after`; without it, the newest page.
#[utoipa::path(get, path = "/api/scheduler/events", operation_id = "get_lease_events", tag = "leases", params(
    ("after" = Option<u64>, Query, description = "Only events after this number: `next` of the page before; 0 for the oldest that are kept"),
    ("limit" = Option<usize>, Query, description = "Events in the answer, 1 to 1000. Default 100"),
    ("lease" = Option<String>, Query, description = "Only events of this lease: its id, or its number"),
), responses(
    (status = 200, description = "The events", body = LeaseEvents),
    (status = 304, description = "The client has it already"),
    (status = "4XX", description = "See `code`", body = Problem, content_type = "application/problem+json"),
    (status = "5XX", description = "See `code`", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn get_events(
    State(shared): State<Shared>,
    request: Request,
) -> Result<Response, Box<Problem>> {
    let leases = leases(&shared)?.clone();
    let params = Params::parse(request.uri().query(), &["after", "limit", "lease"])?;
    let limit = limit(&params)?;
    let after = params.whole("after", 0..=u64::MAX)?;
    let lease = params.get("lease").map(|text| {
        let id = LeaseName::parse(text).map(|name| name.id).or_else(|| text.parse().ok().map(LeaseId));
        id.ok_or_else(|| Problem::parameter("lease", "must be the id of a lease or its number", "17"))
    });
    let lease = lease.transpose()?;
    // Of one lease from its first event on: nothing before it needs to be looked at.
    let first = match lease {
        Some(id) => {
            let entry =
                leases.look(|scheduler, _| scheduler.ledger().get(id).map(|entry| entry.lease.first_event));
            entry.await.map_err(failed)?.map_or(0, |first| first - 1)
        }
        None => 0,
    };
    let read = move || match after {
        None if lease.is_none() => leases.newest_log(u64::MAX, limit).map(|mut records| {
            records.reverse();
            records
        }),
        after => leases.log(after.unwrap_or(0).max(first), limit + 1, lease),
    };
    let records = tokio::task::spawn_blocking(read).await;
    let records =
        records.map_err(|_| Problem::new(Code::InternalError, "reading the log failed"))?.map_err(failed)?;
    Ok(hashed(&LeaseEvents::new(&records, limit)).respond(request.headers()))
}

/// The operator's switch
#[utoipa::path(get, path = "/api/scheduler/override", tag = "leases", responses(
    (status = 200, description = "The switch, or that there is none", body = LeaseOverrideState),
    (status = 304, description = "The client has it already"),
    (status = "4XX", description = "See `code`", body = Problem, content_type = "application/problem+json"),
    (status = "5XX", description = "See `code`", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn get_override(
    State(shared): State<Shared>,
    request: Request,
) -> Result<Response, Box<Problem>> {
    Params::parse(request.uri().query(), &[])?;
    Ok(hashed(&switch(&shared).await?).respond(request.headers()))
}

async fn switch(shared: &Shared) -> Result<LeaseOverrideState, Box<Problem>> {
    let state = leases(shared)?.look(|scheduler, _| LeaseOverrideState {
        r#override: scheduler.ledger().meta().switch.as_ref().map(LeaseOverride::new),
    });
    state.await.map_err(failed)
}

/// Sets the operator's switch: nothing starts, or what would wait for QUIET need not
///
/// Without `expires` it holds until it is taken away by hand, over restarts too. What runs goes on.
#[utoipa::path(put, path = "/api/scheduler/override", tag = "leases",
    request_body(content = LeaseOverrideInput, content_type = "application/json"), responses(
    (status = 200, description = "The switch as it is now", body = LeaseOverrideState),
    (status = "4XX", description = "See `code`", body = Problem, content_type = "application/problem+json"),
    (status = "5XX", description = "See `code`", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn put_override(
    State(shared): State<Shared>,
    request: Request,
) -> Result<Response, Box<Problem>> {
    Params::parse(request.uri().query(), &[])?;
    let said: LeaseOverrideInput = body(request).await?;
    let switch_on = said.switch(clock::now().wall)?;
    leases(&shared)?.ask(Input::Override(Some(switch_on))).await.map_err(failed)?;
    Ok(hashed(&switch(&shared).await?).respond(&HeaderMap::new()))
}

/// Takes the operator's switch away
#[utoipa::path(delete, path = "/api/scheduler/override", tag = "leases", responses(
    (status = 200, description = "The switch as it is now", body = LeaseOverrideState),
    (status = "4XX", description = "See `code`", body = Problem, content_type = "application/problem+json"),
    (status = "5XX", description = "See `code`", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn delete_override(
    State(shared): State<Shared>,
    request: Request,
) -> Result<Response, Box<Problem>> {
    may_act(&request)?;
    leases(&shared)?.ask(Input::Override(None)).await.map_err(failed)?;
    Ok(hashed(&switch(&shared).await?).respond(&HeaderMap::new()))
}

/// The times of the week in which heavy work always or never starts
#[utoipa::path(get, path = "/api/scheduler/windows", tag = "leases", responses(
    (status = 200, description = "The windows", body = LeaseWindows),
    (status = 304, description = "The client has it already"),
    (status = "4XX", description = "See `code`", body = Problem, content_type = "application/problem+json"),
    (status = "5XX", description = "See `code`", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn get_windows(
    State(shared): State<Shared>,
    request: Request,
) -> Result<Response, Box<Problem>> {
    Params::parse(request.uri().query(), &[])?;
    Ok(hashed(&windows(&shared).await?).respond(request.headers()))
}

async fn windows(shared: &Shared) -> Result<LeaseWindows, Box<Problem>> {
    let windows = leases(shared)?.look(|scheduler, _| LeaseWindows::new(&scheduler.ledger().meta().windows));
    windows.await.map_err(failed)
}

/// Replaces the windows
///
/// Times are those of this machine's clock. The switch stands above windows, and "block" above "allow".
#[utoipa::path(put, path = "/api/scheduler/windows", tag = "leases",
    request_body(content = LeaseWindowsInput, content_type = "application/json"), responses(
    (status = 200, description = "The windows as they are now", body = LeaseWindows),
    (status = "4XX", description = "See `code`", body = Problem, content_type = "application/problem+json"),
    (status = "5XX", description = "See `code`", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn put_windows(
    State(shared): State<Shared>,
    request: Request,
) -> Result<Response, Box<Problem>> {
    Params::parse(request.uri().query(), &[])?;
    let said: LeaseWindowsInput = body(request).await?;
    leases(&shared)?.ask(Input::Windows(said.windows()?)).await.map_err(failed)?;
    Ok(hashed(&windows(&shared).await?).respond(&HeaderMap::new()))
}
