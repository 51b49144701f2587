//! Compiles components in a child process, one at a time: the parent's half. The child's is in `child`.
//!
//! The compiler is the largest piece of code that an addon's bytes meet, and the hungriest. It must never run in the daemon: a
//! component that makes it crash, loop or swell ends a child with small rights, and the daemon reads why. Called by `cache`.

mod child;

pub use child::child_main;

use crate::limits;
use std::ffi::OsString;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};
use tokio::sync::Mutex;

/// The hidden argument that makes `lowtide` the compile child.
pub const CHILD_ARGUMENT: &str = "compile-addon";

/// Bytes before the compiled code: its BLAKE3 hash, so that a torn pipe is noticed.
const CHECK_BYTES: usize = blake3::OUT_LEN;

/// Bytes of the child's standard error that are read.
const REASON_BYTES_MAX: u64 = 4 << 10;

/// Characters of a reason that are told on.
const REASON_CHARACTERS_MAX: usize = 400;

/// How to start the compile child.
#[derive(Clone, Debug)]
pub struct CompileCommand {
    /// The program, as an absolute path.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<OsString>,
}

impl Default for CompileCommand {
    /// The very program that runs, even if its file was replaced since: the child compiles with the code that loads.
    fn default() -> Self {
        Self { program: PathBuf::from("/proc/self/exe"), arguments: vec![CHILD_ARGUMENT.into()] }
    }
}

/// What one compilation may use.
#[derive(Clone, Debug)]
struct CompileLimits {
    /// Address space of the child; the child sets it for itself.
    address_space_bytes: u64,
    /// CPU time of the child, in whole seconds; the child sets it for itself.
    cpu: Duration,
    /// Time on the wall, its wait for a turn not counted.
    wall: Duration,
    /// Bytes of compiled code.
    output_bytes: usize,
}

impl Default for CompileLimits {
    fn default() -> Self {
        Self {
            address_space_bytes: limits::COMPILE_ADDRESS_SPACE_BYTES,
            cpu: limits::COMPILE_CPU,
            wall: limits::COMPILE_WALL,
            output_bytes: limits::COMPILED_BYTES_MAX,
        }
    }
}

/// Why a component was not compiled.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CompileError {
    /// It is no component, or one that needs what guests here may not use.
    #[error("the component is invalid: {0}; build it again, for wasm32-wasip2")]
    Invalid(String),
    /// The compiler reached its limit of memory.
    #[error(
        "compiling took more than {} MiB of memory; make the component smaller",
        limits::COMPILE_ADDRESS_SPACE_BYTES >> 20
    )]
    Memory,
    /// The compiler reached its limit of CPU time.
    #[error("compiling took more than {} s of CPU time; make the component smaller", limits::COMPILE_CPU.as_secs())]
    CpuTime,
    /// The compiler broke on this component.
    #[error("the compiler broke: {0}; report it together with the component")]
    Crashed(String),
    /// Not done in time, though within its CPU time: the machine is busy.
    #[error("compiling was not done after {} s; try again when the machine is less busy", limits::COMPILE_WALL.as_secs())]
    WallTime,
    /// Something outside killed the compiler.
    #[error(
        "the compiler was killed, perhaps because the machine ran out of memory; free some and try again"
    )]
    Killed,
    /// The child did not run, or is not ours.
    #[error("the compiler could not be started: {0}; see that this program may start itself")]
    NotStarted(String),
    /// What came back is not what the child sent.
    #[error("the compiler's answer is broken: {0}; try again")]
    Output(String),
}

impl CompileError {
    /// Stable word for programs.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Invalid(_) => "compile_invalid",
            Self::Memory => "compile_memory",
            Self::CpuTime => "compile_cpu_time",
            Self::Crashed(_) => "compile_crashed",
            Self::WallTime => "compile_wall_time",
            Self::Killed => "compile_killed",
            Self::NotStarted(_) => "compile_not_started",
            Self::Output(_) => "compile_output",
        }
    }

    /// Whether the same bytes would fail again: then only another file is worth a try.
    #[must_use]
    pub fn is_final(&self) -> bool {
        match self {
            Self::Invalid(_) | Self::Memory | Self::CpuTime | Self::Crashed(_) => true,
            Self::WallTime | Self::Killed | Self::NotStarted(_) | Self::Output(_) => false,
        }
    }
}

/// Starts compile children, one at a time.
#[derive(Debug, Default)]
pub struct Compiler {
    command: CompileCommand,
    limits: CompileLimits,
    turn: Mutex<()>,
}

impl Compiler {
    /// With the limits of [`limits`].
    #[must_use]
    pub fn new(command: CompileCommand) -> Self {
        Self::with_limits(command, CompileLimits::default())
    }

