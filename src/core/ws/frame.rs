//! One frame: its header, read from the first bytes, and the few frames that tokenist writes itself.

/// The longest header: two bytes, eight of length, four of mask key.
pub const HEADER_BYTES_MAX: usize = 14;
/// The longest payload of a control frame.
pub const CONTROL_BYTES_MAX: u64 = 125;
/// The longest close reason: a control frame's payload less the code.
pub const REASON_BYTES_MAX: usize = 123;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opcode {
    Continuation,
    Text,
    Binary,
    Close,
    Ping,
    Pong,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    pub fin: bool,
    pub opcode: Opcode,
    pub mask: Option<[u8; 4]>,
    pub header_bytes: usize,
    pub payload_bytes: u64,
}

/// How a peer broke the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Violation {
    ReservedBit,
    ReservedOpcode,
    /// A client must mask, a server must not.
    WrongMask,
    LongControl,
    FragmentedControl,
    /// A length that RFC 6455 §5.2 wants written in fewer bytes, or with its highest bit set.
    BadLength,
    /// A continuation of nothing.
    StrayContinuation,
    /// A new message inside an unfinished one.
    InterleavedMessage,
    /// A close frame whose payload is too short for a code.
    BadClose,
    /// A close code that no frame may carry.
    BadCloseCode,
    /// A close reason that is no UTF-8.
    BadCloseReason,
    /// A text message that is no UTF-8.
    BadText,
    /// The message would pass this many bytes.
    MessageTooBig {
        max_bytes: u64,
    },
}

impl Violation {
    /// For the close frame's reason.
    pub fn describe(&self) -> &'static str {
        match self {
            Violation::ReservedBit => "a reserved bit is set",
            Violation::ReservedOpcode => "a reserved opcode",
            Violation::WrongMask => "masking is wrong for this side",
            Violation::LongControl => "a control frame is longer than 125 bytes",
            Violation::FragmentedControl => "a control frame is fragmented",
            Violation::BadLength => "a length is badly encoded",
            Violation::StrayContinuation => "a continuation without a message",
            Violation::InterleavedMessage => "a message inside a message",
            Violation::BadClose => "a close frame with a payload of one byte",
            Violation::BadCloseCode => "a close code that may not be sent",
            Violation::BadCloseReason => "a close reason that is not UTF-8",
            Violation::BadText => "a text message that is not UTF-8",
            Violation::MessageTooBig { .. } => "a message is too big",
        }
    }

    /// What whoever did it is told (RFC 6455 §7.4.1).
    pub fn close_code(&self) -> u16 {
        match self {
            Violation::BadCloseReason | Violation::BadText => 1007,
            Violation::MessageTooBig { .. } => 1009,
            Violation::ReservedBit
            | Violation::ReservedOpcode
            | Violation::WrongMask
            | Violation::LongControl
            | Violation::FragmentedControl
            | Violation::BadLength
            | Violation::StrayContinuation
            | Violation::InterleavedMessage
            | Violation::BadClose
            | Violation::BadCloseCode => 1002,
        }
    }
}

impl Opcode {
    pub fn is_control(self) -> bool {
        match self {
            Opcode::Close | Opcode::Ping | Opcode::Pong => true,
            Opcode::Continuation | Opcode::Text | Opcode::Binary => false,
        }
    }

    fn of(nibble: u8) -> Result<Opcode, Violation> {
        Ok(match nibble {
            0 => Opcode::Continuation,
            1 => Opcode::Text,
            2 => Opcode::Binary,
            8 => Opcode::Close,
            9 => Opcode::Ping,
            10 => Opcode::Pong,
            _ => return Err(Violation::ReservedOpcode),
        })
    }

    fn nibble(self) -> u8 {
        match self {
            Opcode::Continuation => 0,
            Opcode::Text => 1,
            Opcode::Binary => 2,
            Opcode::Close => 8,
            Opcode::Ping => 9,
            Opcode::Pong => 10,
        }
    }
}

impl Header {
    /// Reads the header that starts at `bytes[0]`; `Ok(None)` if more bytes are needed to tell.
    pub fn read(bytes: &[u8]) -> Result<Option<Header>, Violation> {
        let &[first, second, ..] = bytes else { return Ok(None) };
        if first & 0x70 != 0 {
            return Err(Violation::ReservedBit);
        }
        let (fin, opcode) = (first & 0x80 != 0, Opcode::of(first & 0x0f)?);
        let short = second & 0x7f;
        if opcode.is_control() && short > 125 {
            return Err(Violation::LongControl);
        }
        if opcode.is_control() && !fin {
            return Err(Violation::FragmentedControl);
        }
        let (length_bytes, least) = match short {
            126 => (2, 126),
            127 => (8, 1 << 16),
            _ => (0, 0),
        };
        let Some(length) = bytes.get(2..2 + length_bytes) else { return Ok(None) };
        let payload_bytes = match length_bytes {
            0 => u64::from(short),
            _ => length.iter().fold(0, |sum, &byte| sum << 8 | u64::from(byte)),
        };
        if payload_bytes < least || payload_bytes > i64::MAX as u64 {
            return Err(Violation::BadLength);
        }
        let mask_at = 2 + length_bytes;
        let masked = second & 0x80 != 0;
        let mask = match (masked, bytes.get(mask_at..mask_at + 4)) {
            (false, _) => None,
            (true, Some(key)) => Some([key[0], key[1], key[2], key[3]]),
            (true, None) => return Ok(None),
        };
        let header_bytes = mask_at + if masked { 4 } else { 0 };
        Ok(Some(Header { fin, opcode, mask, header_bytes, payload_bytes }))
    }

