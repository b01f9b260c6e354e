//! Where a message's body ends, and which of its bytes are its content. Bytes in, counts out.
//!
//! Start at [`Framing`] for what a head says and at [`Body`] for following it. Strict where leniency would let two parsers
//! end one body at different bytes: a chunk's size is hexadecimal digits alone, every line ends in CRLF, and what may
//! stand beside content (extensions, trailers) is bounded.

use super::{HeadError, Headers, RequestHead, ResponseHead, Version};
use std::fmt;
use std::ops::Range;

/// What extensions and trailers of one body may have together.
const ASIDE_BYTES_MAX: u32 = 16 * 1024;
/// As many as 64 bits have.
const SIZE_DIGITS_MAX: u8 = 16;

/// Where a body ends, as its head says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// It has this many bytes.
    Length(u64),
    Chunked,
    /// It ends when the connection does, which only an answer's may.
    UntilClose,
}

/// A body that is not framed as RFC 9112 says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadBody(pub &'static str);

impl fmt::Display for BadBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "The body is malformed: {}", self.0)
    }
}

impl Framing {
    /// Of a request, whose head was read by [`super::request_head`].
    ///
    /// # Errors
    /// Readers could differ about where it ends.
    pub fn of_request(head: &RequestHead) -> Result<Framing, HeadError> {
        let malformed = HeadError::Malformed;
        match is_chunked(&head.headers).map_err(malformed)? {
            true if head.version == Version::Http10 => {
                Err(malformed("Transfer-Encoding does not exist in HTTP/1.0"))
            }
            true => Ok(Framing::Chunked),
            false => Ok(Framing::Length(length(&head.headers).map_err(malformed)?.unwrap_or(0))),
        }
    }

    /// Of the final answer to a request of this method.
    ///
    /// # Errors
    /// What is wrong with what the head says of it.
    pub fn of_answer(head: &ResponseHead, method: &str) -> Result<Framing, BadBody> {
        if head.status < 200 || matches!(head.status, 204 | 304) || method == "HEAD" {
            return Ok(Framing::Length(0));
        }
        let length = length(&head.headers).map_err(BadBody)?;
        match (is_chunked(&head.headers).map_err(BadBody)?, length) {
            (true, Some(_)) => Err(BadBody("Content-Length and Transfer-Encoding are both given")),
            (true, None) => Ok(Framing::Chunked),
            (false, Some(bytes)) => Ok(Framing::Length(bytes)),
            (false, None) => Ok(Framing::UntilClose),
        }
    }

    pub fn is_empty(self) -> bool {
        self == Framing::Length(0)
    }
}

/// A transfer coding that is not chunked alone would leave the content coded.
fn is_chunked(headers: &Headers) -> Result<bool, &'static str> {
    let mut lines = headers.0.iter().filter(|header| header.is("transfer-encoding"));
    match (lines.next(), lines.next()) {
        (None, _) => Ok(false),
        (Some(line), None) if line.value.as_bytes().eq_ignore_ascii_case(b"chunked") => Ok(true),
        _ => Err("Transfer-Encoding is something other than one `chunked`"),
    }
}

fn length(headers: &Headers) -> Result<Option<u64>, &'static str> {
    let mut lines = headers.0.iter().filter(|header| header.is("content-length"));
    let Some(line) = lines.next() else { return Ok(None) };
    if lines.next().is_some() {
        return Err("Content-Length is given twice");
    }
    let digits = line.value.as_text().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    let length = digits.and_then(|digits| digits.parse().ok());
    length.map(Some).ok_or("Content-Length is not a number")
}

/// How far a body has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Body {
    state: State,
    /// What extensions and trailers may still have.
    aside_left: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// This many bytes of content are still to come, and no framing.
    Length(u64),
    UntilClose,
    /// In the hexadecimal size of a chunk, of which there were so many digits.
    Size(u64, u8),
    /// Behind the size, before the CR.
    Extension(u64),
    SizeLf(u64),
    /// This many bytes of a chunk's content are still to come.
    Data(u64),
    DataCr,
    DataLf,
    /// A trailer, or the last line.
    Line,
    TrailerName,
    TrailerValue,
    TrailerLf,
    LastLf,
    Done,
}

/// What stands at the front of a body's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece {
    /// So many bytes of content.
    Content(usize),
    /// So many bytes that frame it.
    Framing(usize),
}

