//! The collector over made-up trees of /proc and cgroups, and on the machine that runs the tests.

use super::*;
use std::fs;

/// A made-up machine with four processors.
struct Tree {
    dir: tempfile::TempDir,
    units: Units,
    seconds: u64,
}

type Lines = BTreeMap<String, f64>;

impl Tree {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let config = CollectConfig {
            proc_dir: dir.path().join("proc"),
            sys_dir: dir.path().join("sys"),
            ..CollectConfig::default()
        };
        let mut units = Units::new(&config);
        (units.page_bytes, units.ticks_per_second) = (4_096.0, 100.0);
        let tree = Self { dir, units, seconds: 1_000 };
        tree.write("proc/stat", "cpu  1 1\ncpu0 1\ncpu1 1\ncpu2 1\ncpu3 1\nctxt 1\n");
        tree.process(1, "init", 1, 0, "/init.scope");
        tree
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.dir.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// A process that was there from the start of the machine.
    fn process(&self, pid: u32, comm: &str, group: u32, cpu_ticks: u64, cgroup: &str) {
        self.process_since(pid, comm, group, cpu_ticks, cgroup, 10);
    }

    fn process_since(&self, pid: u32, comm: &str, group: u32, ticks: u64, cgroup: &str, started: u64) {
        let flags = if group == 0 { usage::KERNEL_THREAD } else { 0 };
        let stat = format!(
            "{pid} ({comm}) S 1 {group} 1 0 -1 {flags} 0 0 0 0 {ticks} 0 0 0 20 0 1 0 {started} 0 256\n"
        );
        self.write(&format!("proc/{pid}/stat"), &stat);
        self.write(&format!("proc/{pid}/cgroup"), &format!("0::{cgroup}\n"));
    }

    fn moved(&self, pid: u32, read: u64, written: u64) {
        self.write(&format!("proc/{pid}/io"), &format!("read_bytes: {read}\nwrite_bytes: {written}\n"));
    }

    fn end(&self, pid: u32) {
        fs::remove_dir_all(self.dir.path().join(format!("proc/{pid}"))).unwrap();
    }

    /// A cgroup with its counters.
    fn cgroup(&self, path: &str, cpu_us: u64, memory: u64, io: &str) {
        self.write("sys/fs/cgroup/cgroup.controllers", "cpu io memory\n");
        self.write(&format!("sys/fs/cgroup{path}/cpu.stat"), &format!("usage_usec {cpu_us}\nuser_usec 1\n"));
        self.write(&format!("sys/fs/cgroup{path}/memory.current"), &format!("{memory}\n"));
        self.write(&format!("sys/fs/cgroup{path}/memory.stat"), "anon 1\ninactive_file 1000\n");
        self.write(&format!("sys/fs/cgroup{path}/io.stat"), io);
    }

    fn collect(&mut self) -> Result<Lines, CollectError> {
        self.write("proc/uptime", &format!("{}.00 1.00\n", self.seconds));
        let mut out = SampleBuffer::new();
        self.units.collect(MonoTime(Duration::from_secs(self.seconds)), &mut out)?;
        let layout = out.layout();
        let name = |series: &lowtide_core::metric::Series| {
            let metric = series.metric.name.strip_prefix("host_units_").unwrap();
            format!("{} {} {metric}", series.labels[1], series.labels[0])
        };
        Ok(layout.iter().map(name).zip(out.values().iter().copied()).collect())
    }

    /// The next run, ten seconds later.
    fn later(&mut self) -> Lines {
        self.seconds += 10;
        self.collect().unwrap()
    }
}

