//! A stage for addons: a host with a folder of its own, a companion that must not notice the others, and a thread that asks for
//! reports as the tick does. It knows nothing of single fixtures; the modules beside it put them here and look at them.

use crate::daemon::{self, eventually_within, pause};
use lowtide_addons::cache::Cache;
use lowtide_addons::caps::kv::{Kv, KvError, KvUsage};
use lowtide_addons::caps::log::LogLine;
use lowtide_addons::compile::{CHILD_ARGUMENT, CompileCommand};
use lowtide_addons::id::AddonId;
use lowtide_addons::{AddonConfig, AddonHost, AddonView, Happening, HostConfig, Outside, engine};
use lowtide_clock as clock;
use lowtide_core::quiet::Presence;
use lowtide_core::report::{CollectorReport, CollectorStatus};
use lowtide_core::state::HostState;
use lowtide_core::units::MonoTime;
use lowtide_store::{KvQuota, Store, StoreError};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::Duration;
use tempfile::TempDir;
use tokio::sync::watch;

/// What any wait may take here: on a machine in trouble, fifty guests are compiled first.
pub(crate) const PATIENCE: Duration = Duration::from_secs(100);

/// The addon that behaves well.
pub(crate) const COMPANION: &str = "companion";

/// How often reports are asked for: much more often than a tick does, so that lateness shows.
const REPORT_EVERY: Duration = Duration::from_millis(20);

/// Whether times are to be held strictly: on a machine that has nothing else to do.
pub(crate) fn is_strict() -> bool {
    std::env::var("LOWTIDE_SOAK").is_ok_and(|value| value == "1")
}

/// The folder with the guests that were built for the tests.
pub(crate) fn built() -> PathBuf {
    match std::env::var_os("LOWTIDE_TEST_ADDONS") {
        Some(folder) => folder.into(),
        None => panic!(
            "there are no guests to test with: run `cargo xtask test`, or name their folder in LOWTIDE_TEST_ADDONS"
        ),
    }
}

/// The folder with a fixture's manifest and component.
pub(crate) fn built_fixture(id: &str) -> PathBuf {
    let folder = built().join("fixtures").join(id);
    assert!(folder.is_dir(), "the fixture {id} was not built: run `cargo xtask test`");
    folder
}

/// A component of a `.wat` file, or of its core: see `wrapped`.
pub(crate) fn written_fixture(id: &str) -> Vec<u8> {
    let file = sources().join("wat").join(format!("{id}.wat"));
    let text = fs::read_to_string(&file).unwrap();
    let whole = if text.contains("(component") { text } else { wrapped(&text) };
    wat::parse_str(&whole).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

/// Where the sources of the fixtures are.
pub(crate) fn sources() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixture-addons")
}

/// Makes a component that exports `custom-stats` of the fields of a core module, which has a memory and the function `stats`, and may
/// have `post`, which is called when the answer was taken.
pub(crate) fn wrapped(fields: &str) -> String {
    let post =
        if fields.contains("(export \"post\")") { "(post-return (core func $i \"post\"))" } else { "" };
    format!(
        r#"(component
            (import "lowtide:addon/types@0.1.0" (instance $types
                (type $f (variant (case "absent" string) (case "config" string) (case "unavailable" string)
                    (case "denied" string) (case "other" string)))
                (export "failure" (type (eq $f)))))
            (alias export $types "failure" (type $failure))
            (core module $m {fields})
            (core instance $i (instantiate $m))
            (func $stats (result (result string (error $failure)))
                (canon lift (core func $i "stats") (memory (core memory $i "memory")) {post}))
            (instance $e (export "stats" (func $stats)))
            (export "lowtide:addon/custom-stats@0.1.0" (instance $e)))"#
    )
}

/// The real store behind `kv`.
struct Shelf(Store);

fn told(error: StoreError) -> KvError {
    match error {
        StoreError::Quota(text) => KvError::LimitExceeded(text),
        other => KvError::Unavailable(other.to_string()),
    }
}

