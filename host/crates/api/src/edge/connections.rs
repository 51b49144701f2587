//! The open connections: how many there are and from where, which one has been silent for longest, and an end for it.

use axum::body::{Body, Bytes, HttpBody};
use hyper::body::{Frame, SizeHint};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::pin::Pin;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use tokio::sync::Notify;
use tokio::time::Instant;

/// What is known of one connection while it is open.
#[derive(Debug)]
pub(super) struct Pulse {
    /// Requests that are being answered.
    busy: AtomicU32,
    /// Requests so far.
    begun: AtomicU64,
    /// When it last had no request, in milliseconds since `opened`.
    silent_since: AtomicU64,
    opened: Instant,
    end: Notify,
}

impl Pulse {
    pub(super) fn new() -> Self {
        Self {
            busy: AtomicU32::new(0),
            begun: AtomicU64::new(0),
            silent_since: AtomicU64::new(0),
            opened: Instant::now(),
            end: Notify::new(),
        }
    }

    /// A request has begun; it lasts as long as what is returned.
    pub(super) fn begin(self: &Arc<Self>) -> Busy {
        self.busy.fetch_add(1, Ordering::Relaxed);
        self.begun.fetch_add(1, Ordering::Relaxed);
        Busy(Arc::clone(self))
    }

    /// Whether a request is being answered.
    pub(super) fn is_busy(&self) -> bool {
        self.busy.load(Ordering::Relaxed) > 0
    }

    /// Requests so far.
    pub(super) fn begun(&self) -> u64 {
        self.begun.load(Ordering::Relaxed)
    }

    /// Since when there has been no request.
    pub(super) fn silent_since(&self) -> Instant {
        self.opened + std::time::Duration::from_millis(self.silent_since.load(Ordering::Relaxed))
    }

    /// Resolves when the connection must go.
    pub(super) async fn ended(&self) {
        self.end.notified().await;
    }
}

/// A request that is being answered.
#[derive(Debug)]
pub(super) struct Busy(Arc<Pulse>);

