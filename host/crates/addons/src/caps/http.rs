//! The behaviour behind the import `http`: requests to the origins that the operator granted, one by one.
//!
//! It follows no redirect, asks no proxy, and keeps no answer. What is compared with the grants is the very URL that is connected to,
//! read by one parser. It reads no clock; the waiting has one bound for the whole request.

mod client;
mod private;

use crate::capabilities::{HttpMethod, HttpRule, Origin};
use crate::caps::blocking::Blocking;
use crate::caps::log::clean;
use crate::fakes::Fakes;
use crate::id::AddonId;
use crate::limits;
use bytes::Bytes;
use client::Clients;
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Incoming};
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Request, Response, Uri};
use lowtide_core::rate::TokenBucket;
use lowtide_core::units::MonoTime;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::timeout;

/// A request, without its method and body.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HttpRequest {
    /// An absolute URL.
    pub url: String,
    /// Header fields.
    pub headers: Vec<(String, String)>,
    /// Give up after this time; none: [`limits::HTTP_TIMEOUT_DEFAULT`].
    pub timeout: Option<Duration>,
}

/// An answer, whatever its status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpResponse {
    /// The status code.
    pub status: u16,
    /// Header fields, names in lower case. What is not UTF-8 in a value is replaced.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

/// Why there is no answer. The texts are for the addon and for its operator.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HttpError {
    /// The request breaks a rule.
    #[error("{0}")]
    Invalid(String),
    /// This method and origin were not granted.
    #[error("{0}")]
    NotGranted(String),
    /// No answer within the time.
    #[error("no answer within the time")]
    Timeout,
    /// The name does not resolve, nobody listens, or the connection broke.
    #[error("{0}")]
    Unreachable(String),
    /// The answer is larger than it may be.
    #[error("the answer is larger than it may be")]
    TooLarge,
    /// Too many requests.
    #[error("more than {} requests a second: ask less often", limits::HTTP_REQUESTS_PER_SECOND)]
    LimitExceeded,
}

/// One addon's way to other servers.
#[derive(Debug)]
pub struct HttpDesk {
    addon: AddonId,
    rules: Vec<HttpRule>,
    requests: Mutex<TokenBucket>,
    clients: Clients,
    fakes: Option<Arc<Fakes>>,
}

impl HttpDesk {
    /// A way to what was granted. Opens nothing until it is asked.
    #[must_use]
    pub fn new(addon: AddonId, rules: Vec<HttpRule>, blocking: Blocking) -> Self {
        Self::with_clients(addon, rules, Clients::new(blocking))
    }

    fn with_clients(addon: AddonId, rules: Vec<HttpRule>, clients: Clients) -> Self {
        let requests = TokenBucket::new(limits::HTTP_REQUESTS_PER_SECOND, limits::HTTP_REQUESTS_BURST);
        Self { addon, rules, requests: Mutex::new(requests), clients, fakes: None }
    }

    /// Answers from a made-up machine instead, if there is one.
    #[must_use]
    pub(crate) fn with_fakes(self, fakes: Option<&Arc<Fakes>>) -> Self {
        Self { fakes: fakes.cloned(), ..self }
    }

    /// Sends a request and waits for the whole answer.
    ///
    /// # Errors
    /// See [`HttpError`].
    pub async fn send(
        &self,
        now: MonoTime,
        method: HttpMethod,
        request: HttpRequest,
        body: Option<Vec<u8>>,
    ) -> Result<HttpResponse, HttpError> {
        let (uri, origin) = parse(&request.url)?;
        let rule = HttpRule { method, origin };
        if !self.rules.contains(&rule) {
            return Err(self.not_granted(&rule));
        }
        let within = request.timeout.unwrap_or(limits::HTTP_TIMEOUT_DEFAULT);
        if within > limits::HTTP_TIMEOUT_MAX {
            let most = limits::HTTP_TIMEOUT_MAX.as_secs();
            return Err(HttpError::Invalid(format!("the timeout is longer than {most} s: ask for less")));
        }
        let headers = headers(&request.headers)?;
        let body = body.unwrap_or_default();
        if body.len() > limits::HTTP_BODY_BYTES_MAX {
            let most = limits::HTTP_BODY_BYTES_MAX;
            return Err(HttpError::Invalid(format!(
                "the body has {} bytes, at most {most} may be sent: send less",
                body.len()
            )));
        }
        if !self.requests.lock().unwrap_or_else(PoisonError::into_inner).take(now) {
            return Err(HttpError::LimitExceeded);
        }
        if let Some(fakes) = &self.fakes {
            return fakes.answer(method, &request.url);
        }
        let mut prepared = Request::new(Full::new(Bytes::from(body)));
        *prepared.method_mut() = match method {
            HttpMethod::Get => Method::GET,
            HttpMethod::Post => Method::POST,
        };
        *prepared.uri_mut() = uri;
        *prepared.headers_mut() = headers;
        let exchange = async {
            let answer = self.clients.request(&rule.origin, prepared).await?;
            receive(&rule.origin, answer).await
        };
        timeout(within, exchange).await.unwrap_or(Err(HttpError::Timeout))
    }

