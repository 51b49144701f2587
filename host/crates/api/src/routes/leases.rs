//! Leases: asking for one, and what its holder does with it until it is given back.

mod owner;

use crate::acting::body;
use crate::document::{Document, JSON};
use crate::dto::leases::input::{
    LeaseHeartbeat, LeaseRelease, LeaseReport, LeaseRequestDto, LeaseRevoke, WorkDto, name,
};
use crate::dto::leases::{LeaseDecision, LeaseDirective, LeaseDto, place};
use crate::error::{Code, Problem};
use crate::observe::HeldBack;
use crate::params::{Params, duration};
use crate::shared::Shared;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::http::header::{LOCATION, RETRY_AFTER};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::Response;
use lowtide_app::{LeaseError, Leases};
use lowtide_clock as clock;
use lowtide_core::lease::{Input, Instruction, Lease, LeaseName, Phase, Refusal, Reply, Rule, Text};
use lowtide_core::limits;
use owner::Owner;
use serde::Serialize;
use std::sync::Arc;
use std::time::Duration;

/// The path's id of a lease.
type Id = Result<Path<String>, PathRejection>;

/// The leases of this daemon.
pub(super) fn leases(shared: &Shared) -> Result<&Leases, Box<Problem>> {
    shared.app.leases().ok_or_else(|| Problem::new(Code::LeasesOff, "this daemon runs without leases"))
}

/// Why there is no answer.
pub(super) fn failed(error: LeaseError) -> Box<Problem> {
    let text = error.to_string();
    match error {
        LeaseError::Full(_) => Problem::new(Code::LeaseStorageFull, text).retry_after(5),
        LeaseError::Unavailable(_) => Problem::new(Code::LeasesUnavailable, text).retry_after(5),
        LeaseError::EndedUnwritten(_) => Problem::new(Code::LeaseEndedUnwritten, text),
        LeaseError::Busy => Problem::new(Code::LeasesBusy, text).retry_after(1),
        LeaseError::Stopping => Problem::new(Code::Stopping, text).retry_after(5),
    }
}

/// Why what was asked cannot be done.
fn refused(refusal: &Refusal) -> Box<Problem> {
    match refusal {
        Refusal::Unknown => Problem::new(Code::NoSuchLease, "no lease of this id is known"),
        Refusal::NotYours => Problem::new(Code::NotYourLease, "the lease was asked for by another addon_id"),
        Refusal::Over(lease) => over(lease),
        Refusal::StillQueued(lease) => {
            let text = format!("lease {} still waits in the queue", lease.name());
            Problem::new(Code::LeaseQueued, text)
        }
        Refusal::KeyReused(name) => {
            Problem::new(Code::KeyReused, format!("another request with this key got lease {name}"))
        }
        Refusal::TooLarge { capacity } => {
            let text = format!("this host has {capacity} units in all");
            Problem::new(Code::TooManyUnits, text)
        }
    }
}

fn over(lease: &Lease) -> Box<Problem> {
    let Phase::Ended { at, ending, .. } = &lease.phase else {
        return Problem::new(Code::InternalError, "a lease that is not over was refused");
    };
    use lowtide_core::lease::Ending;
    let (code, why) = match ending {
        Ending::Expired => (Code::LeaseExpired, None),
        Ending::Released { .. } | Ending::Failed { .. } => (Code::LeaseReleased, None),
        Ending::Revoked { why, .. } => (Code::LeaseRevoked, Some(why)),
        Ending::Cancelled { why } => (Code::LeaseCancelled, Some(why)),
        Ending::TimedOut => (Code::LeaseCancelled, None),
    };
    let why = why.map(|why| format!(": {why}")).unwrap_or_default();
    let (how, at) = (ending.word().replace('_', " "), crate::dto::rfc3339(*at));
    Problem::new(code, format!("lease {} {how} at {at}{why}", lease.name()))
}

/// The decoded id. What is no id names no lease.
fn named(id: Id) -> Result<LeaseName, Box<Problem>> {
    let text = id.map(|Path(text)| text).unwrap_or_default();
    LeaseName::parse(&text).ok_or_else(|| Problem::new(Code::NoSuchLease, "this is not the id of a lease"))
}

fn holder(text: Option<String>) -> Result<Option<Text>, Box<Problem>> {
    text.map(|text| name("addon_id", Some(text), "nas-backup")).transpose()
}

