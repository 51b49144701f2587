//! Names that stand in more than one place, held against each other.

use lowtide::config::{Kind, keys};
use std::collections::BTreeSet;

#[test]
fn the_configuration_knows_every_collector_and_no_other() {
    let key = keys().iter().find(|key| key.name == "collectors.disabled").unwrap();
    let Kind::List { item, .. } = &key.kind else { panic!("{key:?}") };
    let Kind::Choice(choices) = item.as_ref() else { panic!("{item:?}") };
    let configured: Vec<&str> = choices.iter().map(|(name, _)| name.as_str()).collect();
    let infos = lowtide_collectors::infos();
    let built: Vec<&str> = infos.iter().map(|info| info.name.as_ref()).collect();
    assert_eq!(configured, built);
}

#[test]
fn the_configuration_knows_every_signal_with_its_default() {
    for def in &lowtide_core::quiet::SIGNALS {
        let section = format!("quiet.signals.{}.", def.name);
        let of = |leaf: &str| keys().iter().find(|key| key.name == format!("{section}{leaf}"));
        for (leaf, value) in [
            ("quiet", def.default.quiet),
            ("leave", def.default.leave),
            ("busy", def.default.busy),
            ("panic", def.default.panic),
        ] {
            let key = of(leaf).unwrap_or_else(|| panic!("{section}{leaf}"));
            assert_eq!(key.default.as_f64(), value, "{section}{leaf}");
            assert!(key.reloadable, "{section}{leaf}");
        }
    }
    let default = lowtide::config::Config::default();
    assert_eq!(default.quiet.to_core(), lowtide_core::quiet::QuietConfig::default());
}

#[test]
fn every_interval_that_can_be_set_is_that_of_a_collector() {
    for info in lowtide_collectors::infos() {
        let key = keys().iter().find(|key| key.name == format!("collectors.{}_seconds", info.name));
        let own = info.interval != lowtide_collectors::TICK_DEFAULT;
        assert_eq!(key.is_some(), own, "{}", info.name);
        if let Some(key) = key {
            assert_eq!(key.default.as_u64(), Some(info.interval.as_secs()), "{}", info.name);
        }
    }
}

#[test]
fn every_metric_is_sound_and_has_one_name() {
    let mut names = BTreeSet::new();
    for info in lowtide_collectors::infos().into_iter().chain(lowtide_app::derived_infos()) {
        for metric in info.metrics.iter() {
            assert_eq!(metric.problems(), Vec::<String>::new());
            assert!(names.insert(metric.name.clone()), "{} twice", metric.name);
        }
    }
    let reference = include_str!("../docs/reference/metrics.md");
    for name in names {
        assert!(reference.contains(&format!("`{name}`")), "{name} is not in the reference");
    }
}

#[test]
fn every_error_code_is_on_the_page_and_has_a_status_that_fits() {
    let page = include_str!("../docs/reference/api.html");
    for doc in &lowtide_api::CODES {
        assert!(page.contains(doc.title) && page.contains(doc.code), "{}", doc.code);
        assert!((400..600).contains(&doc.status), "{}", doc.code);
    }
}

#[test]
fn the_readme_says_what_the_program_does() {
    let readme = include_str!("../README.md");
    for (route, _) in
        lowtide_api::ROUTES.iter().map(|route| (route, ())).filter(|(route, ())| route.starts_with("/api/s"))
    {
        let last = route.rsplit('/').next().unwrap();
        let named = ["current", "quiet", "history"].contains(&last);
        assert!(!named || readme.contains(route), "{route}");
    }
    for word in ["0 |", "75 |", "69 |", "64 |"] {
        assert!(readme.contains(word), "exit code {word}");
    }
}
