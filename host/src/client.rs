//! The client side of the command line: one request, a deadline, and an answer that says what went wrong.

use http_body_util::{BodyExt as _, Full, Limited};
pub(crate) use hyper::Method;
use hyper::body::Bytes;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use hyper_util::rt::TokioExecutor;
use lowtide_addons::caps::log::clean;
use serde_json::Value;
use std::error::Error as _;
use std::time::Duration;

/// Whole request. The daemon answers within milliseconds; a machine in trouble may need seconds.
const DEADLINE: Duration = Duration::from_secs(10);

/// Largest answer that is read.
const ANSWER_BYTES_MAX: usize = 16 << 20;

/// Bytes of a refusal's reason that are repeated.
const DETAIL_BYTES_MAX: usize = 2 << 10;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClientError {
    /// The address is not one that can be asked.
    #[error("{url:?} is not an address of a daemon: {why}; use for example http://127.0.0.1:4270")]
    Address { url: String, why: &'static str },
    /// Nobody answers there.
    #[error(
        "no daemon answers at {url}: {why}; start it with `lowtide serve`, or name another with --url or LOWTIDE_URL"
    )]
    Unreachable { url: String, why: String },
    /// The daemon is there but has nothing to say yet, or refused.
    #[error("the daemon at {url} answered {status}: {detail}")]
    Refused { url: String, status: u16, code: String, detail: String },
    /// What answers is no Lowtide daemon.
    #[error("what answers at {url} is not a lowtide daemon: {why}")]
    NotLowtide { url: String, why: String },
}

/// Gets one JSON document.
pub(crate) fn get(url: &str, path: &str) -> Result<Value, ClientError> {
    send(Method::GET, url, path, None)
}

/// Asks for something to be done; the answer is a JSON document.
pub(crate) fn post(url: &str, path: &str) -> Result<Value, ClientError> {
    send(Method::POST, url, path, None)
}

/// Sends a request, with a JSON body where there is one; what is null in it is left out. The answer is a JSON document.
pub(crate) fn send(
    method: Method,
    url: &str,
    path: &str,
    body: Option<&Value>,
) -> Result<Value, ClientError> {
    send_within(DEADLINE, method, url, path, body)
}

/// The same with another deadline, for answers that are held back.
pub(crate) fn send_within(
    deadline: Duration,
    method: Method,
    url: &str,
    path: &str,
    body: Option<&Value>,
) -> Result<Value, ClientError> {
    let unreachable = |why: String| ClientError::Unreachable { url: url.to_owned(), why };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| unreachable(error.to_string()))?;
    runtime.block_on(Kept::new(url).send(deadline, method, path, body))
}

/// A daemon that is asked again and again: its connections are kept. Needs a tokio runtime.
#[derive(Clone, Debug)]
pub(crate) struct Kept {
    client: Client<HttpConnector, Full<Bytes>>,
    url: String,
}

impl Kept {
    /// For the daemon at this address; nothing is sent yet.
    pub(crate) fn new(url: &str) -> Self {
        Self { client: Client::builder(TokioExecutor::new()).build_http(), url: url.to_owned() }
    }

    /// As [`send_within`]. Dropped, the request is given up and its connection closed.
    pub(crate) async fn send(
        &self,
        deadline: Duration,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Value, ClientError> {
        let url = &self.url;
        let uri = address(url, path)?;
        let body = body.cloned().map(|mut body| {
            if let Some(fields) = body.as_object_mut() {
                fields.retain(|_, value| !value.is_null());
            }
            Bytes::from(body.to_string())
        });
        let unreachable = |why: String| ClientError::Unreachable { url: url.clone(), why };
        // The deadline of a foreground command.
        let answer = tokio::time::timeout(deadline, self.fetch(method, uri, body)).await;
        match answer {
            Err(_) => Err(unreachable(format!("no answer within {} s", deadline.as_secs()))),
            Ok(Err(why)) => Err(unreachable(why)),
            Ok(Ok((status, body))) => document(url, status, &body),
        }
    }

    async fn fetch(
        &self,
        method: Method,
        uri: hyper::Uri,
        body: Option<Bytes>,
    ) -> Result<(u16, Bytes), String> {
        let json = body.is_some();
        let mut request = hyper::Request::new(Full::new(body.unwrap_or_default()));
        (*request.method_mut(), *request.uri_mut()) = (method, uri);
        if json {
            request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        let response = self.client.request(request).await.map_err(|error| chain(&error))?;
        let status = response.status().as_u16();
        let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await;
        Ok((status, body.map_err(|error| error.to_string())?.to_bytes()))
    }
}

fn address(url: &str, path: &str) -> Result<hyper::Uri, ClientError> {
    let wrong = |why| ClientError::Address { url: url.to_owned(), why };
    let base = url.trim_end_matches('/');
    let uri: hyper::Uri = format!("{base}{path}").parse().map_err(|_| wrong("it cannot be read"))?;
    match uri.scheme_str() {
        Some("http") if uri.authority().is_some() => Ok(uri),
        Some("https") => Err(wrong("TLS does not exist in this version")),
        _ => Err(wrong("it must begin with http://")),
    }
}

/// What an answer says.
fn document(url: &str, status: u16, body: &[u8]) -> Result<Value, ClientError> {
    let not_lowtide = |why: String| ClientError::NotLowtide { url: url.to_owned(), why };
    let document: Result<Value, _> = serde_json::from_slice(body);
    if matches!(status, 200 | 202) {
        return document.map_err(|error| not_lowtide(error.to_string()));
    }
    let problem = document.unwrap_or_default();
    let word = |name: &str| problem.get(name).and_then(Value::as_str);
    let Some(detail) = word("detail") else { return Err(not_lowtide(format!("it answered {status}"))) };
    let detail = clean(detail, DETAIL_BYTES_MAX).into_owned();
    let code = word("code").unwrap_or_default().to_owned();
    Err(ClientError::Refused { url: url.to_owned(), status, code, detail })
}

/// The innermost cause: "connection refused" says more than "client error".
fn chain(error: &hyper_util::client::legacy::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text = inner.to_string();
        cause = inner.source();
    }
    text
}
