//! Compiles components in a child process: the child's half, the hidden command `lowtide compile-addon`.
//!
//! It takes away its own rights before it reads a byte of the component: memory, CPU time, files, new programs, core dumps. It
//! opens no file and no socket. Standard input is the component, standard output a BLAKE3 hash and the compiled code, standard
//! error one line with the reason. Called by the binary's `main`, before a runtime or a second thread is started.

use super::CompileLimits;
use crate::{engine, limits};
use rustix::process::{DumpableBehavior, Resource, Rlimit, Signal};
use std::io::{self, Read, Write};
use std::panic::{self, AssertUnwindSafe};
use std::process::ExitCode;

/// The component is at fault.
pub(super) const EXIT_INVALID: u8 = 65;
/// The compiler panicked.
pub(super) const EXIT_PANICKED: u8 = 70;
/// The rights could not be taken away.
const EXIT_LIMITS: u8 = 71;
/// The pipes do not work.
pub(super) const EXIT_OUTPUT: u8 = 74;
/// Memory ran out where that is an error and not the end.
pub(super) const EXIT_MEMORY: u8 = 75;

/// Why the child ends.
struct Failure {
    code: u8,
    reason: String,
}

impl Failure {
    fn new(code: u8, reason: impl ToString) -> Self {
        Self { code, reason: reason.to_string() }
    }

    /// Of a pipe.
    fn pipe(error: &io::Error) -> Self {
        let code = if error.kind() == io::ErrorKind::OutOfMemory { EXIT_MEMORY } else { EXIT_OUTPUT };
        Self::new(code, error)
    }
}

/// Compiles the component on standard input to standard output, within the limits of [`limits`].
#[must_use]
pub fn child_main() -> ExitCode {
    ExitCode::from(run(&CompileLimits::default()))
}

/// The same with other limits, and the code as a number.
pub(super) fn run(limits: &CompileLimits) -> u8 {
    // One line instead of a report with a backtrace.
    panic::set_hook(Box::new(|panic| say(&panic.to_string())));
    let result = panic::catch_unwind(AssertUnwindSafe(|| {
        restrict(limits).map_err(|error| Failure::new(EXIT_LIMITS, error))?;
        compile()
    }));
    match result {
        Ok(Ok(())) => 0,
        Ok(Err(failure)) => {
            say(&failure.reason);
            failure.code
        }
        Err(_) => EXIT_PANICKED,
    }
}

fn say(reason: &str) {
    let _ = writeln!(io::stderr(), "{}", reason.replace('\n', " "));
}

fn compile() -> Result<(), Failure> {
    let mut wasm = Vec::new();
    let bytes_max = limits::COMPONENT_BYTES_MAX;
    io::stdin()
        .lock()
        .take(bytes_max as u64 + 1)
        .read_to_end(&mut wasm)
        .map_err(|error| Failure::pipe(&error))?;
    if wasm.len() > bytes_max {
        return Err(Failure::new(EXIT_INVALID, format!("it has more than {bytes_max} bytes")));
    }
    let engine = engine::compiling().map_err(|error| Failure::new(EXIT_LIMITS, format!("{error:#}")))?;
    let code = engine
        .precompile_component(&wasm)
        .map_err(|error| Failure::new(EXIT_INVALID, format!("{error:#}")))?;
    let mut stdout = io::stdout().lock();
    stdout
        .write_all(blake3::hash(&code).as_bytes())
        .and_then(|()| stdout.write_all(&code))
        .and_then(|()| stdout.flush())
        .map_err(|error| Failure::pipe(&error))
}

/// Gives up what compiling does not need.
fn restrict(limits: &CompileLimits) -> Result<(), String> {
    // When the machine runs out of memory, this process goes first. Some containers forbid it; then nothing is lost.
    let _ = std::fs::write("/proc/self/oom_score_adj", "1000");
    let _ = rustix::thread::set_name(c"lowtide-compile");
    let _ = rustix::process::nice(19);

    let cpu = limits.cpu.as_secs();
    for (name, resource, soft, hard) in [
        ("address space", Resource::As, limits.address_space_bytes, limits.address_space_bytes),
        // The soft limit ends the process with a signal that names the reason; the hard one would look like any kill.
        ("CPU time", Resource::Cpu, cpu, cpu.saturating_add(5)),
        ("open files", Resource::Nofile, limits::COMPILE_FILES, limits::COMPILE_FILES),
        ("core dumps", Resource::Core, 0, 0),
        ("files written", Resource::Fsize, 0, 0),
        ("processes", Resource::Nproc, 0, 0),
    ] {
        limit(resource, soft, hard).map_err(|error| format!("could not limit {name}: {error}"))?;
    }
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))
        .and_then(|()| rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable))
        .and_then(|()| rustix::thread::set_no_new_privs(true))
        .map_err(|error| format!("could not give up rights: {error}"))?;
    confine().map(drop)
}

/// Takes away every file, directory and port that is not open yet (Landlock, kernel Documentation/userspace-api/landlock.rst), as far as the
/// kernel can: from 5.13 on files, from 6.7 on TCP ports, from 6.12 on other processes. Returns whether it could take away anything. An
/// older kernel leaves the limits, which are bad enough for who would break out.
#[cfg(target_os = "linux")]
pub(super) fn confine() -> Result<bool, String> {
    use landlock::{ABI, Access as _, AccessFs, AccessNet, Ruleset, RulesetAttr as _, RulesetStatus, Scope};
    let abi = ABI::V6;
    let ruleset = Ruleset::default()
        .handle_access(AccessFs::from_all(abi))
        .and_then(|ruleset| ruleset.handle_access(AccessNet::from_all(abi)))
        .and_then(|ruleset| ruleset.scope(Scope::from_all(abi)))
        .and_then(Ruleset::create);
    let confined = ruleset.and_then(landlock::RulesetCreated::restrict_self);
    let status = confined.map_err(|error| format!("could not give up files: {error}"))?;
    Ok(status.ruleset != RulesetStatus::NotEnforced)
}

/// Other systems have no such thing that needs no rights.
#[cfg(not(target_os = "linux"))]
pub(super) fn confine() -> Result<bool, String> {
    Ok(false)
}

/// Sets a limit, or leaves a stricter one in place.
fn limit(resource: Resource, soft: u64, hard: u64) -> rustix::io::Result<()> {
    let inherited = rustix::process::getrlimit(resource).maximum.unwrap_or(u64::MAX);
    let rlimit = Rlimit { current: Some(soft.min(inherited)), maximum: Some(hard.min(inherited)) };
    rustix::process::setrlimit(resource, rlimit)
}
