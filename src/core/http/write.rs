//! Heads that we write. Only checked values go in, so nothing that was decoded from a request can begin another line.

use std::borrow::Cow;
use std::fmt;

/// A header's name: a token of RFC 9110.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeaderName(Cow<'static, str>);

/// A header's value: no control characters but tabs, so it cannot end its line.
#[derive(Clone, PartialEq, Eq)]
pub struct HeaderValue(Cow<'static, [u8]>);

/// A request's target: a path that begins with a slash, and perhaps a query. It holds no blank and no control character,
/// so it cannot end its line; no fragment, and no URL in its path, which some would read as where to go.
#[derive(Clone, PartialEq, Eq)]
pub struct Target(String);

/// A text that cannot be written where it was to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unwritable;

impl fmt::Display for Unwritable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("it holds something that cannot stand in a header")
    }
}

impl std::error::Error for Unwritable {}

impl HeaderName {
    /// A name of our own; one that is no token does not compile where this is a constant.
    pub const fn literal(name: &'static str) -> HeaderName {
        assert!(is_token(name.as_bytes()), "a header's name is a token");
        HeaderName(Cow::Borrowed(name))
    }

    pub fn parse(name: &str) -> Result<HeaderName, Unwritable> {
        match USUAL_NAMES.iter().find(|usual| **usual == name) {
            Some(usual) => Ok(HeaderName(Cow::Borrowed(usual))),
            None if is_token(name.as_bytes()) => Ok(HeaderName(name.to_owned().into())),
            None => Err(Unwritable),
        }
    }

    /// As it was written; compare with [`HeaderName::is`].
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// `name` may be in any case.
    pub fn is(&self, name: &str) -> bool {
        self.0.eq_ignore_ascii_case(name)
    }
}

impl HeaderValue {
    pub const fn literal(value: &'static str) -> HeaderValue {
        assert!(is_value(value.as_bytes()), "a header's value has no control characters");
        HeaderValue(Cow::Borrowed(value.as_bytes()))
    }

    pub fn parse(value: impl Into<Vec<u8>>) -> Result<HeaderValue, Unwritable> {
        let value = value.into();
        if is_value(&value) { Ok(HeaderValue(value.into())) } else { Err(Unwritable) }
    }

    /// Without the blanks around it.
    pub fn as_bytes(&self) -> &[u8] {
        self.0.trim_ascii()
    }

    /// `None` if it is not UTF-8.
    pub fn as_text(&self) -> Option<&str> {
        std::str::from_utf8(self.as_bytes()).ok()
    }
}

impl From<u64> for HeaderValue {
    fn from(number: u64) -> HeaderValue {
        HeaderValue(number.to_string().into_bytes().into())
    }
}

/// Shows how long it is and no more: it may be a credential.
impl fmt::Debug for HeaderValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HeaderValue({} bytes)", self.0.len())
    }
}

impl Target {
    pub fn parse(target: &str) -> Result<Target, Unwritable> {
        let path = target.split_once('?').map_or(target, |(path, _)| path);
        let is_url = memchr::memchr_iter(b':', path.as_bytes()).any(|at| path[at..].starts_with("://"));
        let ends_line = |byte: u8| byte <= b' ' || byte == b'#' || byte == 0x7f;
        let writable = path.starts_with('/')
            && !is_url
            && !target.bytes().fold(false, |ends, byte| ends | ends_line(byte));
        if writable { Ok(Target(target.to_owned())) } else { Err(Unwritable) }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Queries may hold credentials.
impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Target({})", self.0.split('?').next().unwrap_or_default())
    }
}

/// Names that most heads have, as they are mostly written. They are not copied.
const USUAL_NAMES: [&str; 24] = [
    "host",
    "Host",
    "content-type",
    "Content-Type",
    "content-length",
    "Content-Length",
    "authorization",
    "Authorization",
    "accept",
    "Accept",
    "accept-encoding",
    "Accept-Encoding",
    "user-agent",
    "User-Agent",
    "connection",
    "Connection",
    "transfer-encoding",
    "Transfer-Encoding",
    "date",
    "Date",
    "server",
    "Server",
    "x-user-id",
    "x-request-id",
];

/// Few heads are longer.
const HEAD_BYTES_USUAL: usize = 1024;

/// One head that is being written.
#[derive(Debug)]
pub struct HeadWriter(Vec<u8>);

impl HeadWriter {
    /// A request of ours to a provider.
    pub fn get(target: &Target) -> HeadWriter {
        HeadWriter::request(&HeaderName::literal("GET"), target)
    }

    /// A request with any method, which is a token as a header's name is.
    pub fn request(method: &HeaderName, target: &Target) -> HeadWriter {
        let first = [method.as_str(), " ", target.as_str(), " HTTP/1.1\r\n"];
        HeadWriter::begin(first.map(str::as_bytes))
    }

