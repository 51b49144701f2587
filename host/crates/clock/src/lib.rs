//! The only place in the project that reads a clock. Everything else is given the time as an argument, so that it can be
//! simulated. It must not wait, and nothing here decides anything. The tick loop, the runner and the main program call it.

use lowtide_core::units::{MonoTime, Now, WallTime};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Both clocks, read one right after the other.
#[must_use]
pub fn now() -> Now {
    Now { mono: mono(), wall: wall() }
}

/// Time since boot, counting suspend (`CLOCK_BOOTTIME`, clock_gettime(2)).
#[cfg(target_os = "linux")]
#[must_use]
pub fn mono() -> MonoTime {
    MonoTime(read(rustix::time::ClockId::Boottime))
}

/// Time since the first call in this process: other systems have no one clock that counts suspend.
#[cfg(not(target_os = "linux"))]
#[expect(clippy::disallowed_methods, reason = "this is the file that reads the clocks")]
#[must_use]
pub fn mono() -> MonoTime {
    use std::{sync::OnceLock, time::Instant};
    static START: OnceLock<Instant> = OnceLock::new();
    MonoTime(START.get_or_init(Instant::now).elapsed())
}

/// Processor time of the whole process, user and system together (`CLOCK_PROCESS_CPUTIME_ID`, clock_gettime(2)).
#[cfg(unix)]
#[must_use]
pub fn process_cpu() -> Duration {
    read(rustix::time::ClockId::ProcessCPUTime)
}

/// Processor time of the process: not available here, always zero.
#[cfg(not(unix))]
#[must_use]
pub fn process_cpu() -> Duration {
    Duration::ZERO
}

/// Processor time of the calling thread (`CLOCK_THREAD_CPUTIME_ID`, clock_gettime(2)).
#[cfg(unix)]
#[must_use]
pub fn thread_cpu() -> Duration {
    read(rustix::time::ClockId::ThreadCPUTime)
}

/// Processor time of the thread: not available here, always zero.
#[cfg(not(unix))]
#[must_use]
pub fn thread_cpu() -> Duration {
    Duration::ZERO
}

#[cfg(unix)]
fn read(clock: rustix::time::ClockId) -> Duration {
    // These clocks never count from before their start, so a negative time cannot be; zero is the safe answer if it is.
    Duration::try_from(rustix::time::clock_gettime(clock)).unwrap_or_default()
}

#[expect(clippy::disallowed_methods, reason = "this is the file that reads the clocks")]
fn wall() -> WallTime {
    // A clock set before 1970 reads as 1970: display only.
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    WallTime(i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_only_move_forward_and_agree_on_the_century() {
        let first = now();
        let second = now();
        assert!(second.mono >= first.mono);
        assert!(first.wall.unix_ms() > 1_600_000_000_000);
        assert!(process_cpu() >= thread_cpu());
    }
}
