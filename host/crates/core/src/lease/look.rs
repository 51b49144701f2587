//! The raw edge: whether a fast look at the host, between two ticks, shows that the machine is needed now. It sees fewer signals than the
//! verdict and remembers a second, not a minute; it only ever makes work give way, and never makes a host quiet.

use super::edge::Edge;
use super::types::Cause;
use crate::quiet::{CPU_PRESSURE_GATE_RATIO, Level, QuietConfig, SignalId};
use crate::units::MonoTime;
use std::collections::VecDeque;
use std::time::Duration;

/// What the means are over: long enough that one page that is read from a disk is no reason, short enough for a foreground.
const MEAN_OVER: Duration = Duration::from_secs(1);

/// Looks that a mean needs.
const LOOKS_MIN: usize = 5;

/// Looks that are remembered at most: a second of ten a second, and some slack for a clock that is late.
const LOOKS_MAX: usize = 32;

/// What one look must show of a resource to be enough by itself: it is of a tenth of a second.
const ONE_LOOK_RATIO: f64 = 0.5;

/// What a look saw of the time since the look before it, leased work left out. Each a share, 0 to 1; absent where it cannot be known.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Glimpse {
    /// CPU use of others than niced and leased work, of all processors.
    pub cpu: Option<f64>,
    /// Time in which some thread waited for a processor.
    pub cpu_pressure: Option<f64>,
    /// Time in which all that had work waited for memory.
    pub memory_pressure: Option<f64>,
    /// Time in which all that had work waited for a disk.
    pub io_pressure: Option<f64>,
}

impl Glimpse {
    fn of(&self, signal: SignalId) -> Option<f64> {
        match signal {
            SignalId::Cpu => self.cpu,
            SignalId::CpuPressure => {
                self.cpu_pressure.filter(|_| self.cpu.is_some_and(|cpu| cpu >= CPU_PRESSURE_GATE_RATIO))
            }
            SignalId::MemoryPressure => self.memory_pressure,
            SignalId::IoPressure => self.io_pressure,
            _ => None,
        }
    }
}

/// The signals of a look.
const SIGNALS: [SignalId; 4] =
    [SignalId::Cpu, SignalId::MemoryPressure, SignalId::IoPressure, SignalId::CpuPressure];

/// The looks of the last second. Starts empty.
#[derive(Clone, Debug, Default)]
pub struct EdgeMemory {
    looks: VecDeque<(MonoTime, Glimpse)>,
}

impl EdgeMemory {
    fn mean(&self, signal: SignalId) -> Option<f64> {
        let values = self.looks.iter().filter_map(|(_, glimpse)| glimpse.of(signal));
        let (count, sum) = values.fold((0_usize, 0.0), |(count, sum), value| (count + 1, sum + value));
        #[expect(clippy::cast_precision_loss, reason = "a few looks")]
        (count >= LOOKS_MIN).then(|| sum / count as f64)
    }
}

/// Judges a look by the thresholds of the verdict: at `busy` work is to stand still, at `leave` to shrink. One look alone counts only if it
/// shows half of a resource in use; less than that must have lasted for a second. `None` when nothing is in the way.
#[must_use]
pub fn edge(now: MonoTime, glimpse: Glimpse, memory: &mut EdgeMemory, config: &QuietConfig) -> Option<Edge> {
    let old = |at: MonoTime| now.since(at) >= MEAN_OVER;
    while memory.looks.front().is_some_and(|(at, _)| old(*at)) || memory.looks.len() >= LOOKS_MAX {
        memory.looks.pop_front();
    }
    memory.looks.push_back((now, glimpse));
    let judged = SIGNALS.into_iter().filter_map(|signal| judge(signal, glimpse, memory, config));
    judged.reduce(|worst, next| if next.level > worst.level { next } else { worst })
}

