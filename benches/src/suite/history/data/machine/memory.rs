//! Memory and swap of the machine, in pages. Called by the machine, once a tick.

use super::super::Record;
use super::super::random::Random;
use super::{Grown, NONE, PAGE, Work, pages, ratio};
use lowtide_core::units::Unit::{Bytes, Count, Ratio};

const SIZE: f64 = 16_371_613_696.0;
const SWAP_SIZE: f64 = 4_294_963_200.0;
/// What the kernel keeps for itself.
const KERNEL: f64 = 3e8;

#[derive(Debug)]
pub(super) struct Memory {
    /// Of programs, of file caches, and waiting for the disk.
    programs: f64,
    cached: f64,
    buffers: f64,
    dirty: f64,
    swapped: f64,
    swap_in: Grown,
    swap_out: Grown,
}

impl Memory {
    pub(super) fn new() -> Self {
        Self {
            programs: 2.5e9,
            cached: 4e9,
            buffers: 1.2e8,
            dirty: 2e5,
            swapped: 4.1e7,
            swap_in: Grown { total: 3.1e3 * PAGE, by: 0.0 },
            swap_out: Grown { total: 1.3e4 * PAGE, by: 0.0 },
        }
    }

    pub(super) fn step(&mut self, work: &Work, random: &mut Random) {
        // Of an idle machine many ticks find the same pages in use.
        if random.happens(0.3 + work.now) {
            let stir = 0.05 + 30.0 * work.now;
            self.programs += 0.02 * work.now * (2e9 + 6e9 * work.level - self.programs);
            self.programs += 2e5 * stir * random.normal();
            self.cached += 3e5 * stir * random.normal() + 2e5 * work.disk;
        }
        self.programs = self.programs.clamp(5e8, 9e9);
        self.cached = self.cached.clamp(1e9, 6e9);
        if random.happens(0.002 + work.disk * 0.05) {
            self.buffers = (self.buffers + PAGE).min(4e8);
        }
        self.dirty = 0.7 * self.dirty + random.count(1.0 + work.disk * 60.0) * 4.0 * PAGE;
        let short = work.now > 0.7;
        let out = if short && random.happens(0.05) { random.count(40.0) } else { 0.0 };
        let back = if random.happens(0.01) { random.count(6.0) } else { 0.0 };
        let back = back.min(self.swapped / PAGE).floor();
        self.swap_out.add(out * PAGE);
        self.swap_in.add(back * PAGE);
        self.swapped = (self.swapped + (out - back) * PAGE).min(SWAP_SIZE);
    }

    pub(super) fn record(&self, out: &mut Record<'_>, elapsed: f64) {
        let free = pages(SIZE - KERNEL - self.programs - self.cached - self.buffers);
        let available = pages(free + 0.93 * self.cached);
        out.gauge("host_memory_size_bytes", NONE, Bytes, SIZE);
        out.gauge("host_memory_available_bytes", NONE, Bytes, available);
        out.gauge("host_memory_used_bytes", NONE, Bytes, SIZE - available);
        out.gauge("host_memory_free_bytes", NONE, Bytes, free);
        out.gauge("host_memory_buffers_bytes", NONE, Bytes, pages(self.buffers));
        out.gauge("host_memory_cached_bytes", NONE, Bytes, pages(self.cached));
        out.gauge("host_memory_dirty_bytes", NONE, Bytes, pages(self.dirty));
        out.gauge("host_memory_available_ratio", NONE, Ratio, ratio(available / SIZE));
        out.gauge("host_memory_swap_size_bytes", NONE, Bytes, SWAP_SIZE);
        out.gauge("host_memory_swap_used_bytes", NONE, Bytes, pages(self.swapped));
        out.gauge("host_memory_swap_used_ratio", NONE, Ratio, ratio(self.swapped / SWAP_SIZE));
        self.swap_in.record(out, "host_memory_swap_in_bytes_total", NONE, Bytes);
        self.swap_out.record(out, "host_memory_swap_out_bytes_total", NONE, Bytes);
        out.counter("host_memory_oom_kills_total", NONE, Count, 0.0);
        self.swap_in.record_rate(out, "host_memory_swap_in_bytes_per_second", NONE, elapsed);
        self.swap_out.record_rate(out, "host_memory_swap_out_bytes_per_second", NONE, elapsed);
    }
}
