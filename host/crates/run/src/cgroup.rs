//! A control group of version 2 that holds the work: one write freezes all of it, whatever it starts. It is made below the group of the
//! front, or was made by systemd. Reading and writing the files of the kernel is all that happens here.

use crate::lines::Used;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

/// Processes that are moved out of a group at its end, at most: who starts more than that meanwhile keeps the group.
const LEAVE_PASSES_MAX: u32 = 16;

/// Where the tree is mounted, and which part of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    point: PathBuf,
    root: String,
}

impl Mount {
    /// The tree of version 2 on this machine, if there is one.
    #[must_use]
    pub fn find() -> Option<Self> {
        Self::parse(&fs::read_to_string("/proc/self/mountinfo").ok()?)
    }

    fn parse(mountinfo: &str) -> Option<Self> {
        mountinfo.lines().find_map(|line| {
            let (before, after) = line.split_once(" - ")?;
            let mut fields = before.split(' ').skip(3);
            let (root, point) = (fields.next()?, fields.next()?);
            let kind = after.split(' ').next()?;
            (kind == "cgroup2")
                .then(|| Self { point: PathBuf::from(unescaped(point)), root: unescaped(root) })
        })
    }

    /// The directory of a path as `/proc/PID/cgroup` tells it.
    fn directory(&self, path: &str) -> Option<PathBuf> {
        let root = self.root.trim_end_matches('/');
        let below = path.strip_prefix(root).filter(|rest| rest.is_empty() || rest.starts_with('/'))?;
        // Outside of what is mounted here: "/../.." (cgroup_namespaces(7)).
        let inside = !below.split('/').any(|part| part == "..");
        inside.then(|| self.point.join(below.trim_start_matches('/')))
    }
}

/// Blanks and the like stand as three octal digits in mountinfo.
fn unescaped(text: &str) -> String {
    ["\\040", "\\011", "\\012", "\\134"]
        .iter()
        .zip([" ", "\t", "\n", "\\"])
        .fold(text.to_owned(), |text, (code, plain)| text.replace(code, plain))
}

/// The path of a process within the tree of version 2.
#[must_use]
pub fn path_of(pid: i32) -> Option<String> {
    path_in(&fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?)
}

fn path_in(text: &str) -> Option<String> {
    text.lines().find_map(|line| line.strip_prefix("0::")).map(str::to_owned)
}

/// A control group that holds the work.
#[derive(Debug)]
pub struct Group {
    directory: PathBuf,
    path: String,
    freeze: File,
    /// We made it, so we remove it.
    made: bool,
}

impl Group {
    /// Makes a group of this name below the group of this process. What can be set so that its work gives way is set.
    ///
    /// # Errors
    /// When there is no such tree, it may not be changed, or the kernel cannot freeze groups (before Linux 5.2).
    pub fn make(name: &str) -> io::Result<Self> {
        let none =
            || io::Error::new(io::ErrorKind::NotFound, "there is no tree of control groups of version 2");
        let mount = Mount::find().ok_or_else(none)?;
        let own = path_of(rustix::process::getpid().as_raw_nonzero().get()).ok_or_else(none)?;
        let path = format!("{}/{name}", own.trim_end_matches('/'));
        let directory = mount.directory(&path).ok_or_else(none)?;
        if path.contains(char::is_control) || directory.to_str().is_none_or(|text| text.contains('\n')) {
            return Err(io::Error::other("the path of the own control group cannot be written in a line"));
        }
        fs::create_dir(&directory)?;
        let made = Self::open_at(directory.clone(), path, true);
        if made.is_err() {
            let _ = fs::remove_dir(&directory);
        }
        let made = made?;
        made.lower();
        Ok(made)
    }

    /// The group that this process is in, if its last part has this name.
    ///
    /// # Errors
    /// When it is in another, or the group may not be frozen.
    pub fn of(pid: i32, name: &str) -> io::Result<Self> {
        let other = || io::Error::other("the process is not in that control group");
        let path = path_of(pid).filter(|path| path.rsplit('/').next() == Some(name)).ok_or_else(other)?;
        let directory = Mount::find().and_then(|mount| mount.directory(&path)).ok_or_else(other)?;
        Self::open_at(directory, path, false)
    }

    fn open_at(directory: PathBuf, path: String, made: bool) -> io::Result<Self> {
        let freeze = OpenOptions::new().write(true).open(directory.join("cgroup.freeze"))?;
        Ok(Self { directory, path, freeze, made })
    }

    /// Its share is the least there is. Each file exists only if the controller is on for this part of the tree.
    fn lower(&self) {
        if self.write("cpu.idle", "1").is_err() {
            let _ = self.write("cpu.weight", "1");
        }
        let _ = self.write("io.weight", "default 1");
    }

    fn write(&self, file: &str, text: &str) -> io::Result<()> {
        // Not `fs::write`: it would make a file where the kernel has none.
        OpenOptions::new().write(true).open(self.directory.join(file))?.write_all(text.as_bytes())
    }

