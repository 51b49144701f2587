//! Loading: defaults, base file, `conf.d`, environment, flags, each over the one before, and all mistakes of all of them
//! at once. It reads files; the environment comes in as data, so that tests need no process of their own.

use super::error::{ConfigError, ErrorKind, Mistake, Origin};
use super::file::{self, Setting};
use super::keys::{Table, leaves, table};
use super::value::{from_text, nearest, quoted};
use super::{Addon, Config, ERRORS_MAX, FILES_MAX, check};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// What every variable of ours begins with.
const VARIABLE_PREFIX: &str = "LOWTIDE_";

/// A flag that sets a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlagOverride {
    /// Dotted key.
    pub key: String,
    /// Value as text, in the form that environment variables have.
    pub value: String,
    /// The flag with its dashes, for errors.
    pub flag: String,
}

/// Everything outside of the files that a configuration is made from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sources {
    /// The file that was asked for; it must exist. `None` looks in the usual place.
    pub config_file: Option<PathBuf>,
    /// Whether the daemon runs as root.
    pub is_root: bool,
    /// The folder of the system's configuration.
    pub etc_dir: PathBuf,
    /// The environment.
    pub env: BTreeMap<String, OsString>,
    /// Flags, later ones over earlier ones.
    pub flags: Vec<FlagOverride>,
}

impl Sources {
    /// Takes environment and user from this process.
    #[must_use]
    pub fn from_process(config_file: Option<PathBuf>, flags: Vec<FlagOverride>) -> Self {
        // A name that is not UTF-8 is none of ours.
        let env =
            std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value))).collect();
        let is_root = rustix::process::geteuid().is_root();
        Self { config_file, is_root, etc_dir: "/etc".into(), env, flags }
    }

    /// The base file: the one asked for, else `config.toml` in `$CONFIGURATION_DIRECTORY` (set by systemd), in
    /// `/etc/lowtide` for root, or in `$XDG_CONFIG_HOME/lowtide` or `~/.config/lowtide`. `None` for a user without a home.
    #[must_use]
    pub fn base_file(&self) -> Option<PathBuf> {
        let in_folder = |folder: PathBuf| folder.join("config.toml");
        self.config_file
            .clone()
            .or_else(|| self.systemd_folder("CONFIGURATION_DIRECTORY").map(in_folder))
            .or_else(|| self.is_root.then(|| self.etc_dir.join("lowtide/config.toml")))
            .or_else(|| self.folder("XDG_CONFIG_HOME").map(|folder| in_folder(folder.join("lowtide"))))
            .or_else(|| self.folder("HOME").map(|home| in_folder(home.join(".config/lowtide"))))
    }

    /// The data folder where none is configured; the documentation of `storage.data_dir` tells the order.
    fn default_data_dir(&self) -> Option<PathBuf> {
        self.systemd_folder("STATE_DIRECTORY")
            .or_else(|| self.is_root.then(|| PathBuf::from("/var/lib/lowtide")))
            .or_else(|| self.folder("XDG_STATE_HOME").map(|folder| folder.join("lowtide")))
            .or_else(|| self.folder("HOME").map(|home| home.join(".local/state/lowtide")))
    }

    /// An absolute path in a variable. The XDG specification says to ignore relative ones.
    fn folder(&self, variable: &str) -> Option<PathBuf> {
        self.env.get(variable).map(PathBuf::from).filter(|path| path.is_absolute())
    }

    /// The first of the paths that systemd separates by colons.
    fn systemd_folder(&self, variable: &str) -> Option<PathBuf> {
        let first = self.env.get(variable)?.as_bytes().split(|byte| *byte == b':').next()?;
        Some(PathBuf::from(OsString::from_vec(first.to_vec()))).filter(|path| path.is_absolute())
    }
}

/// A sound configuration and where it came from.
#[derive(Clone, Debug, PartialEq)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// The files that were read, in the order of reading.
    pub files: Vec<PathBuf>,
    /// `storage.data_dir`, or what stands in for it.
    pub data_dir: PathBuf,
    /// `addons.dir`, or what stands in for it.
    pub addons_dir: PathBuf,
    /// Where each key that is not at its default was set.
    pub origins: BTreeMap<String, Origin>,
}

