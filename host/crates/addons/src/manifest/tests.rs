//! Tests of the manifest: every kind of error with its place.

use super::*;
use proptest::prelude::*;

fn parse(text: &str) -> Result<Manifest, ManifestError> {
    Manifest::parse(text, &AddonId::new("jellyfin").unwrap())
}

/// Code, line and column of the error.
fn error(text: &str) -> (&'static str, usize, usize) {
    let error = parse(text).unwrap_err();
    let shown = error.to_string();
    assert!(shown.starts_with("addon.toml, line "), "{shown}");
    assert!(!shown.chars().any(char::is_control) && !shown.ends_with('.'), "{shown:?}");
    (error.code(), error.line, error.column)
}

const WHOLE: &str = r#"id = "jellyfin"
version = "0.1.0-rc.1+5"
description = "who watches a film"
[asks]
kv = true
leases = { max_units = 40 }
http = ["GET http://127.0.0.1:8096"]
host_data = ["/sys/class/hwmon", "tcp://127.0.0.1:445"]
[limits]
memory_mib = 128
interval_seconds = 10
"#;

#[test]
fn a_whole_manifest_is_read() {
    let manifest = parse(WHOLE).unwrap();
    assert_eq!(manifest.version.as_deref(), Some("0.1.0-rc.1+5"));
    assert_eq!(manifest.description.as_deref(), Some("who watches a film"));
    assert!(manifest.asks.kv && manifest.asks.leases.is_some());
    assert_eq!((manifest.asks.http.len(), manifest.asks.host_data.len()), (1, 2));
    assert_eq!(manifest.memory_bytes, Some(128 << 20));
    assert_eq!(manifest.interval, Some(Duration::from_secs(10)));
    assert_eq!(manifest.to_string(), "jellyfin 0.1.0-rc.1+5");
}

#[test]
fn an_id_alone_is_a_manifest_and_asks_for_nothing() {
    let manifest = parse("id = \"jellyfin\"").unwrap();
    assert_eq!(manifest, Manifest::bare(AddonId::new("jellyfin").unwrap()));
}

#[test]
fn unknown_keys_are_named_with_their_place() {
    assert_eq!(error("id = \"jellyfin\"\n  nmae = 1"), ("manifest_unknown_key", 2, 3));
    assert_eq!(error("id = \"jellyfin\"\n[asks]\nsockets = true"), ("manifest_unknown_key", 3, 1));
    assert_eq!(error("id = \"jellyfin\"\n[limits]\nmemory = 1"), ("manifest_unknown_key", 3, 1));
    assert_eq!(
        error("id = \"jellyfin\"\n[asks]\nleases = { max_units = 1, x = 2 }").0,
        "manifest_unknown_key"
    );
    let text = parse("id = \"jellyfin\"\nnmae = 1").unwrap_err().to_string();
    assert!(text.contains("`nmae`") && text.contains("`version`"), "{text}");
}

#[test]
fn a_key_of_another_type_is_named_with_its_place() {
    assert_eq!(error("id = 5"), ("manifest_wrong_type", 1, 6));
    assert_eq!(error("id = \"jellyfin\"\n[asks]\nkv = \"yes\""), ("manifest_wrong_type", 3, 6));
    assert_eq!(error("id = \"jellyfin\"\n[limits]\nmemory_mib = 1.5"), ("manifest_wrong_type", 3, 14));
    assert_eq!(error("id = \"jellyfin\"\nasks = 3"), ("manifest_wrong_type", 2, 8));
}

#[test]
fn numbers_outside_their_bounds_are_named_with_their_place() {
    for value in ["0", "257", "-1", "9223372036854775807"] {
        let text = format!("id = \"jellyfin\"\n[limits]\nmemory_mib = {value}");
        assert_eq!(error(&text), ("manifest_out_of_range", 3, 14), "{value}");
    }
    for value in ["0", "3601"] {
        let text = format!("id = \"jellyfin\"\n[limits]\ninterval_seconds = {value}");
        assert_eq!(error(&text), ("manifest_out_of_range", 3, 20), "{value}");
    }
    for value in ["0", "101", "300"] {
        let text = format!("id = \"jellyfin\"\n[asks]\nleases = {{ max_units = {value} }}");
        assert_eq!(error(&text).0, "manifest_out_of_range", "{value}");
    }
}

