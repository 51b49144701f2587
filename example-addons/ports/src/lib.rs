//! Which TCP ports are open: a gauge for each, and presence for those whose service means that somebody is there, such as a game
//! server or a remote desktop that is started by hand.

use lowtide_sdk::host_data::{self, DataErrorKind};
use lowtide_sdk::{Collector, Description, Failure, Metric, Presence, Sample, Signal, Unit};
use lowtide_sdk::{config, sample, time};
use std::collections::HashSet;
use std::time::Duration;

/// Ports are tried one after the other, and a call may take 30 s in all.
const PORTS_MAX: usize = 20;
const TIMEOUT_DEFAULT_MS: i64 = 500;

/// An answer that is younger is used again: presence is assessed every 5 s, and `collect` comes in between.
const FRESH: Duration = Duration::from_secs(4);

const WEIGHT_DEFAULT: f64 = 0.5;

/// The addon.
#[derive(Debug, Default)]
struct Ports {
    settings: Option<Settings>,
    /// When the ports were tried last, and whether each was open.
    tried: Option<(Duration, Vec<bool>)>,
}

/// A port of the settings.
#[derive(Clone, Debug, PartialEq)]
struct Port {
    name: String,
    address: String,
    /// Somebody is there when it is open.
    presence: bool,
}

#[derive(Clone, Debug)]
struct Settings {
    ports: Vec<Port>,
    timeout: Duration,
    weight: f64,
}

impl Settings {
    fn read() -> Result<Self, Failure> {
        let lines: Vec<String> = config::required("ports")?;
        let present: Vec<String> = config::optional("presence")?.unwrap_or_default();
        let ports = ports(&lines, &present)?;
        let timeout = config::optional("timeout_ms")?.unwrap_or(TIMEOUT_DEFAULT_MS);
        let timeout = u64::try_from(timeout).ok().filter(|timeout| (1..=1_500).contains(timeout));
        let timeout = timeout.ok_or_else(|| Failure::config("timeout_ms: it must be between 1 and 1500"))?;
        let weight = config::optional("weight")?.unwrap_or(WEIGHT_DEFAULT);
        if !(0.0..=1.0).contains(&weight) {
            return Err(Failure::config(format!("weight: {weight} is not between 0 and 1")));
        }
        Ok(Self { ports, timeout: Duration::from_millis(timeout), weight })
    }
}

/// Reads `name=host:port`, with the names that mean presence.
fn ports(lines: &[String], present: &[String]) -> Result<Vec<Port>, Failure> {
    if lines.is_empty() || lines.len() > PORTS_MAX {
        return Err(Failure::config(format!(
            "ports: 1 to {PORTS_MAX} are possible, {} are set",
            lines.len()
        )));
    }
    let mut names = HashSet::new();
    let mut ports = Vec::with_capacity(lines.len());
    for line in lines {
        let form = || Failure::config(format!("ports: {line:?} is not of the form \"name=host:port\""));
        let (name, address) = line.split_once('=').ok_or_else(form)?;
        let (name, address) = (name.trim(), address.trim());
        let (host, port) = address.rsplit_once(':').ok_or_else(form)?;
        if name.is_empty() || host.is_empty() || port.parse::<u16>().is_err() {
            return Err(form());
        }
        if !names.insert(name) {
            return Err(Failure::config(format!("ports: the name {name:?} stands there twice")));
        }
        let presence = present.iter().any(|present| present == name);
        ports.push(Port { name: name.to_owned(), address: address.to_owned(), presence });
    }
    match present.iter().find(|present| !names.contains(present.as_str())) {
        Some(unknown) => Err(Failure::config(format!("presence: there is no port of the name {unknown:?}"))),
        None => Ok(ports),
    }
}

impl Ports {
    fn settings(&mut self) -> Result<Settings, Failure> {
        match &self.settings {
            Some(settings) => Ok(settings.clone()),
            None => Ok(self.settings.insert(Settings::read()?).clone()),
        }
    }

    /// Whether each port is open now.
    fn open(&mut self, settings: &Settings) -> Result<Vec<bool>, Failure> {
        if let Some((at, open)) = &self.tried
            && time::monotonic().saturating_sub(*at) < FRESH
        {
            return Ok(open.clone());
        }
        let open = settings.ports.iter().map(|port| {
            match host_data::tcp_accepts(&port.address, Some(settings.timeout)) {
                Ok(open) => Ok(open),
                // A name that does not resolve, or a network that is down: nobody is reached there.
                Err(error) if matches!(error.kind, DataErrorKind::Unreadable(_)) => Ok(false),
                Err(error) => Err(Failure::from(error)),
            }
        });
        let open: Vec<bool> = open.collect::<Result<_, _>>()?;
        self.tried = Some((time::monotonic(), open.clone()));
        Ok(open)
    }
}

