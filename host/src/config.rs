//! The configuration: its types, and with them its whole contract. The reference page, the sample file, the JSON schema
//! and every check are derived from the doc comments, defaults and ranges here; nothing repeats them by hand.
//!
//! This module reads files and variables only in [`load`]; it never changes anything and never applies a setting. `main`
//! loads at start, the SIGHUP handler loads again and asks [`changes`], `lowtide config` prints the documents.
//!
//! To add a key: a field with a doc comment and a range, its default, and `x-reload` if SIGHUP applies it. Then
//! regenerate `docs/reference`.

mod addon;
mod changes;
mod check;
mod document;
mod error;
mod file;
mod history;
mod keys;
mod leases;
mod load;
mod quiet;
#[cfg(test)]
mod tests;
mod value;

pub use addon::{
    Addon, Grants, LeaseGrant, Priority, SETTING_NAME_BYTES_MAX, SETTINGS_MAX, SettingValue, host_configs,
};
pub use changes::{Change, changes};
pub use document::{json_schema, reference_markdown, sample_toml};
pub use error::{ConfigError, ErrorKind, Origin, Position};
pub use history::History;
pub use keys::{Format, Key, Kind, addon_keys, keys};
pub use leases::Leases;
pub use load::{FlagOverride, Loaded, Sources, load};
pub use quiet::{QuietConfig, Signal, Signals};

use ipnet::IpNet;
use lowtide_access::Scope;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

/// Bytes of one configuration file. The full sample with every comment has about 20 KB.
pub const FILE_BYTES_MAX: usize = 1 << 20;

/// Files read from `conf.d`. A folder with more is not one that a person keeps.
pub const FILES_MAX: usize = 256;

/// Entries of one list. Far above any machine's disks or interfaces, and every one costs a match each run.
pub const LIST_ITEMS_MAX: usize = 256;

/// Bytes of one text value: the longest path that Linux takes.
pub const TEXT_BYTES_MAX: usize = 4_096;

/// Errors reported at once; a file with more is not a configuration.
pub const ERRORS_MAX: usize = 100;

/// The file of history, in the data folder.
pub const HISTORY_FILE: &str = "history.db";

/// Where compiled addons are kept, in the data folder.
pub const ADDON_CACHE_DIR: &str = "addon-cache";

/// Where it is kept which addons were switched off while the daemon ran, in the data folder.
pub const ADDONS_DISABLED_FILE: &str = "addons-disabled";

/// The whole configuration. Every key has a default, so an empty file is a valid one.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Where the API is served.
    pub server: Server,
    /// Who may ask for what.
    pub access: Access,
    /// Where Lowtide keeps its files.
    pub storage: Storage,
    /// Where addons are looked for.
    pub addons: Addons,
    /// What single addons may do and how they are set, by id. In files only: variables and flags do not reach here.
    #[schemars(extend("x-reload" = true, "propertyNames" = { "pattern": "^[a-z0-9][a-z0-9-]{0,63}$" }))]
    pub addon: BTreeMap<String, Addon>,
    /// What is logged, and how.
    pub log: Log,
    /// What is measured, from where and how often. Intervals are rounded up to whole ticks.
    pub collectors: Collectors,
    /// When the machine counts as quiet. Becoming QUIET takes all signals for a while, leaving it takes one at once.
    #[schemars(extend("x-reload" = true))]
    pub quiet: QuietConfig,
    /// The past, on disk.
    pub history: History,
    /// Leases for heavy work.
    #[schemars(extend("x-reload" = true))]
    pub leases: Leases,
}