impl Drop for Busy {
    fn drop(&mut self) {
        let passed = self.0.opened.elapsed().as_millis();
        self.0.silent_since.store(u64::try_from(passed).unwrap_or(u64::MAX), Ordering::Relaxed);
        self.0.busy.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The body of an answer, which keeps its request going until it is over.
#[derive(Debug)]
pub(super) struct Held {
    body: Body,
    busy: Option<Busy>,
}

impl Held {
    pub(super) fn new(body: Body, busy: Option<Busy>) -> Self {
        let busy = busy.filter(|_| !body.is_end_stream());
        Self { body, busy }
    }
}

impl HttpBody for Held {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        if matches!(polled, Poll::Ready(None | Some(Err(_)))) {
            self.busy = None;
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Who is counted together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Origin {
    /// This machine, where one address stands for all.
    Here,
    /// Another one.
    Away(IpAddr),
}

impl Origin {
    fn of(address: Option<IpAddr>) -> Self {
        match address {
            None => Self::Here,
            Some(address) if address.is_loopback() => Self::Here,
            // Whoever has one address of IPv6 has 2^64 (RFC 6177).
            Some(IpAddr::V6(address)) => {
                let [a, b, c, d, ..] = address.segments();
                Self::Away(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into())
            }
            Some(address) => Self::Away(address),
        }
    }
}

#[derive(Debug, Default)]
struct Open {
    next: u64,
    connections: BTreeMap<u64, (Origin, Arc<Pulse>)>,
    crowded: bool,
}

/// All of them.
#[derive(Debug)]
pub(super) struct Connections {
    open: Mutex<Open>,
    max: usize,
    per_peer_max: usize,
}

impl Connections {
    pub(super) fn new(max: usize, per_peer_max: usize) -> Self {
        Self { open: Mutex::default(), max, per_peer_max }
    }

    /// Takes a place. Where there is none, the connection without a request that has been silent for longest loses its own; `None` when
    /// all are busy.
    pub(super) fn enter(self: &Arc<Self>, address: Option<IpAddr>) -> Option<Entry> {
        let origin = Origin::of(address);
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let of_peer = || open.connections.values().filter(|(from, _)| *from == origin).count();
        let is_crowd = matches!(origin, Origin::Away(_)) && of_peer() >= self.per_peer_max;
        if is_crowd || open.connections.len() >= self.max {
            let loses = open.silent_longest(|from| !is_crowd || from == origin);
            if !std::mem::replace(&mut open.crowded, true) {
                tracing::warn!(
                    connections = open.connections.len(),
                    ?origin,
                    "too many connections: silent ones are closed"
                );
            }
            let (_, pulse) = open.connections.remove(&loses?)?;
            pulse.end.notify_one();
        }
        let number = open.next;
        open.next += 1;
        let pulse = Arc::new(Pulse::new());
        open.connections.insert(number, (origin, Arc::clone(&pulse)));
        drop(open);
        Some(Entry { number, pulse, connections: Arc::clone(self) })
    }

    fn leave(&self, number: u64) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.connections.remove(&number);
        // Told again only after it was calm.
        if open.connections.len() < self.max / 2 {
            open.crowded = false;
        }
    }
}

impl Open {
    fn silent_longest(&self, counts: impl Fn(Origin) -> bool) -> Option<u64> {
        let silent = |(number, (from, pulse)): (&u64, &(Origin, Arc<Pulse>))| {
            (counts(*from) && !pulse.is_busy()).then(|| (pulse.silent_since(), *number))
        };
        self.connections.iter().filter_map(silent).min().map(|(_, number)| number)
    }
}

/// The place of one connection, which it gives back.
#[derive(Debug)]
pub(super) struct Entry {
    number: u64,
    pulse: Arc<Pulse>,
    connections: Arc<Connections>,
}

impl Entry {
    pub(super) fn pulse(&self) -> &Arc<Pulse> {
        &self.pulse
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.connections.leave(self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn is_ended(entry: &Entry) -> bool {
        let ended = std::pin::pin!(entry.pulse.ended());
        let mut context = Context::from_waker(std::task::Waker::noop());
        std::future::Future::poll(ended, &mut context).is_ready()
    }

    #[tokio::test(start_paused = true)]
    async fn the_one_that_is_silent_for_longest_makes_room_and_no_busy_one_does() {
        let connections = Arc::new(Connections::new(3, 32));
        let first = connections.enter(None).unwrap();
        tokio::time::advance(Duration::from_secs(1)).await;
        let second = connections.enter(None).unwrap();
        let third = connections.enter(None).unwrap();
        tokio::time::advance(Duration::from_secs(1)).await;
        // The first one has asked meanwhile.
        drop(first.pulse.begin());
        let asking = third.pulse.begin();
        let fourth = connections.enter(None).unwrap();
        assert!(is_ended(&second) && !is_ended(&first) && !is_ended(&third));
        let busy = [first.pulse.begin(), fourth.pulse.begin()];
        assert!(connections.enter(None).is_none(), "all are busy");
        drop((asking, busy));
        drop(third);
        assert!(connections.enter(None).is_some_and(|_| !is_ended(&first)));
    }

    #[tokio::test(start_paused = true)]
    async fn one_other_machine_has_only_so_many_and_makes_room_among_its_own() {
        let connections = Arc::new(Connections::new(100, 2));
        let away = |text: &str| Some(text.parse::<IpAddr>().unwrap());
        let here: Vec<Entry> = (0..5).filter_map(|_| connections.enter(away("127.0.0.1"))).collect();
        let other = connections.enter(away("192.0.2.7")).unwrap();
        let mine = ["2001:db8::1", "2001:db8::2"].map(|text| connections.enter(away(text)).unwrap());
        let more = connections.enter(away("2001:db8::3")).unwrap();
        assert!(is_ended(&mine[0]) && !is_ended(&mine[1]) && !is_ended(&more) && !is_ended(&other));
        assert!(here.len() == 5 && here.iter().all(|entry| !is_ended(entry)));
    }
}
