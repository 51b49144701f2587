//! The behaviour behind the import `host-data`: read-only looks at files, folders and ports that the operator granted.
//!
//! It opens nothing but regular files and folders, and nothing outside of what was granted, however links are laid; the parts of
//! `/proc` that tell of other processes stay shut whatever is granted. Looks at files block: the host calls them off its async
//! threads.

mod locate;

use crate::capabilities::DataRule;
use crate::caps::blocking::{Blocking, Hanging};
use crate::caps::log::clean;
use crate::fakes::Fakes;
use crate::id::AddonId;
use crate::limits;
use locate::{Located, Root};
use std::fs::{File, FileType};
use std::io::{self, Read};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Why a call did not do what was asked. The texts are for the addon and for its operator.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DataError {
    /// Not within what was granted.
    #[error("{0}")]
    NotGranted(String),
    /// There is no such file or directory.
    #[error("there is no such file or directory")]
    NotFound,
    /// The path or address is not one, or not of the kind that the call needs.
    #[error("{0}")]
    Invalid(String),
    /// The file or directory is larger than may be read.
    #[error("the file or directory is larger than may be read")]
    TooLarge,
    /// The host may not, or cannot, read it.
    #[error("{0}")]
    Unreadable(String),
}

impl From<Hanging> for DataError {
    fn from(hanging: Hanging) -> Self {
        Self::Unreadable(hanging.to_string())
    }
}

/// What a directory entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryKind {
    /// A regular file, or a link to one.
    File,
    /// A directory, or a link to one.
    Directory,
    /// Anything else, and links that lead nowhere or out of what was granted.
    Other,
}

/// One entry of a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its name, without the path. What is not UTF-8 in it is replaced.
    pub name: String,
    /// What it is.
    pub kind: EntryKind,
}

/// What is known of a file without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metadata {
    /// What it is.
    pub kind: EntryKind,
    /// Its size in bytes.
    pub size: u64,
    /// When its content was last changed: milliseconds since 1970, 0 for before.
    pub modified_ms: u64,
}

/// One addon's way to the machine.
#[derive(Debug)]
pub struct DataDesk {
    addon: AddonId,
    /// Granted paths, the longest first: the closest to what is asked knows best where links may lead.
    paths: Vec<PathBuf>,
    addresses: Vec<String>,
    proc_dir: PathBuf,
    sys_dir: PathBuf,
    fakes: Option<Arc<Fakes>>,
}

impl DataDesk {
    /// A way to what was granted. `proc_dir` and `sys_dir` are where `/proc` and `/sys` of the machine are found.
    #[must_use]
    pub fn new(addon: AddonId, rules: Vec<DataRule>, proc_dir: PathBuf, sys_dir: PathBuf) -> Self {
        let (mut paths, mut addresses) = (Vec::new(), Vec::new());
        for rule in rules {
            match rule {
                DataRule::Path(path) => paths.push(path),
                DataRule::Tcp(address) => addresses.push(address),
            }
        }
        paths.sort_by_key(|path| std::cmp::Reverse(path.components().count()));
        Self { addon, paths, addresses, proc_dir, sys_dir, fakes: None }
    }

    /// Looks at a made-up machine instead, if there is one.
    #[must_use]
    pub(crate) fn with_fakes(mut self, fakes: Option<&Arc<Fakes>>) -> Self {
        if let Some(fakes) = fakes {
            (self.proc_dir, self.sys_dir) = (fakes.root.join("proc"), fakes.root.join("sys"));
            self.fakes = Some(Arc::clone(fakes));
        }
        self
    }

    /// The content of a file. Blocks.
    ///
    /// # Errors
    /// See [`DataError`].
    pub fn read(&self, path: &str) -> Result<Vec<u8>, DataError> {
        let located = self.locate(&parse(path)?)?;
        let metadata = located.metadata().map_err(|error| failed(&error))?;
        if metadata.is_dir() {
            return Err(DataError::Invalid("it is a directory: list it, or name a file in it".to_owned()));
        }
        if !metadata.is_file() {
            return Err(DataError::Invalid(
                "it is neither a file nor a directory, and is not opened".to_owned(),
            ));
        }
        let most = u64::try_from(limits::DATA_FILE_BYTES_MAX).unwrap_or(u64::MAX);
        if metadata.len() > most {
            return Err(DataError::TooLarge);
        }
        // Files of the kernel have no size: only reading tells.
        let mut content = Vec::new();
        let file: File = located.open_file().map_err(|error| failed(&error))?;
        file.take(most + 1).read_to_end(&mut content).map_err(|error| failed(&error))?;
        if content.len() > limits::DATA_FILE_BYTES_MAX { Err(DataError::TooLarge) } else { Ok(content) }
    }

