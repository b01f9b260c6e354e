//! One HTTP exchange a connection, blocking.

use crate::PATIENCE;
use serde_json::Value;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

#[derive(Clone, Debug)]
pub struct Answer {
    /// 0 where there was no answer, or nobody to ask.
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| &**value)
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error} in the answer {self:?}"))
    }

    /// The head of an answer, without the empty line after it.
    pub(crate) fn head(text: &str) -> Answer {
        let mut lines = text.split("\r\n");
        let status = lines.next().and_then(|line| line.split(' ').nth(1)).and_then(|word| word.parse().ok());
        let headers = lines.filter_map(|line| line.split_once(':'));
        Answer {
            status: status.unwrap_or(0),
            headers: headers.map(|(name, value)| (name.to_owned(), value.trim().to_owned())).collect(),
            body: String::new(),
        }
    }
}

/// Sends a request and reads the answer to its end.
pub fn request(
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Answer {
    let mut wire = format!("{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n");
    for (name, value) in headers {
        wire.push_str(&format!("{name}: {value}\r\n"));
    }
    wire.push_str(&format!("Content-Length: {}\r\n\r\n{body}", body.len()));
    let mut answer = Vec::new();
    let mut exchange = || {
        let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(wire.as_bytes())?;
        stream.read_to_end(&mut answer)
    };
    let ended = exchange();
    let text = String::from_utf8_lossy(&answer);
    match (text.split_once("\r\n\r\n"), ended) {
        (Some((head, body)), _) => Answer { body: body.to_owned(), ..Answer::head(head) },
        (None, ended) => Answer { body: format!("no answer: {ended:?} {text}"), ..Answer::head("") },
    }
}
