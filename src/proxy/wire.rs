//! The two ends of a session as bytes: plain TCP or TLS, split into a reading and a writing half.
//!
//! A read lends its buffer and is never dropped while it is pending: what ends it is [`Line::cut`].

#![expect(
    unsafe_code,
    reason = "send(2), recv(2) and shutdown(2) beside a pending read of the same connection"
)]

use crate::buffer::{BUFFER_BYTES, Buffer, Piece, Room};
use crate::tls::{TlsReader, TlsWriter};
use monoio::buf::IoBuf;
use monoio::io::{AsyncWriteRent, CancelHandle, CancelableAsyncReadRent, OwnedReadHalf};
use monoio::net::TcpStream;
use std::cell::{Cell, UnsafeCell};
use std::io;
use std::ops::Range;
use std::os::fd::{AsRawFd, RawFd};
use std::rc::Rc;

pub(crate) enum Reader {
    Plain(OwnedReadHalf<TcpStream>),
    Tls(Box<TlsReader>),
}

pub(crate) enum Writer {
    Plain(WriteHalf),
    Tls(Box<TlsWriter>),
}

/// The writing half of a connection. Unlike monoio's it says nothing when it is dropped.
pub(crate) struct WriteHalf(Rc<UnsafeCell<TcpStream>>);

/// A way to end a connection from outside its pumps. Empty once the descriptor is about to be closed.
#[derive(Default)]
pub(crate) struct Line(Cell<Option<RawFd>>);

/// Has the kernel hold a new connection back until its first bytes are here: one wake-up instead of two, and none for
/// a client that never speaks. A kernel that will not is no worse than before.
pub(crate) fn defer_accept(listener: &impl AsRawFd) {
    let seconds: libc::c_int = 5;
    // SAFETY: `seconds` is readable for its size through the call.
    unsafe {
        libc::setsockopt(
            listener.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_DEFER_ACCEPT,
            (&raw const seconds).cast(),
            size_of_val(&seconds) as libc::socklen_t,
        );
    }
}

/// Throws away what has come already, as much as a request may be: what is left unread when a connection is closed
/// resets it, and an answer with it.
pub(crate) fn discard(connection: &impl AsRawFd) {
    let mut said = [0u8; 4096];
    for _ in 0..16 {
        // SAFETY: `said` is writable through the call, and whoever lent the connection keeps it open.
        let count = unsafe {
            libc::recv(connection.as_raw_fd(), said.as_mut_ptr().cast(), said.len(), libc::MSG_DONTWAIT)
        };
        if count <= 0 {
            return;
        }
    }
}

/// Splits a plain connection and ties `line` to it. Small sends leave at once.
pub(crate) fn split(stream: TcpStream, line: &Line) -> io::Result<(Reader, Writer)> {
    stream.set_nodelay(true)?;
    line.0.set(Some(stream.as_raw_fd()));
    let shared = Rc::new(UnsafeCell::new(stream));
    Ok((Reader::Plain(OwnedReadHalf(Rc::clone(&shared))), Writer::Plain(WriteHalf(shared))))
}

impl Line {
    /// Ends both directions: a pending read completes with nothing, a pending write fails.
    pub(crate) fn cut(&self) {
        if let Some(fd) = self.0.get() {
            // SAFETY: shutdown takes no pointers, and `fd` is open: the line is let go before it is closed.
            unsafe { libc::shutdown(fd, libc::SHUT_RDWR) };
        }
    }

    /// How much the peer's system has acknowledged so far; `None` where that cannot be told.
    pub(crate) fn taken_bytes(&self) -> Option<u64> {
        let fd = self.0.get()?;
        // SAFETY: the struct is plain numbers, for which zeros are values.
        let mut info: libc::tcp_info = unsafe { std::mem::zeroed() };
        let mut bytes = size_of_val(&info) as libc::socklen_t;
        // SAFETY: `info` is writable for `bytes` through the call, and `fd` is open, as above.
        let told = unsafe {
            libc::getsockopt(fd, libc::IPPROTO_TCP, libc::TCP_INFO, (&raw mut info).cast(), &raw mut bytes)
        };
        (told == 0).then_some(info.tcpi_bytes_acked)
    }

    /// The descriptor is about to be closed, and its number may soon mean something else.
    pub(crate) fn let_go(&self) {
        self.0.set(None);
    }
}

impl Reader {
    /// Reads into what is free of `buffer` behind `filled`. `Ok(0)` is the end of the stream; there must be room.
    /// A cancelled read fails with [`is_cancelled`] and loses nothing.
    pub(crate) async fn read(
        &mut self,
        buffer: Buffer,
        filled: usize,
        cancel: CancelHandle,
    ) -> (io::Result<usize>, Buffer) {
        debug_assert!(filled < BUFFER_BYTES, "a read needs room");
        match self {
            Reader::Plain(half) => {
                let (result, room) = half.cancelable_read(Room { buffer, filled }, cancel).await;
                (result, room.buffer)
            }
            // TLS is boxed here and below, so that a plain session's future does not carry its size.
            Reader::Tls(reader) => Box::pin(reader.read(buffer, filled, cancel)).await,
        }
    }

