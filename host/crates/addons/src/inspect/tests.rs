//! Tests of the inspection: each error once with its words, and that no bytes make it panic.

use super::*;
use proptest::prelude::*;
use std::fmt::Write;

fn wasm(text: &str) -> Vec<u8> {
    wat::parse_str(text).unwrap()
}

/// A component with empty instances of these names.
fn component(imports: &[&str], exports: &[&str]) -> Vec<u8> {
    let mut text = "(component ".to_owned();
    for name in imports {
        write!(text, "(import \"{name}\" (instance)) ").unwrap();
    }
    text.push_str("(instance $e) ");
    for name in exports {
        write!(text, "(export \"{name}\" (instance $e)) ").unwrap();
    }
    wasm(&(text + ")"))
}

const COLLECTOR: &str = "lowtide:addon/collector@0.1.0";

/// A component with a module, functions, a memory, a lifted function and a nested component.
fn larger() -> Vec<u8> {
    wasm(
        r#"(component
            (import "lowtide:addon/log@0.1.0" (instance (export "write" (func (param "text" string)))))
            (core module $m
                (memory (export "memory") 1)
                (table 2 funcref)
                (func (export "run") (result i32) i32.const 7)
                (func (export "realloc") (param i32 i32 i32 i32) (result i32) i32.const 0)
                (data (i32.const 0) "hello")
                (@producers (language "Rust" "") (processed-by "rustc" "1.96.0 (ac68faa20)")))
            (core instance $i (instantiate $m))
            (func $f (result u32) (canon lift (core func $i "run")))
            (component $c (import "f" (func $g (result u32))) (export "run" (func $g)))
            (instance $e (instantiate $c (with "f" (func $f))))
            (export "lowtide:addon/collector@0.1.0" (instance $e)))"#,
    )
}

fn code(wasm: &[u8]) -> &'static str {
    let error = inspect(wasm).unwrap_err();
    let text = error.to_string();
    assert!(!text.chars().any(char::is_control) && !text.ends_with('.'), "{text:?}");
    error.code()
}

fn text(wasm: &[u8]) -> String {
    inspect(wasm).unwrap_err().to_string()
}

#[test]
fn a_component_says_what_it_imports_and_exports() {
    let found = inspect(&component(
        &[
            "lowtide:addon/metrics@0.1.0",
            "lowtide:addon/types@0.1.0",
            "lowtide:addon/host-data@0.1.3",
            "wasi:cli/environment@0.2.6",
            "wasi:sockets/tcp@0.2.0",
        ],
        &[COLLECTOR, "lowtide:addon/custom-stats@0.1.0", "wasi:cli/run@0.2.6"],
    ))
    .unwrap();
    assert_eq!(found.exports, BTreeSet::from([Export::Collector, Export::CustomStats]));
    assert_eq!(found.imports, BTreeSet::from([Import::Metrics, Import::HostData]));
    assert!(found.wasi);
    assert_eq!(found.version, "0.1.3");
}

#[test]
fn every_interface_of_the_package_is_known() {
    let imports = Import::ALL.map(|import| format!("lowtide:addon/{}@0.1.0", import.name()));
    let exports = Export::ALL.map(|export| format!("lowtide:addon/{}@0.1.0", export.name()));
    let found =
        inspect(&component(&imports.each_ref().map(String::as_str), &exports.each_ref().map(String::as_str)))
            .unwrap();
    assert_eq!(found.imports, BTreeSet::from(Import::ALL));
    assert_eq!(found.exports, BTreeSet::from(Export::ALL));
    assert!(!found.wasi);
}

#[test]
fn the_names_are_those_of_the_wit_files() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../wit/v0.1");
    let mut files: Vec<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned())
        .filter(|name| !["types", "worlds"].contains(&name.as_str()))
        .collect();
    files.sort();
    let mut names: Vec<&str> =
        Import::ALL.iter().map(|i| i.name()).chain(Export::ALL.iter().map(|e| e.name())).collect();
    names.sort_unstable();
    assert_eq!(files, names);
}

