//! What a file says, in the host's words: families of series.

use crate::names;
use lowtide_sdk::Kind;

/// All series of one metric.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Family {
    /// A name that the host takes.
    pub(crate) name: String,
    /// Gauge or counter.
    pub(crate) kind: Kind,
    /// One sentence, if the file has one.
    pub(crate) help: Option<String>,
    /// The series, in the order of the file.
    pub(crate) series: Vec<Series>,
}

/// One series and its value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Series {
    /// Labels, sorted by key; none twice.
    pub(crate) labels: Vec<(String, String)>,
    /// Its value.
    pub(crate) value: f64,
}

impl Series {
    /// The value of a label; an empty text if it has none, which means the same in Prometheus.
    pub(crate) fn label(&self, key: &str) -> &str {
        self.labels.iter().find(|(name, _)| name == key).map_or("", |(_, value)| value.as_str())
    }
}

/// What a file gave.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Parsed {
    /// In the order of the file.
    pub(crate) families: Vec<Family>,
    /// What was ignored, in words.
    pub(crate) warnings: Vec<String>,
}

impl Parsed {
    /// Takes in one series under the names of the file.
    pub(crate) fn put(
        &mut self,
        raw_name: &str,
        kind: Kind,
        help: Option<&str>,
        raw_labels: Vec<(String, String)>,
        value: f64,
    ) -> Result<(), String> {
        let name = names::metric(raw_name, kind).ok_or_else(|| format!("{raw_name:?} is not a name"))?;
        let mut labels = Vec::with_capacity(raw_labels.len());
        for (key, value) in raw_labels {
            let key = names::label(&key).ok_or_else(|| format!("{key:?} is not a label"))?;
            labels.push((key, value));
        }
        labels.sort();
        if let Some(twice) = labels.windows(2).find_map(|pair| match pair {
            [(a, _), (b, _)] if a == b => Some(a),
            _ => None,
        }) {
            return Err(format!("{raw_name} has the label {twice} twice"));
        }
        let family = match self.families.iter_mut().position(|family| family.name == name) {
            Some(at) => self.families.get_mut(at),
            None => {
                let help = help.map(str::to_owned);
                self.families.push(Family { name, kind, help, series: Vec::new() });
                self.families.last_mut()
            }
        };
        let Some(family) = family else { return Ok(()) };
        if family.kind != kind {
            return Err(format!("{raw_name} is both a gauge and a counter"));
        }
        if family.series.iter().any(|series| series.labels == labels) {
            return Err(format!("{raw_name} is given twice with the same labels"));
        }
        family.series.push(Series { labels, value });
        Ok(())
    }
}
