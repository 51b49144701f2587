//! The client side of the command line: one request, a deadline, and an answer that says what went wrong.

mod connector;

use clap::Args;
use connector::Connector;
use http_body_util::{BodyExt as _, Full, Limited};
pub(crate) use hyper::Method;
use hyper::body::Bytes;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use lowtide_access::Secret;
use lowtide_addons::caps::log::clean;
use serde_json::{Value, json};
use std::error::Error as _;
use std::path::PathBuf;
use std::time::Duration;

/// Where clients look for the daemon unless told otherwise.
const DEFAULT_URL: &str = "http://127.0.0.1:4270";

/// The name of a token among systemd's credentials.
const CREDENTIAL: &str = "lowtide-token";

/// Whole request. The daemon answers within milliseconds; a machine in trouble may need seconds.
const DEADLINE: Duration = Duration::from_secs(10);

/// Largest answer that is read.
const ANSWER_BYTES_MAX: usize = 16 << 20;

/// Bytes of a refusal's reason that are repeated.
const DETAIL_BYTES_MAX: usize = 2 << 10;

/// Which daemon, and by what right.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct Daemon {
    /// Address of the daemon: http://, https:// or unix:/path/of/its.sock
    #[arg(long, env = "LOWTIDE_URL", default_value = DEFAULT_URL)]
    url: String,
    /// File with the token to show, for a daemon that has tokens. Without it LOWTIDE_TOKEN, or the systemd credential lowtide-token
    #[arg(long, env = "LOWTIDE_TOKEN_FILE", value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Certificates to trust with https://, PEM, in place of the machine's own
    #[arg(long, env = "LOWTIDE_CA_FILE", value_name = "FILE")]
    ca_file: Option<PathBuf>,
}

impl Daemon {
    /// The address of the daemon; an empty `LOWTIDE_URL` is as good as none.
    pub(crate) fn url(&self) -> &str {
        if self.url.is_empty() { DEFAULT_URL } else { &self.url }
    }

    /// What another process needs to ask the same daemon by the same right; no secret.
    pub(crate) fn to_json(&self) -> Value {
        let absolute = |path: &Option<PathBuf>| {
            path.as_ref().map(|path| std::path::absolute(path).unwrap_or_else(|_| path.clone()))
        };
        json!({ "url": self.url(), "token_file": absolute(&self.token_file), "ca_file": absolute(&self.ca_file) })
    }

    /// What [`to_json`](Self::to_json) wrote.
    pub(crate) fn from_json(value: &Value) -> Self {
        let text = |name: &str| value.get(name).and_then(Value::as_str);
        Self {
            url: text("url").unwrap_or_default().to_owned(),
            token_file: text("token_file").map(PathBuf::from),
            ca_file: text("ca_file").map(PathBuf::from),
        }
    }

    /// The header that shows the token, where there is one.
    fn authorization(&self) -> Result<Option<HeaderValue>, ClientError> {
        let credential = || Some(PathBuf::from(std::env::var_os("CREDENTIALS_DIRECTORY")?).join(CREDENTIAL));
        let variable = || std::env::var("LOWTIDE_TOKEN").ok().filter(|text| !text.is_empty());
        let (text, from) = match (&self.token_file, variable()) {
            (Some(path), _) => (read_token(path)?, path.display().to_string()),
            (None, Some(text)) => (text, "LOWTIDE_TOKEN".to_owned()),
            (None, None) => match credential().filter(|path| path.exists()) {
                Some(path) => (read_token(&path)?, path.display().to_string()),
                None => return Ok(None),
            },
        };
        let wrong = || ClientError::Token {
            from,
            why: "it holds no token, which is lowtide_, 8 digits, _ and 64 digits".to_owned(),
        };
        let secret = Secret::parse(text.trim()).ok_or_else(wrong)?;
        let mut header = HeaderValue::try_from(format!("Bearer {}", secret.reveal()))
            .unwrap_or_else(|_| HeaderValue::from_static(""));
        header.set_sensitive(true);
        Ok(Some(header))
    }
}