#[test]
fn rates_are_over_the_time_between_two_runs() {
    let mut tree = Tree::new();
    tree.process(50, "ffmpeg", 50, 5_000, "/");
    tree.process(51, "ffmpeg", 50, 100, "/");
    tree.moved(50, 1_000_000, 0);
    tree.moved(51, 0, 5_000_000);
    let first = tree.collect().unwrap();
    assert_eq!(first.get("group ffmpeg memory_bytes"), Some(&(2.0 * 256.0 * 4_096.0)));
    assert!(first.keys().all(|line| line.ends_with("memory_bytes")), "{first:?}");
    tree.process(50, "ffmpeg", 50, 6_500, "/");
    tree.process(51, "ffmpeg", 50, 600, "/");
    tree.moved(50, 3_000_000, 0);
    tree.moved(51, 0, 5_500_000);
    let lines = tree.later();
    // 20 seconds of processor time in 10 seconds of four processors.
    assert_eq!(lines["group ffmpeg cpu_usage_ratio"], 0.5);
    assert_eq!(lines["group ffmpeg read_bytes_per_second"], 200_000.0);
    assert_eq!(lines["group ffmpeg written_bytes_per_second"], 50_000.0);
    tree.units.forget();
    let lines = tree.later();
    assert!(lines.keys().all(|line| line.ends_with("memory_bytes")), "{lines:?}");
}

#[test]
fn the_counters_of_a_cgroup_go_before_those_of_its_processes() {
    let mut tree = Tree::new();
    tree.write("sys/class/block/x", "");
    let device = tree.dir.path().join("sys/dev/block/253:0");
    fs::create_dir_all(device.parent().unwrap()).unwrap();
    std::os::unix::fs::symlink("../../devices/virtual/block/dm-0", device).unwrap();
    let path = "/system.slice/backup.service";
    tree.process(60, "restic", 60, 0, path);
    tree.cgroup(path, 1_000_000, 9_000, "8:0 rbytes=100 wbytes=0\n253:0 rbytes=100 wbytes=0\n");
    tree.collect().unwrap();
    // All that worked has ended meanwhile: no process shows it.
    tree.cgroup(path, 21_000_000, 7_000, "8:0 rbytes=1000100 wbytes=500\n253:0 rbytes=1000100 wbytes=500\n");
    let lines = tree.later();
    assert_eq!(lines["service backup.service cpu_usage_ratio"], 0.5);
    assert_eq!(lines["service backup.service memory_bytes"], 6_000.0);
    assert_eq!(lines["service backup.service read_bytes_per_second"], 100_000.0);
    assert_eq!(lines["service backup.service written_bytes_per_second"], 50.0);
    // Started anew, its counters begin at zero.
    tree.cgroup(path, 5_000, 7_000, "");
    tree.process(60, "restic", 60, 400, path);
    assert_eq!(tree.later()["service backup.service cpu_usage_ratio"], 0.1);
}

#[test]
fn a_unit_within_another_is_not_counted_twice() {
    let mut tree = Tree::new();
    let outer = "/user.slice/user@1.service";
    let inner = "/user.slice/user@1.service/app.slice/game.service";
    tree.process(70, "manager", 70, 0, outer);
    tree.process(71, "game", 71, 0, inner);
    tree.process(72, "near", 72, 0, "/user.slice/user@1.service-x.service");
    for path in [outer, inner] {
        tree.cgroup(path, 0, 50_000, "");
    }
    tree.collect().unwrap();
    tree.cgroup(outer, 20_000_000, 50_000, "");
    tree.cgroup(inner, 20_000_000, 50_000, "");
    tree.process(70, "manager", 70, 40, outer);
    let lines = tree.later();
    assert_eq!(lines["service game.service cpu_usage_ratio"], 0.5);
    assert_eq!(lines["service user@1.service cpu_usage_ratio"], 0.01);
    assert_eq!(lines["service user@1.service memory_bytes"], 256.0 * 4_096.0);
}