    /// Waits until there is something to read, without a buffer.
    pub(crate) async fn readable(&self) -> io::Result<()> {
        let half = match self {
            Reader::Plain(half) => half,
            Reader::Tls(reader) if reader.has_rest() => return Ok(()),
            Reader::Tls(reader) => reader.raw(),
        };
        // SAFETY: both halves live on this thread, and a shared borrow for a poll conflicts with neither's calls,
        // which borrow the stream only while they submit.
        let stream: &TcpStream = unsafe { &*half.0.get() };
        stream.readable(false).await
    }
}

impl Writer {
    /// Writes all of `range` and gives the buffer back.
    pub(crate) async fn write(&mut self, buffer: Buffer, range: Range<usize>) -> (io::Result<()>, Buffer) {
        match self {
            Writer::Plain(half) => write_piece(half, buffer, range).await,
            Writer::Tls(writer) => Box::pin(writer.write(buffer, range)).await,
        }
    }

    /// Writes something small of our own.
    pub(crate) async fn write_bytes(&mut self, bytes: Vec<u8>) -> io::Result<()> {
        match self {
            Writer::Plain(half) => write_vec(half, bytes).await,
            Writer::Tls(writer) => Box::pin(writer.write_bytes(&bytes)).await,
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
            Writer::Tls(writer) => Box::pin(writer.finish()).await,
        };
        if let Err(error) = told {
            tracing::trace!(%error, "the peer was gone before its connection was finished");
        }
    }
}

/// Whether a read failed because it was cancelled.
pub(crate) fn is_cancelled(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::ECANCELED)
}

/// Whether something failed because this process, or the system, may open no more files.
pub(crate) fn is_out_of_files(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE))
}

/// A write that takes nothing would never end.
pub(crate) fn progress(written: usize) -> io::Result<usize> {
    if written == 0 { Err(io::ErrorKind::WriteZero.into()) } else { Ok(written) }
}

/// Writes all of `range`. What the socket takes at once is sent at once: that spares the shard a round through its
/// ring for nearly every message. Only a peer that is slower than us is waited for.
pub(crate) async fn write_piece(
    half: &mut WriteHalf,
    buffer: Buffer,
    range: Range<usize>,
) -> (io::Result<()>, Buffer) {
    let mut piece = Piece { buffer, range };
    match half.send_now(&piece.buffer.bytes()[piece.range.clone()], 0) {
        Ok(sent) => piece.range.start += sent,
        Err(error) => return (Err(error), piece.buffer),
    }
    while !piece.range.is_empty() {
        let (result, returned) = half.send(piece).await;
        piece = returned;
        match result.and_then(progress) {
            Ok(written) => piece.range.start += written,
            Err(error) => return (Err(error), piece.buffer),
        }
    }
    (Ok(()), piece.buffer)
}

async fn write_vec(half: &mut WriteHalf, mut bytes: Vec<u8>) -> io::Result<()> {
    bytes.drain(..half.send_now(&bytes, 0)?);
    while !bytes.is_empty() {
        let (result, returned) = half.send(bytes).await;
        bytes = returned;
        bytes.drain(..progress(result?)?);
    }
    Ok(())
}

impl WriteHalf {
    /// Sends through the ring: waits for room, and gives the buffer back.
    async fn send<T: IoBuf>(&mut self, buffer: T) -> (io::Result<usize>, T) {
        // SAFETY: both halves live on this thread. A call borrows the stream only while it submits, and monoio's
        // reads and writes of one stream do not touch each other.
        let stream: &mut TcpStream = unsafe { &mut *self.0.get() };
        stream.write(buffer).await
    }

    fn fd(&self) -> RawFd {
        // SAFETY: as above.
        unsafe { (*self.0.get()).as_raw_fd() }
    }

    /// Sends what fits into the socket's buffer now, perhaps nothing.
    fn send_now(&self, bytes: &[u8], flags: libc::c_int) -> io::Result<usize> {
        let flags = flags | libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
        // SAFETY: the half keeps its descriptor open, and `bytes` is readable through the call.
        let sent = unsafe { libc::send(self.fd(), bytes.as_ptr().cast(), bytes.len(), flags) };
        if sent >= 0 {
            return Ok(sent as usize);
        }
        match io::Error::last_os_error() {
            error if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => Ok(0),
            error => Err(error),
        }
    }

    /// Nothing more will be sent.
    pub(crate) fn shutdown(&mut self) -> io::Result<()> {
        // SAFETY: shutdown takes no pointers, and the half keeps its descriptor open.
        match unsafe { libc::shutdown(self.fd(), libc::SHUT_WR) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }
}
