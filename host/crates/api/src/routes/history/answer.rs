//! An answer that is made on a thread that may block, and sent while it is made. A short one is sent whole, like any other document.
//!
//! What is made goes into a channel that holds the longest answer there may be: so the file is let go whether or not the client reads.
//! How many answers are under way is bounded instead.

use crate::document::{Document, JSON};
use crate::error::{Code, Problem};
use crate::shared::Shared;
use axum::body::Body;
use axum::http::HeaderMap;
use axum::response::Response;
use bytes::Bytes;
use futures_util::stream;
use lowtide_core::limits;
use serde::Serialize;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};

/// Bytes that are gathered before they are sent.
const PIECE_BYTES: usize = 64 << 10;

/// Pieces of the longest answer: half a million numbers of up to 25 bytes, and the names of two thousand series.
const PIECES_MAX: usize = 512;

/// Waits for a place among the long answers.
pub(super) async fn place(shared: &Shared) -> Result<OwnedSemaphorePermit, Box<Problem>> {
    let place = Arc::clone(&shared.long_answers).acquire_owned();
    match tokio::time::timeout(limits::LONG_ANSWER_WAIT, place).await {
        Ok(Ok(place)) => Ok(place),
        _ => {
            let detail =
                format!("{} answers are under way, which is all there may be", limits::LONG_ANSWERS_MAX);
            Err(Problem::new(Code::HistoryBusy, detail).retry_after(2))
        }
    }
}

/// Where an answer is written to.
pub(super) struct Out {
    buffer: Vec<u8>,
    pieces: mpsc::Sender<Result<Bytes, std::io::Error>>,
    /// Told once: that the answer is longer than a piece.
    long: Option<oneshot::Sender<Outcome>>,
    /// The client is gone.
    lost: bool,
}

/// What the handler hears first.
enum Outcome {
    Long,
    Whole(Vec<u8>),
    Refused(Box<Problem>),
}

impl Out {
    /// Writes what comes before the items. Returns false when nobody reads any more.
    pub(super) fn begin(&mut self, head: &impl Serialize) -> bool {
        // Plain structs always serialise.
        let _ = serde_json::to_writer(&mut self.buffer, head);
        // The head is an object: it goes on.
        if self.buffer.pop().is_some() {
            self.buffer.extend_from_slice(b",\"series\":[");
        }
        self.send(false)
    }

    /// Writes one item.
    pub(super) fn item(&mut self, comma: &str, item: &impl Serialize) -> bool {
        self.buffer.extend_from_slice(comma.as_bytes());
        let _ = serde_json::to_writer(&mut self.buffer, item);
        self.send(false)
    }

    pub(super) fn end(&mut self) {
        self.buffer.extend_from_slice(b"]}");
    }

    fn send(&mut self, last: bool) -> bool {
        if self.lost || !last && self.buffer.len() < PIECE_BYTES {
            return !self.lost;
        }
        if let Some(long) = self.long.take() {
            self.lost = long.send(Outcome::Long).is_err();
        }
        let piece = std::mem::replace(&mut self.buffer, Vec::with_capacity(PIECE_BYTES + PIECE_BYTES / 4));
        // Only the longest answers ever wait here.
        self.lost = self.lost || self.pieces.blocking_send(Ok(piece.into())).is_err();
        !self.lost
    }
}

/// Makes an answer: `write` writes it, on a thread of its own.
pub(super) async fn make(
    place: OwnedSemaphorePermit,
    headers: HeaderMap,
    etag: String,
    write: impl FnOnce(&mut Out) -> Result<(), Box<Problem>> + Send + 'static,
) -> Result<Response, Box<Problem>> {
    let (pieces, taken) = mpsc::channel(PIECES_MAX);
    let (long, outcome) = oneshot::channel();
    tokio::task::spawn_blocking(move || {
        let mut out = Out { buffer: Vec::new(), pieces, long: Some(long), lost: false };
        let written = write(&mut out);
        match (written, out.long.take()) {
            (Ok(()), Some(long)) => drop(long.send(Outcome::Whole(std::mem::take(&mut out.buffer)))),
            (Err(problem), Some(long)) => drop(long.send(Outcome::Refused(problem))),
            (Ok(()), None) => drop(out.send(true)),
            // It has begun and cannot be taken back: the connection is cut, so that nobody takes it for whole.
            (Err(problem), None) => {
                tracing::error!(detail = problem.detail(), "an answer from history ended early");
                let _ = out.pieces.blocking_send(Err(std::io::Error::other("the file broke")));
            }
        }
    });
    match outcome.await {
        Ok(Outcome::Whole(body)) => Ok(Document::new(JSON, &etag, body).respond(&headers)),
        Ok(Outcome::Refused(problem)) => Err(problem),
        Ok(Outcome::Long) => {
            let document = Document::new(JSON, &etag, Vec::new());
            let mut response = document.respond(&headers);
            if response.status() == axum::http::StatusCode::NOT_MODIFIED {
                return Ok(response);
            }
            // The place is given back when the client has everything, or goes.
            let pieces = stream::unfold((taken, place), |(mut taken, place)| async move {
                taken.recv().await.map(|piece| (piece, (taken, place)))
            });
            *response.body_mut() = Body::from_stream(pieces);
            Ok(response)
        }
        Err(_) => Err(Problem::new(Code::InternalError, "making the answer failed")),
    }
}
