//! A real backup program, stopped in the middle again and again: what it leaves behind must be whole.

use super::{QUICK, held_leases, state};
use crate::daemon::{Guard, command, eventually, eventually_within};
use crate::leases::{calm, disturbed, reconfigure, start};
use crate::peers::peer;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

/// Freezes of one backup. After each the calm that must come first is twice as long, up to a minute: this many take some three minutes.
const FREEZES: usize = 8;

/// The longest calm, and then some.
const CALM: Duration = Duration::from_secs(120);

/// Bytes of the files, and how many a second restic may write: it has to last for the freezes.
const FILES: u64 = 400;
const FILE_BYTES: usize = 1 << 20;
const KIB_PER_SECOND: &str = "12000";

fn restic(program: &Path, folder: &Path) -> Command {
    let mut command = Command::new(program);
    command.env("RESTIC_REPOSITORY", folder.join("repo")).env("RESTIC_PASSWORD", "tide");
    command.env("RESTIC_CACHE_DIR", folder.join("cache")).env("HOME", folder).stdout(Stdio::null());
    command
}

fn succeeds(command: &mut Command) {
    let status = command.status().unwrap();
    assert!(status.success(), "{command:?}: {status}");
}

#[test]
fn a_backup_that_is_frozen_again_and_again_is_whole() {
    if std::env::var_os("LOWTIDE_SOAK").is_none() {
        return;
    }
    let Some(program) = peer("restic") else { return };
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("source");
    fs::create_dir(&source).unwrap();
    let mut random = crate::random::Random::new(7);
    for number in 0..FILES {
        let bytes: Vec<u8> = (0..FILE_BYTES / 8).flat_map(|_| random.next().to_le_bytes()).collect();
        fs::write(source.join(number.to_string()), bytes).unwrap();
    }
    succeeds(restic(&program, folder.path()).arg("init"));
    let daemon = start(QUICK);
    let mut run = command(folder.path());
    run.args(["run", "--url", &daemon.url(), "--job", "backup", "--"]).arg(&program);
    run.args(["backup", "--quiet", "--limit-upload", KIB_PER_SECOND]).arg(&source);
    run.env("RESTIC_REPOSITORY", folder.path().join("repo")).env("RESTIC_PASSWORD", "tide");
    run.env("RESTIC_CACHE_DIR", folder.path().join("cache")).stdout(Stdio::null());
    run.stderr(fs::File::create(folder.path().join("err")).unwrap());
    let mut wrapper = Guard(run.spawn().unwrap());
    eventually("it has begun", || (!held_leases(&daemon).is_empty()).then_some(()));
    let mut freezes = 0;
    while freezes < FREEZES && wrapper.0.try_wait().unwrap().is_none() {
        disturbed(&daemon, "busy", QUICK, "BUSY");
        eventually("paused", || {
            (held_leases(&daemon).is_empty() || state(&daemon) == "paused").then_some(())
        });
        freezes += usize::from(!held_leases(&daemon).is_empty());
        reconfigure(&daemon, &calm(QUICK));
        eventually_within(CALM, "active", || {
            (held_leases(&daemon).is_empty() || state(&daemon) == "active").then_some(())
        });
    }
    let said = || fs::read_to_string(folder.path().join("err")).unwrap();
    let status = wrapper.0.wait().unwrap();
    assert!(status.success(), "{status}: {}", said());
    assert_eq!(freezes, FREEZES, "it was over too soon");
    println!("{freezes} freezes");
    succeeds(restic(&program, folder.path()).args(["check", "--read-data"]));
    let back = folder.path().join("back");
    succeeds(restic(&program, folder.path()).args(["restore", "latest", "--target"]).arg(&back));
    let restored = back.join(source.strip_prefix("/").unwrap());
    for number in 0..FILES {
        let name = number.to_string();
        assert!(
            fs::read(restored.join(&name)).unwrap() == fs::read(source.join(&name)).unwrap(),
            "{name} differs"
        );
    }
}
