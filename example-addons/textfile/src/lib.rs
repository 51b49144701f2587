//! Metrics from the files that scripts write into a folder: `*.prom` in the text format of Prometheus, as for node_exporter's
//! textfile collector, and `*.json`.
//!
//! Every collection reads all files anew. A file that is broken gives nothing and does not disturb the others.

mod family;
mod json;
mod names;
mod prometheus;

use family::{Parsed, Series};
use lowtide_sdk::host_data::EntryKind;
use lowtide_sdk::metrics;
use lowtide_sdk::{Collector, Description, Failure, Kind, Metric, Sample, Unit};
use lowtide_sdk::{config, host_data, sample, warn};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

const FOLDER_DEFAULT: &str = "/var/lib/node_exporter/textfile_collector";

/// The addon.
#[derive(Debug, Default)]
struct Textfile {
    /// What was declared for the files' metrics, by name. It holds as long as the instance lives.
    declared: HashMap<String, Declared>,
    /// What was told of each file last: a problem is a line in the log once, not at every collection.
    told: HashMap<String, Vec<String>>,
}

#[derive(Debug)]
struct Declared {
    kind: Kind,
    labels: Vec<String>,
}

/// A file of the folder and what is in it.
struct File {
    name: String,
    modified_ms: u64,
    parsed: Parsed,
    problems: Vec<String>,
}

impl Collector for Textfile {
    fn describe() -> Description {
        Description::new("Metrics from the .prom and .json files that scripts write into a folder.")
            .metric(Metric::gauge("files", Unit::Count, "Files of the folder that were looked at."))
            .metric(
                Metric::gauge(
                    "file_modified_seconds",
                    Unit::Seconds,
                    "When the file was last changed, in seconds since 1970.",
                )
                .labels(["file"]),
            )
            .metric(
                Metric::gauge(
                    "file_problems",
                    Unit::Count,
                    "What is wrong with the file at present, 0 if nothing is; the log says what.",
                )
                .labels(["file"]),
            )
    }

    fn collect(&mut self) -> Result<Vec<Sample>, Failure> {
        let folder = config::optional::<String>("folder")?.unwrap_or_else(|| FOLDER_DEFAULT.to_owned());
        let mut files = read_all(folder.trim_end_matches('/'))?;
        self.declare_all(&mut files);
        let mut samples = vec![sample("files", (), files.len() as f64)];
        let mut given = HashSet::new();
        for file in &mut files {
            self.samples_of(file, &mut given, &mut samples);
        }
        for file in &files {
            let modified = file.modified_ms as f64 / 1_000.0;
            samples.push(sample("file_modified_seconds", [file.name.as_str()], modified));
            samples.push(sample("file_problems", [file.name.as_str()], file.problems.len() as f64));
        }
        self.tell(files);
        Ok(samples)
    }
}

/// Reads every file of the folder that is ours to read.
fn read_all(folder: &str) -> Result<Vec<File>, Failure> {
    let entries = host_data::list_directory(folder)?;
    let ours = |name: &str| {
        // Scripts write under another name and rename; what begins with a dot is not finished.
        !name.starts_with('.') && (name.ends_with(".prom") || name.ends_with(".json"))
    };
    let ours = entries.into_iter().filter(|entry| entry.kind == EntryKind::File && ours(&entry.name));
    Ok(ours.filter_map(|entry| read(folder, entry.name)).collect())
}

/// Reads a file; none if it went in the meantime.
fn read(folder: &str, name: String) -> Option<File> {
    let path = format!("{folder}/{name}");
    let look = || {
        let modified_ms = host_data::stat(&path)?.modified;
        Ok::<_, host_data::DataError>((modified_ms, host_data::read_to_string(&path)?))
    };
    let (modified_ms, parsed) = match look() {
        Ok((modified_ms, text)) if name.ends_with(".json") => (modified_ms, json::parse(&text)),
        Ok((modified_ms, text)) => (modified_ms, prometheus::parse(&text)),
        Err(error) if error.is_not_found() => return None,
        Err(error) => (0, Err(error.kind.to_string())),
    };
    let (parsed, problems) = match parsed {
        Ok(parsed) => (parsed, Vec::new()),
        Err(problem) => (Parsed::default(), vec![problem]),
    };
    Some(File { name, modified_ms, parsed, problems })
}

