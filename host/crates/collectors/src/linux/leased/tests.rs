//! The meter over made-up trees of /proc and control groups.

use super::*;
use std::fs;
use std::time::Duration;

const GROUP: &str = "lowtide-run-1-0123456789abcdef";

struct Machine {
    dir: tempfile::TempDir,
    board: Arc<LeasedWork>,
    meter: Meter,
    seconds: u64,
}

impl Machine {
    /// Two processors, and version 2 of control groups.
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let config = CollectConfig {
            proc_dir: dir.path().join("proc"),
            sys_dir: dir.path().join("sys"),
            ..CollectConfig::default()
        };
        fs::create_dir_all(dir.path().join("sys/fs/cgroup")).unwrap();
        fs::write(dir.path().join("sys/fs/cgroup/cgroup.controllers"), "").unwrap();
        let board = Arc::new(LeasedWork::new());
        let meter = Meter::new(&config, Arc::clone(&board));
        let machine = Self { dir, board, meter, seconds: 0 };
        machine.write(
            "proc/stat",
            "cpu  1 0 0 1 0 0 0 0 0 0\ncpu0 1 0 0 1 0 0 0 0 0 0\ncpu1 1 0 0 1 0 0 0 0 0 0\nintr 1\nctxt 1\nprocesses 1\nprocs_running 1\nprocs_blocked 0\n",
        );
        machine
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.dir.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn guard(&self, pid: u32, parent: u32) {
        self.write(
            &format!("proc/{pid}/stat"),
            &format!("{pid} (lowtide) S {parent} 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 5 0 2\n"),
        );
        self.write(&format!("proc/{pid}/cmdline"), "lowtide\0run-guard\0");
    }

    /// What the work in a group has used so far, in milliseconds, and has moved, once on each of two stacked devices.
    fn used(&self, group: &str, cpu_ms: u64, bytes: u64) {
        self.write(
            &format!("sys/fs/cgroup/{group}/cpu.stat"),
            &format!("usage_usec {0}\nuser_usec {0}\n", cpu_ms * 1000),
        );
        let io = format!("254:0 rbytes={bytes} wbytes=0\n253:0 rbytes={bytes} wbytes=0\n");
        self.write(&format!("sys/fs/cgroup/{group}/io.stat"), &io);
    }

    fn lease(&self, lease: u64, pid: u32, group: Option<&str>) {
        self.board.set(lease, Work { pid, cgroup: group.map(|group| format!("/{group}")) });
    }

    /// The next look, a second later.
    fn look(&mut self) -> Shares {
        self.seconds += 1;
        self.meter.look(MonoTime(Duration::from_secs(self.seconds)), true)
    }
}

/// Half a second of one processor is a quarter of two.
#[test]
fn what_one_group_used_counts_once_whoever_names_it() {
    let mut machine = Machine::new();
    let inner = format!("{GROUP}/lowtide-run-2-0123456789abcdef");
    machine.guard(10, 1);
    machine.guard(20, 10);
    machine.used(GROUP, 100, 0);
    machine.used(&inner, 100, 0);
    machine.lease(1, 10, Some(GROUP));
    // The same group under another process, one within it, and one that runs below the first one's guard.
    machine.guard(30, 1);
    machine.lease(2, 30, Some(GROUP));
    machine.lease(3, 20, Some(&inner));
    machine.lease(4, 20, None);
    machine.look();
    machine.used(GROUP, 600, 0);
    machine.used(&inner, 600, 0);
    let shares = machine.look();
    assert_eq!(shares.works, 1);
    assert!((shares.cpu - 0.25).abs() < 1e-9, "{shares:?}");
    // What was a part is known by itself when the whole is over.
    machine.board.retain(|lease| lease > 2);
    machine.look();
    machine.used(&inner, 1_100, 0);
    let shares = machine.look();
    assert_eq!(shares.works, 1);
    assert!((shares.cpu - 0.25).abs() < 1e-9, "{shares:?}");
}

#[test]
fn bytes_count_on_the_device_that_moves_them() {
    let mut machine = Machine::new();
    let devices = machine.dir.path().join("sys/dev/block");
    fs::create_dir_all(&devices).unwrap();
    for (device, to) in [("254:0", "virtio1/block/vda"), ("253:0", "virtual/block/dm-0")] {
        std::os::unix::fs::symlink(format!("../../devices/{to}"), devices.join(device)).unwrap();
    }
    machine.guard(10, 1);
    machine.used(GROUP, 0, 1_000);
    machine.lease(1, 10, Some(GROUP));
    machine.look();
    machine.used(GROUP, 0, 5_000);
    assert_eq!(machine.look().disk, Some(4_000.0));
}

#[test]
fn who_is_no_longer_leased_is_no_longer_measured() {
    let mut machine = Machine::new();
    machine.guard(10, 1);
    machine.used(GROUP, 0, 0);
    machine.lease(1, 10, Some(GROUP));
    assert_eq!((machine.look().works, machine.look().works), (1, 1));
    machine.board.retain(|_| false);
    let shares = machine.look();
    assert_eq!((shares.works, shares.disk), (0, None));
}
