//! From a path to the very file that is meant: links are followed only below a root, and what was found is held by a handle, so that
//! nothing can be put in its place between the check and the reading.
//!
//! It knows nothing of rules and addons; `host_data.rs` calls it. Finding a file does not open it for reading: a device or FIFO is
//! not touched.

use rustix::fs::{Mode, OFlags, openat};
use std::fs::{self, File, Metadata, ReadDir};
use std::io;
use std::path::{Component, Path, PathBuf};

/// A granted file or directory, opened. Links in its own path were followed: those are the operator's words.
pub(super) struct Root {
    handle: File,
    /// Where it really is.
    place: PathBuf,
}

/// A file or directory that was found below a root.
pub(super) struct Located {
    handle: File,
    /// Where it really is.
    place: PathBuf,
}

/// A handle that finds a file and cannot read it. Where the system has none, one that reads but does not wait.
#[cfg(target_os = "linux")]
const FIND: OFlags = OFlags::PATH.union(OFlags::CLOEXEC);
#[cfg(not(target_os = "linux"))]
const FIND: OFlags = OFlags::RDONLY.union(OFlags::NONBLOCK).union(OFlags::NOCTTY).union(OFlags::CLOEXEC);

impl Root {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let handle = File::from(openat(rustix::fs::CWD, path, FIND, Mode::empty())?);
        let place = place(&handle)?;
        Ok(Self { handle, place })
    }

    /// What `below` means; none when a link leads out of the root.
    pub(super) fn locate(self, below: &Path) -> io::Result<Option<Located>> {
        if below.as_os_str().is_empty() {
            return Ok(Some(Located { handle: self.handle, place: self.place }));
        }
        let Some(handle) = self.find(below)? else { return Ok(None) };
        let place = place(&handle)?;
        // With openat2 this always holds; without it this is what closes the gap between checking the path and opening it.
        Ok(place.starts_with(&self.place).then_some(Located { handle, place }))
    }

    #[cfg(target_os = "linux")]
    fn find(&self, below: &Path) -> io::Result<Option<File>> {
        use rustix::fs::{ResolveFlags, openat2};
        use rustix::io::Errno;

        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
        let mut tries = 0;
        loop {
            tries += 1;
            match openat2(&self.handle, below, FIND, Mode::empty(), resolve) {
                Ok(handle) => return Ok(Some(File::from(handle))),
                // Out of the root, or through a link that is not of text.
                Err(Errno::XDEV | Errno::LOOP) => return Ok(None),
                // Something was renamed meanwhile.
                Err(Errno::AGAIN) if tries < FIND_TRIES => {}
                // An old kernel, or a filter that does not know the call.
                Err(Errno::NOSYS | Errno::PERM) => return self.find_by_comparing(below),
                Err(error) => return Err(error.into()),
            }
        }
    }

    #[cfg(not(target_os = "linux"))]
    fn find(&self, below: &Path) -> io::Result<Option<File>> {
        self.find_by_comparing(below)
    }

    fn find_by_comparing(&self, below: &Path) -> io::Result<Option<File>> {
        let target = fs::canonicalize(self.place.join(below))?;
        if !target.starts_with(&self.place) {
            return Ok(None);
        }
        // The path has no link in it now; should one have come, the comparison after opening finds it.
        Ok(Some(File::from(openat(rustix::fs::CWD, &target, FIND | OFlags::NOFOLLOW, Mode::empty())?)))
    }
}

/// How often a search is begun anew when something on its way is renamed: whoever renames all the time gets an error.
#[cfg(target_os = "linux")]
const FIND_TRIES: u32 = 16;

impl Located {
    pub(super) fn metadata(&self) -> io::Result<Metadata> {
        self.handle.metadata()
    }

    /// Opens the file for reading. The caller has made sure that it is a regular one.
    pub(super) fn open_file(&self) -> io::Result<File> {
        // Some files of the kernel wait for events; then there is nothing to read now.
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        Ok(File::from(openat(rustix::fs::CWD, self.way(), flags, Mode::empty())?))
    }

    /// Begins to list the directory.
    pub(super) fn read_dir(&self) -> io::Result<ReadDir> {
        fs::read_dir(self.way())
    }

    /// A path that leads to what was found and to nothing else.
    #[cfg(target_os = "linux")]
    fn way(&self) -> PathBuf {
        handle_link(&self.handle)
    }

    #[cfg(not(target_os = "linux"))]
    fn way(&self) -> PathBuf {
        self.place.clone()
    }

