//! The guest tools for Rust and C. Rust comes from the first of these that works: the toolchain here, if it has the target;
//! rustup, where it may install; Debian's packages, unpacked. C always comes from Debian's packages.

use super::{quoted, write_script};
use crate::project::{self, Project, run_quietly};
use crate::{debian, tools};
use anyhow::{Context as _, Result, anyhow, bail};
use std::fmt::Write as _;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::{Path, PathBuf};
use std::process::Command;

const TARGET: &str = "wasm32-wasip2";

/// clang and linker are of the LLVM that Debian's newest rustc uses, so that one copy of LLVM serves all three.
const C_PACKAGES: [&str; 5] =
    ["clang-22", "libclang-common-22-dev", "libclang-rt-22-dev-wasm32", "lld-22", "wasi-libc"];
const CLANG: &str = "usr/lib/llvm-22/bin/clang";
const WASM_LD: &str = "usr/bin/wasm-ld-22";

/// Debian builds no std for our target: its source comes along and is built here, once.
const RUST_PACKAGES: [&str; 5] =
    ["rustc-web", "cargo-web", "rust-web-src", "rust-web-llvm", "libstd-rust-web-dev"];

/// What an outer cargo, rustup or `cargo xtask` may have set for itself, and would mislead the tools.
const MISLEADING: &str = "RUSTUP_TOOLCHAIN CARGO RUSTC RUSTDOC RUSTFLAGS RUSTDOCFLAGS CARGO_ENCODED_RUSTFLAGS \
RUSTC_WRAPPER RUSTC_WORKSPACE_WRAPPER RUSTC_BOOTSTRAP CARGO_BUILD_RUSTC CARGO_BUILD_RUSTC_WRAPPER \
CARGO_BUILD_RUSTC_WORKSPACE_WRAPPER CARGO_BUILD_RUSTFLAGS CARGO_BUILD_TARGET CARGO_TARGET_WASM32_WASIP2_RUSTFLAGS \
CARGO_TARGET_WASM32_WASIP2_LINKER CARGO_MAKEFLAGS MAKEFLAGS MFLAGS LD_LIBRARY_PATH";

/// What there is to make the scripts of.
pub(super) struct Native {
    bin: PathBuf,
    /// The sysroot of a toolchain that has the target.
    toolchain: Option<PathBuf>,
    /// Where Debian's packages are unpacked, or why they are not.
    debian: Result<PathBuf, String>,
}

impl Native {
    pub(super) fn find(project: &Project, folder: &Path) -> Self {
        let toolchain = toolchain_with_target(project);
        let mut packages = C_PACKAGES.to_vec();
        if toolchain.is_none() {
            packages.extend(RUST_PACKAGES);
        }
        let debian = unpacked(&packages, folder).map_err(|error| format!("{error:#}"));
        Self { bin: folder.join("bin"), toolchain, debian }
    }

    pub(super) fn rust(&self) -> Result<()> {
        let (text, programs) = if let Some(sysroot) = &self.toolchain {
            (
                format!("unset {MISLEADING}\nexport RUSTC={}\n", quoted(&sysroot.join("bin/rustc"))),
                sysroot.join("bin"),
            )
        } else {
            let root = self.debian().context(format!(
                "neither the Rust toolchain has the target {TARGET} nor can Debian's packages be had; run \
                 `rustup target add {TARGET}`"
            ))?;
            let std = build_std(root)?;
            let mut text = self.environment(root)?;
            // Cargo does not see that a std is another one of the same version; crates built for that one would not load.
            writeln!(
                text,
                "export CARGO_TARGET_WASM32_WASIP2_RUSTFLAGS={}",
                quoted(Path::new(&format!("-Cmetadata=std-{std}")))
            )?;
            writeln!(text, "export RUSTC={}", quoted(&root.join("usr/bin/rustc")))?;
            (text, root.join("usr/bin"))
        };
        for name in ["cargo", "rustc"] {
            let program = quoted(&programs.join(name));
            write_script(&self.bin.join(name), &format!("{text}exec {program} \"$@\"\n"))?;
        }
        Ok(())
    }

