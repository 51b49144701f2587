//! The one shape of every error answer: problem details (RFC 9457) with a stable code, and the table of all codes.

use axum::http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use std::sync::Arc;
use utoipa::ToSchema;

/// Stable code of an error; a code never changes its meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Code {
    InvalidParameter,
    UnknownParameter,
    TooManyValues,
    NotFound,
    MethodNotAllowed,
    PayloadTooLarge,
    UnexpectedBody,
    QueryTooLong,
    InternalError,
    NotReady,
    Stale,
    TooManyStreams,
    AddonsOff,
    NoSuchAddon,
    NoSuchJob,
    JobCannotRun,
    NoStats,
    StatsFailed,
    AddonConfiguredOff,
    CannotRemember,
    CrossSiteRequest,
    Stopping,
    InvalidBody,
    UnsupportedMediaType,
    NoSuchLease,
    NotYourLease,
    LeaseExpired,
    LeaseReleased,
    LeaseRevoked,
    LeaseCancelled,
    LeaseQueued,
    KeyReused,
    TooManyUnits,
    RateLimited,
    QueueFull,
    LeasesOff,
    LeasesUnavailable,
    LeaseStorageFull,
    LeaseEndedUnwritten,
    LeasesBusy,
    HistoryOff,
    HistoryUnavailable,
    HistoryBusy,
    StepTooFine,
    TokenNeeded,
    TokenUnknown,
    TokenExpired,
    Forbidden,
    UnknownHost,
    InvalidHost,
    BodyTooSlow,
}

/// What the documents say about a code.
#[derive(Clone, Copy, Debug)]
pub struct CodeDoc {
    /// The code as sent.
    pub code: &'static str,
    /// The HTTP status it comes with.
    pub status: u16,
    /// What it means.
    pub title: &'static str,
    /// What to do about it.
    pub remedy: &'static str,
}

/// Every error code, for the reference page.
pub const CODES: [CodeDoc; 51] = [
    doc(Code::InvalidParameter),
    doc(Code::UnknownParameter),
    doc(Code::TooManyValues),
    doc(Code::NotFound),
    doc(Code::MethodNotAllowed),
    doc(Code::PayloadTooLarge),
    doc(Code::QueryTooLong),
    doc(Code::InternalError),
    doc(Code::NotReady),
    doc(Code::Stale),
    doc(Code::UnexpectedBody),
    doc(Code::TooManyStreams),
    doc(Code::AddonsOff),
    doc(Code::NoSuchAddon),
    doc(Code::NoSuchJob),
    doc(Code::JobCannotRun),
    doc(Code::NoStats),
    doc(Code::StatsFailed),
    doc(Code::AddonConfiguredOff),
    doc(Code::CannotRemember),
    doc(Code::CrossSiteRequest),
    doc(Code::Stopping),
    doc(Code::InvalidBody),
    doc(Code::UnsupportedMediaType),
    doc(Code::NoSuchLease),
    doc(Code::NotYourLease),
    doc(Code::LeaseExpired),
    doc(Code::LeaseReleased),
    doc(Code::LeaseRevoked),
    doc(Code::LeaseCancelled),
    doc(Code::LeaseQueued),
    doc(Code::KeyReused),
    doc(Code::TooManyUnits),
    doc(Code::RateLimited),
    doc(Code::QueueFull),
    doc(Code::LeasesOff),
    doc(Code::LeasesUnavailable),
    doc(Code::LeaseStorageFull),
    doc(Code::LeaseEndedUnwritten),
    doc(Code::LeasesBusy),
    doc(Code::HistoryOff),
    doc(Code::HistoryUnavailable),
    doc(Code::HistoryBusy),
    doc(Code::StepTooFine),
    doc(Code::TokenNeeded),
    doc(Code::TokenUnknown),
    doc(Code::TokenExpired),
    doc(Code::Forbidden),
    doc(Code::UnknownHost),
    doc(Code::InvalidHost),
    doc(Code::BodyTooSlow),
];

