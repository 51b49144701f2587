//! The harness: makes the files, starts the daemon, measures the capacity, runs the blocks, and prints the tables. In a block each
//! arm runs once, in drawn order, with the same requests.

use crate::arm::{Arm, Site};
use crate::burn::Burner;
use crate::child::Child;
use crate::daemon::{self, Daemon};
use crate::heavy::{self, Kind};
use crate::load::{Capacity, Latencies};
use crate::machine::{self, Group};
use crate::options::Options;
use crate::plan::{self, Random};
use crate::record::{self, Block, Log, Machine, Record, Run};
use crate::{report, watch, yields};
use anyhow::{Context as _, Result, bail};
use serde::de::DeserializeOwned;
use std::collections::HashSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

const HELP: &str = "\
cargo xtask bench tide [-- FLAGS]: what heavy work costs a service beside it, by how it is held back

  --quick             one short run of each at one load: shows that all works, not how well
  --runs N            runs of each arm (3)
  --seconds S         length of a run (7)
  --loads A,B         per cent of the service's capacity (15,30,60)
  --heavy A,B         kinds of heavy work (spin,stream,fsync,forks,cache)
  --arms A,B          ways to hold it back (none,free,nice,idle,ours)
  --yield             the other experiment: how soon leased work gets out of the way of a step of load
  --steps N           steps of it (100)
  --out FILE          where each run is appended as a line of JSON (runs.jsonl in the folder); what is there is not run again
  --from FILE         no runs: the tables from such a file
  --json              the summary as JSON instead of Markdown
  --seed N            of requests and orders (1)
  --folder DIR        for files, on the disk that is to be measured (target/tide)
  --large-mib N       file that the service reads (1024); --cache-mib N: that `cache` reads (4096); --stream-mib N (512)
  --own-session       the service in a session of its own, as systemd starts one: with autogroup on, nice and SCHED_IDLE do
                      not reach from one session to another
  --daemon-config FILE    instead of the built-in one, which makes QUIET come soon
  --lowtide PROGRAM   the daemon (LOWTIDE_BENCH_BIN, which xtask sets)";

/// The cgroup of the service.
const GROUP: &str = "lowtide-tide-fg";

/// How long heavy work may wait for its grant.
const GRANT_MAX: Duration = Duration::from_secs(120);

/// Time between the begin of heavy work and the first request.
const LEAD: Duration = Duration::from_millis(500);

/// What is run.
struct Setting {
    seed: u64,
    seconds: f64,
    runs: u32,
    loads: Vec<u32>,
    kinds: Vec<Kind>,
    arms: Vec<Arm>,
    large_mib: u64,
    cache_mib: u64,
    own_session: bool,
}

/// What a run needs besides its block and arm.
struct Ground<'a> {
    site: &'a Site,
    folder: &'a Path,
    group: Option<&'a Group>,
    steps_per_ms: u64,
    capacity: f64,
    seed: u64,
    seconds: f64,
    own_session: bool,
}

