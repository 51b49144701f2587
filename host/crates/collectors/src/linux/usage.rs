//! The files that tell what a process and a cgroup use: /proc/PID/stat and io (proc_pid_stat(5), proc_pid_io(5)), and cpu.stat,
//! memory.current, memory.stat and io.stat of a version 2 cgroup (kernel Documentation/admin-guide/cgroup-v2.rst). Parsers are
//! pure; [`Folder`] reads. What the numbers mean is decided by who asks: `units`, `leased` and `process`.

use crate::linux::text::{self, Fields};
use rustix::fs::{Dir, Mode, OFlags};
use rustix::io::Errno;
use std::collections::HashMap;
use std::fs;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

/// Bytes of one file: the largest, /proc/PID/cgroup in version 1, has a dozen paths of at most a few hundred bytes. What is
/// larger is not taken.
const FILE_BYTES_MAX: usize = 16 << 10;

/// Bytes read and written since the start of what they are counted for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Bytes {
    pub(crate) read: u64,
    pub(crate) written: u64,
}

impl Bytes {
    /// What came since `before`; nothing of a counter that fell.
    pub(crate) fn since(self, before: Self) -> Self {
        let read = self.read.saturating_sub(before.read);
        Self { read, written: self.written.saturating_sub(before.written) }
    }

    /// Both together.
    pub(crate) fn plus(self, other: Self) -> Self {
        let read = self.read.saturating_add(other.read);
        Self { read, written: self.written.saturating_add(other.written) }
    }

    /// Read or written.
    pub(crate) fn total(self) -> u64 {
        self.read.saturating_add(self.written)
    }
}

/// What is read from /proc/PID/stat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stat<'a> {
    /// The name of the program, which the process may choose: any bytes.
    pub(crate) comm: &'a [u8],
    /// Whether it runs, or waits for a processor or a disk.
    pub(crate) runs: bool,
    /// The process that started it, or took it over; 0 for one from outside this pid namespace.
    pub(crate) parent: u64,
    /// The process group; 0 for threads of the kernel, and for a group led from outside this pid namespace.
    pub(crate) group: u64,
    /// Whether it is a thread of the kernel.
    pub(crate) is_kernel: bool,
    /// User time in clock ticks, without that of children.
    pub(crate) user_ticks: u64,
    /// System time in clock ticks, without that of children.
    pub(crate) system_ticks: u64,
    /// User time in clock ticks of the children that were waited for, and of theirs.
    pub(crate) children_user_ticks: u64,
    /// System time in clock ticks of the children that were waited for, and of theirs.
    pub(crate) children_system_ticks: u64,
    /// Whether it is nicer than others (nice above 0).
    pub(crate) is_niced: bool,
    /// Threads.
    pub(crate) threads: u64,
    /// Clock ticks from boot to the start of the process.
    pub(crate) started_ticks: u64,
    /// Address space.
    pub(crate) virtual_bytes: u64,
    /// Pages in RAM.
    pub(crate) resident_pages: u64,
}

impl Stat<'_> {
    /// User and system time in clock ticks, without that of children.
    pub(crate) fn cpu_ticks(&self) -> u64 {
        self.user_ticks.saturating_add(self.system_ticks)
    }
}

/// The bit of the flags in /proc/PID/stat that threads of the kernel have (PF_KTHREAD, include/linux/sched.h).
pub(crate) const KERNEL_THREAD: u64 = 0x0020_0000;

