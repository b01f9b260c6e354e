//! The keys of a request's JSON object that come behind what is held of it: what is metered has to be known before.
//!
//! Start at [`Behind::new`] with what is held, then [`Behind::read`]. Invariant: it holds one key and no value, however the bytes
//! are split.

use super::request::{ONCE, TOO_LATE, is_alike};
use crate::json::unescaped;
use memchr::memchr2;

/// Reads the rest of an object.
#[derive(Debug)]
pub struct Behind {
    /// Containers around the next byte.
    depth: usize,
    /// The next text is a key of the object itself.
    before_key: bool,
    /// In a text; whether the byte before was a backslash.
    text: Option<bool>,
    key: Vec<u8>,
    /// How many of [`ONCE`] must not come any more.
    names: usize,
}

/// A longer key is none of those, also where each letter of it is an escape.
const KEY_BYTES_MAX: usize = 160;

impl Behind {
    /// Behind these bytes of an object neither its model may come nor, unless `states_usage`, what makes its answer state its
    /// usage.
    pub fn new(held: &[u8], states_usage: bool) -> Behind {
        let names = if states_usage { FIRST_NAMES } else { ONCE.len() };
        let mut behind = Behind { depth: 0, before_key: false, text: None, key: Vec::new(), names: 0 };
        behind.read(held);
        behind.names = names;
        behind
    }

    /// Reads on; what is wrong with what came.
    pub fn read(&mut self, bytes: &[u8]) -> Option<&'static str> {
        let mut at = 0;
        while at < bytes.len() {
            match self.text {
                Some(escaped) => {
                    let (read, found) = self.within_text(&bytes[at..], escaped);
                    if found.is_some() {
                        return found;
                    }
                    at += read;
                }
                None => {
                    self.mark(bytes[at]);
                    at += 1;
                }
            }
        }
        None
    }

    fn mark(&mut self, byte: u8) {
        match byte {
            b'"' => {
                self.key.clear();
                self.text = Some(false);
            }
            b'{' | b'[' => {
                self.before_key = self.depth == 0 && byte == b'{';
                self.depth += 1;
            }
            b'}' | b']' => self.depth = self.depth.saturating_sub(1),
            b',' if self.depth == 1 => self.before_key = true,
            _ => {}
        }
    }

    /// How many bytes belong to a text, and what is wrong if it was a key.
    fn within_text(&mut self, bytes: &[u8], escaped: bool) -> (usize, Option<&'static str>) {
        let from = usize::from(escaped);
        let found = bytes.get(from..).and_then(|rest| memchr2(b'"', b'\\', rest)).map(|at| from + at);
        let length = found.unwrap_or(bytes.len());
        let is_key = self.before_key && self.depth == 1;
        if is_key {
            let kept = length + usize::from(found.is_some_and(|at| bytes[at] == b'\\'));
            let room = KEY_BYTES_MAX.saturating_sub(self.key.len());
            self.key.extend_from_slice(&bytes[..kept.min(room)]);
        }
        match found.map(|at| bytes[at]) {
            None => self.text = Some(false),
            Some(b'\\') => self.text = Some(true),
            Some(_) => {
                (self.text, self.before_key) = (None, self.before_key && self.depth != 1);
                return (length + 1, is_key.then(|| self.problem()).flatten());
            }
        }
        (bytes.len().min(length + 1), None)
    }

    fn problem(&self) -> Option<&'static str> {
        let key = unescaped(&self.key);
        ONCE[..self.names].iter().any(|(name, _)| is_alike(&key, name)).then_some(TOO_LATE)
    }
}

const _: () = {
    let mut index = 0;
    while index < ONCE.len() {
        assert!(ONCE[index].0.len() * "\\u0000".len() < KEY_BYTES_MAX);
        index += 1;
    }
};

/// So many of [`ONCE`] say what is asked of whom; the others, whether the answer states its usage.
const FIRST_NAMES: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_that_matters_is_found_behind_what_is_held_wherever_the_bytes_are_split() {
        for (body, states_usage, is_wrong) in [
            (r#"{"model":"a","x":"model","y":{"model":1},"z":[{"model":1},"model"]}"#, true, false),
            (r#"{"model":"a","x":"\"}","model":"b"}"#, true, true),
            (r#"{"model":"a","x":"\\","Model":"b"}"#, true, true),
            (r#"{"model":"a","x":[],"mo\u0064el":"b"}"#, true, true),
            (r#"{"model":"a","x":{},"background":true}"#, true, true),
            (r#"{"model":"a","x":{},"stream":true}"#, true, false),
            (r#"{"model":"a","x":{},"stream":true}"#, false, true),
            (r#"{"model":"a","x":0,"store":true}"#, false, true),
            (
                r#"{"model":"a","x":0,"\u0070\u0072\u0065\u0076\u0069\u006f\u0075\u0073\u005f\u0072\u0065\u0073\u0070\u006f\u006e\u0073\u0065\u005f\u0069\u0064":1}"#,
                true,
                true,
            ),
        ] {
            let bytes = body.as_bytes();
            for held in 13..20 {
                for at in held..bytes.len() {
                    let mut behind = Behind::new(&bytes[..held], states_usage);
                    let found = behind.read(&bytes[held..at]).or_else(|| behind.read(&bytes[at..]));
                    assert_eq!(found.is_some(), is_wrong, "{body} held {held} split at {at}");
                }
            }
        }
    }
}
