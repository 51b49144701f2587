//! Splits Rust source into code, comments and string literals, just well enough for line rules: so that a rule about code does
//! not trip over a comment that speaks of it. It does not parse.

/// A string literal: where it begins in the source and what stands between its quotes, escapes left as they are.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Literal {
    pub(super) at: usize,
    pub(super) text: String,
}

/// The parts of one source file. `code` and `comments` have the length of the source, with spaces for what belongs to another
/// part, so that offsets and line numbers stay right.
pub(super) struct Scan {
    pub(super) code: String,
    pub(super) comments: String,
    pub(super) literals: Vec<Literal>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Code,
    Comment,
    Text,
}

impl Scan {
    pub(super) fn new(source: &str) -> Self {
        let mut scan = Self {
            code: String::with_capacity(source.len()),
            comments: String::with_capacity(source.len()),
            literals: Vec::new(),
        };
        let mut at = 0;
        while let Some(rest) = source.get(at..).filter(|rest| !rest.is_empty()) {
            let before = scan.code.chars().next_back();
            let (part, length) = next(rest, before);
            let piece = rest.get(..length).unwrap_or(rest);
            if part == Part::Text {
                scan.literals.push(Literal { at, text: inner(piece).to_owned() });
            }
            for character in piece.chars() {
                let blank =
                    if character == '\n' { "\n".to_owned() } else { " ".repeat(character.len_utf8()) };
                match part {
                    Part::Code => scan.code.push(character),
                    Part::Comment | Part::Text => scan.code.push_str(&blank),
                }
                match part {
                    Part::Comment => scan.comments.push(character),
                    Part::Code | Part::Text => scan.comments.push_str(&blank),
                }
            }
            at += piece.len();
        }
        scan
    }

    /// Line number of an offset, from 1.
    pub(super) fn line(&self, at: usize) -> usize {
        self.code.bytes().take(at).filter(|byte| *byte == b'\n').count() + 1
    }
}

/// What begins here, and how long it is in bytes. `before` is the last character of code, blank after another part.
fn next(rest: &str, before: Option<char>) -> (Part, usize) {
    if rest.starts_with("//") {
        return (Part::Comment, rest.find('\n').unwrap_or(rest.len()));
    }
    if rest.starts_with("/*") {
        return (Part::Comment, block_comment(rest));
    }
    let inside_word = before.is_some_and(|character| character.is_alphanumeric() || character == '_');
    if !inside_word && let Some(length) = raw_string(rest) {
        return (Part::Text, length);
    }
    if rest.starts_with('"') {
        return (Part::Text, string(rest));
    }
    if rest.starts_with('\'') {
        return (Part::Code, character_or_lifetime(rest));
    }
    (Part::Code, rest.chars().next().map_or(1, char::len_utf8))
}

fn block_comment(rest: &str) -> usize {
    let (mut depth, mut at) = (0_usize, 0);
    while let Some(tail) = rest.get(at..).filter(|tail| !tail.is_empty()) {
        if tail.starts_with("/*") {
            depth += 1;
            at += 2;
        } else if tail.starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += tail.chars().next().map_or(1, char::len_utf8);
        }
    }
    rest.len()
}

/// Length of `r"..."`, `r#"..."#`, `br"..."` and so on, if one begins here.
fn raw_string(rest: &str) -> Option<usize> {
    let tail =
        rest.strip_prefix("br").or_else(|| rest.strip_prefix("cr")).or_else(|| rest.strip_prefix('r'))?;
    let prefix = rest.len() - tail.len();
    let hashes = tail.bytes().take_while(|byte| *byte == b'#').count();
    let body = tail.get(hashes..)?.strip_prefix('"')?;
    let end = format!("\"{}", "#".repeat(hashes));
    Some(body.find(&end).map_or(rest.len(), |at| prefix + hashes + 1 + at + end.len()))
}

fn string(rest: &str) -> usize {
    let mut escaped = false;
    for (at, character) in rest.char_indices().skip(1) {
        match character {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    rest.len()
}

/// A character literal is taken whole, because it may be a quote; a lifetime is only its tick.
fn character_or_lifetime(rest: &str) -> usize {
    let mut characters = rest.char_indices().skip(1);
    match (characters.next(), characters.next()) {
        (Some((_, '\\')), Some(_)) => {
            characters.find(|(_, character)| *character == '\'').map_or(1, |(at, _)| at + 1)
        }
        (Some(_), Some((at, '\''))) => at + 1,
        _ => 1,
    }
}

fn inner(literal: &str) -> &str {
    let from = literal.find('"').map_or(0, |at| at + 1);
    let to = literal.rfind('"').filter(|to| *to >= from).unwrap_or(literal.len());
    literal.get(from..to).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_comments_and_strings_come_apart() {
        let source =
            "let a = \"// no\"; // yes \"x\"\n/* b /* c */ d */ let q = '\"'; let r = r#\"raw \" text\"#;\n";
        let scan = Scan::new(source);
        assert_eq!(scan.code.len(), source.len());
        assert_eq!(scan.comments.len(), source.len());
        assert!(scan.comments.contains("// yes \"x\"") && scan.comments.contains("/* b /* c */ d */"));
        assert!(!scan.code.contains("yes") && scan.code.contains("let q = '\"';"));
        let texts: Vec<_> = scan.literals.iter().map(|literal| literal.text.as_str()).collect();
        assert_eq!(texts, ["// no", "raw \" text"]);
        assert_eq!(scan.line(source.find("let r").unwrap()), 2);
    }

    #[test]
    fn lifetimes_and_escapes_do_not_open_a_literal() {
        let scan =
            Scan::new("fn f<'a>(x: &'a str) -> char { '\\'' } const S: &str = \"a\\\"b\"; for r in x {}");
        assert_eq!(scan.literals.len(), 1);
        assert_eq!(scan.literals[0].text, "a\\\"b");
    }

    #[test]
    fn unfinished_literals_end_with_the_file() {
        for source in ["\"abc", "r#\"abc", "/* abc", "'", "'\\", "é\"é"] {
            assert_eq!(Scan::new(source).code.len(), source.len(), "{source:?}");
        }
    }
}
