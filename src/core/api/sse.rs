//! A stream of server-sent events, wherever its bytes are split: which of them are data, and where an event ends.
//!
//! Start at [`EventStream::read`]. Lines end in CR, LF or both; comments and unknown fields are passed over; several lines
//! of data are one text with line feeds between. Invariant: of a line nothing is held but the beginning that says what it is.

use memchr::memchr2;

/// What a stretch of a stream is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stretch<'a> {
    Data(&'a [u8]),
    /// An event is over here.
    End,
    /// Anything else.
    Other,
}

#[derive(Debug)]
pub(crate) struct EventStream {
    line: Line,
    /// The beginning of a line up to its colon.
    field: [u8; FIELD_BYTES],
    field_length: usize,
    /// The byte before was a CR that has ended a line.
    after_return: bool,
    /// Something has come of this event.
    has_fields: bool,
}

/// The only field that is known is `data`; longer ones are not told apart.
const FIELD_BYTES: usize = 4;
/// What may stand at the very beginning of a text.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Where in a line the next byte is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Line {
    Field,
    /// Behind the colon, where one space is none of the value.
    Colon(Value),
    Value(Value),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Value {
    Data,
    Other,
}

impl EventStream {
    pub(crate) fn new() -> EventStream {
        EventStream {
            line: Line::Field,
            field: [0; FIELD_BYTES],
            field_length: 0,
            after_return: false,
            has_fields: false,
        }
    }

    /// Reads one stretch of some bytes, of which there is one at least; how long it is, and what.
    pub(crate) fn read<'a>(&mut self, bytes: &'a [u8]) -> (usize, Stretch<'a>) {
        let after_return = std::mem::take(&mut self.after_return);
        match (bytes[0], self.line) {
            (b'\n', _) if after_return => (1, Stretch::Other),
            (byte @ (b'\r' | b'\n'), _) => self.end_line(byte, bytes),
            (_, Line::Field) => (self.field(bytes), Stretch::Other),
            (b' ', Line::Colon(value)) => {
                self.line = Line::Value(value);
                (1, Stretch::Other)
            }
            (_, Line::Colon(value) | Line::Value(value)) => {
                self.line = Line::Value(value);
                let length = memchr2(b'\r', b'\n', bytes).unwrap_or(bytes.len());
                let text = &bytes[..length];
                (
                    length,
                    match value {
                        Value::Data => Stretch::Data(text),
                        Value::Other => Stretch::Other,
                    },
                )
            }
        }
    }

    /// The beginning of a line: up to its colon, its end, or the end of the bytes.
    fn field(&mut self, bytes: &[u8]) -> usize {
        for (index, byte) in bytes.iter().enumerate() {
            match byte {
                b':' => {
                    self.line = Line::Colon(self.value());
                    return index + 1;
                }
                b'\r' | b'\n' => return index,
                byte => {
                    if self.field_length < FIELD_BYTES {
                        self.field[self.field_length] = *byte;
                    }
                    self.field_length = (self.field_length + 1).min(FIELD_BYTES + 1);
                }
            }
            if self.field_length == BYTE_ORDER_MARK.len() && self.field.starts_with(BYTE_ORDER_MARK) {
                self.field_length = 0;
            }
        }
        bytes.len()
    }

    fn value(&self) -> Value {
        match self.field.get(..self.field_length) {
            Some(b"data") => Value::Data,
            _ => Value::Other,
        }
    }

    fn end_line<'a>(&mut self, byte: u8, bytes: &'a [u8]) -> (usize, Stretch<'a>) {
        self.after_return = byte == b'\r' && bytes.get(1) != Some(&b'\n');
        let length = 1 + usize::from(byte == b'\r' && bytes.get(1) == Some(&b'\n'));
        let is_blank = self.line == Line::Field && self.field_length == 0;
        // A line of data without a colon is an empty one.
        let was_data = matches!(self.line, Line::Colon(Value::Data) | Line::Value(Value::Data));
        (self.line, self.field_length) = (Line::Field, 0);
        if is_blank {
            let ended = std::mem::take(&mut self.has_fields);
            return (length, if ended { Stretch::End } else { Stretch::Other });
        }
        self.has_fields = true;
        // Between two lines of data; behind the last it adds a blank to the text, which changes no JSON.
        (length, if was_data { Stretch::Data(b"\n") } else { Stretch::Other })
    }
}