impl Loaded {
    /// Where the value of a key was written last.
    #[must_use]
    pub fn origin_of(&self, key: &str) -> &Origin {
        self.origins.get(key).unwrap_or(&Origin::Default)
    }
}

/// Loads the configuration.
///
/// # Errors
/// Every mistake in every source, up to [`ERRORS_MAX`] of them, in the order of the sources and then of the lines.
pub fn load(sources: &Sources) -> Result<Loaded, Vec<ConfigError>> {
    let table = table();
    let mut layers = Layers { table, settings: Vec::new(), errors: Vec::new(), files: Vec::new() };
    layers.files(sources);
    layers.environment(&sources.env);
    layers.flags(&sources.flags);
    let Layers { settings, mut errors, files, .. } = layers;

    let mut values = leaves(&Config::default());
    let mut origins = BTreeMap::new();
    for Setting { key, value, origin } in settings {
        values.insert(key.clone(), value);
        origins.insert(key, origin);
    }
    let mut config: Config = match serde_json::from_value(nested(values)) {
        Ok(config) => config,
        // The values fit the schema, which comes from the very types; this is for the day when one does not.
        Err(error) => {
            let mistake = Mistake::new(
                ErrorKind::WrongType,
                format!("the configuration does not fit its types: {error}"),
            );
            return Err(errors.into_iter().chain([mistake.at(Origin::Default, "config")]).collect());
        }
    };
    // A section that says nothing is as good as none.
    config.addon.retain(|_, addon| *addon != Addon::default());
    // A key that has a mistake of its own still has an older value here: comparing that would find a second, false one.
    let broken: Vec<String> = errors.iter().filter_map(|error| error.key.clone()).collect();
    errors.extend(check::cross_check(&config, &origins, &broken));

    let data_dir = config.storage.data_dir.clone().or_else(|| sources.default_data_dir());
    if data_dir.is_none() {
        let message = "there is no home folder to keep data in, set storage.data_dir";
        errors.push(Mistake::new(ErrorKind::Missing, message).at(Origin::Default, "storage.data_dir"));
    }
    match data_dir {
        Some(data_dir) if errors.is_empty() => {
            let addons_dir = config.addons.dir.clone().unwrap_or_else(|| data_dir.join("addons"));
            Ok(Loaded { config, files, data_dir, addons_dir, origins })
        }
        _ => {
            errors.truncate(ERRORS_MAX);
            Err(errors)
        }
    }
}

/// The settings of all sources, gathered in the order in which they override each other.
struct Layers<'a> {
    table: &'a Table,
    settings: Vec<Setting>,
    errors: Vec<ConfigError>,
    files: Vec<PathBuf>,
}

