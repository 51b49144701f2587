//! SIGHUP: read the configuration again, apply what can change while running, and say what cannot. A wrong configuration
//! changes nothing.

use crate::config::{self, Config, Sources};
use crate::logging::LevelSwitch;
use lowtide_app::App;

/// What a reload needs.
#[derive(Debug)]
pub(super) struct Reloader {
    sources: Sources,
    /// In force: what was read last, but with the old values where a change needs a restart.
    config: Config,
    app: App,
    level: LevelSwitch,
}

impl Reloader {
    pub(super) fn new(sources: Sources, config: Config, app: App, level: LevelSwitch) -> Self {
        Self { sources, config, app, level }
    }

    /// Reads again and applies. Every outcome is logged and told to the event stream.
    pub(super) async fn reload(&mut self) {
        let read = match config::load(&self.sources) {
            Ok(loaded) => loaded.config,
            Err(errors) => {
                let errors: Vec<String> = errors.iter().map(ToString::to_string).collect();
                errors.iter().for_each(|error| tracing::error!(error, "configuration mistake"));
                tracing::error!(
                    mistakes = errors.len(),
                    "the configuration was not reloaded; the old one stays in force"
                );
                self.app.note_reload(Vec::new(), Vec::new(), errors);
                return;
            }
        };
        let (applied, restart_needed): (Vec<_>, Vec<_>) =
            config::changes(&self.config, &read).into_iter().partition(|change| change.reloadable);
        let names =
            |changes: Vec<config::Change>| changes.into_iter().map(|change| change.key).collect::<Vec<_>>();
        let (applied, restart_needed) = (names(applied), names(restart_needed));
        self.level.set(read.log.level);
        self.app.set_quiet(read.quiet.to_core());
        if let Some(leases) = self.app.leases() {
            leases.set_policy(read.leases.to_core(self.app.about().tick));
        }
        if read.addon != self.config.addon
            && let Some(addons) = self.app.addons()
            && let Err(error) = addons.configure(config::host_configs(&read.addon)).await
        {
            tracing::warn!(%error, "the addons were not configured");
        }
        self.config.addon = read.addon;
        (self.config.log.level, self.config.quiet) = (read.log.level, read.quiet);
        // How many events are kept is settled at the start.
        let config::Leases { events_kept, looks_per_second, .. } = self.config.leases;
        self.config.leases = config::Leases { events_kept, looks_per_second, ..read.leases };
        tracing::info!(applied = applied.join(", "), "configuration reloaded");
        if !restart_needed.is_empty() {
            tracing::warn!(keys = restart_needed.join(", "), "these changes need a restart");
        }
        self.app.note_reload(applied, restart_needed, Vec::new());
    }
}
