//! The sections of single addons: what they say, what is wrong with them, and what a reload sees of them.

use super::super::*;
use super::place;
use lowtide_addons::capabilities::LeasePriority;
use lowtide_addons::{AddonConfig, Setting};
use std::time::Duration;

const WHOLE: &str = r#"
[addon.media-server]
enabled = false
interval_seconds = 30
memory_mib = 32

[addon.media-server.grants]
kv = true
leases = { max_units = 40, max_priority = "high" }
http = ["GET http://Host:8096/", "POST https://a"]
host_data = ["/sys//class/hwmon/", "tcp://127.0.0.1:445"]

[addon.media-server.settings]
url = "http://127.0.0.1:8096"
empty = ""
retries = 3
factor = 2.0
verbose = true
Names-2 = ["a", "b"]
"#;

#[test]
fn a_section_says_all_that_the_host_takes() {
    let loaded = place(WHOLE).load().unwrap();
    let configs = host_configs(&loaded.config.addon);
    let (id, config) = configs.first_key_value().unwrap();
    assert_eq!((configs.len(), id.as_str()), (1, "media-server"));
    assert_eq!((config.enabled, config.interval), (false, Some(Duration::from_secs(30))));
    assert_eq!(config.memory_bytes, Some(32 << 20));
    let grants = &config.grants;
    let leases = grants.leases.as_ref().unwrap();
    assert_eq!((grants.kv, leases.max_units, leases.max_priority), (true, 40, LeasePriority::High));
    let texts = |rules: &[&dyn std::fmt::Display]| rules.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(texts(&[&grants.http[0], &grants.http[1]]), ["GET http://host:8096", "POST https://a:443"]);
    assert_eq!(
        texts(&[&grants.host_data[0], &grants.host_data[1]]),
        ["/sys/class/hwmon", "tcp://127.0.0.1:445"]
    );
    let expected = [
        ("Names-2", Setting::Texts(vec!["a".into(), "b".into()])),
        ("empty", Setting::Text(String::new())),
        ("factor", Setting::Float(2.0)),
        ("retries", Setting::Integer(3)),
        ("url", Setting::Text("http://127.0.0.1:8096".into())),
        ("verbose", Setting::Boolean(true)),
    ];
    let expected = expected.map(|(name, value)| (name.to_owned(), value));
    assert_eq!(config.settings, expected.into());
    assert!(loaded.origin_of("addon.media-server.settings.url").to_string().ends_with("config.toml:14:7"));
}

#[test]
fn sections_of_several_files_add_up_and_one_that_says_nothing_is_none() {
    let place = place("[addon.a]\nmemory_mib = 8\n[addon.a.settings]\nx = 1\ny = 1\n[addon.b]\n[addon.b.grants]\nkv = false")
        .drop_in("a.toml", "[addon.a]\nmemory_mib = \"none\"\nsettings.y = \"two\"\n[addon.c]\nenabled = true");
    let configs = host_configs(&place.load().unwrap().config.addon);
    let settings =
        [("x".to_owned(), Setting::Integer(1)), ("y".to_owned(), Setting::Text("two".into()))].into();
    let a = AddonConfig { settings, ..AddonConfig::default() };
    assert_eq!(
        configs.into_iter().map(|(id, config)| (id.to_string(), config)).collect::<Vec<_>>(),
        [("a".into(), a)]
    );
}

