//! Leased work: what of a host is its own doing, and what is not.

use super::*;

/// An idle machine on which leased work runs that uses this much; set with `set`.
fn with_leased_work() -> Host {
    let mut host = Host::idle();
    for (metric, value) in [
        ("host_leased_cpu_usage_ratio", 0.0),
        ("host_leased_cpu_nice_ratio", 0.0),
        ("host_leased_memory_bytes", 0.0),
        ("host_leased_disk_bytes_per_second", 0.0),
        ("host_leased_runnable_processes", 0.0),
        ("host_others_cpu_waiting_ratio", 0.0),
        ("host_others_memory_stalled_ratio", 0.0),
        ("host_others_io_stalled_ratio", 0.0),
    ] {
        host.values.push(("leased", metric, &[], value));
    }
    host.values.push(("disk", "host_disk_read_bytes_per_second", &[("device", "sda")], 0.0));
    host.values.push(("disk", "host_disk_written_bytes_per_second", &[("device", "sda")], 0.0));
    host.values.push(("memory", "host_memory_size_bytes", &[], 16e9));
    // Reports are made of values that stand together.
    host.values.sort_by_key(|one| one.0);
    host
}

fn value(host: &mut Host, signal: SignalId) -> f64 {
    let verdict = host.tick();
    verdict.inputs.iter().find(|input| input.signal == signal).and_then(|input| input.value).unwrap()
}

#[test]
fn what_leased_work_uses_is_not_the_hosts() {
    let mut host = with_leased_work();
    // Two spinners at nice 19: user time is niced, the kernel's is not.
    host.set("host_cpu_usage_ratio", 1.0).set("host_cpu_nice_ratio", 0.9);
    host.set("host_leased_cpu_usage_ratio", 0.97).set("host_leased_cpu_nice_ratio", 0.9);
    host.set("host_pressure_cpu_waiting_ratio", 1.0);
    assert!((value(&mut host, SignalId::Cpu) - 0.03).abs() < 1e-9);
    assert_eq!(value(&mut host, SignalId::CpuPressure), 0.0);
    // A backup: the disk is busy and stalls, all of it the lease's own.
    host.set("host_pressure_io_stalled_ratio", 0.9).set("host_pressure_memory_stalled_ratio", 0.3);
    host.set("host_disk_busy_ratio", 0.95).set("host_disk_read_bytes_per_second", 80e6);
    host.set("host_disk_written_bytes_per_second", 20e6).set("host_leased_disk_bytes_per_second", 100e6);
    assert_eq!(value(&mut host, SignalId::IoPressure), 0.0);
    assert_eq!(value(&mut host, SignalId::MemoryPressure), 0.0);
    assert!(value(&mut host, SignalId::DiskBusy) < 0.02);
    for _ in 0..200 {
        host.tick();
    }
    assert_eq!(host.tick().state, Level::Quiet);
    // Of what others do nothing is hidden.
    host.set("host_others_io_stalled_ratio", 0.2).set("host_leased_disk_bytes_per_second", 50e6);
    assert_eq!(value(&mut host, SignalId::IoPressure), 0.2);
    assert!((value(&mut host, SignalId::DiskBusy) - 0.475).abs() < 1e-9);
    assert_eq!(host.tick().state, Level::Busy);
}

#[test]
fn memory_of_leased_work_counts_as_free_until_there_is_danger() {
    let mut host = with_leased_work();
    host.set("host_memory_available_ratio", 0.2).set("host_leased_memory_bytes", 8e9);
    assert_eq!(value(&mut host, SignalId::MemoryAvailable), 0.7);
    host.set("host_memory_available_ratio", 0.06);
    assert_eq!(value(&mut host, SignalId::MemoryAvailable), 0.06);
}

#[test]
fn leased_work_that_cannot_be_told_apart_counts_as_load() {
    let mut host = with_leased_work();
    host.set("host_cpu_usage_ratio", 1.0).set("host_leased_cpu_usage_ratio", 0.97);
    host.without("leased", CollectorStatus::Failing);
    assert_eq!(value(&mut host, SignalId::Cpu), 1.0);
}

#[test]
fn runnable_leased_processes_are_not_in_the_load() {
    let mut host = with_leased_work();
    host.without("pressure", CollectorStatus::Absent);
    host.set("host_system_load_average1", 3.2).set("host_leased_runnable_processes", 3.0);
    assert!((value(&mut host, SignalId::LoadPerCore) - 0.05).abs() < 1e-9);
}
