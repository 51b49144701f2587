//! `lowtide config check|default`.

use super::output::{complain, out, pretty};
use crate::cli::ConfigArgs;
use crate::config::{self, ConfigError, Loaded, Sources};
use crate::exit::Exit;
use serde_json::json;

/// Loads the configuration, or prints every mistake.
pub(crate) fn load(sources: &Sources) -> Result<Loaded, Exit> {
    config::load(sources).map_err(|errors| {
        complain_about(&errors);
        Exit::Config
    })
}

fn complain_about(errors: &[ConfigError]) {
    errors.iter().for_each(|error| complain(&error.to_string()));
    let count = match errors.len() {
        1 => "1 mistake".to_owned(),
        several => format!("{several} mistakes"),
    };
    complain(&format!(
        "{count} in the configuration; nothing was started. `lowtide config default` prints every key"
    ));
}

pub(crate) fn check(args: &ConfigArgs, as_json: bool) -> Exit {
    match config::load(&Sources::from_process(args.file.clone(), Vec::new())) {
        Ok(loaded) if as_json => {
            out(&pretty(&json!({ "valid": true, "files": loaded.files, "errors": [] })));
            Exit::Ok
        }
        Ok(loaded) => {
            let files: Vec<String> = loaded.files.iter().map(|file| file.display().to_string()).collect();
            let from = if files.is_empty() { "no file, defaults only".to_owned() } else { files.join(", ") };
            out(&format!("the configuration is valid ({from})\n"));
            Exit::Ok
        }
        Err(errors) if as_json => {
            out(&pretty(&json!({ "valid": false, "errors": errors })));
            Exit::Config
        }
        Err(errors) => {
            complain_about(&errors);
            Exit::Config
        }
    }
}

pub(crate) fn default(as_json: bool) -> Exit {
    out(&if as_json { pretty(&config::Config::default()) } else { config::sample_toml() });
    Exit::Ok
}
