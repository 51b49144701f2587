//! Batteries and mains supplies from /sys/class/power_supply (kernel Documentation/ABI/testing/sysfs-class-power). An
//! uninterruptible supply counts as a battery; those of mice and keyboards do not count. The table in `lib.rs` makes it, the
//! runner runs it every 15 s.

use super::sysfs;
use crate::collector::{CollectError, Collector};
use crate::config::CollectConfig;
use crate::define::{self, NONE, metrics};
use lowtide_core::metric::{SampleBuffer, Text};
use lowtide_core::report::CollectorInfo;
use lowtide_core::units::MonoTime;
use std::path::{Path, PathBuf};
use std::time::Duration;

const SUPPLY: &[Text] = &[Text::Borrowed("supply")];

metrics! {
    CHARGE = gauge("host_power_battery_charge_ratio", Ratio, SUPPLY, "Charge of the battery as share of what it can hold now.");
    DISCHARGING = gauge("host_power_battery_discharging", Count, SUPPLY, "1 while the battery is being discharged, otherwise 0.");
    MAINS_ONLINE = gauge("host_power_mains_online", Count, SUPPLY, "1 while the mains supply is connected, otherwise 0.");
    ON_BATTERY = gauge("host_power_on_battery", Count, NONE, "1 while the host runs on a battery: one is discharged, or no mains supply is connected; otherwise 0.");
}

/// Supplies that are looked at: far above what any machine has.
const SUPPLIES_MAX: usize = 64;

/// Who the collector is.
pub(crate) fn info() -> CollectorInfo {
    let help = "Batteries and mains supplies, and whether the host runs on a battery.";
    define::info(("power", "host"), "host_power_", help, Duration::from_secs(15), &METRICS)
}

/// One supply, as far as it is known.
#[derive(Debug, PartialEq)]
enum Supply {
    Battery { charge_ratio: Option<f64>, discharging: bool },
    Mains { online: bool },
}

fn read_supply(dir: &Path) -> Option<Supply> {
    let text = |name: &str| sysfs::text(&dir.join(name)).ok();
    let number = |name: &str| sysfs::number(&dir.join(name)).ok();
    // The battery of a mouse says nothing about the host.
    if text("scope").as_deref() == Some("Device") {
        return None;
    }
    match text("type")?.as_str() {
        "Battery" | "UPS" if number("present") != Some(0) => {
            let parts = |now: &str, full: &str| {
                let full = number(full).filter(|full| *full > 0)?;
                Some(number(now)? as f64 / full as f64)
            };
            let percent = || number("capacity").map(|percent| percent as f64 / 100.0);
            let charge = parts("energy_now", "energy_full").or_else(|| parts("charge_now", "charge_full"));
            Some(Supply::Battery {
                // An old battery may report a little more than it can hold.
                charge_ratio: charge.or_else(percent).map(|ratio| ratio.clamp(0.0, 1.0)),
                discharging: text("status").as_deref() == Some("Discharging"),
            })
        }
        "Mains" | "USB" | "Wireless" => Some(Supply::Mains { online: number("online")? > 0 }),
        _ => None,
    }
}

/// The collector.
#[derive(Debug)]
pub(crate) struct Power {
    dir: PathBuf,
}

impl Power {
    /// Reads nothing yet.
    pub(crate) fn new(config: &CollectConfig) -> Self {
        Self { dir: config.sys_dir.join("class/power_supply") }
    }
}

impl Collector for Power {
    fn collect(&mut self, _at: MonoTime, out: &mut SampleBuffer) -> Result<(), CollectError> {
        let names = sysfs::names(&self.dir).into_iter().take(SUPPLIES_MAX);
        let supplies: Vec<(String, Supply)> = names
            .filter_map(|name| read_supply(&self.dir.join(&name)).map(|supply| (name, supply)))
            .collect();
        if supplies.is_empty() {
            return Err(CollectError::Absent("this host shows no battery and no mains supply".to_owned()));
        }
        for (name, supply) in &supplies {
            if let Supply::Battery { charge_ratio: Some(ratio), .. } = supply {
                out.push(CHARGE, &[name], *ratio);
            }
        }
        let (mut batteries, mut discharging_any, mut mains, mut online_any) = (false, false, false, false);
        for (name, supply) in &supplies {
            if let Supply::Battery { discharging, .. } = supply {
                (batteries, discharging_any) = (true, discharging_any || *discharging);
                out.push(DISCHARGING, &[name], f64::from(*discharging));
            }
        }
        for (name, supply) in &supplies {
            if let Supply::Mains { online } = supply {
                (mains, online_any) = (true, online_any || *online);
                out.push(MAINS_ONLINE, &[name], f64::from(*online));
            }
        }
        let on_battery = discharging_any || (batteries && mains && !online_any);
        out.push(ON_BATTERY, &[], f64::from(on_battery));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    /// Runs the collector over supplies given as `name: attribute=value ...`, and gives `on_battery`.
    fn on_battery(supplies: &[(&str, &str)]) -> Option<f64> {
        let sys = tempfile::tempdir().unwrap();
        let dir = sys.path().join("class/power_supply");
        for (name, attributes) in supplies {
            fs::create_dir_all(dir.join(name)).unwrap();
            for (attribute, value) in attributes.split(' ').map(|pair| pair.split_once('=').unwrap()) {
                fs::write(dir.join(name).join(attribute), format!("{value}\n")).unwrap();
            }
        }
        let config = CollectConfig { sys_dir: sys.path().into(), ..CollectConfig::default() };
        let mut out = SampleBuffer::new();
        match Power::new(&config).collect(MonoTime::default(), &mut out) {
            Ok(()) => out.values().last().copied(),
            Err(CollectError::Absent(_)) => None,
            Err(other) => panic!("{other:?}"),
        }
    }

    #[test]
    fn on_battery_is_decided_over_all_supplies() {
        let battery = |status| format!("type=Battery present=1 capacity=80 status={status}");
        let (charging, draining) = (battery("Charging"), battery("Discharging"));
        let (plugged, unplugged) = ("type=Mains online=1", "type=Mains online=0");
        assert_eq!(on_battery(&[]), None);
        assert_eq!(on_battery(&[("hidpp_battery_0", "type=Battery scope=Device status=Discharging")]), None);
        assert_eq!(on_battery(&[("AC", plugged)]), Some(0.0));
        assert_eq!(on_battery(&[("AC", unplugged)]), Some(0.0));
        assert_eq!(on_battery(&[("AC", plugged), ("BAT0", &charging)]), Some(0.0));
        assert_eq!(on_battery(&[("AC", unplugged), ("BAT0", &charging)]), Some(1.0));
        assert_eq!(on_battery(&[("BAT0", &draining)]), Some(1.0));
        assert_eq!(
            on_battery(&[("AC", unplugged), ("BAT0", &charging), ("C1", "type=USB online=1")]),
            Some(0.0)
        );
        assert_eq!(on_battery(&[("ups", "type=UPS capacity=99 status=Discharging")]), Some(1.0));
        assert_eq!(
            on_battery(&[("AC", unplugged), ("BAT0", "type=Battery present=0 status=Unknown")]),
            Some(0.0)
        );
    }
}