#[test]
fn every_mistake_has_its_place_and_its_text() {
    let long = "x".repeat(5_000);
    let cases: &[(&str, &str)] = &[
        (
            "[addon.My_App]\nenabled = true",
            "1:8: addon.My_App: \"My_App\" is not an addon id: it must be 1 to 64 lower-case letters, digits and hyphens, and \
             not begin with a hyphen",
        ),
        (
            "[addon.\"a.b\"]",
            "1:8: addon.\"a.b\": \"a.b\" is not an addon id: it must be 1 to 64 lower-case letters, digits and hyphens, and not \
             begin with a hyphen",
        ),
        (
            "[addon.a]\nenable = true",
            "2:1: addon.a.enable: unknown key (did you mean enabled), allowed in [addon.a]: enabled, interval_seconds, \
             memory_mib, grants, settings",
        ),
        (
            "[addon.a]\nkv = true",
            "2:1: addon.a.kv: unknown key (did you mean addon.a.grants.kv), allowed in [addon.a]: enabled, interval_seconds, \
             memory_mib, grants, settings",
        ),
        (
            "[addon.a.grants]\nsockets = true",
            "2:1: addon.a.grants.sockets: unknown key, allowed in [addon.a.grants]: kv, http, host_data, leases",
        ),
        (
            "[addon]\ndir = \"/x\"",
            "2:1: addon.dir: unknown key (did you mean addons.dir), allowed in [addon]: a section for each addon",
        ),
        ("[addons.my-app]\nenabled = true", "1:9: addons.my-app: unknown key (did you mean [addon.my-app])"),
        (
            "[addon.a]\ninterval_seconds = 0",
            "2:20: addon.a.interval_seconds: 0 is out of range, allowed 1 to 3600 (seconds)",
        ),
        (
            "[addon.a]\nmemory_mib = 257",
            "2:14: addon.a.memory_mib: 257 is out of range, allowed 1 to 256 (MiB)",
        ),
        (
            "[addon.a.grants]\nhttp = [\"GET http://a\",\n  \"PUT http://a\"]",
            "3:3: addon.a.grants.http[1]: \"PUT http://a\" is not a method and an origin such as \"GET http://127.0.0.1:8096\"",
        ),
        (
            "[addon.a.grants]\nhost_data = [\"../etc\"]",
            "2:14: addon.a.grants.host_data[0]: \"../etc\" is not an absolute path below / without .. nor an address such as \
             tcp://127.0.0.1:445",
        ),
        (
            "[addon.a.grants.leases]\nmax_units = 101",
            "2:13: addon.a.grants.leases.max_units: 101 is out of range, allowed 0 to 100",
        ),
        (
            "[addon.a.grants]\nleases = { max_priority = \"high\" }",
            "2:27: addon.a.grants.leases.max_priority: is granted without max_units, say how many units its leases may take",
        ),
        (
            "[addon.a.grants]\nleases = true",
            "2:10: addon.a.grants.leases: is a section, write [addon.a.grants.leases] on a line of its own and its keys below",
        ),
        (
            "[addon.a.settings]\n\"a.b\" = 1",
            "2:1: addon.a.settings.\"a.b\": \"a.b\" cannot be the name of a setting, allowed 1 to 64 letters, digits, \
             underscores and hyphens",
        ),
        (
            "[addon.a.settings]\nwhen = 1979-05-27",
            "2:8: addon.a.settings.when: a date cannot be a setting, write texts, numbers, true or false, or a list of texts",
        ),
        (
            "[addon.a.settings]\nports = [\"1\", 2]",
            "2:15: addon.a.settings.ports[1]: a list of anything but texts cannot be a setting, write texts, numbers, true or \
             false, or a list of texts",
        ),
        (
            "[addon.a.settings]\nx.y = 1",
            "2:1: addon.a.settings.x: a section cannot be a setting, write texts, numbers, true or false, or a list of texts",
        ),
        ("addon = true", "1:9: addon: is a section, write [addon] on a line of its own and its keys below"),
    ];
    for (text, expected) in cases {
        assert_eq!(place(text).errors(), [format!("config.toml:{expected}")], "{text}");
    }
    let errors =
        place(format!("[addon.a.grants]\nhttp = [\"GET {long}\"]\n[addon.a.settings]\nx = \"{long}\""))
            .errors();
    assert!(errors.len() == 2 && errors.iter().all(|error| error.len() < 500), "{errors:?}");
    let many: String = (0..SETTINGS_MAX + 10).map(|number| format!("k{number} = 1\n")).collect();
    assert_eq!(
        place(format!("[addon.a.settings]\n{many}")).errors(),
        ["config.toml:66:1: addon.a.settings.k64: more than 64 settings"]
    );
    assert_eq!(
        place("").env("LOWTIDE_ADDON__A__ENABLED", "false").errors(),
        ["LOWTIDE_ADDON__A__ENABLED: unknown variable, what is under [addon.ID] is set in files only"]
    );
}

#[test]
fn a_reload_sees_every_key_that_changed() {
    let load = |text: &str| place(text).load().unwrap().config;
    let old =
        load("[addon.a]\nmemory_mib = 8\n[addon.a.settings]\nx = 1\ny = 1\n[addon.gone]\nenabled = false");
    let new =
        load("[addon.a]\nmemory_mib = 8\n[addon.a.settings]\nx = 2\nz = 1\n[addon.new.grants]\nkv = true");
    assert!(changes(&old, &old).is_empty());
    let found: Vec<_> =
        changes(&old, &new).into_iter().map(|change| (change.key, change.reloadable)).collect();
    let names = [
        "addon.a.settings.x",
        "addon.a.settings.y",
        "addon.a.settings.z",
        "addon.gone.enabled",
        "addon.new.grants.kv",
    ];
    assert_eq!(found, names.map(|name| (name.to_owned(), true)));
}

#[test]
fn the_documents_have_the_sections() {
    let page = reference_markdown();
    for key in addon_keys() {
        assert!(page.contains(&format!("| `{}` |", key.leaf())), "{}", key.name);
        assert!(key.reloadable && (key.takes_none() || !key.default.is_null()), "{}", key.name);
    }
    for section in ["ID", "ID.grants", "ID.grants.leases", "ID.settings"] {
        assert!(page.contains(&format!("\n## [addon.{section}]\n")), "{section} in {page}");
    }
    assert!(!page.contains("LOWTIDE_ADDON__"), "variables do not reach there");
    let schema: serde_json::Value = serde_json::from_str(&json_schema()).unwrap();
    let addon = &schema["$defs"]["Addon"]["properties"];
    assert_eq!(addon["interval_seconds"]["anyOf"][0]["type"], "integer");
    assert_eq!(addon["interval_seconds"]["anyOf"][0]["maximum"], 3600);
    assert_eq!(addon["enabled"]["default"], true);
    assert!(schema["properties"]["addon"]["propertyNames"]["pattern"].is_string());
}
