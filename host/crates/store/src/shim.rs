//! A disk for tests: a VFS of SQLite that passes everything on to the default one, notes what would reach the disk, and fails on demand.
//!
//! It stands in only for connections that are opened on the thread that holds a [`Disk`]. What a crash could leave of what it noted
//! is the business of `crash`. Nothing but tests is built with it.

#![allow(unsafe_code, reason = "SQLite knows a VFS as a table of C functions")]

mod crash;

pub(crate) use crash::{Cut, Files, Random, Recording, replace};

use rusqlite::{Connection, OpenFlags, ffi};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ffi::{CStr, OsStr, c_char, c_int, c_void};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, Once, PoisonError};

/// Its name among the VFSs of the process.
const NAME: &CStr = c"lowtide-test-disk";

/// A file, as opposed to its name: one that is made anew under an old name is another.
type Inode = usize;

/// Something that changes what is on the disk, in the order in which it was done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Op {
    Create {
        name: String,
        file: Inode,
    },
    /// `synced`: the folder with it.
    Delete {
        name: String,
        synced: bool,
    },
    Write {
        file: Inode,
        at: usize,
        bytes: Vec<u8>,
    },
    Truncate {
        file: Inode,
        size: usize,
    },
    /// All before it that concerns this file is on the disk for good; `folder`: and all names.
    Sync {
        file: Inode,
        folder: bool,
    },
}

/// What can be made to fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Call {
    Write,
    Sync,
}

/// Which calls fail, and how.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fault {
    pub(crate) call: Call,
    /// So many succeed before.
    pub(crate) after: usize,
    /// So many fail; then all is well again.
    pub(crate) times: usize,
    /// What SQLite is told.
    pub(crate) code: c_int,
}

#[derive(Debug, Default)]
struct State {
    base: Files,
    ops: Vec<Op>,
    names: BTreeMap<String, Inode>,
    files: Inode,
    records: bool,
    fault: Option<Fault>,
    failed: usize,
}

impl State {
    /// What this call is to return instead of doing its work.
    fn fails(&mut self, call: Call) -> Option<c_int> {
        let fault = self.fault.as_mut().filter(|fault| fault.call == call)?;
        if fault.after > 0 {
            fault.after -= 1;
            return None;
        }
        fault.times = fault.times.checked_sub(1)?;
        self.failed += 1;
        Some(fault.code)
    }

    fn note(&mut self, op: Op) {
        if self.records {
            self.ops.push(op);
        }
    }

    fn create(&mut self, name: String) -> Inode {
        self.files += 1;
        self.names.insert(name.clone(), self.files);
        self.note(Op::Create { name, file: self.files });
        self.files
    }
}

type Shared = Arc<Mutex<State>>;

thread_local! {
    static DISK: RefCell<Option<Shared>> = const { RefCell::new(None) };
}

fn lock(state: &Shared) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Opens a file: through the disk of this thread, if it has one.
pub(crate) fn connect(path: &Path, flags: OpenFlags) -> Result<Connection, rusqlite::Error> {
    if DISK.with_borrow(Option::is_none) {
        return Connection::open_with_flags(path, flags);
    }
    register();
    Connection::open_with_flags_and_vfs(path, flags, NAME)
}

/// The disk of this thread while it lives.
#[derive(Debug)]
pub(crate) struct Disk(Shared);

impl Disk {
    /// Notes all that happens to the files of a folder from now on. What is there now counts as on the disk for good.
    pub(crate) fn recording(folder: &Path) -> Self {
        let mut state = State { records: true, base: crash::read(folder), ..State::default() };
        for name in state.base.keys() {
            state.files += 1;
            state.names.insert(name.clone(), state.files);
        }
        Self::install(state)
    }

    /// Notes nothing, and waits for no disk: for looking at what a crash left.
    pub(crate) fn hasty() -> Self {
        Self::install(State::default())
    }

    fn install(state: State) -> Self {
        let state = Arc::new(Mutex::new(state));
        DISK.set(Some(Arc::clone(&state)));
        Self(state)
    }

    /// Operations that were noted so far.
    pub(crate) fn operations(&self) -> usize {
        lock(&self.0).ops.len()
    }

