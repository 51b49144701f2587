//! Processor time, frequency and scheduling counters from /proc/stat (proc_stat(5)) and cpufreq. Allocates nothing once all
//! processors were seen. The table in `lib.rs` makes it, the runner runs it at every tick.

use super::procfile::{ProcFile, Records};
use super::text::{self, Fields};
use crate::collector::{CollectError, Collector};
use crate::config::CollectConfig;
pub(crate) use crate::host::cpu::info;
use crate::host::cpu::{
    BLOCKED, CONTEXT_SWITCHES, CORE_FREQUENCY, CORE_SECONDS, CORE_USAGE, FORKS, INTERRUPTS, IOWAIT,
    LOGICAL_COUNT, NICE, RUNNING, SECONDS, STEAL, USAGE,
};
use lowtide_core::metric::SampleBuffer;
use lowtide_core::units::MonoTime;
use std::path::PathBuf;

/// Logical processors: the largest that a kernel can be built for (CONFIG_NR_CPUS on x86).
const CORES_MAX: usize = 8192;

/// A fall of less than this is noise (the kernel's iowait and idle may step back a little), a larger one is a reset.
const NOISE_SECONDS: f64 = 3.0;

/// Modes in the order of [`Times`].
const MODES: [&str; 10] =
    ["user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal", "guest", "guest_nice"];

/// Clock ticks by mode. As in /proc/stat, but without the double counting there: the kernel adds the time of guests to user
/// and nice as well; here they are taken out, so that the sum over the modes is all the time there was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Times([u64; 10]);

impl Times {
    fn parse(fields: &mut Fields<'_>) -> Option<Self> {
        let mut times = [0; 10];
        for (column, time) in times.iter_mut().enumerate() {
            match fields.number() {
                Some(ticks) => *time = ticks,
                // Guest time came with Linux 2.6.24 and 2.6.33; all others are always there.
                None if column >= 8 && fields.0.is_empty() => break,
                None => return None,
            }
        }
        let [user, nice, system, idle, iowait, irq, softirq, steal, guest, guest_nice] = times;
        let (user, nice) = (user.saturating_sub(guest), nice.saturating_sub(guest_nice));
        Some(Self([user, nice, system, idle, iowait, irq, softirq, steal, guest, guest_nice]))
    }

    /// These times, with those kept that fell by no more than noise: a counter must not seem to have been reset.
    fn steadied(self, before: Self, noise_ticks: u64) -> Self {
        let mut steady = self.0;
        for (now, before) in steady.iter_mut().zip(before.0) {
            if *now < before && before - *now < noise_ticks {
                *now = before;
            }
        }
        Self(steady)
    }

    /// Shares of the time since `before`; `None` when no time has passed. Never negative and never over one: a mode that
    /// fell counts as not grown.
    pub(crate) fn shares(self, before: Self) -> Option<Shares> {
        let mut grown = [0; 10];
        for ((grown, now), before) in grown.iter_mut().zip(self.0).zip(before.0) {
            *grown = now.saturating_sub(before);
        }
        let [user, nice, system, idle, iowait, irq, softirq, steal, guest, guest_nice] = grown;
        let low = nice.saturating_add(guest_nice);
        let used = [user, system, irq, softirq, guest].into_iter().fold(low, u64::saturating_add);
        let all = [idle, iowait, steal].into_iter().fold(used, u64::saturating_add);
        let share = |ticks: u64| ticks as f64 / all as f64;
        (all > 0).then(|| Shares {
            used: share(used),
            nice: share(low),
            iowait: share(iowait),
            steal: share(steal),
        })
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Shares {
    /// By anyone.
    pub(crate) used: f64,
    /// By niced work, which is a part of it.
    pub(crate) nice: f64,
    iowait: f64,
    steal: f64,
}

/// What is read from /proc/stat.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Stat {
    total: Times,
    cores: Vec<(usize, Times)>,
    context_switches: u64,
    interrupts: u64,
    forks: u64,
    running: u64,
    blocked: u64,
}

impl Stat {
    /// Times of all processors together.
    pub(crate) fn total(&self) -> Times {
        self.total
    }

