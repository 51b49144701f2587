//! Requests to servers that the operator allowed, one by one. Needs the grant `http` with the method and origin of each.
//!
//! At most 10 requests a second (burst 20); an answer has at most 512 KiB. Redirects are not followed.
//!
//! ```
//! # use lowtide_sdk::{Failure, http, testing::FakeHost};
//! # use std::time::Duration;
//! # FakeHost::new().http("GET http://127.0.0.1:8096/Sessions", 200, "[]").run(|| {
//! let answer = http::get("http://127.0.0.1:8096/Sessions")
//!     .header("accept", "application/json")
//!     .timeout(Duration::from_secs(2))
//!     .send()?
//!     .success()?;
//! assert_eq!(answer.text()?, "[]");
//! # Ok::<(), Failure>(())
//! # }).unwrap();
//! ```

use crate::Failure;
use crate::bindings::imports::lowtide::addon::http::Request;
pub use crate::bindings::imports::lowtide::addon::http::Response;
use crate::host::http as host;
use std::fmt;
use std::time::Duration;

/// A request without an answer: which, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpError {
    /// Method and URL.
    pub request: String,
    /// Why.
    pub kind: HttpErrorKind,
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HttpErrorKind {
    /// The request breaks a rule; the text says which.
    Invalid(String),
    /// This method and origin were not granted; the text says what to ask the operator for.
    NotGranted(String),
    /// No answer within the time.
    Timeout,
    /// The name does not resolve, nobody listens, or the connection broke; the text says which.
    Unreachable(String),
    /// The answer is larger than it may be.
    TooLarge,
    /// More requests than 10 a second (burst 20).
    LimitExceeded,
}

impl fmt::Display for HttpErrorKind {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Invalid(text) => out.write_str(text),
            Self::NotGranted(text) => write!(out, "not granted: {text}"),
            Self::Timeout => out.write_str("no answer within the time"),
            Self::Unreachable(text) => write!(out, "unreachable: {text}"),
            Self::TooLarge => out.write_str("the answer is too large"),
            Self::LimitExceeded => out.write_str("too many requests a second"),
        }
    }
}

impl fmt::Display for HttpError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}: {}", self.request, self.kind)
    }
}

impl std::error::Error for HttpErrorKind {}

impl std::error::Error for HttpError {}

/// Begins a GET request. The URL is absolute, `http` or `https`.
pub fn get(url: impl Into<String>) -> RequestBuilder {
    RequestBuilder::new("GET", url.into())
}

/// Begins a POST request. The URL is absolute, `http` or `https`.
pub fn post(url: impl Into<String>) -> RequestBuilder {
    RequestBuilder::new("POST", url.into())
}

/// A request that was not sent yet.
#[derive(Clone, Debug)]
#[must_use = "a request is sent by `send`"]
pub struct RequestBuilder {
    method: &'static str,
    request: Request,
    body: Vec<u8>,
}

impl RequestBuilder {
    fn new(method: &'static str, url: String) -> Self {
        let request = Request { url, headers: Vec::new(), timeout: None };
        Self { method, request, body: Vec::new() }
    }

    /// One more header field. `host`, `connection`, `content-length` and `transfer-encoding` are the host's own.
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.request.headers.push((name.into(), value.into()));
        self
    }

    /// Give up after this time, at most 10 s. Without it: 5 s.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.request.timeout = Some(timeout.as_secs_f64());
        self
    }

    /// The body of a POST request; a GET request has none.
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// Sends it and waits for the answer, whatever its status.
    pub fn send(self) -> Result<Response, HttpError> {
        let answer = if self.method == "POST" {
            host::post(&self.request, &self.body)
        } else {
            host::get(&self.request)
        };
        answer.map_err(|kind| HttpError { request: format!("{} {}", self.method, self.request.url), kind })
    }
}

impl Response {
    /// The answer, if its status is 2xx; otherwise [`Failure::Denied`] for 401 and 403, [`Failure::Unavailable`] for the rest.
    pub fn success(self) -> Result<Self, Failure> {
        match self.status {
            200..=299 => Ok(self),
            401 | 403 => Err(Failure::Denied(format!("the server answered with status {}", self.status))),
            status => Err(Failure::Unavailable(format!("the server answered with status {status}"))),
        }
    }

    /// The value of a header field; names in any case.
    pub fn header(&self, name: &str) -> Option<&str> {
        let field = self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
        field.map(|(_, value)| value.as_str())
    }

    /// The body as text. [`Failure::Unavailable`] if it is not UTF-8.
    pub fn text(&self) -> Result<&str, Failure> {
        std::str::from_utf8(&self.body).map_err(|_| Failure::unavailable("the server's answer is not UTF-8"))
    }
}
