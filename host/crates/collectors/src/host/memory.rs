//! Definitions of the memory collector. Only the table of metrics; `linux/memory.rs` and `portable.rs` measure them.

use crate::config::TICK_DEFAULT;
use crate::define::{self, NONE, metrics};
use lowtide_core::report::CollectorInfo;

metrics! {
    SIZE = gauge("host_memory_size_bytes", Bytes, NONE, "Usable memory of the host (proc_meminfo(5), MemTotal).");
    AVAILABLE = gauge("host_memory_available_bytes", Bytes, NONE, "Memory that new work can have without swapping (proc_meminfo(5), MemAvailable; before Linux 3.14 estimated as free, buffers and cache together).");
    USED = gauge("host_memory_used_bytes", Bytes, NONE, "Memory that is not available: size minus available.");
    FREE = gauge("host_memory_free_bytes", Bytes, NONE, "Memory that nothing uses, not even caches (proc_meminfo(5), MemFree).");
    BUFFERS = gauge("host_memory_buffers_bytes", Bytes, NONE, "Memory that caches raw disk blocks (proc_meminfo(5), Buffers).");
    CACHED = gauge("host_memory_cached_bytes", Bytes, NONE, "Memory that caches files (proc_meminfo(5), Cached).");
    DIRTY = gauge("host_memory_dirty_bytes", Bytes, NONE, "Memory that waits to be written to disk (proc_meminfo(5), Dirty).");
    AVAILABLE_RATIO = gauge("host_memory_available_ratio", Ratio, NONE, "Available memory as share of the size.");
    SWAP_SIZE = gauge("host_memory_swap_size_bytes", Bytes, NONE, "Size of all swap space; zero when there is none (proc_meminfo(5), SwapTotal).");
    SWAP_USED = gauge("host_memory_swap_used_bytes", Bytes, NONE, "Swap space in use.");
    SWAP_USED_RATIO = gauge("host_memory_swap_used_ratio", Ratio, NONE, "Swap space in use as share of its size; only where there is swap.");
    SWAP_IN = counter("host_memory_swap_in_bytes_total", Bytes, NONE, "Bytes read back from swap since boot (/proc/vmstat, pswpin).");
    SWAP_OUT = counter("host_memory_swap_out_bytes_total", Bytes, NONE, "Bytes written to swap since boot (/proc/vmstat, pswpout).");
    OOM_KILLS = counter("host_memory_oom_kills_total", Count, NONE, "Processes killed since boot because memory ran out (/proc/vmstat, oom_kill; since Linux 4.13).");
    SWAP_IN_RATE = gauge("host_memory_swap_in_bytes_per_second", BytesPerSecond, NONE, "Bytes a second read back from swap in the last interval.");
    SWAP_OUT_RATE = gauge("host_memory_swap_out_bytes_per_second", BytesPerSecond, NONE, "Bytes a second written to swap in the last interval.");
}

/// Who the collector is.
pub(crate) fn info() -> CollectorInfo {
    let help = "Memory and swap: size, use, and traffic to and from swap.";
    define::info(("memory", "host"), "host_memory_", help, TICK_DEFAULT, &METRICS)
}
