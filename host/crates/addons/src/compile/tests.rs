//! Tests of compiling: honest and hostile components, and children that are not ours or end badly.

use super::*;
use std::fmt::Write;

/// This very test program as the compile child: it runs the test [`child`] alone, with its own words out of the way of the answer.
pub(crate) fn command(limits: &str) -> CompileCommand {
    let tests = std::env::current_exe().unwrap();
    // One arena of memory: the test runs on a second thread, whose own arena would be address space that is there already.
    let script = r#"MALLOC_ARENA_MAX=1 CHILD_LIMITS="$1" exec "$0" --exact compile::tests::child --nocapture --test-threads=1 3>&1 >/dev/null"#;
    let arguments = vec!["-c".into(), script.into(), tests.into(), limits.into()];
    CompileCommand { program: "/bin/sh".into(), arguments }
}

/// No test, but the child of the others: with MiB of address space and seconds of CPU time, or `default`, in the environment.
#[test]
fn child() {
    let Ok(text) = std::env::var("CHILD_LIMITS") else { return };
    let pipe = std::fs::File::options().write(true).open("/proc/self/fd/3").unwrap();
    rustix::stdio::dup2_stdout(pipe).unwrap();
    let mut limits = CompileLimits::default();
    if let Some((mib, seconds)) = text.split_once(' ') {
        limits.address_space_bytes = mib.parse::<u64>().unwrap() << 20;
        limits.cpu = Duration::from_secs(seconds.parse().unwrap());
    }
    std::process::exit(child::run(&limits).into());
}

/// A shell instead of the child.
fn shell(script: &str) -> CompileCommand {
    CompileCommand { program: "/bin/sh".into(), arguments: vec!["-c".into(), script.into()] }
}

pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

fn compile(command: CompileCommand, wasm: &[u8]) -> Result<Vec<u8>, CompileError> {
    block_on(Compiler::new(command).compile(wasm))
}

/// A component with a function `f` that returns `number`.
pub(crate) fn small(number: u32) -> Vec<u8> {
    let text = format!(
        r#"(component
            (core module $m (func (export "f") (result i32) (i32.const {number})))
            (core instance $i (instantiate $m))
            (func (export "f") (result u32) (canon lift (core func $i "f"))))"#
    );
    wat::parse_str(text).unwrap()
}

/// A component that takes many seconds to compile, and much memory.
fn large() -> Vec<u8> {
    let mut text = String::from("(component (core module");
    for function in 0..8 {
        text.push_str("(func (param i32 i32) (result i32) local.get 0");
        for step in 0..60_000 {
            let _ = write!(
                text,
                " local.get {} i32.const {} i32.mul i32.xor local.tee 1",
                step % 2,
                function + step
            );
        }
        text.push(')');
    }
    text.push_str("))");
    wat::parse_str(text).unwrap()
}

#[test]
fn a_component_compiles_and_loads() {
    let wasm = small(7);
    let code = compile(command("default"), &wasm).unwrap();
    assert_eq!(code, crate::engine::compiling().unwrap().precompile_component(&wasm).unwrap());
}

#[test]
fn what_is_no_component_is_refused_with_wasmtimes_words() {
    let module = wat::parse_str("(module)").unwrap();
    let whole = small(1);
    let half = &whole[..whole.len() / 2];
    let threads = wat::parse_str("(component (core module (memory 1 1 shared)))").unwrap();
    for bytes in [b"".as_slice(), b"garbage", b"\0asm", &module, half, &threads] {
        let error = compile(command("default"), bytes).unwrap_err();
        assert!(matches!(error, CompileError::Invalid(_)), "{error}");
        assert!(error.is_final());
        assert!(error.to_string().len() > 60, "{error}");
    }
}

#[test]
fn every_truncation_is_an_answer_and_not_a_crash() {
    // In this process: a child for each would take a minute. A panic fails the test.
    let engine = crate::engine::compiling().unwrap();
    let whole = small(1);
    for length in 9..whole.len() {
        let _ = engine.precompile_component(&whole[..length]);
    }
}