    /// The entries of a directory, sorted by name. Blocks.
    ///
    /// # Errors
    /// See [`DataError`].
    pub fn list_directory(&self, path: &str) -> Result<Vec<Entry>, DataError> {
        let path = parse(path)?;
        let located = self.locate(&path)?;
        if !located.metadata().map_err(|error| failed(&error))?.is_dir() {
            return Err(DataError::Invalid(
                "it is not a directory: read it, or name the folder it is in".to_owned(),
            ));
        }
        let mut entries = Vec::new();
        for entry in located.read_dir().map_err(|error| failed(&error))? {
            let entry = entry.map_err(|error| failed(&error))?;
            if entries.len() == limits::DATA_ENTRIES_MAX {
                return Err(DataError::TooLarge);
            }
            let kind = match entry.file_type() {
                Ok(kind) if kind.is_symlink() => self.kind_behind(&path.join(entry.file_name())),
                Ok(kind) => kind_of(kind),
                // It went while we looked.
                Err(_) => EntryKind::Other,
            };
            entries.push(Entry { name: entry.file_name().to_string_lossy().into_owned(), kind });
        }
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(entries)
    }

    /// What is known of a file or directory. Blocks.
    ///
    /// # Errors
    /// See [`DataError`].
    pub fn stat(&self, path: &str) -> Result<Metadata, DataError> {
        let metadata = self.locate(&parse(path)?)?.metadata().map_err(|error| failed(&error))?;
        let modified = metadata.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        let modified_ms = modified.and_then(|passed| u64::try_from(passed.as_millis()).ok()).unwrap_or(0);
        Ok(Metadata { kind: kind_of(metadata.file_type()), size: metadata.len(), modified_ms })
    }

    /// Whether something accepts a TCP connection on `host:port` within the time. Nothing is sent.
    ///
    /// # Errors
    /// When the address was not granted, the time is too long, or the name does not resolve.
    pub async fn tcp_accepts(
        &self,
        blocking: &Blocking,
        address: &str,
        within: Option<Duration>,
    ) -> Result<bool, DataError> {
        let address = address.to_ascii_lowercase();
        if !self.addresses.contains(&address) {
            return Err(self.not_granted(&format!("tcp://{address}")));
        }
        let within = within.unwrap_or(limits::TCP_TIMEOUT_DEFAULT);
        if within > limits::TCP_TIMEOUT_MAX {
            let most = limits::TCP_TIMEOUT_MAX.as_secs();
            return Err(DataError::Invalid(format!("the timeout is longer than {most} s: ask for less")));
        }
        if let Some(fakes) = &self.fakes {
            return Ok(fakes.listening.contains(&address));
        }
        let attempt = async {
            let targets = blocking.resolve(address.clone()).await?;
            let mut last = Ok(false);
            for target in targets {
                match TcpStream::connect(target).await {
                    Ok(_closed_at_once) => return Ok(true),
                    Err(error) if nobody_there(&error) => {}
                    Err(error) => last = Err(error),
                }
            }
            last
        };
        match timeout(within, attempt).await {
            Ok(answer) => answer.map_err(|error| failed(&error)),
            Err(_elapsed) => Ok(false),
        }
    }

    /// Finds what a path means, by the first granted path that leads there.
    fn locate(&self, path: &Path) -> Result<Located, DataError> {
        if let Some(why) = locate::shut(path) {
            return Err(shut_error(path, why));
        }
        let mut refused = None;
        for granted in self.paths.iter().filter(|granted| path.starts_with(granted)) {
            match self.locate_within(granted, path) {
                Err(error @ DataError::NotGranted(_)) => refused = refused.or(Some(error)),
                other => return other,
            }
        }
        Err(refused.unwrap_or_else(|| self.not_granted(&path.display().to_string())))
    }

