//! Tests of looks at the machine: what is granted, where links lead, and what stays shut.

use super::*;
use rustix::fs::{Mode, mkfifoat};
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

/// A folder with a machine in it: `granted`, `secret`, `proc` and `sys`.
struct Machine {
    folder: tempfile::TempDir,
}

impl Machine {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        for below in
            ["granted/deep", "secret", "proc/123/net", "proc/net", "sys/class/hwmon", "sys/devices/chip"]
        {
            fs::create_dir_all(folder.path().join(below)).unwrap();
        }
        let files = [
            ("granted/file", "in"),
            ("granted/deep/file", "deep in"),
            ("secret/file", "out"),
            ("granted-not/file", "out"),
            ("proc/123/environ", "PASSWORD=x"),
            ("proc/123/net/dev", "of a process"),
            ("proc/stat", "cpu 1 2 3"),
            ("proc/kmsg", "secret"),
            ("sys/devices/chip/temp1_input", "45000"),
        ];
        for (path, content) in files {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        symlink("../../devices/chip", folder.path().join("sys/class/hwmon/hwmon0")).unwrap();
        Self { folder }
    }

    fn path(&self, below: &str) -> String {
        self.folder.path().join(below).to_str().unwrap().to_owned()
    }

    fn desk(&self, rules: &[&str]) -> DataDesk {
        let rules = rules.iter().map(|rule| DataRule::try_from((*rule).to_owned()).unwrap()).collect();
        let (proc_dir, sys_dir) = (self.folder.path().join("proc"), self.folder.path().join("sys"));
        DataDesk::new(AddonId::new("my-app").unwrap(), rules, proc_dir, sys_dir)
    }

    /// A desk to which `granted` is granted.
    fn usual(&self) -> DataDesk {
        self.desk(&[&self.path("granted")])
    }
}

/// A desk for the machine that the test runs on.
fn here(rules: &[&str]) -> DataDesk {
    let rules = rules.iter().map(|rule| DataRule::try_from((*rule).to_owned()).unwrap()).collect();
    DataDesk::new(AddonId::new("my-app").unwrap(), rules, PathBuf::from("/proc"), PathBuf::from("/sys"))
}

fn refused<T: std::fmt::Debug>(result: Result<T, DataError>) -> String {
    match result {
        Err(DataError::NotGranted(text)) => text,
        other => panic!("{other:?}"),
    }
}

fn invalid<T>(result: Result<T, DataError>) -> bool {
    matches!(result, Err(DataError::Invalid(_)))
}

#[test]
fn what_is_granted_is_read_listed_and_described() {
    let machine = Machine::new();
    let desk = machine.usual();
    assert_eq!(desk.read(&machine.path("granted/deep/file")).unwrap(), b"deep in");
    assert_eq!(desk.read(&machine.path("granted//./file")).unwrap(), b"in");
    let entry = |name: &str, kind| Entry { name: name.to_owned(), kind };
    symlink("deep", machine.path("granted/a-folder")).unwrap();
    symlink("deep/file", machine.path("granted/b-file")).unwrap();
    symlink("../secret/file", machine.path("granted/c-out")).unwrap();
    symlink("missing", machine.path("granted/d-nowhere")).unwrap();
    assert_eq!(
        desk.list_directory(&machine.path("granted")).unwrap(),
        [
            entry("a-folder", EntryKind::Directory),
            entry("b-file", EntryKind::File),
            entry("c-out", EntryKind::Other),
            entry("d-nowhere", EntryKind::Other),
            entry("deep", EntryKind::Directory),
            entry("file", EntryKind::File),
        ]
    );
    let about = desk.stat(&machine.path("granted/file")).unwrap();
    assert_eq!((about.kind, about.size), (EntryKind::File, 2));
    let modified = fs::metadata(machine.path("granted/file")).unwrap().modified().unwrap();
    assert_eq!(u128::from(about.modified_ms), modified.duration_since(UNIX_EPOCH).unwrap().as_millis());
    assert_eq!(desk.stat(&machine.path("granted")).unwrap().kind, EntryKind::Directory);
    // A single file can be granted, and a link as such: then where it leads is meant.
    assert_eq!(
        machine.desk(&[&machine.path("granted/c-out")]).read(&machine.path("granted/c-out")).unwrap(),
        b"out"
    );
}

