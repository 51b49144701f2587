//! A step of load: a process that begins to use a given number of processors at once, as a service does that gets a request. It says
//! when it began, in nanoseconds of `CLOCK_MONOTONIC`.

use crate::burn::Burner;
use crate::machine;
use crate::options::Options;
use anyhow::Result;
use std::io::Write as _;
use std::sync::Barrier;

/// The first argument of this part.
pub(crate) const PART: &str = "step";

/// A thread that is to use a part of a processor works for that part of each of these times.
const PERIOD_NS: u64 = 10_000_000;

/// Uses `--cores` processors for `--seconds`.
pub(crate) fn main(arguments: &[String]) -> Result<()> {
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::TERM))?;
    let mut options = Options::parse(arguments, &[])?;
    let (seconds, cores): (f64, f64) = (options.needed("seconds")?, options.needed("cores")?);
    options.done()?;
    let threads = cores.ceil().max(1.0) as usize;
    let (burner, ready) = (Burner::new(), Barrier::new(threads + 1));
    std::thread::scope(|scope| {
        for number in 0..threads {
            let share = (cores - number as f64).min(1.0);
            let (burner, ready) = (&burner, &ready);
            scope.spawn(move || {
                ready.wait();
                use_share(burner, share, machine::mono_ns() + (seconds * 1e9) as u64);
            });
        }
        // Told before it begins: the time of the write is the load's, not the work's. The first of the two is then the earlier.
        let told = writeln!(std::io::stdout(), "start {}", machine::mono_ns());
        ready.wait();
        told
    })?;
    Ok(())
}

fn use_share(burner: &Burner, share: f64, end: u64) {
    let mut word = 0;
    loop {
        let begun = machine::mono_ns();
        if begun >= end {
            return;
        }
        let rest = begun + PERIOD_NS;
        while machine::mono_ns() < begun + (PERIOD_NS as f64 * share) as u64 {
            word = std::hint::black_box(burner.burn(word, 1000));
        }
        if share < 1.0 {
            machine::wait_until(rest);
        }
    }
}
