//! C: bindings from the author's world, clang for a core module, and the component around it. Bindings and component are made by this
//! program itself; only clang, a linker and a libc for WASI must be there.

use super::{made, scratch};
use crate::error::write;
use crate::project::{Project, c_files};
use crate::{AuthorError, Say, tools};
use std::path::Path;
use std::process::Command;
use wasi_preview1_component_adapter_provider as adapter;
use wit_bindgen_core::{Files, wit_parser::Resolve};
use wit_component::ComponentEncoder;

pub(super) fn build(project: &Project, say: Say<'_>) -> Result<Vec<u8>, AuthorError> {
    let scratch = scratch(project)?;
    let bindings = scratch.join("bindings");
    bind(&project.folder.join("wit"), &bindings)?;
    let module = scratch.join("addon.core.wasm");
    say("building with clang");
    tools::run(
        clang()?
            .current_dir(&project.folder)
            // A library without main; what is not used is left out.
            .args(["-mexec-model=reactor", "-Os", "-Wall", "-Wl,--gc-sections,--strip-debug", "-I"])
            .arg(&bindings)
            .args(c_files(&project.folder))
            .arg(bindings.join("addon.c"))
            .arg(bindings.join("addon_component_type.o"))
            .arg("-o")
            .arg(&module),
    )?;
    wrap(&made(&module)?).map_err(|error| AuthorError::Input(format!("clang's module is no addon: {error}")))
}

/// Writes what follows from the author's world for C: `addon.h`, `addon.c` and an object file that describes the world.
fn bind(wit: &Path, bindings: &Path) -> Result<(), AuthorError> {
    let generate = || {
        let mut resolve = Resolve::default();
        let (package, _) = resolve.push_dir(wit)?;
        let world = resolve.select_world(&[package], Some("addon"))?;
        let mut files = Files::default();
        wit_bindgen_c::Opts::default().build().generate(&mut resolve, world, &mut files)?;
        anyhow::Ok(files)
    };
    let files = generate().map_err(|error| AuthorError::Input(format!("{}: {error:#}", wit.display())))?;
    for (name, bytes) in files.iter() {
        write(&bindings.join(name), bytes)?;
    }
    Ok(())
}

/// Makes a component of a core module for WASI preview 1.
fn wrap(module: &[u8]) -> Result<Vec<u8>, String> {
    let encode = || {
        let name = adapter::WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME;
        let reactor = adapter::WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER;
        ComponentEncoder::default().module(module)?.adapter(name, reactor)?.validate(true).encode()
    };
    encode().map_err(|error| format!("{error:#}"))
}

/// clang, told where its libc is.
fn clang() -> Result<Command, AuthorError> {
    if let Some(program) = tools::guest_tool("clang") {
        return Ok(Command::new(program));
    }
    if let Some(sdk) = std::env::var_os("WASI_SDK_PATH") {
        return Ok(Command::new(Path::new(&sdk).join("bin/clang")));
    }
    let missing = "C for WebAssembly cannot be built here: install Debian's clang, lld, wasi-libc and libclang-rt-dev-wasm32, or the \
                   wasi-sdk and set WASI_SDK_PATH";
    let missing = || AuthorError::Missing(missing.to_owned());
    let program = tools::on_path("clang").ok_or_else(missing)?;
    // Where Debian puts it.
    if !Path::new("/usr/include/wasm32-wasi").is_dir() || tools::on_path("wasm-ld").is_none() {
        return Err(missing());
    }
    let mut command = Command::new(program);
    command.args(["--target=wasm32-wasi", "--sysroot=/usr"]);
    Ok(command)
}
