//! HTTP/1.1 heads. Bytes in, values out.
//!
//! Start at [`request_head`]; where a body ends is in [`body`], what we write in [`mod@write`]. Strict where leniency would let two parsers read one request differently: line ends
//! are CRLF, a length is given once and not beside a transfer coding.

pub mod blot;
pub mod body;
pub mod coding;
pub mod pass;
pub mod query;
pub mod write;

use httparse::{EMPTY_HEADER, Status};
use memchr::memmem::Finder;
use query::Parameter;
use std::borrow::Cow;
use std::fmt;
use std::sync::LazyLock;
use write::{HeaderName, HeaderValue, Target};

/// The longest head, in bytes, from either side.
pub const HEAD_BYTES_MAX: usize = 16 * 1024;
/// The most header lines in a head.
pub const HEADER_COUNT_MAX: usize = 100;

/// One header line. The name keeps its case; compare with [`Header::is`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    pub name: HeaderName,
    pub value: HeaderValue,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestHead {
    pub method: String,
    /// Path and query as they came; it begins with a slash.
    pub target: String,
    pub version: Version,
    pub headers: Headers,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResponseHead {
    pub status: u16,
    pub reason: HeaderValue,
    pub version: Version,
    pub headers: Headers,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// Without chunks, and with a connection for each exchange unless it says `keep-alive`.
    Http10,
    Http11,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Headers(pub Vec<Header>);

/// Why a head was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeadError {
    /// More than [`HEAD_BYTES_MAX`] bytes or [`HEADER_COUNT_MAX`] lines.
    TooBig,
    Malformed(&'static str),
    /// There are two of a header or parameter of which readers take either.
    Twice(&'static str),
    /// A parameter is one of which some readers do not know this spelling.
    Spelled(&'static str),
    /// What comes is a TLS handshake.
    Tls,
}

impl HeadError {
    pub fn http_status(self) -> u16 {
        match self {
            HeadError::TooBig => 431,
            HeadError::Malformed(_) | HeadError::Twice(_) | HeadError::Spelled(_) | HeadError::Tls => 400,
        }
    }
}

impl fmt::Display for HeadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HeadError::TooBig => write!(
                f,
                "The request's header is too big: at most {HEAD_BYTES_MAX} bytes and {HEADER_COUNT_MAX} lines"
            ),
            HeadError::Malformed(what) => write!(f, "The request's header is malformed: {what}"),
            HeadError::Twice(name) => write!(f, "The request gives {name} twice: send it once"),
            HeadError::Spelled(name) => {
                write!(f, "The request gives {name} in another spelling: write it so")
            }
            HeadError::Tls => f.write_str(
                "This port speaks plain HTTP, and a TLS handshake came: dial that of `proxy.tls_listen`",
            ),
        }
    }
}

/// The first byte of a connection on which TLS is spoken (RFC 8446 §5.1); no head begins with it.
const TLS_HANDSHAKE: u8 = 22;

/// Where the head that starts at `bytes[0]` ends: the index after its empty line. `Ok(None)` if it goes on.
pub fn head_end(bytes: &[u8]) -> Result<Option<usize>, HeadError> {
    static EMPTY_LINE: LazyLock<Finder<'_>> = LazyLock::new(|| Finder::new(b"\r\n\r\n"));
    if bytes.first() == Some(&TLS_HANDSHAKE) {
        return Err(HeadError::Tls);
    }
    match EMPTY_LINE.find(bytes) {
        Some(at) if at + 4 <= HEAD_BYTES_MAX => Ok(Some(at + 4)),
        Some(_) => Err(HeadError::TooBig),
        None if bytes.len() >= HEAD_BYTES_MAX => Err(HeadError::TooBig),
        None => Ok(None),
    }
}

/// Parses a whole head as [`head_end`] cut it.
pub fn request_head(bytes: &[u8]) -> Result<RequestHead, HeadError> {
    check_line_ends(bytes)?;
    let mut lines = [EMPTY_HEADER; HEADER_COUNT_MAX];
    let mut request = httparse::Request::new(&mut lines);
    complete(request.parse(bytes))?;
    let headers = Headers::of(request.headers)?;
    headers.check_length()?;
    let target = request.path.unwrap_or_default();
    if Target::parse(target).is_err() {
        return Err(HeadError::Malformed(
            "its target must be a path that begins with a slash, with no scheme, host or fragment",
        ));
    }
    let method = request.method.unwrap_or_default().to_owned();
    let version = Version::of(request.version);
    Ok(RequestHead { method, target: target.to_owned(), version, headers })
}

/// Parses the head of a provider's answer.
pub fn response_head(bytes: &[u8]) -> Result<ResponseHead, HeadError> {
    let mut lines = [EMPTY_HEADER; HEADER_COUNT_MAX];
    let mut response = httparse::Response::new(&mut lines);
    complete(response.parse(bytes))?;
    let reason = HeaderValue::parse(response.reason.unwrap_or_default());
    Ok(ResponseHead {
        status: response.code.unwrap_or_default(),
        reason: reason.map_err(|_| HeadError::Malformed("its reason holds a control character"))?,
        version: Version::of(response.version),
        headers: Headers::of(response.headers)?,
    })
}

impl Version {
    fn of(minor: Option<u8>) -> Version {
        if minor == Some(0) { Version::Http10 } else { Version::Http11 }
    }

    /// Whether a connection goes on after a message with these headers.
    fn keeps_alive(self, headers: &Headers) -> bool {
        let says = |word: &str| headers.tokens("connection").any(|token| token.eq_ignore_ascii_case(word));
        !says("close") && (self == Version::Http11 || says("keep-alive"))
    }
}

impl RequestHead {
    /// Whether the client wants to send another request on its connection.
    pub fn keeps_alive(&self) -> bool {
        self.version.keeps_alive(&self.headers)
    }

    /// Whether the client waits for a word before it sends its body.
    pub fn expects_continue(&self) -> bool {
        let expects =
            self.headers.get("expect").is_some_and(|value| value.eq_ignore_ascii_case(b"100-continue"));
        expects && self.version == Version::Http11
    }

    /// The target's path, with runs of slashes collapsed.
    pub fn path(&self) -> Cow<'_, str> {
        let path = self.target.split_once('?').map_or(self.target.as_str(), |(path, _)| path);
        if !path.as_bytes().windows(2).any(|two| two == b"//") {
            return path.into();
        }
        let mut collapsed = String::with_capacity(path.len());
        for c in path.chars() {
            if c != '/' || !collapsed.ends_with('/') {
                collapsed.push(c);
            }
        }
        collapsed.into()
    }

    /// The parameters of its query, in order.
    pub fn query(&self) -> impl Iterator<Item = Parameter<'_>> {
        query::parameters(&self.target)
    }

    /// Whether this asks for a WebSocket, well formed or not.
    pub fn wants_websocket(&self) -> bool {
        self.headers.tokens("upgrade").any(|token| token.eq_ignore_ascii_case("websocket"))
    }

    /// The `Sec-WebSocket-Key` of a well-formed upgrade request (RFC 6455 §4.2.1).
    pub fn websocket_key(&self) -> Result<&str, HeadError> {
        let bad = |what| Err(HeadError::Malformed(what));
        if self.method != "GET" {
            return bad("a WebSocket upgrade must be a GET");
        }
        if !self.headers.tokens("connection").any(|token| token.eq_ignore_ascii_case("upgrade")) {
            return bad("an upgrade needs `Connection: Upgrade`");
        }
        if self.headers.get("sec-websocket-version") != Some(b"13") {
            return bad("only WebSocket version 13 is spoken here");
        }
        match self.headers.get("sec-websocket-key").map(std::str::from_utf8) {
            Some(Ok(key)) if is_websocket_key(key) => Ok(key),
            _ => bad("`Sec-WebSocket-Key` must be 16 bytes in base64"),
        }
    }
}

