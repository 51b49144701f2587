//! The text format of Prometheus 0.0.4, as scripts write it for node_exporter.
//!
//! Histograms and summaries come apart into metrics that the host takes: see [`resolve`].

use crate::family::Parsed;
use lowtide_sdk::Kind;
use std::collections::HashMap;

/// What `# TYPE` says.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Type {
    Gauge,
    Counter,
    Histogram,
    Summary,
    Untyped,
}

/// Reads a file.
///
/// # Errors
/// At the first line that is wrong, with its number.
pub(crate) fn parse(text: &str) -> Result<Parsed, String> {
    let lines = || {
        let numbered = text.lines().enumerate().map(|(at, line)| (at + 1, line.trim()));
        numbered.filter(|(_, line)| !line.is_empty())
    };
    // Types and helps first: a script may print them behind the values.
    let (mut types, mut helps) = (HashMap::new(), HashMap::new());
    for (number, line) in lines() {
        if let Some(comment) = line.strip_prefix('#') {
            comment_line(comment, &mut types, &mut helps).map_err(|problem| at(number, problem))?;
        }
    }
    let mut parsed = Parsed::default();
    let mut timestamps = 0_usize;
    for (number, line) in lines() {
        if line.starts_with('#') {
            continue;
        }
        let sample = sample_line(line).map_err(|problem| at(number, problem))?;
        timestamps += usize::from(sample.has_timestamp);
        let (name, kind, base) = resolve(sample.name, &types);
        let help = helps.get(base.as_str()).or_else(|| helps.get(sample.name)).map(String::as_str);
        parsed.put(&name, kind, help, sample.labels, sample.value).map_err(|problem| at(number, problem))?;
    }
    if timestamps > 0 {
        parsed.warnings.push(format!("lines with a timestamp, which is ignored: {timestamps}"));
    }
    Ok(parsed)
}

fn at(line: usize, problem: String) -> String {
    format!("line {line}: {problem}")
}

fn comment_line<'a>(
    comment: &'a str,
    types: &mut HashMap<&'a str, Type>,
    helps: &mut HashMap<&'a str, String>,
) -> Result<(), String> {
    let (word, rest) = split_word(comment.trim_start());
    let (name, rest) = split_word(rest);
    match word {
        "HELP" => {
            let help = unescape(rest, false)?;
            if helps.insert(name, help).is_some() {
                return Err(format!("a second HELP for {name}"));
            }
        }
        "TYPE" => {
            let kind = match rest {
                "gauge" | "stateset" | "info" => Type::Gauge,
                "counter" => Type::Counter,
                "histogram" => Type::Histogram,
                "summary" => Type::Summary,
                "untyped" | "unknown" => Type::Untyped,
                other => return Err(format!("{other:?} is not a type")),
            };
            if types.insert(name, kind).is_some() {
                return Err(format!("a second TYPE for {name}"));
            }
        }
        _ => {}
    }
    Ok(())
}

fn split_word(text: &str) -> (&str, &str) {
    let (word, rest) = text.split_once([' ', '\t']).unwrap_or((text, ""));
    (word, rest.trim())
}

/// The name under which a sample is kept, whether it grows, and the name that its help stands under.
///
/// A histogram `x` becomes the counters `x_buckets` (label `upper_bound`), `x` (the sum) and `x_observations`; a summary the
/// gauge `x` (label `quantile`) and the same two. A name without a type is a gauge, unless it ends in `_total`.
fn resolve(name: &str, types: &HashMap<&str, Type>) -> (String, Kind, String) {
    let same = |kind| (name.to_owned(), kind, name.to_owned());
    match types.get(name) {
        Some(Type::Gauge | Type::Summary) => return same(Kind::Gauge),
        Some(Type::Counter) => return same(Kind::Counter),
        Some(Type::Histogram | Type::Untyped) | None => {}
    }
    for (suffix, instead) in [("_bucket", "_buckets"), ("_sum", ""), ("_count", "_observations")] {
        let Some(base) = name.strip_suffix(suffix) else { continue };
        let parts = match types.get(base) {
            Some(Type::Histogram) => true,
            Some(Type::Summary) => suffix != "_bucket",
            _ => false,
        };
        if parts {
            return (format!("{base}{instead}"), Kind::Counter, base.to_owned());
        }
    }
    if let Some(base) = name.strip_suffix("_total")
        && (types.get(base) == Some(&Type::Counter) || !types.contains_key(name))
    {
        return (name.to_owned(), Kind::Counter, base.to_owned());
    }
    same(Kind::Gauge)
}

