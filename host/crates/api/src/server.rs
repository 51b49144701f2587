//! Serving the router on a bound socket until told to stop.

use crate::routes;
use crate::shared::Shared;
use axum::serve::ListenerExt as _;
use lowtide_app::App;
use lowtide_core::limits;
use std::future::{Future, IntoFuture as _};
use std::io;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Serves requests on every listener until `stop` resolves; then takes no new ones, ends the event streams, and gives the
/// open requests [`limits::SHUTDOWN_GRACE`] to finish.
///
/// # Errors
/// When a socket fails for good.
pub async fn serve(listeners: Vec<TcpListener>, app: App, stop: impl Future<Output = ()>) -> io::Result<()> {
    let (close, closing) = watch::channel(false);
    let router = routes::router(Shared::new(app, closing.clone()));
    let mut servers = JoinSet::new();
    for listener in listeners {
        let mut closing = closing.clone();
        let closed = async move { drop(closing.wait_for(|closing| *closing).await) };
        // A long answer is written in pieces: none must wait until the client has confirmed the one before (RFC 896).
        let listener = listener.tap_io(|connection| drop(connection.set_nodelay(true)));
        servers.spawn(axum::serve(listener, router.clone()).with_graceful_shutdown(closed).into_future());
    }
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
    match failed {
        Some(ended) => ended.map_err(io::Error::other)?,
        None => Ok(()),
    }
}