/// The `[server]` section.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Server {
    /// Addresses with port that the API listens on, such as `127.0.0.1:4270` or `[::1]:4270`; `localhost` means
    /// `127.0.0.1`, port 0 takes a free one. An address that other machines can reach needs `tls_certificate_file`,
    /// `tls_key_file` and at least one token (`lowtide token create`), or the daemon does not start.
    #[schemars(length(min = 1, max = 16), extend("x-format" = "address"))]
    pub listen: Vec<String>,
    /// Unix socket that the API listens on besides. Who connects is known by their user: root and the daemon's own may do everything,
    /// others what `access.local_users` says. The file is for the daemon's user and group (0660).
    #[schemars(extend("x-format" = "absolute path", "x-example" = "/run/lowtide/lowtide.sock"))]
    pub socket: Option<PathBuf>,
    /// Names by which clients ask for this daemon, besides `localhost`, the machine's own name and bare addresses. Requests for
    /// other names are refused, so that no page of the web can have its own name mean this machine.
    #[schemars(length(max = 64))]
    pub hosts: Vec<String>,
    /// What stands before every path, where a proxy passes it on, such as `/lowtide`.
    #[schemars(extend("x-format" = "absolute path", "x-example" = "/lowtide"))]
    pub base_path: Option<String>,
    /// Networks whose proxies are believed when they say for whom they ask (`X-Forwarded-For`), such as `10.0.0.0/8`.
    #[schemars(length(max = 64), extend("x-format" = "network"))]
    pub trusted_proxies: Vec<String>,
    /// Certificate chain for TLS, PEM, the daemon's own first. Addresses that only this machine reaches stay without TLS. Read again within
    /// ten seconds when it changes.
    #[schemars(extend("x-format" = "absolute path", "x-example" = "/etc/lowtide/tls/cert.pem"))]
    pub tls_certificate_file: Option<PathBuf>,
    /// Private key of the certificate, PEM.
    #[schemars(extend("x-format" = "absolute path", "x-example" = "/etc/lowtide/tls/key.pem"))]
    pub tls_key_file: Option<PathBuf>,
    /// Connections open at once. Above it the one that has been silent for longest is closed.
    #[schemars(range(min = 8, max = 65536))]
    pub connections_max: u32,
    /// Connections open at once from one other machine.
    #[schemars(range(min = 1, max = 65536))]
    pub connections_per_peer_max: u32,
}

/// The `[access]` section: who may ask for what.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Access {
    /// Requests a second that a token may send on average; two seconds' worth at once. `lowtide token create
    /// --requests-per-second` sets it for one.
    #[schemars(range(min = 1, max = 10000))]
    pub requests_per_second: u32,
    /// What users may do who connect to the unix socket and are neither root nor the daemon's own.
    #[schemars(length(max = 5))]
    pub local_users: Vec<ScopeName>,
}

impl Default for Access {
    fn default() -> Self {
        Self { requests_per_second: 50, local_users: vec![ScopeName::Read, ScopeName::Lease] }
    }
}

/// What a caller may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ScopeName {
    /// Read what was measured, the verdict, the queue and the events.
    Read,
    /// Ask for leases, and keep one's own.
    Lease,
    /// Send reports of other machines.
    Ingest,
    /// See the logs of addons, switch them, run their jobs.
    Addons,
    /// Everything.
    Admin,
}

impl ScopeName {
    /// The same for the crate that decides.
    #[must_use]
    pub fn to_scope(self) -> Scope {
        match self {
            Self::Read => Scope::Read,
            Self::Lease => Scope::Lease,
            Self::Ingest => Scope::Ingest,
            Self::Addons => Scope::Addons,
            Self::Admin => Scope::Admin,
        }
    }
}

impl Default for Server {
    fn default() -> Self {
        Self {
            listen: vec!["127.0.0.1:4270".to_owned()],
            socket: None,
            hosts: Vec::new(),
            base_path: None,
            trusted_proxies: Vec::new(),
            tls_certificate_file: None,
            tls_key_file: None,
            connections_max: 512,
            connections_per_peer_max: 32,
        }
    }
}

impl Server {
    /// The addresses of `listen`, in its order. What does not parse is left out; [`load`] lets nothing such through.
    #[must_use]
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.listen.iter().filter_map(|text| parse_address(text)).collect()
    }

    /// The networks of `trusted_proxies`.
    #[must_use]
    pub fn proxies(&self) -> Vec<IpNet> {
        self.trusted_proxies.iter().filter_map(|text| parse_network(text)).collect()
    }
}

/// Reads `host:port`, where the host is an address or `localhost`. Names are not resolved: what the daemon binds must not
/// depend on a name server.
pub(crate) fn parse_address(text: &str) -> Option<SocketAddr> {
    if let Some(port) = text.strip_prefix("localhost:") {
        return Some(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port.parse().ok()?));
    }
    text.parse().ok()
}

/// Reads a network such as `10.0.0.0/8`, or one address.
pub(crate) fn parse_network(text: &str) -> Option<IpNet> {
    text.parse().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from))
}

/// The `[storage]` section.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Storage {
    /// Folder for everything that Lowtide keeps. Without it: `$STATE_DIRECTORY` (set by systemd), else `/var/lib/lowtide`
    /// for root, else `$XDG_STATE_HOME/lowtide` or `~/.local/state/lowtide`.
    #[schemars(extend("x-format" = "absolute path", "x-example" = "/var/lib/lowtide"))]
    pub data_dir: Option<PathBuf>,
}

/// The `[addons]` section.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Addons {
    /// Folder with the addons. Without it: `addons` in the data folder.
    #[schemars(extend("x-format" = "absolute path", "x-example" = "/var/lib/lowtide/addons"))]
    pub dir: Option<PathBuf>,
}

/// The `[log]` section.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Log {
    /// The least important lines that are still written.
    #[schemars(extend("x-reload" = true))]
    pub level: LogLevel,
    /// Shape of a line.
    pub format: LogFormat,
}

