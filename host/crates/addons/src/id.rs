//! The id of an addon: its name in files, paths, metrics and answers.

use crate::limits::ID_BYTES_MAX;
use std::fmt;
use std::sync::Arc;

/// `[a-z0-9][a-z0-9-]{0,63}`. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AddonId(Arc<str>);

/// The text is not an id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not an addon id: it must be 1 to 64 lower-case letters, digits and hyphens, and not begin with a hyphen"
)]
pub struct IdError(pub String);

impl AddonId {
    /// Takes a text as an id.
    ///
    /// # Errors
    /// When it breaks the rule.
    pub fn new(text: &str) -> Result<Self, IdError> {
        let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        let sound = !text.is_empty()
            && text.len() <= ID_BYTES_MAX
            && !text.starts_with('-')
            && text.chars().all(allowed);
        if sound { Ok(Self(text.into())) } else { Err(IdError(text.chars().take(80).collect())) }
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What the host puts before the names of this addon's metrics, for example `addon_my_app_`.
    #[must_use]
    pub fn metric_prefix(&self) -> String {
        format!("addon_{}_", self.0.replace('-', "_"))
    }
}

impl fmt::Display for AddonId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_short_lower_case_words() {
        for good in ["a", "0", "my-app", &"a".repeat(64)] {
            assert_eq!(AddonId::new(good).unwrap().as_str(), good);
        }
        for bad in ["", "-a", "A", "a_b", "a/b", "..", "a.b", "ä", "a b", &"a".repeat(65)] {
            assert!(AddonId::new(bad).is_err(), "{bad}");
        }
    }
}
