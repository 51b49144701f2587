//! From files to something that can be instantiated: read, inspect, check the grants, compile or take from the cache, resolve. Every way
//! that this can fail ends in a problem with a word and a sentence.

use super::{AddonConfig, HostConfig, Inner};
use crate::addon::Identity;
use crate::cache::{Cache, CacheError, LoadError, Loader};
use crate::caps::host_data::DataDesk;
use crate::caps::http::HttpDesk;
use crate::caps::kv::KvDesk;
use crate::caps::leases::LeaseDesk;
use crate::caps::log::clean;
use crate::compile::Compiler;
use crate::discover::{self, AddonFileError, AddonFiles, Candidate};
use crate::grants::{self, GrantError};
use crate::guest::Abilities;
use crate::id::AddonId;
use crate::inspect::{self, InspectError, Inspection};
use crate::instance::{Machine, MachineError, Template};
use crate::limits;
use crate::status::Problem;
use crate::task::Load;
use lowtide_clock as clock;
use lowtide_core::limits::ERROR_TEXT_BYTES_MAX;
use std::sync::Arc;
use tokio::sync::Semaphore;

/// Why an addon is not loaded.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refusal {
    #[error(transparent)]
    Files(#[from] AddonFileError),
    #[error(transparent)]
    Inspect(#[from] InspectError),
    #[error(transparent)]
    Grants(#[from] GrantError),
    #[error(transparent)]
    Compile(#[from] LoadError),
    #[error(
        "does not fit the interface: {0}; build it against the WIT of this version (lowtide addon new shows it)"
    )]
    Link(String),
    #[error("the cache of compiled addons is not used: {0}")]
    Cache(#[from] CacheError),
    #[error("the addon host is broken: {0}")]
    Machine(String),
}

impl Refusal {
    fn code(&self) -> &'static str {
        match self {
            Self::Files(error) => error.code(),
            Self::Inspect(error) => error.code(),
            Self::Grants(error) => error.code(),
            Self::Compile(error) => error.code(),
            Self::Link(_) => "interface_mismatch",
            Self::Cache(error) => error.code(),
            Self::Machine(_) => "addon_host",
        }
    }

    pub(super) fn problem(&self) -> Problem {
        // The texts of grants have lines to paste, so this one is only cut and not cleaned of line ends.
        let text = match self {
            Self::Grants(error) => error.to_string(),
            other => clean(&other.to_string(), ERROR_TEXT_BYTES_MAX).into_owned(),
        };
        Problem { code: self.code(), text, at: clock::now().wall }
    }

    /// The file was being written: it is looked at again, and nobody has to know.
    pub(super) fn is_passing(&self) -> bool {
        matches!(self, Self::Files(AddonFileError::StillChanging(_)))
    }
}

/// What loading needs, made when the first addon is loaded: a daemon without addons does not pay for wasmtime.
pub(super) struct Workshop {
    machine: Machine,
    loader: Loader,
}

impl Workshop {
    pub(super) fn new(config: &HostConfig) -> Result<Self, Refusal> {
        let broken = |error: &dyn std::error::Error| {
            let cause = error.source().map(|cause| format!(": {cause}")).unwrap_or_default();
            Refusal::Machine(format!("{error}{cause}"))
        };
        let machine = Machine::new().map_err(|error: MachineError| broken(&error))?;
        let cache = Cache::open(&config.cache_dir, machine.engine.clone())?;
        let loader = Loader::new(cache, Compiler::new(config.compile.clone()));
        Ok(Self { machine, loader })
    }

    /// Loads one addon. What must be compiled gives back its turn first: others, which are cached, need not wait for that.
    pub(super) async fn load(
        &self,
        inner: &Inner,
        candidate: Candidate,
        id: &AddonId,
        turns: &Semaphore,
    ) -> Result<Load, Refusal> {
        let turn = turns.acquire().await;
        let config = inner.config().clone();
        let own = config.addons.get(id).cloned().unwrap_or_default();
        let (AddonFiles { manifest, wasm }, digest) = read(candidate.clone()).await?;
        let component_bytes = wasm.len();
        let granted =
            |inspection: &Inspection| grants::ungranted(id, inspection, &manifest.asks, &own.grants);
        // What was compiled before was inspected before that.
        let known = self.loader.find(digest).await?;
        let component = match known {
            Some(component) => {
                granted(component.inspection())?;
                component
            }
            None => {
                let (wasm, inspection) = blocking(move || {
                    let inspection = inspect::inspect(&wasm)?;
                    Ok((wasm, inspection))
                })
                .await?;
                granted(&inspection)?;
                // Many may wait for the compiler, and their bytes are megabytes: read again when it is their turn.
                drop((turn, wasm));
                let turn = self.loader.turn().await;
                let (files, now) = read(candidate.clone()).await?;
                if now != digest {
                    return Err(AddonFileError::StillChanging(format!("{id}.wasm")).into());
                }
                self.loader.component(&files.wasm, &inspection, turn).await?
            }
        };
        let inspection = Arc::clone(component.inspection());
        let template =
            Template::new(&self.machine, component).map_err(|error| Refusal::Link(format!("{error:#}")))?;
        let asked = own.memory_bytes.or(manifest.memory_bytes).unwrap_or(limits::MEMORY_BYTES_DEFAULT);
        let memory_bytes = asked.min(limits::MEMORY_BYTES_MAX);
        let identity = Identity {
            component_bytes: u64::try_from(component_bytes).unwrap_or(u64::MAX),
            digest,
            manifest: Arc::new(manifest),
            inspection,
            memory_bytes,
        };
        let interval = own.interval.or(identity.manifest.interval);
        let abilities = Arc::new(abilities(inner, &config, own, id, &identity));
        Ok(Load { template, identity, abilities, interval, by_hand: inner.by_hand })
    }
}

/// The files of an addon, with the hash of its component.
async fn read(candidate: Candidate) -> Result<(AddonFiles, blake3::Hash), Refusal> {
    blocking(move || {
        let files = discover::read(&candidate)?;
        let digest = blake3::hash(&files.wasm);
        Ok((files, digest))
    })
    .await
}

/// Megabytes of files are not for the threads of the runtime.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Refusal> + Send + 'static,
) -> Result<T, Refusal> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| Err(Refusal::Machine(error.to_string())))
}