impl Layers<'_> {
    fn files(&mut self, sources: &Sources) {
        let Some(base) = sources.base_file() else { return };
        self.file(&base, sources.config_file.is_some());
        match drop_ins(&base) {
            Ok(paths) => paths.iter().for_each(|path| self.file(path, true)),
            Err(error) => self.errors.push(error),
        }
    }

    fn file(&mut self, path: &Path, must_exist: bool) {
        match file::read(path) {
            Ok(Some(text)) => {
                self.files.push(path.to_owned());
                let (settings, errors) = file::walk(path, &text, self.table);
                self.settings.extend(settings);
                self.errors.extend(errors);
            }
            Ok(None) if must_exist => {
                let message = "does not exist, create it or leave the flag away".to_owned();
                self.errors.push(file::whole_file(path, ErrorKind::Unreadable, message));
            }
            Ok(None) => {}
            Err(error) => self.errors.push(error),
        }
    }

    fn environment(&mut self, env: &BTreeMap<String, OsString>) {
        for (variable, value) in env {
            let Some(rest) = variable.strip_prefix(VARIABLE_PREFIX) else { continue };
            let origin = Origin::Env { variable: variable.clone() };
            if let Some(key) = self.table.keys.iter().find(|key| key.variable() == *variable) {
                match value.to_str() {
                    Some(text) => self.text(&key.name, text, origin),
                    None => {
                        let mistake = Mistake::new(ErrorKind::Unreadable, "the value is not utf-8");
                        self.errors.push(mistake.at(origin, key.name.clone()));
                    }
                }
            } else if let Some(mistake) = self.unknown_variable(variable, rest) {
                self.errors.push(ConfigError { key: None, ..mistake.at(origin, "") });
            }
        }
    }

    /// A variable without two underscores in a row belongs to the command line client, unless it is a key but for them.
    fn unknown_variable(&self, variable: &str, rest: &str) -> Option<Mistake> {
        let mut names = self.table.keys.iter().map(super::Key::variable);
        if !rest.contains("__") {
            let meant = names.find(|name| name.replace("__", "_") == *variable)?;
            let message = format!(
                "unknown variable (did you mean {meant}), write two underscores between section and key"
            );
            return Some(Mistake::new(ErrorKind::UnknownKey, message));
        }
        if rest.starts_with("ADDON__") {
            let message = "unknown variable, what is under [addon.ID] is set in files only";
            return Some(Mistake::new(ErrorKind::UnknownKey, message));
        }
        let names: Vec<String> = names.collect();
        let near = nearest(variable, names.iter().map(String::as_str));
        let hint = near.map(|name| format!(" (did you mean {name})")).unwrap_or_default();
        let message = format!("unknown variable{hint}, `lowtide config default` lists the keys");
        Some(Mistake::new(ErrorKind::UnknownKey, message))
    }

    fn flags(&mut self, flags: &[FlagOverride]) {
        for FlagOverride { key, value, flag } in flags {
            let origin = Origin::Flag { flag: flag.clone() };
            if self.table.key(key).is_some() {
                self.text(key, value, origin);
            } else {
                let (section, name) = key.rsplit_once('.').unwrap_or(("", key));
                let section = if self.table.is_section(section) { section } else { "" };
                self.errors
                    .push(file::unknown_key(self.table, section, section, name).at(origin, quoted(key)));
            }
        }
    }

    fn text(&mut self, key: &str, text: &str, origin: Origin) {
        let Some(key) = self.table.key(key) else { return };
        match from_text(key, text) {
            Ok(value) => self.settings.push(Setting { key: key.name.clone(), value, origin }),
            Err(mistakes) => {
                for (mistake, index) in mistakes {
                    let name =
                        index.map_or_else(|| key.name.clone(), |index| format!("{}[{index}]", key.name));
                    self.errors.push(mistake.at(origin.clone(), name));
                }
            }
        }
    }
}

/// The files of `conf.d` beside the base file, in the order of their names' bytes. Hidden files are the leftovers of editors.
fn drop_ins(base: &Path) -> Result<Vec<PathBuf>, ConfigError> {
    let folder = base.with_file_name("conf.d");
    let unreadable = |error: std::io::Error| {
        let message = format!("cannot be listed: {}", error.to_string().to_lowercase());
        file::whole_file(&folder, ErrorKind::Unreadable, message)
    };
    let entries = match std::fs::read_dir(&folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(unreadable(error)),
    };
    let mut paths = Vec::new();
    for entry in entries {
        let path = entry.map_err(unreadable)?.path();
        let hidden = path.file_name().is_some_and(|name| name.as_bytes().starts_with(b"."));
        if path.extension().is_some_and(|extension| extension == "toml") && !hidden {
            paths.push(path);
        }
    }
    if paths.len() > FILES_MAX {
        let message = format!("has {} files, more than {FILES_MAX}: join some", paths.len());
        return Err(file::whole_file(&folder, ErrorKind::OutOfRange, message));
    }
    paths.sort();
    Ok(paths)
}

/// Leaves by their dotted names as an object of objects.
fn nested(leaves: Map<String, Value>) -> Value {
    let mut root = Map::new();
    for (name, value) in leaves {
        let mut at = &mut root;
        let mut words = name.split('.').peekable();
        while let Some(word) = words.next() {
            if words.peek().is_none() {
                at.insert(word.to_owned(), value);
                break;
            }
            let below = at.entry(word).or_insert_with(|| Value::Object(Map::new()));
            let Value::Object(below) = below else { break };
            at = below;
        }
    }
    Value::Object(root)
}
