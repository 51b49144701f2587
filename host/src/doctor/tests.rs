//! Every check against folders made for it: a sound machine first, then one thing broken at a time.

use super::*;
use FindingLevel::{Error, Ok as Fine, Warn};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use tempfile::TempDir;

const MOUNTS_V2: &str = "22 27 0:21 / /proc rw,relatime - proc proc rw\n\
    27 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw\n\
    31 23 0:28 / /sys/fs/cgroup rw,relatime - cgroup2 cgroup2 rw\n";

/// A machine with nothing to complain about.
struct Machine {
    folder: TempDir,
    input: DoctorInput,
}

fn machine() -> Machine {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    fs::create_dir_all(at("data")).unwrap();
    fs::set_permissions(at("data"), fs::Permissions::from_mode(0o700)).unwrap();
    let input = DoctorInput {
        proc_dir: at("proc"),
        sys_dir: at("sys"),
        root_dir: at("root"),
        data_dir: Some(at("data")),
        addons_dir: Some(at("data/addons")),
        config: Ok(()),
        effective_uid: fs::metadata(at("data")).unwrap().uid(),
        wall: WallTime(EARLIEST_WALL.0 + 1),
    };
    let machine = Machine { folder, input };
    for file in ["stat", "meminfo", "loadavg", "uptime", "diskstats", "net/dev"] {
        machine.write(&format!("proc/{file}"), "");
    }
    for file in ["cpu", "memory", "io"] {
        machine.write(&format!("proc/pressure/{file}"), "some avg10=0.00");
    }
    machine.mounts(MOUNTS_V2);
    machine.write("proc/1/cgroup", "0::/init.scope\n");
    machine.write(
        "proc/self/limits",
        "Limit   Soft  Hard  Units\nMax open files            20000  20000  files\n",
    );
    machine.write("sys/class/hwmon/hwmon0/temp1_input", "40000");
    machine
}

impl Machine {
    fn write(&self, name: &str, text: &str) {
        let path = self.folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// Writes the mount table, with the folder of this machine in the place of `/proc`.
    fn mounts(&self, text: &str) {
        let proc_dir = self.input.proc_dir.display().to_string();
        self.write("proc/self/mountinfo", &text.replace(" /proc ", &format!(" {proc_dir} ")));
    }

    fn remove(&self, name: &str) {
        fs::remove_dir_all(self.folder.path().join(name)).unwrap();
    }

    #[track_caller]
    fn expect(&self, check: &str, level: FindingLevel, message: &str, fix: &str) {
        let findings = examine(&self.input);
        let finding = findings.iter().find(|finding| finding.check == check).expect(check);
        assert_eq!(finding.level, level, "{finding:?}");
        assert!(finding.message.contains(message), "{finding:?}");
        assert!(finding.fix.as_deref().unwrap_or_default().contains(fix), "{finding:?}");
    }
}

#[test]
fn a_sound_machine_has_nothing_to_mend() {
    let mut machine = machine();
    machine.input.effective_uid = machine.input.effective_uid.max(1);
    let checks: Vec<_> =
        examine(&machine.input).into_iter().map(|finding| (finding.check, finding.level)).collect();
    let names = [
        "config",
        "root_user",
        "proc_files",
        "hidepid",
        "psi",
        "cgroup",
        "container",
        "sensors",
        "clock",
        "open_files",
        "data_dir",
        "data_dir_space",
        "data_dir_filesystem",
        "addons_dir",
        "addon_cache",
    ];
    assert_eq!(checks.iter().map(|(name, _)| *name).collect::<Vec<_>>(), names);
    // Where tests run as root the folder belongs to root, and how full the disk is belongs to nobody.
    let depends = ["data_dir", "data_dir_space"];
    let bad: Vec<_> =
        checks.iter().filter(|(name, level)| *level != Fine && !depends.contains(name)).collect();
    assert!(bad.is_empty(), "{bad:?}");
}

#[test]
fn a_broken_configuration_and_root_are_told() {
    let mut machine = machine();
    machine.input.config = Err(ConfigTrouble { mistakes: 2, first: "config.toml:1:1: x".into() });
    machine.input.effective_uid = 0;
    machine.expect("config", Error, "2 mistakes, the first: config.toml:1:1: x", "lowtide config check");
    machine.expect("root_user", Warn, "runs as root", "User=lowtide");
}

#[test]
fn missing_proc_files_are_named() {
    let machine = machine();
    machine.remove("proc/net");
    machine.expect("proc_files", Error, "net/dev (no such file", "collectors.proc_dir");
}

#[test]
fn hidden_processes_are_told_to_those_who_cannot_see_them() {
    let mut machine = machine();
    machine.input.effective_uid = 1000;
    machine.mounts(&MOUNTS_V2.replace("proc proc rw", "proc proc rw,gid=27,hidepid=invisible"));
    machine.expect("hidepid", Warn, "hidepid=invisible", "SupplementaryGroups=");
    machine.input.effective_uid = 0;
    machine.expect("hidepid", Fine, "", "");
}

#[test]
fn absent_pressure_comes_with_the_line_for_this_machine() {
    let machine = machine();
    machine.remove("proc/pressure");
    machine.expect("psi", Warn, "no pressure stall information", "boot loader");
    machine.write("root/etc/default/grub", "");
    machine.expect("psi", Warn, "", "update-grub");
    machine.write("proc/device-tree/model", "Raspberry Pi 5 Model B\0");
    machine.expect("psi", Warn, "", "/boot/firmware/cmdline.txt");
    machine.write("root/.dockerenv", "");
    machine.expect("psi", Warn, "", "machine that this container runs on");
}

#[test]
fn pressure_that_is_there_but_cannot_be_read_is_told() {
    let machine = machine();
    let file = machine.folder.path().join("proc/pressure/io");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o000)).unwrap();
    // Root may read everything, so there this shows only that a readable file is fine.
    if fs::read(&file).is_err() {
        machine.expect("psi", Warn, "io is there but may not be read", "ProcSubset=");
    } else {
        machine.expect("psi", Fine, "", "");
    }
    fs::remove_file(&file).unwrap();
    fs::create_dir(&file).unwrap();
    machine.expect("psi", Warn, "no pressure stall information", "");
}

