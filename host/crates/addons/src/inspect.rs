//! Reads what a component is from its bytes: whether it is one, whether it is sound, what it imports and exports.
//!
//! Nothing is compiled or run, and no input makes it panic: it reads what strangers wrote. Called before every compilation and by
//! `lowtide addon check`.

use crate::limits;
use crate::manifest::printable;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use wasmparser::{Validator, WasmFeatures};

mod names;
mod shape;
#[cfg(test)]
mod tests;

/// The versions of `lowtide:addon` that this host offers: every 0.1.x.
pub const WIT_VERSION: &str = "0.1";

/// What an addon can export.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Export {
    /// `collector`: metrics at intervals.
    Collector,
    /// `presence`: signals that someone is there.
    Presence,
    /// `custom-stats`: a document of its own.
    CustomStats,
    /// `health`: whether it can do its work.
    Health,
    /// `job`: heavy work under a lease.
    Job,
}

/// What an addon can import from `lowtide:addon`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Import {
    /// `metrics`: recording.
    Metrics,
    /// `leases`: asking for capacity.
    Leases,
    /// `system`: the snapshot and the verdict.
    System,
    /// `log`: lines.
    Log,
    /// `config`: its settings.
    Config,
    /// `kv`: a store of its own.
    Kv,
    /// `http`: requests to granted origins.
    Http,
    /// `host-data`: granted paths and addresses.
    HostData,
}

/// What a component is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inspection {
    /// The newest version of `lowtide:addon` that it was built against, for example `0.1.0`.
    pub version: String,
    /// What it exports.
    pub exports: BTreeSet<Export>,
    /// What it imports from `lowtide:addon`.
    pub imports: BTreeSet<Import>,
    /// Whether it imports anything of WASI.
    pub wasi: bool,
    /// What it says that it was made with, for example `Rust 1.96.0`. Only for display: anyone can write anything there.
    pub languages: Vec<String>,
    /// Functions with a body.
    pub functions: usize,
}

/// Why bytes are not an addon. Texts come from the file and have no control characters.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InspectError {
    /// Something else than WebAssembly.
    #[error("not a WebAssembly file: it is {0}; put the component that your build made there")]
    NotWasm(&'static str),
    /// The end is missing.
    #[error(
        "the file ends in the middle, after {bytes} bytes: copy it again, best under another name and then renamed"
    )]
    Truncated {
        /// How long it is.
        bytes: usize,
    },
    /// Longer than may be.
    #[error(
        "the component has {bytes} bytes, and may have {}: build it for size and strip it",
        limits::COMPONENT_BYTES_MAX
    )]
    TooLarge {
        /// How long it is.
        bytes: usize,
    },
    /// WebAssembly, but not a component.
    #[error(
        "a core module, not a component: build it for the target wasm32-wasip2, or wrap it with `lowtide addon build`"
    )]
    CoreModule,
    /// Broken, or made with a proposal that this host does not take.
    #[error(
        "not valid at byte {offset} ({reason}): build it again, for wasm32-wasip2 and without proposals such as threads or gc"
    )]
    Invalid {
        /// Where.
        offset: u64,
        /// The validator's words.
        reason: String,
    },
    /// More functions than may be.
    #[error(
        "{found} functions, and at most {} may be: build it for size, with link-time optimisation",
        limits::FUNCTIONS_MAX
    )]
    TooManyFunctions {
        /// How many it has, or how many were found when counting ended.
        found: usize,
    },
    /// A function longer than may be.
    #[error(
        "the function at byte {offset} has {bytes} bytes, and at most {} may be: split it, or build it for size",
        limits::FUNCTION_BYTES_MAX
    )]
    FunctionTooLarge {
        /// Where its body begins.
        offset: u64,
        /// How long it is.
        bytes: usize,
    },
    /// More imports and exports than may be.
    #[error("{found} imports and exports, and at most {} may be: use fewer interfaces", limits::IMPORTS_MAX)]
    TooManyImports {
        /// How many it has, or how many were found when counting ended.
        found: usize,
    },
    /// More modules or components in it than may be.
    #[error("more than {} modules or components nested in it: link them into fewer", limits::MODULES_MAX)]
    TooManyModules,
    /// Another version of our interfaces.
    #[error(
        "addon wants lowtide:addon {wanted} ({name}), this host speaks {WIT_VERSION}: build it against {WIT_VERSION}, or use a Lowtide that speaks {wanted}"
    )]
    FutureVersion {
        /// The import or export.
        name: String,
        /// Its version.
        wanted: String,
    },
    /// No such interface in our version.
    #[error("{name} does not exist in lowtide:addon {WIT_VERSION}: {advice}")]
    UnknownInterface {
        /// The import or export.
        name: String,
        /// The nearest name, or all names.
        advice: String,
    },
    /// An import that no addon gets.
    #[error("imports {name}, which this host does not offer: {advice}")]
    UnknownImport {
        /// The import.
        name: String,
        /// What to do instead.
        advice: &'static str,
    },
    /// Nothing that the host could call.
    #[error(
        "exports none of collector, presence, custom-stats, health and job of lowtide:addon: implement one and build it again"
    )]
    NoExports,
}

