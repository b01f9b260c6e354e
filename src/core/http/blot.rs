//! Blots a secret out of what a provider says about it: every byte of it becomes an asterisk, so no length changes.
//!
//! Start at [`Blot`] for what is there whole, and at [`BodyBlot`] for a body that comes in pieces.

use super::body::{Body, Framing, Piece};
use super::write::{HeaderName, HeaderValue};
use super::{Header, Headers};
use memchr::memmem;
use std::borrow::Cow;
use std::fmt;

/// Finds a secret as it is, percent-encoded or escaped as in JSON, wholly or in part, and in base64.
pub struct Blot {
    secret: Vec<u8>,
    /// What its base64 holds whatever stands before and behind it, for each position modulo 3.
    encoded: Vec<Vec<u8>>,
    /// The most bytes that one occurrence can have.
    longest: usize,
}

/// A shorter secret, or a shorter part of its base64, would be found in plain words.
const SECRET_BYTES_MIN: usize = 4;
const ENCODED_BYTES_MIN: usize = 8;
/// What many keys begin with alike is no secret.
const CUT_BYTES_MIN: usize = 10;
/// `\u002d`
const ESCAPE_BYTES_MAX: usize = 6;
const BLOT: u8 = b'*';
/// Framing of this length within what could be an occurrence is none that a provider sends, and is not kept back.
const FRAMING_BYTES_MAX: usize = 16 << 10;

/// Never shows the secret.
impl fmt::Debug for Blot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Blot")
    }
}

impl Blot {
    /// Without a secret, or with one too short to be one, nothing is blotted.
    pub fn of(secret: Option<&str>) -> Blot {
        let secret = secret.filter(|secret| secret.len() >= SECRET_BYTES_MIN).unwrap_or_default().as_bytes();
        let alphabets = [(b'+', b'/'), (b'-', b'_')];
        let encoded =
            alphabets.into_iter().flat_map(|last| (0..3).map(move |before| base64(secret, before, last)));
        let mut encoded: Vec<_> = encoded.filter(|part| part.len() >= ENCODED_BYTES_MIN).collect();
        encoded.dedup();
        Blot { secret: secret.to_vec(), encoded, longest: secret.len() * ESCAPE_BYTES_MAX }
    }

    pub fn is_empty(&self) -> bool {
        self.secret.is_empty()
    }

    /// Blots every occurrence out of `bytes`. True if there was one.
    pub fn out_of(&self, bytes: &mut [u8]) -> bool {
        let spans = self.spans(bytes);
        for &(start, end) in &spans {
            bytes[start..end].fill(BLOT);
        }
        !spans.is_empty()
    }

    /// As [`Blot::out_of`], where the end may have been cut off: what is left of the secret there goes, too.
    pub fn out_of_cut(&self, bytes: &mut [u8]) {
        self.out_of(bytes);
        let longest = self.secret.len().min(bytes.len());
        let left = (CUT_BYTES_MIN..longest).rev().find(|&left| bytes.ends_with(&self.secret[..left]));
        if let Some(left) = left {
            let start = bytes.len() - left;
            bytes[start..].fill(BLOT);
        }
    }

    /// A header's value without the secret.
    pub fn value<'a>(&self, value: &'a HeaderValue) -> Cow<'a, HeaderValue> {
        if self.spans(value.as_bytes()).is_empty() {
            return Cow::Borrowed(value);
        }
        let mut bytes = value.as_bytes().to_vec();
        self.out_of(&mut bytes);
        Cow::Owned(HeaderValue::parse(bytes).expect("asterisks can be written"))
    }

    /// Headers without the secret. A line whose name holds it goes.
    pub fn headers<'a>(
        &self,
        headers: &'a Headers,
    ) -> impl Iterator<Item = (&'a HeaderName, Cow<'a, HeaderValue>)> {
        let is_clean = |header: &&Header| self.spans(header.name.as_str().as_bytes()).is_empty();
        headers.0.iter().filter(is_clean).map(|header| (&header.name, self.value(&header.value)))
    }

    fn spans(&self, bytes: &[u8]) -> Vec<(usize, usize)> {
        if self.is_empty() {
            return Vec::new();
        }
        let mut spans = Vec::new();
        let first = self.secret[0];
        for at in memchr::memchr3_iter(first, b'%', b'\\', bytes) {
            if let Some(length) = spelt(&self.secret, &bytes[at..]) {
                spans.push((at, at + length));
            }
        }
        for part in self.encoded.iter().filter(|part| part.len() <= bytes.len()) {
            spans.extend(memmem::find_iter(bytes, part).map(|at| (at, at + part.len())));
        }
        spans
    }
}