#[test]
fn the_bounds_themselves_are_allowed() {
    for (memory, interval, units) in [(1, 1, 1), (256, 3_600, 100)] {
        let text = format!(
            "id = \"jellyfin\"\n[asks]\nleases = {{ max_units = {units} }}\n[limits]\nmemory_mib = {memory}\ninterval_seconds = {interval}"
        );
        assert!(parse(&text).is_ok(), "{text}");
    }
}

#[test]
fn another_id_than_the_folders_is_an_error() {
    assert_eq!(error("id = \"plex\""), ("manifest_wrong_id", 1, 6));
    let text = parse("id = \"plex\"").unwrap_err().to_string();
    assert!(text.contains("\"plex\"") && text.contains("\"jellyfin\""), "{text}");
}

#[test]
fn a_manifest_without_an_id_is_an_error() {
    assert_eq!(error("version = \"1\"").0, "manifest_missing_key");
    assert_eq!(error("").0, "manifest_missing_key");
}

#[test]
fn what_is_not_toml_is_an_error_with_its_place() {
    let (code, line, _) = error("id = \"jellyfin\"\nkv = = 1");
    assert_eq!((code, line), ("manifest_syntax", 2));
    assert_eq!(error("id = \"jellyfin\"\nid = \"jellyfin\"").0, "manifest_syntax");
    assert_eq!(error("<html>").0, "manifest_syntax");
    assert_eq!(error("id = \"jellyfin").0, "manifest_syntax");
}

#[test]
fn texts_that_break_a_rule_are_errors_with_their_place() {
    for version in ["", "v1", "1 0", "1\\u001b[31m", &"1".repeat(65)] {
        let text = format!("id = \"jellyfin\"\nversion = \"{version}\"");
        assert_eq!(error(&text), ("manifest_wrong_value", 2, 11), "{version}");
    }
    for description in [&"x".repeat(513), "a\\nb", "\\u001b[31m"] {
        let text = format!("id = \"jellyfin\"\ndescription = \"{description}\"");
        assert_eq!(error(&text), ("manifest_wrong_value", 2, 15), "{description}");
    }
    assert_eq!(error("id = \"jellyfin\"\n[asks]\nhttp = [\"http://a\"]").0, "manifest_wrong_value");
    assert_eq!(error("id = \"jellyfin\"\n[asks]\nhost_data = [\"/sys/../etc\"]").0, "manifest_wrong_value");
}

#[test]
fn a_manifest_that_is_too_large_is_not_even_parsed() {
    assert_eq!(error(&format!("#{}", "x".repeat(MANIFEST_BYTES_MAX))), ("manifest_too_large", 1, 1));
}

#[test]
fn escapes_in_keys_reach_no_terminal() {
    assert_eq!(error("id = \"jellyfin\"\n\"\\u001b[31m\\u202e\" = 1").0, "manifest_unknown_key");
    assert_eq!(error("id = \"\\u001b[31m\\nplex\"").0, "manifest_wrong_id");
}

#[test]
fn columns_count_characters_and_lines_may_end_with_a_carriage_return() {
    assert_eq!(error("id = \"jellyfin\"\r\n\"ä\" = 1").1, 2);
    assert_eq!(error("asks = { kv = true, ä = 1 }\nid = 1").0, "manifest_syntax");
    assert_eq!(error("description = \"ä\"\nid = \"ä\""), ("manifest_wrong_id", 2, 6));
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in ".{0,200}") {
        let _ = parse(&text).map_err(|error| error.to_string());
    }

    #[test]
    fn no_changed_manifest_makes_it_panic(at in 0..WHOLE.len(), with in any::<char>()) {
        let mut text: Vec<char> = WHOLE.chars().collect();
        text[at] = with;
        let text: String = text.into_iter().collect();
        let _ = parse(&text).map_err(|error| error.to_string());
    }
}
