//! What a tick of the six cheap collectors costs, as a multiple of only reading the same ten files: both in one run, in turns, so
//! that the machine's mood hits both alike. Prints the medians and their ratio. Run it in release mode; it decides nothing.
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
    use lowtide_collectors::{ApiMeter, CollectConfig, Entry, Sources, TICK_DEFAULT, table};
    use lowtide_core::metric::SampleBuffer;
    use std::fs::File;
    use std::hint::black_box;
    use std::os::unix::fs::FileExt;
    use std::sync::Arc;

    /// The files of one tick.
    const FILES: [&str; 10] = [
        "stat",
        "loadavg",
        "uptime",
        "meminfo",
        "vmstat",
        "pressure/cpu",
        "pressure/memory",
        "pressure/io",
        "diskstats",
        "net/dev",
    ];
    const BATCHES: usize = 200;
    const BATCH: usize = 20;

    /// Microseconds for one of a batch.
    fn batch(mut work: impl FnMut()) -> f64 {
        let begun = clock::mono();
        (0..BATCH).for_each(|_| work());
        clock::mono().since(begun).as_secs_f64() * 1e6 / BATCH as f64
    }

    fn median(times: &mut [f64]) -> f64 {
        times.sort_by(f64::total_cmp);
        times.get(times.len() / 2).copied().unwrap_or_default()
    }

    pub(super) fn main() {
        let files: Vec<File> =
            FILES.iter().filter_map(|name| File::open(format!("/proc/{name}")).ok()).collect();
        let mut buffer = vec![0; 64 << 10];
        let mut read_once = || {
            for file in &files {
                black_box(file.read_at(&mut buffer, 0).ok());
            }
        };
        let entries = table(&CollectConfig::default(), &Sources::new(Arc::new(ApiMeter::new(&["other"]))));
        let mut running: Vec<(Entry, SampleBuffer)> = entries
            .into_iter()
            .filter(|entry| entry.interval == TICK_DEFAULT)
            .map(|entry| (entry, SampleBuffer::new()))
            .collect();
        let collect_once = |running: &mut [(Entry, SampleBuffer)]| {
            for (entry, out) in running {
                out.begin();
                black_box(entry.collector.collect(clock::mono(), out).is_ok());
                black_box(out.layout());
            }
        };
        let (mut bare, mut ours) = (Vec::new(), Vec::new());
        for _ in 0..BATCHES {
            bare.push(batch(&mut read_once));
            ours.push(batch(|| collect_once(&mut running)));
        }
        let (bare, ours) = (median(&mut bare), median(&mut ours));
        println!(
            "{} files, read only: {bare:.1} us; collected: {ours:.1} us; ratio {:.2}",
            files.len(),
            ours / bare
        );
        for slot in &mut running {
            let mut times: Vec<f64> =
                (0..BATCHES).map(|_| batch(|| collect_once(std::slice::from_mut(slot)))).collect();
            println!("  {:10} {:7.2} us", slot.0.info.name, median(&mut times));
        }
    }
}
