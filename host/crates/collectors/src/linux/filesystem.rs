//! Space and files of local file systems from /proc/self/mountinfo (proc_pid_mountinfo(5)) and statvfs(3). Network and
//! user-space file systems are left out unless named, because statvfs on a dead server hangs. The table in `lib.rs` makes it,
//! the runner runs it every 30 s.

use super::procfile::{ProcFile, Records};
use super::text::{self, Fields};
use crate::collector::{CollectError, Collector};
use crate::config::CollectConfig;
use crate::glob;
pub(crate) use crate::host::filesystem::info;
use crate::host::filesystem::{
    AVAILABLE, AVAILABLE_RATIO, DATA_AVAILABLE_RATIO, FILES, FILES_FREE, READ_ONLY, SIZE, USED_RATIO,
};
use lowtide_core::metric::{MetricDef, SampleBuffer};
use lowtide_core::units::MonoTime;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

/// File systems that live on a local disk. Read-only images (squashfs, erofs, iso9660) are always full and say nothing.
const LOCAL: [&str; 22] = [
    "apfs", "bcachefs", "btrfs", "exfat", "ext2", "ext3", "ext4", "f2fs", "fuseblk", "hfs", "hfsplus", "jfs",
    "msdos", "nilfs2", "ntfs", "ntfs3", "reiserfs", "ubifs", "udf", "vfat", "xfs", "zfs",
];

/// File systems that are looked at; a host with more has most of them for containers.
const FILE_SYSTEMS_MAX: usize = 256;

/// Sizes of a file system as statvfs(3) gives them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Space {
    /// Bytes in all.
    pub(crate) size_bytes: u64,
    /// Bytes that nobody uses, some of them kept for root.
    pub(crate) free_bytes: u64,
    /// Bytes that users can have.
    pub(crate) available_bytes: u64,
    /// Files there is room for; 0 where that is not limited.
    pub(crate) files: u64,
    /// Files that can still be made.
    pub(crate) files_free: u64,
}

impl Space {
    fn available_ratio(&self) -> Option<f64> {
        (self.size_bytes > 0).then(|| self.available_bytes as f64 / self.size_bytes as f64)
    }

    /// As df(1): the part kept for root counts neither as used nor as free.
    fn used_ratio(&self) -> Option<f64> {
        let used = self.size_bytes.saturating_sub(self.free_bytes);
        let usable = used.saturating_add(self.available_bytes);
        (usable > 0).then(|| used as f64 / usable as f64)
    }
}

/// Asks the system for a file system's sizes. A function, so that the golden tests can put numbers in its place.
pub(crate) type AskSpace = fn(&Path) -> io::Result<Space>;

/// statvfs(3).
pub(crate) fn ask_space(path: &Path) -> io::Result<Space> {
    let found = rustix::fs::statvfs(path)?;
    let bytes = |blocks: u64| blocks.saturating_mul(found.f_frsize);
    Ok(Space {
        size_bytes: bytes(found.f_blocks),
        free_bytes: bytes(found.f_bfree),
        available_bytes: bytes(found.f_bavail),
        files: found.f_files,
        files_free: found.f_ffree,
    })
}

/// One line of mountinfo.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mount {
    /// Major and minor number, the same for all mounts of one file system.
    device_number: String,
    mount_point: String,
    read_only: bool,
    fstype: String,
    /// What is mounted, for example `/dev/sda1`.
    source: String,
}

/// Parses mountinfo: `36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue`.
///
/// # Errors
/// In words, what is not as documented.
pub(crate) fn parse(bytes: &[u8]) -> Result<Vec<Mount>, &'static str> {
    let mut mounts = Vec::new();
    for line in text::lines(bytes)? {
        mounts.push(parse_line(line).ok_or("a line as in proc_pid_mountinfo(5)")?);
    }
    Ok(mounts)
}

fn parse_line(line: &[u8]) -> Option<Mount> {
    let mut fields = Fields(line);
    fields.number().and_then(|_| fields.number())?;
    let device_number = String::from_utf8_lossy(fields.word()?).into_owned();
    let _root = fields.word()?;
    let mount_point = unescape(fields.word()?);
    let options = fields.word()?;
    // Any number of optional fields, then a dash.
    while fields.word()? != b"-" {}
    let fstype = unescape(fields.word()?);
    let source = unescape(fields.word().unwrap_or(b"none"));
    let read_only = |options: &[u8]| options.split(|byte| *byte == b',').any(|option| option == b"ro");
    // A file system that was remounted read-only after an error shows it in its own options only.
    let read_only = read_only(options) || read_only(fields.word().unwrap_or_default());
    mount_point.starts_with('/').then_some(Mount { device_number, mount_point, read_only, fstype, source })
}

