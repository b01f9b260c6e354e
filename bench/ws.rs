//! WebSocket frames as both ends of the bench speak them: headers in, headers out, messages put together.
//!
//! Start at [`Inbound::message`]. Written here rather than taken from a library because the simulated provider
//! must also send what no library will: odd bits, wrong masks, lengths without bytes.

use crate::link::ReadHalf;
use std::io;

pub(crate) const CONTINUATION: u8 = 0x0;
pub(crate) const TEXT: u8 = 0x1;
pub(crate) const BINARY: u8 = 0x2;
pub(crate) const CLOSE: u8 = 0x8;
pub(crate) const PING: u8 = 0x9;
pub(crate) const PONG: u8 = 0xA;
pub(crate) const FIN: u8 = 0x80;

/// The longest message either end takes: what the largest `giant` of the provider needs, and an end to memory.
const MESSAGE_BYTES_MAX: u64 = 256 << 20;

/// A frame's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) first: u8,
    pub(crate) mask: Option<[u8; 4]>,
    pub(crate) payload_bytes: u64,
    /// How many bytes the header itself took.
    pub(crate) header_bytes: usize,
}

impl Header {
    pub(crate) fn opcode(&self) -> u8 {
        self.first & 0x0f
    }

    pub(crate) fn is_final(&self) -> bool {
        self.first & FIN != 0
    }

    /// Reads the header at the start of `bytes`; `None` when more bytes are needed.
    pub(crate) fn parse(bytes: &[u8]) -> Option<Header> {
        let (&first, &second) = (bytes.first()?, bytes.get(1)?);
        let (payload_bytes, after_length) = match second & 0x7f {
            126 => (u64::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?)), 4),
            127 => (u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?), 10),
            short => (u64::from(short), 2),
        };
        let masked = second & 0x80 != 0;
        let mask = match masked {
            true => Some(bytes.get(after_length..after_length + 4)?.try_into().ok()?),
            false => None,
        };
        Some(Header { first, mask, payload_bytes, header_bytes: after_length + if masked { 4 } else { 0 } })
    }

    pub(crate) fn write(first: u8, mask: Option<[u8; 4]>, payload_bytes: u64, out: &mut Vec<u8>) {
        let mask_bit = if mask.is_some() { 0x80 } else { 0 };
        out.push(first);
        match payload_bytes {
            short @ 0..=125 => out.push(mask_bit | short as u8),
            medium @ 126..=0xffff => {
                out.push(mask_bit | 126);
                out.extend_from_slice(&(medium as u16).to_be_bytes());
            }
            long => {
                out.push(mask_bit | 127);
                out.extend_from_slice(&long.to_be_bytes());
            }
        }
        out.extend(mask.iter().flatten());
    }
}

/// Which end we are: a client masks what it sends, a server never does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Client,
    Server,
}

/// Any four bytes do as a mask between two programs that trust each other; this one is easy to see in a dump.
const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

impl End {
    pub(crate) fn mask(self) -> Option<[u8; 4]> {
        match self {
            End::Client => Some(MASK),
            End::Server => None,
        }
    }

    /// Appends one whole frame.
    pub(crate) fn frame(self, first: u8, payload: &[u8], out: &mut Vec<u8>) {
        out.reserve(payload.len() + 14);
        Header::write(first, self.mask(), payload.len() as u64, out);
        let start = out.len();
        out.extend_from_slice(payload);
        if let Some(mask) = self.mask() {
            apply_mask(&mut out[start..], mask);
        }
    }
}

pub(crate) fn apply_mask(bytes: &mut [u8], mask: [u8; 4]) {
    let mut words = bytes.chunks_exact_mut(8);
    let wide = u64::from_ne_bytes([mask[0], mask[1], mask[2], mask[3], mask[0], mask[1], mask[2], mask[3]]);
    for word in &mut words {
        let masked = u64::from_ne_bytes(word.try_into().expect("eight bytes")) ^ wide;
        word.copy_from_slice(&masked.to_ne_bytes());
    }
    for (byte, key) in words.into_remainder().iter_mut().zip(mask.into_iter().cycle()) {
        *byte ^= key;
    }
}

/// The payload of a close frame.
pub(crate) fn close_payload(code: u16, reason: &str) -> Vec<u8> {
    let mut payload = code.to_be_bytes().to_vec();
    payload.extend_from_slice(reason.as_bytes());
    payload
}

/// A message or a control frame, unmasked.
#[derive(Debug)]
pub(crate) struct Message<'a> {
    pub(crate) opcode: u8,
    pub(crate) payload: &'a [u8],
}

impl Message<'_> {
    /// Code and reason of a close frame; 1005 stands for none.
    pub(crate) fn close_reason(&self) -> (u16, String) {
        match self.payload {
            [high, low, reason @ ..] => {
                (u16::from_be_bytes([*high, *low]), String::from_utf8_lossy(reason).into_owned())
            }
            _ => (1005, String::new()),
        }
    }
}

/// The reading half of a WebSocket: bytes that came and have not been used, and the fragments of a message.
#[derive(Debug)]
pub(crate) struct Inbound {
    half: ReadHalf,
    bytes: Vec<u8>,
    /// Everything before this has been used.
    start: usize,
    fragments: Vec<u8>,
    fragments_opcode: u8,
    /// The fragmented message that was last handed out.
    whole: Vec<u8>,
    /// What [`Inbound::skim`] has yet to pass over of the frame it is in.
    skimming_bytes: u64,
}