impl ResponseHead {
    /// Whether the server takes another request on its connection.
    pub fn keeps_alive(&self) -> bool {
        self.version.keeps_alive(&self.headers)
    }
}

impl Headers {
    fn of(lines: &[httparse::Header<'_>]) -> Result<Headers, HeadError> {
        let bad = |_| HeadError::Malformed("a header has a bad name or value");
        let mut headers = Vec::with_capacity(lines.len());
        for line in lines {
            let name = HeaderName::parse(line.name).map_err(bad)?;
            let value = HeaderValue::parse(line.value).map_err(bad)?;
            headers.push(Header { name, value });
        }
        Ok(Headers(headers))
    }

    /// The first value under `name`, which is lower-case, without the blanks around it.
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        self.0.iter().find(|header| header.is(name)).map(|header| header.value.as_bytes())
    }

    /// The comma-separated tokens of every line under `name`.
    pub fn tokens<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0
            .iter()
            .filter(move |header| header.is(name))
            .filter_map(|header| header.value.as_text())
            .flat_map(|value| value.split(','))
            .map(str::trim)
            .filter(|token| !token.is_empty())
    }

    /// The headers that are for this connection alone, as `Connection` says. None that tells how a body is to be read ever is.
    pub fn nominated(&self) -> Vec<&str> {
        let is_option = |token: &str| OPTIONS.iter().any(|option| token.eq_ignore_ascii_case(option));
        self.tokens("connection").filter(|token| !is_option(token) && !is_about_content(token)).collect()
    }

    /// Whether `Connection` takes away what tells how the body is to be read.
    pub fn hides_content(&self) -> bool {
        self.tokens("connection").any(is_about_content)
    }

    /// Whether `Content-Type` begins so, in whatever case.
    pub fn are_of_type(&self, kind: &str) -> bool {
        let start = self.get("content-type").and_then(|value| value.get(..kind.len()));
        start.is_some_and(|start| start.eq_ignore_ascii_case(kind.as_bytes()))
    }

    /// How many lines there are under `name`, which is lower-case.
    pub fn count(&self, name: &str) -> usize {
        self.0.iter().filter(|header| header.is(name)).count()
    }

    /// A body's length must be told once, in one way.
    fn check_length(&self) -> Result<(), HeadError> {
        let mut lengths = self.0.iter().filter(|header| header.is("content-length"));
        let length = lengths.next();
        if lengths.next().is_some() {
            return Err(HeadError::Malformed("Content-Length is given twice"));
        }
        if let Some(length) = length {
            let digits = length.value.as_bytes();
            if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
                return Err(HeadError::Malformed("Content-Length is not a number"));
            }
            if self.get("transfer-encoding").is_some() {
                return Err(HeadError::Malformed("Content-Length and Transfer-Encoding are both given"));
            }
        }
        Ok(())
    }
}

