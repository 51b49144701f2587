//! The host collectors for systems other than Linux, through the `sysinfo` crate: cpu, system, memory, network, file systems,
//! under the same metric names as far as the system tells. Refreshes only what it reports. The table in `lib.rs` makes them off
//! Linux; on Linux they are built for tests only, which compare them with the direct ones.

use crate::collector::{CollectError, Collector};
use crate::config::CollectConfig;
use crate::glob;
use crate::host::{cpu, filesystem, memory, network, system};
use crate::rate::{self, Elapsed};
use lowtide_core::metric::{MetricDef, SampleBuffer};
use lowtide_core::units::MonoTime;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use sysinfo::{CpuRefreshKind, DiskRefreshKind, MemoryRefreshKind};

fn failed(error: impl std::fmt::Display) -> CollectError {
    CollectError::Failed(format!("the system gave no answer: {error}"))
}

/// A `sysinfo::System` that is made at the first run, because making it may fail.
fn system(place: &mut Option<sysinfo::System>) -> Result<&mut sysinfo::System, CollectError> {
    match place {
        Some(system) => Ok(system),
        None => Ok(place.insert(sysinfo::System::new().map_err(failed)?)),
    }
}

/// Processors: how many, how busy, how fast.
#[derive(Debug, Default)]
pub(crate) struct Cpu {
    system: Option<sysinfo::System>,
    runs: u64,
}

impl Cpu {
    /// Reads nothing yet.
    pub(crate) fn new() -> Self {
        Self::default()
    }
}

impl Collector for Cpu {
    fn collect(&mut self, _at: MonoTime, out: &mut SampleBuffer) -> Result<(), CollectError> {
        let system = system(&mut self.system)?;
        system.refresh_cpu_specifics(CpuRefreshKind::everything());
        let cpus = system.cpus();
        if cpus.is_empty() {
            return Err(CollectError::Failed("the system names no processor".to_owned()));
        }
        // The first refresh has nothing to compare with.
        self.runs += 1;
        let known = self.runs > 1;
        let labels: Vec<String> = (0..cpus.len()).map(|number| number.to_string()).collect();
        out.push(cpu::LOGICAL_COUNT, &[], cpus.len() as f64);
        for (label, cpu) in labels.iter().zip(cpus).filter(|(_, cpu)| cpu.frequency() > 0) {
            out.push(cpu::CORE_FREQUENCY, &[label], cpu.frequency() as f64 * 1e6);
        }
        if known {
            out.push(cpu::USAGE, &[], share(system.global_cpu_usage()));
            for (label, cpu) in labels.iter().zip(cpus) {
                out.push(cpu::CORE_USAGE, &[label], share(cpu.usage()));
            }
        }
        Ok(())
    }

    fn forget(&mut self) {
        self.runs = 0;
    }
}

fn share(percent: f32) -> f64 {
    (f64::from(percent) / 100.0).clamp(0.0, 1.0)
}

/// Load averages, uptime, boot time.
#[derive(Debug)]
pub(crate) struct System;

impl Collector for System {
    fn collect(&mut self, _at: MonoTime, out: &mut SampleBuffer) -> Result<(), CollectError> {
        // Windows has no load average: nothing is then said, rather than zero.
        if let Ok(load) = sysinfo::System::load_average() {
            out.push(system::LOAD1, &[], load.one);
            out.push(system::LOAD5, &[], load.five);
            out.push(system::LOAD15, &[], load.fifteen);
        }
        out.push(system::UPTIME, &[], sysinfo::System::uptime().map_err(failed)? as f64);
        out.push(system::BOOT_TIME, &[], sysinfo::System::boot_time().map_err(failed)? as f64);
        Ok(())
    }
}

/// Memory and swap.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    system: Option<sysinfo::System>,
}

impl Memory {
    /// Reads nothing yet.
    pub(crate) fn new() -> Self {
        Self::default()
    }
}

impl Collector for Memory {
    fn collect(&mut self, _at: MonoTime, out: &mut SampleBuffer) -> Result<(), CollectError> {
        let system = system(&mut self.system)?;
        system.refresh_memory_specifics(MemoryRefreshKind::everything());
        let size = system.total_memory();
        if size == 0 {
            return Err(CollectError::Failed("the system names no memory".to_owned()));
        }
        let available = system.available_memory().min(size);
        let (swap_size, swap_used) = (system.total_swap(), system.used_swap());
        out.push(memory::SIZE, &[], size as f64);
        out.push(memory::AVAILABLE, &[], available as f64);
        out.push(memory::USED, &[], (size - available) as f64);
        out.push(memory::FREE, &[], system.free_memory() as f64);
        out.push(memory::AVAILABLE_RATIO, &[], available as f64 / size as f64);
        out.push(memory::SWAP_SIZE, &[], swap_size as f64);
        out.push(memory::SWAP_USED, &[], swap_used as f64);
        if swap_size > 0 {
            out.push(memory::SWAP_USED_RATIO, &[], swap_used.min(swap_size) as f64 / swap_size as f64);
        }
        Ok(())
    }
}

/// Interfaces. Drops are not told by all systems and left out.
#[derive(Debug)]
pub(crate) struct Network {
    networks: Option<sysinfo::Networks>,
    exclude: Vec<String>,
    /// Bytes received and sent at the last run, by interface.
    before: BTreeMap<String, (u64, u64)>,
    elapsed: Elapsed,
}

impl Network {
    /// Reads nothing yet.
    pub(crate) fn new(config: &CollectConfig) -> Self {
        let exclude = config.network_exclude.clone();
        Self { networks: None, exclude, before: BTreeMap::new(), elapsed: Elapsed::default() }
    }
}