fn judge(signal: SignalId, glimpse: Glimpse, memory: &EdgeMemory, config: &QuietConfig) -> Option<Edge> {
    let thresholds = config.of(signal);
    if !thresholds.enabled {
        return None;
    }
    let (one, mean) = (glimpse.of(signal), memory.mean(signal));
    let met = |value: Option<f64>, threshold: Option<f64>| {
        let (value, threshold) = (value?, threshold?);
        (value >= threshold).then_some((value, threshold))
    };
    let at_once = thresholds.busy.map(|busy| busy.max(ONE_LOOK_RATIO));
    let busy = met(one, at_once).or_else(|| met(mean, thresholds.busy));
    let (level, (value, threshold)) = match (busy, met(mean, thresholds.leave)) {
        (Some(busy), _) => (Level::Busy, busy),
        (None, Some(leave)) => (Level::Normal, leave),
        (None, None) => return None,
    };
    let def = signal.def();
    let text = format!("{} {} ≥ {}", def.label, def.format(value), def.format(threshold));
    let cause =
        Cause { signal: def.name.into(), value: Some(value), threshold: Some(threshold), text: text.into() };
    Some(Edge { level, cause })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Looks ten times a second; gives the level of each.
    fn levels(glimpses: impl IntoIterator<Item = Glimpse>) -> Vec<Option<Level>> {
        let (mut memory, config) = (EdgeMemory::default(), QuietConfig::default());
        let looks = glimpses.into_iter().enumerate().map(|(number, glimpse)| {
            let now = MonoTime(Duration::from_millis(100 * number as u64));
            edge(now, glimpse, &mut memory, &config).map(|edge| edge.level)
        });
        looks.collect()
    }

    fn cpu(values: &[f64]) -> Vec<Glimpse> {
        values.iter().map(|value| Glimpse { cpu: Some(*value), ..Glimpse::default() }).collect()
    }

    #[test]
    fn one_look_at_half_of_the_machine_is_enough() {
        assert_eq!(levels(cpu(&[0.1, 0.5, 0.1])), [None, Some(Level::Busy), None]);
        let io = |value| Glimpse { io_pressure: Some(value), ..Glimpse::default() };
        assert_eq!(levels([io(0.02), io(0.3), io(0.02)]), [None, None, None], "a few pages were read");
        assert_eq!(levels([io(0.02), io(0.55)]), [None, Some(Level::Busy)]);
    }

    #[test]
    fn less_must_have_lasted() {
        let lasting = levels(cpu(&[0.4; 8]));
        assert_eq!(lasting.iter().position(Option::is_some), Some(4));
        assert_eq!(lasting.last(), Some(&Some(Level::Normal)));
        let io = |value| Glimpse { io_pressure: Some(value), ..Glimpse::default() };
        assert_eq!(levels([io(0.12); 6]).last(), Some(&Some(Level::Busy)));
        assert_eq!(levels([io(0.07); 6]).last(), Some(&Some(Level::Normal)));
        assert_eq!(levels([io(0.04); 20]).last(), Some(&None));
        // What was a second ago is forgotten.
        let mut values = vec![0.45; 10];
        values.extend([0.1; 10]);
        assert_eq!(levels(cpu(&values)).last(), Some(&None));
    }

    #[test]
    fn waiting_for_a_processor_counts_only_where_they_are_in_use() {
        let look = |cpu, waits| Glimpse { cpu: Some(cpu), cpu_pressure: Some(waits), ..Glimpse::default() };
        assert_eq!(levels([look(0.1, 0.9); 10]).last(), Some(&None), "one group with a small quota");
        let mut config = QuietConfig::default();
        for thresholds in &mut config.signals {
            thresholds.enabled = false;
        }
        let pressure = &mut config.signals[SignalId::CpuPressure as usize];
        pressure.enabled = true;
        let found = edge(MonoTime::default(), look(0.8, 0.9), &mut EdgeMemory::default(), &config).unwrap();
        assert_eq!((found.level, &*found.cause.signal), (Level::Busy, "cpu_pressure"));
        assert_eq!(&*found.cause.text, "CPU pressure 90 % ≥ 50 %");
    }

    #[test]
    fn what_is_not_known_or_switched_off_is_no_reason() {
        assert_eq!(levels([Glimpse::default(); 10]), [None; 10]);
        let mut config = QuietConfig::default();
        config.signals[SignalId::Cpu as usize].enabled = false;
        let all = Glimpse { cpu: Some(1.0), ..Glimpse::default() };
        assert_eq!(edge(MonoTime::default(), all, &mut EdgeMemory::default(), &config), None);
    }

    #[test]
    fn the_worst_signal_is_told() {
        let config = QuietConfig::default();
        let both = Glimpse { cpu: Some(0.45), memory_pressure: Some(0.9), ..Glimpse::default() };
        let mut memory = EdgeMemory::default();
        let mut last = None;
        for number in 0..10 {
            last = edge(MonoTime(Duration::from_millis(100 * number)), both, &mut memory, &config);
        }
        assert_eq!(last.map(|edge| edge.cause.signal.to_string()), Some("memory_pressure".to_owned()));
    }
}
