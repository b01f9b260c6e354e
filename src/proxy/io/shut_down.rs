//! Ends a connection from outside its pumps.

#![expect(
    unsafe_code,
    reason = "shutdown(2), recv(2) and getsockopt(2) beside a pending read of the same connection"
)]

use std::cell::Cell;
use std::io;
use std::os::fd::{AsRawFd, RawFd};

/// A way to end a connection from outside its pumps. Empty once the descriptor is about to be closed.
#[derive(Default)]
pub(crate) struct ShutdownHandle(Cell<Option<RawFd>>);

impl ShutdownHandle {
    /// From now on this ends what `other` ends, which is to be disarmed before the connection is closed as this is.
    pub(crate) fn take_over(&self, other: &ShutdownHandle) {
        self.0.set(other.0.get());
    }

    /// Whether the peer has said that it sends no more, or is gone; also behind bytes of it that nobody has read.
    pub(crate) fn is_hung_up(&self) -> bool {
        let Some(fd) = self.0.get() else { return true };
        let mut asked = libc::pollfd { fd, events: libc::POLLRDHUP, revents: 0 };
        // SAFETY: `asked` is one entry and writable through the call, and `fd` is open, as below.
        let count = unsafe { libc::poll(&raw mut asked, 1, 0) };
        count > 0 && asked.revents != 0
    }

    /// Whether the peer has said something that nobody has read, or that it sends no more, or is gone.
    pub(crate) fn has_news(&self) -> bool {
        let Some(fd) = self.0.get() else { return true };
        let (mut byte, flags) = (0u8, libc::MSG_PEEK | libc::MSG_DONTWAIT);
        // SAFETY: `byte` is writable through the call, and `fd` is open, as below.
        let count = unsafe { libc::recv(fd, (&raw mut byte).cast(), 1, flags) };
        count >= 0 || io::Error::last_os_error().kind() != io::ErrorKind::WouldBlock
    }

    /// `connection` stays open until this is disarmed.
    pub(crate) fn arm(&self, connection: &impl AsRawFd) {
        self.0.set(Some(connection.as_raw_fd()));
    }

    /// Ends both directions: a pending read completes with nothing, a pending write fails.
    pub(crate) fn shut_down(&self) {
        if let Some(fd) = self.0.get() {
            // SAFETY: shutdown takes no pointers, and `fd` is open: the handle is disarmed before it is closed.
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
    pub(crate) fn disarm(&self) {
        self.0.set(None);
    }
}
