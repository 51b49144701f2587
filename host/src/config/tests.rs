//! The contract of the configuration: texts of errors, precedence of sources, documents that cannot drift, and input that
//! nobody wrote on purpose.

mod addon;

use super::keys::{Kind, leaves, table};
use super::*;
use proptest::prelude::*;
use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::path::Path;
use tempfile::TempDir;

/// A folder with `config.toml`, and sources that know nothing else.
struct Place {
    folder: TempDir,
    sources: Sources,
}

fn place(text: impl AsRef<[u8]>) -> Place {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config.toml");
    fs::write(&file, text).unwrap();
    let sources = Sources {
        config_file: Some(file),
        is_root: false,
        etc_dir: folder.path().join("etc"),
        env: [("HOME".to_owned(), OsString::from("/home/tide"))].into(),
        flags: Vec::new(),
    };
    Place { folder, sources }
}

impl Place {
    fn drop_in(self, name: &str, text: &str) -> Self {
        fs::create_dir_all(self.folder.path().join("conf.d")).unwrap();
        fs::write(self.folder.path().join("conf.d").join(name), text).unwrap();
        self
    }

    fn env(mut self, name: &str, value: &str) -> Self {
        self.sources.env.insert(name.to_owned(), value.into());
        self
    }

    fn flag(mut self, key: &str, value: &str, flag: &str) -> Self {
        self.sources.flags.push(FlagOverride { key: key.into(), value: value.into(), flag: flag.into() });
        self
    }

    fn load(&self) -> Result<Loaded, Vec<ConfigError>> {
        load(&self.sources)
    }

    /// All errors as people see them, with the temporary folder taken away.
    fn errors(&self) -> Vec<String> {
        let folder = format!("{}/", self.folder.path().display());
        let errors = self.load().expect_err("mistakes");
        errors.iter().map(|error| error.to_string().replace(&folder, "")).collect()
    }
}

