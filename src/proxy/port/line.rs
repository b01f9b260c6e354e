//! A TCP connection that carries datagrams (RFC 4571), where a network lets no UDP through (RFC 6544).
//!
//! Start at [`Line::run`]. Invariant: it holds one datagram each way at most. What does not leave at once is lost, as on any network,
//! but for what has begun to leave.

use super::DATAGRAM_BYTES_MAX;
use monoio::net::TcpStream as Ready;
use monoio::time::{Instant, timeout_at};
use socket2::{Domain, Protocol, Socket, Type};
use std::cell::{Cell, RefCell};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};

/// What stands before a datagram: its length.
const HEADER_BYTES: usize = 2;

pub(crate) struct Line {
    stream: TcpStream,
    /// The same connection, to be waited for.
    ready: Ready,
    /// What is left of a datagram that has begun to leave.
    rest: RefCell<Vec<u8>>,
    /// It carries a call.
    pub(crate) is_known: Cell<bool>,
}

/// It has ended, or does not speak so.
#[derive(Debug)]
struct Ended;

impl Line {
    /// # Errors
    /// The connection cannot be waited for.
    pub(crate) fn new(stream: TcpStream) -> io::Result<Line> {
        stream.set_nonblocking(true)?;
        stream.set_nodelay(true)?;
        let ready = Ready::from_std(stream.try_clone()?)?;
        Ok(Line { stream, ready, rest: RefCell::default(), is_known: Cell::new(false) })
    }

    /// One to `peer`, once that has taken it.
    ///
    /// # Errors
    /// It has not.
    pub(crate) async fn connect(peer: SocketAddr, until: Instant) -> io::Result<Line> {
        let socket = Socket::new(Domain::for_address(peer), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_nonblocking(true)?;
        match socket.connect(&peer.into()) {
            Err(error) if error.raw_os_error() != Some(libc::EINPROGRESS) => return Err(error),
            Ok(()) | Err(_) => {}
        }
        let line = Line::new(socket.into())?;
        timeout_at(until, line.ready.writable(false)).await.unwrap_or(Err(ErrorKind::TimedOut.into()))?;
        line.is_known.set(true);
        line.stream.take_error()?.map_or(Ok(line), Err)
    }

    pub(crate) fn local_address(&self) -> io::Result<SocketAddr> {
        self.stream.local_addr()
    }

    /// Shows each datagram to `take`, until the connection ends. One that is not known for a call's by `until` is over.
    pub(crate) async fn run(&self, until: Instant, take: impl Fn(&[u8])) {
        let mut gathered = Vec::new();
        loop {
            let ready = self.ready.readable(false);
            let waited = match self.is_known.get() {
                true => ready.await,
                false => timeout_at(until, ready).await.unwrap_or(Err(ErrorKind::TimedOut.into())),
            };
            if waited.is_err() || self.read(&mut gathered, &take).is_err() {
                return self.shut_down();
            }
        }
    }

    /// Reads once, and shows what is whole then.
    fn read(&self, gathered: &mut Vec<u8>, take: &impl Fn(&[u8])) -> Result<(), Ended> {
        let mut bytes = [0; HEADER_BYTES + DATAGRAM_BYTES_MAX];
        match (&self.stream).read(&mut bytes) {
            Ok(0) => return Err(Ended),
            Ok(count) => gathered.extend_from_slice(&bytes[..count]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(_) => return Err(Ended),
        }
        let mut at = 0;
        while let Some((header, behind)) = gathered[at..].split_first_chunk::<HEADER_BYTES>() {
            let length = usize::from(u16::from_be_bytes(*header));
            if length > DATAGRAM_BYTES_MAX {
                return Err(Ended);
            }
            let Some(datagram) = behind.get(..length) else { break };
            take(datagram);
            at += HEADER_BYTES + length;
        }
        gathered.drain(..at);
        Ok(())
    }

    pub(crate) fn send(&self, datagram: &[u8]) {
        let Ok(length) = u16::try_from(datagram.len()) else { return };
        let mut rest = self.rest.borrow_mut();
        if !rest.is_empty() && (!self.write(&mut rest) || !rest.is_empty()) {
            return;
        }
        rest.extend_from_slice(&length.to_be_bytes());
        rest.extend_from_slice(datagram);
        let whole = rest.len();
        if self.write(&mut rest) && rest.len() == whole {
            rest.clear();
        }
    }

    /// Writes what leaves at once; false where the connection has ended.
    fn write(&self, rest: &mut Vec<u8>) -> bool {
        match (&self.stream).write(rest) {
            Ok(count) => drop(rest.drain(..count)),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(_) => {
                self.shut_down();
                return false;
            }
        }
        true
    }

    /// Ends it, and with it whoever reads it.
    pub(crate) fn shut_down(&self) {
        if let Err(error) = self.stream.shutdown(Shutdown::Both) {
            tracing::trace!(%error, "a line of a call had ended");
        }
    }
}
