//! Definitions of the cpu collector. Only the table of metrics; `linux/cpu.rs` and `portable.rs` measure them.

use crate::config::TICK_DEFAULT;
use crate::define::{self, NONE, metrics};
use lowtide_core::metric::Text;
use lowtide_core::report::CollectorInfo;

const MODE: &[Text] = &[Text::Borrowed("mode")];
const CORE: &[Text] = &[Text::Borrowed("core")];
const CORE_MODE: &[Text] = &[Text::Borrowed("core"), Text::Borrowed("mode")];

metrics! {
    LOGICAL_COUNT = gauge("host_cpu_logical_processors", Count, NONE, "Logical processors that are online.");
    SECONDS = counter("host_cpu_seconds_total", Seconds, MODE, "Processor time of all processors by mode; the modes do not overlap: time of guests is not part of user and nice (proc_stat(5)).");
    CONTEXT_SWITCHES = counter("host_cpu_context_switches_total", Count, NONE, "Context switches since boot (proc_stat(5), ctxt).");
    INTERRUPTS = counter("host_cpu_interrupts_total", Count, NONE, "Interrupts served since boot (proc_stat(5), intr).");
    FORKS = counter("host_cpu_forks_total", Count, NONE, "Processes and threads started since boot (proc_stat(5), processes).");
    RUNNING = gauge("host_cpu_processes_running", Count, NONE, "Threads that run or wait for a processor (proc_stat(5), procs_running).");
    BLOCKED = gauge("host_cpu_processes_blocked", Count, NONE, "Threads that wait for a disk or the like (proc_stat(5), procs_blocked).");
    USAGE = gauge("host_cpu_usage_ratio", Ratio, NONE, "Share of all processor time used in the last interval, nice work included; idle, iowait and steal are not use.");
    NICE = gauge("host_cpu_nice_ratio", Ratio, NONE, "Share of all processor time used at low priority in the last interval; part of the usage.");
    IOWAIT = gauge("host_cpu_iowait_ratio", Ratio, NONE, "Share of all processor time idle with disk requests open in the last interval; rough by nature (proc_stat(5)).");
    STEAL = gauge("host_cpu_steal_ratio", Ratio, NONE, "Share of all processor time that the hypervisor gave to others in the last interval.");
    CORE_SECONDS = counter("host_cpu_core_seconds_total", Seconds, CORE_MODE, "Processor time of one logical processor by mode (proc_stat(5)).");
    CORE_FREQUENCY = gauge("host_cpu_core_frequency_hertz", Hertz, CORE, "Clock frequency of one logical processor now (cpufreq scaling_cur_freq).");
    CORE_USAGE = gauge("host_cpu_core_usage_ratio", Ratio, CORE, "Share of one logical processor's time used in the last interval; idle, iowait and steal are not use.");
}

/// Who the collector is.
pub(crate) fn info() -> CollectorInfo {
    let help =
        "Processor time by mode, in all and for each logical processor, frequency and scheduling counters.";
    define::info(("cpu", "host"), "host_cpu_", help, TICK_DEFAULT, &METRICS)
}