impl Header {
    /// `name` is lower-case.
    pub fn is(&self, name: &str) -> bool {
        self.name.is(name)
    }
}

/// What `Connection` says of the connection itself.
const OPTIONS: [&str; 3] = ["keep-alive", "close", "upgrade"];

fn is_about_content(name: &str) -> bool {
    name.get(..8).is_some_and(|start| start.eq_ignore_ascii_case("content-"))
}

fn complete(parsed: Result<Status<usize>, httparse::Error>) -> Result<(), HeadError> {
    match parsed {
        Ok(Status::Complete(_)) => Ok(()),
        Ok(Status::Partial) => Err(HeadError::Malformed("it is cut off")),
        Err(httparse::Error::TooManyHeaders) => Err(HeadError::TooBig),
        Err(httparse::Error::HeaderName) => Err(HeadError::Malformed("a header has a bad name")),
        Err(httparse::Error::HeaderValue) => Err(HeadError::Malformed("a header has a bad value")),
        Err(httparse::Error::Version) => Err(HeadError::Malformed("only HTTP/1.1 is spoken here")),
        Err(_) => Err(HeadError::Malformed("the first line is not HTTP")),
    }
}

/// A CR or LF by itself is a line's end to some parsers and not to others, so neither is taken.
fn check_line_ends(bytes: &[u8]) -> Result<(), HeadError> {
    let bare_lf = memchr::memchr_iter(b'\n', bytes).any(|at| at == 0 || bytes[at - 1] != b'\r');
    let bare_cr = memchr::memchr_iter(b'\r', bytes).any(|at| bytes.get(at + 1) != Some(&b'\n'));
    if bare_lf || bare_cr {
        return Err(HeadError::Malformed("a line does not end in CRLF"));
    }
    Ok(())
}