    /// From now on these calls fail.
    pub(crate) fn fail(&self, fault: Fault) {
        let mut state = lock(&self.0);
        state.fault = Some(fault);
        state.failed = 0;
    }

    /// Nothing fails any more. Returns how many calls have failed.
    pub(crate) fn mend(&self) -> usize {
        let mut state = lock(&self.0);
        state.fault = None;
        state.failed
    }

    /// What was noted.
    pub(crate) fn take(self) -> Recording {
        let mut state = lock(&self.0);
        Recording { base: std::mem::take(&mut state.base), ops: std::mem::take(&mut state.ops) }
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        DISK.set(None);
    }
}

/// An open file. SQLite holds a pointer to its first field, so that one leads to all of it.
#[repr(C)]
struct Open {
    methods: ffi::sqlite3_io_methods,
    /// Those of the default VFS, for the same `sqlite3_file`.
    passed_on: *const ffi::sqlite3_io_methods,
    disk: Shared,
    file: Inode,
    /// The first sync of a new journal or log is one of its folder too.
    syncs_folder: bool,
}

fn register() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // SAFETY: the default VFS lives as long as the process, and so does the copy, which is leaked. The copy is as good as the
        // original to all functions that are taken over: they look at nothing of it but `pAppData` and `mxPathname`.
        let result = unsafe {
            let mut copy = *default_vfs();
            copy.zName = NAME.as_ptr();
            copy.pNext = std::ptr::null_mut();
            copy.xOpen = Some(x_open);
            copy.xDelete = Some(x_delete);
            ffi::sqlite3_vfs_register(Box::into_raw(Box::new(copy)), 0)
        };
        assert_eq!(result, ffi::SQLITE_OK);
    });
}

fn default_vfs() -> *mut ffi::sqlite3_vfs {
    // SAFETY: no name means the default one.
    let vfs = unsafe { ffi::sqlite3_vfs_find(std::ptr::null()) };
    assert!(!vfs.is_null());
    vfs
}

/// The last part of a path that SQLite gives; none for a file without a name.
///
/// # Safety
/// It must be null or a C string.
unsafe fn name_of(path: *const c_char) -> Option<String> {
    if path.is_null() {
        return None;
    }
    // SAFETY: as the caller says.
    let path = Path::new(OsStr::from_bytes(unsafe { CStr::from_ptr(path) }.to_bytes()));
    path.file_name().map(|name| name.to_string_lossy().into_owned())
}

unsafe extern "C" fn x_open(
    _vfs: *mut ffi::sqlite3_vfs,
    path: ffi::sqlite3_filename,
    file: *mut ffi::sqlite3_file,
    flags: c_int,
    out: *mut c_int,
) -> c_int {
    let vfs = default_vfs();
    // SAFETY: the arguments are SQLite's, and `file` has room for a file of the default VFS: `szOsFile` is its own.
    let code = unsafe { (*vfs).xOpen.map_or(ffi::SQLITE_CANTOPEN, |open| open(vfs, path, file, flags, out)) };
    let kept = ffi::SQLITE_OPEN_MAIN_DB | ffi::SQLITE_OPEN_MAIN_JOURNAL | ffi::SQLITE_OPEN_WAL;
    // SAFETY: a path of SQLite is a C string.
    let name = unsafe { name_of(path) };
    let (Some(name), Some(disk)) = (name, DISK.with_borrow(Clone::clone)) else { return code };
    if code != ffi::SQLITE_OK || flags & kept == 0 {
        return code;
    }
    let known = lock(&disk).names.get(&name).copied();
    let number = known.unwrap_or_else(|| lock(&disk).create(name));
    let syncs_folder = flags & ffi::SQLITE_OPEN_CREATE != 0 && flags & ffi::SQLITE_OPEN_MAIN_DB == 0;
    // SAFETY: the file was opened, so it has methods. Those of the default VFS never look at which table they were called through.
    unsafe {
        let passed_on = (*file).pMethods;
        let mut methods = *passed_on;
        methods.xClose = Some(x_close);
        methods.xWrite = Some(x_write);
        methods.xTruncate = Some(x_truncate);
        methods.xSync = Some(x_sync);
        let open = Box::new(Open { methods, passed_on, disk, file: number, syncs_folder });
        (*file).pMethods = Box::into_raw(open).cast();
    }
    code
}

