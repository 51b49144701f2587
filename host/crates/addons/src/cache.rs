//! Compiled components: kept on disk between starts, shared in memory, compiled when neither has them.
//!
//! Compiled code is native code: whoever can write it runs with the daemon's rights. So a byte is loaded only when it came from the
//! compile child just now, or from a file that carries a hash made with the daemon's own key (`store`). It must never load code
//! that somebody brings along. Called by whoever loads addons.

mod store;

pub use store::CacheError;

use crate::compile::{CompileError, Compiler};
use crate::inspect::Inspection;
use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use store::{EntryName, Folder, Found, Trusted};
use wasmtime::Engine;
use wasmtime::component::Component;

/// How often what happened since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CacheStats {
    /// Components loaded from the folder.
    pub hits: u64,
    /// Components that were not there.
    pub misses: u64,
    /// Files removed because something about them was wrong.
    pub rejected: u64,
    /// Components put there.
    pub stored: u64,
    /// Components removed to keep within the bound.
    pub evicted: u64,
    /// Times that code was handed to wasmtime, whether it took it or not.
    pub deserialized: u64,
}

#[derive(Debug, Default)]
struct Counters {
    hits: AtomicU64,
    misses: AtomicU64,
    rejected: AtomicU64,
    stored: AtomicU64,
    evicted: AtomicU64,
    deserialized: AtomicU64,
}

/// The folder of compiled components. Removing files from it is always safe; removing the folder itself switches it off until the
/// next start.
#[derive(Debug)]
pub struct Cache {
    folder: Folder,
    engine: Engine,
    counters: Counters,
}

impl Cache {
    /// Opens the folder, and makes it and its key if they are not there.
    ///
    /// # Errors
    ///
    /// If somebody else could write into it or know its key, or if it cannot be made.
    pub fn open(folder: &Path, engine: Engine) -> Result<Self, CacheError> {
        let folder = Folder::open(folder)?;
        Ok(Self { folder, engine, counters: Counters::default() })
    }

    /// The engine that it loads into.
    #[must_use]
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// The compiled form of the component with this hash, and what the inspection said of it before it was compiled. What is wrong is
    /// removed, so that it is compiled again.
    #[must_use]
    pub fn load(&self, wasm: blake3::Hash) -> Option<(Component, Inspection)> {
        let name = EntryName::new(wasm);
        let code = match self.folder.read(&name) {
            Found::Nothing => {
                self.counters.misses.fetch_add(1, Ordering::Relaxed);
                return None;
            }
            Found::Unreadable(error) => {
                tracing::warn!(file = name.as_str(), %error, "could not read a compiled addon; it is compiled again");
                self.counters.misses.fetch_add(1, Ordering::Relaxed);
                return None;
            }
            Found::Wrong(why) => {
                self.reject(&name, &why);
                return None;
            }
            Found::Code(code) => code,
        };
        let inspection = serde_json::from_slice(code.note()).map_err(|error| error.to_string());
        let found = inspection.and_then(|inspection| {
            let component = self.deserialize(&code).map_err(|error| format!("{error:#}"))?;
            Ok((component, inspection))
        });
        match found {
            Ok(found) => {
                self.counters.hits.fetch_add(1, Ordering::Relaxed);
                Some(found)
            }
            Err(why) => {
                self.reject(&name, &why);
                None
            }
        }
    }

    /// Keeps code that the compiler made from the component with this hash. Removes the longest unused if the folder is full.
    ///
    /// # Errors
    ///
    /// If it cannot be written.
    fn store(&self, wasm: blake3::Hash, code: &Trusted) -> Result<(), CacheError> {
        let name = EntryName::new(wasm);
        self.folder.write(&name, code)?;
        self.counters.stored.fetch_add(1, Ordering::Relaxed);
        let evicted = self.folder.evict(&name)?;
        self.counters.evicted.fetch_add(evicted, Ordering::Relaxed);
        Ok(())
    }

    /// How often what happened.
    #[must_use]
    pub fn stats(&self) -> CacheStats {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        CacheStats {
            hits: read(&self.counters.hits),
            misses: read(&self.counters.misses),
            rejected: read(&self.counters.rejected),
            stored: read(&self.counters.stored),
            evicted: read(&self.counters.evicted),
            deserialized: read(&self.counters.deserialized),
        }
    }

    fn reject(&self, name: &EntryName, why: &str) {
        tracing::warn!(
            file = name.as_str(),
            why,
            "removed a compiled addon that cannot be trusted; it is compiled again"
        );
        self.counters.rejected.fetch_add(1, Ordering::Relaxed);
        self.folder.remove(name);
    }

    fn deserialize(&self, code: &Trusted) -> Result<Component, wasmtime::Error> {
        self.counters.deserialized.fetch_add(1, Ordering::Relaxed);
        deserialize(&self.engine, code)
    }
}

#[expect(
    unsafe_code,
    reason = "wasmtime cannot check compiled code; `Trusted` is proof of where it comes from"
)]
fn deserialize(engine: &Engine, code: &Trusted) -> Result<Component, wasmtime::Error> {
    // SAFETY: the bytes must be what `Engine::precompile_component` made. A `Trusted` is made in two places only: from the answer of the
    // compile child, and from a file whose keyed hash over its name and these very bytes in memory was right. The key is known to this
    // user alone, and wasmtime itself refuses code of another version, another processor or other settings.
    unsafe { Component::deserialize(engine, code.bytes()) }
}

/// Why there is no component.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LoadError {
    /// It was not compiled.
    #[error(transparent)]
    Compile(#[from] CompileError),
    /// It was compiled, but wasmtime does not take the result.
    #[error("the compiled component was not taken: {0}; restart the daemon, and report it if it comes again")]
    Unusable(String),
}

