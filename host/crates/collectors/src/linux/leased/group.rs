//! What the work in one control group of version 2 uses (kernel Documentation/admin-guide/cgroup-v2.rst). The core files are there without
//! any controller; what a controller would tell and is not there is left out.

use super::Used;
use crate::linux::pressure::{self, Totals};
use crate::linux::procfile::{ProcFile, Records};
use crate::linux::text::{self, Fields};
use crate::linux::usage::{self, Bytes, Devices};
use std::path::{Path, PathBuf};

/// How the group of a lease begins. Who runs work under a lease gives it a group of such a name; another group is not taken for leased.
const NAME: &str = "lowtide-run-";

/// The folder of a group of leased work; `None` when the path is none of such a group. It is a client's word, so it must not lead out of
/// the tree.
pub(super) fn folder(root: &Path, path: &str) -> Option<PathBuf> {
    let inner = path.strip_prefix('/')?;
    let plain = inner.split('/').all(|part| !matches!(part, "" | "." | ".."));
    let named = inner.rsplit('/').next()?.starts_with(NAME);
    (plain && named).then(|| root.join(inner))
}

/// Where version 2 of control groups is mounted: alone, or beside version 1 (systemd's hybrid layout). `None` where it is not.
pub(super) fn root(sys_dir: &Path) -> Option<PathBuf> {
    let folder = sys_dir.join("fs/cgroup");
    let roots = [folder.clone(), folder.join("unified")];
    roots.into_iter().find(|root| root.join("cgroup.controllers").is_file())
}

/// The files of one group, kept open.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) folder: PathBuf,
    cpu: ProcFile,
    memory: ProcFile,
    io: ProcFile,
    pressures: [ProcFile; 3],
}

impl Group {
    pub(super) fn new(folder: PathBuf) -> Self {
        let file = |name, records| ProcFile::small(folder.join(name), records);
        Self {
            cpu: file("cpu.stat", Records::One),
            memory: file("memory.current", Records::One),
            io: file("io.stat", Records::One),
            pressures: ["cpu.pressure", "memory.pressure", "io.pressure"]
                .map(|name| file(name, Records::One)),
            folder,
        }
    }

    /// Processor time and pressure; `None` when the group is gone.
    pub(super) fn quick(&mut self) -> Option<Used> {
        let (cpu, nice) = self.cpu.parse(parse_cpu).ok()?;
        let [waiting, memory, io] = &mut self.pressures;
        let total = |file: &mut ProcFile, full: fn(Totals) -> Option<u64>| {
            file.parse(pressure::parse).ok().and_then(full)
        };
        let stalls = [
            total(waiting, |totals| Some(totals.some)),
            total(memory, |totals| totals.full),
            total(io, |totals| totals.full),
        ];
        Some(Used { cpu_micros: cpu, nice_micros: nice, stalls, ..Used::default() })
    }

    /// The same with memory and I/O, where the group has those controllers.
    pub(super) fn whole(&mut self, devices: &mut Devices) -> Option<Used> {
        let quick = self.quick()?;
        let memory = self.memory.parse(|bytes| usage::parse_number(bytes).ok_or("a number"));
        // What passes through several devices must not be subtracted several times: that would hide load of others.
        let mut counts = |device: &str| devices.counts(device);
        let io = self.io.parse(|bytes| usage::parse_io_stat(bytes, &mut counts).ok_or("bytes by device"));
        let (memory_bytes, io_bytes) = (memory.ok(), io.ok().map(Bytes::total));
        Some(Used { memory_bytes, io_bytes, ..quick })
    }
}

/// `usage_usec` and the part of it that is niced, in microseconds. Kernels before 6.14 do not tell that part: then it is all user time,
/// because work under a lease is niced.
fn parse_cpu(bytes: &[u8]) -> Result<(u64, u64), &'static str> {
    let (mut usage, mut user, mut nice) = (None, None, None);
    for line in text::lines(bytes)? {
        let mut fields = Fields(line);
        let place = match fields.word() {
            Some(b"usage_usec") => &mut usage,
            Some(b"user_usec") => &mut user,
            Some(b"nice_usec") => &mut nice,
            _ => continue,
        };
        *place = fields.number();
    }
    let usage = usage.ok_or("usage_usec")?;
    Ok((usage, nice.or(user).unwrap_or(0).min(usage)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_groups_of_leased_work_within_the_tree_are_taken() {
        let folder = |path| folder(Path::new("/cg"), path);
        for path in ["/lowtide-run-7-0123456789abcdef", "/user.slice/u/lowtide-run-7-00.scope"] {
            assert_eq!(folder(path), Some(PathBuf::from(format!("/cg{path}"))));
        }
        for path in
            ["/", "", "lowtide-run-7", "/system.slice/ssh.service", "/a/../lowtide-run-7", "/./lowtide-run-7"]
        {
            assert_eq!(folder(path), None, "{path}");
        }
        assert_eq!(folder("/lowtide-run-7/.."), None);
        assert_eq!(folder("//etc/lowtide-run-7"), None);
        assert_eq!(folder("/lowtide-run-7/system.slice"), None);
    }

    #[test]
    fn what_is_niced_is_told_or_is_all_that_is_the_users() {
        let old = b"usage_usec 100\nuser_usec 70\nsystem_usec 30\n";
        assert_eq!(parse_cpu(old), Ok((100, 70)));
        let new = b"usage_usec 100\nuser_usec 70\nsystem_usec 30\nnice_usec 5\nnr_periods 0\n";
        assert_eq!(parse_cpu(new), Ok((100, 5)));
        assert_eq!(parse_cpu(b"user_usec 70\n"), Err("usage_usec"));
    }
}
