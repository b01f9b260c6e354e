//! Walks the frames in a buffer and says how far it may be forwarded.
//!
//! A frame that fits the buffer is forwarded whole or not at all, so that between two writes there is always a
//! place where a frame of our own may go. A larger one is forwarded as it comes, in parts. Payloads are shown to a
//! [`Visit`] as they are on the wire, masked ones masked.

use super::frame::{Header, Opcode, Violation};
use super::track::Track;

/// A larger frame's first part shows at least this much payload.
pub const HEAD_BYTES: usize = 512;

/// What a close says before its reason.
const CLOSE_CODE_BYTES: usize = 2;

/// Which part of a frame's payload is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    Whole,
    First,
    Middle,
    Last,
}

/// What is to become of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    Pass,
    /// Take this whole frame out of the stream.
    Swallow,
    /// Forward this and nothing after it. For the last frame of a message only.
    StopAfter,
    /// Forward nothing from here on. For the first frame of a message only; if its first part has gone already,
    /// it is completed.
    StopBefore,
    /// Forward nothing from here on, so that the message never gets whole.
    Break,
}

pub trait Visit {
    /// Sees every frame in order. After a stop it goes on to see the frames that will not be forwarded, and what
    /// it answers no longer matters.
    fn visit(&mut self, header: &Header, payload: &[u8], part: Part) -> Act;

    /// May blot out parts of a close's reason before it is forwarded. Nothing else is ever changed. Every visitor says
    /// what it does, so that one which stands before another does not keep the reason from it.
    fn blot(&mut self, reason: &mut [u8]);
}

/// What a walk found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Walked {
    /// Bytes at the front that go on now.
    pub forward: usize,
    /// Bytes that count as seen; those behind are an unfinished frame to be kept.
    pub seen: usize,
    /// Bytes that are left in all, after frames were swallowed.
    pub filled: usize,
    pub outcome: Outcome,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Go,
    Stopped,
    Violated(Violation),
}

#[derive(Clone, Debug)]
pub struct Walker {
    track: Track,
    /// The largest frame that is kept until it is whole.
    capacity: usize,
    /// A larger frame under way, with how much of its payload is still to come.
    large: Option<(Header, u64)>,
    /// Behind a stop: where the walk has come that is for the visitor alone.
    beyond: Option<Box<Place>>,
}

/// Where a walk has come: between which frames, and how much of a large one is left.
type Place = (Track, Option<(Header, u64)>);

/// How far one walk has come.
struct Way {
    at: usize,
    filled: usize,
    /// How far it is forwarded, and what was under way there.
    stop: Option<(usize, Place)>,
    outcome: Outcome,
}

impl Walker {
    pub fn new(track: Track, capacity: usize) -> Walker {
        Walker { track, capacity, large: None, beyond: None }
    }

    /// Walks `bytes`, which start where the last walk's `seen` ended.
    pub fn walk(&mut self, bytes: &mut [u8], visitor: &mut impl Visit) -> Walked {
        let mut way = Way { at: 0, filled: bytes.len(), stop: None, outcome: Outcome::Go };
        while way.at < way.filled && way.outcome == Outcome::Go {
            if self.track.is_closed() {
                // A side that has closed says no more (RFC 6455 §5.5.1).
                way.filled = way.at;
                break;
            }
            let goes_on = match self.large {
                Some((header, left)) => self.walk_rest(&header, left, bytes, visitor, &mut way),
                None => self.walk_frame(bytes, visitor, &mut way),
            };
            if !goes_on {
                break;
            }
        }
        let forward = match way.stop {
            None => way.at,
            Some((forward, place)) => {
                // What is injected next goes where the stop was, whatever has been seen behind it.
                self.beyond = Some(Box::new((self.track, self.large)));
                (self.track, self.large) = place;
                way.outcome = Outcome::Stopped;
                forward
            }
        };
        Walked { forward, seen: way.at, filled: way.filled, outcome: way.outcome }
    }