const fn doc(code: Code) -> CodeDoc {
    let (code, status, title, remedy) = match code {
        Code::InvalidParameter => (
            "invalid_parameter",
            400,
            "a query parameter cannot be used",
            "Read `parameter`, `reason` and `example`, and send it again corrected.",
        ),
        Code::UnknownParameter => (
            "unknown_parameter",
            400,
            "a query parameter is not known here",
            "Leave it out; `reason` lists the parameters of this path.",
        ),
        Code::TooManyValues => (
            "too_many_values",
            400,
            "the answer would be too large",
            "Ask for fewer series, a shorter range, fewer aggregates or a longer step.",
        ),
        Code::NotFound => ("not_found", 404, "nothing is here", "See /docs for the paths that there are."),
        Code::MethodNotAllowed => (
            "method_not_allowed",
            405,
            "this path does not take this method",
            "Use a method of the Allow header.",
        ),
        Code::PayloadTooLarge => {
            ("payload_too_large", 413, "the request body is too large", "Send at most 1 MiB.")
        }
        Code::QueryTooLong => ("query_too_long", 414, "the query string is too long", "Send at most 8 KiB."),
        Code::InternalError => (
            "internal_error",
            500,
            "the daemon failed at this request",
            "It is a defect: please report it with the request id and the daemon's log lines that carry it.",
        ),
        Code::NotReady => (
            "not_ready",
            503,
            "nothing has been measured yet",
            "The daemon has just started; try again after the seconds in Retry-After.",
        ),
        Code::Stale => (
            "stale",
            503,
            "the newest measurement is too old to be used",
            "The daemon does not get to measure (it was stopped, or the machine is overloaded or has just woken up). Try again after \
             the seconds in Retry-After; see /api/system-stats/health if it stays so.",
        ),
        Code::UnexpectedBody => {
            ("unexpected_body", 400, "this path takes no request body", "Send the request without a body.")
        }
        Code::TooManyStreams => (
            "too_many_streams",
            503,
            "too many event streams are open",
            "Close some, or poll /api/system-stats/quiet with If-None-Match instead.",
        ),
        Code::AddonsOff => (
            "addons_off",
            404,
            "the daemon runs without addons",
            "Nothing below /api/addons is here; start a daemon that has addons.",
        ),
        Code::NoSuchAddon => (
            "no_such_addon",
            404,
            "there is no addon of this name",
            "GET /api/addons lists those that there are.",
        ),
        Code::NoSuchJob => (
            "no_such_job",
            404,
            "the addon has no job of this name",
            "`jobs` of GET /api/addons/{id} lists those that it has.",
        ),
        Code::JobCannotRun => (
            "job_cannot_run",
            409,
            "the job cannot run as things are",
            "`detail` says why: its addon does not run, a grant is missing, or the daemon runs without leases.",
        ),
        Code::NoStats => (
            "no_stats",
            404,
            "the addon has no document of its own",
            "It does not export `custom-stats`, or has not been asked yet: with Retry-After, try again after these seconds.",
        ),
        Code::StatsFailed => (
            "stats_failed",
            503,
            "the addon could not make its document",
            "`detail` has the addon's own words; /api/addons/{id}/logs may say more. It is asked again by itself: try again after \
             the seconds in Retry-After.",
        ),
        Code::AddonConfiguredOff => (
            "addon_configured_off",
            409,
            "the configuration switches this addon off",
            "Set `enabled = true` in the addon's section of the configuration file, and have it read again.",
        ),
        Code::CannotRemember => (
            "cannot_remember",
            507,
            "which addons are switched off cannot be written down",
            "Make room on the disk of the data folder, or let the daemon's user write there.",
        ),
        Code::CrossSiteRequest => (
            "cross_site_request",
            403,
            "a page of another site sent this request",
            "What acts takes requests of programs (without Origin and Sec-Fetch-Site), and of pages that this daemon serves on a \
             loopback address.",
        ),
        Code::Stopping => ("stopping", 503, "the daemon is stopping", "Try again when it has started anew."),
        Code::InvalidBody => (
            "invalid_body",
            400,
            "the request body cannot be used",
            "Read `detail`, and `parameter`, `reason` and `example` where they are there; send it again corrected.",
        ),
        Code::UnsupportedMediaType => (
            "unsupported_media_type",
            415,
            "the request body is not said to be JSON",
            "Send `Content-Type: application/json`.",
        ),
        Code::NoSuchLease => (
            "no_such_lease",
            404,
            "there is no lease of this id",
            "Ask for a new one. Ids of leases that ended long ago are no longer known.",
        ),
        Code::NotYourLease => (
            "not_your_lease",
            403,
            "the lease belongs to another holder",
            "Send the `addon_id` that the lease was asked for with, or none.",
        ),
        Code::LeaseExpired => (
            "lease_expired",
            410,
            "the lease has expired",
            "Its holder was not heard for longer than the time to live. Stop the work, and ask for a new lease; heartbeat more often.",
        ),
        Code::LeaseReleased => (
            "lease_released",
            409,
            "the lease was released",
            "It is over. Ask for a new one, with another idempotency key.",
        ),
        Code::LeaseRevoked => (
            "lease_revoked",
            409,
            "the lease was revoked",
            "It is over: stop the work. `detail` says why; ask for a new one later.",
        ),
        Code::LeaseCancelled => (
            "lease_cancelled",
            409,
            "the request no longer waits",
            "It was cancelled, or its time to wait was over. Ask again.",
        ),
        Code::LeaseQueued => (
            "lease_queued",
            409,
            "the lease is not granted yet",
            "It waits in the queue. GET /api/scheduler/lease/{id}?wait=30s answers when that changes.",
        ),
        Code::KeyReused => (
            "idempotency_key_reused",
            409,
            "the idempotency key was used for another request",
            "Use a new key for a new request; send the same body with the same key.",
        ),
        Code::TooManyUnits => (
            "too_many_units",
            422,
            "more units are asked for than there ever are",
            "Ask for at most `capacity_units` of /api/scheduler/status, or have `leases.capacity_units` raised.",
        ),
        Code::RateLimited => (
            "rate_limited",
            429,
            "this holder or token asks too often",
            "Wait for the seconds in Retry-After; use `\"wait\": true` instead of asking again and again.",
        ),
        Code::QueueFull => (
            "queue_full",
            429,
            "no more requests may wait",
            "Wait for the seconds in Retry-After; GET /api/scheduler/queue shows who waits.",
        ),
        Code::LeasesOff => {
            ("leases_off", 404, "the daemon runs without leases", "Start a daemon that has them.")
        }
        Code::LeasesUnavailable => (
            "leases_unavailable",
            503,
            "the file of leases cannot be used",
            "`detail` has the reason. Nothing new is granted until it works; it is tried every second. Held leases are kept, and expire as ever.",
        ),
        Code::LeaseStorageFull => (
            "lease_storage_full",
            507,
            "what was asked cannot be written down",
            "Make room on the disk of the data folder. Nothing of this request holds. It works again within seconds.",
        ),
        Code::LeaseEndedUnwritten => (
            "lease_ended_unwritten",
            507,
            "the lease has ended, but that is not on disk yet",
            "Nothing is to be repeated: it is written as soon as the disk works. Only if the daemon restarts before, the lease comes back, and expires.",
        ),
        Code::LeasesBusy => (
            "leases_busy",
            503,
            "too many requests wait for the disk",
            "Try again after the seconds in Retry-After.",
        ),
        Code::HistoryOff => (
            "history_off",
            404,
            "the daemon keeps no history on disk",
            "Switch it on in the section history of the configuration, and restart.",
        ),
        Code::HistoryUnavailable => (
            "history_unavailable",
            503,
            "the file of history cannot be read",
            "`detail` has the reason; it is tried every two seconds. The last hour is answered without the file: ask with range=1h or less.",
        ),
        Code::HistoryBusy => (
            "history_busy",
            503,
            "too many long answers are under way",
            "Try again after the seconds in Retry-After, or ask for less.",
        ),
        Code::StepTooFine => (
            "step_too_fine",
            400,
            "a part of the range is kept in roll-ups only, which are coarser than the step",
            "Ask with a step that is a multiple of 15m, or from a later moment: `detail` names it.",
        ),
        Code::TokenNeeded => (
            "token_needed",
            401,
            "the daemon has tokens, and this request shows none",
            "Send `Authorization: Bearer <token>`. On the daemon's machine `lowtide token create` makes one; the command line takes it from \
             --token-file or LOWTIDE_TOKEN_FILE.",
        ),
        Code::TokenUnknown => (
            "token_unknown",
            401,
            "the token that was shown is none of this daemon's",
            "It was mistyped, revoked, or is that of another daemon. `lowtide token list` on the daemon's machine lists those that count.",
        ),
        Code::TokenExpired => (
            "token_expired",
            401,
            "the token has expired",
            "`lowtide token rotate NAME` on the daemon's machine makes a new one of the same name and scopes.",
        ),
        Code::Forbidden => (
            "forbidden",
            403,
            "the caller may not do this",
            "`detail` names the scope that it takes. Ask the operator for a token that has it.",
        ),
        Code::UnknownHost => (
            "unknown_host",
            421,
            "the daemon does not answer to this name",
            "Ask by address, by the machine's own name, or have the name added to `server.hosts` of the configuration.",
        ),
        Code::InvalidHost => (
            "invalid_host",
            400,
            "the request does not name one host",
            "Send one Host header that is the host of the address that was asked.",
        ),
        Code::BodyTooSlow => (
            "body_too_slow",
            408,
            "the body did not come within its time",
            "Send the whole body within 15 s of its head.",
        ),
    };
    CodeDoc { code, status, title, remedy }
}

