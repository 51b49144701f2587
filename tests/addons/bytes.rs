//! Files made here that cannot be addons, or are sick ones: cut, damaged, too large, from elsewhere, from the future. Each is refused
//! with its own word, or contained; nothing in the host notices.

use super::stage::{COMPANION, PATIENCE, Stage, built_fixture, wrapped};
use crate::daemon::eventually_within;
use crate::random::Random;
use lowtide_addons::inspect::{InspectError, inspect};
use lowtide_clock as clock;
use std::collections::BTreeMap;
use std::fs;

/// A file that is refused: its id, its bytes, and the code and words of the refusal.
struct Bad {
    id: &'static str,
    bytes: Vec<u8>,
    code: &'static str,
    words: &'static [&'static str],
}

fn bad(
    id: &'static str,
    bytes: impl Into<Vec<u8>>,
    code: &'static str,
    words: &'static [&'static str],
) -> Bad {
    Bad { id, bytes: bytes.into(), code, words }
}

fn text(wat: &str) -> Vec<u8> {
    wat::parse_str(wat).unwrap()
}

fn companion() -> Vec<u8> {
    fs::read(built_fixture(COMPANION).join(format!("{COMPANION}.wasm"))).unwrap()
}

/// A component with an instance of this name, which has nothing in it.
fn with_import(name: &str) -> Vec<u8> {
    text(&format!(
        "(component (import \"{name}\" (instance)) (instance $e) (export \"lowtide:addon/collector@0.1.0\" (instance $e)))"
    ))
}

fn with_export(name: &str) -> Vec<u8> {
    text(&format!("(component (instance $e) (export \"{name}\" (instance $e)))"))
}

/// An unsigned number as WebAssembly writes it (LEB128).
fn leb(mut number: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let byte = u8::try_from(number & 0x7f).unwrap();
        number >>= 7;
        if number == 0 {
            bytes.push(byte);
            return bytes;
        }
        bytes.push(byte | 0x80);
    }
}

fn section(kind: u8, content: &[u8]) -> Vec<u8> {
    [&[kind][..], &leb(content.len()), content].concat()
}

/// A component with a core module that has functions of these bodies, all of the type `func`.
fn with_functions(bodies: &[Vec<u8>]) -> Vec<u8> {
    let types = section(1, &[1, 0x60, 0, 0]);
    let functions = section(3, &[leb(bodies.len()), vec![0; bodies.len()]].concat());
    let mut code = leb(bodies.len());
    for body in bodies {
        code.extend(leb(body.len()));
        code.extend(body);
    }
    let module = [&b"\0asm\x01\0\0\0"[..], &types, &functions, &section(10, &code)].concat();
    [&b"\0asm\x0d\0\x01\0"[..], &section(1, &module)].concat()
}

/// A body of so many bytes that does nothing.
fn idle(bytes: usize) -> Vec<u8> {
    let mut body = vec![0x01; bytes];
    body[0] = 0;
    body[bytes - 1] = 0x0b;
    body
}

/// A body with a `br_table` of so many targets.
fn table_of_branches(targets: usize) -> Vec<u8> {
    [&[0, 0x41, 0, 0x0e][..], &leb(targets), &vec![0; targets + 1], &[0x0b]].concat()
}

