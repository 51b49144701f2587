//! One value against one key: its type, range, words and form. It turns what was written, in TOML or as plain text in a
//! variable or flag, into JSON or into mistakes; it knows nothing of other keys and of where the value stands.

use super::error::{ErrorKind, Mistake};
use super::keys::{Format, Key, Kind};
use super::{LIST_ITEMS_MAX, TEXT_BYTES_MAX, parse_address, parse_network};
use lowtide_addons::capabilities::{DataRule, HttpRule};
use lowtide_core::metric::clip;
use serde_json::Value;
use std::ops::Range;
use toml::Spanned;
use toml::de::{DeInteger, DeValue};

/// Bytes of a value that an error repeats.
const SHOWN_BYTES_MAX: usize = 80;

/// Bytes of a mistake's text that the addon host words.
const FOREIGN_BYTES_MAX: usize = 300;

/// A mistake with the entry of the list that it is in, and where that is in the file's text.
pub(super) type Found = (Mistake, Option<usize>, Range<usize>);

/// Reads a value from TOML.
pub(super) fn from_toml(key: &Key, value: &Spanned<DeValue<'_>>) -> Result<Value, Vec<Found>> {
    let alone = |mistake| vec![(mistake, None, value.span())];
    if key.takes_none() && value.get_ref().as_str() == Some("none") {
        return Ok(Value::Null);
    }
    let (Kind::List { item, min, max }, DeValue::Array(entries)) = (&key.kind, value.get_ref()) else {
        return scalar(value.get_ref()).and_then(|value| accept(key, &key.kind, value)).map_err(alone);
    };
    check_length(entries.len(), *min, *max).map_err(alone)?;
    let mut mistakes = Vec::new();
    let mut values = Vec::new();
    for (index, entry) in entries.iter().enumerate() {
        match scalar(entry.get_ref()).and_then(|value| accept(key, item, value)) {
            Ok(value) => values.push(value),
            Err(mistake) => mistakes.push((mistake, Some(index), entry.span())),
        }
    }
    if mistakes.is_empty() { Ok(Value::Array(values)) } else { Err(mistakes) }
}

/// Reads a value from plain text. Entries of a list are separated by commas; an empty text is an empty list, or takes the
/// value of an optional key away.
pub(super) fn from_text(key: &Key, written: &str) -> Result<Value, Vec<(Mistake, Option<usize>)>> {
    let written = written.trim();
    let Kind::List { item, min, max } = &key.kind else {
        if key.optional && written.is_empty() || key.takes_none() && written == "none" {
            return Ok(Value::Null);
        }
        let value = parse(&key.kind, written).and_then(|value| accept(key, &key.kind, value));
        return value.map_err(|mistake| vec![(mistake, None)]);
    };
    let entries = split_list(written);
    check_length(entries.len(), *min, *max).map_err(|mistake| vec![(mistake, None)])?;
    let mut mistakes = Vec::new();
    let mut values = Vec::new();
    for (index, entry) in entries.into_iter().enumerate() {
        match parse(item, entry).and_then(|value| accept(key, item, value)) {
            Ok(value) => values.push(value),
            Err(mistake) => mistakes.push((mistake, Some(index))),
        }
    }
    if mistakes.is_empty() { Ok(Value::Array(values)) } else { Err(mistakes) }
}

/// Reads a value of an addon's settings, which may have any type that such a value can have.
pub(super) fn setting_from_toml(value: &Spanned<DeValue<'_>>) -> Result<Value, Found> {
    let check = |value: Value, span: Range<usize>, index| match &value {
        Value::String(text) if text.len() > TEXT_BYTES_MAX => {
            let message = format!("the text is too long with {} bytes", text.len());
            let mistake = Mistake::new(ErrorKind::OutOfRange, message);
            Err((mistake.allowed(format!("up to {TEXT_BYTES_MAX} bytes")), index, span))
        }
        _ => Ok(value),
    };
    let wrong = |found: &str, span, index| {
        let message =
            format!("{found} cannot be a setting, write texts, numbers, true or false, or a list of texts");
        Err((Mistake::new(ErrorKind::WrongType, message), index, span))
    };
    match value.get_ref() {
        DeValue::Array(entries) => {
            check_length(entries.len(), 0, LIST_ITEMS_MAX)
                .map_err(|mistake| (mistake, None, value.span()))?;
            let entry = |(index, entry): (usize, &Spanned<DeValue<'_>>)| match entry.get_ref() {
                DeValue::String(text) => check(Value::from(text.as_ref()), entry.span(), Some(index)),
                _ => wrong("a list of anything but texts", entry.span(), Some(index)),
            };
            entries.iter().enumerate().map(entry).collect::<Result<Vec<_>, _>>().map(Value::Array)
        }
        DeValue::Table(_) => wrong("a section", value.span(), None),
        DeValue::Datetime(_) => wrong("a date", value.span(), None),
        other => match scalar(other) {
            Ok(read) => check(read, value.span(), None),
            Err(mistake) => Err((mistake, None, value.span())),
        },
    }
}

