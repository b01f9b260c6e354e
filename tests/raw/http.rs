//! Requests and answers as their own heads frame them.

use super::Wire;

/// An answer as its own head frames it, and what is left of the connection.
#[derive(Debug)]
pub(crate) struct Whole {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Whole {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(':'));
        lines.filter(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim()).next()
    }

    pub(crate) fn code(&self) -> String {
        let body: serde_json::Value = serde_json::from_slice(&self.body).unwrap();
        body["error"]["code"].as_str().unwrap_or_default().to_owned()
    }
}

/// Reads a message to its end.
#[track_caller]
pub(crate) fn message(wire: &mut Wire) -> Whole {
    let head = wire.head();
    let mut whole = Whole { status: 0, head, body: Vec::new() };
    whole.status = whole.head.split(' ').nth(1).and_then(|word| word.parse().ok()).unwrap_or(0);
    if whole.header("transfer-encoding").is_some() {
        while let size @ 1.. = chunk_size(wire) {
            whole.body.extend(wire.read(size));
            wire.expect(b"\r\n", "a chunk's end");
        }
        wire.expect(b"\r\n", "the last chunk's end");
    } else if let Some(length) = whole.header("content-length").map(|length| length.parse().unwrap()) {
        whole.body = wire.read(length);
    }
    whole
}

pub(crate) fn chunk_size(wire: &mut Wire) -> usize {
    let mut line = Vec::new();
    while !line.ends_with(b"\r\n") {
        line.extend(wire.read(1));
    }
    usize::from_str_radix(std::str::from_utf8(&line).unwrap().trim(), 16).unwrap()
}

pub(crate) fn chunked(pieces: &[&[u8]]) -> Vec<u8> {
    let chunk = |piece: &&[u8]| [format!("{:x}\r\n", piece.len()).as_bytes(), piece, b"\r\n"].concat();
    [pieces.iter().flat_map(chunk).collect(), b"0\r\n\r\n".to_vec()].concat()
}
