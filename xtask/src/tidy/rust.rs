//! Rules for one Rust file: its header, its log and error texts, no ignored tests, no sleeps, no unlisted notes.

use super::exceptions;
pub(super) use super::source::Scan;
use super::{File, Finding};

/// Macros whose message is read by people in a log or as an error.
const MESSAGE_MACROS: [&str; 7] = ["trace!", "debug!", "info!", "warn!", "error!", "bail!", "anyhow!"];

pub(super) fn check(file: &File) -> Vec<Finding> {
    let scan = Scan::new(&file.text);
    let mut found = Vec::new();
    found.extend(header(file));
    for (line, text) in messages(&scan) {
        if let Some(problem) = message_problem(&text) {
            let advice =
                format!("{problem}: {text:?}; log and error texts are lower-case and have no full stop");
            found.push(Finding::new(&file.path, line, "message", advice));
        }
    }
    for line in matches(&scan, &scan.code, "#[ignore") {
        let advice = "an ignored test rots: make it quick, or move it to the soak suite";
        found.push(Finding::new(&file.path, line, "ignore", advice));
    }
    if !exceptions::SLEEPERS.iter().any(|(path, _)| *path == file.path) {
        for line in sleeps(&scan) {
            let advice = "wait for a condition with a deadline, or list the file with a reason in xtask/src/tidy/exceptions.rs";
            found.push(Finding::new(&file.path, line, "sleep", advice));
        }
    }
    if !exceptions::UNSAFE.iter().any(|(path, _)| *path == file.path) {
        for line in allows_unsafe(&scan) {
            let advice =
                "say it in safe Rust, or list the file with a reason in xtask/src/tidy/exceptions.rs";
            found.push(Finding::new(&file.path, line, "unsafe", advice));
        }
    }
    if !exceptions::UNFINISHED.iter().any(|(path, _)| *path == file.path) {
        for (at, line) in scan.comments.lines().enumerate() {
            if super::documents::is_unfinished(line) {
                let advice = "finish it, or file it as an issue and say what holds now";
                found.push(Finding::new(&file.path, at + 1, "unfinished", advice));
            }
        }
    }
    found
}

fn header(file: &File) -> Option<Finding> {
    let first = file.text.lines().next().and_then(|line| line.strip_prefix("//!")).unwrap_or_default();
    // A placeholder of a word or two says nothing.
    (first.split_whitespace().count() < 3).then(|| {
        let advice = "begin the file with `//!`: what it does, what it must not do, who calls it";
        Finding::new(&file.path, 1, "header", advice)
    })
}

/// Lines with a call of a function named `sleep`.
pub(super) fn sleeps(scan: &Scan) -> Vec<usize> {
    matches(scan, &scan.code, "sleep(")
}

/// Lines that name the lint `unsafe_code`, which only who allows it does.
pub(super) fn allows_unsafe(scan: &Scan) -> Vec<usize> {
    matches(scan, &scan.code, "unsafe_code")
}

/// Lines where `word` stands in `text` and is not the end of a longer word.
fn matches(scan: &Scan, text: &str, word: &str) -> Vec<usize> {
    text.match_indices(word)
        .filter(|(at, _)| !text.get(..*at).is_some_and(|before| before.ends_with(is_word)))
        .map(|(at, _)| scan.line(at))
        .collect()
}

