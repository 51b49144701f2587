//! A private addon host for one addon: the files are copied into a folder of their own, and what the host kept goes with it. Only
//! compiled code stays, in the user's cache, because compiling Python takes half a minute.

use crate::AuthorError;
use crate::error::write;
use crate::project::Project;
use lowtide_addons::capabilities::Capabilities;
use lowtide_addons::caps::kv::{Kv, KvError, KvUsage};
use lowtide_addons::compile::CompileCommand;
use lowtide_addons::discover::{self, AddonFileError, Candidate};
use lowtide_addons::fakes::Fakes;
use lowtide_addons::id::AddonId;
use lowtide_addons::{
    AddonConfig, AddonHost, AddonState, AddonView, Happening, HostConfig, Outside, Setting, limits,
};
use lowtide_core::state::HostState;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tempfile::TempDir;
use tokio::sync::watch;

/// Happenings that wait to be read; more are passed over.
const HAPPENINGS_MAX: usize = 256;

/// An addon's files in a folder of their own.
pub(crate) struct Stage {
    folder: TempDir,
    /// What the addon is called there.
    pub(crate) name: String,
}

impl Stage {
    /// Copies a built addon: a component, its folder, or the project that it was built in.
    pub(crate) fn new(place: &Path) -> Result<Self, AuthorError> {
        let place = built(place)?;
        let folder = TempDir::new().map_err(AuthorError::file("make a folder in", &std::env::temp_dir()))?;
        let root = folder.path().join("addons");
        let name = place.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if place.is_dir() {
            let within = root.join(&name);
            std::fs::create_dir_all(&within).map_err(AuthorError::file("make the folder", &within))?;
            for file in ["addon.toml".to_owned(), format!("{name}.wasm")] {
                copy(&place.join(&file), &within.join(&file))?;
            }
        } else {
            std::fs::create_dir_all(&root).map_err(AuthorError::file("make the folder", &root))?;
            copy(&place, &root.join(&name))?;
        }
        Ok(Self { folder, name: name.strip_suffix(".wasm").unwrap_or(&name).to_owned() })
    }

    fn root(&self) -> PathBuf {
        self.folder.path().join("addons")
    }

    /// The addon as the daemon would find it.
    pub(crate) fn candidate(&self) -> Result<Candidate, AddonFileError> {
        let unreadable = |reason: String| AddonFileError::Unreadable { path: self.name.clone(), reason };
        let scan = discover::scan(&self.root()).map_err(|error| unreadable(error.to_string()))?;
        if let Some(rejected) = scan.rejected.into_iter().next() {
            return Err(rejected.error);
        }
        scan.candidates.into_iter().next().ok_or_else(|| unreadable("there is no addon".to_owned()))
    }
}

/// Copies a file as it is, a link as a link. What is not there is not copied: whoever reads the copy says so.
fn copy(from: &Path, to: &Path) -> Result<(), AuthorError> {
    let Ok(metadata) = std::fs::symlink_metadata(from) else { return Ok(()) };
    let copied = if metadata.is_symlink() {
        std::fs::read_link(from).and_then(|target| std::os::unix::fs::symlink(target, to))
    } else {
        std::fs::copy(from, to).map(drop)
    };
    copied.map_err(AuthorError::file("copy", from))
}

/// Where the built addon is: the place itself, or `dist/<id>` of a project or of the workspace around it.
fn built(place: &Path) -> Result<PathBuf, AuthorError> {
    let absolute = std::path::absolute(place).map_err(AuthorError::file("find", place))?;
    // `.` and the like have no name; links are kept, because they are worth a finding.
    let place = if absolute.components().any(|part| part == std::path::Component::ParentDir) {
        absolute.canonicalize().map_err(AuthorError::file("find", place))?
    } else {
        absolute
    };
    if std::fs::symlink_metadata(&place).is_err() {
        return Err(AuthorError::Input(format!(
            "{} does not exist: name a .wasm file or an addon's folder",
            place.display()
        )));
    }
    if !place.is_dir() || has_component(&place) {
        return Ok(place);
    }
    let Ok(project) = Project::open(&place) else { return Ok(place) };
    let folders = [Some(place.as_path()), place.parent()].into_iter().flatten();
    let mut places = folders.map(|folder| folder.join("dist").join(project.id().as_str()));
    if let Some(built) = places.find(|place| has_component(place)) {
        return Ok(built);
    }
    Err(AuthorError::Input(format!(
        "{} is not built yet: run lowtide addon build there first",
        place.display()
    )))
}