impl InspectError {
    /// The stable name of this error in the log and the API.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotWasm(_) => "not_wasm",
            Self::Truncated { .. } => "truncated",
            Self::TooLarge { .. } => "too_large",
            Self::CoreModule => "core_module",
            Self::Invalid { .. } => "invalid",
            Self::TooManyFunctions { .. } => "too_many_functions",
            Self::FunctionTooLarge { .. } => "function_too_large",
            Self::TooManyImports { .. } => "too_many_imports",
            Self::TooManyModules => "too_many_modules",
            Self::FutureVersion { .. } => "future_version",
            Self::UnknownInterface { .. } => "unknown_interface",
            Self::UnknownImport { .. } => "unknown_import",
            Self::NoExports => "no_exports",
        }
    }

    fn invalid(error: &wasmparser::BinaryReaderError) -> Self {
        Self::Invalid { offset: error.offset(), reason: printable(error.message()) }
    }
}

/// The proposals that guests may use: what toolchains for wasm32-wasip2, Python and JavaScript produce, and nothing that no guest of
/// ours needs. It must allow no more than the engine's configuration does.
#[must_use]
pub fn features() -> WasmFeatures {
    WasmFeatures::MUTABLE_GLOBAL
        | WasmFeatures::FLOATS
        | WasmFeatures::SATURATING_FLOAT_TO_INT
        | WasmFeatures::SIGN_EXTENSION
        | WasmFeatures::MULTI_VALUE
        | WasmFeatures::BULK_MEMORY
        | WasmFeatures::REFERENCE_TYPES
        | WasmFeatures::SIMD
        | WasmFeatures::TAIL_CALL
        | WasmFeatures::EXTENDED_CONST
        | WasmFeatures::MULTI_MEMORY
        | WasmFeatures::COMPONENT_MODEL
}

/// Reads a component.
///
/// First comes what is cheap: its bounds, then the version it wants, so that an addon from the future is told so rather than that it is
/// broken. Then it is validated, and its imports and exports are judged.
///
/// # Errors
/// The first reason why it is not an addon for this host.
pub fn inspect(wasm: &[u8]) -> Result<Inspection, InspectError> {
    if wasm.len() > limits::COMPONENT_BYTES_MAX {
        return Err(InspectError::TooLarge { bytes: wasm.len() });
    }
    let shape = shape::walk(wasm)?;
    let version = names::version(&shape)?;
    Validator::new_with_features(features())
        .validate_all(wasm)
        .map_err(|error| InspectError::invalid(&error))?;
    let (imports, wasi) = names::imports(&shape)?;
    let exports = names::exports(&shape)?;
    Ok(Inspection {
        version,
        exports,
        imports,
        wasi,
        languages: shape.languages(),
        functions: shape.functions,
    })
}
