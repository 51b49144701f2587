//! The portable collectors on the machine that runs the tests, beside the direct ones: the same metrics, about the same values.

use super::contract;
use crate::collector::Collector;
use crate::config::CollectConfig;
use crate::linux::filesystem::ask_space;
use crate::{host, linux, portable};
use lowtide_core::metric::SampleBuffer;
use lowtide_core::report::CollectorInfo;
use lowtide_core::units::MonoTime;
use std::collections::BTreeMap;
use std::time::Duration;

/// A portable and a direct collector of one subject.
type Pair = (CollectorInfo, Box<dyn Collector>, Box<dyn Collector>);

fn values(info: &CollectorInfo, collector: &mut dyn Collector) -> BTreeMap<String, f64> {
    let mut out = SampleBuffer::new();
    for seconds in [100, 102] {
        out.begin();
        collector.collect(MonoTime(Duration::from_secs(seconds)), &mut out).unwrap();
    }
    let series = out.layout();
    let samples: Vec<_> = series.iter().cloned().zip(out.values().iter().copied()).collect();
    let name =
        |series: &lowtide_core::metric::Series| format!("{} {}", series.metric.name, series.labels.join(" "));
    let named = samples.iter().map(|(series, value)| (name(series), *value)).collect();
    assert_eq!(contract::problems(info, &Ok(samples)), Vec::<String>::new());
    named
}

#[test]
fn the_portable_collectors_agree_with_the_direct_ones() {
    let config = CollectConfig { data_dir: Some("/".into()), ..CollectConfig::default() };
    let pairs: Vec<Pair> = vec![
        (host::cpu::info(), Box::new(portable::Cpu::new()), Box::new(linux::cpu::Cpu::new(&config))),
        (host::system::info(), Box::new(portable::System), Box::new(linux::system::System::new(&config))),
        (
            host::memory::info(),
            Box::new(portable::Memory::new()),
            Box::new(linux::memory::Memory::new(&config)),
        ),
        (
            host::filesystem::info(),
            Box::new(portable::Filesystem::new(&config)),
            Box::new(linux::filesystem::Filesystem::new(&config, ask_space)),
        ),
        (
            host::network::info(),
            Box::new(portable::Network::new(&config)),
            Box::new(linux::network::Network::new(&config)),
        ),
    ];
    for (info, mut portable, mut direct) in pairs {
        let (portable, direct) = (values(&info, portable.as_mut()), values(&info, direct.as_mut()));
        assert!(!portable.is_empty(), "{}", info.name);
        for (name, value) in &portable {
            let Some(expected) = direct.get(name) else { continue };
            // Sizes and times hardly move between two readings; what moves fast is only checked to be possible (above).
            let steady = ["size_bytes", "logical_count", "boot_time", "uptime", "load_average"];
            if steady.iter().any(|part| name.contains(part)) {
                let tolerance = (expected.abs() * 0.01).max(2.0);
                assert!((value - expected).abs() <= tolerance, "{name}: {value}, directly {expected}");
            }
        }
        let shared = portable.keys().filter(|name| direct.contains_key(*name)).count();
        assert!(shared > 0, "{}: {portable:?} {direct:?}", info.name);
    }
}