/// Problem details, media type `application/problem+json` (RFC 9457).
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct Problem {
    /// Where the code is explained, relative to this server.
    #[schema(example = "/docs#error-invalid_parameter")]
    r#type: String,
    /// The code's meaning, the same for every occurrence.
    title: &'static str,
    /// The HTTP status.
    status: u16,
    /// What happened this time.
    detail: String,
    /// Stable code to branch on.
    #[schema(example = "invalid_parameter")]
    code: &'static str,
    /// Names this request in the daemon's log; also in the header `x-request-id`.
    request_id: String,
    /// The query parameter or field of the body at fault.
    #[serde(skip_serializing_if = "Option::is_none")]
    parameter: Option<String>,
    /// What is wrong with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// A value that would do.
    #[serde(skip_serializing_if = "Option::is_none")]
    example: Option<String>,
    #[serde(skip)]
    retry_after_seconds: Option<u64>,
}

impl Problem {
    /// A problem with this code; `detail` says what happened, without a final full stop.
    pub(crate) fn new(code: Code, detail: impl Into<String>) -> Box<Self> {
        let CodeDoc { code, status, title, .. } = doc(code);
        Box::new(Self {
            r#type: format!("/docs#error-{code}"),
            title,
            status,
            detail: detail.into(),
            code,
            request_id: String::new(),
            parameter: None,
            reason: None,
            example: None,
            retry_after_seconds: None,
        })
    }

