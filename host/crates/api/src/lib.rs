//! HTTP for everything outside: JSON documents, expositions, the event stream, OpenAPI and its page.
//!
//! A GET reads the published state, the window or the event log and never triggers a collection. Nothing here decides;
//! what acts goes through `lowtide_app::App`. `host` binds the sockets and calls [`serve`].

mod acting;
mod document;
mod dto;
mod edge;
mod error;
mod export;
mod gate;
mod observe;
mod params;
mod routes;
mod shared;

pub use dto::events::document as event_document;
pub use edge::{Bounds, Edge, Listener, Tls, TlsError, serve};
pub use error::CODES;
pub use export::prometheus;
pub use routes::{ROUTES, openapi};