unsafe extern "C" fn x_delete(_vfs: *mut ffi::sqlite3_vfs, path: *const c_char, synced: c_int) -> c_int {
    let vfs = default_vfs();
    // SAFETY: the arguments are SQLite's.
    let code = unsafe { (*vfs).xDelete.map_or(ffi::SQLITE_ERROR, |delete| delete(vfs, path, synced)) };
    // SAFETY: a path of SQLite is a C string.
    let name = unsafe { name_of(path) };
    if let (Some(name), Some(disk), ffi::SQLITE_OK) = (name, DISK.with_borrow(Clone::clone), code) {
        let mut disk = lock(&disk);
        if disk.names.remove(&name).is_some() {
            disk.note(Op::Delete { name, synced: synced != 0 });
        }
    }
    code
}

/// # Safety
/// `file` must have been opened by [`x_open`] with a disk, and not be closed.
unsafe fn opened<'a>(file: *mut ffi::sqlite3_file) -> &'a mut Open {
    // SAFETY: its methods are the first field of an `Open`, which nobody else holds: SQLite uses a file from one thread at a time.
    unsafe { &mut *(*file).pMethods.cast_mut().cast() }
}

unsafe extern "C" fn x_close(file: *mut ffi::sqlite3_file) -> c_int {
    // SAFETY: SQLite closes what it has opened, once; closing leaves the file without methods.
    unsafe {
        let open: Box<Open> = Box::from_raw((*file).pMethods.cast_mut().cast());
        (*open.passed_on).xClose.map_or(ffi::SQLITE_OK, |close| close(file))
    }
}

unsafe extern "C" fn x_write(
    file: *mut ffi::sqlite3_file,
    from: *const c_void,
    length: c_int,
    at: ffi::sqlite3_int64,
) -> c_int {
    // SAFETY: SQLite calls this only for what it has opened.
    let open = unsafe { opened(file) };
    let mut disk = lock(&open.disk);
    let failed = disk.fails(Call::Write);
    // A disk that fills up takes a part first.
    let length = if failed.is_some() { length / 2 } else { length };
    // SAFETY: SQLite gives as many bytes as it says.
    let bytes =
        unsafe { std::slice::from_raw_parts(from.cast::<u8>(), usize::try_from(length).unwrap_or(0)) };
    disk.note(Op::Write { file: open.file, at: usize::try_from(at).unwrap_or(0), bytes: bytes.to_vec() });
    // SAFETY: the arguments are SQLite's, or shorter.
    let code = unsafe {
        (*open.passed_on).xWrite.map_or(ffi::SQLITE_IOERR_WRITE, |write| write(file, from, length, at))
    };
    failed.unwrap_or(code)
}

unsafe extern "C" fn x_truncate(file: *mut ffi::sqlite3_file, size: ffi::sqlite3_int64) -> c_int {
    // SAFETY: SQLite calls this only for what it has opened.
    let open = unsafe { opened(file) };
    lock(&open.disk).note(Op::Truncate { file: open.file, size: usize::try_from(size).unwrap_or(0) });
    // SAFETY: the arguments are SQLite's.
    unsafe { (*open.passed_on).xTruncate.map_or(ffi::SQLITE_IOERR_TRUNCATE, |truncate| truncate(file, size)) }
}

/// It asks nothing of the real disk: no test takes the power away, and waiting for it would be most of the time.
unsafe extern "C" fn x_sync(file: *mut ffi::sqlite3_file, _flags: c_int) -> c_int {
    // SAFETY: SQLite calls this only for what it has opened.
    let open = unsafe { opened(file) };
    let mut disk = lock(&open.disk);
    if let Some(code) = disk.fails(Call::Sync) {
        return code;
    }
    disk.note(Op::Sync { file: open.file, folder: open.syncs_folder });
    open.syncs_folder = false;
    ffi::SQLITE_OK
}