impl Collector for Network {
    fn collect(&mut self, at: MonoTime, out: &mut SampleBuffer) -> Result<(), CollectError> {
        let networks = match &mut self.networks {
            Some(networks) => networks,
            None => self.networks.insert(sysinfo::Networks::new().map_err(failed)?),
        };
        networks.refresh(true);
        let elapsed = self.elapsed.step(at);
        let exclude = &self.exclude;
        // Sorted, because sysinfo keeps them in a hash map.
        let interfaces: BTreeMap<String, &sysinfo::NetworkData> = networks
            .iter()
            .map(|(name, data)| (name.to_string_lossy().into_owned(), data))
            .filter(|(name, _)| !glob::matches_any(exclude, name))
            .collect();
        if interfaces.is_empty() {
            return Err(CollectError::Absent("this host shows no network interface".to_owned()));
        }
        let mut total = |metric: &'static MetricDef, counter: fn(&sysinfo::NetworkData) -> u64| {
            for (name, data) in &interfaces {
                out.push(metric, &[name], counter(data) as f64);
            }
        };
        total(network::RECEIVE_BYTES, sysinfo::NetworkData::total_received);
        total(network::TRANSMIT_BYTES, sysinfo::NetworkData::total_transmitted);
        total(network::RECEIVE_PACKETS, sysinfo::NetworkData::total_packets_received);
        total(network::TRANSMIT_PACKETS, sysinfo::NetworkData::total_packets_transmitted);
        total(network::RECEIVE_ERRORS, sysinfo::NetworkData::total_errors_on_received);
        total(network::TRANSMIT_ERRORS, sysinfo::NetworkData::total_errors_on_transmitted);
        let now: BTreeMap<String, (u64, u64)> = interfaces
            .iter()
            .map(|(name, data)| (name.clone(), (data.total_received(), data.total_transmitted())))
            .collect();
        let mut rate = |metric: &'static MetricDef, counter: fn(&(u64, u64)) -> u64| {
            for (name, now) in &now {
                let before = self.before.get(name);
                if let Some(rate) =
                    before.and_then(|before| rate::per_second(counter(before), counter(now), elapsed))
                {
                    out.push(metric, &[name], rate);
                }
            }
        };
        rate(network::RECEIVE_RATE, |(received, _)| *received);
        rate(network::TRANSMIT_RATE, |(_, transmitted)| *transmitted);
        self.before = now;
        Ok(())
    }

    fn forget(&mut self) {
        self.elapsed.forget();
    }
}

/// Space on local disks.
#[derive(Debug)]
pub(crate) struct Filesystem {
    disks: Option<sysinfo::Disks>,
    exclude: Vec<String>,
    data_dir: Option<PathBuf>,
}

impl Filesystem {
    /// Reads nothing yet.
    pub(crate) fn new(config: &CollectConfig) -> Self {
        Self { disks: None, exclude: config.filesystem_exclude.clone(), data_dir: config.data_dir.clone() }
    }
}

/// One file system, as label values and numbers.
struct Space<'a> {
    path: &'a Path,
    labels: [String; 3],
    size: u64,
    available: u64,
    read_only: bool,
}

impl Collector for Filesystem {
    fn collect(&mut self, _at: MonoTime, out: &mut SampleBuffer) -> Result<(), CollectError> {
        let disks = match &mut self.disks {
            Some(disks) => disks,
            None => self.disks.insert(sysinfo::Disks::new().map_err(failed)?),
        };
        disks.refresh_specifics(true, DiskRefreshKind::nothing().with_storage());
        let mut spaces: Vec<Space<'_>> = disks
            .iter()
            .map(|disk| Space {
                path: disk.mount_point(),
                labels: [
                    disk.mount_point().to_string_lossy().into_owned(),
                    disk.name().to_string_lossy().into_owned(),
                    disk.file_system().to_string_lossy().into_owned(),
                ],
                size: disk.total_space(),
                available: disk.available_space(),
                read_only: disk.is_read_only(),
            })
            .filter(|space| space.size > 0)
            .collect();
        spaces.sort_by(|one, other| one.labels.cmp(&other.labels));
        spaces.dedup_by(|one, other| one.labels == other.labels);
        let data = self.data_dir.as_ref().and_then(|dir| {
            let around = spaces.iter().filter(|space| dir.starts_with(space.path));
            around.max_by_key(|space| space.labels.first().map_or(0, String::len))
        });
        let data_ratio = data.map(|space| space.available as f64 / space.size as f64);
        spaces
            .retain(|space| !space.labels.first().is_some_and(|path| glob::matches_any(&self.exclude, path)));
        if spaces.is_empty() && data_ratio.is_none() {
            return Err(CollectError::Absent("this host shows no local file system".to_owned()));
        }
        let mut all = |metric: &'static MetricDef, value: fn(&Space<'_>) -> f64| {
            for space in &spaces {
                out.push(metric, &space.labels.each_ref().map(String::as_str), value(space));
            }
        };
        all(filesystem::SIZE, |space| space.size as f64);
        all(filesystem::AVAILABLE, |space| space.available as f64);
        all(filesystem::USED_RATIO, |space| {
            space.size.saturating_sub(space.available) as f64 / space.size as f64
        });
        all(filesystem::AVAILABLE_RATIO, |space| space.available as f64 / space.size as f64);
        all(filesystem::READ_ONLY, |space| f64::from(space.read_only));
        if let Some(ratio) = data_ratio {
            out.push(filesystem::DATA_AVAILABLE_RATIO, &[], ratio);
        }
        Ok(())
    }
}