    /// More of a frame that is larger than what is kept.
    #[inline]
    fn walk_rest(
        &mut self,
        header: &Header,
        left: u64,
        bytes: &[u8],
        visitor: &mut impl Visit,
        way: &mut Way,
    ) -> bool {
        let mut taken = left.min((way.filled - way.at) as u64);
        let (part, offset) = (&bytes[way.at..way.at + taken as usize], header.payload_bytes - left);
        if let Err((good_bytes, violation)) = self.track.read(header, part, offset) {
            way.outcome = Outcome::Violated(violation);
            taken = good_bytes as u64;
        }
        let part = if taken == left { Part::Last } else { Part::Middle };
        let act = visitor.visit(header, &bytes[way.at..way.at + taken as usize], part);
        if act == Act::Break {
            way.stop.get_or_insert((way.at, (self.track, Some((*header, left)))));
        }
        way.at += taken as usize;
        self.large = (taken < left).then_some((*header, left - taken));
        if matches!(act, Act::StopAfter | Act::StopBefore) {
            way.stop.get_or_insert((way.at, (self.track, None)));
        }
        true
    }

    /// The next frame. False: more of it has to be there first, or it is none.
    #[inline]
    fn walk_frame(&mut self, bytes: &mut [u8], visitor: &mut impl Visit, way: &mut Way) -> bool {
        let header = match Header::read(&bytes[way.at..way.filled]).and_then(|header| match header {
            Some(header) => self.track.check(&header).map(|()| Some(header)),
            None => Ok(None),
        }) {
            Ok(Some(header)) => header,
            Ok(None) => return false,
            Err(violation) => {
                way.outcome = Outcome::Violated(violation);
                return false;
            }
        };
        match header.frame_bytes() > (way.filled - way.at) as u64 {
            true => self.walk_first(&header, bytes, visitor, way),
            false => self.walk_whole(&header, bytes, visitor, way),
        }
    }

    /// A frame of which there is no more yet than a first part.
    #[inline]
    fn walk_first(&mut self, header: &Header, bytes: &[u8], visitor: &mut impl Visit, way: &mut Way) -> bool {
        let fits = header.frame_bytes() <= self.capacity as u64;
        if fits || way.filled - way.at < header.header_bytes + HEAD_BYTES {
            return false;
        }
        let payload_at = way.at + header.header_bytes;
        let (before, mut seen) = (self.track, way.filled);
        if let Err((good_bytes, violation)) = self.track.read(header, &bytes[payload_at..way.filled], 0) {
            way.outcome = Outcome::Violated(violation);
            if good_bytes < HEAD_BYTES {
                return false;
            }
            seen = payload_at + good_bytes;
        }
        let act = visitor.visit(header, &bytes[payload_at..seen], Part::First);
        if matches!(act, Act::StopBefore | Act::Break) {
            way.stop.get_or_insert((way.at, (before, None)));
        }
        self.track.enter(header);
        self.large = Some((*header, header.payload_bytes - (seen - payload_at) as u64));
        way.at = seen;
        true
    }

    #[inline]
    fn walk_whole(
        &mut self,
        header: &Header,
        bytes: &mut [u8],
        visitor: &mut impl Visit,
        way: &mut Way,
    ) -> bool {
        let payload_at = way.at + header.header_bytes;
        let end = way.at + header.frame_bytes() as usize;
        let before = self.track;
        if let Err((_, violation)) = self.track.read(header, &bytes[payload_at..end], 0) {
            way.outcome = Outcome::Violated(violation);
            return false;
        }
        if header.opcode == Opcode::Close && header.mask.is_none() && end - payload_at > CLOSE_CODE_BYTES {
            visitor.blot(&mut bytes[payload_at + CLOSE_CODE_BYTES..end]);
        }
        let act = visitor.visit(header, &bytes[payload_at..end], Part::Whole);
        self.track.enter(header);
        match act {
            Act::Pass => way.at = end,
            Act::Swallow => {
                bytes.copy_within(end..way.filled, way.at);
                way.filled -= end - way.at;
            }
            Act::StopAfter => {
                way.stop.get_or_insert((end, (self.track, None)));
                way.at = end;
            }
            Act::StopBefore | Act::Break => {
                way.stop.get_or_insert((way.at, (before, None)));
                way.at = end;
            }
        }
        true
    }