#[test]
fn what_is_not_granted_is_refused_with_the_line_to_add() {
    let machine = Machine::new();
    let desk = machine.usual();
    for path in ["secret/file", "granted-not/file", "", "grante"] {
        refused(desk.read(&machine.path(path)));
        refused(desk.list_directory(&machine.path(path)));
        refused(desk.stat(&machine.path(path)));
    }
    assert_eq!(
        refused(desk.read("/etc/\"shadow\n")),
        "/etc/\"shadow⏎ was not granted: ask for it in addon.toml, and the operator for host_data = ['/etc/\"shadow⏎'] in \
         [addon.my-app.grants]"
    );
    refused(machine.desk(&[]).stat("/"));
}

#[test]
fn paths_have_one_form() {
    let machine = Machine::new();
    let desk = machine.usual();
    for path in [
        "",
        "granted/file",
        &machine.path("granted/../secret/file"),
        &machine.path("granted/deep/.."),
        &machine.path("granted/a\0b"),
    ] {
        assert!(invalid(desk.read(path)), "{path}");
    }
    assert!(invalid(desk.read(&machine.path("granted/deep"))));
    assert!(invalid(desk.list_directory(&machine.path("granted/file"))));
    for path in ["granted/missing", "granted/file/below", "granted/missing/below"] {
        assert_eq!(desk.read(&machine.path(path)), Err(DataError::NotFound));
    }
    let long = machine.path(&format!("granted/{}", "x".repeat(5_000)));
    assert!(matches!(desk.read(&long), Err(DataError::Unreadable(_))));
    assert_eq!(
        machine.desk(&["/lowtide/is/not/here"]).read("/lowtide/is/not/here/file"),
        Err(DataError::NotFound)
    );
}

#[test]
fn links_lead_nowhere_outside() {
    let machine = Machine::new();
    let desk = machine.usual();
    symlink("deep/file", machine.path("granted/inner")).unwrap();
    symlink("../file", machine.path("granted/deep/up")).unwrap();
    assert_eq!(desk.read(&machine.path("granted/inner")).unwrap(), b"deep in");
    assert_eq!(desk.read(&machine.path("granted/deep/up")).unwrap(), b"in");
    symlink("../secret/file", machine.path("granted/relative")).unwrap();
    symlink(machine.path("secret/file"), machine.path("granted/absolute")).unwrap();
    symlink("../secret", machine.path("granted/folder")).unwrap();
    symlink("relative", machine.path("granted/twice")).unwrap();
    symlink("/proc/self/root", machine.path("granted/root")).unwrap();
    symlink("loop", machine.path("granted/loop")).unwrap();
    // It ends inside, but goes out on its way.
    symlink("../granted/file", machine.path("granted/detour")).unwrap();
    for path in ["relative", "absolute", "folder/file", "twice", "root/etc/passwd", "loop", "detour"] {
        let text = refused(desk.read(&machine.path(&format!("granted/{path}"))));
        assert!(text.contains("leads out of what was granted"), "{text}");
    }
    refused(desk.list_directory(&machine.path("granted/folder")));
    refused(desk.stat(&machine.path("granted/relative")));
    // Of two grants the closer one counts, and the other where it leads further.
    let both = machine.desk(&[&machine.path("granted"), &machine.path("granted/folder")]);
    assert_eq!(both.read(&machine.path("granted/folder/file")).unwrap(), b"out");
    symlink("../file", machine.path("secret/back")).unwrap();
    refused(both.read(&machine.path("granted/folder/back")));
    let wider = machine.desk(&[&machine.path("granted/deep"), &machine.path("granted")]);
    assert_eq!(wider.read(&machine.path("granted/deep/up")).unwrap(), b"in");
}