/// How many bytes at the front of `bytes` spell `secret`, each of its bytes as it is or in an escape.
fn spelt(secret: &[u8], bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    for &byte in secret {
        let rest = &bytes[at..];
        at += match rest {
            [first, ..] if *first == byte => 1,
            [b'%', hex @ ..] if hex_byte(hex) == Some(byte) => 3,
            [b'\\', b'u', b'0', b'0', hex @ ..] if hex_byte(hex) == Some(byte) => ESCAPE_BYTES_MAX,
            [b'\\', second, ..] if *second == byte => 2,
            _ => return None,
        };
    }
    Some(at)
}

fn hex_byte(bytes: &[u8]) -> Option<u8> {
    let digit = |at: usize| char::from(*bytes.get(at)?).to_digit(16);
    Some((digit(0)? * 16 + digit(1)?) as u8)
}

/// Of the base64 of `before` unknown bytes and `secret`, the characters that depend on nothing but the secret.
fn base64(secret: &[u8], before: usize, last: (u8, u8)) -> Vec<u8> {
    let bytes = [&[0; 2][..before], secret].concat();
    let character = |index: usize| {
        let bits = (0..6).map(|bit| index * 6 + bit).map(|bit| bytes[bit / 8] >> (7 - bit % 8) & 1);
        match bits.fold(0, |value, bit| value << 1 | bit) {
            value @ 0..26 => b'A' + value,
            value @ 26..52 => b'a' + value - 26,
            value @ 52..62 => b'0' + value - 52,
            62 => last.0,
            _ => last.1,
        }
    };
    ((before * 8).div_ceil(6)..bytes.len() * 8 / 6).map(character).collect()
}

/// A body that is blotted as it passes, whatever its framing and wherever it is split. It keeps back no more than an
/// occurrence can have.
#[derive(Debug)]
pub struct BodyBlot<'a> {
    blot: &'a Blot,
    body: Body,
    /// What has come and not gone on.
    kept: Vec<u8>,
    /// Where in it the body's own bytes are; between them stands the framing.
    content_at: Vec<usize>,
}