    /// As [`Walker::walk`], for bytes of which nothing is forwarded any more: what is seen has no effect on where frames
    /// of our own may go.
    pub fn walk_on(&mut self, bytes: &mut [u8], visitor: &mut impl Visit) -> Walked {
        let (track, large) = self.beyond.take().map_or((self.track, self.large), |beyond| *beyond);
        let mut walker = Walker { track, large, beyond: None, capacity: self.capacity };
        let walked = walker.walk(bytes, visitor);
        self.beyond = Some(walker.beyond.unwrap_or_else(|| Box::new((walker.track, walker.large))));
        walked
    }

    /// Whether a close frame has been seen, forwarded or not.
    pub fn has_seen_close(&self) -> bool {
        self.is_closed() || self.beyond.as_ref().is_some_and(|beyond| beyond.0.is_closed())
    }

    /// Whether a control frame of our own may go after what has been forwarded.
    pub fn between_frames(&self) -> bool {
        self.large.is_none() && !self.track.is_closed()
    }

    /// Whether a data frame of our own may.
    pub fn between_messages(&self) -> bool {
        self.large.is_none() && self.track.between_messages()
    }

    /// A close frame has passed.
    pub fn is_closed(&self) -> bool {
        self.track.is_closed()
    }
}

#[cfg(test)]
mod tests {
    use super::super::frame;
    use super::super::track::Sender;
    use super::*;
    use proptest::prelude::*;

    /// Gathers payloads, swallows pongs, and stops at a payload that says so.
    #[derive(Default)]
    struct Reader {
        messages: Vec<Vec<u8>>,
        message: Vec<u8>,
    }

    impl Visit for Reader {
        fn blot(&mut self, _: &mut [u8]) {}

        fn visit(&mut self, header: &Header, payload: &[u8], part: Part) -> Act {
            if header.opcode == Opcode::Pong {
                return Act::Swallow;
            }
            self.message.extend(payload);
            if header.fin && matches!(part, Part::Whole | Part::Last) {
                self.messages.push(std::mem::take(&mut self.message));
            }
            match payload {
                b"stop after" => Act::StopAfter,
                b"stop before" => Act::StopBefore,
                _ => Act::Pass,
            }
        }
    }

    fn walker() -> Walker {
        Walker::new(Track::new(Sender::Server, 1 << 20), 4096)
    }

    /// Walks `wire` in pieces of at most `step` bytes through a buffer, as the relay does.
    fn relay(wire: &[u8], step: usize) -> (Vec<u8>, Reader) {
        let (mut walker, mut reader) = (walker(), Reader::default());
        let (mut forwarded, mut kept) = (Vec::new(), Vec::new());
        for piece in wire.chunks(step) {
            kept.extend_from_slice(piece);
            let walked = walker.walk(&mut kept, &mut reader);
            assert_eq!(walked.outcome, Outcome::Go);
            forwarded.extend_from_slice(&kept[..walked.forward]);
            kept.truncate(walked.filled);
            kept.drain(..walked.seen);
        }
        assert!(kept.is_empty() && walker.between_messages());
        (forwarded, reader)
    }

    #[test]
    fn any_split_forwards_the_same_bytes_and_shows_the_same_payloads() {
        let mut wire = frame::write(Opcode::Text, b"hello", None);
        wire.extend([0x01, 3, b'f', b'r', b'a']);
        wire.extend(frame::write(Opcode::Ping, b"ping", None));
        wire.extend([0x80, 4, b'g', b'm', b'e', b'n']);
        wire.extend(frame::write(Opcode::Binary, &[7; 5000], None));
        wire.extend(frame::write(Opcode::Text, &[8; 4000], None));
        for step in [1, 2, 3, 7, 100, 512, 4096, 10_000] {
            let (forwarded, reader) = relay(&wire, step);
            assert_eq!(forwarded, wire, "step {step}");
            assert_eq!(reader.messages.len(), 5);
            assert_eq!(reader.messages[0], b"hello");
            assert_eq!(reader.messages[3], [7; 5000]);
        }
    }

