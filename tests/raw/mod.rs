//! The two ends of a session as bytes: an application and a provider that can say anything, also what no library
//! would let them say.
//!
//! Start at [`Upstream::session`]. Every wait has a deadline; past it the test fails and says what it waited for.

#![allow(dead_code, reason = "each test binary uses its own part")]

pub(crate) mod calls;
pub(crate) mod http;

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};
use tokenist_kit::{PATIENCE, Tokenist};

pub(crate) const FIN: u8 = 0x80;
pub(crate) const TEXT: u8 = 0x81;
pub(crate) const BINARY: u8 = 0x82;
pub(crate) const CLOSE: u8 = 0x88;
pub(crate) const PING: u8 = 0x89;
pub(crate) const PONG: u8 = 0x8a;

/// The mask that our application uses: every byte differs, none is 0.
pub(crate) const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
/// The proof that the key in [`UPGRADE`] demands.
const WEBSOCKET_ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// The headers of a user that is let in.
pub(crate) const BEARER: &str = "Authorization: Bearer sk-test";
pub(crate) const ALICE: &str = "x-user-id: alice";

/// A connection with what was read of it and not yet looked at.
pub(crate) struct Wire<S = TcpStream> {
    pub(crate) stream: S,
    unread: Vec<u8>,
}

/// A frame as it came, and what it says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) first: u8,
    pub(crate) key: Option<[u8; 4]>,
    /// Unmasked.
    pub(crate) payload: Vec<u8>,
}

/// A status line with headers, and the body if the peer has closed after it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Wire {
    pub(crate) fn connect(to: SocketAddr) -> Wire {
        let stream = TcpStream::connect(to).expect("the proxy listens");
        Wire::over(stream)
    }

    pub(crate) fn over(stream: TcpStream) -> Wire {
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        Wire { stream, unread: Vec::new() }
    }

    /// Says that nothing more will be sent, and goes on listening.
    pub(crate) fn finish(&self) {
        match self.stream.shutdown(Shutdown::Write) {
            // The peer knew all that it wanted, and has ended already.
            Err(error) if error.kind() == ErrorKind::NotConnected => {}
            ended => ended.unwrap(),
        }
    }

    /// Whether the peer has said or ended something.
    pub(crate) fn is_readable(&self) -> bool {
        self.stream.set_nonblocking(true).unwrap();
        let readable = self.stream.peek(&mut [0]).is_ok();
        self.stream.set_nonblocking(false).unwrap();
        readable
    }

    /// Ends the connection with a reset.
    pub(crate) fn reset(self) {
        socket2::SockRef::from(&self.stream).set_linger(Some(Duration::ZERO)).unwrap();
    }
}