impl Textfile {
    /// Declares what was not declared yet, each metric with the labels of all its series in all files.
    fn declare_all(&mut self, files: &mut [File]) {
        let mut labels: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for family in files.iter().flat_map(|file| &file.parsed.families) {
            let keys = family.series.iter().flat_map(|series| &series.labels).map(|(key, _)| key.as_str());
            labels.entry(&family.name).or_default().extend(keys);
        }
        let labels: HashMap<String, Vec<String>> = labels
            .into_iter()
            .map(|(name, keys)| (name.to_owned(), keys.into_iter().map(str::to_owned).collect()))
            .collect();
        for file in files {
            for family in &file.parsed.families {
                if self.declared.contains_key(&family.name) {
                    continue;
                }
                let labels = labels.get(&family.name).cloned().unwrap_or_default();
                let help = match family.help.as_deref().map(str::trim) {
                    Some(help) if !help.is_empty() => shortened(help),
                    _ => format!("From the file {}.", file.name),
                };
                let unit = names::unit(&family.name);
                let metric = match family.kind {
                    Kind::Counter => Metric::counter(family.name.as_str(), unit, help),
                    _ => Metric::gauge(family.name.as_str(), unit, help),
                };
                match metrics::declare(&metric.labels(labels.as_slice())) {
                    Ok(()) => {
                        let declared = Declared { kind: family.kind, labels };
                        self.declared.insert(family.name.clone(), declared);
                    }
                    Err(error) => file.problems.push(error.to_string()),
                }
            }
        }
    }

    /// The samples of a file. What another file gave already, or does not fit to what was declared, is a problem of this file.
    fn samples_of(
        &self,
        file: &mut File,
        given: &mut HashSet<(String, Vec<String>)>,
        samples: &mut Vec<Sample>,
    ) {
        for family in &file.parsed.families {
            let Some(declared) = self.declared.get(&family.name) else { continue };
            if declared.kind != family.kind {
                let text = format!("{} is a gauge in one file and a counter in another", family.name);
                file.problems.push(text);
                continue;
            }
            for series in &family.series {
                if let Some(new) = unknown_label(series, &declared.labels) {
                    let text = format!(
                        "{} has the new label {new}, which is shown once the addon is loaded anew",
                        family.name
                    );
                    file.problems.push(text);
                    break;
                }
                let labels: Vec<String> =
                    declared.labels.iter().map(|key| series.label(key).to_owned()).collect();
                if !given.insert((family.name.clone(), labels.clone())) {
                    let text = format!("{} is given by another file with the same labels", family.name);
                    file.problems.push(text);
                    continue;
                }
                samples.push(sample(family.name.as_str(), labels, series.value));
            }
        }
    }

    /// Writes a line for what is new.
    fn tell(&mut self, files: Vec<File>) {
        let told = std::mem::take(&mut self.told);
        for mut file in files {
            let mut lines = file.problems;
            lines.append(&mut file.parsed.warnings);
            for line in &lines {
                if !told.get(&file.name).is_some_and(|told| told.contains(line)) {
                    warn!("{}: {line}", file.name);
                }
            }
            self.told.insert(file.name, lines);
        }
    }
}

fn unknown_label<'a>(series: &'a Series, known: &[String]) -> Option<&'a str> {
    let unknown = series.labels.iter().find(|(key, value)| !value.is_empty() && !known.contains(key));
    unknown.map(|(key, _)| key.as_str())
}

/// The longest beginning of a help that the host takes.
fn shortened(help: &str) -> String {
    const BYTES_MAX: usize = 512;
    let mut end = BYTES_MAX.min(help.len());
    while !help.is_char_boundary(end) {
        end -= 1;
    }
    help.get(..end).unwrap_or_default().to_owned()
}

lowtide_sdk::addon!(Textfile: Collector);

#[cfg(test)]
mod tests {
    use super::*;
    use lowtide_sdk::testing::FakeHost;

    const APT: &str = "# HELP apt_upgrades_pending Apt packages pending updates by origin.\n\
                       # TYPE apt_upgrades_pending gauge\n\
                       apt_upgrades_pending{origin=\"Debian:13/stable\",arch=\"amd64\"} 3\n\
                       node_reboot_required 1\n";

    fn host() -> FakeHost {
        FakeHost::new().id("textfile").config("folder", "/srv/text/").directory("/srv/text")
    }

    #[test]
    fn scripts_of_node_exporter_work_unchanged() {
        let mut host = host().file("/srv/text/apt.prom", APT).modified("/srv/text/apt.prom", 1_500);
        let report = host.collect::<Textfile>();
        report.assert_ok();
        assert_eq!(report.value("apt_upgrades_pending", &["amd64", "Debian:13/stable"]), Some(3.0));
        assert_eq!(report.value("node_reboot_required", &[]), Some(1.0));
        assert_eq!(report.value("file_modified_seconds", &["apt.prom"]), Some(1.5));
        assert_eq!(report.value("file_problems", &["apt.prom"]), Some(0.0));
        assert_eq!(report.value("files", &[]), Some(1.0));
    }