/// What a buffer holds of a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unframed {
    /// Where its content lies now.
    pub content: Range<usize>,
    /// Where what is behind the body begins.
    pub taken: usize,
}

/// What goes before a chunk. Behind it goes [`CHUNK_END`].
#[derive(Clone, Copy, Debug, Default)]
pub struct ChunkStart {
    /// The size in hexadecimal digits, and the end of its line.
    line: [u8; CHUNK_LINE_BYTES],
    length: usize,
}

const CHUNK_LINE_BYTES: usize = usize::BITS as usize / 4 + 2;

impl ChunkStart {
    /// Of a chunk of this many bytes, of which there must be some.
    pub fn of(bytes: usize) -> ChunkStart {
        debug_assert!(bytes > 0, "an empty chunk is the last one");
        let digits = bytes.ilog2() as usize / 4 + 1;
        let mut start = ChunkStart { length: digits + 2, ..ChunkStart::default() };
        for (index, digit) in start.line[..digits].iter_mut().enumerate() {
            *digit = b"0123456789abcdef"[bytes >> (4 * (digits - 1 - index)) & 0xf];
        }
        start.line[digits..][..2].copy_from_slice(b"\r\n");
        start
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.line[..self.length]
    }
}

pub const CHUNK_END: &[u8] = b"\r\n";
/// Ends a chunked body.
pub const LAST_CHUNK: &[u8] = b"0\r\n\r\n";
/// Both.
pub const CHUNK_END_AND_LAST: &[u8] = b"\r\n0\r\n\r\n";

impl Body {
    pub fn new(framing: Framing) -> Body {
        let state = match framing {
            Framing::Length(0) => State::Done,
            Framing::Length(bytes) => State::Length(bytes),
            Framing::Chunked => State::Size(0, 0),
            Framing::UntilClose => State::UntilClose,
        };
        Body { state, aside_left: ASIDE_BYTES_MAX }
    }

    /// All of it has come. One that ends with its connection never says so.
    pub fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Whether the end of the connection is this body's end.
    pub fn may_end(&self) -> bool {
        matches!(self.state, State::Done | State::UntilClose)
    }

    /// How much content is to come, where the head said it.
    pub fn left(&self) -> Option<u64> {
        match self.state {
            State::Length(left) => Some(left),
            State::Done => Some(0),
            _ => None,
        }
    }

    /// What `bytes` begin with, and moves on past it. `None`: there are no bytes, or they are behind the body.
    ///
    /// # Errors
    /// The body is malformed, and where it ends cannot be told.
    pub fn next(&mut self, bytes: &[u8]) -> Result<Option<Piece>, BadBody> {
        if bytes.is_empty() {
            return Ok(None);
        }
        let content = |left: u64| left.min(bytes.len() as u64);
        match self.state {
            State::Done => Ok(None),
            State::UntilClose => Ok(Some(Piece::Content(bytes.len()))),
            State::Length(left) => {
                let taken = content(left);
                self.state = if taken == left { State::Done } else { State::Length(left - taken) };
                Ok(Some(Piece::Content(taken as usize)))
            }
            State::Data(left) => {
                let taken = content(left);
                self.state = if taken == left { State::DataCr } else { State::Data(left - taken) };
                Ok(Some(Piece::Content(taken as usize)))
            }
            _ => self.frame(bytes).map(|count| Some(Piece::Framing(count))),
        }
    }

    /// Moves the content in `bytes` together, wherever chunks split it.
    ///
    /// # Errors
    /// As [`Body::next`].
    pub fn unframe(&mut self, bytes: &mut [u8]) -> Result<Unframed, BadBody> {
        let mut unframed = Unframed { content: 0..0, taken: 0 };
        while let Some(piece) = self.next(&bytes[unframed.taken..])? {
            let from = unframed.taken;
            match piece {
                Piece::Framing(count) => unframed.taken += count,
                Piece::Content(count) => {
                    unframed.taken += count;
                    match unframed.content.is_empty() {
                        true => unframed.content = from..unframed.taken,
                        false => {
                            bytes.copy_within(from..unframed.taken, unframed.content.end);
                            unframed.content.end += count;
                        }
                    }
                }
            }
        }
        Ok(unframed)
    }

