//! Printing: the only place that writes to the terminal. A closed pipe (`lowtide status | head`) is not a failure.

use std::io::Write as _;

/// Writes text to stdout.
pub(crate) fn out(text: &str) {
    // Whoever closed the pipe does not want to hear about it.
    let _ = still_out(text);
}

/// Writes text to stdout; false when nobody reads it, for commands that would go on printing.
pub(crate) fn still_out(text: &str) -> bool {
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()).is_ok()
}

/// Writes one line to stderr, with the program's name before it.
pub(crate) fn complain(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "lowtide: {text}");
}

/// Writes over the line that was written last on a terminal; with an empty text, only removes it.
pub(crate) fn rewrite(text: &str) {
    let mut stderr = std::io::stderr().lock();
    // To the first column, and whatever stands there removed.
    let _ = write!(stderr, "\r\x1b[K{text}").and_then(|()| stderr.flush());
}

/// A JSON document as text with a final newline.
pub(crate) fn pretty(document: &impl serde::Serialize) -> String {
    // What is printed here are plain structs and values, which always serialise.
    serde_json::to_string_pretty(document).unwrap_or_default() + "\n"
}