/// The command line of the harness.
pub(crate) fn main(arguments: &[String]) -> Result<()> {
    let mut options = Options::parse(arguments, &["quick", "yield", "json", "help", "own-session"])?;
    if options.switch("help") {
        println!("{HELP}");
        return Ok(());
    }
    let json = options.switch("json");
    let folder: PathBuf = options.value("folder")?.unwrap_or("target/tide".into());
    let folder = std::path::absolute(folder)?;
    if let Some(from) = options.value::<PathBuf>("from")? {
        options.done()?;
        if !from.exists() {
            bail!("{} is not there", from.display());
        }
        return print(&from, json);
    }
    let quick = options.switch("quick");
    let setting = Setting {
        seed: options.value("seed")?.unwrap_or(1),
        seconds: options.value("seconds")?.unwrap_or(if quick { 2.0 } else { 7.0 }),
        runs: options.value("runs")?.unwrap_or(if quick { 1 } else { 3 }),
        loads: options.list("loads")?.unwrap_or(if quick { vec![30] } else { vec![15, 30, 60] }),
        kinds: options.list("heavy")?.unwrap_or(Kind::ALL.to_vec()),
        arms: options.list("arms")?.unwrap_or(Arm::ALL.to_vec()),
        large_mib: options.value("large-mib")?.unwrap_or(if quick { 128 } else { 1024 }),
        cache_mib: options.value("cache-mib")?.unwrap_or(if quick { 256 } else { 4096 }),
        own_session: options.switch("own-session"),
    };
    fs::create_dir_all(&folder).with_context(|| format!("make {}", folder.display()))?;
    let out = options.value("out")?.unwrap_or_else(|| folder.join("runs.jsonl"));
    let to_yield = options.switch("yield");
    let config = match options.value::<PathBuf>("daemon-config")? {
        Some(file) => fs::read_to_string(&file).with_context(|| format!("read {}", file.display()))?,
        None if to_yield => [daemon::CONFIG, daemon::MORE_FOR_STEPS].concat(),
        None => daemon::CONFIG.to_owned(),
    };
    let lowtide: Option<PathBuf> = options.value("lowtide")?;
    let lowtide = lowtide.or_else(|| std::env::var_os("LOWTIDE_BENCH_BIN").map(PathBuf::from));
    let lowtide = lowtide.context("which daemon? give --lowtide or run it by `cargo xtask bench tide`")?;
    let stream_mib = options.value("stream-mib")?.unwrap_or(if quick { 64 } else { 512 });
    let steps = options.value("steps")?.unwrap_or(if quick { 3 } else { 100 });
    options.done()?;

    let arms = if to_yield { &[Arm::Ours][..] } else { &setting.arms };
    arms.iter().try_for_each(|arm| arm.check(&lowtide))?;
    let start = || Daemon::start(&lowtide, &folder.join("daemon"), &config);
    let program = std::env::current_exe()?;
    let mut site =
        Site { program, lowtide: lowtide.clone(), url: String::new(), folder: folder.clone(), stream_mib };
    let mut log = Log::open(&out)?;
    if to_yield {
        yields::run(&site, start, setting.seed, steps, &mut log)?;
    } else {
        let daemon = start()?;
        site.url = daemon.url();
        blocks(&site, &folder, &setting, &out, &mut log)?;
    }
    print(&out, json)
}

fn print(file: &Path, json: bool) -> Result<()> {
    let summary = report::summary(&record::read(file)?);
    if json {
        println!("{}", serde_json::to_string_pretty(&summary)?);
    } else {
        print!("{}", summary.markdown());
    }
    Ok(())
}

fn blocks(site: &Site, folder: &Path, setting: &Setting, out: &Path, log: &mut Log) -> Result<()> {
    let known = record::read(out)?;
    let group = Group::make(GROUP);
    if let Err(error) = &group {
        eprintln!("the service gets no cgroup of its own: {error:#}");
    }
    let group = group.ok();
    machine::make_file(&folder.join("large.dat"), setting.large_mib << 20)?;
    machine::make_file(&folder.join("small.dat"), (setting.large_mib << 20) / 8)?;
    if setting.kinds.contains(&Kind::Cache) {
        machine::make_file(&folder.join(heavy::CACHE_FILE), setting.cache_mib << 20)?;
    }
    let mut ground = Ground {
        site,
        folder,
        group: group.as_ref(),
        steps_per_ms: 0,
        capacity: 0.0,
        seed: setting.seed,
        seconds: setting.seconds,
        own_session: setting.own_session,
    };
    // A file that has runs keeps their machine: loads must mean the same in all of them.
    match known.iter().find_map(|record| match record {
        Record::Machine(machine) => Some(machine.clone()),
        _ => None,
    }) {
        Some(machine) if !machine.is_of(setting.seed, setting.seconds, setting.own_session) => {
            bail!("{} has runs of another kind: name another file with --out", out.display())
        }
        Some(machine) => (ground.steps_per_ms, ground.capacity) = (machine.steps_per_ms, machine.capacity),
        None => {
            ground.steps_per_ms = Burner::new().steps_per_ms();
            ground.capacity = capacity(&ground)?;
            log.append(&Record::Machine(describe(&ground, setting)?))?;
        }
    }
    eprintln!("capacity {:.0} requests a second", ground.capacity);
    let done: HashSet<(Block, Arm)> = known
        .iter()
        .filter_map(|record| match record {
            Record::Run(run) => Some((run.block, run.arm)),
            _ => None,
        })
        .collect();
    let plan: Vec<(Block, Arm)> = order(setting).into_iter().filter(|run| !done.contains(run)).collect();
    let mut lost = 0;
    for (at, (block, arm)) in plan.iter().enumerate() {
        let Block { load, heavy, repeat } = *block;
        let what =
            format!("{} of {}: {load} % {} {} run {repeat}", at + 1, plan.len(), heavy.word(), arm.word());
        match ground.run(*block, *arm) {
            Ok(run) => {
                eprintln!("{what}: p99 {:.2} ms, work {}", run.latencies.p99_us as f64 / 1000.0, run.work);
                log.append(&Record::Run(run))?;
            }
            // The others are worth having; it is run again when the same file is named again.
            Err(error) => {
                eprintln!("{what}: failed: {error:#}");
                lost += 1;
            }
        }
    }
    if lost == plan.len() && lost > 0 {
        bail!("no run came to its end");
    }
    Ok(())
}

