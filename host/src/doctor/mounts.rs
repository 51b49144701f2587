//! The mount table as the checks need it: kinds, places and options. Only parses `/proc/self/mountinfo`; asks no file system.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

/// One mounted file system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mount {
    pub(super) point: PathBuf,
    pub(super) kind: String,
    options: String,
}

impl Mount {
    /// The value of an option of the file system.
    pub(super) fn option(&self, name: &str) -> Option<&str> {
        self.options.split(',').find_map(|option| option.strip_prefix(name)?.strip_prefix('='))
    }
}

/// All mounts, in the order of mounting; none when the table cannot be read.
pub(super) fn read(proc_dir: &Path) -> Vec<Mount> {
    let text = super::read(&proc_dir.join("self/mountinfo")).unwrap_or_default();
    text.lines().filter_map(parse).collect()
}

/// The mount that a path lies on: the longest mount point before it, and of two at one place the later one.
pub(super) fn of_path<'a>(mounts: &'a [Mount], path: &Path) -> Option<&'a Mount> {
    let covering = mounts.iter().filter(|mount| path.starts_with(&mount.point));
    covering.max_by_key(|mount| mount.point.components().count())
}

/// A line of proc(5) mountinfo: six fields, optional ones up to a lone dash, then type, source and options.
fn parse(line: &str) -> Option<Mount> {
    let (place, file_system) = line.split_once(" - ")?;
    let point = unescape(place.split(' ').nth(4)?);
    let mut fields = file_system.split(' ');
    let kind = fields.next()?.to_owned();
    let options = fields.nth(1).unwrap_or_default().to_owned();
    Some(Mount { point, kind, options })
}

/// The kernel writes blanks and backslashes in paths as three octal digits.
fn unescape(text: &str) -> PathBuf {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let octal = tail.get(..3).and_then(|digits| std::str::from_utf8(digits).ok());
        match octal.and_then(|digits| u8::from_str_radix(digits, 8).ok()).filter(|_| *first == b'\\') {
            Some(byte) => {
                bytes.push(byte);
                rest = tail.get(3..).unwrap_or_default();
            }
            None => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    OsString::from_vec(bytes).into()
}
