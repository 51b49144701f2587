//! Temperatures, fans, voltages and power of `/sys/class/hwmon`, batteries and mains of `/sys/class/power_supply`. Every sensor
//! has a name that stays (`chip`, `sensor`) and one for people (`label`).

mod hwmon;
mod power;

use hwmon::{Found, Quantity};
use lowtide_sdk::{Collector, Description, Failure, Health, Metric, Sample, Status, Unit};
use lowtide_sdk::{host_data, sample};
use power::{STATES, Supply};

/// The addon.
#[derive(Debug, Default)]
struct Sensors;

/// A small file without the end of its line; none if it cannot be read.
fn look(path: &str) -> Option<String> {
    let text = host_data::read_to_string(path).ok()?;
    Some(text.trim().to_owned())
}

/// All that there is. What is missing on this machine is empty, unless all is.
fn read() -> Result<(Found, Vec<Supply>), Failure> {
    match (hwmon::read(), power::read()) {
        (Ok(found), Ok(supplies)) => Ok((found, supplies)),
        (Ok(found), Err(error)) if error.is_not_found() => Ok((found, Vec::new())),
        (Err(error), Ok(supplies)) if error.is_not_found() => Ok((Found::default(), supplies)),
        // The one that is not simply missing tells more.
        (Err(missing), Err(error)) if missing.is_not_found() => Err(error.into()),
        (Err(error), _) | (_, Err(error)) => Err(error.into()),
    }
}

impl Collector for Sensors {
    fn describe() -> Description {
        let sensor = |name: &str, unit, help: &str| {
            Metric::gauge(name, unit, help).labels(["chip", "sensor", "label"])
        };
        let supply = |name: &str, unit, help: &str| Metric::gauge(name, unit, help).labels(["supply"]);
        Description::new("Hardware sensors, batteries and mains, as the kernel tells them in /sys.")
            .metric(sensor("temperature_celsius", Unit::Celsius, "Temperature."))
            .metric(sensor(
                "temperature_critical_celsius",
                Unit::Celsius,
                "Temperature above which the manufacturer sees danger.",
            ))
            .metric(sensor("fan_rotations_per_second", Unit::PerSecond, "Speed of the fan."))
            .metric(sensor("voltage_volts", Unit::Count, "Voltage."))
            .metric(sensor("power_watts", Unit::Count, "Power that is drawn."))
            .metric(Metric::gauge(
                "unreadable_sensors",
                Unit::Count,
                "Sensors that are there and gave no value.",
            ))
            .metric(
                Metric::gauge(
                    "battery_charge_ratio",
                    Unit::Ratio,
                    "Share of the battery's charge that is left.",
                )
                .labels(["supply", "scope"]),
            )
            .metric(supply(
                "battery_health_ratio",
                Unit::Ratio,
                "Share of what the battery held when it was new that it still holds.",
            ))
            .metric(
                Metric::gauge("battery_state", Unit::Count, "1 for what the battery does, 0 for the rest.")
                    .labels(["supply", "state"]),
            )
            .metric(supply("mains_online", Unit::Count, "1 if the adapter gives power, 0 if not."))
    }

    fn collect(&mut self) -> Result<Vec<Sample>, Failure> {
        let (found, supplies) = read()?;
        if found.readings.is_empty() && found.unreadable == 0 && supplies.is_empty() {
            return Err(Failure::absent("this machine has no sensors and no batteries"));
        }
        let mut samples = vec![sample("unreadable_sensors", (), found.unreadable as f64)];
        for reading in found.readings {
            let labels = [reading.chip, reading.sensor, reading.label];
            if let Some(critical) = reading.critical {
                samples.push(sample("temperature_critical_celsius", labels.clone(), critical));
            }
            let name = match reading.quantity {
                Quantity::Temperature => "temperature_celsius",
                Quantity::Fan => "fan_rotations_per_second",
                Quantity::Voltage => "voltage_volts",
                Quantity::Power => "power_watts",
            };
            samples.push(sample(name, labels, reading.value));
        }
        for supply in supplies {
            match supply {
                Supply::Mains { name, online } => {
                    samples.push(sample("mains_online", [name], f64::from(u8::from(online))));
                }
                Supply::Battery { name, scope, charge, health, state } => {
                    if let Some(charge) = charge {
                        samples.push(sample("battery_charge_ratio", [name.clone(), scope], charge));
                    }
                    if let Some(health) = health {
                        samples.push(sample("battery_health_ratio", [name.as_str()], health));
                    }
                    for known in STATES {
                        let is = f64::from(u8::from(known == state));
                        samples.push(sample("battery_state", [name.as_str(), known], is));
                    }
                }
            }
        }
        Ok(samples)
    }
}

impl Health for Sensors {
    fn check(&mut self) -> Status {
        let found = match read() {
            Ok((found, _)) => found,
            Err(Failure::Absent(_)) => return Status::Ok,
            Err(failure) => return Status::error(failure.to_string()),
        };
        let mut hot = found
            .readings
            .iter()
            .filter(|reading| reading.critical.is_some_and(|critical| reading.value >= critical));
        match (hot.next(), hot.count()) {
            (None, _) => Status::Ok,
            (Some(first), more) => {
                let others = if more == 0 { String::new() } else { format!(", and {more} more sensors") };
                let (chip, label, value) = (&first.chip, &first.label, first.value);
                Status::warn(format!("{chip} {label} has {value} °C, which is critical{others}"))
            }
        }
    }
}