#[test]
fn cgroup_versions_are_told_apart() {
    let machine = machine();
    let v1 = "32 31 0:29 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n";
    machine.expect("cgroup", Fine, "version 2", "");
    machine.mounts(&format!("{MOUNTS_V2}{v1}"));
    machine.expect("cgroup", Warn, "hybrid", "unified_cgroup_hierarchy");
    machine.mounts(v1);
    machine.expect("cgroup", Warn, "version 1", "unified_cgroup_hierarchy");
    machine.mounts("");
    machine.expect("cgroup", Warn, "no cgroups", "");
}

#[test]
fn containers_are_seen_by_any_of_their_marks() {
    let marks: [(&str, &str, &str); 4] = [
        ("root/run/systemd/container", "lxc\n", "(lxc)"),
        ("root/.dockerenv", "", "(docker)"),
        ("root/run/.containerenv", "", "(podman)"),
        ("proc/1/cgroup", "0::/kubepods.slice/x\n", "(kubepods)"),
    ];
    for (file, text, name) in marks {
        let machine = machine();
        machine.write(file, text);
        machine.expect("container", Warn, name, "collectors.proc_dir");
    }
    let machine = machine();
    machine.write(
        "proc/self/mountinfo",
        &format!("{MOUNTS_V2}40 22 0:5 / /proc/meminfo rw - fuse.lxcfs lxcfs rw\n"),
    );
    machine.expect("container", Warn, "lxcfs shows the container's own memory", "");
}

#[test]
fn sensors_clock_and_limits_are_looked_at() {
    let mut machine = machine();
    machine.remove("sys/class/hwmon");
    machine.expect("sensors", Warn, "no temperature sensor", "");
    machine.write("sys/class/thermal/thermal_zone0/temp", "40000");
    machine.expect("sensors", Fine, "", "");

    machine.write("sys/devices/system/clocksource/clocksource0/current_clocksource", "hpet\n");
    machine.expect("clock", Warn, "slow clock source hpet", "dmesg");
    machine.input.wall = WallTime(0);
    machine.expect("clock", Warn, "before 2025", "timedatectl");

    machine.write("proc/self/limits", "Max open files            256  4096  files\n");
    machine.expect("open_files", Warn, "only 256 files", "LimitNOFILE=1024");
    machine.write("proc/self/limits", "Max open files            unlimited  unlimited  files\n");
    machine.expect("open_files", Fine, "unlimited", "");
}

