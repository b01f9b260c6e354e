//! What one direction of a WebSocket may say next: fragments to messages, and the bounds on both.

use super::frame::{CONTROL_BYTES_MAX, Header, Opcode, Violation, may_close_with, unmask};
use super::utf8::Utf8;

/// Who sends in this direction: decides whether frames must be masked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sender {
    Client,
    Server,
}

/// Follows the frames of one direction. [`Track::check`] looks at a header, [`Track::read`] at what it announced, and
/// [`Track::enter`] moves on.
#[derive(Clone, Copy, Debug)]
pub struct Track {
    sender: Sender,
    message_max_bytes: u64,
    /// Payload bytes of the unfinished message; `None` between messages.
    unfinished: Option<u64>,
    /// The text so far, if the message is one.
    text: Option<Utf8>,
    closed: bool,
}

impl Track {
    pub fn new(sender: Sender, message_max_bytes: u64) -> Track {
        Track { sender, message_max_bytes, unfinished: None, text: None, closed: false }
    }

    /// Whether a frame with this header may come now. Tells from the header alone, before any payload is kept.
    pub fn check(&self, header: &Header) -> Result<(), Violation> {
        if header.mask.is_some() != (self.sender == Sender::Client) {
            return Err(Violation::WrongMask);
        }
        if header.opcode.is_control() {
            let short_close = header.opcode == Opcode::Close && header.payload_bytes == 1;
            return if short_close { Err(Violation::BadClose) } else { Ok(()) };
        }
        let so_far = match (header.opcode, self.unfinished) {
            (Opcode::Continuation, None) => return Err(Violation::StrayContinuation),
            (Opcode::Text | Opcode::Binary, Some(_)) => return Err(Violation::InterleavedMessage),
            (_, so_far) => so_far.unwrap_or(0),
        };
        if so_far.saturating_add(header.payload_bytes) > self.message_max_bytes {
            return Err(Violation::MessageTooBig { max_bytes: self.message_max_bytes });
        }
        Ok(())
    }

    /// Whether these bytes may be in a frame with this header: text is UTF-8, and a close frame says what may be said.
    /// The payload comes in order, as it is on the wire; `offset` is where in the frame this part of it begins. A
    /// control frame comes whole. Fails with the position in the part of the byte that may not be there.
    pub fn read(&mut self, header: &Header, part: &[u8], offset: u64) -> Result<(), (usize, Violation)> {
        let mut key = header.mask.unwrap_or_default();
        key.rotate_left((offset % 4) as usize);
        match header.opcode {
            Opcode::Ping | Opcode::Pong => return Ok(()),
            Opcode::Close => return check_close(part, key).map_err(|violation| (0, violation)),
            Opcode::Binary => self.text = None,
            Opcode::Text if offset == 0 => self.text = Some(Utf8::default()),
            Opcode::Text | Opcode::Continuation => {}
        }
        let Some(text) = &mut self.text else { return Ok(()) };
        let ends = header.fin && offset + part.len() as u64 == header.payload_bytes;
        match text.take(part, key) {
            Ok(()) if ends && !text.is_whole() => Err((part.len().saturating_sub(1), Violation::BadText)),
            taken => taken.map_err(|at| (at, Violation::BadText)),
        }
    }

    /// Takes the frame into account. It was checked.
    pub fn enter(&mut self, header: &Header) {
        debug_assert!(self.check(header).is_ok(), "only checked frames enter");
        match header.opcode {
            Opcode::Close => self.closed = true,
            Opcode::Ping | Opcode::Pong => {}
            Opcode::Continuation | Opcode::Text | Opcode::Binary => {
                let so_far = self.unfinished.unwrap_or(0) + header.payload_bytes;
                self.unfinished = (!header.fin).then_some(so_far);
            }
        }
    }

    /// Whether a data frame of our own may go here: not inside a fragmented message, not after a close.
    pub fn between_messages(&self) -> bool {
        self.unfinished.is_none() && !self.closed
    }

