//! Compares what an addon imports and asks for with what the operator granted, before anything of it is compiled or run.
//!
//! It decides and words; it holds nothing back by itself. Whoever loads an addon calls it, and so does `lowtide addon check`.

use crate::capabilities::Capabilities;
use crate::id::AddonId;
use crate::inspect::{Import, Inspection};

/// Why an addon may not be loaded yet.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GrantError {
    /// It imports what its own manifest does not ask for: the author's mistake.
    #[error(
        "imports lowtide:addon/{import}, but addon.toml does not ask for it: add {line} under [asks], or stop importing it (in Python and JavaScript: remove it from wit/world.wit)"
    )]
    ImportNotAsked {
        /// The interface.
        import: &'static str,
        /// The line that asks for it.
        line: &'static str,
    },
    /// It asks for more than the operator granted: the operator's decision.
    #[error(
        "asks for more than it is granted: if you trust it, put this under [addon.{id}.grants] in the configuration, with what stands there already, and send the daemon SIGHUP:\n{}",
        lines.join("\n")
    )]
    NotGranted {
        /// The addon.
        id: AddonId,
        /// The missing lines of configuration.
        lines: Vec<String>,
    },
}

impl GrantError {
    /// The stable name of this error in the log and the API.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::ImportNotAsked { .. } => "import_not_asked",
            Self::NotGranted { .. } => "not_granted",
        }
    }
}

/// Checks that every import that needs a capability is asked for in the manifest, and that all that is asked for is granted.
///
/// # Errors
/// The first import that is not asked for; else everything that is not granted, together.
pub fn ungranted(
    id: &AddonId,
    inspection: &Inspection,
    asks: &Capabilities,
    granted: &Capabilities,
) -> Result<(), GrantError> {
    for import in &inspection.imports {
        if let Some(line) = line_to_ask(*import, asks) {
            return Err(GrantError::ImportNotAsked { import: import.name(), line });
        }
    }
    let lines = asks.beyond(granted);
    if lines.is_empty() { Ok(()) } else { Err(GrantError::NotGranted { id: id.clone(), lines }) }
}

/// The line that the manifest lacks for this import; none if the import needs no capability or is asked for.
fn line_to_ask(import: Import, asks: &Capabilities) -> Option<&'static str> {
    let (asked, line) = match import {
        Import::Metrics | Import::System | Import::Log | Import::Config => return None,
        Import::Kv => (asks.kv, "kv = true"),
        Import::Leases => (asks.leases.is_some(), "leases = { max_units = 10 }"),
        Import::Http => (!asks.http.is_empty(), "http = [\"GET http://127.0.0.1:8096\"] (with your origin)"),
        Import::HostData => {
            (!asks.host_data.is_empty(), "host_data = [\"/sys/class/hwmon\"] (with your path)")
        }
    };
    (!asked).then_some(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(imports: &[Import], asks: &str, granted: &str) -> Result<(), GrantError> {
        let inspection = Inspection { imports: imports.iter().copied().collect(), ..Inspection::default() };
        ungranted(
            &AddonId::new("nas").unwrap(),
            &inspection,
            &toml::from_str(asks).unwrap(),
            &toml::from_str(granted).unwrap(),
        )
    }

    #[test]
    fn what_needs_no_capability_needs_no_grant() {
        assert_eq!(check(&[Import::Metrics, Import::System, Import::Log, Import::Config], "", ""), Ok(()));
    }

    #[test]
    fn an_import_that_is_not_asked_for_is_named_even_if_it_is_granted() {
        for (import, name) in [
            (Import::Kv, "kv"),
            (Import::Leases, "leases"),
            (Import::Http, "http"),
            (Import::HostData, "host-data"),
        ] {
            let all =
                "kv = true\nleases = { max_units = 100 }\nhttp = [\"GET http://a\"]\nhost_data = [\"/sys\"]";
            let error = check(&[import], "", all).unwrap_err();
            assert_eq!(error.code(), "import_not_asked");
            assert!(error.to_string().starts_with(&format!("imports lowtide:addon/{name}, but")), "{error}");
            assert_eq!(check(&[import], all, all), Ok(()));
        }
    }

    #[test]
    fn what_is_asked_and_not_granted_is_told_as_lines_to_paste() {
        let error = check(&[Import::Kv], "kv = true\nhttp = [\"GET http://a:1\"]", "").unwrap_err();
        assert_eq!(error.code(), "not_granted");
        let text = error.to_string();
        assert!(text.contains("[addon.nas.grants]"), "{text}");
        assert!(text.ends_with("kv = true\nhttp = [\"GET http://a:1\"]"), "{text}");
    }

    #[test]
    fn asking_is_held_even_for_what_is_not_imported() {
        assert_eq!(check(&[], "kv = true", "").unwrap_err().code(), "not_granted");
    }

    #[test]
    fn grants_beyond_what_is_asked_are_no_error() {
        assert_eq!(check(&[], "", "kv = true"), Ok(()));
    }
}
