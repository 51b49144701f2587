//! Temperatures from /sys/class/hwmon (kernel Documentation/hwmon/sysfs-interface.rst), or from /sys/class/thermal where hwmon
//! has none. Chips are looked for afresh at each run: they come and go with drivers, and a run every 15 s can afford it.
//! It never reads the temperature of a hard disk (drivetemp): asking can keep the disk from falling asleep. The table in
//! `lib.rs` makes it, the runner runs it.

use super::sysfs;
use crate::collector::{CollectError, Collector};
use crate::config::CollectConfig;
use crate::define::{self, metrics};
use lowtide_core::metric::{SampleBuffer, Text};
use lowtide_core::report::CollectorInfo;
use lowtide_core::units::MonoTime;
use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

const SENSOR: &[Text] = &[Text::Borrowed("chip"), Text::Borrowed("sensor")];

metrics! {
    TEMPERATURE = gauge("host_sensors_temperature_celsius", Celsius, SENSOR, "Temperature now.");
    CRITICAL = gauge("host_sensors_critical_celsius", Celsius, SENSOR, "Temperature that the sensor's chip calls critical; only where it says so.");
    HEADROOM = gauge("host_sensors_headroom_celsius", Celsius, SENSOR, "Degrees left up to the critical temperature, or up to 95 °C where the chip names none.");
}

/// Stands for a critical temperature that the chip does not name: processors are rated for 95 to 105 °C.
const CRITICAL_ASSUMED: f64 = 95.0;

/// Sensors that are read: far above what any machine has.
const SENSORS_MAX: usize = 512;

/// Trip points of one thermal zone that are looked at (the kernel's own bound, THERMAL_MAX_TRIPS).
const TRIPS_MAX: usize = 12;

/// Who the collector is.
pub(crate) fn info() -> CollectorInfo {
    let help =
        "Temperatures of processors, boards and drives (not of hard disks, which asking would keep awake).";
    define::info(("sensors", "host"), "host_sensors_", help, Duration::from_secs(15), &METRICS)
}

/// One sensor that gave a temperature.
#[derive(Debug, PartialEq)]
struct Reading {
    chip: String,
    sensor: String,
    celsius: f64,
    critical: Option<f64>,
}

/// The collector.
#[derive(Debug)]
pub(crate) struct Sensors {
    hwmon: PathBuf,
    thermal: PathBuf,
}

/// What one look at all sensors gave.
#[derive(Debug, Default)]
struct Look {
    readings: Vec<Reading>,
    seen: BTreeSet<(String, String)>,
    /// The first sensor that is there and gave nothing.
    failure: Option<CollectError>,
}

impl Look {
    /// Adds a sensor; `place` tells it from another of the same name.
    fn add(&mut self, chip: &str, sensor: &str, place: &str, input: &Path, critical: Option<f64>) {
        if self.readings.len() >= SENSORS_MAX {
            return;
        }
        let celsius = match temperature(input) {
            Ok(celsius) => celsius,
            Err(error) => {
                self.failure.get_or_insert_with(|| CollectError::io(input, error));
                return;
            }
        };
        let mut name = (chip.to_owned(), sensor.to_owned());
        if self.seen.contains(&name) {
            name.1 = format!("{sensor} {place}");
        }
        if self.seen.insert(name.clone()) {
            let (chip, sensor) = name;
            self.readings.push(Reading { chip, sensor, celsius, critical });
        }
    }
}

/// Millidegrees as degrees. What no sensor in a computer can mean (an open input reads -128 or 255) is an error.
fn temperature(path: &Path) -> io::Result<f64> {
    let celsius = sysfs::number(path)? as f64 / 1e3;
    if (-60.0..=160.0).contains(&celsius) {
        Ok(celsius)
    } else {
        Err(io::Error::new(io::ErrorKind::InvalidData, "not a temperature that can be"))
    }
}

/// A critical temperature, if it is one to go by: some chips say 0, some 65 261.
fn critical(path: &Path) -> Option<f64> {
    temperature(path).ok().filter(|celsius| (40.0..=150.0).contains(celsius))
}

impl Sensors {
    /// Reads nothing yet.
    pub(crate) fn new(config: &CollectConfig) -> Self {
        Self { hwmon: config.sys_dir.join("class/hwmon"), thermal: config.sys_dir.join("class/thermal") }
    }

    fn look_at_hwmon(&self, look: &mut Look) {
        for monitor in sysfs::names(&self.hwmon) {
            let dir = self.hwmon.join(&monitor);
            let Ok(name) = sysfs::text(&dir.join("name")) else { continue };
            if name == "drivetemp" {
                continue;
            }
            // hwmon numbers change from boot to boot; the name of the device on its bus does not.
            let chip = match sysfs::link_name(&dir.join("device")) {
                Some(device) if device != name => format!("{name} {device}"),
                _ => name,
            };
            for file in sysfs::names(&dir) {
                let Some(channel) = file.strip_suffix("_input").filter(|channel| channel.starts_with("temp"))
                else {
                    continue;
                };
                let label = sysfs::text(&dir.join(format!("{channel}_label"))).ok();
                let sensor = label.filter(|label| !label.is_empty()).unwrap_or_else(|| channel.to_owned());
                let place = format!("{monitor} {channel}");
                look.add(
                    &chip,
                    &sensor,
                    &place,
                    &dir.join(&file),
                    critical(&dir.join(format!("{channel}_crit"))),
                );
            }
        }
    }

