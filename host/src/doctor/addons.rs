//! The checks of the addons folder and of the cache of compiled addons. What is wrong with single addons the daemon tells.

use super::data::quoted;
use super::{Finding, lower};
use crate::config::ADDON_CACHE_DIR;
use lowtide_addons::discover::{self, ScanError};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Whether addons can be found, with the very look that the daemon has.
pub(super) fn folder(addons_dir: &Path) -> Finding {
    const CHECK: &str = "addons_dir";
    let shown = addons_dir.display();
    let fix = |error: &ScanError| match error {
        ScanError::Unreadable { .. } => format!("sudo chmod -R a+rX {}", quoted(addons_dir)),
        ScanError::NotAFolder(_) => "set addons.dir to a folder".to_owned(),
        ScanError::WorldWritable(_) => format!("chmod o-w {}", quoted(addons_dir)),
        ScanError::TooManyEntries(_) => format!("move what is no addon out of {}", quoted(addons_dir)),
    };
    match discover::scan(addons_dir) {
        Ok(_) if !addons_dir.exists() => {
            Finding::ok(CHECK, format!("{shown} does not exist; addons are loaded when it does"))
        }
        Ok(found) if found.rejected.is_empty() => {
            Finding::ok(CHECK, format!("{} addons are in {shown}", found.candidates.len()))
        }
        Ok(found) => {
            let of_all = found.candidates.len() + found.rejected.len();
            let reasons: Vec<String> =
                found.rejected.iter().map(|one| one.error.to_string()).take(5).collect();
            let message = format!(
                "{} of {of_all} entries in {shown} cannot be loaded: {}",
                found.rejected.len(),
                reasons.join("; ")
            );
            Finding::warn(CHECK, message, "do what is said of each, or move it elsewhere")
        }
        Err(error) => Finding::error(CHECK, error.to_string(), fix(&error)),
    }
}

/// Whether the cache is one that the daemon takes: whoever can write compiled code there runs it with the daemon's rights.
pub(super) fn cache(data_dir: &Path, effective_uid: u32) -> Finding {
    const CHECK: &str = "addon_cache";
    let path = data_dir.join(ADDON_CACHE_DIR);
    let shown = path.display();
    let remove = format!("sudo rm -r {}", quoted(&path));
    let metadata = match path.symlink_metadata() {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Finding::ok(CHECK, format!("{shown} is made with the first addon"));
        }
        Err(error) => {
            let message = format!("{shown} cannot be looked at: {}", lower(&error));
            return Finding::warn(CHECK, message, "run this as the user that runs lowtide");
        }
    };
    if !metadata.is_dir() {
        return Finding::error(CHECK, format!("{shown} is a link or a file, not a folder"), remove);
    }
    if metadata.uid() != effective_uid {
        let message = format!("{shown} belongs to user {}, not to user {effective_uid}", metadata.uid());
        return Finding::warn(CHECK, message, format!("sudo chown -R {effective_uid} {}", quoted(&path)));
    }
    let mode = metadata.mode() & 0o777;
    if mode & 0o077 != 0 {
        // Whoever could write there may have.
        let message = format!("{shown} is open to other users (mode {mode:04o}), so no addon is loaded");
        return Finding::error(CHECK, message, format!("{remove}; it is made anew"));
    }
    Finding::ok(CHECK, format!("{shown} is private"))
}
