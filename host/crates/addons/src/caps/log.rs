//! The last lines of one addon, and the cleaning of every text that comes from a guest before a person or a terminal sees it.
//!
//! It writes nothing anywhere: whoever calls it passes lines from `warn` on to the daemon's log. It reads no clock.

use crate::limits;
use lowtide_core::rate::TokenBucket;
use lowtide_core::units::{Now, WallTime};
use std::borrow::Cow;
use std::collections::VecDeque;
use std::sync::Arc;

/// How much a line matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// For the author.
    Debug,
    /// For the curious operator.
    Info,
    /// Carried on, but someone should look.
    Warn,
    /// Could not do its work.
    Error,
}

impl Level {
    /// The word in answers and on the terminal.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
        }
    }
}

/// What a language prints to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// Standard output: lines of level `info`.
    Stdout,
    /// Standard error: lines of level `warn`.
    Stderr,
}

impl Output {
    /// The level of what is printed there.
    #[must_use]
    pub fn level(self) -> Level {
        match self {
            Self::Stdout => Level::Info,
            Self::Stderr => Level::Warn,
        }
    }
}

/// One line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine {
    /// Number since the buffer was made, from 1, without gaps. Dropped lines have none.
    pub number: u64,
    /// When.
    pub at: WallTime,
    /// How much it matters.
    pub level: Level,
    /// The text, cleaned.
    pub text: String,
}

/// The last lines of one addon.
#[derive(Debug)]
pub struct LogBuffer {
    lines: VecDeque<Arc<LogLine>>,
    bytes: usize,
    /// Number of the newest line; 0 before the first.
    newest: u64,
    dropped: u64,
    line_rate: TokenBucket,
    byte_rate: TokenBucket,
    stdout: Partial,
    stderr: Partial,
}

impl Default for LogBuffer {
    fn default() -> Self {
        Self::new()
    }
}

impl LogBuffer {
    /// An empty buffer.
    #[must_use]
    pub fn new() -> Self {
        Self {
            lines: VecDeque::new(),
            bytes: 0,
            newest: 0,
            dropped: 0,
            line_rate: TokenBucket::new(limits::LOG_LINES_PER_SECOND, limits::LOG_LINES_BURST),
            byte_rate: TokenBucket::new(limits::LOG_BYTES_PER_MINUTE / 60, limits::LOG_BYTES_PER_MINUTE),
            stdout: Partial::default(),
            stderr: Partial::default(),
        }
    }

    /// Keeps a message as one line: line breaks in it become `⏎`, those at its end go. Returns the line, or none when it was
    /// dropped.
    pub fn push(&mut self, now: Now, level: Level, message: &str) -> Option<Arc<LogLine>> {
        if !self.line_rate.take(now.mono) {
            self.dropped = self.dropped.saturating_add(1);
            return None;
        }
        let text = clean(message.trim_end_matches(['\r', '\n']), limits::LOG_LINE_BYTES_MAX);
        // An empty line is not free either: it takes a place.
        let cost = u32::try_from(text.len().max(1)).unwrap_or(u32::MAX);
        if !self.byte_rate.take_n(now.mono, cost) {
            self.dropped = self.dropped.saturating_add(1);
            return None;
        }
        self.newest = self.newest.saturating_add(1);
        let line = Arc::new(LogLine { number: self.newest, at: now.wall, level, text: text.into_owned() });
        self.bytes += line.text.len();
        self.lines.push_back(Arc::clone(&line));
        while self.lines.len() > limits::LOG_LINES_KEPT || self.bytes > limits::LOG_BYTES_KEPT {
            let Some(oldest) = self.lines.pop_front() else { break };
            self.bytes = self.bytes.saturating_sub(oldest.text.len());
        }
        Some(line)
    }

