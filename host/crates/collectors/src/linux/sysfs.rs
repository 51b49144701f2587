//! Small attributes of sysfs (kernel Documentation/filesystems/sysfs.rst: one value a file), read afresh each time. For the slow
//! collectors only: it allocates. Nothing here decides what a value means.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// Bytes of one attribute: sysfs gives at most a page.
const ATTRIBUTE_BYTES_MAX: u64 = 4096;

/// Entries of one directory: far above what any class of devices has; more are not looked at.
const ENTRIES_MAX: usize = 4096;

/// The text of an attribute without blanks around it.
///
/// # Errors
/// What the system said; also when it is not UTF-8.
pub(crate) fn text(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(ATTRIBUTE_BYTES_MAX).read_to_string(&mut text)?;
    text.truncate(text.trim_end().len());
    Ok(text.trim_start().to_owned())
}

/// The whole number in an attribute.
///
/// # Errors
/// What the system said; `InvalidData` when it is not a number.
pub(crate) fn number(path: &Path) -> io::Result<i64> {
    text(path)?.parse().map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

/// The names in a directory, sorted as people would (`temp2` before `temp10`), so that series keep their order. Empty when it
/// is not there.
pub(crate) fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten().take(ENTRIES_MAX);
    let mut names: Vec<String> = entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort_by_cached_key(|name| {
        let digits = name.find(|c: char| c.is_ascii_digit()).unwrap_or(name.len());
        let (word, rest) = name.split_at(digits);
        let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        (word.to_owned(), rest.get(..end).and_then(|number| number.parse::<u64>().ok()), name.clone())
    });
    names
}

/// The last part of what a symbolic link points to, which for a `device` link is the device's stable name on its bus.
pub(crate) fn link_name(path: &Path) -> Option<String> {
    let target: PathBuf = fs::read_link(path).ok()?;
    Some(target.file_name()?.to_str()?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_in_the_order_of_their_numbers() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["temp10_input", "temp2_input", "temp1_label", "name", "temp1_input"] {
            fs::write(dir.path().join(name), "1\n").unwrap();
        }
        assert_eq!(names(dir.path()), ["name", "temp1_input", "temp1_label", "temp2_input", "temp10_input"]);
        assert!(names(Path::new("/nowhere")).is_empty());
    }

    #[test]
    fn a_number_is_trimmed_and_checked() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("temp1_input");
        fs::write(&path, " -5000\n").unwrap();
        assert_eq!(number(&path).unwrap(), -5000);
        fs::write(&path, "hot\n").unwrap();
        assert_eq!(number(&path).unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
}