impl Inbound {
    pub(crate) fn new(half: ReadHalf) -> Inbound {
        Inbound {
            half,
            bytes: Vec::new(),
            start: 0,
            fragments: Vec::new(),
            fragments_opcode: TEXT,
            whole: Vec::new(),
            skimming_bytes: 0,
        }
    }

    /// Reads more; false at the end of the stream.
    pub(crate) async fn fill(&mut self) -> io::Result<bool> {
        if self.start > 0 {
            self.bytes.drain(..self.start);
            self.start = 0;
        }
        let (result, bytes) = self.half.read(std::mem::take(&mut self.bytes)).await;
        self.bytes = bytes;
        result.map(|n| n > 0)
    }

    pub(crate) fn unread(&self) -> &[u8] {
        &self.bytes[self.start..]
    }

    pub(crate) fn advance(&mut self, n: usize) {
        self.start += n;
        debug_assert!(self.start <= self.bytes.len());
    }

    /// The next message or control frame; `None` when the stream ended.
    pub(crate) async fn message(&mut self) -> io::Result<Option<Message<'_>>> {
        loop {
            let Some(header) = Header::parse(self.unread()) else {
                if !self.fill().await? {
                    return Ok(None);
                }
                continue;
            };
            if header.payload_bytes.saturating_add(self.fragments.len() as u64) > MESSAGE_BYTES_MAX {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "message too long"));
            }
            let frame_bytes = header.header_bytes + header.payload_bytes as usize;
            while self.unread().len() < frame_bytes {
                let missing = frame_bytes - self.unread().len();
                self.bytes.reserve(missing);
                if !self.fill().await? {
                    return Ok(None);
                }
            }
            let payload = self.start + header.header_bytes..self.start + frame_bytes;
            self.start += frame_bytes;
            if let Some(mask) = header.mask {
                apply_mask(&mut self.bytes[payload.clone()], mask);
            }
            match header.opcode() {
                opcode @ (TEXT | BINARY) if header.is_final() => {
                    return Ok(Some(Message { opcode, payload: &self.bytes[payload] }));
                }
                opcode @ (TEXT | BINARY) => {
                    self.fragments_opcode = opcode;
                    self.fragments.clear();
                    self.fragments.extend_from_slice(&self.bytes[payload]);
                }
                CONTINUATION => {
                    self.fragments.extend_from_slice(&self.bytes[payload]);
                    if header.is_final() {
                        self.whole.clear();
                        std::mem::swap(&mut self.whole, &mut self.fragments);
                        return Ok(Some(Message { opcode: self.fragments_opcode, payload: &self.whole }));
                    }
                }
                opcode => return Ok(Some(Message { opcode, payload: &self.bytes[payload] })),
            }
        }
    }

    /// Passes over what has been read and counts the messages that ended in it, without looking inside. Stops
    /// before a control frame, which [`Inbound::message`] then returns.
    pub(crate) fn skim(&mut self) -> Skimmed {
        let mut skimmed = Skimmed { messages: 0, bytes: 0, control: false };
        loop {
            let unread = self.unread().len() as u64;
            let passed = self.skimming_bytes.min(unread);
            self.advance(passed as usize);
            self.skimming_bytes -= passed;
            skimmed.bytes += passed;
            if self.skimming_bytes > 0 {
                return skimmed;
            }
            let Some(header) = Header::parse(self.unread()) else { return skimmed };
            if header.opcode() & 0x8 != 0 {
                skimmed.control = true;
                return skimmed;
            }
            skimmed.messages += u64::from(header.is_final());
            self.skimming_bytes = header.header_bytes as u64 + header.payload_bytes;
        }
    }
}

/// What [`Inbound::skim`] passed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Skimmed {
    pub(crate) messages: u64,
    pub(crate) bytes: u64,
    /// A control frame is next.
    pub(crate) control: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_read_back_at_every_length_and_never_early() {
        for payload_bytes in [0, 1, 125, 126, 127, 65_535, 65_536, 1 << 40] {
            for end in [End::Client, End::Server] {
                let mut bytes = Vec::new();
                Header::write(FIN | TEXT, end.mask(), payload_bytes, &mut bytes);
                for cut in 0..bytes.len() {
                    assert_eq!(Header::parse(&bytes[..cut]), None);
                }
                let header = Header::parse(&bytes).unwrap();
                assert_eq!(header.payload_bytes, payload_bytes);
                assert_eq!(header.header_bytes, bytes.len());
                assert_eq!((header.opcode(), header.is_final(), header.mask), (TEXT, true, end.mask()));
            }
        }
    }

    #[test]
    fn masking_twice_changes_nothing() {
        for length in 0..40 {
            let plain: Vec<u8> = (0..length).collect();
            let mut bytes = plain.clone();
            apply_mask(&mut bytes, MASK);
            assert!(length == 0 || bytes != plain);
            for (index, byte) in bytes.iter().enumerate() {
                assert_eq!(*byte, plain[index] ^ MASK[index % 4]);
            }
            apply_mask(&mut bytes, MASK);
            assert_eq!(bytes, plain);
        }
    }
}
