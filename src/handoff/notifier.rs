//! An eventfd that wakes a thread which sleeps in its ring.
//!
//! Notifying again before it is cleared costs one atomic and no system call.

#![expect(unsafe_code, reason = "eventfd, write and read have no safe form in std")]

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};

#[derive(Debug)]
pub struct Notifier {
    fd: OwnedFd,
    is_set: AtomicBool,
}

impl Notifier {
    /// Fails where the process may open no more files.
    pub fn new() -> io::Result<Notifier> {
        // SAFETY: eventfd takes no pointers; the descriptor it returns has no other owner.
        let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: as above, `fd` is open and ours.
        Ok(Notifier { fd: unsafe { OwnedFd::from_raw_fd(fd) }, is_set: AtomicBool::new(false) })
    }

    pub fn notify(&self) {
        if !self.is_set.swap(true, Ordering::AcqRel) {
            let one = 1u64.to_ne_bytes();
            // SAFETY: `one` is eight readable bytes. A write to an eventfd fails only when its counter would
            // overflow, and then it is readable anyway.
            unsafe { libc::write(self.fd.as_raw_fd(), one.as_ptr().cast(), one.len()) };
        }
    }

    /// Clears it. Call it before looking for what was notified, or a notification between look and clearing is lost.
    pub fn clear(&self) {
        let mut count = [0u8; 8];
        // SAFETY: `count` is eight writable bytes. An empty eventfd answers EAGAIN, which is as good.
        unsafe { libc::read(self.fd.as_raw_fd(), count.as_mut_ptr().cast(), count.len()) };
        self.is_set.store(false, Ordering::Release);
    }

    /// A second descriptor of the same notifier, for a runtime that wants to own what it waits for.
    pub fn try_clone_fd(&self) -> io::Result<OwnedFd> {
        self.fd.try_clone()
    }

    /// Readable from notification to clearing.
    pub fn fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_readable_from_notification_to_clearing() {
        let notifier = Notifier::new().unwrap();
        let readable = || {
            let mut poll = libc::pollfd { fd: notifier.fd(), events: libc::POLLIN, revents: 0 };
            // SAFETY: one pollfd, and it lives through the call.
            unsafe { libc::poll(&mut poll, 1, 0) == 1 }
        };
        assert!(!readable());
        notifier.notify();
        notifier.notify();
        assert!(readable());
        notifier.clear();
        assert!(!readable());
        notifier.notify();
        assert!(readable());
    }
}
