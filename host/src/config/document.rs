//! The documents that are made from the table of keys: reference page, sample file, JSON schema. `xtask gen` writes them to
//! `docs/reference`, `lowtide config default` prints the sample. Nothing here is written by hand twice.

use super::keys::{ANY_ID, Format, Key, Kind, Section, addon_table, schema, table};
use serde_json::{Map, Value, json};
use std::collections::HashSet;
use std::fmt::Write;

/// Column at which comments of the sample are wrapped.
const SAMPLE_COLUMNS: usize = 100;

/// `docs/reference/config.md`: every key with its values, default, variable, and when a change applies.
#[must_use]
pub fn reference_markdown() -> String {
    let mut page = String::from(
        "# Configuration\n\n\
         <!-- Made by `cargo xtask gen` from host/src/config.rs; edit the doc comments there. -->\n\n\
         Read in this order, later over earlier: the defaults; `config.toml` (the file named by `--config`, else in \
         `$CONFIGURATION_DIRECTORY`, in `/etc/lowtide` for root, or in `$XDG_CONFIG_HOME/lowtide` or `~/.config/lowtide`); \
         `conf.d/*.toml` beside it, by name; environment variables; flags. Lists are replaced as a whole. In a variable the \
         entries of a list are separated by commas. An unknown key is an error. `lowtide config check` shows every mistake \
         with file, line and column. What is under `[addon.ID]` is set in files only.\n\n\
         \"Live\" means that SIGHUP applies a change; the others take a restart. The word `none` (in a file: `\"none\"`) \
         takes away an optional number.\n",
    );
    for (section, keys) in sections() {
        let _ = write!(page, "\n## [{}]\n\n{}\n", section.name, section.doc);
        if keys.is_empty() {
            continue;
        }
        page.push_str(
            "\n| Key | Values | Default | Change | Variable | Meaning |\n|---|---|---|---|---|---|\n",
        );
        for key in keys {
            let default = match toml_text(&key.default) {
                Some(text) => format!("`{text}`"),
                None => "none".to_owned(),
            };
            let cells = [
                format!("`{}`", key.leaf()),
                values(key),
                default,
                if key.reloadable { "live" } else { "restart" }.to_owned(),
                if is_of_an_addon(key) { "none".to_owned() } else { format!("`{}`", key.variable()) },
                key.doc.clone(),
            ];
            let cells = cells.map(|cell| cell.replace('|', "\\|"));
            let _ = writeln!(page, "| {} |", cells.join(" | "));
        }
    }
    page
}

/// A file with every key commented out at its default. A line that begins with `#` and a letter is a setting: taking the
/// `#` away changes nothing until the value is edited.
#[must_use]
pub fn sample_toml() -> String {
    let mut sample = String::from(
        "# Lowtide's configuration. Everything below is at its default: take the # away from a line to change it.\n\
         # `lowtide config check` finds mistakes. \"live\" keys follow SIGHUP, the others take a restart.\n",
    );
    // The signals share their keys: what is said once need not be said fourteen times.
    let mut said = HashSet::new();
    for (section, keys) in sections() {
        sample.push('\n');
        comment(&mut sample, &section.doc);
        // Settings have no keys that are known here, but it should be seen where they go.
        if keys.is_empty() && !section.name.ends_with(".settings") {
            continue;
        }
        // An id that stands for any: a section without a value changes nothing.
        let name = section.name.replace(&format!("addon.{ANY_ID}"), "addon.example");
        let _ = writeln!(sample, "[{name}]");
        for key in keys {
            let change = if key.reloadable { "live" } else { "restart" };
            let text = format!("{} ({}; {change})", key.doc, values(key).replace('`', ""));
            if said.insert(text.clone()) {
                comment(&mut sample, &text);
            }
            let _ = match (toml_text(&key.default), key.takes_none()) {
                (Some(text), _) => writeln!(sample, "#{} = {text}", key.leaf()),
                (None, true) => writeln!(sample, "#{} = \"none\"", key.leaf()),
                // No text stands for "no value" here, so this line is only an example.
                (None, false) => {
                    writeln!(sample, "# {} = {:?}", key.leaf(), key.example.as_deref().unwrap_or_default())
                }
            };
        }
    }
    sample
}

/// Every section with its keys, in the order of the types, those of single addons in their place.
fn sections() -> impl Iterator<Item = (&'static Section, Vec<&'static Key>)> {
    let below = |section: &'static Section| {
        let addons: &[Section] = if section.name == "addon" { &addon_table().sections } else { &[] };
        std::iter::once(section).chain(addons)
    };
    let keys = |section: &Section| {
        let all = table().keys.iter().chain(&addon_table().keys);
        all.filter(|key| key.section() == section.name).collect()
    };
    table().sections.iter().flat_map(below).map(move |section| (section, keys(section)))
}

/// Whether the key is set for single addons, and so in files only.
fn is_of_an_addon(key: &Key) -> bool {
    key.section().starts_with("addon.")
}

