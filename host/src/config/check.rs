//! What must hold between several values. Runs on the merged configuration, after every value was found sound alone.

use super::Config;
use super::error::{ConfigError, ErrorKind, Mistake, Origin};
use super::quiet::in_order;
use lowtide_core::quiet::Direction;
use std::collections::BTreeMap;

/// All conflicts. Keys in `broken` have mistakes of their own and are not compared.
pub(super) fn cross_check(
    config: &Config,
    origins: &BTreeMap<String, Origin>,
    broken: &[String],
) -> Vec<ConfigError> {
    let mut found = same_address_twice(config, origins, broken);
    found.extend(leases_without_units(config, origins, broken));
    found.extend(open_to_others_without_tls(config, origins, broken));
    for (def, signal) in config.quiet.signals.all() {
        let section = format!("quiet.signals.{}", def.name);
        let set = signal
            .thresholds()
            .into_iter()
            .filter_map(|(name, value)| Some((format!("{section}.{name}"), value?)));
        let set: Vec<(String, f64)> = set.filter(|(key, _)| !broken.contains(key)).collect();
        for pair in set.windows(2) {
            let [(calmer_key, calmer), (worse_key, worse)] = pair else { continue };
            if in_order(def.direction, *calmer, *worse) {
                continue;
            }
            // Blame the one that a person wrote.
            let blamed = if origins.contains_key(worse_key) { worse_key } else { calmer_key };
            let (sign, harm) = match def.direction {
                Direction::Above => ("<=", "high"),
                Direction::Below => (">=", "low"),
            };
            let message = format!(
                "{} {calmer} and {} {worse} are in the wrong order, {harm} values of this signal are harmful",
                last_word(calmer_key),
                last_word(worse_key)
            );
            let order = ["quiet", "leave", "busy", "panic"].join(&format!(" {sign} "));
            let mistake = Mistake::new(ErrorKind::Conflict, message).allowed(order);
            found.push(mistake.at(origins.get(blamed).cloned().unwrap_or(Origin::Default), blamed));
        }
    }
    found
}

/// What other machines send and get must not be read on its way, tokens first of all; and a certificate without its key is half of TLS.
fn open_to_others_without_tls(
    config: &Config,
    origins: &BTreeMap<String, Origin>,
    broken: &[String],
) -> Option<ConfigError> {
    const LISTEN: &str = "server.listen";
    const FILES: [&str; 2] = ["server.tls_certificate_file", "server.tls_key_file"];
    if broken.iter().any(|key| key.starts_with("server.")) {
        return None;
    }
    let blame = |key: &str, message: String| {
        let origin = origins.get(key).cloned().unwrap_or(Origin::Default);
        Some(Mistake::new(ErrorKind::Conflict, message).at(origin, key))
    };
    let server = &config.server;
    let [certificate, key] = FILES;
    match (&server.tls_certificate_file, &server.tls_key_file) {
        (Some(_), None) => blame(certificate, format!("is there without {key}, set both")),
        (None, Some(_)) => blame(key, format!("is there without {certificate}, set both")),
        (Some(_), Some(_)) => None,
        (None, None) => {
            let open = server.addresses().into_iter().find(|address| !address.ip().is_loopback())?;
            let message = format!(
                "{open} can be reached from other machines, which needs TLS and tokens: set {certificate} and {key} and make a token \
                 with `lowtide token create`; or listen on 127.0.0.1 or ::1, behind an ssh tunnel or a proxy"
            );
            blame(LISTEN, message)
        }
    }
}

/// A priority alone grants nothing, and is never what was meant.
fn leases_without_units(
    config: &Config,
    origins: &BTreeMap<String, Origin>,
    broken: &[String],
) -> Vec<ConfigError> {
    let one = |id: &String| {
        let section = format!("addon.{id}.grants.leases");
        let (units, priority) = (format!("{section}.max_units"), format!("{section}.max_priority"));
        let origin =
            origins.get(&priority).filter(|_| !origins.contains_key(&units) && !broken.contains(&units))?;
        let message = "is granted without max_units, say how many units its leases may take";
        Some(Mistake::new(ErrorKind::Conflict, message).at(origin.clone(), priority))
    };
    config.addon.keys().filter_map(one).collect()
}

fn same_address_twice(
    config: &Config,
    origins: &BTreeMap<String, Origin>,
    broken: &[String],
) -> Vec<ConfigError> {
    const KEY: &str = "server.listen";
    let addresses = config.server.addresses();
    if broken.iter().any(|key| key.starts_with(KEY)) {
        return Vec::new();
    }
    let twice = |(index, address): (usize, &std::net::SocketAddr)| {
        let known = addresses.get(..index).unwrap_or_default();
        // Port 0 asks for another port each time.
        (address.port() != 0 && known.contains(address)).then(|| {
            let message = format!("{address} is there twice, remove one");
            let origin = origins.get(KEY).cloned().unwrap_or(Origin::Default);
            Mistake::new(ErrorKind::Conflict, message).at(origin, format!("{KEY}[{index}]"))
        })
    };
    addresses.iter().enumerate().filter_map(twice).collect()
}

fn last_word(key: &str) -> &str {
    key.rsplit('.').next().unwrap_or(key)
}
