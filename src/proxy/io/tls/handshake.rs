//! Shakes hands by rustls, which is shown one record at a time: so it never opens one that comes behind the handshake,
//! and what is not opened is the reading half's.
//!
//! Start at [`accept`] and [`connect`]. [`Handshake`] is pure: bytes in, bytes out.

use super::incoming::{Incoming, TlsReader};
use super::outgoing::TlsWriter;
use super::record::{self, Opener, Sealer};
use super::{Schedule, Shared, invalid};
use crate::io::buffer::{BUFFER_BYTES, Buffer, Pool, Unfilled};
use crate::io::tcp::{self, WriteHalf};
use monoio::io::{CancelableAsyncReadRent, Canceller, OwnedReadHalf};
use monoio::net::TcpStream;
use rustls::client::UnbufferedClientConnection;
use rustls::pki_types::ServerName;
use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{ConnectionState, EncodeError, EncodeTlsData, UnbufferedStatus};
use rustls::{ClientConfig, Error, ServerConfig};
use std::io;
use std::rc::Rc;
use std::sync::Arc;

/// Shakes hands as the server that a client has connected to. `early` is what was read of the connection already, with
/// how much that is.
pub(crate) async fn accept(
    plain: (OwnedReadHalf<TcpStream>, WriteHalf),
    early: Option<(Buffer, usize)>,
    config: Arc<ServerConfig>,
    pool: &Pool,
) -> io::Result<(TlsReader, TlsWriter)> {
    let connection = UnbufferedServerConnection::new(config).map_err(io::Error::other)?;
    shake_hands(plain, early, Handshake::new(Side::Server(connection)), pool).await
}

/// Shakes hands with the server called `name`.
pub(crate) async fn connect(
    plain: (OwnedReadHalf<TcpStream>, WriteHalf),
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
    pool: &Pool,
) -> io::Result<(TlsReader, TlsWriter)> {
    let connection = UnbufferedClientConnection::new(config, name).map_err(io::Error::other)?;
    shake_hands(plain, None, Handshake::new(Side::Client(connection)), pool).await
}

async fn shake_hands(
    plain: (OwnedReadHalf<TcpStream>, WriteHalf),
    early: Option<(Buffer, usize)>,
    mut handshake: Handshake,
    pool: &Pool,
) -> io::Result<(TlsReader, TlsWriter)> {
    let (mut read, mut write) = plain;
    let (mut buffer, mut filled) = match early {
        Some(early) => early,
        None => (pool.take()?, 0),
    };
    loop {
        let advanced = handshake.advance(buffer.bytes_mut(), &mut filled);
        // After a failure this is the alert; if it cannot be sent either, the first error is the one to tell.
        let sent = match std::mem::take(&mut handshake.outgoing) {
            outgoing if outgoing.is_empty() => Ok(()),
            outgoing => tcp::write_vec(&mut write, outgoing).await,
        };
        let is_done = advanced.map_err(invalid)?;
        sent?;
        if is_done {
            break;
        }
        if filled == BUFFER_BYTES {
            return Err(invalid("its TLS handshake is too long"));
        }
        let unfilled = Unfilled::new(buffer, filled, BUFFER_BYTES);
        let (result, unfilled) = read.cancelable_read(unfilled, Canceller::new().handle()).await;
        buffer = unfilled.buffer;
        match result? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            count => filled += count,
        }
    }
    let (opener, sealer, shared) = handshake.agreed().map_err(invalid)?;
    let incoming = Incoming::new(opener, Rc::clone(&shared), pool.clone(), (buffer, filled));
    Ok((TlsReader::new(read, incoming), TlsWriter::new(write, sealer, shared, pool.clone())))
}

/// A handshake under way.
pub(super) struct Handshake {
    side: Side,
    /// Of what has come, rustls has seen this much and needs it still.
    shown: usize,
    /// To be sent before anything more is read.
    pub(super) outgoing: Vec<u8>,
}

pub(super) enum Side {
    Server(UnbufferedServerConnection),
    Client(UnbufferedClientConnection),
}

/// What rustls wants next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Again,
    MoreBytes,
    /// It may send, which does not say that it may receive.
    MaySend,
}

impl Handshake {
    pub(super) fn new(side: Side) -> Handshake {
        Handshake { side, shown: 0, outgoing: Vec::new() }
    }