/// Parses /proc/PID/stat. The name in parentheses may hold anything, also blanks and parentheses: the last one counts.
///
/// # Errors
/// In words, what is not as documented.
pub(crate) fn parse_stat(bytes: &[u8]) -> Result<Stat<'_>, &'static str> {
    // A process may put a line end into its name, so that the file is one line only for honest ones.
    let line = bytes.strip_suffix(b"\n").ok_or(text::CUT_SHORT)?;
    let named = |bracket: u8| move |byte: &u8| *byte == bracket;
    let (from, to) = line
        .iter()
        .position(named(b'('))
        .zip(line.iter().rposition(named(b')')))
        .ok_or("a name in parentheses")?;
    let comm = line.get(from + 1..to).ok_or("a name in parentheses")?;
    let mut fields = Fields(line.get(to + 1..).unwrap_or_default());
    let skip = |fields: &mut Fields<'_>, count: usize| (0..count).all(|_| fields.word().is_some());
    let runs = matches!(fields.word(), Some(b"R" | b"D"));
    let parent = fields.number().ok_or("ppid")?;
    let group = fields.number().ok_or("pgrp")?;
    // What is passed over may be negative.
    skip(&mut fields, 3);
    let flags = fields.number().ok_or("flags")?;
    skip(&mut fields, 4);
    let user_ticks = fields.number().ok_or("utime")?;
    let system_ticks = fields.number().ok_or("stime")?;
    let children_user_ticks = fields.number().ok_or("cutime")?;
    let children_system_ticks = fields.number().ok_or("cstime")?;
    skip(&mut fields, 1);
    let nice = fields.word().ok_or("nice")?;
    let threads = fields.number().ok_or("num_threads")?;
    skip(&mut fields, 1);
    let started_ticks = fields.number().ok_or("starttime")?;
    let virtual_bytes = fields.number().ok_or("vsize")?;
    let resident_pages = fields.number().ok_or("rss")?;
    Ok(Stat {
        comm,
        runs,
        parent,
        group,
        is_kernel: flags & KERNEL_THREAD != 0,
        user_ticks,
        system_ticks,
        children_user_ticks,
        children_system_ticks,
        is_niced: !nice.starts_with(b"-") && nice != b"0",
        threads,
        started_ticks,
        virtual_bytes,
        resident_pages,
    })
}

/// Parses /proc/PID/io: bytes that went to or came from a device, not from the page cache.
///
/// # Errors
/// In words, what is not as documented.
pub(crate) fn parse_io(bytes: &[u8]) -> Result<Bytes, &'static str> {
    let (mut read, mut written) = (None, None);
    for line in text::lines(bytes)? {
        if let Some(rest) = line.strip_prefix(b"read_bytes:") {
            read = Fields(rest).number();
        } else if let Some(rest) = line.strip_prefix(b"write_bytes:") {
            written = Fields(rest).number();
        }
    }
    Ok(Bytes { read: read.ok_or("read_bytes")?, written: written.ok_or("write_bytes")? })
}

/// The number behind a word at the start of a line: `usage_usec` of cpu.stat, `inactive_file` of memory.stat.
pub(crate) fn parse_key(bytes: &[u8], key: &[u8]) -> Option<u64> {
    text::lines(bytes).ok()?.find_map(|line| {
        let mut fields = Fields(line);
        (fields.word() == Some(key)).then(|| fields.number()).flatten()
    })
}

/// The number that is all of a file: memory.current.
pub(crate) fn parse_number(bytes: &[u8]) -> Option<u64> {
    Fields(text::lines(bytes).ok()?.next()?).number()
}

/// Parses io.stat: the sum over the devices that `counts` accepts by their `major:minor`. A unit that has not used a device has an
/// empty file. `None` when it cannot be understood.
pub(crate) fn parse_io_stat(bytes: &[u8], mut counts: impl FnMut(&str) -> bool) -> Option<Bytes> {
    let mut sum = Bytes::default();
    if bytes.is_empty() {
        return Some(sum);
    }
    for line in text::lines(bytes).ok()? {
        let mut fields = Fields(line);
        let Some(device) = fields.word() else { continue };
        let mut one = Bytes::default();
        while let Some(word) = fields.word() {
            if let Some(value) = word.strip_prefix(b"rbytes=") {
                one.read = Fields(value).number()?;
            } else if let Some(value) = word.strip_prefix(b"wbytes=") {
                one.written = Fields(value).number()?;
            }
        }
        if counts(device_number(device)?) {
            sum = sum.plus(one);
        }
    }
    Some(sum)
}

/// `major:minor` and nothing else: it becomes part of a path.
fn device_number(word: &[u8]) -> Option<&str> {
    let (_, rest) = text::leading_number(word)?;
    let (_, rest) = text::leading_number(rest.strip_prefix(b":")?)?;
    std::str::from_utf8(word).ok().filter(|_| rest.is_empty())
}

/// Which block devices count in io.stat. A device that is made of others (dm, md, loop) counts the same bytes once more, and zram is
/// memory: the kernel has them all below `virtual/block` (kernel Documentation/ABI/stable/sysfs-block).
#[derive(Debug)]
pub(crate) struct Devices {
    dir: PathBuf,
    virtual_ones: HashMap<Box<str>, bool>,
}

