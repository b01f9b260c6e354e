//! Arbitrary frames through the walker: nothing may panic, and however the bytes are split the same bytes are forwarded,
//! the same payloads shown, and the same violation found.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tokenist_core::ws::frame::{Header, Opcode};
use tokenist_core::ws::track::{Sender, Track};
use tokenist_core::ws::walk::{Act, Outcome, Part, Visit, Walker};

/// Small, so that short inputs have frames that do not fit.
const CAPACITY: usize = 1024;
const MESSAGE_BYTES_MAX: u64 = 1 << 20;

/// Keeps what it is shown; swallows pongs with one payload as the relay does.
#[derive(Debug, Default, PartialEq)]
struct Seen {
    /// Each frame's opcode with its payload.
    frames: Vec<(Opcode, Vec<u8>)>,
}

impl Visit for Seen {
    fn blot(&mut self, _: &mut [u8]) {}

    fn visit(&mut self, header: &Header, payload: &[u8], part: Part) -> Act {
        match part {
            Part::Whole | Part::First => self.frames.push((header.opcode, payload.to_vec())),
            Part::Middle | Part::Last => {
                self.frames.last_mut().expect("a first part came").1.extend_from_slice(payload);
            }
        }
        match (header.opcode, payload) {
            (Opcode::Pong, b"ours") => Act::Swallow,
            _ => Act::Pass,
        }
    }
}

/// What comes of `bytes` when they arrive in pieces of `step`.
fn walk(bytes: &[u8], sender: Sender, step: usize) -> (Vec<u8>, Seen, Outcome) {
    let mut walker = Walker::new(Track::new(sender, MESSAGE_BYTES_MAX), CAPACITY);
    let (mut forwarded, mut kept, mut seen) = (Vec::new(), Vec::new(), Seen::default());
    for piece in bytes.chunks(step) {
        kept.extend_from_slice(piece);
        let walked = walker.walk(&mut kept, &mut seen);
        assert!(walked.forward <= walked.seen && walked.seen <= walked.filled && walked.filled <= kept.len());
        forwarded.extend_from_slice(&kept[..walked.forward]);
        if walked.outcome != Outcome::Go {
            return (forwarded, seen, walked.outcome);
        }
        kept.truncate(walked.filled);
        kept.drain(..walked.seen);
        assert!(kept.len() < CAPACITY, "what is kept fits the buffer, with room to read more");
    }
    (forwarded, seen, Outcome::Go)
}

fuzz_target!(|bytes: &[u8]| {
    let Some((first, bytes)) = bytes.split_first() else { return };
    let sender = if first & 1 == 0 { Sender::Server } else { Sender::Client };
    let step = usize::from(first >> 1) + 1;
    let whole = walk(bytes, sender, CAPACITY / 2);
    assert_eq!(walk(bytes, sender, step), whole, "in steps of {step}");
    assert_eq!(walk(bytes, sender, 1), whole, "byte by byte");
});