impl Kv for Shelf {
    fn get(&self, addon: &str, key: &str) -> Result<Option<Vec<u8>>, KvError> {
        self.0.kv_get(addon, key).map_err(told)
    }

    fn set(&self, addon: &str, key: &str, value: &[u8], quota: KvUsage) -> Result<(), KvError> {
        self.0.kv_set(addon, key, value, KvQuota { bytes: quota.bytes, keys: quota.keys }).map_err(told)
    }

    fn delete(&self, addon: &str, key: &str) -> Result<(), KvError> {
        self.0.kv_delete(addon, key).map_err(told)
    }

    fn list_keys(&self, addon: &str, prefix: &str, limit: usize) -> Result<Vec<String>, KvError> {
        self.0.kv_list(addon, prefix, limit).map_err(told)
    }

    fn usage(&self, addon: &str) -> Result<KvUsage, KvError> {
        let KvQuota { bytes, keys } = self.0.kv_usage(addon).map_err(told)?;
        Ok(KvUsage { bytes, keys })
    }
}

/// What the thread that asks for reports has seen.
#[derive(Default)]
pub(crate) struct Watched {
    /// The newest report of each collector.
    pub(crate) reports: BTreeMap<String, CollectorReport>,
    /// How late each round of reports was over, in microseconds.
    pub(crate) late_us: Vec<u64>,
    /// What the companion said in each fresh report.
    pub(crate) heard: Vec<f64>,
    /// What was wrong with the companion, if anything ever was.
    pub(crate) wrong: Vec<String>,
}

impl Watched {
    fn take(&mut self, reports: Vec<CollectorReport>) {
        for report in reports {
            if *report.info.name == *format!("addon.{COMPANION}") {
                self.hear(&report);
            }
            self.reports.insert(report.info.name.to_string(), report);
        }
    }

    fn hear(&mut self, report: &CollectorReport) {
        if !matches!(report.status, CollectorStatus::Ok | CollectorStatus::Pending) || report.failures > 0 {
            self.wrong.push(format!("{:?} after {} runs: {:?}", report.status, report.runs, report.error));
        }
        if report.fresh
            && let Some(samples) = &report.samples
        {
            self.heard.extend(samples.of("addon_companion_value").map(|(_, value)| value));
        }
    }
}

/// A host on a folder of its own.
pub(crate) struct Stage {
    pub(crate) host: AddonHost,
    home: TempDir,
    told: Arc<Mutex<Vec<Happening>>>,
    watched: Arc<Mutex<Watched>>,
    stop: Arc<AtomicBool>,
    watcher: Option<JoinHandle<()>>,
    // Without its sender nothing is known of the machine, which is also what a daemon shows that has just started.
    _state: watch::Sender<Option<Arc<HostState>>>,
}

impl Stage {
    /// A host whose folder is empty, with what the operator says about addons.
    pub(crate) fn new(addons: BTreeMap<AddonId, AddonConfig>) -> Self {
        Self::with(|config| config.addons = addons)
    }

    /// The same with any other change of its settings.
    pub(crate) fn with(change: impl FnOnce(&mut HostConfig)) -> Self {
        let home = tempfile::tempdir().unwrap();
        let proc_dir = home.path().join("proc");
        make_proc(&proc_dir);
        fs::create_dir(home.path().join("addons")).unwrap();
        let mut config = HostConfig {
            folder: home.path().join("addons"),
            cache_dir: cache(),
            disabled_file: home.path().join("disabled"),
            proc_dir,
            sys_dir: "/sys".into(),
            compile: CompileCommand { program: daemon::program(), arguments: vec![CHILD_ARGUMENT.into()] },
            addons: BTreeMap::new(),
        };
        change(&mut config);
        let told = Arc::new(Mutex::new(Vec::new()));
        let (state_sender, state) = watch::channel(None);
        let store = Store::open(&home.path().join("store.db")).unwrap();
        let tell = Arc::clone(&told);
        let outside = Outside {
            state,
            kv: Arc::new(Shelf(store)),
            leases: None,
            tell: Arc::new(move |happening| tell.lock().unwrap().push(happening)),
        };
        let host = AddonHost::start(config, outside).unwrap();
        let (watched, stop) = (Arc::default(), Arc::default());
        let watcher = std::thread::spawn({
            let (host, watched, stop) = (host.clone(), Arc::clone(&watched), Arc::clone(&stop));
            move || watch(&host, &watched, &stop)
        });
        Self { host, home, told, watched, stop, watcher: Some(watcher), _state: state_sender }
    }