impl Devices {
    /// None is known yet.
    pub(crate) fn new(sys_dir: &Path) -> Self {
        Self { dir: sys_dir.join("dev/block"), virtual_ones: HashMap::new() }
    }

    /// Whether the bytes of the device with this `major:minor` count. Asked of the kernel once.
    pub(crate) fn counts(&mut self, device: &str) -> bool {
        if let Some(known) = self.virtual_ones.get(device) {
            return !known;
        }
        let link = fs::read_link(self.dir.join(device)).unwrap_or_default();
        let is_virtual = link.to_string_lossy().contains("/virtual/block/");
        self.virtual_ones.insert(device.into(), is_virtual);
        !is_virtual
    }

    /// Asks anew: a number may belong to another device later.
    pub(crate) fn forget(&mut self) {
        self.virtual_ones.clear();
    }
}

/// A folder whose files are read by their path below it, without asking for the folder's own path each time.
#[derive(Debug)]
pub(crate) struct Folder(OwnedFd);

impl Folder {
    /// Opens it.
    ///
    /// # Errors
    /// What open(2) said.
    pub(crate) fn open(path: &Path) -> rustix::io::Result<Self> {
        rustix::fs::open(path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).map(Self)
    }

    /// The numbers among the names in it, as the system hands them out: in /proc, process ids from the lowest on.
    ///
    /// # Errors
    /// What getdents(2) said.
    pub(crate) fn numbers(&self, count_max: usize) -> rustix::io::Result<Vec<u32>> {
        let mut found = Vec::new();
        for entry in Dir::read_from(&self.0)? {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            let Some((number, [])) = text::leading_number(name) else { continue };
            found.extend(u32::try_from(number).ok());
            if found.len() >= count_max {
                break;
            }
        }
        Ok(found)
    }

    /// Whether there is something of that name in it.
    pub(crate) fn has(&self, name: &str) -> bool {
        rustix::fs::accessat(&self.0, name, rustix::fs::Access::EXISTS, rustix::fs::AtFlags::empty()).is_ok()
    }

    /// Reads a file into `buffer`. The kernel hands each of these files out as one record, so one read is all of it.
    ///
    /// # Errors
    /// What open(2) and read(2) said; `FBIG` for a file of [`FILE_BYTES_MAX`] or more.
    pub(crate) fn read<'b>(&self, name: &str, buffer: &'b mut Buffer) -> rustix::io::Result<&'b [u8]> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOCTTY;
        let file = rustix::fs::openat(&self.0, name, flags, Mode::empty())?;
        let count = rustix::io::retry_on_intr(|| rustix::io::read(&file, &mut *buffer.0))?;
        buffer.0.get(..count).filter(|_| count < FILE_BYTES_MAX).ok_or(Errno::FBIG)
    }
}

/// Room for one file, used again and again.
#[derive(Debug)]
pub(crate) struct Buffer(Vec<u8>);