    fn look_at_zones(&self, look: &mut Look) {
        for zone in sysfs::names(&self.thermal) {
            let dir = self.thermal.join(&zone);
            let Ok(kind) = sysfs::text(&dir.join("type")) else { continue };
            if !zone.starts_with("thermal_zone") {
                continue;
            }
            let is_critical = |trip: &usize| {
                sysfs::text(&dir.join(format!("trip_point_{trip}_type"))).is_ok_and(|kind| kind == "critical")
            };
            let trip = (0..TRIPS_MAX).find(is_critical);
            let limit = trip.and_then(|trip| critical(&dir.join(format!("trip_point_{trip}_temp"))));
            look.add("thermal", &kind, &zone, &dir.join("temp"), limit);
        }
    }
}

impl Collector for Sensors {
    fn collect(&mut self, _at: MonoTime, out: &mut SampleBuffer) -> Result<(), CollectError> {
        let mut look = Look::default();
        self.look_at_hwmon(&mut look);
        if look.readings.is_empty() {
            self.look_at_zones(&mut look);
        }
        if look.readings.is_empty() {
            let nothing = || CollectError::Absent("this host shows no temperature sensor".to_owned());
            return Err(look.failure.unwrap_or_else(nothing));
        }
        for Reading { chip, sensor, celsius, .. } in &look.readings {
            out.push(TEMPERATURE, &[chip, sensor], *celsius);
        }
        for Reading { chip, sensor, critical, .. } in &look.readings {
            if let Some(critical) = critical {
                out.push(CRITICAL, &[chip, sensor], *critical);
            }
        }
        for Reading { chip, sensor, celsius, critical } in &look.readings {
            out.push(HEADROOM, &[chip, sensor], critical.unwrap_or(CRITICAL_ASSUMED) - celsius);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    /// Writes attributes below a new sys folder and gives what the collector says.
    fn collect(files: &[(&str, &str)]) -> Result<Vec<(String, f64)>, CollectError> {
        let sys = tempfile::tempdir().unwrap();
        for (path, value) in files {
            let path = sys.path().join("class").join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, value).unwrap();
        }
        let config = CollectConfig { sys_dir: sys.path().into(), ..CollectConfig::default() };
        let mut out = SampleBuffer::new();
        Sensors::new(&config).collect(MonoTime::default(), &mut out)?;
        let series = out.layout();
        let named = series.iter().zip(out.values());
        Ok(named
            .map(|(series, value)| (format!("{} {}", series.metric.name, series.labels.join("/")), *value))
            .collect())
    }

    #[test]
    fn one_bad_sensor_is_skipped_and_only_bad_ones_are_a_failure() {
        let good = ("hwmon/hwmon0/temp1_input", "45000\n");
        let bad = ("hwmon/hwmon0/temp2_input", "-128000\n");
        let name = ("hwmon/hwmon0/name", "nct6775\n");
        let readings = collect(&[name, good, bad]).unwrap();
        assert_eq!(readings[0], ("host_sensors_temperature_celsius nct6775/temp1".to_owned(), 45.0));
        assert_eq!(readings[1], ("host_sensors_headroom_celsius nct6775/temp1".to_owned(), 50.0));
        assert_eq!(readings.len(), 2);
        assert!(matches!(collect(&[name, bad]), Err(CollectError::Unreadable { .. })));
        assert!(matches!(collect(&[name]), Err(CollectError::Absent(_))));
    }

    #[test]
    fn hard_disks_are_not_asked() {
        let disk = [("hwmon/hwmon0/name", "drivetemp\n"), ("hwmon/hwmon0/temp1_input", "31000\n")];
        assert!(matches!(collect(&disk), Err(CollectError::Absent(_))));
    }

    #[test]
    fn two_sensors_with_one_name_are_told_apart_and_a_silly_critical_is_not_believed() {
        let readings = collect(&[
            ("hwmon/hwmon0/name", "acpitz\n"),
            ("hwmon/hwmon0/temp1_input", "30000\n"),
            ("hwmon/hwmon0/temp1_crit", "65261850\n"),
            ("hwmon/hwmon1/name", "acpitz\n"),
            ("hwmon/hwmon1/temp1_input", "31000\n"),
            ("hwmon/hwmon1/temp1_crit", "105000\n"),
        ])
        .unwrap();
        let names: Vec<&str> = readings.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names[1], "host_sensors_temperature_celsius acpitz/temp1 hwmon1 temp1");
        assert_eq!(
            readings[2],
            ("host_sensors_critical_celsius acpitz/temp1 hwmon1 temp1".to_owned(), 105.0)
        );
        assert_eq!(readings.last().unwrap().1, 74.0);
    }
}
