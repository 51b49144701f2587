//! Clients that each have one request under way, all on one thread: what a request takes is noted, and how often it was refused.

use anyhow::{Context as _, Result, bail};
use lowtide_clock as clock;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;

/// What a round came to.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    taken: Vec<Duration>,
    wall: Duration,
    /// Answers that were no success.
    pub(crate) refused: usize,
}

impl Tally {
    #[expect(clippy::cast_precision_loss, reason = "counts far below 2^52")]
    pub(crate) fn count(&self) -> f64 {
        self.taken.len() as f64
    }

    pub(crate) fn rate(&self) -> f64 {
        self.count() / self.wall.as_secs_f64()
    }

    /// A percentile of what a request took, in milliseconds.
    pub(crate) fn percentile_ms(&self, share: f64) -> f64 {
        let mut taken = self.taken.clone();
        taken.sort_unstable();
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a place in the list")]
        let place = (self.count() * share) as usize;
        taken
            .get(place.min(taken.len().saturating_sub(1)))
            .map_or(f64::NAN, |taken| taken.as_secs_f64() * 1e3)
    }

    pub(crate) fn add(&mut self, other: Self) {
        self.taken.extend(other.taken);
        self.wall += other.wall;
        self.refused += other.refused;
    }
}

/// How an answer ends.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Framing {
    /// HTTP/1.1 with a length.
    Http,
    /// One line (Redis serialization protocol, simple strings).
    Line,
}

/// A request of HTTP/1.1 with a JSON body.
pub(crate) fn http(method: &str, path: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!("{method} {path} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}")
        .into_bytes()
}

pub(crate) struct Clients {
    runtime: Runtime,
    streams: Vec<Stream>,
}

struct Stream {
    socket: TcpStream,
    buffer: Vec<u8>,
    framing: Framing,
}

impl Clients {
    pub(crate) fn connect(address: SocketAddr, count: usize) -> Result<Self> {
        Self::connect_with(address, count, Framing::Http)
    }

    pub(crate) fn connect_with(address: SocketAddr, count: usize, framing: Framing) -> Result<Self> {
        let runtime = super::super::http::load::runtime()?;
        let streams = runtime.block_on(async {
            let mut streams = Vec::new();
            for _ in 0..count {
                let socket = TcpStream::connect(address).await?;
                socket.set_nodelay(true)?;
                streams.push(Stream { socket, buffer: Vec::new(), framing });
            }
            Ok::<_, std::io::Error>(streams)
        })?;
        Ok(Self { runtime, streams })
    }

    /// Each client asks again as soon as it is answered, for so long. `ask` is given the client and how often it has asked.
    pub(crate) fn run(&mut self, length: Duration, ask: impl Fn(usize, usize) -> Vec<u8>) -> Result<Tally> {
        self.steps(length, |client, number| vec![ask(client, number)])
    }

    /// The same with several requests a turn, which count as one.
    pub(crate) fn steps(
        &mut self,
        length: Duration,
        ask: impl Fn(usize, usize) -> Vec<Vec<u8>>,
    ) -> Result<Tally> {
        let begun = clock::mono();
        let end = begun.plus(length);
        let ask = &ask;
        let works = self.streams.iter_mut().enumerate().map(|(client, stream)| async move {
            let mut tally = Tally::default();
            for number in 0.. {
                let asked = clock::mono();
                if asked >= end {
                    break;
                }
                for request in ask(client, number) {
                    tally.refused += usize::from(!stream.exchange(&request).await?.0);
                }
                tally.taken.push(clock::mono().since(asked));
            }
            Ok::<_, anyhow::Error>(tally)
        });
        let tallies = self.runtime.block_on(futures_util::future::try_join_all(works))?;
        let mut all = Tally::default();
        tallies.into_iter().for_each(|tally| all.add(tally));
        all.wall = clock::mono().since(begun);
        Ok(all)
    }

    /// So many requests in all, none of them refused.
    pub(crate) fn exactly(&mut self, count: usize, ask: impl Fn(usize, usize) -> Vec<u8>) -> Result<()> {
        let next = std::cell::Cell::new(0);
        let (ask, next) = (&ask, &next);
        let works = self.streams.iter_mut().enumerate().map(|(client, stream)| async move {
            while next.get() < count {
                let number = next.replace(next.get() + 1);
                let (good, body) = stream.exchange(&ask(client, number)).await?;
                if !good {
                    bail!("refused: {}", String::from_utf8_lossy(&body));
                }
            }
            Ok(())
        });
        self.runtime.block_on(futures_util::future::try_join_all(works))?;
        Ok(())
    }

    /// One request of each client, none of them refused; the bodies of the answers.
    pub(crate) fn once(&mut self, ask: impl Fn(usize) -> Vec<u8>) -> Result<Vec<Vec<u8>>> {
        Ok(self.once_timed(ask)?.0)
    }

    pub(crate) fn once_timed(&mut self, ask: impl Fn(usize) -> Vec<u8>) -> Result<(Vec<Vec<u8>>, Tally)> {
        let begun = clock::mono();
        let ask = &ask;
        let works = self.streams.iter_mut().enumerate().map(|(client, stream)| async move {
            let asked = clock::mono();
            let (good, body) = stream.exchange(&ask(client)).await?;
            if !good {
                bail!("refused: {}", String::from_utf8_lossy(&body));
            }
            Ok((body, clock::mono().since(asked)))
        });
        let answers = self.runtime.block_on(futures_util::future::try_join_all(works))?;
        let (bodies, taken) = answers.into_iter().unzip();
        Ok((bodies, Tally { taken, wall: clock::mono().since(begun), refused: 0 }))
    }
}

impl Stream {
    /// Sends a request and reads its answer: whether it is a success, and its body.
    async fn exchange(&mut self, request: &[u8]) -> Result<(bool, Vec<u8>)> {
        self.socket.write_all(request).await?;
        self.buffer.clear();
        loop {
            if let Some((good, body)) = self.answer()? {
                return Ok((good, body.to_vec()));
            }
            let mut part = [0; 16 << 10];
            let read = self.socket.read(&mut part).await?;
            if read == 0 {
                bail!("the server closed the connection");
            }
            self.buffer.extend(part.get(..read).unwrap_or_default());
        }
    }

    fn answer(&self) -> Result<Option<(bool, &[u8])>> {
        if let Framing::Line = self.framing {
            return Ok(self
                .buffer
                .ends_with(b"\r\n")
                .then(|| (self.buffer.first() == Some(&b'+'), self.buffer.as_slice())));
        }
        let end = self.buffer.windows(4).position(|window| window == b"\r\n\r\n");
        let Some((head, body)) = end.and_then(|end| self.buffer.split_at_checked(end + 4)) else {
            return Ok(None);
        };
        let head = std::str::from_utf8(head)?;
        let length = head.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok()).flatten()
        });
        let length = length.with_context(|| format!("no length in {head}"))?;
        Ok((body.len() >= length).then_some((head.starts_with("HTTP/1.1 20"), body)))
    }
}
