//! A JSON event with its long texts cut short, so that what it states can be kept however long what it quotes is: a picture, the
//! sound or the instructions of a response that is over.
//!
//! Invariant: what is kept is bounded, and is JSON where the event is.

use memchr::{memchr, memchr2};

/// Of a text so much is kept, which is more than any name, id or figure has.
const TEXT_BYTES_MAX: usize = 16 << 10;

/// The event as far as it has come.
#[derive(Debug)]
pub struct Abridged {
    kept: Vec<u8>,
    kept_max: usize,
    inside: Option<Text>,
    is_whole: bool,
}

/// A text that is open.
#[derive(Clone, Copy, Debug, Default)]
struct Text {
    bytes: usize,
    /// Behind a backslash, which was kept or not.
    escape: Option<bool>,
}

impl Abridged {
    /// Of an event of which at most so much is kept.
    pub fn new(kept_max: usize) -> Abridged {
        Abridged { kept: Vec::new(), kept_max, inside: None, is_whole: true }
    }

    /// What is kept, unless it would be too much; the beginning of it then.
    pub fn kept(&self) -> (&[u8], bool) {
        (&self.kept, self.is_whole)
    }

    pub fn read(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() && self.is_whole {
            let read = match self.inside {
                None => self.between(bytes),
                Some(text) => self.text(bytes, text),
            };
            bytes = &bytes[read..];
        }
    }

    /// Up to the next text, its quote included.
    fn between(&mut self, bytes: &[u8]) -> usize {
        let quote = memchr(b'"', bytes);
        self.inside = quote.map(|_| Text::default());
        let length = quote.map_or(bytes.len(), |quote| quote + 1);
        self.keep(&bytes[..length]);
        length
    }

    fn text(&mut self, bytes: &[u8], mut text: Text) -> usize {
        // An escape is kept with the backslash before it, or not at all: a quote would be another one without.
        if let Some(is_kept) = text.escape.take() {
            text.bytes = text.bytes.saturating_add(1);
            self.inside = Some(text);
            self.keep(if is_kept { &bytes[..1] } else { &[] });
            return 1;
        }
        let end = memchr2(b'"', b'\\', bytes);
        let length = end.unwrap_or(bytes.len());
        let room = TEXT_BYTES_MAX.saturating_sub(text.bytes);
        self.keep(&bytes[..length.min(room)]);
        text.bytes = text.bytes.saturating_add(length);
        let Some(end) = end else {
            self.inside = Some(text);
            return length;
        };
        let is_kept = bytes[end] == b'"' || text.bytes < TEXT_BYTES_MAX;
        text.bytes = text.bytes.saturating_add(1);
        self.keep(if is_kept { &bytes[end..=end] } else { &[] });
        text.escape = (bytes[end] == b'\\').then_some(is_kept);
        self.inside = (bytes[end] == b'\\').then_some(text);
        end + 1
    }

    fn keep(&mut self, bytes: &[u8]) {
        self.is_whole &= self.kept.len() + bytes.len() <= self.kept_max;
        if self.is_whole {
            self.kept.extend_from_slice(bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    fn abridged(event: &[u8], step: usize) -> (Vec<u8>, bool) {
        let mut abridged = Abridged::new(1 << 20);
        event.chunks(step).for_each(|part| abridged.read(part));
        let (kept, is_whole) = abridged.kept();
        (kept.to_vec(), is_whole)
    }

    #[test]
    fn what_an_event_states_is_kept_whatever_it_quotes() {
        for long in ["A".repeat(3 << 20), "\"\\\u{1}\u{e4}".repeat(1 << 18)] {
            let event =
                json!({"response": {"id": "r", "output": [{"result": long}], "usage": {"output_tokens": 7}}});
            for step in [7, 4_096, 1 << 22] {
                let (kept, is_whole) = abridged(event.to_string().as_bytes(), step);
                assert!(is_whole && kept.len() < 20_000, "{}", kept.len());
                let told: Value = serde_json::from_slice(&kept).unwrap();
                assert_eq!(told["response"]["usage"], json!({"output_tokens": 7}));
                assert!(long.starts_with(told["response"]["output"][0]["result"].as_str().unwrap()));
            }
        }
        let numbers = format!("[{}0]", "1,".repeat(1 << 20));
        let (kept, is_whole) = abridged(numbers.as_bytes(), 1_000);
        assert!(!is_whole && kept.len() <= 1 << 20);
    }

    proptest! {
        #[test]
        fn an_event_without_long_texts_stays_as_it_is(event: Vec<u8>, step in 1usize..9) {
            prop_assert_eq!(abridged(&event, step), (event, true));
        }
    }
}
