//! Reading of arguments: `--name value` and `--name`, for the harness and for its parts. It knows no names itself.

use anyhow::{Context as _, Result, bail};
use std::collections::BTreeMap;
use std::str::FromStr;

/// Arguments by name. What nobody takes is told by [`Options::done`].
#[derive(Debug, Default)]
pub(crate) struct Options {
    values: BTreeMap<String, String>,
    words: Vec<String>,
}

impl Options {
    /// Reads `arguments`; those named in `switches` have no value.
    pub(crate) fn parse(arguments: &[String], switches: &[&str]) -> Result<Self> {
        let mut options = Self::default();
        let mut rest = arguments.iter();
        while let Some(argument) = rest.next() {
            let Some(name) = argument.strip_prefix("--") else {
                options.words.push(argument.clone());
                continue;
            };
            let (name, value) = match name.split_once('=') {
                Some((name, value)) => (name, value.to_owned()),
                None if switches.contains(&name) => (name, String::new()),
                None => (name, rest.next().with_context(|| format!("--{name} needs a value"))?.clone()),
            };
            options.values.insert(name.to_owned(), value);
        }
        Ok(options)
    }

    /// Takes a switch: true when it was given.
    pub(crate) fn switch(&mut self, name: &str) -> bool {
        self.values.remove(name).is_some()
    }

    /// Takes the value of an argument.
    pub(crate) fn value<T: FromStr>(&mut self, name: &str) -> Result<Option<T>> {
        match self.values.remove(name) {
            None => Ok(None),
            Some(text) => match text.parse() {
                Ok(value) => Ok(Some(value)),
                Err(_) => bail!("--{name} does not take {text:?}"),
            },
        }
    }

    /// Takes the value of an argument that must be there.
    pub(crate) fn needed<T: FromStr>(&mut self, name: &str) -> Result<T> {
        self.value(name)?.with_context(|| format!("--{name} is needed"))
    }

    /// Takes a list, its entries apart by commas.
    pub(crate) fn list<T: FromStr>(&mut self, name: &str) -> Result<Option<Vec<T>>> {
        let Some(text) = self.values.remove(name) else { return Ok(None) };
        let entry = |word: &str| word.parse().map_err(|_| anyhow::anyhow!("--{name} does not take {word:?}"));
        text.split(',').map(entry).collect::<Result<_>>().map(Some)
    }

    /// Takes the first argument without a name.
    pub(crate) fn word(&mut self) -> Option<String> {
        (!self.words.is_empty()).then(|| self.words.remove(0))
    }

    /// Refuses what nobody took.
    pub(crate) fn done(self) -> Result<()> {
        match self.values.keys().map(|name| format!("--{name}")).chain(self.words).next() {
            Some(extra) => bail!("unknown argument {extra}; see --help"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(text: &str) -> Options {
        let words: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
        Options::parse(&words, &["quick"]).unwrap()
    }

    #[test]
    fn values_switches_lists_and_words_are_taken_once() {
        let mut given = options("spin --seconds 3 --quick --loads=15,30");
        assert_eq!(given.value::<u64>("seconds").unwrap(), Some(3));
        assert_eq!(given.value::<u64>("seconds").unwrap(), None);
        assert!(given.switch("quick") && !given.switch("json"));
        assert_eq!(given.list::<u32>("loads").unwrap(), Some(vec![15, 30]));
        assert_eq!(given.word().as_deref(), Some("spin"));
        given.done().unwrap();
    }

    #[test]
    fn what_is_unknown_or_wrong_is_refused() {
        assert!(options("--other 1").done().is_err());
        assert!(options("word").done().is_err());
        assert!(options("--seconds x").value::<u64>("seconds").is_err());
        assert!(options("").needed::<u64>("seconds").is_err());
        assert!(Options::parse(&["--seconds".to_owned()], &[]).is_err());
    }
}
