//! The table of keys: one row for each leaf of [`Config`], read from the JSON schema that schemars makes of the types, and
//! from the serialised defaults. Checks, variable names and documents all walk this table; nothing else reads the schema.
//!
//! The sections `[addon.ID]` have a table of their own, whose names have [`ANY_ID`] where a file has an id.
//!
//! It knows only the shapes of schema that our types produce; the test `every_field_has_a_key` fails when a new field has
//! another one.

use super::{Addon, Config};
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::{Map, Value};
use std::fmt;
use std::sync::LazyLock;

/// What stands for the id in the names of the keys of `[addon.ID]`. It is no id itself.
pub(super) const ANY_ID: &str = "ID";

/// One key of the configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct Key {
    /// Dotted name, such as `quiet.dwell_seconds`.
    pub name: String,
    /// What it means, on one line.
    pub doc: String,
    /// Which values it takes.
    pub kind: Kind,
    /// Whether it may be without a value.
    pub optional: bool,
    /// The value unless configured otherwise; null where there is none.
    pub default: Value,
    /// Unit of a number.
    pub unit: Option<String>,
    /// A value to show where there is no default.
    pub example: Option<String>,
    /// Whether SIGHUP applies a change; otherwise it takes a restart.
    pub reloadable: bool,
}

/// Which values a key takes.
#[derive(Clone, Debug, PartialEq)]
pub enum Kind {
    /// True or false.
    Bool,
    /// A whole number from `min` to `max`.
    Integer {
        /// Smallest.
        min: i64,
        /// Largest.
        max: i64,
    },
    /// A finite number from `min` to `max`.
    Number {
        /// Smallest.
        min: f64,
        /// Largest.
        max: f64,
    },
    /// A text, with a form where it has one.
    Text(Option<Format>),
    /// One of some words, each with its meaning.
    Choice(Vec<(String, String)>),
    /// Any number of values, from `min` to `max`.
    List {
        /// Kind of every entry.
        item: Box<Kind>,
        /// Fewest entries.
        min: usize,
        /// Most entries.
        max: usize,
    },
}

/// The form of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// `host:port`.
    Address,
    /// `10.0.0.0/8`, or one address.
    Network,
    /// A glob as for files: `*`, `?`, `[a-z]`, `{a,b}`.
    Glob,
    /// A path that starts with `/`.
    AbsolutePath,
    /// `GET http://127.0.0.1:8096`, a grant of requests.
    HttpRule,
    /// `/sys/class/hwmon` or `tcp://127.0.0.1:445`, a grant of host data.
    DataRule,
}

impl Key {
    /// The section that the key stands in, such as `quiet.signals.cpu`.
    #[must_use]
    pub fn section(&self) -> &str {
        self.name.rsplit_once('.').map_or("", |(section, _)| section)
    }

    /// The name within its section.
    #[must_use]
    pub fn leaf(&self) -> &str {
        self.name.rsplit_once('.').map_or(self.name.as_str(), |(_, leaf)| leaf)
    }

    /// The environment variable that sets it: `LOWTIDE_`, then the name with two underscores between levels.
    #[must_use]
    pub fn variable(&self) -> String {
        format!("LOWTIDE_{}", self.name.replace('.', "__").to_uppercase())
    }

    /// True when the word `none` takes away the default. Texts have no such word: it would be a text, too.
    #[must_use]
    pub fn takes_none(&self) -> bool {
        self.optional && matches!(self.kind, Kind::Integer { .. } | Kind::Number { .. })
    }
}

/// One section with what it is about.
#[derive(Clone, Debug)]
pub(super) struct Section {
    pub(super) name: String,
    pub(super) doc: String,
}

pub(super) struct Table {
    pub(super) keys: Vec<Key>,
    pub(super) sections: Vec<Section>,
}

impl Table {
    pub(super) fn key(&self, name: &str) -> Option<&Key> {
        self.keys.iter().find(|key| key.name == name)
    }

