//! Takes out of a stream of chat completions the usage that its client did not ask for: the chunk that states it, and
//! `"usage":null` in all others.
//!
//! Start at [`UsageFilter::pass`]. Invariant: no more than [`EVENT_BYTES_MAX`] are held, and each event but the longest goes
//! on as soon as it is whole; all other bytes pass as they are.

use crate::dialect::fields::{find, is_null};
use crate::json::{Fields, Value};
use memchr::memchr2;

#[cfg(test)]
mod tests;

#[derive(Debug, Default)]
pub struct UsageFilter {
    /// What has come of an event.
    event: Vec<u8>,
    /// More than is held; the rest of it passes.
    is_too_long: bool,
    /// What was taken out ended in a CR, whose LF may follow.
    after_return: bool,
}

/// A longer event is not the one that states usage.
const EVENT_BYTES_MAX: usize = 256 << 10;

const USAGE: &str = "usage";

impl UsageFilter {
    /// Takes a piece of the stream, as [`Answer::read`](super::Answer::read) has measured it, and adds to `out` what of it
    /// and of those before goes on.
    pub fn pass(&mut self, piece: &[u8], ends_event: bool, out: &mut Vec<u8>) {
        let is_rest = std::mem::take(&mut self.after_return) && piece.first() == Some(&b'\n');
        let piece = &piece[usize::from(is_rest)..];
        if self.is_too_long {
            out.extend_from_slice(piece);
        } else {
            self.event.extend_from_slice(piece);
        }
        if ends_event {
            self.end(out);
        } else if self.event.len() > EVENT_BYTES_MAX {
            out.append(&mut self.event);
            self.is_too_long = true;
        }
    }

    /// The stream is over: what is left goes on.
    pub fn end(&mut self, out: &mut Vec<u8>) {
        let mut event = std::mem::take(&mut self.event);
        let is_taken_out = states_usage(&event);
        if !is_taken_out {
            without_null(&event, out);
        }
        let after_return = is_taken_out && event.last() == Some(&b'\r');
        event.clear();
        *self = UsageFilter { event, is_too_long: false, after_return };
    }
}

/// The data of an event, line by line, and where each begins.
fn data_lines(event: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    const DATA: &[u8] = b"data:";
    let mut at = 0;
    let lines = std::iter::from_fn(move || {
        let rest = event.get(at..).filter(|rest| !rest.is_empty())?;
        let length = memchr2(b'\r', b'\n', rest).unwrap_or(rest.len());
        let line = (at, &rest[..length]);
        at += length + 1;
        Some(line)
    });
    lines.filter_map(|(at, line)| Some((at + DATA.len(), line.strip_prefix(DATA)?)))
}

/// What a chunk with usage says besides, if it is there for nothing else.
const BESIDES: [&str; 8] =
    [USAGE, "id", "object", "created", "model", "choices", "service_tier", "system_fingerprint"];

/// Whether it is the chunk that is there for nothing else.
fn states_usage(event: &[u8]) -> bool {
    let is_it = |data: &[u8]| {
        let says_more = Fields::of(data).any(|field| !BESIDES.iter().any(|name| field.key.is(name)));
        let has_usage = find(Fields::of(data), USAGE).is_some_and(|usage| usage.value.fields().is_some());
        let choices = find(Fields::of(data), "choices").map(|choices| choices.value);
        has_usage
            && !says_more
            && choices.and_then(Value::elements).is_none_or(|mut choices| choices.next().is_none())
    };
    data_lines(event).any(|(_, data)| is_it(data))
}

/// Adds the event to `out`, less the field that states nothing.
fn without_null(event: &[u8], out: &mut Vec<u8>) {
    let found = data_lines(event).find_map(|(at, data)| {
        let (from, to) = null_field(data)?;
        Some((at + from, at + to))
    });
    let (from, to) = found.unwrap_or((event.len(), event.len()));
    out.extend_from_slice(&event[..from]);
    out.extend_from_slice(&event[to..]);
}

/// Where `"usage":null` stands in an object, with one of the commas around it.
fn null_field(object: &[u8]) -> Option<(usize, usize)> {
    let mut fields = Fields::of(object);
    let mut before = fields.walked();
    let mut is_first = true;
    while let Some(field) = fields.next() {
        let end = fields.walked();
        if field.key.is(USAGE) && is_null(field) {
            let comma = object[end..].iter().position(|byte| !byte.is_ascii_whitespace());
            let comma = comma.filter(|comma| is_first && object[end + comma] == b',');
            return Some((before, comma.map_or(end, |comma| end + comma + 1)));
        }
        (before, is_first) = (end, false);
    }
    None
}