    fn read(&self, file: &str) -> io::Result<String> {
        fs::read_to_string(self.directory.join(file))
    }

    /// Its path within the tree, as `/proc/PID/cgroup` tells it.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Its directory.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Takes a process in.
    ///
    /// # Errors
    /// When it may not be moved.
    pub fn join(&self, pid: i32) -> io::Result<()> {
        self.write("cgroup.procs", &pid.to_string())
    }

    /// Lets all of it stand still, or go on.
    ///
    /// # Errors
    /// When the kernel refuses: the group is gone.
    pub fn freeze(&self, frozen: bool) -> io::Result<()> {
        self.freeze.write_all_at(if frozen { b"1" } else { b"0" }, 0)
    }

    /// Whether all of it stands still.
    #[must_use]
    pub fn is_frozen(&self) -> bool {
        self.read("cgroup.events").is_ok_and(|text| text.lines().any(|line| line == "frozen 1"))
    }

    /// Ends all of it at once.
    ///
    /// # Errors
    /// When the kernel cannot (before Linux 5.14).
    pub fn kill(&self) -> io::Result<()> {
        self.write("cgroup.kill", "1")
    }

    /// What it used. Disks are known only if their controller is on here.
    #[must_use]
    pub fn used(&self) -> Used {
        let cpu = self.read("cpu.stat").ok().and_then(|text| number_of(&text, "usage_usec"));
        let disks = self.read("io.stat").ok();
        let sum = |key| disks.as_deref().map(|text| sum_of(text, key));
        Used { cpu_ms: cpu.map(|us| us / 1_000), read_bytes: sum("rbytes="), written_bytes: sum("wbytes=") }
    }

    /// Lets what is left in it go on, gives it back to the group above, and removes the group if it was made here. False when that must be
    /// tried again: a process that is just ending can neither be moved nor left out of account.
    #[must_use]
    pub fn leave(&self) -> bool {
        leave(&self.directory, self.made)
    }
}

/// As [`Group::leave`], for a guard, which knows only the directory.
pub(crate) fn leave(directory: &Path, made: bool) -> bool {
    let _ = thaw(directory);
    let Some(parent) = directory.parent().filter(|_| made) else { return true };
    for _ in 0..LEAVE_PASSES_MAX {
        if !matches!(fs::remove_dir(directory), Err(error) if error.kind() == io::ErrorKind::ResourceBusy) {
            return true;
        }
        // What the command left behind lives on where it would have lived without us.
        let left = fs::read_to_string(directory.join("cgroup.procs")).unwrap_or_default();
        for pid in left.lines() {
            let _ = fs::OpenOptions::new()
                .write(true)
                .open(parent.join("cgroup.procs"))
                .and_then(|mut file| file.write_all(pid.as_bytes()));
        }
    }
    false
}

/// Lets a group go on.
pub(crate) fn thaw(directory: &Path) -> io::Result<()> {
    OpenOptions::new().write(true).open(directory.join("cgroup.freeze"))?.write_all(b"0")
}

fn number_of(text: &str, key: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(key)?.trim().parse().ok())
}

fn sum_of(text: &str, key: &str) -> u64 {
    let words = text.split_ascii_whitespace().filter_map(|word| word.strip_prefix(key)?.parse::<u64>().ok());
    words.fold(0, u64::saturating_add)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tree_is_found_wherever_it_is_mounted() {
        let hybrid = "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n32 31 0:29 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n41 31 0:38 / /sys/fs/cgroup/unified rw,relatime shared:9 - cgroup2 cgroup2 rw\n";
        let mount = Mount::parse(hybrid).unwrap();
        assert_eq!(mount.directory("/"), Some(PathBuf::from("/sys/fs/cgroup/unified")));
        assert_eq!(mount.directory("/a/b"), Some(PathBuf::from("/sys/fs/cgroup/unified/a/b")));
        assert_eq!(mount.directory("/../a"), None);
        let part = Mount::parse("30 23 0:26 /user.slice /mnt/my\\040tree rw - cgroup2 none rw\n").unwrap();
        assert_eq!(part.directory("/user.slice/a"), Some(PathBuf::from("/mnt/my tree/a")));
        assert_eq!(part.directory("/user.slicer/a"), None);
        assert_eq!(part.directory("/system.slice"), None);
        assert_eq!(Mount::parse("31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n"), None);
    }

    #[test]
    fn the_path_is_the_line_of_version_two() {
        assert_eq!(path_in("9:name=systemd:/x\n0::/a/b c\n").as_deref(), Some("/a/b c"));
        assert_eq!(path_in("9:name=systemd:/x\n"), None);
    }

    #[test]
    fn usage_is_summed_over_disks() {
        let text = "8:0 rbytes=10 wbytes=20 rios=1\n8:16 rbytes=5 wbytes=7\n";
        assert_eq!((sum_of(text, "rbytes="), sum_of(text, "wbytes=")), (15, 27));
        assert_eq!(number_of("usage_usec 5000\nuser_usec 1\n", "usage_usec"), Some(5_000));
    }
}