/// How important a log line must be to be written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LogLevel {
    /// A person must look.
    Error,
    /// Something failed and the daemon carried on.
    Warn,
    /// What an operator wants to know later.
    #[default]
    Info,
    /// Steps of the daemon.
    Debug,
    /// Everything.
    Trace,
}

/// The shape of a log line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// The `[collectors]` section.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Collectors {
    /// Time between two ticks: how often the fast collectors run and the quiet verdict is made.
    #[schemars(range(min = 1, max = 60))]
    pub tick_seconds: u32,
    /// Where the host's `/proc` is seen; another folder when Lowtide runs in a container.
    #[schemars(extend("x-format" = "absolute path"))]
    pub proc_dir: PathBuf,
    /// Where the host's `/sys` is seen; another folder when Lowtide runs in a container.
    #[schemars(extend("x-format" = "absolute path"))]
    pub sys_dir: PathBuf,
    /// Where the host's root folder is seen; put before mount points when Lowtide runs in a container.
    #[schemars(extend("x-format" = "absolute path"))]
    pub root_dir: PathBuf,
    /// Collectors that do not run. Signals without values then count as absent.
    #[schemars(length(max = 256))]
    pub disabled: Vec<Collector>,
    /// Time between two looks at the space of file systems.
    #[schemars(range(min = 5, max = 3600))]
    pub filesystem_seconds: u32,
    /// Time between two readings of the temperature sensors.
    #[schemars(range(min = 1, max = 3600))]
    pub sensors_seconds: u32,
    /// Time between two readings of battery and mains.
    #[schemars(range(min = 1, max = 3600))]
    pub power_seconds: u32,
    /// Time between two looks at what services, containers and process groups use.
    #[schemars(range(min = 1, max = 3600))]
    pub units_seconds: u32,
    /// Time between two measurements of Lowtide's own process.
    #[schemars(range(min = 1, max = 3600))]
    pub process_seconds: u32,
    /// Time between two reports of the API's request statistics.
    #[schemars(range(min = 1, max = 3600))]
    pub api_seconds: u32,
    /// Globs of block devices that are not measured, such as `loop*`.
    #[schemars(length(max = 256), extend("x-format" = "glob"))]
    pub disk_exclude: Vec<String>,
    /// Globs of network interfaces that are not measured.
    #[schemars(length(max = 256), extend("x-format" = "glob"))]
    pub network_exclude: Vec<String>,
    /// Globs of mount points that are not measured, such as `/mnt/backup*`.
    #[schemars(length(max = 256), extend("x-format" = "glob"))]
    pub filesystem_exclude: Vec<String>,
    /// Mount points of network file systems that are measured all the same. A server that hangs then hangs this collector.
    #[schemars(length(max = 256), extend("x-format" = "absolute path"))]
    pub filesystem_include_remote: Vec<PathBuf>,
}

impl Default for Collectors {
    fn default() -> Self {
        Self {
            tick_seconds: 2,
            proc_dir: "/proc".into(),
            sys_dir: "/sys".into(),
            root_dir: "/".into(),
            disabled: Vec::new(),
            filesystem_seconds: 30,
            sensors_seconds: 15,
            power_seconds: 15,
            units_seconds: 15,
            process_seconds: 5,
            api_seconds: 5,
            disk_exclude: Vec::new(),
            network_exclude: vec!["veth*".to_owned()],
            filesystem_exclude: Vec::new(),
            filesystem_include_remote: Vec::new(),
        }
    }
}

/// The built-in collectors, by the names that the API shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Collector {
    /// CPU time by mode, in all and by core.
    Cpu,
    /// Load, uptime and boot time.
    System,
    /// Memory and swap.
    Memory,
    /// Pressure stall information.
    Pressure,
    /// What leased work uses; without it, leased work counts as load of others.
    Leased,
    /// Throughput and busy time of block devices.
    Disk,
    /// Traffic of network interfaces.
    Network,
    /// Space of mounted file systems.
    Filesystem,
    /// Temperatures.
    Sensors,
    /// Battery and mains.
    Power,
    /// What services, containers and process groups use.
    Units,
    /// Lowtide's own process.
    Process,
    /// Requests to Lowtide's API.
    Api,
}

impl Collector {
    /// The name as in the configuration and the API.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::System => "system",
            Self::Memory => "memory",
            Self::Pressure => "pressure",
            Self::Leased => "leased",
            Self::Disk => "disk",
            Self::Network => "network",
            Self::Filesystem => "filesystem",
            Self::Sensors => "sensors",
            Self::Power => "power",
            Self::Units => "units",
            Self::Process => "process",
            Self::Api => "api",
        }
    }
}
