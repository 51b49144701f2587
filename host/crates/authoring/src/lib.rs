//! What the commands for authors of addons do: `lowtide addon new`, `build`, `check`, `run` and `test`.
//!
//! It starts the author's own tools and private addon hosts, and knows nothing of the daemon or the terminal: what is to be said on
//! the way goes to a [`Say`], what came of it is a value. `host` turns both into text.

mod bench;
pub mod build;
pub mod case;
pub mod check;
mod error;
mod lint;
pub mod new;
pub mod project;
pub mod run;
pub mod test;
mod tools;

pub use error::AuthorError;

/// Takes a line for the author: what is being done now.
pub type Say<'a> = &'a mut dyn FnMut(&str);