/// A component whose document is of a list of lists of lists.
fn deep(depth: usize) -> Vec<u8> {
    let mut types = "(type $t0 (list u8))".to_owned();
    for level in 1..depth {
        types.push_str(&format!("(type $t{level} (list $t{}))", level - 1));
    }
    let last = depth - 1;
    text(&format!(
        "(component {types} (import \"lowtide:addon/log@0.1.0\" (instance (export \"write\" (func (param \"a\" $t{last})))))
            (instance $e) (export \"lowtide:addon/collector@0.1.0\" (instance $e)))"
    ))
}

fn all_bad() -> Vec<Bad> {
    let whole = companion();
    let half = whole.len() / 2;
    let features = [
        ("threads", "(memory (export \"memory\") 1 1 shared)"),
        ("memory64", "(memory (export \"memory\") i64 1)"),
        ("gc", "(memory (export \"memory\") 1) (type (struct (field i32)))"),
        ("exceptions", "(memory (export \"memory\") 1) (tag)"),
    ];
    let mut all: Vec<Bad> = features
        .into_iter()
        .map(|(id, fields)| {
            let fields = format!("{fields} (func (export \"stats\") (result i32) i32.const 0)");
            bad(id, text(&wrapped(&fields)), "invalid", &["not valid at byte", "without proposals"])
        })
        .collect();
    all.extend([
        bad("zero-length", "", "not_wasm", &["empty"]),
        bad("text", "this is not an addon\n", "not_wasm", &["text"]),
        bad("html", "<!doctype html><title>404</title>", "not_wasm", &["HTML"]),
        bad("json", "{\"message\": \"Not Found\"}", "not_wasm", &["JSON"]),
        bad("elf", fs::read("/proc/self/exe").unwrap()[..4_096].to_vec(), "not_wasm", &["native program"]),
        bad("core-module", text("(module)"), "core_module", &["wasm32-wasip2"]),
        bad("cut", &whole[..half], "truncated", &["copy it again"]),
        bad(
            "many-functions",
            with_functions(&vec![vec![0, 0x0b]; 100_000]),
            "too_many_functions",
            &["100000", "60000"],
        ),
        bad("long-function", with_functions(&[idle(2 << 20)]), "function_too_large", &["split it"]),
        bad(
            "table-of-branches",
            with_functions(&[table_of_branches(7_000_000)]),
            "function_too_large",
            &["7000"],
        ),
        bad("smaller-table", with_functions(&[table_of_branches(900_000)]), "no_exports", &[]),
        bad("no-export", with_functions(&[idle(9)]), "no_exports", &["implement one"]),
        bad(
            "squatter",
            with_import("lowtide:adon/log@0.1.0"),
            "unknown_import",
            &["lowtide:adon/log", "link everything else"],
        ),
        bad(
            "typo",
            with_import("lowtide:addon/metric@0.1.0"),
            "unknown_interface",
            &["did you mean metrics"],
        ),
        bad(
            "wasi-http",
            with_import("wasi:http/outgoing-handler@0.2.0"),
            "unknown_import",
            &["use lowtide:addon/http instead"],
        ),
        bad("wasi-of-tomorrow", with_import("wasi:cli/environment@0.3.0"), "unknown_import", &["WASI 0.2"]),
        bad("wasi-nn", with_import("wasi:nn/graph@0.2.0"), "unknown_import", &["of WASI there are"]),
        bad(
            "future",
            with_export("lowtide:addon/collector@0.9.0"),
            "future_version",
            &["0.9.0", "build it against 0.1"],
        ),
        bad("far-future", with_import("lowtide:addon/log@4294967296.0.0"), "future_version", &["4294967296"]),
        bad(
            "hollow",
            with_export("lowtide:addon/collector@0.1.0"),
            "interface_mismatch",
            &["does not fit", "WIT"],
        ),
        bad("deep-lists", deep(1_000), "invalid", &[]),
        bad("nested-components", nested(200), "too_many_modules", &["64"]),
        bad("many-imports", many_imports(), "too_many_imports", &["201"]),
        bad("too-large", vec![0; (32 << 20) + 1], "file_too_large", &["33554433"]),
    ]);
    all
}

/// `stats` that returns a number.
fn wrong_type() -> Vec<u8> {
    text(
        "(component
            (core module $m (func (export \"stats\") (result i32) i32.const 0))
            (core instance $i (instantiate $m))
            (func $stats (result u32) (canon lift (core func $i \"stats\")))
            (instance $e (export \"stats\" (func $stats)))
            (export \"lowtide:addon/custom-stats@0.1.0\" (instance $e)))",
    )
}

fn nested(depth: usize) -> Vec<u8> {
    let mut inner = b"\0asm\x0d\0\x01\0".to_vec();
    for _ in 0..depth {
        inner = [&b"\0asm\x0d\0\x01\0"[..], &section(4, &inner)].concat();
    }
    inner
}

fn many_imports() -> Vec<u8> {
    let imports: String =
        (0..200).map(|number| format!("(import \"a:b/c{number}@0.1.0\" (instance))")).collect();
    text(&format!(
        "(component {imports} (instance $e) (export \"lowtide:addon/collector@0.1.0\" (instance $e)))"
    ))
}

#[test]
fn what_cannot_be_an_addon_is_refused_by_its_own_word() {
    let stage = Stage::new(BTreeMap::new());
    stage.bring_companion();
    let since = clock::mono();
    let all = all_bad();
    for one in &all {
        stage.put_bytes(one.id, &one.bytes);
    }
    eventually_within(PATIENCE, "all are refused", || {
        let settled = |one: &Bad| stage.host.view(one.id).is_ok_and(|view| view.state.name() != "loading");
        all.iter().all(settled).then_some(())
    });
    let mut wrong = Vec::new();
    for one in &all {
        let view = stage.host.view(one.id).unwrap();
        let Some(problem) = view.problem else {
            wrong.push(format!("{}: {} without a problem", one.id, view.state.name()));
            continue;
        };
        let fits = view.state.name() == "refused"
            && problem.code == one.code
            && one.words.iter().all(|word| problem.text.contains(word))
            && problem.text.len() <= 512
            && !problem.text.chars().any(char::is_control);
        if !fits {
            wrong.push(format!("{}: {} {} {:?}", one.id, view.state.name(), problem.code, problem.text));
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), all.len(), wrong.join("\n"));
    stage.assert_companion_is_well(since);
}

#[test]
fn an_export_of_another_type_breaks_the_contract() {
    let stage = Stage::new(BTreeMap::new());
    stage.put_bytes("wrong-type", &wrong_type());
    let view = stage.until("wrong-type", "stopped", |view| view.problem.is_some());
    let problem = view.problem.unwrap();
    assert_eq!(problem.code, "contract", "{}", problem.text);
    assert!(problem.text.contains("build it against the WIT"), "{}", problem.text);
}

#[test]
fn a_component_cut_at_a_thousand_places_is_never_taken_for_another() {
    let whole = companion();
    let found = inspect(&whole).unwrap();
    let mut whole_enough = 0;
    for number in 0..1_000 {
        let length = whole.len() * number / 1_000;
        match inspect(&whole[..length]) {
            // Only what tools left behind the component is missing.
            Ok(rest) => {
                whole_enough += 1;
                assert_eq!(
                    (rest.imports, rest.exports),
                    (found.imports.clone(), found.exports.clone()),
                    "{length}"
                );
            }
            Err(InspectError::NotWasm(_)) => assert_eq!(length, 0),
            Err(InspectError::Truncated { bytes }) => assert_eq!(bytes, length),
            Err(InspectError::NoExports) => {}
            Err(error) => panic!("{length}: {error}"),
        }
    }
    assert!(whole_enough < 50, "{whole_enough} of them are taken for whole");
}

#[test]
fn damaged_components_are_refused_or_contained() {
    let stage = Stage::new(BTreeMap::new());
    stage.bring_companion();
    let since = clock::mono();
    let whole = companion();
    let mut random = Random::new(20_260_101);
    let (mut refused, mut taken) = (0, Vec::new());
    for _ in 0..1_000 {
        let mut damaged = whole.clone();
        let bit = usize::try_from(random.below(u64::try_from(whole.len() * 8).unwrap())).unwrap();
        damaged[bit / 8] ^= 1 << (bit % 8);
        match inspect(&damaged) {
            Ok(_) => taken.push(damaged),
            Err(error) => {
                refused += 1;
                assert!(!error.to_string().chars().any(char::is_control), "{error:?}");
            }
        }
    }
    println!("{refused} of 1000 damaged components are refused, the others differ in what they do");
    assert!(refused > 0 && !taken.is_empty());
    // What is sound all the same is compiled and run; a few of those.
    let chosen: Vec<String> = (0..5).map(|number| format!("damaged-{number}")).collect();
    for (name, bytes) in chosen.iter().zip(taken.iter().step_by(taken.len() / 5)) {
        stage.put_bytes(name, bytes);
    }
    for name in &chosen {
        stage.until(name, "judged", |view| {
            view.state.name() != "loading" && (view.metered.calls > 0 || view.problem.is_some())
        });
    }
    stage.assert_companion_is_well(since);
}