    /// Reads framing up to the next content or the end.
    fn frame(&mut self, bytes: &[u8]) -> Result<usize, BadBody> {
        for (at, &byte) in bytes.iter().enumerate() {
            if matches!(self.state, State::Data(_) | State::Done) {
                return Ok(at);
            }
            self.state = self.step(byte)?;
        }
        Ok(bytes.len())
    }

    fn step(&mut self, byte: u8) -> Result<State, BadBody> {
        match (self.state, byte) {
            (State::Size(size, digits), _) if byte.is_ascii_hexdigit() => {
                let digit = char::from(byte).to_digit(16).map(u64::from).unwrap_or_default();
                match digits < SIZE_DIGITS_MAX {
                    true => Ok(State::Size(size << 4 | digit, digits + 1)),
                    false => Err(BadBody("a chunk's size has too many digits")),
                }
            }
            (State::Size(_, 0), _) => Err(BadBody("a chunk has no size")),
            (State::Size(size, _) | State::Extension(size), b'\r') => Ok(State::SizeLf(size)),
            (State::Size(size, _), b';') => self.aside(State::Extension(size)),
            (State::Size(..), _) => Err(BadBody("a chunk's size is not hexadecimal")),
            (State::Extension(size), _) if is_text(byte) => self.aside(State::Extension(size)),
            (State::SizeLf(0), b'\n') => Ok(State::Line),
            (State::SizeLf(size), b'\n') => Ok(State::Data(size)),
            (State::DataCr, b'\r') => Ok(State::DataLf),
            (State::DataLf, b'\n') => Ok(State::Size(0, 0)),
            (State::DataCr | State::DataLf, _) => Err(BadBody("a chunk is longer than its size")),
            (State::Line, b'\r') => Ok(State::LastLf),
            (State::Line | State::TrailerName, _) if is_name(byte) => self.aside(State::TrailerName),
            (State::TrailerName, b':') => self.aside(State::TrailerValue),
            (State::TrailerValue, b'\r') => Ok(State::TrailerLf),
            (State::TrailerValue, _) if is_text(byte) => self.aside(State::TrailerValue),
            (State::Line | State::TrailerName, _) => Err(BadBody("a trailer has a bad name")),
            (State::TrailerLf, b'\n') => self.aside(State::Line),
            (State::LastLf, b'\n') => Ok(State::Done),
            _ => Err(BadBody("a line of its framing does not end in CRLF, or holds a control character")),
        }
    }

    /// One more byte that is no part of what is said.
    fn aside(&mut self, state: State) -> Result<State, BadBody> {
        let left = self.aside_left.checked_sub(1);
        self.aside_left = left.ok_or(BadBody("its extensions and trailers are too long"))?;
        Ok(state)
    }
}

fn is_text(byte: u8) -> bool {
    byte == b'\t' || (byte >= b' ' && byte != 0x7f)
}

fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::super::{request_head, response_head};
    use super::*;
    use proptest::prelude::*;

    fn of_request(lines: &str) -> Result<Framing, String> {
        let head = request_head(format!("POST / HTTP/1.1\r\n{lines}\r\n").as_bytes());
        head.and_then(|head| Framing::of_request(&head)).map_err(|error| error.to_string())
    }

    fn of_answer(status: u16, method: &str, lines: &str) -> Result<Framing, BadBody> {
        let head = response_head(format!("HTTP/1.1 {status} X\r\n{lines}\r\n").as_bytes()).unwrap();
        Framing::of_answer(&head, method)
    }

    /// The content, how many bytes the body has, and whether that is all of it.
    fn read(framing: Framing, pieces: &[&[u8]]) -> Result<(Vec<u8>, usize, bool), BadBody> {
        let (mut body, mut content, mut count) = (Body::new(framing), Vec::new(), 0);
        for mut bytes in pieces.iter().copied() {
            while let Some(piece) = body.next(bytes)? {
                let taken = match piece {
                    Piece::Content(taken) => {
                        content.extend(&bytes[..taken]);
                        taken
                    }
                    Piece::Framing(taken) => taken,
                };
                count += taken;
                bytes = &bytes[taken..];
            }
        }
        Ok((content, count, body.is_done()))
    }

    #[test]
    fn a_request_says_where_its_body_ends_or_is_refused() {
        for (lines, wanted) in [
            ("", Ok(Framing::Length(0))),
            ("Content-Length: 7\r\n", Ok(Framing::Length(7))),
            ("Content-Length:   007  \r\n", Ok(Framing::Length(7))),
            ("Transfer-Encoding: Chunked\r\n", Ok(Framing::Chunked)),
            ("Content-Length: 99999999999999999999\r\n", Err("not a number")),
            ("Content-Length: 1\r\nContent-Length: 1\r\n", Err("given twice")),
            ("Content-Length: 1, 1\r\n", Err("not a number")),
            ("Content-Length: 0x1\r\n", Err("not a number")),
            ("Content-Length: -1\r\n", Err("not a number")),
            ("Content-Length: 1\r\nTransfer-Encoding: chunked\r\n", Err("both given")),
            ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", Err("other than one `chunked`")),
            ("Transfer-Encoding: gzip, chunked\r\n", Err("other than one `chunked`")),
            ("Transfer-Encoding: chunked, identity\r\n", Err("other than one `chunked`")),
            ("Transfer-Encoding: xchunked\r\n", Err("other than one `chunked`")),
            ("Transfer-Encoding: \x0bchunked\r\n", Err("bad value")),
            ("Transfer-Encoding: identity\r\n", Err("other than one `chunked`")),
        ] {
            match (of_request(lines), wanted) {
                (Ok(found), Ok(wanted)) => assert_eq!(found, wanted, "{lines:?}"),
                (Err(found), Err(wanted)) => assert!(found.contains(wanted), "{lines:?}: {found}"),
                (found, wanted) => panic!("{lines:?}: {found:?}, not {wanted:?}"),
            }
        }
        let old = request_head(b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n").unwrap();
        assert!(Framing::of_request(&old).is_err());
    }

    #[test]
    fn an_answer_says_where_its_body_ends_or_is_no_answer() {
        let (length, chunked) = ("Content-Length: 7\r\n", "Transfer-Encoding: chunked\r\n");
        for (status, method, lines, wanted) in [
            (200, "GET", length, Some(Framing::Length(7))),
            (200, "GET", chunked, Some(Framing::Chunked)),
            (200, "GET", "", Some(Framing::UntilClose)),
            (200, "HEAD", length, Some(Framing::Length(0))),
            (100, "POST", chunked, Some(Framing::Length(0))),
            (204, "GET", "", Some(Framing::Length(0))),
            (304, "GET", length, Some(Framing::Length(0))),
            (200, "GET", "Content-Length: 7\r\nTransfer-Encoding: chunked\r\n", None),
            (200, "GET", "Content-Length: 7\r\nContent-Length: 8\r\n", None),
            (200, "GET", "Content-Length: seven\r\n", None),
            (200, "GET", "Transfer-Encoding: gzip\r\n", None),
        ] {
            assert_eq!(of_answer(status, method, lines).ok(), wanted, "{status} {method} {lines:?}");
        }
    }

    const CHUNKED: &[u8] = b"3;x=\"y\"\r\nabc\r\n01\r\n\n\r\n0\r\nT-1: v\r\nU:\r\n\r\n";

    #[test]
    fn a_body_ends_where_it_ends_at_every_split() {
        let wire = [CHUNKED, b"next"].concat();
        for split in 0..=wire.len() {
            let found = read(Framing::Chunked, &[&wire[..split], &wire[split..]]);
            assert_eq!(found, Ok((b"abc\n".to_vec(), CHUNKED.len(), true)), "split at {split}");
            let found = read(Framing::Length(5), &[&wire[..split], &wire[split..]]);
            assert_eq!(found, Ok((wire[..5].to_vec(), 5, true)));
            let found = read(Framing::UntilClose, &[&wire[..split], &wire[split..]]);
            assert_eq!(found, Ok((wire.clone(), wire.len(), false)));
        }
        assert_eq!(read(Framing::Length(0), &[b"x"]), Ok((Vec::new(), 0, true)));
        assert_eq!(read(Framing::Chunked, &[b"0\r\n\r\n"]), Ok((Vec::new(), 5, true)));
        assert_eq!(read(Framing::Chunked, &[b"5\r\nab"]), Ok((b"ab".to_vec(), 5, false)));
    }

    #[test]
    fn content_is_moved_together_and_what_is_behind_it_stays() {
        let mut wire = [CHUNKED, b"next"].concat();
        let mut body = Body::new(Framing::Chunked);
        let Unframed { content, taken } = body.unframe(&mut wire).unwrap();
        assert_eq!((&wire[content], &wire[taken..], body.is_done()), (&b"abc\n"[..], &b"next"[..], true));
        let mut one = *b"4\r\nabcd";
        let found = Body::new(Framing::Chunked).unframe(&mut one);
        assert_eq!(found, Ok(Unframed { content: 3..7, taken: 7 }), "one piece stays where it is");
        let chunk = [ChunkStart::of(26).as_bytes(), &[b'x'; 26], CHUNK_END, LAST_CHUNK].concat();
        assert_eq!(read(Framing::Chunked, &[&chunk]), Ok((vec![b'x'; 26], chunk.len(), true)));
    }

    #[test]
    fn a_chunk_starts_with_its_size_in_hexadecimal_digits() {
        for bytes in [1, 9, 10, 15, 16, 0xff, 0x100, 0xabcd, 1 << 20, usize::MAX] {
            assert_eq!(ChunkStart::of(bytes).as_bytes(), format!("{bytes:x}\r\n").as_bytes());
        }
        assert_eq!(ChunkStart::default().as_bytes(), b"");
        assert_eq!(CHUNK_END_AND_LAST, [CHUNK_END, LAST_CHUNK].concat());
    }

    #[test]
    fn chunks_that_two_parsers_could_read_differently_are_refused() {
        let long = [b"1;".to_vec(), vec![b'x'; ASIDE_BYTES_MAX as usize]].concat();
        let trailers = [b"0\r\n".to_vec(), b"T: v\r\n".repeat(ASIDE_BYTES_MAX as usize / 4)].concat();
        for bad in [
            &b"3\nabc\r\n0\r\n\r\n"[..],
            b"3\r\nabc\n0\r\n\r\n",
            b"3\r\nabc\r\n0\n\r\n",
            b"3\r\nabc\r\n0\r\n\n",
            b"3\r\nabcd\r\n0\r\n\r\n",
            b"3\r\nab\r\n0\r\n\r\n",
            b"3 \r\nabc\r\n",
            b" 3\r\nabc\r\n",
            b"0x3\r\nabc\r\n",
            b"+3\r\nabc\r\n",
            b"-1\r\n",
            b"\r\n",
            b";x\r\n",
            b"g\r\n",
            b"3;a\nb\r\nabc\r\n",
            b"3;a\rb\r\nabc\r\n",
            b"3;\0\r\nabc\r\n",
            b"3\r\r\nabc\r\n",
            b"00000000000000003\r\nabc\r\n",
            b"10000000000000003\r\nabc\r\n",
            b"0\r\n: v\r\n\r\n",
            b"0\r\n folded\r\n\r\n",
            b"0\r\nT v\r\n\r\n",
            b"0\r\nT\r\n\r\n",
            b"0\r\nT: v\n\r\n",
            b"0\r\n\rX",
            &long,
            &trailers,
        ] {
            let shown = String::from_utf8_lossy(&bad[..bad.len().min(40)]);
            assert!(read(Framing::Chunked, &[bad]).is_err(), "{shown:?}");
        }
    }

    /// Bytes that are nearly chunks.
    fn nearly_chunks() -> impl Strategy<Value = Vec<u8>> {
        let word = prop_oneof![
            Just(b"\r\n".to_vec()),
            Just(b"0\r\n\r\n".to_vec()),
            Just(b"3\r\nabc\r\n".to_vec()),
            Just(b"a;x=y\r\n0123456789\r\n".to_vec()),
            Just(b"0\r\nT: v\r\n\r\n".to_vec()),
            proptest::collection::vec(any::<u8>(), 0..3),
        ];
        proptest::collection::vec(word, 0..8).prop_map(|words| words.concat())
    }

    proptest! {
        #[test]
        fn any_split_reads_as_the_whole(
            wire in nearly_chunks(), cuts in proptest::collection::vec(0usize..80, 0..6), length in 0u64..40,
        ) {
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(wire.len())).collect();
            cuts.extend([0, wire.len()]);
            cuts.sort_unstable();
            let pieces: Vec<&[u8]> = cuts.windows(2).map(|pair| &wire[pair[0]..pair[1]]).collect();
            for framing in [Framing::Chunked, Framing::Length(length), Framing::UntilClose] {
                prop_assert_eq!(read(framing, &pieces), read(framing, &[&wire]));
            }
        }
    }
}