#[test]
fn too_much_for_its_limits_is_told_apart() {
    let wasm = large();
    assert_eq!(compile(command("4096 1"), &wasm).unwrap_err(), CompileError::CpuTime);
    // Less than the program itself has: the first allocation of any size fails.
    assert_eq!(compile(command("1 60"), &wasm).unwrap_err(), CompileError::Memory);
    let limits = CompileLimits { wall: Duration::from_millis(50), ..CompileLimits::default() };
    let error = block_on(Compiler::with_limits(command("default"), limits).compile(&wasm)).unwrap_err();
    assert_eq!(error, CompileError::WallTime);
    assert!(!error.is_final());
}

#[test]
fn a_compiler_that_swells_while_it_compiles_is_out_of_memory() {
    // Of the sizes between too little to start and enough, each must fail in the same way.
    let wasm = large();
    for mib in ["64", "96", "128"] {
        let Err(error) = compile(command(&format!("{mib} 60")), &wasm) else { panic!("{mib} MiB is enough") };
        assert_eq!(error, CompileError::Memory, "{mib} MiB");
    }
}

#[test]
fn children_that_are_not_ours_are_noticed() {
    let none = CompileCommand { program: "/nonexistent/lowtide".into(), arguments: vec![] };
    assert_eq!(compile(none, b"x").unwrap_err().code(), "compile_not_started");
    let cases = [
        ("exit 2", "compile_not_started"),
        ("exit 0", "compile_output"),
        ("cat", "compile_output"),
        ("printf 12345678901234567890123456789012; cat", "compile_output"),
        ("kill -KILL $$", "compile_killed"),
        ("kill -XCPU $$", "compile_cpu_time"),
        ("kill -SEGV $$", "compile_crashed"),
        ("echo 'memory allocation of 9 bytes failed' >&2; kill -ABRT $$", "compile_memory"),
        ("echo 'assertion failed' >&2; kill -ABRT $$", "compile_crashed"),
        ("cat >/dev/null; exec cat /dev/zero", "compile_output"),
    ];
    for (script, code) in cases {
        let limits = CompileLimits { output_bytes: 1 << 20, ..CompileLimits::default() };
        let error = block_on(Compiler::with_limits(shell(script), limits).compile(&small(1))).unwrap_err();
        assert_eq!(error.code(), code, "{script}: {error}");
    }
}

#[test]
fn a_child_that_does_not_read_or_does_not_end_stops_at_the_limit() {
    let wasm = vec![0; 1 << 20];
    for script in ["while :; do :; done", "exec >&-; exec 2>&-; while :; do :; done"] {
        let limits = CompileLimits { wall: Duration::from_millis(100), ..CompileLimits::default() };
        let error = block_on(Compiler::with_limits(shell(script), limits).compile(&wasm)).unwrap_err();
        assert_eq!(error, CompileError::WallTime);
    }
}

#[test]
fn reasons_are_one_printable_line() {
    let script = "printf 'a\\033[31mb\\nc \\342\\200\\256d' >&2; exit 65";
    assert_eq!(compile(shell(script), b""), Err(CompileError::Invalid("a [31mb c d".to_owned())));
    let flood = "head -c 100000 /dev/zero | tr '\\0' 'x' >&2; exit 65";
    let Err(CompileError::Invalid(reason)) = compile(shell(flood), b"") else { panic!() };
    assert_eq!(reason.len(), REASON_CHARACTERS_MAX);
}

#[test]
fn the_child_inherits_nothing() {
    // `cargo test` sets many variables; the shell itself adds a few.
    let script = r#"/usr/bin/env | grep -c CARGO >&2; pwd >&2; exit 65"#;
    assert_eq!(compile(shell(script), b""), Err(CompileError::Invalid("0 /".to_owned())));
}