lowtide_sdk::addon!(Sensors: Collector, Health);

#[cfg(test)]
mod tests {
    use super::*;
    use lowtide_sdk::testing::FakeHost;

    fn files(files: &[(&str, &str)]) -> FakeHost {
        let host = FakeHost::new().id("sensors");
        files.iter().fold(host, |host, (path, content)| host.file(&format!("/sys/class/{path}"), content))
    }

    fn desktop() -> FakeHost {
        files(&[
            ("hwmon/hwmon0/name", "nct6775\n"),
            ("hwmon/hwmon0/temp1_input", "41500\n"),
            ("hwmon/hwmon0/temp1_label", "SYSTIN\n"),
            ("hwmon/hwmon0/temp1_crit", "90000\n"),
            ("hwmon/hwmon0/temp2_input", "-5000\n"),
            ("hwmon/hwmon0/temp2_crit", "0\n"),
            ("hwmon/hwmon0/fan1_input", "1200\n"),
            ("hwmon/hwmon0/in0_input", "1104\n"),
            ("hwmon/hwmon0/in1_input", "broken\n"),
            ("hwmon/hwmon0/power1_average", "65000000\n"),
        ])
    }

    #[test]
    fn sensors_have_base_units_and_two_names() {
        let report = desktop().collect::<Sensors>();
        report.assert_ok();
        for (name, sensor, label, wanted) in [
            ("temperature_celsius", "temp1", "SYSTIN", 41.5),
            ("temperature_celsius", "temp2", "temp2", -5.0),
            ("temperature_critical_celsius", "temp1", "SYSTIN", 90.0),
            ("fan_rotations_per_second", "fan1", "fan1", 20.0),
            ("voltage_volts", "in0", "in0", 1.104),
            ("power_watts", "power1", "power1", 65.0),
        ] {
            assert_eq!(report.value(name, &["nct6775", sensor, label]), Some(wanted), "{name} {sensor}");
        }
        assert_eq!(report.value("unreadable_sensors", &[]), Some(1.0));
        assert_eq!(report.samples().len(), 7);
    }

    #[test]
    fn batteries_and_mains_are_told() {
        let mut host = files(&[
            ("power_supply/BAT0/type", "Battery\n"),
            ("power_supply/BAT0/capacity", "83\n"),
            ("power_supply/BAT0/status", "Discharging\n"),
            ("power_supply/BAT0/energy_full", "45000000\n"),
            ("power_supply/BAT0/energy_full_design", "50000000\n"),
            ("power_supply/mouse/type", "Battery\n"),
            ("power_supply/mouse/scope", "Device\n"),
            ("power_supply/mouse/capacity", "5\n"),
            ("power_supply/AC/type", "Mains\n"),
            ("power_supply/AC/online", "0\n"),
            ("power_supply/odd/type", "BMS\n"),
        ]);
        let report = host.collect::<Sensors>();
        report.assert_ok();
        assert_eq!(report.value("battery_charge_ratio", &["BAT0", "system"]), Some(0.83));
        assert_eq!(report.value("battery_charge_ratio", &["mouse", "device"]), Some(0.05));
        assert_eq!(report.value("battery_health_ratio", &["BAT0"]), Some(0.9));
        assert_eq!(report.value("battery_state", &["BAT0", "discharging"]), Some(1.0));
        assert_eq!(report.value("battery_state", &["BAT0", "full"]), Some(0.0));
        assert_eq!(report.value("battery_state", &["mouse", "unknown"]), Some(1.0));
        assert_eq!(report.value("mains_online", &["AC"]), Some(0.0));
        assert_eq!(*host.check::<Sensors>().assert_ok(), Status::Ok);
    }

    #[test]
    fn heat_is_a_warning() {
        assert_eq!(*desktop().check::<Sensors>().assert_ok(), Status::Ok);
        let mut host = desktop().file("/sys/class/hwmon/hwmon0/temp1_input", "95000");
        let wanted = Status::warn("nct6775 SYSTIN has 95 °C, which is critical");
        assert_eq!(*host.check::<Sensors>().assert_ok(), wanted);
    }

    #[test]
    fn a_machine_without_sensors_has_none_and_a_refusal_is_a_failure() {
        let mut host = FakeHost::new();
        assert!(matches!(host.collect::<Sensors>().answer, Err(Failure::Absent(_))));
        assert_eq!(*host.check::<Sensors>().assert_ok(), Status::Ok);
        let mut host = files(&[]).directory("/sys/class/hwmon");
        assert!(matches!(host.collect::<Sensors>().answer, Err(Failure::Absent(_))));
        let mut host = desktop().deny("/sys/class/power_supply");
        assert!(matches!(host.collect::<Sensors>().answer, Err(Failure::Denied(_))));
        let mut host = FakeHost::new().deny("/sys/class/power_supply");
        assert!(matches!(host.collect::<Sensors>().answer, Err(Failure::Denied(_))));
        assert!(matches!(host.check::<Sensors>().assert_ok(), Status::Error(_)));
    }
}
