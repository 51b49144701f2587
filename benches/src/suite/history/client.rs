//! One connection that stays open, with one request at a time, whole bodies read into memory: what a page that shows history does. Both
//! stores are asked through it. It follows no redirects and knows no compression.

use anyhow::{Context as _, Result, bail, ensure};
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// No answer takes as long.
const PATIENCE: Duration = Duration::from_secs(120);

const PART_BYTES: usize = 256 << 10;

#[derive(Debug)]
pub(super) struct Client {
    stream: TcpStream,
    /// Room for what one read brings.
    part: Vec<u8>,
    answer: Vec<u8>,
}

/// How the end of a body is told.
#[derive(Clone, Copy, Debug)]
enum Framing {
    Length(usize),
    Chunks,
}

impl Client {
    pub(super) fn connect(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Self { stream, part: vec![0; PART_BYTES], answer: Vec::new() })
    }

    /// The body of a successful answer, appended to `body`.
    pub(super) fn get(&mut self, path: &str, body: &mut Vec<u8>) -> Result<()> {
        let head = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n");
        self.exchange(head.as_bytes(), &[], body).with_context(|| format!("GET {path}"))
    }

    /// Sends a body; what comes back is thrown away.
    pub(super) fn post(&mut self, path: &str, sent: &[u8]) -> Result<()> {
        let length = sent.len();
        let head = format!("POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-length: {length}\r\n\r\n");
        self.exchange(head.as_bytes(), sent, &mut Vec::new()).with_context(|| format!("POST {path}"))
    }

    fn exchange(&mut self, head: &[u8], sent: &[u8], body: &mut Vec<u8>) -> Result<()> {
        self.stream.write_all(head)?;
        self.stream.write_all(sent)?;
        self.answer.clear();
        let start = loop {
            if let Some(end) = find(&self.answer, b"\r\n\r\n") {
                break end + 4;
            }
            self.read()?;
        };
        let (good, framing) = read_head(self.answer.get(..start).unwrap_or_default())?;
        let begun = body.len();
        match framing {
            Framing::Length(length) => {
                while self.answer.len() < start + length {
                    self.read()?;
                }
                body.extend_from_slice(self.answer.get(start..start + length).unwrap_or_default());
            }
            Framing::Chunks => self.read_chunks(start, body)?,
        }
        if !good {
            let text = String::from_utf8_lossy(body.get(begun..).unwrap_or_default());
            bail!("refused: {}", text.chars().take(500).collect::<String>());
        }
        Ok(())
    }

    fn read_chunks(&mut self, mut at: usize, body: &mut Vec<u8>) -> Result<()> {
        loop {
            let line = loop {
                let rest = self.answer.get(at..).unwrap_or_default();
                if let Some(end) = find(rest, b"\r\n") {
                    break String::from_utf8_lossy(rest.get(..end).unwrap_or_default()).into_owned();
                }
                self.read()?;
            };
            let digits = line.split(';').next().unwrap_or_default().trim();
            let length = usize::from_str_radix(digits, 16).with_context(|| format!("a chunk of {line:?}"))?;
            at += line.len() + 2;
            // Each chunk ends with an empty line, the last one is nothing else.
            while self.answer.len() < at + length + 2 {
                self.read()?;
            }
            body.extend_from_slice(self.answer.get(at..at + length).unwrap_or_default());
            at += length + 2;
            if length == 0 {
                return Ok(());
            }
        }
    }

    fn read(&mut self) -> Result<()> {
        let count = self.stream.read(&mut self.part)?;
        ensure!(count > 0, "the server closed the connection");
        self.answer.extend_from_slice(self.part.get(..count).unwrap_or_default());
        Ok(())
    }
}

fn find(bytes: &[u8], end: &[u8]) -> Option<usize> {
    bytes.windows(end.len()).position(|window| window == end)
}

/// Whether it is a success, and how its body ends.
fn read_head(head: &[u8]) -> Result<(bool, Framing)> {
    let head = std::str::from_utf8(head)?;
    let good = head.split(' ').nth(1).is_some_and(|status| status.starts_with('2'));
    let value = |name: &str| {
        head.lines().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    };
    let framing = if value("transfer-encoding").is_some_and(|coding| coding.eq_ignore_ascii_case("chunked")) {
        Framing::Chunks
    } else {
        // An answer without content has no length.
        let length = value("content-length").map_or(Ok(0), str::parse);
        Framing::Length(length.with_context(|| format!("the length in {head}"))?)
    };
    Ok((good, framing))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn lengths_and_chunks_are_read_on_one_connection() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let answers = [
            "HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nabc",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\nb\r\n0123456789\n\r\n0\r\n\r\n",
            "HTTP/1.1 204 No Content\r\n\r\n",
            "HTTP/1.1 404 Not Found\r\ncontent-length: 2\r\n\r\nno",
        ];
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            for answer in answers {
                let (mut head, mut byte) = (Vec::new(), [0]);
                while !head.ends_with(b"\r\n\r\n") {
                    stream.read_exact(&mut byte).unwrap();
                    head.extend(byte);
                }
                // In pieces, so that a read may end anywhere.
                answer.as_bytes().chunks(7).for_each(|piece| stream.write_all(piece).unwrap());
            }
        });
        let mut client = Client::connect(address).unwrap();
        for expected in ["abc", "ab0123456789\n", ""] {
            let mut body = Vec::new();
            client.get("/", &mut body).unwrap();
            assert_eq!(String::from_utf8(body).unwrap(), expected);
        }
        let refused = client.get("/", &mut Vec::new()).unwrap_err();
        assert!(format!("{refused:#}").contains("refused: no"), "{refused:#}");
        server.join().unwrap();
    }
}
