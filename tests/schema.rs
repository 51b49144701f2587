//! Holds JSON against the part of JSON Schema 2020-12 that the OpenAPI document uses. A keyword that it does not know is an
//! error, so that nothing passes unread.

use serde_json::Value;

/// The checked-in description.
pub(crate) fn openapi() -> Value {
    serde_json::from_str(include_str!("../docs/reference/openapi.json")).unwrap()
}

/// The schema of one component by its name.
pub(crate) fn component<'a>(document: &'a Value, name: &str) -> &'a Value {
    document.pointer(&format!("/components/schemas/{name}")).unwrap_or_else(|| panic!("no schema {name}"))
}

/// Everything in `value` that is not as the schema says, each with its place.
pub(crate) fn problems(document: &Value, schema: &Value, value: &Value) -> Vec<String> {
    let mut found = Vec::new();
    Walk { document, found: &mut found }.check(schema, value, "");
    found.truncate(20);
    found
}

struct Walk<'a> {
    document: &'a Value,
    found: &'a mut Vec<String>,
}

impl Walk<'_> {
    fn check(&mut self, schema: &Value, value: &Value, at: &str) {
        let Some(keywords) = schema.as_object() else { return };
        let mut wrong = |text: String| self.found.push(format!("{at}: {text}"));
        for (keyword, rule) in keywords {
            match keyword.as_str() {
                "type" => {
                    let types = rule.as_array().cloned().unwrap_or_else(|| vec![rule.clone()]);
                    if !types.iter().any(|one| is_of(value, one.as_str().unwrap_or_default())) {
                        wrong(format!("{} is not of type {rule}", short(value)));
                    }
                }
                "enum" if !rule.as_array().unwrap().contains(value) => {
                    wrong(format!("{} is none of {rule}", short(value)));
                }
                "required" => {
                    for name in rule.as_array().unwrap().iter().filter_map(Value::as_str) {
                        if value.is_object() && value.get(name).is_none() {
                            wrong(format!("{name} is missing"));
                        }
                    }
                }
                "minimum" if value.as_f64() < rule.as_f64() && value.is_number() => {
                    wrong(format!("{value} is less than {rule}"));
                }
                "maximum" if value.as_f64() > rule.as_f64() && value.is_number() => {
                    wrong(format!("{value} is more than {rule}"));
                }
                "format" if rule == "date-time" => {
                    if let Some(text) = value.as_str()
                        && text.parse::<jiff::Timestamp>().is_err()
                    {
                        wrong(format!("{text:?} is not a time"));
                    }
                }
                "$ref"
                | "properties"
                | "items"
                | "additionalProperties"
                | "allOf"
                | "oneOf"
                | "enum"
                | "minimum"
                | "maximum"
                | "format"
                | "description"
                | "example"
                | "propertyNames"
                | "title"
                | "default" => {}
                other => wrong(format!("the schema has the keyword {other}, which this test does not know")),
            }
        }
        self.inner(schema, value, at);
    }

    fn inner(&mut self, schema: &Value, value: &Value, at: &str) {
        if let Some(name) = schema["$ref"].as_str() {
            let target =
                self.document.pointer(name.trim_start_matches('#')).unwrap_or_else(|| panic!("{name}"));
            self.check(target, value, at);
        }
        if let Some(object) = value.as_object() {
            for (key, below) in object {
                let at = format!("{at}/{key}");
                match (schema["properties"].get(key), schema.get("additionalProperties")) {
                    (Some(rule), _) => self.check(rule, below, &at),
                    (None, Some(Value::Bool(false))) => self.found.push(format!("{at}: is not described")),
                    (None, Some(rule)) => self.check(rule, below, &at),
                    (None, None) => {}
                }
            }
        }
        if let (Some(entries), Some(rule)) = (value.as_array(), schema.get("items")) {
            for (number, entry) in entries.iter().enumerate() {
                self.check(rule, entry, &format!("{at}/{number}"));
            }
        }
        for rule in schema["allOf"].as_array().into_iter().flatten() {
            self.check(rule, value, at);
        }
        if let Some(choices) = schema["oneOf"].as_array() {
            let fitting =
                choices.iter().filter(|rule| problems(self.document, rule, value).is_empty()).count();
            if fitting != 1 {
                self.found.push(format!(
                    "{at}: {} fits {fitting} of {} choices",
                    short(value),
                    choices.len()
                ));
            }
        }
    }
}

fn is_of(value: &Value, kind: &str) -> bool {
    match kind {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "number" => value.is_number(),
        "integer" => value.is_i64() || value.is_u64(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        other => panic!("type {other}"),
    }
}

fn short(value: &Value) -> String {
    value.to_string().chars().take(60).collect()
}

#[test]
fn what_does_not_fit_is_found_with_its_place() {
    let document = serde_json::json!({ "components": { "schemas": { "A": {
        "type": "object", "required": ["x"],
        "properties": { "x": { "type": "array", "items": { "type": "integer", "maximum": 3 } } },
        "additionalProperties": false
    } } } });
    let rule = serde_json::json!({ "$ref": "#/components/schemas/A" });
    let look = |value| problems(&document, &rule, &value);
    assert!(look(serde_json::json!({ "x": [1, 2] })).is_empty());
    assert_eq!(look(serde_json::json!({ "x": [1, 9] })), ["/x/1: 9 is more than 3"]);
    assert_eq!(look(serde_json::json!({ "y": 1 })).len(), 2);
}
