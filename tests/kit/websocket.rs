//! A WebSocket client that says only what it is told to, and hears everything.

use crate::PATIENCE;
use crate::http::Answer;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use serde_json::Value;
use std::fmt;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The lower half of a frame's first byte.
pub mod opcode {
    pub const CONTINUATION: u8 = 0;
    pub const TEXT: u8 = 1;
    pub const BINARY: u8 = 2;
    pub const CLOSE: u8 = 8;
    pub const PING: u8 = 9;
    pub const PONG: u8 = 10;
}

/// A request for an upgrade.
#[derive(Clone, Debug)]
pub struct Handshake {
    /// Path and query.
    pub target: String,
    /// After the headers that every upgrade has.
    pub headers: Vec<(String, String)>,
}

/// One frame as it came.
#[derive(Clone, PartialEq, Eq)]
pub struct Frame {
    pub fin: bool,
    pub opcode: u8,
    pub payload: Vec<u8>,
}

/// What the other end said next.
#[derive(Clone, Debug, PartialEq)]
pub enum Heard {
    /// A whole message that is JSON.
    Event(Value),
    /// A whole message that is not.
    Message(Vec<u8>),
    Close {
        code: u16,
        reason: String,
    },
    /// The connection ended; without a close before it, nobody said goodbye.
    End,
}

pub struct Client {
    stream: Box<dyn Stream>,
    /// The same connection, for what is no byte.
    socket: TcpStream,
    unread: Vec<u8>,
    /// The answer to the handshake.
    pub answer: Answer,
    /// Events that came before the one that was waited for, in order.
    pub events: Vec<Value>,
}

trait Stream: Read + Write + Send {}
impl<T: Read + Write + Send> Stream for T {}

/// What [`Handshake::of`] calls itself with.
const KEY: &str = "sk-test";
/// RFC 6455's own example.
const WEBSOCKET_KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
const READ_BYTES: usize = 64 << 10;

impl Handshake {
    /// As an SDK asks for a session of the usual model, with a provider key and this user's id.
    pub fn of(user: &str) -> Handshake {
        Handshake { target: "/v1/realtime?model=gpt-realtime".into(), headers: Vec::new() }
            .header("Authorization", &format!("Bearer {KEY}"))
            .header("x-user-id", user)
    }

    pub fn target(mut self, target: &str) -> Handshake {
        self.target = target.to_owned();
        self
    }

    /// One more parameter in the query, written as it is.
    pub fn parameter(mut self, parameter: &str) -> Handshake {
        let sign = if self.target.contains('?') { '&' } else { '?' };
        self.target.push(sign);
        self.target.push_str(parameter);
        self
    }

    /// How the simulated provider shall behave in this session.
    pub fn sim(self, words: &str) -> Handshake {
        self.header("x-sim", words)
    }

    pub fn header(mut self, name: &str, value: &str) -> Handshake {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    fn wire(&self, address: SocketAddr) -> String {
        let mut wire = format!(
            "GET {} HTTP/1.1\r\nHost: {address}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {WEBSOCKET_KEY}\r\n",
            self.target
        );
        for (name, value) in &self.headers {
            wire.push_str(&format!("{name}: {value}\r\n"));
        }
        wire + "\r\n"
    }
}

impl Client {
    /// Opens a session, or gives the answer that it was refused with.
    pub fn open(address: SocketAddr, handshake: &Handshake) -> Result<Client, Answer> {
        let socket = connect(address)?;
        let stream = Box::new(socket.try_clone().unwrap_or_else(|error| panic!("{error}")));
        Client::shake_hands(stream, socket, handshake, address)
    }

    /// As [`Client::open`], over TLS, as `localhost`.
    pub fn open_tls(
        address: SocketAddr,
        trust: Arc<ClientConfig>,
        handshake: &Handshake,
    ) -> Result<Client, Answer> {
        let socket = connect(address)?;
        let name = ServerName::try_from("localhost").expect("it is a name");
        let connection = ClientConnection::new(trust, name).unwrap_or_else(|error| panic!("{error}"));
        let stream = socket.try_clone().unwrap_or_else(|error| panic!("{error}"));
        Client::shake_hands(Box::new(StreamOwned::new(connection, stream)), socket, handshake, address)
    }