    /// Takes what was printed, in pieces of any size: each full line is kept, empty ones are passed over, and what has no line
    /// break yet waits for the next piece or for [`LogBuffer::flush_output`]. Returns the lines that were kept.
    pub fn push_output(&mut self, now: Now, output: Output, bytes: &[u8]) -> Vec<Arc<LogLine>> {
        let mut kept = Vec::new();
        let mut pieces = bytes.split(|byte| *byte == b'\n');
        // The last piece has no line break behind it.
        let rest = pieces.next_back().unwrap_or_default();
        for piece in pieces {
            self.partial(output).extend(piece);
            kept.extend(self.end_line(now, output));
        }
        self.partial(output).extend(rest);
        kept
    }

    /// Keeps what was printed without a line break, at the end of a call: nobody knows whether more comes.
    pub fn flush_output(&mut self, now: Now) -> Vec<Arc<LogLine>> {
        [Output::Stdout, Output::Stderr].into_iter().filter_map(|output| self.end_line(now, output)).collect()
    }

    /// The lines after number `since` (0: from the first), oldest first, at most `limit`, and how many in between are no longer
    /// kept.
    #[must_use]
    pub fn lines(&self, since: u64, limit: usize) -> (u64, Vec<Arc<LogLine>>) {
        let kept = u64::try_from(self.lines.len()).unwrap_or(u64::MAX);
        let gone = self.newest.saturating_sub(kept);
        let lines = self.lines.iter().filter(|line| line.number > since).take(limit).cloned().collect();
        (gone.saturating_sub(since), lines)
    }

    /// The newest lines, oldest of them first, at most `limit`.
    #[must_use]
    pub fn newest_lines(&self, limit: usize) -> Vec<Arc<LogLine>> {
        self.lines.iter().skip(self.lines.len().saturating_sub(limit)).cloned().collect()
    }

    /// Number of the newest line; 0 before the first.
    #[must_use]
    pub fn newest(&self) -> u64 {
        self.newest
    }

    /// How many lines were dropped because there were too many, ever.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    fn partial(&mut self, output: Output) -> &mut Partial {
        match output {
            Output::Stdout => &mut self.stdout,
            Output::Stderr => &mut self.stderr,
        }
    }

    fn end_line(&mut self, now: Now, output: Output) -> Option<Arc<LogLine>> {
        let bytes = std::mem::take(self.partial(output)).0;
        let text = String::from_utf8_lossy(&bytes);
        if text.trim().is_empty() { None } else { self.push(now, output.level(), &text) }
    }
}

/// The beginning of a line that has not ended.
#[derive(Debug, Default)]
struct Partial(Vec<u8>);

impl Partial {
    /// Adds to the line. One byte more than a line may have is kept, so that the cut shows.
    fn extend(&mut self, bytes: &[u8]) {
        let room = (limits::LOG_LINE_BYTES_MAX + 1).saturating_sub(self.0.len());
        self.0.extend_from_slice(bytes.get(..room).unwrap_or(bytes));
    }
}

/// A guest's text as it may be shown: line breaks become `⏎`, tabs spaces, and whatever steers a terminal, hides itself or turns
/// the direction of reading becomes `\u{fffd}`; longer than `bytes_max`, it is cut and ends in `…`.
#[must_use]
pub fn clean(text: &str, bytes_max: usize) -> Cow<'_, str> {
    if text.len() <= bytes_max && text.chars().all(|c| replacement(c) == c) {
        return Cow::Borrowed(text);
    }
    let mut cleaned = String::with_capacity(text.len().min(bytes_max));
    // The longest beginning that leaves room for the sign of the cut.
    let mut cut = 0;
    let mut before = None;
    for c in text.chars() {
        let pair = before == Some('\r') && c == '\n';
        before = Some(c);
        if pair {
            continue;
        }
        let c = replacement(c);
        if cleaned.len() + c.len_utf8() > bytes_max {
            cleaned.truncate(cut);
            if CUT.len_utf8() <= bytes_max {
                cleaned.push(CUT);
            }
            break;
        }
        cleaned.push(c);
        if cleaned.len() + CUT.len_utf8() <= bytes_max {
            cut = cleaned.len();
        }
    }
    Cow::Owned(cleaned)
}

/// Stands at the end of what was cut.
const CUT: char = '…';

