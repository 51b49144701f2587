//! The event stream: server-sent events (WHATWG HTML, "Server-sent events"), resumable by `Last-Event-ID`.
//!
//! A client holds a number in the shared event log, not a buffer: one that never reads costs its socket and no memory here.

use crate::dto::events::EventData;
use crate::error::{Code, Problem};
use crate::params::Params;
use crate::shared::{Shared, TokenStream};
use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue};
use axum::response::sse::{Event as Frame, KeepAlive, Sse};
use axum::response::{IntoResponse as _, Response};
use futures_util::stream::{self, Stream};
use lowtide_access::Caller;
use lowtide_app::{Event, EventKind};
use lowtide_core::limits;
use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, watch};

/// A comment keeps proxies from closing an idle stream (evidence: most cut at 30 to 60 s).
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// What a client waits before it reconnects.
const RETRY: Duration = Duration::from_secs(2);

/// Unwanted events after which a client is given a newer id all the same: far fewer than are kept.
const SILENT_MAX: u64 = 256;

/// Events copied out of the log at a time.
const BATCH: usize = 64;

/// What happens, as it happens
///
/// Events `tick`, `state`, `collector`, `reload`, `addon` (its state changed, it was replaced or removed) and `addon_event` (an
/// addon reports something itself) and `lease` (a change of a lease, as in the audit log); `missed` tells a reader that was away too long how many it lost. Each
/// has an id; a client that reconnects with `Last-Event-ID` gets what came since. A comment is sent every 15 s.
#[utoipa::path(get, path = "/api/events", tag = "events", params(
    ("kinds" = Option<String>, Query, description = "Only these kinds, comma-separated: tick, state, collector, reload, addon, addon_event, lease", example = "state,collector"),
    ("Last-Event-ID" = Option<String>, Header, description = "Id of the last event that the client has"),
), responses(
    (status = 200, description = "The stream; the data of each event is a StreamEvent", body = String, content_type = "text/event-stream"),
    (status = "4XX", description = "See `code`", body = Problem, content_type = "application/problem+json"),
    (status = "5XX", description = "See `code`", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn get_events(
    State(shared): State<Shared>,
    request: Request,
) -> Result<Response, Box<Problem>> {
    let params = Params::parse(request.uri().query(), &["kinds"])?;
    let kinds = kinds(&params)?;
    let Ok(place) = Arc::clone(&shared.streams).try_acquire_owned() else {
        let detail =
            format!("{} event streams are open, which is all there may be", limits::EVENT_STREAMS_MAX);
        return Err(Problem::new(Code::TooManyStreams, detail).retry_after(30));
    };
    let caller = request.extensions().get::<Caller>().cloned().unwrap_or(Caller::Anyone);
    let of_token = match caller.token().map(|token| shared.token_streams.enter(token.id)) {
        Some(None) => {
            let most = limits::EVENT_STREAMS_PER_TOKEN_MAX;
            let detail = format!("this token has {most} event streams open, which is all it may have");
            return Err(Problem::new(Code::TooManyStreams, detail).retry_after(30));
        }
        place => place.flatten(),
    };
    let newest = shared.app.events().subscribe();
    let run_id = shared.app.about().run_id.clone();
    let last = request.headers().get("last-event-id").and_then(|value| value.to_str().ok());
    let (cursor, lost) = match last.map(|last| resume(last, &run_id)) {
        None => (*newest.borrow(), None),
        Some(Some(id)) => (id.min(*newest.borrow()), None),
        Some(None) => (0, Some(EventData::Missed { count: None })),
    };
    let mut ready = VecDeque::from([Frame::default().retry(RETRY).comment("lowtide")]);
    ready.extend(lost.map(|lost| frame("missed", &run_id, 0, &lost)));
    let closing = shared.closing.clone();
    let reader = Reader {
        shared,
        caller,
        kinds,
        run_id,
        cursor,
        newest,
        closing,
        ready,
        told: cursor,
        _places: (place, of_token),
    };
    let mut response =
        Sse::new(frames(reader)).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)).into_response();
    response
        .headers_mut()
        .insert(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
    Ok(response)
}

/// One client of the stream.
struct Reader {
    shared: Shared,
    caller: Caller,
    kinds: Vec<&'static str>,
    run_id: String,
    /// The last event that was looked at.
    cursor: u64,
    newest: watch::Receiver<u64>,
    closing: watch::Receiver<bool>,
    ready: VecDeque<Frame>,
    /// The last event number that the client was given.
    told: u64,
    // Frees the places in the counts of streams when the client goes.
    _places: (OwnedSemaphorePermit, Option<TokenStream>),
}

fn frames(reader: Reader) -> impl Stream<Item = Result<Frame, Infallible>> {
    stream::unfold(reader, |mut reader| async move {
        loop {
            if let Some(frame) = reader.ready.pop_front() {
                return Some((Ok(frame), reader));
            }
            // Whose token was revoked hears no more.
            if !reader.shared.gate.still(&reader.caller) {
                return None;
            }
            if !reader.refill() {
                tokio::select! {
                    changed = reader.newest.wait_for({ let cursor = reader.cursor; move |newest| *newest > cursor }) => {
                        changed.ok()?;
                    }
                    _ = reader.closing.wait_for(|closing| *closing) => return None,
                }
            }
        }
    })
}

impl Reader {
    /// Copies the next events of the log; false when there are none.
    fn refill(&mut self) -> bool {
        let since = self.shared.app.events().since(self.cursor, BATCH);
        if since.missed > 0 {
            let missed = EventData::Missed { count: Some(since.missed) };
            self.ready.push_back(frame("missed", &self.run_id, self.cursor + since.missed, &missed));
        }
        let Some(newest) = since.events.last() else { return since.missed > 0 };
        self.cursor = newest.id;
        let wanted = |event: &&Arc<Event>| self.kinds.contains(&event.kind.name());
        let frames = since
            .events
            .iter()
            .filter(wanted)
            .map(|event| frame(event.kind.name(), &self.run_id, event.id, &EventData::new(event)));
        let before = self.ready.len();
        self.ready.extend(frames.collect::<Vec<_>>());
        if self.ready.len() > before {
            self.told = self.cursor;
        } else if self.cursor >= self.told + SILENT_MAX {
            // An id without data moves only the client's Last-Event-ID: when it comes back it is not told of events as lost
            // that it never wanted.
            self.ready.push_back(Frame::default().id(format!("{}-{}", self.run_id, self.cursor)));
            self.told = self.cursor;
        }
        true
    }
}

fn frame(name: &str, run_id: &str, id: u64, data: &EventData<'_>) -> Frame {
    // Plain structs always serialise, and JSON holds no raw newline.
    let data = serde_json::to_string(data).unwrap_or_default();
    Frame::default().event(name).id(format!("{run_id}-{id}")).data(data)
}

/// The event number of an id of this run; `None` for one of another run, or for what is no id.
fn resume(last: &str, run_id: &str) -> Option<u64> {
    last.strip_prefix(run_id)?.strip_prefix('-')?.parse().ok()
}

fn kinds(params: &Params) -> Result<Vec<&'static str>, Box<Problem>> {
    let Some(text) = params.get("kinds") else { return Ok(EventKind::NAMES.to_vec()) };
    let find = |name: &str| EventKind::NAMES.into_iter().find(|known| *known == name);
    text.split(',').map(str::trim).map(find).collect::<Option<Vec<_>>>().ok_or_else(|| {
        let reason = format!("must be one or more of {}, joined by commas", EventKind::NAMES.join(", "));
        Problem::parameter("kinds", reason, "state,collector")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_ids_of_this_run_resume() {
        assert_eq!(resume("abc-17", "abc"), Some(17));
        for last in ["abd-17", "abc17", "abc-", "abc-x", "", "17"] {
            assert_eq!(resume(last, "abc"), None, "{last}");
        }
    }
}
