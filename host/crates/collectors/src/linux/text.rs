//! Reads numbers and words out of the text that the kernel writes, straight from the bytes. Pure; allocates nothing; never
//! panics on any input. The parsers of the tick collectors call it.

/// What a parser says of a file that does not end with a line end: every file that we read does, so it was cut short, and
/// its last number may be only half there.
pub(crate) const CUT_SHORT: &str = "the last line is cut short";

/// The lines of a file, without their ends.
///
/// # Errors
/// [`CUT_SHORT`] when the last line has no end, or there is none.
pub(crate) fn lines(bytes: &[u8]) -> Result<impl Iterator<Item = &[u8]>, &'static str> {
    match bytes.split_last() {
        Some((b'\n', whole)) => Ok(whole.split(|byte| *byte == b'\n')),
        _ => Err(CUT_SHORT),
    }
}

/// Takes words and numbers, separated by blanks, from the front of a line.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fields<'a>(pub(crate) &'a [u8]);

impl<'a> Fields<'a> {
    /// The next word.
    pub(crate) fn word(&mut self) -> Option<&'a [u8]> {
        self.skip_blanks();
        let end = self.0.iter().position(|byte| is_blank(*byte)).unwrap_or(self.0.len());
        let (word, rest) = self.0.split_at_checked(end)?;
        self.0 = rest;
        (!word.is_empty()).then_some(word)
    }

    /// The next word as a whole number; `None` when it is not one, or does not fit.
    pub(crate) fn number(&mut self) -> Option<u64> {
        self.skip_blanks();
        let (value, rest) = leading_number(self.0)?;
        // "12x" is not a number.
        if rest.first().is_some_and(|byte| !is_blank(*byte)) {
            return None;
        }
        self.0 = rest;
        Some(value)
    }

    /// The next word as a number with an optional fraction, such as `0.25`.
    pub(crate) fn decimal(&mut self) -> Option<f64> {
        let word = self.word()?;
        let (whole, rest) = leading_number(word)?;
        let Some((b'.', digits)) = rest.split_first() else {
            return rest.is_empty().then_some(whole as f64);
        };
        // More digits than this would not change an f64.
        if digits.is_empty() || digits.len() > 15 {
            return None;
        }
        let (fraction, rest) = leading_number(digits)?;
        let scale = 10_f64.powi(i32::try_from(digits.len()).ok()?);
        rest.is_empty().then_some(whole as f64 + fraction as f64 / scale)
    }

    fn skip_blanks(&mut self) {
        while let Some((first, rest)) = self.0.split_first() {
            if !is_blank(*first) {
                break;
            }
            self.0 = rest;
        }
    }
}

/// The number at the very front, and what follows it. `None` without a digit, or when it does not fit.
pub(crate) fn leading_number(text: &[u8]) -> Option<(u64, &[u8])> {
    let mut value = 0_u64;
    let mut rest = text;
    while let Some((digit @ b'0'..=b'9', after)) = rest.split_first() {
        value = value.checked_mul(10)?.checked_add(u64::from(digit - b'0'))?;
        rest = after;
    }
    (rest.len() < text.len()).then_some((value, rest))
}

fn is_blank(byte: u8) -> bool {
    byte == b' ' || byte == b'\t'
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stand_alone_and_fit() {
        for (text, expected) in [
            ("42", Some(42)),
            ("  7 8", Some(7)),
            ("18446744073709551615", Some(u64::MAX)),
            ("18446744073709551616", None),
            ("12x", None),
            ("-1", None),
            ("", None),
        ] {
            assert_eq!(Fields(text.as_bytes()).number(), expected, "{text}");
        }
    }

    #[test]
    fn decimals_are_exact_enough() {
        for (text, expected) in [
            ("0.25", Some(0.25)),
            ("12", Some(12.0)),
            ("350735.47 x", Some(350_735.47)),
            ("1.", None),
            (".5", None),
            ("1.5.2", None),
            ("1,5", None),
            ("nan", None),
        ] {
            assert_eq!(Fields(text.as_bytes()).decimal(), expected, "{text}");
        }
    }

    #[test]
    fn a_file_without_its_last_line_end_is_cut_short() {
        assert_eq!(lines(b"a\nb").err(), Some(CUT_SHORT));
        assert_eq!(lines(b"").err(), Some(CUT_SHORT));
        assert_eq!(lines(b"a\n\nb\n").unwrap().count(), 3);
    }
}