    #[test]
    fn a_stop_cuts_between_events() {
        let first = frame::write(Opcode::Text, b"first", None);
        for (text, forwarded_too) in [("stop after", true), ("stop before", false)] {
            let stop = frame::write(Opcode::Text, text.as_bytes(), None);
            let mut wire = [&first[..], &stop, &first, &[0x01, 1, b'x']].concat();
            let (mut walker, mut reader) = (walker(), Reader::default());
            let walked = walker.walk(&mut wire, &mut reader);
            let forward = first.len() + if forwarded_too { stop.len() } else { 0 };
            assert_eq!((walked.forward, walked.outcome), (forward, Outcome::Stopped));
            assert!(walker.between_messages(), "what was seen behind the stop is not on the wire");
            assert_eq!(reader.messages.len(), 3, "what is withheld is still shown");
        }
    }

    #[test]
    fn behind_a_stop_the_visitor_hears_on() {
        let text = |text: &[u8]| frame::write(Opcode::Text, text, None);
        let stop = text(b"stop before");
        let rest =
            [&text(b"second")[..], &stop, &frame::write(Opcode::Text, &[7; 9000], None), &text(b"last")]
                .concat();
        let mut wire = [&text(b"first")[..], &stop, &rest[..3]].concat();
        let (mut walker, mut reader) = (walker(), Reader::default());
        let walked = walker.walk(&mut wire, &mut reader);
        assert_eq!((walked.forward, walked.outcome), (text(b"first").len(), Outcome::Stopped));
        let mut kept = wire[walked.seen..].to_vec();
        for piece in rest[3..].chunks(1000) {
            kept.extend_from_slice(piece);
            let walked = walker.walk_on(&mut kept, &mut reader);
            kept.drain(..walked.seen);
            assert!(walker.between_messages(), "an event of our own still goes where the stop was");
        }
        let heard: Vec<usize> = reader.messages.iter().map(Vec::len).collect();
        assert_eq!((heard, kept.len(), walker.has_seen_close()), (vec![5, 11, 6, 11, 9000, 4], 0, false));
        walker.walk_on(&mut frame::write_close(1000, "", None), &mut reader);
        assert!(walker.has_seen_close() && walker.between_messages());
    }

    #[test]
    fn of_a_close_the_reason_may_be_blotted() {
        struct Blotter;
        impl Visit for Blotter {
            fn visit(&mut self, _: &Header, _: &[u8], _: Part) -> Act {
                Act::Pass
            }
            fn blot(&mut self, reason: &mut [u8]) {
                reason.fill(b'*');
            }
        }
        let text = frame::write(Opcode::Text, b"kept", None);
        let mut wire = [&text[..], &frame::write_close(4000, "secret", None)].concat();
        let walked = walker().walk(&mut wire, &mut Blotter);
        assert_eq!((walked.forward, walked.outcome), (wire.len(), Outcome::Go));
        assert_eq!(wire, [&text[..], &frame::write_close(4000, "******", None)].concat());
    }

    #[test]
    fn swallowed_frames_leave_no_trace() {
        let pong = frame::write(Opcode::Pong, b"ours", None);
        let text = frame::write(Opcode::Text, b"text", None);
        let wire = [&pong[..], &text, &pong, &pong, &text].concat();
        for step in [1, 5, 100] {
            assert_eq!(relay(&wire, step).0, [&text[..], &text].concat());
        }
    }

    #[test]
    fn a_violation_lets_through_what_came_before() {
        let text = frame::write(Opcode::Text, b"text", None);
        let mut wire = [&text[..], &[0xf1, 0]].concat();
        let walked = walker().walk(&mut wire, &mut Reader::default());
        assert_eq!(walked.forward, text.len());
        assert_eq!(walked.outcome, Outcome::Violated(Violation::ReservedBit));
    }

