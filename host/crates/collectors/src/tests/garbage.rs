//! Parsers and whole collectors fed with files cut short and with bytes changed at random (seeded: a failure repeats). They never
//! panic, never take a file that was cut inside a line, and never say what cannot be.

use super::contract;
use super::machine::{self, Machine};
use crate::linux::{cpu, disk, filesystem, memory, network, pressure, system, text, units, usage};
use crate::process;
use std::fs;
use std::path::Path;

/// A parser that only says whether it took the bytes.
type Accepts = fn(&[u8]) -> bool;

/// The parsers of a file of /proc, by its path.
fn parsers(path: &Path) -> Vec<Accepts> {
    let disk: Accepts =
        |bytes| text::lines(bytes).is_ok_and(|mut lines| lines.all(|line| disk::parse_line(line).is_ok()));
    let network: Accepts = |bytes| {
        network::interfaces(bytes).is_ok_and(|mut lines| lines.all(|line| network::parse_line(line).is_ok()))
    };
    match path.strip_prefix("proc").unwrap().to_str().unwrap() {
        "stat" => vec![
            |bytes| cpu::parse(bytes, &mut cpu::Stat::default()).is_ok(),
            |bytes| system::parse_boot_time(bytes).is_ok(),
            |bytes| units::parse_processors(bytes).is_ok(),
        ],
        "loadavg" => vec![|bytes| system::parse_load(bytes).is_ok()],
        "uptime" => vec![|bytes| system::parse_uptime(bytes).is_ok()],
        "meminfo" => vec![|bytes| memory::parse_meminfo(bytes).is_ok()],
        "vmstat" => vec![|bytes| memory::parse_vmstat(bytes).is_ok()],
        "diskstats" => vec![disk],
        "net/dev" => vec![network],
        "self/limits" => vec![|bytes| process::parse_limits(bytes).is_ok()],
        "self/mountinfo" => vec![|bytes| filesystem::parse(bytes).is_ok()],
        pressure if pressure.starts_with("pressure/") => vec![|bytes| pressure::parse(bytes).is_ok()],
        descriptor if descriptor.starts_with("self/fd/") => vec![],
        process if process.ends_with("/stat") => vec![|bytes| usage::parse_stat(bytes).is_ok()],
        process if process.ends_with("/cgroup") => vec![|bytes| units::parse_cgroup(bytes).is_ok()],
        process if process.ends_with("/io") => vec![|bytes| usage::parse_io(bytes).is_ok()],
        // Lists of words and numbers, of which every front part is one.
        "4242/cmdline" | "4242/task/4242/children" | "4243/task/4243/children" => vec![],
        other => panic!("no parser for {other}"),
    }
}

/// All fixture files with their parsers.
fn cases() -> Vec<(String, Vec<u8>, Vec<Accepts>)> {
    let mut cases = Vec::new();
    for name in machine::names() {
        let dir = machine::fixtures().join(&name);
        for file in machine::files(&dir.join("proc")) {
            let path = file.strip_prefix(&dir).unwrap();
            cases.push((format!("{name}/{}", path.display()), fs::read(&file).unwrap(), parsers(path)));
        }
    }
    cases
}

/// xorshift64*: small, and the same everywhere.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % bound
    }

    fn damage(&mut self, bytes: &mut Vec<u8>) {
        const LIKELY: &[u8] = b"0123456789 \n.-:/\t\0\xffax()";
        for _ in 0..=self.below(4) {
            if bytes.is_empty() {
                return;
            }
            let at = self.below(bytes.len());
            let byte = LIKELY[self.below(LIKELY.len())];
            match self.below(4) {
                0 => drop(bytes.remove(at)),
                1 => bytes.insert(at, byte),
                2 => bytes.truncate(at),
                _ => bytes[at] = byte,
            }
        }
    }
}

#[test]
fn a_file_that_was_cut_inside_a_line_is_never_taken() {
    for (name, bytes, parsers) in cases() {
        for accepts in parsers {
            assert!(accepts(&bytes), "{name} is taken whole");
            for length in 0..bytes.len() {
                // Every length of the small files; in the large ones every line's end, and every seventh byte.
                let near_line_end =
                    bytes[length.saturating_sub(1)..(length + 2).min(bytes.len())].contains(&b'\n');
                if bytes.len() > 4096 && length % 7 != 0 && !near_line_end {
                    continue;
                }
                let cut = &bytes[..length];
                let inside_a_line = cut.last() != Some(&b'\n');
                assert!(!(accepts(cut) && inside_a_line), "{name} cut at {length}");
            }
        }
    }
}

/// Damaged inputs in all that a mutation test tries; `cargo xtask fuzz` and CI ask for more.
fn iterations() -> usize {
    std::env::var("LOWTIDE_FUZZ_ITERATIONS").ok().and_then(|text| text.parse().ok()).unwrap_or(8_000)
}

#[test]
fn fuzz_changed_bytes_never_make_a_parser_panic() {
    let mut random = Random(0x1077_71de);
    let cases = cases();
    let rounds = iterations().div_ceil(cases.len());
    for (_, bytes, parsers) in cases {
        for accepts in parsers {
            for _ in 0..rounds {
                let mut damaged = bytes.clone();
                random.damage(&mut damaged);
                accepts(&damaged);
            }
        }
    }
}

#[test]
fn fuzz_collectors_on_changed_files_say_nothing_that_cannot_be() {
    let mut random = Random(0xc0_11ec);
    for name in ["desktop", "old-kernel"] {
        let mut machine = Machine::new(name);
        let files: Vec<_> = machine::files(&machine.proc_dir())
            .into_iter()
            .filter(|file| !file.to_str().unwrap().contains("/fd/"))
            .map(|file| (fs::read(&file).unwrap(), file))
            .collect();
        for round in 0..(iterations() / 50) as u64 {
            for (bytes, file) in &files {
                let mut damaged = bytes.clone();
                if random.below(3) == 0 {
                    random.damage(&mut damaged);
                }
                fs::write(file, damaged).unwrap();
            }
            for index in 0..machine.entries.len() {
                let run = machine.run(index, 100 + 2 * round);
                let found = contract::problems(&machine.entries[index].info, &run);
                assert_eq!(found, Vec::<String>::new(), "{name} round {round}");
            }
        }
    }
}
