//! Load that a test can start and surely end: two busy processes, and threads that write to a real disk.

use crate::daemon::Guard;
use std::fs::File;
use std::io::{Seek as _, Write as _};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

/// One busy process for each core, at least two. They have the priority of this process: niced work does not count as use of
/// the processor, so a test run under `nice` would load it in vain.
pub(crate) fn spinners() -> Vec<Guard> {
    let cores = std::thread::available_parallelism().map_or(2, usize::from).max(2);
    let spinner = |_| {
        let mut command = Command::new("sh");
        command.args(["-c", "while :; do :; done"]).stdin(Stdio::null()).stdout(Stdio::null());
        Guard(command.spawn().unwrap())
    };
    (0..cores).map(spinner).collect()
}

/// Writes to the disk, each block synchronously, until dropped.
pub(crate) struct Writer {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
    // Beside the test program: a temporary folder may be memory.
    _folder: tempfile::TempDir,
}

impl Writer {
    pub(crate) fn start() -> Self {
        let own = std::env::current_exe().unwrap();
        let folder = tempfile::tempdir_in(own.parent().unwrap()).unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let threads = (0..2).map(|number| {
            let mut file = File::create(folder.path().join(number.to_string())).unwrap();
            let stop = Arc::clone(&stop);
            std::thread::spawn(move || {
                let block = vec![number as u8; 1 << 20];
                let mut written = 0;
                while !stop.load(Ordering::Relaxed) {
                    file.write_all(&block).and_then(|()| file.sync_data()).unwrap();
                    written += 1;
                    if written % 64 == 0 {
                        file.rewind().unwrap();
                    }
                }
            })
        });
        let threads = threads.collect();
        Self { stop, threads, _folder: folder }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}
