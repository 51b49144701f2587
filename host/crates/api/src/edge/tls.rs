//! TLS by rustls, with a certificate that is read again when its file changes: one that is renewed counts without a restart, and one
//! that cannot be used leaves the old one in its place.

use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, SystemTime};
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;

/// How often it is looked whether the files changed, at most.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// Why there is no TLS.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read, or has not what it must have.
    #[error("{}: {why}", path.display())]
    File {
        /// Which one.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// The key is not that of the certificate, or neither can be used.
    #[error("the certificate in {} does not go with the key: {source}", path.display())]
    Pair {
        /// The file of the certificate.
        path: PathBuf,
        /// What rustls said.
        source: rustls::Error,
    },
}

/// A certificate with its key, and what is made of them.
pub struct Tls {
    files: Files,
    acceptor: TlsAcceptor,
    current: Arc<Current>,
    looked: Mutex<Looked>,
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tls").field("files", &self.files).finish_non_exhaustive()
    }
}

#[derive(Debug)]
struct Files {
    certificate: PathBuf,
    key: PathBuf,
}

/// When the files were last looked at, how old they were then, and whether that failed.
#[derive(Debug)]
struct Looked {
    at: Instant,
    changed: [Option<SystemTime>; 2],
}

#[derive(Debug)]
struct Current(RwLock<Arc<CertifiedKey>>);

impl ResolvesServerCert for Current {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner)))
    }
}

impl Tls {
    /// Reads a chain of certificates (the daemon's own first) and a private key, both PEM.
    ///
    /// # Errors
    /// [`TlsError`].
    pub fn open(certificate: &Path, key: &Path) -> Result<Self, TlsError> {
        let files = Files { certificate: certificate.to_owned(), key: key.to_owned() };
        let changed = files.changed();
        let current = Arc::new(Current(RwLock::new(Arc::new(files.read()?))));
        let provider = Arc::new(ring::default_provider());
        let builder = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|source| TlsError::Pair { path: certificate.to_owned(), source })?;
        let resolver: Arc<dyn ResolvesServerCert> = Arc::<Current>::clone(&current);
        let mut config = builder.with_no_client_auth().with_cert_resolver(resolver);
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let acceptor = TlsAcceptor::from(Arc::new(config));
        Ok(Self { files, acceptor, current, looked: Mutex::new(Looked { at: Instant::now(), changed }) })
    }

    /// What speaks TLS with the newest certificate.
    pub(super) fn acceptor(&self) -> TlsAcceptor {
        self.look_again();
        self.acceptor.clone()
    }

    fn look_again(&self) {
        let mut looked = self.looked.lock().unwrap_or_else(PoisonError::into_inner);
        if looked.at.elapsed() < LOOK_EVERY {
            return;
        }
        looked.at = Instant::now();
        let changed = self.files.changed();
        // A change is tried once, so that one that cannot be used is told once.
        if std::mem::replace(&mut looked.changed, changed) == changed {
            return;
        }
        match self.files.read() {
            Ok(fresh) => {
                *self.current.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(fresh);
                tracing::info!(certificate = %self.files.certificate.display(), "the certificate was read again");
            }
            Err(error) => tracing::error!(%error, "the new certificate cannot be used; the one before stays"),
        }
    }
}

impl Files {
    fn changed(&self) -> [Option<SystemTime>; 2] {
        [&self.certificate, &self.key]
            .map(|path| std::fs::metadata(path).and_then(|meta| meta.modified()).ok())
    }

    fn read(&self) -> Result<CertifiedKey, TlsError> {
        let wrong = |path: &Path, why: String| TlsError::File { path: path.to_owned(), why };
        let certificate = |why: String| wrong(&self.certificate, why);
        let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(&self.certificate)
            .map_err(|error| certificate(error.to_string()))?
            .collect::<Result<_, _>>()
            .map_err(|error| certificate(error.to_string()))?;
        if chain.is_empty() {
            return Err(certificate("no certificate in it".to_owned()));
        }
        let key =
            PrivateKeyDer::from_pem_file(&self.key).map_err(|error| wrong(&self.key, error.to_string()))?;
        CertifiedKey::from_der(chain, key, &ring::default_provider())
            .map_err(|source| TlsError::Pair { path: self.certificate.clone(), source })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(folder: &Path) -> [PathBuf; 2] {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let files = [("cert.pem", made.cert.pem()), ("key.pem", made.signing_key.serialize_pem())];
        files.map(|(name, text)| {
            let path = folder.join(name);
            std::fs::write(&path, text).unwrap();
            path
        })
    }

    fn current(tls: &Tls) -> Vec<u8> {
        drop(tls.acceptor());
        let current = tls.current.0.read().unwrap();
        current.cert.first().unwrap().to_vec()
    }

    #[tokio::test(start_paused = true)]
    async fn a_certificate_that_changes_is_read_again_and_a_broken_one_is_not_taken() {
        let dir = tempfile::tempdir().unwrap();
        let [certificate, key] = write(dir.path());
        let tls = Tls::open(&certificate, &key).unwrap();
        let first = current(&tls);
        write(dir.path());
        let newer = std::fs::metadata(&certificate).unwrap().modified().unwrap() + Duration::from_secs(60);
        let touch = |path: &Path, at| {
            std::fs::File::options().append(true).open(path).unwrap().set_modified(at).unwrap()
        };
        touch(&certificate, newer);
        assert_eq!(current(&tls), first, "not looked at yet");
        tokio::time::advance(LOOK_EVERY).await;
        let second = current(&tls);
        assert_ne!(second, first);
        std::fs::write(&key, "nonsense").unwrap();
        touch(&key, newer);
        tokio::time::advance(LOOK_EVERY).await;
        assert_eq!(current(&tls), second);
    }

    #[test]
    fn what_is_no_pair_is_told_with_its_file() {
        let dir = tempfile::tempdir().unwrap();
        let other = tempfile::tempdir().unwrap();
        let [certificate, key] = write(dir.path());
        let [_, foreign] = write(other.path());
        assert!(matches!(Tls::open(&certificate, &foreign), Err(TlsError::Pair { .. })));
        assert!(Tls::open(&key, &key).unwrap_err().to_string().contains("key.pem"));
        assert!(Tls::open(dir.path(), &key).is_err());
    }
}
