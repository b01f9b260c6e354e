//! One message of MongoDB's protocol, of which only as much is understood as tells what it asks for.

use std::io::{Read, Write};
use std::net::TcpStream;

/// Length, id, id of the message that this one answers, kind: four numbers, the lowest byte first.
const HEADER_BYTES: usize = 16;
/// What servers take at most is 48 MB.
const MOST_BYTES: usize = 64 << 20;
/// The kind of all messages of these days. Drivers say hello in an older one.
const OP_MSG: i32 = 2013;

/// Header and all.
#[derive(Clone, Debug)]
pub(super) struct Message(Vec<u8>);

impl Message {
    /// The next whole message; `None` at the end of the connection, or of what can be a message.
    pub(super) fn read(mut stream: &TcpStream) -> Option<Message> {
        let mut bytes = vec![0; HEADER_BYTES];
        stream.read_exact(&mut bytes).ok()?;
        let length = usize::try_from(number(&bytes, 0)?).ok()?;
        if !(HEADER_BYTES..=MOST_BYTES).contains(&length) {
            return None;
        }
        bytes.resize(length, 0);
        stream.read_exact(&mut bytes[HEADER_BYTES..]).ok()?;
        Some(Message(bytes))
    }

    /// False if nobody takes it.
    pub(super) fn write(&self, mut stream: &TcpStream) -> bool {
        stream.write_all(&self.0).is_ok()
    }

    pub(super) fn id(&self) -> i32 {
        number(&self.0, 4).unwrap_or_default()
    }

    /// The request that this message answers.
    pub(super) fn answers(&self) -> i32 {
        number(&self.0, 8).unwrap_or_default()
    }

    /// The same message under another number.
    pub(super) fn with_id(mut self, id: i32) -> Message {
        self.0[4..8].copy_from_slice(&id.to_le_bytes());
        self
    }

    /// The answer to this one that says that all went well.
    pub(super) fn done(&self) -> Message {
        let mut document = vec![0; 4];
        document.extend(b"\x10n\0\x01\0\0\0\x01ok\0");
        document.extend(1_f64.to_le_bytes());
        document.push(0);
        let length = document.len() as i32;
        document[..4].copy_from_slice(&length.to_le_bytes());
        let total = (HEADER_BYTES + 5 + document.len()) as i32;
        let mut bytes = Vec::new();
        // Flags of which none is set, and a section of kind 0.
        for number in [total, 0, self.id(), OP_MSG, 0] {
            bytes.extend(number.to_le_bytes());
        }
        bytes.push(0);
        bytes.extend(document);
        Message(bytes)
    }

    /// The same message with another number wherever it has one of this name.
    pub(super) fn with_number(mut self, name: &str, value: i32) -> Message {
        let element = [b"\x10", name.as_bytes(), b"\0"].concat();
        let places = self.0.windows(element.len()).enumerate().filter(|(_, bytes)| *bytes == element);
        let places: Vec<usize> = places.map(|(place, _)| place + element.len()).collect();
        for place in places {
            if let Some(number) = self.0.get_mut(place..place + 4) {
                number.copy_from_slice(&value.to_le_bytes());
            }
        }
        self
    }

    /// The name of the command: the first key of the body, which is the section of kind 0.
    pub(super) fn command(&self) -> Option<&str> {
        if number(&self.0, 12)? != OP_MSG {
            return None;
        }
        let mut section = HEADER_BYTES + 4;
        while *self.0.get(section)? != 0 {
            section += 1 + usize::try_from(number(&self.0, section + 1)?).ok()?;
        }
        // A document is its length, then an element: its type, its name with a zero after it, its value.
        let name = self.0.get(section + 6..)?;
        let end = name.iter().position(|&byte| byte == 0)?;
        std::str::from_utf8(&name[..end]).ok()
    }
}

fn number(bytes: &[u8], at: usize) -> Option<i32> {
    bytes.get(at..at + 4)?.try_into().ok().map(i32::from_le_bytes)
}