/// All runs in their order. Repeats are farthest apart, so that an hour that is bad for one is not for all.
fn order(setting: &Setting) -> Vec<(Block, Arm)> {
    let mut random = Random::new(plan::seed(&[setting.seed, 0x6f72_6465_7200]));
    let mut runs = Vec::new();
    for repeat in 1..=setting.runs {
        let mut blocks: Vec<Block> = setting
            .loads
            .iter()
            .flat_map(|load| {
                setting.kinds.iter().map(move |heavy| Block { load: *load, heavy: *heavy, repeat })
            })
            .collect();
        random.shuffle(&mut blocks);
        for block in blocks {
            let mut arms = setting.arms.clone();
            random.shuffle(&mut arms);
            runs.extend(arms.into_iter().map(|arm| (block, arm)));
        }
    }
    runs
}

fn describe(ground: &Ground, setting: &Setting) -> Result<Machine> {
    let (memory, available) = machine::memory().context("read /proc/meminfo")?;
    let read = |path: &str| fs::read_to_string(path).map(|text| text.trim().to_owned()).unwrap_or_default();
    Ok(Machine {
        processors: machine::processors(),
        memory_mib: memory >> 20,
        available_mib: available >> 20,
        kernel: read("/proc/sys/kernel/osrelease"),
        autogroup: read("/proc/sys/kernel/sched_autogroup_enabled") == "1",
        capacity: ground.capacity,
        steps_per_ms: ground.steps_per_ms,
        large_mib: setting.large_mib,
        cache_mib: setting.cache_mib,
        seed: setting.seed,
        seconds: setting.seconds,
        own_group: ground.group.is_some(),
        own_session: setting.own_session,
    })
}

/// The best of a few tries: what others do on the machine only takes away from it.
fn capacity(ground: &Ground) -> Result<f64> {
    let mut best: f64 = 0.0;
    for _ in 0..3 {
        let (_service, port) = ground.service()?;
        let mut command = ground.load(port, ground.seed, 2.0);
        let answer: Capacity = answer(command.arg("--closed"))?;
        best = best.max(answer.per_second);
    }
    Ok(best)
}