/// Blanks, tabs, line ends and backslashes are written as `\` and three octal digits.
fn unescape(word: &[u8]) -> String {
    let mut plain = Vec::with_capacity(word.len());
    let mut rest = word;
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        let octal = |digits: &[u8; 3]| {
            let all_octal = digits.iter().all(|digit| (b'0'..=b'7').contains(digit));
            let value =
                digits.iter().fold(0_u32, |value, digit| value * 8 + u32::from(digit.wrapping_sub(b'0')));
            u8::try_from(value).ok().filter(|_| all_octal)
        };
        match (byte, after.split_first_chunk::<3>().and_then(|(digits, after)| Some((octal(digits)?, after))))
        {
            (b'\\', Some((unescaped, after))) => {
                plain.push(unescaped);
                rest = after;
            }
            _ => plain.push(*byte),
        }
    }
    String::from_utf8_lossy(&plain).into_owned()
}

/// The collector.
#[derive(Debug)]
pub(crate) struct Filesystem {
    mounts: ProcFile,
    root_dir: PathBuf,
    data_dir: Option<PathBuf>,
    exclude: Vec<String>,
    include_remote: Vec<String>,
    ask: AskSpace,
}

/// Where the mounts are listed. In a container that sees its host's procfs in another folder, `self` would be this process with
/// the container's own mounts; the host's are those of its first process.
fn mountinfo(proc_dir: &Path) -> &'static str {
    let foreign = proc_dir != Path::new("/proc") && proc_dir.join("1/mountinfo").exists();
    if foreign { "1/mountinfo" } else { "self/mountinfo" }
}

impl Filesystem {
    /// Reads nothing but which of two files there is.
    pub(crate) fn new(config: &CollectConfig, ask: AskSpace) -> Self {
        Self {
            mounts: ProcFile::new(&config.proc_dir, mountinfo(&config.proc_dir), Records::Many),
            root_dir: config.root_dir.clone(),
            data_dir: config.data_dir.clone(),
            exclude: config.filesystem_exclude.clone(),
            include_remote: config.filesystem_include_remote.clone(),
            ask,
        }
    }

    /// The mounts to look at, by mount point: one for each file system, the one with the shortest mount point.
    fn choose(&self, mounts: Vec<Mount>) -> Vec<Mount> {
        // What is mounted later on the same place hides what was there.
        let visible: BTreeMap<String, Mount> =
            mounts.into_iter().map(|mount| (mount.mount_point.clone(), mount)).collect();
        let data_mount = self.data_dir.as_ref().and_then(|dir| {
            let around = visible.values().filter(|mount| dir.starts_with(&mount.mount_point));
            around.max_by_key(|mount| mount.mount_point.len()).map(|mount| mount.mount_point.clone())
        });
        let always =
            |mount: &Mount| mount.mount_point == "/" || Some(&mount.mount_point) == data_mount.as_ref();
        let asked_for = |mount: &Mount| {
            let named = self.include_remote.contains(&mount.mount_point);
            let local = LOCAL.contains(&mount.fstype.as_str());
            (local || named) && !glob::matches_any(&self.exclude, &mount.mount_point)
        };
        let mut chosen: Vec<Mount> =
            visible.values().filter(|mount| always(mount) || asked_for(mount)).cloned().collect();
        // Bind mounts and subvolumes show the same file system again.
        chosen.sort_by_key(|mount| mount.mount_point.len());
        let mut numbers = std::collections::BTreeSet::new();
        chosen.retain(|mount| numbers.insert(mount.device_number.clone()));
        chosen.sort_by(|one, other| one.mount_point.cmp(&other.mount_point));
        chosen.truncate(FILE_SYSTEMS_MAX);
        chosen
    }

    fn data_space(&self) -> Result<Option<Space>, CollectError> {
        // Before the first start of the daemon the folder may not be there yet; its parent is on the same file system.
        let existing = self.data_dir.as_ref().and_then(|dir| dir.ancestors().find(|dir| dir.exists()));
        existing.map(|dir| (self.ask)(dir).map_err(|error| CollectError::io(dir, error))).transpose()
    }
}