fn has_component(folder: &Path) -> bool {
    let name = folder.file_name().unwrap_or_default().to_string_lossy();
    folder.join(format!("{name}.wasm")).is_file()
}

/// What the private host gives the addon.
pub(crate) struct Setup {
    pub(crate) grants: Capabilities,
    pub(crate) settings: BTreeMap<String, Setting>,
    pub(crate) store: Arc<Store>,
    pub(crate) fakes: Option<Fakes>,
    pub(crate) state: Option<Arc<HostState>>,
}

impl Setup {
    /// These grants, and nothing else.
    pub(crate) fn granting(grants: Capabilities) -> Self {
        Self { grants, settings: BTreeMap::new(), store: Arc::default(), fakes: None, state: None }
    }
}

/// The running host.
pub(crate) struct Bench {
    pub(crate) host: AddonHost,
    pub(crate) name: String,
    happened: Receiver<Happening>,
    waiting: tokio::runtime::Runtime,
    // Ends last: the host holds files in it.
    _stage: Stage,
}

impl Bench {
    /// Starts the addon and waits until it runs or is found not to.
    pub(crate) fn start(stage: Stage, id: &AddonId, setup: Setup) -> Result<(Self, AddonView), AuthorError> {
        let broken = |error: &dyn std::error::Error| AuthorError::Host(error.to_string());
        let folder = stage.folder.path();
        let own = AddonConfig { grants: setup.grants, settings: setup.settings, ..AddonConfig::default() };
        let config = HostConfig {
            folder: stage.root(),
            cache_dir: cache_dir().unwrap_or_else(|| folder.join("cache")),
            disabled_file: folder.join("disabled"),
            proc_dir: "/proc".into(),
            sys_dir: "/sys".into(),
            compile: CompileCommand::default(),
            addons: BTreeMap::from([(id.clone(), own)]),
        };
        let (sender, happened) = sync_channel(HAPPENINGS_MAX);
        let (_, state) = watch::channel(setup.state);
        let outside = Outside {
            state,
            kv: setup.store,
            leases: None,
            tell: Arc::new(move |happening| drop(sender.try_send(happening))),
        };
        let waiting =
            tokio::runtime::Builder::new_current_thread().build().map_err(|error| broken(&error))?;
        let host = AddonHost::start_by_hand(config, outside, setup.fakes).map_err(|error| broken(&error))?;
        let bench = Self { host, name: id.to_string(), happened, waiting, _stage: stage };
        let view = bench.settled()?;
        Ok((bench, view))
    }

    fn settled(&self) -> Result<AddonView, AuthorError> {
        // The compiler has its own bound; this is for a host that says nothing at all.
        let patience = limits::COMPILE_WALL.saturating_add(limits::COMPILE_CPU);
        loop {
            let happening = self.happened.recv_timeout(patience);
            let happening = happening
                .map_err(|_| AuthorError::Host("it does not say whether the addon runs".to_owned()))?;
            if let Happening::State { to: Some(state), .. } = happening
                && state != AddonState::Loading
            {
                return self.view();
            }
        }
    }

    /// How the addon is.
    pub(crate) fn view(&self) -> Result<AddonView, AuthorError> {
        self.host.view(&self.name).map_err(|error| AuthorError::Host(error.to_string()))
    }

    /// Makes each of its calls once; false if it crashed.
    pub(crate) fn call_all(&self) -> bool {
        self.waiting.block_on(self.host.call_all(&self.name, 1))
    }

