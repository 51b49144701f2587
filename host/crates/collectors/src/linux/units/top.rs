//! Which units are worth a line: the largest by each resource, and no more names in an hour than history has room for. Pure; it
//! reads nothing. `units.rs` calls it once a run.

use super::name::Unit;
use crate::linux::usage::Bytes;
use lowtide_core::limits;
use lowtide_core::units::MonoTime;
use std::collections::{BTreeMap, BTreeSet};

/// Units listed for each of processor, memory and I/O: whoever disturbs is among the first few.
const TOP: usize = 10;

/// Different units listed within [`limits::WINDOW`]. A series stays in the window for so long, and anyone who may start a process
/// chooses a name: four series each of these take at most a sixth of [`limits::SERIES_MAX`].
pub(super) const NAMES_MAX: usize = 200;

/// Below this share of all processors a unit is not listed for its processor time: on an idle machine the first ten would change
/// from run to run, and each new name is a series.
const CPU_RATIO_LEAST: f64 = 0.001;

/// Below this many bytes a second a unit is not listed for its I/O, for the same reason.
const IO_RATE_LEAST: f64 = 4_096.0;

/// What a unit used in the last interval.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Usage {
    /// Processor time, in seconds.
    pub(super) cpu_seconds: f64,
    /// Bytes of memory now.
    pub(super) memory_bytes: f64,
    /// Bytes moved, as far as they can be known.
    pub(super) io: Option<Bytes>,
}

impl Usage {
    /// Two parts of one unit.
    pub(super) fn add(&mut self, other: &Self) {
        self.cpu_seconds += other.cpu_seconds;
        self.memory_bytes += other.memory_bytes;
        self.io = match (self.io, other.io) {
            (Some(one), Some(more)) => Some(one.plus(more)),
            (one, more) => one.or(more),
        };
    }
}

/// The units to list, in the order of their names: the [`TOP`] of each resource. Without an interval (`seconds`) only memory is
/// known. `processors` is the number of logical ones.
pub(super) fn choose(
    units: &BTreeMap<Unit, Usage>,
    seconds: Option<f64>,
    processors: f64,
) -> BTreeSet<&Unit> {
    let mut chosen = BTreeSet::new();
    let mut take = |least: f64, of: &dyn Fn(&Usage) -> f64| {
        let mut ranked: Vec<(&Unit, f64)> = units
            .iter()
            .map(|(unit, usage)| (unit, of(usage)))
            .filter(|(_, value)| *value >= least)
            .collect();
        // A stable sort: of equals the first by name is listed, and stays so.
        ranked.sort_by(|(_, one), (_, other)| other.total_cmp(one));
        chosen.extend(ranked.into_iter().take(TOP).map(|(unit, _)| unit));
    };
    take(1.0, &|usage| usage.memory_bytes);
    if let Some(seconds) = seconds {
        take(CPU_RATIO_LEAST * seconds * processors, &|usage| usage.cpu_seconds);
        take(IO_RATE_LEAST * seconds, &|usage| {
            usage.io.map_or(0.0, |io| io.read.saturating_add(io.written) as f64)
        });
    }
    chosen
}

/// The names that were listed lately.
#[derive(Debug, Default)]
pub(super) struct Names(BTreeMap<Unit, MonoTime>);

impl Names {
    /// Drops from `chosen` what has no room beside the names of the last hour.
    pub(super) fn admit(&mut self, chosen: &mut BTreeSet<&Unit>, at: MonoTime) {
        self.0.retain(|_, listed| at.since(*listed) < limits::WINDOW);
        chosen.retain(|unit| {
            if let Some(listed) = self.0.get_mut(*unit) {
                *listed = at;
                return true;
            }
            let room = self.0.len() < NAMES_MAX;
            if room {
                self.0.insert((*unit).clone(), at);
            }
            room
        });
    }
}

#[cfg(test)]
mod tests {
    use super::super::name::Kind;
    use super::*;
    use std::time::Duration;

    fn unit(name: &str) -> Unit {
        Unit::new(Kind::Service, name)
    }

    fn usage(cpu_seconds: f64, memory_bytes: f64, io_bytes: u64) -> Usage {
        Usage { cpu_seconds, memory_bytes, io: Some(Bytes { read: io_bytes, written: 0 }) }
    }

    #[test]
    fn the_ten_largest_of_each_resource_are_listed_and_nothing_that_idles() {
        let mut units = BTreeMap::new();
        for number in 0..40_u32 {
            units.insert(unit(&format!("cpu{number:02}")), usage(f64::from(number), 0.0, 0));
            units.insert(unit(&format!("mem{number:02}")), usage(0.0, f64::from(number), 0));
            units.insert(unit(&format!("io{number:02}")), usage(0.0, 0.0, u64::from(number) * 1_000_000));
        }
        let chosen = choose(&units, Some(15.0), 4.0);
        let names: Vec<&str> = chosen.iter().map(|unit| unit.name.as_ref()).collect();
        let expected: Vec<String> = ["cpu", "io", "mem"]
            .iter()
            .flat_map(|kind| (30..40).map(move |number| format!("{kind}{number}")))
            .collect();
        assert_eq!(names, expected);
        assert_eq!(choose(&units, None, 4.0).len(), 10);
        let idle = [(unit("a"), usage(0.05, 0.0, 100)), (unit("b"), Usage::default())].into();
        assert!(choose(&idle, Some(15.0), 4.0).is_empty());
    }

    #[test]
    fn names_that_change_all_the_time_do_not_fill_the_window() {
        let mut names = Names::default();
        let at = |seconds| MonoTime(Duration::from_secs(seconds));
        let steady = unit("steady");
        let mut listed = 0;
        for number in 0..NAMES_MAX as u64 * 2 {
            let new = unit(&number.to_string());
            let mut chosen = BTreeSet::from([&steady, &new]);
            names.admit(&mut chosen, at(number));
            assert!(chosen.contains(&steady));
            listed += chosen.len() - 1;
        }
        assert_eq!((listed, names.0.len()), (NAMES_MAX - 1, NAMES_MAX));
        let new = unit("new");
        let mut chosen = BTreeSet::from([&new]);
        names.admit(&mut chosen, at(4_500));
        assert_eq!((chosen.len(), names.0.len()), (1, 1));
    }
}
