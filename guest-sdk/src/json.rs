//! A small writer of JSON objects for [`CustomStats`](crate::CustomStats), for addons that do not need `serde_json`.

use std::fmt::Write as _;

/// A JSON object (RFC 8259), written key by key. A key that is given twice stands there twice.
///
/// ```
/// use lowtide_sdk::json::{Object, Value};
///
/// let text = Object::new()
///     .put("server", "office \"A\"")
///     .put("users", 3)
///     .put("load_ratio", 0.25)
///     .put("titles", ["Metropolis", "M"].map(Value::from).to_vec())
///     .put("queue", Object::new().put("waiting", Value::Null))
///     .finish();
/// assert_eq!(
///     text,
///     r#"{"server":"office \"A\"","users":3,"load_ratio":0.25,"titles":["Metropolis","M"],"queue":{"waiting":null}}"#
/// );
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Object(Vec<(String, Value)>);

impl Object {
    /// An object without members.
    pub fn new() -> Self {
        Self::default()
    }

    /// One more member.
    #[must_use]
    pub fn put(mut self, key: impl Into<String>, value: impl Into<Value>) -> Self {
        self.0.push((key.into(), value.into()));
        self
    }

    /// The text.
    pub fn finish(&self) -> String {
        let mut out = String::new();
        write_object(&mut out, self);
        out
    }
}

/// A JSON value.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Nothing.
    Null,
    /// True or false.
    Boolean(bool),
    /// A whole number.
    Integer(i64),
    /// A number; not a number and infinity are written as `null`.
    Number(f64),
    /// A text.
    Text(String),
    /// A list.
    List(Vec<Value>),
    /// An object.
    Object(Object),
}

macro_rules! value_from {
    ($($from:ty => $variant:ident),+ $(,)?) => {
        $(impl From<$from> for Value {
            fn from(value: $from) -> Self {
                Self::$variant(value.into())
            }
        })+
    };
}

value_from!(
    bool => Boolean,
    i32 => Integer,
    u32 => Integer,
    i64 => Integer,
    f64 => Number,
    &str => Text,
    String => Text,
    Vec<Value> => List,
    Object => Object,
);

impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

impl<T: Into<Value>> FromIterator<T> for Value {
    fn from_iter<I: IntoIterator<Item = T>>(values: I) -> Self {
        Self::List(values.into_iter().map(Into::into).collect())
    }
}

fn write_object(out: &mut String, object: &Object) {
    out.push('{');
    for (at, (key, value)) in object.0.iter().enumerate() {
        if at > 0 {
            out.push(',');
        }
        write_text(out, key);
        out.push(':');
        write_value(out, value);
    }
    out.push('}');
}

fn write_value(out: &mut String, value: &Value) {
    // Writing to a String cannot fail.
    let _ = match value {
        Value::Boolean(value) => write!(out, "{value}"),
        Value::Integer(number) => write!(out, "{number}"),
        Value::Number(number) if number.is_finite() => write!(out, "{number}"),
        Value::Null | Value::Number(_) => write!(out, "null"),
        Value::Text(text) => return write_text(out, text),
        Value::Object(object) => return write_object(out, object),
        Value::List(values) => {
            out.push('[');
            for (at, value) in values.iter().enumerate() {
                if at > 0 {
                    out.push(',');
                }
                write_value(out, value);
            }
            write!(out, "]")
        }
    };
}

fn write_text(out: &mut String, text: &str) {
    out.push('"');
    for character in text.chars() {
        let _ = match character {
            '"' | '\\' => write!(out, "\\{character}"),
            '\n' => write!(out, "\\n"),
            control if control < ' ' => write!(out, "\\u{:04x}", u32::from(control)),
            other => {
                out.push(other);
                Ok(())
            }
        };
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_escaped_and_what_json_has_no_number_for_is_null() {
        let object =
            Object::new().put("a\u{1}", "\\\n\"ä").put("b", f64::NAN).put("c", Value::from_iter([1, 2]));
        assert_eq!(object.finish(), "{\"a\\u0001\":\"\\\\\\n\\\"ä\",\"b\":null,\"c\":[1,2]}");
        assert_eq!(Object::new().finish(), "{}");
    }
}
