//! The foreground service: a small HTTP server with three kinds of requests, as a web application has them. It measures nothing;
//! the generator does. Each run has a new one, whose files are in a known state: the small one in memory, half of the large one.

use crate::burn::Burner;
use crate::machine;
use crate::options::Options;
use crate::plan::{Asked, Random};
use anyhow::{Context as _, Result};
use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use std::convert::Infallible;
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::net::TcpListener;

/// The first argument of this part.
pub(crate) const PART: &str = "serve";

/// Bytes that a `read` takes, and of each block of a `look`, which takes sixteen.
const READ_BYTES: usize = 256 * 1024;
const LOOK_BYTES: usize = 4096;
const LOOKS: usize = 16;

/// Microseconds of CPU.
const CPU_US: u64 = 200;
const READ_CPU_US: u64 = 2000;

struct Service {
    burner: Burner,
    steps_per_ms: u64,
    large: Data,
    small: Data,
}

struct Data {
    file: File,
    bytes: u64,
}

/// Serves on a free port of the loopback address, which is its first line, until it is told to end or its starter is gone.
pub(crate) fn main(arguments: &[String]) -> Result<()> {
    // The harness may be killed; a server that stays would be part of every later measurement.
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::TERM))?;
    let mut options = Options::parse(arguments, &["own-session"])?;
    if options.switch("own-session") {
        rustix::process::setsid()?;
    }
    if let Some(group) = options.value::<PathBuf>("group")? {
        std::fs::write(&group, "0").with_context(|| format!("write {}", group.display()))?;
    }
    let service = Arc::new(Service {
        burner: Burner::new(),
        steps_per_ms: options.needed("steps")?,
        large: Data::open(options.needed("large")?, 2)?,
        small: Data::open(options.needed("small")?, 1)?,
    });
    options.done()?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(machine::processors())
        .enable_io()
        .build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        println!("port {}", listener.local_addr()?.port());
        io::stdout().flush()?;
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            let service = Arc::clone(&service);
            tokio::spawn(async move {
                let answer = hyper::service::service_fn(move |request| answer(Arc::clone(&service), request));
                // A client that goes away is no fault of the server.
                let _ = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), answer)
                    .await;
            });
        }
    })
}

async fn answer(
    service: Arc<Service>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let mut parts = request.uri().path().trim_start_matches('/').split('/');
    let asked = parts.next().and_then(|word| word.parse::<Asked>().ok());
    let key = parts.next().and_then(|word| word.parse::<u64>().ok());
    let (Some(asked), Some(key)) = (asked, key) else {
        return Ok(failed(StatusCode::NOT_FOUND, "no such address\n"));
    };
    let done = match asked {
        Asked::Cpu => Ok(service.cpu(key, CPU_US)),
        // Files may make a thread wait, and other requests must not wait with it.
        Asked::Read => blocking(move || service.read(key)).await,
        Asked::Look => blocking(move || service.look(key)).await,
    };
    Ok(match done {
        Ok(word) => Response::new(Full::new(Bytes::from(format!("{word:016x}\n")))),
        Err(_) => failed(StatusCode::INTERNAL_SERVER_ERROR, "a file cannot be read\n"),
    })
}

async fn blocking(work: impl FnOnce() -> io::Result<u64> + Send + 'static) -> io::Result<u64> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}

fn failed(status: StatusCode, text: &'static str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from_static(text.as_bytes())));
    *response.status_mut() = status;
    response
}

impl Service {
    fn cpu(&self, key: u64, micros: u64) -> u64 {
        self.burner.burn(key, self.steps_per_ms * micros / 1000)
    }

    fn read(&self, key: u64) -> io::Result<u64> {
        let bytes = self.large.read(key, READ_BYTES)?;
        Ok(self.cpu(sum(&bytes), READ_CPU_US))
    }

    fn look(&self, key: u64) -> io::Result<u64> {
        let mut random = Random::new(key);
        (0..LOOKS).try_fold(0u64, |so_far, _| {
            Ok(so_far.wrapping_add(sum(&self.small.read(random.next(), LOOK_BYTES)?)))
        })
    }
}

impl Data {
    /// Opens a file of which one `share`th part is then in memory, the rest on the disk alone.
    fn open(path: PathBuf, share: u64) -> Result<Self> {
        let mut file = File::open(&path).with_context(|| format!("open {}", path.display()))?;
        let bytes = file.metadata()?.len();
        machine::forget(&file);
        let mut left = bytes / share;
        let mut buffer = vec![0; 1024 * 1024];
        while left > 0 {
            let read = file.read(&mut buffer)? as u64;
            if read == 0 {
                break;
            }
            left = left.saturating_sub(read);
        }
        // Reading in order has made the kernel read ahead; the requests are anywhere.
        let _ = rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::Random);
        Ok(Self { file, bytes })
    }

    /// `length` bytes at the block that `key` falls on.
    fn read(&self, key: u64, length: usize) -> io::Result<Vec<u8>> {
        let blocks = (self.bytes / length as u64).max(1);
        let mut buffer = vec![0; length];
        self.file.read_exact_at(&mut buffer, Random::new(key).below(blocks) * length as u64)?;
        Ok(buffer)
    }
}

fn sum(bytes: &[u8]) -> u64 {
    bytes
        .chunks_exact(8)
        .fold(0, |sum, chunk| sum.wrapping_add(chunk.try_into().map_or(0, u64::from_le_bytes)))
}
