//! The few system calls that rustix does not have: the idle classes of processor and disk, and a signal mask. The only unsafe code of
//! this crate. All act on the calling thread; the stage has only one.

use std::io;

/// `IOPRIO_WHO_PROCESS`, `IOPRIO_CLASS_IDLE` and `IOPRIO_CLASS_SHIFT` of linux/ioprio.h, which the libc crate does not have.
const WHO_PROCESS: libc::c_int = 1;
const CLASS_IDLE: libc::c_int = 3;
const CLASS_SHIFT: u32 = 13;

/// Runs only when nobody else wants the processor (`SCHED_IDLE`, sched(7)).
#[expect(unsafe_code, reason = "rustix has no sched_setscheduler")]
pub(crate) fn processor_idle() -> io::Result<()> {
    let parameter = libc::sched_param { sched_priority: 0 };
    // The system call itself: musl's function of this name only says that it does not exist.
    // SAFETY: 0 is the calling thread, and the structure lives until the call is over; the kernel only reads it.
    let answer = unsafe {
        libc::syscall(libc::SYS_sched_setscheduler, 0, libc::SCHED_IDLE, std::ptr::from_ref(&parameter))
    };
    of(answer)
}

/// Uses disks only when nobody else does, where the disk's scheduler knows classes (ioprio_set(2)).
#[expect(unsafe_code, reason = "rustix has no ioprio_set")]
pub(crate) fn disk_idle() -> io::Result<()> {
    // SAFETY: three plain numbers; 0 is the calling thread.
    let answer = unsafe { libc::syscall(libc::SYS_ioprio_set, WHO_PROCESS, 0, CLASS_IDLE << CLASS_SHIFT) };
    of(answer)
}

/// Holds SIGTTOU back, so that a process that is not in the foreground can take the terminal (tcsetpgrp(3)). Children of `Command` begin
/// with an empty mask, so they do not inherit it.
#[expect(unsafe_code, reason = "rustix has no public call for signal masks")]
pub(crate) fn hold_back_terminal_stop() -> io::Result<()> {
    let mut set = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: sigemptyset fills the set before anything reads it; the pointers are valid for each call, and the old mask is not asked for.
    let answer = unsafe {
        libc::sigemptyset(set.as_mut_ptr());
        libc::sigaddset(set.as_mut_ptr(), libc::SIGTTOU);
        libc::pthread_sigmask(libc::SIG_BLOCK, set.as_ptr(), std::ptr::null_mut())
    };
    if answer == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(answer)) }
}

fn of(answer: libc::c_long) -> io::Result<()> {
    if answer < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
