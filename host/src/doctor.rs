//! `lowtide doctor`: what on this machine keeps Lowtide from measuring well, and the line that mends it. It only looks,
//! creates nothing and changes nothing. The command line calls it, also when no daemon runs.
//!
//! A check is one function that returns one [`Finding`] with a stable name; add it to [`examine`].

mod addons;
mod data;
mod mounts;
#[cfg(test)]
mod tests;

use lowtide_core::limits::PROC_FILE_BYTES_MAX;
use lowtide_core::units::WallTime;
use mounts::Mount;
use serde::Serialize;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// 2025-01-01T00:00:00Z. A clock before the program was written has not been set: small boards start in 1970 without network.
const EARLIEST_WALL: WallTime = WallTime(1_735_689_600_000);

/// Open files that Lowtide may need at worst: a few hundred connections and event streams, /proc and data files, addons.
/// It is what systemd gives a service by default.
const OPEN_FILES_WANTED: u64 = 1_024;

/// What the examination looks at. Folders are replaceable, so that a test needs no real machine.
#[derive(Clone, Debug)]
pub struct DoctorInput {
    /// Where `/proc` is seen.
    pub proc_dir: PathBuf,
    /// Where `/sys` is seen.
    pub sys_dir: PathBuf,
    /// Where the root folder is seen.
    pub root_dir: PathBuf,
    /// The data folder; `None` when the configuration does not tell.
    pub data_dir: Option<PathBuf>,
    /// The addons folder; `None` when the configuration does not tell.
    pub addons_dir: Option<PathBuf>,
    /// How many mistakes the configuration has, and the first of them.
    pub config: Result<(), ConfigTrouble>,
    /// The effective user.
    pub effective_uid: u32,
    /// The wall clock.
    pub wall: WallTime,
}

/// What is wrong with the configuration, in short.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigTrouble {
    /// Number of mistakes.
    pub mistakes: usize,
    /// The first one as text.
    pub first: String,
}

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FindingLevel {
    /// As it should be.
    Ok,
    /// Lowtide works, but less well.
    Warn,
    /// Something does not work.
    Error,
}

/// The result of one check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Stable name of the check.
    pub check: &'static str,
    /// How bad it is.
    pub level: FindingLevel,
    /// What was found.
    pub message: String,
    /// One line to paste or to do.
    pub fix: Option<String>,
}

impl Finding {
    fn ok(check: &'static str, message: impl Into<String>) -> Self {
        Self { check, level: FindingLevel::Ok, message: message.into(), fix: None }
    }

    fn warn(check: &'static str, message: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { check, level: FindingLevel::Warn, message: message.into(), fix: Some(fix.into()) }
    }

    fn error(check: &'static str, message: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { check, level: FindingLevel::Error, message: message.into(), fix: Some(fix.into()) }
    }
}

/// Runs every check, in a fixed order.
#[must_use]
pub fn examine(input: &DoctorInput) -> Vec<Finding> {
    let mounts = mounts::read(&input.proc_dir);
    let container = container_name(input, &mounts);
    let mut findings = vec![
        config(input),
        root_user(input),
        proc_files(input),
        hidepid(input, &mounts),
        psi(input, container.is_some()),
        cgroup(&mounts),
        container_finding(container.as_deref(), &mounts),
        sensors(input),
        clock(input),
        open_files(input),
    ];
    if let Some(data_dir) = &input.data_dir {
        findings.extend(data::examine(data_dir, input.effective_uid, &mounts));
    }
    findings.extend(input.addons_dir.as_deref().map(addons::folder));
    findings.extend(input.data_dir.as_deref().map(|data_dir| addons::cache(data_dir, input.effective_uid)));
    findings
}

fn config(input: &DoctorInput) -> Finding {
    match &input.config {
        Ok(()) => Finding::ok("config", "the configuration is valid"),
        Err(ConfigTrouble { mistakes, first }) => {
            let message = format!("the configuration has {mistakes} mistakes, the first: {first}");
            Finding::error("config", message, "lowtide config check")
        }
    }
}

fn root_user(input: &DoctorInput) -> Finding {
    if input.effective_uid != 0 {
        return Finding::ok("root_user", format!("runs as user {}, not as root", input.effective_uid));
    }
    let message = "runs as root, which nothing that is measured needs";
    Finding::warn(
        "root_user",
        message,
        "put User=lowtide or DynamicUser=yes into the [Service] section of the unit",
    )
}

