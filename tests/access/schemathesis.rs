//! Schemathesis against the daemon: what the description allows and what it does not, phase by phase, and sequences of requests that
//! belong together. None may be answered with a 5xx, and every answer must be as described.

use crate::daemon::{Daemon, eventually};
use crate::leases::start;
use crate::peers::peer;
use std::process::Command;

/// What every answer is held against.
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,response_headers_conformance,response_schema_conformance";

/// Cases of one operation in each phase: a fixed slice in CI.
const EXAMPLES: u32 = 4;

/// The same in the slow suite: some 20 000 cases in all.
const EXAMPLES_SOAK: u32 = 800;

/// Runs it; returns what it said, and how many cases there were.
fn run(daemon: &Daemon, phases: &str, examples: u32) -> Option<(String, u64)> {
    let python = peer("schemathesis")?;
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(python);
    command
        .args(["-m", "schemathesis.cli", "run"])
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/reference/openapi.json"));
    // The event stream has no end; it has tests of its own.
    command.args([
        "--url",
        &daemon.url(),
        "--exclude-path",
        "/api/events",
        "--checks",
        CHECKS,
        "--phases",
        phases,
    ]);
    command.args([
        "--max-examples",
        &examples.to_string(),
        "--generation-deterministic",
        "--continue-on-failure",
    ]);
    let output = command.current_dir(folder.path()).env("NO_COLOR", "1").output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    let cases = said.lines().find_map(|line| {
        let (count, rest) = line.trim().split_once(' ')?;
        rest.starts_with("generated").then(|| count.parse().unwrap())
    });
    Some((said.clone(), cases.unwrap_or_else(|| panic!("no count of cases in {said}"))))
}

#[test]
fn no_request_makes_a_server_error_or_an_answer_that_is_not_described() {
    let soak = std::env::var_os("LOWTIDE_SOAK").is_some();
    let examples = if soak { EXAMPLES_SOAK } else { EXAMPLES };
    let daemon = start("");
    let Some((said, cases)) = run(&daemon, "examples,coverage,fuzzing,stateful", examples) else { return };
    println!("{cases} cases");
    assert!(cases >= if soak { 20_000 } else { 800 }, "{said}");
    assert!(!said.contains("Stateful (disabled)") && !said.contains("Stateful (not applicable)"), "{said}");
    eventually("it still measures", || (daemon.get("/readyz").status == 200).then_some(()));
    assert_eq!(daemon.log().matches("ERROR").count(), 0, "{}", daemon.log());
}
