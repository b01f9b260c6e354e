//! Requests and answers as their own heads frame them.

#![allow(dead_code, reason = "each test binary uses its own part")]

use super::{Upstream, Wire, request, start};
use std::net::SocketAddr;
use tokenist_kit::Tokenist;

/// Who asks in these tests.
pub(crate) const WHO: [&str; 2] = ["Authorization: Bearer sk-test", "x-user-id: alice"];

/// The head of a request of hers.
pub(crate) fn ask(line: &str, headers: &[&str]) -> String {
    request(line, &[&WHO[..], headers].concat())
}

/// A provider, and before it a proxy that passes what it cannot meter.
pub(crate) fn open(settings: &[(&str, &str)]) -> (Upstream, Tokenist) {
    let provider = Upstream::start();
    let proxy = start(&provider.origin(), &[&[("http.unmetered", "pass")][..], settings].concat());
    (provider, proxy)
}

impl Upstream {
    /// An application's and a provider's end of a request whose head has come.
    pub(crate) fn asked(&self, proxy: SocketAddr, request: impl AsRef<[u8]>) -> (Wire, Wire) {
        let mut app = Wire::connect(proxy);
        app.send(request);
        let mut server = self.accept();
        server.head();
        (app, server)
    }
}

/// A request of hers with a body in JSON.
pub(crate) fn ask_json(line: &str, headers: &[&str], body: &str) -> String {
    let length = format!("Content-Length: {}", body.len());
    ask(line, &[&[&*length, "Content-Type: application/json"], headers].concat()) + body
}

pub(crate) fn ok(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

/// A whole answer of this type and perhaps in a coding.
pub(crate) fn answer_of(kind: &str, coding: Option<&str>, body: &[u8]) -> Vec<u8> {
    let coding = coding.map(|coding| format!("Content-Encoding: {coding}\r\n")).unwrap_or_default();
    let length = body.len();
    let head = format!("HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\n{coding}Content-Length: {length}\r\n\r\n");
    [head.as_bytes(), body].concat()
}

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

/// Everything that a chunked answer says.
pub(crate) fn rest_of(wire: &mut Wire) -> String {
    let mut said = Vec::new();
    while let size @ 1.. = chunk_size(wire) {
        said.extend(wire.read(size));
        wire.expect(b"\r\n", "a chunk's end");
    }
    wire.expect(b"\r\n", "the end");
    String::from_utf8(said).unwrap()
}

pub(crate) fn chunk(text: &str) -> String {
    format!("{:x}\r\n{text}\r\n", text.len())
}

pub(crate) fn chunked(pieces: &[&[u8]]) -> Vec<u8> {
    let chunk = |piece: &&[u8]| [format!("{:x}\r\n", piece.len()).as_bytes(), piece, b"\r\n"].concat();
    [pieces.iter().flat_map(chunk).collect(), b"0\r\n\r\n".to_vec()].concat()
}