/// 16 bytes in base64 are 22 characters and two pads.
fn is_websocket_key(key: &str) -> bool {
    let base64 = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
    key.len() == 24 && key.ends_with("==") && key.as_bytes()[..22].iter().all(base64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn head(text: &str) -> Result<RequestHead, HeadError> {
        request_head(text.as_bytes())
    }

    #[test]
    fn an_upgrade_request_is_read() {
        let head = head(
            "GET //x//v1/realtime?model=gpt%2Drealtime&intent=&flag HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\n\
             Upgrade: WebSocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
             Sec-WebSocket-Protocol: realtime, openai-insecure-api-key.sk-x\r\n\r\n",
        )
        .unwrap();
        assert_eq!(head.path(), "/x/v1/realtime");
        let query: Vec<_> = head.query().map(Parameter::as_str).collect();
        assert_eq!(query, ["model=gpt%2Drealtime", "intent=", "flag"]);
        assert!(head.wants_websocket());
        assert_eq!(head.websocket_key(), Ok("dGhlIHNhbXBsZSBub25jZQ=="));
        assert_eq!(
            head.headers.tokens("sec-websocket-protocol").collect::<Vec<_>>(),
            ["realtime", "openai-insecure-api-key.sk-x"]
        );
    }

    #[test]
    fn heads_that_two_parsers_could_read_differently_are_refused() {
        for bad in [
            "GET / HTTP/1.1\nHost: a\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\rb\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\n folded\r\n\r\n",
            "GET / HTTP/1.1\r\n: empty\r\n\r\n",
            "GET / HTTP/1.1\r\nHost : a\r\n\r\n",
            "GET / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n",
            "GET / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
            "GET / HTTP/1.1\r\nContent-Length: +1\r\n\r\n",
            "GET / HTTP/1.1\r\nX: a\0b\r\n\r\n",
            "GET / HTTP/2.0\r\n\r\n",
            "GET http://other/ HTTP/1.1\r\n\r\n",
            "GET /http://other/v1/realtime HTTP/1.1\r\n\r\n",
            "GET /v1/realtime#part HTTP/1.1\r\n\r\n",
            "GET other:443 HTTP/1.1\r\n\r\n",
            "OPTIONS * HTTP/1.1\r\n\r\n",
            "\x16\x03\x01 HTTP/1.1\r\n\r\n",
        ] {
            assert!(matches!(head(bad), Err(HeadError::Malformed(_))), "{bad:?}");
        }
        assert!(head("GET /v1/realtime?next=http://other/ HTTP/1.1\r\n\r\n").is_ok());
    }

    #[test]
    fn what_connection_names_is_for_it_alone() {
        let of =
            |value: &str| head(&format!("GET / HTTP/1.1\r\nConnection: {value}\r\n\r\n")).unwrap().headers;
        for (value, nominated, hides) in [
            ("keep-alive", vec![], false),
            ("Keep-Alive, Upgrade,close", vec![], false),
            ("x-a, close\r\nConnection: X-B", vec!["x-a", "X-B"], false),
            ("Content-Type, x-a", vec!["x-a"], true),
            ("\u{e9}ontent-type", vec!["\u{e9}ontent-type"], false),
        ] {
            let headers = of(value);
            assert_eq!((headers.nominated(), headers.hides_content()), (nominated, hides), "{value}");
        }
    }

    #[test]
    fn a_head_is_bounded_in_bytes_and_lines() {
        assert_eq!(head_end(b"GET / HTTP/1.1\r\n\r\nrest"), Ok(Some(18)));
        assert_eq!(head_end(b"GET / HTTP/1.1\r\n"), Ok(None));
        assert_eq!(head_end(&[b'a'; HEAD_BYTES_MAX]), Err(HeadError::TooBig));
        let many = format!("GET / HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(HEADER_COUNT_MAX + 1));
        assert_eq!(head(&many), Err(HeadError::TooBig));
    }

    proptest! {
        #[test]
        fn no_bytes_make_a_head_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            prop_assert_eq!(head_end(&bytes).is_ok(), bytes.first() != Some(&TLS_HANDSHAKE));
            prop_assert!(request_head(&bytes).is_err() || bytes.contains(&b'\n'));
            prop_assert!(response_head(&bytes).is_err() || bytes.contains(&b'\n'));
        }
    }
}
