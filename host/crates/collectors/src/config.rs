//! What may be configured about the built-in collectors. Only data: reading configuration files is the main program's work.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

/// Time between two ticks unless configured otherwise.
pub const TICK_DEFAULT: Duration = Duration::from_secs(2);

/// Settings of the built-in collectors. Patterns know `*` (any text) and `?` (one character).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CollectConfig {
    /// Time between two ticks; the cheap collectors run at each.
    pub tick: Duration,
    /// Where procfs is mounted: `/proc`, in a container that looks at its host for example `/host/proc`.
    pub proc_dir: PathBuf,
    /// Where sysfs is mounted.
    pub sys_dir: PathBuf,
    /// What to put before a mount point to look at its file system: `/`, or where the host's root is mounted.
    pub root_dir: PathBuf,
    /// The daemon's data folder, as this process sees it; its free space is watched apart.
    pub data_dir: Option<PathBuf>,
    /// Names of collectors that are switched off.
    pub disabled: Vec<String>,
    /// Time between two runs, by collector name.
    pub intervals: BTreeMap<String, Duration>,
    /// Patterns of block device names to leave out.
    pub disk_exclude: Vec<String>,
    /// Patterns of network interface names to leave out.
    pub network_exclude: Vec<String>,
    /// Patterns of mount points to leave out. `/` and the data folder's file system are never left out.
    pub filesystem_exclude: Vec<String>,
    /// Mount points of network file systems to include all the same. Asking a dead server hangs the collector.
    pub filesystem_include_remote: Vec<String>,
}

impl Default for CollectConfig {
    fn default() -> Self {
        Self {
            tick: TICK_DEFAULT,
            proc_dir: "/proc".into(),
            sys_dir: "/sys".into(),
            root_dir: "/".into(),
            data_dir: None,
            disabled: Vec::new(),
            intervals: BTreeMap::new(),
            disk_exclude: Vec::new(),
            // One for each container, with a new name at each start: endless series that say nothing lasting.
            network_exclude: vec!["veth*".into()],
            filesystem_exclude: Vec::new(),
            filesystem_include_remote: Vec::new(),
        }
    }
}