impl Collector for Filesystem {
    fn collect(&mut self, _at: MonoTime, out: &mut SampleBuffer) -> Result<(), CollectError> {
        let mounts = self.mounts.parse(parse)?;
        let mut asked = Vec::new();
        let mut failure = None;
        for mount in self.choose(mounts) {
            let path = self.root_dir.join(mount.mount_point.trim_start_matches('/'));
            match (self.ask)(&path) {
                Ok(space) => asked.push((mount, space)),
                // The verdict looks at this one: not knowing it must be seen.
                Err(error) if mount.mount_point == "/" => return Err(CollectError::io(&path, error)),
                // One that was just unmounted, or that we may not look at, does not hide the others.
                Err(error) => failure = Some(CollectError::io(&path, error)),
            }
        }
        if let (true, Some(error)) = (asked.is_empty(), failure) {
            return Err(error);
        }
        let data_space = self.data_space()?;
        let mut all = |metric: &'static MetricDef, value: &dyn Fn(&Mount, &Space) -> Option<f64>| {
            for (mount, space) in &asked {
                if let Some(value) = value(mount, space) {
                    out.push(metric, &[&mount.mount_point, &mount.source, &mount.fstype], value);
                }
            }
        };
        all(SIZE, &|_, space| Some(space.size_bytes as f64));
        all(AVAILABLE, &|_, space| Some(space.available_bytes as f64));
        all(USED_RATIO, &|_, space| space.used_ratio());
        all(AVAILABLE_RATIO, &|_, space| space.available_ratio());
        all(FILES, &|_, space| (space.files > 0).then_some(space.files as f64));
        all(FILES_FREE, &|_, space| (space.files > 0).then_some(space.files_free as f64));
        all(READ_ONLY, &|mount, _| Some(f64::from(mount.read_only)));
        if let Some(ratio) = data_space.and_then(|space| space.available_ratio()) {
            out.push(DATA_AVAILABLE_RATIO, &[], ratio);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(lines: &str, config: &CollectConfig) -> Vec<String> {
        let collector = Filesystem::new(config, |_| Ok(Space::default()));
        let mounts = collector.choose(parse(lines.as_bytes()).unwrap());
        mounts.into_iter().map(|mount| mount.mount_point).collect()
    }

    const MOUNTS: &str = "\
22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
23 22 0:21 / /proc rw - proc proc rw
24 22 8:1 /srv /very/long/bind rw - ext4 /dev/sda1 rw
25 22 8:17 / /mnt/my\\040disk ro,noatime - xfs /dev/sdb1 rw
26 22 0:45 / /mnt/nas rw - nfs4 nas:/export rw,vers=4.2
27 22 0:50 / /snap/core/1 ro - squashfs /dev/loop0 ro
28 22 0:51 / /run/user/1000/doc rw master:3 propagate_from:2 - fuse.portal portal rw
29 22 8:33 / /old rw - ext4 /dev/sdc1 ro,errors=remount-ro
30 22 8:34 / /old rw - ext4 /dev/sdc2 rw
";

    #[test]
    fn local_file_systems_are_chosen_once_each() {
        assert_eq!(chosen(MOUNTS, &CollectConfig::default()), ["/", "/mnt/my disk", "/old"]);
    }

    #[test]
    fn remote_ones_must_be_named_and_the_data_folder_always_counts() {
        let config = CollectConfig {
            filesystem_include_remote: vec!["/mnt/nas".into()],
            filesystem_exclude: vec!["/old".into(), "/".into()],
            ..CollectConfig::default()
        };
        assert_eq!(chosen(MOUNTS, &config), ["/", "/mnt/my disk", "/mnt/nas"]);
        let config = CollectConfig { data_dir: Some("/mnt/nas/lowtide".into()), ..CollectConfig::default() };
        assert_eq!(chosen(MOUNTS, &config), ["/", "/mnt/my disk", "/mnt/nas", "/old"]);
        let config = CollectConfig { data_dir: Some("/mnt/nasty".into()), ..CollectConfig::default() };
        assert_eq!(chosen(MOUNTS, &config), ["/", "/mnt/my disk", "/old"]);
    }

    #[test]
    fn lines_are_parsed_as_documented() {
        let mounts = parse(MOUNTS.as_bytes()).unwrap();
        assert!(mounts[3].read_only && mounts[7].read_only && !mounts[0].read_only);
        assert_eq!((mounts[3].source.as_str(), mounts[6].fstype.as_str()), ("/dev/sdb1", "fuse.portal"));
        assert!(parse(b"22 1 8:1 / / rw,relatime shared:1 ext4 /dev/sda1 rw\n").is_err());
        assert!(parse(b"22 1 8:1 / home rw - ext4 /dev/sda1 rw\n").is_err());
    }

    #[test]
    fn escapes_are_undone_and_other_backslashes_kept() {
        for (text, expected) in [
            ("a\\040b", "a b"),
            ("\\134", "\\"),
            ("x\\999", "x\\999"),
            ("end\\04", "end\\04"),
            ("\\777", "\\777"),
        ] {
            assert_eq!(unescape(text.as_bytes()), expected);
        }
    }

    #[test]
    fn used_and_available_leave_out_what_is_kept_for_root() {
        let space = Space { size_bytes: 1000, free_bytes: 400, available_bytes: 350, ..Space::default() };
        assert_eq!(space.available_ratio(), Some(0.35));
        assert_eq!(space.used_ratio(), Some(600.0 / 950.0));
        assert_eq!(Space::default().used_ratio(), None);
    }
}
