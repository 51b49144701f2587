//! The edge: sockets, TLS, and how many may hold them for how long. What a request is, is for the router; who sends it, for `gate`.
//!
//! A connection that asks nothing is worth nothing: when there are too many, the one that has been silent for longest goes, so that
//! ten thousand slow sockets keep nobody out who asks.

mod connections;
mod stream;
mod tls;

pub use tls::{Tls, TlsError};

use crate::gate::{Gate, Peer};
use crate::routes;
use crate::shared::Shared;
use axum::Router;
use axum::body::Body;
use axum::routing::future::RouteFuture;
use connections::{Busy, Connections, Entry, Held, Pulse};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use lowtide_access::{Access, Scopes};
use lowtide_app::App;
use lowtide_core::limits;
use pin_project_lite::pin_project;
use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use stream::Watched;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tower::Service as _;

/// How long is waited after a socket failed to take a connection: out of descriptors, most of the time.
const AFTER_FAILURE: Duration = Duration::from_millis(200);

/// A socket that requests come from.
#[derive(Debug)]
pub enum Listener {
    /// An address of the network, with TLS or without.
    Tcp(TcpListener, Option<Arc<Tls>>),
    /// A file: who connects is known by their user.
    Unix(UnixListener),
}

/// How the interface is served.
#[derive(Debug)]
pub struct Edge {
    /// The sockets.
    pub listeners: Vec<Listener>,
    /// Who may ask.
    pub access: Arc<Access>,
    /// What users of the unix socket may do who are neither root nor the daemon's own user; these may do everything.
    pub local_users: Scopes,
    /// Names besides `localhost` and bare addresses by which this daemon may be asked.
    pub hosts: Vec<String>,
    /// What stands before every path, such as `/lowtide`; empty for nothing.
    pub base_path: String,
    /// Networks whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<ipnet::IpNet>,
    /// How much is taken.
    pub bounds: Bounds,
}

/// How many connections there may be, and for how long they may be slow.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Connections in all.
    pub connections_max: usize,
    /// Connections from one address of another machine (of IPv6: from one /64).
    pub connections_per_peer_max: usize,
    /// From the first byte of a request to the end of its head.
    pub head_max: Duration,
    /// Without a request.
    pub idle_max: Duration,
    /// For the peer to take some of what it was sent.
    pub write_max: Duration,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            connections_max: limits::CONNECTIONS_MAX,
            connections_per_peer_max: limits::CONNECTIONS_PER_PEER_MAX,
            head_max: limits::REQUEST_HEAD_MAX,
            idle_max: limits::CONNECTION_IDLE_MAX,
            write_max: limits::RESPONSE_WRITE_MAX,
        }
    }
}

impl Edge {
    /// Plain sockets, no tokens but those of `access`, nothing else set.
    #[must_use]
    pub fn plain(listeners: Vec<TcpListener>, access: Arc<Access>) -> Self {
        Self {
            listeners: listeners.into_iter().map(|listener| Listener::Tcp(listener, None)).collect(),
            access,
            local_users: Scopes::default(),
            hosts: Vec::new(),
            base_path: String::new(),
            trusted_proxies: Vec::new(),
            bounds: Bounds::default(),
        }
    }
}