    /// The folder that the host looks at.
    pub(crate) fn folder(&self) -> PathBuf {
        self.home.path().join("addons")
    }

    /// A place on the same disk that the host does not look at.
    pub(crate) fn aside(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    /// Puts a fixture that was built into the folder, whole.
    pub(crate) fn put(&self, id: &str) {
        self.put_as(id, id);
    }

    /// Puts a fixture into the folder under another id.
    pub(crate) fn put_as(&self, id: &str, source: &str) {
        let part = self.aside(&format!("{id}.making"));
        fs::create_dir(&part).unwrap();
        let from = built_fixture(source);
        let manifest = fs::read_to_string(from.join("addon.toml")).unwrap();
        fs::write(part.join("addon.toml"), manifest.replace(&format!("\"{source}\""), &format!("\"{id}\"")))
            .unwrap();
        fs::copy(from.join(format!("{source}.wasm")), part.join(format!("{id}.wasm"))).unwrap();
        fs::rename(part, self.folder().join(id)).unwrap();
    }

    /// Puts bytes into the folder as `<id>.wasm`, whole.
    pub(crate) fn put_bytes(&self, id: &str, bytes: &[u8]) {
        let part = self.aside(&format!("{id}.making"));
        fs::write(&part, bytes).unwrap();
        fs::rename(part, self.folder().join(format!("{id}.wasm"))).unwrap();
    }

    /// Removes an addon, whichever form it has.
    pub(crate) fn take_away(&self, id: &str) {
        let (folder, file) = (self.folder().join(id), self.folder().join(format!("{id}.wasm")));
        if folder.exists() {
            fs::remove_dir_all(folder).unwrap();
        } else {
            fs::remove_file(file).unwrap();
        }
    }

    /// What is known of an addon, once this is so.
    pub(crate) fn until(&self, id: &str, what: &str, is_so: impl Fn(&AddonView) -> bool) -> AddonView {
        let end = clock::mono().plus(PATIENCE);
        loop {
            let view = self.host.view(id).ok();
            if let Some(view) = view.as_ref().filter(|view| is_so(view)) {
                return view.clone();
            }
            let found = view
                .map(|view| format!("{} {:?} pending {:?}", view.state.name(), view.problem, view.pending));
            assert!(
                clock::mono() < end,
                "{id} never was as it should: {what}; it is {found:?}, and before: {:?}",
                self.told(id)
            );
            pause();
        }
    }

    /// Puts the companion there and waits until it has collected.
    pub(crate) fn bring_companion(&self) {
        self.put(COMPANION);
        eventually_within(PATIENCE, "the companion has collected", || {
            (!self.watched().heard.is_empty()).then_some(())
        });
    }

    pub(crate) fn watched(&self) -> MutexGuard<'_, Watched> {
        self.watched.lock().unwrap()
    }

    /// The newest report of an addon.
    pub(crate) fn report(&self, id: &str) -> Option<CollectorReport> {
        self.watched().reports.get(&format!("addon.{id}")).cloned()
    }

    /// Who is there according to an addon.
    pub(crate) fn presence(&self, id: &str) -> Vec<Presence> {
        self.host.presence(clock::now()).into_iter().filter(|presence| presence.source == id).collect()
    }

    /// The lines of an addon's log that are kept.
    pub(crate) fn log(&self, id: &str) -> Vec<Arc<LogLine>> {
        self.host.newest_log(id, usize::MAX).unwrap_or_default()
    }