impl Default for Buffer {
    fn default() -> Self {
        Self(vec![0; FILE_BYTES_MAX])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fields_of_a_process_are_found_behind_any_name() {
        for name in ["ffmpeg", "(sd-pam)", "a) S 1 (b", "", "tmux: server", "x\ny"] {
            let line = format!(
                "4711 ({name}) S 1 4700 4711 0 -1 4194560 9 0 0 0 250 50 7 8 20 0 14 0 98765 73400320 2560 18\n"
            );
            let expected = Stat {
                comm: name.as_bytes(),
                runs: false,
                parent: 1,
                group: 4_700,
                is_kernel: false,
                user_ticks: 250,
                system_ticks: 50,
                children_user_ticks: 7,
                children_system_ticks: 8,
                is_niced: false,
                threads: 14,
                started_ticks: 98_765,
                virtual_bytes: 73_400_320,
                resident_pages: 2_560,
            };
            assert_eq!(parse_stat(line.as_bytes()), Ok(expected), "{name:?}");
        }
        let niced = b"7 (b) D 1 7 7 0 -1 4194304 9 0 0 0 11 22 33 44 39 19 3 0 100 0 0\n";
        assert!(parse_stat(niced).is_ok_and(|stat| stat.is_niced && stat.runs && stat.cpu_ticks() == 33));
        let favoured = b"7 (b) S 1 7 7 0 -1 4194304 9 0 0 0 11 22 33 44 15 -5 3 0 100 0 0\n";
        assert!(parse_stat(favoured).is_ok_and(|stat| !stat.is_niced && !stat.runs));
        let thread = b"83 (kworker/3:1) I 2 0 0 0 -1 69238880 0 0 0 0 0 12 0 0 20 0 1 0 5 0 0 18\n";
        assert!(parse_stat(thread).is_ok_and(|stat| stat.is_kernel && stat.group == 0));
        assert_eq!(parse_stat(b"1 (x) S 0 1"), Err(text::CUT_SHORT));
        assert_eq!(parse_stat(b"1 (x) S 0 1\n"), Err("flags"));
        assert_eq!(parse_stat(b"1 (x) S 1 2 3\n"), Err("flags"));
        assert_eq!(parse_stat(b"1 )x( S 0 1\n"), Err("a name in parentheses"));
        assert!(parse_stat(b"\n").is_err());
    }

    #[test]
    fn bytes_of_processes_and_cgroups_are_found() {
        let io = b"rchar: 9\nwchar: 9\nsyscr: 1\nsyscw: 1\nread_bytes: 4096\nwrite_bytes: 8192\ncancelled_write_bytes: 0\n";
        assert_eq!(parse_io(io), Ok(Bytes { read: 4_096, written: 8_192 }));
        assert!(parse_io(b"read_bytes: 1\n").is_err());
        let stat = b"usage_usec 1500\nuser_usec 1000\nsystem_usec 500\n";
        assert_eq!(parse_key(stat, b"usage_usec"), Some(1_500));
        assert_eq!(parse_key(stat, b"usage"), None);
        assert_eq!(parse_number(b"8192\n"), Some(8_192));
        assert_eq!(parse_number(b"max\n"), None);
        let io = b"8:0 rbytes=100 wbytes=20 rios=1 wios=1 dbytes=0 dios=0\n253:0 rbytes=100 wbytes=20\n8:16 rbytes=3\n259:0 \n";
        assert_eq!(parse_io_stat(io, |device| device != "253:0"), Some(Bytes { read: 103, written: 20 }));
        assert_eq!(parse_io_stat(b"", |_| true), Some(Bytes::default()));
        for wrong in [&b"8:0 rbytes=x\n"[..], b"8:0/.. rbytes=1\n", b"../x rbytes=1\n", b"8:0 rbytes=1"] {
            assert_eq!(parse_io_stat(wrong, |_| true), None);
        }
    }

    #[test]
    fn devices_made_of_others_do_not_count() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("dev/block");
        fs::create_dir_all(&folder).unwrap();
        let link = |to: &str, name: &str| std::os::unix::fs::symlink(to, folder.join(name)).unwrap();
        link("../../devices/pci0000:00/0000:00:04.0/virtio1/block/vda", "254:0");
        link("../../devices/virtual/block/dm-0", "253:0");
        let mut devices = Devices::new(dir.path());
        assert!(devices.counts("254:0") && !devices.counts("253:0") && devices.counts("8:0"));
        fs::remove_file(folder.join("253:0")).unwrap();
        assert!(!devices.counts("253:0"));
        devices.forget();
        assert!(devices.counts("253:0"));
    }

    #[test]
    fn only_numbers_count_as_processes() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["1", "42", "self", "7x", "99999999999"] {
            std::fs::create_dir(dir.path().join(name)).unwrap();
        }
        let folder = Folder::open(dir.path()).unwrap();
        let mut found = folder.numbers(10).unwrap();
        found.sort_unstable();
        assert_eq!(found, [1, 42]);
        assert_eq!(folder.numbers(1).unwrap().len(), 1);
        assert!(folder.has("42") && !folder.has("43"));
    }

    #[test]
    fn a_file_that_is_too_large_is_not_taken() {
        let dev = Folder::open(Path::new("/dev")).unwrap();
        let mut buffer = Buffer::default();
        assert_eq!(dev.read("zero", &mut buffer).err(), Some(Errno::FBIG));
        assert_eq!(dev.read("null", &mut buffer).ok(), Some(&[][..]));
    }
}