/// What the addon asked for and was granted, ready to use. That the grants cover it was checked before.
fn abilities(
    inner: &Inner,
    config: &HostConfig,
    own: AddonConfig,
    id: &AddonId,
    identity: &Identity,
) -> Abilities {
    let asks = &identity.manifest.asks;
    let fakes = inner.fakes.as_ref();
    let shared = inner.slots().get(id).map(|slot| Arc::clone(&slot.addon.shared));
    let blocking = shared.as_ref().map(|shared| shared.blocking.clone()).unwrap_or_default();
    let tally = shared.as_ref().map(|shared| shared.leases.clone()).unwrap_or_default();
    let data = || {
        let desk = DataDesk::new(
            id.clone(),
            asks.host_data.clone(),
            config.proc_dir.clone(),
            config.sys_dir.clone(),
        );
        desk.with_fakes(fakes)
    };
    Abilities {
        kv: asks.kv.then(|| Arc::new(KvDesk::new(id.clone(), Arc::clone(&inner.outside.kv)))),
        http: (!asks.http.is_empty())
            .then(|| HttpDesk::new(id.clone(), asks.http.clone(), blocking).with_fakes(fakes)),
        data: (!asks.host_data.is_empty()).then(|| Arc::new(data())),
        leases: asks
            .leases
            .clone()
            .map(|bounds| Arc::new(LeaseDesk::new(id.clone(), inner.outside.leases.clone(), bounds, tally))),
        settings: own.settings,
        memory_bytes: identity.memory_bytes,
    }
}