    /// What it has reported as events, in order.
    pub(crate) fn events(&self) -> Vec<String> {
        let reported = |happening| match happening {
            Happening::Reported(event) => Some(event.name),
            _ => None,
        };
        self.happened.try_iter().filter_map(reported).collect()
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        self.host.stop();
    }
}

/// Where compiled components are kept between two commands.
fn cache_dir() -> Option<PathBuf> {
    let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let cache =
        absolute("XDG_CACHE_HOME").or_else(|| Some(absolute("HOME")?.join(".cache")))?.join("lowtide");
    // Where this user cannot write, nothing is kept.
    std::fs::create_dir_all(&cache).is_ok().then(|| cache.join("compiled"))
}

/// A store in memory.
#[derive(Default)]
pub(crate) struct Store {
    pub(crate) unavailable: bool,
    values: Mutex<BTreeMap<String, Vec<u8>>>,
}

impl Store {
    pub(crate) fn new(values: BTreeMap<String, Vec<u8>>, unavailable: bool) -> Self {
        Self { unavailable, values: Mutex::new(values) }
    }

    /// What is in it.
    pub(crate) fn values(&self) -> MutexGuard<'_, BTreeMap<String, Vec<u8>>> {
        self.values.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn open(&self) -> Result<MutexGuard<'_, BTreeMap<String, Vec<u8>>>, KvError> {
        if self.unavailable {
            return Err(KvError::Unavailable("the store cannot be used now".to_owned()));
        }
        Ok(self.values())
    }
}

fn usage(values: &BTreeMap<String, Vec<u8>>) -> KvUsage {
    KvUsage { bytes: values.iter().map(|(key, value)| key.len() + value.len()).sum(), keys: values.len() }
}

impl Kv for Store {
    fn get(&self, _addon: &str, key: &str) -> Result<Option<Vec<u8>>, KvError> {
        Ok(self.open()?.get(key).cloned())
    }

    fn set(&self, _addon: &str, key: &str, value: &[u8], quota: KvUsage) -> Result<(), KvError> {
        let mut values = self.open()?;
        let mut after = values.clone();
        after.insert(key.to_owned(), value.to_vec());
        let used = usage(&after);
        if used.bytes > quota.bytes || used.keys > quota.keys {
            let text = format!(
                "{} bytes in {} keys are more than may be stored: delete some",
                used.bytes, used.keys
            );
            return Err(KvError::LimitExceeded(text));
        }
        *values = after;
        Ok(())
    }

    fn delete(&self, _addon: &str, key: &str) -> Result<(), KvError> {
        self.open()?.remove(key);
        Ok(())
    }

    fn list_keys(&self, _addon: &str, prefix: &str, limit: usize) -> Result<Vec<String>, KvError> {
        Ok(self.open()?.keys().filter(|key| key.starts_with(prefix)).take(limit).cloned().collect())
    }

    fn usage(&self, _addon: &str) -> Result<KvUsage, KvError> {
        Ok(usage(&*self.open()?))
    }
}

/// Writes the files of a made-up machine below a folder.
pub(crate) fn fake_files(
    root: &Path,
    files: &BTreeMap<String, String>,
    folders: &[String],
) -> Result<(), AuthorError> {
    let below = |path: &str| {
        let relative = path.strip_prefix('/').filter(|path| !path.split('/').any(|part| part == ".."));
        relative
            .map(|path| root.join(path))
            .ok_or_else(|| AuthorError::Input(format!("{path:?} is not an absolute path without ..")))
    };
    for folder in ["/proc", "/sys"].into_iter().chain(folders.iter().map(String::as_str)) {
        let folder = below(folder)?;
        std::fs::create_dir_all(&folder).map_err(AuthorError::file("make the folder", &folder))?;
    }
    files.iter().try_for_each(|(path, text)| write(&below(path)?, text.as_bytes()))
}