/// Splits at commas that are not inside the braces of a glob.
fn split_list(written: &str) -> Vec<&str> {
    let mut depth = 0_usize;
    let at_comma = |c: char| {
        match c {
            '{' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        c == ',' && depth == 0
    };
    if written.is_empty() { Vec::new() } else { written.split(at_comma).map(str::trim).collect() }
}

/// A TOML value as JSON. Lists and tables come here only where a single value belongs.
fn scalar(value: &DeValue<'_>) -> Result<Value, Mistake> {
    match value {
        DeValue::String(text) => Ok(Value::from(text.as_ref())),
        DeValue::Boolean(value) => Ok(Value::from(*value)),
        DeValue::Integer(written) => whole(written),
        DeValue::Float(written) => {
            let number: f64 = written.as_str().parse().unwrap_or(f64::NAN);
            finite(number, written.as_str())
        }
        // Empty stand-ins: the type is all that the error will speak of.
        DeValue::Array(_) => Ok(Value::Array(Vec::new())),
        DeValue::Table(_) => Ok(Value::Object(serde_json::Map::new())),
        DeValue::Datetime(_) => Err(Mistake::new(ErrorKind::WrongType, "a date is no value of any key")),
    }
}

fn whole(written: &DeInteger<'_>) -> Result<Value, Mistake> {
    let number = i64::from_str_radix(written.as_str(), written.radix());
    number.map(Value::from).map_err(|_| {
        Mistake::new(ErrorKind::OutOfRange, format!("{} is out of range", shown(written.as_str())))
    })
}

fn finite(number: f64, written: &str) -> Result<Value, Mistake> {
    if number.is_finite() {
        return Ok(Value::from(number));
    }
    Err(Mistake::new(ErrorKind::OutOfRange, format!("{} is not a finite number", shown(written))))
}

fn parse(kind: &Kind, written: &str) -> Result<Value, Mistake> {
    let wrong =
        || Mistake::new(ErrorKind::WrongType, format!("expected {}, found {}", kind.noun(), quoted(written)));
    match kind {
        Kind::Bool => written.parse::<bool>().map(Value::from).map_err(|_| wrong()),
        Kind::Integer { .. } => {
            // Digits that do not fit are a matter of range, not of type.
            let number = written.parse::<i128>().map_err(|_| wrong())?;
            let number = i64::try_from(number).unwrap_or(if number < 0 { i64::MIN } else { i64::MAX });
            Ok(Value::from(number))
        }
        Kind::Number { .. } => finite(written.parse::<f64>().map_err(|_| wrong())?, written),
        Kind::Text(_) | Kind::Choice(_) | Kind::List { .. } => Ok(Value::from(written)),
    }
}

/// Holds a value against a kind.
fn accept(key: &Key, kind: &Kind, value: Value) -> Result<Value, Mistake> {
    let out_of_range = || {
        let allowed = kind.range(key.unit.as_deref()).unwrap_or_default();
        Mistake::new(ErrorKind::OutOfRange, format!("{value} is out of range")).allowed(allowed)
    };
    match (kind, &value) {
        (Kind::Bool, Value::Bool(_)) => {}
        (Kind::Integer { min, max }, Value::Number(number)) if number.is_i64() => {
            if !number.as_i64().is_some_and(|number| (*min..=*max).contains(&number)) {
                return Err(out_of_range());
            }
        }
        (Kind::Number { min, max }, Value::Number(number)) => {
            let number = number.as_f64().unwrap_or(f64::NAN);
            if !(*min..=*max).contains(&number) {
                return Err(out_of_range());
            }
            return Ok(Value::from(number));
        }
        (Kind::Text(format), Value::String(text)) => check_text(*format, text)?,
        (Kind::Choice(choices), Value::String(text)) => {
            if !choices.iter().any(|(name, _)| name == text) {
                let names: Vec<&str> = choices.iter().map(|(name, _)| name.as_str()).collect();
                let near = nearest(text, names.iter().copied());
                let hint = near.map(|name| format!(" (did you mean {name})")).unwrap_or_default();
                let message = format!("there is no {}{hint}", quoted(text));
                return Err(Mistake::new(ErrorKind::NotAllowed, message).allowed(names.join(", ")));
            }
        }
        (_, found) => {
            let message = format!("expected {}, found {}", kind.noun(), noun(found));
            return Err(Mistake::new(ErrorKind::WrongType, message));
        }
    }
    Ok(value)
}

fn check_length(length: usize, min: usize, max: usize) -> Result<(), Mistake> {
    if (min..=max).contains(&length) {
        return Ok(());
    }
    let message =
        if length < min { "the list is empty".to_owned() } else { format!("{length} entries are too many") };
    Err(Mistake::new(ErrorKind::OutOfRange, message).allowed(format!("{min} to {max} entries")))
}

fn check_text(format: Option<Format>, text: &str) -> Result<(), Mistake> {
    let refuse = |message: String| Err(Mistake::new(ErrorKind::NotAllowed, message));
    // It repeats the text, which may be long.
    let foreign = |message: String| refuse(clip(&message, FOREIGN_BYTES_MAX).to_owned());
    if text.is_empty() {
        return refuse("the text is empty".to_owned());
    }
    if text.len() > TEXT_BYTES_MAX {
        let message = format!("the text is too long with {} bytes", text.len());
        return Err(
            Mistake::new(ErrorKind::OutOfRange, message).allowed(format!("up to {TEXT_BYTES_MAX} bytes"))
        );
    }
    if text.chars().any(char::is_control) {
        return refuse(format!("{} contains a control character", quoted(text)));
    }
    match format {
        None => Ok(()),
        Some(Format::HttpRule) => HttpRule::try_from(text.to_owned()).map(drop).or_else(foreign),
        Some(Format::DataRule) => DataRule::try_from(text.to_owned()).map(drop).or_else(foreign),
        Some(Format::AbsolutePath) if text.starts_with('/') => Ok(()),
        Some(Format::AbsolutePath) => {
            refuse(format!("{} is not an absolute path, start it with /", quoted(text)))
        }
        Some(Format::Glob) => match globset::Glob::new(text) {
            Ok(_) => Ok(()),
            Err(error) => refuse(format!("{} is not a glob: {}", quoted(text), error.kind())),
        },
        Some(Format::Address) if parse_address(text).is_some() => Ok(()),
        Some(Format::Address) => refuse(format!(
            "{} is not an address with a port, write it like 127.0.0.1:4270 or [::1]:4270",
            quoted(text)
        )),
        Some(Format::Network) if parse_network(text).is_some() => Ok(()),
        Some(Format::Network) => {
            refuse(format!("{} is not a network, write it like 10.0.0.0/8 or 192.0.2.7", quoted(text)))
        }
    }
}

impl Kind {
    /// The kind in words, with its article.
    pub(super) fn noun(&self) -> &'static str {
        match self {
            Self::Bool => "true or false",
            Self::Integer { .. } => "a whole number",
            Self::Number { .. } => "a number",
            Self::Text(_) | Self::Choice(_) => "a text in quotes",
            Self::List { .. } => "a list",
        }
    }

    /// The allowed range of a number in words.
    pub(super) fn range(&self, unit: Option<&str>) -> Option<String> {
        let unit = unit.map(|unit| format!(" ({unit})")).unwrap_or_default();
        match self {
            Self::Integer { min, max } => Some(format!("{min} to {max}{unit}")),
            Self::Number { min, max } => Some(format!("{min} to {max}{unit}")),
            _ => None,
        }
    }
}

