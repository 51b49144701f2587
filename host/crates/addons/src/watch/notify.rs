//! Says when something may have changed in the addons folder: by inotify on Linux, else by the caller's polling.
//!
//! It never says what changed, and may speak up for nothing: a scan finds out.

use crate::discover::Scan;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Time between two scans while every change is told: only for what inotify can not see, such as the other side of a network folder
/// (a scan of a thousand addons each 5 s is less than 0.1 % of a core).
const POLL_TOLD: Duration = Duration::from_secs(5);

/// Time between two scans while changes are not told. A change still takes effect within a second.
const POLL_BLIND: Duration = Duration::from_millis(500);

/// Wakes its caller when something may have changed in the folder.
#[derive(Debug)]
pub(crate) struct Notifier {
    root: PathBuf,
    is_blind: bool,
    #[cfg(target_os = "linux")]
    inotify: Option<linux::Inotify>,
}

impl Notifier {
    /// Watches the folder, which need not exist yet. To be called within a tokio runtime that has I/O enabled, before the first scan.
    #[must_use]
    pub(crate) fn new(root: &Path) -> Self {
        let mut notifier = Self {
            root: root.to_owned(),
            is_blind: true,
            #[cfg(target_os = "linux")]
            inotify: linux::Inotify::new(),
        };
        notifier.follow(&Scan::default());
        notifier
    }

    /// Watches the folder and the folders in it as the last scan found them. To be called after each scan.
    pub(crate) fn follow(&mut self, scan: &Scan) {
        #[cfg(target_os = "linux")]
        if let Some(inotify) = &mut self.inotify {
            self.is_blind = !inotify.watch(&self.root, &scan.folders);
        }
        #[cfg(not(target_os = "linux"))]
        let _ = (scan, &self.root);
    }

    /// Scan after this time even if nothing was told.
    #[must_use]
    pub(crate) fn poll_interval(&self) -> Duration {
        if self.is_blind { POLL_BLIND } else { POLL_TOLD }
    }

    /// Waits until something may have changed; for ever where nothing is told. Can be dropped at any time without losing a change.
    pub(crate) async fn changed(&mut self) {
        #[cfg(target_os = "linux")]
        if let Some(inotify) = &mut self.inotify {
            inotify.changed().await;
            return;
        }
        std::future::pending::<()>().await;
    }
}

#[cfg(target_os = "linux")]
mod linux {
    use rustix::fd::OwnedFd;
    use rustix::fs::inotify::{CreateFlags, WatchFlags, add_watch, init, remove_watch};
    use rustix::io::Errno;
    use std::collections::BTreeSet;
    use std::path::{Path, PathBuf};
    use tokio::io::unix::AsyncFd;

    /// Reads of 4 KiB each that empty the kernel's queue of 16 384 events, whatever their names' lengths.
    const READS_MAX: usize = 1_024;

    #[derive(Debug)]
    pub(super) struct Inotify {
        fd: AsyncFd<OwnedFd>,
        watches: BTreeSet<i32>,
    }

    impl Inotify {
        /// None when the system has no more of them, or outside of a runtime.
        pub(super) fn new() -> Option<Self> {
            tokio::runtime::Handle::try_current().ok()?;
            let fd = init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC).ok()?;
            #[expect(
                deprecated,
                reason = "its unsoundness needs a type whose descriptor changes, and this one's never does; what replaces it is unsafe"
            )]
            let fd = AsyncFd::new(fd).ok()?;
            Some(Self { fd, watches: BTreeSet::new() })
        }

        /// Watches exactly these; false if one of them can not be watched. Watching what is watched already costs one system call.
        pub(super) fn watch(&mut self, root: &Path, folders: &[PathBuf]) -> bool {
            // Writes are not told one by one: what counts is that a file was closed, moved, made, removed or had its permissions changed.
            let events = WatchFlags::CLOSE_WRITE
                | WatchFlags::CREATE
                | WatchFlags::DELETE
                | WatchFlags::MOVE
                | WatchFlags::ATTRIB
                | WatchFlags::DELETE_SELF
                | WatchFlags::MOVE_SELF
                | WatchFlags::ONLYDIR;
            let mut watches = BTreeSet::new();
            let mut are_all = true;
            match add_watch(&self.fd, root, events) {
                Ok(watch) => _ = watches.insert(watch),
                Err(_) => are_all = false,
            }
            for folder in folders {
                match add_watch(&self.fd, folder, events | WatchFlags::DONT_FOLLOW) {
                    Ok(watch) => _ = watches.insert(watch),
                    // It went away since the scan, and the watch of the root tells that.
                    Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {}
                    Err(_) => are_all = false,
                }
            }
            for gone in self.watches.difference(&watches) {
                // The kernel drops those of removed folders by itself; this is for folders that were moved elsewhere.
                let _ = remove_watch(&self.fd, *gone);
            }
            self.watches = watches;
            are_all
        }

        pub(super) async fn changed(&mut self) {
            loop {
                let Ok(mut ready) = self.fd.readable().await else {
                    // The runtime shuts down.
                    return std::future::pending().await;
                };
                let mut buffer = [0; 4_096];
                let mut is_told = false;
                for _ in 0..READS_MAX {
                    match rustix::io::read(self.fd.get_ref(), &mut buffer) {
                        Ok(_) => is_told = true,
                        Err(Errno::INTR) => {}
                        Err(_) => {
                            ready.clear_ready();
                            break;
                        }
                    }
                }
                if is_told {
                    return;
                }
            }
        }
    }
}