fn proc_files(input: &DoctorInput) -> Finding {
    let needed = ["stat", "meminfo", "loadavg", "uptime", "diskstats", "net/dev"];
    let broken: Vec<String> = needed
        .iter()
        .filter_map(|name| {
            let path = input.proc_dir.join(name);
            read(&path).err().map(|error| format!("{} ({})", path.display(), lower(&error)))
        })
        .collect();
    if broken.is_empty() {
        return Finding::ok("proc_files", format!("{} tells what is measured", input.proc_dir.display()));
    }
    let fix = "mount the host's /proc read-only into the container and set collectors.proc_dir to it";
    Finding::error("proc_files", format!("cannot be read: {}", broken.join(", ")), fix)
}

fn hidepid(input: &DoctorInput, mounts: &[Mount]) -> Finding {
    let proc_mount = mounts.iter().rev().find(|mount| mount.kind == "proc" && mount.point == input.proc_dir);
    let option =
        proc_mount.and_then(|mount| mount.option("hidepid")).filter(|value| !["0", "off"].contains(value));
    match option {
        Some(value) if input.effective_uid != 0 => {
            let message = format!(
                "{} hides the processes of other users (hidepid={value}): busy programs and port holders cannot be named",
                input.proc_dir.display()
            );
            let fix = "add SupplementaryGroups= with the group of the gid= option of /proc, or mount /proc without hidepid";
            Finding::warn("hidepid", message, fix)
        }
        _ => Finding::ok("hidepid", "processes of other users can be seen"),
    }
}

fn psi(input: &DoctorInput, in_container: bool) -> Finding {
    const CHECK: &str = "psi";
    let folder = input.proc_dir.join("pressure");
    let errors: Vec<(&str, io::Error)> = ["cpu", "memory", "io"]
        .into_iter()
        .filter_map(|name| Some((name, read(&folder.join(name)).err()?)))
        .collect();
    let Some((name, error)) = errors.first() else {
        return Finding::ok(CHECK, "pressure stall information (PSI) can be read");
    };
    if error.kind() == io::ErrorKind::PermissionDenied {
        let message = format!("{}/{name} is there but may not be read", folder.display());
        let fix = "take ProtectProc=, ProcSubset= or the container's masking of /proc/pressure away";
        return Finding::warn(CHECK, message, fix);
    }
    let message = "the kernel gives no pressure stall information (PSI): the quiet score falls back on CPU use, load and \
                   disk busy time, with less confidence";
    Finding::warn(CHECK, message, psi_fix(input, in_container))
}

/// Kernels of Raspberry Pi OS and of the RHEL family are built with PSI but have it switched off.
fn psi_fix(input: &DoctorInput, in_container: bool) -> &'static str {
    let model = read(&input.proc_dir.join("device-tree/model")).unwrap_or_default();
    if in_container {
        "add psi=1 to the kernel command line of the machine that this container runs on, then reboot it"
    } else if model.contains("Raspberry Pi") {
        "sudo sed -i '1 s/$/ psi=1/' /boot/firmware/cmdline.txt && sudo reboot"
    } else if input.root_dir.join("etc/default/grub").exists() {
        "add psi=1 to GRUB_CMDLINE_LINUX in /etc/default/grub, then: sudo update-grub && sudo reboot"
    } else {
        "add psi=1 to the kernel command line in the boot loader's configuration, then reboot"
    }
}

fn cgroup(mounts: &[Mount]) -> Finding {
    const CHECK: &str = "cgroup";
    let v1 = mounts.iter().any(|mount| mount.kind == "cgroup");
    let v2 = mounts.iter().any(|mount| mount.kind == "cgroup2");
    let fix = "add systemd.unified_cgroup_hierarchy=1 to the kernel command line, then reboot";
    let why = "freezing heavy commands as a whole will need version 2";
    match (v1, v2) {
        (false, true) => Finding::ok(CHECK, "cgroup version 2"),
        (true, true) => Finding::warn(CHECK, format!("cgroups are hybrid, version 1 and 2: {why}"), fix),
        (true, false) => Finding::warn(CHECK, format!("cgroups are of version 1: {why}"), fix),
        (false, false) => {
            Finding::warn(CHECK, format!("no cgroups are mounted: {why}"), "mount /sys/fs/cgroup")
        }
    }
}