#[test]
fn every_kind_of_mistake_in_a_file_has_its_place_and_its_text() {
    let cases: &[(&str, &str)] = &[
        (
            "\n[quiet]\ndwell_seconds = 99999999",
            "config.toml:3:17: quiet.dwell_seconds: 99999999 is out of range, allowed 0 to 86400 (seconds)",
        ),
        (
            "[quiet.signals.cpu]\nbusy = 1.5",
            "config.toml:2:8: quiet.signals.cpu.busy: 1.5 is out of range, allowed 0 to 1 (ratio)",
        ),
        (
            "[quiet]\ndwell_second = 5",
            "config.toml:2:1: quiet.dwell_second: unknown key (did you mean dwell_seconds), allowed in [quiet]: \
             dwell_seconds, busy_hold_seconds, panic_hold_seconds, mean_window_seconds, signals",
        ),
        (
            "tick_seconds = 5",
            "config.toml:1:1: tick_seconds: unknown key (did you mean collectors.tick_seconds), allowed at the top \
             level: server, access, storage, addons, addon, log, collectors, quiet, history, leases",
        ),
        (
            "[log]\n\"quiet\\u001b[1m\" = 5",
            "config.toml:2:1: log.\"quiet\\u{1b}[1m\": unknown key, allowed in [log]: level, format",
        ),
        (
            "\"log.level\" = \"info\"",
            "config.toml:1:1: \"log.level\": unknown key, allowed at the top level: server, access, storage, addons, addon, log, \
             collectors, quiet, history, leases",
        ),
        (
            "[collectors]\ntick_seconds = \"2\"",
            "config.toml:2:16: collectors.tick_seconds: expected a whole number, found a text",
        ),
        (
            "[collectors]\ntick_seconds = 2.5",
            "config.toml:2:16: collectors.tick_seconds: expected a whole number, found a number with a fraction",
        ),
        (
            "[collectors]\ntick_seconds = 99999999999999999999",
            "config.toml:2:16: collectors.tick_seconds: 99999999999999999999 is out of range",
        ),
        (
            "[quiet.signals.cpu]\nbusy = nan",
            "config.toml:2:8: quiet.signals.cpu.busy: nan is not a finite number",
        ),
        ("[log]\nlevel = 1979-05-27", "config.toml:2:9: log.level: a date is no value of any key"),
        (
            "[log]\nlevel = \"inof\"",
            "config.toml:2:9: log.level: there is no \"inof\" (did you mean info), allowed error, warn, info, debug, trace",
        ),
        (
            "[collectors]\ndisabled = [\"cpu\",\n  \"gpu\"]",
            "config.toml:3:3: collectors.disabled[1]: there is no \"gpu\" (did you mean cpu), allowed cpu, system, \
             memory, pressure, leased, disk, network, filesystem, sensors, power, units, process, api",
        ),
        (
            "[collectors]\ndisabled = \"cpu\"",
            "config.toml:2:12: collectors.disabled: expected a list, found a text",
        ),
        (
            "[collectors]\nproc_dir = \"proc\"",
            "config.toml:2:12: collectors.proc_dir: \"proc\" is not an absolute path, start it with /",
        ),
        ("[collectors]\nproc_dir = \"\"", "config.toml:2:12: collectors.proc_dir: the text is empty"),
        (
            "[storage]\ndata_dir = \"/a\\u0000b\"",
            "config.toml:2:12: storage.data_dir: \"/a\\0b\" contains a control character",
        ),
        (
            "[collectors]\ndisk_exclude = [\"sd[a\"]",
            "config.toml:2:17: collectors.disk_exclude[0]: \"sd[a\" is not a glob: unclosed character class; missing ']'",
        ),
        (
            "[server]\nlisten = []",
            "config.toml:2:10: server.listen: the list is empty, allowed 1 to 16 entries",
        ),
        (
            "[server]\nlisten = [\"4270\"]",
            "config.toml:2:11: server.listen[0]: \"4270\" is not an address with a port, write it like 127.0.0.1:4270 \
             or [::1]:4270",
        ),
        (
            "[server]\nlisten = [\"0.0.0.0:4270\"]",
            "config.toml:2:10: server.listen: 0.0.0.0:4270 can be reached from other machines, which needs TLS and tokens: \
             set server.tls_certificate_file and server.tls_key_file and make a token with `lowtide token create`; or \
             listen on 127.0.0.1 or ::1, behind an ssh tunnel or a proxy",
        ),
        (
            "[server]\nlisten = [\"0.0.0.0:4270\"]\ntls_key_file = \"/key.pem\"",
            "config.toml:3:16: server.tls_key_file: is there without server.tls_certificate_file, set both",
        ),
        (
            "[server]\ntrusted_proxies = [\"10.0.0.0/8\", \"10.0.0.0/40\"]",
            "config.toml:2:34: server.trusted_proxies[1]: \"10.0.0.0/40\" is not a network, write it like 10.0.0.0/8 or \
             192.0.2.7",
        ),
        (
            "[server]\nlisten = [\"127.0.0.1:1\", \"localhost:1\"]",
            "config.toml:2:10: server.listen[1]: 127.0.0.1:1 is there twice, remove one",
        ),
        (
            "quiet = 5",
            "config.toml:1:9: quiet: is a section, write [quiet] on a line of its own and its keys below",
        ),
        ("[log.level]\nx = 1", "config.toml:1:1: log.level: expected a text in quotes, found a section"),
        (
            "[quiet.signals.cpu]\nquiet = 0.45",
            "config.toml:2:9: quiet.signals.cpu.quiet: quiet 0.45 and leave 0.35 are in the wrong order, high values of \
             this signal are harmful, allowed quiet <= leave <= busy <= panic",
        ),
        (
            "[quiet.signals.memory_available]\nleave = 0.2",
            "config.toml:2:9: quiet.signals.memory_available.leave: quiet 0.15 and leave 0.2 are in the wrong order, low \
             values of this signal are harmful, allowed quiet >= leave >= busy >= panic",
        ),
        (
            "[log]\nlevel = ",
            "config.toml:2:9: not valid toml: string values must be quoted, expected literal string",
        ),
        ("[log]\nlevel = \"info\"\nlevel = \"warn\"", "config.toml:3:1: not valid toml: duplicate key"),
    ];
    for (text, expected) in cases {
        assert_eq!(place(text).errors(), [*expected], "{text}");
    }
}

