//! Definitions of the system collector. Only the table of metrics; `linux/system.rs` and `portable.rs` measure them.

use crate::config::TICK_DEFAULT;
use crate::define::{self, NONE, metrics};
use lowtide_core::report::CollectorInfo;

metrics! {
    LOAD1 = gauge("host_system_load_average1", Count, NONE, "Load average over one minute: threads that run, wait to run, or wait for a disk (proc_loadavg(5)).");
    LOAD5 = gauge("host_system_load_average5", Count, NONE, "Load average over five minutes (proc_loadavg(5)).");
    LOAD15 = gauge("host_system_load_average15", Count, NONE, "Load average over fifteen minutes (proc_loadavg(5)).");
    PROCESSES = gauge("host_system_processes", Count, NONE, "Processes and threads that exist (proc_loadavg(5), scheduling entities).");
    UPTIME = gauge("host_system_uptime_seconds", Seconds, NONE, "Time since the host started (proc_uptime(5)).");
    BOOT_TIME = gauge("host_system_boot_time_seconds", Seconds, NONE, "When the host started, in Unix time (proc_stat(5), btime).");
}

/// Who the collector is.
pub(crate) fn info() -> CollectorInfo {
    let help = "Load averages, number of processes, uptime and boot time.";
    define::info(("system", "host"), "host_system_", help, TICK_DEFAULT, &METRICS)
}