    /// Why what was found stays shut, if it does, by where it really is.
    pub(super) fn shut_place(&self, proc_dir: &Path) -> io::Result<Option<&'static str>> {
        let proc_dir = fs::canonicalize(proc_dir).unwrap_or_else(|_| proc_dir.to_owned());
        let bases = [proc_dir.as_path(), Path::new("/proc")];
        let below_proc = bases.into_iter().find_map(|base| self.place.strip_prefix(base).ok());
        Ok(match below_proc {
            Some(below) => shut_in_proc(below, true),
            None if self.on_procfs()? => Some("it is in a /proc other than the machine's"),
            None => shut(&self.place),
        })
    }

    #[cfg(target_os = "linux")]
    fn on_procfs(&self) -> io::Result<bool> {
        let kind = rustix::fs::fstatfs(&self.handle)?.f_type;
        Ok(i128::from(kind) == i128::from(rustix::fs::PROC_SUPER_MAGIC))
    }

    #[cfg(not(target_os = "linux"))]
    fn on_procfs(&self) -> io::Result<bool> {
        Ok(false)
    }
}

/// Why a path stays shut whatever is granted, if it does.
pub(super) fn shut(path: &Path) -> Option<&'static str> {
    if path.starts_with("/dev") {
        return Some("devices are read by drivers");
    }
    shut_in_proc(path.strip_prefix("/proc").ok()?, false)
}

/// The same below `/proc`. `/proc/net` and `/proc/mounts` are links to the daemon's own; what they lead to, and nothing else of a
/// process, is open where it was `followed`.
fn shut_in_proc(below: &Path, followed: bool) -> Option<&'static str> {
    let mut parts = below.components().map(Component::as_os_str);
    let first = parts.next()?.to_str().unwrap_or_default();
    match first {
        "kcore" | "kmsg" | "vmcore" => Some("it is the memory or the messages of the kernel"),
        "self" | "thread-self" => Some("it tells of a single process"),
        _ if first.bytes().all(|byte| byte.is_ascii_digit()) => {
            let second = parts.next().and_then(|part| part.to_str()).unwrap_or_default();
            let shared = matches!(second, "net" | "mounts");
            (!(followed && shared)).then_some("it tells of a single process")
        }
        _ => None,
    }
}

#[cfg(target_os = "linux")]
fn handle_link(handle: &File) -> PathBuf {
    use std::os::fd::AsRawFd;
    PathBuf::from(format!("/proc/self/fd/{}", handle.as_raw_fd()))
}

/// Where an open file really is.
#[cfg(target_os = "linux")]
fn place(handle: &File) -> io::Result<PathBuf> {
    fs::read_link(handle_link(handle))
}

/// Where an open file really is.
#[cfg(not(target_os = "linux"))]
fn place(handle: &File) -> io::Result<PathBuf> {
    use std::os::unix::ffi::OsStringExt;
    let path = rustix::fs::getpath(handle)?;
    Ok(PathBuf::from(std::ffi::OsString::from_vec(path.into_bytes())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn the_way_without_openat2_refuses_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("root");
        fs::create_dir_all(root.join("deep")).unwrap();
        fs::write(root.join("deep/file"), b"in").unwrap();
        fs::write(folder.path().join("secret"), b"out").unwrap();
        symlink("deep/file", root.join("inner")).unwrap();
        symlink("../secret", root.join("outer")).unwrap();
        symlink("/proc/self/root/etc", root.join("magic")).unwrap();
        let opened = Root::open(&root).unwrap();
        for (below, found) in
            [("inner", true), ("deep/file", true), ("outer", false), ("magic", false), ("deep", true)]
        {
            assert_eq!(opened.find_by_comparing(Path::new(below)).unwrap().is_some(), found, "{below}");
            assert_eq!(opened.find(Path::new(below)).unwrap().is_some(), found, "{below}");
        }
        assert_eq!(
            opened.find_by_comparing(Path::new("missing")).unwrap_err().kind(),
            io::ErrorKind::NotFound
        );
        // A link that came after the comparison.
        let located = Root { handle: File::open(&root).unwrap(), place: root.join("deep") };
        assert!(located.locate(Path::new("inner")).unwrap().is_some());
        let elsewhere = Root { handle: File::open(&root).unwrap(), place: PathBuf::from("/elsewhere") };
        assert!(elsewhere.locate(Path::new("inner")).unwrap().is_none());
    }
}