    fn shake_hands(
        stream: Box<dyn Stream>,
        socket: TcpStream,
        handshake: &Handshake,
        address: SocketAddr,
    ) -> Result<Client, Answer> {
        let mut client =
            Client { stream, socket, unread: Vec::new(), answer: Answer::head(""), events: Vec::new() };
        client.send(handshake.wire(address).as_bytes());
        let end = loop {
            if let Some(end) = client.unread.windows(4).position(|four| four == b"\r\n\r\n") {
                break end;
            }
            if !client.fill() {
                return Err(client.answer);
            }
        };
        client.answer = Answer::head(&String::from_utf8_lossy(&client.unread[..end]));
        client.unread.drain(..end + 4);
        if client.answer.status == 101 {
            return Ok(client);
        }
        while client.fill() {}
        client.answer.body = String::from_utf8_lossy(&client.unread).into_owned();
        Err(client.answer)
    }

    /// Says an event.
    pub fn say(&mut self, event: &Value) {
        self.send_frame(true, opcode::TEXT, event.to_string().as_bytes());
    }

    /// Asks for a response that behaves as these words of the simulated provider say.
    pub fn ask_response(&mut self, sim: &str) {
        let metadata = serde_json::json!({"sim": sim});
        self.say(&serde_json::json!({"type": "response.create", "response": {"metadata": metadata}}));
    }

    /// Begins the closing handshake.
    pub fn close(&mut self, code: u16, reason: &str) {
        let payload = [&code.to_be_bytes(), reason.as_bytes()].concat();
        self.send_frame(true, opcode::CLOSE, &payload);
    }

    /// Sends a frame, masked.
    pub fn send_frame(&mut self, fin: bool, opcode: u8, payload: &[u8]) {
        self.send(&frame(fin, opcode, payload));
    }

