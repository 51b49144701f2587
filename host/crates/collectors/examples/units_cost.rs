//! What one run of the collector `units` costs on this machine, beside the number of its processes. Prints the median of many runs
//! and that of only reading each process's stat file by its path, for comparison. Run it in release mode; it decides nothing.
#![allow(clippy::print_stdout, reason = "a measurement for people")]

#[cfg(not(target_os = "linux"))]
fn main() {}

#[cfg(target_os = "linux")]
fn main() {
    linux::main();
}

#[cfg(target_os = "linux")]
mod linux {
    use lowtide_clock as clock;
    use lowtide_collectors::{ApiMeter, CollectConfig, Sources, table};
    use lowtide_core::metric::SampleBuffer;
    use std::fs;
    use std::hint::black_box;
    use std::sync::Arc;

    const RUNS: usize = 300;

    /// Median of the microseconds of processor time of one run: others on the machine do not count.
    fn median(mut work: impl FnMut()) -> f64 {
        let mut times: Vec<f64> = (0..RUNS)
            .map(|_| {
                let begun = clock::process_cpu();
                work();
                clock::process_cpu().saturating_sub(begun).as_secs_f64() * 1e6
            })
            .collect();
        times.sort_by(f64::total_cmp);
        times.get(times.len() / 2).copied().unwrap_or_default()
    }

    fn processes() -> Vec<String> {
        let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
        let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
        names.filter(|name| name.bytes().all(|byte| byte.is_ascii_digit())).collect()
    }

    pub(super) fn main() {
        let entries = table(&CollectConfig::default(), &Sources::new(Arc::new(ApiMeter::new(&["other"]))));
        let Some(mut units) = entries.into_iter().find(|entry| entry.info.name == "units") else { return };
        let mut out = SampleBuffer::new();
        let mut run = || {
            out.begin();
            black_box(units.collector.collect(clock::mono(), &mut out).is_ok());
            black_box(out.layout());
        };
        let warm = median(&mut run);
        let bare = median(|| {
            for pid in processes() {
                black_box(fs::read(format!("/proc/{pid}/stat")).ok());
            }
        });
        println!(
            "{} processes, {} series: a run takes {warm:.0} us; stat files alone by path {bare:.0} us",
            processes().len(),
            out.values().len()
        );
    }
}