    #[test]
    fn text_that_is_none_goes_no_further_than_it_was_text() {
        let split = |first: &[u8], rest: &[u8]| {
            [&[0x01, first.len() as u8][..], first, &[0x80, rest.len() as u8], rest].concat()
        };
        let large = |bad_at: usize| {
            let mut payload = vec![b'x'; 9000];
            payload[bad_at] = 0xff;
            frame::write(Opcode::Text, &payload, None)
        };
        for (wire, forwarded) in [
            (frame::write(Opcode::Text, b"\xff", None), 0),
            (split(b"\xc3", b"\xb6"), 6),
            (split(b"\xc3", b"x"), 3),
            (split(b"whole", b"\xc3"), 7),
            // As far as it was text, whatever pieces it came in.
            (large(8999), 4 + 8999),
            (large(5000), 4 + 5000),
            (large(HEAD_BYTES), 4 + HEAD_BYTES),
            (large(0), 0),
        ] {
            let (mut walker, mut reader, mut sent) = (walker(), Reader::default(), 0);
            let mut kept = Vec::new();
            let mut outcomes = wire.chunks(1000).map(|piece| {
                kept.extend_from_slice(piece);
                let walked = walker.walk(&mut kept, &mut reader);
                sent += walked.forward;
                kept.drain(..walked.seen);
                walked.outcome
            });
            let bad = outcomes.find(|outcome| *outcome != Outcome::Go);
            let said = (forwarded < wire.len()).then_some(Outcome::Violated(Violation::BadText));
            assert_eq!((sent, bad), (forwarded, said), "{:x?}", &wire[..3]);
        }
        // Anything may be in a binary message.
        let wire = frame::write(Opcode::Binary, b"\xff", None);
        assert_eq!(relay(&wire, 100).0, wire);
    }

    #[test]
    fn nothing_is_heard_after_a_close() {
        let close = frame::write_close(1000, "", None);
        let mut wire = [&close[..], &frame::write(Opcode::Text, b"more", None), &[0xf1, 0]].concat();
        let (mut walker, mut reader) = (walker(), Reader::default());
        let walked = walker.walk(&mut wire, &mut reader);
        let all =
            Walked { forward: close.len(), seen: close.len(), filled: close.len(), outcome: Outcome::Go };
        assert_eq!(walked, all);
        assert_eq!(walker.walk(&mut [0xf1, 0], &mut reader).filled, 0);
    }

    /// Breaks every message off.
    struct Breaker;

    impl Visit for Breaker {
        fn blot(&mut self, _: &mut [u8]) {}

        fn visit(&mut self, header: &Header, _: &[u8], part: Part) -> Act {
            let is_last = header.fin && matches!(part, Part::Whole | Part::Last);
            if is_last { Act::Break } else { Act::Pass }
        }
    }

    #[test]
    fn a_message_that_is_broken_off_never_gets_whole() {
        let mut wire = frame::write(Opcode::Text, &[b'a'; 4_000], Some([1, 2, 3, 4]));
        let mut walker = Walker::new(Track::new(Sender::Client, 1 << 20), 1_024);
        let (first, rest) = wire.split_at_mut(2_000);
        let walked = walker.walk(first, &mut Breaker);
        assert_eq!((walked.forward, walked.outcome), (2_000, Outcome::Go));
        let walked = walker.walk(rest, &mut Breaker);
        assert_eq!((walked.forward, walked.outcome), (0, Outcome::Stopped));
        assert!(!walker.between_frames(), "nothing of ours may stand in the middle of it");

        let mut small = frame::write(Opcode::Text, b"a", Some([1, 2, 3, 4]));
        let mut walker = Walker::new(Track::new(Sender::Client, 1 << 20), 1_024);
        let walked = walker.walk(&mut small, &mut Breaker);
        assert_eq!((walked.forward, walked.outcome), (0, Outcome::Stopped));
        assert!(walker.between_messages());
    }

    proptest! {
        #[test]
        fn no_bytes_make_a_walk_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let walked = walker().walk(&mut bytes, &mut Reader::default());
            prop_assert!(walked.forward <= walked.filled && walked.seen <= walked.filled);
        }
    }
}