    fn not_granted(&self, rule: &HttpRule) -> HttpError {
        let rule = rule.to_string();
        let rule = clean(&rule, limits::HTTP_URL_BYTES_MAX);
        let quoted = toml::Value::String(rule.clone().into_owned());
        HttpError::NotGranted(format!(
            "{rule} was not granted: ask for it in addon.toml, and the operator for http = [{quoted}] in [addon.{}.grants]",
            self.addon
        ))
    }
}

/// Takes a text as an absolute URL and names its origin.
fn parse(url: &str) -> Result<(Uri, Origin), HttpError> {
    if url.len() > limits::HTTP_URL_BYTES_MAX {
        let most = limits::HTTP_URL_BYTES_MAX;
        return Err(HttpError::Invalid(format!(
            "the url has {} bytes, at most {most} may be: use a shorter one",
            url.len()
        )));
    }
    let wrong = || {
        let shown = clean(url, limits::HTTP_URL_BYTES_MAX);
        HttpError::Invalid(format!("{shown:?} is not a url such as http://127.0.0.1:8096/path: correct it"))
    };
    let uri: Uri = url.parse().map_err(|_| wrong())?;
    let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else { return Err(wrong()) };
    let secure = match scheme {
        "http" => false,
        "https" => true,
        _ => return Err(wrong()),
    };
    if authority.as_str().contains('@') {
        return Err(HttpError::Invalid(
            "the url has a user in it: send an authorization header instead".to_owned(),
        ));
    }
    let (host, port) = (authority.host(), authority.port_u16());
    // An empty port, one that is no number or one with zeros before it would be read differently by different programs.
    let plain = port.map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
    if host.is_empty() || plain != authority.as_str() {
        return Err(wrong());
    }
    let port = port.unwrap_or(if secure { 443 } else { 80 });
    let origin = Origin { secure, host: host.to_ascii_lowercase(), port };
    Ok((uri, origin))
}

/// Takes the addon's header fields, if they are sound and none of them is the host's own.
fn headers(fields: &[(String, String)]) -> Result<HeaderMap, HttpError> {
    let bytes: usize = fields.iter().map(|(name, value)| name.len() + value.len()).sum();
    let (most, most_bytes) = (limits::HTTP_HEADERS_MAX, limits::HTTP_HEADER_BYTES_MAX);
    if fields.len() > most || bytes > most_bytes {
        let text = format!(
            "{} header fields of {bytes} bytes, at most {most} of {most_bytes} may be sent: send fewer",
            fields.len()
        );
        return Err(HttpError::Invalid(text));
    }
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        let shown = clean(name, limits::ID_BYTES_MAX);
        let wrong = |part: &str| {
            HttpError::Invalid(format!("the {part} of header field {shown:?} is not one: correct it"))
        };
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| wrong("name"))?;
        if [header::HOST, header::CONNECTION, header::CONTENT_LENGTH, header::TRANSFER_ENCODING]
            .contains(&name)
        {
            return Err(HttpError::Invalid(format!("header field {name} is set by the host: leave it out")));
        }
        headers.append(name, HeaderValue::from_bytes(value.as_bytes()).map_err(|_| wrong("value"))?);
    }
    Ok(headers)
}

/// Takes an answer as long as it keeps to its bounds.
async fn receive(origin: &Origin, answer: Response<Incoming>) -> Result<HttpResponse, HttpError> {
    let (head, mut incoming) = answer.into_parts();
    let bytes: usize = head.headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
    let declared = usize::try_from(incoming.size_hint().lower()).unwrap_or(usize::MAX);
    if head.headers.len() > limits::HTTP_HEADERS_MAX
        || bytes > limits::HTTP_HEADER_BYTES_MAX
        || declared > limits::HTTP_BODY_BYTES_MAX
    {
        return Err(HttpError::TooLarge);
    }
    let mut body = Vec::with_capacity(declared);
    while let Some(frame) = incoming.frame().await {
        let frame = frame.map_err(|error| client::broken(origin, &error))?;
        let Some(piece) = frame.data_ref() else { continue };
        if body.len() + piece.len() > limits::HTTP_BODY_BYTES_MAX {
            return Err(HttpError::TooLarge);
        }
        body.extend_from_slice(piece);
    }
    let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let headers = head.headers.iter().map(|(name, value)| (name.as_str().to_owned(), text(value))).collect();
    Ok(HttpResponse { status: head.status.as_u16(), headers, body })
}

#[cfg(test)]
mod tests;