    pub(super) fn c(&self) -> Result<()> {
        let root = self.debian()?;
        let text = self.environment(root)?;
        let rust = self.toolchain.clone().unwrap_or_else(|| root.join("usr"));
        let component_ld = host_programs(&rust)?.join("wasm-component-ld");
        // A target named in the arguments comes later and wins.
        let flags = format!("--target=wasm32-wasip1 --sysroot={}", quoted(&root.join("usr")));
        let scripts = [
            ("clang", root.join(CLANG), flags.as_str()),
            ("wasm-ld", root.join(WASM_LD), ""),
            ("wasm-component-ld", component_ld, ""),
        ];
        for (name, program, flags) in scripts {
            let line = format!("{text}exec {} {flags} \"$@\"\n", quoted(&program));
            write_script(&self.bin.join(name), &line)?;
        }
        Ok(())
    }

    fn debian(&self) -> Result<&Path> {
        self.debian.as_deref().map_err(|error| anyhow!("{error}"))
    }

    /// The beginning of every script that starts a program of Debian's. Linkers are looked for on the search path.
    fn environment(&self, root: &Path) -> Result<String> {
        let path = format!("{}:{}", quoted(&self.bin), quoted(&root.join("usr/bin")));
        let libraries = quoted(&libraries(root)?);
        Ok(format!("unset {MISLEADING}\nexport PATH={path}:\"$PATH\"\nexport LD_LIBRARY_PATH={libraries}\n"))
    }
}

/// The sysroot of this machine's Rust, if it can build for the target; rustup is asked to add it where it may.
fn toolchain_with_target(project: &Project) -> Option<PathBuf> {
    let find = || {
        let print = |what: &str| {
            let mut rustc = project.command("rustc");
            run_quietly(rustc.args(["--print", what, "--target", TARGET]))
                .ok()
                .map(|text| PathBuf::from(text.trim()))
        };
        let has_std = starts_with(&print("target-libdir")?, "libstd").is_some();
        print("sysroot").filter(|sysroot| has_std && sysroot.join("bin/cargo").is_file())
    };
    let found = find();
    // The owner's word: 0 means that rustup downloads nothing by itself, and this would be us telling it to.
    let may_install = std::env::var_os("RUSTUP_AUTO_INSTALL").is_none_or(|value| value != "0");
    if found.is_some() || !may_install || project::on_path("rustup").is_none() {
        return found;
    }
    match project::run(project.command("rustup").args(["target", "add", TARGET])) {
        Ok(()) => find(),
        Err(error) => {
            eprintln!("rustup cannot add {TARGET}, trying Debian's packages: {error:#}");
            None
        }
    }
}

/// Debian's packages with the libraries that they need, unpacked into one folder.
fn unpacked(packages: &[&str], folder: &Path) -> Result<PathBuf> {
    let root = folder.join("debian");
    let list = packages.join("\n");
    // Written before the folder gets its name: a folder that is there is whole.
    if std::fs::read_to_string(root.join("packages")).is_ok_and(|there| there == list) {
        return Ok(root);
    }
    let part = folder.join("debian.part");
    tools::clear(&part)?;
    debian::unpack(packages, true, &part)?;
    let unpacked = part.join("unpacked");
    for place in ["usr/include", "usr/lib"] {
        // Newer names of the target that the libc was made for.
        for name in ["wasm32-wasip1", TARGET] {
            link("wasm32-wasi", &unpacked.join(place).join(name))?;
        }
    }
    tools::clear(&unpacked.join("usr/share"))?;
    std::fs::write(unpacked.join("packages"), list)?;
    tools::clear(&root)?;
    std::fs::rename(&unpacked, &root)?;
    tools::clear(&part)?;
    Ok(root)
}

