//! The adapter of `lowtide:addon@0.1.0`.

mod exports;
mod imports;
mod leases;

pub(crate) use exports::{Exports, Indices, Samples};

#[allow(
    unsafe_code,
    missing_docs,
    unreachable_pub,
    reason = "generated: implements wasmtime's traits for reading guest memory"
)]
#[allow(clippy::all, clippy::pedantic, clippy::restriction, reason = "generated")]
mod bindings {
    wasmtime::component::bindgen!({
        path: "../../../wit/v0.1",
        world: "addon",
        imports: {
            "lowtide:addon/kv": async | trappable,
            "lowtide:addon/http": async | trappable,
            "lowtide:addon/host-data": async | trappable,
            "lowtide:addon/leases": async | trappable,
            default: trappable,
        },
        exports: { default: async },
        with: { "lowtide:addon/leases.lease": crate::caps::leases::Lease },
    });
}

use crate::guest::Guest;
use wasmtime::component::{HasSelf, Linker};

/// Puts every import of this version into a linker.
pub(crate) fn add_to_linker(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    bindings::Addon::add_to_linker::<_, HasSelf<Guest>>(linker, |guest| guest)
}
