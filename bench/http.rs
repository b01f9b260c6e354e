//! The little HTTP/1.1 that both ends need: one request or one response, then an upgrade or the end.

use crate::ws::Inbound;
use std::io;

/// Longer heads are refused.
const HEAD_BYTES_MAX: usize = 64 << 10;
const BODY_BYTES_MAX: usize = 16 << 20;
const HEADERS_MAX: usize = 128;

/// A request's head.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) path: String,
    /// As it came, without the question mark.
    pub(crate) query: String,
    /// Names in lower case, in the order they came.
    pub(crate) headers: Vec<(String, String)>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Request {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        find(&self.headers, name)
    }

    /// The decoded value of a query parameter.
    pub(crate) fn parameter(&self, name: &str) -> Option<String> {
        self.query.split('&').find_map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (key == name).then(|| percent_decode(value))
        })
    }
}

impl Response {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        find(&self.headers, name)
    }
}

fn find<'a>(headers: &'a [(String, String)], name: &str) -> Option<&'a str> {
    headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
}

/// Reads a request's head; `None` when the peer closed or sent something else.
pub(crate) async fn read_request(inbound: &mut Inbound) -> io::Result<Option<Request>> {
    let Some(head_bytes) = read_head(inbound).await? else { return Ok(None) };
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut parsed = httparse::Request::new(&mut headers);
    parsed.parse(&inbound.unread()[..head_bytes]).map_err(io::Error::other)?;
    let target = parsed.path.unwrap_or("/");
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let request = Request {
        method: parsed.method.unwrap_or_default().to_owned(),
        path: path.to_owned(),
        query: query.to_owned(),
        headers: owned(parsed.headers),
    };
    inbound.advance(head_bytes);
    Ok(Some(request))
}

/// Reads a response's head and, unless it is an upgrade, its body.
pub(crate) async fn read_response(inbound: &mut Inbound) -> io::Result<Response> {
    let head_bytes = read_head(inbound).await?.ok_or(io::ErrorKind::UnexpectedEof)?;
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut parsed = httparse::Response::new(&mut headers);
    parsed.parse(&inbound.unread()[..head_bytes]).map_err(io::Error::other)?;
    let (status, headers) = (parsed.code.unwrap_or(0), owned(parsed.headers));
    inbound.advance(head_bytes);
    let mut response = Response { status, headers, body: Vec::new() };
    if status != 101 {
        let length = response.header("content-length").and_then(|value| value.parse().ok());
        response.body = read_body(inbound, length.unwrap_or(BODY_BYTES_MAX)).await?;
    }
    Ok(response)
}

/// Reads `length` bytes, or what there is before the end of the stream.
pub(crate) async fn read_body(inbound: &mut Inbound, length: usize) -> io::Result<Vec<u8>> {
    let length = length.min(BODY_BYTES_MAX);
    while inbound.unread().len() < length && inbound.fill().await? {}
    let body = inbound.unread()[..length.min(inbound.unread().len())].to_vec();
    inbound.advance(body.len());
    Ok(body)
}

/// Reads the body of a request, in chunks or of a length that it tells.
pub(crate) async fn read_request_body(inbound: &mut Inbound, request: &Request) -> io::Result<Vec<u8>> {
    let is_chunked =
        request.header("transfer-encoding").is_some_and(|value| value.eq_ignore_ascii_case("chunked"));
    if !is_chunked {
        let length = request.header("content-length").and_then(|value| value.parse().ok()).unwrap_or(0);
        return read_body(inbound, length).await;
    }
    let mut body = Vec::new();
    loop {
        let line = read_line(inbound).await?;
        let length = line.split(';').next().and_then(|size| usize::from_str_radix(size.trim(), 16).ok());
        let length = length.filter(|length| body.len() + length <= BODY_BYTES_MAX);
        match length.ok_or(io::ErrorKind::InvalidData)? {
            0 => break,
            length => body.extend(read_body(inbound, length).await?),
        }
        read_line(inbound).await?;
    }
    // Trailers, up to an empty line.
    while !read_line(inbound).await?.is_empty() {}
    Ok(body)
}

async fn read_line(inbound: &mut Inbound) -> io::Result<String> {
    loop {
        if let Some(at) = memchr::memmem::find(inbound.unread(), b"\r\n") {
            let line = String::from_utf8_lossy(&inbound.unread()[..at]).into_owned();
            inbound.advance(at + 2);
            return Ok(line);
        }
        if inbound.unread().len() > HEAD_BYTES_MAX || !inbound.fill().await? {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

async fn read_head(inbound: &mut Inbound) -> io::Result<Option<usize>> {
    loop {
        if let Some(at) = memchr::memmem::find(inbound.unread(), b"\r\n\r\n") {
            return Ok(Some(at + 4));
        }
        if inbound.unread().len() > HEAD_BYTES_MAX {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "head too long"));
        }
        if !inbound.fill().await? {
            return Ok(None);
        }
    }
}

fn owned(headers: &[httparse::Header<'_>]) -> Vec<(String, String)> {
    headers
        .iter()
        .map(|header| (header.name.to_ascii_lowercase(), String::from_utf8_lossy(header.value).into_owned()))
        .collect()
}

/// A whole response with a JSON body, after which the connection closes.
pub(crate) fn json_response(status: u16, headers: &[(&str, String)], body: &str) -> Vec<u8> {
    response(status, "application/json", headers, body)
}

/// A whole response, after which the connection closes.
pub(crate) fn response(status: u16, kind: &str, headers: &[(&str, String)], body: &str) -> Vec<u8> {
    let mut head = format!(
        "HTTP/1.1 {status} {}\r\ncontent-type: {kind}\r\ncontent-length: {}\r\nconnection: close\r\n",
        reason(status),
        body.len()
    );
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    format!("{head}\r\n{body}").into_bytes()
}

/// The head that answers an upgrade.
pub(crate) fn upgrade_response(key: &str, headers: &[(&str, String)]) -> Vec<u8> {
    let accept = tungstenite::handshake::derive_accept_key(key.as_bytes());
    let mut head = format!(
        "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\nsec-websocket-accept: {accept}\r\n"
    );
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    head.into_bytes()
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        201 => "Created",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        429 => "Too Many Requests",
        500 => "Internal Server Error",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        _ => "Status",
    }
}

pub(crate) fn percent_decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let [first, tail @ ..] = rest {
        let escaped = match (first, tail) {
            (b'%', [high, low, ..]) => {
                std::str::from_utf8(&[*high, *low]).ok().and_then(|hex| u8::from_str_radix(hex, 16).ok())
            }
            _ => None,
        };
        match escaped {
            Some(byte) => {
                out.push(byte);
                rest = &tail[2..];
            }
            None => {
                out.push(if *first == b'+' { b' ' } else { *first });
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// Whether the head is a well-formed WebSocket upgrade.
pub(crate) fn is_upgrade(request: &Request) -> bool {
    let upgrade = request.header("upgrade").is_some_and(|value| value.eq_ignore_ascii_case("websocket"));
    upgrade && request.method == "GET" && request.header("sec-websocket-key").is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_found_and_decoded() {
        let request =
            Request { query: "model=gpt&sim=close%40done%3D4000%3Abye+now&x".into(), ..Request::default() };
        assert_eq!(request.parameter("sim").unwrap(), "close@done=4000:bye now");
        assert_eq!(request.parameter("x").unwrap(), "");
        assert_eq!(request.parameter("mode"), None);
        assert_eq!(percent_decode("100%+%zz%4"), "100% %zz%4");
    }
}