struct Sample<'a> {
    name: &'a str,
    labels: Vec<(String, String)>,
    value: f64,
    has_timestamp: bool,
}

fn sample_line(line: &str) -> Result<Sample<'_>, String> {
    let end = line.find(|c: char| c == '{' || c.is_ascii_whitespace()).unwrap_or(line.len());
    let (name, rest) = line.split_at(end);
    let sound = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == ':')
        && name.starts_with(|c: char| !c.is_ascii_digit());
    if !sound {
        return Err(format!("{name:?} is not a metric's name"));
    }
    let rest = rest.trim_start();
    let (labels, rest) = match rest.strip_prefix('{') {
        Some(rest) => labels(rest)?,
        None => (Vec::new(), rest),
    };
    let mut words = rest.split_ascii_whitespace();
    let value = words.next().ok_or("there is no value")?;
    let value = value.parse().map_err(|_| format!("{value:?} is not a number"))?;
    let has_timestamp = match words.next() {
        None => false,
        Some(word) if word.parse::<f64>().is_ok() => true,
        Some(word) => return Err(format!("{word:?} stands where only a timestamp may")),
    };
    match words.next() {
        Some(word) => Err(format!("{word:?} stands behind the timestamp")),
        None => Ok(Sample { name, labels, value, has_timestamp }),
    }
}

type Labels = Vec<(String, String)>;

/// What stands between the braces, and what comes behind them.
fn labels(mut rest: &str) -> Result<(Labels, &str), String> {
    let mut labels = Vec::new();
    loop {
        rest = rest.trim_start();
        if let Some(rest) = rest.strip_prefix('}') {
            return Ok((labels, rest));
        }
        let (key, behind) = rest.split_once('=').ok_or("a label has no =, or a brace is not closed")?;
        let key = key.trim();
        let sound = key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
            && key.starts_with(|c: char| !c.is_ascii_digit());
        if !sound {
            return Err(format!("{key:?} is not a label"));
        }
        let quoted = behind.trim_start();
        let quoted =
            quoted.strip_prefix('"').ok_or_else(|| format!("the label {key} has no quoted value"))?;
        let end =
            closing_quote(quoted).ok_or_else(|| format!("the value of the label {key} does not end"))?;
        let (value, behind) = quoted.split_at(end);
        labels.push((key.to_owned(), unescape(value, true)?));
        rest = behind.strip_prefix('"').unwrap_or(behind).trim_start();
        match rest.strip_prefix(',') {
            Some(behind) => rest = behind,
            None if rest.starts_with('}') => {}
            None => return Err(format!("behind the label {key} there is neither a comma nor a brace")),
        }
    }
}

fn closing_quote(text: &str) -> Option<usize> {
    let mut escaped = false;
    text.bytes().position(|byte| match byte {
        _ if escaped => {
            escaped = false;
            false
        }
        b'\\' => {
            escaped = true;
            false
        }
        byte => byte == b'"',
    })
}

