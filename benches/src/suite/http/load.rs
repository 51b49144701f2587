//! The load generator: connections that stay open, one request at a time on each, one thread for all. It parses no more than the
//! status and the length, so that it leaves the cores to the server.

use anyhow::{Context as _, Result, bail};
use lowtide_clock as clock;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;

/// Connections of a load.
const CONNECTIONS: usize = 32;

const BUFFER_BYTES: usize = 128 << 10;

/// An answer, whole.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) content_type: String,
    pub(crate) body: Vec<u8>,
}

/// What a round did.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Done {
    pub(crate) requests: u64,
    pub(crate) wall: Duration,
    /// Of the load generator.
    pub(crate) cpu: Duration,
}

/// Connections to one server with the request that they repeat.
#[derive(Debug)]
pub(crate) struct Load {
    runtime: Runtime,
    connections: Vec<Connection>,
    request: Arc<[u8]>,
    status: u16,
}

#[derive(Debug)]
struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
    requests: u64,
    /// Of the last body.
    bytes: usize,
}

/// Everything on the thread that calls.
pub(crate) fn runtime() -> Result<Runtime> {
    Ok(tokio::runtime::Builder::new_current_thread().enable_io().build()?)
}

/// Asks once and reads until the server closes; a body sent in chunks keeps its chunk lines.
pub(crate) async fn get(address: SocketAddr, path: &str, headers: &str) -> Result<Answer> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(&request(path, &format!("{headers}connection: close\r\n"))).await?;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).await?;
    let head = Head::parse(&bytes).context("an answer without a head")?;
    let body = bytes.split_off(head.length);
    Ok(Answer { status: head.status, content_type: head.content_type, body })
}

fn request(path: &str, headers: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n{headers}\r\n").into_bytes()
}

impl Load {
    pub(crate) fn connect(address: SocketAddr, path: &str, headers: &str, status: u16) -> Result<Self> {
        let runtime = runtime()?;
        let mut connections = Vec::new();
        for _ in 0..CONNECTIONS {
            connections.push(runtime.block_on(Connection::open(address))?);
        }
        Ok(Self { runtime, connections, request: request(path, headers).into(), status })
    }

    /// Asks on all connections until the time is over.
    pub(crate) fn run(&mut self, length: Duration) -> Result<Done> {
        let (begun, cpu) = (clock::mono(), clock::thread_cpu());
        let end = begun.plus(length);
        let connections = std::mem::take(&mut self.connections);
        let (request, status) = (Arc::clone(&self.request), self.status);
        let mut done = Done::default();
        let back = self.runtime.block_on(async {
            let spawned = connections.into_iter().map(|mut connection| {
                let request = Arc::clone(&request);
                tokio::spawn(async move {
                    connection.requests = 0;
                    while clock::mono() < end {
                        let head = connection.ask(&request).await?;
                        if head.status != status {
                            bail!("status {} instead of {status}", head.status);
                        }
                        connection.requests += 1;
                    }
                    Ok(connection)
                })
            });
            let mut back = Vec::new();
            for task in spawned.collect::<Vec<_>>() {
                back.push(task.await??);
            }
            Ok::<_, anyhow::Error>(back)
        })?;
        self.connections = back;
        done.requests = self.connections.iter().map(|connection| connection.requests).sum();
        done.wall = clock::mono().since(begun);
        done.cpu = clock::thread_cpu().saturating_sub(cpu);
        Ok(done)
    }

    pub(crate) fn bytes_of_last(&self) -> usize {
        self.connections.first().map_or(0, |connection| connection.bytes)
    }
}

/// The front part of an answer.
#[derive(Debug)]
struct Head {
    status: u16,
    content_type: String,
    /// Bytes of the head itself, and of the body.
    length: usize,
    body: usize,
}

impl Connection {
    async fn open(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: vec![0; BUFFER_BYTES], requests: 0, bytes: 0 })
    }

    /// Sends a request and reads the answer; of a body larger than the buffer the end is lost.
    async fn ask(&mut self, request: &[u8]) -> Result<Head> {
        self.stream.write_all(request).await?;
        let mut filled = 0;
        let head = loop {
            let room = self.buffer.get_mut(filled..).filter(|room| !room.is_empty());
            let count = self.stream.read(room.context("the head of an answer is too long")?).await?;
            if count == 0 {
                bail!("the server closed the connection");
            }
            filled += count;
            if let Some(head) = self.buffer.get(..filled).and_then(Head::parse) {
                break head;
            }
        };
        let whole = head.length + head.body;
        while filled < whole {
            let from = if filled < self.buffer.len() { filled } else { head.length };
            let count = self.stream.read(self.buffer.get_mut(from..).unwrap_or_default()).await?;
            if count == 0 {
                bail!("the server closed the connection");
            }
            filled += count;
        }
        self.bytes = head.body;
        Ok(head)
    }
}

impl Head {
    fn parse(bytes: &[u8]) -> Option<Self> {
        let length = bytes.windows(4).position(|end| end == b"\r\n\r\n")? + 4;
        let text = std::str::from_utf8(bytes.get(..length)?).ok()?;
        let value = |name: &str| {
            text.lines().find_map(|line| {
                let (key, value) = line.split_once(':')?;
                key.eq_ignore_ascii_case(name).then(|| value.trim())
            })
        };
        Some(Self {
            status: text.get(9..12)?.parse().ok()?,
            content_type: value("content-type").unwrap_or_default().to_owned(),
            length,
            body: value("content-length").and_then(|digits| digits.parse().ok()).unwrap_or(0),
        })
    }
}
