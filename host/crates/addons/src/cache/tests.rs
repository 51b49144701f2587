//! Tests of the cache: what is kept, shared and removed, and above all what is never loaded.

use super::store::{Folder, Found};
use super::*;
use crate::compile::tests::{block_on, command, small};
use crate::engine;
use rustix::fs::{Timespec, Timestamps};
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;

/// A cache in a folder of its own, with one component in it.
struct Bench {
    folder: tempfile::TempDir,
    cache: Cache,
    digest: blake3::Hash,
    file: PathBuf,
}

impl Bench {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::open(&folder.path().join("cache"), engine::running().unwrap()).unwrap();
        let digest = blake3::hash(b"one");
        cache.store(digest, &code(1)).unwrap();
        let name = EntryName::new(digest);
        let file = folder.path().join("cache").join(name.as_str());
        Self { folder, cache, digest, file }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("cache")
    }

    fn loads(&self) -> bool {
        self.cache.load(self.digest).is_some()
    }

    /// Says that the file, as it is now, is removed without wasmtime seeing it.
    fn is_rejected(&self) -> bool {
        let before = self.cache.stats();
        let loaded = self.loads();
        let after = self.cache.stats();
        assert_eq!(after.deserialized, before.deserialized, "wasmtime has seen it");
        assert!(!self.file.is_symlink() && !self.file.exists(), "it is still there");
        !loaded && after.rejected == before.rejected + 1
    }
}

fn inspection() -> Inspection {
    Inspection { version: "0.1.0".to_owned(), functions: 3, ..Inspection::default() }
}

fn note() -> Vec<u8> {
    serde_json::to_vec(&inspection()).unwrap()
}

impl LoadedComponent {
    /// Compiled in this process, for tests that need thousands.
    pub(crate) fn compiled_here(
        engine: &Engine,
        compiler: &Engine,
        wasm: &[u8],
        inspection: &Arc<Inspection>,
    ) -> wasmtime::Result<Self> {
        let code = Trusted::from_compiler(compiler.precompile_component(wasm)?, &[]);
        let component = deserialize(engine, &code)?;
        let inspection = Arc::clone(inspection);
        Ok(Self { shared: Arc::new(Shared { component, inspection, digest: blake3::hash(wasm) }) })
    }
}

fn code(number: u32) -> Trusted {
    Trusted::from_compiler(
        engine::compiling().unwrap().precompile_component(&small(number)).unwrap(),
        &note(),
    )
}

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// Pseudorandom numbers that are the same in every run.
fn numbers(mut state: u64) -> impl Iterator<Item = u64> {
    std::iter::repeat_with(move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    })
}

#[test]
fn what_is_stored_loads_and_nobody_else_can_read_or_write_it() {
    let bench = Bench::new();
    assert!(bench.loads());
    assert!(bench.cache.load(blake3::hash(b"another")).is_none());
    let stats = bench.cache.stats();
    assert_eq!((stats.hits, stats.misses, stats.stored, stats.rejected), (1, 1, 1, 0));
    assert_eq!(mode(&bench.path()), 0o700);
    assert_eq!(mode(&bench.file), 0o600);
    assert_eq!(mode(&bench.path().join("key")), 0o600);
    assert_eq!(fs::read(bench.path().join("key")).unwrap().len(), 32);

    let again = Cache::open(&bench.path(), engine::running().unwrap()).unwrap();
    assert!(again.load(bench.digest).is_some(), "after a restart");
}

#[test]
fn no_file_with_one_bit_flipped_reaches_wasmtime() {
    let bench = Bench::new();
    let whole = fs::read(&bench.file).unwrap();
    let bits = whole.len() * 8;
    let header = 0..44 * 8;
    let anywhere = numbers(0x5eed).map(|number| (number % bits as u64) as usize);
    let mut flips = 0;
    for bit in header.chain(anywhere).take(10_000) {
        let mut flipped = whole.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        fs::write(&bench.file, flipped).unwrap();
        assert!(bench.is_rejected(), "bit {bit} of {bits}");
        flips += 1;
    }
    assert_eq!((flips, bench.cache.stats().rejected, bench.cache.stats().deserialized), (10_000, 10_000, 0));
    fs::write(&bench.file, whole).unwrap();
    assert!(bench.loads(), "written in the same way, but whole");
}