    pub(super) fn is_section(&self, name: &str) -> bool {
        self.sections.iter().any(|section| section.name == name)
    }

    /// Names of keys and sections directly in a section, in order; the root is the empty name.
    pub(super) fn children(&self, section: &str) -> Vec<&str> {
        let names = self.sections.iter().map(|section| section.name.as_str());
        let names = self.keys.iter().map(|key| key.name.as_str()).chain(names);
        names.filter_map(|name| child_of(section, name)).collect()
    }
}

fn child_of<'a>(section: &str, name: &'a str) -> Option<&'a str> {
    let rest = match section {
        "" => name,
        _ => name.strip_prefix(section)?.strip_prefix('.')?,
    };
    (!rest.is_empty() && !rest.contains('.')).then_some(rest)
}

/// Every key, in the order of the types' fields; those of `[addon.ID]` are [`addon_keys`].
#[must_use]
pub fn keys() -> &'static [Key] {
    &table().keys
}

/// The keys that `[addon.ID]` has for every id, with `ID` in their names.
#[must_use]
pub fn addon_keys() -> &'static [Key] {
    &addon_table().keys
}

/// All keys but those of single addons.
pub(super) fn table() -> &'static Table {
    &tables().0
}

/// The keys of single addons.
pub(super) fn addon_table() -> &'static Table {
    &tables().1
}

fn tables() -> &'static (Table, Table) {
    static TABLES: LazyLock<(Table, Table)> = LazyLock::new(|| {
        let schema = schema();
        let mut table = Table { keys: Vec::new(), sections: Vec::new() };
        let root = Walk { schema: &schema, name: String::new(), reloadable: false };
        root.fields(&schema, &ordered_defaults(), &mut table);
        let below = format!("addon.{ANY_ID}");
        let (addon_keys, keys) = table.keys.into_iter().partition(|key| key.name.starts_with(&below));
        let (addon_sections, sections) =
            table.sections.into_iter().partition(|section| section.name.starts_with(&below));
        (Table { keys, sections }, Table { keys: addon_keys, sections: addon_sections })
    });
    &TABLES
}

/// The schema as schemars makes it.
pub(super) fn schema() -> Value {
    schemars::schema_for!(Config).to_value()
}

/// A place in the walk through schema and defaults.
struct Walk<'a> {
    schema: &'a Value,
    name: String,
    reloadable: bool,
}

