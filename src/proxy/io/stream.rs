//! The two ends of a session as bytes: plain TCP or TLS, split into a reading and a writing half.
//!
//! A read lends its buffer and is never dropped while it is pending: what ends it is [`ShutdownHandle::shut_down`].

use crate::io::buffer::{BUFFER_BYTES, Buffer, Pool, Unfilled};
use crate::io::shut_down::ShutdownHandle;
use crate::io::tcp::{self, WriteHalf};
use crate::io::tls::{self, TlsReader, TlsWriter};
use monoio::io::{CancelHandle, CancelableAsyncReadRent, OwnedReadHalf};
use monoio::net::TcpStream;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ServerConfig};
use std::io;
use std::ops::Range;
use std::sync::Arc;

pub(crate) enum Reader {
    Plain(OwnedReadHalf<TcpStream>),
    Tls(Box<TlsReader>),
}

pub(crate) enum Writer {
    Plain(WriteHalf),
    Tls(Box<TlsWriter>),
}

/// Splits a plain connection and ties `handle` to it. Small sends leave at once.
pub(crate) fn split(stream: TcpStream, handle: &ShutdownHandle) -> io::Result<(Reader, Writer)> {
    handle.arm(&stream);
    let (read, write) = tcp::split(stream)?;
    Ok((Reader::Plain(read), Writer::Plain(write)))
}

/// Shakes hands as the server that a client has connected to. `early` is what was read of the connection already, with
/// how much that is.
pub(crate) async fn accept_tls(
    plain: (Reader, Writer),
    early: Option<(Buffer, usize)>,
    config: Arc<ServerConfig>,
    pool: &Pool,
) -> io::Result<(Reader, Writer)> {
    tls::accept(halves(plain), early, config, pool).await.map(secured)
}

/// Shakes hands with the server called `name`.
pub(crate) async fn connect_tls(
    plain: (Reader, Writer),
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
    pool: &Pool,
) -> io::Result<(Reader, Writer)> {
    tls::connect(halves(plain), config, name, pool).await.map(secured)
}

fn halves(plain: (Reader, Writer)) -> (OwnedReadHalf<TcpStream>, WriteHalf) {
    let (Reader::Plain(read), Writer::Plain(write)) = plain else {
        unreachable!("TLS is put on plain connections only");
    };
    (read, write)
}

fn secured((reader, writer): (TlsReader, TlsWriter)) -> (Reader, Writer) {
    (Reader::Tls(Box::new(reader)), Writer::Tls(Box::new(writer)))
}

impl Reader {
    /// Reads into what is free of `buffer` behind `filled`. `Ok(0)` is the end of the stream; there must be room.
    /// A cancelled read fails with [`is_cancelled`] and loses nothing.
    pub(crate) fn read(
        &mut self,
        mut buffer: Buffer,
        filled: usize,
        cancel: CancelHandle,
    ) -> impl Future<Output = (io::Result<usize>, Buffer)> {
        debug_assert!(filled < BUFFER_BYTES, "a read needs room");
        // An `async fn` would hold its arguments twice while it waits.
        async move {
            match self {
                Reader::Plain(half) => {
                    let room = Unfilled::new(buffer, filled, BUFFER_BYTES);
                    let (result, room) = half.cancelable_read(room, cancel).await;
                    (result, room.buffer)
                }
                // Here, and no future of its own within this one: a session that waits would carry it.
                Reader::Tls(reader) => loop {
                    if let Some(taken) = reader.take(&mut buffer.bytes_mut()[filled..]) {
                        return (taken, buffer);
                    }
                    let room = match reader.room() {
                        Ok(room) => room,
                        Err(error) => return (Err(error), buffer),
                    };
                    let (result, room) = reader.raw.cancelable_read(room, cancel.clone()).await;
                    reader.received(room, *result.as_ref().unwrap_or(&0));
                    // A peer that leaves without saying so has left all the same.
                    if !matches!(result, Ok(1..)) {
                        return (result, buffer);
                    }
                },
            }
        }
    }

    /// Reads what is here already into the front of `buffer`, which spares a round through the ring; how much that was. Nothing
    /// may be had by [`Reader::read`] all the same, which also tells why.
    pub(crate) fn read_now(&mut self, buffer: &mut Buffer) -> usize {
        match self {
            Reader::Plain(half) => tcp::read_now(half, buffer.bytes_mut()),
            Reader::Tls(_) => 0,
        }
    }

    /// Waits until there is something to read, without a buffer.
    pub(crate) async fn readable(&self) -> io::Result<()> {
        match self {
            Reader::Plain(half) => tcp::readable(half).await,
            Reader::Tls(reader) => reader.readable().await,
        }
    }
}

impl Writer {
    /// Writes all of `range` and gives the buffer back.
    pub(crate) async fn write(&mut self, buffer: Buffer, range: Range<usize>) -> (io::Result<()>, Buffer) {
        match self {
            Writer::Plain(half) => tcp::write_filled(half, buffer, range).await,
            Writer::Tls(writer) => (writer.write(&buffer.bytes()[range]).await, buffer),
        }
    }

    /// Writes something small of our own.
    pub(crate) async fn write_bytes(&mut self, bytes: Vec<u8>) -> io::Result<()> {
        match self {
            Writer::Plain(half) => tcp::write_vec(half, bytes).await,
            Writer::Tls(writer) => writer.write(&bytes).await,
        }
    }

    /// Writes what will be followed by more at once, so that both can leave in one packet.
    pub(crate) async fn write_ahead(&mut self, mut bytes: Vec<u8>) -> io::Result<()> {
        if let Writer::Plain(half) = self {
            bytes.drain(..half.send_now(&bytes, libc::MSG_MORE)?);
        }
        if bytes.is_empty() { Ok(()) } else { self.write_bytes(bytes).await }
    }

    /// Tells the peer that nothing more will come. A connection that is already gone has no need to be told.
    pub(crate) async fn finish(&mut self) {
        let told = match self {
            Writer::Plain(half) => half.shutdown(),
            Writer::Tls(writer) => writer.finish().await,
        };
        if let Err(error) = told {
            tracing::trace!(%error, "the peer was gone before its connection was finished");
        }
    }
}

/// One connection of a session, with the bytes that were read beyond its head.
pub(crate) struct End {
    pub(crate) reader: Reader,
    pub(crate) writer: Writer,
    pub(crate) buffer: Buffer,
    pub(crate) filled: usize,
}

/// Both sides of a session.
pub(crate) struct Ends {
    pub(crate) downstream: End,
    pub(crate) upstream: End,
}

/// Whether a read failed because it was cancelled.
pub(crate) fn is_cancelled(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::ECANCELED)
}

/// Whether something failed because this process, or the system, may open no more files.
pub(crate) fn is_out_of_files(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE))
}
