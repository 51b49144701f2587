//! Bytes, packets, errors and drops of each network interface from /proc/net/dev (proc_pid_net(5)). The table in `lib.rs`
//! makes it, the runner runs it at every tick.

use super::procfile::{ProcFile, Records};
use super::roster::Roster;
use super::text::{self, Fields};
use crate::collector::{CollectError, Collector};
use crate::config::CollectConfig;
use crate::glob;
pub(crate) use crate::host::network::info;
use crate::host::network::{
    RECEIVE_BYTES, RECEIVE_DROPS, RECEIVE_ERRORS, RECEIVE_PACKETS, RECEIVE_RATE, TRANSMIT_BYTES,
    TRANSMIT_DROPS, TRANSMIT_ERRORS, TRANSMIT_PACKETS, TRANSMIT_RATE,
};
use crate::rate::{self, Elapsed};
use lowtide_core::metric::{MetricDef, SampleBuffer};
use lowtide_core::units::MonoTime;

/// Counters of one direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Traffic {
    bytes: u64,
    packets: u64,
    errors: u64,
    drops: u64,
}

/// Counters of one interface since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counters {
    receive: Traffic,
    transmit: Traffic,
}

/// The lines of /proc/net/dev behind its two lines of headings.
///
/// # Errors
/// In words, when the headings are not those that give the columns their meaning.
pub(crate) fn interfaces(bytes: &[u8]) -> Result<impl Iterator<Item = &[u8]>, &'static str> {
    let mut lines = text::lines(bytes)?;
    let columns = lines.nth(1).unwrap_or_default();
    let known = columns.windows(20).any(|part| part == b"bytes    packets err");
    if known { Ok(lines) } else { Err("the headings bytes, packets, errs") }
}

/// Parses the line of one interface: its name, a colon, eight numbers received, eight sent. A long first number may follow
/// the colon without a blank.
///
/// # Errors
/// In words, what is not as documented.
pub(crate) fn parse_line(line: &[u8]) -> Result<(&[u8], Counters), &'static str> {
    let colon = line.iter().position(|byte| *byte == b':').ok_or("a colon behind the name")?;
    let (name, rest) = line.split_at_checked(colon).ok_or("a colon behind the name")?;
    let name = name.trim_ascii_start();
    if name.is_empty() {
        return Err("a name before the colon");
    }
    let mut fields = Fields(rest.get(1..).unwrap_or_default());
    let mut numbers = [0; 16];
    for number in &mut numbers {
        *number = fields.number().ok_or("sixteen numbers for each interface")?;
    }
    let [bytes, packets, errors, drops, _, _, _, _, sent_bytes, sent_packets, sent_errors, sent_drops, ..] =
        numbers;
    let receive = Traffic { bytes, packets, errors, drops };
    let transmit =
        Traffic { bytes: sent_bytes, packets: sent_packets, errors: sent_errors, drops: sent_drops };
    Ok((name, Counters { receive, transmit }))
}

/// What is remembered of an interface.
#[derive(Debug, Default)]
struct Interface {
    /// Not excluded. Decided once, when it appears.
    wanted: bool,
    now: Counters,
    /// Whether `now` holds anything yet.
    read: bool,
    before: Option<Counters>,
}

/// The collector.
#[derive(Debug)]
pub(crate) struct Network {
    file: ProcFile,
    exclude: Vec<String>,
    interfaces: Roster<Interface>,
    elapsed: Elapsed,
}

impl Network {
    /// Reads nothing yet.
    pub(crate) fn new(config: &CollectConfig) -> Self {
        Self {
            file: ProcFile::new(&config.proc_dir, "net/dev", Records::Many),
            exclude: config.network_exclude.clone(),
            interfaces: Roster::new(),
            elapsed: Elapsed::default(),
        }
    }

    fn read(&mut self) -> Result<(), CollectError> {
        let (roster, exclude) = (&mut self.interfaces, &self.exclude);
        roster.begin();
        let outcome = self.file.parse(|bytes| {
            for line in interfaces(bytes)? {
                let (name, counters) = parse_line(line)?;
                let make = |name: &str| Interface {
                    wanted: !glob::matches_any(exclude, name),
                    ..Interface::default()
                };
                let interface = roster.seat(name, make)?;
                interface.before = interface.read.then_some(interface.now);
                (interface.now, interface.read) = (counters, true);
            }
            roster.end();
            Ok(())
        });
        if outcome.is_err() {
            // Some interfaces have stepped, others not: there is no common interval any more.
            roster.clear();
        }
        outcome
    }
}

impl Collector for Network {
    fn collect(&mut self, at: MonoTime, out: &mut SampleBuffer) -> Result<(), CollectError> {
        self.read()?;
        let elapsed = self.elapsed.step(at);
        let wanted = || self.interfaces.iter().filter(|seat| seat.state.wanted);
        if wanted().next().is_none() {
            return Err(CollectError::Absent("this host shows no network interface".to_owned()));
        }
        let mut total = |metric: &'static MetricDef, counter: fn(&Counters) -> u64| {
            for seat in wanted() {
                out.push(metric, &[&seat.name], counter(&seat.state.now) as f64);
            }
        };
        total(RECEIVE_BYTES, |counters| counters.receive.bytes);
        total(TRANSMIT_BYTES, |counters| counters.transmit.bytes);
        total(RECEIVE_PACKETS, |counters| counters.receive.packets);
        total(TRANSMIT_PACKETS, |counters| counters.transmit.packets);
        total(RECEIVE_ERRORS, |counters| counters.receive.errors);
        total(TRANSMIT_ERRORS, |counters| counters.transmit.errors);
        total(RECEIVE_DROPS, |counters| counters.receive.drops);
        total(TRANSMIT_DROPS, |counters| counters.transmit.drops);
        let mut rate = |metric: &'static MetricDef, counter: fn(&Counters) -> u64| {
            for seat in wanted() {
                let Some(before) = &seat.state.before else { continue };
                if let Some(rate) = rate::per_second(counter(before), counter(&seat.state.now), elapsed) {
                    out.push(metric, &[&seat.name], rate);
                }
            }
        };
        rate(RECEIVE_RATE, |counters| counters.receive.bytes);
        rate(TRANSMIT_RATE, |counters| counters.transmit.bytes);
        Ok(())
    }

    fn forget(&mut self) {
        self.elapsed.forget();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_read_with_and_without_a_blank_behind_the_colon() {
        for line in
            ["  eth0: 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16", "eth0:1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16"]
        {
            let (name, counters) = parse_line(line.as_bytes()).unwrap();
            assert_eq!(name, b"eth0");
            assert_eq!(counters.receive, Traffic { bytes: 1, packets: 2, errors: 3, drops: 4 });
            assert_eq!(counters.transmit, Traffic { bytes: 9, packets: 10, errors: 11, drops: 12 });
        }
        for line in ["eth0 1 2", "  : 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16", "eth0: 1 2 3", ""] {
            assert!(parse_line(line.as_bytes()).is_err(), "{line}");
        }
    }

    #[test]
    fn other_headings_are_refused() {
        assert!(interfaces(b"Inter-| Receive\n face |packets bytes\n").is_err());
        assert!(interfaces(b"").is_err());
    }
}