    /// With other limits, for tests. Those of address space and CPU time hold only if the child is told the same.
    fn with_limits(command: CompileCommand, limits: CompileLimits) -> Self {
        Self { command, limits, turn: Mutex::new(()) }
    }

    /// Compiles a component. Dropping the future kills the child.
    ///
    /// The child dies with the thread that started it: call this from threads that last, as those of the runtime do.
    ///
    /// # Errors
    ///
    /// If it cannot be compiled within the limits.
    pub async fn compile(&self, wasm: &[u8]) -> Result<Vec<u8>, CompileError> {
        let _turn = self.turn.lock().await;
        let mut child = Command::new(&self.command.program)
            .args(&self.command.arguments)
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| CompileError::NotStarted(error.to_string()))?;
        let answer = tokio::time::timeout(self.limits.wall, self.talk(&mut child, wasm)).await;
        let result = answer.unwrap_or(Err(CompileError::WallTime));
        if result.is_err() {
            // It may have ended by itself; if not, it ends now, before the next one starts.
            let _ = child.kill().await;
        }
        result
    }

    async fn talk(&self, child: &mut Child, wasm: &[u8]) -> Result<Vec<u8>, CompileError> {
        let (Some(mut stdin), Some(stdout), Some(stderr)) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take())
        else {
            return Err(CompileError::NotStarted("it has no pipes".to_owned()));
        };
        let feed = async move {
            // A child that does not read to the end says why on standard error.
            let _ = stdin.write_all(wasm).await;
        };
        let output = read_output(stdout, self.limits.output_bytes);
        let ((), output, reason) = tokio::join!(feed, output, read_reason(stderr));
        if let Err(error) = &output
            && error.kind() == io::ErrorKind::FileTooLarge
        {
            return Err(CompileError::Output(error.to_string()));
        }
        let status = child.wait().await.map_err(|error| CompileError::Output(error.to_string()))?;
        judge(status, reason)?;
        output.map_err(|error| CompileError::Output(error.to_string()))
    }
}

/// The compiled code, when its hash in front of it is right.
async fn read_output(mut stdout: impl AsyncRead + Unpin, bytes_max: usize) -> io::Result<Vec<u8>> {
    let mut check = [0; CHECK_BYTES];
    stdout.read_exact(&mut check).await?;
    let mut code = Vec::new();
    stdout.take(bytes_max as u64 + 1).read_to_end(&mut code).await?;
    if code.len() > bytes_max {
        let text = format!("more than {bytes_max} bytes of compiled code");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, text));
    }
    if blake3::hash(&code) != blake3::Hash::from_bytes(check) {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "its hash is wrong"));
    }
    Ok(code)
}

/// The child's words in one line. They may quote the guest's names, so what could steer a terminal is left out.
async fn read_reason(stderr: impl AsyncRead + Unpin) -> String {
    let mut bytes = Vec::new();
    let _ = stderr.take(REASON_BYTES_MAX).read_to_end(&mut bytes).await;
    let text: String = String::from_utf8_lossy(&bytes).chars().map(printable).collect();
    text.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(REASON_CHARACTERS_MAX).collect()
}

/// The character, or a space for one that controls a terminal or the direction of text.
fn printable(character: char) -> char {
    let steers = character.is_control()
        || matches!(character, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}');
    if steers { ' ' } else { character }
}

/// What the end of the child says.
fn judge(status: ExitStatus, reason: String) -> Result<(), CompileError> {
    use rustix::process::Signal;
    if let Some(signal) = status.signal() {
        return Err(match Signal::from_named_raw(signal) {
            Some(Signal::XCPU) => CompileError::CpuTime,
            Some(Signal::KILL) => CompileError::Killed,
            // What Rust says before it aborts.
            Some(Signal::ABORT) if reason.contains("memory allocation of") => CompileError::Memory,
            _ => CompileError::Crashed(format!("signal {signal} {reason}").trim_end().to_owned()),
        });
    }
    match status.code().and_then(|code| u8::try_from(code).ok()) {
        Some(0) => Ok(()),
        Some(child::EXIT_INVALID) => Err(CompileError::Invalid(reason)),
        Some(child::EXIT_PANICKED) => Err(CompileError::Crashed(reason)),
        Some(child::EXIT_MEMORY) => Err(CompileError::Memory),
        Some(child::EXIT_OUTPUT) => Err(CompileError::Output(reason)),
        _ => Err(CompileError::NotStarted(format!("{status} {reason}").trim_end().to_owned())),
    }
}

#[cfg(test)]
pub(crate) mod tests;
