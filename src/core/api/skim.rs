//! Keeps of a JSON value what somebody wants of it, wherever its bytes are split and however long it is.
//!
//! Start at [`Skim::read`]. What is wanted is named by paths of keys through objects; arrays on the way count as their
//! elements. What is kept comes out as one flat object, each value under its path. Invariant: what it holds is bounded,
//! whatever comes; bytes that are no JSON yield nothing or too little, and never a value that stands elsewhere.

use super::wanted::{Wanted, Wants, What};
use crate::dialect::OutputKind;
use crate::json::{Fields, first_special};

/// How much is kept of one value; what comes behind that is not.
const KEPT_BYTES_MAX: usize = 64 << 10;
/// A longer key is none that is wanted.
const KEY_BYTES_MAX: usize = 64;
/// Objects and arrays within each other that lead to something wanted; none leads deeper.
const DEPTH_MAX: usize = 16;

#[derive(Debug)]
pub(crate) struct Skim {
    wanted: &'static Wants,
    /// The flat object, without its brace at the end.
    kept: Vec<u8>,
    text_bytes: u64,
    audio_bytes: u64,
    /// The containers that lead here.
    levels: Vec<Level>,
    at: At,
    key: Vec<u8>,
    seen: u64,
}

#[derive(Clone, Copy, Debug)]
struct Level {
    is_array: bool,
    /// How many keys lead here.
    keys: usize,
    /// Which of the wanted are here or behind it.
    alive: u64,
}

/// Where in the value the next byte is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    /// Before a value; these of the wanted are it or in it.
    Value {
        alive: u64,
        keys: usize,
    },
    /// Within an object before a key, a comma or its end.
    Member,
    Key {
        escaped: bool,
    },
    Colon {
        alive: u64,
    },
    /// Within an array behind a value.
    Element,
    /// In a value that is not looked into.
    Within {
        sink: Sink,
        inside: Inside,
        depth: usize,
    },
    /// Behind the whole value.
    Over,
}

/// What becomes of the bytes of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sink {
    Nothing,
    /// They are kept; `from` is where what is kept of this value began.
    Kept {
        from: usize,
    },
    Counted(OutputKind),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Inside {
    Nested,
    Text {
        escaped: bool,
    },
    /// A number or a word.
    Plain,
}

impl Skim {
    pub(crate) fn new(wanted: &'static Wants) -> Skim {
        let mut skim = Skim {
            wanted,
            kept: Vec::new(),
            text_bytes: 0,
            audio_bytes: 0,
            levels: Vec::new(),
            at: At::Over,
            key: Vec::new(),
            seen: 0,
        };
        skim.restart();
        skim
    }

    /// Forgets everything: another value follows.
    pub(crate) fn restart(&mut self) {
        self.kept.clear();
        self.levels.clear();
        (self.text_bytes, self.audio_bytes, self.seen) = (0, 0, 0);
        self.at = At::Value { alive: self.wanted.set(), keys: 0 };
    }

    /// The value is whole.
    pub(crate) fn is_over(&self) -> bool {
        self.at == At::Over
    }

