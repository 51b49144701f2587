//! The `[addon.ID]` sections: what the operator says about single addons. Their keys are those of [`Addon`], the same for each id; a
//! section of settings takes any key, because only the addon knows its own.
//!
//! The addon host has types of its own for the same; [`host_configs`] makes those. What a grant may look like is decided there, too.

use lowtide_addons::capabilities::{Capabilities, DataRule, HttpRule, LeaseBounds, LeasePriority};
use lowtide_addons::id::AddonId;
use lowtide_addons::{AddonConfig, Setting};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;

/// Settings of one addon. Nobody keeps that many in mind.
pub const SETTINGS_MAX: usize = 64;

/// Bytes of a setting's name.
pub const SETTING_NAME_BYTES_MAX: usize = 64;

/// One addon, by its id: the name of its folder, or of its file without `.wasm`. An addon without a section runs without grants and
/// settings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Addon {
    /// Whether it is loaded. While this is `false`, `lowtide addon enable` cannot switch it on.
    pub enabled: bool,
    /// Time between two collections. Without it: what the addon wishes.
    #[schemars(range(min = 1, max = 3600))]
    pub interval_seconds: Option<u32>,
    /// Limit of its memory. Without it: what its manifest asks for, or 64.
    #[schemars(range(min = 1, max = 256), extend("x-unit" = "MiB"))]
    pub memory_mib: Option<u32>,
    /// What it may do besides recording metrics. Whatever it asks for must be granted here, or it is not loaded; `lowtide addon list`
    /// says what is missing.
    pub grants: Grants,
    /// Its own settings: texts, numbers, `true` or `false`, or lists of texts, such as `url = "http://127.0.0.1:8096"`. Which ones it
    /// knows is in its description.
    #[schemars(schema_with = "settings_schema")]
    pub settings: BTreeMap<String, SettingValue>,
}

impl Default for Addon {
    fn default() -> Self {
        Self {
            enabled: true,
            interval_seconds: None,
            memory_mib: None,
            grants: Grants::default(),
            settings: BTreeMap::new(),
        }
    }
}

/// The `[addon.ID.grants]` section.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Grants {
    /// It may keep keys and values on disk, up to 1 MiB.
    pub kv: bool,
    /// Requests that it may send: a method, `GET` or `POST`, and the server, such as `GET http://127.0.0.1:8096`.
    #[schemars(length(max = 256), extend("x-format" = "method and origin"))]
    pub http: Vec<String>,
    /// What it may read of this machine: a path with all below it, such as `/sys/class/hwmon`, or an address that it may try to
    /// reach, such as `tcp://127.0.0.1:445`.
    #[schemars(length(max = 256), extend("x-format" = "path or address"))]
    pub host_data: Vec<String>,
    /// The most that its leases may take.
    pub leases: LeaseGrant,
}

/// The `[addon.ID.grants.leases]` section.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LeaseGrant {
    /// Units of all its leases together; 0 grants no leases.
    #[schemars(range(max = 100))]
    pub max_units: u8,
    /// The highest priority that it may ask for.
    pub max_priority: Priority,
}

/// Priority of a lease.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Priority {
    /// Only when it is quiet.
    #[default]
    Low,
    /// The usual.
    Normal,
    /// May run although it is not quiet.
    High,
}

/// The value of one setting.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum SettingValue {
    /// True or false.
    Boolean(bool),
    /// A whole number.
    Integer(i64),
    /// A number with a fraction.
    Float(f64),
    /// Text.
    Text(String),
    /// A list of texts.
    Texts(Vec<String>),
}

fn settings_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({
        "type": "object",
        "maxProperties": SETTINGS_MAX,
        "additionalProperties": {
            "anyOf": [
                { "type": ["string", "number", "boolean"] },
                { "type": "array", "items": { "type": "string" } },
            ],
        },
    })
}

impl Addon {
    /// The same for the addon host. What does not parse is left out; `load` lets nothing such through.
    #[must_use]
    pub fn to_host(&self) -> AddonConfig {
        let grants = &self.grants;
        let max_priority = match grants.leases.max_priority {
            Priority::Low => LeasePriority::Low,
            Priority::Normal => LeasePriority::Normal,
            Priority::High => LeasePriority::High,
        };
        let max_units = grants.leases.max_units;
        AddonConfig {
            enabled: self.enabled,
            interval: self.interval_seconds.map(|seconds| Duration::from_secs(seconds.into())),
            memory_bytes: self.memory_mib.map(|mib| u64::from(mib) << 20),
            grants: Capabilities {
                kv: grants.kv,
                leases: (max_units > 0).then_some(LeaseBounds { max_units, max_priority }),
                http: grants.http.iter().filter_map(|rule| HttpRule::try_from(rule.clone()).ok()).collect(),
                host_data: grants
                    .host_data
                    .iter()
                    .filter_map(|rule| DataRule::try_from(rule.clone()).ok())
                    .collect(),
            },
            settings: self.settings.iter().map(|(name, value)| (name.clone(), value.to_host())).collect(),
        }
    }
}

impl SettingValue {
    fn to_host(&self) -> Setting {
        match self {
            Self::Boolean(value) => Setting::Boolean(*value),
            Self::Integer(value) => Setting::Integer(*value),
            Self::Float(value) => Setting::Float(*value),
            Self::Text(value) => Setting::Text(value.clone()),
            Self::Texts(values) => Setting::Texts(values.clone()),
        }
    }
}

/// All sections for the addon host.
#[must_use]
pub fn host_configs(addons: &BTreeMap<String, Addon>) -> BTreeMap<AddonId, AddonConfig> {
    let sound = |(id, addon): (&String, &Addon)| Some((AddonId::new(id).ok()?, addon.to_host()));
    addons.iter().filter_map(sound).collect()
}