    fn locate_within(&self, granted: &Path, path: &Path) -> Result<Located, DataError> {
        // Entries of /sys are links to each other's folders, so links may lead anywhere within it.
        let base = if granted.starts_with("/sys") { Path::new("/sys") } else { granted };
        let outside = |_| DataError::Invalid("the path is not within the granted one".to_owned());
        let below = path.strip_prefix(base).map_err(outside)?;
        let root = Root::open(&self.on_this_machine(base)).map_err(|error| failed(&error))?;
        let located = match root.locate(below) {
            Ok(Some(located)) => located,
            Ok(None) => {
                let text = format!("a link on the way to {} leads out of what was granted", shown(path));
                return Err(DataError::NotGranted(format!(
                    "{text}: ask the operator for the path that it leads to"
                )));
            }
            Err(error) => return Err(failed(&error)),
        };
        match located.shut_place(&self.proc_dir).map_err(|error| failed(&error))? {
            Some(why) => Err(shut_error(path, why)),
            None => Ok(located),
        }
    }

    /// Where a path of the addon's is found: `/proc` and `/sys` may be elsewhere.
    fn on_this_machine(&self, path: &Path) -> PathBuf {
        for (name, place) in [("/proc", &self.proc_dir), ("/sys", &self.sys_dir)] {
            if let Ok(below) = path.strip_prefix(name) {
                return place.join(below);
            }
        }
        match (&self.fakes, path.strip_prefix("/")) {
            (Some(fakes), Ok(below)) => fakes.root.join(below),
            _ => path.to_owned(),
        }
    }

    fn kind_behind(&self, link: &Path) -> EntryKind {
        let metadata =
            self.locate(link).and_then(|located| located.metadata().map_err(|error| failed(&error)));
        metadata.map_or(EntryKind::Other, |metadata| kind_of(metadata.file_type()))
    }

    fn not_granted(&self, rule: &str) -> DataError {
        let rule = clean(rule, limits::LOG_LINE_BYTES_MAX / 4);
        let quoted = toml::Value::String(rule.clone().into_owned());
        DataError::NotGranted(format!(
            "{rule} was not granted: ask for it in addon.toml, and the operator for host_data = [{quoted}] in [addon.{}.grants]",
            self.addon
        ))
    }
}

/// Takes a text as a path: absolute, without `..`, in one form.
fn parse(text: &str) -> Result<PathBuf, DataError> {
    let path = Path::new(text);
    if !path.is_absolute() {
        return Err(DataError::Invalid("the path is not absolute: begin it with /".to_owned()));
    }
    if text.contains('\0') || path.components().any(|part| part == Component::ParentDir) {
        return Err(DataError::Invalid(
            "the path has .. or a zero byte in it: name the file itself".to_owned(),
        ));
    }
    Ok(path.components().collect())
}

fn shown(path: &Path) -> String {
    clean(&path.display().to_string(), limits::LOG_LINE_BYTES_MAX / 4).into_owned()
}

fn shut_error(path: &Path, why: &str) -> DataError {
    DataError::NotGranted(format!("{} is never readable for an addon: {why}", shown(path)))
}

fn kind_of(kind: FileType) -> EntryKind {
    if kind.is_dir() {
        EntryKind::Directory
    } else if kind.is_file() {
        EntryKind::File
    } else {
        EntryKind::Other
    }
}

fn failed(error: &io::Error) -> DataError {
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => DataError::NotFound,
        _ => DataError::Unreadable(error.to_string()),
    }
}

/// True for the answers of a network that nobody listens there, in contrast to trouble of this machine's own.
fn nobody_there(error: &io::Error) -> bool {
    use io::ErrorKind as Kind;
    matches!(
        error.kind(),
        Kind::ConnectionRefused
            | Kind::ConnectionReset
            | Kind::ConnectionAborted
            | Kind::TimedOut
            | Kind::HostUnreachable
            | Kind::NetworkUnreachable
            | Kind::NetworkDown
            | Kind::AddrNotAvailable
    )
}

#[cfg(test)]
mod tests;
