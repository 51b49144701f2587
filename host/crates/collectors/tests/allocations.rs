//! The collectors of the tick allocate nothing once they are warm, on the machine that runs the tests: samples and layout
//! included. Its own program, because it replaces the allocator.
#![cfg(target_os = "linux")]

use lowtide_clock as clock;
use lowtide_collectors::{ApiMeter, CollectConfig, Sources, TICK_DEFAULT, table};
use lowtide_core::metric::SampleBuffer;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// Runs the seven collectors until they are warm, then counts what one more run allocates, ten times.
fn allocations_of_warm_ticks(config: &CollectConfig, pause: impl Fn()) -> u64 {
    let entries = table(config, &Sources::new(Arc::new(ApiMeter::new(&["other"]))));
    let mut running: Vec<_> = entries
        .into_iter()
        .filter(|entry| entry.interval == TICK_DEFAULT)
        .map(|entry| (entry, SampleBuffer::new()))
        .collect();
    assert_eq!(running.len(), 7);
    let mut tick = || {
        for (entry, buffer) in &mut running {
            buffer.begin();
            let run = entry.collector.collect(clock::mono(), buffer);
            assert!(run.is_ok(), "{run:?}");
            assert!(!buffer.layout().is_empty(), "{}", entry.info.name);
        }
    };
    // The second run brings the rates, the third is warm.
    for _ in 0..4 {
        tick();
        pause();
    }
    let mut allocations = 0;
    for _ in 0..10 {
        allocations += allocation_counter::measure(&mut tick).count_total;
        pause();
    }
    allocations
}

#[test]
fn a_warm_tick_allocates_nothing_on_this_machine() {
    let mut config = CollectConfig::default();
    // Saying that there is no PSI allocates its text, once in ten minutes; a machine without it measures a fixture.
    if !Path::new("/proc/pressure/cpu").exists() {
        config.proc_dir = fixture("desktop").join("proc");
    }
    // Shares of processor time need the kernel's clock tick to have moved, as it has between two real ticks.
    let pause = || {
        let end = clock::mono().plus(Duration::from_millis(40));
        while clock::mono() < end {
            std::hint::spin_loop();
        }
    };
    assert_eq!(allocations_of_warm_ticks(&config, pause), 0);
}

#[test]
fn a_warm_tick_allocates_nothing_on_machines_with_many_cores_disks_and_frequencies() {
    for machine in ["desktop", "server", "nas", "laptop"] {
        let (proc_dir, sys_dir) = (fixture(machine).join("proc"), fixture(machine).join("sys"));
        let config = CollectConfig { proc_dir, sys_dir, ..CollectConfig::default() };
        assert_eq!(allocations_of_warm_ticks(&config, || {}), 0, "{machine}");
    }
}

fn fixture(machine: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(machine)
}