/// What is shown in place of a character; itself for nearly all.
fn replacement(c: char) -> char {
    match c {
        '\n' | '\r' | '\u{2028}' | '\u{2029}' => '⏎',
        '\t' => ' ',
        // C0, DEL and C1.
        c if c.is_control() => char::REPLACEMENT_CHARACTER,
        // Of no width, or steering direction: soft hyphen, grapheme joiner, Arabic letter mark, fillers, joiners and marks,
        // embeddings and overrides, invisible operators and isolates, byte order mark, annotations, tags.
        '\u{ad}'
        | '\u{34f}'
        | '\u{61c}'
        | '\u{115f}'
        | '\u{1160}'
        | '\u{17b4}'
        | '\u{17b5}'
        | '\u{180b}'..='\u{180e}'
        | '\u{200b}'..='\u{200f}'
        | '\u{202a}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}'
        | '\u{3164}'
        | '\u{feff}'
        | '\u{ffa0}'
        | '\u{fff9}'..='\u{fffb}'
        | '\u{e0000}'..='\u{e0fff}' => char::REPLACEMENT_CHARACTER,
        c => c,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lowtide_core::units::MonoTime;
    use std::time::Duration;

    fn at(ms: u64) -> Now {
        Now { mono: MonoTime(Duration::from_millis(ms)), wall: WallTime(i64::try_from(ms).unwrap()) }
    }

    fn texts(lines: &[Arc<LogLine>]) -> Vec<&str> {
        lines.iter().map(|line| line.text.as_str()).collect()
    }

    #[test]
    fn plain_text_is_not_touched() {
        for text in ["", "queue: 12 of 40", "Größe 3 µs – ok ✓", "日本語", "👍🏽"] {
            assert!(matches!(clean(text, 100), Cow::Borrowed(same) if same == text), "{text}");
        }
    }

    #[test]
    fn nothing_that_steers_or_hides_comes_through() {
        assert_eq!(
            clean("\u{1b}[31mred\u{7}\u{7f}\u{9b}2J\0", 100),
            "\u{fffd}[31mred\u{fffd}\u{fffd}\u{fffd}2J\u{fffd}"
        );
        assert_eq!(
            clean("user\u{202e}gpj.exe\u{2066}\u{200b}\u{feff}", 100),
            "user\u{fffd}gpj.exe\u{fffd}\u{fffd}\u{fffd}"
        );
        assert_eq!(clean("a\r\nb\nc\rd\te\u{2028}f", 100), "a⏎b⏎c⏎d e⏎f");
        for code in (0..=0x10_ffff).filter_map(char::from_u32) {
            let shown = clean(code.encode_utf8(&mut [0; 4]), 8).into_owned();
            assert!(!shown.chars().any(char::is_control), "{code:?}");
        }
    }

    #[test]
    fn a_long_text_is_cut_between_characters_and_the_cut_shows() {
        assert_eq!(clean("abcdef", 6), "abcdef");
        assert_eq!(clean("abcdefg", 6), "abc…");
        assert_eq!(clean("ääää", 7), "ää…");
        assert_eq!(clean("\0\0\0", 6), "\u{fffd}…", "what stands for it counts");
        assert_eq!(clean("abc", 2), "");
        for bytes in 0..40 {
            assert!(clean(&"x\u{1b}ä👍\r\n".repeat(9), bytes).len() <= bytes);
        }
    }

    #[test]
    fn lines_are_numbered_and_read_from_where_the_reader_stands() {
        let mut log = LogBuffer::new();
        assert_eq!(log.lines(0, 10), (0, Vec::new()));
        for text in ["one", "two\nlines\r\n", "three"] {
            log.push(at(7), Level::Info, text).unwrap();
        }
        let (missed, lines) = log.lines(0, 10);
        assert_eq!((missed, texts(&lines)), (0, vec!["one", "two⏎lines", "three"]));
        assert_eq!(*lines[0], LogLine { number: 1, at: WallTime(7), level: Level::Info, text: "one".into() });
        assert_eq!(texts(&log.lines(1, 1).1), ["two⏎lines"]);
        assert_eq!(texts(&log.newest_lines(1)), ["three"]);
        assert!(log.lines(3, 10).1.is_empty());
        assert_eq!(log.lines(u64::MAX, 10), (0, Vec::new()), "a reader from before a restart");
    }

    #[test]
    fn a_flood_is_dropped_and_counted() {
        let mut log = LogBuffer::new();
        let burst = u64::from(limits::LOG_LINES_BURST);
        for _ in 0..1_000 {
            log.push(at(0), Level::Info, "again");
        }
        assert_eq!((log.newest(), log.dropped()), (burst, 1_000 - burst));
        for _ in 0..1_000 {
            log.push(at(1_000), Level::Info, "again");
        }
        assert_eq!(log.newest(), burst + u64::from(limits::LOG_LINES_PER_SECOND));
    }

    #[test]
    fn bytes_are_limited_too() {
        let mut log = LogBuffer::new();
        let long = "x".repeat(limits::LOG_LINE_BYTES_MAX);
        let kept: usize = (0..60_000)
            .filter_map(|ms| log.push(at(ms), Level::Info, &long))
            .map(|line| line.text.len())
            .sum();
        let minute = limits::LOG_BYTES_PER_MINUTE as usize;
        assert!((minute..=2 * minute).contains(&kept), "{kept}");
        assert!(log.dropped() > 0);
    }

    #[test]
    fn what_is_kept_has_bounds_and_what_went_is_missed() {
        let mut log = LogBuffer::new();
        for number in 0..700 {
            log.push(at(number * 1_000), Level::Info, "short").unwrap();
        }
        let (missed, lines) = log.lines(100, 1_000);
        assert_eq!((missed, lines.len(), lines[0].number), (100, limits::LOG_LINES_KEPT, 201));
        let long = "x".repeat(limits::LOG_LINE_BYTES_MAX + 1);
        for number in 1_000..1_200 {
            assert!(log.push(at(number * 1_000), Level::Info, &long).unwrap().text.ends_with("x…"));
        }
        let (_, lines) = log.lines(0, 1_000);
        assert!(lines.iter().map(|line| line.text.len()).sum::<usize>() <= limits::LOG_BYTES_KEPT);
        assert!(lines.len() >= 60);
    }

    #[test]
    fn what_is_printed_becomes_lines_however_it_is_cut_into_pieces() {
        let mut log = LogBuffer::new();
        let printed = "first\r\n\n  \nsecond ä\nrest";
        let whole = log.push_output(at(0), Output::Stdout, printed.as_bytes());
        assert_eq!(texts(&whole), ["first", "second ä"]);
        assert_eq!(texts(&log.flush_output(at(0))), ["rest"]);
        assert!(log.flush_output(at(0)).is_empty());
        let mut bytewise = Vec::new();
        for byte in printed.as_bytes() {
            bytewise.extend(log.push_output(at(0), Output::Stderr, &[*byte]));
            // The other stream in between disturbs nothing.
            log.push_output(at(0), Output::Stdout, b".");
        }
        assert_eq!(texts(&bytewise), ["first", "second ä"]);
        assert!(bytewise.iter().all(|line| line.level == Level::Warn));
    }

    #[test]
    fn a_line_without_an_end_takes_no_more_memory_than_a_line() {
        let mut log = LogBuffer::new();
        for _ in 0..1_000 {
            assert!(log.push_output(at(0), Output::Stdout, &[b'x'; 1_000]).is_empty());
        }
        assert!(log.stdout.0.capacity() <= 4 * limits::LOG_LINE_BYTES_MAX);
        let lines = log.push_output(at(0), Output::Stdout, b"\xff\xfe\n\xff\n");
        assert_eq!(lines.len(), 2);
        assert!(lines[0].text.ends_with('…') && lines[0].text.len() <= limits::LOG_LINE_BYTES_MAX);
        assert_eq!(lines[1].text, "\u{fffd}");
    }
}
