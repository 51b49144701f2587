//! The outermost layer of every request: its id, its bounds, its panics, its place in the api collector's counts. It does not
//! look at what a route does.

use crate::error::{self, Code, Problem};
use crate::routes::{ROUTES, need};
use crate::shared::Shared;
use axum::extract::{MatchedPath, Request};
use axum::http::header::{
    CONTENT_LENGTH, REFERRER_POLICY, TRANSFER_ENCODING, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method};
use axum::response::{IntoResponse as _, Response};
use lowtide_clock as clock;
use lowtide_collectors::InFlight;
use lowtide_core::limits;
use lowtide_core::units::MonoTime;
use pin_project_lite::pin_project;
use std::convert::Infallible;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Duration;
use tower::{Layer, Service};

static REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Wraps every route. A service of its own rather than a middleware function: that would box its future and clone the route once
/// more for each request, which showed in the benchmark.
#[derive(Clone, Debug)]
pub(crate) struct Observe(pub(crate) Shared);

impl<S> Layer<S> for Observe {
    type Service = Observed<S>;

    fn layer(&self, route: S) -> Observed<S> {
        Observed { route, shared: self.0.clone() }
    }
}

/// A wrapped route.
#[derive(Clone, Debug)]
pub(crate) struct Observed<S> {
    route: S,
    shared: Shared,
}

impl<S: Service<Request, Response = Response, Error = Infallible>> Service<Request> for Observed<S> {
    type Response = Response;
    type Error = Infallible;
    type Future = Observing<S::Future>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.route.poll_ready(context)
    }

    fn call(&mut self, mut request: Request) -> Observing<S::Future> {
        let started = clock::mono();
        let number = self.shared.requests.fetch_add(1, Ordering::Relaxed) + 1;
        let in_flight = Some(self.shared.app.meter().begin());
        let route = route_of(&request);
        let needs = need(ROUTES.get(route).copied().unwrap_or_default(), request.method());
        let passed = self.shared.gate.pass(&mut request, needs).and_then(|()| within_bounds(&request));
        let work = match passed {
            Err(problem) => Work::Refused { problem: Some(problem) },
            Ok(()) => Work::Running { future: self.route.call(request) },
        };
        Observing { work, shared: self.shared.clone(), started, number, route, in_flight }
    }
}

/// How long an answer was held back because its client asked for that: an extension of the response. Long polls are no slow answers, and a
/// daemon that takes them for such finds its own host busy.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HeldBack(pub(crate) Duration);

pin_project! {
    /// A request on its way through a route.
    pub(crate) struct Observing<F> {
        #[pin]
        work: Work<F>,
        shared: Shared,
        started: MonoTime,
        number: u64,
        route: usize,
        // Counts the request as being answered, also when its client goes away first.
        in_flight: Option<InFlight>,
    }
}

pin_project! {
    #[project = Step]
    enum Work<F> {
        Running { #[pin] future: F },
        Refused { problem: Option<Box<Problem>> },
    }
}

impl<F: Future<Output = Result<Response, Infallible>>> Future for Observing<F> {
    type Output = Result<Response, Infallible>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let defect = || Problem::new(Code::InternalError, "a defect in the daemon stopped this request");
        let response = match this.work.project() {
            Step::Running { future } => match catch_unwind(AssertUnwindSafe(|| future.poll(context))) {
                Ok(Poll::Pending) => return Poll::Pending,
                Ok(Poll::Ready(Ok(response))) => response,
                Ok(Poll::Ready(Err(never))) => match never {},
                Err(_) => defect().into_response(),
            },
            Step::Refused { problem } => problem.take().unwrap_or_else(defect).into_response(),
        };
        drop(this.in_flight.take());
        // What was held back because the client asked for it took no time of the daemon.
        let held = response.extensions().get::<HeldBack>().map_or(Duration::ZERO, |held| held.0);
        let duration = clock::mono().since(*this.started).saturating_sub(held);
        this.shared.app.meter().record(*this.route, response.status().as_u16(), duration);
        Poll::Ready(Ok(finish(response, this.shared, *this.route, *this.number)))
    }
}

static RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