/// `\\` and `\n`, in labels also `\"`. What else stands behind a backslash is an error in labels and stays as it is in helps.
fn unescape(text: &str, in_label: bool) -> Result<String, String> {
    let mut out = String::with_capacity(text.len());
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        if character != '\\' {
            out.push(character);
            continue;
        }
        match characters.next() {
            Some('\\') => out.push('\\'),
            Some('n') => out.push('\n'),
            Some('"') if in_label => out.push('"'),
            other if in_label => {
                return Err(format!("\\{} is not an escape", other.map(String::from).unwrap_or_default()));
            }
            other => {
                out.push('\\');
                out.extend(other);
            }
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flat(text: &str) -> Vec<String> {
        let parsed = parse(text).unwrap();
        let series = |family: &crate::family::Family| {
            let line = |series: &crate::family::Series| {
                let labels: Vec<_> =
                    series.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
                let kind = if family.kind == Kind::Counter { "Counter" } else { "Gauge" };
                format!("{kind} {}{{{}}} {}", family.name, labels.join(","), series.value)
            };
            family.series.iter().map(line).collect::<Vec<_>>()
        };
        parsed.families.iter().flat_map(series).collect()
    }

    #[test]
    fn lines_are_read() {
        for (text, wanted) in [
            ("a 1", &["Gauge a{} 1"][..]),
            ("  a\t1.5e3  \n\n# a remark\n#\n", &["Gauge a{} 1500"]),
            ("a{} 1", &["Gauge a{} 1"]),
            ("a{b=\"c\"} 1", &["Gauge a{b=c} 1"]),
            ("a { z = \"1\" , b = \"2\" , } 1", &["Gauge a{b=2,z=1} 1"]),
            ("a{b=\"x\\\\y\\\"}\\n,\"} 1", &["Gauge a{b=x\\y\"}\n,} 1"]),
            ("a{b=\"ä }\"} -0.5 1395066363000", &["Gauge a{b=ä }} -0.5"]),
            ("a +Inf\nb NaN\nc -Inf", &["Gauge a{} inf", "Gauge b{} NaN", "Gauge c{} -inf"]),
            ("a{b=\"1\"} 1\nc 2\na{b=\"2\"} 3", &["Gauge a{b=1} 1", "Gauge a{b=2} 3", "Gauge c{} 2"]),
            ("# TYPE a counter\na 1", &["Counter a_total{} 1"]),
            ("# TYPE a_total counter\na_total 1", &["Counter a_total{} 1"]),
            ("# TYPE a counter\na_total 1\n# EOF", &["Counter a_total{} 1"]),
            ("a_total 1", &["Counter a_total{} 1"]),
            ("# TYPE a_total gauge\na_total 1", &["Gauge a_total_value{} 1"]),
            ("# TYPE a untyped\na 1", &["Gauge a{} 1"]),
            ("a_count 1", &["Gauge a_count_value{} 1"]),
            ("Job:Rate{le=\"1\"} 1", &["Gauge job_rate{upper_bound=1} 1"]),
            (
                "a_seconds_bucket{le=\"0.1\"} 2\na_seconds_bucket{le=\"+Inf\"} 3\na_seconds_sum 0.7\na_seconds_count 3\n# TYPE a_seconds histogram",
                &[
                    "Counter a_seconds_buckets_total{upper_bound=0.1} 2",
                    "Counter a_seconds_buckets_total{upper_bound=+Inf} 3",
                    "Counter a_seconds_total{} 0.7",
                    "Counter a_seconds_observations_total{} 3",
                ],
            ),
            (
                "# TYPE a summary\na{quantile=\"0.5\"} 2\na_sum 9\na_count 4",
                &["Gauge a{quantile=0.5} 2", "Counter a_total{} 9", "Counter a_observations_total{} 4"],
            ),
            ("", &[]),
        ] {
            assert_eq!(flat(text), wanted, "{text}");
        }
    }

    #[test]
    fn helps_belong_to_their_metric() {
        let text = "# HELP a What it \\\\ is.\\n And \\t so on.\n# HELP h Times.\n# TYPE h histogram\na 1\nh_count 1\nb 1";
        let helps: Vec<_> = parse(text).unwrap().families.into_iter().map(|family| family.help).collect();
        let wanted = [Some("What it \\ is.\n And \\t so on.".to_owned()), Some("Times.".to_owned()), None];
        assert_eq!(helps, wanted);
    }

    #[test]
    fn timestamps_are_told() {
        assert_eq!(
            parse("a 1 2\nb 1 3\nc 1").unwrap().warnings,
            ["lines with a timestamp, which is ignored: 2"]
        );
    }

    #[test]
    fn the_first_broken_line_is_named() {
        for (text, wanted) in [
            ("a 1\nb", "line 2: there is no value"),
            ("a x", "line 1: \"x\" is not a number"),
            ("a 1 2 3", "line 1: \"3\" stands behind the timestamp"),
            ("a 1 # so", "line 1: \"#\" stands where only a timestamp may"),
            ("5a 1", "line 1: \"5a\" is not a metric's name"),
            ("a-b 1", "line 1: \"a-b\" is not a metric's name"),
            ("{\"a\"} 1", "line 1: \"\" is not a metric's name"),
            ("a{b} 1", "line 1: a label has no =, or a brace is not closed"),
            ("a{b=c} 1", "line 1: the label b has no quoted value"),
            ("a{b=\"c} 1", "line 1: the value of the label b does not end"),
            ("a{b=\"c\" d=\"e\"} 1", "line 1: behind the label b there is neither a comma nor a brace"),
            ("a{b=\"\\t\"} 1", "line 1: \\t is not an escape"),
            ("a{5=\"\"} 1", "line 1: \"5\" is not a label"),
            ("a{b=\"1\",B=\"2\"} 1", "line 1: a has the label b twice"),
            ("a 1\n\na 2", "line 3: a is given twice with the same labels"),
            ("# TYPE a gauge\n# TYPE a gauge", "line 2: a second TYPE for a"),
            ("# HELP a x\n# HELP a y", "line 2: a second HELP for a"),
            ("# TYPE a gaugé", "line 1: \"gaugé\" is not a type"),
        ] {
            assert_eq!(parse(text).unwrap_err(), wanted, "{text}");
        }
    }
}