impl LoadError {
    /// Stable word for programs.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Compile(error) => error.code(),
            Self::Unusable(_) => "compile_unusable",
        }
    }

    /// Whether the same bytes would fail again: then only another file is worth a try.
    #[must_use]
    pub fn is_final(&self) -> bool {
        match self {
            Self::Compile(error) => error.is_final(),
            Self::Unusable(_) => false,
        }
    }
}

/// A component in memory. Addons with the same bytes share it; keep this for as long as anything made from it is in use.
#[derive(Clone)]
pub struct LoadedComponent {
    shared: Arc<Shared>,
}

struct Shared {
    component: Component,
    inspection: Arc<Inspection>,
    digest: blake3::Hash,
}

impl LoadedComponent {
    /// The component.
    #[must_use]
    pub fn component(&self) -> &Component {
        &self.shared.component
    }

    /// What the inspection said of it before it was compiled.
    #[must_use]
    pub fn inspection(&self) -> &Arc<Inspection> {
        &self.shared.inspection
    }

    /// The hash of its bytes before they were compiled.
    #[must_use]
    pub fn digest(&self) -> blake3::Hash {
        self.shared.digest
    }
}

impl std::fmt::Debug for LoadedComponent {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_tuple("LoadedComponent").field(&self.shared.digest).finish()
    }
}

/// The right to compile, until it is dropped.
#[derive(Debug)]
pub struct Turn<'a> {
    _turn: tokio::sync::MutexGuard<'a, ()>,
}

/// From bytes to components: from memory, from the folder, or from the compiler.
#[derive(Debug)]
pub struct Loader {
    cache: Arc<Cache>,
    compiler: Compiler,
    loaded: Mutex<HashMap<blake3::Hash, Weak<Shared>>>,
    /// Held while compiling, so that two addons with the same bytes are compiled once.
    turn: tokio::sync::Mutex<()>,
}

impl Loader {
    /// Joins the two.
    #[must_use]
    pub fn new(cache: Cache, compiler: Compiler) -> Self {
        let loaded = Mutex::new(HashMap::new());
        Self { cache: Arc::new(cache), compiler, loaded, turn: tokio::sync::Mutex::new(()) }
    }

    /// The folder.
    #[must_use]
    pub fn cache(&self) -> &Cache {
        &self.cache
    }

    /// Waits until no other component is being compiled.
    pub async fn turn(&self) -> Turn<'_> {
        Turn { _turn: self.turn.lock().await }
    }

    /// The component of these bytes, of which the inspection said this. Needs a tokio runtime.
    ///
    /// # Errors
    ///
    /// If it is nowhere and cannot be compiled.
    pub async fn component(
        &self,
        wasm: &[u8],
        inspection: &Inspection,
        _turn: Turn<'_>,
    ) -> Result<LoadedComponent, LoadError> {
        let digest = blake3::hash(wasm);
        if let Some(component) = self.find(digest).await? {
            return Ok(component);
        }
        // A plain struct always serialises.
        let note = serde_json::to_vec(inspection).unwrap_or_default();
        let code = Trusted::from_compiler(self.compiler.compile(wasm).await?, &note);
        let component = self.blocking(move |cache| cache.adopt(digest, &code)).await??;
        Ok(self.share(digest, component, inspection.clone()))
    }

    /// The component with this hash, if it is in memory or in the folder. Its bytes need not be inspected again.
    ///
    /// # Errors
    ///
    /// If the daemon is stopping.
    pub async fn find(&self, digest: blake3::Hash) -> Result<Option<LoadedComponent>, LoadError> {
        let shared = self.lock().get(&digest).and_then(Weak::upgrade);
        if let Some(shared) = shared {
            return Ok(Some(LoadedComponent { shared }));
        }
        let found = self.blocking(move |cache| cache.load(digest)).await?;
        Ok(found.map(|(component, inspection)| self.share(digest, component, inspection)))
    }

    /// Files and hashes of megabytes are not for the threads of the runtime.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Cache) -> T + Send + 'static,
    ) -> Result<T, LoadError> {
        let cache = Arc::clone(&self.cache);
        let work = tokio::task::spawn_blocking(move || work(&cache));
        work.await.map_err(|error| LoadError::Unusable(error.to_string()))
    }

    /// Puts a component where others find it, unless somebody was faster.
    fn share(&self, digest: blake3::Hash, component: Component, inspection: Inspection) -> LoadedComponent {
        let mut loaded = self.lock();
        if let Some(shared) = loaded.get(&digest).and_then(Weak::upgrade) {
            return LoadedComponent { shared };
        }
        loaded.retain(|_, component| component.strong_count() > 0);
        let shared = Arc::new(Shared { component, inspection: Arc::new(inspection), digest });
        loaded.insert(digest, Arc::downgrade(&shared));
        LoadedComponent { shared }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<blake3::Hash, Weak<Shared>>> {
        self.loaded.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Cache {
    /// Loads what was compiled just now and keeps it. That it cannot be kept costs a compilation at the next start, no more.
    fn adopt(&self, digest: blake3::Hash, code: &Trusted) -> Result<Component, LoadError> {
        let component = self.deserialize(code).map_err(|error| LoadError::Unusable(format!("{error:#}")))?;
        if let Err(error) = self.store(digest, code) {
            tracing::warn!(%error, "could not keep a compiled addon; it is compiled again at the next start");
        }
        Ok(component)
    }
}

#[cfg(test)]
mod tests;