/// The kind of container that the measured folders belong to. With the host's folders mounted in, that is none.
fn container_name(input: &DoctorInput, mounts: &[Mount]) -> Option<String> {
    let told = read(&input.root_dir.join("run/systemd/container")).ok();
    let told = told.map(|name| name.trim().to_owned()).filter(|name| !name.is_empty());
    let has = |file: &str| input.root_dir.join(file).exists();
    let marker = || {
        let markers = [(".dockerenv", "docker"), ("run/.containerenv", "podman")];
        markers.iter().find(|(file, _)| has(file)).map(|(_, name)| (*name).to_owned())
    };
    let by_cgroup = || {
        let groups = read(&input.proc_dir.join("1/cgroup")).ok()?;
        let names = ["docker", "kubepods", "containerd", "libpod", "lxc"];
        names.into_iter().find(|name| groups.contains(name)).map(str::to_owned)
    };
    let by_lxcfs = || is_lxcfs(mounts).then(|| "lxc".to_owned());
    let name = told.or_else(marker).or_else(by_cgroup).or_else(by_lxcfs)?;
    // The text comes from a file that anyone in the container may write.
    Some(name.chars().filter(|c| !c.is_control()).take(32).collect())
}

fn is_lxcfs(mounts: &[Mount]) -> bool {
    mounts.iter().any(|mount| mount.kind == "fuse.lxcfs" && mount.point.starts_with("/proc"))
}

fn container_finding(container: Option<&str>, mounts: &[Mount]) -> Finding {
    const CHECK: &str = "container";
    let Some(name) = container else { return Finding::ok(CHECK, "measures a machine, not a container") };
    let what = if is_lxcfs(mounts) {
        "lxcfs shows the container's own memory and CPUs, disks and pressure may be the host's"
    } else {
        "load, memory and CPU use may be those of the whole host"
    };
    let fix = "to measure the host, mount its /proc, /sys and / read-only and set collectors.proc_dir, sys_dir and root_dir";
    Finding::warn(CHECK, format!("runs in a container ({name}): {what}"), fix)
}

fn sensors(input: &DoctorInput) -> Finding {
    const CHECK: &str = "sensors";
    let is_input = |name: &str| name == "temp" || name.starts_with("temp") && name.ends_with("_input");
    let found = ["class/hwmon", "class/thermal"]
        .iter()
        .flat_map(|class| names(&input.sys_dir.join(class)))
        .flat_map(|device| names(&device))
        .any(|file| file.file_name().and_then(|name| name.to_str()).is_some_and(is_input));
    if found {
        return Finding::ok(CHECK, "temperature sensors are there");
    }
    let message = "no temperature sensor was found: heat cannot stop heavy work";
    Finding::warn(
        CHECK,
        message,
        "on a real machine: sudo apt install lm-sensors && sudo sensors-detect; else nothing",
    )
}

fn clock(input: &DoctorInput) -> Finding {
    const CHECK: &str = "clock";
    if input.wall < EARLIEST_WALL {
        let message = "the wall clock is before 2025, so times in the history will be wrong";
        return Finding::warn(CHECK, message, "sudo timedatectl set-ntp true");
    }
    let path = input.sys_dir.join("devices/system/clocksource/clocksource0/current_clocksource");
    let source = read(&path).unwrap_or_default();
    let source = source.trim();
    if ["hpet", "acpi_pm", "jiffies", "refined-jiffies"].contains(&source) {
        let message =
            format!("the kernel uses the slow clock source {source}: every timestamp costs a microsecond");
        return Finding::warn(CHECK, message, "look in `dmesg | grep -i clocksource` why tsc was given up");
    }
    Finding::ok(CHECK, "the clock is set")
}

fn open_files(input: &DoctorInput) -> Finding {
    const CHECK: &str = "open_files";
    let limits = read(&input.proc_dir.join("self/limits")).unwrap_or_default();
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
    let soft = line.and_then(|line| line.split_whitespace().next());
    match soft.map(|soft| (soft, soft.parse::<u64>())) {
        Some((soft, Ok(limit))) if limit < OPEN_FILES_WANTED => {
            let message = format!("only {soft} files may be open, {OPEN_FILES_WANTED} may be needed");
            let fix = format!(
                "put LimitNOFILE={OPEN_FILES_WANTED} into the [Service] section of the unit, or run ulimit -n"
            );
            Finding::warn(CHECK, message, fix)
        }
        Some((soft, _)) => Finding::ok(CHECK, format!("{soft} files may be open")),
        None => Finding::ok(CHECK, "the limit of open files is not told"),
    }
}

fn names(folder: &Path) -> Vec<PathBuf> {
    fs::read_dir(folder)
        .map(|entries| entries.flatten().map(|entry| entry.path()).collect())
        .unwrap_or_default()
}

/// Reads a file of `/proc`, `/sys` or a marker file, bounded.
fn read(path: &Path) -> io::Result<String> {
    let mut bytes = Vec::new();
    File::open(path)?.take(PROC_FILE_BYTES_MAX as u64).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn lower(error: &io::Error) -> String {
    error.to_string().to_lowercase()
}
