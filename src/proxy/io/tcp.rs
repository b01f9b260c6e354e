//! A TCP connection in two halves, and what monoio does not do with it.

#![expect(
    unsafe_code,
    reason = "send(2), recv(2) and shutdown(2) beside a pending read of the same connection"
)]

use crate::io::buffer::{Buffer, Filled};
use monoio::buf::IoBuf;
use monoio::io::{AsyncWriteRent, OwnedReadHalf};
use monoio::net::TcpStream;
use std::cell::UnsafeCell;
use std::io;
use std::ops::Range;
use std::os::fd::{AsRawFd, RawFd};
use std::rc::Rc;

/// The writing half of a connection. Unlike monoio's it says nothing when it is dropped.
pub(crate) struct WriteHalf(Rc<UnsafeCell<TcpStream>>);

/// Small sends leave at once.
pub(crate) fn split(stream: TcpStream) -> io::Result<(OwnedReadHalf<TcpStream>, WriteHalf)> {
    stream.set_nodelay(true)?;
    let shared = Rc::new(UnsafeCell::new(stream));
    Ok((OwnedReadHalf(Rc::clone(&shared)), WriteHalf(shared)))
}

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

/// Waits until there is something to read, without a buffer.
pub(crate) async fn readable(half: &OwnedReadHalf<TcpStream>) -> io::Result<()> {
    // SAFETY: both halves live on this thread, and a shared borrow for a poll conflicts with neither's calls,
    // which borrow the stream only while they submit.
    let stream: &TcpStream = unsafe { &*half.0.get() };
    stream.readable(false).await
}

/// Reads what is here already; 0 if that is nothing.
pub(crate) fn read_now(half: &OwnedReadHalf<TcpStream>, room: &mut [u8]) -> usize {
    // SAFETY: both halves live on this thread, and the borrow ends before either is used.
    let fd = unsafe { (*half.0.get()).as_raw_fd() };
    // SAFETY: `room` is writable through the call, and the half keeps its descriptor open.
    let count = unsafe { libc::recv(fd, room.as_mut_ptr().cast(), room.len(), libc::MSG_DONTWAIT) };
    usize::try_from(count).unwrap_or(0)
}

/// A write that takes nothing would never end.
fn progress(written: usize) -> io::Result<usize> {
    if written == 0 { Err(io::ErrorKind::WriteZero.into()) } else { Ok(written) }
}

/// Writes all of `range`. What the socket takes at once is sent at once: that spares the shard a round through its
/// ring for nearly every message. Only a peer that is slower than us is waited for.
pub(crate) async fn write_filled(
    half: &mut WriteHalf,
    buffer: Buffer,
    range: Range<usize>,
) -> (io::Result<()>, Buffer) {
    match half.send_now(&buffer.bytes()[range.clone()], 0) {
        Ok(sent) if sent == range.len() => (Ok(()), buffer),
        // Boxed, because it is rare and a session that waits should be small.
        Ok(sent) => Box::pin(write_rest(half, Filled { buffer, range: range.start + sent..range.end })).await,
        Err(error) => (Err(error), buffer),
    }
}

async fn write_rest(half: &mut WriteHalf, mut filled: Filled) -> (io::Result<()>, Buffer) {
    while !filled.range.is_empty() {
        let (result, returned) = half.send(filled).await;
        filled = returned;
        match result.and_then(progress) {
            Ok(written) => filled.range.start += written,
            Err(error) => return (Err(error), filled.buffer),
        }
    }
    (Ok(()), filled.buffer)
}

pub(crate) async fn write_vec(half: &mut WriteHalf, mut bytes: Vec<u8>) -> io::Result<()> {
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
    pub(crate) fn send_now(&self, bytes: &[u8], flags: libc::c_int) -> io::Result<usize> {
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