    /// Header and payload.
    pub fn frame_bytes(&self) -> u64 {
        self.header_bytes as u64 + self.payload_bytes
    }
}

/// Undoes (or does) masking, where `payload[0]` is at `offset` in the frame's payload.
pub fn unmask(payload: &mut [u8], key: [u8; 4], offset: usize) {
    for (index, byte) in payload.iter_mut().enumerate() {
        *byte ^= key[(offset + index) % 4];
    }
}

/// Whether a close frame may carry this code: those of RFC 6455 §7.4 and of its registry, and those for applications.
pub fn may_close_with(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
}

/// A whole frame of our own, masked with `key` if one is given (towards a provider we are the client).
pub fn write(opcode: Opcode, payload: &[u8], key: Option<[u8; 4]>) -> Vec<u8> {
    let mask_bit = if key.is_some() { 0x80 } else { 0 };
    let mut frame = Vec::with_capacity(HEADER_BYTES_MAX + payload.len());
    frame.push(0x80 | opcode.nibble());
    match payload.len() {
        length @ 0..126 => frame.push(mask_bit | length as u8),
        length @ 126..65536 => {
            frame.push(mask_bit | 126);
            frame.extend((length as u16).to_be_bytes());
        }
        length => {
            frame.push(mask_bit | 127);
            frame.extend((length as u64).to_be_bytes());
        }
    }
    frame.extend(key.into_iter().flatten());
    let start = frame.len();
    frame.extend(payload);
    if let Some(key) = key {
        unmask(&mut frame[start..], key, 0);
    }
    frame
}

/// A close frame; the reason is cut to what fits, between characters.
pub fn write_close(code: u16, reason: &str, key: Option<[u8; 4]>) -> Vec<u8> {
    let mut end = reason.len().min(REASON_BYTES_MAX);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    let mut payload = code.to_be_bytes().to_vec();
    payload.extend(&reason.as_bytes()[..end]);
    write(Opcode::Close, &payload, key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_we_write_we_read() {
        for length in [0usize, 1, 125, 126, 65535, 65536, 100_000] {
            for key in [None, Some([1, 2, 3, 4])] {
                let frame = write(Opcode::Text, &vec![b'x'; length], key);
                let header = Header::read(&frame).unwrap().unwrap();
                assert_eq!((header.fin, header.opcode, header.mask), (true, Opcode::Text, key));
                assert_eq!(header.frame_bytes(), frame.len() as u64);
                let mut payload = frame[header.header_bytes..].to_vec();
                unmask(&mut payload, key.unwrap_or_default(), 0);
                assert!(payload.iter().all(|&byte| byte == b'x'));
                for cut in 0..header.header_bytes {
                    assert_eq!(Header::read(&frame[..cut]), Ok(None), "{cut} of {length}");
                }
            }
        }
    }

    #[test]
    fn violations_are_told_from_the_header() {
        for (bytes, violation) in [
            (&[0xc1, 0x00][..], Violation::ReservedBit),
            (&[0x83, 0x00], Violation::ReservedOpcode),
            (&[0x8b, 0x00], Violation::ReservedOpcode),
            (&[0x89, 126, 0, 126], Violation::LongControl),
            (&[0x09, 0x00], Violation::FragmentedControl),
            (&[0x81, 126, 0, 125], Violation::BadLength),
            (&[0x81, 127, 0, 0, 0, 0, 0, 0, 255, 255], Violation::BadLength),
            (&[0x81, 127, 0x80, 0, 0, 0, 0, 0, 0, 0], Violation::BadLength),
        ] {
            assert_eq!(Header::read(bytes), Err(violation), "{bytes:?}");
        }
    }

    #[test]
    fn codes_that_say_that_none_came_never_come() {
        for code in [0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, u16::MAX] {
            assert!(!may_close_with(code), "{code}");
        }
        for code in [1000, 1001, 1003, 1007, 1011, 1012, 1014, 3000, 3999, 4000, 4999] {
            assert!(may_close_with(code), "{code}");
        }
    }

    #[test]
    fn a_close_reason_is_cut_between_characters() {
        let frame = write_close(4004, &"é".repeat(100), None);
        assert_eq!(frame[..4], [0x88, 124, 0x0f, 0xa4]);
        assert_eq!(std::str::from_utf8(&frame[4..]), Ok("é".repeat(61).as_str()));
    }

    proptest! {
        #[test]
        fn a_mask_can_be_undone_at_any_split(payload: Vec<u8>, key: [u8; 4], split: usize) {
            let split = split % (payload.len() + 1);
            let mut masked = payload.clone();
            unmask(&mut masked, key, 0);
            let (head, tail) = masked.split_at_mut(split);
            unmask(head, key, 0);
            unmask(tail, key, split);
            prop_assert_eq!(masked, payload);
        }

        #[test]
        fn no_bytes_make_a_header_panic(bytes: Vec<u8>) {
            if let Ok(Some(header)) = Header::read(&bytes) {
                prop_assert!(header.header_bytes <= bytes.len().min(HEADER_BYTES_MAX));
            }
        }
    }
}