    /// How many processors there are.
    pub(crate) fn cores(&self) -> usize {
        self.cores.len()
    }
}

/// Parses /proc/stat into `stat`, whose memory is reused.
///
/// # Errors
/// In words, what is not as proc_stat(5) has it.
pub(crate) fn parse(bytes: &[u8], stat: &mut Stat) -> Result<(), &'static str> {
    stat.cores.clear();
    let (mut total, mut interrupts, mut context_switches) = (None, None, None);
    let (mut forks, mut running, mut blocked) = (None, None, None);
    for line in text::lines(bytes)? {
        let mut fields = Fields(line);
        let Some(key) = fields.word() else { continue };
        match key {
            b"cpu" => total = Some(Times::parse(&mut fields).ok_or("numbers behind cpu")?),
            b"intr" => interrupts = fields.number(),
            b"ctxt" => context_switches = fields.number(),
            b"processes" => forks = fields.number(),
            b"procs_running" => running = fields.number(),
            b"procs_blocked" => blocked = fields.number(),
            _ => {
                let Some(digits) = key.strip_prefix(b"cpu") else { continue };
                let core = Fields(digits).number().and_then(|core| usize::try_from(core).ok());
                let core = core.filter(|core| *core < CORES_MAX).ok_or("a number of a processor")?;
                // The kernel lists them in order; anything else would give two series with one name.
                if stat.cores.last().is_some_and(|(last, _)| *last >= core) {
                    return Err("processors in order");
                }
                stat.cores.push((core, Times::parse(&mut fields).ok_or("numbers behind cpuN")?));
            }
        }
    }
    stat.total = total.ok_or("the line cpu")?;
    stat.interrupts = interrupts.ok_or("the line intr")?;
    stat.context_switches = context_switches.ok_or("the line ctxt")?;
    stat.forks = forks.ok_or("the line processes")?;
    stat.running = running.ok_or("the line procs_running")?;
    stat.blocked = blocked.ok_or("the line procs_blocked")?;
    if stat.cores.is_empty() { Err("a line cpuN") } else { Ok(()) }
}

/// Parses scaling_cur_freq: kilohertz (kernel Documentation/admin-guide/pm/cpufreq.rst).
fn parse_frequency(bytes: &[u8]) -> Result<f64, &'static str> {
    let line = text::lines(bytes)?.next().unwrap_or_default();
    Fields(line).number().map(|kilohertz| kilohertz as f64 * 1e3).ok_or("a number")
}

/// One logical processor, at its number's place.
#[derive(Debug)]
struct Core {
    label: Box<str>,
    /// The run in which it was last seen: one that was offline meanwhile starts anew.
    seen: u64,
    times: Times,
    usage: Option<f64>,
    /// None without cpufreq, which is asked when the processor appears and then no more.
    frequency: Option<ProcFile>,
    hertz: Option<f64>,
}

/// The collector.
#[derive(Debug)]
pub(crate) struct Cpu {
    file: ProcFile,
    cpu_dir: PathBuf,
    ticks_per_second: f64,
    stat: Stat,
    run: u64,
    total: Option<Times>,
    cores: Vec<Core>,
}

impl Cpu {
    /// Reads nothing yet.
    pub(crate) fn new(config: &CollectConfig) -> Self {
        Self {
            file: ProcFile::new(&config.proc_dir, "stat", Records::One),
            cpu_dir: config.sys_dir.join("devices/system/cpu"),
            ticks_per_second: rustix::param::clock_ticks_per_second() as f64,
            stat: Stat::default(),
            // Not zero, which stands for "never seen" in a core: the run after it is then not the next one.
            run: 1,
            total: None,
            cores: Vec::new(),
        }
    }

    fn update_cores(&mut self, noise_ticks: u64) {
        for (number, times) in &self.stat.cores {
            while self.cores.len() <= *number {
                let label = self.cores.len().to_string().into();
                let (times, usage, frequency, hertz) = (Times::default(), None, None, None);
                self.cores.push(Core { label, seen: 0, times, usage, frequency, hertz });
            }
            let Some(core) = self.cores.get_mut(*number) else { continue };
            if core.seen + 1 == self.run {
                let times = times.steadied(core.times, noise_ticks);
                core.usage = times.shares(core.times).map(|shares| shares.used);
                core.times = times;
            } else {
                core.times = *times;
                core.usage = None;
                let path = self.cpu_dir.join(format!("cpu{number}/cpufreq/scaling_cur_freq"));
                core.frequency = Some(ProcFile::number(path));
            }
            core.seen = self.run;
            core.hertz = core.frequency.as_mut().and_then(|file| file.parse(parse_frequency).ok());
            if core.hertz.is_none() {
                core.frequency = None;
            }
        }
    }