fn read_token(path: &std::path::Path) -> Result<String, ClientError> {
    std::fs::read_to_string(path)
        .map_err(|error| ClientError::Token { from: path.display().to_string(), why: error.to_string() })
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClientError {
    /// The address is not one that can be asked.
    #[error("{url:?} is not an address of a daemon: {why}; use for example http://127.0.0.1:4270")]
    Address { url: String, why: &'static str },
    /// The token cannot be shown.
    #[error("the token cannot be read from {from}: {why}")]
    Token { from: String, why: String },
    /// The certificates to trust cannot be used.
    #[error("the certificates to trust cannot be read from {from}: {why}")]
    Certificates { from: String, why: String },
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
pub(crate) fn get(daemon: &Daemon, path: &str) -> Result<Value, ClientError> {
    send(Method::GET, daemon, path, None)
}

/// Asks for something to be done; the answer is a JSON document.
pub(crate) fn post(daemon: &Daemon, path: &str) -> Result<Value, ClientError> {
    send(Method::POST, daemon, path, None)
}

/// Sends a request, with a JSON body where there is one; what is null in it is left out. The answer is a JSON document.
pub(crate) fn send(
    method: Method,
    daemon: &Daemon,
    path: &str,
    body: Option<&Value>,
) -> Result<Value, ClientError> {
    send_within(DEADLINE, method, daemon, path, body)
}

/// The same with another deadline, for answers that are held back.
pub(crate) fn send_within(
    deadline: Duration,
    method: Method,
    daemon: &Daemon,
    path: &str,
    body: Option<&Value>,
) -> Result<Value, ClientError> {
    let unreachable = |why: String| ClientError::Unreachable { url: daemon.url().to_owned(), why };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| unreachable(error.to_string()))?;
    runtime.block_on(async { Kept::new(daemon)?.send(deadline, method, path, body).await })
}

/// A daemon that is asked again and again: its connections are kept. Needs a tokio runtime.
#[derive(Clone, Debug)]
pub(crate) struct Kept {
    client: Client<Connector, Full<Bytes>>,
    daemon: Daemon,
}

impl Kept {
    /// For this daemon; nothing is sent yet.
    ///
    /// # Errors
    /// [`ClientError::Address`], [`ClientError::Certificates`].
    pub(crate) fn new(daemon: &Daemon) -> Result<Self, ClientError> {
        let client = Client::builder(TokioExecutor::new()).build(Connector::new(daemon)?);
        Ok(Self { client, daemon: daemon.clone() })
    }

    /// Which daemon.
    pub(crate) fn daemon(&self) -> &Daemon {
        &self.daemon
    }

    /// As [`send_within`]. Dropped, the request is given up and its connection closed.
    pub(crate) async fn send(
        &self,
        deadline: Duration,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Value, ClientError> {
        let url = self.daemon.url();
        let uri = address(url, path)?;
        // Read anew each time: a token that was rotated counts at once.
        let authorization = self.daemon.authorization()?;
        let body = body.cloned().map(|mut body| {
            if let Some(fields) = body.as_object_mut() {
                fields.retain(|_, value| !value.is_null());
            }
            Bytes::from(body.to_string())
        });
        let unreachable = |why: String| ClientError::Unreachable { url: url.to_owned(), why };
        // The deadline of a foreground command.
        let answer = tokio::time::timeout(deadline, self.fetch(method, uri, authorization, body)).await;
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
        authorization: Option<HeaderValue>,
        body: Option<Bytes>,
    ) -> Result<(u16, Bytes), String> {
        let json = body.is_some();
        let mut request = hyper::Request::new(Full::new(body.unwrap_or_default()));
        (*request.method_mut(), *request.uri_mut()) = (method, uri);
        if let Some(header) = authorization {
            request.headers_mut().insert(AUTHORIZATION, header);
        }
        if json {
            request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        let response = self.client.request(request).await.map_err(|error| chain(&error))?;
        let status = response.status().as_u16();
        let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await;
        Ok((status, body.map_err(|error| error.to_string())?.to_bytes()))
    }
}

/// Where a request goes. On a unix socket there is no host; that of HTTP/1.1 must be there all the same.
fn address(url: &str, path: &str) -> Result<hyper::Uri, ClientError> {
    let wrong = |why| ClientError::Address { url: url.to_owned(), why };
    let base = if url.starts_with("unix:") { "http://localhost" } else { url.trim_end_matches('/') };
    let uri: hyper::Uri = format!("{base}{path}").parse().map_err(|_| wrong("it cannot be read"))?;
    match uri.scheme_str() {
        Some("http" | "https") if uri.authority().is_some() => Ok(uri),
        _ => Err(wrong("it must begin with http://, https:// or unix:/")),
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
