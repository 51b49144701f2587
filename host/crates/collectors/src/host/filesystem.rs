//! Definitions of the filesystem collector. Only the table of metrics; `linux/filesystem.rs` and `portable.rs` measure them.

use crate::define::{self, NONE, metrics};
use lowtide_core::metric::Text;
use lowtide_core::report::CollectorInfo;
use std::time::Duration;

const MOUNT: &[Text] = &[Text::Borrowed("mountpoint"), Text::Borrowed("device"), Text::Borrowed("fstype")];

metrics! {
    SIZE = gauge("host_filesystem_size_bytes", Bytes, MOUNT, "Size of the file system (statvfs(3)).");
    AVAILABLE = gauge("host_filesystem_available_bytes", Bytes, MOUNT, "Space that a user without privileges can still fill (statvfs(3), f_bavail).");
    USED_RATIO = gauge("host_filesystem_used_ratio", Ratio, MOUNT, "Space in use as share of what users can have, as df(1) gives it.");
    AVAILABLE_RATIO = gauge("host_filesystem_available_ratio", Ratio, MOUNT, "Space available to users as share of the size.");
    FILES = gauge("host_filesystem_files", Count, MOUNT, "Files that the file system has room for; only where it is limited (statvfs(3), f_files).");
    FILES_FREE = gauge("host_filesystem_files_free", Count, MOUNT, "Files that can still be made (statvfs(3), f_ffree).");
    READ_ONLY = gauge("host_filesystem_read_only", Count, MOUNT, "1 when the file system is mounted read-only, otherwise 0.");
    DATA_AVAILABLE_RATIO = gauge("host_filesystem_data_available_ratio", Ratio, NONE, "Space available as share of the size, on the file system of the daemon's data folder.");
}

/// Who the collector is.
pub(crate) fn info() -> CollectorInfo {
    let help = "Space and files of each local file system.";
    define::info(("filesystem", "host"), "host_filesystem_", help, Duration::from_secs(30), &METRICS)
}