/// Builds std for the target from Debian's source and puts it where rustc looks for it, as rustup would have. From then on
/// a guest build needs no special flags, and no target folder holds a std of its own. The answer is what tells this std from
/// another.
fn build_std(root: &Path) -> Result<String> {
    let place = root.join("usr/lib/rustlib").join(TARGET);
    if place.is_dir() {
        return std::fs::read_to_string(place.join("identity")).context("read which std this is");
    }
    let part = place.with_extension("part");
    tools::clear(&part)?;
    std::fs::create_dir_all(&part)?;
    // std is built with the first crate that wants it: one with nothing in it. Small is the right kind of fast for addons.
    let manifest = "[package]\nname = \"nothing\"\nversion = \"0.0.0\"\nedition = \"2021\"\n[lib]\npath = \"nothing.rs\"\n\
                    [profile.release]\nopt-level = \"s\"\npanic = \"abort\"\n[workspace]\n";
    std::fs::write(part.join("Cargo.toml"), manifest)?;
    std::fs::write(part.join("nothing.rs"), "#![no_std]\n")?;
    let libc = root.join("usr/lib/wasm32-wasi");
    let source = root.join("usr/lib/rustlib/src/rust");
    // Bitcode, so that a guest can be optimised as one with std; no path of this machine in the messages of a panic.
    let flags = [
        format!("-L{}", libc.display()),
        "-Cembed-bitcode=yes".to_owned(),
        format!("--remap-path-prefix={}=/rust", source.display()),
        format!("--remap-path-prefix={}=/rust", source.canonicalize()?.display()),
    ];
    let mut cargo = Command::new(root.join("usr/bin/cargo"));
    for name in MISLEADING.split(' ') {
        cargo.env_remove(name);
    }
    cargo
        .args(["build", "--release", "-Zbuild-std=std,panic_abort", "--target", TARGET])
        .current_dir(&part)
        .env("RUSTC_BOOTSTRAP", "1")
        .env("RUSTC", root.join("usr/bin/rustc"))
        .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\u{1f}"))
        .env("CARGO_TARGET_DIR", part.join("build"))
        .env("LD_LIBRARY_PATH", libraries(root)?);
    println!("building std for {TARGET}, once");
    run_quietly(&mut cargo)?;
    let lib = part.join("lib");
    let own = lib.join("self-contained");
    std::fs::create_dir_all(&own)?;
    for entry in std::fs::read_dir(part.join("build").join(TARGET).join("release/deps"))? {
        let file = entry?.path();
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        if !name.starts_with("libnothing") && (name.ends_with(".rlib") || name.ends_with(".rmeta")) {
            std::fs::copy(&file, lib.join(&*name))?;
        }
    }
    for name in ["crt1-command.o", "crt1-reactor.o", "libc.a"] {
        std::fs::copy(libc.join(name), own.join(name))?;
    }
    for done in ["build", "Cargo.toml", "Cargo.lock", "nothing.rs"] {
        tools::clear(&part.join(done))?;
    }
    let mut hasher = DefaultHasher::new();
    std::fs::read(starts_with(&lib, "libstd-").context("cargo built no std")?)?.hash(&mut hasher);
    let identity = format!("{:016x}", hasher.finish());
    std::fs::write(part.join("identity"), &identity)?;
    std::fs::rename(&part, &place)?;
    // Half of all that was unpacked, and nothing needs it any more.
    tools::clear(&root.join("usr/src"))?;
    Ok(identity)
}

/// The folder of Debian's shared libraries, named after the machine's kind.
fn libraries(root: &Path) -> Result<PathBuf> {
    let kind = std::env::consts::ARCH;
    starts_with(&root.join("usr/lib"), &format!("{kind}-linux-gnu")).with_context(|| {
        format!("no libraries for {kind} in {}; delete the folder and try again", root.display())
    })
}

/// The folder of programs that a toolchain keeps for itself.
fn host_programs(sysroot: &Path) -> Result<PathBuf> {
    let rustlib = sysroot.join("lib/rustlib");
    match starts_with(&rustlib, &format!("{}-", std::env::consts::ARCH)) {
        Some(folder) => Ok(folder.join("bin")),
        None => bail!("no programs of rustc in {}; reinstall the toolchain", rustlib.display()),
    }
}

/// The first entry of a folder whose name begins so.
fn starts_with(folder: &Path, begin: &str) -> Option<PathBuf> {
    let entries = std::fs::read_dir(folder).ok()?;
    let mut found = entries.filter_map(|entry| Some(entry.ok()?.path()));
    found.find(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(begin)))
}

#[cfg(unix)]
fn link(to: &str, at: &Path) -> Result<()> {
    std::os::unix::fs::symlink(to, at).with_context(|| format!("link {}", at.display()))
}

#[cfg(not(unix))]
fn link(_to: &str, at: &Path) -> Result<()> {
    bail!(
        "cannot link {}: Debian's packages are for Linux; install clang and wasi-libc by hand",
        at.display()
    )
}
