//! Asks tokenist's admin API, and the simulated provider about its own count. Both are on this machine and close after
//! each answer, so an answer is read to its end.

use serde_json::Value;
use std::error::Error;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(10);

/// A server and, for tokenist, the operator's token.
#[derive(Clone, Copy)]
pub(crate) struct Server<'a> {
    /// `http://host:port`
    pub(crate) origin: &'a str,
    pub(crate) token: Option<&'a str>,
}

impl Server<'_> {
    pub(crate) fn get(&self, path: &str) -> Result<Value, Box<dyn Error>> {
        self.ask("GET", path, &[], None)
    }

    /// The JSON that a request is answered with.
    ///
    /// # Errors
    /// Nobody answers, or not with 200 or 201; the error then names the request and what was answered.
    pub(crate) fn ask(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&Value>,
    ) -> Result<Value, Box<dyn Error>> {
        let Server { origin, token } = self;
        let host = origin.strip_prefix("http://").ok_or("an address must begin with http://")?;
        let mut stream = TcpStream::connect(host).map_err(|error| format!("{origin}: {error}"))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let body = body.map(Value::to_string).unwrap_or_default();
        let mut request = format!("{method} {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n");
        let bearer = token.map(|token| format!("Bearer {token}"));
        let length = body.len().to_string();
        let ours = [("content-type", "application/json"), ("content-length", length.as_str())];
        let bearer = bearer.as_deref().map(|bearer| ("authorization", bearer));
        for (name, value) in ours.iter().chain(bearer.as_ref()).chain(headers) {
            request.push_str(&format!("{name}: {value}\r\n"));
        }
        write!(stream, "{request}\r\n{body}")?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        let body = memchr::memmem::find(&answer, b"\r\n\r\n").map(|end| &answer[end + 4..]);
        let is_well = [&b"HTTP/1.1 200"[..], b"HTTP/1.1 201"].iter().any(|line| answer.starts_with(line));
        match body {
            Some(body) if is_well => Ok(sonic_rs::from_slice(body)?),
            _ => {
                let first = answer.split(|&byte| byte == b'\r').next().unwrap_or_default();
                Err(format!("{method} {origin}{path}: {}", String::from_utf8_lossy(first)).into())
            }
        }
    }
}