impl Walk<'_> {
    fn fields(&self, object: &Value, defaults: &Fields, table: &mut Table) {
        for (field, default) in &defaults.0 {
            let property = object.get("properties").and_then(|properties| properties.get(field));
            // The entries of a map have one schema for all.
            let Some(at) = property.or_else(|| object.get("additionalProperties")) else { continue };
            let target = self.resolve(at);
            let dot = if self.name.is_empty() { "" } else { "." };
            let name = format!("{}{dot}{field}", self.name);
            // The nearest word holds: a key may say otherwise than its section.
            let reloadable = at.get("x-reload").and_then(Value::as_bool).unwrap_or(self.reloadable);
            let doc = text(at, "description").or_else(|| text(target, "description")).unwrap_or_default();
            match default {
                Node::Table(fields) => {
                    table.sections.push(Section { name: name.clone(), doc });
                    Walk { schema: self.schema, name, reloadable }.fields(target, fields, table);
                }
                Node::Leaf(default) => {
                    let Some((kind, optional)) = self.kind(at) else { continue };
                    let unit = text(at, "x-unit")
                        .or_else(|| name.ends_with("_seconds").then(|| "seconds".to_owned()));
                    let example = text(at, "x-example");
                    let default = default.clone();
                    table.keys.push(Key { name, doc, kind, optional, default, unit, example, reloadable });
                }
            }
        }
    }

    /// Follows a `$ref` to its definition.
    fn resolve<'v>(&'v self, at: &'v Value) -> &'v Value {
        let name = at.get("$ref").and_then(Value::as_str).and_then(|path| path.strip_prefix("#/$defs/"));
        name.and_then(|name| self.schema.get("$defs")?.get(name)).unwrap_or(at)
    }

    fn kind(&self, at: &Value) -> Option<(Kind, bool)> {
        let at = self.resolve(at);
        if let Some(choices) = at.get("oneOf").and_then(Value::as_array) {
            let choice = |choice: &Value| {
                Some((text(choice, "const")?, text(choice, "description").unwrap_or_default()))
            };
            return Some((Kind::Choice(choices.iter().map(choice).collect::<Option<_>>()?), false));
        }
        let (type_name, optional) = match at.get("type")? {
            Value::Array(types) => {
                (types.iter().filter_map(Value::as_str).find(|name| *name != "null")?, true)
            }
            one => (one.as_str()?, false),
        };
        let number = |name: &str| at.get(name).and_then(Value::as_f64);
        let count = |name: &str| at.get(name).and_then(Value::as_u64).and_then(|n| usize::try_from(n).ok());
        let whole = |name: &str| at.get(name).and_then(Value::as_i64);
        let kind = match type_name {
            "boolean" => Kind::Bool,
            "integer" => Kind::Integer { min: whole("minimum")?, max: whole("maximum")? },
            "number" => Kind::Number { min: number("minimum")?, max: number("maximum")? },
            "string" => Kind::Text(format(at)),
            "array" => {
                let item = match self.kind(at.get("items")?)?.0 {
                    // The form of the entries is written at the list, the only place where a field can say it.
                    Kind::Text(_) => Kind::Text(format(at)),
                    other => other,
                };
                Kind::List {
                    item: Box::new(item),
                    min: count("minItems").unwrap_or(0),
                    max: count("maxItems")?,
                }
            }
            _ => return None,
        };
        Some((kind, optional))
    }
}

fn format(at: &Value) -> Option<Format> {
    match at.get("x-format")?.as_str()? {
        "address" => Some(Format::Address),
        "network" => Some(Format::Network),
        "glob" => Some(Format::Glob),
        "absolute path" => Some(Format::AbsolutePath),
        "method and origin" => Some(Format::HttpRule),
        "path or address" => Some(Format::DataRule),
        _ => None,
    }
}

/// A text of the schema on one line.
fn text(at: &Value, name: &str) -> Option<String> {
    Some(at.get(name)?.as_str()?.split_whitespace().collect::<Vec<_>>().join(" "))
}

/// Fields of a struct in the order of their declaration. `serde_json::Value` sorts them, and its feature that does not
/// would change the output of every other crate in the build.
#[derive(Default)]
struct Fields(Vec<(String, Node)>);

#[derive(serde::Deserialize)]
#[serde(untagged)]
enum Node {
    Table(Fields),
    Leaf(Value),
}

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;
        impl<'de> Visitor<'de> for InOrder {
            type Value = Fields;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields, A::Error> {
                let mut fields = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    fields.push(entry);
                }
                Ok(Fields(fields))
            }
        }
        deserializer.deserialize_map(InOrder)
    }
}

fn ordered_defaults() -> Fields {
    let config = Config { addon: [(ANY_ID.to_owned(), Addon::default())].into(), ..Config::default() };
    let text = serde_json::to_string(&config).unwrap_or_default();
    // Plain structs always serialise, and come back; without this the table would be empty and every test would fail.
    serde_json::from_str(&text).unwrap_or_default()
}

/// All leaves of a configuration by their dotted names.
pub(super) fn leaves(config: &Config) -> Map<String, Value> {
    fn walk(value: Value, name: String, into: &mut Map<String, Value>) {
        match value {
            Value::Object(fields) => {
                for (field, value) in fields {
                    let dot = if name.is_empty() { "" } else { "." };
                    walk(value, format!("{name}{dot}{field}"), into);
                }
            }
            leaf => {
                into.insert(name, leaf);
            }
        }
    }
    let mut into = Map::new();
    walk(serde_json::to_value(config).unwrap_or_default(), String::new(), &mut into);
    into
}