impl<'a> BodyBlot<'a> {
    pub fn new(blot: &'a Blot, framing: Framing) -> BodyBlot<'a> {
        BodyBlot { blot, body: Body::new(framing), kept: Vec::new(), content_at: Vec::new() }
    }

    pub fn is_done(&self) -> bool {
        self.body.is_done()
    }

    /// Takes what belongs to the body from the front of `bytes`, and gives what may go on. A body that is malformed goes on
    /// to the end of its connection.
    pub fn take(&mut self, mut bytes: &[u8]) -> Vec<u8> {
        loop {
            let piece = self.body.next(bytes).unwrap_or_else(|_| {
                self.body = Body::new(Framing::UntilClose);
                Some(Piece::Content(bytes.len()))
            });
            let count = match piece {
                None => break,
                Some(Piece::Framing(count)) => count,
                Some(Piece::Content(count)) => {
                    self.content_at.extend(self.kept.len()..self.kept.len() + count);
                    count
                }
            };
            self.kept.extend(&bytes[..count]);
            bytes = &bytes[count..];
        }
        self.blot_out();
        if self.is_done() { self.rest() } else { self.give() }
    }

    /// What was kept back, once nothing more comes.
    pub fn rest(&mut self) -> Vec<u8> {
        self.content_at.clear();
        std::mem::take(&mut self.kept)
    }

    /// Once in the body's own bytes, where chunks may have split it, and once in all, for what the framing holds.
    fn blot_out(&mut self) {
        let content: Vec<u8> = self.content_at.iter().map(|&at| self.kept[at]).collect();
        for (start, end) in self.blot.spans(&content) {
            for &at in &self.content_at[start..end] {
                self.kept[at] = BLOT;
            }
        }
        self.blot.out_of(&mut self.kept);
    }

    /// All but what may be the beginning of an occurrence.
    fn give(&mut self) -> Vec<u8> {
        let back = self.blot.longest.saturating_sub(1);
        let of_all = self.kept.len().saturating_sub(back);
        let of_content = match self.content_at.len().checked_sub(back) {
            Some(index) => self.content_at.get(index).copied().unwrap_or(self.kept.len()),
            None => self.content_at.first().copied().unwrap_or(self.kept.len()),
        };
        let bytes_max = back + FRAMING_BYTES_MAX;
        let cut = if of_all > bytes_max { of_all } else { of_all.min(of_content) };
        let kept = self.kept.split_off(cut);
        self.content_at.retain(|&at| at >= cut);
        self.content_at.iter_mut().for_each(|at| *at -= cut);
        std::mem::replace(&mut self.kept, kept)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECRET: &str = "sk-proj-AbC_123/x+y=";

    fn blotted(text: &str) -> String {
        let mut bytes = text.as_bytes().to_vec();
        Blot::of(Some(SECRET)).out_of(&mut bytes);
        assert_eq!(bytes.len(), text.len());
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn a_secret_goes_however_it_is_spelt_and_nothing_else_does() {
        for (text, expected) in [
            ("Incorrect key: sk-proj-AbC_123/x+y=.", "Incorrect key: ********************."),
            ("sk-proj-AbC_123%2Fx%2By%3d&", "**************************&"),
            (r#"{"key":"sk-proj-AbC_123\/x+y="}"#, r#"{"key":"*********************"}"#),
            (r"sk\u002dproj-AbC_123/x+y=", "*************************"),
            ("%73k-proj-AbC_123/x+y=", "**********************"),
            ("sk-proj-AbC_123/x+y", "sk-proj-AbC_123/x+y"),
            ("sk-sk-proj-AbC_123/x+y=", "sk-********************"),
            ("Basic OnNrLXByb2otQWJDXzEyMy94K3k9", "Basic Onp"),
        ] {
            match text.starts_with("Basic") {
                // Of `:` and the secret in base64 one character on each side belongs to a neighbour as well.
                true => assert!(!blotted(text).contains("LXByb2otQWJDXzEyMy94"), "{}", blotted(text)),
                false => assert_eq!(blotted(text), expected),
            }
        }
        let mut cut = *b"Incorrect: sk-proj-AbC_12";
        Blot::of(Some(SECRET)).out_of_cut(&mut cut);
        assert_eq!(&cut, b"Incorrect: **************");
        let mut bytes = *b"anything";
        assert!(!Blot::of(None).out_of(&mut bytes) && !Blot::of(Some("any")).out_of(&mut bytes));
    }

    /// Runs `wire` through in pieces.
    fn pass(wire: &[u8], framing: Framing, step: usize) -> Vec<u8> {
        let blot = Blot::of(Some(SECRET));
        let mut body = BodyBlot::new(&blot, framing);
        let mut passed = Vec::new();
        for piece in wire.chunks(step) {
            passed.extend(body.take(piece));
            assert!(body.kept.len() <= blot.longest + FRAMING_BYTES_MAX);
        }
        passed.extend(body.rest());
        passed
    }

    #[test]
    fn a_body_is_blotted_wherever_it_is_split() {
        let text = format!("{}{SECRET}{}{SECRET}", "a".repeat(300), "b".repeat(200));
        let clean = text.replace(SECRET, &"*".repeat(SECRET.len()));
        let (length, whole) = (text.len() as u64, text.len());
        // A chunk ends within the secret, and a trailer holds it.
        let chunked = format!(
            "136\r\n{}\r\n{:x};e\r\n{}\r\n0\r\nT: {SECRET}\r\n\r\n",
            &text[..310],
            whole - 310,
            &text[310..]
        );
        for step in [1, 2, 7, 64, 1000] {
            assert_eq!(
                pass(text.as_bytes(), Framing::Length(length), step),
                clean.as_bytes(),
                "in steps of {step}"
            );
            assert_eq!(pass(text.as_bytes(), Framing::UntilClose, step), clean.as_bytes());
            assert_eq!(
                pass(format!("{text}next").as_bytes(), Framing::Length(length), step),
                clean.as_bytes()
            );
            let passed = pass(chunked.as_bytes(), Framing::Chunked, step);
            let passed = String::from_utf8(passed).unwrap();
            assert!(!passed.contains("sk-proj") && passed.len() == chunked.len(), "{passed}");
            assert_eq!(passed.matches('*').count(), 3 * SECRET.len());
            assert!(passed.starts_with("136\r\n") && passed.ends_with("\r\n\r\n"), "{passed}");
        }
    }

    proptest! {
        #[test]
        fn what_holds_no_secret_passes_as_it_is(wire: Vec<u8>, step in 1usize..50) {
            prop_assert_eq!(pass(&wire, Framing::UntilClose, step), &wire[..]);
            let passed = pass(&wire, Framing::Chunked, step);
            prop_assert!(wire.starts_with(&passed));
            prop_assert!(passed == wire || passed.ends_with(b"\n\r\n"), "it is all but what is behind the body");
        }

        #[test]
        fn base64_of_a_secret_is_found_at_any_place(before in 0usize..9, behind in 0usize..9) {
            let text = [&vec![b'!'; before][..], SECRET.as_bytes(), &vec![b'!'; behind]].concat();
            let mut encoded = base64(&text, 0, (b'+', b'/'));
            prop_assert!(Blot::of(Some(SECRET)).out_of(&mut encoded));
            prop_assert!(encoded.iter().filter(|byte| **byte == BLOT).count() >= SECRET.len());
        }
    }
}
