//! A small store that outlives restarts: cursors, counters, the last answer. Every addon has its own. Needs the grant `kv`.
//!
//! At most 1 MiB in all, 1 000 keys, 100 writes a second; a key has 1 to 256 bytes, a value at most 64 KiB.
//!
//! ```
//! # use lowtide_sdk::{kv, testing::FakeHost};
//! # FakeHost::new().run(|| {
//! let restarts = kv::get_text("restarts")?.and_then(|text| text.parse().ok()).unwrap_or(0_u64);
//! kv::set("restarts", (restarts + 1).to_string())?;
//! # assert_eq!(kv::get("restarts")?.as_deref(), Some(&b"1"[..]));
//! # Ok::<(), lowtide_sdk::kv::KvError>(())
//! # }).unwrap();
//! ```

use crate::host::kv as host;
use std::fmt;

/// Why the store did not do what was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KvError {
    /// The key is empty or longer than 256 bytes, or the value longer than 64 KiB; the text says which.
    Invalid(String),
    /// The quota of bytes, keys or writes is used up; the text says which.
    LimitExceeded(String),
    /// The store cannot be read or written now.
    Unavailable(String),
}

impl fmt::Display for KvError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Invalid(text) => write!(out, "kv: {text}"),
            Self::LimitExceeded(text) => write!(out, "kv: limit exceeded: {text}"),
            Self::Unavailable(text) => write!(out, "kv: unavailable: {text}"),
        }
    }
}

impl std::error::Error for KvError {}

/// The value of a key; none if there is none.
pub fn get(key: &str) -> Result<Option<Vec<u8>>, KvError> {
    host::get(key)
}

/// The value of a key as text; none if there is none. A value that is not UTF-8 is [`KvError::Invalid`].
pub fn get_text(key: &str) -> Result<Option<String>, KvError> {
    let value = get(key)?.map(String::from_utf8).transpose();
    value.map_err(|_| KvError::Invalid(format!("the value of {key} is not text")))
}

/// Sets a key. When it returns, the value survives a crash.
pub fn set(key: &str, value: impl AsRef<[u8]>) -> Result<(), KvError> {
    host::set(key, value.as_ref())
}

/// Removes a key. Removing what is not there is not an error.
pub fn delete(key: &str) -> Result<(), KvError> {
    host::delete(key)
}

/// The keys that begin with this prefix, sorted; all of them for an empty one.
pub fn list_keys(prefix: &str) -> Result<Vec<String>, KvError> {
    host::list_keys(prefix)
}
