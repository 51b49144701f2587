//! Whether a text is a JSON object (RFC 8259). A parser that keeps nothing, so that the harness needs no other crate.

/// How deep values may lie in one another; RFC 8259 lets a reader set a limit.
const DEPTH_MAX: usize = 64;

/// Checks that the text is one JSON object. The error is the byte at which it is not.
pub(super) fn object(text: &str) -> Result<(), usize> {
    let mut reader = Reader { bytes: text.as_bytes(), at: 0 };
    reader.space();
    if reader.peek() != Some(b'{') {
        return Err(reader.at);
    }
    let sound = reader.value(0).and_then(|()| {
        reader.space();
        (reader.at == reader.bytes.len()).then_some(())
    });
    sound.ok_or(reader.at)
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn take(&mut self, wanted: u8) -> Option<()> {
        (self.peek()? == wanted).then(|| self.at += 1)
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn word(&mut self, word: &[u8]) -> Option<()> {
        word.iter().try_for_each(|&byte| self.take(byte))
    }

    fn value(&mut self, depth: usize) -> Option<()> {
        if depth > DEPTH_MAX {
            return None;
        }
        match self.peek()? {
            b'{' => self.items(b'{', b'}', |reader| {
                reader.text()?;
                reader.space();
                reader.take(b':')?;
                reader.space();
                reader.value(depth + 1)
            }),
            b'[' => self.items(b'[', b']', |reader| reader.value(depth + 1)),
            b'"' => self.text(),
            b't' => self.word(b"true"),
            b'f' => self.word(b"false"),
            b'n' => self.word(b"null"),
            _ => self.number(),
        }
    }

    fn items(&mut self, open: u8, close: u8, mut item: impl FnMut(&mut Self) -> Option<()>) -> Option<()> {
        self.take(open)?;
        self.space();
        if self.take(close).is_some() {
            return Some(());
        }
        loop {
            self.space();
            item(self)?;
            self.space();
            if self.take(close).is_some() {
                return Some(());
            }
            self.take(b',')?;
        }
    }

    fn text(&mut self) -> Option<()> {
        self.take(b'"')?;
        loop {
            match self.peek()? {
                b'"' => return self.take(b'"'),
                b'\\' => {
                    self.at += 1;
                    match self.peek()? {
                        b'u' => {
                            self.at += 1;
                            for _ in 0..4 {
                                self.peek().filter(u8::is_ascii_hexdigit)?;
                                self.at += 1;
                            }
                        }
                        b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => self.at += 1,
                        _ => return None,
                    }
                }
                0..=0x1f => return None,
                _ => self.at += 1,
            }
        }
    }

    fn digits(&mut self) -> Option<()> {
        self.peek().filter(u8::is_ascii_digit)?;
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        Some(())
    }

    fn number(&mut self) -> Option<()> {
        let _ = self.take(b'-');
        if self.take(b'0').is_none() {
            self.digits()?;
        }
        if self.take(b'.').is_some() {
            self.digits()?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.digits()?;
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::object;

    #[test]
    fn objects_are_told_from_everything_else() {
        let deep = format!("{{\"a\":{}1{}}}", "[".repeat(100), "]".repeat(100));
        for good in [
            "{}",
            " { \"a\" : [ 1 , -0.5e+3 , true , null , { } , [ ] ] } ",
            r#"{"\u00e4\"":"\\n"}"#,
            "{\"ä\":0}",
        ] {
            assert_eq!(object(good), Ok(()), "{good}");
        }
        for bad in [
            "",
            "[]",
            "1",
            "{",
            "{}x",
            "{\"a\"}",
            "{\"a\":1,}",
            "{a:1}",
            "{\"a\":01}",
            "{\"a\":\"\n\"}",
            "{\"a\":NaN}",
            &deep,
        ] {
            assert!(object(bad).is_err(), "{bad}");
        }
        assert_eq!(object("{\"a\":x}"), Err(5));
    }
}