#[test]
fn the_data_folder_must_be_ours_private_and_a_folder() {
    let mut machine = machine();
    let data = machine.folder.path().join("data");
    machine.expect("data_dir", Fine, "is private", "");
    fs::set_permissions(&data, fs::Permissions::from_mode(0o755)).unwrap();
    machine.expect("data_dir", Warn, "(mode 0755)", "chmod 0700 '");
    machine.input.effective_uid += 1;
    machine.expect("data_dir", Warn, "belongs to user", "sudo chown -R");
    machine.input.data_dir = Some(data.join("not/yet"));
    machine.expect("data_dir", Fine, "does not exist yet", "");
    machine.write("data/file", "");
    machine.input.data_dir = Some(data.join("file/below"));
    machine.expect("data_dir", Error, "is in the way", "storage.data_dir");
}

#[test]
fn the_data_folder_needs_room_and_a_disk_of_its_own() {
    let path = Path::new("/var/lib/lowtide");
    let level = |free_bytes| data::space_finding(path, free_bytes).level;
    assert_eq!([level(0), level(64 << 20), level(1 << 30), level(u64::MAX)], [Error, Warn, Fine, Fine]);

    let machine = machine();
    let cases = [("tmpfs", "in memory"), ("nfs4", "on the network"), ("overlay", "container's own layer")];
    for (kind, message) in cases {
        let point = machine.folder.path().canonicalize().unwrap();
        machine.mounts(&format!("{MOUNTS_V2}50 27 0:40 / {} rw - {kind} source rw\n", point.display()));
        machine.expect("data_dir_filesystem", Warn, message, "");
    }
}

#[test]
fn mount_points_with_blanks_are_understood() {
    let machine = machine();
    machine.mounts(
        "50 27 0:40 / /mnt/my\\040disk\\134x rw - tmpfs t rw\n27 1 254:0 / / rw - ext4 /dev/vda rw\nbroken\n",
    );
    let mounts = mounts::read(&machine.input.proc_dir);
    assert_eq!(mounts.len(), 2);
    assert_eq!(mounts[0].point, Path::new("/mnt/my disk\\x"));
    assert_eq!(mounts::of_path(&mounts, Path::new("/mnt/my disk\\x/y")).unwrap().kind, "tmpfs");
    assert_eq!(mounts::of_path(&mounts, Path::new("/mnt/my")).unwrap().kind, "ext4");
}

#[test]
fn a_machine_that_tells_nothing_is_examined_without_harm() {
    let nothing = DoctorInput {
        proc_dir: "/nonexistent".into(),
        sys_dir: "/nonexistent".into(),
        root_dir: "/nonexistent".into(),
        data_dir: None,
        addons_dir: None,
        config: Ok(()),
        effective_uid: 1000,
        wall: WallTime(0),
    };
    assert!(examine(&nothing).iter().any(|finding| finding.level == Error));
}

#[test]
fn the_addons_folder_and_the_cache_must_be_safe() {
    let mut machine = machine();
    machine.expect("addons_dir", Fine, "does not exist", "");
    machine.expect("addon_cache", Fine, "made with the first addon", "");
    let mode = |name: &str, mode| {
        let path = machine.folder.path().join(name);
        fs::create_dir_all(&path).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    };
    mode("data/addons", 0o755);
    mode("data/addon-cache", 0o700);
    machine.expect("addons_dir", Fine, "0 addons", "");
    machine.expect("addon_cache", Fine, "private", "");
    mode("data/addons", 0o777);
    mode("data/addon-cache", 0o770);
    machine.expect("addons_dir", Error, "everyone may write", "chmod o-w '");
    machine.expect("addon_cache", Error, "open to other users (mode 0770)", "rm -r '");
    mode("data/addons", 0o755);
    machine.write("data/addons/notes.txt", "");
    machine.expect("addons_dir", Warn, "1 of 1 entries", "elsewhere");
    machine.input.addons_dir = Some(machine.folder.path().join("data/addons/notes.txt"));
    machine.expect("addons_dir", Error, "is not a folder", "addons.dir");
}
