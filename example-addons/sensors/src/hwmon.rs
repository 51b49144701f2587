//! `/sys/class/hwmon`: chips with sensors, each sensor a few files (Documentation/hwmon/sysfs-interface.rst of the kernel).

use crate::look;
use lowtide_sdk::host_data::{self, DataError, Entry};
use std::collections::HashMap;

pub(crate) const FOLDER: &str = "/sys/class/hwmon";

/// What a sensor measures.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Quantity {
    Temperature,
    Fan,
    Voltage,
    Power,
}

/// A value that was read.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Reading {
    pub(crate) quantity: Quantity,
    /// Name of the chip that stays the same over restarts: `k10temp-0000:00:18.3`.
    pub(crate) chip: String,
    /// Name of the sensor within the chip: `temp1`.
    pub(crate) sensor: String,
    /// Name for people: `Tctl`.
    pub(crate) label: String,
    /// In degrees Celsius, rotations a second, volts or watts.
    pub(crate) value: f64,
    /// The value above which the manufacturer sees danger.
    pub(crate) critical: Option<f64>,
}

/// What was found.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) readings: Vec<Reading>,
    /// Sensors that are there and cannot be read.
    pub(crate) unreadable: usize,
}

/// Reads all sensors of all chips.
pub(crate) fn read() -> Result<Found, DataError> {
    let mut found = Found::default();
    let mut seen = HashMap::new();
    // `hwmon10` comes before `hwmon2`: by number, so that the numbering of equal chips is stable.
    let mut folders: Vec<String> =
        host_data::list_directory(FOLDER)?.into_iter().map(|entry| entry.name).collect();
    folders.sort_by_key(|name| (name.len(), name.clone()));
    for folder in folders {
        let path = format!("{FOLDER}/{folder}");
        // A chip can go while we look: then it has no name, or no files.
        let Some(name) = look(&format!("{path}/name")) else { continue };
        let id = numbered(chip_id(&path, &name), &mut seen);
        let Ok(files) = host_data::list_directory(&path) else { continue };
        chip(&path, &id, &files, &mut found);
    }
    Ok(found)
}

/// Name and place: on the PCI bus if it is there, else the driver's own name for it. Numbers such as `hwmon3` change from start to
/// start (node_exporter issue 2664).
fn chip_id(path: &str, name: &str) -> String {
    for place in ["device", "device/device"] {
        let Some(uevent) = look(&format!("{path}/{place}/uevent")) else { continue };
        if let Some(slot) = value_of(&uevent, "PCI_SLOT_NAME") {
            return format!("{name}-{slot}");
        }
        // A node of the device tree, as on a Raspberry Pi.
        if let Some(node) = value_of(&uevent, "OF_NAME").filter(|node| *node != name) {
            return format!("{name}-{node}");
        }
    }
    name.to_owned()
}

fn value_of<'a>(uevent: &'a str, key: &str) -> Option<&'a str> {
    uevent.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='))
}

/// Equal chips are numbered from the second on.
fn numbered(id: String, seen: &mut HashMap<String, usize>) -> String {
    let number = seen.entry(id.clone()).and_modify(|number| *number += 1).or_insert(1);
    if *number == 1 { id } else { format!("{id}-{number}") }
}

fn chip(path: &str, chip: &str, files: &[Entry], found: &mut Found) {
    for file in files {
        let Some((sensor, quantity)) = sensor_of(&file.name) else { continue };
        let scale = match quantity {
            Quantity::Temperature | Quantity::Voltage => 1e3,
            // Rotations a minute.
            Quantity::Fan => 60.0,
            Quantity::Power => 1e6,
        };
        let value = |file: &str| {
            let number: f64 = look(&format!("{path}/{file}"))?.parse().ok()?;
            Some(number / scale)
        };
        let Some(read) = value(&file.name) else {
            found.unreadable += 1;
            continue;
        };
        let there = |name: &str| files.iter().any(|file| file.name == name);
        let (labelled, critical) = (format!("{sensor}_label"), format!("{sensor}_crit"));
        let label = if there(&labelled) { look(&format!("{path}/{labelled}")) } else { None };
        let critical =
            if quantity == Quantity::Temperature && there(&critical) { value(&critical) } else { None };
        found.readings.push(Reading {
            quantity,
            chip: chip.to_owned(),
            sensor: sensor.to_owned(),
            label: label.filter(|label| !label.is_empty()).unwrap_or_else(|| sensor.to_owned()),
            value: read,
            // Some drivers say 0 or less where they know none.
            critical: critical.filter(|critical| *critical > 0.0),
        });
    }
}

/// The sensor that a file belongs to, if it is one with a value: `temp1_input`.
fn sensor_of(file: &str) -> Option<(&str, Quantity)> {
    let (sensor, kind) = file.split_once('_')?;
    let digits = sensor.trim_start_matches(|c: char| c.is_ascii_lowercase());
    if digits.is_empty() || digits.parse::<u32>().is_err() {
        return None;
    }
    let quantity = match (sensor.strip_suffix(digits)?, kind) {
        ("temp", "input") => Quantity::Temperature,
        ("fan", "input") => Quantity::Fan,
        ("in", "input") => Quantity::Voltage,
        ("power", "input" | "average") => Quantity::Power,
        _ => return None,
    };
    Some((sensor, quantity))
}

#[cfg(test)]
mod tests {
    use super::*;
    use lowtide_sdk::testing::FakeHost;

    #[test]
    fn sensors_are_known_by_their_files() {
        for (file, wanted) in [
            ("temp1_input", Some(("temp1", Quantity::Temperature))),
            ("fan12_input", Some(("fan12", Quantity::Fan))),
            ("in0_input", Some(("in0", Quantity::Voltage))),
            ("power1_average", Some(("power1", Quantity::Power))),
            ("temp1_crit", None),
            ("temp_input", None),
            ("temp1x_input", None),
            ("in_flow1_input", None),
            ("intrusion0_alarm", None),
            ("name", None),
        ] {
            assert_eq!(sensor_of(file), wanted, "{file}");
        }
    }

    #[test]
    fn a_chip_has_the_same_id_wherever_it_is_counted() {
        let chip =
            |host: FakeHost, folder: &str, name: &str| host.file(&format!("{FOLDER}/{folder}/name"), name);
        let host = chip(FakeHost::new(), "hwmon2", "k10temp\n").file(
            &format!("{FOLDER}/hwmon2/device/uevent"),
            "DRIVER=k10temp\nPCI_ID=1022:1483\nPCI_SLOT_NAME=0000:00:18.3\n",
        );
        let host = chip(host, "hwmon10", "nvme")
            .file(&format!("{FOLDER}/hwmon10/device/device/uevent"), "PCI_SLOT_NAME=0000:01:00.0");
        let host =
            chip(host, "hwmon0", "rp1_adc").file(&format!("{FOLDER}/hwmon0/device/uevent"), "OF_NAME=adc");
        let mut host = chip(chip(host, "hwmon3", "acpitz"), "hwmon11", "acpitz");
        for folder in ["hwmon0", "hwmon2", "hwmon3", "hwmon10", "hwmon11"] {
            host = host.file(&format!("{FOLDER}/{folder}/temp1_input"), "1000");
        }
        let found = host.run(read).unwrap();
        let chips: Vec<_> = found.readings.iter().map(|reading| reading.chip.as_str()).collect();
        assert_eq!(chips, ["rp1_adc-adc", "k10temp-0000:00:18.3", "acpitz", "nvme-0000:01:00.0", "acpitz-2"]);
    }
}