#[test]
fn they_wait_for_their_turn() {
    let compiler = Compiler::new(command("default"));
    block_on(async {
        let turn = compiler.turn.lock().await;
        let wasm = small(1);
        let mut waiting = std::pin::pin!(compiler.compile(&wasm));
        assert!(tokio::time::timeout(Duration::from_millis(20), &mut waiting).await.is_err());
        drop(turn);
        assert!(waiting.await.is_ok());
    });
}

#[test]
fn the_child_gives_its_rights_up() {
    // It waits for standard input, which is held open; /proc tells the rest.
    use std::io::{BufRead, BufReader};
    let command = command("512 30");
    let mut child = std::process::Command::new(&command.program)
        .args(&command.arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let lines = |name: String| {
        let file = std::fs::File::open(name).unwrap();
        BufReader::new(file).lines().map_while(Result::ok).collect::<Vec<_>>()
    };
    // The last thing that it does before it reads. It does not run on the first thread here, as it does in the daemon.
    let restricted = || {
        let threads = std::fs::read_dir(format!("/proc/{}/task", child.id())).unwrap();
        threads.map(|thread| thread.unwrap().path().display().to_string()).find(|thread| {
            lines(format!("{thread}/status")).iter().any(|line| line.contains("NoNewPrivs:\t1"))
        })
    };
    let mut thread = None;
    for _ in 0..60_000 {
        thread = restricted();
        if thread.is_some() {
            break;
        }
        std::thread::park_timeout(Duration::from_millis(1));
    }
    let thread = thread.expect("no thread that has given up new privileges");
    let words = |start: &str| {
        let line =
            lines(format!("{thread}/limits")).into_iter().find(|line| line.starts_with(start)).unwrap();
        line[start.len()..].split_whitespace().take(2).map(str::to_owned).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(words("Max address space"), format!("{0} {0}", 512u64 << 20));
    assert_eq!(words("Max cpu time"), "30 35");
    assert_eq!(words("Max open files"), "16 16");
    assert_eq!(words("Max core file size"), "0 0");
    assert_eq!(words("Max file size"), "0 0");
    assert_eq!(words("Max processes"), "0 0");
    let stat = lines(format!("{thread}/stat")).join(" ");
    assert_eq!(stat.rsplit_once(") ").unwrap().1.split(' ').nth(16), Some("19"), "nice: {stat}");
    assert!(stat.contains("(lowtide-compile)"), "{stat}");
    child.kill().unwrap();
    child.wait().unwrap();
}

/// It holds for the thread alone that calls it, so that it can be tried here.
#[cfg(target_os = "linux")]
#[test]
fn who_is_confined_opens_nothing_any_more() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("secret");
    std::fs::write(&file, "x").unwrap();
    let open = std::fs::File::open(&file).unwrap();
    let denied = |outcome: std::io::Result<()>| {
        outcome.is_err_and(|error| error.kind() == std::io::ErrorKind::PermissionDenied)
    };
    let seen = std::thread::scope(|scope| {
        let inside = scope.spawn(|| {
            let confined = child::confine().unwrap();
            let read = std::io::read_to_string(&open).unwrap();
            let listener = denied(std::net::TcpListener::bind("127.0.0.1:0").map(drop));
            (
                confined,
                read,
                denied(std::fs::File::open(&file).map(drop)),
                denied(std::fs::write(dir.path().join("new"), "")),
                listener,
            )
        });
        inside.join().unwrap()
    });
    let has = std::fs::read_to_string("/sys/kernel/security/lsm").is_ok_and(|text| text.contains("landlock"));
    let (confined, read, opening, making, _) = seen;
    assert_eq!(read, "x", "what is open stays open");
    assert!(confined || !has, "this kernel has it");
    assert_eq!((opening, making), (confined, confined));
    assert!(std::fs::File::open(&file).is_ok(), "others are as free as before");
}