impl Collector for Ports {
    fn describe() -> Description {
        Description::new("Which TCP ports accept connections.").metric(
            Metric::gauge("up", Unit::Count, "1 if the port accepts connections, 0 if not.")
                .labels(["name", "address"]),
        )
    }

    fn collect(&mut self) -> Result<Vec<Sample>, Failure> {
        let settings = self.settings()?;
        let open = self.open(&settings)?;
        let up = settings.ports.into_iter().zip(open);
        Ok(up
            .map(|(port, open)| sample("up", [port.name, port.address], f64::from(u8::from(open))))
            .collect())
    }
}

impl Presence for Ports {
    fn assess(&mut self) -> Result<Vec<Signal>, Failure> {
        let settings = self.settings()?;
        if !settings.ports.iter().any(|port| port.presence) {
            return Ok(Vec::new());
        }
        let open = self.open(&settings)?;
        let present = settings.ports.iter().zip(open).filter(|(port, open)| port.presence && *open);
        // More signals than 16 are not taken.
        Ok(present
            .take(16)
            .map(|(port, _)| Signal::new(format!("{} is up", port.name), settings.weight))
            .collect())
    }
}

lowtide_sdk::addon!(Ports: Collector, Presence);

#[cfg(test)]
mod tests {
    use super::*;
    use lowtide_sdk::testing::FakeHost;

    fn host() -> FakeHost {
        FakeHost::new()
            .config("ports", ["game=127.0.0.1:25565", "printer = 127.0.0.1:631"])
            .config("presence", ["game"])
            .listens("127.0.0.1:631")
    }

    #[test]
    fn ports_are_up_or_not() {
        let mut host = host();
        let report = host.collect::<Ports>();
        report.assert_ok();
        assert_eq!(report.value("up", &["game", "127.0.0.1:25565"]), Some(0.0));
        assert_eq!(report.value("up", &["printer", "127.0.0.1:631"]), Some(1.0));
        assert!(host.assess::<Ports>().assert_ok().is_empty());
    }

    #[test]
    fn an_open_port_is_presence_where_it_is_asked_for() {
        let mut host = host().listens("127.0.0.1:25565");
        assert_eq!(host.assess::<Ports>().assert_ok()[..], [Signal::new("game is up", 0.5)]);
        let mut host = host.config("presence", [""; 0]).config("weight", 1).restart();
        assert!(host.assess::<Ports>().assert_ok().is_empty());
    }

    #[test]
    fn an_answer_is_used_for_some_seconds() {
        let mut host = host();
        host.collect::<Ports>().assert_ok();
        let mut host = host.listens("127.0.0.1:25565").advance(Duration::from_secs(3));
        assert!(host.assess::<Ports>().assert_ok().is_empty());
        assert_eq!(host.advance(Duration::from_secs(1)).assess::<Ports>().assert_ok().len(), 1);
    }

    #[test]
    fn lines_are_read() {
        let texts = |lines: &[&str]| lines.iter().map(|line| (*line).to_owned()).collect::<Vec<_>>();
        let found = ports(&texts(&["a=[::1]:1", "b = host:65535"]), &texts(&["b"])).unwrap();
        let port = |name: &str, address: &str, presence| Port {
            name: name.into(),
            address: address.into(),
            presence,
        };
        assert_eq!(found, [port("a", "[::1]:1", false), port("b", "host:65535", true)]);
        for (lines, present) in [
            (&["a"][..], &[][..]),
            (&["a=b"], &[]),
            (&["a=b:x"], &[]),
            (&["a=:1"], &[]),
            (&["=b:1"], &[]),
            (&["a=b:65536"], &[]),
            (&["a=b:1", "a=c:1"], &[]),
            (&["a=b:1"], &["c"]),
            (&[], &[]),
            (&["a=b:1"; 21], &[]),
        ] {
            let failure = ports(&texts(lines), &texts(present)).unwrap_err();
            assert!(matches!(failure, Failure::Config(_)), "{lines:?}");
        }
    }

    #[test]
    fn faults_are_failures_of_the_kind_that_fits() {
        let failure = |mut host: FakeHost| host.collect::<Ports>().answer.unwrap_err();
        assert!(matches!(failure(FakeHost::new()), Failure::Config(_)));
        assert!(matches!(failure(host().deny("127.0.0.1")), Failure::Denied(_)));
        assert!(matches!(failure(host().config("timeout_ms", 0)), Failure::Config(_)));
        assert!(matches!(failure(host().config("weight", 1.5)), Failure::Config(_)));
    }
}