    /// What is kept so far; a value whose bytes are not all here is marked as cut.
    pub(crate) fn fields(&self) -> Fields<'_> {
        Fields::of(&self.kept)
    }

    /// How much output was counted so far: text, then audio.
    pub(crate) fn output(&self) -> (u64, u64) {
        (self.text_bytes, self.audio_bytes)
    }

    /// How much it holds.
    #[cfg(test)]
    pub(crate) fn room(&self) -> usize {
        self.kept.capacity() + self.key.capacity() + self.levels.capacity() * size_of::<Level>()
    }

    /// Reads on, at most to the end of the value; how many bytes that were.
    pub(crate) fn read(&mut self, bytes: &[u8]) -> usize {
        let mut read = 0;
        while read < bytes.len() && self.at != At::Over {
            read += self.step(&bytes[read..]);
        }
        read
    }

    /// Reads some bytes of several, one at least.
    fn step(&mut self, bytes: &[u8]) -> usize {
        match self.at {
            At::Within { sink, inside, depth } => self.within(bytes, sink, inside, depth),
            At::Key { escaped } => self.key(bytes, escaped),
            _ if matches!(bytes[0], b' ' | b'\t' | b'\n' | b'\r') => 1,
            At::Value { alive, keys } => self.begin(bytes[0], alive, keys),
            At::Member => self.member(bytes[0]),
            At::Colon { alive } => {
                let keys = self.levels.last().map_or(0, |level| level.keys) + 1;
                self.at = if bytes[0] == b':' { At::Value { alive, keys } } else { At::Over };
                1
            }
            At::Element => self.element(bytes[0]),
            At::Over => 1,
        }
    }

    fn member(&mut self, byte: u8) -> usize {
        match byte {
            b'"' => {
                self.key.clear();
                self.at = At::Key { escaped: false };
            }
            b',' => {}
            b'}' => self.close(),
            _ => self.at = At::Over,
        }
        1
    }

    fn element(&mut self, byte: u8) -> usize {
        match (byte, self.levels.last()) {
            (b',', Some(level)) => self.at = At::Value { alive: level.alive, keys: level.keys },
            (b']', _) => self.close(),
            _ => self.at = At::Over,
        }
        1
    }

    /// A container that leads to something wanted is over.
    fn close(&mut self) {
        self.levels.pop();
        self.at = match self.levels.last() {
            None => At::Over,
            Some(level) if level.is_array => At::Element,
            Some(_) => At::Member,
        };
    }

    fn key(&mut self, bytes: &[u8], escaped: bool) -> usize {
        let (length, end) = text_end(bytes, escaped);
        let text = &bytes[..length - usize::from(end == TextEnd::Quote)];
        // Nearly every key comes whole.
        if end == TextEnd::Quote && self.key.is_empty() {
            self.at = At::Colon { alive: self.alive_under(text) };
            return length;
        }
        let room = (KEY_BYTES_MAX + 1).saturating_sub(self.key.len());
        self.key.extend_from_slice(&text[..text.len().min(room)]);
        self.at = match end {
            TextEnd::Quote => At::Colon { alive: self.alive_under(&self.key) },
            TextEnd::Cut { escaped } => At::Key { escaped },
        };
        length
    }

    /// Which of the wanted are under a key, as it stands between its quotes.
    fn alive_under(&self, key: &[u8]) -> u64 {
        match self.levels.last() {
            Some(level) if key.len() <= KEY_BYTES_MAX => {
                self.wanted.under(level.alive, level.keys, &crate::json::unescaped(key))
            }
            _ => 0,
        }
    }

    /// The first byte of a value.
    fn begin(&mut self, byte: u8, alive: u64, keys: usize) -> usize {
        if byte == b']' && self.levels.last().is_some_and(|level| level.is_array) {
            self.close();
            return 1;
        }
        let sink = self.sink(byte, alive, keys);
        let leads = sink == Sink::Nothing && alive != 0 && self.levels.len() < DEPTH_MAX;
        if leads && matches!(byte, b'{' | b'[') {
            let is_array = byte == b'[';
            self.levels.push(Level { is_array, keys, alive });
            self.at = if is_array { At::Value { alive, keys } } else { At::Member };
            return 1;
        }
        let (inside, depth) = match byte {
            b'"' => (Inside::Text { escaped: false }, 0),
            b'{' | b'[' => (Inside::Nested, 1),
            _ => (Inside::Plain, 0),
        };
        // The quotes are no part of how long a text is.
        let is_taken = match sink {
            Sink::Counted(_) => inside == Inside::Nested,
            Sink::Nothing | Sink::Kept { .. } => inside != Inside::Plain,
        };
        let sink = if is_taken { self.take(sink, &[byte]) } else { sink };
        self.at = At::Within { sink, inside, depth };
        usize::from(inside != Inside::Plain)
    }

    /// What becomes of a value that begins with this byte.
    fn sink(&mut self, byte: u8, alive: u64, keys: usize) -> Sink {
        for (index, &Wanted { path, what, .. }) in self.wanted.at(alive, keys) {
            match what {
                What::Output(kind) => return Sink::Counted(kind),
                What::Value => {
                    let from = self.kept.len();
                    self.open_kept(path);
                    return Sink::Kept { from };
                }
                What::Presence => {
                    if byte == b'{' && self.seen & (1 << index) == 0 {
                        self.seen |= 1 << index;
                        self.open_kept(path);
                        self.kept.extend_from_slice(b"true ");
                    }
                }
            }
        }
        Sink::Nothing
    }

    /// Behind this a value of the flat object follows.
    fn open_kept(&mut self, path: &str) {
        self.kept.push(if self.kept.is_empty() { b'{' } else { b',' });
        self.kept.push(b'"');
        self.kept.extend_from_slice(path.as_bytes());
        self.kept.extend_from_slice(b"\":");
    }

    fn within(&mut self, bytes: &[u8], sink: Sink, inside: Inside, depth: usize) -> usize {
        match inside {
            Inside::Plain => {
                let end = bytes.iter().position(|byte| {
                    matches!(byte, b',' | b'}' | b']' | b' ' | b'\t' | b'\n' | b'\r' | b'"' | b'{' | b'[')
                });
                let length = end.unwrap_or(bytes.len());
                let sink = self.take(sink, &bytes[..length]);
                match end {
                    // No value begins like that; to go on would be to read the same byte for ever.
                    Some(0) if !matches!(bytes[0], b',' | b'}' | b']' | b' ' | b'\t' | b'\n' | b'\r') => {
                        self.at = At::Over;
                    }
                    Some(_) => self.end_value(sink),
                    None => self.at = At::Within { sink, inside, depth },
                }
                length
            }
            Inside::Text { escaped } => {
                let (length, end) = text_end(bytes, escaped);
                let is_counted_text = depth == 0 && matches!(sink, Sink::Counted(_)) && end == TextEnd::Quote;
                let sink = self.take(sink, &bytes[..length - usize::from(is_counted_text)]);
                match end {
                    TextEnd::Cut { escaped } => {
                        self.at = At::Within { sink, inside: Inside::Text { escaped }, depth };
                    }
                    TextEnd::Quote if depth == 0 => self.end_value(sink),
                    TextEnd::Quote => self.at = At::Within { sink, inside: Inside::Nested, depth },
                }
                length
            }
            Inside::Nested => self.nested(bytes, sink, depth),
        }
    }

    /// Up to the next text or the end of what is nested.
    fn nested(&mut self, bytes: &[u8], sink: Sink, mut depth: usize) -> usize {
        let mut length = 0;
        let mut inside = Inside::Nested;
        for byte in bytes {
            length += 1;
            match byte {
                b'{' | b'[' => depth += 1,
                b'}' | b']' => depth -= 1,
                b'"' => inside = Inside::Text { escaped: false },
                _ => {}
            }
            if depth == 0 || inside != Inside::Nested {
                break;
            }
        }
        let sink = self.take(sink, &bytes[..length]);
        self.at = At::Within { sink, inside, depth };
        if depth == 0 {
            self.end_value(sink);
        }
        length
    }

    /// Takes bytes of a value; what becomes of those behind them.
    fn take(&mut self, sink: Sink, bytes: &[u8]) -> Sink {
        match sink {
            Sink::Nothing => {}
            Sink::Counted(OutputKind::Text | OutputKind::Transcript) => self.text_bytes += bytes.len() as u64,
            Sink::Counted(OutputKind::Audio) => self.audio_bytes += bytes.len() as u64,
            Sink::Kept { from } if self.kept.len() + bytes.len() > KEPT_BYTES_MAX => {
                // It is too long to be kept.
                self.kept.truncate(from);
                return Sink::Nothing;
            }
            Sink::Kept { .. } => self.kept.extend_from_slice(bytes),
        }
        sink
    }

    fn end_value(&mut self, sink: Sink) {
        // What ends a number is not kept with it, so that it would be taken to be cut.
        if matches!(sink, Sink::Kept { .. }) && !self.kept.is_empty() {
            self.kept.push(b' ');
        }
        self.at = match self.levels.last() {
            None => At::Over,
            Some(level) if level.is_array => At::Element,
            Some(_) => At::Member,
        };
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum TextEnd {
    /// At its closing quote.
    Quote,
    /// The bytes run out; `escaped` if a backslash was the last of them.
    Cut { escaped: bool },
}

/// How many of the bytes belong to a text, its closing quote included.
fn text_end(bytes: &[u8], escaped: bool) -> (usize, TextEnd) {
    let mut at = usize::from(escaped);
    loop {
        let Some(found) = bytes.get(at..).and_then(first_special) else {
            return (bytes.len(), TextEnd::Cut { escaped: at > bytes.len() });
        };
        at += found;
        if bytes[at] == b'"' {
            return (at + 1, TextEnd::Quote);
        }
        at += 2;
    }
}