#[test]
fn no_truncated_or_lengthened_file_reaches_wasmtime() {
    let bench = Bench::new();
    let whole = fs::read(&bench.file).unwrap();
    let lengths = (0..100).chain(numbers(7).take(200).map(|number| (number % whole.len() as u64) as usize));
    for length in lengths.chain([whole.len() - 1]) {
        fs::write(&bench.file, &whole[..length]).unwrap();
        assert!(bench.is_rejected(), "{length} bytes");
    }
    fs::write(&bench.file, [&whole[..], &[0]].concat()).unwrap();
    assert!(bench.is_rejected(), "a byte more");
    let sparse = fs::File::create(&bench.file).unwrap();
    sparse.set_len(1 << 40).unwrap();
    assert!(bench.is_rejected(), "a file of a terabyte is not read");
}

#[test]
fn code_from_elsewhere_never_reaches_wasmtime() {
    let bench = Bench::new();
    let whole = fs::read(&bench.file).unwrap();
    let foreign = engine::compiling().unwrap().precompile_component(&small(2)).unwrap();
    let with_header = [b"LOWTIDE2".as_slice(), &[0; 32], &foreign].concat();
    let plain_hash = [b"LOWTIDE2".as_slice(), blake3::hash(&foreign).as_bytes(), &foreign].concat();
    for (what, bytes) in
        [("bare", &foreign), ("no hash", &with_header), ("a hash without the key", &plain_hash)]
    {
        fs::write(&bench.file, bytes).unwrap();
        assert!(bench.is_rejected(), "{what}");
    }

    let other = Bench::new();
    fs::copy(&other.file, &bench.file).unwrap();
    assert!(bench.is_rejected(), "made with another key, for the same component");

    let two = blake3::hash(b"two");
    bench.cache.store(two, &code(2)).unwrap();
    let name = EntryName::new(two);
    fs::rename(bench.path().join(name.as_str()), &bench.file).unwrap();
    assert!(bench.is_rejected(), "ours, but of another component");

    fs::write(&bench.file, whole).unwrap();
    assert!(bench.loads());
}

#[test]
fn links_pipes_and_files_that_others_can_write_are_removed() {
    let bench = Bench::new();
    let whole = fs::read(&bench.file).unwrap();
    let aside = bench.folder.path().join("aside");
    fs::rename(&bench.file, &aside).unwrap();
    symlink(&aside, &bench.file).unwrap();
    assert!(bench.is_rejected(), "a link to the true file");
    assert!(aside.exists(), "what it points to stays");

    rustix::fs::mknodat(rustix::fs::CWD, &bench.file, rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR, 0)
        .unwrap();
    assert!(bench.is_rejected(), "a pipe, and nobody waits for it");

    for mode in [0o620, 0o602, 0o666] {
        fs::write(&bench.file, &whole).unwrap();
        set_mode(&bench.file, mode);
        assert!(bench.is_rejected(), "mode {mode:o}");
    }
    fs::write(&bench.file, &whole).unwrap();
    assert!(bench.loads());
}

#[test]
fn a_file_of_another_user_is_removed() {
    if !rustix::process::geteuid().is_root() {
        return; // Only root can give a file away.
    }
    let bench = Bench::new();
    std::os::unix::fs::chown(&bench.file, Some(65_534), None).unwrap();
    assert!(bench.is_rejected());
    std::os::unix::fs::chown(bench.path().join("key"), Some(65_534), None).unwrap();
    let error = Cache::open(&bench.path(), engine::running().unwrap()).unwrap_err();
    assert_eq!(error.code(), "cache_key_owner");
    std::os::unix::fs::chown(bench.path(), Some(65_534), None).unwrap();
    let error = Cache::open(&bench.path(), engine::running().unwrap()).unwrap_err();
    assert_eq!(error.code(), "cache_folder_owner");
}