/// Serves requests on every socket until `stop` resolves; then takes no new ones, ends the event streams, and gives the
/// open requests [`limits::SHUTDOWN_GRACE`] to finish.
///
/// # Errors
/// When a task of the server died by a defect.
pub async fn serve(edge: Edge, app: App, stop: impl Future<Output = ()>) -> io::Result<()> {
    let (close, closing) = watch::channel(false);
    let gate = Gate::new(&edge);
    let shared = Shared::new(app, gate, closing.clone());
    let connections = Connections::new(edge.bounds.connections_max, edge.bounds.connections_per_peer_max);
    let server = Server {
        router: routes::router(shared),
        base_path: edge.base_path.into(),
        bounds: edge.bounds,
        connections: Arc::new(connections),
        closing,
    };
    let mut servers = JoinSet::new();
    for listener in edge.listeners {
        servers.spawn(server.clone().accept(listener));
    }
    drop(server);
    let failed = tokio::select! {
        () = stop => None,
        ended = servers.join_next() => ended,
    };
    let _ = close.send(true);
    // A bound on how long an idle client can hold the process, not a wait for work.
    let drained =
        tokio::time::timeout(limits::SHUTDOWN_GRACE, async { while servers.join_next().await.is_some() {} })
            .await;
    if drained.is_err() {
        tracing::warn!("open requests were cut at shutdown");
    }
    failed.map_or(Ok(()), |ended| ended.map_err(io::Error::other))
}

/// What all connections share.
#[derive(Clone)]
struct Server {
    router: Router,
    base_path: Arc<str>,
    bounds: Bounds,
    connections: Arc<Connections>,
    closing: watch::Receiver<bool>,
}

impl Server {
    /// Takes connections from one socket until the end, and waits for theirs.
    async fn accept(self, listener: Listener) {
        let mut closing = self.closing.clone();
        let mut open = JoinSet::new();
        let mut failing = false;
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                // Those that ended make room.
                Some(_) = open.join_next() => continue,
                _ = closing.wait_for(|closing| *closing) => break,
            };
            match accepted {
                Ok((connection, peer)) => {
                    failing = false;
                    if let Some(entry) = self.connections.enter(peer.address()) {
                        open.spawn(self.clone().keep(connection, peer, entry));
                    }
                }
                Err(error) => {
                    if !std::mem::replace(&mut failing, true) {
                        tracing::error!(%error, "a connection could not be taken");
                    }
                    let pause = closing.wait_for(|closing| *closing);
                    let _ = tokio::time::timeout(AFTER_FAILURE, pause).await;
                }
            }
        }
        drop(listener);
        while open.join_next().await.is_some() {}
    }

    /// Serves one connection to its end.
    async fn keep(self, connection: Connection, peer: Peer, entry: Entry) {
        let pulse = Arc::clone(entry.pulse());
        let served = async {
            match connection {
                Connection::Tcp(stream) => {
                    // A long answer is written in pieces: none must wait until the client has confirmed the one before (RFC 896).
                    let _ = stream.set_nodelay(true);
                    self.speak(Watched::new(stream, Arc::clone(&pulse), self.bounds), peer, &pulse).await;
                }
                Connection::Tls(stream, tls) => {
                    let _ = stream.set_nodelay(true);
                    let stream = Watched::new(stream, Arc::clone(&pulse), self.bounds);
                    // The watch over the bytes bounds the handshake too; its failure is the client's, and no news.
                    if let Ok(stream) = tls.acceptor().accept(stream).await {
                        self.speak(stream, peer, &pulse).await;
                    }
                }
                Connection::Unix(stream) => {
                    self.speak(Watched::new(stream, Arc::clone(&pulse), self.bounds), peer, &pulse).await;
                }
            }
        };
        tokio::select! {
            () = served => {}
            () = pulse.ended() => {}
        }
        drop(entry);
    }

    async fn speak<S>(&self, stream: S, peer: Peer, pulse: &Arc<Pulse>)
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let service = Ask {
            router: self.router.clone(),
            base_path: Arc::clone(&self.base_path),
            peer,
            pulse: Arc::clone(pulse),
        };
        let mut builder = Builder::new(TokioExecutor::new());
        builder
            .http1()
            .timer(TokioTimer::new())
            // `Watched` does this, and tells a slow head from an idle connection.
            .header_read_timeout(None)
            .max_headers(limits::REQUEST_HEADERS_MAX)
            .max_buf_size(limits::REQUEST_HEAD_BYTES_MAX);
        builder
            .http2()
            .timer(TokioTimer::new())
            .max_concurrent_streams(limits::HTTP2_STREAMS_MAX)
            .max_header_list_size(limits::REQUEST_HEAD_BYTES_MAX as u32)
            .max_send_buf_size(limits::HTTP2_SEND_BYTES_MAX);
        let served = builder.serve_connection(TokioIo::new(stream), service);
        tokio::pin!(served);
        let mut closing = self.closing.clone();
        tokio::select! {
            // How a connection ends is the client's affair.
            _ = served.as_mut() => return,
            _ = closing.wait_for(|closing| *closing) => {}
        }
        served.as_mut().graceful_shutdown();
        let _ = served.await;
    }
}