impl<S: Read + Write> Wire<S> {
    pub(crate) fn new(stream: S) -> Wire<S> {
        Wire { stream, unread: Vec::new() }
    }

    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).expect("the peer takes what is sent");
        self.stream.flush().unwrap();
    }

    /// Sends a byte at a time.
    pub(crate) fn trickle(&mut self, bytes: &[u8]) {
        bytes.chunks(1).for_each(|byte| self.send(byte));
    }

    /// The next `count` bytes.
    pub(crate) fn read(&mut self, count: usize) -> Vec<u8> {
        while self.unread.len() < count {
            assert!(self.fill(), "the peer ended before {count} bytes; it said {}", shown(&self.unread));
        }
        self.unread.drain(..count).collect()
    }

    /// Everything up to the end of the stream; a reset is an end, too.
    pub(crate) fn rest(&mut self) -> Vec<u8> {
        while self.fill() {}
        std::mem::take(&mut self.unread)
    }

    #[track_caller]
    pub(crate) fn expect(&mut self, bytes: &[u8], what: &str) {
        let read = self.read(bytes.len());
        if read != bytes {
            let at = read.iter().zip(bytes).position(|(a, b)| a != b).unwrap_or_default();
            panic!("{what}: byte {at} of {} is {:#x}, not {:#x}", bytes.len(), read[at], bytes[at]);
        }
    }

    /// Takes the pings out of what comes next.
    pub(crate) fn skip_pings(&mut self) {
        loop {
            while self.unread.is_empty() {
                assert!(self.fill(), "the peer ended");
            }
            if self.unread[0] != PING {
                return;
            }
            self.frame();
        }
    }

    /// The peer says nothing more and ends the stream.
    #[track_caller]
    pub(crate) fn expect_end(&mut self) {
        let rest = self.rest();
        assert!(rest.is_empty(), "nothing more was to come, but {}", shown(&rest));
    }

    /// A head with its empty line.
    pub(crate) fn head(&mut self) -> String {
        loop {
            if let Some(at) = self.unread.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                return String::from_utf8(self.unread.drain(..at + 4).collect()).unwrap();
            }
            assert!(self.fill(), "the peer ended before a head; it said {}", shown(&self.unread));
        }
    }

    pub(crate) fn answer(&mut self) -> Answer {
        let head = self.head();
        let status = head.split(' ').nth(1).and_then(|word| word.parse().ok());
        let status = status.unwrap_or_else(|| panic!("no status in {head:?}"));
        let body = if status == 101 { Vec::new() } else { self.rest() };
        Answer { status, head, body: String::from_utf8_lossy(&body).into_owned() }
    }

    /// `None` at the end of the stream.
    pub(crate) fn next_frame(&mut self) -> Option<Frame> {
        (!self.unread.is_empty() || self.fill()).then(|| self.frame())
    }

    pub(crate) fn frame(&mut self) -> Frame {
        let start = self.read(2);
        let (first, masked) = (start[0], start[1] & 0x80 != 0);
        let length = match start[1] & 0x7f {
            126 => self.read(2),
            127 => self.read(8),
            short => vec![short],
        };
        let length = length.iter().fold(0, |sum, &byte| sum << 8 | usize::from(byte));
        let key = masked.then(|| <[u8; 4]>::try_from(self.read(4)).unwrap());
        let mut payload = self.read(length);
        key.into_iter().for_each(|key| mask(&mut payload, key));
        Frame { first, key, payload }
    }

    /// An `error` event of ours, then its close: the event's code, and the close code.
    #[track_caller]
    pub(crate) fn refusal(&mut self) -> (String, u16) {
        let event = self.frame();
        assert_eq!(event.first, TEXT, "an error event precedes the close: {event:?}");
        let event: serde_json::Value = serde_json::from_slice(&event.payload).unwrap();
        assert_eq!(event["type"], "error");
        assert!(event["event_id"].is_string() && event["error"]["message"].is_string(), "{event}");
        let close = self.frame();
        assert_eq!(close.first, CLOSE);
        (event["error"]["code"].as_str().unwrap().to_owned(), close.close_code())
    }

    /// An `error` event that blames the provider's words, then its close: the close code.
    #[track_caller]
    pub(crate) fn failure(&mut self, what: &str) -> u16 {
        let (code, close) = self.refusal();
        assert_eq!(code, "upstream_failed", "{what}");
        close
    }

    /// False at the end of the stream.
    fn fill(&mut self) -> bool {
        let mut piece = [0; 64 * 1024];
        loop {
            match self.stream.read(&mut piece) {
                Ok(count) => {
                    self.unread.extend(&piece[..count]);
                    return count > 0;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    panic!("nothing came for {PATIENCE:?}; before it {}", shown(&self.unread));
                }
                Err(_) => return false,
            }
        }
    }
}

impl Frame {
    #[track_caller]
    pub(crate) fn close_code(&self) -> u16 {
        assert_eq!(self.first, CLOSE, "{self:?}");
        u16::from_be_bytes(self.payload[..2].try_into().unwrap())
    }

    /// What a close frame says beside its code.
    #[track_caller]
    pub(crate) fn close_reason(&self) -> &str {
        assert_eq!(self.first, CLOSE, "{self:?}");
        std::str::from_utf8(&self.payload[2..]).unwrap()
    }
}

/// A provider that does what the test says, one connection at a time.
pub(crate) struct Upstream {
    listener: TcpListener,
}

impl Upstream {
    pub(crate) fn start() -> Upstream {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        Upstream { listener }
    }

    pub(crate) fn origin(&self) -> String {
        format!("http://{}", self.listener.local_addr().unwrap())
    }