#[test]
fn a_link_that_is_swapped_all_the_time_never_leads_outside() {
    let machine = Machine::new();
    let desk = machine.usual();
    let (inner, outer, target) =
        (machine.path("inner"), machine.path("outer"), machine.path("granted/swapped"));
    let stop = AtomicBool::new(false);
    let mut read = 0;
    thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                symlink("deep", &inner).unwrap();
                fs::rename(&inner, &target).unwrap();
                symlink("../secret", &outer).unwrap();
                fs::rename(&outer, &target).unwrap();
            }
        });
        for _ in 0..5_000 {
            match desk.read(&format!("{target}/file")) {
                Ok(content) => {
                    assert_eq!(content, b"deep in");
                    read += 1;
                }
                Err(DataError::NotGranted(_) | DataError::NotFound | DataError::Unreadable(_)) => {}
                Err(error) => panic!("{error}"),
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
    assert!(read > 0);
}

#[test]
fn proc_and_sys_are_where_they_were_said_to_be() {
    let machine = Machine::new();
    let desk = machine.desk(&["/sys/class/hwmon", "/proc"]);
    assert_eq!(desk.read("/proc/stat").unwrap(), b"cpu 1 2 3");
    // An entry is a link to a folder elsewhere in /sys.
    assert_eq!(desk.read("/sys/class/hwmon/hwmon0/temp1_input").unwrap(), b"45000");
    let entries = desk.list_directory("/sys/class/hwmon").unwrap();
    assert_eq!(entries, [Entry { name: "hwmon0".to_owned(), kind: EntryKind::Directory }]);
    refused(desk.read("/sys/devices/chip/temp1_input"));
    symlink("../../../secret", machine.path("sys/class/hwmon/hwmon1")).unwrap();
    refused(desk.read("/sys/class/hwmon/hwmon1/file"));
    symlink("/sys/class", machine.path("sys/class/hwmon/hwmon2")).unwrap();
    refused(desk.stat("/sys/class/hwmon/hwmon2"));
}

#[test]
fn processes_and_devices_stay_shut_whatever_is_granted() {
    let machine = Machine::new();
    symlink("123", machine.path("proc/self")).unwrap();
    symlink("self/environ", machine.path("proc/innocent")).unwrap();
    symlink("123/net/dev", machine.path("proc/shared")).unwrap();
    let desk =
        machine.desk(&["/proc", "/proc/123", "/proc/self", "/dev", "/proc/kmsg", &machine.path("proc")]);
    let own = std::process::id();
    for path in [
        "/proc/123/environ",
        "/proc/123/net/dev",
        "/proc/123",
        "/proc/self/environ",
        "/proc/self",
        "/proc/thread-self/stat",
        "/proc/kcore",
        "/proc/kmsg",
        "/proc/innocent",
        "/dev/null",
        "/dev",
        &format!("/proc/{own}/environ"),
        // Under its other name the folder is the same.
        &machine.path("proc/123/environ"),
        &machine.path("proc/self/environ"),
        &machine.path("proc/kmsg"),
    ] {
        assert!(refused(desk.read(path)).contains("never readable"), "{path}");
        refused(desk.stat(path));
        refused(desk.list_directory(path));
    }
    assert_eq!(desk.read("/proc/shared").unwrap(), b"of a process");
}

#[cfg(target_os = "linux")]
#[test]
fn the_real_proc_gives_what_belongs_to_all_and_nothing_of_a_process() {
    let desk = here(&["/proc"]);
    assert!(desk.read("/proc/stat").unwrap().starts_with(b"cpu"));
    assert!(!desk.read("/proc/mounts").unwrap().is_empty());
    assert!(desk.read("/proc/net/dev").unwrap().starts_with(b"Inter-|"));
    assert!(here(&["/proc/net"]).read("/proc/net/dev").unwrap().starts_with(b"Inter-|"));
    assert!(here(&["/proc/net/dev"]).stat("/proc/net/dev").unwrap().kind == EntryKind::File);
    for path in [
        "/proc/self/environ",
        "/proc/1/cmdline",
        "/proc/thread-self/maps",
        "/proc/self/root/etc/passwd",
        "/proc/self/fd",
    ] {
        refused(desk.read(path));
    }
    // A link that the operator's folder contains, and another place where processes are shown.
    let machine = Machine::new();
    symlink("/proc/self/environ", machine.path("granted/environ")).unwrap();
    let link = machine.path("granted/environ");
    refused(machine.desk(&[&link]).read(&link));
    let fake = DataDesk::new(
        AddonId::new("my-app").unwrap(),
        vec![DataRule::Path(machine.path("granted").into())],
        machine.path("proc").into(),
        machine.path("sys").into(),
    );
    refused(fake.read(&link));
}

#[test]
fn what_is_neither_file_nor_folder_is_not_opened() {
    let machine = Machine::new();
    let desk = machine.usual();
    mkfifoat(rustix::fs::CWD, machine.path("granted/fifo"), Mode::RUSR | Mode::WUSR).unwrap();
    let _listener = UnixListener::bind(machine.path("granted/socket")).unwrap();
    for path in ["granted/fifo", "granted/socket"] {
        let path = machine.path(path);
        assert!(invalid(desk.read(&path)) && invalid(desk.list_directory(&path)), "{path}");
        assert_eq!(desk.stat(&path).unwrap().kind, EntryKind::Other);
    }
    let kinds: Vec<_> =
        desk.list_directory(&machine.path("granted")).unwrap().into_iter().map(|entry| entry.kind).collect();
    assert_eq!(kinds, [EntryKind::Directory, EntryKind::Other, EntryKind::File, EntryKind::Other]);
}

#[test]
fn files_and_folders_have_their_bounds() {
    let machine = Machine::new();
    let desk = machine.usual();
    let path = machine.path("granted/large");
    fs::write(&path, vec![0; limits::DATA_FILE_BYTES_MAX]).unwrap();
    assert_eq!(desk.read(&path).unwrap().len(), limits::DATA_FILE_BYTES_MAX);
    fs::write(&path, vec![0; limits::DATA_FILE_BYTES_MAX + 1]).unwrap();
    assert_eq!(desk.read(&path), Err(DataError::TooLarge));
    let deep = machine.path("granted/deep");
    for number in 1..limits::DATA_ENTRIES_MAX {
        fs::write(format!("{deep}/{number}"), b"").unwrap();
    }
    assert_eq!(desk.list_directory(&deep).unwrap().len(), limits::DATA_ENTRIES_MAX);
    fs::write(format!("{deep}/more"), b"").unwrap();
    assert_eq!(desk.list_directory(&deep), Err(DataError::TooLarge));
}

#[tokio::test]
async fn a_port_is_tried_only_where_it_was_granted() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let open = listener.local_addr().unwrap();
    let shut = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let rules = [
        format!("tcp://{open}"),
        format!("tcp://{shut}"),
        "tcp://lowtide.invalid:1".to_owned(),
        "tcp://LocalHost:9".to_owned(),
    ];
    let desk = here(&rules.each_ref().map(String::as_str));
    assert_eq!(desk.tcp_accepts(&Blocking::default(), &open.to_string(), None).await, Ok(true));
    assert_eq!(desk.tcp_accepts(&Blocking::default(), &shut.to_string(), None).await, Ok(false));
    assert_eq!(desk.tcp_accepts(&Blocking::default(), "LOCALHOST:9", None).await, Ok(false));
    assert!(matches!(
        desk.tcp_accepts(&Blocking::default(), "lowtide.invalid:1", None).await,
        Err(DataError::Unreadable(_))
    ));
    let text =
        refused(desk.tcp_accepts(&Blocking::default(), &format!("localhost:{}", open.port()), None).await);
    assert!(
        text.contains(&format!("host_data = [\"tcp://localhost:{}\"] in [addon.my-app.grants]", open.port())),
        "{text}"
    );
    refused(desk.tcp_accepts(&Blocking::default(), &format!("tcp://{open}"), None).await);
    refused(desk.tcp_accepts(&Blocking::default(), &format!("{open} "), None).await);
    let long = limits::TCP_TIMEOUT_MAX + Duration::from_millis(1);
    assert!(invalid(desk.tcp_accepts(&Blocking::default(), &open.to_string(), Some(long)).await));
}