/// The JSON schema of a configuration file, for editors. The extra words that only this program reads are left out.
#[must_use]
pub fn json_schema() -> String {
    let mut root = schema();
    put_defaults(&mut root);
    tidy(&mut root);
    let mut text = serde_json::to_string_pretty(&root).unwrap_or_default();
    text.push('\n');
    text
}

/// schemars writes the default of a section at the place where it is used, whole; editors look for it at each key.
fn put_defaults(root: &mut Value) {
    for key in table().keys.iter().chain(&addon_table().keys) {
        let Some(property) = property_mut(root, &key.name) else { continue };
        match &key.default {
            Value::Null => property.remove("default"),
            default => property.insert("default".to_owned(), default.clone()),
        };
        if key.takes_none() {
            // TOML has no null. The range moves along, or it would bind the word as well.
            let range: Map<_, _> =
                ["minimum", "maximum"].iter().filter_map(|n| property.remove_entry(*n)).collect();
            let mut number = range;
            let kind = if matches!(key.kind, Kind::Integer { .. }) { "integer" } else { "number" };
            number.insert("type".to_owned(), json!(kind));
            property.remove("type");
            property.remove("format");
            property.insert("anyOf".to_owned(), json!([number, { "const": "none" }]));
        } else if key.optional {
            property.insert("type".to_owned(), json!("string"));
        }
    }
}

fn property_mut<'a>(root: &'a mut Value, key: &str) -> Option<&'a mut Map<String, Value>> {
    let mut pointer = String::new();
    for word in key.split('.') {
        let at = root.pointer(&pointer)?;
        if let Some(target) = at.get("$ref").and_then(Value::as_str) {
            pointer = target.trim_start_matches('#').to_owned();
        }
        pointer = match word {
            ANY_ID => format!("{pointer}/additionalProperties"),
            word => format!("{pointer}/properties/{word}"),
        };
    }
    root.pointer_mut(&pointer)?.as_object_mut()
}

/// Takes away what is not of the JSON schema standard, and defaults of whole sections.
fn tidy(at: &mut Value) {
    match at {
        Value::Object(fields) => {
            fields.retain(|name, value| !(name.starts_with("x-") || name == "default" && value.is_object()));
            fields.values_mut().for_each(tidy);
        }
        Value::Array(entries) => entries.iter_mut().for_each(tidy),
        _ => {}
    }
}

/// The values that a key takes, in words.
fn values(key: &Key) -> String {
    let unit = key.unit.as_deref();
    let one = |kind: &Kind| match kind {
        Kind::Bool => "`true` or `false`".to_owned(),
        Kind::Integer { .. } => {
            format!("whole {}, {}", unit.unwrap_or("number"), kind.range(None).unwrap_or_default())
        }
        Kind::Number { .. } => {
            format!("{}, {}", unit.unwrap_or("number"), kind.range(None).unwrap_or_default())
        }
        Kind::Text(format) => text_form(*format).to_owned(),
        Kind::Choice(choices) => {
            let names: Vec<String> = choices.iter().map(|(name, _)| format!("`{name}`")).collect();
            names.join(", ")
        }
        Kind::List { .. } => "list".to_owned(),
    };
    match &key.kind {
        Kind::List { item, min: 0, max } => format!("list of up to {max}: {}", one(item)),
        Kind::List { item, min, max } => format!("list of {min} to {max}: {}", one(item)),
        other if key.takes_none() => format!("{}, or `none`", one(other)),
        other => one(other),
    }
}

fn text_form(format: Option<Format>) -> &'static str {
    match format {
        None => "text",
        Some(Format::Address) => "address with port",
        Some(Format::Network) => "network or address",
        Some(Format::Glob) => "glob",
        Some(Format::AbsolutePath) => "absolute path",
        Some(Format::HttpRule) => "method and origin",
        Some(Format::DataRule) => "path or address",
    }
}

/// A value as TOML writes it.
fn toml_text(value: &Value) -> Option<String> {
    match value {
        Value::Null | Value::Object(_) => None,
        Value::Array(entries) => {
            let entries: Vec<String> = entries.iter().filter_map(toml_text).collect();
            Some(format!("[{}]", entries.join(", ")))
        }
        // JSON and TOML write these three alike, except for texts with rare control characters, which no default has.
        Value::String(_) | Value::Bool(_) | Value::Number(_) => Some(value.to_string()),
    }
}

/// Writes a text as comment lines.
fn comment(into: &mut String, text: &str) {
    let mut column = 0;
    for word in text.split_whitespace() {
        if column == 0 || column + 1 + word.len() > SAMPLE_COLUMNS {
            if column > 0 {
                into.push('\n');
            }
            into.push('#');
            column = 1;
        }
        into.push(' ');
        into.push_str(word);
        column += 1 + word.len();
    }
    into.push('\n');
}