    /// Sends bytes as they are. A peer that takes no more is found out by reading.
    pub fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).and_then(|()| self.stream.flush()).ok();
    }

    /// The next frame; `None` at the end of the connection.
    pub fn frame(&mut self) -> Option<Frame> {
        loop {
            if let Some((frame, length)) = Frame::read(&self.unread) {
                self.unread.drain(..length);
                return Some(frame);
            }
            if !self.fill() {
                return None;
            }
        }
    }

    /// The next message or close. Pings are answered, and pongs are not told.
    pub fn hear(&mut self) -> Heard {
        let mut message = Vec::new();
        let started = Instant::now();
        loop {
            let Some(frame) = self.frame() else { return Heard::End };
            match frame.opcode {
                // A session that is kept alive by pings alone would be listened to for ever.
                opcode::PING if started.elapsed() > PATIENCE => panic!("nothing but pings was heard"),
                opcode::PING => self.send_frame(true, opcode::PONG, &frame.payload),
                opcode::PONG => {}
                opcode::CLOSE => {
                    let (code, reason) = match frame.payload.split_at_checked(2) {
                        Some((code, reason)) => (u16::from_be_bytes([code[0], code[1]]), reason),
                        None => (1005, &[][..]),
                    };
                    return Heard::Close { code, reason: String::from_utf8_lossy(reason).into_owned() };
                }
                _ => {
                    message.extend(frame.payload);
                    if frame.fin {
                        return match serde_json::from_slice(&message) {
                            Ok(event) => Heard::Event(event),
                            Err(_) => Heard::Message(message),
                        };
                    }
                }
            }
        }
    }

    /// Hears on until an event of this type, and gives it; what came before it goes to `events`. The end that came
    /// instead is the error.
    pub fn hear_until(&mut self, kind: &str) -> Result<Value, Heard> {
        loop {
            match self.hear() {
                Heard::Event(event) if event["type"] == kind => return Ok(event),
                Heard::Event(event) => self.events.push(event),
                Heard::Message(_) => {}
                end => return Err(end),
            }
        }
    }

    /// Hears to the end: all further events, and the close if there was one. Answers the close.
    pub fn hear_out(&mut self) -> (Vec<Value>, Option<(u16, String)>) {
        let mut events = std::mem::take(&mut self.events);
        loop {
            match self.hear() {
                Heard::Event(event) => events.push(event),
                Heard::Message(_) => {}
                Heard::Close { code, reason } => {
                    self.close(code, "");
                    return (events, Some((code, reason)));
                }
                Heard::End => return (events, None),
            }
        }
    }

    /// One turn: asks for a response and hears it out. The end that came instead is the error.
    pub fn turn(&mut self, sim: &str) -> Result<Value, Heard> {
        self.ask_response(sim);
        self.hear_until("response.done")
    }

    /// Says goodbye and waits for the answer.
    pub fn leave(mut self) {
        self.close(1000, "");
        while !matches!(self.hear(), Heard::Close { .. } | Heard::End) {}
    }

    /// Is gone at once: the connection is reset.
    pub fn reset(self) {
        let socket = socket2::SockRef::from(&self.socket);
        socket.set_linger(Some(Duration::ZERO)).unwrap_or_else(|error| panic!("{error}"));
        // Of both descriptors of the connection the last one closes it.
        drop(self);
    }

    /// Says no more, but listens.
    pub fn finish(&mut self) {
        // It may be gone already.
        self.socket.shutdown(Shutdown::Write).ok();
    }

    /// How long a read may wait before it panics; [`PATIENCE`] unless set.
    pub fn set_patience(&mut self, patience: Duration) {
        self.socket.set_read_timeout(Some(patience)).unwrap_or_else(|error| panic!("{error}"));
    }

    /// Reads once; false at the end of the connection, however it ended.
    fn fill(&mut self) -> bool {
        let filled = self.unread.len();
        self.unread.resize(filled + READ_BYTES, 0);
        let read = self.stream.read(&mut self.unread[filled..]);
        self.unread.truncate(filled + *read.as_ref().unwrap_or(&0));
        match read {
            Ok(count) => count > 0,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                panic!(
                    "nothing was heard for as long as anybody waits; {} bytes are unread",
                    self.unread.len()
                )
            }
            Err(_) => false,
        }
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Client({:?})", self.socket)
    }
}

impl Frame {
    /// The frame that `bytes` begin with, and its length, if it is whole.
    fn read(bytes: &[u8]) -> Option<(Frame, usize)> {
        let &[first, second, ..] = bytes else { return None };
        let (length, start): (usize, usize) = match second & 0x7f {
            126 => (usize::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?)), 4),
            127 => (u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?) as usize, 10),
            short => (usize::from(short), 2),
        };
        let payload = bytes.get(start..start.checked_add(length)?)?.to_vec();
        let length = start + payload.len();
        Some((Frame { fin: first & 0x80 != 0, opcode: first & 0x0f, payload }, length))
    }
}

impl fmt::Debug for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let start = &self.payload[..self.payload.len().min(80)];
        let text = String::from_utf8_lossy(start);
        write!(f, "Frame(fin {}, opcode {}, {} bytes: {text})", self.fin, self.opcode, self.payload.len())
    }
}

/// A frame as a client sends it.
fn frame(fin: bool, opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![if fin { 0x80 | opcode } else { opcode }];
    match payload.len() {
        length @ 0..126 => frame.push(0x80 | length as u8),
        length @ 126..65_536 => {
            frame.push(0x80 | 126);
            frame.extend((length as u16).to_be_bytes());
        }
        length => {
            frame.push(0x80 | 127);
            frame.extend((length as u64).to_be_bytes());
        }
    }
    frame.extend(MASK);
    frame.extend(payload.iter().enumerate().map(|(index, byte)| byte ^ MASK[index % 4]));
    frame
}

fn connect(address: SocketAddr) -> Result<TcpStream, Answer> {
    let connected = TcpStream::connect_timeout(&address, PATIENCE).and_then(|socket| {
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        Ok(socket)
    });
    connected.map_err(|error| Answer { body: format!("cannot connect: {error}"), ..Answer::head("") })
}