    fn push(&self, shares: Option<Shares>, total: Times, out: &mut SampleBuffer) {
        let stat = &self.stat;
        let cores = || self.cores.iter().filter(|core| core.seen == self.run);
        let seconds = |ticks: u64| ticks as f64 / self.ticks_per_second;
        out.push(LOGICAL_COUNT, &[], stat.cores.len() as f64);
        for (mode, ticks) in MODES.iter().zip(total.0) {
            out.push(SECONDS, &[mode], seconds(ticks));
        }
        out.push(CONTEXT_SWITCHES, &[], stat.context_switches as f64);
        out.push(INTERRUPTS, &[], stat.interrupts as f64);
        out.push(FORKS, &[], stat.forks as f64);
        out.push(RUNNING, &[], stat.running as f64);
        out.push(BLOCKED, &[], stat.blocked as f64);
        if let Some(shares) = shares {
            out.push(USAGE, &[], shares.used);
            out.push(NICE, &[], shares.nice);
            out.push(IOWAIT, &[], shares.iowait);
            out.push(STEAL, &[], shares.steal);
        }
        // Last, so that a machine with very many processors fills the buffer with these and nothing else is lost.
        for core in cores() {
            for (mode, ticks) in MODES.iter().zip(core.times.0) {
                out.push(CORE_SECONDS, &[&core.label, mode], seconds(ticks));
            }
        }
        for core in cores() {
            if let Some(hertz) = core.hertz {
                out.push(CORE_FREQUENCY, &[&core.label], hertz);
            }
        }
        for core in cores() {
            if let Some(usage) = core.usage {
                out.push(CORE_USAGE, &[&core.label], usage);
            }
        }
    }
}

impl Collector for Cpu {
    fn collect(&mut self, _at: MonoTime, out: &mut SampleBuffer) -> Result<(), CollectError> {
        self.file.parse(|bytes| parse(bytes, &mut self.stat))?;
        self.run += 1;
        let noise_ticks = (NOISE_SECONDS * self.ticks_per_second) as u64;
        // Noise adds up over the processors.
        let total_noise = noise_ticks.saturating_mul(self.stat.cores.len() as u64);
        let before = self.total;
        let total = before.map_or(self.stat.total, |before| self.stat.total.steadied(before, total_noise));
        self.total = Some(total);
        self.update_cores(noise_ticks);
        self.push(before.and_then(|before| total.shares(before)), total, out);
        Ok(())
    }

    fn forget(&mut self) {
        self.total = None;
        // The next run is then not the next one after any that saw a processor.
        self.run += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times(text: &str) -> Times {
        Times::parse(&mut Fields(text.as_bytes())).unwrap()
    }

    #[test]
    fn time_of_guests_is_not_counted_twice() {
        let Times(modes) = times("100 20 3 400 5 6 7 8 60 15");
        assert_eq!(modes, [40, 5, 3, 400, 5, 6, 7, 8, 60, 15]);
    }

    #[test]
    fn shares_are_of_all_time_and_leave_out_waiting_and_steal() {
        let shares = times("60 10 10 160 30 0 0 30 20 0").shares(times("0 0 0 100 20 0 0 20")).unwrap();
        // 60 user (20 of it guest), 10 nice, 10 system, 60 idle, 10 iowait, 10 steal: 160 in all.
        assert_eq!(shares, Shares { used: 0.5, nice: 0.0625, iowait: 0.0625, steal: 0.0625 });
    }

    #[test]
    fn counters_that_step_back_give_no_negative_share() {
        let before = times("100 0 0 1000 50 0 0 0");
        assert_eq!(before.shares(before), None);
        let shares = times("110 0 0 990 40 0 0 0").shares(before).unwrap();
        assert_eq!((shares.used, shares.iowait), (1.0, 0.0));
        let steady = times("110 0 0 990 40 0 0 0").steadied(before, 300);
        assert_eq!(steady, times("110 0 0 1000 50 0 0 0"));
        let reset = times("1 0 0 2 0 0 0 0");
        assert_eq!(reset.steadied(before, 50), reset);
    }

    #[test]
    fn what_is_missing_is_named() {
        let whole = "cpu  1 2 3 4 5 6 7 8 9 0\ncpu0 1 2 3 4 5 6 7 8 9 0\nintr 5 0 1\nctxt 6\nbtime 7\nprocesses 8\n\
                     procs_running 1\nprocs_blocked 0\n";
        let mut stat = Stat::default();
        assert_eq!(parse(whole.as_bytes(), &mut stat), Ok(()));
        assert_eq!((stat.context_switches, stat.forks, stat.cores.len()), (6, 8, 1));
        for (key, expected) in [
            ("ctxt 6\n", "the line ctxt"),
            ("procs_blocked 0\n", "the line procs_blocked"),
            ("cpu0 1 2 3 4 5 6 7 8 9 0\n", "a line cpuN"),
        ] {
            assert_eq!(parse(whole.replace(key, "").as_bytes(), &mut stat), Err(expected));
        }
        let short = whole.replace("cpu0 1 2 3 4 5 6 7 8 9 0", "cpu0 1 2 3");
        assert_eq!(parse(short.as_bytes(), &mut stat), Err("numbers behind cpuN"));
        assert!(parse(whole.replace("cpu0", "cpu99999").as_bytes(), &mut stat).is_err());
    }
}