impl Ground<'_> {
    fn service(&self) -> Result<(Child, u16)> {
        let mut command = Command::new(&self.site.program);
        command.args([crate::serve::PART, "--steps", &self.steps_per_ms.to_string()]);
        command.arg("--large").arg(self.folder.join("large.dat"));
        command.arg("--small").arg(self.folder.join("small.dat"));
        if self.own_session {
            command.arg("--own-session");
        }
        if let Some(group) = self.group {
            command.arg("--group").arg(group.processes());
        }
        let mut child = Child::start(&mut command)?;
        let port = child.wait_for("port", Duration::from_secs(120))?;
        Ok((child, port.try_into()?))
    }

    fn load(&self, port: u16, seed: u64, seconds: f64) -> Command {
        let mut command = Command::new(&self.site.program);
        command.args([crate::load::PART, "--port", &port.to_string(), "--seed", &seed.to_string()]);
        command.args(["--seconds", &seconds.to_string()]);
        command
    }

    /// One run. The daemon runs beside it in every arm.
    fn run(&self, block: Block, arm: Arm) -> Result<Run> {
        let (mut service, port) = self.service()?;
        // It ends by itself in case this program is killed.
        let longest = GRANT_MAX.as_secs_f64() + self.seconds * 2.0 + 60.0;
        let mut heavy = match arm {
            Arm::None => None,
            _ => Some(Child::start(self.site.heavy(arm, block.heavy, longest).stderr(self.words()?))?),
        };
        let watched = match &mut heavy {
            None => None,
            Some(heavy) => Some(u32::try_from(heavy.wait_for("ready", GRANT_MAX)?)?),
        };
        machine::pause(LEAD);
        let work =
            |heavy: &Option<Child>| heavy.as_ref().and_then(|heavy| heavy.said("work")).unwrap_or_default();
        let before = work(&heavy);
        let watch = watched.map(watch::stops);
        let seed =
            plan::seed(&[self.seed, u64::from(block.load), block.heavy as u64, u64::from(block.repeat)]);
        let rate = self.capacity * f64::from(block.load) / 100.0;
        let begun = machine::mono_ns();
        let latencies: Latencies =
            answer(self.load(port, seed, self.seconds).args(["--rate", &rate.to_string()]))?;
        let seconds = (machine::mono_ns() - begun) as f64 / 1e9;
        let worked = work(&heavy).saturating_sub(before);
        let stopped = watch.map(watch::Watch::end).transpose()?.unwrap_or_default();
        if let Some(heavy) = &mut heavy {
            heavy.end()?;
        }
        service.end()?;
        self.clean_up()?;
        Ok(Run {
            block,
            arm,
            seconds,
            latencies,
            work: worked,
            stopped: stopped.share(),
            stops: stopped.stops,
        })
    }

    /// What heavy work and its wrapper complain about is kept beside the runs.
    fn words(&self) -> Result<Stdio> {
        let path = self.folder.join("heavy.log");
        let file = fs::OpenOptions::new().append(true).create(true).open(&path);
        Ok(file.with_context(|| format!("open {}", path.display()))?.into())
    }

    /// Has everything written that the run left, so that the next one does not pay for it.
    fn clean_up(&self) -> Result<()> {
        for name in heavy::DIRTY_FILES {
            let path = self.folder.join(name);
            if path.exists() {
                File::open(&path)?.sync_all()?;
            }
        }
        Ok(())
    }
}

/// Runs a part that answers with one line of JSON.
fn answer<T: DeserializeOwned>(command: &mut Command) -> Result<T> {
    let output = command.stdin(Stdio::null()).stderr(Stdio::inherit()).output()?;
    if !output.status.success() {
        bail!("{command:?} ended with {}", output.status);
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_arm_runs_once_in_every_block_and_blocks_stay_together() {
        let setting = Setting {
            seed: 3,
            seconds: 1.0,
            runs: 2,
            loads: vec![15, 60],
            kinds: Kind::ALL.to_vec(),
            arms: Arm::ALL.to_vec(),
            large_mib: 1,
            cache_mib: 1,
            own_session: false,
        };
        let runs = order(&setting);
        assert_eq!(runs.len(), 2 * 2 * 5 * 5);
        for block in runs.chunks(5) {
            assert!(block.iter().all(|(of, _)| *of == block[0].0));
            let mut arms: Vec<Arm> = block.iter().map(|(_, arm)| *arm).collect();
            arms.sort_unstable();
            assert_eq!(arms, Arm::ALL);
        }
        assert!(runs[..50].iter().all(|(block, _)| block.repeat == 1));
        assert_eq!(runs, order(&setting));
    }
}