    #[test]
    fn series_with_and_without_a_label_share_a_metric() {
        let host = host().file("/srv/text/a.prom", "x{a=\"1\"} 1\nx 2");
        let mut host = host.file("/srv/text/b.json", r#"[{"name": "x", "value": 3, "labels": {"b": "2"}}]"#);
        let report = host.collect::<Textfile>();
        report.assert_ok();
        assert_eq!(report.value("x", &["1", ""]), Some(1.0));
        assert_eq!(report.value("x", &["", ""]), Some(2.0));
        assert_eq!(report.value("x", &["", "2"]), Some(3.0));
    }

    #[test]
    fn a_broken_file_does_not_stop_the_others_and_is_told_once() {
        let mut host = host().file("/srv/text/bad.prom", "a 1\nb").file("/srv/text/good.json", "{\"c\": 1}");
        let report = host.collect::<Textfile>();
        report.assert_ok();
        assert_eq!((report.value("a", &[]), report.value("c", &[])), (None, Some(1.0)));
        assert_eq!(report.value("file_problems", &["bad.prom"]), Some(1.0));
        assert!(report.logged("bad.prom: line 2: there is no value"));
        assert!(host.collect::<Textfile>().logs.is_empty());

        let mut host = host.file("/srv/text/bad.prom", "a 1 12345\nb 2");
        let report = host.collect::<Textfile>();
        assert_eq!(report.value("a", &[]), Some(1.0));
        assert_eq!(report.value("file_problems", &["bad.prom"]), Some(0.0));
        assert!(report.logged("lines with a timestamp, which is ignored: 1"));
    }

    #[test]
    fn what_does_not_fit_together_is_a_problem_of_the_later_file() {
        let text = "# TYPE a gauge\na 1\n# TYPE x counter\nx 1\nfiles{n=\"1\"} 1";
        let host = host().file("/srv/text/a.prom", text);
        let mut host = host.file("/srv/text/b.prom", "a 2\n# TYPE x_total counter\nx_total{n=\"1\"} 2");
        let report = host.collect::<Textfile>();
        assert_eq!(report.value("a", &[]), Some(1.0));
        assert_eq!(report.value("x_total", &["1"]), Some(2.0));
        assert_eq!(report.value("file_problems", &["a.prom"]), Some(1.0), "`files` is the addon's own");
        assert_eq!(report.value("file_problems", &["b.prom"]), Some(1.0));
        assert!(report.logged("b.prom: a is given by another file with the same labels"));
    }

    #[test]
    fn a_label_that_comes_later_waits_for_a_new_instance() {
        let mut host = host().file("/srv/text/a.prom", "x 1\ny 1");
        host.collect::<Textfile>().assert_ok();
        let mut host = host.file("/srv/text/a.prom", "x{a=\"1\"} 1\ny 2\n# TYPE z gauge\nz 3");
        let report = host.collect::<Textfile>();
        report.assert_ok();
        assert_eq!((report.value("y", &[]), report.value("z", &[])), (Some(2.0), Some(3.0)));
        assert_eq!(report.value("file_problems", &["a.prom"]), Some(1.0));
        assert!(report.logged("x has the new label a"));
        let report = host.restart().collect::<Textfile>();
        assert_eq!(report.value("x", &["1"]), Some(1.0));
    }

    #[test]
    fn other_files_are_left_alone() {
        let host = host().file("/srv/text/.half.prom", "a").file("/srv/text/a.prom.tmp", "a");
        let mut host = host.file("/srv/text/d.prom/x", "a");
        assert_eq!(host.collect::<Textfile>().samples(), [sample("files", (), 0.0)]);
    }

    #[test]
    fn a_file_that_cannot_be_read_is_a_problem_and_a_folder_is_a_failure() {
        let mut host = host().unreadable_file("/srv/text/a.prom", "permission denied");
        let report = host.collect::<Textfile>();
        assert_eq!(report.value("file_problems", &["a.prom"]), Some(1.0));
        assert!(report.logged("a.prom: cannot be read: permission denied"));

        let failure = |mut host: FakeHost| host.collect::<Textfile>().answer.unwrap_err();
        assert!(
            matches!(failure(FakeHost::new()), Failure::Absent(text) if text.starts_with(FOLDER_DEFAULT))
        );
        assert!(matches!(failure(self::host().deny("/srv")), Failure::Denied(_)));
        assert!(matches!(failure(self::host().config("folder", 5)), Failure::Config(_)));
    }

    #[test]
    fn helps_are_cut_between_characters() {
        assert_eq!(shortened(&"ä".repeat(300)).len(), 512);
        assert_eq!(shortened(&format!("a{}", "ä".repeat(300))).len(), 511);
    }
}