#[test]
fn files_that_are_none_are_refused_with_advice() {
    let missing = place("");
    fs::remove_file(missing.folder.path().join("config.toml")).unwrap();
    assert_eq!(missing.errors(), ["config.toml: does not exist, create it or leave the flag away"]);

    let mut folder = place("");
    folder.sources.config_file = Some(folder.folder.path().to_owned());
    assert!(folder.errors()[0].ends_with(": is a directory, name the file in it"), "{:?}", folder.errors());

    let large = place(vec![b'#'; FILE_BYTES_MAX + 1]);
    assert_eq!(large.errors(), ["config.toml: is larger than 1048576 bytes, is it the right file"]);

    let binary = place(b"[log]\n# \xff");
    assert_eq!(binary.errors(), ["config.toml:2:3: is not utf-8 from here on, save the file as utf-8"]);
}

#[test]
fn all_mistakes_of_all_sources_are_reported_at_once() {
    let place =
        place("[quiet]\ndwell_seconds = -1\nnope = 1\n[server]\nlisten = [\"::\", 5]\n[log]\nlevel = 3")
            .drop_in("10-a.toml", "[log]\nformat = \"xml\"")
            .drop_in("20-b.toml", "[log")
            .drop_in("ignored.conf", "]")
            .drop_in(".hidden.toml", "]")
            .env("LOWTIDE_COLLECTORS__TICK_SECONDS", "0")
            .env("LOWTIDE_QUIET__SIGNALS__CPU__BUSSY", "0.1")
            .env("LOWTIDE_SERVER_LISTEN", "127.0.0.1:1")
            .env("LOWTIDE_URL", "http://127.0.0.1:4270")
            .flag("log.level", "loud", "--log-level");
    let expected = [
        "config.toml:2:17: quiet.dwell_seconds: -1 is out of range",
        "config.toml:3:1: quiet.nope: unknown key",
        "config.toml:5:11: server.listen[0]: \"::\" is not an address",
        "config.toml:5:17: server.listen[1]: expected a text in quotes, found a whole number",
        "config.toml:7:9: log.level: expected a text in quotes, found a whole number",
        "conf.d/10-a.toml:2:10: log.format: there is no \"xml\"",
        "conf.d/20-b.toml:1:5: not valid toml: ",
        "LOWTIDE_COLLECTORS__TICK_SECONDS: collectors.tick_seconds: 0 is out of range, allowed 1 to 60 (seconds)",
        "LOWTIDE_QUIET__SIGNALS__CPU__BUSSY: unknown variable (did you mean LOWTIDE_QUIET__SIGNALS__CPU__BUSY), ",
        "LOWTIDE_SERVER_LISTEN: unknown variable (did you mean LOWTIDE_SERVER__LISTEN), write two underscores",
        "--log-level: log.level: there is no \"loud\"",
    ];
    let errors = place.errors();
    assert_eq!(errors.len(), expected.len(), "{errors:#?}");
    for (error, start) in errors.iter().zip(expected) {
        assert!(error.starts_with(start), "{error}\n{start}");
    }
}

#[test]
fn later_sources_win_and_every_key_knows_its_own() {
    let one = |key: &str, seconds: u32| format!("[collectors]\n{key} = {seconds}\n");
    let place = place("[collectors]\nsensors_seconds = 1\npower_seconds = 1\nprocess_seconds = 1\napi_seconds = 1\ndisk_exclude = [\"a\", \"b\"]")
        .drop_in("10.toml", &(one("power_seconds", 2) + "process_seconds = 2\napi_seconds = 2\ndisk_exclude = [\"c\"]"))
        .drop_in("20.toml", &(one("process_seconds", 3) + "api_seconds = 3"))
        .env("LOWTIDE_COLLECTORS__PROCESS_SECONDS", "4")
        .env("LOWTIDE_COLLECTORS__API_SECONDS", "4")
        .flag("collectors.api_seconds", "5", "--api-seconds");
    let loaded = place.load().unwrap();
    let collectors = &loaded.config.collectors;
    let seconds = [
        collectors.sensors_seconds,
        collectors.power_seconds,
        collectors.process_seconds,
        collectors.api_seconds,
    ];
    assert_eq!(seconds, [1, 2, 4, 5]);
    assert_eq!(collectors.disk_exclude, ["c"]);
    assert_eq!(collectors.network_exclude, ["veth*"]);
    let origin =
        |key: &str| loaded.origin_of(key).to_string().replace(&place.folder.path().display().to_string(), "");
    assert_eq!(origin("collectors.sensors_seconds"), "/config.toml:2:19");
    assert_eq!(origin("collectors.power_seconds"), "/conf.d/10.toml:2:17");
    assert_eq!(origin("collectors.process_seconds"), "LOWTIDE_COLLECTORS__PROCESS_SECONDS");
    assert_eq!(origin("collectors.api_seconds"), "--api-seconds");
    assert_eq!(origin("collectors.tick_seconds"), "default");
    assert_eq!(loaded.files.len(), 3);
}