fn noun(value: &Value) -> &'static str {
    match value {
        Value::Null => "nothing",
        Value::Bool(_) => "true or false",
        Value::Number(number) if number.is_i64() => "a whole number",
        Value::Number(_) => "a number with a fraction",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "a section",
    }
}

/// What a person wrote, cut and escaped so that it cannot disturb a terminal.
fn shown(written: &str) -> String {
    clip(written, SHOWN_BYTES_MAX).escape_debug().to_string()
}

pub(super) fn quoted(written: &str) -> String {
    format!("\"{}\"", shown(written))
}

/// The candidate that was most likely meant: at most half of its letters differ, and never more than four.
pub(super) fn nearest<'a>(written: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let written = clip(written, SHOWN_BYTES_MAX);
    let scored = candidates.map(|candidate| (distance(written, candidate), candidate));
    scored
        .filter(|(distance, candidate)| *distance <= (candidate.len() / 2).min(4))
        .min()
        .map(|(_, candidate)| candidate)
}

/// Number of single-letter changes between two words (Levenshtein), row by row.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        for (cell, to) in row.iter_mut().skip(1).zip(&b) {
            let changed = diagonal + usize::from(from != *to);
            diagonal = *cell;
            left = changed.min(left + 1).min(*cell + 1);
            *cell = left;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or_default()
}
