//! `/sys/class/power_supply`: batteries and mains (Documentation/power/power_supply_class.rst of the kernel).

use crate::look;
use lowtide_sdk::host_data::{self, DataError};

pub(crate) const FOLDER: &str = "/sys/class/power_supply";

/// What a battery can be doing, in our words.
pub(crate) const STATES: [&str; 5] = ["charging", "discharging", "full", "not_charging", "unknown"];

/// A battery or a mains adapter.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Supply {
    Battery {
        name: String,
        /// `system`, or `device` for that of a mouse.
        scope: String,
        /// Share of what it holds that is left.
        charge: Option<f64>,
        /// Share of what it held when it was new.
        health: Option<f64>,
        /// One of [`STATES`].
        state: &'static str,
    },
    Mains {
        name: String,
        online: bool,
    },
}

/// Reads them all.
pub(crate) fn read() -> Result<Vec<Supply>, DataError> {
    let entries = host_data::list_directory(FOLDER)?;
    Ok(entries.into_iter().filter_map(|entry| supply(entry.name)).collect())
}

/// One of them; none if it is neither, or went while we looked.
fn supply(name: String) -> Option<Supply> {
    let file = |file: &str| look(&format!("{FOLDER}/{name}/{file}"));
    let number = |name: &str| file(name)?.parse::<f64>().ok();
    let share = |part: &str, whole: &str| {
        let whole = number(whole).filter(|whole| *whole > 0.0)?;
        Some(number(part)? / whole)
    };
    match file("type")?.as_str() {
        "Battery" | "UPS" => Some(Supply::Battery {
            scope: if file("scope").as_deref() == Some("Device") { "device" } else { "system" }.to_owned(),
            charge: number("capacity").map(|percent| percent / 100.0),
            health: share("energy_full", "energy_full_design")
                .or_else(|| share("charge_full", "charge_full_design")),
            state: match file("status").as_deref() {
                Some("Charging") => "charging",
                Some("Discharging") => "discharging",
                Some("Full") => "full",
                Some("Not charging") => "not_charging",
                _ => "unknown",
            },
            name,
        }),
        "Mains" | "USB" | "Wireless" => Some(Supply::Mains { online: number("online")? > 0.0, name }),
        _ => None,
    }
}