/// What a browser that shows an answer must not do: guess another type, put it into a frame, tell others where it was, let other sites
/// have it (OWASP REST Security Cheat Sheet, "Security Headers").
fn forbid(headers: &mut HeaderMap) {
    headers.reserve(4);
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(RESOURCE_POLICY.clone(), HeaderValue::from_static("same-origin"));
}

/// Gives an answer the headers that all have, and an error its request id and its body.
fn finish(mut response: Response, shared: &Shared, route: usize, number: u64) -> Response {
    forbid(response.headers_mut());
    let status = response.status();
    if !status.is_client_error() && !status.is_server_error() {
        return response;
    }
    let request_id = format!("{}-{number}", shared.app.about().run_id);
    if status.as_u16() == 500 {
        tracing::error!(request_id, path = ROUTES.get(route).copied(), "request failed");
    }
    let mut response = error::complete(response, &request_id);
    if let Ok(value) = HeaderValue::try_from(request_id) {
        response.headers_mut().insert(REQUEST_ID.clone(), value);
    }
    response
}

/// The bounds that hold on every path. No path takes a body yet, so none is read; what acts refuses one itself, so that a wrong
/// method is told as such.
fn within_bounds(request: &Request) -> Result<(), Box<Problem>> {
    let length =
        request.headers().get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    if length.is_some_and(|length| length > limits::REQUEST_BODY_BYTES_MAX) {
        let detail = format!("the body is larger than {} bytes", limits::REQUEST_BODY_BYTES_MAX);
        return Err(Problem::new(Code::PayloadTooLarge, detail));
    }
    if has_body(request) && matches!(*request.method(), Method::GET | Method::HEAD) {
        return Err(Problem::new(Code::UnexpectedBody, "a GET or HEAD request has no body here"));
    }
    if request.uri().query().is_some_and(|query| query.len() > limits::QUERY_STRING_BYTES_MAX) {
        let detail = format!("the query is longer than {} bytes", limits::QUERY_STRING_BYTES_MAX);
        return Err(Problem::new(Code::QueryTooLong, detail));
    }
    Ok(())
}

/// Whether a request brings a body, as far as its head says.
pub(crate) fn has_body(request: &Request) -> bool {
    let length = request.headers().get(CONTENT_LENGTH);
    length.is_some_and(|length| {
        length.to_str().is_ok_and(|length| length.parse::<usize>().is_ok_and(|length| length > 0))
    }) || request.headers().contains_key(TRANSFER_ENCODING)
}

/// The route's place in the table; 0 for what matches none.
fn route_of(request: &Request) -> usize {
    let matched = request.extensions().get::<MatchedPath>().map(MatchedPath::as_str);
    matched.and_then(|path| ROUTES.iter().position(|route| *route == path)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::Router;
    use axum::routing::get;
    use lowtide_app::{App, Hooks, Settings};
    use lowtide_collectors::{ApiMeter, CollectConfig};
    use lowtide_core::quiet::QuietConfig;
    use std::sync::Arc;

    #[test]
    fn a_route_that_panics_is_answered_by_a_problem_and_counted() {
        let settings = Settings {
            collect: CollectConfig::default(),
            quiet: QuietConfig::default(),
            leases: None,
            addons: None,
            history: None,
        };
        let hooks = Hooks { after_tick: Box::new(|_| {}) };
        let app = App::start(settings, Arc::new(ApiMeter::new(ROUTES)), hooks).unwrap();
        let shared =
            Shared::new(app.clone(), crate::gate::Gate::open(), tokio::sync::watch::channel(false).1);
        let broken = get(|| async {
            if true {
                panic!("a defect")
            }
        });
        let mut router: Router = Router::new().route("/livez", broken).layer(Observe(shared));
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let body = runtime.block_on(async {
            let response = router
                .call(
                    Request::get("/livez")
                        .header("host", "localhost")
                        .body(axum::body::Body::empty())
                        .unwrap(),
                )
                .await
                .unwrap();
            assert_eq!(response.status(), 500);
            assert!(response.headers().contains_key("x-request-id"));
            axum::body::to_bytes(response.into_body(), 10_000).await.unwrap()
        });
        let problem: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(problem["code"], "internal_error");
        assert!(problem["request_id"].is_string());
        app.stop();
    }
}
