//! The unix socket: a file that only the daemon's user and group may connect to.

use std::fs::{self, DirBuilder};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt as _, FileTypeExt as _, PermissionsExt as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use tokio::net::UnixListener;

/// Makes the socket. One that a daemon left behind when it was killed is replaced; one that somebody answers at is not.
pub(super) fn listen(path: &Path) -> io::Result<UnixListener> {
    if let Ok(meta) = fs::symlink_metadata(path) {
        if !meta.file_type().is_socket() {
            let text = format!("{} is there and no socket", path.display());
            return Err(io::Error::new(ErrorKind::AlreadyExists, text));
        }
        if UnixStream::connect(path).is_ok() {
            let text = format!("somebody else answers at {}", path.display());
            return Err(io::Error::new(ErrorKind::AddrInUse, text));
        }
        fs::remove_file(path)?;
    }
    // Made where nobody else comes in, so that nobody connects before its rights are set.
    let folder = path.parent().unwrap_or(Path::new("/"));
    let nursery = folder.join(format!(".lowtide-{}", std::process::id()));
    DirBuilder::new().mode(0o700).create(&nursery)?;
    let made = || {
        let place = nursery.join("s");
        let listener = UnixListener::bind(&place)?;
        fs::set_permissions(&place, fs::Permissions::from_mode(0o660))?;
        fs::rename(&place, path)?;
        Ok(listener)
    };
    let listener = made();
    let _ = fs::remove_dir_all(&nursery);
    listener
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_socket_that_was_left_behind_is_replaced_and_one_in_use_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lowtide.sock");
        let first = listen(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o660);
        assert_eq!(listen(&path).unwrap_err().kind(), ErrorKind::AddrInUse);
        drop(first);
        assert!(path.exists() && listen(&path).is_ok());
        fs::remove_file(&path).unwrap();
        fs::write(&path, "mine").unwrap();
        assert_eq!(listen(&path).unwrap_err().kind(), ErrorKind::AlreadyExists);
        assert_eq!(fs::read(&path).unwrap(), b"mine");
    }
}
