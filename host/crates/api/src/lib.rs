//! HTTP for everything outside: JSON documents, expositions, the event stream, OpenAPI and its page.
//!
//! A GET reads the published state, the window or the event log and never triggers a collection. Nothing here decides;
//! what acts goes through `lowtide_app::App`. `host` binds the socket and calls [`serve`].

mod acting;
mod document;
mod dto;
mod error;
mod export;
mod observe;
mod params;
mod routes;
mod server;
mod shared;

pub use dto::events::document as event_document;
pub use error::CODES;
pub use export::prometheus;
pub use routes::{ROUTES, openapi};
pub use server::serve;