    /// Its code, as sent.
    pub(crate) fn code(&self) -> &'static str {
        self.code
    }

    /// A query parameter that cannot be used, why, and a value that could.
    pub(crate) fn parameter(name: &str, reason: impl Into<String>, example: &str) -> Box<Self> {
        let reason = reason.into();
        let mut problem = Self::new(Code::InvalidParameter, format!("parameter {name}: {reason}"));
        problem.parameter = Some(name.to_owned());
        problem.reason = Some(reason);
        problem.example = Some(format!("{name}={example}"));
        problem
    }

    /// A field of the body that cannot be used, why, and a value that could.
    pub(crate) fn field(name: &str, reason: impl Into<String>, example: impl Into<String>) -> Box<Self> {
        let reason = reason.into();
        let mut problem = Self::new(Code::InvalidBody, format!("{name} {reason}"));
        problem.parameter = Some(name.to_owned());
        problem.reason = Some(reason);
        problem.example = Some(example.into());
        problem
    }

    /// A query parameter that the path does not take, why, and the name of one that it takes.
    pub(crate) fn unknown_parameter(name: &str, reason: String, example: &str) -> Box<Self> {
        let mut problem = Self::new(Code::UnknownParameter, format!("parameter {name:?} {reason}"));
        problem.parameter = Some(name.to_owned());
        problem.reason = Some(reason);
        problem.example = Some(example.to_owned());
        problem
    }

    /// Nothing has been measured yet.
    pub(crate) fn not_ready() -> Box<Self> {
        let mut problem = Self::new(Code::NotReady, "the first tick has not been made yet");
        problem.retry_after_seconds = Some(1);
        problem
    }

    /// The newest tick is `age_seconds` old, and nothing that it says is taken for now.
    pub(crate) fn stale(age_seconds: f64) -> Box<Self> {
        Self::new(Code::Stale, format!("the newest tick is {age_seconds:.1} s old")).retry_after(2)
    }

    /// What happened, in words.
    pub(crate) fn detail(&self) -> &str {
        &self.detail
    }

    /// With `Retry-After`.
    pub(crate) fn retry_after(mut self: Box<Self>, seconds: u64) -> Box<Self> {
        self.retry_after_seconds = Some(seconds);
        self
    }
}

impl IntoResponse for Box<Problem> {
    /// Status and headers; the body follows in `complete`, when the request's id is known.
    fn into_response(self) -> Response {
        let mut response =
            StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR).into_response();
        if let Some(seconds) = self.retry_after_seconds {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.status == 401 {
            // RFC 6750, 3.
            let challenge = HeaderValue::from_static("Bearer realm=\"lowtide\"");
            response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
        }
        response.extensions_mut().insert(Arc::new(*self));
        response
    }
}

/// Gives a problem response its body. Every response passes here on its way out, so there is one place that writes it.
pub(crate) fn complete(mut response: Response, request_id: &str) -> Response {
    let Some(problem) = response.extensions_mut().remove::<Arc<Problem>>() else { return response };
    let mut problem = Arc::unwrap_or_clone(problem);
    request_id.clone_into(&mut problem.request_id);
    // A struct of strings and numbers always serialises.
    *response.body_mut() = serde_json::to_vec(&problem).unwrap_or_default().into();
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    response
}
