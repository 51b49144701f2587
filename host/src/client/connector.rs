//! How a daemon is reached: over the network, with TLS where the address says so, or by its unix socket.

use super::{ClientError, Daemon};
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder, MaybeHttpsStream};
use hyper_util::client::legacy::connect::{Connected, Connection, HttpConnector};
use hyper_util::rt::TokioIo;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};
use std::error::Error;
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::net::{TcpStream, UnixStream};
use tower::Service;

/// Makes connections to one daemon.
#[derive(Clone, Debug)]
pub(super) enum Connector {
    /// By address.
    Network(Box<HttpsConnector<HttpConnector>>),
    /// By a file.
    Socket(PathBuf),
}

impl Connector {
    /// For this daemon. The machine's certificates are read only for an address that needs them.
    pub(super) fn new(daemon: &Daemon) -> Result<Self, ClientError> {
        if let Some(path) = daemon.url().strip_prefix("unix:") {
            if !path.starts_with('/') {
                let why = "behind unix: stands the whole path of the socket";
                return Err(ClientError::Address { url: daemon.url().to_owned(), why });
            }
            return Ok(Self::Socket(path.into()));
        }
        let roots = match &daemon.ca_file {
            _ if !daemon.url().starts_with("https:") => RootCertStore::empty(),
            Some(path) => roots_in(path)?,
            None => {
                let mut roots = RootCertStore::empty();
                roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
                roots
            }
        };
        let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| ClientError::Certificates { from: "rustls".to_owned(), why: error.to_string() })?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let connector =
            HttpsConnectorBuilder::new().with_tls_config(config).https_or_http().enable_http1().build();
        Ok(Self::Network(Box::new(connector)))
    }
}

fn roots_in(path: &Path) -> Result<RootCertStore, ClientError> {
    let wrong = |why: String| ClientError::Certificates { from: path.display().to_string(), why };
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(path).map_err(|error| wrong(error.to_string()))? {
        let certificate = certificate.map_err(|error| wrong(error.to_string()))?;
        roots.add(certificate).map_err(|error| wrong(error.to_string()))?;
    }
    if roots.is_empty() { Err(wrong("no certificate in it".to_owned())) } else { Ok(roots) }
}

/// One connection.
pub(super) enum Stream {
    Network(Box<MaybeHttpsStream<TokioIo<TcpStream>>>),
    Socket(TokioIo<UnixStream>),
}

impl Service<hyper::Uri> for Connector {
    type Response = Stream;
    type Error = Box<dyn Error + Send + Sync>;
    type Future = Pin<Box<dyn Future<Output = Result<Stream, Self::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        match self {
            Self::Network(connector) => connector.poll_ready(context),
            Self::Socket(_) => Poll::Ready(Ok(())),
        }
    }

    fn call(&mut self, uri: hyper::Uri) -> Self::Future {
        match self {
            Self::Network(connector) => {
                let connecting = connector.call(uri);
                Box::pin(async move { Ok(Stream::Network(Box::new(connecting.await?))) })
            }
            Self::Socket(path) => {
                let path = path.clone();
                Box::pin(async move { Ok(Stream::Socket(TokioIo::new(UnixStream::connect(path).await?))) })
            }
        }
    }
}

impl Connection for Stream {
    fn connected(&self) -> Connected {
        match self {
            Self::Network(stream) => stream.connected(),
            Self::Socket(_) => Connected::new(),
        }
    }
}

impl Read for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Network(stream) => Pin::new(&mut **stream).poll_read(context, buffer),
            Self::Socket(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

impl Write for Stream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Network(stream) => Pin::new(&mut **stream).poll_write(context, bytes),
            Self::Socket(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Network(stream) => Pin::new(&mut **stream).poll_flush(context),
            Self::Socket(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Network(stream) => Pin::new(&mut **stream).poll_shutdown(context),
            Self::Socket(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}