    /// The proxy's next connection.
    pub(crate) fn accept(&self) -> Wire {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(wire) = self.poll() {
                return wire;
            }
            assert!(Instant::now() < deadline, "the proxy does not dial");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// The proxy's next connection if there is one now.
    pub(crate) fn poll(&self) -> Option<Wire> {
        match self.listener.accept() {
            Ok((stream, _)) => {
                stream.set_nonblocking(false).unwrap();
                Some(Wire::over(stream))
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => None,
            Err(error) => panic!("{error}"),
        }
    }

    /// An application's and a provider's end of a session in relay.
    pub(crate) fn session(&self, proxy: SocketAddr) -> (Wire, Wire) {
        let mut app = Wire::connect(proxy);
        app.send(upgrade(&["Authorization: Bearer sk-test", "x-user-id: alice"]));
        let mut provider = self.accept();
        provider.head();
        provider.send(switching(&[]));
        assert_eq!(app.answer().status, 101);
        (app, provider)
    }
}

/// A proxy with one shard before `origin`. The tests of `relay_epoll` get the driver that they are named after.
pub(crate) fn start(origin: &str, settings: &[(&str, &str)]) -> Tokenist {
    let driver = if env!("CARGO_CRATE_NAME").ends_with("_epoll") { "epoll" } else { "auto" };
    let ours = [("proxy.shard_count", "1"), ("proxy.driver", driver), ("log.level", "debug")];
    Tokenist::start(origin, &[&ours[..], settings].concat())
}

/// A process's memory in bytes, now (`VmRSS`) or at its peak (`VmHWM`).
pub(crate) fn memory(proxy: &Tokenist, field: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", proxy.process_id())).unwrap();
    let line = status.lines().find(|line| line.starts_with(field)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

/// The most memory that it ever had, once that has stood still: what a session leaves for the store takes some, a moment
/// after the session is over.
pub(crate) fn settled_memory(proxy: &Tokenist) -> u64 {
    let deadline = Instant::now() + PATIENCE;
    let mut last = memory(proxy, "VmHWM");
    loop {
        std::thread::sleep(Duration::from_millis(500));
        let now = memory(proxy, "VmHWM");
        if now == last || Instant::now() > deadline {
            return now;
        }
        last = now;
    }
}

/// An upgrade request.
pub(crate) fn upgrade(headers: &[&str]) -> String {
    request("GET /v1/realtime?model=gpt-realtime", &[&UPGRADE[..], headers].concat())
}

/// The key is RFC 6455's own example.
pub(crate) const UPGRADE: [&str; 4] = [
    "Connection: Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
];

pub(crate) fn request(line: &str, headers: &[&str]) -> String {
    let headers: String = headers.iter().map(|header| format!("{header}\r\n")).collect();
    format!("{line} HTTP/1.1\r\nHost: tokenist\r\n{headers}\r\n")
}

/// The provider's answer that completes an upgrade.
pub(crate) fn switching(headers: &[&str]) -> String {
    let headers: String = headers.iter().map(|header| format!("{header}\r\n")).collect();
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Accept: {WEBSOCKET_ACCEPT}\r\n{headers}\r\n"
    )
}

/// A frame with the shortest length that fits; masked if it comes from the application.
pub(crate) fn frame(first: u8, payload: &[u8], key: Option<[u8; 4]>) -> Vec<u8> {
    let mut frame = header(first, payload.len() as u64, key);
    let start = frame.len();
    frame.extend(payload);
    key.into_iter().for_each(|key| mask(&mut frame[start..], key));
    frame
}

/// The header of a frame whose payload may never come.
pub(crate) fn header(first: u8, length: u64, key: Option<[u8; 4]>) -> Vec<u8> {
    let masked = if key.is_some() { 0x80 } else { 0 };
    let mut header = vec![first];
    match length {
        0..126 => header.push(masked | length as u8),
        126..65_536 => {
            header.push(masked | 126);
            header.extend((length as u16).to_be_bytes());
        }
        _ => {
            header.push(masked | 127);
            header.extend(length.to_be_bytes());
        }
    }
    header.extend(key.into_iter().flatten());
    header
}

pub(crate) fn close(code: u16, reason: &str, key: Option<[u8; 4]>) -> Vec<u8> {
    frame(CLOSE, &[&code.to_be_bytes()[..], reason.as_bytes()].concat(), key)
}

pub(crate) fn mask(payload: &mut [u8], key: [u8; 4]) {
    for (byte, key) in payload.iter_mut().zip(key.into_iter().cycle()) {
        *byte ^= key;
    }
}

/// Bytes in which a piece that is lost or doubled shows.
pub(crate) fn noise(seed: u32, count: usize) -> Vec<u8> {
    let mut state = seed | 1;
    let mut bytes = Vec::with_capacity(count + 4);
    while bytes.len() < count {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        bytes.extend(state.to_le_bytes());
    }
    bytes.truncate(count);
    bytes
}

/// The same as text: letters, and signs of two, three and four bytes among them.
pub(crate) fn prose(seed: u32, count: usize) -> Vec<u8> {
    let mut text: Vec<u8> = noise(seed, count).iter().map(|byte| b' ' + byte % 95).collect();
    for (at, sign) in [(90, "ö"), (200, "好"), (510, "🚂"), (1_022, "ö"), (65_530, "🚂")] {
        if let Some(room) = text.get_mut(at..at + sign.len()) {
            room.copy_from_slice(sign.as_bytes());
        }
    }
    text
}

fn shown(bytes: &[u8]) -> String {
    format!("{} bytes: {:?}", bytes.len(), String::from_utf8_lossy(&bytes[..bytes.len().min(400)]))
}

/// The code in an HTTP refusal's error object.
pub(crate) fn code(answer: &Answer) -> String {
    let body: serde_json::Value =
        serde_json::from_str(&answer.body).unwrap_or_else(|error| panic!("{error}: {answer:?}"));
    assert!(body["error"]["message"].is_string() && body["error"]["type"].is_string(), "{body}");
    body["error"]["code"].as_str().unwrap().to_owned()
}

/// A session from its opening to its close, to show that the shard still serves.
pub(crate) fn serve_one(proxy: &Tokenist, provider: &Upstream) {
    let (mut app, mut server) = provider.session(proxy.listen);
    let (down, up) = (frame(TEXT, b"{\"type\":\"session.created\"}", None), frame(TEXT, b"{}", Some(KEY)));
    server.send(&down);
    app.expect(&down, "an event");
    app.send(&up);
    server.expect(&up, "an event");
    app.send(close(1000, "", Some(KEY)));
    assert_eq!(server.frame().close_code(), 1000);
    server.send(close(1000, "", None));
    assert_eq!(app.frame().close_code(), 1000);
}