#[test]
fn variables_are_read_by_the_type_of_their_key() {
    let place = place("[quiet.signals.memory_pressure]\npanic = \"none\"")
        .env("LOWTIDE_QUIET__SIGNALS__CPU__BUSY", "0.6")
        .env("LOWTIDE_QUIET__SIGNALS__CPU__PANIC", "1")
        .env("LOWTIDE_QUIET__SIGNALS__DISK_SPACE__BUSY", "none")
        .env("LOWTIDE_QUIET__SIGNALS__ON_BATTERY__ENABLED", "false")
        .env("LOWTIDE_SERVER__LISTEN", "127.0.0.1:0, [::1]:0")
        .env("LOWTIDE_COLLECTORS__NETWORK_EXCLUDE", "")
        .env("LOWTIDE_COLLECTORS__DISK_EXCLUDE", "{loop,ram}*,zd*")
        .env("LOWTIDE_STORAGE__DATA_DIR", "")
        .env("LOWTIDE_LOG__LEVEL", "debug");
    let config = place.load().unwrap().config;
    let signals = &config.quiet.signals;
    assert_eq!((signals.cpu.busy, signals.cpu.panic), (Some(0.6), Some(1.0)));
    assert_eq!((signals.disk_space.busy, signals.memory_pressure.panic), (None, None));
    assert!(!signals.on_battery.enabled);
    assert_eq!(config.server.addresses().len(), 2);
    assert!(config.collectors.network_exclude.is_empty());
    assert_eq!(config.collectors.disk_exclude, ["{loop,ram}*", "zd*"]);
    assert_eq!((config.storage.data_dir, config.log.level), (None, LogLevel::Debug));

    let mut odd = self::place("");
    odd.sources.env.insert("LOWTIDE_LOG__LEVEL".into(), OsString::from_vec(vec![0xff]));
    assert_eq!(odd.errors(), ["LOWTIDE_LOG__LEVEL: log.level: the value is not utf-8"]);
    assert_eq!(
        self::place("").env("LOWTIDE_QUIET__SIGNALS__CPU__ENABLED", "yes").errors(),
        [
            "LOWTIDE_QUIET__SIGNALS__CPU__ENABLED: quiet.signals.cpu.enabled: expected true or false, found \"yes\""
        ]
    );
}