#[test]
fn processes_that_come_go_or_change_hands_are_no_errors_and_no_leaps() {
    let mut tree = Tree::new();
    tree.process(80, "old", 80, 90_000, "/");
    tree.process(81, "half", 81, 0, "/");
    tree.process(82, "bad", 82, 0, "/");
    tree.collect().unwrap();
    tree.end(80);
    fs::remove_file(tree.dir.path().join("proc/81/stat")).unwrap();
    tree.write("proc/82/stat", "82 (bad) S\n");
    // Begun after the run before: all that it used is of this interval.
    tree.process_since(83, "new", 83, 400, "/", 100_500);
    // Another process with the id of one that ended.
    tree.process(84, "late", 84, 50_000, "/");
    let lines = tree.later();
    assert_eq!(lines["group new cpu_usage_ratio"], 0.1);
    // It was there before, but not seen: nobody knows what of it is of this interval.
    assert_eq!(lines.get("group late cpu_usage_ratio"), Some(&0.0));
    assert!(
        !lines.keys().any(|line| ["old", "half", "bad"].iter().any(|name| line.contains(name))),
        "{lines:?}"
    );
    tree.process_since(84, "heir", 84, 200, "/", 101_500);
    let lines = tree.later();
    assert_eq!(lines["group heir cpu_usage_ratio"], 0.05);
    assert_eq!(tree.units.processes.len(), 3);
}

#[test]
fn a_process_that_moves_to_a_lease_is_found_there() {
    let mut tree = Tree::new();
    tree.process(90, "bash", 90, 0, "/user.slice/session-3.scope");
    tree.collect().unwrap();
    assert!(tree.later().contains_key("scope session-3.scope memory_bytes"));
    tree.process(90, "bash", 90, 0, "/user.slice/lowtide-run-7.scope");
    let found =
        (0..PLACES_ASKED_ANEW).any(|_| tree.later().contains_key("lease lowtide-run-7.scope memory_bytes"));
    assert!(found);
    assert_eq!(tree.units.places.len(), 2, "init.scope and the lease");
}

#[test]
fn a_group_is_named_by_its_leader_and_threads_of_the_kernel_by_the_kernel() {
    let mut tree = Tree::new();
    tree.process(100, "cc1", 101, 0, "/");
    tree.process(101, "make", 101, 0, "/");
    tree.process(102, "orphan", 99, 0, "/");
    tree.process(103, "kswapd0", 0, 0, "/");
    tree.process(104, "a\nb\u{202e}", 104, 0, "/");
    let lines = tree.collect().unwrap();
    let names: Vec<&str> = lines.keys().filter_map(|line| line.strip_prefix("group ")).collect();
    let expected = ["a?b?", "kernel", "make", "orphan"].map(|name| format!("{name} memory_bytes"));
    assert_eq!(names, expected);
    assert_eq!(lines["group make memory_bytes"], 2.0 * 256.0 * 4_096.0);
}

#[test]
fn at_most_thirty_units_are_listed_however_many_there_are() {
    let mut tree = Tree::new();
    for pid in 1_000..1_200 {
        tree.process(pid, &format!("w{pid}"), pid, 0, "/");
    }
    tree.collect().unwrap();
    for pid in 1_000..1_200 {
        tree.process(pid, &format!("w{pid}"), pid, u64::from(pid), "/");
        tree.moved(pid, 0, 0);
    }
    let lines = tree.later();
    let units = lines.keys().filter(|line| line.ends_with("cpu_usage_ratio")).count();
    assert!((10..=30).contains(&units), "{units}");
    assert!(lines.contains_key("group w1199 cpu_usage_ratio"));
}

#[test]
fn where_processes_are_hidden_there_are_no_units() {
    let mut tree = Tree::new();
    tree.end(1);
    assert!(matches!(tree.collect(), Err(CollectError::Absent(_))));
    fs::remove_dir_all(tree.dir.path().join("proc")).unwrap();
    assert!(matches!(tree.units.scan(), Err(CollectError::Missing { .. })));
}