#[test]
fn a_folder_or_key_that_others_reach_is_refused() {
    let bench = Bench::new();
    let open = || Cache::open(&bench.path(), engine::running().unwrap());
    for wrong in [0o770, 0o720, 0o702, 0o755, 0o701] {
        set_mode(&bench.path(), wrong);
        let error = open().unwrap_err();
        assert_eq!(error.code(), "cache_folder_mode");
        assert!(error.to_string().contains("chmod 700 /"), "{error}");
    }
    set_mode(&bench.path(), 0o700);
    let key = bench.path().join("key");
    for wrong in [0o640, 0o604, 0o620, 0o666] {
        set_mode(&key, wrong);
        let error = open().unwrap_err();
        assert_eq!(error.code(), "cache_key_mode");
        assert!(error.to_string().contains("remove it"), "{error}");
    }
    set_mode(&key, 0o600);
    assert!(open().unwrap().load(bench.digest).is_some());
}

#[test]
fn links_in_place_of_the_folder_or_the_key_are_refused() {
    let bench = Bench::new();
    let link = bench.folder.path().join("link");
    symlink(bench.path(), &link).unwrap();
    let engine = engine::running().unwrap();
    assert_eq!(Cache::open(&link, engine.clone()).unwrap_err().code(), "cache_not_a_folder");
    let file = bench.folder.path().join("file");
    fs::write(&file, "").unwrap();
    assert_eq!(Cache::open(&file, engine.clone()).unwrap_err().code(), "cache_not_a_folder");

    let (key, aside) = (bench.path().join("key"), bench.folder.path().join("aside"));
    fs::rename(&key, &aside).unwrap();
    symlink(&aside, &key).unwrap();
    assert_eq!(Cache::open(&bench.path(), engine.clone()).unwrap_err().code(), "cache_key_kind");
    fs::remove_file(&key).unwrap();
    fs::create_dir(&key).unwrap();
    assert_eq!(Cache::open(&bench.path(), engine).unwrap_err().code(), "cache_key_kind");
}

#[test]
fn a_lost_or_torn_key_makes_everything_be_compiled_again() {
    for torn in [None, Some(""), Some("short"), Some("much more than the thirty-two bytes of a key")] {
        let bench = Bench::new();
        let key = bench.path().join("key");
        fs::remove_file(&key).unwrap();
        if let Some(text) = torn {
            fs::write(&key, text).unwrap();
            set_mode(&key, 0o600);
        }
        let cache = Cache::open(&bench.path(), engine::running().unwrap()).unwrap();
        assert!(cache.load(bench.digest).is_none());
        assert_eq!((cache.stats().rejected, cache.stats().deserialized), (1, 0));
        assert_eq!((fs::read(&key).unwrap().len(), mode(&key)), (32, 0o600));
    }
}

#[test]
fn code_of_another_configuration_under_our_name_is_refused_by_wasmtime() {
    let bench = Bench::new();
    let mut config = engine::compiling_config();
    config.epoch_interruption(false);
    let code = Engine::new(&config).unwrap().precompile_component(&small(1)).unwrap();
    bench.cache.store(bench.digest, &Trusted::from_compiler(code, &note())).unwrap();
    assert!(!bench.loads());
    assert_eq!((bench.cache.stats().rejected, bench.cache.stats().deserialized), (1, 1));
    assert!(!bench.file.exists());
}

#[test]
fn the_longest_unused_go_first_and_half_written_ones_at_the_start() {
    let bench = Bench::new();
    let size = fs::metadata(&bench.file).unwrap().len();
    let folder = Folder::open_with(&bench.path(), 3 * size).unwrap();
    let names: Vec<_> = (0..4_u8).map(|n| EntryName::new(blake3::hash(&[n]))).collect();
    let code = code(1);
    let path = |at: usize| bench.path().join(names[at].as_str());
    let used = |path: &Path, tv_sec| {
        let time = Timespec { tv_sec, tv_nsec: 0 };
        let times = Timestamps { last_access: time, last_modification: time };
        rustix::fs::futimens(fs::File::open(path).unwrap(), &times).unwrap();
    };
    fs::remove_file(&bench.file).unwrap();
    for (at, when) in [(0, 1_000), (1, 3_000), (2, 2_000)] {
        folder.write(&names[at], &code).unwrap();
        used(&path(at), when);
    }
    assert_eq!(folder.evict(&names[2]).unwrap(), 0, "all fit");
    assert!(matches!(folder.read(&names[0]), Found::Code(_)), "the oldest is used now");
    folder.write(&names[3], &code).unwrap();
    assert_eq!(folder.evict(&names[3]).unwrap(), 1);
    assert_eq!([0, 1, 2, 3].map(|at| path(at).exists()), [true, true, false, true]);

    let tiny = Folder::open_with(&bench.path(), 0).unwrap();
    assert_eq!(tiny.evict(&names[3]).unwrap(), 2, "the one just written stays in any case");
    assert_eq!([0, 1, 2, 3].map(|at| path(at).exists()), [false, false, false, true]);

    fs::write(bench.path().join("unfinished-0123"), "x").unwrap();
    fs::write(bench.path().join("notes of the operator"), "x").unwrap();
    drop(Folder::open(&bench.path()).unwrap());
    assert!(!bench.path().join("unfinished-0123").exists());
    assert!(bench.path().join("notes of the operator").exists() && bench.path().join("key").exists());
}