#[test]
fn the_usual_places_depend_on_user_and_environment() {
    let bare = |is_root, env: &[(&str, &str)]| Sources {
        config_file: None,
        is_root,
        etc_dir: "/nowhere/etc".into(),
        env: env.iter().map(|(name, value)| ((*name).to_owned(), (*value).into())).collect(),
        flags: Vec::new(),
    };
    let cases: [(Sources, &str, &str); 5] = [
        (bare(true, &[("HOME", "/nowhere")]), "/nowhere/etc/lowtide/config.toml", "/var/lib/lowtide"),
        (
            bare(false, &[("HOME", "/nowhere")]),
            "/nowhere/.config/lowtide/config.toml",
            "/nowhere/.local/state/lowtide",
        ),
        (
            bare(false, &[("XDG_CONFIG_HOME", "/nowhere/c"), ("XDG_STATE_HOME", "/nowhere/s")]),
            "/nowhere/c/lowtide/config.toml",
            "/nowhere/s/lowtide",
        ),
        (
            bare(false, &[("HOME", "/nowhere"), ("XDG_CONFIG_HOME", "relative")]),
            "/nowhere/.config/lowtide/config.toml",
            "/nowhere/.local/state/lowtide",
        ),
        (
            bare(
                true,
                &[
                    ("STATE_DIRECTORY", "/nowhere/a:/nowhere/b"),
                    ("CONFIGURATION_DIRECTORY", "/nowhere/etc/x"),
                ],
            ),
            "/nowhere/etc/x/config.toml",
            "/nowhere/a",
        ),
    ];
    for (sources, base, data) in cases {
        assert_eq!(sources.base_file().as_deref(), Some(Path::new(base)));
        let loaded = load(&sources).unwrap();
        assert_eq!(loaded.data_dir, Path::new(data));
        assert_eq!(loaded.addons_dir, Path::new(data).join("addons"));
        assert_eq!((loaded.config, loaded.files.len()), (Config::default(), 0));
    }
    let errors = load(&bare(false, &[])).unwrap_err();
    assert_eq!(
        errors[0].to_string(),
        "default: storage.data_dir: there is no home folder to keep data in, set storage.data_dir"
    );
}

#[test]
fn errors_serialise_for_programs() {
    let errors = place("[log]\nlevel = \"x\"").load().unwrap_err();
    let mut json = serde_json::to_value(&errors).unwrap();
    assert!(json[0]["path"].take().is_string());
    assert_eq!(
        json,
        serde_json::json!([{
            "kind": "not_allowed", "source": "file", "path": null, "line": 2, "column": 9, "key": "log.level",
            "message": "there is no \"x\"", "allowed": "error, warn, info, debug, trace"
        }])
    );
}

#[test]
fn every_field_has_a_key_with_doc_default_and_variable() {
    let leaves = leaves(&Config::default());
    let names: Vec<&str> = keys().iter().map(|key| key.name.as_str()).collect();
    let mut sorted = names.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, leaves.keys().map(String::as_str).collect::<Vec<_>>());
    for key in keys() {
        assert!(key.doc.ends_with('.') || key.doc.ends_with(')'), "{}: {:?}", key.name, key.doc);
        assert!(key.optional || !key.default.is_null(), "{} has no default", key.name);
        assert!(
            key.takes_none() || !key.default.is_null() || key.example.is_some(),
            "{} has no example",
            key.name
        );
        let found = keys().iter().filter(|other| other.variable() == key.variable()).count();
        assert_eq!(found, 1, "{}", key.variable());
        // The default, written as text in the variable, must come back.
        let text = match &key.default {
            serde_json::Value::Null => String::new(),
            serde_json::Value::String(text) => text.clone(),
            serde_json::Value::Array(entries) => {
                entries.iter().filter_map(|entry| entry.as_str()).collect::<Vec<_>>().join(",")
            }
            other => other.to_string(),
        };
        assert_eq!(value::from_text(key, &text).as_ref(), Ok(&key.default), "{}", key.name);
    }
    assert!(table().sections.iter().all(|section| section.doc.ends_with('.')), "{:?}", table().sections);
    let live: Vec<&str> = keys().iter().filter(|key| key.reloadable).map(|key| key.section()).collect();
    let may = |section: &str| matches!(section, "log" | "leases") || section.starts_with("quiet");
    assert!(live.iter().all(|section| may(section)), "{live:?}");
}

#[test]
fn defaults_are_those_of_the_decision_core() {
    assert_eq!(QuietConfig::default().to_core(), lowtide_core::quiet::QuietConfig::default());
}

/// The sample with the `#` taken away from every setting.
fn uncommented() -> String {
    let setting = |line: &str| {
        line.strip_prefix('#').filter(|rest| rest.starts_with(char::is_alphabetic)).map(str::to_owned)
    };
    sample_toml().lines().map(|line| setting(line).unwrap_or_else(|| line.to_owned()) + "\n").collect()
}

#[test]
fn the_sample_is_the_defaults_commented_out_or_not() {
    assert_eq!(place(sample_toml()).load().unwrap().config, Config::default());
    let loaded = place(uncommented()).load().unwrap();
    assert_eq!(loaded.config, Config::default());
    let without_default = keys().iter().filter(|key| key.default.is_null() && !key.takes_none()).count();
    assert_eq!(loaded.origins.len() + without_default, keys().len() + addon_keys().len());
}

