//! Files of numbers in JSON: `{"name": number}`, or a list of `{"name", "value", "labels", "help", "type"}`.

use crate::family::Parsed;
use lowtide_sdk::Kind;
use serde_json::{Map, Value};

/// Reads a file.
///
/// # Errors
/// In words, when it is of another form.
pub(crate) fn parse(text: &str) -> Result<Parsed, String> {
    let mut parsed = Parsed::default();
    match serde_json::from_str(text).map_err(|error| error.to_string())? {
        Value::Object(object) => {
            for (name, value) in &object {
                if let Some(value) = number(value).map_err(|problem| format!("{name}: {problem}"))? {
                    parsed.put(name, untyped(name), None, Vec::new(), value)?;
                }
            }
        }
        Value::Array(list) => {
            for (at, entry) in list.iter().enumerate() {
                put(&mut parsed, entry).map_err(|problem| format!("entry {}: {problem}", at + 1))?;
            }
        }
        _ => return Err("neither an object nor a list".to_owned()),
    }
    Ok(parsed)
}

fn put(parsed: &mut Parsed, entry: &Value) -> Result<(), String> {
    let entry = entry.as_object().ok_or("it is not an object")?;
    let known = ["name", "value", "labels", "help", "type"];
    if let Some(key) = entry.keys().find(|key| !known.contains(&key.as_str())) {
        return Err(format!("{key:?} is none of name, value, labels, help and type"));
    }
    let text = |key: &str| match entry.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.as_str())),
        Some(_) => Err(format!("{key} is not a text")),
    };
    let name = text("name")?.ok_or("there is no name")?;
    let Some(value) = number(entry.get("value").ok_or("there is no value")?)? else { return Ok(()) };
    let kind = match text("type")? {
        None | Some("untyped") => untyped(name),
        Some("gauge") => Kind::Gauge,
        Some("counter") => Kind::Counter,
        Some(other) => return Err(format!("the type {other:?} is none of gauge, counter and untyped")),
    };
    let labels = match entry.get("labels") {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::Object(labels)) => self::labels(labels)?,
        Some(_) => return Err("labels is not an object".to_owned()),
    };
    parsed.put(name, kind, text("help")?, labels, value)
}

fn labels(object: &Map<String, Value>) -> Result<Vec<(String, String)>, String> {
    let label = |(key, value): (&String, &Value)| match value {
        Value::String(text) => Ok((key.clone(), text.clone())),
        Value::Number(_) | Value::Bool(_) => Ok((key.clone(), value.to_string())),
        _ => Err(format!("the label {key} is neither a text nor a number")),
    };
    object.iter().map(label).collect()
}

/// A number; true and false are 1 and 0, and null is none.
fn number(value: &Value) -> Result<Option<f64>, String> {
    match value {
        Value::Null => Ok(None),
        Value::Bool(value) => Ok(Some(f64::from(u8::from(*value)))),
        Value::Number(number) => Ok(number.as_f64()),
        other => Err(format!("{other} is not a number")),
    }
}

fn untyped(name: &str) -> Kind {
    if name.ends_with("_total") { Kind::Counter } else { Kind::Gauge }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flat_objects_and_lists_are_read() {
        let parsed =
            parse(r#"{"b_ratio": 0.5, "jobs_total": 3, "up": true, "unknown": null, "a.b": 1}"#).unwrap();
        let found: Vec<_> = parsed
            .families
            .iter()
            .map(|family| (family.name.as_str(), family.kind, family.series[0].value))
            .collect();
        let wanted = [
            ("a_b", Kind::Gauge, 1.0),
            ("b_ratio", Kind::Gauge, 0.5),
            ("jobs_total", Kind::Counter, 3.0),
            ("up", Kind::Gauge, 1.0),
        ];
        assert_eq!(found, wanted);

        let parsed = parse(
            r#"[{"name": "disk_celsius", "value": 31, "labels": {"disk": "sda", "bay": 1}, "help": "Heat.", "type": "gauge"},
                {"name": "disk_celsius", "value": 35.5, "labels": {"disk": "sdb", "bay": 2}},
                {"name": "runs", "value": 7, "type": "counter"}]"#,
        )
        .unwrap();
        assert_eq!((parsed.families[0].series.len(), parsed.families[0].help.as_deref()), (2, Some("Heat.")));
        assert_eq!(parsed.families[0].series[1].label("bay"), "2");
        assert_eq!(parsed.families[1].name, "runs_total");
        assert_eq!(parse("{}").unwrap(), Parsed::default());
    }

    #[test]
    fn other_forms_are_told() {
        for (text, wanted) in [
            ("", "EOF while parsing"),
            ("{\"a\": }", "expected value"),
            ("3", "neither an object nor a list"),
            (r#"{"a": "x"}"#, "a: \"x\" is not a number"),
            (r#"{"a": {"b": 1}}"#, "a: {\"b\":1} is not a number"),
            ("[3]", "entry 1: it is not an object"),
            (r#"[{"value": 3}]"#, "entry 1: there is no name"),
            (r#"[{"name": "a"}]"#, "entry 1: there is no value"),
            (r#"[{"name": "a", "valu": 1}]"#, "entry 1: \"valu\" is none of"),
            (r#"[{"name": "a", "value": 1, "type": "histogram"}]"#, "entry 1: the type \"histogram\""),
            (r#"[{"name": "a", "value": 1, "labels": []}]"#, "entry 1: labels is not an object"),
            (r#"[{"name": "a", "value": 1, "labels": {"b": []}}]"#, "entry 1: the label b"),
            (r#"[{"name": "a", "value": 1}, {"name": "a", "value": 2}]"#, "entry 2: a is given twice"),
        ] {
            let problem = parse(text).unwrap_err();
            assert!(problem.starts_with(wanted), "{text}: {problem}");
        }
    }
}