#[test]
fn a_component_says_what_made_it_and_how_many_functions_it_has() {
    let found = inspect(&larger()).unwrap();
    assert_eq!(found.languages, ["Rust 1.96.0"]);
    assert_eq!(found.functions, 2);
}

#[test]
fn an_addon_has_the_language_that_it_says_and_not_that_of_its_interpreter() {
    let text = r#"(component
        (core module (@producers (language "Rust" "") (processed-by "rustc" "1.75.0 (82e1608df)")))
        (instance $e)
        (export "lowtide:addon/collector@0.1.0" (instance $e))
        (@producers (language "Python" "3.14")))"#;
    assert_eq!(inspect(&wasm(text)).unwrap().languages, ["Python 3.14"]);
}

#[test]
fn what_is_not_wasm_is_told_what_it_looks_like() {
    for (bytes, like) in [
        (&b""[..], "it is empty;"),
        (b"<!doctype html>", "HTML"),
        (b"\n  <html>", "HTML"),
        (b"{\"message\": 404}", "JSON"),
        (b"hello, world", "text"),
        (b"(component)", "text form"),
        (b"\x7fELF\x02\x01", ".cwasm"),
        (b"PK\x03\x04..", "zip"),
        (b"\x1f\x8b\x08", "gzip"),
        (b"#!/bin/sh\n", "script"),
        (b"\x00\x01\x02\x03", "binary"),
        (&[0; 100], "binary"),
    ] {
        assert_eq!(code(bytes), "not_wasm");
        assert!(text(bytes).contains(like), "{}", text(bytes));
    }
}

#[test]
fn a_core_module_is_told_how_to_become_a_component() {
    assert_eq!(code(&wasm("(module)")), "core_module");
    let text = text(&wasm("(module (func))"));
    assert!(text.contains("wasm32-wasip2") && text.contains("`lowtide addon build`"), "{text}");
}

#[test]
fn a_file_cut_anywhere_is_never_taken_for_another_addon() {
    for whole in [larger(), component(&["lowtide:addon/kv@0.1.0"], &[COLLECTOR])] {
        let found = inspect(&whole).unwrap();
        for length in 0..whole.len() {
            match inspect(&whole[..length]) {
                // Only what comes after the export, such as names for debuggers, is missing.
                Ok(rest) => assert_eq!(rest, found, "{length}"),
                Err(InspectError::NotWasm(like)) => assert_eq!((length, like), (0, "empty")),
                // Cut exactly between two sections.
                Err(InspectError::NoExports) => {}
                Err(InspectError::Truncated { bytes }) => assert_eq!(bytes, length),
                Err(error) => panic!("{length}: {error}"),
            }
        }
    }
}

#[test]
fn what_the_validator_refuses_is_told_with_its_place() {
    let broken = wasm("(component (core module (func (result i32))))");
    assert_eq!(code(&component(&[], &["lowtide:addon/nothing@0.1.0"])), "unknown_interface");
    assert_eq!(code(&broken), "no_exports");
    let with_export = format!(
        "(component (core module (func (result i32))) (instance $e) (export \"{COLLECTOR}\" (instance $e)))"
    );
    assert_eq!(code(&wasm(&with_export)), "invalid");
    let unknown_version = b"\0asm\x0e\0\x01\0";
    assert_eq!(code(unknown_version), "invalid");
    assert!(text(unknown_version).contains("byte 4"), "{}", text(unknown_version));
}

