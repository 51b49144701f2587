//! Lengths of time as people write them. The API and the command line read them alike.

use std::fmt;
use std::time::Duration;

/// Why a text is no length of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoSpan {
    /// It is written otherwise.
    Unreadable,
    /// It is zero, or nothing that anyone means.
    OutOfBounds,
}

impl fmt::Display for NoSpan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unreadable => "must be a duration: numbers with ms, s, m, h, d or w",
            Self::OutOfBounds => "must be longer than zero and at most 100 years",
        })
    }
}

impl std::error::Error for NoSpan {}

/// Reads a length such as `90s`, `15m`, `1h30m`, `7d`, or plain seconds; at least a millisecond and at most 100 years.
///
/// # Errors
/// When it is none.
pub fn parse(text: &str) -> Result<Duration, NoSpan> {
    const LONGEST_MS: f64 = 100.0 * 366.0 * 86_400_000.0;
    let mut total_ms = 0.0;
    let mut rest = text.trim();
    if rest.is_empty() {
        return Err(NoSpan::Unreadable);
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (number, tail) = rest.split_at_checked(digits).ok_or(NoSpan::Unreadable)?;
        let letters = tail.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(tail.len());
        let (unit, tail) = tail.split_at_checked(letters).ok_or(NoSpan::Unreadable)?;
        let unit_ms = match unit {
            "ms" => 1.0,
            "s" => 1_000.0,
            "m" => 60_000.0,
            "h" => 3_600_000.0,
            "d" => 86_400_000.0,
            "w" => 7.0 * 86_400_000.0,
            // Plain seconds, only when they are all there is.
            "" if rest.len() == text.trim().len() && tail.is_empty() => 1_000.0,
            _ => return Err(NoSpan::Unreadable),
        };
        total_ms += number.parse::<f64>().map_err(|_| NoSpan::Unreadable)? * unit_ms;
        rest = tail;
    }
    if !(total_ms > 0.0 && total_ms <= LONGEST_MS) {
        return Err(NoSpan::OutOfBounds);
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "bounded just above")]
    Ok(Duration::from_millis(total_ms.round() as u64).max(Duration::from_millis(1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_read_or_refused() {
        let table = [
            ("90s", 90_000),
            ("15m", 900_000),
            ("1h30m", 5_400_000),
            ("7d", 604_800_000),
            ("250ms", 250),
            ("60", 60_000),
            ("1.5h", 5_400_000),
        ];
        for (text, ms) in table {
            assert_eq!(parse(text).unwrap().as_millis(), ms, "{text}");
        }
        for text in ["", " ", "-5m", "5x", "m", "1h30", "30 m", "1..5h", "ä", "1e9h", "5m5"] {
            assert_eq!(parse(text), Err(NoSpan::Unreadable), "{text}");
        }
        for text in ["0s", "999999w"] {
            assert_eq!(parse(text), Err(NoSpan::OutOfBounds), "{text}");
        }
    }
}