fn is_word(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

/// Line and text of every message: the first literal of a message macro that is not the value of a field, and the text of
/// `#[error(...)]`.
fn messages(scan: &Scan) -> Vec<(usize, String)> {
    let starts = MESSAGE_MACROS.iter().chain(&["#[error"]).flat_map(|name| {
        scan.code.match_indices(name).filter_map(|(at, _)| {
            let inside_word = scan.code.get(..at).is_some_and(|before| before.ends_with(is_word));
            let open = at + name.len();
            (!inside_word && scan.code.get(open..)?.starts_with('(')).then_some(open + 1)
        })
    });
    let mut found: Vec<_> = starts.filter_map(|open| message(scan, open)).collect();
    found.sort();
    found
}

/// The message among the arguments that begin at `open`: a literal that directly follows the parenthesis or a comma.
fn message(scan: &Scan, open: usize) -> Option<(usize, String)> {
    let close = open + closing(scan.code.get(open..)?);
    let inside = scan.literals.iter().filter(|literal| literal.at >= open && literal.at < close);
    inside.into_iter().find_map(|literal| {
        let before = scan.code.get(open..literal.at)?;
        let alone = before.trim_end().is_empty() || before.trim_end().ends_with(',');
        (alone && depth(before) == 0).then(|| (scan.line(literal.at), literal.text.clone()))
    })
}

fn depth(code: &str) -> i32 {
    code.chars().fold(0, |depth, character| match character {
        '(' | '[' | '{' => depth + 1,
        ')' | ']' | '}' => depth - 1,
        _ => depth,
    })
}

fn closing(code: &str) -> usize {
    let mut depth = 1;
    for (at, character) in code.char_indices() {
        match character {
            '(' => depth += 1,
            ')' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return at;
        }
    }
    code.len()
}

fn message_problem(text: &str) -> Option<&'static str> {
    let mut characters = text.chars();
    let first = characters.next()?;
    // A second capital means a name that is written so everywhere: PSI, HTTP, SQLite.
    let name = characters.next().is_none_or(|second| !second.is_lowercase());
    if first.is_uppercase() && !name {
        return Some("starts with a capital");
    }
    (text.ends_with('.') && !text.ends_with("...")).then_some("ends with a full stop")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(path: &str, text: &str) -> Vec<(usize, &'static str)> {
        let file = File { path: path.to_owned(), text: text.to_owned() };
        check(&file).into_iter().map(|finding| (finding.line, finding.rule)).collect()
    }

    const HEADER: &str = "//! A file for a test.\n";

    #[test]
    fn a_header_is_needed_and_must_say_something() {
        assert_eq!(rules("a.rs", "fn main() {}\n"), [(1, "header")]);
        assert_eq!(rules("a.rs", ""), [(1, "header")]);
        assert_eq!(rules("a.rs", "//! x\n"), [(1, "header")]);
        assert!(rules("a.rs", HEADER).is_empty());
    }

    #[test]
    fn log_and_error_texts_are_lower_case_without_full_stop() {
        let bad = "fn f() {\n    warn!(addon = %id, \"Trapped\");\n    tracing::error!(\n        a = \"Fine.\",\n        \"gone.\"\n    );\n    bail!(\"No {x}\");\n}\n#[error(\"Cannot read\")]\n";
        assert_eq!(
            rules("a.rs", &format!("{HEADER}{bad}")),
            [(3, "message"), (6, "message"), (8, "message"), (10, "message")]
        );
        let good = "fn f() {\n    info!(\"PSI is off\");\n    debug!(target: \"X\", a = \"B.\", path = f(\"C.\"), \"kept {x}\");\n    print_error!(\"Yes.\");\n    // warn!(\"No.\")\n}\n#[error(\"{0}: not a number\")]\n";
        assert!(rules("a.rs", &format!("{HEADER}{good}")).is_empty());
    }

    #[test]
    fn ignored_tests_sleeps_and_notes_are_found_in_code_and_comments_only() {
        let bad = "#[ignore]\nfn f() { std::thread::sleep(x); } // TODO later\n";
        assert_eq!(
            rules("a.rs", &format!("{HEADER}{bad}")),
            [(2, "ignore"), (3, "sleep"), (3, "unfinished")]
        );
        let allows = "#[expect(unsafe_code, reason = \"quick\")]\nfn f() {}\n";
        assert_eq!(rules("a.rs", &format!("{HEADER}{allows}")), [(2, "unsafe")]);
        let good = "fn f() { tokio::time::sleep_until(x); no_sleep(); let t = \"sleep( TODO #[ignore]\"; }\n// to do: nothing; sleep( in words\n";
        assert!(rules("a.rs", &format!("{HEADER}{good}")).is_empty());
    }
}