#[test]
fn the_documents_name_every_key() {
    let (page, schema) = (reference_markdown(), json_schema());
    let schema: serde_json::Value = serde_json::from_str(&schema).unwrap();
    for key in keys() {
        assert!(page.contains(&format!("`{}`", key.variable())), "{}", key.name);
    }
    assert_eq!(schema["additionalProperties"], false);
    let text = schema.to_string();
    assert!(!text.contains("\"x-") && !text.contains("\"null\""), "{text}");
    let cpu = &schema["$defs"]["Signals"]["properties"]["cpu"]["properties"]["busy"];
    assert_eq!(cpu["default"], 0.5);
    assert_eq!(cpu["anyOf"][0]["maximum"], 1.0);
    assert_eq!(cpu["anyOf"][1]["const"], "none");
}

#[test]
fn changes_tell_what_sighup_can_apply() {
    let old = Config::default();
    let mut new = old.clone();
    assert!(changes(&old, &new).is_empty());
    new.quiet.signals.cpu.busy = None;
    new.log.level = LogLevel::Trace;
    new.collectors.tick_seconds = 5;
    let found: Vec<_> =
        changes(&old, &new).into_iter().map(|change| (change.key, change.reloadable)).collect();
    let expected =
        [("log.level", true), ("collectors.tick_seconds", false), ("quiet.signals.cpu.busy", true)];
    assert_eq!(found, expected.map(|(key, reloadable)| (key.to_owned(), reloadable)));
}

#[test]
fn a_hostile_file_ends_in_a_bounded_list_of_errors() {
    let many: String = (0..50_000).map(|n| format!("k{n} = 1\n")).collect();
    assert_eq!(place(many).errors().len(), ERRORS_MAX);
    for text in [
        "a.".repeat(200_000) + "a = 1",
        "[".repeat(200_000),
        "x = ".to_owned() + &"[".repeat(200_000),
        "x = ".to_owned() + &"{a.b.c.d.e.f = ".repeat(20_000),
        format!("[{}]\n", "a.".repeat(200_000)),
        "[[quiet]]\n".repeat(1_000),
        format!("\"{}\" = 1", "k".repeat(500_000)),
        format!("[log]\nlevel = \"{}\"", "é".repeat(400_000)),
    ] {
        let errors = place(&text).errors();
        assert!(!errors.is_empty() && errors.len() <= ERRORS_MAX);
        assert!(errors.iter().all(|error| error.len() < 2_000), "{}", errors[0].len());
    }
}

/// Damaged files that a mutation test tries; `cargo xtask fuzz` and CI ask for more. One takes as long as twenty small parsers.
fn fuzz_cases() -> u32 {
    let asked = std::env::var("LOWTIDE_FUZZ_ITERATIONS").ok().and_then(|text| text.parse::<u32>().ok());
    asked.map_or(64, |asked| (asked / 20).max(1))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: fuzz_cases(), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn fuzz_random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = place(bytes).load();
    }

    #[test]
    fn fuzz_mutated_samples_never_panic_and_load_only_what_is_sound(
        edits in prop::collection::vec((any::<prop::sample::Index>(), 0_usize..4, "[ -~\\n\u{e9}]{0,6}"), 1..6),
    ) {
        let mut text: Vec<char> = uncommented().chars().collect();
        for (at, cut, insert) in edits {
            let at = at.index(text.len());
            let end = (at + cut).min(text.len());
            text.splice(at..end, insert.chars());
        }
        if let Ok(loaded) = place(text.into_iter().collect::<String>()).load() {
            for (name, value) in leaves(&loaded.config) {
                let within = match table().key(&name).map(|key| &key.kind) {
                    Some(Kind::Integer { min, max }) => (*min..=*max).contains(&value.as_i64().unwrap()),
                    Some(Kind::Number { min, max }) => value.as_f64().is_none_or(|value| (*min..=*max).contains(&value)),
                    _ => true,
                };
                prop_assert!(within, "{name} = {value}");
            }
        }
    }
}