#[test]
fn proposals_that_no_guest_needs_are_refused_and_the_common_ones_are_not() {
    let with = |module: &str| {
        let text = format!(
            "(component (core module {module}) (instance $e) (export \"{COLLECTOR}\" (instance $e)))"
        );
        inspect(&wasm(&text))
    };
    for module in [
        "(memory 1 1 shared)",
        "(memory i64 1)",
        "(tag)",
        "(type (struct (field i32)))",
        "(table 1 externref)",
        "(memory 1 (pagesize 1))",
        "(func (param v128) (drop (i32x4.relaxed_trunc_f32x4_s (local.get 0))))",
        "(func (drop (ref.func 0)) (call_ref 0))",
    ] {
        let text = format!("(module {module})");
        if wat::parse_str(&text).is_ok() {
            assert_eq!(with(module).map_err(|error| error.code()), Err("invalid"), "{module}");
        }
    }
    for module in [
        "(memory 1) (func (memory.fill (i32.const 0) (i32.const 0) (i32.const 0)))",
        "(func (result i32 i32) i32.const 1 i32.const 2)",
        "(func (param v128) (drop (f32x4.add (local.get 0) (local.get 0))))",
        "(func $f (return_call $f))",
        "(table 1 funcref) (func (drop (table.get 0 (i32.const 0))))",
        "(func (param i32) (drop (i32.extend8_s (local.get 0))))",
        "(func (param f32) (drop (i32.trunc_sat_f32_s (local.get 0))))",
        "(global i32 (i32.add (i32.const 1) (i32.const 2)))",
    ] {
        assert!(with(module).is_ok(), "{module}: {:?}", with(module));
    }
}