    /// A close frame has passed in this direction.
    pub fn is_closed(&self) -> bool {
        self.closed
    }
}

fn check_close(payload: &[u8], key: [u8; 4]) -> Result<(), Violation> {
    let mut plain = [0; CONTROL_BYTES_MAX as usize];
    let plain = &mut plain[..payload.len()];
    plain.copy_from_slice(payload);
    unmask(plain, key, 0);
    match plain {
        [] => Ok(()),
        [_] => Err(Violation::BadClose),
        [high, low, ..] if !may_close_with(u16::from_be_bytes([*high, *low])) => Err(Violation::BadCloseCode),
        [_, _, reason @ ..] => match std::str::from_utf8(reason) {
            Ok(_) => Ok(()),
            Err(_) => Err(Violation::BadCloseReason),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(opcode: Opcode, fin: bool, payload_bytes: u64) -> Header {
        Header { fin, opcode, mask: None, header_bytes: 2, payload_bytes }
    }

    /// Feeds frames and tells the first violation.
    fn check(frames: &[Header]) -> Result<Track, Violation> {
        let mut track = Track::new(Sender::Server, 100);
        for header in frames {
            track.check(header)?;
            track.enter(header);
        }
        Ok(track)
    }

    #[test]
    fn fragments_make_messages_with_control_frames_between() {
        use Opcode::{Close, Continuation, Ping, Text};
        let open = check(&[frame(Text, false, 10), frame(Ping, true, 5)]).unwrap();
        assert!(!open.between_messages());
        let done =
            check(&[frame(Text, false, 10), frame(Ping, true, 5), frame(Continuation, true, 90)]).unwrap();
        assert!(done.between_messages());
        assert!(check(&[frame(Close, true, 2)]).unwrap().is_closed());
    }

    #[test]
    fn what_may_not_come_is_refused() {
        use Opcode::{Binary, Close, Continuation, Text};
        for (frames, violation) in [
            (&[frame(Continuation, true, 1)][..], Violation::StrayContinuation),
            (&[frame(Text, false, 1), frame(Binary, true, 1)], Violation::InterleavedMessage),
            (&[frame(Text, true, 101)], Violation::MessageTooBig { max_bytes: 100 }),
            (
                &[frame(Text, false, 60), frame(Continuation, true, 41)],
                Violation::MessageTooBig { max_bytes: 100 },
            ),
            (&[frame(Close, true, 1)], Violation::BadClose),
            (&[Header { mask: Some([0; 4]), ..frame(Text, true, 1) }], Violation::WrongMask),
        ] {
            assert_eq!(check(frames).unwrap_err(), violation);
        }
        let unmasked = Track::new(Sender::Client, 100).check(&frame(Text, true, 1));
        assert_eq!(unmasked, Err(Violation::WrongMask));
    }

    #[test]
    fn a_close_says_what_may_be_said() {
        for (payload, said) in [
            (&b""[..], Ok(())),
            (b"\x03\xe8", Ok(())),
            (b"\x0f\xa4gr\xc3\xb6\xc3\x9fer", Ok(())),
            (b"\x03", Err(Violation::BadClose)),
            (b"\x03\xed", Err(Violation::BadCloseCode)),
            (b"\x00\x00bye", Err(Violation::BadCloseCode)),
            (b"\x03\xe8\xff", Err(Violation::BadCloseReason)),
            (b"\x03\xe8\xe2\x82", Err(Violation::BadCloseReason)),
        ] {
            let key = [1, 2, 0x83, 4];
            let mut masked = payload.to_vec();
            unmask(&mut masked, key, 0);
            let close = frame(Opcode::Close, true, payload.len() as u64);
            let said = said.map_err(|violation| (0, violation));
            assert_eq!(Track::new(Sender::Server, 100).read(&close, payload, 0), said, "{payload:x?}");
            let close = Header { mask: Some(key), ..close };
            assert_eq!(Track::new(Sender::Client, 100).read(&close, &masked, 0), said, "{payload:x?}");
        }
    }
}
