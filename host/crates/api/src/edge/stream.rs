//! A connection's bytes under watch: a head must come within its time, a silent connection ends, and so does one that takes nothing of
//! what it is sent. While a request is being answered its handler bounds the reading.

use super::Bounds;
use super::connections::Pulse;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

/// See the file's head.
#[derive(Debug)]
pub(super) struct Watched<S> {
    stream: S,
    pulse: Arc<Pulse>,
    bounds: Bounds,
    /// When the head began that is being read, and after how many requests.
    head: Option<(Instant, u64)>,
    read_by: Alarm,
    write_by: Alarm,
    /// Since when the peer takes nothing.
    stuck: Option<Instant>,
}

/// A timer that is made when it is first needed. It is set for a later moment only when it rings: most of the time what it watches moves on
/// with every request, and setting a timer each time would be much of what a request costs.
#[derive(Debug, Default)]
struct Alarm {
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Alarm {
    /// Whether the moment has come; else the task is woken then, or sooner for nothing.
    fn rings(&mut self, at: Instant, context: &mut Context<'_>) -> bool {
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(at)));
        if sleep.deadline() > at {
            sleep.as_mut().reset(at);
        }
        while sleep.as_mut().poll(context).is_ready() {
            if Instant::now() >= at {
                return true;
            }
            sleep.as_mut().reset(at);
        }
        false
    }
}

impl<S> Watched<S> {
    pub(super) fn new(stream: S, pulse: Arc<Pulse>, bounds: Bounds) -> Self {
        Self {
            stream,
            pulse,
            bounds,
            head: None,
            read_by: Alarm::default(),
            write_by: Alarm::default(),
            stuck: None,
        }
    }
}

fn late(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, what)
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let begun = this.pulse.begun();
        if this.head.is_some_and(|(_, then)| then != begun) {
            this.head = None;
        }
        let polled = Pin::new(&mut this.stream).poll_read(context, buffer);
        if this.pulse.is_busy() {
            return polled;
        }
        match polled {
            Poll::Ready(outcome) => {
                if this.head.is_none() {
                    this.head = Some((Instant::now(), begun));
                }
                // A head that is long in coming, one byte after the other.
                let is_late = this.head.is_some_and(|(since, _)| since.elapsed() > this.bounds.head_max);
                Poll::Ready(if is_late {
                    Err(late("the head of the request took too long"))
                } else {
                    outcome
                })
            }
            Poll::Pending => {
                let (by, what) = match this.head {
                    Some((since, _)) => {
                        (since + this.bounds.head_max, "the head of the request took too long")
                    }
                    None => (this.pulse.silent_since() + this.bounds.idle_max, "no request for too long"),
                };
                if this.read_by.rings(by, context) { Poll::Ready(Err(late(what))) } else { Poll::Pending }
            }
        }
    }
}

impl<S: AsyncWrite + Unpin> Watched<S> {
    fn write<T>(
        &mut self,
        context: &mut Context<'_>,
        write: impl FnOnce(Pin<&mut S>, &mut Context<'_>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        match write(Pin::new(&mut self.stream), context) {
            Poll::Ready(outcome) => {
                self.stuck = None;
                Poll::Ready(outcome)
            }
            Poll::Pending => {
                let by = *self.stuck.get_or_insert_with(Instant::now) + self.bounds.write_max;
                ready!(if self.write_by.rings(by, context) { Poll::Ready(()) } else { Poll::Pending });
                Poll::Ready(Err(late("the peer takes nothing")))
            }
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.write(context, |stream, context| stream.poll_write(context, bytes))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.write(context, |stream, context| stream.poll_write_vectored(context, slices))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.write(context, |stream, context| stream.poll_flush(context))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.write(context, |stream, context| stream.poll_shutdown(context))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};

    fn watched(room: usize) -> (DuplexStream, Watched<DuplexStream>, Arc<Pulse>) {
        let (client, server) = duplex(room);
        let pulse = Arc::new(Pulse::new());
        (client, Watched::new(server, Arc::clone(&pulse), Bounds::default()), pulse)
    }

    /// Reads until it fails; how long that took, in seconds.
    async fn read_for(stream: &mut Watched<DuplexStream>) -> u64 {
        let begun = Instant::now();
        let mut bytes = [0; 16];
        loop {
            match stream.read(&mut bytes).await {
                Ok(_) => {}
                Err(error) => {
                    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
                    return begun.elapsed().as_secs();
                }
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_connection_ends_and_a_head_that_began_ends_sooner() {
        let (_client, mut stream, pulse) = watched(64);
        assert_eq!(read_for(&mut stream).await, 60);
        let (mut client, mut stream, _) = watched(64);
        client.write_all(b"GET").await.unwrap();
        assert_eq!(read_for(&mut stream).await, 5);
        drop(pulse);
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_that_comes_byte_by_byte_is_no_better() {
        let (mut client, mut stream, _pulse) = watched(64);
        let dribble = tokio::spawn(async move {
            let mut ticks = tokio::time::interval(Duration::from_secs(1));
            loop {
                ticks.tick().await;
                if client.write_all(b"x").await.is_err() {
                    return;
                }
            }
        });
        let took = read_for(&mut stream).await;
        assert!((5..=6).contains(&took), "{took} s");
        dribble.abort();
    }

    #[tokio::test(start_paused = true)]
    async fn while_a_request_is_answered_nothing_ends_and_afterwards_it_counts_anew() {
        let (mut client, mut stream, pulse) = watched(64);
        client.write_all(b"GET").await.unwrap();
        assert_eq!(stream.read(&mut [0; 16]).await.unwrap(), 3);
        let busy = pulse.begin();
        let hour = Duration::from_secs(3_600);
        assert!(tokio::time::timeout(hour, stream.read(&mut [0; 16])).await.is_err());
        drop(busy);
        assert_eq!(read_for(&mut stream).await, 60);
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_takes_nothing_is_given_up() {
        let (client, mut stream, _pulse) = watched(16);
        let begun = Instant::now();
        let error = stream.write_all(&[0; 64]).await.unwrap_err();
        assert_eq!((error.kind(), begun.elapsed().as_secs()), (io::ErrorKind::TimedOut, 30));
        drop(client);
    }
}