    /// Takes what it can of the `filled` front of `bytes`, and moves the rest there. Whether the handshake is over.
    pub(super) fn advance(&mut self, bytes: &mut [u8], filled: &mut usize) -> Result<bool, Error> {
        loop {
            let (discard, step) = self.side.step(&mut bytes[..self.shown], &mut self.outgoing);
            if discard > 0 {
                bytes.copy_within(discard..*filled, 0);
                *filled -= discard;
                self.shown -= discard;
            }
            match step.inspect_err(|_| self.alert(bytes))? {
                Step::Again => {}
                Step::MaySend if !self.side.is_handshaking() => return self.ended(),
                Step::MaySend | Step::MoreBytes => match shown_next(&bytes[self.shown..*filled]) {
                    0 => return Ok(false),
                    count => self.shown += count,
                },
            }
        }
    }

    /// What rustls still holds of a record when the handshake is over would be lost.
    fn ended(&self) -> Result<bool, Error> {
        if self.shown > 0 { Err(Error::HandshakeNotComplete) } else { Ok(true) }
    }

    /// What rustls has to say about a failure. It says so before it looks at what has failed again.
    fn alert(&mut self, bytes: &mut [u8]) {
        while self.side.wants_write() {
            let (_, step) = self.side.step(&mut bytes[..self.shown], &mut self.outgoing);
            debug_assert_eq!(step, Ok(Step::Again), "what waits is encoded first");
        }
    }

    /// The keys of both directions, once the handshake is over.
    pub(super) fn agreed(self) -> Result<(Opener, Sealer, Rc<Shared>), Error> {
        let (secrets, schedule) = match self.side {
            Side::Server(connection) => {
                let (secrets, kernel) = connection.dangerous_into_kernel_connection()?;
                (secrets, Schedule::Server(kernel))
            }
            Side::Client(connection) => {
                let (secrets, kernel) = connection.dangerous_into_kernel_connection()?;
                (secrets, Schedule::Client(kernel))
            }
        };
        let version = schedule.version();
        let (opener, sealer) = (Opener::new(secrets.rx, version), Sealer::new(secrets.tx, version));
        Ok((opener, sealer, Rc::new(Shared::new(schedule))))
    }
}

/// How much of what has come rustls is shown next: one whole record, or all that is no record for rustls to say so.
fn shown_next(bytes: &[u8]) -> usize {
    match record::whole(bytes) {
        Ok(Some(record_bytes)) => record_bytes,
        Ok(None) => 0,
        Err(_) => bytes.len(),
    }
}

impl Side {
    fn is_handshaking(&self) -> bool {
        match self {
            Side::Server(connection) => connection.is_handshaking(),
            Side::Client(connection) => connection.is_handshaking(),
        }
    }

    fn wants_write(&self) -> bool {
        match self {
            Side::Server(connection) => connection.wants_write(),
            Side::Client(connection) => connection.wants_write(),
        }
    }

    /// One step of rustls over what it is shown: how much of that it needs no more, and what it wants next.
    fn step(&mut self, shown: &mut [u8], outgoing: &mut Vec<u8>) -> (usize, Result<Step, Error>) {
        match self {
            Side::Server(connection) => step(connection.process_tls_records(shown), outgoing),
            Side::Client(connection) => step(connection.process_tls_records(shown), outgoing),
        }
    }
}

fn step<Data>(
    status: UnbufferedStatus<'_, '_, Data>,
    outgoing: &mut Vec<u8>,
) -> (usize, Result<Step, Error>) {
    let step = status.state.and_then(|state| match state {
        ConnectionState::EncodeTlsData(message) => {
            encode(message, outgoing);
            Ok(Step::Again)
        }
        ConnectionState::TransmitTlsData(message) => {
            message.done();
            Ok(Step::Again)
        }
        ConnectionState::BlockedHandshake => Ok(Step::MoreBytes),
        ConnectionState::WriteTraffic(_) => Ok(Step::MaySend),
        _ => Err(Error::HandshakeNotComplete),
    });
    (status.discard, step)
}

/// Appends a message to what is to be sent.
fn encode<Data>(mut message: EncodeTlsData<'_, Data>, outgoing: &mut Vec<u8>) {
    let start = outgoing.len();
    let Err(EncodeError::InsufficientSize(needed)) = message.encode(&mut []) else { return };
    outgoing.resize(start + needed.required_size, 0);
    message.encode(&mut outgoing[start..]).expect("the room that was asked for");
}