#[test]
fn shapes_beyond_the_limits_are_refused_before_validation() {
    let functions = format!("(component (core module {}))", "(func)".repeat(limits::FUNCTIONS_MAX + 1));
    assert_eq!(code(&wasm(&functions)), "too_many_functions");

    // Split over modules, it is still one component.
    let half = format!("(core module {})", "(func)".repeat(limits::FUNCTIONS_MAX / 2 + 1));
    assert_eq!(code(&wasm(&format!("(component {half} {half})"))), "too_many_functions");

    let function = format!("(component (core module (func {})))", "nop ".repeat(limits::FUNCTION_BYTES_MAX));
    assert_eq!(code(&wasm(&function)), "function_too_large");

    let names: Vec<String> = (0..=limits::IMPORTS_MAX).map(|n| format!("lowtide:addon/i{n}@0.1.0")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    assert_eq!(code(&component(&names, &[])), "too_many_imports");
    assert_eq!(code(&component(&[], &names)), "too_many_imports");

    let modules = format!("(component {})", "(core module)".repeat(limits::MODULES_MAX + 1));
    assert_eq!(code(&wasm(&modules)), "too_many_modules");
    let nested =
        format!("{}{}", "(component ".repeat(limits::MODULES_MAX + 2), ")".repeat(limits::MODULES_MAX + 2));
    assert_eq!(code(&wasm(&nested)), "too_many_modules");

    assert_eq!(code(&vec![0; limits::COMPONENT_BYTES_MAX + 1]), "too_large");
}

#[test]
fn another_version_of_the_package_is_told_with_both_versions() {
    for version in ["0.2.0", "0.3.0", "1.0.0", "0.0.9", "0.1.0-draft"] {
        let import = component(&[&format!("lowtide:addon/log@{version}")], &[COLLECTOR]);
        assert_eq!(code(&import), "future_version", "{version}");
        let export = component(&[], &[&format!("lowtide:addon/collector@{version}")]);
        assert_eq!(code(&export), "future_version", "{version}");
    }
    let text = text(&component(&[], &["lowtide:addon/collector@0.3.0"]));
    assert!(
        text.starts_with(
            "addon wants lowtide:addon 0.3.0 (lowtide:addon/collector@0.3.0), this host speaks 0.1"
        ),
        "{text}"
    );
    assert_eq!(code(&component(&[], &["lowtide:addon/collector"])), "future_version");
}

#[test]
fn an_addon_from_the_future_is_not_called_broken() {
    let text = "(component (core module (memory i64 1)) (instance $e) (export \"lowtide:addon/collector@0.3.0\" (instance $e)))";
    assert_eq!(code(&wasm(text)), "future_version");
}

#[test]
fn any_patch_of_the_version_is_taken() {
    assert_eq!(inspect(&component(&[], &["lowtide:addon/job@0.1.17"])).unwrap().version, "0.1.17");
}

#[test]
fn a_misspelt_interface_is_told_the_nearest_one() {
    let import = component(&["lowtide:addon/metrix@0.1.0"], &[COLLECTOR]);
    assert_eq!(code(&import), "unknown_interface");
    assert!(text(&import).contains("did you mean metrics"), "{}", text(&import));
    let export = component(&[], &["lowtide:addon/colector@0.1.0"]);
    assert_eq!(code(&export), "unknown_interface");
    assert!(text(&export).contains("did you mean collector"), "{}", text(&export));
    let far = component(&["lowtide:addon/filesystem@0.1.0"], &[COLLECTOR]);
    assert!(text(&far).contains("are metrics, leases, system"), "{}", text(&far));
}

#[test]
fn imports_that_the_host_does_not_offer_are_named_with_what_to_do() {
    for (import, advice) in [
        ("wasi:http/outgoing-handler@0.2.0", "use lowtide:addon/http"),
        ("wasi:keyvalue/store@0.2.0", "of WASI there are"),
        ("wasi:cli/environment@0.3.0", "WASI 0.2"),
        ("wasi:cli/environment", "WASI 0.2"),
        ("lowtide:addons/log@0.1.0", "lowtide:addon and WASI 0.2 only"),
        ("docs:adder/add@0.1.0", "lowtide:addon and WASI 0.2 only"),
        ("lowtide:addon/health@0.1.0", "to export, not to import"),
        ("plain", "lowtide:addon and WASI 0.2 only"),
    ] {
        let wasm = component(&[import], &[COLLECTOR]);
        if import == "wasi:cli/environment" {
            assert_eq!(code(&wasm), "unknown_import");
            continue;
        }
        assert_eq!(code(&wasm), "unknown_import", "{import}");
        assert!(text(&wasm).contains(advice), "{}", text(&wasm));
        assert!(text(&wasm).contains(import), "{}", text(&wasm));
    }
    let function = wasm(&format!(
        "(component (import \"now\" (func)) (instance $e) (export \"{COLLECTOR}\" (instance $e)))"
    ));
    assert_eq!(code(&function), "unknown_import");
}

#[test]
fn a_component_that_exports_nothing_of_ours_is_refused() {
    assert_eq!(code(&wasm("(component)")), "no_exports");
    assert_eq!(code(&component(&["lowtide:addon/log@0.1.0"], &[])), "no_exports");
    assert_eq!(code(&component(&[], &["wasi:cli/run@0.2.0"])), "no_exports");
    assert_eq!(code(&component(&[], &["lowtide:addon/kv@0.1.0"])), "no_exports");
}

#[test]
fn what_made_it_is_shown_without_control_characters_and_bounded() {
    let long = "x".repeat(10_000);
    let many: String = (0..100).map(|n| format!("(language \"l{n}\" \"\")")).collect();
    let text = format!(
        "(component (core module (@producers (language \"\\1b[31mC\\e2\\80\\ae\" \"{long}\"))) (core module (@producers {many})) (instance $e) (export \"{COLLECTOR}\" (instance $e)))"
    );
    let languages = inspect(&wasm(&text)).unwrap().languages;
    assert_eq!(languages.len(), 16);
    assert!(
        languages.iter().all(|language| language.len() < 500 && !language.contains(['\u{1b}', '\u{202e}'])),
        "{languages:?}"
    );
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn no_changed_component_makes_it_panic(
        flips in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        length in any::<prop::sample::Index>(),
        cut in any::<bool>(),
    ) {
        let mut bytes = larger();
        for (at, with) in flips {
            let at = at.index(bytes.len());
            bytes[at] = with;
        }
        if cut {
            bytes.truncate(length.index(bytes.len()));
        }
        let _ = inspect(&bytes).map_err(|error| error.to_string());
    }

    #[test]
    fn no_bytes_make_it_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..200), component in any::<bool>()) {
        if component {
            bytes.splice(0..0, *b"\0asm\x0d\0\x01\0");
        }
        let _ = inspect(&bytes).map_err(|error| error.to_string());
    }
}

#[test]
fn no_flipped_bit_makes_it_panic() {
    let whole = larger();
    for at in 0..whole.len() {
        for bit in 0..8 {
            let mut bytes = whole.clone();
            bytes[at] ^= 1 << bit;
            let _ = inspect(&bytes).map_err(|error| error.to_string());
        }
    }
}