    /// What happened to an addon, in order.
    pub(crate) fn told(&self, id: &str) -> Vec<Happening> {
        let is_its = |happening: &&Happening| match happening {
            Happening::State { addon, .. } => addon == id,
            Happening::Replaced { addon, .. } => addon.as_str() == id,
            Happening::Reported(event) => event.addon.as_str() == id,
        };
        self.told.lock().unwrap().iter().filter(is_its).cloned().collect()
    }

    /// Asserts that the companion was not disturbed since `since`: no call failed, none was left out, no sample was lost.
    pub(crate) fn assert_companion_is_well(&self, since: MonoTime) {
        let view = self.host.view(COMPANION).unwrap();
        let metered = view.metered;
        assert_eq!((view.state.name(), view.problem.as_ref()), ("running", None));
        assert_eq!((metered.crashes, metered.restarts, metered.failures), (0, 0, 0));
        let watched = self.watched();
        assert_eq!(watched.wrong, Vec::<String>::new(), "the companion noticed something");
        for pair in watched.heard.windows(2) {
            assert_eq!(pair[1], pair[0] + 1.0, "a sample of the companion was lost");
        }
        // One call a second; a machine that is busy otherwise may be late with some.
        let seconds = clock::mono().since(since).as_secs_f64();
        let share = if is_strict() { 0.95 } else { 0.6 };
        let calls = watched.heard.len() as f64;
        assert!(calls >= (seconds - 3.0) * share, "the companion collected {calls} times in {seconds:.1} s");
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        if let Some(watcher) = self.watcher.take() {
            let _ = watcher.join();
        }
        self.host.stop();
    }
}

/// Asks for reports at fixed moments, as the tick does.
fn watch(host: &AddonHost, watched: &Mutex<Watched>, stop: &AtomicBool) {
    let mut due = clock::mono();
    while !stop.load(Ordering::SeqCst) {
        due = due.plus(REPORT_EVERY);
        let wait = due.since(clock::mono());
        if !wait.is_zero() {
            std::thread::park_timeout(wait);
        }
        let reports = host.reports(clock::now());
        let over = clock::mono();
        let mut watched = watched.lock().unwrap();
        watched.late_us.push(u64::try_from(over.since(due).as_micros()).unwrap_or(u64::MAX));
        watched.take(reports);
        // What was missed is not made up for.
        due = due.plus(Duration::from_millis(u64::try_from(over.since(due).as_millis()).unwrap_or(0)));
    }
}

/// A `/proc` with a file that may be read, and ways out of it.
fn make_proc(folder: &Path) {
    use std::os::unix::fs::symlink;
    fs::create_dir(folder).unwrap();
    fs::write(folder.join("granted"), "yes").unwrap();
    symlink("/etc/passwd", folder.join("escape")).unwrap();
    symlink("/etc", folder.join("away")).unwrap();
    for (process, files) in [("1", ["environ", "mem", "cmdline"]), ("self", ["environ", "mem", "cmdline"])] {
        fs::create_dir(folder.join(process)).unwrap();
        for file in files {
            fs::write(folder.join(process).join(file), "secret").unwrap();
        }
    }
    fs::write(folder.join("kcore"), "secret").unwrap();
}

/// The folder of compiled guests that all tests share. Its key is made by one of them.
pub(crate) fn cache() -> PathBuf {
    let folder = built().join("cache");
    let lock = File::create(built().join("cache.lock")).unwrap();
    lock.lock().unwrap();
    drop(Cache::open(&folder, engine::running().unwrap()).unwrap());
    folder
}

/// What the operator grants, written as JSON.
pub(crate) fn granting(grants: &str) -> AddonConfig {
    AddonConfig { grants: serde_json::from_str(grants).unwrap(), ..AddonConfig::default() }
}

pub(crate) fn id(text: &str) -> AddonId {
    AddonId::new(text).unwrap()
}

/// The value at this share of the sorted values.
pub(crate) fn quantile(values: &[u64], share: f64) -> u64 {
    let mut sorted = values.to_vec();
    sorted.sort_unstable();
    let place = (sorted.len() as f64 * share) as usize;
    sorted.get(place.min(sorted.len().saturating_sub(1))).copied().unwrap_or(0)
}