/// A document that says how things are now.
fn answer(status: StatusCode, document: &impl Serialize) -> Response {
    // Plain structs always serialise.
    let bytes = serde_json::to_vec(document).unwrap_or_default();
    let mut response = Document::new(JSON, "now", bytes).respond(&HeaderMap::new());
    response.headers_mut().remove(axum::http::header::ETAG);
    *response.status_mut() = status;
    response
}

/// `wait=30s`: how long to hold the answer back for something to change.
fn long_poll(params: &Params) -> Result<Option<Duration>, Box<Problem>> {
    let Some(text) = params.get("wait") else { return Ok(None) };
    let wait = duration("wait", text, "30s")?;
    let most = limits::LEASE_LONG_POLL_MAX;
    if wait > most {
        return Err(Problem::parameter("wait", format!("must be at most {} s", most.as_secs()), "30s"));
    }
    Ok(Some(wait))
}

/// Asks for a lease
///
/// A denial is an answer: 200 with `approved: false`, the reasons and Retry-After. With `"wait": true` a request that cannot be granted now is
/// queued (202) and survives restarts of the daemon. Granted or queued, it is on disk before this answers.
#[utoipa::path(post, path = "/api/scheduler/lease/request", tag = "leases",
    request_body(content = LeaseRequestDto, content_type = "application/json"),
    params(
        ("wait" = Option<String>, Query, description = "While it is queued, hold the answer back so long at most, up to 55s", example = "30s"),
        ("Idempotency-Key" = Option<String>, Header, description = "The same as `idempotency_key`"),
    ), responses(
    (status = 200, description = "Granted or denied", body = LeaseDecision, links(
        ("look" = (operation_id = "get_lease", parameters(("id" = "$response.body#/lease_id")))),
        ("heartbeat" = (operation_id = "post_heartbeat", parameters(("id" = "$response.body#/lease_id")))),
        ("report" = (operation_id = "post_report", parameters(("id" = "$response.body#/lease_id")))),
        ("release" = (operation_id = "post_release", parameters(("id" = "$response.body#/lease_id")))),
        ("revoke" = (operation_id = "post_revoke", parameters(("id" = "$response.body#/lease_id")))),
    )),
    (status = 202, description = "Queued; Location is the lease", body = LeaseDecision, links(
        ("look" = (operation_id = "get_lease", parameters(("id" = "$response.body#/lease_id")))),
        ("heartbeat" = (operation_id = "post_heartbeat", parameters(("id" = "$response.body#/lease_id")))),
        ("report" = (operation_id = "post_report", parameters(("id" = "$response.body#/lease_id")))),
        ("release" = (operation_id = "post_release", parameters(("id" = "$response.body#/lease_id")))),
        ("revoke" = (operation_id = "post_revoke", parameters(("id" = "$response.body#/lease_id")))),
    )),
    (status = "4XX", description = "See `code`", body = Problem, content_type = "application/problem+json"),
    (status = "5XX", description = "See `code`", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn post_request(
    State(shared): State<Shared>,
    request: Request,
) -> Result<Response, Box<Problem>> {
    let leases = leases(&shared)?;
    let params = Params::parse(request.uri().query(), &["wait"])?;
    let wait = long_poll(&params)?;
    let key = request.headers().get("idempotency-key").map(HeaderValue::to_str).transpose();
    let key =
        key.map_err(|_| Problem::field("Idempotency-Key", "must be printable ASCII", "2026-11-22-nightly"))?;
    let key = key.map(str::to_owned);
    let owner = Owner::of(&request);
    let asked: LeaseRequestDto = body(request).await?;
    let mut asked = Box::new(asked.request(key.as_deref(), clock::now().wall)?);
    owner.sign(&mut asked)?;
    let reply = leases.ask(Input::Request { request: asked, secret: secret()? }).await.map_err(failed)?;
    let (lease, repeated) = match reply {
        Reply::Lease { lease, repeated } => (lease, repeated),
        Reply::Denied(decision) if matches!(decision.rule, Rule::Rate | Rule::QueueFull) => {
            let code = if decision.rule == Rule::Rate { Code::RateLimited } else { Code::QueueFull };
            let text = decision.reasons.first().map(|reason| reason.text.to_string()).unwrap_or_default();
            let seconds = decision.retry_after.map_or(1, |after| after.as_secs().max(1));
            return Err(Problem::new(code, text).retry_after(seconds));
        }
        Reply::Denied(decision) => {
            let denial = leases.glance(|scheduler, _| LeaseDecision::denied(&decision, scheduler.policy()));
            let denial = denial.map_err(failed)?;
            return Ok(with_retry_after(answer(StatusCode::OK, &denial), denial.retry_after_sec()));
        }
        Reply::Refused(refusal) => return Err(refused(&refusal)),
        _ => return Err(Problem::new(Code::InternalError, "the scheduler gave no answer to a request")),
    };
    let (lease, held) = match wait.filter(|_| lease.is_queued()) {
        Some(wait) => {
            let begun = clock::mono();
            let lease = wait_for_change(&shared, leases, &lease, wait).await?;
            (lease, clock::mono().since(begun))
        }
        None => (lease, Duration::ZERO),
    };
    Ok(held_back(decided(leases, &lease, repeated)?, held))
}

/// The answer to a request whose lease is there.
fn decided(leases: &Leases, lease: &Arc<Lease>, repeated: bool) -> Result<Response, Box<Problem>> {
    if !lease.is_held() && !lease.is_queued() {
        return Err(over(lease));
    }
    let decision = leases.glance(|scheduler, now| {
        let place = if lease.is_queued() { place(scheduler, now, lease) } else { None };
        LeaseDecision::of(lease, repeated, place, scheduler.policy())
    });
    let decision = decision.map_err(failed)?;
    if lease.is_held() {
        return Ok(answer(StatusCode::OK, &decision));
    }
    let mut response = with_retry_after(answer(StatusCode::ACCEPTED, &decision), decision.retry_after_sec());
    if let Ok(location) = HeaderValue::try_from(format!("/api/scheduler/lease/{}", lease.name())) {
        response.headers_mut().insert(LOCATION, location);
    }
    Ok(response)
}

fn with_retry_after(mut response: Response, seconds: Option<u64>) -> Response {
    if let Some(seconds) = seconds {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

/// The lease as it is when it no longer waits, or when the time is over or the daemon stops.
async fn wait_for_change(
    shared: &Shared,
    leases: &Leases,
    lease: &Arc<Lease>,
    wait: Duration,
) -> Result<Arc<Lease>, Box<Problem>> {
    let (id, name) = (lease.id, lease.name());
    let mut closing = shared.closing.clone();
    let end = tokio::time::Instant::now() + wait;
    loop {
        // First the wait, then the look: what happens in between ends the wait at once.
        let Some(changed) = leases.next_event(id) else {
            return Err(Problem::new(Code::LeasesBusy, "too many long polls are open").retry_after(5));
        };
        let now =
            leases.look(|scheduler, _| scheduler.ledger().get(id).map(|entry| Arc::clone(&entry.lease)));
        let now = now.await.map_err(failed)?;
        let Some(now) = now else {
            return Err(Problem::new(Code::NoSuchLease, format!("lease {name} is no longer known")));
        };
        if !now.is_queued() {
            return Ok(now);
        }
        tokio::select! {
            _ = changed => {}
            () = tokio::time::sleep_until(end) => return Ok(now),
            _ = closing.wait_for(|closing| *closing) => return Ok(now),
        }
    }
}

/// A random number.
fn secret() -> Result<u64, Box<Problem>> {
    let mut bytes = [0; 8];
    let got = rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty());
    match got {
        Ok(8) => Ok(u64::from_ne_bytes(bytes)),
        _ => Err(Problem::new(Code::InternalError, "the system gave no random number")),
    }
}

/// One lease, as it is now
///
/// With `wait`, a lease that waits in the queue is answered when that changes, or after this time.
#[utoipa::path(get, path = "/api/scheduler/lease/{id}", tag = "leases", params(
    ("id" = String, Path, description = "Id of the lease"),
    ("wait" = Option<String>, Query, description = "While it is queued, hold the answer back so long at most, up to 55s", example = "30s"),
), responses(
    (status = 200, description = "The lease", body = LeaseDto),
    (status = "4XX", description = "See `code`", body = Problem, content_type = "application/problem+json"),
    (status = "5XX", description = "See `code`", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn get_lease(
    State(shared): State<Shared>,
    id: Id,
    request: Request,
) -> Result<Response, Box<Problem>> {
    let leases = leases(&shared)?;
    let params = Params::parse(request.uri().query(), &["wait"])?;
    let wait = long_poll(&params)?;
    let name = named(id)?;
    Owner::of(&request).claim(leases, name, None)?;
    let lease = |leases: &Leases| {
        let leases = leases.clone();
        async move {
            let lease = leases.look(|scheduler, now| {
                let entry =
                    scheduler.ledger().get(name.id).filter(|entry| entry.lease.secret == name.secret)?;
                let entry = entry.clone();
                let place = place(scheduler, now, &entry.lease);
                Some((
                    Arc::clone(&entry.lease),
                    LeaseDto::new(scheduler, now.mono.into(), &entry).placed(place),
                ))
            });
            lease.await.map_err(failed)?.ok_or_else(|| refused(&Refusal::Unknown))
        }
    };
    let (found, mut document) = lease(leases).await?;
    let mut held = Duration::ZERO;
    if let Some(wait) = wait.filter(|_| found.is_queued()) {
        let begun = clock::mono();
        wait_for_change(&shared, leases, &found, wait).await?;
        held = clock::mono().since(begun);
        document = lease(leases).await?.1;
    }
    Ok(held_back(answer(StatusCode::OK, &document), held))
}

/// Says that a holder lives, and asks what it is to do
///
/// At least every `heartbeat_interval_sec`. A lease that was not heard for `heartbeat_ttl_sec` has expired and is never revived.
///
/// With `wait` and `after`, the answer is held back until something happens to the lease: who always has one such heartbeat under way
/// hears within milliseconds that it is to stand still, and a connection that breaks is a daemon that is gone.
#[utoipa::path(post, path = "/api/scheduler/lease/{id}/heartbeat", tag = "leases", params(
    ("id" = String, Path, description = "Id of the lease"),
    ("wait" = Option<String>, Query, description = "Hold the answer back so long at most, up to `heartbeat_interval_sec`, while no event follows on `after`", example = "10s"),
    ("after" = Option<u64>, Query, description = "`event` of the last answer", example = 4711),
), request_body(content = Option<LeaseHeartbeat>, content_type = "application/json"), responses(
    (status = 200, description = "What to do", body = LeaseDirective),
    (status = "4XX", description = "See `code`", body = Problem, content_type = "application/problem+json"),
    (status = "5XX", description = "See `code`", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn post_heartbeat(
    State(shared): State<Shared>,
    id: Id,
    request: Request,
) -> Result<Response, Box<Problem>> {
    let leases = leases(&shared)?;
    let params = Params::parse(request.uri().query(), &["wait", "after"])?;
    let (wait, after) = (long_poll(&params)?, params.whole("after", 0..=u64::MAX)?);
    let owner = Owner::of(&request);
    let said: LeaseHeartbeat = body(request).await?;
    let name = named(id)?;
    let holder = owner.claim(leases, name, holder(said.addon_id)?)?;
    let work = said.work.map(WorkDto::work).transpose()?;
    // Who says where the work runs and waits to be told does at once what it is told.
    let reached = work.is_some() && wait.is_some();
    let input = || Input::Heartbeat { name, holder: holder.clone(), reached };
    let heard_by = tokio::time::Instant::now();
    let mut closing = shared.closing.clone();
    let mut placed = false;
    let mut held = Duration::ZERO;
    loop {
        // First the wait, then the question: what happens in between ends the wait at once.
        let changed = leases.next_event(name.id);
        let instruction = instruct(leases, input()).await?;
        if let Some(work) = work.clone().filter(|_| !placed) {
            leases.place(name.id, work);
            placed = true;
        }
        let told = leases.glance(|scheduler, _| {
            let longest = scheduler.policy().heartbeat_interval();
            (LeaseDirective::new(&instruction, scheduler.policy()), longest)
        });
        let (told, longest) = told.map_err(failed)?;
        let left =
            wait.map(|wait| heard_by + wait.min(longest)).filter(|end| *end > tokio::time::Instant::now());
        let (Some(end), Some(changed)) = (left, changed) else {
            return Ok(held_back(answer(StatusCode::OK, &told), held));
        };
        if after.is_none_or(|after| instruction.lease.last_event > after) {
            return Ok(held_back(answer(StatusCode::OK, &told), held));
        }
        let begun = clock::mono();
        let stops = tokio::select! {
            _ = changed => false,
            () = tokio::time::sleep_until(end) => false,
            _ = closing.wait_for(|closing| *closing) => true,
        };
        held += clock::mono().since(begun);
        if stops {
            return Ok(held_back(answer(StatusCode::OK, &told), held));
        }
    }
}

/// An answer that waited for something to happen.
fn held_back(mut response: Response, held: Duration) -> Response {
    response.extensions_mut().insert(HeldBack(held));
    response
}

/// Tells how far the work is; counts as a heartbeat
#[utoipa::path(post, path = "/api/scheduler/lease/{id}/report", tag = "leases", params(
    ("id" = String, Path, description = "Id of the lease"),
), request_body(content = LeaseReport, content_type = "application/json"), responses(
    (status = 200, description = "What to do", body = LeaseDirective),
    (status = "4XX", description = "See `code`", body = Problem, content_type = "application/problem+json"),
    (status = "5XX", description = "See `code`", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn post_report(
    State(shared): State<Shared>,
    id: Id,
    request: Request,
) -> Result<Response, Box<Problem>> {
    let leases = leases(&shared)?;
    Params::parse(request.uri().query(), &[])?;
    let owner = Owner::of(&request);
    let mut said: LeaseReport = body(request).await?;
    let name = named(id)?;
    let holder = owner.claim(leases, name, holder(said.addon_id.take())?)?;
    let input = Input::Report { name, holder, progress: said.progress()? };
    directive(leases, input).await
}

async fn directive(leases: &Leases, input: Input) -> Result<Response, Box<Problem>> {
    let instruction = instruct(leases, input).await?;
    let directive = leases
        .glance(|scheduler, _| LeaseDirective::new(&instruction, scheduler.policy()))
        .map_err(failed)?;
    Ok(answer(StatusCode::OK, &directive))
}

/// What the holder of a lease is to do.
async fn instruct(leases: &Leases, input: Input) -> Result<Box<Instruction>, Box<Problem>> {
    match leases.ask(input).await.map_err(failed)? {
        Reply::Directive(instruction) => Ok(instruction),
        Reply::Refused(refusal) => Err(refused(&refusal)),
        _ => Err(Problem::new(Code::InternalError, "the scheduler gave no answer to a heartbeat")),
    }
}

/// Gives a lease back, or leaves the queue
#[utoipa::path(post, path = "/api/scheduler/lease/{id}/release", tag = "leases", params(
    ("id" = String, Path, description = "Id of the lease"),
), request_body(content = Option<LeaseRelease>, content_type = "application/json"), responses(
    (status = 200, description = "The lease, which is over", body = LeaseDto),
    (status = "4XX", description = "See `code`", body = Problem, content_type = "application/problem+json"),
    (status = "5XX", description = "See `code`", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn post_release(
    State(shared): State<Shared>,
    id: Id,
    request: Request,
) -> Result<Response, Box<Problem>> {
    let leases = leases(&shared)?;
    Params::parse(request.uri().query(), &[])?;
    let owner = Owner::of(&request);
    let mut said: LeaseRelease = body(request).await?;
    let name = named(id)?;
    let holder = owner.claim(leases, name, holder(said.addon_id.take())?)?;
    let (done, note, usage) = said.outcome()?;
    ended(leases, Input::Release { name, holder, done, note, usage }).await
}

/// Takes a lease back
///
/// Its holder is told at its next heartbeat and has `grace_sec` to let go; until then its units count. With 0 it ends at once. A request that
/// waits is taken out of the queue.
#[utoipa::path(post, path = "/api/scheduler/lease/{id}/revoke", tag = "leases", params(
    ("id" = String, Path, description = "Id of the lease"),
), request_body(content = Option<LeaseRevoke>, content_type = "application/json"), responses(
    (status = 200, description = "The lease as it is now", body = LeaseDto),
    (status = "4XX", description = "See `code`", body = Problem, content_type = "application/problem+json"),
    (status = "5XX", description = "See `code`", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn post_revoke(
    State(shared): State<Shared>,
    id: Id,
    request: Request,
) -> Result<Response, Box<Problem>> {
    let leases = leases(&shared)?;
    Params::parse(request.uri().query(), &[])?;
    let said: LeaseRevoke = body(request).await?;
    let (why, grace) = said.order()?;
    ended(leases, Input::Revoke { name: named(id)?, why, grace }).await
}

async fn ended(leases: &Leases, input: Input) -> Result<Response, Box<Problem>> {
    match leases.ask(input).await.map_err(failed)? {
        Reply::Ended(lease) => {
            let document = leases.glance(|scheduler, now| {
                let entry = scheduler.ledger().get(lease.id).cloned();
                entry.map(|entry| LeaseDto::new(scheduler, now.mono.into(), &entry))
            });
            let document = document.map_err(failed)?;
            document
                .map(|document| answer(StatusCode::OK, &document))
                .ok_or_else(|| refused(&Refusal::Unknown))
        }
        Reply::Refused(refusal) => Err(refused(&refusal)),
        _ => Err(Problem::new(Code::InternalError, "the scheduler gave no answer to a release")),
    }
}