    /// An answer. A status has three digits.
    pub fn answer(status: u16, reason: &HeaderValue) -> HeadWriter {
        debug_assert!((100..1000).contains(&status), "a status has three digits");
        let status = [status / 100, status / 10 % 10, status % 10].map(|digit| b'0' + digit as u8);
        HeadWriter::begin([b"HTTP/1.1 ", &status, b" ", reason.as_bytes(), b"\r\n"])
    }

    fn begin<const N: usize>(first_line: [&[u8]; N]) -> HeadWriter {
        let mut wire = Vec::with_capacity(HEAD_BYTES_USUAL);
        first_line.into_iter().for_each(|part| wire.extend_from_slice(part));
        HeadWriter(wire)
    }

    pub fn line(&mut self, name: &HeaderName, value: &HeaderValue) {
        self.0.extend(name.0.as_bytes());
        self.0.extend(b": ");
        self.0.extend(value.as_bytes());
        self.0.extend(b"\r\n");
    }

    /// The head with its empty line.
    pub fn end(mut self) -> Vec<u8> {
        self.0.extend(b"\r\n");
        self.0
    }
}

const fn is_token(bytes: &[u8]) -> bool {
    let mut at = 0;
    while at < bytes.len() {
        if !IN_TOKEN[bytes[at] as usize] {
            return false;
        }
        at += 1;
    }
    !bytes.is_empty()
}

/// Which bytes a token may hold (RFC 9110 §5.6.2).
const IN_TOKEN: &[bool; 256] = &{
    let (mut in_token, signs) = ([false; 256], b"!#$%&'*+-.^_`|~");
    let mut byte = 0;
    while byte < in_token.len() {
        in_token[byte] = (byte as u8).is_ascii_alphanumeric();
        byte += 1;
    }
    let mut at = 0;
    while at < signs.len() {
        in_token[signs[at] as usize] = true;
        at += 1;
    }
    in_token
};

/// All of it is looked at, many bytes at once: few values are none.
const fn is_value(bytes: &[u8]) -> bool {
    let (mut at, mut controls) = (0, 0);
    while at < bytes.len() {
        controls |= ((bytes[at] < b' ') & (bytes[at] != b'\t') | (bytes[at] == 0x7f)) as u8;
        at += 1;
    }
    controls == 0
}

#[cfg(test)]
mod tests {
    use super::super::{head_end, request_head};
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_would_end_a_line_is_neither_name_nor_value_nor_target() {
        assert!(USUAL_NAMES.iter().all(|name| is_token(name.as_bytes())));
        for bad in ["", "a b", "a:", "a\r\n", "ä"] {
            assert_eq!(HeaderName::parse(bad), Err(Unwritable), "{bad:?}");
        }
        for bad in ["a\r\nb", "a\nb", "a\rb", "a\0b", "a\x1bb", "a\x7fb"] {
            assert_eq!(HeaderValue::parse(bad), Err(Unwritable), "{bad:?}");
            assert_eq!(Target::parse(&format!("/{bad}")), Err(Unwritable), "{bad:?}");
        }
        for bad in ["", "v1", "http://host/", "/a b", "/a\tb", "*"] {
            assert_eq!(Target::parse(bad), Err(Unwritable), "{bad:?}");
        }
        assert_eq!(HeaderValue::parse(" a\tb ä ").unwrap().as_text(), Some("a\tb ä"));
        assert!(!format!("{:?}", HeaderValue::literal("secret")).contains("secret"));
    }

    proptest! {
        #[test]
        fn whatever_goes_into_a_head_it_is_one_head_with_the_lines_that_were_written(
            target in "/\\PC{0,40}|/[ -~\r\n]{0,40}",
            lines in proptest::collection::vec(("[!-~\r\n]{0,12}", proptest::collection::vec(any::<u8>(), 0..40)), 0..5),
        ) {
            let Ok(target) = Target::parse(&target) else { return Ok(()) };
            let mut head = HeadWriter::get(&target);
            let mut written = Vec::new();
            for (name, value) in lines {
                let (Ok(name), Ok(value)) = (HeaderName::parse(&name), HeaderValue::parse(value)) else { continue };
                head.line(&name, &value);
                written.push((name, value.as_bytes().to_vec()));
            }
            let wire = head.end();
            prop_assert_eq!(head_end(&wire), Ok(Some(wire.len())));
            // A length may be given twice here; that is the only thing that reading it again refuses.
            prop_assume!(!written.iter().any(|(name, _)| name.is("content-length")));
            let read = request_head(&wire).unwrap();
            prop_assert_eq!(&read.target, target.as_str());
            let read: Vec<_> =
                read.headers.0.into_iter().map(|line| (line.name, line.value.as_bytes().to_vec())).collect();
            prop_assert_eq!(read, written);
        }
    }
}
