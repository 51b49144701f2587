//! The checks of the data folder: whether it can be used, who may look into it, and what it lies on. It creates nothing,
//! also not the folder.

use super::mounts::{self, Mount};
use super::{Finding, lower};
use rustix::fs::Access;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Free bytes below which a warning is due: room for weeks of history.
const FREE_BYTES_LOW: u64 = 1 << 30;

/// Free bytes below which writes will soon fail.
const FREE_BYTES_CRITICAL: u64 = 64 << 20;

pub(super) fn examine(data_dir: &Path, effective_uid: u32, mounts: &[Mount]) -> Vec<Finding> {
    let Some(existing) = data_dir.ancestors().find(|path| path.exists()) else {
        return vec![folder(data_dir, data_dir, effective_uid)];
    };
    // A link may lead to another file system.
    let real = existing.canonicalize().unwrap_or_else(|_| existing.to_owned());
    vec![
        folder(data_dir, existing, effective_uid),
        space(data_dir, &real),
        file_system(data_dir, &real, mounts),
    ]
}

fn folder(data_dir: &Path, existing: &Path, effective_uid: u32) -> Finding {
    const CHECK: &str = "data_dir";
    let shown = data_dir.display();
    let metadata = match existing.metadata() {
        Ok(metadata) => metadata,
        Err(error) => {
            let message = format!("{shown} cannot be looked at: {}", lower(&error));
            return Finding::error(
                CHECK,
                message,
                "set storage.data_dir to a folder of the user that runs lowtide",
            );
        }
    };
    if !metadata.is_dir() {
        let message = format!("{} is in the way, it is not a folder", existing.display());
        return Finding::error(CHECK, message, "set storage.data_dir to another place");
    }
    if let Err(error) = rustix::fs::access(existing, Access::WRITE_OK | Access::EXEC_OK) {
        let fix = format!("sudo install -d -m 0700 -o {effective_uid} {}", quoted(data_dir));
        let error = lower(&io::Error::from(error));
        return Finding::error(CHECK, format!("{} cannot be written to: {error}", existing.display()), fix);
    }
    if existing != data_dir {
        return Finding::ok(CHECK, format!("{shown} does not exist yet and can be created"));
    }
    if metadata.uid() != effective_uid {
        let message = format!("{shown} belongs to user {}, not to user {effective_uid}", metadata.uid());
        return Finding::warn(CHECK, message, format!("sudo chown -R {effective_uid} {}", quoted(data_dir)));
    }
    let mode = metadata.mode() & 0o777;
    if mode & 0o077 != 0 {
        let message = format!("{shown} is open to other users (mode {mode:04o})");
        return Finding::warn(CHECK, message, format!("chmod 0700 {}", quoted(data_dir)));
    }
    Finding::ok(CHECK, format!("{shown} can be written to and is private"))
}

fn space(data_dir: &Path, existing: &Path) -> Finding {
    match rustix::fs::statvfs(existing) {
        Ok(stat) => space_finding(data_dir, stat.f_bavail.saturating_mul(stat.f_frsize)),
        Err(error) => {
            let message =
                format!("the free space of {} is not told: {}", data_dir.display(), lower(&error.into()));
            Finding::warn("data_dir_space", message, format!("df {}", quoted(existing)))
        }
    }
}

pub(super) fn space_finding(data_dir: &Path, free_bytes: u64) -> Finding {
    const CHECK: &str = "data_dir_space";
    let message = format!("{} MiB are free for {}", free_bytes >> 20, data_dir.display());
    let fix = "make room, or set storage.data_dir to a larger file system";
    match free_bytes {
        0..FREE_BYTES_CRITICAL => Finding::error(CHECK, message, fix),
        FREE_BYTES_CRITICAL..FREE_BYTES_LOW => Finding::warn(CHECK, message, fix),
        FREE_BYTES_LOW.. => Finding::ok(CHECK, message),
    }
}

pub(super) fn file_system(data_dir: &Path, existing: &Path, mounts: &[Mount]) -> Finding {
    const CHECK: &str = "data_dir_filesystem";
    let shown = data_dir.display();
    let fix = "set storage.data_dir to a folder on a local disk";
    let Some(mount) = mounts::of_path(mounts, existing) else {
        return Finding::ok(CHECK, format!("what {shown} lies on is not told"));
    };
    let kind = mount.kind.as_str();
    match kind {
        "tmpfs" | "ramfs" => Finding::warn(
            CHECK,
            format!("{shown} is in memory ({kind}): everything in it is gone after a reboot"),
            fix,
        ),
        "overlay" => Finding::warn(
            CHECK,
            format!("{shown} is in the container's own layer: everything in it is gone with the container"),
            format!("mount a volume at {}", quoted(data_dir)),
        ),
        "nfs" | "nfs4" | "cifs" | "smb3" | "9p" | "ceph" | "fuse.sshfs" | "fuse.glusterfs"
        | "fuse.rclone" => Finding::warn(
            CHECK,
            format!("{shown} is on the network ({kind}): locks and fsync may not hold"),
            fix,
        ),
        _ => Finding::ok(CHECK, format!("{shown} is on {kind}")),
    }
}

/// A path that a shell takes as one word.
pub(super) fn quoted(path: &Path) -> String {
    format!("'{}'", path.display().to_string().replace('\'', "'\\''"))
}
