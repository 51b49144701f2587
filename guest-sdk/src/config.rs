//! The settings that the operator gave this addon, in `[addon.<id>.settings]` of the configuration. They stay the same while an
//! instance lives.
//!
//! ```
//! # use lowtide_sdk::{Failure, config, testing::FakeHost};
//! # FakeHost::new().config("url", "http://127.0.0.1:8096").run(|| {
//! let url: String = config::required("url")?;
//! let most = config::integer("most").unwrap_or(10);
//! # assert_eq!((url.as_str(), most), ("http://127.0.0.1:8096", 10));
//! # Ok::<(), Failure>(())
//! # }).unwrap();
//! ```

use crate::Failure;
pub use crate::bindings::imports::lowtide::addon::config::Value;
use crate::host::config as host;

/// The value of a key; none if the operator did not set it.
pub fn get(key: &str) -> Option<Value> {
    host::get(key)
}

/// All keys that are set, sorted.
pub fn keys() -> Vec<String> {
    host::keys()
}

/// A value that may be left out. A value of another type is [`Failure::Config`].
pub fn optional<T: FromValue>(key: &str) -> Result<Option<T>, Failure> {
    let Some(value) = get(key) else { return Ok(None) };
    let found = type_name(&value);
    match T::from_value(value) {
        Some(value) => Ok(Some(value)),
        None => Err(Failure::Config(format!("{key}: {} is needed, {found} is set", T::NAME))),
    }
}

/// A value that must be set. A value that is missing or of another type is [`Failure::Config`].
pub fn required<T: FromValue>(key: &str) -> Result<T, Failure> {
    optional(key)?.ok_or_else(|| Failure::Config(format!("{key}: not set; {} is needed", T::NAME)))
}

/// A text. A value of another type counts as not set, with a warning in the log; [`optional`] returns it as an error.
pub fn text(key: &str) -> Option<String> {
    or_warn(key)
}

/// A whole number; otherwise as [`text`].
pub fn integer(key: &str) -> Option<i64> {
    or_warn(key)
}

/// A number, whole or not; otherwise as [`text`].
pub fn float(key: &str) -> Option<f64> {
    or_warn(key)
}

/// True or false; otherwise as [`text`].
pub fn boolean(key: &str) -> Option<bool> {
    or_warn(key)
}

/// A list of texts; otherwise as [`text`].
pub fn texts(key: &str) -> Option<Vec<String>> {
    or_warn(key)
}

fn or_warn<T: FromValue>(key: &str) -> Option<T> {
    optional(key).unwrap_or_else(|failure| {
        crate::log::warn(format!("setting not used: {}", failure.text()));
        None
    })
}

/// A Rust type that a setting can be read as.
pub trait FromValue: Sized {
    /// What the setting has to be, for error texts.
    const NAME: &'static str;

    /// The value, if it is of this type.
    fn from_value(value: Value) -> Option<Self>;
}

impl FromValue for String {
    const NAME: &'static str = "a text";

    fn from_value(value: Value) -> Option<Self> {
        if let Value::Text(text) = value { Some(text) } else { None }
    }
}

impl FromValue for i64 {
    const NAME: &'static str = "a whole number";

    fn from_value(value: Value) -> Option<Self> {
        if let Value::Integer(number) = value { Some(number) } else { None }
    }
}

impl FromValue for f64 {
    const NAME: &'static str = "a number";

    fn from_value(value: Value) -> Option<Self> {
        match value {
            Value::Float(number) => Some(number),
            Value::Integer(number) => Some(number as f64),
            _ => None,
        }
    }
}

impl FromValue for bool {
    const NAME: &'static str = "true or false";

    fn from_value(value: Value) -> Option<Self> {
        if let Value::Boolean(value) = value { Some(value) } else { None }
    }
}

impl FromValue for Vec<String> {
    const NAME: &'static str = "a list of texts";

    fn from_value(value: Value) -> Option<Self> {
        if let Value::Texts(texts) = value { Some(texts) } else { None }
    }
}

fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Text(_) => String::NAME,
        Value::Integer(_) => i64::NAME,
        Value::Float(_) => f64::NAME,
        Value::Boolean(_) => bool::NAME,
        Value::Texts(_) => <Vec<String>>::NAME,
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::Integer(number)
    }
}

impl From<f64> for Value {
    fn from(number: f64) -> Self {
        Self::Float(number)
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Boolean(value)
    }
}

impl<const N: usize> From<[&str; N]> for Value {
    fn from(texts: [&str; N]) -> Self {
        Self::Texts(texts.map(str::to_owned).into())
    }
}

impl From<Vec<String>> for Value {
    fn from(texts: Vec<String>) -> Self {
        Self::Texts(texts)
    }
}
