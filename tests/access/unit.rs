//! The systemd unit, rated by systemd itself.

use crate::peers::peer;
use std::process::Command;

/// What systemd calls exposure, in tenths: below 10 is perfect, from 50 on medium (analyze-security.c).
const EXPOSURE_MAX: &str = "15";

#[test]
fn the_unit_is_closed_as_far_as_the_daemon_bears() {
    let Some(program) = peer("systemd_analyze") else { return };
    let unit = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/systemd/lowtide.service");
    let rate = |threshold: &str| {
        let mut command = Command::new(&program);
        command.args(["security", "--offline=yes", "--no-pager", "--threshold", threshold, unit]);
        let output = command.env("SYSTEMD_COLORS", "0").output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8_lossy(&said).into_owned())
    };
    let (good, said) = rate(EXPOSURE_MAX);
    assert!(good && said.contains("Overall exposure level"), "{said}");
    // It does rate: nothing is perfect.
    assert!(!rate("1").0, "{said}");
    let unknown: Vec<&str> = said.lines().filter(|line| line.contains("ignoring")).collect();
    assert!(unknown.is_empty(), "{unknown:?}");
}