#[test]
fn fuzz_wrong_bytes_in_any_file_never_panic_nor_leap() {
    let mut tree = Tree::new();
    let path = "/system.slice/a.service";
    tree.process(50, "x", 50, 7, "/");
    tree.process(51, "y", 51, 7, path);
    tree.moved(50, 1, 1);
    tree.cgroup(path, 5, 5_000, "8:0 rbytes=1 wbytes=2\n");
    let files: Vec<String> = ["cpu.stat", "memory.current", "memory.stat", "io.stat"]
        .iter()
        .map(|name| format!("sys/fs/cgroup{path}/{name}"))
        .chain(
            ["stat", "io", "cgroup"].iter().flat_map(|name| [50, 51].map(|pid| format!("proc/{pid}/{name}"))),
        )
        .collect();
    let whole: Vec<Vec<u8>> =
        files.iter().map(|file| fs::read(tree.dir.path().join(file)).unwrap_or_default()).collect();
    let mut seed = 0x5eed_u64;
    let mut below = |bound: usize| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) as usize % bound
    };
    for _ in 0..200 {
        for (file, whole) in files.iter().zip(&whole) {
            let mut bytes = whole.clone();
            for _ in 0..below(4) {
                let at = below(bytes.len() + 1);
                let byte = b"0123456789 \n.:/=()\0\xff-"[below(20)];
                match below(3) {
                    0 => bytes.truncate(at),
                    1 => bytes.insert(at, byte),
                    _ => bytes.iter_mut().skip(at).take(1).for_each(|old| *old = byte),
                }
            }
            fs::write(tree.dir.path().join(file), bytes).unwrap();
        }
        for (line, value) in tree.later() {
            assert!(value.is_finite() && value >= 0.0, "{line} {value}");
            assert!(!line.ends_with("ratio") || value <= 1.0, "{line} {value}");
        }
    }
}

#[test]
fn processors_are_counted() {
    assert_eq!(parse_processors(b"cpu  1 2\ncpu0 1\ncpu1 1\nintr 5\n"), Ok(2));
    assert!(parse_processors(b"cpu  1 2\nintr 5\n").is_err());
    assert!(parse_processors(b"cpu0 1").is_err());
}

#[test]
fn a_process_that_spins_on_this_machine_is_named() {
    use std::io::{BufRead, BufReader};
    use std::os::unix::process::CommandExt;
    use std::process::{Command, Stdio};
    let mut units = Units::new(&CollectConfig::default());
    let from = lowtide_clock::mono();
    match units.collect(from, &mut SampleBuffer::new()) {
        // A sandbox that hides processes: there is nothing to name here.
        Err(CollectError::Absent(_)) => return,
        other => other.unwrap(),
    }
    // A group of its own; its name is that of the link that is started, so that nothing else is called so.
    let dir = tempfile::tempdir().unwrap();
    let shell = dir.path().join("lowtide-spin");
    std::os::unix::fs::symlink("/bin/sh", &shell).unwrap();
    let script = "i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done; echo done; read end";
    let mut command = Command::new(&shell);
    command.args(["-c", script]).process_group(0).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut spinner = command.spawn().unwrap();
    let id = spinner.id();
    BufReader::new(spinner.stdout.take().unwrap()).read_line(&mut String::new()).unwrap();
    let read = |name: &str| fs::read(format!("/proc/{id}/{name}")).unwrap();
    let stat = read("stat");
    let used = parse_stat(&stat).unwrap().cpu_ticks() as f64 / units.ticks_per_second;
    let unit = match name::parse(&read("cgroup")).unwrap() {
        Some(home) => home.unit,
        None => Unit::new(Kind::Group, "lowtide-spin"),
    };
    units.scan().unwrap();
    let seconds = lowtide_clock::mono().since(from).as_secs_f64();
    let all = units.usage();
    // It reads from a pipe that closes here, and ends.
    drop(spinner.stdin.take());
    spinner.wait().unwrap();
    assert!(used > 0.0 && all[&unit].cpu_seconds >= used, "{used} {:?}", all[&unit]);
    let chosen = top::choose(&all, Some(seconds), 1.0);
    // Where ten others work harder meanwhile, they are named.
    let more = all.values().filter(|usage| usage.cpu_seconds >= all[&unit].cpu_seconds).count();
    assert!(chosen.contains(&unit) || more > 10, "{unit:?} used {used} s, {more} used as much");
}