#[test]
fn a_folder_that_is_gone_costs_a_compilation_and_no_more() {
    let bench = Bench::new();
    fs::remove_dir_all(bench.path()).unwrap();
    assert!(!bench.loads());
    let error = bench.cache.store(bench.digest, &code(1)).unwrap_err();
    assert_eq!(error.code(), "cache_io");
    assert!(bench.cache.adopt(bench.digest, &code(1)).is_ok());
}

fn loader(folder: &Path) -> Loader {
    Loader::new(Cache::open(folder, engine::running().unwrap()).unwrap(), Compiler::new(command("default")))
}

/// As a load does it.
async fn component(loader: &Loader, wasm: &[u8]) -> Result<LoadedComponent, LoadError> {
    match loader.find(blake3::hash(wasm)).await? {
        Some(component) => Ok(component),
        None => loader.component(wasm, &inspection(), loader.turn().await).await,
    }
}

#[test]
fn a_component_is_compiled_once_shared_while_in_use_and_then_loaded() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cache");
    let (wasm, other) = (small(3), small(4));
    block_on(async {
        let loader = loader(&path);
        let (first, second) = tokio::join!(component(&loader, &wasm), component(&loader, &wasm));
        let (first, second) = (first.unwrap(), second.unwrap());
        assert!(Arc::ptr_eq(&first.shared, &second.shared), "one in memory");
        assert_eq!(loader.cache().stats().stored, 1, "compiled once");
        assert_eq!(first.digest(), blake3::hash(&wasm));
        drop((first, second));

        let third = component(&loader, &wasm).await.unwrap();
        assert_eq!(
            (loader.cache().stats().hits, loader.cache().stats().stored),
            (1, 1),
            "loaded from the folder"
        );
        let fourth = component(&loader, &other).await.unwrap();
        assert!(!Arc::ptr_eq(&third.shared, &fourth.shared));
        assert_eq!(loader.lock().len(), 2);
        drop((third, fourth));
        let _fifth = component(&loader, &other).await.unwrap();
        assert_eq!(loader.lock().len(), 1, "what nobody uses is forgotten");
    });
    block_on(async {
        let loader = loader(&path);
        let loaded = component(&loader, &wasm).await.unwrap();
        assert_eq!(**loaded.inspection(), inspection(), "kept beside the code");
        let stats = loader.cache().stats();
        assert_eq!((stats.hits, stats.stored), (1, 0), "after a restart");
    });
}

#[test]
fn what_the_compiler_refuses_is_not_kept() {
    let folder = tempfile::tempdir().unwrap();
    let loader = loader(&folder.path().join("cache"));
    let error = block_on(component(&loader, b"garbage")).unwrap_err();
    assert_eq!(error.code(), "compile_invalid");
    assert!(error.is_final());
    assert_eq!(fs::read_dir(folder.path().join("cache")).unwrap().count(), 1, "only the key");
}

#[test]
fn those_that_start_at_once_have_one_key() {
    for _ in 0..20 {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cache");
        let caches: Vec<Cache> = std::thread::scope(|scope| {
            let start = || Cache::open(&path, engine::running().unwrap()).unwrap();
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(start)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        let digest = blake3::hash(b"one");
        caches[0].store(digest, &code(1)).unwrap();
        assert!(caches.iter().all(|cache| cache.load(digest).is_some()), "a key of its own");
    }
}
