//! Connections: one client for `http`, one for `https` that is made at the first such request, and their errors in words.
//!
//! It knows nothing of grants; `http.rs` calls it with what was checked.

use super::{HttpError, private};
use crate::capabilities::Origin;
use crate::caps::blocking::Blocking;
use crate::caps::log::clean;
use crate::limits;
use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::{Request, Response};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::dns::Name;
use hyper_util::client::legacy::connect::{Connect, HttpConnector};
use hyper_util::client::legacy::{Client, Error};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::{ClientConfig, RootCertStore};
use std::error::Error as StdError;
use std::fmt;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::sync::OnceCell;
use tower::Service;

/// Reads the certificates that are trusted. It may block.
pub(super) type Roots = Arc<dyn Fn() -> RootCertStore + Send + Sync>;

type Secure = Client<HttpsConnector<HttpConnector<Resolver>>, Full<Bytes>>;

pub(super) struct Clients {
    plain: Client<HttpConnector<Resolver>, Full<Bytes>>,
    /// Made at the first use: reading the machine's certificates takes tens of milliseconds.
    secure: OnceCell<Secure>,
    roots: Roots,
    resolver: Resolver,
}

impl fmt::Debug for Clients {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Clients").finish_non_exhaustive()
    }
}

/// Resolves names on the addon's own few threads.
#[derive(Clone)]
struct Resolver(Blocking);

impl Service<Name> for Resolver {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = std::io::Error;
    type Future = Pin<Box<dyn Future<Output = std::io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let blocking = self.0.clone();
        // The connector puts in the port, and connects to what is returned here and to nothing else.
        Box::pin(async move {
            let found = blocking.resolve(format!("{name}:0")).await?;
            private::allowed(name.as_str(), found).map(Vec::into_iter)
        })
    }
}

impl Clients {
    /// Clients that trust the authorities that the machine trusts.
    pub(super) fn new(blocking: Blocking) -> Self {
        Self::with_roots(Arc::new(machine_roots), blocking)
    }

    /// Clients that trust what `roots` returns.
    pub(super) fn with_roots(roots: Roots, blocking: Blocking) -> Self {
        let resolver = Resolver(blocking);
        let plain = client(HttpConnector::new_with_resolver(resolver.clone()));
        Self { plain, secure: OnceCell::new(), roots, resolver }
    }

    /// Sends a request and waits for the head of the answer.
    pub(super) async fn request(
        &self,
        origin: &Origin,
        request: Request<Full<Bytes>>,
    ) -> Result<Response<Incoming>, HttpError> {
        let answer = if origin.secure {
            self.secure
                .get_or_try_init(|| secure(origin, Arc::clone(&self.roots), self.resolver.clone()))
                .await?
                .request(request)
                .await
        } else {
            self.plain.request(request).await
        };
        answer.map_err(|error| failed(origin, &error))
    }
}

fn client<C: Connect + Clone>(connector: C) -> Client<C, Full<Bytes>> {
    Client::builder(TokioExecutor::new())
        .pool_idle_timeout(limits::HTTP_IDLE)
        .pool_max_idle_per_host(limits::HTTP_IDLE_CONNECTIONS)
        .pool_timer(TokioTimer::new())
        .http1_max_headers(limits::HTTP_HEADERS_MAX)
        // Room for the line of status besides; what is kept is counted exactly when it is there.
        .http1_max_buf_size(2 * limits::HTTP_HEADER_BYTES_MAX)
        .build(connector)
}

async fn secure(origin: &Origin, roots: Roots, resolver: Resolver) -> Result<Secure, HttpError> {
    let failed = |text: &str| HttpError::Unreachable(format!("cannot ask {origin}: {text}"));
    let roots = tokio::task::spawn_blocking(move || roots())
        .await
        .map_err(|_| failed("reading certificates failed: try again"))?;
    if roots.is_empty() {
        return Err(failed(
            "this machine has no certificates of authorities: install ca-certificates, or set SSL_CERT_FILE for the daemon",
        ));
    }
    let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| failed(&error.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let mut connector = HttpConnector::new_with_resolver(resolver);
    connector.enforce_http(false);
    Ok(client(
        HttpsConnectorBuilder::new()
            .with_tls_config(config)
            .https_only()
            .enable_http1()
            .wrap_connector(connector),
    ))
}

/// The authorities that this machine trusts; those that cannot be read are passed over.
fn machine_roots() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    roots
}

fn failed(origin: &Origin, error: &Error) -> HttpError {
    if !error.is_connect() {
        return broken(origin, error);
    }
    HttpError::Unreachable(format!("cannot connect to {origin}: {}", causes(error)))
}

/// What it means that an answer did not come, or not to its end.
pub(super) fn broken(origin: &Origin, error: &(dyn StdError + 'static)) -> HttpError {
    if chain(error)
        .filter_map(|error| error.downcast_ref::<hyper::Error>())
        .any(hyper::Error::is_parse_too_large)
    {
        return HttpError::TooLarge;
    }
    HttpError::Unreachable(format!("the connection to {origin} broke: {}", causes(error)))
}

fn chain<'a>(error: &'a (dyn StdError + 'static)) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |error: &&'a (dyn StdError + 'static)| (**error).source())
}

/// What an error says, from the outside in. Parts of it may come from the other side, such as a certificate's names.
fn causes(error: &(dyn StdError + 'static)) -> String {
    let mut texts: Vec<String> = Vec::new();
    for text in chain(error).map(ToString::to_string) {
        // Some repeat what is within them.
        if !texts.last().is_some_and(|outer| outer.contains(&text)) {
            texts.push(text);
        }
    }
    clean(&texts.join(": "), limits::LOG_LINE_BYTES_MAX / 4).into_owned()
}