/// A connection as it was taken.
enum Connection {
    Tcp(tokio::net::TcpStream),
    Tls(tokio::net::TcpStream, Arc<Tls>),
    Unix(tokio::net::UnixStream),
}

impl Listener {
    async fn accept(&self) -> io::Result<(Connection, Peer)> {
        match self {
            Self::Tcp(listener, tls) => {
                let (stream, address) = listener.accept().await?;
                let address = address.ip().to_canonical();
                let connection = match tls {
                    Some(tls) => Connection::Tls(stream, Arc::clone(tls)),
                    None => Connection::Tcp(stream),
                };
                Ok((connection, Peer::Address(address)))
            }
            Self::Unix(listener) => {
                let (stream, _) = listener.accept().await?;
                let uid = stream.peer_cred()?.uid();
                Ok((Connection::Unix(stream), Peer::User(uid)))
            }
        }
    }
}

impl Peer {
    fn address(self) -> Option<IpAddr> {
        match self {
            Self::Address(address) => Some(address),
            Self::User(_) => None,
        }
    }
}

/// Hands the requests of one connection to the router.
struct Ask {
    router: Router,
    base_path: Arc<str>,
    peer: Peer,
    pulse: Arc<Pulse>,
}

impl hyper::service::Service<hyper::Request<Incoming>> for Ask {
    type Response = hyper::Response<Held>;
    type Error = Infallible;
    type Future = Answering;

    fn call(&self, request: hyper::Request<Incoming>) -> Self::Future {
        // Until the last byte of the answer is on its way.
        let busy = self.pulse.begin();
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(self.peer);
        strip(request.uri_mut(), &self.base_path);
        Answering { answer: self.router.clone().call(request), busy: Some(busy) }
    }
}

pin_project! {
    /// An answer on its way. Not a boxed future: one would be made for every request.
    struct Answering {
        #[pin]
        answer: RouteFuture<Infallible>,
        busy: Option<Busy>,
    }
}

impl Future for Answering {
    type Output = Result<hyper::Response<Held>, Infallible>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let answer = ready!(this.answer.poll(context));
        let busy = this.busy.take();
        Poll::Ready(answer.map(|answer| answer.map(|body| Held::new(body, busy))))
    }
}

/// Takes the base path away, where the proxy before us left it there.
fn strip(uri: &mut hyper::Uri, base_path: &str) {
    if base_path.is_empty() {
        return;
    }
    let Some(rest) =
        uri.path().strip_prefix(base_path).filter(|rest| rest.is_empty() || rest.starts_with('/'))
    else {
        return;
    };
    let query = uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    let path = if rest.is_empty() { "/" } else { rest };
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = format!("{path}{query}").parse().ok();
    if let Ok(stripped) = hyper::Uri::from_parts(parts) {
        *uri = stripped;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_base_path_is_taken_away_where_it_stands() {
        let stripped = |path: &str| {
            let mut uri: hyper::Uri = path.parse().unwrap();
            strip(&mut uri, "/tide");
            uri.to_string()
        };
        assert_eq!(stripped("/tide/livez?a=b"), "/livez?a=b");
        assert_eq!(stripped("/tide"), "/");
        assert_eq!(stripped("/tides/livez"), "/tides/livez");
        assert_eq!(stripped("/livez"), "/livez");
        assert_eq!(stripped("http://host/tide/livez"), "http://host/livez");
    }
}
